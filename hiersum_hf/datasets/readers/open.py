"""Open the reader of a data set by name.

Its files are found in a folder under the names that the field gives them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hiersum_hf.datasets.manifest import check_finished
from hiersum_hf.datasets.prepare import Reader
from hiersum_hf.datasets.prepare import prepare as write_prepared
from hiersum_hf.datasets.readers.annotations import AnnotationReader
from hiersum_hf.datasets.readers.bliss import BLiSSReader
from hiersum_hf.datasets.readers.folder import FolderReader
from hiersum_hf.datasets.readers.howto import HowToReader
from hiersum_hf.datasets.readers.mrhisum import MrHiSumReader
from hiersum_hf.datasets.readers.replay_reader import ReplayReader
from hiersum_hf.datasets.readers.sdmvsum import SMMrHiSumReader, SMVideoXumReader
from hiersum_hf.datasets.readers.summe import mat_files
from hiersum_hf.datasets.readers.trimodal import TrimodalReader
from hiersum_hf.datasets.readers.tvsum import TVSumReader
from hiersum_hf.datasets.readers.tvsum_ratings import RATINGS
from hiersum_hf.datasets.readers.wikihow import WikiHowReader
from hiersum_hf.datasets.text_features import EmbeddedReader
from hiersum_hf.features.runtime import choose_runtime
from hiersum_hf.features.text_encoder import default_extractor
from hiersum_hf.features.video_encoder import PRECOMPUTED
from hiersum_hf.files.atomic import refuse_uri
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.texts.encoding import check_encoding


NAMES = (
    *("tvsum", "summe", "bliss", "mrhisum", "mosu", "smmrhisum", "smvideoxum"),
    *("wikihow", "folder", "howto", "replay"),
)
HELP = "`hiersum prepare --help` says what belongs there."
CURVES, TVSUM = ("mrhisum", "mosu", "smmrhisum", "howto", "replay"), ("tvsum", "summe")
KNOWN_BY = {  # setting (its flag is --setting) -> data sets that know it
    "threshold": (*CURVES, "folder"),
    **dict.fromkeys(("quantile", "intro_bins", "min_views", "max_views"), CURVES),
    "video_encoder": ("folder", "howto", *TVSUM),
    **dict.fromkeys(("cache", "subtitle_encoding", "runtime"), ("folder", "howto")),
    "text_encoder": NAMES,
    **dict.fromkeys(("ratings", "text_features", "captions", "text_alignment"), TVSUM),
    "dequantization": ("mrhisum",),
    # of `hiersum prepare` alone
    "youtube8m": ("mrhisum",),
    "fetch_list": ("howto",),
    "convert_pickles": ("bliss", *TVSUM),
}


def check_settings(name: str, settings: Collection[str]) -> None:
    """Refuse an unknown data set, or a setting unknown to it.

    Raises:
        ValueError: As said; names the flag.
    """
    if name not in NAMES:
        raise InputError(f"data set: expected one of {', '.join(NAMES)}; found {name!r}")
    for setting in settings:
        known = KNOWN_BY.get(setting, ())
        if name not in known:
            expected = f"with {', '.join(known)}" if known else "another flag"
            raise InputError(f"--{setting.replace('_', '-')}: expected {expected}; found with {name}. Leave it out.")


def open_reader(
    name: str, source: str | Path, encodes_texts: bool = False, **settings: Any
) -> tuple[Reader, Sequence[Path]]:
    """Open the reader of this data set.

    Args:
        name: One of `NAMES`.
        source: The folder, or the feature file of tvsum and summe, or the curves of replay. Annotations without
            features: TVSum's ratings (.mat, .tsv), the folder of SumMe's.
        encodes_texts: Give texts without features those of the default text encoder where `settings` name none, as far
            as the frames have features and no other text has some. False: they stay without; folder and howto always
            have an encoder.
        settings: Fields of the reader, see `KNOWN_BY`. `video_encoder` is that of frames, of tvsum and summe what made
            their features where the file does not say; `text_encoder` that of texts that have no features yet, and of
            `text_features` where they are given.

    Returns:
        The reader, and the files and folders whose change should be noticed.

    Raises:
        FileNotFoundError: There is no such source, or it lacks a file that the reader cannot do without.
        ValueError: There is no such data set, or it does not know a setting, or a setting cannot be, or the source is
            an unfinished prepared folder.
    """
    check_settings(name, settings)
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"{source}: expected the source of {name}, found nothing there. {HELP}")
    check_finished(source)
    cache = settings.get("cache")
    refuse_uri(cache or "")
    if cache and Path(cache).resolve().is_relative_to(source.resolve()):
        raise InputError(f"{cache}: expected a cache outside {source}, whose files must stay as they are meanwhile.")
    if "subtitle_encoding" in settings:
        check_encoding(settings["subtitle_encoding"], "--subtitle-encoding")
    if "runtime" in settings:
        choose_runtime(settings["runtime"], "cpu")
    if name == "howto":
        of_folder = ("video_encoder", "text_encoder", "cache", "subtitle_encoding", "runtime")
        encoders = {key: settings.pop(key) for key in of_folder if key in settings}
        articles = _first(source, "how_to_steps.tar.gz")
        return HowToReader.open(FolderReader(source, **encoders), articles, **settings), [source]
    if name == "folder":
        return FolderReader(source, **settings), [source]
    if name in TVSUM:
        reader, files = _tvsum(name, source, **settings)
    else:
        reader, files = _open(name, source, {key: settings[key] for key in settings if key != "text_encoder"})
    text_encoder = settings.get("text_encoder")
    if text_encoder is None and encodes_texts:
        return EmbeddedReader(reader, str(default_extractor().text_encoder), is_default=True), files
    computable = text_encoder and text_encoder not in PRECOMPUTED  # else titles stay without features
    return EmbeddedReader(reader, str(text_encoder)) if computable else reader, files


def prepare(
    name: str,
    source: str | Path,
    output: str | Path,
    *,
    half: bool = False,
    skip_bad: bool = False,
    num_proc: int = 1,
    allow_encoder_mismatch: bool = False,
    progress: bool = True,
    **settings: Any,
) -> dict[str, Any]:
    """Read a data set and store it in one schema.

    It is read as the field exchanges it; `hiersum prepare` does the same.

    Args:
        name: One of `NAMES`.
        source: The folder or file, as `open_reader` takes it.
        output: The folder to fill; one that holds work from the same source and settings is completed.
        half: Store features in half precision.
        skip_bad: Leave out videos that cannot be read and list them in the report, instead of stopping.
        num_proc: Processes that read and write.
        allow_encoder_mismatch: Take features of several encoders of one width, and list them in the report.
        progress: Show a bar on stderr.
        **settings: Fields of the reader, as `open_reader` takes them.

    Returns:
        The report: counts, what was dropped and why.

    Raises:
        FileNotFoundError, OSError, ValueError: As `open_reader` and `hiersum_hf.datasets.prepare.prepare`.
    """
    reader, files = open_reader(name, source, encodes_texts=True, **settings)
    return write_prepared(
        reader,
        output,
        files,
        dataset=name,
        dtype="float16" if half else "float32",
        skip_bad=skip_bad,
        num_proc=num_proc,
        allow_encoder_mismatch=allow_encoder_mismatch,
        progress=progress,
    )


def _open(name: str, source: Path, settings: dict[str, Any]) -> tuple[Reader, list[Path]]:
    if name == "bliss":
        return BLiSSReader(source), [source]
    if name == "wikihow":
        return _wikihow(source), [source]
    if name == "smmrhisum":
        return SMMrHiSumReader.from_folder(source, **settings), [source]
    if name == "smvideoxum":
        return SMVideoXumReader.from_folder(source), [source]
    if name == "replay":
        curves = _only(source, "*.json") if source.is_dir() else source
        features = _first(curves.parent, "features.h5")
        return ReplayReader(curves, features, **settings), [curves, *([features] if features else [])]
    if name == "mosu" or (source / "mrhisum_gt.h5").is_file():
        if "dequantization" in settings:
            raise InputError(
                f"--dequantization: expected mr_hisum.h5; found {source}, the trimodal release. Leave it out."
            )
        return TrimodalReader.from_folder(source, **settings), [source]
    return MrHiSumReader.from_folder(source, **settings), [source]


def _tvsum(name: str, source: Path, **settings: Any) -> tuple[Reader, list[Path]]:
    if name == "tvsum":
        alone = source.suffix in RATINGS
    else:
        alone = source.is_dir() and not any(source.glob("*.h5")) and bool(mat_files(source))
    if not alone:
        return _feature_file(name, source, **settings)
    if needing := [key for key in settings if key != "text_encoder"]:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in needing)
        found = f"annotations alone in {source}. Leave it out, or give the feature file as --source"
        raise InputError(f"{flags}: expected a feature file (.h5) as source, found {found}.")
    return AnnotationReader(source), [source]


def _feature_file(
    name: str,
    source: Path,
    ratings: str | Path | None = None,
    video_encoder: str = "",
    text_encoder: str = "",
    text_features: str | Path | None = None,
    captions: str | Path | None = None,
    text_alignment: str | None = None,
) -> tuple[Reader, list[Path]]:
    h5 = _only(source, f"*{name}*.h5") if source.is_dir() else source
    beside = [h5.parent / "ydata-tvsum50.mat", h5.parent / "ydata-tvsum50-anno.tsv"] if name == "tvsum" else []
    rated = next((path for path in beside if path.is_file()), None) if ratings is None else Path(ratings)
    if rated is not None and rated.exists() and rated.is_dir() == (name == "tvsum"):
        expected = "TVSum's .mat or .tsv, a file" if name == "tvsum" else "the folder of SumMe's .mat files"
        raise InputError(f"--ratings: expected {expected}, found {rated}")
    features, timed = (None if path is None else Path(path) for path in (text_features, captions))
    encoder = text_encoder if features else ""
    reader = TVSumReader(h5, rated, features, encoder, timed, text_alignment, video_encoder)
    return reader, [path for path in (h5, rated, features, timed) if path is not None]


def _wikihow(source: Path) -> WikiHowReader:
    labels = _first(source, "wikihowto_annt.json") or _first(source, "pseudoGT_summ_annts.json")
    files = [_first(source, n) for n in ("how_to_steps.tar.gz", "pseudoGT_task_annts.json", "features.h5")]
    if labels is None and files[0] is None:
        raise FileNotFoundError(f"{source}: expected how_to_steps.tar.gz or an annotation file, found neither. {HELP}")
    return WikiHowReader(labels, *files)


def _first(folder: Path, name: str) -> Path | None:
    return folder / name if (folder / name).is_file() else None


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{folder}: expected one file {pattern}, found {len(found)}. {HELP}")
    return found[0]
