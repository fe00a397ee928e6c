"""Run `hiersum push`.

It uploads a run or a prepared data set to the Hub.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


PUSH_HELP = """examples:
  hiersum push runs/tvsum org/hiersum-tvsum
  hiersum push runs/tvsum-lora org/hiersum-lora --base org/hiersum-tvsum
  hiersum push prepared/tvsum org/tvsum-features --private
  hiersum push runs/tvsum org/hiersum-tvsum --benchmark org/tvsum-features
"""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    push = commands.add_parser(
        "push",
        help="upload a run, a checkpoint or a prepared data set to the Hub",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Push a finished run, any HierSum checkpoint or a prepared data set to the Hub, as one commit.\n"
        "A checkpoint goes with its code, recipe, results, picture of scores, licence and a card written from its\n"
        "results; of a data set the Parquet files, report and card. Log in first: `hf auth login`, or HF_TOKEN.",
        epilog=PUSH_HELP,
    )
    push.add_argument("folder", metavar="DIR", type=Path, help="the run, or a folder made by `hiersum prepare`")
    push.add_argument("repo_id", metavar="org/name", help="where to; made where it is missing")
    push.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        help="of a new repository; default: as the organisation has it",
    )
    push.add_argument("--base", metavar="org/name", help="of an adapter trained on a local folder: its base on the Hub")
    push.add_argument(
        "--benchmark",
        metavar="org/name",
        help="of a checkpoint: a data set made by `hiersum evaluate --benchmark` whose leaderboard gets its results",
    )
    push.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Push, and say where to."""
    from hiersum_hf.hub.push import push

    print(f"Pushed: {push(args.folder, args.repo_id, args.private, base=args.base, benchmark=args.benchmark)}")
    return 0
