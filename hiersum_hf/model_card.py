"""The card of a checkpoint: `model_card.md` filled with the figures of its `results.json`."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.results import METRICS


def template() -> str:
    """Text of model_card.md, which travels in the package."""
    return files("hiersum_hf").joinpath("model_card.md").read_text(encoding="utf-8")


def write_card(folder: str | Path, results: dict[str, Any], extractor: HierSumFeatureExtractor) -> Path:
    """Writes `folder`/README.md; every figure in it is one of `results` (the content of results.json).

    A folder with an adapter gets a card that says how to load it on its base.
    """
    from huggingface_hub import ModelCard, ModelCardData

    adapter = Path(folder) / "adapter_config.json"
    base = json.loads(adapter.read_text())["base_model_name_or_path"] if adapter.is_file() else None
    shown = {name: label for name, label in METRICS.items() if name in results["ci95"]}

    data = ModelCardData(
        license="apache-2.0",
        library_name="hiersum-hf",
        tags=["video-summarization", "hiersum"],
    )
    path = Path(folder) / "README.md"
    card = ModelCard.from_template(
        data, template_str=template(), results=results, extractor=extractor, base=base, shown=shown
    )
    card.save(path)
    return path
