"""Key-shot F1 of a TVSum-sized set: this package beside plain Python, as most code of the field computes it.

`run` is called by scripts/run_benchmark.py. Both sides get the same made-up videos and must agree on every summary
and F1: one warm-up, then turns, median. All figures of such a set (F1, tau, rho) stand beside a limit of 3 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hiersum_hf.metrics import f1_score, kendall_tau, key_shot_summary, spearman_rho


ANNOTATORS, SHOTS, STEP = 20, 50, 15


class Video(NamedTuple):
    scores: np.ndarray  # (N,)
    picks: np.ndarray  # (N,)
    n_frames: int
    shots: np.ndarray  # (S, 2)
    users: np.ndarray  # (U, n_frames) bool
    rated: np.ndarray  # (U, N) 1 to 5


def run(quick: bool) -> list[dict]:
    """Rows in seconds; `ratio` is how many times faster the package is."""
    videos = [make_video(seed) for seed in range(3 if quick else 50)]
    if not all(np.isclose(ours(video), plain_python(video), atol=1e-12) for video in videos):
        raise RuntimeError("expected the same F1 from both sides, found a difference")
    rounds = [(seconds(ours, videos), seconds(plain_python, videos)) for _ in range(1 if quick else 5)]
    fast, slow = np.median(rounds, axis=0).tolist()
    everything, size = seconds(all_figures, videos), f"{len(videos)} videos x {ANNOTATORS} annotators"
    lists = f"{SHOTS} shots, ~7,000 frames; reference: knapsack table in nested lists, loop over annotators"
    return [
        {"what": f"{what}, {size}", "ours": ours, "reference": other, "unit": "s", "ratio": other / ours, "note": note}
        for what, ours, other, note in (
            ("key-shot F1", fast, slow, lists),
            ("F1, tau and rho", everything, 3.0, "about 470 scores a video; reference: the limit"),
        )
    ]


def make_video(seed: int) -> Video:
    """Random scores, shots and annotators: nobody agrees, which changes no step of the work."""
    rng = np.random.default_rng(seed)
    n_frames = int(rng.integers(6000, 8000))
    cuts = np.sort(rng.choice(np.arange(1, n_frames), SHOTS - 1, replace=False))
    shots = np.stack([[0, *cuts], [*cuts, n_frames]], axis=1)
    picks = np.arange(0, n_frames, STEP)
    rated = rng.integers(1, 6, (ANNOTATORS, len(picks))).astype(float)
    users = np.array([key_shot_summary(scores, picks, n_frames, shots) for scores in rated])
    return Video(rng.random(len(picks)), picks, n_frames, shots, users, rated)


def seconds(measure: Callable[[Video], float], videos: list[Video]) -> float:
    start = time.perf_counter()
    for video in videos:
        measure(video)
    return time.perf_counter() - start


def ours(video: Video) -> float:
    return f1_score(key_shot_summary(*video[:4]), video.users)


def all_figures(video: Video) -> tuple[float, ...]:
    return ours(video), kendall_tau(video.scores, video.rated)[0], spearman_rho(video.scores, video.rated)[0]


def plain_python(video: Video) -> float:
    """The same F1, step by step: the rule of `hiersum_hf.metrics.key_shot_summary` in loops."""
    frames = np.zeros(video.n_frames)
    ends = [*video.picks[1:], video.n_frames]
    for score, start, end in zip(video.scores, video.picks, ends, strict=True):
        frames[start:end] = score
    values = [frames[start:end].mean() for start, end in video.shots]
    lengths = [int(end - start) for start, end in video.shots]
    summary = np.zeros(video.n_frames, bool)
    for shot in knapsack_in_lists(values, lengths, video.n_frames * 15 // 100):
        summary[slice(*video.shots[shot])] = True
    figures = []
    for user in video.users:
        overlap = (summary & user).sum()
        precision, recall = overlap / max(summary.sum(), 1), overlap / max(user.sum(), 1)
        figures.append(2 * precision * recall / (precision + recall) if overlap else 0.0)
    return float(np.mean(figures))


def knapsack_in_lists(values: list[float], weights: list[int], capacity: int) -> list[int]:
    """Items of the best choice, by the textbook's table of items x capacity."""
    table = [[0.0] * (capacity + 1) for _ in range(len(values) + 1)]
    for item in range(1, len(values) + 1):
        for room in range(1, capacity + 1):
            table[item][room] = table[item - 1][room]
            if weights[item - 1] <= room:
                taken = values[item - 1] + table[item - 1][room - weights[item - 1]]
                table[item][room] = max(taken, table[item][room])
    chosen, room = [], capacity
    for item in range(len(values), 0, -1):
        if table[item][room] != table[item - 1][room]:
            chosen.append(item - 1)
            room -= weights[item - 1]
    return chosen
