"""What a file is that no decoder reads, and what its owner can do."""

from __future__ import annotations

from pathlib import Path


HEAD_BYTES = 256
ARCHIVES = (b"PK\x03\x04", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")
PAGES = (b"<!doctype", b"<html")


def advice(path: str | Path) -> str:
    """Say by its first bytes what a file is, and what to do.

    An .mp4 keeps its index (moov) at the end until it is finished: what broke off has none.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return "It is empty. Record or download it again."
    if head.startswith(ARCHIVES):
        return "It is an archive. Unpack it first."
    if head.lstrip().lower().startswith(PAGES):
        return "It is a web page. Download the video that it shows."
    if not head.strip(b"\0"):
        return "It begins with zeros, as a download or copy that broke off. Fetch it again."
    if head[4:8] == b"ftyp":
        return (
            "It is an .mp4 or .mov without its index, as a recording or download that broke off. Fetch it again, or "
            "mend it with a program such as untrunc."
        )
    return "If a player shows it, write it anew: ffmpeg -i FILE new.mkv. If none does, record or download it again."
