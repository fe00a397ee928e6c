"""Films whose every picture carries its number and whose sound tells its time, and how far an output is off."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np


ROWS, COLUMNS = 3, 4  # of blocks, bright for 1: 12 bits
HEARD_RATE = 8000
WINDOW_S, SEARCH_S = 0.4, 0.5
STEP_S = 0.005
MILLISECOND = Fraction(1, 1000)


def noise(rate, seconds, begin_s=0.0):
    """Noise that is another one at any time, up to 3 kHz: what is heard tells when it was made."""
    levels = np.random.default_rng(7).normal(0, 0.2, 6000 * 60)
    times_s = begin_s + np.arange(round(rate * seconds)) / rate
    return np.interp(times_s, np.arange(len(levels)) / 6000, levels).astype(np.float32)


def drawn(number, size):
    bits = np.array([number >> bit & 1 for bit in range(ROWS * COLUMNS)]).reshape(ROWS, COLUMNS)
    down, across = np.arange(size[1]) * ROWS // size[1], np.arange(size[0]) * COLUMNS // size[0]
    grey = np.where(bits[down][:, across], 216, 40).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def number_in(image):
    """The number that an image (H, W, 3) carries, whatever its size."""
    height, width = image.shape[:2]
    blocks = [
        image[(2 * row + 1) * height // (2 * ROWS), (2 * column + 1) * width // (2 * COLUMNS)].mean() > 128
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]
    return sum(int(bright) << bit for bit, bright in enumerate(blocks))


@dataclass
class Film:
    """What to make; times are in seconds of the film, on which pictures and sound are in step.

    `begin_s` is where the film begins on the file's clock, `first` the number of its first picture.
    """

    name: str = "film.mp4"
    codec: str = "libx264"
    sound: str | None = "aac"
    rate: Any = 25
    count: int = 100
    times_s: list[float] | None = None
    size: tuple[int, int] = (128, 96)
    pixel_shape: Any = 1
    pix_fmt: str = "yuv420p"
    gop: int = 12
    options: dict[str, str] = field(default_factory=dict)
    sound_rate: int = 48000
    layout: str = "stereo"
    sound_s: tuple[float, float] | None = None
    begin_s: float = 0.0
    first: int = 0
    muxer: str | None = None
    muxing: dict[str, str] = field(default_factory=dict)

    def times(self):
        return self.times_s or [float(k / Fraction(self.rate)) for k in range(self.count)]

    def write(self, folder):
        times_s = self.times()
        from_s, to_s = self.sound_s or (0.0, float(times_s[-1] + 1 / Fraction(self.rate)))
        with av.open(str(folder / self.name), "w", format=self.muxer, options=self.muxing) as target:
            pictures = target.add_stream(self.codec, rate=self.rate, options=self.options)
            pictures.width, pictures.height, pictures.pix_fmt = *self.size, self.pix_fmt
            pictures.codec_context.gop_size = self.gop
            pictures.codec_context.sample_aspect_ratio = self.pixel_shape
            tick = 1 / Fraction(self.rate) if self.times_s is None else MILLISECOND
            pictures.codec_context.time_base = tick
            sound = self.sound and target.add_stream(
                self.sound, rate=self.sound_rate, layout=self.layout, bit_rate=128_000
            )
            late = round(Fraction(self.begin_s) / tick)
            packets = []
            for k, time_s in enumerate(times_s):
                frame = av.VideoFrame.from_ndarray(drawn(self.first + k, self.size), format="rgb24")
                frame.pts, frame.time_base = late + round(time_s / tick), tick
                packets += pictures.encode(frame)
            packets += pictures.encode(None)
            if sound:
                packets += self._heard(sound, from_s, to_s, float(late * tick))
            for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
                target.mux(packet)
        return folder / self.name

    def _heard(self, stream, from_s, to_s, begin_s):
        offset_s = self.first / float(Fraction(self.rate))  # later films go on with the sound, too
        wave = noise(self.sound_rate, to_s - from_s, from_s + offset_s)
        frame = av.AudioFrame.from_ndarray(wave[None], format="flt", layout="mono")
        frame.sample_rate, frame.time_base = self.sound_rate, Fraction(1, self.sound_rate)
        frame.pts = round((begin_s + from_s) * self.sound_rate)
        codec = stream.codec_context
        make = av.AudioResampler(codec.format, codec.layout, self.sound_rate, frame_size=codec.frame_size or 1024)
        for part in [*make.resample(frame), *make.resample(None)]:
            yield from stream.encode(part)
        yield from stream.encode(None)


def heard(path):
    """What a file sounds like: where its sound begins, and samples at `HEARD_RATE`, silent where there are none."""
    with av.open(str(path)) as container:
        parts, make, form = [], None, None
        for frame in container.decode(container.streams.best("audio")):
            if form != (frame.layout.name, frame.sample_rate):
                form = frame.layout.name, frame.sample_rate
                make = av.AudioResampler("flt", "mono", HEARD_RATE)
            parts += [(part.time, part.to_ndarray()[0]) for part in make.resample(frame) if part.time is not None]
    begin_s = parts[0][0]
    wave = np.zeros(round((parts[-1][0] - begin_s + 1) * HEARD_RATE) + len(parts[-1][1]), np.float32)
    at = None
    for time_s, samples in parts:
        exact = round((time_s - begin_s) * HEARD_RATE)
        at = exact if at is None or abs(exact - at) > HEARD_RATE / 50 else at
        wave[at : at + len(samples)] = samples
        at += len(samples)
    return begin_s, wave


def off_s(sound, at_s, film_s):
    """How much later than at `at_s` there is the film's sound of `film_s`; None where it is silent."""
    begin_s, wave = sound
    begin = round((at_s - begin_s - SEARCH_S) * HEARD_RATE)
    end = begin + round((WINDOW_S + 2 * SEARCH_S) * HEARD_RATE)
    piece = np.pad(wave[max(0, begin) : max(0, end)], (max(0, -begin), 0))
    if np.abs(piece).mean() < 1e-3:
        return None
    wanted = noise(HEARD_RATE, WINDOW_S, film_s)
    return int(np.correlate(piece, wanted, "valid").argmax()) / HEARD_RATE - SEARCH_S


def seen(path):
    """(second, number) of all pictures of a file."""
    with av.open(str(path)) as container:
        return [(frame.time, number_in(frame.to_ndarray(format="rgb24"))) for frame in container.decode(video=0)]


@dataclass
class Off:
    """How far an output is off: numbers that are there and not wanted or wanted and not there, and the worst times."""

    wrong: list[int]
    pictures_s: float
    sound_s: float
    silent: int


def off(output, spans_s, times_s, lag_s=0.0, film_s=None, first=0):
    """Measure an output made of spans (seconds after the first picture) of a source with pictures at `times_s`.

    They are at `film_s` in their film; default: as in the source, where parts may lie apart. The film's sound is
    `lag_s` late where it comes from, None: there is none. It is not measured across a step from part to part. `first`
    is the number of the first picture.
    """
    pictures, sound = seen(output), None if lag_s is None else heard(output)
    wrong, late_s, moved_s, silent, begin_s = [], [0.0], [0.0], 0, 0.0
    shown_s = {k: time_s - times_s[0] for k, time_s in enumerate(times_s, first)}
    ahead_s = np.subtract(times_s if film_s is None else film_s, times_s) + times_s[0]
    for from_s, to_s in spans_s:
        length_s = to_s - from_s
        found = {number: at_s for at_s, number in pictures if begin_s - 1e-4 <= at_s < begin_s + length_s - 1e-4}
        wanted = {number: time_s for number, time_s in shown_s.items() if from_s <= time_s < to_s}
        wrong += sorted(found.keys() ^ wanted.keys())
        late_s += [abs(found[n] - begin_s - (wanted[n] - from_s)) for n in found.keys() & wanted.keys()]
        for at_s in np.arange(0.05, length_s - WINDOW_S - 0.05, 0.2) if sound is not None else ():
            first, last = (np.searchsorted(times_s, times_s[0] + from_s + at_s + more) - 1 for more in (0, WINDOW_S))
            if abs(ahead_s[last] - ahead_s[first]) > STEP_S:
                continue
            moved = off_s(sound, begin_s + at_s, from_s + at_s + ahead_s[first])
            silent += moved is None
            moved_s += [] if moved is None else [abs(moved - lag_s)]
        begin_s += length_s
    return Off(wrong, max(late_s), max(moved_s), silent)


def sound_lag_s(source, times_s, film_s=0.0):
    """How much later than its pictures a film's sound is as it is stored; its first picture is at `film_s` of it."""
    with av.open(str(source)) as container:
        stream = container.streams.best("video")
        begin_s = float((stream.start_time or 0) * stream.time_base)
    middle_s = times_s[len(times_s) // 2] - times_s[0]
    return off_s(heard(source), begin_s + middle_s, film_s + times_s[0] + middle_s)
