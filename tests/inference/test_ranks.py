"""Ranks that share videos: nothing twice, nothing left, and no rank that takes the others with it."""

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest
from torch.distributed import HashStore

from hiersum_hf.cli.main import main
from hiersum_hf.inference import extract
from hiersum_hf.inference.ranks import Failures, Ranks, tell_all
from tests.makers.videos import write_video


WITHOUT_ENCODER = """
import sys
from hiersum_hf.cli.main import main
from hiersum_hf.inference import extract
from tests.makers.encoders import colour_encoder

extract.load_video_encoder = lambda *which: colour_encoder()
sys.exit(main(sys.argv[1:]))
"""


def at_once(work, *ranks):
    with ThreadPoolExecutor(len(ranks)) as pool:
        return list(pool.map(work, ranks))


@pytest.fixture
def two():
    store = HashStore()
    return [Ranks(rank, 2, store) for rank in (0, 1)]


@pytest.fixture
def files(tmp_path):
    """Nine files of nine sizes, and a copy of the first."""
    for i in range(9):
        (tmp_path / f"{i}.mp4").write_bytes(bytes(100 + i))
    (tmp_path / "copy.mp4").write_bytes(bytes(100))
    return sorted(tmp_path.iterdir())


def test_each_video_is_claimed_once_copies_together_the_largest_first(two, files):
    shares = at_once(lambda ranks: list(ranks.take(files)), *two)
    assert sorted(chain(*shares)) == files
    assert any({"0.mp4", "copy.mp4"} <= {file.name for file in share} for share in shares)
    sizes = [file.stat().st_size for file in max(shares, key=len)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_slow_rank_leaves_its_share_to_the_other(two, files):
    first, second = (ranks.take(files) for ranks in two)
    assert next(first).name == "8.mp4"
    assert [file.name for file in second] == [*(f"{i}.mp4" for i in reversed(range(8))), "copy.mp4"]
    assert list(first) == []


def test_a_file_that_has_gone_is_somebodys_too(two, files):
    files[3].unlink()
    assert files[3] in chain(*at_once(lambda ranks: list(ranks.take(files)), *two))


def test_all_hear_what_each_tells_and_an_error_waits_for_the_others(two, capsys):
    def work(ranks):
        with ranks.together():
            if ranks.rank == 1:
                raise MemoryError("no room on this GPU")
            told = ranks.finish({"videos": 3, "failed": 1})
            print("heard all")
            return told

    def end(ranks):
        try:
            return work(ranks)
        except MemoryError:
            return "ended"

    told, ended = at_once(end, *two)
    assert (told, ended) == ([{"videos": 3, "failed": 1}, {"error": "no room on this GPU"}], "ended")
    assert tell_all(told, Path("out")) == [
        "all 2 ranks: 3 videos done, 1 failed, named in out/failed.jsonl",
        "rank 1 ended early: no room on this GPU",
    ]


def test_failures_are_put_together_and_those_of_an_earlier_run_go(two, tmp_path):
    for stale in ("failed.jsonl", "failed-0.jsonl", "failed-7.jsonl", "failed-notes.jsonl"):
        (tmp_path / stale).write_text("stale")
    lists = [Failures(tmp_path, ranks) for ranks in two]
    assert [file.name for file in tmp_path.iterdir()] == ["failed-notes.jsonl"]
    for number, failures in enumerate(lists):
        failures.add(tmp_path / f"{number}.mp4", ValueError("broken"))
    assert (tmp_path / "failed-1.jsonl").is_file(), "readable where the rank dies"
    lists[0].merge()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["failed-notes.jsonl", "failed.jsonl"]
    lines = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_text().splitlines()]
    assert lines == [{"video": str(tmp_path / f"{i}.mp4"), "error": "broken"} for i in (0, 1)]


def test_ranks_that_do_not_meet_are_said(tmp_path, monkeypatch, capsys):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)

    def never(*_, **__):
        raise RuntimeError("timed out")

    monkeypatch.setattr(sys.modules["torch.distributed.rendezvous"], "rendezvous", never)
    assert main(["extract", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "nowhere:1: expected 2 ranks to meet there, found: timed out" in capsys.readouterr().err


@pytest.mark.slow
def test_a_launcher_does_not_kill_the_rank_without_bad_files(tmp_path):
    """A launcher ends all ranks as soon as one ends with an error: 1 of 12 good videos was encoded."""
    for i in range(12):
        write_video(tmp_path / "videos" / f"good{i}.mp4", brightness=10 * i, seconds=1 + i % 3)
        (tmp_path / "videos" / f"bad{i}.mp4").write_text("no video" * (i + 1))
    (tmp_path / "extract.py").write_text(WITHOUT_ENCODER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", str(tmp_path / "extract.py")]
    words = ["extract", str(tmp_path / "videos"), "--output", str(tmp_path / "out"), "--device", "cpu", "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run([*launch, *words], capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 1, "the whole says that something failed"
    reports = [json.loads(line) for line in ended.stdout.splitlines()]
    done = [name for report in reports for name in report["videos"]]
    assert sorted(done) == sorted(str(file) for file in (tmp_path / "videos").glob("good*"))
    failed = [json.loads(line)["video"] for line in (tmp_path / "out" / "failed.jsonl").read_text().splitlines()]
    assert sorted(failed) == sorted(str(file) for file in (tmp_path / "videos").glob("bad*"))
    assert sum(told["failed"] for told in reports[0]["ranks"]) == 12
    assert not list((tmp_path / "out").glob("failed-*"))


def test_a_long_report_is_one_write(tmp_path, monkeypatch):
    """Lines of two ranks, which end at the same moment, were cut into each other above 8 kB."""
    written = []

    class Pipe(io.RawIOBase):
        def writable(self):
            return True

        def write(self, content):
            written.append(bytes(content))
            return len(content)

    report = {"videos": {f"{i}.mp4": {} for i in range(2000)}, "ranks": [{"failed": 0}]}
    (tmp_path / "a.mp4").touch()
    monkeypatch.setattr(extract, "extract", lambda *_: report)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(Pipe())))
    assert main(["extract", str(tmp_path / "a.mp4"), "--output", str(tmp_path / "out"), "--json"]) == 0
    assert [json.loads(line) for line in written] == [report]
    assert written[0].endswith(b"}\n")
