"""The HierSum network (paper, section 3).

One transformer over frames and texts with an alignment mask, used unchanged at child and parent level. Letters in
shapes: B videos, N frames, M texts, L = 2 + N + M tokens, D width, H heads.
"""

# mypy: disable-error-code="no-untyped-call, untyped-decorator"
# (Transformers leaves its base class and its decorators unannotated)

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import ModelOutput, can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .attention_hiersum import Alignment, align, alignment_mask, attend, count_pairs
from .configuration_hiersum import HierSumConfig
from .errors_hiersum import HierSumError
from .feature_extraction_hiersum import HierSumFeatureExtractor
from .levels_hiersum import check_level
from .losses_hiersum import (
    IGNORE_LABEL,
    centered_mse_loss,
    focal_loss,
    inter_contrast_loss,
    replay_mse_loss,
    same_text,
    score_correlation_loss,
    video_text_intra_loss,
)


VIDEO, TEXT = 0, 1
LIST_COST = 2  # cells of the mask that take about the memory of one channel of one pair
TOKENS_AT_ONCE = 4096  # through the feed-forward network without gradients, for memory
UNMASKED_FROM = 2048  # tokens; measured on CPU: below, the plain mask trains faster
SCORE_LOSSES = {"correlation": score_correlation_loss, "centered_mse": centered_mse_loss}
INITIAL_LOGIT_SCALE = 2.6592600369327783  # ln(1 / 0.07)
GIVEN: Any = None  # the default, which ModelOutput asks for, of what is always given


@dataclass
class HierSumOutput(ModelOutput):
    """What `HierSumModel` returns.

    Args:
        loss (`torch.Tensor`, scalar, *optional*, given when labels are): Weighted sum of `losses`.
        losses (`dict[str, torch.Tensor]`, *optional*, given when labels are): Each unweighted term the labels and the
            level allow: `frame_focal`, `sentence_focal`, `score`, `replay_mse`, `inter`, `intra`.
        frame_logits (`torch.Tensor` of shape `(B, N)`): Importance of each frame before the sigmoid.
        replay_scores (`torch.Tensor` of shape `(B, N)`): Regressed replay score of each frame, in [0, 1].
        sentence_logits (`torch.Tensor` of shape `(B, M)`, *optional*): Importance of each sentence before the sigmoid;
            `None` at parent level unless `config.parent_text_loss`.
        video_embedding (`torch.Tensor` of shape `(B, D)`): The video's CLS token after the last norm.
        text_embedding (`torch.Tensor` of shape `(B, D)`): The text's CLS token after the last norm.
        hidden_states (`tuple[torch.Tensor]` of shape `(B, L, D)`, *optional*): Input of every layer and the last
            output, tokens in the order CLS_V, frames, CLS_T, texts.
        attentions (`tuple[torch.Tensor]` of shape `(B, H, L, L)`, *optional*): Attention weights of every layer;
            needs `attn_implementation="eager"`.
    """

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    frame_logits: Tensor = GIVEN
    replay_scores: Tensor = GIVEN
    sentence_logits: Tensor | None = None
    video_embedding: Tensor = GIVEN
    text_embedding: Tensor = GIVEN
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def cover_frames(rows: Tensor, text_spans: Tensor, text_mask: Tensor, num_frames: int, reduction: str) -> Tensor:
    """Average or sum the rows of the texts that cover each frame.

    In time linear in N + M. The mean is not given in the paper, the sum is A2Summ's.

    Args:
        rows (`torch.Tensor` of shape `(M, D)`): One row for each text position.
        text_spans (`torch.LongTensor` of shape `(B, M, 2)`): [start, end), within [0, num_frames].
        text_mask (`torch.BoolTensor` of shape `(B, M)`): Real texts.
        num_frames (`int`): N.
        reduction (`str`): `"mean"` or `"sum"`.

    Returns:
        `torch.Tensor` of shape `(B, N, D)`, 0 where no text covers a frame.
    """
    batch = len(text_spans)
    start, end = text_spans.unbind(-1)
    covering = (text_mask & (end > start)).float()[..., None]  # (B, M, 1)
    rows = torch.cat([rows.float().expand(batch, -1, -1), torch.ones_like(covering)], dim=-1) * covering
    # Each row steps up where its span starts and down where it ends; the sum of the steps so far is what covers a frame
    steps = rows.new_zeros(batch, num_frames + 1, rows.shape[-1])  # (B, N + 1, D + 1)
    steps = steps.scatter_add(1, start[..., None].expand_as(rows), rows)
    steps = steps.scatter_add(1, end[..., None].expand_as(rows), -rows)
    covered = steps.cumsum(dim=1)[:, :num_frames]
    total, count = covered[..., :-1], covered[..., -1:].round()  # (B, N, D), (B, N, 1)
    return torch.where(count > 0, total / count.clamp(min=1) if reduction == "mean" else total, 0.0)


def sinusoidal_positions(length: int, width: int, scale: float, device: torch.device) -> Tensor:
    """Compute sinusoids of amplitude `scale` as position embeddings.

    Column 2k is sin(p / 10,000^(2k / width)) at position p, column 2k + 1 its cosine.

    Returns:
        `torch.Tensor` of shape `(length, width)`.
    """
    position = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    # exp(-2k ln(10,000) / width)
    rate = torch.exp(torch.arange(0, width, 2, device=device, dtype=torch.float32) * (-9.210340371976184 / width))
    return scale * torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=-1).flatten(1)


def relative_places(mask: Tensor) -> Tensor:
    """Describe the place of each real frame in its video.

    With p = (i + 1/2) / n of frame i of n: p, p^2, whether it is in the first 5 %, whether in the last 5 %. Not given
    in the paper.

    Args:
        mask (`torch.BoolTensor` of shape `(B, N)`): Real frames, before the padding.

    Returns:
        `torch.Tensor` of shape `(B, N, 4)`.
    """
    place = (torch.arange(mask.shape[1], device=mask.device) + 0.5) / mask.sum(1, keepdim=True).clamp(min=1)  # (B, N)
    return torch.stack([place, place.square(), (place < 0.05).float(), (place > 0.95).float()], dim=-1)


def moving_average(logits: Tensor, mask: Tensor, width: int) -> Tensor:
    """Average the logits of `width` real frames around each one, fewer at the ends; `width` is odd.

    Tensors are (B, N). Not given in the paper.
    """
    real = mask.to(torch.promote_types(logits.dtype, torch.float32))
    # Means over the window with 0 beside the real frames; their quotient is the mean over the real ones
    value, share = (
        nn.functional.avg_pool1d(one[:, None], width, stride=1, padding=width // 2)[:, 0]
        for one in (torch.where(mask, logits, 0.0).to(real.dtype), real)
    )
    return (value / share.clamp(min=0.5 / width)).to(logits.dtype)


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attend step by step, and return the weights too.

    softmax(scaling Q K^T + mask) V over tensors (B, H, L, D / H); the output is (B, L, H, D / H).
    """
    weights = query @ key.transpose(-1, -2) * scaling + attention_mask
    wide = torch.promote_types(query.dtype, torch.float32)
    weights = nn.functional.softmax(weights, dim=-1, dtype=wide).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class HierSumAttention(nn.Module):
    """Multi-head attention over the frames and texts together, shared by both modalities."""

    def __init__(self, config: HierSumConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | Alignment, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Attend over all tokens.

        Returns:
            The tokens `(B, L, D)`, and the weights `(B, H, L, L)` where the implementation tells them.
        """
        batch, length, width = hidden_states.shape
        query, key, value = (
            proj(hidden_states).view(batch, length, -1, self.head_dim)  # (B, L, H, D / H)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        if isinstance(attention_mask, Alignment):
            return self.out_proj(attend(query, key, value, self.scaling, attention_mask).flatten(2)), None
        query, key, value = (x.transpose(1, 2) for x in (query, key, value))  # (B, H, L, D / H)
        masked: Callable[..., tuple[Tensor, Tensor | None]] = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        dropout = self.config.attention_dropout if self.training else 0.0
        output, weights = masked(
            self, query, key, value, attention_mask, scaling=self.scaling, dropout=dropout, **kwargs
        )
        return self.out_proj(output.reshape(batch, length, width)), weights


class HierSumMLP(nn.Module):
    """Position-wise feed-forward network of width 4D."""

    def __init__(self, config: HierSumConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, 4 * config.hidden_size)
        self.fc2 = nn.Linear(4 * config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden_states: Tensor) -> Tensor:
        if torch.is_grad_enabled() or hidden_states.shape[1] <= TOKENS_AT_ONCE:
            return self._transformed(hidden_states)
        return torch.cat([self._transformed(part) for part in hidden_states.split(TOKENS_AT_ONCE, dim=1)], dim=1)

    def _transformed(self, hidden_states: Tensor) -> Tensor:
        hidden_states = self.dropout(nn.functional.gelu(self.fc1(hidden_states)))  # (B, n, 4 D)
        output: Tensor = self.dropout(self.fc2(hidden_states))
        return output


class HierSumLayer(GradientCheckpointingLayer):
    """Pre-norm layer of the network.

    Attention over all tokens, then a feed-forward network for each modality.
    """

    def __init__(self, config: HierSumConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size)
        self.attention = HierSumAttention(config)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.video_norm, self.text_norm = nn.LayerNorm(config.hidden_size), nn.LayerNorm(config.hidden_size)
        self.video_mlp, self.text_mlp = HierSumMLP(config), HierSumMLP(config)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | Alignment, first_text: int, **kwargs: Any
    ) -> Tensor:
        """Transform all tokens, (B, L, D)."""
        # x = x + attention(norm(x)), then x = x + mlp(norm(x)) with the weights of each modality
        attended, _ = self.attention(self.attention_norm(hidden_states), attention_mask, **kwargs)
        hidden_states = hidden_states + self.dropout(attended)
        video, text = hidden_states[:, :first_text], hidden_states[:, first_text:]
        video = video + self.video_mlp(self.video_norm(video))
        text = text + self.text_mlp(self.text_norm(text))
        return torch.cat([video, text], dim=1)


class HierSumProjection(nn.Linear):
    """Projection of one modality's features to the network's width.

    Its own class because its weights start at another scale.
    """


class HierSumEmbeddings(nn.Module):
    """Projection, CLS token, position, modality type and segment of every token."""

    def __init__(self, config: HierSumConfig):
        super().__init__()
        self.config = config
        self.video_projection = HierSumProjection(config.video_dim, config.hidden_size)
        self.text_projection = HierSumProjection(config.text_dim, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.cls_token = nn.Embedding(2, config.hidden_size)
        self.modality_type = nn.Embedding(2, config.hidden_size)
        if config.relative_position:
            self.place_projection = nn.Linear(4, config.hidden_size, bias=False)
        if config.position_embedding_type == "learned":
            self.video_position = nn.Embedding(config.max_positions, config.hidden_size)
            self.text_position = nn.Embedding(config.max_positions, config.hidden_size)
        if config.segment_embedding:
            self.segment = nn.Embedding(config.max_segments, config.hidden_size)

    def _positions(self, length: int, modality: int) -> Tensor:
        """Give the position embeddings, (length, D).

        Row 0 belongs to the CLS token.
        """
        config, weight = self.config, self.cls_token.weight
        if config.position_embedding_type == "sinusoidal":
            # A sinusoid of amplitude s has standard deviation s / sqrt(2): as large as a table at the start
            scale = config.initializer_range * 2**0.5
            return sinusoidal_positions(length, config.hidden_size, scale, weight.device).to(weight.dtype)
        if length > config.max_positions:
            raise HierSumError(
                f"A learned position table of {config.max_positions} rows takes at most {config.max_positions - 1} "
                f"{'texts' if modality else 'frames'} and a CLS token, got {length - 1}. "
                'Use position_embedding_type="sinusoidal" for longer input.'
            )
        return (self.text_position if modality else self.video_position).weight[:length]

    def _project(self, features: Tensor, projection: nn.Linear) -> Tensor:
        """Project features (B, n, Dv or Dt) to (B, n, D)."""
        projected: Tensor = self.dropout(projection(features.to(projection.weight.dtype)))
        return projected

    def _sequence(self, projected: Tensor, modality: int) -> Tensor:
        """Turn projected features (B, n, D) into tokens (B, 1 + n, D), CLS first."""
        cls = self.cls_token.weight[modality].expand(len(projected), 1, -1)
        tokens = torch.cat([cls.to(projected.dtype), projected], dim=1)
        return tokens + self._positions(tokens.shape[1], modality) + self.modality_type.weight[modality]

    def _segment_rows(self, first: int, count: int) -> Tensor:
        """Look up rows of the segment table, (count, D).

        After its last row it begins anew.
        """
        index = torch.arange(first, first + count, device=self.segment.weight.device) % self.config.max_segments
        rows: Tensor = self.segment(index)
        return rows

    def forward(
        self, video_features: Tensor, video_mask: Tensor, text_features: Tensor, text_mask: Tensor, text_spans: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Embed all tokens.

        Returns:
            Tokens `(B, L, D)` in the order CLS_V, frames, CLS_T, texts, and the projected frames `(B, N, D)`, None
            without a linear path.
        """
        if self.config.center_features:
            real = video_mask[..., None]
            mean = torch.where(real, video_features, 0.0).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
            video_features = video_features - mean
        frames = self._project(video_features, self.video_projection)
        if self.config.relative_position:
            frames = frames + self.place_projection(relative_places(video_mask).to(frames.dtype))
        video = self._sequence(frames, VIDEO)
        text = self._sequence(self._project(text_features, self.text_projection), TEXT)
        if self.config.segment_embedding:
            num_frames, num_texts, offset = video_features.shape[1], text_features.shape[1], self.config.segment_offset
            rows = self._segment_rows(0, num_texts)
            covering = cover_frames(rows, text_spans, text_mask, num_frames, self.config.segment_reduction)  # (B, N, D)
            video = video + nn.functional.pad(covering.to(video.dtype), (0, 0, 1, 0))
            if offset:  # A2Summ: the CLS token takes row 0, sentence j row j + 1
                text = text + self._segment_rows(0, num_texts + 1)
            else:
                text = text + nn.functional.pad(rows, (0, 0, 1, 0))
        return torch.cat([video, text], dim=1), frames if self.config.linear_path else None


class HierSumEncoder(nn.Module):
    """F of the paper, the network that both levels share.

    Features and spans in, one embedding a token out.
    """

    def __init__(self, config: HierSumConfig):
        super().__init__()
        self.config = config
        self.embeddings = HierSumEmbeddings(config)
        self.layers = nn.ModuleList(
            HierSumLayer(config) for _ in range(1 if config.share_layers else config.num_layers)
        )
        self.video_norm, self.text_norm = nn.LayerNorm(config.hidden_size), nn.LayerNorm(config.hidden_size)

    def forward(
        self,
        video_features: Tensor,
        video_mask: Tensor,
        text_features: Tensor,
        text_mask: Tensor,
        text_spans: Tensor,
        level: str,
        num_pairs: int | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Encode the tokens of both modalities.

        Returns:
            Those of the video, `(B, 1 + N, D)`, and of the text, `(B, 1 + M, D)`, CLS first; and the projected frames
            `(B, N, D)`, None without a linear path.
        """
        hidden_states, frames = self.embeddings(video_features, video_mask, text_features, text_mask, text_spans)
        attention_mask = self._attention_mask(hidden_states, video_mask, text_mask, text_spans, level, num_pairs)
        first_text = 1 + video_mask.shape[1]
        for step in range(self.config.num_layers):
            layer = self.layers[0 if self.config.share_layers else step]
            hidden_states = layer(hidden_states, attention_mask, first_text, **kwargs)
        return self.video_norm(hidden_states[:, :first_text]), self.text_norm(hidden_states[:, first_text:]), frames

    def _attention_mask(
        self,
        hidden_states: Tensor,
        video_mask: Tensor,
        text_mask: Tensor,
        text_spans: Tensor,
        level: str,
        num_pairs: int | None,
    ) -> Tensor | Alignment:
        """Make the plain mask, or a list where that is better.

        A list of pairs spares fused attention the mask, which is faster and smaller for long input.
        """
        config, (batch, length, width) = self.config, hidden_states.shape
        fused = config._attn_implementation == "sdpa" and not (self.training and config.attention_dropout)
        if fused and length >= UNMASKED_FROM:
            level = level if config.alignment_mask else "parent"  # every text sees every frame
            if level == "parent":
                num_pairs = 0
            elif num_pairs is None:
                num_pairs = int(count_pairs(video_mask, text_mask, text_spans, level).sum())  # waits for the device
            if LIST_COST * width * num_pairs <= batch * length**2:  # else the list is larger than the mask
                return align(video_mask, text_mask, text_spans, level, num_pairs)
        mask = alignment_mask(video_mask, text_mask, text_spans, config.alignment_mask)[:, None]  # (B, 1, L, L)
        if config._attn_implementation == "eager":
            lowest = torch.finfo(hidden_states.dtype).min
            mask = torch.zeros_like(mask, dtype=hidden_states.dtype).masked_fill(~mask, lowest)
        return mask


class HierSumHead(nn.Module):
    """Prediction head, one logit for each position."""

    def __init__(self, config: HierSumConfig):
        super().__init__()
        self.hidden = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.head_dropout)
        self.output = nn.Linear(config.hidden_size, 1)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Predict logits (B, n) from embeddings (B, n, D)."""
        logits: Tensor = self.output(self.dropout(nn.functional.relu(self.hidden(embeddings))))
        return logits[..., 0]


class HierSumPreTrainedModel(PreTrainedModel):
    """What Transformers asks of a network, and its weights at the start."""

    config: HierSumConfig
    base_model_prefix = "hiersum"
    main_input_name = "video_features"
    input_modalities = ["video", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is a mean over the batch; the Trainer must not scale it by token counts
    _no_split_modules = ["HierSumEmbeddings", "HierSumLayer"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = False  # it would silently ignore the alignment mask
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": HierSumLayer, "attentions": HierSumAttention}  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise tables and Linear weights by a truncated normal distribution.

        Not given in the paper.
        """
        std = self.config.initializer_range
        if isinstance(module, HierSumProjection):
            # Var(w . x) = std^2 |x|^2: unit-norm features start about as large as the tables
            std = module.in_features**-0.5
        if isinstance(module, HierSumModel):
            init.constant_(module.inter_logit_scale, INITIAL_LOGIT_SCALE)
            init.constant_(module.intra_logit_scale, INITIAL_LOGIT_SCALE)
            if self.config.linear_path:  # what the transformer adds to the linear path is learned from nothing
                init.zeros_(module.frame_head.output.weight)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear | nn.Embedding):
            init.trunc_normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                init.zeros_(module.bias)


def expect_shape(name: str, value: Tensor | None, shape: tuple[int, ...]) -> None:
    """Refuse an input of another shape."""
    if value is not None and tuple(value.shape) != tuple(shape):
        raise HierSumError(f"{name} must have shape {tuple(shape)}, got {tuple(value.shape)}.")


class HierSumModel(HierSumPreTrainedModel):
    r"""Complete network with the shared encoder F, its heads and the loss.

    ```
    frames  (B, N, Dv) -> Linear \                                          / frame head    -> frame_logits   (B, N)
                                  + CLS, position, type, segment -> L layers - replay head   -> replay_scores  (B, N)
    texts   (B, M, Dt) -> Linear /   attention under the alignment mask      \ sentence head -> sentence_logits (B, M)
    ```

    The same network runs at child level (texts = subtitle sentences, each aligned with its frames), at parent level
    (texts = the description, aligned with the whole video) and at joint level (both in one sequence; not in the paper).
    """

    def __init__(self, config: HierSumConfig):
        super().__init__(config)
        self.encoder = HierSumEncoder(config)
        self.frame_head = HierSumHead(config)
        self.replay_head = HierSumHead(config)
        self.sentence_head = HierSumHead(config)
        if config.linear_path:
            self.linear_path = nn.Linear(config.hidden_size, 1)
        self.inter_logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
        self.intra_logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
        self.post_init()

    @merge_with_config_defaults
    @can_return_tuple
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        video_features: Tensor,
        video_mask: Tensor | None = None,
        text_features: Tensor | None = None,
        text_mask: Tensor | None = None,
        text_spans: Tensor | None = None,
        level: str = "child",
        frame_labels: Tensor | None = None,
        replay_scores: Tensor | None = None,
        sentence_labels: Tensor | None = None,
        num_pairs: int | None = None,
        **kwargs: Any,
    ) -> HierSumOutput:
        """Score frames and sentences, and with labels compute the loss.

        Args:
            video_features (`torch.Tensor` of shape `(B, N, Dv)`): One row for each sampled frame.
            video_mask (`torch.BoolTensor` of shape `(B, N)`, *optional*): Real frames; all by default.
            text_features (`torch.Tensor` of shape `(B, M, Dt)`, *optional*): One row for each text; M may be 0.
            text_mask (`torch.BoolTensor` of shape `(B, M)`, *optional*): Real texts; all by default.
            text_spans (`torch.LongTensor` of shape `(B, M, 2)`, *optional*): Frames [start, end) each text belongs to;
                an empty span aligns with nothing, parts outside the video are cut off. Ignored at parent level, where
                every text spans the whole video; needed at the others if there is text.
            level (`str`, defaults to `"child"`): `"child"`, `"parent"` or `"joint"`: what the texts are.
            frame_labels (`torch.LongTensor` of shape `(B, N)`, *optional*): 1 important, 0 not, -100 unknown.
            replay_scores (`torch.Tensor` of shape `(B, N)`, *optional*): Replay values in [0, 1], NaN = none.
            sentence_labels (`torch.LongTensor` of shape `(B, M)`, *optional*): As `frame_labels`; unused at parent
                level unless `config.parent_text_loss`.
            num_pairs (`int`, *optional*): How many (frame, text) pairs the spans of the batch make, or more; texts of
                the whole video need not count at joint level. Spares long videos a wait for the device; results are
                NaN if it is too small.
            **kwargs: Passed on to the attention function.

        Raises:
            ValueError: An input of the wrong shape, an unknown level, or text without spans.
        """
        check_level(level)
        video_mask, text_features, text_mask, text_spans = self._complete(
            video_features, video_mask, text_features, text_mask, text_spans, level
        )
        expect_shape("frame_labels", frame_labels, video_mask.shape)
        expect_shape("replay_scores", replay_scores, video_mask.shape)
        expect_shape("sentence_labels", sentence_labels, text_mask.shape)
        video, text, frames = self.encoder(
            video_features, video_mask, text_features, text_mask, text_spans, level, num_pairs, **kwargs
        )
        reads_text = level != "parent" or self.config.parent_text_loss
        output = HierSumOutput(
            frame_logits=self._frame_logits(video[:, 1:], frames, video_mask),
            replay_scores=torch.sigmoid(self.replay_head(video[:, 1:])),
            sentence_logits=self.sentence_head(text[:, 1:]) if reads_text else None,
            video_embedding=video[:, 0],
            text_embedding=text[:, 0],
        )
        if frame_labels is not None or replay_scores is not None or sentence_labels is not None:
            tokens, masks = (video[:, 1:], text[:, 1:]), (video_mask, text_mask)
            labels = frame_labels, replay_scores, sentence_labels
            with torch.autocast(video.device.type, enabled=False):  # float32 throughout, also in mixed precision
                output.losses = self._losses(
                    output, *tokens, *masks, *labels, same_text(text_features, text_mask), level
                )
                output.loss = self._total(output.losses)
        return output

    def _frame_logits(self, tokens: Tensor, frames: Tensor | None, video_mask: Tensor) -> Tensor:
        """Predict the importance of frames, (B, N), from their tokens and any projections, both (B, N, D)."""
        logits: Tensor = self.frame_head(tokens)
        if self.config.linear_path:
            logits = logits + self.linear_path(frames)[..., 0]
        if self.config.smooth_s:
            # About smooth_s seconds, an odd number of samples
            width = round(self.config.smooth_s * (self.config.sample_fps or 0.0)) // 2 * 2 + 1
            for _ in range(self.config.smooth_passes):
                logits = moving_average(logits, video_mask, width)
        return logits

    def _complete(
        self,
        video_features: Tensor,
        video_mask: Tensor | None,
        text_features: Tensor | None,
        text_mask: Tensor | None,
        text_spans: Tensor | None,
        level: str,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Check the shapes and fill in what may be left out."""
        batch, num_frames = self._check("video_features", video_features, self.config.video_dim)
        device = video_features.device
        if video_mask is None:
            video_mask = torch.ones(batch, num_frames, dtype=torch.bool, device=device)
        if text_features is None:
            text_features = video_features.new_zeros(batch, 0, self.config.text_dim)
        _, num_texts = self._check("text_features", text_features, self.config.text_dim)
        if text_mask is None:
            text_mask = torch.ones(batch, num_texts, dtype=torch.bool, device=device)
        if level == "parent":
            text_spans = torch.zeros(batch, num_texts, 2, dtype=torch.long, device=device)
            text_spans[..., 1] = num_frames
        elif text_spans is None:
            if num_texts:
                raise HierSumError(f"text_spans is needed at {level} level: which frames does each text belong to?")
            text_spans = torch.zeros(batch, 0, 2, dtype=torch.long, device=device)
        expect_shape("video_mask", video_mask, (batch, num_frames))
        expect_shape("text_features", text_features, (batch, num_texts, self.config.text_dim))
        expect_shape("text_mask", text_mask, (batch, num_texts))
        expect_shape("text_spans", text_spans, (batch, num_texts, 2))
        return video_mask.bool(), text_features, text_mask.bool(), text_spans.long().clamp(0, num_frames)

    @staticmethod
    def _check(name: str, features: Tensor, width: int) -> tuple[int, int]:
        """Refuse features of another shape than (B, length, width).

        Returns:
            B and length.
        """
        if features.dim() != 3 or features.shape[-1] != width:
            raise HierSumError(f"{name} must have shape (batch, length, {width}), got {tuple(features.shape)}.")
        return features.shape[0], features.shape[1]

    def _losses(
        self,
        output: HierSumOutput,
        frames: Tensor,
        texts: Tensor,
        video_mask: Tensor,
        text_mask: Tensor,
        frame_labels: Tensor | None,
        replay_scores: Tensor | None,
        sentence_labels: Tensor | None,
        duplicates: Tensor,
        level: str,
    ) -> dict[str, Tensor]:
        """Compute each term that the labels and the level allow."""
        config, losses = self.config, {}
        focal = config.focal_gamma, config.focal_alpha
        if frame_labels is not None:
            losses["frame_focal"] = focal_loss(output.frame_logits, frame_labels, video_mask, *focal)
        if sentence_labels is not None and output.sentence_logits is not None:
            losses["sentence_focal"] = focal_loss(output.sentence_logits, sentence_labels, text_mask, *focal)
        if replay_scores is not None and config.score_loss != "none":
            losses["score"] = SCORE_LOSSES[config.score_loss](output.frame_logits, replay_scores, video_mask)
        if replay_scores is not None:
            losses["replay_mse"] = replay_mse_loss(output.replay_scores, replay_scores, video_mask)
        losses["inter"] = inter_contrast_loss(
            output.video_embedding, output.text_embedding, self.inter_logit_scale, text_mask.any(1), duplicates
        )
        if frame_labels is not None and (level == "parent" or sentence_labels is not None):
            # At parent level all texts together are the positive, and the text side has no query of its own
            key_texts = text_mask if level == "parent" else (sentence_labels == 1) & text_mask
            known_texts = text_mask if sentence_labels is None else text_mask & (sentence_labels != IGNORE_LABEL)
            losses["intra"] = video_text_intra_loss(
                frames,
                output.frame_logits,
                (frame_labels == 1) & video_mask,
                video_mask & (frame_labels != IGNORE_LABEL),
                texts,
                None if level == "parent" else output.sentence_logits,
                key_texts,
                known_texts,
                self.intra_logit_scale,
                config.negative_ratio,
                config.negative_dilation,
            )
        return losses

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        """Add up the terms by their weights."""
        # Child: L_frames + L_sentences + replay_weight L_mse + beta L_inter + lambda L_intra. Parent: without
        # L_sentences, unless `parent_text_loss`. Ours beside them: a weight of the first two, and L_score.
        config = self.config
        weights = {
            "frame_focal": config.focal_weight,
            "sentence_focal": config.focal_weight,
            "score": config.score_weight,
            "replay_mse": config.replay_weight,
            "inter": config.inter_weight,
            "intra": config.intra_weight,
        }
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


HierSumModel.register_for_auto_class("AutoModel")
AutoConfig.register("hiersum", HierSumConfig, exist_ok=True)
AutoModel.register(HierSumConfig, HierSumModel, exist_ok=True)
AutoFeatureExtractor.register(HierSumConfig, HierSumFeatureExtractor, exist_ok=True)
AutoProcessor.register(HierSumConfig, HierSumFeatureExtractor, exist_ok=True)
