"""Run a study of the ablation harness: python scripts/run_ablation.py STUDY (--help tells more)"""

import os
import sys


os.environ["OMP_NUM_THREADS"] = "1"  # before torch: every process has a core of its own

from ablation.main import main


if __name__ == "__main__":
    sys.exit(main())
