"""Read scores that another program gave to frames, from a file.

| file | content |
|---|---|
| .json | an object, for each video id a list of scores |
| .npz, .h5, .hdf5 | for each video id an array of scores |
| .csv | the columns id, index and score, index from 0 |

Letters: N sampled frames, n_frames original frames.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.files.escape import printable
from hiersum_hf.files.h5_file import member_names, read_member
from hiersum_hf.files.json_file import read_json_object
from hiersum_hf.files.npz_file import read_npz
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Floats, VideoRecord
from hiersum_hf.scoring.training_free import WITHOUT_CHECKPOINT


logger = logging.getLogger(__name__)

COLUMNS = ("id", "index", "score")
SUFFIXES = (".json", ".npz", ".h5", ".hdf5", ".csv")
LENGTH_TOLERANCE = 2  # original frames more or fewer, as of annotations
NAMED = 5  # ids in a message


def is_scores_file(scorer: str | Path) -> bool:
    """Tell whether a scorer is a file of scores, neither a baseline's name nor a checkpoint."""
    return str(scorer) not in WITHOUT_CHECKPOINT and Path(scorer).is_file()


def needs_checkpoint(scorer: str | Path) -> bool:
    """Tell whether a scorer is a checkpoint, neither a baseline's name nor a file of scores."""
    return str(scorer) not in WITHOUT_CHECKPOINT and not Path(scorer).is_file()


def read_scores(path: str | Path, records: Iterable[VideoRecord], known: Collection[str] = ()) -> dict[str, Floats]:
    """Read the scores of videos.

    A video has as many values as sampled frames. Or it has as many as original frames (up to two more or fewer): then a
    sampled frame scores the mean of those from its own to the next sampled one, and the first also of those before it,
    because the field's protocols let a score stand for these frames.

    Args:
        path: The file.
        records: The videos to find in it.
        known: Ids of all videos of the data set; the log names others that the file has.

    Returns:
        (N,) scores by video id.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is none of the forms above, lacks videos, or has other numbers of scores, or scores that are not
            finite; the message names file and videos.
    """
    path = Path(path)
    videos = {record.video_id: (len(record.frame_times_s), record.picks, record.n_frames) for record in records}
    there, values = _content(path, videos)
    strange = sorted(set(there).difference(known or videos))
    if missing := [name for name in videos if name not in there]:
        found = f"found none of {_listed(missing)}"
        unknown = f", but unknown ones such as {_listed(strange)}" if strange else ""
        raise InputError(f"{path}: expected scores of {len(videos)} videos by their ids, {found}{unknown}. Add them.")
    if strange and known:
        logger.warning("%s: leaves unused what it has of videos that the data lacks: %s", path, _listed(strange))
    return {name: _at_samples(values[name], *video, f"{path}, video {name}") for name, video in videos.items()}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(printable, names[:NAMED])) + more


def _content(path: Path, wanted: Collection[str]) -> tuple[Collection[str], Mapping[str, Any]]:
    """Read the ids of a file, and the values of those that are wanted."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file of scores, found no such file")
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError(
            f"{path}: expected scores as {', '.join(SUFFIXES)}, found another kind of file. Save them as one of these."
        )
    if kind in (".h5", ".hdf5"):
        names = member_names(path)
        return names, {name: _h5_array(path, name) for name in names if name in wanted}
    read: dict[str, Callable[[Path], Mapping[str, Any]]] = {
        ".json": read_json_object,
        ".npz": read_npz,
        ".csv": _read_csv,
    }
    found = read[kind](path)
    return found, found


def _h5_array(path: Path, name: str) -> np.ndarray:
    where = f", video {printable(name)}"
    member = read_member(path, name, where, arrays=("",))
    if member.kind != "Dataset":
        raise InputError(
            f"{path}{where}: expected an array of scores, found a group with {sorted(member.names)}. Write one."
        )
    try:
        return member.array()
    except ValueError as error:
        raise InputError(f"{path}{where}: {error}") from None


def _read_csv(path: Path) -> dict[str, list[float]]:
    """Read a table of id, index and score; rows may come in any order."""
    rows: dict[str, dict[int, float]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, skipinitialspace=True)
        try:
            if not set(COLUMNS) <= set(table.fieldnames or ()):
                raise InputError(
                    f"{path}: expected the header {','.join(COLUMNS)}, found {table.fieldnames}. Write it."
                )
            for row in table:
                name, index, score = _csv_row(row, f"{path}, line {table.line_num}")
                if index in rows.setdefault(name, {}):
                    where, found = f"{path}, line {table.line_num}", f"found {index} again. Remove one"
                    raise InputError(f"{where}: expected each index of video {name} once, {found}.")
                rows[name][index] = score
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: expected a CSV file in UTF-8, found none ({error}). Save it so.") from None
    for name, scores in rows.items():
        missing = next((index for index in range(len(scores)) if index not in scores), None)
        if missing is not None:
            raise InputError(
                f"{path}, video {name}: expected every index from 0 to {max(scores)}, found none of {missing}. Add it."
            )
    return {name: [scores[index] for index in range(len(scores))] for name, scores in rows.items()}


def _csv_row(row: Mapping[str, Any], where: str) -> tuple[str, int, float]:
    try:
        index, score = int(row["index"]), float(row["score"])
    except (TypeError, ValueError):
        index, score = -1, 0.0
    if index < 0:
        found = [row[key] for key in COLUMNS]
        raise InputError(f"{where}: expected an id, an index from 0 and a score, found {found}")
    return str(row["id"]), index, score


def _at_samples(values: Any, n: int, picks: np.ndarray | None, n_frames: int | None, where: str) -> Floats:
    """Check the scores of a video and bring them to its sampled frames, (N,)."""
    found = _numbers(values, where)
    if len(found) == n:
        return found
    if picks is None or n_frames is None or abs(len(found) - n_frames) > LENGTH_TOLERANCE:
        frames = "" if picks is None or n_frames is None else f", or {n_frames}, one for each original frame"
        raise InputError(
            f"{where}: expected {n} scores, one for each sampled frame{frames}, found {len(found)}. Score these frames."
        )
    # Mean over [pick i, pick i + 1), the frames for which `fill_picks` lets the score of frame i stand
    starts = np.minimum(np.append(0, picks[1:]), len(found) - 1)
    means: Floats = np.add.reduceat(found, starts) / np.maximum(np.diff(np.append(starts, len(found))), 1)
    return means


def _numbers(values: Any, where: str) -> Floats:
    """Turn values into a line of finite numbers."""
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):  # lists of several lengths
        array = np.zeros(0, object)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise InputError(f"{where}: expected a list of numbers, found {array.dtype} of shape {array.shape}")
    if not np.isfinite(array).all():
        odd = int(np.flatnonzero(~np.isfinite(array))[0])
        raise InputError(f"{where}: expected finite scores, found {array[odd]} at index {odd}. Write a number.")
    return array.astype(np.float64)
