"""Read and check one group of an eccv16 feature file.

The format is described in `tvsum`. Every error is a ValueError that names the member; the reader adds file and video.
Letters: N sampled frames, S shots, U annotators, M sentences, K description texts, n_frames original frames.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from hiersum_hf.datasets.readers.change_points import read_shots
from hiersum_hf.datasets.readers.tvsum_ratings import RatedVideo
from hiersum_hf.datasets.readers.tvsum_texts import UNKNOWN, VIDEO_NAME, cut_sentences
from hiersum_hf.files.escape import printable
from hiersum_hf.files.h5_file import Member, read_rate, read_text
from hiersum_hf.metrics import LENGTH_TOLERANCE, key_shot_summary
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Encoders, Sentence, VideoRecord


logger = logging.getLogger(__name__)

GOOGLENET = "googlenet-pool5"
DEFAULT_FPS = 30.0  # where nothing tells a video's rate; TVSum's own are 24 to 30
REQUIRED, LABELS = ("features", "change_points", "n_frames", "picks"), ("gtscore", "user_summary")
ARRAYS = (*REQUIRED, *LABELS, "fps", "user_scores", "text_times", "text_features", "description_features")
TEXTS, ATTRIBUTES = ("text", "description", VIDEO_NAME), ("",)


def read_group(group: Member, rated: RatedVideo | None, told_s: float | None, video_encoder: str = "") -> VideoRecord:
    """Read the group's own content as a record.

    `told_s` is the video's length according to its captions, `video_encoder` what made its features, if they do not
    say.

    Raises:
        ValueError: A member is missing, or shapes or values do not fit, or the features are of another encoder.
    """
    missing = [key for key in REQUIRED if key not in group]
    if missing:
        raise InputError(f"expected the members {', '.join(missing)}, found {sorted(group.names)}")
    picks = _whole(group, "picks", (None,))
    n = len(picks)
    n_frames, summaries = int(_whole(group, "n_frames")), _summaries(group)
    if summaries is not None:
        n_frames = _common_length(n_frames, summaries.shape[1], "user_summary")
    if rated is not None:
        n_frames = _common_length(n_frames, rated.n_frames, f"ratings of {rated.video_id} in {rated.source}")
        summaries = summaries if rated.user_summaries is None else rated.user_summaries
    if n == 0 or picks[0] < 0 or (np.diff(picks) <= 0).any() or picks[-1] >= n_frames + LENGTH_TOLERANCE:
        raise InputError(f"picks: expected ascending frame numbers below {n_frames}, found others")
    shots, notes = read_shots(_whole(group, "change_points", (None, 2)), n_frames)
    for note in notes:
        logger.warning("%s, video %s: %s", group.path, printable(group.name), note)
    fps = _fps(group, rated, told_s)
    # The video lasts until its last frame is over, be that counted or picked.
    duration_s = float(max(n_frames, picks[-1] + 1) / fps)
    if not duration_s < np.inf:
        raise InputError(f"fps: expected the rate of a video, found {fps}")
    users = _user_scores(group, rated, picks, n_frames - 1)
    gtscore = _gtscore(group, picks, users if rated is None or rated.user_summaries is None else None, summaries)
    return VideoRecord(
        video_id=group.name,
        video_features=_features(group, "features", n),
        frame_times_s=picks / fps,
        duration_s=duration_s,
        encoders=_encoders(group, video_encoder, sample_fps=fps / float(np.median(np.diff(picks)) if n > 1 else 1)),
        user_scores=users,
        user_summaries=None if summaries is None else summaries[:, :n_frames],
        shots=shots,
        picks=picks,
        n_frames=n_frames,
        source=str(group.path),
        **({} if gtscore is None else _frame_labels(gtscore, picks, n_frames, shots)),
        **_sentences(group, duration_s),
        **_description(group, rated),
    )


def _array(group: Member, key: str) -> np.ndarray:
    try:
        return group.array(key)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from None


def _finite(group: Member, key: str, shape: tuple[int | None, ...] = ()) -> np.ndarray:
    """Read finite float64 numbers of this shape, None = any length.

    An array of one number counts as a number.
    """
    found = _array(group, key)
    if shape == () and found.size == 1:
        found = found.reshape(())
    fits = found.ndim == len(shape) and all(size in (None, n) for size, n in zip(shape, found.shape, strict=True))
    if not fits or found.dtype.kind not in "biuf":
        wanted = str(tuple("any" if size is None else size for size in shape)).replace("'", "")
        raise InputError(f"{key}: expected numbers of shape {wanted}, found {found.dtype} of shape {found.shape}")
    if not np.isfinite(found).all():
        raise InputError(f"{key}: expected finite values, found NaN or infinity")
    return found.astype(np.float64)


def _whole(group: Member, key: str, shape: tuple[int | None, ...] = ()) -> np.ndarray:
    found = _finite(group, key, shape)
    if (found % 1 != 0).any():
        raise InputError(f"{key}: expected whole numbers, found {found[found % 1 != 0][:3]}")
    return found.astype(np.int64)


def _features(group: Member, key: str, rows: int) -> np.ndarray:
    found = _array(group, key)
    if found.ndim != 2 or len(found) != rows or found.dtype.kind not in "iuf":
        raise InputError(f"{key}: expected {rows} rows of numbers, found {found.dtype} of shape {found.shape}")
    features = found.astype(np.float32)
    if not np.isfinite(features).all():
        raise InputError(f"{key}: expected finite values, found NaN or infinity")
    return features


def _gtscore(
    group: Member, picks: np.ndarray, users: np.ndarray | None, summaries: np.ndarray | None
) -> np.ndarray | None:
    """Read the mean annotator, or make it where the group has none.

    It is the mean of (U, N) ratings, else of the summaries, as the field makes it; None where nobody annotated.
    """
    if "gtscore" in group:
        return _finite(group, "gtscore", (len(picks),)).astype(np.float32)
    if users is None and summaries is not None:
        users = summaries[:, np.minimum(picks, summaries.shape[1] - 1)]
    return None if users is None else users.mean(axis=0).astype(np.float32)


def _frame_labels(gtscore: np.ndarray, picks: np.ndarray, n_frames: int, shots: np.ndarray) -> dict[str, Any]:
    """Scale the mean annotator's scores, and label frames by them."""
    # (g - min) / (max - min); where all are equal the extent is 0 and the scores are too.
    extent = np.ptp(gtscore)
    if not np.isfinite(extent):
        raise InputError("gtscore: expected a range within 32 bits, found a wider one")
    scores = (gtscore - gtscore.min()) / (extent or 1.0)
    # The label of a frame is the key-shot summary of the scores, read at its pick (the field's rule; see
    # metrics.key_shots). A pick may lie LENGTH_TOLERANCE past the end: it reads the last frame.
    labels = key_shot_summary(scores, picks, n_frames, shots)[np.minimum(picks, n_frames - 1)].astype(np.int64)
    return {"frame_scores": scores, "frame_labels": labels}


def _summaries(group: Member) -> np.ndarray | None:
    """Read (U, n_frames) bool; one annotator's may be (n_frames,), and there may be none."""
    if "user_summary" not in group:
        return None
    found = np.atleast_2d(_array(group, "user_summary"))
    if found.ndim != 2 or len(found) == 0 or found.dtype.kind not in "biuf":
        raise InputError(f"user_summary: expected a row of numbers for each annotator, found shape {found.shape}")
    if not np.isin(found, (0, 1)).all():  # NaN is neither
        raise InputError(f"user_summary: expected values 0 and 1, found {np.setdiff1d(found, (0, 1))[:3]}")
    return found.astype(bool)


def _common_length(n_frames: int, found: int, what: str) -> int:
    if abs(n_frames - found) > LENGTH_TOLERANCE:
        raise InputError(f"{what}: expected {n_frames} frames, found {found}")
    return min(n_frames, found)


def _fps(group: Member, rated: RatedVideo | None, told_s: float | None) -> float:
    if "fps" in group:
        return _positive("fps", float(_finite(group, "fps")))
    # The file tells frames and no rate. The ratings tell both frames and seconds, captions the seconds alone.
    if rated and rated.duration_s:
        return rated.n_frames / rated.duration_s
    return float(_finite(group, "n_frames")) / told_s if told_s else DEFAULT_FPS


def _positive(what: str, rate: float) -> float:
    if not 0 < rate < np.inf:
        raise InputError(f"{what}: expected a positive rate, found {rate}")
    return rate


def _encoders(group: Member, given: str, sample_fps: float) -> Encoders | None:
    """Name the encoders by the attributes, else by the file's name.

    The field's own files say it only in their name. Where nothing says it, the given id does.
    """
    attrs = group.attributes[""]
    if "video_encoder" in attrs:
        names = read_text(attrs, "video_encoder"), read_text(attrs, "text_encoder", "")
        encoders = Encoders(*names, read_rate(attrs, "sample_fps"))
    elif "google_pool5" in group.path.name:
        encoders = Encoders(GOOGLENET, "", sample_fps)
    else:
        return Encoders(given, "", sample_fps) if given else None
    if given and encoders.video not in ("", UNKNOWN, given):
        raise InputError(
            f"--video-encoder: expected {encoders.video!r}, as the file says, found {given!r}. Leave it out."
        )
    return replace(encoders, video=given or encoders.video)


def _user_scores(group: Member, rated: RatedVideo | None, picks: np.ndarray, last: int) -> np.ndarray | None:
    if rated is not None:
        # Raw ratings are one a frame; each pick takes that of its own frame, one past the end that of the last.
        return rated.user_scores[:, np.minimum(picks, last)]
    if "user_scores" not in group:
        return None
    scores = _finite(group, "user_scores", (None, len(picks)))
    if len(scores) == 0:
        raise InputError(f"user_scores: expected at least one annotator, found shape {scores.shape}")
    return scores


def _sentences(group: Member, duration_s: float) -> dict[str, Any]:
    if "text_times" not in group:
        return {}
    times = _finite(group, "text_times", (None, 2)).tolist()
    # Text features may come without the words that they were made of.
    texts = _strings(group, "text") or [""] * len(times)
    if len(texts) != len(times):
        raise InputError(f"text: expected {len(times)} texts, as many as text_times, found {len(texts)}")
    sentences = [Sentence(text, start_s, end_s) for text, (start_s, end_s) in zip(texts, times, strict=True)]
    features = _text_features(group, "text_features", len(times))
    return {"sentences": cut_sentences(sentences, duration_s, "text_times")} | features


def _description(group: Member, rated: RatedVideo | None) -> dict[str, Any]:
    texts = _strings(group, "description") or ([rated.title] if rated and rated.title else [])
    if "description_features" in group and not texts:
        texts = [""] * len(_array(group, "description_features"))
    return {"description": tuple(texts)} | _text_features(group, "description_features", len(texts))


def _text_features(group: Member, key: str, rows: int) -> dict[str, np.ndarray]:
    return {key: _features(group, key, rows)} if key in group else {}


def _strings(group: Member, key: str) -> list[str]:
    if key not in group:
        return []
    try:
        return group.strings(key)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from None
