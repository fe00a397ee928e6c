"""Two results side by side: chance must not look like progress, progress must not look like chance."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hiersum_hf.evaluation.comparison import compare, format_comparison
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.evaluation.statistics import holm, mean_interval
from hiersum_hf.results import Results
from hiersum_hf.scoring.training_free import oracle_scores, random_scores


RANKS = ("f1", "kendall_tau", "spearman_rho")


@pytest.fixture(scope="module")
def results(demo_records):
    """Results of two random scorers and the oracle on 32 made-up videos."""
    scorers = {"random": random_scores, "other": lambda record: random_scores(record, seed=7), "oracle": oracle_scores}
    records, found = demo_records[:32], {}
    for name, score in scorers.items():
        scores = {record.video_id: score(record) for record in records}
        about = {"dataset": "demo", "part": "test", "baselines": {"random": None, "human": None}}  # they take long
        found[name] = evaluate_scores(records, scores, scorer=name, **about)
    return found


def made(values, **changes):
    """Results with these tau of the videos v0, v1, ..."""
    per_video = {f"v{i}": {"kendall_tau": value} for i, value in enumerate(values)}
    about = {"dataset": "d", "part": "test", "split": None, "protocol": "p", "data_fingerprint": "f", "scorer": "s"}
    return Results(**{"metrics": {"kendall_tau": None, "f1": None}, "per_video": per_video} | about | changes)


def test_two_random_scorers_do_not_differ(results):
    comparison = compare(results["random"], results["other"])
    assert {comparison["metrics"][name]["verdict"] for name in RANKS} == {"no difference"}
    for figures in comparison["metrics"].values():
        low, high = figures["ci95"]
        assert low < 0 < high


def test_the_oracle_beats_random_whichever_comes_first(results):
    better, worse = compare(results["oracle"], results["random"]), compare(results["random"], results["oracle"])
    for name in RANKS:
        figures = better["metrics"][name]
        assert figures["verdict"] == "first better"
        assert worse["metrics"][name]["verdict"] == "second better"
        assert figures["difference"] == pytest.approx(-worse["metrics"][name]["difference"])
        assert 0 < figures["ci95"][0] < figures["difference"] < figures["ci95"][1]
        assert figures["difference"] == pytest.approx(results["oracle"].metrics[name] - results["random"].metrics[name])
    assert compare(results["oracle"], results["random"]) == better
    assert json.loads(json.dumps(better, allow_nan=False)) == better


def test_p_is_exact_for_few_videos():
    """Differences 1, 2, 3: of the 8 choices of signs, two reach the mean of 2. Differences 3, -1, 0: 4 of 8."""
    assert compare(made([1, 2, 3]), made([0, 0, 0]))["metrics"]["kendall_tau"]["p"] == pytest.approx(2 / 8)
    assert compare(made([3, -1, 0]), made([0, 0, 0]))["metrics"]["kendall_tau"]["p"] == 1
    eight = compare(made(np.arange(8) + 1.0), made([0.0] * 8))["metrics"]["kendall_tau"]
    assert eight["p"] == pytest.approx(2 / 2**8)
    assert eight["verdict"] == "first better"


def test_holm_by_hand():
    """Smallest x 3, next x 2, last x 1, none below the one before, none above 1."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_more_metrics_need_stronger_evidence():
    """p = 4/256 counts alone; among four metrics it is what chance gives."""
    signal, noise = [-1, 2, 3, 4, 5, 6, 7, 8], [1, -1] * 4
    videos = {f"v{i}": {"a": s, "b": n, "c": n, "d": n} for i, (s, n) in enumerate(zip(signal, noise, strict=True))}
    nothing = {video: dict.fromkeys("abcd", 0) for video in videos}
    both = [made([], metrics=dict.fromkeys("abcd"), per_video=per_video) for per_video in (videos, nothing)]
    among = compare(*both)["metrics"]["a"]
    alone = compare(*(replace(one, metrics={"a": None}) for one in both))["metrics"]["a"]
    assert alone["p"] == among["p"] == pytest.approx(4 / 2**8)
    assert alone["verdict"] == "first better"
    assert among["verdict"] == "no difference"


def test_videos_and_figures_that_one_lacks_do_not_count():
    first, second = made([1, 2, None, 4]), made([0, 0, 0, 0, 0, 0])
    comparison = compare(first, second)
    assert (comparison["videos"], comparison["only_first"], comparison["only_second"]) == (4, 0, 2)
    assert set(comparison["metrics"]) == {"kendall_tau"}
    assert comparison["metrics"]["kendall_tau"]["videos"] == 3
    assert comparison["metrics"]["kendall_tau"]["difference"] == pytest.approx(7 / 3)
    assert "0 only of the first, 2 of the second" in format_comparison(comparison)


def test_equal_and_single_videos():
    same = compare(made([0.1, 0.2, 0.3]), made([0.1, 0.2, 0.3]))["metrics"]["kendall_tau"]
    assert (same["difference"], same["p"], same["ci95"], same["verdict"]) == (0, 1, [0, 0], "no difference")
    one = compare(made([0.9]), made([0.1]))
    assert one["metrics"]["kendall_tau"]["ci95"] is None
    assert one["metrics"]["kendall_tau"]["verdict"] == "no difference"
    assert "too few for this test" in format_comparison(one)


@pytest.mark.parametrize("key", ["dataset", "part", "protocol", "data_fingerprint"])
def test_results_of_other_data_are_refused(key):
    with pytest.raises(ValueError, match=rf"{key}: expected two results with the same, found '.' and 'other'|'other'"):
        compare(made([1, 2]), made([1, 2], **{key: "other"}))


def test_nothing_in_common_is_refused():
    other = made([], per_video={"w": {"kendall_tau": 1.0}})
    with pytest.raises(ValueError, match="expected a metric that both results have, found none on the 0 videos"):
        compare(made([1, 2]), other)


def test_table(results):
    lines = format_comparison(compare(replace(results["oracle"], level="child"), results["random"])).splitlines()
    assert lines[:4] == [
        "demo test, protocol hiersum-keyshot-v1",
        "first: oracle (child)",
        "second: random",
        "32 videos of both",
    ]
    assert [line.split()[0] for line in lines[5:]] == ["metric", "captured", "captured", "F1", "tau", "rho"]
    assert lines[6].endswith("first better")


def test_interval_covers_the_mean_and_narrows():
    rng = np.random.default_rng(0)
    few, many = mean_interval(rng.standard_normal(10)), mean_interval(rng.standard_normal(1000))
    assert few[1] - few[0] > many[1] - many[0]
    assert 0.09 < many[1] - many[0] < 0.16  # 2 x 1.96 / sqrt(1000) = 0.124
