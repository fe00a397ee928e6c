"""Trainings whose ranks are killed and started again: real processes. They take this file as their module."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hiersum_hf.cli.main import main
from hiersum_hf.training import run as training_run
from tests.makers.data_sets import write_sets
from tests.makers.trainers import Watched


REPO = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
TWO = [*TORCHRUN, "--standalone", "--nproc-per-node", "2"]
ONE = [sys.executable]
SMALL = [  # with the contrast, whose negatives are those of a batch, and without dropout, which every rank draws
    "--data", "set.h5", "--hidden_size", "16", "--num_layers", "1", "--num_attention_heads", "2", "--max_steps", "12",
    "--hidden_dropout", "0", "--head_dropout", "0", "--per_device_train_batch_size", "2", "--save_strategy", "steps",
    "--save_steps", "4", "--use_cpu", "True", "--disable_tqdm", "True", "--report_to", "none",
]  # fmt: skip
PORT = 29731
AUTO = ["--resume_from_checkpoint", "auto"]


class Mortal(Watched):
    """Writes down what each step sees, and dies at the step that DIES names for its rank and its attempt."""

    def compute_loss(self, *args, **kwargs):
        step, rank = self.state.global_step, self.args.process_index
        dies = json.loads(os.environ.get("DIES", "{}"))
        if dies.get(f"{rank}.{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        loss = super().compute_loss(*args, **kwargs)
        with open(f"{self.args.output_dir}.{rank}", "a") as file:
            file.write(json.dumps([step, *self.seen[-1]]) + "\n")
        return loss


def train(folder, launcher, words, dies=None, own_store=True):
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO), "DIES": json.dumps(dies or {})}
    env |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": str(int(own_store))}
    command = [*launcher, str(Path(__file__)), "train", *SMALL, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, cwd=folder)


def seen(folder, run):
    """Level and videos of every step, of all ranks together; a step that was done twice saw the same."""
    steps = {}
    for rank in (0, 1):
        path = folder / f"{run}.{rank}"
        for line in path.read_text().splitlines() if path.exists() else []:
            step, level, videos = json.loads(line)
            steps.setdefault(step, []).append((level, round(videos, 3)))
    return {step: set(batches) for step, batches in sorted(steps.items())}


def weights(folder, run):
    return load_file(folder / run / "model.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, demo_records):
    """Data, and a run of two ranks that nothing disturbed."""
    folder = write_sets(tmp_path_factory.mktemp("restarts"), demo_records)
    done = train(folder, TWO, ["--output_dir", "whole"])
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_a_rank_that_is_killed_costs_no_step(folder):
    """The launcher starts all ranks again, and they go on from the last checkpoint."""
    done = train(folder, [*TWO, "--max-restarts", "1"], ["--output_dir", "killed", *AUTO], {"1.0": 6})
    assert done.returncode == 0, done.stderr[-3000:]
    assert seen(folder, "killed") == seen(folder, "whole")
    torch.testing.assert_close(weights(folder, "killed"), weights(folder, "whole"), atol=1e-6, rtol=0)


@pytest.mark.slow
def test_two_ranks_then_one_then_two_see_the_same_videos(folder):
    words = ["--output_dir", "changed", *AUTO]
    assert train(folder, TWO, words, {"0.0": 6}).returncode
    assert train(folder, ONE, words, {"0.0": 10}).returncode == -signal.SIGKILL
    done = train(folder, TWO, words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert seen(folder, "changed") == seen(folder, "whole")
    torch.testing.assert_close(weights(folder, "changed"), weights(folder, "whole"), atol=1e-6, rtol=0)


@pytest.mark.slow
def test_machines_that_do_not_share_the_folder_fail_at_once(folder):
    """Two launchers as on two machines, each with a folder of its own name for the run."""
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "set.h5").symlink_to(folder / "set.h5")
    nodes = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{PORT}"]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda name: train(folder / name, [*TORCHRUN, *nodes], ["--output_dir", "run"]), "ab"))
    for each in done:
        assert each.returncode, each.stderr[-3000:]
        assert "output_dir run: expected a folder that all ranks share, found that rank 1 on" in each.stderr
    assert not (folder / "a" / "run").exists()
    assert not (folder / "b" / "run").exists()


if __name__ == "__main__":
    training_run.HierSumTrainer = Mortal
    sys.exit(main(sys.argv[1:]))
