"""TVSum: the field's `eccv16` feature file (SumMe has the same format); ratings in `tvsum_ratings`.

Letters: N sampled frames, S shots, U annotators, M sentences, K description texts, n_frames original frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hiersum_hf.datasets.tvsum_ratings import TVSumVideo, open_h5, read_ratings
from hiersum_hf.datasets.tvsum_texts import TextFiles, names_of, with_sentence_labels
from hiersum_hf.metrics import LENGTH_TOLERANCE, key_shot_summary
from hiersum_hf.records import Encoders, Sentence, VideoRecord
from hiersum_hf.shots import clip_shots


GOOGLENET = "googlenet-pool5"
DEFAULT_FPS = 30.0  # where nothing tells a video's rate; TVSum's own are 24 to 30
CLOSED = np.array([0, 1])  # change_points name a shot's last frame, records the frame after it
REQUIRED = ("features", "gtscore", "user_summary", "change_points", "n_frames", "picks")


@dataclass(frozen=True)
class TVSumReader:
    """Reader of `eccv16_dataset_tvsum_google_pool5.h5`, its SumMe sister, or any file in that format.

    Frame scores are the min-max scaled gtscore (a constant one gives 0), frame labels its key-shot summary at the
    picks. The closed change points become [start, end) and are cut at the last frame. The file carries no frame rate:
    times come from `fps` if a group has one, else from the length that the ratings (the .mat) or the captions tell,
    else from 30 frames a second, which captions in true seconds need not fit. `video_id` stays the group's name, which
    the split files use; gtsummary, n_frame_per_seg and n_steps are not needed. Encoders are "googlenet-pool5" where the
    file's name says google_pool5.

    Texts come in files of their own, where a video goes by the group's name, its `video_name` (SumMe) or the YouTube id
    in the ratings, in this order; one that no file has stays without sentences.

    The project's own extension adds optional members to a group: text (M strings), text_times (M, 2) seconds,
    text_features, description (K strings), description_features, user_scores, fps, and the attributes video_encoder,
    text_encoder and sample_fps.

    Args:
        h5_path: The feature file.
        ratings_path: TVSum's ratings; group video_k gets entry k: title as description text (its features remain to
            be computed) and the raw ratings at the picks as user scores.
        text_features: .h5 with (M, Dt) arrays, as `hiersum_hf.datasets.pickles.convert_pickled_arrays` makes of
            A2Summ's .npy.
        text_encoder: Id of what made them; the file does not say.
        captions: Sentence j with its times for each row j: a .json {id: {"timestamps": [[start_s, end_s], ...],
            "sentences": [...], perhaps "duration"}}, or a folder with id.srt, id.vtt or id.ass. Without
            text_features these remain to be computed.
        alignment: "a2summ-positional" spreads text features without captions over the frames
            (`hiersum_hf.datasets.tvsum_texts.positional_spans`); their words remain unknown.

    Raises:
        ValueError: As `hiersum_hf.datasets.tvsum_texts.TextFiles`.
    """

    h5_path: Path
    ratings_path: Path | None = None
    text_features: Path | None = None
    text_encoder: str = ""
    captions: Path | None = None
    alignment: str | None = None

    def __post_init__(self) -> None:
        self._texts()

    @property
    def video_ids(self) -> list[str]:
        """Names of the groups, video_2 before video_10. Raises as `read`, and ValueError if no video has a text."""
        with open_h5(self.h5_path) as file:
            names = sorted(file, key=_number)
        if names and (without := self.findings.get("without_text")) == names:
            files = " and ".join(str(path) for path in (self.text_features, self.captions) if path)
            raise ValueError(f"{files}: expected ids of {self.h5_path} such as {without[0]}, found none")
        return names

    @property
    def splits(self) -> dict[str, list[str]]:
        """None: splits come in files of their own."""
        return {}

    @property
    def findings(self) -> dict[str, list[str]]:
        """`without_text`: videos that no file with texts has; nothing where there are no such files."""
        if self.text_features is None and self.captions is None:
            return {}
        with open_h5(self.h5_path) as file:
            names = {name: names_of(file[name], _entry(self.ratings_path, name)) for name in sorted(file, key=_number)}
        return {"without_text": [name for name, known_as in names.items() if not self._texts().has(known_as)]}

    def read(self, video_id: str) -> VideoRecord:
        """One group as a record.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is not HDF5, a member is missing, or lengths or values do not fit; the message names
                the file and the group.
        """
        with open_h5(self.h5_path) as file:
            try:
                return self._read(file[video_id], _entry(self.ratings_path, video_id))
            except FileNotFoundError:
                raise
            except (ValueError, KeyError, OSError) as error:
                raise ValueError(f"{self.h5_path}, video {video_id}: {error}") from None

    def _read(self, group: h5py.Group, rated: TVSumVideo | None) -> VideoRecord:
        names, texts = names_of(group, rated), self._texts()
        record = _read_group(group, rated, texts.duration_s(names))
        return with_sentence_labels(texts.add_to(record, names))

    def _texts(self) -> TextFiles:
        return TextFiles(self.text_features, self.text_encoder, self.captions, self.alignment)


def read_tvsum(h5_path: str | Path, ratings_path: str | Path | None = None) -> list[VideoRecord]:
    """All videos of a TVSum-format file; see `TVSumReader`."""
    reader = TVSumReader(Path(h5_path), None if ratings_path is None else Path(ratings_path))
    return [reader.read(video_id) for video_id in reader.video_ids]


@lru_cache(maxsize=4)
def _ratings(path: Path, changed_ns: int) -> list[TVSumVideo]:
    """The ratings, read once as long as the file stays the same."""
    return read_ratings(path)


def _number(name: str) -> tuple[int, str]:
    """Sort key that puts video_2 before video_10."""
    digits = re.search(r"\d+$", name)
    return (int(digits.group()) if digits else 0), name


def _entry(ratings_path: Path | None, name: str) -> TVSumVideo | None:
    if ratings_path is None:
        return None
    ratings = _ratings(ratings_path, ratings_path.stat().st_mtime_ns)
    k = _number(name)[0]
    if not 1 <= k <= len(ratings):
        raise ValueError(f"expected a name video_1 to video_{len(ratings)} to match the ratings, found {name}")
    return ratings[k - 1]


def _read_group(group: h5py.Group, rated: TVSumVideo | None, told_s: float | None) -> VideoRecord:
    """The group's own content; `told_s` is the video's length according to its captions."""
    missing = [key for key in REQUIRED if key not in group]
    if missing:
        raise ValueError(f"expected the members {', '.join(missing)}, found {sorted(group)}")
    picks = group["picks"][()].astype(np.int64)
    features = _features(group, "features", len(picks))
    gtscore = group["gtscore"][()].astype(np.float32)
    if gtscore.shape != picks.shape or not np.isfinite(gtscore).all():
        raise ValueError(f"expected {len(picks)} finite values of gtscore, found shape {gtscore.shape}")
    summaries = np.atleast_2d(group["user_summary"][()]).astype(bool)
    n_frames = _common_length(int(group["n_frames"][()]), summaries.shape[1], "user_summary")
    if len(picks) == 0 or picks[0] < 0 or (np.diff(picks) <= 0).any() or picks[-1] >= n_frames + LENGTH_TOLERANCE:
        raise ValueError(f"picks: expected ascending frame numbers below {n_frames}")
    shots = clip_shots(group["change_points"][()].reshape(-1, 2) + CLOSED, n_frames)
    scores = (gtscore - gtscore.min()) / (np.ptp(gtscore) or 1.0)
    labels = key_shot_summary(scores, picks, n_frames, shots)[np.minimum(picks, n_frames - 1)].astype(np.int64)
    fps = _fps(group, rated, told_s)
    return VideoRecord(
        video_id=group.name.strip("/"),
        video_features=features,
        frame_times_s=picks / fps,
        duration_s=float(max(n_frames, picks[-1] + 1) / fps),
        encoders=_encoders(group, sample_fps=fps / float(np.median(np.diff(picks)) if len(picks) > 1 else 1)),
        frame_scores=scores,
        frame_labels=labels,
        user_scores=_user_scores(group, rated, picks, n_frames),
        user_summaries=summaries[:, :n_frames],
        shots=shots,
        picks=picks,
        n_frames=n_frames,
        source=group.file.filename,
        **_sentences(group),
        **_description(group, rated),
    )


def _features(group: h5py.Group, key: str, rows: int) -> np.ndarray:
    features = group[key][()].astype(np.float32)
    if features.ndim != 2 or len(features) != rows:
        raise ValueError(f"{key}: expected {rows} rows, found shape {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError(f"{key}: expected finite values, found NaN or infinity")
    return features


def _common_length(n_frames: int, found: int, what: str) -> int:
    if abs(n_frames - found) > LENGTH_TOLERANCE:
        raise ValueError(f"{what}: expected {n_frames} frames, found {found}")
    return min(n_frames, found)


def _fps(group: h5py.Group, rated: TVSumVideo | None, told_s: float | None) -> float:
    if "fps" in group:
        return float(group["fps"][()])
    if rated and rated.duration_s:
        return rated.n_frames / rated.duration_s
    return float(group["n_frames"][()] / told_s) if told_s else DEFAULT_FPS


def _encoders(group: h5py.Group, sample_fps: float) -> Encoders | None:
    """What the group's attributes say, else what the file's name says: the field's own files say it only there."""
    attrs = group.attrs
    if "video_encoder" in attrs:
        return Encoders(attrs["video_encoder"], attrs["text_encoder"], float(attrs["sample_fps"]))
    return Encoders(GOOGLENET, "", sample_fps) if "google_pool5" in Path(group.file.filename).name else None


def _user_scores(group: h5py.Group, rated: TVSumVideo | None, picks: np.ndarray, n_frames: int) -> np.ndarray | None:
    if rated is not None:
        last = _common_length(n_frames, rated.n_frames, f"ratings of {rated.video_id}") - 1
        return rated.user_scores[:, np.minimum(picks, last)]
    return group["user_scores"][()].astype(np.float64) if "user_scores" in group else None


def _sentences(group: h5py.Group) -> dict[str, Any]:
    if "text_times" not in group:
        return {}
    times = group["text_times"][()].reshape(-1, 2)
    texts = _strings(group, "text") or [""] * len(times)
    sentences = tuple(Sentence(text, float(start), float(end)) for text, (start, end) in zip(texts, times, strict=True))
    return {"sentences": sentences} | _text_features(group, "text_features", len(times))


def _description(group: h5py.Group, rated: TVSumVideo | None) -> dict[str, Any]:
    texts = _strings(group, "description") or ([rated.title] if rated and rated.title else [])
    if "description_features" in group and not texts:
        texts = [""] * len(group["description_features"])
    return {"description": tuple(texts)} | _text_features(group, "description_features", len(texts))


def _text_features(group: h5py.Group, key: str, rows: int) -> dict[str, np.ndarray]:
    return {key: _features(group, key, rows)} if key in group else {}


def _strings(group: h5py.Group, key: str) -> list[str]:
    return list(group[key].asstr()[()]) if key in group else []


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
        raise ValueError(f"video {record.video_id}: expected shots, picks, n_frames, frame_scores and user_summaries")
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
