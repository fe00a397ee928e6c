"""Compare a WikiHow video's scores with its segments.

Segments have labels and scores.

Letters: N sampled frames, S segments.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from hiersum_hf.evaluation.importance import UNKNOWN
from hiersum_hf.evaluation.protocols.annotators import MEASURED, Reference
from hiersum_hf.metrics import kendall_tau, segment_f1, segment_means, segment_prediction, spearman_rho
from hiersum_hf.summary.shots import fill_picks


SEGMENT_S = 4.0  # of a pseudo summary


@dataclass(frozen=True, eq=False)
class SegmentReference(Reference):
    """Labels (0/1) and scores of the segments of a WikiHow video.

    A segment is 32 frames, or 4 s of a pseudo summary. Its predicted score is the mean over its sampled frames;
    segments without label or frame do not count. `rule` says which are predicted important: "top50", the best half
    (floor), "p>=0.5", or "top15".
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
        """First labelled frame of each segment, and each frame's segment.

        The first array is (S,). The second has the number of its segment, from 0, for each labelled frame (`seen`).
        """
        if self.starts is None:
            number = np.floor(self.record.frame_times_s[self.seen] / SEGMENT_S + 1e-6).astype(np.int64)
        else:
            number = np.searchsorted(self.starts, self.picks[self.seen], side="right") - 1
        _, first, segment_of_frame = np.unique(number, return_index=True, return_inverse=True)
        return self.seen[first], segment_of_frame
