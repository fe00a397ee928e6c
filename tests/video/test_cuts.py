"""Shots at hard cuts: found within one frame, in the times that the rest of the package uses, or said to be missing."""

import json
import sys
from fractions import Fraction
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import av
import numpy as np
import pytest
import torch

from hiersum_hf.cli.main import main
from hiersum_hf.features.video_encoder import VideoEncoder
from hiersum_hf.inference.scorer import load_scorer
from hiersum_hf.inference.summarize import score_video
from hiersum_hf.records import Budget, Sentence
from hiersum_hf.summary.compose import summarize_scores
from hiersum_hf.video.cuts import find_cuts
from hiersum_hf.video.reader import iter_frames


COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]


def scenes(path, lengths=(20, 33, 27), first_tick=0, ticks=lambda k: k * 40):
    """Flat colours of so many frames, 512 x 384; frame k is shown `ticks(k)` milliseconds after the first."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 512, 384, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        colours = [colour for colour, length in zip(COLOURS, lengths, strict=True) for _ in range(length)]
        for k, colour in enumerate(colours):
            frame = av.VideoFrame.from_ndarray(np.full((384, 512, 3), colour, np.uint8), format="rgb24")
            frame.pts, frame.time_base = first_tick + ticks(k), Fraction(1, 1000)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


@pytest.fixture
def library():
    return pytest.importorskip("scenedetect", reason="the extra cuts is not installed")


@pytest.fixture
def detector(monkeypatch):
    """PySceneDetect's two names as it documents them; a cut is where the mean colour jumps. Keeps what it was fed."""
    fed = SimpleNamespace(times_s=[], images=[])

    class FrameTimecode:
        def __init__(self, timecode, fps):
            self.seconds = timecode

    class AdaptiveDetector:
        def __init__(self, min_scene_len):
            assert isinstance(min_scene_len, float), "an int would be a number of frames"

        def process_frame(self, timecode, frame_img):
            before = fed.images[-1] if fed.images else frame_img
            fed.times_s.append(timecode.seconds)
            fed.images.append(frame_img)
            jump = np.abs(frame_img.mean(axis=(0, 1)) - before.mean(axis=(0, 1))).max()
            return [timecode] if jump > 50 else []

    module = ModuleType("scenedetect")
    module.__spec__ = ModuleSpec("scenedetect", None)
    module.AdaptiveDetector, module.FrameTimecode = AdaptiveDetector, FrameTimecode
    monkeypatch.setitem(sys.modules, "scenedetect", module)
    return fed


def test_cuts_are_where_the_scenes_change(library, tmp_path):
    assert find_cuts(scenes(tmp_path / "a.mp4")) == pytest.approx([0.8, 2.12], abs=1e-6)
    assert len(find_cuts(scenes(tmp_path / "one.mp4", (40, 0, 0)))) == 0


def test_cuts_less_than_half_a_second_apart_are_one(library, tmp_path):
    assert find_cuts(scenes(tmp_path / "a.mp4", (30, 8, 30))) == pytest.approx([1.2], abs=1e-6)


def test_cuts_have_the_times_of_decoded_frames(library, tmp_path):
    """Counted as frames / rate they would drift from the features' times wherever the frame rate varies."""
    path = scenes(tmp_path / "a.mkv", first_tick=3000, ticks=lambda k: k * 40 + max(0, k - 20) * 15)
    times_s = [time_s for time_s, _ in iter_frames(path, 1000.0)]
    assert find_cuts(path).tolist() == [times_s[20], times_s[53]]


def test_every_frame_is_read_once_and_small(detector, tmp_path):
    path = scenes(tmp_path / "a.mp4")
    assert find_cuts(path) == pytest.approx([0.8, 2.12], abs=1e-6)
    assert detector.times_s == [time_s for time_s, _ in iter_frames(path, 1000.0)]
    assert {image.shape for image in detector.images} == {(192, 256, 3)}
    blue, _, red = detector.images[0].mean(axis=(0, 1))
    assert red > 150 > 80 > blue, "the library reads BGR"


def test_wrong_files_are_named(detector, tmp_path):
    (tmp_path / "text.mp4").write_text("this is not a video")
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        find_cuts(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match=r"text\.mp4: expected a readable video"):
        find_cuts(tmp_path / "text.mp4")


def test_a_missing_library_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    with pytest.raises(ImportError, match=r'pip install "hiersum-hf\[cuts\]"'):
        find_cuts(tmp_path / "none.mp4")  # said before the file is looked for


def bounds(shots):
    return [(shot["start_s"], shot["end_s"]) for shot in shots]


@pytest.mark.parametrize(
    ("cuts_s", "sentences", "expected"),
    [
        ([2.5, 7.25], (), [(0, 2.5), (2.5, 7.25), (7.25, 10)]),
        ([2.5, 7.25], (Sentence("Stir.", 2.0, 4.0),), [(0, 2.0), (2.0, 7.25), (7.25, 10)]),
        ([], (), [(0, 10)]),
        ([0.0, 2.5, 12.0], (), [(0, 2.5), (2.5, 10)]),  # at the start and after the end
    ],
)
def test_shots_begin_at_the_cuts_whatever_the_features_say(cuts_s, sentences, expected):
    features = np.repeat(np.eye(2), 5, axis=0)  # these change at 5 s
    arguments = (np.arange(10.0), np.full(10, 0.5), 10.0, features, Budget("seconds", 4, 4.0))
    options = {"video": "a.mp4", "scorer": "random", "sentences": sentences}
    assert bounds(summarize_scores(*arguments, **options).shots) == [(0, 5), (5, 10)]
    assert bounds(summarize_scores(*arguments, **options, cuts_s=np.array(cuts_s)).shots) == expected


@pytest.fixture
def encoded(monkeypatch):
    """No encoder runs: features without any change, and the videos that were decoded for them."""
    seen = []

    def see(images):
        seen.append(len(images))
        return torch.ones(len(images), 8)

    monkeypatch.setattr("hiersum_hf.inference.scorer.load_video_encoder", lambda name, *_: VideoEncoder(name, 8, see))
    return seen


def test_the_command_cuts_at_cuts_and_says_so(detector, encoded, tmp_path, capsys):
    path = scenes(tmp_path / "a.mp4")
    command = ["summarize", str(path), "--output", str(tmp_path / "out"), "--budget", "1.4s", "--json"]
    assert main([*command, "--shots", "cuts"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert np.array(bounds(summary["shots"])) == pytest.approx(np.array([(0, 0.8), (0.8, 2.12), (2.12, 3.2)]))
    assert "Shots begin where the picture changes abruptly (cuts found: 2)." in summary["warnings"]
    assert main([*command, "--overwrite"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert len(summary["shots"]) == 1
    assert "abruptly" not in str(summary["warnings"])


def test_a_missing_library_stops_the_command_before_any_frame_is_read(encoded, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    path = scenes(tmp_path / "a.mp4")
    assert main(["summarize", str(path), "--output", str(tmp_path / "out"), "--shots", "cuts"]) == 2
    assert 'pip install "hiersum-hf[cuts]"' in capsys.readouterr().err
    assert encoded == []
    assert not (tmp_path / "out").exists()


def test_an_unknown_kind_of_shot_is_refused(encoded, tmp_path):
    with pytest.raises(ValueError, match='expected "kts" or "cuts", found \'cut\''):
        score_video(tmp_path / "a.mp4", load_scorer(device="cpu"), shots="cut")


def test_a_video_is_opened_once_and_decoded_once(detector, encoded, monkeypatch, tmp_path):
    """Facts, frames, hard cuts and loudness come from one pass."""
    path, opened, open_file = scenes(tmp_path / "a.mp4"), [], av.open
    monkeypatch.setattr(av, "open", lambda *args, **more: opened.append(args) or open_file(*args, **more))
    scorer = load_scorer(device="cpu")
    scored = score_video(path, scorer, shots="cuts")
    assert [args for args in opened if "w" not in args] == [(str(path),)]
    assert len(detector.times_s) == 80, "every frame was looked at once"
    assert scored.cuts_s == pytest.approx([0.8, 2.12])
    assert scored.heard is not None, "no sentence was found, so the sound was listened to"
    for _ in range(2):  # computed and kept; then read from the cache, and the file for its cuts
        detector.images.clear()
        kept = score_video(path, scorer, shots="cuts", cache=tmp_path / "kept")
        assert (kept.cuts_s.tolist(), kept.heard.tolist()) == (scored.cuts_s.tolist(), scored.heard.tolist())
