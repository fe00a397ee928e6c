"""`results.json`, schema 1: what every evaluation writes, the table of several, and its parts that say where figures
come from.

| key | content |
|---|---|
| schema | 1 |
| dataset, part, split | which videos: "tvsum", "test", "disjoint-folds-seed0#2" |
| protocol | a name in `protocols.by_name`, with "-single-reference" where a curve stands for the annotators |
| scorer, level, score_head, checkpoint | what scored them; "checkpoint" for a network |
| selected_on | the part on which checkpoint and level were chosen, null where nothing was chosen |
| metrics | means over videos of METRICS, null where the data set or the protocol has no such figure: `captured` and
  `captured_keyshot` (`hiersum_hf.evaluation.importance`) under every protocol, the others as the protocol says |
| selection | mean `length` of the summaries, a share of the video, and `coverage`, the share of tenths they touch |
| baselines | {random: {metrics, draws, standard_error}, position, title, oracle, human: {metrics} or null}; earlier
  files lack some of them, and the captured figures |
| ci95 | 95 % percentile bootstrap over videos for each metric measured, null for a single video |
| per_video | the metrics of each video, perhaps constant_prediction |
| dropped | how many of what met a special rule |
| encoders, encoder_mismatch | what made the features; a sentence where a checkpoint was made for others |
| data_fingerprint | a hash of everything the figures depend on |
| labels | of a training run: positive_rate, and the rule (threshold, quantile, ...) as far as known |
| merged_from | of a merged adapter: {adapter, base} |
| seed, versions, command | to run it again |
| folds | of a cross-validation: [{metrics, ...}], and `spread`, the standard deviation over folds |
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hiersum_hf.files.atomic import write_text
from hiersum_hf.files.json_file import read_json
from hiersum_hf.modeling.errors_hiersum import InputError


SAME = ("dataset", "part", "protocol", "data_fingerprint")
MAX_FIGURE = 1e6  # of a metric; a number that JSON writes may be too large for arithmetic


SCHEMA = 1
METRICS = {
    "captured": "captured", "captured_keyshot": "captured (key-shot)",
    "f1": "F1", "kendall_tau": "tau", "spearman_rho": "rho", "map50": "mAP50", "map15": "mAP15", "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2", "rougeLsum": "ROUGE-Lsum", "cosine": "cosine", "precision": "precision", "recall": "recall",
}  # fmt: skip
PACKAGES = ("hiersum-hf", "numpy", "scipy", "scikit-learn", "rouge-score", "torch", "transformers")


def versions() -> dict[str, str | None]:
    """Python and the packages that figures depend on; null where one is not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def format_table(results: Sequence[dict[str, Any]]) -> str:
    """Results of one data set and protocol as a plain-text table: a row a scorer, then the baselines.

    Raises:
        ValueError: If the results come from different data sets, parts or protocols.
    """
    headings = {f"{r['dataset']} {r['part']}, {len(r['per_video'])} videos, protocol {r['protocol']}" for r in results}
    if len(headings) != 1:
        raise InputError(f"expected results of one data set, part and protocol, found {sorted(headings)}")
    shown = [name for name in METRICS if any(name in r["ci95"] for r in results)]
    rows: list[tuple[str, ...]] = [("scorer", *(METRICS[name] for name in shown))]
    rows += [(_row_name(r), *(_cell(r["metrics"].get(m), r["ci95"].get(m)) for m in shown)) for r in results]
    baselines = results[0]["baselines"]
    for name, figures in baselines.items():
        if figures is not None and name not in {r["scorer"] for r in results}:
            rows.append((f"[{name}]", *(_cell(figures.get(m), None) for m in shown)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([headings.pop(), "", *lines, *_notes(results)])


def _notes(results: Sequence[dict[str, Any]]) -> list[str]:
    """Say what a reader of the table must know."""
    random = results[0]["baselines"]["random"]
    errors = [f"{METRICS[m]} {error:.4f}" for m, error in random["standard_error"].items() if error is not None]
    notes = [f"random: mean of {random['draws']} draws, standard error of {', '.join(errors)}"] if errors else []
    for r in results:
        dropped = ", ".join(f"{reason.replace('_', ' ')} {count}" for reason, count in r["dropped"].items() if count)
        notes += [f"{_row_name(r)}: {dropped}"] if dropped else []
        notes += [f"encoder mismatch: {r['encoder_mismatch']}"] if r["encoder_mismatch"] else []
    return notes


def _row_name(result: dict[str, Any]) -> str:
    return " ".join(filter(None, [result["scorer"], result["level"] and f"({result['level']})"]))


def _cell(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as JSON, whole or not at all.

    Raises:
        OSError: No room, or no right to write there; names the path.
        ValueError: If it holds NaN or infinity.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_results(path: str | Path) -> dict[str, Any]:
    """Read the content of a `results.json`, schema 1.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON, or not the results of an evaluation.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected results of `hiersum evaluate --json`, found no such file.")
    results = read_json(path, finite=True)
    schema = results.get("schema") if isinstance(results, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path}: expected results of schema {SCHEMA}, found schema {schema!r}.")
    missing = [key for key in (*SAME, "scorer", "metrics", "per_video") if key not in results]
    if missing:
        raise InputError(f"{path}: expected the results of an evaluation, missing {', '.join(missing)}.")
    for key in (*SAME, "scorer", "level", "checkpoint"):
        if not isinstance(results.get(key), str | None):
            raise InputError(f"{path}: {key}: expected a text, found {results[key]!r:.80}.")
    for key in ("metrics", "per_video"):
        if not isinstance(results[key], dict):
            raise InputError(f"{path}: expected {key} by name, found {type(results[key]).__name__}.")
    for video, figures in results["per_video"].items():
        if not isinstance(figures, dict) or not all(map(_is_figure, figures.values())):
            raise InputError(f"{path}, video {video!r:.80}: expected finite numbers or null, found {figures!r:.80}.")
    return results


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and abs(value) <= MAX_FIGURE)
