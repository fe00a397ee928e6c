"""What scores videos: a checkpoint or the training-free scorer, with its encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hiersum_hf.features.runtime import choose_runtime
from hiersum_hf.features.text_encoder import FAST_FPS, TextEncoder, default_extractor, fast_extractor, load_text_encoder
from hiersum_hf.features.video_encoder import VideoEncoder, load_video_encoder, refuse_precomputed
from hiersum_hf.modeling.errors_hiersum import CheckpointError, HierSumError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.levels_hiersum import usable_level
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.scoring.checkpoint import load_checkpoint, torch_device


@dataclass(frozen=True, eq=False)
class Scorer:
    """What scores videos, loaded once for many of them; made by `load_scorer`.

    Args:
        extractor: Names the encoders and the sample rate.
        networks: Their scores are averaged as `average_scores` does; () for the training-free scorer.
        checkpoint: Folders or Hub ids of the networks, with commas between.
        level: Level asked for; None: each checkpoint's own.
        device: Of networks and encoders.
        dtype: Precision of the frame encoder.
        fast: Look at key frames alone.
        runtime: Of the frame encoder, as `load_video_encoder` takes it.
    """

    extractor: HierSumFeatureExtractor
    networks: Sequence[HierSumModel] = ()
    checkpoint: str | None = None
    level: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    fast: bool = False
    runtime: str | None = None

    @cached_property
    def video_encoder(self) -> VideoEncoder:
        """The frame encoder, loaded when first used."""
        return load_video_encoder(self.extractor.video_encoder, self.device, self.dtype, self.runtime)

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The text encoder, loaded when first used."""
        return load_text_encoder(self.extractor.text_encoder, self.device)

    def refuse_frames(self) -> None:
        """Refuse a checkpoint for features that cannot be computed from frames.

        Raises:
            CheckpointError: Its features come with a data set, or are normalised.
        """
        refuse_precomputed(self.extractor.video_encoder, "video file")
        if self.extractor.normalization != "none":
            wanted = "expected a checkpoint trained on features as an encoder gives them"
            found = f"found one with normalization {self.extractor.normalization!r}"
            raise CheckpointError(f"{self.checkpoint or ''}: {wanted}, {found}")


def load_scorer(
    model: str | Path | Sequence[str | Path] | None = None,
    level: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    fast: bool = False,
    runtime: str | None = None,
) -> Scorer:
    """Load a checkpoint as a scorer, or several, or the training-free scorer.

    Args:
        model: Folder or Hub id of a checkpoint; its own encoders and sample rate are used. Of several, such as the
            seeds of a run, the scores are averaged; all must have the same encoders and sample rate. Default: the
            training-free scorer, on the offline encoders where they are installed, else on CLIP and Sentence-BERT from
            the Hub.
        level: "child", "parent", "both" or "joint"; default the checkpoint's own.
        device: "auto" takes a GPU if there is one.
        dtype: Precision of the frame encoder, as `load_video_encoder` takes it.
        fast: Look at key frames alone, at most one a second.
        runtime: What computes the frame encoder, as `load_video_encoder` takes it.

    Raises:
        ImportError: The runtime that is asked for is not installed.
        HierSumError: No such device, not a checkpoint of this model, one that was not trained at the level, one for
            features that cannot be computed from a video file, one for other features than the first, or with `fast`
            one that was trained at another sample rate.
    """
    models: list[Any] = list(model) if isinstance(model, list | tuple) else [] if model is None else [model]
    if level is not None and not models:
        raise HierSumError(f"Level {level!r} needs a checkpoint: the training-free scorer has no levels.")
    device = str(torch_device(device))
    choose_runtime(runtime, device, dtype)  # refuses before anything is read
    if not models:
        return Scorer(
            fast_extractor() if fast else default_extractor(), device=device, dtype=dtype, fast=fast, runtime=runtime
        )
    loaded = [load_checkpoint(one, device) for one in models]
    networks, extractor = [network for network, _ in loaded], loaded[0][1]
    for one, (_, other) in zip(models, loaded, strict=True):
        for name in ("video_encoder", "text_encoder", "sample_fps", "normalization"):
            if (found := getattr(other, name)) != (expected := getattr(extractor, name)):
                raise CheckpointError(f"{one}: expected {name} {expected!r}, as {models[0]} has, found {found!r}")
    if fast and extractor.sample_fps != FAST_FPS:
        expected = f"expected a checkpoint trained at {FAST_FPS:g} frame a second, the rate of key frames alone"
        raise CheckpointError(f"{models[0]}: {expected}, found {extractor.sample_fps:g}. Leave out --fast (fast=True).")
    scorer = Scorer(extractor, networks, ", ".join(map(str, models)), level, device, dtype, fast, runtime)
    scorer.refuse_frames()
    for network in networks:
        usable_level(network.config, level, has_description=True)  # refuses one that was not trained
    return scorer
