"""Which videos have their features, known without reading the videos.

A folder of features has .done-HOST.jsonl, a line for each video as it is done:

    [path, size, time of change, time of the last change of its entry, settings, file, frames, warnings]

Times are in nanoseconds. A video whose path, size and both times are the same is not read again. One that was moved,
renamed, touched or replaced is, and then found by its content. The second time is set by the system and by no program,
so that a video replaced by one of the same size and time is noticed. Times are compared for equality alone: a clock
that is wrong does no harm. Lines that are cut off or damaged count as none; without the file all videos are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hiersum_hf.features.shards import holder


class DoneVideo(NamedTuple):
    """Name of the file of features, its number of frames, and what the reader should know."""

    file: str
    frames: int
    warnings: tuple[str, ...]


class Done:
    """Videos whose features are in a folder, of one kind of settings."""

    def __init__(self, folder: Path, settings: str):
        self.folder, self.settings = folder, settings
        self.known: dict[bytes, DoneVideo] = {}
        for lines in sorted(folder.glob(".done-*.jsonl")):
            with lines.open("rb") as file:
                for line in file:
                    self._read(line)
        # Processes of one machine append whole lines to one file, other machines have their own
        self.lines = folder / f".done-{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}.jsonl"

    def _read(self, line: bytes) -> None:
        try:
            *facts, file, frames, warnings = json.loads(line)
            if len(facts) == 5 and facts[4] == self.settings and Path(file).name == file:
                self.known[_short(facts)] = DoneVideo(file, int(frames), tuple(map(str, warnings)))
        except (ValueError, TypeError, RecursionError):
            return

    def facts(self, video: Path) -> list[Any]:
        """Return what tells whether a video is still the same; taken before it is read.

        Raises:
            FileNotFoundError: There is no such video.
        """
        try:
            found = video.stat()
        except FileNotFoundError:
            raise FileNotFoundError(f"{video}: expected a video file, found no such file") from None
        return [os.path.abspath(video), found.st_size, found.st_mtime_ns, found.st_ctime_ns, self.settings]

    def find(self, facts: list[Any]) -> DoneVideo | None:
        """Find what was done of a video; None where its features are not there."""
        known = self.known.get(_short(facts))
        return known if known and holder(self.folder, known.file) else None

    def add(self, facts: list[Any], file: str, frames: int, warnings: Sequence[str]) -> None:
        """Write down a video whose features are there."""
        line = f"\n{json.dumps([*facts, file, frames, list(warnings)])}\n"  # a line cut off before it ends there
        with suppress(OSError), self.lines.open("ab", buffering=0) as lines:  # without it the video is read once more
            lines.write(line.encode())
        self.known[_short(facts)] = DoneVideo(file, frames, tuple(warnings))


def done_in(folder: str | Path, settings: str) -> Done:
    """Return the list of a folder, read once in this process."""
    return _done(os.path.abspath(folder), settings)


@lru_cache(maxsize=4)
def _done(folder: str, settings: str) -> Done:
    return Done(Path(folder), settings)


def _short(facts: list[Any]) -> bytes:
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).digest()
