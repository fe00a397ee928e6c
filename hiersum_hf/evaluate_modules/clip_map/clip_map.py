"""Mr.HiSum's mAP50 and mAP15, as a module of `evaluate`."""

# mypy: disable-error-code="misc"
# (`evaluate` has no types: its Metric counts as Any)

from __future__ import annotations

import datasets
import evaluate

from hiersum_hf import metrics
from hiersum_hf.evaluate_modules import Videos, mean_over_videos


INPUTS = """
Args:
    predictions: For each video N scores, one a second.
    references: For each video N true scores.
    rule: Whose rule: "mrhisum" or "triplesumm".
Returns:
    map50, map15, skipped_map50, skipped_map15
"""


class ClipMap(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        row = datasets.List(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description="Average precision of 5 s clips for the best half and the best 15 %, mean over videos.",
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(self, predictions: Videos, references: Videos, rule: str = "mrhisum") -> dict[str, float]:
        videos = []
        for i, pair in enumerate(zip(predictions, references, strict=True)):
            half, best = (metrics.clip_average_precision(*pair, share, rule, str(i)) for share in (0.5, 0.15))
            videos.append({"map50": half, "map15": best})
        return mean_over_videos(videos)
