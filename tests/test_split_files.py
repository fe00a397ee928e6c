"""A published split must be read as its authors meant it; a leak between its parts would flatter every figure."""

import json

import pytest
import yaml

from hiersum_hf.datasets.split_files import read_splits
from hiersum_hf.datasets.splits import with_validation


@pytest.fixture
def lists(tmp_path):
    """Writes NAME.txt for each keyword and returns the folder."""

    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_dsnet_yml_has_five_splits(test_data):
    splits = read_splits(test_data / "tvsum" / "dsnet_tvsum_splits.yml")
    assert [(len(split["train"]), len(split["test"])) for split in splits] == [(40, 10)] * 5
    assert splits[0]["test"][:2] == ["video_35", "video_43"]
    assert {frozenset(split) for split in splits} == {frozenset({"train", "test"})}


def test_mrhisum_json_is_one_split_with_its_own_validation(test_data):
    (split,) = read_splits(test_data / "mrhisum" / "mr_hisum_split.json")
    assert {part: len(ids) for part, ids in split.items()} == {"train": 27892, "validation": 2000, "test": 2000}
    assert with_validation(split) == split, "no other videos are set apart"


@pytest.mark.parametrize("suffix", ["json", "yml", "yaml"])
def test_paths_before_names_do_not_count_and_val_keys_are_kept(tmp_path, suffix):
    splits = [
        {"train_keys": ["a/b.h5/video_1", "video_2"], "test_keys": ["video_3"]},
        {"train_keys": ["video_1"], "val_keys": ["x/video_2"], "test_keys": ["video_3"], "name": "second"},
        {"train_keys": ["video_1"], "val_keys": [], "test_keys": ["video_3"]},
    ]
    path = tmp_path / f"splits.{suffix}"
    path.write_text(json.dumps(splits) if suffix == "json" else yaml.safe_dump(splits))
    assert read_splits(path) == [
        {"train": ["video_1", "video_2"], "test": ["video_3"]},
        {"train": ["video_1"], "validation": ["video_2"], "test": ["video_3"]},
        {"train": ["video_1"], "test": ["video_3"]},
    ]


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_any_list_stands_for_its_siblings(lists, name):
    """Users have one file at hand; which of the three they name must not matter."""
    folder = lists(
        train="# 2 videos\n\ndata/set.h5/video_1\r\n  video_2  # the long one\n",
        valid="Playing ball\n",
        test="\ufeffvideo_3",
        notes="not a list",
    )
    split = {"train": ["video_1", "video_2"], "validation": ["Playing ball"], "test": ["video_3"]}
    assert read_splits(folder / f"{name}.txt") == [split]


def test_lists_without_validation(lists):
    folder = lists(train="a\nb\n", test="c\n", val="# none\n")
    assert read_splits(folder / "test.txt") == [{"train": ["a", "b"], "test": ["c"]}]


def test_lists_that_are_missing_or_too_many(lists):
    folder = lists(train="a\n", notes="b\n")
    with pytest.raises(FileNotFoundError, match=r"test\.txt: expected this list beside train\.txt"):
        read_splits(folder / "train.txt")
    with pytest.raises(ValueError, match=r"notes\.txt: expected a name like train\.txt, val\.txt"):
        read_splits(folder / "notes.txt")
    lists(test="b\n", val="c\n", validation="d\n")
    with pytest.raises(ValueError, match=r"expected one list for validation, found val\.txt, validation\.txt"):
        read_splits(folder / "train.txt")
    (folder / "test.txt").write_bytes(b"\xff\xfe\x00")
    (folder / "val.txt").unlink()
    with pytest.raises(ValueError, match=r"test\.txt: expected text in UTF-8"):
        read_splits(folder / "train.txt")


@pytest.mark.parametrize(
    "wrong",
    ["{", "3", "null", "[]", '"train_keys"', '[{"train_keys": []}]', '{"train_keys": "abc", "test_keys": ["d"]}',
     '{"train_keys": [1], "test_keys": [2]}', '[["a"], ["b"]]'],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["json", "yml"])
def test_other_content_is_refused(tmp_path, suffix, wrong):
    """An empty list of splits, say, must not end in folds that the user did not ask for."""
    path = tmp_path / f"splits.{suffix}"
    path.write_text(wrong)
    with pytest.raises(ValueError, match=rf"splits.{suffix}: expected a mapping or a list of mappings"):
        read_splits(path)


def test_binary_and_missing_files(tmp_path):
    (tmp_path / "splits.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"splits.yml: expected a mapping"):
        read_splits(tmp_path / "splits.yml")
    with pytest.raises(FileNotFoundError, match=r"none\.yml"):
        read_splits(tmp_path / "none.yml")


def test_leaks_and_empty_parts_are_refused(tmp_path, lists):
    """The augmented splits of the field join several files that all have a video_1: by last part alone they leak."""
    path = tmp_path / "splits.json"
    good = {"train_keys": ["a"], "test_keys": ["b"]}
    path.write_text(json.dumps([good, {"train_keys": ["ovp.h5/video_1"], "test_keys": ["tvsum.h5/video_1"]}]))
    found = r"found ovp\.h5/video_1 \(train\) and tvsum\.h5/video_1 \(test\)"
    with pytest.raises(ValueError, match=r"splits\.json, split 1: expected video_1 once, " + found):
        read_splits(path)
    path.write_text(json.dumps([good | {"val_keys": ["b"]}]))
    with pytest.raises(ValueError, match=r"split 0: expected b once, found b \(validation\) and b \(test\)"):
        read_splits(path)
    path.write_text(json.dumps(good | {"train_keys": []}))
    with pytest.raises(ValueError, match=r"splits\.json, split 0: expected videos in train, found none"):
        read_splits(path)
    with pytest.raises(ValueError, match=r"train\.txt, split 0: expected videos in test, found none"):
        read_splits(lists(train="a\n", test="# b\n") / "train.txt")
