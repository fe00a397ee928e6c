"""Prepared folders: equal to the source, resumable, honest about what is missing."""

import json
import pickle
import shutil
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import Dataset, load_dataset

from hiersum_hf.datasets import manifest as plan
from hiersum_hf.datasets import prepare as module
from hiersum_hf.datasets.consistency import Profile
from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.prepared import load_prepared, prepared_dataset, stream_prepared
from hiersum_hf.datasets.readers.open import open_reader
from hiersum_hf.datasets.readers.tvsum import TVSumReader, write_tvsum
from hiersum_hf.datasets.report import dataset_card, format_report, make_report
from hiersum_hf.datasets.schema import RecordDataset, schema, to_row
from hiersum_hf.records import Encoders
from hiersum_hf.synthetic import features as synthetic


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The Arrow cache of `datasets`, away from the user's."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def assert_equal_records(ours, theirs, atol=0.0):
    for name in (member.name for member in fields(ours)):
        one, two = getattr(ours, name), getattr(theirs, name)
        if isinstance(one, np.ndarray) and len(one):
            assert one.shape == two.shape, name
            np.testing.assert_allclose(one, two, atol=atol, rtol=0, equal_nan=True, err_msg=name)
        elif isinstance(one, np.ndarray):
            assert len(two) == 0, name
        else:
            assert one == two, name


@dataclass(frozen=True)
class MadeUp:
    """Ten demo videos; those in `bad` cannot be read, those in `silent` have no text, `others` have other encoders."""

    bad: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    others: tuple[tuple[str, Encoders], ...] = ()

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
        return replace(record, encoders=dict(self.others).get(video_id, record.encoders))


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
    rates = (("v6", Encoders("random-projection", "random-projection", 1.2)),)
    report = prepare(
        MadeUp(silent=("v4", "v5"), others=rates), tmp_path / "out", source, dataset="demo", progress=False
    )
    assert report["missing"]["subtitles"] == report["missing"]["labels"] == report["missing"]["encoders"] == 2
    assert report["duplicates"] == {"twins": ["v1", "v2"]}
    assert report["findings"] == {"leaks": ["v3"]}
    assert 0.05 < report["positive_rate"] <= 0.15
    assert report["encoders"] == {
        "video": "random-projection", "text": "random-projection", "normalization": "none", "sample_fps": [1.0, 1.2],
    }  # fmt: skip
    assert report["encoder_mismatch"]["count"] == 0, "rates may differ, as TVSum's do"
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert json.loads((tmp_path / "out" / "dataset_info.json").read_text())["splits"]["test"] == ["v9"]
    assert prepared_dataset(tmp_path / "out") == report["dataset"] == "demo"
    lines = [line.split() for line in format_report(report).splitlines()]
    assert ["no", "subtitles", "2"] in lines
    assert ["frame", "rate", "1", "to", "1.2", "a", "second"] in lines


def test_positive_rates_are_shown_video_by_video(tmp_path, source, monkeypatch):
    """Labels that mark nearly everything or nothing train nothing, and one figure for the set hides them."""
    report = prepare(MadeUp(silent=("v4",)), tmp_path / "out", source, progress=False)
    rates = {v: float(MadeUp().read(v).frame_labels.mean()) for v in MadeUp().video_ids if v != "v4"}
    assert report["positive_rates"] == pytest.approx(rates)
    assert list(report["positive_rates"]) == list(rates)
    report["positive_rates"] |= {"v0": 0.98, "v1": 0.05, "v2": 0.6, "v3": 0.0499}
    text = format_report(report)
    assert "v0            98.0%; warning: outside 5% to 60%\n" in text
    assert "v1             5.0%\n" in text
    assert "v2            60.0%\n" in text
    assert "5.0% to 98.0%, median" in text
    assert "; warning: 2 of 9 videos outside 5% to 60%" in text
    report["positive_rates"] |= {f"w{i}": 0.2 for i in range(42)}
    assert "w0" not in format_report(report), "51 videos are summed up"
    assert "2 of 51 videos" in format_report(report)


def other_encoders(*videos, video="random-projection", text="random-projection", normalization="none"):
    return MadeUp(others=tuple((name, Encoders(video, text, 1.0, normalization)) for name in videos))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"video": "youtube8m"}, "expected features of video random-projection as in the videos before, found video y"),
        ({"text": "words"}, "expected features of text random-projection as in .* found text words"),
        ({"normalization": "l2"}, "expected features of normalization none as in .* found normalization l2"),
    ],
)
def test_encoders_of_one_width_are_not_mixed_in_silence(tmp_path, source, changed, message):
    """GoogLeNet's and Inception's features are both 1024 wide: a network trained on both learns from neither."""
    reader = other_encoders("v7", "v8", **changed)
    with pytest.raises(ValueError, match=f"v7: {message}"):
        prepare(reader, tmp_path / "out", source, videos_per_file=3, progress=False)
    report = prepare(reader, tmp_path / "out", source, videos_per_file=3, skip_bad=True, progress=False)
    assert list(report["skipped"]) == ["v7", "v8"]
    report = prepare(reader, tmp_path / "out", source, videos_per_file=3, allow_encoder_mismatch=True, progress=False)
    assert report["encoder_mismatch"]["count"] == 2
    assert report["encoder_mismatch"]["first"][0].startswith("v7: expected features of")
    assert "mixed encoders 2 videos" in format_report(report)
    assert len(load_prepared(tmp_path / "out")) == 10
    with pytest.raises(ValueError, match="v7: expected"):
        prepare(reader, tmp_path / "out", source, videos_per_file=3, progress=False)


def test_what_nobody_knows_is_no_other_encoder(tmp_path, source):
    """Files without encoder ids, and videos without text, must still go into one set."""
    reader = replace(other_encoders("v3", text=""), silent=("v0", "v5"))
    report = prepare(reader, tmp_path / "out", source, progress=False)
    assert report["videos"] == 10
    assert report["encoders"]["video"] == "random-projection", "of the first video that tells"


def test_bad_video_stops_the_work_or_is_listed(tmp_path, source):
    with pytest.raises(ValueError, match=r"v7: expected a video, found a hole\. --skip-bad leaves out"):
        prepare(MadeUp(bad=("v7",)), tmp_path / "stops", source, progress=False)
    with pytest.raises(ValueError, match=r"not finished\. Run the same `hiersum prepare` again"):
        load_prepared(tmp_path / "stops")
    with pytest.raises(ValueError, match="not finished"):
        open_reader("tvsum", tmp_path / "stops")
    with pytest.raises(ValueError, match="expected a prepared folder"):
        load_prepared(tmp_path)
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


@dataclass(frozen=True)
class Odd(MadeUp):
    """MadeUp in which `log` gets every reading; videos in `lost` lack a file."""

    lost: tuple[str, ...] = ()
    log: list = field(default_factory=list, repr=False)

    def read(self, video_id):
        self.log.append(video_id)
        if video_id in self.lost:
            raise FileNotFoundError(f"{video_id}.h5: no such file")
        return super().read(video_id)


def without_text_or_features(*with_all):
    """Nine videos are without text; the good one must not be the one that is thrown out."""
    return Odd(silent=tuple(name for name in MadeUp().video_ids if name not in with_all))


@pytest.mark.parametrize("skip_bad", [False, True])
def test_the_first_video_with_text_may_come_late(tmp_path, source, skip_bad):
    """A set whose first hundred videos are silent lost its talking ones, or stopped at the first."""
    reader, out = without_text_or_features("v6"), tmp_path / "out"
    options = {"videos_per_file": 4, "progress": False, "skip_bad": skip_bad}
    report = prepare(reader, out, source, **options)
    assert (report["videos"], report["skipped"], report["missing"]["subtitles"]) == (10, {}, 9)
    assert report["encoders"]["text"] == "random-projection"
    for video_id, record in zip(reader.video_ids, load_prepared(out), strict=True):
        assert_equal_records(MadeUp(silent=reader.silent).read(video_id), record)
    reader.log.clear()
    assert prepare(reader, out, source, **options) == report
    assert reader.log == [], "a finished folder is not read again"


def test_what_another_process_learned_arrives():
    learned = pickle.loads(pickle.dumps(module._Learned(Profile(3, 2, {"text": "words"}))))
    assert learned.profile == Profile(3, 2, {"text": "words"})


def test_texts_of_two_encoders_after_silent_videos_are_not_mixed(tmp_path, source):
    other = (("v8", Encoders("random-projection", "words", 1.0)),)
    reader = replace(without_text_or_features("v6", "v8"), others=other)
    with pytest.raises(ValueError, match=r"v8: expected features of text random-projection as .* found text words"):
        prepare(reader, tmp_path / "out", source, progress=False)


def test_a_video_without_its_file_is_skipped(tmp_path, source):
    """One missing file of thousands must not stop --skip-bad; where all are missing there is nothing to skip to."""
    reader = Odd(lost=("v0", "v7"))
    with pytest.raises(FileNotFoundError, match=r"v0\.h5"):
        prepare(reader, tmp_path / "stops", source, progress=False)
    assert not (tmp_path / "stops").exists()
    report = prepare(reader, tmp_path / "out", source, skip_bad=True, progress=False)
    assert report["skipped"] == {"v0": "v0.h5: no such file", "v7": "v7.h5: no such file"}
    assert len(load_prepared(tmp_path / "out")) == 8
    with pytest.raises(
        ValueError, match=r"source\.txt: expected a video that can be read, found none in 10\. .*v0\.h5"
    ):
        prepare(Odd(lost=tuple(reader.video_ids)), tmp_path / "none", source, skip_bad=True, progress=False)


def test_a_repaired_source_may_use_the_folder_of_a_failed_run(tmp_path, source):
    with pytest.raises(ValueError, match="v3: expected a video"):
        prepare(MadeUp(bad=("v3",)), tmp_path / "out", source, progress=False)
    source[0].write_text("repaired")
    assert prepare(MadeUp(), tmp_path / "out", source, progress=False)["videos"] == 10
    source[0].write_text("changed once more")
    with pytest.raises(ValueError, match="prepared before with another fingerprint"):
        prepare(MadeUp(), tmp_path / "out", source, progress=False)


def test_a_folder_inside_its_source_goes_on(tmp_path, source):
    """`--source videos --output videos/prepared` changed its own fingerprint."""
    folder = source[0].parent
    for output in (folder / "prepared", folder / "more" / "again", folder / "prepared"):
        report = prepare(MadeUp(), output, [folder], videos_per_file=4, progress=False)
    assert report["videos"] == 10
    (folder / "new.txt").write_text("a source file")
    with pytest.raises(ValueError, match="another fingerprint"):
        prepare(MadeUp(), folder / "prepared", [folder], videos_per_file=4, progress=False)


def test_another_version_may_read_otherwise(tmp_path, source, monkeypatch):
    """A reader that was mended must not leave the old records in place in silence."""
    prepare(MadeUp(), tmp_path / "out", source, progress=False)
    monkeypatch.setattr(plan, "version", lambda _: "99.0")
    with pytest.raises(ValueError, match=r"out: prepared before by hiersum-hf \S+; this is 99\.0, which may read oth"):
        prepare(MadeUp(), tmp_path / "out", source, progress=False)
    assert len(load_prepared(tmp_path / "out")) == 10, "what is there can still be used"


def test_no_processes_cannot_work(tmp_path, source):
    with pytest.raises(ValueError, match="num_proc, videos_per_file: expected at least 1, found 0 and 64"):
        prepare(MadeUp(), tmp_path / "out", source, num_proc=0, progress=False)


def test_names_are_printed_without_control_characters(tmp_path, source):
    report = prepare(MadeUp(bad=("v7",)), tmp_path / "out", source, skip_bad=True, progress=False)
    report["findings"]["leaks"] = ["\x1b[31mred\n日本語"]
    report["skipped"]["\x1b]0;title\x07"] = "\x9b"
    text = format_report(report)
    assert text.replace("\n", "").isprintable()
    assert r"leaks          1: \x1b[31mred\n日本語" in text


def test_a_file_cut_off_is_written_again(tmp_path, source):
    """A full disk or a copy that broke off must not count as complete."""
    reader, out = MadeUp(), tmp_path / "out"
    prepare(reader, out, source, videos_per_file=4, progress=False)
    whole = (out / "data-00001.parquet").read_bytes()
    (out / ".data-00001.parquet.4242").write_bytes(whole[:100])  # of a process that was killed
    for broken in (whole[: len(whole) // 2], b"", whole[:-1]):
        (out / "data-00001.parquet").write_bytes(broken)
        with pytest.raises(ValueError, match=r"data-00001\.parquet: expected a whole Parquet file"):
            load_prepared(out)
        prepare(reader, out, source, videos_per_file=4, progress=False)
        assert (out / "data-00001.parquet").read_bytes() == whole
    assert not list(out.glob(".data*"))
    (out / "data-00002.parquet").unlink()
    with pytest.raises(ValueError, match=r"expected the 10 videos of its report\.json, found 8"):
        stream_prepared(out)


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
    with pytest.raises(ValueError, match=r"x\.h5, video demo_0_0000: expected video_features of width 7, found 32"):
        to_row(replace(demo_records[0], source="x.h5"), schema(7, 32))


def test_other_datasets_are_refused():
    with pytest.raises(ValueError, match="missing description"):
        RecordDataset(Dataset.from_dict({"video_id": ["a"]}))


@pytest.mark.slow
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


def test_parquet_is_converted_once(tmp_path, source, cache):
    """At full size the conversion takes minutes and as much disk as the set."""

    def state():
        return {path: path.stat().st_mtime_ns for path in cache.rglob("*.arrow")}

    prepare(MadeUp(), tmp_path / "out", source, videos_per_file=4, progress=False)
    load_prepared(tmp_path / "out")
    first = state()
    assert len(load_prepared(tmp_path / "out")) == 10
    assert state() == first
    assert first


def test_another_set_in_the_same_place_is_not_served_from_the_cache(tmp_path, source):
    prepare(MadeUp(), tmp_path / "out", source, progress=False)
    assert load_prepared(tmp_path / "out")[0].views == 5
    shutil.rmtree(tmp_path / "out")
    prepare(MadeUp(silent=("v0",)), tmp_path / "out", source, progress=False)
    assert load_prepared(tmp_path / "out")[0].views is None


def test_stream_gives_the_same_records_and_no_second_copy(tmp_path, source, cache):
    prepare(MadeUp(silent=("v4",)), tmp_path / "a [b] *", source, dtype="float16", videos_per_file=4, progress=False)
    streamed = list(stream_prepared(tmp_path / "a [b] *"))
    assert not cache.exists()
    for one, two in zip(streamed, load_prepared(tmp_path / "a [b] *"), strict=True):
        assert_equal_records(one, two)
        assert one.video_features.dtype == np.float32


def test_long_videos_are_written_a_few_at_a_time(tmp_path, source, monkeypatch):
    """64 videos of ten hours do not fit into memory."""
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 1)
    prepare(MadeUp(), tmp_path / "out", source, progress=False)
    assert module.pq.read_metadata(tmp_path / "out" / "data-00000.parquet").num_row_groups == 10
    for video_id, record in zip(MadeUp().video_ids, load_prepared(tmp_path / "out"), strict=True):
        assert_equal_records(MadeUp().read(video_id), record)


def test_plain_load_dataset_gives_the_same_records(tmp_path, source):
    """What a user gets who has the folder, or pulled it from the Hub, and none of our functions to load it."""
    prepare(MadeUp(silent=("v4",)), tmp_path / "out", source, dataset="demo", videos_per_file=4, progress=False)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| videos | 10 |" in card
    assert str(tmp_path) not in card
    rows = load_dataset(str(tmp_path / "out"), split="videos")
    assert rows.features == schema(8, 6)
    pushed = rows.to_parquet(tmp_path / "pushed.parquet") and Dataset.from_parquet(str(tmp_path / "pushed.parquet"))
    streamed = load_dataset(str(tmp_path / "out"), split="videos", streaming=True).with_format("numpy")
    for ours, theirs, again, row in zip(
        load_prepared(tmp_path / "out"), RecordDataset(rows), RecordDataset(pushed), streamed, strict=True
    ):
        assert_equal_records(ours, theirs)
        assert_equal_records(ours, again)
        np.testing.assert_array_equal(row["video_features"], ours.video_features)


def test_a_card_of_ones_own_stays(tmp_path, source):
    prepare(MadeUp(), tmp_path / "out", source, progress=False)
    (tmp_path / "out" / "README.md").write_text("filmed by me")
    prepare(MadeUp(), tmp_path / "out", source, progress=False)
    assert (tmp_path / "out" / "README.md").read_text() == "filmed by me"


def test_light_columns(tmp_path, source):
    """The Trainer asks 31,892 videos for their lengths and encoders before the first step."""
    prepare(MadeUp(silent=("v1", "v4")), tmp_path / "out", source, videos_per_file=4, progress=False)
    records = load_prepared(tmp_path / "out")
    some = RecordDataset(records.dataset.shuffle(seed=1)).select(["v4", "v9", "v0"])
    nothing = some.select([])
    for part in (records, some, nothing):
        for name in ("video_features", "description_features", "sentences", "shots"):
            lengths = [0 if (value := getattr(record, name)) is None else len(value) for record in part]
            assert part.row_counts(name).tolist() == lengths, name
        labels = [0 if record.frame_labels is None else len(record.frame_labels) for record in part]
        assert part.row_counts("frame_labels").tolist() == labels
        assert part.row_counts("frame_labels").dtype == np.int64
        assert part.encoders == [record.encoders for record in part]
    assert [record.video_id for record in some] == ["v4", "v9", "v0"]
    assert records.widths == some.widths == {"video_features": 8, "text_features": 6}
    assert records.select(["v1"]).widths == {"video_features": 8, "text_features": 0}
    with pytest.raises(ValueError, match=r"expected a column of .* found 'frames'"):
        records.row_counts("frames")
    with pytest.raises(ValueError, match="expected a column of lists or arrays, found video_id of string"):
        records.row_counts("video_id")


def test_worker_processes_get_files_not_their_content(tmp_path, source):
    """A loader's workers would each hold the whole set."""
    prepare(MadeUp(), tmp_path / "out", source, progress=False)
    records = load_prepared(tmp_path / "out")
    records[0]
    sent = pickle.dumps(records)
    assert len(sent) < 20_000 < records.dataset.data.nbytes
    assert_equal_records(pickle.loads(sent)[3], records[3])


def test_frames_without_features_are_no_features(demo_records):
    """WikiHow's articles and replay curves have none: whoever asks for the width must see 0, not a stand-in."""
    record = replace(demo_records[0], video_features=np.zeros((demo_records[0].frame_times_s.size, 0), np.float32))
    features = schema(0, 32)
    back = RecordDataset(Dataset.from_list([to_row(record, features)], features=features))
    assert back[0].video_features.shape == (0, 0)
    assert back.widths["video_features"] == 0
    np.testing.assert_array_equal(back[0].frame_times_s, record.frame_times_s)


def test_the_card_shows_names_from_the_data_as_text():
    report = make_report([], {"video": "a|b\n# c", "text": "<img src=x>\x1b[0m"}, findings={})
    card = dataset_card(report, "[my](set)")
    assert r"| video encoder | a\|b\\n# c |" in card
    assert r"| text encoder | \<img src=x\>\\x1b\[0m |" in card
    assert "\n# \\[my\\](set)\n" in card
