"""Cross-validation: figures of every fold on its own test part, their mean and spread.

Letters: N sampled frames.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.datasets.parts import DataArguments, dataset_name, load_parts, split_name
from hiersum_hf.datasets.split_files import read_splits
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.evaluation.statistics import mean_interval
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import METRICS, read_results
from hiersum_hf.scoring.checkpoint import load_checkpoint, training_stages
from hiersum_hf.scoring.network import encoder_mismatch, predict_scores


logger = logging.getLogger(__name__)

DRAWN_FOLDS = 5
CARRIED = ("scorer", "selected_on", "score_head")  # what every fold must have in common


@dataclass(frozen=True, eq=False)
class Fold:
    """A fold's test part and the scores of its videos, (N,) and those of its sentences.

    `scores` is None for a baseline that has none, `level` for a scorer without levels.
    """

    records: Sequence[VideoRecord]
    scores: Mapping[str, np.ndarray] | None
    sentence_scores: Mapping[str, np.ndarray]
    level: str | None = None
    mismatch: str | None = None


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
) -> dict[str, Any]:
    """Results of a run's fold_0, fold_1, ... each on the test part that its training set apart.

    Args:
        run: The folder that holds them.
        data: Data and split of the training; `fold` does not matter.
        dataset: Names the protocol; default: as for training.
        allow_encoder_mismatch, device, seed, protocol, command: As `hiersum evaluate`.

    Raises:
        FileNotFoundError: A fold is missing.
        ValueError: Folds were trained on another split, or differ in what they were selected on.
    """
    trained = _trained(run, data)
    folds = [
        _score_fold(run, replace(data, fold=k), set(results["per_video"]), allow_encoder_mismatch, device)
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
        **{key: trained[0].get(key) for key in CARRIED},
    )


def count_folds(data: DataArguments) -> int:
    """How many folds the split of these flags has. Raises ValueError for the demo set, which has none."""
    if data.data == "demo":
        raise HierSumError("expected a data set with folds, the demo set has none.")
    if data.split_file:
        return len(read_splits(data.split_file))
    if Path(data.data).is_dir():
        from hiersum_hf.datasets.prepared import prepared_splits  # it needs pyarrow

        return len(prepared_splits(data.data)) or DRAWN_FOLDS
    return DRAWN_FOLDS


def _trained(run: Path, data: DataArguments) -> list[dict[str, Any]]:
    """What every fold's own training left in its results.json, after refusing what cannot be evaluated together."""
    folders = [run / f"fold_{k}" for k in range(count_folds(data))]
    missing = [folder.name for folder in folders if not (folder / "config.json").is_file()]
    if missing:
        raise FileNotFoundError(f"{run}: expected {len(folders)} checkpoints, missing {', '.join(missing)}.")
    trained = [read_results(folder / "results.json") for folder in folders]
    for k, results in enumerate(trained):
        expected, found = split_name(replace(data, fold=k)), results.get("split")
        if found != expected:
            raise HierSumError(
                f"{folders[k]}: expected a checkpoint trained on split {expected!r}, found {found!r}: "
                "it may have seen the videos it would be tested on."
            )
        _warn_of_earlier_splits(folders[k], results["dataset"], expected)
    for key in CARRIED:
        if len(values := {str(results.get(key)) for results in trained}) > 1:
            raise HierSumError(f"{run}: expected folds of one {key}, found {', '.join(sorted(values))}.")
    return trained


def _warn_of_earlier_splits(folder: Path, dataset: str, split: str | None) -> None:
    """Warns if a checkpoint that this one started from was trained on another split of the same data set."""
    splits = {stage["split"] for stage in training_stages(folder) if stage["dataset"] == dataset} - {split}
    if splits:
        logger.warning(
            "%s started from a checkpoint trained on split %s, it is tested on %s: it may have seen the test videos.",
            folder, ", ".join(sorted(map(str, splits))), split,
        )  # fmt: skip


def _score_fold(run: Path, data: DataArguments, tested: set[str], allow_encoder_mismatch: bool, device: str) -> Fold:
    """Scores of a fold's test part, which must be the videos it was tested on after training."""
    folder = run / f"fold_{data.fold}"
    network, extractor = load_checkpoint(folder, device)
    records = load_parts(replace(data, text_encoder=extractor.text_encoder))["test"]
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
    )


def evaluate_folds(folds: Sequence[Fold], seed: int, **about) -> dict:
    """The content of results.json over all folds.

    `metrics` are means over folds, the field's convention, `spread` their standard deviation; `per_video` has every
    test video, its mean where published splits test it twice, and `ci95` is that of the mean over these videos.
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
    about |= {"baselines": whole["baselines"]}
    each = [evaluate_scores(f.records, f.scores, sentence_scores=f.sentence_scores, **about) for f in folds]
    per_video = {
        name: _pooled([r["per_video"][name] for r in each if name in r["per_video"]]) for name in whole["per_video"]
    }
    table = {name: _known([results["metrics"][name] for results in each]) for name in whole["metrics"]}
    return whole | {
        "metrics": {name: float(values.mean()) if len(values) else None for name, values in table.items()},
        "spread": {name: float(values.std(ddof=1)) if len(values) > 1 else None for name, values in table.items()},
        "ci95": {
            name: mean_interval(_known([figures.get(name) for figures in per_video.values()]), seed)
            for name in whole["ci95"]
        },
        "per_video": per_video,
        "folds": [
            {"fold": k, "level": fold.level, "videos": len(results["per_video"]), "metrics": results["metrics"]}
            for k, (fold, results) in enumerate(zip(folds, each, strict=True))
        ],
    }


def _first(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each name's value in the first mapping that has it."""
    return {name: value for mapping in reversed(mappings) for name, value in mapping.items()}


def _distinct(folds: Sequence[Fold]) -> Iterator[VideoRecord]:
    """Every test video once."""
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


def _pooled(figures: Sequence[dict]) -> dict:
    """A video's figures, their mean where several folds test it."""
    if len(figures) == 1:
        return figures[0]
    means = {name: _known([one.get(name) for one in figures]) for name in figures[0] if name in METRICS}
    flags = {name: value for one in figures for name, value in one.items() if name not in METRICS}
    return {name: float(values.mean()) if len(values) else None for name, values in means.items()} | flags


def format_folds(results: dict) -> str:
    """A line for each fold, then their mean and standard deviation."""
    shown = [name for name in METRICS if results["metrics"].get(name) is not None]
    lines = [
        f"fold {fold['fold']}: {fold['videos']} videos, "
        + (f"{fold['level']} level, " if fold["level"] else "")
        + ", ".join(f"{METRICS[name]} {_cell(fold['metrics'][name])}" for name in shown)
        for fold in results["folds"]
    ]
    if len(lines) < 2:
        return "\n".join(lines)
    means = (f"{METRICS[m]} {_cell(results['metrics'][m])} ± {_cell(results['spread'][m])}" for m in shown)
    return "\n".join([*lines, f"mean over folds ± standard deviation: {', '.join(means)}"])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
