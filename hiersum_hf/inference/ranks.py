"""Ranks that share videos among themselves and end together.

`accelerate launch` and torchrun stop all ranks as soon as one ends with an error, so that a rank which met bad files
would take the others' work with it. Here it goes on, and all ranks end once the last is through. What ranks say to each
other goes through the store of the launcher (environment: MASTER_ADDR, MASTER_PORT). Without a launcher, where only
RANK and WORLD_SIZE are set, they need no word from each other and each ends by itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from hiersum_hf.files.atomic import aside
from hiersum_hf.files.remote import named, send, uri_of
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import counted


MEETING = timedelta(minutes=30)  # until all ranks have started
LONGEST = timedelta(days=365)  # until the last rank is through
FAILED = "failed.jsonl"
RUNS = count()


@dataclass(frozen=True)
class Ranks:
    """A rank among others.

    Args:
        rank, world_size: Its number, from 0, and how many there are.
        store: What ranks under a launcher share; None without one.
    """

    rank: int = 0
    world_size: int = 1
    store: Any = None

    @classmethod
    def from_environment(cls) -> Ranks:
        """Read the rank from the environment and meet the others.

        Raises:
            HierSumError: The others do not come within half an hour.
        """
        rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if world_size == 1 or not {"MASTER_ADDR", "MASTER_PORT"} <= {*os.environ}:
            return cls(rank, world_size)
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        try:
            store, *_ = next(rendezvous("env://", timeout=MEETING))
        except (RuntimeError, ValueError) as error:
            place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            raise HierSumError(
                f"{place}: expected {world_size} ranks to meet there, found: {error}. Start all of them, or none with "
                "MASTER_ADDR: then each does its share alone."
            ) from error
        # Of several runs in one process each has its own words
        return cls(rank, world_size, PrefixStore(f"hiersum {next(RUNS)}", store))

    def take(self, videos: Sequence[Path]) -> Iterator[Path]:
        """Yield the videos that this rank is to do, one after the other.

        Of several ranks each claims the largest video that nobody has, with its copies, which have its size; without a
        launcher sizes are dealt out.
        """
        if self.world_size == 1:
            yield from videos
            return
        of_size: dict[int, list[Path]] = {}
        for video in videos:
            of_size.setdefault(size_of(video), []).append(video)
        for number, size in enumerate(sorted(of_size, reverse=True)):
            if number % self.world_size == self.rank if self.store is None else self._is_first(f"size {size}"):
                yield from of_size[size]

    def _is_first(self, claim: str) -> bool:
        return bool(self.store.add(claim, 1) == 1)

    def finish(self, told: dict[str, Any]) -> list[dict[str, Any]]:
        """Wait until all ranks are through, and return what each of them tells; without a launcher its own alone."""
        if self.store is None:
            return [told]
        return [json.loads(one) for one in self._meet("told", json.dumps(told))]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let the others finish, and the first one say so, before this rank ends, also where an error ends it."""
        try:
            yield
        except Exception as error:
            self._end({"error": str(error) or type(error).__name__})
            raise
        self._end({})

    def _end(self, told: dict[str, Any]) -> None:
        if self.store is not None and not self.store.check([f"told {self.rank}"]):
            self.finish(told)
        self._meet("end")

    def _meet(self, word: str, told: str = "") -> list[bytes]:
        """Wait for all ranks at a point of the way, and return what they tell there."""
        if self.store is None:
            return []
        sys.stdout.flush()  # the first rank to end with an error ends the others
        ranks = range(self.world_size)
        self.store.set(f"{word} {self.rank}", told)
        self.store.wait([f"{word} {rank}" for rank in ranks], LONGEST)
        heard = [self.store.get(f"{word} {rank}") for rank in ranks]
        self.store.set(f"{word} heard {self.rank}", "")
        if self.rank == 0:  # it may hold the store, so it goes last
            self.store.wait([f"{word} heard {rank}" for rank in ranks], LONGEST)
        return heard


class Failures:
    """Videos that failed, in OUT/failed.jsonl: a line {"video", "error"} for each.

    Of several ranks each writes OUT/failed-RANK.jsonl as it goes, which the first one puts together at the end; where a
    rank died they stay. Files of an earlier run go when this one starts.

    Where the output is elsewhere, those of ranks stay, and an empty file says that none failed: it is written first, so
    that an output that cannot be written to is refused before the work.

    Raises:
        OSError: It cannot be written to.
    """

    def __init__(self, output: Path | None, ranks: Ranks):
        self.output, self.ranks, self.reasons = output, ranks, dict[str, str]()
        if output is None:  # nothing is written
            return
        for file in output.glob("failed-*.jsonl"):
            number = file.stem.removeprefix("failed-")
            if number.isdigit() and int(number) % ranks.world_size == ranks.rank:
                file.unlink(missing_ok=True)
        if ranks.rank == 0:
            (output / FAILED).unlink(missing_ok=True)
        if uri_of(output):
            send(self.file, b"")

    @property
    def file(self) -> Path:
        """The file of this rank."""
        output = self.output or Path()
        return _file(output, self.ranks.rank) if self.ranks.world_size > 1 else output / FAILED

    def add(self, video: Path, error: Exception) -> None:
        """Write down a video and why it failed."""
        name, reason = uri_of(video) or str(video), named(str(error))
        self.reasons[name] = reason
        if self.output is None:
            return
        self.output.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"video": name, "error": reason}) + "\n")

    def send(self) -> None:
        """Upload the file of this rank where the output is elsewhere.

        Raises:
            OSError: It cannot be written there.
        """
        if self.output and uri_of(self.output) and self.file.is_file():
            send(self.file)

    def merge(self) -> None:
        """Put the files of all ranks that are through into one."""
        if self.output is None or uri_of(self.output):
            return
        files = [file for rank in range(self.ranks.world_size) if (file := _file(self.output, rank)).is_file()]
        if not files:
            return
        with aside(self.output / FAILED) as partial:
            partial.write_bytes(b"".join(file.read_bytes() for file in files))
        for file in files:
            file.unlink()


def tell_all(told: Sequence[dict[str, Any]], output: Path) -> list[str]:
    """Say what ranks made together, in lines.

    Args:
        told: Of each rank its numbers of "videos" and of those that "failed", or the "error" that ended it.
        output: Where the names of those that failed are.
    """
    videos, failed = (sum(one.get(key, 0) for one in told) for key in ("videos", "failed"))
    where = output / ("failed-*.jsonl" if uri_of(output) else FAILED)
    names = f", named in {where}" if failed else ""
    lines = [f"all {len(told)} ranks: {counted(videos, 'video')} done, {failed} failed{names}"]
    return lines + [f"rank {rank} ended early: {one['error']}" for rank, one in enumerate(told) if "error" in one]


def _file(output: Path, rank: int) -> Path:
    return output / f"failed-{rank}.jsonl"


def size_of(video: Path) -> int:
    """Return the size of a file, 0 where it has gone meanwhile."""
    try:
        return video.stat().st_size
    except OSError:
        return 0
