"""Choice of the stretches worth most within a budget.

An exact dynamic programme over borders and units of the budget. Letters: B + 1 borders, B atoms between them, C units
of the budget. Nothing here is given in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hiersum_hf.records import Floats


UNITS = 6000  # of the budget: what a run's length is rounded up to
ROUNDING = 1e-6  # units: float error of a difference
EVEN, MOSTLY = 1e-6, 0.99
OPEN = -1  # a run ends that has been open


@dataclass(frozen=True, eq=False)
class Line:
    """What runs are chosen from.

    Args:
        borders_s: (B + 1,) ascending seconds; runs begin and end there.
        gains: (B,) what each atom, the stretch from a border to the next, adds to a run.
        shortest_s: Least length of a run.
        whole: Pairs of borders (start, end) that may be a run of their own, however short.
        run_cost: Of every run.
        costs: (2, B + 1) of a run that begins there, and of one that ends there.
        barred: (B,) atoms that no run may hold.
        kept: (B,) atoms that runs must hold; they cost no budget.
    """

    borders_s: Floats
    gains: Floats
    shortest_s: float
    whole: Sequence[tuple[int, int]]
    run_cost: float
    costs: Floats
    barred: np.ndarray
    kept: np.ndarray

    @cached_property
    def lengths_s(self) -> np.ndarray:
        """(B,) seconds of each atom."""
        return np.diff(self.borders_s)

    def value(self, runs: Sequence[tuple[int, int]]) -> float:
        """Compute what these runs are worth, gains less costs."""
        return sum(
            float(self.gains[start:end].sum() - self.run_cost - self.costs[0, start] - self.costs[1, end])
            for start, end in runs
        )


def best_runs(line: Line, budget_s: float) -> list[tuple[int, int]]:
    """Choose the runs of greatest value within the budget.

    Together they last no longer than the budget. A run is a pair of borders, lasts at least `shortest_s` or is one of
    `whole`, and holds no barred atom; runs that touch cost as two. The optimum is exact but for lengths, which are
    rounded up to 1/6,000 of the budget unless borders are multiples of one length. Time and memory are linear in the
    number of borders: a few vectors of C numbers for the borders of one shortest run, and three bits for each border
    and unit.

    Args:
        line: What to choose from.
        budget_s: Seconds; kept atoms are not counted.

    Returns:
        (start, end) borders of each run, ascending; empty if no run is worth its cost.
    """
    return _Search(line, budget_s).runs()


class _Search:
    """One pass over the borders with the best values so far.

    They are the best for each use of the budget, outside of runs and inside one.

    `outside[i]` (C + 1,) is the best value up to border i within so many units where no run is open, `inside` where
    one is that may end here. A run opens by a leap over its shortest length, or over the whole of a pair.
    """

    def __init__(self, line: Line, budget_s: float):
        self.line, unit_s = line, _unit_s(line, budget_s)
        # Units of budget up to each border; what must be kept uses none
        free = np.append(0.0, np.cumsum(np.where(line.kept, 0.0, line.lengths_s))) / unit_s
        self.begun = np.floor(free + ROUNDING).astype(np.int64)  # units used up to a run that begins here,
        self.ended = np.ceil(free - ROUNDING).astype(np.int64)  # and up to one that ends here
        opened = np.flatnonzero(np.diff(np.append(False, line.kept).astype(np.int8)) == 1)
        between = int((self.begun[opened] < self.ended[opened]).sum())
        self.begun[opened] = self.ended[opened]  # else what is kept would cost a unit
        self.capacity = max(0, int(budget_s / unit_s + ROUNDING) - between)
        costs = len(line.borders_s) * (line.run_cost + 2 * np.abs(line.costs).max())
        must = 1.0 + np.abs(line.gains).sum() + costs  # no loss is worth leaving out what is kept
        self.gains = np.append(0.0, np.cumsum(line.gains + must * line.kept))
        self.bars = np.append(0, np.cumsum(line.barred))
        self.leaps = _leaps(line)
        # For each border the leaps that improved `inside` and `outside` there, with bits that say at which use
        self.opened: list[list[tuple[int, np.ndarray]]] = [[]]
        self.closed: list[list[tuple[int, np.ndarray]]] = [[]]

    def runs(self) -> list[tuple[int, int]]:
        """Find the best runs."""
        # outside[j](c) = max(outside[j - 1](c), inside[j](c) - cost_j, leaps that must end at j)
        # inside[j](c) = max(inside[j - 1](c - atom) + gain of the atom, leaps over the shortest length); never in a bar
        # A leap from i adds gains[j] - gains[i] - run_cost - cost_i to outside[i](c - length)
        inside = self._never()
        outside = {0: np.zeros(self.capacity + 1)}
        last = {i: i + 1 for i in range(len(self.line.borders_s))}  # border at which the values at i are needed last
        last |= {start: end for end in sorted(self.leaps) for start, _ in self.leaps[end]}
        done: dict[int, list[int]] = {}
        for start, end in last.items():
            done.setdefault(end, []).append(start)
        for j in range(1, len(self.line.borders_s)):
            inside, outside[j] = self._step(j, inside, outside)
            for start in done.get(j, ()):
                del outside[start]
        return self._walk_back()

    def _step(self, j: int, inside: np.ndarray, outside: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Compute `inside` and `outside` at border j."""
        cost = self.line.costs[1, j]
        if self.line.barred[j - 1]:
            inside = self._never()
        else:
            inside = _shifted(inside, self.ended[j] - self.ended[j - 1], self.gains[j] - self.gains[j - 1])
        best, opened, closed = outside[j - 1].copy(), [], []
        for start, must_end in self.leaps.get(j, ()):
            offer = self._offer(start, j, outside[start])
            if offer is not None and must_end:
                closed.append((start, _take(best, offer - cost)))
            elif offer is not None:
                opened.append((start, _take(inside, offer)))
        closed.append((OPEN, _take(best, inside - cost)))
        self.opened.append(opened)
        self.closed.append(closed)
        return inside, best

    def _offer(self, start: int, end: int, outside: np.ndarray) -> np.ndarray | None:
        """Value a run over a leap for each use of the budget.

        The values are (C + 1,), or None if the run is barred or too long.
        """
        used = self.ended[end] - self.begun[start]
        if used > self.capacity or self.bars[end] > self.bars[start]:
            return None
        return _shifted(
            outside, used, self.gains[end] - self.gains[start] - self.line.run_cost - self.line.costs[0, start]
        )

    def _never(self) -> np.ndarray:
        return np.full(self.capacity + 1, -np.inf)

    def _walk_back(self) -> list[tuple[int, int]]:
        """Follow the best value at the last border back to its runs."""
        # From the last border at full budget; `left` is the use at which the offer there was taken
        runs, j, left = [], len(self.line.borders_s) - 1, self.capacity
        while j > 0:
            end, start = j, _taken(self.closed[j], left)
            if start is None:
                j -= 1
                continue
            if start == OPEN:
                while (start := _taken(self.opened[j], left)) is None:
                    left -= self.ended[j] - self.ended[j - 1]
                    j -= 1
            left -= self.ended[j] - self.begun[start]
            runs.append((start, end))
            j = start
        return runs[::-1]


def _leaps(line: Line) -> dict[int, list[tuple[int, bool]]]:
    """List where a run may have begun that ends at a border.

    Each border has pairs of such a beginning, and whether the run must end here.
    """
    found: dict[int, list[tuple[int, bool]]] = {}
    ends = np.searchsorted(line.borders_s, line.borders_s + line.shortest_s - 1e-9)
    for start, end in enumerate(np.maximum(ends, np.arange(len(ends)) + 1)):
        if end < len(line.borders_s):
            found.setdefault(int(end), []).append((start, False))
    for start, end in line.whole:
        if line.borders_s[end] - line.borders_s[start] < line.shortest_s - 1e-9:
            found.setdefault(end, []).append((start, True))
    return found


def _unit_s(line: Line, budget_s: float) -> float:
    """Choose the unit in which lengths are counted.

    It is the length of most atoms, which are sampled frames, if nearly all borders are multiples of it; else a part.
    The part is about 1/6,000 of the budget.
    """
    unit_s, atom_s = max(budget_s / UNITS, 1e-9), float(np.median(line.lengths_s))
    if atom_s <= unit_s:
        return unit_s
    multiples = line.borders_s / atom_s
    even = np.mean(np.abs(multiples - np.round(multiples)) < EVEN)
    return atom_s if even >= MOSTLY else atom_s / float(np.ceil(atom_s / unit_s))


def _shifted(values: Floats, units: int, worth: float) -> np.ndarray:
    """Move values up by some units, and add their worth.

    The result at c is values[c - units] + worth, or -inf where c < units.
    """
    result, kept = np.empty_like(values), max(len(values) - units, 0)
    result[: len(values) - kept] = -np.inf
    np.add(values[:kept], worth, out=result[len(values) - kept :])
    return result


def _take(best: np.ndarray, offer: np.ndarray) -> np.ndarray:
    """Raise `best` to the offer where that is more.

    Returns:
        Where that is, in bits.
    """
    better = offer > best + 1e-12
    np.copyto(best, offer, where=better)
    return np.packbits(better)


def _taken(offers: list[tuple[int, np.ndarray]], left: int) -> int | None:
    """Find where the last offer began that was taken here.

    It is None if none was taken at this use of the budget.
    """
    bits = (start for start, taken in reversed(offers) if taken[left >> 3] >> (7 - (left & 7)) & 1)
    return next(bits, None)
