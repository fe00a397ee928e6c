"""Seconds to frames and back, and bad features named before they reach the network."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hiersum_hf import HierSumFeatureExtractor
from hiersum_hf.modeling.inputs_hiersum import times_to_spans
from tests.makers.models import tiny_model


@pytest.fixture
def extractor():
    return HierSumFeatureExtractor("eyes", "words", video_dim=12, text_dim=10, sample_fps=2.0)


def rows(count, width, seed=0):
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def test_spans_by_hand():
    """Frames at 0, 0.5, 1, 1.5 s, each standing for the half second after it."""
    times_s = np.array([0.0, 0.5, 1.0, 1.5])
    spoken = np.array([[0.0, 0.5], [0.4, 1.1], [1.2, 1.3], [1.6, 9.0], [0.0, 2.0]])
    assert times_to_spans(times_s, spoken).tolist() == [[0, 1], [0, 3], [2, 3], [3, 4], [0, 4]]


@given(st.lists(st.tuples(st.floats(0, 9.9), st.floats(0.01, 30)), min_size=1, max_size=9))
def test_every_sentence_in_the_video_covers_a_frame(spoken):
    times_s = np.arange(20) / 2
    spans = times_to_spans(times_s, np.array([(start, start + length) for start, length in spoken]))
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (spans >= 0).all()
    assert (spans <= 20).all()


def test_batch_is_padded_and_normalised(extractor):
    batch = extractor(
        [rows(6, 12), rows(4, 12)],
        text_features=[rows(2, 10), np.zeros((0, 0))],
        text_times_s=[[(0, 1), (1, 2.5)], np.zeros((0, 2))],
    )
    assert batch["video_features"].shape == (2, 6, 12)
    assert batch["video_mask"].sum(1).tolist() == [6, 4]
    assert batch["text_mask"].sum(1).tolist() == [2, 0]
    assert batch["text_spans"][0].tolist() == [[0, 2], [2, 5]]
    torch.testing.assert_close(batch["video_features"].norm(dim=-1)[batch["video_mask"]], torch.ones(10))
    assert batch["level"] == "child"


@pytest.mark.parametrize("normalize", [True, False])
def test_a_long_video_is_held_once_more_and_apart_from_what_was_given(normalize):
    """The features of ten hours take 370 MB; a batch of one is the copy that its rows were scaled in."""
    features = rows(30_000, 16)
    before = features.copy()
    extractor = HierSumFeatureExtractor("eyes", "words", 16, 10, normalize_features=normalize)
    tracemalloc.start()
    try:
        batch = extractor(features)["video_features"]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 1.7 * features.nbytes  # with the times and the masks
    lengths = np.linalg.norm(features, axis=1, keepdims=True) if normalize else 1
    np.testing.assert_allclose(batch[0].numpy(), features / lengths, rtol=1e-6)
    batch.zero_()
    np.testing.assert_array_equal(features, before)


@pytest.mark.parametrize(("level", "texts"), [("child", 2), ("parent", 3), ("joint", 5)])
def test_level_chooses_the_texts(extractor, level, texts):
    batch = extractor(
        rows(6, 12), text_features=rows(2, 10), text_times_s=[(0, 1), (1, 2)], description_features=rows(3, 10),
        level=level,
    )  # fmt: skip
    assert batch["text_features"].shape == (1, texts, 10)
    if level != "child":
        assert batch["text_spans"][0, -3:].tolist() == [[0, 6]] * 3
    assert tiny_model()(**batch).frame_logits.shape == (1, 6)


def test_scores_come_back_with_their_times(extractor):
    model = tiny_model()
    times_s = [np.array([0.0, 0.4, 1.1]), np.array([0.0, 0.5])]
    inputs = extractor([rows(3, 12), rows(2, 12)], times_s, [rows(1, 10), rows(2, 10)], [[(0, 1)], [(0, 1), (0, 1)]])
    output = model(**inputs)
    first, second = extractor.post_process_video_summarization(output, inputs, times_s)
    np.testing.assert_allclose(first["scores"], torch.sigmoid(output.frame_logits[0]).detach(), rtol=1e-6)
    assert second["times_s"].tolist() == [0.0, 0.5]
    assert len(first["sentence_scores"]) == 1
    replay = extractor.post_process_video_summarization(output, inputs, times_s, score_head="replay")
    np.testing.assert_allclose(replay[0]["scores"], output.replay_scores[0].detach(), rtol=1e-5)


def test_both_levels_are_the_mean_of_their_logits(extractor):
    model = tiny_model()
    inputs = [extractor(rows(3, 12), description_features=rows(2, 10), level=level) for level in ("child", "parent")]
    outputs = [model(**batch) for batch in inputs]
    both = extractor.post_process_video_summarization(outputs, inputs[0])[0]["scores"]
    mean = torch.sigmoid((outputs[0].frame_logits + outputs[1].frame_logits) / 2)[0].detach()
    np.testing.assert_allclose(both, mean, rtol=1e-6)


BAD_INPUT = [
    ({"video_features": rows(3, 11)}, r"video_features must have shape \(rows, 12\) as made by 'eyes', got \(3, 11\)"),
    ({"video_features": rows(3, 12) * np.nan}, r"video_features must be finite.*3 rows, first 0"),
    ({"video_features": rows(0, 12)}, "video_features must have at least one row"),
    ({"frame_times_s": [0, 1]}, "frame_times_s must be 3 ascending times"),
    ({"frame_times_s": [0, 1, 1]}, r"frame_times_s .*does not ascend"),
    ({"text_features": rows(2, 10)}, r"text_times_s must have shape \(2, 2\)"),
    ({"text_features": rows(1, 10), "text_times_s": [(2, 3)]}, r"sentence 0 .*0 to 1.50 s.*got 2.00 to 3.00 s"),
    ({"text_features": rows(1, 10), "text_times_s": [(1, 0.5)]}, r"sentence 0 .*not end before it starts"),
    ({"text_features": rows(1, 9), "text_times_s": [(0, 1)]}, r"text_features .*\(rows, 10\) as made by 'words'"),
    ({"description_features": rows(1, 9), "level": "parent"}, "description_features must have shape"),
    ({"level": "uncle"}, "level must be one of"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT)
def test_bad_input_is_named(extractor, arguments, message):
    arguments = {"video_features": rows(3, 12)} | arguments
    level = arguments.pop("level", "child")
    with pytest.raises(ValueError, match=message if level == "uncle" else f"cats: {message}"):
        extractor(**{name: [value] for name, value in arguments.items()}, level=level, video_ids=["cats"])
