"""Batches with labels: what each level learns from, and that labels stay targets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hiersum_hf import HierSumFeatureExtractor
from hiersum_hf.labels import mean_ranks, sentence_labels_from_frames
from hiersum_hf.records import Sentence, VideoRecord
from hiersum_hf.scoring.collator import HierSumCollator, sentence_labels, text_labels
from tests.makers.models import tiny_model


def clip(seed=0, num_frames=8, **changes):
    """A BLiSS-like clip: three sentences, which stand in for the description that it lacks."""
    rng = np.random.default_rng(seed)
    sentences = (Sentence("one", 0, 3), Sentence("two", 3, 5), Sentence("three", 5, 8))
    text = rng.standard_normal((3, 10)).astype(np.float32)
    record = VideoRecord(
        video_id=f"clip{seed}",
        video_features=rng.standard_normal((num_frames, 12)).astype(np.float32),
        frame_times_s=np.arange(float(num_frames)),
        duration_s=float(num_frames),
        sentences=sentences,
        text_features=text,
        description=tuple(sentence.text for sentence in sentences),
        description_features=text,
        frame_labels=np.arange(num_frames) // 2 % 2,
        sentence_labels=np.array([1, 0, 1]),
    )
    return replace(record, **changes)


@pytest.fixture
def collate():
    return HierSumCollator(HierSumFeatureExtractor("frames", "texts", video_dim=12, text_dim=10, sample_fps=1.0))


def parent_batch(collate):
    return collate([("parent", clip(0)), ("parent", clip(1, sentence_labels=np.array([0, 1, -100])))])


@pytest.mark.parametrize("learned", [True, False])
def test_parent_level_learns_sentences_exactly_when_asked_to(collate, learned):
    """The paper's open question: without the switch nobody could answer it, and with it always on neither."""
    model, batch = tiny_model(parent_text_loss=learned), parent_batch(collate)
    output = model(**batch)
    assert ("sentence_focal" in output.losses) is learned
    if not learned:
        return
    terms = []
    for row, labels in zip(output.sentence_logits.tolist(), [[1, 0, 1], [0, 1]], strict=True):
        for logit, label in zip(row, labels, strict=False):
            p = 1 / (1 + math.exp(-logit if label else logit))  # of the right class
            terms.append(0.5 * (1 - p) ** 2 * -math.log(p))
    assert output.losses["sentence_focal"].item() == pytest.approx(sum(terms) / 5, rel=1e-5)
    weighted = {"inter": 0.01, "intra": 0.1}
    total = sum(weighted.get(name, 1) * loss.item() for name, loss in output.losses.items())
    assert output.loss.item() == pytest.approx(total, rel=1e-5)


def test_sentence_labels_are_targets_and_never_inputs(collate):
    """A network that sees them would be perfect in training and useless after."""
    model, batch = tiny_model(parent_text_loss=True), parent_batch(collate)
    given = model(**batch)
    for labels in (1 - batch["sentence_labels"], torch.full_like(batch["sentence_labels"], -100), None):
        other = model(**batch | {"sentence_labels": labels})
        for name in ("frame_logits", "replay_scores", "sentence_logits", "video_embedding", "text_embedding"):
            torch.testing.assert_close(other[name], given[name], atol=0, rtol=0)


@pytest.mark.parametrize("learned", [True, False])
def test_the_sentence_head_moves_in_a_parent_step_only_with_the_loss(collate, learned):
    model, batch = tiny_model(parent_text_loss=learned), parent_batch(collate)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = {name: p.detach().clone() for name, p in model.sentence_head.named_parameters()}
    model(**batch).loss.backward()
    optimizer.step()
    for name, parameter in model.sentence_head.named_parameters():
        assert (not torch.equal(parameter, before[name])) is learned, name


def test_a_description_of_other_texts_has_no_labels(collate, demo_records):
    """The labels of subtitle 3 must not become those of step 3."""
    titled = clip(description=("one", "two", "four"))
    batch = collate([("parent", clip()), ("parent", titled)])
    assert batch["sentence_labels"].tolist() == [[1, 0, 1], [-100] * 3]
    assert set(text_labels(demo_records[0], "parent")) == {-100}
    assert len(text_labels(demo_records[0], "parent")) == len(demo_records[0].description)


def test_labels_of_every_level_by_hand(collate):
    """Labels follow the order of the texts; what no label can be derived for has none."""
    derived = clip(sentence_labels=None)  # frames 0 0 1 1 0 0 1 1
    assert text_labels(derived, "child").tolist() == [1, 1, 1]
    early = replace(derived, frame_labels=np.array([0, 0, 0, 1, -100, -100, -100, -100]))
    assert text_labels(early, "parent").tolist() == [0, 1, -100]
    assert text_labels(clip(), "joint").tolist() == [1, 0, 1, -100, -100, -100]
    assert sentence_labels(replace(derived, frame_labels=None)).tolist() == [-100] * 3
    assert sentence_labels_from_frames(np.array([0, 1]), np.array([[0, 1], [0, 2], [1, 1]])).tolist() == [0, 1, -100]


@pytest.mark.parametrize("level", ["child", "parent", "joint"])
def test_captions_with_labels_and_without_features(collate, level):
    """Mr.HiSum's captions before anybody encoded them: one such video would end the training."""
    silent = clip(2, text_features=np.zeros((0, 10), np.float32), description_features=np.zeros((0, 10), np.float32))
    batch = collate([(level, silent), (level, clip())])
    assert (batch["sentence_labels"][0] == -100).all()
    assert batch["sentence_labels"].shape == batch["text_mask"].shape
    assert torch.isfinite(tiny_model(parent_text_loss=True)(**batch).loss)


def test_mean_ranks_by_hand():
    """Ranks 1 2.5 2.5 and 1 2 3: means 1, 2.25, 2.75; whoever uses the whole scale counts no more."""
    np.testing.assert_allclose(mean_ranks(np.array([[4, 5, 5], [0, 50, 100.0]])), [0, 1.25 / 1.75, 1], rtol=1e-6)
    assert mean_ranks(np.ones((2, 3))).tolist() == [0, 0, 0]
    assert mean_ranks(np.zeros((2, 0))).shape == (0,)


def test_rank_targets_are_those_of_the_annotators(demo_extractor, demo_records):
    """A video without annotators keeps its scores."""
    rated, watched = demo_records[0], replace(demo_records[1], user_scores=None)
    batch = HierSumCollator(demo_extractor, rank_targets=True)([("child", rated), ("child", watched)])
    targets = mean_ranks(rated.user_scores), watched.frame_scores
    for row, expected in zip(batch["replay_scores"], targets, strict=True):
        np.testing.assert_array_equal(row[: len(expected)], expected.astype(np.float32))


def test_a_video_without_scores_among_others(collate):
    """It must neither end the training nor learn a score of 0."""
    scored = clip(frame_scores=np.linspace(0, 1, 8, dtype=np.float32))
    batch = collate([("child", scored), ("child", clip(1, frame_labels=None, sentence_labels=None))])
    np.testing.assert_allclose(batch["replay_scores"][0], np.linspace(0, 1, 8), rtol=1e-6)
    assert torch.isnan(batch["replay_scores"][1]).all()
    assert (batch["frame_labels"][1] == -100).all()
    assert "replay_scores" not in collate([("child", clip())])


@pytest.mark.parametrize("level", ["child", "parent"])
def test_losses_are_float32_in_mixed_precision(collate, level):
    """bfloat16 cannot hold the numbers that masked logits are filled with: the first step would be the last."""
    model, batch = tiny_model(parent_text_loss=True), collate([(level, clip(0)), (level, clip(1))])
    expected = model(**batch).losses
    with torch.autocast("cpu", torch.bfloat16):
        found = model(**batch).losses
    for name, loss in found.items():
        assert loss.dtype == torch.float32, name
        torch.testing.assert_close(loss, expected[name], atol=0.05, rtol=0.05)


def test_pairs_are_counted_before_the_batch_goes_to_a_device(collate):
    """Long videos' attention needs their number; counted in a step it would stop the device."""
    records = [clip(seed) for seed in range(2)]
    batch = collate([("child", record) for record in records])
    spans = batch["text_spans"][batch["text_mask"].bool()]
    assert batch["num_pairs"] == (spans[:, 1] - spans[:, 0]).sum() > 0
    assert "num_pairs" not in collate([("parent", record) for record in records])
    nothing = clip(sentences=(), text_features=np.zeros((0, 4), np.float32), sentence_labels=None)
    assert "num_pairs" not in collate([("child", nothing)])
