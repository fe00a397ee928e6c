"""Whole or not at all, files and folders."""

import json
import os
import sys
from contextlib import suppress

import pytest
import torch
from safetensors.torch import save_file

from hiersum_hf import report
from hiersum_hf.aside import aside, write_text
from hiersum_hf.datasets.howto import write_fetch_list
from hiersum_hf.train_flags import write_recipe

from .test_extract import contents
from .test_faults import small_disk


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


def test_a_folder_takes_the_place_of_an_empty_one_alone(tmp_path):
    for name in ("new", "empty", "full"):
        if name != "new":
            (tmp_path / name).mkdir()
        if name == "full":
            (tmp_path / name / "mine").write_text("mine")
            with pytest.raises(OSError, match="full"), aside(tmp_path / name) as partial:
                partial.mkdir()
        else:
            with aside(tmp_path / name) as partial:
                partial.mkdir()
                (partial / "a").write_text("a")
    files = [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()]
    assert sorted(files) == ["empty/a", "full/mine", "new/a"]


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
            report._write(page, LONG.encode())
        with pytest.raises(OSError, match="weights: expected room for it"):
            write_weights(tmp_path / "weights")
    assert contents(tmp_path) == before


@pytest.mark.skipif(sys.platform != "linux", reason="a place where not even root can write, on Linux")
def test_a_place_without_rights_is_told_by_the_name_that_was_asked_for():
    with pytest.raises(OSError, match=r"'/proc/self/out\.txt'"):
        write_text("/proc/self/out.txt", "a")
