"""Merge an adapter into its checkpoint, as `hiersum merge`: python scripts/merge_lora.py ADAPTER OUTPUT"""

import sys

from hiersum_hf.cli.main import main


if __name__ == "__main__":
    sys.exit(main(["merge", *sys.argv[1:]]))
