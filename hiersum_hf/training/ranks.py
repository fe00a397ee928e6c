"""Begin a run on all its ranks together, in a folder of its own.

Rank 0 locks the folder, checks it and finds the checkpoint; the others see the same or nobody begins.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from accelerate.utils import broadcast_object_list, gather_object
from filelock import FileLock, Timeout

from hiersum_hf.files.atomic import refuse_unwritable
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.training.arguments import HierSumTrainingArguments
from hiersum_hf.training.flags import Flags
from hiersum_hf.training.preflight import check_processes, check_run, kept_ranks, run_folder, share_step
from hiersum_hf.training.resume import is_whole


T = TypeVar("T")

LOCK = ".lock"
WAIT_S = 10.0  # the loaders' workers of a killed rank live on for five seconds and hold its lock
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # of some file systems of clusters

logger = logging.getLogger(__name__)


@contextmanager
def begun(flags: Flags) -> Iterator[str | None]:
    """Check a run and hold its folder; yields the checkpoint to go on from.

    What the run takes over is set in the flags: `resume_from_checkpoint`, the ranks and with them the accumulation.

    Raises:
        ValueError, OSError: As `check_run`, on all ranks alike.
    """
    args = flags.training
    check_processes(args)
    with claimed(args):
        resumed, ranks = on_rank_0(args, lambda: _plan(flags))
        share_step(args, ranks)
        flags.given["ranks"] = ranks
        if resumed and args.resume_from_checkpoint in ("True", "auto"):
            resumed = str(run_folder(args) / Path(resumed).name)  # another machine may call the folder otherwise
        check_shared(args, resumed or None)
        args.resume_from_checkpoint = resumed
        yield resumed


def _plan(flags: Flags) -> tuple[str | None, int]:
    resumed = check_run(flags.training, flags.given)
    return resumed, kept_ranks(flags, resumed)


@contextmanager
def claimed(args: HierSumTrainingArguments) -> Iterator[None]:
    """Lock the run's folder on rank 0 for as long as the block runs."""
    with ExitStack() as stack:
        on_rank_0(args, lambda: stack.enter_context(locked(run_folder(args))))
        yield


def on_rank_0(args: HierSumTrainingArguments, work: Callable[[], T]) -> T:
    """Do some work on rank 0 and give every rank its result, or its error."""
    done: list[T | ValueError | OSError | None] = [None]
    if args.process_index == 0:
        try:
            done = [work()]
        except (ValueError, OSError) as error:
            done = [error]
    (result,) = broadcast_object_list(done)
    if isinstance(result, (ValueError, OSError)):
        raise result
    return result  # type: ignore[no-any-return]  # untyped in Accelerate


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the lock ends with the process.

    A folder that was made for it and that nothing came into is removed again. On a file system without locks a warning
    takes their place.

    Raises:
        HierSumError: Another process holds it.
        NotADirectoryError, PermissionError: It cannot be made or written to.
    """
    refuse_unwritable(run.absolute(), "the run")
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    run.mkdir(parents=True, exist_ok=True)
    # A soft lock, a file that is there, would outlive a crash.
    lock = FileLock(run / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(timeout=WAIT_S)
    except Timeout:
        raise HierSumError(
            f"{run}: expected no other run there, found one that holds {run / LOCK}. Wait until it ends, or give "
            "another --output_dir."
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        logger.warning(f"{run}: its file system has no locks, so nothing keeps a second run out of it.")
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open
            (run / LOCK).unlink()  # while it is held: who waits for it sees that, and makes another
        lock.release()
        with suppress(OSError):  # not empty
            for folder in made:
                folder.rmdir()


def check_shared(args: HierSumTrainingArguments, checkpoint: str | None) -> None:
    """Refuse a folder, or a checkpoint, that some ranks do not see.

    Raises:
        HierSumError: As said, on all ranks; names those and their machines.
    """
    if args.world_size == 1:
        return
    run = run_folder(args)
    own, mark = socket.gethostname(), f".{secrets.token_hex(8)}"
    if args.process_index == 0:
        (run / mark).touch()
    host, mark = broadcast_object_list([own, mark])
    sees = _seen(run / mark) and (checkpoint is None or is_whole(checkpoint))
    blind = gather_object([] if sees else [f"rank {args.process_index} on {own}"])
    if args.process_index == 0:
        (run / mark).unlink()
    if blind:
        raise HierSumError(
            f"output_dir {run}: expected a folder that all ranks share, found that {', '.join(blind)} does not see "
            f"what rank 0 on {host} has there{f', {checkpoint}' if checkpoint else ''}. Give one on a file system of "
            "all machines."
        )


def _seen(path: Path) -> bool:
    """Wait a little for a file that another machine has made."""
    end = time.monotonic() + WAIT_S
    while not (seen := path.exists()) and time.monotonic() < end:
        time.sleep(0.2)
    return seen


def warn_of_restarts(flags: Flags) -> None:
    """Warn of restarts that would lose the run's steps."""
    args = flags.training
    if args.process_index:
        return
    if args.resume_from_checkpoint == "auto" and args.save_strategy == "no":
        logger.warning("save_strategy no: there is no checkpoint to go on from. Give --save_strategy steps.")
    if not int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)):
        return
    if args.resume_from_checkpoint != "auto" and not flags.start.folds:
        logger.warning("A restart would begin at step 0. Give --resume_from_checkpoint auto.")
    if os.environ.get("TORCH_DISABLE_SHARE_RDZV_TCP_STORE") != "1":
        logger.warning(
            "Restarted processes may not find each other: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, with "
            "--rdzv_backend c10d (docs/cluster.md)."
        )
