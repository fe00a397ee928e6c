"""A BLiSS folder as it is published."""

import json
from pathlib import Path

import numpy as np

from hiersum_hf.datasets.readers.bliss import BLiSSReader
from hiersum_hf.datasets.readers.pickles import convert_pickled_arrays


KINDS = {
    "video_clip": ("num_frame", 512),
    "text_roberta": ("num_sentence", 768),
    "video_summ_clip": ("num_keyframe", 512),
}


def clip(frames=6, spans=((0, 2), (2, 6), (1, 4)), keyframes=(1, 4), **changes):
    """The annotation of one clip as published."""
    entry = {
        "video_id": "stream_7",
        "num_frame": frames,
        "num_keyframe": len(keyframes),
        "num_sentence": len(spans),
        "video_label": [int(i in keyframes) for i in range(frames)],
        "text_label": [int(j == 1) for j in range(len(spans))],
        "sentence": [f"Sentence {j}, naïve." for j in range(len(spans))],
        "sentence_time": [list(span) for span in spans],
        "highlight": "We draw a head. Then we shade it.",
    }
    return entry | changes


def write_bliss(folder: Path, parts, convert=True, **arrays) -> BLiSSReader:
    """A BLiSS folder as published; `arrays` (kind=...) replaces the features of every clip, None leaves them out."""
    (folder / "annotation").mkdir(parents=True)
    (folder / "feature").mkdir()
    rng = np.random.default_rng(0)
    for part, clips in parts.items():
        (folder / "annotation" / f"{part}.json").write_text(json.dumps(clips))
        for kind, (count, width) in KINDS.items():
            features = {name: rng.random((entry.get(count, 1), width), np.float32) for name, entry in clips.items()}
            if kind in arrays:
                features = {name: arrays[kind] for name in features if arrays[kind] is not None}
            path = folder / "feature" / f"{kind}_{part}.npy"
            np.save(path, features)
            if convert:
                convert_pickled_arrays(path)
    return BLiSSReader(folder)
