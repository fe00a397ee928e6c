"""Sentences are what the child level reads: said once, whole, at the time they are spoken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiersum_hf.records import Sentence
from hiersum_hf.texts.sentences import merge_into_sentences, without_repeats
from hiersum_hf.texts.subtitles import as_sentences


def texts(sentences: list[Sentence]) -> list[str]:
    return [sentence.text for sentence in sentences]


def rolled(lines: list[str]) -> list[tuple[int, int, list[str]]]:
    """Cues (from, to in ms, two lines on screen) of automatic captions: each line for 2 s below the one before, then
    for 10 ms alone."""
    cues, before = [], " "
    for number, line in enumerate(lines):
        start, end = 2000 * number, 2000 * number + 1990
        cues += [(start, end, [before, line]), (end, end + 10, [line, " "])]
        before = line
    return cues


def clock(milliseconds: int, mark: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"00:{seconds // 60:02d}:{seconds % 60:02d}{mark}{rest:03d}"


def as_vtt(lines: list[str]) -> str:
    """As the platform serves them: the new line with a time for each word after the first."""
    blocks = ["WEBVTT\nKind: captions\nLanguage: en"]
    for start, end, (upper, lower) in rolled(lines):
        first, *others = lower.split() or [" "]
        timed = "".join(f"<{clock(start + 100 * k, '.')}><c> {word}</c>" for k, word in enumerate(others, 1))
        place = "align:start position:0%"
        text = f"{upper}\n{first + timed if end - start > 10 else lower}"
        blocks.append(f"{clock(start, '.')} --> {clock(end, '.')} {place}\n{text}")
    return "\n\n".join(blocks) + "\n"


def as_srt(lines: list[str]) -> str:
    """As a downloader converts them: no word times, everything else kept."""
    cues = enumerate(rolled(lines), 1)
    return "".join(f"{k}\n{clock(a, ',')} --> {clock(b, ',')}\n{up}\n{low}\n\n" for k, (a, b, (up, low)) in cues)


@pytest.mark.parametrize("written", [as_vtt, as_srt])
@given(lines=st.lists(st.sampled_from(["we are", "going", "home now", "&gt;&gt; no"]), min_size=1, max_size=12))
def test_rolling_captions_say_everything_once(written, lines):
    """Also what is really said twice; read naively the text comes three times."""
    sentences = as_sentences(written(lines))
    assert " ".join(texts(sentences)) == " ".join(lines).replace("&gt;", ">")
    assert sentences[0].start_s == 0
    assert sentences[-1].end_s == pytest.approx(2 * len(lines) - 0.01)


def test_captions_that_roll_over_three_lines_are_said_once():
    lines = ["one", "two", "three", "four", "five"]
    cues = [Sentence("\n".join(lines[max(0, k - 2) : k + 1]), k, k + 1.0) for k in range(5)]
    assert texts(without_repeats(cues)) == lines


def test_a_song_keeps_its_refrain():
    """Whole cues that come again, and a line that a dialogue takes up once, are no rolling captions."""
    song = [Sentence(text, 2.0 * k, 2.0 * k + 2) for k, text in enumerate(["Hey!", "Hey!", "Hey!", "Let it be.\nHey!"])]
    assert without_repeats(song) == song
    talk = [Sentence(text, 2.0 * k, 2.0 * k + 2) for k, text in enumerate(["Run!", "Run!\nNow.", "Where?", "There."])]
    assert without_repeats(talk) == talk


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


def test_equal_sentences_of_a_cue_share_its_time_too():
    assert merge_into_sentences([Sentence("? ? ?", 0.0, 3.0)]) == [Sentence("?", k, k + 1) for k in range(3)]


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
