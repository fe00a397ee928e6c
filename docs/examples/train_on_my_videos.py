"""Train on a folder of your own videos and measure the checkpoint on two of them that were held back.

    python scripts/render_demo.py --count 8 --output demo/many      # made-up videos, where you have none at hand
    python docs/examples/train_on_my_videos.py demo/many

Beside NAME.mp4 (or its features, NAME.npz) lie NAME.srt, NAME.txt with title and steps, one a line, and NAME.csv with
the labels: the header start_s,end_s,score, then one stretch a row, scores from 0 to 1. A checkpoint worth having takes
hundreds of videos and thousands of steps.
"""

import argparse
from pathlib import Path

from hiersum_hf import (
    HierSumConfig,
    HierSumModel,
    HierSumTrainer,
    HierSumTrainingArguments,
    evaluate_scores,
    load_prepared,
    load_scorer,
    pipeline,
    prepare,
)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("videos", nargs="?", default="demo/many", help="folder of videos (%(default)s)")
parser.add_argument("--steps", type=int, default=60, help="optimiser steps (%(default)s)")
parser.add_argument("--output", type=Path, default=Path("demo/mine"), help="for features and checkpoint (%(default)s)")
args = parser.parse_args()
features, run = args.output / "prepared", args.output / "run"

# Encode every video once, with the encoders that this machine has.
made_with = load_scorer().extractor
report = prepare(
    "folder", args.videos, features, video_encoder=made_with.video_encoder, text_encoder=made_with.text_encoder
)
print(f"{report['videos']} videos, {report['positive_rate']:.0%} of the frames important", report["findings"])
records = load_prepared(features)
if len(records) < 4:
    parser.error(f"{args.videos}: expected at least 4 videos, found {len(records)}")
train, test = records[:-2], records[-2:]

# Train: steps that read the subtitles (child level) take turns with steps that read the description (parent level).
config = HierSumConfig(video_dim=made_with.video_dim, text_dim=made_with.text_dim, hidden_size=64, num_layers=2)
settings = HierSumTrainingArguments(output_dir=str(run), max_steps=args.steps, logging_steps=20, save_strategy="no")
trainer = HierSumTrainer(HierSumModel(config), settings, train, made_with)
trainer.train()
trainer.save_model()

# Score what was held back, at both levels, and compare with chance and with the best that can be had.
score = pipeline(run, level="both")
fields = ("video_id", "duration_s", "video_features", "frame_times_s", "text_features", "description_features")
given = [{name: getattr(record, name) for name in fields} | {"subtitles": record.sentences} for record in test]
scores = {record.video_id: score(video).scores["values"] for record, video in zip(test, given, strict=True)}
results = evaluate_scores(test, scores, scorer="checkpoint", dataset="folder", part="test")
known = {name: baseline.metrics for name, baseline in results.baselines.items() if baseline}
for name in ("captured", "kendall_tau"):
    chance, best = known["random"][name], known["oracle"][name]
    print(f"{name}: {results.metrics[name]:.2f} (chance {chance:.2f}, the best there can be {best:.2f})")
