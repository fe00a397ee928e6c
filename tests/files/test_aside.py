"""Whole or not at all, files and folders."""

import json
import os
import sys
from contextlib import suppress

import pytest
import torch
from safetensors.torch import save_file

from hiersum_hf.datasets.readers.howto import write_fetch_list
from hiersum_hf.files.atomic import aside, write_bytes, write_text
from hiersum_hf.training.flags import write_recipe
from tests.makers.folders import contents
from tests.makers.limits import small_disk


LONG = "x" * 9999


def write_weights(folder):
    with aside(folder) as partial:
        partial.mkdir()
        save_file({"a": torch.ones(9999)}, partial / "model.safetensors")


def full(path):
    return pytest.raises(OSError, match=rf"{path.name}: expected room for it, found none\. Make room and run the same")


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with suppress(KeyError), aside(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
        raise KeyError
    assert contents(tmp_path) == {"a.txt": b"old"}
    write_text(tmp_path / "a.txt", "new")
    assert contents(tmp_path) == {"a.txt": b"new"}


def test_names_as_long_as_file_systems_take(tmp_path):
    name = "ä" * 127
    write_text(tmp_path / name, "a")
    assert os.listdir(tmp_path) == [name]


def write_folder(path):
    with aside(path) as partial:
        (partial / "deep").mkdir(parents=True)
        (partial / "deep" / "a").write_text("a")


def test_a_folder_goes_into_an_empty_one_and_into_no_other(tmp_path, monkeypatch):
    for name in ("empty", "target", "full", "here"):
        (tmp_path / name).mkdir(mode=0o750)
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "link").symlink_to("target")
    for name in ("new", "empty", "link"):
        write_folder(tmp_path / name)
    monkeypatch.chdir(tmp_path / "here")
    write_folder(".")
    with pytest.raises(OSError, match="full: expected an empty folder"):
        write_folder(tmp_path / "full")
    files = [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()]
    assert sorted(files) == ["empty/deep/a", "full/mine", "here/deep/a", "new/deep/a", "target/deep/a"]
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "link").is_symlink()


def test_names_that_begin_alike_do_not_meet(tmp_path):
    with aside(tmp_path / ("A" * 60 + "1")) as one, aside(tmp_path / ("A" * 60 + "2")) as other:
        one.write_text("1")
        other.write_text("2")
    assert contents(tmp_path) == {"A" * 60 + "1": b"1", "A" * 60 + "2": b"2"}


def test_a_full_disk_costs_the_new_file_alone(tmp_path):
    recipe, videos, page = tmp_path / "recipe.yaml", tmp_path / "videos.txt", tmp_path / "report.html"
    articles = tmp_path / "articles.json"
    articles.write_text(json.dumps([{"video_url": f"https://youtu.be/{n:011}", "steps": []} for n in range(999)]))
    for path in (recipe, videos, page):
        path.write_text("old")
    before = contents(tmp_path)
    with small_disk():
        with full(recipe):
            write_recipe(tmp_path, {"data": LONG})
        with full(videos):
            write_fetch_list(articles, videos, overwrite=True)
        with full(page):
            write_bytes(page, LONG.encode())
        with pytest.raises(OSError, match="weights: expected room for it"):
            write_weights(tmp_path / "weights")
    assert contents(tmp_path) == before


@pytest.mark.skipif(sys.platform != "linux", reason="a place where not even root can write, on Linux")
def test_a_place_without_rights_is_told_by_the_name_that_was_asked_for():
    with pytest.raises(OSError, match=r"'/proc/self/out\.txt'"):
        write_text("/proc/self/out.txt", "a")
