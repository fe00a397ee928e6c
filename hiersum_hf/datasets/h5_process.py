"""The processes that read strangers' HDF5 files, one file at a time.

HDF5's library can hang, crash or fill memory at a file that is damaged or made for it, and no limit inside a process
ends that. So it runs in another one (`h5_worker`), whose end is an error of the file it was at; the next file gets a
new one, as it does behind a file that was found to be damaged.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np


SCRIPT = Path(__file__).with_name("h5_worker.py")
LIMIT_S, CLOCK_S = 60.0, 600.0  # for one answer, of the processor and on the clock: disks are slow, machines busy
KEPT = 4  # processes without work: as many threads may read


class H5Error(ValueError):
    """A file is damaged, or reading it ended the process that did."""


class Worker:
    """A process that reads HDF5 files. It serves the process and the thread that has taken it, no other."""

    def __init__(self) -> None:
        paths = os.pathsep.join(str(path) for path in sys.path if path)  # where this process finds h5py
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # of numpy, which takes memory for each
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), str(LIMIT_S), str(CLOCK_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths} | one_thread,
        )
        self.pid, self.is_fit = os.getpid(), True
        self.end = weakref.finalize(self, _end, self.process, self.pid)  # at the latest when Python ends

    @property
    def is_usable(self) -> bool:
        """Whether it may be asked: it is this process's own, lives, and has met no damage."""
        return self.is_fit and self.pid == os.getpid() and self.process.poll() is None

    def ask(self, question: list[Any], array: np.ndarray | None = None) -> list[dict[str, Any]]:
        """All answers to a question, as `h5_worker` describes both; `array` is sent along.

        Raises:
            H5Error: The process ended.
        """
        self.is_fit = False  # until all answers are here
        try:
            self._send(question, array)
            answers = [self._receive()]
            while "done" not in answers[-1]:
                answers.append(self._receive())
        except (EOFError, BrokenPipeError, json.JSONDecodeError):
            raise H5Error(self._last_words()) from None
        self.is_fit = not any("damaged" in answer for answer in answers)
        return answers

    def _send(self, question: list[Any], array: np.ndarray | None) -> None:
        pipe: Any = self.process.stdin
        pipe.write(json.dumps([None if array is None else array.nbytes, *question]).encode() + b"\n")
        if array is not None and array.nbytes:
            pipe.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        pipe.flush()

    def _receive(self) -> dict[str, Any]:
        """One answer, an array as its `value`."""
        pipe: Any = self.process.stdout
        answer = json.loads(pipe.readline())
        if "dtype" in answer:
            kind, shape = np.dtype(answer["dtype"]), answer["shape"]
            content = np.empty(math.prod(shape) * kind.itemsize, np.uint8)
            if pipe.readinto(content.data) != content.nbytes:
                raise EOFError
            answer["value"] = content.view(kind).reshape(shape) if content.nbytes else np.empty(shape, kind)
        return answer

    def _last_words(self) -> str:
        """Ends the process, if it has not ended, and says why it did."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.end()
        code = self.process.returncode
        name = f"exit status {code}" if code >= 0 else signal.Signals(-code).name
        known = {
            "SIGPROF": f"takes more than {LIMIT_S:g} s of the processor",
            "SIGALRM": f"takes more than {CLOCK_S:g} s",
            "SIGKILL": "ended a process with SIGKILL (most often for want of memory)",
        }
        return f"reading it {known.get(name, f'ended a process with {name}')}; fetch it again or leave it out"


_idle: list[Worker] = []


def ask(path: Path, where: str, question: str, *arguments: Any, array: np.ndarray | None = None) -> list[Any]:
    """All answers to a question about a file but the last, which says that there are no more.

    Args:
        where: What is asked about in the file, ", video x" for example, to be named where it is damaged.
        question: One of `h5_worker.QUESTIONS`, with its arguments.
        array: What is to be added to the file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no HDF5 file, or has something that is refused: links to other files, more than the limits.
        H5Error: It is damaged; reading that takes too long, too much memory or ends the process counts as that.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    worker = _take()
    try:
        *answers, last = worker.ask([os.path.abspath(path), question, *arguments], array)
    except (H5Error, MemoryError) as error:
        last = {"done": False, "is_open": True, "damaged": str(error)}
    finally:
        if worker.is_fit and len(_idle) < KEPT:
            _idle.append(worker)
        else:
            worker.end()
    if last["done"]:
        return answers
    named = f"{path}{where if last['is_open'] else ''}"
    if "refused" in last:
        raise ValueError(f"{named}: {last['refused']}")
    expected = "a complete HDF5 file, found a broken one" if array is None else "to add to the file, found"
    raise H5Error(f"{named}: expected {expected}: {last['damaged']}")


def _take() -> Worker:
    """A process without work, or a new one."""
    with suppress(IndexError):  # another thread was faster
        while _idle:
            worker = _idle.pop()
            if worker.is_usable:
                return worker
    return Worker()


def _end(process: subprocess.Popen, owner: int) -> None:
    if os.getpid() == owner:  # not in a fork of it
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe:
                pipe.close()
