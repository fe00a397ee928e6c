"""The `hiersum` command."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path


EXAMPLES = """examples:
  hiersum summarize talk.mp4 --subtitles talk.srt --output summaries/
  hiersum summarize talk.mp4 --subtitles talk.srt --description talk.txt --model org/hiersum --budget 60s --output out/
  hiersum prepare mrhisum --source downloads/mrhisum --output prepared/mrhisum --half
  hiersum evaluate tvsum --data ydata-tvsum50.mat --scorer human
  hiersum evaluate tvsum --data eccv16_dataset_tvsum_google_pool5.h5 --ratings ydata-tvsum50.mat --scorer runs/tvsum
"""
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
    prepare.set_defaults(run=run_prepare)

    evaluate = commands.add_parser("evaluate", help="score a data set under its protocol")
    evaluate.add_argument("dataset", choices=["tvsum", "summe"], help="which data set: F1 is the mean or the best user")
    evaluate.add_argument(
        "--data", metavar="FILE", required=True, help="feature file (.h5), prepared folder, or ratings (.mat, .tsv)"
    )
    evaluate.add_argument("--ratings", metavar="FILE", help="ratings (.mat, .tsv) to go with a feature file")
    evaluate.add_argument(
        "--scorer",
        default="random",
        help="random, human, oracle, uniform, training-free, or a checkpoint folder or Hub id (%(default)s)",
    )
    evaluate.add_argument("--level", choices=["child", "parent", "both", "joint"], help="level of a checkpoint")
    evaluate.add_argument(
        "--allow-encoder-mismatch",
        action="store_true",
        help="score features of another encoder than the checkpoint's, if the width fits; the results say so",
    )
    evaluate.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")
    evaluate.add_argument("--seed", type=int, default=0, help="of the random draws (%(default)s)")
    evaluate.add_argument("--json", action="store_true", help="print results.json on stdout and nothing else")
    evaluate.set_defaults(run=run_evaluate)
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


def run_prepare(args: argparse.Namespace) -> int:
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


def run_evaluate(args: argparse.Namespace) -> None:
    from hiersum_hf.datasets.prepare import load_prepared
    from hiersum_hf.datasets.tvsum import read_ratings, read_tvsum
    from hiersum_hf.evaluation import evaluate_ratings, evaluate_scores, format_table
    from hiersum_hf.scorers import score_frames

    command = shlex.join(["hiersum", *sys.argv[1:]])
    if args.data.endswith((".mat", ".tsv")):
        results = evaluate_ratings(read_ratings(args.data), args.scorer, seed=args.seed) | {"command": command}
    else:
        prepared = Path(args.data, "report.json").is_file()
        records = list(load_prepared(args.data)) if prepared else read_tvsum(args.data, args.ratings)
        about = {"dataset": args.dataset, "part": "all", "seed": args.seed, "command": command}
        if args.scorer in ("random", "human"):
            results = evaluate_scores(records, None, scorer=args.scorer, **about)
        elif args.scorer in ("oracle", "uniform", "training-free"):
            scores = {record.video_id: score_frames(record, args.scorer) for record in records}
            results = evaluate_scores(records, scores, scorer=args.scorer, **about)
        else:
            results = _evaluate_checkpoint(records, args, about)
    print(json.dumps(results, ensure_ascii=False) if args.json else format_table([results]))


def _evaluate_checkpoint(records, args: argparse.Namespace, about: dict) -> dict:
    from hiersum_hf.evaluation import evaluate_scores
    from hiersum_hf.prediction import encoder_mismatch, load_checkpoint, predict_scores
    from hiersum_hf.training_data import embed_all

    if "/" not in args.scorer and not Path(args.scorer).is_dir():
        raise ValueError(
            f"scorer: expected random, human, oracle, uniform, training-free, a checkpoint folder or a Hub id like "
            f"org/name, found {args.scorer!r}"
        )
    network, extractor = load_checkpoint(args.scorer, args.device)
    records = embed_all(records, extractor.text_encoder)
    level = args.level or network.config.default_level
    allowed = args.allow_encoder_mismatch
    predicted = predict_scores(network, extractor, records, level, progress=True, allow_encoder_mismatch=allowed)
    return evaluate_scores(
        records,
        {name: result["scores"] for name, result in predicted.items()},
        scorer="checkpoint",
        level=level,
        score_head=network.config.score_head,
        checkpoint=args.scorer,
        encoder_mismatch=encoder_mismatch(extractor, records),
        **about,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; 0 = done, 1 = done but for some items, named; 2 = bad input, said on stderr."""
    args = parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except (ValueError, OSError, ImportError) as error:
        print(f"hiersum: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
