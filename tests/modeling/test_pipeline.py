"""One call from what a user has to a summary: the same numbers whatever it is given, alone or in a batch."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from transformers import pipeline as transformers_pipeline
from transformers.pipelines import PIPELINE_REGISTRY

import hiersum_hf
from hiersum_hf import HierSumFeatureExtractor, HierSumPipeline
from hiersum_hf.cli.main import main
from hiersum_hf.features.video_encoder import VideoEncoder
from hiersum_hf.inference.scorer import load_scorer
from hiersum_hf.inference.summarize import score_video
from hiersum_hf.records import Sentence, Summary, VideoRecord
from hiersum_hf.scoring.network import predict_scores
from hiersum_hf.summary.files import write_summary
from hiersum_hf.summary.selection import Selection
from hiersum_hf.texts.subtitles import write_srt
from hiersum_hf.video.reader import iter_frames
from tests.makers.models import tiny_model
from tests.makers.videos import synthetic


SENTENCES = [Sentence("Cut the leek.", 0.5, 2.0), Sentence("Wash it well.", 4.0, 5.0), Sentence("Serve.", 8.0, 9.5)]
STEPS = ["How to cook a leek", "Cut it.", "Cook it."]
SPANS = np.array([(s.start_s, s.end_s) for s in SENTENCES])


def rows(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def features(num_frames: int = 20, seed: int = 0, **more) -> dict:
    """A video of 10 s as features, with sentences and description."""
    texts = {
        "text_features": rows(3, 10, seed + 1),
        "text_times_s": SPANS,
        "description_features": rows(2, 10, seed + 2),
    }
    times_s = np.arange(num_frames) * 10.0 / num_frames
    return {"video_features": rows(num_frames, 12, seed), "frame_times_s": times_s} | texts | more


def extractor(**changes) -> HierSumFeatureExtractor:
    return HierSumFeatureExtractor(
        **{"video_encoder": "eyes", "text_encoder": "words", "video_dim": 12, "text_dim": 10} | changes
    )


@pytest.fixture(scope="module")
def pipe() -> HierSumPipeline:
    return HierSumPipeline(tiny_model(default_level="both"), feature_extractor=extractor(), device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint and a video of 10 s, with its subtitles and description in a folder of their own."""
    place = tmp_path_factory.mktemp("talk")
    tiny_model(default_level="both").save_pretrained(place / "model")
    extractor().save_pretrained(place / "model")
    synthetic(place / "talk.mp4", np.arange(250) / 25)
    (place / "texts").mkdir()
    write_srt(SENTENCES, place / "texts/talk.srt")
    (place / "texts/talk.txt").write_text("\n".join(STEPS))
    return place


@pytest.fixture
def encoders(monkeypatch):
    """Encoders that need no weights: a frame's feature is made of its mean colour, a text's of its letters."""

    def see(images):
        return torch.tensor(np.stack([np.resize(np.sin(image.mean((0, 1))), 12) for image in images]))

    class Words:
        def encode(self, texts):
            return np.stack([rows(1, 10, sum(map(ord, text)))[0] for text in texts])

    monkeypatch.setattr("hiersum_hf.inference.scorer.load_video_encoder", lambda name, *_: VideoEncoder(name, 12, see))
    monkeypatch.setattr("hiersum_hf.inference.scorer.load_text_encoder", lambda *_: Words())
    return see


def cuts(summary: Summary) -> list[tuple[float, float]]:
    return [(segment.start_s, segment.end_s) for segment in summary.segments]


@pytest.mark.parametrize("level", ["child", "parent", "both", "joint"])
def test_features_get_the_scores_of_the_step_by_step_api(pipe, level):
    given = features()
    record = VideoRecord(
        "video", given["video_features"], given["frame_times_s"], 10.0, None, tuple(SENTENCES), given["text_features"],
        ("a", "b"), given["description_features"],
    )  # fmt: skip
    expected = predict_scores(pipe.model, pipe.feature_extractor, [record], level)["video"]
    summary = pipe(given | {"subtitles": SENTENCES}, level=level, budget=0.5)
    assert isinstance(summary, Summary)
    assert (summary.level, summary.scorer, summary.budget.seconds, summary.duration_s) == (level, "checkpoint", 5, 10)
    assert summary.scores == {"times_s": given["frame_times_s"].tolist(), "values": expected["scores"].tolist()}
    spoken = {s.text: score for s, score in zip(SENTENCES, expected["sentence_scores"], strict=False)}
    found = {sentence["text"]: sentence["score"] for sentence in summary.key_sentences}
    assert found
    if level != "parent":
        assert found == {text: pytest.approx(spoken[text]) for text in found}


def test_a_batch_gives_what_single_videos_give(pipe):
    """Videos of different lengths and levels: the second has no description, the third no text at all."""
    videos = [features(20), features(33, 5), {"video_features": rows(8, 12, 9)}, features(11, 7)]
    del videos[1]["description_features"]
    singles = [pipe(video) for video in videos]
    assert [summary.level for summary in singles] == ["both", "child", "child", "both"]
    for batch in (pipe(videos, batch_size=3), list(pipe((video for video in videos), batch_size=3))):
        for one, single in zip(batch, singles, strict=True):
            np.testing.assert_allclose(one.scores["values"], single.scores["values"], atol=1e-6)
            assert (cuts(one), one.warnings, one.level) == (cuts(single), single.warnings, single.level)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_one_bad_video_of_a_list_is_reported_and_the_others_are_done(pipe, tmp_path, batch_size):
    (tmp_path / "empty.mp4").touch()
    bad = features(20) | {"video_encoder": "others", "video_id": "mixed"}
    videos = [features(20), str(tmp_path / "empty.mp4"), bad, str(tmp_path / "nosuch.mp4"), features(11, 7)]
    first, empty, mixed, missing, last = pipe(videos, batch_size=batch_size, return_exceptions=True)
    for one, alone in ((first, pipe(videos[0])), (last, pipe(videos[-1]))):
        np.testing.assert_allclose(one.scores["values"], alone.scores["values"], atol=1e-6)
        assert (cuts(one), one.warnings) == (cuts(alone), alone.warnings)
    assert isinstance(empty, hiersum_hf.InputError)
    assert "empty.mp4" in str(empty)
    assert isinstance(missing, FileNotFoundError)
    assert "nosuch.mp4" in str(missing)
    assert str(mixed) == "mixed: expected features with the video_encoder 'eyes', found 'others'."
    with pytest.raises(hiersum_hf.HierSumError, match=r"empty\.mp4"):
        pipe(videos)


def test_a_default_of_the_pipeline_holds_for_every_call(folder, encoders):
    pipe = hiersum_hf.pipeline(folder / "model", device="cpu", return_exceptions=True)
    assert [type(found) for found in pipe(["nosuch.mp4"])] == [FileNotFoundError]
    with pytest.raises(FileNotFoundError):
        pipe("nosuch.mp4", return_exceptions=False)


def test_pipeline_command_and_api_cut_the_same_segments(folder, encoders):
    video, texts = folder / "talk.mp4", folder / "texts"
    files = {"subtitles": texts / "talk.srt", "description": texts / "talk.txt"}
    words = ["summarize", video, "--subtitles", files["subtitles"], "--description", files["description"]]
    words += ["--model", folder / "model", "--budget", "4s", "--output", folder / "out", "--device", "cpu"]
    words += ["--query", "Cut it.", "--keep", "0:08-0:09", "--skip", "0-1", "--min-segment", "1.5s"]
    assert main(list(map(str, words))) == 0
    command = json.loads((folder / "out/talk/summary.json").read_text())
    wishes = Selection(min_segment_s=1.5, keep=((8, 9),), skip=((0, 1),))
    scorer = load_scorer(folder / "model", device="cpu")
    api = score_video(video, scorer, *files.values(), queries="Cut it.").summarize("4s", wishes)
    pipe = hiersum_hf.pipeline(folder / "model", device="cpu", budget="4s")
    summary = pipe(str(video), **files, query="Cut it.", keep="0:08-0:09", skip=(0, 1), min_segment=1.5)
    assert any(one.start_s <= 8 and one.end_s >= 9 for one in summary.segments)
    assert summary.queries[0]["moments"]
    assert summary.kept == ({"start_s": 8.0, "end_s": 9.0},)
    assert summary == api
    assert json.loads(json.dumps(summary.to_dict())) == command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"query": " "}, "query: expected words"),
        ({"keep": "8-5"}, "keep: expected a stretch with its end after its start"),
        ({"keep": (0, 9), "budget": "4s"}, "at least the 9.0 s that are to be kept, found 4.0 s"),
        ({"selection": "best"}, "selection: expected one of importance, keyshot"),
        ({"min_segment": -1}, "min_segment_s: expected seconds from 0 on"),
    ],
)
def test_wrong_wishes_are_named(folder, encoders, words, message):
    with pytest.raises(ValueError, match=message):
        hiersum_hf.pipeline(folder / "model", device="cpu")(folder / "talk.mp4", **words)


def test_a_wish_that_is_none_is_named(folder, encoders):
    with pytest.raises(TypeError, match=r"unexpected kept; expected .*keep"):
        hiersum_hf.pipeline(folder / "model", device="cpu")(folder / "talk.mp4", kept="1-2")


def test_files_beside_the_video_are_read_as_the_api_reads_them(folder, encoders, tmp_path):
    for file in (folder / "talk.mp4", folder / "texts/talk.srt", folder / "texts/talk.txt"):
        shutil.copy(file, tmp_path)
    pipe = hiersum_hf.pipeline(folder / "model", device="cpu")
    summary = pipe(tmp_path / "talk.mp4")
    assert summary == score_video(tmp_path / "talk.mp4", load_scorer(folder / "model", device="cpu")).summarize()
    assert summary.level == "both", "the description was found"
    with open(tmp_path / "talk.mp4", "rb") as file:
        assert pipe(file).level == "child", "an open file has no neighbours"


def test_files_frames_and_features_of_one_video_give_one_summary(folder, encoders):
    pipe = hiersum_hf.pipeline(folder / "model", device="cpu", budget="4s")
    given = {"subtitles": folder / "texts/talk.srt", "description": folder / "texts/talk.txt"}
    expected = pipe(folder / "talk.mp4", **given)
    timed = list(iter_frames(folder / "talk.mp4", 25.0))
    times_s, images = [time_s for time_s, _ in timed], np.stack([image for _, image in timed])
    with open(folder / "talk.mp4", "rb") as file:
        forms = [file, io.BytesIO((folder / "talk.mp4").read_bytes()), (times_s, images)]
        found = [pipe(form, **given) for form in forms]
    found.append(pipe(images, fps=25, **given))
    found.append(pipe({"video": images, "fps": 25, "duration_s": 10.0} | given))
    sampled = list(iter_frames(folder / "talk.mp4", 2.0))
    seen = encoders([image for _, image in sampled])
    times_s = np.array([time_s for time_s, _ in sampled])
    features = {"video_features": seen, "frame_times_s": times_s, "duration_s": 10.0}
    assert pipe(features | given).scores == expected.scores, "features do not tell which pictures stand still"
    by_shots = {"selection": "keyshot"}
    assert pipe(features | given, **by_shots).segments == pipe(folder / "talk.mp4", **given, **by_shots).segments
    for summary in found:
        assert (summary.segments, summary.shots) == (expected.segments, expected.shots)
        assert (summary.scores, summary.key_sentences) == (expected.scores, expected.key_sentences)
    assert [summary.video for summary in found[:2]] == ["talk.mp4", "video"]


def test_a_damaged_open_file_is_named_as_its_user_knows_it(folder, encoders, tmp_path):
    pipe = hiersum_hf.pipeline(folder / "model", device="cpu")
    synthetic(tmp_path / "talk.mkv", np.arange(250) / 25)
    whole = (tmp_path / "talk.mkv").read_bytes()
    cut = io.BytesIO(whole[: len(whole) // 2])
    cut.name = "talk.mkv"
    notes = [note for note in pipe(cut).warnings if "the pictures end at" in note]
    assert [note.partition(":")[0] for note in notes] == ["talk.mkv"]


def test_none_is_as_good_as_nothing_given(folder, encoders):
    pipe = hiersum_hf.pipeline(folder / "model", device="cpu")
    nothing = dict.fromkeys(("subtitles", "description", "fps", "duration_s", "video_id"))
    assert pipe({"video": folder / "talk.mp4"} | nothing) == pipe(folder / "talk.mp4")
    missing = dict.fromkeys(("text_features", "description_features", "description", "frame_times_s", "sample_fps"))
    assert pipe(features() | missing) == pipe({k: v for k, v in features().items() if k not in missing})


def test_texts_come_in_every_form(folder, encoders):
    pipe = hiersum_hf.pipeline(folder / "model", device="cpu")
    video = str(folder / "talk.mp4")
    subtitles = [
        str(folder / "texts/talk.srt"),
        (folder / "texts/talk.srt").read_text(),
        [(s.start_s, s.end_s, s.text) for s in SENTENCES],
    ]
    steps = {"title": STEPS[0], "steps": STEPS[1:]}
    descriptions = [str(folder / "texts/talk.txt"), "\n".join(STEPS), STEPS, steps, json.dumps(steps)]
    forms = [(spoken, STEPS) for spoken in subtitles] + [(SENTENCES, described) for described in descriptions]
    summaries = [pipe(video, subtitles=spoken, description=described) for spoken, described in forms]
    assert all(summary == summaries[0] for summary in summaries)
    silent = pipe(video)
    assert silent.scores != summaries[0].scores
    assert "No subtitles and no description: judged without what is said." in silent.warnings


def test_without_a_description_it_says_which_level_it_read(pipe):
    given = features()
    del given["description_features"]
    assert "No description: read at child level instead of both." in pipe(given).warnings
    with pytest.raises(ValueError, match="'parent' reads the description"):
        pipe(given, level="parent")


def test_a_checkpoint_trained_without_text_leaves_texts_aside():
    mute = HierSumPipeline(tiny_model(), feature_extractor=extractor(text_encoder=""), device="cpu")
    plain, spoken = mute({"video_features": rows(20, 12)}), mute(features() | {"subtitles": SENTENCES})
    assert plain.scores == spoken.scores
    assert any("trained without text" in warning for warning in spoken.warnings)


def test_features_of_another_encoder_are_refused_before_anything_is_decoded(pipe, folder, monkeypatch):
    def never(*arguments):
        raise AssertionError("decoded")

    monkeypatch.setattr("hiersum_hf.features.cache.iter_frames", never)
    for key in ("video_encoder", "text_encoder", "normalization"):
        with pytest.raises(ValueError, match=rf"cats: expected features with the {key} .* found 'other'"):
            pipe(features(video_id="cats", **{key: "other"}))
    assert pipe(features(video_encoder="eyes", text_encoder="words", normalization="none"))
    pooled = HierSumPipeline(tiny_model(), feature_extractor=extractor(video_encoder="googlenet-pool5"), device="cpu")
    with pytest.raises(ValueError, match="googlenet-pool5: features of this encoder come with a data set"):
        pooled(str(folder / "talk.mp4"))
    normalized = extractor(normalization="youtube8m-dequantised")
    shifted = HierSumPipeline(tiny_model(), feature_extractor=normalized, device="cpu")
    with pytest.raises(ValueError, match="expected a checkpoint trained on features as an encoder gives them"):
        shifted(str(folder / "talk.mp4"))
    with pytest.raises(ValueError, match="Level 'parent' reads the description"):
        pipe(str(folder / "talk.mp4"), level="parent")


def test_without_the_package_features_give_scores_and_files_say_what_to_install(pipe, monkeypatch):
    with_package = pipe(features())
    pipe = HierSumPipeline(pipe.model, feature_extractor=extractor(), device="cpu")
    monkeypatch.setattr("hiersum_hf.modeling.pipeline_hiersum.find_spec", lambda name: None)
    scores = pipe(features())
    assert set(scores) == {"times_s", "scores", "sentence_scores", "level", "warnings"}
    assert (scores["level"], scores["warnings"], len(scores["sentence_scores"])) == ("both", [], 3)
    assert scores["scores"].tolist() == with_package.scores["values"]
    one = pipe({"video_features": rows(5, 12), "sample_fps": 2.5, "description": None})
    assert (one["level"], one["times_s"].tolist()) == ("child", [0, 0.4, 0.8, 1.2, 1.6])
    for given in ({"video": "talk.mp4"}, features() | {"subtitles": "talk.srt"}):
        with pytest.raises(ImportError, match=r"pip install hiersum-hf"):
            pipe(given)


BAD_INPUT = [
    ("nowhere.mp4", FileNotFoundError, "nowhere.mp4"),
    ({"video": "a.mp4", "subtitle": "a.srt"}, ValueError, r"expected 'video' or 'video_features' .*'subtitle'"),
    ({"video_id": "cats", "subtitles": SENTENCES}, ValueError, "cats: expected 'video' or 'video_features'"),
    (features(video="a.mp4"), ValueError, "expected 'video' or 'video_features'"),
    (3, ValueError, "expected a path, an open file.*found int and fps None"),
    (np.zeros((4, 8, 8, 3), np.uint8), ValueError, "array of frames with fps; found ndarray and fps None"),
    (([0, 1], np.zeros((2, 8, 8), np.uint8)), ValueError, r"expected frames uint8 \(N, H, W, 3\), found uint8 \(2, 8"),
    (([0, 1], np.zeros((2, 8, 8, 3))), ValueError, "expected frames uint8 .*found float64"),
    (([0, 0], np.zeros((2, 8, 8, 3), np.uint8)), ValueError, "expected 2 ascending times from 0 on"),
    (io.StringIO("text"), ValueError, "binary mode"),
    ({"video_features": rows(0, 12)}, ValueError, "at least one row"),
    (
        {"video_features": rows(4, 11), "video_id": "cats"},
        ValueError,
        r"cats: video_features must have shape \(rows, 12",
    ),
    ({"video_features": rows(4, 12), "sample_fps": 4}, ValueError, "expected features of 2 frames a second .*found 4"),
    ({"video_features": rows(4, 12), "sample_fps": 0}, ValueError, "expected features of 2 frames a second .*found 0"),
    (io.BytesIO(b"no video"), ValueError, "^video: expected a readable video"),
    ({"video_features": rows(4, 12) * np.nan}, ValueError, "video: video_features must be finite"),
    (features() | {"subtitles": SENTENCES[:2]}, ValueError, "for each of 3 rows of text_features, found 2"),
    (features(text_times_s=np.zeros((3, 3))), ValueError, "for each of 3 rows of text_features, found 0"),
]


@pytest.mark.parametrize(("given", "error", "message"), BAD_INPUT)
def test_bad_input_is_named(pipe, given, error, message):
    with pytest.raises(error, match=message):
        pipe(given)


@pytest.mark.parametrize(
    ("words", "message"), [({"level": "uncle"}, "child, parent, both, joint"), ({"budget": "7 apples"}, "budget")]
)
def test_bad_words_are_named(pipe, words, message):
    with pytest.raises(ValueError, match=message):
        pipe(features(), **words)


def test_a_level_that_was_not_trained_is_refused():
    child = HierSumPipeline(tiny_model(trained_levels=["child"]), feature_extractor=extractor(), device="cpu")
    with pytest.raises(ValueError, match=r"Level 'both': expected one this checkpoint was trained at \(child\)"):
        child(features(), level="both")


def test_one_subtitle_file_is_not_taken_for_several_videos(pipe):
    with pytest.raises(ValueError, match="found a list of 2"):
        pipe([features(), features()], subtitles=SENTENCES)


def test_transformers_builds_the_pipeline_of_the_package(folder, tmp_path, monkeypatch):
    """Code in the checkpoint needs the user's trust in `transformers.pipeline`, never in `hiersum_hf.pipeline`."""
    task, given = "video-summarization", features()
    found = transformers_pipeline(task, model=str(folder / "model"), device="cpu")
    assert type(found) is HierSumPipeline
    found.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved/pipeline_hiersum.py").exists()
    with pytest.raises(ValueError, match="trust_remote_code"):
        transformers_pipeline(task, model=str(tmp_path / "saved"), device="cpu")
    ours = hiersum_hf.pipeline(tmp_path / "saved", device="cpu")
    assert type(ours) is HierSumPipeline
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    theirs = transformers_pipeline(task, model=str(tmp_path / "saved"), device="cpu", trust_remote_code=True)
    assert type(theirs) is not HierSumPipeline
    assert ours(given) == theirs(given)
    assert ours(given).scores == found(given).scores
    assert ours(given).checkpoint == str(tmp_path / "saved")
    assert PIPELINE_REGISTRY.check_task(task)[1]["impl"] is HierSumPipeline


def test_bytes_an_open_file_and_a_path_are_one_video(folder, encoders):
    scorer = load_scorer(folder / "model", device="cpu")
    texts = {"subtitles": folder / "texts/talk.srt", "description": folder / "texts/talk.txt"}
    expected = score_video(folder / "talk.mp4", scorer, **texts).summarize("4s")
    content = (folder / "talk.mp4").read_bytes()
    for video in (content, io.BytesIO(content), {"video": content}):
        found = score_video(video, scorer, **texts).summarize("4s")
        assert (found.segments, found.scores, found.warnings) == (expected.segments, expected.scores, expected.warnings)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (3, "video: expected a path, an open file, .*; found int and fps None"),
        (io.StringIO("talk"), "opened in binary mode, found text mode"),
        ({"frames": 3}, "expected 'video' or 'video_features' with any of"),
        (np.zeros((2, 4, 4, 3)), "expected a path, an open file, .*; found ndarray and fps None"),
        ({"video_features": np.zeros((3, 12)), "video_encoder": "others"}, "expected features with the video_encoder"),
    ],
)
def test_what_is_no_video_is_named_in_a_line(folder, encoders, video, message):
    with pytest.raises(hiersum_hf.HierSumError, match=message) as caught:
        score_video(video, load_scorer(folder / "model", device="cpu"))
    assert "\n" not in str(caught.value)


def test_progress_is_told_and_may_end_the_work(folder, encoders, tmp_path):
    told = []
    scorer = load_scorer(folder / "model", device="cpu")
    scored = score_video(folder / "talk.mp4", scorer, batch_size=4, progress=lambda *one: told.append(one))
    assert [step for step, _ in told] == ["texts"] * 2 + ["frames"] * 5 + ["scores"] * 2
    shares = [share for step, share in told if step == "frames"]
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] <= 1
    summary = scored.summarize("4s")
    write_summary(summary, folder / "talk.mp4", tmp_path / "out", progress=lambda *one: told.append(one))
    assert told[-1] == ("files", 1.0)

    def stop(step, share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_video(folder / "talk.mp4", scorer, batch_size=4, cache=tmp_path / "kept", progress=stop)
    with pytest.raises(KeyboardInterrupt):
        write_summary(summary, folder / "talk.mp4", tmp_path / "half", progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
