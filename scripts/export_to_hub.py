"""Push a finished run, any HierSum checkpoint or a prepared data set to the Hub, as one commit.

    python scripts/export_to_hub.py runs/tvsum org/hiersum-tvsum
    python scripts/export_to_hub.py runs/tvsum-lora org/hiersum-lora --base org/hiersum-tvsum
    python scripts/export_to_hub.py prepared/tvsum org/tvsum-features --private

A checkpoint goes with its code, recipe, results, picture of scores, licence and a card written from its results; of a
data set the Parquet files, report and card. Log in first: `hf auth login`, or HF_TOKEN.
"""

import argparse
import sys
from pathlib import Path

from hiersum_hf.datasets.printable import printable
from hiersum_hf.hub import push


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("folder", type=Path, help="the run, or a folder made by `hiersum prepare`")
    flags.add_argument("repo_id", metavar="org/name", help="where to; made where it is missing")
    flags.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        help="of a new repository; default: as the organisation has it",
    )
    flags.add_argument(
        "--base", metavar="org/name", help="of an adapter trained on a local folder: its base on the Hub"
    )
    args = flags.parse_args()
    try:
        address = push(args.folder, args.repo_id, args.private, base=args.base)
    except (ValueError, OSError, ImportError) as error:
        print(f"export_to_hub.py: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    print(f"Pushed: {address}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
