"""The one schema of all data sets: `VideoRecord` <-> a row of a `datasets.Dataset`.

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

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Array2D, Dataset, Features, List, Value

from hiersum_hf.modeling.feature_extraction_hiersum import times_to_spans
from hiersum_hf.records import Encoders, Sentence, VideoRecord


ARRAYS = ("video_features", "text_features", "description_features", "reference_features", "shots", "sentence_spans")
LISTS = {
    "frame_times_s": "float64", "frame_scores": "float32", "frame_labels": "int64", "sentence_labels": "int64",
    "picks": "int64",
}  # fmt: skip
NESTED = {"user_scores": "float64", "user_summaries": "bool"}


def schema(video_dim: int, text_dim: int, dtype: str = "float32") -> Features:
    """Columns of a data set with features of these widths (0 = none), stored as float16 or float32."""
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
    """The record as a row of a data set with this schema.

    Raises:
        ValueError: Features of another width; names the video.
    """
    spoken = np.array([(s.start_s, s.end_s) for s in record.sentences]).reshape(-1, 2)
    row = {name: getattr(record, name) for name in features if name not in ("sentences", "sentence_spans", "encoders")}
    row["sentences"] = [{"text": s.text, "start_s": s.start_s, "end_s": s.end_s} for s in record.sentences]
    row["sentence_spans"] = times_to_spans(record.frame_times_s, spoken)
    row["encoders"] = None if record.encoders is None else dict(vars(record.encoders))
    row["shots"] = np.zeros((0, 2), np.int64) if record.shots is None else record.shots
    row["description"], row["reference_text"] = list(record.description), list(record.reference_text)
    for name in ARRAYS:
        _, width = features[name].shape
        array = np.asarray(row[name], features[name].dtype)
        if len(array) and array.shape[1] != width:
            raise ValueError(f"{record.video_id}: expected {name} of width {width}, found {array.shape[1]}.")
        row[name] = array.reshape(-1, width)
    return row


def to_record(row: pa.Table) -> VideoRecord:
    """One row, as `dataset.with_format("arrow")[i]` gives it, as a record; features come as float32."""
    row = row.combine_chunks()
    values: dict[str, Any] = {}
    for name in row.column_names:
        column = row.column(name).chunk(0)
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


def _array(column: Any) -> np.ndarray:
    """(rows, width): an Array2D cell."""
    storage = column.storage[0].values  # one list a row
    width = column.type.shape[1]
    flat = storage.flatten().to_numpy(zero_copy_only=False)
    return (flat.astype(np.float32) if flat.dtype == np.float16 else flat).reshape(-1, width)


def _rows(column: Any, dtype: str) -> np.ndarray | None:
    if not column.is_valid()[0].as_py():
        return None
    lists = column[0].values
    return lists.flatten().to_numpy(zero_copy_only=False).astype(dtype).reshape(len(lists), -1)


class RecordDataset(Sequence[VideoRecord]):
    """A data set of this schema as a sequence of records, read from disk one by one.

    Args:
        dataset: Any `datasets.Dataset` with the columns of `schema`.
    """

    def __init__(self, dataset: Dataset):
        missing = sorted(set(schema(1, 1)) - set(dataset.column_names))
        if missing:
            raise ValueError(f"expected the columns of hiersum_hf.datasets.schema, missing {', '.join(missing)}")
        self.dataset = dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return to_record(self.dataset[range(len(self))[index]])

    @property
    def groups(self) -> dict[str, str | None]:
        """Every video with its group, without reading features."""
        columns = self.dataset.select_columns(["video_id", "group"])[:]
        return dict(zip(columns["video_id"].to_pylist(), columns["group"].to_pylist(), strict=True))

    def select(self, video_ids: Sequence[str]) -> RecordDataset:
        """The records of these videos, in this order, still on disk."""
        row = {video_id: i for i, video_id in enumerate(self.groups)}
        return RecordDataset(self.dataset.select([row[video_id] for video_id in video_ids]))

    def __iter__(self) -> Iterator[VideoRecord]:
        return (self[i] for i in range(len(self)))
