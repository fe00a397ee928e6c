"""Many videos encoded once: interrupted, shared among processes, or with broken ones among them."""

import os
import signal
import subprocess
import sys
import time
from itertools import chain

import av
import pytest

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.features.cache import FrameSettings, stored_features
from hiersum_hf.features.text_encoder import default_extractor
from hiersum_hf.inference import extract
from hiersum_hf.inference.extract import choose_settings, device_of_rank, find_videos, format_report
from hiersum_hf.inference.ranks import Ranks
from hiersum_hf.video.reader import FORMATS, VIDEO_SUFFIXES
from tests.makers.encoders import colour_encoder
from tests.makers.extraction import SETTINGS, run
from tests.makers.folders import contents
from tests.makers.videos import write_video


SLOW_ENCODER = """
import sys, time
from hiersum_hf.inference import extract
from tests.makers.encoders import colour_encoder

def on_batch():
    time.sleep(0.4)
    open(sys.argv[3], "a").write("x")

extract.load_video_encoder = lambda *which: colour_encoder(on_batch=on_batch)
videos, _ = extract.find_videos([sys.argv[1]])
extract.extract(videos, sys.argv[2], extract.FrameSettings("colour", 2.0))
"""


@pytest.fixture
def videos(tmp_path):
    """Six videos, of which the last is a copy of the first."""
    folder = tmp_path / "videos"
    for i in range(5):
        write_video(folder / f"{i}.mp4", brightness=10 * i, seconds=1 + i % 3)
    (folder / "5.mp4").write_bytes((folder / "0.mp4").read_bytes())
    return folder


@pytest.fixture
def batches(monkeypatch):
    """Counts what a stand-in for the encoder, loaded by `extract`, is asked for."""
    seen = []
    monkeypatch.setattr(extract, "load_video_encoder", lambda *which: colour_encoder(on_batch=lambda: seen.append(1)))
    return seen


def test_every_video_once_and_a_second_run_nothing(videos, batches, tmp_path):
    report = run(videos, tmp_path / "out")
    assert len(batches) == len(contents(tmp_path / "out")) == 5, "the copy is found"
    assert report["videos"][f"{videos}/5.mp4"] == report["videos"][f"{videos}/0.mp4"] | {"found": True}
    assert report["videos"][f"{videos}/1.mp4"]["frames"] == 4
    assert report["video_s"] == pytest.approx(1 + 2 + 3 + 1 + 2)
    assert "5 videos encoded, 1 found, 0 failed (colour, 2 frames a second, float32)" in format_report(report)
    one = {"videos": {"a.mp4": {"found": False, "warnings": []}}, "settings": report["settings"] | {"sample_fps": 1.0}}
    assert "1 video encoded, 0 found, 0 failed (colour, 1 frame a second, float32)" in format_report(report | one)
    before = contents(tmp_path / "out")
    again = run(videos, tmp_path / "out")
    assert len(batches) == 5
    assert all(video["found"] for video in again["videos"].values())
    assert contents(tmp_path / "out") == before


def test_broken_videos_are_named_and_the_others_done(videos, batches, tmp_path):
    (videos / "1.mp4").write_bytes((videos / "1.mp4").read_bytes()[:700])
    (videos / "2\x1b[31m.mp4").write_text("no video")
    report = run(videos, tmp_path / "out")
    assert set(report["failed"]) == {f"{videos}/1.mp4", f"{videos}/2\x1b[31m.mp4"}
    assert len(report["videos"]) == 5
    text = format_report(report)
    assert f"failed: {videos}/1.mp4: expected a readable video" in text
    assert "\x1b" not in text, "a file name must not steer the terminal"


def test_ranks_share_the_work_and_make_what_one_makes(videos, batches, tmp_path, monkeypatch):
    run(videos, tmp_path / "one")
    reports = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        reports.append(run(videos, tmp_path / "three"))
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    assert len(batches) == 5 + 5, "nothing computed twice, copies neither"
    assert sorted(name for report in reports for name in report["videos"]) == [f"{videos}/{i}.mp4" for i in range(6)]
    assert format_report(reports[1]).startswith("rank 1 of 3: ")


def test_shares_are_of_like_size(tmp_path):
    for i in range(10):
        (tmp_path / f"{i}.mp4").write_bytes(bytes(100 + i))
    files, _ = find_videos([tmp_path])
    shares = [list(Ranks(rank, 3).take(files)) for rank in range(3)]
    assert sorted(chain.from_iterable(shares)) == files
    assert sorted(map(len, shares)) == [3, 3, 4]


def test_each_rank_has_its_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(
        extract, "torch_device", lambda name: __import__("torch").device("cuda" if name == "auto" else name)
    )
    assert device_of_rank("auto") == "cuda:1"
    assert device_of_rank("cpu") == "cpu"


def test_what_cameras_and_receivers_leave_are_videos(tmp_path):
    for name in (
        "00001.MTS",
        "VTS_01_1.VOB",
        "clip.mxf",
        "phone.3gp",
        "notes.pdf",
        "photo.jpg",
        "sound.mp3",
        "talk.srt",
    ):
        (tmp_path / name).touch()
    assert [path.name for path in find_videos([tmp_path])[0]] == ["00001.MTS", "VTS_01_1.VOB", "clip.mxf", "phone.3gp"]


def test_every_suffix_of_ffmpegs_video_formats_is_a_video(tmp_path):
    others = {
        f".{suffix}"
        for suffix in [
            "aac",
            "avif",
            "flac",
            "gif",
            "heic",
            "m4a",
            "mka",
            "mks",
            "mp3",
            "mpo",
            "ogg",
            "png",
            "jpg",
            "txt",
            "wav",
            "wma",
        ]
    }
    assert not VIDEO_SUFFIXES & others, "sound, stills and texts"
    videos = [
        "264",
        "265",
        "3gp",
        "avc",
        "dif",
        "dvr-ms",
        "f4v",
        "gxf",
        "h264",
        "hevc",
        "ismv",
        "ivf",
        "m1v",
        "m2p",
        "mj2",
        "mjpg",
        "mpv",
        "ogm",
        "rmvb",
        "swf",
        "tp",
        "vro",
        "y4m",
    ]
    assert {f".{suffix}" for suffix in videos} <= VIDEO_SUFFIXES
    readable = set()
    for name in FORMATS.split(","):
        readable |= {f".{suffix}" for suffix in av.ContainerFormat(name).extensions}
    sound_and_stills = others | {".apng", ".heif", ".ism", ".isma", ".m2a", ".m4b", ".mp2", ".mpa", ".ra"}
    assert readable - VIDEO_SUFFIXES <= sound_and_stills, "a version of FFmpeg that knows more is told apart by hand"


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["talk.mp4"], ""),
        (["talk.mp4", "talk.srt", "talk.en.sdh.vtt", "talk.txt", "talk.info.json", "talk.description"], ""),
        (["talk.mp4", "talk.jpg", "talk.f137.mp4.part", "b.jpg"], "passed over 3 files: 2 .jpg, 1 .part"),
        (["talk.mp4", "other.txt", "talk.en.txt"], "passed over 2 files: 2 .txt"),
        (["talk.mp4", "talk.2.srt"], "passed over 1 file: 1 .srt"),
        (["talk.mp4", "talk.2.mp4", "talk.2.srt"], ""),
        (["talk.mp4", "talk.final.srt", "talk.csv"], "passed over 2 files: 1 .csv, 1 .srt"),
        (["talk.mp4", "b.mkv.crdownload", "README", ".DS"], "passed over 2 files: 1 .crdownload, 1 without suffix"),
        (["talk.mp4", "sound.MP3", "sound.ogg", "Cover.JPG"], "passed over 3 files: 1 .jpg, 1 .mp3, 1 .ogg"),
        (["talk.mp4", "more/x.mp4"], "passed over 1 subfolder ('**/*' reads these too)"),
        (["talk.mp4", "a.pdf", "m/x.mp4"], "passed over 1 file: 1 .pdf; 1 subfolder ('**/*' reads these too)"),
        (["talk.mp4", *(f"x.{k}" for k in "abcdefgh")],
         f"passed over 8 files: {', '.join(f'1 .{k}' for k in 'abcdef')}, 2 others"),
    ],
)  # fmt: skip
def test_what_a_folder_holds_beside_videos_is_counted(tmp_path, names, note):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    videos, notes = find_videos([tmp_path])
    assert notes == ([f"{tmp_path}: {note}"] if note else [])
    assert {video.name for video in videos} == {"talk.mp4", "talk.2.mp4"} & set(names)


def test_what_a_pattern_finds_beside_videos_is_counted_and_a_named_file_is_not(tmp_path):
    for name in ("talk.mp4", "talk.srt", "a/more.mkv", "a/more.de.vtt", "a/talk.srt", "notes.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    _, notes = find_videos([f"{tmp_path}/**/*", tmp_path / "notes.pdf"])
    assert notes == [f"{tmp_path}/**/*: passed over 2 files: 1 .pdf, 1 .srt"]
    with pytest.raises(FileNotFoundError, match=r"found no video; passed over 1 file: 1 \.pdf$"):
        find_videos([f"{tmp_path}/*.pdf"])


def test_find_videos(videos, monkeypatch):
    for name in ("0.srt", "My [cut].mp4", ".hidden.mp4", "deep/x.MKV"):
        (videos / name).parent.mkdir(exist_ok=True)
        (videos / name).write_text("")
    monkeypatch.chdir(videos)
    names = lambda *inputs: [str(path) for path in find_videos(inputs)[0]]  # noqa: E731
    assert names("4.mp4", "[0-2].mp4", "1.mp4") == ["4.mp4", "0.mp4", "1.mp4", "2.mp4"]
    assert names("My [cut].mp4", "0.srt") == ["My [cut].mp4", "0.srt"], "a file that is named is taken as it is"
    assert names(".") == [*(f"{i}.mp4" for i in range(6)), "My [cut].mp4"]
    assert "deep/x.MKV" in names("**/*")
    for nothing in ("none.mp4", "*.avi", "deep/../0.vtt"):
        with pytest.raises(FileNotFoundError, match="expected a video, a folder of videos or a pattern"):
            names("0.mp4", nothing)


@pytest.fixture
def checkpoint(tmp_path):
    config = HierSumConfig(video_dim=3, text_dim=4, hidden_size=16, num_layers=1)

    def write(**changes):
        HierSumModel(config).save_pretrained(tmp_path / "run")
        HierSumFeatureExtractor("colour", "words", 3, 4, 4.0, **changes).save_pretrained(tmp_path / "run")
        return tmp_path / "run"

    return write


def test_a_checkpoint_says_what_its_features_are_made_with(checkpoint):
    run = checkpoint()
    assert choose_settings(run) == choose_settings(run, "colour", 4.0) == FrameSettings("colour", 4.0)
    assert choose_settings() == FrameSettings(default_extractor().video_encoder, 2.0), "what summarize looks for"
    assert choose_settings(None, "colour", 0.5, "bfloat16") == FrameSettings("colour", 0.5, "bfloat16")
    assert choose_settings(fast=True) == FrameSettings(default_extractor().video_encoder, 1.0, key_frames=True)
    with pytest.raises(ValueError, match=r"run: expected sample_fps 4\.0, .* found 1\.0"):
        choose_settings(run, fast=True)
    with pytest.raises(ValueError, match="--fast: expected no sample rate beside it, as it has its own, found 2"):
        choose_settings(sample_fps=2.0, fast=True)
    with pytest.raises(ValueError, match=r"run: expected video_encoder 'colour', .* found 'other'"):
        choose_settings(run, "other")
    with pytest.raises(ValueError, match=r"run: expected sample_fps 4\.0, .* found 2\.0"):
        choose_settings(run, sample_fps=2.0)
    with pytest.raises(ValueError, match="found a checkpoint trained on features with normalization 'official'"):
        choose_settings(checkpoint(normalization="official"))
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="sample_fps: expected a positive number"):
            choose_settings(sample_fps=fps)


def test_outputs_that_cannot_be(videos, batches, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file: expected a folder for features, found a file"):
        run(videos, tmp_path / "file")
    with pytest.raises(ValueError, match="expected another folder than that of the videos"):
        run(videos, tmp_path / "videos")
    with pytest.raises(ValueError, match="batch_size: expected at least 1, found 0"):
        extract.extract(find_videos([videos])[0], tmp_path / "out", SETTINGS, "cpu", batch_size=0)
    assert not batches


def start(videos, output, log, **environment):
    """A process that extracts with an encoder of 0.4 s a video and writes a letter for each."""
    words = [sys.executable, "-c", SLOW_ENCODER, str(videos), str(output), str(log)]
    return subprocess.Popen(words, env=os.environ | environment, stderr=subprocess.PIPE)


def finished(process):
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


@pytest.mark.slow
def test_killed_and_resumed_nothing_is_missing_or_computed_twice(videos, tmp_path):
    """Real processes and kill -9: what was done counts, only the video at hand is begun again."""
    output, log = tmp_path / "out", tmp_path / "log"
    process = start(videos, output, log)
    while process.poll() is None and (not output.exists() or len(list(output.glob("*.npz"))) < 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = contents(output)
    assert 2 <= len(done) < 5
    log.unlink()
    finished(start(videos, output, log))
    assert len(log.read_text()) == 5 - len(done)
    assert done.items() <= contents(output).items()
    finished(start(videos, tmp_path / "whole", tmp_path / "log2"))
    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_make_what_one_makes(videos, tmp_path):
    ranks = [start(videos, tmp_path / "two", tmp_path / "log", RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    for process in ranks:
        finished(process)
    assert len((tmp_path / "log").read_text()) == 5
    finished(start(videos, tmp_path / "one", tmp_path / "log"))
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    first, *_ = contents(tmp_path / "two")
    assert stored_features(tmp_path / "two" / first).features.shape[1] == 3
