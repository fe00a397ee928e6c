"""Shots: kernel temporal segmentation, scores of frames and shots, and the exact knapsack that picks shots.

Letters: N sampled frames, D feature width, S shots, n_frames original frames.
"""

from __future__ import annotations

import numpy as np
from ruptures import KernelCPD


PENALTY_SCALE = 1.0  # vmax of kernel temporal segmentation; not given in the paper
TOTALS_AT_ONCE = 256  # knapsacks that `best_shots` solves side by side, for memory


def kernel_temporal_segmentation(features: np.ndarray) -> np.ndarray:
    """Cut a video where its features change: the exact optimum of kernel temporal segmentation.

    Minimises scatter(k) + (vmax / 2) k (ln(N / k) + 1) over k = 0 .. N - 1 change points and their places, on
    L2-normalised features (Potapov et al. 2014; vmax 1 and shots of at least one frame are not given in the paper).
    The penalty is concave in k, so the best k is a vertex of the lower hull of scatter(k), and every such vertex is
    the optimum of some linear penalty, which PELT solves exactly in linear memory, in time N x longest shot x D.

    Args:
        features: (N, D) one row for each sampled frame, N >= 1.

    Returns:
        (S, 2) int64, [start, end) in sampled frames; together they cover all N.

    Raises:
        ValueError: If `features` is no non-empty matrix, or holds NaN or infinity.
    """
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"features: expected shape (N, D) with N >= 1, found {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError("features: expected finite values, found NaN or infinity")
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    starts = _best_starts(features / np.where(norms > 0, norms, 1.0))
    return np.stack([starts, np.append(starts[1:], len(features))], axis=1)


def _best_starts(features: np.ndarray) -> np.ndarray:
    """(S,) first frames of the best segmentation of normalised features."""
    n, whole = len(features), np.zeros(1, np.int64)
    if n == 1 or features.shape[1] == 0:
        return whole
    detector = KernelCPD(kernel="linear", min_size=1).fit(features)
    best = _walk_hull(detector, features)
    return min(best, whole, key=lambda s: _objective(features, s))


def _walk_hull(detector: KernelCPD, features: np.ndarray) -> np.ndarray:
    """The segmentation with the least objective among the hull's vertices with at least one change point.

    Only slopes from vmax/2 ln(N / (N-1)) to vmax/2 ln N, the penalty's own slopes, can hold the optimum. Between two
    vertices the cost lies above both their supporting lines; a line plus the concave penalty is least at an end, so
    the value where the lines cross bounds everything between, and most intervals need no look.
    """
    n = len(features)

    def vertex(slope: float) -> tuple[float, int, float, np.ndarray]:
        starts = _starts(detector.predict(pen=slope))
        return slope, len(starts) - 1, _scatter(features, starts), starts

    ends = [vertex(PENALTY_SCALE / 2 * np.log(ratio)) for ratio in (n, n / (n - 1))]
    best = min(ends, key=lambda v: v[2] + _penalty(v[1], n))
    intervals = [(ends[0], ends[1])]
    while intervals:
        left, right = intervals.pop()
        gap = right[1] - left[1]
        if gap < 2 or _bound(left, right, n) >= best[2] + _penalty(best[1], n):
            continue
        middle = vertex((left[2] - right[2]) / gap)
        if not left[1] < middle[1] < right[1]:
            continue  # no vertex lies under the chord
        best = min(best, middle, key=lambda v: v[2] + _penalty(v[1], n))
        intervals += [(left, middle), (middle, right)]
    return best[3]


def _bound(left: tuple, right: tuple, n: int) -> float:
    """A lower bound of the objective strictly between two hull vertices (slope, k, scatter, starts)."""
    (slope_1, k_1, cost_1, _), (slope_2, k_2, cost_2, _) = left, right
    if slope_1 <= slope_2:
        return float("inf")
    crossing = np.clip((cost_1 - cost_2 + slope_1 * k_1 - slope_2 * k_2) / (slope_1 - slope_2), k_1, k_2)
    return cost_1 - slope_1 * (crossing - k_1) + _penalty(crossing, n)


def _starts(ends: list[int]) -> np.ndarray:
    """The first frames of the shots that end at `ends` (the last is N)."""
    return np.array([0, *ends[:-1]], dtype=np.int64)


def _scatter(features: np.ndarray, starts: np.ndarray) -> float:
    """Summed squared distance of every frame to its shot's mean."""
    lengths = np.diff(np.append(starts, len(features)))
    sums = np.add.reduceat(features, starts, axis=0)  # (S, D)
    return float((features**2).sum() - ((sums**2).sum(axis=1) / lengths).sum())


def _penalty(k: float, n: int) -> float:
    return 0.0 if k == 0 else float(PENALTY_SCALE / 2 * k * (np.log(n / k) + 1))


def _objective(features: np.ndarray, starts: np.ndarray) -> float:
    return _scatter(features, starts) + _penalty(len(starts) - 1, len(features))


def clip_shots(shots: np.ndarray, n_frames: int) -> np.ndarray:
    """(S, 2) int64 shots cut to [0, n_frames), those that lie outside left out.

    Raises:
        ValueError: If `shots` is not (S, 2), a shot ends before it starts, shots overlap, or none is left.
    """
    shots = np.asarray(shots, dtype=np.int64)
    if shots.ndim != 2 or shots.shape[1] != 2:
        raise ValueError(f"shots: expected shape (S, 2), found {shots.shape}")
    if (shots[:, 0] > shots[:, 1]).any() or (shots[1:, 0] < shots[:-1, 1]).any():
        raise ValueError("shots: expected ascending [start, end) pairs that do not overlap")
    shots = np.clip(shots, 0, n_frames)
    shots = shots[shots[:, 0] < shots[:, 1]]
    if len(shots) == 0:
        raise ValueError(f"shots: expected at least one in [0, {n_frames}), found none")
    return shots


def fill_picks(scores: np.ndarray, picks: np.ndarray, n_frames: int) -> np.ndarray:
    """(n_frames,) scores: each pick's score fills up to the next pick, the first one's also what comes before.

    Args:
        scores: (N,) score of each sampled frame.
        picks: (N,) original frame behind each, strictly ascending.

    Raises:
        ValueError: If the lengths differ or are 0, or picks do not ascend.
    """
    scores, picks = np.asarray(scores), np.asarray(picks)
    if scores.shape != picks.shape or scores.ndim != 1 or len(scores) == 0:
        raise ValueError(f"expected as many scores as picks, at least one; found {scores.shape} and {picks.shape}")
    if (np.diff(picks) <= 0).any():
        raise ValueError("picks: expected strictly ascending frame numbers")
    starts, ends = np.clip(picks, 0, n_frames), np.clip(np.append(picks[1:], n_frames), 0, n_frames)
    starts[0] = 0
    return np.repeat(scores, ends - starts)


def shot_scores(frame_scores: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """(S,) mean of `frame_scores` (n_frames,) over each of `shots` (S, 2), which must lie inside and not be empty."""
    sums = np.concatenate([[0.0], np.cumsum(frame_scores, dtype=np.float64)])
    return (sums[shots[:, 1]] - sums[shots[:, 0]]) / (shots[:, 1] - shots[:, 0])


def knapsack(values: np.ndarray, weights: np.ndarray, capacity: int) -> np.ndarray:
    """Exact 0/1 knapsack: the items with the greatest total value whose weights sum to at most `capacity`.

    Of two equally good choices the one without the later item wins; items without positive value are never taken.

    Args:
        values: (S,) float.
        weights: (S,) int, >= 0.
        capacity: >= 0.

    Returns:
        (S,) bool, the items taken. Memory is S x capacity bits.

    Raises:
        ValueError: If lengths differ, values are not finite, or a weight or the capacity is negative.
    """
    values, weights = np.asarray(values, np.float64), np.asarray(weights, np.int64)
    if values.shape != weights.shape or values.ndim != 1:
        raise ValueError(f"expected as many values as weights, found {values.shape} and {weights.shape}")
    if not np.isfinite(values).all() or (weights < 0).any() or capacity < 0:
        raise ValueError("expected finite values, weights >= 0 and a capacity >= 0")
    best = np.zeros(capacity + 1)
    taken = [_take(best, value, weight) for value, weight in zip(values.tolist(), weights.tolist(), strict=True)]
    chosen, room = np.zeros(len(values), bool), capacity
    for item in reversed(range(len(values))):
        chosen[item] = taken[item][room >> 3] >> (7 - (room & 7)) & 1
        room -= int(weights[item]) * int(chosen[item])
    return chosen


def _take(best: np.ndarray, value: float, weight: int) -> np.ndarray:
    """Offer one item to every capacity at once; `best` is updated, the bits of those that take it are returned."""
    better = np.zeros(len(best), bool)
    if weight < len(best):
        candidate = best[: len(best) - weight] + value
        np.greater(candidate, best[weight:], out=better[weight:])
        np.maximum(candidate, best[weight:], out=best[weight:])
    return np.packbits(better)


def best_shots(summaries: np.ndarray, shots: np.ndarray, capacity: int, reduce: str = "mean") -> np.ndarray:
    """The shots of at most `capacity` frames whose F1 against annotators is the greatest possible.

    F1 = 2 overlap / (length + length of the annotator's summary) is linear in the shots once their total length is
    fixed, so one exact knapsack for each total length finds the optimum.

    Args:
        summaries: (U, n_frames) bool.
        shots: (S, 2) [start, end) in original frames, none past the end.
        capacity: Frames allowed.
        reduce: "mean" over annotators or the "max".

    Returns:
        (S,) bool, no shot where none fits.
    """
    sums = np.pad(np.cumsum(summaries, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    overlaps, lengths = sums[:, shots[:, 1]] - sums[:, shots[:, 0]], shots[:, 1] - shots[:, 0]  # (U, S), (S,)
    each = range(len(sums)) if reduce == "max" else [slice(None)]
    found = [_best_for(np.atleast_2d(overlaps[u]), np.atleast_1d(sums[u, -1]), lengths, capacity) for u in each]
    _, values, total = max(found, key=lambda best: best[0])
    return _exactly(values, lengths, total)


def _best_for(
    overlaps: np.ndarray, sizes: np.ndarray, lengths: np.ndarray, capacity: int
) -> tuple[float, np.ndarray, int]:
    """Greatest mean F1 for annotators with (U, S) overlaps, (U,) sizes; values (S,) and length of the shots there."""
    best = 0.0, np.zeros(len(lengths)), 0
    for first in range(1, capacity + 1, TOTALS_AT_ONCE):
        totals = np.arange(first, min(first + TOTALS_AT_ONCE, capacity + 1))  # (T,)
        values = 2 / (totals[:, None] + sizes) @ overlaps / len(sizes)  # (T, S): F1 that a shot adds at this length
        table = np.full((len(totals), totals[-1] + 1), -np.inf)  # (T, length so far)
        table[:, 0] = 0
        for value, length in zip(values.T, lengths, strict=True):
            _offer(table, value[:, None], length)
        f1 = table[np.arange(len(totals)), totals]
        top = int(f1.argmax())
        if f1[top] > best[0]:
            best = float(f1[top]), values[top], int(totals[top])
    return best


def _offer(table: np.ndarray, value: np.ndarray, length: int) -> None:
    """One more item for (T, length so far) best values: table[:, c] becomes at least table[:, c - length] + value."""
    if length < table.shape[1]:
        kept = table[:, : table.shape[1] - length] + value
        np.maximum(table[:, length:], kept, out=table[:, length:])


def _exactly(values: np.ndarray, lengths: np.ndarray, total: int) -> np.ndarray:
    """(S,) bool: the items with the greatest total value among those of exactly this total length."""
    table = np.full((1, total + 1), -np.inf)
    table[0, 0] = 0
    tables = [table.copy()]
    for value, length in zip(values, lengths, strict=True):
        _offer(table, value, length)
        tables.append(table.copy())
    chosen = np.zeros(len(values), bool)
    for item in reversed(range(len(values))):
        if tables[item + 1][0, total] > tables[item][0, total]:
            chosen[item] = True
            total -= int(lengths[item])
    return chosen
