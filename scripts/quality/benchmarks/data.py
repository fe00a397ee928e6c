"""Reading training batches of a Mr.HiSum-like set: a prepared folder beside h5py, as most code of the field reads.

`run` is called by scripts/run_benchmark.py. Both sides get the same made-up videos and the same collator and must give
the same batches.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import datasets
import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.prepared import load_prepared, stream_prepared
from hiersum_hf.datasets.readers.mrhisum import MrHiSumReader
from hiersum_hf.datasets.readers.youtube8m import RGB_WIDTH
from hiersum_hf.records import VideoRecord
from hiersum_hf.scoring.collator import HierSumCollator
from hiersum_hf.training.sampler import LevelDataset


VIDEOS, QUICK_VIDEOS = 2000, 100
ROWS = 200  # seconds, the mean length in Mr.HiSum
BATCH = 16
PASS = 2000  # videos read in one round
MRHISUM_TRAINING = 27_892  # videos of its training part
STATUS = Path("/proc/self/status")  # Linux; getrusage would count what the parent had


class H5Videos(Sequence[VideoRecord]):
    """The set as a PyTorch data set over h5py reads it: the file opened once, a group for each item."""

    def __init__(self, path: Path, names: Sequence[str]):
        self.file, self.names = h5py.File(path), names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index):
        name = self.names[index]
        group = self.file[name]
        features = torch.from_numpy(group["features"][()]).float().numpy()
        scores = group["gtscore"][()].astype(np.float32)
        labels = (scores >= 0.15).astype(np.int64)
        times_s = np.arange(len(scores), dtype=np.float64)
        return VideoRecord(name, features, times_s, len(scores), frame_scores=scores, frame_labels=labels)


def run(quick: bool, videos: int | None = None) -> list[dict]:
    """Rows in videos a second (`ratio`: how many times as fast the package is) and in MB (how many times smaller)."""
    count = videos or (QUICK_VIDEOS if quick else VIDEOS)
    with tempfile.TemporaryDirectory(prefix="hiersum-benchmark-") as name:
        folder = Path(name)
        write_source(folder, count)
        start = time.perf_counter()
        prepare(MrHiSumReader.from_folder(folder), folder / "prepared", [folder], dtype="float16", progress=False)
        prepared = time.perf_counter()
        sides = open_sides(folder)
        mapped = time.perf_counter()
        about = f"{count:,} videos x {ROWS} x {RGB_WIDTH} float16"
        work = f"prepared at {count / (prepared - start):.0f} videos/s, mapped at {count / (mapped - prepared):.0f}"
        rows = [
            rate("collated batches, random order", f"{about}; {work}", *map(batches, sides), BATCH, quick),
            rate(
                "records in order, streamed", f"{about}; no Arrow copy on disk",
                lambda: stream_prepared(folder / "prepared"), lambda: iter(sides[1]), 1, quick,
            ),
        ]  # fmt: skip
        rows.append(training(rows[0]["ours"], batches(sides[0])))
        return rows if quick or not STATUS.exists() else [*rows, memory(folder, about)]


def write_source(folder: Path, count: int) -> None:
    """Mr.HiSum's metadata.csv and h5 with features made of bytes, as YouTube-8M's are."""
    rng = np.random.default_rng(0)
    pool = (rng.integers(0, 256, ROWS * RGB_WIDTH * 64) * 4 / 255 - 2).astype(np.float16)
    names = [f"video_{k}" for k in range(1, count + 1)]
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("video_id", "youtube_id", "duration", "views"), *((name, name, ROWS, 50_000) for name in names)]
        )
    with h5py.File(folder / "mr_hisum.h5", "w") as file:
        for name in names:
            start = rng.integers(len(pool) - ROWS * RGB_WIDTH)
            file[f"{name}/features"] = pool[start : start + ROWS * RGB_WIDTH].reshape(ROWS, RGB_WIDTH)
            file[f"{name}/gtscore"] = rng.random(ROWS)
            file[f"{name}/change_points"] = np.array([(k, k + 9) for k in range(0, ROWS, 10)])


def open_sides(folder: Path) -> tuple[Sequence[VideoRecord], Sequence[VideoRecord]]:
    """The package's and the reference's videos; the first call converts Parquet to Arrow."""
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    ours = load_prepared(folder / "prepared")
    return ours, H5Videos(folder / "mr_hisum.h5", list(ours.groups))


def batches(videos: Sequence[VideoRecord]) -> Callable[[], Iterable[dict]]:
    """Passes over the set as the Trainer's loader makes them, up to `PASS` videos in one random order."""
    order = np.random.default_rng(0).permutation(len(videos))[:PASS].tolist()
    plan = [[("child", i) for i in order[start : start + BATCH]] for start in range(0, len(order), BATCH)]
    collator = HierSumCollator(HierSumFeatureExtractor(video_dim=RGB_WIDTH, sample_fps=1.0))
    return lambda: DataLoader(LevelDataset(videos), batch_sampler=plan, collate_fn=collator)


def training(read: float, passes: Callable[[], Iterable[dict]]) -> dict:
    """Videos read a second beside those that a training step at child level takes from the same batches."""
    model = HierSumModel(HierSumConfig(video_dim=RGB_WIDTH)).train()
    optimizer = torch.optim.AdamW(model.parameters())
    spent = []
    for batch in islice(passes(), 6):
        start = time.perf_counter()
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        spent.append((time.perf_counter() - start) / len(batch["video_mask"]))
    used = 1 / float(np.median(spent))
    hours = MRHISUM_TRAINING / used / 3600
    note = f"reference: training steps, default network; Mr.HiSum's {MRHISUM_TRAINING:,} videos once: {hours:.1f} h"
    return {"what": "read, beside training on it", "ours": read, "reference": used, "unit": "videos/s",
            "ratio": read / used, "note": note}  # fmt: skip


def rate(what: str, note: str, ours: Callable, theirs: Callable, size: int, quick: bool) -> dict:
    """Both sides in turns after a warm-up that compares what they give, the median of 5; items of `size` videos."""
    count = 0
    for one, two in islice(zip(ours(), theirs(), strict=True), PASS // size):
        one, two = (item if isinstance(item, dict) else vars(item) for item in (one, two))
        count += len(one["video_mask"]) if size > 1 else 1
        if not all(np.array_equal(one[name], two[name]) for name in ("video_features", "frame_labels")):
            raise RuntimeError("expected the same videos from both sides, found a difference")
    rounds = [[seconds(side, PASS // size) for side in (ours, theirs)] for _ in range(1 if quick else 5)]
    fast, slow = (count / np.median(rounds, axis=0)).tolist()
    return {"what": what, "ours": fast, "reference": slow, "unit": "videos/s", "ratio": fast / slow, "note": note}


def seconds(side: Callable[[], Iterable], items: int) -> float:
    start = time.perf_counter()
    for _ in islice(side(), items):
        pass
    return time.perf_counter() - start


def memory(folder: Path, about: str) -> dict:
    """Peak memory of a process of its own for each side, both with everything imported."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from quality.benchmarks.data import *"
    code += "; print(*peak_mb(*sys.argv[2:]))"
    scripts = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", code, scripts, str(folder)]
    done = [subprocess.run([*command, side], check=True, capture_output=True, text=True).stdout for side in "01"]
    (ours, mapped), (theirs, _) = (map(float, figures.split()) for figures in done)
    note = f"{about}; {mapped:.0f} MB of ours are mapped pages of files, which the system takes back when it needs them"
    return {
        "what": "peak memory of such a pass", "ours": ours, "reference": theirs, "unit": "MB",
        "ratio": theirs / ours, "note": note,
    }  # fmt: skip


def peak_mb(folder: str, side: str) -> tuple[float, float]:
    """Most memory of this process so far and mapped pages in it, after a pass of one side ("0" ours, "1" theirs)."""
    sides = open_sides(Path(folder))
    seconds(batches(sides[int(side)]), PASS)
    lines = STATUS.read_text().splitlines()
    status = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
    return float(status["VmHWM"]) / 1024, float(status["RssFile"]) / 1024
