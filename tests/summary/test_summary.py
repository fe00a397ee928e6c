"""A summary keeps to its budget, is never empty, and says when it had to improvise; scorers without a checkpoint."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiersum_hf.records import Budget, Encoders, Sentence, VideoRecord
from hiersum_hf.scoring.training_free import score_frames, training_free_scores, uniform_scores
from hiersum_hf.summary.compose import summarize_scores
from hiersum_hf.summary.selection import RULES, Background, Selection


KEYSHOT = Selection("keyshot")


def scenes(*lengths):
    """(N, D) features of scenes of so many frames, each unlike the others."""
    return np.repeat(np.eye(max(len(lengths), 2))[: len(lengths)], lengths, axis=0)


def summarize(lengths, scene_scores, seconds, **kwargs):
    """A video of one frame a second."""
    scores = np.repeat(scene_scores, lengths).astype(float)
    budget = Budget("seconds", seconds, seconds)
    times_s = np.arange(len(scores)).astype(float)
    defaults = {"video": "film.mp4", "scorer": "training-free", "selection": KEYSHOT}
    return summarize_scores(times_s, scores, float(len(scores)), scenes(*lengths), budget, **defaults | kwargs)


def test_the_best_shots_that_fit_are_taken():
    summary = summarize([20, 30, 20, 30], [0.2, 0.9, 0.5, 0.6], 50)
    chosen = [(shot["start_s"], shot["end_s"]) for shot in summary.shots if shot["selected"]]
    assert chosen == [(20, 50), (50, 70)]
    assert len(summary.segments) == 1  # adjacent shots are one stretch
    assert (summary.segments[0].start_s, summary.segments[0].end_s) == (20, 70)
    assert summary.segments[0].score == pytest.approx((30 * 0.9 + 20 * 0.5) / 50)
    assert not summary.fallback
    assert json.loads(json.dumps(summary.to_dict()))["schema"] == 2


def test_a_gap_keeps_segments_apart():
    summary = summarize([20, 30, 20, 30], [0.9, 0.1, 0.9, 0.1], 40)
    assert [(s.start_s, s.end_s, round(s.score, 6)) for s in summary.segments] == [(0, 20, 0.9), (50, 70, 0.9)]


def test_nothing_fits_so_the_best_window_is_taken_and_said():
    scores = np.repeat([0.1, 0.9, 0.2], [40, 10, 50])
    summary = summarize_scores(
        np.arange(100.0), scores, 100.0, scenes(100), Budget("ratio", 0.125, 12.5), video="x", scorer="random",
        selection=KEYSHOT,
    )  # fmt: skip
    assert summary.fallback
    assert [(s.start_s, s.end_s) for s in summary.segments] == [(40, 52.5)]
    assert summary.segments[0].score == pytest.approx((9 + 0.5) / 12.5)
    assert "best-scored window" in summary.warnings[-1]
    assert not any(shot["selected"] for shot in summary.shots)


def test_scores_of_0_still_give_a_summary():
    summary = summarize([20, 20], [0, 0], 20)
    assert summary.fallback
    assert (summary.segments[0].start_s, summary.segments[0].end_s) == (0, 20)


def test_a_poor_shot_is_not_the_summary_because_it_alone_is_short():
    """A lecture of two long shots with a title of 5 s between them."""
    summary = summarize([60, 5, 35], [0.8, 0.1, 0.9], 20)
    assert summary.fallback
    assert spans(summary) == [(65, 85)]
    why = "below the video's mean of 0.80 (the best of them: 1:00 to 1:05, score 0.10): the best-scored window"
    assert why in summary.warnings[-1]
    for title in (0.85, 0.9):
        kept = summarize([60, 5, 35], [0.8, title, 0.9], 20)
        assert (spans(kept), kept.fallback, kept.warnings) == ([(60, 65)], False, ())
    assert spans(summarize([60, 5, 5, 30], [0.8, 0.1, 0.9, 0.7], 20)) == [(60, 70)], "with a better one it may stay"
    assert not summarize([60, 5, 35], [0.3, 0.3, 0.3], 20).fallback, "as good as any other"


@pytest.mark.parametrize("seconds", [50, 51, 1e6])
def test_a_budget_as_long_as_the_video_keeps_all(seconds):
    summary = summarize([20, 30], [0.1, 0.0], seconds)
    assert [(s.start_s, s.end_s) for s in summary.segments] == [(0, 50)]
    assert not summary.fallback


def test_one_frame():
    kwargs = {"video": "x", "scorer": "random"}
    summary = summarize_scores([0.0], [0.5], 2.0, np.ones((1, 4)), Budget("seconds", 1, 1.0), **kwargs)
    assert [(s.start_s, s.end_s, s.score) for s in summary.segments] == [(0, 1, 0.5)]


def test_a_first_frame_after_0_and_a_last_one_past_the_end():
    kwargs = {"video": "x", "scorer": "random", "selection": KEYSHOT}
    times_s, scores = np.arange(100) + 0.5, np.repeat([0.2, 0.8], 50)
    summary = summarize_scores(times_s, scores, 98.0, scenes(50, 50), Budget("seconds", 60, 60.0), **kwargs)
    assert [(shot["start_s"], shot["end_s"]) for shot in summary.shots] == [(0, 50.5), (50.5, 98)]
    assert [(s.start_s, s.end_s) for s in summary.segments] == [(50.5, 98)]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(3, 40), st.floats(0, 1)), min_size=1, max_size=12),
    st.floats(0.01, 1.2),
    st.sampled_from([0.5, 1 / 3, 1001 / 30000, 7.3]),
    st.sampled_from(RULES),
)
def test_the_budget_is_never_exceeded_and_nothing_is_empty(parts, ratio, period_s, rule):
    lengths, scene_scores = [n for n, _ in parts], [score for _, score in parts]
    scores = np.repeat(scene_scores, lengths)
    duration_s = len(scores) * period_s
    budget = Budget("ratio", ratio, ratio * duration_s)
    times_s = np.arange(len(scores)) * period_s
    summary = summarize_scores(
        times_s, scores, duration_s, scenes(*lengths), budget, video="x", scorer="random", selection=Selection(rule)
    )
    spans = [(s.start_s, s.end_s) for s in summary.segments]
    assert 0 < sum(end_s - start_s for start_s, end_s in spans) <= budget.seconds + 1e-6
    assert all(start_s < end_s for start_s, end_s in spans)
    assert all(earlier[1] < later[0] for earlier, later in pairwise(spans))
    assert all(-1e-9 <= s.score <= 1 + 1e-9 for s in summary.segments)
    assert summary.shots[0]["start_s"] == 0
    assert summary.shots[-1]["end_s"] == duration_s


def test_key_sentences_are_those_of_the_segments():
    sentences = [Sentence("late", 85, 89), Sentence("in", 25, 35), Sentence("out", 5, 9), Sentence("edge", 45, 53)]
    summary = summarize([20, 30, 30, 20], [0.2, 0.9, 0.1, 0.8], 54, sentences=sentences)
    assert [s["text"] for s in summary.key_sentences] == ["in", "edge", "late"]
    assert [s["score"] for s in summary.key_sentences] == pytest.approx([0.9, (5 * 0.9 + 3 * 0.1) / 8, 0.8])
    scored = summarize([20, 30, 30, 20], [0.2, 0.9, 0.1, 0.8], 54, sentences=sentences, sentence_scores=[1, 2, 3, 4])
    assert [s["score"] for s in scored.key_sentences] == [2, 4, 1]
    with pytest.raises(ValueError, match=r"film.mp4: expected 4 sentence scores, found 1"):
        summarize([20, 30], [0.2, 0.9], 30, sentences=sentences, sentence_scores=[1])


def test_a_sentence_that_a_segment_cuts_is_told_in_it():
    """It is longer than the budget; "nothing said" would be wrong."""
    summary = summarize([4, 3, 33], [0.1, 0.9, 0.1], 3, sentences=[Sentence("Long.", 0, 30)], selection=Selection())
    assert [(s.start_s, s.end_s) for s in summary.segments] == [(4, 7)]
    assert summary.said_in(summary.segments[0]) == "Long."


@pytest.mark.parametrize(
    ("steps", "listed"), [(("Fix a tap",), []), (("Shut the valve", "Lift it out"), ["Lift it out"])]
)
def test_a_title_alone_is_no_step_that_is_left_out(steps, listed):
    background = Background(steps=steps, step_of=np.full(40, -1))
    background.step_of[4:7] = 0
    summary = summarize([4, 3, 33], [0.1, 0.9, 0.1], 3, background=background, selection=Selection())
    assert summary.left_out == listed
    assert len(summary.steps) == len(steps) * bool(listed)


def shots(summary):
    return [(shot["start_s"], shot["end_s"]) for shot in summary.shots]


def spans(summary):
    return [(segment.start_s, segment.end_s) for segment in summary.segments]


SCENES = [20, 30, 20, 30], [0.2, 0.9, 0.5, 0.6]


@pytest.mark.parametrize(
    ("spoken", "borders"),
    [
        ([(18, 21.5)], [21.5, 50, 70]),  # 20 is nearer to the end
        ([(18, 30)], [18, 50, 70]),
        ([(18, 22)], [18, 50, 70]),  # of equals the earlier
        ([(20, 30), (40, 50)], [20, 50, 70]),  # between sentences is a fine place
        ([(15, 21), (21, 30)], [21, 50, 70]),
        ([(15, 21), (20.5, 30)], [15, 50, 70]),  # two talk at once: kept together
        ([(0, 60)], [20, 50, 70]),  # longer than the budget: cannot be kept whole
        ([(17, 38), (30, 50), (44, 66)], [17, 44, 70]),  # together too long: cut where the next one begins
        ([(10, 48), (48, 71)], [10, 48, 71]),  # 20 and 50 and 70
        ([(49.9, 69.9), (69.9, 80)], [20, 49.9, 69.9]),
        ([(19, 20.2), (20.4, 50.1)], [20.2, 50.1, 70]),
        ([(90, 130), (-5, -1), (3, 3)], [20, 50, 70]),
    ],
)
def test_a_shot_border_inside_a_sentence_moves_to_its_edge(spoken, borders):
    sentences = [Sentence("words", start_s, end_s) for start_s, end_s in spoken]
    found = shots(summarize(*SCENES, 45, sentences=sentences))
    assert found == list(pairwise([0, *borders, 100]))


def test_borders_that_moved_together_leave_no_flash():
    """Both borders of a scene of 2 s move towards the pause of 0.3 s between two sentences."""
    sentences = [Sentence("one", 10, 20.3), Sentence("two", 20.6, 30)]
    found = shots(summarize([20, 2, 30], [0.1, 0.9, 0.2], 20, sentences=sentences))
    assert [end_s - start_s > 0.5 for start_s, end_s in found] == [True] * len(found)
    assert (found[0][0], found[-1][1]) == (0, 52)


def test_the_window_of_the_fallback_cuts_no_sentence():
    sentences = [Sentence("one", 0, 7), Sentence("two", 7, 16), Sentence("three", 16, 27)]
    summary = summarize([100], [0.5], 20, sentences=sentences)
    assert spans(summary) == [(7, 27)]  # not [0, 20), whose end is spoken over
    best = summarize_scores(
        np.arange(40.0), np.repeat([0.1, 0.9, 0.1], [12, 4, 24]), 40.0, scenes(40), Budget("seconds", 12, 12.0),
        video="x", scorer="random", sentences=sentences, selection=KEYSHOT,
    )  # fmt: skip
    assert spans(best) == [(7, 16)]
    assert best.fallback
    assert "shorter than every shot (the shortest lasts 40 s)" in best.warnings[-1]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(3, 40), st.floats(0, 1)), min_size=1, max_size=8),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 25)), max_size=25),
    st.floats(0.02, 1.1),
    st.sampled_from([0.5, 1001 / 30000 * 15]),
    st.booleans(),
    st.sampled_from(RULES),
)
def test_no_sentence_that_fits_is_cut(parts, speech, ratio, period_s, overlapping, rule):
    lengths = [n for n, _ in parts]
    scores = np.repeat([score for _, score in parts], lengths)
    duration_s, sentences, now_s = len(scores) * period_s, [], -1.0
    for pause_s, length_s in speech:
        start_s = now_s + pause_s * (-2 if overlapping else 1)
        sentences.append(Sentence("words", start_s, start_s + length_s))
        now_s = start_s + length_s
    budget = Budget("ratio", ratio, ratio * duration_s)
    summary = summarize_scores(
        np.arange(len(scores)) * period_s, scores, duration_s, scenes(*lengths), budget, video="x", scorer="random",
        sentences=sentences, selection=Selection(rule),
    )  # fmt: skip
    found = spans(summary)
    assert 0 < sum(end_s - start_s for start_s, end_s in found) <= budget.seconds + 1e-6
    assert all(0 <= start_s < end_s <= duration_s for start_s, end_s in found)
    assert all(earlier[1] < later[0] for earlier, later in pairwise(found))
    assert shots(summary)[0][0] == 0
    assert shots(summary)[-1][1] == duration_s
    assert all(one[1] == two[0] for one, two in pairwise(shots(summary)))
    spoken = [(max(0.0, s.start_s), min(s.end_s, duration_s)) for s in sentences]
    for cut_s in {second for span in found for second in span}:
        for start_s, end_s in spoken:
            if start_s < cut_s < end_s:
                assert longest_whole(spoken, cut_s) > budget.seconds, "only what cannot be kept whole may be cut"


def longest_whole(spoken, cut_s):
    """Length of what should not be cut at this second: all sentences that overlap there, else one start to the next."""
    chain = [bounds for bounds in spoken if bounds[0] < cut_s < bounds[1]]
    for _ in spoken:
        first, last = min(chain)[0], max(end for _, end in chain)
        chain = [(start, end) for start, end in spoken if start < last and end > first and start < end]
    starts = [start for start, _ in chain]
    if cut_s in starts:
        return last - first
    return min([start for start in starts if start > cut_s] + [last]) - max(start for start in starts if start < cut_s)


def test_bad_input_names_the_video():
    with pytest.raises(ValueError, match=r"film\.mp4: expected finite scores"):
        summarize([10, 10], [0.1, np.nan], 10)
    with pytest.raises(ValueError, match=r"film\.mp4: expected a budget above 0 s, found 0"):
        summarize([10, 10], [0.1, 0.2], 0)
    args = {"budget": Budget("seconds", 5, 5.0), "video": "film.mp4", "scorer": "random"}
    with pytest.raises(ValueError, match=r"film\.mp4: expected as many times, scores and features.* 2, 3 and 3"):
        summarize_scores([0.0, 1.0], [1, 1, 1], 3.0, np.ones((3, 2)), **args)
    with pytest.raises(ValueError, match=r"film\.mp4: expected frame times that ascend"):
        summarize_scores([0.0, 0.0], [1, 1], 3.0, np.ones((2, 2)), **args)
    with pytest.raises(ValueError, match=r"film\.mp4: expected frame times that ascend"):
        summarize_scores([0.0, 1.0], [1, 1], float("nan"), np.ones((2, 2)), **args)


def record(n=16, **parts):
    defaults = {"video_features": np.ones((n, 4), np.float32), "frame_times_s": np.arange(n) / 2, "duration_s": n / 2}
    return VideoRecord(video_id="v", **defaults | parts)


def test_uniform_scores_spread_every_share():
    best = np.argsort(-uniform_scores(record(64)))
    for count in (2, 4, 8, 16):
        assert sorted(best[:count]) == list(range(0, 64, 64 // count))
    assert len(np.unique(uniform_scores(record(37)))) == 37


def test_random_scores_follow_from_seed_and_video():
    assert np.array_equal(score_frames(record(), "random", 3), score_frames(record(), "random", 3))
    assert not np.array_equal(score_frames(record(), "random", 3), score_frames(record(), "random", 4))


def test_scorers_by_name():
    users = np.arange(32.0).reshape(2, 16)
    assert np.array_equal(score_frames(record(user_scores=users), "oracle"), users.mean(0))
    with pytest.raises(ValueError, match="video v: the oracle needs annotators, scores or labels"):
        score_frames(record(), "oracle")
    with pytest.raises(
        ValueError, match="expected one of random, uniform, position, title, oracle, training-free; found 'best'"
    ):
        score_frames(record(), "best")


SPOKEN = (Sentence("off topic", 0.0, 2.0), Sentence("on topic", 3.0, 5.0))


def test_training_free_prefers_frames_whose_sentence_fits_the_description():
    text = np.eye(2, 5, dtype=np.float32)
    scores = training_free_scores(record(sentences=SPOKEN, text_features=text, description_features=text[1:]))
    assert scores[6:10].min() > scores[:4].max()  # on topic, off topic
    assert ((scores > 0) & (scores < 1)).all()


def test_training_free_without_description_prefers_the_common_theme():
    sentences = (*SPOKEN, Sentence("on topic too", 6.0, 8.0))
    text = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    scores = training_free_scores(record(sentences=sentences, text_features=text))
    assert scores[6:10].min() > scores[:4].max()


def test_training_free_without_text_prefers_the_typical_frame():
    features = np.repeat(np.eye(4)[:2], [12, 4], axis=0)
    scores = training_free_scores(record(video_features=features))
    assert scores[:12].min() > scores[12:].max()


def test_training_free_prefers_the_middle_where_nothing_tells_frames_apart():
    scores = training_free_scores(record())
    assert scores.argmax() == 8
    assert scores[0] == scores.min()


def test_training_free_compares_frames_with_a_description_of_their_own_encoder():
    features = np.repeat(np.eye(4, dtype=np.float32)[[0, 1, 0]], [20, 20, 24], axis=0)
    about = {"video_features": features, "description_features": np.eye(4, dtype=np.float32)[1:2]}
    same, other = Encoders("clip", "clip", 2.0), Encoders("clip", "sbert", 2.0)
    scores = score_frames(record(64, **about, encoders=same), "title")
    assert set(np.flatnonzero(scores == scores.max())) == set(range(24, 36)), "averaged over 9 samples"
    assert training_free_scores(record(64, **about, encoders=same))[20:40].min() > 0.6
    assert training_free_scores(record(64, **about, encoders=other))[20:40].max() < 0.5, "likeness alone"
    wider = about | {"description_features": np.eye(5, dtype=np.float32)[1:2]}
    assert training_free_scores(record(64, **wider, encoders=same)).max() < 0.7, "no common space, whatever the name"
    for encoders in (other, None):
        with pytest.raises(ValueError, match="video v: title needs a description, and frames and texts of one encoder"):
            score_frames(record(64, **about, encoders=encoders), "title")
    assert score_frames(record(64, **about), "position").argmax() == 32


def test_training_free_names_the_video_with_bad_features():
    text = np.eye(2, 5, dtype=np.float32)
    with pytest.raises(ValueError, match="video v: expected sentences and description of one width, found 5 and 3"):
        training_free_scores(record(sentences=SPOKEN, text_features=text, description_features=np.ones((1, 3))))
    with pytest.raises(ValueError, match="video v: expected finite video_features"):
        training_free_scores(record(video_features=np.full((16, 4), np.nan)))
    with pytest.raises(ValueError, match="video v: expected 2 sentences with times, found 0"):
        training_free_scores(record(text_features=text))
