"""Measure how much of the importance the selections by scores capture.

Letters: N sampled frames, U annotators, D feature width. Not given in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hiersum_hf.metrics import BUDGET_PERCENT, captured, cut_to_common, is_constant
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord
from hiersum_hf.scoring.training_free import moving_average, samples_averaged
from hiersum_hf.summary.key_shots import choose_shots, frame_edges, score_integral, timed_shots
from hiersum_hf.summary.selection import Moments, Selection, choose_moments
from hiersum_hf.summary.shots import kernel_temporal_segmentation


CAPTURED = ("captured", "captured_keyshot")
SILENCE_S = np.zeros((0, 2))  # nothing spoken
UNKNOWN = float("nan")


@dataclass(frozen=True, eq=False)
class Importance:
    """Annotators' scores of one video, and what selecting from it needs.

    Attributes:
        video: Its name, for messages.
        edges_s: (N + 1,) seconds: frame i stands for [edges_s[i], edges_s[i + 1]).
        users: (U, N) annotators' scores, or one curve; NaN where a frame has none.
        shots_s: Seconds at which our own shots begin, None where there are no features to find them by.
    """

    video: str
    edges_s: np.ndarray
    users: np.ndarray
    shots_s: np.ndarray | None

    @cached_property
    def mean(self) -> np.ndarray:
        """Mean of the annotators, (N,).

        It is NaN for frames that one of them did not score.
        """
        return np.asarray(self.users.mean(axis=0))

    @property
    def is_known(self) -> bool:
        return bool(np.isfinite(self.mean).any())

    def captured(self, scores: np.ndarray) -> dict[str, float]:
        """Measure what selections by (N,) scores capture of the importance.

        The selections hold 15 % of the video; the measure is `metrics.captured`. The figure `captured` is for the
        selection that the product makes for people, `selection.choose_moments` with its defaults, from scores and shots
        alone: what it weighs beside importance (repeats, steps of a description, speech) stays out. `captured_keyshot`
        is for the field's rule, `key_shots.choose_shots`, which needs scores of at least 0: they are scaled to [0, 1].
        Both know our own shots, whatever shots the data brings.

        Returns:
            NaN where the importance is constant or unknown, and for `captured_keyshot` without shots.
        """
        return self._captured(scores, self.mean)

    def human(self) -> dict[str, float]:
        """Measure what each annotator's scores capture of the mean of the others.

        The figures are means over the annotators whose scores are not constant.
        """
        others = len(self.users) - 1
        varied = [user for user in self.users if others and not is_constant(user[np.isfinite(user)])]
        rest = (self.users.sum(axis=0) - np.array(varied).reshape(-1, len(self.mean))) / max(others, 1)
        found = [self._captured(filled(user), mean) for user, mean in zip(varied, rest, strict=True)]
        return {name: known_mean([figures[name] for figures in found]) for name in CAPTURED}

    def _captured(self, scores: np.ndarray, importance: np.ndarray) -> dict[str, float]:
        if is_constant(importance[np.isfinite(importance)]):
            return dict.fromkeys(CAPTURED, UNKNOWN)
        budget_s = float(self.edges_s[-1]) * BUDGET_PERCENT / 100
        selections = (self._for_people(scores, budget_s), self._key_shots(scores, budget_s))
        shares = [
            UNKNOWN if spans_s is None else captured(spans_s, self.edges_s, importance, budget_s, self.video)
            for spans_s in selections
        ]
        return dict(zip(CAPTURED, shares, strict=True))

    def _for_people(self, scores: np.ndarray, budget_s: float) -> tuple[tuple[float, float], ...]:
        shots_s = np.zeros(0) if self.shots_s is None else self.shots_s
        moments = Moments(self.video, self.edges_s, scores, SILENCE_S, shots_s)
        return choose_moments(moments, budget_s, Selection()).spans_s

    def _key_shots(self, scores: np.ndarray, budget_s: float) -> list[tuple[float, float]] | None:
        if self.shots_s is None:
            return None
        bounds_s = timed_shots(self.shots_s, float(self.edges_s[-1]), SILENCE_S)
        scaled = (scores - scores.min()) / (np.ptp(scores) or 1.0)
        return choose_shots(bounds_s, score_integral(self.edges_s, scaled), budget_s, SILENCE_S)[1]


def importance_of(record: VideoRecord) -> Importance:
    """Collect the importance of the record's frames.

    Its features are read but not kept.

    Raises:
        HierSumError: Annotations and sampled frames differ in number by more than two, or features that are needed hold
            NaN or infinity; the message names the video.
    """
    times_s, rated = record.frame_times_s, rated_frames(record)
    users = np.full((1 if rated is None else len(rated), len(times_s)), UNKNOWN)
    if rated is not None:
        users[:, : rated.shape[1]] = rated
    mean = users.mean(axis=0)
    shots_s = None if is_constant(mean[np.isfinite(mean)]) else own_shots(record)
    return Importance(record.video_id, frame_edges(times_s, record.duration_s), users, shots_s)


def rated_frames(record: VideoRecord) -> np.ndarray | None:
    """Read the (U, N') annotators' scores, else the one curve.

    N' is at most N. A record with neither has None.
    """
    users = record.user_scores
    if users is None and record.frame_scores is not None:
        users = record.frame_scores[None]
    if users is None:
        return None
    users = cut_to_common(np.empty(len(record.frame_times_s)), users, record.video_id)[1]
    return np.array(users, np.float64)


def own_shots(record: VideoRecord) -> np.ndarray | None:
    """Find the seconds at which shots begin, but for the first.

    Kernel temporal segmentation cuts the features averaged over 4.5 s, as those of a data set may jump from frame to
    frame. Without features the result is None.
    """
    if not record.video_features.shape[1]:
        return None
    try:
        shots = kernel_temporal_segmentation(moving_average(record.video_features, samples_averaged(record)))
    except ValueError as error:
        raise HierSumError(f"video {record.video_id}: {error}") from None
    starts_s: np.ndarray = record.frame_times_s[shots[1:, 0]]
    return starts_s


def filled(scores: np.ndarray) -> np.ndarray:
    """Fill (N,) scores with the least where a frame has none.

    All are 0 where no frame has one.
    """
    known = scores[np.isfinite(scores)]
    return np.where(np.isfinite(scores), scores, known.min() if len(known) else 0.0)


def known_mean(values: Iterable[float]) -> float:
    """Average the figures that are known; NaN where none is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else UNKNOWN
