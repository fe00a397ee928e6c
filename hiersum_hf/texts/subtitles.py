"""Subtitles and descriptions in any form.

Files, text or lists become sentences with their times, and texts about the whole video.
"""

from __future__ import annotations

import html
import logging
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Any

from hiersum_hf.files.json_file import parse_json
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Sentence
from hiersum_hf.texts.cues import Cues, has_timings, timed_cues, transcript_cues, until_next
from hiersum_hf.texts.downloaded import lines_about, texts_of_info
from hiersum_hf.texts.encoding import plain, read_text
from hiersum_hf.texts.sentences import merge_into_sentences, without_repeats
from hiersum_hf.texts.structured import json_cues, scc_cues, stl_cues, xml_cues


logger = logging.getLogger(__name__)

FORMATS = "SubRip, WebVTT, SubStation, TTML or another that docs/data.md lists"

# Not given in the paper: a last subtitle may stay on screen this much longer than the video without a warning.
MAX_OVERRUN_S = 1.0

MAX_DIGITS = 9  # of a step's number
MAX_BRACES = 999  # of one cue that is left as it is: no honest one has more, and pysubs2 1.8 can take long for them

DESCRIPTIONS = (".txt", ".json", ".description")
DETECTED_IN = 10_000  # characters from which pysubs2 tells the format
_EBU_STL = re.compile(rb"...STL\d\d\.\d\d", re.DOTALL)
_STYLES = re.compile(r"V4\+? Styles", re.IGNORECASE)
_NO_END = re.compile(r"^([ \t]*\{[ \t]*\d+[ \t]*\}[ \t]*\{|\[\d+\]\[)[ \t]*(?=[\]}])", re.MULTILINE)
_RATE_AT_0 = re.compile(r"\A\s*\{0\}\{0\}(?=\d+(?:\.\d+)?\s*$)", re.MULTILINE)


def read_subtitles(path: str | Path, encoding: str | None = None) -> list[Sentence]:
    """Read a file of subtitles or of a transcript as sentences.

    The content tells the format: SubRip, WebVTT, (Advanced) SubStation, TTML, SCC, EBU STL, SBV, SubViewer, SAMI,
    MicroDVD (with its frame rate in the first line), MPL2, TMP, LRC, YouTube's json3 and srv1 to srv3, Whisper's JSON
    and TSV, or a transcript with times above or before its lines.

    Tags, inline timestamps, empty cues, comments, drawings, karaoke effects, a second copy of the same cue and
    superfluous white space are dropped; cues are sorted by start, rid of the words that automatic captions repeat
    (`without_repeats`) and joined by `merge_into_sentences`. Cues without times that can be read, or that end before
    they start, are left out, with a warning that counts them.

    Args:
        path: The subtitle file, in any encoding.
        encoding: Its encoding. Default: that of its byte order mark, UTF-8 if it is that, else guessed by the letters
            of its language, with a warning that names the guess.

    Returns:
        The sentences, ascending by `start_s`; empty if the file has no text.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not a text, not a subtitle file, or no cue of it can be read.
    """
    sentences, notes = subtitles_and_notes(Path(path), encoding)
    for note in notes:
        logger.warning("%s", note)
    return sentences


def as_sentences(value: str | os.PathLike[str] | Iterable[Any]) -> list[Sentence]:
    """Turn subtitles in any form into sentences.

    Args:
        value: A path; the text of a subtitle file (a `str` of several lines); or sentences, each a `Sentence`,
            (start_s, end_s, text) or a dict with "text" and "start_s", "end_s" or "start", "end". A list is taken as
            it is, one sentence each: cues that are only parts of sentences go through `merge_into_sentences` first.

    Returns:
        The sentences, ascending by `start_s`, white space folded, empty ones dropped.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No subtitles, or an item without text or with impossible times; names the file or the item.
    """
    sentences, notes = subtitles_and_notes(value)
    for note in notes:
        logger.warning("%s", note)
    return sentences


def subtitles_and_notes(
    value: str | os.PathLike[str] | Iterable[Any], encoding: str | None = None
) -> tuple[list[Sentence], list[str]]:
    """Turn subtitles into sentences, and say which cues are left out and where an encoding is a guess.

    Takes and raises what `as_sentences` does; `encoding` of a file as `read_subtitles` takes it.
    """
    if isinstance(value, str) and "\n" in value.strip("\n"):
        return _parse(plain(value), "the subtitle text")
    if isinstance(value, (str, os.PathLike)):
        if _is_stl(Path(value)):
            return _noted(stl_cues(Path(value).read_bytes(), str(Path(value))), str(Path(value)))
        text, read_as = read_text(Path(value), f"a subtitle file ({FORMATS})", encoding)
        found, notes = _parse(text, str(Path(value)))
        guess = f"{Path(value).name}: read as {read_as}. --subtitle-encoding NAME reads it otherwise."
        return found, [guess, *notes] if read_as else notes
    sentences = [_as_sentence(item, number) for number, item in enumerate(value, 1)]
    return sorted((s for s in sentences if s.text), key=lambda sentence: sentence.start_s), []


def sentences_of_events(events: Iterable[Any], source: str) -> tuple[list[Sentence], list[str]]:
    """Turn pysubs2 events into sentences.

    They are cleaned as `read_subtitles` says. Those that end before they start are left out, with a note that names
    `source` and counts them.
    """
    read = _cues_of_events(events)
    return sentences_of_cues(read.cues), [f"{source}: {_lost(read)}: left out."] if read.lost else []


def sentences_of_cues(cues: Iterable[Sentence]) -> list[Sentence]:
    """Turn cues in any order into sentences."""
    cues = sorted(dict.fromkeys(cues), key=lambda cue: cue.start_s)
    # Sentences that share an overlapping cue's time may begin in another order than their cues
    return sorted(merge_into_sentences(without_repeats(cues)), key=lambda sentence: sentence.start_s)


def fit_to_video(
    sentences: Sequence[Sentence], duration_s: float, source: str
) -> tuple[tuple[Sentence, ...], list[str]]:
    """Cut sentences to the video, and leave out those outside.

    The video is [0, `duration_s`). Not given in the paper.

    Args:
        sentences: In any order.
        duration_s: Length of the video.
        source: Where the sentences come from, for the messages.

    Returns:
        (sentences, warnings): a warning says how far the sentences reach out of the video where that is more than 1 s
        or loses one, and how many are left out.

    Raises:
        ValueError: No sentence lies within the video; names the constant shift that would help, if one would.
    """
    inside = [s for s in sentences if s.start_s < duration_s and (s.end_s > 0 or s.start_s >= 0)]
    first_s = min((s.start_s for s in sentences), default=0.0)
    last_s = max((s.end_s for s in sentences), default=0.0)
    if sentences and not inside:
        first = min(sentences, key=lambda s: s.start_s)
        raise InputError(
            f"{source}: expected sentences within the {duration_s:.2f} s of the video, found the first of "
            f"{len(sentences)} at {first_s:.2f} s: {first.text!r}. {_shift_hint(first_s, last_s, duration_s)}"
        )
    lost = len(sentences) - len(inside)
    reach = {
        "the first subtitle begins {:.1f} s before the video": -first_s,
        "the last subtitle ends {:.1f} s after the video": last_s - duration_s,
    }
    found = [text.format(by_s) for text, by_s in reach.items() if by_s > (0.0 if lost else MAX_OVERRUN_S)]
    found += [f"{lost} of {len(sentences)} sentences lie outside and are left out"] if lost else []
    warnings = [f"{source}: {', '.join(found)}: are they shifted by that, or made for another cut?"] if found else []
    return tuple(replace(s, start_s=max(0.0, s.start_s), end_s=min(s.end_s, duration_s)) for s in inside), warnings


def write_srt(sentences: Iterable[Sentence], path: str | Path) -> None:
    """Write sentences as a SubRip file (UTF-8).

    Each is one cue, its times rounded to milliseconds.
    """
    cues = []
    for number, sentence in enumerate(sentences, 1):
        times = f"{_srt_time(sentence.start_s)} --> {_srt_time(sentence.end_s)}"
        cues.append(f"{number}\n{times}\n{' '.join(sentence.text.split())}\n\n")
    Path(path).write_text("".join(cues), encoding="utf-8")


def read_description(path: str | Path) -> tuple[str, ...]:
    """Read the texts about the whole video.

    They are title, description, steps.

    Args:
        path: A .txt file with one text on each line, or a .json file with a list of strings, with an object that has
            any of "title", "description" and "steps" (strings or objects with "text"), or with WikiHow's numbered
            steps {"1": {"text": ...}, "2": ...}, taken in numerical order; other keys are ignored. Or what a downloader
            leaves: a .description file, or an .info.json file with title, description and chapters
            (`downloaded.texts_of_info`).

    Returns:
        The texts in this order, white space folded, empty ones dropped.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Another kind or shape of file, or no text in it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in DESCRIPTIONS:
        raise InputError(f"{path}: expected a description in a .txt or .json file, found {suffix or 'no suffix'!r}")
    text, _ = read_text(path, "a description")
    if suffix == ".description":
        return _texts(lines_about(text), str(path))
    if str(path).lower().endswith(".info.json") and isinstance(info := parse_json(text, str(path)), dict):
        return _texts(texts_of_info(info, str(path)), str(path))
    return _texts(parse_json(text, str(path)) if suffix == ".json" else text.splitlines(), str(path))


def as_description(value: str | os.PathLike[str] | Sequence[Any] | dict[str, Any]) -> tuple[str, ...]:
    """Turn a description in any form into its texts.

    They are about the whole video.

    Args:
        value: A path (any that exists or ends in .txt, .json or .description); text, one on each line; JSON as text; or
            what such JSON holds, a list or a dict, as `read_description` says.

    Returns:
        The texts in order, white space folded, empty ones dropped.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Another kind or shape of content, or no text in it.
    """
    source = "the description"
    if isinstance(value, str) and "\n" not in value and (value.endswith(DESCRIPTIONS) or os.path.isfile(value)):
        value = Path(value)
    if isinstance(value, os.PathLike):
        return read_description(Path(value))
    if isinstance(value, str):
        is_json = re.match(r"\s*(\{|\[\s*[\"{\]])", value)
        value = parse_json(value, source) if is_json else plain(value).splitlines()
    return _texts(value, source)


def _is_stl(path: Path) -> bool:
    """Tell whether a file is EBU STL and not, say, a model of a thing, which has the same suffix."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return _EBU_STL.match(file.read(16)) is not None


def _parse(text: str, source: str) -> tuple[list[Sentence], list[str]]:
    """Read the text of a subtitle file as sentences, and what to note of it."""
    return _noted(_cues(text, source), source)


def _noted(read: Cues, source: str) -> tuple[list[Sentence], list[str]]:
    """Turn cues into sentences, and say how many could not be read."""
    if read.lost and not read.cues:
        raise InputError(f"{source}: expected cues that end after they start, found {_lost(read)}.")
    notes = [f"{source}: {_lost(read)}: left out."] if read.lost else []
    return sentences_of_cues(read.cues), notes


def _lost(read: Cues) -> str:
    """Say how many cues could not be read."""
    count, first = len(read.lost), read.lost[0][:80]
    return f"{count} of {count + len(read.cues)} cues without times that can be read, the first {first!r}"


def _cues(text: str, source: str) -> Cues:
    """Read the cues of a file in any format, told by its content."""
    start = text[:DETECTED_IN].lstrip()
    found: Cues | None = None
    if start.startswith("WEBVTT"):
        return timed_cues(text, is_webvtt=True)
    if start.startswith("Scenarist_SCC"):
        return scc_cues(text, source)
    if re.match(r"\{\s*\"|\[\s*[{\]]", start):
        found = json_cues(text, source)
    elif re.match(r"<(\?xml|!DOCTYPE|tt|timedtext|transcript)\b", start):
        return xml_cues(text, source)
    elif styles := _STYLES.search(text, 0, DETECTED_IN):
        text = _bare_events(text, f"[{styles[0]}]")
    elif has_timings(text):
        return timed_cues(text, is_webvtt=False)
    else:
        found = transcript_cues(text)
    return found or _others(text, source)


def _others(text: str, source: str) -> Cues:
    """Read what pysubs2 knows: SubStation, SAMI, MicroDVD, MPL2, TMP."""
    import pysubs2

    try:
        events = pysubs2.SSAFile.from_string(_with_ends(text))
        _close(events)
        if events.format == "sami":  # a text stays until the next SYNC; pysubs2 1.8 guesses by the text's length
            ends = dict(pairwise(sorted({event.start for event in events})))
            for event in events:
                event.end = ends.get(event.start, event.end)
        read = _cues_of_events(events)
        # pysubs2 takes any line that begins with 0:00:01: for TMP, also that of a transcript's times
        if events.format != "tmp" or any(re.search(r"[^\W\d_]", cue.text) for cue in read.cues):
            return read
        reason: Exception | None = None
    except pysubs2.exceptions.UnknownFPSError as error:
        what, hint = "MicroDVD without its frame rate", "Put a line {1}{1}25.0 before it, for 25 a second."
        raise InputError(f"{source}: expected a subtitle file ({FORMATS}), found {what}. {hint}") from error
    except Exception as error:  # pysubs2 1.8 lets KeyError, NotImplementedError and others of its parsers through
        reason = error
    found = f"text that starts with {text.strip()[:40]!r}" if text.strip() else "an empty file"
    raise InputError(f"{source}: expected a subtitle file ({FORMATS}), found {found}. Save it as SubRip.") from reason


def _with_ends(text: str) -> str:
    """Give lines of MicroDVD and MPL2 the end 0 where they have none; pysubs2 1.8 leaves them out.

    It writes the frame rate of MicroDVD at {0}{0}, and reads it at {1}{1} alone.
    """
    return _NO_END.sub(r"\g<1>0", _RATE_AT_0.sub("{1}{1}", text))


def _close(events: Any) -> None:
    """Let what has no end, or 0, last until the next text of MicroDVD or MPL2, as players do."""
    if events.format in ("microdvd", "mpl2") and any(event.end == 0 for event in events):
        events.sort()
        closed = until_next((event.start / 1000, event.text) for event in events)
        for event, cue in zip(events, closed, strict=True):
            event.end = event.end or round(cue.end_s * 1000)


def _cues_of_events(events: Iterable[Any]) -> Cues:
    """Turn pysubs2 events into cues."""
    cues, lost = [], []
    for event in events:
        if event.text.count("{") > MAX_BRACES:
            event.text = event.text.replace("{", "")
        if not event.is_text or event.effect.strip().lower() == "fx":  # one "fx" event for each syllable of a song
            continue
        if event.end < event.start:
            lost.append(f"from {event.start / 1000} s to {event.end / 1000} s: {event.text}")
            continue
        cues.append(Sentence(html.unescape(event.plaintext), event.start / 1000, event.end / 1000))
    return Cues(cues, tuple(lost))


def _as_sentence(item: Any, number: int) -> Sentence:
    """Check one sentence of a list."""
    text = start_s = end_s = None  # type: Any
    match item:
        case Sentence(text, start_s, end_s) | (start_s, end_s, text):
            pass
        case {"start_s": start_s, "end_s": end_s, "text": text} | {"start": start_s, "end": end_s, "text": text}:
            pass
    if not isinstance(text, str) or not all(isinstance(t, Real) and math.isfinite(t) for t in (start_s, end_s)):
        raise InputError(
            f"Sentence {number}: expected (start_s, end_s, text) with times in seconds, found {item!r:.80}"
        )
    if end_s < start_s:
        raise InputError(f"Sentence {number}: expected an end after its start, found {item!r:.80}")
    return Sentence(" ".join(text.split()), float(start_s), float(end_s))


def _shift_hint(first_s: float, last_s: float, duration_s: float) -> str:
    """Suggest the shift after which all sentences lie in the video.

    A whole hour (broadcasts) comes before the least.
    """
    if last_s - first_s > duration_s:
        return "Do these subtitles belong to this video?"
    least_s, hour_s = last_s - duration_s if first_s > 0 else first_s, first_s // 3600 * 3600
    shift_s = hour_s if 0 < least_s <= hour_s else least_s
    return f"Are they shifted? Moved by {-shift_s:+.1f} s they would fit."


def _bare_events(substation: str, styles: str) -> str:
    """Strip SubStation to its events.

    No sentence needs the rest, and pysubs2 fails at a style without colours, for one.
    """
    return "\n".join([styles, "[Events]", *re.findall(r"^[ \t]*Dialogue:.*", substation, re.MULTILINE)])


def _srt_time(time_s: float) -> str:
    minutes, milliseconds = divmod(round(time_s * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d},{milliseconds % 1000:03d}"


def _texts(content: Any, source: str) -> tuple[str, ...]:
    """List the texts of a list or of an object.

    There is at least one. The object has title, description, steps, numbered steps.
    """
    items = content
    if isinstance(content, dict):
        steps = content.get("steps") or []
        numbers = [key for key in content if key.isdecimal() and len(key) <= MAX_DIGITS]
        numbered = [content[key] for key in sorted(numbers, key=int)]
        items = [content.get("title"), content.get("description"), *(steps if isinstance(steps, list) else [steps])]
        items = [item for item in items + numbered if item is not None]
    if not isinstance(items, (list, tuple)):
        raise InputError(f"{source}: expected a list of texts or an object, found {type(items).__name__}")
    texts: list[Any] = [item.get("text") if isinstance(item, dict) else item for item in items]
    if not all(isinstance(item, str) for item in texts):
        raise InputError(f'{source}: expected strings or objects with "text", found {items!r:.80}')
    folded = tuple(" ".join(text.split()) for text in texts if text.strip())
    if not folded:
        raise InputError(f"{source}: expected at least one text about the video, found none")
    return folded
