"""The metrics as modules of Hugging Face `evaluate`.

`evaluate` averages them over videos.

    import evaluate, hiersum_hf.evaluate_modules

    metric = evaluate.load(hiersum_hf.evaluate_modules.path("rank_correlation"))
    metric.compute(predictions=[scores of a video, ...], references=[annotations of a video, ...])

One prediction is one video's list, whatever its length. Errors number the videos from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.modeling.errors_hiersum import HierSumError


Videos = list[Any]  # numbers, lists or lists of lists, one for each video
NAMES = ("keyshot_f1", "rank_correlation", "clip_map", "bliss_text", "segment_f1")


def path(name: str) -> str:
    """Find the folder that `evaluate.load` takes for a module.

    The module is one of `NAMES`.

    Raises:
        ValueError: If there is no such module.
    """
    if name not in NAMES:
        raise HierSumError(f"module: expected one of {', '.join(NAMES)}; found {name!r}")
    return str(Path(__file__).parent / name)


def mean_over_videos(videos: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average each figure over the videos that have it.

    It is NaN if none has; `skipped_NAME` tells how many have not.
    """
    if not videos:
        raise HierSumError("expected at least one video, found none")
    table = {name: np.array([figures[name] for figures in videos]) for name in videos[0]}
    known = {name: values[~np.isnan(values)] for name, values in table.items()}
    means = {name: float(values.mean()) if len(values) else float("nan") for name, values in known.items()}
    return means | {f"skipped_{name}": len(videos) - len(values) for name, values in known.items()}
