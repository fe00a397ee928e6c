"""Read a prepared folder, which `hiersum_hf.datasets.prepare` wrote."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from hiersum_hf.datasets.manifest import check_finished
from hiersum_hf.datasets.schema import RecordDataset, to_record, without_extensions
from hiersum_hf.files.json_file import read_json, read_json_object
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import VideoRecord


def load_prepared(folder: str | Path) -> RecordDataset:
    """Load the records of a prepared folder.

    What was never read before is converted to Arrow once, then memory-mapped.

    Raises:
        ValueError: The folder is not a finished prepared folder, or files of it are missing or broken.
    """
    return RecordDataset(Dataset.from_parquet([glob.escape(str(file)) for file in _files(folder)]))


def stream_prepared(folder: str | Path) -> Iterator[VideoRecord]:
    """Read the records of a prepared folder one after the other.

    They come from Parquet in the folder's order, without a second copy on disk. Raises as `load_prepared`.
    """
    return (record for file in _files(folder) for record in _records(file))


def _records(file: Path) -> Iterator[VideoRecord]:
    try:
        for batch in map(without_extensions, pq.ParquetFile(file).iter_batches(batch_size=8)):
            yield from (to_record(batch.slice(i, 1)) for i in range(len(batch)))
    except (OSError, TypeError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"{file}: expected records, found a damaged file ({error}). Prepare or fetch it again."
        ) from None


def prepared_splits(folder: str | Path) -> list[dict[str, list[str]]]:
    """Read the split that the source of a prepared folder ships with.

    It has the form of `split_files.read_splits`; [] if there is none.
    """
    splits = _info(folder)["splits"]
    return [splits] if splits else []


def prepared_dataset(folder: str | Path) -> str | None:
    """Name the data set that a prepared folder was made from.

    None where nobody gave it one.
    """
    return _info(folder).get("dataset")


def _info(folder: str | Path) -> dict[str, Any]:
    path = Path(folder) / "dataset_info.json"
    info = read_json_object(path)
    splits = info.get("splits")
    parts = list(splits.values()) if isinstance(splits, dict) else [None]
    if not all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in parts):
        raise InputError(
            f"{path}: expected an object with splits, lists of video ids, found {info!r:.80}. Prepare it again."
        )
    return info


def _files(folder: str | Path) -> list[Path]:
    """List the Parquet files of a finished prepared folder.

    Raises:
        ValueError: It is not finished, or not all of them are there and whole.
    """
    folder = Path(folder)
    check_finished(folder)
    files = sorted(folder.glob("data-*.parquet"))
    if not (folder / "report.json").is_file() or not files:
        raise InputError(
            f"{folder}: expected a prepared folder with report.json and data-*.parquet, found {len(files)} of these. "
            "`hiersum prepare` makes one."
        )
    report, found = read_json(folder / "report.json"), sum(map(_row_count, files))
    expected = report.get("videos") if isinstance(report, dict) else None
    if found != expected or not found:
        raise InputError(
            f"{folder}: expected the {expected} videos of its report.json, found {found}. Fetch or prepare it again."
        )
    return files


def _row_count(file: Path) -> int:
    try:
        return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: expected a whole Parquet file ({error}). Prepare or fetch it again.") from None
