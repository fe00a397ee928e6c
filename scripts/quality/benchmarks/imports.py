"""How long a user waits for the package to be imported, for the command to answer and for its first decoded frame.

`run` is called by scripts/run_benchmark.py. Every command starts an interpreter of its own; sides take turns after a
warm-up, median of 7, of the first frame of 5.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from hiersum_hf.synthetic import features as synthetic


BASE = "import torch; from transformers import PreTrainedModel"
PACKAGE = "import hiersum_hf"
LIMIT = 0.3  # seconds
CALL = "import sys; sys.argv = ['hiersum']; from hiersum_hf.cli.main import main; main({})"
COMMANDS = {
    "import hiersum_hf": (f"{BASE}; {PACKAGE}", BASE),
    "hiersum --version": (CALL.format(["--version"]), "pass"),
    "hiersum --help": (CALL.format(["--help"]), "pass"),
    "hiersum summarize --help": (CALL.format(["summarize", "--help"]), "pass"),
    "hiersum with an unknown command": (CALL.format(["nonsense"]), "pass"),
    "hiersum train --help": (CALL.format(["train", "--help"]), PACKAGE),
}
# Any other program that imports the package loads PyTorch and Transformers before all else
FIRST_FRAME = """import os, sys
sys.argv = [{program!r}]
from hiersum_hf.cli.main import main
from hiersum_hf.video.picture import Images
Images.image = lambda *_: os._exit(0)
main(["summarize", {video!r}, "--output", {video!r} + ".summary"])
"""


def run(quick: bool) -> list[dict]:
    """Rows in seconds over what is imported anyway, beside the limit, and to the first frame."""
    rows = []
    for what, (code, base) in COMMANDS.items():
        rounds = [[seconds(c)[0] for c in (code, base)] for _ in range(2 if quick else 8)]
        with_it, without = np.median(rounds[1:], axis=0).tolist()
        more = max(with_it - without, 1e-3)
        note = f"{with_it:.2f} s, without {without:.2f} s (`{base}`); reference: the limit"
        rows.append({"what": what, "ours": more, "reference": LIMIT, "unit": "s", "ratio": LIMIT / more, "note": note})
    return [*rows, *first_frame(quick)]


def first_frame(quick: bool) -> list[dict]:
    """Rows of `hiersum summarize` from its start to its first decoded frame, beside loading everything first."""
    with tempfile.TemporaryDirectory() as folder:
        whole, video = synthetic.make_video(7), Path(folder, "clip.mp4")
        synthetic.render(replace(whole, segments=whole.segments[:3]), video)
        codes = [FIRST_FRAME.format(program=program, video=str(video)) for program in ("hiersum", "other")]
        rounds = [[seconds(code) for code in codes] for _ in range(2 if quick else 6)]
    (ours, all_first) = np.median(rounds[1:], axis=0)
    return [
        {
            "what": f"hiersum summarize to its first frame, {what}",
            "ours": float(own),
            "reference": float(other),
            "unit": "s",
            "ratio": float(other / own),
            "note": "reference: PyTorch and Transformers imported first",
        }
        for what, own, other in zip(("wall", "processor"), ours, all_first, strict=True)
    ]


def seconds(code: str) -> tuple[float, float]:
    """Wall and processor seconds of a program."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
