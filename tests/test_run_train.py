"""scripts/run_train.py as a user starts it, on small files in TVSum's format."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hiersum_hf.datasets.tvsum import write_tvsum
from hiersum_hf.prediction import load_checkpoint


SCRIPT = Path(__file__).parents[1] / "scripts" / "run_train.py"
SMALL = ["--hidden_size", 16, "--num_layers", 1, "--num_attention_heads", 2, "--max_steps", 4, "--use_cpu", True,
         "--child_steps_per_parent", 1, "--disable_tqdm", True]  # fmt: skip


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Runs the script in the data folder; exit code, stdout, stderr."""

    def start(*words):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, words)])
        with pytest.raises(SystemExit) as done:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return done.value.code, *capsys.readouterr()

    return start


@pytest.fixture(scope="module")
def folder(tmp_path_factory, demo_records):
    """A data set in which the first video has no text at all and others have no description."""
    nothing = np.zeros((0, 32), np.float32)
    bare = {"description": (), "description_features": nothing}
    records = [replace(demo_records[0], sentences=(), text_features=nothing, **bare)]
    records += [replace(record, **bare) if i % 4 == 0 else record for i, record in enumerate(demo_records[1:15])]
    path = tmp_path_factory.mktemp("data")
    write_tvsum(records, path / "set.h5")
    write_tvsum([replace(r, sentences=(), text_features=nothing, **bare) for r in records], path / "mute.h5")
    return path


def test_trains_on_a_tvsum_file_and_leaves_a_complete_run(run, folder):
    code, out, err = run("--data", "set.h5", "--output_dir", "run", *SMALL)
    assert code == 0, err
    results = json.loads((folder / "run" / "results.json").read_text())
    assert (results["dataset"], results["split"], results["part"]) == ("tvsum", "disjoint-folds-seed0#0", "test")
    assert results["metrics"]["kendall_tau"] is not None
    assert f"{results['metrics']['f1']:.4f}" in out
    assert f"{results['metrics']['f1']:.4f}" in (folder / "run" / "README.md").read_text()
    model, extractor = load_checkpoint(folder / "run")
    assert model.config.trained_levels == ["child", "parent"]
    assert model.config.default_level == results["level"]
    assert extractor.video_encoder == "random-projection"

    code, _, err = run("--data", "set.h5", "--output_dir", "run", *SMALL)
    assert code == 2
    assert "Give --overwrite True" in err
    assert json.loads((folder / "run" / "results.json").read_text()) == results


def test_recipe_is_a_file_of_flags_that_flags_override(run, folder):
    (folder / "mine.yaml").write_text("data: mute.h5\nschedule: child\noutput_dir: wrong\nfocal_alpha: null\n")
    code, _, err = run("mine.yaml", "--output_dir", "by-recipe", *SMALL)
    assert code == 0, err
    assert load_checkpoint(folder / "by-recipe")[0].config.trained_levels == ["child"]
    assert not (folder / "wrong").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "mute.h5"], "needs videos with a description"),
        (["--data", "nowhere.h5"], "nowhere.h5: no such file"),
        (["nowhere.yaml"], "nowhere.yaml: expected a recipe"),
        (["--data", "set.h5", "--fold", "9"], "expected fold 0 to 4, found 9"),
        (["--data", "set.h5", "--child_steps_per_parent", "-1"], "child_steps_per_parent must be at least 1, got -1"),
        (["--data", "set.h5", "--hidden_size", "30"], "hidden_size must be a multiple of num_attention_heads"),
    ],
)
def test_bad_input_is_named_with_exit_code_2(run, folder, words, message):
    code, _, err = run(*words, "--output_dir", "bad", "--use_cpu", True)
    assert code == 2
    assert message in err
    assert not (folder / "bad" / "config.json").exists()


def test_more_processes_than_ranks_is_said(run, monkeypatch):
    """torchrun on a machine without GPU starts independent trainings that write over each other."""
    monkeypatch.setattr("transformers.TrainingArguments.world_size", 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run("--data", "set.h5", "--output_dir", "ranks")
    assert code == 2
    assert "2 processes were started" in err


def test_help_keeps_its_commands_on_their_lines(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "\n    accelerate launch scripts/run_train.py " in out
    assert "optimiser steps at child level" in out
    assert "Width D of the network" in out
