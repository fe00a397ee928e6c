"""Write a reader's videos into a prepared folder.

    prepared/data-00000.parquet ...   the records in one schema, `videos_per_file` in each
    prepared/dataset_info.json        name, schema, splits, fingerprint
    prepared/report.json              counts, encoders, missing parts, duplicates, leaks, positive rates, skipped videos
    prepared/README.md                its card: with it `datasets.load_dataset` reads the folder, here or on the Hub

Work that was interrupted goes on where it stopped: a file appears under its name only when it is complete.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import active_children, get_all_start_methods, get_context
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from hiersum_hf.datasets.consistency import Profile
from hiersum_hf.datasets.manifest import claim, claimed, make_plan
from hiersum_hf.datasets.report import dataset_card, facts, make_report
from hiersum_hf.datasets.schema import ARRAYS, schema, to_row, to_table
from hiersum_hf.files.atomic import aside, refuse_uri, write_text
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord


SKIP_BAD = "--skip-bad leaves out videos that cannot be read."
ROW_GROUP_BYTES = 32 << 20  # of features; what a reader or writer holds at a time


class Reader(Protocol):
    """Read one data set, as `hiersum_hf.datasets` describes."""

    @property
    def video_ids(self) -> Sequence[str]: ...
    @property
    def splits(self) -> dict[str, list[str]]: ...
    @property
    def findings(self) -> dict[str, list[str]]: ...
    def read(self, video_id: str) -> VideoRecord: ...


@dataclass(frozen=True)
class Rules:
    """Say what is done with videos that do not fit.

    They are left out and listed, or taken and listed; else the work stops.
    """

    skip_bad: bool
    allow_encoder_mismatch: bool


class _Learned(Exception):
    """Tell that a video has features that all before lacked.

    The work starts again with the fuller profile.
    """

    def __init__(self, profile: Profile):
        super().__init__(profile)
        self.profile = profile


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
    """Write the prepared folder and return its report.

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
        FileNotFoundError: A video lacks a file.
        OSError: The disk is full, or a process was ended from outside; what is done stays.
        ValueError: A video cannot be read or has other encoders (names it), the source has no videos, none that can be
            read, or the folder was prepared from another source, with other settings or by another version.
    """
    if min(num_proc, videos_per_file) < 1:
        raise HierSumError(f"num_proc, videos_per_file: expected at least 1, found {num_proc} and {videos_per_file}")
    refuse_uri(output)
    output, ids = Path(output), list(reader.video_ids)
    if not ids:
        raise HierSumError(f"{source[0]}: expected videos, found none. `hiersum prepare --help` says what it is.")
    plan = make_plan(ids, source, reader=repr(reader), dtype=dtype, videos_per_file=videos_per_file)
    rules = Rules(skip_bad, allow_encoder_mismatch)
    profile = claimed(output, plan) or _first_profile(reader, ids, rules, source)
    files = [ids[i : i + videos_per_file] for i in range(0, len(ids), videos_per_file)]
    while True:
        claim(output, plan, profile)
        features = schema(profile.video_dim, profile.text_dim, dtype)
        write = partial(_write_file, reader, output, features, profile, rules)
        try:
            parts = _progress(_map(write, enumerate(files), num_proc), files, output.name if progress else None)
            break
        except _Learned as learned:
            profile = learned.profile
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


def _first_profile(reader: Reader, ids: Sequence[str], rules: Rules, source: Sequence[str | Path]) -> Profile:
    """Read the profile of the first video that can be read.

    What that one lacks is learned on the way (`_Learned`).
    """
    first = None
    for video_id in ids:
        try:
            return Profile().completed(_read(reader, video_id, rules.skip_bad))
        except (ValueError, FileNotFoundError) as error:
            if not rules.skip_bad:
                raise
            first = first or error
    raise HierSumError(f"{source[0]}: expected a video that can be read, found none in {len(ids)}. The first: {first}")


def _progress(parts: Iterable[Any], files: Sequence[Sequence[str]], name: str | None) -> list[Any]:
    """Collect the parts, with a bar on stderr if named."""
    from tqdm import tqdm

    found, total = [], sum(map(len, files))
    with tqdm(total=total, unit="video", desc=f"preparing {name}", disable=None if name else True) as bar:
        for part, names in zip(parts, files, strict=True):
            found.append(part)
            bar.update(len(names))
    return found


def _map(function: Any, tasks: Iterable[Any], num_proc: int) -> Iterable[Any]:
    """Apply a function to tasks in order, in several processes if asked.

    Raises:
        ChildProcessError: A process was ended from outside.
    """
    if num_proc == 1:
        yield from map(function, tasks)
        return
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])  # imported once, not by each process
    others = active_children()
    ctrl_c = signal.SIGINT, signal.SIG_IGN  # is for this process, which ends the others
    try:
        with ProcessPoolExecutor(num_proc, context, signal.signal, ctrl_c) as pool:
            try:
                yield from pool.map(function, tasks)
            except (KeyboardInterrupt, GeneratorExit):  # else the pool would wait until every process has its file
                for process in set(active_children()).difference(others):
                    process.terminate()
                raise
    except BrokenProcessPool as error:
        raise ChildProcessError(
            f"expected {num_proc} processes to the end, found one that was ended from outside, most often for want of "
            "memory. What is done stays: run the same again, perhaps with fewer processes."
        ) from error


def _write_file(
    reader: Reader, output: Path, features: Features, profile: Profile, rules: Rules, task: tuple[int, list[str]]
) -> dict[str, Any]:
    """Write one Parquet file, with what the report needs in its metadata.

    One that is whole already is left as it is.

    Returns:
        What the report needs.
    """
    number, names = task
    path = output / f"data-{number:05d}.parquet"
    part = _written_before(path, rules, features)
    if part is not None:
        return part
    part = {"rules": asdict(rules), "videos": {}, "skipped": {}, "mismatches": {}}
    half = features["video_features"].dtype == "float16"  # no dictionary: it is read 4 times as slowly
    with (
        aside(path) as partial_path,
        pq.ParquetWriter(
            partial_path, features.arrow_schema, use_dictionary=not half, write_statistics=False
        ) as writer,
    ):
        for rows in _row_groups(reader, names, features, profile, part):
            writer.write_table(to_table(rows, features))
        writer.add_key_value_metadata({"hiersum": json.dumps(part)})
    return part


def _read(reader: Reader, video_id: str, skip_bad: bool) -> VideoRecord:
    """Read the video.

    Raises:
        ValueError: It takes more memory than there is; names it. Else as the reader. Unless bad videos are skipped it
            says how they would be.
    """
    try:
        return reader.read(video_id)
    except MemoryError as error:
        found: Exception = HierSumError(f"video {video_id}: expected memory for it, found too little: {error}")
    except (ValueError, FileNotFoundError) as error:
        found = error
    if skip_bad:
        raise found
    kind = FileNotFoundError if isinstance(found, FileNotFoundError) else HierSumError
    raise kind(f"{str(found).rstrip('.')}. {SKIP_BAD}") from None


def _written_before(path: Path, rules: Rules, features: Features) -> dict[str, Any] | None:
    """Read what the metadata of a file says of its videos.

    None if it is missing, broken, of other widths, or if other rules would change what is in it.
    """
    try:
        metadata = pq.read_metadata(path)
        part = json.loads(metadata.metadata[b"hiersum"])
        same_widths = metadata.schema.to_arrow_schema().equals(features.arrow_schema)
        # Other rules would change a file only if some of its videos were left out or differ.
        same_rules = part["rules"] == asdict(rules) or not (part["skipped"] or part["mismatches"])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    return part if same_widths and same_rules else None


def _row_groups(
    reader: Reader, names: Sequence[str], features: Features, profile: Profile, part: dict[str, Any]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a file, some megabytes at a time.

    What is found on the way is noted in `part`, of which the metadata of the file is made.
    """
    rows: list[dict[str, Any]] = []
    size = 0
    for name in names:
        try:
            record = _read(reader, name, part["rules"]["skip_bad"])
            mismatch = profile.mismatch(record)
            if mismatch and not part["rules"]["allow_encoder_mismatch"]:
                raise HierSumError(f"{mismatch}. Only --allow-encoder-mismatch mixes them.")
            # A width that was 0 so far changes the schema, and with it the files written before.
            if (fuller := profile.completed(record)) != profile:
                raise _Learned(fuller)
            row = to_row(record, features)
        except (ValueError, FileNotFoundError) as error:
            if not part["rules"]["skip_bad"]:
                raise
            part["skipped"][name] = str(error)
            continue
        rows.append(row)
        # Row groups are cut by their bytes: features of one video may have megabytes or kilobytes.
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
