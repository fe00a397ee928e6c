"""Read what downloaders such as yt-dlp leave beside a video: NAME.info.json and NAME.description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hiersum_hf.modeling.errors_hiersum import InputError


_ADDRESS = re.compile(r"\b(?:https?://|www\.)\S+")
_MOMENT = re.compile(r"^\W*(?:\d+:)?\d{1,2}:\d{2}\b\W*")  # begins a line of chapters
_FILLER = re.compile(r"<Untitled Chapter \d+>")  # yt-dlp's, before a first chapter that does not begin at 0 s


def texts_of_info(info: Mapping[str, Any], where: str) -> list[str]:
    """List the texts about a video that its info.json holds.

    Args:
        info: Of it "title", "description" and "chapters" are read; each may be missing.
        where: Names the file in errors.

    Returns:
        Title, lines of the description as `lines_about` gives them, and titles of chapters.

    Raises:
        InputError: One of them is no text.
    """
    chapters = info.get("chapters") or []
    try:
        titles = [chapter["title"] + "" for chapter in chapters]
        title, description = (info.get("title") or "") + "", (info.get("description") or "") + ""
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{where}: expected title, description and chapters' titles as text, found others") from None
    lines = lines_about(description)
    if titles:  # the lines that chapters are made of say the same
        lines = [line for line in lines if not any(line.casefold() == title.strip().casefold() for title in titles)]
    return [title, *lines, *(title for title in titles if not _FILLER.fullmatch(title.strip()))]


def lines_about(description: str) -> list[str]:
    """List the lines of a description, without addresses.

    Where several begin with a moment, as lines of chapters do, these go too.
    """
    lines = [_ADDRESS.sub("", line).strip() for line in description.splitlines()]
    if sum(_MOMENT.match(line) is not None for line in lines) > 1:
        lines = [_MOMENT.sub("", line).strip() for line in lines]
    return [line for line in lines if re.search(r"\w", line)]
