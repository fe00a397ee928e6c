"""Read the trimodal releases of Mr.HiSum and MoSu.

Annotations and features of each modality are in files of their own.

    {name}_gt.h5                      one group for each video: gt_score, gt_summary, change_points
    {name}_feat_visual_{encoder}.h5   one (T, D) data set for each video, one row a second
    {name}_feat_text_{encoder}.h5     the same; row t belongs to second t, to its generated caption (mrhisum) or to what
                                      is said in it, transcripts spread over their seconds (mosu)
    {name}_split.json                 train_keys, val_keys, test_keys
    {name}_metadata.csv               video_id, youtube_id, duration, views, ...

`name` is mosu (visual clip, text roberta) or mrhisum (visual inceptionv3, text roberta). Records have no audio, so
{name}_feat_audio_ast.h5 is not read. Letters: N rows (seconds) of a video, M sentences, D feature width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.readers.mrhisum_files import (
    ANNOTATION,
    VideoInfo,
    drop_repeats,
    load_video,
    read_annotation,
    read_features,
    read_metadata,
    read_split,
    repeats_found,
)
from hiersum_hf.files.changed import changed_ns
from hiersum_hf.files.h5_file import member_names, outlines, row_count
from hiersum_hf.labels import ReplayLabels
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Encoders, Sentence, VideoRecord


@dataclass(frozen=True)
class TrimodalReader(ReplayLabels):
    """Read the trimodal Mr.HiSum or MoSu.

    Labels and views are as in `ReplayLabels`.

    Encoder ids are what the feature files' names end in: "clip" or "inceptionv3", and "roberta".

    Args:
        gt: The annotations; their groups are the videos.
        video: Frame features.
        text: Caption features; None for records without sentences.
        split: None for no splits.
        metadata: None if there is none: no views, no YouTube ids, and repeated videos are not found.

    Raises:
        ValueError: If a setting of the labels is another one, or there are limits of views and no metadata.
    """

    gt: str | Path
    video: str | Path
    text: str | Path | None = None
    split: str | Path | None = None
    metadata: str | Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metadata is None and not self.takes(None):
            to_do = "Put it there, or leave the limits of views out."
            raise InputError(
                f"{self.gt}: expected a metadata file beside it, which tells the views, found none. {to_do}"
            )

    @classmethod
    def from_folder(cls, folder: str | Path, **settings: Any) -> TrimodalReader:
        """Find the files under their usual names.

        Text, split and metadata may be missing.

        Raises:
            ValueError: If the folder has not exactly one file of annotations and one of frame features.
        """
        folder = Path(folder)
        gt = _one_file(folder, "*_gt.h5", required=True)
        name = gt.name.removesuffix("_gt.h5")
        video = _one_file(folder, f"{name}_feat_visual_*.h5", required=True)
        others = (f"{name}_feat_text_*.h5", f"{name}_split.json", f"{name}_metadata.csv")
        return cls(gt, video, *(_one_file(folder, pattern) for pattern in others), **settings)

    @property
    def video_ids(self) -> list[str]:
        """Groups of the annotations in the file's order."""
        rows = self._rows()
        return [name for name in _names(self.gt) if self.takes(rows[name].views if name in rows else None)]

    @property
    def splits(self) -> dict[str, list[str]]:
        """Published parts, without repeated videos (`mrhisum_files.drop_repeats`)."""
        return drop_repeats(self._published(), self._groups())[0]

    @property
    def findings(self) -> dict[str, list[str]]:
        """Repeated videos, and those that lack something.

        These are duplicates, leaks, dropped, outside_views (which the others leave out), without_features, without_text
        and cut_to_common_length (reads every shape).
        """
        kept = self.video_ids
        found = repeats_found(self._published(), self._groups())
        found["dropped"] = drop_repeats(self._published(), self._groups())[1]
        found["outside_views"] = sorted(set(_names(self.gt)).difference(kept))
        files = {"features": self.video} | ({} if self.text is None else {"text": self.text})
        for kind, path in files.items():
            with_it = _names(path)
            found[f"without_{kind}"] = [name for name in kept if name not in with_it]
        return found | {"cut_to_common_length": self._lengths_found(files)}

    def read(self, video_id: str) -> VideoRecord:
        """Read one video.

        Features, scores, summary and captions are cut to their common length N, the seconds 0 to N - 1.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If the video is missing from annotations or frame features, or shapes or values do not fit;
                the message names file and video.
        """
        load = partial(read_features, width=_width(self.video))
        features = load_video(self.video, video_id, load, "Dataset", arrays=[""])
        annotate = partial(read_annotation, rows=len(features), rule=self)
        annotation = load_video(self.gt, video_id, annotate, arrays=ANNOTATION)
        n = annotation["n_frames"]
        info = self._rows().get(video_id)
        text = _encoder(self.text) if self.text is not None else ""
        return VideoRecord(
            video_id=video_id,
            video_features=features[:n],
            duration_s=max(info.duration_s if info else 0.0, float(n)),
            encoders=Encoders(_encoder(self.video), text, 1.0),
            views=info.views if info else None,
            group=info.youtube_id if info else None,
            source=str(self.gt),
            **annotation,
            **self._captions(video_id, annotation["frame_labels"]),
        )

    def _captions(self, video_id: str, frame_labels: np.ndarray) -> dict[str, Any]:
        """Read the captions or transcripts, of which row t spans second t.

        It has the label of that second. The words were not published, so texts are empty.
        """
        if self.text is None or video_id not in _names(self.text):
            return {}
        load = partial(read_features, width=_width(self.text))
        features = load_video(self.text, video_id, load, "Dataset", arrays=[""])[: len(frame_labels)]
        return {
            # Caption t is made of second t, and so is its label.
            "sentences": tuple(Sentence("", float(t), float(t + 1)) for t in range(len(features))),
            "text_features": features,
            "sentence_labels": frame_labels[: len(features)],
        }

    def _published(self) -> dict[str, list[str]]:
        return {} if self.split is None else read_split(self.split, _names(self.gt), set(self.video_ids))

    def _rows(self) -> Mapping[str, VideoInfo]:
        return {} if self.metadata is None else read_metadata(self.metadata)

    def _groups(self) -> dict[str, str]:
        rows = self._rows()
        return {name: rows[name].youtube_id for name in self.video_ids if name in rows}

    def _lengths_found(self, files: dict[str, str | Path]) -> list[str]:
        """List the videos whose members differ in length."""
        lengths: dict[str, dict[str, int]] = {name: {} for name in self.video_ids}
        for key, path in {"gt_score": self.gt, **files}.items():
            there = [name for name in lengths if name in _names(path)]
            for name, found in outlines(Path(path), there, ["gt_score"]).items():
                lengths[name][key] = row_count(found.members.get("gt_score", found.shape))
        return [f"{name}: {rows}" for name, rows in lengths.items() if len(set(rows.values())) > 1]


def _one_file(folder: Path, pattern: str, required: bool = False) -> Any:
    """Find the file that matches, or None if none is required.

    Raises:
        ValueError: Several match, or none does where one is required.
    """
    found = sorted(folder.glob(pattern))
    if len(found) > 1 or (required and not found):
        to_do = "Remove all but one" if found else "`hiersum prepare --help` says what belongs there"
        raise InputError(f"{folder}: expected one {pattern}, found {[path.name for path in found]}. {to_do}.")
    return found[0] if found else None


def _encoder(path: str | Path) -> str:
    # "mosu_feat_visual_clip.h5" -> "clip".
    return Path(path).stem.split("_")[-1]


def _names(path: str | Path) -> Mapping[str, None]:
    """List the members of an h5 file, in its order."""
    return _read_names(Path(path), changed_ns(path))


@lru_cache(maxsize=8)
def _read_names(path: Path, _changed_ns: int) -> Mapping[str, None]:
    return dict.fromkeys(member_names(path))


def _width(path: str | Path) -> int:
    """Read the width of the file's first data set.

    All others must have it.
    """
    return _read_width(Path(path), changed_ns(path))


@lru_cache(maxsize=8)
def _read_width(path: Path, _changed_ns: int) -> int:
    first = outlines(path, list(_names(path))[:1]).values()
    shape = next((found.shape for found in first), None) or ()
    if len(shape) != 2:
        raise InputError(f"{path}: expected (T, D) data sets, found {shape or 'none'}. Fetch it again.")
    return shape[1]
