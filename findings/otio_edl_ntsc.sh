#!/usr/bin/env bash
# otio-cmx3600-adapter 1.0.0 (OpenTimelineIO 0.18.1): at 29.97 an EDL always counts drop-frame, and loses its own markers.
#
# Guess: the writer says which of the two counts it uses (FCM) and can use either, as EDLs do; and what it wrote with a
#   marker is read back with it.
# Seen: there is no FCM line, every time code is drop-frame (";"), so a non-drop cut of broadcast material cannot be
#   written; and the marker, written as "* LOC: 00:10:01;18", is gone after reading, without a word.
#
#   29.97: 00:10:00;18 for frame 18000, no FCM line, markers written 1, read back 0
#   25: 00:12:00:00 for frame 18000, no FCM line, markers written 1, read back 1
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet opentimelineio==0.18.1 otio-cmx3600-adapter==1.0.0
"$place/venv/bin/python" - <<'PY'
import opentimelineio as otio
from opentimelineio.opentime import RationalTime, TimeRange

for name, rate, shown, back in (("29.97", 30000 / 1001, "00:10:00;18", 0), ("25", 25, "00:12:00:00", 1)):
    span = lambda start, frames: TimeRange(RationalTime(start, rate), RationalTime(frames, rate))  # noqa: B023, E731
    clip = otio.schema.Clip("a", otio.schema.ExternalReference("a.mov", span(0, 40000)), span(18000, 300))
    clip.markers.append(otio.schema.Marker("m", span(18030, 0)))
    track = otio.schema.Track(kind="Video")
    track.append(clip)
    timeline = otio.schema.Timeline("cut")
    timeline.tracks.append(track)
    text = otio.adapters.write_to_string(timeline, "cmx_3600")
    assert "FCM" not in text and f" {shown} " in text and text.count("* LOC:") == 1, text
    again = otio.adapters.read_from_string(text, "cmx_3600", rate=rate).tracks[0][0]
    assert len(again.markers) == back, list(again.markers)
    print(f"{name}: {shown} for frame 18000, no FCM line, markers written 1, read back {back}")
PY
