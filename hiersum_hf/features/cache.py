"""Features of videos' frames, kept in a folder.

There is one file for a video's content and what its features are made with, on its own or packed with others
(`hiersum_hf.features.shards`).

    CACHE/<content>-<settings>.npz    video_features (N, Dv), frame_times_s (N,), sample_fps, video_encoder,
                                      warnings, end_s, contrast (N,), change (N,)

<content> is a hash of every byte of the video file, <settings> one of the encoder, the sample rate, the precision and
`FEATURE_VERSION`: a renamed video is found again, a changed one is not. Features are kept as the encoder gives them,
not normalised; devices, which differ in the last digits, share them. Such a file is also what
`hiersum_hf.datasets.readers.folder` reads under the name NAME.npz.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hiersum_hf.features.done import done_in
from hiersum_hf.features.shards import BROKEN, holder, open_kept
from hiersum_hf.features.video_encoder import VideoEncoder, batch_ahead, is_out_of_memory
from hiersum_hf.files.atomic import refuse_uri, writing
from hiersum_hf.files.remote import named
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.video.faults import Reading
from hiersum_hf.video.reader import TOLERANCE_S, VideoFile, iter_frames
from hiersum_hf.video.stills import Glances


logger = logging.getLogger(__name__)

GLANCED = ("contrast", "change")
STANDS_S = 5.0  # a picture that stands longer is sampled again and again; not given in the paper
FEATURE_VERSION = 3  # of decoding, sampling and preprocessing here; a new one makes all stored features anew


@dataclass(frozen=True)
class FrameSettings:
    """What features of frames depend on, but for the video.

    That is the encoder id, the frames a second, the precision of the encoder and whether key frames alone are taken.
    """

    video_encoder: str
    sample_fps: float = 2.0
    dtype: str = "float32"
    key_frames: bool = False


class FrameFeatures(NamedTuple):
    """Features (N, Dv) float32 and times (N,) float64 of N sampled frames.

    Args:
        features, times_s: As `VideoEncoder.encode_stream` gives them.
        file: Where they are kept, also the name of those that are packed; None without a cache.
        found: They were there already.
        warnings, end_s: As in `hiersum_hf.video.reader.Reading`.
        glances: What the pictures show; None in files of earlier versions.
    """

    features: np.ndarray
    times_s: np.ndarray
    file: Path | None
    found: bool
    warnings: tuple[str, ...] = ()
    end_s: float = math.inf
    glances: Glances | None = None


def frame_features(
    video: str | Path | VideoFile,
    settings: FrameSettings,
    load: Callable[[], VideoEncoder],
    cache: str | Path | None = None,
    batch_size: int = 16,
    total: int | None = None,
    watch: Callable[[float, Any], None] | None = None,
    listen: Callable[[Any, float], None] | None = None,
    tell: Callable[[float], None] | None = None,
    listed: bool = True,
) -> FrameFeatures:
    """Give the features of a video's frames.

    They come from the cache if they are there, else they are computed and put there.

    Args:
        video: Any file that FFmpeg reads.
        settings: What `load` must fit.
        load: Gives the encoder; called only where it is needed.
        cache: Folder of features, made where it is missing; None: nothing is kept.
        batch_size: Frames encoded together.
        total: As `VideoEncoder.encode_stream` takes it.
        watch: As `iter_frames` takes it; not called for features that are there already.
        listen: As `iter_frames` takes it; not called for features that are there already.
        tell: As `VideoEncoder.encode_stream` takes it.
        listed: Whether the cache lists the video as done (`hiersum_hf.features.done`), so that it is found unread.

    Raises:
        FileNotFoundError: There is no such video.
        ValueError: It cannot be read or takes too much memory, has no frames, or features that are not finite; names
            the video.
    """
    path = video.path if isinstance(video, VideoFile) else video
    refuse_uri(cache or "")
    file, note = (None, lambda _: None) if cache is None else _place(cache, path, settings, listed)
    stored = None if file is None else stored_features(file)
    if stored is not None:
        note(stored)
        return stored
    reading, glances = Reading(), Glances()
    try:
        frames: Any = iter_frames(video, settings.sample_fps, reading, watch, listen, settings.key_frames)
        with closing(frames), batch_ahead(glances.watch(frames), batch_size) as decoded:
            pool = ThreadPoolExecutor(1, thread_name_prefix="load")
            loading = pool.submit(load)
            try:
                first = list(islice(decoded, 1))  # and up to a batch, while the encoder loads
                encoder = loading.result()
            except Exception:
                wait([loading])
                raise
            finally:
                pool.shutdown(wait=False)  # who presses Ctrl-C does not wait
            features, times_s = encoder.encode_decoded(chain(first, decoded), batch_size, total, tell)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        # One image alone did not fit: `encode_stream` halves batches
        raise HierSumError(f"{path}: expected memory to encode it, found too little: {error}") from error
    if not len(features):
        raise HierSumError(f"{path}: expected frames, found none that can be decoded")
    if not np.isfinite(features).all():
        made_by = f"{settings.video_encoder} in {settings.dtype}"
        raise HierSumError(f"{path}: expected finite features, found NaN or infinity by {made_by}")
    features, times_s = _standing(features, times_s, reading.length_s, settings.sample_fps, glances)
    warnings = tuple(map(named, reading.warnings))
    computed = FrameFeatures(features, times_s, file, False, warnings, reading.end_s, glances)
    _store(computed, settings)
    note(computed)
    return computed


def _standing(
    features: np.ndarray, times_s: np.ndarray, length_s: float, sample_fps: float, glances: Glances
) -> tuple[np.ndarray, np.ndarray]:
    """Repeat pictures that stand longer than 5 s at each moment of sampling.

    A still beside a talk is then as many frames as the talk is long, and each sentence has its own.
    """
    ends_s = np.append(times_s[1:], max(length_s, times_s[-1]))
    rows, filled_s = np.arange(len(times_s)), times_s
    for row in np.flatnonzero(ends_s - times_s > STANDS_S):
        first = int((times_s[row] + TOLERANCE_S) * sample_fps) + 1
        again_s = np.arange(first, math.ceil((ends_s[row] - TOLERANCE_S) * sample_fps)) / sample_fps
        rows, filled_s = np.append(rows, np.full(len(again_s), row)), np.append(filled_s, again_s)
    order = np.argsort(filled_s, kind="stable")
    rows, is_new = rows[order], order < len(times_s)
    glances.contrast[:] = np.array(glances.contrast)[rows].tolist()
    glances.change[:] = np.where(is_new, np.array(glances.change)[rows], 0.0).tolist()
    return features[rows], filled_s[order]


def _place(
    cache: str | Path, video: str | Path, settings: FrameSettings, listed: bool
) -> tuple[Path, Callable[[FrameFeatures], None]]:
    """Find the file in which the features belong, by the list of what is done, else by the video's content.

    Returns:
        The file, and what lists the video as done once its features are there.
    """
    done = done_in(cache, settings_name(settings))
    facts = done.facts(Path(video))
    known = done.find(facts)
    file = Path(cache, known.file) if known else feature_file(cache, video, settings)

    def note(frames: FrameFeatures) -> None:
        if listed and not known:
            done.add(facts, file.name, len(frames.times_s), frames.warnings)

    return file, note


def feature_file(cache: str | Path, video: str | Path, settings: FrameSettings) -> Path:
    """Find the file in which the features belong.

    This reads the video once, about a second a gigabyte.

    Raises:
        FileNotFoundError: There is no such video.
    """
    if not Path(video).is_file():
        raise FileNotFoundError(f"{video}: expected a video file, found no such file")
    with Path(video).open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    # <content>-<settings>: 128 and 32 bits of SHA-256, so that two videos hardly share a name
    return Path(cache, f"{content[:32]}-{settings_name(settings)}.npz")


def settings_name(settings: FrameSettings) -> str:
    """Name what features are made with, but for the video, in 8 digits."""
    encoder_id, sample_fps, dtype = settings.video_encoder, float(settings.sample_fps), settings.dtype
    made_with = [FEATURE_VERSION, encoder_id, sample_fps, dtype, _files_of(encoder_id)]
    made_with += ["key frames"] * settings.key_frames
    return hashlib.sha256(json.dumps(made_with).encode()).hexdigest()[:8]


def stored_features(file: Path) -> FrameFeatures | None:
    """Read the features of a file, which may be packed.

    Returns:
        None if there is no such file or, with a warning, if it is broken.
    """
    try:
        source = open_kept(file)
        if source is None:
            return None
        with source, np.load(source, allow_pickle=False) as members:
            features, times_s = members["video_features"], members["frame_times_s"]
            warnings, end_s = tuple(map(str, members["warnings"])), float(members["end_s"])
            glances = Glances(*(members[name].tolist() for name in GLANCED)) if set(GLANCED) <= {*members} else None
        if glances is not None and not len(glances.contrast) == len(glances.change) == len(times_s):
            raise HierSumError(f"{len(glances.contrast)} and {len(glances.change)} glances at {len(times_s)} frames")
        if features.ndim != 2 or times_s.shape != (len(features),) or not len(features):
            raise HierSumError(f"shapes {features.shape} and {times_s.shape}")
    except BROKEN as error:
        shard = holder(file.parent, file.name)
        where = file if shard in (None, file) else f"{shard}: {file.name}"
        logger.warning("%s: expected features of frames, found a broken file (%s); computed anew.", where, error)
        return None
    return FrameFeatures(features, times_s, file, True, warnings, end_s, glances)


def _store(frames: FrameFeatures, settings: FrameSettings) -> None:
    """Write the file whole or not at all.

    Nothing is written where there is no name for it.
    """
    if frames.file is None:
        return
    frames.file.parent.mkdir(parents=True, exist_ok=True)
    rate, encoder_id = np.array(float(settings.sample_fps)), np.array(settings.video_encoder)
    glanced: dict[str, Any] = {name: np.array(getattr(frames.glances, name)) for name in GLANCED if frames.glances}
    with writing(frames.file) as target:
        np.savez(
            target,
            video_features=frames.features,
            frame_times_s=frames.times_s,
            sample_fps=rate,
            warnings=np.array(frames.warnings, str),
            end_s=np.array(frames.end_s),
            video_encoder=encoder_id,
            **glanced,
        )


def _files_of(encoder_id: str) -> list[tuple[str, int, int]]:
    """List the files of an encoder whose id is a folder.

    Names, sizes and times tell whether it was trained on; [] for an id of the Hub.
    """
    files = sorted(path for path in Path(encoder_id).glob("*") if path.is_file())
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
