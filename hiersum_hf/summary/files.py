"""A summary as files in a folder: the short video and everything to look at it with."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from hiersum_hf.files.atomic import NO_ROOM, refuse_unwritable
from hiersum_hf.files.escape import in_markdown
from hiersum_hf.files.memory import give_back_memory
from hiersum_hf.files.remote import apart, is_uri, named, uri_of
from hiersum_hf.modeling.errors_hiersum import HierSumError, expect_type
from hiersum_hf.records import Segment, Sentence, Summary, clock, in_a_row
from hiersum_hf.results import write_json
from hiersum_hf.summary.chapters import as_ffmetadata, as_vtt, as_youtube, shortened
from hiersum_hf.summary.compose import SHOWN, SHOWN_S
from hiersum_hf.summary.export import EXPORTS, check_exports, write_exports
from hiersum_hf.summary.finished import MADE_WITH
from hiersum_hf.summary.page import summary_page
from hiersum_hf.summary.plot import PICTURE_HEIGHT, PICTURE_WIDTH, contact_sheet, plot_summary
from hiersum_hf.summary.widened import widened
from hiersum_hf.texts.subtitles import write_srt
from hiersum_hf.video.faults import stream_start_s
from hiersum_hf.video.reader import iter_frames, opened
from hiersum_hf.video.remux import chaptered_name, copy_with_chapters
from hiersum_hf.video.writer import whole_groups, write_segments


FILES = (
    "summary.mp4", "summary.json", "summary.srt", "summary.html", "summary.md", "scores.png", "sheet.png", "cuts.txt",
    "chapters.vtt", "source_chapters.vtt", "source_chapters.ffmeta", "source_chapters.txt",
)  # fmt: skip
PICTURED = {"summary.html", "sheet.png"}  # hold pictures of the short video
MAX_PICTURES = 60  # on the contact sheet and the page; the best-scored segments have one
PICTURE_FPS = 8.0
VIDEO_SHARE = 0.9  # of the time that all files take
CUTS_HEAD = """ffconcat version 1.0
# The stretches of the source, in seconds of its own clock:
#   ffmpeg -f concat -safe 0 -i cuts.txt -c:v libx264 OUTPUT.mp4
# ffmpeg begins each stretch at a key frame; summary.mp4 is cut exactly.
"""


def output_folder(video: str | Path, output: str | Path, budget: str | None = None) -> Path:
    """Return OUT/<name of the video>/, with several budgets OUT/<name>/<budget>/."""
    folder = Path(output, Path(video).stem.strip(".") or "video")  # "...mp4" is no folder beside the others
    return folder if budget is None else folder / budget


def refuse_video(video: Path, folder: Path) -> None:
    """Refuse a video that no page or cut list can name, or that would be overwritten.

    Raises:
        ValueError: Its name is not in UTF-8 (old disks have some in Latin-1), or has a line break; or it lies where a
            file of the summary goes.
    """
    if video.name in {*FILES, *EXPORTS.values()} and video.resolve() == (folder / video.name).resolve():
        raise HierSumError(
            f"{video}: expected a video elsewhere, found it where its own summary goes. Choose a folder."
        )
    link = list_link(video, folder)
    if link != link.encode(errors="replace").decode():
        raise HierSumError(f"{video}: expected a name in UTF-8, found other bytes. No page can link it.")
    if set("\r\n") & set(link):
        raise HierSumError(f"{video}: expected a name without line breaks, found {link!r}. No cut list can hold it.")


def refuse_existing(folder: Path, overwrite: bool, differs: str | None = None) -> None:
    """Refuse a folder that cannot become a summary's, before any work.

    Args:
        folder: Where the summary shall lie.
        overwrite: A summary may be there.
        differs: How that one differs, as `difference` says.

    Raises:
        FileExistsError: It is there and may not be overwritten.
        NotADirectoryError, PermissionError: As `refuse_unwritable`.
    """
    refuse_unwritable(folder, "summaries")
    if os.path.lexists(folder) and not overwrite:
        found = f", or a summary made alike, found one with {differs}" if differs else ""
        raise FileExistsError(
            f"{folder}: expected no such folder yet{found}. Give --overwrite to replace the summary in it."
        )


def write_summary(
    summary: Summary,
    video: str | Path,
    folder: str | Path,
    sentences: Sequence[Sentence] = (),
    overwrite: bool = False,
    files: Collection[str] = FILES,
    progress: Callable[[str, float], None] | None = None,
    render: str = "smart",
    quality: bool = False,
    written: Callable[[Summary], None] | None = None,
    exports: Collection[str] = (),
    embed_chapters: bool = False,
    made_with: Mapping[str, Any] | None = None,
) -> Path:
    """Write the summary into a folder, as `FILES` or some of them.

    The files appear when all of them are complete; other files of the folder are left alone. The page and the cut list
    find the source video by its path relative to the folder.

    Args:
        summary: Of this video.
        video: The source, read again for the parts that are kept.
        folder: Made where it is missing.
        sentences: All sentences of the video.
        overwrite: Replace an earlier summary.
        files: Which of `FILES` to write.
        progress: Is told "files" and the share of them that is written. What it raises ends the work, and nothing new
            is left in the folder.
        render: How the pictures of the short video come about, as `write_segments` takes it; "copy" widens the
            segments of the summary to whole groups of pictures.
        quality: Encode pictures in 2.6 times as long, a little closer to the source.
        written: Is told the summary as it was written: with notes on the pictures, and with its wider segments.
        exports: For editors and players, keys of `hiersum_hf.summary.export.EXPORTS`.
        embed_chapters: Write a copy of the video with its chapters too, NAME.chapters.mp4.
        made_with: What the summary depends on, by name, kept beside it for `difference`; default: nothing is kept.

    Raises:
        FileExistsError: The folder is there and `overwrite` is not given.
        ImportError: What writes an export is not installed.
        OSError: It cannot be written, for example a full disk; nothing new is left in it.
        HierSumError: The name of the video has a line break or is not in UTF-8, there is no such file of a summary, or
            its pictures cannot be copied and are asked to be.
    """
    expect_type("summary", summary, Summary, "a Summary")
    folder = Path(folder)
    check_files(files)
    check_exports(exports)
    refuse_existing(folder, overwrite)
    refuse_video(Path(video), folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if render == "copy":
        summary = widened(summary, whole_groups(video, summary.segments))
    partial = folder.parent / f".{folder.name[:60]}.{secrets.token_hex(4)}"
    try:
        partial.mkdir()
        if {"summary.mp4", *PICTURED} & {*files}:
            give_back_memory()
            tell_video = None if progress is None else lambda share: progress("files", VIDEO_SHARE * share)
            notes = write_segments(video, summary.segments, partial / "summary.mp4", render, quality, tell_video)
            summary = replace(summary, warnings=(*summary.warnings, *notes))
            give_back_memory()
        if exports:
            notes = write_exports(summary, Path(video), list_link(Path(video), folder), partial, exports)
            summary = replace(summary, warnings=(*summary.warnings, *notes))
        if embed_chapters:
            notes = copy_with_chapters(video, summary.chapters, partial / chaptered_name(Path(video)))
            summary = replace(summary, warnings=(*summary.warnings, *notes))
        summary = replace(summary, warnings=tuple(map(named, summary.warnings)))
        for number, _ in enumerate(_write_files(summary, Path(video), partial, folder, sentences, files), 1):
            if progress is not None:
                progress("files", VIDEO_SHARE + (1 - VIDEO_SHARE) * number / len(files))
        if made_with is not None:
            (partial / MADE_WITH).write_text(json.dumps(made_with), encoding="utf-8")
        if not folder.exists():
            os.replace(partial, folder)  # all at once
        else:
            (folder / MADE_WITH).unlink(missing_ok=True)
            for file in sorted(partial.iterdir(), key=lambda file: file.name == MADE_WITH):  # which comes last
                os.replace(file, folder / file.name)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise OSError(error.errno, f"{folder}: the disk is full; the unfinished summary was removed") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if written is not None:
        written(summary)
    return folder


def check_files(files: Collection[str]) -> None:
    """Refuse names that are no files of a summary, and none at all.

    Raises:
        HierSumError: As said.
    """
    unknown = sorted(set(files) - {*FILES})
    if unknown or not files:
        found = ", ".join(map(repr, unknown)) or "none"
        raise HierSumError(f"files: expected some of {', '.join(FILES)}; found {found}")


def _write_files(
    summary: Summary, video: Path, partial: Path, folder: Path, sentences: Sequence[Sentence], files: Collection[str]
) -> Iterator[str]:
    """Write some of `FILES` into `partial` and yield each name.

    Links are right once they lie in `folder`. The pictures of the page and of the sheet are those of the short video,
    which is there and goes again where it is not wanted.
    """
    link, short = relative_path(video, folder), partial / "summary.mp4"
    pictures = segment_pictures(summary, short) if PICTURED & {*files} else {}
    if short.name in files:
        yield short.name
    else:
        short.unlink(missing_ok=True)
    texts = {
        "summary.html": lambda: summary_page(summary, sentences, quote(link), pictures, short.name in files),
        "summary.md": lambda: markdown(summary, link),
        "cuts.txt": lambda: cut_list(summary.segments, list_link(video, folder), _start_s(video)),
        "chapters.vtt": lambda: chapters(summary),
        "source_chapters.vtt": lambda: as_vtt((one["start_s"], one["end_s"], one["title"]) for one in summary.chapters),
        "source_chapters.ffmeta": lambda: as_ffmetadata(summary.chapters),
        "source_chapters.txt": lambda: as_youtube(summary.chapters),
    }
    others: dict[str, Callable[[Path], None]] = {
        "summary.json": lambda path: write_json(path, summary.to_dict()),
        "summary.srt": lambda path: write_srt(retime(sentences, summary.segments), path),
        "scores.png": lambda path: plot_summary(summary, path),
        "sheet.png": lambda path: contact_sheet(summary, pictures, path),
    }
    for name in {*files} - {short.name}:
        if name in texts:
            (partial / name).write_text(texts[name](), encoding="utf-8")
        else:
            others[name](partial / name)
        yield name


def relative_path(video: Path, folder: Path) -> str:
    """Return the path from the folder to the video, with forward slashes.

    It is the whole path, or address, where they share no drive and no store.
    """
    if whole := apart(video.resolve(), folder.resolve()):
        return whole
    try:
        return Path(os.path.relpath(video.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return video.resolve().as_posix()


def list_link(video: Path, folder: Path) -> str:
    """Return the path by which ffmpeg finds the video from a cut list in the folder.

    "./" comes first, or it takes 12:30.mp4 for an address; "?" and "#" in the list's own path end what it reads as the
    path, so that only the whole path of the video leads there.
    """
    whole = set("?#") & set(str(folder.resolve()))
    link = uri_of(video) or video.resolve().as_posix() if whole else relative_path(video, folder)
    return link if Path(link).is_absolute() or is_uri(link) else f"./{link}"


def retime(sentences: Sequence[Sentence], segments: Sequence[Segment]) -> list[Sentence]:
    """Put sentences on the clock of the summary, the parts of each that lie in a segment."""
    moved = []
    for segment, begin_s in zip(segments, begins(segments), strict=True):
        for sentence in sentences:
            start_s = max(sentence.start_s, segment.start_s)
            end_s = min(sentence.end_s, segment.end_s)
            if end_s > start_s:
                shift = begin_s - segment.start_s
                moved.append(Sentence(sentence.text, start_s + shift, end_s + shift))
    return moved


def begins(segments: Sequence[Segment]) -> list[float]:
    """Return the second of the summary at which each segment begins."""
    lengths_s = [segment.end_s - segment.start_s for segment in segments]
    return list(accumulate(lengths_s, initial=0.0))[:-1]


def segment_pictures(summary: Summary, path: str | Path) -> dict[int, np.ndarray]:
    """Read a picture of each segment, at its best-scored moment, from the short video.

    Of more than 60 segments the best 60 have one.

    Returns:
        Segment number -> uint8 (h, 320, 3), h at most 960.
    """
    best = sorted(range(len(summary.segments)), key=lambda i: -summary.segments[i].score)[:MAX_PICTURES]
    moments = _best_moments(summary)
    wanted = sorted((moments[i], i) for i in best)
    pictures: dict[int, np.ndarray] = {}
    for time_s, image in iter_frames(path, PICTURE_FPS):
        while len(pictures) < len(wanted) and wanted[len(pictures)][0] <= time_s:
            pictures[wanted[len(pictures)][1]] = _small(image)
        if len(pictures) == len(wanted):
            return pictures
        last = image
    return pictures | {i: _small(last) for _, i in wanted[len(pictures) :]}


def _best_moments(summary: Summary) -> list[float]:
    """Return for each segment the second of the summary with its highest score.

    It lies in a shot of which the segment holds 2 s or 30 %, where there is one, so that the last second of a scene
    does not stand for the next. It is never in the last quarter of a second of the segment.
    """
    times_s, values = np.array(summary.scores["times_s"]), np.array(summary.scores["values"])
    starts_s, ends_s = np.array([(shot["start_s"], shot["end_s"]) for shot in summary.shots]).T
    shot_of = np.searchsorted(starts_s, times_s, side="right") - 1
    moments = []
    for segment, begin_s in zip(summary.segments, begins(summary.segments), strict=True):
        held_s = np.minimum(ends_s, segment.end_s) - np.maximum(starts_s, segment.start_s)
        shown = held_s >= np.minimum(SHOWN_S, SHOWN * (ends_s - starts_s))
        inside = np.flatnonzero((segment.start_s <= times_s) & (times_s < segment.end_s))
        inside = inside[shown[shot_of[inside]]] if shown[shot_of[inside]].any() else inside
        best_s = times_s[inside[values[inside].argmax()]] if len(inside) else segment.start_s
        moments.append(begin_s + max(0.0, min(best_s, segment.end_s - 2 / PICTURE_FPS) - segment.start_s))
    return moments


def _small(image: np.ndarray) -> np.ndarray:
    """Make a picture as wide as all on a page; what would be higher than `PICTURE_HEIGHT` stands between black."""
    from PIL import Image

    height = max(1, round(image.shape[0] * PICTURE_WIDTH / image.shape[1]))
    if height <= PICTURE_HEIGHT:
        return np.asarray(Image.fromarray(image).resize((PICTURE_WIDTH, height)))
    width = max(1, round(PICTURE_WIDTH * PICTURE_HEIGHT / height))
    small, left = np.zeros((PICTURE_HEIGHT, PICTURE_WIDTH, 3), np.uint8), (PICTURE_WIDTH - width) // 2
    small[:, left : left + width] = np.asarray(Image.fromarray(image).resize((width, PICTURE_HEIGHT)))
    return small


def cut_list(segments: Iterable[Segment], link: str, origin_s: float = 0.0) -> str:
    """Write the segments as an ffconcat script, which ffmpeg and mpv play.

    It is plain text with exact seconds at any frame rate.

    An edit decision list (CMX 3600) would need one constant frame rate and knows no longer file names.

    Args:
        segments: In order, in seconds of the source.
        link: Path of the video, as `list_link` gives it; has no line break, which no quoting can hold.
        origin_s: When the picture starts on the clock of the file.
    """
    quoted = link.replace("'", r"'\''")  # within quotes every other sign, a backslash too, stands for itself
    cuts = [
        f"file '{quoted}'\ninpoint {origin_s + segment.start_s:.6f}\noutpoint {origin_s + segment.end_s:.6f}\n"
        for segment in segments
    ]
    return CUTS_HEAD + "".join(cuts)


def _start_s(video: Path) -> float:
    with opened(video) as (_, stream):
        return stream_start_s(stream)


def chapters(summary: Summary) -> str:
    """Write WebVTT chapters of the short video, one a segment.

    Each names its time in the source and its steps, else its words, as short as other titles.
    """
    cues = []
    for number, (segment, begin_s) in enumerate(zip(summary.segments, begins(summary.segments), strict=True)):
        said = " ".join(summary.said_in(segment).split())
        said = in_a_row(summary.steps_in(number)) or said
        title = f"{clock(segment.start_s)} {shortened(said)}".rstrip()
        cues.append((begin_s, begin_s + segment.end_s - segment.start_s, title))
    return as_vtt(cues)


def markdown(summary: Summary, link: str) -> str:
    """Write the summary in words.

    Each segment's time is linked to the page beside it; its key sentences follow in order.
    """
    lines = [
        f"# {in_markdown(summary.video)}\n",
        f"{summary.extent}, {summary.asked_for} ([source](<{quote(link)}>), [player](summary.html), "
        f"[short video](summary.mp4)). Scored by: {in_markdown(summary.scored_by)}.\n",
    ]
    for number, segment in enumerate(summary.segments):
        time = f"[{clock(segment.start_s)} to {clock(segment.end_s)}](summary.html#t={segment.start_s:.2f})"
        said = in_markdown(summary.said_in(segment))
        steps = "".join(f"**{in_markdown(step)}** " for step in summary.steps_in(number))
        lines.append(f"- {time} {steps}{said or '(nothing said)'}")
    lines += _asked(summary)
    if summary.left_out:
        lines += ["\n## Not in this summary\n", *(f"- {in_markdown(step)}" for step in summary.left_out)]
    notes = [f"- {in_markdown(warning)}" for warning in summary.warnings]
    return "\n".join([*lines, *(["\n## Notes\n", *notes] if notes else [])]) + "\n"


def _asked(summary: Summary) -> list[str]:
    """List the nearest moments of each query."""
    lines = []
    for query in summary.queries:
        lines.append(f"\n## {in_markdown(query['text'])}\n")
        lines += [
            f"- [{clock(m['start_s'])} to {clock(m['end_s'])}](summary.html#t={m['start_s']:.2f}), "
            f"cosine {m['score']:.2f}"
            for m in query["moments"]
        ]
    return lines
