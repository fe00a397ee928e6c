"""Sampling and cutting 10 minutes of video, beside bare PyAV loops with the same threads and codecs.

`run` is called by scripts/run_benchmark.py. The reference for sampling decodes every frame and drops it; the one for
writing decodes and encodes the frames and sound of the same cuts (x264's preset medium), to whole sound frames, where
key frames come every 2 s and where they are 250 pictures apart. Turns, median of 3. Beside that, how near written
pictures are to the source's in each codec, and by each way of writing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from PIL import Image

from hiersum_hf.records import Segment
from hiersum_hf.video.reader import iter_frames
from hiersum_hf.video.writer import AUDIO_BITS, AUDIO_RATE, RENDERS, write_segments


SAMPLE_FPS = 2.0
FULL, QUICK = (1920, 1080, 30), (640, 360, 25)  # width, height, frames a second: most how-to videos; small ones
FIDELITY = (1280, 720, 30)
BITS_PER_PIXEL = 0.065  # 4 Mbit/s at full size, about what video sites send
PIECE_S = 60  # drawn and encoded; longer videos repeat its packets
SCENE_S = 6
ROOM = 200  # pixels by which a scene's ground is larger than the picture: the camera moves over it
BORDER_S = 0.5  # of a segment that begins and ends beside key frames
X264 = {"preset": "veryfast"}
CODECS = {
    "H.264": ("libx264", X264),
    "HEVC": ("libx265", X264 | {"x265-params": "log-level=none"}),
    "VP9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "row-mt": "1"}),
    "AV1": ("libsvtav1", {"preset": "12"}),
}


def run(quick: bool) -> list[dict]:
    """Three rows; a `ratio` is how many times faster the package is."""
    length_s, rounds, shape = (20, 1, QUICK) if quick else (600, 3, FULL)
    segments = [Segment(at + 0.34, at + 4.84, 1.0) for at in range(0, length_s - 7, 30)]  # 20 of them, 15 %
    with tempfile.TemporaryDirectory() as folder:
        video, ours, theirs = (Path(folder) / name for name in ("video.mp4", "ours.mp4", "theirs.mp4"))
        rows = []
        for group in (2 * shape[2], 250):
            what = render(video, length_s, shape, group)
            write = measured(
                lambda: write_segments(video, segments, ours), lambda: bare_cut(video, segments, theirs), rounds
            )
            if bare_decode(ours) != bare_decode(theirs):
                raise RuntimeError("expected the same number of frames from both sides, found a difference")
            said = f"{len(segments)} segments of 4.5 s written, groups of {group} pictures"
            rows.append({"what": f"{said}, from {what}"} | write)
        decode = measured(lambda: sum(1 for _ in iter_frames(video, SAMPLE_FPS)), lambda: bare_decode(video), rounds)
        rows += fidelity(Path(folder), QUICK if quick else FIDELITY)
    return [{"what": f"frames at {SAMPLE_FPS:g} fps of {what}"} | decode, *rows]


def fidelity(folder: Path, shape: tuple[int, int, int]) -> list[dict]:
    """Rows in dB: how near the brightness of written pictures is to the source's, at a segment's borders and inside."""
    rows, source, output, fps = [], folder / "source.mkv", folder / "written.mp4", shape[2]
    segment = Segment(1.7, 8.3, 1.0)  # between key frames
    for name, (codec, options) in CODECS.items():
        draw(source, 10, shape, 2 * fps, codec, options)
        pictures, found = dict(numbered(source, fps)), dict[str, list[float]]()
        for render in RENDERS:
            write_segments(source, [segment], output, render)
            # "copy" widens the segment to the whole file
            shift = 0 if render == "copy" else ceil(segment.start_s * fps - 1e-6)
            errors = [error_of(pictures[k + shift], picture) for k, picture in numbered(output, fps)]
            border = round(BORDER_S * fps)
            found[render] = [psnr(errors[:border] + errors[-border:]), psnr(errors[border:-border])]
        said = ", ".join(f"{render} {borders:.1f} and {inside:.1f}" for render, (borders, inside) in found.items())
        ours, reference = found["smart"][0], found["encode"][0]
        note = f"borders and inside: {said}; inf: the very same pictures; reference: all encoded"
        figures = {"ours": ours, "reference": reference, "unit": "dB", "ratio": ours / reference}
        rows.append({"what": f"{name}, pictures at the borders of a segment"} | figures | {"note": note})
    return rows


def numbered(path: Path, fps: int) -> Iterator[tuple[int, np.ndarray]]:
    """Decoded pictures with their places from the first on."""
    with av.open(str(path)) as source:
        first_s = None
        for frame in source.decode(video=0):
            first_s = frame.time if first_s is None else first_s
            yield round((frame.time - first_s) * fps), frame.to_ndarray()


def error_of(picture: np.ndarray, written: np.ndarray) -> float:
    """Mean square of the differences of brightness, planes of 4:2:0 beneath each other."""
    height = len(picture) * 2 // 3
    return float(((picture[:height].astype(np.float32) - written[:height]) ** 2).mean())


def psnr(errors: list[float]) -> float:
    return float(10 * np.log10(255**2 / np.mean(errors))) if any(errors) else float("inf")


def measured(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> dict[str, Any]:
    """Median wall times, in turns; processor times in the note, which hold on a busy machine too."""
    times = np.median([(*seconds(ours), *seconds(theirs)) for _ in range(rounds)], axis=0)
    ours_s, ours_cpu_s, theirs_s, theirs_cpu_s = times.tolist()
    note = f"processor {ours_cpu_s:.2f} s against {theirs_cpu_s:.2f} s; reference: bare PyAV"
    figures = {"ours": ours_s, "reference": theirs_s, "unit": "s", "ratio": theirs_s / ours_s}
    return figures | {"note": note, "processor_s": ours_cpu_s}


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def render(path: Path, length_s: int, shape: tuple[int, int, int], group: int = 250) -> str:
    """A video with camera and object in motion over detailed ground, a tone beside it; returns what it is in words.

    Args:
        length_s: Above `PIECE_S` a multiple of it.
        shape: Width, height, frames a second.
        group: Pictures from one key frame to the next, at most.
    """
    piece, piece_s, heard_s = path.with_suffix(".piece.mp4"), min(length_s, PIECE_S), 0
    draw(piece, piece_s, shape, group)
    with av.open(str(piece)) as source, av.open(str(path), "w") as target:
        drawn = source.streams.video[0]
        pictures = target.add_stream_from_template(drawn)
        sound = target.add_stream("aac", rate=AUDIO_RATE, layout="mono")
        for begin_s in range(0, length_s, piece_s):
            source.seek(0)
            for packet in source.demux(drawn):
                if packet.dts is None:
                    continue
                packet.pts, packet.dts = (at + round(begin_s / drawn.time_base) for at in (packet.pts, packet.dts))
                while heard_s < length_s and packet.dts * drawn.time_base >= heard_s:
                    target.mux(sound.encode(tone(heard_s, heard_s + 1, 220 + 20 * (heard_s // SCENE_S % 7))))
                    heard_s += 1
                packet.stream = pictures
                target.mux(packet)
        target.mux(sound.encode(None))
    piece.unlink()
    mbits = path.stat().st_size * 8 / length_s / 1e6
    return f"{length_s} s of {shape[0]} x {shape[1]} at {shape[2]} fps, {mbits:.1f} Mbit/s"


def draw(
    path: Path,
    length_s: int,
    shape: tuple[int, int, int],
    group: int,
    codec: str = "libx264",
    options: dict[str, str] = X264,
) -> None:
    """Scenes of `SCENE_S`, encoded as video sites do: B-frames, a steady bit rate."""
    width, height, fps = shape
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as target:
        encoder = target.add_stream(codec, rate=fps, options=options | {"g": str(group)})
        encoder.width, encoder.height, encoder.pix_fmt, encoder.thread_type = width, height, "yuv420p", "FRAME"
        encoder.bit_rate = int(BITS_PER_PIXEL * width * height * fps)
        for at in range(length_s * fps):
            if at % (SCENE_S * fps) == 0:
                ground, thing = ground_of(rng, width + ROOM, height + ROOM), ground_of(rng, width // 4, height // 4)
            x, y = (
                round(ROOM / 2 * (1 + turn(at / fps / seconds))) for turn, seconds in ((np.sin, 1.1), (np.cos, 0.7))
            )
            image = ground[y : y + height, x : x + width].copy()
            image[ROOM - y :, ROOM - x :][: len(thing), : thing.shape[1]] = thing
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, fps)
            target.mux(encoder.encode(frame))
        target.mux(encoder.encode(None))


def ground_of(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3): noise at every scale, the coarse ones strongest, as in photographs."""
    image = np.zeros((height, width, 3), np.float32)
    for step, weight in ((256, 0.4), (64, 0.25), (16, 0.17), (4, 0.11), (1, 0.07)):
        coarse = rng.integers(0, 256, (height // step + 2, width // step + 2, 3), np.uint8)
        image += weight * np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return image.astype(np.uint8)


def tone(start_s: float, end_s: float, hertz: int) -> av.AudioFrame:
    ticks = np.arange(round(start_s * AUDIO_RATE), round(end_s * AUDIO_RATE))
    wave = (0.1 * np.sin(2 * np.pi * hertz * ticks / AUDIO_RATE)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = AUDIO_RATE, Fraction(1, AUDIO_RATE), int(ticks[0])
    return frame


def bare_decode(path: Path, skip: str = "DEFAULT") -> int:
    with av.open(str(path)) as source:
        source.streams.video[0].thread_type = "AUTO"
        source.streams.video[0].codec_context.skip_frame = skip
        return sum(1 for _ in source.decode(video=0))


def bare_cut(path: Path, segments: list[Segment], output: Path) -> None:
    """The segments decoded from the key frame before each, encoded by x264's preset medium."""
    with av.open(str(path)) as source, av.open(str(output), "w", options={"movflags": "+faststart"}) as target:
        drawn = source.streams.video[0]
        drawn.thread_type = "AUTO"
        pictures = target.add_stream("libx264", rate=drawn.average_rate, options={"crf": "18", "bf": "0"})
        pictures.width, pictures.height, pictures.pix_fmt = drawn.width, drawn.height, "yuv420p"
        pictures.thread_type = "FRAME"
        sound = target.add_stream("aac", rate=AUDIO_RATE, layout="mono", bit_rate=AUDIO_BITS)
        ticks, counts = {"video": 1 / drawn.average_rate, "audio": Fraction(1, AUDIO_RATE)}, {"video": 0, "audio": 0}
        for segment in segments:
            for kind, encoder in [("video", pictures), ("audio", sound)]:
                stream = source.streams.best(kind)
                source.seek(int(segment.start_s / stream.time_base), stream=stream)
                for frame in source.decode(stream):
                    if frame.time >= segment.end_s:
                        break
                    if frame.time >= segment.start_s:
                        frame.pts, frame.time_base = counts[kind], ticks[kind]
                        if kind == "video":
                            frame.pict_type = PictureType.NONE
                        counts[kind] += 1 if kind == "video" else frame.samples
                        target.mux(encoder.encode(frame))
        target.mux([*pictures.encode(None), *sound.encode(None)])
