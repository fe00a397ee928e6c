"""Run `hiersum train`, from data to a checkpoint.

Its flags are those of a run (`hiersum_hf.training.flags`); recipes hold them too.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hiersum_hf.cli.hush import hush
from hiersum_hf.files.escape import printable, printable_lines
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.training.recipe_files import find_recipe, list_recipes


if TYPE_CHECKING:
    from hiersum_hf.training.run import Trained


def add(commands: Any) -> None:
    """Add the command to the parser's.

    No word of a command line begins with NUL, so argparse takes none for a flag and leaves all of them to `run`.
    """
    train = commands.add_parser(
        "train", help="train on a data set, evaluate, leave a checkpoint", add_help=False, prefix_chars="\0"
    )
    train.add_argument("words", nargs=argparse.REMAINDER)
    train.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, or tell about recipes and flags without loading the Trainer."""
    words = args.words
    if told := tell(words):
        print(told)
        return 0
    hush()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return _train(with_demo(words))


def tell(words: Sequence[str]) -> str | None:
    """Answer --help, --help-all, --list and --show, which ask for no training."""
    if {"-h", "--help", "--help-all"} & set(words):
        from hiersum_hf.training.help import help_text

        return help_text(every="--help-all" in words)
    if "--list" in words:
        return list_recipes()
    return show([word for word in words if word != "--show"]) if "--show" in words else None


def show(words: Sequence[str]) -> str:
    """Read the recipe to print; without a word it is the demo's.

    Raises:
        FileNotFoundError: There is no such recipe.
        HierSumError: There are flags too, which would not be shown.
    """
    if len(words) > 1 or (words and words[0].startswith("-")):
        raise HierSumError(f"--show: expected a recipe and no flag, found {' '.join(words)}.")
    text = find_recipe(words[0] if words else "demo").read_text(encoding="utf-8")
    return printable_lines(text.rstrip("\n"))


def with_demo(words: Sequence[str]) -> Sequence[str]:
    """Put the demo's recipe before flags that name neither recipe nor data."""
    if (words and not words[0].startswith("-")) or any(word.split("=")[0] == "--data" for word in words):
        return words
    print("No data given: training on the made-up demo set, as recipe demo says.", file=sys.stderr)
    return ["demo", *words]


def _train(words: Sequence[str]) -> int:
    """Train a run, or every fold.

    Wrong flags are refused before the Trainer is loaded, which takes a second.
    """
    from hiersum_hf.training.flags import parse

    flags = parse(words)
    from hiersum_hf.training.folds import train_folds
    from hiersum_hf.training.ranks import warn_of_restarts
    from hiersum_hf.training.run import train

    warn_of_restarts(flags)
    if not flags.start.folds:
        trained = train(words)
        return _tell(trained) if trained else 0
    from hiersum_hf.evaluation.folds import format_folds
    from hiersum_hf.results import format_table

    if results := train_folds(words, flags, _tell):
        written = f"Written to {flags.training.output_dir}/results.json"
        print(printable_lines(f"{format_table([results])}\n\n{format_folds(results)}\n\n{written}"))
    return 0


def _tell(trained: Trained) -> int:
    """Print what a run has left, and push it; a push that fails costs only another try.

    Returns:
        0, or 1 if the finished run could not be pushed.
    """
    from hiersum_hf.hub.push import push
    from hiersum_hf.results import format_table

    print(printable_lines(format_table(trained.results)))
    print(f"\nCheckpoint, card and results.json: {trained.folder}")
    if trained.repo_id is None:
        return 0
    try:
        print(f"Pushed: {push(trained.folder, trained.repo_id, trained.private)}")
    except (ValueError, OSError) as error:
        again = shlex.join(["hiersum", "push", str(trained.folder), trained.repo_id])
        said = printable(" ".join(str(error).split()))
        print(f"hiersum: {said}\nThe run is complete. Push it: {again}", file=sys.stderr)
        return 1
    return 0
