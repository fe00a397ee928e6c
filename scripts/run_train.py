"""Train HierSum and evaluate it on the videos it has not seen.

    accelerate launch scripts/run_train.py                                 # the demo set, scripts/recipes/demo.yaml
    accelerate launch scripts/run_train.py scripts/recipes/tvsum.yaml \
        --data eccv16_dataset_tvsum_google_pool5.h5 --ratings ydata-tvsum50.mat --learning_rate 5e-4

Leaves in --output_dir: the checkpoint (with its code and feature extractor), README.md (its card), results.json.
"""

import json
import logging
import math
import os
import shlex
import sys
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

import yaml
from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser, set_seed

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.evaluation import evaluate_scores, format_table, mean_metrics, write_json
from hiersum_hf.model_card import write_card
from hiersum_hf.prediction import predict_scores
from hiersum_hf.records import VideoRecord
from hiersum_hf.scorers import score_frames
from hiersum_hf.trainer import HierSumTrainer, fit_projections
from hiersum_hf.training_args import HierSumTrainingArguments, config_arguments
from hiersum_hf.training_data import DataArguments, load_parts


DEMO = Path(__file__).parent / "recipes" / "demo.yaml"


class HelpFormatter(RawDescriptionHelpFormatter, ArgumentDefaultsHelpFormatter):
    """Keeps the commands of the description on their lines, and shows defaults."""


def parse(argv: list[str]):
    """Flags, or a recipe file and flags that override it. Without --data and recipe it is the demo recipe."""
    is_recipe = bool(argv) and argv[0].endswith((".yaml", ".yml"))
    if not is_recipe and not any(word.split("=")[0] in ("--data", "-h", "--help") for word in argv):
        print(f"No data given: training on the made-up demo set, as {DEMO.name} says.", file=sys.stderr)
        argv, is_recipe = [str(DEMO), *argv], True
    if is_recipe:
        argv = [*recipe_flags(Path(argv[0])), *argv[1:]]
    parser = HfArgumentParser(
        (DataArguments, config_arguments(), HierSumTrainingArguments),
        description=__doc__,
        formatter_class=HelpFormatter,
    )
    return parser.parse_args_into_dataclasses(argv)


def recipe_flags(path: Path) -> list[str]:
    """A YAML file of flags as words of a command line."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a recipe, found no such file.")
    recipe = yaml.safe_load(path.read_text())
    if not isinstance(recipe, dict):
        raise ValueError(f"{path}: expected a recipe of `flag: value` lines, found {type(recipe).__name__}.")
    flags = []
    for key, value in recipe.items():
        if value is not None:
            flags += [f"--{key}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags


def check(args: HierSumTrainingArguments) -> None:
    """Refuses, before the first step, to overwrite an earlier run or to train in fewer processes than were started."""
    run = Path(args.output_dir)
    if not args.overwrite and not args.resume_from_checkpoint and (run / "config.json").exists():
        raise FileExistsError(f"{run}: expected no finished run there. Give --overwrite True to replace it.")
    started = int(os.environ.get("WORLD_SIZE", 1))
    if args.world_size != started:
        raise ValueError(
            f"{started} processes were started, {args.world_size} would train. On CPU give --use_cpu True."
        )


def evaluate_part(model, feature_extractor, records, data_args, args, levels) -> list[dict]:
    """Results of the checkpoint at its default level, then at the others, then of the scorers without training."""
    dataset = "demo" if data_args.data == "demo" else "summe" if "summe" in Path(data_args.data).name else "tvsum"
    split = Path(data_args.split_file).name if data_args.split_file else f"disjoint-folds-seed{data_args.split_seed}"
    common = {
        "dataset": dataset,
        "part": "test",
        "split": None if dataset == "demo" else f"{split}#{data_args.fold}",
        "seed": args.seed,
        "command": shlex.join(["accelerate", "launch", "scripts/run_train.py", *sys.argv[1:]]),
    }
    results: list[dict] = []
    for level in sorted(levels, key=lambda name: name != model.config.default_level):
        predicted = predict_scores(model, feature_extractor, records, level, progress=not args.disable_tqdm)
        about = {"scorer": "checkpoint", "level": level, "score_head": model.config.score_head}
        about |= {"checkpoint": args.output_dir, "selected_on": "validation"}
        scores = {name: result["scores"] for name, result in predicted.items()}
        results.append(evaluate_scores(records, scores, **about, **common))
        common["baselines"] = results[0]["baselines"]
    for scorer in ("training-free", "uniform"):
        scores = {record.video_id: score_frames(record, scorer) for record in records}
        results.append(evaluate_scores(records, scores, scorer=scorer, **common))
    return results


def extractor_of(records: Sequence[VideoRecord]) -> HierSumFeatureExtractor:
    """The feature extractor that fits these records."""
    first = records[0].encoders
    texts = [(r.encoders.text, *r.text_features.shape[1:], *r.description_features.shape[1:]) for r in records]
    text_encoder, *widths = max(texts, key=lambda text: max(text[1:]))
    return HierSumFeatureExtractor(
        video_encoder=first.video,
        text_encoder=text_encoder,
        sample_fps=first.sample_fps,
        video_dim=records[0].video_features.shape[1],
        text_dim=max(widths) or HierSumConfig.text_dim,
    )


def train(argv: list[str]) -> None:
    data_args, config_args, args = parse(argv)
    check(args)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    set_seed(args.seed)
    parts = load_parts(data_args)
    feature_extractor = extractor_of(parts["train"])
    config = HierSumConfig(
        **vars(config_args) | {"video_dim": feature_extractor.video_dim, "text_dim": feature_extractor.text_dim}
    )
    model = HierSumModel(config)
    if args.fit_projections:
        fit_projections(model, feature_extractor, parts["train"])
    trainer = HierSumTrainer(
        model, args, parts["train"], feature_extractor, eval_dataset=parts["validation"], score_metrics=mean_metrics
    )
    resume = args.resume_from_checkpoint
    trainer.train(resume_from_checkpoint=True if resume == "True" else resume)
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return

    validation = trainer.evaluate()
    levels = trainer.evaluation_levels()
    model.config.default_level = max(levels, key=lambda name: validation.get(f"eval_{name}_kendall_tau", -math.inf))
    model.config.save_pretrained(args.output_dir)
    results = evaluate_part(model, feature_extractor, parts["test"], data_args, args, levels)
    write_json(Path(args.output_dir) / "results.json", results[0])
    write_card(args.output_dir, results[0], feature_extractor)
    print(format_table(results))
    print(f"\nCheckpoint, card and results.json: {args.output_dir}")


def main() -> int:
    try:
        train(sys.argv[1:])
    except (ValueError, OSError, ImportError, StrictDataclassError) as error:
        print(f"run_train.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
