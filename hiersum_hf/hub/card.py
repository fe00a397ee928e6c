"""Write the card of a checkpoint.

It is `model_card.md`, filled with the figures of the checkpoint's results.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from hiersum_hf.features.text_encoder import source_of
from hiersum_hf.features.video_encoder import PRECOMPUTED
from hiersum_hf.files.atomic import write_text
from hiersum_hf.files.escape import in_card, in_code
from hiersum_hf.files.json_file import read_json_object
from hiersum_hf.files.safe_yaml import load_yaml
from hiersum_hf.files.templates import render
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import METRICS, Results, difference_cell
from hiersum_hf.scoring.checkpoint import find_file
from hiersum_hf.scoring.training_free import BASELINES


LIBRARY = "hiersum-hf"
TASK = "video-classification"  # the nearest of the Hub's tasks, among which is no summarization of videos
LICENCE = "apache-2.0"  # of weights that were trained with this project
TOLD = ("metrics", "ci95", "baselines", "versions", "part", "seed")  # what a card cannot do without
# In what a prepared folder says of its reader:
RULES = r"\b(threshold|quantile|intro_bins|min_views|max_views)=([\d.]+)"


def write_card(
    folder: str | Path,
    results: Results | None,
    extractor: HierSumFeatureExtractor,
    repo_id: str = "org/hiersum",
    licence: str = LICENCE,
) -> Path:
    """Write the card of a checkpoint to `folder`/README.md.

    Every figure in it is one of the results; without results the card says so. The card of an adapter says how to load
    it on its base.

    Args:
        folder: Folder of the checkpoint. Its config.json says what it was trained on; scores.png is shown if it is
            there.
        results: What the evaluation of the checkpoint found, or None.
        extractor: What goes into the network.
        repo_id: What the card's examples load.
        licence: Of the weights, by the Hub's name; weights that started from others keep theirs (`card_data`).

    Raises:
        HierSumError: The results lack something that a card tells.
    """
    folder = Path(folder)
    lacking = [name for name in TOLD if results and getattr(results, name) in (None, {}, "")]
    if lacking:
        raise HierSumError(f"results.json: expected the results of an evaluation, found no {' and no '.join(lacking)}.")
    write_text(folder / "README.md", _card(folder, results, extractor, repo_id, licence))
    return folder / "README.md"


def _card(folder: Path, results: Results | None, extractor: HierSumFeatureExtractor, repo_id: str, licence: str) -> str:
    """Fill the template."""
    from huggingface_hub import ModelCard, ModelCardData

    base = _read(folder / "adapter_config.json").get("base_model_name_or_path")
    base_id = base if base and not Path(base).is_absolute() else None
    stages = _stages(folder / "config.json")
    known = results.ci95.keys() & results.metrics if results else ()
    shown = {name: label for name, label in METRICS.items() if name in known}
    data = ModelCardData(
        language=_language(extractor.text_encoder),
        license=licence,
        library_name=LIBRARY,
        pipeline_tag=TASK,
        datasets=list(dict.fromkeys(stage["dataset"] for stage in stages if stage["dataset"] != "demo")) or None,
        tags=["video-summarization", "hiersum"],
        base_model=base_id,
        base_model_relation="adapter" if base_id else None,
        model_name=repo_id.split("/")[-1],
        eval_results=_model_index(results, shown) if results else None,
    )
    card = render(
        "model_card.md",
        card_data=data.to_yaml(),
        text=in_card,
        code=in_code,
        results=results,
        extractor=extractor,
        base=base,
        shown=shown,
        difference=difference_cell,
        baselines=[name for name in BASELINES if name != "oracle"],  # it reads the answers
        repo_id=repo_id,
        stages=stages,
        made_up="demo" in [results and results.dataset, *(stage["dataset"] for stage in stages)],
        picture=(folder / "scores.png").is_file(),
        recipe=(folder / "recipe.yaml").is_file(),
        summarizes=extractor.video_encoder not in PRECOMPUTED and extractor.normalization == "none",
    )
    return str(ModelCard(card))


def _language(text_encoder: str) -> str | list[str] | None:
    """Find which languages are read, which the card of the text encoder tells where it is on this machine."""
    try:
        told = card_data(source_of(text_encoder), local_files_only=True).get("language")
    except (ValueError, OSError):
        return None
    return told if isinstance(told, str | list) else None


def card_data(checkpoint: str | Path, local_files_only: bool = False) -> dict[str, Any]:
    """Read the metadata at the head of a checkpoint's card.

    The checkpoint is a folder or a Hub id; of the latter `local_files_only` asks no network.

    Returns:
        Licence, library, ... by the Hub's names; {} without a card.

    Raises:
        HierSumError: It is no YAML.
    """
    card = find_file(checkpoint, "README.md", local_files_only)
    try:
        head = REGEX_YAML_BLOCK.search(card.read_text(encoding="utf-8")) if card else None
        said = (load_yaml(head[2]) if head else None) or {}
        if not isinstance(said, dict):
            raise HierSumError(f"found {type(said).__name__}")
        return said
    except ValueError as error:
        raise HierSumError(f"{card}: expected metadata in YAML at its head: {error}") from None


def label_facts(data: str, train: Sequence[VideoRecord]) -> dict[str, Any]:
    """Collect what a card says of the labels.

    Args:
        data: What was trained on. Of a prepared folder its report and description tell, of all its videos.
        train: The training videos; only those in memory are counted.

    Returns:
        `positive_rate`, the share of important frames, and the `rule` as far as it is known.
    """
    if Path(data).is_dir():
        reader = _read(Path(data) / "dataset_info.json").get("reader", "")
        rule = {match[1]: float(match[2]) for match in re.finditer(RULES, reader)}
        return {"positive_rate": _read(Path(data) / "report.json").get("positive_rate"), "rule": rule}
    labels = np.concatenate([np.zeros(0), *(r.frame_labels for r in train if r.frame_labels is not None)])
    known = labels[labels != -100]
    return {"positive_rate": float(known.mean()) if len(known) else None, "rule": {}}


def _model_index(results: Results, shown: dict[str, str]) -> list[Any] | None:
    """List the figures as the Hub shows them."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="video-summarization",
            dataset_type=results.dataset,
            dataset_name=results.dataset,
            dataset_config=results.split,
            dataset_split=results.part,
            metric_type=name,
            metric_name=f"{label} ({results.protocol})",
            metric_value=results.metrics[name],
        )
        for name, label in shown.items()
        if results.metrics[name] is not None
    ] or None


def _stages(config: Path) -> list[dict[str, Any]]:
    """Read what the checkpoint was trained on, a `dataset` and a `split` each."""
    stages: list[Any] = _read(config).get("trained_on") or []
    for stage in stages:
        if not isinstance(stage, dict) or not isinstance(stage.get("dataset"), str):
            raise HierSumError(f"{config}: trained_on: expected a dataset each, found {stage!r:.80}.")
    return stages


def _read(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.is_file() else {}
