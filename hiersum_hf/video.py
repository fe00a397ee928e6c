"""Video file -> facts, frames, subtitles; segments -> video file. Seconds from the start of the best video stream."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import av
import numpy as np
import pysubs2
from av.codec.codec import Properties
from av.video.frame import PictureType

from hiersum_hf.records import Segment, Sentence
from hiersum_hf.subtitles import merge_into_sentences


TOLERANCE_S = 1e-6
AUDIO_RATE = 48_000  # samples a second of written audio: one AAC frame is 21 ms
VIDEO_TICKS = 90_000  # ticks a second of written video
MAX_AUDIO_JITTER_S = 0.02  # containers round time stamps; a larger step is a gap, filled with silence
MAX_LATE_S = 0.1  # a later first frame lets the frame on screen at the segment's start come first
Placed = tuple[float, float, float]  # a segment's start_s and end_s, and the second of the output where it begins


@dataclass(frozen=True)
class VideoInfo:
    """Facts of a video file: those of its best video stream; `fps` is the average (0 if unknown)."""

    path: str
    duration_s: float
    fps: float
    width: int
    height: int
    has_audio: bool


def probe(path: str | Path) -> VideoInfo:
    """Read what a video file says about itself; width and height are as stored, before any rotation.

    The duration is the video stream's, else the container's, else (live recordings) the end of the last packet.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not readable, or no video stream.
    """
    with _opened(path) as (container, stream):
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        has_audio = container.streams.best("audio") is not None
        return VideoInfo(str(path), _duration_s(container, stream), fps, stream.width, stream.height, has_audio)


def iter_frames(path: str | Path, sample_fps: float) -> Iterator[tuple[float, np.ndarray]]:
    """Decode the first frame at or after 0, 1 / sample_fps, 2 / sample_fps, ... seconds, in constant memory.

    Yields:
        (time_s, image): times strictly ascending, no frame twice (above the file's own rate every frame comes once);
        the image is uint8 RGB (H, W, 3), upright.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: `sample_fps` is not positive, or the file is not readable or has no video stream.
    """
    if not 0 < sample_fps < float("inf"):
        raise ValueError(f"{path}: expected a positive sample_fps, found {sample_fps}")
    with _opened(path) as (container, stream):
        next_k = 0
        for time_s, frame in _timed_frames(container, stream, _start_s(stream)):
            if time_s < next_k / sample_fps - TOLERANCE_S:
                continue
            next_k = int((time_s + TOLERANCE_S) * sample_fps) + 1
            yield time_s, np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))


def embedded_subtitles(path: str | Path) -> list[Sentence]:
    """The first embedded text subtitle track as sentences; [] if there is none. Raises what `probe` raises."""
    with _opened(path) as (container, stream):
        tracks = container.streams.subtitles
        track = next((s for s in tracks if Properties.TEXT_SUB in Properties(s.codec_context.codec.properties)), None)
        if track is None:
            return []
        cues = []
        for packet in container.demux(track):
            start_s = float((packet.pts or 0) * packet.time_base) - _start_s(stream)
            end_s = start_s + float((packet.duration or 0) * packet.time_base)
            for item in track.decode(packet):
                text = pysubs2.SSAEvent(text=item.dialogue.decode("utf-8", "replace")).plaintext
                cues.append(Sentence(text, start_s, end_s))
        return merge_into_sentences(sorted(cues, key=lambda cue: cue.start_s))


def write_segments(path: str | Path, segments: Sequence[Segment], output: str | Path) -> None:
    """Cut segments out of a video and write them one after the other as an .mp4 (H.264 crf 18, AAC 48 kHz).

    Segments come in the order given. A frame belongs to one iff start_s <= t < end_s and is shown at t - start_s after
    the segments before: nothing drifts, a variable frame rate stays. Where no frame begins within 0.1 s of a segment's
    start (slide shows), the frame on screen there comes first. Sound is cut to the sample, gaps in it are silent. Ends
    past the video's end are cut to it; odd sizes lose one line; rotated videos come upright. The output appears under
    its name only when complete.

    Raises:
        FileNotFoundError: There is no source, or no folder for the output.
        ValueError: No segments, one that is empty or begins outside the video, the source as output, or no video.
    """
    output = Path(output)
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output}: expected an existing folder to write into, found none")
    if output.exists() and Path(path).exists() and output.samefile(path):
        raise ValueError(f"{output}: expected an output other than the source video")
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        with _opened(path) as (container, stream):
            placed = _placed(path, segments, _duration_s(container, stream))
            with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as target:
                _transcode(path, container, stream, placed, target)
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """(container, best video stream) of an existing, readable video."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected a video file, found no such file")
    try:
        with av.open(str(path)) as container:
            stream: Any = container.streams.best("video")
            if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
                raise ValueError(f"{path}: expected a video stream, found none")
            stream.thread_type = "AUTO"
            yield container, stream
    except av.error.FFmpegError as error:
        raise ValueError(f"{path}: expected a readable video, the decoder said: {error}") from error


def _start_s(stream: Any) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def _duration_s(container: Any, stream: Any) -> float:
    if stream.duration or container.duration:
        return float(stream.duration * stream.time_base) if stream.duration else container.duration / av.time_base
    ends = [packet.pts + (packet.duration or 0) for packet in container.demux(stream) if packet.pts is not None]
    return float(max(ends, default=0) * stream.time_base) - _start_s(stream)


def _timed_frames(container: Any, stream: Any, origin_s: float) -> Iterator[tuple[float, Any]]:
    """(seconds after `origin_s`, decoded frame) from here on, strictly ascending."""
    last_s = -float("inf")
    for frame in container.decode(stream):
        if frame.time is not None and frame.time - origin_s > last_s:
            last_s = frame.time - origin_s
            yield last_s, frame


def _frames_from(container: Any, stream: Any, origin_s: float, start_s: float) -> Iterator[tuple[float, Any]]:
    """Timed frames from some moment before `start_s` on; indexes that lead past it are asked for an earlier one."""
    back_s = 1.0
    while True:
        target_s = max(0.0, start_s - back_s)
        container.seek(int((target_s + origin_s) / stream.time_base), stream=stream)
        frames = _timed_frames(container, stream, origin_s)
        first = next(frames, None)
        if target_s == 0 or (first is not None and first[0] <= start_s):
            return chain([] if first is None else [first], frames)
        back_s *= 4


def _placed(path: str | Path, segments: Sequence[Segment], duration_s: float) -> list[Placed]:
    """The segments and where they go, ends cut to the video's."""
    if not segments:
        raise ValueError(f"{path}: expected at least one segment, found none")
    placed, output_s = [], 0.0
    for segment in segments:
        start_s, end_s = segment.start_s, min(segment.end_s, duration_s)
        if not 0 <= start_s < end_s:
            raise ValueError(f"{path}: expected segments within [0, {duration_s:.3f}) s, found {segment}")
        placed.append((start_s, end_s, output_s))
        output_s += end_s - start_s
    return placed


def _transcode(path: str | Path, container: Any, stream: Any, placed: list[Placed], target: Any) -> None:
    """Encode pictures and sound in the order of their times."""
    encoders = [target.add_stream("libx264", rate=stream.average_rate or 25, options={"crf": "18", "bf": "0"})]
    sources = [_output_pictures(container, stream, placed, encoders[0].codec_context)]
    with _opened(path) as (container_2, _):  # sound has its own reader: each seeks and decodes at its own pace
        audio = container_2.streams.best("audio")
        if audio is not None:
            layout = "mono" if audio.channels == 1 else "stereo"
            encoders.append(target.add_stream("aac", rate=AUDIO_RATE, layout=layout))
            sources.append(_output_sound(container_2, audio, _start_s(stream), placed, layout))
        labelled = [zip(repeat(index), frames) for index, frames in enumerate(sources)]
        for index, frame in heapq.merge(*labelled, key=lambda item: item[1].time):
            target.mux(encoders[index].encode(frame))
    for encoder in encoders:
        target.mux(encoder.encode(None))


def _kept_frames(container: Any, stream: Any, placed: list[Placed]) -> Iterator[tuple[float, Any]]:
    """(output second, decoded frame) of all segments."""
    for start_s, end_s, output_s in placed:
        on_screen = None  # the frame that shows when the segment starts
        for time_s, frame in _frames_from(container, stream, _start_s(stream), start_s):
            if time_s >= end_s - TOLERANCE_S:
                break
            if time_s < start_s - TOLERANCE_S:
                on_screen = frame
            else:
                if on_screen is not None and time_s - start_s > MAX_LATE_S:
                    yield output_s, on_screen
                on_screen = None
                yield output_s + max(0.0, time_s - start_s), frame
        if on_screen is not None:
            yield output_s, on_screen


def _output_pictures(container: Any, stream: Any, placed: list[Placed], codec: Any) -> Iterator[Any]:
    """Frames as the encoder wants them, each lasting until the next, the last one to the end; sets up the encoder."""
    graph = pending = None  # type: Any
    for time_s, frame in _kept_frames(container, stream, placed):
        graph = graph or _picture_graph(stream, frame.rotation)
        graph.push(frame)
        picture = graph.pull()
        picture.pts, picture.time_base = round(time_s * VIDEO_TICKS), Fraction(1, VIDEO_TICKS)
        picture.pict_type = PictureType.NONE  # the encoder chooses, not the source
        if pending is None:
            codec.width, codec.height, codec.pix_fmt = picture.width, picture.height, "yuv420p"
            codec.time_base = picture.time_base
            codec.flags |= av.codec.context.Flags.frame_duration
            codec.sample_aspect_ratio = stream.sample_aspect_ratio or 1
            for field in ("color_range", "colorspace", "color_primaries", "color_trc"):
                setattr(codec, field, getattr(picture, field))
        else:
            picture.pts = max(picture.pts, pending.pts + 1)
            pending.duration = picture.pts - pending.pts
            yield pending
        pending = picture
    if pending is None:
        raise ValueError(f"{container.name}: expected frames in the segments, found none")
    start_s, end_s, output_s = placed[-1]
    pending.duration = max(1, round((output_s + end_s - start_s) * VIDEO_TICKS) - pending.pts)
    yield pending


def _picture_graph(stream: Any, rotation: int) -> Any:
    """Filters: upright, even width and height, 4:2:0."""
    graph = av.filter.Graph()
    turns = [graph.add("transpose", "cclock") for _ in range(rotation // 90 % 4)]
    even = graph.add("crop", "trunc(iw/2)*2:trunc(ih/2)*2:0:0")
    nodes = [graph.add_buffer(stream), *turns, even, graph.add("format", "yuv420p"), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    return graph


def _output_sound(container: Any, stream: Any, origin_s: float, placed: list[Placed], layout: str) -> Iterator[Any]:
    """Exactly the segments' samples, those that the source lacks as silence."""
    for start_s, end_s, output_s in placed:
        first, stop = round(output_s * AUDIO_RATE), round((output_s + end_s - start_s) * AUDIO_RATE)
        cursor, expected = first, None
        for time_s, samples in _samples_from(container, stream, origin_s, start_s, layout):
            at = first + round((time_s - start_s) * AUDIO_RATE)
            if expected is not None and abs(at - expected) <= MAX_AUDIO_JITTER_S * AUDIO_RATE:
                at = expected
            expected = at + samples.shape[1]
            yield from _silence(cursor, min(at, stop), layout)
            cursor = max(cursor, min(at, stop))
            if cursor == stop:
                break
            if cursor < expected:
                yield _sound(samples[:, cursor - at : stop - at], cursor, layout)
                cursor = min(expected, stop)
        yield from _silence(cursor, stop, layout)


def _samples_from(container: Any, stream: Any, origin_s: float, start_s: float, layout: str) -> Iterator[Any]:
    """(seconds, float32 (channels, samples)) at `AUDIO_RATE` from some moment before `start_s` on."""
    resampler: Any = av.AudioResampler(format="fltp", layout=layout, rate=AUDIO_RATE)
    for _, frame in chain(_frames_from(container, stream, origin_s, start_s), [(0.0, None)]):
        for part in resampler.resample(frame):
            yield part.time - origin_s, part.to_ndarray()


def _silence(start: int, stop: int, layout: str) -> Iterator[Any]:
    quiet = np.zeros((1 if layout == "mono" else 2, AUDIO_RATE), np.float32)
    for at in range(start, stop, AUDIO_RATE):
        yield _sound(quiet[:, : stop - at], at, layout)


def _sound(samples: np.ndarray, at: int, layout: str) -> Any:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = AUDIO_RATE, Fraction(1, AUDIO_RATE), at
    return frame
