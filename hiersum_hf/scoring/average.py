"""Average what several scorers say of a video.

Letters: N values, K scorers. Not given in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hiersum_hf.records import Floats


def average_scores(each: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """Average the standardised scores of several scorers, video by video.

    Of the scores x_1 ... x_K of a video, with the means m_k and the standard deviations s_k over its frames, it is

        mean_k m_k + (mean_k s_k) mean_k (x_k - m_k) / s_k

    so that each scorer counts alike, whatever its scale, and one alone is returned as it is. A scorer that gives all
    frames of a video the same score says nothing of their order.

    Args:
        each: For each scorer (N,) scores by video id. A scorer without a video, or with no values there, is left out.

    Returns:
        (N,) averaged scores by video id; they may leave [0, 1] by a little.
    """
    names = dict.fromkeys(name for one in each for name in one)
    return {name: _average([np.asarray(one[name]) for one in each if len(one.get(name, ()))]) for name in names}


def one_level(levels: Sequence[str]) -> str | None:
    """Name the level that several networks read, None without networks."""
    return None if not levels else levels[0] if len(set(levels)) == 1 else "each run's own"


def _average(each: Sequence[Floats]) -> Floats:
    if len(each) < 2:
        return each[0] if each else np.zeros(0)
    x = np.array(each, np.float64)  # (K, N)
    means, deviations = x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True)
    # Equal scores differ from their mean by rounding: they have no order
    standard = np.where(deviations > 1e-12 * np.abs(means), (x - means) / np.where(deviations, deviations, 1.0), 0.0)
    found: Floats = means.mean() + deviations.mean() * standard.mean(axis=0)
    return found
