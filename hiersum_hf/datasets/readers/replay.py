"""Most-replayed curves: the share of viewers that watched each hundredth of a video again, as scores and labels.

Three schemas, told apart by the keys of a bin (B bins, nearly always 100):

- `markers`, YouTube's macroMarkers: startMillis, durationMillis, intensityScoreNormalized, numbers or strings;
- `heatMarkers`, YouTube's older heatMarkerRenderer: timeRangeStartMillis, markerDurationMillis,
  heatMarkerIntensityScoreNormalized, each bin perhaps as {"heatMarkerRenderer": {...}};
- `heatmap`, in the info.json of a downloader: start_time and end_time in seconds, value.

A file holds one video, a list of them, or {"videos": [...]}; a video has `video_id` or `id`, perhaps `title` and
`views` or `view_count`, and its bins under any of the three names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np


THRESHOLD = 0.15  # the paper's; on real curves it marks 2 % to 99 % of the frames
POSITIVE_RATES = 0.05, 0.60  # not given in the paper: outside, labels hardly tell frames apart
CURVE_KEYS = ("markers", "heatMarkers", "heatmap")
MILLISECONDS = [
    ("startMillis", "durationMillis", "intensityScoreNormalized"),
    ("timeRangeStartMillis", "markerDurationMillis", "heatMarkerIntensityScoreNormalized"),
]
SECONDS = ("start_time", "end_time", "value")
MAX_OVERLAP_S = 1e-3  # times are whole milliseconds


@dataclass(frozen=True, kw_only=True)
class ReplayLabels:
    """Which videos a reader of replay scores takes and which of their frames are important: settings of such readers.

    Args:
        threshold: A frame is important iff its score reaches this, in [0, 1]; the default is the paper's.
        quantile: Or iff it reaches this quantile of the video's own scores, see `threshold_labels`.
        intro_bins: So many bins (hundredths) at the beginning of each video lose score and label: people start videos
            there, so the first bin is often the maximum (not given in the paper).
        min_views, max_views: Only videos watched this often; of those with unknown views none, if either is given.

    Raises:
        ValueError: A setting that cannot be.
    """

    threshold: float = THRESHOLD
    quantile: float | None = None
    intro_bins: int = 0
    min_views: int | None = None
    max_views: int | None = None

    def __post_init__(self) -> None:
        _check_limits(self.threshold, self.quantile)
        if self.intro_bins < 0:
            raise ValueError(f"expected a number of intro bins from 0, found {self.intro_bins}")
        if self.min_views is not None and self.max_views is not None and self.min_views > self.max_views:
            raise ValueError(f"expected min_views up to max_views, found {self.min_views} and {self.max_views}")

    def takes(self, views: int | None) -> bool:
        """Whether a video watched this often (None = unknown) belongs to the data set."""
        return within_views(views, self.min_views, self.max_views)

    def labels(self, scores: np.ndarray) -> np.ndarray:
        """(N,) int64 from scores (N,), as `threshold_labels`."""
        return threshold_labels(scores, self.threshold, self.quantile)

    def score_frames(self, curve: ReplayCurve, frame_times_s: np.ndarray) -> dict[str, Any]:
        """frame_scores and frame_labels of a record with frames at these times (N,)."""
        scores = curve.without_intro(self.intro_bins).scores_at(frame_times_s)
        return {"frame_scores": scores, "frame_labels": self.labels(scores)}

    def rate(self, curve: ReplayCurve) -> float | None:
        """Share of the curve's bins that are important, None where all are masked."""
        return positive_rate(self.labels(curve.without_intro(self.intro_bins).values))


@dataclass(frozen=True, eq=False)
class ReplayCurve:
    """How often each part of a video is played again.

    Args:
        video_id: YouTube id.
        starts_s, ends_s: (B,) float64, bins [start, end) in seconds, ascending and apart; there may be gaps.
        values: (B,) float64 in [0, 1], 1 = the most replayed bin; NaN = masked.
        views: How often the video was watched, None where unknown.
        title: None where unknown.
    """

    video_id: str
    starts_s: np.ndarray
    ends_s: np.ndarray
    values: np.ndarray
    views: int | None = None
    title: str | None = None

    def scores_at(self, frame_times_s: np.ndarray) -> np.ndarray:
        """(N,) float32: the value of the bin in which each frame is shown, NaN outside all bins."""
        times_s = np.asarray(frame_times_s, np.float64)
        bins = np.maximum(np.searchsorted(self.starts_s, times_s, side="right") - 1, 0)
        inside = (self.starts_s[bins] <= times_s) & (times_s < self.ends_s[bins])
        return np.where(inside, self.values[bins], np.nan).astype(np.float32)

    def without_intro(self, bins: int) -> ReplayCurve:
        """The curve with its first `bins` masked: people start videos there, so the first is often the maximum."""
        if bins < 0:
            raise ValueError(f"video {self.video_id}: expected a number of intro bins from 0, found {bins}")
        return replace(self, values=np.where(np.arange(len(self.values)) < bins, np.nan, self.values))


def read_curves(source: str | Path | Mapping[str, Any] | list[Any]) -> dict[str, ReplayCurve]:
    """Read replay curves, in the order of the source.

    Args:
        source: A JSON file, or its content. Videos whose bins are null have no curve and are left out.

    Raises:
        FileNotFoundError, ValueError: As `read_replays`.
    """
    return {video_id: curve for video_id, curve in read_replays(source).items() if curve is not None}


def read_replays(source: str | Path | Mapping[str, Any] | list[Any]) -> dict[str, ReplayCurve | None]:
    """The same with None for videos whose bins are null.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No JSON, no such schema, a video twice, or a bin that cannot be; names file, video and bin.
    """
    where, content = "replay curves", source
    if isinstance(source, str | Path):
        where, content = str(source), read_json(Path(source))
    videos = content.get("videos", [content]) if isinstance(content, Mapping) else content
    if not isinstance(videos, list) or not all(isinstance(video, Mapping) for video in videos):
        raise ValueError(f"{where}: expected a video, a list of videos or {{'videos': [...]}}, found {content!r:.80}")
    curves: dict[str, ReplayCurve | None] = {}
    for number, video in enumerate(videos, 1):
        video_id, curve = _read_video(video, f"{where}, video {number} of {len(videos)}")
        if video_id in curves:
            raise ValueError(f"{where}: expected each video once, found {video_id} twice")
        curves[video_id] = curve
    return curves


def read_json(path: Path) -> Any:
    """The content of a JSON file; FileNotFoundError or ValueError names it if that cannot be."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a JSON file, found no such file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, found none ({error})") from None


def make_curve(bins: Any, video_id: str, where: str, views: int | None = None, title: str | None = None) -> ReplayCurve:
    """The curve of these bins, in any of the three schemas; `where` names the file in errors.

    Raises:
        ValueError: No bins, other keys, no finite numbers, times that do not ascend, or values outside [0, 1].
    """
    where = f"{where}, video {video_id}"
    if not isinstance(bins, list) or not bins:
        raise ValueError(f"{where}: expected a list of bins, found {bins!r:.80}")
    table = np.array([_read_bin(item, f"{where}, bin {number}") for number, item in enumerate(bins, 1)], np.float64)
    starts_s, ends_s, values = table[np.argsort(table[:, 0], kind="stable")].T
    late = np.flatnonzero(ends_s[:-1] > starts_s[1:] + MAX_OVERLAP_S)
    if len(late):
        found = f"{starts_s[late[0] + 1]} s within [{starts_s[late[0]]}, {ends_s[late[0]]}) s"
        raise ValueError(f"{where}: expected bins that do not overlap, found one that starts at {found}")
    return ReplayCurve(video_id, starts_s, ends_s, values, views, title)


def parse_views(views: Any, where: str) -> int | None:
    """A view count: None, an int, or text such as "4,821,905 views". Raises ValueError, which starts with `where`."""
    if views is None:
        return None
    text = str(views).strip()
    if isinstance(views, bool) or not re.fullmatch(r"(\d{1,3}([, \u00a0\u202f]\d{3})+|\d+)(\s+views?)?", text):
        raise ValueError(f"{where}: expected a number of views such as 4821905 or '4,821,905 views', found {views!r}")
    digits = re.sub(r"\D", "", text)
    if len(digits) > 18:
        raise ValueError(f"{where}: expected views below 10^18, found {digits:.40}")
    return int(digits)


def within_views(views: int | None, min_views: int | None = None, max_views: int | None = None) -> bool:
    """Whether min_views <= views <= max_views; an unknown count is in no range but the unbounded one."""
    if views is None:
        return min_views is None and max_views is None
    return (min_views is None or views >= min_views) and (max_views is None or views <= max_views)


def threshold_labels(scores: np.ndarray, threshold: float = THRESHOLD, quantile: float | None = None) -> np.ndarray:
    """(N,) int64: 1 iff score >= threshold, -100 where a score is NaN.

    Args:
        scores: (N,), in [0, 1] or NaN.
        threshold: Least score of an important frame.
        quantile: Take this quantile of the video's own scores as the threshold instead: 0.85 marks the best 15 %,
            more where scores tie (not given in the paper).

    Raises:
        ValueError: Threshold outside [0, 1] or quantile outside (0, 1).
    """
    _check_limits(threshold, quantile)
    scores, known = np.asarray(scores), np.isfinite(scores)
    if quantile is not None and known.any():
        threshold = float(np.quantile(scores[known], quantile))
    return np.where(known, scores >= threshold, -100).astype(np.int64)


def positive_rate(labels: np.ndarray) -> float | None:
    """Share of important frames among the labelled ones, None where there are none."""
    known = labels[labels != -100]
    return float((known == 1).mean()) if len(known) else None


def is_balanced(rate: float) -> bool:
    """Whether the labels with this positive rate tell frames apart: 5 to 60 %."""
    return POSITIVE_RATES[0] <= rate <= POSITIVE_RATES[1]


def _check_limits(threshold: float, quantile: float | None) -> None:
    if not 0 <= threshold <= 1 or not (quantile is None or 0 < quantile < 1):
        raise ValueError(f"expected a threshold in [0, 1] and a quantile in (0, 1), found {threshold} and {quantile}")


def _read_video(video: Mapping[str, Any], where: str) -> tuple[str, ReplayCurve | None]:
    """(id, curve)"""
    video_id = video.get("video_id", video.get("id"))
    if not isinstance(video_id, str) or not video_id:
        raise ValueError(f"{where}: expected video_id or id, found {video_id!r} among {sorted(video)}")
    keys = [key for key in CURVE_KEYS if key in video]
    if len(keys) != 1:
        raise ValueError(f"{where}, {video_id}: expected one of {', '.join(CURVE_KEYS)}, found {sorted(video)}")
    title = video.get("title")
    if not isinstance(title, str | None):
        raise ValueError(f"{where}, {video_id}: expected a title as text, found {title!r:.80}")
    if video[keys[0]] is None:
        return video_id, None
    views = parse_views(video.get("views", video.get("view_count")), f"{where}, {video_id}")
    return video_id, make_curve(video[keys[0]], video_id, where, views, title)


def _read_bin(item: Any, where: str) -> tuple[float, float, float]:
    """(start_s, end_s, value) of one bin."""
    item = item.get("heatMarkerRenderer", item) if isinstance(item, Mapping) else {}
    item = item if isinstance(item, Mapping) else {}
    keys = next((keys for keys in [*MILLISECONDS, SECONDS] if all(key in item for key in keys)), None)
    if keys is None:
        known = " or ".join(str(keys) for keys in [*MILLISECONDS, SECONDS])
        raise ValueError(f"{where}: expected {known}, found {sorted(item)}")
    try:
        start, extent, value = (float(item[key]) for key in keys)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: expected numbers for {', '.join(keys)}, found {dict(item)!r:.120}") from None
    start_s, end_s = (start, extent) if keys == SECONDS else (start / 1000, (start + extent) / 1000)
    if not (0 <= start_s < end_s < np.inf and 0 <= value <= 1):
        raise ValueError(f"{where}: expected 0 <= start < end and a value in [0, 1], found {dict(item)!r:.120}")
    return start_s, end_s, value
