"""What reading a video met: unreadable parts, what changes on the way, an end that comes too early."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hiersum_hf.records import counted
from hiersum_hf.video.clock import Clock, format_of


MAX_MISSING_S = 1.0  # a file that ends earlier than announced is reported from here on


@dataclass
class Reading:
    """What reading a video met.

    Args:
        warnings: Sentences for a user.
        end_s: Where pictures and sound end if that is too early, else infinity.
        length_s: Where they end, and not later than announced.
    """

    warnings: list[str] = field(default_factory=list)
    end_s: float = math.inf
    length_s: float = 0.0


@dataclass
class Change:
    """What a stream was at first, what it became, when, and how often that changed in all."""

    was: str
    became: str
    time_s: float
    count: int = 1


@dataclass
class Faults:
    """What reading a stream met, in the stream's own ticks."""

    count: int = 0  # unreadable parts
    first: int = 0  # the last good frame before the first of them
    good: int = 0  # the last good frame
    backward: list[float] = field(default_factory=list)  # seconds of frames whose times go back
    seen: dict[str, str] = field(default_factory=dict)  # what the pictures and the sound are now
    changes: dict[str, Change] = field(default_factory=dict)

    def add(self) -> None:
        """Count an unreadable part."""
        self.first = self.first if self.count else self.good
        self.count += 1

    def see(self, what: str, form: str, time_s: float) -> None:
        """Note what a stream is from `time_s` on."""
        before = self.seen.get(what, form)
        self.seen[what] = form
        if form != before and what in self.changes:
            self.changes[what].count += 1
        elif form != before:
            self.changes[what] = Change(before, form, time_s)

    def report(self, reading: Reading, path: str | Path, stream: Any, announced_s: float, clock: Clock) -> None:
        """Tell of unreadable parts, of what changes on the way, and of a file that ends too early."""
        origin_s = stream_start_s(stream)
        pictures_s, end_s = clock.pictures_end_s - origin_s, clock.end_s(origin_s)
        if len(clock.streams) == 1:  # the sound, if there is any, was not read: its end is that of the header
            told_s = float(stream.duration * stream.time_base) if stream.duration else announced_s
            end_s = end_s if pictures_s < told_s - MAX_MISSING_S else max(end_s, announced_s)
        if self.count:
            parts, first_s = counted(self.count, "unreadable part"), float(self.first * stream.time_base) - origin_s
            reading.warnings.append(f"{path}: skipped {parts}, the first after {max(0.0, first_s):.1f} s.")
        if stream.container.format.name == "concat":
            reading.warnings.append(f"{path}: {stream.container.metadata['note']}")
        reading.warnings += [f"{path}: {note}" for note in self._notes(clock, origin_s, end_s)]
        if end_s < announced_s - MAX_MISSING_S:
            found = f"the pictures end at {end_s:.1f} s of {announced_s:.1f} s"
            reading.warnings.append(f"{path}: {found}. Is the file whole?")
            reading.end_s = end_s
        reading.length_s = min(end_s, announced_s or math.inf)

    def _notes(self, clock: Clock, origin_s: float, end_s: float) -> Iterator[str]:
        """Say what changes on the way, each once."""
        state, pictures_s = clock.state, clock.pictures_end_s - origin_s
        if state.joins_s:
            times = counted(len(state.joins_s), "time")
            first_s = state.joins_s[0] - origin_s
            yield f"its clock starts again {times}, first at {first_s:.1f} s: what follows is taken to go on there."
        if state.gaps_s:
            gaps, (from_s, to_s) = counted(len(state.gaps_s), "gap"), state.gaps_s[0]
            first = f"{from_s - origin_s:.1f} to {to_s - origin_s:.1f} s"
            yield f"{gaps} in which no picture is stored, the first from {first}: the last picture stands there."
        if self.backward:
            pictures = counted(len(self.backward), "picture")
            yield f"its clock goes back after {self.backward[0]:.1f} s: {pictures} there are left out."
        for what, change in self.changes.items():
            times = f" ({change.count} changes in all)" if change.count > 1 else ""
            yield f"the {what} from {change.was} to {change.became} at {change.time_s:.0f} s{times}."
        if end_s > pictures_s + MAX_MISSING_S:
            yield f"the pictures end at {pictures_s:.1f} s, the sound later: the last picture stands."


def stream_start_s(stream: Any) -> float:
    """Tell when a stream starts on the clock of its file."""
    if format_of(stream.container) == "avi":  # counts its pictures from 0; of several files in one FFmpeg says 1
        return 0.0
    return float((stream.start_time or 0) * stream.time_base)
