"""Scores of a checkpoint: the same however videos are grouped, in their order, and for sets larger than the memory."""

import json
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.modeling.errors_hiersum import CheckpointError, HierSumError
from hiersum_hf.modeling.levels_hiersum import levels_to_read, usable_level
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.scoring.network import encoder_mismatch, predict_scores
from tests.makers.records import OnDisk


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"video_dim": 32, "text_dim": 32, "hidden_size": 16, "num_layers": 1, "num_attention_heads": 2}
    return HierSumModel(HierSumConfig(**sizes, trained_levels=["child", "parent", "joint"]))


@pytest.fixture
def videos(demo_records):
    """Some without a description: at parent level they are read in batches of their own."""
    nothing = {"description": (), "description_features": np.zeros((0, 32), np.float32)}
    return [replace(record, **nothing) if i % 3 == 0 else record for i, record in enumerate(demo_records[:24])]


def test_a_set_on_disk_is_read_batch_by_batch(model, demo_extractor, videos):
    """31,892 videos are 26 GB in memory."""
    disk = OnDisk(videos)
    found = predict_scores(model, demo_extractor, disk, "both", batch_size=3)
    assert sorted(disk.read) == list(range(24)), "every video once"
    assert disk.most_alive <= 2 * 3, "the batch that is scored and the one that is read"
    expected = predict_scores(model, demo_extractor, videos, "both", batch_size=24)
    assert list(found) == [record.video_id for record in videos]
    for video in expected:
        np.testing.assert_allclose(found[video]["scores"], expected[video]["scores"], atol=1e-6)
        np.testing.assert_allclose(found[video]["sentence_scores"], expected[video]["sentence_scores"], atol=1e-6)


def test_the_levels_of_a_video_are_never_in_memory_together(model, demo_extractor, demo_records):
    """The features of ten hours take 370 MB, and each level has a batch of its own."""
    given, alive = [], []

    def look(module, arguments, keywords):
        given.append(weakref.ref(keywords["video_features"]))
        alive.append(sum(one() is not None for one in given))

    hook = model.register_forward_pre_hook(look, with_kwargs=True)
    predict_scores(model, demo_extractor, demo_records[:3], "both", batch_size=1)
    hook.remove()
    assert alive == [1] * 6


def test_shares_together_are_the_whole(model, demo_extractor, videos):
    """What ranks score apart must be every video once, with the scores of one process."""
    whole = predict_scores(model, demo_extractor, videos, "parent")
    shares = [predict_scores(model, demo_extractor, videos, "parent", indices=range(i, 24, 5)) for i in range(5)]
    assert sorted(video for share in shares for video in share) == sorted(whole)
    for share in shares:
        for video, result in share.items():
            np.testing.assert_allclose(result["scores"], whole[video]["scores"], atol=1e-6)
    assert predict_scores(model, demo_extractor, videos[:1], "parent", indices=range(1, 1, 2)) == {}


TWO_RANKS = """
import json, sys, torch
from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.synthetic import features as synthetic
from hiersum_hf.evaluation.evaluate import compute_metrics
from hiersum_hf.training.trainer import HierSumTrainer
from hiersum_hf.training.arguments import HierSumTrainingArguments

bank, embed, encoders = synthetic.random_features()
records = [synthetic.to_record(synthetic.make_video(i), bank, embed, encoders) for i in range(15)]
extractor = HierSumFeatureExtractor("random-projection", "random-projection", 32, 32, synthetic.SAMPLE_FPS)
torch.manual_seed(0)
sizes = {"video_dim": 32, "text_dim": 32, "hidden_size": 16, "num_layers": 1, "num_attention_heads": 2}
model = HierSumModel(HierSumConfig(**sizes, trained_levels=["child", "parent"]))
args = HierSumTrainingArguments(
    output_dir=sys.argv[1], max_steps=2, child_steps_per_parent=1, eval_strategy="steps", eval_steps=2,
    save_strategy="no", use_cpu=True, disable_tqdm=True,
)
trainer = HierSumTrainer(model, args, records[:8], extractor, eval_dataset=records[8:], compute_metrics=compute_metrics)
before = trainer.evaluate()
trainer.train()
with open(f"{sys.argv[1]}/{args.world_size}-{args.process_index}.json", "w") as file:
    json.dump([before, trainer.evaluate()], file)
"""


@pytest.mark.slow
def test_two_ranks_share_an_evaluation_and_agree(tmp_path):
    """Seven videos on two ranks: each is scored once, both ranks have the figures of one process."""
    (tmp_path / "run.py").write_text(TWO_RANKS)
    single = ["--num_processes", "1"]
    for flags in (single, ["--multi_gpu", "--num_processes", "2"]):
        command = [sys.executable, "-m", "accelerate.commands.launch", *flags, "--num_machines", "1"]
        command += ["--mixed_precision", "no", "--dynamo_backend", "no", str(tmp_path / "run.py"), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in ("1-0", "2-0", "2-1"))
    assert first == second
    assert first[0] == pytest.approx(one[0], abs=1e-6)
    assert {f"eval_{level}_kendall_tau" for level in ("child", "parent", "both")} <= set(one[0])


def test_sentences_keep_their_scores_at_joint_level(model, demo_extractor, videos):
    """The description stands behind the sentences in one sequence; its scores are nobody's."""
    for record in videos[:2]:
        (result,) = predict_scores(model, demo_extractor, [record], "joint").values()
        assert result["sentence_scores"].shape == (len(record.sentences),)


def test_encoders_are_compared_without_reading_features(demo_extractor, videos):
    disk = OnDisk(videos)
    assert encoder_mismatch(demo_extractor, disk) is None
    assert disk.read == []
    mute = np.zeros((0, 32), np.float32)
    other = replace(videos[5].encoders, text="other-text")
    silent = replace(videos[5], encoders=other, text_features=mute, description_features=mute, sentences=())
    assert encoder_mismatch(demo_extractor, [silent]) is None, "no text features, so nothing was made with it"
    disk = OnDisk([*videos[:5], replace(videos[5], encoders=other), *videos[6:]])
    wanted = f"{videos[5].video_id}: expected text features of 'random-projection', found those of 'other-text'."
    assert encoder_mismatch(demo_extractor, disk) == wanted
    assert disk.read == [5]


def test_scores_do_not_depend_on_how_videos_are_batched(model, demo_extractor, videos):
    together = predict_scores(model, demo_extractor, videos[:7], "both", batch_size=7)
    alone = predict_scores(model, demo_extractor, videos[:7], "both", batch_size=1)
    for video in together:
        np.testing.assert_allclose(together[video]["scores"], alone[video]["scores"], atol=1e-6)


def test_a_level_that_was_not_trained_is_never_averaged_in():
    assert levels_to_read("both", ["child", "parent"], has_description=True) == ("child", "parent")
    assert levels_to_read("both", ["child", "parent"], has_description=False) == ("child",)
    with pytest.raises(CheckpointError, match=r"trained at \(child\)"):
        levels_to_read("both", ["child"], has_description=True)


def test_a_video_without_description_is_never_read_at_a_level_that_was_not_trained():
    assert levels_to_read("parent", None, has_description=False) == ("child",)
    assert levels_to_read("parent", ["parent"], has_description=False) == ("parent",)
    assert levels_to_read("joint", ["joint"], has_description=False) == ("joint",)
    with pytest.raises(HierSumError, match="expected one of child, parent, both, joint"):
        levels_to_read("uncle", None, has_description=True)
    config = HierSumConfig(hidden_size=16, num_layers=1, trained_levels=["parent"], default_level="parent")
    with pytest.raises(HierSumError, match="Level 'parent' reads the description"):
        usable_level(config, None, has_description=False)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "adapter_config.json"])
@pytest.mark.parametrize("content", ["[]", "{", '"text"'])
def test_a_broken_config_is_named(model, demo_extractor, tmp_path, name, content):
    for part in (model, demo_extractor):
        part.save_pretrained(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}: expected (a JSON object|JSON)"):
        load_checkpoint(tmp_path)


def test_features_of_another_encoder_are_refused_although_the_width_fits(model, demo_records):
    other = HierSumFeatureExtractor("another-encoder", "random-projection", 32, 32, 1.0)
    with pytest.raises(ValueError, match=r"demo_0_0000: expected video features of 'another-encoder'"):
        predict_scores(model, other, demo_records[:1], "child")
    assert predict_scores(model, other, demo_records[:1], "child", allow_encoder_mismatch=True)
