"""What a person gets: the moments that matter, in whole sentences, every step, nothing for its shortness."""

from dataclasses import replace

import numpy as np
import pytest

from hiersum_hf.records import Sentence
from hiersum_hf.summary.key_shots import frame_edges
from hiersum_hf.summary.selection import Background, Moments, Selection, best_moments, check_wishes, choose_moments
from hiersum_hf.summary.spoken import spoken_stretches


def video(scores, period_s=0.5, spoken=(), shots_s=(), budget_s=np.inf, **parts):
    """A video with these scores, sentences (start_s, end_s) and shot borders."""
    n = len(scores)
    edges_s = frame_edges(np.arange(n) * period_s, n * period_s)
    sentences = [Sentence("words", *bounds) for bounds in spoken]
    said = np.full(n, -1)
    for number, (start_s, end_s) in enumerate(spoken):
        said[(edges_s[:-1] >= start_s) & (edges_s[:-1] < end_s)] = number
    return Moments(
        "film.mp4", edges_s, np.asarray(scores, float), spoken_stretches(sentences, n * period_s, budget_s),
        np.array(shots_s, float), sentence_of=said, **parts,
    )  # fmt: skip


def levels(*parts):
    """Scores from (value, seconds), two a second."""
    return np.concatenate([np.full(round(seconds * 2), value) for value, seconds in parts])


def chosen(moments, budget_s, **wishes):
    return list(choose_moments(moments, budget_s, Selection(**wishes)).spans_s)


def test_one_long_good_stretch_beats_many_short_poor_ones():
    """The key-shot rule takes the eight shots of 2 s, whose means add up to more."""
    scores = levels((0.9, 20), *[(0.4, 2), (0.1, 8)] * 8)
    assert chosen(video(scores, shots_s=[20, *range(22, 100, 2)]), 15) == [(0, 15)]


def test_what_scores_below_the_mean_is_left_out_though_there_is_budget():
    moments = video(levels((0.1, 40), (0.9, 6), (0.1, 54)))
    assert chosen(moments, 30) == [(40, 46)]
    assert chosen(moments, 100) == [(0, 100)], "who asks for all of it gets all of it"
    assert chosen(moments, 100, skip=((10, 20),)) == [(0, 10), (20, 100)]


def test_runs_last_as_long_as_asked_for_or_are_one_whole_sentence():
    scores = levels((0.1, 10), (0.9, 1), (0.1, 10), (0.9, 8), (0.1, 11))
    assert chosen(video(scores), 12) == [(21, 29)], "a second is not worth two poor ones"
    assert chosen(video(scores), 12, min_segment_s=1.0, run_cost=0.1) == [(10, 11), (21, 29)]
    spoken = [(10, 12)]
    scores = levels((0.1, 10), (0.9, 2), (0.1, 9), (0.9, 8), (0.1, 11))
    assert chosen(video(scores, spoken=spoken), 12) == [(10, 12), (21, 29)]
    (word,) = chosen(video(levels((0.1, 10), (0.9, 1), (0.1, 29)), spoken=[(10, 11)]), 12)
    assert word[1] - word[0] == 3, "not a word alone"


def test_no_border_falls_into_a_sentence_that_fits():
    moments = video(levels((0.1, 10.5), (0.9, 4), (0.1, 35.5)), spoken=[(8.3, 12.7), (12.9, 16.2), (30, 31)])
    assert chosen(moments, 9) == [(8.3, 16.2)]
    assert chosen(moments, 5) == [(8.3, 12.9)]


def test_a_sentence_longer_than_the_budget_may_be_cut():
    moments = video(levels((0.1, 10), (0.9, 4), (0.1, 36)), spoken=[(8, 30)], budget_s=6)
    assert chosen(moments, 6) == [(10, 14)]


def test_borders_prefer_shots_and_pauses_but_are_not_forced_there():
    flat = levels((0.1, 10), (0.5, 30), (0.1, 20))
    assert chosen(video(flat, shots_s=[17, 27]), 10) == [(17, 27)]
    steep = levels((0.1, 20), (0.9, 8), (0.1, 32))
    assert chosen(video(steep, shots_s=[24]), 8) == [(20, 28)]
    quiet = np.isin(np.arange(120), [32, 52])
    assert chosen(video(flat, quiet=quiet), 10) == [(16, 26)]


def test_no_run_begins_or_ends_with_a_flash_of_another_shot():
    """It is known which sampled frames are the first of a shot and the last of the one before, not where the cut is."""

    def shots(*firsts_s, period_s=0.5):
        return {"shots_s": firsts_s, "lasts_s": np.array(firsts_s) - period_s}

    scores = levels((0.1, 20), (0.9, 8), (0.1, 32))
    assert chosen(video(scores, **shots(20.5, 28)), 7) == [(20.5, 27.5)]
    assert chosen(video(scores, **shots(20.5, 27.5, period_s=0)), 7) == [(20.5, 27.5)], "found exactly"
    assert chosen(video(scores, **shots(22, 26)), 9) == [(20, 28)], "long enough to be seen"
    about = np.where((np.arange(120) >= 40) & (np.arange(120) < 56), 0, -1)
    assert chosen(video(scores, covered=about, **shots(20.5)), 4)[0][0] >= 20.5
    spoken = [(20.2, 24)]
    assert chosen(video(levels((0.1, 20), (0.9, 4), (0.1, 36)), spoken=spoken, **shots(20.5)), 4) == [(20.2, 24)]
    assert chosen(video(scores, shots_s=[20.5]), 8) == [(20, 28)], "no pictures, no flash"


def test_nothing_is_shown_that_shows_nothing_unless_something_is_said():
    scores = levels((0.1, 20), (0.9, 10), (0.1, 10), (0.6, 10), (0.1, 10))
    dead = np.arange(120) // 2 // 10 == 2
    assert chosen(video(scores, dead=dead), 8) == [(40, 48)]
    found = chosen(video(scores, dead=dead, spoken=[(22, 26)]), 8)
    assert found[0] == (22, 26)
    whole = choose_moments(video(scores, dead=np.ones(120, bool)), 8, Selection())
    assert "nothing while nothing is said: chosen as if it did not" in whole.notes[0]
    assert whole.spans_s == ((20, 28),)


def features_of(*looks):
    """(N, D) features, two a second, of (look, seconds)."""
    return np.concatenate([np.tile(np.eye(8)[look], (round(seconds * 2), 1)) for look, seconds in looks])


def test_near_identical_stretches_of_other_shots_count_once():
    scores = levels((0.1, 10), (0.9, 5), (0.1, 10), (0.85, 5), (0.1, 10), (0.7, 5), (0.1, 15))
    looks = features_of((0, 10), (1, 5), (2, 10), (1, 5), (3, 10), (4, 5), (5, 15))
    shots_s = [10, 15, 25, 30, 40, 45]
    assert chosen(video(scores, shots_s=shots_s, features=looks), 10) == [(10, 15), (40, 45)]
    assert chosen(video(scores, shots_s=shots_s), 10) == [(10, 15), (25, 30)]
    spoken, words = [(10, 15), (25, 30)], np.eye(2)
    told = video(scores, shots_s=shots_s, features=looks, spoken=spoken, words=words)
    assert chosen(told, 10) == [(10, 15), (25, 30)], "another thing is said over the same picture"
    again = video(scores, shots_s=shots_s, features=looks, spoken=spoken, words=np.ones((2, 2)))
    assert chosen(again, 10) == [(10, 15), (40, 45)]
    assert len(chosen(video(scores, features=looks), 10)) == 2, "one shot repeats nothing"


def test_every_text_is_represented_before_one_is_told_at_length():
    scores = levels((0.1, 5), (0.9, 20), (0.1, 5), (0.75, 20), (0.1, 5), (0.7, 20), (0.1, 25))
    about = np.repeat([-1, 0, -1, 1, -1, 2, -1], [10, 40, 10, 40, 10, 40, 50])
    moments = video(scores, covered=about)
    assert len(chosen(video(scores), 12)) == 1
    spans = chosen(moments, 12)
    shown = [sum(max(0, min(b, end) - max(a, start)) for a, b in spans) for start, end in ((5, 25), (30, 50), (55, 75))]
    assert min(shown) >= 3
    poor = np.where(about == 2, 0.1, scores)
    assert all(end <= 50 for _, end in chosen(replace(moments, scores=poor), 12)), "not for what is of no interest"


def test_kept_and_skipped_stretches_hold_whatever_the_scores_say():
    scores = levels((0.1, 20), (0.9, 10), (0.1, 70))
    assert chosen(video(scores), 10, keep=((80, 84),)) == [(20, 26), (80, 84)]
    assert chosen(video(scores), 10, keep=((80, 81),)) == [(20, 29), (80, 81)], "as short as asked for"
    assert chosen(video(scores), 10, keep=((80, 90),)) == [(80, 90)], "as long as the budget"
    assert chosen(video(scores), 10, keep=((80, 84), (82, 85), (2, 4))) == [(2, 4), (20, 23), (80, 85)]
    assert chosen(video(scores), 6, skip=((20, 25), (24, 26))) == [(26, 30)]
    spoken = [(19, 23), (23, 29), (79, 83), (86, 90)]
    assert chosen(video(scores, spoken=spoken), 10, keep=((80, 82),)) == [(23, 29), (79, 83)], "whole sentences"
    assert chosen(video(scores, spoken=spoken), 10, skip=((22, 23),)) == [(23, 30)], "none that is cut"


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"keep": ((0, 8), (20, 24))}, r"expected a budget of at least the 12.0 s that are to be kept, found 10.0 s"),
        ({"keep": ((99, 105),)}, r"keep: expected a stretch within the video's 1:40 \(100.0 s\), found 1:39-1:45"),
        ({"skip": ((120, 130),)}, r"skip: expected a stretch within the video's 1:40 \(100.0 s\), found 2:00-2:10"),
        ({"keep": ((10, 15),), "skip": ((14, 20),)}, r"expected each moment kept or skipped, found 0:10-0:15 kept and"),
        ({"skip": ((0, 60), (50, 100))}, r"expected something left after what is to be skipped, found nothing"),
        ({"keep": ((5, 2),)}, r"keep: expected a start before its end"),
    ],
)
def test_impossible_wishes_are_refused_in_one_line(wishes, message):
    with pytest.raises(ValueError, match=f"video film.mp4: {message}"):
        choose_moments(video(np.arange(200.0)), 10, Selection(**wishes))


def test_wishes_are_checked_before_any_work():
    assert check_wishes(Selection(keep=((5, 9), (8, 100.3))), "a", 100.0, 95.0) == ([(5, 100.0)], [])
    with pytest.raises(ValueError, match="selection: expected one of importance, keyshot; found 'best'"):
        Selection("best")
    with pytest.raises(ValueError, match=r'expected the selection "importance", found "keyshot", which cannot hold'):
        Selection("keyshot", keep=((1, 2),))
    with pytest.raises(ValueError, match="min_segment_s: expected seconds from 0 on, found -1"):
        Selection(min_segment_s=-1)


@pytest.mark.parametrize("scores", [np.zeros(120), np.full(120, 0.7)])
def test_constant_scores_give_a_window_and_say_so(scores):
    found = choose_moments(video(scores), 9, Selection())
    assert found.fallback
    assert found.spans_s == ((0, 9),)
    assert found.notes == ("All moments score the same: the best-scored window of at most 9 s was taken instead.",)


def test_a_budget_below_the_least_length_or_a_short_video_still_gives_a_summary():
    scores = levels((0.1, 20), (0.9, 10), (0.1, 30))
    assert chosen(video(scores), 2) == [(20, 22)]
    tiny = choose_moments(video(scores), 0.2, Selection())
    assert sum(end - start for start, end in tiny.spans_s) == pytest.approx(0.2)
    assert chosen(video([0.2, 0.8]), 0.5) == [(0.5, 1)]
    assert chosen(video([0.3]), 0.1) == [(0, 0.1)]


def test_a_run_that_is_not_worth_its_cost_stands_in_where_there_is_none():
    found = choose_moments(video(levels((0.1, 20), (0.9, 10), (0.1, 30))), 6, Selection(run_cost=1e4))
    assert (found.spans_s, found.fallback) == (((20, 26),), True)
    assert "No stretch is worth its cost" in found.notes[0]


def test_the_nearest_moments_of_a_query_are_whole_and_apart():
    moments = video(np.ones(80), spoken=[(3, 7), (7.5, 12), (20, 24)])
    near = levels((0.0, 3), (0.9, 4), (0.0, 13), (0.6, 4), (0.0, 16))
    assert best_moments(moments, near, Selection(), 2) == [((3, 7), pytest.approx(0.9)), ((20, 24), pytest.approx(0.6))]
    assert best_moments(video([0.5]), np.array([0.3]), Selection(), 3) == [((0, 0.5), pytest.approx(0.3))]


def test_what_is_known_by_default_is_nothing():
    assert Background().step_of is None
    assert Background().coverage == 4.0
