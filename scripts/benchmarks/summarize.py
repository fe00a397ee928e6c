"""Where the time of a summary goes: a rendered 30-minute video with 400 subtitles, from the file to the files.

`run` is called by scripts/run_benchmark.py. The package summarizes the video once, with random weights, and each step
is timed on the way; what it is compared with is timed beside it. On 2 cores, so that the decoder has one of its own:

    OMP_NUM_THREADS=1 python scripts/run_benchmark.py summarize
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.video import FPS, SAMPLE_FPS, SIZE, bare_cut, bare_decode, measured, render, seconds

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel, summarize, summary, summary_files
from hiersum_hf.encoders import OFFLINE_VIDEO_ENCODER, VideoEncoder, batches
from hiersum_hf.records import Sentence, Summary
from hiersum_hf.subtitles import write_srt
from hiersum_hf.synthetic_world import ACTIONS, TELLING
from hiersum_hf.text_encoders import OFFLINE_TEXT_ENCODER, TextEncoder
from hiersum_hf.video import iter_frames


SUBTITLE_S = 4.5  # from one to the next: 400 in 30 minutes
WIDTHS = 1280, 384  # of the encoders that need no network
BATCH = 16
PEAK = Path("/proc/self/clear_refs")  # Linux
# The functions of the package that are timed
STEPS = {
    "frames": (summarize, "frame_features"),  # one thread decodes, another encodes
    "encoding": (VideoEncoder, "encode"),  # of these frames
    "texts": (TextEncoder, "encode"),
    "model": (summarize, "score_record"),
    "selection": (summarize, "summarize_scores"),  # shots included
    "shots": (summary, "kernel_temporal_segmentation"),
    "writing": (summary_files, "write_segments"),
    "files": (summary_files, "write_summary"),  # writing included
}


def run(quick: bool) -> list[dict]:
    """Rows in s and MB; a `ratio` is reference / ours, the note says what is wanted of it."""
    length_s, rounds = (20, 1) if quick else (1800, 2)
    with tempfile.TemporaryDirectory(prefix="hiersum-benchmark-") as name:
        folder = Path(name)
        scorer = summarize.load_scorer(save_checkpoint(folder / "checkpoint"))
        short, video = (make_video(folder / f"{s}.mp4", s) for s in (max(10, length_s // 10), length_s))
        *_, short_mb = summarized(short, scorer)  # loads all that is loaded once
        found, times, long_mb = summarized(video, scorer)
        bare_s, _ = seconds(lambda: bare_cut(video, list(found.segments), folder / "bare.mp4"))
        encode_s = encoding_s(video, scorer)
        decode = measured(lambda: sum(1 for _ in iter_frames(video, SAMPLE_FPS)), lambda: bare_decode(video), rounds)
        if bare_decode(output_of(video) / "summary.mp4") != bare_decode(folder / "bare.mp4"):
            raise RuntimeError("expected the same number of frames from both sides, found a difference")
    times |= {"encode": encode_s, "bare cut": bare_s, "playing": length_s}
    return rows(times, decode, found) + memory(short_mb, long_mb)


def save_checkpoint(folder: Path) -> Path:
    """A network of default size with random weights, for features of the encoders that need no network."""
    HierSumModel(HierSumConfig(video_dim=WIDTHS[0], text_dim=WIDTHS[1])).save_pretrained(folder)
    extractor = HierSumFeatureExtractor(OFFLINE_VIDEO_ENCODER, OFFLINE_TEXT_ENCODER, *WIDTHS, sample_fps=SAMPLE_FPS)
    extractor.save_pretrained(folder)
    return folder


def make_video(path: Path, length_s: int) -> Path:
    """The video, its subtitles beside it under its name."""
    render(path, length_s)
    texts = [TELLING[i % 5].format(action=ACTIONS[i % 7]) for i in range(int(length_s / SUBTITLE_S))]
    spoken = [Sentence(text, i * SUBTITLE_S + 0.3, i * SUBTITLE_S + 3.7) for i, text in enumerate(texts)]
    write_srt(spoken, path.with_suffix(".srt"))
    return path


def output_of(video: Path) -> Path:
    return video.with_name(f"summary-{video.stem}")


def summarized(video: Path, scorer: summarize.Scorer) -> tuple[Summary, dict[str, float], float]:
    """The summary, seconds of each of `STEPS` and of "all", most memory of this process meanwhile in MB."""
    times: Counter[str] = Counter()
    forget_peak()
    with ExitStack() as stack:
        for name, (owner, function) in STEPS.items():
            stack.enter_context(patch.object(owner, function, watched(getattr(owner, function), times, name)))
        start = time.perf_counter()
        scored = summarize.score_video(video, scorer, batch_size=BATCH)
        found = scored.summarize()
        summary_files.write_summary(found, video, output_of(video), scored.sentences)
        times["all"] = time.perf_counter() - start
    return found, dict(times), peak_mb()


def watched(function: Callable[..., Any], times: Counter[str], name: str) -> Callable[..., Any]:
    """The function, its seconds added to `times`."""

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = function(*args, **kwargs)
        times[name] += time.perf_counter() - start
        return result

    return timed


def encoding_s(video: Path, scorer: summarize.Scorer) -> float:
    """Seconds that encoding takes while nobody decodes."""
    spent: Counter[str] = Counter()
    encode = watched(scorer.video_encoder.encode, spent, "encode")
    for batch in batches(iter_frames(video, SAMPLE_FPS), BATCH):
        encode([image for _, image in batch])
    return spent["encode"]


def rows(times: dict[str, float], decode: dict[str, Any], found: Summary) -> list[dict]:
    """The steps in their order; those that a decoder has nothing like are compared with the decoding."""
    decode_s, encode_s, selection_s = decode["ours"], times["encode"], times["selection"] - times["shots"]
    together = f"the encoder waits {times['frames'] - times['encoding']:.3g} s; reference: the slower of the two alone"
    frames, cuts = len(found.scores["values"]), f"{len(found.segments)} segments, {found.length_s:.0f} s"
    about = f"{times['playing']} s of {SIZE[0]} x {SIZE[1]} at {FPS} fps"
    return [
        {"what": f"decode, {about}"} | decode | {"note": wanted(decode["note"], 1 / 1.2)},
        row(f"encode, {frames:,} frames, {OFFLINE_VIDEO_ENCODER}", encode_s, decode_s),
        row("decode and encode", times["frames"], max(decode_s, encode_s), wanted(together, 1 / 1.1)),
        row("encode subtitles", times["texts"], decode_s),
        row("model", times["model"], decode_s),
        row("shots", times["shots"], decode_s),
        row("selection", selection_s, decode_s),
        row("model, shots and selection", times["model"] + times["selection"], decode_s,
            wanted("reference: decode", 1 / 0.03)),
        row(f"writing, {cuts}", times["writing"], times["bare cut"],
            wanted("reference: bare PyAV, the same cuts and settings", 1 / 1.3)),
        row("the other files", times["files"] - times["writing"], decode_s),
        row("all", times["all"], times["playing"], "reference: playing time"),
    ]  # fmt: skip


def row(what: str, ours: float, reference: float, note: str = "reference: decode", unit: str = "s") -> dict:
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
