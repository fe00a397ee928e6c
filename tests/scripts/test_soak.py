"""scripts/quality/soak.py: its items are what it says, and a run of it small."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hiersum_hf.datasets.readers.folder import FolderReader
from hiersum_hf.video.reader import iter_frames


SCRIPT = Path(__file__).parents[2] / "scripts/quality/soak.py"


@pytest.fixture(scope="module")
def soak():
    return runpy.run_path(str(SCRIPT))


def test_every_kind_of_record_is_good_or_broken_as_it_says(soak, tmp_path):
    rng, kinds = np.random.default_rng(0), soak["GOOD"] | soak["BAD"]
    for name, make in kinds.items():
        soak["write_record"](tmp_path, name, make(rng))
    reader = FolderReader(tmp_path)
    assert set(reader.video_ids) == set(kinds)
    for name in soak["GOOD"]:
        assert reader.read(name).video_id == name
    own = {"wide", "narrow-text"}  # fine alone, refused beside others
    for name in soak["BAD"].keys() - own:
        with pytest.raises(ValueError, match=name):
            reader.read(name)
    good = reader.read("plain")
    assert reader.read("wide").video_features.shape[1] != good.video_features.shape[1]
    assert reader.read("narrow-text").text_features.shape[1] != good.text_features.shape[1]


def test_every_kind_of_file_is_a_video_or_none_as_it_says(soak, tmp_path):
    for name, make in (soak["FILMS"] | soak["NO_FILMS"]).items():
        make(tmp_path / name)
    for name in soak["FILMS"]:
        assert list(iter_frames(tmp_path / name, 1.0)), name
    for name in soak["NO_FILMS"]:
        with pytest.raises(ValueError, match=name):
            list(iter_frames(tmp_path / name, 1.0))


def test_the_slope_is_that_of_the_later_half(soak, tmp_path):
    memory = soak["Memory"]()
    memory.points["grows"] = [(float(t), 100.0 + 2 * t) for t in range(100)]
    memory.points["settles"] = [(float(t), min(100.0, 10.0 * t)) for t in range(100)]
    assert memory.slope("grows") == pytest.approx(120)
    assert memory.slope("settles") == pytest.approx(0)
    assert memory.peak("settles") == 100
    memory.plot(tmp_path / "memory.png")
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_small_soak(tmp_path):
    words = ["--records", "60", "--videos", "10", "--steps", "10", "--plot", str(tmp_path / "memory.png")]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 6
    assert (tmp_path / "memory.png").exists()
