"""SM-MrHiSum and SM-VideoXum: transcripts are sentences with times, scripts the parent text, annotators records."""

import json
import pickle

import numpy as np
import pytest

from hiersum_hf.datasets.readers import sdmvsum
from hiersum_hf.datasets.readers.sdmvsum import SMMrHiSumReader, SMVideoXumReader
from hiersum_hf.datasets.splits import disjoint_folds
from hiersum_hf.modeling.inputs_hiersum import times_to_spans
from hiersum_hf.records import Encoders, first_step, sentence_times_s
from hiersum_hf.scoring.collator import text_labels
from tests.makers.records import same_record, through_parquet
from tests.makers.sdmvsum import (
    METADATA,
    SPLIT,
    mrhisum_group,
    texts,
    videoxum_group,
    write_groups,
    write_mrhisum,
    write_videoxum,
)


CLIP = "sentence-transformers/clip-ViT-B-32"


@pytest.fixture
def mrhisum(tmp_path):
    return lambda **changes: SMMrHiSumReader.from_folder(write_mrhisum(tmp_path, **changes))


@pytest.fixture
def videoxum(tmp_path):
    return lambda **changes: SMVideoXumReader.from_folder(write_videoxum(tmp_path, **changes))


def spans(record):
    return times_to_spans(record.frame_times_s, sentence_times_s(record.sentences)).tolist()


def test_one_video_by_hand(mrhisum):
    record, group = mrhisum().read("video_1"), mrhisum_group(1)
    np.testing.assert_array_equal(record.video_features, group["video_embeddings"])
    np.testing.assert_array_equal(record.text_features, group["transcript_embeddings"])
    np.testing.assert_array_equal(record.description_features, group["script_embeddings"])
    np.testing.assert_array_equal(record.frame_scores, group["gtscores"].astype(np.float32))
    assert record.frame_labels.tolist() == (group["gtscores"] >= 0.15).astype(int).tolist()
    assert record.frame_times_s.tolist() == record.picks.tolist() == list(range(20))
    assert spans(record) == [[0, 4], [5, 9], [12, 14]]
    assert record.shots.tolist() == [[0, 4], [4, 7], [7, 12], [12, 19]]
    assert np.flatnonzero(record.user_summaries).tolist() == [4, 5, 6]
    assert record.user_summaries.shape == (1, 20)
    assert record.encoders == Encoders(CLIP, CLIP, 1.0)
    assert (record.n_frames, record.duration_s, record.views, record.group) == (20, 20.0, 84554, "yt-a")


def test_a_script_is_neither_title_nor_speech(mrhisum):
    """Three sentences and three transcripts: the first would be left out as a title, and all would get labels."""
    record = mrhisum(script_embeddings=texts(5, 3)).read("video_1")
    assert len(record.description) == len(record.sentences) == 3
    assert first_step(record.description) == 0
    assert text_labels(record, "parent").tolist() == [-100, -100, -100]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[0, 4], [4, 7], [7, 20]], [[0, 4], [4, 7], [7, 20]]),  # half-open
        ([[0, 3], [4, 6], [7, 19]], [[0, 4], [4, 7], [7, 20]]),  # closed
        ([[0, 120], [120, 210], [210, 600]], [[0, 4], [4, 7], [7, 20]]),  # frames of the original at 30 a second
        ([[0, 119], [120, 209], [210, 599]], [[0, 4], [4, 7], [7, 20]]),
        ([[0, 9], [10, 20], [21, 599]], [[0, 20]]),  # two shots within the first second
    ],
)
def test_shots_closed_or_half_open_in_rows_or_in_frames_of_the_original(mrhisum, points, expected):
    assert mrhisum(change_points=np.array(points)).read("video_1").shots.tolist() == expected


def test_every_length_is_cut_to_the_common_one(mrhisum):
    reader = mrhisum(gt_summary=np.zeros(18), gtscores=np.full(19, 0.5))
    record = reader.read("video_1")
    assert (len(record.video_features), len(record.frame_scores), record.user_summaries.shape) == (18, 18, (1, 18))
    assert record.shots[-1].tolist() == [12, 18]
    found = "video_1: {'video_embeddings': 20, 'gt_summary': 18, 'gtscores': 19}"
    assert reader.findings["cut_to_common_length"] == [found]


def test_transcripts_in_silence_and_past_the_end(mrhisum, caplog):
    """One at or after the end would be aligned with the last frame, which it is not spoken in."""
    rows = texts(9, 4)
    rows[1] = 0
    times_s = np.array([[1.0, 2.0], [3.0, 4.0], [18.0, 30.0], [20.0, 21.0]])
    record = mrhisum(transcript_embeddings=rows, transcript_timestamps=times_s).read("video_1")
    assert [(s.start_s, s.end_s) for s in record.sentences] == [(1, 2), (18, 20)]
    np.testing.assert_array_equal(record.text_features, rows[[0, 2]])
    for said in ("are zeros; left out", "begin at or after the end, 20 s; left out", "end after the end, 20 s; cut"):
        assert f"sm_mrhisum.h5, video video_1: 1 of 4 transcripts {said}" in caplog.text
    caplog.clear()
    times_s = np.array([[1.0, 2.0], [3.0, 4.0], [18.0, 20.6], [19.0, 19.0]])
    mrhisum(transcript_embeddings=texts(9, 4), transcript_timestamps=times_s).read("video_1")
    assert caplog.text == "", "the last second may be a part of one"


def test_transcripts_that_come_by_the_second_only(mrhisum):
    whole = mrhisum().read("video_1")
    record = mrhisum(transcript_embeddings=None, transcript_timestamps=None).read("video_1")
    np.testing.assert_array_equal(record.text_features, whole.text_features)
    assert [(s.start_s, s.end_s) for s in record.sentences] == [(0, 4), (5, 9), (12, 14)]
    none = {"transcript_embeddings": None, "transcript_timestamps": None, "aligned_transcripts": None}
    reader = mrhisum(**none)
    assert reader.findings["without_transcripts"] == ["video_1"]
    assert (reader.read("video_1").sentences, reader.read("video_1").text_features.shape) == ((), (0, 512))
    nothing = {"transcript_embeddings": np.zeros((0, 512)), "transcript_timestamps": np.zeros((0, 2))}
    for empty in (nothing, none | {"aligned_transcripts": np.zeros((20, 512), np.float32)}):
        assert mrhisum(**empty).read("video_1").sentences == ()
    assert mrhisum(**nothing).findings["without_transcripts"] == ["video_1"]


@pytest.mark.parametrize("script", [np.zeros((0, 512), np.float32), np.zeros((2, 512), np.float32)])
def test_a_script_without_sentences_is_said(mrhisum, script, caplog):
    reader = mrhisum(script_embeddings=script)
    record = reader.read("video_1")
    assert (record.description, record.description_features.shape) == ((), (0, 512))
    assert "sm_mrhisum.h5, video video_1: the script has no sentence, so the video is read without" in caplog.text
    assert reader.findings["without_script"] == (["video_1"] if len(script) == 0 else [])


def test_without_gtscores_the_summary_is_the_label(mrhisum):
    reader = mrhisum(gtscores=None)
    record = reader.read("video_1")
    assert record.frame_scores is None
    assert np.flatnonzero(record.frame_labels).tolist() == [4, 5, 6]
    assert reader.findings["without_scores"] == ["video_1"]
    assert reader.read("video_2").frame_scores is not None


def test_labels_views_and_repeated_videos(mrhisum, tmp_path):
    """Mr.HiSum's metadata tells that a training video is a validation video under another name."""
    reader = mrhisum(metadata=METADATA.replace("yt-c", "yt-b"))
    assert reader.splits == {"train": ["video_1"], "validation": ["video_3"], "test": ["video_4"]}
    assert reader.findings["leaks"] == ["yt-b: video_2 (train), video_3 (validation)"]
    assert reader.findings["dropped"] == ["video_2"]
    settings = {"quantile": 0.8, "intro_bins": 10, "min_views": 1000}
    reader = SMMrHiSumReader.from_folder(tmp_path, **settings)
    record = reader.read("video_1")
    assert (np.isnan(record.frame_scores).sum(), (record.frame_labels == 1).sum()) == (2, 4)
    assert reader.video_ids == ["video_1", "video_2", "video_4"]
    assert reader.findings["outside_views"] == ["video_3"]
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "sm_mrhisum_split.json").unlink()
    reader = SMMrHiSumReader.from_folder(tmp_path)
    assert (reader.splits, reader.read("video_1").group, reader.read("video_1").views) == ({}, None, None)
    with pytest.raises(ValueError, match=r"sm_mrhisum\.h5: expected Mr\.HiSum's metadata\.csv beside it"):
        SMMrHiSumReader.from_folder(tmp_path, min_views=1)


def test_split_and_file_that_differ_in_their_videos(mrhisum):
    reader = mrhisum(split=SPLIT | {"train": ["video_1", "video_77"]})
    assert reader.splits == {"train": ["video_1"], "validation": ["video_3"], "test": ["video_4"]}
    assert reader.findings["not_in_file"] == ["video_77"]
    assert reader.findings["not_in_split"] == ["video_2"]
    assert reader.video_ids[1] == "video_2", "it is read, and is in no part"
    reader = mrhisum(split={"train": ["a"], "val": ["b"], "test": ["c"]})
    with pytest.raises(
        ValueError, match=r"sm_mrhisum_split\.json: expected videos of .*sm_mrhisum\.h5, found none .* a"
    ):
        _ = reader.splits


def test_an_annotator_is_a_record_and_a_video_a_group(videoxum):
    reader = videoxum()
    assert reader.video_ids[:11] == [*(f"v_a:{user}" for user in range(10)), "v_b:0"]
    record, group = reader.read("v_a:4"), videoxum_group(0)
    np.testing.assert_array_equal(record.video_features, group["video_embeddings"])
    np.testing.assert_array_equal(record.description_features, group["script_embeddings"][4, :2])
    assert record.frame_labels.tolist() == group["gtscores"][4].tolist() == record.frame_scores.tolist()
    assert record.user_summaries.tolist() == [(group["gtscores"][4] == 1).tolist()]
    assert record.description == ("1. sentence of the script", "2. sentence of the script")
    assert spans(record) == [[1, 3], [8, 16]]
    assert record.encoders == Encoders("videoxum-clip", "videoxum-clip", 1.0)
    assert (record.group, record.n_frames, record.shots) == ("v_a", 20, None)
    assert {part: len(names) for part, names in reader.splits.items()} == {"train": 10, "validation": 10, "test": 10}
    groups = {name: reader.read(name).group for name in reader.video_ids}
    for fold in disjoint_folds(reader.video_ids, 3, groups=groups):
        assert all(len({groups[name] for name in names}) == 1 for names in fold.values())


def test_bad_annotators_of_videoxum(videoxum, caplog):
    scripts = videoxum_group()["script_embeddings"]
    scripts[7] = 0
    reader = videoxum(script_embeddings=scripts, gtscores=videoxum_group()["gtscores"][:, :18])
    assert (len(reader.read("v_a:7").description), len(reader.read("v_a:7").video_features)) == (0, 18)
    assert "sm_videoxum.h5, video v_a:7: the script has no sentence" in caplog.text
    assert reader.findings["cut_to_common_length"] == ["v_a: {'video_embeddings': 20, 'gtscores': 18}"]
    for name in ("v_a:10", "v_a:-1", "v_a:x"):
        with pytest.raises(ValueError, match=r"sm_videoxum\.h5, video v_a:.*expected an annotator from 0 to 9"):
            reader.read(name)
    for name in ("v_z:0", "v_a"):
        with pytest.raises(ValueError, match=r"sm_videoxum\.h5, video .*: found no such video|expected a Group"):
            reader.read(name)


def test_a_video_is_read_once_for_all_its_annotators(videoxum, monkeypatch, caplog):
    reader = videoxum(transcript_timestamps=np.array([[1.0, 3.0], [25.0, 26.0]]))
    records = [reader.read(name) for name in reader.video_ids[:10]]
    assert len({id(record.video_features) for record in records}) == 1
    assert caplog.text.count("begin at or after the end") == 1


def test_round_trip_through_parquet_and_pickle(mrhisum, videoxum, tmp_path):
    for reader, name in ((mrhisum(gtscores=None), "video_1"), (mrhisum(), "video_2"), (videoxum(), "v_b:3")):
        record = pickle.loads(pickle.dumps(reader)).read(name)
        same_record(through_parquet(record, tmp_path / f"{record.group}.parquet"), record)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gt_summary": None}, "expected the members .*, found no gt_summary"),
        ({"change_points": None}, "found no change_points"),
        ({"video_embeddings": None, "script_embeddings": None}, "found no video_embeddings, script_embeddings"),
        ({"video_embeddings": texts(0, 20, 768)}, r"video_embeddings: expected shape \(T, 512\), found \(20, 768\)"),
        ({"video_embeddings": np.full((20, 512), np.nan)}, "video_embeddings: expected finite values"),
        ({"video_embeddings": texts(0, 0)}, "expected at least one second common"),
        ({"gt_summary": np.full(20, 0.5)}, r"gt_summary: expected \(T,\) zeros and ones"),
        ({"gt_summary": np.zeros((2, 20))}, r"gt_summary: expected one summary, \(T,\), found 2"),
        ({"gt_summary": np.zeros((0, 20))}, r"gt_summary: expected one summary, \(T,\), found 0"),
        ({"gtscores": np.full(20, 1.5)}, r"gtscores: expected \(T,\) scores in \[0, 1\]"),
        ({"script_embeddings": texts(0, 2, 768)}, r"script_embeddings: expected shape \(T, 512\)"),
        ({"transcript_timestamps": None}, "found no transcript_timestamps"),
        ({"transcript_timestamps": np.zeros((2, 2))}, r"expected 3 pairs of start and end in seconds, found \(2, 2\)"),
        ({"transcript_timestamps": np.array([[0, 1], [2, 1], [3, 4.0]])}, "expected 3 pairs of start and end"),
        ({"transcript_timestamps": np.full((3, 2), np.nan)}, "expected 3 pairs of start and end"),
        ({"change_points": np.array([[0, 4], [6, 19]])}, "expected gaps of all 0 .* found"),
        ({"n_frames": np.array([0])}, r"n_frames: expected a number of frames, found \[0\]"),
    ],
)
def test_wrong_members_name_file_and_video(mrhisum, changes, message):
    with pytest.raises(ValueError, match=rf"sm_mrhisum\.h5, video video_1: .*{message}"):
        mrhisum(**changes).read("video_1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gtscores": None}, "found no gtscores"),
        ({"gtscores": np.full((10, 20), 0.5)}, "gtscores: expected .* zeros and ones"),
        ({"gtscores": np.zeros((10, 0))}, "expected at least one second common"),
        (
            {"script_embeddings": np.zeros((9, 4, 512), np.float32)},
            r"expected shape \(10, M, 512\), found \(9, 4, 512\)",
        ),
        ({"script_embeddings": texts(0, 10)}, r"expected shape \(10, M, 512\), found \(10, 512\)"),
        ({"script_embeddings": np.full((10, 4, 512), np.inf)}, "script_embeddings: expected finite values"),
    ],
)
def test_wrong_members_of_videoxum_name_file_and_video(videoxum, changes, message):
    reader = videoxum(**changes)
    with pytest.raises(ValueError, match=rf"sm_videoxum\.h5, video v_a: .*{message}"):
        reader.read(reader.video_ids[0])


def test_missing_and_broken_files(mrhisum, tmp_path):
    reader = mrhisum()
    with pytest.raises(ValueError, match=r"sm_mrhisum\.h5, video video_9: found no such video"):
        reader.read("video_9")
    path = tmp_path / "sm_mrhisum.h5"
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ValueError, match=r"sm_mrhisum\.h5: expected a complete HDF5 file"):
        _ = reader.video_ids
    (tmp_path / "sm_mrhisum_split.json").write_text(json.dumps({"train": ["a"], "val": [], "test": []}))
    write_groups(path, {"a": mrhisum_group()})
    with pytest.raises(ValueError, match=r"sm_mrhisum_split\.json, split 0: expected videos in test, found none"):
        _ = SMMrHiSumReader.from_folder(tmp_path).splits
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"expected sm_mrhisum\.h5, found no such file"):
        SMMrHiSumReader.from_folder(tmp_path)


def test_the_published_splits(test_data, monkeypatch):
    """All 29,917 and 11,908 ids; Mr.HiSum's metadata shows six videos twice, two of them in train and val."""
    folder = test_data / "sm_splits"
    ids, others = (json.loads((folder / f"sm_{name}_split.json").read_text()) for name in ("mrhisum", "videoxum"))
    files = {
        "mrhisum": {name: {} for names in ids.values() for name in names},
        "videoxum": {name: {"gtscores": (10, 90)} for names in others.values() for name in names},
    }
    monkeypatch.setattr(sdmvsum, "_shapes", files.__getitem__)
    metadata = test_data / "mrhisum" / "metadata.csv"
    reader = SMMrHiSumReader("mrhisum", folder / "sm_mrhisum_split.json", metadata)
    assert len(reader.video_ids) == 29_917
    counts = {part: len(names) for part, names in reader.splits.items()}
    assert counts == {"train": 26_178 - 6, "validation": 1_875, "test": 1_864}
    found = reader.findings
    assert (len(found["duplicates"]), len(found["leaks"]), len(found["dropped"])) == (6, 2, 6)
    assert (found["not_in_file"], found["not_in_split"], len(found["without_scores"])) == ([], [], 29_917)
    reader = SMVideoXumReader("videoxum", folder / "sm_videoxum_split.json")
    counts = {part: len(names) for part, names in reader.splits.items()}
    assert counts == {"train": 67_820, "validation": 17_070, "test": 34_190}
    assert len(reader.video_ids) == 119_080
