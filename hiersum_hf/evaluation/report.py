"""Pictures of single videos and one page about a run, which needs neither network nor other files.

Letters: N sampled frames, U annotators, n_frames original frames.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.evaluation.diagnosis import Check, reference_for, scores_of
from hiersum_hf.evaluation.plot import plot_histogram, plot_prediction
from hiersum_hf.files.atomic import write_bytes
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import METRICS


PAGE = "report.html"
MAX_EMBEDDED = 12_000_000  # bytes of pictures in a page that is to be mailed
FACTS = (
    *("split", "selected_on", "checkpoint", "score_head", "encoders", "encoder_mismatch", "selection", "dropped"),
    *("data_fingerprint", "seed", "command", "versions"),
)
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #ddd }
th[data-sort] { cursor: pointer; text-decoration: underline } img { max-width: 100% }
td { overflow-wrap: anywhere }
"""
SORT = """
for (const head of document.querySelectorAll("th[data-sort]")) head.onclick = () => {
  const body = head.closest("table").tBodies[0], up = head.dataset.up !== "1";
  const key = row => row.cells[head.cellIndex].textContent;
  const number = row => key(row) === "-" ? -Infinity : parseFloat(key(row));
  const order = head.dataset.sort === "number" ? (a, b) => number(a) - number(b) || 0
    : (a, b) => key(a).localeCompare(key(b));
  const rows = [...body.rows].sort(up ? order : (a, b) => order(b, a));
  head.dataset.up = up ? "1" : "0";
  body.append(...rows);
};
"""


def plot_videos(
    records: Sequence[VideoRecord],
    scores: Mapping[str, np.ndarray],
    results: dict[str, Any],
    folder: str | Path,
    limit: int = 20,
    overwrite: bool = False,
) -> list[Path]:
    """Draws single videos: the prediction, the annotators, what is selected, with tau and F1 in the title.

    Args:
        records: The videos that were scored.
        scores: (N,) importance for each video id.
        results: The content of their `results.json`.
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
    paths = {name: folder / file_name(name) for name in _spread_by_tau(results["per_video"], limit)}
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
    """A PNG's name that any file system takes, different for every id."""
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", video_id)[:60]
    return f"{readable}-{hashlib.sha256(video_id.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}.png"


def _spread_by_tau(per_video: dict[str, dict[str, Any]], limit: int) -> list[str]:
    """At most `limit` ids from the lowest tau to the highest, those without one last."""
    taus = {name: figures.get("kendall_tau") for name, figures in per_video.items()}
    ranked = sorted(taus, key=lambda name: (taus[name] is None, taus[name] or 0.0))
    return [ranked[i] for i in np.linspace(0, len(ranked) - 1, min(limit, len(ranked))).round().astype(int)]


def _picture(record: VideoRecord, scores: np.ndarray, results: dict[str, Any]) -> bytes:
    reference = reference_for(record, results)
    chosen = reference.selection(scores)
    if chosen is None:
        chosen = np.zeros(reference.n_frames, bool)
    edges = np.flatnonzero(np.diff(chosen, prepend=False, append=False))  # starts and ends in turn
    figures = results["per_video"][record.video_id]
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
    results: dict[str, Any],
    folder: str | Path,
    images: Sequence[Path],
    checks: Sequence[Check] = (),
    overwrite: bool = False,
) -> Path:
    """Writes `folder`/report.html: figures beside random and human, every video, pictures, how they came about.

    One file to be mailed: pictures are inside it, up to 12 MB of them; the others are named. It loads nothing.

    Args:
        results: The content of a `results.json`.
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
    title = f"{results['scorer']} on {results['dataset']} {results['part']}"
    level = f"{results['level']} level, " if results["level"] else ""
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(level)}{len(results['per_video'])} videos, protocol {escape(results['protocol'])}</p>",
        _figures(results),
        _folds(results),
        _diagnosis(checks),
        _histogram(results),
        _videos(results),
        *_pictures(images),
        "<h2>How it came about</h2>",
        _table((), [(key.replace("_", " "), _words(results[key])) for key in FACTS if results.get(key) is not None]),
    ]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    head += f"<title>{escape(title)}</title><style>{STYLE}</style>"
    page = (
        f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}<script>{SORT}</script></body></html>"
    )
    write_bytes(path, page.encode("utf-8", "replace"))
    return path


def _figures(results: dict[str, Any]) -> str:
    """The metrics that the protocol has, with intervals, above the baselines."""
    shown = [name for name, value in results["metrics"].items() if value is not None]
    rows = [(results["scorer"], *(_figure(results["metrics"][m], results["ci95"].get(m)) for m in shown))]
    for name, figures in results["baselines"].items():
        if figures is not None and name != results["scorer"]:
            errors = figures.get("standard_error") or {}
            rows.append((name, *(_figure(figures.get(m)) + _error(errors.get(m)) for m in shown)))
    note = "In brackets: 95 % bootstrap interval over videos; ±: standard error of the random draws."
    return _table(("scorer", *(METRICS.get(m, m) for m in shown)), rows) + f"<p>{note}{_about_captured(shown)}</p>"


def _about_captured(shown: Sequence[str]) -> str:
    if "captured" not in shown:
        return ""
    return (
        " Captured: importance above the video's mean in the 15 % that these scores select for people (key-shot: by "
        "the field's rule), as a share of the most that 15 % could hold. 1 is the best possible, 0 is chance."
    )


def _folds(results: dict[str, Any]) -> str:
    if not results.get("folds"):
        return ""
    shown = [name for name, value in results["metrics"].items() if value is not None]
    rows = [(str(i), *(_figure(fold["metrics"].get(m)) for m in shown)) for i, fold in enumerate(results["folds"])]
    rows.append(("standard deviation", *(_figure(results["spread"].get(m)) for m in shown)))
    return "<h2>Folds</h2>" + _table(("fold", *(METRICS.get(m, m) for m in shown)), rows)


def _diagnosis(checks: Sequence[Check]) -> str:
    if not checks:
        return ""
    said = {True: "ok", False: "not well", None: "not possible"}
    rows = [(c.name, _words(c.value), c.expected, said[c.ok], c.meaning if c.ok is False else "") for c in checks]
    return "<h2>Diagnosis</h2>" + _table(("check", "found", "expected", "", ""), rows)


def _histogram(results: dict[str, Any]) -> str:
    taus = [figures.get("kendall_tau") for figures in results["per_video"].values()]
    known = [tau for tau in taus if tau is not None]
    if not known:
        return ""
    marks = {results["scorer"]: results["metrics"]["kendall_tau"]}
    marks |= {name: (results["baselines"].get(name) or {}).get("kendall_tau") for name in ("random", "human")}
    drawn = plot_histogram(known, {name: tau for name, tau in marks.items() if tau is not None}, "tau of a video")
    return f"<h2>Videos</h2>{_image(drawn, 'tau per video')}"


def _videos(results: dict[str, Any]) -> str:
    per_video = results["per_video"]
    shown = [name for name in METRICS if any(figures.get(name) is not None for figures in per_video.values())]
    rows = [
        (video, *(_figure(figures.get(m)) for m in shown), "constant" if figures.get("constant_prediction") else "")
        for video, figures in per_video.items()
    ]
    return _table(("video", *(METRICS[m] for m in shown), ""), rows, sortable=True)


def _pictures(images: Sequence[Path]) -> list[str]:
    """The pictures themselves as long as they fit, then the names of the others."""
    parts, room = [], MAX_EMBEDDED
    for path in images:
        room -= path.stat().st_size
        image = _image(path.read_bytes(), path.stem) if room >= 0 else f"see {escape(path.name)}"
        parts.append(f"<p>{image}</p>")
    return ["<h2>Pictures</h2>", *parts] if parts else []


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], sortable: bool = False) -> str:
    """Rows of plain text as HTML; a sortable table sorts its first column as text, the others as numbers."""
    kinds = ["text", *["number"] * len(headings)] if sortable else []
    marks = [f' data-sort="{kind}"' for kind in kinds] or [""] * len(headings)
    head = "".join(f"<th{mark}>{escape(heading)}</th>" for heading, mark in zip(headings, marks, strict=False))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _image(picture: bytes, name: str) -> str:
    return f'<img alt="{escape(name)}" src="data:image/png;base64,{b64encode(picture).decode()}">'


def _figure(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")


def _error(value: float | None) -> str:
    return "" if value is None else f" ± {value:.4f}"


def _words(value: Any) -> str:
    """A fact as text: a dict as `name value` pairs without those that are empty or 0, "none" if all are."""
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_words(part)}" for key, part in value.items() if part) or "none"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _refuse(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: expected no such file yet. Give --overwrite to replace it.")
