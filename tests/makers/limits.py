"""A full disk and too little memory."""

import resource
from contextlib import contextmanager


@contextmanager
def limited(kind, amount):
    """As if no file (RLIMIT_FSIZE) could grow, or no memory (RLIMIT_AS) be had, beyond so many bytes."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (amount, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def small_disk():
    return limited(resource.RLIMIT_FSIZE, 4096)
