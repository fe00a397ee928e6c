"""How long a user waits for the package to be imported and for the command to answer.

`run` is called by scripts/run_benchmark.py. Every command starts an interpreter of its own; sides take turns after a
warm-up, median of 7.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np


BASE = "import torch; from transformers import PreTrainedModel"
PACKAGE = "import hiersum_hf"
LIMIT = 0.3  # seconds
CALL = "from hiersum_hf.cli.main import main; main({})"
COMMANDS = {
    "import hiersum_hf": (f"{BASE}; {PACKAGE}", BASE),
    "hiersum --help": (CALL.format(["--help"]), PACKAGE),
    "hiersum train --help": (CALL.format(["train", "--help"]), PACKAGE),
    "hiersum with an unknown command": (CALL.format(["nonsense"]), PACKAGE),
}


def run(quick: bool) -> list[dict]:
    """Rows in seconds over what is imported anyway, beside the limit."""
    rows = []
    for what, (code, base) in COMMANDS.items():
        rounds = [[seconds(c) for c in (code, base)] for _ in range(2 if quick else 8)]
        with_it, without = np.median(rounds[1:], axis=0).tolist()
        more = max(with_it - without, 1e-3)
        note = f"{with_it:.2f} s, without {without:.2f} s (`{base}`); reference: the limit"
        rows.append({"what": what, "ours": more, "reference": LIMIT, "unit": "s", "ratio": LIMIT / more, "note": note})
    return rows


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    return time.perf_counter() - start
