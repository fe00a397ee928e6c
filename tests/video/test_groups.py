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
from hiersum_hf.video.bitstream import FORMS, Hevc
from hiersum_hf.video.groups import Groups
from hiersum_hf.video.writer import whole_groups, write_segments
from tests.makers.pictures import joined, oriented, quarters, tags, told
from tests.makers.player import played
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
    """(second, array) of all pictures of a file, as they are stored."""
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray()) for frame in container.decode(video=0)]


def images(timed):
    return [image for _, image in timed]


def peak(image):
    return 255 if image.dtype == np.uint8 else 1023


def compared(path, spans, output):
    """The PSNR of every picture of the output in the order shown, infinite where it is equal to the source's."""
    source, written, found, begin_s = pictures(path), pictures(output), [], 0.0
    for from_s, to_s in spans:
        shown = [(t - source[0][0], image) for t, image in source]
        want = [(t - from_s, image) for t, image in shown if from_s - 1e-6 <= t < to_s - 1e-6]
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
    "AV1, 10 bit": (Film(codec="libsvtav1", options={"preset": "7"}, pix_fmt="yuv420p10le"), 60),
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["H.264", "VP9", "AV1"])
def test_a_browser_plays_every_picture_through_the_joints(tmp_path, monkeypatch, kind):
    path = textured(KINDS[kind][0], tmp_path, monkeypatch)
    rendered(path, SPANS, tmp_path / "out.mp4")
    assert played(tmp_path / "out.mp4") == ("ended", "3.14", "79")


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
    told = [f"{path.name}: all its pictures are encoded anew, none are copied: {why}."]
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


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_parameter_sets_of_two_encoders_lie_in_one_header(tmp_path, codec):
    """Players look for them there, and take those that a picture names."""
    path = Film(**SMALL, codec=codec, options=x265() if codec == "libx265" else x264(sps_id=0)).write(tmp_path)
    rendered(path, [(0.2, 2.0)], tmp_path / "out.mp4")
    with av.open(str(path)) as source, av.open(str(tmp_path / "out.mp4")) as written:
        codecs = [container.streams.video[0].codec_context for container in (source, written)]
        form = FORMS[codecs[0].name](codecs[0].extradata)
        assert all(one in codecs[1].extradata for one in form.sets)
        assert len(codecs[1].extradata) > len(codecs[0].extradata) + 10
        units = [unit for packet in written.demux(video=0) for unit in form._units(memoryview(packet))]
        assert not {form.kind(unit) for unit in units} & {form.kind(one) for one in form.sets}


def relabelled(path, output, every):
    """A copy in which each so-manieth picture is called a key frame."""
    with av.open(str(path)) as source, av.open(str(output), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet.is_keyframe, packet.stream = packet.is_keyframe or number % every == 0, stream
                target.mux(packet)
    return output


@pytest.mark.parametrize("believed", [False, True], ids=["by its units", "by decoding it"])
def test_key_frames_that_are_none_are_found(tmp_path, monkeypatch, believed):
    """A player that begins there shows grey smears."""
    film = Film(**SMALL, codec="libx265", options=x265(bframes=0), gop=50)
    path = relabelled(textured(film, tmp_path, monkeypatch), tmp_path / "lying.mkv", 20)
    if believed:
        monkeypatch.setattr(Hevc, "begins", lambda self, packet: packet.is_keyframe)
    (note,) = rendered(path, [(0.5, 3.0)], tmp_path / "out.mp4")
    assert note.endswith(": no decoder can begin at its key frame at 0.80 s.")
    assert off(tmp_path / "out.mp4", [(0.5, 3.0)], film.times(), None).wrong == []


def test_an_index_that_lies_about_key_frames_is_passed_over(tmp_path, monkeypatch):
    """Of H.264 FFmpeg looks itself what is one, but goes where the index says."""
    film = Film(**SMALL, options={"bf": "0"}, gop=50)
    path = relabelled(textured(film, tmp_path, monkeypatch), tmp_path / "lying.mkv", 20)
    spans = [(0.9, 1.3), (1.7, 3.0)]
    assert rendered(path, spans, tmp_path / "out.mp4") == []
    found = compared(path, spans, tmp_path / "out.mp4")
    assert (sum(map(math.isinf, found)), len(found)) == (25, 42)
    assert min(found) > 40


def test_a_key_frame_that_shows_something_else_where_a_decoder_begins_is_found(tmp_path, monkeypatch):
    path = textured(Film(**SMALL, options=B_FRAMES), tmp_path, monkeypatch)
    believed = Groups._check

    def check(self, packets):
        believed(self, packets)
        self._looks[packets[0].pts] = b"another"

    monkeypatch.setattr(Groups, "_check", check)
    (note,) = rendered(path, SPANS, tmp_path / "out.mp4")
    assert note.endswith(": its key frame at 0.48 s shows another picture when it comes first.")


def test_parameters_that_change_on_the_way_are_not_copied(tmp_path):
    parts = [
        Film(f"{k}.h264", **SMALL, options=x264(bframes=0, cabac=k), count=50, first=50 * k).write(tmp_path)
        for k in (0, 1)
    ]
    path = joined(parts, tmp_path / "joined.mkv")
    (note,) = rendered(path, [(0.3, 3.7)], tmp_path / "out.mp4")
    assert note.endswith(": its parameter sets change on the way.")
    assert off(tmp_path / "out.mp4", [(0.3, 3.7)], Film().times(), None).wrong == []


def test_encoded_ends_stand_as_the_copied_pictures_do(tmp_path):
    path = oriented(Film(**SMALL, options=B_FRAMES).write(tmp_path), (0, 1, -1, 0), tmp_path / "phone.mp4")
    rendered(path, SPANS, tmp_path / "out.mp4")
    with av.open(str(path)) as source, av.open(str(tmp_path / "out.mp4")) as written:
        turns = [{frame.rotation for frame in container.decode(video=0)} for container in (source, written)]
    assert turns[0] == turns[1] != {0}


def test_encoded_ends_have_the_colours_of_copied_pictures(tmp_path):
    """PQ in 10 bit: else a joint changes the brightness of everything."""
    images = [quarters((64, 48))] * 50
    options = x265(keyint=10, min_keyint=10)
    path = told(
        tmp_path / "hdr.mp4", images, 9, tags=(9, 9, 16), pix_fmt="yuv420p10le", codec="libx265", options=options
    )
    assert rendered(path, [(0.3, 1.5)], tmp_path / "out.mp4") == []
    assert tags(tmp_path / "out.mp4") == tags(path)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = list(container.decode(video=0))
    assert {(f.format.name, f.colorspace, f.color_primaries, f.color_trc) for f in frames} == {
        ("yuv420p10le", 9, 9, 16)
    }
    assert min(compared(path, [(0.3, 1.5)], tmp_path / "out.mp4")) > 40


@pytest.mark.parametrize("spans", [[(1.1, 1.7), (1.7, 3.1)], [(1.1, 3.1)]])
def test_segments_that_continue_each_other_are_one(tmp_path, monkeypatch, spans):
    path = textured(Film(**SMALL, options=B_FRAMES), tmp_path, monkeypatch)
    rendered(path, spans, tmp_path / "out.mp4")
    assert sum(map(math.isinf, compared(path, spans, tmp_path / "out.mp4"))) == 42  # from 1.44 s on


def test_more_time_gives_better_ends(tmp_path, monkeypatch):
    path = textured(Film(**SMALL, options=B_FRAMES), tmp_path, monkeypatch)
    sizes = []
    for quality in (False, True):
        rendered(path, SPANS, tmp_path / "out.mp4", render="encode", quality=quality)
        with av.open(str(tmp_path / "out.mp4")) as container:
            sizes.append(sum(packet.size for packet in container.demux(video=0)))
    assert sizes[0] != sizes[1]
