"""Exact attention under the alignment mask, in memory linear in length.

Neither a mask nor weights of L x L are made. A token sees its own modality in full, which fused attention computes
without a mask, and across modalities few tokens: those on the other side of its (frame, text) pairs. The pairs' part
comes from their list. The fused part then has one more key, the sink: its logit is the log of the pairs' summed
exponentials, so that the sink's weight is the share of the pairs in the whole softmax. Where texts span the whole
video, one fused call over all tokens takes them in. What is hidden from a whole kind of tokens is hidden by extra
channels of queries and keys, so no call needs a mask. On a CPU, whose fused kernel tells the log of its summed
exponentials, the child level needs no such channels (`MergedAttention`). Not given in the paper: it is a way to
compute, the results are those of the mask.

Letters: B videos, N frames, M texts, L = 2 + N + M tokens in the order CLS_V, frames, CLS_T, texts, P pairs, H heads, W
width of a head, E channels added to it, D = H W.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


PAIRS_AT_ONCE = 8192  # looked up together without gradients, for memory

# What scaled_dot_product_attention calls on a CPU. Both also know the log of the summed exponentials. No public names.
CPU_FUSED: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
CPU_FUSED_BACKWARD: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)


def alignment_mask(video_mask: Tensor, text_mask: Tensor, text_spans: Tensor, restrict: bool = True) -> Tensor:
    """Tell which token may look at which.

    Rows are queries and columns keys, both over [CLS_V, frames, CLS_T, texts]. Attention is full within a modality. A
    frame and a text see each other iff the text's span covers the frame. The CLS tokens see their own modality only.

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
    # query \ key   CLS_V   frames       CLS_T   texts
    # CLS_V         1       video_mask   0       0
    # frame         1       video_mask   0       covers
    # CLS_T         0       0            1       text_mask
    # text          0       covers       1       text_mask
    mask = video_mask.new_zeros(batch, 2 + num_frames + num_texts, 2 + num_frames + num_texts)  # (B, L, L)
    mask[:, :first_text, 0] = True
    mask[:, :first_text, 1:first_text] = video_mask[:, None]
    mask[:, first_text:, first_text] = True
    mask[:, first_text:, first_text + 1 :] = text_mask[:, None]
    mask[:, 1:first_text, first_text + 1 :] = covers & text_mask[:, None]
    mask[:, first_text + 1 :, 1:first_text] = covers.transpose(1, 2) & video_mask[:, None]
    return mask


class Alignment(NamedTuple):
    """Who sees whom, without a mask.

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
    """Tell which texts see all frames.

    None is sought at child level, where each modality stands alone.

    Returns:
        `torch.BoolTensor` of shape `(B, M)`.
    """
    if level != "joint":
        return torch.full(text_spans.shape[:2], level == "parent", device=text_spans.device)
    before = F.pad(video_mask.cumsum(1), (1, 0))  # (B, N + 1): real frames before each
    start, end = (before.gather(1, bound) for bound in text_spans.unbind(-1))  # (B, M) each
    return end - start == before[:, -1:]


def count_pairs(video_mask: Tensor, text_mask: Tensor, text_spans: Tensor, level: str) -> Tensor:
    """Count the pairs that each text has in the list.

    The length of its span, 0 for a text of the whole video.

    Returns:
        `torch.LongTensor` of shape `(B, M)`.
    """
    listed = text_mask & ~whole_texts(video_mask, text_spans, level)
    return (text_spans[..., 1] - text_spans[..., 0]).clamp(min=0) * listed


def list_pairs(count: Tensor, text_spans: Tensor, video_mask: Tensor, num_pairs: int) -> tuple[Tensor, Tensor, Tensor]:
    """List the pairs of an `Alignment`.

    Args:
        count (`torch.LongTensor` of shape `(B, M)`): From `count_pairs`.
        text_spans (`torch.LongTensor` of shape `(B, M, 2)`): As in `alignment_mask`.
        video_mask (`torch.BoolTensor` of shape `(B, N)`): Real frames.
        num_pairs (`int`): Length P of the list. If it is less than counted, NaN is added to every logit.
    """
    num_frames, num_texts = video_mask.shape[1], count.shape[1]
    count = count.flatten()  # (B M)
    last = count.cumsum(0)
    # Pair p belongs to the text j with last[j - 1] <= p < last[j], and to frame start[j] + p - last[j - 1]
    pair = torch.arange(max(1, num_pairs), device=count.device)
    owner = torch.searchsorted(last, pair, right=True).clamp(max=len(last) - 1)  # (P,)
    position = (text_spans[..., 0].flatten()[owner] + pair - (last - count)[owner]).clamp(max=num_frames - 1)
    video = owner // num_texts
    # Row of CLS_V of the pair's video among the (B L) tokens
    first = video * (2 + num_frames + num_texts)
    real = (pair < last[-1]) & video_mask[video, position]
    bias = torch.where(real, 0.0, -torch.inf).masked_fill(last[-1] > num_pairs, torch.nan)
    return first + 1 + position, first + 2 + num_frames + owner % num_texts, bias


def align(video_mask: Tensor, text_mask: Tensor, text_spans: Tensor, level: str, num_pairs: int) -> Alignment:
    """Put what `alignment_mask` says into the form that `attend` takes.

    Args:
        video_mask (`torch.BoolTensor` of shape `(B, N)`): Real frames.
        text_mask (`torch.BoolTensor` of shape `(B, M)`): Real texts.
        text_spans (`torch.LongTensor` of shape `(B, M, 2)`): As in `alignment_mask`.
        level (`str`): What the texts are. At `"child"` level all texts are listed, at `"parent"` none, at `"joint"`
            those that do not span the whole video.
        num_pairs (`int`): Sum of `count_pairs` or more.
    """
    cls = torch.ones_like(video_mask[:, :1])
    video, text = torch.cat([cls, video_mask], dim=1), torch.cat([cls, text_mask], dim=1)
    first_text = video.shape[1]
    if level == "child":
        real = torch.cat([video, text], dim=1)[..., None]
        alignment = Alignment(first_text, True, torch.ones_like(real), ~real)
    else:
        # Without the pairs, CLS_V sees the video, a frame also the texts of the whole video, CLS_T and a listed text
        # the text, a text of the whole video also the frames: four kinds of tokens.
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


def pair_weights(query: Tensor, key: Tensor, scaling: float, alignment: Alignment) -> tuple[Tensor, Tensor | None]:
    """Weigh the pairs of every token by the softmax over them alone.

    It takes what `attend` takes.

    Returns:
        The log of the summed exponentials of the pairs' logits, `(B, L, H)`, and the weights `(2 P, H)` with which the
        frames look at the texts and the texts at the frames.
    """
    batch, length, heads, _ = query.shape
    wide = torch.promote_types(query.dtype, torch.float32)
    lowest = torch.finfo(wide).min
    if alignment.pairs is None:
        return query.new_full((batch, length, heads), lowest, dtype=wide), None
    frame, text, bias = alignment.pairs
    receiver = torch.cat([frame, text])  # (2 P,)
    products = [(look_up(query, a) * look_up(key, b)).sum(-1, dtype=wide) for a, b in both_ways(frame, text)]
    logits = torch.cat(products) * scaling + bias.repeat(2)[:, None]  # (2 P, H)
    # Softmax in parts: exp(logit - top) / sum of exp(logit - top), top the greatest logit of each receiver
    with torch.no_grad():
        top = logits.new_full((batch * length, heads), lowest)
        top = top.scatter_reduce(0, receiver[:, None].expand_as(logits), logits, "amax")  # (B L, H)
    weights = (logits - top[receiver]).exp()
    total = torch.zeros_like(top).index_add(0, receiver, weights).clamp(min=1)  # at least 1 where there is a pair
    # top + log(total) = log of the summed exponentials
    return (top + total.log()).view(batch, length, heads), weights / total[receiver]


def add_pairs(
    output: Tensor, value: Tensor, weights: Tensor | None, alignment: Alignment, share: Tensor | None = None
) -> None:
    """Add the values of each token's pairs to its output.

    Args:
        output (`torch.Tensor` of shape `(B, L, H, W)`): What is added to, contiguous.
        value (`torch.Tensor` of shape `(B, L, H, W)`): The values.
        weights (`torch.Tensor` of shape `(2 P, H)`): From `pair_weights`.
        alignment (`Alignment`): Who sees whom.
        share (`torch.Tensor` of shape `(B, L, H)`, *optional*): Factor of all that is added to a token.
    """
    if alignment.pairs is None or weights is None:
        return
    ways, rows = both_ways(*alignment.pairs[:2]), output.view(-1, output.shape[2] * output.shape[3])  # (B L, D)
    for (to, source), weight in zip(ways, torch.split(weights, [len(to) for to, _ in ways]), strict=True):
        weight = weight if share is None else weight * share.flatten(0, 1)[to]
        rows.index_add_(0, to, (weight[..., None] * look_up(value, source)).flatten(1))


def both_ways(frame: Tensor, text: Tensor) -> list[tuple[Tensor, Tensor]]:
    """List who looks at whom, in parts: a pair counts twice, its frame looks at its text, and the text at the frame."""
    size = max(1, len(frame)) if torch.is_grad_enabled() else PAIRS_AT_ONCE
    frames, texts = torch.split(frame, size), torch.split(text, size)
    return [*zip(frames, texts, strict=True), *zip(texts, frames, strict=True)]


def look_up(x: Tensor, tokens: Tensor) -> Tensor:
    """Look up rows of (B, L, H, W), (P, H, W), in a way whose gradient is fast on CPU."""
    return F.embedding(tokens, x.flatten(0, 1).flatten(1)).view(-1, *x.shape[2:])


def channels(sink: Tensor, alignment: Alignment, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Make the channels for the sink and for what is hidden.

    Args:
        sink (`torch.Tensor` of shape `(B, L, H)`): Logit of each token's sink, before scaling.
        alignment (`Alignment`): Kinds of tokens, and what is hidden from them.
        like (`torch.Tensor`): Gives dtype and device.

    Returns:
        More channels for the queries `(B, L, H, E)`, for the keys `(B, L, H, E)` and for the sink's key `(B, 1, H, E)`.
    """
    # logit of a key = query . key + sink x 0 + kind . (lowest x hidden): lowest where the key is hidden from the kind
    # logit of the sink = query . 0 + sink x 1 + kind . 0
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
    """Attend with the sink as one more key.

    Args:
        query (`torch.Tensor` of shape `(B, n, H, W + E)`): With the channels of `channels`.
        key (`torch.Tensor` of shape `(B, n, H, W + E)`): With the channels of `channels`.
        value (`torch.Tensor` of shape `(B, n, H, W)`): Without.
        sink_key (`torch.Tensor` of shape `(B, 1, H, E)`): From `channels`.
        scaling (`float`): Factor of the logits.

    Returns:
        `torch.Tensor` of shape `(B, n, H, W + E)`; channel W is the weight of the sink.
    """
    extra = sink_key.shape[-1]
    key = torch.cat([key, F.pad(sink_key, (key.shape[-1] - extra, 0))], dim=1)  # (B, n + 1, H, W + E)
    # The sink's value is 1 in channel W, where that of the others is 0: the output's channel W is the sink's weight
    value = torch.cat(
        [F.pad(value, (0, extra)), F.pad(torch.ones_like(value[:, :1, :, :1]), (value.shape[-1], extra - 1))], dim=1
    )
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2)


def by_modality(first_text: int, *tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Split tensors (B, L, ...) into the video's tokens, then the text's."""
    return zip(*(torch.split(x, [first_text, x.shape[1] - first_text], dim=1) for x in tensors), strict=True)


def fused_on_cpu(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, *, scaling: float) -> list[Tensor]:
    """Run the CPU's fused kernel over one modality.

    Query, key and value are (B, n, H, W); `bias` is the additive mask of the keys, (B, n).

    Returns:
        The output `(B, n, H, W)`, and the log of the summed exponentials of each query's logits, `(B, n, H)`.
    """
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))  # (B, H, n, W)
    found = CPU_FUSED(query, key, value, attn_mask=bias[:, None, None], scale=scaling)
    return [x.transpose(1, 2) for x in found]


def fused_on_cpu_backward(*tensors: Tensor, bias: Tensor, scaling: float) -> list[Tensor]:
    """Run the backward pass of the CPU's fused kernel.

    Args:
        tensors: Gradient of the output, query, key, value, output (B, n, H, W) each, and log of the summed exponentials
            (B, n, H).
        bias (`torch.Tensor` of shape `(B, n)`): Additive mask of the keys.
        scaling (`float`): Factor of the logits.

    Returns:
        The gradients of query, key and value, `(B, n, H, W)` each.
    """
    by_head = [x.transpose(1, 2) for x in tensors]
    found = CPU_FUSED_BACKWARD(*by_head, 0.0, False, attn_mask=bias[:, None, None], scale=scaling)
    return [x.transpose(1, 2) for x in found]


class MergedAttention(torch.autograd.Function):
    """Attention of the child level by the CPU's fused kernel.

    The kernel runs over each modality, and the list of pairs is attended beside it. The parts are merged by the logs of
    their summed exponentials. The kernel's backward pass, given the merged output and logs in place of its own,
    computes its part of the gradient; that of the pairs is written out.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float, alignment: Alignment) -> Tensor:
        """Merge the attention over the own modality with that over the pairs."""
        hidden = alignment.hidden[..., 0]
        mask = torch.zeros_like(hidden, dtype=query.dtype).masked_fill(hidden, -torch.inf)
        halves = by_modality(alignment.first_text, query, key, value, mask)
        parts = [fused_on_cpu(*part, scaling=scaling) for part in halves]
        output, fused = (torch.cat(both, dim=1) for both in zip(*parts, strict=True))
        del parts  # and below in place, for memory
        listed, weights = pair_weights(query, key, scaling, alignment)
        # out = w a + (1 - w) b with a, b the two parts' outputs and w = sigmoid(lse_a - lse_b), which is
        # exp(lse_a - lse), lse = log(exp(lse_a) + exp(lse_b)) the log of the whole softmax's denominator
        total = torch.logaddexp(fused, listed)  # (B, L, H)
        output = output.to(total.dtype).mul_((fused - total).exp()[..., None])
        add_pairs(output, value, weights, alignment, (listed - total).exp())
        output = output.to(query.dtype)
        ctx.save_for_backward(query, key, value, mask, output, total, *(alignment.pairs or ()))
        ctx.scaling, ctx.first_text = scaling, alignment.first_text
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Add the gradient of the pairs to that of the fused kernel."""
        query, key, value, mask, output, total, *pairs = ctx.saved_tensors
        # With z_ij = scaling q_i . k_j, p_ij = exp(z_ij - lse_i) and out_i = sum_j p_ij v_j, given g = d loss / d out:
        #   d v_j = sum_i p_ij g_i          d z_ij = p_ij g_i . (v_j - out_i)
        #   d q_i = scaling sum_j d z_ij k_j        d k_j = scaling sum_i d z_ij q_i
        # The terms of one key j need no other key, only out_i and lse_i of the whole softmax: the kernel computes those
        # of its own modality as if the whole had been its own, and those of the pairs are added.
        halves = by_modality(ctx.first_text, grad, query, key, value, output, total, mask)
        parts = [fused_on_cpu_backward(*part, bias=bias, scaling=ctx.scaling) for *part, bias in halves]
        grads = [torch.cat(both, dim=1) for both in zip(*parts, strict=True)]
        if pairs:
            frame, text, bias = pairs
            receiver, sender = torch.cat([frame, text]), torch.cat([text, frame])
            query, output, grad = (x.flatten(0, 1)[receiver].to(total.dtype) for x in (query, output, grad))
            key, value = (x.flatten(0, 1)[sender].to(total.dtype) for x in (key, value))  # (2 P, H, W) each
            logits = (query * key).sum(-1) * ctx.scaling + bias.repeat(2)[:, None]  # z, (2 P, H)
            weights = (logits - total.flatten(0, 1)[receiver]).exp()[..., None]  # p, (2 P, H, 1)
            rise = weights * (grad * (value - output)).sum(-1, keepdim=True) * ctx.scaling  # scaling d z, (2 P, H, 1)
            for whole, rows, more in zip(
                grads, (receiver, sender, sender), (rise * key, rise * query, weights * grad), strict=True
            ):
                whole.flatten(0, 1).index_add_(0, rows, more.to(whole.dtype))
        return *grads, None, None


def attend(query: Tensor, key: Tensor, value: Tensor, scaling: float, alignment: Alignment) -> Tensor:
    """Attend as under `alignment_mask`.

    Rows of padded queries mean nothing.

    Args:
        query (`torch.Tensor` of shape `(B, L, H, W)`): One row for each token and head.
        key (`torch.Tensor` of shape `(B, L, H, W)`): The same.
        value (`torch.Tensor` of shape `(B, L, H, W)`): The same.
        scaling (`float`): Factor of the logits.
        alignment (`Alignment`): From `align`.

    Returns:
        `torch.Tensor` of shape `(B, L, H, W)`.
    """
    if alignment.split and query.device.type == "cpu" and CPU_FUSED:
        apply: Any = MergedAttention.apply  # autograd gives it no types
        merged: Tensor = apply(query, key, value, scaling, alignment)
        return merged
    length, width = query.shape[1], query.shape[-1]
    total, weights = pair_weights(query, key, scaling, alignment)
    mean = value.new_zeros(value.shape, dtype=total.dtype)
    add_pairs(mean, value, weights, alignment)
    query_more, key_more, sink_key = channels(total / scaling, alignment, query)
    query, key = torch.cat([query, query_more], dim=-1), torch.cat([key, key_more], dim=-1)
    parts = [alignment.first_text, length - alignment.first_text] if alignment.split else [length]
    calls = zip(*(torch.split(x, parts, dim=1) for x in (query, key, value)), strict=True)
    output = torch.cat([fused_with_sink(q, k, v, sink_key, scaling) for q, k, v in calls], dim=1)
    # out = w a + (1 - w) b as in `MergedAttention`: the fused part is w a, for the sink took its weight 1 - w
    return (output[..., :width] + output[..., width : width + 1] * mean).to(output.dtype)
