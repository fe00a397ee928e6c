"""Records that differ from the demo's, and what must survive when they are stored."""

import weakref
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from datasets import Dataset

from hiersum_hf.datasets.schema import RecordDataset, schema, to_row
from hiersum_hf.records import Encoders, VideoRecord


def like_mrhisum(record):
    """Scores with gaps, no text, no annotators."""
    nothing = np.zeros((0, 0), np.float32)
    scores = np.where(np.arange(len(record.frame_scores)) % 5 == 0, np.nan, record.frame_scores).astype(np.float32)
    return replace(
        record, frame_scores=scores, sentences=(), text_features=nothing, description=(), description_features=nothing,
        sentence_labels=None, user_scores=None, user_summaries=None,
        encoders=Encoders("youtube8m-inception", "", 1.0, "mrhisum"),
    )  # fmt: skip


class OnDisk(Sequence):
    """Records as a set on disk gives them: made anew at every read, which is counted; its columns without reading.

    Args:
        records: What is read.
        count: How many videos the set has; the records repeat.
    """

    def __init__(self, records, count=None):
        self.records, self.count = records, count or len(records)
        self.read, self.alive, self.most_alive = [], weakref.WeakSet(), 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        index = range(self.count)[index]
        self.read.append(index)
        record = replace(self.records[index % len(self.records)])
        self.alive.add(record)
        self.most_alive = max(self.most_alive, len(self.alive))
        return record

    def row_counts(self, name):
        values = [getattr(record, name) for record in self.records]
        counts = [0 if value is None else len(value) for value in values]
        return np.array([counts[i % len(counts)] for i in range(self.count)])

    @property
    def encoders(self):
        return [self.records[i % len(self.records)].encoders for i in range(self.count)]


def same_record(found: VideoRecord, expected: VideoRecord) -> None:
    for name in (field.name for field in fields(VideoRecord)):
        left, right = getattr(found, name), getattr(expected, name)
        if isinstance(right, np.ndarray) and right.size:
            assert left.dtype == right.dtype, name
            np.testing.assert_array_equal(left, right, err_msg=name)
        elif isinstance(right, np.ndarray):
            assert len(left) == len(right) == 0, name
        else:
            assert left == right, name


def through_parquet(record: VideoRecord, path) -> VideoRecord:
    features = schema(record.video_features.shape[1], record.text_features.shape[1])
    Dataset.from_list([to_row(record, features)], features=features).to_parquet(str(path))
    return RecordDataset(Dataset.from_parquet(str(path), cache_dir=str(path.parent)))[0]


def round_trip(records, folder):
    """Records through Parquet; every field must come back."""
    widths = (max(r.video_features.shape[1] for r in records), max(r.text_features.shape[1] for r in records))
    features = schema(*widths)
    Dataset.from_list([to_row(r, features) for r in records], features=features).to_parquet(str(folder / "x.parquet"))
    back = RecordDataset(Dataset.from_parquet(str(folder / "x.parquet"), cache_dir=str(folder / "cache")))
    for ours, theirs in zip(records, back, strict=True):
        for field in fields(ours):
            one, two = getattr(ours, field.name), getattr(theirs, field.name)
            if isinstance(one, np.ndarray) and len(one):
                assert np.array_equal(one, two, equal_nan=one.dtype.kind == "f"), field.name
                assert one.dtype == two.dtype, field.name
            elif isinstance(one, np.ndarray):
                assert len(two) == 0, field.name
            else:
                assert one == two, field.name
    return back


def assert_survives_parquet(records, path):
    features = schema(records[0].video_features.shape[1], max(r.text_features.shape[1] for r in records))
    Dataset.from_list([to_row(record, features) for record in records], features=features).to_parquet(path)
    again = RecordDataset(Dataset.from_parquet(str(path), cache_dir=str(path.parent / "cache")))
    for ours, theirs in zip(again, records, strict=True):
        for field in fields(ours):
            a, b = getattr(ours, field.name), getattr(theirs, field.name)
            if isinstance(b, np.ndarray) and b.size:
                np.testing.assert_array_equal(a, b, err_msg=field.name)
            elif isinstance(b, np.ndarray):
                assert len(a) == len(b) == 0, field.name
            else:
                assert a == b, field.name
