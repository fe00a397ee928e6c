"""What lies beside a video is its own only if its name and its content say so."""

import json
import os
from pathlib import Path

import pytest

from hiersum_hf.records import Sentence
from hiersum_hf.texts.downloaded import lines_about
from hiersum_hf.texts.find import read_tags, read_texts, side_files
from hiersum_hf.texts.subtitles import write_srt


SAID = [Sentence(f"Sentence number {k} is said.", 2.0 * k, 2.0 * k + 2) for k in range(5)]


def lay(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_text("")
    return [file.name for file in side_files(folder / "talk.mp4").get("subtitles", ())]


@pytest.fixture
def talk(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "hiersum_hf.texts.find.embedded_subtitles", lambda *_: ([], "talk.mp4 has no subtitle track", [])
    )
    return tmp_path / "talk.mp4"


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("", ("", 0)),
        ("en", ("en", 0)),
        ("zh-Hans", ("zh-Hans", 0)),
        ("en.sdh", ("en", 1)),
        ("en.hi", ("en", 1)),
        ("hi", ("hi", 0)),
        ("forced", ("", 2)),
        ("Forced.ger", ("ger", 2)),
        ("en-US.orig", ("en-US", 0)),
        ("de-orig", ("de", 0)),
        ("und", ("", 0)),
        ("2", None),
        ("v2", None),
        ("final", None),
        ("live_chat", None),
        ("en.2", None),
        ("en.de", None),
    ],
)
def test_tags_are_languages_or_marks(words, read):
    assert read_tags(words) == read


def test_the_subtitles_of_a_sibling_are_its_own(tmp_path):
    assert lay(tmp_path, "talk.mp4", "talk.2.mp4", "talk.2.srt", "talk.v3.srt", "talks.en.srt") == []
    assert lay(tmp_path, "talk.it.mkv", "talk.it.srt", "talk.it.en.srt") == [], "a video may be named like a language"
    assert lay(tmp_path, "talk.en.srt") == ["talk.en.srt"]


def test_the_fullest_subtitles_come_first(tmp_path):
    names = lay(
        tmp_path, "talk.forced.srt", "talk.en.forced.srt", "talk.de.srt", "talk.en.sdh.srt", "talk.en-US.orig.vtt"
    )
    assert names == ["talk.en-US.orig.vtt", "talk.en.sdh.srt", "talk.de.srt", "talk.forced.srt", "talk.en.forced.srt"]


@pytest.mark.parametrize("suffix", ["ttml", "sbv", "json3", "srv3", "lrc", "tsv", "SRV1"])
def test_other_forms_of_subtitles_are_found(tmp_path, suffix):
    assert lay(tmp_path, f"talk.en.{suffix}") == [f"talk.en.{suffix}"]


def test_a_language_that_is_not_there_is_refused_or_noted(talk, monkeypatch):
    for tag in ("de", "en"):
        write_srt(SAID, talk.with_suffix(f".{tag}.srt"))
    with pytest.raises(ValueError, match=r"language 'fr' beside it, found talk\.de\.srt, talk\.en\.srt\. Name"):
        read_texts(talk, 10.0, language="fr")
    monkeypatch.setattr("hiersum_hf.texts.speech.transcribe", lambda *_: [])
    assert any("talk.de.srt, talk.en.srt" in n for n in read_texts(talk, 10.0, language="fr", transcribe="tiny")[2])
    assert len(read_texts(talk, 10.0, language="ger")[0]) == 5


def test_the_next_file_is_read_where_the_first_is_none(talk):
    talk.with_suffix(".srt").write_text("nothing")
    write_srt(SAID, talk.with_suffix(".en.srt"))
    sentences, _, notes = read_texts(talk, 10.0)
    assert len(sentences) == 5
    assert "talk.srt, found beside the video, is not used" in notes[0]
    assert notes[1] == "Read from talk.en.srt, found beside the video."


def test_a_transcript_is_no_description(talk):
    """Programs that recognise speech leave NAME.txt beside NAME.srt, with other line ends."""
    write_srt(SAID, talk.with_suffix(".srt"))
    talk.with_suffix(".txt").write_text(
        "Sentence number 0 is said. Sentence number 1\nis said. Sentence number 2 is said. "
    )
    _, texts, notes = read_texts(talk, 10.0)
    assert texts == ()
    assert any(
        "talk.txt, found beside the video, is not used: expected texts about the video" in note for note in notes
    )
    talk.with_suffix(".json").write_text('{"title": "How sentences are counted", "steps": ["Say one", "Say another"]}')
    assert read_texts(talk, 10.0)[1][0] == "How sentences are counted", "the next file is asked"
    assert len(read_texts(talk, 10.0, description=talk.with_suffix(".txt"))[1]) == 2, "what is asked for is read"


@pytest.mark.parametrize("about", ["Sentence number 3 is said.", "A lesson on numbers", "Zahlen"])
def test_a_title_that_is_spoken_too_is_a_description(talk, about):
    write_srt(SAID, talk.with_suffix(".srt"))
    talk.with_suffix(".txt").write_text(about)
    assert read_texts(talk, 10.0)[1] == (about,)


def test_a_track_that_is_no_text_is_told(talk, monkeypatch):
    told = "talk.mp4 has no usable text among subtitle track 2 (eng, dvb_subtitle, not text)"
    monkeypatch.setattr("hiersum_hf.texts.find.embedded_subtitles", lambda *_: ([], told, []))
    assert f"{told}." in read_texts(talk, 10.0)[2]


INFO = {
    "title": "How to cook a leek",
    "description": "Cook it well.\nAll recipes: https://a.example/leek\nhttps://shop.example\n0:00 Intro\n0:05 Cut",
    "chapters": [{"title": "<Untitled Chapter 1>"}, {"title": "Cut"}, {"title": "Serve"}],
    "heatmap": None,
}
ABOUT = ("How to cook a leek", "Cook it well.", "All recipes:", "Intro", "<Untitled>", "Cut", "Serve")


def test_what_a_downloader_leaves_describes_the_video(tmp_path, monkeypatch):
    monkeypatch.setattr("hiersum_hf.texts.find.embedded_subtitles", lambda *_: ([], "it has no subtitle track", []))
    video = tmp_path / "How to cook a leek [abc123def45].mp4"
    told = tuple(text for text in ABOUT if text != "<Untitled>")
    (tmp_path / f"{video.stem}.description").write_text(INFO["description"])
    assert read_texts(video, 10.0)[1] == ("Cook it well.", "All recipes:", "Intro", "Cut")
    (tmp_path / f"{video.stem}.info.json").write_text(json.dumps(INFO))
    assert read_texts(video, 10.0)[1] == told
    assert read_texts(video, 10.0, description=tmp_path / f"{video.stem}.info.json")[1] == told
    video.with_suffix(".json").write_text('["My own words"]')
    assert read_texts(video, 10.0)[1] == ("My own words",)


@pytest.mark.parametrize("info", [{"title": 5}, {"title": "A", "chapters": [{"start_time": 0}]}, {"description": []}])
def test_a_broken_info_stops_nothing_and_is_told(talk, info):
    talk.with_suffix(".info.json").write_text(json.dumps(info))
    _, texts, notes = read_texts(talk, 10.0)
    assert any("talk.info.json, found beside the video, is not used: " in note for note in notes)
    assert texts == ()


def test_lines_of_chapters_lose_their_moments():
    said = "1:02:03 - The end\n(12:30) Middle\n- www.example.org -\n***"
    assert lines_about(said) == ["The end", "Middle"]
    assert lines_about("10:30 is when it starts\nhttps://a.example") == ["10:30 is when it starts"]


def test_a_folder_of_many_videos_is_listed_once_a_run(tmp_path, monkeypatch):
    """A million videos, each of which lists the million, would never end."""
    for number in range(20):
        for name in (f"{number}.mp4", f"{number}.srt", f"{number}.de.vtt"):
            (tmp_path / name).touch()
    os.utime(tmp_path, (1, 1))  # it has been at rest
    listings, iterdir = [], Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: listings.append(folder) or iterdir(folder))
    for number in range(20):
        found = side_files(tmp_path / f"{number}.mp4")["subtitles"]
        assert [file.name for file in found] == [f"{number}.srt", f"{number}.de.vtt"]
    assert listings == [tmp_path]
    (tmp_path / "3.en.ttml").touch()
    assert len(side_files(tmp_path / "3.mp4")["subtitles"]) == 3, "a file that came is found"
