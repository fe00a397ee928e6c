"""Compare the scores of a video with its summary, under the protocols of SM-MrHiSum and SM-VideoXum.

A script asks for that summary, see `hiersum_hf.datasets.readers.sdmvsum`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hiersum_hf.evaluation.importance import UNKNOWN
from hiersum_hf.evaluation.protocols.annotators import Reference
from hiersum_hf.metrics import MOST_PERCENT, threshold_summary
from hiersum_hf.summary.shots import fill_picks


@dataclass(frozen=True, eq=False)
class ScriptedReference(Reference):
    """Summary and scores of an SM-MrHiSum video.

    F1 compares the key-shot summary by the rule `metrics.key_shot_summary` calls "sdmvsum" with the published one, tau
    and rho raw scores with gtscores. A video without gtscores has neither: its labels are the summary, no scores.
    """

    def dropped(self) -> dict[str, int]:
        """Count the videos without scores too."""
        return super().dropped() | {"videos_without_scores": int(self.record.frame_scores is None)}

    def _ranks(self, scores: np.ndarray) -> dict[str, float]:
        if self.record.frame_scores is None:
            return {"kendall_tau": UNKNOWN, "spearman_rho": UNKNOWN}
        return super()._ranks(scores)


@dataclass(frozen=True, eq=False)
class OneAnnotatorReference(Reference):
    """Summary of one annotator of an SM-VideoXum video, whose script the record has.

    F1 compares the best 15 % of the rows with it (`metrics.threshold_summary`); where ties make them more than 25 % it
    is 0. tau and rho compare raw scores with the 0/1 summary; the published protocol has F1 alone.
    """

    def selection(self, scores: np.ndarray) -> np.ndarray | None:
        return fill_picks(threshold_summary(scores, video_id=self.record.video_id), self.picks, self.n_frames)

    def dropped(self) -> dict[str, int]:
        """Count the annotators whose script has no sentence too."""
        return super().dropped() | {"annotators_without_script": int(not self.has_description)}

    def _f1(self, chosen: np.ndarray | None) -> float:
        if chosen is not None and 100 * np.count_nonzero(chosen) > MOST_PERCENT * len(chosen):
            return 0.0
        return super()._f1(chosen)
