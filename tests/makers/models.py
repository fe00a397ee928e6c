"""Networks small enough for a test."""

import torch

from hiersum_hf import HierSumConfig, HierSumModel


def tiny_config(**changes) -> HierSumConfig:
    sizes = {"video_dim": 12, "text_dim": 10, "hidden_size": 16, "num_layers": 2, "num_attention_heads": 4}
    return HierSumConfig(**sizes | {"intra_weight": 0.1, "replay_weight": 1.0} | changes)


def tiny_model(attn: str = "sdpa", seed: int = 0, **changes) -> HierSumModel:
    torch.manual_seed(seed)
    return HierSumModel._from_config(tiny_config(**changes), attn_implementation=attn).eval()


def small_model(**changes):
    torch.manual_seed(0)
    sizes = {"video_dim": 32, "text_dim": 32, "hidden_size": 32, "num_layers": 1, "num_attention_heads": 4}
    return HierSumModel(HierSumConfig(**sizes | {"head_dropout": 0.1} | changes))
