"""A2Summ's BLiSS network, of random weights."""

import torch


D, DV, DT, LAYERS, HEADS, ROWS = 32, 12, 10, 3, 8, 40


def random_state(shared=False, dv=DV, dt=DT):
    """Names and shapes of A2Summ's BLiSS network, random values."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return 0.3 * torch.randn(shape, generator=generator)

    state = {f"{table}_{side}": draw(1, 1, D) for table in ("cls_token", "type") for side in ("video", "text")}
    state |= {f"pos_embed_{name}": draw(1, ROWS, D) for name in ("video", "text", "segment")}

    def add(name, *shape):
        state[f"{name}.weight"], state[f"{name}.bias"] = draw(*shape), draw(shape[0])

    for side, width in (("video", dv), ("text", dt)):
        add(f"proj_fc_{side}.0", D, width)
        add(f"norm_{side}", D)
        add(f"fc_{side}.0", D, D)
        add(f"fc_{side}.3", 1, D)
    for i in range(LAYERS):
        for name in ("norm1_fused", "norm2_video", "norm2_text"):
            add(f"multiway_list.{i}.{name}", D)
        for name in "qkvm":
            add(f"multiway_list.{i}.attn_fusion.{name}", D, D)
        for side in ("video", "text"):
            add(f"multiway_list.{i}.ffn_{side}.fc1", 4 * D, D)
            add(f"multiway_list.{i}.ffn_{side}.fc2", D, 4 * D)
    if shared:
        first = {key: value for key, value in state.items() if key.startswith("multiway_list.0.")}
        state |= {key.replace(".0.", f".{i}.", 1): first[key] for key in first for i in range(1, LAYERS)}
    return state
