"""Sample levels and videos in the order that a training run sees.

That is m child steps, then one parent step (paper section 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Dataset, Sampler

from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord


MIXED = 50  # batches whose videos are sorted by length together
SCHEDULES = ("alternate", "child", "parent", "joint", "adaptive")


def steps_of_global_step(global_step: int) -> tuple[int, int]:
    """Translate a "global step" of the paper's plot into (child_steps, parent_steps).

    There 0 is child level alone and 1 parent level alone (schedules of their own here), and from 2 on every
    `global_step`-th step is a parent step: 2 -> (1, 1), the default, 6 -> (5, 1), the paper's best.
    """
    if global_step < 0:
        raise HierSumError(f"global_step must not be negative, got {global_step}.")
    return (global_step - 1, 1) if global_step else (1, 0)


class AlternatingBatchSampler(Sampler[list[tuple[str, int]]]):
    """Sample batches of (level, video index), each full and of one level.

    The unit is the optimiser step: the `batches_per_step` batches that make one step (gradient accumulation x ranks)
    follow each other and have one level, so that every rank is at the same level at every step. The levels run on from
    epoch to epoch: step s of the whole run is a child step iff s mod (child_steps + parent_steps) < child_steps (for
    the paper's plotted "global step" see `steps_of_global_step`). The adaptive schedule reads its levels from a plan
    that grows while the run goes on: window k has plan[k] parent steps, evenly spread.

    Each level draws its videos from endless passes over its own pool, every pass in a new order. Order and levels are a
    pure function of (seed, epoch, plan), so that a resumed run continues with the same videos.

    Args:
        child_pool: Indices of the videos that can be drawn at child level (or joint level).
        parent_pool: Indices of the videos that can be drawn at parent level: those with a description.
        batch_size: Videos in one batch.
        schedule: "alternate", "child", "parent", "joint" (both texts in one sequence) or "adaptive"; the last two are
            not in the paper.
        child_steps: m, child steps before each block of parent steps.
        parent_steps: Parent steps in a block, 1 in the paper.
        batches_per_step: Gradient accumulation steps x ranks (x 1 if Accelerate splits each batch over the ranks).
        seed: Fixes the order.
        window: Steps in a window of the adaptive plan.
        plan: Parent steps in each window planned so far, at most `window`; whoever plans appends to it.
        lengths: (V,) frames of every video, to draw videos of like length for a batch; None mixes all lengths.

    Raises:
        ValueError: A pool that the schedule needs is empty, a count below 1, or a step that is not planned yet.
    """

    drop_last = False

    def __init__(
        self,
        child_pool: Sequence[int],
        parent_pool: Sequence[int],
        batch_size: int,
        schedule: str = "alternate",
        child_steps: int = 1,
        parent_steps: int = 1,
        batches_per_step: int = 1,
        seed: int = 0,
        window: int = 50,
        plan: list[int] | None = None,
        lengths: np.ndarray | None = None,
    ):
        counts = {
            "batch_size": batch_size,
            "child_steps": child_steps,
            "parent_steps": parent_steps,
            "batches_per_step": batches_per_step,
            "window": window,
        }
        for name, count in counts.items():
            if count < 1:
                raise HierSumError(f"{name} must be at least 1, got {count}.")
        if schedule not in SCHEDULES:
            raise HierSumError(f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}.")
        if schedule in ("alternate", "adaptive", "parent") and not len(parent_pool):
            raise HierSumError(
                f"The {schedule} schedule needs videos with a description and its features, found none. Use "
                "schedule='child', or encode the descriptions (`hiersum prepare --text-encoder`)."
            )
        if schedule != "parent" and not len(child_pool):
            raise HierSumError(f"The {schedule} schedule needs videos, found none.")
        self.pools = {"child": list(child_pool), "joint": list(child_pool), "parent": list(parent_pool)}
        self.batch_size, self.batches_per_step = batch_size, batches_per_step
        self.schedule, self.child_steps, self.parent_steps = schedule, child_steps, parent_steps
        self.window, self.plan = window, [] if plan is None else plan
        self.seed, self.epoch, self.lengths = seed, 0, lengths

    @property
    def steps_per_epoch(self) -> int:
        """Count the steps that show the main pool once.

        They are optimiser steps, with the parent steps that go with them. Adaptive: with as many parent steps as child
        steps, whatever the plan, because an epoch's length must be known.
        """
        # steps = ceil(videos / (batch size x batches of a step)); every child step brings parent_steps / child_steps
        # parent steps with it, so an epoch shows every video once at child level (not given in the paper).
        main = self.pools["parent" if self.schedule == "parent" else "child"]
        steps = math.ceil(len(main) / (self.batch_size * self.batches_per_step))
        if self.schedule == "alternate":
            steps = math.ceil(steps * (self.child_steps + self.parent_steps) / self.child_steps)
        return 2 * steps if self.schedule == "adaptive" else steps

    def __len__(self) -> int:
        return self.steps_per_epoch * self.batches_per_step

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def level(self, step: int) -> str:
        """Return the level of optimiser step `step` of the run."""
        if self.schedule not in ("alternate", "adaptive"):
            return self.schedule
        return "parent" if self._parent_steps_before(step + 1) > self._parent_steps_before(step) else "child"

    def steps_before(self, step: int, level: str) -> int:
        """Count the steps at this level before step `step`."""
        if self.schedule not in ("alternate", "adaptive"):
            return step if level == self.schedule else 0
        parents = self._parent_steps_before(step)
        return {"child": step - parents, "parent": parents}.get(level, 0)

    def _parent_steps_before(self, step: int) -> int:
        if self.schedule == "alternate":
            # Paper section 3: a round is m child steps, then the parent steps. Whole rounds have all of these, the one
            # that has begun those past its child steps: with m = 3, step 7 is 1 round and 3 steps, of which 1 is
            # parent.
            rounds, rest = divmod(step, self.child_steps + self.parent_steps)
            return rounds * self.parent_steps + max(rest - self.child_steps, 0)
        # Adaptive (not given in the paper): of the first r steps of a window with p parent steps, floor(r p / W) are at
        # parent level, which spreads them evenly; `level` calls a step parent where this count grows.
        whole, rest = divmod(step, self.window)
        if whole + (rest > 0) > len(self.plan):
            raise HierSumError(
                f"Step {step - 1} was asked for, but only the first {len(self.plan) * self.window} steps are planned. "
                "The loaders read more than a window ahead: a larger adaptive_window helps."
            )
        return sum(self.plan[:whole]) + (rest * self.plan[whole] // self.window if rest else 0)

    def __iter__(self) -> Iterator[list[tuple[str, int]]]:
        # Steps count from the start of the run, not of the epoch, so that m child steps may be longer than an epoch.
        first = self.epoch * self.steps_per_epoch
        for step in range(first, first + self.steps_per_epoch):
            level = self.level(step)
            # Only steps at the same level move the level's own position, so that no pass skips a video.
            start = self.steps_before(step, level) * self.batches_per_step * self.batch_size
            # Accelerate deals batches like cards: with R ranks, batch b of the step goes to rank b mod R, which sees a
            # of them where a is the gradient accumulation. They have one level, so that ranks average like gradients.
            for batch in range(self.batches_per_step):
                offset = start + batch * self.batch_size
                yield [(level, self._draw(level, offset + i)) for i in range(self.batch_size)]

    def _draw(self, level: str, position: int) -> int:
        """Return the video at this position of the level's endless passes."""
        pool = self.pools[level]
        number, index = divmod(position, len(pool))
        if getattr(self, "_pass", None) != (level, number):
            self._pass = (level, number)
            # A pure function of (seed, level, pass): len tells "parent" from "child" and "joint", which never meet.
            rng = np.random.default_rng([self.seed, len(level), number])
            self._order = rng.permutation(len(pool))
            if self.lengths is not None:
                self._order = self._grouped(self.lengths[pool], self._order, -number * len(pool), rng)
        return pool[int(self._order[index])]

    def _grouped(self, lengths: np.ndarray, order: np.ndarray, start: int, rng: np.random.Generator) -> np.ndarray:
        """Reorder a pass so that batches hold videos of like length.

        `MIXED` batches at a time are sorted, so that a video's batch mates change from pass to pass; then the batches
        are shuffled. What completes the last batch of the pass before stays as it is, and so does what is left over.
        """
        # The pass begins at position -start of the level; so many of its videos complete the batch begun before.
        first, size = start % self.batch_size, self.batch_size
        parts = np.split(order[first:], range(MIXED * size, len(order) - first, MIXED * size))
        ranked = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
        whole = len(ranked) // size * size
        batches = rng.permutation(ranked[:whole].reshape(-1, size))
        return np.concatenate([order[:first], batches.ravel(), ranked[whole:]])


class LevelDataset(Dataset[tuple[str, VideoRecord]]):
    """Turn (level, index) of the sampler into (level, record) for the collator."""

    def __init__(self, records: Sequence[VideoRecord]):
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, item: tuple[str, int]) -> tuple[str, VideoRecord]:
        level, index = item
        return level, self.records[index]
