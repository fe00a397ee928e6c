"""The page for agents: short, found by its head, and true of the command."""

import re
from pathlib import Path

import yaml

from hiersum_hf.cli.main import parser


TEXT = (Path(__file__).parents[1] / "skills" / "hiersum" / "SKILL.md").read_text()


def test_the_head_names_it():
    head = yaml.safe_load(TEXT.split("---")[1])
    assert head["name"] == "hiersum"
    assert 50 < len(head["description"]) < 1024
    assert len(TEXT.splitlines()) <= 60, "one page"


def test_the_command_has_every_flag_and_takes_the_lines():
    known = set(
        re.findall(r"--[a-z][a-z-]*", parser()._subparsers._group_actions[0].choices["summarize"].format_help())
    )
    assert set(re.findall(r"--[a-z][a-z-]*", TEXT)) - known <= {"--signal", "--mcp"}
    for line in re.findall(r"^hiersum (summarize [^#\n]*)", TEXT, re.MULTILINE):
        parser().parse_args(line.split())
