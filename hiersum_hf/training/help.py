"""Help of `hiersum train`, with the flags used most or all.

It loads no Trainer.
"""

from __future__ import annotations

from argparse import Action, HelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import fields

from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from hiersum_hf.datasets.arguments import DataArguments
from hiersum_hf.training.arguments import HierSumTrainingArguments, config_arguments
from hiersum_hf.training.flags import StartArguments, parser


DESCRIPTION = r"""Train HierSum and evaluate it on the videos it has not seen.

examples:
  hiersum train                                      # the made-up demo set, as recipe demo says
  hiersum train --list                               # every recipe in a line
  hiersum train tvsum --data prepared/tvsum --learning_rate 5e-4   # a recipe, and flags that override it
  hiersum train tvsum --show > mine.yaml             # a recipe to change, then: hiersum train mine.yaml
  hiersum train tvsum --data prepared/tvsum --folds True           # every fold, then all of them together
  hiersum train finetune --data prepared/tvsum --checkpoint runs/replay --transfer_widths True
  hiersum train lora --data prepared/tvsum --checkpoint runs/replay --transfer_widths True

several processes (on CPU with --use_cpu True at the end; `--cpu --num_processes 2` would start one, and is refused):
  accelerate launch --multi_gpu --num_machines 1 --num_processes 4 --mixed_precision no --dynamo_backend no \
      -m hiersum_hf train replay --data prepared/mrhisum

A run leaves in --output_dir: the checkpoint with its code and feature extractor (with --lora_r an adapter, of which
`hiersum merge` makes an ordinary checkpoint), README.md (its card), results.json (the test part), scores.png (one test
video) and recipe.yaml (the flags). `hiersum push` uploads it; so does --push_to_hub True at the end, which asks for
rights before the training."""
REST = "Every flag: hiersum train --help-all. A recipe is a YAML file of `flag: value` lines."
USED_MOST: dict[str, dict[str, str | None]] = {  # None: as `--help-all` says
    "data": {"data": None, "ratings": None, "split_file": None, "fold": None, "train_videos": None},
    "levels": {"schedule": None, "child_steps_per_parent": None},
    "length and rate": {
        "num_train_epochs": "How often every video is seen.",
        "max_steps": "Optimiser steps; above 0 it takes the place of num_train_epochs.",
        "per_device_train_batch_size": None,
        "learning_rate": None,
        "seed": "Of weights and order.",
    },
    "network": {
        "hidden_size": None,
        "num_layers": None,
        "score_loss": None,
        "focal_weight": None,
        "smooth_s": None,
        "inter_weight": None,
        "intra_weight": None,
        "replay_weight": None,
        "score_head": None,
    },
    "start and folds": {"checkpoint": None, "transfer_widths": None, "lora_r": None, "folds": None},
    "output": {
        "output_dir": "Folder of the run.",
        "overwrite": None,
        "resume_from_checkpoint": "True goes on from the run's last whole checkpoint, auto too, or begins where "
        "there is none; a folder from that one.",
        "save_strategy": "When to keep a checkpoint to resume from.",
        "eval_strategy": "When to measure the validation part.",
        "metric_for_best_model": "With --load_best_model_at_end True: by what the checkpoint is chosen.",
    },
    "machine": {"use_cpu": "Leave a GPU alone.", "bf16": "Mixed precision; the losses stay in float32."},
    "Hub": {
        "push_to_hub": "Upload the finished run, once.",
        "hub_model_id": "Where to, org/name.",
        "hub_private_repo": "Whether a repository made for it is private.",
    },
}


class _Formatter(RawDescriptionHelpFormatter):
    """Show a flag in one spelling, with its kind and default."""

    def _format_action_invocation(self, action: Action) -> str:
        return " ".join(filter(None, [action.option_strings[0], _value(action)]))

    def _get_help_string(self, action: Action) -> str | None:
        silent = action.default is None or not _value(action)
        return action.help if silent or not action.help else f"{action.help} (default: %(default)s)"


def help_text(every: bool = False) -> str:
    """Format the help with the flags used most, or with every flag."""
    flags = parser()
    formatter = _Formatter("hiersum train")
    formatter.add_usage("%(prog)s [RECIPE] [--flag value ...]", [], [])
    formatter.add_text(DESCRIPTION)
    if every:
        _add_every_flag(formatter, flags)
    else:
        _add_used_most(formatter, flags)
        formatter.add_text(REST)
    return formatter.format_help()


def _add_used_most(formatter: HelpFormatter, flags: HfArgumentParser) -> None:
    found = {action.option_strings[0]: action for action in flags._actions}
    for title, names in USED_MOST.items():
        actions = [found[f"--{name}"] for name in names]
        for action, told in zip(actions, names.values(), strict=True):
            action.help = told or action.help
        _add_section(formatter, title, actions)


def _add_every_flag(formatter: HelpFormatter, flags: HfArgumentParser) -> None:
    parts = {
        "data": DataArguments,
        "start and folds": StartArguments,
        "network": config_arguments(),
        "training (the Trainer of Transformers; some that would do harm here are refused)": HierSumTrainingArguments,
    }
    for title, part in parts.items():
        names = {each.name for each in fields(part)}
        _add_section(formatter, title, [action for action in flags._actions if action.dest in names])


def _add_section(formatter: HelpFormatter, title: str, actions: Sequence[Action]) -> None:
    formatter.start_section(title)
    formatter.add_arguments(actions)
    formatter.end_section()


def _value(action: Action) -> str:
    """Say in a word what a flag takes."""
    if action.nargs == 0:
        return ""
    if action.choices:
        return "|".join(map(str, action.choices))
    kinds = {int: "N", float: "X", string_to_bool: "True|False"}
    return kinds.get(action.type, "TEXT") + (" ..." if action.nargs == "+" else "")
