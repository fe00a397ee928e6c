"""Read SumMe's original annotations.

A folder (GT in the data set's own archive) has one MATLAB file for each of the 25 videos. `user_score` (n_frames, U) is
0 where an annotator left a frame out, else a rank; frame k is shown at k / `FPS` seconds; `nFrames` counts the frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from hiersum_hf.datasets.readers.tvsum_ratings import RatedVideo
from hiersum_hf.files.changed import changed_ns
from hiersum_hf.files.mat_file import read_mat
from hiersum_hf.modeling.errors_hiersum import InputError


MEMBERS = ("user_score", "FPS", "nFrames")
AGAIN = "Fetch it again."


def mat_files(folder: Path) -> dict[str, Path]:
    """List the folder's files by the names of their videos."""
    return {path.stem: path for path in sorted(folder.glob("*.mat"))}


def annotations_of(folder: Path, names: Sequence[str]) -> RatedVideo:
    """Read the file of a video that may go by any of these names.

    Raises:
        ValueError: There is none, or as `read_annotations`.
    """
    files = mat_files(folder)
    path = next((files[name] for name in names if name in files), None)
    if path is None:
        wanted = " or ".join(f"{name}.mat" for name in names)
        found = "neither" if len(names) > 1 else "no such file"
        raise InputError(f"{folder}: expected {wanted}, found {found} among its {len(files)} files *.mat. Fetch it.")
    return read_annotations(path)


def read_annotations(path: Path) -> RatedVideo:
    """Read the annotations of one video.

    Its id is the name of the file, its ratings are the ranks, and what a rank above 0 marks is an annotator's summary.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or of another form; the message names it.
    """
    found = _members(path, changed_ns(path))
    if missing := [name for name in MEMBERS if name not in found]:
        raise InputError(
            f"{path}: expected {', '.join(missing)} as in SumMe's annotations, found no such member. {AGAIN}"
        )
    ranks = found["user_score"]
    if ranks.ndim != 2 or not ranks.size or ranks.dtype.kind not in "biuf" or not (ranks >= 0).all():
        expected = "user_score (n_frames, annotators) of ranks from 0"
        raise InputError(f"{path}: expected {expected}, found {ranks.dtype} of shape {ranks.shape}. {AGAIN}")
    fps, n_frames = _number(path, found, "FPS"), _number(path, found, "nFrames")
    if n_frames != len(ranks):
        raise InputError(f"{path}: expected nFrames {len(ranks)}, the rows of user_score, found {n_frames:g}. {AGAIN}")
    users = ranks.T.astype(np.float64)  # (U, n_frames)
    if not np.isfinite(users).all():
        raise InputError(f"{path}: expected finite ranks in user_score, found infinity. {AGAIN}")
    return RatedVideo(path.stem, "", "", users, len(ranks), len(ranks) / fps, users > 0, source=str(path))


@lru_cache(maxsize=32)
def _members(path: Path, changed_ns: int) -> dict[str, np.ndarray]:
    """Read the file once as long as it stays the same."""
    return read_mat(path, MEMBERS)


def _number(path: Path, found: Mapping[str, np.ndarray], key: str) -> float:
    value = found[key]
    if value.size != 1 or value.dtype.kind not in "biuf" or not 0 < float(value.ravel()[0]) < np.inf:
        other = f"{value.dtype} of shape {value.shape}"
        raise InputError(f"{path}: expected {key}, a positive number, found {other}. {AGAIN}")
    return float(value.ravel()[0])
