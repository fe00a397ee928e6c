"""Convert records to rows of the one schema, and back.

All data sets are kept in it, a `VideoRecord` as a row of a `datasets.Dataset`.

| column | type | meaning |
|---|---|---|
| video_id | string | name in tables and messages |
| video_features | Array2D (N, Dv) float16 or float32 | one row for each sampled frame |
| frame_times_s | list float64 (N) | when each frame is shown |
| duration_s | float64 | length of the video |
| encoders | {video, text, sample_fps, normalization} or null | what made the features |
| sentences | list of {text, start_s, end_s} (M) | subtitles, child level |
| sentence_spans | Array2D (M, 2) int64 | the same in frame indices, [start, end) |
| text_features | Array2D (M, Dt) | one row for each sentence |
| description | list of string (K) | texts about the whole video, parent level |
| description_features | Array2D (K, Dt) | one row for each of them |
| frame_scores | list float32 (N) or null | importance in [0, 1], NaN = none |
| frame_labels, sentence_labels | list int64 (N), (M) or null | 1, 0, -100 = none |
| user_scores | list of list float64 (U, N) or null | annotators' importance |
| user_summaries | list of list bool (U, n_frames) or null | annotators' summaries |
| shots | Array2D (S, 2) int64, or no rows | [start, end) in original frames |
| picks | list int64 (N) or null | original frame of each sampled one |
| n_frames, views | int64 or null | |
| reference_text | list of string | human summary in words |
| reference_features | Array2D (R, Dv) | its key frames |
| group, source | string or null | what must stay in one part; the file it came from |

Absent features have no rows, absent scalars and lists are null.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Array2D, Dataset, Features, List, Value

from hiersum_hf.files.escape import printable
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.modeling.inputs_hiersum import times_to_spans
from hiersum_hf.records import Encoders, Sentence, VideoRecord, sentence_times_s


ARRAYS = ("video_features", "text_features", "description_features", "reference_features", "shots", "sentence_spans")
LISTS = {
    "frame_times_s": "float64",
    "frame_scores": "float32",
    "frame_labels": "int64",
    "sentence_labels": "int64",
    "picks": "int64",
}
NESTED = {"user_scores": "float64", "user_summaries": "bool"}


def schema(video_dim: int, text_dim: int, dtype: str = "float32") -> Features:
    """Define the columns of a data set with features of these widths.

    A width of 0 means none; features are stored as float16 or float32.
    """
    video, text = Array2D((None, max(video_dim, 1)), dtype), Array2D((None, max(text_dim, 1)), dtype)
    encoders = {"video": Value("string"), "text": Value("string"), "sample_fps": Value("float64")}
    return Features(
        {
            "video_id": Value("string"),
            "video_features": video,
            "duration_s": Value("float64"),
            "encoders": encoders | {"normalization": Value("string")},
            "sentences": List({"text": Value("string"), "start_s": Value("float64"), "end_s": Value("float64")}),
            "sentence_spans": Array2D((None, 2), "int64"),
            "text_features": text,
            "description": List(Value("string")),
            "description_features": text,
            "shots": Array2D((None, 2), "int64"),
            "n_frames": Value("int64"),
            "views": Value("int64"),
            "reference_text": List(Value("string")),
            "reference_features": video,
            "group": Value("string"),
            "source": Value("string"),
        }
        | {name: List(Value(kind)) for name, kind in LISTS.items()}
        | {name: List(List(Value(kind))) for name, kind in NESTED.items()}
    )


def to_row(record: VideoRecord, features: Features) -> dict[str, Any]:
    """Convert a record to a row of this schema.

    Raises:
        ValueError: Features of another width, or text that UTF-8 cannot write; names file and video.
    """
    _refuse_broken_text(record)
    row = {name: getattr(record, name) for name in features if name not in ("sentences", "sentence_spans", "encoders")}
    row["sentences"] = [{"text": s.text, "start_s": s.start_s, "end_s": s.end_s} for s in record.sentences]
    row["sentence_spans"] = times_to_spans(record.frame_times_s, sentence_times_s(record.sentences))
    row["encoders"] = None if record.encoders is None else dict(vars(record.encoders))
    row["shots"] = np.zeros((0, 2), np.int64) if record.shots is None else record.shots
    row["description"], row["reference_text"] = list(record.description), list(record.reference_text)
    for name in ARRAYS:
        _, width = features[name].shape
        array = np.asarray(row[name], features[name].dtype)
        if array.size and array.shape[1] != width:
            where = f"{record.source}, video {printable(record.video_id)}"
            raise InputError(f"{where}: expected {name} of width {width}, found {array.shape[1]}.")
        row[name] = array.reshape(-1, width)
    return row


def _refuse_broken_text(record: VideoRecord) -> None:
    """Refuse half a character, which UTF-8 cannot write.

    JSON holds one where a text was cut within an emoji.

    Raises:
        ValueError: There is one; names file and video.
    """
    names = [record.video_id, record.group, record.source, *(vars(record.encoders).values() if record.encoders else ())]
    texts = [*names, *record.description, *record.reference_text, *(sentence.text for sentence in record.sentences)]
    for text in texts:
        try:
            str(text).encode()
        except UnicodeEncodeError:
            where = printable(f"{record.source}, video {record.video_id}")
            raise InputError(f"{where}: expected text in Unicode, found half a character: {text!r:.80}") from None


def to_table(rows: Sequence[dict[str, Any]], features: Features) -> pa.Table:
    """Convert rows made by `to_row` to a table.

    `Dataset.from_list` would do it too, but is slower and hashes all it is given.
    """
    columns = [_to_column(field.name, [row[field.name] for row in rows], field.type) for field in features.arrow_schema]
    return pa.table(columns, schema=features.arrow_schema)


def _to_column(name: str, cells: list[Any], kind: Any) -> pa.Array:
    if name in ARRAYS:
        flat = np.concatenate(cells)  # (rows of all videos, width)
        # Arrow's list of lists of values: row r of all videos begins at value r x width, video v at row starts[v].
        row_starts = np.arange(len(flat) + 1, dtype=np.int32) * kind.shape[1]
        starts = np.cumsum([0, *map(len, cells)], dtype=np.int32)
        rows = pa.ListArray.from_arrays(pa.array(row_starts), pa.array(flat.ravel()))
        return pa.ExtensionArray.from_storage(kind, pa.ListArray.from_arrays(pa.array(starts), rows))
    if name in LISTS:
        cells = [None if cell is None else np.asarray(cell, LISTS[name]) for cell in cells]
    elif name in NESTED:
        cells = [None if cell is None else list(np.asarray(cell, NESTED[name])) for cell in cells]
    return pa.array(cells, kind)


def to_record(row: pa.RecordBatch) -> VideoRecord:
    """Convert a batch of one row of this schema to a record.

    The batch is made by `without_extensions`; features come as float32.
    """
    values: dict[str, Any] = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        if name == "sentence_spans":
            continue  # follows from the times
        if name in ARRAYS:
            values[name] = _array(column)
        elif name in LISTS:
            values[name] = column.flatten().to_numpy(zero_copy_only=False) if column.is_valid()[0].as_py() else None
        elif name in NESTED:
            values[name] = _rows(column, NESTED[name])
        else:
            values[name] = column[0].as_py()
    values["sentences"] = tuple(Sentence(**sentence) for sentence in values["sentences"])
    for name in ("description", "reference_text"):
        values[name] = tuple(values[name])
    if values["encoders"] is not None:
        values["encoders"] = Encoders(**values["encoders"])
    if len(values["shots"]) == 0:
        values["shots"] = None
    return VideoRecord(**values)


def without_extensions(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Show array columns as lists of lists, in the same memory.

    The wrapper of `datasets` costs more than all the rest.
    """
    columns = [c.storage if isinstance(c, pa.ExtensionArray) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _array(column: pa.Array) -> np.ndarray:
    """Read a cell of an array column.

    Returns:
        (rows, width), or (0, 0) if it has no rows.
    """
    rows = column.flatten()  # one list a row
    flat: np.ndarray = rows.flatten().to_numpy(zero_copy_only=False)
    if flat.dtype == np.float16:
        flat = torch.from_numpy(flat.copy()).float().numpy()  # 10 times as fast as NumPy; a copy because it may write
    return flat.reshape(len(rows), -1) if len(rows) else flat.reshape(0, 0)


def _rows(column: pa.Array, dtype: str) -> np.ndarray | None:
    if not column.is_valid()[0].as_py():
        return None
    lists = column.flatten()
    flat: np.ndarray = lists.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(dtype).reshape(len(lists), -1)


class RecordDataset(Sequence[VideoRecord]):
    """Hold a data set of this schema as a sequence of records.

    They are read from disk one by one.

    Args:
        dataset: Any `datasets.Dataset` with the columns of `schema`.
    """

    def __init__(self, dataset: Dataset):
        missing = sorted(set(schema(1, 1)) - set(dataset.column_names))
        if missing:
            raise InputError(f"expected the columns of hiersum_hf.datasets.schema, missing {', '.join(missing)}")
        self.dataset = dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self.dataset)

    @overload
    def __getitem__(self, index: int) -> VideoRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[VideoRecord]: ...
    def __getitem__(self, index: int | slice) -> VideoRecord | list[VideoRecord]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        if self.dataset._indices is not None:  # after select, shuffle, ...: row -> row on disk
            row = self.dataset._indices.column(0)[row].as_py()
        starts, batches = self._batches
        # The last batch that begins at this row or before it.
        number = bisect_right(starts, row) - 1
        return to_record(batches[number].slice(row - starts[number], 1))

    @cached_property
    def _batches(self) -> tuple[list[int], list[pa.RecordBatch]]:
        """First row of each batch on disk, and the batches."""
        batches = [without_extensions(batch) for batch in self.dataset.data.table.to_batches()]
        return np.cumsum([0, *map(len, batches)]).tolist(), batches

    def __getstate__(self) -> dict[str, Any]:
        """Pass the data set alone to worker processes.

        `datasets` passes the files on, `_batches` would pass what is in them.
        """
        return {"dataset": self.dataset}

    def _column(self, name: str) -> pa.ChunkedArray:
        """Map a column as it lies on disk, without reading it."""
        if name not in self.dataset.column_names:
            raise InputError(f"expected a column of hiersum_hf.datasets.schema, found {name!r}")
        return self.dataset.select_columns([name])[:][name]

    @property
    def groups(self) -> dict[str, str | None]:
        """Every video with its group, without reading features."""
        return dict(zip(self._column("video_id").to_pylist(), self._column("group").to_pylist(), strict=True))

    @property
    def encoders(self) -> list[Encoders | None]:
        """What made the features of each video, without reading them."""
        return [None if made is None else Encoders(**made) for made in self._column("encoders").to_pylist()]

    @property
    def widths(self) -> dict[str, int]:
        """Widths of `video_features` and `text_features`, 0 where there are none.

        The description's features are as wide as those of the sentences.
        """
        kinds = {"video_features": ["video_features"], "text_features": ["text_features", "description_features"]}
        return {
            name: self.dataset.features[name].shape[1] if any(self.row_counts(kind).any() for kind in same) else 0
            for name, same in kinds.items()
        }

    def row_counts(self, name: str) -> np.ndarray:
        """Count the rows of a column for each video, without reading them.

        Args:
            name: A list or array column such as "description_features" or "frame_labels"; null counts as 0.

        Returns:
            (V,) int64.

        Raises:
            ValueError: There is no such column, or its cells are no lists.
        """
        column = self._column(name)
        if isinstance(column.type, pa.ExtensionType):
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
        if not pa.types.is_list(column.type):
            raise InputError(f"expected a column of lists or arrays, found {name} of {column.type}")
        counts: np.ndarray = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        return counts.astype(np.int64)

    def select(self, video_ids: Sequence[str]) -> RecordDataset:
        """Select the records of these videos, in this order, still on disk."""
        row = {video_id: i for i, video_id in enumerate(self.groups)}
        return RecordDataset(self.dataset.select([row[video_id] for video_id in video_ids]))

    def __iter__(self) -> Iterator[VideoRecord]:
        return (self[i] for i in range(len(self)))
