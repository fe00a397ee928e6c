"""Notice a video that differs from the others of its set."""

from __future__ import annotations

from dataclasses import dataclass, field

from hiersum_hf.records import VideoRecord


@dataclass(frozen=True)
class Profile:
    """Hold what every video of a set shares.

    It is taken from the first videos that have it: widths of features, 0 = none, and encoders. `encoders` has the ids
    "video", "normalization" and "text" as far as they are known. Sample rates may differ: those of TVSum follow the
    frame rates of its videos.
    """

    video_dim: int = 0
    text_dim: int = 0
    encoders: dict[str, str] = field(default_factory=dict)

    def completed(self, record: VideoRecord) -> Profile:
        """Add what this record has and earlier ones lacked."""
        text_dim = max(record.text_features.shape[1], record.description_features.shape[1])
        return Profile(
            self.video_dim or record.video_features.shape[1],
            self.text_dim or text_dim,
            _encoder_ids(record) | self.encoders,
        )

    @property
    def complete(self) -> bool:
        return bool(self.video_dim and self.text_dim and len(self.encoders) == 3)

    def mismatch(self, record: VideoRecord) -> str | None:
        """Say in which encoders the record differs; None if in none."""
        # What is not known so far does not differ.
        found = {kind: id for kind, id in _encoder_ids(record).items() if self.encoders.get(kind, id) != id}
        if not found:
            return None
        expected = ", ".join(f"{kind} {self.encoders[kind]}" for kind in found)
        return (
            f"{record.video_id}: expected features of {expected} as in the videos before, "
            f"found {', '.join(f'{kind} {id}' for kind, id in found.items())}"
        )


def _encoder_ids(record: VideoRecord) -> dict[str, str]:
    """Name what made the record's features, as far as it is known."""
    made, ids = record.encoders, {}
    if made is not None and made.video and record.video_features.size:
        ids = {"video": made.video, "normalization": made.normalization}
    if made is not None and record.text_features.size + record.description_features.size:
        ids["text"] = made.text
    return {kind: id for kind, id in ids.items() if id}
