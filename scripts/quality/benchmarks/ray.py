"""`hiersum extract` on a Ray cluster beside the ranks of a launcher, on 1, 2 and 4 workers of this machine.

`run` is called by scripts/run_benchmark.py; `ray --videos 200 --workers 1 2 4 --rows 1000000` is the whole. Both sides
are the commands that users type, over the same videos, into new folders, in turns (ranks, Ray, ranks, Ray); the cluster
is there already, as it would be. Start-up is what a command takes for one video. Processor time and memory are those of
all processes behind a command; the former holds on a busy machine too.

A million rows through a function that does nothing show what Ray and the driver cost, and whether the driver grows;
`--rows 0` leaves them out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from quality.benchmarks.video import QUICK, render


VIDEOS, QUICK_VIDEOS = 200, 8
LENGTH_S, QUICK_LENGTH_S = 30, 4
WORKERS, QUICK_WORKERS = (1, 2, 4), (1, 2)
ROWS, QUICK_ROWS = 1_000_000, 1_000
ROUNDS = 2
EXTRACT = ["-m", "hiersum_hf", "extract"]


def run(
    quick: bool, videos: int | None = None, workers: list[int] | None = None, rows: int | None = None
) -> list[dict]:
    if find_spec("ray") is None:
        print('no figures of Ray: pip install "hiersum-hf[ray]"', file=sys.stderr)
        return []
    count = videos or (QUICK_VIDEOS if quick else VIDEOS)
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory(prefix="ray-") as place:
        make(Path(place, "videos"), count, QUICK_LENGTH_S if quick else LENGTH_S)
        each = workers or (QUICK_WORKERS if quick else WORKERS)
        found = [row for number in each for row in beside_ranks(Path(place), number)]
        count_rows = rows if rows is not None else QUICK_ROWS if quick else ROWS
        return found + (nothing(Path(place), count_rows, 1000 * found[0]["ours"] / count) if count_rows else [])


def make(folder: Path, count: int, length_s: int) -> None:
    """Videos of 640 x 360 that differ in bytes and size, and cost the same to read."""
    folder.mkdir()
    render(folder.with_suffix(".mp4"), length_s, QUICK)
    drawn = folder.with_suffix(".mp4").read_bytes()
    for number in range(count):
        free = (8 + number).to_bytes(4, "big") + b"free" + bytes(number)  # a box that players pass over
        (folder / f"{number:04d}.mp4").write_bytes(drawn + free)


def beside_ranks(place: Path, workers: int) -> list[dict]:
    """Overhead, start-up and memory on this many workers."""
    videos = sorted((place / "videos").iterdir())
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(workers)] if workers > 1 else []
    with cluster(workers) as (address, roots):
        on_ray = ["--engine", "ray", "--address", address]
        sides: list[Callable[[str, list[Path]], dict]] = [
            lambda name, given: measured([*launch, *EXTRACT, *map(str, given)], place / name, []),
            lambda name, given: measured([*EXTRACT, *map(str, given), *on_ray], place / name, roots),
        ]
        first = [
            [side(f"one-{workers}-{k}-{turn}", videos[:1]) for k, side in enumerate(sides)] for turn in range(ROUNDS)
        ]
        whole = [[side(f"all-{workers}-{k}-{turn}", videos) for k, side in enumerate(sides)] for turn in range(ROUNDS)]
    found = {key: np.median([[one[key] for one in turn] for turn in whole], axis=0) for key in whole[0][0]}
    start_s = np.median([[one["wall_s"] for one in turn] for turn in first], axis=0)
    on, said = f"{workers} worker{'s' * (workers > 1)}", f"{len(videos)} videos"
    over = [f"{100 * (found[key][1] / found[key][0] - 1):+.1f} % {what}"
            for key, what in (("wall_s", "on the clock"), ("cpu_s", "processor time"))]  # fmt: skip
    processor = f"processor {found['cpu_s'][1]:.1f} s against {found['cpu_s'][0]:.1f} s"
    return [
        row(f"{said} on {on}", found["wall_s"], "s", f"{', '.join(over)}; {processor}; reference: ranks"),
        row(f"start-up and one video on {on}", start_s, "s", "reference: ranks"),
        row(f"memory of a worker, {on}", found["worker_mb"], "MB", "its own pages at most; reference: a rank"),
    ]


def row(what: str, values: Any, unit: str, note: str) -> dict:
    theirs, ours = map(float, values)
    return {"what": what, "ours": ours, "reference": theirs, "unit": unit, "ratio": theirs / ours, "note": note}


def measured(words: list[str], output: Path, roots: list[int]) -> dict[str, float]:
    """Run a command; wall time, processor time of its processes and of those below `roots`, memory of a worker."""
    before = usage(roots)
    seen = dict[Any, tuple[float, float, bool]]()  # of each process the most that was seen
    start_s = time.perf_counter()
    words = [sys.executable, *words, "--output", str(output), "--device", "cpu", "--json"]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(words, stdout=out, stderr=err, text=True)
        while process.poll() is None:
            seen |= {key: tuple(map(max, one, seen.get(key, one))) for key, one in usage([process.pid, *roots]).items()}
            time.sleep(0.2)
        wall_s = time.perf_counter() - start_s
        out.seek(0), err.seek(0)
        if process.returncode:
            raise RuntimeError(err.read())
        reports = [json.loads(line) for line in out if line.startswith("{")]
    if any(report["failed"] or any(one["found"] for one in report["videos"].values()) for report in reports):
        raise RuntimeError("expected all videos to be encoded")
    cpu_s = sum(used_s - before.get(key, (0.0,))[0] for key, (used_s, _, _) in seen.items())
    return {"wall_s": wall_s, "cpu_s": cpu_s, "worker_mb": max(mb for _, mb, is_worker in seen.values() if is_worker)}


def usage(roots: list[int]) -> dict[Any, tuple[float, float, bool]]:
    """Processor seconds, own memory in MB, and whether it is a worker or rank, of processes and those below them."""
    import psutil

    found = {}
    for root in roots:
        with suppress(psutil.Error):
            for process in (psutil.Process(root), *psutil.Process(root).children(recursive=True)):
                with suppress(psutil.Error):
                    times, line = process.cpu_times(), " ".join(process.cmdline())
                    is_rank = "hiersum_hf" in line and "torch.distributed.run" not in line and "--engine" not in line
                    memory_mb = process.memory_full_info().uss / 1e6
                    key = process.pid, process.create_time()
                    found[key] = times.user + times.system, memory_mb, is_rank or line.startswith("ray::")
    return found


@contextmanager
def cluster(cpus: int) -> Iterator[tuple[str, list[int]]]:
    """A Ray cluster of this machine with so many processors: its address and processes."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
    try:
        yield (
            started.address,
            [info.process.pid for infos in started.head_node.all_processes.values() for info in infos],
        )
    finally:
        started.shutdown()


def do_nothing() -> Callable[[Any], None]:
    return lambda item: None


def nothing(place: Path, count: int, video_ms: float) -> list[dict]:
    """Rows through a function that does nothing, on one worker: time a row, memory of the driver after a tenth, all."""
    import psutil

    from hiersum_hf.inference import on_ray

    memory = psutil.Process().memory_info
    with cluster(1) as (address, _), on_ray.connected(address) as connection:
        rows = connection.each(([(number,)] for number in range(count)), do_nothing, place)
        next(rows)  # the worker has started
        start_s, tenth_mb = time.perf_counter(), 0.0
        for number, (_, _, reason) in enumerate(rows, 2):
            if reason:
                raise RuntimeError(reason)
            if number == count // 10:
                tenth_mb = memory().rss / 1e6
        row_ms = 1000 * (time.perf_counter() - start_s) / (count - 1)
        end_mb = memory().rss / 1e6
    if number != count:
        raise RuntimeError(f"expected {count} rows, found {number}")
    said = f"{count:,} rows that do nothing"
    return [
        row(f"{said}: a row", (video_ms, row_ms), "ms", "reference: a video of the first row"),
        row(f"{said}: memory of the driver at the end", (tenth_mb, end_mb), "MB", "reference: after a tenth of them"),
    ]
