"""The levels of HierSum, and the rule which of them are read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from .errors_hiersum import CheckpointError, HierSumError


if TYPE_CHECKING:
    from .configuration_hiersum import HierSumConfig


Level = Literal["child", "parent", "joint"]  # what one forward reads; "joint" is not given in the paper
ReadingLevel = Literal["child", "parent", "both", "joint"]  # of a summary; "both" is not given in the paper
LEVELS: tuple[str, ...] = get_args(Level)
READING_LEVELS: tuple[str, ...] = get_args(ReadingLevel)


def check_level(level: str) -> None:
    """Refuse a level that one forward cannot read.

    Raises:
        HierSumError: It is none of `LEVELS`.
    """
    if level not in LEVELS:
        raise HierSumError(f"level must be one of {', '.join(LEVELS)}, got {level!r}.")


def levels_to_read(level: str, trained: Sequence[str] | None, has_description: bool) -> tuple[str, ...]:
    """Tell at which levels a video is read.

    The mean of their logits scores it. No level is read that was not trained. "both" is child and parent. A video
    without a description has nothing to be read at parent level: it is read at child level instead, or, where only the
    parent level was trained, without text.

    Args:
        level: One of `READING_LEVELS`.
        trained: Levels the checkpoint was trained at, None where unknown.
        has_description: Whether the video has texts about the whole of it.

    Raises:
        HierSumError: There is no such level.
        CheckpointError: The checkpoint was not trained at it.
    """
    if level not in READING_LEVELS:
        raise HierSumError(f"level: expected one of {', '.join(READING_LEVELS)}; found {level!r}.")
    levels = ("child", "parent") if level == "both" else (level,)
    if trained is not None and not set(levels) <= set(trained):
        raise CheckpointError(f"Level {level!r}: expected one this checkpoint was trained at ({', '.join(trained)}).")
    if "parent" not in levels or has_description:
        return levels
    return ("child",) if trained is None or "child" in trained else ("parent",)


def usable_level(config: "HierSumConfig", level: str | None, has_description: bool) -> tuple[str, list[str]]:
    """Choose the level for the summary of one video.

    By the rule of `levels_to_read`, with a warning where child level stands in for another. The parent level by name is
    refused without a description, and so is a network that knows no other level.

    Args:
        config: Of the checkpoint: `trained_levels`, and `default_level` where `level` is None.
        level: One of `READING_LEVELS`, or None.
        has_description: Whether the video has texts about the whole of it.

    Returns:
        The level, and warnings.

    Raises:
        HierSumError: As `levels_to_read`, or the level cannot do without a description.
    """
    wanted = level or config.default_level
    levels = levels_to_read(wanted, config.trained_levels, has_description)
    if has_description or wanted in ("child", "joint"):
        return wanted, []
    if level == "parent" or levels != ("child",):
        raise HierSumError(f"Level {wanted!r} reads the description: give one (--description).")
    return "child", [f"No description: read at child level instead of {wanted}."]
