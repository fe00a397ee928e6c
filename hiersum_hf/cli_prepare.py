"""`hiersum prepare`: a data set to a folder of Parquet files."""

from __future__ import annotations

import argparse
import json
from typing import Any


PREPARE_HELP = """what --source holds:
  tvsum, summe  the eccv16 .h5, beside it ydata-tvsum50.mat or -anno.tsv if there is one
  bliss         annotation/ and feature/ (pickled .npy files converted once, hiersum_hf.datasets.pickles)
  mrhisum       metadata.csv, mr_hisum.h5, mr_hisum_split.json; or the trimodal release, mrhisum_gt.h5 and its features
  mosu          mosu_gt.h5 and its features
  wikihow       any of how_to_steps.tar.gz, wikihowto_annt.json or pseudoGT_summ_annts.json, pseudoGT_task_annts.json,
                features.h5
  folder        your own videos: NAME.mp4 with NAME.srt, NAME.txt, NAME.csv
  howto         videos with a downloader's NAME.info.json and NAME.LANG.vtt, and how_to_steps.tar.gz
"""


def add(commands: Any) -> None:
    """Adds the command to the parser's."""
    prepare = commands.add_parser(
        "prepare",
        help="read a data set once, check it, and store it as Parquet",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Read a data set as the field exchanges it, check every video, store all as Parquet files of one\n"
        "schema. Work that was interrupted goes on where it stopped.",
        epilog=PREPARE_HELP,
    )
    prepare.add_argument("dataset", metavar="NAME", help="tvsum, summe, bliss, mrhisum, mosu, wikihow, folder, howto")
    prepare.add_argument("--source", required=True, metavar="DIR", help="where its files are")
    prepare.add_argument("--output", required=True, metavar="DIR", help="folder to fill: data-*.parquet, report.json")
    prepare.add_argument("--skip-bad", action="store_true", help="list videos that cannot be read instead of stopping")
    prepare.add_argument("--half", action="store_true", help="store features in half precision: half the disk")
    prepare.add_argument("--num-proc", type=int, default=1, help="processes (%(default)s)")
    for kind, example in (("video", "a CLIP-like model"), ("text", "a Sentence-BERT")):
        prepare.add_argument(f"--{kind}-encoder", metavar="ID", help=f"{example} for what has no features yet")
    prepare.add_argument("--json", action="store_true", help="print report.json on stdout and nothing else")
    prepare.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from hiersum_hf.datasets.prepare import format_report, prepare
    from hiersum_hf.datasets.sources import open_reader

    encoders = {"video_encoder": args.video_encoder, "text_encoder": args.text_encoder}
    reader, source = open_reader(args.dataset, args.source, **{key: id for key, id in encoders.items() if id})
    report = prepare(
        reader,
        args.output,
        source,
        dtype="float16" if args.half else "float32",
        skip_bad=args.skip_bad,
        num_proc=args.num_proc,
    )
    print(json.dumps(report, ensure_ascii=False) if args.json else format_report(report))
    return 1 if report["skipped"] else 0
