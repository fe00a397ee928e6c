"""Work for callers who may leave: one after another, and none for those who have gone."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Generic, TypeVar


LOOK_EVERY_S = 0.25
WORDS = {
    "waiting": "Waiting for those before you",
    "texts": "Reading what is said",
    "frames": "Watching the video",
    "scores": "Choosing the best parts",
    "files": "Writing the short video",
}
T = TypeVar("T")
Tell = Callable[[str, float], None]


class CallerGone(Exception):
    """Ends work that nobody waits for."""


@dataclass(frozen=True)
class Progress:
    """How far a call is: one of the keys of `WORDS` and the share of it that is done, in [0, 1]."""

    step: str = "waiting"
    share: float = 0.0


@dataclass(frozen=True)
class Done(Generic[T]):
    """What a call gave."""

    value: T


@dataclass(frozen=True)
class Upload:
    """A file as it was received. Gradio keeps equal files under one path: a later one replaces it."""

    path: Path
    inode: int

    @classmethod
    def of(cls, path: str | Path) -> "Upload":
        """Remember which file lies there; none has inode 0."""
        with suppress(OSError):
            return cls(Path(path), Path(path).stat().st_ino)
        return cls(Path(path), 0)

    def delete(self) -> None:
        """Delete it, unless another has come in its place."""
        if Upload.of(self.path) == self:
            self.path.unlink(missing_ok=True)


class Worker:
    """Works off calls in the order in which they came."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "summaries")
        self._closed = Event()

    async def follow(
        self, work: Callable[[Tell], T], gone: Event | None = None, ended: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[Progress | Done[T], None]:
        """Do the work in its turn and tell how far it is, then what it gave.

        Whoever stops to iterate, or is cancelled, has gone: what has not begun never does, what has begun ends at its
        next sign of progress.

        Args:
            work: Is given a function to tell its progress, which raises `CallerGone` once nobody waits.
            gone: Set by another who knows that the caller has gone.
            ended: Called in any case, when nothing works any more.
        """
        gone, now = gone or Event(), Progress()

        def tell(step: str, share: float) -> None:
            nonlocal now
            now = Progress(step, share)
            if gone.is_set() or self._closed.is_set():
                raise CallerGone("The app was stopped." if self._closed.is_set() else "The caller has gone.")

        def begin() -> T:
            tell("texts", 0.0)
            return work(tell)

        future: Future[T] = self._pool.submit(begin)
        future.add_done_callback(lambda _: ended())
        waited = asyncio.wrap_future(future)
        try:
            while not waited.done():
                yield now
                await asyncio.wait({waited}, timeout=LOOK_EVERY_S)
            yield Done(waited.result())
        finally:
            gone.set()
            future.cancel()
            waited.cancel()

    def close(self) -> None:
        """End all work, and wait until none is left."""
        self._closed.set()
        self._pool.shutdown(cancel_futures=True)
