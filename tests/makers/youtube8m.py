"""YouTube-8M's files as TensorFlow writes them."""

import struct

import numpy as np

from hiersum_hf.datasets.readers.youtube8m import masked_crc32c


def field(number: int, content: bytes) -> bytes:
    """One length-delimited protobuf field."""
    size, length = len(content), b""
    while True:
        size, low = size >> 7, size & 127
        length += bytes([low | (128 if size else 0)])
        if not size:
            return bytes([number << 3 | 2]) + length + content


def bytes_feature(value: bytes) -> bytes:
    return field(1, field(1, value))


def entry(key: str, value: bytes) -> bytes:
    return field(1, field(1, key.encode()) + field(2, value))


def rows_of(array: np.ndarray) -> bytes:
    return b"".join(field(1, bytes_feature(row.tobytes())) for row in array)


def example(name: str, rgb: np.ndarray, audio: np.ndarray, id_key: str = "id") -> bytes:
    """A SequenceExample with labels (varints 5 and 300, not packed) before the id, as the published files have them."""
    labels = field(3, b"\x08\x05\x08\xac\x02")
    context = entry("labels", labels) + entry(id_key, bytes_feature(name.encode()))
    return field(1, context) + field(2, entry("audio", rows_of(audio)) + entry("rgb", rows_of(rgb)))


def framed(payload: bytes) -> bytes:
    header = struct.pack("<Q", len(payload))
    return header + struct.pack("<I", masked_crc32c(header)) + payload + struct.pack("<I", 0)
