"""What a training run reads: the demo set or a TVSum-format file, in parts that share no video."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hiersum_hf import synthetic
from hiersum_hf.datasets.embed import embed_texts
from hiersum_hf.datasets.splits import disjoint_folds, with_validation
from hiersum_hf.datasets.tvsum import read_splits, read_tvsum
from hiersum_hf.encoders import OFFLINE_TEXT_ENCODER, OFFLINE_VIDEO_ENCODER, load_text_encoder, load_video_encoder
from hiersum_hf.records import Encoders, VideoRecord


logger = logging.getLogger(__name__)

DEMO_VIDEOS = {"train": 1000, "validation": 40, "test": 200}


@dataclass
class DataArguments:
    """Which videos to train on."""

    data: str = field(
        default="demo",
        metadata={"help": "'demo' (made up), a folder made by `hiersum prepare`, or a file in TVSum's h5 format."},
    )
    ratings: str | None = field(
        default=None,
        metadata={"help": "ydata-tvsum50.mat: titles (the parent text) and every annotator's ratings."},
    )
    split_file: str | None = field(
        default=None,
        metadata={"help": "A published split file (yml or json). Default: 5 disjoint folds, drawn by the seed."},
    )
    split_seed: int = field(default=0, metadata={"help": "Draws the folds, whatever the seed of the training."})
    fold: int = field(default=0, metadata={"help": "Which split or fold to train on, from 0."})
    video_encoder: str = field(
        default="unknown", metadata={"help": "What the frame features were made with, where the file does not say."}
    )
    text_encoder: str = field(
        default="sentence-transformers/all-mpnet-base-v2",
        metadata={"help": "Encoder of titles and sentences that have no features yet."},
    )


def load_parts(args: DataArguments) -> Mapping[str, Sequence[VideoRecord]]:
    """Records of the parts train, validation and test.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is not what it should be, or the split names videos that the data lacks.
    """
    if args.data == "demo":
        return demo_parts()
    if Path(args.data, "report.json").is_file():
        from hiersum_hf.datasets.prepare import load_prepared, prepared_splits  # they need pyarrow

        prepared = load_prepared(args.data)
        split = choose_split(args, prepared.groups, prepared_splits(args.data))
        return {part: prepared.select(videos) for part, videos in split.items()}
    records = read_tvsum(args.data, args.ratings)
    records = [record if record.encoders else _named(record, args) for record in records]
    records = embed_all(records, args.text_encoder)
    by_id = {record.video_id: record for record in records}
    split = choose_split(args, {record.video_id: record.group for record in records}, [])
    return {part: [by_id[video] for video in videos] for part, videos in split.items()}


def choose_split(
    args: DataArguments, videos: Mapping[str, str | None], shipped: Sequence[dict[str, list[str]]]
) -> dict[str, list[str]]:
    """The split of the flags: of the split file, else the one shipped with the data, else one of the disjoint folds.

    Args:
        args: The flags.
        videos: Every video with its group, None = its own; no group is in two parts of a drawn split.
        shipped: The split that the data comes with, if any.

    Raises:
        ValueError: There is no such fold, or the split names videos that the data lacks.
    """
    folds = read_splits(args.split_file) if args.split_file else shipped
    groups = {video: group for video, group in videos.items() if group is not None}
    splits = folds or disjoint_folds(list(videos), seed=args.split_seed, groups=groups)
    if not 0 <= args.fold < len(splits):
        raise ValueError(f"{args.split_file or 'The folds'}: expected fold 0 to {len(splits) - 1}, found {args.fold}.")
    split = with_validation(splits[args.fold], args.split_seed, groups)
    unknown = sorted({video for part in split.values() for video in part}.difference(videos))
    if unknown:
        raise ValueError(f"{args.split_file}: expected videos of {args.data}, found also {', '.join(unknown[:5])}.")
    return split


def _named(record: VideoRecord, args: DataArguments) -> VideoRecord:
    """The record with the encoders that the flags name and the sample rate that its times show."""
    period_s = float(np.median(np.diff(record.frame_times_s))) if len(record.frame_times_s) > 1 else 1.0
    has_text = len(record.text_features) + len(record.description_features) > 0
    return replace(record, encoders=Encoders(args.video_encoder, args.text_encoder if has_text else "", 1 / period_s))


def embed_all(records: list[VideoRecord], text_encoder: str) -> list[VideoRecord]:
    """The records with features of all their texts; loads the encoder only if some have none."""
    if all(
        len(r.description_features) == len(r.description) and len(r.text_features) == len(r.sentences) for r in records
    ):
        return records
    logger.info("Encoding texts with %s", text_encoder)
    encoder = load_text_encoder(text_encoder)
    return [embed_texts(record, encoder) for record in records]


def demo_parts(counts: dict[str, int] | None = None) -> dict[str, list[VideoRecord]]:
    """The demo set; its features come from the offline encoders, or from random projections where they are missing."""
    try:
        encoders = load_video_encoder(OFFLINE_VIDEO_ENCODER), load_text_encoder(OFFLINE_TEXT_ENCODER)
    except (ImportError, ValueError) as error:
        logger.warning("%s\nThe demo uses random projections: its checkpoint cannot read real videos.", error)
        bank, embed, ids = synthetic.random_features()
    else:
        logger.info("Encoding the demo's pictures and texts with %s and %s", *(e.encoder_id for e in encoders))
        bank, embed, ids = synthetic.encoder_features(*encoders)
    parts, first = {}, 0
    for part, count in (counts or DEMO_VIDEOS).items():
        videos = [synthetic.make_video(index) for index in range(first, first + count)]
        parts[part] = [synthetic.to_record(video, bank, embed, ids) for video in videos]
        first += count
    return parts


def demo_test_video(number: int) -> synthetic.LatentVideo:
    """Video `number` of the demo's test part, to be rendered."""
    return synthetic.make_video(DEMO_VIDEOS["train"] + DEMO_VIDEOS["validation"] + number)
