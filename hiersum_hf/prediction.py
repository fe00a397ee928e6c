"""A checkpoint as a scorer: importance of every frame of every video at a level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from tqdm.auto import tqdm
from transformers import PreTrainedConfig

from hiersum_hf.collator import HierSumCollator
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.records import VideoRecord


def load_checkpoint(checkpoint: str | Path, device: str = "cpu") -> tuple[HierSumModel, HierSumFeatureExtractor]:
    """The network, ready to score, and the feature extractor of a checkpoint folder or Hub id.

    Raises:
        ValueError: Not a checkpoint, or one of another model.
    """
    try:
        config = PreTrainedConfig.get_config_dict(checkpoint)[0]
    except OSError as error:
        raise ValueError(f"{checkpoint}: expected the folder or Hub id of a HierSum checkpoint: {error}") from None
    if config.get("model_type") != "hiersum":
        raise ValueError(
            f"{checkpoint}: expected a checkpoint with model_type 'hiersum', found {config.get('model_type')!r}."
        )
    try:
        feature_extractor = HierSumFeatureExtractor.from_pretrained(checkpoint)
        loaded: Any = HierSumModel.from_pretrained(checkpoint, output_loading_info=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(f"{checkpoint}: expected a complete HierSum checkpoint: {error}") from None
    model, loading = loaded
    lacking = sorted(loading["missing_keys"])
    if lacking:
        raise ValueError(f"{checkpoint}: expected a complete HierSum checkpoint, missing {', '.join(lacking[:5])}.")
    model.to(torch_device(device))
    return model.eval(), feature_extractor


def torch_device(name: str) -> torch.device:
    """The device of this name; "auto" is a GPU if there is one.

    Raises:
        ValueError: No such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: expected one that this PyTorch can use, found {name!r}: {error}") from None


def levels_to_read(model: HierSumModel, level: str, record: VideoRecord) -> tuple[str, ...]:
    """Levels whose logits are averaged for this video.

    A video without a description cannot be read at parent level: it is read at child level instead, or, by a network
    that knows the parent level alone, without text.

    Raises:
        ValueError: A level this checkpoint was not trained at.
    """
    levels = ("child", "parent") if level == "both" else (level,)
    trained = model.config.trained_levels
    if trained is not None and not set(levels) <= set(trained):
        raise ValueError(
            f"Level {level!r} needs a checkpoint trained at {' and '.join(levels)}, this one was trained at "
            f"{' and '.join(trained)}."
        )
    if "parent" not in levels or len(record.description_features):
        return levels
    return ("child",) if trained is None or "child" in trained else ("parent",)


def encoder_mismatch(feature_extractor: HierSumFeatureExtractor, records: Sequence[VideoRecord]) -> str | None:
    """The first video whose features come from another encoder than the checkpoint's, in words; None if there is none.

    A feature of another encoder means something else even where the width fits.
    """
    wanted = {"video": feature_extractor.video_encoder, "text": feature_extractor.text_encoder}
    for record in records:
        found = {} if record.encoders is None else {"video": record.encoders.video, "text": record.encoders.text}
        has = {"video": True, "text": len(record.text_features) + len(record.description_features) > 0}
        for modality, encoder in found.items():
            if has[modality] and encoder and encoder != wanted[modality]:
                name = record.video_id
                return f"{name}: expected {modality} features of {wanted[modality]!r}, found those of {encoder!r}."
    return None


@torch.no_grad()
def predict_scores(
    model: HierSumModel,
    feature_extractor: HierSumFeatureExtractor,
    records: Sequence[VideoRecord],
    level: str | None = None,
    batch_size: int = 16,
    progress: bool = False,
    allow_encoder_mismatch: bool = False,
) -> dict[str, dict[str, np.ndarray]]:
    """Frame and sentence scores of every video.

    Args:
        level: "child", "parent", "both" or "joint"; default `config.default_level`.
        batch_size: Videos run together; no score depends on it.
        progress: Show a bar on stderr.
        allow_encoder_mismatch: Take features of another encoder if they have the right width; say so in results.

    Returns:
        For each video id `scores` (N,) in [0, 1], `times_s` (N,), `sentence_scores` (M,).

    Raises:
        ValueError: Features of another encoder, or as `levels_to_read` and the feature extractor.
    """
    level = level or model.config.default_level
    collator = HierSumCollator(feature_extractor)
    groups: dict[tuple[str, ...], list[VideoRecord]] = {}
    for record in sorted(records, key=lambda r: len(r.video_features)):  # videos of like length run together
        groups.setdefault(levels_to_read(model, level, record), []).append(record)
    was_training = model.training
    model.eval()
    mismatch = None if allow_encoder_mismatch else encoder_mismatch(feature_extractor, records)
    if mismatch is not None:
        raise ValueError(mismatch)
    results: dict[str, dict[str, np.ndarray]] = {}
    with tqdm(total=len(records), desc="scoring", unit="video", disable=not progress) as bar:
        for levels, group in groups.items():
            for i in range(0, len(group), batch_size):
                chunk = group[i : i + batch_size]
                batches = [collator.inputs(chunk, name) for name in levels]
                outputs = [model(**batch.to(model.device)) for batch in batches]
                scored = feature_extractor.post_process_video_summarization(
                    outputs, batches[0].to("cpu"), [r.frame_times_s for r in chunk], model.config.score_head
                )
                results.update((record.video_id, result) for record, result in zip(chunk, scored, strict=True))
                bar.update(len(chunk))
    model.train(was_training)
    return results
