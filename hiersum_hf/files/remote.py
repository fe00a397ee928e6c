"""Files of other stores by their address, such as s3://bucket/talk.mp4, in a mirror on this machine.

The mirror is a folder for temporary files, which goes at the end:

    hiersum-uri-<random>/s3/bucket/videos/talk.mp4    stands for s3://bucket/videos/talk.mp4

What was listed there stands in here without content: a file of the same size that nobody may write to, with a time
made of the store's ETag. Names, sizes, texts beside a video and links between files are then found as on any disk.
`near` fetches content for as long as it is needed, and `ship` uploads what was written into the mirror and lets it go
here. A path of the mirror tells its address (`uri_of`): another process or machine has it in a mirror of its own
(`brought`). A mirror is locked while its process lives, and what one left that was killed goes when the next is made.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout

from hiersum_hf.files.atomic import NO_ROOM, aside
from hiersum_hf.files.escape import has_secret, without_secrets
from hiersum_hf.modeling.errors_hiersum import HierSumError, InputError


logger = logging.getLogger(__name__)

INSTALL = {"s3": 'pip install "hiersum-hf[s3]"', "gs": "pip install gcsfs", "hf": "pip install huggingface_hub"}
STORES = (*INSTALL, "memory")
MARK = "hiersum-uri-"
MIRRORED = re.compile(rf"(?s:.*)/{MARK}[^/]+/({'|'.join(STORES)})/((?s:.+))")
IN_TEXT = re.compile(rf"(?:file://)?(?:/[^\s'\"]*)?/{MARK}[^/\s]+/({'|'.join(STORES)})/")
CHANGES = ("ETag", "etag", "blob_id", "md5Hash", "generation", "mtime", "LastModified", "updated", "created")
AT_ONCE = 16  # requests
UNFINISHED = b"{}"  # in the place of a folder's hidden file, which comes last
LOCK, NEW_S = ".lock", 60.0  # in a mirror; its process takes it within that time
Listed = tuple[str, int, int]  # of a file elsewhere: address, bytes, and the time that stands for its state


class StoreError(Exception):
    """Mark an error of a store, or of the way to it, which `lasts` until somebody changes something."""

    lasts = True


class _Missing(StoreError, FileNotFoundError):
    pass


class _Forbidden(StoreError, PermissionError):
    pass


class _NotInstalled(StoreError, ImportError):
    pass


class _Unreachable(StoreError, InputError, OSError):
    """A store that answers with an error, or not at all."""

    lasts = False


def is_uri(name: str | Path) -> bool:
    """Tell whether a name is the address of a store and no file; those of the web are none."""
    return re.match(r"(?!https?://)[a-z][a-z0-9+.-]+://", str(name), re.IGNORECASE) is not None


def uri_of(path: str | Path) -> str | None:
    """Return the address that a path of a mirror stands for, None for any other path."""
    found = MIRRORED.fullmatch(str(path))
    return f"{found[1]}://{found[2]}" if found else None


def named(text: str) -> str:
    """Put addresses into a text in the place of paths of a mirror."""
    return IN_TEXT.sub(r"\1://", text)


def apart(video: Path, folder: Path) -> str | None:
    """Return the whole address or path of a video in another store than a folder; None where both share one."""
    uri = uri_of(video)
    stores = ["/".join(address.split("/")[:3]) if address else "" for address in (uri, uri_of(folder))]
    return None if stores[0] == stores[1] else uri or str(video)


@contextmanager
def mirrored(names: Sequence[str], output: str | None) -> Iterator[tuple[list[str], str]]:
    """Give paths in a mirror for the addresses among names of inputs, patterns too, and for the output ("" for none).

    What is listed there stands in. In the block, what is printed and what errors say names addresses, not the mirror.

    Raises:
        HierSumError: No such kind of address, or one with a password or key in it.
        ImportError: What reads such addresses is not installed.
        FileNotFoundError: There is no such bucket, folder or file.
        PermissionError: It may not be read.
        InputError: It cannot be read for another reason.
    """
    output = output or ""
    if not any(map(is_uri, (*names, output))):
        yield list(names), output
        return
    streams = _Named(sys.stdout), _Named(sys.stderr)
    with _mirror() as root, redirect_stdout(streams[0]), redirect_stderr(streams[1]), naming():
        place = str(_place(output, root)) if output else ""
        yield [_listed(name, root) for name in names], place


@contextmanager
def _mirror() -> Iterator[Path]:
    """Make an empty mirror, and remove those of processes that were killed."""
    with TemporaryDirectory(prefix=MARK, ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        with FileLock(root / LOCK):
            for lock in root.parent.glob(f"{MARK}*/{LOCK}"):
                with suppress(Timeout, OSError):
                    if time.time() - lock.stat().st_mtime > NEW_S:
                        with FileLock(lock, timeout=0):
                            shutil.rmtree(lock.parent, ignore_errors=True)
            yield root


def listed(*files: Path) -> list[Listed]:
    """Say how files of a mirror were listed; any others are left out."""
    found = [(uri, file.stat()) for file in files if (uri := uri_of(file))]
    return [(uri, facts.st_size, facts.st_mtime_ns) for uri, facts in found]


@contextmanager
def brought(files: Sequence[Listed], output: str | Path = "") -> Iterator[Callable[[Any], Any]]:
    """Fetch files that another process or machine has listed into a mirror of their own, for the block.

    Args:
        files: Which.
        output: What is written in the block belongs there; a mirror is made for that alone too.

    Yields:
        What turns a path of any mirror into one of this, and leaves all else as it is.

    Raises as `near`, also for what is written into this mirror and shipped.
    """
    if not files and uri_of(output) is None:
        yield lambda path: path
        return
    with _mirror() as root, naming():

        def here(path: Any) -> Any:
            uri = uri_of(path)
            return _place(uri, root) if uri else path

        places = {_place(uri, root): (size, time_ns) for uri, size, time_ns in files}
        for place, facts in places.items():
            _stand_in(place, *facts)
        with near(*places):
            yield here


def readable(files: Iterable[Listed]) -> bool:
    """Tell whether all of the files can be read where they lie."""
    try:
        for uri, size, _ in files:
            store, path = _opened(uri, anew=True)
            store.cat_file(path, 0, min(size, 1))
    except Exception:  # of whatever kind a store raises
        return False
    return True


@contextmanager
def naming() -> Iterator[None]:
    """Name addresses in errors in the place of paths of a mirror."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        error.args = tuple(named(one) if isinstance(one, str) else one for one in error.args)
        for attribute in ("strerror", "filename"):  # of an error of the system; None is not set, or it would be shown
            if isinstance(text := getattr(error, attribute, None), str):
                setattr(error, attribute, named(text))
        raise


class _Named:
    """A stream that writes addresses in the place of paths of a mirror."""

    def __init__(self, stream: Any):
        self.stream = stream

    def write(self, text: str) -> int:
        return int(self.stream.write(named(text)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def near(*files: Path) -> Iterator[None]:
    """Fetch files of a mirror whole for as long as the block takes; any others stay as they are.

    Raises:
        FileNotFoundError: One has gone.
        PermissionError: It may not be read.
        InputError: It cannot be read, has changed meanwhile, or there is too little room for it here.
    """
    wanted = {file: file.stat() if file.exists() else None for file in files if uri_of(file) and _stands_in(file)}
    try:
        with naming():
            for file, facts in wanted.items():
                _fetch(file, facts)
            yield
    finally:
        for file, facts in wanted.items():
            if facts:
                _stand_in(file, facts.st_size, facts.st_mtime_ns)
            else:
                file.unlink(missing_ok=True)


def ship(*paths: Path) -> None:
    """Upload files of a mirror, and what was written into folders of one, and let them go here.

    Each object appears once it is whole. A hidden file of a folder comes last; until then it says that the folder is
    unfinished. Paths that are in no mirror stay as they are.

    Raises:
        OSError: They cannot be written there.
    """
    for path in paths:
        if uri_of(path) is None:
            continue
        inside = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        written = [file for file in inside if not _stands_in(file)]
        hidden = [file for file in written if file.name.startswith(".")]
        for file in hidden:
            send(file, UNFINISHED)
        at_once(send, [file for file in written if file not in hidden])
        for file in hidden:
            send(file)
        for file in written:
            file.unlink()


def send(file: Path, content: bytes | None = None) -> None:
    """Upload a file of a mirror, or content to its address.

    Raises:
        FileNotFoundError: There is no such bucket.
        PermissionError: It may not be written to.
        OSError: It cannot be written for another reason.
    """
    uri = str(uri_of(file))
    store, path = _opened(uri)
    with _told(uri, "a place that can be written to", "Check the name of the bucket and the right to write there."):
        if content is None:
            store.put_file(str(file), path)
        else:
            store.pipe_file(path, content)


def look(*folders: Path, read: str = "") -> None:
    """Let what lies in folders of a mirror, and below, stand in, with the content of files of the name `read`.

    A folder whose file of this name says that it is unfinished counts as none.

    Raises:
        PermissionError: It may not be listed.
        InputError: It cannot be listed for another reason.
    """
    there = {folder: uri for folder in folders if (uri := uri_of(folder))}
    for uri in [*there.values()][:1]:
        _opened(uri, anew=True)
    at_once(lambda folder: _look(folder, read), [*there])


def _look(folder: Path, read: str) -> None:
    uri = str(uri_of(folder))
    store, path = _opened(uri)
    with _told(uri, "a folder that can be listed", "Check the right to list it."):
        found = store.find(path, detail=True)
        files = {folder / name: info for name, info in _below(found, path).items()}
        contents = {file: store.cat_file(info["name"]) for file, info in files.items() if file.name == read}
    unfinished = {file.parent for file, content in contents.items() if content == UNFINISHED}
    for file, info in files.items():
        if file.parent not in unfinished:
            _stand_in(file, info["size"], _stamp(info), contents.get(file))


def contents(folder: Path, pattern: str) -> tuple[set[str], list[bytes]]:
    """List a folder of a mirror where it lies, and read the files of a pattern.

    Returns:
        Names of all files in it, none where there is no such folder, and what those of the pattern hold.

    Raises as `look`.
    """
    uri = str(uri_of(folder))
    store, path = _opened(uri, anew=True)
    with _told(uri, "a folder that can be listed", "Check the right to list it."):
        try:
            found = _below({info["name"]: info for info in store.ls(path, detail=True)}, path)
        except FileNotFoundError:
            return set(), []
        wanted = [info["name"] for name, info in found.items() if fnmatchcase(name, pattern)]
        return set(found), at_once(store.cat_file, wanted)


def fetched(uri: str, cache: Path) -> Path:
    """Fetch a file or a whole folder once into a folder for such copies.

    The name of a copy depends on what is listed there, so that a changed one is fetched again beside it.

    Raises as `mirrored`.
    """
    scheme, rest = _parts(uri)
    if scheme == "file":
        return _place(uri, cache)
    store, path = _opened(uri, anew=True)
    with _told(uri, "a file or a folder with data", "Check the address and the right to read it."):
        found = store.find(path, detail=True)
        if not found:
            store.info(path)  # says why
            raise FileNotFoundError("an empty folder")
    is_file = [_bare(name) for name in found] == [_bare(path)]
    files = {Path(path).name: next(iter(found.values()))} if is_file else _below(found, path)
    facts = sorted([name, info["size"], _stamp(info)] for name, info in files.items())
    digest = sha256(json.dumps([uri, facts]).encode()).hexdigest()[:12]
    folder = cache / f"{re.sub(r'[^A-Za-z0-9.]+', '-', f'{scheme}-{rest}')[-80:].strip('-')}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            size = sum(info["size"] for info in files.values())
            _check_room(uri, size, cache, "Set HF_HOME to a folder with more.")
            logger.warning("%s (%.1f MB) is being fetched to %s", uri, size / 1e6, folder)
            with aside(folder) as partial:
                at_once(lambda name: _download(files[name]["name"], uri, partial / name, files[name]["size"]), [*files])
    return folder / next(iter(files)) if is_file else folder


def at_once(work: Any, items: Sequence[Any]) -> list[Any]:
    """Do requests side by side, and return what came of them in their order; the first error ends them."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


def _parts(uri: str) -> tuple[str, str]:
    """Split an address into kind and rest.

    Raises:
        HierSumError: No such kind, a password or key in it, or nothing behind the kind.
    """
    scheme, rest = uri.split("://", 1)
    scheme = scheme.lower()
    if has_secret(uri):
        raise HierSumError(
            f"{without_secrets(uri)}: expected an address without user, password and key, as files and logs name it. "
            "Give these in the environment (AWS_SECRET_ACCESS_KEY, HF_TOKEN, ...) or in the store's own file."
        )
    if scheme not in (*STORES, "file"):
        kinds = ", ".join(f"{one}://" for one in (*STORES, "file"))
        raise HierSumError(f"{uri}: expected an address of one of {kinds}, found {scheme}://. Copy it there or here.")
    if not rest.strip("/"):
        raise HierSumError(f"{uri}: expected a bucket or folder behind {scheme}://, found none")
    return scheme, rest if scheme == "file" else rest.strip("/")


def _opened(uri: str, anew: bool = False) -> tuple[Any, str]:
    """Open the store of an address, and return it with its own name of the place.

    Args:
        uri: The address.
        anew: Forget what was listed there before.

    Raises:
        ImportError: What reads it is not installed.
    """
    import fsspec

    scheme, rest = _parts(uri)
    try:
        store = fsspec.filesystem(scheme)
    except ImportError as error:
        raise _NotInstalled(f"{uri}: expected the package for {scheme}://, found none: {INSTALL[scheme]}") from error
    if anew:
        store.invalidate_cache()
    return store, f"/{rest}" if scheme == "memory" else rest


@contextmanager
def _told(uri: str, expected: str, to_do: str) -> Iterator[None]:
    """Say what a store, or its library, finds wrong in one line that holds no secret."""
    try:
        yield
    except Exception as error:
        if isinstance(error, HierSumError) or (isinstance(error, OSError) and error.errno in NO_ROOM):
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        reason = "nothing there" if text.rstrip("/").endswith(uri.split("://")[1].rstrip("/")) else text
        said = without_secrets(f"{uri}: expected {expected}, found: {reason.rstrip('.')}. {to_do}")
        kind: type[Exception] = _Missing if isinstance(error, FileNotFoundError) else _Unreachable
        if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:  # of botocore, without any
            kind = _Forbidden
        raise kind(said) from None


def _place(uri: str, root: Path) -> Path:
    """Return the path that stands for an address; of file:// the file itself, and of what is none the path."""
    if not is_uri(uri):
        return Path(uri)
    scheme, rest = _parts(uri)
    return Path(rest) if scheme == "file" else root / scheme / rest


def _listed(name: str, root: Path) -> str:
    """Let stand in what an address or a pattern names, and what lies beside it; return its path in the mirror."""
    if not is_uri(name):
        return name
    place = _place(name, root)
    if uri_of(place) is None:
        return str(place)
    store, path = _opened(name, anew=True)
    parts = path.split("/")
    depth = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    base = "/".join(parts[:depth])
    if not base.strip("/"):
        raise HierSumError(f"{name}: expected a bucket before the first of *?[, found none")
    with _told(name, "videos", "Check the address and the right to list it."):
        if depth < len(parts):
            found = store.find(base, maxdepth=None if "**" in path else len(parts) - depth, detail=True)
            infos = list(found.values()) or store.ls(base, detail=True)  # says why there is nothing
        else:
            beside = path.rpartition("/")[0] if store.info(path)["type"] == "file" else path
            infos = store.ls(beside, detail=True)
    for info in infos:
        where = root / MIRRORED.fullmatch(str(place))[1] / _bare(info["name"])  # type: ignore[index]
        if not _is_plain(info["name"]):
            continue
        if info["type"] == "directory":
            where.mkdir(parents=True, exist_ok=True)
        elif not where.exists():
            _stand_in(where, info["size"], _stamp(info))
    return str(place)


def _below(found: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the files of a listing by their names from a folder on."""
    inside = {_bare(name).removeprefix(f"{_bare(path)}/"): info for name, info in found.items() if _is_plain(name)}
    return {name: info for name, info in inside.items() if info["type"] == "file"}


def _bare(name: str) -> str:
    return name.strip("/")


def _is_plain(name: str) -> bool:
    """Tell whether the name of an object is that of a path too; "a//b", "a/" and "../b" are not."""
    parts = name.removeprefix("/").split("/")
    return not {"", ".", ".."} & {*parts} and "\0" not in name and max(len(os.fsencode(one)) for one in parts) < 200


def _stamp(info: dict[str, Any]) -> int:
    """Return a time that stands for the state of an object: of its ETag, else of what the store has in its place."""
    state = next((str(info[key]) for key in CHANGES if info.get(key) is not None), "")
    return int.from_bytes(sha256(state.encode()).digest()[:8]) % (2**31 * 10**9)


def _stand_in(file: Path, size: int, time_ns: int, content: bytes | None = None) -> None:
    """Put a file without content of its own, or with it, in the place of what is elsewhere."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with aside(file) as partial:
        with partial.open("wb") as empty:
            if content is None:
                empty.truncate(size)
            else:
                empty.write(content)
        os.utime(partial, ns=(time_ns, time_ns))
        partial.chmod(0o444)


def _stands_in(file: Path) -> bool:
    """Tell whether a file of a mirror is elsewhere in truth."""
    return not file.exists() or not file.stat().st_mode & 0o222


def _fetch(file: Path, facts: os.stat_result | None) -> None:
    uri = str(uri_of(file))
    store, path = _opened(uri)
    with _told(uri, "a file that can be read", "Check the address and the right to read it."):
        size = facts.st_size if facts else store.size(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    _check_room(uri, size, file.parent, "Set TMPDIR to a folder with more.")
    with aside(file) as partial:
        _download(path, uri, partial, size)
        if facts:
            os.utime(partial, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
        partial.chmod(0o444)


def _download(path: str, uri: str, file: Path, size: int) -> None:
    store, _ = _opened(uri)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _told(uri, "a file that can be read", "Check the address and the right to read it."):
        store.get_file(path, str(file))
    if (found := file.stat().st_size) != size:
        raise InputError(
            f"{uri}: expected {size} bytes, as was listed, found {found}. It has changed: run the same again."
        )


def _check_room(uri: str, size: int, folder: Path, to_do: str) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        room = f"room for its {size / 1e9:.1f} GB in {folder}, found {free / 1e9:.1f} GB"
        raise InputError(f"{uri}: expected {room}. {to_do}")
