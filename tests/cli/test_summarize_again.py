"""`hiersum summarize` a second time: what is finished is passed over, what would be another summary is refused."""

import json
import os

import pytest

from hiersum_hf.cli.main import main
from hiersum_hf.summary.finished import MADE_WITH
from tests.makers.encoders import colour_encoder
from tests.makers.videos import write_video


@pytest.fixture
def again(tmp_path, monkeypatch):
    """Summarizes two videos; returns the exit status. Further words may follow."""
    monkeypatch.setattr("hiersum_hf.inference.scorer.load_video_encoder", lambda *which: colour_encoder())
    for name in ("a", "b"):
        write_video(tmp_path / "videos" / f"{name}.mp4", brightness=ord(name))
    command = ["summarize", str(tmp_path / "videos"), "--output", str(tmp_path / "out"), "--device", "cpu"]
    return lambda *words: main([*command, "--files", "summary.json", *words])


def written(folder):
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*")}


def test_what_is_finished_is_passed_over_and_counted(again, tmp_path, monkeypatch, capsys):
    assert again() == 0
    before = written(tmp_path / "out")
    write_video(tmp_path / "videos" / "c.mp4")
    assert again("--json") == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["video"] for line in out.splitlines()[-1:]] == ["c.mp4"]
    assert "note: 2 finished before, of the same video and settings: passed over" in err
    after = written(tmp_path / "out")
    assert before.items() <= after.items()
    monkeypatch.setattr("hiersum_hf.inference.scorer.load_scorer", None)
    assert again("--budget", "15%") == 0, "nothing is loaded where nothing is to be done"


def test_a_further_budget_is_made_beside_finished_ones(again, capsys):
    assert again("--budget", "0.4", "--budget", "1s", "--json") == 0
    capsys.readouterr()
    assert again("--budget", "0.4", "--budget", "2s", "--json") == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["budget"]["value"] for line in out.splitlines()] == [2, 2]
    assert "note: 2 finished before" in err


@pytest.mark.parametrize(
    ("words", "differs"),
    [
        (["--budget", "0.4"], "budget '0.15', now '0.4'"),
        (["--selection", "keyshot"], "selection 'importance', now 'keyshot'"),
        (["--min-segment", "1s"], "min-segment '3s', now '1s'"),
        (["--files", "summary.json", "summary.md"], "no summary.md"),
    ],
)
def test_a_summary_made_otherwise_is_refused_and_said_how_it_differs(again, tmp_path, capsys, words, differs):
    assert again() == 0
    before = written(tmp_path / "out")
    capsys.readouterr()
    assert again(*words) == 2
    assert f"a: expected no such folder yet, or a summary made alike, found one with {differs}. Give --overwrite" in (
        capsys.readouterr().err
    )
    assert written(tmp_path / "out") == before
    assert again(*words, "--overwrite") == 0
    assert again(*words) == 0, "passed over now"


def test_another_video_or_text_under_the_name_is_refused(again, tmp_path, capsys):
    assert again() == 0
    (tmp_path / "videos" / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello.\n")
    assert again() == 2
    assert "found one with other texts" in capsys.readouterr().err
    (tmp_path / "videos" / "a.srt").unlink()
    assert again() == 0
    os.utime(tmp_path / "videos" / "b.mp4", (1, 1))
    assert again() == 2
    assert "b: expected no such folder yet, or a summary made alike, found one with another video" in (
        capsys.readouterr().err
    )


def test_a_summary_that_says_nothing_of_its_making_is_refused_as_before(again, tmp_path, capsys):
    assert again() == 0
    (tmp_path / "out" / "a" / MADE_WITH).write_text("[broken")
    assert again() == 2
    assert "a: expected no such folder yet. Give --overwrite" in capsys.readouterr().err


def test_failed_videos_are_named_in_a_file_until_none_fails(again, tmp_path):
    (tmp_path / "videos" / "broken.mp4").write_text("no video")
    assert again() == 1
    (line,) = (tmp_path / "out" / "failed.jsonl").read_text().splitlines()
    assert json.loads(line)["video"] == str(tmp_path / "videos" / "broken.mp4")
    (tmp_path / "videos" / "broken.mp4").unlink()
    assert again() == 0
    assert not (tmp_path / "out" / "failed.jsonl").exists()
