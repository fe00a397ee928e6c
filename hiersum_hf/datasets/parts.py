"""Load the videos of a training run, in disjoint parts.

They come from the demo set, a prepared folder or a TVSum-format file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.arguments import DataArguments
from hiersum_hf.datasets.readers.tvsum import read_tvsum
from hiersum_hf.datasets.split_files import read_splits
from hiersum_hf.datasets.splits import disjoint_folds, with_validation, without_leaks
from hiersum_hf.datasets.text_features import embed_texts
from hiersum_hf.features.text_encoder import load_text_encoder
from hiersum_hf.files.json_file import read_json_object
from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
from hiersum_hf.modeling.errors_hiersum import HierSumError, InputError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.records import Encoders, VideoRecord, rate_of, row_counts
from hiersum_hf.scoring.network import encoder_mismatch, encoders_of
from hiersum_hf.synthetic.demo import DEMO_VIDEOS, demo_parts


logger = logging.getLogger(__name__)


def load_parts(args: DataArguments) -> Mapping[str, Sequence[VideoRecord]]:
    """Load the records of the parts train, validation and test.

    With `fit_on_validation` there is a fourth, "fitted": what teaches of train and validation together. Those of a
    prepared folder stay on disk. Videos that cannot be used are left out and counted in the log, see `usable`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is not what it should be, the split names videos that the data lacks, or a part is empty.
    """
    if args.data == "demo":
        demo = demo_parts(DEMO_VIDEOS | {"train": train_count(args, DEMO_VIDEOS["train"])}, args.demo_replay)
        return demo | {"fitted": [*demo["train"], *demo["validation"]]} if args.fit_on_validation else demo
    if args.demo_replay:
        raise HierSumError(f"demo_replay: expected the demo set, found {args.data}. Leave it out.")
    if Path(args.data).is_dir():
        from hiersum_hf.datasets.prepared import load_prepared, prepared_splits  # they need pyarrow

        prepared = load_prepared(args.data)
        split = choose_split(args, prepared.groups, prepared_splits(args.data))
        split = usable(split, list(prepared.groups), prepared, args)
        return {part: prepared.select(videos) for part, videos in split.items()}
    if not Path(args.data).exists():
        known = "demo, a folder made by `hiersum prepare` or a file in TVSum's h5 format"
        raise FileNotFoundError(f"{args.data}: expected {known}, found nothing there.")
    try:
        records = read_tvsum(args.data, args.ratings)
    except InputError as error:
        if ", video " not in str(error):
            raise
        to_do = "`hiersum prepare tvsum --skip-bad` leaves such videos out"
        raise InputError(f"{str(error).rstrip('.')}. {to_do}.") from error
    records = [record if record.encoders else _named(record, args) for record in records]
    records = embed_all(records, args.text_encoder)
    by_id = {record.video_id: record for record in records}
    split = choose_split(args, {record.video_id: record.group for record in records}, [])
    split = usable(split, list(by_id), records, args)
    return {part: [by_id[video] for video in videos] for part, videos in split.items()}


def usable(
    split: Mapping[str, Sequence[str]], video_ids: Sequence[str], records: Sequence[VideoRecord], args: DataArguments
) -> dict[str, list[str]]:
    """Leave out videos that have no features or teach nothing.

    Every part loses videos without features, the training part also those without frame labels and, for the replay
    loss, frame scores. Of these the first `train_videos` count.

    Args:
        split: Video ids of each part.
        video_ids: Ids of the records, in their order.
        records: All of them; their features are not read.
        args: The flags.

    Raises:
        ValueError: Nothing is left of a part, or fewer training videos than asked for.
    """
    # (V,) bool each, for which no features are read.
    seen = row_counts(records, "video_features") > 0
    taught = row_counts(records, "frame_labels") + row_counts(records, "frame_scores") > 0
    if not seen.any():
        raise HierSumError(
            f"{args.data}: expected videos with frame features, found none in {len(seen)}. Prepare it from a source "
            "with features: `hiersum prepare --help` names the files that hold them."
        )
    facts = dict(zip(video_ids, zip(seen, taught, strict=True), strict=True))
    kept: dict[str, list[str]] = {}
    for part, videos in split.items():
        visible = [video for video in videos if facts[video][0]]
        kept[part] = [video for video in visible if facts[video][1]] if part == "train" else visible
        left_out = len(videos) - len(visible), len(visible) - len(kept[part])
        if any(left_out):
            logger.warning("%s: left out %d videos without features, %d without labels and scores", part, *left_out)
        if not kept[part]:
            raise HierSumError(
                f"{args.data}: expected {part} videos with features and labels, found none in {len(videos)}. Choose "
                "another split, or prepare more of them."
            )
    kept["train"] = kept["train"][: train_count(args, len(kept["train"]))]
    if args.fit_on_validation:
        kept["fitted"] = [*kept["train"], *(video for video in kept["validation"] if facts[video][1])]
    return kept


def train_count(args: DataArguments, there: int) -> int:
    """Count the videos to train on.

    Raises:
        ValueError: The training part has fewer than asked for.
    """
    count = there if args.train_videos is None else args.train_videos
    if not 1 <= count <= there:
        raise HierSumError(f"{args.data}: expected train_videos from 1 to {there}, all there are, found {count}.")
    return count


def _prepared_info(data: str) -> dict[str, Any]:
    """Read what `hiersum prepare` noted about the folder.

    {} for other data.
    """
    path = Path(data, "dataset_info.json")
    return read_json_object(path) if path.is_file() else {}


def dataset_name(args: DataArguments) -> str:
    """Name the data set whose protocol applies.

    A prepared folder says it, else it is judged by the file's name.
    """
    if args.data == "demo":
        return "demo"
    return _prepared_info(args.data).get("dataset") or ("summe" if "summe" in Path(args.data).name else "tvsum")


def split_name(args: DataArguments) -> str | None:
    """Name the split's source and its fold, for `results.json`."""
    if args.data == "demo":
        return None
    drawn = "published" if _prepared_info(args.data).get("splits") else f"disjoint-folds-seed{args.split_seed}"
    return f"{Path(args.split_file).name if args.split_file else drawn}#{args.fold}"


def extractor_of(
    parts: Mapping[str, Sequence[VideoRecord]], args: DataArguments
) -> tuple[HierSumFeatureExtractor, str | None]:
    """Make the feature extractor that fits the records.

    Sample rates may differ, as TVSum's do: the feature extractor has the median. No features are read but those of the
    first video and the first one with text.

    Returns:
        The feature extractor, and the first record that it does not fit, in words, or None.
    """
    first = parts["train"][0]
    known: Any = [made for records in parts.values() for made in encoders_of(records) if made] or [
        _named(first, args).encoders
    ]
    text_encoder, text_dim = "", HierSumConfig.text_dim
    spoken = next(filter(None, map(_first_with_text, parts.values())), None)
    if spoken is not None:
        text_encoder = (spoken.encoders and spoken.encoders.text) or args.text_encoder
        text_dim = (spoken.text_features if len(spoken.text_features) else spoken.description_features).shape[1]
    extractor = HierSumFeatureExtractor(
        video_encoder=known[0].video or args.video_encoder,
        text_encoder=text_encoder,
        video_dim=first.video_features.shape[1],
        text_dim=text_dim,
        sample_fps=float(np.median([encoders.sample_fps for encoders in known])),
        normalization=known[0].normalization,
    )
    found = [encoder_mismatch(extractor, records) for records in parts.values()]
    return extractor, next(filter(None, found), None)


def _first_with_text(records: Sequence[VideoRecord]) -> VideoRecord | None:
    """Find the first record with text features."""
    rows = row_counts(records, "text_features") + row_counts(records, "description_features")
    return records[int((rows > 0).argmax())] if rows.any() else None


def choose_split(
    args: DataArguments,
    videos: Mapping[str, str | None],
    shipped: Sequence[dict[str, list[str]]],
    needed: Sequence[str] = ("train", "test"),
) -> dict[str, list[str]]:
    """Choose the split that the flags ask for.

    It is that of the split file, else the one shipped with the data, else one of the disjoint folds. A split file loses
    training videos whose group validation or test has, and validation videos whose group test has; the log names them.
    A split that the data set ships with is taken as its reader gives it: those of Mr.HiSum and MoSu have lost theirs
    there, BLiSS keeps its livestreams in several parts, as published, which the log says.

    Args:
        args: The flags.
        videos: Every video with its group, None = its own; no group is in two parts of a drawn split.
        shipped: The split that the data comes with, if any.
        needed: Parts that must have videos.

    Raises:
        ValueError: There is no such fold, a part is empty, or the split names videos that the data lacks.
    """
    folds = read_splits(args.split_file) if args.split_file else shipped
    groups = {video: group for video, group in videos.items() if group is not None}
    splits = folds or disjoint_folds(list(videos), seed=args.split_seed, groups=groups)
    where = args.split_file or args.data
    if not 0 <= args.fold < len(splits):
        raise HierSumError(f"{where}: expected fold 0 to {len(splits) - 1}, found {args.fold}.")
    unknown = sorted({video for part in splits[args.fold].values() for video in part}.difference(videos))
    if unknown:
        raise HierSumError(
            f"{where}: expected videos of {args.data}, found also {', '.join(unknown[:5])}. Remove them."
        )
    split = without_leaks(splits[args.fold], groups, where, keep=not args.split_file)
    for part in needed:
        if not split.get(part):
            found = ", ".join(part for part, names in split.items() if names) or "none"
            raise HierSumError(
                f"{where}: expected a split with {part} videos, found {found}. Give another --split-file."
            )
    if not split.get("train"):  # none to set apart, as where a trained network is only tested
        return {part: list(split.get(part, ())) for part in ("train", "validation", "test")}
    return with_validation({"test": [], **split}, args.split_seed, groups)


def _named(record: VideoRecord, args: DataArguments) -> VideoRecord:
    """Name encoders by the flags and the rate by the times."""
    has_text = len(record.text_features) + len(record.description_features) > 0
    text, fps = args.text_encoder if has_text else "", rate_of(record.frame_times_s)
    return replace(record, encoders=Encoders(args.video_encoder, text, fps))


def embed_all(records: list[VideoRecord], text_encoder: str) -> list[VideoRecord]:
    """Add features of all texts to the records.

    The encoder is loaded only if some have none.
    """
    if all(
        len(r.description_features) == len(r.description) and len(r.text_features) == len(r.sentences) for r in records
    ):
        return records
    logger.info("Encoding texts with %s", text_encoder)
    encoder = load_text_encoder(text_encoder)
    return [embed_texts(record, encoder) for record in records]
