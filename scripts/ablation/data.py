"""The videos of an ablation run: a made-up regime or a prepared set, with the labels and features that an arm asks for.

Training and validation videos of a made-up regime are drawn anew with every seed, the test videos are always the same.
None of the sizes is given in the paper: they let a run take a quarter of a minute on one core.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ablation.arms import Data
from hiersum_hf.datasets.parts import DataArguments, dataset_name, load_parts
from hiersum_hf.evaluation.protocols.annotators import Reference
from hiersum_hf.evaluation.protocols.by_name import reference_of
from hiersum_hf.labels import threshold_labels
from hiersum_hf.records import VideoRecord
from hiersum_hf.scoring.training_free import score_frames
from hiersum_hf.synthetic import features as synthetic


TEST_SEED = 999_999  # of the world that the test videos are drawn from
SEGMENT_S = (2, 2)  # half of the demo's: videos of 34 frames


@dataclass(frozen=True)
class Scale:
    """How large the runs are: optimiser steps of an arm of share 1, and videos of the made-up parts."""

    steps: int = 750
    train: int = 600
    validation: int = 60
    test: int = 150


QUICK = Scale(steps=20, train=12, validation=4, test=6)


class Parts(NamedTuple):
    """Records of each part, the references of those that are evaluated, and the name of the data set."""

    train: Sequence[VideoRecord]
    validation: Sequence[VideoRecord]
    test: Sequence[VideoRecord]
    references: dict[str, Reference]
    dataset: str


@lru_cache(maxsize=4)
def load(data: Data, seed: int, scale: Scale) -> Parts:
    """The parts of a made-up regime or of a prepared set, labelled as asked."""
    parts: dict[str, Sequence[VideoRecord]] = {}
    if data.regime in synthetic.REGIMES:
        parts, dataset = {**_made_up(data, seed, scale)}, "demo"
    else:
        args = DataArguments(data=data.regime, fold=data.fold)
        parts, dataset = dict(load_parts(args)), dataset_name(args)
        if scale == QUICK:
            parts = {part: [records[i] for i in range(min(len(records), 8))] for part, records in parts.items()}
    parts = {part: [_prepared(r, data) for r in records] for part, records in parts.items()}
    if data.labels != "own":
        parts["train"] = [_relabelled(r, data) for r in parts["train"]]
    if data.videos is not None:
        parts["train"] = parts["train"][: data.videos]
    if data.labelled is not None:
        known = [*parts["train"], *parts["validation"]][: data.labelled]
        parts["train"], parts["validation"] = known[: -(len(known) // 4)], known[-(len(known) // 4) :]
    evaluated = [*parts["validation"], *parts["test"]]
    return Parts(**parts, references={r.video_id: reference_of(r, dataset) for r in evaluated}, dataset=dataset)


def world_of(data: Data) -> synthetic.World:
    return replace(synthetic.REGIMES[data.regime], **{"segment_s": SEGMENT_S} | dict(data.dials))


@lru_cache
def _features(texts: str) -> tuple:
    """Frames from random projections; texts too, or from a real Sentence-BERT."""
    return synthetic.random_features() if texts == "words" else synthetic.benchmark_features()


def _made_up(data: Data, seed: int, scale: Scale) -> dict[str, list[VideoRecord]]:
    world = world_of(data)
    bank, embed, encoders = _features(data.texts)
    numbers = np.cumsum([0, scale.train, scale.validation])
    seeds = {"train": seed, "validation": seed, "test": TEST_SEED}
    ranges = {"train": range(numbers[1]), "validation": range(numbers[1], numbers[2]), "test": range(scale.test)}
    parts = {}
    for part, indices in ranges.items():
        videos = [synthetic.make_video(i, seeds[part], world) for i in indices]
        parts[part] = [synthetic.to_record(video, bank, embed, encoders) for video in videos]
        if data.labels in ("replay", "shuffled") and part == "train":
            curves = [synthetic.replay_curve(video, data.views) for video in videos]
            pairs = zip(parts[part], curves, strict=True)
            parts[part] = [replace(r, frame_scores=curve.scores_at(r.frame_times_s)) for r, curve in pairs]
    return parts


def _prepared(record: VideoRecord, data: Data) -> VideoRecord:
    """The record with another encoder's features, without text, or described by its own sentences."""
    if not data.text:
        nothing = np.zeros((0, 0), np.float32)
        record = replace(record, sentences=(), text_features=nothing, description=(), description_features=nothing)
    if data.description == "sentences":
        texts = tuple(sentence.text for sentence in record.sentences)
        record = replace(record, description=texts, description_features=record.text_features)
    if data.encoder and record.encoders:
        width = record.video_features.shape[1]
        rotation = np.random.default_rng([width, len(data.encoder)]).standard_normal((width, width + width // 2))
        rotation = np.linalg.qr(rotation.T)[0].T if data.encoder == "wide" else np.linalg.qr(rotation[:, :width])[0]
        features = (record.video_features @ rotation).astype(np.float32)
        record = replace(record, video_features=features, encoders=replace(record.encoders, video=data.encoder))
    return record


def _relabelled(record: VideoRecord, data: Data) -> VideoRecord:
    """Labels of the replay scores, of these at other times, or of the scorer that needs no training."""
    if data.labels == "pseudo":
        scores = score_frames(record, "training-free").astype(np.float32)
        return replace(record, frame_scores=scores, frame_labels=threshold_labels(scores, quantile=data.quantile))
    scores = np.array(record.frame_scores, np.float32)
    if data.labels == "shuffled":
        quarter = len(scores) // 4
        shift = np.random.default_rng([*record.video_id.encode()]).integers(quarter, max(3 * quarter, quarter + 1))
        scores = np.roll(scores, shift)
    scores[record.frame_times_s < data.intro_bins / 100 * record.duration_s] = np.nan
    return replace(record, frame_scores=scores, frame_labels=threshold_labels(scores, data.threshold, data.quantile))


def fingerprint(records: Sequence[VideoRecord]) -> str:
    """A hash of what scores are compared with; arms may read other features of the same videos."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{record.video_id} {record.n_frames} {record.duration_s}".encode())
        for name in ("frame_times_s", "frame_scores", "user_scores", "user_summaries", "shots"):
            part = getattr(record, name)
            digest.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]
