"""Summarize your own video with its subtitles and a wish.

    python scripts/render_demo.py                       # a made-up video, where you have none at hand
    python docs/examples/summarize_my_video.py
    python docs/examples/summarize_my_video.py talk.mp4 --subtitles talk.srt --wish "how the valve is seated"

Without --model it uses the scorer that needs no training. The folder that it leaves holds the short video, its
subtitles, and summary.html, a page with all of it.
"""

import argparse

from hiersum_hf import Selection, load_scorer, score_video, write_summary


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("video", nargs="?", default="demo/videos/demo_0_1040.mp4")
parser.add_argument("--subtitles", help="default: the file beside the video, or the track in it")
parser.add_argument("--wish", default="paint the fence", help="what the summary shall be about (%(default)s)")
parser.add_argument("--budget", default="20s", help="how long it may be: 20s, 1:30, 15%% (%(default)s)")
parser.add_argument("--model", help="a checkpoint: folder or Hub id")
parser.add_argument("--output", default="demo/summary", help="a new folder (%(default)s)")
args = parser.parse_args()

# Decode, encode and score once; any number of summaries follow from it.
scored = score_video(args.video, load_scorer(args.model), subtitles=args.subtitles, queries=args.wish)
summary = scored.summarize(args.budget, Selection(min_segment_s=4))

print(summary.title)
for segment in summary.segments:
    print(f"{segment.start_s:6.1f} to {segment.end_s:6.1f} s: {summary.said_in(segment) or '(nothing said)'}")
for moment in summary.queries[0]["moments"][:2]:
    print(f"near to {args.wish!r}: {moment['start_s']:.1f} to {moment['end_s']:.1f} s (cosine {moment['score']:.2f})")
for warning in summary.warnings:
    print("Note:", warning)
print("Open", write_summary(summary, args.video, args.output, scored.sentences, overwrite=True) / "summary.html")
