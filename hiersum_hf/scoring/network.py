"""Frame and sentence scores of records by a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import BatchFeature

from hiersum_hf.modeling.errors_hiersum import CheckpointError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.levels_hiersum import levels_to_read
from hiersum_hf.modeling.modeling_hiersum import HierSumModel, HierSumOutput
from hiersum_hf.records import Encoders, VideoRecord, row_counts
from hiersum_hf.scoring.collator import HierSumCollator


@torch.no_grad()
def predict_scores(
    model: HierSumModel,
    feature_extractor: HierSumFeatureExtractor,
    records: Sequence[VideoRecord],
    level: str | None = None,
    batch_size: int = 16,
    progress: bool = False,
    allow_encoder_mismatch: bool = False,
    indices: Sequence[int] | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Score the frames and sentences of every video, batch by batch.

    Args:
        model: The network.
        feature_extractor: Of the same checkpoint.
        records: The videos.
        level: "child", "parent", "both" or "joint"; default `config.default_level`.
        batch_size: Videos run together; no score depends on it.
        progress: Show a bar on stderr.
        allow_encoder_mismatch: Take features of another encoder if they have the right width; say so in results.
        indices: Score these records only, for example the share of one rank.

    Returns:
        For each video id, in the order of the records, `scores` (N,) in [0, 1], `times_s` (N,), `sentence_scores` (M,).

    Raises:
        ValueError: Features of another encoder, or as `levels_to_read` and the feature extractor.
    """
    mismatch = None if allow_encoder_mismatch else encoder_mismatch(feature_extractor, records)
    if mismatch is not None:
        raise CheckpointError(mismatch)
    indices = range(len(records)) if indices is None else indices
    batches = _batches(model, level or model.config.default_level, records, indices, batch_size)
    collator = HierSumCollator(feature_extractor)
    results: dict[int, tuple[str, dict[str, np.ndarray]]] = {}
    was_training = model.training
    model.train(False)
    with tqdm(total=len(indices), desc="scoring", unit="video", leave=False, disable=None if progress else True) as bar:
        for levels, batch in batches:
            videos = [records[i] for i in batch]
            # One forward a level, one after the other; the mean of their logits is taken there
            outputs, masks = zip(*(_forward(model, collator.inputs(videos, name)) for name in levels), strict=True)
            scored = feature_extractor.post_process_video_summarization(
                outputs, masks[0], [r.frame_times_s for r in videos], model.config.score_head
            )
            for i, record, result in zip(batch, videos, scored, strict=True):
                result["sentence_scores"] = result["sentence_scores"][: len(record.text_features)]  # joint: description
                results[i] = record.video_id, result
            bar.update(len(batch))
    model.train(was_training)
    return dict(results[i] for i in indices)


def _forward(model: HierSumModel, inputs: BatchFeature) -> tuple[HierSumOutput, BatchFeature]:
    """Run the network; of the inputs the masks alone are kept, since the features of ten hours take 370 MB."""
    masks = BatchFeature({name: inputs[name] for name in ("video_mask", "text_mask")})
    return model(**inputs.to(model.device)), masks


def _batches(
    model: HierSumModel, level: str, records: Sequence[VideoRecord], indices: Sequence[int], batch_size: int
) -> list[tuple[tuple[str, ...], list[int]]]:
    """Group records into batches of like length, read at the same levels.

    Returns:
        The levels to read and the indices of the records of each batch.
    """
    trained = model.config.trained_levels
    lengths, described = row_counts(records, "video_features"), row_counts(records, "description_features") > 0
    groups: dict[tuple[str, ...], list[int]] = {}
    # By length, so that a batch has little padding
    for i in sorted(indices, key=lengths.__getitem__):
        groups.setdefault(levels_to_read(level, trained, bool(described[i])), []).append(i)
    return [
        (levels, group[first : first + batch_size])
        for levels, group in groups.items()
        for first in range(0, len(group), batch_size)
    ]


def encoders_of(records: Sequence[VideoRecord]) -> list[Encoders | None]:
    """Tell what made the features of each record.

    The text encoder is "" where a record has no text. A set on disk tells without reading the features.
    """
    found = records.encoders if hasattr(records, "encoders") else [record.encoders for record in records]
    texts = row_counts(records, "text_features") + row_counts(records, "description_features")
    return [replace(made, text="") if made and not rows else made for made, rows in zip(found, texts, strict=True)]


def encoder_mismatch(feature_extractor: HierSumFeatureExtractor, records: Sequence[VideoRecord]) -> str | None:
    """Describe the first video whose features come from another encoder.

    Another than the checkpoint's. None if there is no such video. A feature of another encoder, or one that was
    normalized otherwise, means something else even where the width fits.
    """
    wanted = {
        "video": ("video features of", feature_extractor.video_encoder),
        "text": ("text features of", feature_extractor.text_encoder),
        "normalization": ("video features normalized as", feature_extractor.normalization),
    }
    for i, made in enumerate(encoders_of(records)):
        for key, (what, expected) in wanted.items():
            found = getattr(made, key, None)
            if found and found != expected:
                those = "" if key == "normalization" else "those of "
                return f"{records[i].video_id}: expected {what} {expected!r}, found {those}{found!r}."
    return None
