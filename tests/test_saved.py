"""What was saved by the first version must load for ever: a checkpoint, an adapter, the pipeline's copy, a card's code.

`tests/saved` was written by that version: four steps of training on eight videos of the demo set, two more as an
adapter, and the frame scores that it then gave the video of `given`.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModel

import hiersum_hf


SAVED = Path(__file__).parent / "saved"
SCORES = json.loads((SAVED / "frame_scores.json").read_text())
CALL = """
import json, sys
from importlib.util import find_spec
import numpy as np
from transformers import pipeline
pipe = pipeline("video-summarization", model=sys.argv[1], trust_remote_code=True, device="cpu")
assert not type(pipe).__module__.startswith("hiersum_hf"), "the copy in the folder must run"
found = pipe(dict(np.load(sys.argv[2])))
assert isinstance(found, dict) == (find_spec("hiersum_hf") is None) == (sys.argv[3] == "False")
print(json.dumps(found["scores"].tolist() if isinstance(found, dict) else found.scores["values"]))
"""
WITHOUT = """
import sys
sys.path[:] = [p for p in sys.path if p not in ("", {repo!r})]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
"""


@pytest.fixture
def given():
    rng = np.random.default_rng(0)
    return {
        "video_features": rng.standard_normal((6, 1280)).astype(np.float32),
        "frame_times_s": np.arange(6.0) + 0.5,
        "duration_s": 6.0,
        "text_features": rng.standard_normal((2, 384)).astype(np.float32),
        "text_times_s": np.array([[0.0, 3.0], [3.0, 6.0]]),
        "description_features": rng.standard_normal((1, 384)).astype(np.float32),
    }


def test_a_saved_checkpoint_loads_and_scores_as_it_did(given):
    assert isinstance(AutoModel.from_pretrained(SAVED / "checkpoint"), hiersum_hf.HierSumModel)
    summary = hiersum_hf.pipeline(SAVED / "checkpoint", device="cpu")(given)
    np.testing.assert_allclose(summary.scores["values"], SCORES["checkpoint"], atol=2e-6)


def test_a_saved_adapter_finds_its_base_and_scores_as_it_did(given, monkeypatch):
    monkeypatch.chdir(SAVED)
    summary = hiersum_hf.pipeline("adapter", device="cpu")(given)
    np.testing.assert_allclose(summary.scores["values"], SCORES["adapter"], atol=2e-6)


def test_the_code_of_cards_pushed_before_still_runs(monkeypatch):
    from hiersum_hf.prediction import load_checkpoint

    monkeypatch.chdir(SAVED)
    model, extractor = load_checkpoint("adapter")
    assert (type(model), extractor.video_encoder) == (hiersum_hf.HierSumModel, "efficientnet-lite0")


@pytest.mark.slow
@pytest.mark.parametrize("package", [True, False])
def test_the_copy_of_the_pipeline_runs_with_and_without_the_package(given, package, tmp_path):
    np.savez(tmp_path / "given.npz", **{name: np.asarray(value) for name, value in given.items()})
    code = (CALL if package else WITHOUT.format(repo=str(Path(__file__).parents[1])) + CALL).lstrip()
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, str(SAVED / "checkpoint"), str(tmp_path / "given.npz"), str(package)],
        capture_output=True, text=True, env=env, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), SCORES["checkpoint"], atol=2e-6)
