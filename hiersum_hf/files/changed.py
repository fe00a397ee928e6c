"""When a file changed.

What is remembered of it is forgotten then.
"""

from __future__ import annotations

from pathlib import Path


def changed_ns(path: str | Path) -> int:
    """Return when a file last changed, in nanoseconds.

    It is 0 where there is nothing.
    """
    path = Path(path)
    return path.stat().st_mtime_ns if path.exists() else 0
