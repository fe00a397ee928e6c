"""Processes that read other people's HDF5 files.

HDF5's library can hang, crash or fill memory at a file that is damaged or made for that, and no limit inside a process
ends it. So the library runs in another process (`h5_worker`). If that process ends, the file that it was reading is at
fault. It reads one file after the other; a new process follows when it has ended or has met damage.
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

from hiersum_hf.modeling.errors_hiersum import InputError


SCRIPT = Path(__file__).with_name("h5_worker.py")
LIMIT_S, CLOCK_S = 60.0, 600.0  # for one answer, of the processor and on the clock, as disks may be slow
LEAVE_OUT = "fetch it again or leave it out"
KEPT = 4  # processes that wait for work, for as many threads


class H5Error(InputError):
    """A file is damaged, or reading it ended the process that did."""


class Worker:
    """A process that reads HDF5 files.

    It does so for one thread at a time of the process that started it.
    """

    def __init__(self) -> None:
        # h5py is found where this process finds it, but no file there stands for a module of Python itself
        paths = os.pathsep.join(str(path) for path in sys.path if path)
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # numpy takes memory for each thread
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(SCRIPT), str(LIMIT_S), str(CLOCK_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HIERSUM_PATHS": paths} | one_thread,
        )
        self.pid, self.is_fit = os.getpid(), True
        self.end = weakref.finalize(self, _end, self.process, self.pid)  # called when Python ends, too

    @property
    def is_usable(self) -> bool:
        """Whether it lives, is ours and has met no damage."""
        return self.is_fit and self.pid == os.getpid() and self.process.poll() is None

    def ask(self, question: list[Any], array: np.ndarray | None = None) -> list[dict[str, Any]]:
        """Send a question with its array, and give all answers.

        `h5_worker` describes both.

        Raises:
            H5Error: The process ended.
        """
        self.is_fit = False  # until all answers have come
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
        """Read one answer. Its `value` is the array, if it has one."""
        pipe: Any = self.process.stdout
        answer: dict[str, Any] = json.loads(pipe.readline())
        if "dtype" in answer:
            kind, shape = np.dtype(answer["dtype"]), answer["shape"]
            content = np.empty(math.prod(shape) * kind.itemsize, np.uint8)
            if pipe.readinto(content.data) != content.nbytes:
                raise EOFError
            answer["value"] = content.view(kind).reshape(shape) if content.nbytes else np.empty(shape, kind)
        return answer

    def _last_words(self) -> str:
        """End the process, if it still runs, and say why it ended."""
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
        return f"reading it {known.get(name, f'ended a process with {name}')}; {LEAVE_OUT}"


_idle: list[Worker] = []


def ask(path: Path, where: str, question: str, *arguments: Any, array: np.ndarray | None = None) -> list[Any]:
    """Ask another process about a file.

    Args:
        path: The file.
        where: Which part of the file is asked about, such as ", video x". Errors name it.
        question: One of `h5_worker.QUESTIONS`.
        arguments: Arguments of the question.
        array: The array to add to the file, if any.

    Returns:
        The answers.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no HDF5 file, links to other files or exceeds a limit.
        H5Error: It is damaged, or reading it takes too long, takes too much memory or ends the process.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected an HDF5 file, found no such file.")
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
        raise InputError(f"{named}: {last['refused']}")
    if array is not None:
        raise H5Error(f"{named}: expected to add to the file, found: {last['damaged']}")
    told = str(last["damaged"]).rstrip(".")
    to_do = "" if LEAVE_OUT in told else ". Fetch it again"
    raise H5Error(f"{named}: expected a complete HDF5 file, found a broken one: {told}{to_do}")


def _take() -> Worker:
    """Take a process that waits for work, or start one."""
    with suppress(IndexError):  # another thread was faster
        while _idle:
            worker = _idle.pop()
            if worker.is_usable:
                return worker
    return Worker()


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """End a process and close its pipes."""
    if os.getpid() == owner:  # a fork must not end its parent's process
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe:
                pipe.close()
