"""README and docs: links lead somewhere, commands have the flags that they use, the site builds without a warning."""

import argparse
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser

from hiersum_hf.cli import main as cli
from hiersum_hf.cli.train import tell
from hiersum_hf.training.flags import parse
from tests.makers.printed import ELSEWHERE, FLOWS, NOT_RUN, REPO, blocks, printed
from tests.makers.printed import PAGES as PRINTED


TEMPLATE = REPO / "model_card.md"
PAGES = sorted({*REPO.glob("*.md"), *(REPO / "docs").glob("*.md")} - {TEMPLATE})


def anchors(page):
    """Headings as GitHub and MkDocs turn them into anchors."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), link


COMMANDS = [(page, heading, line) for page in PRINTED for heading in blocks(page) for line in printed(page, heading)]


def test_every_printed_command_is_run_by_a_test():
    """Or is one of those that cannot run here, with the reason; no list names what is no longer there."""
    places = {place for flow in FLOWS.values() for place in flow} | ELSEWHERE.keys()
    for page, heading, line in COMMANDS:
        assert (page, heading) in places or line.startswith(tuple(NOT_RUN)), f"{page}, {heading}: {line}"
    assert places <= {(page, heading) for page, heading, _ in COMMANDS}
    assert all(any(line.startswith(start) for _, _, line in COMMANDS) for start in NOT_RUN)
    assert all(Path(page).name in (REPO / test).read_text() for (page, _), test in ELSEWHERE.items())


@pytest.mark.parametrize("page", sorted({page for page, *_ in COMMANDS}))
def test_printed_commands_have_flags_that_exist(page, monkeypatch):
    """Of launchers and scripts too; values and files are tested where the commands run."""
    monkeypatch.setattr(argparse.ArgumentParser, "exit", lambda self, status=0, message=None: pytest.fail(message))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # scripts set it
    for _, _, line in [command for command in COMMANDS if command[0] == page]:
        words = shlex.split(line.removeprefix("OMP_NUM_THREADS=1 "), comments=True)
        if "\n" in line or "..." in words:
            continue
        if words[0] in LAUNCHERS:
            launched = LAUNCHERS[words[0]]().parse_args(words[2 if words[0] == "accelerate" else 1 :])
            assert (launched.module, launched.training_script) == (True, "hiersum_hf")
            words = ["hiersum", *launched.training_script_args]
        if words[0] == "hiersum":
            parse_command(words[1:])
        elif words[:2] == ["docker", "compose"]:
            assert words[3] in yaml.safe_load((REPO / "compose.yaml").read_text())["services"]
        elif words[0] == "python":
            parse_script(words[1:], monkeypatch)


LAUNCHERS = {"accelerate": launch_command_parser, "torchrun": get_args_parser}


def parse_command(words):
    if words == ["--help"]:
        return
    args = cli.parser().parse_args(cli.with_command(words))
    if args.command == "train" and not tell(args.words):
        parse(args.words)


def parse_script(words, monkeypatch):
    """Start a script, and leave it where it has understood its flags."""

    class UnderstoodError(Exception):
        pass

    def understand(parser, *_):
        assert parser.parse_known_args(words[1:])[1] == []
        raise UnderstoodError

    script = REPO / words[0]
    with monkeypatch.context() as patch:
        patch.syspath_prepend(script.parent)
        patch.setattr(argparse.ArgumentParser, "parse_args", understand)
        with pytest.raises(UnderstoodError):
            runpy.run_path(str(script), run_name="__main__")


def test_findings_run_and_begin_with_what_they_found():
    scripts = sorted((REPO / "findings").glob("*.sh"))
    assert scripts
    for script in scripts:
        head = script.read_text().partition("set -euo pipefail")[0]
        assert os.access(script, os.X_OK), script.name
        assert re.search(r"^# .*\d+\.\d+.*:", head, re.MULTILINE), script.name
        assert "# Guess: " in head, script.name
        assert "# Seen: " in head, script.name


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert (tmp_path / "site" / "summaries" / "index.html").is_file()
