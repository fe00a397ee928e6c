"""Measure every fold of a cross-validation, with mean and spread.

Letters: N sampled frames.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.arguments import DataArguments
from hiersum_hf.datasets.parts import dataset_name, load_parts, split_name
from hiersum_hf.datasets.split_files import read_splits
from hiersum_hf.evaluation.evaluate import against_ridge, evaluate_scores
from hiersum_hf.evaluation.ridge import RidgeScores, ridge_scores
from hiersum_hf.evaluation.statistics import mean_interval
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import METRICS, Baseline, Figures, FoldResult, Results
from hiersum_hf.scoring.checkpoint import load_checkpoint, training_stages
from hiersum_hf.scoring.network import encoder_mismatch, predict_scores


logger = logging.getLogger(__name__)

DRAWN_FOLDS = 5
CARRIED = ("scorer", "selected_on", "score_head")  # what every fold must have in common


@dataclass(frozen=True, eq=False)
class Fold:
    """The test part of a fold and its scores.

    Attributes:
        records: The videos of the test part.
        scores: (N,) importance for each video id; None for a baseline that has none.
        sentence_scores: Scores of the sentences for each video id.
        level: Level at which the network read the videos; None for a scorer without levels.
        mismatch: A sentence where the network was made for features of other encoders.
        ridge: Scores of the ridge baseline, fitted on the fold's other parts; None where it cannot be.
    """

    records: Sequence[VideoRecord]
    scores: Mapping[str, np.ndarray] | None
    sentence_scores: Mapping[str, np.ndarray]
    level: str | None = None
    mismatch: str | None = None
    ridge: RidgeScores | None = None


def evaluate_run(
    run: Path,
    data: DataArguments,
    *,
    dataset: str | None = None,
    allow_encoder_mismatch: bool = False,
    device: str = "auto",
    seed: int = 0,
    protocol: str | None = None,
    command: str | None = None,
) -> Results:
    """Measure every fold's checkpoint of a run on its own test part.

    Args:
        run: The folder that holds the checkpoints.
        data: Data and split of the training; `fold` does not matter.
        dataset: Name of the data set, which chooses the protocols; default: as for training.
        allow_encoder_mismatch: Score features of another encoder than a checkpoint's, if the width fits.
        device: Where the networks run; "auto" takes a GPU if there is one.
        seed: Of the random draws and the intervals.
        protocol: Name of the protocol; default: the data set's first.
        command: What to run to get the results again.

    Raises:
        FileNotFoundError: A fold is missing.
        HierSumError: Folds were trained on another split, or differ in what they were selected on.
    """
    trained = _trained(run, data)
    folds = [
        _score_fold(run, replace(data, fold=k), set(results.per_video), allow_encoder_mismatch, device)
        for k, results in enumerate(trained)
    ]
    return evaluate_folds(
        folds,
        seed,
        dataset=dataset or dataset_name(data),
        split=str(split_name(data)).rsplit("#", 1)[0],
        protocol=protocol,
        checkpoint=str(run),
        command=command,
        **{key: getattr(trained[0], key) for key in CARRIED},
    )


def count_folds(data: DataArguments) -> int:
    """Count the folds of the split that these flags name.

    Raises:
        HierSumError: It is the demo set, which has no folds.
    """
    if data.data == "demo":
        raise HierSumError("expected a data set with folds, the demo set has none.")
    if data.split_file:
        return len(read_splits(data.split_file))
    if Path(data.data).is_dir():
        from hiersum_hf.datasets.prepared import prepared_splits  # it needs pyarrow

        return len(prepared_splits(data.data)) or DRAWN_FOLDS
    return DRAWN_FOLDS


def _trained(run: Path, data: DataArguments) -> list[Results]:
    """Read the results of every fold's training.

    Folds that cannot be evaluated together are refused.
    """
    folders = [run / f"fold_{k}" for k in range(count_folds(data))]
    missing = [folder.name for folder in folders if not (folder / "config.json").is_file()]
    if missing:
        raise FileNotFoundError(f"{run}: expected {len(folders)} checkpoints, missing {', '.join(missing)}.")
    trained = [Results.read(folder / "results.json") for folder in folders]
    for k, results in enumerate(trained):
        expected = split_name(replace(data, fold=k))
        if results.split != expected:
            raise HierSumError(
                f"{folders[k]}: expected a checkpoint trained on split {expected!r}, found {results.split!r}: "
                "it may have seen the videos it would be tested on."
            )
        _warn_of_earlier_splits(folders[k], results.dataset, expected)
    for key in CARRIED:
        if len(values := {str(getattr(results, key)) for results in trained}) > 1:
            raise HierSumError(f"{run}: expected folds of one {key}, found {', '.join(sorted(values))}.")
    return trained


def _warn_of_earlier_splits(folder: Path, dataset: str, split: str | None) -> None:
    """Warn if the checkpoint started from one of another split.

    Only stages on the same data set count.
    """
    splits = {stage["split"] for stage in training_stages(folder) if stage["dataset"] == dataset} - {split}
    if splits:
        logger.warning(
            "%s started from a checkpoint trained on split %s, it is tested on %s: it may have seen the test videos.",
            folder,
            ", ".join(sorted(map(str, splits))),
            split,
        )


def _score_fold(run: Path, data: DataArguments, tested: set[str], allow_encoder_mismatch: bool, device: str) -> Fold:
    """Score the test part of a fold.

    It must have the videos that the fold was tested on after training.
    """
    folder = run / f"fold_{data.fold}"
    network, extractor = load_checkpoint(folder, device)
    parts = load_parts(replace(data, text_encoder=extractor.text_encoder))
    records = parts["test"]
    predicted = predict_scores(
        network, extractor, records, progress=True, allow_encoder_mismatch=allow_encoder_mismatch
    )
    if set(predicted) != tested:
        odd = ", ".join(sorted(set(predicted) ^ tested)[:5])
        raise HierSumError(f"{folder}: expected the test videos of its training, found others in one of both: {odd}.")
    return Fold(
        records,
        {name: result["scores"] for name, result in predicted.items()},
        {name: result["sentence_scores"] for name, result in predicted.items()},
        network.config.default_level,
        encoder_mismatch(extractor, records),
        ridge_scores(parts["train"], parts["validation"], records),
    )


def evaluate_folds(folds: Sequence[Fold], seed: int, **about: Any) -> Results:
    """Measure all folds together.

    `metrics` are means over folds, as the field has them, and `spread` is their standard deviation. `per_video` has
    every test video, with the mean of its figures where published splits test it twice. `ci95` is that of the mean
    over these videos.

    Args:
        folds: The folds, in their order.
        seed: Of the random draws and the intervals.
        about: What else `evaluate_scores` takes, such as `scorer` and `dataset`.
    """
    about |= {"level": _common([fold.level for fold in folds]), "seed": seed, "part": "test"}
    whole = evaluate_scores(
        _distinct(folds),
        None if folds[0].scores is None else _first([fold.scores or {} for fold in folds]),
        sentence_scores=_first([fold.sentence_scores for fold in folds]),
        encoder_mismatch=next((fold.mismatch for fold in folds if fold.mismatch), None),
        progress=True,
        **about,
    )
    about |= {"baselines": whole.baselines}
    each = [
        evaluate_scores(f.records, f.scores, sentence_scores=f.sentence_scores, ridge=f.ridge, **about) for f in folds
    ]
    per_video = _by_video([results.per_video for results in each])
    table = {name: _known([results.metrics[name] for results in each]) for name in whole.metrics}
    ridge = _mean_baseline([results.baselines["ridge"] for results in each])
    # Not given in the paper. Of the figures x_1 ... x_K of K folds: their mean, and as spread the sample standard
    # deviation sqrt(sum (x_k - mean)^2 / (K - 1)). The spread is no interval, since folds share training videos: `ci95`
    # is the bootstrap over videos.
    return replace(
        whole,
        metrics={name: float(values.mean()) if len(values) else None for name, values in table.items()},
        spread={name: float(values.std(ddof=1)) if len(values) > 1 else None for name, values in table.items()},
        ci95={
            name: mean_interval(_known([figures.get(name) for figures in per_video.values()]), seed)
            for name in whole.ci95
        },
        baselines=whole.baselines | {"ridge": ridge},
        against_ridge=against_ridge(whole.scorer, per_video, ridge, seed),
        per_video=per_video,
        folds=[
            FoldResult(k, fold.level, len(results.per_video), results.metrics)
            for k, (fold, results) in enumerate(zip(folds, each, strict=True))
        ],
    )


def _first(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take each name's value from the first mapping that has it."""
    return {name: value for mapping in reversed(mappings) for name, value in mapping.items()}


def _distinct(folds: Sequence[Fold]) -> Iterator[VideoRecord]:
    """Yield every test video once."""
    seen: set[str] = set()
    for fold in folds:
        for record in fold.records:
            if record.video_id not in seen:
                seen.add(record.video_id)
                yield record


def _common(levels: Sequence[str | None]) -> str | None:
    return levels[0] if len(set(levels)) == 1 else "each fold's own"


def _known(values: Sequence[float | None]) -> np.ndarray:
    return np.array([value for value in values if value is not None], np.float64)


def _mean_baseline(folds: Sequence[Baseline | None]) -> Baseline | None:
    """Average a baseline over folds; None where one has none."""
    known = [fold for fold in folds if fold is not None]
    if len(known) < len(folds):
        return None
    return Baseline(_pooled([fold.metrics for fold in known]), per_video=_by_video([f.per_video or {} for f in known]))


def _by_video(folds: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Pool the figures of each video that any fold tests."""
    videos = dict.fromkeys(video for fold in folds for video in fold)
    return {video: _pooled([fold[video] for fold in folds if video in fold]) for video in videos}


def _pooled(figures: Sequence[Figures]) -> Figures:
    """Average figures over the folds that have them."""
    if len(figures) == 1:
        return figures[0]
    means = {name: _known([one.get(name) for one in figures]) for name in figures[0] if name in METRICS}
    flags = {name: value for one in figures for name, value in one.items() if name not in METRICS}
    return {name: float(values.mean()) if len(values) else None for name, values in means.items()} | flags


def format_folds(results: Results) -> str:
    """Format a line for each fold, then their mean and standard deviation."""
    folds, spread = results.folds or [], results.spread or {}
    shown = [name for name in METRICS if results.metrics.get(name) is not None]
    lines = [
        f"fold {one.fold}: {one.videos} videos, "
        + (f"{one.level} level, " if one.level else "")
        + ", ".join(f"{METRICS[name]} {_cell(one.metrics[name])}" for name in shown)
        for one in folds
    ]
    if len(lines) < 2:
        return "\n".join(lines)
    means = (f"{METRICS[m]} {_cell(results.metrics[m])} ± {_cell(spread[m])}" for m in shown)
    return "\n".join([*lines, f"mean over folds ± standard deviation: {', '.join(means)}"])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
