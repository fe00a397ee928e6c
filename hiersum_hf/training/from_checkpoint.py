"""Start a training from a checkpoint.

Some of it is kept, some starts anew, and some changes are refused.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
from hiersum_hf.modeling.errors_hiersum import CheckpointError
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.records import VideoRecord
from hiersum_hf.scoring.checkpoint import load_checkpoint, training_stages, with_config
from hiersum_hf.training.projections import fit_linear_path, fit_projections


logger = logging.getLogger(__name__)

MAY_CHANGE = (
    "hidden_dropout",
    "attention_dropout",
    "head_dropout",
    "focal_gamma",
    "focal_alpha",
    "focal_weight",
    "score_loss",
    "score_weight",
    "smooth_s",
    "smooth_passes",
    "replay_weight",
    "inter_weight",
    "intra_weight",
    "negative_ratio",
    "negative_dilation",
    "parent_text_loss",
    "score_head",
)


def load_for_transfer(
    checkpoint: str, data: HierSumFeatureExtractor, changes: Mapping[str, Any], transfer_widths: bool = False
) -> tuple[HierSumModel, HierSumFeatureExtractor, list[str]]:
    """Load a checkpoint, ready to be trained on other data.

    Args:
        checkpoint: Folder or Hub id; an adapter is merged into its base first.
        data: The feature extractor that fits the data.
        changes: Fields of `HierSumConfig` that were asked for; all others stay the checkpoint's.
        transfer_widths: Features of another width or encoder are welcome: the projection of that modality starts anew,
            and the data's encoder becomes the checkpoint's.

    Returns:
        The network, its feature extractor, and the names of the parameters that started anew. A checkpoint trained
        without text gets a new text projection as soon as there is text. Levels that were trained stay listed, unless
        something that their scores go through is new: a projection, or another `score_head`.

    Raises:
        ValueError: Not a checkpoint, a change that does not fit its weights, or features of another width.
    """
    network, own = load_checkpoint(checkpoint)
    _refuse_contradictions(checkpoint, network.config, changes)
    anew = _sides_to_renew(checkpoint, own, data, transfer_widths)
    extractor = _joined(own, data, anew)
    config = network.config.to_dict() | dict(changes)
    config |= {name: getattr(extractor, name) for name in ("video_dim", "text_dim", "sample_fps")}
    config["trained_on"] = training_stages(checkpoint) or None
    config.pop("custom_pipelines", None)  # saved together with the pipeline's code only
    if anew or config["score_head"] != network.config.score_head:
        config["trained_levels"] = None
    model, renewed = with_config(network, HierSumConfig.from_dict(config), anew)
    model.name_or_path = str(Path(checkpoint).resolve()) if Path(checkpoint).exists() else checkpoint
    if renewed:
        logger.warning("%s: %s started anew, for features that it has not seen.", checkpoint, ", ".join(renewed))
    return model, extractor, renewed


def _refuse_contradictions(checkpoint: str, config: HierSumConfig, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        own = getattr(config, name)
        if name not in MAY_CHANGE and value != own:
            raise CheckpointError(
                f"{checkpoint}: expected {name} {own!r}, as its weights need, found {value!r}. Leave {name} out."
            )


def _sides_to_renew(
    checkpoint: str, own: HierSumFeatureExtractor, data: HierSumFeatureExtractor, transfer_widths: bool
) -> list[str]:
    """List the modalities whose projection cannot be kept.

    Returns:
        "video", "text", both or none.
    """
    sides = []
    for side in ("video", "text"):
        expected, found = (getattr(extractor, f"{side}_dim") for extractor in (own, data))
        if not getattr(data, f"{side}_encoder"):  # no text in the data
            continue
        known = getattr(own, f"{side}_encoder")
        if known and expected == found and (known == getattr(data, f"{side}_encoder") or not transfer_widths):
            continue
        if known and not transfer_widths:
            raise CheckpointError(
                f"{checkpoint}: expected {side} features of width {expected}, found {found}. Give --transfer_widths "
                f"True to keep the network and start its {side} projection anew."
            )
        sides.append(side)
    return sides


def _joined(
    own: HierSumFeatureExtractor, data: HierSumFeatureExtractor, anew: Collection[str]
) -> HierSumFeatureExtractor:
    """Join the feature extractors of the checkpoint and of the data.

    What starts anew is the data's, what is kept is the checkpoint's; the sample rate is the data's.
    """
    video, text = (data if side in anew else own for side in ("video", "text"))
    return HierSumFeatureExtractor(
        video_encoder=video.video_encoder,
        text_encoder=text.text_encoder,
        video_dim=video.video_dim,
        text_dim=text.text_dim,
        sample_fps=data.sample_fps,
        normalize_features=own.normalize_features,
        normalization=video.normalization,
    )


def fit_renewed(
    model: HierSumModel,
    extractor: HierSumFeatureExtractor,
    records: Sequence[VideoRecord],
    renewed: Collection[str],
    rank_targets: bool = False,
) -> None:
    """Fit the projections and the linear path that started anew, and nothing else.

    See `fit_projections` and `fit_linear_path`.
    """
    kept = {name: value.clone() for name, value in model.state_dict().items() if name not in renewed}
    fit_projections(model, extractor, records)
    fit_linear_path(model, extractor, records, rank_targets)
    model.load_state_dict(kept, strict=False)


def stage_of(dataset: str, split: str | None, test: Sequence[VideoRecord]) -> dict[str, str | None]:
    """Describe a training as an entry of `HierSumConfig.trained_on`.

    It was on this split, which sets these videos apart.
    """
    names: Any = test.groups if hasattr(test, "groups") else (record.video_id for record in test)  # groups: on disk
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
    return {"dataset": dataset, "split": split, "test_videos": digest[:16]}


def note_training(model: HierSumModel, checkpoint: str | None, stage: dict[str, str | None]) -> None:
    """Append a training to the network's config.

    Warns if one before it, of this or an earlier checkpoint, set other videos of the same data set apart: it may have
    seen the test videos of this one, and figures on them say nothing.
    """
    earlier = model.config.trained_on or []
    others = set()
    for seen in earlier:
        # A stage that was read from results.json, of an earlier version, names its split and not the test videos.
        key = "test_videos" if "test_videos" in seen else "split"
        if seen["dataset"] == stage["dataset"] and seen[key] != stage[key]:
            others.add(str(seen["split"]))
    if others:
        logger.warning(
            "%s was trained on split %s of %s, this run tests on %s: it may have seen the test videos.",
            checkpoint,
            ", ".join(sorted(others)),
            stage["dataset"],
            stage["split"],
        )
    model.config.trained_on = [*earlier, stage]


def trained_levels(checkpoint: str | Path) -> list[str] | None:
    """Read at which levels a checkpoint of a run was trained.

    A resumed run goes on from them. None where the checkpoint does not say.
    """
    path = Path(checkpoint, "config.json")
    return HierSumConfig.from_json_file(path).trained_levels if path.is_file() else None


class SaveConfig(TrainerCallback):
    """Save config.json beside every checkpoint, adapters too.

    It has widths, trained levels and score head, which PEFT does not save.
    """

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save the config into the folder of the step's checkpoint."""
        if state.is_world_process_zero:
            model: HierSumModel = kwargs["model"]
            model.config.save_pretrained(Path(str(args.output_dir), f"checkpoint-{state.global_step}"))
