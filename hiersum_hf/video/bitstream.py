"""What is written in the packets of four codecs: where a decoder can begin, and sets of parameters of two encoders.

H.264 and HEVC keep what a decoder must know in parameter sets with numbers. Those of a second encoder get numbers that
the first does not use, so that one header holds both and a picture names those it needs. VP9 and AV1 tell it in each
key frame. Layouts are those of ITU-T H.264 and H.265, ISO/IEC 14496-15 and the AOM's specifications; nothing here is
given in the paper.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, ClassVar


START_CODE = re.compile(rb"\x00\x00\x00?\x01")
NEEDS_ESCAPE = re.compile(rb"\x00\x00(?=[\x00-\x03])")
LENGTH_BYTES = 4
RECOVERY_POINT = 6  # a supplemental message of H.264
MAIN_BITS, DEEP_BITS = "yuv420p", "yuv420p10le"


class NotExactError(ValueError):
    """Reason why pictures cannot be copied, as the end of a sentence."""


DAMAGED = "a part of it is damaged"
CHANGED = "its parameter sets change on the way"


class Vp9:
    """Packets of VP9, which need no header.

    Args:
        header: The extradata of the stream.
    """

    encoder = "libvpx-vp9"
    formats: tuple[str, ...] = (MAIN_BITS,)

    def __init__(self, header: bytes):
        self.header = header

    def begins(self, packet: Any) -> bool:
        """Tell whether a decoder can begin at a packet, and all after it but its leading pictures without others.

        Raises:
            NotExactError: It is damaged or changes parameters.
        """
        first = memoryview(packet)[0]
        if first >> 6 != 0b10:
            raise NotExactError(DAMAGED)
        # After two bits and two of the profile: a new picture, a key frame, shown at once
        return first & 0b1110 == 0b0010

    def is_key(self, packet: Any) -> bool:
        """Tell whether a packet that is marked as a key frame is one of any kind."""
        return self.begins(packet)

    def options(self, quality: bool, deep: bool) -> dict[str, str]:
        """Give the encoder's options; `quality` takes its time, `deep` is more than 8 bit."""
        speed = {"deadline": "good", "cpu-used": "3"} if quality else {"deadline": "realtime", "cpu-used": "7"}
        return {"crf": "16", "b": "0", "lag-in-frames": "0", "auto-alt-ref": "0"} | speed

    def joined(self, header: bytes) -> bytes:
        """Give a header for the source's packets and those of an encoder with this one."""
        return self.header

    def own(self, data: bytes) -> bytes:
        """Change an encoder's packet so that it goes with the source's."""
        return data

    def first(self, data: bytes) -> bytes:
        """Change the source's packet at which a decoder begins anew."""
        return data


class Av1(Vp9):
    """Packets of AV1, whose key frames come with a sequence header."""

    encoder = "libsvtav1"
    formats = (MAIN_BITS, DEEP_BITS)
    _SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6

    def __init__(self, header: bytes):
        super().__init__(header)
        self._sequence: bytes | None = None

    def begins(self, packet: Any) -> bool:
        has_sequence = False
        for kind, data in self._units(memoryview(packet)):
            if kind == self._SEQUENCE:
                has_sequence, self._sequence = True, self._sequence or bytes(data)
                if bytes(data) != self._sequence:
                    raise NotExactError(CHANGED)
            elif kind in (self._FRAME, self._FRAME_HEADER):
                # A new picture, a key frame, shown at once
                return has_sequence and data[0] >> 4 == 0b0001
        return False

    def _units(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        at = 0
        while at < len(data):
            head = data[at]
            at += 2 if head & 0b100 else 1
            size, shift = len(data) - at, 0
            if head & 0b10:
                size = 0
                while at < len(data):
                    size |= (data[at] & 127) << shift
                    shift, at = shift + 7, at + 1
                    if data[at - 1] < 128:
                        break
            if head & 0b1000_0001 or size > len(data) - at:
                raise NotExactError(DAMAGED)
            yield head >> 3 & 15, data[at : at + size]
            at += size

    def options(self, quality: bool, deep: bool) -> dict[str, str]:
        os.environ.setdefault("SVT_LOG", "0")  # else it tells its settings on stderr
        # Of 10 bit faster presets look at 8: there are 28 dB where 47 are asked for (SVT-AV1 4.1)
        preset = "7" if quality or deep else "9"
        return {"crf": "16", "preset": preset, "svtav1-params": "pred-struct=1:lp=1"}


class Avc(Vp9):
    """Packets of H.264 as in .mp4, each unit after its length."""

    encoder = "libx264"
    formats: tuple[str, ...] = (MAIN_BITS, "yuvj420p")
    _SETS: ClassVar[set[int]] = {7, 8}
    _PROFILES: ClassVar[dict[int, str]] = {66: "baseline", 77: "main", 100: "high"}

    def __init__(self, header: bytes):
        super().__init__(header)
        if not header or header[0] != 1:
            raise NotExactError("its parameter sets are not stored beside it")
        if self._length_bytes() != LENGTH_BYTES:
            raise NotExactError(f"its units have lengths of {self._length_bytes()} bytes")
        try:
            self._lists = self._parsed()
        except IndexError as error:
            raise NotExactError("its header cannot be read") from error
        self.sets = {data for _, units in self._lists for data in units}
        ids = [_ids(data[1:]) for data in self.sets if self.kind(data) == 8]
        # The lowest number that names neither kind of set
        self._id = next(number for number in range(257) if number not in {one for pair in ids for one in pair})
        if self._id > 31:
            raise NotExactError("it has too many parameter sets")

    def _length_bytes(self) -> int:
        return (self.header[4] & 3) + 1

    def _parsed(self) -> list[tuple[int, list[bytes]]]:
        """Give the lists of sets, each with what is written before it."""
        lists, at = [], 5
        for mask in (31, 255):
            head, at, units = self.header[at], at + 1, []
            for _ in range(head & mask):
                unit, at = _sized(self.header, at)
                units.append(unit)
            lists.append((head & ~mask, units))
        self._rest = self.header[at:]
        return lists

    @staticmethod
    def kind(unit: Any) -> int:
        """Tell the kind of a unit."""
        return int(unit[0] & 31)

    def _units(self, data: memoryview) -> Iterator[memoryview]:
        at = 0
        while at < len(data):
            size = int.from_bytes(data[at : at + LENGTH_BYTES])
            at += LENGTH_BYTES
            if not 1 < size <= len(data) - at or data[at] & 128:
                raise NotExactError(DAMAGED)
            yield data[at : at + size]
            at += size

    def _kinds(self, packet: Any) -> list[int]:
        """Give the kinds of a packet's units, of its messages those of the messages as negative numbers."""
        kinds = []
        for unit in self._units(memoryview(packet)):
            kinds.append(self.kind(unit))
            if kinds[-1] in self._SETS and bytes(unit) not in self.sets:
                raise NotExactError(CHANGED)
            if kinds[-1] == 6:
                kinds += [-message for message in _messages(unit)]
        return kinds

    def begins(self, packet: Any) -> bool:
        return {kind for kind in self._kinds(packet) if 1 <= kind <= 5} == {5}

    def is_key(self, packet: Any) -> bool:
        return self.begins(packet) or -RECOVERY_POINT in self._kinds(packet)

    def options(self, quality: bool, deep: bool) -> dict[str, str]:
        if self.header[1] not in self._PROFILES:
            raise NotExactError(f"no encoder here makes its profile, number {self.header[1]}")
        own = {"profile": self._PROFILES[self.header[1]], "level": f"{self.header[3] / 10:g}"}
        own |= {"x264-params": f"sps-id={self._id}"}
        return {"crf": "18", "bf": "0", "preset": "medium" if quality else "veryfast"} | own

    def joined(self, header: bytes) -> bytes:
        ours, written = _split(header), self.header[:5]
        for (head, units), kind in zip(self._lists, (7, 8), strict=True):
            both = units + [unit for unit in ours if self.kind(unit) == kind]
            written += bytes([head | len(both)]) + b"".join(map(_with_size, both))
        return written + self._rest

    def own(self, data: bytes) -> bytes:
        return b"".join(len(unit).to_bytes(LENGTH_BYTES) + unit for unit in _split(data))


class Hevc(Avc):
    """Packets of HEVC as in .mp4.

    x265 gives all its sets the number 0. Numbers from 15 to 30 are written in 9 bits and 0 in one, so that another
    number moves what follows it by a whole byte, and nothing else changes.
    """

    encoder = "libx265"
    formats = (MAIN_BITS, "yuvj420p", DEEP_BITS)
    _SETS: ClassVar[set[int]] = {32, 33, 34}
    _SPS_ID = 15
    _BLA_N_LP, _CRA = 16, 21

    def __init__(self, header: bytes):
        super().__init__(header)
        pairs = [_ids(data[2:]) for data in self.sets if self.kind(data) == 34]
        used = {pps for pps, _ in pairs}, {data[2] >> 4 for data in self.sets if self.kind(data) == 32}
        self._pps_id = next((number for number in range(15, 31) if number not in used[0]), None)
        self._vps_id = next((number for number in range(1, 16) if number not in used[1]), None)
        if self._SPS_ID in {sps for _, sps in pairs} or None in (self._pps_id, self._vps_id):
            raise NotExactError("it has too many parameter sets")

    def _length_bytes(self) -> int:
        return (self.header[21] & 3) + 1

    def _parsed(self) -> list[tuple[int, list[bytes]]]:
        lists, at = [], 23
        for _ in range(self.header[22]):
            head, count, at, units = self.header[at], int.from_bytes(self.header[at + 1 : at + 3]), at + 3, []
            for _ in range(count):
                unit, at = _sized(self.header, at)
                units.append(unit)
            lists.append((head, units))
        return lists

    @staticmethod
    def kind(unit: Any) -> int:
        return int(unit[0] >> 1 & 63)

    def _kinds(self, packet: Any) -> list[int]:
        kinds = []
        for unit in self._units(memoryview(packet)):
            kinds.append(self.kind(unit))
            if kinds[-1] in self._SETS and bytes(unit) not in self.sets:
                raise NotExactError(CHANGED)
            if kinds[-1] == 62:
                raise NotExactError("it is Dolby Vision")
            if unit[0] & 1 or unit[1] >> 3:
                raise NotExactError("it has several layers")
        return kinds

    def begins(self, packet: Any) -> bool:
        return next((16 <= kind <= 21 for kind in self._kinds(packet) if kind < 32), False)

    def is_key(self, packet: Any) -> bool:
        return self.begins(packet)

    def options(self, quality: bool, deep: bool) -> dict[str, str]:
        own = "log-level=none:bframes=0:repeat-headers=0:info=0:open-gop=0:pools=none:frame-threads=1"
        return {"crf": "18", "preset": "veryfast" if quality else "ultrafast", "x265-params": own}

    def joined(self, header: bytes) -> bytes:
        lists = {head & 63: (head, [*units]) for head, units in self._lists}
        for unit in map(self._numbered, _split(header)):
            if self.kind(unit) in self._SETS:
                lists.setdefault(self.kind(unit), (self.kind(unit), []))[1].append(unit)
        written = self.header[:22] + bytes([len(lists)])
        for head, units in lists.values():
            written += bytes([head]) + len(units).to_bytes(2) + b"".join(map(_with_size, units))
        return written

    def own(self, data: bytes) -> bytes:
        return b"".join(len(unit).to_bytes(LENGTH_BYTES) + unit for unit in map(self._numbered, _split(data)))

    def _numbered(self, unit: bytes) -> bytes:
        """Give an encoder's unit the numbers of its sets."""
        kind = self.kind(unit)
        if kind > 34:
            return unit
        content = bytearray(unit[2:].replace(b"\0\0\3", b"\0\0"))
        if kind in (32, 33):
            content[0] = (self._vps_id or 0) << 4 | content[0] & 15
        if kind == 33:
            _renumber(content, 13 * 8, self._SPS_ID)  # after profile, tier and level
        elif kind == 34:
            _renumber(content, 0, self._pps_id or 0)
            _renumber(content, 9, self._SPS_ID)
        elif kind < 32:
            _renumber(content, 2 if 16 <= kind <= 23 else 1, self._pps_id or 0)
        return unit[:2] + NEEDS_ESCAPE.sub(b"\0\0\3", bytes(content))

    def first(self, data: bytes) -> bytes:
        """Call a key frame with leading pictures one without: after other pictures these would count as its own."""
        changed = bytearray(data)
        at = 0
        for unit in self._units(memoryview(data)):
            at += LENGTH_BYTES
            if self.kind(unit) == self._CRA:
                changed[at] = self._BLA_N_LP << 1
            at += len(unit)
        return bytes(changed)


FORMS: dict[str, type[Vp9]] = {"h264": Avc, "hevc": Hevc, "vp9": Vp9, "av1": Av1}


def _split(data: bytes) -> list[bytes]:
    """Give the units of an encoder, which come after start codes."""
    return [unit for unit in START_CODE.split(data) if unit]


def _sized(header: bytes, at: int) -> tuple[bytes, int]:
    """Read a unit after its size, and tell where it ends."""
    end = at + 2 + int.from_bytes(header[at : at + 2])
    if end > len(header):
        raise IndexError
    return header[at + 2 : end], end


def _with_size(unit: bytes) -> bytes:
    return len(unit).to_bytes(2) + unit


def _ids(content: bytes) -> tuple[int, int]:
    """Read the two numbers that begin a picture parameter set: its own and that of its sequence's."""
    bits = "".join(f"{byte:08b}" for byte in content.replace(b"\0\0\3", b"\0\0")[:8])
    numbers = []
    for _ in range(2):
        zeros = len(bits) - len(bits.lstrip("0"))
        numbers.append(int(bits[zeros : 2 * zeros + 1] or "1", 2) - 1)
        bits = bits[2 * zeros + 1 :]
    return numbers[0], numbers[1]


def _messages(unit: memoryview) -> Iterator[int]:
    """Yield the kinds of a unit's supplemental messages."""
    content, at = bytes(unit).replace(b"\0\0\3", b"\0\0"), 1
    while at + 2 < len(content):
        sizes = []
        for _ in range(2):  # kind and size are sums of bytes, of which 255 means that another follows
            total = 0
            while at < len(content) and content[at] == 255:
                total, at = total + 255, at + 1
            sizes.append(total + (content[at] if at < len(content) else 0))
            at += 1
        yield sizes[0]
        at += sizes[1]


def _renumber(content: bytearray, bit: int, number: int) -> None:
    """Write a number from 15 to 30 in place of 0, in 9 bits in place of one."""
    byte, before = divmod(bit, 8)
    if not content[byte] >> (7 - before) & 1 or not 15 <= number <= 30:
        raise NotExactError("the encoder's parameter sets have other numbers than it is known for")
    high, low = content[byte] >> (8 - before), content[byte] & (1 << (7 - before)) - 1
    content[byte : byte + 1] = (high << (16 - before) | number + 1 << (7 - before) | low).to_bytes(2)
