"""Read a file of most-replayed curves as a data set.

It may have any of the schemas of `hiersum_hf.datasets.readers.replay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from hiersum_hf.datasets.readers.feature_file import read_frame_features, stored_ids
from hiersum_hf.datasets.readers.replay import read_replays
from hiersum_hf.files.changed import changed_ns
from hiersum_hf.labels import ReplayCurve, ReplayLabels
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import VideoRecord


@dataclass(frozen=True)
class ReplayReader(ReplayLabels):
    """Read such a file.

    Each frame's score is the curve's, the title is the description.

    Args:
        curves: The JSON file.
        features: A feature file (`readers.feature_file`). Without one there is a frame every second,
            without features: enough to see what labels the curves give.
    """

    curves: str | Path
    features: str | Path | None = None

    @property
    def video_ids(self) -> list[str]:
        """Videos with a curve, watched often enough.

        They are in the order of the file. Raises as `read`.
        """
        return list(self._wanted())

    @property
    def splits(self) -> dict[str, list[str]]:
        return {}

    @property
    def findings(self) -> dict[str, list[str]]:
        """Videos that were left out or lack features.

        Left out are those of `without_curve`, because their bins are null, and of `outside_views`; those of
        `without_features` are not in the feature file.
        """
        wanted, curves = self._wanted(), _curves(self.curves)
        stored = wanted.keys() if self.features is None else stored_ids(self.features)
        return {
            "without_curve": [key for key, curve in curves.items() if curve is None],
            "outside_views": [key for key, curve in curves.items() if curve is not None and key not in wanted],
            "without_features": [key for key in wanted if key not in stored],
        }

    def read(self, video_id: str) -> VideoRecord:
        """Read one video as a record.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: No such video or curve, or features that do not fit; names the file and the video.
        """
        curve = self._wanted().get(video_id)
        if curve is None:
            raise InputError(f"{self.curves}, video {video_id}: expected a curve and views within limits, found none")
        end_s = float(curve.ends_s[-1])
        members: dict[str, Any] = {"video_features": np.zeros((0, 0), np.float32), "duration_s": end_s}
        # Without features there is a frame every second of the curve.
        members |= {"frame_times_s": np.arange(0.0, end_s)}
        if self.features is not None:
            members = read_frame_features(self.features, video_id)[0]
            # Features may end before the curve does, which ends with the video.
            members["duration_s"] = max(members["duration_s"], end_s)
        return VideoRecord(
            video_id=video_id,
            description=(curve.title,) if curve.title else (),
            views=curve.views,
            source=str(self.curves) if self.features is None else f"{self.curves}, {self.features}",
            **members,
            **self.score_frames(curve, members["frame_times_s"]),
        )

    def _wanted(self) -> dict[str, ReplayCurve]:
        curves = _curves(self.curves)
        return {key: curve for key, curve in curves.items() if curve is not None and self.takes(curve.views)}


def _curves(path: str | Path) -> Mapping[str, ReplayCurve | None]:
    return _read(Path(path), changed_ns(path))


@lru_cache(maxsize=2)
def _read(path: Path, _changed_ns: int) -> Mapping[str, ReplayCurve | None]:
    """Read the curves once as long as the file stays the same."""
    return MappingProxyType(read_replays(path))
