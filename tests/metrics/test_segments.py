"""WikiHow: segments must be chosen and compared as the protocol's name says."""

import numpy as np
import pytest

from hiersum_hf.metrics import segment_f1, segment_means, segment_prediction


def test_each_rule_by_hand():
    scores = [0.2, 0.9, 0.5, 0.5, 0.5, 0.1, 0.4]
    assert np.flatnonzero(segment_prediction(scores)).tolist() == [1, 2, 3]  # floor(7 / 2), the earlier of equals
    assert np.flatnonzero(segment_prediction(scores, "p>=0.5")).tolist() == [1, 2, 3, 4]
    assert np.flatnonzero(segment_prediction(scores, "top15")).tolist() == [1]  # floor(1.05)
    assert segment_prediction([0.7]).tolist() == [False]  # half of one segment
    with pytest.raises(ValueError, match=r"rule: expected one of top50, top15, p>=0.5; found 'top20'"):
        segment_prediction(scores, "top20")
    for wrong in ([], [0.1, np.nan]):
        with pytest.raises(ValueError, match="video abc: expected"):
            segment_prediction(wrong, video_id="abc")


def test_means_of_segments():
    """Frames past the last whole segment belong to none, and a segment between two sampled frames has no score."""
    means = segment_means([1, 2, 3, 5, 9, 7], [0, 0, 2, 2, 3, -1], 3)
    assert means.tolist()[::2] == [1.5, 4]
    assert np.isnan(means[1])
    with pytest.raises(ValueError, match=r"video abc: expected the segments of 2 frames, found \(3,\)"):
        segment_means([1, 2], [0, 0, 1], 2, "abc")
    with pytest.raises(ValueError, match="video abc: expected finite scores"):
        segment_means([1, np.nan], [0, 0], 2, "abc")


def test_f1_by_hand():
    found = segment_f1([1, 1, 1, 0], [1, 0, 0, 1])
    assert found == pytest.approx({"f1": 2 / 5, "precision": 1 / 3, "recall": 1 / 2})
    assert segment_f1([0, 0], [0, 1]) == {"f1": 0, "precision": 0, "recall": 0}
    assert segment_f1([1, 0], [0, 1]) == {"f1": 0, "precision": 0, "recall": 0}
    assert np.isnan(list(segment_f1([1, 0], [0, 0]).values())).all()  # nothing to find: undefined
    with pytest.raises(ValueError, match=r"video abc: expected predictions of shape \(3,\), found \(2,\)"):
        segment_f1([1, 0], [0, 1, 1], "abc")
    with pytest.raises(ValueError, match=r"video abc: expected labels 0 and 1, found \[-100, 1\]"):
        segment_f1([1, 0], [1, -100], "abc")


def test_a_constant_score_stays_constant_over_segments():
    means = segment_means(np.full(12, 0.1), np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2]), 3)
    assert len(set(means.tolist())) == 1
    assert segment_means([1e-13, 2e-13, 0], [0, 1, 2], 3).tolist() == [1e-13, 2e-13, 0], "small is not equal"
    assert segment_means([1, 1 - 4e-12, 1 - 4e-13], [0, 1, 2], 3).tolist() == [1, 1 - 4e-12, 1], "12 digits are"
