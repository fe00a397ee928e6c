"""Make the videos of the demo set, in parts."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from hiersum_hf.features.text_encoder import OFFLINE_TEXT_ENCODER, load_text_encoder
from hiersum_hf.features.video_encoder import OFFLINE_VIDEO_ENCODER, load_video_encoder
from hiersum_hf.labels import threshold_labels
from hiersum_hf.records import VideoRecord
from hiersum_hf.synthetic import features as synthetic


logger = logging.getLogger(__name__)

DEMO_VIDEOS = {"train": 1000, "validation": 40, "test": 200}


def demo_parts(counts: dict[str, int] | None = None, replay: bool = False) -> dict[str, list[VideoRecord]]:
    """Make the demo set.

    Its features come from the offline encoders, or from random projections where they are missing. With `replay` all
    but the test part have replay curves in place of annotators.
    """
    try:
        encoders = load_video_encoder(OFFLINE_VIDEO_ENCODER), load_text_encoder(OFFLINE_TEXT_ENCODER)
    except (ImportError, ValueError) as error:
        logger.warning("%s\nThe demo uses random projections: its checkpoint cannot read real videos.", error)
        bank, embed, ids = synthetic.random_features()
    else:
        logger.info("Encoding the demo's pictures and texts with %s and %s", *(e.encoder_id for e in encoders))
        bank, embed, ids = synthetic.encoder_features(*encoders)
    parts, first = {}, 0
    for part, count in (counts or DEMO_VIDEOS).items():
        videos = [synthetic.make_video(index) for index in range(first, first + count)]
        parts[part] = [synthetic.to_record(video, bank, embed, ids) for video in videos]
        if replay and part != "test":
            parts[part] = [with_replay(*pair) for pair in zip(parts[part], videos, strict=True)]
        # Parts begin at the same videos however few of the part before are made.
        first += DEMO_VIDEOS.get(part, count)
    return parts


def with_replay(record: VideoRecord, video: synthetic.LatentVideo) -> VideoRecord:
    """Put a made-up most-replayed curve in place of annotators.

    Its labels come along. Played again are important segments, teasers half as often, with noise, and the beginning,
    where everybody starts: the curve agrees with an annotator as much as another one does (tau 0.19), and often has its
    maximum at the start. Not given in the paper.
    """
    # What is played again, one value a segment: 1 important, 0.5 teaser, 0 else, and normal noise of 0.5.
    again = np.array([1.0 if s.kind in synthetic.IMPORTANT else 0.5 * (s.kind == "teaser") for s in video.segments])
    again += 0.5 * np.random.default_rng([video.seed, 1, *video.video_id.encode()]).standard_normal(len(again))
    shown = np.searchsorted([s.start_s for s in video.segments], record.frame_times_s, side="right") - 1
    # The beginning, where everybody starts: 1.5 exp(-t / 3 s).
    curve = again[shown] + 1.5 * np.exp(-record.frame_times_s / 3)
    scores = ((curve - curve.min()) / np.ptp(curve)).astype(np.float32)
    # The best quarter: the paper's threshold 0.15 would mark 84 % of the frames of these curves.
    labels = threshold_labels(scores, quantile=0.75)
    return replace(record, frame_scores=scores, frame_labels=labels, user_scores=None, user_summaries=None)


def demo_test_video(number: int) -> synthetic.LatentVideo:
    """Video `number` of the demo's test part, to be rendered."""
    return synthetic.make_video(DEMO_VIDEOS["train"] + DEMO_VIDEOS["validation"] + number)
