"""Pictures of single videos and one page about a run, which needs neither network nor other files.

Letters: N sampled frames, U annotators, n_frames original frames.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.evaluation.diagnosis import Check, reference_for, scores_of
from hiersum_hf.evaluation.plot import plot_histogram, plot_prediction
from hiersum_hf.files.atomic import write_bytes
from hiersum_hf.files.templates import render
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import METRICS, Figures, Results, difference_cell


PAGE = "report.html"
MAX_EMBEDDED = 12_000_000  # bytes of pictures in a page that is to be mailed
FACTS = (
    *("split", "selected_on", "checkpoint", "score_head", "encoders", "encoder_mismatch", "texts", "selection"),
    "dropped",
    *("data_fingerprint", "seed", "command", "versions"),
)
Row = tuple[str, ...]
Table = tuple[Row, Sequence[Row]]  # headings and rows, plain text


def plot_videos(
    records: Sequence[VideoRecord],
    scores: Mapping[str, np.ndarray],
    results: Results,
    folder: str | Path,
    limit: int = 20,
    overwrite: bool = False,
) -> list[Path]:
    """Draws single videos: the prediction, the annotators, what is selected, with tau and F1 in the title.

    Args:
        records: The videos that were scored.
        scores: (N,) importance for each video id.
        results: Their results.
        folder: Where the PNG files go; names are made from video ids and stay inside it.
        limit: How many videos, evenly spaced from the lowest to the highest tau.
        overwrite: Replace pictures of an earlier run.

    Returns:
        The PNG files, in the order of tau.

    Raises:
        FileExistsError: A picture is there and `overwrite` is not given.
        ValueError: A video's scores are missing or of another length; the message names the video.
    """
    folder = Path(folder)
    paths = {name: folder / file_name(name) for name in _spread_by_tau(results.per_video, limit)}
    for path in paths.values():
        _refuse(path, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = set()
    for record in records:
        if record.video_id in paths:
            write_bytes(paths[record.video_id], _picture(record, scores_of(record, scores), results))
            drawn.add(record.video_id)
    return [path for name, path in paths.items() if name in drawn]


def file_name(video_id: str) -> str:
    """Return a PNG's name that any file system takes, different for every id."""
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", video_id)[:60]
    return f"{readable}-{hashlib.sha256(video_id.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}.png"


def _spread_by_tau(per_video: Mapping[str, Figures], limit: int) -> list[str]:
    """At most `limit` ids from the lowest tau to the highest, those without one last."""
    taus = {name: figures.get("kendall_tau") for name, figures in per_video.items()}
    ranked = sorted(taus, key=lambda name: (taus[name] is None, taus[name] or 0.0))
    return [ranked[i] for i in np.linspace(0, len(ranked) - 1, min(limit, len(ranked))).round().astype(int)]


def _picture(record: VideoRecord, scores: np.ndarray, results: Results) -> bytes:
    reference = reference_for(record, results)
    chosen = reference.selection(scores)
    if chosen is None:
        chosen = np.zeros(reference.n_frames, bool)
    edges = np.flatnonzero(np.diff(chosen, prepend=False, append=False))  # starts and ends in turn
    figures = results.per_video[record.video_id]
    known = {label: figures.get(name) for name, label in METRICS.items() if name in ("kendall_tau", "f1")}
    title = ", ".join(f"{label} {value:.3f}" for label, value in known.items() if value is not None)
    return plot_prediction(
        f"{record.video_id[:80]}: {title}",
        record.frame_times_s,
        scores,
        reference.users,
        edges.reshape(-1, 2) * record.duration_s / reference.n_frames,
        record.duration_s,
    )


def write_page(
    results: Results,
    folder: str | Path,
    images: Sequence[Path],
    checks: Sequence[Check] = (),
    overwrite: bool = False,
) -> Path:
    """Write `folder`/report.html.

    It has the figures beside random and human, every video, pictures, and how they came about.

    One file to be mailed: pictures are inside it, up to 12 MB of them; the others are named. It loads nothing.

    Args:
        results: What an evaluation found.
        folder: Where the page goes.
        images: PNG files, from `plot_videos`.
        checks: From `diagnosis.diagnose`.
        overwrite: Replace the page of an earlier run.

    Raises:
        FileExistsError: A page is there and `overwrite` is not given.
    """
    path = Path(folder) / PAGE
    _refuse(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = [name for name, value in results.metrics.items() if value is not None]
    page = render(
        "report.html.j2",
        title=f"{results.scorer} on {results.dataset} {results.part}",
        results=results,
        figures=_figures(results, shown),
        captured="captured" in shown,
        folds=_folds(results, shown) if results.folds else None,
        checks=_diagnosis(checks),
        histogram=_histogram(results),
        videos=_videos(results),
        pictures=_pictures(images),
        facts=[(key.replace("_", " "), _words(value)) for key in FACTS if (value := getattr(results, key)) is not None],
    )
    write_bytes(path, page.encode("utf-8", "replace"))
    return path


def _figures(results: Results, shown: Sequence[str]) -> Table:
    """Return the metrics that the protocol has, with intervals, above the baselines and the difference to ridge."""
    rows = [(results.scorer, *(_figure(results.metrics[m], results.ci95.get(m)) for m in shown))]
    for name, baseline in results.baselines.items():
        if baseline is not None and name != results.scorer:
            errors = baseline.standard_error or {}
            rows.append((name, *(_figure(baseline.metrics.get(m)) + _error(errors.get(m)) for m in shown)))
    if results.against_ridge:
        rows.append((f"{results.scorer} - ridge", *(difference_cell(results.against_ridge.get(m)) for m in shown)))
    return ("scorer", *(METRICS.get(m, m) for m in shown)), rows


def _folds(results: Results, shown: Sequence[str]) -> Table:
    """Return the metrics of each fold, above their spread."""
    spread, folds = results.spread or {}, results.folds or ()
    rows = [(str(i), *(_figure(fold.metrics.get(m)) for m in shown)) for i, fold in enumerate(folds)]
    rows.append(("standard deviation", *(_figure(spread.get(m)) for m in shown)))
    return ("fold", *(METRICS.get(m, m) for m in shown)), rows


def _diagnosis(checks: Sequence[Check]) -> list[Row]:
    """Return what each check found, and what it means where it is not well."""
    said = {True: "ok", False: "not well", None: "not possible"}
    return [(c.name, _words(c.value), c.expected, said[c.ok], c.meaning if c.ok is False else "") for c in checks]


def _histogram(results: Results) -> str | None:
    """Return tau per video as a PNG in base64, or None where no video has one."""
    taus = [figures.get("kendall_tau") for figures in results.per_video.values()]
    known = [tau for tau in taus if tau is not None]
    if not known:
        return None
    marks = {results.scorer: results.metrics["kendall_tau"]}
    for name in ("random", "human"):
        if baseline := results.baselines.get(name):
            marks[name] = baseline.metrics.get("kendall_tau")
    drawn = plot_histogram(known, {name: tau for name, tau in marks.items() if tau is not None}, "tau of a video")
    return b64encode(drawn).decode()


def _videos(results: Results) -> Table:
    """Return the figures of each video."""
    per_video = results.per_video
    shown = [name for name in METRICS if any(figures.get(name) is not None for figures in per_video.values())]
    rows = [
        (video, *(_figure(figures.get(m)) for m in shown), "constant" if figures.get("constant_prediction") else "")
        for video, figures in per_video.items()
    ]
    return ("video", *(METRICS[m] for m in shown), ""), rows


def _pictures(images: Sequence[Path]) -> list[tuple[str, str | None]]:
    """Return the pictures as PNG in base64 as long as they fit, then the names of the others."""
    shown: list[tuple[str, str | None]] = []
    room = MAX_EMBEDDED
    for path in images:
        room -= path.stat().st_size
        shown.append((path.stem, b64encode(path.read_bytes()).decode()) if room >= 0 else (path.name, None))
    return shown


def _figure(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")


def _error(value: float | None) -> str:
    return "" if value is None else f" ± {value:.4f}"


def _words(value: Any) -> str:
    """Return a fact as text: a dict as `name value` pairs without those that are empty or 0, "none" if all are."""
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_words(part)}" for key, part in value.items() if part) or "none"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _refuse(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: expected no such file yet. Give --overwrite to replace it.")
