"""Train, as `hiersum train`: accelerate launch scripts/run_train.py [RECIPE] [--flag value ...]"""

import sys

from hiersum_hf.cli.main import main


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
