#!/usr/bin/env bash
# otio-fcpx-xml-adapter 1.0.0 (OpenTimelineIO 0.18.1): at 23.976 and 29.97 it writes a format without a frame duration.
#
# Guess: rates of NTSC, the commonest of editors, are written as frameDuration="1001/24000s" and "1001/30000s", and what the
#   adapter wrote it can read.
# Seen: frameDuration="" in the format that all clips refer to, and reading its own text ends with a ValueError. At 25 both
#   work. The clips' own times are right at every rate.
#
#   25: frameDuration="1/25s", read back equal
#   23.976: frameDuration="", reading it: ValueError
#   29.97: frameDuration="", reading it: ValueError
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet opentimelineio==0.18.1 otio-fcpx-xml-adapter==1.0.0
"$place/venv/bin/python" - <<'PY'
import re

import opentimelineio as otio
from opentimelineio.opentime import RationalTime, TimeRange

for name, rate in (("25", 25), ("23.976", 24000 / 1001), ("29.97", 30000 / 1001)):
    span = lambda start, frames: TimeRange(RationalTime(start, rate), RationalTime(frames, rate))  # noqa: B023, E731
    track = otio.schema.Track(kind="Video")
    track.append(otio.schema.Clip("a", otio.schema.ExternalReference("file:///a.mov", span(0, 40000)), span(1001, 307)))
    timeline = otio.schema.Timeline("cut")
    timeline.tracks.append(track)
    text = otio.adapters.write_to_string(timeline, "fcpx_xml")
    (duration,) = re.findall(r'frameDuration="([^"]*)"', text)
    try:
        (clip,) = otio.adapters.read_from_string(text, "fcpx_xml").find_clips()
        assert clip.source_range == span(1001, 307)
        found = "read back equal"
    except ValueError:
        found = "reading it: ValueError"
    assert (duration, found) == (("1/25s", "read back equal") if rate == 25 else ("", "reading it: ValueError"))
    print(f'{name}: frameDuration="{duration}", {found}')
PY
