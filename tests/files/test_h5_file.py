"""What is read from HDF5 files of others, and how much of it."""

import json

import h5py
import numpy as np
import pytest

from hiersum_hf.files import h5_worker
from hiersum_hf.files.h5_file import (
    add_array,
    first_shape,
    member_names,
    outlines,
    read_cells,
    read_member,
    read_rate,
    read_text,
)


TEXTS = ["é", "", "abc" * 700, "two\nlines"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["name"], file.attrs["rate"], file.attrs["rates"] = "ä", 2.0, [1.0, 2.0]
        file.attrs["names"], file.attrs["nothing"], file.attrs["many"] = ["a", "b"], h5py.Empty("f4"), np.ones(65)
        file.attrs["fixed"], file.attrs["whole"] = np.bytes_("b"), np.uint8(3)
        file["texts"], file["one"], file["fixed"] = TEXTS, "alone", np.array([b"a", b"bcd"])
        file["v"] = np.ones(3)
        file["v"].attrs["rate"] = 5.0
    return path


def test_texts_come_back_in_any_shape(path):
    member = read_member(path, "/", "", arrays=["texts", "fixed"], texts=["texts", "one", "fixed", "v", "gone"])
    assert member.strings("texts") == TEXTS
    assert member.strings("one") == ["alone"]
    assert member.strings("fixed") == ["a", "bcd"]
    assert member.array("fixed").tolist() == [b"a", b"bcd"]
    for name, found in (("v", "float64"), ("gone", "none")):
        with pytest.raises(ValueError, match=f"expected texts, found {found}"):
            member.strings(name)
    with pytest.raises(ValueError, match=r"expected numbers, found entries of variable length of shape \(4,\)"):
        member.array("texts")


def test_attributes_are_texts_and_numbers(path):
    found = read_member(path, "v", "", attributes=["/", "", "gone"]).attributes
    assert found[""] == {"rate": 5.0}
    assert found["/"] == {
        "name": "ä", "rate": 2.0, "rates": [1, 2], "fixed": "b", "whole": 3, "names": None, "nothing": None,
        "many": None,
    }  # fmt: skip
    assert (read_text(found["/"], "name"), read_rate(found["/"], "rate")) == ("ä", 2)
    with pytest.raises(ValueError, match="attribute names: expected a text, found None"):
        read_text(found["/"], "names", "default")


KINDS = ["<f2", ">f4", "f8", "u1", "<i8", "?", "c8", "S3", "M8[s]", "V4"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(0, 3), (2, 3)])
def test_arrays_come_back_as_they_are(kind, shape, tmp_path):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype("i4").astype(kind)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = array.view(h5py.opaque_dtype(array.dtype)) if kind == "M8[s]" else array
    found = read_member(tmp_path / "a.h5", "v", "", arrays=[""]).array()
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
    assert found.flags.writeable


def test_names_that_are_no_utf8_are_told_as_well_as_can_be(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group(b"\xff")
        file["v/x"], file[b"v/\xfe"] = np.ones(3), np.ones(2)
        h5py.h5a.create(file["v"].id, b"\xfd", h5py.h5t.NATIVE_INT32, h5py.h5s.create(h5py.h5s.SCALAR))
    assert member_names(tmp_path / "a.h5") == ["v", "\ufffd"]
    member = read_member(tmp_path / "a.h5", "v", "", arrays=["x"], attributes=[""])
    assert member.array("x").sum() == 3
    assert member.names == ["x", "\ufffd"]
    assert list(member.attributes[""]) == ["\ufffd"]


def test_outlines_read_nothing(path):
    with h5py.File(path, "a") as file:
        file["group/a"], file["group/none"] = np.ones((2, 3)), h5py.Empty("f4")
        file.create_dataset("huge", (2**40, 4), "f4", chunks=(1, 4))
    found = outlines(path, ["group", "huge", "gone"], ["a", "b", "none"])
    assert [one.kind for one in found.values()] == ["Group", "Dataset", None]
    assert found["group"].members == {"a": (2, 3), "none": None}
    assert found["huge"].shape == (2**40, 4)
    assert member_names(path) == ["fixed", "group", "huge", "one", "texts", "v"]
    assert first_shape(path) == (2, 3)


def test_references_lead_to_arrays_of_the_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        cells = [file.create_dataset("#refs#/a", data=np.ones(2)).ref, h5py.Reference()]
        file.create_dataset("table/x", data=np.array([[cell] for cell in cells], h5py.ref_dtype))
        file["table/y"] = np.ones(3)
    one, none = read_cells(tmp_path / "a.h5", "table", ["x"])["x"]
    assert one.array().tolist() == [1, 1]
    with pytest.raises(ValueError, match="expected an array, found none"):
        none.array()
    with pytest.raises(ValueError, match=r"a\.h5, table: expected references, found float64"):
        read_cells(tmp_path / "a.h5", "table", ["x", "y"])


def test_arrays_are_added(path):
    add_array(path, "group/features", np.ones((2, 3), np.float32), {"kind": "ö"})
    found = read_member(path, "group", "", arrays=["features"], attributes=["features"])
    assert found.array("features").tolist() == [[1, 1, 1]] * 2
    assert found.attributes == {"features": {"kind": "ö"}}
    with pytest.raises(ValueError, match=r"a\.h5: .*exists"):
        add_array(path, "v", np.zeros((2000, 3)), {})
    assert read_member(path, "v", "", arrays=[""]).array().tolist() == [1, 1, 1]


def refused(path, name, read, message):
    with h5py.File(path) as file, pytest.raises(ValueError, match=message):
        read(file[name])


def test_a_claim_of_many_texts_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("many", (2**40,), h5py.string_dtype(), chunks=(4,))
        file.create_dataset("long", (1000,), "S1000000", chunks=(1,))
    for name in ("many", "long"):
        refused(tmp_path / "a.h5", name, h5_worker.read_strings, "expected at most 262144 texts and 67108864 bytes")


def test_texts_are_read_no_further_than_the_limit(path, monkeypatch):
    monkeypatch.setattr(h5_worker, "MAX_TEXT_BYTES", 2000)
    refused(path, "texts", h5_worker.read_strings, "expected at most 2000 bytes of texts, found more")


def test_a_chunk_beyond_the_limit_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(h5_worker, "MAX_ARRAY_BYTES", 2**20)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, kind in (("numbers", "f4"), ("texts", "S4")):
            file.create_dataset(name, (10,), kind, maxshape=(None,), chunks=(2**18 + 1,), compression="gzip")
            file[name][:] = b"1" if kind == "S4" else 1
    message = r"expected chunks of at most 1048576 bytes, found \(262145,\)"
    refused(tmp_path / "a.h5", "numbers", h5_worker.read_array, message)
    refused(tmp_path / "a.h5", "texts", h5_worker.read_strings, "expected at most 262144 texts")


def test_a_question_has_no_more_than_so_many_bytes_of_answers(path, monkeypatch):
    monkeypatch.setattr(h5_worker, "MAX_BYTES", 60)
    *answers, last = [json.loads(line) for line, _ in h5_worker.answers(str(path), "read", "/", ["v"] * 3, [], [])]
    assert len(answers) == 3
    assert last == {"refused": "expected at most 60 bytes in all, found more", "done": False, "is_open": True}


def test_texts_of_one_packed_chunk_unpack_it_once(tmp_path, monkeypatch):
    """All at once where none is longer than is told, else from a cache that holds the largest chunk allowed."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("fixed", data=np.full(2000, b"abc", "S256"), chunks=(2000,), compression="gzip")
        file.create_dataset("free", data=["x"] * 2000, chunks=(2000,), compression="gzip")
    with h5_worker.open_file(str(tmp_path / "a.h5"), "r") as file:
        assert h5_worker.read_strings(file["free"]) == ["x"] * 2000
        monkeypatch.setattr(np, "ndindex", None)
        assert h5_worker.read_strings(file["fixed"]) == ["abc"] * 2000
        _, _, kept, _ = file.id.get_access_plist().get_cache()
        assert kept >= h5_worker.MAX_TEXTS * 16  # bytes of an entry


def test_rewritten_files_are_read(tmp_path):
    """Texts of what was deleted stay in the file."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for k in range(60):
            file[f"{k}/texts"] = ["x" * length for length in rng.integers(0, 9000 if k % 9 == 0 else 90, 50)]
        for k in range(0, 60, 3):
            del file[str(k)]
        for k in range(60, 90):
            file[f"{k}/texts"], file[f"{k}/v"] = ["y" * length for length in rng.integers(0, 500, 9)], rng.random(99)
    names = member_names(tmp_path / "a.h5")
    texts = [read_member(tmp_path / "a.h5", name, "", texts=["texts"]).strings("texts") for name in names]
    assert sum(map(len, texts)) == 40 * 50 + 30 * 9
