"""A copy of a video that knows its chapters."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.stream import Discard

from hiersum_hf.files.atomic import aside
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import counted
from hiersum_hf.video.clock import Clock, packets_of
from hiersum_hf.video.faults import stream_start_s
from hiersum_hf.video.reader import leaps, opened


WITH_CHAPTERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
TICK = Fraction(1, 1000)


def chaptered_name(video: Path) -> str:
    """Name the copy: NAME.chapters and its suffix, .mkv where the format holds no chapters."""
    suffix = video.suffix.lower() if video.suffix.lower() in WITH_CHAPTERS else ".mkv"
    return f"{video.stem}.chapters{suffix}"


def copy_with_chapters(video: str | Path, chapters: Sequence[Mapping[str, Any]], output: str | Path) -> list[str]:
    """Copy a video with chapters instead of its own; no picture and no sound is encoded.

    Args:
        video: The source.
        chapters: {start_s, end_s, title}, in seconds of the pictures.
        output: The copy, its suffix one of `WITH_CHAPTERS`; it appears under its name only when complete.

    Returns:
        Notes for a user, on streams that the copy cannot hold.

    Raises:
        InputError: The source is not readable, or the copy cannot hold its pictures.
        OSError: The copy cannot be written.
    """
    output, left, copies, last = Path(output), list[str](), dict[int, Any](), dict[int, int]()
    with (
        aside(output) as partial,
        _write_errors(output),
        av.open(str(partial), "w", format=WITH_CHAPTERS[output.suffix]) as target,
        opened(video) as (container, stream),
    ):
        target.metadata.update(container.metadata)
        for one in container.streams:
            # The time code, and the chapters of an .mp4, are written anew
            if one.type == "data" and (one.metadata.get("timecode") or one.discard is Discard.all):
                continue
            if not _holds(target.format.name, one):
                left.append(one.type)
                continue
            copies[one.index] = target.add_stream_from_template(one, opaque=True)
            copies[one.index].metadata.update(one.metadata)
            copies[one.index].disposition = one.disposition
        if stream.index not in copies:
            held = f"{video}: expected pictures that {output.suffix} can hold, found {stream.codec_context.name}"
            raise InputError(f"{held}. Give the video the suffix .mkv.")
        target.set_chapters(_marks(chapters, container, stream))
        streams = [stream, *(one for one in container.streams if one.index in copies and one.index != stream.index)]
        clock = Clock(container, streams, leaps=leaps(container))
        for packet in packets_of(container, *streams):
            if packet.size:
                clock.place(packet)
                _ascend(packet, last)
                packet.stream = copies[packet.stream.index]
                with _write_errors(output):
                    target.mux(packet)
    return [f"{output.name}: {counted(len(left), 'stream')} left out ({', '.join(left)})."] if left else []


def _holds(form: str, stream: Any) -> bool:
    """Tell whether a format holds what a stream has; of data and subtitles only the header's writing tells."""
    try:
        with av.open(io.BytesIO(), "w", format=form) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            if stream.type not in ("video", "audio"):
                trial.start_encoding()
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _ascend(packet: Any, last: dict[int, int]) -> None:
    """Move a packet that goes back behind the last one of its stream, as no container takes it there."""
    if packet.dts is not None:
        dts = max(packet.dts, last.get(packet.stream_index, packet.dts - 1) + 1)
        last[packet.stream_index] = packet.dts = dts
        packet.pts = packet.pts if packet.pts is None else max(packet.pts, dts)


@contextmanager
def _write_errors(output: Path) -> Iterator[None]:
    """Report what the muxer raises as an OSError that names the output."""
    try:
        yield
    except av.error.FFmpegError as error:
        told = f"{output}: expected to write a copy with chapters, found: {error.strerror}. Nothing of it is left."
        raise OSError(error.errno, told) from error


def _marks(chapters: Sequence[Mapping[str, Any]], container: Any, stream: Any) -> list[Any]:
    """Put chapters on the clock of the file; the first begins with it, as sound may before the pictures."""
    origin_s, begin_s = stream_start_s(stream), (container.start_time or 0) / av.time_base
    bounds = [
        (min(origin_s, begin_s) if number == 0 else origin_s + one["start_s"], origin_s + one["end_s"])
        for number, one in enumerate(chapters)
    ]
    return [
        {"id": number, "start": round(start_s / TICK), "end": round(end_s / TICK), "time_base": TICK}
        | {"metadata": {"title": one["title"]}}
        for number, ((start_s, end_s), one) in enumerate(zip(bounds, chapters, strict=True), 1)
    ]
