"""Files of data sets, made from records."""

import json
from dataclasses import dataclass, replace

import numpy as np

from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.readers.tvsum import write_tvsum


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
