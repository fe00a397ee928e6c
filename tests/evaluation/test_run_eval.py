"""scripts/run_eval.py as a user starts it: every fold on its own test videos, and never on videos it was trained on."""

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hiersum_hf import HierSumConfig, HierSumModel
from hiersum_hf.cli.main import main
from hiersum_hf.datasets.parts import DataArguments, load_parts, split_name
from hiersum_hf.datasets.readers.tvsum import write_tvsum
from hiersum_hf.evaluation.evaluate import mean_metrics
from hiersum_hf.evaluation.folds import count_folds
from hiersum_hf.evaluation.ridge import ridge_scores
from hiersum_hf.results import write_json
from hiersum_hf.scoring.average import average_scores
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.scoring.network import predict_scores
from tests.makers.commands import SMALL


SCRIPTS = Path(__file__).parents[2] / "scripts"


def start(script, words, monkeypatch, capsys):
    """Exit code, stdout, stderr of a script."""
    monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")
    return done.value.code, *capsys.readouterr()


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda *words: start("run_eval.py", [*words, "--device", "cpu"], monkeypatch, capsys)


@pytest.fixture(scope="module")
def data(tmp_path_factory, demo_records):
    """Ten videos in TVSum's format."""
    path = tmp_path_factory.mktemp("data") / "set.h5"
    write_tvsum(demo_records[:10], path)
    return path


def leave_runs(folder, arguments, extractor, folds, **changes):
    """What trainings of these folds would leave: checkpoints that differ, and their results."""
    for k in range(folds):
        torch.manual_seed(k)
        config = HierSumConfig(video_dim=32, text_dim=32, hidden_size=16, num_layers=1, trained_levels=["child"])
        HierSumModel(config).save_pretrained(folder / f"fold_{k}")
        extractor.save_pretrained(folder / f"fold_{k}")
        fold = replace(arguments, fold=k)
        tested = {record.video_id: {} for record in load_parts(fold)["test"]}
        results = {"schema": 1, "dataset": "tvsum", "part": "test", "protocol": "p", "data_fingerprint": "f"}
        results |= {"scorer": "checkpoint", "metrics": {}, "per_video": tested, "split": split_name(fold)}
        results |= {"selected_on": "validation", "score_head": "importance"} | changes
        write_json(folder / f"fold_{k}" / "results.json", results)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data, demo_extractor):
    folder = tmp_path_factory.mktemp("runs") / "run"
    leave_runs(folder, DataArguments(data=str(data)), demo_extractor, 5)
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def figures_of(folder, arguments, fold):
    """A fold's figures, measured by hand."""
    records = load_parts(replace(arguments, fold=fold))["test"]
    predicted = predict_scores(*load_checkpoint(folder / f"fold_{fold}"), records)
    scores = {name: result["scores"] for name, result in predicted.items()}
    return [mean_metrics([record], scores) for record in records], list(scores)


@pytest.mark.slow
def test_each_fold_is_measured_on_its_own_test_videos(run, folder, data, demo_records):
    code, out, err = run(folder, "--folds", 5, "--data", data)
    assert code == 0, err
    results = json.loads((folder / "results.json").read_text())
    assert set(results["per_video"]) == {record.video_id for record in demo_records[:10]}
    for k, fold in enumerate(results["folds"]):
        videos, names = figures_of(folder, DataArguments(data=str(data)), k)
        assert (fold["fold"], fold["videos"], fold["level"]) == (k, 2, "child")
        for metric in ("f1", "kendall_tau", "spearman_rho"):
            assert fold["metrics"][metric] == pytest.approx(np.mean([figures[metric] for figures in videos]))
            assert [results["per_video"][name][metric] for name in names] == pytest.approx([f[metric] for f in videos])
    taus = [fold["metrics"]["kendall_tau"] for fold in results["folds"]]
    assert len(set(taus)) == 5
    assert results["metrics"]["kendall_tau"] == pytest.approx(np.mean(taus))
    assert results["spread"]["kendall_tau"] == pytest.approx(np.std(taus, ddof=1))
    low, high = results["ci95"]["kendall_tau"]
    assert low < results["metrics"]["kendall_tau"] < high
    about = ("dataset", "part", "split", "level", "selected_on", "checkpoint")
    expected = ("tvsum", "test", "disjoint-folds-seed0", "child", "validation", str(folder))
    assert tuple(results[key] for key in about) == expected
    assert results["baselines"]["random"]["draws"] == 20
    assert f"tau {np.mean(taus):.4f} ± {np.std(taus, ddof=1):.4f}" in out
    assert "tvsum test, 10 videos, protocol hiersum-keyshot-v1" in out


def test_published_splits_that_test_a_video_twice(run, tmp_path, data, demo_extractor, demo_records):
    """Its figure is the mean of both folds'; the mean over folds stays the field's."""
    names = [record.video_id for record in demo_records[:10]]
    tests = [names[:3], names[2:4]]
    splits = [{"train_keys": [n for n in names if n not in test], "test_keys": test} for test in tests]
    (tmp_path / "published.json").write_text(json.dumps(splits))
    arguments = DataArguments(data=str(data), split_file=str(tmp_path / "published.json"))
    leave_runs(tmp_path / "run", arguments, demo_extractor, 2, selected_on="test", scorer="oracle_checkpoint")
    words = ["--folds", 2, "--data", data, "--split-file", tmp_path / "published.json"]
    code, out, err = run(tmp_path / "run", *words, "--output", tmp_path / "deep" / "all.json")
    assert code == 0, err
    results = json.loads((tmp_path / "deep" / "all.json").read_text())
    (first, _), (second, _) = (figures_of(tmp_path / "run", arguments, k) for k in (0, 1))
    assert set(results["per_video"]) == set(names[:4])
    twice = results["per_video"][names[2]]["kendall_tau"]
    assert twice == pytest.approx((first[2]["kendall_tau"] + second[0]["kendall_tau"]) / 2)
    means = [np.mean([figures["f1"] for figures in fold]) for fold in (first, second)]
    assert results["metrics"]["f1"] == pytest.approx(np.mean(means))
    assert (results["split"], results["selected_on"]) == ("published.json", "test")
    videos = load_parts(arguments)["test"] + load_parts(replace(arguments, fold=1))["test"][1:]
    parts = [load_parts(replace(arguments, fold=k)) for k in (0, 1)]
    ridges = [ridge_scores(part["train"], part["validation"], part["test"]).scores for part in parts]
    beside = {
        record.video_id: np.mean([mean_metrics([record], one)["f1"] for one in ridges if record.video_id in one])
        for record in videos
    }
    pairs = [results["per_video"][name]["f1"] - beside[name] for name in names[:4]]
    assert results["against_ridge"]["f1"]["difference"] == pytest.approx(np.mean(pairs))
    assert "oracle_checkpoint" in out
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.slow
def test_every_fold_is_read_at_its_own_level(run, folder, data):
    config = HierSumConfig.from_pretrained(folder / "fold_1")
    config.default_level, config.trained_levels = "parent", ["child", "parent"]
    config.save_pretrained(folder / "fold_1")
    assert run(folder, "--folds", 5, "--data", data)[0] == 0
    results = json.loads((folder / "results.json").read_text())
    assert [fold["level"] for fold in results["folds"]] == ["child", "parent", "child", "child", "child"]
    assert results["level"] == "each fold's own"


@pytest.mark.slow
def test_a_fold_that_started_from_another_fold_is_named(run, folder, data, caplog):
    """Its test videos may have been trained on, one stage before."""
    config = HierSumConfig.from_pretrained(folder / "fold_1")
    pairs = [("tvsum", 0), ("summe", 2), ("tvsum", 1)]
    config.trained_on = [{"dataset": name, "split": f"disjoint-folds-seed0#{fold}"} for name, fold in pairs]
    config.save_pretrained(folder / "fold_1")
    code, _, err = run(folder, "--folds", 5, "--data", data)
    assert code == 0, err
    assert "fold_1 started from a checkpoint trained on split disjoint-folds-seed0#0, it is tested on" in caplog.text
    assert caplog.text.count("may have seen") == 1


def change(folder, fold, **changes):
    path = folder / f"fold_{fold}" / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def no_folds(folder):
    shutil.rmtree(folder / "fold_1")
    shutil.rmtree(folder / "fold_3")
    return [], "run: expected 5 checkpoints, missing fold_1, fold_3"


def another_number_of_folds(folder):
    return ["--folds", 4], "--folds: expected 5, as many as"


def another_seed(folder):
    return ["--split-seed", 1], "fold_0: expected a checkpoint trained on split 'disjoint-folds-seed1#0', found 'disj"


def folds_exchanged(folder):
    (folder / "fold_0").rename(folder / "aside")
    (folder / "fold_2").rename(folder / "fold_0")
    (folder / "aside").rename(folder / "fold_2")
    return [], "expected a checkpoint trained on split 'disjoint-folds-seed0#0', found 'disjoint-folds-seed0#2'"


def other_test_videos(folder):
    change(folder, 2, per_video={"stranger": {}})
    return [], "fold_2: expected the test videos of its training, found others in one of both: demo_0_00"


def selected_otherwise(folder):
    change(folder, 4, selected_on="test")
    return [], "run: expected folds of one selected_on, found test, validation"


def no_results(folder):
    (folder / "fold_4" / "results.json").unlink()
    return [], "fold_4/results.json: expected results"


def earlier_results(folder):
    (folder / "results.json").write_text("mine")
    return [], "results.json: expected no such file yet. Give --overwrite"


def the_demo_set(folder):
    return ["--data", "demo"], "expected a data set with folds"


BAD = [
    no_folds, another_number_of_folds, another_seed, folds_exchanged, other_test_videos, selected_otherwise,
    no_results, earlier_results, the_demo_set,
]  # fmt: skip


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_what_cannot_be_trusted_is_refused(spoil, run, folder, data):
    words, message = spoil(folder)
    before = sorted(folder.iterdir())
    code, out, err = run(folder, "--folds", 5, "--data", data, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert sorted(folder.iterdir()) == before
    assert not (folder / "results.json").exists() or (folder / "results.json").read_text() == "mine"


def test_help_shows_commands(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "\n    python scripts/run_eval.py runs/tvsum --folds 5" in out


@pytest.mark.slow
def test_the_folds_of_real_trainings_agree_with_their_own_results(data, tmp_path, monkeypatch, capsys):
    """The commands of the script's help, one after the other: both say the same of the same checkpoints."""
    words = ["--data", data, "--folds", True, "--output_dir", tmp_path / "run", *SMALL]
    code, _, err = start("run_train.py", words, monkeypatch, capsys)
    assert code == 0, err
    again = tmp_path / "again.json"
    words = [tmp_path / "run", "--folds", 5, "--data", data, "--device", "cpu", "--output", again]
    code, _, err = start("run_eval.py", words, monkeypatch, capsys)
    assert code == 0, err
    results, first = json.loads(again.read_text()), json.loads((tmp_path / "run" / "results.json").read_text())
    assert {**results, "command": None} == {**first, "command": None}
    for k, fold in enumerate(results["folds"]):
        own = json.loads((tmp_path / "run" / f"fold_{k}" / "results.json").read_text())
        assert fold["level"] == own["level"]
        assert fold["metrics"] == pytest.approx(own["metrics"], nan_ok=True)


@pytest.mark.slow
def test_seeds_are_averaged_in_every_fold(trained, folder, data, demo_extractor, capsys):
    """Two runs and the ridge regression beside them: the mean of their standardised scores, fold by fold."""
    other = folder.parent / "other"
    leave_runs(other, DataArguments(data=str(data)), demo_extractor, 5, selected_on=None)
    for k in range(5):  # other weights than the first run's
        torch.manual_seed(10 + k)
        HierSumModel.from_pretrained(other / f"fold_{k}").apply(
            lambda module: torch.nn.init.normal_(module.weight) if isinstance(module, torch.nn.Linear) else None
        ).save_pretrained(other / f"fold_{k}")
    words = ["evaluate", "tvsum", "--data", str(data), "--folds", "--device", "cpu", "--json"]
    assert main([*words, "--scorer", str(trained), "--scorer", str(other), "--scorer", "ridge"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["scorer"] == "2 checkpoints + ridge"
    assert results["checkpoint"] == f"{trained}, {other}"
    assert results["level"] == "child"
    assert results["selected_on"] == "validation"
    parts = load_parts(DataArguments(data=str(data), fold=3))
    networks = [predict_scores(*load_checkpoint(run / "fold_3"), parts["test"]) for run in (trained, other)]
    each = [{name: one["scores"] for name, one in found.items()} for found in networks]
    each.append(ridge_scores(parts["train"], parts["validation"], parts["test"]).scores)
    expected = mean_metrics(parts["test"], average_scores(each))
    assert results["folds"][3]["metrics"]["kendall_tau"] == pytest.approx(expected["kendall_tau"])
    assert results["folds"][3]["metrics"]["kendall_tau"] != pytest.approx(
        mean_metrics(parts["test"], each[0])["kendall_tau"]
    )


def test_a_source_that_is_a_folder_has_drawn_folds(tmp_path):
    """SumMe's annotations are a folder of .mat files, which is not a prepared one."""
    assert count_folds(DataArguments(data=str(tmp_path))) == 5


@pytest.mark.slow
def test_ids_of_a_scores_file_that_the_data_lacks_are_named_beside_runs(folder, data, demo_records, tmp_path, caplog):
    scores = {record.video_id: [0.5] * len(record.frame_times_s) for record in demo_records[:10]}
    for k, name in enumerate(scores):
        scores[name][k] = 1.0
    write_json(tmp_path / "s.json", scores | {"elsewhere": [1.0]})
    words = ["--scorer", str(folder), "--scorer", str(tmp_path / "s.json"), "--folds", "--device", "cpu"]
    assert main(["evaluate", "tvsum", "--data", str(data), *words]) == 0
    assert caplog.text.count("s.json: leaves unused what it has of videos that the data lacks: elsewhere\n") == 1
