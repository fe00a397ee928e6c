"""Scores to the stretches that a person should see.

Not given in the paper. Letters: N sampled frames, B + 1 borders with B atoms between them, M sentences, K texts, P
spoken stretches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hiersum_hf.modeling.errors_hiersum import HierSumError, expect_type
from hiersum_hf.records import Floats, Ints, clock
from hiersum_hf.summary.key_shots import best_window, score_integral
from hiersum_hf.summary.looks import Looks
from hiersum_hf.summary.runs import Line, best_runs
from hiersum_hf.summary.spoken import around


IMPORTANCE, KEYSHOT = RULES = ("importance", "keyshot")
MIN_SEGMENT_S = 3.0
RUN_COST = 1.0  # standard deviations x seconds
BORDER_COST, SOUND_COST = 0.1, 0.4  # the same, of a border inside a shot; where something is heard that pauses
FLASH_S, FLASH_COST = 1.0, 2.0  # of another shot that a run begins or ends with, and what that costs
COVERAGE = 4.0  # standard deviations that the best moment of a text counts more,
STILL_COVERAGE = 1.0  # and that of a still picture where no texts are told apart
REPEATED = 0.1  # of a frame's gain that is left where it repeats a chosen one
ROUNDS = 4
TOUCH_S = 1e-6
OVERHANG_S = 0.5  # that a stretch to keep may go on after the video's end

Span = tuple[float, float]


@dataclass(frozen=True)
class Selection:
    """Settings of how a summary is chosen.

    Args:
        rule: "importance" or "keyshot", the field's rule.
        min_segment_s: Least length of a segment.
        run_cost: What each segment costs, in standard deviations of the scores x seconds.
        keep, skip: (start_s, end_s) stretches that must, or must not, be in the summary.
    """

    rule: str = IMPORTANCE
    min_segment_s: float = MIN_SEGMENT_S
    run_cost: float = RUN_COST
    keep: tuple[Span, ...] = ()
    skip: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise HierSumError(f"selection: expected one of {', '.join(RULES)}; found {self.rule!r}")
        expect_type("min_segment_s", self.min_segment_s, (int, float), "seconds as a number")
        if not 0 <= self.min_segment_s < np.inf:
            raise HierSumError(f"min_segment_s: expected seconds from 0 on, found {self.min_segment_s}")
        if self.rule == KEYSHOT and (self.keep or self.skip):
            raise HierSumError(
                'keep, skip: expected the selection "importance", found "keyshot", which cannot hold them'
            )


@dataclass(frozen=True, eq=False)
class Background:
    """What is known of a video beside scores and sentences.

    Args:
        steps: The K texts of its description.
        step_of: (N,) index of the step that each frame is about, -1 for none; None without steps.
        queries: The Q texts that were asked for.
        relevance, answered: (Q, N) cosines of the moments to the queries, and (Q,) whether anything is near to each.
        covered: (N,) what is worth being represented: index of each frame's step or still picture, -1 for none. Where
            there are answered queries, their best moments are instead.
        coverage: What the best moment of each of these counts more, in standard deviations.
        dead, quiet: (N,) as `Moments` has them.
        words: (M, Dt) features of the sentences.
    """

    steps: tuple[str, ...] = ()
    step_of: np.ndarray | None = None
    queries: tuple[str, ...] = ()
    relevance: Floats | None = None
    answered: np.ndarray | None = None
    covered: np.ndarray | None = None
    coverage: float = COVERAGE
    dead: np.ndarray | None = None
    quiet: np.ndarray | None = None
    words: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))


@dataclass(frozen=True, eq=False)
class Moments:
    """What is known of the moments of a video.

    Args:
        video: Its name, for messages.
        edges_s: (N + 1,) seconds: sampled frame i stands for [edges_s[i], edges_s[i + 1]).
        scores: (N,) importance.
        spoken_s: (P, 2) stretches inside which nothing is cut, as `spoken_stretches` gives them.
        shots_s: Seconds at which shots begin.
        lasts_s: Seconds of the last frame that surely shows the shot before each of these; None where no pictures are
            at hand, and a flash of another shot costs nothing.
        covered, coverage: As `Background` has them; None without texts.
        dead: (N,) frames that show nothing while nothing is said.
        quiet: (N,) frames at which nothing is heard.
        features: (N, D) of the frames, (0, 0) where unknown.
        sentence_of: (N,) index of the sentence spoken at each frame, -1 for none.
        words: (M, Dt) features of the sentences.
    """

    video: str
    edges_s: Floats
    scores: Floats
    spoken_s: Floats
    shots_s: Floats
    lasts_s: Floats | None = None
    covered: np.ndarray | None = None
    coverage: float = COVERAGE
    dead: np.ndarray | None = None
    quiet: np.ndarray | None = None
    features: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    sentence_of: np.ndarray | None = None
    words: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def duration_s(self) -> float:
        """Length of the video."""
        return float(self.edges_s[-1])


@dataclass(frozen=True)
class Chosen:
    """The chosen stretches in order, and how they were found.

    `fallback` says that the rule found none and the best one stands in, `notes` what the reader should know.
    """

    spans_s: tuple[Span, ...]
    fallback: bool = False
    notes: tuple[str, ...] = ()


def choose_moments(moments: Moments, budget_s: float, selection: Selection) -> Chosen:
    """Choose the runs of frames worth most within the budget.

    The worth of a run is the integral of its frames' scores less the video's mean, in standard deviations x seconds,
    less `run_cost` and what its borders cost (nothing at a shot border or in silence, `BORDER_COST` inside a shot).
    What scores below the mean costs, so a summary may end before its budget. A run lasts at least `min_segment_s`, or
    is one whole sentence of at least half of that. No border falls into a sentence that fits the budget, no run holds
    what is to be skipped or shows nothing while nothing is said. Exact: see `runs.best_runs`.

    Coverage: of each text the best moment that may be a run, the one with the highest mean of its own frames that
    score above the video's mean, counts `COVERAGE` standard deviations more. That keeps the sum additive and exact. It
    is done a second time with moments no longer than each text's share of the budget where there are good ones; the
    selection that shows more of the texts, at less loss, is taken.

    Repeats: where chosen stretches repeat others (near-identical pictures of another shot, and the same words or none)
    the best one stays, what repeats it keeps a tenth of its gain, and all is chosen anew, at most four times; the best
    of the rounds is taken. The first round's worth, in which nothing is a repeat, bounds every selection's from above.

    Args:
        moments: The video.
        budget_s: Length of the summary, below that of the video.
        selection: What was asked for.

    Raises:
        ValueError: What is to be kept does not fit the budget or the video, or is to be skipped too, or nothing is
            left; names the video.
    """
    keep, skip = check_wishes(selection, moments.video, moments.duration_s, budget_s)
    keep = _whole_sentences(keep, skip, moments.spoken_s, budget_s)
    if budget_s >= moments.duration_s - TOUCH_S:
        return Chosen(_rest(skip, moments))
    shortest_s = min(selection.min_segment_s, budget_s)
    line, frame_of = _line(moments, shortest_s, keep, skip, selection.run_cost)
    notes: list[str] = []
    if line.barred.all():
        if skip:
            raise HierSumError(
                f"video {moments.video}: expected something left after what is to be skipped, found nothing"
            )
        line = replace(line, barred=np.zeros_like(line.barred))
        notes.append("The whole video shows the same or nothing while nothing is said: chosen as if it did not.")
    looks = _looks(moments) if len(moments.features) else None
    runs = _with_coverage(line, budget_s - sum(end - start for start, end in keep), moments, frame_of, looks)
    if runs:
        return Chosen(_spans(line.borders_s, runs), notes=tuple(notes))
    span, why = _best_run(line, budget_s, moments)
    return Chosen((span,), True, (*notes, why))


def best_moments(moments: Moments, values: Floats, selection: Selection, most: int) -> list[tuple[Span, float]]:
    """Find the shortest runs with the highest mean value.

    The values are (N,). Up to `most` runs that do not overlap come back, best first, each with its mean.
    """
    line, _ = _line(moments, min(selection.min_segment_s, moments.duration_s), [], [], 0.0)
    runs, curve = _shortest_runs(line), score_integral(moments.edges_s, values)
    if not len(runs):
        runs = np.array([[0, len(line.gains)]])
    spans_s = line.borders_s[runs]
    means = np.diff(np.interp(spans_s, *curve))[:, 0] / np.diff(spans_s)[:, 0]
    found: list[tuple[Span, float]] = []
    for i in np.argsort(-means, kind="stable"):
        start_s, end_s = spans_s[i].tolist()
        if all(end_s <= a + TOUCH_S or start_s >= b - TOUCH_S for (a, b), _ in found):
            found.append(((start_s, end_s), float(means[i])))
        if len(found) == most:
            break
    return found


def check_wishes(selection: Selection, video: str, duration_s: float, budget_s: float) -> tuple[list[Span], list[Span]]:
    """Refuse what cannot be kept and skipped before any work is done.

    Returns:
        What must be kept and what must be skipped, each ascending and apart.

    Raises:
        ValueError: A stretch lies outside of the video, is kept and skipped, or more is kept than the budget holds.
    """
    where = f"video {video}"
    for name, spans in (("keep", selection.keep), ("skip", selection.skip)):
        for start_s, end_s in spans:
            if not 0 <= start_s < end_s:
                raise HierSumError(f"{where}: {name}: expected a start before its end, found {_told(start_s, end_s)}")
            if start_s >= duration_s or (name == "keep" and end_s > duration_s + OVERHANG_S):
                length = f"a stretch within the video's {clock(duration_s)} ({duration_s:.1f} s)"
                raise HierSumError(f"{where}: {name}: expected {length}, found {_told(start_s, end_s)}")
    keep, skip = _joined(selection.keep, duration_s), _joined(selection.skip, duration_s)
    for kept in keep:
        for skipped in skip:
            if not _apart(kept, skipped):
                found = f"{_told(*kept)} kept and {_told(*skipped)} skipped"
                raise HierSumError(f"{where}: expected each moment kept or skipped, found {found}")
    length_s = sum(end - start for start, end in keep)
    if length_s > budget_s + TOUCH_S:
        wanted = f"a budget of at least the {length_s:.1f} s that are to be kept"
        raise HierSumError(f"{where}: expected {wanted}, found {budget_s:.1f} s")
    return keep, skip


def _whole_sentences(keep: list[Span], skip: list[Span], spoken_s: Floats, budget_s: float) -> list[Span]:
    """Widen what is to be kept to whole sentences.

    They reach to the edges of the sentences that were cut, if that fits.
    """
    bounds_s = np.array(keep).reshape(-1, 2)
    wider = _joined(
        [*zip(around(bounds_s[:, 0], spoken_s)[0], around(bounds_s[:, 1], spoken_s)[1], strict=True)], np.inf
    )
    fits = sum(end - start for start, end in wider) <= budget_s
    return wider if fits and all(_apart(kept, skipped) for kept in wider for skipped in skip) else keep


def _apart(one: Span, other: Span) -> bool:
    """Tell whether two stretches have at most an instant in common."""
    return min(one[1], other[1]) - max(one[0], other[0]) <= TOUCH_S


def _rest(skip: list[Span], moments: Moments) -> tuple[Span, ...]:
    """Take the whole video but what is to be skipped."""
    marks_s = [0.0, *(time_s for span in skip for time_s in span), moments.duration_s]
    rest = [(a, b) for a, b in zip(marks_s[::2], marks_s[1::2], strict=True) if b - a > TOUCH_S]
    if not rest:
        raise HierSumError(f"video {moments.video}: expected something left after what is to be skipped, found nothing")
    return tuple(rest)


def _told(start_s: float, end_s: float) -> str:
    """Write a stretch for a message."""
    return f"{clock(start_s)}-{clock(end_s)}" if end_s - start_s >= 1 else f"{start_s:g} s to {end_s:g} s"


def _joined(spans: Sequence[Span], duration_s: float) -> list[Span]:
    """Cut the stretches to the video, and join those that touch.

    They come back ascending.
    """
    joined: list[Span] = []
    for start_s, end_s in sorted((start, min(end, duration_s)) for start, end in spans):
        if joined and start_s <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end_s)
        else:
            joined.append((start_s, end_s))
    return joined


def _line(
    moments: Moments, shortest_s: float, keep: list[Span], skip: list[Span], run_cost: float
) -> tuple[Line, np.ndarray]:
    """Lay out borders, gains and limits.

    With them comes the sampled frame of each atom.
    """
    edges_s, spoken_s = moments.edges_s, moments.spoken_s
    candidates_s = np.concatenate([edges_s, moments.shots_s, spoken_s.ravel(), np.array(skip).ravel()])
    candidates_s = candidates_s[around(candidates_s, spoken_s)[0] == candidates_s]  # none inside a sentence,
    candidates_s = np.concatenate([candidates_s, np.array(keep).ravel()])  # but where what is kept begins or ends
    borders_s = np.unique(np.clip(candidates_s, 0, moments.duration_s))
    apart = np.append(True, np.diff(borders_s) > TOUCH_S)
    borders_s = borders_s[apart]
    borders_s[-1] = moments.duration_s
    middles_s = (borders_s[1:] + borders_s[:-1]) / 2
    frame_of = np.clip(np.searchsorted(edges_s, middles_s, side="right") - 1, 0, len(moments.scores) - 1)

    # Gain of an atom: integral over it of z(t) = (score - mean) / standard deviation, in standard deviations x seconds
    gains = np.diff(np.interp(borders_s, edges_s, np.append(0.0, np.cumsum(_standardised(moments) * np.diff(edges_s)))))

    kept, barred = _within(middles_s, keep), _overlaps(borders_s, skip)
    if moments.dead is not None:
        barred |= moments.dead[frame_of] & ~_within(middles_s, spoken_s)
    barred &= ~kept
    whole = [
        (int(a), int(b))
        for (a, b), (start_s, end_s) in zip(np.searchsorted(borders_s, spoken_s - TOUCH_S), spoken_s, strict=True)
        if end_s - start_s >= shortest_s / 2 and b < len(borders_s)
    ]
    whole += [tuple(pair) for pair in np.searchsorted(borders_s, np.array(keep).reshape(-1, 2) - TOUCH_S).tolist()]
    costs = _border_costs(moments, borders_s)
    line = Line(borders_s, gains, shortest_s, whole, run_cost, costs, barred, kept)
    return line, frame_of


def _standardised(moments: Moments) -> Floats:
    """Count the scores from the video's mean, (N,).

    The unit is their standard deviation, both weighted by the frames' lengths; 0 where all are the same.
    """
    widths_s = np.diff(moments.edges_s)
    mean = np.average(moments.scores, weights=widths_s)
    deviation = np.sqrt(np.average((moments.scores - mean) ** 2, weights=widths_s))
    return (moments.scores - mean) / deviation if deviation > 1e-9 else np.zeros(len(moments.scores))


def _border_costs(moments: Moments, borders_s: Floats) -> Floats:
    """Price each border at which a run may begin, and may end.

    The prices (2, B + 1) are nothing at a shot border, a sentence's edge or in silence. Less than `FLASH_S` of the shot
    before or after costs `FLASH_COST`, if the run can do without: a flash of another picture looks like a mistake.
    """
    frames = np.clip(np.searchsorted(moments.edges_s, borders_s, side="right") - 1, 0, len(moments.scores) - 1)
    firsts_s = moments.shots_s
    lasts_s = firsts_s if moments.lasts_s is None else moments.lasts_s
    cost, free = BORDER_COST, np.zeros(len(borders_s), bool)
    if moments.sentence_of is not None and (moments.sentence_of >= 0).any():
        free |= moments.sentence_of[frames] < 0
    elif moments.quiet is not None and moments.quiet.any():
        free |= moments.quiet[frames]
        cost = SOUND_COST
    marks_s = np.concatenate([moments.spoken_s.ravel(), [0.0, moments.duration_s]])
    near = [_distance(borders_s, np.concatenate([marks_s, shots_s])) <= 2 * TOUCH_S for shots_s in (firsts_s, lasts_s)]
    prices = np.where(free | near, 0.0, cost)
    if moments.lasts_s is not None:
        flashes = _flashes(borders_s, firsts_s), _flashes(-borders_s[::-1], -lasts_s[::-1])[::-1]
        prices += FLASH_COST * np.array(flashes)
    return prices


def _flashes(borders_s: Floats, shots_s: Floats) -> np.ndarray:
    """Tell at which borders a run begins less than `FLASH_S` before a shot, and could begin later without it.

    Both ascend. With the signs and the order of both turned, it is told where a run ends so.
    """
    ahead_s = np.append(shots_s, np.inf)[np.searchsorted(shots_s, borders_s + TOUCH_S)]
    later_s = np.append(borders_s[1:], np.inf)
    return (ahead_s <= borders_s + FLASH_S + TOUCH_S) & (later_s <= ahead_s + TOUCH_S)


def _with_coverage(
    line: Line, budget_s: float, moments: Moments, frame_of: np.ndarray, looks: Looks | None
) -> list[tuple[int, int]]:
    """Choose runs where the best moment of each text counts more.

    There are two ways to find these moments; the better one is taken.
    """
    good = _standardised(moments) > 0
    texts = np.unique(moments.covered[(moments.covered >= 0) & good]) if moments.covered is not None else np.zeros(0)
    if not len(texts):
        return _without_repeats(line, budget_s, frame_of, looks)
    good_s = np.diff(moments.edges_s) * good * (moments.covered == texts[:, None])  # (K, N)
    up_to_s = [np.interp(line.borders_s, moments.edges_s, np.append(0.0, np.cumsum(row))) for row in good_s]
    cap_s = line.shortest_s

    # Worth of a selection: value of its runs + coverage x sum over texts of min(seconds shown of its good frames, cap)
    def worth(runs: list[tuple[int, int]]) -> float:
        shown_s = [sum(row[end] - row[start] for start, end in runs) for row in up_to_s]
        return line.value(runs) + moments.coverage * float(np.minimum(shown_s, cap_s).sum())

    found = []
    for longest_s in (np.inf, budget_s / len(texts)):
        bonus = _best_of_texts(moments, line, texts, longest_s)
        found.append(
            _without_repeats(replace(line, gains=line.gains + moments.coverage * bonus), budget_s, frame_of, looks)
        )
    return max(found, key=worth)


def _best_of_texts(moments: Moments, line: Line, texts: np.ndarray, longest_s: float) -> Floats:
    """Spread a bonus over the best run of each text, (B,) seconds.

    Each text has `line.shortest_s` to spread over the shortest run with its best frames. The best run is the one with
    the highest mean over its length of what the text's frames score above the video's mean, less what its borders cost,
    among those of at most `longest_s` if there are any.
    """
    widths_s, z = np.diff(moments.edges_s), np.maximum(_standardised(moments), 0.0)
    runs, bonus = _shortest_runs(line), np.zeros(len(line.gains))
    lengths_s = line.borders_s[runs[:, 1]] - line.borders_s[runs[:, 0]]
    costs = line.costs[0, runs[:, 0]] + line.costs[1, runs[:, 1]]
    for text in texts:
        good = np.where(moments.covered == text, z, 0.0) * widths_s
        up_to = np.interp(line.borders_s, moments.edges_s, np.append(0.0, np.cumsum(good)))
        means = (up_to[runs[:, 1]] - up_to[runs[:, 0]] - costs) / lengths_s
        if not len(means) or means.max() <= 0:
            continue
        # A short run counts if it is at least half as good as the best
        short = (lengths_s <= longest_s) & (means >= means.max() / 2)
        means = np.where(short, means, 0.0) if short.any() else means
        best = means.argmax()
        start, end = runs[best]
        # shortest_s seconds in all, however long the run
        bonus[start:end] += line.lengths_s[start:end] * min(1.0, line.shortest_s / lengths_s[best])
    return bonus


def _shortest_runs(line: Line) -> Ints:
    """List the shortest runs from each border, (R, 2).

    They hold no barred atom and are as short as a run may be from where they begin.
    """
    ends = np.searchsorted(line.borders_s, line.borders_s + line.shortest_s - TOUCH_S)
    pairs: Ints = np.array(
        [(start, end) for start, end in enumerate(ends) if start < end < len(line.borders_s)] + [*line.whole]
    )
    bars = np.append(0, np.cumsum(line.barred))  # as many at both ends: nothing barred between
    pairs = pairs.reshape(-1, 2)  # also without any
    free: Ints = pairs[bars[pairs[:, 1]] == bars[pairs[:, 0]]]
    return free


def _without_repeats(line: Line, budget_s: float, frame_of: np.ndarray, looks: Looks | None) -> list[tuple[int, int]]:
    """Choose runs that repeat as little as they can.

    They are the best of the rounds that `choose_moments` describes.
    """
    runs = best_runs(line, budget_s)
    if looks is None:
        return runs
    best: tuple[float, list[tuple[int, int]]] = (-np.inf, runs)
    # Each round knows the repeats in what the last one chose. A selection is worth its value with a tenth of the gain
    # of each frame that repeats a better one; a round that does not beat the last ends the search.
    for number in range(ROUNDS):
        frames = _in_order(line, runs, frame_of)
        repeats = looks.repeats(frames, frames, in_order=True)
        if number == 0 and not repeats.any():
            return runs
        worth = _discounted(line, frames[repeats], frame_of).value(runs)
        if worth <= best[0]:
            break
        best = worth, runs
        firsts = frames[~repeats]
        others = np.setdiff1d(np.unique(frame_of[line.gains > 0]), firsts)
        runs = best_runs(_discounted(line, others[looks.repeats(firsts, others)], frame_of), budget_s)
    return best[1]


def _looks(moments: Moments) -> Looks:
    """Prepare the comparison of pictures."""
    shot_of = np.searchsorted(moments.shots_s, moments.edges_s[:-1] + TOUCH_S, side="right")
    said = np.full(len(moments.scores), -1) if moments.sentence_of is None else moments.sentence_of
    return Looks(moments.features, shot_of, said, moments.words)


def _in_order(line: Line, runs: list[tuple[int, int]], frame_of: np.ndarray) -> np.ndarray:
    """List the sampled frames of the runs.

    The run that is worth most comes first.
    """
    ranked = sorted(runs, key=lambda run: -line.value([run]))
    frames = np.concatenate([frame_of[start:end] for start, end in ranked] or [np.zeros(0, np.int64)])
    return frames[np.sort(np.unique(frames, return_index=True)[1])]


def _discounted(line: Line, frames: np.ndarray, frame_of: np.ndarray) -> Line:
    """Leave these frames a tenth of what they gain."""
    less = np.isin(frame_of, frames) & (line.gains > 0)
    return replace(line, gains=np.where(less, line.gains * REPEATED, line.gains))


def _best_run(line: Line, budget_s: float, moments: Moments) -> tuple[Span, str]:
    """Find the window that stands in where no run is worth it.

    It lasts at most the budget, has the most score and holds nothing barred.

    Returns:
        The window, and why it stands in.
    """
    curve = score_integral(moments.edges_s, moments.scores)
    free = np.diff(np.concatenate([[0], (~line.barred).astype(np.int8), [0]]))
    gaps_s = zip(line.borders_s[free == 1], line.borders_s[free == -1], strict=True)
    windows = [best_window(curve, budget_s, moments.spoken_s, gap_s) for gap_s in gaps_s]
    best = max(windows, key=lambda span: (round(np.diff(np.interp(span, *curve))[0], 9), -span[0]))
    flat = "All moments score the same" if not line.gains.any() else "No stretch is worth its cost"
    return best, f"{flat}: the best-scored window of at most {budget_s:.4g} s was taken instead."


def _spans(borders_s: Floats, runs: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    """Turn runs into seconds, and join those that touch."""
    return tuple(_joined([(float(borders_s[start]), float(borders_s[end])) for start, end in runs], np.inf))


def _distance(times_s: Floats, marks_s: Floats) -> Floats:
    """Measure the seconds from each time to the nearest mark.

    They are infinite without marks.
    """
    marks_s = np.concatenate([[-np.inf], np.sort(marks_s), [np.inf]])
    right = np.searchsorted(marks_s, times_s)
    return np.minimum(marks_s[right] - times_s, times_s - marks_s[right - 1])


def _within(times_s: Floats, spans_s: Any) -> np.ndarray:
    """Tell which times lie in one of the stretches (S, 2).

    The stretches are ascending and apart.
    """
    spans_s = np.asarray(spans_s, np.float64).reshape(-1, 2)
    # More stretches have begun than ended
    return np.searchsorted(spans_s[:, 0], times_s, side="right") > np.searchsorted(spans_s[:, 1], times_s, side="right")


def _overlaps(borders_s: Floats, spans_s: Sequence[Span]) -> np.ndarray:
    """Tell which atoms overlap one of the stretches, (B,).

    Those have more than an instant in common with it.
    """
    starts_s, ends_s = borders_s[:-1], borders_s[1:]
    found = np.zeros(len(starts_s), bool)
    for start_s, end_s in spans_s:
        found |= (starts_s < end_s - TOUCH_S) & (ends_s > start_s + TOUCH_S)
    return found
