"""The vocabulary of the ablation harness: data, stages, arms, groups and studies, and how the usual arms are made.

An arm is a way to train; a group is a set of arms that are compared on the same test videos; a study is one question.
Nothing here is from the paper but the schedules and the claims that the studies test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


Changes = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Data:
    """The training videos of a stage.

    Args:
        regime: A world of `hiersum_hf.synthetic.features.REGIMES`, or the folder of a prepared set.
        dials: Changes to the world.
        videos: The first so many training videos only; None = all.
        labelled: So many videos have labels at all: a network is trained on all of them, a baseline is chosen on a
            quarter; None = training and validation part as they are.
        fold: Of a prepared set.
        labels: "own", "replay" (of the replay scores), "shuffled" (the same, moved to other times) or "pseudo" (of
            the scorer that needs no training).
        views, threshold, quantile, intro_bins: Of replay labels; views of a made-up curve only, intro bins in percent
            of the video.
        encoder: "" for the usual frame features, "other" for another encoder of the same width, "wide" of another one.
        texts: "words" for random projections of words, "sentences" for a real Sentence-BERT (made-up videos only).
        text: False leaves subtitles and description out.
        description: "own", or "sentences" for the video's own sentences, as BLiSS has it.
    """

    regime: str = "complementary"
    dials: Changes = ()
    videos: int | None = None
    labelled: int | None = None
    fold: int = 0
    labels: str = "own"
    views: int = 100_000
    threshold: float = 0.15
    quantile: float | None = 0.85
    intro_bins: int = 0
    encoder: str = ""
    texts: str = "words"
    text: bool = True
    description: str = "own"


@dataclass(frozen=True)
class Stage:
    """One stretch of training; each stage goes on from the network of the one before.

    Args:
        share: Of the study's optimiser steps; 0 trains nothing and only reads the network on other data.
        data: What it is trained on.
        config, training: Changes to HierSumConfig and HierSumTrainingArguments.
        lora_r: Rank of an adapter; 0 trains all weights.
    """

    share: float = 1.0
    data: Data = field(default_factory=Data)
    config: Changes = ()
    training: Changes = ()
    lora_r: int = 0


@dataclass(frozen=True)
class Arm:
    """A way to train, or a baseline.

    Args:
        name: In tables.
        networks: The stages of each network; the logits of several are averaged.
        baseline: Instead of HierSum: "linear probe", "lstm", "ridge", or a scorer that needs no training.
        folds: Of a prepared set; each is trained and tested, and a run has the test videos of all.
    """

    name: str
    networks: tuple[tuple[Stage, ...], ...]
    baseline: str = ""
    folds: int = 1

    @property
    def data(self) -> Data:
        """What it is tested on."""
        return self.networks[0][-1].data


@dataclass(frozen=True)
class Group:
    """Arms that are compared on the same test videos, each with the reference arm, the first."""

    name: str
    arms: tuple[Arm, ...]


@dataclass(frozen=True)
class Study:
    """A question, and the groups that answer it; `metric` is what arms are compared by."""

    question: str
    groups: tuple[Group, ...]
    metric: str = "kendall_tau"


def one(name: str, *stages: Stage) -> Arm:
    return Arm(name, (stages,))


def arm(name: str, data: Data | None = None, config: dict | None = None, share: float = 1.0, **training: Any) -> Arm:
    """An arm of one network and one stage."""
    return one(name, Stage(share, data or Data(), tuple((config or {}).items()), tuple(training.items())))


M1: dict[str, Any] = {"child_steps_per_parent": 1}
SCHEDULES: dict[str, dict[str, Any]] = {
    "m = 1": M1,
    "child": {"schedule": "child"},
    "parent": {"schedule": "parent"},
    "joint": {"schedule": "joint"},
    "m = 5": {"child_steps_per_parent": 5},
    "adaptive": {"schedule": "adaptive"},
    "m = 10": {"child_steps_per_parent": 10},
    "m = 2": {"child_steps_per_parent": 2},
    "m = 1/2": {**M1, "parent_steps_per_child": 2},
    "m = 1/5": {**M1, "parent_steps_per_child": 5},
    "m = 4 (global step 5)": {"child_steps_per_parent": 4},  # global step 0 is child, 1 parent, 2 m = 1
    "m = 9 (global step 10)": {"child_steps_per_parent": 9},
}
FEW = ("m = 1", "child", "parent", "joint", "m = 5", "m = 1/2", "adaptive")


def schedules(
    names: tuple[str, ...], data: Data | None = None, share: float = 1.0, config: dict | None = None
) -> tuple[Arm, ...]:
    return tuple(arm(name, data, config, share, **SCHEDULES[name]) for name in names)


def two_networks(data: Data | None = None, share: float = 1.0, config: dict | None = None) -> Arm:
    """The average of a child network and a parent network, each with half of the steps."""
    halves = [schedules((level,), data, share / 2, config)[0].networks[0] for level in ("child", "parent")]
    return Arm("two networks", tuple(halves))


def parent_first(data: Data | None = None) -> Arm:
    data = data or Data()
    first, rest = (("schedule", "parent"),), tuple(M1.items())
    return one("parent first, then m = 1", Stage(0.2, data, training=first), Stage(0.8, data, training=rest))


REPLAY = (("replay_weight", 1.0),)


def pretrained(
    name: str,
    before: Data,
    after: Data,
    share: float = 0.5,
    config: Changes = (),
    lora_r: int = 0,
    fine_tuning: Changes = (),
) -> Arm:
    """Trained on other labels first, then on these, with the steps of an arm from scratch in total.

    `fine_tuning`: changes to the training of the second stage alone.
    """
    training = tuple(M1.items())
    first = Stage(share, before, (*REPLAY, *config), training)
    second = Stage(1 - share, after, (("replay_weight", 0.0), *config), (*training, *fine_tuning), lora_r)
    return one(name, first, second)
