"""Most downloaded videos carry their subtitles inside: the wrong track is the wrong language or only the signs."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from hiersum_hf.datasets.readers.folder import FolderReader
from hiersum_hf.records import Sentence
from hiersum_hf.texts import tracks
from hiersum_hf.texts.find import read_texts
from hiersum_hf.texts.tracks import TO_DO, base_language, embedded_subtitles, subtitle_tracks, text_tracks
from hiersum_hf.video.reader import VideoFile
from tests.makers.ruler import Film


def srt(folder: Path, *texts: str) -> Path:
    """A cue each second from 1 s on, of half a second."""
    path = folder / f"{len(list(folder.iterdir()))}.srt"
    cues = [f"{k}\n00:00:0{k},000 --> 00:00:0{k},500\n{text}\n\n" for k, text in enumerate(texts, 1)]
    path.write_text("".join(cues), encoding="utf-8")
    return path


def pictures(folder: Path) -> Path:
    """A Blu-ray subtitle stream: one composition without objects, one end mark, at 1 s."""
    composition = struct.pack(">HHBHBBBB", 64, 48, 0x10, 0, 0x80, 0, 0, 0)
    parts = [(0x16, composition), (0x80, b"")]
    path = folder / "pictures.sup"
    path.write_bytes(b"".join(b"PG" + struct.pack(">IIBH", 90_000, 0, kind, len(d)) + d for kind, d in parts))
    return path


def video(path: Path, *tracks: tuple, first_frame: int = 0) -> Path:
    """A video at 25 fps with subtitle tracks (file, language, title, flags)."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        sources = [av.open(str(file)) for file, *_ in tracks]
        copies = [target.add_stream_from_template(source.streams[0]) for source in sources]
        for copy, (_, language, title, flags) in zip(copies, tracks, strict=True):
            copy.metadata.update({"language": language} | ({"title": title} if title else {}))
            copy.disposition = flags
        for k in range(first_frame, first_frame + 3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts = k
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
        for source, copy in zip(sources, copies, strict=True):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = copy
                    target.mux(packet)
            source.close()
    return path


EVENTS = "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"


def boxed(path: Path, text: str) -> Path:
    """An .mp4 with a text from 1 to 2 s, its length before it and its style behind it."""
    with av.open(str(path), "w") as target:
        pictures, texts = target.add_stream("mpeg4", rate=25), target.add_mux_stream("mov_text")
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        for k in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts = k
            target.mux(pictures.encode(frame))
        target.mux(pictures.encode(None))
        style = struct.pack(">I4sHHHHBBI", 22, b"styl", 1, 0, 4, 1, 2, 16, 0xFFFFFFFF)
        packet = av.Packet(struct.pack(">H", len(text)) + text.encode() + style)
        packet.stream, packet.time_base = texts, Fraction(1, 1000)
        packet.pts = packet.dts = 1000
        packet.duration = 1000
        target.mux(packet)
    return path


NONE, DEFAULT, FORCED = Disposition(0), Disposition.default, Disposition.forced


@pytest.fixture
def film(tmp_path):
    """German, forced English signs, an empty French track, full English (default), Spanish as pictures."""
    return video(
        tmp_path / "film.mkv",
        (srt(tmp_path, "Guten Tag."), "ger", "Deutsch", NONE),
        (srt(tmp_path, "EXIT"), "eng", "Signs", FORCED),
        (srt(tmp_path, ""), "fre", "", NONE),
        (srt(tmp_path, "Good", "morning.", "Bye."), "eng", "Full", DEFAULT),
        (pictures(tmp_path), "spa", "", NONE),
    )


def test_tracks_are_listed_as_the_file_describes_them(film):
    found = [(t.index, t.language, t.title, t.default, t.forced) for t in text_tracks(film)]
    assert found == [
        (1, "ger", "Deutsch", False, False),
        (2, "eng", "Signs", False, True),
        (3, "fre", "", False, False),
        (4, "eng", "Full", True, False),
    ]
    *_, spanish = subtitle_tracks(film)
    assert str(spanish) == "track 5 (spa, hdmv_pgs_subtitle, not text)"


def test_the_default_track_is_read_as_sentences(film):
    sentences, read, _ = embedded_subtitles(film)
    assert sentences == [Sentence("Good morning.", 1.0, 2.5), Sentence("Bye.", 3.0, 3.5)]
    assert read == f"subtitle track 4 (eng, Full) of {film}"


@pytest.mark.parametrize(
    ("language", "text"),
    [("de", "Guten Tag."), ("deu", "Guten Tag."), ("en", "Good morning."), ("en-GB", "Good morning.")],
)
def test_a_language_is_found_under_each_of_its_codes(film, language, text):
    assert embedded_subtitles(film, language)[0][0].text == text


@pytest.mark.parametrize("language", ["es", "it", "klingon"])
def test_a_missing_language_is_an_error_that_lists_the_others(film, language):
    with pytest.raises(ValueError, match="expected a text track in language") as error:
        embedded_subtitles(film, language)
    for part in (str(film), repr(language), "track 1 (ger, Deutsch)", "track 5 (spa, hdmv_pgs_subtitle, not text)"):
        assert part in str(error.value)


def test_an_empty_track_gives_nothing_and_says_so(film):
    sentences, read, _ = embedded_subtitles(film, "fr")
    assert (sentences, read) == ([], f"{film} has no usable text among subtitle track 3 (fre)")


def test_pictures_and_signs_are_no_subtitles(tmp_path):
    path = video(
        tmp_path / "a.mkv", (pictures(tmp_path), "eng", "", DEFAULT), (srt(tmp_path, "EXIT"), "eng", "", FORCED)
    )
    sentences, read, _ = embedded_subtitles(path)
    found = "no usable text among subtitle track 1 (eng, hdmv_pgs_subtitle, not text), track 2 (eng, forced)"
    assert (sentences, read) == ([], f"{path} has {found}{TO_DO}")


def test_without_a_default_the_first_track_with_text_counts(tmp_path):
    tracks = [(srt(tmp_path, text), "und", "", NONE) for text in ("", "One.", "Two.")]
    path = video(tmp_path / "a.mkv", *tracks)
    assert embedded_subtitles(path) == ([Sentence("One.", 1.0, 1.5)], f"subtitle track 2 (und) of {path}", [])


@pytest.mark.parametrize("title", ["Signs & Songs", ""])
def test_a_default_track_of_signs_is_not_what_is_said(tmp_path, title):
    signs, full = srt(tmp_path, "Ramen"), srt(tmp_path, "What do you want?", "A soup.", "A large one, please.")
    film = video(tmp_path / "ep.mkv", (signs, "eng", title, DEFAULT), (full, "eng", "Full", NONE))
    assert "track 2 (eng, Full)" in embedded_subtitles(film)[1]


def test_the_default_track_counts_where_others_say_little_more(tmp_path):
    plain, deaf = srt(tmp_path, "What do you want?", "A soup."), srt(tmp_path, "What do you want?", "A soup. (laughs)")
    film = video(tmp_path / "ep.mkv", (deaf, "eng", "SDH", NONE), (plain, "eng", "", DEFAULT))
    assert "track 2 (eng)" in embedded_subtitles(film)[1]
    (tmp_path / "more").mkdir()
    commentary = srt(
        tmp_path / "more", "Here we had no money for a set, so we went to my aunt.", "She can be seen there."
    )
    film = video(tmp_path / "more.mkv", (commentary, "eng", "Commentary", NONE), (plain, "eng", "", NONE))
    assert "track 2 (eng)" in embedded_subtitles(film)[1], "others speak there"


def test_a_file_without_tracks_is_no_error_in_any_language(tmp_path):
    path = video(tmp_path / "a.mp4")
    assert embedded_subtitles(path) == embedded_subtitles(path, "en") == ([], f"{path} has no subtitle track", [])


def test_times_count_from_the_first_picture(tmp_path):
    """A recording cut from a longer one starts late; its subtitles must not."""
    path = video(tmp_path / "a.mkv", (srt(tmp_path, "Early.", "One.", "Two."), "eng", "", NONE), first_frame=50)
    times = [(s.start_s, s.end_s) for s in embedded_subtitles(path)[0]]
    assert times == [(-1.0, -0.5), (0.0, 0.5), (1.0, 1.5)]


def test_a_track_goes_on_where_the_recorder_was_off(tmp_path):
    """The pictures of after lunch follow those of before; what is said there must not be hours behind them."""
    times_s = [k / 5 + 7200 * (k > 9) for k in range(20)]
    film = Film("film.mkv", "mpeg4", None, times_s=times_s).write(tmp_path)
    texts = tmp_path / "film.srt"
    texts.write_text("1\n00:00:01,000 --> 00:00:01,500\nBefore.\n\n2\n02:00:03,000 --> 02:00:03,500\nAfter.\n")
    with av.open(str(tmp_path / "both.mkv"), "w") as target, av.open(str(film)) as one, av.open(str(texts)) as other:
        copies = [target.add_stream_from_template(source.streams[0], opaque=True) for source in (one, other)]
        packets = [
            (packet, copy) for source, copy in zip((one, other), copies, strict=True) for packet in source.demux()
        ]
        for packet, copy in sorted(packets, key=lambda pair: (pair[0].pts or 0) * pair[0].time_base):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    sentences, _, _ = embedded_subtitles(tmp_path / "both.mkv")
    assert [one.text for one in sentences] == ["Before.", "After."]
    assert [one.start_s for one in sentences] == pytest.approx([1.0, 2.84], abs=0.01)


def test_rolling_captions_and_styles_inside_a_video(tmp_path):
    rolling = srt(tmp_path, "we are going", "we are going\nhome now", "home now\n{\\an8}<i>by train</i>")
    assert embedded_subtitles(video(tmp_path / "a.mkv", (rolling, "eng", "", NONE)))[0] == [
        Sentence("we are going home now by train", 1.0, 3.5)
    ]


@pytest.mark.parametrize(
    ("name", "head", "codec"), [("a.srt", "1\n", ""), ("a.vtt", "WEBVTT\n\n", ""), ("a.srt", "1\n", "mov_text")]
)
def test_code_and_formulas_of_a_track_are_text(tmp_path, name, head, codec):
    """FFmpeg makes SubStation of every track, in which braces and backslashes are commands."""
    said = r"Open C:\new\home, {name} and {x | x > 0}."
    path = tmp_path / name
    path.write_text(f"{head}00:00:01.000 --> 00:00:02.000\n<i>{said}</i>\n\n")
    film = video(tmp_path / "a.mkv", (path, "eng", "", NONE)) if head else boxed(path, said)
    assert embedded_subtitles(film)[0] == [Sentence(said, 1.0, 2.0)]


def test_codes_of_a_language_are_one_language():
    codes = {"en": "en eng en-US EN", "de": "de deu ger de_AT", "fr": "fra fre", "zh": "chi zho zh-Hant", "und": "und"}
    for language, same in codes.items():
        assert {base_language(tag) for tag in same.split()} == {language}
    assert base_language("English") == "english"


def test_wrong_files_are_named(tmp_path):
    (tmp_path / "text.mp4").write_text("this is not a video")
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        text_tracks(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match=r"text\.mp4: expected a readable video, the decoder said: .*Invalid data"):
        embedded_subtitles(tmp_path / "text.mp4")


def test_a_real_file_with_two_tracks(test_data):
    path = test_data / "video" / "nasa_13013.mp4"
    assert [(t.index, t.language, t.codec) for t in text_tracks(path)] == [
        (2, "eng", "mov_text"),
        (5, "eng", "mov_text"),
    ]
    (first, second), read, _ = embedded_subtitles(path, "en")
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == pytest.approx((0.21, 12.47, 12.47, 16.57))
    assert first.text.startswith("NAR: This is")
    assert first.text.endswith("Greenbelt, Maryland.")
    assert "track 2 (eng)" in read


def test_a_subtitle_file_counts_from_the_start_of_the_container(tmp_path):
    """As every player shows it; 2 s later its sentences would be said over other pictures."""
    film = Film("film.mkv", times_s=[2 + k / 25 for k in range(100)], sound_s=(0.0, 6.0))
    video, file = film.write(tmp_path), tmp_path / "film.srt"
    file.write_text("1\n00:00:03,000 --> 00:00:05,000\nSift the flour.\n")
    for given in (None, file, file.read_text()):
        (sentence,), _, _ = read_texts(VideoFile(video), 4.0, given)
        assert (sentence.start_s, sentence.end_s) == pytest.approx((1.0, 3.0), abs=0.03)
    (sentence,), _, _ = read_texts(video, 4.0, [(3.0, 4.0, "Sift the flour.")])
    assert (sentence.start_s, sentence.end_s) == (3.0, 4.0), "sentences in Python have the pictures' times"


FULL = ("What do you want to eat today?", "A soup with noodles, please.", "A large one for the two of us.")


def beside(folder: Path, name: str, *texts: str) -> Path:
    """A subtitle file beside the videos of the folder, written like the others."""
    (folder / "made").mkdir(exist_ok=True)
    return srt(folder / "made", *texts).rename(folder / name)


@pytest.mark.parametrize(
    ("name", "texts", "language", "first"),
    [
        ("ep.forced.en.srt", ["Ramen"], None, "What"),
        ("ep.signs.srt", ["Ramen", "EXIT"], None, "What"),
        ("ep.srt", ["Ramen"], None, "What"),  # by what it holds alone
        ("ep.en.forced.srt", ["Ramen"], "en", "What"),
        ("ep.de.forced.srt", ["Nudeln"], "de", "Nudeln"),  # no German track is there
        ("ep.de.forced.srt", ["Nudeln"], None, "What"),
        ("ep.forced.srt", [text + " And more." for text in FULL], None, "And more."),
        ("ep.en.srt", ["What do we eat?", "A soup, I guess, and noodles.", "For us two."], None, "What do we"),
    ],
)
def test_a_file_of_foreign_lines_does_not_hide_a_full_track(tmp_path, name, texts, language, first):
    film = video(tmp_path / "ep.mkv", (srt(tmp_path, *FULL), "eng", "", NONE))
    file = beside(tmp_path, name, *texts)
    sentences, _, notes = read_texts(film, 30.0, language=language)
    assert sentences[0].text.startswith(first) or sentences[1].text == first
    told = [note for note in notes if f"{name}, found beside the video, is passed over: it holds" in note]
    read = sum(len(sentence.text) for sentence in sentences)
    assert bool(told) == (first == "What")
    assert all(f"subtitle track 1 (eng) of {film} {read}." in note for note in told)
    assert file.exists()


def test_a_full_file_beside_the_video_comes_before_foreign_lines_without_a_mark(tmp_path):
    film = video(tmp_path / "ep.mkv")
    for name, texts in (("ep.srt", ["Ramen"]), ("ep.en.srt", FULL), ("ep.fr.srt", FULL[:2])):
        beside(tmp_path, name, *texts)
    sentences, _, notes = read_texts(film, 30.0)
    assert [sentence.text for sentence in sentences] == [*FULL]
    assert "Read from ep.en.srt, found beside the video." in notes
    assert "ep.srt, found beside the video, is passed over: it holds 5 letters, ep.en.srt 88." in notes


def test_little_speech_stays_where_nothing_else_holds_more(tmp_path):
    film = video(tmp_path / "ep.mkv", (srt(tmp_path, "EXIT"), "eng", "", FORCED))
    beside(tmp_path, "ep.srt", "Ramen")
    sentences, _, notes = read_texts(film, 30.0)
    assert [sentence.text for sentence in sentences] == ["Ramen"]
    assert notes == ["Read from ep.srt, found beside the video."]


def test_foreign_lines_alone_are_told(tmp_path, caplog):
    film = video(tmp_path / "ep.mkv")
    beside(tmp_path, "ep.en.forced.srt", "Ramen")
    sentences, _, notes = read_texts(film, 30.0)
    assert [sentence.text for sentence in sentences] == ["Ramen"]
    (told,) = [note for note in notes if note.startswith("ep.en.forced.srt: foreign lines or signs alone")]
    assert "nothing fuller was found" in told
    assert len(FolderReader(tmp_path).sentences("ep")) == 1
    assert told in caplog.text


def test_a_prepared_folder_takes_the_full_track_too(tmp_path, caplog):
    video(tmp_path / "ep.mkv", (srt(tmp_path, *FULL), "eng", "", NONE))
    for stray in tmp_path.glob("[0-9].srt"):
        stray.unlink()
    beside(tmp_path, "ep.forced.srt", "Ramen")
    assert [sentence.text for sentence in FolderReader(tmp_path).sentences("ep")] == [*FULL]
    assert "ep.forced.srt, found beside the video, is passed over" in caplog.text


def test_lost_cues_of_a_track_are_counted_in_the_notes(tmp_path):
    path = tmp_path / "cues.ass"
    lines = [
        f"Dialogue: 0,0:00:0{k}.00,0:00:0{k}.50,Default,,0,0,0,,{text}\n" for k, text in [(1, "One."), (2, "Two.")]
    ]
    path.write_text(f"[Script Info]\n\n[Events]\n{EVENTS}\n{''.join(lines)}")
    film = video(tmp_path / "a.mkv", (path, "eng", "", NONE))
    read = tracks._event
    late = lambda line, begin, end: read(line, begin, begin - 500 if "Two" in line else end)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracks, "_event", late)
        path.unlink()
        sentences, _, notes = read_texts(film, 3.0)
    assert [sentence.text for sentence in sentences] == ["One."]
    lost = "1 of 2 cues without times that can be read, the first 'from 2.0 s to 1.5 s: Two.': left out."
    assert notes[:2] == [f"Subtitles read from subtitle track 1 (eng) of {film}.", f"{film}, track 1 (eng): {lost}"]
