"""One clock for all packets of a file.

It ascends where a file's own times start again (recordings joined end to end, a sender that was set anew) or leap by
hours (a recorder that was off), and notes where that is and where nothing was stored.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from av.format import Flags


MAX_BACK_S = 1.0  # times that go back by more have started again
MAX_GAP_S = 3600.0  # times that go on later than this have started anew; a lost reception takes minutes
GAP_S = 10.0  # nothing stored for longer is told
LATE_S = 0.5  # a container that begins later may count its length from there or from 0
FLV_LENGTH, FLV_BYTES = b"\x08duration\x00", 1024  # near the beginning; a recorder of live streams tells none, or 0
STANDS_S = 0.5  # the last picture stands where the sound lasts longer by more than this; encoders fill up less


@dataclass
class Track:
    """Where a stream is.

    `shift` leads from its own ticks to the clock, where its last packet is at `last_s` and all so far end at `end_s`.
    Packets that do not tell how long they last take `period_s`.
    """

    tick_s: float
    period_s: float = 0.0
    shift: int = 0
    last_s: float = -math.inf
    end_s: float = -math.inf

    def lasts_s(self, packet: Any) -> float:
        """Tell how long a packet lasts: as long as the one before it if an .mp4 says until after a leap."""
        told_s = (packet.duration or 0) * self.tick_s
        if 0 < told_s <= MAX_GAP_S:
            self.period_s = told_s
        return self.period_s


@dataclass(frozen=True)
class Leap:
    """Hours without anything stored: what is shown after `own_s`, of a file's own times, goes on `less_s` earlier."""

    own_s: float
    less_s: float


@dataclass
class State:
    """Where the clock is.

    `shift_s` leads from the times of the newest part to the clock; all packets so far end at `end_s`. Times start again
    at `joins_s`, and nothing is stored between the two of each of `gaps_s`.
    """

    tracks: dict[int, Track]
    shift_s: float = 0.0
    end_s: float = -math.inf
    joins_s: list[float] = field(default_factory=list)
    gaps_s: list[tuple[float, float]] = field(default_factory=list)

    def copy(self) -> State:
        """Copy what will change."""
        tracks = {index: replace(track) for index, track in self.tracks.items()}
        return replace(self, tracks=tracks, joins_s=[*self.joins_s], gaps_s=[*self.gaps_s])

    def fits(self, track: Track, own_s: float, gap_s: float = MAX_GAP_S) -> bool:
        """Tell whether a packet can follow the last one of its stream, with a gap before it of at most `gap_s`."""
        time_s = own_s + track.shift * track.tick_s
        return track.last_s == -math.inf or track.last_s - MAX_BACK_S < time_s < self.end_s + gap_s


class Clock:
    """Clock of one pass over a file's packets, in the order in which they are stored.

    Args:
        container: The open file.
        streams: Those whose packets are read, the pictures first; None stands for no stream.
        state: Where to go on; default: at the file's first packet.
        marked: Note where to go on at each key frame.
        leaps: Where the file's times leap (`reader.leaps`).
    """

    def __init__(
        self,
        container: Any,
        streams: Iterable[Any],
        state: State | None = None,
        marked: bool = False,
        leaps: tuple[Leap, ...] = (),
    ):
        self.streams = tuple(stream for stream in streams if stream is not None)
        self.may_turn = may_start_again(container)
        # Chunks of an .avi have a number and no time; FFmpeg 8.1 makes one up that neither ascends nor is right
        self.counts = format_of(container) == "avi"
        self.state = state.copy() if state else State({stream.index: track_of(stream) for stream in self.streams})
        self.leaps = leaps
        if not state:
            self.state.joins_s += [one.own_s - one.less_s for one in self.leaps]
        self._doubted: tuple[int, State] | None = None  # the stream that turned last, and the state before it did
        self._marked = marked
        self.marks: list[tuple[float, int, State]] = []  # key frames' seconds and bytes, and the state before them

    def place(self, packet: Any) -> bool:
        """Move a packet to this clock, and tell whether its stream's times start again or jump with it."""
        if self.counts and packet.dts is not None:
            packet.pts = packet.dts
        if packet.pts is None:
            return False
        move(packet, self.leaps)
        index, mark, turns = packet.stream_index, None, False
        if self._marked and packet.is_keyframe and packet.pos is not None and index == self.streams[0].index:
            mark = packet.pos, self.state.copy()
        state, track = self.state, self.state.tracks[index]
        tick_s = track.tick_s
        own_s = (packet.pts if packet.dts is None else packet.dts) * tick_s
        follows = track.last_s - MAX_BACK_S < own_s + track.shift * tick_s < state.end_s + GAP_S
        if self.may_turn and not (follows and self._doubted is None):
            turns = self._turn(index, own_s, packet.pts * tick_s)
            state, track = self.state, self.state.tracks[index]
        if track.shift:
            packet.pts += track.shift
            packet.dts = None if packet.dts is None else packet.dts + track.shift
        begin_s = packet.pts * tick_s
        # What is shown later than it is stored leaves no gap before what is shown until then
        if (own_s + track.shift * tick_s if self.may_turn else begin_s) > state.end_s + GAP_S > -math.inf:
            self._doubted = index, state.copy()
            state.gaps_s.append((state.end_s, begin_s))
            turns = True
        track.last_s = own_s + track.shift * tick_s
        end_s = begin_s + (track.lasts_s(packet) if self.leaps else (packet.duration or 0) * tick_s or track.period_s)
        if end_s > track.end_s:
            track.end_s = end_s
        if end_s > state.end_s:
            state.end_s = end_s
        if mark is not None:
            self.marks.append((begin_s, *mark))
        return turns

    def _turn(self, index: int, own_s: float, begin_s: float) -> bool:
        """Choose the shift of a stream whose packet is at `own_s` by its own times, and to be shown at `begin_s`."""
        state, track = self.state, self.state.tracks[index]
        if track.last_s == -math.inf:
            track.shift = round(state.shift_s / track.tick_s)
        doubted = self._doubted[1] if self._doubted is not None and self._doubted[0] == index else None
        if doubted:
            self._doubted = None
            if doubted.fits(doubted.tracks[index], own_s, GAP_S):
                self.state = doubted  # the times of one packet alone were wrong
                return False
        if state.fits(track, own_s):
            return False
        before = state.copy()
        track.shift = round(state.shift_s / track.tick_s)  # another stream has come to the next part already
        if not state.fits(track, own_s):
            self._doubted = index, before
            tick_s = state.tracks[self.streams[0].index].tick_s
            # The part begins where all before it has ended, a whole number of the pictures' ticks away
            state.shift_s = math.ceil((state.end_s - begin_s) / tick_s - 1e-3) * tick_s
            state.joins_s.append(begin_s + state.shift_s)
            track.shift = round(state.shift_s / track.tick_s)
        return True

    def own_s(self, time_s: float) -> float:
        """Tell which of the file's own times a time of this clock is, where that leaps."""
        return time_s + max((one.less_s for one in self.leaps if one.own_s - one.less_s <= time_s), default=0.0)

    @property
    def pictures_end_s(self) -> float:
        """Where the pictures end."""
        return self.state.tracks[self.streams[0].index].end_s

    def end_s(self, origin_s: float) -> float:
        """Tell where pictures and sound end, seen from `origin_s`; the last picture stands while there is sound."""
        pictures_s, *others_s = (self.state.tracks[stream.index].end_s for stream in self.streams)
        sound_s = max(others_s, default=-math.inf)
        return max(0.0, (sound_s if sound_s > pictures_s + STANDS_S else pictures_s) - origin_s)


def format_of(container: Any) -> str:
    """Return FFmpeg's name of a file's format; of several recordings in one (`parts`) that of each."""
    name: str = container.format.name
    return container.metadata["format"] if name == "concat" else name


def sound_of(container: Any) -> Any:
    """Return the best stream of sound, None if there is none; one that begins late tells nothing of itself before."""
    told = (stream for stream in container.streams.audio if stream.codec_context is not None)
    return container.streams.best("audio") or next(told, None)


def packets_of(container: Any, *streams: Any) -> Iterator[Any]:
    """Read the packets of streams from here on.

    PyAV 18 may end in an IndexError, after all of them, where other streams came up on the way.
    """
    try:
        yield from container.demux(*streams)
    except IndexError:
        return


def may_start_again(container: Any) -> bool:
    """Tell whether times may start again on the way, as in broadcasts and in an .flv recorded from a live stream.

    An .flv of more than an hour counts as one: it has no index, neither to tell nor to lead anywhere.
    """
    if container.format.name != "flv" or not os.path.isfile(container.name):  # one of several in a file is no file
        return bool(container.format.flags & Flags.ts_discont.value)
    with open(container.name, "rb") as file:
        told = file.read(FLV_BYTES).partition(FLV_LENGTH)[2]
    return len(told) < 8 or not 0 < struct.unpack(">d", told[:8])[0] <= MAX_GAP_S


def move(packet: Any, found: tuple[Leap, ...]) -> None:
    """Move a packet to where it is shown without the leaps."""
    if found and packet.pts is not None:
        own_s = float(packet.pts * packet.time_base)
        less = round(max((one.less_s for one in found if one.own_s < own_s), default=0.0) / packet.time_base)
        packet.pts, packet.dts = packet.pts - less, None if packet.dts is None else packet.dts - less


def track_of(stream: Any) -> Track:
    """Begin a stream; its pictures take a period of its average rate."""
    rate = stream.type == "video" and (stream.average_rate or stream.guessed_rate)
    return Track(float(stream.time_base), min(1.0, 1 / float(rate)) if rate else 0.0)
