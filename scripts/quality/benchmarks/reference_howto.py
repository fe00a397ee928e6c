"""Narrated how-to videos of six looks, made here, with what they show when: the truth of the part selection.

Each has a welcome, steps, a sponsor, an anecdote about the subject, another digression, views, and a goodbye, in 2 to 4
minutes. The narration is the subtitles; a tone sounds where something is said, and chords under the views. Drawn small:
320 x 180 at 10 frames a second.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hiersum_hf.records import Sentence
from hiersum_hf.texts.subtitles import write_srt
from quality.benchmarks.reference_howto_texts import (
    ANNOUNCED,
    DIGRESSIONS,
    GOODBYES,
    SPONSORS,
    VIEWS,
    WELCOMES,
    Story,
    stories,
)
from quality.benchmarks.video import ground_of


FPS, WIDTH, HEIGHT, AUDIO_RATE = 10, 320, 180, 16_000
LETTERS_S = 15.0  # letters a second that are spoken
TITLE_S = 3.0  # that the heading stands alone
STEP, FILLER, BROLL = "step", "filler", "broll"
Picture = np.ndarray  # (180, 320, 3) uint8


@dataclass(frozen=True)
class Part:
    """A stretch of a video: what it is, what is said in it, and the number of the scene that it shows."""

    kind: str
    heading: str
    start_s: float
    end_s: float
    said: tuple[Sentence, ...]
    scene: int


@dataclass(frozen=True)
class Video:
    """A video before it is drawn. Pictures and sound alone where it has no description."""

    number: int
    look: str
    description: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        return f"{self.number:02d} {self.look}"

    @property
    def duration_s(self) -> float:
        return self.parts[-1].end_s


# look, title, and what is odd: the second step comes after the third, or the fourth is shown once more at the end
VIDEOS = (
    ("slides", "Repot a houseplant", ""),
    ("slides", "Fix a dripping tap", ""),
    ("talking head", "Sharpen a kitchen knife", ""),
    ("talking head", "Care for leather boots", ""),
    ("screencast", "Set up a home router", ""),
    ("screencast", "Make a household budget in a spreadsheet", ""),
    ("quick cuts", "Bake flatbread in a pan", ""),
    ("quick cuts", "Hang a wall shelf", "swapped"),
    ("b-roll", "Repot a houseplant", "swapped"),
    ("b-roll", "Hang a wall shelf", "recap"),
    ("no subtitles", "Bake flatbread in a pan", ""),
    ("no subtitles", "Fix a dripping tap", ""),
)
NUM_VIEWS = {"talking head": 0, "b-roll": 4, "no subtitles": 2}  # other looks: 1


def make_videos(short: bool) -> list[Video]:
    """All of them, or two of three steps, with a sentence for each part."""
    told = stories()
    made = [_make(number, look, told[title], odd, short) for number, (look, title, odd) in enumerate(VIDEOS)]
    return [made[0], made[6]] if short else made


def _make(number: int, look: str, story: Story, odd: str, short: bool) -> Video:
    rng = np.random.default_rng([5, number])
    steps = [(STEP, heading, said, scene) for scene, (heading, said) in enumerate(story.steps)]
    if odd == "swapped":
        steps[1], steps[2] = steps[2], steps[1]
    rows = [*steps[: 3 if short else None]]
    for extra in _extras(rng, story, look)[: 1 if short else None]:
        rows.insert(int(rng.integers(len(rows) + 1)), extra)
    if odd == "recap":
        rows.append((FILLER, "Recap", steps[3][2][:1], 3))
    subject = story.title[0].lower() + story.title[1:]
    welcome = (*_some(rng, WELCOMES, 3), _some(rng, ANNOUNCED, 1)[0])
    rows = [(FILLER, "Welcome", welcome, 50), *rows, (FILLER, "Goodbye", _some(rng, GOODBYES, 3), 51)]
    parts: list[Part] = []
    for kind, heading, said, scene in rows:
        texts = [text.format(subject=subject) for text in (said[-1:] if short else said)]
        lead_s = TITLE_S if look in ("slides", "no subtitles") and kind == STEP else rng.uniform(0.3, 1.2)
        parts.append(_timed(rng, kind, heading, texts, scene, parts[-1].end_s if parts else 0.0, lead_s))
    described = (story.title, *(heading for heading, _ in story.steps)) if look != "no subtitles" else ()
    return Video(number, look, described, tuple(parts))


def _extras(rng: np.random.Generator, story: Story, look: str) -> list[tuple[str, str, tuple[str, ...], int]]:
    """What stands between the steps; most views have no words."""
    (digression,), (sponsor,) = _some(rng, DIGRESSIONS, 1), _some(rng, SPONSORS, 1)
    fillers = [("An anecdote", story.aside), ("By the way", digression), ("Our sponsor", sponsor)]
    views = [_some(rng, VIEWS, int(rng.integers(2))) for _ in range(NUM_VIEWS.get(look, 1))]
    return [
        *((FILLER, heading, said, 60 + number) for number, (heading, said) in enumerate(fillers)),
        *((BROLL, "A view", said, 70 + number) for number, said in enumerate(views)),
    ]


def _some(rng: np.random.Generator, texts: tuple, count: int) -> tuple:
    return tuple(texts[k] for k in sorted(rng.choice(len(texts), count, replace=False)))


def _timed(
    rng: np.random.Generator, kind: str, heading: str, texts: list[str], scene: int, start_s: float, lead_s: float
) -> Part:
    """The part with each sentence at its time, pauses between them, some of them long."""
    said, at_s = [], start_s + lead_s
    for text in texts:
        end_s = at_s + 0.3 + len(text) / LETTERS_S * rng.uniform(0.9, 1.15)
        said.append(Sentence(text, at_s, end_s))
        at_s = end_s + (rng.uniform(1.5, 3.0) if rng.random() < 0.15 else rng.uniform(0.15, 0.9))
    if kind == BROLL:
        at_s = max(at_s, start_s + rng.uniform(6, 12))
    return Part(kind, heading, start_s, round(at_s + rng.uniform(0.3, 1.2), 1), tuple(said), scene)


def write(video: Video, folder: Path) -> Path:
    """The video, and beside it the texts that it has; returns its path."""
    path = folder / f"{video.name}.mp4"
    if video.description:
        write_srt([sentence for part in video.parts for sentence in part.said], path.with_suffix(".srt"))
        path.with_suffix(".txt").write_text("\n".join(video.description))
    with av.open(str(path), "w") as target:
        pictures = target.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "26"})
        pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = target.add_stream("aac", rate=AUDIO_RATE, layout="mono")
        for part in video.parts:
            for image in drawn(video, part):
                target.mux(pictures.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            target.mux(sound.encode(_heard(part)))
        target.mux([*pictures.encode(None), *sound.encode(None)])
    return path


def drawn(video: Video, part: Part) -> Iterator[Picture]:
    """The pictures of a part."""
    look = views if part.kind == BROLL else LOOKS[video.look]
    for frame in range(round(part.start_s * FPS), round(part.end_s * FPS)):
        yield look(video, part, frame / FPS)


def _heard(part: Part) -> av.AudioFrame:
    """A tone in syllables for each sentence; chords under a view."""
    ticks = np.arange(round(part.start_s * AUDIO_RATE), round(part.end_s * AUDIO_RATE))
    at_s = ticks / AUDIO_RATE
    wave = 0.02 * sum(np.sin(2 * np.pi * hertz * at_s) for hertz in (262, 330, 392)) * (part.kind == BROLL)
    for sentence in part.said:
        spoken = (sentence.start_s <= at_s) & (at_s < sentence.end_s)
        wave += spoken * 0.1 * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * at_s)) * np.sin(2 * np.pi * 180 * at_s)
    frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = AUDIO_RATE, Fraction(1, AUDIO_RATE), int(ticks[0])
    return frame


def views(video: Video, part: Part, at_s: float) -> Picture:
    return view(video, part.scene, at_s)


def slides(video: Video, part: Part, at_s: float) -> Picture:
    """A heading, and a line for each sentence once it begins."""
    begun = [" ".join(sentence.text.split()[:5]) for sentence in part.said if sentence.start_s <= at_s]
    return slide(part.heading, tuple(begun), _hue(video, 0 if part.kind == STEP else part.scene))


def talking_head(video: Video, part: Part, at_s: float) -> Picture:
    return presenter(video, 0, part, at_s)


def screencast(video: Video, part: Part, at_s: float) -> Picture:
    """A window into which steps are typed as they are told, a cursor, and the presenter's face in the corner."""
    page, count = part.scene if part.kind == STEP else 0, 0
    if part.kind == STEP:
        done = (np.clip((at_s - s.start_s) / (s.end_s - s.start_s), 0, 1) * len(s.text) for s in part.said)
        count = int(sum(done)) // 3
    typed = " ".join(sentence.text for sentence in part.said)[:count]
    picture = Image.fromarray(window(page, f"{video.description[0]} {page}", typed))
    draw, (x, y) = ImageDraw.Draw(picture), (80 + 40 * np.sin(at_s / 3), 90 + 30 * np.sin(at_s / 4.1))
    draw.polygon([(x, y), (x + 9, y + 9), (x, y + 13)], fill="black")
    face = Image.fromarray(presenter(video, 0, part, at_s)).resize((64, 36))
    picture.paste(face, (WIDTH - 68, HEIGHT - 40))
    return np.asarray(picture)


def quick_cuts(video: Video, part: Part, at_s: float) -> Picture:
    """Shots of 1 to 2 s: a step from five sides, now and then the presenter; other parts the reverse, with views."""
    rng = np.random.default_rng([6, video.number, part.scene])
    shot = int(np.searchsorted(rng.uniform(1, 2, 60).cumsum(), at_s - part.start_s, side="right"))
    kind, side = rng.random(61)[shot], int(rng.integers(5, size=61)[shot])
    if kind < (0.75 if part.kind == STEP else 0.0):
        return work(video, part.scene, at_s, side)
    return view(video, 80 + side, at_s) if part.kind != STEP and kind < 0.4 else presenter(video, side, part, at_s)


def with_views(video: Video, part: Part, at_s: float) -> Picture:
    """Steps at the worktop, every third sentence by the presenter, who tells the rest."""
    told = sum(sentence.start_s <= at_s for sentence in part.said)
    if part.scene < 50 and told % 3 != 2:
        return work(video, part.scene, at_s - part.start_s, 0)
    return presenter(video, 0, part, at_s)


def titled(video: Video, part: Part, at_s: float) -> Picture:
    """Steps behind a slide with their heading, from two sides in turns of 5 s; a slide of the sponsor too."""
    if part.heading == "Our sponsor" or (part.kind == STEP and at_s - part.start_s < TITLE_S):
        return slide(part.heading, (), _hue(video, 0 if part.kind == STEP else part.scene))
    return work(video, part.scene, at_s, int(at_s // 5) % 2) if part.kind == STEP else presenter(video, 0, part, at_s)


LOOKS: dict[str, Callable[[Video, Part, float], Picture]] = {
    "slides": slides, "talking head": talking_head, "screencast": screencast, "quick cuts": quick_cuts,
    "b-roll": with_views, "no subtitles": titled,
}  # fmt: skip


def presenter(video: Video, side: int, part: Part, at_s: float) -> Picture:
    """Head and shoulders in a room, swaying; the mouth moves where something is said."""
    picture = Image.fromarray(_ground(_hue(video, 90), video.number, side)[40 : 40 + HEIGHT, 40 : 40 + WIDTH])
    draw, size = ImageDraw.Draw(picture), 1 + 0.25 * (side % 3)
    x, y = 130 + 15 * side + 5 * np.sin(at_s / 1.3), 80 + 2 * np.sin(at_s / 0.9)
    opened = 2 + 5 * (int(at_s * 6) % 2) * any(s.start_s <= at_s < s.end_s for s in part.said)
    shapes = (
        (0, 130, 80, 80, _rgb(_hue(video, 91), 0.7, 0.5)), (0, 0, 32, 42, (224, 184, 150)),
        (-12, -8, 4, 4, (20, 20, 20)), (12, -8, 4, 4, (20, 20, 20)), (0, 20, 11, opened, (120, 40, 40)),
    )  # fmt: skip
    for right, down, wide, high, colour in shapes:
        cx, cy = x + size * right, y + size * down
        draw.ellipse([cx - size * wide, cy - size * high, cx + size * wide, cy + size * high], fill=colour)
    return np.asarray(picture)


def work(video: Video, scene: int, at_s: float, side: int) -> Picture:
    """Things on the video's worktop, some of each step's own, and a hand that moves over them."""
    top, left = 20 + 15 * side, 75 - 15 * side
    ground = _ground(_hue(video, 92), video.number, 10)[top : top + HEIGHT, left : left + WIDTH]
    picture, rng, size = Image.fromarray(ground), np.random.default_rng([7, video.number, scene]), 1 + 0.3 * (side % 3)
    draw = ImageDraw.Draw(picture)
    for corner in range(3):
        x, y = rng.uniform(60, 260) + 20 * side - 40, rng.uniform(50, 130)
        angle = 2 * np.pi * np.arange(3 + int(rng.integers(6))) / (3 + corner)
        radius = size * rng.uniform(15, 35, len(angle))
        points = [(x + r * np.cos(a), y + r * np.sin(a)) for r, a in zip(radius, angle, strict=True)]
        draw.polygon(points, fill=_rgb(rng.random(), 0.8, 0.9))
    x, y = 170 + 45 * np.sin(at_s * 2.1), 105 + 25 * np.cos(at_s * 1.7)
    draw.ellipse([x - 25 * size, y - 16 * size, x + 25 * size, y + 16 * size], fill=(224, 184, 150))
    draw.polygon([(x, y - 12), (WIDTH, HEIGHT - 50), (WIDTH, HEIGHT), (x, y + 12)], fill=(200, 160, 130))
    return np.asarray(picture)


def view(video: Video, scene: int, at_s: float) -> Picture:
    """A landscape of its own under a moving camera."""
    left = int(40 + 38 * np.sin(at_s / 2.5))
    picture = _ground(_hue(video, scene), video.number, scene)[40 : 40 + HEIGHT, left : left + WIDTH].copy()
    picture[: HEIGHT // 2] //= 2
    picture[: HEIGHT // 2] += np.array([60, 80, 110], np.uint8)
    return picture


@cache
def slide(heading: str, lines: tuple[str, ...], hue: float) -> Picture:
    picture = Image.new("RGB", (WIDTH, HEIGHT), _rgb(hue, 0.08, 0.97))
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, 0, WIDTH, 34], fill=_rgb(hue, 0.7, 0.5))
    draw.text((10, 6), heading, fill="white", font=_font(18))
    for number, line in enumerate(lines):
        draw.text((16, 50 + 26 * number), f"- {line}", fill="black", font=_font(15))
    return np.asarray(picture)


@cache
def window(page: int, name: str, typed: str) -> Picture:
    picture = Image.new("RGB", (WIDTH, HEIGHT), (236, 238, 240))
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, 0, WIDTH, 16], fill=(60, 66, 80))
    draw.text((6, 2), name, fill="white", font=_font(10))
    draw.rectangle([0, 16, 62, HEIGHT], fill=(210, 214, 222))
    for entry in range(8):
        draw.rectangle([6, 26 + 16 * entry, 56, 34 + 16 * entry], fill=(90, 120, 200) if entry == page else "gray")
    for line in range(0, len(typed), 36):
        draw.text((70, 26 + line // 36 * 13), typed[line : line + 36], fill="black", font=_font(11))
    return np.asarray(picture)


@cache
def _ground(hue: float, number: int, scene: int) -> Picture:
    """(260, 400, 3): larger than a picture, so that a camera can move over it."""
    noise = ground_of(np.random.default_rng([8, number, scene]), WIDTH + 80, HEIGHT + 80)
    return (0.55 * noise + 0.45 * np.array(_rgb(hue, 0.6, 0.8))).astype(np.uint8)


def _hue(video: Video, scene: int) -> float:
    return float(np.random.default_rng([9, video.number, scene]).random())


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, ...]:
    return tuple(int(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
