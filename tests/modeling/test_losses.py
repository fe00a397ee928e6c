"""Every loss against a number worked by hand, and finite where nothing can be learned."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hiersum_hf.modeling.losses_hiersum import (
    centered_mse_loss,
    focal_loss,
    hard_negatives,
    inter_contrast_loss,
    intra_contrast_loss,
    replay_mse_loss,
    same_text,
    score_correlation_loss,
    video_text_intra_loss,
)


NAN = float("nan")
LOG_2 = torch.tensor(math.log(2))
LOG_10 = torch.tensor(math.log(10.0))


def everywhere(tensor):
    return torch.ones(tensor.shape, dtype=torch.bool)


def test_score_losses_by_hand():
    """Scores 0, 0, 1 and logits 1, 2, 3, without means (-1, -1, 2) / 3 and (-1, 0, 1): r = 1 / sqrt(2 x 6 / 9)."""
    logits, scores = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    known = everywhere(logits)
    expected = 1 - 1 / math.sqrt(4 / 3)
    assert score_correlation_loss(logits, scores, known).item() == pytest.approx(expected, rel=1e-6)
    assert centered_mse_loss(logits, scores, known).item() == pytest.approx((4 / 9 + 1 / 9 + 1 / 9) / 3, rel=1e-6)


def test_score_losses_leave_out_padding_frames_without_a_score_and_videos_without_one():
    logits = torch.tensor([[1.0, 2.0, 9.0, 3.0, 8.0], [5.0, 1.0, 2.0, 0.0, 0.0], [1.0, 0.0, 2.0, 3.0, 1.0]])
    scores = torch.tensor([[0.0, 0.0, NAN, 1.0, 0.5], [NAN] * 5, [0.1, 0.7, 0.2, 0.2, 0.9]])
    mask = torch.tensor([[True, True, True, True, False], [True, True, True, False, False], [True] * 5])
    kept = [0, 1, 3]
    for loss in (score_correlation_loss, centered_mse_loss):
        first = loss(logits[:1, kept], scores[:1, kept], mask[:1, kept])
        third = loss(logits[2:], scores[2:], mask[2:])
        assert loss(logits, scores, mask).item() == pytest.approx((first + third).item() / 2, rel=1e-6)


@given(st.floats(0.01, 1000), st.floats(-100, 100))
def test_the_level_and_scale_of_scores_do_not_matter_to_correlation(scale, level):
    logits, scores = torch.tensor([[1.0, -2.0, 0.5, 3.0]]), torch.tensor([[0.0, 0.2, 0.9, 1.0]])
    found = score_correlation_loss(logits, scores * scale + level, everywhere(logits)).item()
    assert found == pytest.approx(score_correlation_loss(logits, scores, everywhere(logits)).item(), abs=0.02)


@pytest.mark.parametrize("loss", [score_correlation_loss, centered_mse_loss])
@pytest.mark.parametrize(
    ("logits", "scores"),
    [
        ([0.1, 0.1, 0.1], [0, 1, 0.5]),
        ([1, 2, 3], [0.7, 0.7, 0.7]),
        ([1, 2, 3], [NAN, NAN, NAN]),
        ([2, 0, 1], [NAN, 0, NAN]),
        ([1e4, -1e4, 0], [0, 1, 0]),
    ],
)
def test_score_losses_are_finite_where_nothing_varies(loss, logits, scores):
    logits = torch.tensor([logits], dtype=torch.float32, requires_grad=True)
    value = loss(logits, torch.tensor([scores]), everywhere(logits))
    value.backward()
    assert math.isfinite(value.item())
    assert logits.grad.isfinite().all()
    if loss is score_correlation_loss and len(logits.unique()) == 1:
        assert value == 0


def test_focal_by_hand():
    """p = 0.75, 0.5 and 0.25; labels 1, 0, 0: 0.5 (0.25^2 ln(4/3) + 0.5^2 ln 2 + 0.25^2 ln(4/3)) / 3 = 0.0349."""
    logits = torch.tensor([[math.log(3.0), 0.0, -math.log(3.0)]])
    expected = (2 * 0.5 * 0.0625 * math.log(4 / 3) + 0.5 * 0.25 * math.log(2)) / 3
    labels = torch.tensor([[1, 0, 0]])
    assert focal_loss(logits, labels, everywhere(logits)).item() == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx(0.0349, abs=1e-4)


def test_balanced_focal_by_hand():
    logits, labels = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[1, 0]])
    expected = (0.9 * 0.0625 * math.log(4 / 3) + 0.1 * 0.25 * math.log(2)) / 2
    assert focal_loss(logits, labels, everywhere(logits), alpha=0.9).item() == pytest.approx(expected, rel=1e-6)


def test_focal_leaves_out_padding_and_unknown_labels():
    logits = torch.tensor([[2.0, -1.0, 50.0, 7.0]])
    labels, mask = torch.tensor([[1, 0, -100, 1]]), torch.tensor([[True, True, True, False]])
    assert focal_loss(logits, labels, mask) == focal_loss(logits[:, :2], labels[:, :2], mask[:, :2])


def test_a_confidently_wrong_frame_keeps_its_gradient():
    """A clamp on the probability would kill it, and the frame would stay wrong for good."""
    logits = torch.tensor([[-60.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([[1]]), everywhere(logits)).backward()
    assert logits.grad.item() == pytest.approx(-0.5, rel=1e-3)


@settings(max_examples=200)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=8),
    st.sampled_from([0, 1, -100]),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
def test_focal_is_finite_with_finite_gradient(values, label, dtype):
    logits = torch.tensor([values]).to(dtype).requires_grad_()
    loss = focal_loss(logits, torch.full((1, len(values)), label), everywhere(logits))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_replay_mse_by_hand():
    """(0.2^2 + 0.4^2) / 2 = 0.1 over the two frames that have a score."""
    predicted = torch.tensor([[0.5, 0.9, 0.3, 0.1]])
    scores = torch.tensor([[0.7, 0.5, math.nan, 1.0]])
    mask = torch.tensor([[True, True, True, False]])
    assert replay_mse_loss(predicted, scores, mask).item() == pytest.approx(0.1, rel=1e-6)
    assert replay_mse_loss(predicted, scores * math.nan, mask) == 0


def test_inter_contrast_by_hand():
    """Two orthogonal videos with their own texts and scale 10: ln(1 + e^-10) each way."""
    pairs, none_alike = torch.eye(2), torch.eye(2, dtype=torch.bool)
    both = torch.tensor([True, True])
    loss = inter_contrast_loss(pairs, pairs * 7, LOG_10, both, none_alike)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-10)), rel=2e-2)
    swapped = inter_contrast_loss(pairs, pairs.flip(0), LOG_10, both, none_alike)
    assert swapped.item() == pytest.approx(10 + math.log1p(math.exp(-10)), rel=1e-5)


def test_inter_contrast_goes_from_video_to_text_and_back():
    """Both texts are those of the first video: it cannot tell them apart, and they both choose it."""
    video, text, none_alike = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.eye(2, dtype=torch.bool)
    loss = inter_contrast_loss(video, text, LOG_10, torch.tensor([True, True]), none_alike)
    to_text, to_video = math.log(2), (math.log1p(math.exp(-10)) + math.log1p(math.exp(10))) / 2
    assert loss.item() == pytest.approx((to_text + to_video) / 2, rel=1e-5)


def test_inter_contrast_leaves_out_videos_without_text_and_copies_of_a_text():
    video, text = torch.randn(3, 4), torch.randn(3, 4)
    apart = torch.eye(3, dtype=torch.bool)
    first_two = inter_contrast_loss(video[:2], text[:2], LOG_10, torch.tensor([True, True]), apart[:2, :2])
    assert inter_contrast_loss(video, text, LOG_10, torch.tensor([True, True, False]), apart) == first_two
    alike = torch.ones(3, 3, dtype=torch.bool)
    assert inter_contrast_loss(video, text, LOG_10, torch.tensor([True] * 3), alike).item() == pytest.approx(
        0, abs=1e-6
    )
    assert inter_contrast_loss(video[:1], text[:1], LOG_10, torch.tensor([True]), apart[:1, :1]) == 0
    assert inter_contrast_loss(video, text, LOG_10, torch.tensor([False] * 3), apart) == 0


def test_contrast_scale_is_held_at_100():
    pairs = torch.eye(2)
    args = (pairs, pairs.flip(0), torch.tensor(50.0), torch.tensor([True, True]), torch.eye(2, dtype=torch.bool))
    assert inter_contrast_loss(*args).item() == pytest.approx(100, rel=1e-5)


def test_the_same_description_is_found_whatever_the_padding():
    text = torch.randn(3, 4, 5)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]).bool()
    text[1, :2] = text[0, :2]
    expected = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    assert torch.equal(same_text(text, mask), expected)
    near = text.clone()
    near[1, 0, 0] += 1e-3
    assert not same_text(near, mask)[0, 1], "another text, if a similar one"
    assert not same_text(near * 1000, mask)[0, 1]
    assert not same_text(near * 1e-6, mask)[0, 1], "nor does the scale of the features matter"
    rounded = text.clone()
    rounded[1, :2] *= 1 + 3e-7
    assert same_text(rounded * 1e3, mask)[0, 1], "sums in another order"
    assert same_text(torch.zeros(2, 1, 5), torch.ones(2, 1).bool()).all()


def test_hard_negatives_by_hand():
    """Labels at 0 dilated by 2 rule out 0-2; 8 // 4 = 2 negatives: the best scored of 3-7, 6 and 4."""
    scores = torch.tensor([[9.0, 8, 7, 0, 3, 1, 5, 2]])
    positive = torch.tensor([[True] + [False] * 7])
    index, valid = hard_negatives(scores, positive, everywhere(scores), ratio=4, dilation=2)
    assert index.tolist() == [[6, 4]]
    assert valid.all()


def test_hard_negatives_do_not_depend_on_padding():
    scores = torch.tensor([[0.0, 1, 2, 3, 9, 9, 9, 9]])
    mask = torch.tensor([[True] * 4 + [False] * 4])
    index, valid = hard_negatives(scores, torch.zeros_like(mask), mask, ratio=2, dilation=0)
    assert index[valid].tolist() == [3, 2]  # 4 // 2, not 8 // 2


def test_a_short_video_has_one_hard_negative_beside_a_long_one():
    scores = torch.arange(20.0).repeat(2, 1)
    mask = torch.arange(20) < torch.tensor([[20], [4]])
    index, valid = hard_negatives(scores, torch.zeros_like(mask), mask, ratio=8, dilation=0)
    assert [row[ok].tolist() for row, ok in zip(index, valid, strict=True)] == [[19, 18], [3]]
    index, valid = hard_negatives(scores[:, :4], torch.zeros(2, 4).bool(), mask[:, :4], ratio=8, dilation=0)
    assert (index.tolist(), valid.all()) == ([[3], [3]], True)


def test_no_negatives_where_every_position_is_near_a_positive():
    positive = torch.tensor([[True] * 5])
    assert not hard_negatives(torch.zeros(1, 5), positive, everywhere(positive))[1].any()


def test_intra_contrast_by_hand():
    """Query = positive, an orthogonal and an opposite negative, scale 10: ln(1 + e^-10 + e^-20); one is hidden."""
    query = torch.tensor([[1.0, 0.0]])
    negatives = torch.tensor([[[0.0, 3.0], [-1.0, 0.0], [1.0, 0.0]]])
    shown = torch.tensor([[True, True, False]])
    loss = intra_contrast_loss(query, query, negatives, shown, torch.tensor([True]), LOG_10)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-10) + math.exp(-20)), rel=2e-2)
    assert intra_contrast_loss(query, query, negatives, shown & False, torch.tensor([True]), LOG_10) == 0
    assert intra_contrast_loss(query, query, negatives, shown, torch.tensor([False]), LOG_10) == 0


def unit(angle: float) -> list[float]:
    return [math.cos(angle), math.sin(angle)]


def side_by_hand(key: float, other: float, negatives: list[float]) -> float:
    """Contrast at scale 2 of directions in the plane, given as angles."""
    return math.log1p(sum(math.exp(2 * (math.cos(key - n) - math.cos(key - other))) for n in negatives))


def test_intra_contrast_of_both_sides_by_hand():
    """Two videos, of which the second has no key sentence and counts as 0; ratio 2: two of four frames."""
    frames = torch.tensor([[unit(a) for a in (0.0, 0.3, 1.5, 2.0)]] * 2)
    sentences = torch.tensor([[unit(a) for a in (0.5, 1.2, 3.0)]] * 2)
    frame_key = torch.tensor([[True, True, False, False]] * 2)
    sentence_key = torch.tensor([[True, False, False], [False] * 3])
    frame_logits, sentence_logits = torch.tensor([[9.0, 8, 1, 2]] * 2), torch.tensor([[9.0, 1, 3]] * 2)
    inputs = (frames, frame_logits, frame_key, everywhere(frame_key), sentences)
    text = (sentence_key, everywhere(sentence_key), LOG_2)
    video_side = side_by_hand(0.15, 0.5, [1.5, 2.0]) / 2
    text_side = side_by_hand(0.5, 0.15, [3.0]) / 2
    options = {"ratio": 2, "dilation": 0}
    both = video_text_intra_loss(*inputs, sentence_logits, *text, **options)
    assert both.item() == pytest.approx((video_side + text_side) / 2, rel=1e-4)
    assert video_text_intra_loss(*inputs, None, *text, **options).item() == pytest.approx(video_side, rel=1e-4)


def test_intra_contrast_with_one_text_or_none():
    frames, key = torch.tensor([[unit(0.0), unit(1.0)]]), torch.tensor([[True, False]])
    logits, all_frames = torch.tensor([[1.0, 0.0]]), torch.tensor([[True, True]])
    one, none = torch.tensor([[unit(0.5)]]), torch.zeros(1, 0, 2)
    yes, empty = torch.tensor([[True]]), torch.zeros(1, 0, dtype=torch.bool)
    options = {"ratio": 2, "dilation": 0}
    loss = video_text_intra_loss(frames, logits, key, all_frames, one, None, yes, yes, LOG_2, **options)
    assert loss.item() == pytest.approx(side_by_hand(0.0, 0.5, [1.0]), rel=1e-4)
    args = (frames, logits, key, all_frames, none, torch.zeros(1, 0), empty, empty, LOG_2)
    assert video_text_intra_loss(*args, **options) == 0


def test_hard_negatives_keep_four_positions_away_and_are_a_sixteenth():
    scores = torch.zeros(1, 32)
    scores[0, [11, 12, 24, 25, 3]] = torch.tensor([9.0, 8, 7, 6, 5])  # 12 to 24 lie within 4 of the positives
    positive = torch.zeros_like(scores).bool()
    positive[0, 16:21] = True
    index, valid = hard_negatives(scores, positive, everywhere(scores))
    assert index[valid].tolist() == [11, 25]
    long = torch.zeros(1, 240)
    assert hard_negatives(long, torch.zeros_like(long).bool(), everywhere(long))[0].shape == (1, 15)
    distance = torch.arange(240.0)[None] - 100
    scores, positive = -distance.abs(), distance == 0  # the nearest that may be taken is
    frames = torch.randn(1, 240, 4)
    args = (frames, scores, positive, everywhere(scores), frames[:, :1], None, *[torch.tensor([[True]])] * 2, LOG_10)
    assert video_text_intra_loss(*args) == video_text_intra_loss(*args, ratio=16, dilation=4)


def test_intra_choice_is_detached_and_gradient_goes_through_the_embeddings():
    frames, sentences = torch.randn(1, 6, 4, requires_grad=True), torch.randn(1, 3, 4, requires_grad=True)
    logits = torch.randn(1, 6, requires_grad=True)
    key = torch.tensor([[True, False, False, False, False, False]])
    loss = video_text_intra_loss(
        frames, logits, key, everywhere(key), sentences, None, torch.tensor([[True, True, True]]),
        torch.tensor([[True, True, True]]), LOG_10, ratio=2, dilation=0,
    )  # fmt: skip
    loss.backward()
    assert loss > 0
    assert logits.grad is None
    assert frames.grad.abs().sum() > 0
    assert sentences.grad.abs().sum() > 0


@pytest.mark.parametrize("value", [0, 1])
def test_all_terms_are_finite_for_all_zero_and_all_one_labels(value):
    from tests.makers.batches import random_batch
    from tests.makers.models import tiny_model

    batch = random_batch()
    for name in ("frame_labels", "sentence_labels"):
        batch[name] = torch.full_like(batch[name], value)
    model = tiny_model()
    output = model(**batch)
    output.loss.backward()
    assert all(torch.isfinite(term) for term in output.losses.values())
    assert output.losses["intra"] == 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
