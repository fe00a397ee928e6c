"""Hours that a file's times leap over, found before it is read."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import av
from av.format import Flags

from hiersum_hf.video.clock import (
    MAX_GAP_S,
    Leap,
    format_of,
    may_start_again,
    packets_of,
    sound_of,
    track_of,
)


MAX_FAILED_READS = 100  # in a row; a broken disk fails at every one


def leaps_of(container: Any, open_file: Callable[[str], Any]) -> tuple[Leap, ...]:
    """Find where a file's times leap by more than `MAX_GAP_S`, though they cannot start again.

    A file that is shorter, or whose index leaves no room for that, is not read; others are, once.

    Args:
        container: The open file.
        open_file: PyAV's `open`, with what FFmpeg may open.
    """
    has_times = not container.format.flags & Flags.no_timestamps.value and format_of(container) != "avi"
    if may_start_again(container) or not has_times or _is_dense(container):
        return ()
    name = container.name
    if not os.path.isfile(name):  # several in a file, each of which begins anew
        return ()
    file = os.stat(name)
    return _leaps_in(name, open_file, file.st_size, file.st_mtime_ns)


def _is_dense(container: Any) -> bool:
    """Tell whether a file has no room for a leap, as far as its length and the index of its pictures say."""
    begin_s, length_s = ((time or 0) / av.time_base for time in (container.start_time, container.duration))
    stream = container.streams.best("video")
    if 0 < length_s <= MAX_GAP_S or stream is None:
        return True
    entries, tick_s = stream.index_entries, float(stream.time_base)
    at_s = entries[0].timestamp * tick_s if length_s and entries else math.inf
    while at_s < begin_s + length_s - MAX_GAP_S:
        last = entries.search_timestamp(round((at_s + MAX_GAP_S) / tick_s), any_frame=True)
        if last < 0 or entries[last].timestamp * tick_s <= at_s:
            return False
        at_s = entries[last].timestamp * tick_s
    return at_s < math.inf


@lru_cache(maxsize=64)
def _leaps_in(name: str, open_file: Callable[[str], Any], size: int, changed_ns: int) -> tuple[Leap, ...]:
    """Find the leaps of a file that has such a size and time."""
    with open_file(name) as container:
        try:  # the index of some comes with the first seek
            container.seek((container.start_time or 0) + (container.duration or 0))
            if _is_dense(container):
                return ()
        except av.error.FFmpegError:
            pass
    with open_file(name) as container:
        pictures: Any = container.streams.best("video")
        tick_s, end_s, less_s, found = float(pictures.time_base), math.inf, 0.0, list[Leap]()
        for from_s, to_s in _stored_s(container):
            if from_s > end_s + MAX_GAP_S:  # a whole number of the pictures' ticks
                less_s += math.floor((from_s - end_s) / tick_s + 1e-3) * tick_s
                found.append(Leap(from_s - tick_s / 2, less_s))
            end_s = to_s if end_s == math.inf else max(end_s, to_s)
    return tuple(found)


def _stored_s(container: Any) -> list[tuple[float, float]]:
    """Read what is stored of pictures and sound: ascending spans of seconds, each of some within a minute."""
    streams = [stream for stream in (container.streams.best("video"), sound_of(container)) if stream is not None]
    tracks, spans = {stream.index: track_of(stream) for stream in streams}, dict[int, tuple[float, float]]()
    for packet in _packets(container, streams):
        track = tracks[packet.stream_index]
        from_s = packet.pts * track.tick_s
        to_s = from_s + track.lasts_s(packet)
        begin_s, end_s = spans.get(int(from_s // 60), (from_s, to_s))
        spans[int(from_s // 60)] = min(begin_s, from_s), max(end_s, to_s)
    return sorted(spans.values())


def _packets(container: Any, streams: list[Any]) -> Iterator[Any]:
    """Read the packets that have a time, and pass over what cannot be read."""
    for _ in range(MAX_FAILED_READS):
        try:
            yield from (packet for packet in packets_of(container, *streams) if packet.pts is not None)
            return
        except av.error.FFmpegError:
            continue
