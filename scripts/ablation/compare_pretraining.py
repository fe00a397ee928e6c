"""Does replay pre-training help where few videos are labelled? On the demo set: from scratch against fine-tuned.

    python scripts/ablation/compare_pretraining.py --output scripts/ablation/results/demo_pretraining
    python scripts/ablation/compare_pretraining.py --quick --output quick  # that it works, not what comes out

For each seed three runs: pre-training on replay curves (recipe demo_replay), and recipe demo_finetune on the first
few labelled videos, once from scratch and once from that checkpoint. The same test part for all. The runs stay in
--runs; OUTPUT.json and OUTPUT.md are what the folder results keeps. It takes about 13 minutes on 2 quiet cores.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hiersum_hf.datasets.parts import DataArguments, load_parts
from hiersum_hf.evaluation.comparison import compare
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.files.atomic import write_text
from hiersum_hf.results import SAME, Baseline, Results, versions, write_json
from hiersum_hf.scoring.training_free import score_frames


NEWLINE = "\n"
PAIRED = ("metrics", "per_video")  # what a comparison reads beside SAME
SHOWN = {"kendall_tau": "tau", "spearman_rho": "rho", "f1": "F1"}
SYSTEMS = {
    "scratch": "from scratch on {} labelled videos",
    "replay": "pre-trained on replay curves, no labelled video",
    "finetuned": "pre-trained, then {} labelled videos",
}
QUICK = {
    "demo_replay": ["--train_videos", "20", "--max_steps", "4"],
    "demo_finetune": ["--max_steps", "4", "--eval_steps", "2", "--save_steps", "2"],
}


def train(recipe: str, output: Path, seed: int, *flags: str, quick: bool) -> Results:
    """One run of `hiersum train`; its results."""
    words = ["-m", "hiersum_hf", "train", recipe, "--seed", str(seed)]
    words += ["--output_dir", str(output), "--overwrite", "True", "--disable_tqdm", "True", *flags]
    words += QUICK[recipe] if quick else []
    print(shlex.join(["python", *words]), file=sys.stderr)
    if subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL).returncode:
        raise RuntimeError(f"{output}: the training failed, see above.")
    return Results.read(output / "results.json")


def run_seed(runs: Path, seed: int, train_videos: int, quick: bool) -> dict[str, Results]:
    """Results of each system with this seed."""
    labelled = ["--train_videos", str(train_videos)]
    replay, scratch, finetuned = (runs / f"{name}_{seed}" for name in ("replay", "scratch", "finetuned"))
    return {
        "replay": train("demo_replay", replay, seed, quick=quick),
        "scratch": train("demo_finetune", scratch, seed, *labelled, quick=quick),
        "finetuned": train("demo_finetune", finetuned, seed, *labelled, "--checkpoint", str(replay), quick=quick),
    }


def mean_over_seeds(results: list[Results]) -> dict:
    """Mean and standard deviation over seeds, and every video's mean."""
    table = {name: np.array([result.metrics[name] for result in results]) for name in SHOWN}
    per_video = {
        video: {name: float(np.mean([result.per_video[video][name] for result in results])) for name in SHOWN}
        for video in results[0].per_video
    }
    return {
        "metrics": {name: float(values.mean()) for name, values in table.items()},
        "spread": {name: float(values.std(ddof=1)) if len(results) > 1 else None for name, values in table.items()},
        "levels": [result.level for result in results],
        "per_video": per_video,
    }


def training_free(baselines: dict[str, Baseline | None]) -> dict[str, float | None]:
    """Figures of the scorer that needs no training, on the same videos."""
    records = load_parts(DataArguments(train_videos=1))["test"]
    scores = {record.video_id: score_frames(record, "training-free") for record in records}
    about = {"scorer": "training-free", "dataset": "demo", "part": "test", "baselines": baselines}
    return evaluate_scores(records, scores, **about).metrics


def collect(seeds: list[dict[str, Results]], train_videos: int) -> dict:
    """What OUTPUT.json holds."""
    first = seeds[0]["scratch"]
    about = {name: getattr(first, name) for name in SAME}
    systems = {name: mean_over_seeds([results[name] for results in seeds]) for name in SYSTEMS}
    ours, theirs = (
        replace(first, scorer=name, level=None, checkpoint=None, **{key: systems[name][key] for key in PAIRED})
        for name in ("finetuned", "scratch")
    )
    comparison = compare(ours, theirs)
    for system in systems.values():
        system["videos"] = len(system.pop("per_video"))
    return about | {
        "seeds": len(seeds),
        "train_videos": train_videos,
        "systems": systems,
        "baselines": first.to_dict()["baselines"] | {"training-free": training_free(first.baselines)},
        "comparison": comparison,
        "versions": versions(),
        "command": shlex.join(["python", "scripts/ablation/compare_pretraining.py", *sys.argv[1:]]),
    }


def as_markdown(report: dict) -> str:
    """The report as a page: table, protocol, what the difference is worth, command."""
    baselines, systems, videos = report["baselines"], report["systems"], report["train_videos"]
    rows = [_row(name, baselines[name]) for name in ("random", "training-free")]
    rows += [_row(words.format(videos), **systems[name]) for name, words in SYSTEMS.items()]
    tau = report["comparison"]["metrics"]["kendall_tau"]
    low, high = tau["ci95"]
    better = {"first better": "fine-tuned is better", "second better": "scratch is better"}
    return f"""# Replay pre-training on the demo set

| scorer | {" | ".join(SHOWN.values())} | read at |
|{"---|" * (len(SHOWN) + 2)}
{NEWLINE.join(rows)}
{_row("human", baselines["human"])}

Made-up videos: {report["dataset"]}, {report["part"]} part, {tau["videos"]} videos, protocol {report["protocol"]}.
Mean ± standard deviation over {report["seeds"]} seeds. Checkpoint and level were chosen on the validation part. The
replay curves are made up too: `synthetic.demo.with_replay` says how they differ from the annotators' ratings.

Fine-tuned minus scratch, tau: {tau["difference"]:+.3f} [{low:+.3f}, {high:+.3f}] (95 % bootstrap over videos, each the
mean over seeds), p = {tau["p_holm"]:.4f} (sign-flip test, Holm): {better.get(tau["verdict"], tau["verdict"])}.

```bash
{report["command"]}
```
"""


def _row(name: str, metrics: dict, spread: dict | None = None, levels: Sequence[str] = (), **_) -> str:
    cells = [f"{metrics[m]:.3f}" + (f" ± {spread[m]:.3f}" if spread and spread[m] is not None else "") for m in SHOWN]
    return f"| {' | '.join([name, *cells, ', '.join(levels)])} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="OUTPUT.json and OUTPUT.md are written")
    parser.add_argument("--runs", type=Path, default=Path("demo/pretraining"), help="checkpoints (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="how many (%(default)s)")
    parser.add_argument("--train-videos", type=int, default=60, help="labelled videos (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier OUTPUT")
    parser.add_argument("--quick", action="store_true", help="a few steps of one seed")
    args = parser.parse_args()
    files = [args.output.with_suffix(suffix) for suffix in (".json", ".md")]
    if any(file.exists() for file in files) and not args.overwrite:
        parser.error(f"{args.output}: expected no such output yet. Give --overwrite to replace it.")
    seeds = range(1 if args.quick else args.seeds)
    report = collect([run_seed(args.runs, seed, args.train_videos, args.quick) for seed in seeds], args.train_videos)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(files[0], report)
    write_text(files[1], page := as_markdown(report))
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
