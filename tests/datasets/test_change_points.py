"""Shots must be those that a file means, whichever way it writes their ends."""

import h5py
import numpy as np
import pytest

from hiersum_hf.datasets.readers.change_points import read_shots
from hiersum_hf.datasets.readers.tvsum import read_tvsum
from tests.makers.tvsum import write_group


SHOTS = [[0, 30], [30, 38], [38, 64]]


@pytest.mark.parametrize(
    "points",
    [
        [[0, 29], [30, 37], [38, 63]],  # the format's own, closed
        [[0, 30], [30, 38], [38, 64]],  # half-open
        [[0, 30], [30, 38], [38, 63]],  # half-open, made of borders that end with the last frame
    ],
)
def test_closed_and_half_open_rows_are_the_same_shots(points):
    shots, notes = read_shots(np.array(points), 64)
    assert shots.tolist() == SHOTS
    assert notes == []


@pytest.mark.parametrize("points", [[[0, 63]], [[0, 64]]])
def test_one_shot_is_the_whole_video(points):
    assert read_shots(np.array(points), 64)[0].tolist() == [[0, 64]]


def test_one_frame_is_a_shot():
    assert read_shots(np.array([[0, 0], [1, 1], [2, 9]]), 10)[0].tolist() == [[0, 1], [1, 2], [2, 10]]


@pytest.mark.parametrize(
    ("points", "note"),
    [
        ([[0, 29], [32, 63]], "found 2 frames in no shot, the first from 30 to 31"),
        ([[0, 20], [20, 40], [43, 64]], "found 3 frames in no shot, the first from 40 to 42"),
        ([[0, 29], [30, 50]], "found 13 frames in no shot, the first from 51 to 63"),
        ([[4, 29], [30, 63]], "found 4 frames in no shot, the first from 0 to 3"),
        ([[0, 29], [30, 64]], "within 64 frames, found an end after frame 64"),
        ([[0, 30], [30, 65]], "within 64 frames, found an end after frame 64"),
        ([[0, 29], [30, 99], [100, 119]], "within 64 frames, found an end after frame 119"),
    ],
)
def test_what_shots_leave_out_or_go_beyond_is_told(points, note):
    shots, notes = read_shots(np.array(points), 64)
    assert len(notes) == 1
    assert note in notes[0]
    assert shots[-1, 1] <= 64


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[30, 37], [0, 29], [38, 63]], "ascending rows, found one that starts at 0 in row 2 after .* starts at 30"),
        ([[0, 29], [25, 63]], "do not overlap, found a start at 25 in row 2 after an end at 29"),
        ([[0, 29], [30, 29]], "first and last frame, found 30 to 29 in row 2"),
        (
            [[0, 30], [30, 37], [38, 63]],
            "found a start at 38 in row 3 after an end at 37, and one at 30 in row 2 after",
        ),
        ([[70, 80], [81, 90]], r"at least one in \[0, 64\)"),
        (np.zeros((0, 2)), r"at least one in \[0, 64\)"),
    ],
)
def test_rows_that_are_no_shots_are_refused_with_their_frames(points, message):
    with pytest.raises(ValueError, match=message):
        read_shots(np.array(points, np.int64), 64)


def test_a_half_open_file_reads_as_the_closed_one(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write_group(file, "video_1")
        write_group(file, "video_2", shots=SHOTS)
    closed, half_open = read_tvsum(tmp_path / "x.h5")
    assert half_open.shots.tolist() == closed.shots.tolist() == SHOTS
    assert half_open.frame_labels.tolist() == closed.frame_labels.tolist()


def test_a_note_names_file_and_video(tmp_path, caplog):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write_group(file, "video_1", shots=((0, 29), (33, 63)))
    read_tvsum(tmp_path / "x.h5")
    assert "x.h5, video video_1: change_points: expected shots that cover all 64 frames, found 3 frames" in caplog.text
