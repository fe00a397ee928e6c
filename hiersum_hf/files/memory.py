"""Memory that nobody uses any more, given back to the system."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def give_back_memory() -> None:
    """Let the C library give back what is free, where it is glibc.

    It keeps the pictures that one thread made and another let go of: half a gigabyte in ten minutes of 1920 x 1080.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
