"""Parts of a data set that share no video: train, validation, test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def disjoint_folds(video_ids: Sequence[str], folds: int = 5, seed: int = 0) -> list[dict[str, list[str]]]:
    """Folds whose test parts together are all videos, each once; fold k validates on the test part of fold k + 1.

    The field's published "5 splits" of TVSum never test 16 to 19 of its 50 videos; these do.

    Raises:
        ValueError: Fewer than 3 folds, or fewer videos than folds.
    """
    if folds < 3 or len(video_ids) < folds:
        raise ValueError(
            f"Folds need at least 3 folds and as many videos, got {folds} folds of {len(video_ids)} videos."
        )
    order = np.random.default_rng(seed).permutation(len(video_ids))
    parts = [[video_ids[i] for i in sorted(chunk)] for chunk in np.array_split(order, folds)]
    return [
        {
            "train": [v for k, part in enumerate(parts) if k not in (fold, (fold + 1) % folds) for v in part],
            "validation": parts[(fold + 1) % folds],
            "test": parts[fold],
        }
        for fold in range(folds)
    ]


def with_validation(split: Mapping[str, Sequence[str]], seed: int = 0) -> dict[str, list[str]]:
    """A published split with every eighth training video (at least one) set apart for validation, where it has none.

    Raises:
        ValueError: Fewer than two training videos.
    """
    if split.get("validation"):
        return {part: list(split[part]) for part in ("train", "validation", "test")}
    train = list(split["train"])
    if len(train) < 2:
        raise ValueError(f"A validation part needs at least 2 training videos, got {len(train)}.")
    apart = set(np.random.default_rng(seed).permutation(len(train))[: max(1, len(train) // 8)].tolist())
    return {
        "train": [video for i, video in enumerate(train) if i not in apart],
        "validation": [video for i, video in enumerate(train) if i in apart],
        "test": list(split["test"]),
    }
