"""Attention under the alignment mask in memory linear in length, exact: no mask and no weights of L x L.

A token sees its own modality in full, which fused attention computes without a mask, and across modalities few tokens:
those on the other side of its (frame, text) pairs. The pairs' part comes from their list. The fused part then has one
more key, the sink: its logit is the log of the pairs' summed exponentials, so that the sink's weight is the share of
the pairs in the whole softmax. Where texts span the whole video, one fused call over all tokens takes them in. What is
hidden from a whole kind of tokens is hidden by extra channels of queries and keys, so no call needs a mask. On a CPU,
whose fused kernel tells the log of its summed exponentials, the child level needs no such channels (`MergedAttention`).
Not given in the paper: it is a way to compute, the results are those of the mask.

Letters: B videos, N frames, M texts, L = 2 + N + M tokens in the order CLS_V, frames, CLS_T, texts, P pairs, H heads, W
width of a head, E channels added to it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


# What scaled_dot_product_attention calls on a CPU; also returns the log of the summed exponentials. Not a public name.
CPU_FUSED: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
CPU_FUSED_BACKWARD: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)


def alignment_mask(video_mask: Tensor, text_mask: Tensor, text_spans: Tensor, restrict: bool = True) -> Tensor:
    r"""
    Which token may look at which, rows = queries, over [CLS_V, frames, CLS_T, texts].

    Attention is full within a modality; a frame and a text see each other iff the text's span covers the frame. The CLS
    tokens see their own modality only.

    Args:
        video_mask (`torch.BoolTensor` of shape `(B, N)`): Real frames.
        text_mask (`torch.BoolTensor` of shape `(B, M)`): Real texts.
        text_spans (`torch.LongTensor` of shape `(B, M, 2)`): [start, end) in frame indices.
        restrict (`bool`): `False` lets every real frame and text see each other.

    Returns:
        `torch.BoolTensor` of shape `(B, L, L)`.
    """
    batch, num_frames = video_mask.shape
    num_texts = text_mask.shape[1]
    if restrict:
        frame = torch.arange(num_frames, device=video_mask.device)[None, :, None]
        start, end = text_spans[:, None, :, 0], text_spans[:, None, :, 1]
        covers = (start <= frame) & (frame < end)  # (B, N, M)
    else:
        covers = torch.ones(1, 1, 1, dtype=torch.bool, device=video_mask.device)
    first_text = 1 + num_frames
    mask = video_mask.new_zeros(batch, 2 + num_frames + num_texts, 2 + num_frames + num_texts)
    mask[:, :first_text, 0] = True
    mask[:, :first_text, 1:first_text] = video_mask[:, None]
    mask[:, first_text:, first_text] = True
    mask[:, first_text:, first_text + 1 :] = text_mask[:, None]
    mask[:, 1:first_text, first_text + 1 :] = covers & text_mask[:, None]
    mask[:, first_text + 1 :, 1:first_text] = covers.transpose(1, 2) & video_mask[:, None]
    return mask


class Alignment(NamedTuple):
    r"""
    Who sees whom, without a mask.

    Args:
        first_text (`int`): Where CLS_T stands.
        split (`bool`): No text spans the whole video: each modality has a fused call of its own.
        kind (`torch.BoolTensor` of shape `(B, L, 1 or 4)`): One kind if `split`, else one-hot: CLS_V; frame; CLS_T or
            listed text; text of the whole video.
        hidden (`torch.BoolTensor` of shape `(B, L, 1 or 4)`): From which kinds fused attention hides this token.
        pairs (`tuple` of three `torch.Tensor` of shape `(P,)`, *optional*): The frame and the text of each pair as rows
            of (B L), and what to add to its logit: 0, or -inf if it only fills the list.
    """

    first_text: int
    split: bool
    kind: Tensor
    hidden: Tensor
    pairs: tuple[Tensor, Tensor, Tensor] | None = None


def whole_texts(video_mask: Tensor, text_spans: Tensor, level: str) -> Tensor:
    """(B, M) bool: texts that see all frames. None is sought at child level, where each modality stands alone."""
    if level != "joint":
        return torch.full(text_spans.shape[:2], level == "parent", device=text_spans.device)
    before = F.pad(video_mask.cumsum(1), (1, 0))  # (B, N + 1): real frames before each
    start, end = (before.gather(1, bound) for bound in text_spans.unbind(-1))
    return end - start == before[:, -1:]


def count_pairs(video_mask: Tensor, text_mask: Tensor, text_spans: Tensor, level: str) -> Tensor:
    """(B, M): how many pairs each text has in the list: the length of its span, 0 for a text of the whole video."""
    listed = text_mask & ~whole_texts(video_mask, text_spans, level)
    return (text_spans[..., 1] - text_spans[..., 0]).clamp(min=0) * listed


def list_pairs(
    count: Tensor, text_spans: Tensor, video_mask: Tensor, num_pairs: int
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The pairs of an `Alignment` from (B, M) counts; what is added is NaN if `num_pairs` is less than counted."""
    num_frames, num_texts = video_mask.shape[1], count.shape[1]
    count = count.flatten()
    last = count.cumsum(0)
    pair = torch.arange(max(1, num_pairs), device=count.device)
    owner = torch.searchsorted(last, pair, right=True).clamp(max=len(last) - 1)
    position = (text_spans[..., 0].flatten()[owner] + pair - (last - count)[owner]).clamp(max=num_frames - 1)
    video = owner // num_texts
    first = video * (2 + num_frames + num_texts)
    real = (pair < last[-1]) & video_mask[video, position]
    bias = torch.where(real, 0.0, -torch.inf).masked_fill(last[-1] > num_pairs, torch.nan)
    return first + 1 + position, first + 2 + num_frames + owner % num_texts, bias


def align(video_mask: Tensor, text_mask: Tensor, text_spans: Tensor, level: str, num_pairs: int) -> Alignment:
    r"""
    What `alignment_mask` says, for `attend`.

    Args:
        video_mask, text_mask, text_spans (`torch.Tensor`): As in `alignment_mask`.
        level (`str`): At `"child"` level all texts are listed, at `"parent"` none, at `"joint"` those that do not span
            the whole video.
        num_pairs (`int`): Sum of `count_pairs` or more.
    """
    cls = torch.ones_like(video_mask[:, :1])
    video, text = torch.cat([cls, video_mask], dim=1), torch.cat([cls, text_mask], dim=1)
    first_text = video.shape[1]
    if level == "child":
        real = torch.cat([video, text], dim=1)[..., None]
        alignment = Alignment(first_text, True, torch.ones_like(real), ~real)
    else:
        whole = torch.cat([~cls, text_mask & whole_texts(video_mask, text_spans, level)], dim=1)
        frames, no_video, no_text = torch.cat([~cls, video_mask], dim=1), ~video & video, ~text & text
        seen = [(video, no_text), (video, whole), (no_video, text), (frames, text)]  # by tokens of each kind
        kinds = [(~frames, no_text), (frames, no_text), (no_video, ~whole), (no_video, whole)]
        kind, shown = (torch.stack([torch.cat(halves, dim=1) for halves in rows], dim=-1) for rows in (kinds, seen))
        alignment = Alignment(first_text, False, kind, ~shown)
    if level == "parent" or not text_mask.shape[1]:
        return alignment
    count = count_pairs(video_mask, text_mask, text_spans, level)
    return alignment._replace(pairs=list_pairs(count, text_spans, video_mask, num_pairs))


def attend_pairs(
    query: Tensor, key: Tensor, value: Tensor, scaling: float, alignment: Alignment
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(B, L, H, W) each -> over the pairs of every token the log of the summed exponentials of their logits, (B, L, H),
    and the mean of the other tokens' values under the softmax of these logits, (B, L, H, W)."""
    batch, length, heads, width = query.shape
    wide = torch.promote_types(query.dtype, torch.float32)
    lowest = torch.finfo(wide).min
    if alignment.pairs is None:
        return query.new_full((batch, length, heads), lowest, dtype=wide), query.new_zeros(())
    frame, text, bias = alignment.pairs
    rows = torch.cat([query, key, value], dim=2).view(batch * length, -1)
    (query_f, key_f, value_f), (query_t, key_t, value_t) = (
        F.embedding(tokens, rows).view(-1, 3, heads, width).unbind(1) for tokens in (frame, text)
    )  # a look-up whose gradient is fast on CPU
    receiver = torch.cat([frame, text])  # (2 P,)
    logits = torch.cat([(query_f * key_t).sum(-1, dtype=wide), (query_t * key_f).sum(-1, dtype=wide)]) * scaling
    logits = logits + bias.repeat(2)[:, None]  # (2 P, H)
    with torch.no_grad():
        top = logits.new_full((batch * length, heads), lowest)
        top = top.scatter_reduce(0, receiver[:, None].expand_as(logits), logits, "amax")
    weights = (logits - top[receiver]).exp()
    total = torch.zeros_like(top).index_add(0, receiver, weights).clamp(min=1)  # at least 1 where there is a pair
    values = (weights[..., None] * torch.cat([value_t, value_f])).flatten(1)  # (2 P, D)
    mean = values.new_zeros(batch * length, heads * width).index_add(0, receiver, values)
    mean = mean.view(batch, length, heads, width) / total.view(batch, length, heads, 1)
    return (top + total.log()).view(batch, length, heads), mean


def channels(sink: Tensor, alignment: Alignment, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, L, H) logits of the sinks -> more channels (B, L or 1, H, E) for queries, keys and the sink's key."""
    lowest = torch.finfo(like.dtype).min / 4
    sink = sink.clamp(min=lowest)[..., None]
    high = sink.to(like.dtype)
    if like.element_size() < 4:  # half precision: the second channel keeps the rest
        high = torch.cat([high, (sink - high).to(like.dtype)], dim=-1)
    num_sinks, used = high.shape[-1], high.shape[-1] + alignment.kind.shape[-1]
    spare = 0 if like.device.type == "cpu" and used == 2 else -used % 8  # 2 or 8 is fastest on CPU; CUDA's flash: 8
    kind, hidden = (
        x.to(like.dtype)[:, :, None].expand(-1, -1, like.shape[2], -1) for x in (alignment.kind, alignment.hidden)
    )
    query = F.pad(torch.cat([high, kind], dim=-1), (0, spare))
    key = F.pad(hidden * lowest, (num_sinks, spare))
    sink_key = F.pad(torch.ones_like(high[:, :1]), (0, used - num_sinks + spare))
    return query, key, sink_key


def fused_with_sink(query: Tensor, key: Tensor, value: Tensor, sink_key: Tensor, scaling: float) -> Tensor:
    """(B, n, H, W + E) each, `value` without E -> the same; channel W is the weight of the sink."""
    extra = sink_key.shape[-1]
    key = torch.cat([key, F.pad(sink_key, (key.shape[-1] - extra, 0))], dim=1)
    value = torch.cat(
        [F.pad(value, (0, extra)), F.pad(torch.ones_like(value[:, :1, :, :1]), (value.shape[-1], extra - 1))], dim=1
    )
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2)


def by_modality(first_text: int, *tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The video's tokens of each (B, L, ...), then the text's."""
    return zip(*(x.split([first_text, x.shape[1] - first_text], dim=1) for x in tensors), strict=True)


class MergedAttention(torch.autograd.Function):
    """Attention of the child level by the CPU's fused kernel, over each modality, and by the list of pairs.

    The parts are merged by the logs of their summed exponentials. The kernel's backward pass, given the merged output
    and logs in place of its own, computes its part of the gradient; that of the pairs is written out.
    """

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, scaling: float, alignment: Alignment) -> Tensor:
        hidden = alignment.hidden[..., 0]
        mask = torch.zeros_like(hidden, dtype=query.dtype).masked_fill(hidden, -torch.inf)
        parts = [
            [x.transpose(1, 2) for x in CPU_FUSED(
                *(x.transpose(1, 2) for x in part), attn_mask=bias[:, None, None], scale=scaling
            )] for *part, bias in by_modality(alignment.first_text, query, key, value, mask)
        ]  # fmt: skip
        output, fused = (torch.cat(halves, dim=1) for halves in zip(*parts, strict=True))
        listed, mean = attend_pairs(query, key, value, scaling, alignment)
        total = torch.logaddexp(fused, listed)  # (B, L, H)
        shares = [(part - total).exp()[..., None] for part in (fused, listed)]
        output = (output * shares[0] + mean * shares[1]).to(query.dtype)
        ctx.save_for_backward(query, key, value, mask, output, total, *(alignment.pairs or ()))
        ctx.scaling, ctx.first_text = scaling, alignment.first_text
        return output

    @staticmethod
    def backward(ctx, grad: Tensor):
        query, key, value, mask, output, total, *pairs = ctx.saved_tensors
        parts = [
            [x.transpose(1, 2) for x in CPU_FUSED_BACKWARD(
                *(x.transpose(1, 2) for x in part), 0.0, False, attn_mask=bias[:, None, None], scale=ctx.scaling
            )]
            for *part, bias in by_modality(ctx.first_text, grad, query, key, value, output, total, mask)
        ]  # fmt: skip
        grads = [torch.cat(halves, dim=1) for halves in zip(*parts, strict=True)]
        if pairs:
            frame, text, bias = pairs
            receiver, sender = torch.cat([frame, text]), torch.cat([text, frame])
            query, output, grad = (x.flatten(0, 1)[receiver].to(total.dtype) for x in (query, output, grad))
            key, value = (x.flatten(0, 1)[sender].to(total.dtype) for x in (key, value))
            logits = (query * key).sum(-1) * ctx.scaling + bias.repeat(2)[:, None]
            weights = (logits - total.flatten(0, 1)[receiver]).exp()[..., None]  # (2 P, H, 1)
            rise = weights * (grad * (value - output)).sum(-1, keepdim=True) * ctx.scaling  # of the logits
            for whole, rows, more in zip(
                grads, (receiver, sender, sender), (rise * key, rise * query, weights * grad), strict=True
            ):
                whole.flatten(0, 1).index_add_(0, rows, more.to(whole.dtype))
        return *grads, None, None


def attend(query: Tensor, key: Tensor, value: Tensor, scaling: float, alignment: Alignment) -> Tensor:
    r"""
    Attention as under `alignment_mask`; rows of padded queries mean nothing.

    Args:
        query, key, value (`torch.Tensor` of shape `(B, L, H, W)`): One row for each token and head.

    Returns:
        `torch.Tensor` of shape `(B, L, H, W)`.
    """
    if alignment.split and query.device.type == "cpu" and CPU_FUSED:
        return MergedAttention.apply(query, key, value, scaling, alignment)
    length, width = query.shape[1], query.shape[-1]
    total, mean = attend_pairs(query, key, value, scaling, alignment)
    query_more, key_more, sink_key = channels(total / scaling, alignment, query)
    query, key = torch.cat([query, query_more], dim=-1), torch.cat([key, key_more], dim=-1)
    parts = [alignment.first_text, length - alignment.first_text] if alignment.split else [length]
    calls = zip(query.split(parts, 1), key.split(parts, 1), value.split(parts, 1), strict=True)
    output = torch.cat([fused_with_sink(q, k, v, sink_key, scaling) for q, k, v in calls], dim=1)
    return (output[..., :width] + output[..., width : width + 1] * mean).to(output.dtype)
