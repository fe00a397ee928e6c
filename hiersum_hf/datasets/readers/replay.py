"""Read most-replayed curves as scores and labels.

A curve is the share of viewers that watched each hundredth of a video again.

Three schemas, told apart by the keys of a bin (B bins, nearly always 100):

- `markers`, YouTube's macroMarkers: startMillis, durationMillis, intensityScoreNormalized, numbers or strings;
- `heatMarkers`, YouTube's older heatMarkerRenderer: timeRangeStartMillis, markerDurationMillis,
  heatMarkerIntensityScoreNormalized, each bin perhaps as {"heatMarkerRenderer": {...}};
- `heatmap`, in the info.json of a downloader: start_time and end_time in seconds, value.

A file holds one video, a list of them, or {"videos": [...]}; a video has `video_id` or `id`, perhaps `title` and
`views` or `view_count`, and its bins under any of the three names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.files.json_file import read_json
from hiersum_hf.labels import ReplayCurve
from hiersum_hf.modeling.errors_hiersum import InputError


CURVE_KEYS = ("markers", "heatMarkers", "heatmap")
MILLISECONDS = [
    ("startMillis", "durationMillis", "intensityScoreNormalized"),
    ("timeRangeStartMillis", "markerDurationMillis", "heatMarkerIntensityScoreNormalized"),
]
SECONDS = ("start_time", "end_time", "value")
MAX_OVERLAP_S = 1e-3  # times are whole milliseconds


def read_curves(source: str | Path | Mapping[str, Any] | list[Any]) -> dict[str, ReplayCurve]:
    """Read replay curves, in the order of the source.

    Args:
        source: A JSON file, or its content. Videos whose bins are null have no curve and are left out.

    Raises:
        FileNotFoundError, ValueError: As `read_replays`.
    """
    return {video_id: curve for video_id, curve in read_replays(source).items() if curve is not None}


def read_replays(source: str | Path | Mapping[str, Any] | list[Any]) -> dict[str, ReplayCurve | None]:
    """Read replay curves, with None for videos whose bins are null.

    Args:
        source: As `read_curves`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No JSON, no such schema, a video twice, or a bin that cannot be; names file, video and bin.
    """
    where, content = "replay curves", source
    if isinstance(source, str | Path):
        where, content = str(source), read_json(source)
    videos = content.get("videos", [content]) if isinstance(content, Mapping) else content
    if not isinstance(videos, list) or not all(isinstance(video, Mapping) for video in videos):
        raise InputError(f"{where}: expected a video, a list of videos or {{'videos': [...]}}, found {content!r:.80}")
    curves: dict[str, ReplayCurve | None] = {}
    for number, video in enumerate(videos, 1):
        video_id, curve = _read_video(video, f"{where}, video {number} of {len(videos)}")
        if video_id in curves:
            raise InputError(f"{where}: expected each video once, found {video_id} twice. Remove one.")
        curves[video_id] = curve
    return curves


def make_curve(bins: Any, video_id: str, where: str, views: int | None = None, title: str | None = None) -> ReplayCurve:
    """Make a curve of bins in any of the three schemas.

    `where` names the file in errors.

    Raises:
        ValueError: No bins, other keys, no finite numbers, times that do not ascend, or values outside [0, 1].
    """
    where = f"{where}, video {video_id}"
    if not isinstance(bins, list) or not bins:
        raise InputError(f"{where}: expected a list of bins, found {bins!r:.80}. Write null where there is none.")
    # (B, 3): start_s, end_s, value of each bin. The paper's replay scores are these values.
    table = np.array([_read_bin(item, f"{where}, bin {number}") for number, item in enumerate(bins, 1)], np.float64)
    starts_s, ends_s, values = table[np.argsort(table[:, 0], kind="stable")].T
    # Bins are sorted, so only the next one can begin before this one's end.
    late = np.flatnonzero(ends_s[:-1] > starts_s[1:] + MAX_OVERLAP_S)
    if len(late):
        found = f"{starts_s[late[0] + 1]} s within [{starts_s[late[0]]}, {ends_s[late[0]]}) s"
        raise InputError(f"{where}: expected bins that do not overlap, found one that starts at {found}. Cut it.")
    return ReplayCurve(video_id, starts_s, ends_s, values, views, title)


def parse_views(views: Any, where: str) -> int | None:
    """Parse a view count such as 4821905 or "4,821,905 views".

    None stays None.

    Raises:
        ValueError: It is no such count; the message starts with `where`.
    """
    if views is None:
        return None
    text = str(views).strip()
    if isinstance(views, bool) or not re.fullmatch(r"(\d{1,3}([, \u00a0\u202f]\d{3})+|\d+)(\s+views?)?", text):
        raise InputError(f"{where}: expected a number of views such as 4821905 or '4,821,905 views', found {views!r}")
    digits = re.sub(r"\D", "", text)
    if len(digits) > 18:
        raise InputError(f"{where}: expected views below 10^18, found {digits:.40}")
    return int(digits)


def _read_video(video: Mapping[str, Any], where: str) -> tuple[str, ReplayCurve | None]:
    """Read the id and the curve of a video."""
    video_id = video.get("video_id", video.get("id"))
    if not isinstance(video_id, str) or not video_id:
        raise InputError(f"{where}: expected video_id or id, found {video_id!r} among {sorted(video)}")
    keys = [key for key in CURVE_KEYS if key in video]
    if len(keys) != 1:
        raise InputError(f"{where}, {video_id}: expected one of {', '.join(CURVE_KEYS)}, found {sorted(video)}")
    title = video.get("title")
    if not isinstance(title, str | None):
        raise InputError(f"{where}, {video_id}: expected a title as text, found {title!r:.80}")
    if video[keys[0]] is None:
        return video_id, None
    views = parse_views(video.get("views", video.get("view_count")), f"{where}, {video_id}")
    return video_id, make_curve(video[keys[0]], video_id, where, views, title)


def _read_bin(item: Any, where: str) -> tuple[float, float, float]:
    """Read (start_s, end_s, value) of one bin."""
    item = item.get("heatMarkerRenderer", item) if isinstance(item, Mapping) else {}
    item = item if isinstance(item, Mapping) else {}
    keys = next((keys for keys in [*MILLISECONDS, SECONDS] if all(key in item for key in keys)), None)
    if keys is None:
        known = " or ".join(str(keys) for keys in [*MILLISECONDS, SECONDS])
        raise InputError(f"{where}: expected {known}, found {sorted(item)}")
    try:
        start, extent, value = (float(item[key]) for key in keys)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: expected numbers for {', '.join(keys)}, found {dict(item)!r:.120}") from None
    # (start, end) in seconds, or (start, length) in milliseconds.
    start_s, end_s = (start, extent) if keys == SECONDS else (start / 1000, (start + extent) / 1000)
    if not (0 <= start_s < end_s < np.inf and 0 <= value <= 1):
        raise InputError(f"{where}: expected 0 <= start < end and a value in [0, 1], found {dict(item)!r:.120}")
    return start_s, end_s, value
