"""Recordings joined end to end in one file, in formats whose demuxers stop after the first or lose their way.

`cat` and some recorders make them. FFmpeg's concat demuxer reads them in place, each from where the one before ends.
"""

from __future__ import annotations

import io
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av

from hiersum_hf.records import counted
from hiersum_hf.video.clock import LATE_S, MAX_BACK_S, MAX_GAP_S, Clock, packets_of, sound_of


HEAD_BYTES, MIN_BYTES = 1024, 32  # of a chunk that are looked at
MAX_CHUNKS = 10_000_000  # of a file; a day of an .flv has 6 million tags
MAX_PARTS = 1000  # a crafted file can hold millions
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
EBML_HEADER = bytes.fromhex("1a45dfa3")
FLV_TAGS = {8, 9, 18}  # sound, pictures, script
FLV_FILE_SIZE = b"filesize\x00"
MXF_KEY = bytes.fromhex("060e2b34")
MXF_HEADER = bytes.fromhex("060e2b34020501010d0102010102")  # of the partition with which a recording begins
IVF_HEADER, IVF_FRAME_BYTES = b"DKIF", 12  # a frame's length and time
NUT_FILE = b"nut/multimedia container\x00"
WTV_HEADER = bytes.fromhex("b7d800203749da11a64e0007e95ead8d")
WTV_SECTOR_BYTES, WTV_END = 4096, slice(0x5C, 0x60)  # where a recording's number of sectors is told
Open = Callable[..., Any]


def joined_container(path: str | Path, container: Any, open_part: Open) -> Any | None:
    """Open the recordings that a file holds as one container, if they are several.

    They are read as one as long as their streams have one form.

    Args:
        path: The file.
        container: What FFmpeg makes of the file as a whole.
        open_part: PyAV's `open`, with what FFmpeg may open for a part.

    Returns:
        A container whose `metadata` holds the "format" of the recordings, and a "note" of what is read of them.
    """
    name, step = str(Path(path).absolute()), STEPS.get(container.format.name)
    if step is None or "\n" in name or "\r" in name:  # a script has a file a line
        return None
    begins = _begins(name, step)
    if not 2 <= len(begins) <= MAX_PARTS or begins[0]:
        return None
    parts = [_part(name, *span) for span in zip(begins, [*begins[1:], os.path.getsize(name)], strict=True)]
    lengths_s = _lengths_s(parts, open_part)
    if not lengths_s:
        return None
    files = [(part.replace("'", r"'\''"), length_s) for part, length_s in zip(parts, lengths_s, strict=False)]
    lines = ["ffconcat version 1.0", *(f"file '{part}'\nduration {length_s:.6f}" for part, length_s in files)]
    script = io.BytesIO(os.fsencode("\n".join(lines)))
    try:
        joined = open_part(script, format="concat", options={"safe": "0"})
    except av.error.FFmpegError:
        return None
    joined.metadata.update(format=container.format.name, note=_note(name, begins, lengths_s))
    return joined


def _begins(name: str, step: Callable[[bytes], tuple[int, bool]]) -> list[int]:
    """Walk along the outermost chunks of a file, and return the bytes at which recordings begin."""
    begins, at = list[int](), 0
    end = os.path.getsize(name) - MIN_BYTES
    with open(name, "rb", buffering=0) as file:
        for _ in range(MAX_CHUNKS):
            if at > end or len(begins) > MAX_PARTS:
                break
            file.seek(at)
            size, is_first = step(file.read(HEAD_BYTES))
            if is_first:
                begins.append(at)
            if size == 0:
                break
            at += size
    return begins


def _mpeg4(head: bytes) -> tuple[int, bool]:
    size = int.from_bytes(head[:4], "big")
    return int.from_bytes(head[8:16], "big") if size == 1 else size, head[4:8] == b"ftyp"


def _matroska(head: bytes) -> tuple[int, bool]:
    """Step over an element, or into one whose size was not known when it was begun."""
    id_bytes = 9 - head[0].bit_length()
    size_bytes = 9 - head[min(id_bytes, 8)].bit_length()
    behind = id_bytes + size_bytes
    if max(id_bytes, size_bytes) > 8:
        return 0, False
    unknown = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(head[id_bytes:behind], "big") & unknown
    return behind + size * (size != unknown), head[:id_bytes] == EBML_HEADER


def _asf(head: bytes) -> tuple[int, bool]:
    return int.from_bytes(head[16:24], "little"), head[:16] == ASF_HEADER


def _avi(head: bytes) -> tuple[int, bool]:
    """Step over a chunk; a long .avi has several, only the first of which is called so."""
    size = int.from_bytes(head[4:8], "little")
    return (8 + size + size % 2) * (head[:4] == b"RIFF"), head[:4] == b"RIFF" and head[8:12] == b"AVI "


def _flv(head: bytes) -> tuple[int, bool]:
    """Step over a tag, or over a whole recording that tells its size."""
    if head[:3] != b"FLV":
        return (15 + int.from_bytes(head[1:4], "big")) * (head[0] in FLV_TAGS), False
    told = head.lower().find(FLV_FILE_SIZE) + len(FLV_FILE_SIZE)
    if len(FLV_FILE_SIZE) < told <= len(head) - 8:
        (size,) = struct.unpack(">d", head[told : told + 8])
        if 0 < size < 2**62:
            return int(size), True
    return int.from_bytes(head[5:9], "big") + 4, True


def _ogg(head: bytes) -> tuple[int, bool]:
    """Step over a page, or over those with which all streams of a recording begin."""
    size = 0
    while head[size : size + 4] == b"OggS" and len(head) > size + 27 and (not size or head[size + 5] & 2):
        lacing = head[size + 27 : size + 27 + head[size + 26]]
        size += 27 + len(lacing) + sum(lacing)
        if not head[5] & 2:
            break
    return size, bool(head[5] & 2)


def _mxf(head: bytes) -> tuple[int, bool]:
    """Step over a key, a length and what has that length."""
    length, behind = head[16], 17
    if length & 0x80:
        behind += length & 0x7F
        length = int.from_bytes(head[17:behind], "big")
    return (behind + length) * (head[:4] == MXF_KEY), head[:14] == MXF_HEADER


def _nut(head: bytes) -> tuple[int, bool]:
    """Step to the next beginning: only who knows what came before can tell how long a frame is."""
    following = head.find(NUT_FILE, 1)
    return following if following > 0 else len(head) - len(NUT_FILE), head.startswith(NUT_FILE)


def _ivf(head: bytes) -> tuple[int, bool]:
    """Step over the header, which tells its size, or over a frame."""
    if head[:4] == IVF_HEADER:
        return int.from_bytes(head[6:8], "little"), True
    return IVF_FRAME_BYTES + int.from_bytes(head[:4], "little"), False


def _wtv(head: bytes) -> tuple[int, bool]:
    is_first = head[:16] == WTV_HEADER
    return WTV_SECTOR_BYTES * int.from_bytes(head[WTV_END], "little") * is_first, is_first


STEPS = {
    "mov,mp4,m4a,3gp,3g2,mj2": _mpeg4,
    "matroska,webm": _matroska,
    "asf": _asf,
    "avi": _avi,
    "flv": _flv,
    "live_flv": _flv,
    "ogg": _ogg,
    "mxf": _mxf,
    "nut": _nut,
    "ivf": _ivf,
    "wtv": _wtv,
}


def _part(name: str, begin: int, end: int) -> str:
    """Name some bytes of a file as FFmpeg does."""
    return f"subfile,,start,{begin},end,{end},,:{name}"


def _lengths_s(parts: list[str], open_part: Open) -> list[float]:
    """Measure the parts in seconds, up to the first whose streams have another form or cannot be read.

    None are measured if their own clock goes on from each to the next, as that of pieces of a live stream does.
    """
    lengths_s, form, end_s, goes_on = list[float](), None, 0.0, True
    for part in parts:
        try:
            with open_part(part) as container:
                if container.streams.best("video") is None:
                    break
                found = [(s.type, s.codec_context and _form(s.codec_context)) for s in container.streams]
                begin_s, length_s = (container.start_time or 0) / av.time_base, _length_s(container)
        except av.error.FFmpegError:
            break
        form = form or found
        if found != form or length_s <= 0:
            break
        goes_on = goes_on and (not lengths_s or (LATE_S < begin_s < end_s + MAX_GAP_S and begin_s > end_s - MAX_BACK_S))
        end_s = begin_s + length_s
        lengths_s.append(length_s)
    return [] if goes_on and len(lengths_s) > 1 else lengths_s


def _form(codec: Any) -> tuple[str, bytes | None]:
    """Return what the packets of two streams share that one decoder reads."""
    return codec.name, None if codec.name == "h264" else codec.extradata  # which the demuxer puts into its packets


def _length_s(container: Any) -> float:
    """Measure a recording as a whole number of the pictures' ticks, so that the next one stays in step."""
    pictures = container.streams.best("video")
    begin_s, length_s = ((time or 0) / av.time_base for time in (container.start_time, container.duration))
    if not length_s or begin_s > LATE_S or container.format.name == "flv":  # no length, or not the right one
        clock = Clock(container, [pictures, sound_of(container)])
        for packet in packets_of(container, *clock.streams):
            clock.place(packet)
        length_s = clock.state.end_s - begin_s
    tick_s = float(pictures.time_base)
    return math.ceil(length_s / tick_s - 1e-3) * tick_s


def _note(name: str, begins: list[int], lengths_s: list[float]) -> str:
    """Say how many recordings there are, and what is read of them."""
    held = f"it holds {counted(len(begins), 'recording')} joined end to end"
    if len(lengths_s) == len(begins):
        return f"{held}, the second from {lengths_s[0]:.1f} s on: they are read as one."
    at, suffix = begins[len(lengths_s)], Path(name).suffix
    left = f"what follows {sum(lengths_s):.1f} s has streams of another form and is left out"
    commands = f'head -c {at} "{name}" > first{suffix} and tail -c +{at + 1} "{name}" > second{suffix}'
    return f"{held}; {left}. To read it, part the file: {commands}."
