"""Score features with a checkpoint, by the network alone and by the pipeline, and read the summary in seconds.

    python docs/examples/train_on_my_videos.py      # leaves a checkpoint and features in demo/mine
    python docs/examples/score_features.py --model demo/mine/run --prepared demo/mine/prepared

The features are those of the last video of a prepared folder, as `hiersum prepare` leaves one.
"""

import argparse

import torch
from transformers import AutoFeatureExtractor, AutoModel

from hiersum_hf import load_prepared, pipeline  # the import also makes the model known to the Auto classes


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default="demo/mine/run", help="folder or Hub id (%(default)s)")
parser.add_argument("--prepared", default="demo/mine/prepared", help="made by `hiersum prepare` (%(default)s)")
parser.add_argument("--budget", default="15s", help="length of the summary (%(default)s)")
args = parser.parse_args()

record = load_prepared(args.prepared)[-1]
frames, times_s = record.video_features, record.frame_times_s  # (N, Dv), (N,)
texts, spoken_s = record.text_features, [(s.start_s, s.end_s) for s in record.sentences]  # (M, Dt), (M, 2)
print(f"{record.video_id}: {len(frames)} frames of width {frames.shape[1]}, {len(texts)} sentences")

# The network alone: timed features in, a score in [0, 1] for every frame and every sentence out.
extractor, model = AutoFeatureExtractor.from_pretrained(args.model), AutoModel.from_pretrained(args.model)
inputs = extractor(frames, times_s, texts, spoken_s, level="child")
with torch.no_grad():
    outputs = model(**inputs)
(scored,) = extractor.post_process_video_summarization(outputs, inputs, [times_s])
for i in scored["scores"].argsort()[:-4:-1]:
    print(f"frame {i} at {scored['times_s'][i]:.1f} s scores {scored['scores'][i]:.3f}")

# The pipeline does that, and chooses what fits into the budget.
video = {"video_features": frames, "frame_times_s": times_s, "text_features": texts, "subtitles": record.sentences}
summary = pipeline(args.model, level="child")(video | {"duration_s": record.duration_s}, budget=args.budget)
for segment in summary.segments:
    print(f"{segment.start_s:.1f} to {segment.end_s:.1f} s, score {segment.score:.3f}: {summary.said_in(segment)}")
print(f"{summary.length_s:.1f} of {summary.duration_s:.1f} s chosen")
