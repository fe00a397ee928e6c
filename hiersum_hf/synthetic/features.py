"""Make records and replay curves of made-up videos.

They are the demo set and the controlled benchmark, with features and annotations.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from hiersum_hf.features.text_encoder import OFFLINE_TEXT_ENCODER, TextEncoder, load_text_encoder
from hiersum_hf.features.video_encoder import VideoEncoder
from hiersum_hf.labels import ReplayCurve
from hiersum_hf.metrics import key_shot_summary
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import Encoders, VideoRecord
from hiersum_hf.synthetic.video import VIDEO_FPS, draw_frame, render
from hiersum_hf.synthetic.world import (
    ACTIONS,
    DEMO,
    IMPORTANT,
    NUM_CONCEPTS,
    NUM_VARIANTS,
    REGIMES,
    SEGMENT_KINDS,
    LatentSegment,
    LatentVideo,
    World,
    make_video,
)


__all__ = [
    "ACTIONS",
    "DEMO",
    "IMPORTANT",
    "REGIMES",
    "SAMPLE_FPS",
    "SEGMENT_KINDS",
    "LatentSegment",
    "LatentVideo",
    "World",
    "benchmark_features",
    "draw_frame",
    "encoder_features",
    "make_video",
    "random_features",
    "render",
    "replay_curve",
    "to_record",
]
logger = logging.getLogger(__name__)
SAMPLE_FPS = 1.0
FRAME_NOISE = 0.3  # of the length of a feature row
REPLAY_BINS = 100
EmbedTexts = Callable[[Sequence[str]], np.ndarray]  # n texts -> (n, Dt)


def to_record(
    video: LatentVideo,
    frame_bank: np.ndarray,
    embed_texts: EmbedTexts,
    encoders: Encoders,
) -> VideoRecord:
    """Make a record with features and TVSum-like annotations of a video.

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
    # Noise of standard deviation 0.3 |row| / sqrt(Dv) in each of the Dv dimensions is about 0.3 |row| long.
    scale = FRAME_NOISE * np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(rows.shape[1])
    features = (rows + scale * rng.standard_normal(rows.shape)).astype(np.float32)
    num = len(rows)
    # One sampled frame a second of 12, so picks are 0, 12, 24, ... and shots, the segments, begin at picks.
    step = round(VIDEO_FPS / SAMPLE_FPS)
    picks, n_frames = np.arange(num) * step, num * step
    bounds = np.concatenate([[0], np.cumsum(counts)]) * step
    shots = np.stack([bounds[:-1], bounds[1:]], axis=1)
    user_scores = np.repeat(video.ratings, counts, axis=1)
    # As TVSum's gtscore: the mean rating, scaled to [0, 1]; labels and summaries are the key-shot rule's.
    mean = user_scores.mean(0)
    frame_scores = ((mean - mean.min()) / max(mean.max() - mean.min(), 1e-12)).astype(np.float32)
    sentences = video.sentences
    return VideoRecord(
        video_id=video.video_id,
        video_features=features,
        frame_times_s=np.arange(num) / SAMPLE_FPS,
        duration_s=video.duration_s,
        encoders=encoders,
        sentences=sentences,
        text_features=embed_texts([sentence.text for sentence in sentences]),
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


def random_features(video_dim: int = 32, text_dim: int = 32) -> tuple[np.ndarray, EmbedTexts, Encoders]:
    """Make stand-ins for encoders where none is installed.

    They are fixed random projections of the concepts and of the words.
    """
    # A direction for each concept, and 0.3 times another for each camera position.
    bank = np.random.default_rng(0).standard_normal((NUM_CONCEPTS, 1, video_dim))
    bank = bank + 0.3 * np.random.default_rng(1).standard_normal((NUM_CONCEPTS, NUM_VARIANTS, video_dim))

    @cache
    def projection(word: str) -> np.ndarray:
        return np.random.default_rng(list(word.encode())).standard_normal(text_dim)

    def embed(texts: Sequence[str]) -> np.ndarray:
        words = [[projection(word) for word in words_of(text)] for text in texts]
        return np.array([np.mean(w, axis=0) for w in words], np.float32).reshape(len(texts), text_dim)

    return bank.astype(np.float32), embed, Encoders("random-projection", "random-projection", SAMPLE_FPS)


def words_of(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split() or [""]


def encoder_features(video_encoder: VideoEncoder, text_encoder: TextEncoder) -> tuple[np.ndarray, EmbedTexts, Encoders]:
    """Encode every concept from every camera position.

    Returns:
        As `random_features`, but from real encoders.
    """
    drawn = [draw_frame(c, v, 0.5) for c in range(NUM_CONCEPTS) for v in range(NUM_VARIANTS)]
    bank = np.concatenate([video_encoder.encode(drawn[i : i + 18]) for i in range(0, len(drawn), 18)])
    encoders = Encoders(video_encoder.encoder_id, text_encoder.encoder_id, SAMPLE_FPS)
    return bank.reshape(NUM_CONCEPTS, NUM_VARIANTS, -1), _cached(text_encoder), encoders


def benchmark_features(video_dim: int = 32) -> tuple[np.ndarray, EmbedTexts, Encoders]:
    """Project frames at random, encode texts by a real Sentence-BERT.

    Frames are as in `random_features`; where no encoder is installed, texts are too.
    """
    bank, embed, encoders = random_features(video_dim)
    try:
        text_encoder = load_text_encoder(OFFLINE_TEXT_ENCODER)
    except (ImportError, ValueError) as error:
        logger.warning("%s\nThe benchmark uses random projections of words: no text has a meaning.", error)
        return bank, embed, encoders
    return bank, _cached(text_encoder), replace(encoders, text=text_encoder.encoder_id)


def _cached(text_encoder: TextEncoder) -> EmbedTexts:
    """Encode every text once."""
    known: dict[str, np.ndarray] = {}

    def embed(texts: Sequence[str]) -> np.ndarray:
        new = sorted(set(texts) - known.keys())
        known.update(zip(new, text_encoder.encode(new), strict=True))
        return np.array([known[text] for text in texts], np.float32).reshape(len(texts), text_encoder.dim)

    return embed


def replay_curve(video: LatentVideo, views: int) -> ReplayCurve:
    """Make a most-replayed curve of 100 bins.

    Its `scores_at` reads it at the frames. Not given in the paper.

    Played again are important segments, teasers half as often, and what happens to please (normal, half as much);
    people jump to about the right place (normal, two bins). To this come those who watch it all again (lognormal over
    videos, median 0.4, sigma 1.5); they leave before the end (with a rate of three bins), and the first bin has those
    who start again (of the curve's mean: lognormal, median 0.5, sigma 2). So far the number of views; a bin is played
    again by about 4 % of them, with the noise that counts have: a curve of 100 views is half noise.

    The numbers were searched for so that 500 curves look like 19 real ones, with as many views (all above 50,000). Real
    figures in brackets: the first bin is the maximum in 50 % (42 %); bins of at least 0.15 by quartile of curves .77
    .89 .95 (.47 .84 .96); mean step between bins .025 .040 .052 (.023 .030 .051). Not met: above 200 million views,
    which are songs, real curves are smoother (.023) than ours (.042). On the demo set the tau against its annotators is
    .17 from 10,000 views on, .15 at 1,000 and .10 at 100.

    Args:
        video: From `make_video`.
        views: How often it was watched.

    Raises:
        ValueError: Fewer than one view.
    """
    if views < 1:
        raise HierSumError(f"video {video.video_id}: expected at least 1 view, found {views}")
    rng = video.random("replay")
    # exp(sigma z) times the median is lognormal: those who watch all again, those who start again.
    watching, starting = np.exp(rng.standard_normal(2) * (1.5, 2.0)) * (0.4, 0.5)
    bins, edges_s = np.arange(REPLAY_BINS), np.linspace(0, video.duration_s, REPLAY_BINS + 1)
    # The segment that is on at the middle of each bin.
    shown = np.searchsorted([s.start_s for s in video.segments], (edges_s[:-1] + edges_s[1:]) / 2, side="right") - 1
    teasing = [0.5 * (segment.kind == "teaser") for segment in video.segments]
    # What makes people jump back: 1 for important, 0.5 for teasers, and normal noise of 0.5.
    wanted = video.importance + teasing + 0.5 * rng.standard_normal(len(teasing))
    wanted = gaussian_filter1d(wanted[shown], 2.0, mode="nearest")
    # Viewers leave towards the end: 1 - exp((b - B) / 3) for bin b of B falls to 0 within a few bins.
    plays = (wanted - wanted.min() + watching) * -np.expm1((bins - REPLAY_BINS) / 3)
    plays[0] += starting * plays.mean()
    # Counts of plays have the noise sqrt(n). A bin has 0.04 views x plays / mean of them; in units of plays this is
    # sqrt(plays mean / (0.04 views)).
    plays += np.sqrt(plays * plays.mean() / (0.04 * views)) * rng.standard_normal(REPLAY_BINS)
    values = (plays - plays.min()) / np.ptp(plays)
    return ReplayCurve(video.video_id, edges_s[:-1], edges_s[1:], values, views)
