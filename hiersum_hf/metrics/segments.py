"""WikiHow's segments that a score selects, beside the labels.

Letters: N frames, S segments.
"""

from __future__ import annotations

from math import floor

import numpy as np

from hiersum_hf.metrics.inputs import best, exact_part, finite_row, without_noise
from hiersum_hf.metrics.key_shots import precision_recall
from hiersum_hf.modeling.errors_hiersum import HierSumError


RULES = {"top50": 0.5, "top15": 0.15, "p>=0.5": None}  # share of the segments


def segment_prediction(scores: np.ndarray, rule: str = "top50", video_id: str = "?") -> np.ndarray:
    """Choose the segments predicted to be important.

    The rules are not given in the paper.

    - "top50": the floor(0.5 S) best of the video; IV-Sum pools its upper half over a batch instead;
    - "top15": the floor(0.15 S) best;
    - "p>=0.5": those that score at least 0.5.

    Of equal scores the earlier segments come first.

    Args:
        scores: (S,) mean score of each segment.
        rule: Which segments.
        video_id: Named in error messages.

    Returns:
        (S,) bool.

    Raises:
        ValueError: If there is no such rule, or scores are empty, NaN or infinite.
    """
    if rule not in RULES:
        raise HierSumError(f"rule: expected one of {', '.join(RULES)}; found {rule!r}")
    row, share = finite_row(scores, video_id), RULES[rule]
    return row >= 0.5 if share is None else best(row, floor(exact_part(share, len(row))))


def segment_means(scores: np.ndarray, segment_of_frame: np.ndarray, n_segments: int, video_id: str = "?") -> np.ndarray:
    """Average the scores of each segment's frames.

    Args:
        scores: (N,) score of each sampled frame.
        segment_of_frame: (N,) int, the segment of each; frames of none outside 0 .. S - 1 count for nothing.
        n_segments: S.
        video_id: Named in error messages.

    Returns:
        (S,), NaN where a segment has no frame.

    Raises:
        ValueError: If the lengths differ, or scores are empty, NaN or infinite.
    """
    row, segments = finite_row(scores, video_id), np.asarray(segment_of_frame)
    if segments.shape != row.shape:
        raise HierSumError(f"video {video_id}: expected the segments of {len(row)} frames, found {segments.shape}")
    # Sums and counts of each segment's frames, without a loop over segments
    known = (segments >= 0) & (segments < n_segments)
    counts = np.bincount(segments[known], minlength=n_segments)
    sums = np.bincount(segments[known], row[known], n_segments)
    return np.where(counts > 0, without_noise(sums / np.maximum(counts, 1)), np.nan)


def segment_f1(pred: np.ndarray, labels: np.ndarray, video_id: str = "?") -> dict[str, float]:
    """Compute F1, precision and recall of predicted segments.

    `pred` (S,) is bool, `labels` (S,) are 0 or 1. All are NaN, undefined, where no segment is positive, and 0 where
    none of the positive ones is predicted.

    Raises:
        ValueError: If the lengths differ or labels are neither 0 nor 1.
    """
    pred, labels = np.asarray(pred, bool), np.asarray(labels)
    if pred.shape != labels.shape or pred.ndim != 1:
        raise HierSumError(f"video {video_id}: expected predictions of shape {labels.shape}, found {pred.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise HierSumError(f"video {video_id}: expected labels 0 and 1, found {np.unique(labels).tolist()}")
    precision, recall = precision_recall(pred, labels, video_id)
    # The harmonic mean; NaN goes through, for NaN is not 0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"f1": f1, "precision": precision, "recall": recall}
