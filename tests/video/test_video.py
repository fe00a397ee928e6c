"""A summary is worth what its cuts are worth: right frames, sound in step, any file that people really have."""

import re
import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from hiersum_hf.records import Segment
from hiersum_hf.video import reader as video
from hiersum_hf.video.faults import Reading
from hiersum_hf.video.reader import iter_frames, probe
from hiersum_hf.video.remux import copy_with_chapters
from hiersum_hf.video.writer import write_segments
from tests.makers.videos import DATA, EVERY, damaged, needs_data, psnr, synthetic


REAL = ["nasa_13013.mp4", "sintel_trailer.mp4"]


@needs_data
def test_probe_of_a_file_with_several_streams():
    info = probe(Path(DATA) / "video" / "nasa_13013.mp4")  # 320 x 180 at 25 and 480 x 270 at 29.97 fps
    assert (info.width, info.height, info.has_audio) == (480, 270, True)
    assert (info.duration_s, info.fps) == pytest.approx((13.013, 30000 / 1001))


def test_sampling_takes_the_first_frame_at_or_after_each_moment(tmp_path):
    path = synthetic(tmp_path / "a.mp4", [k / 10 for k in range(21)])  # 10 fps, 0.0 to 2.0 s
    assert [t for t, _ in iter_frames(path, 2)] == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])
    assert [t for t, _ in iter_frames(path, 4)] == pytest.approx([0.0, 0.3, 0.5, 0.8, 1.0, 1.3, 1.5, 1.8, 2.0])
    assert len(list(iter_frames(path, 50))) == 21
    _, image = next(iter_frames(path, 1))
    assert (image.shape, image.dtype) == ((48, 64, 3), np.uint8)
    assert psnr(image[30:, 40:], np.full((18, 24, 3), 40)) > 30


def test_variable_frame_rate_gives_each_frame_once(tmp_path):
    path = synthetic(tmp_path / "vfr.mp4", [0, 0.04, 0.9, 3.0, 3.05, 4.0])
    assert [t for t, _ in iter_frames(path, 2)] == pytest.approx([0, 0.9, 3.0, 4.0])
    assert [t for t, _ in iter_frames(path, EVERY)] == pytest.approx([0, 0.04, 0.9, 3.0, 3.05, 4.0])


@pytest.mark.parametrize("render", ["smart", "encode"])
def test_a_rate_that_no_header_tells_is_counted(tmp_path, render):
    """FFmpeg says 1000 of such an .mkv, a picture a tick; players refuse the H.264 level that this would ask for."""
    times_s = np.cumsum([0, *np.random.default_rng(1).integers(16, 100, 99)]) / 1000
    told = synthetic(tmp_path / "told.mp4", times_s.tolist(), gop=6)
    copy_with_chapters(told, [], untold := tmp_path / "untold.mkv")
    assert probe(untold).fps == pytest.approx(99 / times_s[-1])
    assert probe(untold).fps == pytest.approx(probe(told).fps, rel=0.02)
    write_segments(told, [Segment(0.3, 2.1, 1.0)], tmp_path / "a.mp4", render)
    write_segments(untold, [Segment(0.3, 2.1, 1.0)], tmp_path / "b.mp4", render)
    assert level_of(tmp_path / "a.mp4") == level_of(tmp_path / "b.mp4") == 10


def level_of(path):
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.level


def test_one_frame_odd_size_and_no_sound(tmp_path):
    path = synthetic(tmp_path / "one.mkv", [0.0], size=(65, 49))
    assert (probe(path).width, probe(path).height, probe(path).has_audio) == (65, 49, False)
    assert next(iter_frames(path, 2))[1].shape == (49, 65, 3)
    write_segments(path, [Segment(0.0, probe(path).duration_s, 1.0)], tmp_path / "out.mp4")
    ((time_s, image),) = iter_frames(tmp_path / "out.mp4", 2)
    assert (time_s, image.shape) == (0.0, (48, 64, 3))
    assert not probe(tmp_path / "out.mp4").has_audio


def test_phone_videos_come_upright(tmp_path):
    """A phone stores a portrait video lying; encoder and viewer must see it standing."""
    path = synthetic(tmp_path / "phone.mp4", [0.0, 0.04, 0.08], rotation=90)  # red moves from top left to bottom left
    _, image = next(iter_frames(path, 1))
    assert image.shape == (64, 48, 3)
    assert image[60, 4, 0] > 200 > image[4, 4, 0]
    write_segments(path, [Segment(0.0, 0.12, 1.0)], tmp_path / "out.mp4")
    assert psnr(next(iter_frames(tmp_path / "out.mp4", 1))[1], image) > 30


def test_a_live_recording_without_a_duration_gets_one(tmp_path):
    class Pipe:  # cannot seek back to write the duration
        def __init__(self, file):
            self.write = file.write

    with (tmp_path / "live.mkv").open("wb") as file, av.open(Pipe(file), "w", format="matroska") as target:
        pictures = target.add_stream("libx264", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        for _ in range(10):
            target.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        target.mux(pictures.encode(None))
    assert probe(tmp_path / "live.mkv").duration_s == pytest.approx(1.0, abs=0.01)


def test_wrong_sources_are_named_with_what_was_found(tmp_path):
    text, empty, sound = (tmp_path / name for name in ("text.mp4", "empty.mp4", "sound.mp4"))
    text.write_text("this is not a video")
    empty.write_bytes(b"")
    with av.open(str(sound), "w") as target:
        audio = target.add_stream("aac", rate=48000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48000
        target.mux(audio.encode(silence))
        target.mux(audio.encode(None))
    for read in (probe, lambda p: next(iter_frames(p, 2))):
        with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
            read(tmp_path / "none.mp4")
        for path in (text, empty):
            with pytest.raises(ValueError, match=rf"{path.name}: expected a readable video, .* said: Invalid data"):
                read(path)
        with pytest.raises(ValueError, match=r"sound\.mp4: expected a video stream, found none"):
            read(sound)


def test_the_pixels_are_those_of_a_plain_decode(tmp_path):
    path = synthetic(tmp_path / "a.mp4", [k / 25 for k in range(50)])
    with av.open(str(path)) as container:
        plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.testing.assert_array_equal([image for _, image in iter_frames(path, EVERY)], plain)


def test_unreadable_parts_in_the_middle_are_passed_over_and_told(tmp_path):
    """One bad sector must cost its own frames, not the summary; grey smears would be scored as pictures."""
    path = synthetic(tmp_path / "a.mp4", [k / 25 for k in range(250)], size=(160, 120), tone_hz=440)
    reading = Reading()
    whole = dict(iter_frames(path, EVERY, reading))
    assert (len(whole), reading.warnings) == (250, [])
    frames = list(iter_frames(damaged(path), EVERY, reading))
    assert 200 < len(frames) < 250
    assert sum(psnr(image, whole[time_s]) > 30 for time_s, image in frames) > 0.9 * len(frames)
    assert frames[-1][0] == pytest.approx(9.96)
    (warning,) = reading.warnings
    found = re.fullmatch(r".*a\.mp4: skipped (\d+) unreadable parts?, the first after (\d\.\d) s\.", warning)
    assert 250 - len(frames) == int(found[1])
    gap_s = next(a for (a, _), (b, _) in pairwise(frames) if b - a > 0.05)
    assert float(found[2]) == pytest.approx(gap_s, abs=0.5)  # decoder threads run ahead


def test_broken_broadcasts_are_told(tmp_path):
    path = synthetic(tmp_path / "a.ts", [k / 25 for k in range(250)], size=(160, 120), tone_hz=440, muxer="mpegts")
    reading = Reading()
    assert 200 < len(list(iter_frames(damaged(path), EVERY, reading))) < 250
    assert re.search(r"a\.ts: skipped \d+ unreadable parts?", reading.warnings[0])


@pytest.mark.parametrize(("name", "muxing"), [("a.mp4", {"movflags": "+faststart"}), ("a.mkv", {})])
def test_a_cut_off_download_gives_what_is_there_and_says_so(tmp_path, name, muxing):
    path = synthetic(tmp_path / name, [k / 25 for k in range(250)], size=(160, 120), muxing=muxing)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    reading = Reading()
    last_s, _ = list(iter_frames(path, EVERY, reading))[-1]
    assert 2 < last_s < 9
    ends_s = float(re.search(r"the pictures end at (\S+) s of 10\.0 s\. Is the file whole\?", reading.warnings[-1])[1])
    assert ends_s == pytest.approx(last_s, abs=0.2)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=rf"{name}: expected a (readable video|video stream)"):
        probe(path)


def patched(path, box, offset, value):
    """Four bytes of an .mp4, so many after the name of a box, set to a number."""
    content = bytearray(path.read_bytes())
    at = content.index(box) + offset
    content[at : at + 4] = value.to_bytes(4, "big")
    path.write_bytes(content)
    return path


def test_headers_that_lie_ask_for_no_memory_and_no_time(tmp_path):
    """Untrusted files claim 4 GB or a thousand years; what they really hold is read, or they are refused by number."""

    def fresh():
        times_s = [k / 25 for k in range(50)]
        return synthetic(tmp_path / "lie.mp4", times_s, muxing={"movflags": "+faststart", "use_editlist": "0"})

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for box in (b"mdat", b"moov"):
        assert len(list(iter_frames(patched(fresh(), box, -4, 0xFFFFFFF0), EVERY))) == 50
    reading = Reading()
    assert list(iter_frames(patched(fresh(), b"stsz", 16, 0xFFFFFFF0), EVERY, reading)) == []  # the first frame
    assert "the pictures end at 0.0 s of 2.0 s" in reading.warnings[-1]
    with pytest.raises(ValueError, match=r"lie\.mp4: expected a readable video"):
        probe(patched(fresh(), b"stsz", 12, 0x3FFFFFF0))  # the number of frames
    path = synthetic(tmp_path / "years.mkv", [3000.0 * k for k in range(211)])
    for read in (probe, lambda path: next(iter_frames(path, 2))):
        with pytest.raises(ValueError, match=r"years\.mkv: expected a video of at most 168 hours, .* claims 175 hours"):
            read(path)
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


@pytest.mark.parametrize(
    ("content", "to_do"),
    [
        (b"", "Record or download it again"),
        (b"PK\x03\x04" + b"video", "Unpack it first"),
        (b"<!DOCTYPE html><html>", "Download the video that it shows"),
        (bytes(5000), "Fetch it again"),
        (b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\x10\0mdat" + bytes(900), "mend it with a program such as untrunc"),
        (b"%PDF-1.4 of no use", "If none does, record or download it again"),
    ],
)
def test_what_no_decoder_reads_is_refused_with_what_to_do(tmp_path, content, to_do):
    """Recordings and downloads break off; "invalid data" alone sends people to search for codecs."""
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.mp4: expected a readable video, the decoder said: .*{to_do}"):
        probe(path)
    with pytest.raises(FileNotFoundError, match="found a folder"):
        probe(tmp_path)


@pytest.mark.parametrize(("size", "most_pixels"), [((20_000, 16), video.MAX_PIXELS), ((80, 60), 64 * 48)])
def test_pictures_beyond_all_screens_are_refused_by_number(tmp_path, monkeypatch, size, most_pixels):
    monkeypatch.setattr(video, "MAX_PIXELS", most_pixels)
    path = synthetic(tmp_path / "huge.mkv", [0.0], size=size, codec="ffv1")
    limit = rf"at most 16384 pixels a side and {most_pixels} in all"
    with pytest.raises(ValueError, match=rf"huge\.mkv: .*{limit}, found {size[0]} x {size[1]}"):
        probe(path)


def test_pictures_that_grow_on_the_way_are_not_decoded(tmp_path, monkeypatch):
    """The header is honest, a later picture is not: the decoder itself must refuse it."""
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 48)
    for name, size in [("small.ts", (64, 48)), ("large.ts", (640, 480))]:
        synthetic(tmp_path / name, [k / 25 for k in range(25)], size=size, muxer="mpegts")
    (tmp_path / "both.ts").write_bytes((tmp_path / "small.ts").read_bytes() + (tmp_path / "large.ts").read_bytes())
    reading = Reading()
    frames = list(iter_frames(tmp_path / "both.ts", EVERY, reading))
    assert {image.shape for _, image in frames} == {(48, 64, 3)}
    assert "unreadable" in reading.warnings[0]


def test_music_with_cover_art_is_no_video(tmp_path):
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as target:
        sound, cover = target.add_stream("mp3", rate=44100, layout="mono"), target.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 44100
        for encoder, frame in [(cover, av.VideoFrame(64, 64, "yuvj420p")), (sound, silence)]:
            target.mux([*encoder.encode(frame), *encoder.encode(None)])
    with pytest.raises(ValueError, match=r"song\.mp3: expected a video stream, found none"):
        probe(path)


def test_a_dying_disk_is_not_read_for_ever():
    class Container:
        reads = 0

        def demux(self, _):
            self.reads += 1
            raise av.error.OSError(5, "Input/output error")

    container, faults = Container(), video.Faults()
    assert list(video.readable_packets(container, None, faults, SimpleNamespace(streams=(None,)))) == []
    assert container.reads == faults.count == video.MAX_FAILED_READS


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured on Linux")
def test_ten_hours_take_no_more_memory_than_one(tmp_path):
    code = (
        "import resource, sys; from hiersum_hf.video.reader import iter_frames\n"
        "n = sum(1 for _ in iter_frames(sys.argv[1], 1))\n"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    peaks_mb = []
    for hours in (1, 10):
        path = synthetic(tmp_path / f"{hours}.mp4", range(hours * 3600), options={"preset": "ultrafast"})
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        count, peak_mb = map(float, done.stdout.split())
        assert count == hours * 3600
        peaks_mb.append(peak_mb)
    assert peaks_mb[1] < peaks_mb[0] + 20


def test_raw_streams_are_measured_or_refused_with_what_to_do(tmp_path):
    """FFmpeg guesses the length of raw MPEG by its bit rate, and raw H.264 tells no times at all."""
    for name, codec in (("a.m1v", "mpeg1video"), ("b.264", "libx264")):
        with av.open(str(tmp_path / name), "w", format={"b.264": "h264"}.get(name, codec)) as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for i in range(50):
                image = np.full((48, 64, 3), 4 * i, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    assert probe(tmp_path / "a.m1v").duration_s == pytest.approx(2, abs=0.05)
    assert len(list(iter_frames(tmp_path / "a.m1v", 2))) in (4, 5)
    told = r"b\.264: expected times of the pictures, found none \(raw H\.264 video\)\. .*ffmpeg -i b\.264 video\.mp4"
    for read in (probe, lambda video: list(iter_frames(video, 2))):
        with pytest.raises(ValueError, match=told):
            read(tmp_path / "b.264")


@pytest.mark.parametrize("sample_fps", [EVERY, 12])
def test_the_last_pictures_come_where_sound_is_stored_first(tmp_path, sample_fps):
    """A decoder keeps the last pictures back until it is told of the end, which PyAV marks as that of stream 0."""
    path = synthetic(tmp_path / "a.mp4", [k / 25 for k in range(75)], tone_hz=440)
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mp4"), "w") as target:
        order = sorted(source.streams, key=lambda stream: stream.type)  # audio, video
        streams = {stream.index: target.add_stream_from_template(stream) for stream in order}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.best("video").index == 1
    times_s, wanted_s = ([time_s for time_s, _ in iter_frames(one, sample_fps)] for one in (tmp_path / "b.mp4", path))
    assert times_s == pytest.approx(wanted_s)
    assert times_s[-1] > 2.88
