"""Read the project's own file of frame features, features.h5.

It is for data sets that come without any (WikiHow, replay curves).

For each video a dataset (N, Dv), one row every 1 / `sample_fps` s, or a group of `features` (N, Dv) and `times_s` (N,).
Attributes of the dataset or group, or of the file: `sample_fps`, `video_encoder`, perhaps `normalization`, and `fps`,
the video's own rate, where labels count its frames. N sampled frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.files.h5_file import Member, member_names, read_member, read_rate, read_text
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Encoders


def stored_ids(path: str | Path) -> set[str]:
    """Name the videos of a feature file.

    Raises as `read_frame_features`.
    """
    return set(member_names(Path(path)))


def read_frame_features(path: str | Path, video_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the features of one video, and the attributes of the file.

    The features are members of a record: video_features, frame_times_s, duration_s, encoders.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no HDF5 file, lacks the video or an attribute, or shapes or values do not fit; names file and
            video.
    """
    where = f", video {video_id}"
    node = read_member(Path(path), video_id, where, arrays=("", "features", "times_s"), attributes=("/", ""))
    try:
        if node.kind is None:
            raise InputError("expected features, found none. Add them")
        attributes = node.attributes["/"] | node.attributes[""]
        return _members(node, attributes), attributes
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}{where}: {error}") from None


def _members(node: Member, attributes: dict[str, Any]) -> dict[str, Any]:
    for name in ("sample_fps", "video_encoder"):
        if name not in attributes:
            raise InputError(f"expected the attribute {name}, found {sorted(attributes)}")
    sample_fps, encoder = read_rate(attributes, "sample_fps"), read_text(attributes, "video_encoder")
    is_group = node.kind == "Group"
    if is_group and not {"features", "times_s"} <= set(node.names):
        raise InputError(f"expected the members features and times_s, found {sorted(node.names)}")
    features = np.asarray(node.array("features" if is_group else ""), np.float32)
    if features.ndim != 2 or len(features) == 0:
        raise InputError(f"expected features of shape (N, Dv), found {features.shape}")
    if not np.isfinite(features).all():
        raise InputError("expected finite features, found NaN or infinity")
    times_s = node.array("times_s").astype(np.float64) if is_group else np.arange(len(features)) / sample_fps
    if times_s.shape != (len(features),) or not times_s[0] >= 0 or not (np.diff(times_s) > 0).all():
        raise InputError(f"times_s: expected {len(features)} ascending times, found shape {times_s.shape}")
    # The last frame is shown for a period too.
    duration_s = float(times_s[-1]) + 1 / sample_fps
    if not duration_s < np.inf:
        raise InputError(f"times_s: expected finite times, found an end at {duration_s} s")
    return {
        "video_features": features,
        "frame_times_s": times_s,
        "duration_s": duration_s,
        "encoders": Encoders(encoder, "", sample_fps, read_text(attributes, "normalization", "none")),
    }
