"""Feature records and video files of hostile variety through prepare, training, evaluation and summarizing.

    python scripts/quality/soak.py                                        # 2,000 records, 50 videos, 300 steps
    python scripts/quality/soak.py --records 200 --videos 6 --steps 20 --plot memory.png

About a fifth of the items is broken, each in a way of its own, and must be named once; all others must be finished.
Summaries are made three times, so that memory has time to grow. It is read five times a second, without mapped files
(Linux); its slope in each phase is that of a line through the later half. Frames and texts are encoded by stand-ins.
Exit status 1 if an item was lost, named twice or wrongly refused.
"""

import argparse
import io
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import torch

from hiersum_hf.cli.main import main as hiersum
from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.prepared import load_prepared
from hiersum_hf.datasets.readers.folder import FolderReader
from hiersum_hf.features.video_encoder import VideoEncoder
from hiersum_hf.inference import summarize
from hiersum_hf.inference.scorer import Scorer
from hiersum_hf.inference.summarize import score_record
from hiersum_hf.results import Results
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.training.run import train


WIDTH, TEXT_WIDTH, FPS = 8, 6, 2.0
PASSES = 3  # over the summaries
TRAIN = ["--hidden_size", "16", "--num_layers", "1", "--num_attention_heads", "2", "--child_steps_per_parent", "1",
         "--per_device_train_batch_size", "8", "--use_cpu", "True", "--disable_tqdm", "True"]  # fmt: skip


# Records: NAME.npz with features, NAME.srt, NAME.txt, NAME.csv


def record(rng: np.random.Generator, frames: int = 40, sentences: int = 5, texts: int = 2) -> dict[str, Any]:
    """The parts of one; cues of one length follow each other."""
    end_s = frames / FPS
    borders = np.linspace(0, end_s, sentences + 1)
    return {
        "video_features": rng.standard_normal((frames, WIDTH)).astype(np.float32),
        "frame_times_s": np.arange(frames) / FPS,
        "text_features": rng.standard_normal((sentences, TEXT_WIDTH)).astype(np.float32),
        "description_features": rng.standard_normal((texts, TEXT_WIDTH)).astype(np.float32),
        "duration_s": end_s,
        "cues": list(pairwise(borders)),
        "labels": [(0.0, end_s / 2, 1.0), (end_s / 2, end_s, 0.0)],
    }


def without_text(rng: np.random.Generator) -> dict[str, Any]:
    return record(rng, sentences=0, texts=0)


def one_frame(rng: np.random.Generator) -> dict[str, Any]:
    return record(rng, frames=1, sentences=1)


def thousands(rng: np.random.Generator) -> dict[str, Any]:
    return record(rng, frames=600, sentences=3000)


def between_frames(rng: np.random.Generator) -> dict[str, Any]:
    """No frame is shown during any sentence."""
    return record(rng) | {"cues": [(k + 0.1, k + 0.2) for k in range(5)]}


def whole_video(rng: np.random.Generator) -> dict[str, Any]:
    return record(rng, sentences=40) | {"cues": [(0.0, 20.0)] * 40}


def far_too_long(rng: np.random.Generator) -> dict[str, Any]:
    """The last sentence ends a day after the video."""
    return record(rng) | {"cues": [(float(k), k + 1.0) for k in range(4)] + [(19.0, 86_400.0)]}


def all_important(rng: np.random.Generator) -> dict[str, Any]:
    return record(rng) | {"labels": [(0.0, 20.0, 1.0)]}


def none_important(rng: np.random.Generator) -> dict[str, Any]:
    return record(rng) | {"labels": [(0.0, 20.0, 0.0)]}


def half_labelled(rng: np.random.Generator) -> dict[str, Any]:
    return record(rng) | {"labels": [(0.0, 4.0, 0.9), (6.0, 8.0, 0.1)]}


def changed(key: str, change: Callable[[Any], Any]) -> Callable[[np.random.Generator], dict[str, Any]]:
    """A record with one part broken."""

    def make(rng: np.random.Generator) -> dict[str, Any]:
        parts = record(rng)
        return parts | {key: change(parts[key])}

    return make


def with_nan(rows: np.ndarray) -> np.ndarray:
    rows[3] = np.nan
    return rows


GOOD: dict[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "plain": record, "short": lambda rng: record(rng, frames=3, sentences=1), "no-text": without_text,
    "one-frame": one_frame, "thousands": thousands, "between-frames": between_frames, "whole-video": whole_video,
    "too-long": far_too_long, "all-important": all_important, "none-important": none_important,
    "half-labelled": half_labelled, "no-description": lambda rng: record(rng, texts=0),
    "huge-values": changed("video_features", lambda rows: rows * 1e4),
}  # fmt: skip
BAD = {
    "nan": changed("video_features", with_nan),
    "inf": changed("text_features", lambda rows: rows * np.inf),
    "wide": changed("video_features", lambda rows: np.hstack([rows, rows])),
    "narrow-text": changed("text_features", lambda rows: rows[:, :2]),
    "lost-row": changed("frame_times_s", lambda times_s: times_s[:-1]),
    "backwards": changed("frame_times_s", lambda times_s: times_s[::-1].copy()),
    "lost-cue": changed("cues", lambda cues: cues[:-1]),
    "no-label": changed("labels", lambda labels: [(0.0, 5.0, np.nan)]),
    "late-label": changed("labels", lambda labels: [(1e6, 1e7, 1.0)]),
    "no-frame": lambda rng: record(rng, frames=0, sentences=0),
}


def write_record(folder: Path, name: str, parts: dict[str, Any]) -> None:
    cues, labels = parts.pop("cues"), parts.pop("labels")
    about = {"sample_fps": FPS, "video_encoder": "soak", "text_encoder": "soak"}
    np.savez(folder / f"{name}.npz", **parts, **about)
    if cues:
        (folder / f"{name}.srt").write_text("".join(cue(i, *times_s) for i, times_s in enumerate(cues, 1)))
    if len(parts["description_features"]):
        (folder / f"{name}.txt").write_text("A title\nA step\n")
    rows = "".join(f"{start_s},{end_s},{score}\n" for start_s, end_s, score in labels)
    (folder / f"{name}.csv").write_text(f"start_s,end_s,score\n{rows}")


def cue(number: int, start_s: float, end_s: float) -> str:
    return f"{number}\n{clock(start_s)} --> {clock(end_s)}\nSentence {number}.\n\n"


def clock(time_s: float) -> str:
    seconds, ms = divmod(round(time_s * 1000), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{ms:03d}"


# Video files


def film(path: Path, times_s: Any = None, size: tuple[int, int] = (96, 64), codec: str = "libx264") -> None:
    """Frames of one grey each at these seconds, default 5 s at 10 frames a second."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for k, time_s in enumerate(np.arange(50) / 10 if times_s is None else times_s):
            frame = av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), 25 * (k // 5) % 256, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def subtitled(path: Path) -> None:
    film(path)
    path.with_suffix(".srt").write_text("".join(cue(k, k / 500, (k + 1) / 500) for k in range(2500)))
    path.with_suffix(".txt").write_text("A title\n")


def cut_off(path: Path) -> None:
    film(path, np.arange(300) / 10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


FILMS: dict[str, Callable[[Path], None]] = {
    "plain.mp4": film, "subtitled.mp4": subtitled, "one-frame.mkv": lambda path: film(path, [0.0]),
    "odd.mkv": lambda path: film(path, size=(97, 65), codec="ffv1"), "cut-off.mkv": cut_off,
    "slides.mp4": lambda path: film(path, [0, 30, 30.1, 200, 600]), "tiny.mp4": lambda path: film(path, size=(16, 16)),
}  # fmt: skip
NO_FILMS: dict[str, Callable[[Path], None]] = {
    "words.mp4": lambda path: path.write_text("no video") and None,
    "empty.mkv": lambda path: path.touch(),
    "list.mp4": lambda path: path.write_text("ffconcat version 1.0\nfile plain.mp4\n") and None,
    "huge.mkv": lambda path: film(path, [0.0], size=(20_000, 16), codec="ffv1"),
}


def colours(*_: Any) -> VideoEncoder:
    return VideoEncoder("soak", 3, lambda images: torch.tensor(np.array([image.mean((0, 1)) for image in images])))


class Words:
    """Stands in for a text encoder."""

    def encode(self, texts: Any) -> np.ndarray:
        return np.array([np.random.default_rng(len(text)).random(3) for text in texts], np.float32)


# The phases


class Memory:
    """Resident memory of this process in MB, without mapped files, with the phase it belongs to."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[float, float]]] = {}
        self.begin, self.process = time.monotonic(), psutil.Process()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        points, done = self.points.setdefault(name, []), threading.Event()

        def watch() -> None:
            while not done.wait(0.2):
                memory = self.process.memory_info()
                held = memory.rss - getattr(memory, "shared", 0)
                points.append((time.monotonic() - self.begin, held / 1e6))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def slope(self, name: str) -> float:
        """MB a minute over the later half of the phase; 0 for one too short to tell."""
        later = np.array(self.points[name][len(self.points[name]) // 2 :])
        return 0.0 if len(later) < 3 else float(np.polyfit(later[:, 0], later[:, 1], 1)[0] * 60)

    def peak(self, name: str) -> float:
        return max((mb for _, mb in self.points[name]), default=0.0)

    def plot(self, path: Path) -> None:
        from matplotlib.figure import Figure

        figure = Figure((9, 4), layout="constrained")
        axes = figure.subplots()
        for name, points in self.points.items():
            if points:
                axes.plot(*zip(*points, strict=True), label=name)
        axes.set(xlabel="time, s", ylabel="memory, MB", ylim=(0, None))
        axes.legend()
        figure.savefig(path)


def make_items(folder: Path, count: int, good: dict, bad: dict, write: Callable[[str, Any], Any]) -> set[str]:
    """So many items, every fifth of a broken kind; the names of the broken ones."""
    folder.mkdir()
    broken = set()
    for number in range(count):
        kinds = bad if number % 5 == 4 else good
        kind = list(kinds)[number // (5 if kinds is bad else 1) % len(kinds)]
        name = f"{number:05d}-{kind}"
        write(name, kinds[kind])
        broken |= {name} if kinds is bad else set()
    return broken


def train_on(prepared: Path, run: Path, steps: int) -> Results:
    """Train and evaluate; return what results.json says."""
    train(["--data", str(prepared), "--output_dir", str(run), "--max_steps", str(steps), *TRAIN])
    return Results.read(run / "results.json")


def summarize_records(records: Any, run: Path) -> int:
    """How many of them get a summary."""
    network, extractor = load_checkpoint(run)
    scorer = Scorer(extractor, [network], str(run), "child")
    return sum(bool(score_record(record, scorer).summarize("0.15").segments) for record in records)


def summarize_files(folder: Path, output: Path) -> str:
    """What `hiersum summarize` says of them on stderr."""
    summarize.load_video_encoder, summarize.load_text_encoder = colours, lambda *_: Words()
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        hiersum(["summarize", str(folder), "--output", str(output)])
    return said.getvalue()


def soak(records: int, videos: int, steps: int, root: Path) -> tuple[list[tuple[str, bool]], Memory]:
    """What was expected of the items and whether it came; memory."""
    memory, rng = Memory(), np.random.default_rng(0)
    source, films, run = root / "records", root / "films", root / "run"
    broken = make_items(source, records, GOOD, BAD, lambda name, make: write_record(source, name, make(rng)))
    no_films = make_items(films, videos, FILMS, NO_FILMS, lambda name, make: make(films / name))
    with memory.phase("prepare"):
        report = prepare(FolderReader(source), root / "set", [source], dataset="folder", skip_bad=True, progress=False)
    with memory.phase("train and evaluate"), redirect_stdout(sys.stderr):
        results = train_on(root / "set", run, steps)
    with memory.phase("summarize records"):
        finished = [summarize_records(load_prepared(root / "set"), run) for _ in range(PASSES)]
    with memory.phase("summarize files"):
        said = [summarize_files(films, root / f"out{number}") for number in range(PASSES)][-1].splitlines()
    errors = [line for line in said if line.startswith("hiersum: error: ")]
    named = [name for line in errors for name in no_films if name in line]
    checks = [
        (f"{len(broken)} broken records named once, no other", report["skipped"].keys() == broken),
        (f"{records - len(broken)} good records prepared", report["videos"] == records - len(broken)),
        (f"{len(results.per_video)} videos of the test part evaluated", bool(results.per_video)),
        (f"{finished[0]} records summarized", finished == [records - len(broken)] * PASSES),
        (
            f"{len(no_films)} broken files named once, no other",
            len(errors) == len(named) and sorted(named) == sorted(no_films),
        ),
        (
            f"{videos - len(no_films)} files summarized",
            len([*root.glob("out*/*/summary.mp4")]) == (videos - len(no_films)) * PASSES,
        ),
    ]
    return checks, memory


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2000, help="feature records (%(default)s)")
    parser.add_argument("--videos", type=int, default=50, help="rendered files (%(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="optimiser steps (%(default)s)")
    parser.add_argument("--plot", type=Path, default=Path("soak.png"), metavar="PNG", help="memory (%(default)s)")
    args = parser.parse_args(argv)
    if args.records < 50 or args.videos < 5 or args.steps < 1:
        parser.error("expected at least 50 records, 5 videos and 1 step")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        checks, memory = soak(args.records, args.videos, args.steps, Path(folder))
    for expected, came in checks:
        print(f"{'ok ' if came else 'NOT'} {expected}")
    for name, points in memory.points.items():
        span_s = points[-1][0] - points[0][0] if points else 0.0
        print(f"{name}: {span_s:.0f} s, at most {memory.peak(name):.0f} MB, {memory.slope(name):+.1f} MB a minute")
    memory.plot(args.plot)
    print(f"Memory over time: {args.plot}")
    return int(not all(came for _, came in checks))


if __name__ == "__main__":
    sys.exit(main())
