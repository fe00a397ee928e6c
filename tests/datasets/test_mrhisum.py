"""Mr.HiSum as published: without features it can be listed, with them every second gets its score, label and shot."""

import json
import pickle

import h5py
import numpy as np
import pytest

from hiersum_hf.datasets.readers.mrhisum import MrHiSumReader, add_youtube8m
from hiersum_hf.datasets.readers.mrhisum_files import half_open_shots, read_metadata, read_split
from hiersum_hf.datasets.readers.youtube8m import dequantize
from hiersum_hf.records import Encoders
from tests.makers.mrhisum import METADATA, SCORES, SPLIT, frame_features, members
from tests.makers.records import same_record, through_parquet
from tests.makers.youtube8m import example, framed


@pytest.fixture
def folder(tmp_path):
    """Writes the three files; keyword arguments change members of video_1."""

    def write(**changes):
        (tmp_path / "metadata.csv").write_text(METADATA)
        (tmp_path / "mr_hisum_split.json").write_text(json.dumps(SPLIT))
        with h5py.File(tmp_path / "mr_hisum.h5", "w") as file:
            for key, value in members(**changes).items():
                file[f"video_1/{key}"] = value
            for key, value in members(features=None).items():
                file[f"video_2/{key}"] = value
            for key, value in members(features=frame_features(7)).items():
                file[f"video_3/{key}"] = value
        return tmp_path

    return write


def test_real_lists_without_any_h5(test_data):
    reader = MrHiSumReader.from_folder(test_data / "mrhisum")
    videos = read_metadata(reader.metadata)
    published = read_split(reader.split, set(videos))
    assert {part: len(names) for part, names in published.items()} == {"train": 27892, "validation": 2000, "test": 2000}
    assert len(reader.video_ids) == 31892
    assert reader.video_ids[:2] == ["video_1", "video_2"]
    assert {part: len(names) for part, names in reader.splits.items()} == {
        "train": 27886,
        "validation": 2000,
        "test": 2000,
    }
    assert videos["video_1"].random_id == "ORaA"
    assert (videos["video_1"].duration_s, videos["video_1"].views) == (258.0, 84554)
    findings = reader.findings
    counts = {kind: len(items) for kind, items in findings.items()}
    assert counts == {"duplicates": 6, "leaks": 2, "dropped": 6, "outside_views": 0}
    assert findings["leaks"] == [
        "_9uRVHNGcic: video_23838 (validation), video_23844 (train)",
        "m39ujLkXGyM: video_23835 (validation), video_23841 (train)",
    ]
    kept = [name for names in reader.splits.values() for name in names]
    assert len({videos[name].youtube_id for name in kept}) == len(kept) == 31886
    with pytest.raises(
        FileNotFoundError, match=r"mrhisum: expected mr_hisum_features\.h5 or mr_hisum\.h5, found neith"
    ):
        reader.read("video_1")


def test_one_video_by_hand(folder):
    reader = MrHiSumReader.from_folder(folder())
    record = reader.read("video_1")
    np.testing.assert_array_equal(record.video_features, frame_features(8))
    np.testing.assert_array_equal(record.frame_times_s, [0, 1, 2, 3, 4, 5, 6, 7])
    np.testing.assert_array_equal(record.frame_scores, SCORES.astype(np.float32))
    np.testing.assert_array_equal(record.frame_labels, [0, 0, 1, 1, 1, 0, 1, 0])  # 0.15 itself counts
    np.testing.assert_array_equal(record.shots, [[0, 4], [4, 5], [5, 8]])
    np.testing.assert_array_equal(record.user_summaries, [[0, 0, 0, 0, 1, 0, 0, 0]])
    np.testing.assert_array_equal(record.picks, range(8))
    assert (record.n_frames, record.duration_s, record.views, record.group) == (8, 8.0, 84554, "JhdjUam0l6A")
    assert record.encoders == Encoders("youtube8m-inception", "", 1.0, "mrhisum")
    assert (record.user_scores, record.sentence_labels, record.sentences) == (None, None, ())
    stricter = MrHiSumReader.from_folder(folder(), threshold=0.5)
    assert stricter.read("video_1").frame_labels.tolist() == [0, 0, 0, 0, 1, 0, 0, 0]


def test_labels_by_quantile_without_the_intro(folder):
    """People start videos at their beginning: without the mask the first seconds would be labelled important."""
    masked = MrHiSumReader.from_folder(folder(gtscore=SCORES[::-1]), intro_bins=13).read("video_1")  # 13 % of 8 s
    np.testing.assert_array_equal(masked.frame_scores, np.float32([np.nan, np.nan, *SCORES[::-1][2:]]))
    assert masked.frame_labels.tolist() == [-100, -100, 0, 1, 1, 1, 0, 0]
    assert MrHiSumReader.from_folder(folder(), intro_bins=12).read("video_1").frame_labels[:2].tolist() == [-100, 0]
    best = MrHiSumReader.from_folder(folder(), quantile=0.7)  # at 0.195
    assert best.read("video_1").frame_labels.tolist() == [0, 0, 0, 1, 1, 0, 1, 0]
    cut = MrHiSumReader.from_folder(folder(features=frame_features(4)), intro_bins=25).read("video_1")
    assert cut.frame_labels.tolist() == [-100, -100, 1, 1], "hundredths of the 8 scored seconds, not of the 4 kept"
    for wrong in ({"quantile": 1.0}, {"intro_bins": -1}, {"min_views": 2, "max_views": 1}):
        with pytest.raises(ValueError, match=r"expected .* found"):
            MrHiSumReader("metadata.csv", **wrong)


def test_views_choose_videos_and_parts(folder):
    """Rarely watched videos have noisy curves; one that is left out is in no part, and is listed."""
    reader = MrHiSumReader.from_folder(folder(), min_views=84_554, max_views=150_000)
    assert reader.video_ids == ["video_1", "video_3", "video_4"]
    assert reader.splits == {"train": [], "validation": ["video_3"], "test": ["video_1"]}
    findings = reader.findings
    assert findings["outside_views"] == ["video_2", "video_5", "video_6"]
    assert findings["duplicates"] == ["m39ujLkXGyM: video_3 (validation), video_4 (train)"]
    assert (findings["dropped"], findings["without_features"]) == (["video_4"], ["video_4"])


def test_real_views(test_data):
    reader = MrHiSumReader.from_folder(test_data / "mrhisum", min_views=100_000)
    outside = set(reader.findings["outside_views"])
    assert len(outside) + len(reader.video_ids) == 31892
    assert outside.isdisjoint(name for names in reader.splits.values() for name in names)
    assert 0 < len(outside) < 31892


def test_parts_and_findings(folder):
    reader = MrHiSumReader.from_folder(folder())
    assert reader.video_ids == [f"video_{k}" for k in range(1, 7)]
    assert reader.splits == {"train": ["video_6"], "validation": ["video_3", "video_2"], "test": ["video_1"]}
    assert reader.findings == {
        "duplicates": [
            "hlhqR0uFmlU: video_5 (train), video_6 (train)",
            "m39ujLkXGyM: video_3 (validation), video_4 (train)",
        ],
        "leaks": ["m39ujLkXGyM: video_3 (validation), video_4 (train)"],
        "dropped": ["video_4", "video_5"],
        "outside_views": [],
        "without_features": ["video_2", "video_4", "video_5", "video_6"],
        "cut_to_common_length": ["video_3: {'gtscore': 8, 'gt_summary': 8, 'features': 7}"],
    }
    alone = MrHiSumReader(reader.metadata)
    assert (alone.splits, alone.findings["leaks"], len(alone.findings["duplicates"])) == ({}, [], 2)


def test_the_same_name_in_two_parts_is_a_leak(folder):
    path = folder() / "mr_hisum_split.json"
    path.write_text(json.dumps(SPLIT | {"train_keys": ["video_1", "video_5"]}))
    reader = MrHiSumReader.from_folder(path.parent)
    assert reader.findings["leaks"] == ["JhdjUam0l6A: video_1 (test), video_1 (train)"]
    assert reader.splits["train"] == ["video_5"]


def test_lengths_are_cut_to_the_common_one(folder):
    record = MrHiSumReader.from_folder(folder()).read("video_3")  # 7 rows of features, 8 scores, 5 s in the metadata
    assert len(record.video_features) == len(record.frame_scores) == len(record.picks) == record.n_frames == 7
    assert record.shots.tolist() == [[0, 4], [4, 5], [5, 7]]
    assert record.user_summaries.shape == (1, 7)
    assert record.duration_s == 7.0
    shorter = MrHiSumReader.from_folder(folder(gtscore=SCORES[:6])).read("video_1")
    assert shorter.video_features.shape == (6, 1024)
    assert shorter.duration_s == 8.0


@pytest.mark.parametrize(
    ("points", "n", "shots"),
    [
        ([[0, 3], [4, 4], [5, 7]], 8, [[0, 4], [4, 5], [5, 8]]),  # closed, one shot of one frame
        ([[0, 4], [4, 5], [5, 8]], 8, [[0, 4], [4, 5], [5, 8]]),  # half-open
        ([[0, 4], [4, 5], [5, 10]], 8, [[0, 4], [4, 5], [5, 8]]),  # past the end
        ([[0, 3], [4, 7], [8, 9]], 8, [[0, 4], [4, 8]]),  # a shot wholly past the end
        ([[0, 7]], 8, [[0, 8]]),  # one shot, closed
        ([[0, 8]], 8, [[0, 8]]),  # one shot, half-open
        ([[0, 0]], 1, [[0, 1]]),
    ],
)
def test_change_points_closed_or_half_open(points, n, shots):
    assert half_open_shots(np.array(points), n).tolist() == shots


def test_the_summary_under_either_name_or_none(folder):
    summary = members()["gt_summary"]
    named = MrHiSumReader.from_folder(folder(gt_summary=None, gtsummary=summary[None])).read("video_1")
    assert named.user_summaries.tolist() == [summary.astype(bool).tolist()]
    assert MrHiSumReader.from_folder(folder(gt_summary=None)).read("video_1").user_summaries is None


def test_the_file_names_its_dequantisation(folder):
    path = folder()
    with h5py.File(path / "mr_hisum.h5", "r+") as file:
        file["video_1/features"].attrs["dequantization"] = "official"
    reader = MrHiSumReader.from_folder(path)
    assert reader.read("video_1").encoders.normalization == "official"
    assert reader.read("video_3").encoders.normalization == "mrhisum"


def test_youtube8m_features_join_their_videos(folder, tmp_path):
    """The release has no features: without this nobody could train on it."""
    path = folder(features=None)
    with h5py.File(path / "mr_hisum.h5", "a") as file:
        del file["video_3/features"]
        for name in ("video_4", "video_5", "video_6"):
            file.copy("video_1", name)
    (tmp_path / "tf").mkdir()
    with pytest.raises(FileNotFoundError, match=r"tf: expected a folder of \.tfrecord files, found none"):
        add_youtube8m(path, tmp_path / "tf")
    q = np.arange(8 * 1024, dtype=np.uint8).reshape(8, 1024)
    videos, audio = {"ORaA": q, "YGQT": q[::-1]}, np.zeros((8, 128), np.uint8)
    shard = b"".join(framed(example(name, rgb, audio)) for name, rgb in videos.items())
    (tmp_path / "tf" / "train0026.tfrecord").write_bytes(shard)
    assert add_youtube8m(path, tmp_path / "tf", "official") == ["video_2", "video_5", "video_6"]
    reader = MrHiSumReader.from_folder(path)
    record = reader.read("video_1")
    np.testing.assert_array_equal(record.video_features, dequantize(q, "official"))
    assert record.encoders.normalization == "official"
    np.testing.assert_array_equal(reader.read("video_4").video_features, record.video_features[::-1])
    with h5py.File(path / "mr_hisum.h5") as file:
        assert "features" not in file["video_1"], "the release stays as it was"
    with pytest.raises(FileExistsError, match=r"mr_hisum_features\.h5: expected no such file yet"):
        add_youtube8m(path, tmp_path / "tf")


def test_round_trip_through_parquet(folder, tmp_path):
    record = MrHiSumReader.from_folder(folder(), intro_bins=13).read("video_1")
    same_record(through_parquet(record, tmp_path / "data.parquet"), record)


def test_readers_travel_to_other_processes(folder):
    reader = MrHiSumReader.from_folder(folder())
    assert hash(pickle.loads(pickle.dumps(reader))) == hash(reader)
    same_record(pickle.loads(pickle.dumps(reader)).read("video_1"), reader.read("video_1"))


def test_a_changed_file_is_read_again(folder):
    path = folder()
    reader = MrHiSumReader.from_folder(path)
    assert len(reader.video_ids) == 6
    (path / "metadata.csv").write_text("".join(METADATA.splitlines(keepends=True)[:2]))
    assert reader.video_ids == ["video_1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": None}, r"expected features, found none\. --youtube8m DIR adds"),
        ({"features": frame_features(8, 512)}, r"expected shape \(T, 1024\), found \(8, 512\)"),
        ({"features": frame_features(8)[0]}, r"expected shape \(T, 1024\), found \(1024,\)"),
        ({"features": np.zeros((8, 1024), np.uint8)}, r"floating point numbers \(dequantised\), found uint8"),
        ({"features": np.full((8, 1024), np.nan)}, "features: expected finite values"),
        ({"features": np.zeros((0, 1024))}, "expected at least one second, found 0 rows of features and 8 of gtscore"),
        ({"gtscore": None}, r"expected the members gtscore or gt_score and change_points, found \['change_points'"),
        ({"change_points": None}, r"and change_points, found \['features', 'gt_summary', 'gtscore'\]"),
        ({"gtscore": SCORES[None]}, r"gtscore: expected \(T,\) scores in \[0, 1\], found shape \(1, 8\)"),
        ({"gtscore": SCORES * 5}, r"gtscore: expected \(T,\) scores in \[0, 1\]"),
        ({"gtscore": np.full(8, np.nan)}, r"gtscore: expected \(T,\) scores in \[0, 1\]"),
        ({"gt_summary": np.full(8, 2)}, "summary: expected .* zeros and ones"),
        ({"change_points": np.array([0, 4, 8])}, r"change_points: expected \(S, 2\) frame numbers, found shape \(3,\)"),
        ({"change_points": np.array([[0, np.nan]])}, r"change_points: expected \(S, 2\) frame numbers"),
        ({"change_points": np.array([[0, 3], [3, 5], [6, 7]])}, r"0 \(half-open\) or all 1 \(closed\), found \[0, 1\]"),
        ({"change_points": np.array([[0, 3], [6, 7]])}, r"found \[3\]"),
        ({"change_points": np.array([[9, 12]])}, r"shots: expected at least one in \[0, 8\)"),
    ],
)
def test_wrong_members_name_file_video_expected_and_found(folder, changes, message):
    reader = MrHiSumReader.from_folder(folder(**changes))
    with pytest.raises(ValueError, match=rf"mr_hisum\.h5, video video_1: .*{message}"):
        reader.read("video_1")


def test_missing_videos_and_files(folder, tmp_path):
    reader = MrHiSumReader.from_folder(folder())
    with pytest.raises(ValueError, match=r"mr_hisum\.h5, video video_5: found no such video"):
        reader.read("video_5")
    with pytest.raises(ValueError, match=r"metadata\.csv: expected a row for video_9, found none"):
        reader.read("video_9")
    with h5py.File(reader.h5, "r+") as file:
        file["video_5"] = np.zeros(3)
    with pytest.raises(ValueError, match="video_5: expected a Group, found a Dataset"):
        reader.read("video_5")
    with pytest.raises(FileNotFoundError, match=r"gone\.h5"):
        MrHiSumReader(reader.metadata, tmp_path / "gone.h5").read("video_1")
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        _ = MrHiSumReader(tmp_path / "gone.csv").video_ids
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        _ = MrHiSumReader(reader.metadata, split=tmp_path / "gone.json").splits
    with pytest.raises(ValueError, match=r"expected a threshold in \[0, 1\] .*, found 15 and None"):
        MrHiSumReader(reader.metadata, threshold=15)
    with pytest.raises(ValueError, match="expected one of mrhisum, official, found 'tf'"):
        MrHiSumReader(reader.metadata, dequantization="tf")


def test_truncated_and_corrupt_h5(folder):
    path = folder() / "mr_hisum.h5"
    reader = MrHiSumReader.from_folder(path.parent)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"mr_hisum\.h5: expected a complete HDF5 file"):
        reader.read("video_1")
    with pytest.raises(ValueError, match=r"mr_hisum\.h5: expected a complete HDF5 file"):
        _ = reader.findings
    with h5py.File(path, "w") as file:
        for key, value in members(features=None).items():
            file[f"video_1/{key}"] = value
        compressed = file.create_dataset("video_1/features", data=frame_features(8), compression="gzip")
        at = compressed.id.get_chunk_info(0).byte_offset
    damaged = bytearray(path.read_bytes())
    damaged[at : at + 64] = bytes(64)
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"mr_hisum\.h5, video video_1: .*read"):
        reader.read("video_1")
    path.write_text("not HDF5")
    with pytest.raises(ValueError, match=r"mr_hisum\.h5: expected an HDF5 file"):
        reader.read("video_1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video_id,duration\nvideo_1,8\n", "line 1: expected the columns video_id, youtube_id, .* found"),
        ("", "expected the columns .* found None"),
        (METADATA[: METADATA.index(",84554")], r"line 2: expected a value for each column, found \['video_1'.*None"),
        (METADATA[: METADATA.index("   22]")], "unexpected end of data"),
        (METADATA.replace("84554", "many"), "line 2: .*many"),
        (METADATA.replace(",8,84554", ",nan,84554"), "line 2: expected a duration in seconds, found nan"),
        (METADATA + "video_1,a,b,c,4,4,[1]\n", "line 9: expected each video once, found video_1 again"),
    ],
)
def test_broken_metadata(folder, text, message):
    path = folder()
    (path / "metadata.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"metadata\.csv, .*{message}"):
        _ = MrHiSumReader.from_folder(path).video_ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(SPLIT)[:60], "expected JSON, found none"),
        (
            json.dumps({"train_keys": [], "test_keys": []}),
            "expected lists under train_keys, val_keys, test_keys, found others .*val_keys.*Fetch it again",
        ),
        (json.dumps([1]), "expected lists under"),
        (json.dumps(SPLIT | {"test_keys": ["video_1", "video_77"]}), "found 1 others: video_77"),
    ],
)
def test_broken_split(folder, text, message):
    path = folder()
    (path / "mr_hisum_split.json").write_text(text)
    with pytest.raises(ValueError, match=rf"mr_hisum_split\.json: .*{message}"):
        _ = MrHiSumReader.from_folder(path).splits
