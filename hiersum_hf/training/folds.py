"""Train a run for each fold and evaluate them together.

This is `hiersum train --folds True`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from hiersum_hf.datasets.fetch import fetched_data
from hiersum_hf.evaluation.folds import count_folds, evaluate_run
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.results import Results
from hiersum_hf.training.flags import Flags, kept_flags, parse
from hiersum_hf.training.preflight import check_processes, check_start, refuse_other_recipe, run_folder
from hiersum_hf.training.ranks import claimed
from hiersum_hf.training.resume import last_checkpoint
from hiersum_hf.training.run import Trained, command, train


def train_folds(words: Sequence[str], flags: Flags, tell: Callable[[Trained], object]) -> Results | None:
    """Train every fold that is not complete, then evaluate all together.

    Args:
        words: The command line behind `hiersum train`.
        flags: What it says.
        tell: Is given each fold that is done.

    Returns:
        Figures of all folds, which are in results.json too; None on other ranks than the first.
    """
    run, args = run_folder(flags.training), flags.training
    check_processes(args)
    flags.data.data = fetched_data(flags.data.data)
    with claimed(args):
        _check_folds(run, flags)
        old = [run, *run.glob("fold_*")] if args.overwrite else []
        for own in _folds_to_train(run, words, flags):
            if trained := train(own, old):
                tell(trained)
            old = []
        return _evaluate_folds(run, words, flags) if args.process_index == 0 else None


def _check_folds(run: Path, flags: Flags) -> None:
    """Refuse to replace a finished run, and flags of a single fold."""
    args = flags.training
    if (run / "results.json").exists() and not args.overwrite:
        raise FileExistsError(f"{run}: expected no finished run there. Give --overwrite True to replace it.")
    if args.resume_from_checkpoint not in (None, "auto") or "fold" in flags.given:
        raise HierSumError(
            "--folds True trains or resumes every fold: expected no --fold, no --resume_from_checkpoint."
        )
    if args.push_to_hub:
        raise HierSumError("push_to_hub: expected False with --folds True. Push one: hiersum push RUN/fold_0 org/name.")
    check_start(run, flags.start.checkpoint)


def _folds_to_train(run: Path, words: Sequence[str], flags: Flags) -> list[list[str]]:
    """Plan the command line of each fold that is not complete.

    All are planned before any rank writes anything.
    """
    todo = []
    kept = None if flags.training.overwrite else _ranks_of_folds(run)
    for k in range(count_folds(flags.data)):
        folder = run / f"fold_{k}"
        own = [*words, "--folds", "False", "--fold", str(k), "--output_dir", str(folder)]
        if not flags.training.overwrite:
            refuse_other_recipe(folder, parse(own).given)
            last = last_checkpoint(folder) if folder.is_dir() else None
            own += ["--resume_from_checkpoint", last or "False", "--overwrite", str(not last)]
            own += ["--ranks", str(kept)] if kept and not last else []
        if flags.training.overwrite or not (folder / "results.json").exists():
            todo.append(own)
        else:
            logging.info("%s: complete, skipped.", folder)
    return todo


def _ranks_of_folds(run: Path) -> int | None:
    """Find the ranks that the folds trained so far are meant for."""
    return next((ranks for fold in sorted(run.glob("fold_*")) if (ranks := kept_flags(fold).get("ranks"))), None)


def _evaluate_folds(run: Path, words: Sequence[str], flags: Flags) -> Results:
    """Write the figures of all folds to results.json."""
    args = flags.training
    results = evaluate_run(
        [run],
        flags.data,
        allow_encoder_mismatch=args.allow_encoder_mismatch,
        device="cpu" if args.use_cpu else "auto",
        command=command(words, args),
    )
    results.write(run / "results.json")
    return results
