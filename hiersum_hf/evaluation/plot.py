"""Plot scores beside the annotators, and the figures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_prediction(
    title: str,
    times_s: np.ndarray,
    scores: np.ndarray,
    users: np.ndarray | None,
    chosen_s: np.ndarray,
    duration_s: float,
) -> bytes:
    """Draw one video's scores as a PNG.

    The prediction is blue, every annotator thin, their mean thick, and the selection shaded. Every curve is scaled to
    [0, 1], since annotators and networks use scales of their own.

    Args:
        title: Drawn as it is, whatever signs it holds.
        times_s: (N,) seconds of the sampled frames.
        scores: (N,) importance of the sampled frames.
        users: (U, N') annotators' scores, N' <= N, NaN where a frame has none; None without any.
        chosen_s: (K, 2) the selected stretches, [start, end) in seconds.
        duration_s: Length of the video.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots()
    for i, (start_s, end_s) in enumerate(chosen_s):
        axes.axvspan(start_s, end_s, color="tab:orange", alpha=0.3, lw=0, label="selected" if i == 0 else None)
    if users is not None:
        seen_s = times_s[: users.shape[1]]
        for i, user in enumerate(users if len(users) > 1 else []):
            label = f"{len(users)} annotators" if i == 0 else None
            axes.plot(seen_s, _scaled(user), color="tab:gray", lw=0.5, alpha=0.4, label=label)
        label = "annotators' mean" if len(users) > 1 else "reference"
        axes.plot(seen_s, _scaled(users.mean(axis=0)), color="black", lw=2, alpha=0.8, label=label)
    axes.plot(times_s, _scaled(scores), color="tab:blue", lw=1.2, label="prediction")
    axes.set(xlim=(0, duration_s), ylim=(-0.02, 1.02), xlabel="seconds", ylabel="importance, scaled")
    axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return _png(figure)


def plot_histogram(values: Sequence[float], marks: dict[str, float], label: str) -> bytes:
    """Draw as a PNG how a metric spreads over videos.

    Args:
        values: One figure a video.
        marks: Where to draw a line, by name, such as the random baseline.
        label: Name of the metric.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.hist(values, bins=min(30, max(5, len(values) // 3)), color="tab:blue", alpha=0.6)
    for (name, value), color in zip(marks.items(), ("tab:blue", "tab:red", "tab:green"), strict=False):
        axes.axvline(value, color=color, lw=1.5, ls="--", label=f"{name} {value:.3f}".replace("$", r"\$"))
    axes.set(xlabel=label, ylabel="videos")
    if marks:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return _png(figure)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Scale values to [0, 1], constant ones to 0."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return np.asarray((values - low) / (high - low if high > low else 1.0))


def _png(figure: Figure) -> bytes:
    drawn = BytesIO()
    figure.savefig(drawn, dpi=120, format="png")
    return drawn.getvalue()
