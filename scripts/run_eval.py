"""Measure every fold of a run again: python scripts/run_eval.py RUN --folds 5 --data ..."""

import sys

from hiersum_hf.cli.folds import main


if __name__ == "__main__":
    sys.exit(main())
