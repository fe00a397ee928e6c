"""Videos with closed captions in their pictures, as American broadcasts have them."""

from dataclasses import replace

import av


NONE = 0xFC, 0x80, 0x80  # a code of line 21 that says nothing
DIGITAL = 0xFF, 0x02, 0x21  # the first of a packet of CEA-708


def codes(text, rolls=False):
    """The pairs of bytes that show a text: at once, or below what stands there already."""
    begin = [(0x14, 0x25), (0x14, 0x2D)] if rolls else [(0x14, 0x20), (0x14, 0x2E)]
    end = [] if rolls else [(0x14, 0x2F)]
    letters = text.encode() + b" " * (len(text) % 2)
    pairs = [*twice(begin), *twice([(0x14, 0x70)]), *zip(letters[::2], letters[1::2], strict=True), *twice(end)]
    return [tuple(byte | 0x80 * (byte.bit_count() % 2 == 0) for byte in pair) for pair in pairs]


def twice(pairs):
    """Control codes come twice, so that one may be lost."""
    return [pair for pair in pairs for _ in range(2)]


def captioned(folder, film, shown, rolls=False, digital=False):
    """A film whose pictures carry captions from the pictures on whose number they begin to be sent."""
    sent = {}
    for number, text in shown.items():
        sent |= {number + k: pair for k, pair in enumerate(codes(text, rolls))}
    path = folder / film.name
    with av.open(str(replace(film, name="plain.ts").write(folder))) as source, av.open(str(path), "w") as target:
        copies = [target.add_stream_from_template(one, opaque=True) for one in source.streams]
        pictures = source.streams.video[0]
        for packet in source.demux():
            if not packet.size:
                continue
            if packet.stream_index == pictures.index:
                number = round((packet.pts - pictures.start_time) * packet.time_base * film.rate)
                triplets = [DIGITAL if digital else NONE, (0xFC, *sent[number]) if number in sent else NONE]
                packet = _with(packet, triplets, film.codec)
            packet.stream = copies[0 if packet.stream_index == pictures.index else 1]
            target.mux(packet)
    return path


def _with(packet, triplets, codec):
    user = b"GA94\x03" + bytes([0x40 | len(triplets), 0xFF, *(byte for one in triplets for byte in one), 0xFF])
    content = bytes(packet)
    if codec == "mpeg2video":
        at = content.index(b"\0\0\1\1")  # the first slice
        content = content[:at] + b"\0\0\1\xb2" + user + content[at:]
    else:
        message = b"\xb5\0\x31" + user
        at = next(k for k in range(len(content)) if content[k : k + 3] == b"\0\0\1" and content[k + 3] & 31 in (1, 5))
        content = content[:at] + b"\0\0\1\x06\x04" + bytes([len(message)]) + message + b"\x80" + content[at:]
    made = av.Packet(content)
    made.pts, made.dts, made.duration, made.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    made.is_keyframe = packet.is_keyframe
    return made
