"""scripts/run_train.py as a user starts it, on small files in TVSum's format."""

import json
import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hiersum_hf import HierSumConfig
from hiersum_hf.datasets.bliss import BLiSSReader
from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.tvsum import write_tvsum
from hiersum_hf.prediction import load_checkpoint
from hiersum_hf.preflight import BESIDE_WEIGHTS, check_records, checkpoint_bytes
from hiersum_hf.records import Encoders
from hiersum_hf.train_flags import parser
from hiersum_hf.training_args import HierSumTrainingArguments
from hiersum_hf.training_data import DataArguments, extractor_of, load_parts
from tests.test_bliss import clip, write_bliss
from tests.test_prediction import OnDisk


SCRIPT = Path(__file__).parents[1] / "scripts" / "run_train.py"
SMALL = ["--hidden_size", 16, "--num_layers", 1, "--num_attention_heads", 2, "--max_steps", 4, "--use_cpu", True,
         "--child_steps_per_parent", 1, "--disable_tqdm", True]  # fmt: skip


BEST = [
    "--data",
    "set.h5",
    "--max_steps",
    "4",
    "--load_best_model_at_end",
    "True",
    "--metric_for_best_model",
    "child_kendall_tau",
]


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


@dataclass(frozen=True)
class Shipped:
    """Records that come with a split."""

    records: list
    splits: dict

    findings = {}  # noqa: RUF012

    def __repr__(self):
        return "Shipped"

    @property
    def video_ids(self):
        return [record.video_id for record in self.records]

    def read(self, video_id):
        return self.records[self.video_ids.index(video_id)]


def prepared(path, records, dataset, parts=(8, 11, 15)):
    """A prepared folder of this data set, split at these places."""
    ids = [record.video_id for record in records]
    first, second, last = parts
    splits = {"train": ids[:first], "validation": ids[first:second], "test": ids[second:last]}
    prepare(Shipped(records, splits), path, [__file__], progress=False)
    info = path / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"dataset": dataset}))
    return path


def like_mrhisum(record):
    """Scores with gaps, no text, no annotators."""
    nothing = np.zeros((0, 0), np.float32)
    scores = np.where(np.arange(len(record.frame_scores)) % 5 == 0, np.nan, record.frame_scores).astype(np.float32)
    return replace(
        record, frame_scores=scores, sentences=(), text_features=nothing, description=(), description_features=nothing,
        sentence_labels=None, user_scores=None, user_summaries=None,
        encoders=Encoders("youtube8m-inception", "", 1.0, "mrhisum"),
    )  # fmt: skip


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
        (["--resume_from_checkpoint", "ture"], "expected True, False or a folder, found 'ture'"),
        (["--resume_from_checkpoint", "TRUE"], "bad: expected a whole checkpoint to resume from, found none"),
    ],
)
def test_bad_input_is_named_with_exit_code_2(run, folder, words, message):
    code, _, err = run(*words, "--output_dir", "bad", "--use_cpu", True)
    assert code == 2
    assert message in err
    assert err.splitlines()[-1].startswith("run_train.py: error: ")
    assert not list((folder / "bad").glob("*"))


def test_trains_on_a_prepared_folder_with_the_split_it_ships_with(run, tmp_path, demo_records, caplog):
    """Mr.HiSum: replay scores with gaps, no text at all, and a published split that must not be drawn again."""
    records = [like_mrhisum(record) for record in demo_records[:15]]
    blind = replace(records[2], video_features=np.zeros((0, 32), np.float32))
    blind = replace(blind, frame_labels=None, frame_scores=None, shots=None, picks=None, n_frames=None)
    mute = replace(records[3], frame_labels=None, frame_scores=None)
    taught = replace(records[4], frame_labels=None)
    data = prepared(tmp_path / "data", [*records[:2], blind, mute, taught, *records[5:]], "mrhisum")
    flags = ["--data", data, "--replay_weight", 1, "--output_dir", tmp_path / "run", *SMALL]
    code, _, err = run(*flags)
    assert code == 2
    assert "needs videos with a description" in err
    assert "schedule='child'" in err
    code, _, err = run(*flags, "--schedule", "child")
    assert code == 0, err
    assert "train: left out 1 videos without features, 1 without labels and scores" in caplog.text
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["dataset"], results["split"]) == ("mrhisum", "published#0")
    assert list(results["per_video"]) == [record.video_id for record in records[11:]]
    assert load_checkpoint(tmp_path / "run")[1].video_encoder == "youtube8m-inception"
    parts = load_parts(DataArguments(data=str(data)))
    assert [record.video_id for record in parts["train"]] == [records[i].video_id for i in (0, 1, 4, 5, 6, 7)]


def test_scores_alone_need_the_replay_loss(run, tmp_path, demo_records):
    """Without labels every focal term is 0: the run would end without an error and without having learned."""
    records = [replace(like_mrhisum(record), frame_labels=None) for record in demo_records[:15]]
    data = prepared(tmp_path / "data", records, "mrhisum")
    flags = ["--data", data, "--schedule", "child", "--output_dir", tmp_path / "run", *SMALL]
    code, _, err = run(*flags)
    assert code == 2
    assert "expected frame labels, or --replay_weight above 0" in err
    code, _, err = run(*flags, "--replay_weight", 1)
    assert (code, "expected frame labels" in err) == (2, True), "the importance head would score untrained"
    code, _, err = run(*flags, "--replay_weight", 1, "--score_head", "replay")
    assert code == 0, err


def test_the_head_that_scores_must_be_taught(demo_records):
    """A head that nothing trains scores at random, and the results look like a bad network's."""
    args = HierSumTrainingArguments(output_dir="x", use_cpu=True)
    unlabelled = [replace(r, frame_labels=np.full_like(r.frame_labels, -100)) for r in demo_records[:3]]
    unscored = [replace(r, frame_scores=np.full_like(r.frame_scores, np.nan)) for r in demo_records[:3]]
    importance = HierSumConfig(replay_weight=1.0)
    replay = HierSumConfig(replay_weight=1.0, score_head="replay")
    with pytest.raises(ValueError, match=r"data: expected frame labels, .* found no label"):
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


def test_bliss_trains_at_both_levels(run, tmp_path):
    """Its clips' own sentences stand in for the description it lacks."""
    names = {part: [f"{part}{i}" for i in range(2)] for part in ("train", "val", "test")}
    write_bliss(tmp_path / "source", {part: {name: clip(video_id=name) for name in names[part]} for part in names})
    prepare(BLiSSReader(tmp_path / "source"), tmp_path / "data", [tmp_path / "source"], progress=False)
    flags = ["--data", tmp_path / "data", "--output_dir", tmp_path / "run", *SMALL]
    code, _, err = run(*flags)
    assert code == 0, err
    model, extractor = load_checkpoint(tmp_path / "run")
    assert model.config.trained_levels == ["child", "parent"]
    assert (extractor.video_dim, extractor.text_dim) == (512, 768)


def test_a_shipped_split_without_a_part_is_named(tmp_path, demo_records):
    data = prepared(tmp_path / "data", demo_records[:6], "bliss", parts=(4, 6, 6))
    with pytest.raises(ValueError, match="data: expected a split with test videos, found train, validation"):
        load_parts(DataArguments(data=str(data)))


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


def test_the_feature_extractor_is_found_without_reading_the_set(demo_records):
    """31,892 videos are 26 GB in memory. Rates may differ, as TVSum's do; normalizations may not."""
    rates = [
        replace(r, encoders=replace(r.encoders, sample_fps=fps))
        for r, fps in zip(demo_records[:3], (1, 2, 9), strict=True)
    ]
    parts = {"train": OnDisk(rates, 30_001), "validation": OnDisk(demo_records[5:6]), "test": OnDisk(rates[:1])}
    extractor, mismatch = extractor_of(parts, DataArguments())
    assert mismatch is None
    assert (extractor.video_encoder, extractor.text_encoder) == ("random-projection", "random-projection")
    assert (extractor.video_dim, extractor.text_dim, extractor.sample_fps) == (32, 32, 2)
    assert sum(len(part.read) for part in parts.values()) <= 2
    scaled = replace(demo_records[7], encoders=replace(demo_records[7].encoders, normalization="official"))
    parts["test"] = OnDisk([demo_records[6], scaled])
    mismatch = extractor_of(parts, DataArguments())[1]
    assert mismatch == f"{scaled.video_id}: expected video features normalized as 'none', found 'official'."
    assert parts["test"].read == [1]


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
    assert err.startswith("run_train.py: error: wrong.yaml: ")
    assert message in err


def test_a_run_can_be_started_again_from_what_it_leaves(run, folder):
    """recipe.yaml holds what was given, so that nobody has to remember a command line."""
    (folder / "mine.yaml").write_text("data: set.h5\nschedule: child\nlr_scheduler_kwargs: {num_decay_steps: 2}\n")
    code, _, err = run("mine.yaml", "--output_dir", "first", *SMALL)
    assert code == 0, err
    code, _, err = run("first/recipe.yaml", "--output_dir", "second")
    assert code == 0, err
    first, second = (json.loads((folder / name / "results.json").read_text()) for name in ("first", "second"))
    assert first["metrics"] == second["metrics"]
    lines = (folder / "first" / "recipe.yaml").read_text().splitlines()
    assert {"data: set.h5", "max_steps: 4", "schedule: child"} <= set(lines)
    assert not any(line.startswith("learning_rate") for line in lines), "what was not given follows the defaults"


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


def test_false_is_no_checkpoint_to_resume(run, folder):
    words = ["--data", "set.h5", "--output_dir", "afresh", *SMALL, "--resume_from_checkpoint", "False"]
    code, _, err = run(*words)
    assert code == 0, err
    code, _, err = run(*words)
    assert (code, "expected no finished run there" in err) == (2, True)


def test_a_resumed_run_keeps_its_videos_and_its_levels(run, folder):
    """On another fold it would train on its test videos; without its levels it would forget that child was trained."""
    words = ["--data", "set.h5", "--output_dir", "resumed", *SMALL, "--child_steps_per_parent", 3, "--save_steps", 3]
    code, _, err = run(*words)
    assert code == 0, err
    for resume in ("true", "resumed/checkpoint-3"):
        for change in (["--fold", 1], ["--split_seed", 1], ["--learning_rate", 0.5]):
            code, _, err = run(*words, *change, "--resume_from_checkpoint", resume)
            assert (code, f"found {change[0][2:]} None, now {change[1]}." in err) == (2, True)
    assert load_checkpoint(folder / "resumed" / "checkpoint-3")[0].config.trained_levels == ["child"]
    shutil.rmtree(folder / "resumed" / "checkpoint-4")
    code, _, err = run(*words, "--resume_from_checkpoint", "true", "--save_total_limit", 2, "--report_to", "none")
    assert code == 0, err
    assert load_checkpoint(folder / "resumed")[0].config.trained_levels == ["child", "parent"]
    (folder / "resumed" / "recipe.yaml").unlink()  # so that nothing but the checkpoint knows of the child steps
    code, _, err = run(*words, "--resume_from_checkpoint", "resumed/checkpoint-3", "--schedule", "parent")
    assert code == 0, err
    assert load_checkpoint(folder / "resumed")[0].config.trained_levels == ["child", "parent"]


def test_validation_chooses_the_level(run, folder, monkeypatch):
    """Chosen on the test part, or always child, the figures would be another experiment's."""
    seen = []

    def evaluate(self, *args, **kwargs):
        seen.append({record.video_id for record in self.eval_dataset})
        return {"eval_child_kendall_tau": 0.1, "eval_parent_kendall_tau": 0.3, "eval_both_kendall_tau": 0.2}

    monkeypatch.setattr("hiersum_hf.trainer.HierSumTrainer.evaluate", evaluate)
    code, _, err = run("--data", "set.h5", "--output_dir", "chosen", *SMALL)
    assert code == 0, err
    parts = load_parts(DataArguments(data=str(folder / "set.h5")))
    assert seen == [{record.video_id for record in parts["validation"]}]
    assert load_checkpoint(folder / "chosen")[0].config.default_level == "parent"
    assert json.loads((folder / "chosen" / "results.json").read_text())["level"] == "parent"


@pytest.fixture(scope="module")
def base(folder):
    """A checkpoint of a child-level run."""
    words = ["--data", "set.h5", "--output_dir", "base", "--schedule", "child", *SMALL]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [str(SCRIPT), *map(str, words)])
        with pytest.raises(SystemExit) as done:
            runpy.run_path(str(SCRIPT), run_name="__main__")
    assert done.value.code == 0
    return folder / "base"


FROM = ["--data", "set.h5", "--max_steps", 2, "--child_steps_per_parent", 1, "--use_cpu", True, "--disable_tqdm", True]


def test_starts_from_a_checkpoint(run, folder, base):
    """Its shape comes along; a learning rate of 0 leaves its weights as they are."""
    words = ["--checkpoint", base, *FROM, "--head_dropout", 0.2, "--learning_rate", 0]
    code, _, err = run(*words, "--output_dir", "tuned")
    assert code == 0, err
    model, extractor = load_checkpoint(folder / "tuned")
    before, own = load_checkpoint(base)
    assert (model.config.hidden_size, model.config.head_dropout) == (16, 0.2)
    assert model.config.trained_levels == ["child", "parent"], "the child level stays trained"
    assert extractor.to_dict() == own.to_dict()
    for name, value in before.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value, err_msg=name)
    code, _, err = run(*words, "--output_dir", "tuned-2", "--hidden_size", 128)
    assert code == 2
    assert f"{base}: expected hidden_size 16, as its weights need, found 128." in err
    assert not (folder / "tuned-2").exists()


def test_features_of_another_width_or_encoder_are_refused_unless_asked_for(run, folder, base, demo_records, caplog):
    """A projection that is quietly new, or quietly wrong, would cost what pre-training has learned."""
    wide = [replace(r, video_features=np.tile(r.video_features, 2)) for r in demo_records[:15]]
    other = Encoders("other", "random-projection", 2.0)
    write_tvsum([replace(record, encoders=other) for record in wide], folder / "wide.h5")
    write_tvsum([replace(record, encoders=other) for record in demo_records[:15]], folder / "other.h5")
    words = [*FROM, "--checkpoint", base, "--output_dir", "moved"]
    code, _, err = run(*words, "--data", "other.h5")
    assert code == 2
    assert "expected video features of 'random-projection', found those of 'other'. Give --allow_encoder" in err
    code, _, err = run(*words, "--data", "wide.h5")
    assert code == 2
    assert f"{base}: expected video features of width 32, found 64. Give --transfer_widths True" in err
    code, _, err = run(*words, "--data", "wide.h5", "--transfer_widths", True)
    assert code == 0, err
    assert "video_projection.weight, encoder.embeddings.video_projection.bias started anew" in caplog.text
    extractor = load_checkpoint(folder / "moved")[1]
    assert (extractor.video_encoder, extractor.video_dim) == ("other", 64)
    assert json.loads((folder / "moved" / "results.json").read_text())["encoder_mismatch"] is None


def test_lora_leaves_an_adapter_that_resumes(run, folder, base, caplog):
    caplog.set_level("INFO")
    words = [*FROM, "--checkpoint", base, "--lora_r", 2, "--output_dir", "adapter", "--max_steps", 4]
    code, out, err = run(*words, "--save_steps", 2)
    assert code == 0, err
    assert "LoRA of rank 2: 896 weights, 5.7% of the network's 15,685, and 867 of the heads" in caplog.text
    results = json.loads((folder / "adapter" / "results.json").read_text())
    assert f"{results['metrics']['f1']:.4f}" in out
    names = {path.name for path in (folder / "adapter").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json", "preprocessor_config.json"} <= names
    assert f"{results['metrics']['f1']:.4f}" in (folder / "adapter" / "README.md").read_text()
    code, _, err = run(*words, "--save_steps", 2, "--resume_from_checkpoint", "adapter/checkpoint-2")
    assert code == 0, err
    assert json.loads((folder / "adapter" / "results.json").read_text())["metrics"] == results["metrics"]
    assert load_checkpoint(folder / "adapter")[0].config.trained_levels == ["child", "parent"]


def test_a_network_replaces_an_adapter(run, folder, base):
    """With the adapter's files beside it, it would never be read."""
    words = [*FROM, "--checkpoint", base, "--output_dir", "again"]
    code, _, err = run(*words, "--lora_r", 2)
    assert code == 0, err
    code, _, err = run(*words, "--overwrite", True, "--learning_rate", 0)
    assert code == 0, err
    assert not list((folder / "again").glob("adapter_*"))
    for name, value in load_checkpoint(base)[0].state_dict().items():
        np.testing.assert_array_equal(load_checkpoint(folder / "again")[0].state_dict()[name], value, err_msg=name)


def test_a_run_does_not_write_over_the_checkpoint_it_starts_from(run, folder, base):
    """An adapter without its base is lost."""
    before = {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}
    for checkpoint in ("base", base, "base/../base/checkpoint-4"):
        words = [*FROM, "--checkpoint", checkpoint, "--output_dir", "base", "--overwrite", True]
        for more in (["--lora_r", 2], [], ["--folds", True]):
            code, _, err = run(*words, *more)
            assert (code, f"checkpoint {checkpoint}: expected one outside output_dir base" in err) == (2, True)
    assert {path: path.read_bytes() for path in base.rglob("*") if path.is_file()} == before


def test_the_checkpoint_is_selected_on_the_validation_part(run, folder):
    """A run that keeps its best checkpoint says on what it was best, and its levels are that checkpoint's."""
    best = ["--eval_strategy", "steps", "--eval_steps", 1, "--save_steps", 1, "--load_best_model_at_end", True]
    words = ["--data", "set.h5", "--output_dir", "best", *SMALL, *best, "--metric_for_best_model", "child_kendall_tau"]
    code, _, err = run(*words)
    assert code == 0, err
    assert json.loads((folder / "best" / "results.json").read_text())["selected_on"] == "validation"
    last = json.loads((folder / "best" / "checkpoint-4" / "trainer_state.json").read_text())
    kept = load_checkpoint(last["best_model_checkpoint"])[0]
    model = load_checkpoint(folder / "best")[0]
    assert model.config.trained_levels == kept.config.trained_levels
    for name, value in kept.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value, err_msg=name)


def test_every_fold_is_trained_once(run, folder, caplog, monkeypatch):
    """Five trainings of hours each: what is complete must not be trained again, and what was killed must go on."""
    caplog.set_level("INFO")
    videos = [f"demo_0_{i:04}" for i in range(15)]
    tests = videos[:2], videos[2:4]
    splits = [{"train_keys": [v for v in videos if v not in test], "test_keys": test} for test in tests]
    (folder / "two.json").write_text(json.dumps(splits))
    words = ["--data", "set.h5", "--split_file", "two.json", "--folds", True, "--output_dir", "all", *SMALL]
    code, out, err = run(*words, "--save_steps", 2)
    assert code == 0, err
    results = json.loads((folder / "all" / "results.json").read_text())
    assert list(results["per_video"]) == videos[:4]
    assert "mean over folds ± standard deviation" in out
    for k, fold in enumerate(results["folds"]):
        own = json.loads((folder / "all" / f"fold_{k}" / "results.json").read_text())
        assert (own["split"], fold["metrics"]) == (f"two.json#{k}", pytest.approx(own["metrics"]))
    code, _, err = run(*words, "--save_steps", 2)
    assert code == 2
    assert "all: expected no finished run there. Give --overwrite True" in err

    (folder / "all" / "results.json").unlink()  # as after a kill in the second half of fold 1
    (folder / "all" / "fold_1" / "results.json").unlink()
    shutil.rmtree(folder / "all" / "fold_1" / "checkpoint-4")
    code, out, err = run(*words, "--save_steps", 3)
    assert code == 2
    assert "fold_0/recipe.yaml: expected the flags of this run, found save_steps 2.0, now 3.0" in err
    kept = [folder / "all" / name / "model.safetensors" for name in ("fold_0", "fold_1/checkpoint-2")]
    before = [path.stat().st_mtime_ns for path in kept]
    code, out, err = run(*words, "--save_steps", 2)
    assert code == 0, err
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert "fold_0: complete, skipped." in caplog.text
    state = json.loads((folder / "all" / "fold_1" / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["global_step"] == 4
    assert json.loads((folder / "all" / "results.json").read_text())["metrics"] == pytest.approx(results["metrics"])

    def stop(*args, **kwargs):
        raise OSError("stopped")

    monkeypatch.setattr("hiersum_hf.trainer.HierSumTrainer.save_model", stop)
    code, _, err = run(*words, "--save_steps", 2, "--overwrite", True)
    assert (code, "stopped" in err) == (2, True)
    left = {path.parent.name for path in (folder / "all").rglob("*") if path.name in ("results.json", "recipe.yaml")}
    assert left == {"fold_0"}, "started again, fold 1 of the run that was replaced would count as this one's"
    assert not list((folder / "all").rglob("results.json"))


def test_a_set_without_subtitles_is_named(run, tmp_path, demo_records, caplog):
    """The paper's child level reads them; without, the run is another experiment than its name says."""
    records = [replace(r, sentences=(), text_features=np.zeros((0, 32), np.float32)) for r in demo_records[:15]]
    write_tvsum(records, tmp_path / "silent.h5")
    code, _, err = run("--data", tmp_path / "silent.h5", "--output_dir", tmp_path / "run", *SMALL)
    assert code == 0, err
    assert "silent.h5: no video has subtitles. The child level is trained on frames alone." in caplog.text


def test_a_full_disk_is_said_before_the_first_step(run, folder, monkeypatch):
    monkeypatch.setattr("hiersum_hf.preflight.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 2**20))
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
    assert "output_dir set.h5/run: expected a folder, found a file" in err

    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hiersum_hf.preflight.tempfile.TemporaryFile", refuse)
    code, _, err = run("--data", "set.h5", "--output_dir", "locked/run", *SMALL)
    assert code == 2
    assert f"output_dir locked/run: expected a folder to write to: {folder}: Permission denied." in err


def test_one_process_where_several_were_asked_for_is_said(run, monkeypatch):
    """`accelerate launch --cpu --num_processes 2` starts one and says nothing."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    code, _, err = run("--data", "set.h5", "--output_dir", "ranks", "--use_cpu", True)
    assert code == 2
    assert "Several processes were asked for, one was started" in err


def test_every_flag_has_a_help():
    for action in parser()._actions:
        assert (action.help or "").strip(), action.dest


def test_help_keeps_its_commands_on_their_lines(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "\n    accelerate launch scripts/run_train.py " in out
    assert "optimiser steps at child level" in out
    assert "Width D of the network" in out


@pytest.mark.slow
def test_folds_and_adapters_train_on_two_ranks(folder, base):
    """Only one rank may write, and both must agree on what is left to do."""
    splits = [{"train_keys": [f"demo_0_{i:04}" for i in range(4, 15)], "test_keys": [f"demo_0_{k:04}"]} for k in (0, 1)]
    (folder / "splits.json").write_text(json.dumps(splits))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2]
    launch += ["--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no", SCRIPT]
    words = [*FROM, "--split_file", "splits.json", "--folds", True, "--checkpoint", base, "--lora_r", 2]
    words += ["--output_dir", "ranks", "--save_steps", 1]
    metrics = []
    for _ in range(2):
        done = subprocess.run([*map(str, launch + words)], cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("mean over folds") == 1
        metrics.append(json.loads((folder / "ranks" / "results.json").read_text())["metrics"])
        (folder / "ranks" / "results.json").unlink()  # as after a kill in fold 1
        (folder / "ranks" / "fold_1" / "results.json").unlink()
        shutil.rmtree(folder / "ranks" / "fold_1" / "checkpoint-2")
    assert "fold_0: complete, skipped." in done.stderr
    assert metrics[0] == metrics[1]
