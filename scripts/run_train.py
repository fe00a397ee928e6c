"""Train HierSum and evaluate it on the videos it has not seen.

    accelerate launch scripts/run_train.py                                 # the demo set, scripts/recipes/demo.yaml
    accelerate launch scripts/run_train.py --data eccv16_dataset_tvsum_google_pool5.h5 \
        --ratings ydata-tvsum50.mat --output_dir runs/tvsum
    accelerate launch scripts/run_train.py RECIPE.yaml --learning_rate 5e-4   # a file of flags, then overrides

Leaves in --output_dir: the checkpoint (with its code and feature extractor), README.md (its card), results.json.
"""

import logging
import shlex
import sys
from pathlib import Path

import yaml
from transformers import HfArgumentParser, set_seed

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.evaluation import evaluate_scores, format_table, mean_metrics, write_json
from hiersum_hf.model_card import write_card
from hiersum_hf.prediction import predict_scores
from hiersum_hf.scorers import score_frames
from hiersum_hf.trainer import HierSumTrainer, fit_projections
from hiersum_hf.training_args import HierSumTrainingArguments, config_arguments
from hiersum_hf.training_data import DataArguments, load_parts


DEMO = Path(__file__).parent / "recipes" / "demo.yaml"


def parse(argv: list[str]):
    """Flags, or a recipe file and flags that override it; nothing at all means the demo recipe."""
    if not argv:
        print(f"No data given: training on the made-up demo set, as {DEMO} says.", file=sys.stderr)
        argv = [str(DEMO)]
    if argv[0].endswith((".yaml", ".yml")):
        recipe = yaml.safe_load(Path(argv[0]).read_text())
        argv = [word for key, value in recipe.items() for word in (f"--{key}", str(value))] + argv[1:]
    parser = HfArgumentParser((DataArguments, config_arguments(), HierSumTrainingArguments), description=__doc__)
    return parser.parse_args_into_dataclasses(argv)


def evaluate_part(model, feature_extractor, records, data_args, args, levels) -> list[dict]:
    """Results of the checkpoint at its default level, then at the others, then of the scorers without training."""
    common = {
        "dataset": "demo" if data_args.data == "demo" else "tvsum",
        "part": "test",
        "split": data_args.split_file,
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


def main() -> None:
    data_args, config_args, args = parse(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    set_seed(args.seed)
    parts = load_parts(data_args, args.seed)
    first = parts["train"][0]
    feature_extractor = HierSumFeatureExtractor(
        video_encoder=first.encoders.video, text_encoder=first.encoders.text, sample_fps=first.encoders.sample_fps,
        video_dim=first.video_features.shape[1],
        text_dim=max(first.text_features.shape[1], first.description_features.shape[1]) or HierSumConfig.text_dim,
    )  # fmt: skip
    config = HierSumConfig(
        **vars(config_args) | {"video_dim": feature_extractor.video_dim, "text_dim": feature_extractor.text_dim}
    )
    model = HierSumModel(config)
    fit_projections(model, feature_extractor, parts["train"])
    trainer = HierSumTrainer(
        model, args, parts["train"], feature_extractor, eval_dataset=parts["validation"], score_metrics=mean_metrics
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    if not trainer.is_world_process_zero():
        return

    validation = trainer.evaluate()
    model.config.default_level = max(
        trainer.evaluation_levels(), key=lambda level: validation[f"eval_{level}_kendall_tau"]
    )
    trainer.save_model()
    results = evaluate_part(model, feature_extractor, parts["test"], data_args, args, trainer.evaluation_levels())
    write_json(Path(args.output_dir) / "results.json", results[0])
    write_card(args.output_dir, results[0], feature_extractor)
    print(format_table(results))
    print(f"\nCheckpoint, card and results.json: {args.output_dir}")


if __name__ == "__main__":
    main()
