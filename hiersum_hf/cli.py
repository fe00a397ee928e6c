"""The `hiersum` command."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from hiersum_hf import cli_evaluate, cli_prepare
from hiersum_hf.datasets.printable import printable


EXAMPLES = """examples:
  hiersum summarize talk.mp4 --subtitles talk.srt --output summaries/
  hiersum summarize talk.mp4 --subtitles talk.srt --description talk.txt --model org/hiersum --budget 60s --output out/
  hiersum prepare mrhisum --source downloads/mrhisum --output prepared/mrhisum --half
  hiersum evaluate tvsum --data ydata-tvsum50.mat --scorer human
  hiersum evaluate tvsum --data eccv16_dataset_tvsum_google_pool5.h5 --ratings ydata-tvsum50.mat --scorer runs/tvsum
"""


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        prog="hiersum",
        description="Video summarization from subtitles and descriptions.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")

    summarize = commands.add_parser("summarize", help="make a short version of a video file")
    summarize.add_argument("video", metavar="VIDEO", help="any video file")
    summarize.add_argument("--subtitles", metavar="FILE", help="SRT, WebVTT or ASS; default: the track in the video")
    summarize.add_argument(
        "--description",
        metavar="FILE",
        help="what the video is about: .txt with one text (title, step) a line, or .json with title and steps",
    )
    summarize.add_argument(
        "--model", metavar="DIR", help="checkpoint folder or Hub id; default: a scorer that needs no training"
    )
    summarize.add_argument(
        "--budget",
        default="0.15",
        help="length of the summary: 0.15 = 15 %% of the video, 60s = one minute (%(default)s)",
    )
    summarize.add_argument(
        "--level",
        choices=["child", "parent", "both", "joint"],
        help="what the scores are read from: subtitles, description, both; default: the checkpoint's choice",
    )
    summarize.add_argument(
        "--output",
        metavar="OUT",
        required=True,
        help="OUT/<name of the video>/ gets summary.mp4, .json, .srt, scores.png",
    )
    summarize.add_argument("--overwrite", action="store_true", help="replace an earlier summary there")
    summarize.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")
    summarize.add_argument("--json", action="store_true", help="print summary.json on stdout and nothing else")
    summarize.set_defaults(run=run_summarize)
    cli_prepare.add(commands)
    cli_evaluate.add(commands)
    return main


def run_summarize(args: argparse.Namespace) -> None:
    from hiersum_hf.summarize import output_folder, summarize_video, write_summary

    output_folder(args.video, args.output, args.overwrite)  # before the long work
    summary, sentences = summarize_video(
        args.video, args.subtitles, args.description, args.model, args.budget, args.level, args.device
    )
    folder = write_summary(summary, args.video, args.output, sentences, args.overwrite)
    for warning in summary.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if args.json:
        print(json.dumps(summary.to_dict(), ensure_ascii=False))
        return
    total_s = sum(segment.end_s - segment.start_s for segment in summary.segments)
    print(f"{summary.video}: {total_s:.1f} of {summary.duration_s:.1f} s in {len(summary.segments)} segments")
    for segment in summary.segments:
        print(f"  {segment.start_s:8.2f} - {segment.end_s:8.2f} s   score {segment.score:.2f}")
    for sentence in summary.key_sentences:
        print(f"  “{sentence['text']}”")
    print(f"Written to {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; 0 = done, 1 = done but for some items, named; 2 = bad input, said on stderr."""
    args = parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except (ValueError, OSError, ImportError) as error:
        print(f"hiersum: error: {printable(str(error))}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
