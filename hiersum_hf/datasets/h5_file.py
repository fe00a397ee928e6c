"""Reads strangers' HDF5 files: content from the file itself alone, within limits, and no heap at which HDF5 hangs.

A heap holds the texts of variable length. HDF5 2.0 (h5py 3.16) never returns from one with an object of no length, so
heaps are walked here before HDF5 reads a text.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from h5py import h5l


MAX_ARRAY_BYTES = 2**30  # 3 days of 1024 features a second; a few bytes of HDF5 may claim more than memory holds
MAX_TEXTS, MAX_TEXT_BYTES = 2**18, 2**26  # of one data set
INSIDE = (h5l.TYPE_HARD, h5l.TYPE_SOFT)  # kinds of links that end in the file itself
HEAP, HEAP_HEAD, MIN_HEAP = b"GCOL\x01", struct.Struct("<8xQ"), 4096  # its length; objects follow
OBJECT_HEAD = struct.Struct("<H6xQ")  # its number, 0 for what is free; its length, for the free one with this head
BLOCK = 2**24  # bytes searched at once
CACHE = 2**23  # bytes of chunks kept: more than MAX_TEXTS entries of a chunk take


@contextmanager
def open_h5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is none, links to other files, or is found to be damaged while it is read; names the path.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: expected an HDF5 file")
    try:
        refuse_links(path)
        with h5py.File(path, "r", rdcc_nbytes=CACHE) as file:
            yield file
    except FileNotFoundError:  # of another file
        raise
    except (OSError, RuntimeError, KeyError, MemoryError) as error:  # what h5py makes of damage
        raise ValueError(f"{path}: expected a complete HDF5 file, found a broken one: {error}") from error


def refuse_links(path: Path) -> None:
    """Raises ValueError if a link in the file leads out of it. Seconds for 100,000 links, once for each process."""
    stat = path.stat()
    name = _link_out(path, stat.st_mtime_ns, stat.st_size)
    if name is not None:
        raise ValueError(f"{path}: expected all data in the file itself, found a link out of it, {name!r}")


def read_array(member: Any) -> np.ndarray:
    """The array of a data set of numbers, references or texts of fixed length.

    Raises:
        ValueError: It is none, lies in other files, or claims more than `MAX_ARRAY_BYTES`.
    """
    if not isinstance(member, h5py.Dataset) or member.shape is None:
        raise ValueError(f"expected an array, found {'a group' if isinstance(member, h5py.Group) else 'none'}")
    if member.dtype.hasobject and h5py.check_ref_dtype(member.dtype) is not h5py.Reference:
        raise ValueError(f"expected numbers, found entries of variable length of shape {member.shape}")
    size = math.prod(member.shape) * member.dtype.itemsize
    if size > MAX_ARRAY_BYTES:
        raise ValueError(f"expected at most {MAX_ARRAY_BYTES} bytes, found shape {member.shape}, {size} bytes")
    _refuse_outside(member)
    _refuse_large_chunks(member)
    return np.asarray(member[()])


def read_strings(member: Any) -> list[str]:
    """The texts of a data set of any shape, in its order.

    Raises:
        ValueError: It has none, lies in other files, has more than `MAX_TEXTS` or `MAX_TEXT_BYTES`, or the file's heap
            of texts is damaged.
    """
    kind = h5py.check_string_dtype(member.dtype) if isinstance(member, h5py.Dataset) else None
    if kind is None or member.shape is None:
        raise ValueError(f"expected texts, found {getattr(member, 'dtype', 'none')}")
    count = math.prod(member.shape)
    if max(count, math.prod(member.chunks or ())) > MAX_TEXTS or count * member.dtype.itemsize > MAX_TEXT_BYTES:
        raise ValueError(f"expected at most {MAX_TEXTS} texts and {MAX_TEXT_BYTES} bytes, found shape {member.shape}")
    _refuse_outside(member)
    _refuse_large_chunks(member)
    if kind.length is not None:
        return np.ravel(member.asstr()[()]).tolist()
    _refuse_broken_heap(member.file)
    texts, left = [], MAX_TEXT_BYTES
    for index in np.ndindex(member.shape):  # one by one: all may be the same long text of the heap
        texts.append(member.asstr()[index])
        left -= len(texts[-1])
        if left < 0:
            raise ValueError(f"expected at most {MAX_TEXT_BYTES} bytes of texts, found more")
    return texts


def read_attributes(*holders: Any) -> dict[str, Any]:
    """The attributes of groups and data sets; where a name comes again, the last counts.

    None stands for one without a value and for several entries of variable length: nothing here asks for them.

    Raises:
        ValueError: The file's heap of texts is damaged.
    """
    found = {}
    for holder in holders:
        for name in holder.attrs:
            attribute = holder.attrs.get_id(name)
            kind, count = attribute.dtype, -1 if attribute.shape is None else math.prod(attribute.shape)
            is_text = kind.hasobject and h5py.check_string_dtype(kind) is not None and count == 1
            if is_text:
                _refuse_broken_heap(holder.file)
            found[name] = holder.attrs[name] if count >= 0 and (is_text or not kind.hasobject) else None
    return found


def row_count(member: Any) -> int:
    """Rows of a data set, 0 for anything else."""
    return (getattr(member, "shape", None) or (0,))[0]


def read_text(attributes: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """The attribute as text; ValueError if it is none."""
    value = attributes.get(name, default)
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str):
        raise ValueError(f"attribute {name}: expected a text, found {value!r:.80}")
    return str(value)


def read_rate(attributes: Mapping[str, Any], name: str) -> float:
    """The attribute as a number above 0; ValueError if it is none."""
    value = np.asarray(attributes.get(name, np.nan))
    if value.size != 1 or value.dtype.kind not in "iuf" or not 0 < value.item() < np.inf:
        raise ValueError(f"{name}: expected a positive rate, found {value.tolist()!r:.80}")
    return float(value.item())


def _refuse_outside(member: h5py.Dataset) -> None:
    if member.external or member.is_virtual:
        kind = "a virtual" if member.is_virtual else "an external"
        raise ValueError(f"expected an array in the file itself, found {kind} one, whose numbers are in other files")


@lru_cache(maxsize=16)
def _link_out(path: Path, _changed: int, _size: int) -> str | None:
    """The first link that leads out, None if there is none."""

    def visit(name: bytes, info: Any) -> str | None:
        return None if info.type in INSIDE else name.decode(errors="replace")

    with h5py.File(path, "r") as file:
        return file.id.links.visit(visit, info=True)


def _refuse_large_chunks(member: h5py.Dataset) -> None:
    """HDF5 unpacks a chunk as a whole, however little is read of it."""
    size = math.prod(member.chunks or ()) * member.dtype.itemsize
    if size > MAX_ARRAY_BYTES:
        raise ValueError(f"expected chunks of at most {MAX_ARRAY_BYTES} bytes, found {member.chunks}, {size} bytes")


def _refuse_broken_heap(file: h5py.File) -> None:
    """A second for each GB of the file, once for each process."""
    if file.id.get_create_plist().get_sizes() != (8, 8):
        raise ValueError("expected addresses of 8 bytes in a file with texts, found others (h5repack changes them)")
    path = Path(file.filename)
    stat = path.stat()
    start = _broken_heap(path, stat.st_mtime_ns, stat.st_size)
    if start is not None:
        raise ValueError(f"expected whole heaps of texts, found a broken one at byte {start} (h5repack makes new ones)")


@lru_cache(maxsize=16)
def _broken_heap(path: Path, _changed: int, size: int) -> int | None:
    """The first byte of the first heap whose objects do not fill it exactly, None if there is none."""
    room = size  # heaps lie beside each other: what they hold is no more than the file
    with path.open("rb") as file:
        for start, length in _heaps(file, size):
            room -= length
            if room < 0 or not _is_whole(file, start, length):
                return start
    return None


def _heaps(file: BinaryIO, file_size: int) -> Iterator[tuple[int, int]]:
    """First byte and length of each; those that are too short or long are none to HDF5 either."""
    start, block = 0, file.read(BLOCK)
    while block:
        at = block.find(HEAP)
        while at >= 0:
            file.seek(start + at)
            head = file.read(HEAP_HEAD.size)
            length = HEAP_HEAD.unpack(head)[0] if len(head) == HEAP_HEAD.size else 0
            if MIN_HEAP <= length <= file_size - start - at:
                yield start + at, length
            at = block.find(HEAP, at + 1)
        start += max(1, len(block) - len(HEAP) + 1)  # a heap may begin at the end of a block
        file.seek(start)
        block = file.read(BLOCK)


def _is_whole(file: BinaryIO, start: int, size: int) -> bool:
    file.seek(start + HEAP_HEAD.size)
    size -= HEAP_HEAD.size
    while size >= OBJECT_HEAD.size:
        head = file.read(OBJECT_HEAD.size)
        if len(head) < OBJECT_HEAD.size:
            return False
        number, length = OBJECT_HEAD.unpack(head)
        taken = OBJECT_HEAD.size + -(-length // 8) * 8 if number else length
        if not OBJECT_HEAD.size <= taken <= size:
            return False
        file.seek(taken - OBJECT_HEAD.size, 1)
        size -= taken
    return True
