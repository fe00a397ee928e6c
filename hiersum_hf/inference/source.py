"""One video, however it is given: a file, an open file, bytes, frames or features; its texts are read first.

Letters: N sampled frames, M sentences, K description texts.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from io import BytesIO, TextIOBase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hiersum_hf.features.cache import FrameSettings, frame_features
from hiersum_hf.features.video_encoder import VideoEncoder
from hiersum_hf.inference.scorer import Scorer
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.modeling.inputs_hiersum import check_given, known_features
from hiersum_hf.records import Encoders, Sentence, VideoRecord
from hiersum_hf.summary.key_shots import frame_edges
from hiersum_hf.texts.find import read_texts
from hiersum_hf.texts.subtitles import as_description, fit_to_video, subtitles_and_notes
from hiersum_hf.video.cuts import CutFinder, find_cuts
from hiersum_hf.video.reader import TOLERANCE_S, VideoFile
from hiersum_hf.video.stills import Glances, Sound, heard


@dataclass(frozen=True, eq=False)
class Encoded:
    """A video whose frames and texts have features.

    Args:
        record: Features, texts that the scorer reads, length.
        notes: What the reader of a summary should know.
        glances: What the pictures show; None where they are not known.
        heard: (N,) whether there is sound at each frame; None where that is not known or not needed.
        cuts_s: (C,) times where shots begin; None: shots follow from the features.
    """

    record: VideoRecord
    notes: tuple[str, ...] = ()
    glances: Glances | None = None
    heard: np.ndarray | None = None
    cuts_s: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """One video, its texts read and checked, nothing decoded; made by `open_source`.

    Args:
        scorer: Names the encoders that `encode` uses.
        video_id: Path, or the name it was given.
        duration_s: Length of the video.
        sentences: The M subtitle sentences, also where the scorer reads no text.
        description: The K texts about the whole video; () where the scorer reads no text.
        notes: What the reader of a summary should know.
        file, frames, features: One of these: the file; the sampled frames, (time_s, image) each; features computed
            earlier, as `HierSumFeatureExtractor` takes them.
        folder: Where the copy of an open file lies until it is encoded.
    """

    scorer: Scorer
    video_id: str
    duration_s: float
    sentences: tuple[Sentence, ...]
    description: tuple[str, ...]
    notes: tuple[str, ...]
    file: VideoFile | None = None
    frames: Sequence[tuple[float, np.ndarray]] = ()
    features: Mapping[str, np.ndarray] | None = None
    folder: TemporaryDirectory[str] | None = None

    @property
    def has_description(self) -> bool:
        """Whether the parent level has something to read."""
        return bool(self.description) or len((self.features or {}).get("description_features", ())) > 0

    def encode(
        self,
        batch_size: int = 16,
        cache: str | Path | None = None,
        shots: str = "kts",
        tell: Callable[[float], None] | None = None,
        load: Callable[[], VideoEncoder] | None = None,
    ) -> Encoded:
        """Compute the features that are not there, decoding the video once.

        Args:
            batch_size: Frames encoded together.
            cache: Folder of features, as `hiersum_hf.features.cache` keeps them; default: none.
            shots: "kts" = where the features change, "cuts" = where the picture changes abruptly (see `CutFinder`).
            tell: As `VideoEncoder.encode_stream` takes it.
            load: Gives the frame encoder, while the first frames of a file are decoded; default: the scorer's.

        Raises:
            ImportError: Cuts are asked for and their detector is not installed.
            HierSumError: No frame can be decoded, an encoder cannot be loaded, or cuts are asked for of what is no
                file; names the video or the encoder.
        """
        if shots == "cuts" and self.file is None:
            raise InputError(f"{self.video_id}: shots: expected 'kts', as this is no video file, found 'cuts'")
        if shots == "cuts" and self.scorer.fast:
            raise InputError(f"{self.video_id}: shots: expected 'kts' with fast: cuts need every frame; found 'cuts'")
        load = load or (lambda: self.scorer.video_encoder)
        if self.features is not None:
            found, glances = dict(self.features), None
        elif self.file is None:
            glances = Glances()
            features, times_s = load().encode_stream(glances.watch(self.frames), batch_size, tell=tell)
            found = {"video_features": features, "frame_times_s": times_s}
        else:
            return self._encode_file(self.file, load, batch_size, cache, shots == "cuts", tell)
        return Encoded(self._record(found, self.duration_s), self.notes, glances)

    def _encode_file(
        self,
        file: VideoFile,
        load: Callable[[], VideoEncoder],
        batch_size: int,
        cache: str | Path | None,
        cut: bool,
        tell: Callable[[float], None] | None,
    ) -> Encoded:
        extractor, scorer = self.scorer.extractor, self.scorer
        settings = FrameSettings(extractor.video_encoder, extractor.sample_fps, scorer.dtype, scorer.fast)
        total = math.ceil(self.duration_s * extractor.sample_fps)
        cuts, sound = CutFinder() if cut else None, None if self.sentences else Sound()
        watch, listen = cuts.watch if cuts else None, sound.hear if sound else None
        with file, self._named():
            listed = self.folder is None  # a copy of an open file goes
            frames = frame_features(file, settings, load, cache, batch_size, total, watch, listen, tell, listed)
            end_s = min(self.duration_s, frames.end_s)  # less where the pictures end too early
            edges_s = frame_edges(frames.times_s, end_s)
            if frames.found:  # in the cache: the file was not read
                cuts_s = find_cuts(file) if cut else None
                loud = heard(file, edges_s) if sound and frames.glances else None
            else:
                cuts_s, loud = cuts.cuts_s if cuts else None, sound.at(edges_s) if sound else None
        if self.folder is not None:
            self.folder.cleanup()
        notes = [*self.notes, *(self._known(note) for note in frames.warnings)]
        if cuts_s is not None:
            notes.append(f"Shots begin where the picture changes abruptly (cuts found: {len(cuts_s)}).")
        found = {"video_features": frames.features, "frame_times_s": frames.times_s}
        return Encoded(self._record(found, end_s), tuple(notes), frames.glances, loud, cuts_s)

    def _record(self, found: Mapping[str, np.ndarray], duration_s: float) -> VideoRecord:
        """Make the record of frame features; texts that have no features get them."""
        extractor = self.scorer.extractor
        read, nothing = self.sentences if extractor.text_encoder else (), np.zeros((0, extractor.text_dim), np.float32)
        texts = {"text_features": [s.text for s in read], "description_features": [*self.description]}
        features: dict[str, Any] = {
            key: self.scorer.text_encoder.encode(lines) if lines else nothing
            for key, lines in texts.items()
            if key not in found
        }
        features |= found
        last_s = found["frame_times_s"][-1]  # what is said after the last sampled frame belongs to it
        return VideoRecord(
            self.video_id,
            duration_s=duration_s,
            encoders=Encoders(
                extractor.video_encoder, extractor.text_encoder, extractor.sample_fps, extractor.normalization
            ),
            sentences=tuple(replace(s, start_s=min(s.start_s, last_s)) for s in read),
            description=self.description,
            **features,
        )

    def _named(self) -> Any:
        return without_folder(self.folder.name) if self.folder else nullcontext()

    def _known(self, note: str) -> str:
        return _relative(note, self.folder.name) if self.folder else note


def open_source(
    scorer: Scorer,
    given: Mapping[str, Any],
    language: str | None = None,
    transcribe: str | None = None,
    listen: bool = True,
    subtitle_encoding: str | None = None,
) -> Source:
    """Open a video, read its texts and refuse what cannot work.

    Nothing is decoded.

    Args:
        scorer: What will score it.
        given: One video as `HierSumPipeline.__call__` takes it, as a dict with `video` or `video_features`.
        language: Of the subtitles of a file, as `read_texts` takes it.
        transcribe: As `read_texts` takes it.
        listen: As `read_texts` takes it.
        subtitle_encoding: Of a subtitle file, as `read_subtitles` takes it; default: told or guessed by its bytes.

    Raises:
        FileNotFoundError: A file is missing.
        HierSumError: An unreadable file, frames or features of a wrong shape or of another encoder, subtitles of
            another video.
    """
    given = {key: value for key, value in given.items() if value is not None}
    check_given(scorer.extractor, given, with_package=True)
    asked, video = (language, transcribe, scorer.device, listen, subtitle_encoding), given.get("video")
    if "video_features" in given:
        source = _of_features(scorer, given, subtitle_encoding)
    elif isinstance(video, str | os.PathLike):
        source = _of_file(scorer, given, Path(video), asked)
    elif isinstance(video, bytes) or hasattr(video, "read"):
        folder = TemporaryDirectory(prefix="hiersum-")
        with without_folder(folder.name):
            copy = _copy(BytesIO(video) if isinstance(video, bytes) else video, Path(folder.name))
            source = _of_file(scorer, given, copy, asked)
        source = replace(source, notes=tuple(_relative(note, folder.name) for note in source.notes), folder=folder)
    else:
        source = _of_frames(scorer, given, video, subtitle_encoding)
    if scorer.extractor.text_encoder or not (source.sentences or source.has_description):
        return source
    note = "The checkpoint was trained without text: subtitles and description are not read."
    return replace(source, description=(), notes=(*source.notes, note))


def _of_file(scorer: Scorer, given: Mapping[str, Any], path: Path, asked: tuple[Any, ...]) -> Source:
    scorer.refuse_frames()
    file = VideoFile(path)
    duration_s = file.info.duration_s
    sentences, description, notes = read_texts(
        file, duration_s, given.get("subtitles"), given.get("description"), *asked
    )
    name = str(given.get("video_id", path))
    return Source(scorer, name, duration_s, sentences, description, tuple(notes), file=file)


def _of_frames(scorer: Scorer, given: Mapping[str, Any], video: Any, encoding: str | None) -> Source:
    scorer.refuse_frames()
    name, fps = str(given.get("video_id", "video")), scorer.extractor.sample_fps
    times_s, images = _decoded(name, video, given.get("fps"))
    duration_s = _length_s(given, times_s, given.get("fps") or fps)
    # The first frame at or after 0, 1 / fps, 2 / fps, ..., as `iter_frames` takes them from a file
    first = np.unique(np.floor((times_s + TOLERANCE_S) * fps), return_index=True)[1]
    frames = [(float(times_s[i]), images[i]) for i in first]
    texts = _texts(name, given, duration_s, encoding)
    return Source(scorer, name, duration_s, *texts, frames=frames)


def _of_features(scorer: Scorer, given: Mapping[str, Any], encoding: str | None) -> Source:
    name = str(given.get("video_id", "video"))
    features = {key: _array(rows) for key, rows in known_features(scorer.extractor, given).items()}
    if not len(features["frame_times_s"]):
        raise InputError(f"{name}: expected at least one row of video_features with its time, found none.")
    duration_s = _length_s(given, features["frame_times_s"], scorer.extractor.sample_fps)
    texts = _texts(name, given, duration_s, encoding)
    features.pop("text_times_s", None)  # they are in the sentences now
    return Source(scorer, name, duration_s, *texts, features=features)


@contextmanager
def without_folder(folder: str | Path) -> Iterator[None]:
    """Name files in a folder that its user does not know by their bare names in errors."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(_relative(str(error), folder)) from error


def _relative(text: str, folder: str | Path) -> str:
    return text.replace(f"{folder}{os.sep}", "")


def _array(rows: Any) -> np.ndarray:
    """Return rows from any device as an array."""
    return rows.detach().float().cpu().numpy() if hasattr(rows, "detach") else np.asarray(rows)


def _copy(file: Any, folder: Path) -> Path:
    """Write an open file to the folder under its own name."""
    if isinstance(file, TextIOBase):
        raise InputError(f"{file!r}: expected a video file opened in binary mode, found text mode.")
    name = getattr(file, "name", None)
    path = folder / ((Path(name).name if isinstance(name, str) else "") or "video")
    with path.open("wb") as copy:
        shutil.copyfileobj(file, copy)
    return path


def _decoded(name: str, video: Any, fps: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return times (N,) and images (N, H, W, 3) of frames with their times or their rate."""
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
    """Return the length given; else the last frame lasts as long as the others on average."""
    period_s = float(np.diff(times_s).mean()) if len(times_s) > 1 else 1 / fps
    return float(given.get("duration_s", times_s[-1] + period_s))


def _texts(
    name: str, given: Mapping[str, Any], duration_s: float, encoding: str | None
) -> tuple[tuple[Sentence, ...], tuple[str, ...], tuple[str, ...]]:
    """Return sentences, description and notes of frames or features.

    There is one sentence for each row of text features.
    """
    found, read_as = subtitles_and_notes(given.get("subtitles", ()), encoding)
    description = as_description(given["description"]) if given.get("description") else ()
    if "text_features" not in given:
        sentences, notes = fit_to_video(found, duration_s, f"the subtitles of {name}")
        notes = notes if sentences else ["No subtitles: judged without what is said."]
        return sentences, description, (*read_as, *notes)
    times_s = np.asarray(given.get("text_times_s", ()), np.float64)
    found = found or [Sentence("", *pair) for pair in (times_s.tolist() if times_s.shape[1:] == (2,) else ())]
    if len(found) != len(given["text_features"]):
        rows = f"each of {len(given['text_features'])} rows of text_features"
        raise InputError(f"{name}: expected subtitles or text_times_s for {rows}, found {len(found)}.")
    return tuple(found), description, tuple(read_as)
