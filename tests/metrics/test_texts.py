"""BLiSS: text figures must be those of rouge_score, frame figures must not depend on the batch."""

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from hiersum_hf.metrics import matched_cosine, oracle_k, ratio_k, rouge, top_k


def test_rouge_by_hand():
    assert rouge(["The cat sat."], ["the cat ran"]) == pytest.approx(
        {"rouge1": 2 / 3, "rouge2": 1 / 2, "rougeLsum": 2 / 3}
    )
    assert rouge(["slicing tomatoes"], ["sliced tomato"])["rouge1"] == 1  # stems
    swapped = rouge(["boil water", "slice bread"], ["slice bread", "boil water"])
    assert swapped == pytest.approx({"rouge1": 1, "rouge2": 2 / 3, "rougeLsum": 1})  # Lsum reads sentence by sentence


def test_rouge_is_the_librarys():
    ours, theirs = ["Boil the water first.", "Then add salt"], ["First, boil some water.", "Salt is added later."]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeLsum"], use_stemmer=True)
    direct = scorer.score("\n".join(theirs), "\n".join(ours))
    assert rouge(ours, theirs) == {name: score.fmeasure for name, score in direct.items()}


def test_nothing_predicted_is_0_and_no_reference_undefined():
    assert rouge([], ["a cat"]) == {"rouge1": 0, "rouge2": 0, "rougeLsum": 0}
    for unreadable in ([], [""], ["?!"], ["猫が座る"]):  # rouge_score reads a-z and 0-9
        assert np.isnan(list(rouge(["a cat"], unreadable).values())).all()
    for pair in (("a cat", ["a cat"]), (["a cat"], "a cat")):
        with pytest.raises(ValueError, match="video abc: expected lists of sentences, found one text"):
            rouge(*pair, video_id="abc")


FRAMES = np.array([[1, 0], [0.6, 0.8], [0.8, 0.6]])  # cosines to the first: 1, 0.6, 0.8


def test_similarities_are_scaled_over_the_frames_of_the_video():
    """0.8 lies halfway from the least similar frame (0.6) to the most similar (1)."""
    assert matched_cosine(FRAMES[:1], FRAMES[2:], FRAMES) == pytest.approx(0.5)
    assert matched_cosine(FRAMES[:1], FRAMES[1:], FRAMES) == pytest.approx(0.5)  # one reference, one match
    assert matched_cosine(FRAMES[:1], FRAMES, FRAMES) == 1
    assert matched_cosine(3 * FRAMES[:1], 5 * FRAMES[2:], 2 * FRAMES) == pytest.approx(0.5)  # cosines know no length


def test_padding_changes_only_the_variant_that_says_so():
    def cosine(*args):
        return matched_cosine(FRAMES[:1], FRAMES[2:], FRAMES, *args)

    assert cosine("valid-frames", 3) == cosine("valid-frames", 500) == pytest.approx(0.5)
    assert cosine("a2summ-padded", 3) == pytest.approx(0.5)  # the longest clip of its batch
    assert cosine("a2summ-padded", 4) == cosine("a2summ-padded", 500) == pytest.approx(0.8)
    for length in (None, 2):
        with pytest.raises(ValueError, match=f"expected a padded length of at least 3, found {length}"):
            cosine("a2summ-padded", length)
    with pytest.raises(ValueError, match="variant: expected one of valid-frames, a2summ-padded; found 'mean'"):
        cosine("mean")


def test_matching_is_greedy_and_one_to_one():
    """Cosines (.6, .5), (.55, .1): greedy takes .6 and is left with .1, the best pairing would be .5 and .55."""
    p, q = [0.6, 0.55, np.sqrt(1 - 0.6**2 - 0.55**2), 0], [0.5, 0.1, 0, np.sqrt(1 - 0.5**2 - 0.1**2)]
    reference, predicted = np.eye(4)[:2], np.array([p, q])
    frames = np.vstack([reference, predicted])  # similarities to the reference from 0 to 1
    assert matched_cosine(reference, predicted, frames) == pytest.approx((0.6 + 0.1) / 2)
    assert matched_cosine(reference, predicted[::-1], frames) == pytest.approx((0.6 + 0.1) / 2)
    # a second copy of the best frame is left with the other reference
    assert matched_cosine(reference, np.array([p, p]), frames) == pytest.approx((0.6 + 0.55) / 2)


def test_cosine_of_odd_videos():
    none = np.zeros((0, 2))
    assert matched_cosine(FRAMES[:1], none, FRAMES) == 0
    assert np.isnan(matched_cosine(none, FRAMES, FRAMES))
    assert np.isnan(matched_cosine(FRAMES[:1], FRAMES[:1], FRAMES[:1]))  # one frame: nothing to scale by
    assert matched_cosine(FRAMES[:1], FRAMES[:1], FRAMES[1:]) == 1  # not among the frames: (1 - .6) / (.8 - .6)
    assert matched_cosine(FRAMES[:1], [[-1.0, 0.1]], FRAMES) == 0
    assert matched_cosine(FRAMES[:1], 0.1 * FRAMES[2:], 0.5 * FRAMES) == pytest.approx(0.5)
    alike = [[0.3 * k, 0.7 * k] for k in range(1, 8)]  # of length 1 they differ by rounding
    assert np.isnan(matched_cosine(FRAMES[:1], alike[:1], alike))
    dark = np.vstack([FRAMES, [[0, 0]]])  # a row of zeros has similarity 0
    assert matched_cosine(FRAMES[:1], FRAMES[2:], dark) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("reference", "predicted", "frames", "message"),
    [
        (FRAMES, FRAMES, np.zeros((0, 2)), r"video abc: expected frames of shape \(N, D\) with N >= 1"),
        (np.ones((1, 3)), FRAMES, FRAMES, r"video abc: expected reference of shape \(n, 2\), found \(1, 3\)"),
        (FRAMES, np.ones(2), FRAMES, r"video abc: expected predicted of shape \(n, 2\), found \(2,\)"),
        (FRAMES, FRAMES * np.nan, FRAMES, "video abc: expected finite predicted"),
    ],
)
def test_bad_features_name_the_video(reference, predicted, frames, message):
    with pytest.raises(ValueError, match=message):
        matched_cosine(reference, predicted, frames, video_id="abc")


def test_selection():
    assert top_k([0.5, 0.9, 0.5, 0.5], 2).tolist() == [0, 1]
    assert top_k([1.0, 2.0], 0).tolist() == []
    assert top_k([1.0, 2.0], 2).tolist() == [0, 1]
    assert top_k(np.ones(100), 3).tolist() == [0, 1, 2]
    assert oracle_k([0, 1, 1, -100]) == 2
    assert [ratio_k(n) for n in (0, 1, 13, 14, 20, 100)] == [0, 1, 1, 2, 3, 15]
    assert ratio_k(100, 0.29) == 29  # 28.999999999999996 in floats
    assert ratio_k(3, 1) == 3
    for k in (-1, 3):
        with pytest.raises(ValueError, match=f"video abc: expected k from 0 to 2, found {k}"):
            top_k([1.0, 2.0], k, "abc")
    with pytest.raises(ValueError, match="video abc: expected finite scores"):
        top_k([1.0, np.nan], 1, "abc")
    with pytest.raises(ValueError, match="expected a share above 0 and at most 1, found 0"):
        ratio_k(5, 0)
