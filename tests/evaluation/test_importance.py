"""What a selection captures of the importance: 1 is the best that can be had, 0 is chance."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiersum_hf.evaluation.importance import Importance, importance_of, own_shots
from hiersum_hf.metrics import captured
from hiersum_hf.records import VideoRecord
from hiersum_hf.scoring.training_free import random_scores


SECONDS = np.arange(11.0)
PEAKS = np.array([0, 0, 4, 4, 0, 0, 0, 0, 0, 2.0])  # mean 1
A, B = (np.isin(np.arange(40), range(start, start + 6)).astype(float) for start in (10, 25))


def make(users, shots_s=None, **parts):
    """40 s of which 6 fit into 15 %, one frame a second."""
    return replace(Importance("v", np.arange(41.0), np.atleast_2d(users), shots_s), **parts)


def record(users=A, features=None, n=40):
    return VideoRecord(
        video_id="v",
        video_features=np.zeros((n, 0)) if features is None else features,
        frame_times_s=np.arange(float(n)),
        duration_s=float(n),
        user_scores=np.atleast_2d(users),
    )


@pytest.mark.parametrize(
    ("spans_s", "share"),
    [
        ([(2, 3.5)], 1),  # 1.5 s of 4 - 1
        ([(2, 3)], 2 / 3),  # what is left unused counts as the mean
        ([(3.5, 4), (2, 3)], 1),
        ([(8.5, 10)], 1 / 9),  # 0.5 s of -1 and 1 s of 1
        ([(0, 1.5)], -1 / 3),
        ([], 0),
    ],
)
def test_captured_by_hand(spans_s, share):
    """The best 1.5 s are worth 4.5: 3 more than the mean in each second."""
    assert captured(spans_s, SECONDS, PEAKS, 1.5) == pytest.approx(share)
    assert captured(spans_s, SECONDS, PEAKS * 7 - 3, 1.5) == pytest.approx(share)


def test_the_best_selection_takes_the_last_frame_in_part_and_none_below_the_mean():
    """Frames of 1, 2 and 7 s, mean (6 + 2 x 2) / 10 = 1: the best 2 s are worth 5 + 1, the best 9 s 5 + 2."""
    edges_s, importance = np.array([0, 1, 3, 10.0]), np.array([6, 2, 0.0])
    assert captured([(0, 1)], edges_s, importance, 2) == pytest.approx(5 / 6)
    assert captured([(0, 1)], edges_s, importance, 9) == pytest.approx(5 / 7)


def test_frames_without_importance_do_not_count():
    """Without the last frame the mean is 8/9: half a second less than it, and a second that nobody judged."""
    unknown = np.where(np.arange(10) == 9, np.nan, PEAKS)
    assert captured([(8.5, 10)], SECONDS, unknown, 1.5) == pytest.approx(0.5 * (-8 / 9) / (1.5 * (4 - 8 / 9)))
    after_the_end = np.append(SECONDS, 10.0)  # a frame past the length that the container tells
    assert captured([(2, 3)], after_the_end, np.append(PEAKS, 99), 1.5) == pytest.approx(2 / 3)


@pytest.mark.parametrize("importance", [np.ones(10), np.full(10, np.nan), np.where(np.arange(10) < 9, np.nan, 1)])
def test_nothing_to_capture_is_undefined(importance):
    assert np.isnan(captured([(0, 1)], SECONDS, importance, 1.5))


def test_frames_and_values_must_be_as_many():
    with pytest.raises(ValueError, match="video v: expected 10 frames as edges tell, found 9"):
        captured([], SECONDS, PEAKS[:9], 1.5, "v")


def test_the_best_frames_are_selected_where_runs_allow_it():
    """One run of the whole budget, two of 3 s, and with shots that are these runs."""
    halves = np.isin(np.arange(40), [10, 11, 12, 30, 31, 32]).astype(float)
    for truth in (A, B, halves):
        assert make(truth).captured(truth)["captured"] == pytest.approx(1)
        assert make(truth).captured(truth * 5 - 9)["captured"] == pytest.approx(1)
    assert make(A, np.array([10.0, 16.0])).captured(A) == pytest.approx({"captured": 1, "captured_keyshot": 1})


def test_many_short_poor_shots_beat_a_long_good_one_under_the_key_shot_rule():
    """Three shots of 2 s with means of .5 add up to 1.5, the one of 6 s to 1. Mean .225: 6 x .275 of 6 x .775."""
    truth = A + 0.5 * (np.arange(40) < 6)
    found = make(truth, np.array([2, 4, 6, 10, 16.0])).captured(truth)
    assert found == pytest.approx({"captured": 1, "captured_keyshot": 0.275 / 0.775})
    logits = make(truth, np.array([2, 4, 6, 10, 16.0])).captured(truth * 8 - 4)
    assert logits == pytest.approx(found)  # scores below 0, or above 1, are no others


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0.1, 100), st.floats(-50, 50), st.booleans())
def test_neither_scale_nor_level_matters(seed, scale, level, has_shots):
    rng = np.random.default_rng(seed)
    users, scores = np.repeat(rng.random((3, 10)), 4, axis=1), rng.random(40)
    shots_s = np.arange(4.0, 40, 4) if has_shots else None
    ours = make(users, shots_s).captured(scores)
    assert make(users * scale + level, shots_s).captured(scores) == pytest.approx(ours, nan_ok=True, abs=1e-7)
    assert ours["captured"] <= 1 + 1e-9
    assert np.isnan(ours["captured_keyshot"]) != has_shots


def test_truth_captures_nearly_all_and_chance_nothing():
    """Not all: the rule weighs the cost of runs too, and a lucky draw may beat it."""
    found = []
    for rng in map(np.random.default_rng, range(60)):
        users = np.repeat(rng.random((3, 10)), 4, axis=1)
        found += [[make(users).captured(scores)["captured"] for scores in (users.mean(axis=0), rng.random(40))]]
    assert np.mean(found, axis=0) == pytest.approx([0.93, 0], abs=0.08)


def test_truth_captures_more_than_chance():
    video = record(np.repeat(np.random.default_rng(3).random(8), 5), np.eye(40))
    importance = importance_of(video)
    best = importance.captured(importance.mean)
    drawn = [importance.captured(random_scores(video, draw)) for draw in range(20)]
    assert best["captured"] > max(draw["captured"] for draw in drawn)
    assert abs(np.mean([draw["captured"] for draw in drawn])) < 0.3


def test_each_annotator_against_the_others():
    """A captures all of A and, of B, 6 x -.15 of 6 x .85; one who is constant neither scores nor changes the others."""
    assert make([A, A]).human()["captured"] == pytest.approx(1)
    assert make([A, B]).human()["captured"] == pytest.approx(-0.15 / 0.85)
    assert make([A, A, np.ones(40)]).human()["captured"] == pytest.approx(1)
    assert np.isnan(make([A, A]).human()["captured_keyshot"])
    for nobody in (A, [np.ones(40), A]):  # no other annotator; none whose importance varies
        assert np.isnan(make(nobody).human()["captured"])


def test_what_a_record_tells():
    """The mean of annotators, else the curve; labels alone are no importance. Features are not kept."""
    both = importance_of(record([A, B], np.eye(40)))
    assert both.mean.tolist() == ((A + B) / 2).tolist()
    assert not hasattr(both, "video_features")
    curve = replace(record(), user_scores=None, frame_scores=np.append(A, 0)[:39].astype(np.float32))
    assert importance_of(curve).mean[:39].tolist() == A[:39].tolist()
    assert np.isnan(importance_of(curve).mean[39])
    labels = replace(record(), user_scores=None, frame_labels=A.astype(int))
    assert not importance_of(labels).is_known
    assert np.isnan(list(importance_of(labels).captured(A).values())).all()


def test_our_shots_follow_features_averaged_over_four_and_a_half_seconds():
    """Frames jump between two pictures every half second; what jumps changes once, at 20 s."""
    jumps = np.arange(80) % 2 + 2 * (np.arange(80) >= 40)
    video = replace(record(np.arange(80.0), np.eye(4)[jumps], n=80), frame_times_s=np.arange(80) / 2, duration_s=40.0)
    assert own_shots(video) == pytest.approx([20], abs=0.5)
    assert own_shots(replace(video, video_features=np.ones((80, 4)))).shape == (0,)
    assert own_shots(replace(video, video_features=np.ones((80, 0)))) is None
    with pytest.raises(ValueError, match="video v: features: expected finite values"):
        importance_of(replace(video, video_features=np.full((80, 4), np.nan)))


def test_short_and_odd_videos():
    for n in (1, 2, 5):
        found = importance_of(record(np.arange(float(n)), np.ones((n, 3)), n)).captured(np.arange(float(n)))
        assert np.isnan(found["captured"]) == (n == 1)
        assert n == 1 or found["captured"] == pytest.approx(1)
