"""Fetch a video and what is told of it from an address, with yt-dlp, once."""

from __future__ import annotations

import re
import time
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from hiersum_hf.files.atomic import refuse_unwritable, write_text
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.video.reader import VIDEO_SUFFIXES


INSTALL = 'Fetching a video from an address needs yt-dlp: pip install "hiersum-hf[url]"'
MAX_BYTES, MAX_S = 8 * 2**30, 3600  # of one video
SILENCE_S = 20  # after which a server counts as gone
DONE = "fetched.txt"  # names the video; written last
BY_HAND = "Open it in a browser, or fetch it by other means and give the file."
SIGNED_IN = "Fetch it with yt-dlp itself, which can sign in (--cookies-from-browser), and give the file."


def is_address(name: str) -> bool:
    """Tell whether a name is an address in the web and no file."""
    return re.match(r"https?://", name, re.IGNORECASE) is not None


def folder_of(address: str, downloads: str | Path) -> Path:
    """Name the folder that is the address's own, for two addresses may end in one name."""
    host = re.sub(r"[^\w.-]", "_", urlsplit(address).hostname or "")
    return Path(downloads) / f"{host}-{sha256(address.encode()).hexdigest()[:10]}"


def fetched_before(address: str, downloads: str | Path) -> Path | None:
    """Find the video of an address that was fetched whole; nothing is asked of the network."""
    done = folder_of(address, downloads) / DONE
    video = done.with_name(done.read_text(encoding="utf-8")) if done.is_file() else None
    return video if video and video.is_file() else None


def fetch(address: str, downloads: str | Path, language: str | None = None) -> Path:
    """Fetch one video with its subtitles and info.json, or find it there.

    An interrupted fetch goes on where it broke off, where the server can.

    Args:
        address: http:// or https://, of a video file or a page that yt-dlp knows how to read.
        downloads: Gets a folder for the address (`folder_of`).
        language: Of the subtitles; default: English, else the first there are.

    Returns:
        The video; what is told of it lies beside it, as `side_files` finds it.

    Raises:
        ImportError: yt-dlp is not installed.
        InputError: A playlist, a stream that is live or has no end, no video, one that may not be seen; names the
            address.
        NotADirectoryError, PermissionError: A folder that cannot be written to.
    """
    try:
        from yt_dlp import YoutubeDL
        from yt_dlp.utils import DownloadError, YoutubeDLError
    except ImportError as error:
        raise ImportError(INSTALL) from error
    if (video := fetched_before(address, downloads)) is not None:
        return video
    folder = folder_of(address, downloads)
    refuse_unwritable(folder.absolute(), "downloads")
    with tqdm(unit="B", unit_scale=True, desc="fetching", disable=None, leave=False) as bar:
        limits = _Limits(address, bar)
        try:
            with YoutubeDL(_options(folder, language, limits)) as loader:
                info = loader.extract_info(address, download=False) or {}
                _refuse(address, info)
                limits.begin()
                info = loader.process_ie_result(info, download=True)
        except YoutubeDLError as error:
            cause = error.exc_info[1] if isinstance(error, DownloadError) and error.exc_info else error
            raise InputError(_said(address, cause)) from error
        except InputError:  # nobody goes on with what is refused
            for part in folder.glob("*.part*"):
                part.unlink()
            raise
    video = next((Path(done["filepath"]) for done in info.get("requested_downloads") or ()), None)
    if video is None or not video.is_file():
        raise InputError(f"{address}: expected a video of at most {MAX_BYTES / 2**30:g} GB, found none. {BY_HAND}")
    if video.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(f"{address}: expected a video, found a {video.suffix} file, {video}. {BY_HAND}")
    write_text(folder / DONE, video.name)
    return video


class _Limits:
    """Stop a download that is too large or takes too long, and show how far it is."""

    def __init__(self, address: str, bar: Any):
        self.address, self.bar = address, bar

    def begin(self) -> None:
        self.end_s = time.monotonic() + MAX_S

    def __call__(self, state: dict[str, Any]) -> None:
        size = state.get("downloaded_bytes") or 0
        if size > MAX_BYTES or time.monotonic() > self.end_s:
            limit = f"a video of at most {MAX_BYTES / 2**30:g} GB that is fetched within {MAX_S // 60} minutes"
            raise InputError(f"{self.address}: expected {limit}, found more, or a stream without an end. {BY_HAND}")
        self.bar.total = state.get("total_bytes")
        self.bar.update(size - self.bar.n)


class _Quiet:
    """Swallow what yt-dlp says; its errors are raised too."""

    def debug(self, message: str) -> None: ...

    warning = error = debug


def _options(folder: Path, language: str | None, limits: _Limits) -> dict[str, Any]:
    return {
        "paths": {"home": str(folder)},
        "outtmpl": {"default": "%(title).100B.%(ext)s"},
        "windowsfilenames": True,
        "format_sort": ["res:1080"],  # the largest up to it
        "writesubtitles": True,
        "writeautomaticsub": True,
        "subtitleslangs": [language, f"{language}-.*"] if language else None,
        "writeinfojson": True,
        "noplaylist": True,  # of a video in a list, the video
        "extract_flat": "in_playlist",
        "playlist_items": "1",
        "max_filesize": MAX_BYTES,
        "socket_timeout": SILENCE_S,
        "retries": 3,
        "updatetime": False,
        "progress_hooks": [limits],
        "noprogress": True,
        "quiet": True,
        "logger": _Quiet(),
        "color": "never",
    }


def _refuse(address: str, info: dict[str, Any]) -> None:
    """Refuse what is not one video with an end.

    Raises:
        InputError: It is a playlist, or live.
    """
    if info.get("_type", "video") != "video":
        first = next((entry.get("url") or entry.get("webpage_url") for entry in info.get("entries") or () if entry), "")
        what = f"Give its videos one by one: hiersum summarize {first or 'ADDRESS'!r} ..." if first else BY_HAND
        raise InputError(f"{address}: expected one video, found a playlist. {what}")
    if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming"):
        raise InputError(f"{address}: expected a video, found a live stream. Fetch it when it is over.")


def _said(address: str, cause: BaseException | None) -> str:
    """Say in one line why nothing was fetched."""
    told = " ".join(str(getattr(cause, "orig_msg", None) or cause).split())
    told = told.removeprefix("ERROR: ").partition("; please report this issue")[0].partition(" (caused by")[0]
    told, flags, _ = told.partition(" Use --cookies")  # flags of yt-dlp itself
    if told.startswith("Unsupported URL"):
        told = "a page without a video"
    remedy = SIGNED_IN if flags else BY_HAND
    return f"{address}: expected a video that can be fetched, found: {told.rstrip('.')}. {remedy}"
