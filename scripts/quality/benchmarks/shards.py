"""Features of many videos packed into shards beside a file for each, written and read back in random order.

`run` is called by scripts/run_benchmark.py. The features are made up, those of videos of ten seconds. Files are read
from the system's cache, so that both sides cost the processor's time and not the disk's; on a network each file opened
costs far more.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

import numpy as np

from hiersum_hf.features.cache import FrameFeatures, FrameSettings, _store, stored_features
from hiersum_hf.features.shards import Packer


VIDEOS, QUICK_VIDEOS = 10_000, 300
FRAMES, WIDTH = 20, 512
SETTINGS = FrameSettings("colour", 2.0)


def run(quick: bool) -> list[dict]:
    count = QUICK_VIDEOS if quick else VIDEOS
    with tempfile.TemporaryDirectory(prefix="shards-") as place:
        names, single, packed = [f"{number:032x}-0.npz" for number in range(count)], Path(place, "a"), Path(place, "b")
        written = {folder: write(folder, names, folder == packed) for folder in (single, packed)}
        files = {folder: len(list(folder.iterdir())) for folder in (single, packed)}
        read = {folder: read_back(folder, names) for folder in (single, packed)}
    what = f"features of {count:,} videos, {FRAMES} x {WIDTH}"
    return [
        row(f"{what}: files", files[packed], files[single], "files", ""),
        row(f"{what}: write", written[packed], written[single], "s", "packing included"),
        row(f"{what}: read back in random order", read[packed], read[single], "s", "from the system's cache"),
    ]


def row(what: str, ours: float, reference: float, unit: str, note: str) -> dict:
    return {
        "what": what, "ours": ours, "reference": reference, "unit": unit, "ratio": reference / ours, "note": note
    }  # fmt: skip


def write(folder: Path, names: list[str], packing: bool) -> float:
    features, times_s = np.random.default_rng(0).random((FRAMES, WIDTH), np.float32), np.arange(FRAMES) / 2
    packer, start_s = Packer(folder), time.perf_counter()
    for name in names:
        _store(FrameFeatures(features, times_s, folder / name, False), SETTINGS)
        if packing:
            packer.add(name)
    packer.finish()
    return time.perf_counter() - start_s


def read_back(folder: Path, names: list[str]) -> float:
    start_s = time.perf_counter()
    for name in random.Random(0).sample(names, len(names)):
        found = stored_features(folder / name)
        if found is None or found.features.shape != (FRAMES, WIDTH):
            raise ValueError(f"{name}: expected its features, found others or none")
    return time.perf_counter() - start_s
