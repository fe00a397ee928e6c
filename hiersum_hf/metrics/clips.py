"""Mr.HiSum's mean average precision.

It asks whether the clips that viewers replay most are ranked first. Letters: N rows (one a second), C clips.
"""

from __future__ import annotations

from math import ceil, floor

import numpy as np

from hiersum_hf.metrics.inputs import best, cut_to_common, exact_part, finite_row, without_noise
from hiersum_hf.modeling.errors_hiersum import HierSumError


CLIP_ROWS = 5
SHARES = (0.5, 0.15)
RULES = ("mrhisum", "triplesumm")


def clip_average_precision(
    scores: np.ndarray, reference: np.ndarray, share: float, rule: str = "mrhisum", video_id: str = "?"
) -> float:
    """Compute the average precision of clip scores.

    This is mAP50 or mAP15 of one video, for the best clips of the reference. Clips are 5 rows long, the last may be
    shorter; clips score their mean. Positive are the best clips of the reference, of equal ones the earlier. The rules
    differ in rounding and in the last clip (not given in the paper):

    - "mrhisum": floor(share C) positives, mean of the rows that the last clip has;
    - "triplesumm": ceil(share C) positives, the last clip filled up with zeros.

    Random scores get more than the share of positives, above all in short videos: 0.59 and 0.27 for a minute, 0.52
    and 0.18 for ten.

    Args:
        scores: (N,) predicted importance.
        reference: (N,) true importance.
        share: Of the clips that are positive, 0.5 or 0.15.
        rule: Whose rule.
        video_id: Named in error messages.

    Returns:
        NaN, undefined, where no clip is positive: under "mrhisum" below 2 clips, for share 0.15 below 7.

    Raises:
        ValueError: If there is no such share or rule, a row is empty, NaN or infinite, or lengths differ by more
            than two.
    """
    from sklearn.metrics import average_precision_score

    if share not in SHARES or rule not in RULES:
        raise HierSumError(f"expected a share of {SHARES} and a rule of {RULES}, found {share!r} and {rule!r}")
    true_row = finite_row(reference, video_id, "reference scores")
    scores, rows = cut_to_common(finite_row(scores, video_id), true_row, video_id)
    predicted, true = (_clip_means(row, rule == "triplesumm") for row in (scores, rows[0]))  # (C,)
    # AP = sum over ranks n of (recall_n - recall_(n - 1)) precision_n, clips ranked by their predicted means
    part = exact_part(share, len(true))
    positives = best(true, ceil(part) if rule == "triplesumm" else floor(part))
    return float(average_precision_score(positives, predicted)) if positives.any() else float("nan")


def _clip_means(row: np.ndarray, zero_padded: bool) -> np.ndarray:
    """Average each clip of (N,) scores, (C,)."""
    starts = np.arange(0, len(row), CLIP_ROWS)
    # The rules differ in what the last clip, often shorter, is divided by
    lengths = CLIP_ROWS if zero_padded else np.diff(np.append(starts, len(row)))
    return without_noise(np.add.reduceat(row, starts) / lengths)
