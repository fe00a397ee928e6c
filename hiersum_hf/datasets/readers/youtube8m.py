"""Read YouTube-8M frame features without TensorFlow.

They come as TFRecord files of SequenceExamples and go into a Mr.HiSum h5. A TFRecord is a row of (length: uint64,
checksum of the length: uint32, payload, checksum of the payload: uint32), all little endian, checksums CRC-32C in a
masked form. Letters: T seconds (rows), one frame each.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hiersum_hf.files.atomic import aside
from hiersum_hf.files.h5_file import add_array, member_names, outlines
from hiersum_hf.modeling.errors_hiersum import InputError


RGB_WIDTH, AUDIO_WIDTH = 1024, 128
CASTAGNOLI = 0x82F63B78  # CRC-32C's polynomial, bits reversed
MASK_DELTA = 0xA282EAD8
# What a byte q stands for, by the name that goes into `Encoders.normalization`: q * 4 / 255 + offset
DEQUANTIZATIONS = {"mrhisum": -2.0, "official": 4 / 512 - 2.0}


def dequantize(q: np.ndarray, name: str) -> np.ndarray:
    """Convert bytes to float32 of the same shape.

    Args:
        q: uint8, any shape.
        name: "mrhisum", q * 4 / 255 - 2 as MR.HiSum's preparation does it, or "official", q * 4 / 255 + 4 / 512 - 2
            as YouTube-8M's own reader does it.

    Raises:
        ValueError: If the name is another one or `q` is not uint8.
    """
    if name not in DEQUANTIZATIONS:
        raise InputError(f"dequantisation: expected one of {', '.join(DEQUANTIZATIONS)}, found {name!r}")
    if q.dtype != np.uint8:
        raise InputError(f"dequantisation: expected uint8, found {q.dtype}")
    # YouTube-8M spread [-2, 2] over 256 bytes: steps of 4 / 255 from -2, to which its own reader adds 4 / 512, half a
    # 256th of the range. All 256 values are computed once and looked up. Not given in the paper.
    values: np.ndarray = (np.arange(256) * 4 / 255 + DEQUANTIZATIONS[name]).astype(np.float32)
    return np.take(values, q)


def read_tfrecord(path: str | Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Read a frame-level YouTube-8M file, one video after the other.

    The checksum of each length is verified, that of the payload is not: in Python it would cost more than the reading,
    and every row's width is checked.

    Yields:
        id (the four letters under which Mr.HiSum's metadata.csv knows the video as random_id), rgb (T, 1024) uint8,
        audio (T, 128) uint8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated or no TFRecord, or an example lacks its id, rgb or audio; the message
            names the file and the record, counted from 0.
    """
    with Path(path).open("rb") as file:
        number = 0
        try:
            while (payload := _next_payload(file)) is not None:
                yield parse_example(payload)
                number += 1
        except ValueError as error:
            raise InputError(f"{path}, record {number}: {error}. Fetch it again.") from None


def _next_payload(file: BinaryIO) -> bytes | None:
    """Read the next record's payload, None at the end of the file.

    Raises:
        ValueError: The file is cut off, or the checksum of the length is wrong.
    """
    # length: uint64 (8 bytes), its checksum: uint32 (4 bytes); after the payload come 4 bytes more.
    header = file.read(12)
    if not header:
        return None
    if len(header) < 12:
        raise InputError(f"expected a header of 12 bytes, found {len(header)}: the file is truncated")
    length, checksum = struct.unpack("<QI", header)
    if checksum != masked_crc32c(header[:8]):
        raise InputError("expected the checksum of the record's length, found another: damaged or no TFRecord")
    payload = file.read(length + 4)
    if len(payload) < length + 4:
        raise InputError(f"expected {length + 4} more bytes, found {len(payload)}: the file is truncated")
    return payload[:-4]


def masked_crc32c(data: bytes) -> int:
    """Compute TFRecord's checksum of a few bytes.

    It is CRC-32C, rotated and shifted so that it differs from a checksum inside.
    """
    # CRC-32C bit by bit, the lowest first: shift right, and where a 1 falls out, add the polynomial modulo 2.
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (CASTAGNOLI if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    # TFRecord's mask: rotate right by 15 bits, add a constant, keep 32 bits.
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def parse_example(payload: bytes) -> tuple[str, np.ndarray, np.ndarray]:
    """Parse (id, rgb, audio) of one serialised SequenceExample.

    Raises:
        ValueError: If it is no such message, or id, rgb or audio are missing or of another width.
    """
    # SequenceExample: field 1 `context` (Features), field 2 `feature_lists` (FeatureLists).
    context, lists = (_map(_joined(payload, number)) for number in (1, 2))
    ids = [name for key in ("id", "video_id") if key in context for name in _bytes_list(context[key])]
    if not ids or not {"rgb", "audio"} <= lists.keys():
        raise InputError(f"expected id, rgb and audio, found {sorted(context)} and {sorted(lists)}")
    return ids[0].decode(), _rows("rgb", lists["rgb"], RGB_WIDTH), _rows("audio", lists["audio"], AUDIO_WIDTH)


def _rows(key: str, feature_list: bytes, width: int) -> np.ndarray:
    """Join the rows of a FeatureList, (T, width) uint8.

    Each Feature has one string of bytes.
    """
    rows = [b"".join(_bytes_list(feature)) for feature in _fields(feature_list, 1)]
    wrong = [(number, len(row)) for number, row in enumerate(rows) if len(row) != width]
    if wrong:
        raise InputError(f"{key}, row {wrong[0][0]}: expected {width} bytes, found {wrong[0][1]}")
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)


def _bytes_list(feature: bytes) -> list[bytes]:
    """List the values of a Feature that holds a BytesList.

    Other kinds have none.
    """
    return _fields(_joined(feature, 1), 1)


def _map(data: bytes) -> dict[str, bytes]:
    """Read Features or FeatureLists, which are maps.

    Entries are in field 1, each with its key in field 1 and its value in field 2.
    """
    return {_joined(entry, 1).decode(): _joined(entry, 2) for entry in _fields(data, 1)}


def _joined(data: bytes, number: int) -> bytes:
    """Join the parts of the message in field `number`.

    protobuf merges a message that comes in parts by joining them.
    """
    return b"".join(_fields(data, number))


def _fields(data: bytes, number: int) -> list[bytes]:
    """List what is in field `number` of a serialised protobuf message.

    These are strings, bytes or messages, in order.
    """
    found, at = [], 0
    while at < len(data):
        # A tag is field number << 3 | wire type: 0 a varint, 1 eight bytes, 2 a length and so many bytes, 5 four bytes.
        tag, at = _varint(data, at)
        kind, size = tag & 7, 0
        if kind == 0:
            _, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise InputError(f"expected a protobuf message, found wire type {kind}")
        if at + size > len(data):
            raise InputError(f"expected a field of {size} bytes, found {len(data) - at}")
        if kind == 2 and tag >> 3 == number:
            found.append(data[at : at + size])
        at += size
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of variable length, and the position after it."""
    # Seven bits a byte, the lowest first; the top bit says that another byte follows.
    value, shift = 0, 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
    raise InputError("expected a whole number, found the end of the message")


def add_features(
    h5_path: str | Path,
    output: str | Path,
    tfrecords: Iterable[str | Path],
    record_ids: Mapping[str, str],
    dequantization: str = "mrhisum",
) -> list[str]:
    """Write a copy of `mr_hisum.h5` with frame features of YouTube-8M.

    Each member `features` (T, 1024) float32 gets the attribute `dequantization`. Groups that have features keep them,
    so shards can be added in several rounds, each from the output of the one before.

    Args:
        h5_path: A file with a group for each video.
        output: The copy, a new file; it appears under its name when it is complete.
        tfrecords: Frame-level files in any order.
        record_ids: Group name -> id inside the TFRecords, as `random_id` of `readers.mrhisum.read_metadata`
            tells; several groups may share one.
        dequantization: "mrhisum" or "official", see `dequantize`.

    Returns:
        The group names of `record_ids` that still have no features.

    Raises:
        FileNotFoundError: If an input is missing.
        ValueError: If the output exists, an input is damaged, or a group of `record_ids` is not in the h5.
        OSError: If the output cannot be written.
    """
    output = Path(output)
    if output.exists():
        raise InputError(f"{output}: expected a new file, found one that exists. Remove it, or choose another.")
    # Several groups may wait for one id: Mr.HiSum lists six videos twice.
    waiting = _without_features(Path(h5_path), record_ids)
    with aside(output) as partial:
        shutil.copyfile(h5_path, partial)
        for path in tfrecords:
            for record_id, rgb, _ in read_tfrecord(path):
                for video_id in waiting.pop(record_id, []):
                    features = dequantize(rgb, dequantization)
                    add_array(partial, f"{video_id}/features", features, {"dequantization": dequantization})
    return [video_id for videos in waiting.values() for video_id in videos]


def _without_features(h5_path: Path, record_ids: Mapping[str, str]) -> dict[str, list[str]]:
    """Map each id inside the TFRecords to the groups waiting for it.

    Raises:
        ValueError: The h5 lacks a group.
    """
    absent = sorted(record_ids.keys() - set(member_names(h5_path)))
    if absent:
        lacking = ", ".join(absent[:5])
        raise InputError(f"{h5_path}: expected groups for all videos, found none for {lacking}. Fetch it again.")
    waiting: dict[str, list[str]] = {}
    for video_id, found in outlines(h5_path, list(record_ids), ["features"]).items():
        if "features" not in found.members:
            waiting.setdefault(record_ids[video_id], []).append(video_id)
    return waiting
