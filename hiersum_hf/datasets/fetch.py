"""Fetch data that lies elsewhere: prepared data sets of the Hub, and folders and files by their address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from huggingface_hub import errors, snapshot_download
from huggingface_hub.constants import HF_HOME

from hiersum_hf.files.escape import without_secrets
from hiersum_hf.files.remote import fetched, is_uri
from hiersum_hf.modeling.errors_hiersum import InputError


CACHE = Path(HF_HOME) / "hiersum"
PREPARED = ("data-*.parquet", "report.json", "dataset_info.json")
ADDRESS = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.+?))?/?")
ID = re.compile(r"[\w.-]+/[\w-][\w.-]*")
FILES = (".h5", ".hdf5", ".mat", ".tsv", ".json")
HTTPError: type[Exception] = vars(errors)["HTTPError"]  # of httpx or httpx2, by the version of huggingface_hub


def fetched_data(data: str) -> str:
    """Return the path of data, fetched once where it lies elsewhere.

    Args:
        data: A path; org/name or hf://datasets/org/name[@revision][/folder], a prepared data set of the Hub, kept in
            its cache; or another address, whose files are kept in HF_HOME/hiersum.

    Raises:
        FileNotFoundError, PermissionError, ImportError, InputError, HierSumError: It cannot be fetched; says why.
    """
    if found := ADDRESS.fullmatch(data):
        return _from_hub(data, *found.groups())
    if is_uri(data):
        return str(fetched(data, CACHE))
    path = Path(data)
    if ID.fullmatch(data) and not path.parent.exists() and path.suffix not in FILES:
        return _from_hub(data, data)
    return data


def _from_hub(data: str, repo_id: str, revision: str | None = None, folder: str | None = None) -> str:
    """Fetch a prepared data set of the Hub; a folder in it where one is named."""
    wanted = [f"{folder}/{name}" if folder else name for name in PREPARED]
    try:
        kept = Path(snapshot_download(repo_id, repo_type="dataset", revision=revision, allow_patterns=wanted))
    except errors.RepositoryNotFoundError:
        _refuse(
            data, "no data set of this name, or one that is private", "Log in with `hf auth login` if it is private."
        )
    except (OSError, ValueError, HTTPError) as error:
        _refuse(
            data, " ".join(str(error).split()), "Give a folder of this machine, or fetch it where there is a network."
        )
    path = kept / folder if folder else kept
    if not (path / "dataset_info.json").is_file():
        _refuse(data, "a data set that was not prepared", "`hiersum prepare` makes one, `hiersum push` uploads it.")
    return str(path)


def _refuse(data: str, found: str, to_do: str) -> NoReturn:
    expected = "expected a folder here, or a prepared data set on the Hub"
    raise InputError(without_secrets(f"{data}: {expected}, found {found.rstrip('.')}. {to_do}")) from None
