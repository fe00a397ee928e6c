#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8): of H.264 with open groups, skip_frame = "NONKEY" gives a few key frames, the last one first.
#
# Guess: each packet that is marked as a key frame gives its picture, in the order of showing, as with closed groups.
# Seen: of ten key frames three come, those at 1.6, 0.8 and 0.0 s, in this order. The other seven never come, without an
#   error, and also where only the packets of key frames are sent. HEVC with open groups gives all ten.
#
#   h264, closed groups: 10 key frames, decoded 0.0 0.8 1.6 2.4 3.2 4.0 4.8 5.6 6.4 7.2
#   h264, open groups: 10 key frames, decoded 1.6 0.8 0.0
#   hevc, open groups: 10 key frames, decoded 0.0 0.8 1.6 2.4 3.2 4.0 4.8 5.6 6.4 7.2
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet av==18.1.0 numpy
cd "$place"
"$place/venv/bin/python" - <<'PY'
import av
import numpy as np

GROUPS = "keyint=20:min-keyint=20:scenecut=0:bframes=3:b-adapt=0"
ALL = [k * 0.8 for k in range(10)]
KINDS = (
    ("h264, closed groups", "libx264", "x264-params", f"{GROUPS}:open-gop=0", ALL),
    ("h264, open groups", "libx264", "x264-params", f"{GROUPS}:open-gop=1", [1.6, 0.8, 0.0]),
    ("hevc, open groups", "libx265", "x265-params", f"{GROUPS}:open-gop=1:log-level=none", ALL),
)
for name, encoder, option, value, expected in KINDS:
    with av.open("a.mp4", "w") as target:
        stream = target.add_stream(encoder, rate=25, options={option: value})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(200):
            picture = np.full((64, 64, 3), number, np.uint8)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode(None))
    with av.open("a.mp4") as source:
        keys = sum(packet.is_keyframe for packet in source.demux(video=0))
    for sends_all in (True, False):
        with av.open("a.mp4") as source:
            source.streams.video[0].codec_context.skip_frame = "NONKEY"
            packets = (one for one in source.demux(video=0) if sends_all or one.is_keyframe or not one.size)
            shown = [round(frame.time, 3) for packet in packets for frame in packet.decode()]
        assert keys == 10 and shown == [round(time_s, 3) for time_s in expected], (name, keys, shown)
    print(f"{name}: {keys} key frames, decoded {' '.join(map(str, shown))}")
PY
