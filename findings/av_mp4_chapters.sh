#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8): in .mp4 the first chapter begins at 0 whatever was set, each lasts until the next, and a copy of all
# streams of such a file cannot be written.
#
# Guess: what set_chapters was given comes back by chapters(), as from .mkv, but for rounding; and a file with chapters is
#   copied by one add_stream_from_template for each stream, as one without.
# Seen: .mp4 keeps titles and the other starts alone: a chapter from 0.5 s on begins at 0, a gap belongs to the chapter before
#   it. The titles become a stream of data with its discard set, which neither .mp4 nor .mkv takes from another file.
#
#   mkv: 0.5-2 intro, 3-4 soup, 6-9 end; streams: video; copied
#   mp4: 0-3 intro, 3-6 soup, 6-9 end; streams: video data; copying it: InvalidDataError
#   mp4 without its discarded stream: 0-3 intro, 3-6 soup, 6-9 end; streams: video data; copied
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet av==18.1.0 numpy
cd "$place"
"$place/venv/bin/python" - <<'PY'
from fractions import Fraction

import av
import numpy as np
from av.stream import Discard

GIVEN = ((500, 2000, "intro"), (3000, 4000, "soup"), (6000, 9000, "end"))


def copy(name, output, chapters, all_streams=True):
    with av.open(name) as source, av.open(output, "w") as target:
        streams = [one for one in source.streams if all_streams or one.discard is not Discard.all]
        copies = {one.index: target.add_stream_from_template(one) for one in streams}
        target.set_chapters(chapters or source.chapters())
        for packet in source.demux(streams):
            if packet.size:
                packet.stream = copies[packet.stream_index]
                target.mux(packet)


def seen(name):
    with av.open(name) as source:
        marks = [
            f"{float(one['start'] * one['time_base']):g}-{float(one['end'] * one['time_base']):g} {one['metadata']['title']}"
            for one in source.chapters()
        ]
        return f"{', '.join(marks)}; streams: {' '.join(stream.type for stream in source.streams)}"


with av.open("plain.mkv", "w") as target:
    stream = target.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    for number in range(250):
        picture = np.full((64, 64, 3), number, np.uint8)
        target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    target.mux(stream.encode(None))
chapters = [
    {"id": number, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
    for number, (start, end, title) in enumerate(GIVEN, 1)
]
for name, all_streams, expected, done in (
    ("mkv", True, "0.5-2 intro, 3-4 soup, 6-9 end; streams: video", "copied"),
    ("mp4", True, "0-3 intro, 3-6 soup, 6-9 end; streams: video data", "copying it: InvalidDataError"),
    ("mp4", False, "0-3 intro, 3-6 soup, 6-9 end; streams: video data", "copied"),
):
    copy("plain.mkv", f"a.{name}", chapters)
    try:
        copy(f"a.{name}", f"b.{name}", None, all_streams)
        assert seen(f"b.{name}") == expected, seen(f"b.{name}")
        found = "copied"
    except av.error.InvalidDataError:
        found = "copying it: InvalidDataError"
    assert (seen(f"a.{name}"), found) == (expected, done), (name, seen(f"a.{name}"), found)
    print(f"{name}{'' if all_streams else ' without its discarded stream'}: {expected}; {done}")
PY
