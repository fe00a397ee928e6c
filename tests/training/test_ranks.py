"""How the ranks of a run begin, without starting any."""

import multiprocessing
import os
import shutil
import signal
from types import SimpleNamespace

import pytest

from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.training import ranks
from hiersum_hf.training.flags import parse, read_recipe
from hiersum_hf.training.preflight import kept_ranks, share_step
from tests.makers.commands import SMALL, launch
from tests.makers.data_sets import write_sets


@pytest.fixture(scope="module")
def folder(tmp_path_factory, demo_records):
    return write_sets(tmp_path_factory.mktemp("data"), demo_records)


@pytest.fixture
def run(folder, monkeypatch, capsys):
    words = ["--data", "set.h5", "--save_steps", 2, "--report_to", "none", *SMALL]
    return lambda *more: (launch(folder, [*words, *more], monkeypatch), *capsys.readouterr())


def hold(path, held):
    with ranks.locked(path):
        held.set()
        signal.pause()


def test_a_second_run_is_kept_out_until_the_first_one_dies(run, folder, monkeypatch):
    """Two runs would mix their checkpoints; a lock that outlived a crash would stop the restart."""
    monkeypatch.setattr(ranks, "WAIT_S", 0.1)
    fork = multiprocessing.get_context("fork")
    held = fork.Event()
    first = fork.Process(target=hold, args=(folder / "used", held))
    first.start()
    assert held.wait(10)
    code, _, err = run("--output_dir", "used")
    assert (code, "used: expected no other run there, found one that holds used/.lock. Wait until" in err) == (2, True)
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    with ranks.locked(folder / "used"):
        pass
    assert not list((folder / "used").iterdir())


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise OSError(ranks.errno.ENOSYS, "no locks")

    monkeypatch.setattr(ranks.FileLock, "acquire", refuse)
    with ranks.locked(tmp_path / "a" / "b"):
        assert "its file system has no locks" in caplog.text
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_auto_begins_then_goes_on_with_the_videos_of_a_step(run, folder):
    """A recipe of two ranks on one: twice the accumulation, or a step would see half the videos."""
    words = ["--output_dir", "auto", "--resume_from_checkpoint", "auto"]
    code, _, err = run(*words, "--overwrite", True)
    assert (code, "overwrite: expected False with --resume_from_checkpoint auto" in err) == (2, True)
    code, _, err = run(*words, "--ranks", 2)
    assert code == 0, err
    assert read_recipe(folder / "auto" / "recipe.yaml")["ranks"] == 2
    before = (folder / "auto" / "model.safetensors").read_bytes()
    (folder / "auto" / "results.json").unlink()  # as after a kill behind step 2
    shutil.rmtree(folder / "auto" / "checkpoint-4")
    code, _, err = run(*words)
    assert code == 0, err
    assert (folder / "auto" / "model.safetensors").read_bytes() == before
    assert read_recipe(folder / "auto" / "recipe.yaml")["ranks"] == 2
    for change, found in ((["--ranks", 1], 4), (["--per_device_train_batch_size", 2], 4)):
        code, _, err = run(*words, *change)
        assert code == 2
        assert "auto/recipe.yaml: expected 8 videos a step, per_device_train_batch_size x" in err
        assert f"ranks, found {found}. Leave these flags as they were." in err
    code, _, err = run(*words, "--per_device_train_batch_size", 8, "--ranks", 1)
    assert code == 0, err


def test_ranks_of_a_recipe_that_are_none_are_named(folder):
    (folder / "edited").mkdir()
    for found, message in ((-2, "ranks must be at least 1, got -2. Correct it."), ("many", "ranks: expected a whole")):
        (folder / "edited" / "recipe.yaml").write_text(f"ranks: {found}\n")
        recipe = parse(["--use_cpu", "True", "--output_dir", str(folder / "edited")])
        with pytest.raises(HierSumError, match=message):
            kept_ranks(recipe, None)


def plan(world_size, size=4, accumulated=1, sampling="random", splits=False):
    return SimpleNamespace(
        world_size=world_size,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulated,
        train_sampling_strategy=sampling,
        accelerator_config=SimpleNamespace(split_batches=splits),
    )


@pytest.mark.parametrize(
    ("args", "meant", "accumulation"),
    [(plan(1), 2, 2), (plan(2, accumulated=2), 1, 1), (plan(3, accumulated=2), 6, 4), (plan(3, splits=True), 2, 1)],
)
def test_batches_of_a_step_are_spread_over_the_ranks(args, meant, accumulation):
    share_step(args, meant)
    assert args.gradient_accumulation_steps == accumulation


@pytest.mark.parametrize(
    ("args", "meant", "way_out"),
    [
        (plan(2), 1, "Start 1 of them (--num_processes), or add --ranks 2 --per_device_train_batch_size 2 "
                     "--gradient_accumulation_steps 1: the same videos in other batches."),
        (plan(3), 4, "Start 1 or 2 or 4 of them (--num_processes)."),
        (plan(2, sampling="group_by_length"), 1, "Start 1 of them (--num_processes)."),
        (plan(4, size=8), 6, "--ranks 4 --per_device_train_batch_size 6 --gradient_accumulation_steps 2: the same"),
    ],
)  # fmt: skip
def test_ranks_that_cannot_keep_a_step_are_told_what_can(args, meant, way_out):
    with pytest.raises(HierSumError, match="expected a number of processes that divides the") as error:
        share_step(args, meant)
    assert way_out in str(error.value)


def test_restarts_that_lose_steps_are_told(monkeypatch, caplog):
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    ranks.warn_of_restarts(parse(["--use_cpu", "True"]))
    assert "A restart would begin at step 0. Give --resume_from_checkpoint auto." in caplog.text
    assert "set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in caplog.text
    caplog.clear()
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    ranks.warn_of_restarts(parse(["--use_cpu", "True", "--resume_from_checkpoint", "Auto"]))
    assert not caplog.text
    ranks.warn_of_restarts(parse(["--use_cpu", "True", "--resume_from_checkpoint", "auto", "--save_strategy", "no"]))
    assert "save_strategy no: there is no checkpoint to go on from." in caplog.text
