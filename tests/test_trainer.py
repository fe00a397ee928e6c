"""Training: the levels alternate, every weight moves, what is saved is what was trained, and resuming goes on."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel

from hiersum_hf import HierSumConfig, HierSumModel
from hiersum_hf.collator import HierSumCollator, sentence_labels_from_frames
from hiersum_hf.evaluation import evaluate_scores, mean_metrics
from hiersum_hf.prediction import levels_to_read, predict_scores
from hiersum_hf.trainer import HierSumTrainer, fit_projections
from hiersum_hf.training_args import HierSumTrainingArguments


def small_model(**changes):
    torch.manual_seed(0)
    sizes = {"video_dim": 32, "text_dim": 32, "hidden_size": 32, "num_layers": 1, "num_attention_heads": 4}
    return HierSumModel(HierSumConfig(**sizes | {"head_dropout": 0.1} | changes))


def trainer(tmp_path, records, extractor, model=None, **changes):
    settings = {
        "max_steps": 6, "per_device_train_batch_size": 4, "child_steps_per_parent": 2, "logging_steps": 6,
        "save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "seed": 3,
    } | changes  # fmt: skip
    args = HierSumTrainingArguments(output_dir=str(tmp_path / "run"), **settings)
    return HierSumTrainer(
        model or small_model(), args, records[:20], extractor, eval_dataset=records[20:24], score_metrics=mean_metrics
    )


class Watched(HierSumTrainer):
    """Notes level and videos of every training step."""

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.seen = [*getattr(self, "seen", []), (inputs["level"], inputs["video_features"].sum().item())]
        return super().compute_loss(model, inputs, *args, **kwargs)


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


def test_resuming_in_the_middle_of_an_epoch_continues_the_same_run(tmp_path, demo_records, demo_extractor):
    settings = {
        "max_steps": 14, "per_device_train_batch_size": 4, "child_steps_per_parent": 2, "use_cpu": True,
        "save_strategy": "steps", "save_steps": 4, "disable_tqdm": True, "report_to": "none",
    }  # fmt: skip
    runs = []
    for resume in (None, str(tmp_path / "run" / "checkpoint-8")):
        args = HierSumTrainingArguments(output_dir=str(tmp_path / "run"), **settings)
        run = Watched(small_model(), args, demo_records[:12], demo_extractor)
        run.train(resume_from_checkpoint=resume)
        runs.append(run)
    whole, resumed = runs
    assert whole.sampler.steps_per_epoch == 5, "step 8 must be inside an epoch"
    assert resumed.seen == whole.seen[8:]
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict(), atol=1e-6, rtol=0)


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


def test_scores_do_not_depend_on_how_videos_are_batched(demo_records, demo_extractor):
    model = small_model(trained_levels=["child", "parent"]).eval()
    together = predict_scores(model, demo_extractor, demo_records[:7], "both", batch_size=7)
    alone = predict_scores(model, demo_extractor, demo_records[:7], "both", batch_size=1)
    for video in together:
        np.testing.assert_allclose(together[video]["scores"], alone[video]["scores"], atol=1e-6)


def test_a_level_that_was_not_trained_is_never_averaged_in(demo_records):
    model = small_model(trained_levels=["child"])
    with pytest.raises(ValueError, match="trained at child"):
        levels_to_read(model, "both", demo_records[0])
    model = small_model(trained_levels=["child", "parent"])
    assert levels_to_read(model, "both", demo_records[0]) == ("child", "parent")


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
    assert results["dropped"]["read_without_description"] == 1


def test_levels_that_took_no_step_do_not_count_as_trained(tmp_path, demo_records, demo_extractor):
    run = trainer(tmp_path, demo_records, demo_extractor, max_steps=2, child_steps_per_parent=5)
    run.train()
    assert run.model.config.trained_levels == ["child"]
    assert run.evaluation_levels() == ["child"]


def test_features_of_another_encoder_are_refused_although_the_width_fits(demo_records, demo_extractor):
    other = type(demo_extractor)("another-encoder", "random-projection", 32, 32, 1.0)
    with pytest.raises(ValueError, match=r"demo_0_0000: expected video features of 'another-encoder'"):
        predict_scores(small_model(), other, demo_records[:1], "child")


def test_impossible_run_is_named_before_the_first_step(tmp_path, demo_records, demo_extractor):
    silent = [without_description(record) for record in demo_records]
    with pytest.raises(ValueError, match="needs videos with a description"):
        trainer(tmp_path, silent, demo_extractor).train()
    with pytest.raises(ValueError, match="child_steps_per_parent must be at least 1"):
        HierSumTrainingArguments(output_dir=str(tmp_path), child_steps_per_parent=0)


def test_trainer_state_of_a_checkpoint_is_plain_json(tmp_path, demo_records, demo_extractor):
    trainer(tmp_path, demo_records, demo_extractor, save_strategy="steps", save_steps=6).train()
    folder = tmp_path / "run" / "checkpoint-6"
    assert json.loads((folder / "trainer_state.json").read_text())["global_step"] == 6
    assert (folder / "preprocessor_config.json").exists()
    assert (folder / "modeling_hiersum.py").exists()
