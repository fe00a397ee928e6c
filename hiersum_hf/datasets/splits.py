"""Parts of a data set that share no video: train, validation, test."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from hiersum_hf.files.escape import printable
from hiersum_hf.modeling.errors_hiersum import HierSumError


logger = logging.getLogger(__name__)


def disjoint_folds(
    video_ids: Sequence[str], folds: int = 5, seed: int = 0, groups: Mapping[str, str] | None = None
) -> list[dict[str, list[str]]]:
    """Draw folds whose test parts are disjoint and cover all videos.

    Fold k validates on the test part of fold k + 1. The field's published "5 splits" of TVSum never test 16 to 19 of
    its 50 videos; these do.

    Args:
        video_ids: The videos.
        folds: How many, at least 3.
        seed: Draws the folds.
        groups: Group of each video, for data sets in which several records show one video; a group is never split.
            Videos that are not named are their own group.

    Raises:
        ValueError: Fewer than 3 folds, or fewer videos (or groups) than folds.
    """
    members = _members(video_ids, groups)
    if folds < 3 or len(members) < folds:
        raise HierSumError(
            f"Folds need at least 3 folds and as many videos, got {folds} folds of {len(members)} videos. "
            "Give a --split-file, or more videos."
        )
    # Groups are dealt, not videos. Fold k tests chunk k, validates on chunk k + 1 (the last on chunk 0) and trains on
    # the rest: with 5 folds, 3/5 of the groups.
    order = np.random.default_rng(seed).permutation(len(members))
    parts = [[video for i in sorted(chunk) for video in members[i]] for chunk in np.array_split(order, folds)]
    return [
        {
            "train": [v for k, part in enumerate(parts) if k not in (fold, (fold + 1) % folds) for v in part],
            "validation": parts[(fold + 1) % folds],
            "test": parts[fold],
        }
        for fold in range(folds)
    ]


def with_validation(
    split: Mapping[str, Sequence[str]], seed: int = 0, groups: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Set training videos apart for validation, if a split has none.

    It is an eighth of the published split's training videos, at least one.

    Raises:
        ValueError: Fewer than two training videos (or groups).
    """
    if split.get("validation"):
        return {part: list(split[part]) for part in ("train", "validation", "test")}
    members = _members(split["train"], groups)
    if len(members) < 2:
        raise HierSumError(f"A validation part needs at least 2 training videos, got {len(members)}. Give more.")
    # An eighth (not given in the paper): the field's splits of TVSum and SumMe have no such part.
    apart = set(np.random.default_rng(seed).permutation(len(members))[: max(1, len(members) // 8)].tolist())
    return {
        "train": [video for i, videos in enumerate(members) if i not in apart for video in videos],
        "validation": [video for i, videos in enumerate(members) if i in apart for video in videos],
        "test": list(split["test"]),
    }


def without_leaks(
    split: Mapping[str, Sequence[str]], groups: Mapping[str, str], where: str, keep: bool = False
) -> dict[str, list[str]]:
    """Leave out videos whose group a later part has.

    Training loses those of validation and test, validation those of test; the log names them. What is tested stays as
    published. Not given in the paper.

    Args:
        split: Videos of each part.
        groups: Group of each video; videos that are not named are their own group.
        where: The file, for the log.
        keep: Only count them in the log.
    """
    seen: set[tuple[bool, str]] = set()
    kept = {part: list(videos) for part, videos in split.items()}
    # What is tested stays as published, so later parts are seen first.
    for part in ("test", "validation", "train"):
        # A group may bear the name of a video that is none of its own: the first value tells them apart.
        keys = {video: (video in groups, groups.get(video, video)) for video in split.get(part, ())}
        leaked = {video: None for video, key in keys.items() if key in seen}
        seen |= set(keys.values())
        if leaked and keep:
            text = "%s: %d videos of %s share their group with a later part; kept, as published"
            logger.warning(text, where, len(leaked), part)
        elif leaked:
            kept[part] = [video for video in keys if video not in leaked]
            names = ", ".join(map(printable, list(leaked)[:20])) + ", ..." * (len(leaked) > 20)
            logger.warning("%s: left %d videos of %s out, a later part has them: %s", where, len(leaked), part, names)
    return kept


def _members(video_ids: Sequence[str], groups: Mapping[str, str] | None) -> list[list[str]]:
    """List the videos of each group, groups by their first video."""
    members: dict[tuple[bool, str], list[str]] = {}
    for video_id in video_ids:
        grouped = groups is not None and video_id in groups
        members.setdefault((grouped, groups[video_id] if groups and grouped else video_id), []).append(video_id)
    return list(members.values())
