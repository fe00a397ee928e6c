"""The parsers: whole folders for each, and how it reads them; what it accepts must be sound, or it has a bug too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from huggingface_hub.errors import StrictDataclassError

from fuzzing import seeds
from hiersum_hf import HierSumConfig, HierSumFeatureExtractor
from hiersum_hf.datasets.manifest import claimed
from hiersum_hf.datasets.prepared import prepared_dataset, prepared_splits, stream_prepared
from hiersum_hf.datasets.readers.annotations import AnnotationReader
from hiersum_hf.datasets.readers.bliss import BLiSSReader
from hiersum_hf.datasets.readers.folder import FolderReader
from hiersum_hf.datasets.readers.howto import HowToReader, read_steps
from hiersum_hf.datasets.readers.mrhisum import MrHiSumReader
from hiersum_hf.datasets.readers.pickles import convert_pickled_arrays
from hiersum_hf.datasets.readers.replay import read_replays
from hiersum_hf.datasets.readers.replay_reader import ReplayReader
from hiersum_hf.datasets.readers.sdmvsum import SMMrHiSumReader, SMVideoXumReader
from hiersum_hf.datasets.readers.side_files import read_features, read_segments
from hiersum_hf.datasets.readers.trimodal import TrimodalReader
from hiersum_hf.datasets.readers.tvsum import TVSumReader
from hiersum_hf.datasets.readers.tvsum_ratings import rated_record, read_ratings
from hiersum_hf.datasets.readers.wikihow import WikiHowReader
from hiersum_hf.datasets.readers.wikihow_articles import read_articles
from hiersum_hf.datasets.readers.youtube8m import read_tfrecord
from hiersum_hf.datasets.schema import schema, to_row, to_table
from hiersum_hf.datasets.split_files import read_splits
from hiersum_hf.evaluation.comparison import compare
from hiersum_hf.features.cache import stored_features
from hiersum_hf.records import Encoders, VideoRecord, sentence_times_s
from hiersum_hf.results import Results
from hiersum_hf.scoring.checkpoint import read_object
from hiersum_hf.scoring.scores_file import read_scores
from hiersum_hf.texts.subtitles import read_description, read_subtitles, write_srt
from hiersum_hf.texts.tracks import embedded_subtitles
from hiersum_hf.training.flags import parser, recipe_words
from hiersum_hf.video.reader import iter_frames, probe


# What the commands report in one line; a missing file is an OSError. The last one is of Transformers' configurations.
EXPECTED = (ValueError, OSError, StrictDataclassError)
ARRAYS, CONTAINERS = 100_000, 5_000  # inputs: for texts and arrays, for HDF5, Parquet and video files
PARSER = parser()


@dataclass(frozen=True)
class Target:
    """Folders, each of `files()`, that `read` accepts; `damage` is a pattern of the files that are changed."""

    files: Callable[[], list[dict[str, Any]]]
    read: Callable[[Path], Any]
    inputs: int = ARRAYS
    damage: str = "*"


def sound(record: VideoRecord) -> None:
    """AssertionError if a reader let through what training, evaluation or `prepare` must not meet."""
    times_s, n, m = record.frame_times_s, len(record.frame_times_s), len(record.sentences)
    features, scores, labels, shots = record.video_features, record.frame_scores, record.frame_labels, record.shots
    spans_s = sentence_times_s(record.sentences)
    last, words = record.n_frames or 0, [*record.description, *(s.text for s in record.sentences)]
    rules = {
        "times": np.isfinite(times_s).all() and (np.diff(times_s, prepend=-1e-9) > 0).all(),
        "duration": np.isfinite(record.duration_s) and record.duration_s >= 0,
        "features": features.ndim == 2 and len(features) in (0, n) and np.isfinite(features).all(),
        "sentences": np.isfinite(spans_s).all() and (spans_s >= 0).all() and (np.diff(spans_s) >= 0).all(),
        "text_features": len(record.text_features) in (0, m) and np.isfinite(record.text_features).all(),
        "description_features": len(record.description_features) in (0, len(record.description)),
        "scores": scores is None or (len(scores) == n and ((scores >= 0) & (scores <= 1) | np.isnan(scores)).all()),
        "labels": labels is None or (labels.shape == (n,) and np.isin(labels, (0, 1, -100)).all()),
        "sentence_labels": record.sentence_labels is None or len(record.sentence_labels) == m,
        "user_scores": record.user_scores is None or record.user_scores.shape[1:] == (n,),
        "user_summaries": record.user_summaries is None or record.user_summaries.shape[1:] == (last,),
        "shots": shots is None or (shots.min() >= 0 and shots.max() <= last and (np.diff(shots.ravel()) >= 0).all()),
        "picks": record.picks is None or (len(record.picks) == n and (np.diff(record.picks) > 0).all()),
        "encoders": record.encoders is None or 0 < record.encoders.sample_fps < np.inf,
        "texts": all(isinstance(text, str) for text in words),
    }
    if broken := [name for name, holds in rules.items() if not holds]:
        raise AssertionError(f"accepted a record with wrong {', '.join(broken)}")
    columns = schema(features.shape[1], max(record.text_features.shape[1], record.description_features.shape[1]))
    row = to_row(record, columns)
    try:
        to_table([row], columns)
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise AssertionError(f"accepted a record that cannot be stored: {error}") from error


def every(*parts: Callable[[], Any]) -> None:
    """Does all of it; raises the first refusal at the end."""
    refusals = []
    for part in parts:
        try:
            part()
        except EXPECTED as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def whole(reader: Any) -> None:
    """Lists the videos, their parts and findings, and reads every one."""
    ids = reader.video_ids
    every(lambda: reader.splits, lambda: reader.findings, *(lambda i=i: sound(reader.read(i)) for i in ids))


def subtitles(folder: Path) -> None:
    (file,) = folder.iterdir()
    sentences = read_subtitles(file)
    assert all(a.start_s <= b.start_s for a, b in pairwise(sentences)), "sentences in disorder"
    assert all(s.start_s <= s.end_s and s.text == " ".join(s.text.split()) != "" for s in sentences), "odd sentences"
    write_srt(sentences, file.with_suffix(".out"))


def description(folder: Path) -> None:
    (file,) = folder.iterdir()
    assert all(isinstance(text, str) and text.strip() for text in read_description(file)), "empty texts"


def scores(folder: Path) -> None:
    """Somebody's scores of two videos of four frames."""
    (file,) = folder.iterdir()
    times_s = np.arange(4, dtype=float)
    features, encoders = np.zeros((4, 2), np.float32), Encoders(None, None, None)
    videos = [VideoRecord(name, features, times_s, 4.0, encoders) for name in seeds.SCORES]
    found = read_scores(file, videos)
    assert all(found[one.video_id].shape == (4,) and np.isfinite(found[one.video_id]).all() for one in videos), "odd"


def replays(folder: Path) -> None:
    for curve in read_replays(folder / "curves.json").values():
        if curve is not None:
            scores = curve.scores_at(np.arange(0.0, 8, 0.5))
            assert (np.isnan(scores) | (scores >= 0) & (scores <= 1)).all(), "scores outside [0, 1]"


def info(folder: Path) -> None:
    """A downloader's info.json joined with articles."""
    reader = HowToReader.open(FolderReader(folder, text_encoder="/none"), folder / "steps.json")
    every(lambda: reader.video_ids, lambda: reader.findings, lambda: reader.lacks)


def config(folder: Path) -> None:
    """As every command reads it; alone, Transformers ends in a traceback at JSON that is no object."""
    read_object(folder / "config.json")
    HierSumConfig.from_pretrained(folder)


def spans(folder: Path) -> None:
    """Times of frames and sentences to spans, as the feature extractor does it for every batch."""
    try:
        with np.load(folder / "input.npz", allow_pickle=False) as file:
            given = {key: [file[key]] for key in ("video_features", *file.files) if file[key].ndim}
    except Exception:  # of the file, which `npz` is for
        raise ValueError("no arrays") from None
    if "video_features" not in given or given.keys() - seeds.batch():
        raise ValueError("no arguments of the extractor")
    batch = HierSumFeatureExtractor("v", "t", 8, 6, 2.0)(**given, level="joint", return_tensors="np")
    found, n = batch["text_spans"], batch["video_features"].shape[1]
    assert ((found >= 0) & (found <= n)).all(), "spans outside the video"
    assert (found[..., 0] <= found[..., 1]).all(), "spans that end before they start"


def ratings(folder: Path) -> None:
    (file,) = folder.iterdir()
    for video in read_ratings(file):
        sound(rated_record(video))


def metadata(folder: Path) -> None:
    reader = MrHiSumReader.from_folder(folder)
    every(lambda: reader.video_ids, lambda: reader.splits, lambda: reader.findings)


def npz(folder: Path) -> None:
    every(lambda: stored_features(folder / "v.npz"), lambda: read_features(folder / "v.npz"))


def tvsum_texts(folder: Path) -> None:
    whole(TVSumReader(folder / "google_pool5.h5", None, folder / "text.h5", "t", folder / "captions.json"))


def feature_file(folder: Path) -> None:
    features = folder / "features.h5"
    every(
        lambda: whole(ReplayReader(curves=folder / "curves.json", features=features)),
        lambda: whole(WikiHowReader(folder / "annt.json", features=features)),
    )


def prepared(folder: Path) -> None:
    """A flipped bit of a number is not seen here but where batches are made, which refuse what is not finite."""
    every(
        lambda: prepared_splits(folder),
        lambda: prepared_dataset(folder),
        lambda: list(stream_prepared(folder)),
    )


def film(folder: Path) -> None:
    file = min(folder.iterdir())
    every(lambda: probe(file), lambda: list(iter_frames(file, 2.0)), lambda: embedded_subtitles(file))


def one(name: str, *contents: Any) -> Callable[[], list[dict[str, Any]]]:
    """Folders of one file of this name; what is callable is called where it is needed."""
    return lambda: [{name: content() if callable(content) else content} for content in contents]


TARGETS = {
    "srt": Target(one("a.srt", seeds.SRT), subtitles),
    "vtt": Target(one("a.vtt", seeds.VTT), subtitles),
    "auto-captions": Target(one("a.vtt", seeds.AUTO), subtitles),
    "ass": Target(one("a.ass", seeds.ASS), subtitles),
    "json3": Target(one("a.json", seeds.JSON3), subtitles),
    "srv": Target(one("a.srv3", seeds.SRV3, seeds.SRV1), subtitles),
    "whisper": Target(one("a.json", seeds.WHISPER), subtitles),
    "whisper-tsv": Target(one("a.tsv", seeds.SPOKEN_TSV), subtitles),
    "ttml": Target(one("a.ttml", seeds.TTML), subtitles),
    "sami": Target(one("a.smi", seeds.SAMI), subtitles),
    "mpl2": Target(one("a.mpl", seeds.MPL2), subtitles),
    "sbv": Target(one("a.sbv", seeds.SBV), subtitles),
    "lrc": Target(one("a.lrc", seeds.LRC), subtitles),
    "scc": Target(one("a.scc", seeds.SCC), subtitles),
    "stl": Target(one("a.stl", seeds.STL), subtitles),
    "transcript": Target(one("a.txt", seeds.TRANSCRIPT), subtitles),
    "scores-json": Target(one("s.json", seeds.SCORES), scores),
    "scores-csv": Target(one("s.csv", seeds.SCORES_CSV), scores),
    "scores-npz": Target(one("s.npz", lambda: {k: np.array(v, np.float32) for k, v in seeds.SCORES.items()}), scores),
    "scores-h5": Target(
        one("s.h5", lambda: {k: np.array(v, np.float32) for k, v in seeds.SCORES.items()}), scores, CONTAINERS
    ),
    "description-txt": Target(one("d.txt", "Chair\nCut it.\n"), description),
    "description-json": Target(one("d.json", seeds.ARTICLE, *seeds.DESCRIPTIONS), description),
    "replay": Target(one("curves.json", seeds.CURVES), replays),
    "info": Target(seeds.info_folders, info, damage="*.json"),
    "articles-json": Target(one("a.json", seeds.STEPS), lambda folder: read_steps(folder / "a.json")),
    "articles-folder": Target(one("A-b.json", seeds.ARTICLE), read_articles),
    "articles-archive": Target(one("a.tar.gz", seeds.archive), lambda folder: read_articles(folder / "a.tar.gz")),
    "recipe": Target(one("r.yaml", seeds.RECIPE), lambda folder: recipe_words(folder / "r.yaml", PARSER)),
    "config": Target(one("config.json", seeds.CONFIG), config),
    "results": Target(
        one("r.json", seeds.RESULTS.to_dict()), lambda folder: compare(Results.read(folder / "r.json"), seeds.RESULTS)
    ),
    "plan": Target(one(".plan.json", seeds.PLAN), lambda folder: claimed(folder, {"version": "1", "fingerprint": "f"})),
    "splits-json": Target(one("s.json", [seeds.SPLIT, seeds.SPLIT]), lambda folder: read_splits(folder / "s.json")),
    "splits-yml": Target(one("s.yml", seeds.SPLIT_YML), lambda folder: read_splits(folder / "s.yml")),
    "splits-txt": Target(seeds.list_folders, lambda folder: read_splits(folder / "test.txt")),
    "bliss": Target(seeds.bliss_folders, lambda folder: whole(BLiSSReader(folder)), damage="*.json"),
    "wikihow": Target(
        seeds.wikihow_folders, lambda folder: whole(WikiHowReader(folder / "annt.json", tasks=folder / "tasks.json"))
    ),
    "labels-csv": Target(one("v.csv", seeds.LABELS), lambda folder: read_segments(folder / "v.csv")),
    "ratings-tsv": Target(one("anno.tsv", seeds.RATINGS), ratings),
    "metadata-csv": Target(
        lambda: [{"metadata.csv": seeds.METADATA, "mr_hisum_split.json": seeds.LONG_SPLIT}], metadata
    ),
    "folder": Target(
        seeds.side_folders, lambda folder: whole(FolderReader(folder, text_encoder="/none")), damage="*.[nc]*"
    ),
    "npz": Target(one("v.npz", seeds.side_features), npz),
    "spans": Target(one("input.npz", seeds.batch), spans),
    "npy": Target(
        one("a.npy", *(lambda p=p: seeds.npy_pickle(p) for p in (-1, 0, 2, 5))),
        lambda folder: convert_pickled_arrays(folder / "a.npy"),
    ),
    "tfrecord": Target(one("a.tfrecord", seeds.tfrecord), lambda folder: list(read_tfrecord(folder / "a.tfrecord"))),
    "tvsum-texts": Target(seeds.tvsum_text_folders, tvsum_texts, damage="[tc]*"),
    "bliss-h5": Target(seeds.bliss_folders, lambda folder: whole(BLiSSReader(folder)), CONTAINERS, "*.h5"),
    "tvsum-h5": Target(
        one("t.h5", lambda: {"video_1": seeds.eccv16()}), lambda folder: whole(TVSumReader(folder / "t.h5")), CONTAINERS
    ),
    "tvsum-mat": Target(one("a.mat", seeds.mat), ratings, CONTAINERS),
    "summe-mat": Target(one("Scuba.mat", seeds.summe_mat), lambda folder: whole(AnnotationReader(folder)), CONTAINERS),
    "mrhisum-h5": Target(
        seeds.mrhisum_folders, lambda folder: whole(MrHiSumReader.from_folder(folder)), CONTAINERS, "*.h5"
    ),
    "smmrhisum-h5": Target(
        seeds.smmrhisum_folders, lambda folder: whole(SMMrHiSumReader.from_folder(folder)), CONTAINERS, "*.[hj]*"
    ),
    "smvideoxum-h5": Target(
        seeds.smvideoxum_folders, lambda folder: whole(SMVideoXumReader.from_folder(folder)), CONTAINERS, "*.[hj]*"
    ),
    "trimodal-h5": Target(
        seeds.trimodal_folders, lambda folder: whole(TrimodalReader.from_folder(folder)), CONTAINERS, "*.h5"
    ),
    "features-h5": Target(seeds.feature_folders, feature_file, CONTAINERS, "*.h5"),
    "prepared": Target(lambda: [seeds.prepared()], prepared, CONTAINERS),
    "mp4": Target(lambda: [{"a": seeds.film("mp4", "mpeg4")}, {"a": seeds.film("mp4", "libx264")}], film, CONTAINERS),
    "mkv": Target(one("a", lambda: seeds.film("matroska", "libx264")), film, CONTAINERS),
    "avi": Target(one("a", lambda: seeds.film("avi", "mpeg4")), film, CONTAINERS),
    "ts": Target(one("a", lambda: seeds.film("mpegts", "mpeg2video")), film, CONTAINERS),
    "ffconcat": Target(seeds.list_of_films, film, CONTAINERS, "a"),
}
