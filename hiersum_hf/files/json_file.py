"""JSON from others.

One line says what is wrong with it and where.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from hiersum_hf.files.changed import changed_ns
from hiersum_hf.modeling.errors_hiersum import InputError


def parse_json(text: str, where: str, finite: bool = False) -> Any:
    """Parse a text in JSON.

    Args:
        text: The JSON.
        where: What errors name, such as the path of the file.
        finite: Refuse NaN and Infinity. JSON has neither, but Python writes and reads them.

    Raises:
        InputError: The text is not JSON, or is nested deeper than Python reads.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant if finite else None)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: expected JSON, found none in {text.strip()[:40]!r} ({error})") from None


def read_json(path: str | Path, finite: bool = False) -> Any:
    """Read a JSON file in UTF-8.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: As `parse_json`, or the file is not in UTF-8; names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a JSON file, found no such file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected JSON, found none ({error})") from None
    return parse_json(text, str(path), finite)


def read_json_object(path: str | Path, finite: bool = False) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        FileNotFoundError, InputError: As `read_json`, or the file holds something else.
    """
    found = read_json(path, finite)
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(found).__name__}")
    return found


def cached_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object once, and again only after the file changed.

    All callers share the object and must not change it. Raises as `read_json_object`.
    """
    return _read_once(path, changed_ns(path))


@lru_cache(maxsize=4)
def _read_once(path: Path, changed_ns: int) -> dict[str, Any]:
    return read_json_object(path)


def _refuse_constant(name: str) -> NoReturn:
    raise InputError(f"{name} is no number")
