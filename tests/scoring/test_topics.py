"""Which step a moment is about, and what was asked for."""

import numpy as np
import pytest

from hiersum_hf.records import Encoders, Sentence, VideoRecord, first_step
from hiersum_hf.scoring.topics import (
    asked_scores,
    checked_queries,
    is_answered,
    nearest_texts,
    relevance_to,
    sentence_of_frames,
    step_of_frames,
)


def film(spoken=(), words=None, encoders=None, looks=None, steps=None):
    """A video of 20 s, two frames a second."""
    looks = np.tile(np.eye(4)[3], (40, 1)) if looks is None else looks
    return VideoRecord(
        "film.mp4", looks, np.arange(40) / 2, 20.0, encoders, tuple(Sentence("words", *bounds) for bounds in spoken),
        np.zeros((0, 4)) if words is None else words, tuple("abcd"[: 0 if steps is None else len(steps)]),
        np.zeros((0, 4)) if steps is None else steps,
    )  # fmt: skip


def test_each_row_goes_to_its_nearest_text_or_to_none():
    near = np.array([[0.9, 0.2, 0.1], [0.1, 0.1, 0.1], [0.2, 0.8, 0.1], [0.3, 0.7, 0.2], [0.1, 0.2, 0.9]])
    for ordered in (True, False):
        assert nearest_texts(near, ordered).tolist() == [0, -1, 1, 1, 2]


def test_a_text_that_is_close_to_everything_says_little_by_being_close():
    near = np.array([[0.70, 0.60, 0.1], [0.70, 0.1, 0.1], [0.85, 0.1, 0.1], [0.70, 0.1, 0.60]])
    assert nearest_texts(near, ordered=False).tolist() == [1, -1, 0, 2]


def test_steps_keep_their_order_where_sentences_could_belong_to_several():
    """The fourth sentence speaks of the wheel again, as the first step did; what is clear goes back all the same."""
    near = np.array([[0.9, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.7], [0.7, 0.1, 0.6], [0.1, 0.1, 0.7]])
    assert nearest_texts(near, ordered=True).tolist() == [0, 1, 2, 2, 2]
    assert nearest_texts(near, ordered=False).tolist() == [0, 1, 2, 0, 2]
    back = np.vstack([near[:3], np.tile([0.1, 0.1, 0.1], (6, 1)), np.tile([0.9, 0.1, 0.1], (3, 1))])
    assert nearest_texts(back, ordered=True).tolist() == [0, 1, 2, 2, *[-1] * 5, 0, 0, 0]


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (1, 1), (3, 1)])
def test_little_to_compare(shape):
    assert nearest_texts(np.zeros(shape), ordered=True).tolist() == [-1] * shape[0]
    assert nearest_texts(np.zeros(shape), ordered=False).tolist() == [-1] * shape[0]


def test_frames_are_about_what_is_said_at_them():
    record = film([(2, 6), (10, 12), (15, 19)], np.eye(4)[:3], steps=np.eye(4)[[0, 2]])
    step_of = step_of_frames(record)
    assert set(step_of[4:12]) == {0}
    assert set(step_of[30:38]) == {1}
    assert set(step_of[20:24]) == {-1}
    assert set(step_of[:4]) == {-1}
    assert sentence_of_frames(record.sentences, record.frame_times_s)[[3, 4, 11, 12]].tolist() == [-1, 0, 0, -1]


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (("Change a tube", "Remove the wheel", "Take off the tyre"), 1),
        (("Change a tube", "Remove the wheel"), 0),
        (("1. Remove the wheel", "2. Take off the tyre", "3. Find the cause"), 0),
        (("Step one: remove the wheel", "Then the tyre", "Find the cause"), 0),
        (("- wheel", "- tyre", "- tube"), 0),
        (("3 ways to cut a leek", "Rings", "Cubes"), 1),
        (("Stepping stones", "Dig", "Lay"), 1),
        ((), 0),
    ],
)
def test_the_first_of_three_texts_is_the_title_unless_it_is_marked_as_a_step(texts, first):
    assert first_step(texts) == first


def test_a_title_is_no_step_and_draws_no_sentence():
    record = film([(2, 6), (10, 12), (15, 19)], np.eye(4)[:3], steps=np.eye(4)[[0, 1, 2]])
    step_of = step_of_frames(record)
    assert 0 not in step_of, "what announces the title is about no step"
    assert set(step_of[20:24]) == {1}


def test_without_sentences_frames_are_compared_where_that_means_something():
    looks = np.repeat(np.eye(4)[[3, 0, 3, 1]], 10, axis=0)
    same = film(looks=looks, steps=np.eye(4)[:2], encoders=Encoders("clip", "clip", 2.0))
    assert step_of_frames(same).tolist() == [-1] * 10 + [0] * 10 + [-1] * 10 + [1] * 10
    other = film(looks=looks, steps=np.eye(4)[:2], encoders=Encoders("clip", "sbert", 2.0))
    assert set(step_of_frames(other)) == {-1}


def test_queries_are_texts_with_words():
    assert checked_queries(None) == ()
    assert checked_queries("  how is it\nseated? ") == ("how is it seated?",)
    assert checked_queries(["a", "b", "a"]) == ("a", "b")
    for empty in ("", "  ", "?!"):
        with pytest.raises(ValueError, match="query: expected words, found"):
            checked_queries(["valve", empty])


def test_what_was_asked_for_counts_more_than_the_scores():
    record = film([(2, 6), (10, 12), (15, 19)], np.eye(4)[:3])
    relevance = relevance_to(record, np.eye(4)[[1, 2]] * 7)
    assert relevance.shape == (2, 40)
    assert relevance[0, 20:24].min() == 1
    assert relevance[1, 30:38].min() == 1
    scores = np.where(np.arange(40) < 12, 0.9, 0.1)
    blended = asked_scores(scores, relevance)
    assert blended[20:24].min() > blended[:12].max()
    assert blended[30:38].min() > blended[:12].max()
    assert ((blended > 0) & (blended < 1)).all()


def test_frames_are_compared_with_queries_of_their_own_encoder():
    looks = np.repeat(np.eye(4)[[3, 0, 3, 1]], 10, axis=0)
    record = film(looks=looks, encoders=Encoders("clip", "clip", 2.0))
    assert relevance_to(record, np.eye(4)[:1])[0].argmax() == 10
    both = film([(2, 4)], np.eye(4)[1:2], Encoders("clip", "clip", 2.0), looks)
    assert relevance_to(both, np.eye(4)[:1])[0].argmax() == 10
    with pytest.raises(ValueError, match=r"film.mp4: a query needs subtitles, or frames and words from one encoder"):
        relevance_to(film(looks=looks, encoders=Encoders("clip", "sbert", 2.0)), np.eye(4)[:1])


def test_a_query_that_nothing_answers_is_told_from_one_that_something_does():
    words = np.array([[1, 0.5, 0, 0], [0.5, 1, 0, 0], [0.6, 0.6, 0.5, 0]])
    record = film([(2, 6), (10, 12), (15, 19)], words)
    near, far = relevance_to(record, np.array([[1.0, 0.4, 0, 0], [0, 0, 0.3, 1]]))
    assert is_answered(record, near)
    assert not is_answered(record, far), "sentences are nearer to each other"
    looks = np.repeat(np.eye(4)[[3, 0]], [37, 3], axis=0)
    frames = film(looks=looks, encoders=Encoders("clip", "clip", 2.0))
    assert is_answered(frames, relevance_to(frames, np.eye(4)[:1])[0])
    assert not is_answered(frames, relevance_to(frames, np.eye(4)[2:3])[0])
