"""How much of what is important the selected seconds hold.

Not given in the paper. Letters: N sampled frames, S selected stretches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hiersum_hf.metrics.ranks import is_constant
from hiersum_hf.modeling.errors_hiersum import HierSumError


def captured(
    spans_s: Sequence[tuple[float, float]],
    edges_s: np.ndarray,
    importance: np.ndarray,
    budget_s: float,
    video_id: str = "?",
) -> float:
    """Tell what a selection captures of the importance.

    It is counted above the video's mean, as a share of the most possible. The sum over the selected seconds of
    importance less its mean, divided by the greatest such sum that any selection within the budget could have: that of
    the best frames, the last one in part. 1 is the best possible, 0 what chance captures. Seconds that a selection
    leaves unused count as the mean. Neither scale nor level of the importance matters.

    Args:
        spans_s: (S, 2) selected stretches that do not overlap, together no longer than the budget.
        edges_s: (N + 1,) seconds: frame i stands for [edges_s[i], edges_s[i + 1]).
        importance: (N,) NaN for frames that do not count.
        budget_s: Length that a selection may have.
        video_id: Named in error messages.

    Returns:
        At most 1; NaN, undefined, where the importance is constant or no frame has any.

    Raises:
        ValueError: If there are not as many frames as values.
    """
    edges_s, importance = np.asarray(edges_s, np.float64), np.asarray(importance, np.float64)
    if edges_s.shape != (len(importance) + 1,):
        raise HierSumError(
            f"video {video_id}: expected {len(edges_s) - 1} frames as edges tell, found {len(importance)}"
        )
    known = np.isfinite(importance) & (np.diff(edges_s) > 0)
    if is_constant(importance[known]):
        return float("nan")
    # captured = integral over the selection of (importance - mean) / its greatest value within the budget
    lengths_s = np.where(known, np.diff(edges_s), 0.0)
    mean = np.average(importance[known], weights=lengths_s[known])
    gains = np.where(known, importance - mean, 0.0)  # of a second
    integral = np.append(0.0, np.cumsum(gains * lengths_s))
    gained = np.diff(np.interp(np.reshape(spans_s, (-1, 2)), edges_s, integral)).sum()
    return float(gained / _most(gains, lengths_s, budget_s))


def _most(gains: np.ndarray, lengths_s: np.ndarray, budget_s: float) -> float:
    """Find the greatest sum of gains over `budget_s` seconds.

    It is that of the best frames, the last one in part, none below 0.
    """
    # A fractional knapsack: the best frames first, until the budget is used up
    order = np.argsort(-gains, kind="stable")
    gains, lengths_s = gains[order], lengths_s[order]
    room_s = budget_s - (np.cumsum(lengths_s) - lengths_s)  # left before each frame
    return float((np.clip(room_s, 0.0, lengths_s) * np.maximum(gains, 0.0)).sum())
