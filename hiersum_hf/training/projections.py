"""Fit a network's projections to features that it has not met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.records import VideoRecord, row_counts
from hiersum_hf.scoring.collator import target_scores


FIT_RECORDS, FIT_ROWS = 1000, 50_000  # what fit_projections reads of a larger set, and keeps of each modality
FIT_STD = 0.5  # of the projected features
PATH_STD = 0.3  # of the linear path's first logits: at 1 what the transformer learns later hardly shows beside it


@torch.no_grad()
def fit_projections(
    model: HierSumModel,
    feature_extractor: HierSumFeatureExtractor,
    records: Sequence[VideoRecord],
    std: float = FIT_STD,
) -> None:
    """Start a new network with projections fitted to the training features.

    They send these features to mean 0 and standard deviation `std`. Not given in the paper. Features of one encoder
    share a large common part (cosine 0.5 between unlike pictures of the demo set) which hides what sets them apart, and
    what is left of them is smaller than the position tables; from there the parent level is learned much later (compare
    the demo recipe with `--fit_projections False`). Of more than 1,000 records, 1,000 are read, and of more than 50,000
    rows of a modality, 50,000 kept.
    """
    embeddings = model.encoder.embeddings
    projections = (embeddings.video_projection, embeddings.text_projection)
    found = _sampled_rows(feature_extractor, records, model.config.center_features)
    for projection, rows in zip(projections, found, strict=True):
        if not rows:
            continue
        sample = np.concatenate(rows)
        # y = g (W x - mean(W x)) has mean 0 and, over all dimensions together, standard deviation g std(W x) = std.
        projected = torch.from_numpy(sample).to(projection.weight) @ projection.weight.T
        spread = (projected - projected.mean(0)).std()
        gain = std / spread if spread > 1e-3 else 1.0  # one text for all says nothing about scale
        projection.weight *= gain
        projection.bias.copy_(-gain * projected.mean(0))


@torch.no_grad()
def fit_linear_path(
    model: HierSumModel,
    feature_extractor: HierSumFeatureExtractor,
    records: Sequence[VideoRecord],
    rank_targets: bool = False,
) -> None:
    """Start the linear path of a new network as a ridge regression of the scores on the frames' features.

    The first dimension of the projected frames carries it, and the logits begin with standard deviation 0.3. Scores are
    standardised in each video, lambda is the mean eigenvalue of the features' scatter. Not given in the paper. Of more
    than 1,000 records, 1,000 are read. Without `config.linear_path`, or scores, nothing is done.
    """
    if not model.config.linear_path:
        return
    scatter: Any = 0.0
    products: Any = 0.0
    rows: Any = 0.0  # sums of the features, and their number
    count = min(len(records), FIT_RECORDS)
    for i in (np.arange(count) * len(records) // count).tolist():
        scores = target_scores(records[i], rank_targets)
        seen = np.isfinite(scores) if scores is not None else np.zeros(0, bool)
        if scores is None or not len(records[i].video_features) or len(np.unique(scores[seen])) < 2:
            continue
        x = feature_extractor.scaled(records[i].video_features).astype(np.float64)
        x = (x - x.mean(0) if model.config.center_features else x)[seen]
        y = (scores[seen] - scores[seen].mean()) / scores[seen].std()
        scatter, products, rows = scatter + x.T @ x, products + x.T @ y, rows + np.append(x.sum(0), len(x))
    if not np.any(scatter):
        return
    mean = rows[:-1] / rows[-1]
    scatter -= rows[-1] * np.outer(mean, mean)  # y has mean 0, so the products stay
    # w = (X^T X + lambda 1)^-1 X^T y, scaled so that w (x - mean) has standard deviation 1
    weights = np.linalg.solve(scatter + np.trace(scatter) / len(scatter) * np.eye(len(scatter)), products)
    weights /= np.sqrt(weights @ scatter @ weights / rows[-1]) or 1.0
    projection, path = model.encoder.embeddings.video_projection, model.linear_path
    projection.weight[0] = torch.from_numpy(FIT_STD * weights)
    projection.bias[0] = -FIT_STD * float(weights @ mean)
    path.weight.zero_()
    path.weight[0, 0] = PATH_STD / FIT_STD


def _sampled_rows(
    feature_extractor: HierSumFeatureExtractor, records: Sequence[VideoRecord], center_features: bool = False
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sample frame and text features as the network sees them.

    They come from `FIT_RECORDS` records spread over the set. Of each modality there are `FIT_ROWS` rows at most, as
    many of every video; a longer one's are drawn, always the same.
    """
    count = min(len(records), FIT_RECORDS)
    # Records i V / count: evenly spread, because a data set is often sorted.
    picked = np.arange(count) * len(records) // count
    modalities = (["video_features"], ["text_features", "description_features"])
    arrays = [sum(np.count_nonzero(row_counts(records, kind)[picked]) for kind in kinds) for kinds in modalities]
    shares = [max(FIT_ROWS // max(number, 1), 1) for number in arrays]
    sampled: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    rng = np.random.default_rng(0)
    for i in picked.tolist():
        record = records[i]
        for rows, kinds, share in zip(sampled, modalities, shares, strict=True):
            for array in filter(len, (getattr(record, kind) for kind in kinds)):
                seen = feature_extractor.scaled(array)
                if center_features and kinds is modalities[0]:
                    seen = seen - seen.mean(0)
                drawn = rng.choice(len(array), min(share, len(array)), replace=False)
                rows.append(seen[np.sort(drawn)])
    return sampled
