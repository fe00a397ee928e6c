"""Flags of a training run, from the command line or a recipe.

A recipe is a YAML file of `flag: value` lines.
"""

from __future__ import annotations

import difflib
import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml
from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from hiersum_hf.datasets.arguments import DataArguments
from hiersum_hf.files.atomic import write_text
from hiersum_hf.files.safe_yaml import load_yaml
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.training.arguments import HierSumTrainingArguments, config_arguments
from hiersum_hf.training.recipe_files import find_recipe


READ_BY = {  # flags of one schedule
    "adaptive_window": "adaptive",
    "child_steps_per_parent": "alternate",
    "parent_steps_per_child": "alternate",
}
NOT_IN_A_RECIPE = ("overwrite", "resume_from_checkpoint", "push_to_hub", "hub_model_id", "hub_private_repo")
AGAIN = "# What `hiersum train` was given. Again: hiersum train recipe.yaml --output_dir NEW"
KINDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a word", string_to_bool: "true or false"}


@dataclass
class StartArguments:
    """Settings of what a run starts from, and of what is trained."""

    checkpoint: str | None = field(
        default=None,
        metadata={
            "help": "Start from the weights of this folder or Hub id. Its settings hold unless a flag changes them; "
            "those that its weights depend on cannot be changed."
        },
    )
    transfer_widths: bool = field(
        default=False,
        metadata={
            "help": "Take features of another width or encoder than the checkpoint's: their projection starts anew."
        },
    )
    lora_r: int | None = field(
        default=None,
        metadata={"help": "Train a LoRA adapter of this rank and the heads, and leave the checkpoint's weights alone."},
    )
    lora_alpha: int | None = field(
        default=None, metadata={"help": "The adapter counts lora_alpha / lora_r. Default: 2 * lora_r."}
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout before the adapter."})
    folds: bool = field(
        default=False,
        metadata={
            "help": "Train every fold into output_dir/fold_0, fold_1, ... and evaluate them together. Started again, "
            "it skips folds that are complete and resumes the one that was interrupted."
        },
    )

    ranks: int | None = field(
        default=None,
        metadata={
            "help": "Processes that the batch flags are meant for; default: as many as are started. On another number "
            "gradient_accumulation_steps changes so that a step sees the same videos. A run keeps it in recipe.yaml."
        },
    )

    def __post_init__(self) -> None:
        if self.lora_r is None and (self.lora_alpha is not None or self.lora_dropout):
            raise HierSumError("lora_alpha and lora_dropout belong to an adapter: expected --lora_r with its rank.")
        if self.lora_r is not None and self.checkpoint is None:
            raise HierSumError(
                "lora_r: expected --checkpoint. An adapter adjusts a trained network; random weights that stay as they "
                "are cannot be adjusted to anything."
            )
        for name in ("lora_r", "lora_alpha", "ranks"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise HierSumError(f"{name} must be at least 1, got {value}.")
        if not 0 <= self.lora_dropout < 1:
            raise HierSumError(f"lora_dropout must be in [0, 1), got {self.lora_dropout}.")
        if self.transfer_widths and self.checkpoint is None:
            raise HierSumError("transfer_widths: expected --checkpoint with the network to keep.")


class Flags(NamedTuple):
    """Hold a parsed command line.

    `given` has what was really said there or in the recipe.
    """

    data: DataArguments
    config: Any
    training: HierSumTrainingArguments
    start: StartArguments
    given: dict[str, Any]


class _Parser(HfArgumentParser):
    """Say what is wrong in one line, without a list of flags."""

    def error(self, message: str) -> NoReturn:
        raise HierSumError(message)


def parser() -> HfArgumentParser:
    """Make the parser of every flag of a training run."""
    parts: Any = (DataArguments, config_arguments(), HierSumTrainingArguments, StartArguments)
    return _Parser(parts)


def parse(words: Sequence[str]) -> Flags:
    """Parse a command line, perhaps with a recipe before its flags.

    The recipe comes as its name or path, and flags override it.

    Raises:
        FileNotFoundError: No such recipe.
        ValueError: An unknown flag, a value of the wrong kind, or a flag that would do nothing in this run. (What a
            recipe says of its own schedule is left out where another one is asked for.)
    """
    flags = parser()
    recipe: dict[str, Any] = {}
    if words and not words[0].startswith("-"):
        recipe, words = _given(flags, recipe_words(find_recipe(words[0]), flags))[0], words[1:]
    asked, unknown = _given(flags, words)
    if "schedule" in asked:
        recipe = {name: value for name, value in recipe.items() if name not in READ_BY}
    given = recipe | asked
    if unknown:
        _refuse_unknown(unknown[0], flags)
    data, config, training, start = flags.parse_dict(given)
    _refuse_idle(given, training)
    return Flags(data, config, training, start, given)


def _refuse_unknown(word: str, flags: HfArgumentParser) -> NoReturn:
    """Refuse a word that is no recipe, flag or value of one."""
    if not word.startswith("-"):
        raise HierSumError(f"{word}: expected the recipe before all flags, and one value behind each flag.")
    raise HierSumError(f"unknown flag {word}.{_nearest(word.lstrip('-').split('=')[0], flags)}")


def _refuse_idle(given: Mapping[str, Any], training: HierSumTrainingArguments) -> None:
    """Refuse a flag that this run would not heed.

    Raises:
        ValueError: There is one, and its value is not the default.
    """
    for name, schedule in READ_BY.items():
        default = getattr(HierSumTrainingArguments, name)
        if training.schedule != schedule and given.get(name, default) != default:
            raise HierSumError(
                f"{name}: expected schedule {schedule}, which alone heeds it, found schedule {training.schedule}. "
                f"Leave {name} out, or give its default, {default}."
            )
    if given.get("do_train") is False:
        raise HierSumError("do_train: expected True, found False. `hiersum evaluate` measures a checkpoint.")
    if given.get("dataloader_drop_last"):
        raise HierSumError("dataloader_drop_last: expected False, found True. Every batch is full: none is dropped.")


def _given(flags: HfArgumentParser, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Split words into what they set and those that are no flag.

    What they set has no defaults in it.
    """
    missing = object()
    found, unknown = flags.parse_known_args(words, Namespace(**dict.fromkeys(_names(flags), missing)))
    return {name: value for name, value in vars(found).items() if value is not missing}, unknown


def _names(flags: HfArgumentParser) -> list[str]:
    return [each.name for part in flags.dataclass_types for each in fields(part) if each.init]


def _nearest(name: str, flags: HfArgumentParser) -> str:
    near = difflib.get_close_matches(name.replace("-", "_"), _names(flags), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def recipe_words(path: Path, flags: HfArgumentParser) -> list[str]:
    """Turn a recipe into words of a command line.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not a recipe, an unknown flag in it, or a value of the wrong kind.
    """
    words: list[str] = []
    for name, value in read_recipe(path).items():
        if name not in _names(flags):
            raise HierSumError(f"{path}: unknown flag {name!r:.80}.{_nearest(str(name)[:80], flags)}")
        if value is None:
            continue
        own = [f"--{name}", *_texts(value)]
        try:
            _, unknown = _given(flags, own)
        except ValueError:
            unknown = own
        if unknown or (isinstance(value, dict) and name not in HierSumTrainingArguments._VALID_DICT_FIELDS):
            raise HierSumError(f"{path}: {name}: expected {_kind(name, flags)}, found {value!r:.200}.")
        words += own
    return words


def read_recipe(path: Path) -> dict[str, Any]:
    """Read the lines of a recipe.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not a recipe; its flags are not looked at.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a recipe, found no such file.")
    try:
        recipe = load_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HierSumError(f"{path}: expected a recipe in YAML: {error}") from None
    if not isinstance(recipe, dict):
        raise HierSumError(f"{path}: expected a recipe of `flag: value` lines, found {type(recipe).__name__}.")
    return recipe


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [json.dumps(value)]
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _kind(name: str, flags: HfArgumentParser) -> str:
    """Say in words what a flag takes."""
    action = next(action for action in flags._actions if action.dest == name)
    if action.choices:
        return f"one of {', '.join(map(str, action.choices))}"
    kind = KINDS.get(action.type, "another value")
    return f"a list, each {kind}" if action.nargs == "+" else kind


def write_recipe(run: Path, given: Mapping[str, Any]) -> None:
    """Write recipe.yaml, from which the run can be started again."""
    run.mkdir(parents=True, exist_ok=True)
    flags = yaml.safe_dump(_plain(given), sort_keys=False, allow_unicode=True)
    write_text(run / "recipe.yaml", f"{AGAIN}\n{flags}")


def kept_flags(run: Path) -> dict[str, Any]:
    """Read recipe.yaml of a run; none where there is none.

    Raises:
        ValueError: Not a recipe, an unknown flag in it, or a value of the wrong kind.
    """
    path, flags = run / "recipe.yaml", parser()
    return _given(flags, recipe_words(path, flags))[0] if path.is_file() else {}


def recipe_differences(run: Path, given: Mapping[str, Any]) -> list[str]:
    """Compare recipe.yaml of a run with what is given now.

    Returns:
        A text for each flag that differs, but for the ranks; none where there is no recipe.yaml.
    """
    path = run / "recipe.yaml"
    if not path.is_file():
        return []
    found, expected = read_recipe(path), _plain(given)
    names = [name for name in {**found, **expected} if found.get(name) != expected.get(name)]
    names = [name for name in names if name not in (*NOT_IN_A_RECIPE, "ranks")]
    return [f"{name} {found.get(name)!r}, now {expected.get(name)!r}" for name in names]


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in given.items() if name not in NOT_IN_A_RECIPE and value is not None}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return plain
