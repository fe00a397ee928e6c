"""Texts of HDF5 files: HDF5 keeps them in heaps, which it trusts."""

import struct

import h5py
import numpy as np
import pytest

from hiersum_hf.datasets import h5_file
from hiersum_hf.datasets.h5_file import HEAP, open_h5, read_array, read_attributes, read_rate, read_strings, read_text


TEXTS = ["é", "", "abc" * 700, "two\nlines"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["name"], file.attrs["rate"], file.attrs["rates"] = "ä", 2.0, [1.0, 2.0]
        file.attrs["names"], file.attrs["nothing"] = ["a", "b"], h5py.Empty("f4")
        file["texts"], file["one"], file["fixed"] = TEXTS, "alone", np.array([b"a", b"bcd"])
        file["v"] = np.ones(3)
        file["v"].attrs["rate"] = 5.0
    return path


def damage(path, change):
    """`change` gets the first heap from its first object on: (number, references, length) each."""
    content = bytearray(path.read_bytes())
    change(content, content.index(HEAP) + 16)
    path.write_bytes(content)


def test_texts_come_back_in_any_shape(path):
    with open_h5(path) as file:
        assert read_strings(file["texts"]) == TEXTS
        assert read_strings(file["one"]) == ["alone"]
        assert read_strings(file["fixed"]) == ["a", "bcd"]
        with pytest.raises(ValueError, match="expected texts, found float64"):
            read_strings(file["v"])
        with pytest.raises(ValueError, match=r"expected numbers, found entries of variable length of shape \(4,\)"):
            read_array(file["texts"])


def test_attributes_of_the_member_count_over_those_of_the_file(path):
    with open_h5(path) as file:
        found = read_attributes(file, file["v"])
    assert found.pop("rates").tolist() == [1, 2]
    assert found == {"name": "ä", "rate": 5.0, "names": None, "nothing": None}
    assert (read_text(found, "name"), read_rate(found, "rate")) == ("ä", 5)
    with pytest.raises(ValueError, match="attribute names: expected a text, found None"):
        read_text(found, "names", "default")


def no_length(content, at):  # HDF5 2.0 stays at it for ever
    content[at : at + 16] = struct.pack("<HH4xQ", 0, 0, 0)


def beyond(content, at):
    content[at + 8 : at + 16] = struct.pack("<Q", 2**40)


def backward(content, at):
    content[at + 8 : at + 16] = struct.pack("<Q", 2**64 - 16)


def no_length_in_a_marked_heap(content, at):  # bytes that HDF5 reserves, and reads over
    content[at - 11 : at - 8] = b"any"
    no_length(content, at)


def too_short(content, at):
    content[at - 8 : at] = struct.pack("<Q", 4088)
    no_length(content, at)


def too_long(content, at):
    content[at - 8 : at] = struct.pack("<Q", 2**40)
    no_length(content, at)


@pytest.mark.parametrize("change", [no_length, beyond, backward, no_length_in_a_marked_heap])
def test_a_heap_that_does_not_fill_is_never_given_to_hdf5(change, path):
    damage(path, change)
    message = r"expected whole heaps of texts, found a broken one at byte \d+"
    with open_h5(path) as file:
        for read in (lambda: read_strings(file["texts"]), lambda: read_attributes(file)):
            with pytest.raises(ValueError, match=message):
                read()
        assert read_attributes(file["v"]) == {"rate": 5.0}  # no text is asked for
        assert read_array(file["v"]).sum() == 3


@pytest.mark.parametrize("change", [too_short, too_long])
def test_a_heap_of_no_size_is_refused_by_hdf5_itself(change, path):
    damage(path, change)
    with pytest.raises(ValueError, match=r"a\.h5: expected a complete HDF5 file"), open_h5(path) as file:
        read_strings(file["texts"])


def test_heaps_within_heaps_are_walked_no_more_than_the_file_is_long(tmp_path):
    """Else 260 kB of them take 11 s, and four times that for twice as many."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["texts"] = ["a"]
    count = 8000
    heaps = [struct.pack("<HH4xQ", 1, 1, 16) + HEAP + struct.pack("<3xQ", 16 + 32 * k) for k in range(count, 0, -1)]
    with (tmp_path / "a.h5").open("ab") as file:
        file.write(b"".join(heaps) + bytes(4096))
    with open_h5(tmp_path / "a.h5") as file, pytest.raises(ValueError, match="expected whole heaps"):
        read_strings(file["texts"])


def test_a_heap_at_the_border_of_two_blocks_is_found(path, monkeypatch):
    damage(path, no_length)
    start = path.read_bytes().index(HEAP)
    for size in range(start + 1, start + len(HEAP)):
        monkeypatch.setattr(h5_file, "BLOCK", size)
        assert h5_file._broken_heap.__wrapped__(path, 0, path.stat().st_size) == start


def test_one_long_text_behind_every_entry_is_not_read_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(h5_file, "MAX_TEXT_BYTES", 2**20)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["texts"] = ["x" * 2**15, *["y" * 8] * 100]
    content = (tmp_path / "a.h5").read_bytes()
    heap = content.index(struct.pack("<IQ", 2**15, content.index(HEAP)))  # (length, address, number) of each entry
    long = content[heap : heap + 16]
    (tmp_path / "a.h5").write_bytes(content[:heap] + long * 101 + content[heap + 101 * 16 :])
    with open_h5(tmp_path / "a.h5") as file:
        assert file["texts"].asstr()[100] == "x" * 2**15
        with pytest.raises(ValueError, match="expected at most 1048576 bytes of texts, found more"):
            read_strings(file["texts"])


def test_a_claim_of_many_texts_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("many", (2**40,), h5py.string_dtype(), chunks=(4,))
        file.create_dataset("long", (1000,), "S1000000", chunks=(1,))
    with open_h5(tmp_path / "a.h5") as file:
        for name in ("many", "long"):
            with pytest.raises(ValueError, match=r"expected at most 262144 texts and 67108864 bytes, found shape"):
                read_strings(file[name])


def test_a_chunk_beyond_the_limit_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(h5_file, "MAX_ARRAY_BYTES", 2**20)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, kind in (("numbers", "f4"), ("texts", "S4")):
            file.create_dataset(name, (10,), kind, maxshape=(None,), chunks=(2**18 + 1,), compression="gzip")
            file[name][:] = b"1" if kind == "S4" else 1
    with open_h5(tmp_path / "a.h5") as file:
        with pytest.raises(ValueError, match=r"expected chunks of at most 1048576 bytes, found \(262145,\)"):
            read_array(file["numbers"])
        with pytest.raises(ValueError, match="expected at most 262144 texts"):
            read_strings(file["texts"])


def test_texts_of_one_packed_chunk_unpack_it_once(tmp_path, monkeypatch):
    """All at once where none is longer than is told, else from a cache that holds the largest chunk allowed."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("fixed", data=np.full(2000, b"abc", "S256"), chunks=(2000,), compression="gzip")
        file.create_dataset("free", data=["x"] * 2000, chunks=(2000,), compression="gzip")
    with open_h5(tmp_path / "a.h5") as file:
        assert read_strings(file["free"]) == ["x"] * 2000
        monkeypatch.setattr(np, "ndindex", None)
        assert read_strings(file["fixed"]) == ["abc"] * 2000
        _, _, kept, _ = file.id.get_access_plist().get_cache()
        assert kept >= h5_file.MAX_TEXTS * 16  # bytes of an entry: length, heap, number


def test_rewritten_files_are_read(tmp_path):
    """Heaps of what was deleted stay in the file."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for k in range(60):
            file[f"{k}/texts"] = ["x" * length for length in rng.integers(0, 9000 if k % 9 == 0 else 90, 50)]
        for k in range(0, 60, 3):
            del file[str(k)]
        for k in range(60, 90):
            file[f"{k}/texts"], file[f"{k}/v"] = ["y" * length for length in rng.integers(0, 500, 9)], rng.random(99)
    with open_h5(tmp_path / "a.h5") as file:
        assert sum(len(read_strings(group["texts"])) for group in file.values()) == 40 * 50 + 30 * 9
