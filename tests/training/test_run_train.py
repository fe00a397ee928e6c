"""`hiersum train` as a user starts it, on small files in TVSum's format."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hiersum_hf.datasets.parts import DataArguments, extractor_of, load_parts
from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.readers.bliss import BLiSSReader
from hiersum_hf.datasets.readers.tvsum import write_tvsum
from hiersum_hf.records import Encoders
from hiersum_hf.scoring.checkpoint import load_checkpoint
from tests.makers.bliss import clip, write_bliss
from tests.makers.commands import SMALL, TINY, launch
from tests.makers.data_sets import prepared, write_sets
from tests.makers.records import OnDisk, like_mrhisum


SCRIPT = Path(__file__).parents[2] / "scripts" / "run_train.py"


@pytest.fixture
def run(folder, monkeypatch, capsys):
    return lambda *words: (launch(folder, words, monkeypatch), *capsys.readouterr())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, demo_records):
    return write_sets(tmp_path_factory.mktemp("data"), demo_records)


def test_trains_on_a_tvsum_file_and_leaves_a_complete_run(run, folder):
    code, out, err = run("--data", "set.h5", "--output_dir", "run", *SMALL)
    assert code == 0, err
    results = json.loads((folder / "run" / "results.json").read_text())
    assert (results["dataset"], results["split"], results["part"]) == ("tvsum", "disjoint-folds-seed0#0", "test")
    assert results["metrics"]["kendall_tau"] is not None
    assert f"{results['metrics']['f1']:.4f}" in out
    assert f"{results['metrics']['f1']:.4f}" in (folder / "run" / "README.md").read_text()
    ridge, difference = results["baselines"]["ridge"], results["against_ridge"]["f1"]["difference"]
    assert difference == pytest.approx(results["metrics"]["f1"] - ridge["f1"])
    assert out.count(" - [ridge]") == 5  # three levels, two scorers without training
    model, extractor = load_checkpoint(folder / "run")
    assert model.config.trained_levels == ["child", "parent"]
    assert model.config.default_level == results["level"]
    assert extractor.video_encoder == "random-projection"
    assert "video-summarization" in model.config.custom_pipelines
    assert (folder / "run" / "pipeline_hiersum.py").is_file(), "the code of the pipeline comes along"

    code, _, err = run("--data", "set.h5", "--output_dir", "run", *SMALL)
    assert code == 2
    assert "Give --overwrite True" in err
    assert json.loads((folder / "run" / "results.json").read_text()) == results


def test_recipe_is_a_file_of_flags_that_flags_override(run, folder):
    (folder / "mine.yaml").write_text("data: mute.h5\nschedule: child\noutput_dir: wrong\nfocal_alpha: null\n")
    code, _, err = run("mine.yaml", "--output_dir", "by-recipe", *TINY)
    assert code == 0, err
    assert load_checkpoint(folder / "by-recipe")[0].config.trained_levels == ["child"]
    assert not (folder / "wrong").exists()


def test_trains_on_a_prepared_folder_with_the_split_it_ships_with(run, tmp_path, demo_records, caplog):
    """Mr.HiSum: replay scores with gaps, no text at all, and a published split that must not be drawn again."""
    records = [like_mrhisum(record) for record in demo_records[:15]]
    blind = replace(records[2], video_features=np.zeros((0, 32), np.float32))
    blind = replace(blind, frame_labels=None, frame_scores=None, shots=None, picks=None, n_frames=None)
    mute = replace(records[3], frame_labels=None, frame_scores=None)
    taught = replace(records[4], frame_labels=None)
    data = prepared(tmp_path / "data", [*records[:2], blind, mute, taught, *records[5:]], "mrhisum")
    flags = ["--data", data, "--replay_weight", 1, "--output_dir", tmp_path / "run", *TINY]
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


def test_bliss_trains_at_both_levels(run, tmp_path):
    """Its clips' own sentences stand in for the description it lacks, and can be learned there."""
    names = {part: [f"{part}{i}" for i in range(2)] for part in ("train", "val", "test")}
    write_bliss(tmp_path / "source", {part: {name: clip(video_id=name) for name in names[part]} for part in names})
    prepare(BLiSSReader(tmp_path / "source"), tmp_path / "data", [tmp_path / "source"], progress=False)
    flags = ["--data", tmp_path / "data", "--output_dir", tmp_path / "run", *SMALL, "--parent_text_loss", True]
    code, _, err = run(*flags)
    assert code == 0, err
    model, extractor = load_checkpoint(tmp_path / "run")
    assert model.config.trained_levels == ["child", "parent"]
    assert (extractor.video_dim, extractor.text_dim) == (512, 768)


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


@pytest.mark.slow
def test_a_run_can_be_started_again_from_what_it_leaves(run, folder):
    """recipe.yaml holds what was given, so that nobody has to remember a command line."""
    (folder / "mine.yaml").write_text("data: set.h5\nschedule: child\nlr_scheduler_kwargs: {num_decay_steps: 2}\n")
    code, _, err = run("mine.yaml", "--output_dir", "first", *TINY)
    assert code == 0, err
    code, _, err = run("first/recipe.yaml", "--output_dir", "second")
    assert code == 0, err
    first, second = (json.loads((folder / name / "results.json").read_text()) for name in ("first", "second"))
    assert first["metrics"] == second["metrics"]
    lines = (folder / "first" / "recipe.yaml").read_text().splitlines()
    assert {"data: set.h5", "max_steps: 4", "schedule: child"} <= set(lines)
    assert not any(line.startswith("learning_rate") for line in lines), "what was not given follows the defaults"


@pytest.mark.slow
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
    words += ["--child_steps_per_parent", 1, "--resume_from_checkpoint", "resumed/checkpoint-3", "--schedule", "parent"]
    code, _, err = run(*words)
    assert code == 0, err
    assert load_checkpoint(folder / "resumed")[0].config.trained_levels == ["child", "parent"]


@pytest.mark.slow
def test_validation_chooses_the_level(run, folder, monkeypatch):
    """Chosen on the test part, or always child, the figures would be another experiment's."""
    seen = []

    def evaluate(self, *args, **kwargs):
        seen.append({record.video_id for record in self.eval_dataset})
        return {"eval_child_kendall_tau": 0.1, "eval_parent_kendall_tau": 0.3, "eval_both_kendall_tau": 0.2}

    monkeypatch.setattr("hiersum_hf.training.trainer.HierSumTrainer.evaluate", evaluate)
    code, _, err = run("--data", "set.h5", "--output_dir", "chosen", *SMALL)
    assert code == 0, err
    parts = load_parts(DataArguments(data=str(folder / "set.h5")))
    assert seen == [{record.video_id for record in parts["validation"]}]
    assert load_checkpoint(folder / "chosen")[0].config.default_level == "parent"
    assert json.loads((folder / "chosen" / "results.json").read_text())["level"] == "parent"


@pytest.mark.slow
def test_nothing_is_chosen_on_a_validation_part_without_labels(run, tmp_path, demo_records, caplog):
    """A card that says so would be a claim without a ground."""
    unlabelled = {"frame_labels": None, "frame_scores": None, "user_scores": None, "user_summaries": None}
    records = [replace(r, **unlabelled) if 8 <= i < 11 else r for i, r in enumerate(demo_records[:15])]
    data = prepared(tmp_path / "data", records, "tvsum")
    words = ["--data", data, "--output_dir", tmp_path / "run", *SMALL]
    code, _, err = run(*words, "--metric_for_best_model", "child_kendall_tau")
    assert (code, "metric_for_best_model: expected one of none, as the schedule and" in err) == (2, True)
    code, _, err = run(*words)
    assert code == 0, err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["selected_on"], results["level"]) == (None, "child")
    assert results["metrics"]["kendall_tau"] is not None
    assert "data: the validation part has nothing to compare with, so no level was chosen." in caplog.text


@pytest.fixture(scope="module")
def base(folder):
    """A checkpoint of a child-level run."""
    words = ["--data", "set.h5", "--output_dir", "base", "--schedule", "child", *TINY]
    with pytest.MonkeyPatch.context() as patch:
        assert launch(folder, words, patch) == 0
    return folder / "base"


FROM = ["--data", "set.h5", "--max_steps", 2, "--child_steps_per_parent", 1, "--use_cpu", True, "--disable_tqdm", True]


@pytest.mark.slow
def test_starts_from_a_checkpoint(run, folder, base):
    """Its shape comes along; a learning rate of 0 leaves its weights as they are."""
    words = ["--checkpoint", base, *FROM, "--head_dropout", 0.2, "--learning_rate", 0]
    card = (base / "README.md").read_text()
    (base / "README.md").write_text(card.replace("license: apache-2.0", "license: cc-by-nc-4.0"))
    code, _, err = run(*words, "--output_dir", "tuned")
    assert code == 0, err
    (base / "README.md").write_text(card)
    assert "license: cc-by-nc-4.0" in (folder / "tuned/README.md").read_text(), "weights keep the terms they came with"
    model, extractor = load_checkpoint(folder / "tuned")
    before, own = load_checkpoint(base)
    assert (model.config.hidden_size, model.config.head_dropout) == (16, 0.2)
    assert model.config.trained_levels == ["child", "parent"], "the child level stays trained"
    assert extractor.to_dict() == own.to_dict()
    assert "pipeline" not in next((folder / "tuned").glob("checkpoint-*/config.json")).read_text(), (
        "its code is not there"
    )
    for name, value in before.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value, err_msg=name)
    code, _, err = run(*words, "--output_dir", "tuned-2", "--hidden_size", 128)
    assert code == 2
    assert f"{base}: expected hidden_size 16, as its weights need, found 128." in err
    assert not (folder / "tuned-2").exists()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_chain_of_checkpoints_says_all_that_it_was_trained_on(run, folder, base, monkeypatch, caplog):
    """An adapter of fold 0, merged, then trained on fold 1: fold 1's test videos were in fold 0's training part."""
    code, _, err = run(*FROM, "--checkpoint", base, "--lora_r", 2, "--output_dir", "chain-lora")
    assert code == 0, err
    assert launch(folder, ["chain-lora", "chain-merged"], monkeypatch, "merge") == 0
    assert "may have seen" not in caplog.text
    (folder / "chain-merged" / "results.json").unlink()  # the config alone must know
    code, _, err = run(*FROM, "--checkpoint", "chain-merged", "--output_dir", "chain-end", "--fold", 1)
    assert code == 0, err
    first, second = (f"disjoint-folds-seed0#{fold}" for fold in (0, 1))
    assert f"chain-merged was trained on split {first} of tvsum, this run tests on {second}" in caplog.text
    base_stage, adapter_stage, last = load_checkpoint(folder / "chain-end")[0].config.trained_on
    assert base_stage == adapter_stage
    assert (base_stage["dataset"], base_stage["split"], last["split"]) == ("tvsum", first, second)
    assert last["test_videos"] != base_stage["test_videos"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_training_on_the_validation_part_selects_nothing(run, folder, demo_records):
    """The last step of a protocol: settings are known, no labelled video is left out but the test videos."""
    words = ["--data", "set.h5", "--output_dir", "refit", *SMALL, "--fit_on_validation", True]
    code, _, err = run(*words, "--eval_strategy", "epoch")
    assert code == 2
    assert "fit_on_validation: expected --eval_strategy no" in err
    assert "found eval_strategy epoch" in err
    code, _, err = run(*words)
    assert code == 0, err
    results = json.loads((folder / "refit" / "results.json").read_text())
    assert (results["selected_on"], results["level"]) == (None, "both")
    assert load_checkpoint(folder / "refit")[0].config.default_level == "both"
    data = DataArguments(data=str(folder / "set.h5"), fit_on_validation=True)
    parts = load_parts(data)
    names = {part: [record.video_id for record in records] for part, records in parts.items()}
    assert names["fitted"] == names["train"] + names["validation"]
    assert not set(names["fitted"]) & set(names["test"])
    on_disk = load_parts(replace(data, data=str(prepared(folder / "refit-data", demo_records[:15], "tvsum"))))
    assert len(on_disk["fitted"]) == len(on_disk["train"]) + len(on_disk["validation"])
    assert "fitted" not in load_parts(replace(data, fit_on_validation=False))


@pytest.mark.slow
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

    monkeypatch.setattr("hiersum_hf.training.trainer.HierSumTrainer.save_model", stop)
    code, _, err = run(*words, "--save_steps", 2, "--overwrite", True)
    assert (code, "stopped" in err) == (2, True)
    left = {path.parent.name for path in (folder / "all").rglob("*") if path.name in ("results.json", "recipe.yaml")}
    assert left == {"fold_0"}, "started again, fold 1 of the run that was replaced would count as this one's"
    assert not list((folder / "all").rglob("results.json"))


@pytest.mark.slow
def test_folds_and_adapters_train_on_two_ranks(folder, base):
    """Only one rank may write, and both must agree on what is left to do."""
    splits = [{"train_keys": [f"demo_0_{i:04}" for i in range(4, 15)], "test_keys": [f"demo_0_{k:04}"]} for k in (0, 1)]
    (folder / "splits.json").write_text(json.dumps(splits))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2]
    launch += ["--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no"]
    words = [*FROM, "--split_file", "splits.json", "--folds", True, "--checkpoint", base, "--lora_r", 2]
    words += ["--output_dir", "ranks", "--save_steps", 1]
    metrics = []
    for program in ([SCRIPT], ["-m", "hiersum_hf", "train"]):  # the second run goes on with the first one's
        done = subprocess.run(
            [*map(str, launch + program + words)], cwd=folder, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("mean over folds") == 1
        metrics.append(json.loads((folder / "ranks" / "results.json").read_text())["metrics"])
        (folder / "ranks" / "results.json").unlink()  # as after a kill in fold 1
        (folder / "ranks" / "fold_1" / "results.json").unlink()
        shutil.rmtree(folder / "ranks" / "fold_1" / "checkpoint-2")
    assert "fold_0: complete, skipped." in done.stderr
    assert metrics[0] == metrics[1]
