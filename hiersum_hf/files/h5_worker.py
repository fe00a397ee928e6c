"""Reading of other people's HDF5 files in a process of its own.

The process has limits of time and memory, and it gives only what lies in the file itself. `h5_process` starts this
file as a script. That takes .2 s, because the script imports nothing of the package.

A question is a line of JSON with the number of bytes of an array that follows (null if there is none), the path of a
file, one of `QUESTIONS` and its arguments. Answers are lines of JSON, too. After one with `shape` and `dtype` come the
bytes of an array. The last answer has `done`. No pickles are sent either way.
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, BinaryIO


sys.path += filter(
    None, os.environ.get("HIERSUM_PATHS", "").split(os.pathsep)
)  # behind Python's own, which nothing may shadow

import h5py
import numpy as np
from h5py import h5l


if sys.platform != "win32":
    import fcntl
    import resource

Answer = tuple[dict[str, Any], np.ndarray | None]

MAX_ARRAY_BYTES = 2**30  # 3 days of 1024 features a second; a few bytes of HDF5 may claim more than memory holds
MAX_BYTES = 2**31  # of all arrays that answer one question
MAX_TEXTS, MAX_TEXT_BYTES = 2**18, 2**26  # of one data set
MAX_NUMBERS = 64  # of an attribute
MEMORY_BYTES = 2**32  # for one array, its packed chunk and what HDF5 makes of both
PIPE_BYTES = 2**20  # with Linux's 2**16 the two processes would wait for each other many times for each array
INSIDE = (h5l.TYPE_HARD, h5l.TYPE_SOFT)  # kinds of links that stay in the file
CACHE = 2**23  # bytes of chunks that are kept, more than MAX_TEXTS entries of a chunk take


def names(file: h5py.File) -> Iterator[Answer]:
    """Give the names in the file, in its order."""
    yield {"value": [_text(name) for name in file]}, None


def outlines(file: h5py.File, wanted: Sequence[str], members: Sequence[str]) -> Iterator[Answer]:
    """Describe members without reading them.

    Of groups it tells the shapes of these `members`, too.
    """
    for name in wanted:
        node = _find(file, name)
        found = {key: _find(node, key) for key in members}
        shapes = {key: getattr(member, "shape", None) for key, member in found.items() if member is not None}
        yield {"kind": _kind(node), "shape": getattr(node, "shape", None), "members": shapes}, None


def first_shape(file: h5py.File) -> Iterator[Answer]:
    """Find the shape of the first table that has entries.

    The table may lie at any depth.
    """

    def shape(_: str, member: Any) -> tuple[int, ...] | None:  # None: go on to the next one
        is_table = isinstance(member, h5py.Dataset) and member.shape is not None and member.ndim == 2
        return member.shape if is_table and member.size else None

    yield {"value": file.visititems(shape)}, None


def read(
    file: h5py.File, name: str, arrays: Sequence[str], texts: Sequence[str], attributes: Sequence[str]
) -> Iterator[Answer]:
    """Read a group or data set.

    It comes with these arrays, texts and attributes. They go by the names of the members of the group; "" is the group
    or data set itself and "/" is the file.
    """
    node = _find(file, name)
    there = dict.fromkeys(node) if isinstance(node, h5py.Group) else {}

    @lru_cache  # opens each member once
    def member(key: str) -> Any:
        return {"": node, "/": file}[key] if key in ("", "/") else node[key] if key in there else None

    told = {key: read_attributes(member(key)) for key in attributes if member(key) is not None}
    yield {"kind": _kind(node), "names": [_text(key) for key in there], "attributes": told}, None
    for reader, keys in ((read_array, arrays), (read_strings, texts)):
        for key in keys:
            yield _content(reader, member, key)


def cells(file: h5py.File, name: str, columns: Sequence[str]) -> Iterator[Answer]:
    """Read the arrays to which references lead, column by column."""
    for column in columns:
        for cell in read_references(_find(_find(file, name), column)).ravel():
            head, array = _content(read_array, lambda cell: file[cell] if cell else None, cell)
            yield head | {"key": column}, array


def add(
    file: h5py.File, name: str, attributes: dict[str, str], shape: list[int], dtype: str, content: bytes
) -> Iterator[Answer]:
    """Add a data set."""
    member = file.create_dataset(name, data=np.frombuffer(content, dtype).reshape(shape))
    member.attrs.update(attributes)
    yield {"value": None}, None


QUESTIONS = {question.__name__: question for question in (names, outlines, first_shape, read, cells, add)}


def _find(holder: Any, key: str) -> Any:
    """Open a member of a group.

    It is None if the group has none of this name.
    """
    is_there = isinstance(holder, h5py.Group) and key in holder
    return holder[key] if is_there else None  # h5py's `get` gives None for damaged members, too


def _kind(node: Any) -> str | None:
    return None if node is None else type(node).__name__


def _content(reader: Callable[[Any], Any], find: Callable[[Any], Any], key: Any) -> Answer:
    """Read one member, or say why it cannot be read.

    Others can still be read then.
    """
    try:
        value = reader(find(key))
    except Exception as error:
        return _failure(error), None
    if isinstance(value, np.ndarray):
        return {"shape": value.shape, "dtype": value.dtype.str}, np.ascontiguousarray(value)
    return {"value": value}, None


def _failure(error: Exception) -> dict[str, Any]:
    """Tell content that is refused (ValueError) from damage (whatever else h5py raises)."""
    if isinstance(error, ValueError):
        return {"refused": str(error)}
    if isinstance(error, MemoryError):
        return {"damaged": f"reading it takes more than {MEMORY_BYTES >> 20} MB of memory"}
    return {"damaged": str(error) or type(error).__name__}


def open_file(path: str, mode: str) -> h5py.File:
    """Open a file for reading, or ("r+") to add to it.

    What is added to is a copy of a file that was read.

    Raises:
        ValueError: It is no HDF5 file, or a link in it leads out of it.
    """
    try:
        stat = os.stat(path)
        name = _link_out(path, stat.st_mtime_ns, stat.st_size) if mode == "r" else None
        if name is not None:
            raise ValueError(f"expected all data in the file itself, found a link out of it, {name!r}")
        return h5py.File(path, mode, rdcc_nbytes=CACHE)
    except OSError:
        if not h5py.is_hdf5(path):
            raise ValueError("expected an HDF5 file, found another. Fetch it again") from None
        raise


@lru_cache(maxsize=16)
def _link_out(path: str, _changed: int, _size: int) -> str | None:
    """Find the first link that leads out of the file.

    This takes seconds for 100,000 links, once for each process.
    """

    def visit(name: bytes, info: Any) -> str | None:
        return None if info.type in INSIDE else name.decode(errors="replace")

    with h5py.File(path, "r") as file:
        found: str | None = file.id.links.visit(visit, info=True)
        return found


def read_array(member: Any) -> np.ndarray:
    """Read a data set of numbers or of texts of fixed length.

    Raises:
        ValueError: It is none, lies in other files, or claims more than `MAX_ARRAY_BYTES`.
    """
    if not isinstance(member, h5py.Dataset) or member.shape is None:
        raise ValueError(f"expected an array, found {'a group' if isinstance(member, h5py.Group) else 'none'}")
    if member.dtype.hasobject:
        raise ValueError(f"expected numbers, found entries of variable length of shape {member.shape}")
    return _read_all(member)


def read_references(member: Any) -> np.ndarray:
    """Read a data set of references.

    Raises as `read_array`.
    """
    if not isinstance(member, h5py.Dataset) or h5py.check_ref_dtype(member.dtype) is not h5py.Reference:
        raise ValueError(f"expected references, found {getattr(member, 'dtype', 'none')}")
    if member.shape is None or math.prod(member.shape) > MAX_TEXTS:
        raise ValueError(f"expected at most {MAX_TEXTS} references, found shape {member.shape}")
    return _read_all(member)


def read_strings(member: Any) -> list[str]:
    """Read the texts of a data set of any shape.

    They come in its order.

    Raises:
        ValueError: It has none, lies in other files, or has more than `MAX_TEXTS` or `MAX_TEXT_BYTES`.
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
        fixed: list[str] = np.ravel(member.asstr()[()]).tolist()
        return fixed
    texts: list[str] = []
    left = MAX_TEXT_BYTES
    for index in np.ndindex(member.shape):  # one by one, because the file does not say how long they are
        texts.append(member.asstr()[index])
        left -= len(texts[-1])
        if left < 0:
            raise ValueError(f"expected at most {MAX_TEXT_BYTES} bytes of texts, found more")
    return texts


def read_attributes(holder: Any) -> dict[str, Any]:
    """Read attributes that are a text or numbers.

    None stands for all others, which no reader asks for.
    """
    found = {}
    for name in holder.attrs:
        attribute = holder.attrs.get_id(name)
        kind, count = attribute.dtype, -1 if attribute.shape is None else math.prod(attribute.shape)
        is_text = count == 1 and h5py.check_string_dtype(kind) is not None
        is_number = 0 <= count <= MAX_NUMBERS and kind.kind in "biuf"
        found[_text(name)] = _plain(holder.attrs[name]) if is_text or is_number else None
    return found


def _plain(value: Any) -> Any:
    """Convert a text or numbers to what JSON has."""
    if isinstance(value, str | bytes):
        return _text(value)
    array = np.asarray(value)
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
    return array.tolist() if array.dtype.kind in "biuf" else None


def _text(value: str | bytes) -> str:
    """Decode a name or text.

    h5py gives it as bytes if it is not UTF-8.
    """
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _read_all(member: h5py.Dataset) -> np.ndarray:
    size = math.prod(member.shape) * member.dtype.itemsize
    if size > MAX_ARRAY_BYTES:
        raise ValueError(f"expected at most {MAX_ARRAY_BYTES} bytes, found shape {member.shape}, {size} bytes")
    _refuse_outside(member)
    _refuse_large_chunks(member)
    return np.asarray(member[()])


def _refuse_outside(member: h5py.Dataset) -> None:
    if member.external or member.is_virtual:
        kind = "a virtual" if member.is_virtual else "an external"
        raise ValueError(f"expected an array in the file itself, found {kind} one, whose numbers are in other files")


def _refuse_large_chunks(member: h5py.Dataset) -> None:
    """Refuse chunks above the limit.

    HDF5 unpacks a chunk as a whole.
    """
    size = math.prod(member.chunks or ()) * member.dtype.itemsize
    if size > MAX_ARRAY_BYTES:
        raise ValueError(f"expected chunks of at most {MAX_ARRAY_BYTES} bytes, found {member.chunks}, {size} bytes")


def main(limit_s: float, clock_s: float) -> None:
    """Answer questions until the process that asks has ended.

    Args:
        limit_s: Time of the processor that each answer may take.
        clock_s: Time on the clock that each answer may take.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    for name in {"SIGPROF", "SIGALRM"} & set(signal.Signals.__members__):
        signal.signal(signal.Signals[name], signal.SIG_DFL)  # `limit_time` needs them even if that process ignores them
    limit_memory()
    pipe = open_pipe()
    for line in sys.stdin.buffer:
        size, *question = json.loads(line)
        if size is not None:
            question.append(sys.stdin.buffer.read(size))
        limit_time(limit_s, clock_s)
        for line, array in answers(*question):
            limit_time(0, 0)  # the process that asks may take its time
            pipe.write(line)
            if array is not None and array.nbytes:
                pipe.write(array.reshape(-1).view(np.uint8).data)
            limit_time(limit_s, clock_s)
        limit_time(0, 0)
        pipe.flush()


def answers(path: str, question: str, *arguments: Any) -> Iterator[tuple[bytes, np.ndarray | None]]:
    """Answer one question, in lines with their arrays.

    The file is closed at the end.
    """
    is_open, left = False, MAX_BYTES
    try:
        with open_file(path, "r+" if question == "add" else "r") as file:
            is_open = True
            for head, array in QUESTIONS[question](file, *arguments):
                left -= 0 if array is None else array.nbytes
                if left < 0:
                    raise ValueError(f"expected at most {MAX_BYTES} bytes in all, found more")
                yield _line(head), array
        yield _line({"done": True}), None
    except Exception as error:
        yield _line(_failure(error) | {"done": False, "is_open": is_open}), None


def _line(head: dict[str, Any]) -> bytes:
    return json.dumps(head).encode() + b"\n"


def open_pipe() -> BinaryIO:
    """Take standard output for the answers.

    Whatever else is printed goes to standard error.
    """
    pipe = os.fdopen(os.dup(1), "wb", PIPE_BYTES)
    os.dup2(2, 1)
    if sys.platform == "linux":
        with suppress(OSError):  # Linux limits how many large pipes a user has
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return pipe


def limit_memory() -> None:
    """Limit memory, and let a crash leave no core file.

    The limit is `MEMORY_BYTES`, where the system can.
    """
    if sys.platform == "win32":
        return
    for kind, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        with suppress(ValueError, OSError):  # macOS does not take all of them
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def limit_time(limit_s: float, clock_s: float) -> None:
    """End this process after so many seconds.

    It ends whatever HDF5 is doing. 0 lifts the limit.
    """
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, limit_s)  # SIGPROF and SIGALRM end a process
        signal.setitimer(signal.ITIMER_REAL, clock_s)
    elif clock_s:
        faulthandler.dump_traceback_later(clock_s, exit=True)
    else:
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
