"""A data set that comes as a pickle must open without running whatever else somebody put into it."""

import os
import pickle
import struct
import tracemalloc

import h5py
import numpy as np
import pytest

from hiersum_hf.datasets.readers.pickles import convert_pickled_arrays
from tests.makers.pickles import Call


ARRAYS = {
    "clip_1": np.arange(6, dtype=np.float32).reshape(2, 3),
    "clip_2": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "a/b": np.array([1.5, -2.0], ">f8"),
    "half": np.array([0.5], np.float16),
    "whole": np.array([[1, 2], [3, 4]], np.int64),
    "bool": np.array([True, False]),
    "scalar": np.float64(3.5),
}


def read_h5(path):
    with h5py.File(path) as file:
        found = {}
        file.visititems(lambda name, node: found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None)
        return found


def check_equal(path, arrays):
    found = read_h5(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == np.shape(array)
        assert np.array_equal(found[name], array)


PAIR = b"q\x01h\x01\x86"  # the object on top is noted, and becomes a tuple of itself and itself


def unframed(raw: bytes) -> bytes:
    """A pickle of protocol 4 or 5 without the length of its only frame."""
    return raw[:2] + raw[11:]


def test_npy_file_comes_back_equal(tmp_path):
    arrays = ARRAYS | {"none": np.zeros((0, 768), np.float32)}
    np.save(tmp_path / "text_roberta_val.npy", arrays)
    path = convert_pickled_arrays(tmp_path / "text_roberta_val.npy")
    assert path == tmp_path / "text_roberta_val.h5"
    check_equal(path, arrays)
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "text_roberta_val.npy"]  # no half-written file stays


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("numpy_1", [True, False])
def test_plain_pickles_of_every_protocol_and_numpy(tmp_path, protocol, numpy_1):
    raw = pickle.dumps(ARRAYS, protocol)
    if numpy_1:
        raw = unframed(raw) if protocol > 3 else raw
        for module in (b"multiarray", b"numeric"):
            new, old = b"numpy._core." + module, b"numpy.core." + module
            raw = raw.replace(bytes([len(new)]) + new, bytes([len(old)]) + old).replace(b"c" + new, b"c" + old)
    assert (b"numpy.core" in raw) == numpy_1
    assert (b"numpy._core" in raw) != numpy_1
    (tmp_path / "x.pkl").write_bytes(raw)
    check_equal(convert_pickled_arrays(tmp_path / "x.pkl", tmp_path / "out.h5"), ARRAYS)


@pytest.mark.parametrize("place", ["alone", "among arrays", "in a list", "in an array", "as an id"])
@pytest.mark.parametrize("npy", [True, False])
def test_malicious_pickle_is_refused_by_name_and_does_nothing(tmp_path, place, npy):
    ran = tmp_path / "ran"
    calls = {
        f"{os.system.__module__}.system": Call(os.system, f"touch {ran}"),
        "builtins.eval": Call(eval, f"open({str(ran)!r}, 'w').close()"),
        "builtins.exec": Call(exec, f"open({str(ran)!r}, 'w').close()"),
        "builtins.getattr": Call(getattr, "text", "join"),
        "numpy.fromfile": Call(np.fromfile, "/dev/null"),
        "_pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.system, f"touch {ran}"))),
    }
    path = tmp_path / "evil.npy"
    for name, call in calls.items():
        nested = np.array([None, call], object)
        places = {"alone": call, "among arrays": ARRAYS | {"evil": call}, "in a list": {"a": [call]}}
        places |= {"in an array": {"a": nested}, "as an id": {call: np.ones(2)}}
        if npy:
            np.save(path, np.array(places[place], object))
        else:
            path.write_bytes(pickle.dumps(places[place]))
        told = "ids that are no strings" if place == "as an id" else f"{name}, which is refused; nothing of it was run"
        with pytest.raises(ValueError, match=rf"evil\.npy: .*{told}.*save it by numpy\.save"):
            convert_pickled_arrays(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["evil.npy"]
    if npy and place == "among arrays":  # the test is worth something: the usual way runs this very file
        np.load(path, allow_pickle=True)
        assert ran.exists()


def bytes8(claimed: int) -> bytes:
    """A pickle whose only item claims so many bytes."""
    return b"\x80\x04\x8e" + struct.pack("<Q", claimed) + b"few."


def shape_of(claimed: int) -> bytes:
    return pickle.dumps({"a": np.ones(2)}, 4).replace(b"K\x02\x85", b"\x8a\x08" + struct.pack("<q", claimed) + b"\x85")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(ARRAYS)[:-40], "not enough data"),
        (pickle.dumps(ARRAYS)[:1], "complete pickle"),
        (b"", "complete pickle of arrays alone, found: pickle exhausted before seeing STOP"),
        (b"no pickle at all", "complete pickle"),
        (b"\x93NUMPY", "complete pickle"),
        (bytes8(2**62), "claims more bytes than memory holds"),
        (bytes8(2**20), "expected 1048576 bytes in a bytes8, but only 4 remain"),
        (unframed(shape_of(2**31 - 1)), r"id 'a': expected the 17179869176 bytes of shape \(2147483647,\), found 16"),
        (unframed(shape_of(-1)), r"id 'a': expected a shape, found \(-1,\)"),
        (pickle.dumps([1, 2]), "expected a pickled dict id -> array, found list"),
        (b"\x80\x02}r" + (10).to_bytes(4, "little") + b".", "object number 10 in 9 bytes"),
        (b"\x80\x02}N" + PAIR + b"Ns.", "ids that are no strings"),
        (b"\x80\x02}(N" + PAIR + b"Nu.", "ids that are no strings"),
        (b"\x80\x02(N" + PAIR + b"Nd.", "ids that are no strings"),
        (b"\x80\x04\x8f(N" + PAIR + b"\x90.", "ids that are no strings"),
        (b"\x80\x04(NN" + PAIR + b"\x91.", "ids that are no strings"),
        (b"\x80\x02}N2\x86Ns.", "the instruction DUP, which no pickle of arrays has"),
        (pickle.dumps({1: np.ones(2)}), "ids that are no strings"),
        (pickle.dumps({"a/" * 9: np.ones(2)}), "id 'a/.*expected an id of at most 8 slashes, found 9"),
        (pickle.dumps(dict.fromkeys(map(str, range(99)), np.ones(99))), "expected arrays of their own, found the same"),
        (unframed(shape_of(2**60)), r"id 'a': expected a shape, found \(1152921504606846976,\)"),
        (pickle.dumps({"a": [1.0, 2.0]}), "id 'a': expected an array, found list"),
        (pickle.dumps({"a": {"b": np.ones(2)}}), "id 'a': expected an array, found dict"),
        (pickle.dumps({"a": np.array(["x"])}), "id 'a': expected an array of numbers, found one of U1"),
        (pickle.dumps({"a": np.array([np.ones(2), None], object)}), "id 'a': .* found one of objects"),
        (pickle.dumps({"": np.ones(2)}), "id ''"),
        (pickle.dumps({"a": np.ones(2), "a/b": np.ones(2)}), "id 'a/b'"),
    ],
)
def test_broken_pickles_say_what_is_wrong(tmp_path, content, message):
    (tmp_path / "broken.npy").write_bytes(content)
    with pytest.raises(ValueError, match=rf"broken\.npy.*{message}"):
        convert_pickled_arrays(tmp_path / "broken.npy")
    assert [entry.name for entry in tmp_path.iterdir()] == ["broken.npy"]


def test_npy_of_something_else(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    with pytest.raises(
        ValueError, match=r"x\.npy: .*an array of float64 of shape \(3, 2\) instead of one pickled dict"
    ):
        convert_pickled_arrays(tmp_path / "x.npy")


def test_nothing_is_replaced(tmp_path):
    np.save(tmp_path / "x.npy", ARRAYS)
    (tmp_path / "x.h5").write_text("mine")
    with pytest.raises(FileExistsError, match=r"x\.h5"):
        convert_pickled_arrays(tmp_path / "x.npy")
    assert (tmp_path / "x.h5").read_text() == "mine"
    with pytest.raises(FileNotFoundError, match=r"y\.npy"):
        convert_pickled_arrays(tmp_path / "y.npy")


def test_a_dtype_of_a_tuple_is_never_hashed(tmp_path):
    code = b"N" + PAIR + b"\x85"
    array = b"cnumpy\nndarray\n)\x81(K\x01K\x02\x85cnumpy\ndtype\n" + code + b"R\x89C\x10" + b"0" * 16 + b"tb"
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04}X\x01\x00\x00\x00a" + array + b"s.")
    with pytest.raises(ValueError, match=r"x\.pkl, id 'a': expected an array of numbers, found one of tuple"):
        convert_pickled_arrays(tmp_path / "x.pkl")


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_without_numbers(tmp_path, protocol):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": np.ones((0, 3), np.float32), "b": np.ones(9)}, protocol))
    with h5py.File(convert_pickled_arrays(tmp_path / "x.pkl")) as file:
        assert (file["a"].shape, file["b"].shape) == ((0, 3), (9,))


def test_bytes_named_again_and_again_are_held_once(tmp_path):
    text = b"X" + struct.pack("<I", 2**16) + b"a" * 2**16
    again = b"(c_codecs\nencode\nq\x01" + text + b"q\x02" + b"X\x06\x00\x00\x00latin1q\x03\x86q\x04R"
    again += b"h\x01h\x04R" * 100 + b"l."
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + again)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="found list"):
            convert_pickled_arrays(tmp_path / "x.pkl")
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()
