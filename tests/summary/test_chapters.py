"""Chapters of the source: whole, long enough, titled; read back by other readers."""

import json
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiersum_hf.records import Sentence
from hiersum_hf.summary.chapters import (
    LEAST_S,
    as_ffmetadata,
    as_vtt,
    as_youtube,
    shortened,
    source_chapters,
)
from hiersum_hf.summary.files import write_summary
from tests.makers.summaries import SENTENCES, make_summary
from tests.makers.videos import steady


STEPS = ("Mend a tube", "Remove the wheel", "Find the hole", "Glue the patch")
CHAPTERS = (
    {"start_s": 0.0, "end_s": 61.5, "title": "Grün & <b>"},
    {"start_s": 61.5, "end_s": 3700.0, "title": "a=b; #c\\d"},
    {"start_s": 3700.0, "end_s": 3800.0, "title": "End"},
)


def edges(count):
    return np.arange(count + 1, dtype=float)


def by_steps(step_of, sentences=(), **given):
    found = source_chapters(
        float(len(step_of)), edges(len(step_of)), np.ones((len(step_of), 2)), sentences, np.ones(len(sentences)),
        steps=STEPS, step_of=np.array(step_of), **given,
    )  # fmt: skip
    return [(one["start_s"], one["end_s"], one["title"]) for one in found]


def test_each_step_has_a_chapter_and_the_title_what_comes_before():
    steps = [-1] * 15 + [1] * 20 + [-1] * 10 + [2] * 5 + [3] * 30 + [-1] * 20
    assert by_steps(steps) == [
        (0.0, 15.0, "Mend a tube"),
        (15.0, 45.0, "Remove the wheel"),
        (45.0, 55.0, "Find the hole"),  # told in 5 s, it takes 5 of the next
        (55.0, 100.0, "Glue the patch"),
    ]


def test_a_step_begins_with_its_sentence():
    said = (Sentence("Now find the hole.", 18.2, 22.0),)
    assert by_steps([1] * 20 + [2] * 20, said) == [(0.0, 18.2, "Remove the wheel"), (18.2, 40.0, "Find the hole")]


def test_an_aside_is_no_chapter():
    assert by_steps([1] * 30 + [2] * 3 + [1] * 5) == [(0.0, 38.0, "Remove the wheel")]


def test_without_steps_chapters_begin_where_the_talk_changes():
    """Their titles are their best sentences; the pictures, which change elsewhere, play no part."""
    words = np.repeat(np.eye(3), 10, axis=0)
    said = [Sentence(f"This is sentence number {k}.", 10.0 * k, 10.0 * k + 8) for k in range(30)]
    scores = np.zeros(30)
    scores[[4, 15, 29]] = 1
    found = source_chapters(300.0, edges(300), np.repeat(np.eye(2), 150, axis=0), said, scores, words)
    assert found[0]["title"] == "This is sentence number 4"
    assert {100.0, 200.0} <= {one["start_s"] for one in found}
    assert {"This is sentence number 15", "This is sentence number 29"} <= {one["title"] for one in found}


def test_without_words_chapters_begin_where_the_pictures_change():
    found = source_chapters(120.0, edges(120), np.repeat(np.eye(2), 60, axis=0))
    assert [(one["start_s"], one["title"]) for one in found] == [(0.0, "Beginning"), (60.0, "Part 2")]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 25)), min_size=1, max_size=12),
    st.booleans(),
)
def test_chapters_cover_the_video_and_none_is_too_short(runs, told):
    steps = np.repeat([step for step, _ in runs], [length for _, length in runs])
    features = np.random.default_rng(len(steps)).normal(size=(len(steps), 4))
    found = source_chapters(
        float(len(steps)), edges(len(steps)), features, steps=STEPS, step_of=steps if told else None
    )
    assert found[0]["start_s"] == 0
    assert found[-1]["end_s"] == len(steps)
    assert all(a["end_s"] == b["start_s"] for a, b in pairwise(found))
    assert len(found) == 1 or min(one["end_s"] - one["start_s"] for one in found) > LEAST_S - 1e-5
    assert all(one["title"] for one in found)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("  Let the dough rest.\n", "Let the dough rest"),
        ("Let\x1b the\u2028dough\0rest", "Let the dough rest"),
        (
            "So now you want to place the valve back into its seat, making sure that the spring is straight.",
            "So now you want to place the valve back into its seat",
        ),
        (
            "If you look you see that the oil which was clear before has turned completely black",
            "If you look you see that the oil which was clear before has…",
        ),
        ("把阀门小心地放回阀座上，" * 6, "，".join(["把阀门小心地放回阀座上"] * 5)),
        ("x" * 80, "x" * 59 + "…"),
    ],
)
def test_a_sentence_becomes_a_title(text, title):
    assert shortened(text) == title


def test_descriptions_of_youtube_have_lines_that_it_takes():
    assert as_youtube(CHAPTERS) == "0:00 Grün & ‹b›\n1:01 a=b; #c\\d\n1:01:40 End\n"
    assert as_youtube(CHAPTERS[:2]).endswith("(2 of at least 3 chapters that YouTube wants: it will show none.)\n")


def test_ffmpeg_reads_its_metadata(tmp_path):
    (tmp_path / "a.ffmeta").write_text(as_ffmetadata(CHAPTERS), encoding="utf-8")
    with av.open(str(tmp_path / "a.ffmeta"), format="ffmetadata") as container:
        read = [(float(one["start"] * one["time_base"]), one["metadata"]["title"]) for one in container.chapters()]
    assert read == [(one["start_s"], one["title"]) for one in CHAPTERS]


def test_vtt_is_escaped():
    cue = "00:01:01.500 --> 01:01:40.000\nGrün &amp; &lt;b>\n"
    assert cue.replace("b>", "b&gt;") in as_vtt([(61.5, 3700.0, "Grün & <b>")])


def test_all_forms_lie_in_the_folder_of_a_summary(tmp_path):
    video = steady(tmp_path / "talk.mp4", 25, 150)
    summary = make_summary("talk.mp4", chapters=CHAPTERS)
    files = ["summary.json", "source_chapters.vtt", "source_chapters.ffmeta", "source_chapters.txt"]
    folder = write_summary(summary, video, tmp_path / "out", SENTENCES, files=files, embed_chapters=True)
    assert sorted(file.name for file in folder.iterdir()) == sorted([*files, "talk.chapters.mp4"])
    assert json.loads((folder / "summary.json").read_text())["chapters"] == list(CHAPTERS)
    with av.open(str(folder / "talk.chapters.mp4")) as container:
        assert [one["metadata"]["title"] for one in container.chapters()] == [one["title"] for one in CHAPTERS]
