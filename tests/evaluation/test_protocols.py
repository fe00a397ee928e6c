"""Every data set is compared with what it has: curves, key frames and highlights, segments."""

from dataclasses import replace

import numpy as np
import pytest

from hiersum_hf import HierSumFeatureExtractor
from hiersum_hf.datasets.readers.sdmvsum import SMMrHiSumReader, SMVideoXumReader
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.evaluation.protocols.by_name import PROTOCOLS, protocols_of, reference_of
from hiersum_hf.evaluation.report import write_page
from hiersum_hf.hub.card import write_card
from hiersum_hf.records import Sentence, VideoRecord
from hiersum_hf.results import SCRIPTED, Results, format_table
from hiersum_hf.scoring.training_free import oracle_scores, score_frames, score_sentences, spread_over_sentences
from tests.makers import sdmvsum


def evaluate(record, scores, dataset, **about):
    about = {"scorer": "x", "part": "test"} | about
    return evaluate_scores([record], {record.video_id: np.asarray(scores, float)}, dataset=dataset, **about)


@pytest.fixture
def curve():
    """33 seconds, the curve highest at the start; shots of 11 s; published summary: the first shot's first 4 s."""
    scores = np.linspace(1, 0, 33, dtype=np.float32)
    return VideoRecord(
        video_id="v",
        video_features=np.eye(33, dtype=np.float32),
        frame_times_s=np.arange(33.0),
        duration_s=33.0,
        frame_scores=scores,
        frame_labels=(scores >= 0.15).astype(np.int64),
        user_summaries=(np.arange(33) < 4)[None],
        shots=np.array([[0, 4], [4, 20], [20, 33]]),
        picks=np.arange(33),
        n_frames=33,
    )


@pytest.fixture
def clip():
    """Ten frames of which 3 and 4 are key frames, four sentences of which the second is the highlight."""
    words = ["cut the paper", "fold the paper twice", "wait", "show the crane"]
    labels = np.isin(np.arange(10), (3, 4)).astype(np.int64)
    features = np.eye(10, dtype=np.float32) + 0.1
    return VideoRecord(
        video_id="c",
        video_features=features,
        frame_times_s=np.arange(10.0),
        duration_s=10.0,
        sentences=tuple(Sentence(text, 2.0 * j + 1, 2.0 * j + 3) for j, text in enumerate(words)),
        text_features=np.eye(4, dtype=np.float32),
        frame_labels=labels,
        sentence_labels=np.array([0, 1, 0, 0]),
        reference_text=("fold the paper twice",),
        reference_features=features[3:5],
    )


@pytest.fixture
def segments():
    """Four segments of two frames; the second and third are important."""
    labels = np.array([0, 0, 1, 1, 1, 1, 0, 0, -100])
    scores = np.array([0.1, 0.1, 0.8, 0.8, 0.6, 0.6, 0.2, 0.2, np.nan], np.float32)
    return VideoRecord(
        video_id="s",
        video_features=np.zeros((9, 3), np.float32),
        frame_times_s=np.arange(9) * 2.0,
        duration_s=18.0,
        frame_labels=labels,
        frame_scores=scores,
    )


def test_replay_protocol_adds_map(curve):
    """33 rows are 7 clips, 3 and 1 of them positive: a falling score ranks them all, a rising one puts them last."""
    right, wrong = evaluate(curve, np.arange(33, 0, -1), "mrhisum"), evaluate(curve, np.arange(33), "mosu")
    assert right.protocol == "hiersum-replay-v1"
    assert right.metrics["map50"] == right.metrics["map15"] == right.metrics["kendall_tau"] == 1
    assert right.metrics["f1"] == 1
    assert wrong.metrics["map15"] == pytest.approx(1 / 7)
    assert wrong.metrics["map50"] == pytest.approx((1 / 5 + 2 / 6 + 3 / 7) / 3)
    assert right.baselines["human"] is None
    assert set(right.ci95) == {
        *("captured", "captured_keyshot", "f1", "kendall_tau", "spearman_rho", "map50", "map15"),
    }


def test_replay_videos_without_positive_clips_are_counted(curve):
    """Six seconds are two clips, of which int(0.15 x 2) = 0 are positive."""
    short = replace(
        curve,
        video_features=curve.video_features[:6], frame_times_s=np.arange(6.0), frame_scores=curve.frame_scores[:6],
        frame_labels=curve.frame_labels[:6], user_summaries=curve.user_summaries[:, :6], picks=np.arange(6), n_frames=6,
    )  # fmt: skip
    results = evaluate(short, np.arange(6), "mrhisum")
    assert results.metrics["map15"] is None
    assert results.dropped["without_map15_clips"] == 1
    assert results.dropped["without_map50_clips"] == 0
    assert evaluate(short, np.arange(6), "mrhisum", protocol="triplesumm-replay").metrics["map15"] is not None


@pytest.fixture
def scripted(tmp_path):
    """Record 1 of SM-MrHiSum: 20 s, shots [0, 4) [4, 7) [7, 12) [12, 19), of which the second is the summary."""
    sdmvsum.write_mrhisum(tmp_path)
    return lambda name="video_1": SMMrHiSumReader.from_folder(tmp_path).read(name)


def test_smmrhisum_is_compared_with_its_summary_and_scores(scripted):
    """Of 20 frames 3 are selected, so that no other shot fits; gtscores as scores rank as gtscores do."""
    record = scripted()
    results = evaluate(record, record.frame_scores, "smmrhisum")
    assert results.protocol == "sdmvsum-mrhisum"
    figures = [results.metrics[name] for name in ("f1", "kendall_tau", "spearman_rho")]
    assert figures == pytest.approx([1, 1, 1])
    assert results.metrics["captured"] is not None
    assert results.baselines["title"] is not None, "frames and script are of one encoder"
    wrong = evaluate(record, 1 - record.frame_scores, "smmrhisum")
    assert (wrong.metrics["kendall_tau"], wrong.metrics["f1"]) == (pytest.approx(-1), 1)
    longest = replace(record, shots=np.array([[0, 17], [17, 19]]))
    selected = reference_of(longest, "smmrhisum").selection(np.ones(20))
    assert np.flatnonzero(selected).tolist() == [17, 18, 19]


def test_smmrhisum_without_gtscores_has_no_rank_correlation(scripted):
    """Its labels are the summary, and a correlation with them would stand beside those with gtscores."""
    bare = replace(scripted(), video_id="bare", frame_scores=None)
    other = scripted("video_2")
    scores = {"bare": np.arange(20.0), "video_2": other.frame_scores.astype(float)}
    results = evaluate_scores([bare, other], scores, scorer="x", dataset="smmrhisum", part="test")
    assert results.per_video["bare"]["kendall_tau"] is None
    assert results.per_video["bare"]["f1"] is not None
    assert results.metrics["kendall_tau"] == pytest.approx(1)
    assert results.dropped["videos_without_scores"] == 1


def test_smvideoxum_is_compared_with_the_annotator_of_the_script(tmp_path):
    """Annotator 2 chose seconds 2 to 4: of 20 seconds the four best are selected, F1 is 2 x 3 / (4 + 3)."""
    sdmvsum.write_videoxum(tmp_path)
    record = SMVideoXumReader.from_folder(tmp_path).read("v_a:2")
    scores = np.where((np.arange(20) > 1) & (np.arange(20) < 6), 2.0, 0.0) + np.linspace(0, 1, 20)
    results = evaluate(record, scores, "smvideoxum")
    assert results.protocol == "sdmvsum-videoxum"
    assert results.metrics["f1"] == pytest.approx(6 / 7)
    assert results.selection["length"] == pytest.approx(4 / 20)
    ties = np.where(np.arange(20) < 5, 1.0, 0.0)
    assert evaluate(record, ties, "smvideoxum").metrics["f1"] == pytest.approx(6 / 8), "25 % is not more than 25 %"
    ties[5] = 1
    assert evaluate(record, ties, "smvideoxum").metrics["f1"] == 0
    silent = replace(record, description=(), description_features=np.zeros((0, 512), np.float32))
    assert evaluate(silent, scores, "smvideoxum").dropped["annotators_without_script"] == 1
    assert evaluate(silent, scores, "smvideoxum").baselines["title"] is None


def test_reports_say_that_a_script_is_a_request(scripted, tmp_path):
    """A parent level that reads the answer's own description must not pass for one that knows the video."""
    said = "requests for these summaries, not descriptions of the videos"
    results = evaluate(scripted(), np.arange(20), "smmrhisum")
    assert f"descriptions: scripts generated from the ground-truth summaries: {said}" in format_table([results])
    assert said in results.to_dict()["texts"]
    assert said in write_page(results, tmp_path, []).read_text()
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results
    write_card(tmp_path, results, HierSumFeatureExtractor("a", "b", 512, 512))
    assert said in (tmp_path / "README.md").read_text()
    plain = evaluate(scripted(), np.arange(20), "mrhisum")
    assert said not in format_table([plain])
    assert "texts" not in plain.to_dict()


def test_highlights_are_compared_in_words_and_pictures(clip):
    """k is 15 % of 10 frames = 1 and of 4 sentences = 1; A2Summ's k is what the reference has: 2 and 1."""
    frames, sentences = np.eye(10)[3], {"c": np.array([0.1, 0.9, 0.2, 0.3])}
    ours = evaluate(clip, frames, "bliss", sentence_scores=sentences)
    assert ours.protocol == "hiersum-bliss-v1"
    assert ours.metrics["rouge1"] == ours.metrics["rougeLsum"] == 1
    assert ours.metrics["cosine"] == pytest.approx(1)
    assert ours.metrics["f1"] == pytest.approx(2 / 3)
    theirs = evaluate(clip, frames + np.eye(10)[4], "bliss", sentence_scores=sentences, protocol="a2summ-bliss")
    assert theirs.metrics["f1"] == 1
    assert evaluate(clip, np.eye(10)[8], "bliss").metrics["rouge1"] < 1  # the last sentence covers frame 8


def test_sentences_without_scores_get_those_of_their_frames(clip):
    scores = np.arange(10.0)
    assert spread_over_sentences(clip, scores).tolist() == [1.5, 3.5, 5.5, 7.5]
    assert spread_over_sentences(replace(clip, sentences=(Sentence("", 4, 4),)), scores).tolist() == [0.0]
    assert score_sentences(clip, "oracle").tolist() == [0, 1, 0, 0]
    assert len(score_sentences(clip, "uniform")) == len(score_sentences(clip, "training-free")) == 4


def test_segments_are_judged_as_wikihow_does(segments):
    """Predicted means .9 .8 .2 .1: the best half is segments 0 and 1, of which one is important."""
    scores = np.array([0.9, 0.9, 0.7, 0.9, 0.2, 0.2, 0.1, 0.1, 1.0])
    results = evaluate(segments, scores, "wikihow")
    assert [results.metrics[name] for name in ("precision", "recall", "f1")] == [0.5, 0.5, 0.5]
    assert results.metrics["kendall_tau"] == pytest.approx(0)  # of 6 pairs 3 agree
    assert results.selection["length"] == pytest.approx(4 / 9)
    strict = evaluate(segments, np.where(np.arange(9) < 6, scores, 0.6), "wikihow", protocol="wikihow-p>=0.5")
    assert strict.metrics["precision"] == pytest.approx(1 / 3)
    assert evaluate(segments, oracle_scores(segments), "wikihow").metrics["f1"] == 1


def test_original_frames_tell_the_segments_where_they_are_known(segments):
    """32 frames at 16 a second last 2 s: every sampled frame is a segment of its own."""
    starts = np.arange(8) * 32
    cut = replace(segments, shots=np.stack([starts, starts + 32], 1), picks=np.arange(9) * 32, n_frames=270)
    reference = reference_of(cut, "wikihow")
    assert reference.selection(np.arange(9.0)).sum() == 4 * 32
    assert reference.measure(oracle_scores(cut))["f1"] == 1


def test_videos_without_annotation_are_counted_not_scored(segments):
    bare = replace(segments, video_id="bare", frame_labels=None, frame_scores=None)
    scores = {"s": oracle_scores(segments), "bare": np.ones(9)}
    results = evaluate_scores([segments, bare], scores, scorer="x", dataset="wikihow", part="test")
    assert results.metrics["f1"] == 1
    assert results.dropped["videos_without_reference"] == 1
    assert results.per_video["bare"]["f1"] is None


def test_every_protocol_belongs_to_a_data_set():
    named = {name for dataset in ("tvsum", "mrhisum", *SCRIPTED, "bliss", "wikihow") for name in protocols_of(dataset)}
    assert named == set(PROTOCOLS)


def test_what_cannot_be_scored_is_said(clip, segments):
    with pytest.raises(ValueError, match="video c: shot-oracle needs shots"):
        reference_of(clip, "bliss").shot_oracle()
    with pytest.raises(ValueError, match="video v: expected at least one sampled frame"):
        reference_of(VideoRecord("v", np.zeros((0, 4)), np.zeros(0), 0.0), "tvsum")
    with pytest.raises(ValueError, match="video s: the oracle needs annotators, scores or labels"):
        score_frames(replace(segments, frame_scores=None, frame_labels=None), "oracle")
    with pytest.raises(ValueError, match="video s: training-free needs frame features"):
        score_frames(replace(segments, video_features=np.zeros((9, 0))), "training-free")
