"""A video to its scores: which texts are read, what a checkpoint cannot read, and several summaries from one pass."""

import tracemalloc

import numpy as np
import pytest
import torch

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.features.cache import FrameFeatures
from hiersum_hf.inference.scorer import load_scorer
from hiersum_hf.inference.source import Encoded, Source
from hiersum_hf.inference.summarize import score_record, score_video
from hiersum_hf.records import Sentence, VideoRecord
from hiersum_hf.scoring.average import average_scores
from hiersum_hf.texts.find import read_texts, side_files
from hiersum_hf.texts.subtitles import write_srt
from hiersum_hf.video.reader import VideoFile, VideoInfo


SIZES = {"video_dim": 8, "hidden_size": 16, "num_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def mute(tmp_path):
    """A checkpoint of a training without text."""
    torch.manual_seed(0)
    HierSumModel(HierSumConfig(**SIZES, trained_levels=["child"])).save_pretrained(tmp_path / "mute")
    HierSumFeatureExtractor("eyes", "", 8).save_pretrained(tmp_path / "mute")
    return tmp_path / "mute"


@pytest.fixture
def encoded(monkeypatch):
    """Nothing is decoded: every video has the same 40 frames. The texts that would be encoded."""
    seen = []

    def encode(source, *_):
        seen.extend(source.description)
        features = np.random.default_rng(0).random((40, 8), np.float32)
        return Encoded(VideoRecord(source.video_id, features, np.arange(40) / 2, source.duration_s), source.notes)

    monkeypatch.setattr(Source, "_encode_file", encode)
    facts = VideoInfo("talk.mp4", 20.0, 25.0, 64, 48, False)
    monkeypatch.setattr(VideoFile, "info", property(lambda _: facts))
    monkeypatch.setattr("hiersum_hf.texts.find.embedded_subtitles", lambda video, language: ([], "nothing", []))
    return seen


def test_a_checkpoint_trained_without_text_leaves_texts_aside(mute, encoded, tmp_path):
    """Read through a projection that was never trained they would be noise, and an encoder named "" does not load."""
    sentences = [Sentence("Cut the leek.", 1.0, 4.0), Sentence("Serve.", 10.0, 12.0)]
    write_srt(sentences, tmp_path / "said.srt")
    (tmp_path / "about.txt").write_text("How to cook a leek")
    texts = {"subtitles": tmp_path / "said.srt", "description": tmp_path / "about.txt"}
    scorer = load_scorer(mute, device="cpu")
    scored = score_video(tmp_path / "talk.mp4", scorer, **texts)
    summary, kept = scored.summarize("8s"), scored.sentences
    assert encoded == []
    assert "The checkpoint was trained without text: subtitles and description are not read." in summary.warnings
    assert [sentence.text for sentence in kept] == ["Cut the leek.", "Serve."], "summary.srt still has them"
    without = score_video(tmp_path / "talk.mp4", scorer).summarize("8s")
    assert without.scores == summary.scores
    assert "No subtitles and no description: judged without what is said." in without.warnings


def test_several_budgets_come_from_one_pass(mute, encoded, tmp_path):
    scored = score_video(tmp_path / "talk.mp4", load_scorer(mute, device="cpu"))
    short, long = scored.summarize("4s"), scored.summarize("0.9")
    assert short.scores == long.scores
    assert short.length_s <= 4 < long.length_s <= 18 + 1e-6
    assert (short.budget.kind, long.budget.value, long.budget.seconds) == ("seconds", 0.9, 18.0)
    assert short == score_video(tmp_path / "talk.mp4", load_scorer(mute, device="cpu")).summarize("4s")


def test_features_computed_earlier_are_scored_by_the_same_steps(mute, encoded, tmp_path):
    scorer = load_scorer(mute, device="cpu")
    scored = score_video(tmp_path / "talk.mp4", scorer)
    again = score_record(scored.record, scorer, scored.sentences, scored.warnings)
    assert again.summarize("5s") == scored.summarize("5s")


def test_a_long_video_is_scored_without_its_encoders_in_memory(mute, encoded, tmp_path, monkeypatch):
    scorer, memory = load_scorer(mute, device="cpu"), []
    expected = score_video(tmp_path / "talk.mp4", scorer).scores
    monkeypatch.setattr("hiersum_hf.inference.summarize.MANY_FRAMES", 39)
    for encoder in ("video_encoder", "text_encoder"):
        vars(scorer)[encoder] = type("Weights", (), {"__del__": lambda self: memory.append("free")})()
    monkeypatch.setattr("hiersum_hf.inference.summarize.give_back_memory", lambda: memory.append("given back"))
    np.testing.assert_array_equal(score_video(tmp_path / "talk.mp4", scorer).scores, expected)
    assert memory[:3] == ["free", "free", "given back"]
    monkeypatch.setattr("hiersum_hf.inference.scorer.load_video_encoder", lambda *_: "loaded anew")
    assert scorer.video_encoder == "loaded anew"


def test_several_checkpoints_are_averaged(mute, encoded, tmp_path):
    torch.manual_seed(1)
    HierSumModel(HierSumConfig(**SIZES, trained_levels=["child"])).save_pretrained(tmp_path / "second")
    HierSumFeatureExtractor("eyes", "", 8).save_pretrained(tmp_path / "second")
    each = [score_video(tmp_path / "talk.mp4", load_scorer(one, device="cpu")) for one in (mute, tmp_path / "second")]
    both = score_video(tmp_path / "talk.mp4", load_scorer([mute, tmp_path / "second"], device="cpu"))
    assert both.scores == pytest.approx(average_scores([{"": one.scores} for one in each])[""])
    assert ((both.scores >= 0) & (both.scores <= 1)).all()
    assert both.summarize().checkpoint == f"{mute}, {tmp_path / 'second'}"
    assert both.level == "child"


def test_checkpoints_of_other_features_are_not_averaged(mute, tmp_path):
    HierSumModel(HierSumConfig(**SIZES)).save_pretrained(tmp_path / "other")
    HierSumFeatureExtractor("lenses", "", 8).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"other: expected video_encoder .eyes., as .*mute has, found .lenses."):
        load_scorer([mute, tmp_path / "other"], device="cpu")


def test_the_training_free_scorer_holds_features_in_doubles_once(monkeypatch):
    """Those of ten hours take 740 MB, and took 2.2 GB."""
    monkeypatch.setattr("hiersum_hf.scoring.training_free.AT_ONCE", 100)
    features, scorer = np.random.default_rng(0).random((2000, 1280), np.float32), load_scorer(device="cpu")
    tracemalloc.start()
    try:
        score_record(VideoRecord("long", features, np.arange(2000) / 2, 1000.0), scorer)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 2.5 * features.nbytes


@pytest.mark.parametrize("error", [MemoryError("none left"), torch.OutOfMemoryError("CUDA out of memory. Tried ...")])
def test_a_video_too_long_for_the_memory_is_named(mute, encoded, tmp_path, monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr("hiersum_hf.scoring.network.predict_scores", fails)
    with pytest.raises(ValueError, match=r"talk\.mp4: expected memory for its 40 frames together, found too little: "):
        score_video(tmp_path / "talk.mp4", load_scorer(mute, device="cpu"))


def test_a_level_is_refused_before_anything_is_read(tmp_path):
    HierSumModel(HierSumConfig(**SIZES, trained_levels=["child"])).save_pretrained(tmp_path / "child")
    HierSumFeatureExtractor("eyes", "words", 8).save_pretrained(tmp_path / "child")
    with pytest.raises(ValueError, match=r"Level 'parent': expected one this checkpoint was trained at \(child\)"):
        load_scorer(tmp_path / "child", "parent", "cpu")
    with pytest.raises(ValueError, match="Level 'child' needs a checkpoint"):
        load_scorer(None, "child", "cpu")


def test_a_checkpoint_for_other_features_is_refused_before_anything_is_read(tmp_path):
    HierSumModel(HierSumConfig(**SIZES)).save_pretrained(tmp_path / "scaled")
    HierSumFeatureExtractor("eyes", "words", 8, normalization="l2").save_pretrained(tmp_path / "scaled")
    with pytest.raises(ValueError, match="scaled: expected a checkpoint trained on features as an encoder gives them"):
        load_scorer(tmp_path / "scaled", device="cpu")
    HierSumFeatureExtractor("youtube8m-inception", "words", 8).save_pretrained(tmp_path / "scaled")
    with pytest.raises(ValueError, match="youtube8m-inception: features of this encoder come with a data set"):
        load_scorer(tmp_path / "scaled", device="cpu")


def test_key_frames_alone_are_not_read_by_a_checkpoint_for_another_rate(mute, tmp_path):
    with pytest.raises(ValueError, match=r"expected a checkpoint trained at 1 frame a second, .* found 2\."):
        load_scorer(mute, device="cpu", fast=True)
    assert load_scorer(device="cpu", fast=True).extractor.sample_fps == 1.0


def lay(folder, *names):
    for name in names:
        (folder / name).write_text("")
    return {kind: files[0].name for kind, files in side_files(folder / "talk.mp4").items()}


def test_files_beside_the_video_are_found_by_its_name(tmp_path):
    assert lay(tmp_path, "talk.mp4", "other.srt", "talk.csv", "talks.txt", "other.info.json") == {}
    assert lay(tmp_path, "talk.de.vtt", "talk.json", "talk.info.json") == {
        "subtitles": "talk.de.vtt",
        "description": "talk.json",
    }
    assert lay(tmp_path, "talk.en-GB.vtt", "talk.TXT")["subtitles"] == "talk.en-GB.vtt"
    assert lay(tmp_path)["description"] == "talk.TXT"
    assert lay(tmp_path, "talk.srt")["subtitles"] == "talk.srt"
    for language, name in {"ger": "talk.de.vtt", "en": "talk.en-GB.vtt", "fr": "talk.srt"}.items():
        assert side_files(tmp_path / "talk.mp4", language)["subtitles"][0].name == name
    (tmp_path / "talk.srt").unlink()
    assert "subtitles" not in side_files(tmp_path / "talk.mp4", "fr"), "not those of another language"
    assert side_files(tmp_path / "nowhere" / "talk.mp4") == {}


@pytest.fixture
def talk(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "hiersum_hf.texts.find.embedded_subtitles",
        lambda *_: ([Sentence("Inside.", 0, 2)], "track 2 (eng) of talk", []),
    )
    return tmp_path / "talk.mp4"


def test_what_is_beside_the_video_is_read_and_said(talk):
    write_srt([Sentence("Beside.", 1.0, 4.0)], talk.with_suffix(".srt"))
    talk.with_suffix(".txt").write_text("About leeks")
    sentences, texts, notes = read_texts(talk, 10.0)
    assert ([s.text for s in sentences], texts) == (["Beside."], ("About leeks",))
    assert notes == [f"Read from talk.{end}, found beside the video." for end in ("srt", "txt")]
    sentences, texts, notes = read_texts(talk, 10.0, [(1, 2, "Given.")], ["Given text"])
    assert ([s.text for s in sentences], texts, notes) == (["Given."], ("Given text",), [])
    assert read_texts(talk, 10.0, (), ())[:2] == ((), ())


def test_what_is_beside_the_video_and_no_text_stops_nothing(talk):
    """A talk.json may be anything; nobody asked for it to be read."""
    talk.with_suffix(".json").write_text('{"frames": 3')
    talk.with_suffix(".srt").write_bytes(bytes(range(256)) * 4)
    sentences, texts, notes = read_texts(talk, 10.0)
    assert ([s.text for s in sentences], texts) == (["Inside."], ())
    assert [note[:10] for note in notes] == ["talk.srt, ", "Subtitles ", "talk.json,"]
    for end in ("srt", "json"):
        talk.with_suffix(f".{end}").write_text("")
    assert [s.text for s in read_texts(talk, 10.0)[0]] == ["Inside."], "an empty file hides no track"
    with pytest.raises(ValueError, match=r"talk\.json"):
        read_texts(talk, 10.0, description=talk.with_suffix(".json"))


def test_subtitles_that_reach_past_the_end_are_named_with_the_offset(talk):
    late = [Sentence("One.", 3.0, 5.0), Sentence("Two.", 20.0, 22.4)]
    write_srt(late, talk.with_suffix(".srt"))
    sentences, _, notes = read_texts(talk, 10.0)
    assert len(sentences) == 1
    assert any("talk.srt" in note and "12.4 s after the video" in note for note in notes)
    write_srt(late[1:], talk.with_suffix(".srt"))
    with pytest.raises(ValueError, match=r"talk\.srt: expected sentences within the 10\.00 s"):
        read_texts(talk, 10.0)


def test_speech_is_recognised_where_there_are_no_subtitles(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "hiersum_hf.texts.find.embedded_subtitles", lambda *_: ([], "talk.mp4 has no subtitle track", [])
    )
    monkeypatch.setattr("hiersum_hf.texts.speech.transcribe", lambda *asked: [Sentence(str(asked[1:]), 0.0, 2.0)])
    sentences, _, notes = read_texts(tmp_path / "talk.mp4", 10.0, language="de", transcribe="tiny", device="cpu")
    assert [s.text for s in sentences] == ["('de', 'tiny', 'cpu')"]
    assert notes == ["No subtitles: speech recognised by Whisper (tiny)."]
    monkeypatch.setattr("hiersum_hf.texts.speech.transcribe", lambda *asked: [])
    notes = read_texts(tmp_path / "talk.mp4", 10.0, description=["Leeks"], transcribe="tiny")[2]
    assert notes[0] == "No subtitles: no speech recognised by Whisper (tiny)."
    monkeypatch.setattr("hiersum_hf.texts.speech.transcribe", None)
    notes = read_texts(tmp_path / "talk.mp4", 10.0, description=["Leeks"], transcribe="tiny", listen=False)[2]
    assert notes == ["No subtitles: speech will be recognised by Whisper (tiny)."]
    notes = read_texts(tmp_path / "talk.mp4", 10.0, (), transcribe="tiny", listen=False)[2]
    assert notes == ["No subtitles and no description: judged without what is said."]
    assert read_texts(tmp_path / "talk.mp4", 10.0, [(0, 1, "Given.")], transcribe="tiny")[0][0].text == "Given."


def test_a_video_whose_pictures_end_too_early_is_as_long_as_they_are(monkeypatch, mute):
    """Half a download: the summary must not be a still of the last picture, and the budget is of what is there."""
    features = np.random.default_rng(0).random((20, 8), np.float32)
    half = FrameFeatures(features, np.arange(20) / 2, None, False, ("the pictures end at 10.0 s",), 10.0)
    monkeypatch.setattr("hiersum_hf.inference.source.frame_features", lambda *args: half)
    monkeypatch.setattr(VideoFile, "info", property(lambda _: VideoInfo("a.mp4", 20.0, 25.0, 64, 48, False)))
    sentences = [(1.0, 3.0, "Here."), (9.0, 12.0, "Cut off."), (15.0, 16.0, "Gone.")]
    summary = score_video("a.mp4", load_scorer(mute), sentences).summarize("1")
    assert summary.duration_s == summary.segments[-1].end_s == 10.0
    assert [(s["text"], s["end_s"]) for s in summary.key_sentences] == [("Here.", 3.0), ("Cut off.", 10.0)]
    assert "the pictures end at 10.0 s" in summary.warnings
