"""Frames as editors count them: the rate of a video, and its time code."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from hiersum_hf.records import Floats
from hiersum_hf.video.clock import Clock, sound_of
from hiersum_hf.video.faults import Faults, stream_start_s
from hiersum_hf.video.picture import side_data
from hiersum_hf.video.reader import TOLERANCE_S, leaps, named_errors, opened, probe, readable_packets


# Rates that have time codes (SMPTE ST 12-1 and -3), in frames a second
RATES = tuple(Fraction(n, 1001) for n in (24000, 30000, 48000, 60000)) + tuple(map(Fraction, (24, 25, 30, 48, 50, 60)))
NAMES = {Fraction(n, 1001): f"{n / 1001:.2f}" for n in (30000, 60000)} | {Fraction(24000, 1001): "23.976"}
NO_RATE = Fraction(25)  # of a video of one picture
SAME = 4e-4  # rates differ by less, 23.976 and 24 by more
NEAR = Fraction(1, 1000)  # of a rate to a multiple of another, which times in milliseconds blur
OFF = 0.2  # periods by which a picture of a constant rate may be early or late
_CODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.,])(\d\d)")


@dataclass(frozen=True)
class Frames:
    """A video's frames, as an editor counts them.

    Args:
        rate: Frames a second, one of `RATES`.
        conformed: Whether this is not the video's own rate.
        count: How many there are; of a conformed rate as many as the video lasts.
        first: Number of the first one by the video's time code, 0 where it has none.
        drop: Whether the time code leaves out numbers to keep to the clock (29.97 and 59.94).
        reel: Name of the reel or tape that the time code belongs to, "" where it tells none.
        size: Width and height as shown.
        sound: Samples a second and channels, 0 without sound.
        times_s: (N,) ascending times of the stored pictures from the first on.
        notes: What the reader should know.
    """

    rate: Fraction
    conformed: bool
    count: int
    first: int
    drop: bool
    reel: str
    size: tuple[int, int]
    sound: tuple[int, int]
    times_s: Floats
    notes: tuple[str, ...]

    def at(self, time_s: float) -> int:
        """Count the frames before the first one at or after a time."""
        index = int(np.searchsorted(self.times_s, time_s - TOLERANCE_S))
        shown_s = self.times_s[index] if index < len(self.times_s) else math.inf
        if (shown_s - time_s) * self.rate > 1.5:  # a picture stands here
            return min(self.count, math.ceil((time_s - TOLERANCE_S) * self.rate))
        return min(self.count, round(shown_s * self.rate))

    def code(self, frame: int) -> str:
        """Write a frame's number as a time code, HH:MM:SS:FF, with ";" before FF where numbers are dropped."""
        whole = round(self.rate)
        left_out = whole // 15 if self.drop else 0  # 2 or 4 numbers a minute, but for each tenth
        tens, rest = divmod(frame % (144 * (600 * whole - 9 * left_out)), 600 * whole - 9 * left_out)
        frame = tens * 600 * whole + rest + left_out * max(0, (rest - left_out) // (60 * whole - left_out))
        seconds, frames = divmod(frame, whole)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f"{clock}{';' if self.drop else ':'}{frames:02d}"


def read_frames(path: str | Path) -> Frames:
    """Read how an editor counts the frames of a video; all its packets are read, few are decoded.

    A rate that varies, or has no time code, is conformed to the next one of `RATES`, which a note says.

    Raises what `opened` raises.
    """
    with opened(path) as (container, stream), named_errors(path):
        sound, origin_s = sound_of(container), stream_start_s(stream)
        told = [stream.average_rate, stream.base_rate, stream.guessed_rate]
        code, reel = _tag(container, "timecode"), _tag(container, "reel_name")
        clock = Clock(container, (stream, sound), leaps=leaps(container))
        packets = readable_packets(container, stream, Faults(), clock)
        pts = [packet.pts for packet in packets if packet.stream.index == stream.index and packet.pts is not None]
        times_s = np.unique(np.array(pts, np.float64)) * float(stream.time_base) - origin_s
        size = stream.width, stream.height
        heard = (sound.rate, sound.channels) if sound is not None else (0, 0)
    times_s = times_s[times_s > -TOLERANCE_S]
    rate, why = _rate(times_s, [Fraction(one) for one in told if one])
    notes = [] if why is None else [f"{Path(path).name}: {why} for editors."]
    count = len(times_s) if why is None else max(1, round(probe(path).duration_s * rate))
    coded, turned = _first_picture(path, rate)
    first, drop = read_code(code or coded, rate) or (0, False)
    if code and not _CODE.fullmatch(code):
        notes.append(f"{Path(path).name}: expected a time code HH:MM:SS:FF, found {code!r}: frames count from 0.")
    size = size[::-1] if turned else size
    return Frames(rate, why is not None, count, first, drop, reel, size, heard, times_s, tuple(notes))


def read_code(code: str, rate: Fraction) -> tuple[int, bool] | None:
    """Read a time code as (number of the frame, whether numbers are dropped); None where it is none."""
    found = _CODE.fullmatch(code.strip())
    whole = round(rate)
    if not found or int(found[5]) >= whole:
        return None
    hours, minutes, seconds, frames = (int(found[i]) for i in (1, 2, 3, 5))
    drop = found[4] != ":" and rate.denominator != 1 and whole % 30 == 0
    minutes += 60 * hours
    left_out = (minutes - minutes // 10) * (whole // 15) if drop else 0
    return (60 * minutes + seconds) * whole + frames - left_out, drop


def _tag(container: Any, name: str) -> str:
    """Find what a file says about itself, in all or in one of its streams (the tmcd track of an .mov)."""
    said = [pair for one in (container, *container.streams) for pair in one.metadata.items()]
    return next((text.strip() for key, text in said if key.lower() == name and text.strip()), "")


def _first_picture(path: str | Path, rate: Fraction) -> tuple[str, bool]:
    """Read the time code stored with the first picture, as in .ts of broadcasts, and whether it lies on its side."""
    with opened(path) as (container, stream):
        try:
            frame = next(container.decode(stream), None)
        except av.error.FFmpegError:  # damaged
            frame = None
        if frame is None:
            return "", False
        codes = (_stored_code(side, rate) for side in side_data(frame))
        return next(filter(None, codes), ""), frame.rotation % 180 == 90


def _stored_code(side: Any, rate: Fraction) -> str:
    """Read a time code beside a picture; "" where this is none."""
    if side.type.name == "GOP_TIMECODE":  # of MPEG-2: bits of ISO 13818-2, 6.2.2.6
        bits = int.from_bytes(bytes(side)[:8], "little")
        parts = [bits >> 19 & 31, bits >> 13 & 63, bits >> 6 & 63, bits & 63]
        dropped = bits >> 24 & 1
    elif side.type.name == "S12M_TIMECODE":  # of H.264 and HEVC: digits of SMPTE ST 12-1, after their number
        bits = int.from_bytes(bytes(side)[4:8], "little")
        places = (4, 3, 0), (12, 7, 8), (20, 7, 16), (28, 3, 24)
        parts = [10 * (bits >> tens & most) + (bits >> units & 15) for tens, most, units in places]
        if rate > 30:  # pairs of frames are counted, and a bit tells which of the two it is
            parts[3] = 2 * parts[3] + (bits >> (7 if rate == 50 else 23) & 1)
        dropped = bits >> 30 & 1
    else:
        return ""
    hours, minutes, seconds, frames = parts
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{':;'[dropped]}{frames:02d}"


def _rate(times_s: Floats, told: list[Fraction]) -> tuple[Fraction, str | None]:
    """Find the rate of pictures at these times, and why it is not their own."""
    if len(times_s) < 2:
        return NO_RATE, f"it has no frame rate; conformed to {NO_RATE} frames a second"
    usual = Fraction(1 / _period_s(times_s)).limit_denominator(1001)
    own = [next((one for one in RATES if abs(one - rate) < SAME * rate), rate) for rate in [*told, usual]]
    off = [float(np.abs(times_s * float(rate) - np.arange(len(times_s))).max()) for rate in own]
    if min(off) < OFF:
        rate = own[off.index(min(off))]
        near = rate if rate in RATES else _conformed(rate)
        return near, None if near == rate else f"it has {float(rate):.4g} frames a second; conformed to {named(near)}"
    near, lasts_s = _conformed(usual), np.diff(times_s)
    varies = f"its frame rate varies (a picture lasts {lasts_s.min() * 1000:.0f} to {lasts_s.max() * 1000:.0f} ms)"
    return near, f"{varies}; conformed to {named(near)} frames a second"


def _conformed(rate: Fraction) -> Fraction:
    """Choose the rate of editors for another one: what is near, else a multiple or a part of it, else the nearest."""

    def nearest(other: Fraction) -> Fraction:
        return min(RATES, key=lambda one: abs(one - other))

    close = nearest(rate), rate, Fraction(1, 10)
    multiples = [(nearest(rate * n), rate * n, NEAR) for n in range(2, 7)]
    parts = [(nearest(rate / n), rate / n, NEAR) for n in range(2, 7)]
    return next(
        (one for one, own, near in (close, *multiples, *parts) if abs(one - own) < near * own),
        nearest(max(rate, NO_RATE)),
    )


def _period_s(times_s: Floats) -> float:
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1 / float(NO_RATE)


def named(rate: Fraction) -> str:
    """Name a rate as editors do: 23.976, 29.97, 25."""
    return NAMES.get(rate, f"{float(rate):.5g}")
