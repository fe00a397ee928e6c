"""Score videos by a baseline, by a checkpoint, or by several of them together.

Letters: N sampled frames, M sentences, K scorers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hiersum_hf.evaluation.data import own_results, with_text_features
from hiersum_hf.evaluation.ridge import RidgeScores, ridge_scores
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import Floats, VideoRecord, counted
from hiersum_hf.scoring.average import average_scores, one_level
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.scoring.network import encoder_mismatch, predict_scores
from hiersum_hf.scoring.scores_file import is_scores_file, read_scores
from hiersum_hf.scoring.training_free import RIDGE, RIDGE_RANKS, WITHOUT_SCORES, score_frames, score_sentences


CHECKPOINT = "checkpoint"


@dataclass(frozen=True, eq=False)
class Scored:
    """Videos with scores, and what scored them.

    Attributes:
        records: The videos, with the features of texts that the scorer read.
        scores: (N,) importance for each video id; None for a baseline that has none.
        sentence_scores: (M,) for each video id; {} where the scorer gives sentences none.
        scorer, level, score_head, checkpoint, selected_on, encoder_mismatch: As `evaluate_scores` takes them.
    """

    records: Sequence[VideoRecord]
    scores: Mapping[str, Floats] | None
    scorer: str
    sentence_scores: Mapping[str, Floats] = field(default_factory=dict)
    level: str | None = None
    score_head: str | None = None
    checkpoint: str | None = None
    selected_on: str | None = None
    encoder_mismatch: str | None = None

    @property
    def about(self) -> dict[str, Any]:
        """What `evaluate_scores` takes beside records and scores."""
        names = ("scorer", "sentence_scores", "level", "score_head", "checkpoint", "selected_on", "encoder_mismatch")
        return {name: getattr(self, name) for name in names}


def by_checkpoint(
    checkpoint: str | Path,
    read: Callable[[str], Sequence[VideoRecord]],
    level: str | None = None,
    device: str = "auto",
    allow_encoder_mismatch: bool = False,
) -> Scored:
    """Score videos by the network of a checkpoint.

    Args:
        checkpoint: Folder or Hub id.
        read: Returns the videos, for the id of the text encoder that is to make features for texts without any.
        level: Level to read at; default: the checkpoint's own.
        device: Where the network runs; "auto" takes a GPU if there is one.
        allow_encoder_mismatch: Score features of another encoder, if they have the right width.

    Raises:
        HierSumError: As `load_checkpoint` and `predict_scores`.
    """
    network, extractor = load_checkpoint(checkpoint, device)
    records = with_text_features(read(extractor.text_encoder), extractor.text_encoder)
    level, own = level or network.config.default_level, own_results(checkpoint)
    allowed = allow_encoder_mismatch
    predicted = predict_scores(network, extractor, records, level, progress=True, allow_encoder_mismatch=allowed)
    return Scored(
        records,
        {name: result["scores"] for name, result in predicted.items()},
        own.scorer if own else CHECKPOINT,
        {name: result["sentence_scores"] for name, result in predicted.items()},
        level,
        network.config.score_head,
        str(checkpoint),
        own.selected_on if own else None,
        encoder_mismatch(extractor, records),
    )


def fit_ridges(
    scorers: Collection[str | Path],
    beside: Callable[[str], Iterable[VideoRecord]],
    records: Sequence[VideoRecord],
    progress: bool = False,
) -> dict[str, RidgeScores | None]:
    """Fit the ridge baseline, and the one on ranks where it is among the scorers, to score these videos.

    `beside` gives the videos of "train" and of "validation".
    """
    names = [RIDGE, *(name for name in (RIDGE_RANKS,) if name in scorers)]
    return {
        name: ridge_scores(beside("train"), beside("validation"), records, progress, rank_targets=name == RIDGE_RANKS)
        for name in names
    }


def by_name(
    scorer: str, records: Sequence[VideoRecord], ridges: Mapping[str, RidgeScores | None], known: Collection[str] = ()
) -> Scored:
    """Score videos by a scorer that has a name and no checkpoint, or by a file of scores.

    `ridges` has what `fit_ridges` fitted.

    Raises:
        HierSumError: The scorer is the ridge regression, which could not be fitted, or as `read_scores`.
    """
    if is_scores_file(scorer):
        return Scored(records, read_scores(scorer, records, known), scorer)
    if scorer in WITHOUT_SCORES:
        return Scored(records, None, scorer)
    if scorer in (RIDGE, RIDGE_RANKS):
        if (ridge := ridges.get(scorer)) is None:
            raise HierSumError(
                f"scorer {scorer}: expected a split (--fold, --folds or --split-file) whose parts all have features "
                "of one width, and train and validation annotations; found none."
            )
        return Scored(records, ridge.scores, scorer, selected_on="validation")
    scores, spoken = {}, {}
    for record in records:
        scores[record.video_id] = score_frames(record, scorer)
        if record.sentences:
            spoken[record.video_id] = score_sentences(record, scorer)
    return Scored(records, scores, scorer, spoken)


def together(each: Sequence[Scored]) -> Scored:
    """Average scorers of the same videos, as `average_scores` does; one alone stays as it is."""
    if len(each) == 1:
        return each[0]
    networks = [one for one in each if one.checkpoint]
    names = [counted(len(networks), CHECKPOINT)] if len(networks) > 1 else [CHECKPOINT] * len(networks)
    return replace(
        each[0],
        scores=average_scores([one.scores or {} for one in each]),
        sentence_scores=average_scores([one.sentence_scores for one in each]),
        scorer=" + ".join([*names, *(one.scorer for one in each if not one.checkpoint)]),
        level=one_level([one.level for one in networks if one.level]),
        score_head=_joined(one.score_head for one in networks),
        checkpoint=_joined(one.checkpoint for one in networks),
        selected_on=_joined(one.selected_on for one in each),
        encoder_mismatch=next((one.encoder_mismatch for one in each if one.encoder_mismatch), None),
    )


def _joined(values: Any) -> str | None:
    return ", ".join(dict.fromkeys(value for value in values if value)) or None
