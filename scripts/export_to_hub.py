"""Push a run or a data set, as `hiersum push`: python scripts/export_to_hub.py DIR org/name [--private] [--base ...]"""

import sys

from hiersum_hf.cli.main import main


if __name__ == "__main__":
    sys.exit(main(["push", *sys.argv[1:]]))
