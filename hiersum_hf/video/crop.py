"""What a container crops of its pictures, as players do: PixelCrop of Matroska, the clean aperture of .mp4 and .mov.

FFmpeg 8 reads both, and leaves it to the player to crop. PyAV 18 has no word for it, but writes it into a new header.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import av


# Elements of Matroska from the file down to the description of the pictures, and their pixels that are not shown
PATH = bytes.fromhex("18538067"), bytes.fromhex("1654ae6b"), b"\xae", b"\xe0"
TOP, BOTTOM, LEFT, RIGHT = (bytes.fromhex(code) for code in ("54bb", "54aa", "54cc", "54dd"))


class Crop(NamedTuple):
    """Pixels of a stored picture that are not shown, at each of its sides."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, width and height of what is shown; all of it where the crop leaves nothing."""
        shown = width - self.left - self.right, height - self.top - self.bottom
        return (self.left, self.top, *shown) if min(shown) > 0 else (0, 0, width, height)


def crop_of(stream: Any) -> Crop:
    """Read what the container of a stream crops."""
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as target:
            target.add_stream_from_template(stream, opaque=True)
            target.start_encoding()
            content = header.getvalue()
    except (ValueError, av.error.FFmpegError):  # pictures that Matroska does not hold
        return Crop()
    for code in PATH:
        content = next((body for found, body in _elements(content) if found == code), b"")
    told = {code: int.from_bytes(body, "big") for code, body in _elements(content)}
    return Crop(*(told.get(code, 0) for code in (TOP, BOTTOM, LEFT, RIGHT)))


def _elements(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Read the elements of a part of a Matroska header."""
    at = 0
    while at < len(content):
        begin = at + 9 - content[at].bit_length()
        body = begin + 9 - content[begin].bit_length()
        size = int.from_bytes(content[begin:body], "big") & (1 << 7 * (body - begin)) - 1
        yield content[at:begin], content[body : body + size]
        at = body + size
