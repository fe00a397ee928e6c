"""Texts of a description, and queries, along a video.

Which text each moment is about, and how near it is to what was asked for. Letters: N sampled frames, M sentences, K
texts, Q queries. Nothing here is given in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.inputs_hiersum import times_to_spans
from hiersum_hf.records import Floats, Sentence, VideoRecord, first_step, sentence_times_s
from hiersum_hf.scoring.training_free import bridged, shares_space, standardised, unit_rows


NONE = -1  # the owner of what is near no text
NEAR = 0.3  # deviations above what is usual for a text: less is near none
BACK, SKIPPED = 2.0, 1.0  # costs of going back to an earlier text, of each text passed over
NEIGHBOUR = 0.2  # weight of each of the rows before and after
ASKED = 2.0  # weight of what was asked for beside the scores
OUTSTANDING = 2.5  # deviations above the mean of a query's best moment: less stands out nowhere


def nearest_texts(nearness: Floats, ordered: bool) -> np.ndarray:
    """Give each row to the text that it is about.

    The rows stand in the order of time; some belong to no text. A text that is close to everything says little by being
    close: nearness counts from each text's own mean, in units between its own deviation and that of all. Steps are told
    one after the other: what is said before and after counts too, going back and passing texts over cost (exact by
    dynamic programming over rows and texts). In two how-to videos this gives 25 of 29 sentences to their own step, the
    nearest text alone 16; in the ten with subtitles of `scripts/run_benchmark.py selection`, on which the numbers were
    chosen, 89 of 142.

    Args:
        nearness: (M, K) cosines of sentences, or of frames, to texts.
        ordered: The texts follow each other as in the video: steps do, queries do not.

    Returns:
        (M,) index of the text, `NONE` where none is near.
    """
    m, k = nearness.shape
    if not m or not k:
        return np.full(m, NONE)
    if ordered:
        padded = np.pad(nearness, ((1, 1), (0, 0)), "edge")  # (M + 2, K)
        nearness = (1 - 2 * NEIGHBOUR) * nearness + NEIGHBOUR * (padded[:-2] + padded[2:])
    # (cosine - mean_k) / sqrt(sd_k sd) - NEAR, with the mean and the deviation of each text k and the deviation of all
    unit = np.sqrt(np.maximum(nearness.std(axis=0), 1e-9) * max(float(nearness.std()), 1e-9))
    above = (nearness - nearness.mean(axis=0)) / unit - NEAR
    if not ordered:
        return np.where(above.max(axis=1) > 0, above.argmax(axis=1), NONE)
    steps = np.arange(k)
    # best[j, k] = max(best[j - 1, k], max_i(best[j - 1, i] + move[i, k]) + above[j, k]): row j is about no text, or
    # about text k after text i; a description may be begun at its first text alone
    ahead = steps[None, :] - steps[:, None]  # (K, K) from each text to each
    moves = np.where(ahead < 0, -BACK, -SKIPPED * np.maximum(ahead - 1, 0))
    values, came_from = np.append(0.0, np.full(k - 1, -np.inf)) if k > 1 else np.zeros(1), []
    for row in above:  # values: best so far where the last text met is each of them
        offers = values[:, None] + moves  # (K, K)
        source = offers.argmax(axis=0)
        taken = offers[source, steps] + row
        came_from.append(np.where(taken > values, source, NONE))
        values = np.maximum(taken, values)
    owners, text = np.full(m, NONE), int(values.argmax())  # back from the best end
    for j in reversed(range(m)):
        if came_from[j][text] != NONE:
            owners[j] = text
            text = int(came_from[j][text])
    return owners


def sentence_of_frames(sentences: Sequence[Sentence], times_s: np.ndarray) -> np.ndarray:
    """Tell the sentence spoken at each sampled frame, (N,).

    The last that began, -1 for none.
    """
    found = np.full(len(times_s), NONE)
    spans = times_to_spans(times_s, sentence_times_s(sentences))
    for sentence, (start, end) in enumerate(spans):
        found[start:end] = sentence
    return found


def step_of_frames(record: VideoRecord) -> np.ndarray:
    """Tell which step of the description each frame is about.

    (N,) index of its text, `NONE` for none. By the sentence spoken at the frame; in a video without sentences by the
    frame itself, where frames and texts come from one encoder.
    """
    first = first_step(record.description)
    texts = unit_rows(record, "description_features")[first:]
    if not len(texts) or not (len(record.text_features) or shares_space(record)):
        return np.full(len(record.frame_times_s), NONE)
    name = "text_features" if len(record.text_features) else "video_features"
    owners = nearest_texts(unit_rows(record, name) @ texts.T, ordered=True)
    owners = np.where(owners == NONE, NONE, owners + first)
    if name == "video_features":
        return owners
    sentence = sentence_of_frames(record.sentences, record.frame_times_s)
    return np.where(sentence >= 0, owners[sentence], NONE)


def checked_queries(queries: str | Iterable[str] | None) -> tuple[str, ...]:
    """Fold the white space of queries, and refuse empty ones.

    Raises ValueError for a query without words.
    """
    listed = [] if queries is None else [queries] if isinstance(queries, str) else list(queries)
    folded = [" ".join(query.split()) if isinstance(query, str) else "" for query in listed]
    for query, found in zip(folded, listed, strict=True):
        if not any(letter.isalnum() for letter in query):
            raise HierSumError(f"query: expected words, found {found!r}")
    return tuple(dict.fromkeys(folded))


def relevance_to(record: VideoRecord, query_features: np.ndarray) -> Floats:
    """Measure how near each moment is to each query.

    (Q, N) cosines. Of the sentence spoken at the frame, pauses bridged; where frames and texts come from one encoder,
    the mean of this and the frame's own, both about the mean of the former.

    Raises:
        ValueError: Nothing in the video can be compared with words.
    """
    queries = np.asarray(query_features, np.float64)
    queries = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)
    parts: list[Floats] = []  # (Q, N) each
    if len(record.text_features):
        nearness = unit_rows(record, "text_features") @ queries.T  # (M, Q)
        parts.append(np.stack([bridged(record, column) for column in nearness.T]))
    if shares_space(record, queries):
        parts.append((unit_rows(record, "video_features") @ queries.T).T)
    if not parts:
        raise HierSumError(
            f"video {record.video_id}: a query needs subtitles, or frames and words from one encoder (CLIP); found "
            "neither"
        )
    # The mean of the parts, each about its own mean over time, moved to the first part's mean
    means = [part.mean(axis=1, keepdims=True) for part in parts]
    about: Floats = np.mean([part - mean for part, mean in zip(parts, means, strict=True)], axis=0) + means[0]
    return about


def is_answered(record: VideoRecord, relevance: Floats) -> bool:
    """Tell whether anything in the video is near to a query.

    By the (N,) cosines of the query. Near is what is nearer than the video's sentences are to each other on average; in
    a video without sentences, what is `OUTSTANDING` deviations above the usual.
    """
    sentences = unit_rows(record, "text_features")
    m = len(sentences)
    if m > 1:
        # Mean of s_i . s_j over i != j, as (|sum_i s_i|^2 - sum_i |s_i|^2) / (M (M - 1))
        usual = (float((sentences.sum(axis=0) ** 2).sum()) - float((sentences**2).sum())) / (m * (m - 1))
        return bool(relevance.max() > usual)
    return m == 1 or bool(standardised(relevance).max() >= OUTSTANDING)


def asked_scores(scores: Floats, relevance: Floats) -> Floats:
    """Blend scores with what was asked for, (N,) in [0, 1].

    The relevance, the greatest over the (Q, N) queries of each one's standardised cosines, counts twice as much as the
    standardised scores.
    """
    # sigmoid((z(score) + ASKED z(asked)) / (1 + ASKED)), z the standardised value
    asked = standardised(np.max([standardised(row) for row in relevance], axis=0))
    return 1 / (1 + np.exp(-(standardised(scores) + ASKED * asked) / (1 + ASKED)))
