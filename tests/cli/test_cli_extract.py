"""`hiersum extract` as it is typed."""

import json

import numpy as np
import pytest
import torch

from hiersum_hf.cli.main import main
from hiersum_hf.features.text_encoder import default_extractor
from hiersum_hf.features.video_encoder import VideoEncoder
from hiersum_hf.inference import extract
from tests.makers.encoders import colour_encoder
from tests.makers.folders import contents
from tests.makers.videos import write_video


@pytest.fixture
def loaded(monkeypatch):
    """What the encoder is loaded with; a stand-in gives the mean colour."""
    asked = []
    monkeypatch.setattr(extract, "load_video_encoder", lambda *which: asked.append(which) or colour_encoder(*which))
    return asked


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "b.mkv"):
        write_video(tmp_path / "videos" / name, brightness=ord(name[0]))
    return tmp_path / "videos"


def test_json_names_the_file_of_each_video_and_the_name_in_it(folder, loaded, tmp_path, capsys):
    flags = ["--video-encoder", "colour", "--sample-fps", "1", "--dtype", "bfloat16", "--device", "cpu", "--json"]
    flags += ["--runtime", "torch"]
    assert main(["extract", str(folder), "--output", str(tmp_path / "out"), *flags]) == 0
    report = json.loads(capsys.readouterr().out)
    assert loaded == [("colour", "cpu", "bfloat16", "torch")]
    wanted = {"video_encoder": "colour", "sample_fps": 1.0, "dtype": "bfloat16", "key_frames": False}
    assert report["settings"] == wanted
    (shard,) = (tmp_path / "out").glob("*.zip")
    assert {video["file"] for video in report["videos"].values()} == {str(shard)}
    assert {video["name"] for video in report["videos"].values()} == {*contents(tmp_path / "out")}
    assert [video["frames"] for video in report["videos"].values()] == [3, 3]


def test_a_broken_video_is_named_and_the_exit_code_is_1(folder, loaded, tmp_path, capsys):
    (folder / "c.mp4").write_text("no video")
    words = ["extract", f"{folder}/*", "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert (
        f"2 videos encoded, 0 found, 1 failed ({default_extractor().video_encoder}, 2 frames a second, float32)" in out
    )
    assert f"failed: {folder}/c.mp4: expected a readable video" in out
    (folder / "c.mp4").unlink()
    assert main(words) == 0
    assert "0 videos encoded, 2 found, 0 failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
     RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes")],
    ids=["python", "device", "cpu"],
)  # fmt: skip
def test_too_little_memory_makes_batches_smaller_and_fails_only_what_never_fits(
    folder, tmp_path, monkeypatch, capsys, error
):
    fitted = []

    def embed(images):
        if len(images) > 4 or images[0].mean() > 150:
            raise error
        fitted.append(len(images))
        return torch.tensor(np.array([image.mean((0, 1)) for image in images]))

    write_video(folder / "bright.mp4", brightness=160)
    monkeypatch.setattr(extract, "load_video_encoder", lambda *which: VideoEncoder("colour", 3, embed))
    words = ["extract", str(folder), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "2 videos encoded, 0 found, 1 failed" in out
    assert f"failed: {folder}/bright.mp4: expected memory to encode it, found too little" in out
    assert fitted == [3, 3] * 2
    assert main([*words[:1], f"{folder}/a.mp4", *words[2:-2]]) == 0
    assert "0 videos encoded, 1 found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "nowhere/at/all"], "nowhere/at/all: expected the folder or Hub id of a HierSum checkpoint"),
        (["--sample-fps", "0"], "sample_fps: expected a positive number, found 0.0"),
        (["--batch-size", "0"], "batch_size: expected at least 1, found 0"),
        (["--device", "abacus"], "device: expected one that this PyTorch can use, found 'abacus'"),
        (["no-such.mp4"], "no-such.mp4: expected a video, a folder of videos or a pattern, found no video"),
    ],
)
def test_bad_input_is_2_before_any_work(folder, loaded, tmp_path, capsys, words, message):
    assert main(["extract", str(folder), *words, "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"hiersum: error: {message}")
    assert not loaded
    assert not (tmp_path / "out").exists()
