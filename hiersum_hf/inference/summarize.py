"""A video file to its summary: read its texts, decode, encode, score, choose. `hiersum_hf.summary.files` writes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.features.cache import FrameSettings, frame_features
from hiersum_hf.features.text_encoder import TextEncoder, default_extractor, load_text_encoder
from hiersum_hf.features.video_encoder import VideoEncoder, is_out_of_memory, load_video_encoder, refuse_precomputed
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.modeling.pipeline_hiersum import usable_level
from hiersum_hf.records import Encoders, Sentence, Summary, VideoRecord
from hiersum_hf.scoring.checkpoint import load_checkpoint, torch_device
from hiersum_hf.scoring.network import predict_scores
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
from hiersum_hf.texts.find import read_texts
from hiersum_hf.timeline import budget_of, parse_budget
from hiersum_hf.video.cuts import find_cuts
from hiersum_hf.video.reader import probe
from hiersum_hf.video.stills import Glances, heard, nothing_there, still_stretches


@dataclass(frozen=True, eq=False)
class Scorer:
    """What scores videos, loaded once for many of them; made by `load_scorer`.

    Args:
        extractor: Names the encoders and the sample rate.
        network: None for the training-free scorer.
        checkpoint: Folder or Hub id of the network.
        level: Level asked for; None: the checkpoint's own.
        device: Of network and encoders.
        dtype: Precision of the encoders.
    """

    extractor: HierSumFeatureExtractor
    network: HierSumModel | None = None
    checkpoint: str | None = None
    level: str | None = None
    device: str = "cpu"
    dtype: str = "float32"

    @cached_property
    def video_encoder(self) -> VideoEncoder:
        return load_video_encoder(self.extractor.video_encoder, self.device, self.dtype)

    @cached_property
    def text_encoder(self) -> TextEncoder:
        return load_text_encoder(self.extractor.text_encoder, self.device)


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
            scorer="training-free" if self.scorer.network is None else "checkpoint",
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


def summarize_video(
    video: str | Path,
    subtitles: str | Path | Iterable[Any] | None = None,
    description: str | Path | Sequence[Any] | dict[str, Any] | None = None,
    model: str | Path | None = None,
    budget: str | float = "0.15",
    level: str | None = None,
    device: str = "auto",
    queries: str | Iterable[str] | None = None,
    selection: Selection | None = None,
) -> tuple[Summary, tuple[Sentence, ...]]:
    """Summary of a video file, and all sentences of its subtitles.

    Args:
        video: Any file that FFmpeg reads.
        subtitles, description: As `read_texts` takes them.
        model, level, device: As `load_scorer` takes them.
        budget, selection: As `ScoredVideo.summarize` takes them.
        queries: As `score_video` takes them.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is unreadable, no subtitle lies in the video, the checkpoint is of another model or was
            not trained at the level. The message names the file.
    """
    parse_budget(budget)
    scored = score_video(video, load_scorer(model, level, device), subtitles, description, queries=queries)
    return scored.summarize(budget, selection), scored.sentences


def load_scorer(
    model: str | Path | None = None, level: str | None = None, device: str = "auto", dtype: str = "float32"
) -> Scorer:
    """A checkpoint as a scorer, or the training-free scorer.

    Args:
        model: Folder or Hub id of a checkpoint; its own encoders and sample rate are used. Default: the training-free
            scorer, on the offline encoders where they are installed, else on CLIP and Sentence-BERT from the Hub.
        level: "child", "parent", "both" or "joint"; default the checkpoint's own.
        device: "auto" takes a GPU if there is one.
        dtype: Precision of the frame encoder, as `load_video_encoder` takes it.

    Raises:
        ValueError: No such device, not a checkpoint of this model, one that was not trained at the level, or one for
            features that cannot be computed from a video file.
    """
    if level is not None and model is None:
        raise InputError(f"Level {level!r} needs a checkpoint: the training-free scorer has no levels.")
    device = str(torch_device(device))
    if model is None:
        return Scorer(default_extractor(), device=device, dtype=dtype)
    network, extractor = load_checkpoint(model, device)
    refuse_other_features(str(model), extractor)
    usable_level(network.config, level, has_description=True)  # refuses one that was not trained
    return Scorer(extractor, network, str(model), level, device, dtype)


def refuse_other_features(checkpoint: str, extractor: HierSumFeatureExtractor) -> None:
    """Raises ValueError for a checkpoint for features that cannot be computed from frames."""
    refuse_precomputed(extractor.video_encoder, "video file")
    if extractor.normalization != "none":
        wanted = "expected a checkpoint trained on features as an encoder gives them"
        raise InputError(f"{checkpoint}: {wanted}, found one with normalization {extractor.normalization!r}")


def score_video(
    video: str | Path,
    scorer: Scorer,
    subtitles: str | Path | Iterable[Any] | None = None,
    description: str | Path | Sequence[Any] | dict[str, Any] | None = None,
    language: str | None = None,
    transcribe: str | None = None,
    batch_size: int = 16,
    cache: str | Path | None = None,
    shots: str = "kts",
    queries: str | Iterable[str] | None = None,
) -> ScoredVideo:
    """Reads, decodes, encodes and scores a video file.

    Args:
        video: Any file that FFmpeg reads.
        subtitles, description, language, transcribe: As `read_texts` takes them.
        batch_size: Frames encoded together.
        cache: Folder of features, as `hiersum_hf.features.cache` keeps them; default: none.
        shots: "kts" = where the features change, "cuts" = where the picture changes abruptly (see `find_cuts`).
        queries: What the summary shall be about: one text or several.

    Raises:
        ImportError: Cuts are asked for and their detector is not installed.
        FileNotFoundError: A file is missing.
        ValueError: A file is unreadable, no subtitle lies in the video, the level needs a description, `shots` is
            neither, or a query has no words or nothing in the video can be compared with it.
    """
    queries = checked_queries(queries)
    if shots not in ("kts", "cuts"):
        raise InputError(f'shots: expected "kts" or "cuts", found {shots!r}')
    duration_s, extractor = probe(video).duration_s, scorer.extractor
    asked = (subtitles, description, language, transcribe, scorer.device)
    sentences, texts, warnings = read_texts(video, duration_s, *asked)
    if not extractor.text_encoder and (sentences or texts):
        warnings.append("The checkpoint was trained without text: subtitles and description are not read.")
        texts = ()
    level = None
    if scorer.network is not None:
        level, notes = usable_level(scorer.network.config, scorer.level, bool(texts))
        warnings += notes
    else:
        warnings.append("No checkpoint given: scored by the training-free scorer.")
    cuts_s = find_cuts(video) if shots == "cuts" else None
    if cuts_s is not None:
        warnings.append(f"Shots begin where the picture changes abruptly (cuts found: {len(cuts_s)}).")
    read = sentences if extractor.text_encoder else ()
    record, glances = encode_video(video, scorer, read, texts, duration_s, batch_size, cache, warnings)
    scored = score_record(record, scorer, level, sentences, warnings, queries)
    edges_s = frame_edges(record.frame_times_s, record.duration_s)
    sound = heard(video, edges_s) if glances is not None and not sentences else None
    return replace(scored, cuts_s=cuts_s, glances=glances, heard=sound)


def score_record(
    record: VideoRecord,
    scorer: Scorer,
    level: str | None = None,
    sentences: Sequence[Sentence] = (),
    warnings: Sequence[str] = (),
    queries: Sequence[str] = (),
) -> ScoredVideo:
    """Scores of a video whose features are there; `level` as one the checkpoint was trained at, None without one.

    Raises:
        ValueError: There is too little memory for all its frames together, the features do not suit, or nothing in
            the video can be compared with the queries.
    """
    if scorer.network is None:
        scores, spoken = training_free_scores(record), None
    else:
        try:
            found = predict_scores(scorer.network, scorer.extractor, [record], level)[record.video_id]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            frames = f"{record.video_id}: expected memory for its {len(record.video_features)} frames together"
            raise InputError(f"{frames}, found too little: {error}") from error
        scores, spoken = found["scores"], found["sentence_scores"][: len(record.text_features)]
        spoken = None if level == "parent" or not len(spoken) else spoken
    scored = ScoredVideo(record, scores, spoken, tuple(sentences), scorer, level, tuple(warnings))
    return ask(scored, queries)


def ask(scored: ScoredVideo, queries: Sequence[str]) -> ScoredVideo:
    """Blend what was asked for into the scores of a video.

    Raises:
        ValueError: Nothing in the video can be compared with the queries, or no text encoder reads them.
    """
    if not queries:
        return scored
    if not scored.scorer.extractor.text_encoder:
        raise InputError("query: expected a checkpoint with a text encoder, found one that was trained without text")
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


def encode_video(
    video: str | Path,
    scorer: Scorer,
    sentences: Sequence[Sentence],
    description: Sequence[str],
    duration_s: float,
    batch_size: int = 16,
    cache: str | Path | None = None,
    warnings: list[str] | None = None,
) -> tuple[VideoRecord, Glances | None]:
    """The video as a record, encoded with the encoders and at the sample rate that the scorer names; its pictures.

    `warnings` gets what `iter_frames` says of parts that cannot be decoded; a video whose pictures end too early is as
    long as they are.
    """
    extractor = scorer.extractor
    settings = FrameSettings(extractor.video_encoder, extractor.sample_fps, scorer.dtype)
    total = math.ceil(duration_s * extractor.sample_fps)
    frames = frame_features(video, settings, lambda: scorer.video_encoder, cache, batch_size, total)
    if warnings is not None:
        warnings += frames.warnings
    nothing = np.zeros((0, extractor.text_dim), np.float32)
    last_s = frames.times_s[-1]
    record = VideoRecord(
        video_id=str(video),
        video_features=frames.features,
        frame_times_s=frames.times_s,
        duration_s=min(duration_s, frames.end_s),
        encoders=Encoders(extractor.video_encoder, extractor.text_encoder, extractor.sample_fps),
        sentences=tuple(replace(s, start_s=min(s.start_s, last_s)) for s in sentences),
        text_features=scorer.text_encoder.encode([s.text for s in sentences]) if sentences else nothing,
        description=tuple(description),
        description_features=scorer.text_encoder.encode(description) if description else nothing,
    )
    return record, frames.glances
