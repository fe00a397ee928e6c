"""Cues of JSON, XML, SCC and EBU STL: what YouTube's downloaders, Whisper and broadcasters write."""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree

from hiersum_hf.files.json_file import parse_json
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Sentence
from hiersum_hf.texts.cues import Cues, resolved


JSON_FORMS = "YouTube's json3 or Whisper's JSON (with segments, chunks, transcription or words)"
XML_FORMS = "TTML (.ttml, .dfxp) or YouTube's srv1, srv2 or srv3"
MOST_S = 1e8  # three years: no time of a film
TTML = "http://www.w3.org/ns/ttml"
TIMES = {"begin", "end", "dur"}  # of TTML's elements
STL_HEAD, STL_BLOCK, MAX_BLOCKS = 1024, 128, 20  # bytes of EBU STL; blocks of a cue, 112 letters each

_FORMER_TTML = re.compile(r"http://www\.w3\.org/20\d\d/\d\d/ttaf1")  # DFXP; the same elements under an older name
_TTML_TIME = re.compile(r"\s*(\d+:\d{2}:\d{2}(\.\d+|:\d{2,}(\.\d+)?)?|\d+(\.\d+)?(h|m|s|ms|f|t))\s*")


def json_cues(text: str, source: str) -> Cues | None:
    """Read the cues of JSON.

    Returns:
        None if the JSON is of another form.

    Raises:
        ValueError: No JSON; names `source`.
    """
    content = parse_json(text, source)
    match content:
        case {"events": [{"tStartMs": _}, *_] as items} | {"wireMagic": _, "events": [*items]}:
            # A window on screen is an event without text
            return _listed([item for item in items if isinstance(item, dict) and "segs" in item])
        case {"segments": [_, *_] as items} | {"chunks": [*items]} | {"transcription": [*items]} | {"words": [*items]}:
            return _listed(items)
        case {"segments": []} | []:
            return Cues([])
        case [{"text": str()}, *_] as items:
            return _listed(items)
    return None


def xml_cues(text: str, source: str) -> Cues:
    """Read the cues of TTML and of YouTube's XML.

    Raises:
        ValueError: No such XML; names `source`.
    """
    if re.search(r"<html[\s>]", text, re.IGNORECASE):
        raise InputError(f"{source}: expected {XML_FORMS}, found a web page. Save the subtitles that it links to.")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{source}: expected {XML_FORMS}, found XML with a document type. Remove it.")
    text = re.sub(r"^\s*<\?xml.*?\?>", "", text)  # its encoding is no longer that of the text
    try:
        root = ElementTree.fromstring(_FORMER_TTML.sub(TTML, text))
        if root.tag in ("timedtext", "transcript"):
            return _youtube(root)
        if root.tag == f"{{{TTML}}}tt":
            return _ttml(root)
        found = f"<{root.tag}>"
    except (ElementTree.ParseError, RecursionError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{source}: expected {XML_FORMS}, found what is none: {error}. Save it as SubRip.") from error
    raise InputError(f"{source}: expected {XML_FORMS}, found {found}. Save it as SubRip.")


def scc_cues(text: str, source: str) -> Cues:
    """Read SCC, the captions that American broadcasts have in their pictures, with ttconv.

    Raises:
        ValueError: Not readable; names `source`.
    """
    from ttconv.scc import reader

    logging.getLogger("ttconv").setLevel(logging.ERROR)
    try:
        body = reader.to_model(text).get_body()
        spoken = list(_spoken(body, Fraction(0), None)) if body is not None else []
    except Exception as error:  # ttconv 1.2 lets IndexError, KeyError and others of its parser through
        raise InputError(f"{source}: expected SCC, found what is none: {error}. Save it as SubRip.") from error
    if not spoken and len(text.split()) > 2:  # ttconv passes over what it does not understand
        raise InputError(f"{source}: expected captions in SCC, found none that can be read. Save it as SubRip.")
    return _ended(spoken, [])


def stl_cues(content: bytes, source: str) -> Cues:
    """Read EBU STL, what European broadcasters exchange, with ttconv; times count from the start of the programme.

    Raises:
        ValueError: Not readable; names `source`.
    """
    from ttconv.stl import reader
    from ttconv.stl.config import STLReaderConfiguration

    logging.getLogger("ttconv").setLevel(logging.CRITICAL)
    # ttconv looks at all blocks of a cue again with each further one; the number of the last is FF, of no text F0 to FE
    if re.search(rb"[^\xff]{%d}" % (MAX_BLOCKS + 1), re.sub(rb"[\xf0-\xfe]", b"", content[STL_HEAD + 3 :: STL_BLOCK])):
        raise InputError(f"{source}: expected EBU STL, found a cue of over {MAX_BLOCKS} blocks. Save it as SubRip.")
    try:
        document = reader.to_model(io.BytesIO(content), STLReaderConfiguration(program_start_tc="TCP"))
        body = document.get_body()
        return _ended(_spoken(body, Fraction(0), None) if body is not None else (), [])
    except Exception as error:  # ttconv 1.2 lets ValueError, struct.error and others of its parser through
        raise InputError(f"{source}: expected EBU STL, found what is none: {error}. Save it as SubRip.") from error


def _ended(spoken: Iterable[tuple[str, Fraction, Fraction | None]], lost: list[str]) -> Cues:
    """Make cues of paragraphs; those without an end, or that end before they start, are lost."""
    cues = []
    for text, start_s, end_s in spoken:
        if end_s is not None and start_s <= end_s < MOST_S:
            cues.append(Sentence(text, float(start_s), float(end_s)))
        else:
            lost.append(text.strip()[:60])
    return Cues(cues, tuple(lost))


def _listed(items: list[Any]) -> Cues:
    """Read objects with their times, under whatever names these forms give them."""
    cues, lost, speaker = [], [], ""
    for item in items:
        start_s = end_s = text = None  # type: Any
        match item:
            case {"tStartMs": int(start), "segs": [*pieces]}:
                start_s, end_s = _seconds(start), _seconds(start + _whole(item.get("dDurationMs")))
                text = "".join(str(piece.get("utf8", "")) for piece in pieces if isinstance(piece, dict))
            case {"timestamp": [start_s, end_s], "text": text} | {"start": start_s, "end": end_s, "text": text}:
                pass
            case {"offsets": {"from": int(start), "to": int(end)}, "text": text}:
                start_s, end_s = _seconds(start), _seconds(end)
            case {"start": start_s, "end": end_s, "word": text}:
                pass
        if not isinstance(text, str) or not _ascend(start_s, end_s):
            lost.append(f"{item!r:.60}")
            continue
        who = item.get("speaker")
        if isinstance(who, str) and who and who != speaker:
            text, speaker = f"{who}: {text.strip()}", who
        cues.append(Sentence(text, float(start_s), float(end_s)))
    return Cues(cues, tuple(lost))


def _ascend(start_s: Any, end_s: Any) -> bool:
    return all(isinstance(t, int | float) and abs(t) < MOST_S for t in (start_s, end_s)) and start_s <= end_s


def _seconds(ticks_ms: int) -> float:
    return ticks_ms / 1000 if abs(ticks_ms) < MOST_S * 1000 else math.inf


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _youtube(root: ElementTree.Element) -> Cues:
    """Read srv1 (start, dur in seconds), srv2 and srv3 (t, d in milliseconds)."""
    cues, lost = [], []
    for item in root.iter():
        if item.tag not in ("p", "text"):
            continue
        unit, begin, length = (1, "start", "dur") if "start" in item.attrib else (1000, "t", "d")
        try:
            start, lasts = float(item.attrib[begin]), float(item.get(length, 0))
        except (KeyError, ValueError):
            start = lasts = math.nan
        text = "".join(item.itertext())
        if lasts >= 0 and math.isfinite(start + lasts):
            cues.append(Sentence(resolved(text), start / unit, (start + lasts) / unit))
        elif text.strip():
            lost.append(text.strip()[:60])
    return Cues(cues, tuple(lost))


def _ttml(root: ElementTree.Element) -> Cues:
    """Read TTML with ttconv, which knows durations, frames, ticks and what elements inherit."""
    from ttconv.imsc import reader

    lost = []
    for item in root.iter(f"{{{TTML}}}p"):
        times = [item.get(key) for key in TIMES]
        if not all(time is None or _TTML_TIME.fullmatch(time) for time in times):
            lost.append("".join(item.itertext()).strip()[:60])
            item.clear()  # ttconv takes times that it cannot read for 0
    for parent in root.iter():
        for item in parent if parent.get("timeContainer") != "seq" else ():
            holds = item.tag in (f"{{{TTML}}}body", f"{{{TTML}}}div") or any(TIMES & {*child.attrib} for child in item)
            if holds and TIMES & {*item.attrib} == {"begin"}:
                # ttconv 1.2 ends it with its last part, whose time it counts from the beginning of the parent
                item.set("dur", f"{MOST_S:.0f}s")
    logging.getLogger("ttconv").setLevel(logging.ERROR)  # it warns of what it does not show, such as a missing language
    document = reader.to_model(ElementTree.ElementTree(root))
    body = document.get_body() if document else None
    return _ended(_spoken(body, Fraction(0), None) if body is not None else (), lost)


def _spoken(element: Any, from_s: Fraction, to_s: Fraction | None) -> Iterator[tuple[str, Fraction, Fraction | None]]:
    """List the paragraphs below an element, or their spans where only these have times."""
    from ttconv.model import P, Span

    begin_s, end_s = element.get_begin(), element.get_end()
    start_s = from_s + (begin_s or 0)
    stop_s = to_s if end_s is None else from_s + end_s if to_s is None else min(to_s, from_s + end_s)
    timed = [c for c in element if isinstance(c, Span) and (c.get_begin(), c.get_end()) != (None, None)]
    if isinstance(element, Span) or (isinstance(element, P) and not timed):
        text = "".join(_texts(element))
        if text.strip():
            yield text, start_s, stop_s
        return
    for child in element:
        if hasattr(child, "get_begin"):
            yield from _spoken(child, start_s, stop_s)


def _texts(element: Any) -> Iterator[str]:
    from ttconv.model import Br, Rt, Text

    for child in element:
        if isinstance(child, Text):
            yield child.get_text()
        elif isinstance(child, Br):
            yield "\n"
        elif not isinstance(child, Rt):
            yield from _texts(child)
