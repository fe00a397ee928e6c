"""Runs of two ranks and runs that are killed: real processes. They take this file as their module."""

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from packaging import version

from hiersum_hf import HierSumFeatureExtractor
from hiersum_hf.scoring.network import predict_scores
from hiersum_hf.synthetic import features as synthetic
from hiersum_hf.training.arguments import HierSumTrainingArguments
from tests.makers.models import small_model
from tests.makers.trainers import Watched


REPO = Path(__file__).parents[1]
RESUMES = version.parse(transformers.__version__) >= version.parse("5.23")
NO_DROPOUT = {"hidden_dropout": 0.0, "head_dropout": 0.0, "inter_weight": 0.0}
CASES = {
    "accumulated": {"gradient_accumulation_steps": 2, "child_steps_per_parent": 2},
    "inverse": {"child_steps_per_parent": 1, "parent_steps_per_child": 3, "gradient_checkpointing": True},
    "adaptive": {"schedule": "adaptive", "adaptive_window": 5, "save_strategy": "steps", "save_steps": 3},
}

pytestmark = pytest.mark.slow


def records():
    """Seven videos, which two ranks cannot share evenly; some lack replay scores, some a description."""
    bank, embed, encoders = synthetic.random_features()
    made = [synthetic.to_record(synthetic.make_video(i), bank, embed, encoders) for i in range(7)]
    made = [replace(record, frame_scores=None) if i % 2 else record for i, record in enumerate(made)]
    mute = {"description": (), "description_features": np.zeros((0, 32), np.float32)}
    return made[:5] + [replace(record, **mute) for record in made[5:]]


def extractor():
    return HierSumFeatureExtractor("random-projection", "random-projection", 32, 32, synthetic.SAMPLE_FPS)


def run_of(folder, kind=Watched, model=None, resume=None, **changes):
    """A Trainer after its training."""
    settings = {
        "max_steps": 12, "per_device_train_batch_size": 1, "logging_steps": 1, "use_cpu": True, "disable_tqdm": True,
        "save_strategy": "no", "seed": 3,
    } | changes  # fmt: skip
    run = kind(model or small_model(), HierSumTrainingArguments(str(folder), **settings), records(), extractor())
    run.train(resume_from_checkpoint=resume)
    return run


def summary(run):
    digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in run.model.state_dict().values()))
    logs = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    seen = {"seen": run.seen, "own_losses": run.shared, "plan": run.sampler.plan}
    if run.planner:
        seen["window_losses"] = run.planner.losses.tolist()
    return seen | {"losses": logs, "weights": digest.hexdigest()}


def scores(run):
    made = [predict_scores(run.model, extractor(), records()[:3], level) for level in ("child", "parent")]
    return [result["scores"].tolist() for level in made for result in level.values()]


def two_ranks(folder):
    """What each rank saw, as JSON."""
    found = {name: summary(run_of(f"{folder}/{name}", **changes)) for name, changes in CASES.items()}
    if RESUMES:
        resume = f"{folder}/adaptive/checkpoint-9"
        found["resumed"] = summary(run_of(f"{folder}/resumed", resume=resume, **CASES["adaptive"]))
    run = run_of(f"{folder}/equal", model=small_model(**NO_DROPOUT), max_steps=20, child_steps_per_parent=1)
    found["scores"] = scores(run)
    Path(f"{folder}/{run.args.world_size}-{run.args.process_index}.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """(folder, what rank 0 saw, what rank 1 saw)"""
    folder = tmp_path_factory.mktemp("ranks")
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    script([*launch, "--mixed_precision", "no", "--dynamo_backend", "no"], "two_ranks", folder)
    return folder, *(json.loads((folder / f"2-{rank}.json").read_text()) for rank in (0, 1))


def script(launch, name, folder):
    """Runs a function of this file in processes of its own; started by its path, tests/datasets would hide datasets."""
    command = [sys.executable, *launch, "-m", "tests.test_distributed", name, str(folder)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, cwd=REPO)
    assert done.returncode == 0, done.stderr[-5000:]


@pytest.mark.parametrize("case", CASES)
def test_ranks_agree_on_levels_plan_and_weights(ranks, case):
    """Ranks at different levels wait for each other for ever, or average gradients of different losses."""
    _, first, second = (found if isinstance(found, Path) else found[case] for found in ranks)
    levels = [level for level, _ in first["seen"]]
    assert levels == [level for level, _ in second["seen"]]
    assert [videos for _, videos in first["seen"]] != [videos for _, videos in second["seen"]], "each has its share"
    for name in ("plan", "losses", "weights"):
        assert first[name] == second[name], name
    assert np.isfinite(first["losses"]).all()
    if case == "adaptive":
        assert [levels[i : i + 5].count("parent") for i in (0, 5)] == first["plan"][:2] == [4, 4], "three to one"
        assert len(first["plan"]) == 4
        assert first["window_losses"] == second["window_losses"]
        started = [
            loss
            for found in (first, second)
            for level, loss in zip(levels[10:], found["own_losses"][10:], strict=True)
            if level == "child"
        ]
        assert first["window_losses"][0] == pytest.approx([sum(started), len(started)]), "both ranks' losses count"
    else:
        wanted = {"accumulated": ["child"] * 4 + ["parent"] * 2, "inverse": ["child", "parent", "parent", "parent"]}
        assert levels == (wanted[case] * 4)[: len(levels)]


@pytest.mark.skipif(not RESUMES, reason="Transformers 5.17 cannot resume on several CPU ranks")
def test_two_ranks_resume_in_the_middle_of_an_epoch(ranks):
    _, *both = ranks
    for found in both:
        assert found["resumed"]["seen"] == found["adaptive"]["seen"][9:]
        for name in ("plan", "window_losses"):
            assert found["resumed"][name] == found["adaptive"][name]
    assert both[0]["resumed"]["weights"] == both[1]["resumed"]["weights"]


def test_two_ranks_equal_one_with_twice_the_accumulation(ranks, tmp_path):
    """Without it a recipe would mean another training on another number of GPUs."""
    run = run_of(
        tmp_path, model=small_model(**NO_DROPOUT), max_steps=20, child_steps_per_parent=1, gradient_accumulation_steps=2
    )
    for ours, theirs in zip(scores(run), ranks[1]["scores"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


class Killed(Watched):
    """Dies while it writes the checkpoint of step 12."""

    def _save_rng_state(self, output_dir):
        if self.state.global_step == 12:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._save_rng_state(output_dir)


SCHEDULES = {
    "alternate": {"child_steps_per_parent": 2, "gradient_accumulation_steps": 2},
    "adaptive": {"schedule": "adaptive", "adaptive_window": 3},
}
SAVING = {"max_steps": 16, "save_strategy": "steps", "save_steps": 4}


def killed(folder):
    """One run for each schedule, in a process that does not survive it."""
    for schedule, changes in SCHEDULES.items():
        run = (f"{folder}/{schedule}", Killed)
        process = multiprocessing.get_context("fork").Process(target=run_of, args=run, kwargs=changes | SAVING)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL


@pytest.fixture(scope="module")
def killed_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    script([], "killed", folder)
    return folder


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_killed_run_goes_on_as_if_nothing_happened(killed_runs, tmp_path, schedule, caplog):
    """From the last whole checkpoint, in the middle of an epoch: the same levels, videos and weights."""
    changes = SCHEDULES[schedule] | SAVING
    whole = run_of(tmp_path, **changes)
    resumed = run_of(killed_runs / schedule, resume=True, **changes)
    assert "checkpoint-12: skipped" in caplog.text
    assert 8 % whole.sampler.steps_per_epoch, "the checkpoint must be inside an epoch"
    assert resumed.seen == whole.seen[8 * resumed.args.gradient_accumulation_steps :]
    assert resumed.sampler.plan == whole.sampler.plan
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict(), atol=1e-6, rtol=0)


if __name__ == "__main__":
    {"two_ranks": two_ranks, "killed": killed}[sys.argv[1]](sys.argv[2])
