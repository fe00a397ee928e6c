"""Rank correlations with annotators, as a module of `evaluate`."""

# mypy: disable-error-code="misc"
# (`evaluate` has no types: its Metric counts as Any)

from __future__ import annotations

import datasets
import evaluate

from hiersum_hf import metrics
from hiersum_hf.evaluate_modules import Videos, mean_over_videos


INPUTS = """
Args:
    predictions: For each video N scores. Constant ones get 0 and are counted.
    references: For each video U lists of N annotations, or N values of a single reference. Constant lists are left
        out and counted.
Returns:
    kendall_tau, spearman_rho, skipped_kendall_tau, skipped_spearman_rho, constant_annotators, constant_predictions
"""


class RankCorrelation(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        row = datasets.List(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description="tau-b and rho of raw scores against each annotator, mean over annotators, then over videos.",
            citation="",
            inputs_description=INPUTS,
            features=[
                datasets.Features({"predictions": row, "references": datasets.List(row)}),
                datasets.Features({"predictions": row, "references": row}),
            ],
        )

    def _compute(self, predictions: Videos, references: Videos) -> dict[str, float]:
        videos, dropped = [], 0
        for i, (scores, users) in enumerate(zip(predictions, references, strict=True)):
            tau, constant = metrics.kendall_tau(scores, users, str(i))
            videos.append({"kendall_tau": tau, "spearman_rho": metrics.spearman_rho(scores, users, str(i))[0]})
            dropped += constant
        flat = sum(map(metrics.is_constant, predictions))
        return mean_over_videos(videos) | {"constant_annotators": dropped, "constant_predictions": flat}
