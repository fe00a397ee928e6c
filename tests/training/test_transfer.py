"""Training that starts from a checkpoint: what fits is kept to the bit, what cannot fit is named."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.results import write_json
from hiersum_hf.scoring.checkpoint import training_stages
from hiersum_hf.training.from_checkpoint import fit_renewed, load_for_transfer, note_training, stage_of, trained_levels


TEXT = ["encoder.embeddings.text_projection.weight", "encoder.embeddings.text_projection.bias"]
VIDEO = [name.replace("text", "video") for name in TEXT]


def leave_checkpoint(folder, text_encoder="sbert", **changes):
    """A trained checkpoint of frames of width 12 and texts of width 10."""
    torch.manual_seed(0)
    sizes = {"video_dim": 12, "text_dim": 10, "hidden_size": 16, "num_layers": 2, "num_attention_heads": 4}
    about = {"trained_levels": ["child"], "replay_weight": 1.0, "default_level": "child"}
    model = HierSumModel(HierSumConfig(**sizes | about | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)  # nothing is where it would start
    model.save_pretrained(folder)
    data(text_encoder=text_encoder, sample_fps=1.0, normalize_features=False).save_pretrained(folder)
    return str(folder)


def data(video_dim=12, text_dim=10, video_encoder="clip", text_encoder="sbert", **others):
    """The feature extractor that fits some data."""
    return HierSumFeatureExtractor(video_encoder, text_encoder, video_dim, text_dim, **others)


@pytest.fixture
def checkpoint(tmp_path):
    return leave_checkpoint(tmp_path / "base")


def same(model, checkpoint, but=()):
    """Every parameter equals the checkpoint's to the bit, but those."""
    before = HierSumModel.from_pretrained(checkpoint).state_dict()
    assert set(model.state_dict()) == set(before)
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])} == set(but)


def test_without_changes_it_is_the_checkpoint(checkpoint):
    model, extractor, renewed = load_for_transfer(checkpoint, data(sample_fps=4.0), {})
    assert renewed == []
    assert same(model, checkpoint)
    assert model.training
    assert (model.config.replay_weight, model.config.trained_levels) == (1.0, ["child"])
    assert (extractor.sample_fps, extractor.normalize_features) == (4.0, False)
    assert model.config.sample_fps == 4.0, "what smooth_s is counted in"


def test_another_encoder_of_the_same_width_gets_a_projection_of_its_own(checkpoint):
    """Inception's and GoogLeNet's features are 1024 wide: the old projection would start from a wrong reading."""
    model, extractor, renewed = load_for_transfer(checkpoint, data(video_encoder="other"), {}, transfer_widths=True)
    assert sorted(renewed) == sorted(VIDEO)
    assert same(model, checkpoint, but=VIDEO)
    assert (extractor.video_encoder, extractor.text_encoder) == ("other", "sbert")
    assert load_for_transfer(checkpoint, data(video_encoder="other"), {})[2] == []


def test_what_the_weights_do_not_depend_on_may_change(checkpoint):
    """Fine-tuning needs its own losses and dropout, or pre-training would dictate them."""
    changes = {"replay_weight": 0.0, "hidden_dropout": 0.3, "head_dropout": 0.2, "score_head": "replay"}
    changes |= {"smooth_s": 4.5, "smooth_passes": 2, "score_loss": "correlation", "focal_weight": 0.0}
    model, _, renewed = load_for_transfer(checkpoint, data(), changes)
    assert {name: getattr(model.config, name) for name in changes} == changes
    assert (model.encoder.embeddings.dropout.p, model.frame_head.dropout.p) == (0.3, 0.2)
    assert renewed == []
    assert same(model, checkpoint)


@pytest.mark.parametrize(
    ("field", "own", "other"),
    [("hidden_size", 16, 128), ("num_layers", 2, 6), ("segment_reduction", "'mean'", "sum"),
     ("alignment_mask", True, False), ("initializer_range", 0.02, 0.1)],
)  # fmt: skip
def test_what_the_weights_depend_on_may_not(checkpoint, field, own, other):
    """`segment_reduction` fits any weights, and would quietly make them compute something else."""
    with pytest.raises(ValueError, match=rf"base: expected {field} {own}, as its weights need, found {other!r}"):
        load_for_transfer(checkpoint, data(), {field: other})
    kept = {field: getattr(HierSumConfig.from_pretrained(checkpoint), field)}
    load_for_transfer(checkpoint, data(), kept)


def test_another_width_is_refused_unless_asked_for(checkpoint, caplog):
    with pytest.raises(ValueError, match=r"expected video features of width 12, found 20\. Give --transfer_widths"):
        load_for_transfer(checkpoint, data(video_dim=20), {})
    with pytest.raises(ValueError, match=r"expected text features of width 10, found 7\. Give --transfer_widths True"):
        load_for_transfer(checkpoint, data(text_dim=7), {})
    wide = data(20, video_encoder="inception", normalization="official")
    model, extractor, renewed = load_for_transfer(checkpoint, wide, {}, transfer_widths=True)
    assert renewed == VIDEO
    assert f"{checkpoint}: {', '.join(VIDEO)} started anew" in caplog.text
    before = HierSumModel.from_pretrained(checkpoint).state_dict()
    assert all(torch.equal(v, before[name]) for name, v in model.state_dict().items() if name not in VIDEO)
    projection = model.encoder.embeddings.video_projection
    assert projection.weight.shape == (16, 20)
    assert projection.weight.std().item() == pytest.approx(20**-0.5, rel=0.2)
    assert (projection.bias == 0).all()
    assert (model.config.video_dim, model.config.text_dim) == (20, 10)
    assert (extractor.video_encoder, extractor.video_dim, extractor.normalization) == ("inception", 20, "official")
    assert (extractor.text_encoder, extractor.text_dim) == ("sbert", 10), "kept, so that another encoder is noticed"


def test_both_widths(checkpoint):
    model, extractor, renewed = load_for_transfer(checkpoint, data(20, 7), {}, transfer_widths=True)
    assert sorted(renewed) == sorted(VIDEO + TEXT)
    assert (model.config.video_dim, model.config.text_dim, extractor.text_dim) == (20, 7, 7)


@pytest.mark.parametrize("text_dim", [7, 10])
def test_a_checkpoint_that_never_read_text_gets_a_new_text_projection(tmp_path, text_dim):
    """Replay pre-training on Mr.HiSum is mute: nothing is lost, so nothing need be allowed, whatever the width."""
    checkpoint = leave_checkpoint(tmp_path / "base", text_encoder="")
    model, extractor, renewed = load_for_transfer(checkpoint, data(text_dim=text_dim), {})
    assert renewed == TEXT
    assert (model.config.text_dim, extractor.text_encoder, extractor.text_dim) == (text_dim, "sbert", text_dim)
    if text_dim == 10:
        assert same(model, checkpoint, TEXT)


def test_data_without_text_keep_the_text_side(checkpoint):
    model, extractor, renewed = load_for_transfer(checkpoint, data(text_encoder="", text_dim=768), {})
    assert (renewed, extractor.text_encoder, model.config.text_dim) == ([], "sbert", 10)


def test_levels_stay_listed_unless_their_scores_go_through_something_new(tmp_path, checkpoint):
    """A level is read, averaged and offered to users if it is listed: listed wrongly, it is noise in every summary."""
    levels = {
        "same": load_for_transfer(checkpoint, data(), {})[0].config.trained_levels,
        "head": load_for_transfer(checkpoint, data(), {"score_head": "replay"})[0].config.trained_levels,
        "same head": load_for_transfer(checkpoint, data(), {"score_head": "importance"})[0].config.trained_levels,
        "width": load_for_transfer(checkpoint, data(20), {}, True)[0].config.trained_levels,
    }
    assert levels == {"same": ["child"], "head": None, "same head": ["child"], "width": None}
    assert trained_levels(checkpoint) == ["child"]
    assert trained_levels(tmp_path) is None


def test_only_new_projections_are_fitted(checkpoint, demo_records):
    """Fitting a trained one would throw away what it has learned."""
    records = [
        replace(record, video_features=np.tile(record.video_features[:, :20], 1),
                text_features=record.text_features[:, :10], description_features=record.description_features[:, :10])
        for record in demo_records[:8]
    ]  # fmt: skip
    model, extractor, renewed = load_for_transfer(checkpoint, data(20), {}, transfer_widths=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_renewed(model, extractor, records, renewed)
    assert {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])} == set(VIDEO)
    rows = np.concatenate([extractor.scaled(record.video_features) for record in records])
    with torch.no_grad():
        projected = model.encoder.embeddings.video_projection(torch.from_numpy(rows))
    assert projected.std() == pytest.approx(0.5, rel=0.1)


def test_test_videos_that_an_earlier_training_saw_are_named(checkpoint, demo_records, caplog):
    """Fold 1 fine-tuned from fold 0's checkpoint would be tested on videos that were trained on."""
    first, second = (stage_of("tvsum", f"drawn#{k}", demo_records[4 * k : 4 * k + 4]) for k in (0, 1))
    model = HierSumModel(HierSumConfig(num_layers=1, hidden_size=16))
    for stage in (stage_of("summe", "drawn#1", demo_records[4:8]), first, first):
        note_training(model, "base", stage)
    same_videos = stage_of("tvsum", "published#0", demo_records[3::-1])
    note_training(model, "base", same_videos)
    assert caplog.text == ""
    assert [stage["dataset"] for stage in model.config.trained_on] == ["summe", "tvsum", "tvsum", "tvsum"]
    note_training(model, "base", second)
    assert "base was trained on split drawn#0, published#0 of tvsum, this run tests on drawn#1: it may" in caplog.text
    note_training(model, "base", stage_of("tvsum", "drawn#1", demo_records[4:9]))
    assert "base was trained on split drawn#0, drawn#1, published#0 of" in caplog.text, "one name for other videos"


def test_a_checkpoint_keeps_what_it_was_trained_on(checkpoint, demo_records, caplog):
    """One that was trained before the config said so has its results.json."""
    assert load_for_transfer(checkpoint, data(), {})[0].config.trained_on is None
    results = {"schema": 1, "dataset": "tvsum", "part": "test", "protocol": "p", "data_fingerprint": "f"}
    results |= {"scorer": "checkpoint", "metrics": {}, "per_video": {}, "split": "drawn#0"}
    write_json(f"{checkpoint}/results.json", results)
    model = load_for_transfer(checkpoint, data(20), {}, transfer_widths=True)[0]
    assert model.config.trained_on == [{"dataset": "tvsum", "split": "drawn#0"}]
    note_training(model, checkpoint, stage_of("tvsum", "drawn#1", demo_records[:2]))
    assert "base was trained on split drawn#0 of tvsum, this run tests on drawn#1" in caplog.text
    model.config.save_pretrained(checkpoint)
    assert training_stages(checkpoint) == model.config.trained_on
    assert len(model.config.trained_on) == 2


def test_not_a_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="expected a checkpoint with model_type 'hiersum', found None"):
        load_for_transfer(str(tmp_path), data(), {})
