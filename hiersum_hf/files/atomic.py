"""Files and folders written whole or not at all.

They appear under their final name only once they are complete.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO

from safetensors import SafetensorError

from hiersum_hf.files.escape import without_secrets
from hiersum_hf.modeling.errors_hiersum import HierSumError


try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

HOST = sha256(platform.node().encode()).hexdigest()[:8]
NAMED_S, DAY_S = 10.0, 86400.0  # a file is locked once it is there, and takes its name once it is closed
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # one letter is a drive of Windows


@contextmanager
def aside(path: str | Path) -> Iterator[Path]:
    """Give a hidden name beside `path` to write to.

    What was written, a file or a folder, takes its place at the end of the block. Where the block fails nothing is left
    of it, and what was there before stays. A folder goes into one that is there if that is empty.

    Raises:
        OSError: No room, or no right to write there; names `path`.
        HierSumError: It is an address.
    """
    refuse_uri(path)
    path = Path(os.path.abspath(path))
    partial = path.with_name(f".{path.name[:50]}.{HOST}-{secrets.token_hex(4)}.partial")
    try:
        yield partial
        if partial.is_dir() and path.is_dir():
            if any(path.iterdir()):
                raise OSError(errno.ENOTEMPTY, f"{path}: expected an empty folder")
            for file in partial.iterdir():
                shutil.move(file, path)
        else:
            os.replace(partial, path)  # atomic, for both lie in one folder
    except OSError as error:
        if error.errno in NO_ROOM:
            told = f"{path}: expected room for it, found none. Make room and run the same again: what is done stays."
            raise OSError(error.errno, told) from error
        if error.filename == str(partial):  # nobody knows the hidden name
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    except SafetensorError as error:
        raise OSError(f"{path}: expected room for it, found: {error}") from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


@contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """Give a file to write to as `aside` does, which `remove_left_over` removes if the process is killed meanwhile.

    Raises as `aside`.
    """
    with aside(path) as partial, partial.open("xb") as file:
        with suppress(OSError):  # a file system without locks
            _lock(file)
        yield file


def remove_left_over(folder: Path, pattern: str) -> None:
    """Remove what killed processes left of files of these names that they wrote by `writing`.

    What a process still writes is locked. As some network file systems have locks within a machine alone, what others
    wrote is only removed a day after it last changed.
    """
    for partial in folder.glob(f".{pattern}.*.partial"):
        with suppress(OSError), partial.open("r+b") as file:
            is_own = partial.name.split(".")[-2].startswith(HOST)
            if time.time() - os.fstat(file.fileno()).st_mtime > (NAMED_S if is_own else DAY_S):
                _lock(file)
                partial.unlink()


def _lock(file: IO[bytes]) -> None:
    """Lock a file until it is closed or the process ends.

    Raises:
        OSError: Another process holds it, or there are no locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOLCK, "no locks")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all.

    Raises as `aside`.
    """
    with aside(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write bytes, whole or not at all.

    Raises as `aside`.
    """
    with aside(path) as partial:
        partial.write_bytes(content)


def refuse_uri(path: str | Path) -> None:
    """Refuse an address such as s3://bucket/x, which would become a folder of this machine called "s3:".

    Raises:
        HierSumError: It is one, also where `Path` took one of its slashes.
    """
    if URI.match(str(path)):
        address = without_secrets(re.sub(r":/(?!/)", "://", str(path), count=1))
        raise HierSumError(
            f"{address}: expected a path on this machine, found an address. Give a folder, a mounted one too, and copy "
            "it there afterwards."
        )


def refuse_unwritable(folder: Path, content: str) -> None:
    """Refuse a folder that cannot be made or written to.

    Raises:
        NotADirectoryError: It or a folder above it is a file.
        PermissionError: It cannot be written to.
        HierSumError: It is an address.
    """
    refuse_uri(folder)
    there = next(above for above in (folder, *folder.parents) if above.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there}: expected a folder for {content}, found a file.")
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{folder}: expected a folder that can be written to, found that {there} cannot")
