"""A package that is not installed is named with the command that brings it, by every command that needs it."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from fsspec.registry import _registry

from hiersum_hf.cli.main import main
from tests.makers.videos import write_video


PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
OF_DEVELOPERS = {"docs", "dev"}  # `make` needs them, no command
NEEDED_BY = {
    "offline": ["extract", "talk.mp4", "--output", "features", "--video-encoder", "efficientnet-lite0"],
    "onnx": ["extract", "talk.mp4", "--output", "features", "--runtime", "onnx"],
    "openvino": ["extract", "talk.mp4", "--output", "features", "--runtime", "openvino"],
    "asr": ["summarize", "talk.mp4", "--transcribe", "small"],
    "app": ["app"],
    "mcp": ["app", "--mcp"],
    "cuts": ["summarize", "talk.mp4", "--shots", "cuts"],
    "editors": ["summarize", "talk.mp4", "--export", "otio"],
    "url": ["summarize", "https://localhost/talk.mp4"],
    "ray": ["extract", "talk.mp4", "--output", "features", "--engine", "ray", "--address", "local"],
    "s3": ["extract", "s3://bucket/talk.mp4", "--output", "features"],
    "completion": ["--print-completion", "bash"],
}
MODULES = {"scenedetect-headless": "scenedetect"}  # others are named as their packages


@pytest.mark.parametrize("extra", sorted(PROJECT["optional-dependencies"].keys() - OF_DEVELOPERS))
def test_a_missing_extra_is_named_with_its_install_command(extra, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "talk.mp4")
    for requirement in PROJECT["optional-dependencies"][extra]:
        package = re.match(r"[\w-]+", requirement)[0]
        monkeypatch.setitem(sys.modules, MODULES.get(package, package.replace("-", "_")), None)
    monkeypatch.delitem(_registry, "s3", raising=False)  # an earlier test may have read a bucket
    try:
        code = main(NEEDED_BY[extra])
    except SystemExit as ended:  # by argparse
        code = ended.code
    said = capsys.readouterr().err
    assert code in (1, 2)
    assert f'pip install "hiersum-hf[{extra}]"' in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["talk.mp4"]
