"""What passes between the parts of the package.

Sentences, videos with features, summaries. Times are in seconds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TITLED = 3  # texts of a description from which on the first is its title
_ENUMERATED = re.compile(r"\s*((step|part)\b|\d+\s*[.):]|[-*•])", re.IGNORECASE)
CURVE_WIDTH, CURVE_HEIGHT = 1000, 120  # of `Summary.to_svg`, without the line of times below
LISTED_SUFFIXES = 6
CLOCK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


@dataclass(frozen=True)
class Sentence:
    """One subtitle sentence and the moment it is spoken.

    The moment is [`start_s`, `end_s`) in seconds.
    """

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Encoders:
    """What the features of a record were computed with.

    It travels with records and checkpoints.

    Args:
        video, text: Ids of the encoders, "" where there are no such features or nobody knows what made them.
        sample_fps: Frames a second that were encoded.
        normalization: What was done to the frame features after the encoder, such as a dequantisation, by name.
    """

    video: str
    text: str
    sample_fps: float
    normalization: str = "none"


@dataclass(frozen=True, eq=False)
class VideoRecord:
    """One video as readers yield it and the collator takes it.

    Letters: N sampled frames, M sentences, K description texts, U annotators, S shots. Parts that a data set lacks
    have zero rows (features, texts) or are None (labels, annotations).

    Args:
        video_id: The name used in every error message and table.
        video_features: (N, Dv) float32, one row for each sampled frame.
        frame_times_s: (N,) float64, ascending: the time of each sampled frame.
        duration_s: Length of the video.
        encoders: Ids of the encoders and the sample rate behind the features; None where unknown.
        sentences: The M subtitle sentences (child level).
        text_features: (M, Dt) float32.
        description: The K texts about the whole video: title, steps, instructions (parent level).
        description_features: (K, Dt) float32.
        frame_scores: (N,) float32 importance in [0, 1], NaN where a frame has none.
        frame_labels: (N,) int64, 1 = important, 0 = not, -100 = no label.
        sentence_labels: (M,) int64, as `frame_labels`.
        user_scores: (U, N) float64, each annotator's importance of each sampled frame.
        user_summaries: (U, n_frames) bool, each annotator's key-shot summary on the original frames.
        shots: (S, 2) int64, [start, end) in original frames.
        picks: (N,) int64, the original frame behind each sampled one, ascending.
        n_frames: Number of original frames.
        reference_text: Human summary in words, for data sets that have one (BLiSS).
        reference_features: (R, Dv) float32 features of the human summary's key frames (BLiSS).
        views: How often the video was watched, where known.
        group: Records of one group (a YouTube id, say) never go to different parts of a split; None = its own.
        source: The file or files it was read from.
    """

    video_id: str
    video_features: np.ndarray
    frame_times_s: np.ndarray
    duration_s: float
    encoders: Encoders | None = None
    sentences: tuple[Sentence, ...] = ()
    text_features: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    description: tuple[str, ...] = ()
    description_features: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    frame_scores: np.ndarray | None = None
    frame_labels: np.ndarray | None = None
    sentence_labels: np.ndarray | None = None
    user_scores: np.ndarray | None = None
    user_summaries: np.ndarray | None = None
    shots: np.ndarray | None = None
    picks: np.ndarray | None = None
    n_frames: int | None = None
    reference_text: tuple[str, ...] = ()
    reference_features: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    views: int | None = None
    group: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Segment:
    """A stretch of the video and its score.

    The stretch is [`start_s`, `end_s`), the score the mean importance, in [0, 1].
    """

    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True)
class Budget:
    """How long a summary may be.

    `kind` is "ratio" (of the video) or "seconds", `value` is in it, and `seconds` the length.
    """

    kind: str
    value: float
    seconds: float


@dataclass(frozen=True)
class Summary:
    """A video summary.

    `to_dict` gives the content of `summary.json`, schema 2.

    Args:
        video: Name of the video file.
        duration_s: Length of the video.
        budget: What was asked for.
        level: Level the scores come from ("child", "parent", "both", "joint"), or None for a scorer without levels.
        scorer: Name of the scorer, "checkpoint" for a model.
        fallback: True if no stretch is worth its cost (by the key-shot rule: no shot that fits the budget scores as
            much as the video on average, or none fits), and the best-scored window of that length was taken.
        segments: The chosen stretches in order; together at most `budget.seconds`.
        key_sentences: Sentences of the chosen stretches with their scores: {start_s, end_s, text, score}.
        shots: Every shot: {start_s, end_s, score, selected}; selected is what lies in the segments for the most part.
        scores: {times_s, values}: importance of each sampled frame.
        checkpoint: Path or id of the checkpoint, or None.
        encoders: {video, text} encoder ids.
        warnings: What the reader should know.
        selection: {rule, min_segment_s, run_cost}: how the stretches were chosen.
        queries: What was asked for: {text, moments [{start_s, end_s, score}]}, the nearest moments first, their score a
            cosine.
        steps: The texts of the description: {text, segments, found}: numbers from 0 of the segments that show it, and
            whether anything in the video is near it.
        kept, skipped: {start_s, end_s} that had to be, or not to be, in the summary.
        chapters: {start_s, end_s, title}: the parts of the whole video, one after the other.
    """

    video: str
    duration_s: float
    budget: Budget
    level: str | None
    scorer: str
    fallback: bool
    segments: tuple[Segment, ...]
    key_sentences: tuple[dict[str, Any], ...]
    shots: tuple[dict[str, Any], ...]
    scores: dict[str, list[float]]
    checkpoint: str | None
    encoders: dict[str, str | None]
    warnings: tuple[str, ...] = ()
    selection: dict[str, Any] = field(default_factory=dict)
    queries: tuple[dict[str, Any], ...] = ()
    steps: tuple[dict[str, Any], ...] = ()
    kept: tuple[dict[str, float], ...] = ()
    skipped: tuple[dict[str, float], ...] = ()
    chapters: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Turn the summary into plain JSON types, with `schema` 2 in front."""
        plain = asdict(self)
        return {"schema": 2} | {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @property
    def length_s(self) -> float:
        """Length of all segments together."""
        return sum(segment.end_s - segment.start_s for segment in self.segments)

    @property
    def extent(self) -> str:
        """How much was chosen."""
        return f"{self.length_s:.1f} of {self.duration_s:.1f} s in {counted(len(self.segments), 'segment')}"

    @property
    def asked_for(self) -> str:
        """What the budget was understood to be."""
        share = f"{self.budget.value * 100:.4g} % of the video, " if self.budget.kind == "ratio" else ""
        return f"at most {share}{f'{self.budget.seconds:.2f}'.rstrip('0').rstrip('.')} s"

    @property
    def title(self) -> str:
        """One line about how much of what was chosen, and by what."""
        return f"{self.video}: {self.length_s:.1f} of {self.duration_s:.1f} s ({self.scored_by})"

    @property
    def scored_by(self) -> str:
        """The scorer, and the level where it has one."""
        return self.scorer if self.level is None else f"{self.scorer}, {self.level} level"

    def to_svg(self) -> str:
        """Draw the scores over time as an <svg>.

        1000 units are the whole video, the segments are shaded.
        """
        scale = CURVE_WIDTH / self.duration_s  # units a second; a score of 1 is at y = 0, one of 0 at the bottom
        bands = [
            f'<rect x="{one.start_s * scale:.2f}" width="{(one.end_s - one.start_s) * scale:.2f}" y="0" '
            f'height="{CURVE_HEIGHT}" fill="#f59f3a" fill-opacity="0.35"><title>{clock(one.start_s)} to '
            f"{clock(one.end_s)}, score {one.score:.2f}</title></rect>"
            for one in self.segments
        ]
        parts = max(1, -(-len(self.scores["values"]) // CURVE_WIDTH))  # a point a unit at most
        points = [
            f"{np.mean(self.scores['times_s'][i : i + parts]) * scale:.1f},"
            f"{(1 - np.mean(self.scores['values'][i : i + parts])) * CURVE_HEIGHT:.1f}"
            for i in range(0, len(self.scores["values"]), parts)
        ]
        times = [
            f'<text x="{at * scale:.1f}" y="{CURVE_HEIGHT + 16}">{clock(at)}</text>'
            for at in np.arange(0, self.duration_s * 0.97, clock_step(self.duration_s))
        ]
        return (
            f'<svg viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT + 20}" width="100%" role="img" '
            'aria-label="importance over time" font-family="sans-serif" font-size="12" fill="currentColor">'
            f'<rect width="{CURVE_WIDTH}" height="{CURVE_HEIGHT}" fill="currentColor" fill-opacity="0.05"/>'
            f'{"".join(bands)}<polyline points="{" ".join(points)}" fill="none" stroke="#3578b9" '
            f'stroke-width="1.5"/>{"".join(times)}</svg>'
        )

    def _repr_html_(self) -> str:
        """Show the curve, the segments and what is said in a notebook."""
        rows = [
            f"<tr><td>{clock(one.start_s)} to {clock(one.end_s)}</td><td>{one.score:.2f}</td>"
            f'<td style="text-align: left">{escape(self.said_in(one))}</td></tr>'
            for one in self.segments
        ]
        notes = "".join(f"<li>{escape(warning)}</li>" for warning in self.warnings)
        return (
            f"<div><b>{escape(self.title)}</b>{self.to_svg()}<table><tr><th>segment</th><th>score</th>"
            f'<th style="text-align: left">said</th></tr>{"".join(rows)}</table><ul>{notes}</ul></div>'
        )

    def steps_in(self, number: int) -> list[str]:
        """List the steps that segment `number` shows."""
        return [step["text"] for step in self.steps if number in step["segments"]]

    @property
    def left_out(self) -> list[str]:
        """The steps that no segment shows."""
        return [step["text"] for step in self.steps if not step["segments"]]

    def said_in(self, segment: Segment) -> str:
        """Join the key sentences that are told in the segment, see `is_told`.

        "" if there are none.
        """
        return " ".join(
            sentence["text"]
            for sentence in self.key_sentences
            if is_told(sentence["start_s"], sentence["end_s"], segment.start_s, segment.end_s)
        )


def is_told(start_s: float, end_s: float, begin_s: float, finish_s: float) -> bool:
    """Tell whether a sentence is told in a stretch.

    Its middle lies there, or it is longer than the stretch, which cuts it, and is spoken at the middle of that.

    Args:
        start_s: Of the sentence, in seconds.
        end_s: The same.
        begin_s: Of the stretch.
        finish_s: The same.
    """
    is_within = begin_s <= (start_s + end_s) / 2 < finish_s
    return is_within or (end_s - start_s > finish_s - begin_s and start_s <= (begin_s + finish_s) / 2 < end_s)


def first_step(texts: Sequence[str]) -> int:
    """Tell which text of a description is its first step.

    1, or 0 where the first is no title. Of three texts or more the first is the title, as in titled articles, unless it
    is numbered or marked as a step. A title says what all steps are about: sentences that announce it are near it, and
    are none of them.
    """
    return int(len(texts) >= TITLED and not _ENUMERATED.match(texts[0]))


def rate_of(times_s: Floats) -> float:
    """Find how many frames a second have these times; a single frame counts as one a second."""
    return 1 / float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0


def in_a_row(texts: Iterable[str]) -> str:
    """Write texts behind each other, without the full stop that each may end with."""
    return "; ".join(text if text.endswith("..") else text.removesuffix(".") for text in texts)


def counted(count: int, noun: str) -> str:
    """Count a noun, as in "1 video" and "2 videos"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def by_suffix(names: Iterable[str]) -> str:
    """Count names of files by their suffix, as in "2 .jpg, 1 .part"."""
    suffixes = sorted(PurePath(name).suffix.lower() or "without suffix" for name in names)
    counts = Counter(suffixes).most_common()
    more = sum(count for _, count in counts[LISTED_SUFFIXES:])
    told = [f"{count} {suffix}" for suffix, count in counts[:LISTED_SUFFIXES]]
    return ", ".join([*told, f"{more} others"] if more else told)


def clock_step(duration_s: float) -> int:
    """Choose the seconds between the marks of an axis.

    A round number that gives at most ten of them, if any does.
    """
    return next((step for step in CLOCK_STEPS_S if duration_s / step <= 10), CLOCK_STEPS_S[-1])


def clock(time_s: float) -> str:
    """Write a time as people do.

    0:07, 12:34, 1:02:03; parts of a second are dropped.
    """
    minutes, seconds = divmod(int(time_s), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"


def sentence_times_s(sentences: Sequence[Sentence]) -> Floats:
    """Put the times of sentences into an array.

    (M, 2) of [start_s, end_s).
    """
    return np.array([(sentence.start_s, sentence.end_s) for sentence in sentences], np.float64).reshape(-1, 2)


def row_counts(records: Sequence[VideoRecord], name: str) -> Ints:
    """Count the rows or items of each record's `name`.

    (V,) int64, 0 for None. A set on disk tells without reading them.
    """
    if hasattr(records, "row_counts"):
        counts: Ints = records.row_counts(name)
        return counts
    values = (getattr(record, name) for record in records)
    return np.array([0 if value is None else len(value) for value in values], np.int64)
