"""Frame scores to a summary: shots, the shots that fit the budget, segments in seconds, key sentences.

Letters: N sampled frames, S shots, M sentences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from hiersum_hf.modeling.feature_extraction_hiersum import times_to_spans
from hiersum_hf.records import Budget, Segment, Sentence, Summary
from hiersum_hf.shots import kernel_temporal_segmentation, knapsack, shot_scores


MAX_UNITS = 20_000  # of the knapsack's capacity: milliseconds up to 20 s, coarser above
SMALLEST_UNIT_S = 1e-3


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
    warnings: Sequence[str] = (),
) -> Summary:
    """Choose the stretches of a video that are worth the budget.

    Shots come from kernel temporal segmentation and are cut at the times of sampled frames; a shot's value is the
    mean of its frames' scores; an exact knapsack picks shots within `budget.seconds` (lengths are rounded up to its
    unit of time, 1/20,000 of the budget or 1 ms, whichever is more, so the sum never exceeds the budget by more than
    float error). Adjacent shots become one segment. If no shot is chosen, the best-scored window of exactly the
    budget's length is taken, `fallback` is set and a warning says so. None of this is given in the paper.

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
    bounds_s, values = _timed_shots(times_s, scores, duration_s, features)
    chosen = _choose(bounds_s, values, budget.seconds)
    fallback = not chosen.any()
    spans_s = [_best_window(times_s, scores, duration_s, budget.seconds)] if fallback else _merge(bounds_s[chosen])
    if fallback:
        why = f"No shot fits the budget of {budget.seconds:g} s (or those that do score 0)"
        warnings = [*warnings, f"{why}: the best-scored window of that length was taken."]
    return Summary(
        video=video,
        duration_s=float(duration_s),
        budget=budget,
        level=level,
        scorer=scorer,
        fallback=fallback,
        segments=tuple(Segment(a, b, _window_mean(times_s, scores, duration_s, a, b)) for a, b in spans_s),
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


def _timed_shots(
    times_s: np.ndarray, scores: np.ndarray, duration_s: float, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (S, 2) in seconds that cover 0 to `duration_s`, and values (S,)."""
    shots = kernel_temporal_segmentation(features)
    starts_s = np.append(0.0, times_s[shots[1:, 0]])
    inside = starts_s < duration_s  # containers may tell a length that ends before their last frame
    starts_s = starts_s[inside]
    return np.stack([starts_s, np.append(starts_s[1:], duration_s)], axis=1), shot_scores(scores, shots)[inside]


def _choose(bounds_s: np.ndarray, values: np.ndarray, budget_s: float) -> np.ndarray:
    """(S,) bool: the best shots that fit `budget_s`, all of them if the video does."""
    if budget_s >= bounds_s[-1, 1]:
        return np.ones(len(values), bool)
    unit_s = max(SMALLEST_UNIT_S, budget_s / MAX_UNITS)
    lengths = np.ceil((bounds_s[:, 1] - bounds_s[:, 0]) / unit_s - 1e-6)  # 1e-6 units: float error of a difference
    return knapsack(values, lengths.astype(np.int64), math.floor(budget_s / unit_s + 1e-6))


def _merge(bounds_s: np.ndarray) -> list[tuple[float, float]]:
    """Shots that follow each other without a gap as one stretch."""
    breaks = np.flatnonzero(bounds_s[1:, 0] > bounds_s[:-1, 1])
    starts_s, ends_s = bounds_s[np.append(0, breaks + 1), 0], bounds_s[np.append(breaks, -1), 1]
    return list(zip(starts_s.tolist(), ends_s.tolist(), strict=True))


def _score_integral(times_s: np.ndarray, scores: np.ndarray, duration_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges (N + 1,) in seconds and the score's integral up to each; a frame holds until the next one."""
    edges_s = np.minimum(np.concatenate([[0.0], times_s[1:], [np.inf]]), duration_s)
    return edges_s, np.append(0.0, np.cumsum(scores * np.diff(edges_s)))


def _window_mean(times_s: np.ndarray, scores: np.ndarray, duration_s: float, start_s: float, end_s: float) -> float:
    edges_s, integral = _score_integral(times_s, scores, duration_s)
    return float(np.diff(np.interp([start_s, end_s], edges_s, integral))[0] / (end_s - start_s))


def _best_window(times_s: np.ndarray, scores: np.ndarray, duration_s: float, length_s: float) -> tuple[float, float]:
    """The stretch of `length_s` < `duration_s` with the greatest mean score, the earliest of equals."""
    edges_s, integral = _score_integral(times_s, scores, duration_s)
    starts_s = np.unique(np.clip(np.append(edges_s, edges_s - length_s), 0, duration_s - length_s))
    gains = np.interp(starts_s + length_s, edges_s, integral) - np.interp(starts_s, edges_s, integral)
    best_s = float(starts_s[np.flatnonzero(gains >= gains.max() - 1e-9)[0]])
    return best_s, min(best_s + length_s, float(duration_s))


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
