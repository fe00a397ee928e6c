"""Measure every fold of a cross-validation, with mean and spread.

Letters: N sampled frames.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.arguments import DataArguments
from hiersum_hf.datasets.parts import dataset_name, load_parts, split_name
from hiersum_hf.datasets.split_files import read_splits
from hiersum_hf.evaluation.evaluate import against_ridge, evaluate_scores
from hiersum_hf.evaluation.ridge import RidgeScores
from hiersum_hf.evaluation.scored import Scored, by_checkpoint, by_name, fit_ridges, together
from hiersum_hf.evaluation.statistics import mean_interval
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import METRICS, Baseline, Figures, FoldResult, Results
from hiersum_hf.scoring.checkpoint import training_stages
from hiersum_hf.scoring.scores_file import needs_checkpoint
from hiersum_hf.scoring.training_free import RIDGE


logger = logging.getLogger(__name__)

DRAWN_FOLDS = 5
CARRIED = ("scorer", "selected_on", "score_head")  # what every fold must have in common


@dataclass(frozen=True, eq=False)
class Fold:
    """The test part of a fold and its scores.

    Attributes:
        scored: The videos of the test part, and their scores.
        ridge: Scores of the ridge baseline, fitted on the fold's other parts; None where it cannot be.
    """

    scored: Scored
    ridge: RidgeScores | None = None


def evaluate_run(
    scorers: Sequence[str | Path],
    data: DataArguments,
    *,
    dataset: str | None = None,
    allow_encoder_mismatch: bool = False,
    device: str = "auto",
    seed: int = 0,
    protocol: str | None = None,
    command: str | None = None,
    known: Collection[str] = (),
) -> Results:
    """Measure every fold's checkpoint of runs on its own test part.

    Args:
        scorers: The folder that holds the checkpoints; or several runs, names of baselines and files of scores, whose
            scores are averaged as `average_scores` does.
        data: Data and split of the training; `fold` does not matter.
        dataset: Name of the data set, which chooses the protocols; default: as for training.
        allow_encoder_mismatch: Score features of another encoder than a checkpoint's, if the width fits.
        device: Where the networks run; "auto" takes a GPU if there is one.
        seed: Of the random draws and the intervals.
        protocol: Name of the protocol; default: the data set's first.
        command: What to run to get the results again.
        known: Ids of all videos of the data set; the log names others that a file of scores has.

    Raises:
        FileNotFoundError: A fold is missing.
        HierSumError: Folds were trained on another split, or differ in what they were selected on.
    """
    runs = [Path(scorer) for scorer in scorers if needs_checkpoint(scorer)]
    trained = [_trained(run, data) for run in runs]
    folds = []
    for k in range(len(trained[0])):
        folds.append(_score_fold(scorers, replace(data, fold=k), allow_encoder_mismatch, device, known))
        known = ()  # strange ids of a file are told once
        for run, results in zip(runs, trained, strict=True):
            if odd := set(results[k].per_video) ^ set(folds[k].scored.scores or ()):
                found = f"found others in one of both: {', '.join(sorted(odd)[:5])}"
                raise HierSumError(f"{run / f'fold_{k}'}: expected the test videos of its training, {found}.")
    return evaluate_folds(
        folds,
        seed,
        dataset=dataset or dataset_name(data),
        split=str(split_name(data)).rsplit("#", 1)[0],
        protocol=protocol,
        checkpoint=", ".join(map(str, runs)),
        command=command,
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
    if Path(data.data, "dataset_info.json").exists():  # else it is a source, which ships no split
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
        raise FileNotFoundError(
            f"{run}: expected {len(folders)} checkpoints, missing {', '.join(missing)}. The command that trained the "
            "others, with --folds True, trains these."
        )
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


def _score_fold(
    scorers: Sequence[str | Path],
    data: DataArguments,
    allow_encoder_mismatch: bool,
    device: str,
    known: Collection[str] = (),
) -> Fold:
    """Score the test part of a fold by each run's checkpoint and by what has a name, together."""
    parts: Mapping[str, Sequence[VideoRecord]] = {}

    def test_part(text_encoder: str) -> Sequence[VideoRecord]:
        nonlocal parts
        parts = load_parts(replace(data, text_encoder=text_encoder))
        return parts["test"]

    runs = [Path(scorer, f"fold_{data.fold}") for scorer in scorers if needs_checkpoint(scorer)]
    each = [by_checkpoint(run, test_part, None, device, allow_encoder_mismatch) for run in runs]
    records = each[0].records
    ridges = fit_ridges(scorers, parts.__getitem__, records)
    each += [by_name(str(scorer), records, ridges, known) for scorer in scorers if not needs_checkpoint(scorer)]
    return Fold(together(each), ridges[RIDGE])


def evaluate_folds(folds: Sequence[Fold], seed: int, **about: Any) -> Results:
    """Measure all folds together.

    `metrics` are means over folds, as the field has them, and `spread` is their standard deviation. `per_video` has
    every test video, with the mean of its figures where published splits test it twice. `ci95` is that of the mean
    over these videos.

    Args:
        folds: The folds, in their order.
        seed: Of the random draws and the intervals.
        about: What else `evaluate_scores` takes, such as `dataset`; it goes before what the folds say of their scorer.
    """
    scored = [fold.scored for fold in folds]
    levels, mismatches = {one.level for one in scored}, [one.encoder_mismatch for one in scored]
    about = scored[0].about | {"level": levels.pop() if len(levels) == 1 else "each fold's own"} | about
    about |= {"encoder_mismatch": next(filter(None, mismatches), None), "seed": seed, "part": "test"}
    about |= {"sentence_scores": _first([one.sentence_scores for one in scored])}
    scores = None if scored[0].scores is None else _first([one.scores or {} for one in scored])
    whole = evaluate_scores(_distinct(scored), scores, progress=True, **about)
    about |= {"baselines": whole.baselines}
    each = [
        evaluate_scores(one.records, one.scores, ridge=fold.ridge, **about | {"sentence_scores": one.sentence_scores})
        for fold, one in zip(folds, scored, strict=True)
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
            FoldResult(k, one.level, len(results.per_video), results.metrics)
            for k, (one, results) in enumerate(zip(scored, each, strict=True))
        ],
    )


def _first(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take each name's value from the first mapping that has it."""
    return {name: value for mapping in reversed(mappings) for name, value in mapping.items()}


def _distinct(folds: Sequence[Scored]) -> Iterator[VideoRecord]:
    """Yield every test video once."""
    seen: set[str] = set()
    for fold in folds:
        for record in fold.records:
            if record.video_id not in seen:
                seen.add(record.video_id)
                yield record


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
