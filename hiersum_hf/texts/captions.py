"""Closed captions inside the pictures, as American broadcasts have them (CEA-608 in ATSC A/53).

They are read from the packets; no picture is decoded. ttconv reads the captions themselves, as those of an SCC file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Sentence
from hiersum_hf.texts.structured import scc_cues
from hiersum_hf.texts.subtitles import sentences_of_cues
from hiersum_hf.video.faults import Faults, stream_start_s
from hiersum_hf.video.reader import VideoFile, clock_of_pass, readable_packets


CODECS = {"mpeg1video", "mpeg2video", "h264", "hevc", "av1"}
# What stands before captions: of H.264, HEVC and AV1 the code of the country and of the ATSC, of MPEG-2 its user data
MARK = re.compile(rb"(?:\xb5\x00\x31|\x00\x00\x01\xb2)GA94\x03")
LOOKED_AT, BYTES = (0.25, 0.5, 0.75), 2**20  # parts of a file, each picture of which has captions, or none has
ESCAPED = {"h264", "hevc"}  # put a 3 behind two zeros where these could be taken for the beginning of a unit
VALID, LINE_21, DIGITAL = 0b111, 0b100, (0b110, 0b111)  # valid bytes of CEA-608's first field; of CEA-708
SCC_FPS = 30000 / 1001
CLEAR = "942c 942c"
MAX_PAIRS = 2_000_000  # of two letters: three days of speech; a crafted file may hold millions more


def closed_captions(video: str | Path | VideoFile) -> tuple[list[Sentence], str, list[str]]:
    """Read the captions that the pictures of a video carry, of the first channel (CC1).

    Returns:
        (sentences, what was read, notes), all empty where there are none. A note says where there are only captions of
        a kind that is not read.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not readable.
    """
    file = video if isinstance(video, VideoFile) else VideoFile(video)
    name = Path(file.path)
    if not name.is_file() or not _has_mark(name):
        return [], "", []
    codes, is_digital = Codes(), False
    with file.packets() as (container, stream):
        if (codec := stream.codec_context.codec.canonical_name) not in CODECS:
            return [], "", []
        origin_s = stream_start_s(stream)
        for packet in readable_packets(container, stream, Faults(), clock_of_pass(container, stream)):
            if packet.stream_index != stream.index or packet.pts is None:
                continue
            triplets = [*_triplets(bytes(packet), codec in ESCAPED)]
            is_digital |= any(triplet[0] & VALID in DIGITAL for triplet in triplets)
            codes.add(float(packet.pts * packet.time_base) - origin_s, triplets)
    source = f"the closed captions in the pictures of {file.path}"
    found = codes.sentences()
    if not found and (codes.has_text or is_digital):
        to_do = f'Extract them: ccextractor "{name.name}" -o "{name.stem}.srt"'
        return [], source, [f"{source} are of a kind that is not read. {to_do}."]
    return found, source, []


class Codes:
    """Caption codes of CEA-608's first field, as they were sent.

    Attributes:
        has_text: There are letters among them.
    """

    def __init__(self) -> None:
        self._pairs, self._end_s, self.has_text = list[tuple[float, bytes]](), 0.0, False

    def add(self, time_s: float, triplets: Iterable[bytes]) -> None:
        """Note codes, each behind its kind, that were sent with a picture."""
        self._end_s = max(self._end_s, time_s)
        for triplet in triplets:
            kind, pair = triplet[0] & VALID, triplet[1:]
            if kind == LINE_21 and any(byte & 0x7F for byte in pair) and len(self._pairs) < MAX_PAIRS:
                self.has_text |= pair[0] & 0x7F >= ord(" ")
                self._pairs.append((time_s, pair))

    def sentences(self) -> list[Sentence]:
        """Read what the codes show, nothing if they cannot be read."""
        if not self.has_text:
            return []
        try:
            cues = scc_cues(_scc(sorted(self._pairs, key=lambda one: one[0]), self._end_s), "captions").cues
        except InputError:
            return []
        return sentences_of_cues(cues)


def _has_mark(path: Path) -> bool:
    """Tell by some of its bytes whether a file has captions in its pictures."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        for share in LOOKED_AT:
            file.seek(max(0, int(size * share) - BYTES // 2))
            if b"GA94\x03" in file.read(BYTES):
                return True
    return False


def _triplets(content: bytes, is_escaped: bool) -> Iterator[bytes]:
    """Read the kind and the two bytes of each caption code of a packet."""
    for mark in MARK.finditer(content):
        codes = content[mark.end() : mark.end() + 2 + 31 * 3 * 3 // 2]
        codes = codes.replace(b"\0\0\3", b"\0\0") if is_escaped else codes
        yield from triplets_of(codes[2 : 2 + 3 * (codes[0] & 31 if codes else 0)])


def triplets_of(codes: bytes) -> Iterator[bytes]:
    """Part caption codes, each of which has its kind and two bytes."""
    for at in range(0, len(codes) - 2, 3):
        yield codes[at : at + 3]


def _scc(pairs: list[tuple[float, bytes]], end_s: float) -> str:
    """Write caption codes, ascending, as an SCC file: lines of codes that follow each other without a gap."""
    lines, last = ["Scenarist_SCC V1.0"], -1
    for time_s, pair in pairs:
        at = max(last + 1, round(time_s * SCC_FPS))
        if at > last + 1 or len(lines) == 1:
            lines.append(f"\n{_scc_time(at)}\t{pair.hex()}")
        else:
            lines[-1] += f" {pair.hex()}"
        last = at
    return "\n".join([*lines, f"\n{_scc_time(max(last + 1, round(end_s * SCC_FPS)))}\t{CLEAR}\n"])


def _scc_time(frame: int) -> str:
    seconds, frames = divmod(frame, 30)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frames:02d}"
