"""MATLAB files of other people, read by another process.

scipy's reader (1.17.1) can end its process at a damaged file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from hiersum_hf.modeling.errors_hiersum import InputError


LIMIT_S = 60.0
SCRIPT = """
import io, os, sys
sys.path += os.environ["HIERSUM_PATHS"].split(os.pathsep)  # behind Python's own, which nothing may shadow
import numpy as np
from scipy.io import loadmat
with open(sys.argv[1], "rb") as file:
    found = loadmat(file, variable_names=sys.argv[2:])
content = io.BytesIO()
np.savez(content, **{name: found[name] for name in sys.argv[2:] if name in found})
sys.stdout.buffer.write(content.getvalue())
"""


def read_mat(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read those of the named arrays that a MATLAB 5 file has.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, holds other things than arrays under these names, or takes too long.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a MATLAB file, found no such file.")
    paths = os.pathsep.join(entry for entry in sys.path if entry)  # scipy is found where this process finds it
    environment = os.environ | {"HIERSUM_PATHS": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-I", "-c", SCRIPT, os.path.abspath(path), *names]
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=LIMIT_S)
        if done.returncode == 0:
            with np.load(BytesIO(done.stdout), allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        if done.returncode < 0:
            reason = f"a process that ended with {signal.Signals(-done.returncode).name}"
    except subprocess.TimeoutExpired:
        reason = f"one that takes more than {LIMIT_S:g} s"
    except (BadZipFile, EOFError, ValueError) as error:  # no arrays of numbers or text
        reason = str(error)
    raise InputError(
        f"{path}: expected a MATLAB file with {', '.join(names)}, found a damaged one ({reason:.200}). Fetch it again."
    )
