"""Shots must be the true optimum, and the knapsack must be exact: every summary and every F1 rests on both."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiersum_hf.metrics import f1_score
from hiersum_hf.summary import shots as shots_module
from hiersum_hf.summary.shots import best_shots, clip_shots, fill_picks, kernel_temporal_segmentation, knapsack
from hiersum_hf.timeline import covered_means


def segment_costs(features):
    """(N + 1, N + 1) scatter of [i, j) on normalised features, infinite where j <= i."""
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    n = len(features)
    sums = np.vstack([np.zeros(features.shape[1]), features.cumsum(axis=0)])
    costs = np.full((n + 1, n + 1), np.inf)
    for i in range(n):
        j = np.arange(i + 1, n + 1)
        costs[i, j] = (j - i) - ((sums[j] - sums[i]) ** 2).sum(axis=1) / (j - i)
    return costs


def best_objectives(features, longest=None):
    """(N,) least objective for each number of change points, by plain dynamic programming."""
    costs, n = segment_costs(features), len(features)
    costs[np.subtract.outer(-np.arange(n + 1), -np.arange(n + 1)) > (longest or n)] = np.inf
    reach, objectives = costs[0], [costs[0, n]]
    for k in range(1, n):
        reach = np.min(reach[:, None] + costs, axis=0)
        objectives.append(reach[n] + 0.5 * k * (np.log(n / k) + 1))
    return np.array(objectives)


def objective(features, shots):
    k, n = len(shots) - 1, len(features)
    return segment_costs(features)[shots[:, 0], shots[:, 1]].sum() + (0.5 * k * (np.log(n / k) + 1) if k else 0)


def staircase(seed, n, parts, width=8, noise=0.3):
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.standard_normal((parts, width)), -(-n // parts), axis=0)[:n]
    return levels + noise * rng.standard_normal((n, width))


@pytest.mark.parametrize("seed", range(60))
def test_segmentation_equals_the_full_dynamic_programme(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(shots_module, "BLOCK", int(rng.choice([1, 7, 128])))
    monkeypatch.setattr(shots_module, "PART", int(rng.choice([1, 5, 256])))
    n = int(rng.integers(30, 81))
    features = staircase(seed, n, int(rng.integers(1, 12)), noise=rng.choice([0.05, 0.3, 1.0]))
    for longest in (None, int(rng.integers(1, n + 1))):
        shots = kernel_temporal_segmentation(features, longest)
        assert objective(features, shots) == pytest.approx(best_objectives(features, longest).min(), abs=1e-9)
        assert np.diff(shots, axis=1).max() <= (longest or n)


@pytest.mark.parametrize(("n", "parts", "noise"), [(127, 1, 0.1), (128, 9, 0.3), (129, 5, 1.0), (300, 2, 0.1)])
@pytest.mark.parametrize("slope", [0.01, 0.3, 2.0, 50.0])
def test_linear_penalty_is_the_plain_dynamic_programme(n, parts, noise, slope):
    """Starts dropped on the way and frames taken in blocks must not cost the optimum."""
    features = staircase(0, n, parts, noise=noise)
    costs = segment_costs(features)
    best = [-slope]
    for end in range(1, n + 1):
        best.append(min(best + costs[:end, end]) + slope)
    starts = shots_module._cheapest_starts(shots_module._Frames(features), slope, n)
    ends = np.append(starts[1:], n)
    assert costs[starts, ends].sum() + slope * (len(starts) - 1) == pytest.approx(best[n], abs=1e-9)


@pytest.mark.parametrize("minutes", [10, 40])
def test_the_work_grows_with_the_length_where_there_are_shots(minutes, monkeypatch):
    asked, gains = [], shots_module._gains
    monkeypatch.setattr(shots_module, "_gains", lambda *shots: (
        asked.append(len(shots[0]) * len(shots[1])), gains(*shots))[1])  # fmt: skip
    minute = 5.0 + 3 * staircase(0, 120, 12, width=64, noise=0.25)
    features = np.tile(minute, (minutes, 1))
    assert len(kernel_temporal_segmentation(features)) == 12 * minutes
    assert sum(asked) / len(features) < 1000, "pairs of start and end that each frame costs"
    asked.clear()
    still = kernel_temporal_segmentation(np.ones((600 * minutes, 4)) + 0.01 * staircase(0, 600 * minutes, 1, 4), 600)
    assert np.diff(still, axis=1).max() == 600
    assert sum(asked) / (600 * minutes) < 4000


def test_a_still_hour_has_one_shot_and_a_flash_is_found():
    features = staircase(0, 3600, 1, width=64, noise=0.2)
    assert kernel_temporal_segmentation(features).tolist() == [[0, 3600]]
    features[3000:3020] = staircase(1, 20, 1, width=64, noise=0.2)
    assert kernel_temporal_segmentation(features).tolist() == [[0, 3000], [3000, 3020], [3020, 3600]]


def test_segmentation_leaves_its_input_alone():
    features = staircase(0, 50, 3)
    before = features.copy()
    assert len(kernel_temporal_segmentation(features)) == len(kernel_temporal_segmentation(7 * features)) == 3
    np.testing.assert_array_equal(features, before)


def test_segmentation_of_simple_videos():
    assert kernel_temporal_segmentation(np.ones((1, 4))).tolist() == [[0, 1]]
    assert kernel_temporal_segmentation(np.ones((50, 4))).tolist() == [[0, 50]]
    assert kernel_temporal_segmentation(np.zeros((50, 4))).tolist() == [[0, 50]]
    assert kernel_temporal_segmentation(np.zeros((5, 0))).tolist() == [[0, 5]]
    two = np.repeat(np.eye(4)[:2], [20, 30], axis=0)
    assert kernel_temporal_segmentation(two).tolist() == [[0, 20], [20, 50]]


def test_segmentation_of_two_hours_finds_its_shots():
    features = staircase(0, 7200, 300, width=64, noise=0.5)
    shots = kernel_temporal_segmentation(features)
    assert 250 < len(shots) <= 310
    assert shots[0, 0] == 0
    assert shots[-1, 1] == 7200
    assert (shots[1:, 0] == shots[:-1, 1]).all()


def test_sums_made_anew_in_each_pass_are_those_that_are_kept(monkeypatch):
    features = staircase(0, 700, 30, width=64, noise=0.5)
    kept = kernel_temporal_segmentation(features)
    monkeypatch.setattr(shots_module, "KEPT", 0)
    np.testing.assert_array_equal(kernel_temporal_segmentation(features), kept)


def test_segmentation_holds_few_sums_of_its_features():
    """Those of ten hours of width 1,280 would take 700 MB."""
    features = np.repeat(np.eye(4, 1280, dtype=np.float32), 1600, axis=0)
    features[:3199:2] *= -1  # as many shots as frames are looked at too
    tracemalloc.start()
    try:
        shots = kernel_temporal_segmentation(features, 400)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert shots[-4:].tolist() == [[4800, 5200], [5200, 5600], [5600, 6000], [6000, 6400]]
    assert most < features.nbytes  # of float32, the sums would be of float64


@pytest.mark.parametrize("features", [np.full((5, 2), np.nan), np.zeros((0, 3)), np.zeros(5)])
def test_segmentation_refuses_bad_features(features):
    with pytest.raises(ValueError, match="features: expected"):
        kernel_temporal_segmentation(features)


def brute_force(values, weights, capacity):
    sets = (np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1
    return (sets @ values)[sets @ weights <= capacity].max()


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 12)), min_size=1, max_size=10),
    st.integers(0, 40),
)
def test_knapsack_equals_brute_force(items, capacity):
    values, weights = np.array([v for v, _ in items]), np.array([w for _, w in items])
    chosen = knapsack(values, weights, capacity)
    assert weights[chosen].sum() <= capacity
    assert values[chosen].sum() == pytest.approx(brute_force(values, weights, capacity), abs=1e-12)


def test_knapsack_breaks_ties_towards_the_first():
    assert knapsack([0.5, 0.5, 0.5], [10, 10, 10], 20).tolist() == [True, True, False]
    assert knapsack([0.0, 0.0], [1, 1], 2).tolist() == [False, False]


@pytest.mark.parametrize(
    ("values", "weights", "capacity", "message"),
    [
        ([1.0], [-1], 5, "weights >= 0"),
        ([1.0], [1], -1, "a capacity >= 0"),
        ([np.nan], [1], 5, "finite values"),
        ([1.0, 2.0], [1], 5, r"as many values as weights, found \(2,\) and \(1,\)"),
        ([[1.0]], [[1]], 5, "as many values as weights"),
    ],
)
def test_impossible_knapsacks_are_refused(values, weights, capacity, message):
    with pytest.raises(ValueError, match=message):
        knapsack(values, weights, capacity)


def test_scores_fill_from_pick_to_pick():
    assert fill_picks([1, 2, 3], [2, 4, 7], 9).tolist() == [1, 1, 1, 1, 2, 2, 2, 3, 3]
    assert fill_picks([1, 2], [0, 15], 10).tolist() == [1] * 10  # a pick past the end
    with pytest.raises(ValueError, match="as many scores as picks"):
        fill_picks([1, 2], [0], 10)
    with pytest.raises(ValueError, match="ascending"):
        fill_picks([1, 2], [5, 5], 10)


def test_shot_scores_and_selection():
    shots = np.array([[0, 2], [2, 6], [6, 10]])
    scores = np.array([1, 3, 0, 0, 0, 4, 3, 3, 3, 3])
    assert covered_means(scores, shots).tolist() == [2, 1, 3]
    assert knapsack(covered_means(scores, shots), np.diff(shots).ravel(), capacity=6).tolist() == [True, False, True]
    assert knapsack(covered_means(scores, np.array([[0, 10]])), np.array([10]), capacity=1).tolist() == [False]


def test_shots_past_the_end_are_cut():
    assert clip_shots([[0, 5], [5, 12], [12, 15]], 10).tolist() == [[0, 5], [5, 10]]
    for wrong in ([[10, 20]], [[0, 5], [4, 8]], [[5, 3]], [1, 2]):
        with pytest.raises(ValueError, match="shots: expected"):
            clip_shots(wrong, 10)


def test_best_shots_are_those_of_an_exhaustive_search():
    """The shot oracle is a bound: nothing under the budget may beat it."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        lengths = rng.integers(1, 8, rng.integers(1, 8))
        shots = np.stack([lengths.cumsum() - lengths, lengths.cumsum()], 1)
        users = rng.random((rng.integers(1, 4), lengths.sum())) < 0.3
        capacity = int(0.4 * lengths.sum())
        for reduce in ("mean", "max"):
            figures = {
                chosen: f1_score(np.repeat(chosen, lengths), users, reduce)
                for chosen in product([False, True], repeat=len(lengths))
                if lengths[list(chosen)].sum() <= capacity
            }
            found = tuple(best_shots(users, shots, capacity, reduce).tolist())
            assert figures[found] == pytest.approx(max(figures.values()))
