"""Callbacks that follow and plan the levels of a training run.

The plan of the adaptive schedule answers the paper's open question 1 in our way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list, reduce
from torch import Tensor
from transformers import (
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import ExportableState

from hiersum_hf.modeling.configuration_hiersum import LEVELS
from hiersum_hf.modeling.errors_hiersum import HierSumError


if TYPE_CHECKING:
    from hiersum_hf.training.trainer import HierSumTrainer


class LevelPlanner(TrainerCallback, ExportableState):
    """Plan the levels of the adaptive schedule in windows of W steps.

    A data loader fetches ahead, so a level cannot be chosen at the step that needs it: window k + 2 is planned when
    window k ends, from the losses of window k at both levels. Windows 0 and 1 have three parent steps for a child step.
    The plan is equal on all ranks and part of the Trainer state (`trainer_state.json`), from where a resumed run goes
    on. Not given in the paper.

    Args:
        window: W, optimiser steps in a window, at least 2: one for each level.
        plan: Parent steps in each window planned so far.
        losses: (2, 2) sum and count of the losses since the current window began; rows child, parent.
    """

    def __init__(self, window: int, plan: list[int] | None = None, losses: list[list[float]] | None = None):
        self.window = window
        self.losses = torch.zeros(2, 2) if losses is None else torch.tensor(losses)
        self.plan = [planned_parent_steps(window, torch.zeros(2, 2))] * 2 if plan is None else plan
        self._step: Tensor | float = 0.0  # as losses, of this rank and this step

    def add(self, level: str, loss: Tensor) -> None:
        """Note the loss of a batch of this rank.

        It has to be one without terms that only one level has.
        """
        # (2, 2): rows child and parent, of which one is 0; on the device, so that no step waits for a number.
        seen = torch.stack([loss.detach().float(), torch.ones_like(loss, dtype=torch.float32)])
        self._step = self._step + torch.stack([seen * (level == "child"), seen * (level == "parent")])

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start a new plan, or take over that of the checkpoint.

        Raises:
            ValueError: The checkpoint has no plan, or one of another window.
        """
        fresh = LevelPlanner(self.window).state()
        states: Any = state.stateful_callbacks  # Transformers declares the list that the Trainer was given
        saved = states.get("LevelPlanner") if state.global_step else fresh
        found = saved["args"]["window"] if saved else "no plan"
        if found != self.window:
            raise HierSumError(
                f"Resuming at step {state.global_step} with schedule adaptive: expected a checkpoint with a plan of "
                f"adaptive_window {self.window}, found {found}."
            )
        self.plan[:] = saved["args"]["plan"]
        self.losses = torch.tensor(saved["args"]["losses"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add the step's losses of all ranks; plan where a window ends."""
        self.losses = reduce(self._step, "sum") + self.losses.to(args.device)
        self._step = 0.0
        if state.global_step % self.window == 0:
            # Reduced sums may differ in their last bit, and a plan that differs by a step would part the ranks' levels.
            planned = broadcast_object_list([planned_parent_steps(self.window, self.losses)])  # rank 0's
            self.plan += planned
            self.losses = torch.zeros(2, 2)

    def state(self) -> dict[str, Any]:
        """Return what the Trainer saves, with which `__init__` makes it again."""
        return {
            "args": {"window": self.window, "plan": list(self.plan), "losses": self.losses.tolist()},
            "attributes": {},
        }


def planned_parent_steps(window: int, losses: Tensor) -> int:
    """Choose the parent steps of a window from the levels' mean losses.

    Their share is 3 Lp^4 / (Lc^4 + 3 Lp^4), held in [.1, .9]. That is three parent steps for a child step where both
    losses are equal or say nothing (none, or not finite): the parent level is learned late and all at once, and few
    parent steps put that off (docs/mechanisms.md). Both levels get a step at least, or nothing would be known of the
    other one. Not given in the paper.

    Args:
        window: Optimiser steps in it, at least 2.
        losses: (2, 2) sum and count of the losses; rows child, parent.
    """
    # Lc^4 and Lp^4: a level whose loss is a fifth larger counts twice. Not given in the paper.
    child, parent = (losses[:, 0] / losses[:, 1].clamp(min=1)).double().pow(4).tolist()
    total = child + 3 * parent
    share = 3 * parent / total if 0 < total < float("inf") else 0.75
    # First the share within [.1, .9], then at least one step of each level, which small windows would round off.
    return min(max(round(window * min(max(share, 0.1), 0.9)), 1), window - 1)


def log_line(logs: Mapping[str, Any], step: int, steps: int) -> str:
    """Write a log of the Trainer as one short line.

    Of the terms of the levels (child/inter) it has the whole losses alone.
    """
    shown = {name: value for name, value in logs.items() if "/" not in name or name.endswith("/loss")}
    shown.pop("total_flos", None)
    told = (f"{name} {value:.4g}" for name, value in shown.items() if isinstance(value, int | float))
    return f"step {step}/{steps}: {', '.join(told)}"


class ShortLogs(ProgressCallback):
    """The progress bar of Transformers, with logs as lines of text."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.training_bar is not None and logs:
            self.training_bar.write(log_line(logs, state.global_step, state.max_steps))


class ShortPrints(PrinterCallback):
    """Logs as lines of text where there is no progress bar."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if state.is_local_process_zero and logs:
            print(log_line(logs, state.global_step, state.max_steps))  # noqa: T201 (as the callback it stands for)


class LevelCallback(TrainerCallback):
    """Keep a trainer's sampler, progress bar and config at its levels."""

    def __init__(self, trainer: HierSumTrainer):
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.trained_before = set(self.trainer.model.config.trained_levels or [])

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell the sampler the epoch and the plan.

        Accelerate tells it the epoch too, but not through all of its wrappers (a resumed run on several ranks).
        """
        self.trainer.sampler.set_epoch(int(state.epoch or 0))
        if self.trainer.planner:
            self.trainer.sampler.plan = self.trainer.planner.plan

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the level of the step in the progress bar."""
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressCallback) and callback.training_bar is not None:
                callback.training_bar.set_postfix_str(self.trainer.sampler.level(state.global_step), refresh=False)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._note_levels(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note the levels of the weights that are kept.

        They are the best or the last.
        """
        best = state.best_global_step if args.load_best_model_at_end and state.best_model_checkpoint else None
        self._note_levels(state.global_step if best is None else best)

    def _note_levels(self, step: int) -> None:
        """Write the levels trained up to this step into the config."""
        levels = {level for level in LEVELS if self.trainer.sampler.steps_before(step, level)}
        self.trainer.model.config.trained_levels = sorted(levels | self.trained_before) or None
