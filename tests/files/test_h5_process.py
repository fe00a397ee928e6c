"""A file at which reading hangs, crashes or fills memory is named, and all others are read.

Harmless stand-ins do what HDF5's library does at such files.
"""

import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
from scipy.io import savemat
from torch.utils.data import DataLoader

from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.readers.feature_file import read_frame_features, stored_ids
from hiersum_hf.datasets.readers.replay_reader import ReplayReader
from hiersum_hf.files import h5_process
from hiersum_hf.files.h5_file import add_array
from hiersum_hf.files.mat_file import read_mat


REAL = Path(h5_process.SCRIPT)
STAND_IN = f"""
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("h5_worker", {str(REAL)!r})
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)
honest = worker.read_array

def read_array(member):
    if member is not None and member.name.startswith("/bad"):
        ACT
    return honest(member)

worker.read_array = read_array
worker.main(*map(float, sys.argv[1:]))
"""
VIDEOS = ("a", "bad", "c")


@pytest.fixture(autouse=True)
def no_workers():
    """Each test starts its own, and leaves none behind."""
    h5_process._idle.clear()
    yield
    h5_process._idle.clear()


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "features.h5")


def write(path, value=1.0):
    with h5py.File(path, "w") as file:
        file.attrs["sample_fps"], file.attrs["video_encoder"] = 1.0, "e"
        for name in VIDEOS:
            file[name] = np.full((3, 4), value, np.float32)
    return path


@pytest.fixture
def act(tmp_path, monkeypatch):
    """From here on reading the video `bad` does this in its process."""

    def change(what):
        script = tmp_path / "stand_in.py"
        script.write_text(STAND_IN.replace("ACT", what))
        monkeypatch.setattr(h5_process, "SCRIPT", script)

    return change


def total(path, name="a"):
    return read_frame_features(path, name)[0]["video_features"].sum()


ENDS = {
    "while True: pass": "reading it takes more than 0.5 s of the processor",
    "time.sleep(60)": "reading it takes more than 3 s",
    "os.abort()": "reading it ended a process with SIGABRT",
    "os.kill(os.getpid(), 9)": r"reading it ended a process with SIGKILL \(most often for want of memory\)",
    "os._exit(3)": "reading it ended a process with exit status 3",
    "bytearray(5 * 2**30)": "reading it takes more than 4096 MB of memory",
    "raise RuntimeError('lost')": "expected whole content, found it damaged: lost",
}


@pytest.mark.parametrize("what", ENDS)
def test_the_file_is_named_and_the_others_are_read(what, path, tmp_path, act, monkeypatch):
    other = write(tmp_path / "other.h5", 2.0)
    act(what)
    monkeypatch.setattr(h5_process, "LIMIT_S", 0.5)
    monkeypatch.setattr(h5_process, "CLOCK_S", 3.0 if "sleep" in what else 60.0)
    assert total(path) == 12
    with pytest.raises(ValueError, match=rf"features\.h5, video bad: .*{ENDS[what]}") as refused:
        total(path, "bad")
    assert "\n" not in str(refused.value)
    assert (total(other, "c"), total(path, "c")) == (24, 12)


def test_what_is_printed_does_not_get_among_the_answers(path, act):
    act("print('{}', flush=True); os.write(1, b'{}')")
    assert total(path, "bad") == 12


def test_a_bad_video_is_left_out_of_a_prepared_folder(path, tmp_path, act):
    act("os.abort()")
    bins = ",".join(f'{{"start_time": {k}, "end_time": {k + 1}, "value": 0.{k}}}' for k in range(3))
    videos = ",".join(f'{{"id": "{name}", "view_count": 70000, "heatmap": [{bins}]}}' for name in VIDEOS)
    (tmp_path / "curves.json").write_text(f"[{videos}]")
    reader = ReplayReader(curves=tmp_path / "curves.json", features=path)
    report = prepare(reader, tmp_path / "prepared", [path], skip_bad=True, progress=False)
    assert report["videos"] == 2
    assert list(report["skipped"]) == ["bad"]
    assert "SIGABRT" in report["skipped"]["bad"]


def test_one_process_reads_file_after_file_until_one_is_damaged(path, tmp_path, act):
    assert total(path) == 12
    (worker,) = h5_process._idle
    assert total(write(tmp_path / "other.h5", 2.0)) == 24
    assert h5_process._idle == [worker]
    with pytest.raises(ValueError, match=r"gone: expected features, found none"):
        read_frame_features(path, "gone")
    assert h5_process._idle == [worker], "an honest file"
    (tmp_path / "half.h5").write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"half\.h5: expected a complete HDF5 file, found a broken one"):
        stored_ids(tmp_path / "half.h5")
    assert h5_process._idle == []
    assert worker.process.returncode is not None, "no zombie"


def test_a_process_that_ended_without_work_is_nobodys_fault(path):
    assert total(path) == 12
    h5_process._idle[0].process.kill()
    h5_process._idle[0].process.wait()
    assert total(path) == 12


def test_files_beside_the_users_program_stand_for_no_module_of_python(path, tmp_path, monkeypatch):
    """Python itself has loaded its own before it looks there; the process that reads has not."""
    (tmp_path / "beside").mkdir()
    for module in ("types", "encodings", "io", "random"):
        (tmp_path / "beside" / f"{module}.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path / "beside")
    h5_process._idle.clear()
    assert total(path) == 12
    savemat(tmp_path / "some.mat", {"numbers": np.arange(3)})
    assert read_mat(tmp_path / "some.mat", ["numbers"])["numbers"].tolist() == [[0, 1, 2]]


def test_a_file_that_was_read_can_be_changed(path):
    """Neither locked nor held open: a reader that is kept does not keep the file."""
    assert total(path) == 12
    write(path, 3.0)
    assert total(path) == 36
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"features\.h5: expected an HDF5 file, found no such file"):
        total(path)


def test_a_full_disk_is_told_as_one(path, act):
    act("pass")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    h5_process.SCRIPT.write_text(limit + STAND_IN.replace("ACT", "pass"))
    with pytest.raises(OSError, match=r"features\.h5: expected to add to the file, found: .*too large"):
        add_array(path, "new", np.ones((999, 999)), {})


def test_a_refused_addition_leaves_nothing_in_the_pipe(path, tmp_path):
    (tmp_path / "no.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match=r"no\.h5: expected an HDF5 file"):
        add_array(tmp_path / "no.h5", "new", np.ones((999, 999)), {})
    (worker,) = h5_process._idle
    assert total(path) == 12
    assert h5_process._idle == [worker]


def test_an_interruption_ends_the_reading_and_nothing_else(path, act):
    act("time.sleep(60)")
    assert total(path) == 12
    worker = h5_process._idle[0]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which is off in jobs in the background
    interrupt = partial(signal.pthread_kill, threading.main_thread().ident, signal.SIGINT)
    timer = threading.Timer(0.5, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        total(path, "bad")
    timer.join()
    signal.signal(signal.SIGINT, before)
    assert worker.process.returncode == -signal.SIGKILL
    assert total(path) == 12


def test_threads_read_at_the_same_time(path, tmp_path):
    paths = [path, write(tmp_path / "other.h5", 2.0)] * 20
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(total, paths)) == [12, 24] * 20
    assert len(h5_process._idle) <= h5_process.KEPT


def test_forks_do_not_speak_into_the_pipe_of_their_parent(path, tmp_path):
    other = write(tmp_path / "other.h5", 2.0)
    assert total(path) == 12
    (worker,) = h5_process._idle
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(total, [path, other] * 20)
        assert [total(path) for _ in range(20)] == [12] * 20
        assert found.get(60) == [12, 24] * 20
    assert h5_process._idle == [worker]


class Videos:
    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 6

    def __getitem__(self, k):
        return read_frame_features(self.path, VIDEOS[k % 3])[0]["video_features"]


def test_loaders_read(path):
    assert total(path) == 12
    batches = list(DataLoader(Videos(path), batch_size=2, num_workers=2))
    assert [batch.sum().item() for batch in batches] == [24] * 3


SCRIPT = """
import os, runpy, sys
from pathlib import Path
module = runpy.run_path(sys.argv[1])
(answer,) = module["ask"](Path(sys.argv[2]), "", "names")
print(len(answer["value"]), module["_idle"][0].process.pid, flush=True)
if int(sys.argv[3]):
    os.kill(os.getpid(), int(sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [0, signal.SIGTERM, signal.SIGKILL],
)
def test_no_process_outlives_the_one_that_started_it(number, path):
    """Nor need a user's script have a main guard."""
    words = [sys.executable, "-c", SCRIPT, h5_process.__file__, path, str(int(number))]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-number, "")
    count, pid = map(int, done.stdout.split())
    assert count == 3
    end = time.monotonic() + 10
    while time.monotonic() < end and psutil.pid_exists(pid):
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)
