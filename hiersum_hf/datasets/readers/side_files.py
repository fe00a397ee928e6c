"""Read side files of a video.

Labels are in a .csv, features in an .npz; `readers.folder` says what is in them.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.files.npz_file import read_npz
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Segment


CSV_HEADER = ("start_s", "end_s", "score")
AGAIN = "Make it anew, as `hiersum extract` does."
NPZ_NEEDED = ("video_features", "frame_times_s", "sample_fps", "video_encoder")
NPZ_TEXTS = {"text_features", "description_features"}
NPZ_ARRAYS = {"video_features": 2, "frame_times_s": 1, "text_features": 2, "description_features": 2}
NPZ_SCALARS = {"sample_fps": float, "duration_s": float, "video_encoder": str, "text_encoder": str}
NPZ_SCALARS |= {"normalization": str}
NPZ_READING = ("warnings", "end_s")  # what `hiersum extract` notes of a damaged video


def read_segments(path: str | Path, duration_s: float = float("inf")) -> list[Segment]:
    """Read labels of one video from a CSV file.

    It has the columns start_s, end_s and score. The labels are in the order of the file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Another header, no rows, or a row that is not 0 <= start_s < end_s with a score in [0, 1] or
            that starts after the video; names file and line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected labels, found no such file")
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        try:
            table = csv.DictReader(file, skipinitialspace=True)
            if not set(CSV_HEADER) <= set(table.fieldnames or ()):
                raise InputError(
                    f"{path}: expected the header {','.join(CSV_HEADER)}, found {table.fieldnames}. Write it."
                )
            segments = [_segment(row, f"{path}, line {table.line_num}", duration_s) for row in table]
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: expected a CSV file in UTF-8, found none ({error}). Save it so.") from None
    if not segments:
        raise InputError(f"{path}: expected at least one row of labels, found none. Remove the file.")
    return segments


def score_segments(segments: Sequence[Segment], frame_times_s: np.ndarray) -> np.ndarray:
    """Average the scores of the stretches in which each frame is shown.

    A frame belongs to [start_s, end_s) iff its own time does. A stretch not named is unlabelled, not unimportant: it
    needs a row with score 0 for that. Not given in the paper.

    Returns:
        (N,) float32, NaN where there is no stretch.
    """
    times_s = np.asarray(frame_times_s)
    total, count = np.zeros(len(times_s)), np.zeros(len(times_s))
    for segment in segments:
        inside = (segment.start_s <= times_s) & (times_s < segment.end_s)
        total += inside * segment.score
        count += inside
    # Mean over the stretches that hold the frame's time; stretches may overlap.
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def read_features(path: str | Path) -> dict[str, Any]:
    """Read features of one video from an .npz file.

    Returns:
        Its members as float32 features, float64 times, str and float.

    Raises:
        ValueError: No .npz file, pickled objects in it, a member is missing, or has another shape or values that are
            not finite; names the file and the member.
    """
    found: dict[str, Any] = read_npz(path, leave=NPZ_READING)
    needed = NPZ_NEEDED + (("text_encoder",) if found.keys() & NPZ_TEXTS else ())
    if missing := [key for key in needed if key not in found]:
        raise InputError(f"{path}: expected the members {', '.join(missing)}, found {sorted(found)}. {AGAIN}")
    for key, ndim in NPZ_ARRAYS.items():
        if key in found:
            found[key] = _finite(found[key], ndim, f"{path}: {key}")
    for key, kind in NPZ_SCALARS.items():
        if key in found:
            found[key] = _scalar(found[key], kind, f"{path}: {key}")
    times_s, n_frames = found["frame_times_s"], len(found["video_features"])
    if len(times_s) != n_frames or not n_frames:
        raise InputError(f"{path}: expected a time for each of {n_frames} frames, found {len(times_s)}. {AGAIN}")
    if times_s[0] < 0 or (np.diff(times_s) <= 0).any():
        raise InputError(f"{path}: expected frame_times_s that ascend from 0 or later, found others. {AGAIN}")
    return found


def _segment(row: dict[str, Any], where: str, duration_s: float) -> Segment:
    try:
        start_s, end_s, score = (float(row[key]) for key in CSV_HEADER)
    except (TypeError, ValueError):
        raise InputError(f"{where}: expected numbers for {', '.join(CSV_HEADER)}, found {list(row.values())}") from None
    if not (0 <= start_s < end_s < np.inf and 0 <= score <= 1 and start_s < duration_s):
        limits = f"0 <= start_s < end_s, start_s < {duration_s:.2f} and a score in [0, 1]"
        raise InputError(f"{where}: expected {limits}, found {start_s}, {end_s}, {score}")
    return Segment(start_s, end_s, score)


def _finite(array: np.ndarray, ndim: int, where: str) -> np.ndarray:
    if array.ndim != ndim or not np.issubdtype(array.dtype, np.number):
        raise InputError(f"{where}: expected numbers with {ndim} dimensions, found {array.dtype} {array.shape}")
    with np.errstate(over="ignore"):  # it is refused next
        array = array.astype(np.float64 if ndim == 1 else np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{where}: expected finite values, found NaN or infinity. {AGAIN}")
    return array


def _scalar(array: np.ndarray, kind: type, where: str) -> Any:
    value = array.item() if array.size == 1 else None
    if kind is float and isinstance(value, int | float) and 0 < value < np.inf:
        return float(value)
    if kind is str and isinstance(value, str):
        return value
    raise InputError(f"{where}: expected a {'positive number' if kind is float else 'text'}, found {array!r:.80}")
