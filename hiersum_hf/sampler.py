"""The order in which a training run sees levels and videos: m child steps, then one parent step (paper section 3)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Dataset, Sampler

from hiersum_hf.records import VideoRecord


class AlternatingBatchSampler(Sampler[list[tuple[str, int]]]):
    """Batches of (level, video index), every batch of one level and full.

    The unit is the optimiser step: the `batches_per_step` batches that make one step (gradient accumulation x ranks)
    follow each other and have one level, so that every rank is at the same level at every step. The levels run on from
    epoch to epoch: step s of the whole run is a child step iff s mod (child_steps + parent_steps) < child_steps. (The
    paper's plotted "global step" g counts the other way: every g-th step is a parent step, so child_steps = g - 1.)

    Each level draws its videos from endless passes over its own pool, every pass in a new order. Order and levels are a
    pure function of (seed, epoch), so that a resumed run continues with the same videos.

    Args:
        child_pool: Indices of the videos that can be drawn at child level (or joint level).
        parent_pool: Indices of the videos that can be drawn at parent level: those with a description.
        batch_size: Videos in one batch.
        schedule: "alternate", "child", "parent" or "joint" (both texts in one sequence, not in the paper).
        child_steps: m, child steps before each block of parent steps.
        parent_steps: Parent steps in a block, 1 in the paper.
        batches_per_step: Gradient accumulation steps x ranks.
        seed: Fixes the order.

    Raises:
        ValueError: A pool that the schedule needs is empty, or a count below 1.
    """

    drop_last = False

    def __init__(
        self,
        child_pool: Sequence[int],
        parent_pool: Sequence[int],
        batch_size: int,
        schedule: str = "alternate",
        child_steps: int = 5,
        parent_steps: int = 1,
        batches_per_step: int = 1,
        seed: int = 0,
    ):
        counts = {
            "batch_size": batch_size, "child_steps": child_steps, "parent_steps": parent_steps,
            "batches_per_step": batches_per_step,
        }  # fmt: skip
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}.")
        if schedule not in ("alternate", "child", "parent", "joint"):
            raise ValueError(f"schedule must be alternate, child, parent or joint, got {schedule!r}.")
        if schedule in ("alternate", "parent") and not len(parent_pool):
            raise ValueError(
                f"The {schedule} schedule needs videos with a description, found none. Use schedule='child'."
            )
        if schedule != "parent" and not len(child_pool):
            raise ValueError(f"The {schedule} schedule needs videos, found none.")
        self.pools = {"child": list(child_pool), "joint": list(child_pool), "parent": list(parent_pool)}
        self.batch_size, self.batches_per_step = batch_size, batches_per_step
        self.schedule, self.child_steps, self.parent_steps = schedule, child_steps, parent_steps
        self.seed, self.epoch = seed, 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps that show every video of the main pool once, with the parent steps that go with them."""
        main = self.pools["parent" if self.schedule == "parent" else "child"]
        steps = math.ceil(len(main) / (self.batch_size * self.batches_per_step))
        if self.schedule == "alternate":
            steps = math.ceil(steps * (self.child_steps + self.parent_steps) / self.child_steps)
        return steps

    def __len__(self) -> int:
        return self.steps_per_epoch * self.batches_per_step

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def level(self, step: int) -> str:
        """Level of optimiser step `step` of the run."""
        if self.schedule != "alternate":
            return self.schedule
        return "child" if step % (self.child_steps + self.parent_steps) < self.child_steps else "parent"

    def __iter__(self) -> Iterator[list[tuple[str, int]]]:
        first = self.epoch * self.steps_per_epoch
        for step in range(first, first + self.steps_per_epoch):
            level = self.level(step)
            start = self._steps_before(step, level) * self.batches_per_step * self.batch_size
            for batch in range(self.batches_per_step):
                offset = start + batch * self.batch_size
                yield [(level, self._draw(level, offset + i)) for i in range(self.batch_size)]

    def _steps_before(self, step: int, level: str) -> int:
        """How many of the steps 0 .. step - 1 are at this level."""
        if self.schedule != "alternate":
            return step
        rounds, rest = divmod(step, self.child_steps + self.parent_steps)
        if level == "child":
            return rounds * self.child_steps + min(rest, self.child_steps)
        return rounds * self.parent_steps + max(rest - self.child_steps, 0)

    def _draw(self, level: str, position: int) -> int:
        """Video at this position of the level's endless passes."""
        pool = self.pools[level]
        number, index = divmod(position, len(pool))
        if getattr(self, "_pass", None) != (level, number):
            self._pass = (level, number)
            self._order = np.random.default_rng([self.seed, len(level), number]).permutation(len(pool))
        return pool[self._order[index]]


class LevelDataset(Dataset):
    """Turns the (level, index) pairs of the sampler into (level, record) pairs for the collator."""

    def __init__(self, records: Sequence[VideoRecord]):
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, item: tuple[str, int]) -> tuple[str, VideoRecord]:
        level, index = item
        return level, self.records[index]
