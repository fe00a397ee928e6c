"""A summary is worth what its cuts are worth: right frames, sound in step, and no ruins on a full disk."""

import errno
import resource
from pathlib import Path

import av
import numpy as np
import pytest

from hiersum_hf.records import Segment
from hiersum_hf.video import writer as video_writer
from hiersum_hf.video.faults import Reading
from hiersum_hf.video.reader import iter_frames, probe
from hiersum_hf.video.writer import write_segments
from tests.makers.ruler import Film
from tests.makers.videos import DATA, EVERY, damaged, needs_data, psnr, stream_ends_s, synthetic


REAL = ["nasa_13013.mp4", "sintel_trailer.mp4"]


def spans(segments):
    """(segment, second of the output where it begins)."""
    return [(s, sum(p.end_s - p.start_s for p in segments[:k])) for k, s in enumerate(segments)]


def between(frames, start_s, end_s):
    return [(t, image) for t, image in frames if start_s - 2e-5 <= t < end_s - 2e-5]


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


def test_a_stream_without_an_index_is_still_cut_at_the_right_frame(tmp_path):
    """Seeking in broadcast recordings may lead past the moment asked for; key frames are 8 s apart here."""
    path = synthetic(tmp_path / "tv.ts", [k / 25 for k in range(250)], gop=200, muxer="mpegts")
    write_segments(path, [Segment(6.0, 6.2, 1.0)], tmp_path / "out.mp4")
    written = list(iter_frames(tmp_path / "out.mp4", EVERY))
    grey = [round(float(image[40, 50].mean())) for _, image in written]
    assert grey == pytest.approx([40 + 8 * (k % 20) for k in range(150, 155)], abs=2)


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

    monkeypatch.setattr(video_writer, "_samples_frame", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_segments(path, [Segment(0.0, 0.9, 1.0)], tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]


def packets_of(path, kind="video"):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.best(kind)) if packet.size]


def assert_same_pictures(path, segments, output, least_psnr=30):
    """The output's frames are the source's frames of the segments, at their places; all streams as long as these."""
    source, written = list(iter_frames(path, EVERY)), list(iter_frames(output, EVERY))
    for segment, begins_s in spans(segments):
        want = between(source, segment.start_s, segment.end_s)
        got = between(written, begins_s, begins_s + segment.end_s - segment.start_s)
        assert [t - begins_s for t, _ in got] == pytest.approx([t - segment.start_s for t, _ in want], abs=1e-3)
        assert min(psnr(a, b) for (_, a), (_, b) in zip(got, want, strict=True)) > least_psnr
    total_s = sum(segment.end_s - segment.start_s for segment in segments)
    ends_s = stream_ends_s(output)
    assert ends_s == pytest.approx(dict.fromkeys(ends_s, total_s), abs=0.05)


def key_times_s(path):
    """Seconds of the key frames, and the end."""
    with av.open(str(path)) as container:
        keys_s = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe]
    return [*keys_s, probe(path).duration_s]


@pytest.mark.parametrize(
    "cuts",
    [
        [(0, -1)],  # the whole video
        [(1, 2), (3, 5)],
        [(4, -1), (0, 1), (2, 3)],
    ],
)
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_cuts_on_key_frames_keep_the_original_pictures(tmp_path, codec, cuts):
    path = synthetic(tmp_path / "a.mp4", [k / 25 for k in range(100)], tone_hz=440, codec=codec)
    keys_s = key_times_s(path)
    segments = [Segment(keys_s[start], keys_s[stop], 1.0) for start, stop in cuts]
    write_segments(path, segments, tmp_path / "out.mp4")
    assert_same_pictures(path, segments, tmp_path / "out.mp4", least_psnr=1e6)
    assert set(packets_of(tmp_path / "out.mp4")) <= set(packets_of(path))
    write_segments(path, segments, tmp_path / "out.mp4", render="encode")
    assert not set(packets_of(tmp_path / "out.mp4")) & set(packets_of(path))


def test_open_groups_of_pictures_are_not_torn(tmp_path):
    """With open groups the pictures before a key frame need it: copies would begin or end broken."""
    options = {"x265-params": "log-level=none:open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3:b-adapt=0"}
    path = synthetic(tmp_path / "open.mp4", [k / 25 for k in range(100)], codec="libx265", options=options)
    keys_s = key_times_s(path)
    assert len(keys_s) > 5
    segments = [Segment(keys_s[1], keys_s[3], 1.0), Segment(keys_s[4], 4.0, 1.0)]
    write_segments(path, segments, tmp_path / "out.mp4")
    assert_same_pictures(path, segments, tmp_path / "out.mp4")


def test_a_copied_phone_video_still_stands_upright(tmp_path):
    path = synthetic(tmp_path / "phone.mp4", [0.0, 0.04, 0.08], rotation=90)
    write_segments(path, [Segment(0.0, probe(path).duration_s, 1.0)], tmp_path / "out.mp4")
    assert packets_of(tmp_path / "out.mp4") == packets_of(path)
    assert_same_pictures(path, [Segment(0.0, probe(path).duration_s, 1.0)], tmp_path / "out.mp4", least_psnr=1e6)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ten-bit.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le"}),
        ("full-colour.mp4", {"pix_fmt": "yuv444p"}),
        ("odd.mkv", {"size": (64, 48), "codec": "ffv1", "pix_fmt": "yuv444p"}),
        ("broadcast.ts", {"muxer": "mpegts", "begin_s": 3.0}),
        ("late.mp4", {"begin_s": 3.0}),
        ("before-zero.mov", {"begin_s": -0.48, "muxer": "mov", "muxing": {"use_editlist": "0"}}),
        ("long-sound.mkv", {"count": 50}),  # 3 s of sound, 2 s of pictures
        ("short-sound.mp4", {"count": 125}),
    ],
)
def test_any_source_gives_the_right_frames_and_lengths(tmp_path, name, changes):
    times_s = [k / 25 for k in range(changes.pop("count", 100))]
    path = synthetic(tmp_path / name, times_s, tone_hz=440, **changes)
    end_s = times_s[-1] + 0.04
    segments = [Segment(0.0, 0.6, 1.0), Segment(1.0, 1.52, 1.0), Segment(end_s - 0.5, end_s, 1.0)]
    write_segments(path, segments, tmp_path / "out.mp4")
    assert len(list(iter_frames(path, EVERY))) == len(times_s)
    assert_same_pictures(path, segments, tmp_path / "out.mp4")
    write_segments(path, segments, tmp_path / "out.mp4", render="encode")
    assert_same_pictures(path, segments, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.best("video").codec_context.pix_fmt == "yuv420p"  # browsers play nothing else


@pytest.mark.parametrize("size", [(1, 1), pytest.param((2, 1), marks=pytest.mark.slow), (1, 6), (321, 1)])
def test_pictures_of_one_line_are_written(tmp_path, size):
    """Encoders take even sides; no pixel was left of one."""
    path = synthetic(tmp_path / "line.mov", [k / 5 for k in range(20)], size=size, codec="png", pix_fmt="rgb24")
    write_segments(path, [Segment(1.0, 2.0, 1.0)], tmp_path / "out.mp4")
    before, after = ([image for _, image in iter_frames(one, EVERY)] for one in (path, tmp_path / "out.mp4"))
    assert after[0].shape == (max(2, size[1] // 2 * 2), max(2, size[0] // 2 * 2), 3)
    assert [image[-1, -1].mean() for image in after] == pytest.approx([i[-1, -1].mean() for i in before[5:10]], abs=4)


@pytest.mark.parametrize("render", ["smart", "encode"])
def test_a_summary_is_as_long_as_its_segments_where_pictures_stand(tmp_path, render):
    """A phone stores no picture while nothing moves; the picture before a gap made the track longer than its sound."""
    times_s = [*(k / 30 for k in range(30)), *(20 + k / 30 for k in range(30)), *(45 + k / 24 for k in range(24))]
    path = Film("phone.mp4", times_s=times_s, options={"bf": "2", "preset": "ultrafast"}).write(tmp_path)
    segments = [Segment(0.513, 1.0, 1.0), Segment(19.0, 20.5, 1.0), Segment(44.0, 45.7, 1.0)]
    write_segments(path, segments, tmp_path / "out.mp4", render=render)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.duration / av.time_base == pytest.approx(3.687, abs=0.01)


@pytest.mark.parametrize(("name", "codec"), [("old.avi", "mpeg4"), ("old.flv", "flv1")])
def test_files_that_refuse_moments_before_their_first_are_cut_there(tmp_path, name, codec):
    path = synthetic(tmp_path / name, [k / 25 for k in range(100)], codec=codec)
    write_segments(path, [Segment(0.0, 0.6, 1.0), Segment(2.0, 2.4, 1.0)], tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").duration_s == pytest.approx(1.0, abs=0.05)


def test_unreadable_parts_are_left_out_of_the_summary(tmp_path):
    path = damaged(synthetic(tmp_path / "a.mp4", [k / 25 for k in range(250)], size=(160, 120), tone_hz=440))
    write_segments(path, [Segment(0.0, 9.0, 1.0)], tmp_path / "out.mp4")
    assert stream_ends_s(tmp_path / "out.mp4") == pytest.approx({"video": 9.0, "audio": 9.0}, abs=0.05)
    reading = Reading()
    assert len(list(iter_frames(tmp_path / "out.mp4", EVERY, reading))) > 180
    assert reading.warnings == []


@pytest.mark.parametrize("size", [100, 30_000])
def test_a_full_disk_leaves_no_ruin_and_is_named(tmp_path, size):
    """100 bytes fail at the first write; 30,000 hold most of the file but not its index."""
    path = synthetic(tmp_path / "a.mp4", [k / 25 for k in range(100)], tone_hz=440)
    (tmp_path / "out.mp4").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(OSError, match=r"out\.mp4: expected room for it, found none") as caught:
            write_segments(path, [Segment(0.02, 3.9, 1.0)], tmp_path / "out.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert (tmp_path / "out.mp4").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]
