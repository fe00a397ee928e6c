"""Flags that say which videos a run reads.

What reads the videos is elsewhere, so that `--help` needs no decoder.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hiersum_hf.features.text_encoder import default_extractor


@dataclass
class DataArguments:
    """Flags of the videos to train on."""

    data: str = field(
        default="demo",
        metadata={
            "help": "'demo' (made up), a folder made by `hiersum prepare`, or a file in TVSum's h5 format; elsewhere: "
            "org/name of the Hub, s3://bucket/folder (docs/cluster.md)."
        },
    )
    ratings: str | None = field(
        default=None,
        metadata={
            "help": "ydata-tvsum50.mat: titles (the parent text) and every annotator's ratings; or a folder of SumMe's "
            "annotations."
        },
    )
    split_file: str | None = field(
        default=None,
        metadata={"help": "A published split file (yml or json). Default: 5 disjoint folds, drawn by the seed."},
    )
    split_seed: int = field(default=0, metadata={"help": "Draws the folds, whatever the seed of the training."})
    fold: int = field(default=0, metadata={"help": "Which split or fold to train on, from 0."})
    train_videos: int | None = field(
        default=None, metadata={"help": "Train on the first so many training videos only, as for a learning curve."}
    )
    fit_on_validation: bool = field(
        default=False,
        metadata={
            "help": "Train on the validation part too, once all settings are chosen on it. Then nothing is evaluated "
            "on the way and nothing selected; a network of both levels is read at their mean."
        },
    )
    demo_replay: bool = field(
        default=False,
        metadata={"help": "Train on made-up replay curves, not on the demo set's annotators; its test part has these."},
    )
    video_encoder: str = field(
        default="unknown", metadata={"help": "What the frame features were made with, where the file does not say."}
    )
    text_encoder: str = field(
        default_factory=lambda: str(default_extractor().text_encoder),
        metadata={
            "help": "Encoder of titles and sentences that have no features yet. Default: that of `.[offline]` where it "
            "is installed, else the Hub's."
        },
    )
