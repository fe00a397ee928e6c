"""Rank correlations of raw scores with annotators.

They are the project's protocol, and others in circulation by name. Letters: N sampled frames, U annotators, n_frames
original frames.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.stats import kendalltau, rankdata

from hiersum_hf.metrics.inputs import cut_to_common, finite_row
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import Floats


LARGEST_TABLE = 32  # cells for each value, above which scipy counts the pairs
Levels = tuple[int, np.ndarray, int]


def kendall_tau(scores: np.ndarray, user_scores: np.ndarray, video_id: str = "?") -> tuple[float, int]:
    """Correlate scores with each annotator by Kendall's tau-b.

    The figure is the mean over annotators of tau-b of the raw scores. Random scores get 0.

    Args:
        scores: (N,) predicted importance. Constant scores give 0; flag them with `is_constant`.
        user_scores: (U, N) importance given by each annotator.
        video_id: Named in error messages.

    Returns:
        The mean, NaN if no annotator is left, and how many constant annotators were dropped.

    Raises:
        ValueError: If scores are NaN or infinite, or the lengths differ by more than two.
    """
    scores, users, dropped = _comparable(scores, user_scores, video_id)
    if is_constant(scores) or len(users) == 0:
        return (0.0 if len(users) else float("nan")), dropped
    levels = _levels(scores)
    return float(np.mean([_tau_b(levels, _levels(user), scores, user) for user in users])), dropped


def spearman_rho(scores: np.ndarray, user_scores: np.ndarray, video_id: str = "?") -> tuple[float, int]:
    """Correlate scores with each annotator by Spearman's rho.

    Arguments and returns are those of `kendall_tau`.
    """
    scores, users, dropped = _comparable(scores, user_scores, video_id)
    if is_constant(scores) or len(users) == 0:
        return (0.0 if len(users) else float("nan")), dropped
    return float(_rho_matrix(np.vstack([scores, users]))[0, 1:].mean()), dropped


def human_agreement(user_scores: np.ndarray) -> tuple[float, float]:
    """Correlate all pairs of annotators (U, N).

    Returns mean tau-b and mean rho, NaN with fewer than two annotators that are not constant.
    """
    users = np.asarray([user for user in np.asarray(user_scores) if not is_constant(user)])
    if len(users) < 2:
        return float("nan"), float("nan")
    known = [(_levels(user), user) for user in users]
    tau = np.mean([_tau_b(a, b, one, other) for (a, one), (b, other) in combinations(known, 2)])
    return float(tau), float(_rho_matrix(users)[np.triu_indices(len(users), 1)].mean())


def tau_rho_mean_user(scores: np.ndarray, user_scores: np.ndarray, video_id: str = "?") -> tuple[float, float]:
    """Correlate scores with the MEAN of the annotators.

    By tau-b and rho of raw scores, a protocol of some papers. Random scores get 0. Figures are higher than those
    against each annotator (the mean itself, TVSum's 0.378 and 0.473 there, gets 1 here): never compare the two.

    Args:
        scores: (N,) predicted importance. Constant scores give 0.
        user_scores: (U, N), U >= 1.
        video_id: Named in error messages.

    Returns:
        Both NaN where the mean is constant.

    Raises:
        ValueError: If anything is empty, NaN or infinite, or the lengths differ by more than two.
    """
    scores, users = cut_to_common(finite_row(scores, video_id), np.asarray(user_scores, np.float64), video_id)
    if len(users) == 0:
        raise HierSumError(f"video {video_id}: expected at least one annotator, found none")
    mean = finite_row(users.mean(axis=0), video_id, "annotations")
    if is_constant(mean):
        return float("nan"), float("nan")
    if is_constant(scores):
        return 0.0, 0.0
    return tau_b(scores, mean), float(_rho_matrix(np.vstack([scores, mean]))[0, 1])


def tau_rho_csta_summe(summary: np.ndarray, user_summaries: np.ndarray, video_id: str = "?") -> tuple[float, float]:
    """Correlate a 0/1 summary with the annotators' mean summary.

    This is CSTA's way on SumMe, by tau-b and rho of a key-shot summary. RANDOM scores get 0.092 and 0.102 on SumMe, so
    this is offered by name only. Where shots differ in length, the knapsack takes short ones whatever their scores, and
    those are what annotators' summaries are made of too.

    Args:
        summary: (n_frames,) bool, of `key_shot_summary`.
        user_summaries: (U, n_frames) bool.
        video_id: Named in error messages.

    Returns:
        0 where the summary selects nothing or everything, NaN where the annotators' mean is constant.
    """
    return tau_rho_mean_user(np.asarray(summary, bool), np.asarray(user_summaries, bool), video_id)


def is_constant(scores: np.ndarray) -> bool:
    """Tell whether all scores are the same.

    That leaves rank correlations undefined.
    """
    return bool(np.size(scores) == 0 or np.ptp(scores) == 0)


def tau_b(x: np.ndarray, y: np.ndarray) -> float:
    """Compute Kendall's tau-b of two rows (N,).

    It is `scipy.stats.kendalltau`'s value, NaN where one row is constant. Where values repeat, as ratings do, the table
    of how often each pair of values occurs is small, and sums over its quadrants count concordant and discordant pairs
    exactly, two to four times faster. Without repeats scipy counts.
    """
    return _tau_b(_levels(x), _levels(y), x, y)


def _levels(row: np.ndarray) -> Levels:
    """Sort a row into its levels.

    Returns:
        How many values the row has, which of them, ascending, stands at each place, and `_untied` of them.
    """
    values, which, counts = np.unique(row, return_inverse=True, return_counts=True)
    return len(values), which, _untied(counts)


def _tau_b(x_levels: Levels, y_levels: Levels, x: np.ndarray, y: np.ndarray) -> float:
    """Compute tau-b of two rows whose levels are known."""
    (x_count, x_of, x_untied), (y_count, y_of, y_untied) = x_levels, y_levels
    shape = x_count, y_count
    if min(shape) < 2:
        return float("nan")
    if shape[0] * shape[1] > LARGEST_TABLE * len(x_of):
        return float(kendalltau(x, y).statistic)
    # tau-b = (concordant - discordant) / sqrt(pairs untied in x  pairs untied in y)
    table = np.bincount(x_of * shape[1] + y_of, minlength=shape[0] * shape[1]).reshape(shape)  # (levels of x, of y)
    below = table.cumsum(axis=0) - table  # pairs with a smaller x, for each y
    smaller = below.cumsum(axis=1) - below  # and a smaller y: concordant
    greater = below.sum(axis=1, keepdims=True) - smaller - below  # and a greater y: discordant
    tau = int((table * (smaller - greater)).sum()) / np.sqrt(x_untied) / np.sqrt(y_untied)
    return float(np.clip(tau, -1, 1))


def _untied(counts: np.ndarray) -> int:
    """Count the pairs with different values.

    `counts` tells how often each value occurs.
    """
    total = int(counts.sum())
    # n (n - 1) / 2 pairs, less c (c - 1) / 2 for each value that occurs c times
    return (total * (total - 1) - int((counts * (counts - 1)).sum())) // 2


def _rho_matrix(rows: np.ndarray) -> Floats:
    """Correlate R >= 2 rows with each other, (R, R) Spearman rho.

    None of them may be constant.
    """
    # rho is Pearson's correlation of the ranks, ties at their mean rank
    correlations: Floats = np.corrcoef(rankdata(rows, axis=1))
    return correlations


def _comparable(scores: np.ndarray, user_scores: np.ndarray, video_id: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Prepare scores and annotators for comparison.

    Returns:
        Scores and the annotators that are not constant, of one length, and how many annotators were dropped.
    """
    scores, users = cut_to_common(np.asarray(scores, np.float64), np.asarray(user_scores, np.float64), video_id)
    if not np.isfinite(scores).all():
        raise HierSumError(f"video {video_id}: expected finite scores, found NaN or infinity")
    if not np.isfinite(users).all():
        raise HierSumError(f"video {video_id}: expected finite annotations, found NaN or infinity")
    varied = np.array([not is_constant(user) for user in users], bool)
    return scores, users[varied], int((~varied).sum())
