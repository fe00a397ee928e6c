"""Frame scores to a summary.

Segments in seconds, key sentences, and what of the description and the queries is shown. Letters: N sampled frames, S
shots, M sentences, K steps, Q queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.inputs_hiersum import times_to_spans
from hiersum_hf.records import Budget, Floats, Segment, Sentence, Summary, first_step, is_told, sentence_times_s
from hiersum_hf.scoring.topics import sentence_of_frames
from hiersum_hf.summary.chapters import source_chapters
from hiersum_hf.summary.key_shots import choose_shots, frame_edges, score_integral, timed_shots, window_means
from hiersum_hf.summary.selection import (
    KEYSHOT,
    Background,
    Chosen,
    Moments,
    Selection,
    Span,
    best_moments,
    choose_moments,
)
from hiersum_hf.summary.shots import kernel_temporal_segmentation
from hiersum_hf.summary.spoken import spoken_stretches
from hiersum_hf.timeline import covered_means


MOST_MOMENTS = 3  # of a query
SHOWN_S, SHOWN = 2.0, 0.3  # seconds, or share, of a step that a segment must hold to show it
LONGEST_SHOT = 3600  # sampled frames, half an hour at 2 a second, so that hours of one picture take no square of time


def summarize_scores(
    frame_times_s: Floats,
    scores: Floats,
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
    sentence_scores: Floats | None = None,
    cuts_s: Floats | None = None,
    warnings: Sequence[str] = (),
    selection: Selection | None = None,
    background: Background | None = None,
) -> Summary:
    """Choose the stretches of a video that are worth the budget.

    By default by the rule for people, `selection.choose_moments`, or by the field's, `key_shots.choose_shots`. Neither
    exceeds the budget or cuts a sentence that fits it. A budget of at least the video's length keeps all of it but
    what is to be skipped. None of this is given in the paper.

    Args:
        frame_times_s: (N,) ascending times of the sampled frames in seconds, N >= 1.
        scores: (N,) importance in [0, 1].
        duration_s: Length of the video.
        features: (N, D) frame features, for the shots and for what looks the same.
        budget: Length of the summary.
        video: Name of the video, used in messages and in the summary.
        scorer: Copied to the summary, as are the next three and the warnings.
        level: See `Summary`.
        checkpoint: See `Summary`.
        encoders: See `Summary`.
        sentences: The M subtitle sentences; the key sentences are those that `records.is_told`
            finds in a segment.
        sentence_scores: (M,), or None for the mean score of the frames that a sentence covers, see `covered_means`.
        cuts_s: (C,) ascending times where shots begin, in seconds; None: kernel temporal segmentation finds them.
        warnings: What the reader should know so far.
        selection: How to choose; default `Selection()`.
        background: What else is known; default nothing.

    Raises:
        ValueError: If lengths differ, scores or features are not finite, times do not ascend, or the duration or the
            budget is not above 0, or what is to be kept and skipped cannot be; the message names the video.
    """
    times_s, scores = np.asarray(frame_times_s, np.float64), np.asarray(scores, np.float64)
    selection, background = selection or Selection(), background or Background()
    _check(video, times_s, scores, duration_s, features, budget)
    if sentence_scores is None:
        sentence_scores = covered_means(scores, times_to_spans(times_s, sentence_times_s(sentences)))
    if len(sentence_scores) != len(sentences):
        raise HierSumError(f"video {video}: expected {len(sentences)} sentence scores, found {len(sentence_scores)}")
    edges_s = frame_edges(times_s, duration_s)
    curve = score_integral(edges_s, scores)  # the mean score of any stretch is a difference on this curve
    if cuts_s is None:  # first frames of shots; each shot began after the frame before
        first = kernel_temporal_segmentation(features, LONGEST_SHOT)[1:, 0]
        cuts_s, lasts_s = times_s[first], times_s[first - 1]
    else:
        cuts_s = lasts_s = np.asarray(cuts_s, np.float64)
    inside = (cuts_s > 0) & (cuts_s < duration_s)
    moments = Moments(
        video,
        edges_s,
        scores,
        spoken_stretches(sentences, duration_s, budget.seconds),
        cuts_s[inside],
        lasts_s[inside],
        background.covered,
        background.coverage,
        background.dead,
        background.quiet,
        features,
        sentence_of_frames(sentences, times_s),
        background.words,
    )
    queries = _queries(moments, background, selection)
    if background.answered is not None and background.answered.any():
        moments = replace(moments, covered=_best_of_queries(queries, background.answered, edges_s))
    bounds_s = timed_shots(cuts_s, duration_s, moments.spoken_s)
    if selection.rule == KEYSHOT:
        chosen_shots, found_s, why = choose_shots(bounds_s, curve, budget.seconds, moments.spoken_s)
        chosen = Chosen(tuple(found_s), why is not None, () if why is None else (why,))
    else:
        chosen = choose_moments(moments, budget.seconds, selection)
        chosen_shots = _mostly_within(bounds_s, chosen.spans_s)
    spans_s, notes = chosen.spans_s, chosen.notes
    return Summary(
        video=video,
        duration_s=float(duration_s),
        budget=budget,
        level=level,
        scorer=scorer,
        fallback=chosen.fallback,
        segments=tuple(
            Segment(*span, float(mean)) for span, mean in zip(spans_s, window_means(curve, spans_s), strict=True)
        ),
        key_sentences=_key_sentences(sentences, sentence_scores, spans_s),
        shots=tuple(
            {"start_s": float(start_s), "end_s": float(end_s), "score": float(value), "selected": bool(selected)}
            for (start_s, end_s), value, selected in zip(
                bounds_s, window_means(curve, bounds_s), chosen_shots, strict=True
            )
        ),
        scores={"times_s": times_s.tolist(), "values": scores.tolist()},
        checkpoint=checkpoint,
        encoders=encoders or {"video": None, "text": None},
        warnings=(*warnings, *notes),
        selection={
            "rule": selection.rule,
            "min_segment_s": float(selection.min_segment_s),
            "run_cost": selection.run_cost,
        },
        queries=queries,
        steps=_steps(moments, background, spans_s),
        kept=_plain(selection.keep),
        skipped=_plain(selection.skip),
        chapters=source_chapters(
            duration_s,
            edges_s,
            features,
            sentences,
            sentence_scores,
            background.words,
            background.steps,
            background.step_of,
        ),
    )


def _queries(moments: Moments, background: Background, selection: Selection) -> tuple[dict[str, Any], ...]:
    """List the nearest moments of each query.

    They have the form in which they stand in a summary.
    """
    if background.relevance is None:
        return ()
    return tuple(
        {
            "text": query,
            "moments": [
                {"start_s": start_s, "end_s": end_s, "score": score}
                for (start_s, end_s), score in best_moments(moments, row, selection, MOST_MOMENTS)
            ],
        }
        for query, row in zip(background.queries, background.relevance, strict=True)
    )


def _best_of_queries(queries: Sequence[dict[str, Any]], answered: np.ndarray, edges_s: Floats) -> np.ndarray:
    """Tell whose nearest moment each frame belongs to, (N,).

    It is told by the number of the answered query, -1 for none.
    """
    covered, middles_s = np.full(len(edges_s) - 1, -1), (edges_s[1:] + edges_s[:-1]) / 2
    for q in np.flatnonzero(answered)[::-1]:  # of two with one moment the first has it
        best = queries[q]["moments"][0]
        covered[(best["start_s"] <= middles_s) & (middles_s < best["end_s"])] = q
    return covered


def _steps(moments: Moments, background: Background, spans_s: Sequence[Span]) -> tuple[dict[str, Any], ...]:
    """List the segments that show each step.

    Such a segment holds 2 s or 30 % of what is about the step. A single text is a title, which no segment shows.
    """
    if background.step_of is None or len(background.steps) == 1:
        return ()
    found = []
    for k, text in list(enumerate(background.steps))[first_step(background.steps) :]:
        # Seconds about this step up to each frame edge; a segment holds the difference at its ends
        up_to_s = np.append(0.0, np.cumsum(np.diff(moments.edges_s) * (background.step_of == k)))
        held_s = np.diff(np.interp(np.array(spans_s), moments.edges_s, up_to_s))[:, 0]
        needed_s = min(SHOWN_S, SHOWN * up_to_s[-1])
        shown = np.flatnonzero((held_s >= needed_s - 1e-9) & (held_s > 0)).tolist()
        found.append({"text": text, "segments": shown, "found": bool(up_to_s[-1] > 0)})
    return tuple(found)


def _plain(spans_s: Sequence[Span]) -> tuple[dict[str, float], ...]:
    """Write stretches as plain JSON types."""
    return tuple({"start_s": float(start_s), "end_s": float(end_s)} for start_s, end_s in spans_s)


def _mostly_within(bounds_s: Floats, spans_s: Sequence[Span]) -> np.ndarray:
    """Tell which shots lie mostly in the stretches, (S,).

    At least half of such a shot does.
    """
    # Two stretches have max(0, min of the ends - max of the starts) in common
    held_s = [sum(max(0.0, min(end_s, b) - max(start_s, a)) for start_s, end_s in spans_s) for a, b in bounds_s]
    return np.array(held_s) >= np.diff(bounds_s)[:, 0] / 2 - 1e-9


def _check(
    video: str, times_s: Floats, scores: Floats, duration_s: float, features: np.ndarray, budget: Budget
) -> None:
    """Refuse what cannot be summarized."""
    if not len(times_s) == len(scores) == len(features) or len(times_s) == 0:
        found = f"{len(times_s)}, {len(scores)} and {len(features)}"
        raise HierSumError(f"video {video}: expected as many times, scores and features, at least one; found {found}")
    if not (np.isfinite(scores).all() and np.isfinite(features).all()):
        raise HierSumError(f"video {video}: expected finite scores and features, found NaN or infinity")
    if (np.diff(times_s) <= 0).any() or not 0 <= times_s[0] < duration_s:
        raise HierSumError(f"video {video}: expected frame times that ascend within 0 to {duration_s} s")
    if not budget.seconds > 0:
        raise HierSumError(f"video {video}: expected a budget above 0 s, found {budget.seconds}")


def _key_sentences(
    sentences: Sequence[Sentence], sentence_scores: Floats, spans_s: Sequence[Span]
) -> tuple[dict[str, Any], ...]:
    """Pick the sentences whose middle lies in a stretch, or that are spoken at the middle of one.

    They are sorted by start and have the form in which they stand in a summary.
    """
    kept = [
        {"start_s": float(s.start_s), "end_s": float(s.end_s), "text": s.text, "score": float(score)}
        for s, score in zip(sentences, sentence_scores, strict=True)
        if any(is_told(s.start_s, s.end_s, *span_s) for span_s in spans_s)
    ]
    return tuple(sorted(kept, key=lambda sentence: sentence["start_s"]))
