"""The sound of a video on the clock of its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from hiersum_hf.video.clock import Clock, sound_of
from hiersum_hf.video.faults import Faults, stream_start_s
from hiersum_hf.video.reader import VideoFile, leaps, readable_packets


JITTER_S = 0.02  # containers round time stamps; a larger step is a gap, filled with silence


class Samples:
    """Decodes packets of sound to mono float32 samples, `rate` a second."""

    def __init__(self, rate: int):
        self._rate = rate
        self._resampler = self._made()

    def _made(self) -> Any:
        return av.AudioResampler(format="flt", layout="mono", rate=self._rate)

    def of(self, packet: Any) -> Iterator[tuple[float, np.ndarray]]:
        """Decode a packet; what cannot be decoded is passed over.

        Yields:
            Seconds on the packet's clock, and (S,) samples in [-1, 1] from there on.
        """
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            return
        for frame in frames:
            for part in self._resampled(mixable(frame)) if frame.time is not None else ():
                yield frame.time, part.to_ndarray().ravel()

    def _resampled(self, frame: Any) -> Any:
        try:
            return self._resampler.resample(frame)
        except (av.error.FFmpegError, ValueError):  # the format changed on the way
            self._resampler = self._made()
            return self._resampler.resample(frame)


def mixable(frame: Any) -> Any:
    """Return a frame of sound that FFmpeg mixes: this one, or the mean of its channels, whatever they are.

    FFmpeg refuses what has one channel of a pair alone, as ten tracks of a recorder do, and numbers of channels that it
    has no layout for.
    """
    if _mixes(frame.layout.name):
        return frame
    # Packed first: PyAV 18 reads no planes behind the eighth
    packed = av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate).resample(frame)
    samples = np.concatenate([part.to_ndarray().ravel() for part in packed] or [np.zeros(0, np.float32)])
    mean = np.nan_to_num(np.clip(samples, -1, 1)).reshape(-1, frame.layout.nb_channels).mean(axis=1)
    mixed = av.AudioFrame.from_ndarray(mean[None], format="fltp", layout="mono")
    mixed.sample_rate, mixed.pts, mixed.time_base = frame.sample_rate, frame.pts, frame.time_base
    return mixed


@cache
def _mixes(layout: str) -> bool:
    """Tell whether FFmpeg mixes channels of this layout."""
    silence = av.AudioFrame("flt", layout, 1)
    silence.sample_rate = 48_000
    try:
        av.AudioResampler(format="fltp", layout="mono", rate=48_000).resample(silence)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def sound_packets(video: str | Path | VideoFile) -> Iterator[tuple[Any, float]]:
    """Read the packets of a video's best stream of sound, moved to one clock; none without such a stream.

    Yields:
        Each packet, and the start of the pictures on its clock.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not readable.
    """
    file = video if isinstance(video, VideoFile) else VideoFile(video)
    with file.packets() as (container, pictures):
        stream = sound_of(container)
        if stream is None:
            return
        clock = Clock(container, (pictures, stream), leaps=leaps(container))
        for packet in readable_packets(container, pictures, Faults(), clock):
            if packet.stream.index == stream.index:
                yield packet, stream_start_s(pictures)


def sound_samples(video: str | Path | VideoFile, rate: int) -> np.ndarray:
    """Decode the sound of a video from its first picture on, (S,) mono float32 in [-1, 1].

    Silence stands where nothing is stored or can be decoded, so that sample i is heard at i / `rate` seconds. There are
    none without a stream of sound. Raises as `sound_packets`.
    """
    decoder, parts, end = Samples(rate), list[tuple[int, np.ndarray]](), 0
    for packet, origin_s in sound_packets(video):
        for time_s, samples in decoder.of(packet):
            at = round((time_s - origin_s) * rate)
            if abs(at - end) <= JITTER_S * rate:  # samples are counted, not timed, as long as their times agree
                at = end
            kept = samples[max(0, end - at) :]
            if len(kept):
                at = max(at, end)
                parts.append((at, kept))
                end = at + len(kept)
    whole = np.zeros(end, np.float32)
    for at, samples in parts:
        whole[at : at + len(samples)] = samples
    return whole
