"""Sentences and texts are the child and the parent level: what is lost or moved here no model can make good."""

import json
import os
from pathlib import Path

import pytest

from hiersum_hf.records import Sentence
from hiersum_hf.subtitles import merge_into_sentences, read_description, read_subtitles, write_srt


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
    assert read_subtitles(path) == [Sentence("Good morning.", 1.0, 2.0), Sentence("Good <night>!", 3603.0, 3604.5)]


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


def test_substation_comes_free(tmp_path):
    path = write(
        tmp_path,
        "a.ass",
        "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\n\n[Events]\n"
        "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
        "Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,not spoken\n"
        "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\b1}Hello\\Nthere.\n",
    )
    assert read_subtitles(path) == [Sentence("Hello there.", 1.0, 2.0)]


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
        (bytes(range(256)) * 8, "no text in any known encoding"),
        (
            "1\n00:00:01,000 --> 00:00:02,000\nFine.\n\n2\n00:00:05,000 --> 00:00:04,000\nBack.\n",
            "cue 2 from 5.0 s to 4.0 s",
        ),
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


def test_fragments_are_joined_until_the_full_stop():
    cues = [
        Sentence("We cut", 0.0, 1.0),
        Sentence("the wood", 1.0, 2.0),
        Sentence("now.”", 2.5, 3.0),
        Sentence("Then", 3.0, 4.0),
    ]
    assert merge_into_sentences(cues) == [Sentence("We cut the wood now.”", 0.0, 3.0), Sentence("Then", 3.0, 4.0)]


def test_pause_speaker_and_length_end_a_sentence():
    pause = [Sentence("one", 0.0, 1.0), Sentence("two", 2.0, 3.0), Sentence("three", 4.5, 5.0)]
    assert texts(merge_into_sentences(pause)) == ["one two", "three"]  # 1.0 s is no pause yet, 1.5 s is
    speakers = [Sentence("and", 0, 1), Sentence("- no", 1, 2), Sentence(">> yes", 2, 3), Sentence("JO ANN: so", 3, 4)]
    assert texts(merge_into_sentences(speakers)) == ["and", "- no", ">> yes", "JO ANN: so"]
    unpunctuated = [Sentence(f"w{second}", second, second + 1.0) for second in range(40)]
    assert [(s.start_s, s.end_s) for s in merge_into_sentences(unpunctuated)] == [(0, 15), (15, 30), (30, 40)]


def test_a_cue_with_two_sentences_shares_its_time_by_characters():
    cue = Sentence("Stop here.  Now go on, please!", 10.0, 13.0)  # 10 and 18 characters of 28
    first, second = merge_into_sentences([cue])
    assert (first.text, first.start_s, second.text, second.end_s) == ("Stop here.", 10.0, "Now go on, please!", 13.0)
    assert first.end_s == second.start_s == pytest.approx(10.0 + 3.0 * 10 / 28)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Smith met J. Doe at 3.5 km, e.g. here.", 1),
        ("Wait... what? No!", 2),
        ("“Is it?” she said. “Yes.” Fine", 3),
        ("你好。再见！", 2),
        ("Well… Really?!", 2),
    ],
)
def test_where_sentences_end_inside_a_cue(text, expected):
    sentences = merge_into_sentences([Sentence(text, 0.0, 1.0)])
    assert len(sentences) == expected
    assert "".join(texts(sentences)).replace(" ", "") == text.replace(" ", "")


def test_written_subtitles_read_back(tmp_path):
    sentences = [Sentence("Один.", 0.0, 1.25), Sentence("Two\nlines.", 3599.9996, 3661.007)]
    write_srt(sentences, tmp_path / "out.srt")
    assert "01:00:00,000 --> 01:01:01,007" in (tmp_path / "out.srt").read_text(encoding="utf-8")
    assert texts(read_subtitles(tmp_path / "out.srt")) == ["Один.", "Two lines."]


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
            '{"video_url": "u", "10": {"text": "x"}, "2": {"text": "ii"}, "1": {"text": "i"}}',
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
