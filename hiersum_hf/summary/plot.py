"""Pictures of a summary, and of scores beside the annotators'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.records import Summary, clock, clock_step


SHEET_COLUMNS = 5
PICTURE_WIDTH = 320  # of one picture on the sheet


def plot_summary(summary: Summary, path: str | Path) -> None:
    """Draws the frame scores over time as a PNG: shots as steps, the chosen segments shaded, key sentences as ticks."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator

    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots()
    for i, segment in enumerate(summary.segments):
        axes.axvspan(
            segment.start_s, segment.end_s, color="tab:orange", alpha=0.3, label="in the summary" if i == 0 else None
        )
    axes.plot(summary.scores["times_s"], summary.scores["values"], color="tab:blue", lw=1, label="frame score")
    bounds = [*(shot["start_s"] for shot in summary.shots), summary.duration_s]
    axes.stairs([shot["score"] for shot in summary.shots], bounds, color="tab:gray", lw=1.2, label="shot mean")
    spoken = [sentence["start_s"] for sentence in summary.key_sentences]
    if spoken:
        axes.plot(spoken, [0.02] * len(spoken), "|", color="tab:green", ms=10, label="key sentence", clip_on=False)
    axes.set(xlim=(0, summary.duration_s), ylim=(0, 1), ylabel="importance")
    axes.xaxis.set_major_locator(MultipleLocator(clock_step(summary.duration_s)))
    axes.xaxis.set_major_formatter(lambda time_s, _: clock(time_s))
    axes.set_title(summary.title, loc="left", fontsize=10, parse_math=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def contact_sheet(summary: Summary, pictures: Mapping[int, np.ndarray], path: str | Path) -> None:
    """Draws one picture of each segment with its time and score, five in a row, as a PNG.

    Args:
        pictures: For each segment to show, by its number from 0: uint8 (h, w, 3), all of one size.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = next(iter(pictures.values())).shape[:2]
    columns, line, gap = min(SHEET_COLUMNS, len(pictures)), 24, 8
    rows = -(-len(pictures) // columns)
    size = columns * (width + gap) + gap, rows * (height + line + gap) + line + gap
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    draw.text((gap, gap // 2), summary.title, fill="black", font=font)
    for place, number in enumerate(sorted(pictures)):
        x, y = gap + place % columns * (width + gap), line + gap + place // columns * (height + line + gap)
        segment = summary.segments[number]
        shown = "; ".join(summary.steps_in(number)) or f"score {segment.score:.2f}"
        label = _shortened(f"{clock(segment.start_s)} to {clock(segment.end_s)}   {shown}", draw, font, width)
        sheet.paste(Image.fromarray(pictures[number]), (x, y))
        draw.text((x, y + height + 3), label, fill="black", font=font)
    sheet.save(path)


def _shortened(text: str, draw: Any, font: Any, width: int) -> str:
    """The text, cut so that it is no wider than this."""
    if draw.textlength(text, font=font) <= width:
        return text
    fits = next(n for n in range(len(text), 0, -1) if draw.textlength(f"{text[:n]}…", font=font) <= width)
    return f"{text[:fits]}…"


def plot_prediction(
    title: str,
    times_s: np.ndarray,
    scores: np.ndarray,
    users: np.ndarray | None,
    chosen_s: np.ndarray,
    duration_s: float,
) -> bytes:
    """A PNG of one video's scores: the prediction, every annotator thin, their mean thick, the selection shaded.

    Every curve is scaled to [0, 1]: annotators and networks use scales of their own.

    Args:
        title: Drawn as it is, whatever signs it holds.
        times_s, scores: (N,) of the sampled frames.
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
    """A PNG of how a metric spreads over videos, with a line for each of `marks`, such as the random baseline."""
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
    """Values scaled to [0, 1], constant ones to 0."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low if high > low else 1.0)


def _png(figure) -> bytes:
    drawn = BytesIO()
    figure.savefig(drawn, dpi=120, format="png")
    return drawn.getvalue()
