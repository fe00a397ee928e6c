"""Run `hiersum extract`.

It keeps features of many videos' frames for later.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from hiersum_hf.cli.engine import add_engine, ray_address
from hiersum_hf.features.runtime import RUNTIMES
from hiersum_hf.features.video_encoder import DTYPES
from hiersum_hf.files.escape import printable


EXTRACT_HELP = """examples:
  hiersum extract videos --output features
  hiersum extract 'videos/**/*.mp4' talk.mkv --output features --model runs/mine
  hiersum extract 's3://bucket/videos/*.mp4' --output s3://bucket/features
  accelerate launch --multi_gpu --num_processes 4 --num_machines 1 --mixed_precision no --dynamo_backend no \\
      -m hiersum_hf extract videos --output features --model runs/mine
  hiersum extract videos --output features --engine ray --address local
  hiersum extract s3://bucket/videos --output s3://bucket/features --engine ray
"""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    extract = commands.add_parser(
        "extract",
        help="encode the frames of many videos once",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Encode the frames of videos into a folder, named by their content and what the features are made\n"
        "with and packed into few files. What is there already is not computed again. Each rank does its share.",
        epilog=EXTRACT_HELP,
    )
    extract.add_argument(
        "videos",
        nargs="+",
        metavar="VIDEO",
        help="video files, folders of them, or quoted patterns; in a bucket too: s3://, gs://, hf:// (docs/cluster.md)",
    )
    extract.add_argument(
        "--output", required=True, metavar="DIR", help="folder of features, new or from earlier runs; also in a bucket"
    )
    extract.add_argument(
        "--model", metavar="DIR", help="checkpoint folder or Hub id: its own frame encoder and sample rate"
    )
    extract.add_argument(
        "--video-encoder",
        metavar="ID",
        help="a CLIP-like model or efficientnet-lite0; default: the latter where it is installed, else "
        "openai/clip-vit-base-patch32, as `hiersum summarize`",
    )
    extract.add_argument("--sample-fps", type=float, metavar="F", help="frames a second to encode (2)")
    extract.add_argument(
        "--fast", action="store_true", help="key frames alone, at most one a second, as `hiersum summarize --fast`"
    )
    extract.add_argument(
        "--batch-size", type=int, default=16, metavar="N", help="frames encoded together (%(default)s)"
    )
    extract.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="precision of the encoder (%(default)s), features for each; efficientnet-lite0 refuses bfloat16",
    )
    extract.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")
    extract.add_argument(
        "--runtime",
        choices=RUNTIMES,
        help="what computes the encoder; the features are the same; default: the fastest that is installed, on a "
        'CPU onnx of pip install "hiersum-hf[onnx]"',
    )
    add_engine(extract)
    extract.add_argument("--json", action="store_true", help="print the report as JSON on stdout and nothing else")
    extract.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Extract features and print the report; 1 where a video failed, on every rank."""
    from hiersum_hf.files.remote import mirrored
    from hiersum_hf.inference.extract import choose_settings, extract, find_videos, format_report
    from hiersum_hf.inference.ranks import Ranks

    address = ray_address(args)
    ranks = Ranks.from_environment()
    with ranks.together(), mirrored(args.videos, args.output) as (names, output):
        videos, notes = find_videos(names)
        for note in notes:
            print(f"note: {printable(note)}", file=sys.stderr)
        settings = choose_settings(args.model, args.video_encoder, args.sample_fps, args.dtype, args.fast)
        given = output, settings, args.device, args.batch_size, args.runtime
        if address is None:
            report = extract(videos, *given, ranks)
        else:
            from hiersum_hf.inference.on_ray import extract_on_ray

            report = extract_on_ray(videos, *given, address)
        said = json.dumps(report) if args.json else format_report(report)
        print(f"{said}\n", end="", flush=True)  # at once, or the end of a long line comes after another rank's
    return 1 if any(told.get("failed", 1) for told in report["ranks"]) else 0
