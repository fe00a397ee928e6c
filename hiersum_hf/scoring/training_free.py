"""Scorers that need no checkpoint.

Each gives every sampled frame of a record an importance in [0, 1]. Letters: N sampled frames, M sentences, K
description texts, U annotators. None of the scorers is in the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import numpy as np

from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.inputs_hiersum import times_to_spans
from hiersum_hf.records import Floats, VideoRecord, counted, first_step, sentence_times_s
from hiersum_hf.timeline import covered_means


AVERAGED_S = 4.5  # raters of TVSum scored 2 s at a time; of 3 to 15 s this agreed with them most
AT_ONCE = 4096  # rows, for memory
PAUSE_S = 4.0  # between the last frame of a sentence and the first of the next


def score_frames(record: VideoRecord, scorer: str, seed: int = 0) -> Floats:
    """Score the sampled frames by the scorer of this name.

    (N,) by "random", "uniform", "position", "title", "oracle" or "training-free".

    Raises:
        ValueError: If there is no such scorer, or the record lacks what it needs.
    """
    if scorer == "random":
        return random_scores(record, seed)
    if scorer not in SCORERS:
        raise HierSumError(f"scorer: expected one of random, {', '.join(SCORERS)}; found {scorer!r}")
    return SCORERS[scorer](record)


def random_scores(record: VideoRecord, seed: int = 0) -> Floats:
    """Draw uniform random scores, (N,).

    They depend on the seed and the video's name alone.
    """
    return np.random.default_rng([seed, crc32(record.video_id.encode())]).random(len(record.frame_times_s))


def random_sentence_scores(record: VideoRecord, seed: int = 0) -> Floats:
    """Draw uniform random scores of the sentences, (M,).

    As `random_scores`.
    """
    return np.random.default_rng([seed, crc32(record.video_id.encode()), 1]).random(len(record.sentences))


def score_sentences(record: VideoRecord, scorer: str) -> Floats:
    """Score the sentences, (M,).

    By "uniform", "oracle" (their labels) or "training-free". Where the scorer knows nothing about a sentence it gets
    the mean score of the frames that it covers.
    """
    if scorer == "uniform":
        return _evenly_spread(len(record.sentences))
    if scorer == "oracle" and record.sentence_labels is not None:
        return record.sentence_labels.astype(np.float64)
    if scorer == "training-free" and len(record.text_features):
        return _sentence_cue(record)
    return spread_over_sentences(record, score_frames(record, scorer))


def spread_over_sentences(record: VideoRecord, scores: Floats) -> Floats:
    """Average the (N,) frame scores over each sentence, (M,).

    See `covered_means`.
    """
    return covered_means(scores, times_to_spans(record.frame_times_s, sentence_times_s(record.sentences)))


def uniform_scores(record: VideoRecord) -> Floats:
    """Spread the best part of the scores evenly, (N,).

    However large that part is. Frame i scores 1 - rev(i), rev(i) being i with its bits mirrored at the binary point
    (van der Corput's sequence): the best 1/2^j of the frames are every 2^j-th.
    """
    return _evenly_spread(len(record.frame_times_s))


def _evenly_spread(n: int) -> Floats:
    """Compute 1 - rev(i) for i below n."""
    # Bit b of i counts 2^b, mirrored 2^-(b + 1)
    frames, mirrored = np.arange(n), np.zeros(n)
    for bit in range(n.bit_length()):
        mirrored += (frames >> bit & 1) / 2.0 ** (bit + 1)
    return 1 - mirrored


def oracle_scores(record: VideoRecord) -> Floats:
    """Average the annotators, (N,).

    What the best scorer could know. For evaluation only, it reads the answers. Annotations keep their own scale (TVSum:
    1 to 5). Without annotators: the record's scores, else its labels; frames that have none, and those that annotators
    are one or two short of, get the least one.

    Raises:
        ValueError: If the record has none of them.
    """
    if record.user_scores is not None:
        mean = record.user_scores.mean(axis=0)[: len(record.frame_times_s)]
        return np.pad(mean, (0, len(record.frame_times_s) - len(mean)), constant_values=mean.min())
    known = record.frame_scores if record.frame_scores is not None else record.frame_labels
    if known is None:
        raise HierSumError(f"video {record.video_id}: the oracle needs annotators, scores or labels, found none")
    truth = np.where(known == -100, np.nan, known.astype(np.float64))
    return np.nan_to_num(truth, nan=float(np.nanmin(truth)) if np.isfinite(truth).any() else 0.0)


def training_free_scores(record: VideoRecord) -> Floats:
    """Score how well each frame stands for its video, (N,).

    From features alone: the scorer where there is no checkpoint. Each cue is standardised over the frames (a constant
    one counts 0); their weighted mean is squashed by a sigmoid:

    - relevance (1): the cosine of a sentence to the nearest step of the description (its title where there are no
      steps), or, without description, its mean cosine to the other sentences, given to the frames it covers; pauses are
      bridged. Where frames and description come from one encoder (ids are equal), also the cosine of a frame to the
      nearest step. Averaged over 4.5 s.
    - position (1/2; 1/4 where there is no relevance): nearness to the middle of the video.
    - likeness (1/2; 1 where there is no relevance): the cosine of a frame to the mean of all frames, unless frames
      were compared with the description.

    What each brought, tau / rho on TVSum's 50 videos (frames = embedded captions, description = title, nothing
    trained): relevance .114 / .148, averaged .133 / .174, with position .152 / .198, with likeness too .144 / .188;
    position alone .100 / .130, likeness alone .008 / .012. On three narrated how-to videos, area under the curve of
    steps against the rest, relevance averaged .995 and .989, with position and likeness .990 and .999; the third has
    pictures alone: likeness 1.00, with position 1.00, position alone .69.

    Raises:
        ValueError: If there are no features, they hold NaN or infinity, or sentences and description differ in width.
    """
    if not record.video_features.shape[1]:
        raise HierSumError(f"video {record.video_id}: training-free needs frame features, found none")
    relevances = [standardised(moving_average(cue, samples_averaged(record))) for cue in _relevances(record)]
    place, alike = standardised(position_scores(record)), standardised(_likeness(record))
    if not relevances:
        cues, weights = [alike, place], [1.0, 0.25]
    elif shares_space(record) and len(record.description_features):
        cues, weights = [np.mean(relevances, axis=0), place], [1.0, 0.5]
    else:
        cues, weights = [np.mean(relevances, axis=0), place, alike], [1.0, 0.5, 0.5]
    # sigmoid(sum_c w_c z_c / sum_c w_c), z_c a cue in deviations from its mean
    return 1 / (1 + np.exp(-np.average(cues, axis=0, weights=weights)))


def position_scores(record: VideoRecord) -> Floats:
    """Score the nearness to the middle of the video, (N,).

    1 - |2p - 1|, p the place of a frame in its video from 0 to 1.
    """
    return 1 - np.abs(2 * np.clip(record.frame_times_s / record.duration_s, 0, 1) - 1)


def title_scores(record: VideoRecord) -> Floats:
    """Score the nearness to the description, (N,).

    Cosine of a frame to the nearest description text, averaged over 4.5 s.

    Raises:
        ValueError: There is no description, or frames and texts have no space in common.
    """
    if not len(record.description_features) or not shares_space(record) or not record.video_features.shape[1]:
        video, text = (record.encoders.video, record.encoders.text) if record.encoders else ("", "")
        raise HierSumError(
            f"video {record.video_id}: title needs a description, and frames and texts of one encoder; found "
            f"{counted(len(record.description), 'text')}, {len(record.description_features)} of them with features, "
            f"frames by {video or 'unknown'!r}, texts by {text or 'unknown'!r}. Where the data does not say what made "
            "them, `hiersum evaluate` takes --video-encoder ID and --text-encoder ID"
        )
    return moving_average(_frame_cue(record), samples_averaged(record))


def shares_space(record: VideoRecord, texts: np.ndarray | None = None) -> bool:
    """Tell whether frames may be compared with texts.

    They may if both have one width, and were made by encoders of one id. The texts are those of the description, if no
    others are given.
    """
    made, texts = record.encoders, record.description_features if texts is None else texts
    same = made is not None and bool(made.video) and made.video == made.text
    return same and (not len(texts) or texts.shape[1] == record.video_features.shape[1])


def moving_average(values: Floats, width: int) -> Floats:
    """Average each of N rows or values with its neighbours.

    `width` in all, fewer at the ends.
    """
    n = len(values)
    # The sum over [first, last) is sums[last] - sums[first]
    sums = np.concatenate([np.zeros_like(values[:1], np.float64), np.cumsum(values, axis=0, dtype=np.float64)])
    first, last = np.maximum(np.arange(n) - width // 2, 0), np.minimum(np.arange(n) + width // 2 + 1, n)
    counts = (last - first).reshape(-1, *[1] * (values.ndim - 1))  # (N, 1, ...), as many axes as the values
    means: Floats = (sums[last] - sums[first]) / counts
    return means


def _relevances(record: VideoRecord) -> list[Floats]:
    """List the cues from texts, each (N,).

    As `training_free_scores` says.
    """
    cues = []
    if len(record.text_features):
        cues.append(bridged(record, _sentence_cue(record)))
    if len(record.description_features) and shares_space(record):
        cues.append(_frame_cue(record))
    return cues


def _frame_cue(record: VideoRecord) -> Floats:
    """Compare frames with the nearest description text, (N,) cosines."""
    nearest: Floats = (unit_rows(record, "video_features") @ _step_features(record).T).max(axis=1)  # of (N, K)
    return nearest


def _step_features(record: VideoRecord) -> Floats:
    """Take the description without its title, (K, Dt).

    The title stays where there are no steps.
    """
    return unit_rows(record, "description_features")[first_step(record.description) :]


def samples_averaged(record: VideoRecord) -> int:
    """Count the sampled frames in `AVERAGED_S`, an odd number."""
    period_s = float(np.median(np.diff(record.frame_times_s))) if len(record.frame_times_s) > 1 else AVERAGED_S
    return round(AVERAGED_S / period_s) // 2 * 2 + 1


def _likeness(record: VideoRecord) -> Floats:
    """Compare frames with the mean of all frames, (N,) cosines."""
    frames = unit_rows(record, "video_features")
    return _cosine_to(frames, frames.mean(axis=0))


def _sentence_cue(record: VideoRecord) -> Floats:
    """Compare sentences with the description, (M,) cosines.

    With its nearest text; without description the mean over the other sentences.
    """
    sentences, texts = unit_rows(record, "text_features"), _step_features(record)
    if len(texts) == 0:
        # Mean of s_i . s_j over j != i, as (s_i . sum_j s_j - |s_i|^2) / (M - 1)
        sums: Floats = sentences @ sentences.sum(axis=0) - (sentences**2).sum(axis=1)
        return sums / max(len(sentences) - 1, 1)
    if sentences.shape[1] != texts.shape[1]:
        raise HierSumError(
            f"video {record.video_id}: expected sentences and description of one width, "
            f"found {sentences.shape[1]} and {texts.shape[1]}"
        )
    nearest: Floats = (sentences @ texts.T).max(axis=1)  # of (M, K)
    return nearest


def bridged(record: VideoRecord, cue: Floats) -> Floats:
    """Give each frame the mean cue of its sentences, (N,).

    Those that cover it; in short pauses between that of both sides. In longer pauses the mean of all sentences.
    """
    times_s = sentence_times_s(record.sentences)
    if len(times_s) != len(cue):
        raise HierSumError(f"video {record.video_id}: expected {len(cue)} sentences with times, found {len(times_s)}")
    frames_s = record.frame_times_s
    spans = times_to_spans(frames_s, times_s)
    # A step up at each start and down at each end: the sums of the steps so far are what covers each frame
    total, count = np.zeros((2, len(frames_s) + 1))
    np.add.at(total, spans, np.stack([cue, -cue], axis=1))
    np.add.at(count, spans, [1, -1])
    total, count = total.cumsum()[:-1], count.cumsum()[:-1]
    covered = np.flatnonzero(count > 0)
    values = np.full(len(frames_s), cue.mean())
    values[covered] = total[covered] / count[covered]
    if len(covered):
        # For each frame the nearest covered ones on both sides; in a short pause a straight line between them
        place = np.searchsorted(covered, np.arange(len(frames_s)))
        before, after = covered[np.maximum(place - 1, 0)], covered[np.minimum(place, len(covered) - 1)]
        pause = (count == 0) & (before < after) & (frames_s[after] - frames_s[before] <= PAUSE_S)
        values[pause] = np.interp(frames_s, frames_s[covered], values[covered])[pause]
    return values


def unit_rows(record: VideoRecord, name: str) -> Floats:
    """Scale the rows of the record's features `name` to length 1."""
    features = np.asarray(getattr(record, name))
    if not np.isfinite(features).all():
        raise HierSumError(f"video {record.video_id}: expected finite {name}, found NaN or infinity")
    rows: Floats = features.astype(np.float64)
    for first in range(0, len(rows), AT_ONCE):
        part = rows[first : first + AT_ONCE]
        part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    return rows


def _cosine_to(rows: Floats, centre: Floats) -> Floats:
    cosines: Floats = rows @ centre / max(float(np.linalg.norm(centre)), 1e-12)
    return cosines


def standardised(cue: Floats) -> Floats:
    """Take off the mean and divide by the deviation.

    0 where all are equal.
    """
    deviation = cue.std()
    return (cue - cue.mean()) / deviation if deviation > 1e-9 else np.zeros_like(cue)


# The names of all scorers that need no checkpoint.
SCORERS: dict[str, Callable[[VideoRecord], np.ndarray]] = {
    "uniform": uniform_scores,
    "position": position_scores,
    "title": title_scores,
    "oracle": oracle_scores,
    "training-free": training_free_scores,
}
WITHOUT_SCORES = ("random", "human", "shot-oracle")  # an evaluation measures these without scores of frames
# Fitted on the other parts of the split (`evaluation.ridge`): on the mean of the annotators, on that of their ranks
RIDGE, RIDGE_RANKS = "ridge", "ridge-ranks"
WITHOUT_CHECKPOINT = (*WITHOUT_SCORES, *SCORERS, RIDGE, RIDGE_RANKS)
# Beside the scorer in every report, in this order
BASELINES = ("random", "position", "title", RIDGE, "oracle", "human")
