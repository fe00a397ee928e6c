"""Scores of many videos to `results.json`: metrics, baselines, confidence intervals, and what was dropped.

Letters: N sampled frames, S shots, U annotators, V videos, n_frames original frames.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from hiersum_hf.datasets.tvsum import DEFAULT_FPS, TVSumVideo
from hiersum_hf.metrics import is_constant
from hiersum_hf.records import VideoRecord
from hiersum_hf.reference import MEASURED, Reference, reference_of
from hiersum_hf.scorers import oracle_scores


PROTOCOL = "hiersum-keyshot-v1"
METRICS = (*MEASURED, "map50", "map15", "rouge1", "rouge2", "rougeLsum", "cosine", "precision", "recall")
BASELINES = ("random", "human")
RANDOM_DRAWS = 20
RATING_STEP = 15  # the field reads TVSum's ratings at every 15th frame
RESAMPLES = 2000
PACKAGES = ("hiersum-hf", "numpy", "scipy", "ruptures", "torch", "transformers")


def mean_metrics(
    records: Sequence[VideoRecord], scores: Mapping[str, np.ndarray], dataset: str = "tvsum"
) -> dict[str, float]:
    """F1, tau and rho of (N,) scores by video id, averaged over videos: what training logs; no baselines, no intervals.

    Figures that no video has are left out.
    """
    means = _means([reference_of(r, dataset).measure(_scores_of(r, scores)) for r in records])
    return {name: value for name, value in means.items() if value is not None}


def evaluate_scores(
    records: Sequence[VideoRecord],
    scores: Mapping[str, np.ndarray] | None,
    *,
    scorer: str,
    dataset: str,
    part: str,
    split: str | None = None,
    seed: int = 0,
    level: str | None = None,
    score_head: str | None = None,
    checkpoint: str | None = None,
    selected_on: str | None = None,
    encoder_mismatch: str | None = None,
    command: str | None = None,
    draws: int = RANDOM_DRAWS,
    baselines: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of `results.json`, schema 1, under the protocol "hiersum-keyshot-v1".

    The protocol (not given in the paper): F1 of the key-shot summary (`metrics.key_shot_summary`: 15 % of the frames,
    value = mean of the shot's frames, exact knapsack) against each annotator's, mean over annotators ("summe": max);
    Kendall tau-b and Spearman rho of the raw scores against each annotator, mean over annotators; all averaged over
    videos. Constant annotators are dropped and counted, constant predictions score 0 and are flagged.

    A record without shots is cut by kernel temporal segmentation, one without user summaries gets those of its
    annotators' scores under the same rule, one without annotators is compared with its `frame_scores` as the only
    one, and the protocol's name then ends in "-single-reference". What cannot be measured is null.

    Args:
        records: The videos, at least one, with different ids.
        scores: (N,) importance for each video id; None to report the baseline that `scorer` names, "random" (mean of
            the draws) or "human" (each annotator against the others).
        scorer, dataset, part, split, level, score_head, checkpoint, selected_on, encoder_mismatch, command: Copied.
        seed: Of the random baseline and the bootstrap.
        draws: Number of random draws, at least 20.
        baselines: `baselines` of an earlier result on the same records, to save measuring them again.

    Returns:
        Plain JSON types. `baselines` has the metrics of random draws, with the standard error of their tau, and of
        annotators where there are several; `ci95` the 95 % percentile bootstrap over videos, null for a single one.

    Raises:
        ValueError: If there are no records, ids repeat, or a video's scores are missing, of another length or NaN;
            the message names the video.
    """
    if len({record.video_id for record in records}) != len(records) or not records:
        raise ValueError(f"expected at least one video, each id once; found {[r.video_id for r in records]}")
    if scores is None and scorer not in BASELINES:
        raise ValueError(f"scorer {scorer!r}: expected scores (only {' and '.join(BASELINES)} need none)")
    if draws < RANDOM_DRAWS:
        raise ValueError(f"draws: expected at least {RANDOM_DRAWS}, found {draws}")
    references = [reference_of(record, dataset) for record in records]
    if baselines is None or scores is None:
        drawn = [[reference.random(seed + draw) for reference in references] for draw in range(draws)]
        human = [reference.human() for reference in references]
        baselines = {"random": _random_baseline(drawn), "human": _human_baseline(human)}
    if scores is not None:
        measured = [reference.measure(_scores_of(reference.record, scores)) for reference in references]
    elif scorer == "human":
        measured = human
    else:
        measured = [{m: float(np.mean([f[m] for f in video])) for m in MEASURED} for video in zip(*drawn, strict=True)]
    alone = any(record.user_scores is None and record.frame_scores is not None for record in records)
    return {
        "schema": 1,
        "dataset": dataset,
        "part": part,
        "split": split,
        "protocol": PROTOCOL + ("-single-reference" if alone else ""),
        "scorer": scorer,
        "level": level,
        "score_head": score_head,
        "checkpoint": checkpoint,
        "selected_on": selected_on,
        "metrics": dict.fromkeys(METRICS) | _means(measured),
        "baselines": baselines,
        "ci95": {name: _interval([figures[name] for figures in measured], seed) for name in MEASURED},
        "per_video": {r.record.video_id: _per_video(r, f, scores) for r, f in zip(references, measured, strict=True)},
        "dropped": _dropped(references, scores) | _without_description(records, level),
        "encoders": _encoders(records),
        "encoder_mismatch": encoder_mismatch,
        "data_fingerprint": _fingerprint(records),
        "seed": seed,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "command": command,
    }


def evaluate_ratings(
    videos: Sequence[TVSumVideo], scorer: str, draws: int = RANDOM_DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Results of "human", "random" or "oracle" (mean of the annotators) on TVSum's ratings alone, without features.

    Ratings are read at every 15th frame, as in the field's feature files; F1 is null, it needs shots. On TVSum:
    human tau 0.177, rho 0.204; oracle 0.378, 0.473; random 0.

    Raises:
        ValueError: If there is no such scorer for ratings.
    """
    if scorer not in (*BASELINES, "oracle"):
        raise ValueError(f'scorer: ratings alone allow "human", "random" and "oracle", found {scorer!r}')
    records = [_rated_record(video) for video in videos]
    scores = {record.video_id: oracle_scores(record) for record in records} if scorer == "oracle" else None
    return evaluate_scores(records, scores, scorer=scorer, dataset="tvsum", part="all", seed=seed, draws=draws)


def _rated_record(video: TVSumVideo) -> VideoRecord:
    users = video.user_scores[:, ::RATING_STEP]
    picks = np.arange(users.shape[1]) * RATING_STEP
    duration_s = video.duration_s or video.n_frames / DEFAULT_FPS
    return VideoRecord(
        video_id=video.video_id,
        video_features=np.zeros((len(picks), 0), np.float32),
        frame_times_s=picks * duration_s / video.n_frames,
        duration_s=duration_s,
        user_scores=users,
        picks=picks,
        n_frames=video.n_frames,
    )


def _scores_of(record: VideoRecord, scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) scores of the record's video, checked."""
    name, n = record.video_id, len(record.frame_times_s)
    if name not in scores:
        raise ValueError(f"video {name}: expected scores, found none")
    values = np.asarray(scores[name], np.float64)
    if values.shape != (n,) or not np.isfinite(values).all():
        raise ValueError(f"video {name}: expected {n} finite scores, found {values.shape} or NaN among them")
    return values


def _means(videos: Sequence[dict[str, float]]) -> dict[str, float | None]:
    """Each metric's mean over the videos that have it, None if none does."""
    known = {name: [figures[name] for figures in videos if not np.isnan(figures[name])] for name in MEASURED}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def _random_baseline(draws: Sequence[Sequence[dict[str, float]]]) -> dict[str, Any]:
    means = [_means(draw) for draw in draws]
    table = np.array([[mean[name] for name in MEASURED] for mean in means], float)  # (draws, 3), None is NaN
    error = table[:, MEASURED.index("kendall_tau")].std(ddof=1) / np.sqrt(len(draws))
    figures = dict(zip(MEASURED, table.mean(axis=0).tolist(), strict=True)) | {"kendall_tau_se": float(error)}
    return _plain(figures) | {"draws": len(draws)}


def _human_baseline(videos: Sequence[dict[str, float]]) -> dict[str, float | None] | None:
    """None where no video has several annotators."""
    means = _means(videos)
    return means if any(value is not None for value in means.values()) else None


def _interval(values: Sequence[float], seed: int) -> list[float] | None:
    known = np.array([value for value in values if not np.isnan(value)])
    if len(known) < 2:
        return None
    interval = bootstrap((known,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=seed).confidence_interval
    return [float(interval.low), float(interval.high)]


def _per_video(
    reference: Reference, figures: dict[str, float], scores: Mapping[str, np.ndarray] | None
) -> dict[str, Any]:
    constant = scores is not None and is_constant(scores[reference.record.video_id])
    return _plain(figures) | ({"constant_prediction": True} if constant else {})


def _plain(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in figures.items()}


def _dropped(references: Sequence[Reference], scores: Mapping[str, np.ndarray] | None) -> dict[str, int]:
    """How many annotators, lengths and predictions met a special rule."""
    counts = dict.fromkeys(("constant_annotators", "lengths_cut", "videos_without_reference"), 0)
    counts["constant_predictions_scored_0"] = 0
    for reference in references:
        users, summaries, record = reference.users, reference.summaries, reference.record
        annotated = record.user_scores
        counts["constant_annotators"] += 0 if users is None else sum(is_constant(u[reference.seen]) for u in users)
        counts["lengths_cut"] += annotated is not None and annotated.shape[1] != len(record.frame_times_s)
        counts["lengths_cut"] += summaries is not None and summaries.shape[1] != reference.n_frames
        counts["videos_without_reference"] += users is None and summaries is None
        counts["constant_predictions_scored_0"] += scores is not None and is_constant(scores[record.video_id])
    return {reason: int(count) for reason, count in counts.items()}


def _without_description(records: Sequence[VideoRecord], level: str | None) -> dict[str, int]:
    """How many videos could not be read at parent level; they were read without it."""
    if level not in ("parent", "both"):
        return {}
    return {"read_without_description": sum(len(record.description_features) == 0 for record in records)}


def _encoders(records: Sequence[VideoRecord]) -> dict[str, Any] | None:
    """Encoder ids if all videos share them, the sample rate if they share that too."""
    pairs = {(r.encoders.video, r.encoders.text) if r.encoders else None for r in records}
    if len(pairs) != 1 or (pair := pairs.pop()) is None:
        return None
    rates = {r.encoders.sample_fps for r in records if r.encoders}
    return {"video": pair[0], "text": pair[1], "sample_fps": rates.pop() if len(rates) == 1 else None}


def _fingerprint(records: Sequence[VideoRecord]) -> str:
    """A hash of everything that the figures depend on."""
    digest = hashlib.sha256()
    for r in records:
        digest.update(f"{r.video_id} {r.n_frames} {r.duration_s}".encode())
        for part in (r.video_features, r.text_features, r.frame_scores, r.user_scores, r.user_summaries, r.shots):
            digest.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def format_table(results: Sequence[dict[str, Any]]) -> str:
    """Results of one data set and protocol as a plain-text table: a row a scorer, then the baselines.

    Raises:
        ValueError: If the results come from different data sets, parts or protocols.
    """
    headings = {f"{r['dataset']} {r['part']}, {len(r['per_video'])} videos, protocol {r['protocol']}" for r in results}
    if len(headings) != 1:
        raise ValueError(f"expected results of one data set, part and protocol, found {sorted(headings)}")
    rows: list[tuple[str, ...]] = [("scorer", "F1", "tau", "rho")]
    rows += [(_row_name(r), *(_cell(r["metrics"][m], r["ci95"][m]) for m in MEASURED)) for r in results]
    baselines = results[0]["baselines"]
    for name, figures in baselines.items():
        if figures is not None and name not in {r["scorer"] for r in results}:
            rows.append((f"[{name}]", *(_cell(figures[m], None) for m in MEASURED)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    random = baselines["random"]
    if random["kendall_tau_se"] is not None:
        lines.append(f"random: mean of {random['draws']} draws, standard error of tau {random['kendall_tau_se']:.4f}")
    lines += [f"encoder mismatch: {r['encoder_mismatch']}" for r in results if r["encoder_mismatch"]]
    return "\n".join([headings.pop(), "", *lines])


def _row_name(result: dict[str, Any]) -> str:
    return " ".join(filter(None, [result["scorer"], result["level"] and f"({result['level']})"]))


def _cell(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as JSON, whole or not at all.

    Raises:
        ValueError: If it holds NaN or infinity.
    """
    path = Path(path)
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
