"""Which videos have their features, known without reading the videos.

A folder of features has .done-HOST.jsonl, a line for each video as it is done:

    [path, size, time of change, time of the last change of its entry, settings, file, frames, warnings]

Times are in nanoseconds. A video whose path, size and both times are the same is not read again. One that was moved,
renamed, touched or replaced is, and then found by its content. The second time is set by the system and by no program,
so that a video replaced by one of the same size and time is noticed. Times are compared for equality alone: a clock
that is wrong does no harm. Lines that are cut off or damaged count as none; without the file all videos are read.

Of a folder elsewhere (`hiersum_hf.files.remote`) the lists are fetched at the start. Each upload of features is
followed by a list of its own that begins with their names, {"with": [file, ...]}: it counts as long as all of them are
there.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hiersum_hf.features.shards import holder, pack
from hiersum_hf.files.atomic import HOST
from hiersum_hf.files.remote import contents, send, ship, uri_of


SHIPPED, SHIPPED_S = 64, 300.0  # videos, or seconds, whose features are uploaded together


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
        self.there: set[str] | None = None  # names of what is elsewhere
        self.unsent, self.sent_s = list[tuple[str, str]](), time.monotonic()  # file and line
        self.shipped: dict[str, Path] = {}  # what each file of features went in
        if uri_of(folder):
            self.there, lists = contents(folder, ".done-*.jsonl")
            for text in lists:
                first, *rest = text.splitlines() or [b""]
                for line in rest if _shipped(first) <= self.there else ():
                    self._read(line)
        self.lines = folder / f".done-{HOST}.jsonl"

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
        if uri := uri_of(video):
            return [uri, found.st_size, found.st_mtime_ns, 0, self.settings]
        return [os.path.abspath(video), found.st_size, found.st_mtime_ns, found.st_ctime_ns, self.settings]

    def find(self, facts: list[Any]) -> DoneVideo | None:
        """Find what was done of a video; None where its features are not there."""
        known = self.known.get(_short(facts))
        return known if known and (self.there is not None or holder(self.folder, known.file)) else None

    def add(self, facts: list[Any], file: str, frames: int, warnings: Sequence[str]) -> None:
        """Write down a video whose features are there."""
        line = f"\n{json.dumps([*facts, file, frames, list(warnings)])}\n"  # a line cut off before it ends there
        self.known[_short(facts)] = DoneVideo(file, frames, tuple(warnings))
        if self.there is not None:
            self.unsent.append((file, line))
            return
        with suppress(OSError), self.lines.open("ab", buffering=0) as lines:  # without it the video is read once more
            lines.write(line.encode())

    def ship(self, all_of_them: bool = True) -> bool:
        """Upload what was done since the last time, features first; of a folder on this machine nothing.

        Args:
            all_of_them: False waits until there are `SHIPPED` videos, or `SHIPPED_S` have passed.

        Returns:
            Whether something was uploaded.

        Raises:
            OSError: It cannot be written there.
        """
        due = len(self.unsent) >= SHIPPED or time.monotonic() - self.sent_s > SHIPPED_S
        if not self.unsent or not (all_of_them or due):
            return False
        names = list(dict.fromkeys(file for file, _ in self.unsent))
        pack(self.folder, names)
        held = {name: file for name in names if (file := holder(self.folder, name))}
        self.shipped |= held
        files = list(dict.fromkeys(held.values()))
        ship(*files)
        text = json.dumps({"with": [file.name for file in files]}) + "".join(line for _, line in self.unsent)
        send(self.folder / f".done-{secrets.token_hex(8)}.jsonl", text.encode())
        self.unsent, self.sent_s = [], time.monotonic()
        return True


def _shipped(line: bytes) -> set[str]:
    """Read the names of the files that were uploaded with a list; of a damaged line one that no file has."""
    try:
        return set(map(str, json.loads(line)["with"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return {""}


def done_in(folder: str | Path, settings: str) -> Done:
    """Return the list of a folder, read once in this process."""
    return _done(os.path.abspath(folder), settings)


@lru_cache(maxsize=4)
def _done(folder: str, settings: str) -> Done:
    return Done(Path(folder), settings)


def _short(facts: list[Any]) -> bytes:
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).digest()
