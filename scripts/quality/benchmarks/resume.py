"""A second look of `hiersum extract` at videos that are done: the list of what is done beside hashing each video.

`run` is called by scripts/run_benchmark.py. The videos are files of zeros without blocks on the disk, so that hashing
costs the processor's time alone, as with a disk that costs nothing. Hashing is measured on some and scaled to all.
"""

from __future__ import annotations

import resource
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from hiersum_hf.features.cache import FrameSettings, feature_file, settings_name, stored_features
from hiersum_hf.features.done import Done
from hiersum_hf.features.shards import PACKED
from hiersum_hf.inference.extract import find_videos


VIDEOS, QUICK_VIDEOS, HASHED = 100_000, 500, 50
VIDEO_BYTES = 20_000_000  # about a minute in HD
SETTINGS = FrameSettings("colour", 2.0)


def run(quick: bool) -> list[dict]:
    count = QUICK_VIDEOS if quick else VIDEOS
    with tempfile.TemporaryDirectory(prefix="resume-") as place:
        videos, features = Path(place, "videos"), Path(place, "features")
        make(videos, features, count)
        hashed_s = per_hashed_s(sorted(videos.iterdir())[:HASHED], features) * count
        before_mb, start_s = peak_mb(), time.perf_counter()
        found, _ = find_videos([videos])
        done = Done(features, settings_name(SETTINGS))
        if not all(done.find(done.facts(video)) for video in found):
            raise ValueError("expected every video to be done")
        ours_s = time.perf_counter() - start_s
        note = (
            f"of {VIDEO_BYTES / 1e6:.0f} MB; +{peak_mb() - before_mb:.0f} MB of memory; reference scaled from {HASHED}"
        )
    what = f"second look at {count:,} finished videos"
    return [
        {"what": what, "ours": ours_s, "reference": hashed_s, "unit": "s", "ratio": hashed_s / ours_s, "note": note}
    ]


def make(videos: Path, features: Path, count: int) -> None:
    """Videos, the list of what is done, and shards of empty files with the names of their features."""
    videos.mkdir()
    features.mkdir()
    np.savez(features / "one.npz", video_features=np.ones((120, 1280), np.float32), frame_times_s=np.arange(120.0),
             warnings=np.array([], str), end_s=60.0)  # fmt: skip
    done, names = Done(features, settings_name(SETTINGS)), list[str]()
    for number in range(count):
        video = videos / f"{number:06d}.mp4"
        with video.open("wb") as file:
            file.truncate(VIDEO_BYTES)
        name = f"{number:032x}-{done.settings}.npz"
        names.append(name)
        done.add(done.facts(video), name, 120, ())
        done.known.clear()  # it is not to count as memory of the second look
    for start in range(0, count, PACKED):
        with zipfile.ZipFile(features / f"features-{start:016x}.zip", "w") as shard:
            for name in names[start : start + PACKED]:
                shard.writestr(name, b"")


def per_hashed_s(videos: list[Path], features: Path) -> float:
    """Seconds a video as it was before: hash it, read its features."""
    start_s = time.perf_counter()
    for video in videos:
        feature_file(features, video, SETTINGS)
        stored_features(features / "one.npz")
    return (time.perf_counter() - start_s) / len(videos)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
