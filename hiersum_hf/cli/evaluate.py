"""Run `hiersum evaluate`.

It makes figures, a report and a comparison from a data set and a scorer.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiersum_hf.files.atomic import refuse_uri
from hiersum_hf.files.escape import printable, printable_lines
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.levels_hiersum import READING_LEVELS
from hiersum_hf.scoring.scores_file import SUFFIXES, needs_checkpoint
from hiersum_hf.scoring.training_free import BASELINES, RIDGE, RIDGE_RANKS, WITHOUT_CHECKPOINT, WITHOUT_SCORES


if TYPE_CHECKING:
    from hiersum_hf.evaluation.data import EvaluationData
    from hiersum_hf.evaluation.diagnosis import Check
    from hiersum_hf.records import VideoRecord
    from hiersum_hf.results import Results

DATASETS = (
    *("tvsum", "summe", "bliss", "mrhisum", "mosu", "smmrhisum", "smvideoxum"),
    *("wikihow", "folder", "howto", "replay"),
)
HELP = f"""scorers:
  random         mean of 20 seeded draws, with its standard error
  uniform        evenly spread moments
  position       nearness to the middle of the video
  title          similarity to the description; frames and texts must be of one encoder
  ridge          ridge regression on the frame features, fitted on the other parts of the split and chosen on validation
  ridge-ranks    the same, fitted on the mean of the annotators' ranks
  human          each annotator against the others
  oracle         mean of the annotators, or the reference itself (it reads the answers)
  shot-oracle    the shots within the budget with the greatest F1
  training-free  similarity to description and subtitles, from features alone
  FILE           scores of another program: .json {{id: [scores]}}, .npz or .h5 with an array an id, .csv id,index,score
  else           a checkpoint folder, or a Hub id like org/name

Beside the scorer every report shows {", ".join(BASELINES[:-1])} and {BASELINES[-1]}, where the data allows them, and
the mean difference to ridge over the test videos with its paired 95 % interval.

metrics under every protocol, where frames have scores (docs/evaluation.md says more):
  captured            importance above the video's mean that the summary for people holds, which `hiersum summarize`
                      makes of 15 % of the video, as a share of the most possible: 1 is the best, 0 chance
  captured (key-shot) the same for the field's key-shot rule, on the same shots

protocols (hiersum_hf/evaluation/protocols/by_name.py says what each of them does):
  tvsum, summe,  hiersum-keyshot-v1, a2summ-keyshot, dsnet-keyshot, mrhisum-keyshot,
  folder, howto  mean-user, mean-f1, csta-summe
  mrhisum, mosu, hiersum-replay-v1, mrhisum-replay, triplesumm-replay
  replay
  smmrhisum      sdmvsum-mrhisum
  smvideoxum     sdmvsum-videoxum
  bliss          hiersum-bliss-v1, a2summ-bliss
  wikihow        hiersum-wikihow-v1, wikihow-p>=0.5, wikihow-top15

examples:
  hiersum evaluate tvsum --data ydata-tvsum50.mat --scorer human
  hiersum evaluate summe --data GT --scorer human --protocol mean-f1
  hiersum evaluate tvsum --data prepared/tvsum --scorer runs/tvsum/fold_0 --split-file splits.json --fold 0 \\
      --output reports/tvsum --plot --diagnose
  hiersum evaluate tvsum --data captions.h5 --scorer title --video-encoder sentence-transformers/all-MiniLM-L6-v2 \\
      --text-encoder sentence-transformers/all-MiniLM-L6-v2
  hiersum evaluate tvsum --data prepared/tvsum --folds --scorer runs/seed0 --scorer runs/seed1 --scorer runs/seed2
  hiersum evaluate tvsum --data prepared/tvsum --scorer scores.json --protocol mean-user
  hiersum evaluate mrhisum --data prepared/mrhisum --scorer org/hiersum --part test --json > results.json
  hiersum evaluate --compare reports/ours/results.json reports/theirs/results.json
"""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    evaluate = commands.add_parser(
        "evaluate",
        help="score a data set under its protocol",
        description="Score the videos of a data set and compare with its annotators, under a protocol with a name.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_argument("dataset", nargs="?", choices=DATASETS, help="which data set; it names the protocol")
    evaluate.add_argument(
        "--data",
        metavar="PATH",
        help="prepared folder, also of the Hub (org/name) or by its address (s3://...), or the source as `hiersum "
        "prepare` takes it",
    )
    evaluate.add_argument(
        "--ratings",
        metavar="PATH",
        help="TVSum's ratings (.mat, .tsv), or the folder of SumMe's annotations, to go with a feature file",
    )
    evaluate.add_argument(
        "--scorer",
        action="append",
        metavar="S",
        help="a baseline, a file of scores or a checkpoint, see below (random); given several times, the mean of their "
        "scores, each standardised within each video",
    )
    evaluate.add_argument("--level", choices=READING_LEVELS, help="level of a checkpoint")
    evaluate.add_argument("--protocol", metavar="NAME", help="another protocol than the data set's first, see below")

    made = evaluate.add_argument_group("what made the features, where the data does not say")
    made.add_argument("--video-encoder", metavar="ID", help="of the frames; another id than the data's is refused")
    made.add_argument("--text-encoder", metavar="ID", help="of the texts; makes features for texts that have none")

    which = evaluate.add_argument_group("which videos")
    which.add_argument("--part", choices=["all", "train", "validation", "test"], help="default: test, if split")
    which.add_argument("--split-file", metavar="FILE", help="published split (yml, json, txt); default: the data's own")
    which.add_argument("--fold", type=int, metavar="K", help="split K of the file, or of 5 disjoint folds, from 0")
    which.add_argument("--split-seed", type=int, default=0, help="draws the disjoint folds (%(default)s)")
    which.add_argument("--folds", action="store_true", help="every fold: figures of each, their mean and spread")

    report = evaluate.add_argument_group("report")
    report.add_argument("--output", metavar="DIR", help="folder for results.json (and pictures)")
    report.add_argument("--plot", action="store_true", help="curves of the videos and a page of the run, into --output")
    report.add_argument("--diagnose", action="store_true", help="look for the known ways in which summarizers fail")
    report.add_argument(
        "--compare",
        nargs="+",
        metavar="FILE",
        help="results.json to compare with, video by video; two files: only compare them",
    )
    report.add_argument("--overwrite", action="store_true", help="replace an earlier results.json in --output")
    report.add_argument(
        "--benchmark",
        action="store_true",
        help="make the prepared folder of --data a benchmark of the Hub: eval.yaml, a table of baselines in its card",
    )
    report.add_argument("--json", action="store_true", help="print results.json on stdout and nothing else")

    evaluate.add_argument(
        "--allow-encoder-mismatch",
        action="store_true",
        help="score features of another encoder than the checkpoint's, if the width fits; the results say so",
    )
    evaluate.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")
    evaluate.add_argument("--seed", type=int, default=0, help="of the random draws (%(default)s)")
    evaluate.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Evaluate, or compare two results, and print what was found.

    What was asked for is written to --output.
    """
    from hiersum_hf.datasets.fetch import fetched_data
    from hiersum_hf.evaluation.comparison import compare, format_comparison
    from hiersum_hf.evaluation.data import keep_to_own_split
    from hiersum_hf.results import Results, format_table

    others = [Results.read(path) for path in args.compare or ()]
    if len(others) > 2 or (len(others) == 2 and args.dataset):
        raise HierSumError("--compare: expected one file beside a data set, or two files alone")
    if len(others) == 2:
        if args.output or args.plot or args.diagnose:
            raise HierSumError("--compare with two files prints alone: expected no --output, --plot, --diagnose")
        comparison = compare(others[0], others[1], args.seed)
        print(json.dumps(comparison) if args.json else printable_lines(format_comparison(comparison)))
        return
    args.scorer = args.scorer or ["random"]
    _check(args)
    args.data = fetched_data(args.data)
    for warning in keep_to_own_split(args):
        print(f"note: {printable(warning)}", file=sys.stderr)
    results, records, scores = _evaluate(args)
    if all(value is None for value in results.metrics.values()):
        raise HierSumError(f"{args.data}: nothing to compare {results.scorer} with in {len(results.per_video)} videos.")
    checks, compared = [], compare(results, others[0], seed=args.seed) if others else None
    if args.diagnose and scores is not None:
        from hiersum_hf.evaluation.diagnosis import diagnose

        checks = diagnose(records, scores, results, *others)
    written = _write(args, results, records, scores, checks) if args.output else []
    if args.benchmark:
        from hiersum_hf.hub.benchmark import write_benchmark

        written += write_benchmark(args.data, results)
    if args.json:
        more: dict[str, Any] = {"comparison": compared} if compared else {}
        more |= {"diagnosis": [asdict(check) for check in checks]} if checks else {}
        print(json.dumps(results.to_dict() | more))
        return
    print(printable_lines(format_table([results])))
    if args.folds:
        from hiersum_hf.evaluation.folds import format_folds

        print("\n" + printable_lines(format_folds(results)))
    if compared:
        print("\n" + printable_lines(format_comparison(compared)))
    if checks:
        from hiersum_hf.evaluation.diagnosis import format_diagnosis

        print("\n" + printable_lines(format_diagnosis(checks)))
    if written:
        print("\nWritten: " + ", ".join(printable(str(path)) for path in written))


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before the long work."""
    if not args.dataset or not args.data:
        raise HierSumError("expected a data set and --data, or --compare with two files; see hiersum evaluate --help")
    if (args.plot or args.overwrite) and not args.output:
        raise HierSumError("--plot, --overwrite: expected --output with the folder to write to")
    if args.benchmark and not (Path(args.data) / "dataset_info.json").is_file():
        raise HierSumError(f"--benchmark: expected a folder made by `hiersum prepare` as --data, found {args.data}")
    if args.folds and (args.plot or args.diagnose or args.part or args.fold is not None):
        raise HierSumError(
            "--folds measures the test part of every fold: expected no --part, --fold, --plot, --diagnose"
        )
    checkpoints = list(filter(needs_checkpoint, args.scorer))
    if args.folds and checkpoints and (args.video_encoder or args.text_encoder):
        raise HierSumError("--video-encoder, --text-encoder: expected no --folds of checkpoints, which name their own")
    if args.level and (not checkpoints or args.folds):
        raise HierSumError("--level: expected a checkpoint as --scorer, its folds and baselines have their own or none")
    if args.part == "all" and (args.split_file or args.fold is not None):
        raise HierSumError("--part all: expected neither --split-file nor --fold")
    ridge = next((one for one in args.scorer if one in (RIDGE, RIDGE_RANKS)), None)
    if ridge and args.part not in (None, "test"):
        fitted = f"--scorer {ridge} is fitted on train and validation"
        raise HierSumError(f"{fitted}: expected --part test, found {args.part}")
    if args.ratings and (args.dataset not in ("tvsum", "summe") or not args.data.endswith((".h5", ".hdf5"))):
        raise HierSumError("--ratings: expected them beside a feature file (.h5) of tvsum or summe")
    without = [one for one in args.scorer if one in WITHOUT_SCORES]
    if args.diagnose and without:
        raise HierSumError(f"--diagnose: expected a scorer with scores for every frame, found {without[0]!r}")
    if without and len(args.scorer) > 1:
        raise HierSumError(f"scorer: expected several with scores for every frame, found {without[0]!r} among them")
    refuse_uri(args.output or "")
    for name in ("results.json", "report.html", "videos"):
        if args.output and (Path(args.output) / name).exists() and not args.overwrite:
            raise FileExistsError(f"{args.output}: expected no {name} there yet. Give --overwrite to replace it.")
    for one in checkpoints:
        if one.lower().endswith(SUFFIXES) and not Path(one).exists():
            raise FileNotFoundError(f"{one}: expected a file of scores, found no such file")
        if "/" not in one and not Path(one).is_dir():
            expected = (
                f"{', '.join(WITHOUT_CHECKPOINT)}, a file of scores, a checkpoint folder or a Hub id like org/name"
            )
            raise HierSumError(f"scorer: expected {expected}, found {one!r}")


def _evaluate(args: argparse.Namespace) -> tuple[Results, Sequence[VideoRecord], Mapping[str, Any] | None]:
    """Return the results, the records, and the scores of every video.

    Scores are None for a scorer that has none.
    """
    from hiersum_hf.evaluation.data import EvaluationData
    from hiersum_hf.evaluation.evaluate import evaluate_scores
    from hiersum_hf.evaluation.scored import by_checkpoint, by_name, fit_ridges, together

    data = EvaluationData(args.dataset, args.data, args.ratings, args.video_encoder, args.text_encoder)
    about = {"dataset": args.dataset, "seed": args.seed, "protocol": args.protocol}
    about |= {"command": shlex.join(["hiersum", *sys.argv[1:]])}
    if args.folds:
        return _evaluate_folds(data, args, about)
    records, part, split = data.part(args.part, args.split_file, args.fold, args.split_seed)
    ridges = fit_ridges(args.scorer, data.beside, records, progress=True) if part == "test" else {}
    about |= {"part": part, "split": split, "ridge": ridges.get(RIDGE), "progress": True}
    checkpoints = list(filter(needs_checkpoint, args.scorer))
    allowed = args.allow_encoder_mismatch
    each = [by_checkpoint(one, lambda _: records, args.level, args.device, allowed) for one in checkpoints]
    records = each[0].records if each else records
    named = [one for one in args.scorer if one not in checkpoints]
    scored = together([*each, *(by_name(one, records, ridges, data.video_ids) for one in named)])
    return evaluate_scores(records, scored.scores, **scored.about, **about), records, scored.scores


def _evaluate_folds(
    data: EvaluationData, args: argparse.Namespace, about: dict[str, Any]
) -> tuple[Results, Sequence[VideoRecord], None]:
    """Measure every fold's test part.

    Each scorer is a baseline, a file of scores, or a run with the checkpoints fold_0, fold_1, ...
    """
    from hiersum_hf.datasets.arguments import DataArguments
    from hiersum_hf.evaluation.folds import Fold, count_folds, evaluate_folds, evaluate_run
    from hiersum_hf.evaluation.scored import by_name, fit_ridges, together

    split = DataArguments(data=args.data, ratings=args.ratings, split_file=args.split_file, split_seed=args.split_seed)
    if any(map(needs_checkpoint, args.scorer)):
        allowed = args.allow_encoder_mismatch
        results = evaluate_run(
            args.scorer, split, allow_encoder_mismatch=allowed, device=args.device, known=data.video_ids, **about
        )
        return results, [], None
    folds, known = [], data.video_ids
    for k in range(count_folds(split)):
        records, _, name = data.part("test", args.split_file, k, args.split_seed)
        ridges = fit_ridges(args.scorer, data.beside, records)
        folds.append(Fold(together([by_name(one, records, ridges, known) for one in args.scorer]), ridges[RIDGE]))
        known = []  # strange ids of a file are told once
    return evaluate_folds(folds, split=str(name).rsplit("#", 1)[0], **about), [], None


def _remove_pictures(folder: Path) -> None:
    """Remove the pictures of an earlier run.

    They are known by the names that `report.file_name` makes; what else there is stays.
    """
    for picture in folder.glob("*.png"):
        if re.search(r"-[0-9a-f]{12}\.png$", picture.name):
            picture.unlink()
    with suppress(OSError):  # not empty, or none
        folder.rmdir()


def _write(
    args: argparse.Namespace,
    results: Results,
    records: Sequence[VideoRecord],
    scores: Mapping[str, Any] | None,
    checks: Sequence[Check],
) -> list[Path]:
    """Write results.json, and the pictures and the page if they are wanted."""
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    results.write(folder / "results.json")
    (folder / "report.html").unlink(missing_ok=True)  # of an earlier run, which --overwrite replaces
    _remove_pictures(folder / "videos")
    if not args.plot:
        return [folder / "results.json"]
    from hiersum_hf.evaluation.report import plot_videos, write_page

    images = plot_videos(records, scores, results, folder / "videos") if scores is not None else []
    return [folder / "results.json", *images, write_page(results, folder, images, checks)]
