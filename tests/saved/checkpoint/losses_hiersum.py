"""The loss terms of HierSum as pure tensor functions.

Letters: B videos, L positions (frames or sentences), D width. All arithmetic is float32 and every function is finite
for finite input; a term without anything to learn from is 0. Labels are 1, 0 or -100 (none).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


IGNORE_LABEL = -100
MAX_LOGIT_SCALE = 100.0


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is true; 0 where it is true nowhere."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def focal_loss(logits: Tensor, labels: Tensor, mask: Tensor, gamma: float = 2.0, alpha: float | None = None) -> Tensor:
    r"""
    Focal loss, averaged over the valid positions of the batch: alpha_t (1 - p_t)^gamma (-log p_t).

    With `alpha=None` alpha_t is 0.5, the closed form of A2Summ's two-class loss (not given in the paper). -log p_t is a
    softplus, so that a confidently wrong position keeps its gradient.

    Args:
        logits (`torch.Tensor` of shape `(B, L)`): Importance before the sigmoid.
        labels (`torch.Tensor` of shape `(B, L)`): 1, 0, or -100 for none.
        mask (`torch.BoolTensor` of shape `(B, L)`): Real positions.
    """
    logits = logits.float()
    positive = labels == 1
    signed = torch.where(positive, logits, -logits)
    alpha_t = 0.5 if alpha is None else torch.where(positive, alpha, 1.0 - alpha)
    loss = alpha_t * torch.sigmoid(-signed).pow(gamma) * F.softplus(-signed)
    return masked_mean(loss, mask & (labels != IGNORE_LABEL))


def replay_mse_loss(predicted: Tensor, replay_scores: Tensor, mask: Tensor) -> Tensor:
    """Squared error of the regressed replay scores, (B, N) each, averaged over valid frames that have one (not NaN)."""
    known = torch.isfinite(replay_scores)
    target = torch.where(known, replay_scores, 0.0).float()
    return masked_mean((predicted.float() - target).square(), mask & known)


def same_text(text_features: Tensor, text_mask: Tensor) -> Tensor:
    """(B, B) bool: which videos of the batch have the same text, judged by the sum of its features (B, M, Dt)."""
    signature = torch.where(text_mask[..., None], text_features.float(), 0.0).sum(dim=1)  # (B, Dt)
    distance = (signature[:, None] - signature[None]).abs().amax(dim=-1)
    return distance <= 1e-6 * signature.abs().amax()


def inter_contrast_loss(
    video_embedding: Tensor, text_embedding: Tensor, logit_scale: Tensor, has_text: Tensor, duplicates: Tensor
) -> Tensor:
    r"""
    Inter-modality contrast: symmetric InfoNCE between the CLS embeddings of the videos of a batch.

    Videos without text take no part; two videos with the same text are no negatives of each other (not given in the
    paper: duplicated descriptions are common). One video alone gives 0.

    Args:
        video_embedding (`torch.Tensor` of shape `(B, D)`): CLS_V.
        text_embedding (`torch.Tensor` of shape `(B, D)`): CLS_T.
        logit_scale (`torch.Tensor`, scalar): Log of the scale; its exponential is held at 100.
        has_text (`torch.BoolTensor` of shape `(B,)`): Videos that take part.
        duplicates (`torch.BoolTensor` of shape `(B, B)`): Pairs with the same text.
    """
    video, text = (F.normalize(x.float(), dim=-1) for x in (video_embedding, text_embedding))
    logits = logit_scale.float().exp().clamp(max=MAX_LOGIT_SCALE) * video @ text.T  # (B, B)
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    pairs = own | (has_text[:, None] & has_text[None] & ~duplicates)
    logits = logits.masked_fill(~pairs, torch.finfo(logits.dtype).min)
    target = logits.diagonal()
    both_ways = 0.5 * (logits.logsumexp(dim=1) + logits.logsumexp(dim=0)) - target
    return masked_mean(both_ways, has_text)


def _labelled_mean(embeddings: Tensor, positive: Tensor) -> Tensor:
    """(B, L, D), (B, L) -> (B, D): mean embedding of the positive positions, 0 where there are none."""
    weights = positive.float()
    return torch.einsum("bl,bld->bd", weights, embeddings.float()) / weights.sum(1, keepdim=True).clamp(min=1)


def hard_negatives(
    scores: Tensor, positive: Tensor, mask: Tensor, ratio: int = 16, dilation: int = 4
) -> tuple[Tensor, Tensor]:
    r"""
    The k = max(1, length // ratio) highest-scored positions of each video that lie more than `dilation` away from every
    positive one.

    Args:
        scores (`torch.Tensor` of shape `(B, L)`): Importance logits; no gradient passes through the choice.
        positive (`torch.BoolTensor` of shape `(B, L)`): Positive positions.
        mask (`torch.BoolTensor` of shape `(B, L)`): Real positions.

    Returns:
        Indices and validity, both of shape `(B, K)`, K = max(1, L // ratio).
    """
    near = F.max_pool1d(positive.float()[:, None], 2 * dilation + 1, stride=1, padding=dilation)[:, 0] > 0
    candidates = mask & ~near
    scores = scores.detach().float().masked_fill(~candidates, -torch.inf)
    top, index = scores.topk(max(1, scores.shape[1] // ratio), dim=1)
    wanted = (mask.sum(1, keepdim=True) // ratio).clamp(min=1)  # (B, 1)
    rank = torch.arange(index.shape[1], device=index.device)
    return index, (rank < wanted) & torch.isfinite(top)


def intra_contrast_loss(
    query: Tensor, positive: Tensor, negatives: Tensor, negative_mask: Tensor, usable: Tensor, logit_scale: Tensor
) -> Tensor:
    r"""
    Intra-modality contrast of one side: the mean key embedding of a modality against that of the other modality, with
    hard negatives from its own.

    Args:
        query (`torch.Tensor` of shape `(B, D)`): Mean embedding of the positive positions.
        positive (`torch.Tensor` of shape `(B, D)`): The same of the other modality.
        negatives (`torch.Tensor` of shape `(B, K, D)`): Hard negatives of the query's modality.
        negative_mask (`torch.BoolTensor` of shape `(B, K)`): Real negatives.
        usable (`torch.BoolTensor` of shape `(B,)`): Videos that have a query and a positive; the others count as 0.
        logit_scale (`torch.Tensor`, scalar): Log of the scale; its exponential is held at 100.
    """
    query, positive, negatives = (F.normalize(x.float(), dim=-1) for x in (query, positive, negatives))
    scale = logit_scale.float().exp().clamp(max=MAX_LOGIT_SCALE)
    positive_logit = scale * (query * positive).sum(-1, keepdim=True)  # (B, 1)
    negative_logits = scale * torch.einsum("bd,bkd->bk", query, negatives)
    negative_logits = negative_logits.masked_fill(~negative_mask, torch.finfo(torch.float32).min)
    loss = torch.cat([positive_logit, negative_logits], dim=1).logsumexp(1) - positive_logit[:, 0]
    return torch.where(usable & negative_mask.any(1), loss, 0.0).mean()


def video_text_intra_loss(
    frames: Tensor, frame_logits: Tensor, frame_positive: Tensor, video_mask: Tensor,
    sentences: Tensor, sentence_logits: Tensor | None, sentence_positive: Tensor, text_mask: Tensor,
    logit_scale: Tensor, ratio: int = 16, dilation: int = 4,
) -> Tensor:  # fmt: skip
    r"""
    Intra-modality contrast with hard negatives: the mean of the video side and the text side.

    Without `sentence_logits` (parent level) only the video side is left, against the mean of `sentence_positive`.

    Args:
        frames, sentences (`torch.Tensor` of shape `(B, N, D)` and `(B, M, D)`): Output embeddings.
        frame_logits, sentence_logits (`torch.Tensor` of shape `(B, N)` and `(B, M)`): Importance before the sigmoid.
        frame_positive, sentence_positive (`torch.BoolTensor`): Key frames and key sentences.
        video_mask, text_mask (`torch.BoolTensor`): Real positions with a label: where hard negatives may come from.
    """
    if sentences.shape[1] == 0:
        return frames.new_zeros((), dtype=torch.float32)
    video_key, text_key = _labelled_mean(frames, frame_positive), _labelled_mean(sentences, sentence_positive)
    usable = frame_positive.any(1) & sentence_positive.any(1)

    def side(query, key, embeddings, logits, positive, mask):
        index, valid = hard_negatives(logits, positive, mask, ratio, dilation)
        chosen = embeddings.gather(1, index[..., None].expand(-1, -1, embeddings.shape[-1]))
        return intra_contrast_loss(query, key, chosen, valid, usable, logit_scale)

    video_side = side(video_key, text_key, frames, frame_logits, frame_positive, video_mask)
    if sentence_logits is None:
        return video_side
    text_side = side(text_key, video_key, sentences, sentence_logits, sentence_positive, text_mask)
    return 0.5 * (video_side + text_side)
