"""What the pipeline is given of a video: a file, an open file, decoded frames or features -> features -> summary.

Letters: N frames, M sentences. A checkpoint's own copy of `pipeline_hiersum.py` calls `InputReader`, its `open`, and
the methods of what that returns: they keep their names and arguments.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from io import TextIOBase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from hiersum_hf.inference.summarize import ScoredVideo, Scorer, ask, encode_video, refuse_other_features
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.modeling.pipeline_hiersum import known_features
from hiersum_hf.records import Encoders, Sentence, Summary, VideoRecord
from hiersum_hf.scoring.topics import checked_queries
from hiersum_hf.summary.key_shots import frame_edges
from hiersum_hf.summary.selection import IMPORTANCE, MIN_SEGMENT_S, Selection
from hiersum_hf.texts.find import read_texts
from hiersum_hf.texts.subtitles import as_description, as_sentences, fit_to_video
from hiersum_hf.timeline import parse_budget, parse_spans
from hiersum_hf.video.reader import TOLERANCE_S, probe
from hiersum_hf.video.stills import Glances, heard


class InputReader:
    """Opens videos for one checkpoint; its encoders are loaded when first needed, and stay.

    Args:
        network, extractor: Of the checkpoint.
        device: Of network and encoders.
    """

    def __init__(self, network: HierSumModel, extractor: HierSumFeatureExtractor, device: str):
        self.scorer = Scorer(extractor, network, network.name_or_path or None, device=device)

    def open(self, given: Mapping[str, Any], budget: str | float = "0.15") -> VideoInputs:
        """Reads what is cheap to read of a video and refuses what cannot work, before anything is decoded.

        Args:
            given: One video as `HierSumPipeline.__call__` takes it, as a dict with `video` or `video_features`, and
                how to choose: `query`, `selection`, `min_segment`, `keep`, `skip`.
            budget: 0.15 = 15 % of the video, "60s" = one minute.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: An unreadable file, frames or features of a wrong shape, subtitles of another video.
        """
        parse_budget(budget)
        queries, selection = checked_queries(given.get("query")), selection_of(given)
        video = given.get("video")
        if "video_features" in given:
            opened = self._features(given)
        elif isinstance(video, str | os.PathLike):
            opened = self._file(given, Path(video))
        elif hasattr(video, "read"):
            folder = TemporaryDirectory(prefix="hiersum-")
            with without_folder(folder.name):
                opened = self._file(given, _copy(video, Path(folder.name)))
            opened = replace(opened, notes=[_relative(note, folder.name) for note in opened.notes], folder=folder)
        else:
            opened = self._frames(given, video)
        opened = replace(opened, budget=str(budget), queries=queries, selection=selection)
        if self.scorer.extractor.text_encoder or not (opened.sentences or opened.has_description):
            return opened
        note = "The checkpoint was trained without text: subtitles and description are not read."
        return replace(opened, description=(), notes=[*opened.notes, note])

    def _file(self, given: Mapping[str, Any], path: Path) -> VideoInputs:
        refuse_other_features(self.scorer.checkpoint or "", self.scorer.extractor)
        duration_s = probe(path).duration_s
        sentences, description, notes = read_texts(path, duration_s, given.get("subtitles"), given.get("description"))
        name = str(given.get("video_id", path))
        return VideoInputs(self.scorer, name, duration_s, sentences, description, notes, path=path)

    def _frames(self, given: Mapping[str, Any], video: Any) -> VideoInputs:
        refuse_other_features(self.scorer.checkpoint or "", self.scorer.extractor)
        name, fps = str(given.get("video_id", "video")), self.scorer.extractor.sample_fps
        times_s, images = _decoded(name, video, given.get("fps"))
        duration_s = _length_s(given, times_s, given.get("fps") or fps)
        # The first frame at or after 0, 1 / fps, 2 / fps, ..., as `iter_frames` takes them from a file
        first = np.unique(np.floor((times_s + TOLERANCE_S) * fps), return_index=True)[1]
        texts = _texts(name, given, duration_s)
        return VideoInputs(
            self.scorer, name, duration_s, *texts, frames=[(float(times_s[i]), images[i]) for i in first]
        )

    def _features(self, given: Mapping[str, Any]) -> VideoInputs:
        name, extractor = str(given.get("video_id", "video")), self.scorer.extractor
        features = {key: _array(rows) for key, rows in known_features(extractor, given).items()}
        if not len(features["frame_times_s"]):
            raise InputError(f"{name}: expected at least one row of video_features with its time, found none.")
        duration_s = _length_s(given, features["frame_times_s"], extractor.sample_fps)
        return VideoInputs(self.scorer, name, duration_s, *_texts(name, given, duration_s), features=features)


@dataclass(eq=False)
class VideoInputs:
    """One video, its texts read and checked, nothing decoded; made by `InputReader`.

    Args:
        scorer: The checkpoint and its encoders.
        video_id: Path, or the name it was given.
        duration_s: Length of the video.
        sentences: The M subtitle sentences.
        description: Texts about the whole video.
        notes: What the reader of the summary should know.
        path, frames, features: One of these: the file; the sampled frames, (time_s, image) each; features computed
            earlier, as `HierSumFeatureExtractor` takes them.
        budget: Length of the summary.
        folder: Where the copy of an open file lies until it is encoded.
        queries, selection: What the summary shall be about, and how it is chosen.
        glances, heard: What the pictures show and where there is sound, known once it is encoded.
    """

    scorer: Scorer
    video_id: str
    duration_s: float
    sentences: tuple[Sentence, ...]
    description: tuple[str, ...]
    notes: list[str]
    path: Path | None = None
    frames: Sequence[tuple[float, np.ndarray]] = ()
    features: Mapping[str, np.ndarray] | None = None
    budget: str = "0.15"
    folder: TemporaryDirectory | None = None
    queries: tuple[str, ...] = ()
    selection: Selection = field(default_factory=Selection)
    glances: Glances | None = None
    heard: np.ndarray | None = None

    @property
    def has_description(self) -> bool:
        return bool(self.description) or len((self.features or {}).get("description_features", ())) > 0

    def encode(self) -> dict[str, np.ndarray]:
        """Features as `HierSumFeatureExtractor` takes them: those given, and the rest computed.

        Raises:
            ValueError: No frame can be decoded, or an encoder cannot be loaded; names the video or the encoder.
        """
        read = self.sentences if self.scorer.extractor.text_encoder else ()
        if self.path is not None:
            copied = self.folder.name if self.folder else None
            with without_folder(copied) if copied else nullcontext():
                record, self.glances = encode_video(
                    self.path, self.scorer, read, self.description, self.duration_s, warnings=self.notes
                )
                if self.glances is not None and not self.sentences:
                    self.heard = heard(self.path, frame_edges(record.frame_times_s, record.duration_s))
            self.notes[:] = [_relative(note, copied) if copied else note for note in self.notes]
            names = ("video_features", "frame_times_s", "text_features", "description_features")
            found = {name: getattr(record, name) for name in names}
            self.duration_s = record.duration_s  # less where the pictures end too early
            if self.folder is not None:
                self.folder.cleanup()
        elif self.features is not None:
            found = dict(self.features)
        else:
            self.glances = Glances()
            features, times_s = self.scorer.video_encoder.encode_stream(self.glances.watch(self.frames))
            found = {"video_features": features, "frame_times_s": times_s}
        for key, texts in (("text_features", [s.text for s in read]), ("description_features", [*self.description])):
            if key not in found and texts:
                found[key] = self.scorer.text_encoder.encode(texts)
        last_s = found["frame_times_s"][-1]  # what is said after the last sampled frame belongs to it
        found["text_times_s"] = np.array([(min(s.start_s, last_s), s.end_s) for s in read]).reshape(-1, 2)
        return found

    def summarize(
        self, features: Mapping[str, np.ndarray], result: Mapping[str, np.ndarray], level: str, notes: Sequence[str]
    ) -> Summary:
        """The summary, from what `encode` gave and the network's `scores` (N,) and `sentence_scores` (M,) or (0,)."""
        extractor, nothing = self.scorer.extractor, np.zeros((0, self.scorer.extractor.text_dim), np.float32)
        record = VideoRecord(
            self.video_id,
            features["video_features"],
            features["frame_times_s"],
            self.duration_s,
            encoders=Encoders(extractor.video_encoder, extractor.text_encoder, extractor.sample_fps),
            sentences=self.sentences if "text_features" in features else (),
            text_features=features.get("text_features", nothing),
            description=self.description,
            description_features=features.get("description_features", nothing),
        )
        spoken = result["sentence_scores"] if len(result["sentence_scores"]) else None
        scored = ScoredVideo(
            record,
            result["scores"],
            spoken,
            self.sentences,
            self.scorer,
            level,
            (*self.notes, *notes),
            glances=self.glances,
            heard=self.heard,
        )
        return ask(scored, self.queries).summarize(self.budget, self.selection)


def selection_of(given: Mapping[str, Any]) -> Selection:
    """How to choose, by `selection`, `min_segment`, `keep` and `skip` of what was given."""
    return Selection(
        rule=given.get("selection", IMPORTANCE),
        min_segment_s=float(given.get("min_segment", MIN_SEGMENT_S)),
        keep=parse_spans(given.get("keep"), "keep"),
        skip=parse_spans(given.get("skip"), "skip"),
    )


@contextmanager
def without_folder(folder: str | Path) -> Iterator[None]:
    """Names files in a folder that its user does not know by their bare names in what is raised."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(_relative(str(error), folder)) from error


def _relative(text: str, folder: str | Path) -> str:
    return text.replace(f"{folder}{os.sep}", "")


def _array(rows: Any) -> np.ndarray:
    """Rows from any device as an array."""
    return rows.detach().float().cpu().numpy() if isinstance(rows, torch.Tensor) else np.asarray(rows)


def _copy(file: Any, folder: Path) -> Path:
    """An open file, written to the folder under its own name."""
    if isinstance(file, TextIOBase):
        raise InputError(f"{file!r}: expected a video file opened in binary mode, found text mode.")
    name = getattr(file, "name", None)
    path = folder / ((Path(name).name if isinstance(name, str) else "") or "video")
    with path.open("wb") as copy:
        shutil.copyfileobj(file, copy)
    return path


def _decoded(name: str, video: Any, fps: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) and images (N, H, W, 3) of `(times_s, frames)`, or of `frames` with their rate."""
    if isinstance(video, tuple) and len(video) == 2 and fps is None:
        times_s, images = np.asarray(video[0], np.float64), np.asarray(video[1])
    elif hasattr(video, "shape") and fps is not None and fps > 0:
        times_s, images = np.arange(len(video)) / fps, np.asarray(video)
    else:
        expected = "a path, an open file, (times_s, frames), or an array of frames with fps"
        raise InputError(f"{name}: expected {expected}; found {type(video).__name__} and fps {fps}.")
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise InputError(f"{name}: expected frames uint8 (N, H, W, 3), found {images.dtype} {images.shape}.")
    if times_s.shape != (len(images),) or times_s[0] < 0 or not (np.diff(times_s) > 0).all():
        raise InputError(f"{name}: expected {len(images)} ascending times from 0 on, one a frame; found {times_s}.")
    return times_s, images


def _length_s(given: Mapping[str, Any], times_s: np.ndarray, fps: float) -> float:
    """The length given; else the last frame lasts as long as the others do on average."""
    period_s = float(np.diff(times_s).mean()) if len(times_s) > 1 else 1 / fps
    return float(given.get("duration_s", times_s[-1] + period_s))


def _texts(
    name: str, given: Mapping[str, Any], duration_s: float
) -> tuple[tuple[Sentence, ...], tuple[str, ...], list[str]]:
    """Sentences, description and notes of frames or features; there is one sentence for each row of text features."""
    found = as_sentences(given.get("subtitles", ()))
    description = as_description(given["description"]) if given.get("description") else ()
    if "text_features" not in given:
        sentences, notes = fit_to_video(found, duration_s, f"the subtitles of {name}")
        return sentences, description, notes if sentences else ["No subtitles: judged without what is said."]
    times_s = np.asarray(given.get("text_times_s", ()), np.float64)
    found = found or [Sentence("", *pair) for pair in (times_s.tolist() if times_s.shape[1:] == (2,) else ())]
    if len(found) != len(given["text_features"]):
        rows = f"each of {len(given['text_features'])} rows of text_features"
        raise InputError(f"{name}: expected subtitles or text_times_s for {rows}, found {len(found)}.")
    return tuple(found), description, []
