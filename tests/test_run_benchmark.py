"""The benchmark's figures are those of the same work, done by both sides, and its table says on which machine."""

import json
import runpy
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest

from hiersum_hf.datasets.mrhisum import MrHiSumReader
from hiersum_hf.datasets.prepare import prepare


SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def benchmark(monkeypatch):
    """The script, and its part data with sets of a few short videos."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchmarks import data

    monkeypatch.setattr(data, "ROWS", 20)
    monkeypatch.setattr(data, "BATCH", 4)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", None)  # put back what the part sets
    script = runpy.run_path(str(SCRIPTS / "run_benchmark.py"))
    assert {"data", "evaluation"} <= set(script["PARTS"])
    yield script["main"], data
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


def test_quick_data_compares_the_same_batches(benchmark, capsys):
    main, _ = benchmark
    main(["data", "--quick", "--videos", "10", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"cores", "torch", "python"} <= set(found["machine"])
    assert [row["what"] for row in found["rows"]] == ["collated batches, random order", "records in order, streamed"]
    for row in found["rows"]:
        assert set(row) == {"part", "what", "ours", "reference", "unit", "ratio", "note"}
        assert (row["part"], row["unit"]) == ("data", "videos/s")
        assert row["ratio"] == pytest.approx(row["ours"] / row["reference"])
        assert "10 videos x 20 x 1024 float16" in row["note"]


def test_the_table_is_markdown(benchmark, capsys):
    main, _ = benchmark
    main(["data", "--quick", "--videos", "5"])
    lines = capsys.readouterr().out.splitlines()
    assert {line.count("|") for line in lines[:4]} == {8}
    assert "cores" in lines[-1]
    with pytest.raises(SystemExit):
        main(["speed"])
    assert "expected parts of data" in capsys.readouterr().err


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
