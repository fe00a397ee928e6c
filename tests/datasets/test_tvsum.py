"""The files that the field exchanges must open as they are, and broken ones must say what is broken."""

import os
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hiersum_hf.datasets.readers.open import open_reader
from hiersum_hf.datasets.readers.tvsum import TVSumReader, read_tvsum, write_tvsum
from hiersum_hf.datasets.readers.tvsum_ratings import read_ratings
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.records import Encoders, Sentence, VideoRecord
from hiersum_hf.scoring.network import predict_scores
from hiersum_hf.scoring.training_free import score_frames
from tests.makers.models import tiny_model
from tests.makers.tvsum import write_group


@pytest.fixture
def tvsum() -> Path:
    if "HIERSUM_TEST_DATA" not in os.environ:
        pytest.skip("HIERSUM_TEST_DATA is unset: no real TVSum files")
    return Path(os.environ["HIERSUM_TEST_DATA"]) / "tvsum"


@pytest.fixture
def h5(tmp_path):
    """Writes eccv16 files: keyword arguments as `write_group`, one group video_3."""

    def write(file_name="eccv16_dataset_tvsum_google_pool5.h5", **changes):
        with h5py.File(tmp_path / file_name, "w") as file:
            write_group(file, "video_3", **changes)
        return tmp_path / file_name

    return write


def test_ratings_of_all_videos(tvsum):
    videos = read_ratings(tvsum / "ydata-tvsum50.mat")
    assert len(videos) == 50
    assert {v.user_scores.shape == (20, v.n_frames) for v in videos} == {True}
    assert {*np.unique(videos[0].user_scores)} <= {1, 2, 3, 4, 5}
    titles = [v.title for v in videos]
    assert "ŠKODA Tips How to Repair Your Tyre" in titles
    assert "Vivencias: Jam Parkour Viña del Mar 2012" in titles
    assert "The stuck truck of Mark, The rut that filled an afternoon." in titles
    assert not any("Ã" in title or "Å" in title or title.startswith('"') for title in titles)
    assert (videos[37].video_id, videos[37].category, videos[37].n_frames) == ("EE-bNr36nyA", "BK", 2941)
    assert videos[37].duration_s == pytest.approx(98.15, abs=0.01)


def test_ratings_table_equals_the_mat_file(tvsum, tmp_path):
    videos = read_ratings(tvsum / "ydata-tvsum50.mat")[:3]
    rows = [f"{v.video_id}\t{v.category}\t{','.join(f'{s:g}' for s in row)}\n" for v in videos for row in v.user_scores]
    (tmp_path / "anno.tsv").write_text("".join(rows))
    for ours, theirs in zip(read_ratings(tmp_path / "anno.tsv"), videos, strict=True):
        assert (ours.video_id, ours.category, ours.title) == (theirs.video_id, theirs.category, "")
        assert np.array_equal(ours.user_scores, theirs.user_scores)


def test_broken_ratings_say_so(tmp_path):
    table = tmp_path / "anno.tsv"
    with pytest.raises(FileNotFoundError, match=r"anno\.tsv"):
        read_ratings(table)
    table.write_text("a\tVT\t1,2,3\na\tVT\n")
    with pytest.raises(ValueError, match=r"anno.tsv, line 2: expected id, category"):
        read_ratings(table)
    table.write_text("a\tVT\t1,2,3\na\tVT\t1,2\n")
    with pytest.raises(ValueError, match=r"video a: expected rows of one length, found \[2, 3\]"):
        read_ratings(table)
    table.write_text("")
    with pytest.raises(ValueError, match=r"anno\.tsv: expected rows of id, category and ratings, found an empty table"):
        read_ratings(table)
    for odd in ("nan", "inf"):
        table.write_text(f"a\tVT\t1,2,3\na\tVT\t1,{odd},3\n")
        with pytest.raises(ValueError, match=r"anno\.tsv, video a: expected finite ratings, found NaN or infinity"):
            read_ratings(table)
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(ValueError, match=r"x.mat: expected an HDF5 file"):
        read_ratings(tmp_path / "x.mat")


@pytest.fixture
def mat(tmp_path):
    """Writes a .mat of one entry in its documented format, with `changes` of its cells (None: of a reference)."""

    def write(**changes):
        cells = {
            key: np.array([[ord(c)] for c in text])
            for key, text in {"video": "abc", "title": "T", "category": "VT"}.items()
        }
        cells |= {"user_anno": np.ones((20, 64)), "length": np.array([[2.1]])}
        with h5py.File(tmp_path / "y.mat", "w") as file:
            for key, value in (cells | changes).items():
                reference = h5py.Reference() if value is None else file.create_dataset(f"#refs#/{key}", data=value).ref
                file.create_dataset(f"tvsum50/{key}", (1, 1), h5py.ref_dtype)[0, 0] = reference
        return tmp_path / "y.mat"

    return write


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_anno": None}, "expected .* found a damaged entry"),
        ({"length": np.zeros(3)}, "expected .* found a damaged entry"),
        ({"length": np.array([[np.nan]])}, "video abc: expected a length in seconds, found nan"),
        ({"user_anno": np.full((20, 64), np.nan)}, "video abc: expected finite ratings, found NaN"),
        ({"user_anno": np.ones(64)}, r"video abc: expected a row of ratings for each annotator, found shape \(64,\)"),
        ({"title": np.array([[2**40]])}, "expected .* found a damaged entry"),
    ],
)
def test_a_damaged_mat_says_which_entry(mat, changes, message):
    assert read_ratings(mat())[0].video_id == "abc"
    with pytest.raises(ValueError, match=rf"y\.mat, entry 1.*{message}"):
        read_ratings(mat(**changes))


def test_a_feature_file_becomes_records(h5):
    (record,) = read_tvsum(h5())
    assert record.video_id == "video_3"
    assert record.shots.tolist() == [[0, 30], [30, 38], [38, 64]]
    assert record.frame_scores.tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert record.frame_labels.tolist() == [0, 0, 1, 0, 0]  # 9 frames allowed: only the shot [30, 38) fits
    assert record.user_summaries.shape == (20, 64)
    assert record.frame_times_s.tolist() == [0, 0.5, 1, 1.5, 2]
    assert record.duration_s == pytest.approx(64 / 30)
    assert record.encoders == Encoders("googlenet-pool5", "", 2.0)
    assert record.source == str(h5())
    assert record.sentence_labels is None
    assert record.user_scores is None
    assert record.description == ()


def test_ratings_add_titles_times_and_scores(tvsum, h5, tmp_path):
    ratings = tvsum / "ydata-tvsum50.mat"
    video = read_ratings(ratings)[2]
    (record,) = read_tvsum(h5(n_frames=video.n_frames - 1), ratings)
    assert record.video_id == "video_3"
    assert record.description == ("#0001: FLAT TIRE",)
    assert record.description_features.shape == (0, 0)
    assert np.array_equal(record.user_scores, video.user_scores[:, record.picks])
    assert record.duration_s == pytest.approx(584.7, abs=0.1)
    with pytest.raises(
        ValueError, match=r"video_3: ratings of J0nA4VgnoCo in .*tvsum50\.mat: expected 64 frames, found 14019"
    ):
        read_tvsum(h5(), ratings)


def test_ratings_of_other_videos_are_refused(tmp_path):
    """A table that lost a video would give all after it the ratings of their neighbours."""
    rows = {name: f"{name}\tVT\t{','.join('12345' * 13)[:127]}\n" * 2 for name in ("abc", "def", "ghi")}
    with h5py.File(tmp_path / "own.h5", "w") as file:
        for k, name in enumerate(rows, start=1):
            write_group(file, f"video_{k}", video_name=np.bytes_(name))
    for number, kept in enumerate((["abc", "def", "ghi"], ["abc", "def"])):
        (tmp_path / f"{number}.tsv").write_text("".join(rows[name] for name in kept))
    assert len(read_tvsum(tmp_path / "own.h5", tmp_path / "0.tsv")[2].user_scores) == 2
    with pytest.raises(
        ValueError, match=r"video_3: .*1\.tsv: expected ratings of video_3, found 2, which are of video_1"
    ):
        read_tvsum(tmp_path / "own.h5", tmp_path / "1.tsv")


def write_ratings(path, ids):
    """A table of two annotators who rate the first of 64 frames by the number of the video."""
    rows = [f"{name}\tVT\t{k}{',3' * 63}\n" for k, name in enumerate(ids, start=1)]
    path.write_text("".join(row * 2 for row in rows))
    return path


@pytest.mark.parametrize(
    ("groups", "entries"),
    [
        ({"-bcdefghij1": None, "abcdefghi_2": None}, {"-bcdefghij1": 1, "abcdefghi_2": 2}),
        ({"video_1": "abcdefghi_2", "video_2": "-bcdefghij1"}, {"video_1": 2, "video_2": 1}),
        ({"b": "-bcdefghij1", "video_1": "abcdefghi_2.mp4"}, {"b": 1, "video_1": 2}),
        ({"video_1": "How it is done", "video_2": None}, {"video_1": 1, "video_2": 2}),
        ({"video_002": None, "3": None, "Video-1": None}, {"video_002": 2, "3": 3, "Video-1": 1}),
        ({"xbcdefghij2": None, "video_1.mp4": None}, {"xbcdefghij2": 3, "video_1.mp4": 1}),  # not numbers 2 and 4
    ],
)
def test_ratings_are_found_by_id_else_by_number(tmp_path, groups, entries):
    ratings = write_ratings(tmp_path / "r.tsv", ["-bcdefghij1", "abcdefghi_2", "xbcdefghij2"])
    with h5py.File(tmp_path / "own.h5", "w") as file:
        for name, told in groups.items():
            write_group(file, name, video_name=None if told is None else np.bytes_(told))
    assert {one.video_id: one.user_scores[0, 0] for one in read_tvsum(tmp_path / "own.h5", ratings)} == entries


@pytest.mark.parametrize(
    ("name", "told", "message"),
    [
        ("xyzdefghij1", None, "expected ratings of xyzdefghij1, .* found none among those of -bcdefghij1"),
        ("video_1", "xyzdefghij1", "expected ratings of xyzdefghij1, the group video_1, found none"),
        ("soup", None, "expected ratings of soup, .* Name groups by YouTube id, or as video_1"),
        ("video_7", None, "expected ratings of video_7, found 1, which are of video_1 to video_1"),
    ],
)
def test_a_video_without_ratings_is_named(tmp_path, name, told, message):
    ratings = write_ratings(tmp_path / "r.tsv", ["-bcdefghij1"])
    with h5py.File(tmp_path / "own.h5", "w") as file:
        write_group(file, name, video_name=None if told is None else np.bytes_(told))
    with pytest.raises(ValueError, match=rf"r\.tsv: {message}"):
        read_tvsum(tmp_path / "own.h5", ratings)


def test_ratings_alone_are_a_source(mat, tmp_path):
    """The .mat was once taken for a feature file of two videos."""
    reader, files = open_reader("tvsum", mat())
    assert (reader.video_ids, files) == (["abc"], [mat()])
    record = reader.read("abc")
    assert (record.description, record.user_scores.shape, record.source) == (("T",), (20, 5), str(mat()))
    assert (record.user_summaries, record.frame_scores, record.shots) == (None, None, None)
    with pytest.raises(ValueError, match=r"y\.mat: expected ratings of def, found no such video"):
        reader.read("def")


def test_the_id_of_what_made_the_frames_features(h5):
    """A feature file of one's own names no encoder; without its id no title could be compared with a frame."""
    record = TVSumReader(h5("own.h5"), video_encoder="some/clip").read("video_3")
    assert record.encoders == Encoders("some/clip", "", 2.0)
    assert TVSumReader(h5("own.h5")).read("video_3").encoders is None
    named = TVSumReader(h5(), video_encoder="googlenet-pool5").read("video_3")
    assert named.encoders == Encoders("googlenet-pool5", "", 2.0)
    with pytest.raises(ValueError, match=r"video_3: --video-encoder: expected 'googlenet-pool5', .* found 'some/clip'"):
        TVSumReader(h5(), video_encoder="some/clip").read("video_3")


def test_groups_come_in_the_order_of_their_numbers(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for k in (10, 9, 1):
            write_group(file, f"video_{k}")
    assert [record.video_id for record in read_tvsum(tmp_path / "x.h5")] == ["video_1", "video_9", "video_10"]


def test_small_flaws_are_mended(h5):
    (record,) = read_tvsum(
        h5(n_frames=np.array(66), shots=((0, 29), (30, 40), (41, 66)), user_summary=np.ones((2, 65)))
    )
    assert record.n_frames == 65
    assert record.shots[-1].tolist() == [41, 65]
    assert record.user_summaries.shape == (2, 65)
    (record,) = read_tvsum(h5(gtscore=np.full(5, 0.4), picks=np.array([1, 8, 20, 33, 64])))
    assert record.frame_scores.tolist() == [0] * 5
    assert record.frame_labels.tolist() == [0] * 5
    (record,) = read_tvsum(h5(n_frames=1, shots=((0, 0),)))
    assert record.frame_scores.tolist() == [0]


def test_a_video_that_nobody_annotated(h5):
    """What a feature extraction of one's own videos writes."""
    record = TVSumReader(h5("own.h5", gtscore=None, gtsummary=None, user_summary=None)).read("video_3")
    assert (record.frame_scores, record.frame_labels, record.user_scores, record.user_summaries) == (None,) * 4
    assert record.shots.tolist() == [[0, 30], [30, 38], [38, 64]]
    scores = predict_scores(tiny_model(video_dim=8), HierSumFeatureExtractor("", "", 8, 10), [record])["video_3"][
        "scores"
    ]
    assert scores.shape == (5,)
    assert score_frames(record, "training-free").shape == (5,)
    with pytest.raises(ValueError, match="video_3: the oracle needs annotators, scores or labels, found none"):
        score_frames(record, "oracle")


def test_scores_of_a_group_without_gtscore_are_its_annotators_mean(h5, tvsum):
    users = np.zeros((2, 64))
    users[:, 15:30], users[0, 60:] = 1, 1
    (record,) = read_tvsum(h5(gtscore=None, user_summary=users))
    assert record.frame_scores.tolist() == [0, 1, 0, 0, 0.5]  # at the picks 0, 15, ...
    assert record.frame_labels is not None
    (record,) = read_tvsum(
        h5(gtscore=None, user_summary=users, user_scores=np.array([[1, 2, 3, 4, 5], [1, 4, 5, 6, 9]]))
    )
    assert record.frame_scores.tolist() == pytest.approx([0, 1 / 3, 0.5, 2 / 3, 1])
    video = read_ratings(tvsum / "ydata-tvsum50.mat")[2]
    alone = {"gtscore": None, "user_summary": None, "shots": ((0, 5999), (6000, video.n_frames - 1))}
    (record,) = read_tvsum(h5(n_frames=video.n_frames, **alone), tvsum / "ydata-tvsum50.mat")
    mean = video.user_scores[:, ::15].mean(axis=0)
    assert record.frame_scores == pytest.approx((mean - mean.min()) / np.ptp(mean), abs=1e-6)


def test_scores_without_summaries(h5):
    (record,) = read_tvsum(h5(user_summary=None))
    assert record.user_summaries is None
    assert record.frame_labels.tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"picks": None}, r"expected the members picks, found \['change_points'"),
        ({"features": np.full((5, 8), np.nan)}, "features: expected finite values"),
        ({"features": np.ones((4, 8))}, r"features: expected 5 rows of numbers, found float64 of shape \(4, 8\)"),
        ({"gtscore": np.ones(4)}, r"gtscore: expected numbers of shape \(5,\), found float64 of shape \(4,\)"),
        ({"gtscore": np.array([0, 0, np.nan, 0, 1])}, "gtscore: expected finite values"),
        ({"gtscore": ["a"] * 5}, r"gtscore: expected numbers, found entries of variable length of shape \(5,\)"),
        ({"n_frames": 0}, "picks: expected ascending frame numbers below 0"),
        ({"picks": np.array([0, 15, 30.5, 45, 60])}, r"picks: expected whole numbers, found \[30\.5\]"),
        ({"picks": np.array([0, 15, np.nan, 45, 60])}, "picks: expected finite values"),
        (
            {"change_points": np.arange(7)},
            r"change_points: expected numbers of shape \(any, 2\), found int64 of shape \(7,",
        ),
        ({"change_points": np.array([[0, np.nan]])}, "change_points: expected finite values"),
        ({"user_summary": np.full((2, 64), np.nan)}, r"user_summary: expected values 0 and 1, found \[nan\]"),
        ({"user_summary": np.full((2, 64), 7.0)}, r"user_summary: expected values 0 and 1, found \[7\.\]"),
        ({"user_summary": np.ones((0, 64))}, r"user_summary: expected a row .* each annotator, found shape \(0, 64\)"),
        ({"user_summary": np.ones((2, 64, 1))}, r"user_summary: expected a row .* found shape \(2, 64, 1\)"),
        (
            {"user_scores": np.ones(5)},
            r"user_scores: expected numbers of shape \(any, 5\), found float64 of shape \(5,\)",
        ),
        ({"user_scores": np.ones((2, 4))}, r"user_scores: expected numbers of shape \(any, 5\), found .* \(2, 4\)"),
        ({"user_scores": np.ones((0, 5))}, "user_scores: expected at least one annotator"),
        ({"user_scores": np.full((2, 5), np.nan)}, "user_scores: expected finite values"),
        ({"fps": 0.0}, "fps: expected a positive rate, found 0"),
        ({"fps": -25.0}, "fps: expected a positive rate, found -25"),
        ({"fps": np.inf}, "fps: expected finite values"),
        ({"fps": np.ones(3)}, r"fps: expected numbers of shape \(\), found float64 of shape \(3,\)"),
        ({"text_times": np.array([[0, np.nan]])}, "text_times: expected finite values"),
        ({"text_times": np.array([[1.5, 1.0]])}, r"text_times: expected 0 <= start <= end .* found 1\.50 to 1\.00 s"),
        ({"text_times": np.array([[2.2, 2.5]])}, r"text_times: .* start < 2\.13 s.* found 2\.20 to 2\.50 s"),
        ({"text_times": np.array([[-1.0, 1.0]])}, r"text_times: .* found -1\.00 to 1\.00 s"),
        (
            {"text_times": np.arange(3.0)},
            r"text_times: expected numbers of shape \(any, 2\), found float64 of shape \(3,\)",
        ),
        ({"text_times": np.array([[0, 1.0], [1, 2]]), "text": ["a"]}, "text: expected 2 texts, .* found 1"),
        ({"description": np.ones(2)}, "description: expected texts, found float64"),
        ({"features": None, "features/x": np.ones(3)}, "features: expected an array, found a group"),
        ({"user_summary": np.ones((20, 61))}, "user_summary: expected 64 frames, found 61"),
        ({"picks": np.array([0, 15, 15, 20, 30])}, "picks: expected ascending frame numbers below 64"),
        ({"change_points": np.array([[100, 120]])}, r"shots: expected at least one in \[0, 64\)"),
    ],
)
def test_broken_files_name_file_video_and_member(h5, changes, message):
    with pytest.raises(ValueError, match=r"eccv16.*\.h5, video video_3: .*" + message):
        read_tvsum(h5(**changes))


def test_one_bad_group_can_be_left_out(tmp_path):
    """An array in place of a video's group must not end a preparation that is told to skip what is bad."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write_group(file, "video_1")
        file["video_2"] = np.zeros(3)
    reader = TVSumReader(tmp_path / "x.h5")
    assert reader.video_ids == ["video_1", "video_2"]
    with pytest.raises(ValueError, match=r"x\.h5, video video_2: expected a Group, found a Dataset"):
        reader.read("video_2")
    with pytest.raises(ValueError, match=r"x\.h5, video video_9: found no such video"):
        reader.read("video_9")
    (tmp_path / "words.json").write_text('{"video_1": {"timestamps": [[0, 1]], "sentences": ["Hi."]}}')
    captioned = TVSumReader(tmp_path / "x.h5", captions=tmp_path / "words.json")
    assert captioned.findings == {"without_text": ["video_2"]}


def test_names_do_not_steer_the_terminal(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write_group(file, "video_\x1b[31m1\n", picks=None)
    with pytest.raises(ValueError, match=r"video video_\\x1b\[31m1\\n: expected the members picks"):
        read_tvsum(tmp_path / "x.h5")


def test_a_sentence_ends_with_the_video(h5):
    (record,) = read_tvsum(h5(text_times=np.array([[0.0, 1.0], [2.0, 1e9]])))
    assert [(s.start_s, s.end_s) for s in record.sentences] == [(0, 1), (2, pytest.approx(64 / 30))]


def test_a_file_that_is_missing_or_no_hdf5(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.h5"):
        read_tvsum(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.h5: expected an HDF5 file"):
        read_tvsum(tmp_path / "text.h5")


def same(one, other):
    for field in fields(VideoRecord):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(ours, np.ndarray) or isinstance(theirs, np.ndarray):
            assert np.allclose(ours, theirs), field.name
            assert ours.dtype == theirs.dtype, field.name
        else:
            assert ours == (pytest.approx(theirs) if isinstance(theirs, float) else theirs), field.name


def test_written_records_come_back(h5, tmp_path):
    (record,) = read_tvsum(h5())
    full = replace(
        record,
        sentences=(Sentence("Erst schälen.", 0.0, 0.7), Sentence("Then slice.", 0.9, 2.0)),
        text_features=np.ones((2, 3), np.float32),
        description=("How it is done",),
        description_features=np.ones((1, 3), np.float32),
        user_scores=np.arange(10.0).reshape(2, 5),
        encoders=Encoders("some/video", "some/text", 2.0),
        sentence_labels=np.array([0, 1]),  # only the second is spoken over frame 2, the important one
    )
    titled = replace(record, video_id="video_4", encoders=None, description=("Title alone",))
    write_tvsum([full, titled], tmp_path / "demo.h5")
    for ours, theirs in zip(read_tvsum(tmp_path / "demo.h5"), [full, titled], strict=True):
        same(ours, replace(theirs, source=str(tmp_path / "demo.h5")))
    with h5py.File(tmp_path / "demo.h5") as file:  # the documented format: closed shots, one row a pick
        assert file["video_3/change_points"][()].tolist() == [[0, 29], [30, 37], [38, 63]]
        assert file["video_3/n_frame_per_seg"][()].tolist() == [30, 8, 26]
        assert file["video_3/n_steps"][()] == 5


def test_a_record_without_shots_cannot_be_written(h5, tmp_path):
    with pytest.raises(ValueError, match="video video_3: expected shots, picks"):
        write_tvsum([replace(read_tvsum(h5())[0], shots=None)], tmp_path / "demo.h5")
