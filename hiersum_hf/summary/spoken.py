"""Stretches in which something is said.

A summary cuts nothing inside them. Not given in the paper. Letters: P stretches, M sentences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hiersum_hf.records import Floats, Sentence


def spoken_stretches(sentences: Sequence[Sentence], duration_s: float, budget_s: float) -> Floats:
    """Give the stretches inside which nothing is cut.

    They are (P, 2) ascending seconds, each at most `budget_s` long. Each is one sentence, or several that overlap.
    Those that overlap for longer than the budget may be cut where the next of them begins; a sentence longer than the
    budget cannot be kept whole and is none.
    """
    stretches: list[tuple[float, float]] = []
    for chain in _overlapping(sentences, duration_s):
        start_s, end_s = chain[0][0], max(end for _, end in chain)
        starts_s = [start_s] if end_s - start_s <= budget_s else sorted({start for start, _ in chain})
        stretches += pairwise([*starts_s, end_s])
    bounds_s: Floats = np.array(stretches, np.float64).reshape(-1, 2)
    lengths_s = bounds_s[:, 1] - bounds_s[:, 0]
    return bounds_s[(lengths_s > 0) & (lengths_s <= budget_s)]


def _overlapping(sentences: Sequence[Sentence], duration_s: float) -> list[list[tuple[float, float]]]:
    """Group the sentences within the video that overlap.

    They are told by their bounds, and sorted by start.
    """
    chains: list[list[tuple[float, float]]] = []
    last_s = -math.inf
    for start_s, end_s in sorted((max(0.0, s.start_s), min(s.end_s, duration_s)) for s in sentences):
        if start_s < end_s:
            if start_s >= last_s:
                chains.append([])
            chains[-1].append((start_s, end_s))
            last_s = max(last_s, end_s)
    return chains


def around(times_s: Floats, spoken_s: Floats) -> tuple[Floats, Floats]:
    """Find the edges around each time.

    They are the edges of the stretch that it lies inside, or the time itself where there is none.
    """
    if not len(spoken_s):
        return times_s, times_s
    starts_s, ends_s = spoken_s.T
    index = np.maximum(np.searchsorted(starts_s, times_s) - 1, 0)  # the last stretch that starts before
    inside = (starts_s[index] < times_s) & (times_s < ends_s[index])
    return np.where(inside, starts_s[index], times_s), np.where(inside, ends_s[index], times_s)
