"""BLiSS's figures of selected sentences and frames.

They are ROUGE of the sentences, and how well the frames match the reference key frames. Letters: N frames, D feature
width, K predicted and R reference key frames.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from math import floor
from typing import Any

import numpy as np

from hiersum_hf.metrics.inputs import best, exact_part, finite_row
from hiersum_hf.modeling.errors_hiersum import HierSumError


ROUGE = ("rouge1", "rouge2", "rougeLsum")
COSINES = ("valid-frames", "a2summ-padded")
FLAT = 1e-12  # a range of similarities that is only rounding


def rouge(predicted: Sequence[str], reference: Sequence[str], video_id: str = "?") -> dict[str, float]:
    """Compute ROUGE-1, ROUGE-2 and ROUGE-Lsum.

    They are F measures by `rouge_score`, with stemmer, sentences joined by newlines.

    Args:
        predicted: Selected sentences in the order of the video. None selected gives 0.
        reference: Sentences of the reference summary.
        video_id: Named in error messages.

    Returns:
        All NaN, undefined, where the reference has no word that `rouge_score` reads: it knows a-z and 0-9 alone.

    Raises:
        ValueError: If one text is given in place of sentences.
    """
    if isinstance(predicted, str) or isinstance(reference, str):
        raise HierSumError(f"video {video_id}: expected lists of sentences, found one text")
    target = "\n".join(reference)
    if not re.search("[a-z0-9]", target.lower()):
        return dict.fromkeys(ROUGE, float("nan"))
    scores = _rouge_scorer().score(target, "\n".join(predicted))
    return {name: float(scores[name].fmeasure) for name in ROUGE}


@cache
def _rouge_scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(ROUGE, use_stemmer=True)


def matched_cosine(
    reference: np.ndarray,
    predicted: np.ndarray,
    frames: np.ndarray,
    variant: str = "valid-frames",
    padded_length: int | None = None,
    video_id: str = "?",
) -> float:
    """Match reference and predicted key frames one to one.

    The figure is the mean similarity of the pairs. The cosines between the reference key frames and all N frames of the
    video are scaled to [0, 1] by their minimum and maximum; the most similar pair of a reference and a predicted key
    frame is matched, then the most similar of those left, min(R, K) pairs in all. The project's reading of A2Summ's
    BLiSS protocol; not given in the paper.

    - "valid-frames": the frames of the video set the scale, so batch mates change nothing;
    - "a2summ-padded": the batch's padding counts too, as frames of similarity 0, which lifts the figure of any
      clip that is not the longest of its batch.

    Args:
        reference: (R, D) features of the reference key frames.
        predicted: (K, D) features of the selected frames, which are among `frames`. None selected gives 0.
        frames: (N, D) features of the video, N >= 1.
        variant: Which frames set the scale.
        padded_length: Length of the batch, at least N; "a2summ-padded" alone needs and reads it.
        video_id: Named in error messages.

    Returns:
        Between 0 and 1; NaN, undefined, without reference key frames and where all similarities are equal.

    Raises:
        ValueError: If there is no such variant, widths differ, features are NaN or infinite, or the padded length
            is missing or below N.
    """
    if variant not in COSINES:
        raise HierSumError(f"variant: expected one of {', '.join(COSINES)}; found {variant!r}")
    frames = _unit(frames, video_id, "frames")
    reference, predicted = (
        _unit(rows, video_id, what, frames.shape[1])
        for rows, what in ((reference, "reference"), (predicted, "predicted"))
    )
    padding = 0 if variant == "valid-frames" else _padding(len(frames), padded_length, video_id)
    if len(reference) == 0:
        return float("nan")
    # (cosine - low) / (high - low), low and high over all pairs of a reference key frame and a frame
    scale = np.append(reference @ frames.T, np.zeros(min(padding, 1)))  # one 0 stands for all the padding
    low, high = scale.min(), scale.max()
    if high - low < FLAT:
        return float("nan")
    matched = _match(reference @ predicted.T)  # of (R, K) cosines
    return float(np.clip((matched - low) / (high - low), 0, 1).mean()) if len(matched) else 0.0


def _match(similarity: np.ndarray) -> np.ndarray:
    """Match rows and columns of (R, K) greedily.

    Each row and each column is used once.

    Returns:
        (min(R, K),) similarities of the pairs.
    """
    left, matched = similarity.copy(), np.empty(min(similarity.shape))
    for pair in range(len(matched)):
        row, column = np.unravel_index(left.argmax(), left.shape)
        matched[pair] = left[row, column]
        left[row], left[:, column] = -np.inf, -np.inf  # both are used up
    return matched


def _unit(rows: np.ndarray, video_id: str, what: str, width: int | None = None) -> np.ndarray:
    """Scale rows to length 1.

    Rows of zeros are left as they are.
    """
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or (width is None and len(rows) == 0) or rows.shape[1] != (width or rows.shape[1]):
        shape = "(N, D) with N >= 1" if width is None else f"(n, {width})"
        raise HierSumError(f"video {video_id}: expected {what} of shape {shape}, found {rows.shape}")
    if not np.isfinite(rows).all():
        raise HierSumError(f"video {video_id}: expected finite {what}, found NaN or infinity")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _padding(n_frames: int, padded_length: int | None, video_id: str) -> int:
    """Count the frames of padding."""
    if padded_length is None or padded_length < n_frames:
        raise HierSumError(f"video {video_id}: expected a padded length of at least {n_frames}, found {padded_length}")
    return padded_length - n_frames


def top_k(scores: np.ndarray, k: int, video_id: str = "?") -> np.ndarray:
    """Find the k best scores (n,).

    Returns their indices (k,), ascending; of equal scores the earlier come first.

    Raises:
        ValueError: If k is not in 0 .. n, or scores are empty, NaN or infinite.
    """
    row = finite_row(scores, video_id)
    if not 0 <= k <= len(row):
        raise HierSumError(f"video {video_id}: expected k from 0 to {len(row)}, found {k}")
    return np.flatnonzero(best(row, k))


def oracle_k(labels: np.ndarray) -> int:
    """Count how many of `labels` (n,) are positive.

    This is A2Summ's protocol, which reads the answer for the summary's length.
    """
    return int((np.asarray(labels) > 0).sum())


def ratio_k(n: int, ratio: float = 0.15) -> int:
    """Compute floor(ratio n), at least 1 and at most n.

    This is the protocol that a user of the model can follow.
    """
    return min(n, max(1, floor(exact_part(ratio, n))))
