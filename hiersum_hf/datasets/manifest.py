"""Note what a prepared folder is filled with.

The note is written before the first video, so that no two sources or settings mix. It is `.plan.json` and holds the
settings, a fingerprint of the source, the version of this package and the profile of the videos, which fixes the
schema.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hiersum_hf.datasets.consistency import Profile
from hiersum_hf.files.atomic import write_text
from hiersum_hf.files.json_file import read_json
from hiersum_hf.modeling.errors_hiersum import HierSumError


FORMAT = 1  # of the prepared folder
MARK = ".plan.json"


def make_plan(ids: Sequence[str], source: Iterable[str | Path], **settings: Any) -> dict[str, Any]:
    """Make a plan of the settings and a fingerprint.

    The fingerprint is of the settings, the videos and the source.
    """
    plan = {"format": FORMAT, "version": version("hiersum-hf"), **settings}
    return plan | {"fingerprint": fingerprint(plan, ids, source)}


def fingerprint(plan: dict[str, Any], ids: Sequence[str], source: Iterable[str | Path]) -> str:
    """Digest the settings, the videos and the source files.

    Of the files it is names, sizes and times; prepared folders among them are left out.
    """
    digest = hashlib.sha256(json.dumps([plan, list(ids)], sort_keys=True).encode())
    for path in map(Path, source):
        prepared = {mark.parent for mark in path.rglob(MARK)}
        # Name, size and time stand for the content: sources have hundreds of gigabytes. An output inside the source
        # grows meanwhile and does not count.
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and prepared.isdisjoint(file.parents):
                stat = file.stat()
                digest.update(f"{file.relative_to(path)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def claimed(output: Path, plan: dict[str, Any]) -> Profile | None:
    """Read the profile of a folder that was begun with this plan.

    None if the folder is new or holds no videos yet.

    Raises:
        ValueError: It holds videos of another plan, or something else.
    """
    if not (output / MARK).is_file():
        if output.exists() and any(output.iterdir()):
            raise HierSumError(f"{output}: expected a new or prepared folder, found other files in it. Choose another.")
        return None
    found = read_json(output / MARK)
    if not isinstance(found, dict) or not isinstance(found.get("profile"), dict):
        raise HierSumError(
            f"{output / MARK}: expected a plan with its profile, found {found!r:.80}. Choose another folder."
        )
    if {key: found.get(key) for key in plan} == plan:
        try:
            return Profile(**found["profile"])
        except TypeError as error:
            expected = "expected the profile of a prepared folder"
            raise HierSumError(f"{output / MARK}: {expected}: {error}. Choose another folder.") from None
    if not any(output.glob("data-*.parquet")):
        return None
    if found.get("version") != plan["version"]:
        made, now = found.get("version", "an earlier version"), f"this is {plan['version']}, which may read otherwise"
        raise HierSumError(f"{output}: prepared before by hiersum-hf {made}; {now}. Choose another folder.")
    changed = sorted(key for key in plan if found.get(key) != plan[key])
    raise HierSumError(f"{output}: prepared before with another {', '.join(changed)}. Choose another folder.")


def claim(output: Path, plan: dict[str, Any], profile: Profile) -> None:
    """Mark the folder with the plan and the profile.

    It is made where it is missing.
    """
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / MARK, json.dumps(plan | {"profile": asdict(profile)}))


def check_finished(folder: str | Path) -> None:
    """Refuse a prepared folder whose preparation was interrupted.

    Raises:
        ValueError: It is one; any other folder passes.
    """
    folder = Path(folder)
    begun = (folder / MARK).is_file() or any(folder.glob("data-*.parquet"))
    if begun and not (folder / "report.json").is_file():
        raise HierSumError(
            f"{folder}: expected a finished prepared folder, found no report.json in it: not finished. Run "
            "the same `hiersum prepare` again; it goes on where it stopped."
        )
