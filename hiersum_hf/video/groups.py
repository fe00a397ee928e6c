"""Groups of pictures that go to another file as they are, between pieces that are encoded.

A segment begins and ends anywhere. From its first key frame at which a decoder can begin to its last picture that can
be stored without later ones, its packets are copied; what is before and after is decoded and encoded as its source is.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.video.frame import PictureType

from hiersum_hf.video.bitstream import CHANGED, DAMAGED, DEEP_BITS, FORMS, Hevc, NotExactError
from hiersum_hf.video.crop import crop_of
from hiersum_hf.video.faults import stream_start_s
from hiersum_hf.video.picture import PixelShape, orientation, tell_colours
from hiersum_hf.video.reader import MAX_REORDERED, TOLERANCE_S, frame_rate


CONTAINERS = "mp4", "matroska"  # whose packets have times, and whose headers tell the parameters
MAX_CUT_ERROR_S = 0.001  # cuts this close to a key frame fall on it
MAX_LATE_S = 0.1  # a later first frame lets the frame on screen at the segment's start come first
MIN_RATE = 45_000  # ticks a second of written video
CHECKED = 4  # packets from a key frame on that are decoded to see whether a decoder can begin there
Placed = tuple[float, float, float]  # a segment's start_s and end_s, and the second of the output where it begins


@dataclass(frozen=True)
class Run:
    """Packets of a segment that are copied.

    Args:
        count: How many; leading pictures of the key frame that is the first do not count.
        start_s, last_s, end_s: When the first and the last of their pictures are shown, and until when.
        head_key, key, tail_key: Ticks of the key frames before the segment, of the first packet, before `end_s`.
        head, tail: How many pictures of the segment come before and after.
        on_screen: Whether the picture before the segment stands at its start, which counts for the head.
        depth: How many of them are stored, at most, before one that is shown earlier.
    """

    count: int
    start_s: float
    last_s: float
    end_s: float
    head_key: int | None = None
    key: int = 0
    tail_key: int = 0
    head: int = 0
    tail: int = 0
    on_screen: bool = True
    depth: int = 0


class Groups:
    """Groups of pictures of a video.

    Args:
        container, stream: Of the open file.
        quality: Encode what cannot be copied as well as the encoder can, in several times as long.

    Raises:
        NotExactError: They cannot be copied.
    """

    def __init__(self, container: Any, stream: Any, quality: bool = False):
        codec = stream.codec_context.codec.canonical_name
        if codec not in FORMS:
            raise NotExactError(f"{codec} is not one of {', '.join(FORMS)}")
        if not any(name in container.format.name for name in CONTAINERS):
            raise NotExactError("it is none of .mp4, .mov, .mkv and .webm")
        if any(crop_of(stream)):
            raise NotExactError("its container crops them")
        self._container, self._stream, self._quality = container, stream, quality
        if PixelShape(stream).now() != 1:
            container.seek(stream.start_time or 0, stream=stream)
            frame = next(container.decode(stream), None)
            if frame is not None and orientation(frame)[0]:
                raise NotExactError("it is turned and its pixels are not square, which players show in two ways")
        self._form = FORMS[codec](stream.codec_context.extradata or b"")
        self._origin_s, doublings = stream_start_s(stream), 0
        while stream.time_base / 2**doublings > 1 / MIN_RATE:
            doublings += 1
        self._tick = stream.time_base / 2**doublings
        self._rate = frame_rate(container.name, stream) or 25
        self._like: tuple[Any, Any] | None = None  # a picture and its decoder
        self._looks: dict[int, bytes] = {}  # of the first picture of each run
        self._header = b""  # of all encoders

    def runs(self, placed: Sequence[Placed]) -> list[Run]:
        """Find what can be copied of each segment.

        Raises:
            NotExactError: A key frame that is none, damaged packets, pictures that no encoder continues.
        """
        runs = [self._run(start_s, end_s) for start_s, end_s, _ in placed]
        if any(run.count for run in runs) and any(run.head or run.tail for run in runs):
            self._expect_continuable()
        return runs

    def widened(self, start_s: float, end_s: float) -> tuple[float, float]:
        """Return the borders of the whole groups that hold a segment.

        Raises:
            NotExactError: As `runs`, or no decoder can begin before it.
        """
        first_s = None
        for time_s, packet in self._stored(start_s):
            if time_s > start_s + MAX_CUT_ERROR_S and packet.is_keyframe:
                break
            if time_s <= start_s + MAX_CUT_ERROR_S and self._begins(packet):
                first_s = time_s
        if first_s is None:
            raise NotExactError(f"no decoder can begin before {start_s:.2f} s")
        run = self._run(first_s, end_s, whole=True)
        return run.start_s, run.end_s

    def _stored(self, time_s: float) -> Iterator[tuple[float, Any]]:
        """Read packets as they are stored, from a key frame before `time_s` on, with their times."""
        stream = self._stream
        for back_s in (0.0, 1.0, 4.0, 16.0, math.inf):  # some indexes lead past where they should
            target_s = max(0.0, time_s - back_s)
            self._container.seek(int((self._origin_s + target_s) / stream.time_base), stream=stream)
            packets = ((self._time_s(packet), packet) for packet in self._container.demux(stream) if packet.size)
            first = next(packets, None)
            begins = first is not None and first[1].is_keyframe and first[0] <= time_s + MAX_CUT_ERROR_S
            if first is not None and (begins or not target_s):
                yield first
                yield from packets
                return

    def _time_s(self, packet: Any) -> float:
        """Tell when the picture of a packet or a frame is shown."""
        if packet.pts is None or packet.is_corrupt:
            raise NotExactError(DAMAGED)
        return float(packet.pts * self._stream.time_base) - self._origin_s

    def _begins(self, packet: Any) -> bool:
        """Tell whether a decoder can begin at a packet."""
        begins = self._form.begins(packet)
        if packet.has_sidedata("new_extradata"):
            raise NotExactError(CHANGED)
        if packet.is_keyframe and not begins and not self._form.is_key(packet):
            raise NotExactError(f"no decoder can begin at its key frame at {self._time_s(packet):.2f} s")
        return begins and packet.is_keyframe

    def _run(self, start_s: float, end_s: float, whole: bool = False) -> Run:
        """Find what can be copied of a segment; `whole`: up to the first key frame from its end on."""
        times_s, early_s, keys, first = list[float](), list[float](), list[tuple[int, int]](), list[Any]()
        head_key, over, ends_s, whole_at = None, 0, end_s, None
        for time_s, packet in self._stored(start_s):
            begins = self._begins(packet)
            if begins and abs(time_s - end_s) <= MAX_CUT_ERROR_S:
                end_s = time_s
            if not times_s and begins and start_s - MAX_CUT_ERROR_S <= time_s < end_s - TOLERANCE_S:
                start_s = time_s if abs(time_s - start_s) <= MAX_CUT_ERROR_S else start_s
            elif not times_s or time_s < times_s[0]:  # leading pictures need some before the key frame
                head_key = packet.pts if packet.is_keyframe and time_s <= start_s else head_key
                if start_s - TOLERANCE_S <= time_s < end_s - TOLERANCE_S:
                    early_s.append(time_s)
                over += time_s >= end_s - TOLERANCE_S
                if over > MAX_REORDERED:
                    break
                continue
            over += time_s >= end_s - TOLERANCE_S
            if packet.is_discard and not over:
                raise NotExactError("its edit list leaves pictures out")
            if begins and over and whole_at is None:
                whole_at = len(times_s)
            if packet.is_keyframe:
                keys.append((len(times_s), packet.pts))
            if len(first) < CHECKED:
                first.append(packet)
            times_s.append(time_s)
            ends_s = max(ends_s, time_s + float((packet.duration or 0) * self._stream.time_base))
            if over > MAX_REORDERED and not (whole and whole_at is None):
                break
        if not times_s:
            late = not early_s or min(early_s) - start_s > MAX_LATE_S
            return Run(0, end_s, end_s, end_s, head_key, head=len(early_s) + late, on_screen=late)
        self._check(first)
        shown_s = np.array(times_s)
        last_s, next_s = (
            np.maximum.accumulate(shown_s),
            np.append(np.minimum.accumulate(shown_s[::-1])[::-1][1:], np.inf),
        )
        if whole:
            count = whole_at or len(times_s)
            end_s = min(next_s[count - 1], ends_s)
        else:
            count = int(np.flatnonzero((last_s < next_s) & (last_s < end_s - TOLERANCE_S))[-1]) + 1
        tail_s = shown_s[count:][shown_s[count:] < end_s - TOLERANCE_S]
        order = shown_s[:count].argsort().argsort()
        late = min([*early_s, times_s[0]]) - start_s > MAX_LATE_S
        return Run(
            count,
            times_s[0],
            float(last_s[count - 1]),
            float(tail_s.min()) if len(tail_s) else float(end_s),
            head_key,
            keys[0][1],
            [pts for at, pts in keys if at < count][-1],
            len(early_s) + late,
            len(tail_s),
            late,
            int((np.arange(count) - order).max()),
        )

    def _check(self, packets: list[Any]) -> None:
        """Decode what a decoder that begins at a key frame meets first."""
        decoder: Any = av.CodecContext.create(self._stream.codec_context.codec.name, "r")
        decoder.extradata = self._stream.codec_context.extradata
        decoder.options, decoder.thread_count = {"err_detect": "explode"}, 1
        try:
            frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
        except av.error.FFmpegError:
            frames = []
        if len(frames) != len(packets) or any(frame.is_corrupt for frame in frames):
            at_s = self._time_s(packets[0])
            raise NotExactError(f"no decoder can begin at its key frame at {at_s:.2f} s")
        self._looks[packets[0].pts] = _look(frames[0])
        self._like = self._like or (frames[0], decoder)

    def _expect_continuable(self) -> None:
        frame, _ = self._like  # type: ignore[misc]
        if frame.interlaced_frame:
            raise NotExactError("it is interlaced")
        if frame.format.name not in self._form.formats:
            raise NotExactError(f"its pictures are {frame.format.name}")
        if frame.width % 2 or frame.height % 2:
            raise NotExactError(f"its size is odd, {frame.width} x {frame.height}")
        self._header = bytes(self._encoder().extradata or b"")

    def _encoder(self) -> Any:
        """Open an encoder that goes on as the source does."""
        frame, decoder = self._like  # type: ignore[misc]
        codec: Any = av.CodecContext.create(self._form.encoder, "w")
        codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, frame.format.name
        codec.time_base, codec.framerate = self._tick, self._rate
        codec.sample_aspect_ratio = decoder.sample_aspect_ratio or 0
        for field in ("color_range", "colorspace", "color_primaries", "color_trc"):
            setattr(codec, field, getattr(frame, field))
        codec.flags |= Flags.global_header | Flags.frame_duration
        codec.options, codec.thread_type = self._form.options(self._quality, frame.format.name == DEEP_BITS), "FRAME"
        try:
            codec.open()
        except av.error.FFmpegError as error:
            raise NotExactError(f"{self._form.encoder} cannot continue it: {error.strerror}") from error
        if self._header not in (b"", bytes(codec.extradata or b"")):
            raise NotExactError("the encoder changes its parameter sets")
        return codec

    def stream_in(self, target: Any) -> Any:
        """Add a stream for the pictures to an output."""
        copy = target.add_stream_from_template(self._stream, opaque=True)  # its decoder need not encode
        codec = copy.codec_context
        codec.sample_aspect_ratio = PixelShape(self._stream).now()
        if self._header:
            codec.extradata = self._form.joined(self._header)
        if isinstance(self._form, Hevc) and not codec.codec_tag.strip("\0"):
            codec.codec_tag = "hvc1"
        tell_colours(codec)
        copy.time_base = self._tick
        return copy

    def packets(self, target_stream: Any, placed: Sequence[Placed], runs: Sequence[Run]) -> Iterator[tuple[float, Any]]:
        """Copy and encode the pictures of the segments.

        It yields (second, packet), stored in the order in which decoders need them.

        Raises:
            NotExactError: A decoder that begins at a key frame would show another picture than one that comes by.
        """
        depth, last = max(run.depth for run in runs), -math.inf
        step = max(1, round(1 / float(self._rate * self._tick)))
        waiting, stored, begin = list[int](), 0, 0
        for packet in self._pieces(placed, runs):
            # What is stored next is decoded when the picture is shown that is so many earlier in the order of showing
            heappush(waiting, packet.pts)
            begin = begin if stored else packet.pts
            packet.dts = heappop(waiting) if stored >= depth else begin - (depth - stored) * step
            if packet.dts <= last:
                raise NotExactError("two of its pictures are shown at once")
            stored, last = stored + 1, packet.dts
            packet.time_base, packet.stream = self._tick, target_stream
            yield float(packet.dts * self._tick), packet

    def _pieces(self, placed: Sequence[Placed], runs: Sequence[Run]) -> Iterator[Any]:
        """Yield the packets of the output without decoding times."""
        for (start_s, end_s, output_s), run in zip(placed, runs, strict=True):
            on_key = run.count and abs(run.start_s - start_s) <= MAX_CUT_ERROR_S
            place = _Place(self._stream, self._tick, output_s, run.start_s if on_key else start_s)
            begin, end = (round(time_s / self._tick) for time_s in (output_s, output_s + end_s - start_s))
            if run.head:
                until = place.seconds(run.start_s + self._origin_s) if run.count else end
                yield from self._encoded(self._head(start_s, run, place, begin), run.head, until)
            if run.count:
                yield from self._copied(run, place, place.seconds(run.end_s + self._origin_s) if run.tail else end)
            if run.tail:
                yield from self._encoded(self._tail(end_s, run, place), run.tail, end)

    def _head(self, start_s: float, run: Run, place: _Place, begin: int) -> Iterator[tuple[int, Any]]:
        """Yield the frames before a run with their ticks, and look at the run's first."""
        on_screen = None
        for time_s, frame in self._decoded(run.head_key, -math.inf if run.on_screen else start_s):
            if time_s < start_s - TOLERANCE_S:
                on_screen = frame
                continue
            if on_screen is not None and run.on_screen:
                yield begin, on_screen
            on_screen = None
            if time_s >= run.start_s - TOLERANCE_S:
                if run.count and self._looks[run.key] != _look(frame):
                    raise NotExactError(
                        f"its key frame at {run.start_s:.2f} s shows another picture when it comes first"
                    )
                return
            yield max(begin, place.ticks(frame.pts)), frame
        if run.count:
            raise NotExactError(DAMAGED)
        if on_screen is not None:
            yield begin, on_screen

    def _tail(self, end_s: float, run: Run, place: _Place) -> Iterator[tuple[int, Any]]:
        """Yield the frames after a run with their ticks."""
        for time_s, frame in self._decoded(run.tail_key, run.end_s):
            if time_s >= end_s - TOLERANCE_S:
                return
            if time_s >= run.end_s - TOLERANCE_S:
                yield place.ticks(frame.pts), frame

    def _decoded(self, key: int | None, from_s: float) -> Iterator[tuple[float, Any]]:
        """Decode from a key frame on; before `from_s` what others need, from there on every picture."""
        decoder = self._stream.codec_context
        skipped = "DEFAULT" if decoder.codec.canonical_name == "av1" else "NONREF"  # dav1d would skip to the end
        key_s = 0.0 if key is None else float(key * self._stream.time_base) - self._origin_s
        seen = key is None
        try:
            for time_s, packet in self._stored(key_s):
                seen = seen or packet.pts == key
                if seen:
                    decoder.skip_frame = skipped if time_s < from_s - TOLERANCE_S else "DEFAULT"
                    yield from self._whole(packet.decode(), key_s)
            yield from self._whole(decoder.decode(None), key_s)
        except av.error.FFmpegError as error:
            raise NotExactError(DAMAGED) from error
        finally:
            decoder.skip_frame = "DEFAULT"

    def _whole(self, frames: list[Any], key_s: float) -> Iterator[tuple[float, Any]]:
        """Yield decoded frames from a key frame on with their times."""
        for frame in frames:
            time_s = self._time_s(frame)
            if time_s >= key_s - TOLERANCE_S:
                yield time_s, frame

    def _encoded(self, frames: Iterator[tuple[int, Any]], count: int, until: int) -> Iterator[Any]:
        """Encode so many frames, the last of which is shown until a tick."""
        encoder, kind, pending = self._encoder(), _kind(self._like[0]), None  # type: ignore[index]
        for ticks, frame in frames:
            if _kind(frame) != kind:
                raise NotExactError("its pictures change on the way")
            if pending is not None:
                yield from self._written(encoder, pending, ticks)
            frame.pts, frame.time_base, frame.pict_type = ticks, self._tick, PictureType.NONE
            pending, count = frame, count - 1
        if count or pending is None:
            raise NotExactError("not all its pictures can be decoded")
        yield from self._written(encoder, pending, until)
        yield from self._written(encoder, None, until)

    def _written(self, encoder: Any, frame: Any, until: int) -> Iterator[Any]:
        """Encode a frame, or None as the end."""
        if frame is not None:
            frame.duration = max(1, until - frame.pts)
        for packet in encoder.encode(frame):
            written = av.Packet(self._form.own(bytes(packet)))
            written.pts, written.duration, written.is_keyframe = packet.pts, packet.duration, packet.is_keyframe
            yield written

    def _copied(self, run: Run, place: _Place, until: int) -> Iterator[Any]:
        """Copy the packets of a run, the last of which is shown until a tick."""
        left = run.count
        for time_s, packet in self._stored(run.start_s):
            if not left:
                return
            if (left == run.count and packet.pts != run.key) or packet.pts < run.key:
                continue
            if left == run.count and (data := self._form.first(bytes(packet))) != bytes(packet):
                first, packet = packet, av.Packet(data)
                packet.pts, packet.duration, packet.is_keyframe = first.pts, first.duration, True
            is_last = time_s == run.last_s
            packet.pts, packet.duration = place.ticks(packet.pts), (packet.duration or 0) * place.finer
            # An .mp4 tells how long until the next one is decoded, which may be past a gap behind this segment
            packet.duration = until - packet.pts if is_last else min(packet.duration, until - packet.pts)
            left -= 1
            yield packet
        if left:
            raise NotExactError(DAMAGED)


class _Place:
    """Where a segment goes.

    All its pictures move by as much, so that their distances stay to the tick.
    """

    def __init__(self, stream: Any, tick: Any, output_s: float, start_s: float):
        self.finer = int(stream.time_base / tick)
        self._tick, self._shift = tick, round((output_s - start_s - stream_start_s(stream)) / tick)

    def ticks(self, pts: int) -> int:
        """Move ticks of the source to those of the output."""
        return int(pts * self.finer + self._shift)

    def seconds(self, time_s: float) -> int:
        """Move a time on the source's clock to ticks of the output."""
        return int(round(time_s / self._tick) + self._shift)


def _kind(frame: Any) -> tuple[Any, ...]:
    return frame.width, frame.height, frame.format.name, frame.interlaced_frame


def _look(frame: Any) -> bytes:
    return hashlib.md5(frame.to_ndarray().tobytes(), usedforsecurity=False).digest()
