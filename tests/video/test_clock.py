"""One clock for a file whose own times start again, jump or do not ascend; a video lasts as long as its sound."""

import re
from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.packet import PacketSideData

from hiersum_hf.video.clock import Clock, packets_of
from hiersum_hf.video.reader import probe
from hiersum_hf.video.stills import heard
from tests.makers.ruler import Film, number_in, off, seen, sound_lag_s
from tests.makers.ruler import heard as sound_of
from tests.makers.sources import cut, joined, numbers, stored, told


SLOW = partial(pytest.param, marks=pytest.mark.slow)
PLAIN = {"preset": "ultrafast", "bf": "2"}
NEW_HEADER = 1  # FFmpeg's AV_PKT_DATA_NEW_EXTRADATA
CLUSTER = bytes.fromhex("1f43b675")  # Matroska's
MPEG2 = {"codec": "mpeg2video", "sound": "mp2", "options": {"bf": "2"}}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Film("film.ts", count=50, options=PLAIN), {}),
        (Film("film.ts", count=50, options=PLAIN, begin_s=900.0), {"begin_s": 0.0}),  # FFmpeg takes it for a wrap
        SLOW(Film("film.ts", count=50, options=PLAIN), {"begin_s": 7200.0}),
        SLOW(Film("film.ts", count=50, **MPEG2), {}),
        (Film("film.mpg", count=50, **MPEG2), {}),
        SLOW(Film("film.ts", count=50, options=PLAIN, sound=None), {}),
    ],
)
def test_joined_recordings_are_one_video(tmp_path, first, second):
    """Else half of an evening's recording is missing from its summary."""
    parts = [first, Film(**vars(first) | {"first": 50} | second)]
    path = joined(tmp_path, *parts)
    assert probe(path).duration_s == pytest.approx(4.0, abs=0.05)
    frames = numbers(path)
    assert [number for _, number in frames] == list(range(100))
    assert [time_s for time_s, _ in frames] == pytest.approx([k / 25 for k in range(100)], abs=0.04)
    times_s, spans_s = [time_s for time_s, _ in frames], [(3.013, 3.613), (1.413, 2.813), (0.213, 0.813)]
    film_s = [k / 25 for k in range(100)]
    found = off(cut(path, *spans_s), spans_s, times_s, 0.0 if first.sound else None, film_s)
    assert (found.wrong, found.silent) == ([], 0)
    assert max(found.pictures_s, found.sound_s) < 0.002
    assert told(path) == ["its clock starts again 1 time, first at 2.0 s: what follows is taken to go on there."]


def test_sound_that_comes_up_late_is_heard(tmp_path):
    """A recording began before the programme did; its summary ended in an error."""
    film = {"count": 50, "options": PLAIN, "sound": None}
    second = Film("film.ts", first=50, begin_s=2.0, **film | {"sound": "mp2"})
    path = joined(tmp_path, Film("film.ts", **film), second)
    assert probe(path).has_audio
    times_s, film_s = zip(*((time_s, number / 25) for time_s, number in numbers(path)), strict=True)
    found = off(cut(path, (2.413, 3.413)), [(2.413, 3.413)], times_s, film_s=film_s)
    assert found.silent == 0
    assert found.sound_s < 0.02
    (note,) = told(path)
    assert re.fullmatch(r"skipped 1 unreadable part, the first after 1\.[89] s\.", note), "the last before the change"


def test_a_stream_that_comes_up_on_the_way_ends_no_reading():
    def demux(*_):
        yield from "abc"
        raise IndexError("list index out of range")

    assert [*packets_of(SimpleNamespace(demux=demux))] == ["a", "b", "c"]


@pytest.mark.parametrize("step_s", [-1.9, SLOW(400.0)])
def test_a_live_stream_joined_again_goes_on(tmp_path, step_s):
    """The sender of an .flv was set anew, or away for minutes; the recorder wrote on."""
    film = Film("film.flv", "flv1", "libmp3lame", sound_rate=44100, muxing={"flvflags": "no_duration_filesize"})
    content, path = film.write(tmp_path).read_bytes(), tmp_path / "stream.flv"
    tags, at = [content[:13]], 13
    while at < len(content):
        tag = bytearray(content[at : at + 15 + int.from_bytes(content[at + 1 : at + 4], "big")])
        time_ms = int.from_bytes(tag[7:8] + tag[4:7], "big")
        if time_ms >= 2000:
            moved = (time_ms + round(step_s * 1000)).to_bytes(4, "big")
            tag[4:8] = moved[1:] + moved[:1]
        tags.append(bytes(tag))
        at += len(tag)
    path.write_bytes(b"".join(tags))
    frames = numbers(path)
    assert [number for _, number in frames] == list(range(100))
    times_s, spans_s = [time_s for time_s, _ in frames], [(0.613, 1.613), (frames[60][0], frames[90][0])]
    assert probe(path).duration_s == pytest.approx(times_s[-1] + 0.04, abs=0.03)
    found = off(cut(path, *spans_s), spans_s, times_s, sound_lag_s(tmp_path / film.name, film.times()), film.times())
    assert (found.wrong, found.silent) == ([], 0)
    assert max(found.pictures_s, found.sound_s) < 0.01
    (note,) = told(path)
    assert note.startswith("1 gap in which" if step_s > 0 else "its clock starts again 1 time, first at 2.0 s")


VP8 = {"codec": "libvpx", "sound": "libopus", "options": {"deadline": "realtime"}}


@pytest.mark.parametrize(
    ("name", "film"),
    [
        ("film.mp4", {}),
        SLOW("film.mov", {"sound": None}),
        SLOW("film.mkv", {}),
        SLOW("film.mkv", {"sound": None, "gop": 1}),
        SLOW("film.flv", {}),
        SLOW("film.webm", VP8),
        SLOW("film.nut", {}),
        SLOW("film.wmv", {"codec": "wmv2", "sound": "wmav2", "options": {}}),
        SLOW("film.ts", {}),
    ],
)
def test_hours_in_which_the_recorder_was_off_are_none_of_the_video(tmp_path, name, film):
    """Two seconds, and two more after lunch: half was silent, or a summary of two hours of one picture was sought."""
    first = Film(**{"count": 50, "gop": 10, "options": PLAIN} | film)
    path = stored(tmp_path, name, first, Film(**vars(first) | {"first": 50, "begin_s": 7202.0}))
    frames = numbers(path)
    assert [number for _, number in frames] == list(range(100))
    assert probe(path).duration_s == pytest.approx(4.0, abs=0.09)
    times_s, film_s = [time_s for time_s, _ in frames], [k / 25 for k in range(100)]
    assert times_s == pytest.approx(film_s, abs=0.09)
    spans_s = [(3.213, 3.813), (1.413, 2.813), (0.213, 0.813)]
    found = off(cut(path, *spans_s), spans_s, times_s, 0.0 if first.sound else None, film_s)
    assert (found.wrong, found.silent) == ([], 0)
    assert max(found.pictures_s, found.sound_s) < 0.03
    (note,) = told(path)
    assert note.startswith("its clock starts again 1 time, first at 2.")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_a_picture_that_stands_for_hours_of_talk_stands(tmp_path, name):
    """The sound goes on: nobody was away."""
    path = tmp_path / name
    with av.open(str(path), "w") as target:
        pictures, sound = target.add_stream("libx264", rate=25), target.add_stream("aac", rate=8000, layout="mono")
        pictures.width, pictures.height, pictures.codec_context.time_base = 64, 48, Fraction(1, 25)
        packets = []
        for k in (0, 4000 * 25, 4001 * 25):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            packets += pictures.encode(frame)
        packets += pictures.encode(None)
        quiet = np.zeros((1, 8000), np.float32)
        for second in range(4002):
            frame = av.AudioFrame.from_ndarray(quiet, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, second * 8000, Fraction(1, 8000)
            packets += sound.encode(frame)
        for packet in sorted(packets + sound.encode(None), key=lambda packet: packet.dts * packet.time_base):
            target.mux(packet)
    assert probe(path).duration_s == pytest.approx(4002.0, abs=1.1)
    assert [time_s for time_s, _ in numbers(path)] == [0.0, 4000.0, 4001.0]
    assert not any("clock" in note for note in told(path))


@pytest.mark.slow
def test_many_parts_are_cut_where_they_are(tmp_path):
    films = [Film("film.ts", count=25, options=PLAIN, first=25 * k, begin_s=20 - 3 * k) for k in range(6)]
    path = joined(tmp_path, *films)
    frames = numbers(path)
    assert [number for _, number in frames] == list(range(150))
    spans_s = [(0.413, 1.113), (2.213, 3.313), (4.613, 5.713)]
    found = off(cut(path, *spans_s), spans_s, [time_s for time_s, _ in frames], film_s=[k / 25 for k in range(150)])
    assert (found.wrong, found.silent) == ([], 0)
    assert max(found.pictures_s, found.sound_s) < 0.005, "steps of 3 ms"
    assert told(path) == ["its clock starts again 5 times, first at 1.0 s: what follows is taken to go on there."]


def test_minutes_without_reception_are_a_gap_with_the_times_kept(tmp_path):
    """Players, captions and cut lists count the lost minutes; what comes after them must still be found."""
    film = {"count": 50, "options": PLAIN}
    path = joined(tmp_path, Film("film.ts", begin_s=1.0, **film), Film("film.ts", first=50, begin_s=303.0, **film))
    assert probe(path).duration_s == pytest.approx(304.0, abs=0.05)
    times_s = [k / 25 + 300 * (k > 49) for k in range(100)]
    spans_s = [(1.213, 1.713), (302.213, 302.913)]
    pictures = seen(cut(path, *spans_s))
    wanted = [k for k, time_s in enumerate(times_s) if any(a <= time_s < b for a, b in spans_s)]
    assert [number for _, number in pictures] == wanted
    assert told(path) == [
        "1 gap in which no picture is stored, the first from 2.0 to 302.0 s: the last picture stands there."
    ]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_pictures_of_an_avi_are_all_there_and_in_order(tmp_path, codec):
    """An .avi numbers its pictures as they are stored: half of them would be lost by these times."""
    film = Film("film.avi", codec, "pcm_s16le", options={"bf": "3"}, count=60)
    path = film.write(tmp_path)
    assert numbers(path) == [(pytest.approx(k / 25), k) for k in range(60)]
    spans_s = [(0.613, 1.413)]
    found = off(cut(path, *spans_s), spans_s, film.times())
    assert (found.wrong, found.silent) == ([], 0)
    assert max(found.pictures_s, found.sound_s) < 0.002


def test_parts_that_no_clock_of_their_file_holds_are_told(tmp_path):
    """A Matroska segment has one clock; what goes back on it cannot be in a summary."""
    film = {"name": "film.mkv", "count": 50, "options": PLAIN, "sound": None, "muxing": {"live": "1"}}
    first, second = (Film(first=first, **film).write(tmp_path).read_bytes() for first in (0, 50))
    path = tmp_path / "film.mkv"
    path.write_bytes(first + second[second.index(CLUSTER) :])
    assert [number for _, number in numbers(path)] == list(range(50))
    (note,) = told(path)
    assert note.startswith("its clock goes back after 2.0 s: ")
    assert note.endswith(" pictures there are left out.")


@pytest.mark.parametrize(
    ("first", "second", "was", "became"),
    [
        ({"layout": "mono"}, {}, "mono at 48,000 Hz", "stereo at 48,000 Hz"),
        SLOW({}, {"layout": "mono"}, "stereo at 48,000 Hz", "mono at 48,000 Hz"),
        SLOW({"sound_rate": 44100}, {}, "stereo at 44,100 Hz", "stereo at 48,000 Hz"),
        SLOW({"sound": "ac3", "layout": "5.1"}, {"sound": "ac3"}, "5.1(side) at 48,000 Hz", "stereo at 48,000 Hz"),
    ],
)
def test_sound_that_changes_goes_on(tmp_path, first, second, was, became):
    """Mono news before a stereo film ended in an error."""
    film = {"count": 75, "options": PLAIN}
    parts = {"begin_s": 1.0} | film | first, {"begin_s": 4.0, "first": 75} | film | second
    path = joined(tmp_path, *(Film("film.ts", **part) for part in parts))
    times_s, spans_s = [k / 25 for k in range(150)], [(2.413, 3.613), (4.013, 5.213)]
    found = off(cut(path, *spans_s), spans_s, times_s)
    assert (found.wrong, found.silent) == ([], 0)
    assert max(found.pictures_s, found.sound_s) < 0.02
    assert told(path) in [[f"the sound changes from {was} to {became} at {at_s} s."] for at_s in (3, 4)]
    assert heard(path, np.arange(7.0)).all()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_sound_that_changes_goes_on_behind_one_header(tmp_path, suffix):
    """The header says mono; a decoder that has met stereo and comes back spoils one channel from then on."""
    film, path = {"count": 75, "options": PLAIN}, tmp_path / f"film.{suffix}"
    films = Film("mono.mp4", layout="mono", **film), Film("stereo.mp4", first=75, **film)
    with av.open(str(path), "w") as target:
        streams, last = [], {}
        for late_s, part in zip((0, 3), films, strict=True):
            with av.open(str(part.write(tmp_path))) as source:
                streams = streams or [target.add_stream_from_template(s, opaque=True) for s in source.streams]
                for packet in source.demux():
                    index, late = packet.stream_index, round(late_s / packet.time_base)
                    if packet.size and packet.dts + late > last.get(index, -1e9):
                        last[index] = packet.dts = packet.dts + late
                        packet.pts, packet.stream = packet.pts + late, streams[index]
                        target.mux(packet)
    spans_s = [(2.413, 3.613), (4.013, 5.213)]
    _, wave = sound_of(cut(path, *spans_s))
    levels = np.square(wave[:19000]).reshape(-1, 1000).mean(1)
    assert levels.min() > 0.7 * levels.max()


@pytest.mark.parametrize("name", ["film.mp4", SLOW("film.mkv"), SLOW("film.ts")])
def test_the_last_picture_stands_while_there_is_sound(tmp_path, name):
    """The end of a talk, over its last slide, is a part of the talk."""
    film = Film(name, count=50, sound_s=(0.0, 6.0), options=PLAIN)
    path = film.write(tmp_path)
    assert probe(path).duration_s == pytest.approx(6.0, abs=0.1)
    assert told(path) == ["the pictures end at 2.0 s, the sound later: the last picture stands."]
    found = off(cut(path, (1.013, 2.013), (4.013, 5.013)), [(1.013, 2.013), (4.013, 5.013)], film.times())
    assert (found.silent, found.wrong) == (0, [49]), "once more, where the second part begins"
    assert found.sound_s < 0.02


def test_a_sound_a_little_longer_makes_no_longer_video(tmp_path):
    path = Film(count=50, sound_s=(0.0, 2.3), options=PLAIN).write(tmp_path)
    assert probe(path).duration_s == pytest.approx(2.0, abs=0.001)
    assert told(path) == []


def packets(*times_s, stream=0):
    return [
        SimpleNamespace(stream_index=stream, dts=round(t * 1000), pts=round(t * 1000), duration=40, is_keyframe=False)
        for t in times_s
    ]


def clock():
    flags = av.format.Flags.ts_discont.value
    pictures, sound = (
        SimpleNamespace(index=index, type=kind, time_base=0.001, average_rate=25)
        for index, kind in enumerate(["video", "audio"])
    )
    return Clock(SimpleNamespace(format=SimpleNamespace(flags=flags, name="mpegts")), (pictures, sound))


@pytest.mark.parametrize("wrong_s", [0.0, 90.0, 9000.0])
def test_a_damaged_time_turns_no_clock(wrong_s):
    """One bad packet of a broadcast must not make hours of a video, or a join that is none."""
    one = clock()
    stored = packets(9.0, 9.04, wrong_s, 9.12, 9.16)
    for packet in stored:
        one.place(packet)
    assert [stored[at].pts for at in (0, 1, 3, 4)] == [9000, 9040, 9120, 9160]
    assert (one.state.joins_s, one.state.gaps_s) == ([], [])
    assert one.end_s(0.0) == pytest.approx(9.2)


def test_slides_that_are_stored_out_of_order_last_to_the_end():
    one = clock()
    for dts_s, pts_s in [(0, 8), (4, 20), (8, 12), (12, 16), (16, 32), (20, 24), (24, 28)]:
        (packet,) = packets(pts_s)
        packet.dts = dts_s * 1000
        one.place(packet)
    assert (one.state.joins_s, one.end_s(0.0)) == ([], pytest.approx(32.04))


def test_each_stream_comes_to_the_next_part_in_its_own_time():
    one = clock()
    stored = [*packets(5.0, 5.04), *packets(5.0, stream=1), *packets(0.0, 0.04), *packets(5.04, stream=1)]
    stored += [*packets(0.02, 0.06, stream=1), *packets(0.08)]
    for packet in stored:
        one.place(packet)
    assert [packet.pts for packet in stored] == [5000, 5040, 5000, 5080, 5120, 5040, 5100, 5140, 5160]
    assert one.state.joins_s == [pytest.approx(5.08)]


@pytest.mark.parametrize(
    ("size", "shape", "inside"),
    [
        ((256, 192), 1, (slice(None), slice(None))),  # twice as large
        SLOW((64, 48), 1, (slice(None), slice(None))),
        ((128, 48), 1, (slice(24, 72), slice(None))),  # wide: black above and below
        SLOW((96, 96), 1, (slice(None), slice(16, 112))),
        ((72, 96), Fraction(4, 3), (slice(None), slice(16, 112))),  # the same with other pixels
    ],
)
def test_pictures_that_change_their_size_stay_whole(tmp_path, size, shape, inside):
    """Only the top left quarter was left of a film after smaller news."""
    film = {"count": 25, "options": PLAIN}
    second = Film("film.ts", begin_s=2.0, first=25, size=size, pixel_shape=shape, **film)
    path = joined(tmp_path, Film("film.ts", begin_s=1.0, **film), second)
    output = cut(path, (0.613, 1.413))
    with av.open(str(output)) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert {image.shape for image in images} == {(96, 128, 3)}
    assert [number_in(image) for image in images[:9]] == list(range(16, 25))
    assert [number_in(image[inside]) for image in images[9:]] == list(range(25, 36))
    assert f"the pictures change from 128 x 96 to {size[0]} x {size[1]} at 1 s." in told(path)


def copied(path, parts, headers):
    """Packets of the pictures of joined films, .mp4 with one description of them (the first's) or one a film."""
    with av.open(str(path), "w") as target:
        out, end_s = None, 0.0
        for part in parts:
            with av.open(str(part)) as source:
                stream = source.streams.video[0]
                header = bytes(stream.codec_context.extradata or b"")
                out, changes = out or target.add_stream_from_template(stream), out is not None and headers
                for packet in source.demux(stream):
                    if packet.dts is None:
                        continue
                    if changes:
                        told, changes = PacketSideData(NEW_HEADER, len(header)), False
                        told.update(header)
                        packet.set_sidedata(told)
                    late = round(end_s / packet.time_base) - (0 if headers else stream.start_time)
                    packet.pts, packet.dts, packet.stream = packet.pts + late, packet.dts + late, out
                    target.mux(packet)
                end_s += 1.0
    return path


@pytest.mark.parametrize(
    ("codec", "headers"),
    [("libx264", False), ("libx264", True), SLOW("libx265", False), SLOW("libx265", True)],
)
def test_pictures_copied_into_an_mp4_may_change_their_size(tmp_path, codec, headers):
    """One output has one size, also where its cuts fall on key frames and its packets could be copied."""
    options = PLAIN if codec == "libx264" else {"x265-params": "log-level=none:bframes=0"}
    film = {"codec": codec, "count": 25, "sound": None, "options": options}
    suffix = "mp4" if headers else "ts"
    parts = [
        Film(f"{k}.{suffix}", first=25 * k, size=size, begin_s=0.0 if headers else 1.0, **film).write(tmp_path)
        for k, size in enumerate([(128, 96), (256, 192)])
    ]
    path = copied(tmp_path / "film.mp4", parts, headers)
    content = path.read_bytes()
    assert content[content.index(b"stsd") + 11] == 1 + headers
    assert [number for _, number in numbers(path)] == list(range(50))
    assert told(path) == ["the pictures change from 128 x 96 to 256 x 192 at 1 s."]
    for spans_s in ([(0.48, 1.48)], [(0.0, 2.0)]):
        output = cut(path, *spans_s)
        assert off(output, spans_s, [k / 25 for k in range(50)], None).wrong == []
        with av.open(str(output)) as container:
            assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {(128, 96)}
