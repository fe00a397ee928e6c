"""The demo set: made-up how-to videos from one latent process, for the demo, the tests and the controlled benchmark.

A video is a row of segments, each showing one concept (an action such as "slice the tomato") for some seconds:

| kind    | picture        | subtitle                | in the description | important | which level can tell       |
|---------|----------------|-------------------------|--------------------|-----------|----------------------------|
| told    | the step       | tells the step          | yes                | yes       | parent; child half (decoy) |
| silent  | the step       | none                    | yes                | yes       | parent                     |
| decoy   | another action | tells it as if a step   | no                 | no        | parent                     |
| aside   | another action | none                    | no                 | no        | parent                     |
| teaser  | a step         | chatter                 | yes                | no        | child                      |
| detour  | another action | chatter                 | no                 | no        | both                       |
| filler  | the presenter  | chatter                 | no                 | no        | both                       |

The description lists the steps. A told step and a decoy have the same wording: the subtitle alone cannot part them. A
teaser shows a listed step: the description alone falls for it. Only both levels together get all of it right. (Half
of the steps and half of the other actions come back with chatter: being shown twice tells nothing.)
Twenty simulated annotators rate every segment 1 to 5: its importance (1 or 0) plus normal noise of standard deviation
`ANNOTATOR_NOISE`, chosen so that they agree with each other as little as people do on TVSum (pairwise tau 0.18).
Importance scores, labels and key-shot summaries then follow from the ratings as they do for TVSum. Segments last 4 or
5 s: with lengths that differ more, the knapsack of the key-shot F1 rewards short segments over important ones.

Everything follows from the seed. What is not real here: videos, subtitles and annotators. Features may be: frame and
text features are whatever encoders the caller passes.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hiersum_hf.metrics import key_shot_summary
from hiersum_hf.records import Encoders, Sentence, VideoRecord


ACTIONS = (
    "slice the tomato", "boil the water", "sand the board", "drill a hole", "paint the fence", "knead the dough",
    "fold the paper", "solder the wire", "prune the rose", "tie the knot",
)  # fmt: skip
PRESENTERS = 2  # concepts after the actions: a person talking
NUM_CONCEPTS = len(ACTIONS) + PRESENTERS
NUM_VARIANTS = 6  # camera positions of each concept
TELLING = (
    "Now we {action}, and take your time.", "Next, {action} just like this.", "It is important that you {action} here.",
    "At this point you {action} carefully.", "Watch closely how I {action}.",
)  # fmt: skip
CHATTER = (
    "Thank you so much for all the comments.", "My dog ran through the garden this morning.",
    "Do not forget to subscribe to the channel.", "I met an old friend last weekend.",
    "This video is sponsored by nobody at all.", "The weather has been lovely these days.",
    "People often ask me where I live.", "Stay until the end, it will be fun.",
)  # fmt: skip
SEGMENT_KINDS = {"told": 2, "silent": 2, "decoy": 3, "aside": 3, "teaser": 2, "detour": 3, "filler": 2}
IMPORTANT = ("told", "silent")
NUM_ANNOTATORS = 20
ANNOTATOR_NOISE = 0.78
SAMPLE_FPS = 1.0
VIDEO_FPS = 12
FRAME_SIZE = (180, 320)  # height, width
FRAME_NOISE = 0.3  # of the length of a feature row


@dataclass(frozen=True)
class LatentSegment:
    """One stretch of a made-up video: what it shows, what is said, and whether it matters."""

    kind: str
    concept: int
    variant: int
    start_s: float
    end_s: float
    subtitle: str | None


@dataclass(frozen=True, eq=False)
class LatentVideo:
    """A made-up video before any feature: its segments, description and the ratings (20, S) of its segments, 1 to 5."""

    video_id: str
    segments: tuple[LatentSegment, ...]
    description: tuple[str, ...]
    ratings: np.ndarray
    seed: int

    @property
    def duration_s(self) -> float:
        return self.segments[-1].end_s

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        return tuple(Sentence(s.subtitle, s.start_s, s.end_s) for s in self.segments if s.subtitle)


def make_video(index: int, seed: int = 0) -> LatentVideo:
    """Video `index` of the set with this seed; any video can be made on its own."""
    rng = np.random.default_rng([seed, index])
    actions = rng.permutation(len(ACTIONS))
    num_steps = SEGMENT_KINDS["told"] + SEGMENT_KINDS["silent"]
    steps, others = actions[:num_steps], actions[num_steps:]
    kinds = [kind for kind, count in SEGMENT_KINDS.items() for _ in range(count)]
    others = others[: SEGMENT_KINDS["decoy"] + SEGMENT_KINDS["aside"]]
    again = [
        rng.choice(steps, SEGMENT_KINDS["teaser"], replace=False),
        rng.choice(others, SEGMENT_KINDS["detour"], False),
    ]
    presenters = rng.integers(len(ACTIONS), NUM_CONCEPTS, SEGMENT_KINDS["filler"])
    concepts = np.concatenate([steps, others, *again, presenters])
    segments, time_s = [], 0.0
    for k in rng.permutation(len(kinds)):
        kind, concept = kinds[k], int(concepts[k])
        subtitle = None
        if kind in ("told", "decoy"):
            subtitle = str(rng.choice(TELLING)).format(action=ACTIONS[concept])
        elif kind in ("teaser", "detour", "filler"):
            subtitle = str(rng.choice(CHATTER))
        end_s = time_s + int(rng.integers(4, 6)) / SAMPLE_FPS
        segments.append(LatentSegment(kind, concept, int(rng.integers(NUM_VARIANTS)), time_s, end_s, subtitle))
        time_s = end_s
    importance = np.array([segment.kind in IMPORTANT for segment in segments], float)
    rated = importance + ANNOTATOR_NOISE * rng.standard_normal((NUM_ANNOTATORS, len(segments)))
    ratings = np.clip(np.rint(2.0 + 2.0 * rated), 1, 5)
    description = ("How it is done, step by step.", *(f"{ACTIONS[step].capitalize()}." for step in steps))
    return LatentVideo(f"demo_{seed}_{index:04d}", tuple(segments), description, ratings, seed)


def to_record(
    video: LatentVideo,
    frame_bank: np.ndarray,
    embed_texts: Callable[[Sequence[str]], np.ndarray],
    encoders: Encoders,
) -> VideoRecord:
    """The video with features and TVSum-like annotations.

    Args:
        video: From `make_video`.
        frame_bank: (NUM_CONCEPTS, NUM_VARIANTS, Dv): the feature of each concept from each camera position. A frame is
            the row of its segment plus noise of `FRAME_NOISE` times its length.
        embed_texts: Texts to (n, Dt) features.
        encoders: What both were made with.
    """
    rng = np.random.default_rng([video.seed, *video.video_id.encode()])
    counts = [round((s.end_s - s.start_s) * SAMPLE_FPS) for s in video.segments]
    rows = np.repeat(np.stack([frame_bank[s.concept, s.variant] for s in video.segments]), counts, axis=0)
    scale = FRAME_NOISE * np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(rows.shape[1])
    features = (rows + scale * rng.standard_normal(rows.shape)).astype(np.float32)
    num = len(rows)
    step = round(VIDEO_FPS / SAMPLE_FPS)
    picks, n_frames = np.arange(num) * step, num * step
    bounds = np.concatenate([[0], np.cumsum(counts)]) * step
    shots = np.stack([bounds[:-1], bounds[1:]], axis=1)
    user_scores = np.repeat(video.ratings, counts, axis=1)
    mean = user_scores.mean(0)
    frame_scores = ((mean - mean.min()) / max(mean.max() - mean.min(), 1e-12)).astype(np.float32)
    texts = [sentence.text for sentence in video.sentences]
    return VideoRecord(
        video_id=video.video_id,
        video_features=features,
        frame_times_s=np.arange(num) / SAMPLE_FPS,
        duration_s=video.duration_s,
        encoders=encoders,
        sentences=video.sentences,
        text_features=embed_texts(texts),
        description=video.description,
        description_features=embed_texts(video.description),
        frame_scores=frame_scores,
        frame_labels=key_shot_summary(frame_scores, picks, n_frames, shots)[picks].astype(np.int64),
        user_scores=user_scores,
        user_summaries=np.stack([key_shot_summary(scores, picks, n_frames, shots) for scores in user_scores]),
        shots=shots,
        picks=picks,
        n_frames=n_frames,
    )


def random_features(video_dim: int = 32, text_dim: int = 32) -> tuple[np.ndarray, Callable, Encoders]:
    """Stand-ins for encoders where none is installed: fixed random projections of the concepts and of the words."""
    bank = np.random.default_rng(0).standard_normal((NUM_CONCEPTS, 1, video_dim))
    bank = bank + 0.3 * np.random.default_rng(1).standard_normal((NUM_CONCEPTS, NUM_VARIANTS, video_dim))

    def embed(texts: Sequence[str]) -> np.ndarray:
        words = [
            [np.random.default_rng(list(w.encode())).standard_normal(text_dim) for w in words_of(t)] for t in texts
        ]
        return np.array([np.mean(w, axis=0) for w in words], np.float32).reshape(len(texts), text_dim)

    return bank.astype(np.float32), embed, Encoders("random-projection", "random-projection", SAMPLE_FPS)


def words_of(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split() or [""]


def encoder_features(video_encoder, text_encoder) -> tuple[np.ndarray, Callable, Encoders]:
    """The same from real encoders: every concept is drawn from every camera position and encoded.

    Args:
        video_encoder: `hiersum_hf.encoders.VideoEncoder`.
        text_encoder: `hiersum_hf.text_encoders.TextEncoder`.
    """
    drawn = [draw_frame(c, v, 0.5) for c in range(NUM_CONCEPTS) for v in range(NUM_VARIANTS)]
    bank = np.concatenate([video_encoder.encode(drawn[i : i + 18]) for i in range(0, len(drawn), 18)])
    known: dict[str, np.ndarray] = {}

    def embed(texts: Sequence[str]) -> np.ndarray:
        new = sorted(set(texts) - known.keys())
        known.update(zip(new, text_encoder.encode(new), strict=True))
        return np.array([known[text] for text in texts], np.float32).reshape(len(texts), text_encoder.dim)

    encoders = Encoders(video_encoder.encoder_id, text_encoder.encoder_id, SAMPLE_FPS)
    return bank.reshape(NUM_CONCEPTS, NUM_VARIANTS, -1), embed, encoders


def draw_frame(concept: int, variant: int, phase: float) -> np.ndarray:
    """The picture of a concept: (180, 320, 3) uint8, a tool of its own colour and shape moving over a worktop.

    Args:
        concept: 0 to NUM_CONCEPTS - 1.
        variant: Camera position, 0 to NUM_VARIANTS - 1: moves, scales and tints the scene.
        phase: 0 to 1: how far the movement has gone.
    """
    from PIL import Image, ImageDraw

    height, width = FRAME_SIZE
    rng = np.random.default_rng([7, concept])
    cam = np.random.default_rng([8, variant])
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
    radius = np.where(np.arange(2 * corners) % 2, size * (0.35 + 0.6 * (concept % 3) / 2), size)
    draw.polygon([(cx + r * np.cos(a), cy + r * np.sin(a)) for a, r in zip(angle, radius, strict=True)], fill=colour)
    for k in range(concept % 4):
        draw.rectangle([20 + 60 * k, height - 40, 60 + 60 * k, height - 10], fill=(250, 250, 240))
    return np.asarray(picture)


def render(video: LatentVideo, path: Path) -> None:
    """Draws the video to `path` (H.264, 320 x 180, 12 frames a second) with a tone of its own for every segment."""
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


def _tone(segment: LatentSegment):
    """48 kHz mono audio frames of the segment's length: a quiet tone where something is said, else silence."""
    import av

    start, end = round(segment.start_s * 48_000), round(segment.end_s * 48_000)
    time = np.arange(start, end) / 48_000
    loudness = 0.1 if segment.subtitle else 0.0
    wave = (loudness * np.sin(2 * np.pi * (220 + 30 * segment.concept) * time)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate = 48_000
    frame.pts = start
    yield frame
