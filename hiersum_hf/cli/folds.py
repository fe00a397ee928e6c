"""Measure a cross-validated run again, as scripts/run_eval.py."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hiersum_hf.datasets.arguments import DataArguments
from hiersum_hf.datasets.fetch import fetched_data
from hiersum_hf.evaluation.folds import count_folds, evaluate_run, format_folds
from hiersum_hf.files.atomic import refuse_uri
from hiersum_hf.files.escape import printable, printable_lines
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.results import format_table


DESCRIPTION = r"""Evaluate a cross-validated run: every fold's checkpoint on the videos of its own test part.

    hiersum train tvsum --folds True --output_dir runs/tvsum \
        --data eccv16_dataset_tvsum_google_pool5.h5 --ratings ydata-tvsum50.mat
    python scripts/run_eval.py runs/tvsum --folds 5 --output runs/tvsum/again.json \
        --data eccv16_dataset_tvsum_google_pool5.h5 --ratings ydata-tvsum50.mat

The first command evaluates too, in the same way; this one does it again, or for folds that were trained one by one
(--fold 0 --output_dir runs/tvsum/fold_0, ...).

Trains nothing. Prints the mean over folds and its spread and leaves them in RUN/results.json, with every test video.
A checkpoint that was trained on another split is refused: it may have seen the videos that it would be tested on.
"""


def parser() -> argparse.ArgumentParser:
    """Make the parser of the program's flags."""
    flags = argparse.ArgumentParser(
        prog="run_eval.py", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("run", type=Path, metavar="RUN", help="folder with fold_0, fold_1, ... of `hiersum train`")
    flags.add_argument("--folds", type=int, required=True, help="how many folds the split has")
    flags.add_argument("--data", required=True, help="prepared folder or file in TVSum's h5 format, as for training")
    flags.add_argument("--ratings", help="as for training")
    flags.add_argument("--split-file", help="published split file, as for training; default: the data's own, or drawn")
    flags.add_argument("--split-seed", type=int, default=0, help="draws the folds, as for training (%(default)s)")
    flags.add_argument("--video-encoder", default="unknown", help="as for training (%(default)s)")
    flags.add_argument("--dataset", help="names the protocol; default: as for training")
    flags.add_argument("--allow-encoder-mismatch", action="store_true", help="as for training; the results say so")
    flags.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")
    flags.add_argument("--seed", type=int, default=0, help="of the random draws (%(default)s)")
    flags.add_argument("--output", type=Path, help="default: RUN/results.json")
    flags.add_argument("--overwrite", action="store_true", help="replace an earlier output")
    return flags


def run(argv: Sequence[str]) -> None:
    """Evaluate every fold; print the figures and write them."""
    args = parser().parse_args(argv)
    data = DataArguments(
        data=fetched_data(args.data),
        ratings=args.ratings,
        split_file=args.split_file,
        split_seed=args.split_seed,
        video_encoder=args.video_encoder,
    )
    output = args.output or args.run / "results.json"
    refuse_uri(output)
    if args.folds != (count := count_folds(data)):
        raise HierSumError(
            f"--folds: expected {count}, as many as {data.split_file or data.data} has, found {args.folds}."
        )
    if output.exists() and not args.overwrite:
        raise FileExistsError(f"{output}: expected no such file yet. Give --overwrite to replace it.")
    results = evaluate_run(
        [args.run],
        data,
        dataset=args.dataset,
        allow_encoder_mismatch=args.allow_encoder_mismatch,
        device=args.device,
        seed=args.seed,
        command=shlex.join(["python", "scripts/run_eval.py", *argv]),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    results.write(output)
    print(printable_lines(f"{format_table([results])}\n\n{format_folds(results)}\n\nWritten to {output}"))


def main() -> int:
    """Run the program.

    It returns 0, or 2 for bad input, which stderr names.
    """
    try:
        run(sys.argv[1:])
    except (ValueError, OSError, ImportError) as error:
        print(f"run_eval.py: error: {printable(str(error))}", file=sys.stderr)
        return 2
    return 0
