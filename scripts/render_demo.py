"""Draw videos of the demo set's test part to files, each with its subtitles, description and labels.

    python scripts/render_demo.py --count 2 --output demo/videos

Leaves demo_0_1040.mp4, .srt and .txt and so on, which `hiersum summarize` takes, and .csv with the annotators' mean
rating of each stretch, which `hiersum prepare folder` takes for labels.
"""

import argparse
from pathlib import Path

from hiersum_hf.synthetic.demo import demo_test_video
from hiersum_hf.synthetic.features import render
from hiersum_hf.texts.subtitles import write_srt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1, help="how many videos (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("demo/videos"), help="folder to write to (%(default)s)")
    args = parser.parse_args()
    for number in range(args.count):
        video = demo_test_video(number)
        path = args.output / f"{video.video_id}.mp4"
        render(video, path)
        write_srt(video.sentences, path.with_suffix(".srt"))
        path.with_suffix(".txt").write_text("\n".join(video.description) + "\n", encoding="utf-8")
        ratings = zip(video.segments, (video.ratings.mean(0) - 1) / 4, strict=True)  # 1 to 5 -> 0 to 1
        rows = [f"{segment.start_s},{segment.end_s},{rating:.3f}" for segment, rating in ratings]
        path.with_suffix(".csv").write_text("\n".join(["start_s,end_s,score", *rows]) + "\n", encoding="utf-8")
        print(f"{path}: {video.duration_s:.0f} s, {len(video.sentences)} subtitles, {len(video.description)} texts")


if __name__ == "__main__":
    main()
