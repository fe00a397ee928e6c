"""Read TVSum, the field's `eccv16` feature file.

SumMe has the same format. The file's members are read in `tvsum_members`, TVSum's ratings in `tvsum_ratings`, SumMe's
annotations in `summe`.

Letters: N sampled frames, S shots, U annotators, M sentences, K description texts, n_frames original frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hiersum_hf.datasets.readers.change_points import CLOSED
from hiersum_hf.datasets.readers.mrhisum_files import load_video
from hiersum_hf.datasets.readers.summe import annotations_of
from hiersum_hf.datasets.readers.tvsum_members import ARRAYS, ATTRIBUTES, TEXTS, read_group
from hiersum_hf.datasets.readers.tvsum_ratings import RatedVideo, cached_ratings
from hiersum_hf.datasets.readers.tvsum_texts import VIDEO_NAME, TextFiles, names_of, told_name, with_sentence_labels
from hiersum_hf.files.escape import printable
from hiersum_hf.files.h5_file import Member, member_names, read_member
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import VideoRecord


YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
COUNTED = re.compile(r"(video|vid|tvsum)?[_-]?\d+", re.IGNORECASE)  # a place in the ratings


@dataclass(frozen=True)
class TVSumReader:
    """Read `eccv16_dataset_tvsum_google_pool5.h5`, or any file like it.

    Its SumMe sister is one.

    Frame scores are the min-max scaled gtscore (a constant one gives 0), frame labels its key-shot summary at the
    picks. A group without gtscore gets the mean of its annotators, and one that nobody annotated (neither gtscore nor
    user_summary) has features and shots alone. The change points, closed or half-open, become [start, end) and are cut
    at the last frame. The file carries no frame rate: times come from `fps` if a group has one, else from the length
    that the ratings (the .mat) or the captions tell, else from 30 frames a second, which captions in true seconds need
    not fit. `video_id` stays the group's name, which the split files use; gtsummary, n_frame_per_seg and n_steps are
    not needed. Encoders are "googlenet-pool5" where the file's name says google_pool5.

    Texts come in files of their own, where a video goes by the group's name, its `video_name` (SumMe) or the YouTube id
    in the ratings, in this order; one that no file has stays without sentences.

    The project's own extension adds optional members to a group: text (M strings), text_times (M, 2) seconds,
    text_features, description (K strings), description_features, user_scores, fps, and the attributes video_encoder,
    text_encoder and sample_fps.

    Args:
        h5_path: The feature file.
        ratings_path: TVSum's ratings; a group gets those of its YouTube id, group video_k else entry k: title as
            description text (its features remain to be computed) and the raw ratings at the picks as user scores. Or
            the folder of SumMe's annotations, where a video has the file of its `video_name`: the ranks at the picks
            become user scores, what they mark the annotators' summaries, and times follow the FPS there.
        text_features: .h5 with (M, Dt) arrays, as `hiersum_hf.datasets.readers.pickles.convert_pickled_arrays` makes of
            A2Summ's .npy.
        text_encoder: Id of what made them; the file does not say.
        video_encoder: Id of what made the frames' features, where the file does not say; another id than it says is an
            error.
        captions: Sentence j with its times for each row j: a .json {id: {"timestamps": [[start_s, end_s], ...],
            "sentences": [...], perhaps "duration"}} or {id: {"sample_meta": {"total_frames", "fps"}, "captions":
            [{"start_mmss", "end_mmss", "caption"}, ...]}}, or a folder with id.srt, id.vtt or id.ass. Without
            text_features these remain to be computed.
        alignment: "a2summ-positional" spreads text features without captions over the frames
            (`hiersum_hf.datasets.readers.tvsum_texts.positional_spans`); their words remain unknown.

    Raises:
        ValueError: As `hiersum_hf.datasets.readers.tvsum_texts.TextFiles`.
    """

    h5_path: Path
    ratings_path: Path | None = None
    text_features: Path | None = None
    text_encoder: str = ""
    captions: Path | None = None
    alignment: str | None = None
    video_encoder: str = ""

    def __post_init__(self) -> None:
        self._texts()

    @property
    def video_ids(self) -> list[str]:
        """Names of the groups, video_2 before video_10.

        Raises as `read`, and ValueError if no video has a text.
        """
        names = sorted(member_names(self.h5_path), key=_number)
        if names and (without := self.findings.get("without_text")) == names:
            files = " and ".join(str(path) for path in (self.text_features, self.captions) if path)
            expected = f"expected ids of {self.h5_path} such as {without[0]}"
            raise InputError(f"{files}: {expected}, found none. Name its entries so.")
        return names

    @property
    def splits(self) -> dict[str, list[str]]:
        """No parts, because splits come in files of their own."""
        return {}

    @property
    def findings(self) -> dict[str, list[str]]:
        """Videos that no file with texts has, as `without_text`.

        There is nothing where there are no such files.
        """
        if self.text_features is None and self.captions is None:
            return {}
        names = sorted(member_names(self.h5_path), key=_number)
        return {"without_text": [name for name in names if not self._texts().has(self._names_of(name))]}

    def read(self, video_id: str) -> VideoRecord:
        """Read one group as a record.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is not HDF5, a member is missing, or lengths or values do not fit; the message names
                the file and the group.
        """
        load = partial(self._read, video_id)
        return load_video(self.h5_path, video_id, load, arrays=ARRAYS, texts=TEXTS, attributes=ATTRIBUTES)

    def _read(self, video_id: str, group: Member) -> VideoRecord:
        rated = _entry(self.ratings_path, group)
        names, texts = names_of(group, rated), self._texts()
        record = read_group(group, rated, texts.duration_s(names), self.video_encoder)
        return with_sentence_labels(texts.add_to(record, names))

    def _names_of(self, video_id: str) -> list[str]:
        group = read_member(self.h5_path, video_id, f", video {printable(video_id)}", texts=[VIDEO_NAME])
        return names_of(group, _entry(self.ratings_path, group))

    def _texts(self) -> TextFiles:
        return TextFiles(self.text_features, self.text_encoder, self.captions, self.alignment)


def read_tvsum(h5_path: str | Path, ratings_path: str | Path | None = None) -> list[VideoRecord]:
    """Read all videos of a TVSum-format file; see `TVSumReader`."""
    reader = TVSumReader(Path(h5_path), None if ratings_path is None else Path(ratings_path))
    return [reader.read(video_id) for video_id in reader.video_ids]


def _number(name: str) -> tuple[int, str]:
    """Make a sort key that puts video_2 before video_10."""
    digits = re.search(r"\d+$", name)
    # 15 digits at most, because Python refuses to read very long ones. The name itself settles a tie.
    return (int(digits.group()[-15:]) if digits else 0), name


def _entry(ratings_path: Path | None, group: Member) -> RatedVideo | None:
    """Find the group's video in the ratings.

    It goes by its `video_name` or the group's own name, where these are ids, else by the number of the group.

    Raises:
        ValueError: It is not there.
    """
    if ratings_path is None:
        return None
    told = told_name(group)
    if ratings_path.is_dir():
        return annotations_of(ratings_path, [*told, group.name])
    ratings, names = cached_ratings(ratings_path), [name.split(".")[0] for name in (*told, group.name)]
    for name in names:
        if entry := next((video for video in ratings if video.video_id == name), None):
            return entry
    # No id: group video_k is entry k of the ratings, counted from 1, unless it tells an id that they lack.
    unknown = [name for name in names[:-1] if YOUTUBE_ID.fullmatch(name)]
    if unknown or not COUNTED.fullmatch(names[-1]):
        lacking, ids = (unknown or names[-1:])[0], ", ".join(video.video_id for video in ratings[:3])
        raise InputError(
            f"{ratings_path}: expected ratings of {printable(lacking)}, the group {printable(group.name)}, found none "
            f"among those of {ids}, ... ({len(ratings)} videos). Name groups by YouTube id, or as video_1."
        )
    k, last = _number(names[-1])[0], len(ratings)
    if not 1 <= k <= last:
        raise InputError(
            f"{ratings_path}: expected ratings of {group.name}, found {last}, which are of video_1 to video_{last}. "
            "Give those that belong to the file."
        )
    return ratings[k - 1]


def write_tvsum(records: Iterable[VideoRecord], h5_path: str | Path) -> None:
    """Write records in the format that `read_tvsum` reads, groups named by `video_id`.

    A record comes back as it was, but for its source, if its scores span [0, 1], its labels are their key-shot summary,
    its sentence labels follow from these and its duration is that of its frames.

    Raises:
        ValueError: If a record lacks shots, picks, n_frames, frame scores or user summaries; the message names it.
    """
    with h5py.File(h5_path, "w") as file:
        for record in records:
            _write_group(file.create_group(record.video_id), record)


def _write_group(group: h5py.Group, record: VideoRecord) -> None:
    needed = (record.shots, record.picks, record.n_frames, record.frame_scores, record.user_summaries)
    if any(part is None for part in needed):
        raise InputError(
            f"video {record.video_id}: expected shots, picks, n_frames, frame_scores and user_summaries, found not all"
        )
    shots = np.asarray(record.shots)
    members: dict[str, Any] = {
        "features": record.video_features,
        "gtscore": record.frame_scores,
        "gtsummary": record.frame_labels,
        "user_summary": np.asarray(record.user_summaries, np.float32),
        "change_points": shots - CLOSED,
        "n_frame_per_seg": shots[:, 1] - shots[:, 0],
        "n_frames": record.n_frames,
        "picks": record.picks,
        "n_steps": len(record.video_features),
        "fps": float(record.n_frames or 0) / record.duration_s,
        "user_scores": record.user_scores,
        "text": [sentence.text for sentence in record.sentences],
        "text_times": [(sentence.start_s, sentence.end_s) for sentence in record.sentences],
        "text_features": record.text_features,
        "description": list(record.description),
        "description_features": record.description_features,
    }
    for key, value in members.items():
        if value is not None and np.size(value):
            group[key] = value
    if record.encoders is not None:
        names = {"video_encoder": record.encoders.video, "text_encoder": record.encoders.text}
        group.attrs.update(names | {"sample_fps": record.encoders.sample_fps})
