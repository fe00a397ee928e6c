"""The Transformers Trainer with parent-child alternation: a sampler hook and named loss terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback

from hiersum_hf.collator import HierSumCollator
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.prediction import predict_scores
from hiersum_hf.records import VideoRecord
from hiersum_hf.sampler import AlternatingBatchSampler, LevelDataset
from hiersum_hf.training_args import HierSumTrainingArguments


class HierSumTrainer(Trainer):
    """Trains a `HierSumModel` on records, alternating child and parent steps.

    Args:
        model: The network.
        args: Run settings, the schedule among them.
        train_dataset: Records with frame labels (and, for the parent steps, description features).
        eval_dataset: Records of the validation part.
        processing_class: The feature extractor; saved with every checkpoint.
        score_metrics: (records, scores by video id) -> figures by name, run at every evaluation once a level.
    """

    args: HierSumTrainingArguments
    train_dataset: Sequence[VideoRecord]
    eval_dataset: Sequence[VideoRecord] | None
    processing_class: HierSumFeatureExtractor

    def __init__(
        self,
        model: HierSumModel,
        args: HierSumTrainingArguments,
        train_dataset: Sequence[VideoRecord],
        processing_class: HierSumFeatureExtractor,
        eval_dataset: Sequence[VideoRecord] | None = None,
        score_metrics: Callable[[Sequence[VideoRecord], dict[str, np.ndarray]], dict[str, float]] | None = None,
        **kwargs,
    ):
        self.score_metrics = score_metrics
        self._terms: dict[str, torch.Tensor] = {}  # name -> [sum, count] since the last log
        super().__init__(
            model=model, args=args, train_dataset=train_dataset, eval_dataset=eval_dataset,
            processing_class=processing_class, data_collator=HierSumCollator(processing_class), **kwargs,
        )  # fmt: skip
        self.add_callback(_ForwardEpoch(self))

    def get_train_dataloader(self) -> DataLoader:
        """Batches of the alternating sampler, the same levels on every rank."""
        args, records = self.args, self.train_dataset
        self.sampler = AlternatingBatchSampler(
            child_pool=range(len(records)),
            parent_pool=[i for i, record in enumerate(records) if len(record.description_features)],
            batch_size=self._train_batch_size,
            schedule=args.schedule,
            child_steps=args.child_steps_per_parent,
            parent_steps=args.parent_steps_per_child,
            batches_per_step=args.gradient_accumulation_steps * args.world_size,
            seed=args.data_seed if args.data_seed is not None else args.seed,
        )
        loader = DataLoader(
            LevelDataset(records),
            batch_sampler=self.sampler,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory and torch.cuda.is_available(),
        )
        return self.accelerator.prepare(loader)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The model's own loss; every term is kept for the logs under its level."""
        outputs = model(**inputs)
        level, config = inputs["level"], self.accelerator.unwrap_model(model).config
        config.trained_levels = sorted({*(config.trained_levels or []), level})
        for name, value in {"loss": outputs.loss, **outputs.losses}.items():
            seen = torch.stack([value.detach().float(), torch.ones_like(value, dtype=torch.float32)])
            self._terms[f"{level}/{name}"] = self._terms.get(f"{level}/{name}", 0) + seen
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        """Adds the mean of every loss term since the last log, for example `parent/frame_focal`."""
        if "loss" in logs:
            for name, seen in sorted(self._terms.items()):  # the same names on every rank
                total, count = self.accelerator.reduce(seen, "sum").tolist()
                logs[name] = total / count
            self._terms.clear()
        super().log(logs, *args, **kwargs)

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        """By default the flat rate falls over the last fifth of the steps."""
        if self.args.lr_scheduler_type == "warmup_stable_decay" and not self.args.lr_scheduler_kwargs:
            self.args.lr_scheduler_kwargs = {"num_decay_steps": math.ceil(num_training_steps / 5)}
        return super().create_scheduler(num_training_steps, optimizer)

    def get_decay_parameter_names(self, model) -> list[str]:
        """Weight decay as in Transformers, but none on the logit scales."""
        return [name for name in super().get_decay_parameter_names(model) if not name.endswith("logit_scale")]

    def evaluation_levels(self) -> list[str]:
        """Levels the network has been trained at, and their mean."""
        levels = list(self.accelerator.unwrap_model(self.model).config.trained_levels or ["child"])
        return [*levels, "both"] if {"child", "parent"} <= set(levels) else levels

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """`score_metrics` of the validation videos at every trained level, for example `eval_parent_kendall_tau`."""
        records: Sequence[VideoRecord] | None = self.eval_dataset if eval_dataset is None else eval_dataset
        if records is None or self.score_metrics is None:
            raise ValueError("Evaluation needs eval_dataset and score_metrics.")
        model = self.accelerator.unwrap_model(self.model)
        metrics: dict[str, float] = {}
        for level in self.evaluation_levels():
            predicted = predict_scores(
                model, self.processing_class, records, level, self.args.per_device_eval_batch_size
            )
            figures = self.score_metrics(records, {name: result["scores"] for name, result in predicted.items()})
            metrics |= {f"{metric_key_prefix}_{level}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


@torch.no_grad()
def fit_projections(
    model: HierSumModel, feature_extractor: HierSumFeatureExtractor, records: Sequence[VideoRecord], std: float = 0.5
) -> None:
    """Starts a new network with projections that send the training features to mean 0 and standard deviation `std`.

    Not given in the paper. Features of one encoder share a large common part (cosine 0.5 between unlike pictures of the
    demo set) which hides what sets them apart, and what is left of them is smaller than the position tables; from
    there the parent level is learned much later (compare the demo recipe with `--fit_projections False`).
    """
    embeddings = model.encoder.embeddings
    for projection, kinds in (
        (embeddings.video_projection, ["video_features"]),
        (embeddings.text_projection, ["text_features", "description_features"]),
    ):
        rows = [getattr(record, kind) for record in records for kind in kinds if len(getattr(record, kind))]
        if not rows:
            continue
        sample = np.concatenate([feature_extractor.scaled(array[:: 1 + len(rows) // 200]) for array in rows])
        projected = torch.from_numpy(sample).to(projection.weight) @ projection.weight.T
        spread = (projected - projected.mean(0)).std()
        gain = std / spread if spread > 1e-3 else 1.0  # one text for all says nothing about scale
        projection.weight *= gain
        projection.bias.copy_(-gain * projected.mean(0))


class _ForwardEpoch(TrainerCallback):
    """Tells the sampler the epoch also where Accelerate's wrappers hide it (a resumed run on several ranks)."""

    def __init__(self, trainer: HierSumTrainer):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.trainer.sampler.set_epoch(int(state.epoch or 0))
