"""A file of most-replayed curves is a data set of its own, with or without features."""

import json
import pickle

import numpy as np
import pytest

from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.prepared import load_prepared
from hiersum_hf.datasets.readers.replay_reader import ReplayReader
from hiersum_hf.records import Encoders
from tests.makers.records import same_record
from tests.makers.replay import VIDEOS, write_features


@pytest.fixture
def curves(tmp_path):
    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / "curves.json"
    path.write_text(json.dumps(VIDEOS))
    return path


def test_without_features_there_is_a_frame_every_second(curves):
    reader = pickle.loads(pickle.dumps(ReplayReader(curves)))
    assert (reader.video_ids, reader.splits) == (["a", "b", "c"], {})
    record = reader.read("a")
    assert record.frame_times_s.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(record.frame_scores, np.float32([1, 1, 0.1, 0.1, 0.2, 0.2, 0.05, 0.05]))
    assert record.frame_labels.tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    assert (record.video_features.shape, record.encoders, record.duration_s) == ((0, 0), None, 8.0)
    assert (record.description, record.views, record.source) == (("How to fry",), 70_000, str(curves))
    other = reader.read("b")  # 2.8 s
    assert (other.frame_times_s.tolist(), other.duration_s, other.description) == ([0, 1, 2], pytest.approx(2.8), ())
    assert reader.findings == {
        "without_curve": ["d"],
        "outside_views": [],
        "without_features": [],
    }


def test_features_set_the_frames(curves):
    features = np.random.default_rng(0).random((5, 3), np.float32)
    path = write_features(curves.with_name("features.h5"), {"a": features[:4], "b": features[:1], "x": features})
    reader = ReplayReader(curves, path)
    record = reader.read("a")
    np.testing.assert_array_equal(record.video_features, features[:4])
    assert record.frame_times_s.tolist() == [0, 2, 4, 6]
    assert record.frame_labels.tolist() == [1, 0, 1, 0]
    assert record.encoders == Encoders("clip", "", 0.5)
    assert record.source == f"{curves}, {path}"
    assert reader.findings["without_features"] == ["c"]
    longer = ReplayReader(curves, write_features(path, {"a": features})).read("a")  # the last frame is after the curve
    assert (longer.frame_labels.tolist(), longer.duration_s) == ([1, 0, 1, 0, -100], 10.0)
    assert np.isnan(longer.frame_scores[-1])


def test_labels_and_views(curves):
    reader = ReplayReader(curves, intro_bins=1, quantile=0.9, min_views=800)
    assert reader.video_ids == ["a", "b"]
    assert reader.read("a").frame_labels.tolist() == [-100, -100, 0, 0, 1, 1, 0, 0]
    assert reader.findings["outside_views"] == ["c"], "unknown views are in no range"
    with pytest.raises(ValueError, match=r"curves\.json, video c: expected a curve and views within limits"):
        reader.read("c")


@pytest.mark.parametrize("with_features", [True, False])
def test_round_trip_through_a_prepared_folder(curves, tmp_path, with_features):
    features = None
    if with_features:
        nodes = {name: np.full((4, 3), i, np.float32) for i, name in enumerate("abc")}
        features = write_features(tmp_path / "features.h5", nodes)
    reader = ReplayReader(curves, features, intro_bins=1)
    prepare(reader, tmp_path / "out", [curves], progress=False)
    again = load_prepared(tmp_path / "out")
    assert [record.video_id for record in again] == reader.video_ids
    for record in again:
        same_record(record, reader.read(record.video_id))


@pytest.mark.parametrize(
    ("node", "attributes", "message"),
    [
        (np.ones(3), {}, r"features\.h5, video a: expected features of shape \(N, Dv\), found \(3,\)"),
        (np.full((3, 2), np.nan), {}, r"features\.h5, video a: expected finite features"),
        (np.ones((3, 2)), {"sample_fps": -1.0}, r"video a: sample_fps: expected a positive rate, found -1\.0"),
    ],
)
def test_features_that_do_not_fit_name_file_and_video(curves, node, attributes, message):
    path = write_features(curves.with_name("features.h5"), {"a": node}, **attributes)
    with pytest.raises(ValueError, match=message):
        ReplayReader(curves, path).read("a")


def test_what_is_missing_or_cut_off_is_named(curves, tmp_path):
    path = write_features(tmp_path / "features.h5", {"a": np.ones((100, 8))})
    with pytest.raises(ValueError, match=r"features\.h5, video b: expected features, found none"):
        ReplayReader(curves, path).read("b")
    with pytest.raises(ValueError, match=r"curves\.json, video d: expected a curve"):
        ReplayReader(curves).read("d")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"features\.h5: expected a complete HDF5 file"):
        ReplayReader(curves, path).read("a")
    with pytest.raises(FileNotFoundError, match=r"gone\.h5"):
        ReplayReader(curves, tmp_path / "gone.h5").read("a")
    curves.write_text(curves.read_text()[:-30])
    with pytest.raises(ValueError, match=r"curves\.json: expected JSON"):
        _ = ReplayReader(curves).video_ids
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        _ = ReplayReader(tmp_path / "gone.json").video_ids


def test_real_curves(test_data):
    """What a frame every second says about the 19 real curves at the paper's threshold; the bins say 3 % to 98 %, and
    one video has but 46 seconds for its 100 bins."""
    reader = ReplayReader(test_data / "heatmaps" / "youtube_most_replayed.json")
    rates = [(reader.read(key).frame_labels == 1).mean() for key in reader.video_ids]
    assert len(rates) == 19
    assert [min(rates), np.median(rates), max(rates)] == pytest.approx([2 / 46, 0.84, 0.98], abs=0.005)
    assert not any(reader.findings.values())
    best = ReplayReader(reader.curves, quantile=0.85)
    assert [(best.read(key).frame_labels == 1).mean() for key in best.video_ids] == pytest.approx([0.15] * 19, abs=0.03)
