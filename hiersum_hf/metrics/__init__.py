"""Agreement of scores and summaries with annotators.

There is one named function for each published protocol. All are pure functions of one video's arrays. NaN means
undefined: the caller leaves the video out and counts it. Lengths that differ by at most two, as decoders count frames,
are cut to the common one; a greater difference is an error.
"""

from hiersum_hf.metrics.clips import clip_average_precision
from hiersum_hf.metrics.inputs import LENGTH_TOLERANCE, cut_to_common
from hiersum_hf.metrics.key_shots import (
    BUDGET_PERCENT,
    MOST_PERCENT,
    f1_score,
    key_shot_summary,
    precision_recall,
    summary_length,
    temporal_coverage,
    threshold_summary,
)
from hiersum_hf.metrics.ranks import (
    human_agreement,
    is_constant,
    kendall_tau,
    spearman_rho,
    tau_b,
    tau_rho_csta_summe,
    tau_rho_mean_user,
)
from hiersum_hf.metrics.seconds import captured
from hiersum_hf.metrics.segments import segment_f1, segment_means, segment_prediction
from hiersum_hf.metrics.texts import matched_cosine, oracle_k, ratio_k, rouge, top_k


__all__ = [
    "BUDGET_PERCENT",
    "LENGTH_TOLERANCE",
    "MOST_PERCENT",
    "captured",
    "clip_average_precision",
    "cut_to_common",
    "f1_score",
    "human_agreement",
    "is_constant",
    "kendall_tau",
    "key_shot_summary",
    "matched_cosine",
    "oracle_k",
    "precision_recall",
    "ratio_k",
    "rouge",
    "segment_f1",
    "segment_means",
    "segment_prediction",
    "spearman_rho",
    "summary_length",
    "tau_b",
    "tau_rho_csta_summe",
    "tau_rho_mean_user",
    "temporal_coverage",
    "threshold_summary",
    "top_k",
]
