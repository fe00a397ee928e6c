"""Scorers that need no checkpoint: each gives every sampled frame of a record an importance in [0, 1].

Letters: N sampled frames, M sentences, K description texts, U annotators. None of them is in the paper.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from hiersum_hf.modeling.feature_extraction_hiersum import times_to_spans
from hiersum_hf.records import VideoRecord


def score_frames(record: VideoRecord, scorer: str, seed: int = 0) -> np.ndarray:
    """(N,) scores of the scorer called "random", "uniform", "oracle" or "training-free".

    Raises:
        ValueError: If there is no such scorer, or the record lacks what it needs.
    """
    if scorer == "random":
        return random_scores(record, seed)
    known = {"uniform": uniform_scores, "oracle": oracle_scores, "training-free": training_free_scores}
    if scorer not in known:
        raise ValueError(f"scorer: expected one of random, {', '.join(known)}; found {scorer!r}")
    return known[scorer](record)


def random_scores(record: VideoRecord, seed: int = 0) -> np.ndarray:
    """(N,) uniform random scores that depend on the seed and the video's name alone."""
    return np.random.default_rng([seed, crc32(record.video_id.encode())]).random(len(record.frame_times_s))


def random_sentence_scores(record: VideoRecord, seed: int = 0) -> np.ndarray:
    """(M,) as `random_scores`, for sentences."""
    return np.random.default_rng([seed, crc32(record.video_id.encode()), 1]).random(len(record.sentences))


def score_sentences(record: VideoRecord, scorer: str) -> np.ndarray:
    """(M,) scores of the sentences by "uniform", "oracle" (their labels) or "training-free".

    Where the scorer knows nothing about a sentence it gets the mean score of the frames that it covers.
    """
    if scorer == "uniform":
        return _evenly_spread(len(record.sentences))
    if scorer == "oracle" and record.sentence_labels is not None:
        return record.sentence_labels.astype(np.float64)
    if scorer == "training-free" and len(record.text_features):
        return _sentence_cue(record)
    return spread_over_sentences(record, score_frames(record, scorer))


def spread_over_sentences(record: VideoRecord, scores: np.ndarray) -> np.ndarray:
    """(M,) mean of the (N,) frame scores that each sentence covers; the least score where it covers none."""
    times_s = np.array([(sentence.start_s, sentence.end_s) for sentence in record.sentences]).reshape(-1, 2)
    start, end = times_to_spans(record.frame_times_s, times_s).T
    sums = np.concatenate([[0.0], np.cumsum(scores, dtype=np.float64)])
    covered = np.maximum(end - start, 0)
    return np.where(covered > 0, (sums[end] - sums[start]) / np.maximum(covered, 1), np.min(scores, initial=1.0))


def uniform_scores(record: VideoRecord) -> np.ndarray:
    """(N,) scores whose top part is evenly spread over the video, however large that part is.

    Frame i scores 1 - rev(i), rev(i) being i with its bits mirrored at the binary point (van der Corput's sequence):
    the best 1/2^j of the frames are every 2^j-th.
    """
    return _evenly_spread(len(record.frame_times_s))


def _evenly_spread(n: int) -> np.ndarray:
    frames, mirrored = np.arange(n), np.zeros(n)
    for bit in range(n.bit_length()):
        mirrored += (frames >> bit & 1) / 2.0 ** (bit + 1)
    return 1 - mirrored


def oracle_scores(record: VideoRecord) -> np.ndarray:
    """(N,) mean of the annotators: what the best scorer could know. For evaluation only, it reads the answers.

    Annotations keep their own scale (TVSum: 1 to 5). Without annotators: the record's scores, else its labels; frames
    that have none get the least one.

    Raises:
        ValueError: If the record has none of them.
    """
    if record.user_scores is not None:
        return record.user_scores.mean(axis=0)
    known = record.frame_scores if record.frame_scores is not None else record.frame_labels
    if known is None:
        raise ValueError(f"video {record.video_id}: the oracle needs annotators, scores or labels, found none")
    truth = np.where(known == -100, np.nan, known.astype(np.float64))
    return np.nan_to_num(truth, nan=float(np.nanmin(truth)) if np.isfinite(truth).any() else 0.0)


def training_free_scores(record: VideoRecord) -> np.ndarray:
    """(N,) how well a frame stands for its video, from features alone: the scorer where there is no checkpoint.

    Two cues, each standardised over the frames (a constant cue counts 0), are averaged and squashed by a sigmoid:

    - text: the cosine of a sentence to the nearest description text, or, without description, its mean cosine to
      the other sentences, given to the frames it covers (their mean where several do; the video's mean sentence
      where none does);
    - frames: the cosine of a frame to the mean of all frames.

    Frames are not compared with text: nothing says that their encoders share a space. Without text the second cue
    is all there is.

    Raises:
        ValueError: If there are no features, they hold NaN or infinity, or sentences and description differ in width.
    """
    if not record.video_features.shape[1]:
        raise ValueError(f"video {record.video_id}: training-free needs frame features, found none")
    frames = _unit(record, "video_features")
    cues = [_standardised(_cosine_to(frames, frames.mean(axis=0)))]
    if len(record.text_features):
        cues.append(_standardised(_spread(record, _sentence_cue(record))))
    return 1 / (1 + np.exp(-np.mean(cues, axis=0)))


def _sentence_cue(record: VideoRecord) -> np.ndarray:
    """(M,) cosine to the nearest description text, else the mean cosine to the other sentences."""
    sentences, texts = _unit(record, "text_features"), _unit(record, "description_features")
    if len(texts) == 0:
        others = len(sentences) - 1
        return ((sentences @ sentences.sum(axis=0)) - (sentences**2).sum(axis=1)) / max(others, 1)
    if sentences.shape[1] != texts.shape[1]:
        raise ValueError(
            f"video {record.video_id}: expected sentences and description of one width, "
            f"found {sentences.shape[1]} and {texts.shape[1]}"
        )
    return (sentences @ texts.T).max(axis=1)


def _spread(record: VideoRecord, cue: np.ndarray) -> np.ndarray:
    """(N,) mean cue of the sentences that cover each frame; the mean of all sentences where none does."""
    times_s = np.array([(sentence.start_s, sentence.end_s) for sentence in record.sentences])
    if len(times_s) != len(cue):
        raise ValueError(f"video {record.video_id}: expected {len(cue)} sentences with times, found {len(times_s)}")
    spans = times_to_spans(record.frame_times_s, times_s)
    total, count = np.zeros((2, len(record.frame_times_s) + 1))
    np.add.at(total, spans, np.stack([cue, -cue], axis=1))  # a step up at each start, down at each end
    np.add.at(count, spans, [1, -1])
    total, count = total.cumsum()[:-1], count.cumsum()[:-1]
    return np.where(count > 0, total / np.maximum(count, 1), cue.mean())


def _unit(record: VideoRecord, name: str) -> np.ndarray:
    """The record's features `name`, rows scaled to length 1."""
    features = np.asarray(getattr(record, name), np.float64)
    if not np.isfinite(features).all():
        raise ValueError(f"video {record.video_id}: expected finite {name}, found NaN or infinity")
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _cosine_to(rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return rows @ centre / max(float(np.linalg.norm(centre)), 1e-12)


def _standardised(cue: np.ndarray) -> np.ndarray:
    deviation = cue.std()
    return (cue - cue.mean()) / deviation if deviation > 1e-9 else np.zeros_like(cue)
