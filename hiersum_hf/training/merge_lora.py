"""Make an ordinary checkpoint of a LoRA adapter and its base."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers.utils.peft_utils import find_adapter_config_file

from hiersum_hf.files.atomic import aside, refuse_uri
from hiersum_hf.files.json_file import read_json_object
from hiersum_hf.hub.card import LICENCE, card_data, write_card
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.pipeline_hiersum import HierSumPipeline
from hiersum_hf.results import Results
from hiersum_hf.scoring.checkpoint import find_file, load_checkpoint, training_stages


def merge(adapter: str, output: Path) -> Results | None:
    """Write the merged checkpoint with its card.

    The adapter's recipe and results come along; the latter name what was merged.

    Returns:
        The results, None where the adapter has none.

    Raises:
        FileExistsError: The output is a file, or a folder with something in it, as the adapter's and its base's are.
        OSError: The output cannot be written (a full disk); nothing of it is left.
        ValueError: No adapter, or one whose base is missing.
    """
    _refuse_full(output, adapter)
    extractor: Any  # the pipelines of Transformers name another kind
    model, extractor = load_checkpoint(adapter)
    base = _base_of(adapter)
    model.config.trained_on = training_stages(adapter) or None
    results = _results_of(adapter, base, output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with aside(output) as partial:
        HierSumPipeline(model, feature_extractor=extractor).save_pretrained(partial)
        if results is not None:
            results.write(partial / "results.json")
        if recipe := find_file(adapter, "recipe.yaml"):
            shutil.copy(recipe, partial)
        write_card(partial, results, extractor, licence=card_data(adapter).get("license") or LICENCE)
    return results


def _refuse_full(output: Path, adapter: str) -> None:
    """Refuse an output in which something would be lost, and an address."""
    refuse_uri(output)
    if output.exists() and (output.is_file() or any(output.iterdir())):
        same = ", found the adapter, which would be lost" if output.resolve() == Path(adapter).resolve() else ""
        raise FileExistsError(f"{output}: expected a new or empty folder{same}.")


def _base_of(adapter: str) -> str:
    """Read which checkpoint an adapter was trained on.

    Raises:
        ValueError: It is an ordinary checkpoint.
    """
    found = find_adapter_config_file(adapter)
    if found is None:
        raise HierSumError(f"{adapter}: expected a LoRA adapter, found an ordinary checkpoint, which needs no merging.")
    return str(read_json_object(found)["base_model_name_or_path"])


def _results_of(adapter: str, base: str, output: Path) -> Results | None:
    """Read the adapter's results as those of the merged checkpoint."""
    told = find_file(adapter, "results.json")
    if told is not None:
        return replace(Results.read(told), checkpoint=str(output), merged_from={"adapter": adapter, "base": base})
    return None
