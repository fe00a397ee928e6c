"""A saved folder loads both ways: with the package imported, and from its own files where there is no package."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel, HierSumPipeline
from tests.makers.batches import random_batch, without_labels
from tests.makers.models import tiny_model
from tests.makers.processes import NO_PACKAGE


ALONE = """
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor
folder = sys.argv[1]
trust = dict(trust_remote_code=True)
model = AutoModel.from_pretrained(folder, **trust)
batch = {{name: torch.from_numpy(array) for name, array in np.load(folder + "/../batch.npz").items()}}
np.save(folder + "/../logits.npy", model(**batch).frame_logits.detach().numpy())
extractor = AutoFeatureExtractor.from_pretrained(folder, **trust)
inputs = extractor(np.ones((4, 12)), text_features=np.ones((1, 10)), text_times_s=[[0, 1]])
print(json.dumps([type(AutoConfig.from_pretrained(folder, **trust)).__name__, type(model).__name__,
    type(extractor).__name__, type(AutoProcessor.from_pretrained(folder, **trust)).__name__,
    inputs["text_spans"].tolist(), extractor.video_encoder]))
model.save_pretrained(folder + "/../again")
extractor.save_pretrained(folder + "/../again")
"""
PIPELINE_ALONE = """
from transformers import pipeline
folder = sys.argv[1]
pipe = pipeline("video-summarization", model=folder, trust_remote_code=True, device="cpu")
videos = [dict(np.load(folder + "/../" + name)) for name in ("0.npz", "1.npz", "2.npz")]
found = pipe(videos, batch_size=3)
for error, given in ((ImportError, "talk.mp4"), (ValueError, videos[0] | dict(video_encoder="other"))):
    try:
        pipe(given)
    except error as raised:
        print(raised)
assert type(pipeline(model=folder, trust_remote_code=True, device="cpu")) is type(pipe), "the folder names the task"
pipe.save_pretrained(folder + "/../again")
print(json.dumps([[one["level"], one["scores"].tolist(), one["sentence_scores"].tolist(), one["times_s"].tolist()]
    for one in found]))
"""


def run_alone(code, folder):
    """The last lines that the code prints in a fresh process without the package."""
    repo = str(Path(__file__).parents[2])
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "hf"), "PATH": ""}
    code = (NO_PACKAGE + code).format(repo=repo)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, cwd=folder.parent, env=env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "checkpoint"
    model = tiny_model(share_layers=True)
    model.save_pretrained(folder)
    HierSumFeatureExtractor("eyes", "words", 12, 10, 2.0).save_pretrained(folder)
    return folder, model


def test_with_the_package_no_further_argument_is_needed(saved):
    folder, model = saved
    assert isinstance(AutoConfig.from_pretrained(folder), HierSumConfig)
    loaded = AutoModel.from_pretrained(folder)
    assert isinstance(loaded, HierSumModel)
    for auto in (AutoFeatureExtractor, AutoProcessor):
        extractor = auto.from_pretrained(folder)
        assert isinstance(extractor, HierSumFeatureExtractor)
        assert (extractor.video_encoder, extractor.text_dim, extractor.sample_fps) == ("eyes", 10, 2.0)
    batch = without_labels(random_batch())
    torch.testing.assert_close(loaded(**batch).frame_logits, model(**batch).frame_logits, rtol=0, atol=1e-6)


def test_shared_layers_are_stored_once(saved):
    folder, model = saved
    assert len(model.encoder.layers) == 1
    assert json.loads((folder / "config.json").read_text())["share_layers"] is True


@pytest.mark.slow
def test_the_folder_alone_gives_the_same_numbers(saved, tmp_path):
    """In a fresh process without the package, and again from what that process saves."""
    _, model = saved
    batch = without_labels(random_batch())
    np.savez(tmp_path / "batch.npz", **{name: tensor.numpy() for name, tensor in batch.items()})
    expected = model(**batch).frame_logits.detach().numpy()
    for generation in ("checkpoint", "again"):
        printed = run_alone(ALONE, tmp_path / generation)
        config, network, extractor, processor, spans, encoder = json.loads(printed[-1])
        assert (config, network) == ("HierSumConfig", "HierSumModel")
        assert extractor == processor == "HierSumFeatureExtractor"
        assert (spans, encoder) == ([[[0, 2]]], "eyes")
        np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-6)


def test_replay_head_choice_and_levels_travel(tmp_path):
    tiny_model(score_head="replay", default_level="both", trained_levels=["child", "parent"]).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.score_head, config.default_level, config.trained_levels) == ("replay", "both", ["child", "parent"])


@pytest.mark.slow
def test_the_folder_alone_is_a_pipeline_for_features(tmp_path):
    """`pipeline(..., trust_remote_code=True)` where only Transformers is installed; what that saves is as complete."""
    rng = np.random.default_rng(0)
    model, extractor = tiny_model(default_level="both"), HierSumFeatureExtractor("eyes", "words", 12, 10, 2.0)
    here = HierSumPipeline(model, feature_extractor=extractor, device="cpu")
    here.save_pretrained(tmp_path / "checkpoint")
    texts = {
        "text_features": rng.standard_normal((2, 10)),
        "text_times_s": np.array([(0, 1), (1, 3)]),
        "description_features": rng.standard_normal((3, 10)),
    }
    videos = [{"video_features": rng.standard_normal((n, 12))} for n in (6, 9, 4)]
    videos = [videos[0] | texts, videos[1] | texts, videos[2]]
    for number, video in enumerate(videos):
        np.savez(tmp_path / f"{number}.npz", **video)
    expected = [here(video) for video in videos]
    *_, no_package, other_encoder, found = run_alone(PIPELINE_ALONE, tmp_path / "checkpoint")
    assert "pip install hiersum-hf" in no_package
    assert "expected features with the video_encoder 'eyes', found 'other'" in other_encoder
    for summary, (level, scores, sentence_scores, times_s) in zip(expected, json.loads(found), strict=True):
        assert level == summary.level
        np.testing.assert_allclose(scores, summary.scores["values"], atol=1e-6)
        assert times_s == summary.scores["times_s"]
        assert len(sentence_scores) == (2 if level == "both" else 0)
    code, again = (sorted((tmp_path / name).glob("*.py")) for name in ("checkpoint", "again"))
    assert "pipeline_hiersum.py" in [file.name for file in code]
    assert [(file.name, file.read_text()) for file in code] == [(file.name, file.read_text()) for file in again]
    custom = [AutoConfig.from_pretrained(tmp_path / name).custom_pipelines for name in ("checkpoint", "again")]
    assert custom[0] == custom[1]
