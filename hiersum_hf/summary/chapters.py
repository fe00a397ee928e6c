"""Chapters of the source: its parts by the steps of its description, else by what is said, each with a title.

Nothing here is given in the paper. Letters: N sampled frames, M sentences, R rows (sentences, or frames where there are
none).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from hiersum_hf.files.escape import one_line
from hiersum_hf.records import Floats, Sentence, clock, first_step


LEAST_S = 10.0  # of a chapter; YouTube takes no shorter ones,
LEAST = 3  # nor fewer
TALK_S, MOST = 30.0, 10  # about how long chapters without steps are at least, and how many there are at most
TITLE = 60  # characters of a title that is made of a sentence
CLAUSE = 20  # of its first part, if that is to stand for it
NO_BRACKETS = str.maketrans("<>", "‹›")
TICKS_S = 1000  # ffmetadata is written in milliseconds

Chapter = dict[str, Any]  # {start_s, end_s, title}, as it stands in a summary


def source_chapters(
    duration_s: float,
    edges_s: Floats,
    features: np.ndarray,
    sentences: Sequence[Sentence] = (),
    sentence_scores: Sequence[float] | Floats = (),
    words: np.ndarray | None = None,
    steps: Sequence[str] = (),
    step_of: np.ndarray | None = None,
) -> tuple[Chapter, ...]:
    """Part a video into chapters of at least 10 s that follow each other from 0 s to its end.

    Where at least two steps of the description are told apart, each chapter is about one of them and has its text for a
    title. Else chapters begin where the talk (without any, the pictures) changes most; their title is their
    best-scored sentence, cut at a comma or a word. A video that is too short has one chapter.

    Args:
        duration_s: Length of the video.
        edges_s: (N + 1,) where each sampled frame begins and the last ends.
        features: (N, D) of the frames.
        sentences: The M sentences, ascending.
        sentence_scores: (M,).
        words: (M, Dt) features of the sentences; None or without rows where there are none.
        steps: Texts of the description.
        step_of: (N,) index of the text that each frame is about, -1 for none.
    """
    numbers = [] if step_of is None else sorted({*step_of.tolist()} - {-1})
    if len(numbers) >= 2 and step_of is not None:
        starts = _step_starts(edges_s, sentences, step_of)
    elif words is not None and len(words) == len(sentences) > 0:
        starts = [
            (start_s, -1) for start_s in _topic_starts(duration_s, np.array([s.start_s for s in sentences]), words)
        ]
    else:
        starts = [(start_s, -1) for start_s in _topic_starts(duration_s, edges_s[:-1], features)]
    starts = _long_enough(starts, duration_s)
    ends_s = [start_s for start_s, _ in starts[1:]] + [duration_s]
    found = list[Chapter]()
    for number, ((start_s, step), end_s) in enumerate(zip(starts, ends_s, strict=True), 1):
        if step < 0 and number == 1 and len(starts) > 1 and first_step(steps):
            step = 0  # what comes before the first step is about the title
        title = steps[step] if step >= 0 else _said(start_s, end_s, sentences, sentence_scores)
        title = shortened(title) or ("Beginning" if number == 1 else f"Part {number}")
        found.append({"start_s": float(start_s), "end_s": float(end_s), "title": title})
    return tuple(found)


def _step_starts(edges_s: Floats, sentences: Sequence[Sentence], step_of: np.ndarray) -> list[tuple[float, int]]:
    """Find where another step begins, as (second, its number); what is about none goes on with the last.

    A step begins with a sentence where one is spoken.
    """
    begins_s = np.array([sentence.start_s for sentence in sentences])
    starts, last = [(0.0, -1)], -1
    for start_s, end_s, step in zip(edges_s[:-1], edges_s[1:], step_of.tolist(), strict=True):
        if step not in (-1, last):
            told = begins_s[(begins_s > starts[-1][0]) & (begins_s < end_s)]
            starts.append((float(told[-1]) if len(told) and start_s - told[-1] < LEAST_S else float(start_s), step))
            last = step
    return starts


def _topic_starts(duration_s: float, times_s: Floats, rows: np.ndarray) -> list[float]:
    """Find where the rows before and after differ most, as seconds from 0 on.

    Args:
        duration_s: Length of the video.
        times_s: (R,) when each row begins.
        rows: (R, D).
    """
    length_s = max(TALK_S, duration_s / MOST)
    many = min(MOST, int(duration_s / length_s))
    near = max(2, round(len(rows) * length_s / 2 / duration_s))  # rows on either side
    units = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    sums = np.concatenate([np.zeros((1, units.shape[1])), units.cumsum(axis=0)])
    index = np.arange(1, len(rows))
    before = sums[index] - sums[np.maximum(index - near, 0)]
    after = sums[np.minimum(index + near, len(rows))] - sums[index]
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    nearness = (before * after).sum(axis=1) / np.maximum(norms, 1e-12)
    starts_s = [0.0]
    for i in np.argsort(nearness, kind="stable"):
        at_s, usual = float(times_s[index[i]]), nearness.mean()
        if len(starts_s) == many or nearness[i] >= usual:
            break
        if all(abs(at_s - other_s) >= length_s / 2 for other_s in (*starts_s, duration_s)):
            starts_s.append(at_s)
    return sorted(starts_s)


def _long_enough(starts: list[tuple[float, int]], duration_s: float) -> list[tuple[float, int]]:
    """Join neighbours of one step, and lengthen chapters that are too short.

    A short step takes what it lacks from the next chapter where that can spare it; else it goes to a neighbour.
    """
    starts = list(starts)
    while len(starts) > 1:
        bounds = [start_s for start_s, _ in starts] + [duration_s]
        lengths = [b - a for a, b in pairwise(bounds)]
        same = [i for i in range(1, len(starts)) if starts[i][1] == starts[i - 1][1] >= 0]
        shortest = int(np.argmin(lengths))
        if same:
            starts.pop(same[0])
        elif lengths[shortest] >= LEAST_S - 1e-6:
            break
        elif starts[shortest][1] >= 0 and sum(lengths[shortest : shortest + 2]) >= 2 * LEAST_S:
            starts[shortest + 1] = starts[shortest][0] + LEAST_S, starts[shortest + 1][1]
        elif shortest == 0 or (shortest + 1 < len(lengths) and lengths[shortest + 1] < lengths[shortest - 1]):
            start_s, _ = starts.pop(shortest)
            starts[shortest] = start_s, starts[shortest][1]
        else:
            starts.pop(shortest)
    return starts


def _said(start_s: float, end_s: float, sentences: Sequence[Sentence], scores: Sequence[float] | Floats) -> str:
    """Choose the best-scored sentence of a chapter; "" where nothing is said."""
    inside = [
        (float(score), -number)
        for number, (sentence, score) in enumerate(zip(sentences, scores, strict=True))
        if start_s <= (sentence.start_s + sentence.end_s) / 2 < end_s and len(sentence.text) >= CLAUSE
    ]
    return sentences[-max(inside)[1]].text if inside else ""


def shortened(text: str) -> str:
    """Shorten a text to a title: its first clause where that says enough, else whole words and an ellipsis."""
    text = one_line(text).rstrip(" .,;:!。")
    if len(text) <= TITLE:
        return text
    clauses = [m.start() for m in re.finditer(r"[,;:.!?](?=\s)|\s[–—-]\s|[，。；：！？、]", text[: TITLE + 1])]
    if clauses and clauses[-1] >= CLAUSE:
        return text[: clauses[-1]].rstrip()
    cut = text[:TITLE].rpartition(" ")[0] or text[: TITLE - 1]
    return cut.rstrip(" ,;:") + "…"


def as_vtt(cues: Iterable[tuple[float, float, str]]) -> str:
    """Write (start_s, end_s, text) as WebVTT."""
    lines = ["WEBVTT\n"]
    for start_s, end_s, text in cues:
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        lines.append(f"{_vtt_time(start_s)} --> {_vtt_time(end_s)}\n{escaped}\n")
    return "\n".join(lines)


def _vtt_time(time_s: float) -> str:
    minutes, milliseconds = divmod(round(time_s * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"


def as_ffmetadata(chapters: Sequence[Mapping[str, Any]]) -> str:
    """Write chapters as FFmpeg reads them: ffmpeg -i VIDEO -i FILE -map 0 -map_chapters 1 -c copy OUTPUT."""
    lines = [";FFMETADATA1"]
    for one in chapters:
        start, end = (round(one[key] * TICKS_S) for key in ("start_s", "end_s"))
        title = re.sub(r"[=;#\\\n]", r"\\\g<0>", one["title"])
        lines += ["[CHAPTER]", f"TIMEBASE=1/{TICKS_S}", f"START={start}", f"END={end}", f"title={title}"]
    return "\n".join(lines) + "\n"


def as_youtube(chapters: Sequence[Mapping[str, Any]]) -> str:
    """Write chapters as lines of a description, which YouTube and others show as chapters.

    YouTube wants the first at 0:00, at least three, each at least 10 s long, and no "<" or ">".
    """
    lines = [f"{clock(round(one['start_s'], 3))} {one['title']}".translate(NO_BRACKETS) for one in chapters]
    if len(chapters) < LEAST:
        lines += ["", f"({len(chapters)} of at least {LEAST} chapters that YouTube wants: it will show none.)"]
    return "\n".join(lines) + "\n"
