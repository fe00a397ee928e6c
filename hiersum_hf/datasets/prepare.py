"""A reader's videos to a prepared folder: Parquet files of one schema, with a report of what was found.

    prepared/data-00000.parquet ...   the records, `videos_per_file` in each
    prepared/dataset_info.json        schema, splits, fingerprint
    prepared/report.json              counts, missing parts, duplicates, leaks, positive rate, skipped videos

Work that was interrupted goes on where it stopped: a file appears under its name only when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from datasets import Dataset, Features, disable_progress_bars

from hiersum_hf.datasets.schema import RecordDataset, schema, to_row
from hiersum_hf.records import VideoRecord


FORMAT = 1  # of the prepared folder; part of its fingerprint
MISSING = {
    "features": lambda r: len(r.video_features) == 0,
    "subtitles": lambda r: len(r.sentences) == 0,
    "description": lambda r: len(r.description) == 0,
    "scores": lambda r: r.frame_scores is None,
    "labels": lambda r: r.frame_labels is None,
    "annotators": lambda r: r.user_scores is None,
    "shots": lambda r: r.shots is None,
    "views": lambda r: r.views is None,
}


class Reader(Protocol):
    """What `hiersum_hf.datasets` describes."""

    @property
    def video_ids(self) -> Sequence[str]: ...
    @property
    def splits(self) -> dict[str, list[str]]: ...
    @property
    def findings(self) -> dict[str, list[str]]: ...
    def read(self, video_id: str) -> VideoRecord: ...


def prepare(
    reader: Reader,
    output: str | Path,
    source: Sequence[str | Path],
    *,
    dtype: str = "float32",
    skip_bad: bool = False,
    num_proc: int = 1,
    videos_per_file: int = 64,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes the prepared folder and returns its report.

    Args:
        reader: Where the records come from.
        output: The folder; one that holds work from the same source and settings is completed.
        source: Files and folders the reader reads; their sizes and times are part of the fingerprint.
        dtype: How features are stored, "float32" or "float16".
        skip_bad: Leave out videos that cannot be read and list them in the report, instead of stopping.
        num_proc: Processes that read and write.
        videos_per_file: Videos in one Parquet file.
        progress: Show a bar on stderr.

    Raises:
        ValueError: A video cannot be read (names it), the source has no videos, or the folder was prepared from
            another source or with other settings.
    """
    from tqdm import tqdm

    output, ids = Path(output), list(reader.video_ids)
    if not ids:
        raise ValueError(f"{source[0]}: expected videos, found none.")
    plan: dict[str, Any] = {
        "format": FORMAT,
        "reader": repr(reader),
        "dtype": dtype,
        "videos_per_file": videos_per_file,
    }
    plan["fingerprint"] = fingerprint(plan, ids, source)
    _claim(output, plan)
    features = schema(*_widths(reader, ids, skip_bad), dtype)
    files = [ids[i : i + videos_per_file] for i in range(0, len(ids), videos_per_file)]
    write = partial(_write_file, reader, output, features, skip_bad)
    with tqdm(total=len(ids), unit="video", desc=f"preparing {output.name}", disable=None if progress else True) as bar:
        parts = []
        for part, names in zip(_map(write, enumerate(files), num_proc), files, strict=True):
            parts.append(part)
            bar.update(len(names))
    report = _report(reader, parts, plan["fingerprint"])
    info = plan | {"splits": _kept_splits(reader, report), "features": features.to_dict()}
    write_text(output / "dataset_info.json", json.dumps(info, indent=1))
    write_text(output / "report.json", json.dumps(report, indent=1))
    return report


def load_prepared(folder: str | Path) -> RecordDataset:
    """The records of a prepared folder; what was never read before is converted to Arrow once, then memory-mapped.

    Raises:
        ValueError: The folder is not a finished prepared folder.
    """
    files = sorted(str(path) for path in Path(folder).glob("data-*.parquet"))
    if not (Path(folder) / "report.json").is_file() or not files:
        raise ValueError(
            f"{folder}: expected a prepared folder with report.json and data-*.parquet, found {len(files)}."
        )
    return RecordDataset(Dataset.from_parquet(files))


def prepared_splits(folder: str | Path) -> list[dict[str, list[str]]]:
    """The split that the source of a prepared folder ships with, as `tvsum.read_splits` gives one; [] if none."""
    splits = json.loads((Path(folder) / "dataset_info.json").read_text())["splits"]
    return [splits] if splits else []


def fingerprint(plan: dict[str, Any], ids: Sequence[str], source: Iterable[str | Path]) -> str:
    """Changes with the settings, the videos, or the size or time of any source file."""
    digest = hashlib.sha256(json.dumps([plan, list(ids)], sort_keys=True).encode())
    for path in map(Path, source):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                stat = file.stat()
                digest.update(f"{file.relative_to(path)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def write_text(path: Path, text: str) -> None:
    """The text under this name, whole or not at all."""
    partial_path = path.with_name(f".{path.name}.{os.getpid()}")
    partial_path.write_text(text, encoding="utf-8")
    os.replace(partial_path, path)


def _claim(output: Path, plan: dict[str, Any]) -> None:
    """Marks the folder with the plan, or checks that it is marked with the same one."""
    mark = output / ".plan.json"
    if mark.is_file():
        found = json.loads(mark.read_text())
        if found != plan:
            changed = sorted(key for key in plan if found.get(key) != plan[key])
            raise ValueError(f"{output}: prepared before with another {', '.join(changed)}. Choose another folder.")
    elif output.exists() and any(output.iterdir()):
        raise ValueError(f"{output}: expected a new or prepared folder, found other files in it.")
    else:
        output.mkdir(parents=True, exist_ok=True)
        write_text(mark, json.dumps(plan))


def _widths(reader: Reader, ids: Sequence[str], skip_bad: bool) -> tuple[int, int]:
    """Widths of frame and text features: those of the first videos that have any."""
    video_dim = text_dim = 0
    for video_id in ids[:100]:
        try:
            record = reader.read(video_id)
        except ValueError:
            if not skip_bad:
                raise
            continue
        video_dim = video_dim or record.video_features.shape[1]
        text_dim = text_dim or max(record.text_features.shape[1], record.description_features.shape[1])
        if video_dim and text_dim:
            break
    return video_dim, text_dim


def _map(function: Any, tasks: Iterable[Any], num_proc: int) -> Iterable[Any]:
    if num_proc == 1:
        yield from map(function, tasks)
        return
    with ProcessPoolExecutor(num_proc, mp_context=get_context("spawn")) as pool:
        yield from pool.map(function, tasks)


def _write_file(
    reader: Reader, output: Path, features: Features, skip_bad: bool, task: tuple[int, list[str]]
) -> dict[str, Any]:
    """One Parquet file and what its videos lack; a file that is there already is left as it is."""
    number, names = task
    path, notes = output / f"data-{number:05d}.parquet", output / f".notes-{number:05d}.json"
    if path.exists() and notes.exists():
        return json.loads(notes.read_text())
    rows, videos, skipped = [], {}, {}
    for video_id in names:
        try:
            record = reader.read(video_id)
            rows.append(to_row(record, features))
            videos[record.video_id] = _facts(record)
        except ValueError as error:
            if not skip_bad:
                raise
            skipped[video_id] = str(error)
    disable_progress_bars()
    partial_path = path.with_name(f".{path.name}.{os.getpid()}")
    columns = {name: [row[name] for row in rows] for name in features}
    Dataset.from_dict(columns, features=features).to_parquet(str(partial_path))
    part = {"videos": videos, "skipped": skipped}
    write_text(notes, json.dumps(part))
    os.replace(partial_path, path)
    return part


def _facts(record: VideoRecord) -> dict[str, Any]:
    labels = record.frame_labels
    known = labels[labels != -100] if labels is not None else np.zeros(0)
    return {
        "hours": record.duration_s / 3600,
        "missing": [name for name, lacks in MISSING.items() if lacks(record)],
        "labelled": len(known),
        "positive": int((known == 1).sum()),
        "group": record.group,
    }


def _report(reader: Reader, parts: Sequence[dict[str, Any]], mark: str) -> dict[str, Any]:
    videos = {name: facts for part in parts for name, facts in part["videos"].items()}
    skipped = {name: error for part in parts for name, error in part["skipped"].items()}
    labelled = sum(facts["labelled"] for facts in videos.values())
    positive = sum(facts["positive"] for facts in videos.values())
    groups: dict[str, list[str]] = {}
    for name, facts in videos.items():
        if facts["group"] is not None:
            groups.setdefault(facts["group"], []).append(name)
    missing = {kind: sum(kind in facts["missing"] for facts in videos.values()) for kind in MISSING}
    return {
        "videos": len(videos),
        "hours": sum(facts["hours"] for facts in videos.values()),
        "missing": {kind: count for kind, count in missing.items() if count},
        "positive_rate": positive / labelled if labelled else None,
        "duplicates": {group: names for group, names in groups.items() if len(names) > 1},
        "findings": reader.findings,
        "skipped": skipped,
        "fingerprint": mark,
    }


def _kept_splits(reader: Reader, report: dict[str, Any]) -> dict[str, list[str]]:
    return {part: [name for name in names if name not in report["skipped"]] for part, names in reader.splits.items()}


def format_report(report: dict[str, Any]) -> str:
    """The report as lines to read."""
    rate = report["positive_rate"]
    lines = [f"videos         {report['videos']}", f"hours          {report['hours']:.2f}"]
    lines += [f"without {kind:<14} {count}" for kind, count in report["missing"].items()]
    lines.append(f"positive rate  {'no labels' if rate is None else f'{rate:.1%} of the labelled frames'}")
    lines.append(f"same video     {len(report['duplicates'])} groups")
    lines += [f"{kind:<14} {len(items)}: {', '.join(items[:5])}" for kind, items in report["findings"].items() if items]
    lines += [f"skipped        {name}: {error}" for name, error in report["skipped"].items()]
    return "\n".join(lines)
