"""Compare two scorers on the same videos.

Is one of them better, or could it be chance?

Letters: V videos that both results have. None of this is given in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hiersum_hf.evaluation.statistics import compare_pairs, holm, mean_interval
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.results import METRICS, SAME, Difference, Figures, Results


SIGNIFICANCE = 0.05
VERDICTS = {0: "no difference", 1: "first better", -1: "second better"}


def compare(first: Results, second: Results, seed: int = 0) -> dict[str, Any]:
    """Compare two scorers metric by metric on the videos of both.

    Figures are paired by video. The p value is that of a sign-flip test of the mean difference (exact up to 13
    videos, 9,999 draws above), corrected by Holm's rule for the number of metrics. "no difference" means that none
    was shown, not that there is none.

    Args:
        first: Results of one scorer.
        second: Results of another on the same data.
        seed: Of the resampling.

    Returns:
        Plain JSON types: what is compared, how many `videos` both have and `only_first` and `only_second` have, and
        for each of the `metrics` that both report its videos, both means, `difference` (first - second), `ci95` of
        it (percentile bootstrap over videos; null for a single one), `p`, `p_holm` and `verdict`.

    Raises:
        HierSumError: They are of different data, parts or protocols, or have no video or no metric in common.
    """
    for key in SAME:
        one, other = getattr(first, key), getattr(second, key)
        if one != other:
            raise HierSumError(f"{key}: expected two results with the same, found {one!r} and {other!r}")
    ours, theirs = first.per_video, second.per_video
    shared = [video for video in ours if video in theirs]
    metrics = {}
    for name in first.metrics:
        if len(known := _pairs(ours, theirs, name)):
            metrics[name] = compare_pairs(known, seed)
    if not metrics:
        raise HierSumError(f"expected a metric that both results have, found none on the {len(shared)} videos of both")
    for figures, p in zip(metrics.values(), holm([figures["p"] for figures in metrics.values()]), strict=True):
        sign = int(np.sign(figures["difference"])) if p < SIGNIFICANCE else 0
        figures |= {"p_holm": p, "verdict": VERDICTS[sign]}
    return {key: getattr(first, key) for key in SAME} | {
        "first": row_name(first),
        "second": row_name(second),
        "videos": len(shared),
        "only_first": len(ours) - len(shared),
        "only_second": len(theirs) - len(shared),
        "metrics": metrics,
    }


def differences(ours: Mapping[str, Figures], theirs: Mapping[str, Figures], seed: int = 0) -> dict[str, Difference]:
    """Average the difference, ours - theirs, of each metric over the videos of both.

    Args:
        ours: Figures of one scorer, by video id.
        theirs: Figures of another.
        seed: Of the bootstrap.

    Returns:
        For each metric that both have the `difference` and `ci95` of it (paired percentile bootstrap over videos, null
        for a single one).
    """
    pairs = {name: known for name in METRICS if len(known := _pairs(ours, theirs, name))}
    found = {name: known[:, 0] - known[:, 1] for name, known in pairs.items()}
    return {name: {"difference": float(d.mean()), "ci95": mean_interval(d, seed)} for name, d in found.items()}


def _pairs(ours: Mapping[str, Figures], theirs: Mapping[str, Figures], metric: str) -> np.ndarray:
    """Pair the figures of the videos for which both have the metric, (V, 2)."""
    pairs = [(ours[video].get(metric), theirs[video].get(metric)) for video in ours if video in theirs]
    return np.array([pair for pair in pairs if None not in pair], np.float64).reshape(-1, 2)


def row_name(results: Results) -> str:
    """Name the scorer, level and checkpoint of results in words."""
    return " ".join(filter(None, [results.scorer, results.level and f"({results.level})", results.checkpoint]))


def format_comparison(comparison: dict[str, Any]) -> str:
    """Format what `compare` returns as a plain-text table."""
    rows = [("metric", "videos", "first", "second", "difference [95 %]", "p (Holm)", "verdict")]
    for name, figures in comparison["metrics"].items():
        interval = "" if figures["ci95"] is None else " [{:+.4f}, {:+.4f}]".format(*figures["ci95"])
        values = (f"{figures['first']:.4f}", f"{figures['second']:.4f}", f"{figures['difference']:+.4f}{interval}")
        rows.append(
            (METRICS.get(name, name), str(figures["videos"]), *values, f"{figures['p_holm']:.4f}", figures["verdict"])
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{comparison['dataset']} {comparison['part']}, protocol {comparison['protocol']}"]
    lines += [f"{which}: {comparison[which]}" for which in ("first", "second")]
    alone = comparison["only_first"], comparison["only_second"]
    lines.append(
        f"{comparison['videos']} videos of both"
        + (", {} only of the first, {} of the second".format(*alone) if any(alone) else "")
    )
    lines += ["", *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)]
    # The least p that V videos can give is 2 / 2^V, all differences of one sign; Holm multiplies it by the metrics.
    fewest = min(figures["videos"] for figures in comparison["metrics"].values())
    if len(comparison["metrics"]) * 2.0 ** (1 - fewest) >= SIGNIFICANCE:
        lines.append(f"{fewest} videos are too few for this test to show any difference.")
    return "\n".join(lines)
