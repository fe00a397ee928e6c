"""Run a program and print the rooms of the package in the order in which their functions are first called.

`house.py walk` starts it on another commit; the package is what PYTHONPATH names.
"""

import os
import runpy
import sys
import threading
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType


PACKAGE = Path(os.environ["PYTHONPATH"], "hiersum_hf")


def main() -> None:
    """Trace the program, whose words follow its path."""
    met: dict[CodeType, str] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        named = not code.co_name.startswith("<") and code.co_filename.startswith(f"{PACKAGE}/")
        if event == "call" and named and code not in met:
            met[code] = Path(code.co_filename).relative_to(PACKAGE).parts[0].removesuffix(".py")

    sys.argv = sys.argv[1:]
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        print(f"status {end.code or 0}")
    finally:
        sys.setprofile(None)
        rooms = [room for room, _ in groupby(met.values())]
        print(f"{len(met)} functions of {len(set(rooms))} rooms; rooms changed {len(rooms) - 1} times")


if __name__ == "__main__":
    main()
