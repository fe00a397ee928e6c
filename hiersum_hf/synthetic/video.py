"""Render made-up videos as files.

Each concept is drawn from each camera position, with a tone where something is said.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hiersum_hf.synthetic.world import ACTIONS, LatentSegment, LatentVideo


if TYPE_CHECKING:
    from av import AudioFrame

VIDEO_FPS = 12
FRAME_SIZE = (180, 320)  # height, width


def draw_frame(concept: int, variant: int, phase: float) -> np.ndarray:
    """Draw a concept, a tool of its own colour and shape.

    It moves over a worktop.

    Args:
        concept: 0 to NUM_CONCEPTS - 1.
        variant: Camera position, 0 to NUM_VARIANTS - 1: moves, scales and tints the scene.
        phase: 0 to 1: how far the movement has gone.

    Returns:
        (180, 320, 3) uint8.
    """
    from PIL import Image, ImageDraw

    height, width = FRAME_SIZE
    rng = np.random.default_rng([7, concept])
    cam = np.random.default_rng([8, variant])
    # Steps of the golden ratio spread the hues of any number of concepts.
    hue = (concept * 0.382) % 1
    texture = rng.integers(0, 4)
    y, x = np.mgrid[0:height, 0:width]
    wave = np.sin((x, y, (x + y) / 1.4, np.hypot(x - 160, y - 90))[texture] / (6 + 9 * rng.random()))
    ground = np.array(colorsys.hsv_to_rgb(hue, 0.5, 0.65)) * 255
    image = np.clip(ground + 30 * wave[..., None] + 25 * (cam.random() - 0.5), 0, 255).astype(np.uint8)
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    size = (45 + 8 * rng.random()) * (0.85 + 0.3 * cam.random())
    cx = width * (0.4 + 0.2 * cam.random()) + 14 * np.sin(2 * np.pi * phase)
    cy = height * (0.4 + 0.2 * cam.random()) + 8 * np.cos(2 * np.pi * phase)
    colour = tuple(int(255 * c) for c in colorsys.hsv_to_rgb((hue + 0.5) % 1, 0.9, 0.95))
    if concept >= len(ACTIONS):  # a presenter: head and shoulders
        draw.ellipse([cx - 80, cy + 40, cx + 80, cy + 200], fill=colour)
        draw.ellipse([cx - 32, cy - 40, cx + 32, cy + 40], fill=(224, 184, 150))
        draw.ellipse([cx - 16, cy - 12, cx - 8, cy - 4], fill=(20, 20, 20))
        draw.ellipse([cx + 8, cy - 12, cx + 16, cy - 4], fill=(20, 20, 20))
        return np.asarray(picture)
    corners = 3 + concept % 6
    angle = 2 * np.pi * (np.arange(2 * corners) / (2 * corners) + 0.05 * phase)
    # A star: every second corner lies further in.
    radius = np.where(np.arange(2 * corners) % 2, size * (0.35 + 0.6 * (concept % 3) / 2), size)
    draw.polygon([(cx + r * np.cos(a), cy + r * np.sin(a)) for a, r in zip(angle, radius, strict=True)], fill=colour)
    for k in range(concept % 4):
        draw.rectangle([20 + 60 * k, height - 40, 60 + 60 * k, height - 10], fill=(250, 250, 240))
    return np.asarray(picture)


def render(video: LatentVideo, path: Path) -> None:
    """Draw the video to a file.

    It is H.264, 320 x 180, 12 frames a second, with a tone of its own for every segment in which something is said.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=VIDEO_FPS, options={"crf": "20"})
        picture.height, picture.width = FRAME_SIZE
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=48_000)
        sound.layout = "mono"
        for segment in video.segments:
            count = round((segment.end_s - segment.start_s) * VIDEO_FPS)
            for i in range(count):
                image = draw_frame(segment.concept, segment.variant, i / count)
                container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            for frame in _tone(segment):
                container.mux(sound.encode(frame))
        for stream in (picture, sound):
            container.mux(stream.encode(None))


def _tone(segment: LatentSegment) -> Iterator[AudioFrame]:
    """Make a quiet tone where something is said, else silence.

    Yields:
        48 kHz mono audio frames of the segment's length.
    """
    import av

    start, end = round(segment.start_s * 48_000), round(segment.end_s * 48_000)
    time = np.arange(start, end) / 48_000
    loudness = 0.1 if segment.subtitle else 0.0
    wave = (loudness * np.sin(2 * np.pi * (220 + 30 * segment.concept) * time)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate = 48_000
    frame.pts = start
    yield frame
