"""Read a folder of one's own videos with side files.

    NAME.mp4                          or any other video suffix; may be missing where NAME.npz has the features
    NAME.srt, NAME.LANG.vtt, ...      subtitles (`texts.find.SUBTITLES`); none: the video's first text track
    NAME.txt, .json or .description   texts about the whole video, as `subtitles.read_description` reads them
    NAME.csv                          labels: header start_s,end_s,score, one stretch a row, scores in [0, 1]
    NAME.npz                          features made elsewhere: video_features (N, Dv), frame_times_s (N,), sample_fps,
                                      video_encoder; perhaps duration_s, normalization, text_encoder,
                                      text_features (M, Dt), description_features (K, Dt)

Only the video or its features are needed. Letters: N sampled frames, M sentences, K description texts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.readers.side_files import NPZ_TEXTS, read_features, read_segments, score_segments
from hiersum_hf.features.text_encoder import default_extractor
from hiersum_hf.labels import threshold_labels
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Encoders, Sentence, VideoRecord
from hiersum_hf.texts.find import SIDE_FILES, companion, fuller_texts, nothing_fuller, side_files
from hiersum_hf.texts.subtitles import read_description, subtitles_and_notes
from hiersum_hf.video.reader import VIDEO_SUFFIXES


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderReader:
    """Read such a folder.

    Video ids are the NAMEs, sorted. Features that no .npz has are computed by `read`.

    Args:
        path: The folder; its subfolders are not read.
        video_encoder, text_encoder: Ids for `hiersum_hf.features.video_encoder` and `hiersum_hf.features.text_encoder`;
            default: those of `hiersum summarize`.
        sample_fps: Frames a second to encode.
        threshold: A frame is important iff its score reaches this (not given in the paper).
        language: Taken where there are subtitles in several languages; where it is missing, the first by name.
        device: Torch device of the encoders.
        cache: Folder of frame features (`hiersum extract`), read and added to; None: nothing is kept.
        subtitle_encoding: Of the subtitle files; None: UTF-8, else a guess, which is logged.
        runtime: What computes the frame encoder, as `load_video_encoder` takes it.
    """

    path: str | Path
    video_encoder: str = field(default_factory=lambda: str(default_extractor().video_encoder))
    text_encoder: str = field(default_factory=lambda: str(default_extractor().text_encoder))
    sample_fps: float = 2.0
    threshold: float = 0.5
    language: str = "en"
    device: str = "cpu"
    cache: str | Path | None = field(default=None, repr=False)  # what is read does not depend on it
    subtitle_encoding: str | None = None
    runtime: str | None = field(default=None, repr=False)  # nor on this

    @property
    def video_ids(self) -> list[str]:
        """Names of the videos.

        Raises:
            FileNotFoundError: There is no such folder.
            ValueError: Two videos have one name.
        """
        return sorted(self._files())

    @property
    def splits(self) -> dict[str, list[str]]:
        return {}

    @property
    def findings(self) -> dict[str, list[str]]:
        """Videos that lack a part, those that do not open, and files that are of no video.

        The parts are subtitles (in a file or in the video), description and labels.
        """
        kinds = ("without_subtitles", "without_description", "without_labels", "unreadable")
        found: dict[str, list[str]] = {kind: [] for kind in kinds}
        for name in self.video_ids:
            files = self.files(name)
            for part in ("description", "labels"):
                found[f"without_{part}"] += [] if part in files else [name]
            try:
                _duration_s(files, {} if "video" in files else read_features(files["features"]))
                found["without_subtitles"] += [] if self.sentences(name) else [name]
            except ValueError as error:
                found["unreadable"].append(f"{name}: {error}")
        return found | {"passed_over": self._passed_over()}

    def read(self, video_id: str) -> VideoRecord:
        """Read a video with the features, texts and labels that it has.

        Raises:
            ValueError: No such video, a side file or the video is broken, or they do not fit each other; names the
                file.
        """
        files = self.files(video_id)
        record = self.encode(video_id, read_description(files["description"]) if "description" in files else ())
        if "labels" not in files:
            return record
        scores = score_segments(read_segments(files["labels"], record.duration_s), record.frame_times_s)
        return replace(record, frame_scores=scores, frame_labels=threshold_labels(scores, self.threshold))

    def encode(self, video_id: str, description: Sequence[str]) -> VideoRecord:
        """Read a video with its subtitles and these description texts.

        All come with features, without scores and labels.
        """
        files = self.files(video_id)
        stored = read_features(files["features"]) if "features" in files else {}
        duration_s = _duration_s(files, stored)
        source = files.get("video", files.get("features"))
        sentences = _cut(self.sentences(video_id), duration_s, f"{files.get('subtitles', source)}")
        stored = stored or self._encode_frames(files["video"])
        texts: dict[str, Any] = self._text_features(stored, sentences, description, files.get("features"))
        # Where text features are stored their encoder counts, even if some texts have none yet.
        text_encoder = stored.get("text_encoder", "") if NPZ_TEXTS & stored.keys() else self.text_encoder
        encoders = Encoders(
            stored["video_encoder"],
            text_encoder if any(map(len, texts.values())) else "",
            stored["sample_fps"],
            stored.get("normalization", "none"),
        )
        return VideoRecord(
            video_id=video_id,
            video_features=stored["video_features"],
            frame_times_s=stored["frame_times_s"],
            duration_s=duration_s,
            encoders=encoders,
            sentences=sentences,
            description=tuple(description),
            source=str(source),
            **texts,
        )

    def sentences(self, video_id: str) -> list[Sentence]:
        """Read the subtitle file, else the video's text track.

        The track comes first where it holds far more than a file of foreign lines or signs alone.
        """
        from hiersum_hf.texts.tracks import embedded_subtitles, from_pictures_on
        from hiersum_hf.video.reader import probe

        files = self.files(video_id)
        file, video = files.get("subtitles"), files.get("video")
        if file is None:
            sentences, _, notes = embedded_subtitles(video) if video else ([], "", [])
            return _logged(sentences, notes)
        read = partial(subtitles_and_notes, encoding=self.subtitle_encoding)
        sentences, notes = read(file)
        if video is None:
            return _logged(sentences, notes)
        others = [file, *(other for other in side_files(video).get("subtitles", ()) if other != file)]
        fuller = fuller_texts(video, file, sentences, probe(video).duration_s, others, read)
        sentences, _, is_file, notes = fuller or (sentences, "", True, notes + nothing_fuller(file, video))
        return _logged(from_pictures_on(video, sentences) if is_file else sentences, notes)

    def files(self, video_id: str) -> dict[str, Path]:
        """Find the video's files by kind.

        Kinds are video, features, subtitles, description, labels and info (a downloader's).

        Raises:
            ValueError: There is no such video.
        """
        found = self._files().get(video_id)
        if found is None:
            raise InputError(f"{self.path}: expected a video or features named {video_id}, found none")
        return found

    def _files(self) -> dict[str, dict[str, Path]]:
        path = Path(self.path)
        if not path.is_dir():
            raise FileNotFoundError(f"{self.path}: expected a folder of videos, found no such folder")
        return _index(path, tuple(sorted(os.listdir(path))), self.language)

    def _passed_over(self) -> list[str]:
        """List the files that are neither videos nor companions of one, hidden ones aside."""
        index, path = self._files(), Path(self.path)
        known = {file for files in index.values() for file in files.values()}
        others = [file for file in map(path.joinpath, sorted(os.listdir(path))) if file not in known]
        visible = [file for file in others if not file.name.startswith(".") and file.is_file()]
        return [file.name for file in visible if not companion(file, index)]

    def _encode_frames(self, video: Path) -> dict[str, Any]:
        from hiersum_hf.features.cache import FrameSettings, frame_features

        settings = FrameSettings(self.video_encoder, float(self.sample_fps))
        load = partial(_video_encoder, self.video_encoder, self.device, self.runtime)
        found = frame_features(video, settings, load, self.cache)
        for warning in found.warnings:
            logger.warning(warning)
        names = {"video_encoder": self.video_encoder, "sample_fps": settings.sample_fps}
        return {"video_features": found.features, "frame_times_s": found.times_s} | names

    def _text_features(
        self, stored: dict[str, Any], sentences: Sequence[Sentence], description: Sequence[str], npz: Path | None
    ) -> dict[str, np.ndarray]:
        """Complete the stored text features by the text encoder.

        It must be the encoder that made the stored ones.

        Returns:
            `text_features` and `description_features`, as far as there are texts.

        Raises:
            ValueError: Rows and texts differ in number, or the encoders differ.
        """
        texts = {"text_features": [s.text for s in sentences], "description_features": list(description)}
        features = {key: stored[key] for key in texts if key in stored}
        for key, rows in features.items():
            if len(rows) != len(texts[key]):
                raise InputError(
                    f"{npz}: expected {len(texts[key])} rows of {key}, one for each text, found {len(rows)}. Make "
                    "them anew, or remove them."
                )
        missing = [key for key in texts if key not in features and texts[key]]
        if missing and features and stored["text_encoder"] != self.text_encoder:
            raise InputError(
                f"{npz}: expected {missing[0]} too, or text features by {self.text_encoder!r}, found text features by "
                f"{stored['text_encoder']!r}. --text-encoder names another"
            )
        for key in missing:
            features[key] = _text_encoder(self.text_encoder, self.device).encode(texts[key])
        return features


def _logged(sentences: list[Sentence], notes: Sequence[str]) -> list[Sentence]:
    """Log the notes of sentences."""
    for note in notes:
        logger.warning("%s", note)
    return sentences


def _duration_s(files: dict[str, Path], stored: dict[str, Any]) -> float:
    """Find how long the video is.

    It is as long as stored, else as the video file says, else until the end of the last frame's turn.
    """
    from hiersum_hf.video.reader import probe

    if "duration_s" in stored:
        return float(stored["duration_s"])
    if "video" in files:
        return probe(files["video"]).duration_s
    return float(stored["frame_times_s"][-1] + 1 / stored["sample_fps"])


def _cut(sentences: Sequence[Sentence], duration_s: float, where: str) -> tuple[Sentence, ...]:
    """Cut the sentences at the end of the video.

    Raises:
        ValueError: One only starts there, and so is of another video.
    """
    for s in sentences:
        if s.start_s >= duration_s:
            limit = f"expected sentences within the {duration_s:.2f} s of the video"
            raise InputError(f"{where}: {limit}, found one at {s.start_s:.2f} s: {s.text!r}. Remove it.")
    return tuple(replace(s, end_s=min(s.end_s, duration_s)) for s in sentences)


@lru_cache(maxsize=8)
def _index(path: Path, listing: tuple[str, ...], language: str) -> dict[str, dict[str, Path]]:
    """Map NAME -> kind -> file, anew when files came or went."""
    listed = [path / name for name in listing if not name.startswith(".") and (path / name).is_file()]
    index: dict[str, dict[str, Path]] = {}
    for file in listed:
        kind = "video" if file.suffix.lower() in VIDEO_SUFFIXES else "features"
        if kind == "video" or file.suffix == ".npz":
            known = index.setdefault(file.stem, {}).setdefault(kind, file)
            if known != file:
                found = f"{known.name} and {file.name}"
                raise InputError(f"{path}: expected one video named {file.stem}, found {found}. Rename one.")
    for _, name, kind, file in sorted(_sides(listed, index, language)):
        index[name].setdefault(kind, file)
    return index


def _sides(
    files: Sequence[Path], names: Container[str], language: str
) -> Iterator[tuple[tuple[int, int], str, str, Path]]:
    """List the side files of videos: rank among files of the kind, NAME, kind and the file.

    Subtitles without a language come first, then LANG, then LANG-REGION, then any other; what holds only signs and the
    like comes last.
    """
    for file in files:
        if found := companion(file, names):
            name, kind, (tag, part) = found
            rank = 0 if not tag else 1 if tag == language else 2 if tag.startswith(f"{language}-") else 3
            yield (rank + 4 * part, list(SIDE_FILES).index(file.suffix.lower())), name, kind, file


@lru_cache(maxsize=1)
def _video_encoder(encoder_id: str, device: str, runtime: str | None) -> Any:
    from hiersum_hf.features.video_encoder import load_video_encoder

    return load_video_encoder(encoder_id, device, runtime=runtime)


@lru_cache(maxsize=1)
def _text_encoder(encoder_id: str, device: str) -> Any:
    from hiersum_hf.features.text_encoder import load_text_encoder

    return load_text_encoder(encoder_id, device)
