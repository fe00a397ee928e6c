"""Videos, intact and damaged, and how to measure them."""

import math
import os
from fractions import Fraction

import av
import numpy as np
import pytest


DATA = os.environ.get("HIERSUM_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="HIERSUM_TEST_DATA is not set: no real videos")
EVERY = 1000.0  # a sample_fps above any video's: every frame


def synthetic(
    path,
    times_s,
    size=(64, 48),
    tone_hz=None,
    rotation=0,
    gop=12,
    muxer=None,
    codec=None,
    pix_fmt="yuv420p",
    begin_s=0.0,
    options=None,
    muxing=None,
):
    """A video whose frame k is grey of level 40 + 8 (k mod 20), with an optional tone from 0 to 3 s."""
    with av.open(str(path), "w", format=muxer, options=muxing or {}) as target:
        codec = codec or ("libx264" if size[0] % 2 == size[1] % 2 == 0 else "ffv1")
        # The same bytes on any machine: x264 gives others with another number of threads
        own = {"libx264": {"threads": "3"}, "libx265": {"x265-params": "log-level=none:open-gop=0"}}.get(codec, {})
        pictures = target.add_stream(codec, rate=25, options=own | (options or {}))
        pictures.width, pictures.height, pictures.pix_fmt = *size, pix_fmt
        pictures.codec_context.time_base = Fraction(1, 1000)
        pictures.codec_context.gop_size = gop
        if rotation:
            pictures.set_display_rotation(rotation)
        audio = target.add_stream("aac", rate=44100, layout="stereo") if tone_hz else None
        for k, time_s in enumerate(times_s):
            image = np.full((size[1], size[0], 3), 40 + 8 * (k % 20), np.uint8)
            image[: size[1] // 2, : size[0] // 2] = (255, 0, 0)  # top left
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round((begin_s + time_s) * 1000), Fraction(1, 1000)
            target.mux(pictures.encode(frame))
        target.mux(pictures.encode(None))
        if audio:
            wave = 0.3 * np.sin(2 * np.pi * tone_hz * np.arange(3 * 44100) / 44100)
            sound = av.AudioFrame.from_ndarray(np.tile(wave, (2, 1)).astype(np.float32), format="fltp", layout="stereo")
            sound.sample_rate, sound.pts, sound.time_base = 44100, round(begin_s * 44100), Fraction(1, 44100)
            target.mux(audio.encode(sound))
            target.mux(audio.encode(None))
    return path


def damaged(path):
    """Noise over an eighth of the file, before its middle."""
    content = path.read_bytes()
    size = len(content) // 8
    begin = len(content) // 2 - size
    noise = np.random.default_rng(0).bytes(size)
    path.write_bytes(content[:begin] + noise + content[begin + size :])
    return path


def psnr(a, b):
    mse = np.mean((a.astype(float) - b) ** 2)
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def stream_ends_s(path):
    """The decoded end of each stream: last time stamp plus what it lasts."""
    ends = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is not None:
                end = float((packet.pts + packet.duration) * packet.time_base)
                ends[packet.stream.type] = max(end, ends.get(packet.stream.type, 0))
    return ends


def write_video(path, brightness=40, seconds=3):
    """A video that gets brighter, 10 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(10 * seconds):
            image = np.full((48, 64, 3), brightness + 3 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def steady(path, rate, count, timecode=None):
    """A video of `count` frames at an exact rate, with a second of silence, and the time code that its format holds."""
    codec = "mpeg2video" if path.suffix in (".ts", ".mxf") else "mpeg4"
    with av.open(str(path), "w") as target:
        coded = {"gop_timecode": timecode} if timecode and path.suffix == ".ts" else {}
        pictures = target.add_stream(codec, rate=rate, options=coded)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        if timecode and path.suffix != ".ts":
            (pictures if path.suffix in (".mp4", ".mov") else target).metadata["timecode"] = timecode
        sound = target.add_stream("pcm_s16le" if path.suffix == ".mxf" else "mp2", rate=48000, layout="stereo")
        for k in range(count):
            image = np.full((48, 64, 3), 40 + 8 * (k % 20), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = k, 1 / Fraction(rate)
            target.mux(pictures.encode(frame))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 48000), np.int16), format="s16", layout="stereo")
        silence.sample_rate, silence.pts, silence.time_base = 48000, 0, Fraction(1, 48000)
        target.mux(sound.encode(silence))
        for stream in (pictures, sound):
            target.mux(stream.encode(None))
    return path
