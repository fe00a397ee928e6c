"""Records of one level to a batch with labels.

Letters: N sampled frames, M sentences, K description texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hiersum_hf.labels import mean_ranks, sentence_labels_from_frames
from hiersum_hf.modeling.attention_hiersum import count_pairs
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor, pad, times_to_spans
from hiersum_hf.records import VideoRecord, sentence_times_s


def target_scores(record: VideoRecord, rank_targets: bool = False) -> np.ndarray | None:
    """Return the scores to learn, (N,) with NaN for none.

    With `rank_targets`, of a video with annotators, they are `mean_ranks` of theirs.
    """
    if not rank_targets or record.user_scores is None:
        return record.frame_scores
    return mean_ranks(record.user_scores)


class HierSumCollator:
    """Collator of (level, record) pairs.

    It makes the keyword arguments of `HierSumModel.forward`, labels included, from pairs of one level.

    Args:
        feature_extractor: Builds the inputs and checks them.
        rank_targets: Of videos with annotators, the scores to learn are `mean_ranks` of theirs.
    """

    def __init__(self, feature_extractor: HierSumFeatureExtractor, rank_targets: bool = False):
        self.feature_extractor, self.rank_targets = feature_extractor, rank_targets

    def __call__(self, items: Sequence[tuple[str, VideoRecord]]) -> dict[str, Any]:
        levels = {level for level, _ in items}
        if len(levels) != 1:
            raise HierSumError(f"A batch must have one level, got {sorted(levels)}.")
        level, records = levels.pop(), [record for _, record in items]
        batch = dict(self.inputs(records, level))
        # (B, N), padded with "no label", "no score"
        frame_labels = [_or(r.frame_labels, np.full(len(r.video_features), -100)) for r in records]
        batch["frame_labels"] = torch.from_numpy(pad(frame_labels, -100))
        targets = [target_scores(record, self.rank_targets) for record in records]
        if any(target is not None for target in targets):
            scores = [_or(t, np.full(len(r.video_features), np.nan)) for t, r in zip(targets, records, strict=True)]
            batch["replay_scores"] = torch.from_numpy(pad(scores, np.nan)).float()
        # (B, M), the texts in the order of `text_features`
        batch["sentence_labels"] = torch.from_numpy(pad([text_labels(record, level) for record in records], -100))
        if level != "parent" and batch["text_mask"].shape[1]:  # counted here, or each step would wait for the device
            masks = batch["video_mask"].bool(), batch["text_mask"].bool()
            batch["num_pairs"] = int(count_pairs(*masks, batch["text_spans"], level).sum())
        return batch

    def inputs(self, records: Sequence[VideoRecord], level: str) -> Any:
        """Build the batch without labels.

        It is a `BatchFeature` of the feature extractor.
        """
        return self.feature_extractor(
            [record.video_features for record in records],
            frame_times_s=[record.frame_times_s for record in records],
            text_features=[record.text_features for record in records],
            text_times_s=[sentence_times_s(record.sentences) for record in records],
            description_features=[record.description_features for record in records],
            level=level,
            video_ids=[record.video_id for record in records],
        )


def text_labels(record: VideoRecord, level: str) -> np.ndarray:
    """Collect the labels of the texts that a level reads.

    In the order of the network: (M,), (K,) or, at joint level, (M + K,). A description has labels at parent level only,
    and only where it is made of the video's own sentences (BLiSS).
    """
    spoken, whole = len(record.text_features), len(record.description_features)
    labels = sentence_labels(record)
    if level == "parent" and record.description == tuple(sentence.text for sentence in record.sentences):
        return labels[:whole]
    nothing = np.full(whole, -100)
    return {"child": labels[:spoken], "parent": nothing, "joint": np.concatenate([labels[:spoken], nothing])}[level]


def sentence_labels(record: VideoRecord) -> np.ndarray:
    """Look up the labels of the sentences, (M,) int64.

    The record's own, else those of its frames, else -100.
    """
    if record.sentence_labels is not None:
        return record.sentence_labels
    if record.frame_labels is None:
        return np.full(len(record.sentences), -100)
    spans = times_to_spans(record.frame_times_s, sentence_times_s(record.sentences))
    return sentence_labels_from_frames(record.frame_labels, spans)


def _or(value: np.ndarray | None, default: np.ndarray) -> np.ndarray:
    return default if value is None else value
