"""`python -m hiersum_hf`: the `hiersum` command, for launchers that start a module."""

import sys

from hiersum_hf.cli.main import main


if __name__ == "__main__":
    sys.exit(main())
