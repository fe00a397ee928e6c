#!/usr/bin/env bash
# scenedetect-headless 0.7.2: where the frame rate varies, the last scene can end before it begins, and a video be half as long.
#
# Guess: it knows times since 0.7, so beginnings, ends and durations are those of the pictures, whatever opens the file.
# Seen: all cuts are right to the frame. But of the .mkv, for which FFmpeg tells 1000 frames a second, OpenCV's backend ends
#   the last scene, from 21 s on, at 0.66 s; and PyAV's backend says of the .mp4 that its 24 s last 13.2 s.
#
#   .mp4 by opencv: last scene 21.00 to 24.02 s, video 24.02 s
#   .mp4 by pyav: last scene 21.00 to 24.00 s, video 13.20 s
#   .mkv by opencv: last scene 21.00 to 0.66 s, video 24.02 s
#   .mkv by pyav: last scene 21.00 to 24.18 s, video 24.00 s
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet scenedetect-headless==0.7.2 opencv-python-headless==5.0.0.93 av==18.1.0 numpy
cd "$place"
"$place/venv/bin/python" - <<'PY'
from fractions import Fraction

import av
import numpy as np
from scenedetect import AdaptiveDetector, SceneManager, open_video

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 40), (20, 20, 20), (240, 240, 240))


def write() -> None:
    """Write 12 s of slides at 5 frames a second, 12 s of film at 50; a cut every 3 s."""
    with av.open("a.mp4", "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms in (*range(0, 12000, 200), *range(12000, 24000, 20)):
            picture = np.full((120, 160, 3), COLOURS[time_ms // 3000 % 6], np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


write()
with av.open("a.mp4") as source, av.open("a.mkv", "w") as target:
    copy = target.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(video=0):
        if packet.size:
            packet.stream = copy
            target.mux(packet)
SEEN = {
    ("mp4", "opencv"): (24.02, 24.02), ("mp4", "pyav"): (24.0, 13.2),
    ("mkv", "opencv"): (0.66, 24.02), ("mkv", "pyav"): (24.18, 24.0),
}
for (suffix, backend), expected in SEEN.items():
    video, manager = open_video(f"a.{suffix}", backend=backend), SceneManager()
    manager.add_detector(AdaptiveDetector())
    manager.detect_scenes(video)
    scenes = manager.get_scene_list()
    assert [round(start.seconds, 3) for start, _ in scenes] == [0, 3, 6, 9, 12, 15, 18, 21]
    found = round(scenes[-1][1].seconds, 2), round(video.duration.seconds, 2)
    assert found == expected, (suffix, backend, found)
    print(f".{suffix} by {backend}: last scene 21.00 to {found[0]:.2f} s, video {found[1]:.2f} s")
PY
