"""What the ablation harness compares, as data: the studies, their groups, and the arms of each.

The first arm of a group is the one that the others are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ablation.arms import (
    FEW,
    M1,
    REPLAY,
    SCHEDULES,
    Arm,
    Data,
    Group,
    Stage,
    Study,
    arm,
    one,
    parent_first,
    pretrained,
    schedules,
    two_networks,
)  # fmt: skip
from hiersum_hf.files.safe_yaml import load_yaml
from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
from hiersum_hf.training.recipe_files import find_recipe


NOT_OF_AN_ARM = ("output_dir", "save_strategy", "save_total_limit", "load_best_model_at_end", "metric_for_best_model",
                 "logging_steps", "eval_strategy")  # fmt: skip


def _baselines(data: Data) -> tuple[Arm, ...]:
    names = ("linear probe", "lstm", "ridge", "training-free", "position", "random", "oracle")
    return tuple(Arm(name, ((Stage(1.0, data),),), name) for name in names)


def _schedule_groups() -> tuple[Group, ...]:
    everything = (*schedules(tuple(SCHEDULES)), two_networks(), parent_first())
    groups = [Group("complementary", everything)]
    controls = ("m = 1", "child", "parent", "joint")
    groups.append(Group("complementary, 4x steps", (*schedules(controls, share=4.0), two_networks(share=4.0))))
    for regime in ("shared", "local", "global", "picture"):
        data = Data(regime)
        groups.append(Group(regime, (*schedules(FEW, data), two_networks(data))))
    few = Data(videos=60)
    groups.append(Group("60 labelled videos", (*schedules(FEW, few), two_networks(few))))
    descriptions = {
        "long description": (("description_long", True),),
        "description with 8 lines about something else": (("description_extra", 8),),
        "half of the steps unlisted": (("description_missing", 0.5),),
        "half of the listed steps wrong": (("description_wrong", 0.5),),
    }
    for name, dials in descriptions.items():
        data = Data(dials=dials)  # child never reads it: the plain world's run is the same
        groups.append(Group(name, (*schedules(("m = 1", "parent"), data), *schedules(("child",)))))
    real = Data(texts="sentences")
    arms = (*schedules(controls, real, 2.0), two_networks(real, 2.0))
    groups.append(Group("complementary, texts from a Sentence-BERT, 2x steps", arms))
    deeper = {"num_layers": 2}
    arms = (*schedules((*controls, "m = 1/2", "adaptive"), None, 2.0, deeper), two_networks(None, 2.0, deeper))
    groups.append(Group("complementary, 2 layers, 2x steps", arms))
    return tuple(groups)


def _few_label_groups() -> tuple[Group, ...]:
    """Where seeds differ most: few arms, for many seeds."""
    return (Group("60 labelled videos", schedules(("m = 1", "m = 5", "m = 1/2", "adaptive"), Data(videos=60))),)


def _mask_groups() -> tuple[Group, ...]:
    shifts = {
        "subtitles in time": (),
        "subtitles two segments (4 s) late": (("subtitle_shift_s", 4.0),),
        "subtitles jittered by 4 s": (("subtitle_jitter_s", 4.0),),
    }
    return tuple(
        Group(
            f"{name}{'' if share == 1 else ', 2x steps'}",
            tuple(
                arm(
                    f"mask {'on' if mask else 'off'}, segments {'on' if segment else 'off'}",
                    Data(dials=dials), {"alignment_mask": mask, "segment_embedding": segment}, share, **M1,
                )
                for mask in (True, False) for segment in (True, False)
            ),
        )
        for share in (1.0, 2.0) for name, dials in shifts.items()
    )  # fmt: skip


def _loss_groups() -> tuple[Group, ...]:
    changes: dict[str, dict[str, Any]] = {
        "defaults": {},
        "no inter": {"inter_weight": 0.0},
        "inter 0.1": {"inter_weight": 0.1},
        "inter 0.2": {"inter_weight": 0.2},
        "no intra": {"intra_weight": 0.0},
        "intra 0.1": {"intra_weight": 0.1},
        "intra 1": {"intra_weight": 1.0},
        "no contrast": {"inter_weight": 0.0, "intra_weight": 0.0},
        "SumMe's inter 0.1, intra 3": {"inter_weight": 0.1, "intra_weight": 3.0},
        "replay 1": {"replay_weight": 1.0},
        "replay 1, its head": {"replay_weight": 1.0, "score_head": "replay"},
        "focal alpha 0.75": {"focal_alpha": 0.75},
        "cross entropy": {"focal_gamma": 0.0},
    }
    return (Group("complementary", tuple(arm(name, None, config, **M1) for name, config in changes.items())),)


def _rate_groups() -> tuple[Group, ...]:
    shapes: dict[str, dict[str, Any]] = {
        "flat, falling over the last fifth": {},
        "linear": {"lr_scheduler_type": "linear"},
        "linear after a tenth of warm-up": {"lr_scheduler_type": "linear", "warmup_steps": 0.1},
        "cosine": {"lr_scheduler_type": "cosine"},
        "constant": {"lr_scheduler_type": "constant"},
    }
    return tuple(
        Group(f"peak {peak}", tuple(arm(n, learning_rate=peak, **shape, **M1) for n, shape in shapes.items()))
        for peak in (2e-3, 4e-3)
    )


def _pretraining_groups() -> tuple[Group, ...]:
    groups = []
    for videos in (30, 100, 300):
        few = Data(videos=videos)
        kinds = {f"{kind} labels first": replace(Data(), labels=kind) for kind in ("replay", "pseudo", "shuffled")}
        arms = [arm("from scratch", few, **M1), *(pretrained(name, data, few) for name, data in kinds.items())]
        gently, slow = "replay labels first, then a tenth of the learning rate", (("learning_rate", 4e-4),)
        arms.append(pretrained(gently, kinds["replay labels first"], few, fine_tuning=slow))
        groups.append(
            Group(
                f"{videos} labelled videos",
                (*arms, arm("replay labels only", kinds["replay labels first"], dict(REPLAY), **M1)),
            )
        )
    return tuple(groups)


def _replay_groups() -> tuple[Group, ...]:
    base = Data(labels="replay")
    arms = {
        "quantile 0.85": base,
        "quantile 0.7": replace(base, quantile=0.7),
        **{f"threshold {t}": replace(base, threshold=t, quantile=None) for t in (0.15, 0.3, 0.5)},
        **{f"first {bins} bins masked": replace(base, intro_bins=bins) for bins in (2, 5)},
        **{f"{views:,} views": replace(base, views=views) for views in (1_000, 10_000, 1_000_000)},
    }
    return (Group("trained on replay labels", tuple(arm(n, d, dict(REPLAY), **M1) for n, d in arms.items())),)


def _text_groups() -> tuple[Group, ...]:
    data = Data(description="sentences")
    losses = {"parent text loss off": False, "parent text loss on": True}
    return (
        Group(
            "description = sentences", tuple(arm(n, data, {"parent_text_loss": on}, **M1) for n, on in losses.items())
        ),
    )


def _encoder_groups() -> tuple[Group, ...]:
    few, half = Data(videos=100), Data()
    arms = [arm("trained on the encoder, all videos", Data(), **M1)]
    for kind in ("", "other", "wide"):
        words = {"": "the same encoder", "other": "another, same width", "wide": "another width"}[kind]
        after = replace(few, encoder=kind)
        arms.append(one(f"{words}, zero-shot", Stage(0.5, half, training=tuple(M1.items())), Stage(0.0, after)))
        arms.append(one(f"{words}, fine-tuned", *(Stage(0.5, d, training=tuple(M1.items())) for d in (half, after))))
        arms.append(arm(f"{words}, from scratch", after, **M1))
    return (Group("100 labelled videos of the new encoder", tuple(arms)),)


def _size_groups() -> tuple[Group, ...]:
    few, replays = Data(videos=100), Data(labels="replay")
    arms = []
    for width in (32, 64, 128):
        config = (("hidden_size", width),)
        arms.append(arm(f"D = {width}", few, dict(config), **M1))
        arms.append(pretrained(f"D = {width}, replay first", replays, few, config=config))
    return (Group("100 labelled videos", tuple(arms)),)


def _lora_groups() -> tuple[Group, ...]:
    replays = Data(labels="replay")
    return tuple(
        Group(
            f"{videos} labelled videos",
            (
                pretrained("all weights", replays, Data(videos=videos)),
                *(pretrained(f"LoRA, r = {r}", replays, Data(videos=videos), lora_r=r) for r in (2, 8)),
                pretrained("replay first, no fine-tuning", replays, Data(videos=videos), share=1.0),
            ),
        )
        for videos in (30, 300)
    )


def _transfer_groups() -> tuple[Group, ...]:
    few = Data("picture", videos=60)
    return (
        Group(
            "trained on complementary, tested on picture",
            (
                arm("from scratch", few, **M1),
                pretrained("replay first", Data(labels="replay"), few),
                pretrained("replay first, no fine-tuning", Data(labels="replay"), few, share=1.0),
                pretrained("replay of its own kind first", Data("picture", labels="replay"), few),
            ),
        ),
    )


# Recipe tvsum, but for one thing each
RATINGS: dict[str, dict[str, Any]] = {
    "scores not averaged over time": {"smooth_s": 0.0},
    "averaged once": {"smooth_passes": 1},
    "mean scores as targets": {"rank_targets": False},
    "squared error": {"score_loss": "centered_mse"},
    "focal loss on key-shot labels": {"score_loss": "none", "focal_weight": 1.0, "rank_targets": False},
    "features not centred": {"center_features": False},
    "no place in the video": {"relative_position": False},
    "no linear path": {"linear_path": False},
    "four times the epochs": {"num_train_epochs": 8},
}
PAPER_PARTS: dict[str, dict[str, Any]] = {
    "with the contrasts": {"inter_weight": 0.1, "intra_weight": 1.0},
    "child": {"schedule": "child"},
    "parent": {"schedule": "parent"},
    "joint": {"schedule": "joint"},
    "m = 5": {"child_steps_per_parent": 5},
    "mask off": {"alignment_mask": False},
    "segments off": {"segment_embedding": False},
}


def _recipe_arm(name: str, changes: Mapping[str, Any] | None = None, data: Data | None = None) -> Arm:
    """Return an arm that trains as recipe tvsum does, but for these changes, of two epochs, not the best of three."""
    flags = {
        k: v for k, v in load_yaml(find_recipe("tvsum").read_text(encoding="utf-8")).items() if k not in NOT_OF_AN_ARM
    }
    flags |= {"max_steps": -1, "eval_strategy": "epoch", "num_train_epochs": 2} | dict(changes or {})
    config = {k: v for k, v in flags.items() if k in HierSumConfig.__annotations__}
    return arm(name, data, config, **{k: v for k, v in flags.items() if k not in config})


def _ratings_groups() -> tuple[Group, ...]:
    recipe = _recipe_arm("recipe tvsum")
    beside = tuple(Arm(name, ((Stage(),),), name) for name in ("ridge", "position", "title", "random", "oracle"))
    no_text = _recipe_arm("no text", {"schedule": "child"}, Data(text=False))
    parts = (*(_recipe_arm(*one) for one in PAPER_PARTS.items()), no_text)
    labelled = {f"{n} labelled videos": Data(labelled=n) for n in (10, 20, 30, 40)}
    return (
        Group("the causes, one at a time", (recipe, *(_recipe_arm(*one) for one in RATINGS.items()), *beside)),
        Group("the paper's parts", (recipe, *parts)),
        *(
            Group(name, (_recipe_arm("recipe tvsum", None, data), Arm("ridge", ((Stage(1.0, data),),), "ridge")))
            for name, data in labelled.items()
        ),
    )


def baseline_group(data: Data) -> Group:
    default = arm("HierSum, m = 1", data, **M1)
    text_free = arm("text-free transformer", replace(data, text=False), schedule="child")
    return Group("baselines", (default, *_baselines(data), text_free))


STUDIES: dict[str, Study] = {
    "schedules": Study("Does alternating the levels beat its parts, and how often should it?", _schedule_groups()),
    "few_labels": Study("Does the schedule matter where 60 videos are labelled?", _few_label_groups()),
    "mask": Study("Does the alignment mask or the segment embedding help, where subtitles are late?", _mask_groups()),
    "baselines": Study("Does HierSum beat simpler scorers of the same videos?", (baseline_group(Data()),)),
    "losses": Study("What is each loss term worth?", _loss_groups()),
    "rate": Study("Which shape should the learning rate have?", _rate_groups()),
    "pretraining": Study("Does replay pre-training help where few videos are labelled?", _pretraining_groups()),
    "replay": Study("Which replay labels teach most?", _replay_groups()),
    "text": Study("Is a sentence loss at parent level worth it?", _text_groups(), "sentence_tau"),
    "encoder": Study("What does a network know of another encoder's features?", _encoder_groups()),
    "size": Study("How wide should the network be, with and without replay pre-training?", _size_groups()),
    "lora": Study("Is an adapter as good as training all weights?", _lora_groups()),
    "transfer": Study("Does replay pre-training carry over to videos where the picture decides?", _transfer_groups()),
}  # fmt: skip


RATINGS_STUDY = Study("What lets a network learn ratings, and what are the paper's parts worth?", _ratings_groups())
ON_PREPARED = ("encoders", "ratings")  # studies of real sets alone


def on_prepared(study: str, folders: list[str], folds: int = 1) -> Study:
    """The study on real sets: the arms that need no dial, each set in the place of the first world.

    With several `folds`, every arm is trained and tested on each. `ratings` is about what annotators gave; `encoders`
    compares several preparations of one set;
    `transfer` trains on the first folder and tests on the second.

    Raises:
        ValueError: Unknown study, or one that only made-up videos can answer.
    """
    if study == "encoders":
        return Study("Which encoder serves best?", (Group("encoders", tuple(arm(f, Data(f), **M1) for f in folders)),))
    if study == "transfer":
        if len(folders) != 2:
            raise ValueError(f"transfer: expected two prepared sets, to train on and to test on, found {len(folders)}.")
        before, after = (Data(folder) for folder in folders)
        scratch = arm("from scratch", after, **M1)
        zero_shot = one("no fine-tuning", Stage(1.0, before, REPLAY, tuple(M1.items())), Stage(0.0, after))
        return Study(
            STUDIES[study].question,
            (Group(" -> ".join(folders), (scratch, pretrained("the other set first", before, after), zero_shot)),),
        )
    known = RATINGS_STUDY if study == "ratings" else STUDIES[study]
    groups = [
        Group(f"{folder}: {group.name}", tuple(_moved(a, folder, folds) for a in group.arms))
        for folder in folders
        for group in known.groups
        if all(
            not s.data.dials and s.data.regime == "complementary" and not s.data.encoder
            for a in group.arms
            for n in a.networks
            for s in n
        )
    ]
    if not groups:
        raise ValueError(f"{study}: expected a study that real sets can answer, found one about made-up videos.")
    return replace(known, groups=tuple(groups))


def _moved(arm: Arm, folder: str, folds: int) -> Arm:
    networks = tuple(tuple(replace(s, data=replace(s.data, regime=folder)) for s in stages) for stages in arm.networks)
    return replace(arm, networks=networks, folds=folds)
