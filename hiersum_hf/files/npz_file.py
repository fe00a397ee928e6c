"""Files of several numpy arrays (.npz) from others."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Container
from pathlib import Path

import numpy as np

from hiersum_hf.modeling.errors_hiersum import InputError


MAX_NPZ_BYTES = 2**32  # unpacked; a few MB of zip may hold more than memory


def read_npz(path: str | Path, leave: Container[str] = ()) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file by their names, but for those to leave.

    Raises:
        ValueError: It is no such file, holds pickled objects or too much; names the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # As the archive's directory says, before anything is unpacked.
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_NPZ_BYTES:
            raise InputError(f"more than {MAX_NPZ_BYTES} bytes unpacked")
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files if key not in leave}
    except (
        OSError,
        ValueError,
        EOFError,
        TypeError,
        MemoryError,
        RuntimeError,  # encrypted, or of a kind that zipfile does not know
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(f"{path}: expected an .npz file of arrays, found none ({error}). Make it anew.") from None
