"""What scores videos: a checkpoint or the training-free scorer, with its encoders."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiersum_hf.features.runtime import choose_runtime
from hiersum_hf.features.text_encoder import FAST_FPS, TextEncoder, default_extractor, fast_extractor, load_text_encoder
from hiersum_hf.features.video_encoder import VideoEncoder, load_video_encoder, refuse_precomputed
from hiersum_hf.modeling.errors_hiersum import CheckpointError, HierSumError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.levels_hiersum import usable_level
from hiersum_hf.scoring.checkpoint import load_network, open_checkpoint, torch_device


if TYPE_CHECKING:
    from hiersum_hf.modeling.modeling_hiersum import HierSumModel


class Networks(Sequence["HierSumModel"]):
    """Networks of checkpoints, loaded when the first of them is used.

    Args:
        models: Folders or Hub ids that `open_checkpoint` has opened.
        device: As `torch_device` takes it.
    """

    def __init__(self, models: Sequence[str | Path], device: str):
        self._models, self._device = models, device

    def __len__(self) -> int:
        return len(self._models)

    def __getitem__(self, index: Any) -> Any:
        return self._loaded[index]

    @cached_property
    def _loaded(self) -> list[HierSumModel]:
        return [load_network(one, self._device) for one in self._models]


@dataclass(frozen=True, eq=False)
class Scorer:
    """What scores videos, loaded once for many of them; made by `load_scorer` or `open_scorer`.

    Args:
        extractor: Names the encoders and the sample rate.
        networks: Their scores are averaged as `average_scores` does; () for the training-free scorer.
        checkpoint: Folders or Hub ids of the networks, with commas between.
        level: Level asked for; None: each checkpoint's own.
        device: Of networks and encoders, as `torch_device` takes it.
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
        return load_video_encoder(self.extractor.video_encoder, self.found_device, self.dtype, self.runtime)

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The text encoder, loaded when first used."""
        return load_text_encoder(self.extractor.text_encoder, self.found_device)

    @cached_property
    def found_device(self) -> str:
        """The device by its own name, "auto" no more; a wrong one is refused."""
        return str(torch_device(self.device))

    def release_encoders(self) -> None:
        """Let go of the encoders, 170 MB; the next use loads them anew."""
        for encoder in ("video_encoder", "text_encoder"):
            vars(self).pop(encoder, None)
        gc.collect()

    def load(self) -> None:
        """Load the networks, and refuse what cannot score.

        Raises what `load_scorer` raises, but for what `open_scorer` has refused.
        """
        choose_runtime(self.runtime, self.found_device, self.dtype)
        for network in self.networks:
            usable_level(network.config, self.level, has_description=True)  # refuses one that was not trained

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
    scorer = open_scorer(model, level, device, dtype, fast, runtime)
    scorer.load()
    return scorer


def open_scorer(
    model: str | Path | Sequence[str | Path] | None = None,
    level: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    fast: bool = False,
    runtime: str | None = None,
) -> Scorer:
    """Open the checkpoints of a scorer, whose networks are loaded with the encoders.

    It needs no PyTorch, which takes seconds to import: `score_video` decodes meanwhile. `Scorer.load` refuses what is
    not refused here. Arguments and errors are those of `load_scorer`.
    """
    models: list[Any] = list(model) if isinstance(model, list | tuple) else [] if model is None else [model]
    if level is not None and not models:
        raise HierSumError(f"Level {level!r} needs a checkpoint: the training-free scorer has no levels.")
    if not models:
        extractor = fast_extractor() if fast else default_extractor()
        return Scorer(extractor, device=device, dtype=dtype, fast=fast, runtime=runtime)
    opened = [open_checkpoint(one) for one in models]
    extractor = opened[0]
    for one, other in zip(models, opened, strict=True):
        for name in ("video_encoder", "text_encoder", "sample_fps", "normalization"):
            if (found := getattr(other, name)) != (expected := getattr(extractor, name)):
                raise CheckpointError(f"{one}: expected {name} {expected!r}, as {models[0]} has, found {found!r}")
    if fast and extractor.sample_fps != FAST_FPS:
        expected = f"expected a checkpoint trained at {FAST_FPS:g} frame a second, the rate of key frames alone"
        raise CheckpointError(f"{models[0]}: {expected}, found {extractor.sample_fps:g}. Leave out --fast (fast=True).")
    scorer = Scorer(
        extractor, Networks(models, device), ", ".join(map(str, models)), level, device, dtype, fast, runtime
    )
    scorer.refuse_frames()
    return scorer
