"""What the stretches chosen for people hold, beside the field's key-shot rule: on made-up how-to videos and raters.

`run` is called by scripts/run_benchmark.py.

- Twelve how-to videos of six looks, made here, whose steps are known: how much of a summary lies in steps, how many
  steps it touches (2 s, or 30 % of one), how short its segments are and how many. Scored by the training-free scorer;
  reference: the key-shot rule on the same scores. In the notes: evenly spread segments of 3 s ("uniform"), and the
  rule for people on the truth as scores.
- Raters of a real set, with `--data`: what is captured of the importance that they see, by their mean with noise.
- Two hours: time beside that of decoding them, memory beside twice that of one hour.
"""

from __future__ import annotations

import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hiersum_hf.evaluation.data import EvaluationData
from hiersum_hf.evaluation.importance import importance_of
from hiersum_hf.inference.scorer import load_scorer
from hiersum_hf.inference.summarize import ScoredVideo, score_video
from hiersum_hf.records import Sentence
from hiersum_hf.scoring.topics import sentence_of_frames
from hiersum_hf.scoring.training_free import moving_average, standardised
from hiersum_hf.summary.selection import KEYSHOT, Moments, Selection, choose_moments
from hiersum_hf.summary.spoken import spoken_stretches
from quality.benchmarks.reference_howto import STEP, Part, Video, make_videos, write
from quality.benchmarks.summarize import row, wanted
from quality.benchmarks.video import FULL, QUICK, bare_decode, render, seconds


BUDGETS = (0.15, 0.3)
SEGMENT_S = 3.0  # of the evenly spread ones
TOUCHED_S, TOUCHED = 2.0, 0.3
IN_STEPS, TOUCHES, SHORTEST, A_MINUTE, USED = FIGURES = (
    "selected seconds in steps", "steps touched", "shortest segment", "segments a minute", "of the budget",
)  # fmt: skip
ALL, KEY_SHOT = "all", "reference: key-shot"
NOISE, SEEDS = (0.0, 1.5, 3.0), 10  # standard deviations of the scores
AVERAGED = 9  # samples, for smooth noise
SAMPLE_FPS, SUBTITLE_S, STEPS, WIDTH = 2, 4.5, 20, 1280
Span = tuple[float, float]
Rule = Callable[[ScoredVideo, Video, float], list[Span]]


def run(quick: bool, data: Path | None = None) -> list[dict]:
    """Rows whose `ratio` is above 1 where the rule for people is better.

    Args:
        quick: Two videos of less than a minute, three raters' videos, one minute instead of two hours.
        data: A source of TVSum with ratings and features.
    """
    rows = howto(quick)
    if data is None:
        print("selection: raters are left out, they need --data FOLDER (TVSum with features)", file=sys.stderr)
    else:
        rows += raters(data, quick)
    return rows + speed(quick)


def howto(quick: bool) -> list[dict]:
    """The how-to videos: each look, and all of them."""
    videos, scorer = make_videos(quick), load_scorer()
    with tempfile.TemporaryDirectory(prefix="hiersum-benchmark-") as folder:
        scored = [score_video(write(video, Path(folder)), scorer) for video in videos]
    rows = []
    for budget in BUDGETS:
        found = {
            name: np.array(
                [figures(video, rule(one, video, budget), budget) for one, video in zip(scored, videos, strict=True)]
            )
            for name, rule in RULES.items()
        }
        rows += compared(found, [video.look for video in videos], budget)
    return rows


def for_people(scored: ScoredVideo, video: Video, budget: float) -> list[Span]:
    return chosen(scored, budget, Selection())


def key_shots(scored: ScoredVideo, video: Video, budget: float) -> list[Span]:
    return chosen(scored, budget, Selection(KEYSHOT))


def evenly(scored: ScoredVideo, video: Video, budget: float) -> list[Span]:
    """Segments of 3 s in the middles of as many equal parts."""
    duration_s = scored.record.duration_s
    count = int(budget * duration_s / SEGMENT_S)
    starts_s = (np.arange(count) + 0.5) * duration_s / count - SEGMENT_S / 2
    return [(start_s, start_s + SEGMENT_S) for start_s in starts_s.tolist()]


def knowing(rule: Rule) -> Rule:
    """The rule where steps score 1 and all else 0."""

    def choose(scored: ScoredVideo, video: Video, budget: float) -> list[Span]:
        times_s = scored.record.frame_times_s
        truth = np.any([(part.start_s <= times_s) & (times_s < part.end_s) for part in steps_of(video)], axis=0)
        return rule(replace(scored, scores=truth.astype(float)), video, budget)

    return choose


RULES: dict[str, Rule] = {
    "ours": for_people, "key-shot": key_shots, "uniform": evenly,
    "truth": knowing(for_people), "truth, key-shot": knowing(key_shots),
}  # fmt: skip


def chosen(scored: ScoredVideo, budget: float, selection: Selection) -> list[Span]:
    return [(one.start_s, one.end_s) for one in scored.summarize(budget, selection).segments]


def steps_of(video: Video) -> list[Part]:
    return [part for part in video.parts if part.kind == STEP]


def figures(video: Video, spans_s: list[Span], budget: float) -> list[float]:
    """The `FIGURES` of a selection."""
    steps, lengths_s = steps_of(video), [end_s - start_s for start_s, end_s in spans_s]
    held_s = [sum(max(0.0, min(step.end_s, b) - max(step.start_s, a)) for a, b in spans_s) for step in steps]
    needed_s = [min(TOUCHED_S, TOUCHED * (step.end_s - step.start_s)) - 1e-9 for step in steps]
    total_s, touched = sum(lengths_s), float(np.mean(np.array(held_s) >= needed_s))
    a_minute, used = 60 * len(spans_s) / total_s, total_s / (budget * video.duration_s)
    return [sum(held_s) / total_s, touched, min(lengths_s), a_minute, used]


def compared(found: dict[str, np.ndarray], looks: list[str], budget: float) -> list[dict]:
    """Rows of one budget, from the (V, figures) of each rule."""
    rows = []
    for look in [*dict.fromkeys(looks), ALL]:
        own = np.array([look in (ALL, one) for one in looks])
        means = (dict(zip(FIGURES, values[own].mean(axis=0).tolist(), strict=True)) for values in found.values())
        ours, theirs, uniform, known, theirs_known = means  # as in RULES
        where = f"{budget:.0%}, {look}"
        for figure in (IN_STEPS, TOUCHES):
            note = f"{KEY_SHOT}; uniform {uniform[figure]:.2f}; truth {known[figure]:.2f}"
            if figure == IN_STEPS:
                note += f"; {shape(ours, theirs)}"
            rows.append(better(f"{where}: {figure}", ours[figure], theirs[figure], "share", note))
        if look == ALL:
            for figure in (IN_STEPS, TOUCHES):
                what = f"{where}, scored by the truth: {figure}"
                rows.append(better(what, known[figure], theirs_known[figure], "share", KEY_SHOT))
            used = f"{ours[USED]:.0%} of the budget used against {theirs[USED]:.0%}"
            note = f"{KEY_SHOT}; uniform {SEGMENT_S:.1f}; truth {known[SHORTEST]:.1f}; {used}"
            rows.append(better(f"{where}: {SHORTEST}", ours[SHORTEST], theirs[SHORTEST], "s", note))
            note = f"{KEY_SHOT}; uniform {60 / SEGMENT_S:.0f}; truth {known[A_MINUTE]:.1f}"
            rows.append(row(f"{where}: {A_MINUTE}", ours[A_MINUTE], theirs[A_MINUTE], note, "1/min"))
    return rows


def shape(ours: dict[str, float], theirs: dict[str, float]) -> str:
    shortest = f"the shortest {ours[SHORTEST]:.1f} s against {theirs[SHORTEST]:.1f} s"
    return f"{ours[A_MINUTE]:.0f} against {theirs[A_MINUTE]:.0f} segments a minute, {shortest}"


def better(what: str, ours: float, reference: float, unit: str, note: str) -> dict:
    """A row of a figure of which more is better."""
    ratio = ours / reference if reference else np.inf
    return {"what": what, "ours": ours, "reference": reference, "unit": unit, "ratio": ratio, "note": note}


def raters(data: Path, quick: bool) -> list[dict]:
    """What 15 % of each video captures of its raters' mean (`metrics.captured`), by that mean with noise."""
    records = list(EvaluationData("tvsum", data).part("all")[0])[: 3 if quick else None]
    videos = [video for video in map(importance_of, records) if video.is_known and video.shots_s is not None]
    if not videos:
        raise ValueError(f"{data}: expected ratings and frame features, found no video with both")
    rows = []
    for deviations in NOISE:
        seeds = range(1 if quick or not deviations else SEEDS)
        shares = np.array([
            [*video.captured(noisy(video.mean, deviations, [seed, number])).values()]
            for seed in seeds for number, video in enumerate(videos)
        ])  # fmt: skip
        ours, theirs = shares.mean(axis=0).tolist()
        below = " against ".join(f"{share:.0%}" for share in (shares < 0).mean(axis=0))
        note = f"{KEY_SHOT}, our shots; {len(videos)} videos, seeds: {len(seeds)}; below 0 in {below}"
        what = f"15%, raters' mean{f' + noise of {deviations:g} deviations' if deviations else ''}: captured"
        rows.append(better(what, ours, theirs, "share", note))
    return rows


def noisy(scores: np.ndarray, deviations: float, seed: list[int]) -> np.ndarray:
    """(N,) standardised scores with smooth noise of so many standard deviations."""
    noise = moving_average(np.random.default_rng(seed).normal(size=len(scores)), AVERAGED) * np.sqrt(AVERAGED)
    return standardised(scores) + deviations * noise


def speed(quick: bool) -> list[dict]:
    """Time and memory of the selection alone, without and with sentences and steps."""
    length_s, piece_s = (60, 5) if quick else (7200, 60)
    with tempfile.TemporaryDirectory() as folder:
        piece = Path(folder, "piece.mp4")
        about = render(piece, piece_s, QUICK if quick else FULL)
        decode_s = seconds(lambda: bare_decode(piece))[0] * length_s / piece_s
    rows, note = [], f"reference: bare PyAV decodes as long a video, {about} x {length_s // piece_s}"
    for spoken in (False, True):
        moments = made_up(length_s, spoken)
        (_, half_mb), (spent_s, whole_mb) = cost(made_up(length_s // 2, spoken)), cost(moments)
        told = f", {len(moments.words):,} sentences, {STEPS} steps" if spoken else ""
        what = f"selection, {len(moments.scores):,} frames{told}"
        rows.append(row(what, spent_s, decode_s, wanted(note, 100)))
        rows.append(row(f"{what}: extra memory", whole_mb, 2 * half_mb, "reference: twice that of half as long", "MB"))
    return rows


def cost(moments: Moments) -> tuple[float, float]:
    """Seconds, and most memory meanwhile in MB."""
    budget_s = BUDGETS[0] * moments.duration_s
    spent_s, _ = seconds(lambda: choose_moments(moments, budget_s, Selection()))
    tracemalloc.start()
    choose_moments(moments, budget_s, Selection())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return spent_s, peak / 1e6


def made_up(length_s: int, spoken: bool) -> Moments:
    """Smooth random scores; shots of 2 to 12 s, one in ten of which looks like an earlier one."""
    rng, edges_s = np.random.default_rng(0), np.arange(length_s * SAMPLE_FPS + 1) / SAMPLE_FPS
    shots_s = rng.uniform(2, 12, length_s // 2).cumsum()
    shots_s = shots_s[shots_s < length_s]
    shown = np.arange(len(shots_s) + 1)
    shown = np.where(shown % 10 == 9, shown // 2, shown)[np.searchsorted(shots_s, edges_s[:-1], side="right")]
    looks = rng.standard_normal((len(shots_s) + 1, WIDTH), np.float32)
    features = looks[shown] + 0.05 * rng.standard_normal((len(shown), WIDTH), np.float32)
    scores = moving_average(rng.normal(size=len(shown)), AVERAGED)
    silence = Moments("made up", edges_s, scores, np.zeros((0, 2)), shots_s, features=features)
    if not spoken:
        return silence
    sentences = [Sentence("", at_s + 0.3, at_s + 3.7) for at_s in np.arange(0, length_s - 3.7, SUBTITLE_S)]
    said = sentence_of_frames(sentences, edges_s[:-1])
    told = (said >= 0) & (rng.random(len(sentences)) < 0.5)[said]
    return replace(
        silence,
        spoken_s=spoken_stretches(sentences, length_s, BUDGETS[0] * length_s),
        covered=np.where(told, said * STEPS // len(sentences), -1),
        sentence_of=said,
        words=rng.standard_normal((len(sentences), 384), np.float32),
    )
