"""Padded input of a network, with labels or without."""

import numpy as np
import torch


def random_batch(lengths=((9, 3), (5, 2)), seed: int = 0, dtype=torch.float32) -> dict[str, torch.Tensor]:
    """Padded input and labels for videos of (frames, texts); what lies under the padding is noise, not zeros."""
    rng = np.random.default_rng(seed)
    num_frames, num_texts = (max(length[i] for length in lengths) for i in (0, 1))
    video_mask = np.arange(num_frames) < np.array(lengths)[:, :1]
    text_mask = np.arange(num_texts) < np.array(lengths)[:, 1:]
    start = rng.integers(0, 4, (len(lengths), num_texts))
    arrays = {
        "video_features": rng.standard_normal((len(lengths), num_frames, 12)),
        "video_mask": video_mask,
        "text_features": rng.standard_normal((len(lengths), num_texts, 10)),
        "text_mask": text_mask,
        "text_spans": np.stack([start, start + rng.integers(1, 4, start.shape)], axis=-1),
        "frame_labels": np.where(video_mask, np.arange(num_frames) % 5 == 0, -100),
        "replay_scores": np.where(video_mask, rng.random(video_mask.shape), np.nan),
        "sentence_labels": np.where(text_mask, np.arange(num_texts) % 2 == 0, -100),
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}


def without_labels(batch: dict) -> dict:
    return {k: v for k, v in batch.items() if k not in ("frame_labels", "replay_scores", "sentence_labels")}
