"""Read annotations of TVSum or SumMe that come without a feature file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hiersum_hf.datasets.readers.summe import mat_files, read_annotations
from hiersum_hf.datasets.readers.tvsum_ratings import RatedVideo, cached_ratings, rated_record
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import VideoRecord


@dataclass(frozen=True)
class AnnotationReader:
    """Read TVSum's ratings (.mat, .tsv) or the folder of SumMe's annotations.

    The records have annotators, and neither features nor shots. Videos go by the YouTube id or by the file's name.
    """

    path: Path

    @property
    def video_ids(self) -> list[str]:
        if self.path.is_dir():
            return list(mat_files(self.path))
        return [video.video_id for video in cached_ratings(self.path)]

    @property
    def splits(self) -> dict[str, list[str]]:
        """No parts, because splits come in files of their own."""
        return {}

    @property
    def findings(self) -> dict[str, list[str]]:
        """All videos, as `without_features`."""
        return {"without_features": self.video_ids}

    def read(self, video_id: str) -> VideoRecord:
        """Read one video as a record.

        Raises:
            FileNotFoundError: If its file is missing.
            ValueError: If there is no such video or its file is damaged; the message names the file.
        """
        return rated_record(self._video(video_id))

    def _video(self, video_id: str) -> RatedVideo:
        if self.path.is_dir():
            return read_annotations(self.path / f"{video_id}.mat")
        found = [video for video in cached_ratings(self.path) if video.video_id == video_id]
        if not found:
            raise InputError(f"{self.path}: expected ratings of {video_id}, found no such video")
        return found[0]
