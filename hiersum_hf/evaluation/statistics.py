"""Compute intervals and tests over videos.

None of them is given in the paper.

Letters: V videos.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import bootstrap, permutation_test


RESAMPLES = 9999
BATCH = 500  # resamples held in memory at once


def compare_pairs(pairs: np.ndarray, seed: int) -> dict[str, Any]:
    """Compare two scorers on one metric from its (V, 2) values.

    The comparison has both means, their difference with its interval, and p.
    """
    difference = pairs[:, 0] - pairs[:, 1]
    return {
        "videos": len(pairs),
        "first": float(pairs[:, 0].mean()),
        "second": float(pairs[:, 1].mean()),
        "difference": float(difference.mean()),
        "ci95": mean_interval(difference, seed),
        "p": _sign_flip_p(difference, seed),
    }


def mean_interval(values: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> list[float] | None:
    """Compute the 95 % bootstrap interval of the mean of (V,) values.

    Returns:
        [low, high], or None for fewer than two values.
    """
    if len(values) < 2:
        return None
    # Not given in the paper. Draw V of the V values with replacement and take their mean, `resamples` times. The
    # interval goes from the 2.5 % to the 97.5 % quantile of these means. It is about other videos, not other trainings.
    found = bootstrap((values,), np.mean, n_resamples=resamples, batch=BATCH, method="percentile", rng=seed)
    return [float(found.confidence_interval.low), float(found.confidence_interval.high)]


def _sign_flip_p(difference: np.ndarray, seed: int) -> float:
    """Test whether the mean of (V,) paired differences is 0.

    The p value is two-sided.
    """
    if len(difference) < 2:
        return 1.0
    # Not given in the paper. If both scorers are equally good, each difference d is as likely with either sign. Of all
    # choices of signs s in {-1, 1}^V, one share has mean(s d) >= mean(d), another mean(s d) <= mean(d); p is twice the
    # smaller one. Shares are exact where 2^V <= RESAMPLES (V <= 13), else (b + 1) / (RESAMPLES + 1), b the number
    # among RESAMPLES random choices.
    test = permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, batch=BATCH, rng=seed
    )
    return float(test.pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Correct p values for their number by Holm's rule."""
    # Not given in the paper. For k values p(1) <= ... <= p(k) the corrected p(i) is the largest (k - j + 1) p(j) over
    # j <= i, at most 1. The chance of any false finding among all k then stays below the level of significance.
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1)
    return corrected.tolist()
