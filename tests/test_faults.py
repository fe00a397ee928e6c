"""A full disk, too little memory, a process that dies: what is done stays, the rest has no final name, and it is said.

Elsewhere: a full disk in video/test_video_writer.py, summary/test_summary_files.py and features/test_feature_cache.py,
kill -9 in scripts/test_kill_trials.py, a corrupt file among good ones in datasets/test_prepare.py,
inference/test_extract.py and cli/test_cli.py.
"""

import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from hiersum_hf.cli.main import main
from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.prepared import load_prepared
from hiersum_hf.datasets.readers.tvsum import TVSumReader, write_tvsum
from hiersum_hf.features.video_encoder import VideoEncoder
from hiersum_hf.inference import extract
from hiersum_hf.results import write_json
from hiersum_hf.training.resume import is_whole, last_checkpoint
from tests.makers.extraction import run
from tests.makers.folders import contents
from tests.makers.limits import limited, small_disk
from tests.makers.models import small_model
from tests.makers.trainers import trainer
from tests.makers.videos import write_video


@pytest.fixture
def source(tmp_path, demo_records):
    write_tvsum(demo_records[:6], tmp_path / "set.h5")
    return tmp_path / "set.h5"


def prepare_set(source, output, **settings):
    return prepare(
        TVSumReader(source), output, [source], dataset="tvsum", videos_per_file=2, progress=False, **settings
    )


def test_a_disk_that_fills_up_while_preparing(source, tmp_path):
    """The message says what to do, the disk is left as free as can be, and the second try ends as if nothing was."""
    prepare_set(source, tmp_path / "whole")
    with (
        small_disk(),
        pytest.raises(OSError, match=r"data-00000\.parquet: expected room .* Make room and run the same"),
    ):
        prepare_set(source, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {".plan.json"}
    prepare_set(source, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_small_file_that_finds_no_room_leaves_the_old_one(tmp_path):
    write_json(tmp_path / "results.json", {"f1": 0.5})
    with small_disk(), pytest.raises(OSError, match=r"results\.json: expected room for it, found none"):
        write_json(tmp_path / "results.json", {"f1": list(range(9999))})
    assert contents(tmp_path) == {"results.json": b'{\n  "f1": 0.5\n}\n'}


def test_the_command_says_in_a_line_that_the_disk_is_full(source, tmp_path, capsys):
    with small_disk():
        code = main(["prepare", "tvsum", "--source", str(source), "--output", str(tmp_path / "out")])
    assert (code, capsys.readouterr().err.splitlines()[-1].count("expected room")) == (2, 1)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_named(source, tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    code = main(["prepare", "tvsum", "--source", str(source), "--output", str(tmp_path / "locked/out")])
    assert (code, "locked" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize("output", ["/proc/self/out", "/dev/null/out"])
@pytest.mark.skipif(sys.platform != "linux", reason="places where not even root can write, on Linux")
def test_a_place_that_cannot_be_written_to_is_named(source, output, capsys):
    assert main(["prepare", "tvsum", "--source", str(source), "--output", output]) == 2
    assert output in capsys.readouterr().err


@dataclass(frozen=True)
class Faulty:
    """Records, of which the fifth ends the process or asks for more memory than any machine has."""

    inner: TVSumReader
    fault: str

    splits, findings = {}, {}

    @property
    def video_ids(self):
        return self.inner.video_ids

    def __repr__(self):
        return "Faulty"

    def read(self, video_id):
        fault = self.fault if video_id == self.video_ids[4] else ""
        if fault == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "memory":
            np.zeros(2**60, np.uint8)
        return self.inner.read(video_id)


def faulty(source, output, fault, **settings):
    reader = Faulty(TVSumReader(source), fault)
    return prepare(reader, output, [source], dataset="tvsum", videos_per_file=2, progress=False, **settings)


@pytest.mark.slow
def test_a_worker_that_dies_is_told_and_costs_only_its_own_work(source, tmp_path):
    with pytest.raises(OSError, match=r"found one that was ended from outside.*What is done stays: run the same again"):
        faulty(source, tmp_path / "out", "dies", num_proc=2)
    assert not (tmp_path / "out/report.json").exists()
    faulty(source, tmp_path / "out", "")
    faulty(source, tmp_path / "whole", "")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_video_beyond_memory_is_named_and_the_others_done(source, tmp_path):
    with pytest.raises(ValueError, match=r"video \w+: expected memory for it, found too little"):
        faulty(source, tmp_path / "stopped", "memory")
    report = faulty(source, tmp_path / "out", "memory", skip_bad=True)
    assert (list(report["skipped"]), report["videos"]) == ([TVSumReader(source).video_ids[4]], 5)
    assert len(load_prepared(tmp_path / "out")) == 5


MB = 2**20


def hungry_encoder(needs_mb, sizes):
    """The mean colour; takes so many MB a picture, which depend on its brightness, and notes the sizes that fit."""

    def embed(images):
        sum_mb = sum(map(needs_mb, images))
        torch.empty(sum_mb * MB, dtype=torch.uint8)
        sizes.append(len(images))
        return torch.tensor(np.array([image.mean((0, 1)) for image in images]))

    return VideoEncoder("colour", 3, embed)


@pytest.fixture
def little_memory():
    """1,000 MB more than are in use."""
    if sys.platform != "linux":
        pytest.skip("address space is limited on Linux")
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return limited(resource.RLIMIT_AS, in_use + 1000 * MB)


def test_a_batch_that_does_not_fit_is_halved_and_a_picture_that_does_not_is_named(tmp_path, monkeypatch, little_memory):
    write_video(tmp_path / "videos/a.mp4", brightness=10, seconds=4)
    write_video(tmp_path / "videos/bright.mp4", brightness=150)
    write_video(tmp_path / "videos/c.mp4")
    plenty, sizes = [], []
    monkeypatch.setattr(extract, "load_video_encoder", lambda *which: hungry_encoder(lambda image: 0, plenty))
    run(tmp_path / "videos", tmp_path / "whole")
    needs = lambda image: 4000 if image.mean() > 145 else 200  # noqa: E731
    monkeypatch.setattr(extract, "load_video_encoder", lambda *which: hungry_encoder(needs, sizes))
    with little_memory:
        report = run(tmp_path / "videos", tmp_path / "out")
    assert 1 < max(sizes) < max(plenty) == 8
    (reason,) = report["failed"].values()
    assert "bright.mp4: expected memory to encode it, found too little" in reason
    done = {name: found for name, found in contents(tmp_path / "out").items() if name.endswith(".npz")}
    assert len(done) == 2
    assert done.items() <= contents(tmp_path / "whole").items()


def test_other_failures_of_an_encoder_are_not_taken_for_memory(tmp_path):
    def embed(images):
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        VideoEncoder("broken", 3, embed).encode_stream([(0.0, np.zeros((4, 4, 3), np.uint8))] * 4)


class FillsUp(TrainerCallback):
    """The disk has no room from step 4 on."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.slow
def test_a_disk_that_fills_up_while_training_costs_the_steps_since_the_last_checkpoint(
    tmp_path, demo_records, demo_extractor
):
    settings = {"save_strategy": "steps", "save_steps": 3}
    whole = trainer(tmp_path / "whole", demo_records, demo_extractor, model=small_model(), **settings)
    whole.train()
    broken = trainer(tmp_path, demo_records, demo_extractor, model=small_model(), **settings)
    broken.add_callback(FillsUp())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(Exception, match=r"File too large|os error|enough|unexpected pos|write"):
            broken.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    run_folder = tmp_path / "run"
    assert not is_whole(run_folder / "checkpoint-6")
    assert last_checkpoint(run_folder) == str(run_folder / "checkpoint-3")
    again = trainer(tmp_path, demo_records, demo_extractor, model=small_model(), **settings)
    again.train(resume_from_checkpoint=last_checkpoint(run_folder))
    torch.testing.assert_close(again.model.state_dict(), whole.model.state_dict(), atol=1e-6, rtol=0)
    assert is_whole(run_folder / "checkpoint-6")
