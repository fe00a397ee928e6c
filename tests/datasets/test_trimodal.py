"""The trimodal releases: three files of one row a second each become one record, with a sentence for every second."""

import json
import pickle

import h5py
import numpy as np
import pytest

from hiersum_hf.datasets.readers.trimodal import TrimodalReader
from hiersum_hf.modeling.inputs_hiersum import times_to_spans
from hiersum_hf.records import Encoders
from tests.makers.records import same_record, through_parquet
from tests.makers.trimodal import METADATA, TEXT, VIDEO, annotation, rows


SPLIT = {"train_keys": ["ccc", "ddd"], "val_keys": ["bbb"], "test_keys": ["aaa"]}


@pytest.fixture
def folder(tmp_path):
    """Writes a release; `video` and `text` replace data sets, the rest changes members of aaa's annotation."""

    def write(name="mosu", visual="clip", video=None, text=None, **changes):
        with h5py.File(tmp_path / f"{name}_gt.h5", "w") as file:
            for video_id in ("aaa", "bbb", "ccc", "ddd"):
                for key, value in annotation(**(changes if video_id == "aaa" else {})).items():
                    file[f"{video_id}/{key}"] = value
        for kind, arrays in ((f"visual_{visual}", VIDEO | (video or {})), ("text_roberta", TEXT | (text or {}))):
            with h5py.File(tmp_path / f"{name}_feat_{kind}.h5", "w") as file:
                for key, value in arrays.items():
                    file[key] = value
        (tmp_path / f"{name}_split.json").write_text(json.dumps(SPLIT))
        (tmp_path / f"{name}_metadata.csv").write_text(METADATA)
        return tmp_path

    return write


def test_one_video_by_hand(folder):
    record = TrimodalReader.from_folder(folder()).read("aaa")
    np.testing.assert_array_equal(record.video_features, VIDEO["aaa"])
    np.testing.assert_array_equal(record.text_features, TEXT["aaa"])
    assert record.frame_times_s.tolist() == [0, 1, 2, 3, 4]
    assert record.frame_labels.tolist() == record.sentence_labels.tolist() == [1, 0, 1, 1, 0]
    assert record.shots.tolist() == [[0, 2], [2, 3], [3, 5]]
    assert record.user_summaries.tolist() == [[False, False, True, False, False]]
    assert record.encoders == Encoders("clip", "roberta", 1.0, "none")
    assert (record.duration_s, record.n_frames, record.views, record.group) == (5.0, 5, 70000, "yt-a")
    assert {sentence.text for sentence in record.sentences} == {""}
    times = np.array([(s.start_s, s.end_s) for s in record.sentences])
    assert times_to_spans(record.frame_times_s, times).tolist() == [[t, t + 1] for t in range(5)]


def test_every_length_is_cut_to_the_common_one(folder):
    reader = TrimodalReader.from_folder(folder())
    record = reader.read("bbb")  # 4 rows of frames, 5 scores, 3 captions
    assert (len(record.video_features), len(record.frame_scores), len(record.sentences)) == (4, 4, 3)
    assert len(record.text_features) == len(record.sentence_labels) == 3
    assert record.shots.tolist() == [[0, 2], [2, 3], [3, 4]]
    longer = TrimodalReader.from_folder(folder(text={"aaa": rows(3, 7, 6)})).read("aaa")
    assert len(longer.sentences) == len(longer.text_features) == 5


def test_parts_and_findings(folder):
    reader = TrimodalReader.from_folder(folder())
    assert reader.video_ids == ["aaa", "bbb", "ccc", "ddd"]
    assert reader.splits == {"train": ["ddd"], "validation": ["bbb"], "test": ["aaa"]}
    assert reader.findings == {
        "duplicates": ["yt-b: bbb (validation), ccc (train)"],
        "leaks": ["yt-b: bbb (validation), ccc (train)"],
        "dropped": ["ccc"],
        "outside_views": [],
        "without_features": ["ddd"],
        "without_text": ["ccc", "ddd"],
        "cut_to_common_length": ["bbb: {'gt_score': 5, 'features': 4, 'text': 3}"],
    }


def test_labels_and_views(folder):
    """The settings of the curve's labels mean the same here, and captions have the label of their second."""
    path = folder()
    reader = TrimodalReader.from_folder(path, quantile=0.5, intro_bins=20, min_views=60_000, max_views=80_000)
    record = reader.read("aaa")
    np.testing.assert_array_equal(record.frame_scores, np.float32([np.nan, 0.1, 0.9, 0.15, 0]))
    assert record.frame_labels.tolist() == record.sentence_labels.tolist() == [-100, 0, 1, 1, 0]
    assert reader.video_ids == ["aaa"]
    assert reader.splits == {"train": [], "validation": [], "test": ["aaa"]}
    assert reader.findings["outside_views"] == ["bbb", "ccc", "ddd"]
    assert reader.findings["without_features"] == []
    (path / "mosu_metadata.csv").unlink()
    with pytest.raises(ValueError, match=r"mosu_gt\.h5: expected a metadata file beside it, which tells the views"):
        TrimodalReader.from_folder(path, min_views=1)


def test_mrhisum_without_text_split_and_metadata(folder):
    path = folder("mrhisum", "inceptionv3")
    for name in ("mrhisum_feat_text_roberta.h5", "mrhisum_split.json", "mrhisum_metadata.csv"):
        (path / name).unlink()
    reader = TrimodalReader.from_folder(path, threshold=0.5)
    record = reader.read("aaa")
    assert record.encoders == Encoders("inceptionv3", "", 1.0)
    assert (record.sentences, record.sentence_labels, record.text_features.shape) == ((), None, (0, 0))
    assert (record.views, record.group, record.duration_s) == (None, None, 5.0)
    assert record.frame_labels.tolist() == [0, 0, 1, 0, 0]
    assert reader.splits == {}
    assert "without_text" not in reader.findings


def test_a_video_without_captions_has_no_sentences(folder):
    record = TrimodalReader.from_folder(folder()).read("ccc")
    assert (record.sentences, len(record.text_features), record.sentence_labels) == ((), 0, None)


def test_round_trip_through_parquet_and_pickle(folder, tmp_path):
    reader = pickle.loads(pickle.dumps(TrimodalReader.from_folder(folder(), intro_bins=20)))
    for video_id in ("bbb", "ccc"):
        record = reader.read(video_id)
        same_record(through_parquet(record, tmp_path / f"{video_id}.parquet"), record)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gt_score": None}, r"mosu_gt\.h5, video aaa: expected the members gtscore or gt_score and change_points"),
        ({"change_points": None}, r"mosu_gt\.h5, video aaa: expected the members"),
        ({"gt_score": np.full(5, np.nan)}, r"mosu_gt\.h5, video aaa: gt_score: expected \(T,\) scores in \[0, 1\]"),
        ({"text": {"aaa": rows(0, 5, 7), "aa": rows(0, 5, 6)}}, r"text_roberta\.h5, video aaa: .*\(T, 6\).*\(5, 7\)"),
        ({"video": {"aaa": rows(0, 5, 9), "a": rows(0, 5, 8)}}, r"visual_clip\.h5, video aaa: .*\(T, 8\).*\(5, 9\)"),
        ({"video": {"aaa": np.full((5, 8), np.inf)}}, r"visual_clip\.h5, video aaa: features: expected finite"),
        ({"video": {"aaa": rows(0, 5, 8)[0]}}, r"visual_clip\.h5: expected \(T, D\) data sets, found \(8,\)"),
    ],
)
def test_wrong_members_name_file_and_video(folder, changes, message):
    reader = TrimodalReader.from_folder(folder(**changes))
    with pytest.raises(ValueError, match=message):
        reader.read("aaa")


def test_missing_and_broken_files(folder, tmp_path):
    path = folder()
    reader = TrimodalReader.from_folder(path)
    with pytest.raises(ValueError, match=r"mosu_feat_visual_clip\.h5, video ddd: found no such video"):
        reader.read("ddd")
    (path / "mosu_split.json").write_text(json.dumps(SPLIT | {"val_keys": ["zzz"]}))
    with pytest.raises(ValueError, match=r"mosu_split\.json: .*found 1 others: zzz"):
        _ = reader.splits
    with h5py.File(reader.gt, "a") as file:
        del file["aaa"]
    with pytest.raises(ValueError, match=r"mosu_gt\.h5, video aaa: found no such video"):
        reader.read("aaa")
    text = path / "mosu_feat_text_roberta.h5"
    text.write_bytes(text.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"text_roberta\.h5: expected a complete HDF5 file"):
        reader.read("bbb")
    (path / "mosu_feat_visual_clip.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"visual_clip\.h5"):
        reader.read("bbb")
    with pytest.raises(ValueError, match=r"expected one mosu_feat_visual_\*\.h5, found \[\]"):
        TrimodalReader.from_folder(path)
    (path / "mrhisum_gt.h5").touch()
    with pytest.raises(ValueError, match=r"expected one \*_gt\.h5, found \['mosu_gt\.h5', 'mrhisum_gt\.h5'\]"):
        TrimodalReader.from_folder(path)
