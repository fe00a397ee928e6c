"""`hiersum evaluate`: a data set and a scorer to figures."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the command to the parser's."""
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
    evaluate.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
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
