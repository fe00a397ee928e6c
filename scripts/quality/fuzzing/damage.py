"""Changes a small whole folder {file name: content} a little, and writes it.

Content is text, bytes or a tree: nested dicts and lists for JSON; a dict of arrays for .npz; for HDF5 nested dicts of
arrays, with "@name" for an attribute and a list for a column of references.
"""

from __future__ import annotations

import copy
import json
import random
import re
import warnings
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import h5py
import numpy as np


TOKENS = [
    b"", b"\0", b"-1", b"0", b"nan", b"1e999", b"9" * 5000, b"99999999999999999999", b"[" * 100_000, b"{" * 5000,
    b'{"a":' * 50_000, b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n\n", b"\t" * 99, b" " * 9999, b"-->",
    b"<" * 999, b"\\N", b"{\\p1}", b"&#x110000;", b"A. " * 9999, b"?\n" * 999, b"'\"", b",,,", b"\xff" * 4, b"\x7f" * 8,
    b"99:99:99,999", b"&a [*a, *a]", b"!!python/object:os.system x", "\u202e\u2028\x85".encode(),
]  # fmt: skip
ODD: list[Any] = [
    None, True, -1, 0, 1e308, 0.5, float("nan"), float("inf"), 10**400, 2**63, "", "a/b", "..", "\0", "\ud800",
    "\u202e", [], {}, [[]], [{}], "9" * 5000, "x" * 9999, "1", [0, 1], [None], {"text": 1}, -(2**31),
]  # fmt: skip


class Declared:
    """An HDF5 data set that claims a shape and holds nothing."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape


def odd_array(array: Any, rng: random.Random) -> Any:
    """An array with another type, shape or values."""
    array = np.asarray(array)
    kinds = ["f8", "f2", "i8", "u1", "?", "c8", "S3", "U2", "M8[s]", "V4", [("a", "f4")]]
    value = rng.choice([np.nan, np.inf, -1, 1e300, 2.0**63, 0.5, 0, 7])
    filled = np.array(array, np.float64) if array.dtype.kind in "biuf" else np.zeros(3)
    if filled.size:
        filled.flat[rng.randrange(filled.size)] = value
    changes: list[Callable[[], Any]] = [
        lambda: filled, lambda: np.full(array.shape, value), lambda: array.astype(rng.choice(kinds)), lambda: array[:0],
        lambda: array.T, lambda: array[..., None], lambda: array.ravel(), lambda: np.zeros((0, 0)), lambda: array[:-1],
        lambda: np.concatenate([array, array]), lambda: array.ravel()[0], lambda: array[::-1], lambda: np.array("x\0"),
        lambda: np.zeros((0, *array.shape)), lambda: filled.astype(array.dtype), lambda: array.astype(">f4"),
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return rng.choice(changes)()
        except (TypeError, ValueError, IndexError, OverflowError, RuntimeError):
            return filled


def odd_node(value: Any, rng: random.Random, kind: str) -> Any:
    """What stands in for a node of a tree that becomes a file of this kind."""
    if kind == "json":
        return copy.deepcopy(rng.choice(ODD))
    if isinstance(value, np.ndarray | float | str) and rng.random() < 0.8:
        return odd_array(value, rng)
    if kind == "npz":
        return np.array("x")
    here = h5py.SoftLink(rng.choice(["/nowhere", "/", "/video_1", "."]))
    other = [
        h5py.ExternalLink("other.h5", "/a"),
        h5py.Empty("f4"),
        {},
        {"features": np.zeros(3)},
        np.array([b"a", b"b"]),
    ]
    claims = [Declared(shape) for shape in ((2**20, 2**20), (2**30,), (3, 0), (2**40, 8), (5, 2**33))]
    return rng.choice([here, *other, *claims])


def damaged_tree(tree: Any, rng: random.Random, kind: str) -> Any:
    """A copy in which some members are gone, renamed, swapped or replaced."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        places = list(walk(tree))
        if not places:
            break
        holder, key = rng.choice(places)
        action = rng.random()
        if action < 0.15:
            del holder[key]
        elif action < 0.25 and isinstance(holder, dict):
            holder[rng.choice(["x", f"{key} ", "\ud800", "0", "", "²"] if kind == "json" else ["x", "y"])] = holder.pop(
                key
            )
        elif action < 0.35:
            other, place = rng.choice(places)
            holder[key] = copy.deepcopy(other[place])
        else:
            holder[key] = odd_node(holder[key], rng, kind)
    return tree


def walk(node: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of every member of nested dicts and lists, at most 400 of a list."""
    members = node.items() if isinstance(node, dict) else enumerate(node[:400]) if isinstance(node, list) else ()
    for key, value in members:
        yield node, key
        yield from walk(value)


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, parts cut out, repeated, replaced by tokens, numbers or noise, or the end cut off."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(found) + 1)
        to = min(len(found), at + rng.choice((0, 1, 1, 4, 64, 1024)))
        action = rng.randrange(12)
        if action < 4 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif action < 6:
            found[at:to] = rng.choice(TOKENS)
        elif action == 6:
            found[at:at] = found[at:to] * rng.choice((1, 2, 99))
        elif action == 7 and (numbers := list(re.finditer(rb"\d+", found[at : at + 200]))):
            number = rng.choice(numbers)
            found[at + number.start() : at + number.end()] = rng.choice(TOKENS[:8])
        elif action == 8:
            found[at:to] = rng.randbytes(to - at)
        elif action == 9:
            del found[at:to]
        elif action == 10:
            found[at:to] = rng.choice((b"\0", b"\xff", b"\x7f\xff\xff\xff")) * (to - at)
        elif rng.random() < 0.3:
            del found[at:]
    return bytes(found[: 1 << 20])


def write(path: Path, content: Any) -> None:
    """Text and bytes as they are, trees as JSON, .npz or HDF5 by the file's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str | bytes):
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    elif path.suffix == ".json":
        path.write_text(json.dumps(content))
    elif path.suffix == ".npz":
        np.savez(path, **content)
    else:
        with h5py.File(path, "w") as file:
            write_h5(file, content)


def write_h5(group: h5py.Group, tree: dict[str, Any]) -> None:
    """dict = group, "@name" = attribute, list = column of references; what HDF5 cannot hold is left out."""
    for key, value in tree.items():
        try:
            if key.startswith("@"):
                group.attrs[key[1:]] = value
            elif isinstance(value, dict):
                write_h5(group.create_group(key), value)
            elif isinstance(value, Declared):
                group.create_dataset(key, value.shape, "f4", chunks=tuple(min(size, 64) or 1 for size in value.shape))
            elif isinstance(value, list):
                cells = [group.file.create_dataset(f"#refs#/{group.name}{key}{k}", data=v) for k, v in enumerate(value)]
                group.create_dataset(key, data=np.array([[cell.ref] for cell in cells], h5py.ref_dtype))
            else:
                group[key] = value
        except (TypeError, ValueError, AttributeError):
            continue


def make_input(folder: Path, folders: list[dict[str, Any]], damage: str, rng: random.Random) -> None:
    """Writes one of the whole folders with one of its files damaged: as a tree, as bytes, or as both."""
    files = dict(rng.choice(folders))
    chosen = rng.choice([name for name in files if fnmatch(Path(name).name, damage)])
    is_tree, how = not isinstance(files[chosen], str | bytes), rng.random()
    if is_tree and how < 0.7:
        kind = {".json": "json", ".npz": "npz"}.get(Path(chosen).suffix, "h5")
        files[chosen] = damaged_tree(files[chosen], rng, kind)
    for name, content in files.items():
        write(folder / name, content)
    if not is_tree or how > 0.6:
        (folder / chosen).write_bytes(damaged_bytes((folder / chosen).read_bytes(), rng))
