"""An address as an output made a folder called "s3:" on this machine and looked like success."""

import os

import pytest

from hiersum_hf.cli.main import main
from hiersum_hf.features.cache import FrameSettings
from hiersum_hf.files.atomic import refuse_uri
from hiersum_hf.inference.extract import extract
from hiersum_hf.modeling.errors_hiersum import HierSumError
from tests.makers.videos import write_video


@pytest.mark.parametrize("address", ["s3://bucket/x", "file:///tmp/x"])
@pytest.mark.parametrize(
    "words",
    [
        ["summarize", "v.mp4", "--output", "out", "--cache"],
        ["prepare", "folder", "--output", "out", "--source"],
        ["prepare", "folder", "--source", ".", "--output"],
        ["prepare", "folder", "--source", ".", "--output", "out", "--skip-bad", "--cache"],
        ["train", "tvsum", "--data", "none.h5", "--output_dir"],
        ["evaluate", "tvsum", "--data", "none.h5", "--scorer", "random", "--output"],
        ["merge", "adapter"],
    ],
    ids=" ".join,
)
def test_an_address_is_refused_and_nothing_is_made(words, address, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "v.mp4")
    assert main([*words, address]) == 2
    error = capsys.readouterr().err
    assert "expected a path on this machine, found an address" in error
    assert "s3://bucket/x" in error or address.startswith("file")
    assert os.listdir(tmp_path) == ["v.mp4"]


def test_functions_write_to_folders_alone():
    with pytest.raises(HierSumError, match="s3://bucket/x: expected a path on this machine"):
        extract([], "s3://bucket/x", FrameSettings("colour"))


@pytest.mark.parametrize("path", ["out", "./s3:/x", r"C:\videos", "C:/videos", "12:30", ""])
def test_paths_are_no_addresses(path):
    refuse_uri(path)
