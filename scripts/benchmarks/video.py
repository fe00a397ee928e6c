"""Sampling and cutting a rendered 30-minute video, beside bare PyAV loops with the same threads and codecs.

`run` is called by scripts/run_benchmark.py. The reference for sampling decodes every frame and drops it; the one for
writing decodes and encodes the frames and sound of the same cuts, to whole sound frames. Turns, median of 3.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from hiersum_hf.records import Segment
from hiersum_hf.synthetic_video import draw_frame
from hiersum_hf.synthetic_world import ACTIONS
from hiersum_hf.video import iter_frames
from hiersum_hf.video_writer import AUDIO_BITS, AUDIO_RATE, write_segments


FPS, SIZE, SAMPLE_FPS = 25, (640, 360), 2.0
PHASES = 24  # drawn pictures a scene


def run(quick: bool) -> list[dict]:
    """Two rows; a `ratio` is how many times faster the package is."""
    length_s, rounds = (20, 1) if quick else (1800, 3)
    segments = [Segment(at + 0.34, at + 6.34, 1.0) for at in range(0, length_s - 7, 40)]  # 15 %
    what = f"{length_s} s of {SIZE[0]} x {SIZE[1]} at {FPS} fps"
    with tempfile.TemporaryDirectory() as folder:
        video, ours, theirs = (Path(folder) / name for name in ("video.mp4", "ours.mp4", "theirs.mp4"))
        render(video, length_s)
        decode = measured(lambda: sum(1 for _ in iter_frames(video, SAMPLE_FPS)), lambda: bare_decode(video), rounds)
        write = measured(
            lambda: write_segments(video, segments, ours), lambda: bare_cut(video, segments, theirs), rounds
        )
        if bare_decode(ours) != bare_decode(theirs):
            raise RuntimeError("expected the same number of frames from both sides, found a difference")
    return [
        {"what": f"frames at {SAMPLE_FPS:g} fps of {what}"} | decode,
        {"what": f"{len(segments)} segments of 6 s written from {what}"} | write,
    ]


def measured(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> dict[str, Any]:
    """Median wall times, in turns; processor times in the note, which hold on a busy machine too."""
    times = np.median([(*seconds(ours), *seconds(theirs)) for _ in range(rounds)], axis=0)
    ours_s, ours_cpu_s, theirs_s, theirs_cpu_s = times.tolist()
    note = f"processor {ours_cpu_s:.2f} s against {theirs_cpu_s:.2f} s; reference: bare PyAV"
    return {"ours": ours_s, "reference": theirs_s, "unit": "s", "ratio": theirs_s / ours_s, "note": note}


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def render(path: Path, length_s: int) -> None:
    """Scenes of 3 to 12 s, each drawn and moving, with a tone of its own."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as target:
        pictures = target.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        pictures.width, pictures.height, pictures.pix_fmt, pictures.thread_type = *SIZE, "yuv420p", "FRAME"
        sound = target.add_stream("aac", rate=AUDIO_RATE, layout="mono")
        begin, total = 0, length_s * FPS
        while begin < total:
            stop = min(total, begin + int(rng.integers(3 * FPS, 12 * FPS)))
            concept, variant = int(rng.integers(len(ACTIONS))), int(rng.integers(4))
            images = [draw_frame(concept, variant, phase / PHASES) for phase in range(PHASES)]
            drawn = [av.VideoFrame.from_ndarray(image).reformat(*SIZE, "yuv420p") for image in images]
            for at in range(begin, stop):
                frame = drawn[at % PHASES]
                frame.pts, frame.time_base = at, Fraction(1, FPS)
                target.mux(pictures.encode(frame))
            target.mux(sound.encode(tone(begin / FPS, stop / FPS, 220 + 20 * concept)))
            begin = stop
        target.mux([*pictures.encode(None), *sound.encode(None)])


def tone(start_s: float, end_s: float, hertz: int) -> av.AudioFrame:
    ticks = np.arange(round(start_s * AUDIO_RATE), round(end_s * AUDIO_RATE))
    wave = (0.1 * np.sin(2 * np.pi * hertz * ticks / AUDIO_RATE)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = AUDIO_RATE, Fraction(1, AUDIO_RATE), int(ticks[0])
    return frame


def bare_decode(path: Path) -> int:
    with av.open(str(path)) as source:
        source.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in source.decode(video=0))


def bare_cut(path: Path, segments: list[Segment], output: Path) -> None:
    """The segments decoded from the key frame before each, encoded as `write_segments` does."""
    with av.open(str(path)) as source, av.open(str(output), "w", options={"movflags": "+faststart"}) as target:
        source.streams.video[0].thread_type = "AUTO"
        pictures = target.add_stream("libx264", rate=FPS, options={"crf": "18", "bf": "0"})
        pictures.width, pictures.height, pictures.pix_fmt, pictures.thread_type = *SIZE, "yuv420p", "FRAME"
        sound = target.add_stream("aac", rate=AUDIO_RATE, layout="mono", bit_rate=AUDIO_BITS)
        ticks, counts = {"video": Fraction(1, FPS), "audio": Fraction(1, AUDIO_RATE)}, {"video": 0, "audio": 0}
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
