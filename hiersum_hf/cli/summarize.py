"""`hiersum summarize`: videos to short versions of themselves."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiersum_hf.cli.engine import add_engine, ray_address
from hiersum_hf.features.runtime import RUNTIMES
from hiersum_hf.features.video_encoder import DTYPES
from hiersum_hf.files.escape import printable
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.levels_hiersum import READING_LEVELS
from hiersum_hf.records import clock, counted, in_a_row


if TYPE_CHECKING:
    from hiersum_hf.inference.ranks import Failures, Ranks
    from hiersum_hf.inference.scorer import Scorer
    from hiersum_hf.records import Summary
    from hiersum_hf.summary.selection import Selection

BAR = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
HOW_TO_GIVE_TEXTS = (
    "NAME.srt and NAME.txt beside the video, or --subtitles and --description, give them; --transcribe small listens."
)
SUMMARIZE_HELP = """what is written to OUT/<name of the video>/ (with several budgets to OUT/<name>/<budget>/):
  summary.mp4 the short video     summary.html player, curve and segments    summary.md   what is said in it
  summary.srt its subtitles       scores.png   scores over time              cuts.txt     the cuts, for ffmpeg and mpv
  chapters.vtt its chapters       sheet.png    a picture of each segment     summary.json all of it as data
  source_chapters.vtt, .ffmeta (FFmpeg), .txt (lines for YouTube)            chapters of the video itself

examples:
  hiersum summarize talk.mp4 --output summaries
  hiersum talk.mp4        # the same: beside the video where no --output is given
  hiersum summarize talk.mp4 --subtitles talk.srt --description talk.txt --model org/hiersum --output summaries
  hiersum summarize talks 'more/**/*.mkv' --budget 15% --budget 1:30 --output summaries --dry-run
  hiersum summarize talk.mp4 --export fcpxml,edl --embed-chapters --output summaries
  hiersum summarize s3://bucket/talk.mp4 --output s3://bucket/summaries
  accelerate launch --multi_gpu --num_processes 4 --num_machines 1 --mixed_precision no --dynamo_backend no \\
      -m hiersum_hf summarize talks --output summaries
  hiersum summarize repair.mp4 --query "how is the valve seated?" --keep 1:20-1:40 --skip 0-0:30 --output summaries
"""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    summarize = commands.add_parser(
        "summarize",
        help="make a short version of videos",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make a short version of videos. Subtitles and a description are found where they lie beside a "
        "video under its\nname (talk.srt or talk.en.vtt; talk.txt, talk.json, or what a downloader leaves: "
        "talk.info.json,\ntalk.description), subtitles also inside the video. What else a folder holds is counted in a "
        "note.",
        epilog=SUMMARIZE_HELP,
    )
    summarize.add_argument(
        "videos",
        nargs="+",
        metavar="VIDEO",
        help="video files, folders of them, quoted patterns, all of these in a bucket too (s3://, gs://, hf://, see "
        "docs/cluster.md), or addresses (https://...), which yt-dlp of "
        'pip install "hiersum-hf[url]" fetches once; whether you may is yours to know: mind rights and terms',
    )
    summarize.add_argument(
        "--output",
        metavar="OUT",
        help="folder, also in a bucket, that gets a folder for each video; default: summaries, beside the videos (of "
        "addresses: here)",
    )
    summarize.add_argument(
        "--downloads", metavar="DIR", help="folder for what is fetched from addresses; default: OUT/downloads"
    )
    summarize.add_argument("--overwrite", action="store_true", help="replace earlier summaries, finished ones too")
    summarize.add_argument(
        "--budget",
        action="append",
        metavar="B",
        help="length of the summary: 0.15 or 15%% of the video (default), 60s, 1:30 or 10min; a bare number is a share "
        "up to 1, seconds above; may be given several times",
    )
    summarize.add_argument(
        "--files",
        metavar="NAME",
        nargs="+",
        help="write only these of the files below: summary.mp4 summary.srt",
    )
    summarize.add_argument(
        "--export",
        metavar="NAME",
        type=lambda text: [name.strip() for name in text.split(",")],
        default=[],
        help="write the cut for editors and players too, to the frame, some of otio,edl,fcpxml,fcp7xml,m3u,ffmpeg; "
        'otio and fcp7xml (Premiere, Resolve) need pip install "hiersum-hf[editors]"',
    )
    summarize.add_argument(
        "--embed-chapters", action="store_true", help="write a copy of the video with its chapters, NAME.chapters.mp4"
    )
    summarize.add_argument(
        "--render",
        choices=["copy", "smart", "encode"],
        default="smart",
        help="pictures of summary.mp4: smart = copied where whole groups of them lie in a segment, its ends encoded; "
        "copy = all copied, segments widen to whole groups; encode = all encoded as H.264, which plays everywhere "
        "(%(default)s)",
    )
    summarize.add_argument(
        "--quality", action="store_true", help="encode a little closer to the source, in 2.6 times as long"
    )
    summarize.add_argument("--dry-run", action="store_true", help="only say what would be read and written")
    summarize.add_argument("--json", action="store_true", help="print each summary.json in one line on stdout")
    add_engine(summarize)
    _add_texts(summarize.add_argument_group("texts"))
    _add_choice(summarize.add_argument_group("what is chosen"))
    _add_scores(summarize.add_argument_group("scores"))
    summarize.set_defaults(run=run)


def _add_texts(group: Any) -> None:
    group.add_argument(
        "--subtitles", metavar="FILE", help="SRT, WebVTT, ASS, TTML or a transcript with times, for one video"
    )
    group.add_argument(
        "--subtitle-encoding",
        metavar="NAME",
        help="encoding of subtitle files: windows-1254, iso-8859-2, gb18030; default: UTF-8, else a guess by the "
        "language's letters, which is said",
    )
    group.add_argument(
        "--description",
        metavar="FILE",
        help="what the video is about, for one video: .txt with one text (title, step) a line, or .json with title and "
        "steps",
    )
    group.add_argument("--language", metavar="TAG", help="of the subtitles, where there are several: en, eng, de")
    group.add_argument(
        "--transcribe",
        metavar="SIZE",
        help="recognise speech where there are no subtitles, with a Whisper model: tiny, small, ..., or a folder",
    )


def _add_choice(group: Any) -> None:
    group.add_argument(
        "--query",
        action="append",
        metavar="TEXT",
        help="what the summary shall be about, beside the description; may be given several times",
    )
    for name, what in (("keep", "must be in the summary"), ("skip", "must not be in it")):
        group.add_argument(
            f"--{name}",
            action="append",
            metavar="FROM-TO",
            help=f"a stretch that {what}, whatever the scores say: 1:20-1:40; may be given several times",
        )
    group.add_argument(
        "--selection",
        choices=["importance", "keyshot"],
        default="importance",
        help="importance = the stretches worth most, each step of the description represented; keyshot = the field's "
        "rule, whole shots by a knapsack (%(default)s)",
    )
    group.add_argument(
        "--min-segment",
        default="3s",
        metavar="T",
        help="least length of a segment, if it is not one whole sentence (%(default)s)",
    )


def _add_scores(group: Any) -> None:
    group.add_argument(
        "--model",
        action="append",
        metavar="DIR",
        help="checkpoint folder or Hub id; default: a scorer that needs no training; given several times, the mean of "
        "their scores, each standardised within the video",
    )
    group.add_argument(
        "--level",
        choices=READING_LEVELS,
        help="what the scores are read from: subtitles, description, both; default: the checkpoint's choice",
    )
    group.add_argument(
        "--shots",
        choices=["kts", "cuts"],
        default="kts",
        help="where shots begin: kts = where the features change, cuts = where the picture changes abruptly, which "
        'looks at every frame and needs pip install "hiersum-hf[cuts]" (%(default)s)',
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")
    group.add_argument("--batch-size", type=int, default=16, metavar="N", help="frames encoded together (%(default)s)")
    group.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="precision of the frame encoder (%(default)s); efficientnet-lite0 refuses bfloat16",
    )
    group.add_argument(
        "--fast",
        action="store_true",
        help="look at key frames alone, at most one a second: reads many times faster, the summary is a little worse; "
        "not with a checkpoint trained at another rate",
    )
    group.add_argument(
        "--runtime",
        choices=RUNTIMES,
        help="what computes the frame encoder; the features are the same; default: the fastest that is installed, on a "
        'CPU onnx of pip install "hiersum-hf[onnx]"',
    )
    group.add_argument("--cache", metavar="DIR", help="keep frames' features there, as `hiersum extract` does")


def run(args: argparse.Namespace) -> int:
    from hiersum_hf.files.remote import mirrored
    from hiersum_hf.inference.ranks import Ranks

    address = ray_address(args)
    ranks, texts = Ranks.from_environment(), [text for text in (args.subtitles, args.description) if text]
    with ranks.together(), mirrored([*args.videos, *texts], args.output) as (names, output):
        args.output = output or None
        args.videos, texts = names[: len(args.videos)], names[len(args.videos) :]
        args.description = texts.pop() if args.description else None
        args.subtitles = texts.pop() if args.subtitles else None
        return _run(args, ranks, address)


def _run(args: argparse.Namespace, ranks: Ranks, address: str | None) -> int:
    from hiersum_hf.files.remote import near, ship
    from hiersum_hf.inference.extract import device_of_rank
    from hiersum_hf.inference.ranks import Failures, tell_all
    from hiersum_hf.inference.scorer import open_scorer

    folders = _folders(args)
    args.chosen_by = _selection(args)
    failures = Failures(None if args.dry_run else Path(args.output), ranks)
    if not folders:
        return 0
    device = args.device if ranks.world_size == 1 else device_of_rank(args.device)
    scorer = open_scorer(args.model, args.level, device, args.dtype, args.fast, args.runtime)
    if address is not None and not args.dry_run:
        return _on_ray(args, folders, scorer, failures, address)
    if args.dry_run:
        scorer.load()  # else it loads while the first video is decoded
    number = 0
    for number, video in enumerate(ranks.take([*folders]), 1):
        if len(folders) > 1:
            print(f"[{number}/{len(folders)}] {printable(str(video))}", file=sys.stderr)
        try:
            with near(video, *args.texts[video]):
                (_plan if args.dry_run else _summarize)(args, video, scorer, folders[video])
        except (ValueError, OSError) as error:
            if len(folders) == 1:
                raise
            scorer.load()  # what fails for all of them is said once
            failures.add(video, error)
            print(f"hiersum: error: {printable(str(error))}", file=sys.stderr)
            continue
        ship(*folders[video].values())
    failures.send()
    failed = failures.reasons
    if failed:
        names = printable(", ".join(Path(name).name for name in failed))
        print(f"hiersum: {len(failed)} of {number} videos failed: {names}", file=sys.stderr)
    told = ranks.finish({"videos": number - len(failed), "failed": len(failed)})
    if len(told) > 1 and ranks.rank == 0:
        failures.merge()
        print("\n".join(map(printable, tell_all(told, Path(args.output)))), file=sys.stderr)
    return 1 if any(one.get("failed", 1) for one in told) else 0


def _on_ray(
    args: argparse.Namespace, folders: dict[Path, dict[str, Path]], scorer: Scorer, failures: Failures, address: str
) -> int:
    """Summarize on a Ray cluster; what workers print is printed here."""
    from hiersum_hf.files.remote import listed, named
    from hiersum_hf.inference.on_ray import connected, no_row, watched

    with connected(address) as cluster:
        encoders = cluster.encoders(scorer.extractor.video_encoder, args.device, args.dtype, args.runtime)
        words = argparse.Namespace(**vars(args) | {"videos": (), "made_with": {}, "texts": {}})  # items have their own
        items = [(video, listed(video, *args.texts[video]), folders[video], args.made_with[video]) for video in folders]
        done, make = set[Path](), partial(_worker, words, encoders)
        for (video, *_), told, reason in watched(cluster, items, make, Path(args.output), lambda told: told[-1]):
            if reason:
                failures.add(video, HierSumError(reason))
                print(f"hiersum: error: {printable(reason)}", file=sys.stderr)
                continue
            done.add(video)
            print(told[1], end="", file=sys.stderr)
            print(told[0], end="", flush=True)
    for video in folders.keys() - done:
        if named(str(video)) not in failures.reasons:
            failures.add(video, no_row(video))
    failures.send()
    if failures.reasons:
        names = printable(", ".join(Path(name).name for name in failures.reasons))
        print(f"hiersum: {len(failures.reasons)} of {len(folders)} videos failed: {names}", file=sys.stderr)
    return 1 if failures.reasons else 0


def _worker(args: argparse.Namespace, encoders: Sequence[Any]) -> Callable[[Sequence[Any]], tuple[str, str, float]]:
    """Load a scorer, and return what summarizes a video.

    It gives what was printed on stdout and stderr, and the length of the video in seconds.
    """
    from hiersum_hf.cli.hush import hush
    from hiersum_hf.files.remote import brought, ship
    from hiersum_hf.inference.on_ray import worker_encoder
    from hiersum_hf.inference.scorer import open_scorer

    hush()
    scorer = open_scorer(args.model, args.level, "cpu", args.dtype, args.fast, args.runtime)
    scorer.load()
    theirs = worker_encoder(scorer.extractor.video_encoder, args.dtype, args.runtime, encoders) if encoders else None

    def work(item: Sequence[Any]) -> tuple[str, str, float]:
        video, files, folders, made_with = item
        if theirs:  # again: a long video lets go of it
            vars(scorer)["video_encoder"] = theirs
        out, err = StringIO(), StringIO()
        with brought(files, args.output) as here, redirect_stdout(out), redirect_stderr(err):
            moved = {"subtitles": here(args.subtitles), "description": here(args.description)}
            words = argparse.Namespace(**vars(args) | moved | {"made_with": {here(video): made_with}})
            there = {budget: here(folder) for budget, folder in folders.items()}
            duration_s = _summarize(words, here(video), scorer, there)
            ship(*there.values())
        return out.getvalue(), err.getvalue(), duration_s

    return work


def _folders(args: argparse.Namespace) -> dict[Path, dict[str, Path]]:
    """Return for each video the folder of each budget, and refuse what cannot be written.

    Summaries that are finished are passed over, with a note. What each video and its texts are now is put in
    `args.made_with`.

    Raises:
        FileExistsError: A summary made of or with something else is there, without --overwrite.
        FileNotFoundError: There is no such video.
        ImportError: What recognises speech or finds cuts is asked for and not installed.
        NotADirectoryError, PermissionError: A folder that cannot be written to.
        ValueError: A wrong budget or batch size, texts of one video for several, two videos for one folder, a name
            that no page or cut list can hold.
    """
    from hiersum_hf.files.remote import look
    from hiersum_hf.inference.extract import find_videos
    from hiersum_hf.summary.files import output_folder, refuse_existing, refuse_video
    from hiersum_hf.summary.finished import MADE_WITH, difference
    from hiersum_hf.timeline import parse_budget

    _check_flags(args)
    budgets = {_name(*parse_budget(text)): text for text in args.budget or ["0.15"]}
    videos, notes = find_videos(_fetched(args))
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    args.output = args.output or _beside(videos)
    if len(videos) > 1 and (args.subtitles or args.description):
        raise HierSumError(
            f"--subtitles and --description: expected one video, found {len(videos)}. Texts beside a video under its "
            "name are found without them."
        )
    args.made_with = _made_with(args, videos)
    look(*{output_folder(video, args.output) for video in videos}, read=MADE_WITH)
    finished = 0
    folders: dict[Path, dict[str, Path]] = {}
    owners: dict[Path, Path] = {}
    for video in videos:
        owner = owners.setdefault(output_folder(video, args.output), video)
        if owner != video:
            raise HierSumError(
                f"{output_folder(video, args.output)}: expected one video for it, found {owner}, {video}"
            )
        for name, text in budgets.items():
            folder = output_folder(video, args.output, name if len(budgets) > 1 else None)
            made_with = args.made_with[video] | {"budget": name}
            differs = None if args.overwrite else difference(folder, made_with, _written(args, video))
            if differs == "":
                finished += 1
                continue
            refuse_existing(folder, args.overwrite or args.dry_run, differs)
            refuse_video(video, folder)
            folders.setdefault(video, {})[text] = folder
    if finished:
        print(f"note: {finished} finished before, of the same video and settings: passed over", file=sys.stderr)
    return folders


def _made_with(args: argparse.Namespace, videos: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """Return what the summary of each video depends on, but for the budget."""
    from hiersum_hf.features.text_encoder import default_extractor
    from hiersum_hf.summary.finished import file_facts
    from hiersum_hf.texts.find import texts_beside

    names = (
        "render", "quality", "query", "keep", "skip", "selection", "min_segment", "level", "shots", "dtype", "fast",
        "language", "subtitle_encoding", "transcribe",
    )  # fmt: skip
    settings = {name.replace("_", "-"): getattr(args, name) for name in names}
    settings["model"] = args.model or default_extractor().video_encoder
    settings["weights"] = [file_facts(Path(model).glob("*.safetensors")) for model in args.model or ()]
    given = [Path(file) for file in (args.subtitles, args.description) if file]
    args.texts = {video: [*beside, *given] for video, beside in texts_beside(videos).items()}
    return {
        video: {"video": file_facts([video]), "texts": file_facts(args.texts[video])} | settings for video in videos
    }


def _fetched(args: argparse.Namespace) -> list[str]:
    """Fetch the addresses among the videos; a dry run says what it would fetch and goes without.

    Raises as `fetch`.
    """
    from hiersum_hf.files.remote import uri_of
    from hiersum_hf.inference.fetch import fetch, fetched_before, folder_of, is_address

    if args.output is None and any(map(is_address, args.videos)):
        args.output = "summaries"
    kept = "summaries" if uri_of(args.output or "") else args.output or "."
    downloads = args.downloads or Path(kept) / "downloads"
    names = []
    for name in args.videos:
        if not is_address(name):
            names.append(name)
            continue
        if there := fetched_before(name, downloads):
            names.append(str(there))
            continue
        doing = "would be fetched" if args.dry_run else "is being fetched"
        print(f"note: {printable(name)} {doing} to {printable(str(folder_of(name, downloads)))}", file=sys.stderr)
        if not args.dry_run:
            names.append(str(fetch(name, downloads, args.language)))
    return names


def _beside(videos: Sequence[Path]) -> Path:
    """Return the folder of summaries beside videos that lie together.

    Raises:
        HierSumError: They lie in several folders.
    """
    folders = {video.parent for video in videos}
    if len(folders) > 1:
        raise HierSumError(
            f"--output: expected a folder for summaries of videos in {len(folders)} folders, found none. Give one."
        )
    return folders.pop() / "summaries"


def _check_flags(args: argparse.Namespace) -> None:
    from hiersum_hf.files.atomic import refuse_unwritable
    from hiersum_hf.summary.export import check_exports
    from hiersum_hf.summary.files import check_files
    from hiersum_hf.texts import speech
    from hiersum_hf.texts.encoding import check_encoding
    from hiersum_hf.video import cuts

    if args.files is not None:
        check_files(args.files)
    check_exports(args.export)
    if args.batch_size < 1:
        raise HierSumError(f"--batch-size: expected at least 1, found {args.batch_size}")
    if args.subtitle_encoding is not None:
        check_encoding(args.subtitle_encoding, "--subtitle-encoding")
    if args.cache is not None:
        refuse_unwritable(Path(args.cache), "features")
    if args.fast and args.shots == "cuts":
        raise HierSumError("--shots: expected kts with --fast, as cuts need every frame, found cuts")
    if args.transcribe is not None and find_spec("faster_whisper") is None:
        raise ImportError(speech.INSTALL)
    if args.shots == "cuts" and find_spec("scenedetect") is None:
        raise ImportError(cuts.INSTALL)


def _selection(args: argparse.Namespace) -> Selection:
    """Return how to choose, as the flags say; times that are none are refused."""
    from hiersum_hf.scoring.topics import checked_queries
    from hiersum_hf.summary.selection import Selection
    from hiersum_hf.timeline import parse_spans, parse_time

    args.query = checked_queries(args.query)
    keep, skip = parse_spans(args.keep, "--keep"), parse_spans(args.skip, "--skip")
    return Selection(args.selection, parse_time(args.min_segment), keep=keep, skip=skip)


def _name(kind: str, value: float) -> str:
    """Return a budget as the name of a folder, such as 0.15 or 60s."""
    return f"{value:g}s" if kind == "seconds" else f"{value:g}"


def _summarize(args: argparse.Namespace, video: Path, scorer: Scorer, folders: dict[str, Path]) -> float:
    """Write the summaries of a video, and return its length in seconds."""
    from tqdm import tqdm

    from hiersum_hf.inference.summarize import score_video
    from hiersum_hf.summary.files import FILES, write_summary
    from hiersum_hf.timeline import parse_budget

    said: set[str] = set()

    def note(text: str) -> None:
        if text not in said:
            said.add(text)
            print(f"note: {printable(_advised(text))}", file=sys.stderr)

    scored = score_video(
        video, scorer, args.subtitles, args.description, language=args.language, transcribe=args.transcribe,
        subtitle_encoding=args.subtitle_encoding, queries=args.query, batch_size=args.batch_size, cache=args.cache,
        shots=args.shots, note=note,
    )  # fmt: skip
    for budget, folder in folders.items():
        as_written: list[Summary] = []
        chosen = scored.summarize(budget, args.chosen_by)
        with tqdm(total=100, desc="writing", disable=None, bar_format=BAR) as bar:
            write_summary(
                chosen, video, folder, scored.sentences, args.overwrite, args.files or FILES, partial(_show, bar),
                args.render, args.quality, as_written.append, args.export, args.embed_chapters,
                made_with=args.made_with[video] | {"budget": _name(*parse_budget(budget))},
            )  # fmt: skip
        summary = as_written[0]
        for warning in summary.warnings:
            note(warning)
        if args.json:
            print(f"{json.dumps(summary.to_dict())}\n", end="", flush=True)  # at once, beside other ranks
        else:
            _tell(summary, folder, _written(args, video))
    return summary.duration_s


def _advised(note: str) -> str:
    """Add to a note of texts that are missing how to give them."""
    return f"{note} {HOW_TO_GIVE_TEXTS}" if note.endswith("judged without what is said.") else note


def _written(args: argparse.Namespace, video: Path) -> list[str]:
    """List the files that are written for a video."""
    from hiersum_hf.summary.export import EXPORTS
    from hiersum_hf.summary.files import FILES
    from hiersum_hf.video.remux import chaptered_name

    copies = [chaptered_name(video)] if args.embed_chapters else []
    return [*(args.files or FILES), *(EXPORTS[name] for name in args.export), *copies]


def _show(bar: Any, step: str, share: float) -> None:
    """Move a bar of 100 to a share, backwards too where the pictures are written anew."""
    bar.update(100 * share - bar.n)


def _tell(summary: Summary, folder: Path, files: Sequence[str]) -> None:
    print(f"{printable(summary.video)}: {summary.extent}, {summary.asked_for}")
    for query in summary.queries:
        times = ", ".join(f"{clock(m['start_s'])} to {clock(m['end_s'])}" for m in query["moments"])
        print(printable(f"Nearest to {query['text']!r}: {times}"))
    if summary.left_out:
        print(printable(f"Not shown: {in_a_row(summary.left_out)}"))
    print(printable(f"Written to {folder}: {', '.join(files)}"))


def _plan(args: argparse.Namespace, video: Path, scorer: Scorer, folders: dict[str, Path]) -> None:
    """Say what would be done with a video; no picture is decoded."""
    from hiersum_hf.inference.source import open_source
    from hiersum_hf.inference.summarize import levels_of
    from hiersum_hf.summary.selection import check_wishes
    from hiersum_hf.timeline import budget_of

    given = {"video": video, "subtitles": args.subtitles, "description": args.description}
    source = open_source(
        scorer, given, args.language, args.transcribe, listen=False, subtitle_encoding=args.subtitle_encoding
    )
    duration_s, sentences, texts = source.duration_s, source.sentences, source.description
    notes = [*source.notes, *(levels_of(scorer, source.has_description)[1] if scorer.networks else ())]
    for budget in folders:
        check_wishes(args.chosen_by, str(video), duration_s, budget_of(budget, duration_s).seconds)
    scored_by, files = scorer.checkpoint or "training-free", _written(args, video)
    summaries = [
        {"budget": budget, "seconds": budget_of(budget, duration_s).seconds, "folder": str(folder)}
        | {"exists": folder.exists(), "files": files}
        for budget, folder in folders.items()
    ]
    if args.json:
        plan = {"video": str(video), "duration_s": duration_s, "scorer": scored_by, "sentences": len(sentences)}
        plan |= {"description": len(texts), "notes": notes, "summaries": summaries}
        print(json.dumps(plan), flush=True)
        return
    said, described = counted(len(sentences), "sentence"), counted(len(texts), "text")
    about = f"{duration_s:.1f} s, {said}, {described} of description"
    lines = [f"{video}: {about}, scored by: {scored_by}", *(f"  {_advised(note)}" for note in notes)]
    for one in summaries:
        there = " (there is one already: needs --overwrite)" if one["exists"] and not args.overwrite else ""
        lines.append(f"  at most {one['seconds']:.1f} s to {one['folder']}{there}: {', '.join(files)}")
    print("\n".join(map(printable, lines)))
