"""Fit a network's projections to features that it has not met."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.records import VideoRecord, row_counts


FIT_RECORDS, FIT_ROWS = 1000, 50_000  # what fit_projections reads of a larger set, and keeps of each modality


@torch.no_grad()
def fit_projections(
    model: HierSumModel, feature_extractor: HierSumFeatureExtractor, records: Sequence[VideoRecord], std: float = 0.5
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
