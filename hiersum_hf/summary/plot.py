"""Pictures of a summary, and of scores beside the annotators'."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.records import Summary, clock, clock_step, in_a_row


TITLE_LETTERS = 110  # that fit over the scores
SHEET_COLUMNS = 5
PICTURE_WIDTH, PICTURE_HEIGHT = 320, 960  # of one picture on the sheet, at most so high


def plot_summary(summary: Summary, path: str | Path) -> None:
    """Draw the frame scores over time as a PNG.

    Shots are steps, the chosen segments shaded, key sentences ticks.
    """
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
    axes.set_title(textwrap.fill(summary.title, TITLE_LETTERS), loc="left", fontsize=10, parse_math=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def contact_sheet(summary: Summary, pictures: Mapping[int, np.ndarray], path: str | Path) -> None:
    """Draw one picture of each segment as a PNG.

    Each has its time and score, or the steps it shows; five stand in a row.

    Args:
        summary: Names the segments.
        pictures: For each segment to show, by its number from 0: uint8 (h, w, 3), all of one size.
        path: The file to write.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = next(iter(pictures.values())).shape[:2]
    columns, line, gap = min(SHEET_COLUMNS, len(pictures)), 24, 8
    rows = -(-len(pictures) // columns)
    font, across = ImageFont.load_default(14), columns * (width + gap) + gap
    title = _wrapped(summary.title, font, across - 2 * gap)
    head = line * len(title)
    sheet = Image.new("RGB", (across, rows * (height + line + gap) + head + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate(title):
        draw.text((gap, gap // 2 + line * number), text, fill="black", font=font)
    for place, number in enumerate(sorted(pictures)):
        x, y = gap + place % columns * (width + gap), head + gap + place // columns * (height + line + gap)
        segment = summary.segments[number]
        shown = in_a_row(summary.steps_in(number)) or f"score {segment.score:.2f}"
        label = _shortened(f"{clock(segment.start_s)} to {clock(segment.end_s)}   {shown}", font, width)
        sheet.paste(Image.fromarray(pictures[number]), (x, y))
        draw.text((x, y + height + 3), label, fill="black", font=font)
    sheet.save(path)


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    """Break the text between words into lines that are no wider than this; what is wider itself is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_shortened(line, font, width) for line in lines]


def _shortened(text: str, font: Any, width: int) -> str:
    """Cut the text so that it is no wider than this."""
    if font.getlength(text) <= width:
        return text
    fits = next(n for n in range(len(text), 0, -1) if font.getlength(f"{text[:n]}…") <= width)
    return f"{text[:fits]}…"
