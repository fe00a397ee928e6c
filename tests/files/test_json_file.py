"""JSON from others is read, or one line says which file is wrong and why."""

import json
import os

import pytest

from hiersum_hf.files.json_file import cached_json_object, parse_json, read_json, read_json_object
from hiersum_hf.modeling.errors_hiersum import InputError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1', r"told\.json: expected JSON, found none in '{\"a\": 1' \(Expecting"),
        (b"", r"told\.json: expected JSON, found none"),
        (b"\xff\xfe", r"told\.json: expected JSON, found none"),
        (b"[" * 200_000, r"told\.json: expected JSON, found none in .* \(maximum recursion depth"),
        (b"1" * 10_000, r"told\.json: expected JSON, found none in .* \(Exceeds the limit"),
        (b"[1]", r"told\.json: expected a JSON object, found list"),
    ],
)
def test_what_is_no_object_is_named(tmp_path, content, message):
    path = tmp_path / "told.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json_object(path)
    with pytest.raises(FileNotFoundError, match=r"none\.json: expected a JSON file, found no such file"):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused_where_asked(constant):
    assert isinstance(parse_json(f"[{constant}]", "here")[0], float)
    with pytest.raises(InputError, match=f"here: expected JSON, found none in .* .{constant} is no number"):
        parse_json(f"[{constant}]", "here", finite=True)


def test_a_cached_object_is_read_again_after_the_file_changed(tmp_path):
    path = tmp_path / "told.json"
    path.write_text(json.dumps({"a": 1}))
    first = cached_json_object(path)
    assert cached_json_object(path) is first
    path.write_text(json.dumps({"a": 2}))
    os.utime(path, ns=(0, 1))
    assert cached_json_object(path) == {"a": 2}
    path.unlink()
    with pytest.raises(FileNotFoundError):
        cached_json_object(path)
