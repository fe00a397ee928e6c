"""American broadcasts have their captions inside the pictures: without them nothing that is said is known."""

from fractions import Fraction

import av
import pytest

from hiersum_hf.texts.captions import closed_captions
from hiersum_hf.texts.find import read_texts
from hiersum_hf.texts.tracks import embedded_subtitles
from hiersum_hf.video.reader import probe
from tests.makers.captions import captioned, codes
from tests.makers.ruler import Film


NTSC = Fraction(30000, 1001)
PLAIN = {"preset": "ultrafast", "bf": "2"}
MPEG2 = {"codec": "mpeg2video", "sound": "mp2", "options": {"bf": "2"}}
SHOWN = {0: "Hello there, everybody.", 60: "Today we repair a lamp.", 120: "First pull the plug."}


@pytest.mark.parametrize("rolls", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "film",
    [
        Film("film.ts", rate=NTSC, count=180, size=(64, 48), options=PLAIN),
        pytest.param(Film("film.mp4", rate=NTSC, count=180, options=PLAIN), marks=pytest.mark.slow),
        pytest.param(Film("film.mkv", rate=NTSC, count=180, options=PLAIN), marks=pytest.mark.slow),
        pytest.param(Film("film.ts", rate=NTSC, count=180, **MPEG2), marks=pytest.mark.slow),
        pytest.param(Film("film.mpg", rate=NTSC, count=180, **MPEG2), marks=pytest.mark.slow),
        pytest.param(Film("film.ts", rate=25, count=180, options=PLAIN), marks=pytest.mark.slow),
    ],
    ids=lambda film: f"{film.name} of {film.codec} at {float(film.rate):.4g}",
)
def test_captions_in_the_pictures_are_read(tmp_path, film, rolls):
    path = captioned(tmp_path, film, SHOWN, rolls)
    sentences, _, notes = read_texts(path, probe(path).duration_s)
    assert [one.text for one in sentences] == [*SHOWN.values()]
    sent_s = [number / float(film.rate) for number in SHOWN]
    assert [one.start_s for one in sentences] == pytest.approx(sent_s, abs=0.8), "a code a picture"
    assert notes[0] == f"Subtitles read from the closed captions in the pictures of {path}."


def test_captions_of_joined_broadcasts_follow_each_other(tmp_path):
    film = Film("film.ts", rate=NTSC, count=90, options=PLAIN, sound=None)
    for number, text in enumerate(["Before the break.", "After the break."]):
        captioned(tmp_path, film, {0: text}).rename(tmp_path / f"{number}.ts")
    path = tmp_path / "both.ts"
    path.write_bytes((tmp_path / "0.ts").read_bytes() + (tmp_path / "1.ts").read_bytes())
    sentences, _, _ = closed_captions(path)
    assert [(one.text, one.start_s) for one in sentences] == [
        ("Before the break.", pytest.approx(0.5, abs=0.3)),
        ("After the break.", pytest.approx(3.5, abs=0.3)),
    ]


def test_captions_of_another_kind_are_told(tmp_path):
    path = captioned(tmp_path, Film("film.ts", rate=NTSC, count=60, options=PLAIN, sound=None), {}, digital=True)
    _, _, notes = read_texts(path, 2.0)
    assert notes[0] == (
        f"the closed captions in the pictures of {path} are of a kind that is not read. Extract them: "
        'ccextractor "film.ts" -o "film.srt".'
    )


def test_pictures_without_captions_are_not_read_for_them(tmp_path, monkeypatch):
    path = Film("film.ts", count=10, options=PLAIN, sound=None).write(tmp_path)
    monkeypatch.setattr("hiersum_hf.texts.captions.readable_packets", None)
    assert closed_captions(path) == ([], "", [])
    empty = captioned(tmp_path, Film("film.mp4", rate=NTSC, count=30, options=PLAIN, sound=None), {})
    monkeypatch.undo()
    assert closed_captions(empty) == ([], f"the closed captions in the pictures of {empty}", [])


def test_captions_of_a_track_of_their_own_are_there_while_they_are_shown(tmp_path):
    """Editors put them into a track of a .mov; FFmpeg gives each text when it goes, and the last one never."""
    sent = {number + k: pair for number, text in SHOWN.items() for k, pair in enumerate(codes(text))}
    film = Film("film.mov", "mpeg4", None, rate=NTSC, count=180).write(tmp_path)
    with av.open(str(film)) as source, av.open(str(tmp_path / "both.mov"), "w") as target:
        pictures = target.add_stream_from_template(source.streams[0])
        track = target.add_mux_stream("eia_608")
        for number, packet in enumerate(packet for packet in source.demux() if packet.size):
            packet.stream = pictures
            target.mux(packet)
            code = av.Packet(bytes([0xFC, *sent.get(number, (0x80, 0x80))]))
            code.pts = code.dts = number
            code.duration, code.time_base, code.stream = 1, 1 / NTSC, track
            target.mux(code)
    sentences, source, _ = embedded_subtitles(tmp_path / "both.mov")
    assert [one.text for one in sentences] == [*SHOWN.values()]
    assert [one.start_s for one in sentences] == pytest.approx([0.6, 2.6, 4.6], abs=0.3)
    assert source.startswith("subtitle track 1")
