"""Every recipe starts, trains and leaves results on data of its format; and the data options that recipes use."""

import json
import os
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from accelerate.commands.launch import launch_command_parser

from ablation import compare_pretraining as script
from hiersum_hf.cli.main import main
from hiersum_hf.cli.main import parser as cli_parser
from hiersum_hf.datasets.parts import DataArguments, load_parts
from hiersum_hf.datasets.readers.tvsum import write_tvsum
from hiersum_hf.metrics import kendall_tau
from hiersum_hf.results import Baseline, Results
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.training.flags import parse
from hiersum_hf.training.flags import parser as train_parser
from hiersum_hf.training.recipe_files import find_recipe, headline, list_recipes, recipe_names
from tests.makers.data_sets import write_recipe_data
from tests.makers.encoders import cache_on_hub, write_sentence_clip
from tests.makers.videos import write_video


REPO = Path(__file__).parents[2]
RECIPES = {name: find_recipe(name) for name in recipe_names()}
NEEDS = {"finetune": "wikihow_replay", "lora": "wikihow_replay", "demo_finetune": "demo_replay"}  # a checkpoint of
SHORT = ["--max_steps", 2, "--per_device_train_batch_size", 2, "--use_cpu", True, "--disable_tqdm", True,
         "--logging_steps", 1]  # fmt: skip
SMALL = ["--hidden_size", 16, "--num_layers", 1, "--num_attention_heads", 2]
LEARNED = {  # what a recipe trains, read with which head
    "bliss": ("child,parent", "importance"),
    "demo": ("child,parent", "importance"),
    "demo_finetune": ("child,parent", "importance"),
    "demo_replay": ("child,parent", "replay"),
    "finetune": ("child,parent", "importance"),
    "lora": ("child,parent", "importance"),
    "replay": ("child", "replay"),
    "smmrhisum": ("child,parent", "replay"),
    "smvideoxum": ("child,parent", "replay"),
    "summe": ("child", "importance"),
    "tvsum": ("child,parent", "importance"),
    "tvsum_paper": ("child,parent", "importance"),
    "wikihow_pseudo": ("child,parent", "importance"),
    "wikihow_replay": ("child,parent", "replay"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory, demo_records):
    """A tiny prepared folder for each recipe."""
    return write_recipe_data(tmp_path_factory.mktemp("data"), demo_records[:15])


@pytest.fixture
def trained(data, few_demo_videos, capsys):
    """Runs a recipe for two optimiser steps, once, after the one whose checkpoint it needs; the folder it leaves."""

    def folder_of(name):
        folder = data / "runs" / name
        if (folder / "results.json").exists():
            return folder
        words = [name, *SHORT, "--output_dir", folder]
        words += [] if name.startswith("demo") else ["--data", data / (name if (data / name).exists() else "tvsum")]
        words += ["--child_steps_per_parent", 1] if LEARNED[name][0] == "child,parent" else []
        words += SMALL if name not in ("finetune", "lora") else []  # theirs are the checkpoint's
        words += ["--checkpoint", folder_of(NEEDS[name])] if name in NEEDS else []
        if name in ("demo_finetune", "bliss", "smmrhisum", "smvideoxum"):  # of a few steps one must be a chosen one
            words += ["--eval_strategy", "steps", "--eval_steps", 2, "--save_strategy", "steps", "--save_steps", 2]
        assert main(["train", *map(str, words)]) == 0, capsys.readouterr().err
        return folder

    return folder_of


def commands(text):
    """Words of every command in a recipe's head."""
    text = re.sub(r"\\\n#? *", "", text)
    return [shlex.split(line) for line in re.findall(r"^#   (hiersum .*)", text, re.M)]


@pytest.mark.parametrize("path", RECIPES.values(), ids=lambda path: path.name)
def test_every_command_of_a_recipe_exists(path):
    found = commands(path.read_text())
    assert found
    for _, *words in found:
        args = cli_parser().parse_args(words)
        if args.command == "train":
            parse(args.words)


ASKED = ("--help", "--help-all", "--list", "--show")  # of `hiersum train`, no flags of a run


def test_every_flag_of_the_page_exists():
    """In prose too: a flag that is named differently costs a reader an hour."""
    launcher, own = launch_command_parser(), train_parser()
    known = {option for parser in (launcher, own) for action in parser._actions for option in action.option_strings}
    commands_of = next(action for action in cli_parser()._actions if action.dest == "command").choices
    beside = [*commands_of["prepare"]._actions, *commands_of["evaluate"]._actions]
    known |= {option for action in beside for option in action.option_strings}
    text = (REPO / "docs" / "training.md").read_text()
    assert set(re.findall(r"--[a-z][a-z0-9_-]+", text)) - known <= {"--seeds", *ASKED}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_understood_and_says_how_to_start_it(name):
    """A flag that was renamed would stop a user on their first day."""
    flags = parse([name, *(["--checkpoint", "runs/replay"] if name in NEEDS else [])])
    assert flags.training.output_dir in ("demo/run", f"runs/{name}", f"demo/{name.removeprefix('demo_')}")
    assert flags.training.max_grad_norm == 1.0
    assert flags.training.lr_scheduler_type == "warmup_stable_decay"
    head = RECIPES[name].read_text().split("\n\n")[0]
    assert ["hiersum", "train", *([] if name == "demo" else [name])] in [words[:3] for words in commands(head)]


def test_the_list_has_a_line_for_every_recipe():
    """What a user chooses from: whole sentences that fit a terminal."""
    lines = list_recipes().splitlines()
    assert [line.split()[0] for line in lines] == list(LEARNED)
    assert all(len(line) <= 100 and line.endswith(".") for line in lines)
    assert headline("tvsum") in lines[-4]


@pytest.mark.parametrize(
    ("word", "name"),
    [("tvsun", "tvsum"), ("TVSum", "tvsum"), ("scripts/recipes/lora.yaml", "lora"), ("howto", "wikihow_pseudo")],
)
def test_a_recipe_that_is_missing_is_refused_with_the_nearest_name(word, name):
    with pytest.raises(FileNotFoundError, match=rf"{word}: expected a recipe's name .*, found neither. .* {name}\?"):
        find_recipe(word)


def test_a_recipe_of_ones_own_is_a_yaml_file(tmp_path, monkeypatch):
    """A data file in its place must not be read as one, however large; a name is the package's before any file's."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine.yaml", "set.h5", "tvsum"):
        (tmp_path / name).write_text("output_dir: here\n")
    assert find_recipe("mine.yaml") == Path("mine.yaml")
    assert find_recipe("tvsum") == RECIPES["tvsum"]
    with pytest.raises(FileNotFoundError, match=r"set\.h5: expected a recipe's name or a YAML file"):
        find_recipe("set.h5")


def test_a_recipe_behind_flags_is_said():
    with pytest.raises(ValueError, match="tvsum: expected the recipe before all flags, and one value behind each"):
        parse(["--learning_rate", "1", "tvsum"])


def test_the_published_numbers_are_in_their_recipes():
    """A2Summ's weights and Mr.HiSum's baselines, as their tables have them."""
    contrasts = {"summe": (0.1, 3.0, 16), "tvsum_paper": (0.1, 1.0, 16), "bliss": (0.01, 0.001, 4)}
    runs = {"summe": (1e-3, 1e-3, 4, 300), "tvsum_paper": (1e-3, 1e-5, 4, 300), "bliss": (1e-3, 1e-7, 64, 50)}
    for name, run in (runs | {"replay": (5e-5, 1e-4, 256, 200)}).items():
        flags = parse([name])
        args, config = flags.training, flags.config
        found = args.learning_rate, args.weight_decay, args.per_device_train_batch_size, args.num_train_epochs
        assert found == run, name
        if name in contrasts:
            assert (config.inter_weight, config.intra_weight, config.negative_ratio) == contrasts[name]
    assert parse(["replay"]).config.hidden_size == 512


@pytest.mark.parametrize(
    "name",
    [name if name == "tvsum" else pytest.param(name, marks=pytest.mark.slow) for name in RECIPES],
)
def test_every_recipe_trains(trained, name):
    """Two optimiser steps on data of its format leave results at the levels and of the head that it is for."""
    levels, head = LEARNED[name]
    model, _ = load_checkpoint(trained(name))
    assert ",".join(model.config.trained_levels) == levels
    results = json.loads((trained(name) / "results.json").read_text())
    assert (results["score_head"], results["part"]) == (head, "test")
    assert results["metrics"]["kendall_tau"] is not None


@pytest.mark.slow
def test_a_checkpoint_of_smmrhisum_summarizes_a_video_file(trained, tmp_path):
    """Its frame and text encoder is one that we compute; in a process of its own, which reads another Hub cache."""
    run, video = trained("smmrhisum"), write_video(tmp_path / "talk.mp4", seconds=7)
    cache_on_hub(tmp_path / "hub", "sentence-transformers/clip-ViT-B-32", partial(write_sentence_clip, dim=512))
    (tmp_path / "talk.srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nFold it.\n")
    (tmp_path / "talk.txt").write_text("Show how it is folded")
    words = [video, "--model", run, "--output", tmp_path / "out", "--budget", "3s", "--device", "cpu", "--json"]
    command = [sys.executable, "-m", "hiersum_hf", "summarize", *map(str, words)]
    offline = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | offline, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["encoders"] == dict.fromkeys(("video", "text"), "sentence-transformers/clip-ViT-B-32")
    assert (summary["scorer"], len(summary["scores"]["values"])) == ("checkpoint", 7), "a frame a second, as trained"
    assert (tmp_path / "out" / "talk" / "summary.mp4").stat().st_size > 0


def test_a_checkpoint_of_smvideoxum_says_that_it_reads_its_data_set_only(trained, tmp_path, capsys):
    """A CLIP fine-tuned on VideoXum is none that we can load."""
    video = write_video(tmp_path / "talk.mp4")
    assert main(["summarize", str(video), "--model", str(trained("smvideoxum")), "--output", str(tmp_path)]) == 2
    assert "videoxum-clip: features of this encoder come with a data set" in capsys.readouterr().err


def test_few_training_videos_for_a_learning_curve(data, demo_records, tmp_path):
    """The first N of the training part; validation and test must stay, or points of the curve cannot be compared."""
    write_tvsum(demo_records[:15], tmp_path / "set.h5")
    for source in (str(data / "tvsum"), str(tmp_path / "set.h5")):
        whole, few = (load_parts(DataArguments(data=source, train_videos=count)) for count in (None, 3))
        names = {part: [record.video_id for record in few[part]] for part in few}
        assert names.pop("train") == [record.video_id for record in whole["train"]][:3]
        assert names == {part: [record.video_id for record in whole[part]] for part in names}
        for count in (0, 100):
            with pytest.raises(ValueError, match=rf"train_videos from 1 to {len(whole['train'])}, .* found {count}"):
                load_parts(DataArguments(data=source, train_videos=count))


def test_few_demo_videos_leave_the_test_part_alone(few_demo_videos):
    whole, few = (load_parts(DataArguments(train_videos=count)) for count in (None, 2))
    assert [record.video_id for record in few["train"]] == ["demo_0_0000", "demo_0_0001"]
    for part in ("validation", "test"):
        assert [r.video_id for r in few[part]] == [r.video_id for r in whole[part]]


def test_replay_curves_of_the_demo_are_no_ratings(few_demo_videos):
    """Pre-training must not see annotators; the test part must have them."""
    rated, watched = load_parts(DataArguments()), load_parts(DataArguments(demo_replay=True))
    for part in ("train", "validation"):
        assert all(record.user_scores is None and record.user_summaries is None for record in watched[part])
    np.testing.assert_array_equal(watched["test"][0].user_scores, rated["test"][0].user_scores)
    agreement, rates = [], []
    for ours, theirs in zip(watched["train"], rated["train"], strict=True):
        assert ours.frame_scores.shape == ours.frame_labels.shape == theirs.frame_labels.shape
        assert (ours.frame_scores.min(), ours.frame_scores.max()) == (0, 1)
        agreement.append(kendall_tau(ours.frame_scores.astype(float), theirs.user_scores, ours.video_id)[0])
        rates.append(ours.frame_labels.mean())
    assert np.mean(agreement) == pytest.approx(0.19, abs=0.02), "as much as an annotator with another, 0.18"
    assert np.mean(rates) == pytest.approx(0.25, abs=0.05)
    with pytest.raises(ValueError, match=r"expected the demo set, found set\.h5"):
        load_parts(DataArguments(data="set.h5", demo_replay=True))


def test_comparison_of_pretraining_by_hand(tmp_path, monkeypatch, capsys):
    """Two seeds of made-up results; a page that averages wrongly would sell or bury the method."""
    seen = []

    def train(recipe, output, seed, *flags, quick):
        seen.append((recipe, output.name, flags))
        tau = {"scratch": 0.05, "replay": 0.1, "finetuned": 0.2}[output.name.split("_")[0]] + 0.02 * seed
        per_video = {f"v{i}": {"kendall_tau": tau + 0.001 * i, "spearman_rho": tau, "f1": 0.3} for i in range(30)}
        about = {"dataset": "demo", "part": "test", "split": None, "protocol": "p", "data_fingerprint": "x"}
        about |= {"scorer": "checkpoint", "level": "both"}
        baselines = {name: Baseline(dict.fromkeys(script.SHOWN, 0.01)) for name in ("random", "human")}
        metrics = {name: float(np.mean([v[name] for v in per_video.values()])) for name in script.SHOWN}
        return Results(**about, per_video=per_video, metrics=metrics, baselines=baselines)

    monkeypatch.setattr(script, "train", train)
    monkeypatch.setattr(script, "training_free", lambda baselines: dict.fromkeys(script.SHOWN, 0.15))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["compare_pretraining.py", "--output", "docs/out", "--seeds", "2"])
    assert script.main() == 0
    report = json.loads((tmp_path / "docs" / "out.json").read_text())
    assert report["systems"]["finetuned"]["metrics"]["kendall_tau"] == pytest.approx(0.2 + 0.01 + 0.0145)
    assert report["systems"]["finetuned"]["spread"]["spearman_rho"] == pytest.approx(0.02 / 2**0.5)
    assert report["comparison"]["metrics"]["kendall_tau"]["difference"] == pytest.approx(0.15)
    page = (tmp_path / "docs" / "out.md").read_text()
    assert (
        "| pre-trained, then 60 labelled videos | 0.225 ± 0.014 | 0.210 ± 0.014 | 0.300 ± 0.000 | both, both |" in page
    )
    assert "| training-free | 0.150 | 0.150 | 0.150 |  |" in page
    assert "fine-tuned is better" in page
    assert seen[2] == ("demo_finetune", "finetuned_0", ("--train_videos", "60", "--checkpoint", seen[2][2][3]))
    assert Path(seen[2][2][3]).name == "replay_0"
    with pytest.raises(SystemExit):
        script.main()
    assert "Give --overwrite" in capsys.readouterr().err
