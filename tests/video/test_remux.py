"""Copies with chapters: the same packets, the same clock, the same time code."""

import os
from fractions import Fraction

import av
import pytest

from hiersum_hf import InputError
from hiersum_hf.video.remux import chaptered_name, copy_with_chapters
from hiersum_hf.video.timecode import read_frames
from tests.makers.videos import steady, synthetic


CHAPTERS = ({"start_s": 0.0, "end_s": 1.5, "title": "Grün & <b>"}, {"start_s": 1.5, "end_s": 4.0, "title": "Zwei"})


def packets(path, times=True):
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type in ("video", "audio")]
        return sorted(
            (one.stream.index, bytes(one), round(float(one.pts * one.time_base), 2) * times)
            for one in container.demux(streams)
            if one.size
        )


def chapters(path):
    with av.open(str(path)) as container:
        begin_s = (container.start_time or 0) / av.time_base
        return [
            (round(float(one["start"] * one["time_base"]) - begin_s, 2), one["metadata"]["title"])
            for one in container.chapters()
        ]


@pytest.mark.parametrize(
    ("name", "copy", "code"),
    [
        ("a b.mov", "a b.chapters.mov", "10:00:00:00"),
        ("ü.mp4", "ü.chapters.mp4", None),
        ("a.MKV", "a.chapters.mkv", "01:00:00:00"),
        ("a.avi", "a.chapters.mkv", None),
        ("a.ts", "a.chapters.mkv", None),
    ],
)
def test_a_copy_has_the_same_packets_and_the_chapters(tmp_path, name, copy, code):
    video = steady(tmp_path / name.lower(), Fraction(25), 100, code).rename(tmp_path / name)
    output = tmp_path / chaptered_name(video)
    assert output.name == copy
    assert copy_with_chapters(video, CHAPTERS, output) == []
    assert packets(output, name != "a.avi") == packets(video, name != "a.avi")
    late_s = 0.01 if name == "a.ts" else 0  # its pictures begin after its sound
    assert chapters(output) == [(0.0, "Grün & <b>"), (1.5 + late_s, "Zwei")]
    assert read_frames(output).first == read_frames(video).first


def test_pictures_that_come_late_keep_their_chapters(tmp_path):
    video = synthetic(tmp_path / "a.mkv", [k / 25 for k in range(100)], tone_hz=440, begin_s=0.0)
    copy_with_chapters(video, CHAPTERS, tmp_path / "b.mkv")
    assert packets(tmp_path / "b.mkv") == packets(video)


def test_nothing_is_left_of_a_copy_that_cannot_be_written(tmp_path):
    video = synthetic(tmp_path / "a.avi", [k / 25 for k in range(10)], codec="ffv1")
    with pytest.raises(InputError, match=r"a\.avi: expected pictures that \.webm can hold, found ffv1\. Give"):
        copy_with_chapters(video, CHAPTERS, tmp_path / "b.webm")  # which holds no FFV1
    (tmp_path / "c.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"c\.mp4: expected a readable video"):
        copy_with_chapters(tmp_path / "c.mp4", CHAPTERS, tmp_path / "d.mp4")
    assert sorted(os.listdir(tmp_path)) == ["a.avi", "c.mp4"]


def test_recordings_joined_end_to_end_go_on(tmp_path):
    one = steady(tmp_path / "one.ts", Fraction(25), 50).read_bytes()
    (tmp_path / "two.ts").write_bytes(one + one)
    copy_with_chapters(tmp_path / "two.ts", CHAPTERS, tmp_path / "two.mkv")
    assert len(packets(tmp_path / "two.mkv")) == 2 * len(packets(tmp_path / "one.ts"))
    assert read_frames(tmp_path / "two.mkv").times_s[-1] == pytest.approx(99 / 25, abs=1.0)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_chapters_of_an_mp4_are_replaced(tmp_path, suffix):
    """They are a stream of their own, which no container takes from another."""
    video = synthetic(tmp_path / "a.mp4", [k / 25 for k in range(100)])
    assert copy_with_chapters(video, CHAPTERS[:1], tmp_path / "b.mp4") == []
    assert copy_with_chapters(tmp_path / "b.mp4", CHAPTERS, tmp_path / f"c{suffix}") == []
    assert chapters(tmp_path / f"c{suffix}") == [(0.0, "Grün & <b>"), (1.5, "Zwei")]
    assert packets(tmp_path / f"c{suffix}") == packets(video)


def test_data_that_the_copy_cannot_hold_is_left_out(tmp_path):
    """Cameras and drones store their places beside the pictures."""
    with av.open(str(tmp_path / "drone.ts"), "w") as target:
        data, pictures = target.add_data_stream("klv"), target.add_stream("mpeg2video", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        for k in range(25):
            place = av.Packet(b"place")
            place.pts, place.time_base, place.stream = k, Fraction(1, 25), data
            picture = av.VideoFrame(64, 48, "yuv420p")
            picture.pts = k
            target.mux([place, *pictures.encode(picture)])
        target.mux(pictures.encode(None))
    notes = copy_with_chapters(tmp_path / "drone.ts", CHAPTERS, tmp_path / "b.mkv")
    assert notes == ["b.mkv: 1 stream left out (data)."]
    assert len(packets(tmp_path / "b.mkv")) == 25


def test_a_turned_picture_stays_turned(tmp_path):
    video = synthetic(tmp_path / "a.mp4", [k / 25 for k in range(10)], rotation=90)
    copy_with_chapters(video, CHAPTERS, tmp_path / "b.mp4")
    assert read_frames(video).size == read_frames(tmp_path / "b.mp4").size == (48, 64)
