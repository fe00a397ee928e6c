"""A summary is worth what its cuts are worth: right frames, sound in step, any file that people really have."""

import math
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from hiersum_hf import video
from hiersum_hf.records import Segment
from hiersum_hf.video import embedded_subtitles, iter_frames, probe, write_segments


DATA = os.environ.get("HIERSUM_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="HIERSUM_TEST_DATA is not set: no real videos")
REAL = ["nasa_13013.mp4", "sintel_trailer.mp4"]
EVERY = 1000.0  # a sample_fps above any video's: every frame


def synthetic(path, times_s, size=(64, 48), tone_hz=None, rotation=0, gop=12, muxer=None):
    """A video whose frame k is grey of level 40 + 8 (k mod 20), with an optional tone from 0 to 3 s."""
    with av.open(str(path), "w", format=muxer) as target:
        codec = "libx264" if size[0] % 2 == size[1] % 2 == 0 else "ffv1"
        pictures = target.add_stream(codec, rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
        pictures.codec_context.time_base = Fraction(1, 1000)
        pictures.codec_context.gop_size = gop
        if rotation:
            pictures.set_display_rotation(rotation)
        audio = target.add_stream("aac", rate=44100, layout="stereo") if tone_hz else None
        for k, time_s in enumerate(times_s):
            image = np.full((size[1], size[0], 3), 40 + 8 * (k % 20), np.uint8)
            image[: size[1] // 2, : size[0] // 2] = (255, 0, 0)  # top left
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            target.mux(pictures.encode(frame))
        target.mux(pictures.encode(None))
        if audio:
            wave = 0.3 * np.sin(2 * np.pi * tone_hz * np.arange(3 * 44100) / 44100)
            sound = av.AudioFrame.from_ndarray(np.tile(wave, (2, 1)).astype(np.float32), format="fltp", layout="stereo")
            sound.sample_rate, sound.pts, sound.time_base = 44100, 0, Fraction(1, 44100)
            target.mux(audio.encode(sound))
            target.mux(audio.encode(None))
    return path


def psnr(a, b):
    mse = np.mean((a.astype(float) - b) ** 2)
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def spans(segments):
    """(segment, second of the output where it begins)."""
    return [(s, sum(p.end_s - p.start_s for p in segments[:k])) for k, s in enumerate(segments)]


def between(frames, start_s, end_s):
    return [(t, image) for t, image in frames if start_s - 2e-5 <= t < end_s - 2e-5]


def stream_ends_s(path):
    """The decoded end of each stream: last time stamp plus what it lasts."""
    ends = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is not None:
                end = float((packet.pts + packet.duration) * packet.time_base)
                ends[packet.stream.type] = max(end, ends.get(packet.stream.type, 0))
    return ends


def sound_of(path, rate=16000):
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        frames = [*container.decode(container.streams.best("audio")), None]
        return np.concatenate([part.to_ndarray()[0] for frame in frames for part in resampler.resample(frame)])


@needs_data
@pytest.mark.parametrize("name", REAL)
def test_real_cuts_have_the_right_frames_and_lengths(tmp_path, name):
    """Else a summary shows moments that nobody chose, or its sound runs away from its pictures."""
    path, output = Path(DATA) / "video" / name, tmp_path / "summary.mp4"
    end_s = probe(path).duration_s
    cuts = [(0.0, 1.0), (1.0, 2.35), (3.013, 4.777), (7.5, 7.9), (end_s - 1.234, end_s)]  # adjacent, unaligned, last
    segments = [Segment(start_s, stop_s, 1.0) for start_s, stop_s in cuts]
    write_segments(path, segments, output)
    source, written = list(iter_frames(path, EVERY)), list(iter_frames(output, EVERY))
    for segment, begins_s in spans(segments):
        want = between(source, segment.start_s, segment.end_s)
        got = between(written, begins_s, begins_s + segment.end_s - segment.start_s)
        assert len(got) == len(want) > 0
        assert [t - begins_s for t, _ in got] == pytest.approx([t - segment.start_s for t, _ in want], abs=2e-5)
        assert min(psnr(a, b) for (_, a), (_, b) in zip(got, want, strict=True)) > 30
    total_s = sum(stop_s - start_s for start_s, stop_s in cuts)
    with av.open(str(output)) as container:
        lengths_s = {stream.type: float(stream.duration * stream.time_base) for stream in container.streams}
    assert lengths_s == pytest.approx({"video": total_s, "audio": total_s}, abs=0.05)
    assert stream_ends_s(output) == pytest.approx({"video": total_s, "audio": total_s}, abs=0.05)
    assert [p.name for p in tmp_path.iterdir()] == ["summary.mp4"]  # no partial file stays


@needs_data
def test_sound_stays_in_step_with_the_pictures(tmp_path):
    """The written sound of each segment matches the source best at the place where it belongs, to 2 ms."""
    path = Path(DATA) / "video" / "nasa_13013.mp4"
    segments = [Segment(2.0, 4.0, 1.0), Segment(6.25, 8.0, 1.0), Segment(10.1, 12.6, 1.0)]
    write_segments(path, segments, tmp_path / "out.mp4")
    source, written = sound_of(path), sound_of(tmp_path / "out.mp4")
    for segment, begins_s in spans(segments):
        piece = source[int((segment.start_s + 0.2) * 16000) :][:16000]
        place = int((begins_s + 0.2) * 16000)
        lags = range(-800, 801)
        best = max(lags, key=lambda lag: float(written[place + lag :][:16000] @ piece))
        assert abs(best) <= 32


@needs_data
def test_probe_and_embedded_subtitles_of_a_file_with_several_streams():
    info = probe(Path(DATA) / "video" / "nasa_13013.mp4")  # 320 x 180 at 25 and 480 x 270 at 29.97 fps
    assert (info.width, info.height, info.has_audio) == (480, 270, True)
    assert (info.duration_s, info.fps) == pytest.approx((13.013, 30000 / 1001))
    first, second = embedded_subtitles(info.path)
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == pytest.approx((0.21, 12.47, 12.47, 16.57))
    assert first.text.startswith("NAR: This is")
    assert first.text.endswith("Greenbelt, Maryland.")
    assert embedded_subtitles(Path(DATA) / "video" / "sintel_trailer.mp4") == []


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


def test_slide_shows_keep_their_rhythm_and_never_come_out_empty(tmp_path):
    """A segment between two slides shows the slide on screen; an empty file or a black start would be useless."""
    path = synthetic(tmp_path / "slides.mp4", [0, 2.0, 4.0, 4.1, 6.0])
    write_segments(path, [Segment(0.5, 1.5, 1.0), Segment(3.0, 4.5, 1.0)], tmp_path / "out.mp4")
    written = list(iter_frames(tmp_path / "out.mp4", EVERY))
    assert [t for t, _ in written] == pytest.approx([0.0, 1.0, 2.0, 2.1], abs=1e-4)
    assert [round(float(image[40, 50].mean())) for _, image in written] == pytest.approx([40, 48, 56, 64], abs=2)
    assert stream_ends_s(tmp_path / "out.mp4") == pytest.approx({"video": 2.5}, abs=1e-3)


def test_gaps_and_the_end_of_the_sound_are_silent(tmp_path):
    """Sound that ends early (3 s of 5) must not shorten the audio stream: players would stop or drift."""
    path = synthetic(tmp_path / "a.mp4", [k / 25 for k in range(125)], tone_hz=440)
    write_segments(path, [Segment(4.0, 4.8, 1.0), Segment(2.0, 4.0, 1.0)], tmp_path / "out.mp4")
    assert stream_ends_s(tmp_path / "out.mp4") == pytest.approx({"video": 2.8, "audio": 2.8}, abs=0.05)
    loudness = [
        float(np.abs(part).mean()) for part in np.array_split(sound_of(tmp_path / "out.mp4")[: int(2.8 * 16000)], 14)
    ]
    assert max(loudness[:3] + loudness[10:]) < 0.01  # 0.0 to 0.6 s and 2.0 to 2.8 s
    assert min(loudness[5:8]) > 0.1  # 1.0 to 1.6 s


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


def test_a_stream_without_an_index_is_still_cut_at_the_right_frame(tmp_path):
    """Seeking in broadcast recordings may lead past the moment asked for; key frames are 8 s apart here."""
    path = synthetic(tmp_path / "tv.ts", [k / 25 for k in range(250)], gop=200, muxer="mpegts")
    write_segments(path, [Segment(6.0, 6.2, 1.0)], tmp_path / "out.mp4")
    written = list(iter_frames(tmp_path / "out.mp4", EVERY))
    grey = [round(float(image[40, 50].mean())) for _, image in written]
    assert grey == pytest.approx([40 + 8 * (k % 20) for k in range(150, 155)], abs=2)


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
    text, sound = tmp_path / "text.mp4", tmp_path / "sound.mp4"
    text.write_text("this is not a video")
    with av.open(str(sound), "w") as target:
        audio = target.add_stream("aac", rate=48000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48000
        target.mux(audio.encode(silence))
        target.mux(audio.encode(None))
    for read in (probe, embedded_subtitles, lambda p: next(iter_frames(p, 2))):
        with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
            read(tmp_path / "none.mp4")
        with pytest.raises(ValueError, match=r"text\.mp4: expected a readable video, the decoder said: .*Invalid data"):
            read(text)
        with pytest.raises(ValueError, match=r"sound\.mp4: expected a video stream, found none"):
            read(sound)


def test_wrong_segments_are_named_and_leave_nothing_behind(tmp_path):
    path = synthetic(tmp_path / "a.mp4", [k / 25 for k in range(25)])
    for segments, message in [
        ([], "at least one segment"),
        ([Segment(0.5, 0.5, 1.0)], r"start_s=0.5, end_s=0.5"),
        ([Segment(0.0, 0.5, 1.0), Segment(1.5, 2.0, 1.0)], r"within \[0, 1.000\) s, found Segment\(start_s=1.5"),
        ([Segment(float("nan"), 0.5, 1.0)], "nan"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_segments(path, segments, tmp_path / "out.mp4")
    with pytest.raises(ValueError, match="other than the source"):
        write_segments(path, [Segment(0.0, 0.5, 1.0)], path)
    with pytest.raises(FileNotFoundError, match="existing folder"):
        write_segments(path, [Segment(0.0, 0.5, 1.0)], tmp_path / "none" / "out.mp4")
    with pytest.raises(ValueError, match="positive sample_fps, found 0"):
        next(iter_frames(path, 0))
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_failure_half_way_keeps_the_old_output_and_no_partial_file(tmp_path, monkeypatch):
    path = synthetic(tmp_path / "a.mp4", [k / 25 for k in range(25)], tone_hz=440)
    (tmp_path / "out.mp4").write_text("old")

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(video, "_sound", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_segments(path, [Segment(0.0, 0.9, 1.0)], tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]
