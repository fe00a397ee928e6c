"""Feeds damaged files to every parser of the package, and counts those that are neither accepted nor refused cleanly.

    python scripts/quality/fuzz.py                             # all targets: 100,000 inputs each, 5,000 per container
    python scripts/quality/fuzz.py srt tvsum-h5 --inputs 2000  # these targets
    python scripts/quality/fuzz.py srt --first 1234 --inputs 1 --keep /tmp/input    # one input again, and keep it

Input i follows from the seed, the target's name and i alone. Each target is read in a process of its own with 2 GB of
memory; an input that takes more, more than 5 s of the processor, or that ends the process, counts as uncaught. HDF5
files are read in another process, as always, with the same limits; its end is an error like others. Times are the
processor's, without that of HDF5. Exit status 1 if any input is uncaught. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fuzzing.damage import make_input
from fuzzing.targets import EXPECTED, TARGETS, Target
from hiersum_hf.files import h5_process


MEMORY, SLOW_S, HANG_S = 2 << 30, 5.0, 300  # bytes, seconds of the processor, seconds on the wall
SHOWN = 10  # different failures of a target


class TimeLimit(BaseException):
    """Not an Exception: no reader may take it for damage."""


def work(name: str, indices: range, seed: int, root: Path, keep: bool, deadline: float, send: Any) -> None:
    """In a process: reads the inputs one after the other and sends (index, verdict, ms, why) of each."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # decoders talk
    warnings.simplefilter("ignore")
    target: Target = TARGETS[name]
    folders = list(target.files())
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, in_use + MEMORY))
    h5_process.LIMIT_S = SLOW_S
    signal.signal(signal.SIGPROF, expire)
    for index in indices:
        if time.monotonic() > deadline:
            return
        folder = root / str(index)
        make_input(folder, folders, target.damage, random.Random(f"{seed}/{name}/{index}"))
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SLOW_S)
        try:
            verdict, why = read(target, folder)
        except TimeLimit:
            verdict, why = "uncaught", f"more than {SLOW_S:g} s, in {place(sys.exc_info()[2])}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        send.send((index, verdict, (time.process_time() - begin) * 1000, why))
        if not keep:
            shutil.rmtree(folder)


def expire(*_: Any) -> None:
    raise TimeLimit


def read(target: Target, folder: Path) -> tuple[str, str]:
    try:
        target.read(folder)
        return "accepted", ""
    except EXPECTED as error:
        return "refused", type(error).__name__
    except Exception as error:
        return "uncaught", f"{type(error).__name__} in {place(error.__traceback__)}: {error!s:.150}"


def place(trace: Any) -> str:
    """The innermost line of the package in a traceback."""
    lines = [frame for frame in traceback.extract_tb(trace) if "hiersum" in frame.filename]
    return f"{Path(lines[-1].filename).name}:{lines[-1].lineno}" if lines else "?"


@dataclass
class Tally:
    """What a target made of its inputs; `failures` are the first of each kind, with the index that gives them again."""

    target: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    uncaught: int = 0
    slowest_ms: float = 0.0
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)

    def add(self, index: int, verdict: str, ms: float, why: str) -> None:
        self.inputs += 1
        self.seconds += ms / 1000
        setattr(self, verdict, getattr(self, verdict) + 1)
        self.slowest_ms = max(self.slowest_ms, ms)
        if verdict == "uncaught" and len(self.failures) < SHOWN:
            known = {kind.split(": ")[0] for kind in self.failures}
            if why.split(": ")[0] not in known:
                self.failures[why] = index

    def row(self) -> str:
        counts = f"{self.accepted} | {self.refused} | {self.uncaught}"
        return f"| {self.target} | {self.inputs} | {counts} | {self.slowest_ms:.0f} | {self.seconds:.0f} |"


def fuzz(name: str, indices: range, seed: int, minutes: float, keep: Path | None) -> Tally:
    """Starts a process for the target, and another one behind each input that ends it."""
    tally, begin, bar = Tally(name), time.monotonic(), tqdm(desc=name, total=len(indices), unit="input", leave=False)
    while indices and time.monotonic() < begin + minutes * 60:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            receive, send = get_context("fork").Pipe(duplex=False)
            arguments = (name, indices, seed, keep or Path(folder), keep is not None, begin + minutes * 60, send)
            process = get_context("fork").Process(target=work, args=arguments)
            process.start()
            send.close()
            try:
                while receive.poll(HANG_S):
                    tally.add(*(told := receive.recv()))
                    indices = range(told[0] + 1, indices.stop)
                    bar.update()
            except EOFError:  # done, or dead
                process.join(HANG_S)
            if process.is_alive():
                process.kill()
                process.join()
            if process.exitcode and indices:
                tally.add(indices.start, "uncaught", 0.0, f"the process ended with {process.exitcode}")
                indices = indices[1:]
    bar.close()
    return tally


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    arguments.add_argument("--inputs", type=int, help="of each target; default: 100,000, of containers 5,000")
    arguments.add_argument("--first", type=int, default=0, help="number of the first input")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--minutes", type=float, default=1e6, help="for each target, then the next one begins")
    arguments.add_argument("--keep", type=Path, help="leave the inputs in this folder")
    arguments.add_argument("--json", type=Path, help="write the figures to this file too")
    args = arguments.parse_args()
    if unknown := set(args.targets) - TARGETS.keys():
        arguments.error(f"expected targets of {', '.join(TARGETS)}; found {', '.join(sorted(unknown))}")
    tallies = []
    print("| target | inputs | accepted | refused | uncaught | slowest, ms | s |\n|---|---|---|---|---|---|---|")
    for name in args.targets or TARGETS:
        indices = range(args.first, args.first + (args.inputs or TARGETS[name].inputs))
        tallies.append(fuzz(name, indices, args.seed, args.minutes, args.keep))
        print(tallies[-1].row(), flush=True)
        for why, index in tallies[-1].failures.items():
            print(f"  {name} --first {index}: {why}", file=sys.stderr, flush=True)
        if args.json:
            args.json.write_text(json.dumps([asdict(tally) for tally in tallies], indent=1) + "\n", encoding="utf-8")
    return int(any(tally.uncaught for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
