"""Kernel temporal segmentation: this package beside the plain dynamic programme and ruptures, and how it grows.

`run` is called by scripts/run_benchmark.py. Both sides get the same features and must reach the same objective.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
from ruptures import KernelCPD

from hiersum_hf.summary import shots
from hiersum_hf.synthetic import features as synthetic
from hiersum_hf.synthetic.world import make_video


WIDTH = 512
SIGNALS, FRAMES = 100, 700  # for the plain dynamic programme
LENGTHS = (900, 1800, 3600, 7200, 14400, 36000)


def run(quick: bool) -> list[dict]:
    """Rows in seconds (`ratio`: how many times as fast the package is), and exponents of growth beside linear."""
    signals = [noisy_stairs(seed, 100 if quick else FRAMES) for seed in range(3 if quick else SIGNALS)]
    short = f"{len(signals)} signals of {len(signals[0])} frames"
    lengths = LENGTHS[:3] if quick else LENGTHS
    hours, longest = lengths[-3], lengths[-1]  # two and ten hours
    walk = "reference: the same walk over ruptures' KernelCPD(pen)"
    return [
        compare(short, signals, plain, "reference: plain dynamic programme over every number of change points"),
        compare(f"demo features, {hours} x {WIDTH}", [demo(hours)], over_ruptures, walk),
        compare(f"demo features, {longest} x {WIDTH}", [demo(longest)], over_ruptures, walk),
        compare(f"one noisy still shot, {hours} x {WIDTH}", [still(hours)], over_ruptures, walk),
        *growth("demo features", [demo(n) for n in lengths]),
        *growth("noisy still shot, the worst case", [still(n) for n in lengths[:-1]]),
    ]


def noisy_stairs(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    levels = rng.standard_normal((int(rng.integers(1, 40)), 64))
    rows = np.sort(rng.integers(0, len(levels), n))
    return levels[rows] + rng.choice([0.1, 0.3, 1.0]) * rng.standard_normal((n, 64))


def demo(n: int) -> np.ndarray:
    """The demo set's features, 1 frame a second, one video after the other."""
    bank, embed, encoders = synthetic.random_features(WIDTH)
    videos: list[np.ndarray] = []
    while sum(map(len, videos)) < n:
        videos.append(synthetic.to_record(make_video(len(videos)), bank, embed, encoders).video_features)
    return np.concatenate(videos)[:n]


def still(n: int) -> np.ndarray:
    """One frame with other noise each time."""
    rng = np.random.default_rng(0)
    return rng.standard_normal(WIDTH) + 0.1 * rng.standard_normal((n, WIDTH))


def compare(what: str, videos: list[np.ndarray], reference: Callable[[np.ndarray], np.ndarray], note: str) -> dict:
    """Both sides in turns, video by video."""
    seconds = np.zeros(2)
    for features in videos:
        sides = [timed(side, features) for side in (shots.kernel_temporal_segmentation, reference)]
        ours, theirs = (objective(features, found) for _, found in sides)
        if not np.isclose(ours, theirs, rtol=1e-9, atol=1e-9):
            raise RuntimeError(f"{what}: expected the same objective from both sides, found {ours} and {theirs}")
        seconds += [side[0] for side in sides]
    fast, slow = seconds.tolist()
    return {"what": what, "ours": fast, "reference": slow, "unit": "s", "ratio": slow / fast, "note": note}


def timed(segment: Callable[[np.ndarray], np.ndarray], features: np.ndarray) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    found = segment(features)
    return time.perf_counter() - start, found


def objective(features: np.ndarray, found: np.ndarray) -> float:
    """Scatter and penalty of shots (S, 2), shot by shot."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    scatter = sum(((unit[a:b] - unit[a:b].mean(axis=0)) ** 2).sum() for a, b in found)
    k, n = len(found) - 1, len(features)
    return float(scatter + (0.5 * k * (np.log(n / k) + 1) if k else 0))


def plain(features: np.ndarray) -> np.ndarray:
    """Shots by the textbook: the best way to every frame with every number of change points, N^3 steps."""
    unit, n = features / np.linalg.norm(features, axis=1, keepdims=True), len(features)
    sums = np.vstack([np.zeros(unit.shape[1]), unit.cumsum(axis=0)])
    costs = np.full((n + 1, n + 1), np.inf)  # of a shot [row, column)
    for start in range(n):
        lengths = np.arange(1, n + 1 - start)
        costs[start, start + 1 :] = lengths - ((sums[start + 1 :] - sums[start]) ** 2).sum(axis=1) / lengths
    reach, sources, objectives = costs[0], [], [costs[0, n]]
    for k in range(1, n):
        ways = reach[:, None] + costs
        sources.append(ways.argmin(axis=0))
        reach = ways[sources[-1], np.arange(n + 1)]
        objectives.append(reach[n] + 0.5 * k * (np.log(n / k) + 1))
    bounds = [n]
    for source in reversed(sources[: int(np.argmin(objectives))]):
        bounds.append(int(source[bounds[-1]]))
    bounds = [0, *bounds[::-1]]
    return np.stack([bounds[:-1], bounds[1:]], axis=1)


def over_ruptures(features: np.ndarray) -> np.ndarray:
    """The package's walk with every linear penalty solved by ruptures."""

    def starts(frames: shots._Frames, slope: float, longest: int) -> np.ndarray:
        ends = KernelCPD(kernel="linear", min_size=1).fit(frames._rows(slice(None))).predict(pen=slope)
        return np.array([0, *ends[:-1]])

    with patch.object(shots, "_cheapest_starts", starts):
        return shots.kernel_temporal_segmentation(features)


def growth(what: str, videos: list[np.ndarray]) -> list[dict]:
    """Exponents of time and of peak memory over the length, fitted on a logarithmic scale."""
    seconds = [timed(shots.kernel_temporal_segmentation, features)[0] for features in videos]
    peaks = [peak_mb(features) for features in videos]
    rows = []
    for name, figures, unit in (("time", seconds, "s"), ("memory", peaks, "MB")):
        exponent = float(np.polyfit(np.log([len(v) for v in videos]), np.log(figures), 1)[0])
        note = ", ".join(f"{len(v)}: {figure:.3g} {unit}" for v, figure in zip(videos, figures, strict=True))
        rows.append({"what": f"growth of {name}, {what}", "ours": exponent, "reference": 1.0, "unit": "exponent",
                     "ratio": 1 / exponent, "note": f"{note}; reference: linear",
                     "curve": {"unit": unit, "lengths": [len(v) for v in videos], "values": figures}})  # fmt: skip
    return rows


def peak_mb(features: np.ndarray) -> float:
    """Most memory that NumPy holds on the way, the features themselves not counted."""
    tracemalloc.start()
    shots.kernel_temporal_segmentation(features)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6
