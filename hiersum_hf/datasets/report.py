"""Report what `hiersum prepare` found in a data set.

The report comes as JSON, as lines to read and as the card of the prepared folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from hiersum_hf.files.escape import in_card, printable
from hiersum_hf.labels import POSITIVE_RATES
from hiersum_hf.records import VideoRecord, by_suffix
from hiersum_hf.results import SCRIPTED, SCRIPTS


LISTED_VIDEOS = 50  # rates of larger sets are summed up
MISSING: dict[str, Callable[[VideoRecord], bool]] = {
    "features": lambda r: len(r.video_features) == 0,
    "subtitles": lambda r: len(r.sentences) == 0,
    "description": lambda r: len(r.description) == 0,
    "scores": lambda r: r.frame_scores is None,
    "labels": lambda r: r.frame_labels is None,
    "annotators": lambda r: r.user_scores is None,
    "shots": lambda r: r.shots is None,
    "views": lambda r: r.views is None,
    "encoders": lambda r: not (r.encoders and r.encoders.video) and r.video_features.size > 0,
}
ENCODERS = {"video": "video encoder", "normalization": "normalization", "text": "text encoder"}
CARD = """---
pretty_name: {pretty_name}
tags:
- video-summarization
- hiersum
configs:
- config_name: default
  data_files:
  - split: videos
    path: data-*.parquet
---

# {name}

Videos as features, texts and labels, one row a video, made with `hiersum prepare` (hiersum-hf {version}). The columns
are explained in `hiersum_hf/datasets/schema.py`; `dataset_info.json` has the parts of the split that the source ships
with, `report.json` all that was found. The terms are those of the source.

```python
from datasets import load_dataset
from hiersum_hf.datasets.schema import RecordDataset

records = RecordDataset(load_dataset(".", split="videos"))  # this folder, or "org/name" on the Hub
```

| | |
|---|---|
{rows}
"""


def facts(record: VideoRecord) -> dict[str, Any]:
    """Collect what the report needs to know of a video."""
    labels = record.frame_labels
    known = labels[labels != -100] if labels is not None else np.zeros(0)
    return {
        "hours": record.duration_s / 3600,
        "missing": [name for name, lacks in MISSING.items() if lacks(record)],
        "labelled": len(known),
        "positive": int((known == 1).sum()),
        "group": record.group,
        "sample_fps": record.encoders.sample_fps if record.encoders else None,
    }


def make_report(parts: Iterable[Mapping[str, Any]], encoders: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """Make the report of a set.

    Args:
        parts: For each file `videos` (id -> `facts`), `skipped` and `mismatches` (id -> why).
        encoders: Ids behind the features: `video`, `normalization`, `text`, as far as known.
        more: What else it says.
    """
    videos, skipped, mismatches = (
        {name: value for part in parts for name, value in part[kind].items()}
        for kind in ("videos", "skipped", "mismatches")
    )
    labelled = {name: found for name, found in videos.items() if found["labelled"]}
    rates = {name: found["positive"] / found["labelled"] for name, found in labelled.items()}
    # The rate of the set is over all labelled frames, so long videos count more; rates of videos stand beside it.
    frames = sum(found["labelled"] for found in labelled.values())
    groups: dict[str, list[str]] = {}
    for name, found in videos.items():
        if found["group"] is not None:
            groups.setdefault(found["group"], []).append(name)
    missing = {kind: sum(kind in found["missing"] for found in videos.values()) for kind in MISSING}
    sample_fps = [found["sample_fps"] for found in videos.values() if found["sample_fps"] is not None]
    return {
        "videos": len(videos),
        "hours": sum(found["hours"] for found in videos.values()),
        "encoders": {**encoders, "sample_fps": [min(sample_fps), max(sample_fps)] if sample_fps else None},
        "encoder_mismatch": {"count": len(mismatches), "first": list(mismatches.values())[:5]},
        "missing": {kind: count for kind, count in missing.items() if count},
        "positive_rate": sum(found["positive"] for found in labelled.values()) / frames if frames else None,
        "positive_rates": rates,
        "duplicates": {group: names for group, names in groups.items() if len(names) > 1},
        "skipped": skipped,
        **more,
    }


def format_report(report: Mapping[str, Any]) -> str:
    """Format the report as lines to read."""
    lines = [f"{name:<14} {value}" for name, value in _rows(report)]
    rates = report["positive_rates"]
    if len(rates) <= LISTED_VIDEOS:
        lines += [f"  {name:<12} {rate:>6.1%}{_warning([rate])}" for name, rate in rates.items()]
    lines += _findings(report["findings"])
    lines += [f"mixed encoders {text}" for text in report["encoder_mismatch"]["first"]]
    skipped = [f"skipped        {name}: {error}" for name, error in report["skipped"].items()]
    lines += skipped[:LISTED_VIDEOS]
    if len(skipped) > LISTED_VIDEOS:
        lines.append(f"skipped        {len(skipped) - LISTED_VIDEOS} more, named in report.json")
    return "\n".join(map(printable, lines))


def format_listing(listing: Mapping[str, Any]) -> str:
    """Format what `hiersum prepare` found without an output.

    The listing has `videos`, `splits` and `findings`.
    """
    counts = {"videos": listing["videos"], **listing["splits"]}
    lines = [f"{name:<14} {count:,}" for name, count in counts.items()] + _findings(listing["findings"])
    return "\n".join(map(printable, lines))


def _findings(findings: Mapping[str, Sequence[str]]) -> list[str]:
    told = {
        kind: by_suffix(items) if kind == "passed_over" else ", ".join(items[:5]) for kind, items in findings.items()
    }
    return [f"{kind:<14} {len(items):,}: {told[kind]}" for kind, items in findings.items() if items]


def dataset_card(report: Mapping[str, Any], name: str) -> str:
    """Write the card, README.md, of a prepared folder.

    It says what the folder holds, and for `datasets` where the rows are. It names no files.
    """
    counts = {**report["findings"], "skipped": report["skipped"]}
    rows = [*_rows(report), *((kind, f"{len(items):,}") for kind, items in counts.items() if items)]
    table = "\n".join(f"| {kind} | {in_card(value)} |" for kind, value in rows)
    return CARD.format(
        name=in_card(name),
        pretty_name=json.dumps(printable(name), ensure_ascii=False),
        version=version("hiersum-hf"),
        rows=table,
    )


def _rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say in words what the report counts."""
    encoders, rate = report["encoders"], report["positive_rate"]
    rows = [("videos", f"{report['videos']:,}"), ("hours", f"{report['hours']:,.2f}")]
    rows += [(name, encoders[kind]) for kind, name in ENCODERS.items() if kind in encoders]
    if report.get("dataset") in SCRIPTED:
        rows.append(("descriptions", SCRIPTS))
    if encoders["sample_fps"]:
        low, high = (f"{fps:.4g}" for fps in encoders["sample_fps"])
        rows.append(("frame rate", f"{low} a second" if low == high else f"{low} to {high} a second"))
    if report["encoder_mismatch"]["count"]:
        rows.append(("mixed encoders", f"{report['encoder_mismatch']['count']:,} videos have others than the first"))
    rows += [(f"no {kind}", f"{count:,}") for kind, count in report["missing"].items()]
    rows.append(("positive rate", "no labels" if rate is None else f"{rate:.1%} of the labelled frames"))
    if rate is not None:
        rates = list(report["positive_rates"].values())
        low, middle, high = (f"{level:.1%}" for level in np.quantile(rates, [0, 0.5, 1]))
        rows.append(("of each video", f"{low} to {high}, median {middle}{_warning(rates)}"))
    return [*rows, ("same video", f"{len(report['duplicates']):,} groups")]


def _warning(rates: Sequence[float]) -> str:
    low, high = POSITIVE_RATES
    unusual = sum(not low <= rate <= high for rate in rates)
    which = f"{unusual:,} of {len(rates):,} videos " if len(rates) > 1 else ""
    return f"; warning: {which}outside {low:.0%} to {high:.0%}" if unusual else ""
