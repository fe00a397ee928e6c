"""Do a training run, from its flags to its results.

`hiersum train` starts it.
"""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from transformers import set_seed

from hiersum_hf.datasets.fetch import fetched_data
from hiersum_hf.datasets.parts import dataset_name, extractor_of, load_parts, split_name
from hiersum_hf.evaluation.evaluate import compute_metrics, evaluate_scores
from hiersum_hf.evaluation.report import plot_videos
from hiersum_hf.evaluation.ridge import ridge_scores
from hiersum_hf.hub.card import LICENCE, card_data, label_facts, write_card
from hiersum_hf.hub.push import claim_repository
from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.modeling.pipeline_hiersum import HierSumPipeline
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import Results
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.scoring.network import encoder_mismatch, predict_scores
from hiersum_hf.scoring.training_free import score_frames
from hiersum_hf.training.arguments import HierSumTrainingArguments
from hiersum_hf.training.flags import Flags, StartArguments, parse
from hiersum_hf.training.from_checkpoint import (
    SaveConfig,
    fit_renewed,
    load_for_transfer,
    note_training,
    stage_of,
    trained_levels,
)
from hiersum_hf.training.preflight import (
    BeginRun,
    check_disk,
    check_metric,
    check_parent_text,
    check_records,
    check_selection,
    run_folder,
)
from hiersum_hf.training.ranks import begun
from hiersum_hf.training.trainer import HierSumTrainer


TAU = "eval_{}_kendall_tau"


class Beginning(NamedTuple):
    """Hold what a run begins with.

    `model` may be a network with an adapter; `mismatch` says in words where encoders differ.
    """

    parts: Mapping[str, Sequence[VideoRecord]]
    model: Any
    extractor: HierSumFeatureExtractor
    mismatch: str | None

    @property
    def fitted(self) -> Sequence[VideoRecord]:
        """The videos to train on."""
        return self.parts.get("fitted", self.parts["train"])


class Trained(NamedTuple):
    """What a run has left: its folder, the `results` of the test part, and where it is to be pushed, or None.

    The checkpoint at its default level comes first, then at the others, then scorers without training.
    """

    folder: Path
    results: Sequence[Results]
    repo_id: str | None
    private: bool | None


def train(words: Sequence[str], replaced: Sequence[Path] = ()) -> Trained | None:
    """Run one training from its flags to its results.

    Args:
        words: The command line behind `hiersum train`.
        replaced: Folders of runs that go too with --overwrite True.

    Returns:
        None on other ranks than the first.
    """
    flags = parse(words)
    flags.data.data = fetched_data(flags.data.data)  # the recipe keeps what was given
    with begun(flags) as resumed:
        return _train(words, flags, resumed, replaced)


def _train(words: Sequence[str], flags: Flags, resumed: str | None, replaced: Sequence[Path]) -> Trained | None:
    """Train in a folder that the run has to itself."""
    args = flags.training
    check_selection(args, flags.data)
    if args.push_to_hub:
        claim_repository(str(args.hub_model_id), args.hub_private_repo)
    pushing, args.push_to_hub = args.push_to_hub, False  # the Trainer would push every checkpoint
    set_seed(args.seed)
    beginning = _read(flags)
    check_disk(beginning.model, args)
    config = beginning.model.config
    check_metric(args, config.trained_levels, beginning.parts["validation"], dataset_name(flags.data))
    trainer = _trainer(flags, beginning, replaced)
    _fit(trainer, config, resumed)
    selects = not flags.data.fit_on_validation
    validation, levels = trainer.evaluate() if selects else {}, trainer.evaluation_levels()  # on every rank
    if not trainer.is_world_process_zero():
        return None
    config.default_level = _best_level(validation, levels) if selects else levels[-1]
    compared = any(TAU.format(level) in validation for level in levels) or trainer.state.best_model_checkpoint
    if selects and not compared:
        logging.warning("%s: the validation part has nothing to compare with, so no level was chosen.", flags.data.data)
    _save(flags, beginning)
    results = _evaluate(flags, beginning, levels, "validation" if compared else None, command(words, args))
    _leave(flags, beginning, results)
    repo_id = str(args.hub_model_id) if pushing else None
    return Trained(Path(str(args.output_dir)), results, repo_id, args.hub_private_repo)


def _read(flags: Flags) -> Beginning:
    """Read the videos and make or load the network; refuse what misfits."""
    data, args = flags.data, flags.training
    if flags.start.checkpoint and "text_encoder" not in flags.given:
        data = replace(data, text_encoder=load_checkpoint(flags.start.checkpoint)[1].text_encoder or data.text_encoder)
    parts = load_parts(data)
    made, mismatch = extractor_of(parts, data)
    model, extractor, renewed = _start(flags, made)
    if flags.start.checkpoint:
        mismatch = next(filter(None, (encoder_mismatch(extractor, records) for records in parts.values())), None)
    _check_mismatch(mismatch, args)
    fitted = parts.get("fitted", parts["train"])
    check_records(fitted, model.config, args, data.data)
    if flags.given.get("parent_text_loss"):
        check_parent_text(fitted, args.schedule, data.data)
    note_training(model, flags.start.checkpoint, stage_of(dataset_name(data), split_name(data), parts["test"]))
    if args.fit_projections:
        fit_renewed(model, extractor, fitted, renewed, args.rank_targets)
    return Beginning(parts, _with_lora(model, flags.start, renewed), extractor, mismatch)


def _start(flags: Flags, made: HierSumFeatureExtractor) -> tuple[HierSumModel, HierSumFeatureExtractor, list[str]]:
    """Make or load the network and its feature extractor.

    The third value names the parameters that start anew: all, or of a checkpoint few.
    """
    config = vars(flags.config)
    if flags.start.checkpoint:
        changes = {name: value for name, value in flags.given.items() if name in config}
        return load_for_transfer(flags.start.checkpoint, made, changes, flags.start.transfer_widths)
    made_for = {name: getattr(made, name) for name in ("video_dim", "text_dim", "sample_fps")}
    model = HierSumModel(HierSumConfig(**config | made_for))
    return model, made, list(model.state_dict())


def _check_mismatch(mismatch: str | None, args: HierSumTrainingArguments) -> None:
    """Refuse features of another encoder, or warn where they are allowed."""
    if mismatch is None:
        return
    if not args.allow_encoder_mismatch:
        raise HierSumError(f"{mismatch} Give --allow_encoder_mismatch True to train all the same.")
    logging.warning("Training on features of another encoder. %s", mismatch)


def _with_lora(model: HierSumModel, start: StartArguments, renewed: Sequence[str]) -> Any:
    """Add the adapter that the flags ask for."""
    if not start.lora_r:
        return model
    from hiersum_hf.training.lora import add_lora, trained_weights  # peft takes seconds to import

    network = add_lora(model, start.lora_r, start.lora_alpha, start.lora_dropout, renewed)
    adapter, full, whole = trained_weights(network)
    logging.info(
        f"LoRA of rank {start.lora_r}: {adapter:,} weights, {adapter / whole:.1%} of the network's {whole:,}, and "
        f"{full:,} of the heads in full."
    )
    return network


def _trainer(flags: Flags, beginning: Beginning, replaced: Sequence[Path]) -> HierSumTrainer:
    return HierSumTrainer(
        beginning.model,
        flags.training,
        beginning.fitted,
        beginning.extractor,
        eval_dataset=beginning.parts["validation"],
        compute_metrics=partial(compute_metrics, dataset=dataset_name(flags.data)),
        callbacks=[BeginRun(flags.given, replaced), SaveConfig()],
    )


def _fit(trainer: HierSumTrainer, config: HierSumConfig, resumed: str | None) -> None:
    """Train, or go on from a checkpoint, and save.

    The trained levels in the config are those of the weights that are kept.
    """
    args = trainer.args
    if resumed:
        config.trained_levels = trained_levels(resumed)
    trainer.train(resume_from_checkpoint=resumed)
    if args.load_best_model_at_end and trainer.state.best_model_checkpoint:
        config.trained_levels = trained_levels(trainer.state.best_model_checkpoint)
    trainer.save_model()


def _best_level(validation: Mapping[str, float], levels: Sequence[str]) -> str:
    """Name the level with the largest Kendall tau on the validation part.

    Where there is none, it is the first level.
    """
    return max(levels, key=lambda level: validation.get(TAU.format(level), -math.inf))


def _save(flags: Flags, beginning: Beginning) -> None:
    """Save the checkpoint again, now with its default level.

    Unless it is an adapter, the code of the pipeline comes along.
    """
    model, run = beginning.model, run_folder(flags.training)
    extractor: Any = beginning.extractor  # the pipelines of Transformers name another kind
    if flags.start.lora_r:
        model.config.save_pretrained(run)
    else:
        HierSumPipeline(model, feature_extractor=extractor, device=model.device).save_pretrained(run)


def _evaluate(
    flags: Flags, beginning: Beginning, levels: Sequence[str], selected_on: str | None, command: str
) -> list[Results]:
    """Measure the test part, in the order of `Trained`."""
    data, args, parts = flags.data, flags.training, beginning.parts
    records, progress = parts["test"], not args.disable_tqdm
    ridge = ridge_scores(parts["train"], parts["validation"], records, progress)
    common: dict[str, Any] = {"dataset": dataset_name(data), "part": "test", "split": split_name(data)}
    common |= {"seed": args.seed, "encoder_mismatch": beginning.mismatch, "command": command}
    config = beginning.model.config
    results: list[Results] = []
    for level in sorted(levels, key=lambda name: name != config.default_level):
        predicted = _predict(beginning, records, level, args, progress)
        about = {"scorer": "checkpoint", "level": level, "score_head": config.score_head}
        about |= {"checkpoint": args.output_dir, "selected_on": selected_on}
        about |= {"sentence_scores": {name: result["sentence_scores"] for name, result in predicted.items()}}
        scores = {name: result["scores"] for name, result in predicted.items()}
        results.append(evaluate_scores(records, scores, ridge=None if results else ridge, **about, **common))
        common |= {"baselines": results[0].baselines}
    for scorer in ("training-free", "uniform"):
        scores = {record.video_id: score_frames(record, scorer) for record in records}
        results.append(evaluate_scores(records, scores, scorer=scorer, **common))
    return [replace(results[0], labels=label_facts(data.data, beginning.fitted)), *results[1:]]


def _predict(
    beginning: Beginning,
    records: Sequence[VideoRecord],
    level: str,
    args: HierSumTrainingArguments,
    progress: bool = False,
) -> dict[str, Any]:
    allow = args.allow_encoder_mismatch
    model, extractor = beginning.model, beginning.extractor
    return predict_scores(model, extractor, records, level, progress=progress, allow_encoder_mismatch=allow)


def _leave(flags: Flags, beginning: Beginning, results: Sequence[Results]) -> None:
    """Write picture, card and results.json beside the checkpoint."""
    args, run = flags.training, run_folder(flags.training)
    _draw_scores(beginning, results[0], args)
    licence = card_data(flags.start.checkpoint).get("license") if flags.start.checkpoint else None
    write_card(run, results[0], beginning.extractor, args.hub_model_id or "org/hiersum", licence or LICENCE)
    results[0].write(run / "results.json")  # last: it says that the run is complete


def _draw_scores(beginning: Beginning, results: Results, args: HierSumTrainingArguments) -> None:
    """Draw scores.png of the first test video.

    It shows the scores of the default level beside the annotators'.
    """
    record = next(record for record in beginning.parts["test"] if record.video_id in results.per_video)
    name, run = record.video_id, run_folder(args)
    scored = _predict(beginning, [record], beginning.model.config.default_level, args)
    one = replace(results, per_video={name: results.per_video[name]})
    (path,) = plot_videos([record], {name: scored[name]["scores"]}, one, run, overwrite=True)
    path.replace(run / "scores.png")


def command(words: Sequence[str], args: HierSumTrainingArguments) -> str:
    """Spell the command that starts the run again.

    For several processes it has a launcher.
    """
    program = ["hiersum"] if args.world_size == 1 else ["accelerate", "launch", "-m", "hiersum_hf"]
    return shlex.join([*program, "train", *words])
