"""Same seed, same data, same machine: same weights and summaries; and a fixed network gives what it always gave."""

import json

import numpy as np
import pytest
import torch

from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.inference.scorer import Scorer
from hiersum_hf.inference.summarize import score_record
from hiersum_hf.scoring.network import predict_scores
from tests.makers.batches import random_batch
from tests.makers.models import small_model, tiny_model
from tests.makers.trainers import trainer


def fixed_model():
    """A tiny network whose weights come from numpy, so that no version of PyTorch draws others."""
    model, rng = tiny_model(inter_weight=0.01), np.random.default_rng(0)
    for name, parameter in sorted(model.named_parameters()):
        values = rng.standard_normal(tuple(parameter.shape)) * 0.2 + ("norm" in name and name.endswith("weight"))
        parameter.data = torch.tensor(values, dtype=torch.float32)
    return model


# level: frame logits (video 0, frames 0 to 2; video 1, last frame), loss, replay score of the first frame
FROZEN = {
    "child": [0.12597, -0.481, -0.29304, -0.4282, 0.33999, 0.48787],
    "parent": [0.20339, -0.53039, -0.30217, -0.4896, 0.16899, 0.52482],
}


def test_a_fixed_network_gives_the_same_numbers_as_ever():
    """Published checkpoints must score in the next release as in this one."""
    model, batch = fixed_model(), random_batch()
    for level, frozen in FROZEN.items():
        output = model(**batch, level=level)
        found = [*output.frame_logits[0, :3].tolist(), output.frame_logits[1, 4].item(), output.loss.item()]
        found += [output.replay_scores[0, 0].item()]
        assert found == pytest.approx(frozen, abs=1e-4), level
    assert FROZEN.keys() == {"child", "parent"}


def trained(tmp_path, demo_records, demo_extractor, **changes):
    run = trainer(tmp_path, demo_records, demo_extractor, model=small_model(hidden_dropout=0.1), **changes)
    run.train()
    return run.model.eval()


def test_one_seed_gives_one_run(tmp_path, demo_records, demo_extractor):
    """Weights to the last bit, and with them scores, figures and summaries: else no result could be checked."""
    one, two, other = (trained(tmp_path, demo_records, demo_extractor, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    results, summaries = [], []
    for model in (one, two):
        scores = predict_scores(model, demo_extractor, demo_records[30:34])
        scores = {name: found["scores"] for name, found in scores.items()}
        results.append(evaluate_scores(demo_records[30:34], scores, scorer="checkpoint", dataset="demo", part="test"))
        scored = score_record(demo_records[30], Scorer(demo_extractor, [model], "run", "both"))
        summaries.append(json.dumps(scored.summarize("0.15").to_dict()))
    assert results[0] == results[1]
    assert summaries[0] == summaries[1]


def test_the_number_of_threads_changes_only_the_last_digits(demo_records, demo_extractor):
    """What docs/reliability.md says of other machines."""
    model, found, threads = small_model().eval(), [], torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(predict_scores(model, demo_extractor, demo_records[30:34], "child"))
    finally:
        torch.set_num_threads(threads)
    for name in found[0]:
        np.testing.assert_allclose(found[0][name]["scores"], found[1][name]["scores"], atol=1e-5)
