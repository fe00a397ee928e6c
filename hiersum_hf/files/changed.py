"""When a file or folder changed.

What is remembered of it is forgotten then.
"""

from __future__ import annotations

import time
from pathlib import Path


SETTLED_NS = 10**9  # clocks of file systems tick in up to some hundredths of a second


def changed_ns(path: str | Path) -> int:
    """Return when a file last changed, in nanoseconds.

    It is 0 where there is nothing.
    """
    path = Path(path)
    return path.stat().st_mtime_ns if path.exists() else 0


def listing_stamp(folder: str | Path) -> tuple[int, ...]:
    """Return what is another one as soon as files of a folder come or go.

    Two changes within a tick of the clock have one time: within a second of a change each stamp is a new one.
    """
    try:
        found = Path(folder).stat()
    except OSError:
        return (time.monotonic_ns(),)
    is_settled = time.time_ns() - found.st_mtime_ns > SETTLED_NS
    return (found.st_dev, found.st_ino, found.st_mtime_ns if is_settled else -time.monotonic_ns())
