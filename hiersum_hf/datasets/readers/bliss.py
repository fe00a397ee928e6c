"""Read BLiSS, five-minute clips of livestreams.

Each clip has sentences, key frames and a highlight in words.

    FOLDER/annotation/{train,val,test}.json     clip -> video_id, num_frame, num_keyframe, num_sentence, video_label,
                                                text_label, sentence, sentence_time, highlight
    FOLDER/feature/video_clip_{part}.h5         clip -> (N, 512) frames
    FOLDER/feature/text_roberta_{part}.h5       clip -> (M, 768) sentences
    FOLDER/feature/video_summ_clip_{part}.h5    clip -> (K, 512) key frames of the human summary

BLiSS ships the features as pickles, .npy files of the same names; `hiersum prepare bliss --convert-pickles` or
`hiersum_hf.datasets.readers.pickles.convert_pickled_arrays` makes the .h5 files beside them, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.files.h5_file import read_member
from hiersum_hf.files.json_file import cached_json_object
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Encoders, Sentence, VideoRecord


# The release says CLIP and RoBERTa and not which; 512-wide features of another CLIP must not be taken for these.
VIDEO_ENCODER, VIDEO_DIM = "bliss-clip", 512
TEXT_ENCODER, TEXT_DIM = "bliss-roberta", 768
PARTS = {"train": "train", "validation": "val", "test": "test"}
FEATURES = ("video_clip", "text_roberta", "video_summ_clip")
MEMBERS = {
    "video_id",
    "num_frame",
    "num_keyframe",
    "num_sentence",
    "video_label",
    "text_label",
    "sentence",
    "sentence_time",
    "highlight",
}


@dataclass(frozen=True)
class BLiSSReader:
    """Read the clips of a BLiSS folder.

    A video is a clip, its group the livestream that it is cut from.

    Frame and sentence labels are as shipped, the highlight becomes `reference_text`, the key frames' features
    `reference_features`. A sentence's frames [start, end) are cut at the clip's ends; a span without frames aligns
    with nothing.

    Args:
        folder: The folder with `annotation` and `feature`.
        description: What stands in for the description that BLiSS has not: "sentences", all sentences of the clip
            (not given in the paper), or None, nothing.
        sample_fps: Frames a second behind the features. BLiSS does not tell, nor does the paper; 1 is an assumption
            that moves all times alike and no span.
    """

    folder: Path
    description: str | None = "sentences"
    sample_fps: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        if self.description not in ("sentences", None):
            raise InputError(f'description: expected "sentences" or None, found {self.description!r}')
        if not self.sample_fps > 0:
            raise InputError(f"sample_fps: expected a positive rate, found {self.sample_fps}")

    @property
    def pickles(self) -> list[Path]:
        """The .npy files that are there, to be converted."""
        paths = [self.folder / "feature" / f"{kind}_{part}.npy" for kind in FEATURES for part in PARTS.values()]
        return [path for path in paths if path.is_file()]

    @property
    def video_ids(self) -> list[str]:
        """Names of the clips, train before validation before test. Raises as `read`."""
        return list(self._parts())

    @property
    def splits(self) -> dict[str, list[str]]:
        """The published parts, without clips that an earlier part has too."""
        part_of = self._parts()
        return {part: [clip for clip in clips if part_of[clip] == part] for part, clips in self._annotations().items()}

    @property
    def findings(self) -> dict[str, list[str]]:
        """Clips in several parts, and livestreams with such clips.

        `duplicates` are clips that several parts have, `leaks` livestreams with clips in several parts.
        """
        part_of, streams = self._parts(), dict[str, set[str]]()
        annotations = self._annotations()
        for clip, part in part_of.items():
            entry = annotations[part][clip]
            if isinstance(entry, dict) and "video_id" in entry:
                streams.setdefault(str(entry["video_id"]), set()).add(part)
        duplicates = [clip for part, clips in annotations.items() for clip in clips if part_of[clip] != part]
        return {"duplicates": duplicates, "leaks": [name for name, parts in streams.items() if len(parts) > 1]}

    def read(self, video_id: str) -> VideoRecord:
        """Read one clip as a record.

        Raises:
            FileNotFoundError: A file is missing, or not converted yet.
            ValueError: No such clip, a member is missing, or lengths, widths or values do not fit; the message names
                the file and the clip.
        """
        annotations = self._annotations()
        part = next((part for part, clips in annotations.items() if video_id in clips), None)
        if part is None:
            raise InputError(f"{self.folder / 'annotation'}: expected a clip {video_id}, found none")
        path = _annotation_path(self.folder, part)
        try:
            entry = _checked(annotations[part][video_id])
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{path}, clip {video_id}: {error}") from None
        frames = self._features("video_clip", part, video_id, entry["num_frame"], VIDEO_DIM)
        text = self._features("text_roberta", part, video_id, entry["num_sentence"], TEXT_DIM)
        # (N + 1,): frame k is shown in [k / fps, (k + 1) / fps), and spans count frames.
        edges_s = np.arange(len(frames) + 1) / self.sample_fps
        # Parent text: all sentences, each of the whole clip, with the features that they have at child level.
        has_description = self.description is not None
        return VideoRecord(
            video_id=video_id,
            video_features=frames,
            frame_times_s=edges_s[:-1],
            duration_s=float(edges_s[-1]),
            encoders=Encoders(VIDEO_ENCODER, TEXT_ENCODER, self.sample_fps),
            sentences=_sentences(entry["sentence"], entry["sentence_time"], edges_s),
            text_features=text,
            description=tuple(entry["sentence"]) if has_description else (),
            description_features=text if has_description else text[:0],
            frame_labels=entry["video_label"],
            sentence_labels=entry["text_label"],
            reference_text=tuple(entry["highlight"]),
            reference_features=self._features("video_summ_clip", part, video_id, entry["num_keyframe"], VIDEO_DIM),
            group=str(entry["video_id"]),
            source=str(path),
        )

    def _annotations(self) -> dict[str, dict[str, Any]]:
        """Read the annotation files that are there.

        Returns:
            part -> clip -> members.
        """
        paths = {part: _annotation_path(self.folder, part) for part in PARTS}
        there = {part: cached_json_object(path) for part, path in paths.items() if path.is_file()}
        if not there:
            raise FileNotFoundError(
                f"{self.folder / 'annotation'}: expected train.json, val.json or test.json, found none of them. "
                "`hiersum prepare --help` says what belongs there."
            )
        return there

    def _parts(self) -> dict[str, str]:
        """Map each clip to the first part that has it."""
        part_of: dict[str, str] = {}
        for part, clips in self._annotations().items():
            for clip in clips:
                # Parts come in the order train, validation, test, and the first one keeps the clip.
                part_of.setdefault(clip, part)
        return part_of

    def _features(self, kind: str, part: str, clip: str, rows: int, width: int) -> np.ndarray:
        """Read the features of a clip, (rows, width) float32.

        Raises:
            FileNotFoundError: The file is missing, or still a pickle.
            ValueError: Another shape, or values that are not finite; names file and clip.
        """
        path = self.folder / "feature" / f"{kind}_{PARTS[part]}.h5"
        if not path.is_file() and (pickled := path.with_suffix(".npy")).is_file():
            command = f"--convert-pickles or readers.pickles.convert_pickled_arrays({str(pickled)!r})"
            raise FileNotFoundError(f"{path}: expected it beside {pickled.name}, a pickle; convert it once: {command}")
        member = read_member(path, clip, f", clip {clip}", arrays=[""])
        if member.kind is None:
            raise InputError(f"{path}, clip {clip}: expected features of shape {(rows, width)}, found none")
        try:
            found = np.asarray(member.array(), np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, clip {clip}: expected an array of numbers ({error})") from None
        if found.size == 0 and rows == 0:
            return np.zeros((0, width), np.float32)
        if found.shape != (rows, width):
            raise InputError(f"{path}, clip {clip}: expected shape {(rows, width)}, found {found.shape}")
        if not np.isfinite(found).all():
            raise InputError(f"{path}, clip {clip}: expected finite values, found NaN or infinity")
        return found


def _annotation_path(folder: Path, part: str) -> Path:
    return folder / "annotation" / f"{PARTS[part]}.json"


def _checked(entry: Any) -> dict[str, Any]:
    """Check the members of a clip and make arrays of them.

    Labels become arrays (N,), (M,) of 0 and 1, times (M, 2), the highlight a list.

    Raises:
        ValueError: A member is missing, or is not what its count says.
    """
    if not isinstance(entry, Mapping) or not entry.keys() >= MEMBERS:
        found = sorted(entry) if isinstance(entry, Mapping) else type(entry).__name__
        raise InputError(f"expected the members {', '.join(sorted(MEMBERS))}, found {found}")
    if entry["num_frame"] == 0:
        raise InputError("num_frame: expected at least 1 frame, found 0")
    for count in ("num_frame", "num_sentence", "num_keyframe"):
        if type(entry[count]) is not int or entry[count] < 0:
            raise InputError(f"{count}: expected a whole number from 0, found {entry[count]!r:.80}")
    lengths = {"video_label": "num_frame", "text_label": "num_sentence"}
    lengths |= {"sentence": "num_sentence", "sentence_time": "num_sentence"}
    for member, count in lengths.items():
        if not isinstance(entry[member], list):
            raise InputError(f"{member}: expected a list, found {entry[member]!r:.80}")
        if len(entry[member]) != entry[count]:
            raise InputError(f"{member}: expected {entry[count]} entries ({count}), found {len(entry[member])}")
    highlight = [entry["highlight"]] if isinstance(entry["highlight"], str) else entry["highlight"]
    for member, texts in {"sentence": entry["sentence"], "highlight": highlight}.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{member}: expected strings, found {texts!r:.80}")
    arrays = {member: _labels(member, entry[member]) for member in ("video_label", "text_label")}
    return {**entry, **arrays, "highlight": highlight, "sentence_time": _spans(entry["sentence_time"])}


def _labels(member: str, values: Any) -> np.ndarray:
    labels = np.asarray(values, np.float64)
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise InputError(f"{member}: expected values 0 and 1, found {np.unique(labels)[:5]}")
    return labels.astype(np.int64)


def _spans(values: Any) -> np.ndarray:
    spans = np.asarray(values or np.zeros((0, 2)), np.float64)
    if spans.ndim != 2 or spans.shape[1] != 2 or (spans % 1 != 0).any():
        raise InputError(f"sentence_time: expected [start, end) in frames, found {values!r:.80}")
    return spans.astype(np.int64)


def _sentences(texts: list[str], spans: np.ndarray, edges_s: np.ndarray) -> tuple[Sentence, ...]:
    """Give texts the times of their spans (M, 2).

    `edges_s` (N + 1,) are the times of the frames and of the end.
    """
    last = len(edges_s) - 1
    sentences = []
    for text, (start, end) in zip(texts, np.clip(spans, 0, last).tolist(), strict=True):
        if end <= start:
            start = end = min(start, last - 1)  # no time at all, at a frame's time: covers no frame
        sentences.append(Sentence(text, float(edges_s[start]), float(edges_s[end])))
    return tuple(sentences)
