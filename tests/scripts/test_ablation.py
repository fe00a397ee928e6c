"""The ablation harness: its arms do what they say, its statistics are right, and nothing is computed twice."""

import json
import re
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

from ablation import run as ablation
from ablation.arms import M1, Arm, Data, Stage, arm, one, parent_first, pretrained, two_networks
from ablation.baselines import BASELINES, frame_inputs
from ablation.data import QUICK, fingerprint, load
from ablation.main import FIRST_SEED, all_tables
from ablation.report import as_markdown, draw, interval, report_group
from ablation.run import BASE_CONFIG, BASE_TRAINING, run_and_keep, run_arm, run_file
from ablation.studies import STUDIES, on_prepared
from hiersum_hf import HierSumConfig, HierSumTrainingArguments
from hiersum_hf.datasets.readers.tvsum import write_tvsum
from hiersum_hf.scoring.collator import HierSumCollator


SCRIPTS = Path(__file__).parents[2] / "scripts"
RESULTS = SCRIPTS / "ablation" / "results"
TINY = replace(QUICK, steps=4, train=4, validation=2, test=3)


def run(values, level="child", validation=0.5, mark="a"):
    """A run with these test figures, one a video."""
    videos = {f"v{i}": {"kendall_tau": value, "f1": value / 2} for i, value in enumerate(values)}
    curve = {level: [[2, 0.1], [4, 0.2]]}
    means = {level: {"kendall_tau": validation}}
    return {
        "levels": {level: videos},
        "validation": means,
        "fingerprint": mark,
        "curve": curve,
        "cpu_seconds": 1.0,
    }


def test_arms_that_read_other_features_are_compared_on_the_same_videos():
    """No text, another encoder, its own sentences as the description: other inputs, the same videos and annotators."""
    changes = ({}, {"text": False}, {"encoder": "wide"}, {"description": "sentences"})
    marks = {fingerprint(load(Data(**change), 0, TINY).test) for change in changes}
    assert len(marks) == 1
    assert fingerprint(load(Data("local"), 0, TINY).test) not in marks


def test_difference_is_of_the_same_videos_and_seeds():
    """Means, spread over seeds and differences worked by hand; a difference of all videos has an interval without 0."""
    arms = {"a": [run([0.1, 0.3]), run([0.2, 0.4])], "b": [run([0.2, 0.4]), run([0.5, 0.7])]}
    first, second = report_group(arms)
    assert first["figures"]["kendall_tau"] == {
        "mean": 0.25,
        "sd": pytest.approx(0.07071, abs=1e-5),
        "seeds": [0.2, 0.3],
    }
    assert first["figures"]["f1"]["mean"] == 0.125
    assert second["difference"] == pytest.approx(0.2)
    assert 0.1 <= second["ci95"][0] < second["difference"] < second["ci95"][1] <= 0.3
    assert second["per_video"] == [0.35, 0.55]
    assert second["curve"] == {"child": [[2, 0.1, 0.0], [4, 0.2, 0.0]]}


def test_a_level_without_the_figure_is_left_out():
    """Sentences have no scores at parent level unless they are trained there."""
    one = run([0.1, 0.3])
    one["levels"]["parent"] = {name: {"kendall_tau": None} for name in one["levels"]["child"]}
    (row,) = report_group({"a": [one]})
    assert row["levels"] == {"child": 0.2}


def test_adaptive_schedule_is_held_against_the_best_and_the_worst_fixed_one():
    """By the mean of the metric, whatever the order of the arms; other arms are not fixed schedules."""
    values = {"m = 5": 0.1, "adaptive": 0.35, "m = 1": 0.4, "m = 1/2": 0.2, "parent": 0.5}
    rows = report_group({name: [run([v, v + 0.1])] for name, v in values.items()})
    (against,) = [row["against"] for row in rows if "against" in row]
    assert {name: d["difference"] for name, d in against.items()} == pytest.approx({"m = 1": -0.05, "m = 5": 0.25})
    group = {"name": "g", "videos": 2, "arms": rows}
    page = as_markdown({"about": "", "seeds": [0], "scale": {"steps": 1}, "groups": [group], "command": ""})
    assert "adaptive against the best fixed schedule, m = 1: -0.050 [-0.050, -0.050]." in page
    assert "the worst fixed schedule, m = 5: +0.250" in page


def test_interval_knows_of_seeds_and_of_videos():
    """Thousands of videos of two seeds that disagree must not look like certainty, nor the reverse."""
    disagreeing = np.array([[1.0] * 500, [-1.0] * 500])
    for table in (disagreeing, disagreeing.T):
        assert interval(table) == pytest.approx((-1.0, 1.0, 1.0))
    agreeing = np.random.default_rng(0).normal(0.5, 1, (5, 100))
    low, high, p = interval(agreeing)
    assert 0.3 < low < agreeing.mean() < high < 0.7
    assert p == pytest.approx(1 / 10_001, abs=1e-6), "never seen in 10,000 draws"
    assert interval(np.full((3, 4), 0.5))[:2] == pytest.approx((0.5, 0.5))


def test_level_is_chosen_on_the_validation_part():
    """A level that is better on the test part alone must not be reported."""
    good, bad = run([0.9, 0.9], "parent", 0.1), run([0.2, 0.2], "child", 0.6)
    both = {key: good[key] | bad[key] for key in ("levels", "validation", "curve")}
    (row,) = report_group({"a": [bad | both]})
    assert row["read_at"] == {"child": 1}
    assert row["figures"]["kendall_tau"]["mean"] == 0.2
    assert row["levels"] == {"parent": 0.9, "child": 0.2}


def test_runs_of_other_videos_are_not_compared():
    with pytest.raises(ValueError, match="same test videos, found 2 sets"):
        report_group({"a": [run([0.1, 0.2])], "b": [run([0.1, 0.2], mark="b")]})


def test_test_videos_are_the_same_for_all_seeds_and_arms_and_never_trained_on():
    first, second = load(Data(), 0, TINY), load(Data(videos=2, labels="replay"), 1, TINY)
    assert [r.video_id for r in first.test] == [r.video_id for r in second.test]
    np.testing.assert_array_equal(first.test[0].frame_labels, second.test[0].frame_labels)
    assert len(second.train) == 2
    assert first.train[0].video_id != second.train[0].video_id
    ids = [r.video_id for part in (first.train, first.validation, first.test) for r in part]
    assert len(set(ids)) == len(ids)


def test_labels_are_what_the_arm_says():
    """Own labels come from annotators; replay, shuffled and pseudo labels must differ from them and from each other."""
    labels = {kind: load(Data(labels=kind), 0, TINY).train[0] for kind in ("own", "replay", "shuffled", "pseudo")}
    found = {kind: tuple(record.frame_labels) for kind, record in labels.items()}
    assert len(set(found.values())) == 4
    assert sorted(labels["replay"].frame_scores) == sorted(labels["shuffled"].frame_scores)
    masked = load(Data(labels="replay", intro_bins=20), 0, TINY).train[0]
    intro = masked.frame_times_s < 0.2 * masked.duration_s
    assert (masked.frame_labels[intro] == -100).all()
    assert (masked.frame_labels[~intro] >= 0).all()


def test_other_encoders_keep_angles_but_not_widths_or_axes():
    usual, other, wide = (load(Data(encoder=kind), 0, TINY).train[0].video_features for kind in ("", "other", "wide"))
    assert usual.shape == other.shape
    assert wide.shape == (len(usual), usual.shape[1] * 3 // 2)
    for features in (other, wide):
        np.testing.assert_allclose(features @ features.T, usual @ usual.T, rtol=1e-3, atol=1e-3)
    assert np.abs(other - usual).max() > 0.1


def test_text_free_arm_has_no_text():
    record = load(Data(text=False), 0, TINY).train[0]
    assert not record.sentences
    assert not record.description
    assert not record.text_features.size


def test_every_run_is_kept_and_not_computed_again(tmp_path, monkeypatch):
    path = run_and_keep(tmp_path, arm("m = 1", **M1), 0, TINY)
    kept = json.loads(path.read_text())
    assert set(kept["levels"]) == {"child", "parent", "both"} == set(kept["curve"])
    assert [step for step, _ in kept["curve"]["child"]] == [1, 2, 3, 4]
    assert len(kept["levels"]["both"]) == TINY.test
    monkeypatch.setattr(ablation, "run_arm", None)
    assert run_and_keep(tmp_path, arm("another name", **M1), 0, TINY) == path
    assert len({run_file(tmp_path, arm("", d, **M1), s, TINY) for d in (Data(), Data("shared")) for s in (0, 1)}) == 4


def test_two_networks_share_the_steps_and_average_their_logits():
    figures = run_arm(two_networks(), 0, TINY)
    assert [stages[0].share for stages in two_networks().networks] == [0.5, 0.5]
    assert set(figures["levels"]) == {"child", "parent", "both"}
    assert figures["curve"]["child"][-1][0] == TINY.steps / 2
    logits = {"child": {"v": (np.array([0.5, 0.8]), None)}}, {"parent": {"v": (np.array([0.5, 0.2]), None)}}
    np.testing.assert_allclose(ablation._averaged(logits)["both"]["v"][0], [0.5, 0.5])


@pytest.mark.slow
def test_stages_go_on_from_each_other():
    """Parent first: the curve goes on where the first stage stopped; an adapter and a new width train too."""
    figures = run_arm(parent_first(), 0, replace(TINY, steps=10))
    assert [step for step, _ in figures["curve"]["parent"]] == list(range(1, 11))
    assert next(step for step, _ in figures["curve"]["child"]) == 3
    lora = pretrained("lora", Data(labels="replay"), Data(videos=2), lora_r=2)
    assert "both" in run_arm(lora, 0, TINY)["levels"]
    wide = one("wide", Stage(0.5, Data(), training=tuple(M1.items())), Stage(0.0, Data(encoder="wide")))
    assert "both" in run_arm(wide, 0, TINY)["levels"]


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_see_the_frame_its_sentences_and_the_description(name, demo_records, demo_extractor):
    """Padding and batch mates change nothing; frames without subtitles see zeros there."""
    collator = HierSumCollator(demo_extractor)
    torch.manual_seed(0)
    network = BASELINES[name](96).eval()
    features, mask = frame_inputs(collator, demo_records[:3])
    assert features.shape[2] == 96
    alone, _ = frame_inputs(collator, demo_records[:1])
    torch.testing.assert_close(features[:1, : alone.shape[1]], alone)
    torch.testing.assert_close(
        network(features, mask)[0, : alone.shape[1]], network(alone, torch.ones(alone.shape[:2], dtype=torch.bool))[0]
    )
    silent = [i for i, t in enumerate(demo_records[0].frame_times_s)
              if not any(s.start_s <= t < s.end_s for s in demo_records[0].sentences)]  # fmt: skip
    assert silent
    assert not alone[0, silent, 32:64].any()
    assert alone[0, silent, 64:].any()


@pytest.mark.parametrize("name", ["linear probe", "ridge", "training-free", "oracle"])
def test_baseline_runs(name):
    found = run_arm(Arm(name, ((Stage(),),), name), 0, TINY)
    assert set(found["levels"]) == {"all"}
    assert len(found["levels"]["all"]) == TINY.test


def test_every_study_is_well_formed():
    """Names are unique in a group, and its arms are tested on the same videos."""
    for name, study in STUDIES.items():
        for group in study.groups:
            names = [arm.name for arm in group.arms]
            assert len(set(names)) == len(names) > 1, (name, group.name)
            assert len({(a.data.regime, a.data.labels == "own") for a in group.arms}) <= 2, (name, group.name)


def test_every_setting_of_the_ratings_study_is_one(tmp_path):
    """It runs for hours: a misspelt setting must not end it in the middle."""
    for group in on_prepared("ratings", ["prepared/a"], 5).groups:
        for one_arm in group.arms:
            assert one_arm.folds == 5
            for stage in one_arm.networks[0]:
                HierSumConfig(**BASE_CONFIG | dict(stage.config) | {"sample_fps": 2.0})
                HierSumTrainingArguments(**BASE_TRAINING | {"output_dir": str(tmp_path)} | dict(stage.training))


def test_studies_on_real_sets_leave_out_what_needs_dials():
    study = on_prepared("schedules", ["prepared/a"])
    assert {stage.data.regime for g in study.groups for a in g.arms for n in a.networks for stage in n} == {
        "prepared/a"
    }
    assert not any("description" in group.name or "shared" in group.name for group in study.groups)
    assert [arm.data.regime for arm in on_prepared("transfer", ["a", "b"]).groups[0].arms] == ["b", "b", "b"]
    with pytest.raises(ValueError, match="two prepared sets"):
        on_prepared("transfer", ["a"])


@pytest.mark.slow
def test_folds_of_a_real_set_are_one_run(tmp_path, demo_records):
    """Every test video once, whichever fold tested it; a network of few labels is chosen on none of them."""
    write_tvsum(demo_records[:10], tmp_path / "set.h5")
    study = on_prepared("ratings", [str(tmp_path / "set.h5")], 5)
    ridge = next(arm for arm in study.groups[0].arms if arm.baseline == "ridge")
    found = run_arm(ridge, 0, TINY)
    assert set(found["levels"]["all"]) == {record.video_id for record in demo_records[:10]}
    assert len(found["fingerprint"].split()) == 5
    few = study.groups[2].arms[0]
    assert few.data.labelled == 10
    (stage,) = few.networks[0]
    stage = replace(stage, data=replace(stage.data, labelled=4), training=(*stage.training, ("max_steps", 2)))
    found = run_arm(replace(few, networks=((stage,),), folds=2), 0, TINY)
    assert {level: len(videos) for level, videos in found["levels"].items()} == {"both": 4}


@pytest.mark.slow
def test_script_reports_kept_runs_and_writes_the_page(tmp_path, monkeypatch, capsys):
    """The results file must come from the runs, and the page from the results of every study, and of nothing else."""
    spec = spec_from_file_location("run_ablation", SCRIPTS / "run_ablation.py")
    spec.loader.exec_module(script := module_from_spec(spec))
    words = ["run_ablation.py", "schedules", "--quick", "--seeds", "1", "--kept"]
    words += ["--work", str(tmp_path / "runs"), "--output", str(tmp_path / "results")]
    monkeypatch.setattr("sys.argv", words)
    assert script.main() == 2
    assert "expected all runs of a group" in capsys.readouterr().err
    for one_arm in STUDIES["schedules"].groups[0].arms[:2]:
        run_and_keep(tmp_path / "runs", one_arm, FIRST_SEED, QUICK)
    assert script.main() == 0
    table = capsys.readouterr().out
    results = json.loads((tmp_path / "results" / "schedules.json").read_text())
    assert results["seeds"] == [100]
    assert [arm["name"] for arm in results["groups"][0]["arms"]] == ["m = 1", "child"]
    assert len(results["groups"][0]["arms"][0]["per_video"]) == QUICK.test
    (tmp_path / "results" / "another.json").write_text("{}")
    monkeypatch.setattr("sys.argv", ["run_ablation.py", "--report", "--output", str(tmp_path / "results")])
    assert script.main() == 0
    page = (tmp_path / "results" / "README.md").read_text()
    assert table.rstrip() in page
    assert [line for line in page.splitlines() if line.startswith("## ")] == ["## schedules"]


def test_the_tables_are_those_of_the_results():
    """What people read must be what was measured."""
    assert (RESULTS / "README.md").read_text() == all_tables(RESULTS)
    assert {path.stem for path in RESULTS.glob("*.png")} == {*STUDIES, "ratings"}


def figures(text):
    """Every figure with a decimal point, with its interval if it has one, outside code."""
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    return re.findall(r"[+-]?\d+\.\d+(?: \[[^]]*\])?", " ".join(text.split()))


def test_every_figure_of_the_page_on_mechanisms_is_in_the_tables_that_it_names():
    """A figure that no study gave would decide somebody's default."""
    _, *tables = re.split(r"^## ", (RESULTS / "README.md").read_text(), flags=re.MULTILINE)
    known = {f"README.md#{table.split()[0]}": set(figures(table)) for table in tables}
    known["demo_pretraining.md"] = set(figures((RESULTS / "demo_pretraining.md").read_text()))
    sections = re.split(r"^## ", (RESULTS.parents[2] / "docs/mechanisms.md").read_text(), flags=re.MULTILINE)
    named = [re.findall(r"\(\.\./scripts/ablation/results/([\w.#]+)\)", section) for section in sections]
    for section, names in zip(sections, named, strict=True):
        given = set().union(*(known[name] for name in names if name != "README.md"))
        assert set(figures(section)) <= given, (section.splitlines()[0], set(figures(section)) - given)
    assert known.keys() <= {name for names in named for name in names}


def test_report_says_what_is_made_up_and_how_to_run_it_again():
    arms = report_group({"a": [run([0.1, 0.3])], "b | c": [run([0.2, 0.5])]})
    group = {"name": "g", "videos": 2, "arms": arms}
    study = {"about": "Made-up videos", "question": "?", "metric": "kendall_tau", "seeds": [100], "groups": [group]}
    study |= {"scale": {"steps": 4}, "command": "python scripts/run_ablation.py x"}
    page = as_markdown(study)
    assert page.startswith("Made-up videos; 1 seeds")
    assert "python scripts/run_ablation.py x" in page
    assert "| a | 0.200 | 0.100 |  |  | child | child 0.200 |" in page
    assert draw(study).startswith(b"\x89PNG")
