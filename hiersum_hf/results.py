"""Hold, read, write and print the results of an evaluation."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hiersum_hf.files.atomic import write_text
from hiersum_hf.files.json_file import read_json
from hiersum_hf.modeling.errors_hiersum import InputError


SCHEMA = 1
METRICS = {
    "captured": "captured",
    "captured_keyshot": "captured (key-shot)",
    "f1": "F1",
    "kendall_tau": "tau",
    "spearman_rho": "rho",
    "map50": "mAP50",
    "map15": "mAP15",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeLsum": "ROUGE-Lsum",
    "cosine": "cosine",
    "precision": "precision",
    "recall": "recall",
}
SAME = ("dataset", "part", "protocol", "data_fingerprint")  # what two results must share to be compared
PACKAGES = ("hiersum-hf", "numpy", "scipy", "scikit-learn", "rouge-score", "torch", "transformers")
SINGLE_REFERENCE = "-single-reference"  # ends the protocol's name where a curve or labels stand for the annotators
SCRIPTED = ("smmrhisum", "smvideoxum")  # data sets whose parent text is a script
SCRIPTS = (
    "scripts generated from the ground-truth summaries: requests for these summaries, not descriptions of the videos"
)
OBJECTS = ("standard_error", "fit")  # what a baseline has of figures by name, beside its own
FIT = {  # how the ridge baseline was fitted, in words; what is 0 is not told
    "videos": "fitted on {:g} videos",
    "left_out": "{:g} left out",
    "strength": "lambda {:.4g} of the mean eigenvalue",
    "averaged_s": "scores averaged over {:g} s",
}
MAX_FIGURE = 1e6  # of a metric; a number that JSON writes may be too large for arithmetic

Difference = dict[str, Any]  # `difference` and `ci95` of it, [low, high] or None
Figures = dict[str, float | None]  # by the metric's name in METRICS; None where it cannot be measured


@dataclass(frozen=True)
class Baseline:
    """Figures of a scorer that stands beside the measured one.

    Attributes:
        metrics: Means over videos.
        draws: Of the random baseline, how many random scores were drawn.
        standard_error: Of the random baseline, the standard error of each mean over draws.
        fit: Of the ridge baseline, how it was fitted (`evaluation.ridge.RidgeScores`); None over folds.
        per_video: Of the ridge baseline, the figures of each video. They are kept in memory alone.
    """

    metrics: Figures
    draws: int | None = None
    standard_error: Figures | None = None
    fit: Figures | None = None
    per_video: dict[str, Figures] | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object.

        Its metrics stand beside `draws`, `standard_error` and `fit`.
        """
        about = {"draws": self.draws, "standard_error": self.standard_error, "fit": self.fit}
        return self.metrics | {name: value for name, value in about.items() if value is not None}


@dataclass(frozen=True)
class FoldResult:
    """Figures of one fold of a cross-validation.

    Attributes:
        fold: Its number, from 0.
        level: Level at which the network read the videos; None for a scorer without levels.
        videos: How many test videos it has.
        metrics: Means over these videos.
    """

    fold: int
    level: str | None
    videos: int
    metrics: Figures


@dataclass(frozen=True, kw_only=True)
class Results:
    """What one evaluation found, as `results.json` keeps it.

    The fields are the keys of that file (schema 1) in its order. Files of earlier versions lack some of the keys that
    have a default here, some baselines, and the captured figures.

    Attributes:
        dataset: Name of the data set, such as "tvsum".
        part: Part of the split: "train", "validation", "test" or "all".
        split: Name of the split and its fold, such as "disjoint-folds-seed0#2"; None without a split.
        protocol: A name of `evaluation.protocols.by_name`, with "-single-reference" at its end where a curve stands for
            the annotators.
        scorer: What scored the videos: "checkpoint" for a network, else the scorer's name.
        level: Level at which the network read the videos.
        score_head: Head of the network that scored.
        checkpoint: Folder or Hub id of the network.
        selected_on: Part on which checkpoint and level were chosen; None where nothing was chosen.
        metrics: Means over videos of all METRICS, None where the data set or the protocol has no such figure.
            `captured` and `captured_keyshot` (`evaluation.importance`) come under every protocol, the others as the
            protocol says.
        selection: Mean `length` of the summaries as a share of the video, and `coverage`, the share of tenths of the
            video that they touch.
        baselines: Figures of each of `scoring.training_free.BASELINES`, None where the data does not allow it.
        against_ridge: For each metric the mean `difference` to the ridge baseline over videos, and `ci95`, its paired
            95 % bootstrap interval. None without that baseline.
        ci95: 95 % percentile bootstrap interval over videos of each metric measured, None for a single video.
        per_video: Metrics of each video by its id, with `constant_prediction` (true) where all its scores are equal.
        dropped: How many annotators, lengths, videos and predictions met a special rule.
        encoders: Ids of the `video` and `text` encoders behind the features, and `sample_fps`.
        encoder_mismatch: A sentence where the checkpoint was made for features of other encoders.
        data_fingerprint: A hash of everything that scores were compared with.
        seed: Of the random draws and the bootstrap.
        versions: Of Python and the packages that figures depend on, None where one is not installed.
        command: What to run to get the results again.
        spread: Of a cross-validation, the standard deviation of each metric over folds.
        folds: Of a cross-validation, the figures of each fold.
        labels: Of a training run, the `positive_rate` of its labels, and the `rule` (threshold, quantile, ...) as far
            as it is known.
        merged_from: Of a merged checkpoint, its `adapter` and `base`.
    """

    dataset: str
    part: str
    split: str | None
    protocol: str
    scorer: str
    level: str | None = None
    score_head: str | None = None
    checkpoint: str | None = None
    selected_on: str | None = None
    metrics: Figures
    selection: Figures | None = None
    baselines: dict[str, Baseline | None] = field(default_factory=dict)
    against_ridge: dict[str, Difference] | None = None
    ci95: dict[str, list[float] | None] = field(default_factory=dict)
    per_video: dict[str, Figures]
    dropped: dict[str, int] = field(default_factory=dict)
    encoders: dict[str, Any] | None = None
    encoder_mismatch: str | None = None
    data_fingerprint: str
    seed: int | None = None
    versions: dict[str, str | None] = field(default_factory=dict)
    command: str | None = None
    spread: Figures | None = None
    folds: list[FoldResult] | None = None
    labels: dict[str, Any] | None = None
    merged_from: dict[str, str] | None = None

    @classmethod
    def read(cls, path: str | Path) -> Results:
        """Read a `results.json` of schema 1.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: It is no JSON, or not the results of an evaluation; names the file and the key.
        """
        found = _read_object(Path(path))
        missing = [name for name in REQUIRED if name not in found]
        if missing:
            raise InputError(f"{path}: expected the results of an evaluation, missing {', '.join(missing)}.")
        known = {one.name: found[one.name] for one in fields(cls) if one.name in found}
        _check(known, path)
        if "baselines" in known:
            known["baselines"] = {name: one and _baseline(one) for name, one in known["baselines"].items()}
        if known.get("folds") is not None:
            known["folds"] = [FoldResult(**one) for one in known["folds"]]
        return cls(**known)

    @property
    def texts(self) -> str | None:
        """What stands for the descriptions of the videos, where it is none; `results.json` says it too."""
        return SCRIPTS if self.dataset in SCRIPTED else None

    def write(self, path: str | Path) -> None:
        """Write `results.json`, whole or not at all.

        Raises:
            OSError: No room, or no right to write there; names the path.
            ValueError: A figure is NaN or infinite.
        """
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `results.json` in plain JSON types.

        The keys of RARE are left out where they are not known, the others are null. `texts` comes with SCRIPTED alone.
        """
        content = {"schema": SCHEMA} | {one.name: getattr(self, one.name) for one in fields(self)}
        content["baselines"] = {name: one and one.to_dict() for name, one in self.baselines.items()}
        content["folds"] = self.folds and [asdict(one) for one in self.folds]
        content |= {"texts": self.texts} if self.texts else {}
        return {name: value for name, value in content.items() if value is not None or name not in RARE}


def versions() -> dict[str, str | None]:
    """Look up the versions of what figures depend on.

    These are Python and PACKAGES; one that is not installed has None.
    """
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def format_table(results: Sequence[Results]) -> str:
    """Format results of one data set and protocol as a table.

    It has a row for each scorer, then the baselines, then notes.

    Raises:
        InputError: The results come from different data sets, parts or protocols.
    """
    headings = {f"{r.dataset} {r.part}, {len(r.per_video)} videos, protocol {r.protocol}" for r in results}
    if len(headings) != 1:
        raise InputError(f"expected results of one data set, part and protocol, found {sorted(headings)}")
    shown = [name for name in METRICS if any(name in r.ci95 for r in results)]
    rows: list[tuple[str, ...]] = [("scorer", *(METRICS[name] for name in shown))]
    rows += [(_row_name(r), *(_cell(r.metrics.get(m), r.ci95.get(m)) for m in shown)) for r in results]
    for name, baseline in results[0].baselines.items():
        if baseline is not None and name not in {r.scorer for r in results}:
            rows.append((f"[{name}]", *(_cell(baseline.metrics.get(m), None) for m in shown)))
    for r in results:
        if r.against_ridge:
            rows.append((f"{_row_name(r)} - [ridge]", *(difference_cell(r.against_ridge.get(m)) for m in shown)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([headings.pop(), "", *lines, *_notes(results)])


def _notes(results: Sequence[Results]) -> list[str]:
    """List what a reader of the table must know."""
    notes = []
    if random := results[0].baselines.get("random"):
        known = (random.standard_error or {}).items()
        errors = [f"{METRICS[m]} {error:.4f}" for m, error in known if error is not None]
        notes += [f"random: mean of {random.draws} draws, standard error of {', '.join(errors)}"] if errors else []
    if (ridge := results[0].baselines.get("ridge")) and ridge.fit:
        fit = (words.format(value) for name, words in FIT.items() if (value := ridge.fit.get(name)))
        notes.append(f"ridge: {', '.join(fit)}")
    if any(r.against_ridge for r in results):
        notes.append("- [ridge]: mean difference over videos, with its paired 95 % bootstrap interval")
    for r in results:
        dropped = ", ".join(f"{reason.replace('_', ' ')} {count}" for reason, count in r.dropped.items() if count)
        notes += [f"{_row_name(r)}: {dropped}"] if dropped else []
        notes += [f"encoder mismatch: {r.encoder_mismatch}"] if r.encoder_mismatch else []
    notes += [f"descriptions: {results[0].texts}"] if results[0].texts else []
    return notes


def _row_name(results: Results) -> str:
    return " ".join(filter(None, [results.scorer, results.level and f"({results.level})"]))


def _cell(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")


def difference_cell(found: Difference | None) -> str:
    """Write a difference with its sign and interval, "-" for None."""
    if found is None:
        return "-"
    interval = " [{:+.4f}, {:+.4f}]".format(*found["ci95"]) if found["ci95"] else ""
    return f"{found['difference']:+.4f}{interval}"


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as JSON, whole or not at all.

    Raises:
        OSError: No room, or no right to write there; names the path.
        ValueError: It holds NaN or infinity.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object of schema 1."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected results of `hiersum evaluate --json`, found no such file.")
    found = read_json(path, finite=True)
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path}: expected results of schema {SCHEMA}, found schema {schema!r}.")
    return dict(found)


def _check(known: Mapping[str, Any], path: str | Path) -> None:
    """Refuse a value that no evaluation writes.

    The error names the key and, inside an object, the entry.
    """
    for key, value in known.items():
        if value is None and key in NULLABLE:
            continue
        if key not in ENTRIES:
            expected, holds = VALUES.get(key, ("a text", _is_text))
            _require(holds(value), f"{path}: {key}", expected, value)
            continue
        expected, holds = ENTRIES[key]
        _require(isinstance(value, dict), f"{path}: {key}", "a JSON object", value)
        for name, entry in value.items():
            _require(holds(entry), f"{path}: {key}, {name!r:.80}", expected, entry)


def _require(holds: bool, where: str, expected: str, found: Any) -> None:
    if not holds:
        raise InputError(f"{where}: expected {expected}, found {found!r:.80}.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= MAX_FIGURE


def _is_figure(value: Any) -> bool:
    return value is None or _is_number(value)


def _are_figures(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_figure, value.values()))


def _is_interval(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)))


def _is_baseline(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    return all(_are_figures(part) if name in OBJECTS else _is_figure(part) for name, part in value.items())


def _is_difference(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"difference", "ci95"}:
        return False
    return _is_number(value["difference"]) and _is_interval(value["ci95"])


def _are_folds(value: Any) -> bool:
    names = {one.name for one in fields(FoldResult)}
    return isinstance(value, list) and all(
        isinstance(fold, dict) and fold.keys() == names and _are_figures(fold["metrics"]) for fold in value
    )


def _are_labels(value: Any) -> bool:
    if not isinstance(value, dict) or not {"positive_rate", "rule"} <= value.keys():
        return False
    rule = value["rule"]
    return _is_figure(value["positive_rate"]) and isinstance(rule, dict) and all(map(_is_number, rule.values()))


def _baseline(found: Mapping[str, Any]) -> Baseline:
    about = {name: found[name] for name in ("draws", *OBJECTS) if name in found}
    return Baseline({name: value for name, value in found.items() if name not in about}, **about)


_FIGURE = ("a finite number or null", _is_figure)
_FIGURES = ("finite numbers or null by name", _are_figures)
ENTRIES: dict[str, tuple[str, Callable[[Any], bool]]] = {  # what each entry of an object is
    "metrics": _FIGURE,
    "selection": _FIGURE,
    "spread": _FIGURE,
    "per_video": _FIGURES,
    "baselines": ("finite numbers or null by name", _is_baseline),
    "against_ridge": ("difference and ci95", _is_difference),
    "ci95": ("two finite numbers or null", _is_interval),
    "dropped": ("a number", _is_number),
    "encoders": ("a text, a number or null", lambda value: _is_figure(value) or _is_text(value)),
    "versions": ("a text or null", lambda value: value is None or _is_text(value)),
    "merged_from": ("a text", _is_text),
}
VALUES: dict[str, tuple[str, Callable[[Any], bool]]] = {  # what each other value is that is no text
    "seed": ("a whole number", lambda value: isinstance(value, int)),
    "folds": ("a list of fold, level, videos and metrics", _are_folds),
    "labels": ("positive_rate and rule", _are_labels),
}
NULLABLE = {"split", *(one.name for one in fields(Results) if one.default is None)}
RARE = ("against_ridge", "spread", "folds", "labels", "merged_from")  # keys that not every evaluation writes
REQUIRED = (*SAME, "split", "scorer", "metrics", "per_video")
