"""Runs of a study to figures: tables, paired tests, intervals, learning curves.

Letters: K seeds, V test videos. None of this is given in the paper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from hiersum_hf.evaluation.statistics import holm


RESAMPLES = 10_000
SHOWN = {"kendall_tau": "tau", "sentence_tau": "sentence tau", "f1": "F1", "map50": "mAP50", "map15": "mAP15"}


def report_group(arms: Mapping[str, Sequence[Mapping[str, Any]]], metric: str = "kendall_tau") -> list[dict[str, Any]]:
    """What is known of each arm of a group, from its runs with every seed; the first arm is the reference.

    Each run is read at the level that is best on its own validation part. Interval and p value of a difference resample
    seeds and videos together (`interval`); p is corrected by Holm's rule for the group's comparisons.

    Raises:
        ValueError: Runs of different test videos.
    """
    fingerprints = {run["fingerprint"] for runs in arms.values() for run in runs}
    if len(fingerprints) != 1:
        raise ValueError(f"{', '.join(arms)}: expected runs of the same test videos, found {len(fingerprints)} sets.")
    everything = [run for runs in arms.values() for run in runs]
    figures = [metric, *(m for m in ("f1", "map50", "map15") if all(_known(run, m) for run in everything))]
    tables = {name: {m: _table(runs, m, metric) for m in figures} for name, runs in arms.items()}
    reference = next(iter(tables.values()))[metric]
    rows = [_row(name, arms[name], table, metric) for name, table in tables.items()]
    for row, table in zip(rows[1:], list(tables.values())[1:], strict=True):
        row |= _difference(table[metric], reference)
    for row, p in zip(rows[1:], holm([row["p"] for row in rows[1:]]) if len(rows) > 1 else [], strict=True):
        row["p_holm"] = p
    fixed = [name for name in tables if name.startswith("m = ")]
    for row in rows:
        if row["name"] == "adaptive" and fixed:
            ranked = sorted(fixed, key=lambda name: np.nanmean(tables[name][metric]))
            row["against"] = {
                n: _difference(tables["adaptive"][metric], tables[n][metric]) for n in (ranked[-1], ranked[0])
            }
    return rows


def _known(run: Mapping[str, Any], metric: str) -> bool:
    """Whether the test videos have this figure: not every data set has annotators or shots."""
    return all(any(v.get(metric) is not None for v in videos.values()) for videos in run["levels"].values())


def chosen_level(run: Mapping[str, Any], metric: str) -> str:
    """The level that is best on the validation part."""
    return max(run["validation"], key=lambda level: run["validation"][level].get(metric, -np.inf))


def _table(runs: Sequence[Mapping[str, Any]], metric: str, chosen_by: str, level: str | None = None) -> np.ndarray:
    """(K, V) figures at the chosen level of each run; NaN where there is none."""
    read = [run["levels"][level or chosen_level(run, chosen_by)] for run in runs]
    values = [[video.get(metric) for video in videos.values()] for videos in read]
    return np.array(values, np.float64)


def _row(name: str, runs: Sequence[Mapping[str, Any]], table: dict[str, np.ndarray], metric: str) -> dict[str, Any]:
    shared = [level for level in runs[0]["levels"] if all(level in run["levels"] for run in runs)]
    read = {level: _table(runs, metric, metric, level) for level in shared}
    return {
        "name": name,
        "read_at": dict(Counter(chosen_level(run, metric) for run in runs)),
        "figures": {m: _spread(values) for m, values in table.items()},
        "levels": {level: _spread(values)["mean"] for level, values in read.items() if not np.isnan(values).all()},
        "curve": _mean_curves([run["curve"] for run in runs]),
        "per_video": np.round(np.nanmean(table[metric], axis=0), 4).tolist(),
        "cpu_seconds": round(float(np.mean([run["cpu_seconds"] for run in runs])), 1),
    }


def _spread(table: np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation over seeds (null for one), and each seed's mean."""
    seeds = np.nanmean(table, axis=1)
    spread = round(float(seeds.std(ddof=1)), 5) if len(seeds) > 1 else None
    return {"mean": round(float(seeds.mean()), 5), "sd": spread, "seeds": np.round(seeds, 5).tolist()}


def _difference(table: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Arm minus reference, its interval and p."""
    difference = table - reference
    difference = difference[:, ~np.isnan(difference).any(axis=0)]
    low, high, p = interval(difference)
    return {"difference": round(float(difference.mean()), 5), "ci95": [round(low, 5), round(high, 5)], "p": p}


def interval(difference: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """95 % percentile bootstrap interval of the mean of (K, V) differences, and p of a mean as far from 0.

    Seeds and videos are resampled together: videos that agree say little where seeds do not, and the reverse.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(n, [1 / n] * n, RESAMPLES) / n for n in difference.shape]  # (RESAMPLES, K), (RESAMPLES, V)
    means = np.einsum("rk,kv,rv->r", drawn[0], difference, drawn[1], optimize=True)
    low, high = np.percentile(means, [2.5, 97.5])
    mean = difference.mean()
    as_far = np.abs(means - mean) >= np.abs(mean)
    return float(low), float(high), round(float((1 + as_far.sum()) / (1 + RESAMPLES)), 6)


def _mean_curves(curves: Sequence[Mapping[str, list]]) -> dict[str, list[list[float]]]:
    """{level: [[step, mean validation tau over seeds, standard deviation], ...]} at the steps that all runs have."""
    means = {}
    for level in curves[0]:
        runs = [dict(curve.get(level, [])) for curve in curves]
        steps = [step for step in runs[0] if all(step in run for run in runs)]
        points = [[run[step] for run in runs] for step in steps]
        means[level] = [
            [s, round(float(np.mean(p)), 5), round(float(np.std(p)), 5)] for s, p in zip(steps, points, strict=True)
        ]
    return means


def as_markdown(study: Mapping[str, Any]) -> str:
    """The report of a study as Markdown tables, one a group."""
    lines = [
        f"{study['about']}; {len(study['seeds'])} seeds, {study['scale']['steps']} optimiser steps (1x), mean ± "
        "standard deviation over seeds. Difference to the first row [95 % over seeds and videos]; p of the same "
        "bootstrap, Holm over the group. Every run is read at the level that is best on its validation part.",
    ]
    for group in study["groups"]:
        shown = [SHOWN[m] for m in group["arms"][0]["figures"]]
        lines += ["", f"**{group['name']}** ({group['videos']} test videos)", ""]
        columns = ["arm", *shown, "difference", "p", "read at", "by level"]
        lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [_markdown_row(arm) for arm in group["arms"]]
        for arm in group["arms"]:
            for which, (name, d) in zip(("best", "worst"), arm.get("against", {}).items(), strict=False):
                lines += ["", f"{arm['name']} against the {which} fixed schedule, {name}: {_signed(d)}."]
    return "\n".join([*lines, "", "```bash", study["command"], "```", ""])


def as_page(studies: Sequence[Mapping[str, Any]]) -> str:
    """Return the reports of studies as one Markdown page, each with its figure."""
    parts = [
        "# Tables of the ablation studies",
        "`python scripts/run_ablation.py --report` writes this page from the JSON files beside it. What each arm "
        "changes stands in `scripts/ablation/studies.py`; what follows from the tables, in `docs/mechanisms.md`.",
    ]
    for study in studies:
        name, minutes = study["study"], round(study["cpu_seconds"] / 60)
        parts += [f"## {name}", f"{study['question']} ({minutes} minutes of processor time)"]
        parts += [f"![tau of every arm, and over the steps by level]({name}.png)", as_markdown(study)]
    return "\n\n".join(parts)


def _markdown_row(arm: Mapping[str, Any]) -> str:
    figures = [f"{f['mean']:.3f}" + ("" if f["sd"] is None else f" ± {f['sd']:.3f}") for f in arm["figures"].values()]
    difference, p = "", ""
    if "difference" in arm:
        difference = _signed(arm)
        p = f"{arm['p_holm']:.4f}"
    read = ", ".join(level if len(arm["read_at"]) == 1 else f"{level} {n}" for level, n in arm["read_at"].items())
    levels = ", ".join(f"{level} {mean:.3f}" for level, mean in arm["levels"].items())
    return f"| {' | '.join([arm['name'], *figures, difference, p, read, levels])} |"


def _signed(row: Mapping[str, Any]) -> str:
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(row["difference"], *row["ci95"])


def draw(study: Mapping[str, Any]) -> bytes:
    """A PNG: for each group bars with each seed's mean, and the learning curves of every level."""
    from matplotlib.figure import Figure

    groups = study["groups"]
    heights = [1.2 + 0.25 * len(group["arms"]) for group in groups]
    figure = Figure(figsize=(12, sum(heights)), layout="constrained")
    rows = figure.subplots(
        len(groups), 4, squeeze=False, gridspec_kw={"height_ratios": heights, "width_ratios": [2, 1, 1, 1]}
    )
    for row, group in zip(rows, groups, strict=True):
        _draw_bars(row[0], group, study["metric"])
        for axes, level in zip(row[1:], ("child", "parent", "both"), strict=True):
            _draw_curves(axes, group, level)
    figure.suptitle(f"{study['question']} ({study['about']})", fontsize=10, parse_math=False)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=90, format="png")
    return drawn.getvalue()


def _draw_bars(axes, group: Mapping[str, Any], metric: str) -> None:
    for i, arm in enumerate(group["arms"]):
        figures = arm["figures"][metric]
        axes.barh(i, figures["mean"], color=f"C{i % 10}", alpha=0.5)
        axes.plot(figures["seeds"], [i] * len(figures["seeds"]), "k.", ms=3)
        if "ci95" in arm:  # of the difference, drawn around the arm's mean
            low, high = (figures["mean"] + end - arm["difference"] for end in arm["ci95"])
            axes.plot([low, high], [i, i], color=f"C{i % 10}", lw=2)
    axes.set_yticks(range(len(group["arms"])), [arm["name"] for arm in group["arms"]], fontsize=7)
    axes.invert_yaxis()
    axes.set_title(group["name"], fontsize=8, parse_math=False)
    axes.set_xlabel(metric.replace("_", " "), fontsize=7)


def _draw_curves(axes, group: Mapping[str, Any], level: str) -> None:
    for i, arm in enumerate(group["arms"]):
        curve = arm["curve"].get(level) or (arm["curve"].get("joint") if level == "both" else None) or []
        points = np.array(curve).reshape(-1, 3)
        axes.plot(points[:, 0], points[:, 1], color=f"C{i % 10}", lw=1, ls="-" if i < 10 else "--")
    name = "both, or joint" if level == "both" else level
    axes.set_title(f"{name}: validation tau by step", fontsize=7)
    axes.tick_params(labelsize=6)
