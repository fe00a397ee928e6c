"""The road from a video to its summary: open, encode, score, choose. `hiersum_hf.summary.files` writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.features.video_encoder import VideoEncoder, is_out_of_memory
from hiersum_hf.files.memory import give_back_memory
from hiersum_hf.inference.scorer import Scorer
from hiersum_hf.inference.source import open_source
from hiersum_hf.modeling.errors_hiersum import HierSumError, InputError, expect_type
from hiersum_hf.modeling.levels_hiersum import usable_level
from hiersum_hf.records import Sentence, Summary, VideoRecord
from hiersum_hf.scoring.average import average_scores, one_level
from hiersum_hf.scoring.topics import (
    NONE,
    asked_scores,
    checked_queries,
    is_answered,
    relevance_to,
    sentence_of_frames,
    step_of_frames,
)
from hiersum_hf.scoring.training_free import training_free_scores
from hiersum_hf.summary.compose import summarize_scores
from hiersum_hf.summary.key_shots import frame_edges
from hiersum_hf.summary.selection import STILL_COVERAGE, Background, Selection
from hiersum_hf.timeline import budget_of
from hiersum_hf.video.stills import Glances, nothing_there, still_stretches


MANY_FRAMES = 20_000  # from there on a network needs more memory than reading did


@dataclass(frozen=True, eq=False)
class ScoredVideo:
    """A video whose frames have scores: summaries of any length follow from it without decoding it again.

    Letters: N sampled frames, M sentences.

    Args:
        record: Features, texts that were read by the scorer, length.
        scores: (N,) importance in [0, 1].
        sentence_scores: (M,), or None where the scorer gives sentences none.
        sentences: The M subtitle sentences, also where the scorer reads no text.
        scorer: What gave the scores.
        level: Level that was read, None without levels.
        warnings: What the reader should know.
        cuts_s: Times where shots begin; None: shots follow from the features.
        queries, relevance, answered: What was asked for, the (Q, N) cosines of the moments to it, and (Q,) whether
            anything is near; None without queries.
        glances: What the pictures show; None where they are not known.
        heard: (N,) whether there is sound at each frame; None where that is not known or not needed.
    """

    record: VideoRecord
    scores: np.ndarray
    sentence_scores: np.ndarray | None
    sentences: tuple[Sentence, ...]
    scorer: Scorer
    level: str | None
    warnings: tuple[str, ...] = ()
    cuts_s: np.ndarray | None = None
    queries: tuple[str, ...] = ()
    relevance: np.ndarray | None = None
    answered: np.ndarray | None = None
    glances: Glances | None = None
    heard: np.ndarray | None = None

    def summarize(self, budget: str | float = "0.15", selection: Selection | None = None) -> Summary:
        """Choose a summary.

        Args:
            budget: "0.15" or "15%" of the video; "60s", "1:30", "10min".
            selection: How to choose; default: the rule for people with segments of at least 3 s.

        Raises:
            ValueError: A wrong budget, or what is to be kept or skipped cannot be.
        """
        duration_s, extractor = self.record.duration_s, self.scorer.extractor
        shown = [i for i, sentence in enumerate(self.sentences) if sentence.start_s < duration_s]
        spoken = None if self.sentence_scores is None else self.sentence_scores[shown]
        return summarize_scores(
            self.record.frame_times_s,
            self.scores,
            duration_s,
            self.record.video_features,
            budget_of(budget, duration_s),
            video=Path(self.record.video_id).name,
            scorer="checkpoint" if self.scorer.networks else "training-free",
            level=self.level,
            checkpoint=self.scorer.checkpoint,
            encoders={"video": extractor.video_encoder, "text": extractor.text_encoder},
            sentences=[replace(self.sentences[i], end_s=min(self.sentences[i].end_s, duration_s)) for i in shown],
            sentence_scores=spoken,
            cuts_s=self.cuts_s,
            warnings=self.warnings,
            selection=selection,
            background=self.background,
        )

    @cached_property
    def background(self) -> Background:
        """What is known beside scores and sentences: steps, queries, pictures that show nothing, silence."""
        record = self.record
        step_of = step_of_frames(record) if len(record.description) == len(record.description_features) else None
        covered, coverage = step_of, {}
        edges_s = frame_edges(record.frame_times_s, record.duration_s)
        if self.glances is not None and (step_of is None or len({*step_of} - {NONE}) < 2):  # no steps told apart
            covered, coverage = still_stretches(np.array(self.glances.change), edges_s), {"coverage": STILL_COVERAGE}
        said = sentence_of_frames(self.sentences, record.frame_times_s) >= 0 if self.sentences else self.heard
        dead = None if self.glances is None else nothing_there(self.glances, edges_s, said)
        return Background(
            steps=tuple(record.description),
            step_of=step_of,
            queries=self.queries,
            relevance=self.relevance,
            answered=self.answered,
            covered=covered,
            dead=dead,
            quiet=None if self.heard is None else ~self.heard,
            words=record.text_features if len(record.text_features) == len(self.sentences) else np.zeros((0, 0)),
            **coverage,
        )


def score_video(
    video: Any,
    scorer: Scorer,
    subtitles: str | Path | Iterable[Any] | None = None,
    description: str | Path | Sequence[Any] | dict[str, Any] | None = None,
    *,
    language: str | None = None,
    transcribe: str | None = None,
    subtitle_encoding: str | None = None,
    fps: float | None = None,
    queries: str | Iterable[str] | None = None,
    batch_size: int = 16,
    cache: str | Path | None = None,
    shots: str = "kts",
    progress: Callable[[str, float], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> ScoredVideo:
    """Read, decode, encode and score one video.

    Args:
        video: A path, an open binary file, bytes, decoded frames, or a dict with features or with any of these, as
            `HierSumPipeline.__call__` takes them.
        scorer: Of `load_scorer`.
        subtitles: As `read_texts` takes them.
        description: As `read_texts` takes it.
        language: Of the subtitles, where there are several.
        transcribe: Size of the Whisper model for videos without subtitles.
        subtitle_encoding: Of a subtitle file, as `read_subtitles` takes it; default: told or guessed by its bytes.
        fps: Frames a second of decoded frames that come without times.
        queries: What the summary shall be about: one text or several.
        batch_size: Frames encoded together.
        cache: Folder of features, as `hiersum_hf.features.cache` keeps them; default: none.
        shots: "kts" = where the features change, "cuts" = where the picture changes abruptly (see `CutFinder`).
        progress: Is told "texts", "frames" or "scores" and the share of it that is done, in [0, 1]. What it raises
            ends the work, and nothing is left of it.
        note: Is told what the reader of a summary should know as soon as it is known, most of it before the work; the
            summary's `warnings` hold all of it.

    Raises:
        ImportError: Cuts are asked for and their detector is not installed.
        FileNotFoundError: A file is missing.
        HierSumError: A file is unreadable, no subtitle lies in the video, features are of another encoder, the level
            needs a description, `shots` is neither, or a query has no words or nothing in the video can be compared
            with it. The message names the video.
    """
    expect_type("scorer", scorer, Scorer, "what load_scorer returns")
    if shots not in ("kts", "cuts"):
        raise HierSumError(f'shots: expected "kts" or "cuts", found {shots!r}')
    tell = progress or (lambda step, share: None)
    queries = checked_queries(queries)
    tell("texts", 0.0)
    given = dict(video) if isinstance(video, Mapping) else {"video": video}
    given |= {"subtitles": subtitles, "description": description, "fps": fps}
    source = open_source(scorer, given, language, transcribe, subtitle_encoding=subtitle_encoding)
    say = note or (lambda text: None)
    for text in (*source.notes, *(() if scorer.networks else levels_of(scorer, source.has_description)[1])):
        say(text)

    def load() -> VideoEncoder:
        scorer.load()
        for text in levels_of(scorer, source.has_description)[1]:  # refuses one that needs a description
            say(text)
        if scorer.extractor.text_encoder and (source.sentences or source.description or queries):
            _ = scorer.text_encoder
        return scorer.video_encoder

    tell("texts", 1.0)
    encoded = source.encode(
        batch_size, cache, shots, lambda at_s: tell("frames", min(at_s / source.duration_s, 1.0)), load
    )
    _, notes = levels_of(scorer, source.has_description)
    tell("scores", 0.0)
    if scorer.networks and len(encoded.record.video_features) > MANY_FRAMES:
        scorer.release_encoders()
        give_back_memory()
    scored = score_record(encoded.record, scorer, source.sentences, (*encoded.notes, *notes))
    scored = replace(scored, cuts_s=encoded.cuts_s, glances=encoded.glances, heard=encoded.heard)
    scored = ask(scored, queries)
    tell("scores", 1.0)
    return scored


def levels_of(scorer: Scorer, has_description: bool) -> tuple[list[str], list[str]]:
    """Return the level at which each network of the scorer reads a video, and what to note.

    Raises:
        HierSumError: The level asked for needs a description.
    """
    if not scorer.networks:
        return [], ["No checkpoint given: scored by the training-free scorer."]
    found = [usable_level(network.config, scorer.level, has_description) for network in scorer.networks]
    return [level for level, _ in found], list(dict.fromkeys(note for _, notes in found for note in notes))


def score_record(
    record: VideoRecord, scorer: Scorer, sentences: Sequence[Sentence] = (), warnings: Sequence[str] = ()
) -> ScoredVideo:
    """Score a video whose features are there.

    Raises:
        HierSumError: There is too little memory for all its frames together, the features do not suit, or the level
            asked for needs a description.
    """
    levels, _ = levels_of(scorer, len(record.description_features) > 0)
    if not levels:
        return ScoredVideo(record, training_free_scores(record), None, tuple(sentences), scorer, None, tuple(warnings))
    from hiersum_hf.scoring.network import predict_scores

    try:
        found = [
            predict_scores(network, scorer.extractor, [record], level)[record.video_id]
            for network, level in zip(scorer.networks, levels, strict=True)
        ]
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        frames = f"{record.video_id}: expected memory for its {len(record.video_features)} frames together"
        raise InputError(f"{frames}, found too little: {error}") from error
    give_back_memory()  # of the network's layers, 400 MB of ten hours
    reads = [one["sentence_scores"] for one, level in zip(found, levels, strict=True) if level != "parent"]
    scores = average_scores([{"frames": one["scores"]} for one in found])["frames"]
    spoken = average_scores([{"sentences": rows[: len(record.text_features)]} for rows in reads]).get("sentences", ())
    return ScoredVideo(
        record,
        np.clip(scores, 0, 1),
        np.clip(spoken, 0, 1) if len(spoken) else None,
        tuple(sentences),
        scorer,
        one_level(levels),
        tuple(warnings),
    )


def ask(scored: ScoredVideo, queries: Sequence[str]) -> ScoredVideo:
    """Blend what was asked for into the scores of a video.

    Raises:
        ValueError: Nothing in the video can be compared with the queries, or no text encoder reads them.
    """
    if not queries:
        return scored
    if not scored.scorer.extractor.text_encoder:
        raise HierSumError("query: expected a checkpoint with a text encoder, found one that was trained without text")
    relevance = relevance_to(scored.record, scored.scorer.text_encoder.encode(list(queries)))
    answered = np.array([is_answered(scored.record, row) for row in relevance])
    notes = [
        f"Nothing in the video is near to the query {query!r} (nearest: cosine {row.max():.2f}): chosen without it."
        for query, row, near in zip(queries, relevance, answered, strict=True)
        if not near
    ]
    asked: dict[str, Any] = {"queries": tuple(queries), "relevance": relevance, "answered": answered}
    if answered.any():
        asked |= {"scores": asked_scores(scored.scores, relevance[answered]), "sentence_scores": None}
    return replace(scored, warnings=(*scored.warnings, *notes), **asked)
