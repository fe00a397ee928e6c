"""Make a HierSum checkpoint of a checkpoint of A2Summ's BLiSS network; both compute the same frame and sentence logits.

    python scripts/convert_a2summ_checkpoint.py downloads/a2summ_bliss.pth runs/a2summ

FILE is read without running anything in it: PyTorch's own format, or safetensors, with the weights alone or under
"model_state_dict", "state_dict" or "model". Prints what was mapped, started anew and left over, and keeps it in
OUT/README.md. What the file cannot tell are flags: the heads, and what made the features.
"""

import argparse
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hiersum_hf.datasets.readers.bliss import TEXT_DIM, TEXT_ENCODER, VIDEO_DIM, VIDEO_ENCODER
from hiersum_hf.files.atomic import aside
from hiersum_hf.files.escape import printable
from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel


# Ours: A2Summ's, whose rows follow each other
TABLES = {
    "encoder.embeddings.cls_token.weight": ("cls_token_video", "cls_token_text"),
    "encoder.embeddings.modality_type.weight": ("type_video", "type_text"),
    "encoder.embeddings.video_position.weight": ("pos_embed_video",),
    "encoder.embeddings.text_position.weight": ("pos_embed_text",),
    "encoder.embeddings.segment.weight": ("pos_embed_segment",),
}
PARTS = {
    "encoder.embeddings.video_projection": "proj_fc_video.0", "encoder.embeddings.text_projection": "proj_fc_text.0",
    "encoder.video_norm": "norm_video", "encoder.text_norm": "norm_text",
    "frame_head.hidden": "fc_video.0", "frame_head.output": "fc_video.3",
    "sentence_head.hidden": "fc_text.0", "sentence_head.output": "fc_text.3",
}  # fmt: skip
LAYER = {
    "attention_norm": "norm1_fused", "attention.q_proj": "attn_fusion.q", "attention.k_proj": "attn_fusion.k",
    "attention.v_proj": "attn_fusion.v", "attention.out_proj": "attn_fusion.m",
    "video_norm": "norm2_video", "video_mlp.fc1": "ffn_video.fc1", "video_mlp.fc2": "ffn_video.fc2",
    "text_norm": "norm2_text", "text_mlp.fc1": "ffn_text.fc1", "text_mlp.fc2": "ffn_text.fc2",
}  # fmt: skip
WHY = {
    "video_dim": "width of proj_fc_video.0",
    "text_dim": "width of proj_fc_text.0",
    "hidden_size": "rows of proj_fc_video.0",
    "num_layers": "layers of multiway_list",
    "share_layers": "whether all layers of multiway_list are equal",
    "num_attention_heads": "--heads; the file cannot tell, A2Summ's default is 8",
    "max_positions": "rows of pos_embed_video",
    "max_segments": "rows of pos_embed_segment",
    "position_embedding_type": "A2Summ learns its positions",
    "segment_offset": "A2Summ's text CLS token takes row 0, sentence j row j + 1, its frames row j",
    "segment_reduction": "A2Summ adds the rows of all sentences that cover a frame",
    "trained_levels": "A2Summ reads sentences, each with its own frames",
    "default_level": "the level it was trained at",
    "score_head": "A2Summ has no replay head",
}


def load_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, in float32; nothing in the file is run.

    Raises:
        OSError: No such file.
        ValueError: Not a checkpoint, or one that holds more than plain data.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        content: Any = load_safetensors(path)
    elif start.startswith((b"PK", b"\x80")):  # a zip archive, or a pickle as PyTorch wrote it before 1.6
        content = load_torch(path)
    else:
        raise ValueError(f"{path}: expected a PyTorch or safetensors checkpoint, found a file that begins {start!r}.")
    for key in ("model_state_dict", "state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        found = f"a dict of {', '.join(map(str, content))}" if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"{path}: expected a dict of named weights, found {found}.")
    return {str(k).removeprefix("module."): v.float() for k, v in content.items() if isinstance(v, Tensor)}


def load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            shared = file.metadata() or {}  # names of shared weights that are stored once
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a whole safetensors file: {error}") from None
    return weights | {name: weights[kept] for name, kept in shared.items() if kept in weights}


def load_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise ValueError(
            f"{path}: expected weights alone, found {found[1] if found else 'other things'}: refused, because loading "
            "it could run code. Where you trust it, save model.state_dict() alone."
        ) from None
    except Exception as error:  # broken files, TorchScript: torch raises many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path}: expected a whole PyTorch checkpoint, could not read it: {reason}") from None


def key_map(num_layers: int) -> dict[str, tuple[str, ...]]:
    """Names of our parameters: A2Summ's."""
    layers = {
        f"encoder.layers.{i}.{ours}": f"multiway_list.{i}.{theirs}"
        for i in range(num_layers)
        for ours, theirs in LAYER.items()
    }
    linears = {
        f"{ours}.{kind}": (f"{theirs}.{kind}",)
        for ours, theirs in (PARTS | layers).items()
        for kind in ("weight", "bias")
    }
    return TABLES | linears


def convert(state: Mapping[str, Tensor], heads: int) -> tuple[HierSumModel, dict[str, list[str]]]:
    """The network of a state dict, and the names that were `mapped`, started `anew` (ours) and are `left over`.

    Raises:
        ValueError: Names or shapes of another network, or weights that are not finite; the names are in the message.
    """
    num_layers = len({key.split(".")[1] for key in state if re.match(r"multiway_list\.\d+\.", key)})
    names = key_map(max(1, num_layers))
    theirs = {key for keys in names.values() for key in keys}
    complain("the weights of A2Summ's BLiSS network, missing", sorted(theirs - state.keys()))
    state = {key: value[0] if value.dim() == 3 and len(value) == 1 else value for key, value in state.items()}
    complain("finite weights, found NaN or infinity in", [key for key in theirs if not state[key].isfinite().all()])
    config = infer_config(state, num_layers, heads)
    if config.share_layers:
        names = key_map(1)
    torch.manual_seed(0)  # what starts anew is the same every time
    model = HierSumModel(config).eval()
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    wrong = []
    for name, sources in names.items():
        rows, *width = own[name]
        expected = (rows // len(sources), *width)
        for key in sources:
            if tuple(state[key].shape) != expected:
                wrong.append(f"{key} {tuple(state[key].shape)} instead of {expected}")
    complain("shapes that fit proj_fc_video.0, proj_fc_text.0 and pos_embed_video, found", wrong)
    weights = {name: torch.cat([state[key] for key in sources]) for name, sources in names.items()}
    anew = model.load_state_dict(weights, strict=False).missing_keys
    return model, {"mapped": sorted(theirs), "started anew": anew, "left over": sorted(state.keys() - theirs)}


def complain(expected: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        raise ValueError(f"expected {expected} {', '.join(sorted(names)[:6])}{more}.")


def infer_config(state: Mapping[str, Tensor], num_layers: int, heads: int) -> HierSumConfig:
    tables = ("proj_fc_video.0.weight", "proj_fc_text.0.weight", "pos_embed_video", "pos_embed_segment")
    complain("two dimensions in", [f"{key} {tuple(state[key].shape)}" for key in tables if state[key].dim() != 2])
    first = {key: value for key, value in state.items() if key.startswith("multiway_list.0.")}
    copies = [state[key.replace(".0.", f".{i}.", 1)].equal(first[key]) for key in first for i in range(1, num_layers)]
    return HierSumConfig(
        video_dim=state["proj_fc_video.0.weight"].shape[1],
        text_dim=state["proj_fc_text.0.weight"].shape[1],
        hidden_size=state["proj_fc_video.0.weight"].shape[0],
        num_layers=num_layers,
        share_layers=num_layers > 1 and all(copies),
        num_attention_heads=heads,
        max_positions=state["pos_embed_video"].shape[0],
        max_segments=state["pos_embed_segment"].shape[0],
        position_embedding_type="learned",
        segment_offset=1,
        segment_reduction="sum",
        trained_levels=["child"],
    )


def feature_extractor(
    config: HierSumConfig, video_encoder: str | None, text_encoder: str | None, fps: float
) -> HierSumFeatureExtractor:
    """A2Summ takes features as they are; those of BLiSS, unless other encoders are named.

    Raises:
        ValueError: A sample rate that is none, or widths that are not BLiSS's and no encoder named.
    """
    if not 0 < fps < float("inf"):
        raise ValueError(f"--sample-fps: expected a positive rate, found {fps}.")
    for side, width, bliss, given in (
        ("video", config.video_dim, VIDEO_DIM, video_encoder), ("text", config.text_dim, TEXT_DIM, text_encoder),
    ):  # fmt: skip
        if width != bliss and not given:
            raise ValueError(f"expected BLiSS's {side} features, {bliss} wide, found {width}: give --{side}-encoder.")
    return HierSumFeatureExtractor(
        video_encoder=video_encoder or VIDEO_ENCODER,
        text_encoder=text_encoder or TEXT_ENCODER,
        video_dim=config.video_dim,
        text_dim=config.text_dim,
        sample_fps=fps,
        normalize_features=False,
    )


def describe(source: Path, model: HierSumModel, extractor: HierSumFeatureExtractor, names: dict[str, list[str]]) -> str:
    """README.md: where the weights are from, what was decided, what was mapped; no figure was measured."""
    settings = "\n".join(f"| `{name}` | {getattr(model.config, name)} | {why} |" for name, why in WHY.items())
    unmapped = "\n".join(
        f"- {title}: {', '.join(f'`{name}`' for name in names[title]) or 'nothing'}"
        for title in ("started anew", "left over")
    )
    data = ModelCardData(library_name="hiersum-hf", license="unknown", tags=["video-summarization", "hiersum"])
    return f"""---
{data.to_yaml()}
---

# A2Summ's BLiSS network as a HierSum checkpoint

Converted from `{source.name}`. Its frame and sentence logits at child level are those of A2Summ. It has not been
measured, so there are no results here. The weights keep the terms of the file that they come from.

In: features of `{extractor.video_encoder}` ({extractor.video_dim} wide, {extractor.sample_fps:g} a second) and
`{extractor.text_encoder}` ({extractor.text_dim} wide, one row a sentence), not normalised. Encoders and rate were
given by whoever converted it or are those assumed for BLiSS; the file does not tell them.

| setting | value | why |
|---|---|---|
{settings}

Weights:

- mapped: {len(names["mapped"])} of A2Summ's, all that its network has
{unmapped}
"""


def write_checkpoint(output: Path, model: HierSumModel, extractor: HierSumFeatureExtractor, card: str) -> None:
    """The folder appears under its name when it is complete."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with aside(output) as partial:
        model.save_pretrained(partial)
        extractor.save_pretrained(partial)
        ModelCard(card).save(partial / "README.md")


def run(args: argparse.Namespace) -> str:
    if args.output.exists() and (not args.output.is_dir() or any(args.output.iterdir())):
        raise FileExistsError(f"{args.output}: expected a new or empty folder.")
    state = load_weights(args.file)
    try:
        model, names = convert(state, args.heads)
        extractor = feature_extractor(model.config, args.video_encoder, args.text_encoder, args.sample_fps)
    except (ValueError, StrictDataclassError) as error:
        raise ValueError(f"{args.file}: {error}") from None
    card = describe(args.file, model, extractor, names)
    write_checkpoint(args.output, model, extractor, card)
    return card[card.index("| setting") :]


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("file", type=Path, metavar="FILE", help="A2Summ's checkpoint")
    flags.add_argument("output", type=Path, metavar="OUT", help="folder for the checkpoint, new or empty")
    flags.add_argument("--heads", type=int, default=8, help="attention heads, which no shape tells (%(default)s)")
    flags.add_argument("--video-encoder", help=f"what made the frame features ({VIDEO_ENCODER})")
    flags.add_argument("--text-encoder", help=f"what made the sentence features ({TEXT_ENCODER})")
    flags.add_argument("--sample-fps", type=float, default=1.0, help="frames a second, an assumption (%(default)s)")
    args = flags.parse_args()
    try:
        report = run(args)
    except (ValueError, OSError) as error:
        print(f"convert_a2summ_checkpoint.py: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    print(f"{report}\nConverted checkpoint: {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
