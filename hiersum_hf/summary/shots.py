"""Kernel temporal segmentation, and the knapsack that picks shots.

Letters: N sampled frames, D feature width, S shots, U annotators, n_frames original frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import Floats, Ints


PENALTY_SCALE = 1.0  # vmax of kernel temporal segmentation; not given in the paper
BLOCK, PART = 128, 256  # ends and starts of shots in one matrix product, for memory
KEPT = 2**22  # features whose sums are kept, for memory: an hour of the offline encoder's takes more
TOTALS_AT_ONCE = 256  # knapsacks that `best_shots` solves side by side, for memory


def kernel_temporal_segmentation(features: np.ndarray, longest: int | None = None) -> np.ndarray:
    """Cut a video where its features change.

    It is the exact optimum of kernel temporal segmentation: the least scatter(k) + (vmax / 2) k (ln(N / k) + 1) over k
    = 0 .. N - 1 change points and their places, on L2-normalised features (Potapov et al. 2014; vmax 1 and shots of at
    least one frame are not given in the paper). The penalty is concave in k, so the best k is a vertex of the lower
    hull of scatter(k), and every such vertex is the optimum of some linear penalty: a few passes of N x longest shot x
    D multiplications each, memory N x D.

    Args:
        features: (N, D) one row for each sampled frame, N >= 1.
        longest: Frames of a shot at most; default: any number. Where little changes for hours, time grows with N x
            longest, else with the square of N.

    Returns:
        (S, 2) int64, [start, end) in sampled frames; together they cover all N.

    Raises:
        ValueError: If `features` is no non-empty matrix, or holds NaN or infinity.
    """
    features = np.asarray(features)
    if features.ndim != 2 or len(features) == 0:
        raise HierSumError(f"features: expected shape (N, D) with N >= 1, found {features.shape}")
    if not np.isfinite(features).all():
        raise HierSumError("features: expected finite values, found NaN or infinity")
    starts = _walk_hull(_Frames(features), longest or len(features))
    return np.stack([starts, np.append(starts[1:], len(features))], axis=1)


class _Frames:
    """The normalised, centred features; of long videos made anew in each pass: the sums of ten hours take 700 MB."""

    def __init__(self, features: np.ndarray):
        self.features, self.norms, self.mean = features, np.ones(len(features)), np.zeros(features.shape[1])
        parts = [slice(first, first + BLOCK) for first in range(0, len(features), BLOCK)]
        for part in parts:
            norms = np.linalg.norm(features[part].astype(np.float64), axis=1)
            self.norms[part] = np.maximum(norms, np.finfo(np.float64).tiny)
        # Taken off all, it moves no distance, and keeps the sums small
        self.mean = sum(self._rows(part).sum(axis=0) for part in parts) / len(features)
        self.energy = sum(float(np.vdot(rows, rows)) for rows in map(self._rows, parts))
        self._kept = list(self._summed()) if features.size <= KEPT else None

    def __len__(self) -> int:
        return len(self.features)

    def _rows(self, part: slice) -> Floats:
        rows: Floats = self.features[part] / self.norms[part, None]
        rows -= self.mean
        return rows

    def sums(self) -> Iterable[tuple[int, Floats]]:
        """Sum up all frames before each, block by block.

        Returns:
            Each block's first frame t, and the sums (E + 1, D) of the first t, t + 1, ..., t + E frames.
        """
        return self._summed() if self._kept is None else self._kept

    def _summed(self) -> Iterator[tuple[int, Floats]]:
        before = np.zeros((1, self.features.shape[1]))
        for first in range(0, len(self), BLOCK):
            sums = np.concatenate([before, self._rows(slice(first, first + BLOCK))])
            for above, row in pairwise(sums):  # ten times as fast as cumsum down the columns
                row += above
            yield first, sums
            before = sums[-1:]


class _Vertex(NamedTuple):
    """The segmentation of least scatter + slope x k."""

    slope: float
    k: int
    scatter: float
    objective: float
    starts: np.ndarray  # (k + 1,)


def _walk_hull(frames: _Frames, longest: int) -> np.ndarray:
    """Find the vertex with the least objective of the hull of scatter(k).

    The best k is the optimum of the penalty's own slope there, vmax/2 ln(N / k), and k falls as the slope grows: the
    slope at a bound of the best k gives a closer bound. Nor may the penalty alone exceed an objective already found,
    nor the floor under the scatter.

    Returns:
        (S,) first frames of the shots at the vertex.
    """
    n, energy = len(frames), frames.energy
    least = (n - 1) // longest  # change points
    penalties = _penalty(np.arange(1.0, n), n)

    def vertex(slope: float, starts: np.ndarray) -> _Vertex:
        ends, k = np.append(starts[1:], n), len(starts) - 1
        scatter = energy - float((_squares(frames, ends) / (ends - starts)).sum())
        return _Vertex(slope, k, scatter, scatter + float(_penalty(k, n)), starts)

    fewest = vertex(np.inf, np.arange(0, n, longest))  # the optimum from some slope on has as many shots

    @cache
    def look(slope: float) -> _Vertex:
        nonlocal fewest
        if slope >= fewest.slope:
            return fewest
        found = vertex(slope, _cheapest_starts(frames, slope, longest))
        fewest = found if found.k == least else fewest
        return found

    best, bounds, low, high = fewest, (0, 0), max(1, least), int((penalties <= fewest.objective).sum())
    # A great slope drops few starts and takes long, so the low bound is raised by smaller ones: below its k, each has a
    # line that no scatter lies under
    guess, found = high, look(_slope(max(high, 1), n))
    while low == max(1, least) < guess and found.k > least:
        guess = max(guess // 16, low)
        found = look(_slope(guess, n))
        best, k = min(best, found, key=lambda v: v.objective), np.arange(found.k + 1.0)
        floor = found.scatter + found.slope * (found.k - k) + _penalty(k, n)
        low = max(low, int((floor <= best.objective + 1e-9 * energy).argmax()))
    while low <= high and (right := look(_slope(high, n))).k >= low:
        left = look(_slope(low, n))
        best = min(best, left, right, key=lambda v: v.objective)
        if bounds == (low, high) or right.k - left.k < 2:
            return _search(left, right, best, look, n).starts
        bounds = low, high
        low, high = max(low, left.k), min(right.k, int((penalties <= best.objective).sum()))
    return best.starts


def _squares(frames: _Frames, ends: Ints) -> Floats:
    """Square the sum over each shot, (S,); together the shots cover all frames."""
    squares, last = [], np.zeros((1, frames.features.shape[1]))  # last: the sum before the next shot
    for first, sums in frames.sums():
        at = np.concatenate([last, sums[ends[(first < ends) & (ends < first + len(sums))] - first]])
        squares.append((np.diff(at, axis=0) ** 2).sum(axis=1))
        last = at[-1:]
    return np.concatenate(squares)


def _search(left: _Vertex, right: _Vertex, best: _Vertex, look: Callable[[float], _Vertex], n: int) -> _Vertex:
    """Search the vertices between two for a better one."""
    if right.k - left.k < 2:
        return best
    # The scatter lies above both their lines, and the penalty is concave: where the lines cross bounds what is between.
    crossing = left.scatter - right.scatter + left.slope * left.k - right.slope * right.k
    crossing = np.clip(crossing / max(left.slope - right.slope, 1e-12), left.k, right.k)
    if left.scatter - left.slope * (crossing - left.k) + _penalty(crossing, n) >= best.objective:
        return best
    middle = look((left.scatter - right.scatter) / (right.k - left.k))
    if not left.k < middle.k < right.k:
        return best  # no vertex lies under the chord
    best = min(best, middle, key=lambda v: v.objective)
    return _search(left, middle, _search(middle, right, best, look, n), look, n)


def _penalty(k: float | Floats, n: int) -> Floats:
    """Compute the penalty of k change points."""
    # vmax / 2 x k (ln(N / k) + 1), 0 at k = 0
    return PENALTY_SCALE / 2 * k * (np.log(n / np.maximum(k, 1)) + 1)


def _slope(k: int, n: int) -> float:
    """Compute the slope of the penalty at k >= 1 change points."""
    return float(PENALTY_SCALE / 2 * np.log(n / k))


def _cheapest_starts(frames: _Frames, slope: float, longest: int) -> np.ndarray:
    """Find the segmentation of least scatter + slope x change points.

    It is found by dynamic programming. A start beaten by a later one that pays no penalty never wins
    again (PELT; Killick et al. 2012). A shot's scatter is its energy less its gain, and the energies of all shots
    always add up to the same: only gains count.

    Returns:
        (S,) first frames of the shots.
    """
    # cost(t) = min over s < t of cost(s) + slope - gain(s, t), cost(0) = -slope: the first shot has no change point
    # before it. Ends are taken in blocks: first the starts before the block, by matrices, then those within it.
    n = len(frames)
    costs = np.append(-slope, np.full(n, np.inf))  # least cost of the first t frames, without their energy
    sources, alive = np.zeros(n + 1, np.int64), np.zeros(1, np.int64)  # alive: starts that may still be best
    before = np.zeros((1, frames.features.shape[1]))  # the sums at these
    for first, sums in frames.sums():
        block, last = slice(first + 1, first + len(sums)), []  # last: each start's offer to the last end
        ends, found, back, sums = np.arange(block.start, block.stop), costs[block], sources[block], sums[1:]
        for begin in range(0, len(alive), PART):
            part = alive[begin : begin + PART]
            offers = costs[part, None] + slope - _gains(before[begin : begin + PART], sums, part, ends)  # (P, E)
            if part[0] < ends[-1] - longest:
                offers[ends - part[:, None] > longest] = np.inf
            row = offers.argmin(axis=0)
            _improve(found, back, offers[row, np.arange(len(ends))], part[row])
            last.append(offers[:, -1].copy())  # a view would keep all of them
        gains = _gains(sums, sums, ends, ends)
        for j, end in enumerate(ends[:-1], start=1):
            near = slice(j, j + longest)
            _improve(found[near], back[near], found[j - 1] + slope - gains[j - 1, near], end)
        last.append(found[:-1] + slope - gains[:-1, -1])
        kept = np.append(np.concatenate(last) < found[-1] + slope, True)
        alive, before = np.append(alive, ends)[kept], np.concatenate([before, sums])[kept]
    path = [sources[n]]  # back from the last shot
    while path[-1] > 0:
        path.append(sources[path[-1]])
    return np.array(path[::-1])


def _gains(left: Floats, right: Floats, starts: Ints, ends: Ints) -> Floats:
    """Compute what each shot [start, end) gains, (P, E), from the sums before its start and its end, (P, D) and (E, D).

    It is meaningless where end <= start.
    """
    # scatter = sum |x|^2 - |sum x|^2 / n: the gain is |S_end - S_start|^2 / n, S the running sums, and the square is
    # |S_start|^2 + |S_end|^2 - 2 S_start . S_end
    left, right = left - right[0], right - right[0]  # near sums differ little: no digit is lost
    gains: Floats = -2 * left @ right.T
    gains += (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    gains /= np.maximum(ends - starts[:, None], 1)
    return gains


def _improve(costs: Floats, sources: np.ndarray, offers: np.ndarray, starts: np.ndarray) -> None:
    """Take the offers (E,) below `costs`, and note their starts."""
    better = offers < costs
    np.copyto(costs, offers, where=better)
    np.copyto(sources, starts, where=better)


def clip_shots(shots: np.ndarray, n_frames: int) -> np.ndarray:
    """Cut shots to [0, n_frames), and leave out those outside.

    Returns:
        (S, 2) int64.

    Raises:
        ValueError: If `shots` is not (S, 2), a shot ends before it starts, shots overlap, or none is left.
    """
    shots = np.asarray(shots, dtype=np.int64)
    if shots.ndim != 2 or shots.shape[1] != 2:
        raise HierSumError(f"shots: expected shape (S, 2), found {shots.shape}")
    if (shots[:, 0] > shots[:, 1]).any() or (shots[1:, 0] < shots[:-1, 1]).any():
        raise HierSumError("shots: expected ascending [start, end) pairs that do not overlap")
    shots = np.clip(shots, 0, n_frames)
    shots = shots[shots[:, 0] < shots[:, 1]]
    if len(shots) == 0:
        raise HierSumError(f"shots: expected at least one in [0, {n_frames}), found none")
    return shots


def fill_picks(scores: np.ndarray, picks: np.ndarray, n_frames: int) -> np.ndarray:
    """Fill each pick's score up to the next pick, (n_frames,).

    The first one's score also fills what comes before.

    Args:
        scores: (N,) score of each sampled frame.
        picks: (N,) original frame behind each, strictly ascending.
        n_frames: Number of original frames.

    Raises:
        ValueError: If the lengths differ or are 0, or picks do not ascend.
    """
    scores, picks = np.asarray(scores), np.asarray(picks)
    if scores.shape != picks.shape or scores.ndim != 1 or len(scores) == 0:
        raise HierSumError(f"expected as many scores as picks, at least one; found {scores.shape} and {picks.shape}")
    if (np.diff(picks) <= 0).any():
        raise HierSumError("picks: expected strictly ascending frame numbers")
    starts, ends = np.clip(picks, 0, n_frames), np.clip(np.append(picks[1:], n_frames), 0, n_frames)
    starts[0] = 0
    return np.repeat(scores, ends - starts)


def knapsack(values: Floats, weights: Ints, capacity: int) -> np.ndarray:
    """Solve the 0/1 knapsack exactly.

    It takes the items with the greatest total value whose weights sum to at most `capacity`. Of two equally good
    choices the one without the later item wins; items without positive value are never taken.

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
        raise HierSumError(f"expected as many values as weights, found {values.shape} and {weights.shape}")
    if not np.isfinite(values).all() or (weights < 0).any() or capacity < 0:
        raise HierSumError("expected finite values, weights >= 0 and a capacity >= 0")
    # best(i, c) = max(best(i - 1, c), best(i - 1, c - weight_i) + value_i), for all capacities c at once
    best = np.zeros(capacity + 1)
    taken = [_take(best, value, weight) for value, weight in zip(values.tolist(), weights.tolist(), strict=True)]
    chosen, room = np.zeros(len(values), bool), capacity  # back from the last item at full capacity
    for item in reversed(range(len(values))):
        chosen[item] = taken[item][room >> 3] >> (7 - (room & 7)) & 1
        room -= int(weights[item]) * int(chosen[item])
    return chosen


def _take(best: np.ndarray, value: float, weight: int) -> np.ndarray:
    """Offer one item to every capacity at once.

    `best` is updated.

    Returns:
        The bits of those capacities that take the item.
    """
    better = np.zeros(len(best), bool)
    if weight < len(best):
        candidate = best[: len(best) - weight] + value
        np.greater(candidate, best[weight:], out=better[weight:])
        np.maximum(candidate, best[weight:], out=best[weight:])
    return np.packbits(better)


def best_shots(summaries: np.ndarray, shots: np.ndarray, capacity: int, reduce: str = "mean") -> np.ndarray:
    """Find the shots with the greatest possible F1 against annotators.

    They hold at most `capacity` frames. F1 = 2 overlap / (length + length of the annotator's summary) is linear in the
    shots once their total length is fixed, so one exact knapsack for each total length finds the optimum.

    Args:
        summaries: (U, n_frames) bool.
        shots: (S, 2) [start, end) in original frames, none past the end.
        capacity: Frames allowed.
        reduce: "mean" over annotators or the "max".

    Returns:
        (S,) bool, no shot where none fits.
    """
    sums = np.pad(np.cumsum(summaries, axis=1, dtype=np.float64), ((0, 0), (1, 0)))  # (U, n_frames + 1)
    overlaps, lengths = sums[:, shots[:, 1]] - sums[:, shots[:, 0]], shots[:, 1] - shots[:, 0]  # (U, S), (S,)
    each = range(len(sums)) if reduce == "max" else [slice(None)]
    found = [_best_for(np.atleast_2d(overlaps[u]), np.atleast_1d(sums[u, -1]), lengths, capacity) for u in each]
    _, values, total = max(found, key=lambda best: best[0])
    return _exactly(values, lengths, total)


def _best_for(
    overlaps: np.ndarray, sizes: np.ndarray, lengths: np.ndarray, capacity: int
) -> tuple[float, np.ndarray, int]:
    """Find the greatest mean F1 for annotators.

    `overlaps` are (U, S), `sizes` of the annotators' summaries (U,).

    Returns:
        The F1, the values (S,) of the shots at the best total length, and that length.
    """
    best = 0.0, np.zeros(len(lengths)), 0
    for first in range(1, capacity + 1, TOTALS_AT_ONCE):
        totals = np.arange(first, min(first + TOTALS_AT_ONCE, capacity + 1))  # (T,)
        values = 2 / (totals[:, None] + sizes) @ overlaps / len(sizes)  # (T, S): F1 that a shot adds at this length
        # table(T, c): greatest F1 of shots of length c where the whole length will be T; F1 is its entry at c = T
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
    """Offer one more item to every total length at once.

    The table (T, length so far) holds best values: table[:, c] becomes at least table[:, c - length] + value.
    """
    if length < table.shape[1]:
        kept = table[:, : table.shape[1] - length] + value
        np.maximum(table[:, length:], kept, out=table[:, length:])


def _exactly(values: Floats, lengths: np.ndarray, total: int) -> np.ndarray:
    """Choose the best items of exactly this total length.

    They have the greatest total value.

    Returns:
        (S,) bool.
    """
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
