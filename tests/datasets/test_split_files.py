"""A published split must be read as its authors meant it; a leak between its parts would flatter every figure."""

import json

import pytest
import yaml

from hiersum_hf.datasets.parts import DataArguments, choose_split
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
    with pytest.raises(ValueError, match=r"notes\.txt: expected a list called train\.txt, val\.txt, .* Rename it\."):
        read_splits(folder / "notes.txt")
    lists(test="b\n", val="c\n", validation="d\n")
    with pytest.raises(ValueError, match=r"expected one list for validation, found val\.txt, validation\.txt\. Remove"):
        read_splits(folder / "train.txt")
    (folder / "test.txt").write_bytes(b"\xff\xfe\x00")
    (folder / "val.txt").unlink()
    with pytest.raises(ValueError, match=r"test\.txt: expected text in UTF-8, found none .* Save it so\."):
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
    with pytest.raises(ValueError, match=rf"splits.{suffix}: expected a mapping .*Write \{{\"train_keys\""):
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


def chosen(split, groups, tmp_path, shipped=False, **kwargs):
    path = tmp_path / "published.json"
    path.write_text(json.dumps({f"{part}_keys": names for part, names in split.items()}))
    args = DataArguments(data="prepared", split_file=None if shipped else str(path))
    published = [{"validation" if part == "val" else part: names for part, names in split.items()}]
    return choose_split(args, groups, published if shipped else [], **kwargs)


LEAKY = {"train": ["a", "b", "c", "d"], "val": ["e", "f"], "test": ["g", "h"]}
GROUPS = {"a": "x", "b": "y", "c": "z", "d": "z", "e": "x", "f": "w", "g": "w", "h": "y"}


def test_one_youtube_video_in_two_parts_of_a_split_file_is_left_out_and_named(tmp_path, caplog):
    """Trained on under one name and tested under another, a video is known by heart."""
    split = chosen(LEAKY, GROUPS, tmp_path)
    assert split == {"train": ["c", "d"], "validation": ["e"], "test": ["g", "h"]}
    assert "published.json: left 2 videos of train out, a later part has them: a, b" in caplog.text
    assert "published.json: left 1 videos of validation out, a later part has them: f" in caplog.text
    caplog.clear()
    assert chosen(LEAKY, dict.fromkeys(GROUPS), tmp_path)["train"] == ["a", "b", "c", "d"]
    assert not caplog.records


def test_the_split_that_a_data_set_ships_with_stays(tmp_path, caplog):
    """BLiSS cuts clips of one livestream into several parts; without them there may be none left to train on."""
    streams = dict.fromkeys(GROUPS, "one stream")
    assert chosen(LEAKY, streams, tmp_path, shipped=True)["train"] == ["a", "b", "c", "d"]
    assert "prepared: 4 videos of train share their group with a later part; kept, as published" in caplog.text
    with pytest.raises(ValueError, match=r"published\.json: expected a split with train videos, found test\."):
        chosen(LEAKY, streams, tmp_path)


def test_an_empty_part_is_named_only_where_it_is_needed(tmp_path):
    """--min-views may leave a training part empty; the test part can still be measured."""
    emptied = {"train": [], "val": ["e"], "test": ["g"]}
    with pytest.raises(ValueError, match=r"prepared: expected a split with train videos, found validation, test\."):
        chosen(emptied, GROUPS, tmp_path, shipped=True)
    assert chosen(emptied, GROUPS, tmp_path, shipped=True, needed=["test"])["test"] == ["g"]
    assert chosen({"train": [], "test": ["g"]}, GROUPS, tmp_path, shipped=True, needed=["test"])["validation"] == []
