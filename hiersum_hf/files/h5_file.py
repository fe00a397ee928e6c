"""HDF5 files of other people, read by another process.

`h5_process` starts that process. All functions with a path raise as `h5_process.ask`. Groups and data sets go by their
names in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.files.h5_process import H5Error, ask
from hiersum_hf.modeling.errors_hiersum import InputError


Shape = tuple[int, ...]


@dataclass(frozen=True)
class Outline:
    """What a group or data set is, without its content.

    Args:
        kind: Group, Dataset, or None if there is none of this name.
        shape: Shape of a data set.
        members: Shapes of those members of a group that were asked for.
    """

    kind: str | None
    shape: Shape | None
    members: dict[str, Shape | None]


@dataclass(frozen=True)
class Member:
    """A group or data set with the content that was asked for.

    Content goes by the names of the members of a group; "" is the group or data set itself and "/" is the file.

    Args:
        path: The file.
        name: Name in the file.
        kind: Group, Dataset, or None if there is none of this name.
        names: Members of a group.
        attributes: Texts, numbers and lists of numbers. None stands for all others, which no reader asks for.
        arrays: Answers of `h5_worker`.
        texts: Answers of `h5_worker`.
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
        """Give an array of numbers or of texts of fixed length.

        Raises:
            ValueError: It is no such array, lies in other files or is too large.
            H5Error: It is damaged.
        """
        array: np.ndarray = _value(self.arrays[key])
        return array

    def strings(self, key: str) -> list[str]:
        """Give the texts of a data set of any shape.

        They come in its order. Raises as `array`.
        """
        texts: list[str] = _value(self.texts[key])
        return texts


def member_names(path: Path) -> list[str]:
    """List the members of the file, in its order."""
    names: list[str] = ask(path, "", "names")[0]["value"]
    return names


def outlines(path: Path, names: Sequence[str], members: Sequence[str] = ()) -> dict[str, Outline]:
    """Describe groups and data sets.

    Of groups it tells the shapes of these members, too.
    """
    told = ask(path, "", "outlines", list(names), list(members))
    return {name: _outline(**one) for name, one in zip(names, told, strict=True)}


def first_shape(path: Path) -> Shape | None:
    """Find the shape of the first table that has entries.

    The table may lie at any depth.
    """
    return _shape(ask(path, "", "first_shape")[0]["value"])


def read_member(
    path: Path,
    name: str,
    where: str,
    arrays: Sequence[str] = (),
    texts: Sequence[str] = (),
    attributes: Sequence[str] = (),
) -> Member:
    """Read a group or data set.

    It comes with these arrays, texts and attributes; `where` names it in errors.
    """
    told, *found = ask(path, where, "read", name, list(arrays), list(texts), list(attributes))
    # Answers come in the order of the arrays, then of the texts
    contents = [dict(zip(arrays, found, strict=False)), dict(zip(texts, found[len(arrays) :], strict=True))]
    return Member(path, name.strip("/"), told["kind"], told["names"], told["attributes"], *contents)


def read_cells(path: Path, name: str, columns: Sequence[str]) -> dict[str, list[Member]]:
    """Read the arrays to which references lead.

    The references are data sets in a group.
    """
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
    """Count the rows of this shape, 0 for none."""
    return (shape or (0,))[0]


def read_text(attributes: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Give an attribute as text.

    Raises ValueError if it is none.
    """
    value = attributes.get(name, default)
    if not isinstance(value, str):
        raise InputError(f"attribute {name}: expected a text, found {value!r:.80}")
    return value


def read_rate(attributes: Mapping[str, Any], name: str) -> float:
    """Give an attribute as a number above 0.

    Raises ValueError if it is none.
    """
    value = np.asarray(attributes.get(name, np.nan))  # a number may come as a list of one
    if value.size != 1 or value.dtype.kind not in "iuf" or not 0 < value.item() < np.inf:
        raise InputError(f"{name}: expected a positive rate, found {value.tolist()!r:.80}")
    return float(value.item())


def _value(answer: Mapping[str, Any]) -> Any:
    """Give the value of an answer, or raise what it says."""
    if "refused" in answer:
        raise InputError(answer["refused"])
    if "damaged" in answer:
        raise H5Error(f"expected whole content, found it damaged: {answer['damaged']}")
    return answer["value"]


def _outline(kind: str | None, shape: list[int] | None, members: dict[str, list[int] | None]) -> Outline:
    return Outline(kind, _shape(shape), {key: _shape(found) for key, found in members.items()})


def _shape(found: list[int] | None) -> Shape | None:
    return None if found is None else tuple(found)
