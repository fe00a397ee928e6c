"""mAP must be Mr.HiSum's: the same clips, the same positives, the same ties, or figures do not compare."""

import numpy as np
import pytest

from hiersum_hf.metrics import clip_average_precision


def of_clips(means, rows=33):
    """(rows,) scores whose clips of five have these means."""
    return np.repeat(np.asarray(means, float), 5)[:rows]


REFERENCE = of_clips([0.1, 0.9, 0.2, 0.3, 0.8, 0.4, 1.0])  # 33 rows: 7 clips, the last of 3 rows; best: 6, 1, 4


def test_by_hand():
    """floor(7 / 2) = 3 positives at ranks 1, 3 and 4; int(0.15 x 7) = 1 positive at rank 4."""
    scores = of_clips([7, 9, 1, 2, 6, 3, 5])  # ranks of clips 1, 0, 4, 6, ...
    assert clip_average_precision(scores, REFERENCE, 0.5) == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert clip_average_precision(scores, REFERENCE, 0.15) == pytest.approx(1 / 4)
    assert clip_average_precision(REFERENCE, REFERENCE, 0.5) == 1


def test_a_clip_scores_its_mean():
    scores = of_clips([0, 0, 0, 0, 0, 0, 0])
    scores[[6, 30, 31, 32]] = 10, 3, 3, 3  # means 2 and, of three rows, 3
    assert clip_average_precision(scores, REFERENCE, 0.15) == 1
    scores[6] = 16
    assert clip_average_precision(scores, REFERENCE, 0.15) == 1 / 2


def test_triplesumm_rounds_up_and_fills_up_with_zeros():
    """ceil(7 / 2) = 4 positives; the last clip means 3/5 of 1.0, so the best are 1, 4, 6 and 5."""
    scores = of_clips([7, 9, 1, 2, 6, 3, 5])  # the last clip falls to 3: ranks of clips 1, 0, 4, (5, 6), ...
    ours = clip_average_precision(scores, REFERENCE, 0.5, "triplesumm")
    assert ours == pytest.approx((1 / 1 + 2 / 3 + 2 * 4 / 5) / 4)  # clips 5 and 6 tie: one threshold takes both
    assert clip_average_precision(scores, REFERENCE, 0.15, "triplesumm") == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_ties_in_the_reference_go_to_the_earlier_clip():
    flat = np.ones(35)
    assert clip_average_precision(-np.arange(35), flat, 0.5) == 1
    assert clip_average_precision(np.arange(35), flat, 0.5) == pytest.approx((1 / 5 + 2 / 6 + 3 / 7) / 3)
    assert clip_average_precision(flat, flat, 0.5) == pytest.approx(3 / 7)  # a constant prediction: all tie


def test_no_positive_clip_is_undefined():
    assert np.isnan(clip_average_precision(np.arange(5), np.arange(5), 0.5))
    assert np.isnan(clip_average_precision(np.arange(30), np.arange(30), 0.15))
    assert clip_average_precision(np.arange(31), np.arange(31), 0.15) == 1
    assert clip_average_precision([0.0], [0.0], 0.5, "triplesumm") == 1


def test_random_scores_get_what_the_docstring_says():
    rng = np.random.default_rng(0)
    for rows, share, expected in ((60, 0.5, 0.59), (60, 0.15, 0.27), (600, 0.5, 0.52), (600, 0.15, 0.18)):
        draws = [clip_average_precision(rng.random(rows), rng.random(rows), share) for _ in range(200)]
        assert np.mean(draws) == pytest.approx(expected, abs=4 * np.std(draws) / np.sqrt(200))


@pytest.mark.parametrize(
    ("scores", "reference", "share", "rule", "message"),
    [
        ([1, 2], [1, 2], 0.3, "mrhisum", "expected a share of .* found 0.3"),
        ([1, 2], [1, 2], 0.5, "sum", "found 0.5 and 'sum'"),
        ([1, np.nan], [1, 2], 0.5, "mrhisum", "video abc: expected finite scores"),
        ([1, 2], [1, np.inf], 0.5, "mrhisum", "video abc: expected finite reference scores"),
        ([], [], 0.5, "mrhisum", r"video abc: expected reference scores of shape \(n,\)"),
        ([1, 2, 3, 4], [1], 0.5, "mrhisum", "video abc: expected 1 values as annotated, found 4"),
    ],
)
def test_bad_input_names_the_video(scores, reference, share, rule, message):
    with pytest.raises(ValueError, match=message):
        clip_average_precision(scores, reference, share, rule, video_id="abc")


@pytest.mark.parametrize("unit", [1, 5, 10, 3])
def test_equal_clips_tie_whatever_the_order_of_their_rows(unit):
    """0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1 in floating point; ranks must not depend on it."""
    rows = np.array([1, 2, 3, 0, 0, 3, 2, 1, 0, 0]) / unit
    prediction = np.repeat([0.0, 1.0], 5)
    swapped = np.roll(rows, 5)
    assert clip_average_precision(prediction, rows, 0.5) == clip_average_precision(prediction, swapped, 0.5) == 0.5
    noisy = np.array([1, 2, 3, 3, 2, 1, 2, 1, 3, 2, 2, 2] * 5) / unit
    assert clip_average_precision(noisy[:30], np.arange(30), 0.5) == pytest.approx(
        clip_average_precision(np.round(noisy[:30] * unit), np.arange(30), 0.5)
    )
