"""Read WikiHow's articles from how_to_steps.tar.gz.

They have titles, steps and the videos they belong to.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from hiersum_hf.modeling.errors_hiersum import InputError


MAX_ARCHIVE_BYTES, MAX_ARTICLE_BYTES = 2**28, 2**20  # the real archive unpacks to 9 MB, its largest article is 13 kB

_YOUTUBE_ID = re.compile(
    r"youtu(?:\.be/|be(?:-nocookie)?\.com/(?:embed/|shorts/|live/|v/|watch\?(?:.*&)?v=))([\w-]{11})(?![\w-])"
)


@dataclass(frozen=True)
class Article:
    """Hold one article.

    Args:
        name: Name of its file without suffix, such as "Saut%C3%A9-Vegetables": its id.
        title: The same to be read: "Sauté Vegetables".
        url: Of its video.
        youtube_id: In that URL, None if there is none.
        steps: Their texts in order, as they are; some are "".
    """

    name: str
    title: str
    url: str
    youtube_id: str | None
    steps: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Parent text, which is the title and the steps that have words."""
        return self.title, *(folded for step in self.steps if (folded := " ".join(step.split())))


def read_articles(path: str | Path) -> list[Article]:
    """Read how_to_steps.tar.gz, or a folder with its files.

    A folder may hold any JSON with "video_url" and numbered steps or "steps". Nothing is written to disk, names of
    members are never used as paths, and an archive that unpacks to more than 256 MB is refused.

    Returns:
        The articles, sorted by name.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: A damaged archive or an article that is not as described; names the archive and the member.
    """
    path = Path(path)
    articles: dict[str, Article] = {}
    for member, content in _folder_files(path) if path.is_dir() else _archive_files(path):
        name = PurePosixPath(member).stem
        try:
            if name in articles:
                raise InputError("expected one article of this name, found another")
            articles[name] = _article(name, json.loads(content))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, {member}: {error}. Mend or remove it.") from None
    if not articles:
        raise InputError(f"{path}: expected articles (.json), found none. Fetch how_to_steps.tar.gz.")
    return [articles[name] for name in sorted(articles)]


def videos_of_articles(articles: Sequence[Article]) -> dict[str, list[Article]]:
    """Map YouTube ids to the articles with that video.

    The ids are what there is to fetch.
    """
    videos: dict[str, list[Article]] = {}
    for article in articles:
        if article.youtube_id is not None:
            videos.setdefault(article.youtube_id, []).append(article)
    return videos


def youtube_id(url: str) -> str | None:
    """Find the YouTube id in a URL; None on another site."""
    found = _YOUTUBE_ID.search(url)
    return found[1] if found else None


def _folder_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob("*.json")):
        yield path.name, path.read_bytes()


def _archive_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each JSON file in the archive.

    Links, folders and others are passed over.

    Raises:
        FileNotFoundError: There is no such archive.
        ValueError: It is damaged, or unpacks to more than is allowed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected how_to_steps.tar.gz or a folder of articles, found no such file")
    try:
        with gzip.open(path) as stream:
            # One byte more than allowed tells an archive that is too large, without unpacking all of it.
            unpacked = stream.read(MAX_ARCHIVE_BYTES + 1)
        if len(unpacked) > MAX_ARCHIVE_BYTES:
            raise InputError(f"{path}: expected at most {MAX_ARCHIVE_BYTES} bytes unpacked, found more. Part it.")
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for member in archive:
                if not member.isfile() or not member.name.endswith(".json"):
                    continue
                if member.size > MAX_ARTICLE_BYTES:
                    found = f"{member.size}. Remove it"
                    raise InputError(
                        f"{path}, {member.name}: expected at most {MAX_ARTICLE_BYTES} bytes, found {found}."
                    )
                file = archive.extractfile(member)
                yield member.name, b"" if file is None else file.read()
    except (OSError, EOFError, ValueError, RecursionError, zlib.error, tarfile.TarError) as error:
        if str(error).startswith(str(path)):
            raise
        raise InputError(f"{path}: expected a complete tar.gz archive, found none ({error}). Fetch it again.") from None


def _article(name: str, content: Any) -> Article:
    if not isinstance(content, dict) or not isinstance(content.get("video_url"), str):
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"expected an object with video_url, found {found}")
    # "1", "2", ... "10" in the order of numbers, not of letters.
    numbered = [content[key] for key in sorted(filter(str.isdecimal, content), key=int)]
    items = numbered or content.get("steps", [])
    if not isinstance(items, list):
        raise InputError(f"expected a list of steps, found {items!r:.80}")
    steps: list[Any] = [item.get("text") if isinstance(item, dict) else item for item in items]
    for number, step in enumerate(steps, 1):
        if not isinstance(step, str):
            raise InputError(f"step {number}: expected a text, found {items[number - 1]!r:.80}")
    url = content["video_url"]
    return Article(name, unquote(name).replace("-", " "), url, youtube_id(url), tuple(steps))
