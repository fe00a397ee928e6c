"""Only what is looked at is decoded: every picture, time, warning and sound as by decoding all."""

import av
import pytest

from hiersum_hf.video import pieces
from hiersum_hf.video.faults import Reading
from hiersum_hf.video.reader import VideoFile, iter_frames
from tests.makers.pictures import ffmpeg, needs_ffmpeg
from tests.makers.ruler import Film
from tests.makers.videos import EVERY, damaged
from tests.video.test_kinds import B_FRAMES, KINDS, UNEVEN_S


X265 = "log-level=none:bframes=4:rc-lookahead=10:keyint=20:min-keyint=20:"
FILMS = {
    "closed groups": Film(options=B_FRAMES, gop=20),
    "open groups": Film(options=B_FRAMES | {"x264-params": "open-gop=1"}, gop=20),
    "open groups in a stream": Film("film.ts", options=B_FRAMES | {"x264-params": "open-gop=1"}, gop=20),
    "pyramids": Film(options={"preset": "fast", "x264-params": "bframes=7:b-pyramid=2:ref=4:keyint=40"}),
    "groups far longer than a piece": Film(options=B_FRAMES, gop=1000),
    "key frames everywhere": Film(options={"preset": "fast"}, gop=1),
    "no key frame after the first": Film(options=B_FRAMES | {"x264-params": "intra-refresh=1"}, gop=20),
    "fields": Film(options={"preset": "fast", "x264-params": "interlaced=1"}, gop=20),
    "HEVC of open groups": Film(codec="libx265", options={"x265-params": X265 + "open-gop=1"}),
    "HEVC of open groups in a stream": Film("f.ts", "libx265", options={"x265-params": X265 + "open-gop=1"}),
    "HEVC of closed groups": Film("f.mkv", "libx265", options={"x265-params": X265 + "open-gop=0"}),
    "uneven times": Film(times_s=UNEVEN_S, options=B_FRAMES, gop=5),
    "uneven times in a .flv": Film("film.flv", times_s=UNEVEN_S, options=B_FRAMES, gop=5),
    "begins late": Film("film.ts", begin_s=40.0, options=B_FRAMES, gop=20),
    "hidden frames": Film(
        "film.webm", "libvpx-vp9", "libopus", options={"lag-in-frames": "12", "auto-alt-ref": "1", "cpu-used": "8"}
    ),
    "AV1": Film("film.mkv", "libsvtav1", "libopus", options={"preset": "12"}, gop=20),
}
SMALL = [
    "closed groups",
    "open groups in a stream",
    "groups far longer than a piece",
    "fields",
    "HEVC of open groups",
    "hidden frames",
]


def outcome(path, sample_fps, skip=True):
    """All that reading gives: times and pictures, what is told, and the sound's packets."""
    reading, sound = Reading(), []
    with pytest.MonkeyPatch.context() as patch:
        if not skip:
            patch.setattr(VideoFile, "may_skip", lambda self, sample_fps: False)
        found = iter_frames(path, sample_fps, reading, listen=lambda packet, _: sound.append((packet.pts, packet.size)))
        return [(time_s, image.tobytes()) for time_s, image in found], vars(reading), sound


def assert_same(path, *rates):
    for sample_fps in rates:
        assert outcome(path, sample_fps) == outcome(path, sample_fps, skip=False)


@pytest.fixture
def reasons(monkeypatch):
    """Why all was decoded, each time it was."""
    said = []

    def tell(self, reason):
        said.append(reason)

    monkeypatch.setattr(pieces.ReadAll, "__init__", tell)
    return said


@pytest.mark.parametrize("name", SMALL)
def test_pictures_are_those_of_reading_all(tmp_path, name, monkeypatch):
    monkeypatch.setattr(pieces, "PROOF", 4)
    monkeypatch.setattr(pieces, "MOST_PICTURES", 4)  # groups longer than a piece are among these
    assert_same(FILMS[name].write(tmp_path), 2)


@pytest.mark.parametrize("processors", [1, 3])
def test_any_number_of_processors_gives_the_same(tmp_path, monkeypatch, processors):
    monkeypatch.setattr(pieces, "_processors", lambda: processors)
    assert_same(FILMS["closed groups"].write(tmp_path), 3.3)


def test_few_pictures_are_decoded(tmp_path, monkeypatch, reasons):
    monkeypatch.setattr(pieces, "PROOF", 4)
    path, decoded, is_wanted = FILMS["closed groups"].write(tmp_path), [], pieces.Decoder._is_wanted

    def count(self, frame):
        decoded.append(frame.pts)
        return is_wanted(self, frame)

    monkeypatch.setattr(pieces.Decoder, "_is_wanted", count)
    assert len(list(iter_frames(path, 2))) == 8
    assert len(decoded) < 60  # of 100
    assert not reasons


def remuxed(path, output, change):
    """A copy of a file's pictures, each packet changed."""
    with av.open(str(path)) as source, av.open(str(output), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                change(packet)
                target.mux(packet)
    return output


def lie(packet):
    packet.is_keyframe = True


def decoding_order(packet):
    packet.pts = packet.dts


@pytest.mark.parametrize(
    ("change", "reason"), [(lie, None), (decoding_order, "a picture at another time than its packet")]
)
def test_packets_that_lie_move_no_picture(tmp_path, change, reason, reasons):
    path = remuxed(FILMS["closed groups"].write(tmp_path), tmp_path / "lies.mp4", change)
    assert_same(path, 2)
    assert set(reasons) <= {reason}
    assert bool(reasons) == bool(reason)


def test_damage_is_told_as_before_and_the_sound_heard_once(tmp_path, reasons):
    path = damaged(Film(options=B_FRAMES | {"crf": "1"}, gop=10, size=(320, 240)).write(tmp_path))
    found, told, _ = outcome(path, 4)
    assert reasons
    assert "skipped" in told["warnings"][0]
    assert (found, told) == outcome(path, 4, skip=False)[:2]
    assert_same(path, 4)


def test_a_recording_that_begins_within_a_group_is_read_whole(tmp_path, reasons):
    path = Film("film.ts", options=B_FRAMES, gop=20).write(tmp_path)
    content = path.read_bytes()
    begin = len(content) // 3 // 188 * 188
    path.write_bytes(content[: 188 * 3] + content[begin:])
    assert_same(path, 2)
    assert reasons == ["it begins with a picture that refers to others"]


def test_reading_can_be_left_at_any_time(tmp_path):
    frames = iter_frames(FILMS["closed groups"].write(tmp_path), 2)
    next(frames)
    frames.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", FILMS)
def test_table_of_groups(tmp_path, name, monkeypatch):
    path = FILMS[name].write(tmp_path)
    assert_same(path, 0.7, 2, 3.3, 7, 12)
    monkeypatch.setattr(pieces, "PROOF", 4)
    monkeypatch.setattr(pieces, "MOST_PICTURES", 4)
    assert_same(path, 0.7, 2, 3.3, 7, 12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_table_of_kinds(tmp_path, kind):
    assert_same(KINDS[kind].write(tmp_path), 2, 3.3, 7)


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize("name", ["closed groups", "HEVC of open groups", "open groups"])
def test_edit_lists_hide_pictures(tmp_path, name):
    path = FILMS[name].write(tmp_path)
    ffmpeg("-ss", "1.37", "-i", path, "-t", "2", "-c", "copy", tmp_path / "cut.mp4")
    assert_same(tmp_path / "cut.mp4", 2, 3.3, 7)


def key_frames(path, sample_fps=1.0):
    reading = Reading()
    found = list(iter_frames(path, sample_fps, reading, key_frames=True))
    return [time_s for time_s, _ in found], [image.tobytes() for _, image in found], reading.warnings


@pytest.mark.parametrize("name", ["closed groups", "HEVC of open groups"])
def test_key_frames_alone(tmp_path, name):
    path = FILMS[name].write(tmp_path)
    times_s, images, notes = key_frames(path)
    assert times_s == pytest.approx([0.0, 1.6, 2.4, 3.2])  # of key frames each .8 s, the first of each second
    every = dict(iter_frames(path, EVERY))
    assert images == [every[time_s].tobytes() for time_s in times_s]
    assert notes == [f"{path}: key frames alone were looked at."]


@pytest.mark.parametrize("name", ["no key frame after the first", "fields"])
def test_key_frames_that_do_not_do_are_told(tmp_path, name, monkeypatch):
    monkeypatch.setattr(pieces, "MAX_KEY_GAP_S", 2.0)
    path = FILMS[name].write(tmp_path)
    times_s, images, notes = key_frames(path)
    plain = list(iter_frames(path, 1.0))
    assert (times_s, images) == ([time_s for time_s, _ in plain], [image.tobytes() for _, image in plain])
    assert "other pictures were looked at, too" in notes[-1]
