"""What a video is given as, to the pipeline and to the package, and the frames that its sentences cover."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors_hiersum import HierSumError


INSTALL = "pip install hiersum-hf"
TEXT_FEATURES = ("text_features", "text_times_s", "description_features")
FEATURES = ("video_features", "frame_times_s", *TEXT_FEATURES)
FACTS = ("video_id", "duration_s", "sample_fps", "video_encoder", "text_encoder", "normalization")
CHOICE = ("query", "selection", "min_segment", "keep", "skip")  # how a summary is chosen
NEEDS_PACKAGE = ("video", "fps", "subtitles", "description", *CHOICE)
RATE_TOLERANCE = 0.25  # a data set with every 15th frame of videos of 24 to 30 frames a second varies as much


def check_given(extractor: Any, given: Mapping[str, Any], with_package: bool) -> None:
    """Refuse what cannot be read, and features of other encoders.

    Args:
        extractor: Names the checkpoint's encoders.
        given: What a video is given as.
        with_package: Whether the package can be imported.

    Raises:
        ImportError: Anything but features, where there is no package.
        ValueError: Unknown keys, or features of another encoder or sample rate.
    """
    needing = [key for key in NEEDS_PACKAGE if key in given]
    if needing and not with_package:
        raise ImportError(f"{', '.join(needing)}: without the package only features can be read. Get it: {INSTALL}")
    name = given.get("video_id", "video")
    unknown = sorted(given.keys() - {*FEATURES, *FACTS, *NEEDS_PACKAGE})
    if unknown or ("video" in given) == ("video_features" in given):
        others = ", ".join((*NEEDS_PACKAGE[1:], *FEATURES[1:], *FACTS))
        raise HierSumError(f"{name}: expected 'video' or 'video_features' with any of {others}; found {sorted(given)}.")
    for key in ("video_encoder", "text_encoder", "normalization"):
        found, expected = given.get(key), getattr(extractor, key)
        unused = key == "text_encoder" and not given.keys() & set(TEXT_FEATURES)
        if found and found != expected and not unused:
            raise HierSumError(f"{name}: expected features with the {key} {expected!r}, found {found!r}.")
    found, expected = given.get("sample_fps", extractor.sample_fps), extractor.sample_fps
    if not abs(found - expected) <= RATE_TOLERANCE * expected:
        raise HierSumError(f"{name}: expected features of {expected:g} frames a second (sample_fps), found {found:g}.")


def known_features(extractor: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the features from what was given, with frame times.

    Without texts if the checkpoint knows none.
    """
    known = FEATURES if extractor.text_encoder else FEATURES[:2]
    times_s = np.arange(len(given["video_features"])) / given.get("sample_fps", extractor.sample_fps)
    return {"frame_times_s": times_s} | {key: given[key] for key in known if key in given}


def times_to_spans(frame_times_s: np.ndarray, text_times_s: np.ndarray) -> np.ndarray:
    """Turn the times of sentences into frame spans.

    A frame stands for the time until the next one, and a sentence covers every frame whose time it touches (not given
    in the paper), so that no sentence within the video is lost between two sampled frames.

    Args:
        frame_times_s (`np.ndarray` of shape `(N,)`): Ascending times in seconds.
        text_times_s (`np.ndarray` of shape `(M, 2)`): [start_s, end_s).

    Returns:
        `np.ndarray` of shape `(M, 2)`: [start, end) in frame indices, within [0, N].
    """
    # The last frame at or before the start, up to the first at or after the end
    start = np.searchsorted(frame_times_s, text_times_s[:, 0], side="right") - 1
    end = np.searchsorted(frame_times_s, text_times_s[:, 1], side="left")
    start = np.maximum(start, 0)
    return np.stack([start, np.maximum(start, end)], axis=1)
