"""A summarizer that fails in a known way must be found out, one that does not must be left in peace."""

from dataclasses import replace

import numpy as np
import pytest

from hiersum_hf.evaluation.diagnosis import diagnose, format_diagnosis
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.records import VideoRecord
from hiersum_hf.scoring.training_free import oracle_scores, training_free_scores


FIRST_SHARE, LAST_SHARE = "share of selected time in the first tenth", "share of selected time in the last tenth"
FIRST_RECALL = "recall of what annotators agree on in the first tenth"
COSINE, ENCODERS = "mean cosine between selected frames", "encoders of data and checkpoint"
CONSTANT, MOVES = "share of videos with constant scores", "change of F1 and tau from the second result"


@pytest.fixture(scope="module")
def records(demo_records):
    return demo_records[:30]


def evaluate(records, scores):
    about = {"scorer": "x", "dataset": "demo", "part": "test", "baselines": {"random": None, "human": None}}
    return evaluate_scores(records, scores, **about)


def checks(records, score, second=None, **changes):
    """The checks of this scoring of these records by name."""
    scores = {record.video_id: score(record) for record in records}
    found = diagnose(records, scores, replace(evaluate(records, scores), **changes), second)
    return {check.name: check for check in found}


def not_well(found):
    return {name for name, check in found.items() if check.ok is False}


def made(name, shots=10, wanted=(0, 9), width=4):
    """100 original frames and 20 samples in ten shots of their own features; one annotator wants the `wanted` shots."""
    users = np.repeat([float(shot in wanted) for shot in range(shots)], 20 // shots)[None]
    return VideoRecord(
        video_id=name,
        video_features=np.repeat(np.eye(shots, max(width, shots), dtype=np.float32), 20 // shots, axis=0)[:, :width],
        frame_times_s=np.arange(20) / 2,
        duration_s=10.0,
        user_scores=users,
        shots=np.arange(shots)[:, None] * (100 // shots) + [0, 100 // shots],
        picks=np.arange(20) * 5,
        n_frames=100,
    )


def at_shot(*shots):
    """Scores that want these shots of ten."""
    return lambda record: np.repeat([float(shot in shots) for shot in range(10)], 2)


@pytest.mark.parametrize("score", [oracle_scores, lambda record: record.user_scores[0]])
def test_honest_scorers_are_left_in_peace(records, score):
    found = checks(records, score)
    assert not not_well(found)
    assert found[CONSTANT].ok
    assert found[COSINE].ok
    assert len(found) == 7


def test_what_leans_to_the_middle_is_found(records):
    """The scorer without training weighs the place in the video, which nobody's wishes follow in made-up videos."""
    found = checks(records, training_free_scores)
    assert FIRST_SHARE in not_well(found) <= {FIRST_SHARE, LAST_SHARE}
    assert found[LAST_SHARE].value < 0.1


def test_scores_that_fall_with_time_are_found(records):
    found = checks(records, lambda record: np.linspace(1, 0, len(record.picks)))
    assert {FIRST_SHARE, LAST_SHARE} <= not_well(found)
    assert found[FIRST_SHARE].value > 0.5


def test_an_opening_that_is_always_missed_is_found(records):
    def late(record):
        return oracle_scores(record) * (np.arange(len(record.picks)) >= len(record.picks) / 10)

    assert {FIRST_SHARE, FIRST_RECALL} <= not_well(checks(records, late))


def test_shares_and_recalls_by_hand():
    """15 of 100 frames fit: one shot of ten frames. The annotator's is the first one, ours the first in one video of
    two, the last in the other: half of the selected time is in the first tenth, where the recall is 1/2."""
    records = [made("a"), made("b")]
    scores = {"a": at_shot(0)(None), "b": at_shot(9)(None)}
    found = {check.name: check for check in diagnose(records, scores, evaluate(records, scores))}
    assert found[FIRST_SHARE].value == 0.5
    assert found[FIRST_SHARE].expected.endswith("(annotators 1.000)")
    assert found[LAST_SHARE].value == 0.5
    assert found[LAST_SHARE].expected.endswith("(annotators 0.000)")
    assert found[FIRST_RECALL].value == 0.5
    assert "(whole video 0.500)" in found[FIRST_RECALL].expected


def test_a_margin_covers_small_differences_only():
    """All 20 annotators' summaries are in the first tenth; ours are too, in 20, 19 and 17 of 20 videos."""
    records = [made(f"v{i}", wanted=(0,)) for i in range(20)]
    for misses, ok in ((0, True), (1, True), (17, False)):
        scores = {f"v{i}": at_shot(5 if i < misses else 0)(None) for i in range(20)}
        found = {check.name: check for check in diagnose(records, scores, evaluate(records, scores))}
        assert found[FIRST_SHARE].value == pytest.approx(1 - misses / 20)
        assert found[FIRST_SHARE].ok is ok


def test_a_summary_of_one_thing_is_found(records):
    def like_the_middle(record):
        rows = record.video_features / np.linalg.norm(record.video_features, axis=1, keepdims=True)
        return rows @ rows[len(rows) // 2]

    assert COSINE in not_well(checks(records, like_the_middle))


def test_cosine_by_hand():
    """Two samples of one shot have the same feature: cosine 1, as for every random selection of one shot."""
    found = checks([made("a", width=10), made("b", width=10)], at_shot(3))
    assert found[COSINE].value == pytest.approx(1)
    assert found[COSINE].expected == "at most 1.000 (random 1.000)"
    assert found[COSINE].ok


def test_checks_that_are_not_possible_say_so_and_do_not_pass(records):
    bare = [replace(record, video_features=record.video_features[:, :0]) for record in records]
    found = checks(bare, oracle_scores)
    assert (found[COSINE].value, found[COSINE].ok) == ("not possible: no features", None)
    assert found[FIRST_SHARE].ok
    found = checks([replace(record, shots=None, user_summaries=None) for record in bare], oracle_scores)
    assert {found[name].ok for name in (FIRST_SHARE, FIRST_RECALL, COSINE)} == {None}
    assert "not possible: fewer than two videos with shots and annotators" in format_diagnosis(list(found.values()))
    assert checks([replace(r, shots=None) for r in bare], oracle_scores)[COSINE].value == "not possible: no features"
    stills = [replace(made(name), video_features=np.ones((20, 4)), picks=np.arange(20) * 5 + 100) for name in "ab"]
    assert checks(stills, at_shot(5))[COSINE].value == "not possible: no two frames are selected"
    rare = checks([made("a"), made("b")], at_shot(5))
    assert rare[FIRST_RECALL].value == "not possible: 0.000 on 2 videos could be chance"
    assert rare[FIRST_RECALL].ok is None


def test_constant_scores_and_another_encoder_are_found(records):
    first = records[0].video_id
    found = checks(records, lambda r: np.ones(len(r.picks)) if r.video_id == first else oracle_scores(r))
    assert found[CONSTANT].value == pytest.approx(1 / 30)
    assert CONSTANT in not_well(found)
    found = checks(records, oracle_scores, encoder_mismatch="v: expected video features of 'a', found those of 'b'.")
    assert "found those of 'b'" in found[ENCODERS].value
    assert not_well(found) == {ENCODERS}


def test_f1_up_while_tau_is_down_is_found(records):
    records = records[:8]
    scores = {record.video_id: oracle_scores(record) for record in records}
    results = evaluate(records, scores)
    for tau_step, ok in ((-0.1, True), (0.1, False)):  # from the second: F1 up by .1, tau up or down by .1
        changed = {
            name: figures | {"f1": figures["f1"] - 0.1, "kendall_tau": figures["kendall_tau"] + tau_step}
            for name, figures in results.per_video.items()
        }
        second = replace(results, per_video=changed)
        found = diagnose(records, scores, results, second)[-1]
        assert (found.name, found.ok) == (MOVES, ok)
        assert found.value == f"F1 +0.1000, tau {-tau_step:+.4f}"
    assert diagnose(records, scores, results, results)[-1].ok
    silent = {name: figures | {"f1": None} for name, figures in results.per_video.items()}
    assert diagnose(records, scores, results, replace(results, per_video=silent))[-1].ok is None
    with pytest.raises(ValueError, match="data_fingerprint"):
        diagnose(records, scores, results, replace(second, data_fingerprint="other"))


def test_a_single_curve_and_other_protocols_work(records):
    """Protocols with "-single-reference" in their name, and those that do not select shots."""
    curves = [replace(r, user_scores=None, user_summaries=None) for r in records[:6]]
    assert not not_well(checks(curves, lambda record: record.frame_scores))
    labels = [replace(r, frame_scores=None, shots=None) for r in curves]
    for dataset in ("bliss", "wikihow"):
        scores = {record.video_id: record.frame_labels + np.linspace(0, 0.1, len(record.picks)) for record in labels}
        about = {"scorer": "x", "part": "test", "baselines": {"random": None, "human": None}}
        results = evaluate_scores(labels, scores, dataset=dataset, **about)
        found = {check.name: check for check in diagnose(labels, scores, results)}
        assert isinstance(found[FIRST_SHARE].value, float)
        assert isinstance(found[COSINE].value, float)


@pytest.mark.parametrize(
    ("scores", "message"), [({}, "video a: expected 20 scores, found none"), ({"a": np.ones(3)}, "found 3")]
)
def test_missing_scores_name_the_video(scores, message):
    good = {"a": np.arange(20.0)}
    with pytest.raises(ValueError, match=message):
        diagnose([made("a")], scores, evaluate([made("a")], good))


def test_text(records):
    lines = format_diagnosis(list(checks(records, lambda r: np.linspace(1, 0, len(r.picks))).values())).splitlines()
    assert lines[0].startswith("BAD share of selected time in the first tenth: 0.")
    assert "follow the position" in lines[1]
    assert lines[-1] == "ok  share of videos with constant scores: 0.000; expected 0"
