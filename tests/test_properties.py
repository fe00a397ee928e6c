"""What must hold for every input: spans, summaries, figures, and files that are written and read again.

Properties of the knapsack, of shots against the plain dynamic programme, of level schedules on several ranks, of
tau against scipy's and of rolling captions are with the tests of their modules.
"""

from dataclasses import fields
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hiersum_hf import HierSumConfig, metrics
from hiersum_hf.datasets.schema import schema, to_record, to_row, to_table, without_extensions
from hiersum_hf.labels import sentence_labels_from_frames
from hiersum_hf.modeling.inputs_hiersum import times_to_spans
from hiersum_hf.records import Encoders, Sentence, VideoRecord
from hiersum_hf.texts.subtitles import read_subtitles, write_srt
from hiersum_hf.training.flags import read_recipe, write_recipe


few = settings(max_examples=40)
quarters = st.integers(0, 40).map(lambda quarter: quarter / 4)  # seconds
levels = st.integers(-3, 3)  # of importance: few, so that there are ties


def rows(count, length, values):
    """Arrays (count, length)."""
    return st.lists(st.lists(values, min_size=length, max_size=length), min_size=count, max_size=count).map(np.array)


@st.composite
def rated(draw):
    """Scores (N,) and annotators (U, N)."""
    length, users = draw(st.integers(2, 12)), draw(st.integers(1, 4))
    return draw(rows(1, length, levels))[0].astype(float), draw(rows(users, length, levels)).astype(float)


@few
@given(times=st.sets(quarters, min_size=1, max_size=9), spoken=st.lists(st.tuples(quarters, quarters), max_size=6))
def test_a_sentence_covers_the_frames_whose_time_it_touches(times, spoken):
    times_s = np.array(sorted(times))
    until_s = np.append(times_s[1:], np.inf)  # a frame stands until the next one
    spoken = [pair for pair in spoken if pair[0] < pair[1]]
    spans = times_to_spans(times_s, np.array(spoken, float).reshape(-1, 2))
    for (start_s, end_s), (start, end) in zip(spoken, spans, strict=True):
        touched = np.flatnonzero((times_s < end_s) & (start_s < until_s))
        assert list(range(start, end)) == touched.tolist()


@few
@given(labels=st.lists(st.sampled_from([0, 1, -100]), min_size=1, max_size=9), data=st.data())
def test_a_sentence_is_important_iff_a_frame_of_it_is(labels, data):
    edges = st.integers(0, len(labels))
    spans = np.array(data.draw(st.lists(st.tuples(edges, edges).map(sorted), min_size=1, max_size=5)))
    found = sentence_labels_from_frames(np.array(labels), spans)
    for (start, end), label in zip(spans, found, strict=True):
        inside = labels[start:end]
        assert label == (1 if 1 in inside else 0 if 0 in inside else -100)


@few
@given(rated())
@pytest.mark.parametrize("measure", [metrics.kendall_tau, metrics.spearman_rho])
def test_rank_correlations_know_only_ranks(measure, pair):
    scores, users = pair
    value, dropped = measure(scores, users)
    if np.isnan(value):
        assert dropped == len(users)
        return
    assert -1 <= value <= 1
    order, frames = np.arange(len(users))[::-1], np.roll(np.arange(len(scores)), 1)
    same = [
        (np.exp(scores), users),
        (scores, users[order]),
        (scores, 5 * users**3 + 1),
        (scores[frames], users[:, frames]),
    ]
    for changed in same:
        assert measure(*changed) == (pytest.approx(value, abs=1e-12), dropped)
    assert measure(-scores, users)[0] == pytest.approx(-value, abs=1e-12)


@few
@given(rated())
def test_f1_is_a_share_and_knows_no_order_of_annotators(pair):
    summary, users = pair[0] > 0, pair[1] > 0
    mean, best = (metrics.f1_score(summary, users, reduce) for reduce in ("mean", "max"))
    assert 0 <= mean <= best + 1e-9 <= 1 + 1e-9
    assert metrics.f1_score(summary, users[::-1]) == pytest.approx(mean)
    assert metrics.f1_score(users[0], summary[None]) == pytest.approx(metrics.f1_score(summary, users[:1]))
    assert metrics.f1_score(users[0], users, "max") == (1.0 if users[0].any() else 0.0)


@few
@given(
    values=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    lengths=st.lists(st.integers(1, 9), min_size=6, max_size=6), budget=st.sampled_from([0.15, 0.3, 0.5, 1.0]),
)  # fmt: skip
def test_a_key_shot_summary_is_the_best_set_of_whole_shots_within_its_budget(values, lengths, budget):
    lengths = np.array(lengths[: len(values)])
    ends = lengths.cumsum()
    starts, n = ends - lengths, int(ends[-1])
    scores = np.repeat(np.array(values, float), lengths)
    summary = metrics.key_shot_summary(scores, np.arange(n), n, np.stack([starts, ends], 1), budget=budget)
    capacity = int(round(budget * 100) * n // 100)
    taken = [k for k in range(len(values)) if summary[starts[k]]]
    assert summary.sum() == lengths[taken].sum() <= capacity, "whole shots, within the budget"
    sets = (list(s) for size in range(len(values) + 1) for s in combinations(range(len(values)), size))
    best = max(sum(values[k] for k in s) for s in sets if lengths[s].sum() <= capacity)
    assert sum(values[k] for k in taken) == best


@few
@given(rated(), st.sampled_from([0.5, 0.15]), st.sampled_from(["mrhisum", "triplesumm"]))
def test_average_precision_of_the_reference_itself_is_1(pair, share, rule):
    scores, reference = np.repeat(pair[0] + 4, 5), np.repeat(pair[1][0] + 4, 5)
    value = metrics.clip_average_precision(scores, reference, share, rule)
    assume(not np.isnan(value))
    assert 0 < value <= 1
    assert metrics.clip_average_precision(3 * scores, reference, share, rule) == pytest.approx(value)
    distinct = reference + np.repeat(np.arange(len(reference) // 5)[::-1] / 100, 5)  # of equal clips the earlier counts
    assert metrics.clip_average_precision(distinct, reference, share, rule) == 1


@few
@given(rated())
def test_half_of_the_segments_are_predicted(pair):
    chosen = metrics.segment_prediction(pair[0])
    assert chosen.sum() == len(chosen) // 2
    assert pair[0][chosen].min(initial=9) >= pair[0][~chosen].max()


words = st.text("abcxyzäßж漢字'&0-", min_size=1, max_size=8)
# Shorter cues than 50 ms that say the same again are taken for rolling captions
spoken = st.tuples(st.integers(0, 5000), st.integers(60, 9999), st.lists(words, min_size=1, max_size=5))


@few
@given(st.lists(spoken, min_size=1, max_size=6))
def test_written_subtitles_are_read_as_they_were(tmp_path_factory, spoken):
    at_ms, sentences = 0, []
    for number, (pause_ms, length_ms, said) in enumerate(spoken):
        # What comes again at once, and faster than it can be said, is taken for highlighted words
        pause_ms += 200 * (number > 0 and said == spoken[number - 1][2])
        begin_ms, at_ms = at_ms + pause_ms, at_ms + pause_ms + length_ms
        sentences.append(Sentence(f"Ok {' '.join(said)}.", begin_ms / 1000, at_ms / 1000))
    path = tmp_path_factory.getbasetemp() / "written.srt"
    write_srt(sentences, path)
    assert read_subtitles(path) == sentences


@few
@given(
    heads=st.sampled_from([1, 2, 4]), hidden=st.integers(1, 8).map(lambda k: 8 * k), alpha=st.none() | st.floats(0, 1),
    dropout=st.floats(0, 0.99), position=st.sampled_from(["sinusoidal", "learned"]), shared=st.booleans(),
    trained=st.none() | st.lists(st.sampled_from(["child", "parent", "joint"]), unique=True),
)  # fmt: skip
def test_a_saved_config_is_the_same(tmp_path_factory, heads, hidden, alpha, dropout, position, shared, trained):
    config = HierSumConfig(
        hidden_size=hidden, num_attention_heads=heads, focal_alpha=alpha, hidden_dropout=dropout,
        position_embedding_type=position, share_layers=shared, trained_levels=trained,
    )  # fmt: skip
    folder = tmp_path_factory.getbasetemp() / "config"
    config.save_pretrained(folder)
    assert HierSumConfig.from_pretrained(folder).to_dict() | {"_name_or_path": ""} == config.to_dict()


plain = st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=12)


@few
@given(st.dictionaries(st.sampled_from(["data", "num_layers", "learning_rate", "report_to"]), plain | st.lists(plain)))
def test_a_written_recipe_is_read_as_it_was(tmp_path_factory, given_flags):
    folder = tmp_path_factory.getbasetemp() / "run"
    write_recipe(folder, given_flags)
    assert read_recipe(folder / "recipe.yaml") == given_flags


@few
@given(
    frames=st.integers(1, 6), sentences=st.integers(0, 3), texts=st.lists(st.text(st.characters(codec="utf-8"))),
    labelled=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_stored_record_is_the_same(frames, sentences, texts, labelled, seed):
    rng = np.random.default_rng(seed)
    labels = {"frame_labels": rng.integers(0, 2, frames), "frame_scores": rng.random(frames).astype(np.float32)}
    record = VideoRecord(
        video_id="v", video_features=rng.random((frames, 3)).astype(np.float32), frame_times_s=np.arange(frames) / 2,
        duration_s=frames / 2, encoders=Encoders("v", "t", 2.0), description=tuple(texts),
        sentences=tuple(Sentence("ß\n", k / 4, k / 3) for k in range(sentences)),
        text_features=rng.random((sentences, 2)).astype(np.float32), user_scores=rng.random((2, frames)),
        **labels if labelled else {},
    )  # fmt: skip
    columns = schema(3, 2)
    again = to_record(without_extensions(to_table([to_row(record, columns)], columns).to_batches()[0]))
    for name in (field.name for field in fields(record)):
        one, two = getattr(record, name), getattr(again, name)
        if isinstance(one, np.ndarray):
            assert np.array_equal(one, two) or one.size == two.size == 0, name
        else:
            assert one == two, name
