"""Convert pickled dicts of arrays to HDF5 once, in safety.

BLiSS's .npy files are such pickles. A pickle names Python functions and calls them; here nothing runs that it asks for.
Every name that numpy writes for an array leads to an inert stand-in, so that not even numpy's own unpickling code sees
the file; any other name is refused. Arrays are made afterwards, from a few checked dtypes and from bytes whose number
fits the shape.
"""

from __future__ import annotations

import errno
import math
import os
import pickle
import pickletools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from hiersum_hf.files.atomic import aside
from hiersum_hf.modeling.errors_hiersum import InputError


DTYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
HASHING = {"SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET"}  # instructions of a pickle
TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
SAVE_AGAIN = "Fetch it again, or save it by numpy.save(FILE, {id: array})."
MAX_GROWTH = 8  # bytes written for each of the source, at most; those of truth values become 4
MAX_DIMENSIONS, MAX_SIDE, MAX_SLASHES = 32, 2**48, 8


def convert_pickled_arrays(source: str | Path, output: str | Path | None = None) -> Path:
    """Convert a pickled dict id -> array of numbers to HDF5.

    The file has one float32 dataset for each id. The whole source is held in memory, as `numpy.load` would. The output
    appears under its name when it is complete.

    Args:
        source: An .npy file that holds a pickled dict, or a plain pickle of one, by numpy 1 or 2.
        output: The file to write. Default: beside `source`, with the suffix .h5.

    Returns:
        The path of the output.

    Raises:
        FileNotFoundError: There is no such source.
        FileExistsError: The output is there already.
        ValueError: The pickle asks for anything but arrays (the message names it; nothing of it has run), is cut off,
            claims more than it holds, is no dict of numeric arrays, or has the same one under so many ids that more
            than `MAX_GROWTH` times its size would be written. Names the source and the id.
        OSError: No room for the output, of which nothing is left.
    """
    source = Path(source)
    output = source.with_suffix(".h5") if output is None else Path(output)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: expected a pickled dict of arrays, found no such file")
    if output.exists():
        raise FileExistsError(f"{output}: expected no such file yet; remove it to convert {source.name} again")
    arrays = {name: _checked(name, array, source) for name, array in _load(source).items()}
    size, room = 4 * sum(array.size for array in arrays.values()), shutil.disk_usage(output.parent).free
    if size > MAX_GROWTH * source.stat().st_size:
        found = f"the same under many ids, {size} bytes in all"
        raise InputError(f"{source}: expected arrays of their own, found {found}. {SAVE_AGAIN}")
    if size > room:  # HDF5 ends the process where a file cannot be closed
        raise OSError(errno.ENOSPC, f"{output}: expected room for {size} bytes, found {room}. Free some.")
    with aside(output) as partial, h5py.File(partial, "w") as file:
        for name, array in arrays.items():
            with _told_of(source, name):
                file.create_dataset(name, data=array.astype(np.float32))
    return output


def _checked(name: str, array: Any, source: Path) -> np.ndarray:
    with _told_of(source, name):
        if name.count("/") > MAX_SLASHES:
            raise InputError(f"expected an id of at most {MAX_SLASHES} slashes, found {name.count('/')}")
        return _array(array)


@contextmanager
def _told_of(source: Path, name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise InputError(f"{source}, id {name[:80]!r}: {error}. {SAVE_AGAIN}") from None


def _load(source: Path) -> dict[Any, Any]:
    """Unpickle into stand-ins for arrays, by id.

    Raises:
        ValueError: The pickle asks for anything else, is damaged or is no dict.
    """
    with source.open("rb") as file:
        try:
            npy = _is_npy(file)
            _refuse_bombs(file)
            content = _Unpickler(file).load()
            if npy:  # np.save wraps the dict in an array of one object
                content = content.objects()
        except Exception as error:  # a damaged pickle raises anything
            expected = "expected a complete pickle of arrays alone"
            raise InputError(f"{source}: {expected}, found: {_reason(error)}. {SAVE_AGAIN}") from None
    if not isinstance(content, dict):
        found = type(content).__name__.strip("_")
        raise InputError(f"{source}: expected a pickled dict id -> array, found {found}. {SAVE_AGAIN}")
    return content


def _refuse_bombs(file: BinaryIO) -> None:
    """Refuse a pickle that could take all time or memory.

    This follows which objects on the unpickler's stack are texts, the only ones that may be ids. Python 3.11's
    unpickler can take all time for others, and all memory for more objects than the file has bytes.
    """
    begin, size = file.tell(), os.fstat(file.fileno()).st_size
    stack: list[bool] = []
    marks: list[int] = []
    noted: dict[int, bool] = {}
    number: Any
    # Only the shape of the stack is followed, by what pickletools knows of each instruction; nothing is made.
    for code, number, _ in pickletools.genops(file):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            number = len(noted) if number is None else number
            if number > size:
                raise InputError(f"object number {number} in {size} bytes")
            # PUT keeps the top of the stack under a number, GET brings it back: number <= bytes of the file, since
            # every object takes a byte at least.
            noted[number] = stack[-1]
        elif code.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(noted[number])
        elif code.name == "MARK":
            marks.append(len(stack))
        elif code.name in ("DUP", "POP"):
            raise InputError(f"the instruction {code.name}, which no pickle of arrays has")
        else:
            # The instruction takes what is above the last mark, or so many items from the top, and leaves others. Of a
            # dict's items every second one is an id, from the first; SETITEM takes the dict itself too, so from the
            # second.
            before = code.stack_before
            marked = pickletools.markobject in before
            items = marks.pop() if marked else len(stack) - len(before)
            start = items - (before.index(pickletools.markobject) if marked else 0)
            ids = stack[items + (code.name == "SETITEM") :: 1 if code.name in ("ADDITEMS", "FROZENSET") else 2]
            if code.name in HASHING and not all(ids):
                raise InputError("ids that are no strings")
            stack[start:] = [code.name in TEXTS] * len(code.stack_after)
    file.seek(begin)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError | OverflowError):
        return "a part that claims more bytes than memory holds"
    return str(error) or type(error).__name__


def _is_npy(file: BinaryIO) -> bool:
    """Tell whether it is an .npy file; then move to its pickle."""
    magic = file.read(len(np.lib.format.MAGIC_PREFIX))
    file.seek(0)
    if magic != np.lib.format.MAGIC_PREFIX:
        return False
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype != np.dtype(object) or shape != ():
        raise InputError(f"an array of {dtype} of shape {shape} instead of one pickled dict")
    return True


class _Unpickler(pickle.Unpickler):
    """Unpickle with stand-ins in place of all that a pickle may name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise InputError(f"a call of {module}.{name}, which is refused; nothing of it was run")
        return STAND_INS[module, name]


class _Dtype:
    """Stand in for `numpy.dtype`."""

    def __init__(self, code: Any, *_: Any):
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]  # (version, byte order, ...)


class _Array:
    """Stand in for `numpy.ndarray`.

    It also stands for the function that makes an empty one, to be filled by `__setstate__`.
    """

    def __init__(self, *_: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state  # (version, shape, dtype, whether in Fortran order, bytes or list of objects)

    def objects(self) -> Any:
        """Return the one object of an array of shape ()."""
        *_, objects = self.state
        (content,) = objects
        return content


class _Buffer(_Array):
    """Stand in for what makes an array in pickles of protocol 5."""

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any, *_: Any):
        self.state = (1, shape, dtype, order == "F", data)


class _Scalar(_Array):
    """Stand in for the function that makes a numpy scalar."""

    def __init__(self, dtype: Any, data: Any = b""):
        self.state = (1, (), dtype, False, data)


class _Latin1:
    """Stand in for `codecs.encode`.

    Pickles of protocols 0 to 2 write bytes by it; they are encoded once they are used.
    """

    def __init__(self, text: Any, *_: Any):
        self.text = text


class _NoBytes:
    """Stand in for `bytes`, by which protocols 0 to 2 write none."""

    def __new__(cls, *_: Any) -> Any:
        return b""


STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Latin1,
    ("__builtin__", "bytes"): _NoBytes,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
    STAND_INS[f"{_core}.multiarray", "_reconstruct"] = _Array
    STAND_INS[f"{_core}.multiarray", "scalar"] = _Scalar
    STAND_INS[f"{_core}.numeric", "_frombuffer"] = _Buffer


def _array(value: Any) -> np.ndarray:
    """Make the array that a stand-in describes.

    Raises:
        ValueError: It describes no array of numbers, or one whose bytes do not fit its shape.
    """
    if not isinstance(value, _Array) or value.state is None:
        raise InputError(f"expected an array, found {type(value).__name__.strip('_')}")
    *_, shape, dtype, fortran, data = value.state
    known = isinstance(dtype, _Dtype) and isinstance(dtype.code, str) and dtype.code in DTYPES
    if not known or dtype.order not in ("<", ">", "|", "="):
        kind = getattr(dtype, "code", None)
        found = "objects" if kind in ("O", "O8") else kind if isinstance(kind, str) else type(kind).__name__
        raise InputError(f"expected an array of numbers, found one of {found:.80}")
    if not isinstance(shape, tuple) or not all(isinstance(side, int) for side in shape):
        raise InputError(f"expected a shape, found {type(shape).__name__}")  # to print nested ones can take for ever
    if len(shape) > MAX_DIMENSIONS or not all(0 <= side < MAX_SIDE for side in shape):
        raise InputError(f"expected a shape, found {shape[:MAX_DIMENSIONS]!r:.80}")
    if isinstance(data, _Latin1) and isinstance(data.text, str):
        data = data.text.encode("latin1")
    kind = np.dtype(dtype.order.replace("|", "=") + dtype.code)
    # The bytes must be exactly those of the shape: numpy allocates nothing here.
    size = math.prod(shape) * kind.itemsize
    if not isinstance(data, bytes | bytearray) or len(data) != size:
        held = len(data) if isinstance(data, bytes | bytearray) else "none"
        raise InputError(f"expected the {size} bytes of shape {shape}, found {held}")
    return np.ndarray(shape, kind, buffer=data, order="F" if fortran else "C")
