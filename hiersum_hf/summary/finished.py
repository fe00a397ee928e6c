"""What a finished summary was made of, kept beside it so that it is not made twice."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from hiersum_hf.files.json_file import read_json_object
from hiersum_hf.modeling.errors_hiersum import HierSumError


MADE_WITH = ".made_with.json"  # in the folder of a summary
OTHER = {"video": "another video", "texts": "other texts", "weights": "other weights"}  # which are facts of files


def file_facts(files: Iterable[Path]) -> list[list[Any]]:
    """Return name, size and time of each file, by name; what has gone has none."""
    facts = [(file, file.stat()) for file in sorted(files) if file.is_file()]
    return [[file.name, found.st_size, found.st_mtime_ns] for file, found in facts]


def difference(folder: Path, made_with: Mapping[str, Any], files: Collection[str]) -> str | None:
    """Compare what the summary in a folder was made with.

    Args:
        folder: Of the summary.
        made_with: As `write_summary` takes it.
        files: That must be there.

    Returns:
        "" where it is the same, else the first thing that differs; None where no finished summary says what it was made
        with.
    """
    try:
        found = read_json_object(folder / MADE_WITH)
    except (OSError, HierSumError):
        return None
    for key, wanted in json.loads(json.dumps(made_with)).items():
        if found.get(key) != wanted:
            return OTHER.get(key, f"{key} {found.get(key)!r}, now {wanted!r}")
    lacking = [name for name in files if not (folder / name).is_file()]
    return f"no {lacking[0]}" if lacking else ""
