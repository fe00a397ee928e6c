"""Frame scores to a summary: shots, the shots that fit the budget, segments in seconds, key sentences.

Letters: N sampled frames, S shots, M sentences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from hiersum_hf.modeling.feature_extraction_hiersum import times_to_spans
from hiersum_hf.records import Budget, Segment, Sentence, Summary, clock
from hiersum_hf.shots import kernel_temporal_segmentation, knapsack, shot_scores


MAX_UNITS = 20_000  # of the knapsack's capacity: milliseconds up to 20 s, coarser above
SMALLEST_UNIT_S = 1e-3
SHORTEST_SHOT_S = 0.5  # of shots whose borders moved to a sentence's edge; not given in the paper


def parse_budget(text: str) -> tuple[str, float]:
    """("ratio", 0.15) from "0.15", ("seconds", 60.0) from "60s".

    Raises:
        ValueError: If it is neither a ratio in (0, 1] nor more than 0 seconds.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(s?)\s*", text)
    value = float(match[1]) if match else 0.0
    if match and value > 0 and (match[2] or value <= 1):
        return ("seconds" if match[2] else "ratio"), value
    raise ValueError(f'budget: expected a ratio in (0, 1] such as "0.15" or seconds such as "60s", found {text!r}')


def budget_of(text: str, duration_s: float) -> Budget:
    """The budget of a video of this length, which is the most it can be. Raises what `parse_budget` raises."""
    kind, value = parse_budget(text)
    return Budget(kind, value, min(value if kind == "seconds" else value * duration_s, duration_s))


def summarize_scores(
    frame_times_s: np.ndarray,
    scores: np.ndarray,
    duration_s: float,
    features: np.ndarray,
    budget: Budget,
    *,
    video: str,
    scorer: str,
    level: str | None = None,
    checkpoint: str | None = None,
    encoders: dict[str, str | None] | None = None,
    sentences: Sequence[Sentence] = (),
    sentence_scores: np.ndarray | None = None,
    cuts_s: np.ndarray | None = None,
    warnings: Sequence[str] = (),
) -> Summary:
    """Choose the stretches of a video that are worth the budget.

    Shots come from kernel temporal segmentation and are cut at the times of sampled frames. A border inside a sentence
    moves to the nearer edge of that sentence; where sentences overlap, to the nearer edge of all of them together, or,
    if those last longer than the budget, to where the next of them begins. A sentence longer than the budget cannot be
    kept whole and moves nothing. Borders that end up less than 0.5 s after another are dropped. A shot's value is its
    mean score over time; an exact knapsack picks shots within `budget.seconds` (lengths are rounded up to its unit of
    time, 1/20,000 of the budget or 1 ms, whichever is more, so the sum never exceeds the budget by more than float
    error). Adjacent shots become one segment. If no shot fits the budget, or only such as score less than the video on
    average (the one short shot of a lecture, its title), the best-scored window within the budget that cuts no such
    sentence is taken, `fallback` is set and a warning says why. None of this is given in the paper.

    Args:
        frame_times_s: (N,) ascending times of the sampled frames in seconds, N >= 1.
        scores: (N,) importance in [0, 1].
        duration_s: Length of the video; a budget of at least this keeps all of it.
        features: (N, D) frame features, for the shots.
        budget: Length of the summary.
        video: Name of the video, used in messages and in the summary.
        scorer, level, checkpoint, encoders, warnings: Copied to the summary.
        sentences: The M subtitle sentences; those whose middle lies in a segment are the key sentences.
        sentence_scores: (M,), or None for the mean score of the frames that a sentence covers.
        cuts_s: (C,) ascending times where shots begin, in seconds; None: kernel temporal segmentation finds them.

    Raises:
        ValueError: If lengths differ, scores or features are not finite, times do not ascend, or the duration or the
            budget is not above 0; the message names the video.
    """
    times_s, scores = np.asarray(frame_times_s, np.float64), np.asarray(scores, np.float64)
    _check(video, times_s, scores, duration_s, features, budget)
    if sentence_scores is None:
        sentence_scores = _covered_means(sentences, times_s, scores)
    if len(sentence_scores) != len(sentences):
        raise ValueError(f"video {video}: expected {len(sentences)} sentence scores, found {len(sentence_scores)}")
    spoken_s = _spoken(sentences, duration_s, budget.seconds)
    curve = _score_integral(times_s, scores, duration_s)
    if cuts_s is None:
        cuts_s = times_s[kernel_temporal_segmentation(features)[1:, 0]]
    bounds_s = _timed_shots(cuts_s, duration_s, spoken_s)
    values = _window_means(curve, bounds_s)
    chosen = _choose(bounds_s, values, budget.seconds)
    fallback = not chosen.any()
    spans_s = [_best_window(curve, budget.seconds, spoken_s)] if fallback else _merge(bounds_s[chosen])
    if fallback:
        warnings = [*warnings, _why_no_shot(bounds_s, values, budget.seconds)]
    return Summary(
        video=video,
        duration_s=float(duration_s),
        budget=budget,
        level=level,
        scorer=scorer,
        fallback=fallback,
        segments=tuple(
            Segment(*span, float(mean)) for span, mean in zip(spans_s, _window_means(curve, spans_s), strict=True)
        ),
        key_sentences=_key_sentences(sentences, sentence_scores, spans_s),
        shots=tuple(
            {"start_s": float(start_s), "end_s": float(end_s), "score": float(value), "selected": bool(selected)}
            for (start_s, end_s), value, selected in zip(bounds_s, values, chosen, strict=True)
        ),
        scores={"times_s": times_s.tolist(), "values": scores.tolist()},
        checkpoint=checkpoint,
        encoders=encoders or {"video": None, "text": None},
        warnings=tuple(warnings),
    )


def _check(
    video: str, times_s: np.ndarray, scores: np.ndarray, duration_s: float, features: np.ndarray, budget: Budget
) -> None:
    if not len(times_s) == len(scores) == len(features) or len(times_s) == 0:
        found = f"{len(times_s)}, {len(scores)} and {len(features)}"
        raise ValueError(f"video {video}: expected as many times, scores and features, at least one; found {found}")
    if not (np.isfinite(scores).all() and np.isfinite(features).all()):
        raise ValueError(f"video {video}: expected finite scores and features, found NaN or infinity")
    if (np.diff(times_s) <= 0).any() or not 0 <= times_s[0] < duration_s:
        raise ValueError(f"video {video}: expected frame times that ascend within 0 to {duration_s} s")
    if not budget.seconds > 0:
        raise ValueError(f"video {video}: expected a budget above 0 s, found {budget.seconds}")


def _spoken(sentences: Sequence[Sentence], duration_s: float, budget_s: float) -> np.ndarray:
    """(P, 2) ascending stretches of at most `budget_s`, each one or more sentences, inside which nothing is cut."""
    stretches: list[tuple[float, float]] = []
    for chain in _overlapping(sentences, duration_s):
        start_s, end_s = chain[0][0], max(end for _, end in chain)
        starts_s = [start_s] if end_s - start_s <= budget_s else sorted({start for start, _ in chain})
        stretches += pairwise([*starts_s, end_s])
    bounds_s = np.array(stretches).reshape(-1, 2)
    lengths_s = bounds_s[:, 1] - bounds_s[:, 0]
    return bounds_s[(lengths_s > 0) & (lengths_s <= budget_s)]


def _overlapping(sentences: Sequence[Sentence], duration_s: float) -> list[list[tuple[float, float]]]:
    """Bounds of the sentences within the video, by start, in groups that overlap each other."""
    chains: list[list[tuple[float, float]]] = []
    last_s = -math.inf
    for start_s, end_s in sorted((max(0.0, s.start_s), min(s.end_s, duration_s)) for s in sentences):
        if start_s < end_s:
            if start_s >= last_s:
                chains.append([])
            chains[-1].append((start_s, end_s))
            last_s = max(last_s, end_s)
    return chains


def _around(times_s: np.ndarray, spoken_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges before and after each time of the stretch that it lies inside; the time itself where there is none."""
    if not len(spoken_s):
        return times_s, times_s
    starts_s, ends_s = spoken_s.T
    index = np.maximum(np.searchsorted(starts_s, times_s) - 1, 0)  # the last stretch that starts before
    inside = (starts_s[index] < times_s) & (times_s < ends_s[index])
    return np.where(inside, starts_s[index], times_s), np.where(inside, ends_s[index], times_s)


def _timed_shots(borders_s: np.ndarray, duration_s: float, spoken_s: np.ndarray) -> np.ndarray:
    """Bounds (S, 2) in seconds that cover 0 to `duration_s`."""
    before_s, after_s = _around(borders_s, spoken_s)
    moved_s = np.where(borders_s - before_s <= after_s - borders_s, before_s, after_s)
    starts_s, shortest_s = [0.0], SHORTEST_SHOT_S if len(spoken_s) else 0.0
    for border_s in moved_s[
        moved_s < duration_s
    ].tolist():  # containers may tell a length that ends before their frames
        if border_s - starts_s[-1] > shortest_s < duration_s - border_s:
            starts_s.append(border_s)
    return np.array(list(pairwise([*starts_s, float(duration_s)])))


def _choose(bounds_s: np.ndarray, values: np.ndarray, budget_s: float) -> np.ndarray:
    """(S,) bool: the best shots that fit `budget_s`, all if the video does, none if all that fit are below average."""
    if budget_s >= bounds_s[-1, 1]:
        return np.ones(len(values), bool)
    unit_s = max(SMALLEST_UNIT_S, budget_s / MAX_UNITS)
    lengths = np.ceil((bounds_s[:, 1] - bounds_s[:, 0]) / unit_s - 1e-6)  # 1e-6 units: float error of a difference
    capacity = math.floor(budget_s / unit_s + 1e-6)
    if values[lengths <= capacity].max(initial=0.0) < _mean(bounds_s, values) - 1e-9:
        return np.zeros(len(values), bool)
    return knapsack(values, lengths.astype(np.int64), capacity)


def _mean(bounds_s: np.ndarray, values: np.ndarray) -> float:
    """The video's mean score, from that of its shots."""
    return float(np.average(values, weights=np.diff(bounds_s)[:, 0]))


def _merge(bounds_s: np.ndarray) -> list[tuple[float, float]]:
    """Shots that follow each other without a gap as one stretch."""
    breaks = np.flatnonzero(bounds_s[1:, 0] > bounds_s[:-1, 1])
    starts_s, ends_s = bounds_s[np.append(0, breaks + 1), 0], bounds_s[np.append(breaks, -1), 1]
    return list(zip(starts_s.tolist(), ends_s.tolist(), strict=True))


def _score_integral(times_s: np.ndarray, scores: np.ndarray, duration_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges (N + 1,) in seconds and the score's integral up to each; a frame holds until the next one."""
    edges_s = np.minimum(np.concatenate([[0.0], times_s[1:], [np.inf]]), duration_s)
    return edges_s, np.append(0.0, np.cumsum(scores * np.diff(edges_s)))


def _window_means(curve: tuple[np.ndarray, np.ndarray], spans_s: Any) -> np.ndarray:
    """(S,) mean score of each of `spans_s` (S, 2)."""
    spans_s = np.asarray(spans_s)
    return np.diff(np.interp(spans_s, *curve))[:, 0] / (spans_s[:, 1] - spans_s[:, 0])


def _best_window(curve: tuple[np.ndarray, np.ndarray], length_s: float, spoken_s: np.ndarray) -> tuple[float, float]:
    """The stretch of at most `length_s` with the most score that cuts nothing spoken; of equals the longest, earliest.

    Where nothing is spoken it is as long as `length_s`, which is less than the video.
    """
    edges_s, duration_s = curve[0], curve[0][-1]
    starts_s = np.clip(np.concatenate([edges_s, edges_s - length_s, spoken_s.ravel()]), 0, duration_s - length_s)
    starts_s = np.unique(np.concatenate(_around(starts_s, spoken_s)))
    ends_s, _ = _around(np.minimum(starts_s + length_s, duration_s), spoken_s)
    starts_s, ends_s = starts_s[ends_s > starts_s], ends_s[ends_s > starts_s]
    gains = np.interp(ends_s, *curve) - np.interp(starts_s, *curve)
    lengths_s = np.where(gains >= gains.max() - 1e-9, ends_s - starts_s, 0.0)
    best = int(np.flatnonzero(lengths_s >= lengths_s.max() - 1e-9)[0])
    return float(starts_s[best]), float(ends_s[best])


def _why_no_shot(bounds_s: np.ndarray, values: np.ndarray, budget_s: float) -> str:
    lengths_s = np.diff(bounds_s)[:, 0]
    best = int(np.where(lengths_s <= budget_s, values, -1.0).argmax())
    if lengths_s.min() > budget_s:
        why = f"The budget of {budget_s:.4g} s is shorter than every shot (the shortest lasts {lengths_s.min():.4g} s)"
    elif not values.any():
        why = "Every shot scores 0"
    else:
        where = f"{clock(bounds_s[best, 0])} to {clock(bounds_s[best, 1])}, score {values[best]:.2f}"
        why = f"Shots that fit the budget of {budget_s:.4g} s score below the video's mean of "
        why += f"{_mean(bounds_s, values):.2f} (the best of them: {where})"
    return f"{why}: the best-scored window of that length was taken instead."


def _covered_means(sentences: Sequence[Sentence], times_s: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(M,) mean score of the frames that each sentence covers; of the nearest where it covers none."""
    spans = times_to_spans(times_s, np.array([(s.start_s, s.end_s) for s in sentences]).reshape(-1, 2))
    start = np.minimum(spans[:, 0], len(scores) - 1)
    return shot_scores(scores, np.stack([start, np.maximum(spans[:, 1], start + 1)], axis=1))


def _key_sentences(
    sentences: Sequence[Sentence], sentence_scores: np.ndarray, spans_s: list[tuple[float, float]]
) -> tuple[dict[str, Any], ...]:
    """Sentences whose middle lies in one of `spans_s`, by start, as they stand in a summary."""
    kept = [
        {"start_s": float(s.start_s), "end_s": float(s.end_s), "text": s.text, "score": float(score)}
        for s, score in zip(sentences, sentence_scores, strict=True)
        if any(start_s <= (s.start_s + s.end_s) / 2 < end_s for start_s, end_s in spans_s)
    ]
    return tuple(sorted(kept, key=lambda sentence: sentence["start_s"]))
