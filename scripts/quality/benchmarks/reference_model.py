"""The network as A2Summ's published structure computes it, with this package's weights, for the part attention.

The mask is filled in a loop over the batch, turned into 0 and -inf and repeated for every head; attention is two
batched products with the softmax and a dropout on the weights between them; hard negatives are chosen video by video
and item by item.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.ndimage import binary_dilation
from torch import Tensor

from hiersum_hf import HierSumConfig, HierSumModel
from hiersum_hf.modeling.losses_hiersum import focal_loss, inter_contrast_loss
from hiersum_hf.modeling.modeling_hiersum import HierSumAttention, HierSumEncoder


class ReferenceAttention(HierSumAttention):
    """Weights of (B H, L, L) in full; `attention_mask` is (B, L, L) of 0 and 1."""

    weight_dropout = 0.1

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, **kwargs) -> tuple[Tensor, None]:
        batch, length, width = hidden_states.shape
        heads = width // self.head_dim
        query, key, value = (
            proj(hidden_states).view(batch, length, heads, -1).transpose(1, 2).reshape(batch * heads, length, -1)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        bias = torch.zeros(attention_mask.shape, device=query.device).masked_fill(attention_mask == 0, -torch.inf)
        weights = torch.bmm(query, key.transpose(1, 2)) * self.scaling + bias.repeat_interleave(heads, dim=0)
        weights = F.dropout(weights.softmax(dim=-1), self.weight_dropout, self.training)
        output = torch.bmm(weights, value).view(batch, heads, length, -1).transpose(1, 2)
        return self.out_proj(output.reshape(batch, length, width)), None


class ReferenceEncoder(HierSumEncoder):
    def _attention_mask(self, hidden_states, video_mask, text_mask, text_spans, level, num_pairs) -> Tensor:
        batch, length = hidden_states.shape[:2]
        first_text = 1 + video_mask.shape[1]
        mask = torch.zeros(batch, length, length, dtype=torch.long, device=hidden_states.device)
        for video in range(batch):
            frames, texts = int(video_mask[video].sum()), int(text_mask[video].sum())
            mask[video, :first_text, : 1 + frames] = 1
            mask[video, first_text:, first_text : first_text + 1 + texts] = 1
            for text, (start, end) in enumerate(text_spans[video, :texts].tolist()):
                token = first_text + 1 + text
                mask[video, 1 + start : 1 + end, token] = 1
                mask[video, token, 1 + start : 1 + end] = 1
        return mask


class ReferenceModel(HierSumModel):
    """The same weights, outputs and child-level loss as `HierSumModel` where dropout is off."""

    def __init__(self, config: HierSumConfig):
        super().__init__(config)
        self.encoder = ReferenceEncoder(config)
        for layer in self.encoder.layers:
            layer.attention = ReferenceAttention(config)

    def _losses(
        self,
        output,
        frames,
        texts,
        video_mask,
        text_mask,
        frame_labels,
        replay_scores,
        sentence_labels,
        duplicates,
        level,
    ) -> dict[str, Tensor]:
        sides = (
            (frames, output.frame_logits, frame_labels, video_mask),
            (texts, output.sentence_logits, sentence_labels, text_mask),
        )
        losses = {
            name: focal_loss(logits, labels, mask)
            for name, (_, logits, labels, mask) in zip(("frame_focal", "sentence_focal"), sides, strict=True)
        }
        losses["inter"] = inter_contrast_loss(
            output.video_embedding, output.text_embedding, self.inter_logit_scale, text_mask.any(1), duplicates
        )
        terms = [self._intra_of_one([[x[video] for x in side] for side in sides]) for video in range(len(frames))]
        losses["intra"] = torch.stack(terms).mean()
        return losses

    def _intra_of_one(self, sides) -> Tensor:
        """Both sides' contrast of one video; each side: embeddings (n, D), logits, labels and mask (n,)."""
        keys = [embeddings[(labels == 1) & mask].mean(0) for embeddings, _, labels, mask in sides]
        total = sides[0][0].sum() * 0
        for (embeddings, logits, labels, mask), key, other in zip(sides, keys, keys[::-1], strict=True):
            chosen = self._hard_negatives(logits[mask], labels[mask])
            if not chosen or key.isnan().any() or other.isnan().any():
                continue
            against = torch.stack([other, *(embeddings[i] for i in chosen)])
            logits = self.intra_logit_scale.exp().clamp(max=100) * F.cosine_similarity(key[None], against)
            total = total + 0.5 * F.cross_entropy(logits[None], torch.zeros(1, dtype=torch.long, device=logits.device))
        return total

    def _hard_negatives(self, logits: Tensor, labels: Tensor) -> list[int]:
        near = binary_dilation((labels == 1).cpu().numpy(), iterations=self.config.negative_dilation)
        chosen: list[int] = []
        for i in logits.argsort(descending=True):
            if not near[i.item()]:
                chosen.append(int(i.item()))
            if len(chosen) == max(1, len(logits) // self.config.negative_ratio):
                break
        return chosen
