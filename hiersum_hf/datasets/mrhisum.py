"""Mr.HiSum: 31,892 videos of YouTube-8M with the most-replayed curve as importance, one row a second.

Three files: `metadata.csv`, `mr_hisum_split.json` and `mr_hisum.h5`, to whose groups the user adds YouTube-8M's frame
features (`hiersum_hf.datasets.youtube8m.add_features`). Without the h5 the videos, splits and findings can be listed.

Letters: N rows (seconds) of a video.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.mrhisum_files import (
    SCORES,
    SUMMARIES,
    THRESHOLD,
    check_threshold,
    drop_repeats,
    load_video,
    read_annotation,
    read_features,
    read_metadata,
    read_split,
    repeats_found,
)
from hiersum_hf.datasets.tvsum_ratings import open_h5
from hiersum_hf.datasets.youtube8m import DEQUANTIZATIONS, RGB_WIDTH
from hiersum_hf.records import Encoders, VideoRecord


ENCODER = "youtube8m-inception"


@dataclass(frozen=True)
class MrHiSumReader:
    """Reader of Mr.HiSum.

    Args:
        metadata: `metadata.csv`.
        h5: `mr_hisum.h5` with features; None to list the videos only.
        split: `mr_hisum_split.json`; None for no splits.
        threshold: A frame is labelled important if its score reaches it, in [0, 1].
        dequantization: Name of the dequantisation where a features member has no attribute `dequantization`: "mrhisum"
            (what MR.HiSum's preparation writes) or "official".

    Raises:
        ValueError: If the threshold or the name is another one.
    """

    metadata: str | Path
    h5: str | Path | None = None
    split: str | Path | None = None
    threshold: float = THRESHOLD
    dequantization: str = "mrhisum"

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        if self.dequantization not in DEQUANTIZATIONS:
            raise ValueError(f"expected one of {', '.join(DEQUANTIZATIONS)}, found {self.dequantization!r}")

    @classmethod
    def from_folder(cls, folder: str | Path, **settings: Any) -> MrHiSumReader:
        """The files under their usual names; h5 and split file may be missing."""
        folder = Path(folder)
        h5, split = (
            path if path.is_file() else None for path in (folder / "mr_hisum.h5", folder / "mr_hisum_split.json")
        )
        return cls(folder / "metadata.csv", h5, split, **settings)

    @property
    def video_ids(self) -> list[str]:
        """All names of the metadata in its order, duplicates and videos without features included."""
        return list(read_metadata(self.metadata))

    @property
    def splits(self) -> dict[str, list[str]]:
        """train, validation and test as published, without the repeated videos (`drop_repeats`)."""
        return self._parts()[0]

    @property
    def findings(self) -> dict[str, list[str]]:
        """duplicates, leaks, dropped; with an h5 also without_features and cut_to_common_length (reads every shape)."""
        found = repeats_found(self._published(), self._groups()) | {"dropped": self._parts()[1]}
        return found if self.h5 is None else found | self._features_found(self.h5)

    def read(self, video_id: str) -> VideoRecord:
        """One video; features, scores and summary are cut to their common length N, the seconds 0 to N - 1.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If the video or a member is missing, features are none, or shapes or values do not fit; the
                message names file and video.
        """
        info = read_metadata(self.metadata).get(video_id)
        if info is None:
            raise ValueError(f"{self.metadata}: expected a row for {video_id}, found none")
        if self.h5 is None:
            raise ValueError(f"video {video_id}: expected an h5 with features, found only {self.metadata}")
        features, name, annotation = load_video(self.h5, video_id, self._load)
        n = annotation["n_frames"]
        return VideoRecord(
            video_id=video_id,
            video_features=features[:n],
            duration_s=max(info.duration_s, float(n)),
            encoders=Encoders(ENCODER, "", 1.0, name),
            views=info.views,
            group=info.youtube_id,
            source=str(self.h5),
            **annotation,
        )

    def _load(self, group: Any) -> tuple[np.ndarray, str, dict[str, Any]]:
        if "features" not in group:
            raise ValueError("expected features, which the user adds from YouTube-8M, found none")
        features = read_features(group["features"], RGB_WIDTH)
        name = group["features"].attrs.get("dequantization", self.dequantization)
        return features, name, read_annotation(group, len(features), self.threshold)

    def _published(self) -> dict[str, list[str]]:
        return {} if self.split is None else read_split(self.split, set(self.video_ids))

    def _groups(self) -> dict[str, str]:
        return {name: info.youtube_id for name, info in read_metadata(self.metadata).items()}

    def _parts(self) -> tuple[dict[str, list[str]], list[str]]:
        return drop_repeats(self._published(), self._groups())

    def _features_found(self, h5: str | Path) -> dict[str, list[str]]:
        without, lengths = [], []
        with open_h5(Path(h5)) as file:
            for video_id in self.video_ids:
                group = file.get(video_id, {})
                if "features" not in group:
                    without.append(video_id)
                    continue
                rows = {key: group[key].size for key in (*SCORES, *SUMMARIES) if key in group}
                rows |= {"features": len(group["features"])}
                if len(set(rows.values())) > 1:
                    lengths.append(f"{video_id}: {rows}")
        return {"without_features": without, "cut_to_common_length": lengths}
