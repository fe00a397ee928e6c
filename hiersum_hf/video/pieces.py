"""Pieces of a video that hold the pictures looked at, and their decoders.

A picture that nothing refers to is skipped unless it is looked at, and nothing is sent after the last one of a group
that is. Groups of pictures are decoded side by side. Whatever does not go by these rules raises `ReadAll`: then every
picture has to be decoded. Nothing here is given in the paper.
"""

from __future__ import annotations

import heapq
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av


PROOF = 32  # pictures at the beginning that are all decoded, to see whether the packets' times are theirs
MOST_PICTURES = 24  # looked at in one piece: 12 s of two a second
MOST_PIXELS = MOST_PICTURES * 1920 * 1088  # of these together
MOST_BYTES = 2**25  # of a piece's packets
MOST_DECODERS = 4
MAX_KEY_GAP_S = 12.0  # a key frame stands for no more
# Types of what H.264 and HEVC store: pictures, those at which decoding can begin, and parameters
SLICES = {"h264": range(1, 6), "hevc": range(32)}
STARTS = {"h264": {5}, "hevc": {*range(16, 22)}}
PARAMETERS = {"h264": {7, 8}, "hevc": {32, 33, 34}}
LENGTH_AT = {"h264": 4, "hevc": 21}  # the byte of the header that tells how long lengths are
AV1_SEQUENCE, AV1_FRAMES = 1, {3, 6}
CODECS = {*SLICES, "vp9", "av1"}


class ReadAll(Exception):
    """The packets do not tell enough: every picture has to be decoded."""


@dataclass
class Piece:
    """Packets of one group of pictures, in the order in which they are stored.

    Args:
        packets: Each with whether its picture must be decoded, also if nothing refers to it.
        wanted: Times, in ticks, of the pictures that are looked at.
        begins, ends: The group begins or ends with this piece.
    """

    packets: list[tuple[Any, bool]] = field(default_factory=list)
    wanted: set[int] = field(default_factory=set)
    begins: bool = True
    ends: bool = False


def codec_of(stream: Any) -> str:
    """Name the codec of a stream, whatever decodes it."""
    return str(stream.codec_context.codec.canonical_name)


def sampled_pieces(packets: Iterable[Any], stream: Any, wants: Callable[[float], bool]) -> Iterator[Piece]:
    """Cut a stream's packets into pieces without what no wanted picture needs.

    `wants` is asked for the seconds of each picture on the file's clock, in ascending order. A piece has at most
    `MOST_PICTURES` wanted ones.
    """
    find, piece, held = Starts(stream), Piece(), list[tuple[Any, bool]]()
    most = max(4, min(MOST_PICTURES, MOST_PIXELS // max(1, stream.width * stream.height)))
    number, size, leading = 0, 0, -math.inf
    for packet, is_wanted, is_led in _marked(packets, stream, wants):
        if find.is_start(packet) and not is_led:
            if piece.packets or not piece.begins:
                piece.ends = True
                yield piece
            piece, held, size, leading = Piece(), [], 0, packet.pts
        elif not number:
            raise ReadAll("it begins with a picture that refers to others")
        elif packet.pts < leading:
            continue  # refers to the group before, and nothing of its own group to it
        is_needed = is_wanted or number < PROOF
        number += 1
        size += packet.size
        held.append((packet, is_needed))
        if is_needed:
            piece.packets += held
            held = []
        if is_wanted:
            piece.wanted.add(packet.pts)
        if len(piece.wanted) == most or size > MOST_BYTES:
            piece.packets += held
            yield piece
            piece, held, size = Piece(begins=False), [], 0
    if piece.packets or not piece.begins:
        piece.ends = True
        yield piece


def key_pieces(packets: Iterable[Any], stream: Any, wants: Callable[[float], bool]) -> Iterator[Piece]:
    """Cut the wanted key frames out of a stream's packets, each a piece of its own."""
    find, before_s = Starts(stream), math.nan
    for packet in packets:
        if packet.pts is None or packet.is_discard:
            continue
        time_s, is_start = seconds(packet.pts, stream), find.is_start(packet)
        if time_s > before_s + MAX_KEY_GAP_S or (is_start and time_s <= before_s):
            raise ReadAll("key frames are far apart or fall")
        if is_start:
            before_s = time_s
            if wants(time_s):
                yield Piece([(packet, True)], {packet.pts}, ends=True)


def seconds(pts: int, stream: Any) -> float:
    """Convert ticks of a stream to seconds as PyAV does for its frames."""
    base: Fraction = stream.time_base
    return float(pts) * base.numerator / base.denominator


def _marked(packets: Iterable[Any], stream: Any, wants: Callable[[float], bool]) -> Iterator[tuple[Any, bool, bool]]:
    """Tell of each packet whether its picture is wanted, and whether one is that follows it and is shown before it."""
    waiting, unseen, told, last = deque[Any](), list[int](), dict[int, bool](), -math.inf
    for packet in packets:
        if packet.pts is not None:
            waiting.append(packet)
            if not packet.is_discard:
                heapq.heappush(unseen, packet.pts)
        elif packet.size:
            raise ReadAll("a packet without a time")
        # No later packet is shown before this one is decoded; the last, which is empty, has neither time
        known = math.inf if packet.pts is None else -math.inf if packet.dts is None else packet.dts
        while unseen and unseen[0] <= known:
            if unseen[0] <= last:
                raise ReadAll("times that do not ascend")
            last = heapq.heappop(unseen)
            told[last] = wants(seconds(last, stream))
        while waiting and (waiting[0].is_discard or waiting[0].pts in told):
            one = waiting.popleft()
            is_wanted = not one.is_discard and told.pop(one.pts)
            is_led = one.is_keyframe and any(other.pts < one.pts and told.get(other.pts) for other in waiting)
            yield one, is_wanted, is_led


class Starts:
    """Finder of the packets from which on a stream can be decoded; the container's word is not taken for it."""

    def __init__(self, stream: Any):
        self._codec, header = codec_of(stream), stream.codec_context.extradata or b""
        # .mp4 and .mkv store a length before each unit, others a start code
        has_lengths = self._codec in SLICES and header[:1] == b"\x01"
        self._length = (header[LENGTH_AT[self._codec]] & 3) + 1 if has_lengths else 0
        self._has_header = bool(header)
        self._tells: bool | None = None

    def is_start(self, packet: Any) -> bool:
        """Tell whether decoding can begin at a packet.

        Raises:
            ReadAll: Parameters come where they may be missed.
        """
        if packet.has_sidedata("new_extradata"):
            raise ReadAll("its codec's header changes")
        content = memoryview(packet)
        if self._codec == "vp9":
            return bool(packet.is_keyframe) and _is_vp9_key(content)
        if self._codec == "av1":
            return bool(packet.is_keyframe) and _is_av1_key(content)
        types = _unit_types(content, self._length, self._codec)
        is_start, tells = not STARTS[self._codec].isdisjoint(types), not PARAMETERS[self._codec].isdisjoint(types)
        if not is_start and tells and not packet.is_keyframe:
            raise ReadAll("parameters change between key frames")
        # Every start has parameters of its own, or all have those of the header
        self._tells = tells if is_start and self._tells is None else self._tells
        if is_start and (tells != self._tells or not (tells or self._has_header)):
            raise ReadAll("a start without parameters")
        return is_start


def _unit_types(content: memoryview, length: int, codec: str) -> set[int]:
    """List the types of the units of a packet up to its first slice."""
    types, at = set[int](), 0
    whole = b"" if length else content.tobytes()
    while True:
        if not length:
            at = whole.find(b"\0\0\1", at) + 3
            if at == 2:
                return types
        begin = at + length
        if begin >= len(content):
            return types
        kind = content[begin] & 31 if codec == "h264" else content[begin] >> 1 & 63
        types.add(kind)
        if kind in SLICES[codec]:
            return types
        at = begin + int.from_bytes(content[at:begin], "big") if length else begin


def _is_vp9_key(content: memoryview) -> bool:
    """Tell whether a packet begins with a key frame that is shown."""
    head = content[0] if len(content) else 0
    # marker 2 bits, profile 2, reserved 1 in profile 3, shown again 1, not key 1, shown 1
    head = head << 1 if head >> 4 & 3 == 3 else head
    return head >> 1 & 7 == 1


def _is_av1_key(content: memoryview) -> bool:
    """Tell whether a packet has the sequence's header and then a key frame that is shown."""
    at, has_sequence = 0, False
    while at < len(content):
        head, at = content[at], at + 1
        kind, at = head >> 3 & 15, at + (head >> 2 & 1)
        size, shift = 0, 0
        while head & 2 and at < len(content):
            byte, at = content[at], at + 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        has_sequence |= kind == AV1_SEQUENCE
        if kind in AV1_FRAMES and at < len(content):
            return has_sequence and content[at] >> 4 == 1  # shown again 1 bit, type 2 (0: key), shown 1
        at = at + size if head & 2 else len(content)
    return False


class Decoder:
    """Decoder of pieces, one group after the other."""

    def __init__(self, stream: Any, forms: set[Any]):
        self._codec, self._time_base, self._forms = stream.codec_context, stream.time_base, forms
        self._expected, self._wanted, self._last = list[int](), set[int](), -math.inf

    def decode(self, piece: Piece) -> list[Any]:
        """Decode a piece and return the wanted frames that come of it.

        Raises:
            ReadAll: Something is damaged or interlaced, or a frame does not come at the time of its packet.
        """
        found, codec = list[Any](), self._codec
        self._wanted |= piece.wanted
        try:
            for packet, is_needed in piece.packets:
                if is_needed and not packet.is_discard:
                    heapq.heappush(self._expected, packet.pts)
                codec.skip_frame = "DEFAULT" if is_needed else "NONREF"
                found += filter(self._is_wanted, codec.decode(packet))
            if piece.ends:
                found += filter(self._is_wanted, codec.decode(None))
                codec.flush_buffers()
        except av.error.FFmpegError as error:
            raise ReadAll("a part that is not readable") from error
        if piece.ends and self._expected:
            raise ReadAll("a picture that does not come")
        return found

    def _is_wanted(self, frame: Any) -> bool:
        if frame.is_corrupt or frame.interlaced_frame:
            raise ReadAll("damaged, or of two fields")
        self._forms.add((frame.width, frame.height, self._codec.sample_aspect_ratio))
        if frame.pts is None or frame.pts <= self._last or (self._expected and frame.pts > self._expected[0]):
            raise ReadAll("a picture at another time than its packet")
        self._last = frame.pts
        if self._expected and frame.pts == self._expected[0]:
            heapq.heappop(self._expected)
        if frame.pts not in self._wanted:
            return False
        self._wanted.remove(frame.pts)
        frame.time_base = self._time_base  # the last ones of a group have none
        return True


def decoded(
    pieces: Iterable[Piece], stream: Any, again: Callable[[], AbstractContextManager[tuple[Any, Any]]]
) -> Generator[Any]:
    """Decode pieces, as many groups side by side as there are processors, and yield the wanted frames in their order.

    `again` opens the file another time. A stream whose first group is longer than a piece has one decoder, with
    threads of its own.
    """
    forms, decoders, running, group = set[Any](), list[tuple[Decoder, ThreadPoolExecutor]](), deque[Future[Any]](), 0
    with ExitStack() as stack:
        for piece in pieces:
            if not decoders:
                decoders = _decoders(stream, again, _processors() if piece.ends else 1, forms, stack)
            decoder, pool = decoders[group % len(decoders)]
            running.append(pool.submit(decoder.decode, piece))
            group += piece.ends
            if len(running) > len(decoders):
                yield from _of_one_form(running.popleft(), forms)
        while running:
            yield from _of_one_form(running.popleft(), forms)


def _of_one_form(future: Future[Any], forms: set[Any]) -> Iterator[Any]:
    """Yield the frames of a piece, if all so far have one size and shape; they are let go one by one."""
    frames = deque(future.result())
    del future  # holds them all
    if len(forms) > 1:
        raise ReadAll("pictures change")
    while frames:
        yield frames.popleft()


def _decoders(
    stream: Any,
    again: Callable[[], AbstractContextManager[tuple[Any, Any]]],
    processors: int,
    forms: set[Any],
    stack: ExitStack,
) -> list[tuple[Decoder, ThreadPoolExecutor]]:
    """Make decoders, each with a thread that feeds it."""
    count, streams = min(processors, MOST_DECODERS), [stream]
    for _ in range(count - 1):
        container, _ = stack.enter_context(again())
        streams.append(container.streams[stream.index])
    decoders = []
    for one in streams:
        if count > 1:
            one.codec_context.thread_count = processors // count
        pool = ThreadPoolExecutor(1, thread_name_prefix="decode")
        stack.callback(pool.shutdown, cancel_futures=True)
        decoders.append((Decoder(one, forms), pool))
    return decoders


def _processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
