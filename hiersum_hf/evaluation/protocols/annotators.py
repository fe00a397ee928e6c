"""Compare the scores of one video with its annotators.

Letters: N sampled frames, M sentences, S shots or segments, U annotators, R key frames, n_frames original frames.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hiersum_hf.evaluation.importance import UNKNOWN, filled
from hiersum_hf.metrics import (
    BUDGET_PERCENT,
    cut_to_common,
    f1_score,
    human_agreement,
    is_constant,
    kendall_tau,
    key_shot_summary,
    spearman_rho,
    summary_length,
    tau_rho_csta_summe,
    tau_rho_mean_user,
    temporal_coverage,
)
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord
from hiersum_hf.scoring.training_free import random_scores, random_sentence_scores
from hiersum_hf.summary.shots import best_shots, clip_shots


MEASURED = ("f1", "kendall_tau", "spearman_rho")


@dataclass(frozen=True, eq=False)
class Reference:
    """Annotators' scores and key-shot summaries of one video.

    Parts that its record does not give are None.

    The field's protocols for TVSum and SumMe by name: `variant` of the key-shot summary ("hiersum" is the project's),
    and `ranks`, what tau and rho are measured against ("each", the project's; "mean-user"; "csta").
    """

    measured: ClassVar[tuple[str, ...]] = MEASURED

    record: VideoRecord  # without its features
    users: np.ndarray | None  # (U, N)
    seen: np.ndarray  # indices of the frames that have annotations
    picks: np.ndarray
    n_frames: int
    shots: np.ndarray | None
    summaries: np.ndarray | None  # (U, n_frames)
    has_description: bool = False
    reduce: str = "mean"
    variant: str = "hiersum"
    ranks: str = "each"

    def measure(self, scores: np.ndarray, sentence_scores: np.ndarray | None = None) -> dict[str, float]:
        """Compute the `measured` figures of (N,) frame scores.

        A figure is NaN where there is nothing to compare with. Protocols that select sentences also read the (M,)
        `sentence_scores`.
        """
        return self._ranks(scores) | {"f1": self._f1(self.selection(scores))}

    def selection(self, scores: np.ndarray) -> np.ndarray | None:
        """Select original frames by scores under the protocol.

        Returns:
            (n_frames,) bool; None without shots.
        """
        if self.shots is None:
            return None
        return key_shot_summary(scores, self.picks, self.n_frames, self.shots, self.variant)

    def extent(self, scores: np.ndarray) -> dict[str, float]:
        """Measure the length and coverage of the selection.

        The length is a share of the video, the coverage the share of the video's tenths that it touches.
        """
        chosen = self.selection(scores)
        if chosen is None:
            return {"length": UNKNOWN, "coverage": UNKNOWN}
        return {"length": summary_length(chosen), "coverage": temporal_coverage(chosen)}

    def random(self, seed: int) -> dict[str, float]:
        """Measure random scores of frames and sentences."""
        return self.measure(random_scores(self.record, seed), random_sentence_scores(self.record, seed))

    def oracle_scores(self) -> np.ndarray | None:
        """Average the annotators, else take the curve or the labels.

        Returns:
            (N,) scores, the least of them where a frame has none; None without any of them.
        """
        if self.users is None:
            return None
        n, mean = len(self.record.frame_times_s), self.users.mean(axis=0)
        return filled(np.pad(mean, (0, n - len(mean)), constant_values=UNKNOWN))

    def human(self) -> dict[str, float]:
        """Measure every annotator against the others."""
        figures = dict.fromkeys(self.measured, UNKNOWN)
        if self.users is not None and len(self.users) > 1 and self.ranks == "each":
            figures["kendall_tau"], figures["spearman_rho"] = human_agreement(self.users[:, self.seen])
        if self.summaries is not None and len(self.summaries) > 1:
            others = [np.delete(self.summaries, u, axis=0) for u in range(len(self.summaries))]
            pairs = zip(self.summaries, others, strict=True)
            figures["f1"] = float(np.mean([f1_score(one, rest, self.reduce) for one, rest in pairs]))
        return figures

    def shot_oracle(self) -> dict[str, float]:
        """Measure the shots within the budget whose F1 is the greatest possible.

        tau and rho are those of this 0/1 summary.

        Raises:
            HierSumError: The video has no shots or no annotators' summaries.
        """
        if self.shots is None or self.summaries is None:
            raise HierSumError(f"video {self.record.video_id}: shot-oracle needs shots and summaries, found none")
        shots = clip_shots(self.shots, self.n_frames)
        users = cut_to_common(np.empty(self.n_frames), self.summaries, self.record.video_id)[1]
        best = np.zeros(self.n_frames, bool)
        for start, end in shots[best_shots(users, shots, self.n_frames * BUDGET_PERCENT // 100, self.reduce)]:
            best[start:end] = True
        at_picks = best[np.minimum(self.picks, self.n_frames - 1)].astype(np.float64)
        return dict.fromkeys(self.measured, UNKNOWN) | self._ranks(at_picks) | {"f1": self._f1(best)}

    def dropped(self) -> dict[str, int]:
        """Count the annotators and lengths that met a special rule."""
        annotated, summaries, users = self.record.user_scores, self.summaries, self.users
        return {
            "constant_annotators": 0 if users is None else sum(is_constant(user[self.seen]) for user in users),
            "lengths_cut": int(annotated is not None and annotated.shape[1] != len(self.record.frame_times_s))
            + int(summaries is not None and summaries.shape[1] != self.n_frames),
            "videos_without_reference": int(users is None and summaries is None),
        }

    def update_fingerprint(self, digest: hashlib._Hash) -> None:
        """Add everything that scores are compared with to the digest.

        Features count only where the comparison needs them.
        """
        record, texts = self.record, [(s.text, s.start_s, s.end_s) for s in self.record.sentences]
        digest.update(repr((record.video_id, self.n_frames, texts, record.reference_text)).encode())
        ours = [self.users, self.seen, self.picks, self.shots, self.summaries]
        theirs = [record.frame_times_s, record.frame_labels, record.sentence_labels]
        for part in [*ours, *theirs, record.video_features, record.reference_features]:
            digest.update(b"-" if part is None else repr(part.shape).encode() + np.ascontiguousarray(part).tobytes())

    def _f1(self, chosen: np.ndarray | None) -> float:
        if self.summaries is None or chosen is None:
            return UNKNOWN
        return f1_score(chosen, self.summaries, self.reduce, self.record.video_id)

    def _ranks(self, scores: np.ndarray) -> dict[str, float]:
        name = self.record.video_id
        pair = UNKNOWN, UNKNOWN
        if self.ranks == "csta":
            chosen = self.selection(scores)
            if chosen is not None and self.summaries is not None:
                pair = tau_rho_csta_summe(chosen, self.summaries, name)
        elif self.users is not None and len(self.seen):
            ours, users = scores[self.seen], self.users[:, self.seen]
            if self.ranks == "mean-user":
                pair = tau_rho_mean_user(ours, users, name)
            else:
                pair = kendall_tau(ours, users, name)[0], spearman_rho(ours, users, name)[0]
        return {"kendall_tau": pair[0], "spearman_rho": pair[1]}
