"""Segments of a video to one video file."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from hiersum_hf.files.atomic import aside
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Segment
from hiersum_hf.video.bitstream import NotExactError
from hiersum_hf.video.clock import Clock, sound_of
from hiersum_hf.video.faults import stream_start_s
from hiersum_hf.video.groups import MAX_LATE_S, Groups, Placed
from hiersum_hf.video.picture import Written, progressive
from hiersum_hf.video.reader import TOLERANCE_S, frame_rate, frames_from, measured, opened
from hiersum_hf.video.sound import JITTER_S, mixable


AUDIO_RATE = 48_000  # samples a second of written audio: one AAC frame is 21 ms
AUDIO_BITS = 96_000  # a second and channel
VIDEO_TICKS = 90_000  # ticks a second of written video
MAX_AUDIO_STEP_S = 0.003  # that a row of time stamps tells, no rounding: recordings joined, clocks that drift
STEPS = 7  # in a row
RENDERS = "copy", "smart", "encode"


def write_segments(
    path: str | Path,
    segments: Sequence[Segment],
    output: str | Path,
    render: str = "smart",
    quality: bool = False,
    tell: Callable[[float], None] | None = None,
) -> list[str]:
    """Cut segments out of a video and join them in an .mp4.

    Segments come in the order given. A frame belongs to one iff start_s <= t < end_s and is shown at t - start_s after
    the segments before: nothing drifts, a variable frame rate stays. Of H.264, HEVC, VP9 and AV1 in .mp4, .mov, .mkv or
    .webm the packets from each segment's first key frame to its last picture that is complete without later ones are
    copied, with all that is told beside them; only what is before and after is encoded, as the source is
    (`hiersum_hf.video.groups`). Else all is encoded anew (H.264 crf 18, even sizes, upright, deinterlaced, HDR as SDR).
    Either way the colours are told. Where no frame begins within 0.1 s of a segment's start (slide shows), the frame on
    screen there comes first. Sound is always cut to the sample (AAC 48 kHz), gaps in it are silent. Ends past the
    video's end are cut to it, unreadable parts left out. The output appears under its name only when complete.

    Args:
        path: The video.
        segments: What is cut out.
        output: The .mp4.
        render: "smart" = as said; "encode" = all pictures are encoded; "copy" = none are, segments widen to whole
            groups of pictures (`whole_groups`).
        quality: Encode by x264's preset medium instead of veryfast, in 2.6 times as long.
        tell: Is told the share that is written, in [0, 1]; what it raises ends the work, and nothing is left of it.

    Returns:
        Notes for a user: why pictures were encoded though they should not have been.

    Raises:
        FileNotFoundError: There is no source, or no folder for the output.
        OSError: The output cannot be written (a full disk); nothing of it is left.
        ValueError: No segments, one that is empty or begins outside the video, the source as output, no video, or
            "copy" where the groups cannot be copied.
    """
    output = Path(output)
    if render not in RENDERS:
        raise InputError(f"render: expected one of {', '.join(RENDERS)}; found {render!r}")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output}: expected an existing folder to write into, found none")
    if output.exists() and Path(path).exists() and output.samefile(path):
        raise InputError(f"{output}: expected an output other than the source video")
    if render == "copy":
        segments = whole_groups(path, segments)
    try:
        _write(path, segments, output, render != "encode", quality, tell)
    except NotExactError as reason:
        if render == "copy":
            raise _not_copied(path, reason) from reason
        _write(path, segments, output, False, quality, tell)
        return [f"{Path(path).name}: all its pictures are encoded anew, none are copied: {reason}."]
    return []


def whole_groups(path: str | Path, segments: Sequence[Segment]) -> list[Segment]:
    """Widen segments to the whole groups of pictures that hold them.

    Raises:
        ValueError: The groups cannot be copied, or as `write_segments`.
    """
    with opened(path) as (container, stream):
        duration_s, clock = measured(container, stream)
        placed = _placed(path, segments, duration_s)
        try:
            groups = _groups(container, stream, clock)
            borders = [groups.widened(start_s, end_s) for start_s, end_s, _ in placed]
        except NotExactError as reason:
            raise _not_copied(path, reason) from reason
    return [Segment(*border, segment.score) for border, segment in zip(borders, segments, strict=True)]


def _not_copied(path: str | Path, reason: NotExactError) -> InputError:
    told = f"{path}: expected pictures that can be copied, found that they cannot: {reason}."
    return InputError(f"{told} Choose to render smart or encode.")


def _write(
    path: str | Path,
    segments: Sequence[Segment],
    output: Path,
    copies: bool,
    quality: bool,
    tell: Callable[[float], None] | None,
) -> None:
    """Write the output, with copied pictures or with encoded ones alone."""
    options = {"movflags": "+faststart", "movie_timescale": str(VIDEO_TICKS)}  # of edit lists, else milliseconds
    with (
        aside(output) as partial,
        _write_errors(output),
        av.open(str(partial), "w", format="mp4", options=options) as target,
        opened(path) as (container, stream),
        ExitStack() as stack,
    ):
        duration_s, clock = measured(container, stream)
        placed = _continued(_placed(path, segments, duration_s))
        copied = _copied(container, stream, clock, placed, target, quality) if copies else None
        sources = [copied or _pictures(path, container, stream, clock, placed, target, quality)]
        if sound_of(container) is not None:

            def again() -> Any:  # sound has its own reader: each seeks and decodes at its own pace
                stack.close()
                return stack.enter_context(opened(path))[0]

            sources.append(_sound(again, clock, stream_start_s(stream), placed, target))
        length_s = sum(end_s - start_s for start_s, end_s, _ in placed)
        for time_s, packets in heapq.merge(*sources, key=lambda item: item[0]):
            with _write_errors(output):
                target.mux(packets)
            if tell is not None:
                tell(min(time_s / length_s, 1.0))


@contextmanager
def _write_errors(output: Path) -> Iterator[None]:
    """Report what the encoder raises as an OSError.

    It names the output.
    """
    try:
        yield
    except av.error.FFmpegError as error:
        told = f"{output}: expected to write a whole file, found: {error.strerror}. Nothing of it is left."
        raise OSError(error.errno, told) from error


def _placed(path: str | Path, segments: Sequence[Segment], duration_s: float) -> list[Placed]:
    """Return the segments and where they go, ends cut to the video's."""
    if not segments:
        raise InputError(f"{path}: expected at least one segment, found none")
    placed, output_s = [], 0.0
    for segment in segments:
        start_s, end_s = segment.start_s, min(segment.end_s, duration_s)
        if not 0 <= start_s < end_s:
            raise InputError(f"{path}: expected segments within [0, {duration_s:.3f}) s, found {segment}")
        placed.append((start_s, end_s, output_s))
        output_s += end_s - start_s
    return placed


def _continued(placed: list[Placed]) -> list[Placed]:
    """Join segments that begin where the one before ends."""
    joined = placed[:1]
    for start_s, end_s, output_s in placed[1:]:
        if abs(start_s - joined[-1][1]) <= TOLERANCE_S:
            joined[-1] = joined[-1][0], end_s, joined[-1][2]
        else:
            joined.append((start_s, end_s, output_s))
    return joined


def _copied(
    container: Any, stream: Any, clock: Clock, placed: list[Placed], target: Any, quality: bool
) -> Iterator[tuple[float, Any]] | None:
    """Write the pictures, copied but for the ends of segments; None where no whole group lies in one.

    It yields (second, packet).
    """
    groups = _groups(container, stream, clock, quality)
    runs = groups.runs(placed)
    return groups.packets(groups.stream_in(target), placed, runs) if any(run.count for run in runs) else None


def _groups(container: Any, stream: Any, clock: Clock, quality: bool = False) -> Groups:
    """Find the groups of pictures, whose times are the file's own."""
    if clock.state.joins_s:
        raise NotExactError("its clock starts again")
    return Groups(container, stream, quality)


def _pictures(
    path: str | Path, container: Any, stream: Any, clock: Clock, placed: list[Placed], target: Any, quality: bool
) -> Iterator[tuple[float, Any]]:
    """Write the pictures, all encoded.

    It yields (second, packets).
    """
    options = {"crf": "18", "bf": "0", "preset": "medium" if quality else "veryfast"}
    encoder = target.add_stream("libx264", rate=frame_rate(path, stream) or 25, options=options)
    encoder.thread_type = "FRAME"
    return _encoded(encoder, _output_pictures(container, stream, clock, placed, encoder.codec_context))


def _sound(
    again: Callable[[], Any], clock: Clock, origin_s: float, placed: list[Placed], target: Any
) -> Iterator[tuple[float, Any]]:
    """Write the sound of the container that `again` opens.

    It yields (second, packets).
    """
    container = again()
    layout = "mono" if sound_of(container).channels == 1 else "stereo"
    encoder = target.add_stream("aac", rate=AUDIO_RATE, layout=layout, bit_rate=AUDIO_BITS * (1 + (layout == "stereo")))
    return _encoded(encoder, _output_sound(container, again, clock, origin_s, placed, layout))


def _encoded(encoder: Any, frames: Iterator[Any]) -> Iterator[tuple[float, Any]]:
    """Encode frames, and flush the encoder at the end."""
    time_s = 0.0
    for frame in frames:
        time_s = frame.time
        yield time_s, encoder.encode(frame)
    yield time_s, encoder.encode(None)


def _kept_frames(container: Any, stream: Any, clock: Clock, placed: list[Placed]) -> Iterator[tuple[float, Any]]:
    """Decode the frames of all segments.

    It yields (output second, frame).
    """
    for start_s, end_s, output_s in placed:
        on_screen = None  # the frame that shows when the segment starts
        for time_s, frame in progressive(frames_from(container, stream, stream_start_s(stream), start_s, clock)):
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


def _output_pictures(container: Any, stream: Any, clock: Clock, placed: list[Placed], codec: Any) -> Iterator[Any]:
    """Set up the encoder, and give it frames as it wants them.

    Each lasts until the next, the last one to the end. Those that are larger or smaller than the first, or of another
    shape, are scaled into its size, with black at the sides.
    """
    first = written = pending = None  # type: Any
    for time_s, frame in _kept_frames(container, stream, clock, placed):
        if written is None or not written.takes(frame):  # size or shape change on the way
            written = Written(stream, frame, first)
            first = first or written
        picture = written.picture(frame)
        picture.pts, picture.time_base = round(time_s * VIDEO_TICKS), Fraction(1, VIDEO_TICKS)
        picture.pict_type = PictureType.NONE  # the encoder chooses, not the source
        if pending is None:
            codec.width, codec.height, codec.pix_fmt = picture.width, picture.height, "yuv420p"
            codec.time_base = picture.time_base
            codec.flags |= av.codec.context.Flags.frame_duration
            codec.sample_aspect_ratio = written.pixel_shape
            for field in ("color_range", "colorspace", "color_primaries", "color_trc"):
                setattr(codec, field, getattr(picture, field))
        else:
            picture.pts = max(picture.pts, pending.pts + 1)  # two frames may round to one tick
            pending.duration = picture.pts - pending.pts
            yield pending
        pending = picture
    if pending is None:
        raise InputError(f"{container.name}: expected frames in the segments, found none")
    start_s, end_s, output_s = placed[-1]
    pending.duration = max(1, round((output_s + end_s - start_s) * VIDEO_TICKS) - pending.pts)
    yield pending


def _output_sound(
    container: Any, again: Callable[[], Any], clock: Clock, origin_s: float, placed: list[Placed], layout: str
) -> Iterator[Any]:
    """Cut the sound to exactly the segments' samples.

    Those that the source lacks are silence.
    """
    forms = set[Any]()
    for start_s, end_s, output_s in placed:
        if len(forms) > 1:  # sought back from stereo to mono, FFmpeg decodes AAC at wrong levels
            container = again()
            forms.clear()
        stream = sound_of(container)
        if stream.codec_context.format is not None:
            forms.add(_form(stream.codec_context))
        first, stop = round(output_s * AUDIO_RATE), round((output_s + end_s - start_s) * AUDIO_RATE)
        cursor, expected, steps = first, None, deque[int](maxlen=STEPS)
        for time_s, samples in _samples_from(container, stream, clock, origin_s, start_s, layout, forms):
            # Samples are counted, not timed: a rounded time stamp within the jitter goes on where the last one ended,
            # unless the last ones tell the same step
            at = first + round((time_s - start_s) * AUDIO_RATE)
            if expected is not None and abs(at - expected) <= JITTER_S * AUDIO_RATE:
                steps.append(at - expected)
                step = round(median(steps)) if len(steps) == STEPS else 0
                at = expected + step * (abs(step) > MAX_AUDIO_STEP_S * AUDIO_RATE)
            if expected is not None and at != expected:
                steps.clear()
            expected = at + samples.shape[1]
            yield from _silence(cursor, min(at, stop), layout)
            cursor = max(cursor, min(at, stop))
            if cursor == stop:
                break
            if cursor < expected:
                yield _samples_frame(samples[:, cursor - at : stop - at], cursor, layout)
                cursor = min(expected, stop)
        yield from _silence(cursor, stop, layout)


def _samples_from(
    container: Any, stream: Any, clock: Clock, origin_s: float, start_s: float, layout: str, forms: set[Any]
) -> Iterator[Any]:
    """Decode sound from some moment before `start_s` on.

    It yields (seconds, float32 (channels, samples)) at `AUDIO_RATE`. Where the source's rate or channels change, the
    resampler is made anew; `forms` gets each.
    """
    resampler, form = None, None  # type: Any, Any
    sound = (mixable(frame) for _, frame in frames_from(container, stream, origin_s, start_s, clock))
    for frame in chain(sound, [None]):
        parts = []
        if resampler is not None and (frame is None or _form(frame) != form):
            parts, resampler = resampler.resample(None), None
        if frame is not None:
            if resampler is None:
                resampler, form = av.AudioResampler(format="fltp", layout=layout, rate=AUDIO_RATE), _form(frame)
                forms.add(form)
            parts += resampler.resample(frame)
        for part in parts:
            yield part.time - origin_s, part.to_ndarray()


def _form(frame: Any) -> tuple[str, str, int]:
    """Return what a resampler is made for."""
    return frame.format.name, frame.layout.name, frame.sample_rate


def _silence(start: int, stop: int, layout: str) -> Iterator[Any]:
    """Yield silence between two samples of the output."""
    quiet = np.zeros((1 if layout == "mono" else 2, AUDIO_RATE), np.float32)
    for at in range(start, stop, AUDIO_RATE):
        yield _samples_frame(quiet[:, : stop - at], at, layout)


def _samples_frame(samples: np.ndarray, at: int, layout: str) -> Any:
    """Make an audio frame of samples, at its place in the output."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = AUDIO_RATE, Fraction(1, AUDIO_RATE), at
    return frame
