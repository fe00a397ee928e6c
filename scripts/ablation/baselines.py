"""Simpler networks that a claim about HierSum must face, on the same features. Not given in the paper.

Both see, for every frame, the frame's own features, the mean of the subtitle sentences that cover it and the mean of
the description texts: (B, N, Dv + 2 Dt). Letters: B videos, N frames, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.losses_hiersum import focal_loss
from hiersum_hf.modeling.modeling_hiersum import cover_frames
from hiersum_hf.records import VideoRecord
from hiersum_hf.scoring.collator import HierSumCollator


LSTM_WIDTH = 32
EVAL_BATCH = 16


class LinearProbe(nn.Module):
    """One weight for each feature: a frame is judged by itself."""

    def __init__(self, in_dim: int):
        super().__init__()
        self.output = nn.Linear(in_dim, 1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        return self.output(features)[..., 0]


class FrameLSTM(nn.Module):
    """A bidirectional LSTM over the frames, `LSTM_WIDTH` wide in each direction."""

    def __init__(self, in_dim: int):
        super().__init__()
        self.lstm = nn.LSTM(in_dim, LSTM_WIDTH, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * LSTM_WIDTH, 1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.output(hidden)[..., 0]


BASELINES: dict[str, type[nn.Module]] = {"linear probe": LinearProbe, "lstm": FrameLSTM}


def train_baseline(
    name: str,
    extractor: HierSumFeatureExtractor,
    train: Sequence[VideoRecord],
    read: Sequence[VideoRecord],
    steps: int,
    training: Mapping[str, Any],
    seed: int,
) -> dict[str, np.ndarray]:
    """Trains a network of `BASELINES` on the frame labels with HierSum's focal loss, AdamW and batch size.

    Returns:
        (N,) scores of each video of `read`, by its id.
    """
    collator = HierSumCollator(extractor)
    model = BASELINES[name](extractor.video_dim + 2 * extractor.text_dim)
    optimizer = torch.optim.AdamW(model.parameters(), lr=training["learning_rate"])
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 5 * (1 - step / steps)))
    rng, size = np.random.default_rng(seed), min(training["per_device_train_batch_size"], len(train))
    for _ in range(steps):
        records = [train[i] for i in rng.choice(len(train), size, replace=False)]
        labels = collator([("child", record) for record in records])["frame_labels"]
        features, mask = frame_inputs(collator, records)
        loss = focal_loss(model(features, mask), labels, mask)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        falling.step()
    return _scores(model.eval(), collator, read)


def frame_inputs(collator: HierSumCollator, records: Sequence[VideoRecord]) -> tuple[Tensor, Tensor]:
    """(B, N, Dv + 2 Dt) what is known of each frame, and (B, N) which frames are real."""
    child, parent = (collator.inputs(records, level) for level in ("child", "parent"))
    frames, mask = child["video_features"], child["video_mask"]
    texts = [
        cover_frames(batch["text_features"], batch["text_spans"], batch["text_mask"], frames.shape[1], "mean")
        for batch in (child, parent)
    ]
    return torch.cat([frames, *texts], dim=-1), mask


@torch.no_grad()
def _scores(model: nn.Module, collator: HierSumCollator, records: Sequence[VideoRecord]) -> dict[str, np.ndarray]:
    found = {}
    for first in range(0, len(records), EVAL_BATCH):
        batch = records[first : first + EVAL_BATCH]
        for record, logits in zip(batch, model(*frame_inputs(collator, batch)), strict=True):
            found[record.video_id] = torch.sigmoid(logits[: len(record.frame_times_s)]).double().numpy()
    return found
