"""Refuse what can be refused before a run's first step."""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import SaveStrategy, sort_checkpoints

from hiersum_hf.datasets.arguments import DataArguments
from hiersum_hf.evaluation.evaluate import mean_metrics
from hiersum_hf.files.atomic import refuse_uri
from hiersum_hf.files.json_file import read_json_object
from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord, row_counts
from hiersum_hf.scoring.collator import text_labels
from hiersum_hf.scoring.training_free import score_frames
from hiersum_hf.training.arguments import HierSumTrainingArguments
from hiersum_hf.training.flags import Flags, kept_flags, recipe_differences, write_recipe
from hiersum_hf.training.resume import last_checkpoint


OF_A_PUSH = ("hub_model_id", "hub_private_repo")  # flags of a run
PUSHES_OF_THE_TRAINER = ("hub_strategy", "hub_always_push", "hub_revision")  # which goes checkpoint by checkpoint


logger = logging.getLogger(__name__)

BESIDE_WEIGHTS = 20 * 2**20  # bytes of a checkpoint that are neither weights nor optimizer: code, logs, random states
ADAM_STATES = 2  # for every weight that is trained
LEFT_BY_A_RUN = (
    "results.json",
    "README.md",
    "recipe.yaml",
    "config.json",
    "adapter_*",
    "model*.safetensors",
    "model.safetensors.index.json",
    "scores.png",
)
MAY_CHANGE = (  # of a run that goes on
    "max_steps",
    "num_train_epochs",
    "eval_steps",
    "output_dir",
    "disable_tqdm",
    "report_to",
    "dataloader_num_workers",
    "push_to_hub",
    "hub_model_id",
    "hub_private_repo",
    "gradient_accumulation_steps",  # `kept_ranks` compares what a step sees
)
IGNORED = -100  # a frame label that teaches nothing
REPORTERS = {  # of --report_to: the packages of which it needs one
    "trackio": ("trackio",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
}
LABELS_LOOKED_AT = 200  # records at most, of a set that may be on disk


def run_folder(args: HierSumTrainingArguments) -> Path:
    """Return the folder of the run, which TrainingArguments defaults."""
    return Path(str(args.output_dir))


def check_run(args: HierSumTrainingArguments, given: Mapping[str, Any]) -> str | None:
    """Refuse a run that would do harm; find the checkpoint to go on from.

    It must not overwrite an earlier run or the checkpoint that it starts from, or go on with another recipe. Nothing is
    made here, neither a folder nor a repository.

    Raises:
        ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError: As said, with what to do.
    """
    run = run_folder(args)
    refuse_uri(run)
    check_start(run, given.get("checkpoint"))
    if resumed := checkpoint_to_resume(args):
        # A checkpoint of another run's folder must be of the same flags too.
        for folder in {run.resolve(), Path(resumed).resolve().parent}:
            refuse_to_resume(folder, given)
    elif not args.overwrite:
        refuse_finished(run)
        refuse_other_recipe(run, given)
    check_reporters(args)
    check_hub_flags(args, given)
    return resumed


def check_selection(args: HierSumTrainingArguments, data: DataArguments) -> None:
    """Refuse to select on videos that are trained on.

    Raises:
        HierSumError: Evaluations, or the best checkpoint, are asked for with `fit_on_validation`.
    """
    if data.fit_on_validation and (args.eval_strategy != "no" or args.load_best_model_at_end):
        wanted = "expected --eval_strategy no and no --load_best_model_at_end with it, as that part is trained on"
        best = " and load_best_model_at_end" if args.load_best_model_at_end else ""
        found = f"found eval_strategy {getattr(args.eval_strategy, 'value', args.eval_strategy)}{best}"
        raise HierSumError(f"fit_on_validation: {wanted}, {found}.")


def check_start(run: Path, checkpoint: str | None) -> None:
    """Refuse to write over the checkpoint that the run starts from.

    Raises:
        ValueError: The run would write over it, or over an adapter's base.
    """
    for folder in _chain(checkpoint):
        if folder.is_relative_to(run.resolve()):
            base = "" if folder == Path(str(checkpoint)).resolve() else f", an adapter of {folder}"
            raise HierSumError(
                f"checkpoint {checkpoint}{base}: expected one outside output_dir {run}, where it would be overwritten. "
                "Give another --output_dir."
            )


def _chain(checkpoint: str | None) -> list[Path]:
    """List the folders that a checkpoint needs, its own first.

    An adapter needs that of its base, which may be an adapter, and so on.
    """
    chain: list[Path] = []
    while checkpoint and (folder := Path(checkpoint).resolve()).is_dir() and folder not in chain:
        chain.append(folder)
        adapter = folder / "adapter_config.json"
        checkpoint = read_json_object(adapter).get("base_model_name_or_path") if adapter.is_file() else None
    return chain


def checkpoint_to_resume(args: HierSumTrainingArguments) -> str | None:
    """Return the checkpoint to go on from, None for a new run.

    With "True" it is the last whole one of the run, with "auto" too, where there is one.

    Raises:
        FileNotFoundError: There is none.
    """
    given, run = args.resume_from_checkpoint, run_folder(args)
    if not given:
        return None
    if given in ("True", "auto"):
        found = last_checkpoint(run) if run.is_dir() else None
        if found is None and given == "True":
            raise FileNotFoundError(
                f"{run}: expected a whole checkpoint to resume from, found none. Start "
                "anew without --resume_from_checkpoint, or give auto, which does so where there is none."
            )
        return found
    if not Path(given).is_dir():
        raise FileNotFoundError(f"resume_from_checkpoint: expected True, False, auto or a folder, found {given!r}.")
    return given


def refuse_finished(run: Path) -> None:
    """Refuse a folder with a finished run or another checkpoint.

    Raises:
        FileExistsError: There is a finished run, or a checkpoint that no run here has left.
    """
    if (run / "results.json").exists():
        raise FileExistsError(f"{run}: expected no finished run there. Give --overwrite True to replace it.")
    if (run / "config.json").exists() and not (run / "recipe.yaml").exists():
        raise FileExistsError(f"{run}: expected no other checkpoint there. Give --overwrite True to replace it.")


def refuse_to_resume(run: Path, given: Mapping[str, Any]) -> None:
    """Refuse to go on with other flags than the run had.

    Its length, saves and logs may change, and so may `MAY_CHANGE`.

    Raises:
        ValueError: Another flag changed; names each.
    """
    changed = [d for d in recipe_differences(run, given) if not d.startswith(("save_", "logging_"))]
    may_change = (*MAY_CHANGE, *(() if _sorts_by_length(given) else ("per_device_train_batch_size",)))
    if differences := [each for each in changed if each.split()[0] not in may_change]:
        raise HierSumError(
            f"{run / 'recipe.yaml'}: expected the flags of the run to resume, found {'; '.join(differences)}. Another "
            "split, for one, would train on its test videos."
        )


def _sorts_by_length(given: Mapping[str, Any]) -> bool:
    """Tell whether the order of the videos depends on the batch size."""
    return given.get("train_sampling_strategy") == "group_by_length"


def kept_ranks(flags: Flags, resumed: str | None) -> int:
    """Return the number of ranks that the batch flags of a run are meant for.

    It is that of recipe.yaml where the run goes on or begins again.

    Raises:
        HierSumError: A step would see another number of videos than it did, or recipe.yaml has no number of ranks.
    """
    args, run = flags.training, run_folder(flags.training)
    folders = [run, Path(resumed).resolve().parent] if resumed else [] if args.overwrite else [run]
    there = [folder for folder in folders if (folder / "recipe.yaml").is_file()]
    kept = kept_flags(there[0]) if there else {}
    ranks: int = flags.start.ranks or kept.get("ranks") or args.world_size
    if ranks < 1:
        raise HierSumError(f"{there[0] / 'recipe.yaml'}: ranks must be at least 1, got {ranks}. Correct it.")
    then = kept.get("ranks", ranks)
    for name in ("per_device_train_batch_size", "gradient_accumulation_steps"):
        then *= kept.get(name, getattr(HierSumTrainingArguments, name))
    now = args.per_device_train_batch_size * args.gradient_accumulation_steps * ranks
    if there and then != now:
        raise HierSumError(
            f"{there[0] / 'recipe.yaml'}: expected {then} videos a step, per_device_train_batch_size x "
            f"gradient_accumulation_steps x ranks, found {now}. Leave these flags as they were."
        )
    return ranks


def share_step(args: HierSumTrainingArguments, ranks: int) -> None:
    """Spread the batches of a step of so many ranks over those that were started.

    Levels, videos and batches of every step stay the same; `gradient_accumulation_steps` changes.

    Raises:
        HierSumError: They do not divide the batches of a step; says what does.
    """
    accumulated, started = args.gradient_accumulation_steps, args.world_size
    accelerate: Any = args.accelerator_config  # Transformers has filled it by now
    if ranks == started or accelerate.split_batches:  # which spreads every batch over the ranks
        return
    batches = ranks * accumulated
    if batches % started:
        raise HierSumError(
            f"ranks: expected a number of processes that divides the {batches} batches of a step ({ranks} ranks x "
            f"gradient_accumulation_steps {accumulated}), found {started}. {_way_out(args, batches)}"
        )
    args.gradient_accumulation_steps = batches // started
    logger.info(
        f"{started} ranks in place of {ranks}: gradient_accumulation_steps is {batches // started} in place of "
        f"{accumulated}, and a step sees the same videos."
    )


def _way_out(args: HierSumTrainingArguments, batches: int) -> str:
    """Say with how many processes, or which flags, a step sees the same videos."""
    numbers = [str(n) for n in range(1, batches + 1) if batches % n == 0]
    way = f"Start {' or '.join(numbers)} of them (--num_processes)"
    size, started = args.per_device_train_batch_size, args.world_size
    share, rest = divmod(size * batches, started)
    if rest or args.train_sampling_strategy == "group_by_length":  # which sorts the videos of a batch
        return f"{way}."
    parts = next(parts for parts in range(1, share + 1) if share % parts == 0 and share // parts <= size)
    return (
        f"{way}, or add --ranks {started} --per_device_train_batch_size {share // parts} "
        f"--gradient_accumulation_steps {parts}: the same videos in other batches."
    )


def refuse_other_recipe(run: Path, given: Mapping[str, Any]) -> None:
    """Refuse a folder whose recipe.yaml is not that of this run.

    Raises:
        FileExistsError: Flags differ; names each.
    """
    if differences := recipe_differences(run, given):
        raise FileExistsError(
            f"{run / 'recipe.yaml'}: expected the flags of this run, found {'; '.join(differences)}. Give "
            "--overwrite True to replace what is there, or another --output_dir."
        )


class BeginRun(TrainerCallback):
    """Clear the folder and write recipe.yaml at the first step.

    By then nothing can be refused any more. With --overwrite True what an earlier run left goes, here and in the
    folders `also`, so that it is never taken for this one's.
    """

    def __init__(self, given: Mapping[str, Any], also: Sequence[Path] = ()):
        self.given = given
        self.also = also

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Clear and write, in one process of all."""
        if not state.is_world_process_zero:
            return
        run = Path(str(args.output_dir))
        if cast(HierSumTrainingArguments, args).overwrite and not args.resume_from_checkpoint:
            for folder in (run, *self.also):
                clear_run(folder)
        write_recipe(run, self.given)


def clear_run(run: Path) -> None:
    """Remove what a run has left.

    An adapter's files, for one, would hide the whole network that comes next. A folder that no run was in keeps
    everything, so that a README.md of its own survives.
    """
    if not any((run / name).is_file() for name in ("recipe.yaml", "results.json", "adapter_config.json")):
        return
    for checkpoint in sort_checkpoints(str(run)):
        shutil.rmtree(checkpoint)
    for pattern in LEFT_BY_A_RUN:
        for path in run.glob(pattern):
            path.unlink()


def check_reporters(args: HierSumTrainingArguments) -> None:
    """Refuse to report to what is unknown to Transformers or not installed.

    Raises:
        HierSumError: No such name.
        ImportError: A package is missing; names its install command.
    """
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    for name in args.report_to or ():
        if name not in INTEGRATION_TO_CALLBACK:
            raise HierSumError(f"--report_to: expected one of {', '.join(REPORTERS)} or none, found {name}.")
        packages = REPORTERS.get(name, ())
        if packages and not any(map(find_spec, packages)):
            raise ImportError(f"--report_to {name} needs a package that is not installed: pip install {packages[0]}")


def check_processes(args: HierSumTrainingArguments) -> None:
    """Refuse other processes than asked for, and one with several GPUs.

    Raises:
        ValueError: As said, with the command to start instead.
    """
    started = int(os.environ.get("WORLD_SIZE", 1))
    if args.world_size != started:
        raise HierSumError(
            f"{started} processes were started, {args.world_size} would train. On CPU give --use_cpu True."
        )
    if args.n_gpu > 1:  # the Trainer would wrap the network in DataParallel, which splits every batch over the GPUs
        raise HierSumError(
            f"expected one process for each GPU, found one process and {args.n_gpu} GPUs. Start it as "
            "`accelerate launch -m hiersum_hf train ...`, or name the GPU to use, CUDA_VISIBLE_DEVICES=0."
        )
    # all that `accelerate launch --num_processes 2` leaves behind where it started one process
    trace = os.environ.get("MASTER_ADDR") == "127.0.0.1" and "ACCELERATE_USE_CPU" in os.environ
    if trace and not {"WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"} & set(os.environ):
        raise HierSumError(
            "Several processes were asked for, one was started: `accelerate launch --num_processes` needs --multi_gpu "
            "with it, also on CPU (there with --use_cpu True behind the script)."
        )


def check_records(
    train: Sequence[VideoRecord], config: HierSumConfig, args: HierSumTrainingArguments, data: str
) -> None:
    """Refuse videos that cannot teach the head that scores.

    Warns of a child level without subtitles.

    Raises:
        ValueError: No scores or no labels, or the loss that needs them has no weight.
    """
    if config.score_head == "replay":
        if not config.replay_weight > 0:
            raise HierSumError(
                f"score_head replay: expected --replay_weight above 0, which trains it, found {config.replay_weight}."
            )
        if not _any_known(train, "frame_scores"):
            raise HierSumError(f"{data}: expected frame scores for score_head replay, found none in the training part.")
    else:
        _check_importance(train, config, data)
    if args.rank_targets and not _any_known(train, "user_scores"):
        logger.warning("%s: no video has annotators. rank_targets learns the scores as they are.", data)
    if args.schedule != "parent" and not row_counts(train, "text_features").any():
        logger.warning("%s: no video has subtitles. The child level is trained on frames alone.", data)


def _check_importance(train: Sequence[VideoRecord], config: HierSumConfig, data: str) -> None:
    """Refuse a run that teaches the importance head nothing."""
    known = [name for name in ("labels", "scores") if _any_known(train, f"frame_{name}")]
    learned = ["labels"] if config.focal_weight else []
    learned += ["scores"] if config.score_loss != "none" and config.score_weight else []
    if not {*known} & {*learned}:
        raise HierSumError(
            f"{data}: expected frame labels, which --focal_weight above 0 learns, or frame scores, which --score_loss "
            "correlation learns, or --replay_weight above 0 and --score_head replay. The training part has "
            f"{' and '.join(known) or 'neither'}; these flags learn {' and '.join(learned) or 'nothing'}."
        )


def check_parent_text(train: Sequence[VideoRecord], schedule: str, data: str) -> None:
    """Refuse --parent_text_loss True where it would do nothing.

    Raises:
        ValueError: No text at parent level has a label, or no step is at that level.
    """
    if schedule in ("child", "joint"):
        raise HierSumError(f"parent_text_loss: expected a schedule with parent steps, found {schedule}.")
    described = np.flatnonzero(row_counts(train, "description_features")).tolist()
    if not any((text_labels(train[i], "parent") != IGNORED).any() for i in described):
        raise HierSumError(
            f"parent_text_loss: expected descriptions made of the videos' own sentences, found none in {data}."
        )


def check_metric(
    args: HierSumTrainingArguments, trained: Sequence[str] | None, validation: Sequence[VideoRecord], dataset: str
) -> None:
    """Refuse a metric_for_best_model that no evaluation of the run has.

    Args:
        args: Of the run.
        trained: Levels that the network comes with.
        validation: Records of the validation part.
        dataset: Name of the data set, whose protocol evaluates it.

    Raises:
        ValueError: As said; names the metrics there are.
    """
    if not args.metric_for_best_model:
        return
    wanted = f"eval_{args.metric_for_best_model.removeprefix('eval_')}"
    known: set[str] = set()
    for record in validation:
        # Constant scores will do: only the names of the metrics that the record's annotations allow are asked for.
        figures = mean_metrics([record], {record.video_id: score_frames(record, "uniform")}, dataset)
        known |= {f"eval_{level}_{name}" for level in args.levels_to_come(trained) for name in figures}
        if wanted in known:
            return
    raise HierSumError(
        f"metric_for_best_model: expected one of {', '.join(sorted(known)) or 'none'}, as the schedule and the "
        f"validation part give, found {wanted}."
    )


def _any_known(records: Sequence[VideoRecord], name: str) -> bool:
    """Tell whether a record has a label or score that is known.

    A label is known if it is not -100, a score if it is finite. `LABELS_LOOKED_AT` records are read at most.
    """
    # `row_counts` reads no features, which may lie on disk.
    there = np.flatnonzero(row_counts(records, name))[:LABELS_LOOKED_AT].tolist()
    values = (np.asarray(getattr(records[i], name)) for i in there)
    return any(bool((np.isfinite(value) & (value != IGNORED)).any()) for value in values)


def check_disk(model: nn.Module, args: HierSumTrainingArguments) -> None:
    """Refuse checkpoints that do not fit on the disk.

    Raises:
        OSError: As said, with the room that is needed.
    """
    run = run_folder(args).absolute()
    needed = checkpoint_bytes(model, args)
    free = shutil.disk_usage(next(path for path in (run, *run.parents) if path.exists())).free
    if free < needed:
        raise OSError(
            f"output_dir {args.output_dir}: expected room for the checkpoints, {_size(needed)}, found {_size(free)}. "
            "Give --save_total_limit, or another folder."
        )


def checkpoint_bytes(model: nn.Module, args: HierSumTrainingArguments) -> int:
    """Estimate the bytes that a run writes.

    That is the final weights and the checkpoints that lie side by side, one more than `save_total_limit`. An adapter's
    checkpoints hold what is trained and nothing else. Without a limit every save counts; where their number is known
    only from the data, one.
    """
    sizes = [(p.numel() * p.element_size(), p.requires_grad) for p in model.parameters()]
    trained = sum(size for size, trains in sizes if trains)
    weights = trained if hasattr(model, "peft_config") else sum(size for size, _ in sizes)
    final = weights + BESIDE_WEIGHTS
    optimizer = 0 if args.save_only_model else ADAM_STATES * trained
    return final + _saves(args) * (final + optimizer)


def _saves(args: HierSumTrainingArguments) -> int:
    """Count the checkpoints that lie side by side."""
    strategy = SaveStrategy(args.save_strategy).value
    if strategy == "no":
        return 0
    count = 1
    if strategy == "epoch" and args.max_steps <= 0:
        count = math.ceil(args.num_train_epochs)
    elif strategy == "steps" and args.save_steps < 1:  # a share of all steps
        count = int(1 / args.save_steps)
    elif strategy == "steps" and args.max_steps > 0:
        count = args.max_steps // int(args.save_steps)
    return min(count, args.save_total_limit + 1) if args.save_total_limit else count


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def check_hub_flags(args: HierSumTrainingArguments, given: Mapping[str, Any]) -> None:
    """Refuse flags of the Hub that would do harm or nothing.

    Args:
        args: Of the run.
        given: The flags that were really given.

    Raises:
        ValueError: As said.
    """
    if "hub_token" in given:
        raise HierSumError(
            "hub_token: expected none, because recipe.yaml and the card show all flags. Run `hf auth login`, or set "
            "HF_TOKEN."
        )
    idle = sorted(
        name for name in given if name in PUSHES_OF_THE_TRAINER or (name in OF_A_PUSH and not args.push_to_hub)
    )
    if idle:
        raise HierSumError(
            f"{idle[0]}: expected it left out. A run is pushed once, at its end, with --push_to_hub True and "
            f"{', '.join(f'--{name}' for name in OF_A_PUSH)}."
        )
    if not args.push_to_hub:
        return
    if not args.hub_model_id:
        raise HierSumError(
            "push_to_hub: expected False, found True without --hub_model_id. Give it, for example org/hiersum."
        )
    if given.get("lora_r") and Path(str(given.get("checkpoint"))).exists():
        raise HierSumError(
            "push_to_hub: expected a --checkpoint on the Hub for an adapter that goes there, found the folder "
            f"{given['checkpoint']}."
        )
    if given.get("lora_r") and str(given.get("checkpoint")).lower() == args.hub_model_id.lower():
        raise HierSumError(
            f"hub_model_id: expected a repository of the adapter's own, found {args.hub_model_id}, its base."
        )
