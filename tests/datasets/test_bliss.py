"""BLiSS must open as it is published, and each clip must keep its words, labels and spans."""

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from hiersum_hf.datasets.readers.bliss import TEXT_ENCODER, VIDEO_ENCODER, BLiSSReader
from hiersum_hf.modeling.inputs_hiersum import times_to_spans
from hiersum_hf.records import Encoders
from tests.makers.bliss import clip, write_bliss
from tests.makers.records import round_trip


@pytest.fixture
def bliss(tmp_path):
    """Writes a folder with one clip `c` in val: keyword arguments as `clip`."""

    def write(arrays=None, **changes):
        return write_bliss(tmp_path / "bliss", {"val": {"c": clip(**changes)}}, **arrays or {})

    return write


def spans_of(record):
    times = np.array([(s.start_s, s.end_s) for s in record.sentences]).reshape(-1, 2)
    return times_to_spans(record.frame_times_s, times).tolist()


def test_a_clip_as_published(bliss):
    reader = bliss()
    record = reader.read("c")
    raw = np.load(reader.folder / "feature" / "video_clip_val.npy", allow_pickle=True).item()["c"]
    assert np.array_equal(record.video_features, raw)
    assert record.video_features.dtype == np.float32
    assert record.text_features.shape == (3, 768)
    assert record.reference_features.shape == (2, 512)
    assert record.frame_labels.tolist() == [0, 1, 0, 0, 1, 0]
    assert record.sentence_labels.tolist() == [0, 1, 0]
    assert record.frame_scores is None
    assert record.frame_times_s.tolist() == [0, 1, 2, 3, 4, 5]
    assert record.duration_s == 6
    assert spans_of(record) == [[0, 2], [2, 6], [1, 4]]
    assert record.reference_text == ("We draw a head. Then we shade it.",)
    assert record.description == ("Sentence 0, naïve.", "Sentence 1, naïve.", "Sentence 2, naïve.")
    assert np.array_equal(record.description_features, record.text_features)
    assert (record.group, record.views, record.shots, record.picks) == ("stream_7", None, None, None)
    assert record.encoders == Encoders(VIDEO_ENCODER, TEXT_ENCODER, 1.0)
    assert record.source == str(reader.folder / "annotation" / "val.json")


def test_highlight_may_be_a_list(bliss):
    assert bliss(highlight=["One.", "Two."]).read("c").reference_text == ("One.", "Two.")


def test_no_description_on_request(bliss):
    record = BLiSSReader(bliss().folder, description=None).read("c")
    assert record.description == ()
    assert len(record.description_features) == 0
    with pytest.raises(ValueError, match=r"description: expected .*, found 'title'"):
        BLiSSReader(Path("x"), description="title")


@pytest.mark.parametrize("sample_fps", [1.0, 0.1, 29.97])
def test_spans_come_back_whatever_the_rate(bliss, sample_fps):
    """Overlapping, unsorted, over the ends: cut at the ends; without frames: covers none."""
    every = [(a, b) for a in range(8) for b in range(a + 1, 8)]
    odd = [(3, 3), (0, 0), (7, 7), (5, 2), (-4, 2), (-4, -1), (6, 99), (50, 60), (-9, 99)]
    reader = bliss(frames=7, spans=[*every, *odd])
    spans = spans_of(BLiSSReader(reader.folder, sample_fps=sample_fps).read("c"))
    for (start, end), found in zip([*every, *odd], spans, strict=True):
        assert set(range(*found)) == set(range(max(start, 0), min(end, 7)))
        assert 0 <= found[0] <= found[1] <= 7


def test_a_silent_clip_and_one_without_key_frames(bliss):
    record = bliss(spans=(), keyframes=(), highlight=[], arrays={"text_roberta": np.zeros(0)}).read("c")
    assert record.text_features.shape == record.description_features.shape == (0, 768)
    assert record.reference_features.shape == (0, 512)
    assert (record.sentences, record.description, record.reference_text) == ((), (), ())
    assert record.sentence_labels.shape == (0,)


def test_parts_duplicates_and_leaks(tmp_path):
    parts = {
        "train": {"c1": clip(), "c2": clip(video_id="stream_8")},
        "test": {"c3": clip(frames=4, spans=((0, 1),), keyframes=(0,)), "c2": clip(video_id="stream_8", frames=5)},
    }
    reader = pickle.loads(pickle.dumps(write_bliss(tmp_path, parts)))
    assert reader.video_ids == ["c1", "c2", "c3"]
    assert reader.splits == {"train": ["c1", "c2"], "test": ["c3"]}
    assert reader.findings == {"duplicates": ["c2"], "leaks": ["stream_7"]}
    assert len(reader.read("c2").video_features) == 6
    assert hash(reader) == hash(BLiSSReader(str(tmp_path)))


def test_parquet_round_trip(tmp_path):
    parts = {"train": {"c1": clip(), "c2": clip(frames=1, spans=(), keyframes=(), highlight=["A.", "B."])}}
    reader = write_bliss(tmp_path / "bliss", parts)
    round_trip([reader.read(name) for name in reader.video_ids], tmp_path)


def test_unconverted_features_name_the_conversion(tmp_path):
    reader = write_bliss(tmp_path, {"test": {"c": clip()}}, convert=False)
    with pytest.raises(
        FileNotFoundError, match=r"video_clip_test\.h5: .*convert_pickled_arrays\('.*video_clip_test\.npy'\)"
    ):
        reader.read("c")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frame": 7}, r"video_label: expected 7 entries \(num_frame\), found 6"),
        ({"num_sentence": 2}, r"text_label: expected 2 entries \(num_sentence\), found 3"),
        ({"sentence": ["a", "b"]}, r"sentence: expected 3 entries"),
        ({"sentence": "abc"}, r"sentence: expected a list, found 'abc'"),
        ({"text_label": None}, r"text_label: expected a list, found None"),
        ({"sentence": ["a", None, "c"]}, r"sentence: expected strings"),
        ({"sentence_time": [[0, 1], [1, 2]]}, r"sentence_time: expected 3 entries"),
        ({"sentence_time": [[0, 1], [1, 2], [3]]}, r"inhomogeneous"),
        ({"sentence_time": [[0, 1], [1, 2], [0.5, 3]]}, r"sentence_time: expected \[start, end\) in frames"),
        ({"sentence_time": [[0, 1], [1, 2], [float("nan"), 3]]}, r"sentence_time: expected \[start, end\) in frames"),
        ({"video_label": [0, 1, 2, 0, 0, 0]}, r"video_label: expected values 0 and 1, found \[0\. 1\. 2\.\]"),
        ({"text_label": [0, float("nan"), 0]}, r"text_label: expected values 0 and 1"),
        ({"highlight": 5}, r"highlight: expected strings, found 5"),
        ({"frames": 0, "keyframes": (), "spans": ()}, r"num_frame: expected at least 1 frame"),
    ],
)
def test_broken_annotations_say_so(bliss, changes, message):
    with pytest.raises(ValueError, match=rf"val\.json, clip c: .*{message}"):
        bliss(**changes).read("c")


@pytest.mark.parametrize(
    ("kind", "array", "message"),
    [
        ("video_clip", np.zeros((5, 512)), r"expected shape \(6, 512\), found \(5, 512\)"),
        ("video_clip", np.zeros((6, 1024)), r"expected shape \(6, 512\), found \(6, 1024\)"),
        ("text_roberta", np.full((3, 768), np.nan), r"expected finite values, found NaN"),
        ("text_roberta", np.zeros((2, 768)), r"expected shape \(3, 768\), found \(2, 768\)"),
        ("video_summ_clip", np.zeros((2, 3, 512)), r"expected shape \(2, 512\), found \(2, 3, 512\)"),
        ("video_summ_clip", None, r"expected features of shape \(2, 512\), found none"),
    ],
)
def test_features_that_do_not_fit_say_so(bliss, kind, array, message):
    with pytest.raises(ValueError, match=rf"{kind}_val\.h5, clip c: {message}"):
        bliss(arrays={kind: array}).read("c")


def test_broken_files_say_so(tmp_path, bliss):
    with pytest.raises(FileNotFoundError, match=r"annotation: expected train\.json, val\.json or test\.json"):
        BLiSSReader(tmp_path).video_ids  # noqa: B018
    reader = bliss()
    with pytest.raises(ValueError, match=r"annotation: expected a clip nobody, found none"):
        reader.read("nobody")
    path = reader.folder / "feature" / "text_roberta_val.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"text_roberta_val\.h5: expected a complete HDF5 file"):
        reader.read("c")
    path.unlink()
    with h5py.File(path, "w") as file:
        file["c/features"] = np.zeros((3, 768))
    with pytest.raises(ValueError, match=r"text_roberta_val\.h5, clip c: expected an array of numbers"):
        reader.read("c")
    annotation = reader.folder / "annotation" / "val.json"
    for content, message in {
        annotation.read_text()[:-20]: "expected JSON",
        "[1]": "expected a JSON object, found list",
        '{"c": [1]}': r"clip c: expected the members highlight, .*, found list",
        json.dumps({"c": clip(num_sentence="3")}): "num_sentence: expected a whole number from 0, found '3'",
        json.dumps({"c": clip(num_keyframe=None)}): "num_keyframe: expected a whole number from 0, found None",
        '{"c": {"video_id": 1}}': r"clip c: expected the members .*, found \['video_id'\]",
    }.items():
        annotation.write_text(content)
        with pytest.raises(ValueError, match=rf"val\.json.*{message}"):
            reader.read("c")
