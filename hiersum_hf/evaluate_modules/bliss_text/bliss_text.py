"""ROUGE of selected sentences, as a module of `evaluate`."""

# mypy: disable-error-code="misc"
# (`evaluate` has no types: its Metric counts as Any)

from __future__ import annotations

import datasets
import evaluate

from hiersum_hf import metrics
from hiersum_hf.evaluate_modules import Videos, mean_over_videos


INPUTS = """
Args:
    predictions: For each video the selected sentences in order.
    references: For each video the sentences of the reference summary.
Returns:
    rouge1, rouge2, rougeLsum (F measures, with stemmer), skipped_rouge1, skipped_rouge2, skipped_rougeLsum
"""


class BlissText(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        sentences = datasets.List(datasets.Value("string"))
        return evaluate.MetricInfo(
            description="ROUGE-1, ROUGE-2 and ROUGE-Lsum of sentences joined by newlines, mean over videos.",
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": sentences, "references": sentences}),
        )

    def _compute(self, predictions: Videos, references: Videos) -> dict[str, float]:
        pairs = zip(predictions, references, strict=True)
        return mean_over_videos([metrics.rouge(ours, theirs, str(i)) for i, (ours, theirs) in enumerate(pairs)])
