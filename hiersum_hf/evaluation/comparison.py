"""Two `results.json` of the same videos side by side: is one scorer better, or could it be chance?

Letters: V videos that both results have. None of this is given in the paper.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap, permutation_test

from hiersum_hf.results import METRICS, SCHEMA


SAME = ("dataset", "part", "protocol", "data_fingerprint")
SIGNIFICANCE = 0.05
RESAMPLES = 9999
MAX_FIGURE = 1e6  # of a metric; a number that JSON writes may be too large for arithmetic
BATCH = 500  # resamples held in memory at once
VERDICTS = {0: "no difference", 1: "first better", -1: "second better"}


def read_results(path: str | Path) -> dict[str, Any]:
    """The content of a `results.json`, schema 1.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON, or not the results of an evaluation.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected results of `hiersum evaluate --json`, found no such file.")
    try:
        results = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON: {error}") from None
    schema = results.get("schema") if isinstance(results, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"{path}: expected results of schema {SCHEMA}, found schema {schema!r}.")
    missing = [key for key in (*SAME, "scorer", "metrics", "per_video") if key not in results]
    if missing:
        raise ValueError(f"{path}: expected the results of an evaluation, missing {', '.join(missing)}.")
    for key in (*SAME, "scorer", "level", "checkpoint"):
        if not isinstance(results.get(key), str | None):
            raise ValueError(f"{path}: {key}: expected a text, found {results[key]!r:.80}.")
    for key in ("metrics", "per_video"):
        if not isinstance(results[key], dict):
            raise ValueError(f"{path}: expected {key} by name, found {type(results[key]).__name__}.")
    for video, figures in results["per_video"].items():
        if not isinstance(figures, dict) or not all(map(_is_figure, figures.values())):
            raise ValueError(f"{path}, video {video!r:.80}: expected finite numbers or null, found {figures!r:.80}.")
    return results


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and abs(value) <= MAX_FIGURE)


def _no_number(name: str) -> None:
    raise ValueError(f"found {name}, which is no number")


def compare(first: dict[str, Any], second: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Whether two scorers differ on the videos that both results have, metric by metric.

    Figures are paired by video. The p value is that of a sign-flip test of the mean difference (exact up to 13
    videos, 9,999 draws above), corrected by Holm's rule for the number of metrics. "no difference" means that none
    was shown, not that there is none.

    Args:
        first, second: Contents of `results.json`.
        seed: Of the resampling.

    Returns:
        Plain JSON types: what is compared, how many `videos` both have and `only_first` and `only_second` have, and
        for each of the `metrics` that both report its videos, both means, `difference` (first - second), `ci95` of
        it (percentile bootstrap over videos; null for a single one), `p`, `p_holm` and `verdict`.

    Raises:
        ValueError: They are of different data, parts or protocols, or have no video or no metric in common.
    """
    for key in SAME:
        if first.get(key) != second.get(key):
            raise ValueError(
                f"{key}: expected two results with the same, found {first.get(key)!r} and {second.get(key)!r}"
            )
    ours, theirs = first["per_video"], second["per_video"]
    shared = [video for video in ours if video in theirs]
    metrics = {}
    for name in first["metrics"]:
        pairs = [(ours[video].get(name), theirs[video].get(name)) for video in shared]
        known = np.array([pair for pair in pairs if None not in pair], np.float64)  # (V, 2)
        if len(known):
            metrics[name] = _paired(known, seed)
    if not metrics:
        raise ValueError(f"expected a metric that both results have, found none on the {len(shared)} videos of both")
    for figures, p in zip(metrics.values(), holm([figures["p"] for figures in metrics.values()]), strict=True):
        sign = int(np.sign(figures["difference"])) if p < SIGNIFICANCE else 0
        figures |= {"p_holm": p, "verdict": VERDICTS[sign]}
    return {key: first.get(key) for key in SAME} | {
        "first": row_name(first),
        "second": row_name(second),
        "videos": len(shared),
        "only_first": len(ours) - len(shared),
        "only_second": len(theirs) - len(shared),
        "metrics": metrics,
    }


def _paired(pairs: np.ndarray, seed: int) -> dict[str, Any]:
    """Figures of one metric from its (V, 2) values."""
    difference = pairs[:, 0] - pairs[:, 1]
    return {
        "videos": len(pairs),
        "first": float(pairs[:, 0].mean()),
        "second": float(pairs[:, 1].mean()),
        "difference": float(difference.mean()),
        "ci95": mean_interval(difference, seed),
        "p": _sign_flip_p(difference, seed),
    }


def mean_interval(values: np.ndarray, seed: int = 0) -> list[float] | None:
    """95 % percentile bootstrap interval of the mean of (V,) values; None for fewer than two."""
    if len(values) < 2:
        return None
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, batch=BATCH, method="percentile", rng=seed)
    return [float(found.confidence_interval.low), float(found.confidence_interval.high)]


def _sign_flip_p(difference: np.ndarray, seed: int) -> float:
    if len(difference) < 2:
        return 1.0
    test = permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, batch=BATCH, rng=seed
    )
    return float(test.pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction: the smallest p times their number, the next times one less, ..., never falling."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1)
    return corrected.tolist()


def row_name(results: dict[str, Any]) -> str:
    """Scorer, level and checkpoint of results, in words."""
    level, checkpoint = results.get("level"), results.get("checkpoint")
    return " ".join(filter(None, [results["scorer"], level and f"({level})", checkpoint]))


def format_comparison(comparison: dict[str, Any]) -> str:
    """What `compare` returns as a plain-text table."""
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
    fewest = min(figures["videos"] for figures in comparison["metrics"].values())
    if len(comparison["metrics"]) * 2.0 ** (1 - fewest) >= SIGNIFICANCE:
        lines.append(f"{fewest} videos are too few for this test to show any difference.")
    return "\n".join(lines)
