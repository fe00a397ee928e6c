"""README and docs: links lead somewhere, commands have the flags that they use, the site builds without a warning."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hiersum_hf.cli import main as cli


REPO = Path(__file__).parents[1]
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


def commands(page):
    """Lines of a page's bash blocks that start with hiersum, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("hiersum ")]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_printed_commands_have_flags_that_exist(page, monkeypatch):
    """Values, files and the flags of a training are tested where the commands run."""
    monkeypatch.setattr(argparse.ArgumentParser, "exit", lambda self, status=0, message=None: pytest.fail(message))
    for line in commands(page):
        words = shlex.split(re.sub(r"\$\w+|<\w+>", "1", line), comments=True)[1:]
        if words[0] not in ("train", "push"):
            cli.parser().parse_args(cli.with_command(words))


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
