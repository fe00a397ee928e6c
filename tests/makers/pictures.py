"""Videos whose pictures need what is told beside their pixels, and how to make and read them."""

import re
import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from hiersum_hf.records import Segment
from hiersum_hf.video.reader import iter_frames
from hiersum_hf.video.writer import write_segments
from tests.makers.videos import EVERY


needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg command to compare with")
COLOURS = np.array([[(200, 40, 40), (40, 160, 60)], [(40, 60, 200), (200, 180, 40)]], np.uint8)  # the four quarters
# (a, b, c, d) of the eight display matrices: column p, row q go to column a p + c q, row b p + d q
ORIENTATIONS = {
    "as stored": (1, 0, 0, 1),
    "left to right": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "half turn": (-1, 0, 0, -1),
    "right turn": (0, 1, -1, 0),
    "left turn": (0, -1, 1, 0),
    "swapped": (0, 1, 1, 0),
    "swapped the other way": (0, -1, -1, 0),
}


def quarters(size):
    """An image of the four colours, (H, W, 3)."""
    return COLOURS.repeat(size[1] // 2, 0).repeat(size[0] // 2, 1)


def told(
    path, images, matrix=6, full=False, tags=None, pix_fmt="yuv420p", codec="libx264", options=None, shape=None, fps=25
):
    """A video of images, (H, W, 3) each, whose colours are of a matrix and range.

    `tags` are the numbers of matrix, primaries and transfer that are written into it, None of them without.
    """
    shape = shape or Fraction(1)
    with av.open(str(path), "w") as target:
        quiet = (
            {"x265-params": "log-level=none"}
            if codec == "libx265"
            else {"crf": "4", "bf": "0"}
            if codec == "libx264"
            else {}
        )
        stream = target.add_stream(codec, rate=fps, options=quiet | (options or {}))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.codec_context.sample_aspect_ratio = pix_fmt, shape
        for name, value in zip(("colorspace", "color_primaries", "color_trc"), tags or (), strict=False):
            setattr(stream.codec_context, name, value)
        if tags or full:
            stream.codec_context.color_range = 2 if full else 1
        for k, image in enumerate(images):
            rgb = av.VideoFrame.from_ndarray(image, format="rgb24")
            rgb.colorspace = matrix  # of what it becomes
            ranges = {"src_color_range": 2, "dst_color_range": 2 if full else 1}
            frame = VideoReformatter().reformat(rgb, format=pix_fmt, **ranges)
            frame.pts, frame.time_base = k, Fraction(1, fps)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def oriented(path, matrix, output):
    """A copy of an .mp4 or .mov with another display matrix (a, b, c, d)."""
    content = bytearray(path.read_bytes())
    at = re.search(rb"tkhd", content).end() + 40  # version 0: after times, duration, layer, volume
    one = 1 << 16
    a, b, c, d = (number * one for number in matrix)
    content[at : at + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    output.write_bytes(content)
    return output


def joined(parts, output, change="null"):
    """One video of the packets of raw H.264 files, 25 pictures a second, each packet through a bit stream filter."""
    with av.open(str(output), "w") as target:
        stream, at = None, 0
        for part in parts:
            with av.open(str(part)) as source:
                stream = stream or target.add_stream_from_template(source.streams.video[0])
                changer = av.BitStreamFilterContext(change, source.streams.video[0], stream)
                for packet in source.demux(video=0):
                    for changed in changer.filter(packet if packet.size else None):
                        changed.stream, changed.time_base = stream, Fraction(1, 25)
                        changed.pts = changed.dts = at
                        at += 1
                        target.mux(changed)
    return output


def tags(path):
    """Matrix, primaries, transfer and range that a video tells."""
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        return codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range


def summary_of(path, output, start_s=0.0, end_s=0.5):
    """One segment of a video, encoded anew unless it begins at a key frame and ends where the video does."""
    write_segments(path, [Segment(start_s, end_s, 1.0)], output)
    return output


def first(path):
    """The first image of a video."""
    return next(iter_frames(path, EVERY))[1]


def cropped(path, top, bottom, left, right):
    """A .mov, whose clean aperture then leaves out so many pixels, or what FFmpeg makes an .mkv of."""
    with av.open(str(path)) as container:
        width, height = container.streams.video[0].width, container.streams.video[0].height
    # Width, height and the way from the picture's middle to that of the aperture, each a fraction
    numbers = width - left - right, 1, height - top - bottom, 1, left - right, 2, top - bottom, 2
    aperture = b"\0\0\0\x28clap" + np.array(numbers, ">i4").tobytes()
    content, found = bytearray(path.read_bytes()), -1
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):  # each within the one before
        found = content.index(name, found + 1)
        size = int.from_bytes(content[found - 4 : found], "big")
        content[found - 4 : found] = (size + len(aperture)).to_bytes(4, "big")
    path.write_bytes(content[: found - 4 + size] + aperture + content[found - 4 + size :])
    return path


def middles(image):
    """The colours in the middle of the four quarters of an image, int (2, 2, 3)."""
    height, width = image.shape[:2]
    return image[np.ix_([height // 4, 3 * height // 4], [width // 4, 3 * width // 4])].astype(int)


def ffmpeg(*words, given=None):
    """What FFmpeg's own command writes."""
    command = ["ffmpeg", "-nostdin"] if given is None else ["ffmpeg"]
    done = subprocess.run([*command, "-loglevel", "error", "-y", *map(str, words)], input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
