"""Key-shot summaries by the rule of each code base.

With them comes how they agree with annotators' summaries. Letters: N sampled frames, S shots, U annotators, n_frames
original frames.
"""

from __future__ import annotations

from math import floor

import numpy as np

from hiersum_hf.metrics.inputs import cut_to_common, exact_part, finite_row
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.summary.shots import clip_shots, fill_picks, knapsack
from hiersum_hf.timeline import covered_means


BUDGET_PERCENT = 15  # of the original frames
VARIANTS = ("hiersum", "a2summ", "dsnet", "mrhisum", "sdmvsum")
MOST_PERCENT = 25  # of the frames, above which SM-VideoXum's protocol counts a selection as a failure


def key_shot_summary(
    scores: np.ndarray,
    picks: np.ndarray,
    n_frames: int,
    shots: np.ndarray,
    variant: str = "hiersum",
    budget: float = BUDGET_PERCENT / 100,
    video_id: str = "?",
) -> np.ndarray:
    """Build the key-shot summary of the field.

    It holds shots within a share of the frames, chosen by an exact 0/1 knapsack. A shot weighs its length. The variants
    differ in capacity and values (none is given in the paper):

    - "hiersum": floor(budget n_frames), mean of the shot's frames. It reproduces DSNet's published TVSum user
      summaries;
    - "a2summ": round(budget n_frames), halves to the even number, int(1000 mean);
    - "dsnet": floor(budget n_frames), int(1000 mean);
    - "mrhisum": int(budget end of the last shot), mean;
    - "sdmvsum": floor(budget n_frames). The end of a shot counts as its last frame where shots are valued, so its mean
      takes in the first frame of the next one; the last shot is one frame longer (SM-MrHiSum's published code).

    Args:
        scores: (N,) score of each sampled frame.
        picks: (N,) original frame behind each; its score fills up to the next pick.
        n_frames: Number of original frames.
        shots: (S, 2) [start, end) in original frames; what lies past the end is cut off.
        variant: Whose rule.
        budget: Share of the frames, above 0 and at most 1.
        video_id: Named in error messages.

    Returns:
        (n_frames,) bool.

    Raises:
        ValueError: If there is no such variant, the budget is out of range, scores are not finite, picks do not
            ascend, or shots overlap.
    """
    if variant not in VARIANTS:
        raise HierSumError(f"variant: expected one of {', '.join(VARIANTS)}; found {variant!r}")
    row = finite_row(scores, video_id)
    try:
        shots = clip_shots(shots, n_frames)
        capacity = exact_part(budget, int(shots[-1, 1]) if variant == "mrhisum" else n_frames)
        frames = fill_picks(row, picks, n_frames)
    except ValueError as error:
        raise HierSumError(f"video {video_id}: {error}") from None
    valued = shots
    if variant == "sdmvsum":
        shots[-1, 1] += 1
        valued = np.stack([shots[:, 0], np.minimum(shots[:, 1] + 1, n_frames)], axis=1)
    values = _per_mille(frames, shots) if variant in ("a2summ", "dsnet") else covered_means(frames, valued)
    # Exact fractions: 0.15 n_frames in floats may fall below a whole number
    limit = round(capacity) if variant == "a2summ" else floor(capacity)
    summary = np.zeros(n_frames, bool)
    for start, end in shots[knapsack(values, shots[:, 1] - shots[:, 0], limit)]:
        summary[start:end] = True
    return summary


def threshold_summary(scores: np.ndarray, budget: float = BUDGET_PERCENT / 100, video_id: str = "?") -> np.ndarray:
    """Select the frames that reach a score, SM-VideoXum's rule.

    The threshold is the score at place int(budget N), from 0, of all scores from the greatest on. Frames that tie with
    it are selected too, so a selection has int(budget N) + 1 frames and more where scores are equal.

    Args:
        scores: (N,) score of each frame.
        budget: Share of the frames, above 0 and at most 1.
        video_id: Named in error messages.

    Returns:
        (N,) bool.

    Raises:
        ValueError: If the budget is out of range, or scores are empty, NaN or infinite.
    """
    row = finite_row(scores, video_id)
    place = min(floor(exact_part(budget, len(row))), len(row) - 1)
    selected: np.ndarray = row >= np.sort(row)[::-1][place]
    return selected


def _per_mille(frames: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """Compute int(1000 mean) of each shot, (S,)."""
    # Cutting off magnifies rounding: no cumulative sums here
    return np.array([int(1000 * frames[start:end].mean()) for start, end in shots])


def f1_score(pred: np.ndarray, user_summaries: np.ndarray, reduce: str = "mean", video_id: str = "?") -> float:
    """Compute the F1 of a summary against annotators' summaries.

    It is the mean over annotators (TVSum's protocol) or the max (SumMe's).

    Args:
        pred: (n_frames,) bool.
        user_summaries: (U, n_frames) bool.
        reduce: "mean" or "max".
        video_id: Named in error messages.

    Raises:
        ValueError: If the lengths differ by more than two, there is no annotator, or `reduce` is another word.
    """
    if reduce not in ("mean", "max"):
        raise HierSumError(f'reduce: expected "mean" or "max", found {reduce!r}')
    pred, users = cut_to_common(np.asarray(pred, bool), np.asarray(user_summaries, bool), video_id)
    if users.size == 0:
        raise HierSumError(f"video {video_id}: expected at least one annotator and frame, found {users.shape}")
    # F1 = 2 |P and U| / (|P| + |U|), P the selected frames, U each annotator's; by rows, twice as fast as by an axis
    overlap, length = np.array([(np.count_nonzero(user & pred), np.count_nonzero(user)) for user in users]).T
    f1 = 2 * overlap / np.maximum(np.count_nonzero(pred) + length, 1)  # (U,)
    return float(f1.mean() if reduce == "mean" else f1.max())


def precision_recall(pred: np.ndarray, reference: np.ndarray, video_id: str = "?") -> tuple[float, float]:
    """Compute precision and recall of a selection.

    They are the shares of the selected that are right, and of the right that are selected.

    Args:
        pred: (n,) bool, frames or segments.
        reference: (n,) bool, the same.
        video_id: Named in error messages.

    Returns:
        Precision (0 where nothing is selected) and recall; both NaN, undefined, where the reference selects nothing.

    Raises:
        ValueError: If the lengths differ by more than two.
    """
    pred, users = cut_to_common(np.asarray(pred, bool), np.asarray(reference, bool), video_id)
    if not users.any():
        return float("nan"), float("nan")
    overlap = (pred & users[0]).sum()
    return float(overlap / max(pred.sum(), 1)), float(overlap / users.sum())


def summary_length(summary: np.ndarray) -> float:
    """Compute the share of the frames that a summary selects.

    `summary` is (n_frames,) bool, n_frames >= 1.
    """
    return float(_selected(summary).mean())


def temporal_coverage(summary: np.ndarray, parts: int = 10) -> float:
    """Compute the share of the video's tenths that a summary touches.

    `summary` is (n_frames,) bool and touches a tenth in which it selects at least one frame. Frame f belongs to part
    floor(parts f / n_frames); parts without any frame, as in videos of fewer than `parts` frames, do not count (not
    given in the paper).
    """
    selected = _selected(summary)
    if parts < 1:
        raise HierSumError(f"parts: expected at least 1, found {parts}")
    touched = np.unique(np.flatnonzero(selected) * parts // len(selected))
    return len(touched) / min(parts, len(selected))


def _selected(summary: np.ndarray) -> np.ndarray:
    """Check a summary, (n_frames,) bool."""
    selected = np.asarray(summary, bool)
    if selected.ndim != 1 or len(selected) == 0:
        raise HierSumError(f"summary: expected shape (n_frames,) with n_frames >= 1, found {selected.shape}")
    return selected
