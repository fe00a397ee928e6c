"""What is done is known without reading the videos, and never of another video."""

import os

import pytest

from hiersum_hf.features import cache
from hiersum_hf.features.done import Done
from hiersum_hf.inference import extract
from tests.makers.encoders import colour_encoder
from tests.makers.extraction import run
from tests.makers.videos import write_video


@pytest.fixture
def done(tmp_path, monkeypatch):
    """A video and the folder of its features."""
    monkeypatch.setattr(extract, "load_video_encoder", lambda *which: colour_encoder())
    video = write_video(tmp_path / "videos" / "a.mp4")
    run(video.parent, tmp_path / "out")
    return video, tmp_path / "out"


def test_a_second_look_reads_no_video_and_says_the_same(done, monkeypatch):
    video, out = done
    first = run(video.parent, out)["videos"][str(video)]
    monkeypatch.setattr(cache.hashlib, "file_digest", None)
    again = run(video.parent, out)["videos"][str(video)]
    assert again == first
    assert (again["found"], again["frames"]) == (True, 6)


def test_a_video_of_the_same_size_and_time_is_another(done):
    video, out = done
    before = video.stat()
    content = bytearray(video.read_bytes())
    content[-1] ^= 1
    video.write_bytes(content)
    os.utime(video, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not run(video.parent, out)["videos"][str(video)]["found"]


def test_a_moved_video_is_found_by_its_content(done):
    video, out = done
    video.rename(video.with_name("b.mp4"))
    assert run(video.parent, out)["videos"][f"{video.parent}/b.mp4"]["found"]


def test_features_that_have_gone_are_made_anew(done):
    video, out = done
    for file in out.glob("features-*.zip"):
        file.unlink()
    assert not run(video.parent, out)["videos"][str(video)]["found"]


@pytest.mark.parametrize("damage", [b'["/x", 1', b"[" * 5000, b"\xff\xfe", b'[1,2,3,4,5,"../x.npz",1,[]]', b"{}", b"3"])
def test_a_damaged_line_hides_no_other(done, damage):
    video, out = done
    (lines,) = out.glob(".done-*.jsonl")
    lines.write_bytes(damage + lines.read_bytes())
    assert len(Done(out, cache.settings_name(extract.FrameSettings("colour", 2.0))).known) == 1
    assert run(video.parent, out)["videos"][str(video)]["found"]
