#!/usr/bin/env bash
# pysubs2 1.8.1: WebVTT is written without escapes, so that what is said behind a "<" is gone.
#
# Guess: "<" and "&" of a text become "&lt;" and "&amp;", as WebVTT has to have them and as its TTML writer does it.
# Seen: they are written as they are. FFmpeg shows "if x " of "if x < 5 then stop", and "R&D" of a text "R&amp;D";
#   webvtt-py loses what stands between "<" and ">". The same texts survive in the TTML that it writes.
#
#   'if x < 5 then stop': FFmpeg reads 'if x '
#   'x < 5 and y > 2': FFmpeg reads 'x  2', webvtt-py 'x  2'
#   'the entity &amp; in HTML': FFmpeg reads 'the entity & in HTML'
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet pysubs2==1.8.1 av==18.1.0 webvtt-py==0.6.0
cd "$place"
"$place/venv/bin/python" - <<'PY'
import av
import pysubs2
import webvtt

SAID = {
    "if x < 5 then stop": ("if x ", "if x < 5 then stop"),
    "x < 5 and y > 2": ("x  2", "x  2"),
    "the entity &amp; in HTML": ("the entity & in HTML", "the entity &amp; in HTML"),
}
subtitles = pysubs2.SSAFile()
for number, text in enumerate(SAID):
    subtitles.append(pysubs2.SSAEvent(number * 1000, number * 1000 + 900, text))
subtitles.save("a.vtt")
with av.open("a.vtt") as source:
    shown = [item.ass.decode().split(",", 8)[8] for packet in source.demux() for item in packet.decode()]
other = [cue.text for cue in webvtt.read("a.vtt")]
assert dict(zip(SAID, zip(shown, other, strict=True), strict=True)) == SAID, (shown, other)
subtitles.save("a.ttml")
assert [event.text for event in pysubs2.load("a.ttml")] == [*SAID]
for text, one, two in zip(SAID, shown, other, strict=True):
    print(f"{text!r}: FFmpeg reads {one!r}" + (f", webvtt-py {two!r}" if two != text else ""))
PY
