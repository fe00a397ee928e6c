"""A reader's videos to a prepared folder: Parquet files of one schema, with a report of what was found.

    prepared/data-00000.parquet ...   the records, `videos_per_file` in each
    prepared/dataset_info.json        name, schema, splits, fingerprint
    prepared/report.json              counts, encoders, missing parts, duplicates, leaks, positive rates, skipped videos
    prepared/README.md                its card: with it `datasets.load_dataset` reads the folder, here or on the Hub

Work that was interrupted goes on where it stopped: a file appears under its name only when it is complete.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features

from hiersum_hf.datasets.prepare_report import dataset_card, facts, make_report
from hiersum_hf.datasets.prepare_report import format_report as format_report  # for those who prepare
from hiersum_hf.datasets.profile import Profile
from hiersum_hf.datasets.schema import ARRAYS, RecordDataset, schema, to_record, to_row, to_table, without_extensions
from hiersum_hf.records import VideoRecord


FORMAT = 1  # of the prepared folder; part of its fingerprint
ROW_GROUP_BYTES = 32 << 20  # of features; what a reader or writer holds at a time


class Reader(Protocol):
    """What `hiersum_hf.datasets` describes."""

    @property
    def video_ids(self) -> Sequence[str]: ...
    @property
    def splits(self) -> dict[str, list[str]]: ...
    @property
    def findings(self) -> dict[str, list[str]]: ...
    def read(self, video_id: str) -> VideoRecord: ...


@dataclass(frozen=True)
class Rules:
    """What is done with videos that do not fit: left out and listed, or taken and listed; else the work stops."""

    skip_bad: bool
    allow_encoder_mismatch: bool


def prepare(
    reader: Reader,
    output: str | Path,
    source: Sequence[str | Path],
    *,
    dataset: str | None = None,
    dtype: str = "float32",
    skip_bad: bool = False,
    allow_encoder_mismatch: bool = False,
    num_proc: int = 1,
    videos_per_file: int = 64,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes the prepared folder and returns its report.

    Args:
        reader: Where the records come from.
        output: The folder; one that holds work from the same source and settings is completed.
        source: Files and folders the reader reads; their sizes and times are part of the fingerprint.
        dataset: Name of the data set, whose protocol evaluates it.
        dtype: How features are stored, "float32" or "float16".
        skip_bad: Leave out videos that cannot be read and list them in the report, instead of stopping.
        allow_encoder_mismatch: Take videos whose features are as wide as those of the first but come from other
            encoders, and list them in the report, instead of stopping.
        num_proc: Processes that read and write.
        videos_per_file: Videos in one Parquet file.
        progress: Show a bar on stderr.

    Raises:
        ValueError: A video cannot be read or has other encoders (names it), the source has no videos, or the folder was
            prepared from another source or with other settings.
    """
    from tqdm import tqdm

    output, ids = Path(output), list(reader.video_ids)
    if not ids:
        raise ValueError(f"{source[0]}: expected videos, found none.")
    plan: dict[str, Any] = {"format": FORMAT, "reader": repr(reader), "dtype": dtype}
    plan["videos_per_file"] = videos_per_file
    plan["fingerprint"] = fingerprint(plan, ids, source)
    _claim(output, plan)
    rules = Rules(skip_bad, allow_encoder_mismatch)
    profile = _profile(reader, ids, rules)
    features = schema(profile.video_dim, profile.text_dim, dtype)
    files = [ids[i : i + videos_per_file] for i in range(0, len(ids), videos_per_file)]
    write = partial(_write_file, reader, output, features, profile, rules)
    with tqdm(total=len(ids), unit="video", desc=f"preparing {output.name}", disable=None if progress else True) as bar:
        parts = []
        for part, names in zip(_map(write, enumerate(files), num_proc), files, strict=True):
            parts.append(part)
            bar.update(len(names))
    more = {"dataset": dataset, "findings": reader.findings, "fingerprint": plan["fingerprint"]}
    report = make_report(parts, profile.encoders, **more)
    info = {"dataset": dataset} | plan | {"splits": _kept_splits(reader, report), "features": features.to_dict()}
    write_text(output / "dataset_info.json", json.dumps(info, indent=1))
    if not (output / "README.md").exists():  # the user may have added to it
        write_text(output / "README.md", dataset_card(report, dataset or output.name))
    write_text(output / "report.json", json.dumps(report, indent=1))
    for left_over in output.glob(".data-*.parquet.*"):
        left_over.unlink()
    return report


def load_prepared(folder: str | Path) -> RecordDataset:
    """The records of a prepared folder; what was never read before is converted to Arrow once, then memory-mapped.

    Raises:
        ValueError: The folder is not a finished prepared folder, or files of it are missing or broken.
    """
    return RecordDataset(Dataset.from_parquet([glob.escape(str(file)) for file in _files(folder)]))


def stream_prepared(folder: str | Path) -> Iterator[VideoRecord]:
    """The records of a prepared folder in its order, read from Parquet one after the other: no second copy on disk.

    Raises as `load_prepared`.
    """
    return (
        to_record(row.slice(i, 1))
        for file in _files(folder)
        for batch in pq.ParquetFile(file).iter_batches(batch_size=8)
        for row in [without_extensions(batch)]
        for i in range(len(row))
    )


def prepared_splits(folder: str | Path) -> list[dict[str, list[str]]]:
    """The split that the source of a prepared folder ships with, as `tvsum.read_splits` gives one; [] if none."""
    splits = json.loads((Path(folder) / "dataset_info.json").read_text())["splits"]
    return [splits] if splits else []


def prepared_dataset(folder: str | Path) -> str | None:
    """Name of the data set that a prepared folder was made from, None where nobody gave it one."""
    return json.loads((Path(folder) / "dataset_info.json").read_text()).get("dataset")


def _files(folder: str | Path) -> list[Path]:
    """The Parquet files of a finished prepared folder, all of them and whole."""
    folder = Path(folder)
    files = sorted(folder.glob("data-*.parquet"))
    if not (folder / "report.json").is_file() or not files:
        raise ValueError(
            f"{folder}: expected a prepared folder with report.json and data-*.parquet, found {len(files)}."
        )
    expected, found = json.loads((folder / "report.json").read_text())["videos"], sum(map(_row_count, files))
    if found != expected or not found:
        raise ValueError(f"{folder}: expected the {expected} videos of its report.json, found {found}.")
    return files


def _row_count(file: Path) -> int:
    try:
        return pq.read_metadata(file).num_rows
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{file}: expected a whole Parquet file ({error}). Prepare or fetch it again.") from None


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


def _profile(reader: Reader, ids: Sequence[str], rules: Rules) -> Profile:
    """That of the first videos, the same whatever has been written before and in whichever process."""
    profile = Profile()
    for video_id in ids[:100]:
        try:
            profile = profile.completed(reader.read(video_id))
        except ValueError:
            if not rules.skip_bad:
                raise
        if profile.complete:
            break
    return profile


def _map(function: Any, tasks: Iterable[Any], num_proc: int) -> Iterable[Any]:
    if num_proc == 1:
        yield from map(function, tasks)
        return
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])  # imported once, not by each process
    with ProcessPoolExecutor(num_proc, mp_context=context) as pool:
        yield from pool.map(function, tasks)


def _write_file(
    reader: Reader, output: Path, features: Features, profile: Profile, rules: Rules, task: tuple[int, list[str]]
) -> dict[str, Any]:
    """One Parquet file, and in its metadata what the report needs; one that is whole already is left as it is."""
    number, names = task
    path = output / f"data-{number:05d}.parquet"
    part = _written_before(path, rules)
    if part is not None:
        return part
    part = {"rules": asdict(rules), "videos": {}, "skipped": {}, "mismatches": {}}
    partial_path = path.with_name(f".{path.name}.{os.getpid()}")
    half = features["video_features"].dtype == "float16"  # no dictionary: it is read 4 times as slowly
    with pq.ParquetWriter(
        partial_path, features.arrow_schema, use_dictionary=not half, write_statistics=False
    ) as writer:
        for rows in _row_groups(reader, names, features, profile, part):
            writer.write_table(to_table(rows, features))
        writer.add_key_value_metadata({"hiersum": json.dumps(part)})
    os.replace(partial_path, path)
    return part


def _written_before(path: Path, rules: Rules) -> dict[str, Any] | None:
    """What the metadata of a file says; None if it is missing, broken or other rules would change what is in it."""
    try:
        part = json.loads(pq.read_metadata(path).metadata[b"hiersum"])
    except (OSError, pa.ArrowException, KeyError, TypeError):
        return None
    return part if part["rules"] == asdict(rules) or not (part["skipped"] or part["mismatches"]) else None


def _row_groups(
    reader: Reader, names: Sequence[str], features: Features, profile: Profile, part: dict[str, Any]
) -> Iterator[list[dict[str, Any]]]:
    """Rows of the videos that belong into the file, some megabytes at a time; notes in `part` what is found."""
    rows: list[dict[str, Any]] = []
    size = 0
    for name in names:
        try:
            record = reader.read(name)
            row, mismatch = to_row(record, features), profile.mismatch(record)
            if mismatch and not part["rules"]["allow_encoder_mismatch"]:
                raise ValueError(f"{mismatch}. Only --allow-encoder-mismatch mixes them.")
        except ValueError as error:
            if not part["rules"]["skip_bad"]:
                raise
            part["skipped"][name] = str(error)
            continue
        rows.append(row)
        size += sum(row[kind].nbytes for kind in ARRAYS)
        part["videos"][record.video_id] = facts(record)
        if mismatch:
            part["mismatches"][record.video_id] = mismatch
        if size > ROW_GROUP_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _kept_splits(reader: Reader, report: dict[str, Any]) -> dict[str, list[str]]:
    return {part: [name for name in names if name not in report["skipped"]] for part, names in reader.splits.items()}
