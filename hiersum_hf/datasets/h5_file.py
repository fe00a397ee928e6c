"""Strangers' HDF5 files: what is in them, read by another process within limits of time and memory (`h5_worker`).

Everything here that takes a path raises as `h5_process.ask`. Members go by their names in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.h5_process import H5Error, ask


Shape = tuple[int, ...]


@dataclass(frozen=True)
class Outline:
    """What a member is.

    Args:
        kind: Group, Dataset, or None where there is none.
        shape: Of a data set that has one.
        members: Shapes of what was asked for and is in the group.
    """

    kind: str | None
    shape: Shape | None
    members: dict[str, Shape | None]


@dataclass(frozen=True)
class Member:
    """A group or data set with what was asked for: by the names in the group, "" for itself, "/" for the file.

    Args:
        kind: Group, Dataset, or None where there is none.
        names: What is in the group.
        attributes: Texts, numbers and lists of numbers; None stands for others: nobody asks for them.
        arrays: Answers of `h5_worker`.
        texts: The same.
    """

    path: Path
    name: str
    kind: str | None
    names: list[str]
    attributes: dict[str, dict[str, Any]]
    arrays: dict[str, dict[str, Any]]
    texts: dict[str, dict[str, Any]]

    def __contains__(self, key: str) -> bool:
        return key in self.names

    def array(self, key: str = "") -> np.ndarray:
        """Numbers or texts of fixed length; ValueError if it is none, lies in other files, is too large or damaged."""
        return _value(self.arrays[key])

    def strings(self, key: str) -> list[str]:
        """The texts of a data set of any shape, in its order. Raises as `array`."""
        return _value(self.texts[key])


def member_names(path: Path) -> list[str]:
    """What is in the file, in its order."""
    return ask(path, "", "names")[0]["value"]


def outlines(path: Path, names: Sequence[str], members: Sequence[str] = ()) -> dict[str, Outline]:
    """What members are, and of groups the shapes of these members."""
    told = ask(path, "", "outlines", list(names), list(members))
    return {name: _outline(**one) for name, one in zip(names, told, strict=True)}


def first_shape(path: Path) -> Shape | None:
    """Shape of the first data set of two dimensions that is not empty, at any depth."""
    return _shape(ask(path, "", "first_shape")[0]["value"])


def read_member(
    path: Path,
    name: str,
    where: str,
    arrays: Sequence[str] = (),
    texts: Sequence[str] = (),
    attributes: Sequence[str] = (),
) -> Member:
    """A member and what it has of these; `where` names it in errors."""
    told, *found = ask(path, where, "read", name, list(arrays), list(texts), list(attributes))
    contents = [dict(zip(arrays, found, strict=False)), dict(zip(texts, found[len(arrays) :], strict=True))]
    return Member(path, name.strip("/"), told["kind"], told["names"], told["attributes"], *contents)


def read_cells(path: Path, name: str, columns: Sequence[str]) -> dict[str, list[Member]]:
    """What each reference in these data sets of a group leads to, as members whose own array was asked for."""
    found: dict[str, list[Member]] = {column: [] for column in columns}
    for cell in ask(path, f", {name}", "cells", name, list(columns)):
        found[cell["key"]].append(Member(path, cell["key"], "Dataset", [], {}, {"": cell}, {}))
    return found


def add_array(path: Path, name: str, array: np.ndarray, attributes: Mapping[str, str]) -> None:
    """Add a data set to a file.

    Raises:
        OSError: It could not be written.
    """
    try:
        ask(path, "", "add", name, dict(attributes), array.shape, array.dtype.str, array=array)
    except H5Error as error:
        raise OSError(str(error)) from error


def row_count(shape: Shape | None) -> int:
    """Rows of what has this shape, 0 of what has none."""
    return (shape or (0,))[0]


def read_text(attributes: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """The attribute as text; ValueError if it is none."""
    value = attributes.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"attribute {name}: expected a text, found {value!r:.80}")
    return value


def read_rate(attributes: Mapping[str, Any], name: str) -> float:
    """The attribute as a number above 0; ValueError if it is none."""
    value = np.asarray(attributes.get(name, np.nan))
    if value.size != 1 or value.dtype.kind not in "iuf" or not 0 < value.item() < np.inf:
        raise ValueError(f"{name}: expected a positive rate, found {value.tolist()!r:.80}")
    return float(value.item())


def _value(answer: Mapping[str, Any]) -> Any:
    if "refused" in answer:
        raise ValueError(answer["refused"])
    if "damaged" in answer:
        raise ValueError(f"expected whole content, found it damaged: {answer['damaged']}")
    return answer["value"]


def _outline(kind: str | None, shape: list[int] | None, members: dict[str, list[int] | None]) -> Outline:
    return Outline(kind, _shape(shape), {key: _shape(found) for key, found in members.items()})


def _shape(found: list[int] | None) -> Shape | None:
    return None if found is None else tuple(found)
