"""Intervals and tests over videos. Not given in the paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import bootstrap, permutation_test


RESAMPLES = 9999
BATCH = 500  # resamples held in memory at once


def _paired(pairs: np.ndarray, seed: int) -> dict[str, Any]:
    """Figures of one metric from its (V, 2) values."""
    difference = pairs[:, 0] - pairs[:, 1]
    return {
        "videos": len(pairs),
        "first": float(pairs[:, 0].mean()),
        "second": float(pairs[:, 1].mean()),
        "difference": float(difference.mean()),
        "ci95": mean_interval(difference, seed),
        "p": _sign_flip_p(difference, seed),
    }


def mean_interval(values: np.ndarray, seed: int = 0) -> list[float] | None:
    """95 % percentile bootstrap interval of the mean of (V,) values; None for fewer than two."""
    if len(values) < 2:
        return None
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, batch=BATCH, method="percentile", rng=seed)
    return [float(found.confidence_interval.low), float(found.confidence_interval.high)]


def _sign_flip_p(difference: np.ndarray, seed: int) -> float:
    if len(difference) < 2:
        return 1.0
    test = permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, batch=BATCH, rng=seed
    )
    return float(test.pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction: the smallest p times their number, the next times one less, ..., never falling."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1)
    return corrected.tolist()
