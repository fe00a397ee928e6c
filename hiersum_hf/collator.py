"""Records of one level to a batch with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor, pad
from hiersum_hf.records import VideoRecord


class HierSumCollator:
    """(level, record) pairs of one level -> the keyword arguments of `HierSumModel.forward`, labels included.

    Args:
        feature_extractor: Builds the inputs and checks them.
    """

    def __init__(self, feature_extractor: HierSumFeatureExtractor):
        self.feature_extractor = feature_extractor

    def __call__(self, items: Sequence[tuple[str, VideoRecord]]) -> dict[str, Any]:
        levels = {level for level, _ in items}
        if len(levels) != 1:
            raise ValueError(f"A batch must have one level, got {sorted(levels)}.")
        level, records = levels.pop(), [record for _, record in items]
        batch = dict(self.inputs(records, level))
        num_frames = batch["video_features"].shape[1]
        frame_labels = [_or(r.frame_labels, np.full(len(r.video_features), -100)) for r in records]
        batch["frame_labels"] = torch.from_numpy(pad(frame_labels, -100))
        if any(record.frame_scores is not None for record in records):
            scores = [_or(r.frame_scores, np.full(len(r.video_features), np.nan)) for r in records]
            batch["replay_scores"] = torch.from_numpy(pad(scores, np.nan)).float()
        if level != "parent":
            spans, lengths = batch["text_spans"].clamp(0, num_frames).numpy(), batch["text_mask"].sum(1).numpy()
            labels = [self._sentence_labels(*of) for of in zip(records, frame_labels, spans, lengths, strict=True)]
            batch["sentence_labels"] = torch.from_numpy(pad(labels, -100))
        return batch

    def inputs(self, records: Sequence[VideoRecord], level: str) -> Any:
        """The batch without labels: a `BatchFeature` of the feature extractor."""
        return self.feature_extractor(
            [record.video_features for record in records],
            frame_times_s=[record.frame_times_s for record in records],
            text_features=[record.text_features for record in records],
            text_times_s=[np.array([(s.start_s, s.end_s) for s in r.sentences]).reshape(-1, 2) for r in records],
            description_features=[record.description_features for record in records],
            level=level,
            video_ids=[record.video_id for record in records],
        )

    @staticmethod
    def _sentence_labels(record: VideoRecord, frame_labels: np.ndarray, spans: np.ndarray, length: int) -> np.ndarray:
        """(length,): the record's labels, else those of `sentence_labels_from_frames`; -100 for description texts."""
        labels = np.full(length, -100)
        count = min(len(record.text_features), length)
        own = record.sentence_labels
        labels[:count] = sentence_labels_from_frames(frame_labels, spans[:count]) if own is None else own
        return labels


def sentence_labels_from_frames(frame_labels: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """A sentence is important iff any frame of its span is (A2Summ's rule); -100 where no frame of it has a label.

    Args:
        frame_labels: (N,) 1, 0 or -100.
        spans: (M, 2) [start, end) in frame indices.
    """
    return np.array([max(frame_labels[start:end], default=-100) for start, end in spans], np.int64)


def _or(value: np.ndarray | None, default: np.ndarray) -> np.ndarray:
    return default if value is None else value
