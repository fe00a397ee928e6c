"""Read texts for TVSum and SumMe from files of their own.

The feature file has none. There may be text features and sentences with times.

Letters: N sampled frames, M sentences, Dt width of text features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.readers.mrhisum_files import load_video, read_features
from hiersum_hf.datasets.readers.tvsum_ratings import RatedVideo
from hiersum_hf.files.changed import changed_ns
from hiersum_hf.files.h5_file import Member, first_shape, outlines
from hiersum_hf.files.h5_process import H5Error
from hiersum_hf.files.json_file import cached_json_object
from hiersum_hf.labels import sentence_labels_from_frames
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.modeling.inputs_hiersum import times_to_spans
from hiersum_hf.records import Encoders, Sentence, VideoRecord, rate_of, sentence_times_s
from hiersum_hf.texts.subtitles import read_subtitles


POSITIONAL = "a2summ-positional"
VIDEO_NAME = "video_name"  # member of a group that tells its video's name
SUBTITLES = (".srt", ".vtt", ".ass")  # of two, the first counts
MAX_DURATION_S = 1e9  # of a video with captions
SAME_LENGTH = 0.1  # share by which the length that captions tell may differ from the video's
UNKNOWN = "unknown"  # stands for the encoder of the frames where no file names it


@dataclass(frozen=True)
class TextFiles:
    """Read text features, captions or both.

    `hiersum_hf.datasets.readers.tvsum.TVSumReader` describes them. A video may go by any of its names in them; of
    several that are there the first counts.

    Raises:
        ValueError: Pickled text features or some without encoder or times; an alignment that is unknown or has nothing
            to align.
    """

    text_features: Path | None = None
    text_encoder: str = ""
    captions: Path | None = None
    alignment: str | None = None

    def __post_init__(self) -> None:
        path = self.text_features
        if self.alignment not in (POSITIONAL, None) or (self.alignment and path is None):
            found = f"{self.alignment!r} and {'no text features' if path is None else path.name}"
            raise InputError(f"alignment: expected {POSITIONAL!r} of text features or None, found {found}")
        if path is None:
            return
        if path.suffix == ".npy":
            command = f"hiersum_hf.datasets.readers.pickles.convert_pickled_arrays({str(path)!r})"
            raise InputError(f"{path}: expected an .h5, found a pickle; convert it once: {command}")
        if not self.text_encoder:
            raise InputError(
                f"{path}: expected text_encoder, the id of what made these features, found none. Name it: "
                "--text-encoder ID"
            )
        if self.captions is None and self.alignment is None:
            ways = f"captions (sentences with times) or alignment {POSITIONAL!r} (rows spread over the frames)"
            raise InputError(f"{path}: expected {ways}, found neither. --captions or --text-alignment gives them.")

    def has(self, names: Sequence[str]) -> bool:
        """Tell whether a file has the video.

        It may go by any of these names. Raises as `add_to`.
        """
        return self._row_id(names) is not None or self._caption(names) is not None

    def duration_s(self, names: Sequence[str]) -> float | None:
        """Read the length of the video, where the captions tell it.

        Raises as `add_to`.
        """
        where, entry = self._caption(names) or ("", None)
        found = entry.get("duration") if isinstance(entry, dict) else None
        if found is not None and not (isinstance(found, int | float) and 0 < found < MAX_DURATION_S):
            raise InputError(f"{where}: expected a duration in seconds, found {found!r:.80}. Leave it out.")
        return found

    def add_to(self, record: VideoRecord, names: Sequence[str]) -> VideoRecord:
        """Add the sentences that the files have to a record.

        Its source then names these files too.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: A file is broken, rows and sentences differ in number, rows have no times, captions tell another
                length than the video has, or the record has sentences or text features of another encoder itself; the
                message names file and id.
        """
        record = replace(record, encoders=self._encoders(record))
        rows, caption = self._rows(names), self._caption(names)
        if len(rows) == 0 and caption is None:
            return record
        if record.sentences:
            found = f"found {len(record.sentences)} in the group too"
            raise InputError(f"expected sentences only in other files, {found}. Leave those files out")
        source = [str(record.source)] + [f"text features {self.text_features}"] * (len(rows) > 0)
        if caption is not None:
            told_s = self.duration_s(names)
            if told_s is not None and abs(told_s / record.duration_s - 1) > SAME_LENGTH:
                found = f"found captions of a video of {told_s:.1f} s. Remove them"
                raise InputError(f"{caption[0]}: expected captions of this video, {record.duration_s:.1f} s, {found}.")
            sentences = cut_sentences(_sentences(*caption), record.duration_s, caption[0])
            source.append(f"captions {self.captions}")
        elif self.alignment is not None:
            sentences = _spread(len(rows), record)
            source[-1] += f", {self.alignment}"
        else:
            ways = f"its sentences in {self.captions} or alignment {POSITIONAL!r}"
            raise InputError(f"{self.text_features}, id {self._row_id(names)}: expected {ways}, found neither")
        if len(rows) not in (0, len(sentences)):
            each = f"expected {len(sentences)} rows, one for each sentence of {self.captions}"
            raise InputError(f"{self.text_features}, id {self._row_id(names)}: {each}, found {len(rows)}")
        return replace(record, sentences=sentences, text_features=rows, source="; ".join(source))

    def _encoders(self, record: VideoRecord) -> Encoders | None:
        """Add the id of the text features to the record's encoders."""
        encoders = record.encoders
        if self.text_features is None:
            return encoders
        if encoders is None:
            # A rate has to be named with an encoder; it is what the frames' own times show.
            encoders = Encoders(UNKNOWN, "", rate_of(record.frame_times_s))
        if encoders.text not in ("", self.text_encoder):
            raise InputError(
                f"{self.text_features}: expected text features by {encoders.text!r} like the group's, "
                f"found {self.text_encoder!r}. Give --text-encoder {encoders.text} if it made them"
            )
        return replace(encoders, text=self.text_encoder)

    def _row_id(self, names: Sequence[str]) -> str | None:
        if self.text_features is None:
            return None
        found = outlines(self.text_features, names)
        return next((name for name in names if found[name].kind), None)

    def _rows(self, names: Sequence[str]) -> np.ndarray:
        """Read text features (M, Dt); M is 0 where there are none."""
        path, name = self.text_features, self._row_id(names)
        if path is None or name is None:
            return np.zeros((0, 0), np.float32)
        width = _width(path, changed_ns(path))

        def load(member: Member) -> np.ndarray:
            return read_features(member, width) if member.array().size else np.zeros((0, width), np.float32)

        return load_video(path, name, load, "Dataset", arrays=[""])

    def _caption(self, names: Sequence[str]) -> tuple[str, Any] | None:
        """Find the captions of a video with these names.

        Returns:
            "FILE, id NAME" and the subtitle file or entry of the JSON file; None where there is none.
        """
        index = {} if self.captions is None else _index(self.captions)
        return next(((f"{self.captions}, id {name}", index[name]) for name in names if name in index), None)


def names_of(group: Member, rated: RatedVideo | None) -> list[str]:
    """List what files with texts may call a video.

    That is the name of its group, video_name (SumMe) and the YouTube id; the first counts.
    """
    return [group.name, *told_name(group), *([rated.video_id] if rated else [])]


def told_name(group: Member) -> list[str]:
    """Read the group's `video_name`; none where it is no single text."""
    try:
        told = group.strings(VIDEO_NAME) if VIDEO_NAME in group else []
    except H5Error:
        raise
    except ValueError:  # it is no text
        told = []
    return told if len(told) == 1 else []


@lru_cache(maxsize=4)
def _width(path: Path, changed_ns: int) -> int:
    """Read the width of the file's first rows, 0 without rows.

    All others must have it.
    """
    return (first_shape(path) or (0, 0))[1]


def _index(captions: Path) -> Mapping[str, Any]:
    """Map each id to its subtitle file or JSON entry."""
    if captions.is_dir():
        return {path.stem: path for suffix in reversed(SUBTITLES) for path in captions.glob(f"*{suffix}")}
    return cached_json_object(captions)


def _sentences(where: str, entry: Any) -> list[Sentence]:
    """Read sentences of a subtitle file or of an entry.

    An entry is {"timestamps": [[start_s, end_s], ...], "sentences": [...]}, or {"sample_meta": {"total_frames", "fps"},
    "captions": [{"start_mmss": "0:32", "end_mmss", "caption"}, ...]} as vision-language models' are published. Their
    order stays.
    """
    if isinstance(entry, Path):
        return read_subtitles(entry)
    try:
        if "captions" in entry:
            told = entry["sample_meta"]
            end_s = told["total_frames"] / told["fps"]  # the last of equal spans may begin behind it
            spans = [
                (_seconds(one["start_mmss"]), _seconds(one["end_mmss"]), one["caption"]) for one in entry["captions"]
            ]
            return [Sentence(" ".join(text.split()), *span_s) for *span_s, text in spans if span_s[0] < end_s]
        times, texts = entry["timestamps"], entry["sentences"]
        if len(times) != len(texts):
            raise InputError(f"{len(times)} timestamps, {len(texts)} sentences")
        pairs = zip(times, texts, strict=True)
        return [Sentence(" ".join(text.split()), float(start_s), float(end_s)) for (start_s, end_s), text in pairs]
    except (TypeError, KeyError, ValueError, AttributeError, ArithmeticError) as error:
        expected = "timestamps [[start_s, end_s], ...] and as many strings under sentences, or sample_meta and captions"
        raise InputError(f"{where}: expected {expected}, found {error!r}. Write them so.") from None


def _seconds(mmss: str) -> float:
    minutes, seconds = mmss.split(":")
    return 60 * float(minutes) + float(seconds)


def cut_sentences(sentences: Sequence[Sentence], duration_s: float, where: str) -> tuple[Sentence, ...]:
    """Cut the sentences at the end of the video.

    Raises:
        ValueError: One is no stretch of time that begins within it.
    """
    for s in sentences:
        if not (0 <= s.start_s <= s.end_s and s.start_s < duration_s):
            raise InputError(
                f"{where}: expected 0 <= start <= end and start < {duration_s:.2f} s, the video's length, "
                f"found {s.start_s:.2f} to {s.end_s:.2f} s: {s.text!r}. Remove it."
            )
    return tuple(replace(s, end_s=min(s.end_s, duration_s)) for s in sentences)


def positional_spans(num_frames: int, num_texts: int) -> np.ndarray:
    """Spread M texts over N frames by their position.

    Each has c = ceil(N / M) frames until there are none left. This is how A2Summ aligns TVSum and SumMe; not given in
    the paper. Needs at least one text.

    Returns:
        (M, 2) [start, end).
    """
    # c = ceil(N / M): 10 frames and 4 texts give [0, 3), [3, 6), [6, 9), [9, 10).
    step = -(-num_frames // num_texts)
    return np.minimum(np.arange(num_texts)[:, None] * step + [0, step], num_frames)


def _spread(num_texts: int, record: VideoRecord) -> tuple[Sentence, ...]:
    """Make sentences without words that cover `positional_spans`.

    Those without frames have no time, at the last frame.
    """
    # (N + 1,): a frame's turn ends where the next one's begins, the last one's with the video.
    edges_s, last = np.append(record.frame_times_s, record.duration_s), len(record.frame_times_s) - 1
    spans = positional_spans(len(record.frame_times_s), num_texts)
    spans = np.where(spans[:, :1] < spans[:, 1:], spans, last)
    return tuple(Sentence("", start_s, end_s) for start_s, end_s in edges_s[spans].tolist())


def with_sentence_labels(record: VideoRecord) -> VideoRecord:
    """Label the record's sentences by its frame labels.

    A sentence is 1 iff any frame of its span is (A2Summ's rule), -100 without frames.
    """
    if record.frame_labels is None or not record.sentences:
        return record
    spans = times_to_spans(record.frame_times_s, sentence_times_s(record.sentences))
    return replace(record, sentence_labels=sentence_labels_from_frames(record.frame_labels, spans))
