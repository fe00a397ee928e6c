"""Figures must be those of the protocol: hand-worked numbers, a published golden case, the field's known constants."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hiersum_hf.datasets.tvsum import read_ratings
from hiersum_hf.metrics import (
    f1_score,
    human_agreement,
    is_constant,
    kendall_tau,
    key_shot_summary,
    spearman_rho,
)


@pytest.fixture
def tvsum() -> Path:
    if "HIERSUM_TEST_DATA" not in os.environ:
        pytest.skip("HIERSUM_TEST_DATA is unset: no real TVSum ratings")
    return Path(os.environ["HIERSUM_TEST_DATA"]) / "tvsum"


def test_summary_rule_reproduces_published_user_summaries(tvsum):
    video = next(v for v in read_ratings(tvsum / "ydata-tvsum50.mat") if v.video_id == "EE-bNr36nyA")
    closed = json.loads((tvsum / "recovered_change_points.json").read_text())[video.video_id]
    shots = np.array([(start, last + 1) for start, last in closed])
    published = json.loads((tvsum / "dsnet_user_summary_EE-bNr36nyA.json").read_text())["user_summary"]
    picks = np.arange(video.n_frames)
    ours = [key_shot_summary(scores, picks, video.n_frames, shots) for scores in video.user_scores]
    assert np.array_equal(ours, np.array(published, bool))


def test_capacity_is_rounded_down_and_values_stay_floats():
    shots = np.array([[0, 15], [15, 31], [31, 104]])
    scores = np.repeat([0.5, 0.9, 0.1], [15, 16, 73])
    assert np.flatnonzero(key_shot_summary(scores, np.arange(104), 104, shots)).tolist() == list(range(15))
    shots, scores = np.array([[0, 10], [10, 20], [20, 100]]), np.repeat([0.0011, 0.0019, 0], [10, 10, 80])
    assert np.flatnonzero(key_shot_summary(scores, np.arange(100), 100, shots)).tolist() == list(range(10, 20))


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


def test_rank_correlations_by_hand():
    # of the 6 pairs, (1, 3, 2, 4) orders 5 the same way and 1 the other; (1, 1, 2, 2) orders 4 the same and ties 2
    assert kendall_tau([1, 2, 3, 4], [[1, 3, 2, 4]]) == (pytest.approx(4 / 6), 0)
    assert kendall_tau([1, 2, 3, 4], [[1, 1, 2, 2]])[0] == pytest.approx(4 / np.sqrt(6 * 4))
    assert spearman_rho([1, 2, 3, 4], [[1, 3, 2, 4]]) == (pytest.approx(1 - 6 * 2 / (4 * 15)), 0)
    both = [[1, 3, 2, 4], [4, 3, 2, 1]]
    assert kendall_tau([1, 2, 3, 4], both)[0] == pytest.approx((4 / 6 - 1) / 2)
    assert spearman_rho([1, 2, 3, 4], both)[0] == pytest.approx((0.8 - 1) / 2)


def test_constants_are_dropped_or_score_0():
    users = np.array([[1, 2, 3], [2, 2, 2]])
    assert kendall_tau([1, 2, 3], users) == (1, 1)
    assert spearman_rho([1, 2, 3], users) == (1, 1)
    assert kendall_tau([5, 5, 5], users) == (0, 1)
    assert spearman_rho([5, 5, 5], users) == (0, 1)
    value, dropped = kendall_tau([1, 2, 3], users[1:])
    assert np.isnan(value)
    assert dropped == 1
    assert is_constant([5, 5, 5])
    assert np.isnan(kendall_tau([0.5], [[3.0]])[0])  # one frame


def test_human_agreement_is_the_mean_over_pairs():
    users = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [4, 3, 2, 1], [2, 2, 2, 2]])
    assert human_agreement(users) == (pytest.approx(-1 / 3), pytest.approx(-1 / 3))
    assert human_agreement(users[:2]) == (pytest.approx(1), pytest.approx(1))
    assert np.isnan(human_agreement(users[2:])).all()


def test_lengths_off_by_two_are_cut_and_more_is_an_error():
    users = np.array([[1, 2, 3, 4, 9, 9]])
    assert kendall_tau([1, 2, 3, 4], users)[0] == 1
    assert spearman_rho([1, 2, 3, 4], users)[0] == 1
    assert f1_score([1, 0, 0, 0], np.array([[1, 0, 0, 0, 1, 1]])) == 1
    for metric in (kendall_tau, spearman_rho, f1_score):
        with pytest.raises(ValueError, match=r"video abc: expected 6 values as annotated, found 3"):
            metric([1, 2, 3], users, video_id="abc")


@pytest.mark.parametrize("metric", [kendall_tau, spearman_rho])
def test_nan_predictions_name_the_video(metric):
    with pytest.raises(ValueError, match="video abc: expected finite scores"):
        metric([1, np.nan, 3], [[1, 2, 3]], video_id="abc")
