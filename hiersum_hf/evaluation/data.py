"""Read the videos of an evaluation.

They come from a prepared folder or from the source of any reader.
"""

from __future__ import annotations

import logging
import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.arguments import DataArguments
from hiersum_hf.datasets.parts import choose_split, embed_all, split_name
from hiersum_hf.datasets.readers.tvsum import TVSumReader
from hiersum_hf.datasets.readers.tvsum_ratings import RATINGS
from hiersum_hf.datasets.readers.tvsum_texts import UNKNOWN
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import Encoders, VideoRecord, row_counts
from hiersum_hf.results import Results
from hiersum_hf.scoring.checkpoint import training_stages
from hiersum_hf.scoring.scores_file import needs_checkpoint


logger = logging.getLogger(__name__)

DRAWN = re.compile(r"disjoint-folds-seed(\d+)")  # name of a split that was drawn


class EvaluationData:
    """Records of a data set and of its parts.

    Features are read when a part is.

    Args:
        dataset: Name of the data set.
        data: Prepared folder, or source of the data set's reader.
        ratings: TVSum's ratings or the folder of SumMe's annotations, to go with a feature file.
        video_encoder: Id of what made the frame features, where the data carries none.
        text_encoder: Id of what made the text features, where the data carries none; texts without features get those
            of this encoder.

    Raises:
        FileNotFoundError: There are no such data or ratings.
        HierSumError: The data or the ratings cannot be read.
    """

    def __init__(
        self,
        dataset: str,
        data: str | Path,
        ratings: str | Path | None = None,
        video_encoder: str | None = None,
        text_encoder: str | None = None,
    ):
        self.data, path = str(data), Path(data)
        self.video_encoder, self.text_encoder = video_encoder, text_encoder
        self.shipped: list[dict[str, list[str]]] = []
        self._records: Any = None  # a list, or a prepared folder's records on disk
        self._reader: Any = None
        self._split: dict[str, list[str]] = {}
        if (path / ".plan.json").is_file() or any(path.glob("data-*.parquet")):
            from hiersum_hf.datasets.prepared import load_prepared, prepared_dataset, prepared_splits

            self._records, self.shipped = load_prepared(path), prepared_splits(path)
            if prepared_dataset(path) not in (None, dataset):
                raise HierSumError(f"{path}: prepared as {prepared_dataset(path)}, found {dataset} to evaluate it as.")
        elif path.is_file() and path.suffix not in RATINGS and dataset in ("tvsum", "summe"):
            self._reader = TVSumReader(path, None if ratings is None else Path(ratings))
        else:
            from hiersum_hf.datasets.readers.open import open_reader

            self._reader = open_reader(dataset, path)[0]
            self.shipped = [self._reader.splits] if self._reader.splits else []

    @property
    def video_ids(self) -> list[str]:
        """Names of all videos of the data set."""
        return list(self._records.groups if self._reader is None else self._reader.video_ids)

    def part(
        self,
        part: str | None = None,
        split_file: str | None = None,
        fold: int | None = None,
        split_seed: int = 0,
    ) -> tuple[Sequence[VideoRecord], str, str | None]:
        """Return the records and name of a part, and the split's name.

        Args:
            part: "train", "validation", "test" or "all"; by default "test" where there is a split, else "all".
            split_file: A published split file; by default the split that the data ships with, if any.
            fold: Split of the file, or of 5 disjoint folds where there is neither file nor shipped split; from 0.
            split_seed: Draws the folds.

        Raises:
            FileNotFoundError: There is no such split file.
            HierSumError: As `datasets.parts.choose_split`, or the part has no videos, or the data names another encoder
                than the one that was given.
        """
        if part is None:
            part = "test" if split_file or fold is not None or self.shipped else "all"
        self._split = {}
        if part == "all":
            return self._encoded(self._read(None)), part, None
        chosen = DataArguments(data=self.data, split_file=split_file, split_seed=split_seed, fold=fold or 0)
        self._split = choose_split(chosen, self._groups(), self.shipped, needed=(part,))
        videos = self._split[part]
        if not videos:
            raise HierSumError(f"{split_file or self.data}: expected videos in the part {part}, found none")
        name = f"published#{chosen.fold}" if self.shipped and not split_file else split_name(chosen)
        return self._encoded(self._read(videos)), part, name

    def beside(self, part: str) -> Iterator[VideoRecord]:
        """Read another part of the split that `part` chose last, one video at a time.

        There are none without a split. Videos that their source cannot read are left out, and the log counts them.
        """
        videos = self._split.get(part, [])
        if self._records is not None:
            yield from self._read(videos)
            return
        broken = []
        for video in videos:
            try:
                yield self._reader.read(video)
            except (ValueError, OSError) as error:
                broken.append(error)
        if broken:
            logger.warning("%s: left out %d unreadable videos of %s, as %s", self.data, len(broken), part, broken[0])

    def _encoded(self, records: Sequence[VideoRecord]) -> Sequence[VideoRecord]:
        """Name the encoders that were given in the records.

        This reads the records of a prepared folder into memory.
        """
        if self.video_encoder or self.text_encoder:
            records = [with_encoders(record, self.video_encoder, self.text_encoder) for record in records]
        return with_text_features(records, self.text_encoder) if self.text_encoder else records

    def _groups(self) -> dict[str, str | None]:
        """Map every video to its group.

        Where the source ships a split, that split respects the groups already.
        """
        if self._records is not None and hasattr(self._records, "groups"):
            return dict(self._records.groups)
        if self._records is None and self.shipped:
            return dict.fromkeys(self._reader.video_ids)
        return {record.video_id: record.group for record in self._read(None)}

    def _read(self, videos: Sequence[str] | None) -> Sequence[VideoRecord]:
        """Read the records of these videos, or of all."""
        if self._records is None and (videos is None or not self.shipped):
            self._records = [self._reader.read(video) for video in self._reader.video_ids]
        if self._records is None:
            return [self._reader.read(video) for video in videos or ()]
        records: Sequence[VideoRecord] = self._records
        if videos is not None and hasattr(self._records, "select"):
            records = self._records.select(videos)
        elif videos is not None:
            by_id = {record.video_id: record for record in self._records}
            records = [by_id[video] for video in videos]
        return records


def with_encoders(record: VideoRecord, video_encoder: str | None, text_encoder: str | None) -> VideoRecord:
    """Name what made the record's features, where it does not say.

    Raises:
        HierSumError: It names another encoder.
    """
    made = record.encoders or Encoders("", "", _sample_fps(record))
    has_texts = len(record.text_features) + len(record.description_features) > 0
    video = _named(record, "video", made.video, video_encoder if record.video_features.shape[1] else None)
    text = _named(record, "text", made.text, text_encoder if has_texts else None)
    return replace(record, encoders=replace(made, video=video, text=text))


def _named(record: VideoRecord, side: str, found: str, given: str | None) -> str:
    if given and found not in ("", UNKNOWN, given):
        raise HierSumError(
            f"video {record.video_id}: --{side}-encoder: expected {found!r}, as the data says, found {given!r}"
        )
    return given or found


def _sample_fps(record: VideoRecord) -> float:
    times_s = record.frame_times_s
    return 1 / float(np.median(np.diff(times_s)) if len(times_s) > 1 else record.duration_s)


def with_text_features(records: Sequence[VideoRecord], text_encoder: str) -> Sequence[VideoRecord]:
    """Add features of all texts to the records.

    Records of a prepared folder that has them stay on disk.
    """
    texts = {"text_features": "sentences", "description_features": "description"}
    if all((row_counts(records, rows) == row_counts(records, name)).all() for rows, name in texts.items()):
        return records
    return embed_all(list(records), text_encoder)


def keep_to_own_split(args: Namespace) -> list[str]:
    """Choose the split that the checkpoints were trained on.

    Where another split was asked for, that split stays.

    Args:
        args: Flags of `hiersum evaluate`; `fold` and `split_seed` are filled in.

    Returns:
        A warning for each checkpoint that has seen some of these videos.

    Raises:
        HierSumError: A checkpoint's split came from a file, which was not given.
    """
    seen = {} if args.folds else {one: _own_splits(one, args.dataset) for one in args.scorer}
    if args.part is None and args.fold is None and not args.split_file:
        for checkpoint, splits in seen.items():
            if splits:
                _take_split(args, checkpoint, splits[-1])
                break
    warnings = []
    for checkpoint, splits in seen.items():
        if splits and (args.part in ("all", "train") or {_asked_split(args, splits[-1])} != set(splits)):
            names = ", ".join(dict.fromkeys(splits))
            warnings.append(f"{checkpoint} was trained on split {names}: it has seen some of these videos")
    return warnings


def _own_splits(scorer: str, dataset: str) -> list[str]:
    """List the splits of this data set that a scorer was trained on; baselines and files of scores tell of none."""
    if not needs_checkpoint(scorer) or ("/" not in scorer and not Path(scorer).is_dir()):
        return []
    splits = [stage["split"] for stage in training_stages(scorer) if stage["dataset"] == dataset]
    return [str(split) for split in splits] if splits and splits[-1] else []


def _take_split(args: Namespace, checkpoint: str, split: str) -> None:
    """Fill in the fold and the seed of a checkpoint's split."""
    name, _, fold = split.rpartition("#")
    drawn = DRAWN.fullmatch(name)
    if not drawn and name != "published":
        else_ = "or --part all to measure it on videos that it has seen"
        raise HierSumError(f"{checkpoint}: expected --split-file with {name}, on which it was trained ({else_}).")
    args.fold, args.split_seed = int(fold), int(drawn.group(1)) if drawn else args.split_seed


def _asked_split(args: Namespace, own: str) -> str:
    """Name the split that the flags ask for, beside a checkpoint's own."""
    name = own.rpartition("#")[0]
    if args.split_file:
        name = Path(args.split_file).name
    elif DRAWN.fullmatch(name):
        name = f"disjoint-folds-seed{args.split_seed}"
    return f"{name}#{args.fold or 0}"


def own_results(checkpoint: str | Path) -> Results | None:
    """Read the results that the training of a local checkpoint left.

    They are None where it left none.
    """
    path = Path(checkpoint, "results.json")
    return Results.read(path) if path.is_file() else None
