"""Run the `hiersum` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from hiersum_hf.cli import app, evaluate, extract, merge, prepare, push, summarize, train
from hiersum_hf.files.escape import printable


BY_LIBRARIES = ("train", "merge", "push")  # libraries say some of their errors in several lines
GOES_ON = {
    "prepare": "; run it again to go on",
    "extract": "; run it again to go on",
    "train": "; add --resume_from_checkpoint True to go on from the last checkpoint",
}
EXAMPLES = """examples:
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
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    summarize.add(commands)
    extract.add(commands)
    prepare.add(commands)
    train.add(commands)
    evaluate.add(commands)
    merge.add(commands)
    push.add(commands)
    app.add(commands)
    return main


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 if all is done; 1 if all but some items is done, which are named; 2 for bad input and 130 after Ctrl-C, both
        said in one line on stderr.
    """
    args = parser().parse_args(argv)
    try:
        return int(args.run(args) or 0)
    except refusals() as error:
        print(f"hiersum: error: {_said(error, args.command)}", file=sys.stderr)
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
