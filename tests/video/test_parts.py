"""Recordings joined end to end where FFmpeg stops after the first."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from hiersum_hf.video.reader import probe
from tests.makers.ruler import Film, off, sound_lag_s
from tests.makers.sources import cut, joined, numbers, told


SLOW = partial(pytest.param, marks=pytest.mark.slow)
PLAIN = {"preset": "ultrafast", "bf": "2"}
LIVE, VP8 = {"live": "1"}, {"deadline": "realtime"}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
PIECES = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
OF_TWO = "it holds 2 recordings joined end to end, the second from 2.{} s on: they are read as one."


@pytest.mark.parametrize(
    "film",
    [
        Film("film.flv", "flv1", "libmp3lame", sound_rate=44100, count=50),
        SLOW(Film("film.flv", options=PLAIN, count=50)),
        SLOW(Film("film.flv", options=PLAIN, count=50, muxing={"flvflags": "no_duration_filesize"})),
        SLOW(Film("film.wmv", "wmv2", "wmav2", count=50)),
        Film("film.mkv", options=PLAIN, count=50),
        SLOW(Film("film.mkv", "libx265", options={"x265-params": "log-level=none"}, count=50)),
        SLOW(Film("film.mkv", options=PLAIN, count=50, muxing=LIVE)),
        SLOW(Film("film.webm", "libvpx", "libopus", options=VP8, count=50, muxing=LIVE)),
        SLOW(Film("film.webm", "libvpx", "libopus", options=VP8, count=50)),
        SLOW(Film("film.mp4", options=PLAIN, count=50)),
        SLOW(Film("film.mp4", options=PLAIN, count=50, muxing=FRAGMENTS)),
        SLOW(Film("film.mov", "mjpeg", "pcm_s16le", pix_fmt="yuvj420p", count=50)),
        SLOW(Film("film.3gp", "mpeg4", muxer="3gp", layout="mono", count=50)),
        Film("film.avi", "mpeg4", "mp2", options={"bf": "2"}, count=50),
        SLOW(Film("film.avi", "libx264", "pcm_s16le", options=PLAIN, count=50)),
        SLOW(Film("film.ogv", "libvpx", "libopus", options=VP8, count=50)),
        SLOW(Film("film.mxf", "mpeg2video", "pcm_s16le", options={"bf": "2"}, count=50)),
        SLOW(Film("film.nut", sound="pcm_s16le", options=PLAIN, count=50)),
        SLOW(Film("film.ivf", "libvpx", None, options=VP8, count=50)),
        SLOW(Film("film.ivf", "libsvtav1", None, options={"preset": "12"}, count=50)),
        SLOW(Film("film.wtv", sound="ac3", options=PLAIN, count=50)),
    ],
    ids=lambda film: " ".join([film.name, film.codec, *film.muxing]),
)
def test_recordings_are_one_video(tmp_path, film):
    """Players and FFmpeg stop after the first; its second half was missing from a summary, without a word."""
    path = joined(tmp_path, film, Film(**vars(film) | {"first": 50}))
    frames = numbers(path)
    assert [number for _, number in frames] == list(range(100))
    times_s, film_s = [time_s for time_s, _ in frames], [k / 25 for k in range(100)]
    assert np.allclose(np.subtract(times_s, film_s)[:50], 0, atol=0.002), "as it was"
    assert np.ptp(np.subtract(times_s, film_s)[50:]) < 0.002, "in step"
    assert probe(path).duration_s == pytest.approx(times_s[-1] + 0.04, abs=0.09)
    spans_s = [(3.213, 3.813), (1.413, 3.013), (0.213, 0.813)]
    lag_s = sound_lag_s(tmp_path / film.name, film_s[:50], film_s=2.0) if film.sound else None
    found = off(cut(path, *spans_s), spans_s, times_s, lag_s, film_s)
    assert (found.wrong, found.silent) == ([], 0)
    assert found.pictures_s < 0.002
    assert found.sound_s < 0.02
    assert told(path) in [[OF_TWO.format(tenth)] for tenth in (0, 1)]


def pieces(path):
    """The header of an .mp4 in fragments, and the fragments."""
    content, at, boxes = path.read_bytes(), 0, []
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        boxes.append(content[at : at + size])
        at += size
    fragments = [moof + mdat for moof, mdat in pairwise(boxes) if moof[4:8] == b"moof"]
    return b"".join(box for box in boxes if box[4:8] in (b"ftyp", b"moov")), fragments


@pytest.mark.parametrize("each", [True, SLOW(False)])
def test_pieces_of_a_live_stream_stay_on_its_clock(tmp_path, each):
    """A recorder may begin with the third minute, and repeat the header with each piece: these are no recordings."""
    film = Film("film.mp4", options=PLAIN, muxing=PIECES)
    header, fragments = pieces(film.write(tmp_path))
    path = tmp_path / "stream.mp4"
    path.write_bytes(b"".join(header * (each or not k) + piece for k, piece in enumerate(fragments[4:])))
    frames = numbers(path)
    assert frames == [(pytest.approx(k / 25), 48 + k) for k in range(52)]
    assert probe(path).duration_s == pytest.approx(2.08, abs=0.001)
    assert told(path) == []
    spans_s = [(0.613, 1.413)]
    found = off(cut(path, *spans_s), spans_s, [1.92 + k / 25 for k in range(52)], first=48)
    assert (found.wrong, found.silent) == ([], 0)
    assert found.sound_s < 0.02


def test_parts_of_another_form_are_told(tmp_path):
    film = {"codec": "mpeg4", "count": 25}
    parts = Film("film.mkv", **film), Film("film.mkv", layout="mono", **film)
    path = joined(tmp_path, *parts)
    at = path.stat().st_size - (tmp_path / "film.mkv").stat().st_size
    assert len(numbers(path)) == 25
    (note,) = told(path)
    assert "it holds 2 recordings joined end to end; what follows 1.0 s has streams of another form" in note
    assert f'head -c {at} "{path}" > first.mkv' in note
    assert f'tail -c +{at + 1} "{path}" > second.mkv' in note


@pytest.mark.parametrize("size", [(64, 48), SLOW((256, 192))])
def test_parts_of_another_size_are_read(tmp_path, size):
    film = {"options": PLAIN, "count": 25, "sound": None}
    path = joined(tmp_path, Film("film.mp4", **film), Film("film.mp4", first=25, size=size, **film))
    assert [number for _, number in numbers(path)] == list(range(50))
    spans_s = [(0.613, 1.413)]
    assert off(cut(path, *spans_s), spans_s, [k / 25 for k in range(50)], None).wrong == []
    assert f"the pictures change from 128 x 96 to {size[0]} x {size[1]} at 1 s." in told(path)


def test_names_are_no_scripts(tmp_path):
    """A name must not lead FFmpeg to another file."""
    film = {"codec": "mpeg4", "count": 5, "sound": None}
    path = joined(tmp_path, Film("film.mp4", **film), Film("film.mp4", first=5, **film))
    odd = path.rename(tmp_path / "it's 12:30, \\ end,,:.mp4")
    assert [number for _, number in numbers(odd)] == list(range(10))
    lines = odd.rename(tmp_path / "two\nfile 'other.mp4'\n.mp4")
    assert [number for _, number in numbers(lines)] == list(range(5))


def test_what_only_looks_like_a_part_is_left(tmp_path):
    film = Film("film.mp4", "mpeg4", None, count=5)
    path = film.write(tmp_path)
    content = path.read_bytes()
    for behind in (b"\0\0\0\x10ftypisom\0\0\0\0", b"\0" * 40, b"\0\0\0\x01ftyp" + b"\xff" * 30):
        path.write_bytes(content + behind)
        assert [number for _, number in numbers(path)] == list(range(5))
