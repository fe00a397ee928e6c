"""SumMe's own annotations: the feature file lacks the ranks, and another video's would pass for the right ones."""

import re

import h5py
import numpy as np
import pytest

from hiersum_hf.cli.main import main
from hiersum_hf.datasets.prepared import load_prepared
from hiersum_hf.datasets.readers.open import open_reader
from hiersum_hf.datasets.readers.summe import read_annotations
from hiersum_hf.datasets.readers.tvsum import TVSumReader
from hiersum_hf.evaluation.protocols.by_name import reference_of
from hiersum_hf.files import mat_file
from tests.makers.summe import write_mat
from tests.makers.tvsum import write_group


@pytest.fixture
def folder(tmp_path):
    """A folder GT with the files of two videos."""
    (tmp_path / "GT").mkdir()
    write_mat(tmp_path / "GT" / "Base jumping.mat")
    write_mat(tmp_path / "GT" / "Scuba.mat", n_frames=90, users=4)
    return tmp_path / "GT"


@pytest.fixture
def h5(tmp_path):
    """Writes the feature file of these videos; keyword arguments as `write_group`."""

    def write(names=("Base jumping", "Scuba"), lengths=(64, 90), **changes):
        with h5py.File(tmp_path / "eccv16_dataset_summe_google_pool5.h5", "w") as file:
            for k, (name, n) in enumerate(zip(names, lengths, strict=True), start=1):
                told = {"video_name": None if name is None else np.bytes_(name)}
                write_group(file, f"video_{k}", n_frames=n, shots=((0, 29), (30, n - 1)), **told | changes)
        return tmp_path / "eccv16_dataset_summe_google_pool5.h5"

    return write


def prepare(*words):
    return main(["prepare", "summe", *map(str, words)])


def test_a_folder_of_annotations_is_a_source(folder, tmp_path, capsys):
    """Ranks need no features: agreement can be measured before anybody has the feature file."""
    assert prepare("--source", folder) == 0
    assert re.fullmatch(r"videos +2\nwithout_features +2: Base jumping, Scuba\n", capsys.readouterr().out)
    assert prepare("--source", folder, "--output", tmp_path / "out") == 0
    one, two = load_prepared(tmp_path / "out")
    assert (one.video_id, two.video_id) == ("Base jumping", "Scuba")
    assert one.picks.tolist() == list(range(0, 64, 5)), "every 5th frame"
    assert one.frame_times_s.tolist() == pytest.approx([k / 25 for k in range(0, 64, 5)])
    assert one.duration_s == pytest.approx(64 / 25)
    assert one.user_scores.tolist() == [[u + 1.0 if k in (u, u + 1) else 0.0 for k in range(13)] for u in range(3)]
    assert np.array_equal(one.user_summaries[1], [11 > k >= 5 for k in range(64)])
    assert one.frame_scores.tolist() == pytest.approx([0.5, 1, 1, 0.5, *[0] * 9]), "share of the summaries, scaled"
    assert (len(one.video_features), one.shots, one.frame_labels) == (0, None, None)
    assert (two.user_scores.shape, two.user_summaries.shape) == ((4, 18), (4, 90))
    assert one.source == str(folder / "Base jumping.mat")


def test_annotations_go_to_the_videos_of_a_feature_file_by_name(folder, h5, tmp_path):
    """video_1 of the file is no number in the folder; ranks are read at the picks, summaries at every frame."""
    assert prepare("--source", h5(), "--ratings", folder, "--output", tmp_path / "out") == 0
    for record, name in zip(load_prepared(tmp_path / "out"), ("Base jumping", "Scuba"), strict=True):
        rated = read_annotations(folder / f"{name}.mat")
        assert np.array_equal(record.user_scores, rated.user_scores[:, record.picks])
        assert np.array_equal(record.user_summaries, rated.user_scores > 0)
        assert record.picks.tolist() == list(range(0, rated.n_frames, 15))
        assert record.frame_times_s[1] == pytest.approx(15 / 25), "the rate is the annotations'"
        assert record.video_features.shape == (len(record.picks), 8)
        assert record.shots is not None
    assert TVSumReader(h5(names=(None, "Scuba"))).read("video_1").user_scores is None


def test_a_frame_more_or_less_is_cut(folder, h5):
    record = TVSumReader(h5(lengths=(65, 90)), folder).read("video_1")
    assert (record.n_frames, record.user_summaries.shape) == (64, (3, 64))
    record = TVSumReader(h5(lengths=(62, 90)), folder).read("video_1")
    assert (record.n_frames, record.user_summaries.shape) == (62, (3, 62))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda gt: (gt / "Scuba.mat").unlink(),
            r"GT: expected Scuba\.mat or video_2\.mat, found neither among its 1 ",
        ),
        (lambda gt: write_mat(gt / "Scuba.mat", 64), r"ratings of Scuba in .*Scuba\.mat: expected 90 frames, found 64"),
        (lambda gt: (gt / "Scuba.mat").write_bytes(b"MATLAB"), r"Scuba\.mat: expected a MATLAB file with user_score"),
    ],
)
def test_annotations_that_do_not_fit_the_feature_file(folder, h5, tmp_path, capsys, change, message):
    change(folder)
    assert prepare("--source", h5(), "--ratings", folder, "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert re.search(rf"google_pool5\.h5, video video_2: .*{message}", error), error
    assert len(error.strip().splitlines()) == 1


def test_a_group_without_a_name_says_what_file_is_looked_for(folder, h5):
    with pytest.raises(ValueError, match=r"video_1: .*GT: expected video_1\.mat, found no such file among its 2"):
        TVSumReader(h5(names=(None, "Scuba")), folder).read("video_1")
    write_mat(folder / "video_1.mat")
    assert TVSumReader(h5(names=(None, "Scuba")), folder).read("video_1").user_scores.shape == (3, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_score": None}, "expected user_score as in SumMe's annotations, found no such member"),
        ({"FPS": None, "nFrames": None}, "expected FPS, nFrames as in SumMe's annotations"),
        ({"user_score": "text"}, r"expected user_score \(n_frames, annotators\) of ranks from 0, found <U4"),
        ({"user_score": np.zeros((0, 3))}, r"expected user_score .*, found float64 of shape \(0, 3\)"),
        ({"user_score": np.full((64, 3), -1)}, r"expected user_score .* of ranks from 0"),
        ({"user_score": np.full((64, 3), np.nan)}, r"expected user_score .* of ranks from 0"),
        ({"user_score": np.full((64, 3), np.inf)}, r"expected finite ranks in user_score, found infinity"),
        ({"user_score": np.zeros((3, 64))}, "expected nFrames 3, the rows of user_score, found 64"),
        ({"nFrames": 63}, "expected nFrames 64, the rows of user_score, found 63"),
        ({"FPS": 0}, "expected FPS, a positive number"),
        ({"FPS": np.inf}, "expected FPS, a positive number"),
        ({"FPS": np.ones(2)}, r"expected FPS, a positive number, found float64 of shape \(1, 2\)"),
    ],
)
def test_a_broken_file_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=rf"Scuba\.mat: {message}"):
        read_annotations(write_mat(tmp_path / "Scuba.mat", **changes))


def test_damaged_files_are_refused_by_name(tmp_path):
    whole = write_mat(tmp_path / "Scuba.mat").read_bytes()
    for damaged in (whole[:100], whole[:-50]):
        (tmp_path / "Scuba.mat").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"Scuba\.mat: expected a MATLAB file with user_score, .*a damaged one"):
            read_annotations(tmp_path / "Scuba.mat")
    with h5py.File(tmp_path / "Scuba.mat", "w", userblock_size=512) as file:
        file["user_score"] = np.ones((64, 3))
    with pytest.raises(ValueError, match=r"Scuba\.mat: expected a MATLAB file"):
        read_annotations(tmp_path / "Scuba.mat")
    with pytest.raises(FileNotFoundError, match=r"none\.mat: expected a MATLAB file, found no such file"):
        read_annotations(tmp_path / "none.mat")


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "a process that ended with SIGKILL"),
        ("time.sleep(60)", r"one that takes more than 0\.5 s"),
        ("raise MemoryError('too much')", "MemoryError: too much"),
    ],
)
def test_a_reader_that_dies_or_hangs_costs_one_file(tmp_path, monkeypatch, end, said):
    """A stand-in for scipy's reader, which may do so at a damaged file."""
    path = write_mat(tmp_path / "Scuba.mat")
    monkeypatch.setattr(mat_file, "SCRIPT", f"import os, signal, time\n{end}")
    monkeypatch.setattr(mat_file, "LIMIT_S", 0.5 if "sleep" in end else 60.0)
    with pytest.raises(ValueError, match=rf"Scuba\.mat: expected a MATLAB file .*a damaged one \({said}\)"):
        read_annotations(path)


@pytest.mark.parametrize("name", ["tvsum", "summe"])
def test_ratings_of_the_wrong_kind_are_refused(folder, h5, name):
    wrong = folder if name == "tvsum" else folder / "Scuba.mat"
    with pytest.raises(ValueError, match=rf"--ratings: expected .*, found {wrong}"):
        open_reader(name, h5(), ratings=wrong)
    source = folder.parent / "x.tsv" if name == "tvsum" else folder
    source.exists() or source.write_text("a\tVT\t1,2,3\n")
    with pytest.raises(ValueError, match=r"--captions, --video-encoder: expected a feature file .* annotations alone"):
        open_reader(name, source, captions="c.json", video_encoder="clip")
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        open_reader(name, h5(), ratings=folder.parent / "nowhere")[0].read("video_1")


@pytest.mark.slow
def test_people_agree_as_published(test_data, tmp_path, capsys):
    """Pairwise F1 .311, tau .205, rho .213 (.212 at every 5th frame) on the real annotations, once prepared."""
    assert prepare("--source", test_data / "summe" / "GT_mat", "--output", tmp_path / "out") == 0
    assert re.search(r"^videos +25$", capsys.readouterr().out, re.MULTILINE)
    records = load_prepared(tmp_path / "out")
    pairs, greatest = (
        [reference_of(record, "summe", protocol).human() for record in records] for protocol in ("mean-f1", None)
    )
    means = {key: np.mean([figures[key] for figures in pairs]) for key in pairs[0]}
    assert means["f1"] == pytest.approx(0.311, abs=5e-4)
    assert means["kendall_tau"] == pytest.approx(0.205, abs=5e-4)
    assert means["spearman_rho"] == pytest.approx(0.213, abs=1e-3)
    assert np.mean([figures["f1"] for figures in greatest]) == pytest.approx(0.543, abs=5e-4)


@pytest.mark.slow
@pytest.mark.slow
def test_the_command_that_the_docs_name(test_data, capsys):
    command = ["evaluate", "summe", "--data", str(test_data / "summe" / "GT_mat"), "--scorer", "human"]
    assert main([*command, "--protocol", "mean-f1"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("human"))
    assert re.findall(r"(0\.\d{4}) \[", row)[1:] == ["0.3107", "0.2048", "0.2122"]


@pytest.mark.slow
def test_real_annotations_hold_what_they_say(test_data):
    reader, files = open_reader("summe", test_data / "summe" / "GT_mat")
    records = [reader.read(video) for video in reader.video_ids]
    assert (len(records), files) == (25, [test_data / "summe" / "GT_mat"])
    assert {len(record.user_scores) for record in records} == {15, 16, 17, 18}
    for record in records:
        assert np.array_equal(record.user_scores > 0, record.user_summaries[:, record.picks])
        assert 0.04 < record.user_summaries.mean() < 0.16
