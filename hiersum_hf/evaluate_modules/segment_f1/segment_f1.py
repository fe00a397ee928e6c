"""WikiHow's segment F1, as a module of `evaluate`."""

# mypy: disable-error-code="misc"
# (`evaluate` has no types: its Metric counts as Any)

from __future__ import annotations

import datasets
import evaluate

from hiersum_hf import metrics
from hiersum_hf.evaluate_modules import Videos, mean_over_videos


INPUTS = """
Args:
    predictions: For each video S scores, one for each segment.
    references: For each video S labels, 0 or 1.
    rule: Which segments count as predicted: "top50", "top15" or "p>=0.5".
Returns:
    f1, precision, recall, skipped_f1, skipped_precision, skipped_recall
"""


class SegmentF1(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Agreement of the best-scored segments with 0/1 labels, mean over videos.",
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.List(datasets.Value("int64")),
                }
            ),
        )

    def _compute(self, predictions: Videos, references: Videos, rule: str = "top50") -> dict[str, float]:
        videos = []
        for i, (scores, labels) in enumerate(zip(predictions, references, strict=True)):
            chosen = metrics.segment_prediction(scores, rule, str(i))
            videos.append(metrics.segment_f1(chosen, labels, str(i)))
        return mean_over_videos(videos)
