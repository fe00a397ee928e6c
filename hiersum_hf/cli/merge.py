"""Run `hiersum merge`.

It makes an ordinary checkpoint of an adapter and its base.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hiersum_hf.files.escape import printable


MERGE_HELP = """example:
  hiersum merge runs/tvsum-lora runs/tvsum-merged
"""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    merge = commands.add_parser(
        "merge",
        help="make an ordinary checkpoint of an adapter and its base",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make an ordinary checkpoint of a LoRA adapter and the checkpoint that it was trained on. It gets\n"
        "a card and the adapter's recipe.yaml and results.json, if it has them; the latter names what was merged.",
        epilog=MERGE_HELP,
    )
    merge.add_argument("adapter", metavar="ADAPTER", help="folder or Hub id of the adapter")
    merge.add_argument("output", metavar="OUTPUT", type=Path, help="folder for the checkpoint, new or empty")
    merge.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Merge, and say where the checkpoint is."""
    from hiersum_hf.training.merge_lora import merge

    if merge(args.adapter, args.output) is None:
        told = f"{args.adapter}: no results.json there, so the merged checkpoint has none: its card says so."
        print(printable(told), file=sys.stderr)
    print(f"Merged checkpoint: {args.output}")
    return 0
