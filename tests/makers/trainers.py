"""A Trainer of a few steps."""

import torch

from hiersum_hf.evaluation.evaluate import compute_metrics
from hiersum_hf.training.arguments import HierSumTrainingArguments
from hiersum_hf.training.trainer import HierSumTrainer
from tests.makers.models import small_model


def trainer(tmp_path, records, extractor, model=None, **changes):
    settings = {
        "max_steps": 6, "per_device_train_batch_size": 4, "child_steps_per_parent": 2, "logging_steps": 6,
        "save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "seed": 3,
    } | changes  # fmt: skip
    args = HierSumTrainingArguments(output_dir=str(tmp_path / "run"), **settings)
    return HierSumTrainer(
        model or small_model(), args, records[:20], extractor,
        eval_dataset=records[20:24], compute_metrics=compute_metrics,
    )  # fmt: skip


class Watched(HierSumTrainer):
    """Notes level, videos and loss of every training batch."""

    def compute_loss(self, model, inputs, *args, **kwargs):
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        sentences = outputs.losses.get("sentence_focal", torch.zeros(()))  # the child level's alone
        self.shared = [*getattr(self, "shared", []), loss.item() - sentences.item()]
        self.seen = [*getattr(self, "seen", []), (inputs["level"], inputs["video_features"].sum().item())]
        self.losses = [*getattr(self, "losses", []), loss.item()]
        self.labels = [*getattr(self, "labels", []), inputs["frame_labels"]]
        return loss
