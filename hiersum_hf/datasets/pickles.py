"""Pickled dicts of arrays, such as BLiSS's .npy files, to HDF5, once, without running anything that a pickle asks for.

A pickle names Python functions and calls them. Here every name that numpy writes for an array leads to an inert
stand-in, so that not even numpy's own unpickling code sees the file; any other name is refused. Arrays are made
afterwards, from a few checked dtypes and from bytes whose number fits the shape.
"""

from __future__ import annotations

import math
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from hiersum_hf.aside import aside


DTYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
HASHING = {"SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET"}  # instructions of a pickle
MAX_ID_PARTS = 100  # an honest id is one text


def convert_pickled_arrays(source: str | Path, output: str | Path | None = None) -> Path:
    """Convert a pickled dict id -> array of numbers to an HDF5 file with one float32 dataset for each id.

    The whole source is held in memory, as `numpy.load` would. The output appears under its name when it is complete.

    Args:
        source: An .npy file that holds a pickled dict, or a plain pickle of one, by numpy 1 or 2.
        output: The file to write. Default: beside `source`, with the suffix .h5.

    Returns:
        The path of the output.

    Raises:
        FileNotFoundError: There is no such source.
        FileExistsError: The output is there already.
        ValueError: The pickle asks for anything but arrays (the message names it; nothing of it has run), is cut off,
            claims more than it holds, or is no dict of numeric arrays. Names the source and the id.
    """
    source = Path(source)
    output = source.with_suffix(".h5") if output is None else Path(output)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: expected a pickled dict of arrays, found no such file")
    if output.exists():
        raise FileExistsError(f"{output}: expected no such file yet; remove it to convert {source.name} again")
    arrays = _load(source)
    with aside(output) as partial, h5py.File(partial, "w") as file:
        for name, array in arrays.items():
            _write(file, name, array, source)
    return output


def _write(file: h5py.File, name: Any, array: Any, source: Path) -> None:
    if not isinstance(name, str):
        raise ValueError(f"{source}: expected ids that are strings, found {type(name).__name__}")
    try:
        file.create_dataset(name, data=_array(array).astype(np.float32))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}, id {name!r}: {error}") from None


def _load(source: Path) -> dict[Any, Any]:
    """id -> stand-in for an array."""
    with source.open("rb") as file:
        try:
            npy = _is_npy(file)
            _refuse_bombs(file)
            content = _Unpickler(file).load()
            if npy:  # np.save wraps the dict in an array of one object
                content = content.objects()
        except Exception as error:  # a damaged pickle raises anything
            raise ValueError(f"{source}: expected a complete pickle of arrays alone, found: {_reason(error)}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{source}: expected a pickled dict id -> array, found {type(content).__name__.strip('_')}")
    return content


def _refuse_bombs(file: BinaryIO) -> None:
    """Follow how many parts each object on the unpickler's stack has, shared ones counted each time.

    A few bytes may nest tuples that hold the same tuple twice: to hash one of them, as an id, takes for ever. And the
    unpickler makes room for every number up to the greatest under which an object is noted.
    """
    begin, size = file.tell(), os.fstat(file.fileno()).st_size
    stack: list[int] = []
    marks: list[int] = []
    noted: dict[int, int] = {}
    number: Any
    for code, number, _ in pickletools.genops(file):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            number = len(noted) if number is None else number
            if number > size:
                raise ValueError(f"object number {number} in {size} bytes")
            noted[number] = stack[-1]
        elif code.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(noted[number])
        elif code.name == "MARK":
            marks.append(len(stack))
        elif code.name in ("DUP", "POP"):
            raise ValueError(f"the instruction {code.name}, which no pickle of arrays has")
        else:
            before = code.stack_before
            marked = pickletools.markobject in before
            items = marks.pop() if marked else len(stack) - len(before)
            start = items - (before.index(pickletools.markobject) if marked else 0)
            hashed = stack[items + (code.name == "SETITEM") :: 1 if code.name in ("ADDITEMS", "FROZENSET") else 2]
            if code.name in HASHING and max(hashed, default=0) > MAX_ID_PARTS:
                raise ValueError(f"an id of more than {MAX_ID_PARTS} parts")
            stack[start:] = [min(sum(stack[start:]) + 1, MAX_ID_PARTS + 1)] * len(code.stack_after)
    file.seek(begin)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError | OverflowError):
        return "a part that claims more bytes than memory holds"
    return str(error) or type(error).__name__


def _is_npy(file: BinaryIO) -> bool:
    """Whether it is an .npy file; then `file` stands at its pickle."""
    magic = file.read(len(np.lib.format.MAGIC_PREFIX))
    file.seek(0)
    if magic != np.lib.format.MAGIC_PREFIX:
        return False
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype != np.dtype(object) or shape != ():
        raise ValueError(f"an array of {dtype} of shape {shape} instead of one pickled dict")
    return True


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise ValueError(f"a call of {module}.{name}, which is refused; nothing of it was run")
        return STAND_INS[module, name]


class _Dtype:
    """In place of `numpy.dtype`."""

    def __init__(self, code: Any, *_: Any):
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]  # (version, byte order, ...)


class _Array:
    """In place of `numpy.ndarray` and of the function that makes an empty one, to be filled by `__setstate__`."""

    def __init__(self, *_: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state  # (version, shape, dtype, whether in Fortran order, bytes or list of objects)

    def objects(self) -> Any:
        """The one object of an array of shape () that holds objects."""
        *_, objects = self.state
        (content,) = objects
        return content


class _Buffer(_Array):
    """In place of the function by which pickles of protocol 5 make an array."""

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any, *_: Any):
        self.state = (1, shape, dtype, order == "F", data)


class _Scalar(_Array):
    """In place of the function that makes a numpy scalar."""

    def __init__(self, dtype: Any, data: Any = b""):
        self.state = (1, (), dtype, False, data)


class _Latin1(_Array):
    """In place of `codecs.encode`, by which pickles of protocols 0 to 2 write bytes."""

    def __new__(cls, text: str, encoding: str) -> Any:
        return str.encode(text, "latin1")


STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Latin1,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
    STAND_INS[f"{_core}.multiarray", "_reconstruct"] = _Array
    STAND_INS[f"{_core}.multiarray", "scalar"] = _Scalar
    STAND_INS[f"{_core}.numeric", "_frombuffer"] = _Buffer


def _array(value: Any) -> np.ndarray:
    """The array that a stand-in describes."""
    if not isinstance(value, _Array) or value.state is None:
        raise ValueError(f"expected an array, found {type(value).__name__.strip('_')}")
    *_, shape, dtype, fortran, data = value.state
    known = isinstance(dtype, _Dtype) and isinstance(dtype.code, str) and dtype.code in DTYPES
    if not known or dtype.order not in ("<", ">", "|", "="):
        kind = getattr(dtype, "code", None)
        found = "objects" if kind in ("O", "O8") else kind if isinstance(kind, str) else type(kind).__name__
        raise ValueError(f"expected an array of numbers, found one of {found:.80}")
    if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
        raise ValueError(f"expected a shape, found {type(shape).__name__}")  # to print nested ones can take for ever
    if min(shape, default=0) < 0:
        raise ValueError(f"expected a shape, found {shape!r:.80}")
    kind = np.dtype(dtype.order.replace("|", "=") + dtype.code)
    size = math.prod(shape) * kind.itemsize
    if not isinstance(data, bytes | bytearray) or len(data) != size:
        held = len(data) if isinstance(data, bytes | bytearray) else "none"
        raise ValueError(f"expected the {size} bytes of shape {shape}, found {held}")
    return np.ndarray(shape, kind, buffer=data, order="F" if fortran else "C")
