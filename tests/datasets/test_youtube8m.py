"""YouTube-8M files must be read as TensorFlow writes them, and a damaged one must not pass for a shorter one."""

import h5py
import numpy as np
import pytest

from hiersum_hf.datasets.readers.youtube8m import add_features, dequantize, masked_crc32c, parse_example, read_tfrecord
from tests.makers.youtube8m import bytes_feature, entry, example, field, framed, rows_of


def features(seed: int, seconds: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (seconds, 1024), np.uint8), rng.integers(0, 256, (seconds, 128), np.uint8)


@pytest.fixture
def shard(tmp_path):
    videos = {"ORaA": features(0, 3), "IwaA": features(1, 1), "none": features(2, 0)}
    path = tmp_path / "train0026.tfrecord"
    path.write_bytes(b"".join(framed(example(name, *arrays)) for name, arrays in videos.items()))
    return path, videos


def test_checksum_of_published_vectors():
    # CRC-32C of "123456789" is e3069283, of 32 zeros 8a9136aa (RFC 3720); rotated right by 15, plus a282ead8
    assert masked_crc32c(b"123456789") == (0x2507C60D + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc32c(bytes(32)) == (0x6D551522 + 0xA282EAD8) & 0xFFFFFFFF


def test_videos_come_back_as_written(shard):
    path, videos = shard
    found = list(read_tfrecord(path))
    assert [name for name, _, _ in found] == list(videos)
    for name, rgb, audio in found:
        assert rgb.dtype == audio.dtype == np.uint8
        np.testing.assert_array_equal(rgb, videos[name][0])
        np.testing.assert_array_equal(audio, videos[name][1])


def test_older_id_and_parts_and_foreign_fields():
    rgb, audio = features(3, 2)
    whole = example("aXbY", rgb, audio, id_key="video_id")
    split = field(2, entry("audio", rows_of(audio))) + whole + b"\x18\x07" + b"\x21" + bytes(8) + b"\x2d" + bytes(4)
    name, found, _ = parse_example(split)  # feature lists in two parts; fields of the three other wire types
    assert name == "aXbY"
    np.testing.assert_array_equal(found, rgb)


def test_a_file_cut_anywhere_is_truncated(shard):
    path, _ = shard
    content = path.read_bytes()
    first = len(framed(example("ORaA", *features(0, 3))))
    for length in (5, 12, 1000, first - 1, first + 7, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"train0026\.tfrecord, record \d: .*truncated"):
            list(read_tfrecord(path))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (
            example("a", np.zeros((2, 1000), np.uint8), np.zeros((2, 128), np.uint8)),
            "rgb, row 0: expected 1024 .* 1000",
        ),
        (example("a", np.zeros((2, 1024), np.uint8), np.zeros((2, 64), np.uint8)), "audio, row 0: expected 128 .* 64"),
        (example("a", *features(0, 1), id_key="name"), r"expected id, rgb and audio, found \['labels', 'name'\]"),
        (field(1, entry("id", bytes_feature(b"a"))), r"expected id, rgb and audio, found \['id'\] and \[\]"),
        (b"\x0a\xff\x01abc", "expected a field of 255 bytes, found 3"),
        (b"\x0b", "wire type 3"),
        (b"\x0a\x80", "end of the message"),
    ],
)
def test_wrong_examples_say_what_is_wrong(tmp_path, payload, message):
    path = tmp_path / "x.tfrecord"
    path.write_bytes(framed(example("ok", *features(0, 1))) + framed(payload))
    with pytest.raises(ValueError, match=rf"x\.tfrecord, record 1: .*{message}"):
        list(read_tfrecord(path))


def test_other_files_are_no_tfrecords(tmp_path):
    (tmp_path / "page.html").write_text("<html><body>not found</body></html>")
    with pytest.raises(ValueError, match=r"page\.html, record 0: expected the checksum"):
        list(read_tfrecord(tmp_path / "page.html"))
    with pytest.raises(FileNotFoundError, match="gone"):
        list(read_tfrecord(tmp_path / "gone"))
    (tmp_path / "empty").touch()
    assert list(read_tfrecord(tmp_path / "empty")) == []


def test_both_dequantisations():
    q = np.array([[0, 255, 51]], np.uint8)
    np.testing.assert_allclose(dequantize(q, "mrhisum"), [[-2, 2, -1.2]], atol=1e-6)  # 51 is a fifth of 255
    np.testing.assert_allclose(dequantize(q, "official"), [[-1.9921875, 2.0078125, -1.1921875]], atol=1e-6)
    assert dequantize(q, "official").dtype == np.float32
    with pytest.raises(ValueError, match="expected one of mrhisum, official, found 'tf'"):
        dequantize(q, "tf")
    with pytest.raises(ValueError, match="expected uint8, found int64"):
        dequantize(q.astype(np.int64), "official")


@pytest.fixture
def h5(tmp_path):
    path = tmp_path / "mr_hisum.h5"
    with h5py.File(path, "w") as file:
        for number in range(1, 5):
            file[f"video_{number}/gtscore"] = np.linspace(0, 1, 3)
    return path


def test_features_are_added_in_rounds(h5, shard, tmp_path):
    path, videos = shard
    other = tmp_path / "train0027.tfrecord"
    other.write_bytes(framed(example("late", *features(9, 2))))
    ids = {"video_1": "ORaA", "video_2": "late", "video_3": "ORaA"}  # one video under two names
    before = h5.read_bytes()
    assert add_features(h5, tmp_path / "a.h5", [path], ids, "official") == ["video_2"]
    assert add_features(tmp_path / "a.h5", tmp_path / "b.h5", [path, other], ids) == []
    assert h5.read_bytes() == before
    with h5py.File(tmp_path / "b.h5") as file:
        for name in ("video_1", "video_3"):
            np.testing.assert_array_equal(file[name]["features"][()], dequantize(videos["ORaA"][0], "official"))
            assert file[name]["features"].attrs["dequantization"] == "official"
        assert file["video_2/features"].attrs["dequantization"] == "mrhisum"
        assert "features" not in file["video_4"]
        assert file["video_4/gtscore"].shape == (3,)


def test_failure_leaves_no_output(h5, shard, tmp_path):
    path, _ = shard
    files = {file.name for file in tmp_path.iterdir()}
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="truncated"):
        add_features(h5, tmp_path / "out.h5", [path], {"video_1": "late"})
    with pytest.raises(ValueError, match=r"mr_hisum\.h5: expected groups for all videos, found none for video_9"):
        add_features(h5, tmp_path / "out.h5", [], {"video_9": "ORaA"})
    with pytest.raises(FileNotFoundError, match="gone"):
        add_features(tmp_path / "gone.h5", tmp_path / "out.h5", [], {})
    with pytest.raises(ValueError, match=r"mr_hisum\.h5: expected a new file"):
        add_features(h5, h5, [], {})
    h5.write_bytes(h5.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"mr_hisum\.h5: expected a complete HDF5 file"):
        add_features(h5, tmp_path / "out.h5", [], {})
    assert {file.name for file in tmp_path.iterdir()} == files
