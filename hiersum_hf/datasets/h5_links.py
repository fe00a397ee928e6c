"""An HDF5 file may take its content from other files, named in it; here it may not."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
from h5py import h5l


INSIDE = (h5l.TYPE_HARD, h5l.TYPE_SOFT)  # kinds of links that end in the file itself


def refuse_links(path: Path) -> None:
    """Raises ValueError if a link in the file leads out of it. Seconds for 100,000 links, once for each process."""
    stat = path.stat()
    name = _link_out(path, stat.st_mtime_ns, stat.st_size)
    if name is not None:
        raise ValueError(f"{path}: expected all data in the file itself, found a link out of it, {name!r}")


def refuse_outside(member: h5py.Dataset) -> None:
    """Raises ValueError if the numbers of a data set lie in other files."""
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
