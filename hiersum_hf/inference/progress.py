"""How far many videos are, told on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from hiersum_hf.records import clock, counted


class Progress:
    """How far videos are, on stderr: in place on a terminal, else a line every half a minute."""

    def __init__(self, videos: int, size: int):
        self.videos, self.size, self.done, self.failed, self.done_size, self.video_s = videos, size, 0, 0, 0, 0.0
        self.start_s = self.told_s = time.monotonic()

    def add(self, size: int, video_s: float, failed: bool) -> None:
        self.done, self.failed, self.done_size = self.done + 1, self.failed + failed, self.done_size + size
        self.video_s += video_s

    def tell(self, cpus: Callable[[], tuple[int, int]], last: bool = False) -> None:
        now, in_place = time.monotonic(), sys.stderr.isatty()
        if not self.videos or (not last and now - self.told_s < (1 if in_place else 30)):
            return
        self.told_s = now
        clear_line()
        end = "\n" if last or not in_place else ""
        sys.stderr.write(self.line(now - self.start_s, *cpus()) + end)
        sys.stderr.flush()

    def line(self, wall_s: float, cpus: int, nodes: int) -> str:
        """Say it in a line; what is left is estimated by the sizes of the files."""
        failed = f", {self.failed:,} failed" if self.failed else ""
        left = f", {clock(wall_s * (self.size / self.done_size - 1))} left" if self.done_size else ""
        speed = f"{self.video_s / max(wall_s, 1e-9):.1f} x as fast as they play"
        where = f"{counted(cpus, 'CPU')} on {counted(nodes, 'node')}" if nodes else "waiting for a node with a CPU"
        done = (
            f"{self.done:,} of {self.videos:,} video{'s' * (self.videos != 1)}{failed}, {clock(self.video_s)} of video"
        )
        return f"{done}, {speed}{left}, {where}"


def clear_line() -> None:
    """Take the line of the progress away, where other lines are to come."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
