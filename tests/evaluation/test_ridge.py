"""The ridge baseline must find what a straight line can know, and know nothing of the test videos."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hiersum_hf.datasets.readers.tvsum import write_tvsum
from hiersum_hf.datasets.split_files import read_splits
from hiersum_hf.evaluation.data import EvaluationData
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.evaluation.ridge import ridge_scores
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import Baseline, Results, format_table
from tests.makers.records import OnDisk


RULE = np.array([1.0, -2.0, 0.5, 0.0])


def make_video(number, n=60, noise=0.0, **parts):
    """A video whose three annotators rate a frame by RULE, each with noise of his own."""
    rng = np.random.default_rng(number)
    features = rng.standard_normal((n, 4)).astype(np.float32)
    users = 3 + features @ RULE + noise * rng.standard_normal((3, n))
    defaults = {"video_features": features, "frame_times_s": np.arange(n) / 2, "duration_s": n / 2}
    return VideoRecord(video_id=f"v{number}", **defaults | {"user_scores": users} | parts)


def make_parts(**settings):
    numbers = {"train": range(6), "validation": range(6, 9), "test": range(9, 12)}
    return {part: [make_video(number, **settings) for number in which] for part, which in numbers.items()}


def fit(parts):
    return ridge_scores(parts["train"], parts["validation"], parts["test"])


def test_a_linear_rule_is_found():
    """Frames without order in time: averaging would spoil it, so it is not chosen."""
    parts = make_parts()
    ridge = fit(parts)
    assert (ridge.fit["averaged_s"], ridge.fit["videos"], ridge.fit["left_out"]) == (0, 9, 0)
    for record in parts["test"]:
        assert ridge.scores[record.video_id] == pytest.approx(record.user_scores[0], abs=0.02)


def test_weights_are_those_of_scikit_learn():
    """The sums of all videos give what a fit on all frames at once gives."""
    from sklearn.linear_model import Ridge

    parts = make_parts(noise=3.0)
    ridge = fit(parts)
    seen = [(r.video_features, r.user_scores.mean(axis=0)) for part in ("train", "validation") for r in parts[part]]
    features, truth = (np.concatenate(arrays) for arrays in zip(*seen, strict=True))
    before = np.concatenate([r.video_features for r in parts["train"]])
    scatter = ((before - before.mean(axis=0)) ** 2).sum() / 4
    expected = Ridge(alpha=ridge.fit["strength"] * scatter).fit(features, truth)
    assert ridge.fit["averaged_s"] == 0
    assert ridge.scores["v9"] == pytest.approx(expected.predict(parts["test"][0].video_features), rel=1e-5)


def test_ranks_are_learned_where_they_are_asked_for():
    """One annotator of three rates at random on a far larger scale: in ranks he counts no more than the others."""
    parts, rng = make_parts(), np.random.default_rng(0)
    for records in parts.values():
        for record in records:
            record.user_scores[0] = 1000 * rng.random(60)
    plain, ranks = (ridge_scores(*parts.values(), rank_targets=wanted) for wanted in (False, True))
    agreement = {
        name: np.mean([np.corrcoef(fitted.scores[r.video_id], r.video_features @ RULE)[0, 1] for r in parts["test"]])
        for name, fitted in (("plain", plain), ("ranks", ranks))
    }
    assert agreement["ranks"] > 0.98
    assert agreement["plain"] < 0.96
    assert 0 < min(scores.mean() for scores in ranks.scores.values()) < 1


def test_averaging_is_chosen_where_neighbours_say_more():
    """Importance that lasts, seen through features that jump from frame to frame."""
    parts = make_parts()
    for part, records in parts.items():
        for i, record in enumerate(records):
            rng = np.random.default_rng(100 + i)
            truth = np.repeat(rng.standard_normal(4), 15)
            features = (truth[:, None] + 3 * rng.standard_normal((60, 4))).astype(np.float32)
            parts[part][i] = replace(record, video_features=features, user_scores=np.tile(truth, (3, 1)))
    assert fit(parts).fit["averaged_s"] == 4.5


def test_nothing_of_the_test_videos_is_known():
    """Other labels of test videos, the same scores; other labels of validation videos, another choice."""
    parts = make_parts(noise=3.0)
    before = fit(parts)
    blind = [replace(record, user_scores=-record.user_scores) for record in parts["test"]]
    for hidden in (blind, [replace(record, user_scores=None) for record in blind]):
        after = fit(parts | {"test": hidden})
        assert after.fit == before.fit
        for video, scores in before.scores.items():
            assert np.array_equal(after.scores[video], scores)
    opposite = [replace(record, user_scores=-record.user_scores) for record in parts["validation"]]
    assert fit(parts | {"validation": opposite}).fit["strength"] != before.fit["strength"]


def test_curves_and_labels_stand_in_for_annotators():
    gaps, parts = np.arange(60) % 7 == 0, make_parts()

    def with_curve(record):
        return replace(record, user_scores=None, frame_scores=np.where(gaps, np.nan, record.user_scores[0]))

    def with_labels(record):
        return replace(record, user_scores=None, frame_labels=np.where(gaps, -100, record.user_scores[0] > 3))

    for change in (with_curve, with_labels):
        found = fit({part: list(map(change, records)) for part, records in parts.items()})
        assert np.corrcoef(found.scores["v9"], parts["test"][0].user_scores[0])[0, 1] > 0.95


def test_without_other_parts_there_is_none():
    parts = make_parts()
    unknown = [replace(record, user_scores=None) for record in parts["train"]]
    bare = [replace(record, video_features=np.zeros((60, 0), np.float32)) for record in parts["train"]]
    for train in ([], unknown, bare):
        assert fit(parts | {"train": train}) is None
    assert fit(parts | {"validation": []}) is None
    assert fit(parts | {"validation": [replace(r, user_scores=np.ones((3, 60))) for r in parts["validation"]]}) is None
    assert fit(parts | {"test": [*parts["test"], bare[0]]}) is None


def test_constant_features_give_constant_scores():
    parts = make_parts(noise=1.0)
    for part, records in parts.items():
        parts[part] = [replace(r, video_features=np.full((60, 4), 0.3, np.float32)) for r in records]
    parts["test"][0] = make_video(9)  # features that the training part cannot know
    for scores in fit(parts).scores.values():
        assert np.ptp(scores) == 0
        assert 2 < scores[0] < 4


def test_what_cannot_teach_is_left_out_and_counted(caplog):
    parts = make_parts()
    expected = fit(parts)
    odd = [
        make_video(20, user_scores=None),
        make_video(21, video_features=np.full((60, 4), np.nan, np.float32)),
        make_video(22, video_features=np.ones((60, 5), np.float32)),
        make_video(23, video_features=np.zeros((60, 0), np.float32)),
    ]
    found = fit({"train": [*parts["train"], *odd], "validation": [*parts["validation"], odd[0]], "test": parts["test"]})
    assert found.fit == expected.fit | {"left_out": 5}
    assert np.array_equal(found.scores["v9"], expected.scores["v9"])
    assert "ridge: left out 5 videos" in caplog.text


def test_videos_are_held_one_at_a_time():
    """A set of 30,000 videos does not fit into memory."""
    parts = make_parts()
    disk = {part: OnDisk(records, 40 if part == "train" else None) for part, records in parts.items()}
    assert fit(disk).fit["videos"] == 43
    assert sorted(disk["train"].read) == list(range(40))
    assert disk["train"].most_alive <= 2


def test_validation_is_set_apart_where_a_split_has_none(tmp_path, demo_records):
    """The field's split files know training and test alone."""
    write_tvsum(demo_records[:10], tmp_path / "set.h5")
    names = [record.video_id for record in demo_records[:10]]
    (tmp_path / "split.json").write_text(str([{"train_keys": names[:8], "test_keys": names[8:]}]).replace("'", '"'))
    assert "validation" not in read_splits(tmp_path / "split.json")[0]
    data = EvaluationData("tvsum", tmp_path / "set.h5")
    records, *_ = data.part("test", str(tmp_path / "split.json"))
    apart = [[record.video_id for record in data.beside(part)] for part in ("train", "validation")]
    assert (len(apart[0]), len(apart[1]), sorted(apart[0] + apart[1])) == (7, 1, sorted(names[:8]))
    assert ridge_scores(data.beside("train"), data.beside("validation"), records).fit["videos"] == 8


def test_results_tell_it_and_can_be_read_again(tmp_path):
    parts = make_parts(noise=1.0)
    ridge = fit(parts)
    about = {"scorer": "mine", "dataset": "tvsum", "part": "test"}
    results = evaluate_scores(parts["test"], {r.video_id: r.frame_times_s for r in parts["test"]}, **about, ridge=ridge)
    alone = evaluate_scores(parts["test"], ridge.scores, **about)
    assert results.baselines["ridge"].metrics == {m: alone.metrics[m] for m in results.baselines["ridge"].metrics}
    assert alone.baselines["ridge"] is None
    assert "[ridge]" not in format_table([alone])
    results.write(tmp_path / "results.json")
    again = Results.read(tmp_path / "results.json")
    assert again.baselines["ridge"].fit == ridge.fit
    assert again.against_ridge == results.against_ridge
    told = Baseline({}, fit={"strength": 0.1, "averaged_s": 4.5, "videos": 40, "left_out": 0})
    table = format_table([replace(again, baselines=again.baselines | {"ridge": told})])
    assert "ridge: fitted on 40 videos, lambda 0.1 of the mean eigenvalue, scores averaged over 4.5 s\n" in table


def test_the_difference_to_ridge_is_paired_by_video():
    """A reader sees whether a scorer beats the line, or whether these few videos could say either."""
    parts = make_parts(noise=3.0)
    tests, ridge = parts["test"], fit(parts)
    about = {"dataset": "tvsum", "part": "test", "scorer": "mine"}
    scores = {r.video_id: np.random.default_rng(0).random(60) for r in tests}
    results = evaluate_scores(tests, scores, ridge=ridge, **about)
    found = results.against_ridge["kendall_tau"]
    beside = evaluate_scores(tests, ridge.scores, **about).per_video
    pairs = [results.per_video[video]["kendall_tau"] - beside[video]["kendall_tau"] for video in scores]
    assert found["difference"] == pytest.approx(np.mean(pairs))
    assert found["ci95"] == pytest.approx([min(pairs), max(pairs)])  # 1 of 27 resamples has the same video three times
    same = evaluate_scores(tests, ridge.scores, ridge=ridge, **about)
    assert same.against_ridge["kendall_tau"] == {"difference": 0.0, "ci95": [0.0, 0.0]}
    line = next(line for line in format_table([results]).splitlines() if line.startswith("mine - [ridge]"))
    assert "{:+.4f} [{:+.4f}, {:+.4f}]".format(found["difference"], *found["ci95"]) in line
    again = evaluate_scores(tests, scores, baselines=results.baselines, **about)  # as of another level
    assert again.against_ridge == results.against_ridge
    for alone in ({"ridge": ridge, "scorer": "ridge"}, {}):
        none = evaluate_scores(tests, ridge.scores, **about | alone)
        assert none.against_ridge is None
        assert "against_ridge" not in none.to_dict()


def test_a_difference_that_none_can_be_is_refused(tmp_path):
    parts = make_parts(noise=1.0)
    results = evaluate_scores(parts["test"], fit(parts).scores, scorer="x", dataset="tvsum", part="test")
    for wrong in ({"difference": 1}, {"difference": "1", "ci95": None}, {"difference": 1, "ci95": [1]}, None):
        (tmp_path / "results.json").write_text(json.dumps(results.to_dict() | {"against_ridge": {"f1": wrong}}))
        with pytest.raises(InputError, match="against_ridge, 'f1': expected difference and ci95"):
            Results.read(tmp_path / "results.json")
