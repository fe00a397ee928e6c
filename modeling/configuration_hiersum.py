"""Configuration of the HierSum network."""

# mypy: disable-error-code="no-untyped-call"
# (Transformers leaves the methods of its base class unannotated)

import difflib
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .errors_hiersum import HierSumError
from .levels_hiersum import LEVELS as LEVELS  # also known under this module's name
from .levels_hiersum import ReadingLevel


# Numbers by their least value
AT_LEAST = {
    0: (
        "negative_dilation",
        "focal_gamma",
        "focal_weight",
        "score_weight",
        "replay_weight",
        "inter_weight",
        "intra_weight",
        "initializer_range",
        "smooth_s",
    ),
    1: (
        "video_dim",
        "text_dim",
        "num_layers",
        "num_attention_heads",
        "max_segments",
        "negative_ratio",
        "smooth_passes",
    ),
    2: ("hidden_size", "max_positions"),  # a sine and a cosine; the CLS token and one more
}


@strict
class HierSumConfig(PreTrainedConfig):
    """Settings of a HierSum network and of its losses.

    It travels with every checkpoint. Where the paper (arXiv 2504.18689) is silent, values follow A2Summ, the network
    it builds on, or are marked as ours.

    Args:
        video_dim (`int`, defaults to 512): Width Dv of the frame features (CLIP ViT-B/32).
        text_dim (`int`, defaults to 768): Width Dt of the sentence features (all-mpnet-base-v2).
        hidden_size (`int`, defaults to 128): Width D of the network.
        num_layers (`int`, defaults to 6): Number L of layers (BLiSS; TVSum and SumMe use 2).
        num_attention_heads (`int`, defaults to 8): Number H of heads.
        share_layers (`bool`, defaults to `False`): One layer, stored once, applied L times, as A2Summ does.
        position_embedding_type (`str`, defaults to `"sinusoidal"`): `"sinusoidal"` takes any length; `"learned"` has
            `max_positions` rows a modality, its CLS token in row 0, and refuses longer input.
        max_positions (`int`, defaults to 5000): Rows of a learned position table.
        max_segments (`int`, defaults to 512): Rows of the segment table; sentence j uses row j mod `max_segments`.
        segment_offset (`int`, defaults to 0): 0: sentence j and its frames share row j. 1, as A2Summ: the text sequence
            with its CLS token takes rows 0..M, so that sentence j takes row j + 1 and its frames row j.
        segment_reduction (`str`, defaults to `"mean"`): What a frame takes from the rows of the sentences that cover
            it. `"sum"` is A2Summ's.
        segment_embedding (`bool`, defaults to `True`): `False` switches the segment table off.
        alignment_mask (`bool`, defaults to `True`): `False` lets every frame see every sentence and the reverse.
        hidden_dropout (`float`, defaults to 0.1): Dropout after the projections, the attention and inside the FFN.
        attention_dropout (`float`, defaults to 0.0): Dropout on attention weights; above 0 it leaves the fused kernels.
        head_dropout (`float`, defaults to 0.5): Dropout inside the prediction heads.
        smooth_s (`float`, defaults to 0.0): Seconds over which the network averages its frame logits; 0 for none. Not
            given in the paper. It needs `sample_fps`.
        smooth_passes (`int`, defaults to 1): How often they are averaged; twice makes near frames count more than far
            ones. Not given in the paper.
        sample_fps (`float`, *optional*): Sampled frames a second; training sets it from the data.
        center_features (`bool`, defaults to `False`): Take each video's mean off its frame features. Not given in the
            paper.
        relative_position (`bool`, defaults to `False`): Tell the network each frame's place p in the video, by p, p^2
            and whether it is in the first or last 5 %. Not given in the paper.
        linear_path (`bool`, defaults to `False`): Add a linear head on the projected frames to the frame head, whose
            own output then starts at zero. Not given in the paper.
        initializer_range (`float`, defaults to 0.02): Standard deviation of tables and Linear weights at the start.
        focal_gamma (`float`, defaults to 2.0): Focusing exponent of the focal loss.
        focal_alpha (`float`, *optional*): Weight of positives in the focal loss; `None` weighs both classes 0.5.
        focal_weight (`float`, defaults to 1.0): Weight of the focal losses of frames and sentences.
        score_loss (`str`, defaults to `"none"`): Loss of the frame logits on frame scores. `"correlation"` is 1 -
            Pearson's in each video, `"centered_mse"` the squared error with each video's mean taken off. Not given in
            the paper.
        score_weight (`float`, defaults to 1.0): Weight of `score_loss`.
        replay_weight (`float`, defaults to 0.0): Weight of the replay regression in the loss.
        inter_weight (`float`, defaults to 0.01): Weight beta of the inter-modality contrast (A2Summ's on BLiSS).
        intra_weight (`float`, defaults to 0.001): Weight lambda of the intra-modality contrast (A2Summ's on BLiSS).
        negative_ratio (`int`, defaults to 16): One hard negative for this many positions.
        negative_dilation (`int`, defaults to 4): Positions on each side of a positive that are never hard negatives.
        parent_text_loss (`bool`, defaults to `False`): Also learn sentence labels at parent level, where a description
            is made of the video's own sentences (BLiSS; the paper leaves it open).
        score_head (`str`, defaults to `"importance"`): Frame head that summaries and metrics use: `"importance"` is
            sigmoid(frame_logits), `"replay"` the regressed replay score.
        default_level (`str`, defaults to `"child"`): Level a summary is read at: `"child"`, `"parent"`, `"both"` (the
            mean of both levels' logits) or `"joint"`. Training sets it to the best one on the validation part.
        trained_levels (`list[str]`, *optional*): Levels this checkpoint was trained at; `None` where unknown. No level
            that was not trained is ever averaged in.
        trained_on (`list[dict]`, *optional*): What this checkpoint and those it started from were trained on, in this
            order: `dataset`, `split`, `test_videos` (a hash of the ids of the videos set apart); `None` where unknown.
    """

    model_type = "hiersum"
    keys_to_ignore_at_inference = ["losses", "hidden_states", "attentions"]  # noqa: RUF012 (by design)

    video_dim: int = 512
    text_dim: int = 768
    hidden_size: int = 128
    num_layers: int = 6
    num_attention_heads: int = 8
    share_layers: bool = False
    position_embedding_type: Literal["sinusoidal", "learned"] = "sinusoidal"
    max_positions: int = 5000
    max_segments: int = 512
    segment_offset: Literal[0, 1] = 0
    segment_reduction: Literal["mean", "sum"] = "mean"
    segment_embedding: bool = True
    alignment_mask: bool = True
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.0
    head_dropout: float = 0.5
    smooth_s: float = 0.0
    smooth_passes: int = 1
    sample_fps: float | None = None
    center_features: bool = False
    relative_position: bool = False
    linear_path: bool = False
    initializer_range: float = 0.02
    focal_gamma: float = 2.0
    focal_alpha: float | None = None
    focal_weight: float = 1.0
    score_loss: Literal["none", "correlation", "centered_mse"] = "none"
    score_weight: float = 1.0
    replay_weight: float = 0.0
    inter_weight: float = 0.01
    intra_weight: float = 0.001
    negative_ratio: int = 16
    negative_dilation: int = 4
    parent_text_loss: bool = False
    score_head: Literal["importance", "replay"] = "importance"
    default_level: ReadingLevel = "child"
    trained_levels: list[str] | None = None
    trained_on: list[dict[str, str | None]] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self._refuse_misspelt(kwargs)
        super().__post_init__(**kwargs)

    @classmethod
    def _refuse_misspelt(cls, kwargs: dict[str, Any]) -> None:
        """Refuse a name close to one of ours.

        The base class would keep it as an attribute, and nobody would notice.
        """
        own = set(cls.__annotations__)
        for name in kwargs:
            near = difflib.get_close_matches(name, own, n=1, cutoff=0.8)
            if near and not hasattr(PreTrainedConfig, name):
                raise HierSumError(f"HierSumConfig has no argument {name!r}. Did you mean {near[0]!r}?")

    def validate_architecture(self) -> None:
        """Refuse values that no network can have.

        Runs at construction and on `.validate()`.
        """
        for least, names in AT_LEAST.items():
            for name in names:
                if not least <= getattr(self, name) < float("inf"):
                    raise HierSumError(f"{name} must be at least {least} and finite, got {getattr(self, name)}.")
        if self.sample_fps is not None and not 0 < self.sample_fps < float("inf"):
            raise HierSumError(f"sample_fps must be above 0 and finite, got {self.sample_fps}.")
        if self.smooth_s and self.sample_fps is None:
            raise HierSumError(f"smooth_s needs sample_fps, the sampled frames a second, got smooth_s={self.smooth_s}.")
        # The focal loss: (1 - p)^gamma has an infinite slope at p = 1 for gamma in (0, 1)
        if 0 < self.focal_gamma < 1:
            raise HierSumError(f"focal_gamma must be 0 or at least 1, got {self.focal_gamma}.")
        if self.hidden_size % self.num_attention_heads:
            raise HierSumError(
                f"hidden_size must be a multiple of num_attention_heads, got {self.hidden_size} and "
                f"{self.num_attention_heads}."
            )
        if self.hidden_size % 2:
            raise HierSumError(f"hidden_size must be even (sinusoidal positions), got {self.hidden_size}.")
        for name in ("hidden_dropout", "attention_dropout", "head_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise HierSumError(f"{name} must be in [0, 1), got {getattr(self, name)}.")
        if self.focal_alpha is not None and not 0 <= self.focal_alpha <= 1:
            raise HierSumError(f"focal_alpha must be None or in [0, 1], got {self.focal_alpha}.")
        if self.trained_levels is not None and not set(self.trained_levels) <= set(LEVELS):
            raise HierSumError(f"trained_levels may hold {', '.join(LEVELS)}, got {self.trained_levels}.")


HierSumConfig.register_for_auto_class()
