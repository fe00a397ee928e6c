"""Read SM-MrHiSum and SM-VideoXum, videos with transcripts and scripts.

    sm_mrhisum.h5, sm_videoxum.h5                   one group for each video, one row a second
    sm_mrhisum_split.json, sm_videoxum_split.json   {"train": [...], "val": [...], "test": [...]}
    metadata.csv                                    of Mr.HiSum, whose names of videos SM-MrHiSum keeps

A script says in sentences what the wanted summary shows. It was generated from the ground-truth summary, so it is a
request and not a description; it is the parent text. The child text are the transcripts with their times. The files
hold features of the texts and no words.

Letters: T rows (seconds), N rows common to all members of a video, K transcripts, M sentences of a script, U
annotators, S shots.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.readers.mrhisum_files import (
    VideoInfo,
    drop_repeats,
    finite_features,
    half_open_shots,
    label_scores,
    load_video,
    read_features,
    read_metadata,
    read_scores,
    read_summaries,
    repeats_found,
)
from hiersum_hf.datasets.split_files import read_splits
from hiersum_hf.files.changed import changed_ns
from hiersum_hf.files.escape import printable
from hiersum_hf.files.h5_file import Member, Shape, member_names, outlines, read_member, row_count
from hiersum_hf.labels import ReplayLabels
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Encoders, Sentence, VideoRecord
from hiersum_hf.summary.shots import clip_shots


logger = logging.getLogger(__name__)

MAX_ANNOTATORS = 1000  # of a video; the published files have ten
MRHISUM_ENCODER = "sentence-transformers/clip-ViT-B-32"  # of frames and texts
VIDEOXUM_ENCODER = "videoxum-clip"  # a CLIP fine-tuned on VideoXum, of frames and texts
WIDTH = 512
FRAMES, SCRIPT = "video_embeddings", "script_embeddings"
SPOKEN, TIMES, BY_SECOND = "transcript_embeddings", "transcript_timestamps", "aligned_transcripts"
VIDEOS_AT_ONCE = 4096  # in one question to the process that reads the file, whose time is limited
LATE_S = 1.0  # a row stands for a second, so an end up to one later is none past the end


@dataclass(frozen=True)
class SMMrHiSumReader(ReplayLabels):
    """Read SM-MrHiSum; labels and views are as in `ReplayLabels`.

    The published table of members leaves `gtscores` out, the published code reads it. A video without has no frame
    scores, and its summary for labels.

    Args:
        h5: `sm_mrhisum.h5`.
        split: `sm_mrhisum_split.json`; None for no splits.
        metadata: `metadata.csv` of Mr.HiSum; None if there is none: no views, no YouTube ids, and repeated videos are
            not found.

    Raises:
        ValueError: If a setting of the labels is another one, or there are limits of views and no metadata.
    """

    h5: str | Path
    split: str | Path | None = None
    metadata: str | Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metadata is None and not self.takes(None):
            raise InputError(
                f"{self.h5}: expected Mr.HiSum's metadata.csv beside it, which tells the views, found none. Put it "
                "there, or leave the limits of views out."
            )

    @classmethod
    def from_folder(cls, folder: str | Path, **settings: Any) -> SMMrHiSumReader:
        """Find the files under their usual names; split and metadata may be missing."""
        return cls(*_files(Path(folder), "sm_mrhisum.h5", "sm_mrhisum_split.json", "metadata.csv"), **settings)

    @property
    def video_ids(self) -> list[str]:
        """Groups of the file, in its order."""
        rows = self._rows()
        return [name for name in _shapes(self.h5) if self.takes(rows[name].views if name in rows else None)]

    @property
    def splits(self) -> dict[str, list[str]]:
        """Published parts, without repeated videos (`mrhisum_files.drop_repeats`) and those that the file lacks."""
        return drop_repeats(self._published(), self._groups())[0]

    @property
    def findings(self) -> dict[str, list[str]]:
        """Repeated videos, and those that lack something; reads every shape and no content.

        These are duplicates, leaks, dropped, outside_views (which the others leave out), not_in_file and not_in_split
        (`_split_found`), without_scores, without_script, without_transcripts and cut_to_common_length.
        """
        kept, shapes = self.video_ids, _shapes(self.h5)
        found = repeats_found(self._published(), self._groups())
        found["dropped"] = drop_repeats(self._published(), self._groups())[1]
        found["outside_views"] = sorted(set(shapes).difference(kept))
        found |= _split_found(self.split, shapes, kept)
        found["without_scores"] = [name for name in kept if "gtscores" not in shapes[name]]
        found["without_script"] = [name for name in kept if not row_count(shapes[name].get(SCRIPT))]
        return found | _members_found({name: shapes[name] for name in kept}, (FRAMES, "gt_summary", "gtscores"))

    def read(self, video_id: str) -> VideoRecord:
        """Read one video.

        Frames, scores and summary are cut to their common length N, the seconds 0 to N - 1. Shots are in these rows,
        whether the file counts rows or frames of the original video (`_shots`).

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If the video or a member is missing, or shapes or values do not fit; the message names file and
                video.
        """
        members = (FRAMES, SCRIPT, SPOKEN, TIMES, "gtscores", "gt_summary", "change_points", "n_frames")
        content = load_video(self.h5, video_id, partial(_load_mrhisum, rule=self), arrays=members)
        info = self._rows().get(video_id)
        return VideoRecord(
            video_id=video_id,
            duration_s=max(info.duration_s if info else 0.0, float(content["n_frames"])),
            encoders=Encoders(MRHISUM_ENCODER, MRHISUM_ENCODER, 1.0),
            views=info.views if info else None,
            group=info.youtube_id if info else None,
            source=str(self.h5),
            **content,
        )

    def _published(self) -> dict[str, list[str]]:
        return _split_of(self.split, self.video_ids, self.h5)

    def _rows(self) -> Mapping[str, VideoInfo]:
        return {} if self.metadata is None else read_metadata(self.metadata)

    def _groups(self) -> dict[str, str]:
        rows = self._rows()
        return {name: rows[name].youtube_id for name in self.video_ids if name in rows}


@dataclass(frozen=True)
class SMVideoXumReader:
    """Read SM-VideoXum, a record for each annotator of a video.

    Ten people chose a summary of a video each, and each summary has a script of its own. Record "v_x:3" has the summary
    of annotator 3, from 0, as frame scores and labels, and that annotator's script. The records of a video are a group.

    Args:
        h5: `sm_videoxum.h5`.
        split: `sm_videoxum_split.json`, of videos; None for no splits.
    """

    h5: str | Path
    split: str | Path | None = None

    @classmethod
    def from_folder(cls, folder: str | Path) -> SMVideoXumReader:
        """Find the files under their usual names; the split may be missing."""
        return cls(*_files(Path(folder), "sm_videoxum.h5", "sm_videoxum_split.json"))

    @property
    def video_ids(self) -> list[str]:
        """Groups of the file in its order, the annotators of each in theirs.

        A group without annotators has one id, so that reading it tells what is missing.
        """
        return [name for names in self._records().values() for name in names]

    @property
    def splits(self) -> dict[str, list[str]]:
        """Published parts, without videos that the file lacks."""
        records = self._records()
        parts = _split_of(self.split, records, self.h5)
        return {part: [name for video in videos for name in records[video]] for part, videos in parts.items()}

    @property
    def findings(self) -> dict[str, list[str]]:
        """Videos that lack something; reads every shape and no content.

        These are not_in_file and not_in_split (`_split_found`), without_transcripts and cut_to_common_length.
        """
        shapes = _shapes(self.h5)
        rows = {name: dict(found) | {"gtscores": found.get("gtscores", ())[1:]} for name, found in shapes.items()}
        return _split_found(self.split, shapes, shapes) | _members_found(rows, (FRAMES, "gtscores"))

    def read(self, video_id: str) -> VideoRecord:
        """Read what one annotator chose of a video.

        Frames and the annotator's scores are cut to their common length N, the seconds 0 to N - 1.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If the video, the annotator or a member is missing, or shapes or values do not fit; the message
                names file and video.
        """
        video, _, number = video_id.rpartition(":")
        content, users, scripts = _read_videoxum(Path(self.h5), changed_ns(self.h5), video)
        where = f"{self.h5}, video {printable(video_id)}"
        if not (number.isdecimal() and int(number) < len(users)):
            raise InputError(f"{where}: expected an annotator from 0 to {len(users) - 1}, found {printable(number)}")
        chosen = users[int(number)]
        return VideoRecord(
            video_id=video_id,
            duration_s=float(content["n_frames"]),
            encoders=Encoders(VIDEOXUM_ENCODER, VIDEOXUM_ENCODER, 1.0),
            frame_scores=chosen.astype(np.float32),
            frame_labels=chosen.astype(np.int64),
            user_summaries=chosen[None].astype(bool),
            group=video,
            source=str(self.h5),
            **content,
            **_script(scripts[int(number)], where),
        )

    def _records(self) -> dict[str, list[str]]:
        """List the records of each video; one that claims none or too many annotators has one, which is refused."""
        users = {name: row_count(found.get("gtscores")) for name, found in _shapes(self.h5).items()}
        counts = {name: count if 0 < count <= MAX_ANNOTATORS else 1 for name, count in users.items()}
        return {name: [f"{name}:{user}" for user in range(count)] for name, count in counts.items()}


def _files(folder: Path, h5: str, *others: str) -> list[Any]:
    """Find the HDF5 file and what there is beside it."""
    if not (folder / h5).is_file():
        raise FileNotFoundError(
            f"{folder}: expected {h5}, found no such file. `hiersum prepare --help` says what belongs there."
        )
    return [folder / h5, *(folder / name if (folder / name).is_file() else None for name in others)]


def _shapes(path: str | Path) -> Mapping[str, Mapping[str, Shape]]:
    """Read the shapes of the members of each video, in the file's order."""
    return _read_shapes(Path(path), changed_ns(path))


@lru_cache(maxsize=4)
def _read_shapes(path: Path, _changed_ns: int) -> Mapping[str, Mapping[str, Shape]]:
    names = member_names(path)
    members = (FRAMES, SCRIPT, SPOKEN, BY_SECOND, "gtscores", "gt_summary")
    shapes = {}
    for first in range(0, len(names), VIDEOS_AT_ONCE):
        for name, found in outlines(path, names[first : first + VIDEOS_AT_ONCE], members).items():
            shapes[name] = {key: shape or () for key, shape in found.members.items()}
    return shapes


def _split_of(split: str | Path | None, kept: Iterable[str], h5: str | Path) -> dict[str, list[str]]:
    """Read the published parts, as far as the file has their videos.

    Raises:
        ValueError: It has another form, or none of its videos is in the file.
    """
    if split is None:
        return {}
    there, parts = set(kept), read_splits(split)[0]
    found = {part: [name for name in names if name in there] for part, names in parts.items()}
    if there and not any(found.values()):
        first = next(name for names in parts.values() for name in names)
        raise InputError(
            f"{split}: expected videos of {h5}, found none of them: {first}, ... Fetch the one of this file."
        )
    return found


def _split_found(split: str | Path | None, there: Iterable[str], kept: Iterable[str]) -> dict[str, list[str]]:
    """Find videos of the split that are not in the file, and of the file that are in no part.

    The first are left out of their parts, the others are read and belong to no part.
    """
    if split is None:
        return {}
    published = {name: None for names in read_splits(split)[0].values() for name in names}
    in_file = set(there)
    return {
        "not_in_file": [name for name in published if name not in in_file],
        "not_in_split": [name for name in kept if name not in published],
    }


def _members_found(shapes: Mapping[str, Mapping[str, Shape]], rows: tuple[str, ...]) -> dict[str, list[str]]:
    """Find videos without transcripts, and those whose members of one row a second differ in length."""
    silent = [name for name, found in shapes.items() if not row_count(found.get(SPOKEN, found.get(BY_SECOND)))]
    lengths = {name: {key: row_count(found[key]) for key in rows if key in found} for name, found in shapes.items()}
    cut = [f"{name}: {found}" for name, found in lengths.items() if len(set(found.values())) > 1]
    return {"without_transcripts": silent, "cut_to_common_length": cut}


def _load_mrhisum(group: Member, rule: ReplayLabels) -> dict[str, Any]:
    """Read the fields of a record that its group tells."""
    _require(group, FRAMES, SCRIPT, "gt_summary", "change_points")
    features, summaries = read_features(group, WIDTH, FRAMES), read_summaries(group, "gt_summary")
    if len(summaries) != 1:
        raise InputError(f"gt_summary: expected one summary, (T,), found {len(summaries)}")
    summary = summaries[0]
    scores = read_scores(group, "gtscores") if "gtscores" in group else None
    n = min(len(features), len(summary), len(summary if scores is None else scores))
    labels = {"frame_labels": summary[:n].astype(np.int64)} if scores is None else label_scores(scores, n, rule)
    return {
        "video_features": features[:n],
        "user_summaries": summary[None, :n].astype(bool),
        **_clock(n),
        **labels,
        "shots": _shots(group, len(features), n),
        **_sentences(group, n),
        **_script(_texts(group, SCRIPT), _where(group)),
    }


@lru_cache(maxsize=2)
def _read_videoxum(path: Path, _changed_ns: int, video: str) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Read a video with all its annotators, whose records are read one after the other."""
    return load_video(path, video, _load_videoxum, arrays=(FRAMES, SCRIPT, SPOKEN, TIMES, "gtscores"))


def _load_videoxum(group: Member) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Read what the records of a video share, the (U, N) summaries and the (U, M, 512) scripts."""
    _require(group, FRAMES, SCRIPT, "gtscores")
    features, scripts = read_features(group, WIDTH, FRAMES), group.array(SCRIPT)
    users = read_summaries(group, "gtscores")
    if scripts.ndim != 3 or scripts.shape[::2] != (len(users), WIDTH):
        raise InputError(f"{SCRIPT}: expected shape ({len(users)}, M, {WIDTH}), found {scripts.shape}")
    n = min(len(features), users.shape[1])
    shared = {"video_features": features[:n], **_clock(n), **_sentences(group, n)}
    return shared, users[:, :n], finite_features(scripts, SCRIPT)


def _require(group: Member, *members: str) -> None:
    missing = [key for key in members if key not in group]
    if missing:
        raise InputError(f"expected the members {', '.join(members)}, found no {', '.join(missing)}")


def _where(group: Member) -> str:
    return f"{group.path}, video {printable(group.name)}"


def _clock(n: int) -> dict[str, Any]:
    """Give the fields of N rows, one a second, at least one."""
    if n == 0:
        raise InputError("expected at least one second common to frames, scores and summary, found none")
    return {"frame_times_s": np.arange(n, dtype=np.float64), "picks": np.arange(n), "n_frames": n}


def _texts(group: Member, key: str) -> np.ndarray:
    """Read features of texts, (n, 512); a member without entries has none."""
    empty = not group.array(key).size
    return np.zeros((0, WIDTH), np.float32) if empty else read_features(group, WIDTH, key)


def _shots(group: Member, rows: int, n: int) -> np.ndarray:
    """Read the shots in rows, half-open and cut to N.

    The published table gives first and last frames beside `n_frames` of the original video, the published code uses the
    points as rows. So where the last shot ends tells: nearer to the number of rows, T, or to `n_frames` (not given in
    the paper). Frames of the original become rows by T / `n_frames`; a shot within one row is left out.
    """
    points = group.array("change_points")
    if "n_frames" in group and points.size:
        frames, last = group.array("n_frames").ravel(), points.max()
        if len(frames) != 1 or not frames[0] >= 1:
            raise InputError(f"n_frames: expected a number of frames, found {frames.tolist()!r:.80}")
        if abs(last - frames[0]) < abs(last - rows):
            in_frames = half_open_shots(points, int(frames[0]))
            return clip_shots(in_frames * rows // int(frames[0]), n)
    return half_open_shots(points, n)


def _sentences(group: Member, n: int) -> dict[str, Any]:
    """Read the transcripts, the sentences of the child level.

    Rows of zeros are silence and no sentence, and one that begins at or after the last second has no frame: both are
    left out, and a note in the log tells. Ends are cut to N.
    """
    if SPOKEN in group:
        _require(group, TIMES)
        features, times_s = _texts(group, SPOKEN), group.array(TIMES)
        times_s = times_s if times_s.size else np.zeros((0, 2))
    else:
        features, times_s = _by_second(group)
    if times_s.shape != (len(features), 2) or not (times_s[:, 0] <= times_s[:, 1]).all():  # NaN is neither
        raise InputError(f"{TIMES}: expected {len(features)} pairs of start and end in seconds, found {times_s.shape}")
    silent, late = ~features.any(axis=1), times_s[:, 0] >= n
    kept = ~(silent | late)
    for what, which in (
        ("are zeros; left out", silent),
        (f"begin at or after the end, {n} s; left out", late),
        (f"end after the end, {n} s; cut", kept & (times_s[:, 1] > n + LATE_S)),
    ):
        if which.any():
            logger.warning("%s: %d of %d transcripts %s", _where(group), which.sum(), len(features), what)
    spans_s = np.clip(times_s[kept].astype(np.float64), 0, n)
    return {"sentences": tuple(Sentence("", *span) for span in spans_s.tolist()), "text_features": features[kept]}


def _by_second(group: Member) -> tuple[np.ndarray, np.ndarray]:
    """Read transcripts that come spread over the seconds only.

    Equal rows in a row are one transcript, rows of zeros none.

    Returns:
        (K, 512) features and (K, 2) times in seconds; none where the video has neither form.
    """
    if BY_SECOND not in group:
        return np.zeros((0, WIDTH), np.float32), np.zeros((0, 2))
    where = f", video {printable(group.name)}"
    rows = _texts(read_member(group.path, group.name, where, arrays=[BY_SECOND]), BY_SECOND)
    starts = np.flatnonzero(np.append(True, (rows[1:] != rows[:-1]).any(axis=1)))[: len(rows)]
    times_s = np.stack([starts, np.append(starts[1:], len(rows))], axis=1)
    spoken = rows[starts].any(axis=1)
    return rows[starts[spoken]], times_s[spoken]


def _script(rows: np.ndarray, where: str) -> dict[str, Any]:
    """Take the sentences of a script, the description of the parent level.

    Rows of zeros fill up and are no sentence. The words are not in the file; what stands for them is numbered, because
    the first of several texts would else count as a title (`records.first_step`), and differs from the sentences'
    empty texts, because a description equal to them would be taken for the video's own speech.
    """
    rows = np.asarray(rows[rows.any(axis=1)], np.float32)
    if not len(rows):
        logger.warning("%s: the script has no sentence, so the video is read without the parent level", where)
    texts = tuple(f"{number}. sentence of the script" for number in range(1, len(rows) + 1))
    return {"description": texts, "description_features": rows}
