"""Settings of a training run.

What travels with the checkpoint is in `HierSumConfig` instead.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import Any

from transformers import TrainingArguments

from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.training.sampler import SCHEDULES


# They follow from the run
NO_FLAG = ("video_dim", "text_dim", "sample_fps", "default_level", "trained_levels", "trained_on")
AT_LEAST_1 = ("gradient_accumulation_steps", "per_device_train_batch_size", "per_device_eval_batch_size")
ABOVE_0 = ("num_train_epochs", "save_steps", "logging_steps", "eval_steps")
RESUME = {"true": "True", "false": None, "auto": "auto"}  # anything else is a folder
SAMPLING = ("random", "group_by_length")  # the Trainer's others leave the alternation out
NOT_NEGATIVE = ("learning_rate", "weight_decay", "max_grad_norm", "seed", "data_seed")


@dataclass
class HierSumTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with the parent-child alternation and defaults that suit it.

    AdamW instead of the L2-regularised Adam of A2Summ, a flat learning rate that falls over the last fifth of the
    steps, and gradients clipped at norm 1.
    """

    schedule: str = field(
        default="alternate",
        metadata={
            "help": "alternate: child steps, then parent steps (the paper). child, parent: one level only. joint: "
            "subtitles and description in one sequence. adaptive: the level with the larger loss gets more steps. (The "
            "last two are not in the paper.)",
            "choices": list(SCHEDULES),
        },
    )
    child_steps_per_parent: int = field(
        default=1,
        metadata={
            "help": "m: optimiser steps at child level before each block of parent steps. The paper's 5 needs far more "
            "steps: the parent level is learned late (docs/mechanisms.md)."
        },
    )
    parent_steps_per_child: int = field(
        default=1, metadata={"help": "Parent steps in a block: for more parent than child steps, with m = 1."}
    )
    adaptive_window: int = field(
        default=50, metadata={"help": "Optimiser steps that schedule adaptive plans together; see LevelPlanner."}
    )
    learning_rate: float = field(default=1e-3, metadata={"help": "Peak learning rate of AdamW."})
    weight_decay: float = field(
        default=1e-5, metadata={"help": "AdamW weight decay; none on norms, biases, logit scales."}
    )
    lr_scheduler_type: str = field(default="warmup_stable_decay", metadata={"help": "Shape of the learning rate."})
    lr_scheduler_kwargs: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Default: no warm-up, falling to 0 over the last fifth of the steps."}
    )
    per_device_train_batch_size: int = field(default=4, metadata={"help": "Videos in a batch."})
    train_sampling_strategy: str = field(
        default="random",
        metadata={
            "help": "random: any videos in a batch. group_by_length: videos of like length, so that less is padded.",
            "choices": list(SAMPLING),
        },
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must stay false: records are not columns."})
    ddp_find_unused_parameters: bool | None = field(
        default=True, metadata={"help": "The sentence head idles at parent level."}
    )
    fit_projections: bool = field(
        default=True,
        metadata={
            "help": "Start the projections from the training features, and the linear path from a ridge regression."
        },
    )
    rank_targets: bool = field(
        default=False,
        metadata={
            "help": "Of videos with annotators, learn the mean of their ranks, not of their scores. Not in the paper."
        },
    )
    allow_encoder_mismatch: bool = field(
        default=False,
        metadata={"help": "Train on features of several encoders, if their widths fit; the results say so."},
    )
    overwrite: bool = field(default=False, metadata={"help": "Replace an earlier run in output_dir."})
    logging_steps: float = field(default=50, metadata={"help": "Log every so many optimiser steps."})

    def __post_init__(self) -> None:
        self._check_numbers()
        if self.load_best_model_at_end and not self.metric_for_best_model:
            raise HierSumError(
                "load_best_model_at_end: expected --metric_for_best_model with it, for example child_kendall_tau, "
                f"found {self.metric_for_best_model}."
            )
        word = str(self.resume_from_checkpoint or "False")
        if word.lower() in RESUME:
            self.resume_from_checkpoint = RESUME[word.lower()]
        if self.overwrite and self.resume_from_checkpoint == "auto":
            raise HierSumError(
                "overwrite: expected False with --resume_from_checkpoint auto, which goes on with what is there, found "
                "True. Leave one of them out."
            )
        check_and_fill: Callable[[], None] = super().__post_init__  # untyped in Transformers
        check_and_fill()
        if self.load_best_model_at_end and self.save_strategy == "no":
            raise HierSumError("load_best_model_at_end: expected --save_strategy steps, epoch or best, found no.")
        for name, known in {"schedule": SCHEDULES, "train_sampling_strategy": SAMPLING}.items():
            if getattr(self, name) not in known:
                raise HierSumError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        for name, least in {"child_steps_per_parent": 1, "parent_steps_per_child": 1, "adaptive_window": 2}.items():
            if getattr(self, name) < least:
                raise HierSumError(f"{name} must be at least {least}, got {getattr(self, name)}.")

    def levels_to_come(self, trained: Sequence[str] | None) -> list[str]:
        """List the levels that the evaluations of the run will have.

        They are those that the network comes with and those of the schedule. A parent level whose first step is after
        the last evaluation is not among them; without an evaluation there are none.

        Args:
            trained: Levels that the network has been trained at before; None for none.
        """
        steps = self.max_steps if self.max_steps > 0 else math.inf
        if self.max_steps > 0 and self.eval_strategy == "steps" and (self.eval_steps or 0) >= 1:
            # The last evaluation of a run that evaluates every E steps is at the last multiple of E.
            steps -= steps % int(self.eval_steps or 1)
        levels = ["child", "parent"] if self.schedule in ("alternate", "adaptive") else [self.schedule]
        if self.schedule == "alternate" and steps <= self.child_steps_per_parent:
            levels = ["child"]
        return and_both(sorted({*(trained or ()), *levels})) if steps else []

    def _check_numbers(self) -> None:
        """Refuse numbers that would stop or spoil a run later on.

        Raises:
            ValueError: Such a number; names the flag.
        """
        if self.max_steps != -1 and self.max_steps < 1:
            raise HierSumError(f"max_steps must be at least 1, or -1 for num_train_epochs, got {self.max_steps}.")
        for name in AT_LEAST_1:
            if getattr(self, name) < 1:
                raise HierSumError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ABOVE_0:
            value = getattr(self, name)
            if value is not None and not 0 < float(value) < math.inf:
                raise HierSumError(f"{name} must be above 0 and finite, got {value}.")
        for name in NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not 0 <= float(value) < math.inf:
                raise HierSumError(f"{name} must be finite and not negative, got {value}.")


def and_both(levels: Sequence[str]) -> list[str]:
    """Add "both", the mean, where child and parent are among the levels."""
    return [*levels, "both"] if {"child", "parent"} <= set(levels) else list(levels)


def config_arguments() -> type:
    """Make a dataclass of the config's fields that a run may choose.

    They are fields of `HierSumConfig`, each with its help from there, for HfArgumentParser.
    """
    lines = re.findall(
        r"^ {4}(\w+) \(`[^\n]*?\): (.*?)(?=^ {4}\w+ \(`|^\S|\Z)", inspect.getdoc(HierSumConfig) or "", re.M | re.S
    )
    helps = {name: " ".join(text.split()).replace("%", "%%") for name, text in lines}
    types = HierSumConfig.__annotations__
    names = [name for name in types if name not in NO_FLAG]
    return make_dataclass(
        "ConfigArguments",
        [(n, types[n], field(default=getattr(HierSumConfig, n), metadata={"help": helps[n]})) for n in names],
    )
