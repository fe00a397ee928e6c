"""`results.json` must hold what it promises, and baselines must be those the field knows."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import EvalPrediction

from hiersum_hf.datasets.readers.tvsum_ratings import rated_record, read_ratings
from hiersum_hf.evaluation.comparison import compare
from hiersum_hf.evaluation.evaluate import compute_metrics, evaluate_scores, mean_metrics
from hiersum_hf.evaluation.importance import importance_of
from hiersum_hf.evaluation.protocols.by_name import reference_of
from hiersum_hf.records import Encoders, VideoRecord
from hiersum_hf.results import Results, format_table, write_json
from hiersum_hf.scoring.training_free import oracle_scores, position_scores, random_scores, title_scores


KEYS = [  # in the order in which every results.json of schema 1 has them
    *("schema", "dataset", "part", "split", "protocol", "scorer", "level", "score_head", "checkpoint", "selected_on"),
    *("metrics", "selection", "baselines", "ci95", "per_video", "dropped", "encoders", "encoder_mismatch"),
    *("data_fingerprint", "seed", "versions", "command"),
]
METRICS = {"f1", "kendall_tau", "spearman_rho", "map50", "map15", "rouge1", "rouge2", "rougeLsum", "cosine"}
CAPTURED = {"captured", "captured_keyshot"}


@pytest.fixture(scope="module")
def ratings():
    if "HIERSUM_TEST_DATA" not in os.environ:
        pytest.skip("HIERSUM_TEST_DATA is unset: no real TVSum ratings")
    return read_ratings(Path(os.environ["HIERSUM_TEST_DATA"]) / "tvsum" / "ydata-tvsum50.mat")


def make_record(name, seed=0, n=40, **parts):
    """A video of eight scenes of five frames, five annotators."""
    rng = np.random.default_rng(seed)
    features = np.repeat(np.eye(8, dtype=np.float32), n // 8, axis=0)
    shots = np.arange(8)[:, None] * 75 + [0, 75]
    truth = np.repeat(rng.random(8), n // 8)
    defaults = {
        "video_features": features,
        "frame_times_s": np.arange(n) / 2,
        "duration_s": n / 2,
        "encoders": Encoders("some/video", "some/text", 2.0),
        "user_scores": truth + 0.1 * rng.standard_normal((5, n)),
        "shots": shots,
        "picks": np.arange(n) * 15,
        "n_frames": n * 15,
    }
    return VideoRecord(video_id=name, **defaults | parts)


@pytest.fixture
def records():
    return [make_record(f"v{seed}", seed) for seed in range(4)]


def evaluate(records, scores=None, **kwargs):
    defaults = {"scorer": "oracle", "dataset": "tvsum", "part": "test"}
    if scores is None and "scorer" not in kwargs:
        scores = {record.video_id: oracle_scores(record) for record in records}
    return evaluate_scores(records, scores, **defaults | kwargs)


def test_every_key_is_there_and_plain(records):
    results = evaluate(records, level="child", checkpoint="out", split="split.yml#0", command="hiersum evaluate")
    content = results.to_dict()
    assert list(content) == KEYS
    assert set(results.metrics) == METRICS | CAPTURED | {"precision", "recall"}
    assert results.protocol == "hiersum-keyshot-v1"
    assert results.encoders == {"video": "some/video", "text": "some/text", "sample_fps": 2.0}
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert set(results.per_video) == {"v0", "v1", "v2", "v3"}
    low, high = results.ci95["kendall_tau"]
    assert low < results.metrics["kendall_tau"] < high
    assert results.metrics["kendall_tau"] > results.baselines["human"].metrics["kendall_tau"] > 0.4
    assert abs(results.baselines["random"].metrics["kendall_tau"]) < 0.1
    assert evaluate(records).data_fingerprint == results.data_fingerprint
    assert evaluate(records[:3]).data_fingerprint != results.data_fingerprint


def test_fingerprint_is_of_what_scores_are_compared_with(records):
    """Two results may be compared iff they were measured against the same; encoders of the scorer do not matter."""
    mark = evaluate(records).data_fingerprint
    other_texts = [replace(r, text_features=np.ones((3, 2)), video_features=r.video_features * 2) for r in records]
    assert evaluate(other_texts).data_fingerprint == mark
    for change in ({"picks": records[0].picks + 1}, {"user_scores": records[0].user_scores + 1}):
        assert evaluate([replace(records[0], **change), *records[1:]]).data_fingerprint != mark
    labels = np.arange(40) % 2
    clips = [replace(r, frame_labels=labels, user_scores=None, reference_text=("a",)) for r in records]
    scores = {r.video_id: np.arange(40.0) for r in records}
    mark = evaluate(clips, scores, dataset="bliss").data_fingerprint
    for change in ({"frame_labels": 1 - labels}, {"reference_text": ("b",)}, {"video_features": np.ones((40, 8))}):
        changed = [replace(clip, **change) for clip in clips]
        assert evaluate(changed, scores, dataset="bliss").data_fingerprint != mark


def test_baselines_can_be_the_scorer(records):
    human, chance = evaluate(records, scorer="human"), evaluate(records, scorer="random")
    for metric in ("f1", "kendall_tau", "spearman_rho", *CAPTURED):
        assert human.metrics[metric] == pytest.approx(human.baselines["human"].metrics[metric])
        assert chance.metrics[metric] == pytest.approx(chance.baselines["random"].metrics[metric])
    assert chance.baselines["random"].draws == 20
    with pytest.raises(ValueError, match="scorer 'uniform': expected scores"):
        evaluate(records, scorer="uniform")
    with pytest.raises(ValueError, match="draws: expected at least 20, found 3"):
        evaluate(records, scorer="random", draws=3)


def test_shot_oracle_is_the_best_under_the_budget(records):
    best, oracle = evaluate(records, scorer="shot-oracle"), evaluate(records)
    assert best.metrics["f1"] >= max(oracle.metrics["f1"], best.baselines["human"].metrics["f1"])
    assert best.metrics["kendall_tau"] < oracle.metrics["kendall_tau"]  # a 0/1 summary ranks little
    with pytest.raises(ValueError, match="video v0: shot-oracle needs shots"):
        evaluate([replace(records[0], shots=None, video_features=np.zeros((40, 0)))], scorer="shot-oracle")


def test_length_and_coverage_of_the_selection(records):
    """One shot of eight is chosen: 75 of 600 frames, which touch two of the tenths."""
    extent = evaluate(records).selection
    assert extent["length"] == pytest.approx(75 / 600)
    assert 0.2 <= extent["coverage"] <= 0.3


def test_features_are_let_go(records):
    """31,892 videos' features do not fit in memory; their references must."""
    reference = reference_of(records[0], "tvsum")
    assert reference.record.video_features.shape == (40, 0)
    scores = {record.video_id: oracle_scores(record) for record in records}
    assert evaluate(iter(records), scores) == evaluate(records)  # one pass is enough


def test_the_trainer_gets_the_same_figures(records):
    scores = {record.video_id: oracle_scores(record) for record in records}
    prediction = EvalPrediction(predictions=scores, label_ids=records)
    assert compute_metrics(prediction) == mean_metrics(records, scores)
    assert set(mean_metrics(records, scores)) == {"f1", "kendall_tau", "spearman_rho"}  # no selection at every step


def test_other_protocols_by_name(records):
    """The same scores under the other rules in circulation: named in the results, refused where they do not belong."""
    ours = evaluate(records)
    to_mean = evaluate(records, protocol="mean-user")
    assert to_mean.protocol == "mean-user"
    assert to_mean.metrics["kendall_tau"] == 1 > ours.metrics["kendall_tau"]  # the oracle IS the mean user
    assert to_mean.baselines["human"].metrics["kendall_tau"] is None
    for name in ("a2summ-keyshot", "dsnet-keyshot", "mrhisum-keyshot", "mean-f1", "csta-summe"):
        assert evaluate(records, protocol=name).metrics["f1"] is not None
    with pytest.raises(ValueError, match=r"protocol of tvsum: expected one of hiersum-keyshot-v1, .*found 'top50'"):
        evaluate(records, protocol="top50")


def test_f1_by_hand():
    """15 % of 600 frames is 90: one of the eight shots. Annotators 1 and 2 choose shot 0, annotator 3 shot 7."""
    users = np.zeros((3, 40))
    users[:2, :5], users[2, 35:] = 1, 1
    record = make_record("v", user_scores=users)
    for dataset, f1 in (("tvsum", 2 / 3), ("summe", 1)):
        results = evaluate([record], {"v": users[0]}, scorer="x", dataset=dataset)
        assert results.metrics["f1"] == pytest.approx(f1)
        assert mean_metrics([record], {"v": users[0]}, dataset)["f1"] == pytest.approx(f1)
    assert results.ci95 == dict.fromkeys(["f1", "kendall_tau", "spearman_rho", *CAPTURED])  # one video


def test_the_mean_over_annotators_on_summe(records):
    """SumMe's people agree by .543 or by .311: the greatest over annotators, or the mean over pairs as published."""
    users = np.zeros((3, 40))
    users[:2, :5], users[2, 35:] = 1, 1
    record = make_record("v", user_scores=users)
    greatest, mean = (
        evaluate([record], {"v": users[0]}, scorer="x", dataset="summe", protocol=name) for name in (None, "mean-f1")
    )
    assert (greatest.metrics["f1"], mean.metrics["f1"]) == (1, pytest.approx(2 / 3))
    assert mean.baselines["human"].metrics["f1"] == pytest.approx(1 / 3), "one pair of three agrees"
    assert greatest.baselines["human"].metrics["f1"] == pytest.approx(2 / 3), "two of three have their like"
    assert evaluate(records, protocol="mean-f1").metrics == evaluate(records).metrics, "elsewhere it is the mean anyway"


def test_shots_and_frames_are_made_where_missing(records):
    features_only = [replace(record, shots=None) for record in records]  # segmentation finds the same eight scenes
    assert evaluate(features_only).per_video == evaluate(records).per_video
    bare = [replace(record, shots=None, picks=None, n_frames=None) for record in records]
    assert evaluate(bare).per_video["v0"] == pytest.approx(evaluate(records).per_video["v0"])


def test_a_single_reference_is_named(records):
    curves = [replace(r, user_scores=None, frame_scores=r.user_scores[0].astype(np.float32)) for r in records]
    curves[0].frame_scores[:3] = np.nan  # frames without a score count for nothing
    results = evaluate(curves, {r.video_id: np.nan_to_num(r.frame_scores) for r in curves}, scorer="x")
    assert results.protocol == "hiersum-keyshot-v1-single-reference"
    assert results.metrics["kendall_tau"] == pytest.approx(1)
    assert results.metrics["f1"] == 1
    assert results.baselines["human"] is None


def test_nothing_to_compare_with_is_null(records):
    unknown = [replace(record, user_scores=None) for record in records]
    results = evaluate(unknown, {r.video_id: np.arange(40) for r in unknown}, scorer="x")
    assert results.metrics["f1"] is results.metrics["kendall_tau"] is None
    assert results.dropped["videos_without_reference"] == 4
    assert results.baselines["random"].standard_error["kendall_tau"] is None
    assert mean_metrics(unknown, {r.video_id: np.arange(40) for r in unknown}) == {}
    json.dumps(results.to_dict(), allow_nan=False)


def test_what_is_dropped_is_counted(records):
    users = records[0].user_scores.copy()
    users[1] = 3
    odd = replace(records[0], user_scores=users[:, :39], user_summaries=np.ones((5, 601), bool))
    results = evaluate([odd, *records[1:]], {r.video_id: np.full(40, 0.5) for r in records}, scorer="x")
    assert results.dropped == {
        "constant_annotators": 1,
        "lengths_cut": 2,
        "videos_without_reference": 0,
        "constant_predictions_scored_0": 4,
    }
    assert results.metrics["kendall_tau"] == 0
    assert results.per_video["v1"]["constant_prediction"] is True


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "video v0: expected scores, found none"),
        ({"v0": np.ones(39)}, r"video v0: expected 40 finite scores, found \(39,\)"),
        ({"v0": np.full(40, np.nan)}, "video v0: expected 40 finite scores"),
    ],
)
def test_bad_scores_name_the_video(records, scores, message):
    with pytest.raises(ValueError, match=message):
        evaluate(records[:1], scores, scorer="x")


def test_videos_must_differ(records):
    for wrong in ([], [records[0]] * 2):
        with pytest.raises(ValueError, match="each id once"):
            evaluate(wrong)


def test_table(records):
    table = format_table([evaluate(records), evaluate(records, scorer="human")])
    lines = table.splitlines()
    assert lines[0] == "tvsum test, 4 videos, protocol hiersum-keyshot-v1"
    assert [line.split()[0] for line in lines[2:]] == ["scorer", "oracle", "human", "[random]", "[position]", "random:"]
    assert "[" in lines[3]
    with pytest.raises(ValueError, match="expected results of one data set"):
        format_table([evaluate(records), evaluate(records, part="val")])


def test_earlier_results_can_still_be_shown(records, tmp_path):
    """Files of before have neither what selections capture nor the baselines position, title and oracle."""
    content = evaluate(records).to_dict()
    for figures in (content["metrics"], content["ci95"], *content["per_video"].values()):
        for name in CAPTURED:
            del figures[name]
    content["baselines"] = {name: content["baselines"][name] for name in ("random", "human")}
    for name in CAPTURED:
        del content["baselines"]["random"][name], content["baselines"]["random"]["standard_error"][name]
    write_json(tmp_path / "results.json", content)
    results = Results.read(tmp_path / "results.json")
    assert results.to_dict() == content
    lines = format_table([results]).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["scorer", "oracle", "[random]", "[human]", "random:"]
    assert "captured" not in lines[2]
    both = format_table([evaluate(records), results]).splitlines()
    assert both[2].split()[1] == "captured"
    assert compare(evaluate(records), results)["metrics"].keys() == {"f1", "kendall_tau", "spearman_rho"}


def test_every_report_has_the_baselines_that_its_data_allows(records):
    """A reader sees at once what the place in the video, its title, chance, people and the answer itself would get."""
    one = Encoders("same", "same", 2.0)
    titled = [replace(r, encoders=one, description=("t",), description_features=r.video_features[7:8]) for r in records]
    baselines = evaluate(titled).baselines
    assert list(baselines) == ["random", "position", "title", "ridge", "oracle", "human"]
    assert baselines.pop("ridge") is None  # a set without parts knows no other videos to fit on
    for name, score in (("position", position_scores), ("title", title_scores), ("oracle", oracle_scores)):
        alone = evaluate(titled, {r.video_id: score(r) for r in titled}).metrics
        assert baselines[name].metrics == {metric: alone[metric] for metric in baselines[name].metrics}
    assert {name for name, found in baselines.items() if found.metrics.keys() >= CAPTURED} == set(baselines)
    assert evaluate([*titled[:3], records[3]]).baselines["title"] is None  # one video has none
    assert evaluate([replace(r, encoders=records[0].encoders) for r in titled]).baselines["title"] is None
    unknown = [replace(r, user_scores=None, user_summaries=None) for r in titled]
    scores = {r.video_id: np.arange(40.0) for r in unknown}
    assert evaluate(unknown, scores).baselines["oracle"] is evaluate(unknown, scores).baselines["human"] is None


def test_what_selections_capture_stands_beside_every_protocol(records):
    """Eight scenes of 2.5 s of 20: 3 s are selected. Without features there are no shots, with labels alone nothing."""
    for protocol in (None, "mean-user", "csta-summe"):
        metrics = evaluate(records, protocol=protocol).metrics
        assert 0.8 < metrics["captured"] <= 1
        assert 0 < metrics["captured_keyshot"] < metrics["captured"]
    bare = evaluate([replace(r, video_features=np.zeros((40, 0))) for r in records])
    assert bare.metrics["captured"] > 0.8
    assert bare.metrics["captured_keyshot"] is None
    assert bare.baselines["random"].metrics["captured_keyshot"] is None
    labels = [replace(r, user_scores=None, frame_labels=np.arange(40) % 2) for r in records]
    results = evaluate(labels, {r.video_id: np.arange(40.0) for r in labels}, dataset="bliss")
    assert results.metrics["captured"] is None
    assert not CAPTURED & results.ci95.keys()


def test_random_selections_are_those_of_the_first_draws(records):
    """Selections take long: five draws, whose standard error says so. The other figures are of all draws."""
    importances = [importance_of(record) for record in records]
    drawn = [
        [i.captured(random_scores(r, draw))["captured"] for r, i in zip(records, importances, strict=True)]
        for draw in range(5)
    ]
    means = np.mean(drawn, axis=1)
    random = evaluate(records, scorer="random").baselines["random"]
    assert random.metrics["captured"] == pytest.approx(means.mean())
    assert random.standard_error["captured"] == pytest.approx(means.std(ddof=1) / 5**0.5)


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"name": "ä"})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "ä"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_tvsum_figures_are_those_of_the_field(ratings):
    records = [rated_record(video) for video in ratings]
    results = evaluate(records)
    human, chance = results.baselines["human"].metrics, results.baselines["random"]
    assert (round(human["kendall_tau"], 4), round(human["spearman_rho"], 4)) == (0.1774, 0.2042)
    metrics = results.metrics
    assert (round(metrics["kendall_tau"], 3), round(metrics["spearman_rho"], 3)) == (0.378, 0.473)
    assert abs(chance.metrics["kendall_tau"]) < 0.002
    assert abs(chance.metrics["spearman_rho"]) < 0.002
    assert 0.0003 < chance.standard_error["kendall_tau"] < 0.0012
    assert metrics["f1"] is None
