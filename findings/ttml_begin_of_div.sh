#!/usr/bin/env bash
# ttconv 1.2.3, pycaption 2.3.14: of TTML whose <body> or <div> begins later, cues are lost or come too early.
#
# Guess: the times of a <p> count from the beginning of what holds it, as TTML 1 says (10.2.1): with
#   <div begin="10s"> a <p begin="1s" end="2s"> is shown from 11 to 12 s, by every reader.
# Seen: ttconv lets the <div> end where its last <p> ends by the clock of the <div>, not that of its parent, 10 s too
#   early: what comes later is cut off, and with begin="8s" before a last end of 8 s the whole <div> is gone from what
#   it converts. With end="30s" on the <div> all is there. pycaption leaves out the beginning of the <div>.
#
#   <div begin="3s">: ttconv [(4.0, 5.0), (7.0, 8.0)] instead of [(4.0, 5.0), (7.0, 11.0)], pycaption [(1.0, 2.0), (4.0, 8.0)]
#   <div begin="8s">: ttconv [] instead of [(9.0, 10.0), (12.0, 16.0)], pycaption [(1.0, 2.0), (4.0, 8.0)]
#   <div begin="8s" end="30s">: ttconv [(9.0, 10.0), (12.0, 16.0)], pycaption [(1.0, 2.0), (4.0, 8.0)]
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet ttconv==1.2.3 pycaption==2.3.14
cd "$place"
"$place/venv/bin/python" -W ignore - <<'PY'
import re
from xml.etree import ElementTree

from pycaption import DFXPReader
from ttconv.imsc import reader
from ttconv.srt import writer

FORM = '<tt xmlns="http://www.w3.org/ns/ttml" xml:lang="en"><body><div {}>{}</div></body></tt>'
CUES = '<p begin="1s" end="2s">one</p><p begin="4s" end="8s">two</p>'


def by_ttconv(text):
    srt = writer.from_model(reader.to_model(ElementTree.ElementTree(ElementTree.fromstring(text))))
    times = re.findall(r"(\d+):(\d+):(\d+),(\d+)", srt)
    seconds = [int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000 for h, m, s, ms in times]
    return list(zip(seconds[::2], seconds[1::2], strict=True))


def by_pycaption(text):
    return [(cue.start / 1e6, cue.end / 1e6) for cue in DFXPReader().read(text).get_captions("en")]


EARLY = [(1.0, 2.0), (4.0, 8.0)]
for begins, right, seen in (
    ('begin="3s"', [(4.0, 5.0), (7.0, 11.0)], [(4.0, 5.0), (7.0, 8.0)]),
    ('begin="8s"', [(9.0, 10.0), (12.0, 16.0)], []),
    ('begin="8s" end="30s"', [(9.0, 10.0), (12.0, 16.0)], [(9.0, 10.0), (12.0, 16.0)]),
):
    text = FORM.format(begins, CUES)
    found, other = by_ttconv(text), by_pycaption(text)
    assert (found, other) == (seen, EARLY), (begins, found, other)
    print(f"<div {begins}>: ttconv {found}" + (f" instead of {right}" if found != right else "") + f", pycaption {other}")
PY
