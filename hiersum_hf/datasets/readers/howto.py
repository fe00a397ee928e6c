"""Rebuild the paper's training set from what a user can fetch.

It joins how-to articles with their videos. `write_fetch_list` writes the videos to fetch. A downloader puts each into a
folder, as `readers.folder` reads it, with

    NAME.info.json    id, title, description, chapters, view_count and heatmap, the most-replayed curve
    NAME.LANG.vtt     subtitles

and `HowToReader` joins both by YouTube id: child text = subtitles, parent text = title and steps of the article (of a
video without one: its title, description line by line and chapters), frame scores = the replay curve.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hiersum_hf.datasets.readers.folder import FolderReader
from hiersum_hf.datasets.readers.replay import make_curve, parse_views
from hiersum_hf.datasets.readers.wikihow_articles import Article, read_articles, videos_of_articles, youtube_id
from hiersum_hf.files.atomic import write_text
from hiersum_hf.files.json_file import read_json
from hiersum_hf.labels import ReplayCurve, ReplayLabels, is_balanced
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import VideoRecord
from hiersum_hf.texts.downloaded import texts_of_info


logger = logging.getLogger(__name__)

INFO = ".info.json"
PARTS = ("steps", "subtitles", "curve", "views")
WATCH_URL = "https://www.youtube.com/watch?v="
ID_IN_NAME = re.compile(r"(?:^|\[)([\w-]{11})\]?$")  # as downloaders name files: ID.mp4 or Title [ID].mp4


@dataclass(frozen=True)
class HowToVideo:
    """Hold what the join knows about one video of the folder.

    Args:
        video_id: YouTube id; the NAME of the files where neither info.json nor NAME has one.
        name: NAME of its files.
        description: The K texts of the parent level.
        views: None where unknown.
        has_steps: The description comes from an article with steps.
        positive_rate: Share of the curve's bins that count as important, None without a curve.
        error: Why the info.json cannot be used, None if it can.
    """

    video_id: str
    name: str
    description: tuple[str, ...] = ()
    views: int | None = None
    has_steps: bool = False
    positive_rate: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class HowToReader(ReplayLabels):
    """Read the joined set, made by `HowToReader.open`.

    Video ids are YouTube ids. Labels and views are as in `ReplayLabels`.

    Args:
        folder: The videos.
        articles: The file or folder of articles; without one, every video is described by its own info.json.
        videos, not_fetched, strays: Filled in by `open`: the videos of the folder, articles' videos that are not
            there, info.json files without a video.
    """

    folder: FolderReader
    articles: str | Path | None = None
    videos: tuple[HowToVideo, ...] = field(default=(), repr=False)
    not_fetched: tuple[str, ...] = field(default=(), repr=False)
    strays: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def open(cls, folder: FolderReader, articles: str | Path | None = None, **settings: Any) -> HowToReader:
        """Join a folder with articles.

        It logs how many curves tell frames apart. `settings` are as for the class.

        Raises:
            FileNotFoundError: No such folder or articles.
            ValueError: The articles cannot be read, or settings that cannot be.
        """
        reader = cls(folder, articles, **settings)
        known = videos_of_articles(read_steps(articles)) if articles is not None else {}
        videos = tuple(reader._join(name, known) for name in folder.video_ids)
        rates = [video.positive_rate for video in videos if video.positive_rate is not None]
        outside = sum(not is_balanced(rate) for rate in rates)
        log = logger.warning if outside else logger.info
        log("%s: %d of %d replay curves mark less than 5 %% or more than 60 %%", folder.path, outside, len(rates))
        fetched = {video.video_id for video in videos}
        infos = {file.removesuffix(INFO) for file in os.listdir(folder.path) if file.endswith(INFO)}
        strays = tuple(sorted(infos - set(folder.video_ids)))
        not_fetched = tuple(key for key in known if key not in fetched)
        return replace(reader, videos=videos, not_fetched=not_fetched, strays=strays)

    @property
    def video_ids(self) -> list[str]:
        """Of several files of one video the first by NAME counts."""
        return list(self._wanted())

    @property
    def splits(self) -> dict[str, list[str]]:
        return {}

    @property
    def findings(self) -> dict[str, list[str]]:
        """Videos that lack a part, see the keys.

        `not_fetched` are articles' videos, `strays` lone info.json files.
        """
        wanted, in_folder, articles = self._wanted(), self.folder.findings, Path(self.articles or "").name
        mute = set(in_folder["without_subtitles"])
        kept = {video.name for video in wanted.values()}
        return {
            "without_steps": [key for key, video in wanted.items() if not video.has_steps],
            "without_subtitles": [key for key, video in wanted.items() if video.name in mute],
            "without_curve": [key for key, video in wanted.items() if video.positive_rate is None],
            "without_views": [key for key, video in wanted.items() if video.views is None],
            "without_description": [key for key, video in wanted.items() if not video.description],
            "unbalanced": [
                f"{key}: {video.positive_rate:.0%} important"
                for key, video in wanted.items()
                if video.positive_rate is not None and not is_balanced(video.positive_rate)
            ],
            "unreadable": in_folder["unreadable"] + [video.error for video in self.videos if video.error],
            "duplicates": [
                f"{video.video_id}: {video.name}"
                for video in self.videos
                if self.takes(video.views) and video.name not in kept
            ],
            "outside_views": [video.video_id for video in self.videos if not self.takes(video.views)],
            "not_fetched": list(self.not_fetched),
            "strays": list(self.strays),
            "passed_over": [name for name in in_folder["passed_over"] if not (name.endswith(INFO) or name == articles)],
        }

    @property
    def lacks(self) -> dict[str, tuple[str, ...]]:
        """For each video, which of steps, subtitles, curve and views it lacks."""
        found = self.findings
        without = {part: set(found[f"without_{part}"]) for part in PARTS}
        return {key: tuple(part for part in PARTS if key in without[part]) for key in self.video_ids}

    def read(self, video_id: str) -> VideoRecord:
        """Read a video with what it has.

        That may be subtitles, description, views, replay scores and labels.

        Raises:
            ValueError: No such video, or one of its files is broken; names the file.
        """
        video = self._wanted().get(video_id)
        if video is None:
            raise InputError(f"{self.folder.path}: expected a video with YouTube id {video_id}, found none")
        if video.error:
            raise InputError(video.error)
        curve = self._curve(video_id, self._info(video.name), f"{self.folder.path}, {video.name}{INFO}")
        record = self.folder.encode(video.name, video.description)
        source = f"{record.source}, {self.articles}" if video.has_steps else record.source
        record = replace(record, video_id=video_id, views=video.views, source=source)
        return record if curve is None else replace(record, **self.score_frames(curve, record.frame_times_s))

    def _wanted(self) -> dict[str, HowToVideo]:
        wanted: dict[str, HowToVideo] = {}
        for video in self.videos:
            if self.takes(video.views):
                # Files are sorted by NAME, and of several with one video the first counts.
                wanted.setdefault(video.video_id, video)
        return wanted

    def _join(self, name: str, articles: Mapping[str, list[Article]]) -> HowToVideo:
        in_name = ID_IN_NAME.search(name)
        video_id, where = in_name[1] if in_name else name, f"{self.folder.path}, {name}{INFO}"
        try:
            info = self._info(name)
            video_id = info.get("id") or video_id
            curve = self._curve(video_id, info, where)
            views = parse_views(info.get("view_count"), where)
            own = texts_of_info(info, where)
        except ValueError as error:
            return HowToVideo(video_id, name, error=str(error))
        # An article's texts begin with its title: one that has no more has no steps.
        found = [article for article in articles.get(video_id, ()) if len(article.texts) > 1]
        # Several articles may show one video; all their titles and steps describe it, in order.
        texts = [text for article in found for text in (article.title or own[0], *article.texts[1:])]
        rate = None if curve is None else self.rate(curve)
        return HowToVideo(video_id, name, _folded(texts if found else own), views, bool(found), rate)

    def _info(self, name: str) -> dict[str, Any]:
        """Read the downloader's info.json, {} where there is none."""
        path = self.folder.files(name).get("info")
        if path is None:
            return {}
        info = read_json(path)
        if not isinstance(info, dict) or not isinstance(info.get("id", ""), str):
            raise InputError(
                f"{path}: expected an object with id, title and so on, found {info!r:.80}. Fetch it again."
            )
        return info

    def _curve(self, video_id: str, info: Mapping[str, Any], where: str) -> ReplayCurve | None:
        if info.get("heatmap") is None:
            return None
        return make_curve(info["heatmap"], video_id, where)


def read_steps(path: str | Path) -> list[Article]:
    """Read articles from how_to_steps or from a .json file.

    how_to_steps is a .tar.gz or a folder. A .json file has one record {video_url, steps, perhaps title} or a list of
    them; its steps are strings or objects with "text".

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Another format; names file and record.
    """
    path = Path(path)
    if path.suffix != ".json":
        return read_articles(path)
    content = read_json(path)
    items = content if isinstance(content, list) else [content]
    return [_article(item, f"{path}, record {number}") for number, item in enumerate(items, 1)]


def write_fetch_list(articles: str | Path, output: str | Path, overwrite: bool = False) -> int:
    """Write the articles' videos for a downloader.

    It is one URL a line, each video once.

    Returns:
        How many there are.

    Raises:
        FileExistsError: The output is there and `overwrite` is not given.
        FileNotFoundError, ValueError: As `read_steps`.
    """
    output = Path(output)
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output}: expected no such file yet, found one. Remove it, or choose another.")
    urls = {WATCH_URL + a.youtube_id if a.youtube_id else a.url: None for a in read_steps(articles) if a.url}
    write_text(output, "".join(f"{url}\n" for url in urls))
    return len(urls)


def _article(item: Any, where: str) -> Article:
    item = item if isinstance(item, dict) else {"video_url": item}
    url, title, steps = item.get("video_url"), item.get("title", ""), item.get("steps")
    texts: list[Any] = [0]
    if isinstance(steps, list):
        texts = [step.get("text") if isinstance(step, dict) else step for step in steps]
    if not all(isinstance(text, str) for text in [url, title, *texts]):
        raise InputError(f"{where}: expected {{video_url, steps: [text, ...], perhaps title}}, found {item!r:.80}")
    return Article(title or url, title, url, youtube_id(url), tuple(texts))


def _folded(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(folded for text in texts if (folded := " ".join(text.split())))
