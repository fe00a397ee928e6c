r"""Train HierSum and evaluate it on the videos it has not seen.

    accelerate launch scripts/run_train.py                                 # the demo set, recipe demo
    accelerate launch scripts/run_train.py tvsum \
        --data eccv16_dataset_tvsum_google_pool5.h5 --ratings ydata-tvsum50.mat --learning_rate 5e-4

From a checkpoint, with an adapter, every fold:

    accelerate launch scripts/run_train.py --data prepared/tvsum --checkpoint runs/replay --transfer_widths True
    accelerate launch scripts/run_train.py --data prepared/tvsum --checkpoint runs/tvsum/fold_0 --lora_r 8
    accelerate launch scripts/run_train.py tvsum --data prepared/tvsum --folds True

Two processes: `accelerate launch --multi_gpu --num_processes 2`, on CPU too (there with --use_cpu True at the end;
--cpu --num_processes 2 would start one process, and is refused).

Leaves in --output_dir: the checkpoint (with its code and feature extractor; of LoRA the adapter, which
`hiersum merge` makes an ordinary checkpoint), README.md (its card), results.json, scores.png (one test video) and
recipe.yaml (the flags). With --push_to_hub True --hub_model_id org/name all of it goes to the Hub at the end, as one
commit; whether it may is asked before the training.
"""

import logging
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import set_seed

from hiersum_hf import HierSumConfig, HierSumModel, HierSumPipeline
from hiersum_hf.checkpoints import last_checkpoint
from hiersum_hf.datasets.printable import printable, printable_lines
from hiersum_hf.evaluation import compute_metrics, evaluate_scores
from hiersum_hf.folds import count_folds, evaluate_run, format_folds
from hiersum_hf.hub import push
from hiersum_hf.model_card import LICENCE, card_data, label_facts, write_card
from hiersum_hf.prediction import encoder_mismatch, load_checkpoint, predict_scores
from hiersum_hf.preflight import (
    BeginRun,
    check_disk,
    check_metric,
    check_parent_text,
    check_records,
    check_run,
    check_start,
    checkpoint_to_resume,
    refuse_other_recipe,
)
from hiersum_hf.report import plot_videos
from hiersum_hf.results import format_table, write_json
from hiersum_hf.scorers import score_frames
from hiersum_hf.train_flags import Flags, has_recipe, parse
from hiersum_hf.trainer import HierSumTrainer
from hiersum_hf.training_data import dataset_name, extractor_of, load_parts, split_name
from hiersum_hf.transfer import SaveConfig, fit_renewed, load_for_transfer, note_training, stage_of, trained_levels


def with_demo(words: list[str]) -> list[str]:
    """Without --data and recipe it is the demo recipe."""
    if has_recipe(words) or any(word.split("=")[0] in ("--data", "-h", "--help") for word in words):
        return words
    print("No data given: training on the made-up demo set, as recipe demo says.", file=sys.stderr)
    return ["demo", *words]


def train(words: list[str], replaced: Sequence[Path] = ()) -> int:
    """One run: data, network, training, results; 1 if it could not be pushed at the end, else 0.

    With --overwrite True the runs in `replaced` go too.
    """
    flags = parse(words, __doc__)
    data, args = flags.data, flags.training
    check_run(args, flags.given)
    pushing, args.push_to_hub = args.push_to_hub, False  # the Trainer would push every checkpoint
    set_seed(args.seed)
    parts, model, extractor, mismatch = read(flags)
    check_disk(model, args)
    dataset = dataset_name(data)
    check_metric(args, model.config.trained_levels, parts["validation"], dataset)
    trainer = HierSumTrainer(
        model,
        args,
        parts["train"],
        extractor,
        eval_dataset=parts["validation"],
        compute_metrics=partial(compute_metrics, dataset=dataset),
        callbacks=[BeginRun(flags.given, replaced), SaveConfig()],
    )
    if resume := checkpoint_to_resume(args):
        model.config.trained_levels = trained_levels(resume)
    trainer.train(resume_from_checkpoint=resume)
    if args.load_best_model_at_end and trainer.state.best_model_checkpoint:
        model.config.trained_levels = trained_levels(trainer.state.best_model_checkpoint)
    trainer.save_model()
    validation, levels = trainer.evaluate(), trainer.evaluation_levels()  # on every rank
    if not trainer.is_world_process_zero():
        return 0

    model.config.default_level = max(levels, key=lambda name: validation.get(f"eval_{name}_kendall_tau", -math.inf))
    if flags.start.lora_r:
        model.config.save_pretrained(args.output_dir)
    else:  # the code of the pipeline comes along
        HierSumPipeline(model, feature_extractor=extractor, device=model.device).save_pretrained(args.output_dir)
    compared = any(f"eval_{name}_kendall_tau" in validation for name in levels) or trainer.state.best_model_checkpoint
    if not compared:
        logging.warning("%s: the validation part has nothing to compare with, so no level was chosen.", data.data)
    common = {"dataset": dataset, "part": "test", "split": split_name(data), "seed": args.seed}
    common |= {"encoder_mismatch": mismatch, "command": command(words)}
    results = evaluate_part(model, extractor, parts["test"], levels, common, args, "validation" if compared else None)
    results[0]["labels"] = label_facts(data.data, parts["train"])
    draw_scores(model, extractor, parts["test"], results[0], args)
    licence = card_data(flags.start.checkpoint).get("license") if flags.start.checkpoint else None
    write_card(args.output_dir, results[0], extractor, args.hub_model_id or "org/hiersum", licence or LICENCE)
    write_json(Path(args.output_dir) / "results.json", results[0])  # last: it says that the run is complete
    print(printable_lines(format_table(results)))
    print(f"\nCheckpoint, card and results.json: {args.output_dir}")
    return push_run(args) if pushing else 0


def read(flags: Flags):
    """The videos of every part, the network, its feature extractor, and if there is one, an encoder mismatch."""
    data, args = flags.data, flags.training
    if flags.start.checkpoint and "text_encoder" not in flags.given:
        data = replace(data, text_encoder=load_checkpoint(flags.start.checkpoint)[1].text_encoder or data.text_encoder)
    parts = load_parts(data)
    made, mismatch = extractor_of(parts, data)
    model, extractor, renewed = start(flags, made)
    if flags.start.checkpoint:
        mismatch = next(filter(None, (encoder_mismatch(extractor, records) for records in parts.values())), None)
    if mismatch is not None:
        if not args.allow_encoder_mismatch:
            raise ValueError(f"{mismatch} Give --allow_encoder_mismatch True to train all the same.")
        logging.warning("Training on features of another encoder. %s", mismatch)
    check_records(parts["train"], model.config, args, data.data)
    if flags.given.get("parent_text_loss"):
        check_parent_text(parts["train"], args.schedule, data.data)
    note_training(model, flags.start.checkpoint, stage_of(dataset_name(data), split_name(data), parts["test"]))
    if args.fit_projections:
        fit_renewed(model, extractor, parts["train"], renewed)
    if flags.start.lora_r:
        model = with_lora(model, flags.start, renewed)
    return parts, model, extractor, mismatch


def start(flags: Flags, made):
    """The network, its feature extractor, and the parameters that start anew: all, or of a checkpoint few."""
    config = vars(flags.config)
    if flags.start.checkpoint:
        changes = {name: value for name, value in flags.given.items() if name in config}
        return load_for_transfer(flags.start.checkpoint, made, changes, flags.start.transfer_widths)
    model = HierSumModel(HierSumConfig(**config | {"video_dim": made.video_dim, "text_dim": made.text_dim}))
    return model, made, list(model.state_dict())


def with_lora(model: HierSumModel, start, renewed: list[str]):
    """The network with its adapter."""
    from hiersum_hf.lora import add_lora, trained_weights  # peft takes seconds to import

    network = add_lora(model, start.lora_r, start.lora_alpha, start.lora_dropout, renewed)
    adapter, full, whole = trained_weights(network)
    logging.info(
        f"LoRA of rank {start.lora_r}: {adapter:,} weights, {adapter / whole:.1%} of the network's {whole:,}, and "
        f"{full:,} of the heads in full."
    )
    return network


def evaluate_part(model, feature_extractor, records, levels, common, args, selected_on) -> list[dict]:
    """Results of the checkpoint at its default level, then at the others, then of the scorers without training."""
    allow, progress = args.allow_encoder_mismatch, not args.disable_tqdm
    results: list[dict] = []
    for level in sorted(levels, key=lambda name: name != model.config.default_level):
        predicted = predict_scores(
            model, feature_extractor, records, level, progress=progress, allow_encoder_mismatch=allow
        )
        about = {"scorer": "checkpoint", "level": level, "score_head": model.config.score_head}
        about |= {"checkpoint": args.output_dir, "selected_on": selected_on}
        about |= {"sentence_scores": {name: result["sentence_scores"] for name, result in predicted.items()}}
        scores = {name: result["scores"] for name, result in predicted.items()}
        results.append(evaluate_scores(records, scores, **about, **common))
        common = common | {"baselines": results[0]["baselines"]}
    for scorer in ("training-free", "uniform"):
        scores = {record.video_id: score_frames(record, scorer) for record in records}
        results.append(evaluate_scores(records, scores, scorer=scorer, **common))
    return results


def draw_scores(model, feature_extractor, records, results: dict, args) -> None:
    """scores.png of the first test video: the scores of the default level beside the annotators'."""
    record = next(record for record in records if record.video_id in results["per_video"])
    name, allow = record.video_id, args.allow_encoder_mismatch
    scored = predict_scores(model, feature_extractor, [record], results["level"], allow_encoder_mismatch=allow)
    one = results | {"per_video": {name: results["per_video"][name]}}
    (path,) = plot_videos([record], {name: scored[name]["scores"]}, one, args.output_dir, overwrite=True)
    path.replace(Path(args.output_dir) / "scores.png")


def push_run(args) -> int:
    """Pushes the finished run; a push that fails costs nothing but another try."""
    try:
        print(f"Pushed: {push(args.output_dir, args.hub_model_id, args.hub_private_repo)}")
    except (ValueError, OSError) as error:
        again = shlex.join(["hiersum", "push", str(args.output_dir), args.hub_model_id])
        print(
            f"run_train.py: {printable(' '.join(str(error).split()))}\nThe run is complete. Push it: {again}",
            file=sys.stderr,
        )
        return 1
    return 0


def train_folds(words: list[str], flags: Flags) -> None:
    """Every fold that is not complete, one after the other, then their results together."""
    run, args = Path(flags.training.output_dir), flags.training
    if (run / "results.json").exists() and not args.overwrite:
        raise FileExistsError(f"{run}: expected no finished run there. Give --overwrite True to replace it.")
    if args.resume_from_checkpoint or "fold" in flags.given:
        raise ValueError("--folds True trains or resumes every fold: expected no --fold, no --resume_from_checkpoint.")
    if args.push_to_hub:
        raise ValueError("push_to_hub: expected False with --folds True. Push one: hiersum push RUN/fold_0 org/name.")
    check_start(run, flags.start.checkpoint)
    todo = []
    for k in range(count_folds(flags.data)):  # planned before any rank writes anything
        folder = run / f"fold_{k}"
        own = [*words, "--folds", "False", "--fold", str(k), "--output_dir", str(folder)]
        if not args.overwrite:
            refuse_other_recipe(folder, parse(own).given)
            last = last_checkpoint(folder) if folder.is_dir() else None
            own += ["--resume_from_checkpoint", last] if last else ["--overwrite", "True"]
        if args.overwrite or not (folder / "results.json").exists():
            todo.append(own)
        else:
            logging.info("%s: complete, skipped.", folder)
    old = [run, *run.glob("fold_*")] if args.overwrite else []
    for own in todo:
        train(own, old)
        old = []
    if args.process_index == 0:
        device = "cpu" if args.use_cpu else "auto"
        results = evaluate_run(
            run, flags.data, allow_encoder_mismatch=args.allow_encoder_mismatch, device=device, command=command(words)
        )
        write_json(run / "results.json", results)
        text = f"{format_table([results])}\n\n{format_folds(results)}\n\nWritten to {run / 'results.json'}"
        print(printable_lines(text))


def command(words: list[str]) -> str:
    return shlex.join(["accelerate", "launch", "scripts/run_train.py", *words])


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        words = with_demo(sys.argv[1:])
        flags = parse(words, __doc__)
        if flags.start.folds:
            train_folds(words, flags)
            return 0
        return train(words)
    except (ValueError, OSError, ImportError, StrictDataclassError, SafetensorError) as error:  # the last: a full disk
        print(f"run_train.py: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
