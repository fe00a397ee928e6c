"""Shared pieces: a tiny network, its input, the demo set on random projections, and the real test data."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.synthetic import features as synthetic


CACHE = tempfile.TemporaryDirectory(prefix="hiersum-tests-")
os.environ["HF_DATASETS_CACHE"] = CACHE.name  # not the user's, which grows with every run


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real data that is not part of the project."""
    folder = os.environ.get("HIERSUM_TEST_DATA")
    if not folder:
        pytest.skip("HIERSUM_TEST_DATA is not set: no real data here")
    return Path(folder)


def tiny_config(**changes) -> HierSumConfig:
    sizes = {"video_dim": 12, "text_dim": 10, "hidden_size": 16, "num_layers": 2, "num_attention_heads": 4}
    return HierSumConfig(**sizes | {"intra_weight": 0.1, "replay_weight": 1.0} | changes)


def tiny_model(attn: str = "sdpa", seed: int = 0, **changes) -> HierSumModel:
    torch.manual_seed(seed)
    return HierSumModel._from_config(tiny_config(**changes), attn_implementation=attn).eval()


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


@pytest.fixture(scope="session")
def demo_records():
    """60 videos of the demo's latent process with random projections for features."""
    bank, embed, encoders = synthetic.random_features()
    return [synthetic.to_record(synthetic.make_video(i), bank, embed, encoders) for i in range(60)]


@pytest.fixture(scope="session")
def demo_extractor() -> HierSumFeatureExtractor:
    return HierSumFeatureExtractor("random-projection", "random-projection", 32, 32, synthetic.SAMPLE_FPS)
