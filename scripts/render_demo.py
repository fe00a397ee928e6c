"""Draw videos of the demo set's test part to files, each with its subtitles and description.

    python scripts/render_demo.py --count 2 --output demo/videos

Leaves demo_0_1040.mp4, .srt and .txt and so on, which `hiersum summarize` takes.
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
        print(f"{path}: {video.duration_s:.0f} s, {len(video.sentences)} subtitles, {len(video.description)} texts")


if __name__ == "__main__":
    main()
