"""Extend the Transformers Trainer by the parent-child alternation.

It samples by level and logs every loss term by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PrinterCallback, ProgressCallback, Trainer
from transformers.trainer_utils import TrainOutput

from hiersum_hf.files.json_file import read_json_object
from hiersum_hf.modeling.configuration_hiersum import LEVELS
from hiersum_hf.modeling.errors_hiersum import HierSumError, expect_type
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.losses_hiersum import MAX_LOGIT_SCALE
from hiersum_hf.modeling.modeling_hiersum import HierSumModel, HierSumOutput
from hiersum_hf.records import VideoRecord, row_counts
from hiersum_hf.scoring.collator import HierSumCollator
from hiersum_hf.scoring.network import encoder_mismatch, predict_scores
from hiersum_hf.training.arguments import HierSumTrainingArguments, and_both
from hiersum_hf.training.callbacks import LevelCallback, LevelPlanner, ShortLogs, ShortPrints
from hiersum_hf.training.resume import is_whole, last_checkpoint
from hiersum_hf.training.sampler import AlternatingBatchSampler, LevelDataset


if TYPE_CHECKING:  # peft takes seconds to import
    from peft import PeftModel


class HierSumTrainer(Trainer):
    """Train a `HierSumModel` on records, alternating child and parent steps.

    Args:
        model: The network.
        args: Run settings, the schedule among them.
        train_dataset: Records with frame labels (and, for the parent steps, description features).
        eval_dataset: Records of the validation part.
        processing_class: The feature extractor; saved with every checkpoint.
        compute_metrics: `transformers.EvalPrediction` -> figures by name, run at every evaluation once a level;
            `predictions` are {video id: (N,) scores}, `label_ids` the records: `evaluation.evaluate.compute_metrics`.
        kwargs: As `transformers.Trainer`.
    """

    model: HierSumModel | PeftModel
    args: HierSumTrainingArguments
    train_dataset: Sequence[VideoRecord]
    eval_dataset: Sequence[VideoRecord] | None
    processing_class: HierSumFeatureExtractor

    def __init__(
        self,
        model: HierSumModel | PeftModel,
        args: HierSumTrainingArguments,
        train_dataset: Sequence[VideoRecord],
        processing_class: HierSumFeatureExtractor,
        eval_dataset: Sequence[VideoRecord] | None = None,
        **kwargs: Any,
    ):
        expect_type("args", args, HierSumTrainingArguments, "HierSumTrainingArguments")
        expect_type("processing_class", processing_class, HierSumFeatureExtractor, "a HierSumFeatureExtractor")
        self._terms: dict[str, torch.Tensor] = {}  # name -> [sum, count] since the last log
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            data_collator=HierSumCollator(processing_class, args.rank_targets),
            **kwargs,
        )
        for theirs, ours in ((ProgressCallback, ShortLogs), (PrinterCallback, ShortPrints)):
            if any(type(callback) is theirs for callback in self.callback_handler.callbacks):
                self.remove_callback(theirs)
                self.add_callback(ours)
        self.add_callback(LevelCallback(self))
        if args.schedule == "adaptive":
            self.add_callback(LevelPlanner(args.adaptive_window))

    @property
    def planner(self) -> LevelPlanner | None:
        """Find what plans the adaptive schedule; None in other schedules.

        It is looked up, because Transformers may replace callbacks when it resumes.
        """
        return next((c for c in self.callback_handler.callbacks if isinstance(c, LevelPlanner)), None)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train as `Trainer.train`, but never from a half-written checkpoint.

        Raises:
            ValueError: The checkpoint to resume from is half-written, or with `True`, the run has no whole one; it has
                the plan of an adaptive schedule and the run another schedule, or the reverse; or the loss is not
                finite, which the next log notices.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_checkpoint(str(self.args.output_dir))
            if resume_from_checkpoint is None:
                raise HierSumError(f"{self.args.output_dir}: expected a whole checkpoint to resume from, found none.")
        elif resume_from_checkpoint and not is_whole(resume_from_checkpoint):
            raise HierSumError(f"{resume_from_checkpoint}: expected a whole checkpoint, found half of one or none.")
        if resume_from_checkpoint:
            self._refuse_a_plan(resume_from_checkpoint)
        output = super().train(resume_from_checkpoint, *args, **kwargs)
        if self._terms:  # of the steps after the last log
            self._means()
        return output

    def _save_rng_state(self, output_dir: str) -> None:
        """Save the random state of every rank before rank 0 ends the checkpoint."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def _refuse_a_plan(self, checkpoint: str | bool) -> None:
        """Refuse a checkpoint with a plan that this run would not follow.

        The reverse, a run that misses its plan, `LevelPlanner` refuses.

        Raises:
            ValueError: The checkpoint is of the adaptive schedule and the run is not.
        """
        state = read_json_object(Path(str(checkpoint), "trainer_state.json"))
        if "LevelPlanner" in state["stateful_callbacks"] and not self.planner:
            raise HierSumError(
                f"{checkpoint}: expected schedule adaptive, with which it was trained, found {self.args.schedule}."
            )

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Make batches of the alternating sampler, the same levels on every rank.

        Raises:
            ValueError: Features of another encoder than the feature extractor's, unless the arguments allow it; or
                workers that fetch further ahead than the adaptive schedule plans.
        """
        args, records = self.args, self.train_dataset
        mismatch = encoder_mismatch(self.processing_class, records)
        if mismatch is not None and not args.allow_encoder_mismatch:
            raise HierSumError(mismatch)
        splits = self.accelerator.split_batches  # each batch over all ranks
        self.sampler = AlternatingBatchSampler(
            # A video without subtitles is trained on its frames alone at child level; one without description is never
            # drawn at parent level.
            child_pool=range(len(records)),
            parent_pool=np.flatnonzero(row_counts(records, "description_features")).tolist(),
            batch_size=self._train_batch_size,
            schedule=args.schedule,
            child_steps=args.child_steps_per_parent,
            parent_steps=args.parent_steps_per_child,
            # Batches that the sampler yields for one optimiser step of all ranks together.
            batches_per_step=args.gradient_accumulation_steps * (1 if splits else args.world_size),
            seed=args.data_seed if args.data_seed is not None else args.seed,
            window=args.adaptive_window,
            plan=self.planner.plan if self.planner else None,
            lengths=row_counts(records, "video_features")
            if args.train_sampling_strategy == "group_by_length"
            else None,
        )
        loader = DataLoader(
            LevelDataset(records),
            batch_sampler=self.sampler,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            pin_memory=args.dataloader_pin_memory and torch.cuda.is_available(),
        )
        # Batches a rank: while window k runs, k + 1 is planned too, so W steps of batches may be fetched ahead.
        ahead = 1 + loader.num_workers * (loader.prefetch_factor or 0)  # Accelerate holds one, each worker some
        if self.planner and ahead > args.adaptive_window * args.gradient_accumulation_steps:
            raise HierSumError(
                f"adaptive_window must be at least {math.ceil(ahead / args.gradient_accumulation_steps)}, because "
                f"{loader.num_workers} workers fetch {ahead} batches ahead, got {args.adaptive_window}."
            )
        prepared: DataLoader[dict[str, Any]] = self.accelerator.prepare(loader)
        return prepared

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, HierSumOutput]:
        """Return the model's own loss, and keep its terms for the logs.

        Every term is kept under its level, and the rate of positive labels too.
        """
        outputs = model(**inputs)
        level, labels = inputs["level"], inputs["frame_labels"]
        terms = {"loss": outputs.loss, **outputs.losses}
        pairs = {name: (value, torch.ones_like(value)) for name, value in terms.items()}
        # Labels are 1, 0 and -100 for none; as [sum, count], so that the mean over ranks and steps is over frames.
        pairs["positive_rate"] = (labels == 1).sum(), (labels >= 0).sum()
        for name, pair in pairs.items():
            seen = torch.stack([value.detach().float() for value in pair])
            self._terms[f"{level}/{name}"] = self._terms.get(f"{level}/{name}", 0) + seen
        # The sentence loss is child level's own, but for parent_text_loss, and would make it look the worse one.
        if self.planner:  # compares levels by what both have
            self.planner.add(level, outputs.loss - outputs.losses.get("sentence_focal", 0.0))
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add what happened since the last log.

        Examples are `parent/frame_focal` and `parent_share`.
        """
        if "loss" in logs:
            logs |= self._means()
            model = self.accelerator.unwrap_model(self.model)
            for kind in ("inter", "intra"):
                scale = getattr(model, f"{kind}_logit_scale").exp().item()
                logs[f"logit_scale/{kind}"] = min(scale, MAX_LOGIT_SCALE)
            if self.planner:
                logs["planned_windows"] = len(self.planner.plan)
                logs["planned_parent_share"] = self.planner.plan[-1] / self.planner.window  # of the last one
        super().log(logs, *args, **kwargs)

    def _means(self) -> dict[str, float]:
        """Average over all ranks what happened since the last log.

        Returns:
            Every loss term and the positive rate by level, and the share of parent batches.

        Raises:
            ValueError: The loss of a level is not finite.
        """
        sums: dict[str, np.ndarray] = {}
        for part in gather_object([{name: seen.tolist() for name, seen in self._terms.items()}]):
            for name, seen in part.items():  # a rank whose batches had no replay scores lacks that term
                sums[name] = sums.get(name, 0) + np.array(seen)
        self._terms.clear()
        means = {name: float(total / count) for name, (total, count) in sorted(sums.items()) if count}
        for level in LEVELS:
            if not math.isfinite(loss := means.get(f"{level}/loss", 0.0)):
                raise HierSumError(
                    f"step {self.state.global_step}: expected a finite training loss, found {loss} at {level} level "
                    "since the last log. Try a smaller --learning_rate; look for features that are not finite."
                )
        # Every batch counts once in the loss of its level.
        batches = {level: sums.get(f"{level}/loss", (0, 0))[1] for level in LEVELS}
        return means | {"parent_share": float(batches["parent"] / sum(batches.values()))}

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LRScheduler:
        """Make the scheduler, by default with a fall over the last fifth.

        Before, the rate is flat.
        """
        if self.args.lr_scheduler_type == "warmup_stable_decay" and not self.args.lr_scheduler_kwargs:
            self.args.lr_scheduler_kwargs = {"num_decay_steps": math.ceil(num_training_steps / 5)}
        return super().create_scheduler(num_training_steps, optimizer)

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Name the parameters with weight decay, without the logit scales."""
        return [name for name in super().get_decay_parameter_names(model) if not name.endswith("logit_scale")]

    def evaluation_levels(self) -> list[str]:
        """List the levels the network has been trained at, and their mean."""
        return and_both(self.accelerator.unwrap_model(self.model).config.trained_levels or ["child"])

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Evaluate the validation videos at every trained level.

        The figures are those of `compute_metrics`, named as `eval_parent_kendall_tau`. Every rank scores its share of
        the videos, and has the metrics of all.
        """
        records: Sequence[VideoRecord] | None = self.eval_dataset if eval_dataset is None else eval_dataset
        if records is None or self.compute_metrics is None:
            raise HierSumError("Evaluation needs eval_dataset and compute_metrics.")
        metrics: dict[str, float] = {}
        for level in self.evaluation_levels():
            scored: dict[str, Any] = {"predictions": self._gathered_scores(records, level), "label_ids": records}
            figures = self.compute_metrics(EvalPrediction(**scored))
            metrics |= {f"{metric_key_prefix}_{level}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Decide as `Trainer`, but wait for a level before its first step.

        Until then the evaluations do not have the wanted metric of that level.

        Raises:
            ValueError: `metric_for_best_model` is no metric of this run.
        """
        # A run that begins at child level cannot have a parent metric yet, which is no error.
        wanted = f"eval_{(self.args.metric_for_best_model or '').removeprefix('eval_')}"
        if wanted == "eval_" or wanted in metrics:
            return super()._determine_best_metric(metrics, trial)
        levels = self.args.levels_to_come(self.accelerator.unwrap_model(self.model).config.trained_levels)
        names = {metric.split("_", 2)[2] for metric in metrics if metric.startswith("eval_")}  # eval_LEVEL_NAME
        known = sorted(f"eval_{level}_{name}" for level in levels for name in names)
        if wanted not in known:
            raise HierSumError(f"metric_for_best_model: expected one of {', '.join(known)}, found {wanted}.")
        return False

    def _gathered_scores(self, records: Sequence[VideoRecord], level: str) -> dict[str, np.ndarray]:
        """Score all records on all ranks together.

        Returns:
            (N,) scores by video id.
        """
        args = self.args
        scored = predict_scores(
            self.accelerator.unwrap_model(self.model),
            self.processing_class,
            records,
            level,
            args.per_device_eval_batch_size,
            allow_encoder_mismatch=args.allow_encoder_mismatch,
            indices=range(args.process_index, len(records), args.world_size),
        )
        parts = gather_object([{video: result["scores"] for video, result in scored.items()}])
        return {video: scores for part in parts for video, scores in part.items()}
