"""Score test videos by ridge regression, the strongest simple baseline.

Letters: N sampled frames, D feature width, U annotators, L strengths. Not given in the paper.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from tqdm.auto import tqdm

from hiersum_hf.evaluation.protocols.by_name import users_of
from hiersum_hf.metrics import kendall_tau
from hiersum_hf.records import Floats, VideoRecord, counted
from hiersum_hf.results import Figures
from hiersum_hf.scoring.training_free import AVERAGED_S, moving_average, samples_averaged


logger = logging.getLogger(__name__)

STRENGTHS = 10.0 ** np.arange(4, -4.5, -0.5)  # lambda in mean eigenvalues; of equally good ones the first is taken
ROUNDING = 1e-12  # share of the sum of squares below which the spread of features is nothing but rounding


@dataclass(frozen=True, eq=False)
class RidgeScores:
    """Scores by the ridge regression, and how it was fitted.

    Attributes:
        scores: (N,) importance for each test video id, on the annotators' scale.
        fit: `strength` (lambda as a multiple of the mean eigenvalue of the training part's scatter), `averaged_s` (0
            where scores are not averaged), `videos` that it was fitted on, and `left_out`, the videos of both parts
            that have no features of this width or no annotations.
    """

    scores: dict[str, Floats]
    fit: Figures


def ridge_scores(
    train: Iterable[VideoRecord],
    validation: Iterable[VideoRecord],
    test: Iterable[VideoRecord],
    progress: bool = False,
    rank_targets: bool = False,
) -> RidgeScores | None:
    """Fit a ridge regression on other videos and score these.

    A frame with the features x scores b + w x. The weights minimise the sum of (y - b - w x)^2 over the frames of the
    training part, plus lambda |w|^2; y is the mean of the annotators, else the curve, else the label. lambda, and
    whether scores are averaged over 4.5 s, are those whose mean tau-b against the annotators of the validation videos
    is greatest. With this lambda the weights are fitted again on both parts. Nothing of the test videos is read but
    their features.

    Args:
        train: Videos to fit on. Each part is read once, one video at a time.
        validation: Videos to choose by.
        test: Videos to score.
        progress: Show a bar on stderr.
        rank_targets: y is the mean of the annotators' ranks, as shares of the frames in (0, 1]; so are the scores.

    Returns:
        None where a part has no video with features and annotations, or a test video has features of another width,
        or not finite ones.
    """
    known = _Known(rank_targets)
    for record in tqdm(train, desc="fitting ridge", unit="video", disable=None if progress else True):
        known.add(record)
    if known.table is None:
        return None
    centred, _ = _centred(known.table)
    lambdas = STRENGTHS * np.trace(centred[:-1, :-1]) / (len(centred) - 1)
    taus = []
    weights, _ = _solve(known.table, lambdas)
    for record in validation:
        if (frames := known.add(record)) is not None:
            taus.append(_agreement(record, frames, weights))
    taus = [found for found in taus if np.isfinite(found).all()]  # all annotators of a video may be constant
    if not taus:
        return None
    averaged, strength = np.unravel_index(np.mean(taus, axis=0).argmax(), taus[0].shape)
    weights, (offset,) = _solve(known.table, lambdas[strength, None])
    scores = {}
    for record in test:
        features = _features(record)
        if features is None or features.shape[1] != len(weights):
            return None
        scores[record.video_id] = _both(record, features @ weights)[averaged][:, 0] + offset
    if known.left_out:
        logger.warning("ridge: left out %s without features or annotations", counted(known.left_out, "video"))
    fit: Figures = {"strength": float(STRENGTHS[strength]), "averaged_s": 0.0 if averaged else AVERAGED_S}
    return RidgeScores(scores, fit | {"videos": known.videos, "left_out": known.left_out})


@dataclass(frozen=True, eq=False)
class _Frames:
    """Frames of a video that have features and annotations.

    Attributes:
        features: (N, D) of all frames.
        seen: Indices of the frames that are annotated.
        users: Their annotators, (U, len(seen)).
    """

    features: Floats
    seen: np.ndarray
    users: np.ndarray


class _Known:
    """What is known of the videos that were added.

    Attributes:
        rank_targets: As `ridge_scores` takes it.
        table: (D + 2, D + 2): Z^T Z over all frames, where Z has their features, 1 and y. A ridge regression needs
            nothing else, however many frames there are. None without videos.
        videos: How many were added.
        left_out: How many had no features of the others' width, or no annotations.
    """

    def __init__(self, rank_targets: bool) -> None:
        self.rank_targets = rank_targets
        self.table: Floats | None = None
        self.videos = self.left_out = 0

    def add(self, record: VideoRecord) -> _Frames | None:
        """Add the frames of a video and return them, None if it is left out."""
        features, users = _features(record), users_of(record)
        seen = np.zeros(0, int) if users is None else np.flatnonzero(np.isfinite(users).all(axis=0))
        width = None if self.table is None else len(self.table) - 2
        if features is None or users is None or not len(seen) or width not in (None, features.shape[1]):
            self.left_out += 1
            return None
        users = users[:, seen]
        y = rankdata(users, axis=1).mean(axis=0) / len(seen) if self.rank_targets else users.mean(axis=0)
        rows = np.column_stack([features[seen], np.ones(len(seen)), y])  # Z
        if self.table is None:
            self.table = np.zeros((rows.shape[1], rows.shape[1]))
        self.table += rows.T @ rows
        self.videos += 1
        return _Frames(features, seen, users)


def _features(record: VideoRecord) -> Floats | None:
    """Return the (N, D) features, None if there are none or not all are finite."""
    features = np.asarray(record.video_features, np.float64)
    return features if features.size and np.isfinite(features).all() else None


def _centred(table: Floats) -> tuple[Floats, Floats]:
    """Take the means off a table of sums.

    Returns:
        (D + 1, D + 1): the sums of products of features and y less their means; and these means, (D + 1,).
    """
    frames, kept = table[-2, -2], np.delete(np.arange(len(table)), -2)
    means = table[kept, -2] / frames
    # sum (u - mean u)(v - mean v) = sum u v - frames mean(u) mean(v)
    return table[np.ix_(kept, kept)] - frames * np.outer(means, means), means


def _solve(table: Floats, lambdas: Floats) -> tuple[Floats, Floats]:
    """Solve the ridge regression for each lambda.

    Returns:
        (D, L) weights and (L,) offsets. Features that do not differ have weights of 0.
    """
    centred, means = _centred(table)
    spread, products = centred[:-1, :-1], centred[:-1, -1]
    weights = np.zeros((len(spread), len(lambdas)))
    if np.trace(spread) > ROUNDING * np.trace(table[:-2, :-2]):
        # With X^T X = Q diag(e) Q^T, w = (X^T X + lambda 1)^-1 X^T y = Q diag(1 / (e + lambda)) Q^T X^T y
        values, vectors = np.linalg.eigh(spread)
        weights = vectors @ ((vectors.T @ products)[:, None] / (np.maximum(values, 0)[:, None] + lambdas))
    return weights, means[-1] - means[:-1] @ weights


def _both(record: VideoRecord, scores: Floats) -> tuple[Floats, Floats]:
    """Return (N, L) scores averaged over 4.5 s, and as they are."""
    return moving_average(scores, samples_averaged(record)), scores


def _agreement(record: VideoRecord, frames: _Frames, weights: Floats) -> Floats:
    """Compute tau-b of each strength, averaged and not, (2, L)."""
    return np.array(
        [
            [kendall_tau(one, frames.users, record.video_id)[0] for one in scores[frames.seen].T]
            for scores in _both(record, frames.features @ weights)
        ]
    )
