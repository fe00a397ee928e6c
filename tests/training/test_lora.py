"""LoRA: little is trained, the base stays as it was, and what is saved computes what was trained."""

import json
import shutil

import numpy as np
import pytest
import torch
from peft import PeftModel

from hiersum_hf import HierSumConfig, HierSumModel
from hiersum_hf.cli.main import main
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.scoring.network import predict_scores
from hiersum_hf.training.arguments import HierSumTrainingArguments
from hiersum_hf.training.from_checkpoint import SaveConfig, load_for_transfer
from hiersum_hf.training.lora import HEADS, add_lora, trained_weights
from hiersum_hf.training.trainer import HierSumTrainer
from tests.makers.batches import random_batch, without_labels
from tests.makers.limits import small_disk
from tests.makers.models import tiny_model


@pytest.fixture
def base(tmp_path, demo_extractor):
    """A trained network, by its word."""
    torch.manual_seed(1)
    sizes = {"video_dim": 32, "text_dim": 32, "hidden_size": 16, "num_layers": 2, "num_attention_heads": 2}
    HierSumModel(HierSumConfig(**sizes, trained_levels=["child"])).save_pretrained(tmp_path / "base")
    demo_extractor.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def adapt(base, records, extractor, resume=None, **changes):
    """A short LoRA training that starts from a checkpoint folder; the Trainer after it."""
    torch.manual_seed(2)
    model, own, renewed = load_for_transfer(str(base), extractor, {}, transfer_widths=True)
    settings = {
        "max_steps": 4, "per_device_train_batch_size": 4, "child_steps_per_parent": 1, "use_cpu": True, "seed": 3,
        "save_strategy": "steps", "save_steps": 2, "disable_tqdm": True, "learning_rate": 1e-2,
    } | changes  # fmt: skip
    args = HierSumTrainingArguments(output_dir=str(base.parent / "adapter"), **settings)
    run = HierSumTrainer(add_lora(model, 2, renewed=renewed), args, records, own, callbacks=[SaveConfig()])
    run.train(resume_from_checkpoint=resume)
    run.save_model()
    run.model.config.save_pretrained(args.output_dir)
    return run


@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("share_layers", [False, True])
def test_the_adapter_sits_on_attention_and_ffn_and_nowhere_else(share_layers, linear_path):
    """On the projections or heads it would leave them half-trained; on fewer layers it could adjust less."""
    network = add_lora(tiny_model(share_layers=share_layers, linear_path=linear_path), 2)
    adapted = {name.split(".lora_A")[0] for name, _ in network.named_parameters() if ".lora_A" in name}
    layers = range(1 if share_layers else 2)
    linears = [f"attention.{x}_proj" for x in ("q", "k", "v", "out")]
    linears += [f"{side}_mlp.fc{i}" for side in ("video", "text") for i in (1, 2)]
    assert adapted == {f"base_model.model.encoder.layers.{i}.{name}" for i in layers for name in linears}
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert all(".lora_" in name or ".modules_to_save." in name for name in trained)
    assert {name.split(".")[2] for name in trained if ".modules_to_save." in name} == {
        head for head in HEADS if linear_path or head != "linear_path"
    }


@pytest.mark.parametrize(("hidden_size", "expected"), [(128, 0.0875), (512, 0.021875)])
def test_few_weights_are_trained(hidden_size, expected):
    """28 r D of the 20 D^2 weights of a layer, less beside projections, tables and biases."""
    with torch.device("meta"):
        model = HierSumModel(HierSumConfig(hidden_size=hidden_size, num_layers=6))
    adapter, heads, whole = trained_weights(add_lora(model, 8))
    assert adapter == 6 * 28 * 8 * hidden_size
    assert heads == 3 * (hidden_size**2 + hidden_size + hidden_size + 1)
    assert whole == sum(p.numel() for p in HierSumModel(HierSumConfig(hidden_size=hidden_size)).parameters())
    assert 0.75 * expected < adapter / whole < expected < 0.1


def test_a_new_adapter_changes_nothing():
    """Training starts from the checkpoint's own scores."""
    batch = without_labels(random_batch())
    before = tiny_model()(**batch).frame_logits
    after = add_lora(tiny_model(), 2).eval()(**batch).frame_logits
    torch.testing.assert_close(after, before, atol=0, rtol=0)


def test_the_base_is_untouched_and_what_is_saved_scores_the_same(base, demo_records, demo_extractor):
    """Whoever adapts a checkpoint still needs it for the next task, and needs the scores they trained."""
    files = {path.name: path.read_bytes() for path in base.iterdir() if path.is_file()}
    before = HierSumModel.from_pretrained(base).state_dict()
    run = adapt(base, demo_records[:12], demo_extractor)
    assert {path.name: path.read_bytes() for path in base.iterdir() if path.is_file()} == files
    bare = {
        name.removeprefix("base_model.model.").replace(".base_layer.", ".").replace(".original_module.", "."): value
        for name, value in run.model.state_dict().items()
        if ".lora_" not in name and ".modules_to_save." not in name
    }
    assert set(bare) == set(before)
    for name, value in before.items():
        torch.testing.assert_close(bare[name], value, atol=0, rtol=0, msg=name)

    folder = base.parent / "adapter"
    assert (folder / "adapter_model.safetensors").is_file()
    assert not (folder / "model.safetensors").exists()
    assert (folder / "adapter_model.safetensors").stat().st_size < (base / "model.safetensors").stat().st_size
    trained = predict_scores(run.model, demo_extractor, demo_records[20:24], "child")
    merged, extractor = load_checkpoint(folder)
    assert type(merged) is HierSumModel
    assert merged.config.trained_levels == ["child", "parent"]
    again = predict_scores(merged, extractor, demo_records[20:24], "child")
    old = predict_scores(HierSumModel.from_pretrained(base), extractor, demo_records[20:24], "child")
    for video in trained:
        np.testing.assert_allclose(again[video]["scores"], trained[video]["scores"], atol=1e-5)
        np.testing.assert_allclose(again[video]["sentence_scores"], trained[video]["sentence_scores"], atol=1e-5)
        assert np.abs(old[video]["scores"] - trained[video]["scores"]).max() > 1e-3
    plain = PeftModel.from_pretrained(HierSumModel.from_pretrained(base), str(folder)).eval()
    theirs = predict_scores(plain, extractor, demo_records[20:24], "child")
    for video in trained:
        np.testing.assert_allclose(theirs[video]["scores"], trained[video]["scores"], atol=1e-5)


def test_resuming_an_adapter_continues_the_same_run(base, demo_records, demo_extractor):
    whole = adapt(base, demo_records[:12], demo_extractor).model.state_dict()
    folder = base.parent / "adapter" / "checkpoint-2"
    assert load_checkpoint(folder)[0].config.trained_levels == ["child", "parent"]
    resumed = adapt(base, demo_records[:12], demo_extractor, resume=str(folder)).model.state_dict()
    torch.testing.assert_close(resumed, whole, atol=1e-6, rtol=0)


def test_a_projection_that_started_anew_is_trained_and_saved(base, demo_records, demo_extractor):
    """Frozen at random weights it would make every text noise."""
    wider = [
        type(record)(**{**vars(record), "text_features": np.tile(record.text_features, 2),
                        "description_features": np.tile(record.description_features, 2)})
        for record in demo_records[:14]
    ]  # fmt: skip
    fields = {"video_encoder": "random-projection", "text_encoder": "wide", "video_dim": 32, "text_dim": 64}
    extractor = type(demo_extractor)(**fields)
    run = adapt(base, wider[:12], extractor, allow_encoder_mismatch=True)
    projections = run.model.get_base_model().encoder.embeddings
    assert projections.text_projection.weight.requires_grad
    assert not projections.video_projection.weight.requires_grad
    trained = predict_scores(run.model, extractor, wider[12:], "parent", allow_encoder_mismatch=True)
    merged, own = load_checkpoint(base.parent / "adapter")
    assert (own.text_encoder, own.text_dim, merged.config.text_dim) == ("wide", 64, 64)
    again = predict_scores(merged, own, wider[12:], "parent", allow_encoder_mismatch=True)
    for video in trained:
        np.testing.assert_allclose(again[video]["scores"], trained[video]["scores"], atol=1e-5)


def merge(adapter, output, capsys):
    return main(["merge", str(adapter), str(output)]), capsys.readouterr().err


def test_merging_makes_an_ordinary_checkpoint(base, demo_records, demo_extractor, capsys):
    run = adapt(base, demo_records[:12], demo_extractor)
    output = base.parent / "merged"
    code, err = merge(base.parent / "adapter", output, capsys)
    assert code == 0, err
    assert not list(output.glob("adapter*"))
    merged = HierSumModel.from_pretrained(output).eval()
    batch = {"video_features": torch.randn(1, 7, 32)}
    torch.testing.assert_close(merged(**batch).frame_logits, run.model.eval()(**batch).frame_logits, atol=1e-5, rtol=0)
    assert load_checkpoint(output)[0].config.trained_levels == ["child", "parent"]
    assert "adapter: no results.json there" in err
    assert not (output / "results.json").exists()


def test_a_merged_checkpoint_says_what_it_came_from(base, demo_records, demo_extractor, capsys):
    """Its figures are the adapter's, and whoever measures it again must know which videos it has not seen."""
    adapt(base, demo_records[:12], demo_extractor)
    adapter, output = base.parent / "adapter", base.parent / "merged"
    scores = {record.video_id: np.arange(len(record.video_features)) for record in demo_records[20:22]}
    about = {"scorer": "checkpoint", "dataset": "demo", "part": "test", "split": "drawn#3"}
    results = evaluate_scores(demo_records[20:22], scores, checkpoint=str(adapter), level="child", **about)
    results.write(adapter / "results.json")
    code, err = merge(adapter, output, capsys)
    assert code == 0, err
    merged = json.loads((output / "results.json").read_text())
    origin = {"adapter": str(adapter), "base": str(base)}
    assert merged == results.to_dict() | {"checkpoint": str(output), "merged_from": origin}
    card = (output / "README.md").read_text()
    assert f"{results.metrics['f1']:.4f}" in card
    assert "LoRA adapter of" not in card
    assert load_checkpoint(output)[0].config.trained_on == [{"dataset": "demo", "split": "drawn#3"}]


def test_a_merged_checkpoint_keeps_recipe_and_terms(base, demo_records, demo_extractor, capsys):
    adapt(base, demo_records[:12], demo_extractor)
    adapter, output = base.parent / "adapter", base.parent / "merged"
    (adapter / "README.md").write_text("---\nlicense: unknown\n---\n")
    (adapter / "recipe.yaml").write_text("lora_r: 2\n")
    assert merge(adapter, output, capsys)[0] == 0
    assert (output / "recipe.yaml").read_text() == "lora_r: 2\n"
    assert "license: unknown" in (output / "README.md").read_text()


def test_what_cannot_be_merged_is_named(base, demo_records, demo_extractor, capsys):
    """Merged in place the adapter is lost, over its base every adapter of that base is."""
    adapt(base, demo_records[:12], demo_extractor)
    adapter, file = base.parent / "adapter", base / "config.json"
    before = {path: path.read_bytes() for path in base.parent.rglob("*") if path.is_file()}
    for origin, output, message in [
        (adapter, adapter, f"{adapter}: expected a new or empty folder, found the adapter, which would be lost."),
        (adapter, base, f"{base}: expected a new or empty folder."),
        (adapter, file, f"{file}: expected a new or empty folder."),
        (base, base.parent / "new", "base: expected a LoRA adapter, found an ordinary checkpoint"),
        (base.parent / "none", base.parent / "new", "none: expected the folder or Hub id of a HierSum checkpoint"),
    ]:
        code, err = merge(origin, output, capsys)
        assert (code, message in err.splitlines()[-1]) == (2, True), err
    assert {path: path.read_bytes() for path in base.parent.rglob("*") if path.is_file()} == before
    shutil.rmtree(base)
    code, err = merge(adapter, base.parent / "new", capsys)
    assert (code, "adapter: expected the checkpoint that this adapter was trained on" in err) == (2, True)
    assert not (base.parent / "new").exists()


def test_half_an_adapter_is_named(base, demo_records, demo_extractor):
    adapt(base, demo_records[:12], demo_extractor)
    weights = base.parent / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="adapter: expected a complete HierSum checkpoint"):
        load_checkpoint(base.parent / "adapter")


def test_an_adapter_without_its_base_is_named(base, demo_records, demo_extractor):
    """It cannot score alone; the message must say what is missing."""
    adapt(base, demo_records[:12], demo_extractor)
    base.rename(base.parent / "moved")
    adapter = base.parent / "adapter"
    with pytest.raises(ValueError, match=r"adapter: expected the checkpoint that this adapter was trained on: .*base"):
        load_checkpoint(adapter)
    adapter.rename(base)  # now the adapter lies where its base was
    with pytest.raises(ValueError, match=r"base: expected the checkpoint .* leads back to itself"):
        load_checkpoint(base)


def test_a_full_disk_leaves_no_half_merged_checkpoint(base, demo_records, demo_extractor, capsys):
    adapt(base, demo_records[:12], demo_extractor)
    adapter, output = base.parent / "adapter", base.parent / "merged"
    with small_disk():
        code, err = merge(adapter, output, capsys)
    assert (code, err.count("merged: expected room")) == (2, 1)
    assert sorted(path.name for path in base.parent.glob("[.m]*")) == []
    assert merge(adapter, output, capsys)[0] == 0


def test_adapters_of_each_other_are_named_once(base, demo_records, demo_extractor):
    adapt(base, demo_records[:12], demo_extractor)
    one, other = base.parent / "adapter", base.parent / "other"
    shutil.copytree(one, other)
    for folder, on in ((one, other), (other, one)):
        described = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(described | {"base_model_name_or_path": str(on)}))
    with pytest.raises(ValueError, match=r"adapter: expected .* leads back to itself\.$") as refused:
        load_checkpoint(one)
    assert len(str(refused.value)) < 500
