"""LoRA adapters on the attention and FFN of a trained network.

The weights of the network itself stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from peft import LoraConfig, PeftModel, get_peft_model

from hiersum_hf.modeling.modeling_hiersum import HierSumModel


TARGETS = r"encoder\.layers\.\d+\.(attention\.(q|k|v|out)_proj|(video|text)_mlp\.fc[12])"
HEADS = ("frame_head", "replay_head", "sentence_head", "linear_path")


def add_lora(
    model: HierSumModel, r: int, alpha: int | None = None, dropout: float = 0.0, renewed: Sequence[str] = ()
) -> PeftModel:
    """Add an adapter to the network; train it and the heads alone.

    Not given in the paper.

    Args:
        model: A trained network.
        r: Rank of the update of each Linear of the attention and the FFN.
        alpha: The update counts `alpha / r`; default `2 * r`.
        dropout: Before the update.
        renewed: Parameters that started anew, as `from_checkpoint.load_for_transfer` lists them: their modules are
            trained in full, like the heads.
    """
    # "encoder.embeddings.video_projection.weight" -> "video_projection", as peft names modules.
    modules = {name.split(".")[-2] for name in renewed}
    config = LoraConfig(
        r=r,
        lora_alpha=2 * r if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=TARGETS,
        modules_to_save=sorted(modules.union(head for head in HEADS if hasattr(model, head))),
    )
    return get_peft_model(model, config)


def trained_weights(model: PeftModel) -> tuple[int, int, int]:
    """Count the weights of an adapted network.

    Returns:
        Weights of the adapter, weights trained in full, and weights of the network itself.
    """
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    adapter = sum(size for name, size in sizes.items() if ".lora_" in name)
    full = sum(size for name, size in sizes.items() if ".modules_to_save." in name)
    return adapter, full, sum(sizes.values()) - adapter - full
