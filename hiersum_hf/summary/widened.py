"""Summaries whose segments become wider than they were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hiersum_hf.records import Segment, Summary


def widened(summary: Summary, wide: Sequence[Segment]) -> Summary:
    """Give a summary wider segments, one for each of its own.

    Those that then overlap or touch become one with the greater score. A note says how much is added.
    """
    segments, number_of = list[Segment](), list[int]()
    for segment in wide:  # in the order of the video
        if segments and segment.start_s <= segments[-1].end_s:
            last = segments.pop()
            segment = Segment(last.start_s, max(last.end_s, segment.end_s), max(last.score, segment.score))
        segments.append(segment)
        number_of.append(len(segments) - 1)
    moved_s = [
        abs(a - b)
        for own, other in zip(summary.segments, wide, strict=True)
        for a, b in ((own.start_s, other.start_s), (own.end_s, other.end_s))
    ]
    steps = [step | {"segments": sorted({number_of[i] for i in step["segments"]})} for step in summary.steps]
    wider = replace(summary, segments=tuple(segments), steps=tuple(steps))
    added_s = wider.length_s - summary.length_s
    note = (
        f"Segments were widened to whole groups of pictures, which are copied: {added_s:.1f} s more in all, borders "
        f"moved by up to {max(moved_s):.1f} s."
    )
    return replace(wider, warnings=(*summary.warnings, note))
