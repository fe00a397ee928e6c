"""Subtitle cues to sentences with their times.

Rolling captions are said once, fragments are joined, cues are split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from hiersum_hf.records import Sentence


# Not given in the paper: where a sentence ends although its text has no full stop.
MAX_PAUSE_S = 1.0
MAX_SENTENCE_S = 15.0  # automatic captions have no punctuation; without a limit a whole lecture is one sentence
CARRIER_S = 0.05  # rolling captions hold the finished line in a cue of 10 ms before the next line appears below it

_CLOSING = "[\"'”’»)\\]]*"
_ABBREVIATION = r"(?<!\bMr\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bMrs\.)(?<!\bProf\.)(?<!\b[A-Z]\.)"
_SENTENCE_BREAK = re.compile(rf"(?<=[.!?…]){_ABBREVIATION}({_CLOSING})\s+(?=[^\sa-z])|(?<=[。！？])([」』”’]*)\s*(?=.)")
_SENTENCE_END = re.compile(rf"([.!?…]{_ABBREVIATION}|[。！？」』]){_CLOSING}$")
_SPEAKER = re.compile(r"[-–—]\s?\w|>>|[A-Z][A-Z .'-]{1,30}:\s")


def without_repeats(cues: Sequence[Sentence]) -> list[Sentence]:
    """Remove the lines that rolling captions repeat from the cue before.

    Cues are taken for rolling, and changed, iff at least half of them repeat the end of the cue before above a new line
    or hold it for at most 50 ms. Not given in the paper.

    Args:
        cues: Cues ascending by `start_s`, a line of text for each line on screen.
    """
    if not _rolls(cues):
        return list(cues)
    kept, before = [], []  # type: list[Sentence], list[str]
    for cue in cues:
        lines = _lines(cue)
        kept.append(replace(cue, text="\n".join(_fresh_lines(lines, before))))
        before = lines
    return kept


def merge_into_sentences(cues: Iterable[Sentence]) -> list[Sentence]:
    """Join subtitle cues into sentences, and split cues.

    A sentence ends at . ! ? … 。！ or ？ with any closing quotes (not after initials and titles such as Dr., nor before
    a lower-case letter within a cue), before a pause of more than 1 s, before a speaker mark (a dash, ">>" or "NAME:"),
    and at the end of the last cue with which it lasts at most 15 s. A cue's time is shared among its sentences in
    proportion to their characters. These rules are not given in the paper.

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


def _rolls(cues: Sequence[Sentence]) -> bool:
    """Tell whether the cues are rolling captions.

    Most of those repeat the end of the cue before above a new line, or hold it for a moment.
    """
    rolling = 0
    for before, cue in pairwise(cues):
        fresh = _fresh_lines(_lines(cue), _lines(before))
        rolling += len(fresh) < len(_lines(cue)) and bool(fresh or cue.end_s - cue.start_s <= CARRIER_S)
    return rolling > 0 and 2 * rolling >= len(cues) - 1


def _lines(cue: Sentence) -> list[str]:
    """List the lines of a cue that have text."""
    return [line for text in cue.text.splitlines() if (line := text.strip())]


def _fresh_lines(lines: list[str], before: list[str]) -> list[str]:
    """Remove the lines at the start with which `before` ends."""
    repeated = (n for n in range(min(len(lines), len(before)), 0, -1) if lines[:n] == before[-n:])
    return lines[next(repeated, 0) :]


def _split(cue: Sentence) -> list[Sentence]:
    """Split one cue into sentences.

    They share its time in proportion to their characters.
    """
    # Sentence k lasts (end - start) x its characters / all characters; the last one ends with the cue, to the bit
    parts = _SENTENCE_BREAK.sub(r"\1\2\n", " ".join(cue.text.split())).splitlines()
    pieces, start_s, letters = [], cue.start_s, sum(map(len, parts))
    for number, part in enumerate(parts, 1):
        share_s = (cue.end_s - cue.start_s) * len(part) / letters
        pieces.append(Sentence(part, start_s, cue.end_s if number == len(parts) else start_s + share_s))
        start_s += share_s
    return pieces
