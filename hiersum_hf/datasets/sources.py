"""The reader for a data set's name and the folder or file it lies in, under the names the field gives its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hiersum_hf.datasets.bliss import BLiSSReader
from hiersum_hf.datasets.embed import EmbeddedReader
from hiersum_hf.datasets.folder import FolderReader
from hiersum_hf.datasets.howto import HowToReader
from hiersum_hf.datasets.mrhisum import MrHiSumReader
from hiersum_hf.datasets.prepare import Reader
from hiersum_hf.datasets.trimodal import TrimodalReader
from hiersum_hf.datasets.tvsum import TVSumReader
from hiersum_hf.datasets.wikihow import WikiHowReader


NAMES = ("tvsum", "summe", "bliss", "mrhisum", "mosu", "wikihow", "folder", "howto")


def open_reader(name: str, source: str | Path, **encoders: Any) -> tuple[Reader, Sequence[Path]]:
    """The reader of this data set, and the files and folders whose change should be noticed.

    Args:
        name: One of `NAMES`.
        source: The folder, or the feature file of tvsum and summe.
        encoders: `video_encoder` of frames (folder, howto) and `text_encoder` of texts that have no features yet; with
            no text encoder, texts of the other data sets stay without features.

    Raises:
        FileNotFoundError: There is no such source, or it lacks a file that the reader cannot do without.
        ValueError: There is no such data set.
    """
    source, text_encoder = Path(source), encoders.get("text_encoder")
    if name not in NAMES:
        raise ValueError(f"data set: expected one of {', '.join(NAMES)}; found {name!r}")
    if not source.exists():
        raise FileNotFoundError(f"{source}: expected the source of {name}, found nothing there.")
    opened: Any
    if name in ("tvsum", "summe"):
        h5 = _only(source, f"*{name}*.h5") if source.is_dir() else source
        ratings = [*h5.parent.glob("ydata-tvsum50.mat"), *h5.parent.glob("ydata-tvsum50-anno.tsv")]
        opened = TVSumReader(h5, ratings[0] if ratings and name == "tvsum" else None)
        return EmbeddedReader(opened, text_encoder) if text_encoder else opened, [h5, *ratings[:1]]
    if name == "bliss":
        opened = BLiSSReader(source)
    elif name == "mosu" or (name == "mrhisum" and (source / "mrhisum_gt.h5").is_file()):
        opened = TrimodalReader.from_folder(source)
    elif name == "mrhisum":
        opened = MrHiSumReader.from_folder(source)
    elif name == "wikihow":
        opened = _wikihow(source)
    else:
        opened = FolderReader(source, **encoders)
        if name == "howto":
            opened = HowToReader.open(opened, _first(source, "how_to_steps.tar.gz"))
        return opened, [source]
    return EmbeddedReader(opened, text_encoder) if text_encoder else opened, [source]


def _wikihow(source: Path) -> WikiHowReader:
    labels = _first(source, "wikihowto_annt.json") or _first(source, "pseudoGT_summ_annts.json")
    files = [_first(source, n) for n in ("how_to_steps.tar.gz", "pseudoGT_task_annts.json", "features.h5")]
    if labels is None and files[0] is None:
        raise FileNotFoundError(f"{source}: expected how_to_steps.tar.gz or an annotation file, found neither.")
    return WikiHowReader(labels, *files)


def _first(folder: Path, name: str) -> Path | None:
    return folder / name if (folder / name).is_file() else None


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{folder}: expected one file {pattern}, found {len(found)}.")
    return found[0]
