"""Pictures of a summary."""

from __future__ import annotations

from pathlib import Path

from hiersum_hf.records import Summary


def plot_summary(summary: Summary, path: str | Path) -> None:
    """Draws the frame scores over time as a PNG: shots as steps, the chosen segments shaded, key sentences as ticks."""
    from matplotlib.figure import Figure

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
    axes.set(xlim=(0, summary.duration_s), ylim=(0, 1), xlabel="seconds", ylabel="importance")
    scorer = summary.scorer if summary.level is None else f"{summary.scorer}, {summary.level} level"
    total_s = sum(segment.end_s - segment.start_s for segment in summary.segments)
    axes.set_title(f"{summary.video}: {total_s:.1f} of {summary.duration_s:.1f} s ({scorer})", loc="left", fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)
