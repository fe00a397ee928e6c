"""Times and lengths are read as people write them, and sentences get what their frames have."""

import numpy as np
import pytest

from hiersum_hf.records import Budget, Sentence, sentence_times_s
from hiersum_hf.timeline import budget_of, covered_means, parse_budget, parse_span, parse_spans, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("80", 80), ("80s", 80), (" 1:20 ", 80), ("1:20.5", 80.5), ("1:02:03", 3723), ("2min", 120), ("1.5 h", 5400),
     ("90 Seconds", 90), ("75:00", 4500), (".5s", 0.5)],
)  # fmt: skip
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "1:60", "1:61:00", "5x", "-3", "1e3s", "nan", "1:2", "s"])
def test_what_is_no_time_is_named(text):
    with pytest.raises(ValueError, match=r'expected a time such as "80s", "1:20" or "2min", found'):
        parse_time(text)


@pytest.mark.parametrize(
    ("value", "budget"),
    [("0.15", ("ratio", 0.15)), ("15%", ("ratio", 0.15)), ("1", ("ratio", 1)), (0.3, ("ratio", 0.3)),
     ("100 %", ("ratio", 1)), ("60", ("seconds", 60)), ("60s", ("seconds", 60)), ("1s", ("seconds", 1)),
     (" .5 s", ("seconds", 0.5)), ("1:30", ("seconds", 90)), ("10min", ("seconds", 600)), (1.5, ("seconds", 1.5))],
)  # fmt: skip
def test_budgets(value, budget):
    assert parse_budget(value) == budget


@pytest.mark.parametrize("text", ["0", "0s", "0%", "-1", "150%", "", "nan", "inf", "1e3s", "s", "1:75", "ten"])
def test_wrong_budgets_say_what_is_accepted(text):
    with pytest.raises(ValueError, match=r'budget: expected a share .* "15%", or a length such as "60s", "1:30"'):
        parse_budget(text)


def test_a_budget_is_at_most_the_video():
    assert budget_of("25%", 200.0) == Budget("ratio", 0.25, 50.0)
    assert budget_of("1:30", 60.0) == Budget("seconds", 90.0, 60.0)


def test_stretches():
    assert parse_span("1:20-1:40") == parse_span((80, 100)) == parse_span("80 – 100s") == (80, 100)
    assert parse_spans(None, "keep") == ()
    assert parse_spans("0-0:30", "skip") == parse_spans((0, 30), "skip") == parse_spans([[0, 30]], "skip") == ((0, 30),)
    assert parse_spans(["1-2", (3, 4)], "keep") == ((1, 2), (3, 4))


@pytest.mark.parametrize("value", ["5", "10-5", "5-5", "a-b", "", (1,), (2, 1), ("x", 3), None, (0, float("inf"))])
def test_what_is_no_stretch_is_named(value):
    with pytest.raises(
        ValueError, match=r'--keep: expected a stretch with its end after its start such as "1:20-1:40"'
    ):
        parse_spans([value], "--keep")


def test_sentence_times_are_an_array_also_without_sentences():
    assert sentence_times_s([Sentence("a", 0, 1.5), Sentence("b", 2, 3)]).tolist() == [[0, 1.5], [2, 3]]
    assert sentence_times_s([]).shape == (0, 2)


def test_a_span_has_the_mean_of_its_frames_and_without_frames_the_least_score():
    scores, spans = np.array([0.2, 0.4, 0.9]), np.array([[0, 2], [1, 3], [2, 2], [2, 1]])
    assert covered_means(scores, spans) == pytest.approx([0.3, 0.65, 0.2, 0.2])
    assert covered_means(scores, np.zeros((0, 2), int)).shape == (0,)
