"""Draw a narrated how-to video, summarize it, and make README's picture of the result.

    python scripts/render_example.py --output demo/example --picture docs/results/summary.png

The video is made here, so that everybody gets the same one: the steps of hanging a shelf, in quick cuts, between a
welcome, a sponsor, an anecdote and views. Leaves "07 quick cuts.mp4" with subtitles and description in --output, its
summary in --output/summaries, and a picture of scores and segments.
"""

import argparse
from pathlib import Path

from PIL import Image

from hiersum_hf.cli.main import main as hiersum
from quality.benchmarks.reference_howto import make_videos, write


NUMBER, WIDTH = 7, 1200


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo/example"), help="folder to write to (%(default)s)")
    parser.add_argument("--picture", type=Path, help="file of the picture (example.png in --output)")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    video = write(make_videos(short=False)[NUMBER], args.output)
    summaries = args.output / "summaries"
    status = hiersum(["summarize", str(video), "--output", str(summaries), "--overwrite"])
    if status:
        raise SystemExit(status)
    folder = summaries / video.stem
    one_over_other(folder / "scores.png", folder / "sheet.png").save(args.picture or args.output / "example.png")


def one_over_other(*paths: Path) -> Image.Image:
    """The pictures as wide as each other, one below the other."""
    opened = [Image.open(path).convert("RGB") for path in paths]
    pictures = [p.resize((WIDTH, round(p.height * WIDTH / p.width)), Image.Resampling.LANCZOS) for p in opened]
    whole = Image.new("RGB", (WIDTH, sum(p.height for p in pictures)), "white")
    at = 0
    for picture in pictures:
        whole.paste(picture, (0, at))
        at += picture.height
    return whole


if __name__ == "__main__":
    main()
