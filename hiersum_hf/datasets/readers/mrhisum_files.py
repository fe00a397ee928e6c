"""Read the file formats of Mr.HiSum and its trimodal releases.

They share metadata, splits and members of an h5 at one row a second.

Letters: T rows (seconds) of a member, N rows common to all members, S shots, U summaries.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from hiersum_hf.datasets.readers.replay import parse_views
from hiersum_hf.files.changed import changed_ns
from hiersum_hf.files.escape import printable
from hiersum_hf.files.h5_file import Member, read_member
from hiersum_hf.files.json_file import read_json
from hiersum_hf.labels import ReplayLabels
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.summary.shots import clip_shots


COLUMNS = ("video_id", "youtube_id", "duration", "views")
PARTS = {"train": "train_keys", "validation": "val_keys", "test": "test_keys"}
SCORES, SUMMARIES = ("gtscore", "gt_score"), ("gtsummary", "gt_summary")  # the files and their documents differ
ANNOTATION = (*SCORES, *SUMMARIES, "change_points")
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class VideoInfo:
    """Hold one row of `metadata.csv`.

    Args:
        video_id: Name in the h5 and the split file.
        youtube_id: YouTube id; six videos are listed twice under two names.
        duration_s: Length, whole seconds.
        views: How often it was watched.
        random_id: Its name inside the TFRecords of YouTube-8M, "" where the file does not tell.
        yt8m_file: The TFRecord it is in, such as "train0026", or "".
    """

    video_id: str
    youtube_id: str
    duration_s: float
    views: int
    random_id: str = ""
    yt8m_file: str = ""


def read_metadata(path: str | Path) -> Mapping[str, VideoInfo]:
    """Read `metadata.csv` of Mr.HiSum or of its trimodal releases.

    Returns:
        video_id -> row, in file order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it lacks a column or a row is cut off, repeated or without numbers; names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected Mr.HiSum's metadata, found no such file. `hiersum prepare --help` says what belongs "
            "there."
        )
    return _read_metadata(path, changed_ns(path))


@lru_cache(maxsize=4)
def _read_metadata(path: Path, _changed_ns: int) -> Mapping[str, VideoInfo]:
    videos: dict[str, VideoInfo] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            if not set(COLUMNS) <= set(rows.fieldnames or ()):
                raise InputError(f"expected the columns {', '.join(COLUMNS)}, found {rows.fieldnames}")
            for row in rows:
                info = _video_info(row)
                if info.video_id in videos:
                    raise InputError(f"expected each video once, found {info.video_id} again")
                videos[info.video_id] = info
        except (ValueError, csv.Error) as error:
            raise InputError(f"{path}, line {rows.line_num}: {error}. Fetch it again.") from None
    return MappingProxyType(videos)


def _video_info(row: dict[str, Any]) -> VideoInfo:
    if None in row or None in row.values():
        raise InputError(f"expected a value for each column, found {list(row.values())}")
    duration_s = float(row["duration"])
    if not 0 < duration_s < float("inf"):
        raise InputError(f"expected a duration in seconds, found {row['duration']}")
    views = parse_views(row["views"], "views") or 0
    shard = {key: row[key] for key in ("random_id", "yt8m_file") if key in row}
    return VideoInfo(row["video_id"], row["youtube_id"], duration_s, views, **shard)


def read_split(path: str | Path, known: Container[str], kept: Container[str] | None = None) -> dict[str, list[str]]:
    """Read a split file with train_keys, val_keys and test_keys.

    Args:
        path: The JSON file, {"train_keys": [...], "val_keys": [...], "test_keys": [...]}.
        known: Ids that may occur.
        kept: Those of them that are returned; default: all.

    Returns:
        The ids of train, validation and test.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has another form or names an unknown video.
    """
    path = Path(path)
    content = read_json(path)
    try:
        parts = {part: [str(name) for name in content[key]] for part, key in PARTS.items()}
    except (TypeError, KeyError) as error:
        expected = f"expected lists under {', '.join(PARTS.values())}, found others ({error!r})"
        raise InputError(f"{path}: {expected}. Fetch it again.") from None
    unknown = [name for names in parts.values() for name in names if name not in known]
    if unknown:
        found = f"{len(unknown)} others: {', '.join(unknown[:5])}"
        raise InputError(f"{path}: expected ids of the data, found {found}. Remove them.")
    return {part: [name for name in names if kept is None or name in kept] for part, names in parts.items()}


def drop_repeats(parts: dict[str, list[str]], groups: Mapping[str, str]) -> tuple[dict[str, list[str]], list[str]]:
    """Keep each YouTube video once.

    It stays in test rather than validation rather than train, there at its first place. Not given in the paper; the
    evaluation parts keep their published videos this way.

    Args:
        parts: The video ids of each part.
        groups: video_id -> YouTube id; a video without one stands for itself.

    Returns:
        The parts, and the video ids that were left out.
    """
    seen: set[str] = set()
    kept: dict[str, list[str]] = {part: [] for part in parts}
    dropped: list[str] = []
    # Later parts first: test, validation, train.
    for part in reversed(parts):
        for name in parts[part]:
            group = groups.get(name, name)
            (dropped if group in seen else kept[part]).append(name)
            seen.add(group)
    return kept, dropped


def repeats_found(parts: Mapping[str, list[str]], groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Find YouTube ids that occur several times.

    Returns:
        `duplicates` has them all, `leaks` those that occur in several parts.
    """
    places: dict[str, list[tuple[str, str]]] = {}
    for part, names in parts.items():
        for name in names:
            places.setdefault(groups.get(name, name), []).append((name, part))
    # Videos of the metadata that no part of the split has are repeats too, but no leaks.
    placed = {name for at in places.values() for name, _ in at}
    for name in groups.keys() - placed:
        places.setdefault(groups[name], []).append((name, "no part"))
    told = {
        group: f"{group}: {', '.join(f'{name} ({part})' for name, part in sorted(at))}" for group, at in places.items()
    }
    duplicates = [group for group, at in places.items() if len(at) > 1]
    leaks = [group for group in duplicates if len({part for _, part in places[group]} & parts.keys()) > 1]
    return {"duplicates": sorted(told[group] for group in duplicates), "leaks": sorted(told[group] for group in leaks)}


def load_video(
    path: str | Path, video_id: str, load: Callable[[Member], Loaded], kind: str = "Group", **wanted: Sequence[str]
) -> Loaded:
    """Read a video's group or data set and give it to `load`.

    Args:
        path: The HDF5 file.
        video_id: Name of the group or data set.
        load: Makes of it what is returned.
        kind: "Group" or "Dataset".
        wanted: Arrays, texts and attributes that `load` uses, as `read_member` takes them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is of another kind, refused or damaged, or `load` fails; names file and video.
    """
    where = f", video {printable(video_id)}"
    member = read_member(Path(path), video_id, where, **wanted)
    try:
        if member.kind is None:
            raise InputError("found no such video")
        if member.kind != kind:
            raise InputError(f"expected a {kind}, found a {member.kind}")
        return load(member)
    except FileNotFoundError:  # of another file
        raise
    except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
        raise InputError(f"{path}{where}: {error}") from None


def read_features(member: Member, width: int, key: str = "") -> np.ndarray:
    """Read (T, `width`) float32 features, all finite.

    `key` is the features' name in a group.

    Raises:
        ValueError: Another shape, or numbers that are not finite or not dequantised.
    """
    features = member.array(key)
    if features.ndim != 2 or features.shape[1] != width:
        raise InputError(f"{key or 'features'}: expected shape (T, {width}), found {features.shape}")
    return finite_features(features, key or "features")


def finite_features(features: np.ndarray, key: str) -> np.ndarray:
    """Convert features of any shape to float32, all finite.

    Raises:
        ValueError: Numbers that are not finite or not dequantised; names the key.
    """
    if features.dtype.kind != "f":
        raise InputError(f"{key}: expected floating point numbers (dequantised), found {features.dtype}")
    features = features.astype(np.float32, copy=False)
    if not np.isfinite(features).all():
        raise InputError(f"{key}: expected finite values, found NaN or infinity")
    return features


def read_annotation(group: Member, rows: int, rule: ReplayLabels) -> dict[str, Any]:
    """Read the fields of a record that come from its annotation.

    The group has scores, change points and perhaps a summary. Everything is cut to N, the length that `rows` of
    features, scores and summary have in common. The published summary, a key-shot summary of the scores, is the
    record's one user summary. The bins of the curve are gone, so `rule.intro_bins` are hundredths of the scores' length
    T (not given in the paper).
    """
    score = next((key for key in SCORES if key in group), None)
    if score is None or "change_points" not in group:
        raise InputError(f"expected the members {' or '.join(SCORES)} and change_points, found {sorted(group.names)}")
    scores = read_scores(group, score)
    summary = next((read_summaries(group, key) for key in SUMMARIES if key in group), None)
    # Features of YouTube-8M and scores may differ by some seconds; none is repeated or made up.
    n = min(rows, len(scores), len(scores) if summary is None else summary.shape[1])
    if n == 0:
        raise InputError(f"expected at least one second, found {rows} rows of features and {len(scores)} of {score}")
    return {
        "frame_times_s": np.arange(n, dtype=np.float64),
        **label_scores(scores, n, rule),
        "user_summaries": None if summary is None else summary[:, :n].astype(bool),
        "shots": half_open_shots(group.array("change_points"), n),
        "picks": np.arange(n),
        "n_frames": n,
    }


def read_scores(group: Member, key: str) -> np.ndarray:
    """Read (T,) scores in [0, 1].

    Raises:
        ValueError: Another shape or other values; names the key.
    """
    scores = group.array(key)
    if scores.ndim != 1 or not ((scores >= 0) & (scores <= 1)).all():  # NaN is neither
        raise InputError(f"{key}: expected (T,) scores in [0, 1], found shape {scores.shape} or other values")
    return scores


def read_summaries(group: Member, key: str) -> np.ndarray:
    """Read summaries of zeros and ones, (U, T); one (T,) is (1, T).

    Raises:
        ValueError: Another shape or other values; names the key.
    """
    summaries = np.atleast_2d(group.array(key))
    if summaries.ndim != 2 or not np.isin(summaries, (0, 1)).all():
        raise InputError(f"{key}: expected (T,) zeros and ones, found shape {summaries.shape} or other values")
    return summaries


def label_scores(scores: np.ndarray, n: int, rule: ReplayLabels) -> dict[str, Any]:
    """Give the first `n` of (T,) scores labels; they are a record's frame_scores and frame_labels."""
    # Second t lies in hundredth floor(100 t / T), and the first `intro_bins` hundredths are masked.
    in_intro = np.arange(n) * 100 < rule.intro_bins * len(scores)
    scores = np.where(in_intro, np.nan, scores[:n]).astype(np.float32)
    return {"frame_scores": scores, "frame_labels": rule.labels(scores)}


def half_open_shots(change_points: np.ndarray, n_frames: int) -> np.ndarray:
    """Make half-open shots of change points, closed or half-open.

    Where the next shot starts tells which: at the end (half-open) or one later (closed). A single shot is half-open if
    it ends past the last frame. Not given in the paper.

    Returns:
        (S, 2) int64 [start, end) cut to `n_frames`.

    Raises:
        ValueError: If they are no (S, 2) frame numbers or neither all closed nor all half-open.
    """
    points = np.asarray(change_points)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0 or (points % 1 != 0).any():
        raise InputError(f"change_points: expected (S, 2) frame numbers, found shape {points.shape} or other values")
    # Start of shot s + 1 less end of shot s: 0 where ends are exclusive, 1 where they are the last frame.
    gaps = set((points[1:, 0] - points[:-1, 1]).tolist()) or {int(points[0, 1] < n_frames)}
    if gaps not in ({0}, {1}):
        raise InputError(f"change_points: expected gaps of all 0 (half-open) or all 1 (closed), found {sorted(gaps)}")
    # Adding the gap to the ends makes either form half-open.
    return clip_shots(points + np.array([0, gaps.pop()]), n_frames)
