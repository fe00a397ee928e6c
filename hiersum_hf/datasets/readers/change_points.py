"""Read change points of the eccv16 form, closed or half-open.

Letters: S shots, n_frames original frames.
"""

from __future__ import annotations

import numpy as np

from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Ints, counted
from hiersum_hf.summary.shots import clip_shots


CLOSED = np.array([0, 1])  # change_points name a shot's last frame, records the frame after it


def read_shots(points: Ints, n_frames: int) -> tuple[Ints, list[str]]:
    """Make half-open shots of change points.

    The format's own are closed: a row names a shot's first and last frame, and the next one starts a frame later. Where
    a row starts at the frame that the one before ends with, ends are exclusive, and a last end of n_frames - 1 stands
    for the end of the video. Not given in the paper.

    Args:
        points: (S, 2) frame numbers.
        n_frames: Frames of the video, at which shots are cut.

    Returns:
        (S, 2) [start, end), and notes: frames that no shot has, shots that go on after the video.

    Raises:
        ValueError: A row ends before it starts, rows do not ascend or overlap, some are closed and others half-open, or
            no shot is in the video; the message has row and frames.
    """
    _refuse_disorder(points)
    steps = points[1:, 0] - points[:-1, 1]
    half_open = bool((steps == 0).any())
    shots = points + (0 if half_open else CLOSED)
    if half_open and shots[-1, 1] == n_frames - 1:
        shots[-1, 1] = n_frames
    cut = clip_shots(shots, n_frames)
    return cut, _notes(shots, n_frames)


def _refuse_disorder(points: Ints) -> None:
    """Refuse rows that cannot be the shots of one video, one after the other."""
    steps = points[1:, 0] - points[:-1, 1]
    if len(wrong := np.flatnonzero(points[:, 1] < points[:, 0])):
        start, end = points[wrong[0]]
        raise InputError(f"change_points: expected rows of first and last frame, found {start} to {end}{_at(wrong[0])}")
    if len(wrong := np.flatnonzero(np.diff(points[:, 0]) < 0)):
        before, start = points[wrong[0] : wrong[0] + 2, 0]
        raise InputError(
            f"change_points: expected ascending rows, found one that starts at {start}{_at(wrong[0] + 1)} after one "
            f"that starts at {before}. Sort them by their starts."
        )
    if len(wrong := np.flatnonzero(steps < 0)):
        end, start = points[wrong[0], 1], points[wrong[0] + 1, 0]
        raise InputError(
            f"change_points: expected rows that do not overlap, found a start at {start}{_at(wrong[0] + 1)} after an "
            f"end at {end}. Let each row start a frame after the one before it ends."
        )
    touching, following = np.flatnonzero(steps == 0), np.flatnonzero(steps == 1)
    if len(touching) and len(following):
        touch, follow = points[touching[0] + 1, 0], points[following[0] + 1, 0]
        raise InputError(
            "change_points: expected rows that all end with their last frame, or all with the start of the next, found "
            f"a start at {follow}{_at(following[0] + 1)} after an end at {follow - 1}, and one at {touch}"
            f"{_at(touching[0] + 1)} after an end at {touch} too. Write a shot's first and last frame."
        )


def _at(row: int) -> str:
    return f" in row {row + 1}"


def _notes(shots: Ints, n_frames: int) -> list[str]:
    """Tell what of the video [start, end) shots leave out, and what lies after it."""
    notes = []
    bounds = np.concatenate([[0], np.minimum(shots, n_frames).ravel(), [n_frames]]).reshape(-1, 2)  # (S + 1, 2) gaps
    gaps = bounds[bounds[:, 1] > bounds[:, 0]]
    if len(gaps):
        missing, (first, end) = int(np.diff(gaps).sum()), gaps[0].tolist()
        notes.append(
            f"change_points: expected shots that cover all {n_frames} frames, found {counted(missing, 'frame')} in no "
            f"shot, the first from {first} to {end - 1}. No summary by shots can show them."
        )
    if shots[-1, 1] > n_frames:
        notes.append(
            f"change_points: expected shots within {n_frames} frames, found an end after frame {shots[-1, 1] - 1}. "
            f"Shots are cut at frame {n_frames - 1}, the last."
        )
    return notes
