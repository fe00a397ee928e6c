"""The runs chosen are the best that there are: compared with every selection of small lines."""

from itertools import pairwise

import numpy as np
import pytest

from hiersum_hf.summary.runs import UNITS, Line, best_runs


def plain(gains, shortest_s, whole=(), run_cost=0.0, kept=(), borders_s=None):
    """A line of atoms of a second, or with these borders."""
    n, gains = len(gains), np.asarray(gains, float)
    borders_s = np.arange(n + 1.0) if borders_s is None else borders_s
    return Line(borders_s, gains, shortest_s, whole, run_cost, np.zeros((2, n + 1)), np.zeros(n, bool),
                np.isin(np.arange(n), kept))  # fmt: skip


def everything(line, budget_s):
    """Every set of allowed runs within the budget, as (value, runs)."""
    n, whole = len(line.gains), set(line.whole)
    allowed = [
        (a, b)
        for a in range(n)
        for b in range(a + 1, n + 1)
        if not line.barred[a:b].any()
        and (line.borders_s[b] - line.borders_s[a] >= line.shortest_s - 1e-9 or (a, b) in whole)
    ]
    free_s = np.where(line.kept, 0.0, line.lengths_s)

    def more(start, left_s):
        yield ()
        for a, b in allowed:
            length_s = free_s[a:b].sum()
            if a >= start and length_s <= left_s + 1e-9:
                for rest in more(b, left_s - length_s):
                    yield ((a, b), *rest)

    kept = set(np.flatnonzero(line.kept))
    found = [runs for runs in more(0, budget_s) if kept <= {i for a, b in runs for i in range(a, b)}]
    return [(line.value(runs), runs) for runs in found]


def small_line(seed):
    """A line of 4 to 9 atoms with everything that a line can have; those with even seeds have atoms of one length."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 10))
    lengths_s = rng.integers(1, 33, n) / 16 if seed % 2 else np.full(n, 0.5)
    whole = [(a, a + 1) for a in range(n) if rng.random() < 0.3]
    barred = rng.random(n) < 0.15
    kept = (rng.random(n) < 0.1) & ~barred
    whole += [(int(a), int(a) + 1) for a in np.flatnonzero(kept)]
    budget_s = lengths_s.sum() * rng.choice([0.15, 0.3, 0.5, 0.8])
    line = Line(
        np.append(0.0, np.cumsum(lengths_s)), rng.normal(size=n) * lengths_s, rng.choice([0.0, 0.5, 1.0, 2.0]), whole,
        rng.choice([0.0, 0.3, 1.0]), rng.choice([0.0, 0.2], (2, n + 1)), barred, kept,
    )  # fmt: skip
    return line, float(np.floor(budget_s * 16) / 16)


@pytest.mark.parametrize("block", range(10))
def test_equal_to_exhaustive_search(block):
    for seed in range(block * 25, block * 25 + 25):
        line, budget_s = small_line(seed)
        runs = best_runs(line, budget_s)
        used_s = sum(np.where(line.kept, 0.0, line.lengths_s)[a:b].sum() for a, b in runs)
        assert used_s <= budget_s + 1e-9
        value, best = max(everything(line, budget_s))
        rounded = budget_s if seed % 2 == 0 else budget_s * (1 - 2 * len(line.gains) / UNITS)
        least = max(everything(line, rounded), default=(-np.inf, ()))[0]
        assert least - 1e-9 <= line.value(runs) <= value + 1e-9, (seed, runs, best)


def test_even_lines_are_exact():
    """On borders that are multiples of one length nothing is rounded, however short the budget."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        gains = rng.normal(size=9)
        line = plain(gains, 1.4, run_cost=0.2, borders_s=np.arange(10) * 0.7)
        value, _ = max(everything(line, 2.8))
        assert line.value(best_runs(line, 2.8)) == pytest.approx(value, abs=1e-9)


def test_what_is_kept_costs_no_budget_and_is_there_whatever_it_gains():
    line = plain([-9, 2, 2, 2, -9, -9, -9, 1, 1, -9], 2.0, [(4, 6)], 0.5, kept=[4, 5])
    assert best_runs(line, 0.0) == [(4, 6)]
    assert best_runs(line, 3.0) == [(1, 6)]


def test_nothing_is_chosen_that_is_not_worth_its_cost():
    assert best_runs(plain([-1] * 10, 2.0), 5.0) == []
    assert best_runs(plain([0.4] * 10, 2.0, run_cost=3.0), 5.0) == []
    assert best_runs(plain([0.4] * 10, 2.0, run_cost=1.0), 5.0) == [(0, 5)]


def test_the_sum_of_lengths_stays_within_the_budget_on_any_borders():
    rng = np.random.default_rng(1)
    for _ in range(20):
        borders_s = np.append(0.0, np.cumsum(rng.random(300) + 1e-3))
        line = plain(rng.normal(size=300), 1.5, run_cost=0.1, borders_s=borders_s)
        budget_s = borders_s[-1] * 0.15
        runs = best_runs(line, budget_s)
        assert 0.97 * budget_s <= sum(borders_s[b] - borders_s[a] for a, b in runs) <= budget_s
        assert all(first[1] <= second[0] for first, second in pairwise(runs))
