"""Find the checkpoint of a run that can be resumed.

A run that was killed while saving leaves a half-written one.
"""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import sort_checkpoints

from hiersum_hf.files.json_file import read_json


def is_whole(checkpoint: str | Path) -> bool:
    """Tell whether every file of a checkpoint was written to its end.

    `trainer_state.json` is the last one.
    """
    folder = Path(checkpoint)
    try:
        read_json(folder / "trainer_state.json")
        for path in folder.glob("*.safetensors"):
            with safe_open(path, "pt"):  # compares the length with the header
                pass
    except (OSError, ValueError, SafetensorError):
        return False
    return all(zipfile.is_zipfile(path) for path in (*folder.glob("*.pt"), *folder.glob("*.pth")))


def last_checkpoint(run: str | Path) -> str | None:
    """Find the last whole checkpoint of a run folder.

    Warns of half-written ones after it. None if there is none.
    """
    for folder in reversed(sort_checkpoints(str(run))):
        if is_whole(folder):
            return folder
        logging.getLogger(__name__).warning(f"{folder}: skipped, the run was stopped while it was written.")
    return None
