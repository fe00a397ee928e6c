"""Reading a video at 2 frames a second, and its key frames alone, beside PyAV decoding every frame.

Beside it stands what PyAV takes for those pictures alone that others refer to, which exact reading cannot leave out.

`run` is called by scripts/run_benchmark.py. 40 s of 1280 x 720 at 30 fps (--quick: 4 s of 640 x 360), in several
codecs, with a key frame every 2 s or each codec's 250 pictures. Figures are processor seconds, medians in turns: they
hold on a busy machine too. That both sides see the same pictures is tested in tests/video/test_pieces.py. With `--data
FOLDER` (how-to videos with truth.json: {file: [[kind, title, start_s, end_s]]}, kind "step" for what matters), what
--fast loses of each summary.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from hiersum_hf import load_scorer, score_video
from hiersum_hf.features.text_encoder import FAST_FPS
from hiersum_hf.metrics.ranks import tau_b
from hiersum_hf.metrics.seconds import captured
from hiersum_hf.summary.key_shots import frame_edges
from hiersum_hf.video.reader import iter_frames
from quality.benchmarks.video import QUICK, SAMPLE_FPS, bare_decode, draw, seconds


LENGTH_S, SHAPE, ROUNDS = 40, (1280, 720, 30), 3
GROUP = 250  # of the drawing, which is encoded anew in every kind
QUIET = "log-level=none"
KINDS = {  # codec, its options, key frame distance, what share of bare decoding is wanted
    "H.264, key frames every 2 s": ("libx264", {}, 60, 0.70),
    "H.264, groups of 250": ("libx264", {}, 250, 0.70),
    "HEVC, key frames every 2 s": ("libx265", {"preset": "fast", "x265-params": QUIET}, 60, 0.42),
    "HEVC, one picture of nine referred to": (
        "libx265",
        {"preset": "fast", "x265-params": f"{QUIET}:bframes=8:b-adapt=0:b-pyramid=0"},
        60,
        0.42,
    ),
    "AV1, key frames every 2 s": ("libsvtav1", {"preset": "9"}, 60, 0.85),
    "VP9, key frames every 2 s": (
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "5", "lag-in-frames": "16"},
        60,
        0.85,
    ),
}
BUDGET = 0.15


def run(quick: bool, data: Path | None = None) -> list[dict]:
    """Two rows a kind of file; a `ratio` is how many times less processor time the package takes."""
    length_s, rounds, shape = (4, 1, QUICK) if quick else (LENGTH_S, ROUNDS, SHAPE)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.mp4"
        draw(source, length_s, shape, GROUP)
        for name, (codec, options, distance, share) in KINDS.items():
            video = encoded(source, Path(folder) / "video.mkv", codec, options | {"g": str(distance)})
            sampled, every, keys, referred = processor_s(video, rounds)
            bounds = f"bare PyAV; wanted: {1 / share:.2f}, what others refer to alone: {every / referred:.2f}"
            rows.append(row(f"{name}: frames at {SAMPLE_FPS:g} fps", sampled, every, bounds))
            rows.append(row(f"{name}: key frames alone", keys, sampled, f"frames at {SAMPLE_FPS:g} fps; wanted: 3"))
    return rows + (losses(data) if data else [])


def encoded(source: Path, video: Path, codec: str, options: dict[str, str]) -> Path:
    with av.open(str(source)) as given, av.open(str(video), "w") as target:
        drawn = given.streams.video[0]
        stream = target.add_stream(codec, rate=drawn.average_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = drawn.width, drawn.height, "yuv420p"
        stream.bit_rate = drawn.bit_rate
        for frame in given.decode(drawn):
            frame.pict_type = 0
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return video


def processor_s(video: Path, rounds: int) -> list[float]:
    """Median processor time of sampled frames, every frame, key frames and what others refer to, in turns."""
    works: list[Callable[[], object]] = [
        lambda: sum(1 for _ in iter_frames(video, SAMPLE_FPS)),
        lambda: bare_decode(video),
        lambda: sum(1 for _ in iter_frames(video, FAST_FPS, key_frames=True)),
        lambda: bare_decode(video, "NONREF"),
    ]
    times = [[seconds(work)[1] for work in works] for _ in range(rounds)]
    return np.median(times, axis=0).tolist()


def row(what: str, ours: float, reference: float, note: str, unit: str = "processor s") -> dict:
    figures = {"ours": ours, "reference": reference, "unit": unit, "ratio": reference / ours}
    return {"what": what} | figures | {"note": f"reference: {note}"}


def losses(folder: Path) -> list[dict]:
    """Captured importance and tau of the training-free scorer, with key frames alone and in full."""
    rows, scorers = [], [load_scorer(fast=fast) for fast in (True, False)]
    for name, parts in json.loads((folder / "truth.json").read_text()).items():
        fast, full = (judged(folder / name, parts, scorer) for scorer in scorers)
        for what, ours, reference in zip(("captured", "tau"), fast, full, strict=True):
            found = row(f"{name}: {what}, key frames alone", ours, reference, "frames at 2 fps; 1 is best", what)
            rows.append(found | {"ratio": ours / reference})
    return rows


def judged(video: Path, parts: list, scorer: object) -> tuple[float, float]:
    """Captured importance of a summary of 15 %, and tau of the scores each half second; steps alone are important."""
    scored = score_video(video, scorer)
    end_s = scored.record.duration_s
    times_s = np.arange(0, end_s, 0.5)
    edges_s = np.append(times_s, end_s)
    important = np.zeros(len(times_s))
    for kind, _, from_s, to_s in parts:
        important[(times_s >= from_s) & (times_s < to_s)] = kind == "step"
    spans = [(segment.start_s, segment.end_s) for segment in scored.summarize(str(BUDGET)).segments]
    shown = np.searchsorted(frame_edges(scored.record.frame_times_s, end_s), times_s, side="right") - 1
    scores = scored.scores[np.clip(shown, 0, len(scored.scores) - 1)]
    return captured(spans, edges_s, important, BUDGET * end_s, video.name), tau_b(scores, important)
