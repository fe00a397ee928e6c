"""Times and lengths as people write them, and frames to sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import Budget, Floats


SECONDS = dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0)
SECONDS |= dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0) | dict.fromkeys(
    ("h", "hour", "hours"), 3600.0
)
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_LENGTH = re.compile(rf"{_NUMBER}\s*([a-z]*)")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d{2}(?:\.\d*)?)")
_PER_CENT = re.compile(rf"{_NUMBER}\s*%")


def parse_time(text: str) -> float:
    """Read a time or a length.

    "80", "80s", "1:20", "1:20.5", "1:02:03", "2min", "1h".

    Returns:
        Seconds.

    Raises:
        ValueError: It is none of these.
    """
    folded = text.strip().lower()
    # H:MM:SS, or M:SS with up to 999 minutes; then the minutes need not stay below 60
    if clock := _CLOCK.fullmatch(folded):
        hours, minutes, seconds = clock.groups(default="0")
        if float(seconds) < 60 and (not clock[1] or int(minutes) < 60):
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    length = _LENGTH.fullmatch(folded)
    if length and length[2] in SECONDS:
        return float(length[1]) * SECONDS[length[2]]
    raise HierSumError(f'expected a time such as "80s", "1:20" or "2min", found {text!r}')


def parse_budget(value: str | float) -> tuple[str, float]:
    """Read the length of a summary.

    0.15 or "15%" of the video; 60, "60s", "1:30" or "10min". A number without a unit is a share of the video up to 1,
    seconds above.

    Returns:
        ("ratio", 0.15) or ("seconds", 60.0).

    Raises:
        ValueError: It is neither a ratio in (0, 1] nor more than 0 seconds.
    """
    text = str(value).strip()
    try:
        if share := _PER_CENT.fullmatch(text):
            kind, number = "ratio", round(float(share[1]) / 100, 12)  # 1.1 / 100 is 0.011000000000000001
        elif re.fullmatch(_NUMBER, text) and float(text) <= 1:
            kind, number = "ratio", float(text)
        else:
            kind, number = "seconds", parse_time(text)
    except ValueError:
        number = 0.0
    if number > 0 and (kind == "seconds" or number <= 1):
        return kind, number
    raise HierSumError(
        'budget: expected a share of the video in (0, 1] such as "0.15" or "15%", or a length such as "60s", "1:30" or '
        f'"10min"; found {value!r}'
    )


def budget_of(value: str | float, duration_s: float) -> Budget:
    """Tell the budget for a video of this length.

    It is at most that length. Raises what `parse_budget` raises.
    """
    kind, number = parse_budget(value)
    return Budget(kind, number, min(number if kind == "seconds" else number * duration_s, duration_s))


def parse_span(value: Any) -> tuple[float, float]:
    """Read a stretch of a video.

    "1:20-1:40", "80-100", or (80, 100).

    Returns:
        (start_s, end_s), the end after the start.

    Raises:
        ValueError: It is none.
    """
    parts = re.split(r"\s*[-–]\s*", value.strip()) if isinstance(value, str) else value
    try:
        start_s, end_s = (parse_time(part) if isinstance(part, str) else float(part) for part in parts)
    except (TypeError, ValueError):
        start_s = end_s = 0.0
    if 0 <= start_s < end_s < float("inf"):
        return start_s, end_s
    raise HierSumError(f'expected a stretch with its end after its start such as "1:20-1:40", found {value!r}')


def parse_spans(values: Iterable[Any] | str | None, name: str) -> tuple[tuple[float, float], ...]:
    """Read one stretch or several.

    `name` says in errors what they are for.
    """
    if values is None:
        return ()
    single = isinstance(values, str) or (
        len(listed := list(values)) == 2 and all(isinstance(v, (int, float)) for v in listed)
    )
    try:
        return tuple(parse_span(value) for value in ([values] if single else listed))
    except ValueError as error:
        raise HierSumError(f"{name}: {error}") from error


def covered_means(scores: Floats, spans: np.ndarray) -> Floats:
    """Average the scores of the frames that each span covers.

    Args:
        scores: (N,), in [0, 1] or on an annotator's scale from 1.
        spans: (M, 2) [start, end) in frame indices.

    Returns:
        (M,) means, the least score where a span covers no frame, so that nothing without a picture is chosen for it.
    """
    start, end = spans.T
    sums = np.append(0.0, np.cumsum(scores, dtype=np.float64))  # (N + 1,): the mean is (sums[end] - sums[start]) / n
    covered = np.maximum(end - start, 0)
    return np.where(covered > 0, (sums[end] - sums[start]) / np.maximum(covered, 1), np.min(scores, initial=1.0))
