"""What there is to see and to hear at each sampled frame.

Pictures may be blank or not move; there may be sound or silence. Letters: N sampled frames. Nothing here is given in
the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hiersum_hf.video.reader import VideoFile
from hiersum_hf.video.sound import Samples, sound_packets


POINTS = 128  # of a picture's longer side that are looked at
BLANK = 6.0  # standard deviation of grey levels, of 255; a dark film picture has 7 and more
STILL = 0.8  # mean difference of colour levels from one sampled frame to the next; calm film and people have 0.9
PULSE = 2.5  # of one sample between still ones: a codec's key frame
STILL_S = 3.0  # pictures that stand shorter are seen as moving
SPEECH_S = 4.0  # a still picture this near to a sentence is spoken to
SILENT_DB, QUIETER_DB = -50.0, 25.0  # below full scale; below the loud parts
RATE = 8000


@dataclass
class Glances:
    """How full each sampled picture is, and how it changes.

    It notes how much there is in a picture, and how much that differs from the one before.

    Args:
        contrast: (N,) standard deviation of its grey levels.
        change: (N,) mean absolute difference of its colour levels, infinite for the first picture and new sizes.
    """

    contrast: list[float] = field(default_factory=list)
    change: list[float] = field(default_factory=list)

    def watch(self, frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[tuple[float, np.ndarray]]:
        """Pass frames on, and note what they show.

        Some points of each are looked at.
        """
        before = np.zeros((0, 0, 3), np.int16)
        for time_s, image in frames:
            step = max(1, max(image.shape[:2]) // POINTS)
            points = image[::step, ::step].astype(np.int16)
            self.contrast.append(float(points.mean(axis=2).std()))
            same_size = before.shape == points.shape
            self.change.append(float(np.abs(points - before).mean()) if same_size else np.inf)
            before = points
            yield time_s, image


def still_stretches(change: np.ndarray, edges_s: np.ndarray) -> np.ndarray:
    """Mark the stretches in which the picture stands still, (N,).

    Each has a number and lasts at least 3 s; -1 stands where the picture moves.

    Args:
        change: (N,) as `Glances` has it, NaN where unknown.
        edges_s: (N + 1,) seconds that each frame stands for.
    """
    # A frame is still if it hardly changed, or changed little between two that hardly did
    still = change < STILL
    around = np.pad(still, 1)
    still |= (change < PULSE) & around[:-2] & around[2:]
    starts = np.flatnonzero(~still)
    starts = np.unique(np.append(0, starts))
    ends = np.append(starts[1:], len(change))
    numbers = np.full(len(change), -1)
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if end - start > 1 and edges_s[end] - edges_s[start] >= STILL_S:
            numbers[start:end] = number
    return numbers


def nothing_there(glances: Glances, edges_s: np.ndarray, said: np.ndarray | None) -> np.ndarray:
    """Tell where nothing is to be seen or heard, (N,).

    That is a blank picture at which nothing is said, or one that stands still, 4 s and more from where something is.

    Args:
        glances: Of the N sampled pictures.
        edges_s: (N + 1,) seconds that each frame stands for.
        said: (N,) something is said, or heard, at the frame; None where that is not known, and only blank pictures
            show nothing.
    """
    contrast, change = np.array(glances.contrast), np.array(glances.change)
    if said is None:
        return contrast < BLANK
    # Seconds from the middle of each frame to that of the nearest frame at which something is said
    middles_s = (edges_s[1:] + edges_s[:-1]) / 2
    spoken_s = middles_s[said]
    if len(spoken_s):
        right = np.clip(np.searchsorted(spoken_s, middles_s), 0, len(spoken_s) - 1)
        away_s = np.minimum(np.abs(spoken_s[right] - middles_s), np.abs(spoken_s[np.maximum(right - 1, 0)] - middles_s))
    else:
        away_s = np.full(len(middles_s), np.inf)
    still = still_stretches(change, edges_s) >= 0
    nothing: np.ndarray = ((contrast < BLANK) & ~said) | (still & (away_s >= SPEECH_S))
    return nothing


class Sound:
    """How loud a video is from moment to moment.

    It is noted packet by packet.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[float, float, int]] = []  # middle in seconds, energy, samples
        self._decoder = Samples(RATE)

    def hear(self, packet: Any, origin_s: float) -> None:
        """Note the sound of a packet.

        What cannot be decoded is passed over.

        Args:
            packet: Of the audio stream.
            origin_s: Start of the pictures on the file's clock.
        """
        for time_s, samples in self._decoder.of(packet):
            middle_s = time_s - origin_s + len(samples) / RATE / 2
            self._parts.append((middle_s, float(samples @ samples), len(samples)))

    def at(self, edges_s: np.ndarray) -> np.ndarray:
        """Tell at which sampled frames there is sound, (N,).

        None of them has any without a stream of it. Silent is what is 25 dB below the loud parts (the loudest tenth) or
        50 dB below full scale.

        Args:
            edges_s: (N + 1,) seconds that each frame stands for.
        """
        # Level of a frame: 10 log10(mean square of the samples within its edges), in dB below full scale
        parts = np.array(self._parts).reshape(-1, 3)
        frame = np.searchsorted(edges_s, parts[:, 0], side="right") - 1
        inside = (frame >= 0) & (frame < len(edges_s) - 1)
        energy, count = (np.bincount(frame[inside], parts[inside, k], len(edges_s) - 1) for k in (1, 2))
        if not count.any():
            return count > 0
        level_db = 10 * np.log10(energy / np.maximum(count, 1) + 1e-12)
        loud: np.ndarray = level_db > max(SILENT_DB, float(np.quantile(level_db, 0.9)) - QUIETER_DB)
        return loud


def heard(video: str | Path | VideoFile, edges_s: np.ndarray) -> np.ndarray:
    """Tell at which sampled frames a video is not silent, (N,).

    No picture is decoded. See `Sound.at`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not readable.
    """
    sound = Sound()
    for packet, origin_s in sound_packets(video):
        sound.hear(packet, origin_s)
    return sound.at(edges_s)
