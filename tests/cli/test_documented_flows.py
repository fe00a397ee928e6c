"""The commands of the documents as they are printed, flow by flow; tests/cli/conftest.py makes what they need."""

import contextlib
import itertools
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from hiersum_hf.cli.main import main, with_command
from hiersum_hf.cli.train import with_demo
from hiersum_hf.datasets.prepared import load_prepared
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.summary.export import EXPORTS
from hiersum_hf.training.flags import parse
from tests.makers.printed import FLOWS, NOT_RUN, printed


SHORT = {  # what is put behind commands that begin so, to be done in a moment
    "hiersum train": ["--max_steps", "2", "--per_device_train_batch_size", "2"],
    "accelerate launch": ["--max_steps", "2", "--data", "tiny"],
    "python scripts/run_ablation.py": ["--quick", "--seeds", "1", "--processes", "1", "--work", "work"],
    "python scripts/quality/fuzz.py": ["--inputs", "2"],
}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("flow", FLOWS)
def test_commands_run_as_printed(flow, request, monkeypatch):
    request.getfixturevalue(flow)
    done = []
    for line in (line for place in FLOWS[flow] for line in printed(*place)):
        words = shlex.split(line, comments=True)
        if words in done or line.startswith(tuple(NOT_RUN)):
            continue  # some are printed twice
        done.append(words)
        shorter = next((more for start, more in SHORT.items() if line.startswith(start)), [])
        if words[0] == "export" and "\n" not in line:
            monkeypatch.setenv(*words[1].split("="))
        elif words[0] == "hiersum" and "\n" not in line:
            run_command(with_command([*words[1:], *shorter]))
        else:
            run_by_shell(shlex.join([*words, *shorter]) if shorter else line)


def run_by_shell(text):
    """Run what must succeed; what a script left in the background ends with it, as at the end of a job."""
    with open("said.txt", "w+") as said:
        shell = subprocess.Popen(["bash", "-c", text], stdout=said, stderr=said, start_new_session=True)
        try:
            assert shell.wait(300) == 0, f"{text}\n{Path('said.txt').read_text()}"
        finally:
            for gently in (True, False):
                end_session(shell.pid, gently)


def end_session(session, gently):
    """End the processes of a session: those that started the others, and give them time, or all at once."""
    left = processes_of(session)
    for process in left.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            if not gently:
                process.kill()
            elif process.ppid() not in left:
                process.terminate()
    end = time.monotonic() + 15
    while processes_of(session) and time.monotonic() < end:
        time.sleep(0.2)


def processes_of(session):
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
    return found


def run_command(words):
    """Run `hiersum` for somebody who has not run it before, and see that it leaves what it is for."""
    flags = dict(itertools.pairwise(words))  # the last value of each
    output = flags.get("--output")
    if words[0] == "train":
        output = parse(with_demo(words[1:])).training.output_dir
    elif words[0] == "summarize":
        output = output or "summaries"
    if words[0] in MADE_ANEW and output and "--resume_from_checkpoint" not in words:
        shutil.rmtree(output, ignore_errors=True)
    if "ray" in words:  # which is of one cluster in a process
        run_by_shell(shlex.join(["hiersum", *words]))
    else:
        with contextlib.suppress(SystemExit) if words == ["--help"] else contextlib.nullcontext():
            assert main(words) == 0, words
    LEAVES.get(words[0], lambda words, flags, output: None)(words, flags, output and Path(output))


MADE_ANEW = ("prepare", "train", "summarize")


def summarized(words, flags, output):
    if str(output).startswith("s3:") or "--dry-run" in words:
        return
    videos = list(output.glob("**/summary.mp4"))
    assert len(videos) == (4 if "talks" in words else 1)  # two budgets of two videos
    assert all((video.parent / "summary.html").is_file() for video in videos)
    names = flags["--export"].split(",") if "--export" in flags else ()
    assert all((videos[0].parent / EXPORTS[name]).is_file() for name in names)
    assert "--embed-chapters" not in words or (videos[0].parent / "talk.chapters.mp4").is_file()


def trained(words, flags, output):
    assert (output / "results.json").is_file()
    load_checkpoint(output / "fold_0" if "--folds" in words else output)


def read(words, flags, output):
    assert output is None or len(load_prepared(output)) > 0


def evaluated(words, flags, output):
    assert output is None or (output / "results.json").is_file()
    assert "--plot" not in words or list(output.glob("*.html"))


LEAVES = {"summarize": summarized, "train": trained, "prepare": read, "evaluate": evaluated}
