#!/usr/bin/env bash
# PyAV 18.1.0 with FFmpeg 8.1: what a container crops (PixelCrop of Matroska, clean aperture of .mp4 and .mov) is not told.
#
# Guess: a frame has the size that players show, or the stream has side data that says which part of it they show, as it
#   has for a turned picture.
# Seen: the frame is whole, and neither frame nor stream tells of the crop, which mpv, VLC, QuickTime and FFmpeg's own
#   command apply. FFmpeg has read it: a Matroska header that PyAV writes from the stream holds PixelCropTop (54 BB).
#
#   shown 64 x 48, decoded 64 x 64, told of the crop: nothing
#   in a header written from the stream: PixelCropTop 8
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet av==18.1.0 numpy
cd "$place"
"$place/venv/bin/python" - <<'PY'
import io
import struct

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer

with av.open("whole.mov", "w") as target:
    stream = target.add_stream("mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    for level in range(10):
        target.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), format="rgb24")))
    target.mux(stream.encode(None))

# A clean aperture of 64 x 48 about the middle, put at the end of the picture's description
aperture = struct.pack(">I4s8i", 40, b"clap", 64, 1, 48, 1, 0, 1, 0, 1)
content, at = bytearray(open("whole.mov", "rb").read()), -1
for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"mp4v"):
    at = content.index(name, at + 1)
    size = int.from_bytes(content[at - 4 : at], "big")
    content[at - 4 : at] = (size + len(aperture)).to_bytes(4, "big")
open("cropped.mov", "wb").write(content[: at - 4 + size] + aperture + content[at - 4 + size :])

with av.open("cropped.mov") as source:
    stream = source.streams.video[0]
    frame = next(source.decode(stream))
    told = [item.type.name for item in SideDataContainer(frame).values()]
    told += [name for name in dir(stream) + dir(stream.codec_context) + dir(frame) if "crop" in name.lower()]
    header = io.BytesIO()
    with av.open(header, "w", format="matroska") as target:
        target.add_stream_from_template(stream, opaque=True)
        target.start_encoding()
        written = header.getvalue()
print(f"shown 64 x 48, decoded {frame.width} x {frame.height}, told of the crop: {', '.join(told) or 'nothing'}")
top = written[written.index(bytes.fromhex("54bb81")) + 3]
print(f"in a header written from the stream: PixelCropTop {top}")
assert (frame.height, told, top) == (64, [], 8)
PY
