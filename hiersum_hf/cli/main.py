"""Run the `hiersum` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hiersum_hf import __version__
from hiersum_hf.cli import app, evaluate, extract, merge, prepare, push, summarize, train
from hiersum_hf.cli.hush import hush
from hiersum_hf.files.escape import printable


COMMANDS = {
    module.__name__.rpartition(".")[2]: module
    for module in (summarize, extract, prepare, train, evaluate, merge, push, app)
}
LOADING = ("summarize", "extract", "prepare", "evaluate", "merge", "app")  # models; training says so itself
BY_LIBRARIES = ("train", "merge", "push")  # libraries say some of their errors in several lines
LAUNCHERS = ("ACCELERATE_", "TORCHELASTIC_")  # variables that they set for the processes of a run
PATHS = ("VIDEO", "OUT", "FILE", "DIR", "ADAPTER", "OUTPUT")  # as flags call them
GOES_ON = {
    "prepare": "; run it again to go on",
    "extract": "; run it again to go on",
    "train": "; add --resume_from_checkpoint True to go on from the last checkpoint",
}
EXAMPLES = """examples:
  hiersum talk.mp4        # `hiersum summarize talk.mp4`, written to summaries/talk beside it
  hiersum summarize talk.mp4 --output summaries/
  hiersum summarize talk.mp4 --subtitles talk.srt --description talk.txt --model org/hiersum --budget 60s --output out/
  hiersum prepare mrhisum --source downloads/mrhisum --output prepared/mrhisum --half
  hiersum train tvsum --data prepared/tvsum --learning_rate 5e-4
  hiersum evaluate tvsum --data ydata-tvsum50.mat --scorer human
  hiersum evaluate tvsum --data eccv16_dataset_tvsum_google_pool5.h5 --ratings ydata-tvsum50.mat --scorer runs/tvsum
  hiersum push runs/tvsum org/hiersum-tvsum
"""


def parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    main = argparse.ArgumentParser(
        prog="hiersum",
        description="Video summarization from subtitles and descriptions.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main.add_argument("--version", action="version", version=f"hiersum {__version__}")
    main.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=["bash", "zsh", "tcsh"],
        help="print a script that completes commands, flags and paths: hiersum --print-completion bash > "
        "~/.local/share/bash-completion/completions/hiersum",
    )
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS.values():
        module.add(commands)
    return main


class PrintCompletion(argparse.Action):
    """Print the script by which a shell completes commands, flags and paths."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        try:
            import shtab
        except ImportError:
            parser.exit(2, 'hiersum: error: --print-completion needs shtab: pip install "hiersum-hf[completion]"\n')
        (commands,) = parser._subparsers._group_actions
        for action in (action for command in commands.choices.values() for action in command._actions):
            if action.metavar in PATHS:
                action.complete = shtab.FILE
        print(shtab.complete(parser, values))
        parser.exit()


def with_command(words: Sequence[str]) -> list[str]:
    """Put `summarize` before a video that comes without a command."""
    first = words[0] if words else "-"
    is_path = not first.startswith("-") and (set(first) & {*"./*", os.sep} or Path(first).exists())
    return ["summarize", *words] if is_path and first not in COMMANDS else [*words]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 if all is done; 1 if all but some items is done, which are named; 2 for bad input and 130 after Ctrl-C, both
        said in one line on stderr; 141 where the program that reads the output, such as `head`, has ended.
    """
    try:
        try:
            return _run(with_command(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains of what it cannot flush
        return 141  # as shells count: 128 + SIGPIPE


def _run(words: Sequence[str]) -> int:
    """Run the command, and return its exit code."""
    args = parser().parse_args(words)
    try:
        if args.command in LOADING:
            hush()
        return int(args.run(args) or 0)
    except BrokenPipeError:
        raise
    except refusals() as error:
        print(f"hiersum: error: {_said(error, args.command)}", file=sys.stderr)
        if args.command == "train" and any(name.startswith(LAUNCHERS) for name in os.environ):
            print("hiersum: the launcher tells below, in its own words, that this process ended", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"hiersum: interrupted{GOES_ON.get(args.command, '')}", file=sys.stderr)
        return 130  # as shells count: 128 + SIGINT


def refusals() -> tuple[type[Exception], ...]:
    """Return the errors that are said in a line, loaded where there is one."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    named = ValueError, OSError, ImportError, MemoryError, RecursionError
    return *named, StrictDataclassError, SafetensorError  # a flag of the config; a full disk


def _said(error: BaseException, command: str) -> str:
    """Say an error in one line.

    Where no library speaks, line breaks are those of names, and shown.
    """
    text = str(error) or type(error).__name__
    return printable(" ".join(text.split()) if command in BY_LIBRARIES else text)


if __name__ == "__main__":
    sys.exit(main())
