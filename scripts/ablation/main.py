"""Does each mechanism earn its place? A study of the ablation harness: runs, tests, table, figure.

    python scripts/run_ablation.py schedules                                     # made-up videos
    python scripts/run_ablation.py schedules --data prepared/tvsum --steps 3000 --output runs/schedules
    python scripts/run_ablation.py transfer --data prepared/wikihow prepared/tvsum --output runs/transfer
    python scripts/run_ablation.py ratings --data prepared/tvsum --folds 5 --seeds 1 --output runs/ratings
    python scripts/run_ablation.py --report                                      # all tables, as README.md in --output

Leaves STUDY.json and STUDY.png in --output and prints a Markdown table. Every run is kept in --work: an interrupted
study goes on where it stopped, and no run is computed twice. `scripts/ablation/studies.py` lists studies and arms.
"""

import argparse
import json
import logging
import multiprocessing
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path

from tqdm.auto import tqdm

from ablation.arms import Group, Study
from ablation.data import QUICK, Scale
from ablation.report import as_markdown, as_page, draw, report_group
from ablation.run import run_and_keep, run_file
from ablation.studies import ON_PREPARED, STUDIES, on_prepared
from hiersum_hf.files.atomic import write_bytes
from hiersum_hf.files.escape import printable
from hiersum_hf.results import versions


FIRST_SEED = 100  # reported seeds; learning rate, widths and steps were tuned on seeds from 0
MADE_UP = "Made-up videos (`hiersum_hf.synthetic.world`) on random projections"


def quick(study: Study) -> Study:
    """Two arms, to see that it works."""
    return replace(study, groups=(Group(study.groups[0].name, study.groups[0].arms[:2]),))


def start_process() -> None:
    import torch
    from transformers.utils import logging as hf_logging

    torch.set_num_threads(1)
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    logging.disable(logging.WARNING)


def compute(work: Path, study: Study, seeds: Sequence[int], scale: Scale, processes: int) -> None:
    """Every run that is not kept yet, group by group; those on the same videos one after the other."""
    runs = [(arm, seed) for group in study.groups for seed in seeds for arm in group.arms]
    wanted = {run_file(work, arm, seed, scale): (arm, seed) for arm, seed in runs}
    todo = [pair for path, pair in wanted.items() if not path.exists()]
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(processes, context, start_process) as pool,
        tqdm(total=len(wanted), initial=len(wanted) - len(todo), unit="run") as bar,
    ):
        for done in as_completed([pool.submit(run_and_keep, work, arm, seed, scale) for arm, seed in todo]):
            done.result()
            bar.update()


def kept(study: Study, work: Path, seeds: Sequence[int], scale: Scale) -> Study:
    """The groups whose runs are all there."""
    there = [g for g in study.groups if all(run_file(work, a, seed, scale).exists() for a in g.arms for seed in seeds)]
    if not there:
        raise ValueError(f"{work}: expected all runs of a group, found none with these seeds and steps.")
    return replace(study, groups=tuple(there))


def collect(study: Study, work: Path, seeds: Sequence[int], scale: Scale) -> list[dict]:
    """The report of every group."""
    groups = []
    for group in study.groups:
        files = {arm.name: [run_file(work, arm, seed, scale) for seed in seeds] for arm in group.arms}
        runs = {name: [json.loads(path.read_text(encoding="utf-8")) for path in paths] for name, paths in files.items()}
        arms = report_group(runs, study.metric)
        for arm, row in zip(group.arms, arms, strict=True):
            row["arm"] = {
                "baseline": arm.baseline,
                "networks": [[asdict(s) for s in stages] for stages in arm.networks],
            }
        videos = next(iter(runs[group.arms[0].name][0]["levels"].values()))
        about = {"name": group.name, "dataset": runs[group.arms[0].name][0]["dataset"], "videos": len(videos)}
        groups.append({**about, "video_ids": list(videos), "reference": group.arms[0].name, "arms": arms})
    return groups


def write_json_lines(path: Path, report: dict) -> None:
    """JSON with a line for each arm: thousands of per-video figures, yet a diff can be read."""
    text = json.dumps(report, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text.replace('{"name": ', '\n{"name": ') + "\n").encode())


def all_tables(results: Path) -> str:
    """Return the page with the tables of every study whose results are in a folder."""
    files = [results / f"{name}.json" for name in (*STUDIES, *ON_PREPARED)]
    return as_page([json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()])


def command(args: argparse.Namespace) -> str:
    """What makes these figures again, wherever the files go."""
    data = ["--data", *args.data] if args.data else []
    numbers = ["--quick"] if args.quick else ["--steps", str(args.steps)]
    numbers += [] if args.folds == 1 else ["--folds", str(args.folds)]
    numbers += [] if args.first_seed == FIRST_SEED else ["--first-seed", str(args.first_seed)]
    return shlex.join(["python", "scripts/run_ablation.py", args.study, *data, "--seeds", str(args.seeds), *numbers])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", choices=[*STUDIES, *ON_PREPARED])
    parser.add_argument("--data", nargs="+", default=[], help="prepared folders instead of made-up videos")
    parser.add_argument("--folds", type=int, default=1, help="of each prepared set, each tested once (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 100 (%(default)s)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="below 100 for tuning")
    parser.add_argument("--steps", type=int, default=Scale.steps, help="optimiser steps of an arm (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, each on one core (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("scripts/ablation/results"), help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("demo/ablation"), help="results of single runs (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="two arms, 20 steps, a few videos: that it works")
    parser.add_argument("--kept", action="store_true", help="train nothing, report the groups whose runs are all there")
    parser.add_argument("--report", action="store_true", help="write README.md in --output from what is there and stop")
    args = parser.parse_args()
    if args.report:
        write_bytes(args.output / "README.md", all_tables(args.output).encode())
        return 0
    if args.study is None:
        parser.error("expected a study or --report")
    try:
        if args.study not in STUDIES and not args.data:
            raise ValueError(f"{args.study}: expected prepared sets. Give --data.")
        study = on_prepared(args.study, args.data, args.folds) if args.data else STUDIES[args.study]
        study = quick(study) if args.quick else study
        scale = QUICK if args.quick else Scale(steps=args.steps)
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        if args.kept:
            study = kept(study, args.work, seeds, scale)
        else:
            compute(args.work, study, seeds, scale, args.processes)
        groups = collect(study, args.work, seeds, scale)
    except (ValueError, OSError, ImportError) as error:
        print(f"run_ablation.py: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    report = {
        "schema": "ablation-1", "study": args.study, "question": study.question, "metric": study.metric,
        "about": ", ".join(args.data) or MADE_UP, "seeds": list(seeds), "scale": asdict(scale),
        "cpu_seconds": round(sum(arm["cpu_seconds"] * len(seeds) for group in groups for arm in group["arms"])),
        "versions": versions(), "command": command(args),
        "groups": groups,
    }  # fmt: skip
    args.output.mkdir(parents=True, exist_ok=True)
    write_json_lines(args.output / f"{args.study}.json", report)
    write_bytes(args.output / f"{args.study}.png", draw(report))
    print(as_markdown(report))
    return 0
