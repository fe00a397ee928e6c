"""Make an ordinary checkpoint of a LoRA adapter and the checkpoint that it was trained on.

python scripts/merge_lora.py runs/tvsum-lora runs/tvsum-merged

Leaves the checkpoint in a folder of its own, with a card and the adapter's recipe.yaml and results.json, if it has
them; the latter names what was merged.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from transformers.utils import find_adapter_config_file

from hiersum_hf import HierSumPipeline
from hiersum_hf.aside import aside
from hiersum_hf.comparison import read_results
from hiersum_hf.datasets.printable import printable
from hiersum_hf.model_card import LICENCE, card_data, write_card
from hiersum_hf.prediction import find_file, load_checkpoint, training_stages
from hiersum_hf.results import write_json


def merge(adapter: str, output: Path) -> None:
    """Writes the merged checkpoint.

    Raises:
        FileExistsError: The output is a file, or a folder with something in it, as the adapter's and its base's are.
        OSError: The output cannot be written (a full disk); nothing of it is left.
        ValueError: No adapter, or one whose base is missing.
    """
    if output.exists() and (output.is_file() or any(output.iterdir())):
        same = ", found the adapter, which would be lost" if output.resolve() == Path(adapter).resolve() else ""
        raise FileExistsError(f"{output}: expected a new or empty folder{same}.")
    model, extractor = load_checkpoint(adapter)
    found = find_adapter_config_file(adapter)
    if found is None:
        raise ValueError(f"{adapter}: expected a LoRA adapter, found an ordinary checkpoint, which needs no merging.")
    model.config.trained_on = training_stages(adapter) or None
    told = find_file(adapter, "results.json")
    results = None if told is None else read_results(told)
    if results is None:
        print(
            f"{adapter}: no results.json there, so the merged checkpoint has none: its card says so.", file=sys.stderr
        )
    else:
        base = json.loads(Path(found).read_text(encoding="utf-8"))["base_model_name_or_path"]
        results |= {"checkpoint": str(output), "merged_from": {"adapter": adapter, "base": base}}
    output.parent.mkdir(parents=True, exist_ok=True)
    with aside(output) as partial:
        HierSumPipeline(model, feature_extractor=extractor).save_pretrained(partial)
        if results is not None:
            write_json(partial / "results.json", results)
        if recipe := find_file(adapter, "recipe.yaml"):
            shutil.copy(recipe, partial)
        write_card(partial, results, extractor, licence=card_data(adapter).get("license") or LICENCE)


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("adapter", help="folder or Hub id of the adapter")
    flags.add_argument("output", type=Path, help="folder for the checkpoint, new or empty")
    args = flags.parse_args()
    try:
        merge(args.adapter, args.output)
    except (ValueError, OSError, ImportError) as error:
        print(f"merge_lora.py: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    print(f"Merged checkpoint: {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
