"""Scores of many videos to `results.json` (`hiersum_hf.results`): metrics, baselines, intervals, what was dropped.

Letters: N sampled frames, M sentences, U annotators, V videos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import bootstrap
from tqdm.auto import tqdm

from hiersum_hf.evaluation.importance import CAPTURED, Importance, importance_of, known_mean
from hiersum_hf.evaluation.protocols.annotators import MEASURED, UNKNOWN, Reference
from hiersum_hf.evaluation.protocols.by_name import protocols_of, reference_of
from hiersum_hf.metrics import is_constant
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import METRICS, SCHEMA, versions
from hiersum_hf.scoring.training_free import position_scores, random_scores, shares_space, title_scores


WITHOUT_SCORES = ("random", "human", "shot-oracle")  # scorers that need none
RANDOM_DRAWS = 20
CAPTURED_DRAWS = 5  # of these, whose selections are made: each takes as long as all other figures of a draw
RESAMPLES = 2000


def mean_metrics(
    records: Iterable[VideoRecord], scores: Mapping[str, np.ndarray], dataset: str = "tvsum"
) -> dict[str, float]:
    """The default protocol's figures of (N,) scores by video id, averaged over videos; no baselines, no intervals.

    Figures that no video has are left out, and so is what selections capture: to make them takes too long for every
    evaluation of a training.
    """
    references = [reference_of(record, dataset) for record in records]
    means = _means([reference.measure(_scores_of(reference.record, scores)) for reference in references])
    return {name: value for name, value in means.items() if value is not None}


def compute_metrics(prediction: Any, dataset: str = "tvsum") -> dict[str, float]:
    """`mean_metrics` as a Trainer's `compute_metrics`: predictions {video id: (N,) scores}, label_ids the records."""
    return mean_metrics(prediction.label_ids, prediction.predictions, dataset)


def evaluate_scores(
    records: Iterable[VideoRecord],
    scores: Mapping[str, np.ndarray] | None,
    *,
    scorer: str,
    dataset: str,
    part: str,
    sentence_scores: Mapping[str, np.ndarray] | None = None,
    protocol: str | None = None,
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
    progress: bool = False,
) -> dict[str, Any]:
    """The content of `results.json`, under a protocol of `hiersum_hf.evaluation.protocols.by_name`.

    The project's protocol, hiersum-keyshot-v1 (not given in the paper): F1 of the key-shot summary
    (`metrics.key_shot_summary`: 15 % of the frames, value = mean of the shot's frames, exact knapsack) against each
    annotator's, mean over annotators ("summe": max); Kendall tau-b and Spearman rho of the raw scores against each
    annotator, mean over annotators; all averaged over videos. Constant annotators are dropped and counted, constant
    predictions have rank correlations of 0 and are flagged. A record without shots is cut by kernel temporal
    segmentation, one without user summaries gets those of its annotators' scores under the same rule, one without
    annotators is compared with its `frame_scores` as the only one, and the protocol's name then ends in
    "-single-reference". What cannot be measured is null.

    Beside it, under every protocol and wherever frames have scores, what selections by these scores capture of the
    importance: `importance.Importance.captured`.

    The baselines are "random" (mean of the draws; the selections of the first five), "position", "title" (where every
    video has a description, and frames and texts are of one encoder), "oracle" and "human" (each annotator against the
    others); null where a set cannot have one.

    Args:
        records: The videos, at least one, with different ids; read once, their features are not kept.
        scores: (N,) importance for each video id; None to report what `scorer` names: "random", "human" or
            "shot-oracle" (the best shots under the budget).
        sentence_scores: (M,) for each video id, for protocols that select sentences; where missing, a sentence scores
            the mean of its frames.
        protocol: Default: the data set's first.
        scorer, dataset, part, split, level, score_head, checkpoint, selected_on, encoder_mismatch, command: Copied.
        seed: Of the random baseline and the bootstrap.
        draws: Number of random draws, at least 20.
        baselines: `baselines` of an earlier result on the same records, to save measuring them again.
        progress: Show a bar on stderr.

    Raises:
        ValueError: If there are no records, ids repeat, or a video's scores are missing, of another length or NaN;
            the message names the video. If the data set has no such protocol.
    """
    if scores is None and scorer not in WITHOUT_SCORES:
        raise HierSumError(f"scorer {scorer!r}: expected scores (only {', '.join(WITHOUT_SCORES)} need none)")
    if draws < RANDOM_DRAWS:
        raise HierSumError(f"draws: expected at least {RANDOM_DRAWS}, found {draws}")
    videos, fingerprint = _videos(records, dataset, protocol, progress)
    sentences = sentence_scores or {}
    measured, drawn, compared = [], [], []
    for video in tqdm(videos, desc="measuring", unit="video", disable=None if progress else True):
        if baselines is None or scorer == "random":
            drawn.append([video.draw(seed + k, selects=k < CAPTURED_DRAWS) for k in range(draws)])
        if baselines is None:
            compared.append(video.baselines())
        if scores is not None:
            measured.append(video.measure(_scores_of(video.record, scores), sentences.get(video.record.video_id)))
        elif scorer == "random":
            measured.append(_mean_draw(drawn[-1]))
        elif scorer == "shot-oracle":
            measured.append(video.shot_oracle())
        else:
            measured.append(compared[-1]["human"] if compared else video.human())
    if baselines is None:
        baselines = _baselines(drawn, compared)
    references = [video.reference for video in videos]
    name = protocol or protocols_of(dataset)[0]
    return {
        "schema": SCHEMA,
        "dataset": dataset,
        "part": part,
        "split": split,
        "protocol": name + ("-single-reference" if _is_single(references) else ""),
        "scorer": scorer,
        "level": level,
        "score_head": score_head,
        "checkpoint": checkpoint,
        "selected_on": selected_on,
        "metrics": dict.fromkeys(METRICS) | _means(measured),
        "selection": _extent(references, scores),
        "baselines": baselines,
        "ci95": {name: _interval([figures[name] for figures in measured], seed) for name in measured[0]},
        "per_video": {r.record.video_id: _per_video(r, f, scores) for r, f in zip(references, measured, strict=True)},
        "dropped": _dropped(references, scores) | _without_description(references, level),
        "encoders": _encoders([reference.record for reference in references]),
        "encoder_mismatch": encoder_mismatch,
        "data_fingerprint": fingerprint,
        "seed": seed,
        "versions": versions(),
        "command": command,
    }


@dataclass(frozen=True, eq=False)
class _Video:
    """What the scores of one video are measured by.

    `importance` is None where no video of the set has any, `title`, (N,) scores by its title, where it has none or
    cannot be compared with the frames.
    """

    reference: Reference
    importance: Importance | None
    title: np.ndarray | None

    @property
    def record(self) -> VideoRecord:
        return self.reference.record

    def measure(self, scores: np.ndarray, sentence_scores: np.ndarray | None = None) -> dict[str, float]:
        return self._captured(scores) | self.reference.measure(scores, sentence_scores)

    def draw(self, seed: int, selects: bool) -> dict[str, float]:
        """Figures of random scores; unknown what they capture, unless a selection is to be made."""
        scores = random_scores(self.record, seed) if selects else None
        return self._captured(scores) | self.reference.random(seed)

    def human(self) -> dict[str, float]:
        """Every annotator against the others."""
        return (self.importance.human() if self.importance else {}) | self.reference.human()

    def shot_oracle(self) -> dict[str, float]:
        """The best shots; they are no scores by which a selection could be made."""
        return self._captured(None) | self.reference.shot_oracle()

    def baselines(self) -> dict[str, dict[str, float] | None]:
        """Figures of each baseline but random, None where this video cannot have it."""
        oracle, labels = self.reference.oracle_scores(), self.record.sentence_labels
        return {
            "position": self.measure(position_scores(self.record)),
            "title": None if self.title is None else self.measure(self.title),
            "oracle": None if oracle is None else self.measure(oracle, labels),
            "human": self.human(),
        }

    def _captured(self, scores: np.ndarray | None) -> dict[str, float]:
        """Nothing in a set without importance, unknown without scores."""
        if self.importance is None:
            return {}
        return dict.fromkeys(CAPTURED, UNKNOWN) if scores is None else self.importance.captured(scores)


def _videos(
    records: Iterable[VideoRecord], dataset: str, protocol: str | None, progress: bool
) -> tuple[list[_Video], str]:
    """What each record is measured by, and the fingerprint of all."""
    videos, digest = [], hashlib.sha256()
    for record in tqdm(records, desc="reading", unit="video", disable=None if progress else True):
        reference = reference_of(record, dataset, protocol)
        reference.update_fingerprint(digest)
        videos.append(_Video(reference, importance_of(record), _title_scores(record)))
    names = [video.record.video_id for video in videos]
    if len(set(names)) != len(names) or not names:
        raise HierSumError(
            f"expected at least one video, each id once; found {len(names)}, {len(set(names))} different"
        )
    if not any(video.importance.is_known for video in videos if video.importance):
        videos = [replace(video, importance=None) for video in videos]
    return videos, digest.hexdigest()[:16]


def _title_scores(record: VideoRecord) -> np.ndarray | None:
    frames, texts = record.video_features, record.description_features
    comparable = len(texts) > 0 and shares_space(record) and frames.shape[1] == texts.shape[1]
    return title_scores(record) if comparable else None


def _scores_of(record: VideoRecord, scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) scores of the record's video, checked."""
    name, n = record.video_id, len(record.frame_times_s)
    if name not in scores:
        raise HierSumError(f"video {name}: expected scores, found none")
    values = np.asarray(scores[name], np.float64)
    if values.shape != (n,) or not np.isfinite(values).all():
        raise HierSumError(f"video {name}: expected {n} finite scores, found {values.shape} or NaN among them")
    return values


def _means(videos: Sequence[dict[str, float]]) -> dict[str, float | None]:
    """Each metric's mean over the videos that have it, None if none does."""
    names = videos[0] if videos else MEASURED
    known = {name: [figures[name] for figures in videos if not np.isnan(figures[name])] for name in names}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def _mean_draw(draws: Sequence[dict[str, float]]) -> dict[str, float]:
    """A video's mean over draws."""
    return {name: known_mean([figures[name] for figures in draws]) for name in draws[0]}


def _baselines(
    drawn: Sequence[Sequence[dict[str, float]]], compared: Sequence[Mapping[str, dict[str, float] | None]]
) -> dict[str, Any]:
    """Means over videos by the baseline's name, from the draws and the other baselines of each video."""
    found = {name: [video[name] for video in compared] for name in compared[0]}
    return {"random": _random_baseline(drawn)} | {name: _baseline(name, videos) for name, videos in found.items()}


def _random_baseline(drawn: Sequence[Sequence[dict[str, float]]]) -> dict[str, Any]:
    """Mean over draws of the mean over videos, and its standard error; `drawn` has the draws of each video."""
    means = [_means(draw) for draw in zip(*drawn, strict=True)]
    table = {name: np.array([mean[name] for mean in means if mean[name] is not None]) for name in means[0]}
    errors = {
        name: float(values.std(ddof=1) / len(values) ** 0.5) if len(values) else UNKNOWN
        for name, values in table.items()
    }
    figures = {name: known_mean(values) for name, values in table.items()}
    return _plain(figures) | {"draws": len(means), "standard_error": _plain(errors)}


def _baseline(name: str, videos: Sequence[dict[str, float] | None]) -> dict[str, float | None] | None:
    """Means over videos; None where no video has a figure, and of the title where some have none."""
    known = [figures for figures in videos if figures is not None]
    means = _means(known)
    if (name == "title" and len(known) < len(videos)) or all(value is None for value in means.values()):
        return None
    return means


def _interval(values: Sequence[float], seed: int) -> list[float] | None:
    known = np.array([value for value in values if not np.isnan(value)])
    if len(known) < 2:
        return None
    interval = bootstrap((known,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=seed).confidence_interval
    return [float(interval.low), float(interval.high)]


def _extent(references: Sequence[Reference], scores: Mapping[str, np.ndarray] | None) -> dict[str, float | None] | None:
    """Mean length and coverage of the selections; None for a baseline without scores."""
    if scores is None:
        return None
    return _means([reference.extent(_scores_of(reference.record, scores)) for reference in references])


def _per_video(
    reference: Reference, figures: dict[str, float], scores: Mapping[str, np.ndarray] | None
) -> dict[str, Any]:
    constant = scores is not None and is_constant(scores[reference.record.video_id])
    return _plain(figures) | ({"constant_prediction": True} if constant else {})


def _plain(figures: dict[str, float]) -> dict[str, Any]:
    return {name: None if np.isnan(value) else value for name, value in figures.items()}


def _dropped(references: Sequence[Reference], scores: Mapping[str, np.ndarray] | None) -> dict[str, int]:
    """How many annotators, lengths, videos and predictions met a special rule."""
    counted = [reference.dropped() for reference in references]
    counts = {reason: int(sum(video[reason] for video in counted)) for reason in counted[0]}
    constant = 0 if scores is None else sum(is_constant(scores[r.record.video_id]) for r in references)
    return counts | {"constant_predictions_scored_0": constant}


def _without_description(references: Sequence[Reference], level: str | None) -> dict[str, int]:
    """How many videos could not be read at parent level; they were read without it."""
    if level not in ("parent", "both"):
        return {}
    return {"read_without_description": sum(not reference.has_description for reference in references)}


def _is_single(references: Sequence[Reference]) -> bool:
    """Whether a curve or labels stand for the annotators of some video, where a protocol expects annotators."""
    return any(type(r) is Reference and r.record.user_scores is None and r.users is not None for r in references)


def _encoders(records: Sequence[VideoRecord]) -> dict[str, Any] | None:
    """Encoder ids if all videos share them, the sample rate if they share that too."""
    pairs = {(r.encoders.video, r.encoders.text) if r.encoders else None for r in records}
    if len(pairs) != 1 or (pair := pairs.pop()) is None:
        return None
    rates = {r.encoders.sample_fps for r in records if r.encoders}
    return {"video": pair[0], "text": pair[1], "sample_fps": rates.pop() if len(rates) == 1 else None}
