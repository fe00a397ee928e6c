"""Compare the scores of a video with its most-replayed curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hiersum_hf.evaluation.importance import UNKNOWN
from hiersum_hf.evaluation.protocols.annotators import MEASURED, Reference
from hiersum_hf.metrics import clip_average_precision


@dataclass(frozen=True, eq=False)
class ReplayReference(Reference):
    """A replay curve, which adds Mr.HiSum's mAP50 and mAP15.

    The curve has one value a second. `metrics.clip_average_precision` computes the two figures; `rule` is one of its
    rules.
    """

    measured: ClassVar[tuple[str, ...]] = (*MEASURED, "map50", "map15")

    rule: str = "mrhisum"

    def measure(self, scores: np.ndarray, sentence_scores: np.ndarray | None = None) -> dict[str, float]:
        figures = super().measure(scores)
        for name, share in (("map50", 0.5), ("map15", 0.15)):
            figures[name] = UNKNOWN
            if self.users is not None and len(self.seen):
                ours, curve = scores[self.seen], self.users[0, self.seen]
                figures[name] = clip_average_precision(ours, curve, share, self.rule, self.record.video_id)
        return figures

    def dropped(self) -> dict[str, int]:
        """Count the videos in which no clip is positive too."""
        known = {} if self.users is None or not len(self.seen) else self.measure(np.nan_to_num(self.users[0]))
        lacking = {f"without_{name}_clips": int(np.isnan(known.get(name, 0))) for name in ("map50", "map15")}
        return super().dropped() | lacking
