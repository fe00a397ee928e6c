"""Prepare, train on and evaluate a made-up SM-MrHiSum of the published size, by the commands.

`run` is called by scripts/run_benchmark.py. The files have the form of sm_mrhisum.h5: CLIP features of 200 seconds,
40 transcripts, 5 sentences of a script a video, random numbers that teach nothing. The reference of each command is
h5py, which reads every member once as the set's own loader does.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np


VIDEOS, QUICK_VIDEOS = 29_917, 24
ROWS, WIDTH = 200, 512
SPOKEN, SCRIPT = 40, 5  # texts of a video
ONE_PASS = "--num_train_epochs 1 --save_strategy no --eval_strategy no --load_best_model_at_end False"
NETWORK = f"--hidden_size 128 --num_layers 2 --use_cpu True {ONE_PASS}"
PEAK = """
import resource, sys
from hiersum_hf.cli.main import main
status = main(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
sys.exit(status)
"""


def run(quick: bool, videos: int | None = None) -> list[dict]:
    """A row for each command in seconds, its peak memory in the note."""
    count = videos or (QUICK_VIDEOS if quick else VIDEOS)
    with tempfile.TemporaryDirectory(prefix="hiersum-benchmark-") as name:
        folder = Path(name)
        write_source(folder, count)
        start = time.perf_counter()
        read_members(folder / "sm_mrhisum.h5")
        read_s = time.perf_counter() - start
        data, trained, results = folder / "prepared", folder / "run", folder / "results"
        commands = {
            "prepare": f"prepare smmrhisum --source {folder} --output {data} --half",
            "train, one pass": f"train smmrhisum --data {data} --output_dir {trained} {NETWORK}",
            "evaluate": f"evaluate smmrhisum --data {data} --scorer {trained} --device cpu --output {results}",
        }
        return [row(what, command.split(), folder, read_s, count) for what, command in commands.items()]


def row(what: str, words: list[str], folder: Path, read_s: float, count: int) -> dict:
    peak, start = folder / "peak", time.perf_counter()
    environment = os.environ | {"HF_DATASETS_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(peak), *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"hiersum {' '.join(words)}: expected exit 0, found {done.returncode}:\n{done.stderr[-2000:]}"
        )
    spent_s = time.perf_counter() - start
    note = f"{count:,} videos x {ROWS} x {WIDTH}; peak memory {float(peak.read_text()):,.0f} MB"
    return {"what": what, "ours": spent_s, "reference": read_s, "unit": "s", "ratio": read_s / spent_s, "note": note}


def write_source(folder: Path, count: int) -> None:
    """sm_mrhisum.h5 and a split in the published proportions, features cut from one pool of random numbers."""
    rng = np.random.default_rng(0)
    pool = rng.standard_normal(ROWS * WIDTH * 8).astype(np.float32)

    def features(rows: int) -> np.ndarray:
        start = rng.integers(len(pool) - rows * WIDTH)
        return pool[start : start + rows * WIDTH].reshape(rows, WIDTH)

    names = [f"video_{k}" for k in range(1, count + 1)]
    firsts = np.arange(0, ROWS, 10)
    starts_s = np.arange(SPOKEN) * (ROWS / SPOKEN)
    with h5py.File(folder / "sm_mrhisum.h5", "w") as file:
        for name in names:
            scores, spoken = rng.random(ROWS), features(SPOKEN)
            members = {
                "n_frames": np.array(ROWS * 30),
                "change_points": np.stack([firsts, np.minimum(firsts + 10, ROWS - 1)], axis=1),
                "gt_summary": (scores > 0.85).astype(np.float32),
                "gtscores": scores,
                "video_embeddings": features(ROWS),
                "script_embeddings": features(SCRIPT),
                "transcript_embeddings": spoken,
                "transcript_timestamps": np.stack([starts_s, starts_s + 4], axis=1),
                "aligned_transcripts": spoken[np.arange(ROWS) * SPOKEN // ROWS],
            }
            for key, value in members.items():
                file[f"{name}/{key}"] = value
    held = max(1, round(count * 0.0625))  # 1,875 and 1,864 of 29,917
    parts = {"train": names[2 * held :], "val": names[:held], "test": names[held : 2 * held]}
    (folder / "sm_mrhisum_split.json").write_text(json.dumps(parts))


def read_members(path: Path) -> None:
    with h5py.File(path) as file:
        for name in file:
            for member in file[name].values():
                member[()]
