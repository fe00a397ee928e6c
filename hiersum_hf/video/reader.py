"""Facts and frames of a video file.

Times are in seconds from the start of the best video stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import counted
from hiersum_hf.video.picture import MAX_PIXELS, MAX_SIDE_PX, Images, progressive


VIDEO_SUFFIXES = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv"}
TOLERANCE_S = 1e-6
# A header may claim anything; this stops it from asking for all time, and the sizes of a picture for all memory.
MAX_DURATION_S = 7 * 24 * 3600.0
MAX_FAILED_READS = 100  # in a row; a broken disk fails at every one
MAX_MISSING_S = 1.0  # pictures that end earlier than announced are reported from here on
# FFmpeg's names of formats that hold what they show; others (playlists, scripts) open further files and addresses.
FORMATS = (
    "mov,matroska,webm,avi,mpeg,mpegts,flv,ogg,asf,mxf,gxf,dv,rm,swf,nut,nsv,wtv,ivf,gif,apng,mjpeg,yuv4mpegpipe,"
    "mpegvideo,m4v,h263,h264,hevc,vvc,vc1,av1,obu,mp3,aac,wav,flac"
)
ITS_OWN = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}


@dataclass(frozen=True)
class VideoInfo:
    """Facts of a video file.

    They are those of its best video stream; `fps` is the average (0 if unknown).
    """

    path: str
    duration_s: float
    fps: float
    width: int
    height: int
    has_audio: bool


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
        self._is_read = False

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

        Width and height are as stored, before any rotation. The duration is the video stream's, else the container's,
        else (live recordings) the end of the last packet. Raises what `header` raises.
        """
        container, stream = self.header()
        with named_errors(self.path):
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            has_audio = container.streams.best("audio") is not None
            self._is_read |= not _announced_s(container, stream)
            duration_s = stream_duration_s(container, stream)
        return VideoInfo(str(self.path), duration_s, fps, stream.width, stream.height, has_audio)

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
) -> Iterator[tuple[float, np.ndarray]]:
    """Decode frames at a steady rate, in constant memory.

    They are the first frames at or after 0, 1 / sample_fps, 2 / sample_fps, ... seconds. Parts that cannot be decoded
    are left out: the next good frame stands in for theirs.

    Args:
        video: Any file that FFmpeg reads.
        sample_fps: Frames a second.
        reading: Is told, after the last frame, of unreadable parts and of a file that ends too early.
        watch: Is given (time_s, PyAV frame) of every frame of the file, sampled or not.
        listen: Is given every packet of the best audio stream, and the start of the pictures on its clock in seconds.

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
    with file.packets() as (container, stream):
        announced_s, faults = _announced_s(container, stream), Faults()
        images, next_k = Images(stream), 0
        for time_s, frame in progressive(timed_frames(container, stream, stream_start_s(stream), faults, listen)):
            if watch is not None:
                watch(time_s, frame)
            if time_s < next_k / sample_fps - TOLERANCE_S:
                continue
            # The next moment k / sample_fps that lies after this frame
            next_k = int((time_s + TOLERANCE_S) * sample_fps) + 1
            yield time_s, images.image(frame)
        if reading is not None:
            faults.report(reading, file.path, stream, announced_s)


@dataclass
class Reading:
    """What reading a video met.

    Args:
        warnings: Sentences for a user.
        end_s: Where its pictures end if that is too early, else infinity.
    """

    warnings: list[str] = field(default_factory=list)
    end_s: float = math.inf


@dataclass
class Faults:
    """What reading a stream met, in the stream's own ticks."""

    count: int = 0  # unreadable parts
    first: int = 0  # the last good frame before the first of them
    good: int = 0  # the last good frame
    end: int = 0  # of the last packet

    def add(self) -> None:
        """Count an unreadable part."""
        self.first = self.first if self.count else self.good
        self.count += 1

    def report(self, reading: Reading, path: str | Path, stream: Any, announced_s: float) -> None:
        """Tell of unreadable parts and of a file that ends too early."""
        first_s, end_s = (
            max(0.0, float(ticks * stream.time_base) - stream_start_s(stream)) for ticks in (self.first, self.end)
        )
        if self.count:
            parts = counted(self.count, "unreadable part")
            reading.warnings.append(f"{path}: skipped {parts}, the first after {first_s:.1f} s.")
        if end_s < announced_s - MAX_MISSING_S:
            found = f"the pictures end at {end_s:.1f} s of {announced_s:.1f} s"
            reading.warnings.append(f"{path}: {found}. Is the file whole?")
            reading.end_s = end_s


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Open an existing, readable video.

    It gives (container, best video stream).
    """
    with open_media(path) as container:
        stream: Any = container.streams.best("video")
        if stream is None or not stream.codec_context or stream.disposition & av.stream.Disposition.attached_pic:
            raise InputError(f"{path}: expected a video stream, found none")
        width, height = stream.width, stream.height
        if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
            limit = f"{MAX_SIDE_PX} pixels a side and {MAX_PIXELS} in all"
            raise InputError(f"{path}: expected a picture of at most {limit}, found {width} x {height}")
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
        raise FileNotFoundError(f"{path}: expected a video file, found no such file")
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
        return av.open(str(Path(path).absolute()), container_options=ITS_OWN)
    except av.error.ArgumentError as error:
        found = "a playlist, a stream or another format, which could make it open other files"
        raise InputError(f"{path}: expected a readable video ({FORMATS.replace(',', ', ')}), found {found}") from error


def stream_start_s(stream: Any) -> float:
    """Tell when a stream starts on the clock of its file."""
    return float((stream.start_time or 0) * stream.time_base)


def stream_duration_s(container: Any, stream: Any) -> float:
    """Measure the video stream in seconds.

    A file that does not announce them is read to its end.
    """
    duration_s = _announced_s(container, stream)
    if not duration_s:
        ends = (packet.pts + (packet.duration or 0) for packet in container.demux(stream) if packet.pts is not None)
        duration_s = float(max(ends, default=0) * stream.time_base) - stream_start_s(stream)
    return _not_too_long(container, duration_s)


def _announced_s(container: Any, stream: Any) -> float:
    """Read the announced length in seconds.

    It is that of the video stream, else of the file, else 0. Raises ValueError above `MAX_DURATION_S`.
    """
    announced_s = (
        float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / av.time_base
    )
    return _not_too_long(container, announced_s)


def _not_too_long(container: Any, duration_s: float) -> float:
    """Refuse more seconds than this module reads."""
    if duration_s > MAX_DURATION_S:
        limit, found = f"{MAX_DURATION_S / 3600:,.0f} hours", f"{duration_s / 3600:,.0f} hours"
        raise InputError(f"{container.name}: expected a video of at most {limit}, found one that claims {found}")
    return duration_s


def timed_frames(
    container: Any,
    stream: Any,
    origin_s: float,
    faults: Faults | None = None,
    listen: Callable[[Any, float], None] | None = None,
) -> Iterator[tuple[float, Any]]:
    """Decode the frames from here on with their times.

    It yields (seconds after `origin_s`, frame), strictly ascending, without damaged frames.
    """
    last_s = -float("inf")
    for frame in _readable_frames(container, stream, faults or Faults(), listen):
        if frame.time is not None and frame.time - origin_s > last_s:
            last_s = frame.time - origin_s
            yield last_s, frame


def _readable_frames(
    container: Any, stream: Any, faults: Faults, listen: Callable[[Any, float], None] | None
) -> Iterator[Any]:
    """Decode the frames that can be decoded.

    What cannot is counted and passed over. The sound's packets go to `listen`.
    """
    audio, origin_s = container.streams.best("audio") if listen else None, stream_start_s(stream)
    for packet in readable_packets(container, stream, faults, audio):
        if packet.stream_index != stream.index:
            if listen is not None:
                listen(packet, origin_s)
            continue
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            faults.add()
            continue
        for frame in frames:
            if frame.is_corrupt:
                faults.add()
            else:
                faults.good = frame.pts or faults.good
                yield frame


def readable_packets(container: Any, stream: Any, faults: Faults, audio: Any = None) -> Iterator[Any]:
    """Read the packets from here on.

    A stream's last one is empty. What cannot be read is counted and passed over.
    """
    failed, streams = 0, (stream,) if audio is None else (stream, audio)
    while True:
        try:
            for packet in container.demux(*streams):
                failed = 0 if packet.pts is not None else failed
                if packet.stream_index == stream.index:
                    if packet.is_corrupt:
                        faults.add()
                    if packet.pts is not None:
                        faults.end = max(faults.end, packet.pts + (packet.duration or 0))
                yield packet
            return
        except av.error.FFmpegError:
            faults.add()
            failed += 1
            if failed == MAX_FAILED_READS:
                return


def frames_from(container: Any, stream: Any, origin_s: float, start_s: float) -> Iterator[tuple[float, Any]]:
    """Decode timed frames from some moment before `start_s` on.

    Indexes that lead past it are asked for an earlier one.
    """
    back_s = 1.0  # then 4, 16, ...: some indexes lead seconds past where they should
    while True:
        target_s = start_s - back_s
        try:
            container.seek(int((target_s + origin_s) / stream.time_base), stream=stream)
        except av.error.FFmpegError:
            if target_s >= 0:
                raise
            container.seek(int(origin_s / stream.time_base), stream=stream)  # AVI and FLV refuse what is before
        frames = timed_frames(container, stream, origin_s)
        first = next(frames, None)
        if target_s < -1 or (first is not None and first[0] <= start_s):
            return chain([] if first is None else [first], frames)
        back_s *= 4
