"""Kept features of many videos in few files.

    CACHE/features-<random>.zip    up to 256 of the files that `hiersum_hf.features.cache` keeps, under their names

Such a shard is a zip file without compression: its members are what numpy reads, and unzip makes single files of them
again. It is written aside, takes its name once it is whole, and never changes. Only then the single files go, so that a
run that is killed at any moment loses nothing: where a file is there twice, the single one counts. The next run removes
what it left half-written.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from hiersum_hf.files.atomic import remove_left_over, writing
from hiersum_hf.files.changed import listing_stamp


logger = logging.getLogger(__name__)

PACKED = 256  # files of a shard
MANY = 16  # shards with fewer, of many short runs, are merged
PACKED_BYTES = 2**30  # where they are as large as this together, fewer; this much room is needed for a moment
# What zipfile and numpy raise at a file that was cut off or damaged
DAMAGED = (ValueError, EOFError, KeyError, TypeError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)
BROKEN = (OSError, *DAMAGED)
HEAD_BYTES, LENGTHS = 26, struct.Struct("<HH")  # of a member: its name's length and that of what follows come last


class Member(NamedTuple):
    """Where a file lies in a shard, its size and its checksum."""

    shard: str
    start: int
    size: int
    crc: int


class Shards:
    """Index of the shards in a folder, which reads those that came since."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.members: dict[str, Member] = {}
        self._stamp: tuple[int, ...] = ()
        self._counts: dict[str, int] = {}

    def find(self, name: str) -> Member | None:
        """Find a file of this name."""
        member = self.members.get(name)
        if member and os.path.isfile(os.path.join(self.folder, member.shard)):  # faster than by Path
            return member
        stamp = listing_stamp(self.folder)
        if stamp != self._stamp:
            self._read()
            self._stamp = stamp
        return self.members.get(name)

    def _read(self) -> None:
        shards = {file.name for file in self.folder.glob("features-*.zip")}
        if not self._counts.keys() <= shards:
            self._counts, self.members = {}, {}
        for shard in sorted(shards - self._counts.keys()):
            held = _members(self.folder / shard)
            self.members |= held
            self._counts[shard] = len(held)

    def counts(self) -> dict[str, int]:
        """Count the files in each shard that is there now; 0 in a damaged one."""
        self.find("")
        return self._counts

    def read(self, name: str) -> bytes | None:
        """Read a file, None where no shard has it.

        Raises:
            One of `BROKEN`: It is damaged, or its shard has gone meanwhile.
        """
        member = self.find(name)
        if member is None:
            return None
        try:
            shard = (self.folder / member.shard).open("rb")
        except FileNotFoundError:  # merged with others since
            if (member := self.find(name)) is None:
                raise
            shard = (self.folder / member.shard).open("rb")
        # Not by zipfile, which would read the names of all 256 for each
        with shard:
            shard.seek(member.start + HEAD_BYTES)
            named, more = LENGTHS.unpack(shard.read(LENGTHS.size))
            found = shard.read(named).decode()
            shard.seek(more, os.SEEK_CUR)
            content = shard.read(member.size)
        if found != name or zlib.crc32(content) != member.crc:
            raise zipfile.BadZipFile("its name or checksum is another")
        return content

    def undamaged(self, file: Path) -> bytes:
        """Read a file of this name.

        Raises:
            FileNotFoundError: It is damaged.
            BlockingIOError: It, or its shard, has gone meanwhile.
        """
        try:
            content = self.read(file.name)
        except DAMAGED as error:
            raise FileNotFoundError(file) from error
        except FileNotFoundError:
            content = None
        if content is None:
            raise BlockingIOError(f"{file}: has gone meanwhile")
        return content


def _members(shard: Path) -> dict[str, Member]:
    """List what a shard holds; nothing, with a warning, where it is damaged."""
    try:
        with zipfile.ZipFile(shard) as archive:
            found, end = archive.infolist(), shard.stat().st_size
        if not all(one.filename.endswith(".npz") for one in found):
            # What is cut off ends with a whole member, itself a zip file, whose directory zipfile takes for that of all
            raise zipfile.BadZipFile("its end is missing")
    except BROKEN as error:
        logger.warning(
            "%s: expected features packed by `hiersum extract`, found a damaged file (%s). What it held is computed "
            "anew. Delete it, or put a whole copy in its place.",
            shard,
            error,
        )
        return {}
    members = {one.filename: Member(shard.name, one.header_offset, one.file_size, one.CRC) for one in found}
    stored = {one.filename for one in found if one.compress_type == zipfile.ZIP_STORED}
    return {name: one for name, one in members.items() if name in stored and one.start + one.size <= end}


def shards_in(folder: str | Path) -> Shards:
    """Return the index of a folder, one in this process."""
    return _shards(os.path.abspath(folder))


_shards = lru_cache(maxsize=8)(Shards)


def holder(folder: Path, name: str) -> Path | None:
    """Find the file that holds a video's features, which is their own or a shard."""
    if os.path.isfile(os.path.join(folder, name)):
        return folder / name
    member = shards_in(folder).find(name)
    return folder / member.shard if member else None


def open_kept(file: Path) -> BinaryIO | None:
    """Open a file of features, where it is packed what its shard holds; None where there is neither.

    Raises as `Shards.read`.
    """
    try:
        return file.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        content = shards_in(file.parent).read(file.name)
    return None if content is None else io.BytesIO(content)


def pack(folder: Path, names: Iterable[str]) -> None:
    """Pack single files of features into shards.

    Several processes may do so in one folder, each with what it wrote or found itself. A file that a shard holds too,
    left by a run that was killed, only goes.

    Args:
        folder: Of the features.
        names: Of the files; those that are not there are passed over.

    Raises:
        OSError: No room, or no right to write there.
    """
    shards = shards_in(folder)
    files: list[Path] = []
    total = 0
    for file in (folder / name for name in dict.fromkeys(names)):
        if not file.is_file():
            continue
        if shards.find(file.name):
            if _is_packed(file, shards):
                _remove([file])
            continue  # else what is packed is damaged or older, and the single file counts
        files.append(file)
        total += file.stat().st_size
        if len(files) == PACKED or total >= PACKED_BYTES:
            _remove(_write(folder, files))
            files, total = [], 0
    if files:
        _remove(_write(folder, files))


def merge(folder: Path) -> None:
    """Put small shards into one where there are `MANY`, the smallest first, as many as a shard may hold.

    Several processes may do so in one folder: what two of them merge is there twice. A shard goes once the new one
    holds all of it; one with a damaged member stays. Where there is no room all stays as it is.
    """
    shards = shards_in(folder)
    small = {shard: list[tuple[str, Member]]() for shard, count in shards.counts().items() if 0 < count < PACKED}
    for name, member in shards.members.items():
        if member.shard in small:
            small[member.shard].append((name, member))
    chosen, files, total = dict[Path, set[Path]](), list[Path](), 0
    for shard, held in sorted(small.items(), key=lambda one: (len(one[1]), one[0])):
        total += sum(member.size for _, member in held)
        if len(files) + len(held) > PACKED or total > PACKED_BYTES:
            break
        chosen[folder / shard] = {folder / name for name, _ in held}
        files += chosen[folder / shard]
    if len(small) < MANY or len(chosen) < 2:
        return
    with suppress(OSError):
        packed = set(_write(folder, files, shards.undamaged))
        _remove(shard for shard, held in chosen.items() if held <= packed)


class Packer:
    """Packs single files of features as they come, 256 together."""

    def __init__(self, folder: Path):
        self.folder, self.names = folder, list[str]()

    def add(self, name: str) -> None:
        """Take a file that is to be packed, where it is one of its own: new, or left by a run that was killed.

        Raises as `pack`.
        """
        if (self.folder / name).is_file():
            self.names.append(name)
        if len(self.names) >= PACKED:
            self.finish()

    def finish(self) -> None:
        """Pack what is left, and remove what killed processes left half-written.

        Raises as `pack`.
        """
        remove_left_over(self.folder, "*.npz")
        remove_left_over(self.folder, "features-*.zip")
        pack(self.folder, self.names)
        self.names.clear()


def _is_packed(file: Path, shards: Shards) -> bool:
    try:
        return shards.read(file.name) == file.read_bytes()
    except BROKEN:
        return False


def _write(folder: Path, files: Sequence[Path], read: Callable[[Path], bytes] = Path.read_bytes) -> list[Path]:
    """Write a shard of files, and return those that it holds."""
    shard, packed = folder / f"features-{secrets.token_hex(8)}.zip", list[Path]()
    with writing(shard) as target:
        with zipfile.ZipFile(target, "w") as archive:
            for file in files:
                with suppress(FileNotFoundError):  # packed by another process meanwhile
                    archive.writestr(zipfile.ZipInfo(file.name), read(file))
                    packed.append(file)
        target.flush()
        os.fsync(target.fileno())  # before the single files go
    return packed


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        with suppress(OSError):  # one that stays does no harm
            file.unlink()
