"""Prepared folders: equal to the source, resumable, honest about what is missing."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from hiersum_hf import synthetic
from hiersum_hf.datasets.prepare import format_report, load_prepared, prepare
from hiersum_hf.datasets.schema import RecordDataset, schema, to_row
from hiersum_hf.datasets.tvsum import TVSumReader, write_tvsum


def assert_equal_records(ours, theirs, atol=0.0):
    for field in fields(ours):
        one, two = getattr(ours, field.name), getattr(theirs, field.name)
        if isinstance(one, np.ndarray) and len(one):
            assert one.shape == two.shape, field.name
            np.testing.assert_allclose(one, two, atol=atol, rtol=0, equal_nan=True, err_msg=field.name)
        elif isinstance(one, np.ndarray):
            assert len(two) == 0, field.name
        else:
            assert one == two, field.name


@dataclass(frozen=True)
class MadeUp:
    """Ten demo videos; those in `bad` cannot be read, those in `silent` have no text."""

    bad: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def video_ids(self):
        return [f"v{i}" for i in range(10)]

    @property
    def splits(self):
        return {"train": ["v0", "v1", "v2"], "test": ["v9"]}

    @property
    def findings(self):
        return {"leaks": ["v3"]}

    def read(self, video_id):
        if video_id in self.bad:
            raise ValueError(f"{video_id}: expected a video, found a hole.")
        record = synthetic.to_record(synthetic.make_video(int(video_id[1:])), *synthetic.random_features(8, 6))
        record = replace(record, video_id=video_id, views=5, group="twins" if video_id in ("v1", "v2") else None)
        if video_id in self.silent:
            nothing = np.zeros((0, 0), np.float32)
            record = replace(
                record, sentences=(), text_features=nothing, description=(), description_features=nothing,
                frame_scores=None, frame_labels=None, sentence_labels=None, user_scores=None, user_summaries=None,
                shots=None, picks=None, n_frames=None, views=None, encoders=None,
            )  # fmt: skip
        return record


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.txt"
    path.write_text("made up")
    return [path]


def test_every_field_survives_parquet(tmp_path, source):
    reader = MadeUp(silent=("v4",))
    report = prepare(reader, tmp_path / "out", source, videos_per_file=4, progress=False)
    records = load_prepared(tmp_path / "out")
    assert len(records) == report["videos"] == 10
    for video_id, record in zip(reader.video_ids, records, strict=True):
        assert_equal_records(reader.read(video_id), record)
    assert [record.video_id for record in records[2:4]] == ["v2", "v3"]
    assert records[-1].video_id == "v9"


def test_half_precision_is_half_precision(tmp_path, source):
    prepare(MadeUp(), tmp_path / "out", source, dtype="float16", progress=False)
    record = load_prepared(tmp_path / "out")[0]
    original = MadeUp().read("v0")
    assert record.video_features.dtype == np.float32
    np.testing.assert_array_equal(record.video_features, original.video_features.astype(np.float16))
    np.testing.assert_array_equal(record.frame_times_s, original.frame_times_s)


def test_report_counts_what_is_there(tmp_path, source):
    report = prepare(MadeUp(silent=("v4", "v5")), tmp_path / "out", source, progress=False)
    assert report["missing"]["subtitles"] == report["missing"]["labels"] == 2
    assert report["duplicates"] == {"twins": ["v1", "v2"]}
    assert report["findings"] == {"leaks": ["v3"]}
    assert 0.05 < report["positive_rate"] <= 0.15
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert json.loads((tmp_path / "out" / "dataset_info.json").read_text())["splits"]["test"] == ["v9"]
    assert "without subtitles" in format_report(report)


def test_bad_video_stops_the_work_or_is_listed(tmp_path, source):
    with pytest.raises(ValueError, match="v7: expected a video, found a hole"):
        prepare(MadeUp(bad=("v7",)), tmp_path / "stops", source, progress=False)
    with pytest.raises(ValueError, match="expected a prepared folder"):
        load_prepared(tmp_path / "stops")
    report = prepare(MadeUp(bad=("v7", "v9")), tmp_path / "goes-on", source, skip_bad=True, progress=False)
    assert report["skipped"]["v7"] == "v7: expected a video, found a hole."
    assert len(load_prepared(tmp_path / "goes-on")) == report["videos"] == 8
    assert json.loads((tmp_path / "goes-on" / "dataset_info.json").read_text())["splits"]["test"] == []


@dataclass(frozen=True)
class Interrupted(MadeUp):
    """Reads as MadeUp and breaks down once at v6; notes every reading."""

    folder: str = ""

    def __repr__(self):
        return "MadeUp()"

    def read(self, video_id):
        with open(f"{self.folder}/read.txt", "a") as log:
            log.write(video_id + "\n")
        if video_id == "v6" and Path(self.folder, "read.txt").read_text().count("v6") == 1:
            raise KeyboardInterrupt
        return super().read(video_id)


def test_interrupted_work_goes_on_where_it_stopped(tmp_path, source):
    reader = Interrupted(folder=str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        prepare(reader, tmp_path / "out", source, videos_per_file=2, progress=False)
    prepare(reader, tmp_path / "out", source, videos_per_file=2, progress=False)
    readings = (tmp_path / "read.txt").read_text().split()
    assert readings.count("v1") == readings.count("v2") == readings.count("v5") == 1, "nothing is done twice"
    for video_id, record in zip(reader.video_ids, load_prepared(tmp_path / "out"), strict=True):
        assert_equal_records(MadeUp().read(video_id), record)


def test_folder_of_another_source_is_never_mixed(tmp_path, source):
    prepare(MadeUp(), tmp_path / "out", source, progress=False)
    source[0].write_text("changed since")
    with pytest.raises(ValueError, match="prepared before with another fingerprint"):
        prepare(MadeUp(), tmp_path / "out", source, progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(ValueError, match="found other files in it"):
        prepare(MadeUp(), tmp_path / "mine", source, progress=False)


def test_mixed_widths_are_named(demo_records):
    with pytest.raises(ValueError, match="demo_0_0000: expected video_features of width 7, found 32"):
        to_row(demo_records[0], schema(7, 32))


def test_other_datasets_are_refused():
    with pytest.raises(ValueError, match="missing description"):
        RecordDataset(Dataset.from_dict({"video_id": ["a"]}))


def test_two_processes_write_the_same(tmp_path, demo_records):
    write_tvsum(demo_records[:6], tmp_path / "set.h5")
    reader = TVSumReader(tmp_path / "set.h5")
    for processes in (1, 2):
        prepare(
            reader, tmp_path / f"by{processes}", [tmp_path / "set.h5"], num_proc=processes, videos_per_file=2,
            progress=False,
        )  # fmt: skip
    for one, two in zip(load_prepared(tmp_path / "by1"), load_prepared(tmp_path / "by2"), strict=True):
        assert_equal_records(one, two)
