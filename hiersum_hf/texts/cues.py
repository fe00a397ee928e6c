"""Cues of SubRip and WebVTT, and of transcripts with times: what stands in the file, nothing of it lost.

A cue is a `Sentence` that may hold several lines. The other formats are read by pysubs2 (`texts.subtitles`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from hiersum_hf.records import Sentence


MAX_DIGITS = 9  # of hours, of a fraction of a second, of a counter
HEAD_LINES = 50  # that may be of anything else
READING_CHARS_PER_S = 15  # how long the last line stands where a format has no ends; not given in the paper

# Translators write "00: 00: 01,500" and full-width signs; behind a colon come milliseconds, as two digits are frames
_CLOCK = rf"-?(?:\d{{1,{MAX_DIGITS}}}[:：]\s?)?\d{{1,2}}[:：]\s?\d{{1,2}}(?:\s?[.,，]\s?\d{{1,{MAX_DIGITS}}}|:\d{{3}})?"
_TIMING = re.compile(rf"\s*({_CLOCK})\s*-->\s*({_CLOCK})(?!\S)(.*)")
_BROKEN_TIMING = re.compile(r"(?=.*\d:\d)[-\d:;.,\s]*-->")
_FULL_WIDTH = str.maketrans("：，", ":.")
_SETTINGS = re.compile(r"(\s+[^\s:]+:\S*)*\s*")
_NO_CUE = re.compile(r"(NOTE|STYLE|REGION|WEBVTT)(\s|$)")
_TAG = re.compile(r"</?(?:[bius]|font|c|v|lang|ruby|rt)(?:[.\s][^<>]*)?>|<(?:\d+:)?\d{2}:\d{2}\.\d{3}>", re.IGNORECASE)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>", re.IGNORECASE)
_RUBY_TEXT = re.compile(r"<rt(?:\.[^<>]*)?>.*?(?:</rt>|(?=</ruby>)|$)", re.IGNORECASE | re.DOTALL)
# What players obey in SubRip: {\an8}, {\i1}, {\pos(1,2)}. Other braces are text, {\alpha} of a formula too
_OVERRIDE = re.compile(
    r"\{(?:\\(?:an?\d{1,2}|[ibus]\d|fs\d+|fn[^{}\\]*|\d?c&[^{}\\]*|(?:pos|move|fad)\([^{}()]*\)))+\}"
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|\w{1,31});")

_LYRIC = re.compile(r"((?:\[\d{1,3}:\d{1,2}(?:[.:]\d{1,3})?\])+)(.*)")
_LYRIC_TIME = re.compile(r"\[(\d+):(\d+)(?:[.:](\d+))?\]")
_LYRIC_CLOCK = re.compile(r"\[\d+:\d+:(\d+)\]")
_LYRIC_WORD = re.compile(r"<\d{1,3}:\d{1,2}(?:\.\d{1,3})?>")
_PAIR = re.compile(rf"\s*({_CLOCK}),({_CLOCK})\s*")
_MARK = re.compile(r"(?:(\S.{0,60}?)(?:\s{2,}|\t))?[\[(]?((?:\d{1,3}:)?\d{1,2}:\d{2})[\])]?\s*")


@dataclass(frozen=True)
class Cues:
    """What was read of a file.

    Args:
        cues: In the file's order, lines as there.
        lost: Of each cue that could not be read, what stands in its place.
    """

    cues: list[Sentence]
    lost: tuple[str, ...] = ()


def has_timings(text: str) -> bool:
    """Tell whether a line of a text is the times of a cue, readable or not."""
    return any("-->" in line and (_TIMING.match(line) or _BROKEN_TIMING.match(line)) for line in text.split("\n"))


def timed_cues(text: str, is_webvtt: bool) -> Cues:
    """Split SubRip or WebVTT into its cues.

    A cue reaches to the next line of times, over blank lines too; only a counter or a name right before that line, and
    WebVTT's NOTE, STYLE and REGION blocks, are no text. The speaker of `<v Name>` goes before the text ("Name: ")
    where it is another than before. Tags and entities that players know are resolved, other signs stay.

    Args:
        text: The file, with line feeds.
        is_webvtt: Whether it is WebVTT.
    """
    lines = text.split("\n")
    at = [n for n, line in enumerate(lines) if "-->" in line and (_TIMING.match(line) or _BROKEN_TIMING.match(line))]
    head = [line for line in lines[: at[0]] if line.strip()] if at else []
    cues, lost, speaker, counter = [], [], "", _number(head[-1]) if head else None
    for begin, end in pairwise([*at, len(lines)]):
        body, following = lines[begin + 1 : end], None
        if is_webvtt:
            body = _without_blocks(body, is_last=end == len(lines))
        elif end < len(lines):
            body, following = _without_counter(body, counter)
        times, counter = _TIMING.match(lines[begin]), following
        if times is None or seconds(times[2]) < seconds(times[1]):
            lost.append(lines[begin].strip())
            continue
        rest = "" if _SETTINGS.fullmatch(times[3]) else times[3]
        said, speaker = clean("\n".join(filter(None, [rest.strip(), *body])), speaker, is_webvtt)
        cues.append(Sentence(said, seconds(times[1]), seconds(times[2])))
    return Cues(cues, tuple(lost))


def clean(text: str, speaker: str, is_webvtt: bool) -> tuple[str, str]:
    """Resolve the tags of a cue of SubRip or WebVTT, with the one who spoke before it.

    Returns:
        The text, and who speaks at its end ("": nobody is named).
    """
    if "<" in text:
        parts = _VOICE.split(_RUBY_TEXT.sub("", text))  # text, name, text, name, text
        text = parts[0]
        for name, said in zip(parts[1::2], parts[2::2], strict=True):
            name = " ".join(name.split())
            text += said if name == speaker else f"{name}: {said}"
            speaker = name
        text = _TAG.sub("", text)
    if "{" in text and not is_webvtt:
        text = _OVERRIDE.sub("", text)
    return resolved(text), speaker


def seconds(clock: str) -> float:
    """Turn [-][H:]M:S[.fraction] into seconds, with a point, a comma, or a colon before milliseconds."""
    plain = re.sub(r"\s", "", clock).lstrip("-").replace(",", ".").translate(_FULL_WIDTH)
    *whole, last = re.sub(r":(\d{3})$", r".\1", plain).split(":")
    minutes = 0
    for part in whole:
        minutes = minutes * 60 + int(part)
    # In whole milliseconds where the file has these: 3 * 60 + 1.1 is not 181.1
    time_s = round((minutes * 60 + float(last)) * 1000) / 1000
    return -time_s if clock.strip().startswith("-") else time_s


def transcript_cues(text: str) -> Cues | None:
    """Read lyrics (LRC), SBV, SubViewer, Whisper's TSV, or a transcript with "Name  0:01" above what is said.

    Lines without an end last until the next one begins, the last as long as it takes to read.

    Returns:
        None if the text is none of these.
    """
    lines = text.strip("\n").split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first.split("\t") == ["start", "end", "text"]:
        return _table(lines)
    if any(_LYRIC.match(line) for line in lines[:HEAD_LINES]):
        return Cues(until_next(_lyrics(lines)))
    if any(_PAIR.fullmatch(line) for line in lines[:HEAD_LINES]):
        return _pairs(lines)
    if _MARK.fullmatch(first.strip()):
        return Cues(until_next(_marked(lines)))
    return None


def until_next(begun: Iterable[tuple[float, str]]) -> list[Sentence]:
    """Give texts with their starts in seconds an end."""
    begun = sorted(begun, key=lambda one: one[0])
    ends = [start_s for start_s, _ in begun[1:]]
    ends += [start_s + max(1.0, len(text) / READING_CHARS_PER_S) for start_s, text in begun[-1:]]
    return [Sentence(text, start_s, end_s) for (start_s, text), end_s in zip(begun, ends, strict=True)]


def resolved(text: str) -> str:
    """Resolve entities, those with a semicolon only: "a &notin b" is text."""
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text)


def _number(line: str) -> int | None:
    line = line.strip()
    return int(line) if line.isdecimal() and len(line) <= MAX_DIGITS else None


def _without_counter(body: list[str], counter: int | None) -> tuple[list[str], int | None]:
    """Remove the counter of the next cue from the end, and return it.

    It stands right above the times, below a blank line; elsewhere it is the number after this cue's.
    """
    last = next((n for n in range(len(body) - 1, -1, -1) if body[n].strip()), None)
    number = None if last is None else _number(body[last])
    if last is None or number is None:
        return body, None
    is_apart = last == len(body) - 1 and (last == 0 or not body[last - 1].strip())
    return (body[:last], number) if is_apart or (counter is not None and number == counter + 1) else (body, None)


def _without_blocks(body: list[str], is_last: bool) -> list[str]:
    """Remove notes, styles, regions, and the name of the next cue."""
    if not is_last and len(body) > 1 and body[-1] and not body[-2]:
        body = body[:-1]
    elif not is_last and len(body) == 1 and _number(body[0]) is not None:
        body = []
    blocks = "\n".join(body).split("\n\n")
    return "\n".join(b for n, b in enumerate(blocks) if n == 0 or not _NO_CUE.match(b.lstrip("\n"))).split("\n")


def _table(lines: list[str]) -> Cues:
    """Read Whisper's TSV: start and end in milliseconds, text."""
    cues, lost = [], []
    for line in lines[1:]:
        start, _, rest = line.partition("\t")
        end, _, text = rest.partition("\t")
        begin_ms, end_ms = _number(start), _number(end)
        if begin_ms is not None and end_ms is not None and begin_ms <= end_ms:
            cues.append(Sentence(text, begin_ms / 1000, end_ms / 1000))
        elif line.strip():
            lost.append(line.strip())
    return Cues(cues, tuple(lost))


def _lyrics(lines: list[str]) -> list[tuple[float, str]]:
    """Read LRC: one text may have several times, empty lines end the one before.

    [00:01:02] are hours, minutes and seconds, as in transcripts, unless a last number is none of seconds.
    """
    found = [line for line in map(_LYRIC.match, lines) if line]
    thirds = [part for line in found for part in _LYRIC_CLOCK.findall(line[1])]
    has_hours = len(thirds) >= len(found) and all(len(part) == 2 and int(part) < 60 for part in thirds)
    return [
        (
            seconds(f"{first}:{second}:{third}") if has_hours else int(first) * 60 + float(f"{second}.{third or 0}"),
            _LYRIC_WORD.sub("", line[2]).strip(),
        )
        for line in found
        for first, second, third in _LYRIC_TIME.findall(line[1])
    ]


def _pairs(lines: list[str]) -> Cues:
    """Read SBV and SubViewer: "0:00:01.000,0:00:03.000", the text, a blank line."""
    cues, lost = [], []
    at = [n for n, line in enumerate(lines) if _PAIR.fullmatch(line)]
    for begin, end in pairwise([*at, len(lines)]):
        times = _PAIR.fullmatch(lines[begin])
        start_s, end_s = (seconds(times[1]), seconds(times[2])) if times else (0.0, -1.0)
        if start_s <= end_s:
            cues.append(Sentence("\n".join(lines[begin + 1 : end]).replace("[br]", "\n"), start_s, end_s))
        else:
            lost.append(lines[begin].strip())
    return Cues(cues, tuple(lost))


def _marked(lines: list[str]) -> list[tuple[float, str]]:
    """Read a transcript: a time, alone or behind a name, above what is said."""
    begun: list[tuple[float, str]] = []
    speaker = ""
    for line in lines:
        mark = _MARK.fullmatch(line.strip())
        if mark:
            name = mark[1] if mark[1] and mark[1] != speaker else ""
            speaker = mark[1] or speaker
            begun.append((seconds(mark[2]), f"{name}:" if name else ""))
        else:
            start_s, text = begun[-1]
            begun[-1] = (start_s, f"{text} {line}".strip())
    return begun
