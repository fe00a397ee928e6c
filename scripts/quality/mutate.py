"""Mutation testing: which small changes to the parts that every figure rests on do the tests not notice?

    pip install cosmic-ray
    python scripts/quality/mutate.py                    # every part; hours
    python scripts/quality/mutate.py losses --work demo/mutation

Works on a copy of the sources in --work and goes on where it was interrupted; what went unnoticed is tried again with
the tests as they are now, and a part whose files have changed begins anew. Left out are changes that nearly repeat
another (of eleven other binary operators one is tried). Prints for each part how many changes the tests noticed, and
the others as diffs.
"""

import argparse
import os
import re
import shutil
import signal
import sys
from hashlib import sha256
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import pytest


REPO = Path(__file__).parents[2]
METRICS = [
    f"hiersum_hf/metrics/{name}.py"
    for name in ("clips", "inputs", "key_shots", "ranks", "seconds", "segments", "texts")
]
METRICS_TESTS = [
    *(f"metrics/test_{name}" for name in ("metrics", "clips", "segments", "texts")),
    *("evaluation/test_importance", "evaluation/test_protocols", "test_properties"),
]
PARTS: dict[str, tuple[list[str], list[str], str]] = {  # files, tests, names of functions
    "losses": (["modeling/losses_hiersum.py"], ["modeling/test_losses", "modeling/test_modeling"], ""),
    "mask": (["modeling/attention_hiersum.py"], ["modeling/test_attention", "modeling/test_modeling"], ""),
    "sampler": (["hiersum_hf/training/sampler.py"], ["training/test_sampler", "training/test_trainer"], ""),
    "knapsack": (
        ["hiersum_hf/summary/shots.py"],
        ["test_properties", "summary/test_shots", "summary/test_summary"],
        "knapsack|_take",
    ),
    "metrics": (METRICS, METRICS_TESTS, ""),
}
TRIED = re.compile(
    r"core/(NumberReplacer|AddNot|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceOrWithAnd|ReplaceAndWithOr"
    r"|ZeroIterationForLoop|ReplaceUnaryOperator_Delete_\w+|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt"
    r"|Gt_GtE|GtE_Gt|Is_IsNot|IsNot_Is)|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul"
    r"|Pow_Mul|BitAnd_BitOr|RShift_LShift))"
)
TIMEOUT_S = 120.0


def copy_sources(target: Path) -> None:
    """What the tests need, with `modeling` where Python finds it before an installed one."""
    skipped = shutil.ignore_patterns(".*", "demo", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(REPO, target, ignore=skipped, dirs_exist_ok=True)
    if not (target / "hiersum_hf/modeling").exists():
        (target / "hiersum_hf/modeling").symlink_to("../modeling")


def tests_pass(words: list[str]) -> bool:
    """In a fork of this process, where the large libraries are read already: a third of the time."""
    process = get_context("fork").Process(target=run_tests, args=(words,))
    process.start()
    process.join(TIMEOUT_S)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    return process.exitcode == 0


def run_tests(words: list[str]) -> None:
    os.setsid()  # with all that it starts
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    sys.dont_write_bytecode = True
    sys.path[0] = os.getcwd()
    os._exit(pytest.main(words))


def mutate(part: str, work: Path) -> None:
    """Runs the tests for every change that has no result yet, then prints score and survivors."""
    import cosmic_ray.mutating
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import use_db
    from cosmic_ray.work_item import TestOutcome
    from tqdm import tqdm

    files, tests, functions = PARTS[part]
    content = sha256(b"".join((REPO / file).read_bytes() for file in files)).hexdigest()[:8]
    sources, session = work / part, work / f"{part}-{content}.sqlite"
    words = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *(f"tests/{name}.py" for name in tests)]
    copy_sources(sources)
    os.chdir(sources)
    if not tests_pass(words):
        raise SystemExit(f"{sources}: expected tests that pass where nothing is changed: pytest {' '.join(words)}")
    outcomes = {True: TestOutcome.SURVIVED, False: TestOutcome.KILLED}
    cosmic_ray.mutating.run_tests = lambda *_: (outcomes[tests_pass(words)], "")
    with use_db(session) as database:
        if not database.num_work_items:
            init(map(Path, files), database, {})
        wanted = {
            item.job_id: item
            for item in database.work_items
            for change in item.mutations
            if TRIED.fullmatch(change.operator_name) and re.match(functions, change.definition_name or "")
        }
        noticed_before = {job for job, result in database.results if result.test_outcome != TestOutcome.SURVIVED}
        for job in tqdm(wanted.keys() - noticed_before, desc=part, unit="change"):
            database.set_result(job, cosmic_ray.mutating.mutate_and_test(wanted[job].mutations, "", TIMEOUT_S))
        found = {job: result for job, result in database.results if job in wanted}
    survivors = [result.diff for result in found.values() if result.test_outcome == TestOutcome.SURVIVED]
    noticed = len(found) - len(survivors)
    print(f"| {part} | {len(found)} | {noticed} | {noticed / len(found):.1%} |", *survivors, sep="\n", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which (default: all): {', '.join(PARTS)}")
    parser.add_argument("--work", type=Path, default=Path("demo/mutation"), help="copies and results (%(default)s)")
    args = parser.parse_args()
    if unknown := sorted(set(args.parts) - set(PARTS)):
        parser.error(f"expected parts of {', '.join(PARTS)}; found {', '.join(unknown)}")
    for library in ("datasets", "hypothesis", "scipy.stats", "transformers.trainer"):  # once for all forks
        import_module(library)
    args.work.mkdir(parents=True, exist_ok=True)
    work = args.work.resolve()
    print("| part | changes | noticed | score |\n|---|---|---|---|")
    for part in args.parts or PARTS:
        mutate(part, work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
