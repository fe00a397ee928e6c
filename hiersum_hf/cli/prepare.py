"""Run `hiersum prepare`.

It makes a folder of Parquet files of a data set.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiersum_hf.cli.engine import add_engine, ray_address
from hiersum_hf.features.runtime import RUNTIMES
from hiersum_hf.files.atomic import refuse_uri
from hiersum_hf.files.escape import printable
from hiersum_hf.modeling.errors_hiersum import HierSumError


if TYPE_CHECKING:
    from hiersum_hf.datasets.prepare import Reader

DATA_SETS = "tvsum, summe, bliss, mrhisum, mosu, smmrhisum, smvideoxum, wikihow, folder, howto, replay"
PREPARE_HELP = """what --source holds, and an example of each:
  tvsum, summe  the eccv16 .h5; TVSum's ydata-tvsum50.mat or -anno.tsv beside it is found, --ratings names another and
                the folder of SumMe's own annotations (GT/NAME.mat). Either is a source without features too
      hiersum prepare tvsum --source downloads/tvsum --output prepared/tvsum
      hiersum prepare tvsum --source own.h5 --ratings ydata-tvsum50.mat --output prepared/own --video-encoder ID \\
          --captions captions.json --text-features captions.h5 --text-encoder ID
      hiersum prepare summe --source GT                          (no --output: only says what is there)
      hiersum prepare summe --source eccv16_dataset_summe_google_pool5.h5 --ratings GT --output prepared/summe
      hiersum prepare summe --source eccv16_dataset_summe_google_pool5.h5 --output prepared/summe \\
          --text-features text_roberta.npy --convert-pickles --text-encoder a2summ-roberta \\
          --text-alignment a2summ-positional
  bliss         annotation/ and feature/, its pickled .npy files converted once by --convert-pickles
      hiersum prepare bliss --source downloads/bliss --output prepared/bliss --convert-pickles
  mrhisum       metadata.csv, mr_hisum.h5, mr_hisum_split.json; or the trimodal release, mrhisum_gt.h5 and its features
      hiersum prepare mrhisum --source downloads/mrhisum         (no --output: only says what is there)
      hiersum prepare mrhisum --source downloads/mrhisum --youtube8m downloads/yt8m --output prepared/mrhisum --half
  mosu          mosu_gt.h5 and its features
      hiersum prepare mosu --source downloads/mosu --output prepared/mosu --quantile 0.85 --min-views 50000
  smmrhisum     sm_mrhisum.h5, sm_mrhisum_split.json, and Mr.HiSum's metadata.csv, which tells repeated videos and views
      hiersum prepare smmrhisum --source downloads/smmrhisum --output prepared/smmrhisum --half
  smvideoxum    sm_videoxum.h5, sm_videoxum_split.json; a record for each annotator of a video
      hiersum prepare smvideoxum --source downloads/smvideoxum --output prepared/smvideoxum --half
  wikihow       any of how_to_steps.tar.gz, wikihowto_annt.json or pseudoGT_summ_annts.json, pseudoGT_task_annts.json,
                features.h5
      hiersum prepare wikihow --source downloads/wikihow --output prepared/wikihow
  folder        your own videos: NAME.mp4 with NAME.srt, NAME.txt, NAME.csv
      hiersum prepare folder --source videos --output prepared/mine --skip-bad
  howto         videos with a downloader's NAME.info.json and NAME.LANG.vtt, and how_to_steps.tar.gz
      hiersum prepare howto --source how_to_steps.tar.gz --fetch-list videos.txt
      hiersum prepare howto --source videos --output prepared/howto --intro-bins 2 --quantile 0.85
  replay        a JSON file of most-replayed curves, or a folder with one, and perhaps features.h5
      hiersum prepare replay --source most_replayed.json --output prepared/replay
"""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    prepare = commands.add_parser(
        "prepare",
        help="read a data set once, check it, and store it as Parquet",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Read a data set as the field exchanges it, check every video, store all as Parquet files of one\n"
        "schema. Work that was interrupted goes on where it stopped.",
        epilog=PREPARE_HELP,
    )
    prepare.add_argument("dataset", metavar="NAME", help=DATA_SETS)
    prepare.add_argument("--source", required=True, metavar="DIR", help="where its files are")
    prepare.add_argument(
        "--output",
        metavar="DIR",
        help="folder to fill: data-*.parquet, report.json; without it only say what is there: videos, split, findings",
    )
    prepare.add_argument("--json", action="store_true", help="print the report as JSON on stdout and nothing else")
    _add_labels(prepare.add_argument_group("labels", "from replay scores: mrhisum, mosu, smmrhisum, howto, replay"))
    _add_features(prepare.add_argument_group("texts and features"))
    _add_work(prepare.add_argument_group("work"))
    prepare.set_defaults(run=run)


def _add_labels(group: Any) -> None:
    rule = group.add_mutually_exclusive_group()
    rule.add_argument(
        "--threshold", type=float, metavar="T", help="a frame is important if its score reaches T (0.15; folder: 0.5)"
    )
    rule.add_argument(
        "--quantile", type=float, metavar="Q", help="or this quantile of the video's own scores: 0.85 = its best 15 %%"
    )
    group.add_argument(
        "--intro-bins",
        type=int,
        metavar="B",
        help="no score and no label in the first B bins of each curve (of mrhisum, mosu and smmrhisum: hundredths of "
        "the video), where people start videos",
    )
    group.add_argument("--min-views", type=int, metavar="V", help="only videos watched V times or more")
    group.add_argument("--max-views", type=int, metavar="V", help="only videos watched V times or less")


def _add_features(group: Any) -> None:
    group.add_argument(
        "--video-encoder",
        metavar="ID",
        help="a CLIP-like model or efficientnet-lite0 for frames, default as `hiersum summarize` (folder, howto); what "
        "made their features, where the file does not say (tvsum, summe)",
    )
    group.add_argument(
        "--cache", metavar="DIR", help="frame features by `hiersum extract`, read and added to (folder, howto)"
    )
    group.add_argument(
        "--subtitle-encoding",
        metavar="NAME",
        help="encoding of subtitle files, such as windows-1254; default: UTF-8, else a guess, which is said (folder, "
        "howto)",
    )
    group.add_argument(
        "--runtime",
        choices=RUNTIMES,
        help="what computes the frame encoder; the features are the same; default: the fastest that is installed, on a "
        'CPU onnx of pip install "hiersum-hf[onnx]" (folder, howto)',
    )
    group.add_argument(
        "--text-encoder",
        metavar="ID",
        help="a Sentence-BERT or CLIP for texts without features (longer ones than it reads, 77 tokens for CLIP, go in "
        "pieces); default beside features of frames: that of .[offline] where it is installed, else the Hub's, as "
        "`hiersum summarize`; with --text-features also the name of what made those",
    )
    group.add_argument(
        "--ratings",
        metavar="PATH",
        help="every annotator's ratings: TVSum's .mat or .tsv, with the titles, or the folder of SumMe's .mat files "
        "(tvsum, summe)",
    )
    group.add_argument("--text-features", metavar="FILE.h5", help="sentences' features (tvsum, summe)")
    group.add_argument("--captions", metavar="PATH", help="the sentences: JSON or folder of subtitles (tvsum, summe)")
    group.add_argument(
        "--text-alignment",
        choices=["a2summ-positional"],
        help="without --captions: text features spread over the frames by position (tvsum, summe)",
    )
    group.add_argument(
        "--convert-pickles",
        action="store_const",
        const=True,
        help="make an .h5 beside each pickled .npy, once, running nothing of it (bliss; tvsum, summe: --text-features)",
    )
    group.add_argument(
        "--youtube8m", metavar="DIR", help="add features from .tfrecord files: SOURCE/mr_hisum_features.h5 (mrhisum)"
    )
    group.add_argument(
        "--dequantization", choices=["mrhisum", "official"], help="what YouTube-8M's bytes stand for (mrhisum)"
    )
    group.add_argument(
        "--allow-encoder-mismatch", action="store_true", help="take features of several encoders of one width"
    )


def _add_work(group: Any) -> None:
    group.add_argument("--skip-bad", action="store_true", help="list videos that cannot be read instead of stopping")
    group.add_argument("--half", action="store_true", help="store features in half precision: half the disk")
    group.add_argument("--num-proc", type=int, default=1, help="processes (%(default)s)")
    add_engine(group)
    group.add_argument("--fetch-list", metavar="FILE", help="only write the articles' videos, one URL a line (howto)")


def run(args: argparse.Namespace) -> int:
    """Prepare, or only say what is there; 1 where videos were skipped."""
    from hiersum_hf.datasets.prepare import prepare
    from hiersum_hf.datasets.readers.open import KNOWN_BY, check_settings, open_reader
    from hiersum_hf.datasets.report import format_report

    refuse_uri(args.source)
    settings = {key: value for key in KNOWN_BY if (value := getattr(args, key)) is not None}
    check_settings(args.dataset, settings)
    if args.output is not None and args.fetch_list is not None:
        raise HierSumError("expected --output, or with howto --fetch-list in its place; found both")
    if args.fetch_list is not None:
        return _write_fetch_list(args)
    address = ray_address(args)
    if settings.pop("convert_pickles", False):
        _convert_pickles(args, settings)
    if "youtube8m" in settings:
        _add_youtube8m(args, settings.pop("youtube8m"))
    reader, source = open_reader(args.dataset, args.source, encodes_texts=True, **settings)
    if args.output is None:
        return _list(reader, args.json)
    if address is not None:
        _extract_on_ray(args, reader, address)
    report = prepare(
        reader,
        args.output,
        source,
        dtype="float16" if args.half else "float32",
        skip_bad=args.skip_bad,
        num_proc=args.num_proc,
        dataset=args.dataset,
        allow_encoder_mismatch=args.allow_encoder_mismatch,
    )
    print(json.dumps(report) if args.json else format_report(report))
    return 1 if report["skipped"] else 0


def _extract_on_ray(args: argparse.Namespace, reader: Any, address: str) -> None:
    """Put the features of the videos into the cache on a Ray cluster, from where the reader takes them.

    Videos that fail are left to the reader, which says why.
    """
    from hiersum_hf.datasets.readers.folder import FolderReader
    from hiersum_hf.features.cache import FrameSettings
    from hiersum_hf.inference.extract import format_report
    from hiersum_hf.inference.on_ray import extract_on_ray

    folder = getattr(reader, "folder", reader)
    if not isinstance(folder, FolderReader) or args.cache is None:
        found = f"{args.dataset} with{'out' if args.cache is None else ''} a cache"
        raise HierSumError(f"--engine ray: expected folder or howto with --cache DIR for the features, found {found}")
    files = map(folder.files, folder.video_ids)
    videos = [one["video"] for one in files if "video" in one and "features" not in one]
    settings = FrameSettings(folder.video_encoder, float(folder.sample_fps))
    report = extract_on_ray(videos, args.cache, settings, runtime=args.runtime, address=address)
    print(format_report(report), file=sys.stderr)


def _list(reader: Reader, as_json: bool) -> int:
    """Print what the source holds, without reading features or writing anything."""
    from hiersum_hf.datasets.report import format_listing

    splits = {part: len(names) for part, names in reader.splits.items()}
    listing = {"videos": len(reader.video_ids), "splits": splits, "findings": reader.findings}
    print(json.dumps(listing) if as_json else format_listing(listing))
    return 0


def _write_fetch_list(args: argparse.Namespace) -> int:
    from hiersum_hf.datasets.readers.howto import write_fetch_list

    archive = Path(args.source, "how_to_steps.tar.gz")
    videos = write_fetch_list(archive if archive.is_file() else args.source, args.fetch_list)
    if args.json:
        print(json.dumps({"videos": videos, "fetch_list": args.fetch_list}))
        return 0
    print(f"{videos} videos in {args.fetch_list}, one URL a line. Next:")
    print("  1. Fetch them into one folder, each with NAME.info.json and subtitles NAME.LANG.vtt beside it.")
    print("  2. Put how_to_steps.tar.gz into that folder.")
    print("  3. hiersum prepare howto --source FOLDER --output prepared/howto")
    return 0


def _convert_pickles(args: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Make the .h5 files that are missing beside pickles.

    The settings point to them afterwards.
    """
    from hiersum_hf.datasets.readers.bliss import BLiSSReader
    from hiersum_hf.datasets.readers.pickles import convert_pickled_arrays

    if args.dataset != "bliss" and args.text_features is None:
        raise HierSumError(f"--convert-pickles: expected --text-features FILE.npy with {args.dataset}, found none")
    sources = BLiSSReader(args.source).pickles if args.dataset == "bliss" else [Path(args.text_features)]
    for path in sources:
        if not path.with_suffix(".h5").exists():
            print(printable(f"{convert_pickled_arrays(path)}: made from {path.name}"), file=sys.stderr)
    if args.dataset != "bliss":
        settings["text_features"] = sources[0].with_suffix(".h5")


def _add_youtube8m(args: argparse.Namespace, tfrecords: str) -> None:
    from hiersum_hf.datasets.readers.mrhisum import WITH_FEATURES, add_youtube8m

    missing = add_youtube8m(args.source, tfrecords, args.dequantization or "mrhisum")
    print(f"{Path(args.source, WITH_FEATURES)}: {len(missing)} videos still without features", file=sys.stderr)
