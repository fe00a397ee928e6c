#!/usr/bin/env bash
# OpenCV 5.0.0 (headless wheel) and MoviePy 2.2.1: second 7.5 of an .mp4 of varying rate is not what they show for it.
#
# Guess: a moment that is asked for in seconds (CAP_PROP_POS_MSEC, get_frame) is found by the times of the pictures, as
#   OpenCV tells the right one of each picture that it reads in turn.
# Seen: both count pictures, as many as the seconds have at the average rate. Of a recording that holds 25 pictures a
#   second for 5 s and every seventh for 15 s more, as a screen recorder stores it, both show second 2 where 7.5 is asked
#   for, and 4 for 12.5. No error, no warning. Who cuts a summary by its times with them gets other moments.
#
#   read in turn: OpenCV tells the time of each of 179 pictures
#   second 2.5: OpenCV shows one of second 0, MoviePy of 0
#   second 7.5: OpenCV shows one of second 2, MoviePy of 2
#   second 12.5: OpenCV shows one of second 4, MoviePy of 4
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 moviepy==2.2.1 av==18.1.0
cd "$place"
"$place/venv/bin/python" -W ignore - <<'PY'
from fractions import Fraction

import av
import cv2
import numpy as np
from moviepy import VideoFileClip

with av.open("a.mp4", "w") as target:
    stream = target.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 48, "yuv420p", Fraction(1, 25)
    stream.codec_context.time_base = Fraction(1, 25)
    for tick in range(500):
        if tick < 125 or tick % 7 == 0:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * (tick // 25) + 20, np.uint8), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 25)
            target.mux(stream.encode(frame))
    target.mux(stream.encode(None))


def second(picture):
    """Pictures get brighter by 10 each second."""
    return round((float(np.mean(picture)) - 20) / 10)


capture, count = cv2.VideoCapture("a.mp4"), 0
while True:
    there, picture = capture.read()
    if not there:
        break
    count += 1
    assert second(picture) == int(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 + 1e-6)
print(f"read in turn: OpenCV tells the time of each of {count} pictures")

clip, found = VideoFileClip("a.mp4"), {}
for wanted in (2.5, 7.5, 12.5):
    capture = cv2.VideoCapture("a.mp4")
    capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * wanted)
    found[wanted] = second(capture.read()[1]), second(clip.get_frame(wanted))
    print(f"second {wanted}: OpenCV shows one of second {found[wanted][0]}, MoviePy of {found[wanted][1]}")
assert found == {2.5: (0, 0), 7.5: (2, 2), 12.5: (4, 4)}, found
PY
