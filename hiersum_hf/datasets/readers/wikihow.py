"""Read WikiHow, articles and labelled videos, as IV-Sum published them.

The articles come with their steps, the videos with frame labels.

| file | content |
|---|---|
| how_to_steps.tar.gz | TITLE.json for each article: {"video_url", "1": {"text", "img", "vid"}, "2": ...} |
| wikihowto_annt.json | article or YouTube id -> 0 or 1 for each frame at the video's own rate; some lists are empty |
| pseudoGT_summ_annts.json | YouTube id -> machine_summary, machine_summary_scores, one value every 4 s |
| pseudoGT_task_annts.json | YouTube id -> task |

The videos' features are nobody's to publish; one makes them from the videos. Without them a record has its labels, one
frame for each segment, and its texts. Letters: N sampled frames, S segments, K description texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.readers.feature_file import read_frame_features
from hiersum_hf.datasets.readers.tvsum_members import DEFAULT_FPS
from hiersum_hf.datasets.readers.wikihow_articles import Article, read_articles, videos_of_articles
from hiersum_hf.files.changed import changed_ns
from hiersum_hf.files.h5_file import read_rate
from hiersum_hf.files.json_file import cached_json_object
from hiersum_hf.metrics import LENGTH_TOLERANCE
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import VideoRecord


SEGMENT_FRAMES = 32
PSEUDO_FPS = 8.0  # IV-Sum's rate for the videos with pseudo summaries: a segment lasts 4 s
NO_LABEL = -100
MAX_FRAME = 2**53  # as far as floating point counts frames

_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def task_text(task: str) -> str:
    """Write a task's name in words.

    "ReplaceCDDriveWithSSD" becomes "Replace CD Drive With SSD", and CrossTask's numbers "".
    """
    return "" if task.isdecimal() else _CAMEL_CASE.sub(" ", task)


@dataclass(frozen=True)
class WikiHowReader:
    """Read WikiHow's annotated videos, IV-Sum's pseudo summaries, or articles.

    A video is an entry of `labels`; without labels, an article. Its group is the YouTube id (the article's, or the
    entry's own name), so that articles which share a video stay together.

    Frames annotated one by one: each 32 frames at the video's own rate make a segment, label by strict majority,
    score = mean; a rest of fewer than 32 frames is no segment, as in IV-Sum. Pseudo summaries: label and score of a
    4 s segment as shipped; IV-Sum's scores are entries of a unit vector, those below 0 count as 0 (not given in the
    paper). Every sampled frame has its segment's label and score, none (-100, NaN) where there is no segment.

    Features: see `readers.feature_file`; the attribute `fps` is needed for annotated frames. Without
    features the frames of the record are the starts of the segments; their times then assume 30 frames a second where
    frames are annotated, and an article alone has no frames and lasts 0 s.

    Args:
        labels: wikihowto_annt.json or pseudoGT_summ_annts.json.
        articles: how_to_steps.tar.gz or a folder, for title and steps as the description.
        tasks: pseudoGT_task_annts.json, for the task as the description where there is no article.
        features: The feature file.
    """

    labels: Path | None = None
    articles: Path | None = None
    tasks: Path | None = None
    features: Path | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "articles", "tasks", "features"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))
        if self.labels is None and self.articles is None:
            raise InputError("WikiHowReader: expected labels or articles, found neither")

    @property
    def video_ids(self) -> list[str]:
        """Entries of `labels` that are not empty, or names of the articles.

        Raises as `read`.
        """
        if self.labels is None:
            return [article.name for article in self._articles()]
        return [name for name, entry in cached_json_object(self.labels).items() if entry != []]

    @property
    def splits(self) -> dict[str, list[str]]:
        """No parts.

        IV-Sum trains on the pseudo summaries and tests on the annotated videos.
        """
        return {}

    @property
    def findings(self) -> dict[str, list[str]]:
        """Articles and entries of `labels` that are odd.

        `duplicates` are articles that share a video; `without_steps` and `empty_steps` articles with no step, or with
        steps that have no words; `without_annotation` and `without_article` entries of `labels`.
        """
        articles, entries = self._articles(), {} if self.labels is None else cached_json_object(self.labels)
        shared = [names for names in videos_of_articles(articles).values() if len(names) > 1]
        found = {
            "duplicates": [" = ".join(article.name for article in names) for names in shared],
            "without_steps": [article.name for article in articles if not article.steps],
            "empty_steps": [a.name for a in articles if not all(step.strip() for step in a.steps)],
        }
        if self.labels is not None:
            found["without_annotation"] = [name for name, entry in entries.items() if entry == []]
        if self.labels is not None and self.articles is not None:
            found["without_article"] = [name for name in entries if self._article(name) is None]
        return found

    def read(self, video_id: str) -> VideoRecord:
        """Read one video as a record.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: No such video, no annotation, no features of it, or lengths or values do not fit; names the
                file and the video.
        """
        article = self._article(video_id)
        labels = None if self.labels is None else _segments(self.labels, video_id)
        if labels is None and article is None:
            raise InputError(f"{self.articles}: expected an article {video_id}, found none")
        frames = _segment_frames(labels) if self.features is None else _sampled_frames(self.features, video_id, labels)
        group = video_id if article is None else article.youtube_id or article.url
        texts = article.texts if article is not None else self._task(video_id)
        sources = (self.labels, self.articles, self.tasks, self.features)
        source = ", ".join(str(path) for path in sources if path is not None)
        return VideoRecord(video_id=video_id, description=texts, group=group, source=source, **frames)

    def _articles(self) -> list[Article]:
        return [] if self.articles is None else _articles(self.articles, changed_ns(self.articles))[0]

    def _article(self, name: str) -> Article | None:
        """Find the article of this name, else of this YouTube id.

        Of several with this id it is the first.
        """
        return None if self.articles is None else _articles(self.articles, changed_ns(self.articles))[1].get(name)

    def _task(self, video_id: str) -> tuple[str, ...]:
        task = "" if self.tasks is None else cached_json_object(self.tasks).get(video_id, "")
        if not isinstance(task, str):
            raise InputError(f"{self.tasks}, video {video_id}: expected the name of a task, found {task!r:.80}")
        return (task_text(task),) if task_text(task) else ()


@dataclass(frozen=True, eq=False)
class _Segments:
    """Hold labels (S,) and scores (S,) of stretches of 32 frames.

    Args:
        labels, scores: Of the segments.
        n_frames: Number of annotated frames, None for a pseudo summary, which has segments alone.
        fps: Rate of these frames, None where the source does not tell.
    """

    labels: np.ndarray
    scores: np.ndarray
    n_frames: int | None = None
    fps: float | None = None


def _segments(path: Path, video_id: str) -> _Segments:
    entries = cached_json_object(path)
    if video_id not in entries:
        raise InputError(f"{path}: expected a video {video_id}, found none")
    entry = entries[video_id]
    try:
        return _pseudo(entry) if isinstance(entry, dict) else _annotated(entry)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}, video {video_id}: {error}") from None


def _annotated(entry: Any) -> _Segments:
    """Sum up one value for each frame by segments of 32.

    A segment has the strict majority as label, the mean as score; a rest is left out.
    """
    frames = np.asarray(entry, np.float64)
    if frames.ndim != 1 or not np.isin(frames, (0, 1)).all():
        raise InputError(f"expected a list of 0 and 1, one for each frame, found {entry!r:.80}")
    if len(frames) < SEGMENT_FRAMES:
        raise InputError(f"expected at least one segment of {SEGMENT_FRAMES} frames, found {len(frames)} frames")
    # Share of important frames of each segment; above 0.5 is a strict majority, 17 of 32.
    means = frames[: len(frames) // SEGMENT_FRAMES * SEGMENT_FRAMES].reshape(-1, SEGMENT_FRAMES).mean(1)  # (S,)
    return _Segments((means > 0.5).astype(np.int64), means.astype(np.float32), n_frames=len(frames))


def _pseudo(entry: dict[str, Any]) -> _Segments:
    missing = {"machine_summary", "machine_summary_scores"} - entry.keys()
    if missing:
        raise InputError(f"expected machine_summary and machine_summary_scores, found {sorted(entry)}")
    labels, scores = (np.asarray(entry[key], np.float64) for key in ("machine_summary", "machine_summary_scores"))
    if labels.ndim != 1 or labels.shape != scores.shape or len(labels) == 0:
        raise InputError(f"expected as many labels as scores, found shapes {labels.shape} and {scores.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise InputError(f"machine_summary: expected values 0 and 1, found {np.unique(labels)[:5]}")
    if not (np.abs(scores) <= 1).all():  # also false for NaN
        raise InputError(
            f"machine_summary_scores: expected values from -1 to 1, found {scores.min()} to {scores.max()}"
        )
    # Entries of a unit vector may be negative; a score is in [0, 1].
    return _Segments(labels.astype(np.int64), np.maximum(scores, 0).astype(np.float32), fps=PSEUDO_FPS)


def _segment_frames(segments: _Segments | None) -> dict[str, Any]:
    """Make members of a record without features.

    There is one frame at the start of each segment, or none.
    """
    none = {"video_features": np.zeros((0, 0), np.float32)}
    if segments is None:
        return none | {"frame_times_s": np.zeros(0), "duration_s": 0.0}
    fps, starts = segments.fps or DEFAULT_FPS, np.arange(len(segments.labels)) * SEGMENT_FRAMES
    duration_s = (segments.n_frames or len(starts) * SEGMENT_FRAMES) / fps
    members = {"frame_times_s": starts / fps, "duration_s": duration_s}
    return none | members | _labels_at(starts, segments)


def _labels_at(frames: np.ndarray, segments: _Segments) -> dict[str, Any]:
    """Look up labels and scores at frames of the segments' rate.

    Args:
        frames: (N,) numbers of frames at the segments' own rate.
        segments: Of the video.
    """
    count = len(segments.labels)
    # Row s is segment s, and row S what frames have that lie past the last one.
    labels, scores = np.append(segments.labels, NO_LABEL), np.append(segments.scores, np.float32(np.nan))
    rows = np.minimum(frames // SEGMENT_FRAMES, count)
    members: dict[str, Any] = {"frame_labels": labels[rows], "frame_scores": scores[rows]}
    if segments.n_frames is not None:
        starts = np.arange(count) * SEGMENT_FRAMES
        members |= {"shots": np.stack([starts, starts + SEGMENT_FRAMES], 1), "picks": frames}
        members |= {"n_frames": segments.n_frames}
    return members


def _sampled_frames(path: Path, video_id: str, segments: _Segments | None) -> dict[str, Any]:
    """Make members of a record with features."""
    members, attributes = read_frame_features(path, video_id)
    if segments is None:
        return members
    try:
        return members | _labels_at_times(members, segments, attributes)
    except ValueError as error:
        raise InputError(f"{path}, video {video_id}: {error}") from None


def _labels_at_times(members: dict[str, Any], segments: _Segments, attributes: dict[str, Any]) -> dict[str, Any]:
    if segments.fps is None and "fps" not in attributes:
        raise InputError("expected the attribute fps, the rate of the annotated frames, found none")
    fps = segments.fps or read_rate(attributes, "fps")
    if members["frame_times_s"][-1] * fps > MAX_FRAME:
        raise InputError(f"times_s: expected times of a video, found {members['frame_times_s'][-1]} s")
    # Frame f is shown from f / fps on. A time that was computed as f / fps may fall short of it by rounding.
    frames = np.floor(members["frame_times_s"] * fps + 1e-6).astype(np.int64)
    if segments.n_frames is not None and (np.diff(frames) <= 0).any():
        raise InputError(f"fps: expected a frame of the video for each sampled one, found {fps} frames a second")
    labels = _labels_at(frames, segments)
    if segments.n_frames is None:
        return labels
    if frames[-1] >= segments.n_frames + LENGTH_TOLERANCE:
        raise InputError(f"expected frames before {segments.n_frames}, the annotated ones, found {frames[-1]}")
    return labels | {"duration_s": float(max(segments.n_frames, frames[-1] + 1) / fps)}


@lru_cache(maxsize=2)
def _articles(path: Path, changed_ns: int) -> tuple[list[Article], dict[str, Article]]:
    """Read the articles once.

    Returns:
        The articles, and each by its name and, where that is none's, by its YouTube id.
    """
    articles = read_articles(path)
    # Of articles with one video the first by name counts; an article's own name goes before any video's id.
    by_video = {video: first for video, (first, *_) in videos_of_articles(articles).items()}
    return articles, by_video | {article.name: article for article in articles}
