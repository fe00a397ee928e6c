"""Make text features for records whose texts have none.

TVSum's titles are such texts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hiersum_hf.features.text_encoder import TextEncoder, load_text_encoder
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import Encoders, VideoRecord, rate_of


if TYPE_CHECKING:  # training on a plain file must not need pyarrow
    from hiersum_hf.datasets.prepare import Reader


def embed_texts(record: VideoRecord, encoder: TextEncoder) -> VideoRecord:
    """Add features of the record's texts that have none.

    Those that have some stay as they are.

    Raises:
        ValueError: Some texts have features already, of another encoder; the message names the video and both.
    """
    missing = texts_without_features(record)
    if not missing:
        return record
    known = record.encoders.text if record.encoders else ""
    has_features = len(record.text_features) + len(record.description_features) > 0
    if has_features and known not in ("", encoder.encoder_id):
        raise HierSumError(
            f"{record.video_id}: expected all texts encoded by {known!r} like those that have features, "
            f"found {encoder.encoder_id!r}. Give --text-encoder {known}."
        )
    encoders = record.encoders or Encoders("", "", rate_of(record.frame_times_s))
    encoders = replace(encoders, text=encoder.encoder_id)
    features: dict[str, Any] = {name: encoder.encode(texts) for name, texts in missing.items()}
    return replace(record, encoders=encoders, **features)


def texts_without_features(record: VideoRecord) -> dict[str, list[str]]:
    """Collect the texts that have none.

    Returns:
        Texts by the name of the member where their features belong.
    """
    texts = {"text_features": [s.text for s in record.sentences], "description_features": list(record.description)}
    # Features are one row a text: another number of rows means that there are none.
    return {name: rows for name, rows in texts.items() if len(getattr(record, name)) != len(rows)}


@dataclass(frozen=True)
class EmbeddedReader:
    """Add features of texts to what another reader reads.

    Args:
        reader: Where the records come from.
        text_encoder: Id for `hiersum_hf.features.text_encoder`.
        is_default: Nobody named it: texts of videos whose frames have no features, and those beside texts with features
            of another encoder, stay without.
    """

    reader: Reader
    text_encoder: str
    is_default: bool = False

    @property
    def video_ids(self) -> list[str]:
        return list(self.reader.video_ids)

    @property
    def splits(self) -> dict[str, list[str]]:
        return self.reader.splits

    @property
    def findings(self) -> dict[str, list[str]]:
        return self.reader.findings

    def read(self, video_id: str) -> VideoRecord:
        record = self.reader.read(video_id)
        missing = texts_without_features(record)
        if not missing:  # an encoder that nobody can load may have made all features that there are
            return record
        has_features = len(record.text_features) + len(record.description_features) > 0
        is_of_other = has_features and not (record.encoders and record.encoders.text == self.text_encoder)
        if self.is_default and (is_of_other or not len(record.video_features)):
            return record
        try:
            encoder = _encoder(self.text_encoder)
        except ValueError as error:
            texts = " and ".join(name.removesuffix("_features") for name in missing)
            raise HierSumError(f"video {video_id}: its {texts} needs features of --text-encoder. {error}") from None
        return embed_texts(record, encoder)


@lru_cache(maxsize=1)
def _encoder(text_encoder: str) -> TextEncoder:
    return load_text_encoder(text_encoder)
