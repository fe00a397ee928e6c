"""References that are labels rather than annotators: BLiSS's key frames and highlight, WikiHow's segments.

Letters: N sampled frames, M sentences, S segments, R key frames of the reference.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from hiersum_hf.evaluation.protocols.annotators import MEASURED, UNKNOWN, Reference
from hiersum_hf.metrics import (
    kendall_tau,
    matched_cosine,
    oracle_k,
    ratio_k,
    rouge,
    segment_f1,
    segment_means,
    segment_prediction,
    spearman_rho,
    top_k,
)
from hiersum_hf.scoring.training_free import spread_over_sentences
from hiersum_hf.summary.shots import fill_picks


RATIO = 0.15  # of a clip's frames and sentences, where the reference does not tell how many
SEGMENT_S = 4.0  # of a pseudo summary


@dataclass(frozen=True, eq=False)
class HighlightReference(Reference):
    """A BLiSS clip: key frames, key sentences, and a highlight in words.

    The best k frames are compared with the key frames (F1; cosine of matched features), the best k sentences, in their
    order, with the highlight (ROUGE); tau and rho compare raw frame scores with the 0/1 labels. `k_rule`: "ratio",
    15 % (what a user has), or "oracle", as many as the reference has (A2Summ's).
    """

    measured: ClassVar[tuple[str, ...]] = (*MEASURED, "rouge1", "rouge2", "rougeLsum", "cosine")

    k_rule: str = "ratio"

    def measure(self, scores: np.ndarray, sentence_scores: np.ndarray | None = None) -> dict[str, float]:
        return super().measure(scores) | self._rouge(scores, sentence_scores) | {"cosine": self._cosine(scores)}

    def selection(self, scores: np.ndarray) -> np.ndarray | None:
        chosen = np.zeros(len(scores), bool)
        chosen[self._best(scores, self.record.frame_labels)] = True
        return fill_picks(chosen, self.picks, self.n_frames)

    def _best(self, scores: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """Indices of the best k."""
        if self.k_rule == "ratio" or labels is None:
            return top_k(scores, ratio_k(len(scores), RATIO))
        return top_k(scores, oracle_k(labels))

    def _rouge(self, scores: np.ndarray, sentence_scores: np.ndarray | None) -> dict[str, float]:
        record = self.record
        if sentence_scores is None or len(sentence_scores) != len(record.sentences):
            sentence_scores = spread_over_sentences(record, scores)
        if not record.reference_text or not record.sentences:
            return dict.fromkeys(("rouge1", "rouge2", "rougeLsum"), UNKNOWN)
        best = self._best(sentence_scores, record.sentence_labels)
        return rouge([record.sentences[j].text for j in best], record.reference_text)

    def _cosine(self, scores: np.ndarray) -> float:
        frames, key_frames = self.record.video_features, self.record.reference_features
        if not len(key_frames) or not frames.shape[1]:
            return UNKNOWN
        return matched_cosine(key_frames, frames[self._best(scores, self.record.frame_labels)], frames)


@dataclass(frozen=True, eq=False)
class SegmentReference(Reference):
    """A WikiHow video: 0/1 labels and scores of segments (32 frames, or 4 s of a pseudo summary).

    A segment's predicted score is the mean over its sampled frames; segments without label or frame do not count.
    `rule` says which are predicted important: "top50", the best half (floor), "p>=0.5", or "top15".
    """

    measured: ClassVar[tuple[str, ...]] = (*MEASURED, "precision", "recall")

    rule: str = "top50"
    starts: np.ndarray | None = None  # (S,) first original frame of each segment; None: every 4 s is one

    def update_fingerprint(self, digest: hashlib._Hash) -> None:
        super().update_fingerprint(digest)
        digest.update(b"-" if self.starts is None else np.ascontiguousarray(self.starts).tobytes())

    def measure(self, scores: np.ndarray, sentence_scores: np.ndarray | None = None) -> dict[str, float]:
        if self.summaries is None:
            return dict.fromkeys(self.measured, UNKNOWN)
        first, segment_of_frame = self._segments
        means = segment_means(scores[self.seen], segment_of_frame, len(first))  # (S,)
        figures = segment_f1(segment_prediction(means, self.rule), self._labels[first])
        truth = None if self.users is None else self.users[:, first]
        tau = UNKNOWN if truth is None else kendall_tau(means, truth, self.record.video_id)[0]
        rho = UNKNOWN if truth is None else spearman_rho(means, truth, self.record.video_id)[0]
        return figures | {"kendall_tau": tau, "spearman_rho": rho}

    def selection(self, scores: np.ndarray) -> np.ndarray | None:
        if self.summaries is None:
            return None
        first, segment_of_frame = self._segments
        important = segment_prediction(segment_means(scores[self.seen], segment_of_frame, len(first)), self.rule)
        chosen = np.zeros(len(scores), bool)
        chosen[self.seen] = important[segment_of_frame]
        return fill_picks(chosen, self.picks, self.n_frames)

    @property
    def _labels(self) -> np.ndarray:
        return np.asarray(self.record.frame_labels)

    @cached_property
    def _segments(self) -> tuple[np.ndarray, np.ndarray]:
        """(S,) first labelled frame of each segment; for each labelled frame (`seen`) its segment, from 0."""
        if self.starts is None:
            number = np.floor(self.record.frame_times_s[self.seen] / SEGMENT_S + 1e-6).astype(np.int64)
        else:
            number = np.searchsorted(self.starts, self.picks[self.seen], side="right") - 1
        _, first, segment_of_frame = np.unique(number, return_index=True, return_inverse=True)
        return self.seen[first], segment_of_frame
