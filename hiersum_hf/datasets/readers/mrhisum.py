"""Read Mr.HiSum, videos with the most-replayed curve as importance.

It has 31,892 videos of YouTube-8M, one row a second.

Three files: `metadata.csv`, `mr_hisum_split.json` and `mr_hisum.h5`, to whose groups the user adds YouTube-8M's frame
features (`readers.youtube8m.add_features`). Without the h5 the videos, splits and findings can be listed.

Letters: N rows (seconds) of a video.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.readers.mrhisum_files import (
    ANNOTATION,
    SCORES,
    SUMMARIES,
    drop_repeats,
    load_video,
    read_annotation,
    read_features,
    read_metadata,
    read_split,
    repeats_found,
)
from hiersum_hf.datasets.readers.youtube8m import DEQUANTIZATIONS, RGB_WIDTH, add_features
from hiersum_hf.files.h5_file import Member, outlines, read_text, row_count
from hiersum_hf.labels import ReplayLabels
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Encoders, VideoRecord


ENCODER = "youtube8m-inception"
WITH_FEATURES = "mr_hisum_features.h5"


@dataclass(frozen=True)
class MrHiSumReader(ReplayLabels):
    """Read Mr.HiSum; labels and views are as in `ReplayLabels`.

    Args:
        metadata: `metadata.csv`.
        h5: `mr_hisum.h5` with features; None to list the videos only.
        split: `mr_hisum_split.json`; None for no splits.
        dequantization: Name of the dequantisation where a features member has no attribute `dequantization`: "mrhisum"
            (what MR.HiSum's preparation writes) or "official".

    Raises:
        ValueError: If the name or a setting of the labels is another one.
    """

    metadata: str | Path
    h5: str | Path | None = None
    split: str | Path | None = None
    dequantization: str = "mrhisum"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dequantization not in DEQUANTIZATIONS:
            raise InputError(f"expected one of {', '.join(DEQUANTIZATIONS)}, found {self.dequantization!r}")

    @classmethod
    def from_folder(cls, folder: str | Path, **settings: Any) -> MrHiSumReader:
        """Find the files under their usual names.

        What `add_youtube8m` made comes first; h5 and split file may be missing.
        """
        names = WITH_FEATURES, "mr_hisum.h5", "mr_hisum_split.json"
        made, h5, split = (path if path.is_file() else None for path in (Path(folder, name) for name in names))
        return cls(Path(folder, "metadata.csv"), made or h5, split, **settings)

    @property
    def video_ids(self) -> list[str]:
        """Names of the metadata in its order.

        Duplicates and videos without features are among them.
        """
        return list(self._groups())

    @property
    def splits(self) -> dict[str, list[str]]:
        """Published parts, without the repeated videos (`drop_repeats`)."""
        return self._parts()[0]

    @property
    def findings(self) -> dict[str, list[str]]:
        """Repeated videos, and those that lack something.

        These are duplicates, leaks, dropped and outside_views (which the other findings leave out); with an h5 also
        without_features and cut_to_common_length (reads every shape).
        """
        kept = self._groups()
        found = repeats_found(self._published(), kept) | {"dropped": self._parts()[1]}
        found["outside_views"] = [name for name in read_metadata(self.metadata) if name not in kept]
        return found if self.h5 is None else found | self._features_found(self.h5)

    def read(self, video_id: str) -> VideoRecord:
        """Read one video.

        Features, scores and summary are cut to their common length N, the seconds 0 to N - 1.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If the video or a member is missing, features are none, or shapes or values do not fit; the
                message names file and video.
        """
        info = read_metadata(self.metadata).get(video_id)
        if info is None:
            raise InputError(f"{self.metadata}: expected a row for {video_id}, found none. Fetch it again.")
        if self.h5 is None:
            folder = Path(self.metadata).parent
            ways = "without --output `hiersum prepare` lists what metadata and split hold"
            raise FileNotFoundError(f"{folder}: expected {WITH_FEATURES} or mr_hisum.h5, found neither; {ways}")
        arrays, attributes = ("features", *ANNOTATION), ("features",)
        features, name, annotation = load_video(self.h5, video_id, self._load, arrays=arrays, attributes=attributes)
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

    def _load(self, group: Member) -> tuple[np.ndarray, str, dict[str, Any]]:
        if "features" not in group:
            raise InputError("expected features, found none. --youtube8m DIR adds those of YouTube-8M.")
        features = read_features(group, RGB_WIDTH, "features")
        name = read_text(group.attributes["features"], "dequantization", self.dequantization)
        return features, name, read_annotation(group, len(features), self)

    def _published(self) -> dict[str, list[str]]:
        return {} if self.split is None else read_split(self.split, read_metadata(self.metadata), self._groups())

    def _groups(self) -> dict[str, str]:
        """Map the videos within the limits of views to YouTube ids."""
        rows = read_metadata(self.metadata)
        return {name: info.youtube_id for name, info in rows.items() if self.takes(info.views)}

    def _parts(self) -> tuple[dict[str, list[str]], list[str]]:
        return drop_repeats(self._published(), self._groups())

    def _features_found(self, h5: str | Path) -> dict[str, list[str]]:
        without, lengths = [], []
        for video_id, found in outlines(Path(h5), self.video_ids, (*SCORES, *SUMMARIES, "features")).items():
            if "features" not in found.members:
                without.append(video_id)
                continue
            # A summary may be (T,) or (1, T): its items count. Features are (T, 1024): their rows count.
            rows = {key: math.prod(shape or (0,)) for key, shape in found.members.items()}
            rows |= {"features": row_count(found.members["features"])}
            if len(set(rows.values())) > 1:
                lengths.append(f"{video_id}: {rows}")
        return {"without_features": without, "cut_to_common_length": lengths}


def add_youtube8m(folder: str | Path, tfrecords: str | Path, dequantization: str = "mrhisum") -> list[str]:
    """Write mr_hisum_features.h5 into the folder.

    It is its mr_hisum.h5 with the features of a folder of .tfrecord files.

    Returns:
        The videos that have no features yet.

    Raises:
        FileExistsError: It was written before.
        FileNotFoundError, ValueError: As `hiersum_hf.datasets.readers.youtube8m.add_features`.
    """
    folder, files = Path(folder), sorted(Path(tfrecords).glob("*.tfrecord"))
    if not files:
        raise FileNotFoundError(
            f"{tfrecords}: expected a folder of .tfrecord files, found none. Fetch those of YouTube-8M."
        )
    if (folder / WITH_FEATURES).exists():
        raise FileExistsError(f"{folder / WITH_FEATURES}: expected no such file yet; with it no features need be added")
    rows = read_metadata(folder / "metadata.csv")
    ids = {name: info.random_id for name, info in rows.items() if info.random_id}
    return add_features(folder / "mr_hisum.h5", folder / WITH_FEATURES, files, ids, dequantization)
