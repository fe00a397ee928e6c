"""Speed and memory of this package beside the field's usual way, both measured in the same run.

    python scripts/run_benchmark.py                        # every part, as a Markdown table
    python scripts/run_benchmark.py data --quick --json
    python scripts/run_benchmark.py data --videos 31892    # the size of Mr.HiSum: 40 GB in the temporary folder
    python scripts/run_benchmark.py scripted               # the size of SM-MrHiSum: 45 GB in the temporary folder
    python scripts/run_benchmark.py ray --videos 50 --workers 1 2 --rows 1000    # Ray beside the ranks of a launcher
    python scripts/run_benchmark.py selection --data tvsum    # a folder with features and ratings
    python scripts/run_benchmark.py reading --data howto      # a folder with videos and truth.json

Each part is a file beside this one; those named reference* belong to a part.
"""

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

import torch


FILES = Path(__file__).parent.glob("*.py")
PARTS = sorted(path.stem for path in FILES if not path.stem.startswith(("main", "reference")))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which (default: all): {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes: that it works, not how fast")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw time and memory against length")
    parser.add_argument("--videos", type=int, help="size of the parts data, scripted and ray")
    parser.add_argument("--workers", type=int, nargs="+", help="of the part ray, such as 1 2 4")
    parser.add_argument("--rows", type=int, help="that do nothing, of the part ray; 0: none")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="for selection TVSum with features, for reading how-to videos"
    )
    args = parser.parse_args(argv)
    unknown = sorted(set(args.parts) - set(PARTS))
    if unknown:
        parser.error(f"expected parts of {', '.join(PARTS)}; found {', '.join(unknown)}")
    size, folder = {"videos": args.videos}, {"data": args.data}
    on_ray = size | {"workers": args.workers, "rows": args.rows}
    rows, more = [], {"data": size, "scripted": size, "ray": on_ray, "selection": folder, "reading": folder}
    for part in args.parts or PARTS:
        print(f"measuring {part} ...", file=sys.stderr)
        given = {name: value for name, value in more.get(part, {}).items() if value is not None}
        run = importlib.import_module(f"quality.benchmarks.{part}").run
        rows += [{"part": part} | row for row in run(args.quick, **given)]
    if args.plot:
        plot(rows, args.plot)
    print(json.dumps({"machine": machine(), "rows": rows}, indent=1) if args.json else table(rows))


def machine() -> dict[str, str | int | None]:
    """What the figures hold for."""
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def plot(rows: list[dict], path: Path) -> None:
    """The curves of rows that have one, time and memory side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, unit in zip(figure.subplots(1, 2), ("s", "MB"), strict=True):
        for row in rows:
            curve = row.get("curve", {})
            if curve.get("unit") == unit:
                axes.loglog(
                    curve["lengths"], curve["values"], ".-", label=f"{row['part']}: {row['what']}, L^{row['ours']:.2f}"
                )
        axes.set(xlabel="frames", ylabel=unit)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def table(rows: list[dict]) -> str:
    """The rows as Markdown, the machine below."""
    lines = ["| part | what | ours | reference | | ratio | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        figures = [f"{row['ours']:,.4g}", f"{row['reference']:,.4g}", row["unit"], f"{row['ratio']:.2f}"]
        lines.append(f"| {' | '.join([row['part'], row['what'], *figures, row['note']])} |")
    about = ", ".join(f"{name} {value}" for name, value in machine().items() if value is not None)
    return "\n".join([*lines, "", f"Above 1 the package is better. {about}"])
