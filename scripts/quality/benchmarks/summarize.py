"""Where the time of a summary goes: a rendered 30-minute video with 400 subtitles, from the file to the files.

`run` is called by scripts/run_benchmark.py. The package summarizes the video once, with random weights, and each step
is timed on the way; what it is compared with is timed beside it. On 2 cores, so that the decoder has one of its own:

    OMP_NUM_THREADS=1 python scripts/run_benchmark.py summarize

1920 x 1080 at 30 fps, --quick: 20 s of 640 x 360. Processor times are those of the whole process, which is more than
the step's own while a decoder works ahead.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.features.text_encoder import OFFLINE_TEXT_ENCODER, TextEncoder
from hiersum_hf.features.video_encoder import OFFLINE_VIDEO_ENCODER, VideoEncoder, batches
from hiersum_hf.inference import source, summarize
from hiersum_hf.inference.scorer import Scorer, load_scorer
from hiersum_hf.records import Sentence, Summary, counted
from hiersum_hf.summary import compose as summary
from hiersum_hf.summary import files as summary_files
from hiersum_hf.synthetic.world import ACTIONS, TELLING
from hiersum_hf.texts.subtitles import write_srt
from hiersum_hf.video.reader import iter_frames
from quality.benchmarks.video import FULL, QUICK, SAMPLE_FPS, bare_cut, bare_decode, measured, render, seconds


LENGTH_S = 1800
SUBTITLE_S = 4.5  # from one to the next: 400 in 30 minutes
WIDTHS = 1280, 384  # of the encoders that need no network
BATCH = 16
PEAK = Path("/proc/self/clear_refs")  # Linux
# The functions of the package that are timed
STEPS = {
    "frames": (source, "frame_features"),  # one thread decodes, another encodes
    "encoding": (VideoEncoder, "_encode"),  # of these frames, once they are prepared
    "texts": (TextEncoder, "encode"),
    "model": (summarize, "score_record"),
    "selection": (summarize, "summarize_scores"),  # shots included
    "shots": (summary, "kernel_temporal_segmentation"),
    "writing": (summary_files, "write_segments"),
    "files": (summary_files, "write_summary"),  # writing included
}


def run(quick: bool) -> list[dict]:
    """Rows in s and MB; a `ratio` is reference / ours, the note says what is wanted of it."""
    length_s, rounds, shape = (20, 1, QUICK) if quick else (LENGTH_S, 2, FULL)
    with tempfile.TemporaryDirectory(prefix="hiersum-benchmark-") as name:
        folder = Path(name)
        scorer = load_scorer(save_checkpoint(folder / "checkpoint"))
        short, video = (folder / f"{name}.mp4" for name in ("short", "whole"))
        make_video(short, max(10, length_s // 10), shape)
        about = make_video(video, length_s, shape)
        *_, short_mb = summarized(short, scorer)  # loads all that is loaded once
        found, times, long_mb = summarized(video, scorer)
        bare = seconds(lambda: bare_cut(video, list(found.segments), folder / "bare.mp4"))
        encode = encoding(video, scorer)
        decode = measured(lambda: sum(1 for _ in iter_frames(video, SAMPLE_FPS)), lambda: bare_decode(video), rounds)
        if bare_decode(output_of(video) / "summary.mp4") != bare_decode(folder / "bare.mp4"):
            raise RuntimeError("expected the same number of frames from both sides, found a difference")
    times |= {"encode": encode, "bare cut": np.array(bare)}
    return rows(times, decode, found, about) + memory(short_mb, long_mb)


def save_checkpoint(folder: Path) -> Path:
    """A network of default size with random weights, for features of the encoders that need no network."""
    HierSumModel(HierSumConfig(video_dim=WIDTHS[0], text_dim=WIDTHS[1])).save_pretrained(folder)
    extractor = HierSumFeatureExtractor(OFFLINE_VIDEO_ENCODER, OFFLINE_TEXT_ENCODER, *WIDTHS, sample_fps=SAMPLE_FPS)
    extractor.save_pretrained(folder)
    return folder


def make_video(path: Path, length_s: int, shape: tuple[int, int, int]) -> str:
    """The video, its subtitles beside it under its name; returns what it is in words."""
    texts = [TELLING[i % 5].format(action=ACTIONS[i % 7]) for i in range(int(length_s / SUBTITLE_S))]
    spoken = [Sentence(text, i * SUBTITLE_S + 0.3, i * SUBTITLE_S + 3.7) for i, text in enumerate(texts)]
    write_srt(spoken, path.with_suffix(".srt"))
    return render(path, length_s, shape)


def output_of(video: Path) -> Path:
    return video.with_name(f"summary-{video.stem}")


def summarized(video: Path, scorer: Scorer) -> tuple[Summary, dict[str, np.ndarray], float]:
    """The summary, what each of `STEPS` and "all" took, most memory of this process meanwhile in MB."""
    times: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
    forget_peak()
    with ExitStack() as stack:
        for name, (owner, function) in STEPS.items():
            stack.enter_context(patch.object(owner, function, watched(getattr(owner, function), times, name)))
        start = clocks()
        scored = summarize.score_video(video, scorer, batch_size=BATCH)
        found = scored.summarize()
        summary_files.write_summary(found, video, output_of(video), scored.sentences)
        times["all"] = clocks() - start
    return found, dict(times), peak_mb()


def clocks() -> np.ndarray:
    """(2,) wall and processor seconds, each since some moment."""
    return np.array([time.perf_counter(), time.process_time()])


def watched(function: Callable[..., Any], times: dict[str, np.ndarray], name: str) -> Callable[..., Any]:
    """The function, what it takes added to `times`."""

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = clocks()
        result = function(*args, **kwargs)
        times[name] += clocks() - start
        return result

    return timed


def encoding(video: Path, scorer: Scorer) -> np.ndarray:
    """What encoding takes while nobody waits for frames."""
    spent = {"encode": np.zeros(2)}
    encode = watched(scorer.video_encoder.encode, spent, "encode")
    for batch in batches(iter_frames(video, SAMPLE_FPS), BATCH):
        encode([image for _, image in batch])
    return spent["encode"]


def rows(times: dict[str, np.ndarray], decode: dict[str, Any], found: Summary, about: str) -> list[dict]:
    """The steps in their order; those that a decoder has nothing like are compared with the decoding."""
    whole = np.array([decode["ours"], decode["processor_s"]])
    slower = max(whole, times["encode"], key=lambda spent: spent[0])
    together = f"the slower of the two alone; the encoder waits {times['frames'][0] - times['encoding'][0]:.3g} s"
    frames, cuts = len(found.scores["values"]), f"{counted(len(found.segments), 'segment')}, {found.length_s:.0f} s"
    scoring = times["model"] + times["selection"]
    return [
        {"what": f"decode, {about}"} | decode | {"note": wanted(decode["note"], 1 / 1.2)},
        step(f"encode, {frames:,} frames, {OFFLINE_VIDEO_ENCODER}", times["encode"], whole),
        step("decode and encode", times["frames"], slower, wanted(together, 1 / 1.1)),
        step("encode subtitles", times["texts"], whole),
        step("model", times["model"], whole),
        step("shots", times["shots"], whole),
        step("selection", times["selection"] - times["shots"], whole),
        step("model, shots and selection", scoring, whole, wanted("decode", 1 / 0.03)),
        step(f"writing, {cuts}", times["writing"], times["bare cut"],
             wanted("bare PyAV, the same cuts by x264 medium", 1 / 0.35)),
        step("the other files", times["files"] - times["writing"], whole),
        row("all", times["all"][0], found.duration_s, f"processor {times['all'][1]:.3g} s; reference: playing time"),
    ]  # fmt: skip


def step(what: str, ours: np.ndarray, reference: np.ndarray, by: str = "decode") -> dict:
    """A row of (wall, processor) seconds; its note has the share of the reference on both clocks."""
    wall, processor = ours / reference
    shares = f"{wall:.1%} of its wall time, {processor:.1%} of its processor time"
    note = f"processor {ours[1]:.3g} s against {reference[1]:.3g} s; reference: {by}; {shares}"
    return row(what, float(ours[0]), float(reference[0]), note)


def row(what: str, ours: float, reference: float, note: str, unit: str = "s") -> dict:
    figures = {"ours": ours, "reference": reference, "unit": unit, "ratio": reference / ours}
    return {"what": what} | figures | {"note": note}


def wanted(note: str, ratio: float) -> str:
    return f"{note}; wanted: {ratio:.2f}"


def memory(short_mb: float, long_mb: float) -> list[dict]:
    """Nothing where the system does not tell."""
    note = "libraries and networks included; reference: a tenth of the video"
    return [row("peak memory", long_mb, short_mb, note, "MB")] if long_mb else []


def forget_peak() -> None:
    if PEAK.exists():
        PEAK.write_text("5")


def peak_mb() -> float:
    """Most memory of this process since `forget_peak`; 0 where the system does not tell."""
    lines = PEAK.with_name("status").read_text().splitlines() if PEAK.exists() else []
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
