"""The examples of the docs as a reader runs them: offline, with public names alone, one after the other."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

import hiersum_hf
from hiersum_hf.summary.files import FILES


REPO = Path(__file__).parents[1]
SCRIPTS = sorted((REPO / "docs" / "examples").glob("*.py"))
NOTEBOOK = json.loads((REPO / "docs" / "examples" / "video_to_summary.ipynb").read_text(encoding="utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def run(script: Path, *words, cwd: Path) -> str:
    command = [sys.executable, str(script), *map(str, words)]
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader has drawn made-up videos."""
    folder = tmp_path_factory.mktemp("reader")
    run(REPO / "scripts" / "render_demo.py", "--count", 4, "--output", "demo/many", cwd=folder)
    (folder / "demo" / "videos").symlink_to(folder / "demo" / "many")
    return folder


@pytest.mark.parametrize("code", [*(path.read_text() for path in SCRIPTS), "\n".join(CELLS)])
def test_public_names_are_enough(code):
    """What else is imported may change without notice, and readers copy what they see."""
    nodes = list(ast.walk(ast.parse(code)))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {name for name in modules if name.startswith("hiersum_hf")} == {"hiersum_hf"}
    used = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "hiersum_hf"]
    assert {alias.name for node in used for alias in node.names} <= set(hiersum_hf.__all__)


def test_the_notebook_is_stored_without_outputs():
    for cell in NOTEBOOK["cells"]:
        assert (cell.get("outputs", []), cell.get("execution_count")) == ([], None)


@pytest.mark.slow
def test_a_video_is_summarized_with_a_wish(folder):
    printed = run(REPO / "docs" / "examples" / "summarize_my_video.py", cwd=folder)
    segments = [tuple(map(float, pair)) for pair in re.findall(r"^ +([\d.]+) to +([\d.]+) s: ", printed, re.MULTILINE)]
    assert 0 < sum(end - start for start, end in segments) <= 20
    start, end = map(float, re.search(r"near to 'paint the fence': ([\d.]+) to ([\d.]+) s", printed).groups())
    assert any(first <= start and end <= last for first, last in segments), "the wish is in the summary"
    assert "demo_0_1040.srt, found beside" in printed
    assert "demo_0_1040.txt, found beside" in printed
    assert {path.name for path in (folder / "demo" / "summary").iterdir()} == set(FILES)


@pytest.mark.slow
def test_a_checkpoint_is_trained_on_videos_and_scores_features(folder):
    printed = run(REPO / "docs" / "examples" / "train_on_my_videos.py", "--steps", 4, cwd=folder)
    assert printed.startswith("4 videos, 22% of the frames important")
    for name in ("captured", "kendall_tau"):
        figures = re.search(rf"{name}: (\S+) \(chance (\S+), the best there can be (\S+)\)", printed).groups()
        own, chance, best = map(float, figures)
        assert -1 <= own <= best <= 1
        assert chance == pytest.approx(0, abs=0.2)
    printed = run(REPO / "docs" / "examples" / "score_features.py", cwd=folder)
    best = [float(score) for score in re.findall(r"^frame \d+ at .* scores (.*)$", printed, re.MULTILINE)]
    assert len(best) == 3
    assert best == sorted(best, reverse=True)
    segments = re.findall(r"^([\d.]+) to ([\d.]+) s, score ([\d.]+):", printed, re.MULTILINE)
    assert all(float(score) <= best[0] for _, _, score in segments)
    assert 0 < sum(float(end) - float(start) for start, end, _ in segments) <= 15


@pytest.mark.slow
def test_the_notebook_walks_from_a_video_to_its_summary(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    matplotlib.use("Agg")
    names = {}
    for number, source in enumerate(CELLS, 1):
        exec(compile(source, f"cell {number}", "exec"), names)
    assert len(names["record"].description) == 5, "the text beside the video is read"
    assert 0 < names["summary"].length_s <= 20
    assert "<svg" in names["summary"]._repr_html_()
    kept, *_ = names["wished"].segments
    assert (kept.start_s, kept.end_s) == (0, 4)
    assert all(segment.end_s <= 70 for segment in names["wished"].segments)
    assert {path.name for path in names["folder"].iterdir()} == set(FILES)
