"""Files of data sets, made from records."""

import json
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.readers.bliss import BLiSSReader
from hiersum_hf.datasets.readers.sdmvsum import SMMrHiSumReader, SMVideoXumReader
from hiersum_hf.datasets.readers.tvsum import write_tvsum
from hiersum_hf.synthetic.demo import with_replay
from hiersum_hf.synthetic.features import make_video
from tests.makers import sdmvsum
from tests.makers.bliss import clip, write_bliss
from tests.makers.records import like_mrhisum


def write_sets(path, demo_records):
    """A data set in which the first video has no text at all and others have no description, and one without text."""
    nothing = np.zeros((0, 32), np.float32)
    bare = {"description": (), "description_features": nothing}
    records = [replace(demo_records[0], sentences=(), text_features=nothing, **bare)]
    records += [replace(record, **bare) if i % 4 == 0 else record for i, record in enumerate(demo_records[1:15])]
    write_tvsum(records, path / "set.h5")
    write_tvsum([replace(r, sentences=(), text_features=nothing, **bare) for r in records], path / "mute.h5")
    return path


@dataclass(frozen=True)
class Shipped:
    """Records that come with a split."""

    records: list
    splits: dict

    findings = {}  # noqa: RUF012

    def __repr__(self):
        return "Shipped"

    @property
    def video_ids(self):
        return [record.video_id for record in self.records]

    def read(self, video_id):
        return self.records[self.video_ids.index(video_id)]


def prepared(path, records, dataset, parts=(8, 11, 15)):
    """A prepared folder of this data set, split at these places."""
    ids = [record.video_id for record in records]
    first, second, last = parts
    splits = {"train": ids[:first], "validation": ids[first:second], "test": ids[second:last]}
    prepare(Shipped(records, splits), path, [__file__], progress=False)
    info = path / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"dataset": dataset}))
    return path


def write_recipe_data(path, records):
    """A prepared folder for each recipe under its name, of 15 records or of made-up files of its data set."""
    nothing = np.zeros((0, 32), np.float32)
    watched = [with_replay(record, make_video(i)) for i, record in enumerate(records)]
    names = {part: [f"{part}{i}" for i in range(2)] for part in ("train", "val", "test")}
    write_bliss(path / "source", {part: {name: clip(video_id=name) for name in names[part]} for part in names})
    prepare(BLiSSReader(path / "source"), path / "bliss", [path / "source"], progress=False)
    prepared(path / "tvsum", records, "tvsum")
    prepared(path / "summe", [replace(r, description=(), description_features=nothing) for r in records], "summe")
    prepared(path / "replay", [like_mrhisum(record) for record in records], "mrhisum")
    prepared(path / "wikihow_replay", watched, "howto")
    for name, write, shipped in (
        ("smmrhisum", sdmvsum.write_mrhisum, SMMrHiSumReader),
        ("smvideoxum", partial(sdmvsum.write_videoxum, users=2), SMVideoXumReader),
    ):
        (path / f"{name}_source").mkdir()
        reader = shipped.from_folder(write(path / f"{name}_source"))
        prepare(reader, path / name, [path / f"{name}_source"], dataset=name, progress=False)
    bare = [replace(r, sentences=(), text_features=nothing, user_scores=None, user_summaries=None) for r in records]
    prepared(path / "wikihow_pseudo", bare, "wikihow")
    return path
