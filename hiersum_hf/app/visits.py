"""What visitors of the page and callers of the service upload, and what becomes of it."""

import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event, Timer
from typing import Any

from hiersum_hf.app.calls import Done, Progress, Tell, Upload, Worker
from hiersum_hf.inference.scorer import Scorer
from hiersum_hf.inference.summarize import ScoredVideo, ask, score_video
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Summary
from hiersum_hf.scoring.topics import checked_queries
from hiersum_hf.summary.files import begins, write_summary
from hiersum_hf.video.reader import iter_frames, opened, probe


MAX_UPLOAD_MB = 500
MAX_HOURS = 4  # of video: all visitors wait for the one before
MAX_SUBTITLES_MB = 5
MAX_DESCRIPTION = 10_000  # characters
KEEP_S = 3600
PLAYED = ("h264",)  # by every browser; others are encoded
FOLDERS = re.compile(r"(?<![\w:/])/[^\s'\"]*/")
VIDEO_SUFFIXES = [".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".ogv", ".wmv"]
SUBTITLE_SUFFIXES = [".srt", ".vtt", ".ass", ".ssa"]


@dataclass(frozen=True)
class Made:
    """A summary that is written: its folder, what is in it, and a picture of its best moment."""

    folder: Path
    summary: Summary

    @property
    def archive(self) -> Path:
        """All files in one."""
        return self.folder.with_name(f"{self.folder.name}.zip")

    @property
    def poster(self) -> Path:
        """What the player shows before it plays."""
        return self.folder.with_name(f"{self.folder.name}.jpg")


@dataclass(frozen=True, eq=False)
class Visit:
    """One uploaded video with its scores.

    Args:
        folder: Holds the video and its summaries, and nothing of anyone else.
        video: The copy in it.
        scored: What summaries of any length, about anything, follow from.
        uploads: The files as they were received; deleted with the visit.
        description: What was said about it.
        since_s: When it was made, on `time.monotonic`'s clock.
        made: The summaries by the names of their folders.
    """

    folder: Path
    video: Path
    scored: ScoredVideo
    uploads: tuple[Upload, ...] = ()
    description: str | None = None
    since_s: float = field(default_factory=time.monotonic)
    made: dict[str, Made] = field(default_factory=dict)

    def summarize(self, budget: str, queries: Iterable[str] = (), tell: Tell | None = None) -> Made:
        """Write a summary of this length about these things, unless it is there.

        Args:
            budget: As `ScoredVideo.summarize` takes it.
            queries: What it shall be about.
            tell: Is told how far it is; what it raises ends the work, and nothing new is left.

        Raises:
            ValueError: A wrong budget, or queries that cannot be compared with anything in the video.
        """
        wanted = checked_queries(queries)
        summary = ask(self.scored, wanted).summarize(budget)
        about = f"-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:6]}" if wanted else ""
        folder = self.folder / f"{self.video.stem}-summary-{summary.budget.seconds:.4g}s{about}"
        if folder.name not in self.made:
            shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed below
            how = "smart" if codec_of(self.video) in PLAYED else "encode"
            last: list[Summary] = []
            write_summary(
                summary, self.video, folder, self.scored.sentences, progress=tell, render=how, written=last.append
            )
            made = Made(folder, last[-1])
            with tempfile.TemporaryDirectory(dir=self.folder) as half:
                if picture := poster(made.summary, folder / "summary.mp4"):
                    picture.save(f"{half}/poster.jpg", quality=85)
                    os.replace(f"{half}/poster.jpg", made.poster)
                os.replace(shutil.make_archive(f"{half}/all", "zip", self.folder, folder.name), made.archive)
            self.made[folder.name] = made
        return self.made[folder.name]


def codec_of(video: Path) -> str:
    """Name the codec of a video's pictures."""
    with opened(video) as (_, stream):
        return str(stream.codec_context.name)


def poster(summary: Summary, short: Path) -> Any:
    """Read the picture with most contrast of the best segment as one of PIL, None where there is none."""
    from PIL import Image

    best = max(range(len(summary.segments)), key=lambda i: summary.segments[i].score)
    begin_s = begins(summary.segments)[best]
    end_s = begin_s + summary.segments[best].end_s - summary.segments[best].start_s
    shown, contrast = None, -1.0
    for time_s, image in iter_frames(short, 2.0):
        if time_s >= end_s:
            break
        if time_s >= begin_s and (found := float(image[::8, ::8].std())) > contrast:
            shown, contrast = image, found
    return None if shown is None else Image.fromarray(shown)


def score_upload(
    scorer: Scorer,
    root: str | Path,
    video: str | Path | None,
    subtitles: str | Path | None = None,
    description: str | None = None,
    max_upload_mb: float = MAX_UPLOAD_MB,
    tell: Tell | None = None,
) -> Visit:
    """Check what was uploaded, copy the video into a new folder and score it.

    Args:
        scorer: Loaded once for all visitors.
        root: Where visits have their folders.
        video: The uploaded file.
        subtitles: The uploaded subtitles.
        description: Text, never taken as a path: one title or step a line.
        max_upload_mb: Largest video, in units of 10^6 bytes.
        tell: Is told how far it is; what it raises ends the work, and nothing is left.

    Raises:
        ValueError: Something is missing, too large or not what it should be. The message names the file as the visitor
            does and shows no path of the server.
    """
    uploads = tuple(Upload.of(path) for path in (video, subtitles) if path)
    folder = Path(root, secrets.token_urlsafe(16))
    try:
        check_uploads(video, subtitles, description or "", max_upload_mb)
        copy = folder / safe_name(uploads[0].path.name)
        folder.mkdir(mode=0o700, parents=True)
        shutil.copyfile(uploads[0].path, copy)
        texts = [line for line in (description or "").splitlines() if line.strip()]
        scored = score_video(copy, scorer, uploads[1].path if subtitles else None, texts, progress=tell)
        notes = tuple(without_folders(note, folder, uploads) for note in scored.warnings)
        return Visit(folder, copy, replace(scored, warnings=notes), uploads, description)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, ValueError | FileNotFoundError):
            raise
        raise InputError(without_folders(str(error), folder, uploads)) from error


def without_folders(text: str, folder: Path, uploads: Sequence[Upload]) -> str:
    """Name files in a text as the visitor knows them."""
    for known in (folder, *(upload.path.parent for upload in uploads)):
        text = text.replace(f"{known}{os.sep}", "")
    return text


def for_visitors(text: str, root: Path) -> str:
    """Remove folders of the server from a text."""
    return FOLDERS.sub("", text.replace(str(root), ""))


def check_uploads(video: str | Path | None, subtitles: str | Path | None, description: str, max_mb: float) -> None:
    """Refuse uploads without a video, or with anything that may not be read."""
    if not video:
        raise InputError("Expected a video, found none.")
    if len(description) > MAX_DESCRIPTION:
        raise InputError(f"Expected a description of at most {MAX_DESCRIPTION} letters, found {len(description)}.")
    check_file(Path(video), VIDEO_SUFFIXES, max_mb)
    check_format(Path(video))
    if subtitles:
        check_file(Path(subtitles), SUBTITLE_SUFFIXES, MAX_SUBTITLES_MB)


def check_file(path: Path, suffixes: list[str], max_mb: float) -> None:
    """Refuse a file that is missing, has another ending or is too large."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: expected a file ending in {', '.join(suffixes)}, found {path.suffix!r}.")
    if not path.is_file():
        raise InputError(f"{path}: expected an uploaded file, found it deleted. Please upload it again.")
    size_mb = path.stat().st_size / 1e6
    if size_mb > max_mb:
        raise InputError(f"{path}: expected at most {max_mb:g} MB, found {size_mb:.1f} MB.")


def check_format(path: Path) -> None:
    """Refuse what is no video, is too long, or may point to other files."""
    if (hours := probe(path).duration_s / 3600) > MAX_HOURS:
        raise InputError(f"{path}: expected at most {MAX_HOURS} hours of video, found {hours:.1f}.")


def safe_name(name: str) -> str:
    """Return a short name of letters, digits, "_", "-" and one dot for a visitor's file."""
    stem = re.sub(r"[^\w-]+", "_", Path(name).stem).strip("_").encode()[:60].decode(errors="ignore")
    return (stem or "video") + Path(name).suffix.lower()


class Visits:
    """Who has uploaded what: at most one `Visit` for each session of a browser, and one for each call.

    Args:
        scorer: Loaded once for all.
        root: Where visits have their folders.
        max_upload_mb: Largest video, in units of 10^6 bytes.
    """

    def __init__(self, scorer: Scorer, root: Path, max_upload_mb: float = MAX_UPLOAD_MB):
        self.scorer, self.root = scorer, root
        self.worker = Worker()
        self.score = partial(score_upload, scorer, root, max_upload_mb=max_upload_mb)
        self.of: dict[str, Visit] = {}
        self.gone: dict[str, Event] = {}  # by session: set when it ends
        self.used: list[Upload] = []  # by what works or waits

    async def follow(
        self, session: str, work: Callable[[Tell], Made | None], paths: Iterable[str | None] = (), keep: bool = False
    ) -> AsyncGenerator[Progress | Done[Made | None], None]:
        """Do what a session asks for in its turn, as `Worker.follow`.

        Args:
            session: Of a browser, or the name of a call. Who leaves before the end ends it.
            work: Is given a function to tell its progress.
            paths: Uploads that it reads.
            keep: Leave these for the session's further work; else they are deleted at the end of this, however it ends.
        """
        self.gone[session] = gone = Event()
        uploads = [Upload.of(path) for path in paths if path]
        self.used += uploads

        def ended() -> None:
            for upload in uploads:
                self.used.remove(upload)
            if left := gone.is_set():
                self.end(session)
            if left or not keep:
                self._forget(uploads)

        async with aclosing(self.worker.follow(work, gone, ended)) as states:
            async for state in states:
                yield state

    def start(
        self,
        session: str,
        video: str | None,
        subtitles: str | None,
        description: str | None,
        budget: str,
        queries: Iterable[str] = (),
        tell: Tell | None = None,
    ) -> Made:
        """Summarize a new upload, which replaces the session's earlier one; raises as `score_upload`."""
        if (letters := sum(map(len, queries := list(queries)))) > MAX_DESCRIPTION:
            raise InputError(f"queries: expected at most {MAX_DESCRIPTION} letters, found {letters}.")
        given = tuple(Upload.of(path) for path in (video, subtitles) if path), description
        known = self.of.get(session)
        if known and (known.uploads, known.description) == given:
            return known.summarize(budget, queries, tell)  # the video need not be read again
        visit = self.score(video, subtitles, description, tell=tell)
        try:
            made = visit.summarize(budget, queries, tell)
        except BaseException:
            shutil.rmtree(visit.folder, ignore_errors=True)
            raise
        earlier = self.of.pop(session, None)
        self.of[session] = visit
        self._delete(earlier)
        others = list(self.of.items())  # a page may be closed meanwhile
        for stale in [key for key, other in others if visit.since_s - other.since_s > KEEP_S]:
            self.end(stale)
        return made

    def again(self, session: str, budget: str, queries: Iterable[str] = (), tell: Tell | None = None) -> Made | None:
        """Summarize the session's video at another length or about other things, None without one."""
        visit = self.of.get(session)
        return visit.summarize(budget, queries, tell) if visit else None

    def call(self, name: str, *given: Any) -> Made:
        """Summarize a program's upload as `start`, and keep that for an hour."""
        made = self.start(name, *given)
        self.of[name] = replace(self.of[name], uploads=())
        timer = Timer(KEEP_S, self.end, [name])
        timer.daemon = True
        timer.start()
        return made

    def end(self, session: str) -> None:
        """Delete what the session has, and end what works for it."""
        if gone := self.gone.pop(session, None):
            gone.set()
        self._delete(self.of.pop(session, None))

    def _delete(self, visit: Visit | None) -> None:
        if visit is not None:
            shutil.rmtree(visit.folder, ignore_errors=True)
            self._forget(visit.uploads)

    def _forget(self, uploads: Iterable[Upload]) -> None:
        """Delete uploads, unless another visit or call has them too: Gradio keeps equal ones once."""
        for upload in {*uploads}.difference(self.used, *(other.uploads for other in list(self.of.values()))):
            upload.delete()
