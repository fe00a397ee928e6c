"""`hiersum train` before a training: recipes, help, and the programs that start it."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from hiersum_hf.cli.main import main
from hiersum_hf.training.flags import parser
from hiersum_hf.training.help import USED_MOST
from hiersum_hf.training.recipe_files import find_recipe, list_recipes


SCRIPTS = Path(__file__).parents[2] / "scripts"
ENTRIES = ("run_train", "run_eval", "merge_lora", "export_to_hub", "app")  # what moved into the package
HEAVY = ["transformers.trainer", "scipy.stats", "sklearn", "datasets", "matplotlib", "av"]


def told(words, capsys):
    assert main(["train", *words]) == 0
    return capsys.readouterr().out


def test_recipes_are_listed_and_shown(capsys):
    """After `pip install` there is no folder to look into."""
    assert told(["--list"], capsys) == f"{list_recipes()}\n"
    for words, name in ((["tvsum", "--show"], "tvsum"), (["--show", "lora"], "lora"), (["--show"], "demo")):
        assert told(words, capsys) == find_recipe(name).read_text()


def test_a_shown_recipe_is_one_to_start_from(capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text(told(["summe", "--show"], capsys))
    assert told([str(tmp_path / "mine.yaml"), "--show"], capsys) == find_recipe("summe").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch"], "nosuch: expected a recipe's name or a YAML file, found neither. Did you mean tvsum?"),
        (["scripts/recipes/tvsum.yaml", "--use_cpu", "True"], "found neither. Did you mean tvsum?"),
        (["nosuch", "--show"], "Did you mean tvsum? `hiersum train --list` shows all recipes."),
        (["tvsum", "--show", "--seed", "1"], "--show: expected a recipe and no flag, found tvsum --seed 1."),
        (["--learning_rate", "1", "--data", "x", "tvsum"], "tvsum: expected the recipe before all flags"),
    ],
)
def test_what_is_no_recipe_is_refused_in_a_line(words, message, capsys):
    assert main(["train", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.splitlines()[-1].startswith("hiersum: error: ")


def test_every_flag_has_a_help():
    for action in parser()._actions:
        assert (action.help or "").strip(), action.dest


def test_help_shows_what_is_used_most_and_keeps_its_commands_on_their_lines(capsys):
    out = told(["--help"], capsys)
    assert told(["tvsum", "-h"], capsys) == out
    assert "\n  accelerate launch --multi_gpu --num_machines 1 --num_processes 4 " in out
    assert "Width D of the network. (default: 128)" in out
    assert len(out.splitlines()) < 150
    for names in USED_MOST.values():
        assert all(f"\n  --{name} " in out for name in names)


def test_the_long_help_shows_every_flag(capsys):
    out = told(["--help-all"], capsys)
    for action in parser()._actions:
        assert action.dest == "help" or f"\n  {action.option_strings[0]}" in out, action.dest
    assert "optimiser steps at child level" in " ".join(out.split())


def test_help_and_mistakes_load_no_trainer():
    """A mistyped flag must not take as long as a start."""
    words = (["--help"], ["train", "--help"], ["train", "--list"], ["train", "demo", "--lerning_rate", "1"])
    code = (
        "import sys; from hiersum_hf.cli.main import main\n"
        f"for words in {words}:\n    try: main(words)\n    except SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Did you mean learning_rate?" in done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", ENTRIES)
def test_old_programs_are_a_call_of_the_package(name):
    assert len((SCRIPTS / f"{name}.py").read_text().splitlines()) <= 10


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("run_train", ["--data", "x", "--lerning_rate", "1"], "hiersum: error: unknown flag --lerning_rate."),
        ("run_train", ["nosuch"], "hiersum: error: nosuch: expected a recipe's name"),
        ("merge_lora", ["{new}", "{new}er"], "new: expected"),
        ("export_to_hub", ["{new}", "org/name"], "new: expected the folder of a run or a prepared data set"),
        ("run_eval", ["{new}", "--folds", "5", "--data", "demo"], "run_eval.py: error: expected a data set with folds"),
    ],
)
def test_old_programs_do_what_they_did(name, words, message, tmp_path, monkeypatch, capsys):
    """Commands in people's notes and in cards that were pushed."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *(word.format(new=tmp_path / "new") for word in words)])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    assert (done.value.code, message in capsys.readouterr().err) == (2, True)


def test_a_space_serves_its_checkpoint(monkeypatch):
    served = []
    monkeypatch.setattr("hiersum_hf.cli.app.serve", served.append)
    for model in ("org/hiersum", ""):
        monkeypatch.setenv("HIERSUM_MODEL", model)
        runpy.run_path(str(SCRIPTS / "app.py"))
    assert served == ["org/hiersum", None]


def test_the_package_is_a_program(monkeypatch, capsys):
    """`accelerate launch -m hiersum_hf train` needs no file of a clone."""
    monkeypatch.setattr(sys, "argv", ["hiersum_hf", "train", "--list"])
    with pytest.raises(SystemExit) as done:
        runpy.run_module("hiersum_hf", run_name="__main__")
    assert (done.value.code, capsys.readouterr().out) == (0, f"{list_recipes()}\n")
