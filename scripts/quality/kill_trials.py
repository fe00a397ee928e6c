"""Kills the long jobs at random moments, starts them again, and counts what is then broken or different.

    python scripts/quality/kill_trials.py                          # every job, 100 trials each
    python scripts/quality/kill_trials.py extract train --trials 10 --json

A trial starts a job on small made-up input, kills it (SIGKILL, with all its processes) at a random moment of its usual
duration, reads every file that lies under a final name, starts the job again as its user would, and compares what it
leaves with that of a run nobody disturbed: byte for byte; of a training weights and figures to 1e-6. Frames are encoded
by their mean colour and the Hub is one on this machine, of the tests. Exit status 1 if anything was broken or
different. Linux and macOS; run it where the sources are.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np


REPO = Path(__file__).parents[2]
sys.path.insert(0, str(REPO))
TRAIN = ["--hidden_size", "16", "--num_layers", "1", "--num_attention_heads", "2", "--child_steps_per_parent", "1",
         "--max_steps", "8", "--save_steps", "2", "--use_cpu", "True", "--disable_tqdm", "True"]  # fmt: skip
TOLERANCE = 1e-6
KEPT = (".plan.json", ".made_with.json")


# The jobs. Each works in the folder `place`, where `given` holds its input, and leaves its output in `place`/out.


def prepare_data(place: Path) -> None:
    from hiersum_hf.datasets.prepare import prepare
    from hiersum_hf.datasets.readers.tvsum import TVSumReader

    source = place / "given/set.h5"
    prepare(TVSumReader(source), place / "out", [source], dataset="tvsum", videos_per_file=2, progress=False)


def extract_features(place: Path) -> None:
    from hiersum_hf.features import shards
    from hiersum_hf.inference import extract

    extract.load_video_encoder, shards.PACKED = colour_encoder, 2
    videos, _ = extract.find_videos([place / "given/videos"])
    if extract.extract(videos, place / "out", extract.FrameSettings("colour", 4.0), "cpu")["failed"]:
        raise ValueError("a whole video was refused")


def train(place: Path) -> None:
    """Goes on from the last whole checkpoint, as `--folds True` does."""
    from hiersum_hf.training.resume import last_checkpoint

    last = last_checkpoint(place / "out") if (place / "out").is_dir() else None
    words = ["--data", str(place / "given/set.h5"), "--output_dir", str(place / "out"), *TRAIN]
    run_train(words + (["--resume_from_checkpoint", last] if last else ["--overwrite", "True"]))


def summarize(place: Path) -> None:
    from hiersum_hf.cli.main import main
    from hiersum_hf.inference import summarize as module

    module.load_video_encoder = colour_encoder
    if main(["summarize", str(place / "given/videos"), "--output", str(place / "out"), "--overwrite"]):
        raise ValueError("a whole video was refused")


def push_run(place: Path) -> None:
    from hiersum_hf.hub.push import push

    push(place / "given/run", "org/trial")


def colour_encoder(*_: Any) -> Any:
    import torch

    from hiersum_hf.features.video_encoder import VideoEncoder

    def embed(images: Any) -> Any:
        return torch.tensor(np.array([image.mean((0, 1)) for image in images]))

    return VideoEncoder("colour", 3, embed)


def run_train(words: list[str]) -> None:
    from hiersum_hf.training.run import train

    train(words)


def make_input(given: Path) -> None:
    """A data set in TVSum's format, six videos, a finished run."""
    import av

    from hiersum_hf.datasets.readers.tvsum import write_tvsum
    from hiersum_hf.synthetic import features as synthetic

    (given / "videos").mkdir(parents=True)
    features = synthetic.random_features()
    write_tvsum([synthetic.to_record(synthetic.make_video(i), *features) for i in range(15)], given / "set.h5")
    for number in range(6):
        with av.open(str(given / f"videos/{number}.mp4"), "w") as target:
            stream = target.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            for k in range(60 + 20 * number):
                image = np.full((120, 160, 3), (40 * (k // 20) % 256, 2 * k % 256, 40 * number), np.uint8)
                target.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            target.mux(stream.encode(None))
    run_train(["--data", str(given / "set.h5"), "--output_dir", str(given / "run"), *TRAIN])


# What a job left


def files_of(out: Path) -> dict[str, Any]:
    """Everything under a final name, by name."""
    return {str(path.relative_to(out)): path.read_bytes() for path in final_files(out)}


def features_of(out: Path) -> dict[str, Any]:
    """Every file under a final name, of shards what they hold: which videos are together depends on the kill."""
    found, shards = files_of(out), sorted(out.glob("features-*.zip"))
    for shard in shards:
        del found[shard.name]
        with zipfile.ZipFile(shard) as archive:
            found |= {f"packed {name}": archive.read(name) for name in archive.namelist()}
    return found


def trained(out: Path) -> dict[str, Any]:
    """Weights and figures, rounded by `same`."""
    from safetensors.numpy import load_file

    from hiersum_hf.results import Results

    results = Results.read(out / "results.json")
    return load_file(out / "model.safetensors") | {"metrics": results.metrics, "per_video": results.per_video}


def final_files(out: Path) -> list[Path]:
    """Files that a user takes for done: not those under a working name, nor in a checkpoint that is passed over."""
    from hiersum_hf.training.resume import is_whole

    unfinished = [folder for folder in out.glob("checkpoint-*") if not is_whole(folder)]
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.parent not in unfinished]
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(out).parts)]


def left_over(out: Path) -> int:
    """Working files that the second start did not remove; those that belong there are named `KEPT`."""
    return sum(path.name not in KEPT and path.suffix != ".jsonl" for path in [*out.rglob(".*"), *out.rglob(".*/*")])


def is_broken(path: Path) -> bool:
    """Whether a file cannot be read to its end."""
    try:
        READERS[path.suffix](path)
        return False
    except Exception:
        return True


def read_video(path: Path) -> None:
    import av

    with av.open(str(path)) as container:
        if not sum(1 for _ in container.decode(video=0)):
            raise ValueError("no pictures")


def read_image(path: Path) -> None:
    from PIL import Image

    Image.open(path).load()


def read_arrays(path: Path) -> None:
    if zipfile.ZipFile(path).testzip():
        raise ValueError("a damaged member")


def read_parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.read_table(path)


def read_weights(path: Path) -> None:
    from safetensors.numpy import load_file

    load_file(path)


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".mp4": read_video,
    ".npz": read_arrays,
    ".parquet": read_parquet,
    ".png": read_image,
    ".safetensors": read_weights,
    ".zip": read_arrays,
}


def same(one: Any, other: Any) -> bool:
    """Equal; numbers to `TOLERANCE`."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float | np.ndarray):
        return bool(np.allclose(one, other, rtol=0, atol=TOLERANCE, equal_nan=True))
    return one == other


class Pushed:
    """What the Hub holds; every commit but the first, empty one must be whole."""

    def __init__(self, server: Any):
        self.server = server

    def __call__(self, out: Path) -> dict[str, Any]:
        return dict(self.server.repos["model", "org/trial"].files)

    def broken(self, whole: dict[str, Any]) -> int:
        repo = self.server.repos.get(("model", "org/trial"))
        return sum(commit != whole for commit in repo.commits[1:]) if repo else 0


JOBS: dict[str, tuple[Callable[[Path], None], Callable[[Path], dict[str, Any]]]] = {
    "prepare": (prepare_data, files_of),
    "extract": (extract_features, features_of),
    "train": (train, trained),
    "summarize": (summarize, files_of),
    "push": (push_run, files_of),
}


# Trials


@dataclass
class Count:
    """Of one job: working files `left` behind, seconds of an undisturbed run and of a whole trial."""

    job: str
    trials: int = 0
    killed: int = 0
    broken: int = 0
    different: int = 0
    left: int = 0
    run_s: float = 0.0
    trial_s: float = 0.0

    def row(self) -> str:
        figures = f"{self.trials} | {self.killed} | {self.broken} | {self.different} | {self.left}"
        return f"| {self.job} | {figures} | {self.run_s:.1f} | {self.trial_s:.1f} |"


def run(work: Callable[[Path], None], place: Path, kill_after_s: float | None = None) -> int | None:
    """Does the work in a process of its own group; its exit code, None if it was killed."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        code = 1
        try:
            log = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            work(place)
            code = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    begin = time.monotonic()
    while kill_after_s is None or time.monotonic() - begin < kill_after_s:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:  # it has no group yet
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def finish(work: Callable[[Path], None], place: Path) -> float:
    """Seconds of a run that nobody disturbs; RuntimeError with its last words if it fails."""
    begin = time.monotonic()
    if run(work, place):
        raise RuntimeError(f"{place}: expected the job to end well, found:\n{(place / 'log').read_text()[-2000:]}")
    return time.monotonic() - begin


def count_trials(job: str, trials: int, root: Path, server: Any, rng: random.Random) -> Count:
    work, facts = JOBS[job]
    hub = Pushed(server) if job == "push" else None
    facts, place, count, begin = hub or facts, root / job, Count(job), time.monotonic()
    place.mkdir()
    (place / "given").symlink_to(root / "given")
    count.run_s = finish(work, place)
    whole = facts(place / "out")
    for _ in range(trials):
        shutil.rmtree(place / "out", ignore_errors=True)
        server.repos.clear()
        count.trials += 1
        count.killed += run(work, place, rng.uniform(0, count.run_s)) is None
        count.broken += hub.broken(whole) if hub else broken_files(place / "out")
        finish(work, place)
        count.different += not same(facts(place / "out"), whole)
        count.broken += hub.broken(whole) if hub else broken_files(place / "out")
        count.left += left_over(place / "out")
    count.trial_s = (time.monotonic() - begin - count.run_s) / max(1, trials)
    return count


def broken_files(out: Path) -> int:
    return sum(is_broken(path) for path in final_files(out) if path.suffix in READERS)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"which (default: all): {', '.join(JOBS)}")
    parser.add_argument("--trials", type=int, default=100, help="of each job (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.jobs) - set(JOBS)):
        parser.error(f"expected jobs of {', '.join(JOBS)}; found {', '.join(unknown)}")
    if args.trials < 1:
        parser.error(f"--trials: expected at least 1, found {args.trials}")
    from tests.makers.hub_server import HubServer

    with tempfile.TemporaryDirectory(prefix="kill-trials-") as folder, HubServer() as server:
        server.handle_error = lambda *_: None  # whoever calls may be killed
        os.environ |= server.environment(Path(folder, "home"))  # before anything is imported
        import hiersum_hf.cli.prepare
        import hiersum_hf.datasets.readers.tvsum
        import hiersum_hf.inference.extract
        import hiersum_hf.summary.files
        import hiersum_hf.training.run  # noqa: F401  once, not in each process

        finish(lambda place: make_input(place / "given"), Path(folder))
        counts = []
        if not args.json:
            print("| job | trials | killed | broken files | different results | left over | a run, s | a trial, s |")
            print("|---|---|---|---|---|---|---|---|")
        for job in args.jobs or JOBS:
            counts.append(count_trials(job, args.trials, Path(folder), server, random.Random(f"{args.seed} {job}")))
            if not args.json:
                print(counts[-1].row(), flush=True)
    if args.json:
        print(json.dumps([asdict(count) for count in counts], indent=1))
    return int(any(count.broken or count.different for count in counts))


if __name__ == "__main__":
    sys.exit(main())
