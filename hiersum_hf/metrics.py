"""Agreement of scores and summaries with annotators: key-shot F1 and rank correlations.

Letters: N sampled frames, S shots, U annotators, n_frames original frames. Lengths that differ by at most two, as
decoders count frames, are cut to the common one; a greater difference is an error.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.stats import kendalltau, spearmanr

from hiersum_hf.shots import clip_shots, fill_picks, select_shots


BUDGET_PERCENT = 15  # of the original frames
LENGTH_TOLERANCE = 2


def cut_to_common(ours: np.ndarray, users: np.ndarray, video_id: str = "?") -> tuple[np.ndarray, np.ndarray]:
    """`ours` (n,) and `users` (U, n') cut to the shorter length.

    Raises:
        ValueError: If the lengths differ by more than two; the message names the video.
    """
    ours, users = np.asarray(ours), np.atleast_2d(users)
    if abs(len(ours) - users.shape[1]) > LENGTH_TOLERANCE:
        raise ValueError(f"video {video_id}: expected {users.shape[1]} values as annotated, found {len(ours)}")
    common = min(len(ours), users.shape[1])
    return ours[:common], users[:, :common]


def key_shot_summary(scores: np.ndarray, picks: np.ndarray, n_frames: int, shots: np.ndarray) -> np.ndarray:
    """The key-shot summary of the field: shots within 15 % of the frames, chosen by an exact 0/1 knapsack.

    The value of a shot is the mean of its frames, its weight its length, the capacity floor(0.15 n_frames). This rule
    reproduces DSNet's published TVSum user summaries (not given in the paper).

    Args:
        scores: (N,) score of each sampled frame.
        picks: (N,) original frame behind each; its score fills up to the next pick.
        n_frames: Number of original frames.
        shots: (S, 2) [start, end) in original frames; what lies past the end is cut off.

    Returns:
        (n_frames,) bool.
    """
    shots = clip_shots(shots, n_frames)
    chosen = select_shots(fill_picks(scores, picks, n_frames), shots, capacity=n_frames * BUDGET_PERCENT // 100)
    summary = np.zeros(n_frames, bool)
    for start, end in shots[chosen]:
        summary[start:end] = True
    return summary


def f1_score(pred: np.ndarray, user_summaries: np.ndarray, reduce: str = "mean", video_id: str = "?") -> float:
    """F1 of a summary against each annotator's, their mean (TVSum's protocol) or max (SumMe's).

    Args:
        pred: (n_frames,) bool.
        user_summaries: (U, n_frames) bool.
        reduce: "mean" or "max".
        video_id: Named in error messages.

    Raises:
        ValueError: If the lengths differ by more than two or `reduce` is another word.
    """
    if reduce not in ("mean", "max"):
        raise ValueError(f'reduce: expected "mean" or "max", found {reduce!r}')
    pred, users = cut_to_common(np.asarray(pred, bool), np.asarray(user_summaries, bool), video_id)
    overlap = (users & pred).sum(axis=1)
    f1 = 2 * overlap / np.maximum(pred.sum() + users.sum(axis=1), 1)  # (U,)
    return float(f1.mean() if reduce == "mean" else f1.max())


def kendall_tau(scores: np.ndarray, user_scores: np.ndarray, video_id: str = "?") -> tuple[float, int]:
    """Kendall tau-b of raw scores against each annotator, averaged over annotators.

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
    return float(np.mean([kendalltau(scores, user).statistic for user in users])), dropped


def spearman_rho(scores: np.ndarray, user_scores: np.ndarray, video_id: str = "?") -> tuple[float, int]:
    """Spearman rho of raw scores against each annotator; arguments and returns as `kendall_tau`."""
    scores, users, dropped = _comparable(scores, user_scores, video_id)
    if is_constant(scores) or len(users) == 0:
        return (0.0 if len(users) else float("nan")), dropped
    return float(_rho_matrix(np.vstack([scores, users]))[0, 1:].mean()), dropped


def human_agreement(user_scores: np.ndarray) -> tuple[float, float]:
    """Mean tau-b and rho over all pairs of annotators, (U, N); NaN with fewer than two that are not constant."""
    users = np.asarray([user for user in np.asarray(user_scores) if not is_constant(user)])
    if len(users) < 2:
        return float("nan"), float("nan")
    tau = np.mean([kendalltau(one, other).statistic for one, other in combinations(users, 2)])
    return float(tau), float(_rho_matrix(users)[np.triu_indices(len(users), 1)].mean())


def is_constant(scores: np.ndarray) -> bool:
    """Whether all scores are the same, which leaves rank correlations undefined."""
    return bool(np.size(scores) == 0 or np.ptp(scores) == 0)


def _rho_matrix(rows: np.ndarray) -> np.ndarray:
    """(R, R) Spearman rho between R >= 2 rows, none of them constant."""
    rho = np.asarray(spearmanr(rows, axis=1).statistic)
    return rho if rho.ndim else np.array([[1.0, float(rho)], [float(rho), 1.0]])  # scipy: a scalar for two rows


def _comparable(scores: np.ndarray, user_scores: np.ndarray, video_id: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores and the annotators that are not constant, of one length, and how many annotators were dropped."""
    scores, users = cut_to_common(np.asarray(scores, np.float64), np.asarray(user_scores, np.float64), video_id)
    if not np.isfinite(scores).all():
        raise ValueError(f"video {video_id}: expected finite scores, found NaN or infinity")
    if not np.isfinite(users).all():
        raise ValueError(f"video {video_id}: expected finite annotations, found NaN or infinity")
    varied = np.array([not is_constant(user) for user in users], bool)
    return scores, users[varied], int((~varied).sum())
