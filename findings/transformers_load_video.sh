#!/usr/bin/env bash
# transformers 5.23.0: load_video takes frames of the first tenth of a fragmented .mp4, and one of an .mkv of varying rate.
#
# Guess: num_frames=4 gives four frames spread over the whole video, or an error where a file does not tell its length.
# Seen: a header may count the pictures of its first fragment alone; PyAV and OpenCV pass that on, and all four frames come
#   from the first 0.4 of 4 s. Of the .mkv FFmpeg tells 1000 frames a second; OpenCV makes 6,020 frames of 101 and one comes
#   instead of four. Both are silent, and the metadata tells the wrong length too. PyAV counts 0 frames of any .mkv: refused.
#
#   plain.mp4 by pyav: 4 frames, from pictures 0 25 50 75 of 100; told 100
#   plain.mp4 by opencv: 4 frames, from pictures 0 25 50 75 of 100; told 100
#   fragmented.mp4 by pyav: 4 frames, from pictures 0 2 5 7 of 100; told 10
#   fragmented.mp4 by opencv: 4 frames, from pictures 0 2 5 7 of 100; told 10
#   varied.mkv by opencv: 1 frames, from pictures 0 of 101; told 6020
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet transformers==5.23.0 av==18.1.0 opencv-python-headless==5.0.0.93 numpy pillow
cd "$place"
"$place/venv/bin/python" - <<'PY'
from fractions import Fraction

import av
import numpy as np
from transformers.video_utils import load_video


def write(name, times_ms, **options):
    """Write pictures of growing brightness, two levels each."""
    with av.open(name, "w", options=options) as target:
        stream = target.add_stream("libx264", rate=25, options={"g": "10", "bf": "0", "qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), 20 + 2 * number, np.uint8), format="gray")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


steady, varied = range(0, 4000, 40), [*range(0, 4000, 100), *range(4000, 6000, 33)]
write("plain.mp4", steady)
write("fragmented.mp4", steady, movflags="frag_keyframe")
write("varied.mp4", varied)
with av.open("varied.mp4") as source, av.open("varied.mkv", "w") as target:
    copy = target.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(video=0):
        if packet.size:
            packet.stream = copy
            target.mux(packet)
with av.open("plain.mp4") as source:
    level = [frame.to_ndarray(format="rgb24").mean() for frame in source.decode(video=0)]
for name, backend, expected, told in (
    ("plain.mp4", "pyav", [0, 25, 50, 75], 100),
    ("plain.mp4", "opencv", [0, 25, 50, 75], 100),
    ("fragmented.mp4", "pyav", [0, 2, 5, 7], 10),
    ("fragmented.mp4", "opencv", [0, 2, 5, 7], 10),
    ("varied.mkv", "opencv", [0], 6020),
):
    video, about = load_video(name, num_frames=4, backend=backend)
    taken = [int(np.abs(np.array(level) - np.asarray(frame).mean()).argmin()) for frame in video]
    assert (taken, about.total_num_frames) == (expected, told), (name, backend, taken, about)
    count = len(varied if name == "varied.mkv" else steady)
    pictures = " ".join(map(str, taken))
    print(f"{name} by {backend}: {len(taken)} frames, from pictures {pictures} of {count}; told {about.total_num_frames}")
try:
    load_video("varied.mkv", num_frames=4, backend="pyav")
except ValueError as error:
    assert "exceeds" in str(error)
else:
    raise AssertionError("expected that no .mkv is read by PyAV")
PY
