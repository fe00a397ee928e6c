#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): an AAC decoder that is sought back from stereo to mono spoils a channel from then on.
#
# Guess: a seek flushes the decoder, so that what is read after it does not depend on what was read before.
# Seen: in one track whose header says mono and that goes on as stereo (a recorder's, joined without a new header) the
#   stereo is right when it is read from the beginning. After a seek from the stereo back into the mono, the mono comes
#   as stereo, and the first channel of the stereo behind it is too loud, or off in other ways.
#
#   read from the beginning: stereo, levels 0.211 0.211
#   after a seek back to the mono: stereo, levels 0.25 0.212
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 numpy
venv/bin/python - <<'PY'
from fractions import Fraction

import av
import numpy as np

RATE = 48000
tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)).astype(np.float32)
with av.open("joined.mkv", "w") as target:
    stream, last = None, -1
    for part, layout in enumerate(("mono", "stereo")):
        with av.open(f"{layout}.mp4", "w") as film:
            sound = film.add_stream("aac", rate=RATE, layout=layout)
            frame = av.AudioFrame.from_ndarray(np.tile(tone, (1 + part, 1)), format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            film.mux(sound.encode(frame))
            film.mux(sound.encode(None))
        with av.open(f"{layout}.mp4") as film:
            stream = stream or target.add_stream_from_template(film.streams[0])
            for packet in film.demux():
                late = part * 3 * RATE
                if packet.size and packet.dts + late > last:
                    last = packet.dts = packet.dts + late
                    packet.pts, packet.stream = packet.pts + late, stream
                    target.mux(packet)


def heard(seeks):
    with av.open("joined.mkv") as film:
        if seeks:
            next(frame for frame in film.decode(audio=0) if frame.time > 4)
            film.seek(2_500_000)
        frame = next(frame for frame in film.decode(audio=0) if frame.time > 5)
        return frame.layout.name, [round(float(level), 3) for level in np.sqrt(np.square(frame.to_ndarray()).mean(1))]


for name, seeks in (("read from the beginning", False), ("after a seek back to the mono", True)):
    layout, levels = heard(seeks)
    assert (levels[0] == levels[1]) != seeks
    print(f"{name}: {layout}, levels {levels[0]} {levels[1]}")
PY
