"""Training: the levels alternate, every weight moves, what is saved is what was trained, and resuming goes on."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from transformers import AutoFeatureExtractor, AutoModel, TrainerCallback

from hiersum_hf import HierSumModel
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.labels import mean_ranks
from hiersum_hf.scoring.collator import HierSumCollator, sentence_labels_from_frames
from hiersum_hf.scoring.network import predict_scores
from hiersum_hf.training.arguments import HierSumTrainingArguments
from hiersum_hf.training.callbacks import planned_parent_steps
from hiersum_hf.training.projections import _sampled_rows, fit_linear_path, fit_projections
from hiersum_hf.training.resume import last_checkpoint
from tests.makers.models import small_model
from tests.makers.records import OnDisk
from tests.makers.trainers import Watched, trainer


def test_trains_saves_reloads_predicts(tmp_path, demo_records, demo_extractor):
    """The whole round trip: without it nobody could use what they trained."""
    run = trainer(tmp_path, demo_records, demo_extractor, max_steps=12)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.train()
    for name, parameter in run.model.named_parameters():
        still = ("k_proj.bias", "replay_head")  # softmax does not see the one, replay_weight 0 the other
        moved = (parameter - before[name]).abs().max() > 1e-5
        assert moved != any(word in name for word in still), name
    run.save_model()
    model = AutoModel.from_pretrained(tmp_path / "run")
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "run")
    assert model.config.trained_levels == ["child", "parent"]
    ours = predict_scores(run.model, demo_extractor, demo_records[30:32], "both")
    theirs = predict_scores(model, extractor, demo_records[30:32], "both")
    for video in ours:
        np.testing.assert_allclose(ours[video]["scores"], theirs[video]["scores"], atol=1e-6)


def test_logs_every_term_by_level(tmp_path, demo_records, demo_extractor):
    """Or nobody notices that the parent level is not learned."""
    run = trainer(tmp_path, demo_records, demo_extractor)
    run.train()
    logs = {name for entry in run.state.log_history for name in entry}
    terms = {"loss", "frame_focal", "inter", "intra", "replay_mse"}
    assert {f"{level}/{term}" for level in ("child", "parent") for term in terms} <= logs
    assert "child/sentence_focal" in logs
    assert "parent/sentence_focal" not in logs


@pytest.mark.parametrize(("logging_steps", "step"), [(2, 2), (50, 6)])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, demo_records, demo_extractor, logging_steps, step):
    """Transformers logs a mean without it, and hours later every score is NaN."""
    run = trainer(tmp_path, demo_records, demo_extractor, logging_steps=logging_steps)
    with torch.no_grad():
        run.model.frame_head.output.bias.fill_(math.nan)
    with pytest.raises(ValueError, match=f"step {step}: expected a finite training loss, found nan at child level"):
        run.train()


def test_logs_say_what_the_network_was_given(tmp_path, demo_records, demo_extractor):
    """A label rate near 0 or 1, scales at their bound or a missing level explain a run that learns nothing."""
    args = HierSumTrainingArguments(
        output_dir=str(tmp_path), max_steps=6, per_device_train_batch_size=4, child_steps_per_parent=2, logging_steps=6,
        use_cpu=True, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    run = Watched(small_model(), args, demo_records[:12], demo_extractor)
    run.train()
    logs = run.state.log_history[0]
    for level in ("child", "parent"):
        batches = zip(run.labels, run.seen, strict=True)
        labels = torch.cat([given[given != -100] for given, seen in batches if seen[0] == level])
        assert logs[f"{level}/positive_rate"] == pytest.approx(labels.float().mean().item())
    assert logs["parent_share"] == pytest.approx(2 / 6)
    assert logs["logit_scale/intra"] == pytest.approx(run.model.intra_logit_scale.exp().item())
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in logs.values())
    with torch.no_grad():
        run.model.inter_logit_scale.fill_(9.0)
    run.train()
    assert [entry for entry in run.state.log_history if "loss" in entry][-1]["logit_scale/inter"] == 100.0


def test_the_bar_says_the_level(tmp_path, demo_records, demo_extractor):
    seen = []

    class Reader(TrainerCallback):
        def on_substep_end(self, args, state, control, **kwargs):
            bars = (getattr(callback, "training_bar", None) for callback in run.callback_handler.callbacks)
            seen.extend(bar.postfix for bar in bars if bar is not None)

    run = trainer(tmp_path, demo_records, demo_extractor, disable_tqdm=False, gradient_accumulation_steps=2)
    run.add_callback(Reader())
    run.train()
    assert seen == ["child", "child", "parent"] * 2


@pytest.mark.parametrize("changes", [{"bf16": True}, {"gradient_checkpointing": True}])
def test_what_saves_memory_trains(tmp_path, demo_records, demo_extractor, changes):
    run = trainer(tmp_path, demo_records, demo_extractor, logging_steps=1, **changes)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.train()
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert len(losses) == 6
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert (run.model.frame_head.output.weight - before["frame_head.output.weight"]).abs().max() > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("schedule", "backend"), [("alternate", "aot_eager")])
def test_compiled_training_goes_on(tmp_path, demo_records, demo_extractor, schedule, backend):
    """Every level and shape of a batch compiles anew, and slowly: the videos here are of one shape."""
    run = trainer(
        tmp_path, [demo_records[0]] * 20 + demo_records[20:24], demo_extractor, max_steps=3, logging_steps=1,
        schedule=schedule, torch_compile=True, torch_compile_backend=backend,
    )  # fmt: skip
    run.train()
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert len(losses) == 3
    assert all(math.isfinite(loss) for loss in losses)
    assert "eval_child_kendall_tau" in run.evaluate()


def test_levels_follow_m_whatever_the_accumulation(tmp_path, demo_records, demo_extractor):
    args = HierSumTrainingArguments(
        output_dir=str(tmp_path), max_steps=6, per_device_train_batch_size=2, gradient_accumulation_steps=2,
        child_steps_per_parent=2, use_cpu=True, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    run = Watched(small_model(), args, demo_records[:9], demo_extractor)
    run.train()
    assert [level for level, _ in run.seen] == (["child"] * 4 + ["parent"] * 2) * 2


def test_accumulation_equals_a_larger_batch(tmp_path, demo_records, demo_extractor):
    """Gradients of 2 x 4 videos must not be twice those of 8 (in-batch contrast and dropout off)."""
    weights = []
    for batch, accumulate in ((8, 1), (4, 2)):
        model = small_model(hidden_dropout=0.0, head_dropout=0.0, inter_weight=0.0, intra_weight=0.0)
        records = [r for r in demo_records[:20] if len(r.video_features) == len(demo_records[0].video_features)]
        run = trainer(
            tmp_path, records * 20, demo_extractor, model, max_steps=3, per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulate, schedule="parent",
        )  # fmt: skip
        run.train()
        weights.append({name: p.detach() for name, p in model.named_parameters()})
    torch.testing.assert_close(*weights, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"schedule": "adaptive"},
        {"schedule": "adaptive", "restore_callback_states_from_checkpoint": True},
    ],
)
def test_resuming_in_the_middle_of_an_epoch_continues_the_same_run(tmp_path, demo_records, demo_extractor, changes):
    settings = {
        "max_steps": 13, "per_device_train_batch_size": 4, "child_steps_per_parent": 2, "use_cpu": True,
        "save_strategy": "steps", "save_steps": 4, "disable_tqdm": True, "report_to": "none", "adaptive_window": 7,
    } | changes  # fmt: skip
    runs = []
    for resume in (None, str(tmp_path / "run" / "checkpoint-8")):
        args = HierSumTrainingArguments(output_dir=str(tmp_path / "run"), **settings)
        run = Watched(small_model(), args, demo_records[:12], demo_extractor)
        run.train(resume_from_checkpoint=resume)
        runs.append(run)
    whole, resumed = runs
    assert whole.sampler.steps_per_epoch in (5, 6), "step 8 must be inside an epoch"
    assert resumed.seen == whole.seen[8:]
    if whole.planner:
        assert resumed.planner.plan == whole.planner.plan
        torch.testing.assert_close(resumed.planner.losses, whole.planner.losses)  # of a window begun before step 8
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict(), atol=1e-6, rtol=0)


@pytest.mark.slow
def test_the_adaptive_plan_follows_the_losses_two_windows_later(tmp_path, demo_records, demo_extractor):
    args = HierSumTrainingArguments(
        output_dir=str(tmp_path), max_steps=20, schedule="adaptive", adaptive_window=4, per_device_train_batch_size=2,
        gradient_accumulation_steps=2, use_cpu=True, save_strategy="no", disable_tqdm=True, logging_steps=4,
    )  # fmt: skip
    run = Watched(small_model(), args, demo_records[:12], demo_extractor)
    run.train()
    assert run.planner.plan[:2] == [3, 3], "nothing is known yet: three parent steps for a child step"
    for window in range(5):
        batches = range(8 * window, 8 * window + 8)
        levels = [run.seen[i][0] for i in batches]
        assert levels[::2] == levels[1::2], "both batches of a step"
        assert levels[::2].count("parent") == run.planner.plan[window]
        sums = [[sum(run.shared[i] for i in batches if run.seen[i][0] == level), 2 * count] for level, count in (
            ("child", 4 - run.planner.plan[window]), ("parent", run.planner.plan[window]))]  # fmt: skip
        assert run.planner.plan[window + 2] == planned_parent_steps(4, torch.tensor(sums))
    logs = [entry for entry in run.state.log_history if "loss" in entry]
    assert [entry["parent_share"] for entry in logs] == [steps / 4 for steps in run.planner.plan[:5]]
    assert [entry["planned_windows"] for entry in logs] == [3, 4, 5, 6, 7]
    assert [entry["planned_parent_share"] for entry in logs] == [steps / 4 for steps in run.planner.plan[2:]]


def test_a_plan_that_cannot_be_followed_is_refused(tmp_path, demo_records, demo_extractor):
    with pytest.raises(ValueError, match="adaptive_window must be at least 5, because 2 workers fetch 9 batches ahead"):
        trainer(
            tmp_path, demo_records, demo_extractor, schedule="adaptive", adaptive_window=4, dataloader_num_workers=2,
            dataloader_prefetch_factor=4, gradient_accumulation_steps=2,
        ).get_train_dataloader()  # fmt: skip
    settings = {"save_strategy": "steps", "save_steps": 3, "max_steps": 3}
    trainer(tmp_path, demo_records, demo_extractor, **settings).train()
    for found in ("no plan", "5"):
        run = trainer(tmp_path, demo_records, demo_extractor, schedule="adaptive", adaptive_window=4, max_steps=6)
        with pytest.raises(ValueError, match=f"expected a checkpoint with a plan of adaptive_window 4, found {found}"):
            run.train(resume_from_checkpoint=True)
        trainer(tmp_path, demo_records, demo_extractor, schedule="adaptive", adaptive_window=5, **settings).train()


def test_a_plan_that_would_not_be_followed_is_refused(tmp_path, demo_records, demo_extractor):
    """The levels after the checkpoint would be those of another experiment."""
    settings = {"save_strategy": "steps", "save_steps": 3}
    trainer(tmp_path, demo_records, demo_extractor, schedule="adaptive", max_steps=3, **settings).train()
    run = trainer(tmp_path, demo_records, demo_extractor, schedule="child", **settings)
    with pytest.raises(ValueError, match=r"checkpoint-3: expected schedule adaptive, .* found child\."):
        run.train(resume_from_checkpoint=True)
    assert run.state.global_step == 0


def test_training_again_starts_a_new_plan(tmp_path, demo_records, demo_extractor):
    run = trainer(tmp_path, demo_records, demo_extractor, schedule="adaptive", adaptive_window=2)
    for _ in range(2):
        run.train()
        assert len(run.planner.plan) == 5


def test_a_half_written_checkpoint_is_passed_over(tmp_path, demo_records, demo_extractor, caplog):
    """A killed run would otherwise not start again, and nobody knows which file is broken."""
    settings = {"save_strategy": "steps", "save_steps": 3, "child_steps_per_parent": 1}
    trainer(tmp_path, demo_records, demo_extractor, **settings).train()
    run = tmp_path / "run"
    broken = {"model.safetensors": 1000, "optimizer.pt": 1000, "trainer_state.json": 100, "rng_state.pth": 0}
    for step, (name, size) in enumerate(broken.items(), 7):
        shutil.copytree(run / "checkpoint-6", run / f"checkpoint-{step}")
        with open(run / f"checkpoint-{step}" / name, "r+b") as file:
            file.truncate(size)
    (run / "checkpoint-20").mkdir()
    assert last_checkpoint(run) == str(run / "checkpoint-6")
    assert [f"checkpoint-{step}: skipped" in caplog.text for step in (20, 10, 9, 8, 7)] == [True] * 5
    resumed = trainer(tmp_path, demo_records, demo_extractor, max_steps=8, **settings)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 8
    with pytest.raises(ValueError, match="checkpoint-20: expected a whole checkpoint"):
        resumed.train(resume_from_checkpoint=str(run / "checkpoint-20"))
    resumed.args.output_dir = str(tmp_path / "empty")
    with pytest.raises(ValueError, match="empty: expected a whole checkpoint to resume from, found none"):
        resumed.train(resume_from_checkpoint=True)


def test_a_resumed_run_knows_the_levels_before_it(tmp_path, demo_records, demo_extractor):
    """Or its network would refuse to be read at parent level, because the last steps were child steps."""
    settings = {"save_strategy": "steps", "save_steps": 3, "max_steps": 4}
    trainer(tmp_path, demo_records, demo_extractor, **settings).train()
    resumed = trainer(tmp_path, demo_records, demo_extractor, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    assert resumed.model.config.trained_levels == ["child", "parent"]


class Rising:
    """A metric that names the evaluation it was computed at and is best at the second."""

    values = (0.1, 0.9, 0.3, 0.2)

    def __init__(self):
        self.count = 0

    def __call__(self, prediction):
        self.count += 1
        return {"kendall_tau": 0.0} if self.count <= 1 else {"kendall_tau": self.values[(self.count - 2) // 3]}


def test_the_best_checkpoint_by_a_metric_that_comes_later(tmp_path, demo_records, demo_extractor):
    """With m = 2 the first evaluation has no "both" yet: it must not stop the run, and cannot be the best."""
    run = trainer(
        tmp_path, demo_records, demo_extractor, max_steps=8, eval_strategy="steps", eval_steps=2, save_strategy="steps",
        save_steps=2, load_best_model_at_end=True, metric_for_best_model="eval_both_kendall_tau",
    )  # fmt: skip
    run.compute_metrics = Rising()
    run.train()
    first = next(entry for entry in run.state.log_history if "eval_child_kendall_tau" in entry)
    assert "eval_both_kendall_tau" not in first
    assert run.state.best_model_checkpoint == str(tmp_path / "run" / "checkpoint-6")
    best = HierSumModel.from_pretrained(tmp_path / "run" / "checkpoint-6")
    torch.testing.assert_close(run.model.state_dict(), best.state_dict(), atol=0, rtol=0)


def test_the_best_checkpoint_knows_its_own_levels(tmp_path, demo_records, demo_extractor):
    run = trainer(
        tmp_path, demo_records, demo_extractor, max_steps=4, eval_strategy="steps", eval_steps=2, save_strategy="steps",
        save_steps=2, load_best_model_at_end=True, metric_for_best_model="child_kendall_tau", greater_is_better=False,
    )  # fmt: skip
    run.compute_metrics = Rising()
    run.train()
    assert run.state.best_global_step == 2
    assert run.model.config.trained_levels == ["child"], "the parent level was trained after it"


def test_an_unknown_metric_is_named_at_the_first_evaluation(tmp_path, demo_records, demo_extractor):
    run = trainer(
        tmp_path, demo_records, demo_extractor, max_steps=8, eval_strategy="steps", eval_steps=2, save_strategy="steps",
        save_steps=2, load_best_model_at_end=True, metric_for_best_model="eval_both_kendal",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"expected one of .*eval_both_kendall_tau.*, found eval_both_kendal\."):
        run.train()
    assert run.state.global_step == 2


def test_validation_is_read_at_every_level(tmp_path, demo_records, demo_extractor):
    run = trainer(tmp_path, demo_records, demo_extractor, eval_strategy="steps", eval_steps=6)
    run.train()
    figures = {name for entry in run.state.log_history for name in entry}
    for level in ("child", "parent", "both"):
        assert {f"eval_{level}_kendall_tau", f"eval_{level}_f1"} <= figures


def test_logit_scales_and_norms_have_no_weight_decay(tmp_path, demo_records, demo_extractor):
    run = trainer(tmp_path, demo_records, demo_extractor)
    decayed = run.get_decay_parameter_names(run.model)
    assert "encoder.layers.0.attention.q_proj.weight" in decayed
    assert not any("logit_scale" in name or "norm" in name or name.endswith("bias") for name in decayed)


def test_the_rate_is_flat_and_falls_over_the_last_fifth(tmp_path, demo_records, demo_extractor):
    run = trainer(tmp_path, demo_records, demo_extractor, max_steps=10, logging_steps=1, learning_rate=0.5e-3)
    run.train()
    rates = [entry["learning_rate"] for entry in run.state.log_history if "learning_rate" in entry]
    assert rates[:8] == pytest.approx([0.5e-3] * 8)
    assert rates[9] < rates[8] <= 0.5e-3


def test_fit_projections_centres_and_scales_the_training_features(demo_records, demo_extractor):
    model = small_model()
    fit_projections(model, demo_extractor, demo_records)
    with torch.no_grad():
        rows = np.concatenate([demo_extractor.scaled(record.video_features) for record in demo_records])
        projected = model.encoder.embeddings.video_projection(torch.from_numpy(rows))
    assert projected.mean(0).abs().max() < 0.05
    assert projected.std() == pytest.approx(0.5, rel=0.1)


def test_fit_projections_sees_centred_features_as_the_network_does(demo_records, demo_extractor):
    model = small_model(center_features=True)
    fit_projections(model, demo_extractor, demo_records)
    rows = [demo_extractor.scaled(record.video_features) for record in demo_records]
    centred = np.concatenate([one - one.mean(0) for one in rows])
    with torch.no_grad():
        projected = model.encoder.embeddings.video_projection(torch.from_numpy(centred))
    assert projected.mean(0).abs().max() < 0.05
    assert projected.std() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("centred", [True, False])
def test_the_linear_path_starts_as_a_ridge_regression(demo_records, demo_extractor, centred):
    """A new network scores as a linear model of the features does; its transformer adds nothing yet."""
    targets = [mean_ranks(record.user_scores).astype(np.float32) for record in demo_records[:20]]
    for scores in targets:
        scores[:3] = np.nan  # known to nobody
    records = [replace(r, frame_scores=scores) for r, scores in zip(demo_records[:20], targets, strict=True)]
    model = small_model(linear_path=True, center_features=centred)
    fit_projections(model, demo_extractor, records)
    fit_linear_path(model, demo_extractor, records)
    rows, scores, whole = [], [], []
    for record in records:
        x = demo_extractor.scaled(record.video_features).astype(np.float64)
        x, y = (x - x.mean(0) if centred else x), record.frame_scores[3:]
        whole, rows, scores = [*whole, x], [*rows, x[3:]], [*scores, (y - y.mean()) / y.std()]
    x = np.concatenate(rows)
    strength = np.var(x, axis=0).sum() * len(x) / x.shape[1]
    ridge = Ridge(alpha=strength).fit(x, np.concatenate(scores))
    with torch.no_grad():
        frames = model.encoder.embeddings.video_projection(torch.from_numpy(np.concatenate(whole)).float())
        logits = model.linear_path(frames)[:, 0].numpy()
    expected = ridge.predict(np.concatenate(whole))
    assert np.corrcoef(logits, expected)[0, 1] == pytest.approx(1, abs=1e-5)
    assert logits.std() == pytest.approx(0.3, rel=0.05)
    before = model.state_dict()["linear_path.weight"].clone()
    fit_linear_path(model, demo_extractor, [replace(record, frame_scores=None) for record in records])
    torch.testing.assert_close(model.state_dict()["linear_path.weight"], before)


def test_long_videos_are_fitted_in_bounded_memory(demo_records, demo_extractor, monkeypatch):
    """A thousand videos of ten hours would be 70 GB; a bound on videos alone bounds nothing."""
    monkeypatch.setattr("hiersum_hf.training.projections.FIT_ROWS", 40)
    rng = np.random.default_rng(0)
    frames = [rng.standard_normal((count, 32), np.float32) for count in (36_000, 5, 36_000, 700)]
    records = [replace(r, video_features=f) for r, f in zip(demo_records, frames, strict=False)]
    video, text = _sampled_rows(demo_extractor, records)
    assert [len(rows) for rows in video] == [10, 5, 10, 10], "as many of each, all of a shorter one"
    assert sum(map(len, text)) <= 40
    for rows, whole in zip(video, frames, strict=True):
        places = [np.flatnonzero((demo_extractor.scaled(whole.copy()) == row).all(axis=1)).item() for row in rows]
        assert places == sorted(set(places))
        assert len(whole) < 40 or max(places) > len(whole) / 2, "not the beginning alone"
    again = _sampled_rows(demo_extractor, records)[0]
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(video))


def test_a_set_that_does_not_fit_in_memory_starts_at_once(tmp_path, demo_records, demo_extractor):
    """Reading every record first would take minutes and all memory: 31,892 videos are 26 GB."""
    disk, model = OnDisk(demo_records, 31_892), small_model()
    fit_projections(model, demo_extractor, disk)
    assert len(disk.read) == len(set(disk.read)) == 1000
    assert np.ptp(np.diff(disk.read)) <= 1, "evenly spread"
    assert disk.most_alive <= 2
    run = trainer(tmp_path, demo_records, demo_extractor, model, dataloader_num_workers=0)
    run.train_dataset = disk
    disk.read.clear()
    loader = run.get_train_dataloader()
    assert disk.read == []
    described = [i for i, record in enumerate(demo_records) if len(record.description_features)]
    assert [i for i in run.sampler.pools["parent"] if i < len(demo_records)] == described
    next(iter(loader))
    assert len(disk.read) <= 2 * 4, "the batch and the one fetched ahead"


def test_fitting_on_disk_and_in_memory_is_the_same(demo_records, demo_extractor):
    weights = []
    for records in (demo_records, OnDisk(demo_records)):
        model = small_model()
        fit_projections(model, demo_extractor, records)
        weights.append(model.state_dict())
    torch.testing.assert_close(*weights, atol=0, rtol=0)


def test_compute_metrics_gets_the_scores_by_video_and_the_records(tmp_path, demo_records, demo_extractor):
    """The Trainer's own argument: whoever knows Transformers can put their metric there."""
    seen = []

    def longest(prediction):
        seen.append(prediction)
        return {"longest": max(map(len, prediction.predictions.values()))}

    run = trainer(tmp_path, demo_records, demo_extractor)
    run.compute_metrics = longest
    frames = [len(record.video_features) for record in demo_records[20:24]]
    assert run.evaluate()["eval_child_longest"] == max(frames)
    assert [len(scores) for scores in seen[0].predictions.values()] == frames
    assert list(seen[0].predictions) == [record.video_id for record in seen[0].label_ids]


def test_training_on_another_encoder_needs_a_word(tmp_path, demo_records, demo_extractor):
    """Features of equal width and another meaning train without any error to a useless network."""
    other = replace(demo_records[7], encoders=replace(demo_records[7].encoders, video="another-encoder"))
    records = [*demo_records[:7], other, *demo_records[8:24]]
    with pytest.raises(ValueError, match=f"{other.video_id}: expected video features of .* 'another-encoder'"):
        trainer(tmp_path, records, demo_extractor).train()
    trainer(tmp_path, records, demo_extractor, allow_encoder_mismatch=True, max_steps=1).train()


def test_batch_mixing_levels_is_refused(demo_records, demo_extractor):
    with pytest.raises(ValueError, match="one level"):
        HierSumCollator(demo_extractor)([("child", demo_records[0]), ("parent", demo_records[1])])


def test_collator_labels_by_hand(demo_records, demo_extractor):
    assert sentence_labels_from_frames(
        np.array([0, 1, 0, -100, -100]), np.array([[0, 1], [0, 2], [2, 4], [3, 5], [2, 2]])
    ).tolist() == [0, 1, 0, -100, -100]
    batch = HierSumCollator(demo_extractor)([("joint", record) for record in demo_records[:2]])
    sentences, texts = len(demo_records[0].sentences), len(demo_records[0].description)
    assert (batch["sentence_labels"][0, sentences : sentences + texts] == -100).all()
    assert (batch["sentence_labels"][0, :sentences] >= 0).all()
    assert torch.isnan(batch["replay_scores"][~batch["video_mask"]]).all()
    assert (batch["frame_labels"][~batch["video_mask"]] == -100).all()


def without_description(record):
    return replace(record, description=(), description_features=np.zeros((0, 32), np.float32))


def test_video_without_description_does_not_stop_an_evaluation(tmp_path, demo_records, demo_extractor):
    """One such video among thousands would cost the whole run; it is read at child level and counted."""
    silent = without_description(demo_records[21])
    run = trainer(tmp_path, [*demo_records[:21], silent, *demo_records[22:24]], demo_extractor)
    run.train()
    assert "eval_parent_kendall_tau" in run.evaluate()
    child, *others = (
        predict_scores(run.model, demo_extractor, [silent], level)[silent.video_id]["scores"]
        for level in ("child", "parent", "both")
    )
    for scores in others:
        np.testing.assert_array_equal(scores, child)
    results = evaluate_scores(
        [silent], {silent.video_id: child}, scorer="checkpoint", dataset="demo", part="test", level="both"
    )
    assert results.dropped["read_without_description"] == 1


def test_levels_that_took_no_step_do_not_count_as_trained(tmp_path, demo_records, demo_extractor):
    run = trainer(tmp_path, demo_records, demo_extractor, max_steps=2, child_steps_per_parent=5)
    run.train()
    assert run.model.config.trained_levels == ["child"]
    assert run.evaluation_levels() == ["child"]


def test_impossible_run_is_named_before_the_first_step(tmp_path, demo_records, demo_extractor):
    silent = [without_description(record) for record in demo_records]
    with pytest.raises(ValueError, match="needs videos with a description"):
        trainer(tmp_path, silent, demo_extractor).train()
    with pytest.raises(ValueError, match="train_sampling_strategy must be one of random, group_by_length, got 'seq"):
        HierSumTrainingArguments(output_dir=str(tmp_path), train_sampling_strategy="sequential")
    with pytest.raises(ValueError, match="child_steps_per_parent must be at least 1"):
        HierSumTrainingArguments(output_dir=str(tmp_path), child_steps_per_parent=0)


def test_trainer_state_of_a_checkpoint_is_plain_json(tmp_path, demo_records, demo_extractor):
    trainer(tmp_path, demo_records, demo_extractor, save_strategy="steps", save_steps=6).train()
    folder = tmp_path / "run" / "checkpoint-6"
    assert json.loads((folder / "trainer_state.json").read_text())["global_step"] == 6
    assert (folder / "preprocessor_config.json").exists()
    assert (folder / "modeling_hiersum.py").exists()


def test_videos_of_like_length_meet_where_asked_for(tmp_path, demo_records, demo_extractor):
    run = trainer(tmp_path, demo_records, demo_extractor, train_sampling_strategy="group_by_length")
    run.get_train_dataloader()
    np.testing.assert_array_equal(run.sampler.lengths, [len(r.frame_times_s) for r in run.train_dataset])
    assert trainer(tmp_path, demo_records, demo_extractor).args.train_sampling_strategy == "random"
