"""A saved folder loads both ways: with the package imported, and from its own files where there is no package."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel

from .conftest import random_batch, tiny_model, without_labels


ALONE = """
import importlib.util, json, sys
sys.path[:] = [p for p in sys.path if p not in ("", {repo!r})]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
assert importlib.util.find_spec("hiersum_hf") is None, "the package must not be importable here"
import numpy as np, torch
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


def test_the_folder_alone_gives_the_same_numbers(saved, tmp_path):
    """In a fresh process without the package, and again from what that process saves."""
    _, model = saved
    batch = without_labels(random_batch())
    np.savez(tmp_path / "batch.npz", **{name: tensor.numpy() for name, tensor in batch.items()})
    expected = model(**batch).frame_logits.detach().numpy()
    repo = str(Path(__file__).parents[1])
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PATH": ""}
    for generation in ("checkpoint", "again"):
        done = subprocess.run(
            [sys.executable, "-c", ALONE.format(repo=repo), str(tmp_path / generation)],
            capture_output=True, text=True, cwd=tmp_path, env=env,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        config, network, extractor, processor, spans, encoder = json.loads(done.stdout.splitlines()[-1])
        assert (config, network) == ("HierSumConfig", "HierSumModel")
        assert extractor == processor == "HierSumFeatureExtractor"
        assert (spans, encoder) == ([[[0, 2]]], "eyes")
        np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-6)


def test_replay_head_choice_and_levels_travel(tmp_path):
    tiny_model(score_head="replay", default_level="both", trained_levels=["child", "parent"]).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.score_head, config.default_level, config.trained_levels) == ("replay", "both", ["child", "parent"])
