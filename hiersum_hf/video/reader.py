"""Facts and frames of a video file.

Times are in seconds from the start of the best video stream.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.format import Flags

from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.video.clock import (
    LATE_S,
    MAX_BACK_S,
    STANDS_S,
    Clock,
    Leap,
    may_start_again,
    packets_of,
    sound_of,
)
from hiersum_hf.video.faults import Faults, Reading, stream_start_s
from hiersum_hf.video.leaps import MAX_FAILED_READS, leaps_of
from hiersum_hf.video.parts import joined_container
from hiersum_hf.video.picture import MAX_PIXELS, MAX_SIDE_PX, Images, progressive
from hiersum_hf.video.pieces import CODECS, Piece, ReadAll, codec_of, decoded, key_pieces, sampled_pieces
from hiersum_hf.video.unreadable import advice


TOLERANCE_S = 1e-6
# A header may claim anything; this stops it from asking for all time, and the sizes of a picture for all memory.
MAX_DURATION_S = 7 * 24 * 3600.0
MAX_REORDERED = 16  # pictures that an encoder may store before one that is shown earlier
MAX_TOLD_FPS = 300  # above it FFmpeg may tell the ticks of the clock, of recordings of screens and calls
COUNTED = 100  # pictures whose rate is taken then
SOUND_STEP_S = 1.0  # after so much sound a packet is decoded to see what it is
LAST_PACKETS = 3  # before a part, any of which may be called corrupt
FAST = "key frames alone were looked at."
NOT_FAST = "its key frames alone do not do, so other pictures were looked at, too."
# FFmpeg's names of formats that hold what they show; others (playlists, scripts) open further files and addresses.
FORMATS = (
    "mov,matroska,webm,avi,mpeg,mpegts,flv,ogg,asf,mxf,gxf,dv,rm,swf,nut,nsv,wtv,ivf,gif,apng,mjpeg,yuv4mpegpipe,"
    "mpegvideo,m4v,h263,h264,hevc,vvc,vc1,av1,obu,dhav,mp3,aac,wav,flac"
)
# What files with pictures are called: FFmpeg's own lists for these formats, but for sound, stills and manifests, ...
_NO_VIDEO = "aac apng avif flac gif heic heif ism isma m2a m4a m4b mka mks mp2 mp3 mpa mpo ogg ra wav wma"
# ... and what phones, cameras, receivers, discs and editors call such files beside that
_ALSO_VIDEO = (
    "3gp2 3gpp amv divx dvr-ms evo m1v m2p m2v mod mp4v mpe mpeg4 mpv mp2v nsv ogm ogv ogx qt rec rmvb tod tp trp "
    "vob vro xvid"
)
VIDEO_SUFFIXES = {
    f".{suffix}"
    for suffix in chain(
        *(av.ContainerFormat(name).extensions for name in FORMATS.split(",") if name in av.formats_available),
        _ALSO_VIDEO.split(),
    )
    if suffix not in _NO_VIDEO.split()
}
ITS_OWN = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
OPEN = partial(av.open, container_options=ITS_OWN)
ITS_PARTS = {"format_whitelist": f"{FORMATS},concat", "protocol_whitelist": "file,subfile"}


@dataclass(frozen=True)
class VideoInfo:
    """Facts of a video file.

    They are those of its best video stream; `fps` is the average (0 if unknown), `duration_s` the end of pictures and
    sound (the last picture stands while there is sound), `begin_s` where the pictures begin after the container does.
    """

    path: str
    duration_s: float
    fps: float
    width: int
    height: int
    has_audio: bool
    begin_s: float = 0.0


class VideoFile:
    """A video file that is opened as seldom as possible.

    It is opened once for its facts and one pass over its packets; a further pass opens it again. Use it as a context
    manager, or `close` it; what is iterated to its end closes the file itself.

    Args:
        path: Any file that FFmpeg reads.
    """

    def __init__(self, path: str | Path):
        self.path = path
        self._held: ExitStack | None = None
        self._open: tuple[Any, Any] | None = None
        self._is_read = self._turns = False

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file.

        A later pass opens it again.
        """
        if self._held is not None:
            self._held.close()
        self._held, self._open, self._is_read = None, None, False

    def header(self) -> tuple[Any, Any]:
        """Open the file if it is not open.

        Returns:
            The container and its best video stream.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: Not readable, no video stream, or larger or longer than this module reads.
        """
        if self._open is None:
            with ExitStack() as stack:
                self._open = stack.enter_context(opened(self.path))
                self._held = stack.pop_all()
        return self._open

    @cached_property
    def info(self) -> VideoInfo:
        """What the file says about itself.

        Width and height are as stored, before any rotation. The duration is that of the header; files without one
        (live recordings), that begin late, or whose times may start again (.ts, .mpg, .ogv, live .flv) are read to
        their end. Raises what `header` raises.
        """
        container, stream = self.header()
        with named_errors(self.path):
            fps = float(frame_rate(self.path, stream))
            has_audio = sound_of(container) is not None
            self._is_read |= not _announced_s(container, stream)
            begin_s = stream_start_s(stream) - (container.start_time or 0) / av.time_base
            duration_s, clock = measured(container, stream)
            self._turns = bool(clock.state.joins_s)
        return VideoInfo(str(self.path), duration_s, fps, stream.width, stream.height, has_audio, begin_s)

    def may_skip(self, sample_fps: float) -> bool:
        """Tell whether only some of the pictures need decoding at a sample rate, as far as the header says.

        Raises what `header` raises.
        """
        container, stream = self.header()
        rate = stream.average_rate or stream.guessed_rate or 0
        # An .avi has no times, and of a file whose clock starts again all is read
        return (
            codec_of(stream) in CODECS and 2 * sample_fps <= rate and container.format.name != "avi" and not self._turns
        )

    @contextmanager
    def packets(self) -> Iterator[tuple[Any, Any]]:
        """Give the file at its first packet.

        It gives (container, best video stream). Raises what `header` raises.
        """
        if self._is_read:
            self.close()
        container, stream = self.header()
        self._is_read = True
        try:
            with named_errors(self.path):
                yield container, stream
        finally:
            self.close()


def probe(video: str | Path) -> VideoInfo:
    """Read what a video file says about itself.

    See `VideoFile.info`.
    """
    with VideoFile(video) as file:
        return file.info


def iter_frames(
    video: str | Path | VideoFile,
    sample_fps: float,
    reading: Reading | None = None,
    watch: Callable[[float, Any], None] | None = None,
    listen: Callable[[Any, float], None] | None = None,
    key_frames: bool = False,
) -> Iterator[tuple[float, np.ndarray]]:
    """Decode frames at a steady rate, in constant memory.

    They are the first frames at or after 0, 1 / sample_fps, 2 / sample_fps, ... seconds. Parts that cannot be decoded
    are left out: the next good frame stands in for theirs. Of H.264, HEVC, VP9 and AV1 only what these frames need is
    decoded, with the same result (`hiersum_hf.video.pieces`); damage of other pictures alone is not seen then. Where
    anything is out of order, every picture is decoded.

    Args:
        video: Any file that FFmpeg reads.
        sample_fps: Frames a second.
        reading: Is told, after the last frame, of unreadable parts and of a file that ends too early.
        watch: Is given (time_s, PyAV frame) of every frame of the file, sampled or not.
        listen: Is given every packet of the best audio stream, and the start of the pictures on its clock in seconds.
        key_frames: Take the first key frame at or after each moment, and decode nothing else. A file whose key frames
            do not do (`hiersum_hf.video.pieces.key_pieces`) is read as without; `reading` is told where they do.

    Yields:
        (time_s, image): times strictly ascending, no frame twice (above the file's own rate every frame comes once);
        the image is uint8 RGB (H, W, 3), as players show it (`picture.Images`).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: `sample_fps` is not positive, or the file is one that `probe` refuses.
    """
    file = video if isinstance(video, VideoFile) else VideoFile(video)
    if not 0 < sample_fps < float("inf"):
        raise InputError(f"{file.path}: expected a positive sample_fps, found {sample_fps}")
    last_s, once = -math.inf, _Once(listen) if listen is not None else None
    ways: list[Any] = [*[key_pieces] * key_frames, sampled_pieces]
    ways = ways if watch is None and file.may_skip(sample_fps) else []
    for cut in ways:
        try:
            for time_s, image in _skipping(file, sample_fps, reading, once and once.again(), cut):
                if time_s > last_s:
                    last_s = time_s
                    yield time_s, image
            if key_frames and reading is not None:
                reading.warnings.append(f"{file.path}: {FAST if cut is key_pieces else NOT_FAST}")
            return
        except ReadAll:  # from the beginning, as nothing is known of the pictures that were skipped
            continue
    listen = once and once.again()
    with file.packets() as (container, stream):
        announced_s, faults = _announced_s(container, stream), Faults()
        clock = clock_of_pass(container, stream, listen is not None)
        images, moments, size = Images(stream), Moments(sample_fps), (0, 0)
        frames = timed_frames(container, stream, stream_start_s(stream), faults, listen, clock)
        for time_s, frame in progressive(frames):
            if size != (frame.width, frame.height):
                size = frame.width, frame.height
                faults.see("pictures change", f"{size[0]} x {size[1]}", time_s)
            if watch is not None:
                watch(time_s, frame)
            if moments.want(time_s) and time_s > last_s:
                last_s = time_s
                yield time_s, images.image(frame)
        if last_s < 0:
            _refuse_raw(container)
        if reading is not None:
            faults.report(reading, file.path, stream, announced_s, clock)
            reading.warnings += [f"{file.path}: {NOT_FAST}"] * key_frames


def _skipping(
    file: VideoFile,
    sample_fps: float,
    reading: Reading | None,
    listen: Callable[[Any, float], None] | None,
    cut: Callable[[Iterator[Any], Any, Callable[[float], bool]], Iterator[Piece]],
) -> Iterator[tuple[float, np.ndarray]]:
    """Decode the sampled frames, and what they need of the others.

    `cut` cuts the packets into pieces.

    Raises:
        ReadAll: The file is damaged, or such that only decoding every picture tells which are to be sampled.
    """
    with file.packets() as (container, stream):
        announced_s, faults, origin_s = _announced_s(container, stream), Faults(), stream_start_s(stream)
        clock = clock_of_pass(container, stream, listen is not None)
        images, moments = Images(stream), Moments(sample_fps)
        packets = _intact(picture_packets(container, stream, faults, listen, clock), faults, clock)
        pieces = cut(packets, stream, lambda time_s: moments.want(time_s - origin_s))
        with closing(decoded(pieces, stream, lambda: opened(file.path))) as frames:
            for frame in frames:
                yield frame.time - origin_s, images.image(frame)
        if reading is not None:
            faults.report(reading, file.path, stream, announced_s, clock)


def _intact(packets: Iterator[Any], faults: Faults, clock: Clock) -> Iterator[Any]:
    """Pass packets on while nothing is wrong with them."""
    for packet in packets:
        if faults.count or clock.state.joins_s:
            raise ReadAll("damaged, or times that start again")
        yield packet


class _Once:
    """Listener of passes over one file, which hears each packet in the first that comes to it."""

    def __init__(self, listen: Callable[[Any, float], None]):
        self._listen, self._count, self._most = listen, 0, 0

    def again(self) -> _Once:
        """Begin a pass."""
        self._count = 0
        return self

    def __call__(self, packet: Any, origin_s: float) -> None:
        self._count += 1
        if self._count > self._most:
            self._most = self._count
            self._listen(packet, origin_s)


class Moments:
    """The moments of sampling, 0, 1 / sample_fps, 2 / sample_fps, ..."""

    def __init__(self, sample_fps: float):
        self._fps, self._next = sample_fps, 0

    def want(self, time_s: float) -> bool:
        """Tell whether a frame is the first one at or after a moment; later frames are asked for later."""
        if time_s < self._next / self._fps - TOLERANCE_S:
            return False
        # The next moment k / sample_fps that lies after this frame
        self._next = int((time_s + TOLERANCE_S) * self._fps) + 1
        return True


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Open an existing, readable video.

    It gives (container, best video stream).
    """
    with open_media(path) as container:
        stream: Any = container.streams.best("video")
        if stream is None or not stream.codec_context or stream.disposition & av.stream.Disposition.attached_pic:
            to_do = "For sound with one picture: ffmpeg -loop 1 -i picture.jpg -i SOUND -shortest video.mp4"
            raise InputError(f"{path}: expected a video stream, found none. {to_do}")
        width, height = stream.width, stream.height
        if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
            limit = f"{MAX_SIDE_PX} pixels a side and {MAX_PIXELS} in all"
            found = f"{width} x {height}. Scale it down first"
            raise InputError(f"{path}: expected a picture of at most {limit}, found {found}.")
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # the size may change on the way
        yield container, stream


@contextmanager
def open_media(path: str | Path) -> Iterator[Any]:
    """Open the container of a media file.

    Whatever is in it, no other file is opened and no address.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not one of `FORMATS`, or not readable.
    """
    if not Path(path).is_file():
        found = "a folder. Give the files in it" if Path(path).is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: expected a video file, found {found}")
    with named_errors(path), _container(path) as container:
        yield container


@contextmanager
def named_errors(path: str | Path) -> Iterator[None]:
    """Report what the decoder raises as an InputError.

    It names the file.
    """
    try:
        yield
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: expected a readable video, the decoder said: {error.strerror}") from error


def _container(path: str | Path) -> Any:
    """Open the container without what could open other files."""
    try:  # the whole path: FFmpeg takes 12:30.mp4 for an address
        container = av.open(str(Path(path).absolute()), container_options=ITS_OWN)
    except av.error.ArgumentError as error:
        found = "a playlist, a stream or another format, which could make it open other files"
        raise InputError(
            f"{path}: expected a readable video ({FORMATS.replace(',', ', ')}), found {found}. Give the video itself."
        ) from error
    except av.error.FFmpegError as error:
        told = f"the decoder said: {error.strerror}. {advice(path)}"
        raise InputError(f"{path}: expected a readable video, {told}") from error
    joined = joined_container(path, container, partial(av.open, container_options=ITS_PARTS))
    if joined is not None:
        container.close()
    return joined or container


def leaps(container: Any) -> tuple[Leap, ...]:
    """Find where the times of an open file leap by more than an hour."""
    return leaps_of(container, OPEN)


def frame_rate(path: str | Path, stream: Any) -> Fraction:
    """Tell the average rate of a file's pictures, 0 where nothing tells it.

    Where FFmpeg finds none, or one picture a tick, the first `COUNTED` pictures are counted.
    """
    told: Fraction | None = stream.average_rate
    if told and told <= MAX_TOLD_FPS:
        return told
    with opened(path) as (container, pictures):
        packets = readable_packets(container, pictures, Faults(), Clock(container, (pictures,)))
        pts: list[int] = sorted(packet.pts for packet in islice(packets, COUNTED) if packet.pts is not None)
        if len(pts) > 1 and pts[-1] > pts[0]:
            return Fraction(len(pts) - 1, pts[-1] - pts[0]) / Fraction(pictures.time_base)
    return Fraction(told or stream.guessed_rate or 0)


def measured(container: Any, stream: Any) -> tuple[float, Clock]:
    """Measure how long a video lasts, in seconds.

    A file that does not announce it, or may announce what is wrong, is read to its end; the clock that comes beside it
    knows then where the file's own times start again.
    """
    clock = Clock(container, (stream, sound_of(container)), marked=True, leaps=leaps(container))
    duration_s = _announced_s(container, stream)
    if not duration_s:
        for _ in readable_packets(container, stream, Faults(), clock):
            pass
        duration_s = clock.end_s(stream_start_s(stream))
        if duration_s * float(stream.guessed_rate or 0) < 1:
            _refuse_raw(container)
    return _not_too_long(container, duration_s), clock


def _refuse_raw(container: Any) -> None:
    """Refuse a file of pictures alone that does not tell when they are shown, as encoders and cameras write it."""
    if container.format.flags & Flags.no_timestamps.value:
        found = f"none ({container.format.long_name})"
        raise InputError(
            f"{container.name}: expected times of the pictures, found {found}. Put them into a container with times: "
            f"ffmpeg -i {Path(container.name).name} video.mp4"
        )


def clock_of_pass(container: Any, stream: Any, listens: bool = False) -> Clock:
    """Make the clock of a pass over a file.

    The sound is read beside the pictures for who listens, where times start again, and where no header says when each
    ends.
    """
    clock = Clock(container, (stream, sound_of(container)), leaps=leaps(container))
    if listens or clock.may_turn or clock.leaps or not stream.duration:
        return clock
    return Clock(container, (stream,))


def _announced_s(container: Any, stream: Any) -> float:
    """Read the announced length in seconds.

    It is that of the pictures and the sound, else of the file, and 0 where only reading the file to its end tells.
    Raises ValueError above `MAX_DURATION_S`.
    """
    late = (container.start_time or 0) / av.time_base > LATE_S
    guessed = container.format.flags & Flags.no_timestamps.value  # of a raw stream FFmpeg guesses it by the bit rate
    if late or guessed or may_start_again(container) or leaps(container):
        return 0.0
    end_s, sound = (container.duration or 0) / av.time_base, sound_of(container)
    if stream.duration:
        end_s = stream_start_s(stream) + float(stream.duration * stream.time_base)
        if sound is not None and sound.duration:
            sound_s = stream_start_s(sound) + float(sound.duration * sound.time_base)
            end_s = sound_s if sound_s > end_s + STANDS_S else end_s
    return _not_too_long(container, max(0.0, end_s - stream_start_s(stream)))


def _not_too_long(container: Any, duration_s: float) -> float:
    """Refuse more seconds than this module reads."""
    if duration_s > MAX_DURATION_S:
        limit, found = f"{MAX_DURATION_S / 3600:,.0f} hours", f"{duration_s / 3600:,.0f} hours"
        raise InputError(
            f"{container.name}: expected a video of at most {limit}, found one that claims {found}. Cut it first."
        )
    return duration_s


def timed_frames(
    container: Any,
    stream: Any,
    origin_s: float,
    faults: Faults | None = None,
    listen: Callable[[Any, float], None] | None = None,
    clock: Clock | None = None,
) -> Iterator[tuple[float, Any]]:
    """Decode the frames from here on with their times.

    It yields (seconds after `origin_s`, frame), strictly ascending, without damaged frames. The streams of `clock` are
    read; default: this one alone.
    """
    faults, clock = faults or Faults(), clock or Clock(container, (stream,), leaps=leaps(container))
    last_s = -float("inf")
    frames = _readable_frames(container, stream, faults, listen, clock)
    if clock.counts and stream.type == "video" and stream.codec_context.has_b_frames:
        frames = _in_order(frames)
    for frame in frames:
        if frame.time is None:
            continue
        time_s = frame.time - origin_s
        if time_s > last_s:
            last_s = time_s
            yield time_s, frame
        elif time_s < last_s - MAX_BACK_S:
            faults.backward.append(last_s)


def _in_order(frames: Iterator[Any]) -> Iterator[Any]:
    """Give frames, which come in the order they are shown in, their times in ascending order."""
    waiting, ticks = deque[Any](), list[int]()
    for frame in frames:
        waiting.append(frame)
        heapq.heappush(ticks, frame.pts)
        if len(waiting) > MAX_REORDERED:
            waiting[0].pts = heapq.heappop(ticks)
            yield waiting.popleft()
    for frame in waiting:
        frame.pts = heapq.heappop(ticks)
        yield frame


def _readable_frames(
    container: Any, stream: Any, faults: Faults, listen: Callable[[Any, float], None] | None, clock: Clock
) -> Iterator[Any]:
    """Decode the frames that can be decoded.

    What cannot is counted and passed over. The sound's packets go to `listen`.
    """
    for packet in picture_packets(container, stream, faults, listen, clock):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            faults.add()
            continue
        for frame in frames:
            if frame.is_corrupt:
                faults.add()
                continue
            faults.good = frame.pts or faults.good
            yield frame


def picture_packets(
    container: Any, stream: Any, faults: Faults, listen: Callable[[Any, float], None] | None, clock: Clock
) -> Iterator[Any]:
    """Read the packets of the pictures; those of the sound go to `listen`."""
    origin_s, heard_s = stream_start_s(stream), -math.inf
    for packet in readable_packets(container, stream, faults, clock):
        if packet.stream.index == stream.index:
            yield packet
            continue
        if listen is not None:
            listen(packet, origin_s)
        if packet.pts is not None and (time_s := float(packet.pts * packet.time_base)) > heard_s + SOUND_STEP_S:
            heard_s = time_s
            _see_sound(packet, faults, time_s - origin_s, decode=listen is None)


def readable_packets(container: Any, stream: Any, faults: Faults, clock: Clock) -> Iterator[Any]:
    """Read the packets from here on of all streams of a clock, and move them to it.

    A stream's last one is empty. What cannot be read is counted and passed over.
    """
    failed, doubted = 0, list[int]()
    while True:
        try:
            for packet in packets_of(container, *clock.streams):
                failed = 0 if packet.pts is not None else failed
                begins_part = clock.place(packet)
                if packet.stream.index == stream.index:
                    # FFmpeg calls one of the last packets before a part corrupt, as what follows is not its own
                    if doubted:
                        doubted = [] if begins_part else [left - 1 for left in doubted]
                    if packet.is_corrupt:
                        doubted.append(LAST_PACKETS)
                    while doubted and (doubted[0] == 0 or packet.pts is None):
                        doubted.pop(0)
                        faults.add()
                yield packet
            return
        except av.error.FFmpegError:
            faults.add()
            failed += 1
            if failed == MAX_FAILED_READS:
                return


def _see_sound(packet: Any, faults: Faults, time_s: float, decode: bool) -> None:
    """Note what the sound is at a packet, which is decoded for that unless it has been."""
    codec = packet.stream.codec_context
    if codec is None or packet.stream.type != "audio":
        return
    try:
        if decode:
            packet.decode()
    except av.error.FFmpegError:
        return
    if not codec.sample_rate:  # nothing has been decoded so far
        return
    faults.see("sound changes", f"{codec.layout.name} at {codec.sample_rate:,} Hz", time_s)


def frames_from(
    container: Any, stream: Any, origin_s: float, start_s: float, clock: Clock | None = None
) -> Iterator[tuple[float, Any]]:
    """Decode timed frames from some moment before `start_s` on.

    Indexes that lead past it are asked for an earlier one. `clock` is the one that came with the file's length.
    """
    back_s = 1.0  # then 4, 16, ...: some indexes lead seconds past where they should
    while True:
        target_s = start_s - back_s
        back_s *= 4
        try:
            going = _sought(container, stream, origin_s + target_s, clock)
        except av.error.FFmpegError:
            if target_s >= 0:  # some refuse what is behind the last picture
                continue
            _rewind(container, stream, origin_s)  # AVI and FLV refuse what is before
            going = None
        frames = timed_frames(container, stream, origin_s, clock=going)
        first = next(frames, None)
        if target_s < -1 or (first is not None and first[0] <= start_s):
            return chain([] if first is None else [first], frames)


def _rewind(container: Any, stream: Any, origin_s: float) -> None:
    """Seek to the first packet of a stream.

    Some formats have no index of it, but one of the pictures, or none at all.
    """
    try:
        container.seek(int(origin_s / stream.time_base), stream=stream)
    except av.error.FFmpegError:
        try:
            container.seek(int(origin_s * av.time_base))
        except av.error.FFmpegError:
            container.seek(0, unsupported_byte_offset=True)


def _sought(container: Any, stream: Any, time_s: float, clock: Clock | None) -> Clock | None:
    """Seek to a moment of a clock, and return the one that goes on there.

    Where times start again no time leads to its packet, but its place in the file does.
    """
    if clock is None or clock.leaps or not clock.state.joins_s:
        own_s = time_s if clock is None else clock.own_s(time_s)
        container.seek(int(own_s / stream.time_base), stream=stream)
        return None
    place, state = 0, None
    for begin_s, byte, before in clock.marks:
        if begin_s > time_s:
            break
        place, state = byte, before
    container.seek(place, unsupported_byte_offset=True)
    return Clock(container, [container.streams[one.index] for one in clock.streams], state)
