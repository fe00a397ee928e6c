"""Key-shot F1 against annotators, as a module of `evaluate`."""

# mypy: disable-error-code="misc"
# (`evaluate` has no types: its Metric counts as Any)

from __future__ import annotations

import datasets
import evaluate

from hiersum_hf import metrics
from hiersum_hf.evaluate_modules import Videos, mean_over_videos


INPUTS = """
Args:
    predictions: For each video N scores, one for each sampled frame.
    references: For each video U summaries of n_frames 0 or 1, one for each annotator.
    picks: For each video the N original frames behind the scores.
    n_frames: For each video its number of original frames.
    shots: For each video [start, end) of its shots in original frames.
    reduce: "mean" over annotators (TVSum) or "max" (SumMe).
    variant: Whose rule: "hiersum", "a2summ", "dsnet", "mrhisum" or "sdmvsum".
    budget: Share of the frames that a summary may have.
Returns:
    f1, skipped_f1
"""


class KeyshotF1(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="F1 of the key-shot summary that scores give, by an exact knapsack, mean over videos.",
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.List(datasets.List(datasets.Value("bool"))),
                    "picks": datasets.List(datasets.Value("int64")),
                    "n_frames": datasets.Value("int64"),
                    "shots": datasets.List(datasets.List(datasets.Value("int64"))),
                }
            ),
        )

    def _compute(
        self,
        predictions: Videos,
        references: Videos,
        picks: Videos,
        n_frames: list[int],
        shots: Videos,
        reduce: str = "mean",
        variant: str = "hiersum",
        budget: float = 0.15,
    ) -> dict[str, float]:
        videos = []
        for i, scores in enumerate(predictions):
            summary = metrics.key_shot_summary(scores, picks[i], n_frames[i], shots[i], variant, budget, str(i))
            videos.append({"f1": metrics.f1_score(summary, references[i], reduce, str(i))})
        return mean_over_videos(videos)
