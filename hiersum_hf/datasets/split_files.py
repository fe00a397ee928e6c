"""Read split files of the field.

They are yml or json with all splits, or one list of ids for each part of a split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hiersum_hf.files.json_file import parse_json
from hiersum_hf.files.safe_yaml import load_yaml
from hiersum_hf.modeling.errors_hiersum import InputError


KEYS = {"train": "train_keys", "validation": "val_keys", "test": "test_keys"}
SHORT_KEYS = {"train": "train", "validation": "val", "test": "test"}
MAX_VALUES = 10_000_000  # in YAML
LISTS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}


def read_splits(path: str | Path) -> list[dict[str, list[str]]]:
    """Read a split file in yml, json or lists of ids.

    DSNet's and A2Summ's are yml, PGL-SUM's, VASNet's and Mr.HiSum's json. Either holds a mapping or a list of mappings
    with `train_keys`, `test_keys` and perhaps `val_keys`, or with `train`, `test` and perhaps `val`, as SM-MrHiSum's. A
    list is train.txt, test.txt, val.txt, valid.txt or validation.txt, one id a line, and stands for those beside it
    too. In a list, empty lines and what follows a # do not count.

    Returns:
        One {"train": [...], "test": [...]} for each split, with "validation" if the file has it; names without the
        path that the files put before them.

    Raises:
        FileNotFoundError: There is no such file, or no train.txt or test.txt beside a list.
        ValueError: Another form, no videos in train or test, or a video twice in one split; names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a split file, found no such file")
    splits = [_from_lists(path)] if path.suffix == ".txt" else _from_mappings(path)
    return [_checked(split, f"{path}, split {k}") for k, split in enumerate(splits)]


def _from_mappings(path: Path) -> list[dict[str, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8")
        content = parse_json(text, path.name) if path.suffix == ".json" else load_yaml(text, MAX_VALUES)
        splits = [_parts(split) for split in ([content] if isinstance(content, dict) else content)]
        if not splits:
            raise InputError("an empty list")
        return splits
    except (ValueError, TypeError, KeyError) as error:
        form = "a mapping or a list of mappings with lists of ids under train_keys and test_keys"
        example = '{"train_keys": ["video_1", ...], "test_keys": [...]}'
        raise InputError(f"{path}: expected {form}, found something else ({error!r:.200}). Write {example}.") from None


def _parts(split: Any) -> dict[str, list[str]]:
    keys = SHORT_KEYS if isinstance(split, dict) and "train" in split else KEYS
    parts = {part: split[key] for part, key in keys.items() if part != "validation" or split.get(key)}
    for part, ids in parts.items():
        if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
            raise TypeError(f"{keys[part]}: expected texts, found {type(ids).__name__} of others")
    return parts


def _from_lists(path: Path) -> dict[str, list[str]]:
    names = sum(LISTS.values(), ())
    if path.stem not in names:
        raise InputError(f"{path}: expected a list called {', '.join(f'{name}.txt' for name in names)}. Rename it.")
    split = {}
    for part, stems in LISTS.items():
        files = [file for stem in stems if (file := path.with_name(f"{stem}.txt")).is_file()]
        if len(files) > 1:
            found = ", ".join(file.name for file in files)
            raise InputError(f"{path.parent}: expected one list for {part}, found {found}. Remove all but one.")
        if files:
            split[part] = _lines(files[0])
        elif part != "validation":
            missing = path.with_name(f"{part}.txt")
            raise FileNotFoundError(f"{missing}: expected this list beside {path.name}, found no such file. Write it.")
    return split


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8, found none ({error}). Save it so.") from None
    return [name for line in lines if (name := line.split("#")[0].strip())]


def _checked(split: dict[str, list[str]], where: str) -> dict[str, list[str]]:
    """Cut paths to their last parts, and check the split.

    Raises:
        ValueError: A part that must have videos has none, or two parts share one.
    """
    seen: dict[str, str] = {}
    for part, paths in split.items():
        if not paths and part != "validation":
            raise InputError(f"{where}: expected videos in {part}, found none. Name some.")
        for path in paths:
            # The field's files write "../datasets/eccv16_dataset_tvsum_google_pool5.h5/video_1".
            name, found = path.split("/")[-1], f"{path} ({part})"
            if seen.setdefault(name, found) is not found:
                raise InputError(f"{where}: expected {name} once, found {seen[name]} and {found}. Remove one.")
    return {part: [path.split("/")[-1] for path in paths] for part, paths in split.items() if paths}
