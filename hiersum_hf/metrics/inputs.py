"""What every protocol asks of its input.

Scores must be finite, lengths must agree, shares must be exact.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hiersum_hf.modeling.errors_hiersum import HierSumError


LENGTH_TOLERANCE = 2


def cut_to_common(ours: np.ndarray, users: np.ndarray, video_id: str = "?") -> tuple[np.ndarray, np.ndarray]:
    """Cut `ours` (n,) and `users` (U, n') to the shorter length.

    Raises:
        ValueError: If the lengths differ by more than two; the message names the video.
    """
    ours, users = np.asarray(ours), np.atleast_2d(users)
    if abs(len(ours) - users.shape[1]) > LENGTH_TOLERANCE:
        raise HierSumError(f"video {video_id}: expected {users.shape[1]} values as annotated, found {len(ours)}")
    common = min(len(ours), users.shape[1])
    return ours[:common], users[:, :common]


def finite_row(values: np.ndarray, video_id: str, what: str = "scores") -> np.ndarray:
    """Check a row of values (n,), n >= 1, as float64.

    Raises:
        ValueError: If they are no such row, or hold NaN or infinity; the message names the video.
    """
    row = np.asarray(values, np.float64)
    if row.ndim != 1 or len(row) == 0:
        raise HierSumError(f"video {video_id}: expected {what} of shape (n,) with n >= 1, found {row.shape}")
    if not np.isfinite(row).all():
        raise HierSumError(f"video {video_id}: expected finite {what}, found NaN or infinity")
    return row


def exact_part(share: float, n: int) -> Fraction:
    """Take a share of n exactly, as its decimal reads.

    There is no binary rounding: 0.29 of 100 is 29, in floats 28.999999999999996.

    Raises:
        ValueError: If `share` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise HierSumError(f"expected a share above 0 and at most 1, found {share}")
    return Fraction(str(share)) * n  # str gives the shortest decimal that reads back as this float


def best(values: np.ndarray, count: int) -> np.ndarray:
    """Mark the greatest values, (n,) bool.

    They are the `count` greatest of `values` (n,); of equal ones the earlier comes first.
    """
    chosen = np.zeros(len(values), bool)
    chosen[np.argsort(-values, kind="stable")[:count]] = True  # stable: of equal ones the earlier
    return chosen


def without_noise(means: np.ndarray) -> np.ndarray:
    """Round means (n,) to 12 digits of the greatest.

    Those that differ by the order of a sum alone become ties.
    """
    # 1e-12 of the greatest is far above the error of a sum and far below what scores tell apart
    scale = float(np.abs(means).max(initial=0.0))
    return np.round(means / scale, 12) * scale if scale else means
