"""One run of the ablation harness: an arm is trained with the `HierSumTrainer` and read at every level."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit
from transformers import PrinterCallback, set_seed

from ablation.arms import Arm, Stage
from ablation.baselines import BASELINES, train_baseline
from ablation.data import Parts, Scale, fingerprint, load, world_of
from hiersum_hf.datasets.parts import DataArguments, extractor_of
from hiersum_hf.evaluation.ridge import ridge_scores
from hiersum_hf.metrics import clip_average_precision, kendall_tau
from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import write_json
from hiersum_hf.scoring.network import predict_scores
from hiersum_hf.scoring.training_free import score_frames, spread_over_sentences
from hiersum_hf.synthetic import features as synthetic
from hiersum_hf.training.arguments import HierSumTrainingArguments, and_both
from hiersum_hf.training.from_checkpoint import fit_renewed, load_for_transfer
from hiersum_hf.training.projections import fit_linear_path, fit_projections
from hiersum_hf.training.trainer import HierSumTrainer


CURVE_POINTS = 10
MAPS = {"map50": 0.5, "map15": 0.15}  # Mr.HiSum's rule, on the annotators' mean
BASE_CONFIG: dict[str, Any] = {
    "hidden_size": 32,
    "num_layers": 1,
    "num_attention_heads": 8,
    "head_dropout": 0.1,
    "hidden_dropout": 0.0,
}
BASE_TRAINING: dict[str, Any] = {"learning_rate": 4e-3, "per_device_train_batch_size": 16}


def run_arm(arm: Arm, seed: int, scale: Scale) -> dict[str, Any]:
    """Trains an arm and reads it.

    Returns:
        Plain JSON types: `levels` {level: {video: {kendall_tau, f1, ...}}} of the test part, `validation`, the means
        of the validation part by level, `curve` {level: [[optimiser step, validation tau], ...]}, and what was run.
    """
    if arm.folds > 1:
        return _merged(arm, [run_arm(_in_fold(arm, fold), seed, scale) for fold in range(arm.folds)])
    started, cpu = time.perf_counter(), time.process_time()
    parts = load(arm.data, seed, scale)
    curve: dict[str, list[list[float]]] = {}
    if arm.baseline:
        scores = [_baseline_scores(arm, parts, seed, scale)]
    else:
        scores = [_train_network(stages, seed, scale, curve) for stages in arm.networks]
    levels = scores[0] if len(scores) == 1 else _averaged(scores)
    figures = {
        level: {r.video_id: _measure(parts, r, *videos[r.video_id]) for r in (*parts.validation, *parts.test)}
        for level, videos in levels.items()
    }
    test = {r.video_id for r in parts.test}
    return {
        "arm": json.loads(json.dumps(asdict(arm))),
        "seed": seed,
        "scale": asdict(scale),
        "dataset": parts.dataset,
        "fingerprint": fingerprint(parts.test),
        "levels": {level: {v: _plain(f) for v, f in videos.items() if v in test} for level, videos in figures.items()},
        "validation": {
            level: _means([videos[r.video_id] for r in parts.validation]) for level, videos in figures.items()
        },
        "curve": curve,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }


def _in_fold(arm: Arm, fold: int) -> Arm:
    networks = tuple(tuple(replace(s, data=replace(s.data, fold=fold)) for s in stages) for stages in arm.networks)
    return replace(arm, networks=networks, folds=1)


def _merged(arm: Arm, folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one run with the test videos of all folds, and the mean of their validation figures."""
    levels, points = folds[0]["levels"], {level: [one["curve"][level] for one in folds] for level in folds[0]["curve"]}
    return {
        **folds[0],
        "arm": json.loads(json.dumps(asdict(arm))),
        "fingerprint": " ".join(one["fingerprint"] for one in folds),
        "levels": {level: {v: f for one in folds for v, f in one["levels"][level].items()} for level in levels},
        "validation": {level: _means([one["validation"][level] for one in folds]) for level in levels},
        "curve": {
            level: [[one[0][0], round(float(np.mean([tau for _, tau in one])), 5)] for one in zip(*curves, strict=True)]
            for level, curves in points.items()
        },
        **{name: round(sum(one[name] for one in folds), 1) for name in ("seconds", "cpu_seconds")},
    }


def run_file(folder: Path, arm: Arm, seed: int, scale: Scale) -> Path:
    """Where the result of this run is kept; arms that differ in their name alone are one run."""
    made_up = [s.data for stages in arm.networks for s in stages if s.data.regime in synthetic.REGIMES]
    worlds = [asdict(world_of(data)) for data in made_up]  # another world is another run
    what = [asdict(replace(arm, name="")), worlds, seed, asdict(scale), BASE_CONFIG, BASE_TRAINING]
    return folder / f"{hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:20]}.json"


def run_and_keep(folder: Path, arm: Arm, seed: int, scale: Scale) -> Path:
    """`run_arm`, unless its file is there."""
    path = run_file(folder, arm, seed, scale)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, run_arm(arm, seed, scale))
    return path


def _train_network(
    stages: Sequence[Stage], seed: int, scale: Scale, curve: dict[str, list[list[float]]]
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Frame and sentence scores {level: {video: ...}} of validation and test part after the last stage."""
    done = 0
    with tempfile.TemporaryDirectory(prefix="hiersum-ablation-") as folder:
        for i, stage in enumerate(stages):
            parts = load(stage.data, seed, scale)
            if stage.data.labelled is not None:
                parts = parts._replace(train=[*parts.train, *parts.validation])
            before = Path(folder, str(i - 1)) if i else None
            model, extractor = _begin(stage, parts, before, seed)
            steps = round(stage.share * scale.steps)
            if steps:
                trainer = _trainer(stage, model, extractor, parts, steps, seed, folder)
                trainer.train()
                _note_curve(trainer.state.log_history, done, curve)
                levels, done = trainer.evaluation_levels(), done + steps
            else:
                levels = and_both(model.config.trained_levels or ["child", "parent"])
            network = model.merge_and_unload() if stage.lora_r else model
            network.config.default_level = levels[-1]
            network.save_pretrained(Path(folder, str(i)))
            extractor.save_pretrained(Path(folder, str(i)))
    if stage.data.labelled is not None:  # the validation part was trained on and chooses no level
        levels = levels[-1:]
    read = [*parts.validation, *parts.test]
    found = {level: predict_scores(network, extractor, read, level, allow_encoder_mismatch=True) for level in levels}
    return {
        level: {v: (r["scores"], r["sentence_scores"]) for v, r in videos.items()} for level, videos in found.items()
    }


def _begin(stage: Stage, parts: Parts, before: Path | None, seed: int) -> tuple[Any, HierSumFeatureExtractor]:
    """A new network, or that of the stage before."""
    set_seed(seed)
    made, _ = extractor_of({"train": parts.train}, DataArguments())
    if before is None:
        made_for = {name: getattr(made, name) for name in ("video_dim", "text_dim", "sample_fps")}
        model, extractor = HierSumModel(HierSumConfig(**BASE_CONFIG | dict(stage.config) | made_for)), made
        fit_projections(model, extractor, parts.train)
        fit_linear_path(model, extractor, parts.train, dict(stage.training).get("rank_targets", False))
    else:
        model, extractor, renewed = load_for_transfer(str(before), made, dict(stage.config), transfer_widths=True)
        fit_renewed(model, extractor, parts.train, renewed)
    if not stage.lora_r:
        return model, extractor
    from hiersum_hf.training.lora import add_lora  # peft takes seconds to import

    return add_lora(model, stage.lora_r), extractor


def _trainer(stage, model, extractor, parts: Parts, steps: int, seed: int, folder: str) -> HierSumTrainer:
    args = HierSumTrainingArguments(
        **BASE_TRAINING
        | {"output_dir": folder, "max_steps": steps, "seed": seed, "use_cpu": True, "disable_tqdm": True}
        | {"save_strategy": "no", "report_to": "none", "eval_strategy": "steps", "logging_steps": steps}
        | {"eval_steps": max(steps // CURVE_POINTS, 1), "allow_encoder_mismatch": True, "dataloader_pin_memory": False}
        | dict(stage.training)
    )
    trainer = HierSumTrainer(
        model, args, parts.train, extractor, eval_dataset=parts.validation, compute_metrics=_tau_metric(parts)
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _tau_metric(parts: Parts):
    """Kendall tau alone: the learning curve needs no summaries."""

    def compute(prediction) -> dict[str, float]:
        taus = []
        for video, scores in prediction.predictions.items():
            reference = parts.references[video]
            if reference.users is not None:
                users = reference.users[:, reference.seen]
                taus.append(kendall_tau(scores[reference.seen], users, video)[0])
        return {"kendall_tau": float(np.nanmean(taus))} if taus else {}

    return compute


def _note_curve(log: Sequence[Mapping[str, Any]], done: int, curve: dict[str, list[list[float]]]) -> None:
    for entry in log:
        for name, value in entry.items():
            if name.startswith("eval_") and name.endswith("_kendall_tau"):
                curve.setdefault(name.split("_")[1], []).append([done + entry["step"], round(value, 5)])


def _averaged(networks: Sequence[dict[str, dict[str, tuple]]]) -> dict[str, dict[str, tuple]]:
    """Levels of all networks, and `both`, the mean of their logits."""
    levels = {level: videos for network in networks for level, videos in network.items()}
    first, second = levels.values()
    tiny = 1e-9
    mean = {v: expit(np.mean([logit(np.clip(one[v][0], tiny, 1 - tiny)) for one in (first, second)], 0)) for v in first}
    return levels | {"both": {v: (scores, first[v][1]) for v, scores in mean.items()}}


def _baseline_scores(arm: Arm, parts: Parts, seed: int, scale: Scale) -> dict[str, dict[str, tuple]]:
    read = [*parts.validation, *parts.test]
    if arm.baseline in BASELINES:
        set_seed(seed)
        extractor, _ = extractor_of({"train": parts.train}, DataArguments())
        steps = round(arm.networks[0][-1].share * scale.steps)
        found = train_baseline(arm.baseline, extractor, parts.train, read, steps, BASE_TRAINING, seed)
    elif arm.baseline == "ridge":
        if (ridge := ridge_scores(parts.train, parts.validation, read)) is None:
            raise ValueError("ridge: expected frame features, and annotations in train and validation, found none.")
        found = ridge.scores
    else:
        found = {record.video_id: score_frames(record, arm.baseline, seed) for record in read}
    return {"all": {video: (scores, None) for video, scores in found.items()}}


def _measure(parts: Parts, record: VideoRecord, scores: np.ndarray, texts: np.ndarray | None) -> dict[str, float]:
    """The protocol's figures, and how the sentence scores agree with the annotators' means over each sentence."""
    reference = parts.references[record.video_id]
    figures = reference.measure(scores, texts)
    if record.user_scores is not None and "map50" not in figures:
        mean = record.user_scores.mean(axis=0)
        figures |= {name: clip_average_precision(scores, mean, share) for name, share in MAPS.items()}
    if texts is not None and len(texts) == len(record.sentences) > 1 and record.user_scores is not None:
        users = np.stack([spread_over_sentences(record, user) for user in record.user_scores])
        figures |= {"sentence_tau": kendall_tau(texts, users, record.video_id)[0]}
    return figures


def _means(videos: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each metric's mean over the videos that have it; left out where none has."""
    known = {
        name: [v[name] for v in videos if not np.isnan(v.get(name, np.nan))] for name in {n for v in videos for n in v}
    }
    return {name: float(np.mean(values)) for name, values in sorted(known.items()) if values}


def _plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else round(value, 5) for name, value in figures.items()}
