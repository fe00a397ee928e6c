"""What visitors of the page upload, and what becomes of it."""

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hiersum_hf.inference.scorer import Scorer
from hiersum_hf.inference.summarize import ScoredVideo, score_video
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.summary.files import FILES, write_summary
from hiersum_hf.video.reader import probe


MAX_UPLOAD_MB = 500
MAX_HOURS = 4  # of video: all visitors wait for the one before
MAX_SUBTITLES_MB = 5
MAX_DESCRIPTION = 10_000  # characters
KEEP_S = 3600
FOLDERS = re.compile(r"(?<![\w:/])/[^\s'\"]*/")
VIDEO_SUFFIXES = [".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".ogv", ".wmv"]
SUBTITLE_SUFFIXES = [".srt", ".vtt", ".ass", ".ssa"]


@dataclass(frozen=True, eq=False)
class Visit:
    """One uploaded video with its scores.

    Args:
        folder: Holds the video and its summaries, and nothing of anyone else.
        video: The copy in it.
        scored: What summaries of any length follow from.
        uploads: The files as they were received; deleted with the visit.
        since_s: When it was made, on `time.monotonic`'s clock.
    """

    folder: Path
    video: Path
    scored: ScoredVideo
    uploads: tuple[Path, ...] = ()
    since_s: float = field(default_factory=time.monotonic)

    def summarize(self, percent: float) -> Path:
        """Return the folder with a summary of so many per cent, written unless it is there."""
        percent = min(100, max(1, round(percent)))
        folder = self.folder / f"{self.video.stem}-summary-{percent}"
        if not folder.exists():
            write_summary(self.scored.summarize(str(percent / 100)), self.video, folder, self.scored.sentences)
        archive = folder.with_name(f"{folder.name}.zip")
        if not archive.exists():
            with tempfile.TemporaryDirectory(dir=self.folder) as half:
                os.replace(shutil.make_archive(f"{half}/all", "zip", self.folder, folder.name), archive)
        return folder


def score_upload(
    scorer: Scorer,
    root: str | Path,
    video: str | Path | None,
    subtitles: str | Path | None = None,
    description: str | None = None,
    max_upload_mb: float = MAX_UPLOAD_MB,
) -> Visit:
    """Check what was uploaded, copy the video into a new folder and score it.

    Args:
        scorer: Loaded once for all visitors.
        root: Where visits have their folders.
        video: The uploaded file.
        subtitles: The uploaded subtitles.
        description: Text, never taken as a path: one title or step a line.
        max_upload_mb: Largest video, in units of 10^6 bytes.

    Raises:
        ValueError: Something is missing, too large or not what it should be. The message names the file as the visitor
            does and shows no path of the server.
    """
    uploads = tuple(Path(path) for path in (video, subtitles) if path)
    folder = Path(root, secrets.token_urlsafe(16))
    try:
        check_uploads(video, subtitles, description or "", max_upload_mb)
        copy = folder / safe_name(uploads[0].name)
        folder.mkdir(mode=0o700, parents=True)
        shutil.copyfile(uploads[0], copy)
        texts = [line for line in (description or "").splitlines() if line.strip()]
        scored = score_video(copy, scorer, uploads[1] if subtitles else None, texts)
        notes = tuple(without_folders(note, folder, uploads) for note in scored.warnings)
        return Visit(folder, copy, replace(scored, warnings=notes), uploads)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, ValueError | FileNotFoundError):
            raise
        raise InputError(without_folders(str(error), folder, uploads)) from error


def without_folders(text: str, folder: Path, uploads: Sequence[Path]) -> str:
    """Name files in a text as the visitor knows them."""
    for known in (folder, *(path.parent for path in uploads)):
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
    """Who has uploaded what: at most one `Visit` for each session of a browser."""

    def __init__(self, scorer: Scorer, root: Path, max_upload_mb: float = MAX_UPLOAD_MB):
        self.root = root
        self.score = partial(score_upload, scorer, root, max_upload_mb=max_upload_mb)
        self.of: dict[str, Visit] = {}

    def start(self, session: str, video: Any, subtitles: Any, description: Any, percent: float) -> str:
        """Return the view of a new upload, which replaces the session's earlier one; raises as `score_upload`."""
        visit = self.score(video, subtitles, description)
        earlier = self.of.pop(session, None)
        self.of[session] = visit
        self._delete(earlier)
        others = list(self.of.items())  # a page may be closed meanwhile
        for stale in [key for key, other in others if visit.since_s - other.since_s > KEEP_S]:
            self.end(stale)
        return view(visit.summarize(percent))

    def again(self, session: str, percent: float) -> str | None:
        """Return the view of another length of the session's video, None without one."""
        visit = self.of.get(session)
        return view(visit.summarize(percent)) if visit else None

    def end(self, session: str) -> None:
        """Delete what the session has."""
        self._delete(self.of.pop(session, None))

    def _delete(self, visit: Visit | None) -> None:
        """Delete a visit's folder, and its uploads unless another visit has equal ones, which Gradio keeps once."""
        if visit is None:
            return
        shutil.rmtree(visit.folder, ignore_errors=True)
        for path in {*visit.uploads}.difference(*(other.uploads for other in list(self.of.values()))):
            path.unlink(missing_ok=True)


def view(folder: Path) -> str:
    """Return HTML that shows a summary's page and offers its files.

    Addresses are relative to the app's page.

    The page runs in a sandbox: were anything in it not escaped, it could still not touch the app.
    """
    address = f"gradio_api/file={quote(folder.as_posix())}"
    links = [f'<a href="{address}.zip" download>all as .zip</a>']
    links += [f'<a href="{address}/{name}" download>{name}</a>' for name in FILES if name != "summary.html"]
    return (
        f'<iframe src="{address}/summary.html" sandbox="allow-scripts" allow="fullscreen" title="Summary" '
        f'style="width: 100%; height: 80vh; border: 0"></iframe><p>Download: {" · ".join(links)}</p>'
    )
