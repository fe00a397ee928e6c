"""The mean of several scorers: each counts alike, whatever its scale, and one alone stays as it is."""

import numpy as np
import pytest

from hiersum_hf.scoring.average import average_scores, one_level


def test_one_scorer_stays_as_it_is():
    scores = {"a": np.array([0.1, 0.9, 0.4])}
    assert average_scores([scores])["a"] is scores["a"]


def test_scales_do_not_count():
    """The order that one scorer gives in hundreds and another in hundredths is the same."""
    rng = np.random.default_rng(0)
    first, second = rng.random(50), rng.random(50)
    found = average_scores([{"a": first}, {"a": 300 * second - 7}])["a"]
    standard = sum((x - x.mean()) / x.std() for x in (first, second)) / 2
    assert np.corrcoef(found, standard)[0, 1] == pytest.approx(1)
    assert found.mean() == pytest.approx((first.mean() + (300 * second - 7).mean()) / 2)


def test_equal_runs_average_to_themselves():
    scores = np.random.default_rng(1).random(9)
    assert average_scores([{"a": scores}] * 3)["a"] == pytest.approx(scores)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e6])
def test_a_scorer_without_an_order_leaves_the_others_theirs(level):
    scores = np.array([0.2, 0.1, 0.7])
    found = average_scores([{"a": scores}, {"a": np.full(3, level) + 0.1}])["a"]
    assert (np.argsort(found) == np.argsort(scores)).all()
    assert np.isfinite(found).all()


def test_a_video_that_only_some_score():
    found = average_scores([{"a": np.array([0.0, 1.0]), "b": np.zeros(0)}, {"b": np.array([0.5, 0.25])}])
    assert {name: list(rows) for name, rows in found.items()} == {"a": [0.0, 1.0], "b": [0.5, 0.25]}


def test_levels():
    assert one_level([]) is None
    assert one_level(["child", "child"]) == "child"
    assert one_level(["child", "both"]) == "each run's own"
