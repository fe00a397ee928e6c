"""Sentences and texts are the child and the parent level: what is lost or moved here no model can make good."""

import json
import os
from pathlib import Path

import pysubs2
import pytest

from hiersum_hf.records import Sentence
from hiersum_hf.texts import subtitles
from hiersum_hf.texts.subtitles import (
    as_description,
    as_sentences,
    fit_to_video,
    read_description,
    read_subtitles,
    write_srt,
)


FRENCH = "1\n00:00:01,000 --> 00:00:02,500\nÀ côté de la fenêtre, le garçon rêve déjà.\n"
DATA = os.environ.get("HIERSUM_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="HIERSUM_TEST_DATA is not set: no real subtitle files")


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def texts(sentences: list[Sentence]) -> list[str]:
    return [sentence.text for sentence in sentences]


@needs_data
def test_real_file_gives_whole_sentences_with_their_times():
    first, second = read_subtitles(Path(DATA) / "video" / "nasa_13013.srt")
    assert first.text.startswith("NAR: This is the optical and science segment of the Webb space telescope in one of")
    assert first.text.endswith("at NASA’s Goddard Space Flight Center in Greenbelt, Maryland.")
    assert (first.start_s, first.end_s) == (0.21, 12.47)
    assert (second.start_s, second.end_s) == (12.47, 16.57)


def test_tags_empty_cues_white_space_and_order(tmp_path):
    path = write(
        tmp_path,
        "a.srt",
        "1\r\n00:00:05,000 --> 00:00:06,000\r\n<i>Second</i>\r\n   line.\r\n\r\n"
        "2\r\n00:00:03,000 --> 00:00:04,000\r\n\r\n"
        "3\r\n00:00:01,000 --> 00:00:02,000\r\n{\\an8}<font color=red>First &amp; only.</font>\r\n",
    )
    assert read_subtitles(path) == [Sentence("First & only.", 1.0, 2.0), Sentence("Second line.", 5.0, 6.0)]


def test_webvtt_notes_styles_and_cue_names_do_not_enter_the_text(tmp_path):
    path = write(
        tmp_path,
        "a.vtt",
        "WEBVTT - title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nintro\n00:01.000 --> 00:02.000 align:start\n"
        "<v Ann>Good morning.\n\nNOTE a comment\n\nouttro\n01:00:03.000 --> 01:00:04.500\nGood &lt;night&gt;!\n",
    )
    assert read_subtitles(path) == [Sentence("Ann: Good morning.", 1.0, 2.0), Sentence("Good <night>!", 3603.0, 3604.5)]


def test_automatic_captions_say_everything_once(tmp_path):
    """Rolling captions repeat each line and time each word; read naively the text comes three times."""
    path = write(
        tmp_path,
        "auto.en.vtt",
        "WEBVTT\nKind: captions\nLanguage: en\n\n"
        "00:00:00.160 --> 00:00:02.389 align:start position:0%\n \n"
        "we<00:00:00.320><c> are</c><00:00:01.000><c> going</c>\n\n"
        "00:00:02.389 --> 00:00:02.399 align:start position:0%\nwe are going\n \n\n"
        "00:00:02.399 --> 00:00:04.000 align:start position:0%\nwe are going\nhome<00:00:02.500><c> now</c>\n\n"
        "00:00:04.000 --> 00:00:04.010 align:start position:0%\nhome now\n \n",
    )
    assert read_subtitles(path) == [Sentence("we are going home now", 0.16, 4.0)]


def test_substation_gives_what_is_spoken(tmp_path):
    """Fansubs draw signs, animate songs syllable by syllable and put a line on two layers for its glow."""
    events = [
        "Comment: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,not spoken",
        "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\b1}Hello\\Nthere.{a note}",
        "Dialogue: 1,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\blur3}Hello\\Nthere.",
        "Dialogue: 0,0:00:02.00,0:00:03.00,Sign,,0,0,0,,{\\p1}m 0 0 l 100 0 100 100{\\p0}",
        "Comment: 0,0:00:04.00,0:00:06.00,Song,,0,0,0,karaoke,{\\k50}la{\\k50}li",
        "Dialogue: 0,0:00:04.00,0:00:05.00,Song,,0,0,0,fx,{\\pos(1,2)}la",
        "Dialogue: 0,0:00:07.00,0:00:09.00,Song,,0,0,0,,{\\k20}Come {\\kf30}with{\\h} me.",
    ]
    path = write(
        tmp_path,
        "a.ass",
        "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\n\n[Events]\n"
        "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n" + "\n".join(events) + "\n",
    )
    expected = [Sentence("Hello there.", 1.0, 2.0), Sentence("Come with me.", 7.0, 9.0)]
    assert read_subtitles(path) == as_sentences(path.read_text()) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"])
def test_any_encoding_gives_the_same_text(tmp_path, encoding):
    """Wrong accents change the words that the text encoder sees."""
    path = write(tmp_path, "a.srt", FRENCH.encode(encoding))
    assert texts(read_subtitles(path)) == ["À côté de la fenêtre, le garçon rêve déjà."]


@pytest.mark.parametrize(
    ("text", "encoding"), [("Привет, как дела? Хорошо", "cp1251"), ("今日はとてもいい天気ですね。", "shift_jis")]
)
def test_other_scripts_are_recognised(tmp_path, text, encoding):
    path = write(tmp_path, "a.srt", f"1\n00:00:01,000 --> 00:00:02,500\n{text}\n".encode(encoding))
    assert " ".join(texts(read_subtitles(path))) == text


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "an empty file"),
        ("just some notes\n", "'just some notes'"),
        (bytes(range(256)) * 8, "no text in any known encoding. Give a file that holds text"),
        (b"PK\x03\x04" + bytes(range(256)) * 4, "Unpack it: it is an archive."),
        (b"PG\0\0\x10\0" + bytes(200), "It holds pictures of text"),
        ("{25}{50}Hello.\n{60}{70}Bye.\n", "MicroDVD without its frame rate. Put a line {1}{1}25.0 before it"),
        ("<!DOCTYPE html>\n<html><body>Not found</body></html>\n", "a web page. Save the subtitles"),
        ("2\n00:00:05,000 --> 00:00:04,000\nBack.\n", "1 of 1 cues without times"),
    ],
)
def test_a_wrong_file_is_named_with_what_was_found(tmp_path, content, found):
    path = write(tmp_path, "bad.srt", content)
    with pytest.raises(ValueError, match="expected") as error:
        read_subtitles(path)
    assert str(path) in str(error.value)
    assert found in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.srt"):
        read_subtitles(tmp_path / "none.srt")


def test_a_file_without_speech_is_empty_not_an_error(tmp_path):
    assert read_subtitles(write(tmp_path, "a.vtt", "WEBVTT\n\n")) == []


def test_written_subtitles_read_back(tmp_path):
    sentences = [Sentence("Один.", 0.0, 1.25), Sentence("Two\nlines.", 3599.9996, 3661.007)]
    write_srt(sentences, tmp_path / "out.srt")
    assert "01:00:00,000 --> 01:01:01,007" in (tmp_path / "out.srt").read_text(encoding="utf-8")
    assert texts(read_subtitles(tmp_path / "out.srt")) == ["Один.", "Two lines."]


def test_what_no_sentence_needs_is_not_given_to_the_parser(tmp_path, monkeypatch):
    """It fails at broken styles, and takes long for what is longer than any honest head or cue."""
    given, parse = [], pysubs2.SSAFile.from_string
    monkeypatch.setattr(pysubs2.SSAFile, "from_string", lambda text: given.append(text) or parse(text))
    spoken = "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,Hello"
    lines = ("[Script Info]", "[V4+ Styles]", "Style: Default,Arial,20,,", "[aside", "[Events]", spoken)
    assert [s.text for s in read_subtitles(write(tmp_path, "a.ass", "\n".join(lines)))] == ["Hello"]
    assert given == [f"[V4+ Styles]\n[Events]\n{spoken}"]


@pytest.mark.parametrize(
    ("text", "read"), [("{a}{b}Hello", "Hello"), ("{{{Hello", "Hello"), ("{a}{b}{c}Hi", "a}b}c}Hi")]
)
def test_cues_of_countless_tags_have_none(tmp_path, monkeypatch, text, read):
    monkeypatch.setattr(subtitles, "MAX_BRACES", 2)
    spoken = f"Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{text}"
    path = write(tmp_path, "a.ass", f"[Script Info]\n\n[V4+ Styles]\n\n[Events]\n{spoken}\n")
    assert [s.text for s in read_subtitles(path)] == [read]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "Title\n\n  step  one \n", ("Title", "step one")),
        ("a.json", '["a", " ", "b"]', ("a", "b")),
        (
            "a.json",
            '{"steps": ["s", {"text": "t"}], "title": "T", "description": "D", "views": 3}',
            ("T", "D", "s", "t"),
        ),
        (
            "a.json",
            '{"video_url": "u", "10": {"text": "x"}, "2": {"text": "ii"}, "1": {"text": "i"}, "%s": "far"}'
            % ("9" * 9999),
            ("i", "ii", "x"),
        ),
    ],
)
def test_descriptions_in_every_form(tmp_path, name, content, expected):
    assert read_description(write(tmp_path, name, content)) == expected


def test_description_in_a_legacy_encoding(tmp_path):
    assert read_description(write(tmp_path, "a.txt", "Crème brûlée à la maison\n".encode("cp1252"))) == (
        "Crème brûlée à la maison",
    )


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.json", "{oops", "{oops"),
        ("a.json", "3", "found int"),
        ("a.json", json.dumps([1, "a"]), "[1, 'a']"),
        ("a.json", json.dumps({"steps": 4}), "[4]"),
        ("a.json", json.dumps({"1": {"img": "x"}}), "img"),
        ("a.json", json.dumps({"views": 3}), "found none"),
        ("a.txt", " \n", "found none"),
        ("a.docx", "x", "found '.docx'"),
    ],
)
def test_a_wrong_description_is_named_with_what_was_found(tmp_path, name, content, found):
    path = write(tmp_path, name, content)
    with pytest.raises(ValueError, match="expected") as error:
        read_description(path)
    assert str(path) in str(error.value)
    assert found in str(error.value)


SAID = [Sentence("Cut the leek.", 1.0, 4.0), Sentence("Serve.", 10.0, 12.5)]


def test_subtitles_in_every_form_are_the_same_sentences(tmp_path):
    path = tmp_path / "a.srt"
    write_srt(SAID, path)
    vtt = "\ufeffWEBVTT\r\n\r\n00:01.000 --> 00:04.000\r\nCut the leek.\r\n\r\n00:10.000 --> 00:12.500\r\nServe.\r\n"
    tuples = [(s.start_s, s.end_s, f" {s.text}\n") for s in reversed(SAID)]
    dicts = [
        {"start": 10, "end": 12.5, "text": "Serve."},
        {"start_s": 1, "end_s": 4, "text": "Cut the  leek.", "id": 0},
    ]
    for value in (path, str(path), path.read_text(), vtt, SAID, iter(SAID), [*tuples, (5.0, 6.0, " ")], dicts):
        assert as_sentences(value) == SAID
    assert as_sentences([]) == []


@pytest.mark.parametrize(
    ("value", "error", "found"),
    [
        ("none.srt", FileNotFoundError, "none.srt: expected a subtitle file"),
        ("just\nnotes", ValueError, "the subtitle text: expected a subtitle file"),
        ([(0, 1, "a"), (2, "b", 3)], ValueError, "Sentence 2: expected (start_s, end_s, text)"),
        ([(0, float("nan"), "a")], ValueError, "nan"),
        ([(3, 1, "a")], ValueError, "Sentence 1: expected an end after its start"),
        (["Cut the leek."], ValueError, "'Cut the leek.'"),
        ([{"start": 1, "text": "a"}], ValueError, "{'start': 1, 'text': 'a'}"),
    ],
)
def test_what_is_no_subtitles_is_named(value, error, found):
    with pytest.raises(error) as raised:
        as_sentences(value)
    assert found in str(raised.value)


def test_descriptions_in_every_form_are_the_same_texts(tmp_path):
    path = write(tmp_path, "a.json", '{"title": "Leek", "steps": ["Cut it.", {"text": "Serve  it."}]}')
    lines, steps = "Leek\r\nCut it.\n\nServe it.", ["Leek", "Cut it.", {"text": "Serve it."}]
    values = (path, str(path), path.read_text(), json.loads(path.read_text()), lines, steps, tuple(steps))
    for value in values:
        assert as_description(value) == ("Leek", "Cut it.", "Serve it.")
    assert as_description("[Music] How to cook a leek") == ("[Music] How to cook a leek",)


@pytest.mark.parametrize(
    ("value", "error", "found"),
    [
        ("none.txt", FileNotFoundError, "none.txt"),
        ("  ", ValueError, "the description: expected at least one text"),
        ('{"title": ', ValueError, "the description: expected JSON"),
        (["Leek", 3], ValueError, "['Leek', 3]"),
        (3, ValueError, "found int"),
    ],
)
def test_what_is_no_description_is_named(value, error, found):
    with pytest.raises(error) as raised:
        as_description(value)
    assert found in str(raised.value)


def test_sentences_within_the_video_stay_as_they_are():
    assert fit_to_video(SAID, 12.5, "a.srt") == (tuple(SAID), [])
    assert fit_to_video([], 12.5, "a.srt") == ((), [])
    cut, warnings = fit_to_video(SAID, 12.0, "a.srt")  # half a second on screen after the end is usual
    assert (cut[-1], warnings) == (Sentence("Serve.", 10.0, 12.0), [])


def test_subtitles_longer_than_the_video_are_cut_and_the_offset_is_said():
    kept, warnings = fit_to_video([*SAID, Sentence("Bye.", 20.0, 21.0)], 11.0, "a.srt")
    assert kept == (SAID[0], Sentence("Serve.", 10.0, 11.0))
    (warning,) = warnings
    assert warning.startswith("a.srt: the last subtitle ends 10.0 s after the video, 1 of 3 sentences lie outside")
    (warning,) = fit_to_video(SAID, 10.5, "a.srt")[1]
    assert warning.startswith("a.srt: the last subtitle ends 2.0 s after the video: are they shifted by that")


def test_negative_times_are_cut_and_the_offset_is_said():
    early = [Sentence("Hello.", -9.0, -5.0), Sentence("So.", -1.0, 2.0), *SAID]
    kept, warnings = fit_to_video(early, 20.0, "a.srt")
    assert kept == (Sentence("So.", 0.0, 2.0), *SAID)
    (warning,) = warnings
    assert warning.startswith("a.srt: the first subtitle begins 9.0 s before the video, 1 of 4 sentences lie outside")


@pytest.mark.parametrize(
    ("shift_s", "hint"),
    [
        (3600.0, "Moved by -3600.0 s they would fit."),  # broadcasts start their clock at a whole hour
        (100.0, "Moved by -92.5 s they would fit."),  # the least: the last one then ends with the video
        (-60.0, "Moved by +59.0 s they would fit."),
    ],
)
def test_subtitles_all_outside_are_refused_with_the_shift_that_would_help(shift_s, hint):
    moved = [Sentence(s.text, s.start_s + shift_s, s.end_s + shift_s) for s in SAID]
    with pytest.raises(ValueError, match=r"a\.srt: expected sentences within the 20\.00 s of the video") as error:
        fit_to_video(moved, 20.0, "a.srt")
    assert str(error.value).endswith(f"'Cut the leek.'. Are they shifted? {hint}")


def test_subtitles_of_another_video_are_refused():
    with pytest.raises(ValueError, match="Do these subtitles belong to this video"):
        fit_to_video([Sentence("a", 30.0, 31.0), Sentence("b", 90.0, 91.0)], 20.0, "a.srt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", {"segments": [{"start": 0, "end": 1, "text": "Cut."}, {"start": 2, "end": 1e308, "text": "No."}]}),
        ("a.json3", {"wireMagic": "pb3", "events": [
            {"tStartMs": 0, "dDurationMs": 1000, "segs": [{"utf8": "Cut."}]},
            {"tStartMs": 10**400, "dDurationMs": 1000, "segs": [{"utf8": "No."}]}]}),
    ],
)  # fmt: skip
def test_times_that_no_film_has_are_left_out(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(json.dumps(content))
    assert read_subtitles(path) == [Sentence("Cut.", 0.0, 1.0)]


def test_a_cue_of_many_braces_is_no_drawing(monkeypatch):
    """They are taken away before pysubs2 1.8 looks at the cue, for which it can take long."""
    monkeypatch.setattr(subtitles, "MAX_BRACES", 2)
    drawing = pysubs2.SSAEvent(500, 1500, text=r"{\p1}{a}{b}Cut it.")
    (cue,) = subtitles._cues_of_events([drawing]).cues
    assert cue.text.endswith("Cut it.")
    seen = []
    monkeypatch.setattr(pysubs2.SSAEvent, "plaintext", property(lambda event: seen.append(event.text) or event.text))
    subtitles._others("00:00:01:{a}{b}{c}Cut it.\n00:00:05:Glue it.\n", "a.txt")
    assert seen == ["a}b}c}Cut it.", "Glue it."]
