"""What a training run refuses before its first step, and before it removes anything."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from hiersum_hf import HierSumConfig
from hiersum_hf.datasets.parts import DataArguments, load_parts
from hiersum_hf.datasets.readers.tvsum import write_tvsum
from hiersum_hf.training.arguments import HierSumTrainingArguments
from hiersum_hf.training.flags import parse
from hiersum_hf.training.preflight import BESIDE_WEIGHTS, check_records, check_reporters, checkpoint_bytes
from tests.makers.commands import SMALL, TINY, launch
from tests.makers.data_sets import prepared, write_sets
from tests.makers.records import like_mrhisum


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Trains in the data folder; exit code, stdout, stderr."""
    return lambda *words: (launch(folder, words, monkeypatch), *capsys.readouterr())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, demo_records):
    return write_sets(tmp_path_factory.mktemp("data"), demo_records)


CHILD = ["--data", "set.h5", "--schedule", "child"]
BEST = ["--data", "set.h5", "--max_steps", "4", "--load_best_model_at_end", "True"]
BEST += ["--metric_for_best_model", "child_kendall_tau"]
BOTH = ["--child_steps_per_parent", 1]
LATE = ["--child_steps_per_parent", 5]
FIGURES = "eval_child_f1, eval_child_kendall_tau, eval_child_spearman_rho,"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "mute.h5"], "needs videos with a description"),
        (["--data", "nowhere.h5"], "nowhere.h5: expected demo, a folder made by `hiersum prepare` or a file"),
        (["--data", "."], "expected a prepared folder with report.json"),
        (["nowhere.yaml"], "nowhere.yaml: expected a recipe"),
        (["--data", "set.h5", "--fold", "9"], "expected fold 0 to 4, found 9"),
        (["--data", "set.h5", "--child_steps_per_parent", "-1"], "child_steps_per_parent must be at least 1, got -1"),
        (["--data", "set.h5", "--hidden_size", "30"], "hidden_size must be a multiple of num_attention_heads"),
        (["--data", "set.h5", "--lerning_rate", "1"], "unknown flag --lerning_rate. Did you mean learning_rate?"),
        (["--data", "set.h5", "--max_steps", "few"], "--max_steps/--max-steps: invalid int value: 'few'"),
        (["--data", "set.h5", "--lora_r", "8"], "lora_r: expected --checkpoint. An adapter adjusts a trained network"),
        (["--data", "set.h5", "--checkpoint", "x", "--lora_r", "0"], "lora_r must be at least 1, got 0"),
        (["--data", "set.h5", "--lora_dropout", "0.1"], "expected --lora_r with its rank"),
        (["--data", "set.h5", "--transfer_widths", "True"], "transfer_widths: expected --checkpoint"),
        (["--data", "set.h5", "--checkpoint", "."], "expected a checkpoint with model_type 'hiersum', found None"),
        (["--data", "set.h5", "--folds", "True", "--fold", "1"], "expected no --fold"),
        (["--data", "demo", "--folds", "True"], "expected a data set with folds"),
        ([*CHILD, "--child_steps_per_parent", "2"], "child_steps_per_parent: expected schedule alternate, which alone"),
        (
            [*CHILD, "--parent_steps_per_child", "2"],
            "heeds it, found schedule child. Leave parent_steps_per_child out, or",
        ),
        (
            ["--schedule", "joint", "--child_steps_per_parent", "2"],
            "found schedule joint. Leave child_steps_per_parent",
        ),
        (["--schedule", "adaptive", "--child_steps_per_parent", "2"], "found schedule adaptive. Leave"),
        (
            ["--adaptive_window", "7"],
            "expected schedule adaptive, which alone heeds it, found schedule alternate. Leave",
        ),
        (["--do_train", "False"], "do_train: expected True, found False"),
        (["--dataloader_drop_last", "True"], "dataloader_drop_last: expected False, found True"),
        (
            [*CHILD, "--parent_text_loss", "True"],
            "parent_text_loss: expected a schedule with parent steps, found child",
        ),
        (
            ["--data", "set.h5", "--parent_text_loss", "True"],
            "parent_text_loss: expected descriptions made of the videos' own sentences, found none in set.h5.",
        ),
        (["--push_to_hub", "True"], "push_to_hub: expected False, found True"),
        (["--load_best_model_at_end", "True"], "load_best_model_at_end: expected --metric_for_best_model"),
        ([*BEST, "--save_strategy", "no", "--eval_strategy", "no"], "expected --save_strategy steps, epoch or best"),
        ([*BEST, "--save_strategy", "steps", "--eval_strategy", "no"], "requires the save and eval strategy to match"),
        (
            [*BEST, "--save_strategy", "steps", "--eval_strategy", "steps", "--eval_steps", "3", "--save_steps", "4"],
            "requires the saving steps to be a",
        ),
        (["--data_seed", "-1"], "data_seed must be finite and not negative, got -1"),
        (["--num_train_epochs", "0"], "num_train_epochs must be above 0 and finite, got 0.0"),
        (["--num_train_epochs", "nan"], "num_train_epochs must be above 0 and finite, got nan"),
        (["--max_steps", "0"], "max_steps must be at least 1, or -1 for num_train_epochs, got 0"),
        (["--max_steps", "-2"], "max_steps must be at least 1, or -1 for num_train_epochs, got -2"),
        (["--gradient_accumulation_steps", "0"], "gradient_accumulation_steps must be at least 1, got 0"),
        (["--per_device_train_batch_size", "0"], "per_device_train_batch_size must be at least 1, got 0"),
        (["--per_device_eval_batch_size", "-1"], "per_device_eval_batch_size must be at least 1, got -1"),
        (["--save_steps", "0"], "save_steps must be above 0 and finite, got 0"),
        (["--logging_steps", "0"], "logging_steps must be above 0 and finite, got 0"),
        (["--eval_steps", "-1"], "eval_steps must be above 0 and finite, got -1"),
        (["--learning_rate", "-1"], "learning_rate must be finite and not negative, got -1.0"),
        (["--weight_decay", "nan"], "weight_decay must be finite and not negative, got nan"),
        (["--max_grad_norm", "inf"], "max_grad_norm must be finite and not negative, got inf"),
        (["--resume_from_checkpoint", "ture"], "expected True, False, auto or a folder, found 'ture'"),
        (["--resume_from_checkpoint", "TRUE"], "bad: expected a whole checkpoint to resume from, found none"),
    ],
)
def test_bad_input_is_named_with_exit_code_2(run, folder, words, message):
    code, _, err = run(*words, "--output_dir", "bad", "--use_cpu", True)
    assert code == 2
    assert message in err
    assert err.splitlines()[-1].startswith("hiersum: error: ")
    assert not list((folder / "bad").glob("*"))


@pytest.mark.slow
def test_scores_alone_need_the_replay_loss(run, tmp_path, demo_records):
    """Without labels every focal term is 0: the run would end without an error and without having learned."""
    records = [replace(like_mrhisum(record), frame_labels=None) for record in demo_records[:15]]
    data = prepared(tmp_path / "data", records, "mrhisum")
    flags = ["--data", data, "--schedule", "child", "--output_dir", tmp_path / "run", *TINY]
    code, _, err = run(*flags)
    assert code == 2
    assert (
        "or --replay_weight above 0 and --score_head replay. The training part has scores; these flags learn labels"
        in err
    )
    code, _, err = run(*flags, "--replay_weight", 1)
    assert (code, "expected frame labels" in err) == (2, True), "the importance head would score untrained"
    code, _, err = run(*flags, "--replay_weight", 1, "--score_head", "replay")
    assert code == 0, err


@pytest.mark.parametrize(
    ("removed", "flags", "message"),
    [
        ("frame_labels", ["--score_loss", "correlation"], None),
        ("frame_scores", ["--score_loss", "correlation"], None),
        ("frame_scores", ["--score_loss", "correlation", "--focal_weight", 0], "has labels; these flags learn scores."),
        (
            "frame_labels",
            ["--score_loss", "centered_mse", "--score_weight", 0],
            "has scores; these flags learn labels.",
        ),
        (None, ["--focal_weight", 0], "has labels and scores; these flags learn nothing."),
    ],
)
def test_what_the_flags_learn_must_be_there(demo_records, removed, flags, message):
    records = [replace(r, **{removed: None} if removed else {}) for r in demo_records[:3]]
    parsed = parse(["demo", *map(str, flags)])
    config = HierSumConfig(**vars(parsed.config))
    if message is None:
        check_records(records, config, parsed.training, "set")
        return
    with pytest.raises(ValueError, match=rf"^set: expected frame labels, .* {message}"):
        check_records(records, config, parsed.training, "set")


def test_ranks_of_nobody_are_told(demo_records, caplog):
    """The recipe tvsum reads files without raters too."""
    parsed, rated = parse(["tvsum", "--data", "x.h5"]), demo_records[:3]
    config = HierSumConfig(**vars(parsed.config) | {"sample_fps": 2.0})
    check_records(rated, config, parsed.training, "set")
    assert not caplog.text
    check_records([replace(r, user_scores=None) for r in rated], config, parsed.training, "set")
    assert "set: no video has annotators. rank_targets learns the scores as they are." in caplog.text


def test_the_head_that_scores_must_be_taught(demo_records):
    """A head that nothing trains scores at random, and the results look like a bad network's."""
    args = HierSumTrainingArguments(output_dir="x", use_cpu=True)
    unlabelled = [replace(r, frame_labels=np.full_like(r.frame_labels, -100)) for r in demo_records[:3]]
    unscored = [replace(r, frame_scores=np.full_like(r.frame_scores, np.nan)) for r in demo_records[:3]]
    importance = HierSumConfig(replay_weight=1.0)
    replay = HierSumConfig(replay_weight=1.0, score_head="replay")
    with pytest.raises(ValueError, match=r"data: expected frame labels, .* The training part has scores"):
        check_records(unlabelled, importance, args, "data")
    with pytest.raises(ValueError, match="data: expected frame scores for score_head replay"):
        check_records(unscored, replay, args, "data")
    replay.replay_weight = 0.0
    with pytest.raises(ValueError, match=r"expected --replay_weight above 0, which trains it, found 0\.0"):
        check_records(demo_records[:3], replay, args, "data")
    replay.replay_weight = 1.0
    check_records([*unlabelled, demo_records[5]], importance, args, "data")
    check_records([*unscored, demo_records[5]], replay, args, "data")


def test_articles_without_features_are_named(run, tmp_path, demo_records):
    """WikiHow ships none; the message must say what to do before anybody waits for a training."""
    nothing = np.zeros((0, 0), np.float32)
    records = [replace(r, video_features=nothing, text_features=nothing, sentences=()) for r in demo_records[:15]]
    data = prepared(tmp_path / "data", records, "wikihow")
    code, _, err = run("--data", data, "--output_dir", tmp_path / "run", *SMALL)
    assert code == 2
    assert f"{data}: expected videos with frame features, found none in 15." in err
    assert "hiersum prepare --help" in err


def test_a_shipped_split_without_a_part_is_named(tmp_path, demo_records):
    data = prepared(tmp_path / "data", demo_records[:6], "bliss", parts=(4, 6, 6))
    with pytest.raises(ValueError, match="data: expected a split with test videos, found train, validation"):
        load_parts(DataArguments(data=str(data)))


def test_more_processes_than_ranks_is_said(run, monkeypatch):
    """torchrun on a machine without GPU starts independent trainings that write over each other."""
    monkeypatch.setattr("transformers.TrainingArguments.world_size", 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run("--data", "set.h5", "--output_dir", "ranks")
    assert code == 2
    assert "2 processes were started" in err


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("lerning_rate: 1", "unknown flag 'lerning_rate'. Did you mean learning_rate?"),
        ("max_steps: few", "max_steps: expected a whole number, found 'few'."),
        ("max_steps: true", "max_steps: expected a whole number, found True."),
        ("learning_rate: [1, 2]", "learning_rate: expected a number, found [1, 2]."),
        ("alignment_mask: maybe", "alignment_mask: expected true or false, found 'maybe'."),
        ("save_strategy: no", "save_strategy: expected one of no, steps, epoch, best, found False."),
        ("hidden_size: {a: 1}", "hidden_size: expected a whole number, found {'a': 1}."),
        ("data: {a: 1}", "data: expected a word, found {'a': 1}."),
        ("- data", "expected a recipe of `flag: value` lines, found list."),
        ("data: [", "expected a recipe in YAML"),
    ],
)
def test_a_wrong_line_of_a_recipe_is_named(run, folder, recipe, message):
    """Or a run with a misspelt flag trains for hours with the default."""
    (folder / "wrong.yaml").write_text(f"output_dir: bad\n{recipe}\n" if recipe[0] != "-" else recipe)
    code, _, err = run("wrong.yaml", "--use_cpu", True)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("hiersum: error: wrong.yaml: ")
    assert message in err


@pytest.mark.slow
def test_another_run_does_not_mix_with_what_is_there(run, folder):
    """Checkpoints of two runs in one folder could be resumed into one another."""
    (folder / "busy").mkdir()
    (folder / "busy" / "recipe.yaml").write_text("data: set.h5\nmax_steps: 9\n")
    words = ["--data", "set.h5", "--output_dir", "busy", *SMALL]
    code, _, err = run(*words)
    assert code == 2
    assert "busy/recipe.yaml: expected the flags of this run, found max_steps 9, now 4" in err
    (folder / "busy" / "checkpoint-9").mkdir()
    code, _, err = run(*words, "--overwrite", True)
    assert code == 0, err
    assert not (folder / "busy" / "checkpoint-9").exists()


@pytest.mark.slow
def test_false_is_no_checkpoint_to_resume(run, folder):
    words = ["--data", "set.h5", "--output_dir", "afresh", *SMALL, "--resume_from_checkpoint", "False"]
    code, _, err = run(*words)
    assert code == 0, err
    code, _, err = run(*words)
    assert (code, "expected no finished run there" in err) == (2, True)


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_results_starts_again(run, folder):
    """Asked for --overwrite there, people get used to giving it; a checkpoint of another origin stays safe."""
    words = ["--data", "set.h5", "--output_dir", "killed", *SMALL]
    code, _, err = run(*words)
    assert code == 0, err
    (folder / "killed" / "results.json").unlink()
    code, _, err = run(*words)
    assert code == 0, err
    (folder / "killed" / "results.json").unlink()
    (folder / "killed" / "recipe.yaml").unlink()
    code, _, err = run(*words)
    assert (code, "killed: expected no other checkpoint there" in err) == (2, True)


def test_what_would_do_nothing_may_be_said_with_its_default():
    """A recipe's flag that does not fit another schedule can be taken back."""
    words = ["--schedule", "child", "--child_steps_per_parent", "2", "--use_cpu", "True", "--output_dir", "x"]
    with pytest.raises(ValueError, match="or give its default, 1"):
        parse(words)
    idle = ["--child_steps_per_parent", "1", "--adaptive_window", "50", "--do_train", "True"]
    assert parse([*words, *idle, "--dataloader_drop_last", "False"]).training.schedule == "child"
    heeded = ["--schedule", "adaptive", "--child_steps_per_parent", "1", "--adaptive_window", "7"]
    assert parse([*words, *heeded]).training.adaptive_window == 7


def test_an_idle_flag_of_a_recipe_is_named(run, folder):
    (folder / "idle.yaml").write_text("data: set.h5\nschedule: parent\nchild_steps_per_parent: 2\noutput_dir: bad\n")
    code, _, err = run("idle.yaml", "--use_cpu", True)
    assert (code, "child_steps_per_parent: expected schedule alternate" in err) == (2, True)
    own = parse([str(folder / "idle.yaml"), "--schedule", "child", "--use_cpu", "True"])
    assert own.training.schedule == "child", "asked for another schedule, a recipe's own m is left out"
    assert "child_steps_per_parent" not in own.given


@pytest.mark.parametrize(
    ("words", "wanted", "expected"),
    [
        (BOTH, "child_kendal", f"{FIGURES.replace('child', 'both')} {FIGURES}"),
        (["--schedule", "child"], "eval_parent_f1", FIGURES),
        ([*LATE, "--max_steps", 5], "both_f1", FIGURES),
        (
            [*LATE, "--eval_strategy", "steps", "--eval_steps", 5],
            "f1",
            "none, as the schedule and the validation part give",
        ),
        (BOTH, "child_map50", FIGURES.replace("child", "both")),
    ],
)
def test_a_metric_that_never_comes_is_refused_before_anything_is_removed(run, folder, words, wanted, expected):
    """Noticed at the first evaluation, the run that it replaces would be gone."""
    old = {"recipe.yaml": "data: set.h5\n", "results.json": "{}"}
    (folder / "old").mkdir(exist_ok=True)
    for name, content in old.items():
        (folder / "old" / name).write_text(content)
    flags = ["--data", "set.h5", "--output_dir", "old", "--overwrite", True, *TINY, *words]
    code, _, err = run(*flags, "--metric_for_best_model", wanted)
    assert code == 2
    assert f"metric_for_best_model: expected one of {expected}" in err
    assert err.rstrip().endswith(f"found eval_{wanted.removeprefix('eval_')}.")
    assert {path.name: path.read_text() for path in (folder / "old").iterdir()} == old


@pytest.mark.parametrize(
    ("settings", "trained", "levels"),
    [
        ({}, None, ["child", "parent", "both"]),
        ({"max_steps": 5}, None, ["child"]),
        ({"max_steps": 6}, None, ["child", "parent", "both"]),
        ({"max_steps": 8, "eval_strategy": "steps", "eval_steps": 5}, None, ["child"]),
        ({"max_steps": 4}, ["parent"], ["child", "parent", "both"]),
        ({"max_steps": 4, "eval_strategy": "steps", "eval_steps": 5}, ["child"], []),
        ({"schedule": "parent"}, ["child"], ["child", "parent", "both"]),
        ({"schedule": "joint"}, None, ["joint"]),
        ({"schedule": "adaptive", "max_steps": 2}, None, ["child", "parent", "both"]),
    ],
)
def test_levels_that_evaluations_will_have(settings, trained, levels):
    """m is 5: the first parent step is the sixth."""
    args = HierSumTrainingArguments(output_dir="x", use_cpu=True, child_steps_per_parent=5, **settings)
    assert args.levels_to_come(trained) == levels


def test_a_run_does_not_write_over_the_checkpoint_it_starts_from(run, folder):
    """An adapter without its base is lost, also one of an adapter."""
    chain = {"base": None, "adapter": folder / "base", "second": folder / "adapter"}
    for name, base in chain.items():
        (folder / name / "checkpoint-4").mkdir(parents=True)
        (folder / name / "results.json").write_text("{}")
        if base:
            (folder / name / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    names = [("base", ""), (folder / "base", ""), ("base/../base/checkpoint-4", ""), ("adapter", "base")]
    for checkpoint, lost in [*names, ("second", "base")]:
        words = [*CHILD, "--checkpoint", checkpoint, "--output_dir", "base", "--overwrite", True, "--use_cpu", True]
        of = f", an adapter of {folder / lost}" if lost else ""
        for more in (["--lora_r", 2], [], ["--folds", True]):
            code, _, err = run(*words, *more)
            assert (code, f"checkpoint {checkpoint}{of}: expected one outside output_dir base" in err) == (2, True)
    assert all((folder / name / "results.json").exists() for name in chain)
    assert all((folder / name / "checkpoint-4").exists() for name in chain)


def test_a_set_without_subtitles_is_named(run, tmp_path, demo_records, caplog):
    """The paper's child level reads them; without, the run is another experiment than its name says."""
    records = [replace(r, sentences=(), text_features=np.zeros((0, 32), np.float32)) for r in demo_records[:15]]
    write_tvsum(records, tmp_path / "silent.h5")
    code, _, err = run("--data", tmp_path / "silent.h5", "--output_dir", tmp_path / "run", *SMALL)
    assert code == 0, err
    assert "silent.h5: no video has subtitles. The child level is trained on frames alone." in caplog.text


def test_a_full_disk_is_said_before_the_first_step(run, folder, monkeypatch):
    monkeypatch.setattr(
        "hiersum_hf.training.preflight.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 2**20)
    )
    code, _, err = run("--data", "set.h5", "--output_dir", "full", *SMALL)
    assert code == 2
    assert "output_dir full: expected room for the checkpoints, 20 MiB, found 1 MiB." in err
    assert not (folder / "full").exists()


def test_checkpoints_that_lie_side_by_side_are_counted():
    """By hand: 1000 weights of which 100 are trained, 4 bytes each, and two states of the optimizer for each."""
    model = torch.nn.ParameterList([torch.zeros(100), torch.nn.Parameter(torch.zeros(900), requires_grad=False)])

    def size(**settings):
        args = HierSumTrainingArguments(output_dir="x", use_cpu=True, **settings)
        return checkpoint_bytes(model, args) - BESIDE_WEIGHTS

    one = 4000 + 2 * 400 + BESIDE_WEIGHTS
    assert size(save_strategy="no") == 4000
    assert size(save_strategy="steps", save_steps=10, max_steps=55) == 4000 + 5 * one
    assert size(save_strategy="steps", save_steps=0.25, max_steps=55) == 4000 + 4 * one
    assert size(save_strategy="epoch", num_train_epochs=7) == 4000 + 7 * one
    assert size(save_strategy="epoch", num_train_epochs=7, save_total_limit=2) == 4000 + 3 * one
    assert size(save_strategy="epoch", num_train_epochs=1, save_only_model=True) == 4000 + 4000 + BESIDE_WEIGHTS
    model.peft_config = {}
    assert size(save_strategy="no") == 400, "an adapter is saved without its base"


def test_a_folder_that_cannot_be_written_is_named(run, folder, monkeypatch):
    code, _, err = run("--data", "set.h5", "--output_dir", "set.h5/run", *SMALL)
    assert code == 2
    assert "set.h5: expected a folder for the run, found a file" in err
    monkeypatch.setattr("os.access", lambda path, mode: False)
    code, _, err = run("--data", "set.h5", "--output_dir", "locked/run", *SMALL)
    assert code == 2
    assert f"{folder}/locked/run: expected a folder that can be written to, found that {folder} cannot" in err
    assert not (folder / "locked").exists()


def test_one_process_with_several_gpus_is_refused_with_the_launcher_to_use(run, folder, monkeypatch):
    """Transformers would wrap the network in DataParallel, which splits every batch over the GPUs."""
    monkeypatch.setattr(HierSumTrainingArguments, "n_gpu", 4)
    code, _, err = run("--data", "set.h5", "--output_dir", "gpus", *SMALL)
    assert code == 2
    assert "expected one process for each GPU, found one process and 4 GPUs" in err
    assert "`accelerate launch -m hiersum_hf train ...`" in err
    assert "CUDA_VISIBLE_DEVICES=0" in err
    assert not (folder / "gpus").exists()


def test_one_process_where_several_were_asked_for_is_said(run, monkeypatch):
    """`accelerate launch --cpu --num_processes 2` starts one and says nothing."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    code, _, err = run("--data", "set.h5", "--output_dir", "ranks", "--use_cpu", True)
    assert code == 2
    assert "Several processes were asked for, one was started" in err


def test_features_of_several_encoders_are_refused_unless_asked_for(run, folder, demo_records, caplog):
    """GoogLeNet and Inception are both 1024 wide: the mix would train without any error."""
    other = replace(demo_records[9], encoders=replace(demo_records[9].encoders, video="another-encoder"))
    write_tvsum([*demo_records[:9], other, *demo_records[10:15]], folder / "mixed.h5")
    flags = ["--data", "mixed.h5", "--output_dir", "mixed", *SMALL]
    code, _, err = run(*flags)
    assert code == 2
    wanted = f"{other.video_id}: expected video features of 'random-projection', found those of 'another-encoder'."
    assert f"{wanted} Give --allow_encoder_mismatch True" in err
    code, _, err = run(*flags, "--allow_encoder_mismatch", True)
    assert code == 0, err
    assert wanted in caplog.text
    assert json.loads((folder / "mixed" / "results.json").read_text())["encoder_mismatch"] == wanted


def test_where_figures_go_is_checked_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr("hiersum_hf.training.preflight.find_spec", lambda name: None)
    args = HierSumTrainingArguments(str(tmp_path), report_to="trackio")
    with pytest.raises(ImportError, match=r"--report_to trackio .* pip install trackio"):
        check_reporters(args)
    args.report_to = ["trackoi"]
    with pytest.raises(ValueError, match="expected one of trackio, tensorboard, wandb or none, found trackoi"):
        check_reporters(args)
    args.report_to = []
    check_reporters(args)
