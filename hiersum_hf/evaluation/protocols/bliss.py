"""Compare a BLiSS clip's scores with its key frames and highlight.

The highlight is a text, which ROUGE compares with the selected sentences.

Letters: N sampled frames, M sentences, R key frames of the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hiersum_hf.evaluation.importance import UNKNOWN
from hiersum_hf.evaluation.protocols.annotators import MEASURED, Reference
from hiersum_hf.metrics import matched_cosine, oracle_k, ratio_k, rouge, top_k
from hiersum_hf.scoring.training_free import spread_over_sentences
from hiersum_hf.summary.shots import fill_picks


RATIO = 0.15  # of a clip's frames and sentences, where the reference does not tell how many


@dataclass(frozen=True, eq=False)
class HighlightReference(Reference):
    """Key frames, key sentences and highlight text of a BLiSS clip.

    The best k frames are compared with the key frames (F1; cosine of matched features), the best k sentences, in their
    order, with the highlight (ROUGE). tau and rho compare raw frame scores with the 0/1 labels. `k_rule` says what k
    is: "ratio", 15 % (what a user has), or "oracle", as many as the reference has (A2Summ's).
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
        """Return the indices of the best k."""
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
