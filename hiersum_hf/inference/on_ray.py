"""Videos shared among the machines of a Ray cluster; no other module knows Ray.

Each video is a task, and Ray finds a processor for it, also on machines that come later. A task decodes and encodes in
one process, which keeps its encoder for the next video. Where the cluster has GPUs, tasks decode on all processors, and
an actor on each GPU encodes what they send it. A video elsewhere (`hiersum_hf.files.remote`) is fetched by its task.

What fails in a task becomes a row of its own. A task whose process or machine dies is handed out `TRIES` times in all.
(Ray's own retries are off, as they have no end where memory runs out.) A machine without the package, with another
version of it, with a full disk or without the output's folder is named and gets no more work.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from hiersum_hf import __version__
from hiersum_hf.features.cache import FrameSettings, frame_features, settings_name
from hiersum_hf.features.done import Done
from hiersum_hf.features.video_encoder import VideoEncoder, load_preparation, load_video_encoder
from hiersum_hf.files.atomic import NO_ROOM, refuse_unwritable
from hiersum_hf.files.escape import printable
from hiersum_hf.files.remote import StoreError, brought, listed, named, readable, uri_of
from hiersum_hf.inference.extract import Kept, Told, check_output, told_of
from hiersum_hf.inference.progress import Progress, clear_line
from hiersum_hf.inference.ranks import Ranks, size_of
from hiersum_hf.modeling.errors_hiersum import HierSumError


if TYPE_CHECKING:
    import torch

INSTALL = 'pip install "hiersum-hf[ray]"'
TOKEN = "A cluster that has a token takes who has it too, with RAY_AUTH_MODE=token (docs/cluster.md)."
TRIES = 3  # processes that a video may take with it
AHEAD = 50  # videos handed to Ray at least, so that no worker waits for the driver
ANSWER_S = 60  # for a machine to say which version it has
ENCODER_S = 300  # for an encoder to come back after its process or machine died
DONE, FAILED, UNSEEN, UNFIT, AGAIN = "done", "failed", "unseen", "unfit", "again"  # what came of a task
Item = Sequence[Any]  # a video, what is to be fetched for it (`listed`), and what else a worker must know of it
Make = Callable[[], Callable[[Item], Any]]  # loads what is needed for many items


class Cluster:
    """A connection to a Ray cluster, made by `connected`."""

    def __init__(self) -> None:
        self.left_out: dict[str, str] = {}  # node id -> why it gets no work
        self._asked: set[str] = set()
        self.ask()

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Return the machines that live and have processors, by id."""
        ray = _ray()

        return {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}

    def cpus(self) -> tuple[int, int]:
        """Count the processors that get work, and their machines."""
        fit = [node["Resources"]["CPU"] for node_id, node in self.nodes().items() if node_id not in self.left_out]
        return int(sum(fit)), len(fit)

    def ask(self) -> None:
        """Ask machines that are new for their version of the package.

        Those with another are left out.

        Raises as `leave_out`.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = _ray()
        version = ray.remote(num_cpus=0, max_retries=0)(_sent("hiersum_hf:__version__"))
        there = {node_id: NodeAffinitySchedulingStrategy(node_id, soft=False) for node_id in self.nodes()}
        asked = {
            version.options(scheduling_strategy=place).remote(): node_id
            for node_id, place in there.items()
            if node_id not in self._asked
        }
        answered, _ = ray.wait([*asked], num_returns=len(asked), timeout=ANSWER_S) if asked else ([], None)
        for answer in answered:
            try:
                found = f"version {ray.get(answer)}"
            except ray.exceptions.RayTaskError as error:
                found = _said(error)
            except ray.exceptions.RayError:  # it has gone
                continue
            self._asked.add(asked[answer])
            if found != f"version {__version__}":
                self.leave_out(asked[answer], f"expected hiersum-hf {__version__}, as here, found {found}. Install it.")

    def leave_out(self, node_id: str, reason: str) -> None:
        """Give a machine no more work, and say so.

        Raises:
            HierSumError: None is left.
        """
        if node_id in self.left_out:
            return
        nodes = self.nodes()
        address = nodes[node_id]["NodeManagerAddress"] if node_id in nodes else "that has gone"
        self.left_out[node_id] = f"node {address} ({node_id[:8]}): {reason}"
        if nodes.keys() <= self.left_out.keys():
            raise HierSumError(f"expected a node that can do the work, found none left: {self.left_out[node_id]}")
        _note(f"{self.left_out[node_id]} It gets no more work.")

    def placed(self) -> dict[str, Any]:
        """Return the options of what must not run on a machine that is left out."""
        return {"label_selector": {"ray.io/node-id": f"!in({','.join(self.left_out)})"}} if self.left_out else {}

    def each(
        self,
        chains: Iterable[Sequence[Item]],
        make: Make,
        folder: str | Path,
        tick: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[Item, Any, str]]:
        """Do items on the machines of the cluster.

        Args:
            chains: Items that are done at the same time as others; those of a chain one after the other.
            make: Gives what does an item; called in each worker.
            folder: Where results go, which all machines must see, or in a mirror (`hiersum_hf.files.remote`).
            tick: Called all the time, a second apart at most.

        Yields:
            Each item once, as it is done, with what became of it, and "" or why it failed.

        Raises:
            HierSumError: No machine is left that can do the work.
        """
        ray = _ray()

        with _marked(Path(folder)) as marker:
            made_by = ray.put(partial(_ready, make, os.getcwd(), marker))
            task = ray.remote(num_cpus=1, max_retries=0)(_sent(f"{__name__}:_do"))
            coming, again = iter(chains), deque[tuple[deque[Item], int]]()
            running: dict[Any, tuple[deque[Item], int]] = {}
            room, looked_s = 0, -60.0
            while True:
                if time.monotonic() - looked_s > 10:
                    room, looked_s = max(AHEAD, 2 * self.cpus()[0]), time.monotonic()
                while len(running) < room:
                    chain, tries = again.popleft() if again else (deque(next(coming, ())), 1)
                    if not chain:
                        break
                    running[task.options(**self.placed()).remote(__version__, [made_by], chain[0])] = chain, tries
                if not running:
                    return
                tick()
                for row in ray.wait([*running], timeout=1.0)[0]:
                    chain, tries = running.pop(row)
                    came, told, node_id = self._received(row)
                    if came == UNSEEN and _is_seen(*chain[0][:2]):
                        came, told = UNFIT, f"{told.rstrip('.')}. It is seen from here."
                    if came == UNFIT and node_id:
                        self.leave_out(node_id, told)
                        again.append((chain, tries))
                    elif came in (UNFIT, AGAIN) and tries < TRIES:
                        again.append((chain, tries + 1))
                    else:
                        item, failed = chain.popleft(), came != DONE
                        if chain:
                            again.append((chain, 1))
                        if came == UNFIT:
                            died = f"found {TRIES} that did not: {told}"
                            told = f"{item[0]}: expected a worker that lives through it, {died}"
                        yield item, None if failed else told, told if failed else ""

    def _received(self, row: Any) -> tuple[str, Any, str]:
        """Return what came of a task, what is told of it, and its machine, if known."""
        ray = _ray()

        try:
            node_id, came, told = ray.get(row)
        except ray.exceptions.RayError as error:  # its process or machine died, or the package is not there
            self.ask()
            return UNFIT, _said(error), ""
        return came, told, node_id

    def encoders(self, encoder_id: str, device: str, dtype: str, runtime: str | None) -> list[Any]:
        """Start an encoder on each GPU.

        There are none where the cluster has no GPU, or the processor is asked for.

        Raises:
            HierSumError: No such device, or no GPU is free, or the encoder cannot be loaded there.
        """
        ray = _ray()

        if device not in ("auto", "cpu", "cuda"):
            raise HierSumError(f"--device: expected auto, cpu or cuda with --engine ray, found {device!r}")
        gpus = 0 if device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
        if device == "cuda" and not gpus:
            raise HierSumError("--device cuda: expected GPUs in the cluster, found none. Leave it out.")
        if not gpus:
            return []  # Ray would start a cluster to ask none
        place = {"num_cpus": 0, "num_gpus": 1, "max_restarts": -1, "max_concurrency": 2} | self.placed()
        actors = [ray.remote(**place)(Encoder).remote(encoder_id, device, dtype, runtime) for _ in range(gpus)]
        asked = {actor.width.remote(): actor for actor in actors}
        ready, _ = ray.wait([*asked], num_returns=gpus, timeout=ENCODER_S)
        try:
            ray.get(ready)
        except ray.exceptions.RayError as error:
            raise HierSumError(
                f"{encoder_id}: expected it on the GPUs of the cluster, found: {_said(error)}"
            ) from error
        if not ready:
            raise HierSumError(
                f"expected a free GPU, found {gpus} that others use. Wait for them, or add --device cpu."
            )
        return [asked[answer] for answer in ready]


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to a Ray cluster, and leave it at the end.

    Args:
        address: "auto" for the cluster of this machine (or RAY_ADDRESS), "local" for one of this machine alone that
            ends with the work, or host:port.

    Raises:
        ImportError: Ray is not installed.
        HierSumError: No cluster is there, or one of another version of Ray or Python, or one that asks for a token
            which is not here, or no machine of it has this package.
    """
    if find_spec("ray") is None:
        raise ImportError(f"--engine ray needs Ray: {INSTALL}")
    ray = _ray()

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves this machine unasked
    alone = {"include_dashboard": False} if address == "local" else {}
    try:
        _refuse_dead(address)
        ray.init(address, log_to_driver=False, logging_level="ERROR", **alone)
    except (OSError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise HierSumError(
            f"--address {address}: expected a Ray cluster there, found: {_said(error).rstrip('.')}. Start one with "
            f"`ray start --head`, or take --address local for this machine alone. {TOKEN}"
        ) from error
    try:
        yield Cluster()
    finally:
        ray.shutdown()


def _refuse_dead(address: str) -> None:
    """Refuse an address at which nothing listens, where Ray itself tries for minutes.

    Raises:
        OSError: Nothing does.
    """
    last = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")  # also of one that has crashed
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or (last.read_text() if last.is_file() else "")
    host, _, port = address.strip().rpartition(":")
    if host and port.isdigit() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), 5).close()


def extract_on_ray(
    videos: Sequence[Path],
    output: str | Path,
    settings: FrameSettings,
    device: str = "auto",
    batch_size: int = 16,
    runtime: str | None = None,
    address: str = "auto",
) -> dict[str, Any]:
    """Put features of the videos into the folder as `extract` does, on a Ray cluster.

    Arguments, errors and the report are those of `extract`, and of `connected` for the address. The device "auto" takes
    the GPUs of the cluster, if it has any.
    """
    output = Path(output)
    refuse_unwritable(output, "features")
    check_output(output, videos)
    if batch_size < 1:
        raise HierSumError(f"batch_size: expected at least 1, found {batch_size}")
    with connected(address) as cluster:
        encoders = cluster.encoders(settings.video_encoder, device, settings.dtype, runtime)
        output.mkdir(parents=True, exist_ok=True)
        kept, left = Kept(output, settings, Done(output, settings_name(settings)), Ranks()), list[Item]()
        for video in videos:
            try:
                is_there = kept.finds(video)
            except OSError as error:
                kept.failures.add(video, error)
                continue
            if is_there:
                kept.put_away(video)
            else:
                left.append((video, listed(video)))
        make = partial(_extractor, settings, output, batch_size, runtime, encoders)
        try:
            for (video, _), told, reason in watched(cluster, left, make, output, lambda told: told[0][-1]):
                if reason:
                    kept.failures.add(video, HierSumError(reason))
                    continue
                about, content = told
                if content is not None:
                    (output / about[0]).write_bytes(content)
                kept.add(video, *about)
                kept.put_away(video)
        finally:
            kept.before.ship()  # also where no machine is left
    for video in videos:
        if str(video) not in kept.videos and named(str(video)) not in kept.failures.reasons:
            kept.failures.add(video, no_row(video))
    kept.finish()
    kept.videos = {str(video): kept.videos[str(video)] for video in videos if str(video) in kept.videos}
    return kept.report([{"videos": len(kept.videos), "failed": len(kept.failures.reasons)}])


def no_row(video: Path) -> HierSumError:
    """Build the error of a video that is neither done nor failed."""
    return HierSumError(f"{video}: expected a row of it at the end, found none. Run the same again.")


def watched(
    cluster: Cluster, items: Sequence[Item], make: Make, folder: Path, seconds: Callable[[Any], float]
) -> Iterator[tuple[Item, Any, str]]:
    """Do items as `Cluster.each`, and tell on stderr how far they are.

    The largest videos come first. Videos of one size, which may be copies, are done one after the other.

    Args:
        cluster: Does them.
        items: A video each, what is to be fetched for it, and what else belongs to it.
        make: As `Cluster.each` takes it.
        folder: As `Cluster.each` takes it.
        seconds: Gives the seconds of video behind what became of an item.
    """
    sizes = {item[0]: size_of(item[0]) for item in items}
    of_size: dict[int, list[Item]] = {}
    for item in items:
        of_size.setdefault(sizes[item[0]], []).append(item)
    progress = Progress(len(items), sum(sizes.values()))
    chains = [of_size[size] for size in sorted(of_size, reverse=True)]
    for item, told, reason in cluster.each(chains, make, folder, lambda: progress.tell(cluster.cpus)):
        progress.add(sizes[item[0]], 0.0 if reason else seconds(told), bool(reason))
        clear_line()
        yield item, told, reason
    progress.tell(cluster.cpus, last=True)


class Encoder:
    """A frame encoder on the device that Ray gives it, for pictures that workers have prepared."""

    def __init__(self, encoder_id: str, device: str, dtype: str, runtime: str | None):
        from hiersum_hf.scoring.checkpoint import torch_device

        self.encoder = load_video_encoder(encoder_id, str(torch_device(device)), dtype, runtime)

    def width(self) -> int:
        return self.encoder.dim

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        import torch

        return self.encoder.embed(torch.from_numpy(pixels.copy())).float().cpu().numpy()


def worker_encoder(
    encoder_id: str, dtype: str = "float32", runtime: str | None = None, encoders: Sequence[Any] = ()
) -> VideoEncoder:
    """Return the frame encoder of a worker.

    That is its own, or one that sends prepared pictures to one of `encoders`.
    """
    if not encoders:
        return load_video_encoder(encoder_id, "cpu", dtype, runtime)
    ray = _ray()
    import torch

    prepare, width = load_preparation(encoder_id), ray.get(encoders[0].width.remote())

    def embed(images: Any) -> torch.Tensor:
        pixels, until_s = ray.put(prepare(images).numpy()), time.monotonic() + ENCODER_S
        while True:
            for encoder in random.sample(encoders, len(encoders)):
                try:
                    return torch.tensor(ray.get(encoder.encode.remote(pixels)))
                except ray.exceptions.RayActorError as error:  # it starts again, elsewhere where its machine has gone
                    reason = _said(error)
            if time.monotonic() > until_s:
                raise HierSumError(f"{encoder_id}: expected an encoder on a GPU within {ENCODER_S} s, found: {reason}")
            time.sleep(1)

    return VideoEncoder(encoder_id, width, embed)


def _extractor(
    settings: FrameSettings, output: Path, batch_size: int, runtime: str | None, encoders: Sequence[Any]
) -> Callable[[Item], Any]:
    """Load an encoder, and return what encodes a video and tells of it.

    Where the output is elsewhere it also gives the file of features, which the driver uploads with others.
    """
    encoder = worker_encoder(settings.video_encoder, settings.dtype, runtime, encoders)
    is_elsewhere = uri_of(output) is not None

    def work(item: Item) -> tuple[Told, bytes | None]:
        with brought(item[1]) as here, TemporaryDirectory() if is_elsewhere else nullcontext(output) as folder:
            made = frame_features(here(item[0]), settings, lambda: encoder, folder, batch_size, listed=False)
            return told_of(made, settings), Path(str(made.file)).read_bytes() if is_elsewhere else None

    return work


def _sent(name: str) -> Callable[..., Any]:
    """Build a task that gives what this package calls by a name on another machine, or what that returns.

    Ray sends a function within a function whole, so that it also starts where the package is missing. It makes the
    process one of the `hiersum` command, where to import the package does not load the models of Transformers; what is
    given to it must therefore not be of this package.
    """

    def hiersum(*given: Any) -> Any:
        import pkgutil
        import sys

        sys.argv[0] = "hiersum"
        found = pkgutil.resolve_name(name)
        return found(*given) if given else found

    return hiersum


def _do(version: str, made_by: Sequence[Any], item: Item) -> tuple[str, str, Any]:
    """Do an item in a worker.

    Returns:
        The machine, what came of it (`DONE`, ...), and what is told of it.
    """
    ray = _ray()

    node_id = ray.get_runtime_context().get_node_id()
    try:
        if version != __version__:
            raise HierSumError(f"expected hiersum-hf {version}, as the driver has, found version {__version__}.")
        work = _made(made_by[0])
    except Exception as error:
        return node_id, UNFIT, _said(error)
    try:
        return node_id, DONE, work(item)
    except Exception as error:  # Ray would end the run
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return node_id, UNFIT, _said(error)
        if isinstance(error, StoreError):
            return node_id, UNSEEN if error.lasts else AGAIN, _said(error)
        unseen = isinstance(error, FileNotFoundError) and not item[1] and not Path(item[0]).exists()
        return node_id, UNSEEN if unseen else FAILED, _said(error)


def _is_seen(video: Path, files: Sequence[Any]) -> bool:
    """Tell whether this process can read what a worker says that it cannot."""
    return readable(files) if files else video.exists()


@cache
def _made(made_by: Any) -> Callable[[Item], Any]:
    """Load what a worker needs, once."""
    ray = _ray()

    make: Make = ray.get(made_by)
    return make()


def _ready(make: Make, here: str, marker: Path | None) -> Callable[[Item], Any]:
    """Load what a worker needs, in the folder of the driver.

    Names of files then mean what they mean to the driver.

    Raises:
        HierSumError: The output's folder is another one here.
    """
    if marker and not marker.is_file():
        raise HierSumError(f"expected the driver's {marker.parent} there, found another folder or none. Mount it.")
    if Path(here).is_dir():
        os.chdir(here)
    return make()


@contextmanager
def _marked(folder: Path) -> Iterator[Path | None]:
    """Put a file into a folder by which other machines know it; into one elsewhere none."""
    if uri_of(folder):
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder.absolute() / f".ray-{secrets.token_hex(4)}"
    marker.touch()
    try:
        yield marker
    finally:
        marker.unlink(missing_ok=True)


def _ray() -> Any:
    """Load Ray, whose types do not hold for all that it does."""
    return import_module("ray")


def _said(error: BaseException) -> str:
    """Say an error in one line; of one that Ray brings, its cause."""
    cause = getattr(error, "cause", None) or error
    text = next(iter(str(cause).strip().splitlines()), "")
    return text if isinstance(cause, ValueError | OSError) and text else f"{type(cause).__name__}: {text}"


def _note(text: str) -> None:
    clear_line()
    sys.stderr.write(f"note: {printable(text)}\n")
