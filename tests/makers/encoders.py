"""Encoders that need no weights, or have random ones."""

import json

import numpy as np
import torch

from hiersum_hf.features.video_encoder import VideoEncoder


def colour_encoder(encoder_id="colour", device="cpu", dtype="float32", runtime=None, on_batch=lambda: None):
    """The mean colour of a picture, as `load_video_encoder` would give it."""

    def embed(images):
        on_batch()
        return torch.tensor(np.array([image.mean((0, 1)) for image in images]))

    return VideoEncoder(encoder_id, 3, embed)


def write_sentence_clip(folder, dim=12):
    """A CLIP of random weights in the layout of sentence-transformers/clip-ViT-B-32, its old image settings too."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    characters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = [*characters, *(f"{c}</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 1}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=small | ids | {"vocab_size": len(tokens)},
        vision_config=small | {"image_size": 32, "patch_size": 16},
        projection_dim=dim,
    )
    inner = folder / "0_CLIPModel"
    CLIPModel(config).save_pretrained(inner)
    tokenizer.save_pretrained(inner)
    images = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 32, "crop_size": 32, "resample": 3}
    images |= {"do_resize": True, "do_center_crop": True, "do_normalize": True}
    images |= {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    (inner / "preprocessor_config.json").write_text(json.dumps(images))
    module = {"idx": 0, "name": "0", "path": inner.name, "type": "sentence_transformers.models.CLIPModel"}
    (folder / "modules.json").write_text(json.dumps([module]))
    made_with = {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.9.0"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"__version__": made_with}))
    return folder


def cache_on_hub(folder, name, write):
    """A Hub cache in which a model of this name lies; `write` fills its folder."""
    model = folder / f"models--{name.replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    files = model / "snapshots" / ("0" * 40)
    files.mkdir(parents=True)
    write(files)
    return folder
