"""`evaluate.load` must find the modules offline, and they must give the plain functions' figures."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from hiersum_hf import metrics
from hiersum_hf.evaluate_modules import NAMES, mean_over_videos, path


evaluate = pytest.importorskip("evaluate")


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """`evaluate.load` with caches of its own, where any look at the network is an error."""
    cache = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", str(cache / "modules"))
        patch.setattr(evaluate.config, "HF_METRICS_CACHE", cache / "metrics")
        patch.syspath_prepend(str(cache / "modules"))
        yield lambda name: evaluate.load(path(name), cache_dir=str(cache))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_every_module_loads_by_its_name(load):
    for name in NAMES:
        metric = load(name)
        assert metric.name == name
        assert "Args:" in metric.inputs_description
    with pytest.raises(ValueError, match=r"module: expected one of keyshot_f1, .*; found 'rouge'"):
        path("rouge")
    assert set(NAMES) == {folder.parent.name for folder in Path(path("clip_map")).parent.glob("*/*.py")}


def test_the_scanner_understands_every_import():
    """evaluate reads imports line by line, wants one name a line, and tells users to `pip install` what it misses."""
    for name in NAMES:
        found = evaluate.loading.get_imports(str(Path(path(name)) / f"{name}.py"))
        assert {kind for kind, *_ in found} == {"library"}
        packages = {package for _, package, *_ in found} - {"__future__"}
        assert packages == {"datasets", "evaluate", "hiersum_hf"}
        for package in packages:
            importlib.import_module(package)
            distribution = re.sub("[-_.]+", "-", package)
            assert f'"{distribution}' in (Path(__file__).parents[2] / "pyproject.toml").read_text()


def test_keyshot_f1(load, rng):
    shots = np.array([[0, 60], [60, 100], [100, 200], [200, 290]])
    videos = [(rng.random(20), np.arange(20) * 15, 300), (rng.random(18), np.arange(18) * 15, 290)]
    users = [rng.random((3, n)) < 0.3 for *_, n in videos]
    inputs = {"references": users, "picks": [v[1] for v in videos], "n_frames": [300, 290], "shots": [shots] * 2}
    found = load("keyshot_f1").compute(predictions=[v[0] for v in videos], **inputs, reduce="max", budget=0.3)
    each = [
        metrics.f1_score(metrics.key_shot_summary(*video, shots, budget=0.3), user, "max")
        for video, user in zip(videos, users, strict=True)
    ]
    assert found == {"f1": pytest.approx(np.mean(each)), "skipped_f1": 0}
    assert found["f1"] > 0


def test_rank_correlation(load, rng):
    """Videos of different lengths; a constant annotator, a video with nobody else, a constant prediction."""
    users = [rng.integers(1, 6, (4, 30)), rng.integers(1, 6, (3, 12)), np.ones((2, 5)), rng.random((2, 6))]
    users[0][0] = 3
    scores = [rng.random(30), rng.random(12), rng.random(5), np.ones(6)]
    metric = load("rank_correlation")
    for ours, theirs in zip(scores, users, strict=True):
        metric.add(prediction=ours, reference=theirs)
    found = metric.compute()
    each = [metrics.kendall_tau(scores[i], users[i])[0] for i in (0, 1, 3)]
    assert found["kendall_tau"] == pytest.approx(np.mean(each))
    assert found["spearman_rho"] == pytest.approx(
        np.mean([metrics.spearman_rho(scores[i], users[i])[0] for i in (0, 1, 3)])
    )
    counts = {"skipped_kendall_tau": 1, "skipped_spearman_rho": 1, "constant_annotators": 3, "constant_predictions": 1}
    assert counts.items() <= found.items()


def test_combine_gives_mr_hisums_protocol(load, rng):
    """tau and rho need no list of annotators where there is one reference, so mAP reads the same input."""
    scores, truth = [rng.random(40), rng.random(12)], [rng.random(40), rng.random(12)]
    both = evaluate.combine([load("clip_map"), load("rank_correlation")])
    found = both.compute(predictions=[row.tolist() for row in scores], references=[row.tolist() for row in truth])
    each = [metrics.clip_average_precision(ours, theirs, 0.5) for ours, theirs in zip(scores, truth, strict=True)]
    assert found["map50"] == pytest.approx(np.mean(each))
    assert found["map15"] == pytest.approx(metrics.clip_average_precision(scores[0], truth[0], 0.15))
    assert (found["skipped_map50"], found["skipped_map15"]) == (0, 1)  # 12 rows are 3 clips
    taus = [metrics.kendall_tau(ours, [theirs])[0] for ours, theirs in zip(scores, truth, strict=True)]
    assert found["kendall_tau"] == pytest.approx(np.mean(taus))
    padded = load("clip_map").compute(predictions=scores, references=truth, rule="triplesumm")
    assert padded["skipped_map15"] == 0


def test_bliss_text(load):
    found = load("bliss_text").compute(
        predictions=[["the cat sat"], [], ["a"]], references=[["the cat ran", "home"], ["a dog"], ["?"]]
    )
    one = metrics.rouge(["the cat sat"], ["the cat ran", "home"])
    assert found == {name: pytest.approx(value / 2) for name, value in one.items()} | {
        f"skipped_{name}": 1 for name in one
    }


def test_segment_f1(load):
    metric = load("segment_f1")
    videos = {"predictions": [[0.9, 0.8, 0.1, 0.2], [0.4, 0.1]], "references": [[1, 0, 0, 1], [1, 0]]}
    found = metric.compute(**videos)
    assert found["f1"] == pytest.approx((0.5 + 1) / 2)
    assert metric.compute(**videos, rule="p>=0.5")["recall"] == pytest.approx((0.5 + 0) / 2)


def test_errors_number_the_video(load):
    with pytest.raises(ValueError, match="video 1: expected finite scores"):
        load("segment_f1").compute(predictions=[[0.5], [np.nan]], references=[[1], [0]])


def test_means_leave_out_what_is_undefined():
    nan = float("nan")
    found = mean_over_videos([{"a": 1.0, "b": nan}, {"a": nan, "b": nan}, {"a": 2.0, "b": nan}])
    assert (found["a"], found["skipped_a"], found["skipped_b"]) == (1.5, 1, 3)
    assert np.isnan(found["b"])
    with pytest.raises(ValueError, match="expected at least one video"):
        mean_over_videos([])
