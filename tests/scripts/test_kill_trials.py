"""scripts/quality/kill_trials.py must see what a kill breaks, or its zeros mean nothing."""

import json
import random
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest


SCRIPT = Path(__file__).parents[2] / "scripts/quality/kill_trials.py"


@pytest.fixture(scope="module")
def trials():
    return runpy.run_path(str(SCRIPT))


class NoHub:
    repos: dict = {}  # noqa: RUF012


def careless(place):
    """A job that writes under the final name, piece by piece, and takes whatever is there for done."""
    file = place / "out/data.json"
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        with file.open("w") as target:
            for piece in ["[1", *[", 1"] * 20, "]"]:
                target.write(piece)
                target.flush()
                time.sleep(0.01)


def careful(place):
    """The same under a working name."""
    (place / "out").mkdir(exist_ok=True)
    for _ in range(20):
        (place / "out/.data.json").write_text("[1, 1]")
        time.sleep(0.01)
    (place / "out/.data.json").rename(place / "out/data.json")


def forgetful(place):
    """A job that gives something else when it is started twice."""
    (place / "out").mkdir(exist_ok=True)
    starts = len(list((place / "out").iterdir()))
    (place / f"out/{starts}.json").write_text("[]")
    time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("job", "broken", "different"), [(careless, 4, 4), (careful, 0, 0), (forgetful, 0, 4)])
def test_what_a_kill_breaks_is_counted(trials, tmp_path, job, broken, different):
    trials["JOBS"]["job"] = job, trials["files_of"]
    (tmp_path / "given").mkdir()

    class Middle(random.Random):
        def uniform(self, low, high):
            return (low + high) / 2

    count = trials["count_trials"]("job", 4, tmp_path, NoHub, Middle(0))
    assert (count.trials, count.killed) == (4, 4)
    assert (min(count.broken, 4), count.different) == (broken, different)
    assert 0.2 < count.run_s < 5


def test_a_job_that_fails_is_told_with_its_last_words(trials, tmp_path):
    def job(place):
        raise ValueError("no such data")

    with pytest.raises(RuntimeError, match="no such data"):
        trials["finish"](job, tmp_path)


def test_numbers_are_the_same_to_a_millionth(trials):
    one = {"w": np.zeros(3), "metrics": {"f1": 0.5, "n": 2, "none": None}}
    near = {"w": np.full(3, 1e-7), "metrics": {"f1": 0.5 + 1e-7, "n": 2, "none": None}}
    far = {"w": np.full(3, 1e-5), "metrics": one["metrics"]}
    assert trials["same"](one, near)
    assert not trials["same"](one, far)
    assert not trials["same"](one, one | {"more": 1})


@pytest.mark.parametrize("name", ["a.json", "a.mp4", "a.npz", "a.parquet", "a.png", "a.safetensors", "a.zip"])
def test_half_a_file_of_each_kind_is_broken(trials, tmp_path, name):
    (tmp_path / name).write_bytes(b"{")
    assert trials["is_broken"](tmp_path / name)


def test_wrong_words_are_refused(trials, capsys):
    for words in (["unknown"], ["--trials", "0"]):
        with pytest.raises(SystemExit) as ended:
            trials["main"](words)
        assert ended.value.code == 2
    assert "expected jobs of prepare, extract, train, summarize, push" in capsys.readouterr().err


@pytest.mark.slow
def test_the_long_jobs_survive_a_kill(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # as in a user's shell; the Hub of the trials is on this machine
    words = [sys.executable, str(SCRIPT), "--trials", "1", "--json"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout)
    assert [count["job"] for count in counts] == ["prepare", "extract", "train", "summarize", "push"]
    assert all(count["broken"] == count["different"] == 0 for count in counts)
