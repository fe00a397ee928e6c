"""Copied groups of pictures between encoded ends: each picture on its frame, and no player stumbles at a joint."""

import math
import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Segment
from hiersum_hf.video.writer import whole_groups, write_segments
from tests.makers.ruler import Film, off, sound_lag_s
from tests.makers.videos import psnr


SPANS = [(0.0, 0.3), (0.413, 1.213), (1.213, 1.813), (2.513, 3.653), (3.7, 4.0)]
B_FRAMES = {"bf": "3", "preset": "fast"}
SMALL = {"size": (64, 48), "sound": None}
UNEVEN_S = [k / 25 + (k % 5) / 125 for k in range(100)]
PRESET = {"preset": "12"}
VPX = {"deadline": "realtime", "cpu-used": "8"}
ALT = {"deadline": "good", "cpu-used": "5", "lag-in-frames": "16", "auto-alt-ref": "1"}
NTSC = Fraction(30000, 1001)


def x264(**parameters):
    return B_FRAMES | {"x264-params": ":".join(f"{name.replace('_', '-')}={it}" for name, it in parameters.items())}


def x265(**parameters):
    all_of_them = {"log-level": "none"} | {name.replace("_", "-"): it for name, it in parameters.items()}
    return {"x265-params": ":".join(f"{name}={it}" for name, it in all_of_them.items())}


def textured(film, folder, monkeypatch):
    """Write a film whose numbers lie over a moving texture: an encoder changes it."""
    rng, plain = np.random.default_rng(0), Film.write.__globals__["drawn"]
    ground = np.kron(rng.integers(-15, 15, (150, 200, 1)), np.ones((4, 4, 1)))

    def drawn(number, size):
        y, x = 2 * number % 200, 3 * number % 300
        return np.clip(plain(number, size) + ground[y : y + size[1], x : x + size[0]], 0, 255).astype(np.uint8)

    with monkeypatch.context() as patch:
        patch.setitem(Film.write.__globals__, "drawn", drawn)
        return film.write(folder)


def pictures(path):
    """(second after the first picture, array) of all pictures of a file, as they are stored."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        begin_s = float((stream.start_time or 0) * stream.time_base)
        return [(frame.time - begin_s, frame.to_ndarray()) for frame in container.decode(stream)]


def images(timed):
    return [image for _, image in timed]


def peak(image):
    return 255 if image.dtype == np.uint8 else 1023


def compared(path, spans, output):
    """The PSNR of every picture of the output in the order shown, infinite where it is equal to the source's."""
    source, written, found, begin_s = pictures(path), pictures(output), [], 0.0
    for from_s, to_s in spans:
        want = [(t - from_s, image) for t, image in source if from_s - 1e-6 <= t < to_s - 1e-6]
        got = [(t - begin_s, image) for t, image in written if -1e-4 <= t - begin_s < to_s - from_s - 1e-4]
        assert [t for t, _ in got] == pytest.approx([t for t, _ in want], abs=1.1e-3)
        found += [psnr(*(a * (255 / peak(a)) for a in both)) for both in zip(images(want), images(got), strict=True)]
        begin_s += to_s - from_s
    return found


def assert_plays(path):
    """FFmpeg's strict decoder has nothing to say; it shows pictures at their own times, not at a steady rate."""
    if shutil.which("ffmpeg"):
        strict = ["-v", "error", "-xerror", "-err_detect", "explode", "-i", str(path), "-enc_time_base:v", "-1"]
        done = subprocess.run(["ffmpeg", "-nostdin", *strict, "-f", "null", "-"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def rendered(path, spans, output, **how):
    return write_segments(path, [Segment(*span, 1.0) for span in spans], output, **how)


@pytest.mark.parametrize(
    ("film", "least"),
    [
        (Film(**SMALL, options=B_FRAMES), 60),
        (Film(**SMALL, options=x264(open_gop=1, bframes=3, b_adapt=0)), 5),  # a decoder begins at the first group alone
        (Film(**SMALL, options=B_FRAMES, times_s=UNEVEN_S), 60),
        (Film("film.mkv", **SMALL, options=B_FRAMES, rate=NTSC, count=120, begin_s=2.0), 60),
        (Film(**SMALL, options=B_FRAMES, gop=250), 7),  # shorter than a group: the first segment alone is copied
        (Film(**SMALL, codec="libx265", options=x265(), gop=12), 50),
    ],
    ids=["B-frames", "open groups", "uneven times", "mkv", "long groups", "HEVC with open groups"],
)
def test_whole_groups_stay_as_they_are(tmp_path, monkeypatch, film, least):
    """Else nothing is gained, pictures are lost at the joints, or decoders complain there."""
    path = textured(film, tmp_path, monkeypatch)
    assert rendered(path, SPANS, tmp_path / "out.mp4") == []
    found = compared(path, SPANS, tmp_path / "out.mp4")
    assert sum(map(math.isinf, found)) >= least
    assert min(found) > 40
    assert off(tmp_path / "out.mp4", SPANS, film.times(), None).wrong == []
    assert_plays(tmp_path / "out.mp4")


KINDS = {
    "H.264": (Film(options=B_FRAMES), 60),
    "H.264, baseline": (Film(options={"profile": "baseline"}), 60),
    "H.264, main": (Film(options=B_FRAMES | {"profile": "main"}), 60),
    "H.264, full range": (Film(options=B_FRAMES, pix_fmt="yuvj420p"), 60),
    "H.264, wide pixels": (Film(options=B_FRAMES, pixel_shape=Fraction(4, 3)), 60),
    "H.264, key frames alone": (Film(options={"bf": "0"}, gop=1), 79),
    "H.264, key frames 10 s apart": (Film(options=B_FRAMES, gop=250, count=600), 7),
    "H.264 of other numbers": (Film(options=x264(sps_id=3)), 60),
    "H.264 that begins later": (Film(options=B_FRAMES, begin_s=2.0), 60),
    "H.264 without an edit list": (Film(options=B_FRAMES, muxing={"use_editlist": "0"}), 60),
    "H.264 in fragments": (Film(options=B_FRAMES, muxing={"movflags": "frag_keyframe+empty_moov"}), 60),
    "H.264, sound first": (Film(options=B_FRAMES, sound_s=(-0.5, 4.0), begin_s=1.0), 60),
    "H.264 in .mov": (Film("film.mov", options=B_FRAMES), 60),
    "HEVC": (Film(codec="libx265", options=x265()), 55),
    "HEVC, closed groups": (Film(codec="libx265", options=x265(open_gop=0)), 55),
    "HEVC, 10 bit": (Film(codec="libx265", options=x265(), pix_fmt="yuv420p10le"), 55),
    "HEVC in .mkv": (Film("film.mkv", codec="libx265", options=x265()), 55),
    "HEVC of uneven times": (Film(codec="libx265", options=x265(), times_s=UNEVEN_S), 55),
    "VP9": (Film(codec="libvpx-vp9", options=VPX), 60),
    "VP9, hidden pictures": (Film("film.webm", "libvpx-vp9", "libopus", options=ALT), 60),
    "AV1": (Film(codec="libsvtav1", options=PRESET), 60),
    "AV1 in .webm": (Film("film.webm", "libsvtav1", "libopus", options=PRESET), 60),
    "AV1, 10 bit": (Film(codec="libsvtav1", options=PRESET, pix_fmt="yuv420p10le"), 60),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_sources_are_copied_where_they_can_be(tmp_path, monkeypatch, kind):
    film, least = KINDS[kind]
    path = textured(film, tmp_path, monkeypatch)
    assert rendered(path, SPANS, tmp_path / "out.mp4") == []
    found = compared(path, SPANS, tmp_path / "out.mp4")
    assert sum(map(math.isinf, found)) >= least
    assert min(found) > 40
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag in ("avc1", "hvc1", "vp09", "av01")
    measured = off(tmp_path / "out.mp4", SPANS, film.times(), sound_lag_s(path, film.times()))
    assert (measured.wrong, measured.silent) == ([], 0)
    assert measured.sound_s < 0.02
    assert_plays(tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("film", "why"),
    [
        (Film(**SMALL, codec="mpeg4"), "mpeg4 is not one of h264, hevc, vp9, av1"),
        (Film("film.ts", **SMALL), "it is none of .mp4, .mov, .mkv and .webm"),
        (Film(**SMALL, pix_fmt="yuv422p"), "its pictures are yuv422p"),
        (Film(**SMALL, options=x264(tff=1)), "it is interlaced"),
    ],
    ids=["MPEG-4", "ts", "4:2:2", "interlaced"],
)
def test_what_cannot_be_continued_is_encoded_and_told(tmp_path, film, why):
    path = film.write(tmp_path)
    told = [f"{path}: all its pictures are encoded anew, none are copied: {why}."]
    assert rendered(path, SPANS, tmp_path / "out.mp4") == told
    assert off(tmp_path / "out.mp4", SPANS, film.times(), None).wrong == []
    assert rendered(path, SPANS, tmp_path / "out.mp4", render="encode") == []


def test_copying_widens_segments_to_whole_groups(tmp_path, monkeypatch):
    """Who wants the pictures as they are gets more of them, and is told which."""
    path = textured(Film(**SMALL, options=B_FRAMES), tmp_path, monkeypatch)
    wide = whole_groups(path, [Segment(*span, 0.5) for span in SPANS[1:3]])
    assert [(s.start_s, s.end_s, s.score) for s in wide] == [(0.0, 1.44, 0.5), (0.96, 1.92, 0.5)]
    assert whole_groups(path, wide) == wide
    rendered(path, SPANS[2:], tmp_path / "out.mp4", render="copy")
    spans = [(s.start_s, s.end_s) for s in whole_groups(path, [Segment(*span, 0.5) for span in SPANS[2:]])]
    assert set(compared(path, spans, tmp_path / "out.mp4")) == {math.inf}


@pytest.mark.parametrize("film", [Film(**SMALL, codec="mpeg4"), Film("film.ts", **SMALL)])
def test_what_cannot_be_copied_is_refused_where_copies_are_asked_for(tmp_path, film):
    with pytest.raises(InputError, match=r"expected pictures that can be copied, found that they cannot: .*smart"):
        rendered(film.write(tmp_path), SPANS, tmp_path / "out.mp4", render="copy")
    assert not (tmp_path / "out.mp4").exists()
