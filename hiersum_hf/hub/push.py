"""Push a run or a prepared data set to the Hub.

A push is one commit, which arrives whole or not at all.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from glob import escape
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import HfApi, errors, hf_hub_url
from huggingface_hub.errors import LocalTokenNotFoundError

from hiersum_hf.files.json_file import read_json_object
from hiersum_hf.hub.benchmark import BASELINES, ENTRIES, TASKS, entries
from hiersum_hf.hub.card import LIBRARY, LICENCE, RULES, card_data, write_card
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.pipeline_hiersum import HierSumPipeline
from hiersum_hf.results import Results
from hiersum_hf.scoring.checkpoint import load_checkpoint


MARKS = {"model": "config.json", "dataset": "dataset_info.json"}  # without it a repository is something else's
BESIDE_WEIGHTS = ("recipe.yaml", "results.json", "scores.png")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "config.json", "preprocessor_config.json", "*.py")
REPLACED = {  # of an earlier push, where this one does not have them
    "model": [
        "*.safetensors",
        "*.safetensors.index.json",
        "adapter_config.json",
        "*_hiersum.py",
        "LICENSE",
        ENTRIES,
        *BESIDE_WEIGHTS,
    ],
    "dataset": ["data-*.parquet", TASKS, BASELINES],
}
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
NO_COPY = {".gitattributes", "README.md", "LICENSE"}  # what a repository may hold before the first push
HTTPError: type[Exception] = vars(errors)["HTTPError"]  # of httpx or httpx2, by the version of huggingface_hub


def push(
    folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    token: str | None = None,
    base: str | None = None,
    benchmark: str | None = None,
) -> str:
    """Upload a run, a checkpoint or a prepared data set.

    The folder shows which of them it is.

    Args:
        folder: The run or the prepared folder; nothing in it is changed.
        repo_id: "org/name". What an earlier push left there is replaced, and stays in the history. Folders there stay.
        private: Whether a repository made for it is private; default: the organisation's setting.
        token: Of the Hub; default: HF_TOKEN or that of `hf auth login`.
        base: Hub id of an adapter's base, where it was trained on a local folder.
        benchmark: Hub id of a benchmark (`hiersum evaluate --benchmark`) whose leaderboard shall have the results.

    Returns:
        The repository's address.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: The folder is neither, or not complete; a bad id; a repository that holds something else.
        PermissionError: Not logged in, or no right to write there.
        ConnectionError: The upload broke off. The repository is as it was.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected the folder of a run or a prepared data set, found no folder.")
    is_data = (folder / MARKS["dataset"]).is_file()
    if is_data and base is not None:
        raise HierSumError(f"{folder}: expected an adapter for base {base}, found a data set.")
    if is_data and benchmark is not None:
        raise HierSumError(f"{folder}: expected a checkpoint for benchmark {benchmark}, found a data set.")
    kind = "dataset" if is_data else "model"
    with TemporaryDirectory(prefix="hiersum-push-") as place:
        target = Path(place)
        if is_data:
            assemble_data(folder, target)
        else:
            assemble_run(folder, target, repo_id, base)
        if benchmark is not None:
            _enter(target, benchmark, repo_id, token)
        claim_repository(repo_id, private, token, kind)
        with _clear_errors(repo_id):
            api = HfApi(token=token)
            # Patterns would be compared with whole paths, in which * stands for folders too
            left = [escape(name) for name in api.list_repo_files(repo_id, repo_type=kind) if _is_replaced(name, kind)]
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=target,
                repo_type=kind,
                commit_message=f"Upload a HierSum {'data set' if is_data else 'checkpoint'}",
                delete_patterns=left,
            )
    return commit.commit_url.partition("/commit/")[0]


def _is_replaced(name: str, kind: str) -> bool:
    """Tell whether a file of a repository is one that a push leaves, which lie at the top or are ENTRIES."""
    return ("/" not in name or name == ENTRIES) and any(fnmatchcase(name, pattern) for pattern in REPLACED[kind])


def assemble_run(run: Path, target: Path, repo_id: str = "org/hiersum", base: str | None = None) -> None:
    """Fill `target` with all that a pushed checkpoint needs.

    These are weights, config, feature extractor and the code of all classes; recipe, results and picture as far as the
    run has them; licence and card; and no pickle. Another licence than ours stays. A card that names one and was not
    written by `write_card`, as that of converted weights, goes as it is.

    Raises:
        HierSumError: Not a complete HierSum checkpoint in safetensors, or an adapter whose base is a local folder.
    """
    extractor: Any  # the pipelines of Transformers name another kind
    _refuse_pickles(run)
    model, extractor = load_checkpoint(run)
    if (run / "adapter_config.json").is_file():
        _copy(run, target, ADAPTER)
        _name_base(target / "adapter_config.json", run, base, repo_id)
    elif base is not None:
        raise HierSumError(f"{run}: expected an adapter for base {base}, found an ordinary checkpoint.")
    else:
        HierSumPipeline(model, feature_extractor=extractor).save_pretrained(target)
    _copy(run, target, BESIDE_WEIGHTS)
    results = Results.read(run / "results.json") if (run / "results.json").is_file() else None
    told = card_data(run)
    licence = told.get("license") or LICENCE
    if licence == LICENCE:
        (target / "LICENSE").write_text(files("hiersum_hf").joinpath("templates/LICENSE").read_text(encoding="utf-8"))
    if licence == LICENCE or (results and told.get("library_name") == LIBRARY):
        write_card(target, results, extractor, repo_id, licence)
    else:
        _copy(run, target, ("README.md",))


def assemble_data(prepared: Path, target: Path) -> None:
    """Fill `target` with a finished prepared folder.

    Its description keeps the label rule and loses the paths of this machine.

    Raises:
        HierSumError: The folder is not finished, or files are missing or broken.
    """
    from hiersum_hf.datasets.prepared import stream_prepared  # it needs pyarrow

    stream_prepared(prepared)  # refuses what is not whole before the first row is read
    for file in (*prepared.glob("data-*.parquet"), prepared / "report.json", prepared / "README.md"):
        (target / file.name).symlink_to(file.resolve())
    info = read_json_object(prepared / MARKS["dataset"])
    reader = info.get("reader", "")
    info["reader"] = f"{reader.split('(')[0]}({', '.join(match.group() for match in re.finditer(RULES, reader))})"
    (target / MARKS["dataset"]).write_text(json.dumps(info, indent=1), encoding="utf-8")
    _copy(prepared, target, (TASKS, BASELINES))


def _enter(target: Path, benchmark: str, repo_id: str, token: str | None) -> None:
    """Add the entries of a run in a benchmark.

    Raises:
        HierSumError: The run has no results, or the benchmark does not fit.
    """
    told = target / "results.json"
    if not told.is_file():
        raise HierSumError(
            f"--benchmark {benchmark}: expected a run with results.json, found none. `hiersum evaluate` writes one."
        )
    with _clear_errors(benchmark):
        found = entries(Results.read(told), benchmark, repo_id, token)
    (target / ENTRIES).parent.mkdir()
    (target / ENTRIES).write_text(found, encoding="utf-8")


def claim_repository(repo_id: str, private: bool | None = None, token: str | None = None, kind: str = "model") -> None:
    """Make the repository where there is none, and refuse one that would not take a push.

    Args:
        repo_id: "org/name".
        private: Whether the repository must be private.
        token: Of the Hub; default: HF_TOKEN or that of `hf auth login`.
        kind: "model" or "dataset".

    Raises:
        ValueError: A bad id, a repository that holds something else, or a public one where `private` is asked for.
        PermissionError: Not logged in, or no right to write there.
        ConnectionError: The Hub cannot be reached.
    """
    hf_hub_url(repo_id, MARKS[kind])  # refuses a bad id, offline
    if "/" not in repo_id:
        raise HierSumError(f"{repo_id}: expected a Hub id 'org/name', found no name of a user or organisation.")
    api = HfApi(token=token)
    with _clear_errors(repo_id):
        api.whoami()
        api.create_repo(repo_id, private=private, repo_type=kind, exist_ok=True)
        api.auth_check(repo_id, repo_type=kind, write=True)
        public = bool(private) and not api.repo_info(repo_id, repo_type=kind).private
        found = set(api.list_repo_files(repo_id, repo_type=kind)) - NO_COPY
        mark = {}
        if MARKS[kind] in found:
            mark = _read_mark(Path(api.hf_hub_download(repo_id, MARKS[kind], repo_type=kind)))
    if public:
        raise HierSumError(f"{repo_id}: expected a private repository, found a public one. Nothing was changed there.")
    ours = mark.get("model_type") == "hiersum" if kind == "model" else "fingerprint" in mark
    if found and not ours:
        what = f"model_type {mark['model_type']!r}" if "model_type" in mark else ", ".join(sorted(found)[:5])
        raise HierSumError(
            f"{repo_id}: expected a new repository or one with a HierSum {kind}, found {what}. Nothing was changed "
            "there; choose another name."
        )


def _read_mark(path: Path) -> dict[str, Any]:
    """Read what a repository of strangers says of itself.

    It is {} where the file holds no JSON object.
    """
    try:
        return read_json_object(path)
    except ValueError:
        return {}


@contextmanager
def _clear_errors(repo_id: str) -> Iterator[None]:
    """Say what to do about an error of the Hub or network."""
    try:
        yield
    except (LocalTokenNotFoundError, HTTPError, RuntimeError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 401 or isinstance(error, LocalTokenNotFoundError):
            raise PermissionError(
                f"{repo_id}: expected a valid token of the Hub, found none. Run `hf auth login`, or set HF_TOKEN."
            ) from error
        if status in (403, 404):
            raise PermissionError(
                f"{repo_id}: expected a token that may write there, found one that may not. ({error})"
            ) from error
        raise ConnectionError(
            f"{repo_id}: the Hub was not reached, or the push broke off; it is one commit, which arrives whole or not "
            f"at all. ({error})"
        ) from error


def _refuse_pickles(run: Path) -> None:
    """Refuse weights that are missing or may run code.

    Reading a pickle can run code.
    """
    name = "adapter_model" if (run / "adapter_config.json").is_file() else "model"
    if not any(run.glob(f"{name}*.safetensors")):
        pickles = sorted(file.name for ending in PICKLES for file in run.glob(f"*{ending}"))
        found = f"{', '.join(pickles)}. Pickles can run code and are neither read nor pushed" if pickles else "none"
        raise HierSumError(f"{run}: expected weights as {name}.safetensors, found {found}.")


def _name_base(config: Path, run: Path, base: str | None, repo_id: str) -> None:
    """Write the base's Hub id into a copy of adapter_config.json.

    An adapter whose base nobody else could load is refused.
    """
    adapter = read_json_object(config)
    adapter["base_model_name_or_path"] = base = base or adapter["base_model_name_or_path"]
    if Path(base).exists():
        raise HierSumError(
            f"{run}: expected an adapter whose base is on the Hub, found the folder {base}. Push that first and name "
            "it, --base org/name, or push a merged checkpoint (`hiersum merge`)."
        )
    if base.lower() == repo_id.lower():
        raise HierSumError(
            f"{run}: expected a repository of the adapter's own, found {base}, its base, which would be lost."
        )
    config.write_text(json.dumps(adapter, indent=2), encoding="utf-8")


def _copy(folder: Path, target: Path, patterns: tuple[str, ...]) -> None:
    for file in (file for pattern in patterns for file in folder.glob(pattern)):
        shutil.copyfile(file, target / file.name)
