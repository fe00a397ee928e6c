"""Make an ordinary checkpoint of a LoRA adapter and the checkpoint that it was trained on.

python scripts/merge_lora.py runs/tvsum-lora runs/tvsum-merged
"""

import argparse
import sys
from pathlib import Path

from hiersum_hf.prediction import load_checkpoint


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("adapter", help="folder or Hub id of the adapter")
    flags.add_argument("output", type=Path, help="folder for the checkpoint, new or empty")
    args = flags.parse_args()
    try:
        if args.output.exists() and any(args.output.iterdir()):
            raise FileExistsError(f"{args.output}: expected a new or empty folder.")
        model, extractor = load_checkpoint(args.adapter)
        model.save_pretrained(args.output)
        extractor.save_pretrained(args.output)
    except (ValueError, OSError) as error:
        print(f"merge_lora.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
