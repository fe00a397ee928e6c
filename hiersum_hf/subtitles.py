"""Subtitle and description files of any encoding -> sentences with their times, and texts about the whole video."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hiersum_hf.records import Sentence


# Not given in the paper: where a sentence ends although its text has no full stop.
MAX_PAUSE_S = 1.0
MAX_SENTENCE_S = 15.0  # automatic captions have no punctuation; without a limit a whole lecture is one sentence

# What subtitle files are written in, besides Unicode; where the bytes fit several equally well, the first counts.
LEGACY_ENCODINGS = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r", "cp932", "gb18030"]
LEGACY_ENCODINGS += ["big5", "cp949", "utf_16_le", "utf_16_be"]

_CLOSING = "[\"'”’»)\\]]*"
_ABBREVIATION = r"(?<!\bMr\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bMrs\.)(?<!\bProf\.)(?<!\b[A-Z]\.)"
_SENTENCE_BREAK = re.compile(rf"(?<=[.!?…]){_ABBREVIATION}({_CLOSING})\s+(?=[^\sa-z])|(?<=[。！？])([」』”’]*)\s*(?=.)")
_SENTENCE_END = re.compile(rf"([.!?…]{_ABBREVIATION}|[。！？」』]){_CLOSING}$")
_SPEAKER = re.compile(r"[-–—]\s?\w|>>|[A-Z][A-Z .'-]{1,30}:\s")
_WORD_TIME = re.compile(r"<(?:\d+:)?\d{2}:\d{2}\.\d{3}>")


def read_subtitles(path: str | Path) -> list[Sentence]:
    """Read a SubRip, WebVTT or (Advanced) SubStation file as sentences.

    Tags, inline timestamps, empty cues and superfluous white space are dropped, cues are sorted by start and joined by
    `merge_into_sentences`. In automatic captions (WebVTT with a time for each word) the lines that a cue repeats from
    the cue before are dropped.

    Args:
        path: The subtitle file, in any encoding.

    Returns:
        The sentences, ascending by `start_s`; empty if the file has no text.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not a text, not a subtitle file, or a cue that ends before it starts.
    """
    import pysubs2

    text = _read_text(path, "a subtitle file (SubRip, WebVTT or SubStation)")
    automatic = bool(_WORD_TIME.search(text))
    try:
        events = pysubs2.SSAFile.from_string(_bare_cues(text) if text.lstrip().startswith("WEBVTT") else text)
    except (pysubs2.Pysubs2Error, ValueError) as error:
        found = f"text that starts with {text.strip()[:40]!r}" if text.strip() else "an empty file"
        raise ValueError(f"{path}: expected a subtitle file (SubRip, WebVTT or SubStation), found {found}") from error
    cues = []
    for number, event in enumerate(events, 1):
        if event.end < event.start:
            times = f"from {event.start / 1000} s to {event.end / 1000} s"
            raise ValueError(
                f"{path}: expected cues that end after they start, found cue {number} {times}: {event.text!r}"
            )
        if event.is_text:
            cues.append(Sentence(html.unescape(event.plaintext), event.start / 1000, event.end / 1000))
    cues.sort(key=lambda cue: cue.start_s)
    return merge_into_sentences(_without_repeats(cues) if automatic else cues)


def merge_into_sentences(cues: Iterable[Sentence]) -> list[Sentence]:
    """Join subtitle cues into sentences and split cues that hold several. Not given in the paper.

    A sentence ends at . ! ? … 。！ or ？ with any closing quotes (not after initials and titles such as Dr., nor before
    a lower-case letter within a cue), before a pause of more than 1 s, before a speaker mark (a dash, ">>" or "NAME:"),
    and at the end of the last cue with which it lasts at most 15 s. A cue's time is shared among its sentences in
    proportion to their characters.

    Args:
        cues: Cues ascending by `start_s`; those without text are dropped.

    Returns:
        The sentences in order, white space folded.
    """
    sentences: list[Sentence] = []
    complete = True
    for piece in (piece for cue in cues for piece in _split(cue)):
        last = sentences[-1] if sentences else piece
        too_far = piece.start_s - last.end_s > MAX_PAUSE_S or piece.end_s - last.start_s > MAX_SENTENCE_S
        if complete or too_far or _SPEAKER.match(piece.text):
            sentences.append(piece)
        else:
            sentences[-1] = Sentence(f"{last.text} {piece.text}", last.start_s, max(last.end_s, piece.end_s))
        complete = bool(_SENTENCE_END.search(piece.text))
    return sentences


def write_srt(sentences: Iterable[Sentence], path: str | Path) -> None:
    """Write sentences as a SubRip file (UTF-8), one cue each, times rounded to milliseconds."""
    cues = []
    for number, sentence in enumerate(sentences, 1):
        times = f"{_srt_time(sentence.start_s)} --> {_srt_time(sentence.end_s)}"
        cues.append(f"{number}\n{times}\n{' '.join(sentence.text.split())}\n\n")
    Path(path).write_text("".join(cues), encoding="utf-8")


def read_description(path: str | Path) -> tuple[str, ...]:
    """Read the texts about the whole video: title, description, steps.

    Args:
        path: A .txt file with one text on each line, or a .json file with a list of strings, with an object that has
            any of "title", "description" and "steps" (strings or objects with "text"), or with WikiHow's numbered
            steps {"1": {"text": ...}, "2": ...}, taken in numerical order. Other keys are ignored.

    Returns:
        The texts in this order, white space folded, empty ones dropped.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Another kind or shape of file, or no text in it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".txt", ".json"):
        raise ValueError(f"{path}: expected a description in a .txt or .json file, found {suffix or 'no suffix'!r}")
    text = _read_text(path, "a description")
    items = _json_items(path, text) if suffix == ".json" else text.splitlines()
    texts = tuple(folded for item in items if (folded := " ".join(item.split())))
    if not texts:
        raise ValueError(f"{path}: expected at least one text about the video, found none")
    return texts


def _read_text(path: str | Path, expected: str) -> str:
    """The file's text with \\n line ends. Order: byte order mark, UTF-8, best guess among the encodings in use."""
    from charset_normalizer import from_bytes

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected {expected}, found no such file")
    raw = Path(path).read_bytes()
    try:
        text = raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # binary, or UTF-16 without a mark
        guesses = from_bytes(raw, cp_isolation=LEGACY_ENCODINGS, steps=20, chunk_size=2048)
        ranked = sorted(guesses, key=lambda g: (g.chaos, -g.coherence, "cp1252" not in g.could_be_from_charset))
        text = str(ranked[0]) if ranked else "\0"
    if "\0" in text:
        raise ValueError(f"{path}: expected {expected}, found bytes that are no text in any known encoding")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _bare_cues(webvtt: str) -> str:
    """WebVTT without word times, notes, styles and cue names, all of which pysubs2 takes for cue text or for times."""
    blocks = re.split(r"\n{2,}", _WORD_TIME.sub("", webvtt))
    cues = [block[block.rfind("\n", 0, block.index("-->")) + 1 :] for block in blocks if "-->" in block]
    return "\n\n".join(["WEBVTT", *cues])


def _without_repeats(cues: Sequence[Sentence]) -> list[Sentence]:
    """Rolling captions without the lines that the cue before ended with."""
    kept, before = [], ""
    for cue in cues:
        lines = [line.strip() for line in cue.text.splitlines() if line.strip()]
        fresh = lines[1:] if lines and lines[0] == before else lines
        before = lines[-1] if lines else ""
        kept.append(Sentence("\n".join(fresh), cue.start_s, cue.end_s))
    return kept


def _split(cue: Sentence) -> list[Sentence]:
    """The sentences of one cue; its time is shared in proportion to characters."""
    parts = _SENTENCE_BREAK.sub(r"\1\2\n", " ".join(cue.text.split())).splitlines()
    pieces, start_s = [], cue.start_s
    for part in parts:
        share_s = (cue.end_s - cue.start_s) * len(part) / sum(map(len, parts))
        pieces.append(Sentence(part, start_s, cue.end_s if part is parts[-1] else start_s + share_s))
        start_s += share_s
    return pieces


def _srt_time(time_s: float) -> str:
    minutes, milliseconds = divmod(round(time_s * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d},{milliseconds % 1000:03d}"


def _json_items(path: str | Path, text: str) -> list[str]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: expected JSON, found {text.strip()[:40]!r} ({error})") from error
    items: Any = content
    if isinstance(content, dict):
        steps = content.get("steps") or []
        numbered = [content[key] for key in sorted(filter(str.isdecimal, content), key=int)]
        items = [content.get("title"), content.get("description"), *(steps if isinstance(steps, list) else [steps])]
        items = [item for item in items + numbered if item is not None]
    if not isinstance(items, list):
        raise ValueError(f"{path}: expected a list of texts or an object, found {type(items).__name__}")
    texts: list[Any] = [item.get("text") if isinstance(item, dict) else item for item in items]
    if not all(isinstance(item, str) for item in texts):
        raise ValueError(f'{path}: expected strings or objects with "text", found {items!r:.80}')
    return texts
