"""Loss terms of HierSum (paper, section 3) as pure tensor functions.

Letters: B videos, N frames, M sentences, L positions (N or M), K hard negatives, D width. All arithmetic is float32 and
every function is finite for finite input; a term without anything to learn from is 0. Labels are 1, 0 or -100 (none).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


IGNORE_LABEL = -100
MAX_LOGIT_SCALE = 100.0
CONSTANT = 1e-10  # a variance below it is one of rounding


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average values where the mask is true, 0 without such a place."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def focal_loss(logits: Tensor, labels: Tensor, mask: Tensor, gamma: float = 2.0, alpha: float | None = None) -> Tensor:
    """Compute the focal loss, averaged over the labelled positions of the batch.

    alpha_t (1 - p_t)^gamma (-log p_t), p_t the probability of the true class. With `alpha=None` alpha_t is 0.5, the
    closed form of A2Summ's two-class loss (not given in the paper).

    Args:
        logits (`torch.Tensor` of shape `(B, L)`): Importance before the sigmoid.
        labels (`torch.Tensor` of shape `(B, L)`): 1, 0, or -100 for none.
        mask (`torch.BoolTensor` of shape `(B, L)`): Real positions.
        gamma (`float`): Focusing exponent.
        alpha (`float`, *optional*): Weight of the positive class; the negative one has 1 - alpha.
    """
    # With z = logit where the label is 1 and -logit where it is 0: p_t = sigmoid(z), 1 - p_t = sigmoid(-z),
    # -log p_t = softplus(-z), which keeps the gradient of a confidently wrong position (a clamped log loses it).
    logits = logits.float()
    positive = labels == 1
    signed = torch.where(positive, logits, -logits)
    alpha_t = 0.5 if alpha is None else torch.where(positive, alpha, 1.0 - alpha)
    loss = alpha_t * torch.sigmoid(-signed).pow(gamma) * F.softplus(-signed)
    return masked_mean(loss, mask & (labels != IGNORE_LABEL))


def replay_mse_loss(predicted: Tensor, replay_scores: Tensor, mask: Tensor) -> Tensor:
    """Compute the squared error of the regressed replay scores.

    (predicted - score)^2, both of shape (B, N), averaged over the real frames that have a score (not NaN).
    """
    known = torch.isfinite(replay_scores)
    target = torch.where(known, replay_scores, 0.0).float()
    return masked_mean((predicted.float() - target).square(), mask & known)


def score_correlation_loss(logits: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Compute 1 - Pearson's correlation of frame logits with frame scores, averaged over videos.

    A video's level and scale do not matter. Not given in the paper. A video whose scores or logits are constant counts
    0; one without a score does not count.

    Args:
        logits (`torch.Tensor` of shape `(B, N)`): Importance before the sigmoid.
        scores (`torch.Tensor` of shape `(B, N)`): What people gave, on any scale; NaN = none.
        mask (`torch.BoolTensor` of shape `(B, N)`): Real frames.
    """
    x, y, known = _centred(logits, scores, mask)
    # 1 - sum(x y) / sqrt(sum(x^2) sum(y^2)) over the frames of a video
    varied = torch.minimum(x.square().sum(1), y.square().sum(1)) > CONSTANT * known.sum(1)  # (B,)
    product = torch.where(varied, x.square().sum(1) * y.square().sum(1), 1.0)
    loss = torch.where(varied, 1 - (x * y).sum(1) / product.sqrt(), 0.0)
    return masked_mean(loss, known.any(1))


def centered_mse_loss(logits: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Compute the squared error of frame logits with each video's mean taken off both, averaged over videos.

    Not given in the paper. Arguments as `score_correlation_loss` takes them.
    """
    x, y, known = _centred(logits, scores, mask)
    return masked_mean((x - y).square().sum(1) / known.sum(1).clamp(min=1), known.any(1))


def _centred(logits: Tensor, scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take each video's mean off logits and scores, (B, N), where there is a score; the rest is 0."""
    known = mask & torch.isfinite(scores)
    count = known.sum(1, keepdim=True).clamp(min=1)
    values = [torch.where(known, one.float(), 0.0) for one in (logits, scores)]
    x, y = (torch.where(known, one - one.sum(1, keepdim=True) / count, 0.0) for one in values)
    return x, y, known


def same_text(text_features: Tensor, text_mask: Tensor) -> Tensor:
    """Tell which videos of a batch have the same text.

    Not given in the paper. Judged by the sum of the text features (B, M, Dt).

    Returns:
        `torch.BoolTensor` of shape `(B, B)`.
    """
    signature = torch.where(text_mask[..., None], text_features.float(), 0.0).sum(dim=1)  # (B, Dt)
    distance = (signature[:, None] - signature[None]).abs().amax(dim=-1)  # (B, B)
    return distance <= 1e-6 * signature.abs().amax()


def inter_contrast_loss(
    video_embedding: Tensor, text_embedding: Tensor, logit_scale: Tensor, has_text: Tensor, duplicates: Tensor
) -> Tensor:
    """Contrast the videos of a batch with their texts.

    The inter-modality term: symmetric InfoNCE between the CLS embeddings. Videos without text take no part; two videos
    with the same text are no negatives of each other (not given in the paper: duplicated descriptions are common). One
    video alone gives 0.

    Args:
        video_embedding (`torch.Tensor` of shape `(B, D)`): CLS_V.
        text_embedding (`torch.Tensor` of shape `(B, D)`): CLS_T.
        logit_scale (`torch.Tensor`, scalar): Log of the scale; its exponential is held at 100.
        has_text (`torch.BoolTensor` of shape `(B,)`): Videos that take part.
        duplicates (`torch.BoolTensor` of shape `(B, B)`): Pairs with the same text.
    """
    video, text = (F.normalize(x.float(), dim=-1) for x in (video_embedding, text_embedding))
    # s_ij = exp(logit_scale) cos(v_i, t_j)
    logits = logit_scale.float().exp().clamp(max=MAX_LOGIT_SCALE) * video @ text.T  # (B, B)
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    pairs = own | (has_text[:, None] & has_text[None] & ~duplicates)
    logits = logits.masked_fill(~pairs, torch.finfo(logits.dtype).min)
    # 1/2 [-log softmax_j(s_ij) + -log softmax_j(s_ji)] at j = i: from the video to the texts, and back
    target = logits.diagonal()  # (B,)
    both_ways = 0.5 * (logits.logsumexp(dim=1) + logits.logsumexp(dim=0)) - target
    return masked_mean(both_ways, has_text)


def _labelled_mean(embeddings: Tensor, positive: Tensor) -> Tensor:
    """Average the embeddings (B, L, D) of the positive positions (B, L).

    Returns:
        `torch.Tensor` of shape `(B, D)`, 0 where a video has no positive position.
    """
    weights = positive.float()
    return torch.einsum("bl,bld->bd", weights, embeddings.float()) / weights.sum(1, keepdim=True).clamp(min=1)


def hard_negatives(
    scores: Tensor, positive: Tensor, mask: Tensor, ratio: int = 16, dilation: int = 4
) -> tuple[Tensor, Tensor]:
    """Choose the best-scored positions that are far from every positive one.

    Of each video the k = max(1, length // ratio) best that lie more than `dilation` away.

    Args:
        scores (`torch.Tensor` of shape `(B, L)`): Importance logits; no gradient passes through the choice.
        positive (`torch.BoolTensor` of shape `(B, L)`): Positive positions.
        mask (`torch.BoolTensor` of shape `(B, L)`): Real positions.
        ratio (`int`): One hard negative for this many positions.
        dilation (`int`): Positions on each side of a positive one that are never chosen.

    Returns:
        Indices and validity, both of shape `(B, K)`, K = max(1, L // ratio).
    """
    # A maximum over 2 dilation + 1 neighbours dilates the labels
    near = F.max_pool1d(positive.float()[:, None], 2 * dilation + 1, stride=1, padding=dilation)[:, 0] > 0
    candidates = mask & ~near
    scores = scores.detach().float().masked_fill(~candidates, -torch.inf)
    top, index = scores.topk(max(1, scores.shape[1] // ratio), dim=1)
    # K is that of the longest video; a shorter one uses the first k of its K
    wanted = (mask.sum(1, keepdim=True) // ratio).clamp(min=1)  # (B, 1)
    rank = torch.arange(index.shape[1], device=index.device)
    return index, (rank < wanted) & torch.isfinite(top)


def intra_contrast_loss(
    query: Tensor, positive: Tensor, negatives: Tensor, negative_mask: Tensor, usable: Tensor, logit_scale: Tensor
) -> Tensor:
    """Contrast a modality's key positions with hard negatives of its own.

    One side of the intra-modality term: InfoNCE of the mean key embedding, its positive that of the other modality.

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
    # -log [exp(s cos(q, p)) / (exp(s cos(q, p)) + sum_k exp(s cos(q, n_k)))], s = exp(logit_scale)
    positive_logit = scale * (query * positive).sum(-1, keepdim=True)  # (B, 1)
    negative_logits = scale * torch.einsum("bd,bkd->bk", query, negatives)  # (B, K)
    negative_logits = negative_logits.masked_fill(~negative_mask, torch.finfo(torch.float32).min)
    loss = torch.cat([positive_logit, negative_logits], dim=1).logsumexp(1) - positive_logit[:, 0]
    return torch.where(usable & negative_mask.any(1), loss, 0.0).mean()


def video_text_intra_loss(
    frames: Tensor,
    frame_logits: Tensor,
    frame_positive: Tensor,
    video_mask: Tensor,
    sentences: Tensor,
    sentence_logits: Tensor | None,
    sentence_positive: Tensor,
    text_mask: Tensor,
    logit_scale: Tensor,
    ratio: int = 16,
    dilation: int = 4,
) -> Tensor:
    """Contrast key frames and key sentences with hard negatives of either modality.

    The intra-modality term: the mean of the video side and the text side. Without `sentence_logits` (parent
    level) only the video side is left, against the mean of `sentence_positive`.

    Args:
        frames (`torch.Tensor` of shape `(B, N, D)`): Output embeddings.
        frame_logits (`torch.Tensor` of shape `(B, N)`): Importance before the sigmoid.
        frame_positive (`torch.BoolTensor` of shape `(B, N)`): Key frames.
        video_mask (`torch.BoolTensor` of shape `(B, N)`): Real frames with a label: hard negatives come from here.
        sentences (`torch.Tensor` of shape `(B, M, D)`): As `frames`.
        sentence_logits (`torch.Tensor` of shape `(B, M)`, *optional*): As `frame_logits`.
        sentence_positive (`torch.BoolTensor` of shape `(B, M)`): Key sentences.
        text_mask (`torch.BoolTensor` of shape `(B, M)`): As `video_mask`.
        logit_scale (`torch.Tensor`, scalar): Log of the scale; its exponential is held at 100.
        ratio (`int`): One hard negative for this many positions.
        dilation (`int`): Positions on each side of a positive one that are never hard negatives.
    """
    if sentences.shape[1] == 0:
        return frames.new_zeros((), dtype=torch.float32)
    video_key, text_key = _labelled_mean(frames, frame_positive), _labelled_mean(sentences, sentence_positive)
    usable = frame_positive.any(1) & sentence_positive.any(1)

    def side(query: Tensor, key: Tensor, embeddings: Tensor, logits: Tensor, positive: Tensor, mask: Tensor) -> Tensor:
        index, valid = hard_negatives(logits, positive, mask, ratio, dilation)
        chosen = embeddings.gather(1, index[..., None].expand(-1, -1, embeddings.shape[-1]))  # (B, K, D)
        return intra_contrast_loss(query, key, chosen, valid, usable, logit_scale)

    video_side = side(video_key, text_key, frames, frame_logits, frame_positive, video_mask)
    if sentence_logits is None:
        return video_side
    text_side = side(text_key, video_key, sentences, sentence_logits, sentence_positive, text_mask)
    return 0.5 * (video_side + text_side)
