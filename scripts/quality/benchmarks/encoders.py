"""Frame encoders on the runtime that `load_video_encoder` chooses, beside PyTorch, and pictures that stand still.

`run` is called by scripts/run_benchmark.py. Processor time, for it holds on a busy machine, of pictures of 1080 lines
and their preparation, in turns. PyTorch's side prepares CLIP's pictures by the image processor of transformers, from
Pillow. CLIP ViT-B/32 has random weights, which take as long as others. Slides and a screen recording are drawn, encoded
as H.264 and decoded again; the reference encodes every picture.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image, ImageDraw

from hiersum_hf.features.runtime import choose_runtime
from hiersum_hf.features.video_encoder import OFFLINE_VIDEO_ENCODER, VideoEncoder, load_video_encoder
from hiersum_hf.video.reader import iter_frames
from quality.benchmarks.video import SAMPLE_FPS, seconds


SIZE, SMALL = (1920, 1080), (640, 360)
SLIDES, SLIDE_S, STILL_FPS = 4, 30, 10
WORD = (70, 26)  # width and height of what stands for a word
Embed = Callable[[Sequence[np.ndarray]], np.ndarray]


def run(quick: bool) -> list[dict]:
    """Rows of processor milliseconds a picture; a `ratio` is how many times less the package takes."""
    size, rounds, number = (SMALL, 1, 4) if quick else (SIZE, 3, 8)
    shown = pictures(number, size)
    with tempfile.TemporaryDirectory() as folder:
        write_clip(Path(folder))
        ours, reference = (load_video_encoder(OFFLINE_VIDEO_ENCODER, runtime=one) for one in (None, "torch"))
        rows = [compared("EfficientNet-Lite0", ours.encode, reference.encode, shown, rounds)]
        rows += [stills(name, draw(SMALL), ours, Path(folder), rounds) for name, draw in STILLS.items()]
        clip = load_video_encoder(folder)
        rows += [compared("CLIP ViT-B/32", clip.encode, by_transformers(folder), shown, rounds)]
    return rows


def compared(name: str, ours: Embed, reference: Embed, shown: Sequence[np.ndarray], rounds: int) -> dict:
    """A row with the least cosine between the features of both."""
    pairs = list(zip(ours(shown), reference(shown), strict=True))  # warms up as well
    cosine = min(a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs)
    furthest = max(np.abs(a - b).max() for a, b in pairs) / max(np.abs(b).max() for _, b in pairs)
    note = f"by {choose_runtime(None, 'cpu')}; least cosine {cosine:.7f}, furthest number {furthest:.1e} of the largest"
    return row(f"{name}, a picture of {shown[0].shape[0]} lines", ours, reference, shown, rounds, note)


def row(what: str, ours: Embed, reference: Embed, shown: Sequence[np.ndarray], rounds: int, note: str) -> dict:
    turns = [(seconds(lambda: ours(shown)), seconds(lambda: reference(shown))) for _ in range(rounds)]
    (wall, processor), (their_wall, theirs) = np.median(turns, axis=0) * 1000 / len(shown)
    figures = {"ours": float(processor), "reference": float(theirs), "unit": "ms", "ratio": float(theirs / processor)}
    note = f"{note}; {processor / theirs:.2f} of the reference; wall {wall:.1f} against {their_wall:.1f} ms"
    return {"what": what} | figures | {"note": note}


def stills(name: str, drawn: Iterator[Image.Image], encoder: VideoEncoder, folder: Path, rounds: int) -> dict:
    """A row for a video of drawn pictures, encoded as a stream and picture by picture."""
    video = folder / f"{name}.mp4"
    write(video, drawn)
    frames = list(iter_frames(video, SAMPLE_FPS))
    encoded: list[np.ndarray] = []
    counting = VideoEncoder("counting", encoder.dim, lambda images: encoded.extend(images) or encoder.embed(images))
    found, _ = counting.encode_stream(frames)
    shown = [image for _, image in frames]
    if not np.allclose(found, encoder.encode(shown), atol=1e-4):
        raise RuntimeError(f"{name}: expected the features of every picture, found others")
    note = f"{len(encoded)} of {len(frames)} pictures encoded; reference: all of them"
    return row(
        f"{name}, {len(frames)} pictures",
        lambda _: encoder.encode_stream(frames)[0],
        encoder.encode,
        shown,
        rounds,
        note,
    )


def pictures(number: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Patches of colour under grain."""
    rng, found = np.random.default_rng(0), []
    for _ in range(number):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        grain = rng.integers(-12, 13, (size[1], size[0], 1))
        found.append((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))
    return found


def page(rng: np.random.Generator, size: tuple[int, int], words: int) -> Image.Image:
    """A page with bars for words."""
    image = Image.new("RGB", size, "white")
    draw, per_line = ImageDraw.Draw(image), size[0] // WORD[0] - 1
    for k in range(words):
        x, y = (k % per_line) * WORD[0] + 30, (k // per_line) * 2 * WORD[1] + 30
        draw.rectangle((x, y, x + int(rng.integers(20, WORD[0] - 8)), y + WORD[1]), fill=(20, 20, 60))
    return image


def slides(size: tuple[int, int]) -> Iterator[Image.Image]:
    """Pages that stand for seconds each."""
    for number in range(SLIDES):
        shown = page(np.random.default_rng(number), size, 40)
        yield from (shown for _ in range(SLIDE_S * STILL_FPS))


def screen(size: tuple[int, int]) -> Iterator[Image.Image]:
    """A page on which a word is written each second and a pointer moves."""
    for number in range(SLIDES * SLIDE_S * STILL_FPS):
        shown = page(np.random.default_rng(0), size, 10 + number // STILL_FPS)
        x, y = size[0] // 2 + int(200 * np.sin(number / 9)), size[1] // 2 + int(120 * np.cos(number / 7))
        ImageDraw.Draw(shown).polygon([(x, y), (x + 14, y + 20), (x, y + 26)], fill=(0, 0, 0))
        yield shown


STILLS = {"slides": slides, "screen recording": screen}


def write(path: Path, drawn: Iterator[Image.Image]) -> None:
    with av.open(path, "w") as target:
        first = next(drawn)
        stream = target.add_stream("libx264", Fraction(STILL_FPS), options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *first.size, "yuv420p"
        for image in (first, *drawn):
            target.mux(stream.encode(av.VideoFrame.from_image(image)))
        target.mux(stream.encode(None))


def write_clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    CLIPModel(CLIPConfig(text_config=small | {"vocab_size": 10}, projection_dim=512)).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)


def by_transformers(folder: str) -> Embed:
    """The usual way: PyTorch behind the image processor, from Pillow's pictures."""
    from transformers import CLIPModel
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    model, processor = (
        CLIPModel.from_pretrained(folder).eval(),
        AutoImageProcessor.from_pretrained(folder, backend="pil"),
    )

    @torch.inference_mode()
    def embed(images: Sequence[np.ndarray]) -> np.ndarray:
        pixels = processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")["pixel_values"]
        return model.get_image_features(pixel_values=pixels).pooler_output.numpy()

    return embed
