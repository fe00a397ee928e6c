"""Scores and most-replayed curves to the labels that a network learns.

A curve says how much each bin of a video was played again, nearly always a hundredth (B bins). Letters: N frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hiersum_hf.modeling.errors_hiersum import HierSumError


THRESHOLD = 0.15  # the paper's; on real curves it marks 2 % to 99 % of the frames
POSITIVE_RATES = 0.05, 0.60  # not given in the paper: outside, labels hardly tell frames apart


def mean_ranks(user_scores: np.ndarray) -> np.ndarray:
    """Average the ranks that each annotator gave the frames.

    An annotator who uses a small part of the scale, or is generous, counts as much as the others. Not given in the
    paper.

    Args:
        user_scores: (U, N) scores of U annotators on any scale.

    Returns:
        (N,) float32 in [0, 1], 0 the least and 1 the best frame; all 0 where nobody tells frames apart.
    """
    from scipy.stats import rankdata  # takes a second to load

    mean = rankdata(user_scores, axis=1).mean(axis=0)
    least, spread = mean.min(initial=np.inf), np.ptp(mean) if len(mean) else 0.0
    scaled: np.ndarray = (mean - least) / spread if spread else np.zeros_like(mean)
    return scaled.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class ReplayLabels:
    """Settings of readers of replay scores.

    Which videos they take, and which of their frames are important.

    Args:
        threshold: A frame is important iff its score reaches this, in [0, 1]; the default is the paper's.
        quantile: Or iff it reaches this quantile of the video's own scores, see `threshold_labels`.
        intro_bins: So many bins (hundredths) at the beginning of each video lose score and label: people start videos
            there, so the first bin is often the maximum (not given in the paper).
        min_views, max_views: Only videos watched this often; of those with unknown views none, if either is given.

    Raises:
        ValueError: A setting that cannot be.
    """

    threshold: float = THRESHOLD
    quantile: float | None = None
    intro_bins: int = 0
    min_views: int | None = None
    max_views: int | None = None

    def __post_init__(self) -> None:
        _check_limits(self.threshold, self.quantile)
        if self.intro_bins < 0:
            raise HierSumError(f"expected a number of intro bins from 0, found {self.intro_bins}")
        if self.min_views is not None and self.max_views is not None and self.min_views > self.max_views:
            raise HierSumError(f"expected min_views up to max_views, found {self.min_views} and {self.max_views}")

    def takes(self, views: int | None) -> bool:
        """Tell whether a video watched this often belongs to the data.

        None stands for unknown views.
        """
        return within_views(views, self.min_views, self.max_views)

    def labels(self, scores: np.ndarray) -> np.ndarray:
        """Turn scores (N,) into labels (N,).

        As `threshold_labels`.
        """
        return threshold_labels(scores, self.threshold, self.quantile)

    def score_frames(self, curve: ReplayCurve, frame_times_s: np.ndarray) -> dict[str, Any]:
        """Give the frames at these times (N,) scores and labels.

        They are a record's frame_scores and frame_labels.
        """
        scores = curve.without_intro(self.intro_bins).scores_at(frame_times_s)
        return {"frame_scores": scores, "frame_labels": self.labels(scores)}

    def rate(self, curve: ReplayCurve) -> float | None:
        """Compute the share of the curve's bins that are important.

        None where all are masked.
        """
        return positive_rate(self.labels(curve.without_intro(self.intro_bins).values))


@dataclass(frozen=True, eq=False)
class ReplayCurve:
    """How often each part of a video is played again.

    Args:
        video_id: YouTube id.
        starts_s, ends_s: (B,) float64, bins [start, end) in seconds, ascending and apart; there may be gaps.
        values: (B,) float64 in [0, 1], 1 = the most replayed bin; NaN = masked.
        views: How often the video was watched, None where unknown.
        title: None where unknown.
    """

    video_id: str
    starts_s: np.ndarray
    ends_s: np.ndarray
    values: np.ndarray
    views: int | None = None
    title: str | None = None

    def scores_at(self, frame_times_s: np.ndarray) -> np.ndarray:
        """Look up the curve at each frame, (N,) float32.

        The value of the bin in which the frame is shown, NaN outside all bins.
        """
        times_s = np.asarray(frame_times_s, np.float64)
        # The last bin that starts at or before the frame; between two bins it has ended already
        bins = np.maximum(np.searchsorted(self.starts_s, times_s, side="right") - 1, 0)
        inside = (self.starts_s[bins] <= times_s) & (times_s < self.ends_s[bins])
        return np.where(inside, self.values[bins], np.nan).astype(np.float32)

    def without_intro(self, bins: int) -> ReplayCurve:
        """Mask the first bins of the curve.

        People start videos there, so the first is often the maximum.
        """
        if bins < 0:
            raise HierSumError(f"video {self.video_id}: expected a number of intro bins from 0, found {bins}")
        return replace(self, values=np.where(np.arange(len(self.values)) < bins, np.nan, self.values))


def within_views(views: int | None, min_views: int | None = None, max_views: int | None = None) -> bool:
    """Tell whether min_views <= views <= max_views.

    An unknown count is in no range but the unbounded one.
    """
    if views is None:
        return min_views is None and max_views is None
    return (min_views is None or views >= min_views) and (max_views is None or views <= max_views)


def threshold_labels(scores: np.ndarray, threshold: float = THRESHOLD, quantile: float | None = None) -> np.ndarray:
    """Label the frames that reach a score, (N,) int64.

    1 iff score >= threshold, else 0; -100 where a score is NaN.

    Args:
        scores: (N,), in [0, 1] or NaN.
        threshold: Least score of an important frame.
        quantile: Take this quantile of the video's own scores as the threshold instead: 0.85 marks the best 15 %,
            more where scores tie (not given in the paper).

    Raises:
        ValueError: Threshold outside [0, 1] or quantile outside (0, 1).
    """
    _check_limits(threshold, quantile)
    scores, known = np.asarray(scores), np.isfinite(scores)
    if quantile is not None and known.any():  # of this video alone: its best (1 - quantile) are important
        threshold = float(np.quantile(scores[known], quantile))
    return np.where(known, scores >= threshold, -100).astype(np.int64)


def positive_rate(labels: np.ndarray) -> float | None:
    """Compute the share of important frames among the labelled ones.

    None where there are none.
    """
    known = labels[labels != -100]
    return float((known == 1).mean()) if len(known) else None


def is_balanced(rate: float) -> bool:
    """Tell whether labels with this positive rate tell frames apart.

    They do from 5 to 60 %.
    """
    return POSITIVE_RATES[0] <= rate <= POSITIVE_RATES[1]


def _check_limits(threshold: float, quantile: float | None) -> None:
    """Refuse a threshold or a quantile that cannot be."""
    if not 0 <= threshold <= 1 or not (quantile is None or 0 < quantile < 1):
        raise HierSumError(f"expected a threshold in [0, 1] and a quantile in (0, 1), found {threshold} and {quantile}")


def sentence_labels_from_frames(frame_labels: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Label a sentence as important iff any of its frames is.

    A2Summ's rule (not given in the paper). (M,) int64, -100 where no frame of the span has a label.

    Args:
        frame_labels: (N,) 1, 0 or -100.
        spans: (M, 2) [start, end) in frame indices.
    """
    return np.array([max(frame_labels[start:end], default=-100) for start, end in spans], np.int64)
