"""What one video's scores are compared with, and the comparison.

Letters: N sampled frames, S shots, U annotators, n_frames original frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hiersum_hf.metrics import cut_to_common, f1_score, human_agreement, kendall_tau, key_shot_summary, spearman_rho
from hiersum_hf.records import VideoRecord
from hiersum_hf.scorers import random_scores
from hiersum_hf.shots import kernel_temporal_segmentation


MEASURED = ("f1", "kendall_tau", "spearman_rho")


@dataclass(frozen=True, eq=False)
class Reference:
    """What one video's scores are compared with; parts that its record does not give are None."""

    record: VideoRecord
    users: np.ndarray | None  # (U, N)
    seen: np.ndarray  # indices of the frames that have annotations
    picks: np.ndarray
    n_frames: int
    shots: np.ndarray | None
    summaries: np.ndarray | None  # (U, n_frames)
    reduce: str

    def measure(self, scores: np.ndarray) -> dict[str, float]:
        """F1, tau and rho of (N,) scores, NaN where there is nothing to compare with."""
        name, figures = self.record.video_id, dict.fromkeys(MEASURED, float("nan"))
        if self.users is not None:
            figures["kendall_tau"] = kendall_tau(scores[self.seen], self.users[:, self.seen], name)[0]
            figures["spearman_rho"] = spearman_rho(scores[self.seen], self.users[:, self.seen], name)[0]
        if self.summaries is not None and self.shots is not None:
            summary = key_shot_summary(scores, self.picks, self.n_frames, self.shots)
            figures["f1"] = f1_score(summary, self.summaries, self.reduce, name)
        return figures

    def random(self, seed: int) -> dict[str, float]:
        return self.measure(random_scores(self.record, seed))

    def human(self) -> dict[str, float]:
        """Every annotator against the others."""
        figures = dict.fromkeys(MEASURED, float("nan"))
        if self.users is not None:
            figures["kendall_tau"], figures["spearman_rho"] = human_agreement(self.users[:, self.seen])
        if self.summaries is not None and len(self.summaries) > 1:
            others = [np.delete(self.summaries, u, axis=0) for u in range(len(self.summaries))]
            pairs = zip(self.summaries, others, strict=True)
            figures["f1"] = float(np.mean([f1_score(one, rest, self.reduce) for one, rest in pairs]))
        return figures


def reference_of(record: VideoRecord, dataset: str) -> Reference:
    """What the record's scores are compared with, by the rules of `evaluation.evaluate_scores`.

    Raises:
        ValueError: If annotations and sampled frames differ in number by more than two; the message names the video.
    """
    n, users = len(record.frame_times_s), record.user_scores
    if users is None and record.frame_scores is not None:
        users = record.frame_scores[None].astype(np.float64)
    if users is not None:
        users = cut_to_common(np.empty(n), users, record.video_id)[1]
    seen = np.arange(n) if users is None else np.flatnonzero(np.isfinite(users).all(axis=0))
    picks = np.arange(n) if record.picks is None else np.asarray(record.picks)
    n_frames = record.n_frames or int(picks[-1]) + 1
    shots, summaries = _shots(record, picks, n_frames), record.user_summaries
    if summaries is None and users is not None and shots is not None:
        filled = np.nan_to_num(users)
        summaries = np.stack([key_shot_summary(user, picks[: len(user)], n_frames, shots) for user in filled])
    return Reference(record, users, seen, picks, n_frames, shots, summaries, "max" if dataset == "summe" else "mean")


def _shots(record: VideoRecord, picks: np.ndarray, n_frames: int) -> np.ndarray | None:
    """The record's shots, else those of its features in original frames; None without either."""
    if record.shots is not None or record.video_features.shape[1] == 0:
        return record.shots
    starts = picks[kernel_temporal_segmentation(record.video_features)[:, 0]]
    starts[0] = 0
    return np.stack([starts, np.append(starts[1:], n_frames)], axis=1)
