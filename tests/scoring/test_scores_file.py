"""Scores of other programs must reach the frames that they are of, whatever file they come in."""

import json
import logging

import h5py
import numpy as np
import pytest

from hiersum_hf.records import VideoRecord
from hiersum_hf.scoring.scores_file import is_scores_file, needs_checkpoint, read_scores


SCORES = {"video_1": [0.1, 0.9, 0.25], "video_2": [3.0, -1.0, 0.5, 2.0]}  # any scale


def record(name, n, every=15, n_frames=None):
    picks = np.arange(n) * every
    frames = n * every if n_frames is None else n_frames
    return VideoRecord(name, np.zeros((n, 0), np.float32), picks / 30, frames / 30, picks=picks, n_frames=frames)


RECORDS = [record("video_1", 3), record("video_2", 4)]


def write(path, scores):
    if path.suffix == ".json":
        path.write_text(json.dumps(scores))
    elif path.suffix == ".npz":
        np.savez(path, **scores)
    elif path.suffix == ".csv":
        rows = [f"{name},{i},{value}" for name, values in scores.items() for i, value in enumerate(values)]
        path.write_text("\n".join(["id,index,score", *reversed(rows)]))  # in any order
    else:
        with h5py.File(path, "w") as file:
            for name, values in scores.items():
                file[name] = values
    return path


@pytest.mark.parametrize("suffix", [".json", ".npz", ".h5", ".hdf5", ".csv", ".JSON"])
def test_every_form_gives_the_same_scores(tmp_path, suffix):
    path = write(tmp_path / f"s{suffix.lower()}", SCORES).rename(tmp_path / f"scores{suffix}")
    assert {name: values.tolist() for name, values in read_scores(path, RECORDS).items()} == SCORES


def test_scores_of_original_frames_are_averaged_over_those_of_each_sample(tmp_path):
    video = record("v", 3, every=2, n_frames=7)  # samples of the frames 0 and 1, 2 and 3, 4 to 6
    for frames, expected in (([0, 1, 2, 4, 6, 6, 9], [0.5, 3, 7]), ([0, 1, 2, 4, 6, 6], [0.5, 3, 6])):
        assert read_scores(write(tmp_path / "s.json", {"v": frames}), [video])["v"].tolist() == expected


def test_a_score_that_stands_for_its_frames_comes_back(tmp_path):
    filled = np.repeat([0.2, 0.7, 0.4], [15, 15, 16])
    found = read_scores(write(tmp_path / "s.npz", {"video_1": filled}), [record("video_1", 3, n_frames=46)])
    assert found["video_1"] == pytest.approx([0.2, 0.7, 0.4])


def test_a_pick_past_the_end_has_the_last_frame(tmp_path):
    video = record("v", 3, every=2, n_frames=4)  # picks 0, 2 and 4, where frames are 0 to 3
    assert read_scores(write(tmp_path / "s.json", {"v": [1, 1, 2, 4]}), [video])["v"].tolist() == [1, 2, 4]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"v": [0.1, 0.2]}, "video v: expected 3 scores, one for each sampled frame, or 45, .* found 2"),
        ({"v": [0.5] * 42}, "video v: expected 3 scores, one for each sampled frame, or 45, .* found 42"),
        ({"v": [0.1, float("nan"), 0.3]}, "video v: expected finite scores, found nan at index 1"),
        ({"v": [0.1, 0.2, float("inf")]}, "video v: expected finite scores, found inf at index 2"),
        ({"v": [0.1, None, 0.3]}, "video v: expected a list of numbers, found object"),
        ({"v": ["0.1", "0.2", "0.3"]}, "video v: expected a list of numbers"),
        ({"v": [[0.1, 0.2, 0.3]]}, r"video v: expected a list of numbers, found float64 of shape \(1, 3\)"),
        ({"v": [[0.1], [0.2, 0.3]]}, "video v: expected a list of numbers"),
        ({"v": 0.5}, r"video v: expected a list of numbers, found float64 of shape \(\)"),
        ({}, r"expected scores of 1 videos by their ids, found none of v\."),
        ({"w": [1], "x": [2]}, "found none of v, but unknown ones such as w, x"),
        ([0.1], "expected a JSON object, found list"),
    ],
)
def test_bad_scores_are_refused_with_file_and_video(tmp_path, scores, message):
    with pytest.raises(ValueError, match=rf"s\.json.*{message}"):
        read_scores(write(tmp_path / "s.json", scores), [record("v", 3)])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("video,index,score\nv,0,1", "expected the header id,index,score, found"),
        ("id,index,score\nv,0,1\nv,0,2", "line 3: expected each index of video v once, found 0 again"),
        ("id,index,score\nv,0,1\nv,2,2", "video v: expected every index from 0 to 2, found none of 1"),
        ("id,index,score\nv,1,1\nv,2,2\nv,3,1", "video v: expected every index from 0 to 3, found none of 0"),
        ("id,index,score\nv,-1,1", "line 2: expected an id, an index from 0 and a score, found"),
        ("id,index,score\nv,0", "line 2: expected an id, an index from 0 and a score, found"),
        ("id,index,score\nv,0,high", "line 2: expected an id, an index from 0 and a score, found"),
    ],
)
def test_bad_tables_are_refused_with_their_line(tmp_path, table, message):
    (tmp_path / "s.csv").write_text(table)
    with pytest.raises(ValueError, match=rf"s\.csv.*{message}"):
        read_scores(tmp_path / "s.csv", [record("v", 3)])


def test_files_that_hold_no_scores(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json: expected a file of scores, found no such file"):
        read_scores(tmp_path / "none.json", RECORDS)
    (tmp_path / "s.txt").write_text("0.1")
    with pytest.raises(ValueError, match=r"s\.txt: expected scores as \.json, .*found another kind of file"):
        read_scores(tmp_path / "s.txt", RECORDS)
    np.savez(tmp_path / "s.npz", video_1=np.array([{}], object))
    with pytest.raises(ValueError, match=r"s\.npz: expected an \.npz file of arrays"):
        read_scores(tmp_path / "s.npz", RECORDS)
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["video_1/score"] = [1.0]
    with pytest.raises(ValueError, match=r"s\.h5, video video_1: expected an array of scores, found a group with"):
        read_scores(tmp_path / "s.h5", RECORDS)


def test_scores_of_unknown_videos_are_told(tmp_path, caplog):
    path = write(tmp_path / "s.json", SCORES | {"video_3": [1], "other": [1]})
    with caplog.at_level(logging.WARNING):
        assert len(read_scores(path, RECORDS, known=["video_1", "video_2", "video_3"])) == 2
    assert "s.json: leaves unused what it has of videos that the data lacks: other\n" in caplog.text


def test_a_file_is_no_checkpoint(tmp_path):
    path = write(tmp_path / "s.json", SCORES)
    assert [is_scores_file(one) for one in (path, tmp_path, "random", "org/name")] == [True, False, False, False]
    assert [needs_checkpoint(one) for one in (path, tmp_path, "random", "org/name")] == [False, True, False, True]
