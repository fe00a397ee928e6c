"""Measure the scores of many videos under a protocol, beside the baselines.

Letters: N sampled frames, M sentences, U annotators, V videos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hiersum_hf.evaluation.comparison import differences
from hiersum_hf.evaluation.importance import CAPTURED, UNKNOWN, Importance, importance_of, known_mean
from hiersum_hf.evaluation.protocols.annotators import MEASURED, Reference
from hiersum_hf.evaluation.protocols.by_name import protocols_of, reference_of
from hiersum_hf.evaluation.ridge import RidgeScores
from hiersum_hf.evaluation.statistics import mean_interval
from hiersum_hf.metrics import is_constant
from hiersum_hf.modeling.errors_hiersum import HierSumError, expect_type
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import METRICS, SINGLE_REFERENCE, Baseline, Difference, Figures, Results, versions
from hiersum_hf.scoring.training_free import (
    BASELINES,
    WITHOUT_SCORES,
    position_scores,
    random_scores,
    shares_space,
    title_scores,
)


RANDOM_DRAWS = 20
CAPTURED_DRAWS = 5  # draws whose selections are made too: one takes as long as all other figures of a draw
RESAMPLES = 2000  # of the bootstrap over videos


def mean_metrics(
    records: Iterable[VideoRecord], scores: Mapping[str, np.ndarray], dataset: str = "tvsum"
) -> dict[str, float]:
    """Average the figures of the default protocol over videos.

    There are no baselines and no intervals. Figures that no video has are left out, and so is what selections capture:
    making selections takes too long for every evaluation during training.

    Args:
        records: The videos.
        scores: (N,) importance for each video id.
        dataset: Name of the data set, which chooses the protocol.

    Raises:
        HierSumError: A video's scores are missing, of another length or NaN; names the video.
    """
    references = [reference_of(record, dataset) for record in records]
    means = _means([reference.measure(_scores_of(reference.record, scores)) for reference in references])
    return {name: value for name, value in means.items() if value is not None}


def compute_metrics(prediction: Any, dataset: str = "tvsum") -> dict[str, float]:
    """Compute `mean_metrics` for a Trainer.

    Args:
        prediction: Its `predictions` are (N,) scores by video id, its `label_ids` the records.
        dataset: Name of the data set, which chooses the protocol.
    """
    if not hasattr(prediction, "label_ids"):
        raise HierSumError(f"prediction: expected an EvalPrediction, found {type(prediction).__name__}.")
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
    baselines: dict[str, Baseline | None] | None = None,
    ridge: RidgeScores | None = None,
    progress: bool = False,
) -> Results:
    """Measure scores under a protocol of `evaluation.protocols.by_name`.

    The project's protocol is hiersum-keyshot-v1 (not given in the paper). F1 compares the key-shot summary
    (`metrics.key_shot_summary`: 15 % of the frames, the value of a shot is the mean of its frames, exact knapsack) with
    each annotator's; a video has the mean over annotators ("summe": the maximum). Kendall's tau-b and Spearman's rho
    compare the raw scores with each annotator; a video has the mean over annotators. All are averaged over videos.

    Constant annotators are dropped and counted. Constant predictions have rank correlations of 0 and are flagged. A
    record without shots is cut by kernel temporal segmentation. One without user summaries gets those of its
    annotators' scores under the same rule. One without annotators is compared with its `frame_scores` as the only one,
    and the protocol's name then ends in "-single-reference". What cannot be measured is None.

    Under every protocol, wherever frames have scores, the results also say what selections by these scores capture of
    the importance (`importance.Importance.captured`).

    The baselines are "random" (mean of the draws; selections are made of the first five), "position", "title" (where
    every video has a description, and frames and texts are of one encoder), "ridge" (where its scores are given),
    "oracle" and "human" (each annotator against the others). They are None where a data set cannot have them.

    Args:
        records: The videos, at least one, with different ids. They are read once and their features are not kept.
        scores: (N,) importance for each video id; None to measure what `scorer` names: "random", "human" or
            "shot-oracle" (the best shots under the budget).
        scorer: Name of what scored.
        dataset: Name of the data set, which chooses the protocols.
        part: Part of the split that the videos are, such as "test".
        sentence_scores: (M,) for each video id, for protocols that select sentences. Where they are missing, a
            sentence scores the mean of its frames.
        protocol: Name of the protocol; default: the data set's first.
        split: Name of the split and its fold.
        seed: Of the random baseline and the bootstrap.
        level: Level at which a network read the videos.
        score_head: Head of the network that scored.
        checkpoint: Folder or Hub id of the network.
        selected_on: Part on which checkpoint and level were chosen.
        encoder_mismatch: A sentence where the network was made for features of other encoders.
        command: What to run to get the results again.
        draws: Number of random draws, at least 20.
        baselines: `baselines` of earlier results on the same records, to save measuring them again.
        ridge: Scores of `evaluation.ridge.ridge_scores`, fitted on the other parts of the split. They are measured even
            where `baselines` are given.
        progress: Show a bar on stderr.

    Raises:
        HierSumError: There are no records, ids repeat, or a video's scores are missing, of another length or NaN (the
            message names the video). The data set has no such protocol.
    """
    if scores is None and scorer not in WITHOUT_SCORES:
        raise HierSumError(f"scorer {scorer!r}: expected scores (only {', '.join(WITHOUT_SCORES)} need none)")
    if draws < RANDOM_DRAWS:
        raise HierSumError(f"draws: expected at least {RANDOM_DRAWS}, found {draws}")
    videos, fingerprint = _videos(records, dataset, protocol, progress)
    sentences = sentence_scores or {}
    measured, drawn, compared, fitted = [], [], [], []
    for video in tqdm(videos, desc="measuring", unit="video", disable=None if progress else True):
        if baselines is None or scorer == "random":
            # Draw k scores frames at random from [0, 1) with the seed `seed` + k; `_random_baseline` averages draws.
            drawn.append([video.draw(seed + k, selects=k < CAPTURED_DRAWS) for k in range(draws)])
        if baselines is None:
            compared.append(video.baselines())
        if ridge is not None:
            fitted.append(video.measure(_scores_of(video.record, ridge.scores)))
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
    if ridge is not None:
        beside = {video.record.video_id: _plain(figures) for video, figures in zip(videos, fitted, strict=True)}
        baselines = baselines | {"ridge": Baseline(_means(fitted), fit=ridge.fit, per_video=beside)}
    references = [video.reference for video in videos]
    per_video = {r.record.video_id: _per_video(r, f, scores) for r, f in zip(references, measured, strict=True)}
    name = protocol or protocols_of(dataset)[0]
    return Results(
        dataset=dataset,
        part=part,
        split=split,
        protocol=name + (SINGLE_REFERENCE if _is_single(references) else ""),
        scorer=scorer,
        level=level,
        score_head=score_head,
        checkpoint=checkpoint,
        selected_on=selected_on,
        metrics=dict.fromkeys(METRICS) | _means(measured),
        selection=_extent(references, scores),
        baselines=baselines,
        ci95={name: _interval([figures[name] for figures in measured], seed) for name in measured[0]},
        against_ridge=against_ridge(scorer, per_video, baselines.get("ridge"), seed),
        per_video=per_video,
        dropped=_dropped(references, scores) | _without_description(references, level),
        encoders=_encoders([reference.record for reference in references]),
        encoder_mismatch=encoder_mismatch,
        data_fingerprint=fingerprint,
        seed=seed,
        versions=versions(),
        command=command,
    )


@dataclass(frozen=True, eq=False)
class _Video:
    """What the scores of one video are measured by.

    Attributes:
        reference: What the protocol compares with.
        importance: Of its frames; None where no video of the set has any.
        title: (N,) scores by its title; None where it has none, or none that can be compared with the frames.
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
        """Measure random scores.

        What they capture stays unknown unless a selection is to be made.
        """
        scores = random_scores(self.record, seed) if selects else None
        return self._captured(scores) | self.reference.random(seed)

    def human(self) -> dict[str, float]:
        """Measure every annotator against the others."""
        return (self.importance.human() if self.importance else {}) | self.reference.human()

    def shot_oracle(self) -> dict[str, float]:
        """Measure the best shots.

        They are no scores by which a selection could be made.
        """
        return self._captured(None) | self.reference.shot_oracle()

    def baselines(self) -> dict[str, dict[str, float] | None]:
        """Measure each baseline but random; None where this video alone cannot have it."""
        oracle, labels = self.reference.oracle_scores(), self.record.sentence_labels
        return {
            "position": self.measure(position_scores(self.record)),
            "title": None if self.title is None else self.measure(self.title),
            "ridge": None,  # a single video knows no other ones to fit on
            "oracle": None if oracle is None else self.measure(oracle, labels),
            "human": self.human(),
        }

    def _captured(self, scores: np.ndarray | None) -> dict[str, float]:
        """Measure what scores capture of the importance.

        There are no such figures in a set without importance, and unknown ones without scores.
        """
        if self.importance is None:
            return {}
        return dict.fromkeys(CAPTURED, UNKNOWN) if scores is None else self.importance.captured(scores)


def _videos(
    records: Iterable[VideoRecord], dataset: str, protocol: str | None, progress: bool
) -> tuple[list[_Video], str]:
    """Collect what each record is measured by, and the fingerprint of all."""
    videos, digest = [], hashlib.sha256()
    for record in tqdm(records, desc="reading", unit="video", disable=None if progress else True):
        expect_type("records", record, VideoRecord, "VideoRecords")
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
    """Look up the (N,) scores of the record's video and check them."""
    name, n = record.video_id, len(record.frame_times_s)
    if name not in scores:
        raise HierSumError(f"video {name}: expected scores, found none")
    values = np.asarray(scores[name], np.float64)
    if values.shape != (n,) or not np.isfinite(values).all():
        raise HierSumError(f"video {name}: expected {n} finite scores, found {values.shape} or NaN among them")
    return values


def _means(videos: Sequence[dict[str, float]]) -> Figures:
    """Average each metric over the videos that have it, if any."""
    names = videos[0] if videos else MEASURED
    known = {name: [figures[name] for figures in videos if not np.isnan(figures[name])] for name in names}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def _mean_draw(draws: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average the figures of one video over its draws."""
    return {name: known_mean([figures[name] for figures in draws]) for name in draws[0]}


def _baselines(
    drawn: Sequence[Sequence[dict[str, float]]], compared: Sequence[Mapping[str, dict[str, float] | None]]
) -> dict[str, Baseline | None]:
    """Average each baseline over the videos.

    `drawn` has the draws of each video, `compared` its other baselines.
    """
    found = {name: [video[name] for video in compared] for name in BASELINES if name != "random"}
    return {"random": _random_baseline(drawn)} | {name: _baseline(name, videos) for name, videos in found.items()}


def _random_baseline(drawn: Sequence[Sequence[dict[str, float]]]) -> Baseline:
    """Average random scores over the draws of each video, `drawn`.

    A draw's figure is the mean over videos, x_1 ... x_n over n draws. The baseline is their mean, its standard error
    s / sqrt(n), s the sample standard deviation with n - 1. Not given in the paper.
    """
    means = [_means(draw) for draw in zip(*drawn, strict=True)]
    table = {name: np.array([mean[name] for mean in means if mean[name] is not None]) for name in means[0]}
    errors = {
        name: float(values.std(ddof=1) / len(values) ** 0.5) if len(values) else UNKNOWN
        for name, values in table.items()
    }
    figures = {name: known_mean(values) for name, values in table.items()}
    return Baseline(_plain(figures), len(means), _plain(errors))


def _baseline(name: str, videos: Sequence[dict[str, float] | None]) -> Baseline | None:
    """Average a baseline over videos.

    It is None where no video has a figure, and for the title where some have none.
    """
    known = [figures for figures in videos if figures is not None]
    means = _means(known)
    if (name == "title" and len(known) < len(videos)) or all(value is None for value in means.values()):
        return None
    return Baseline(means)


def against_ridge(
    scorer: str, per_video: Mapping[str, Figures], ridge: Baseline | None, seed: int
) -> dict[str, Difference] | None:
    """Compare a scorer with the ridge baseline, video by video.

    None without that baseline, and for the ridge regression itself.
    """
    if scorer == "ridge" or ridge is None or ridge.per_video is None:
        return None
    return differences(per_video, ridge.per_video, seed)


def _interval(values: Sequence[float], seed: int) -> list[float] | None:
    return mean_interval(np.array([value for value in values if not np.isnan(value)]), seed, RESAMPLES)


def _extent(references: Sequence[Reference], scores: Mapping[str, np.ndarray] | None) -> Figures | None:
    """Average length and coverage of the selections.

    They are None for a baseline without scores.
    """
    if scores is None:
        return None
    return _means([reference.extent(_scores_of(reference.record, scores)) for reference in references])


def _per_video(reference: Reference, figures: dict[str, float], scores: Mapping[str, np.ndarray] | None) -> Figures:
    constant = scores is not None and is_constant(scores[reference.record.video_id])
    return _plain(figures) | ({"constant_prediction": True} if constant else {})


def _plain(figures: dict[str, float]) -> Figures:
    return {name: None if np.isnan(value) else value for name, value in figures.items()}


def _dropped(references: Sequence[Reference], scores: Mapping[str, np.ndarray] | None) -> dict[str, int]:
    """Count the annotators, lengths, videos and predictions that met a special rule."""
    counted = [reference.dropped() for reference in references]
    counts = {reason: int(sum(video[reason] for video in counted)) for reason in counted[0]}
    constant = 0 if scores is None else sum(is_constant(scores[r.record.video_id]) for r in references)
    return counts | {"constant_predictions_scored_0": constant}


def _without_description(references: Sequence[Reference], level: str | None) -> dict[str, int]:
    """Count the videos without description, which are read without the parent level."""
    if level not in ("parent", "both"):
        return {}
    return {"read_without_description": sum(not reference.has_description for reference in references)}


def _is_single(references: Sequence[Reference]) -> bool:
    """Tell whether a curve or labels stand for the expected annotators."""
    return any(type(r) is Reference and r.record.user_scores is None and r.users is not None for r in references)


def _encoders(records: Sequence[VideoRecord]) -> dict[str, Any] | None:
    """Name the encoders that all videos share, if they do.

    The sample rate is None where videos differ in it.
    """
    pairs = {(r.encoders.video, r.encoders.text) if r.encoders else None for r in records}
    if len(pairs) != 1 or (pair := pairs.pop()) is None:
        return None
    rates = {r.encoders.sample_fps for r in records if r.encoders}
    return {"video": pair[0], "text": pair[1], "sample_fps": rates.pop() if len(rates) == 1 else None}
