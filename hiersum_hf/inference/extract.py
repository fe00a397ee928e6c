"""Frames of many videos encoded into a folder of features (`hiersum_hf.features.cache`), on one rank or several.

Only frames are kept: texts are encoded in seconds, and subtitles and descriptions change more often than a video.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any

from hiersum_hf.features.cache import FrameFeatures, FrameSettings, frame_features, settings_name
from hiersum_hf.features.done import Done, done_in
from hiersum_hf.features.shards import Packer, holder, merge
from hiersum_hf.features.text_encoder import FAST_FPS, default_extractor
from hiersum_hf.features.video_encoder import load_video_encoder
from hiersum_hf.files.atomic import refuse_uri
from hiersum_hf.files.escape import printable
from hiersum_hf.files.remote import near, uri_of
from hiersum_hf.inference.ranks import Failures, Ranks, tell_all
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import by_suffix, counted
from hiersum_hf.scoring.checkpoint import load_checkpoint, torch_device
from hiersum_hf.texts.find import companion
from hiersum_hf.video.reader import VIDEO_SUFFIXES


def find_videos(inputs: Sequence[str | Path]) -> tuple[list[Path], list[str]]:
    """Find the videos behind names of files, folders and patterns, each once, in their order.

    Subfolders are not read.

    Returns:
        The videos, and a line for each folder or pattern that holds other things than videos and texts of theirs.

    Raises:
        FileNotFoundError: A name with no video behind it.
    """
    videos: dict[Path, None] = {}
    notes = []
    for name in map(str, inputs):
        path = Path(name)
        if path.is_file():
            videos[path] = None
            continue
        listed = path.iterdir() if path.is_dir() else map(Path, glob(name, recursive=True))
        shown = sorted(file for file in listed if not file.name.startswith("."))
        found = [file for file in shown if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
        others = _passed_over(shown, found, path.is_dir())
        if not found:
            told = f"; {others}" if others else ""
            raise FileNotFoundError(f"{name}: expected a video, a folder of videos or a pattern, found no video{told}")
        notes += [f"{name}: {others}"] if others else []
        videos |= dict.fromkeys(found)
    return list(videos), notes


def _passed_over(listed: Sequence[Path], videos: Sequence[Path], is_folder: bool) -> str:
    """Count what is neither a video nor a text beside one, by suffix; "" where there is nothing."""
    known, names = set(videos), dict[Path, set[str]]()
    for video in videos:
        names.setdefault(video.parent, set()).add(video.stem)
    beside = {path: companion(path, names.get(path.parent, ())) for path in listed if path not in known}
    others = [path for path, found in beside.items() if found is None or found[1] == "labels"]
    files, folders = [path.name for path in others if path.is_file()], sum(path.is_dir() for path in others)
    told = [f"{counted(len(files), 'file')}: {by_suffix(files)}"] if files else []
    told += [f"{counted(folders, 'subfolder')} ('**/*' reads these too)"] if folders and is_folder else []
    return f"passed over {'; '.join(told)}" if told else ""


def choose_settings(
    model: str | Path | None = None,
    video_encoder: str | None = None,
    sample_fps: float | None = None,
    dtype: str = "float32",
    fast: bool = False,
) -> FrameSettings:
    """Return what a checkpoint's features are made with, or what is asked for.

    The default is that of `hiersum summarize`, with `fast` that of its --fast.

    Raises:
        ValueError: Not a checkpoint, another encoder or rate than it was trained with, or features that no encoder
            here gives; a sample rate that is not positive.
    """
    if fast and sample_fps is not None:
        raise HierSumError(f"--fast: expected no sample rate beside it, as it has its own, found {sample_fps:g}")
    sample_fps = FAST_FPS if fast else sample_fps
    extractor = default_extractor() if model is None else load_checkpoint(model)[1]
    asked = {"video_encoder": video_encoder, "sample_fps": sample_fps}
    for name, value in asked.items():
        own = getattr(extractor, name)
        if model is not None and value not in (None, own):
            raise HierSumError(
                f"{model}: expected {name} {own!r}, which this checkpoint was trained with, found {value!r}"
            )
    if extractor.normalization != "none":
        found = f"a checkpoint trained on features with normalization {extractor.normalization!r}"
        raise HierSumError(f"{model}: expected one trained on features as an encoder gives them, found {found}")
    fps = extractor.sample_fps if sample_fps is None else sample_fps
    if not 0 < fps < float("inf"):
        raise HierSumError(f"sample_fps: expected a positive number, found {fps}")
    return FrameSettings(video_encoder or extractor.video_encoder, fps, dtype, fast)


def extract(
    videos: Sequence[Path],
    output: str | Path,
    settings: FrameSettings,
    device: str = "auto",
    batch_size: int = 16,
    runtime: str | None = None,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Put features of the videos into the folder and return a report.

    What is there already is not computed again. Features are packed into shards, 256 videos together, also those of
    earlier runs that were not.

    Under `accelerate launch` or torchrun it does its rank's share and returns once all ranks are through, as `Ranks`
    says. What fails is written to the folder as `Failures` does.

    Args:
        videos: As `find_videos` gives them.
        output: Folder of features, new or from earlier runs.
        settings: As `choose_settings` gives them.
        device: "auto" takes the GPU of this rank, if there is one.
        batch_size: Frames encoded together.
        runtime: What computes the encoder, as `load_video_encoder` takes it.
        ranks: This rank among others; default: as the environment says.

    Returns:
        rank, world_size, settings, `videos` {path: {file, name, frames, found, warnings}} with the name of the
        features in the file, `failed` {path: reason}, video_s and wall_s, and in `ranks` what each rank tells: how many
        `videos` it did and how many `failed`, or its `error`.

    Raises:
        NotADirectoryError, PermissionError: The output cannot be written to.
        ValueError: The output is the videos' own folder, where features mean other videos; no such encoder.
    """
    refuse_uri(output)
    output = Path(output)
    check_output(output, videos)
    if batch_size < 1:
        raise HierSumError(f"batch_size: expected at least 1, found {batch_size}")
    ranks = ranks or Ranks.from_environment()
    encoder = load_video_encoder(settings.video_encoder, device_of_rank(device), settings.dtype, runtime)
    output.mkdir(parents=True, exist_ok=True)
    if not os.access(output, os.W_OK):
        raise PermissionError(f"{output}: expected a folder that can be written to, found one that cannot")
    kind = settings_name(settings)
    kept = Kept(output, settings, Done(output, kind) if uri_of(output) else done_in(output, kind), ranks)
    for video in _progress(ranks, videos):
        try:
            if not kept.finds(video):
                with near(video):
                    made = frame_features(video, settings, lambda: encoder, output, batch_size, listed=False)
                kept.add(video, *told_of(made, settings))
        except (ValueError, FileNotFoundError, PermissionError) as error:
            kept.failures.add(video, error)
            continue
        kept.put_away(video)
    kept.finish()
    told = ranks.finish({"videos": len(kept.videos), "failed": len(kept.failures.reasons)})
    if len(told) > 1 and ranks.rank == 0:
        kept.failures.merge()
    return kept.report(told)


Told = tuple[str, int, bool, tuple[str, ...], float]


def told_of(made: FrameFeatures, settings: FrameSettings) -> Told:
    """Return the name of a video's features, their number, whether they were found, notes, and the seconds encoded."""
    seconds = 0.0 if made.found else float(made.times_s[-1] + 1 / settings.sample_fps)
    return Path(str(made.file)).name, len(made.times_s), made.found, made.warnings, seconds


class Kept:
    """Features of videos in a folder, found or made, which are packed or uploaded as they come."""

    def __init__(self, output: Path, settings: FrameSettings, before: Done, ranks: Ranks):
        if ranks.rank == 0:
            merge(output)
        self.output, self.settings, self.before, self.ranks = output, settings, before, ranks
        self.failures, self.packer = Failures(output, ranks), Packer(output)
        self.facts, self.videos = dict[Path, list[Any]](), dict[str, dict[str, Any]]()
        self.start_s, self.video_s = time.perf_counter(), 0.0

    def finds(self, video: Path) -> bool:
        """Take the features of a video if they are there.

        Raises:
            FileNotFoundError: There is no such video.
        """
        self.facts[video] = self.before.facts(video)
        known = self.before.find(self.facts[video])
        if known:
            self._take(video, known.file, known.frames, True, known.warnings)
        return known is not None

    def put_away(self, video: Path) -> None:
        """Pack or upload the features of a video, found or added, together with others.

        Raises:
            OSError: They cannot be written.
        """
        if self.before.there is None:
            self.packer.add(self.videos[str(video)]["name"])
        elif self.before.ship(all_of_them=False):
            self.failures.send()

    def add(self, video: Path, name: str, frames: int, found: bool, warnings: tuple[str, ...], seconds: float) -> None:
        """Take the features of a video, made after `finds`, as `told_of` tells of them."""
        self.before.add(self.facts[video], name, frames, warnings)
        self.video_s += seconds
        self._take(video, name, frames, found, warnings)

    def _take(self, video: Path, name: str, frames: int, found: bool, warnings: tuple[str, ...]) -> None:
        self.videos[str(video)] = {"name": name, "frames": frames, "found": found, "warnings": warnings}

    def finish(self) -> None:
        """Pack or upload what is left.

        Raises as `put_away`.
        """
        self.packer.finish()
        self.before.ship()
        self.failures.send()
        for about in self.videos.values():
            name = about["name"]
            about["file"] = str(self.before.shipped.get(name) or holder(self.output, name) or self.output / name)

    def report(self, told: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the report of `extract`, with what each rank tells."""
        about = {"rank": self.ranks.rank, "world_size": self.ranks.world_size, "settings": vars(self.settings)}
        about |= {"output": str(self.output), "videos": self.videos, "failed": self.failures.reasons, "ranks": told}
        wall_s = time.perf_counter() - self.start_s
        return about | {"video_s": round(self.video_s, 3), "wall_s": round(wall_s, 3)}


def device_of_rank(name: str) -> str:
    """Return the device of this name; "auto" is the GPU of this rank, if there is one."""
    device = torch_device(name)
    if name == "auto" and device.type == "cuda":
        import torch

        return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"
    return str(device)


def format_report(report: dict[str, Any]) -> str:
    """Say the report of `extract` in words."""
    videos, settings = report["videos"].values(), report["settings"]
    found, wall_s = sum(video["found"] for video in videos), report["wall_s"]
    rank = f"rank {report['rank']} of {report['world_size']}: " if report["world_size"] > 1 else ""
    rate = f"{settings['sample_fps']:g} frame{'s' * (settings['sample_fps'] != 1)} a second"
    made_with, encoded = f"{settings['video_encoder']}, {rate}, {settings['dtype']}", len(videos) - found
    lines = [
        f"{rank}{counted(encoded, 'video')} encoded, {found} found, {len(report['failed'])} failed ({made_with})",
        f"{rank}{report['video_s'] / 60:.1f} minutes of video in {wall_s:.1f} s: "
        f"{report['video_s'] / max(wall_s, 1e-9):.1f} x as fast as they play",
    ]
    lines += [f"{rank}note: {printable(note)}" for video in videos for note in video["warnings"]]
    lines += [f"{rank}failed: {printable(reason)}" for reason in report["failed"].values()]
    if report["rank"] == 0 and len(report["ranks"]) > 1:
        lines += tell_all(report["ranks"], Path(report["output"]))
    return "\n".join(lines)


def check_output(output: Path, videos: Sequence[Path]) -> None:
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"{output}: expected a folder for features, found a file")
    if any(video.parent.resolve() == output.resolve() for video in videos):
        raise HierSumError(f"{output}: expected another folder than that of the videos")


def _progress(ranks: Ranks, videos: Sequence[Path]) -> Any:
    from tqdm import tqdm

    name, total = (f"rank {ranks.rank}", None) if ranks.world_size > 1 else ("extracting", len(videos))
    return tqdm(ranks.take(videos), unit="video", desc=name, position=ranks.rank, total=total, disable=None)
