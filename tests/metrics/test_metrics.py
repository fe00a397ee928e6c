"""Figures must be those of the protocol: hand-worked numbers, a published golden case, the field's known constants."""

import ast
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from hiersum_hf import metrics
from hiersum_hf.datasets.readers.tvsum_ratings import read_ratings
from hiersum_hf.metrics import (
    f1_score,
    human_agreement,
    is_constant,
    kendall_tau,
    key_shot_summary,
    precision_recall,
    spearman_rho,
    summary_length,
    tau_b,
    tau_rho_csta_summe,
    tau_rho_mean_user,
    temporal_coverage,
    threshold_summary,
)


@pytest.fixture(scope="module")
def ratings(test_data):
    return read_ratings(test_data / "tvsum" / "ydata-tvsum50.mat")


def chosen(summary):
    """First and last selected frame, and how many."""
    frames = np.flatnonzero(summary)
    return frames[0], frames[-1], len(frames)


def test_summary_rule_reproduces_published_user_summaries(ratings, test_data):
    video = next(v for v in ratings if v.video_id == "EE-bNr36nyA")
    closed = json.loads((test_data / "tvsum" / "recovered_change_points.json").read_text())[video.video_id]
    shots = np.array([(start, last + 1) for start, last in closed])
    golden = json.loads((test_data / "tvsum" / "dsnet_user_summary_EE-bNr36nyA.json").read_text())
    picks = np.arange(video.n_frames)
    ours = [key_shot_summary(scores, picks, video.n_frames, shots) for scores in video.user_scores]
    assert np.array_equal(ours, np.array(golden["user_summary"], bool))


def test_each_variant_has_its_capacity():
    """15 % of 104 is 15.6: rounded down the first shot fits, rounded up the better second one."""
    shots, scores = [[0, 15], [15, 31], [31, 104]], np.repeat([0.5, 0.9, 0.1], [15, 16, 73])
    for variant, expected in (("hiersum", (0, 14, 15)), ("dsnet", (0, 14, 15)), ("a2summ", (15, 30, 16))):
        assert chosen(key_shot_summary(scores, np.arange(104), 104, shots, variant)) == expected
    # 7 frames follow the last shot: 15 % of 111 is 16.65, of the shots' 104 still 15.6
    scores = np.append(scores, np.zeros(7))
    for variant, expected in (("hiersum", (15, 30, 16)), ("mrhisum", (0, 14, 15))):
        assert chosen(key_shot_summary(scores, np.arange(111), 111, shots, variant)) == expected


def test_sdmvsum_reads_ends_as_last_frames_and_lengthens_the_last_shot():
    """Row 6 counts for the shot before it too; of 40 frames 6 are selected, of 36 five, less than the last shot has."""
    scores = np.eye(40)[6] + 0.1 * np.eye(40)[0]
    shots = np.array([[0, 6], [6, 12], [12, 39]])
    for variant, expected in (("hiersum", (6, 11, 6)), ("sdmvsum", (0, 5, 6))):
        assert chosen(key_shot_summary(scores, np.arange(40), 40, shots, variant)) == expected
    for n, longer in ((40, [34, 35, 36, 37, 38, 39]), (36, [])):
        shots = np.array([[0, n - 6], [n - 6, n - 1]])
        selected = key_shot_summary(np.ones(n), np.arange(n), n, shots, "sdmvsum")
        assert np.flatnonzero(selected).tolist() == longer
        assert key_shot_summary(np.ones(n), np.arange(n), n, shots).sum() == 5
    assert shots.tolist() == [[0, 30], [30, 35]], "the caller's array stays"


def test_threshold_summary_takes_place_int_of_15_percent_from_0():
    assert np.flatnonzero(threshold_summary(np.arange(20.0))).tolist() == [16, 17, 18, 19]
    tied = np.where(np.arange(20) < 15, 0.0, 1.0)
    assert threshold_summary(tied).sum() == 5
    assert threshold_summary(np.zeros(20)).sum() == 20
    assert threshold_summary(np.arange(6.0)).tolist() == [False] * 5 + [True]
    assert threshold_summary(np.array([0.5]), budget=1.0).tolist() == [True]
    with pytest.raises(ValueError, match="video v: expected finite scores"):
        threshold_summary(np.array([np.nan]), video_id="v")


def test_each_variant_has_its_values():
    """Means of .0011 and .0019 tie as int(1000 mean), and the first of two equal shots wins."""
    shots, scores = [[0, 10], [10, 20], [20, 100]], np.repeat([0.0011, 0.0019, 0], [10, 10, 80])
    for variant, first in (("hiersum", 10), ("mrhisum", 10), ("dsnet", 0), ("a2summ", 0)):
        assert chosen(key_shot_summary(scores, np.arange(100), 100, shots, variant)) == (first, first + 9, 10)
    for mean, taken in ((0.001, 10), (0.0009999, 0)):  # int(1000 mean) is 1, 0
        scores = np.repeat([mean, 0], [10, 90])
        assert key_shot_summary(scores, np.arange(100), 100, shots, "dsnet").sum() == taken


def test_budget_is_read_as_the_decimal_it_is():
    """0.29 x 100 is 28.999999999999996 in floats: a shot of 29 frames must still fit."""
    shots = [[0, 29], [29, 100]]
    assert key_shot_summary(np.ones(100), np.arange(100), 100, shots, budget=0.29).sum() == 29
    assert key_shot_summary(np.ones(100), np.arange(100), 100, shots, budget=1).sum() == 100
    for first, taken in ((150, 150), (151, 0)):  # 15 % unless told otherwise
        shots = [[0, first], [first, 1000]]
        assert key_shot_summary([1.0], [0], 1000, shots).sum() == taken


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "vsumm"}, "variant: expected one of hiersum, .*'vsumm'"),
        ({"budget": 0}, r"video abc: .*share above 0 and at most 1, found 0"),
        ({"budget": 1.5}, r"video abc: .*found 1.5"),
        ({"budget": float("nan")}, r"video abc: .*found nan"),
        ({"scores": [1.0, np.nan]}, "video abc: expected finite scores"),
        ({"scores": []}, r"video abc: expected scores of shape \(n,\) with n >= 1, found \(0,\)"),
        ({"scores": [1.0]}, "video abc: expected as many scores as picks"),
        ({"picks": [3, 3]}, "video abc: picks: expected strictly ascending"),
        ({"shots": [[0, 5], [4, 9]]}, "video abc: shots: expected"),
    ],
)
def test_bad_input_names_the_video(change, message):
    good = {"scores": [1.0, 2.0], "picks": [0, 5], "n_frames": 10, "shots": [[0, 5], [5, 10]], "video_id": "abc"}
    with pytest.raises(ValueError, match=message):
        key_shot_summary(**good | change)


def test_summary_of_odd_videos():
    summary = key_shot_summary(np.ones(7), np.arange(7) * 15, 100, [[0, 10], [10, 90], [90, 130]])
    assert summary.shape == (100,)  # a shot past the end
    assert summary.sum() == 10
    assert not key_shot_summary([1.0], [0], 1, [[0, 1]]).any()  # one frame: nothing fits 15 %
    assert not key_shot_summary([1.0, 2.0], [0, 15], 30, [[0, 30]]).any()  # one shot
    assert key_shot_summary(np.full(4, 0.3), [0, 7, 11, 20], 40, [[0, 6], [6, 20], [20, 40]]).sum() == 6  # constant


def test_f1_by_hand():
    pred = np.array([1, 1, 0, 0, 0, 0], bool)
    users = np.array([[1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]], bool)
    assert f1_score(pred, users) == pytest.approx((1 + 2 / 5 + 0) / 3)
    assert f1_score(pred, users, "max") == 1
    assert f1_score(np.zeros(6), users) == 0
    assert f1_score(np.zeros(6), np.zeros((1, 6))) == 0
    with pytest.raises(ValueError, match="'median'"):
        f1_score(pred, users, "median")
    with pytest.raises(ValueError, match="video abc: expected at least one annotator"):
        f1_score(pred, np.zeros((0, 6)), video_id="abc")


def test_precision_and_recall_by_hand():
    assert precision_recall([1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0]) == (1 / 2, 1 / 3)
    assert precision_recall([0, 0, 0], [1, 0, 0]) == (0, 0)
    assert np.isnan(precision_recall([1, 0, 0], [0, 0, 0])).all()  # undefined


def test_length_and_coverage_by_hand():
    summary = np.zeros(95, bool)
    summary[[0, 1, 9, 10, 94]] = True  # tenths of 9.5 frames: 0, 0, 0, 1, 9
    assert summary_length(summary) == 5 / 95
    assert temporal_coverage(summary) == 0.3
    assert temporal_coverage(summary, parts=2) == 1
    assert temporal_coverage([True, False, True]) == 2 / 3  # three frames have three parts
    assert temporal_coverage(np.zeros(20)) == 0
    assert temporal_coverage(summary, parts=1) == 1
    with pytest.raises(ValueError, match="parts: expected at least 1, found 0"):
        temporal_coverage(summary, parts=0)
    for measure in (summary_length, temporal_coverage):
        with pytest.raises(ValueError, match="n_frames >= 1"):
            measure([])


def test_rank_correlations_by_hand():
    # of the 6 pairs, (1, 3, 2, 4) orders 5 the same way and 1 the other; (1, 1, 2, 2) orders 4 the same and ties 2
    assert kendall_tau([1, 2, 3, 4], [[1, 3, 2, 4]]) == (pytest.approx(4 / 6), 0)
    assert kendall_tau([1, 2, 3, 4], [[1, 1, 2, 2]])[0] == pytest.approx(4 / np.sqrt(6 * 4))
    assert spearman_rho([1, 2, 3, 4], [[1, 3, 2, 4]]) == (pytest.approx(1 - 6 * 2 / (4 * 15)), 0)
    both = [[1, 3, 2, 4], [4, 3, 2, 1]]
    assert kendall_tau([1, 2, 3, 4], both)[0] == pytest.approx((4 / 6 - 1) / 2)
    assert spearman_rho([1, 2, 3, 4], both)[0] == pytest.approx((0.8 - 1) / 2)


rows = st.integers(1, 60).flatmap(
    lambda n: st.tuples(*[
        st.integers(1, 70).flatmap(lambda top: st.lists(st.integers(0, top), min_size=n, max_size=n)) for _ in "xy"
    ])
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(rows)
@pytest.mark.filterwarnings("ignore")
def test_counting_in_tables_gives_scipys_tau(pair):
    x, y = (np.array(row) / 7 for row in pair)
    assert tau_b(x, y) == pytest.approx(float(kendalltau(x, y).statistic), abs=1e-12, nan_ok=True)


def test_tables_and_scipy_agree_on_long_rows():
    """Above 32 cells a value scipy counts: both sides of that border, and ratings of five levels."""
    rng = np.random.default_rng(0)
    x = rng.random(2000)
    for y in (rng.integers(1, 6, 2000), rng.integers(0, 30, 2000), rng.integers(0, 40, 2000), rng.random(2000), -x):
        assert tau_b(x, y) == pytest.approx(kendalltau(x, y).statistic, abs=1e-12)
    with warnings.catch_warnings(action="error"):
        assert np.isnan(tau_b([1.0], [2.0]))
    assert np.isnan(tau_b([1.0, 2.0], [3.0, 3.0]))
    assert tau_b([1.0, 2.0], [9.0, 3.0]) == -1


def test_constants_are_dropped_or_score_0():
    users = np.array([[1, 2, 3], [2, 2, 2]])
    assert kendall_tau([1, 2, 3], users) == (1, 1)
    assert spearman_rho([1, 2, 3], users) == (1, 1)
    assert kendall_tau([5, 5, 5], users) == (0, 1)
    assert spearman_rho([5, 5, 5], users) == (0, 1)
    value, dropped = kendall_tau([1, 2, 3], users[1:])
    assert np.isnan(value)
    assert dropped == 1
    assert np.isnan(spearman_rho([1, 2, 3], users[1:])[0])
    assert is_constant([5, 5, 5])
    assert is_constant([])
    assert np.isnan(kendall_tau([0.5], [[3.0]])[0])  # one frame
    assert tau_rho_mean_user([5, 5, 5], users) == (0, 0)
    assert np.isnan(tau_rho_mean_user([1, 2, 3], [[1, 2, 3], [3, 2, 1]])).all()


def test_human_agreement_is_the_mean_over_pairs():
    users = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [4, 3, 2, 1], [2, 2, 2, 2]])
    assert human_agreement(users) == (pytest.approx(-1 / 3), pytest.approx(-1 / 3))
    assert human_agreement(users[:2]) == (pytest.approx(1), pytest.approx(1))
    assert np.isnan(human_agreement(users[2:])).all()


def test_tvsum_gives_the_fields_human_and_oracle_figures(ratings):
    users = [video.user_scores[:, ::15] for video in ratings]
    human = np.mean([human_agreement(rated) for rated in users], axis=0)
    assert human.round(4).tolist() == [0.1774, 0.2042]
    oracle = [(kendall_tau(u.mean(axis=0), u)[0], spearman_rho(u.mean(axis=0), u)[0]) for u in users]
    assert np.mean(oracle, axis=0).round(3).tolist() == [0.378, 0.473]


def test_against_the_mean_user_by_hand():
    """The mean is (2.5, 2.5, 2, 3), its ranks 2.5, 2.5, 1, 4: 3 of 5 untied pairs are ordered as in (1, 2, 3, 4)."""
    tau, rho = tau_rho_mean_user([1, 2, 3, 4], [[1, 3, 2, 4], [4, 2, 2, 2]])
    assert tau == pytest.approx((3 - 2) / np.sqrt(6 * 5))
    assert rho == pytest.approx(np.corrcoef([1, 2, 3, 4], [2.5, 2.5, 1, 4])[0, 1])
    with pytest.raises(ValueError, match="video abc: expected at least one annotator"):
        tau_rho_mean_user([1, 2], np.zeros((0, 2)), video_id="abc")
    for metric in (tau_rho_mean_user, tau_rho_csta_summe):
        with pytest.raises(ValueError, match=r"video abc: expected scores of shape \(n,\)"):
            metric([], [[]], video_id="abc")


def interval(values):
    """95 % interval of the mean over videos: (videos, 2) -> low and high of tau and rho."""
    mean, error = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(len(values))
    return mean - 1.96 * error, mean + 1.96 * error


def chance(seed, equal_shots=False, draws=20, annotators=15):
    """(2, 2) mean tau and rho of random scores in a video where nobody knows anything: CSTA's protocol, and ours."""
    rng = np.random.default_rng(seed)
    inner = np.arange(20, 400, 20) if equal_shots else np.sort(rng.choice(np.arange(1, 400), 19, replace=False))
    shots, picks = np.stack([[0, *inner], [*inner, 400]], axis=1), np.arange(0, 400, 15)
    scores = rng.random((annotators + draws, len(picks)))
    masks = np.array([key_shot_summary(row, picks, 400, shots) for row in scores])
    users = masks[:annotators]
    csta = [tau_rho_csta_summe(mask, users) for mask in masks[annotators:]]
    raw = scores[annotators:]
    ours = [(kendall_tau(row, users[:, picks])[0], spearman_rho(row, users[:, picks])[0]) for row in raw]
    return np.mean([csta, ours], axis=1)


def test_random_scores_look_good_under_cstas_protocol():
    """Why it is not the default: both summaries prefer short shots, so random scores agree with random annotators."""
    found = np.array([chance(seed) for seed in range(20)])
    assert (interval(found[:, 0])[0] > 0.3).all()
    low, high = interval(found[:, 1])
    assert (low < 0).all()
    assert (high > 0).all()
    equal = interval([chance(seed, equal_shots=True)[0] for seed in range(5)])
    assert (np.abs(equal) < 0.1).all()  # shots of one length leave nothing to prefer


def test_lengths_off_by_two_are_cut_and_more_is_an_error():
    users = np.array([[1, 2, 3, 4, 9, 9]])
    assert kendall_tau([1, 2, 3, 4], users)[0] == 1
    assert spearman_rho([1, 2, 3, 4], users)[0] == 1
    assert tau_rho_mean_user([1, 2, 3, 4], users) == pytest.approx((1, 1))
    assert f1_score([1, 0, 0, 0], np.array([[1, 0, 0, 0, 1, 1]])) == 1
    assert precision_recall([1, 0, 0, 0], [1, 0, 0, 0, 1, 1]) == (1, 1)
    for metric in (kendall_tau, spearman_rho, f1_score, tau_rho_mean_user, tau_rho_csta_summe, precision_recall):
        with pytest.raises(ValueError, match=r"video abc: expected 6 values as annotated, found 3"):
            metric([1, 2, 3], users, video_id="abc")


@pytest.mark.parametrize("metric", [kendall_tau, spearman_rho, tau_rho_mean_user])
def test_nan_predictions_name_the_video(metric):
    with pytest.raises(ValueError, match="video abc: expected finite scores"):
        metric([1, np.nan, 3], [[1, 2, 3]], video_id="abc")
    with pytest.raises(ValueError, match="video abc: expected finite annotations"):
        metric([1, 2, 3], [[1, np.nan, 3]], video_id="abc")


def test_import_is_light():
    """Readers import the key-shot rule: scikit-learn, nltk and the evaluate library must not come along."""
    for path in Path(metrics.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                root = (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
                assert root in {"numpy", "scipy", "hiersum_hf", *sys.stdlib_module_names}, f"{path.name}: {root}"
