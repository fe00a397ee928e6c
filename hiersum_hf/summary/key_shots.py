"""The field's key-shot rule on one's own video.

Shots, an exact knapsack, and a window where no shot will do. Letters: N sampled frames, S shots, P spoken stretches.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from hiersum_hf.records import Floats, clock
from hiersum_hf.summary.shots import knapsack
from hiersum_hf.summary.spoken import around


MAX_UNITS = 20_000  # of the knapsack's capacity: milliseconds up to 20 s, coarser above
SMALLEST_UNIT_S = 1e-3
SHORTEST_SHOT_S = 0.5  # of shots whose borders moved to a sentence's edge; not given in the paper
Curve = tuple[Floats, Floats]


def timed_shots(borders_s: Floats, duration_s: float, spoken_s: Floats) -> Floats:
    """Bound the shots in seconds, (S, 2).

    They cover 0 to `duration_s` and begin inside no spoken stretch. A border inside one moves to its nearer edge;
    borders that end up less than 0.5 s after another are dropped.
    """
    before_s, after_s = around(borders_s, spoken_s)
    moved_s = np.where(borders_s - before_s <= after_s - borders_s, before_s, after_s)
    starts_s, shortest_s = [0.0], SHORTEST_SHOT_S if len(spoken_s) else 0.0
    inside_s = moved_s[moved_s < duration_s]  # containers may tell a length that ends before their frames
    for border_s in inside_s.tolist():
        if border_s - starts_s[-1] > shortest_s < duration_s - border_s:
            starts_s.append(border_s)
    return np.array(list(pairwise([*starts_s, float(duration_s)])))


def choose_shots(
    bounds_s: Floats, curve: Curve, budget_s: float, spoken_s: Floats
) -> tuple[np.ndarray, list[tuple[float, float]], str | None]:
    """Choose the shots that the key-shot rule takes.

    They have the greatest sum of mean scores of all that fit the budget together, by an exact knapsack.

    Args:
        bounds_s: (S, 2) shots, as `timed_shots` gives them.
        curve: Of the scores, as `score_integral` gives it.
        budget_s: Seconds; lengths are rounded up to 1/20,000 of it or 1 ms, whichever is more.
        spoken_s: (P, 2) stretches that a window must not cut.

    Returns:
        (S,) bool, the stretches with shots that touch as one, and None; or no shot, the best-scored window and why it
        was taken: no shot fits the budget, or only such as score less than the video on average.
    """
    values = window_means(curve, bounds_s)
    chosen = _knapsack(bounds_s, values, budget_s)
    if chosen.any():
        return chosen, _merge(bounds_s[chosen]), None
    window_s = best_window(curve, budget_s, spoken_s, (0.0, float(bounds_s[-1, 1])))
    return chosen, [window_s], _why_no_shot(bounds_s, values, budget_s)


def _knapsack(bounds_s: Floats, values: Floats, budget_s: float) -> np.ndarray:
    """Choose the best shots that fit `budget_s`, (S,) bool.

    These are all if the video fits, and none if all that fit are below average.
    """
    if budget_s >= bounds_s[-1, 1]:
        return np.ones(len(values), bool)
    unit_s = max(SMALLEST_UNIT_S, budget_s / MAX_UNITS)
    # The field's rule: maximise the sum of the chosen shots' mean scores, lengths as weights (not their product, as
    # `selection` has it)
    lengths = np.ceil((bounds_s[:, 1] - bounds_s[:, 0]) / unit_s - 1e-6)  # 1e-6 units: float error of a difference
    capacity = math.floor(budget_s / unit_s + 1e-6)
    if values[lengths <= capacity].max(initial=0.0) < _mean(bounds_s, values) - 1e-9:
        return np.zeros(len(values), bool)
    return knapsack(values, lengths.astype(np.int64), capacity)


def _mean(bounds_s: Floats, values: Floats) -> float:
    """Compute the video's mean score from that of its shots."""
    return float(np.average(values, weights=np.diff(bounds_s)[:, 0]))


def _merge(bounds_s: Floats) -> list[tuple[float, float]]:
    """Join shots that follow each other without a gap."""
    breaks = np.flatnonzero(bounds_s[1:, 0] > bounds_s[:-1, 1])
    starts_s, ends_s = bounds_s[np.append(0, breaks + 1), 0], bounds_s[np.append(breaks, -1), 1]
    return list(zip(starts_s.tolist(), ends_s.tolist(), strict=True))


def frame_edges(times_s: Floats, duration_s: float) -> Floats:
    """Bound the stretch that each sampled frame stands for.

    A frame holds from its edge, the first from 0, until the next one.

    Returns:
        (N + 1,) seconds.
    """
    edges_s: Floats = np.minimum(np.concatenate([[0.0], times_s[1:], [np.inf]]), duration_s)
    return edges_s


def score_integral(edges_s: Floats, scores: Floats) -> Curve:
    """Integrate the scores over time.

    Returns:
        The edges (N + 1,) in seconds, and the integral up to each.
    """
    return edges_s, np.append(0.0, np.cumsum(scores * np.diff(edges_s)))


def window_means(curve: Curve, spans_s: Any) -> Floats:
    """Average the score over each of `spans_s` (S, 2)."""
    # (integral up to the end - integral up to the start) / length
    bounds_s: Floats = np.asarray(spans_s, np.float64)
    means: Floats = np.diff(np.interp(bounds_s, *curve))[:, 0] / (bounds_s[:, 1] - bounds_s[:, 0])
    return means


def best_window(curve: Curve, length_s: float, spoken_s: Floats, within_s: tuple[float, float]) -> tuple[float, float]:
    """Find the window with the most score that cuts nothing spoken.

    It is at most `length_s` long. Of equals it is the longest, then the earliest. Where nothing is spoken it is as long
    as `length_s` or `within_s`.
    """
    low_s, high_s = within_s
    length_s = min(length_s, high_s - low_s)
    edges_s = curve[0]
    # The integral is straight between frame edges: a best window begins or ends at one, or at the edge of what is said
    starts_s = np.clip(np.concatenate([edges_s, edges_s - length_s, spoken_s.ravel()]), low_s, high_s - length_s)
    starts_s = np.unique(np.concatenate(around(starts_s, spoken_s)))
    ends_s, _ = around(np.minimum(starts_s + length_s, high_s), spoken_s)
    fits = (starts_s >= low_s) & (ends_s > starts_s)
    starts_s, ends_s = starts_s[fits], ends_s[fits]
    gains = np.interp(ends_s, *curve) - np.interp(starts_s, *curve)
    lengths_s = np.where(gains >= gains.max() - 1e-9, ends_s - starts_s, 0.0)
    best = int(np.flatnonzero(lengths_s >= lengths_s.max() - 1e-9)[0])
    return float(starts_s[best]), float(ends_s[best])


def _why_no_shot(bounds_s: Floats, values: Floats, budget_s: float) -> str:
    lengths_s = np.diff(bounds_s)[:, 0]
    best = int(np.where(lengths_s <= budget_s, values, -1.0).argmax())
    if lengths_s.min() > budget_s:
        why = f"The budget of {budget_s:.4g} s is shorter than every shot (the shortest lasts {lengths_s.min():.4g} s)"
    elif not values.any():
        why = "Every shot scores 0"
    else:
        where = f"{clock(bounds_s[best, 0])} to {clock(bounds_s[best, 1])}, score {values[best]:.2f}"
        why = f"Shots that fit the budget of {budget_s:.4g} s score below the video's mean of "
        why += f"{_mean(bounds_s, values):.2f} (the best of them: {where})"
    return f"{why}: the best-scored window of that length was taken instead."
