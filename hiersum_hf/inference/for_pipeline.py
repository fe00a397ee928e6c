"""The road for the pipeline, which runs the network itself: `pipeline_hiersum.py` calls `InputReader` by these names.

A checkpoint's own copy of that file may be older than the package: what it calls keeps its names and arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hiersum_hf.inference.scorer import Scorer
from hiersum_hf.inference.source import Encoded, Source, open_source
from hiersum_hf.inference.summarize import ScoredVideo, ask
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.records import Summary, sentence_times_s
from hiersum_hf.scoring.topics import checked_queries
from hiersum_hf.summary.selection import IMPORTANCE, MIN_SEGMENT_S, Selection
from hiersum_hf.timeline import parse_budget, parse_spans


if TYPE_CHECKING:
    from hiersum_hf.modeling.modeling_hiersum import HierSumModel


class InputReader:
    """What opens videos for one checkpoint; its encoders are loaded when first needed, and stay.

    Args:
        network, extractor: Of the checkpoint.
        device: Of network and encoders.
    """

    def __init__(self, network: HierSumModel, extractor: HierSumFeatureExtractor, device: str):
        self.scorer = Scorer(extractor, [network], network.name_or_path or None, device=device)

    def open(self, given: Mapping[str, Any], budget: str | float = "0.15") -> VideoInputs:
        """Open one video, and refuse what cannot work before anything is decoded.

        Args:
            given: As `open_source` takes it, and how to choose: `query`, `selection`, `min_segment`, `keep`, `skip`.
            budget: As `ScoredVideo.summarize` takes it.

        Raises:
            FileNotFoundError: A file is missing.
            HierSumError: A wrong wish, or as `open_source`.
        """
        parse_budget(budget)
        queries, selection = checked_queries(given.get("query")), selection_of(given)
        return VideoInputs(open_source(self.scorer, given), budget, queries, selection)


class VideoInputs:
    """One opened video on its way through the pipeline."""

    def __init__(self, source: Source, budget: str | float, queries: tuple[str, ...], selection: Selection):
        self.source, self.budget, self.queries, self.selection = source, budget, queries, selection
        self.video_id, self.has_description = source.video_id, source.has_description
        self.encoded: Encoded | None = None

    def encode(self) -> dict[str, np.ndarray]:
        """Compute the features, as `HierSumFeatureExtractor` takes them. Raises what `Source.encode` raises."""
        self.encoded = self.source.encode()
        record = self.encoded.record
        texts = {name: getattr(record, name) for name in ("text_features", "description_features")}
        times_s = sentence_times_s(record.sentences)
        found = {"video_features": record.video_features, "frame_times_s": record.frame_times_s}
        return found | {name: rows for name, rows in texts.items() if len(rows)} | {"text_times_s": times_s}

    def summarize(
        self, features: Mapping[str, np.ndarray], result: Mapping[str, np.ndarray], level: str, notes: Sequence[str]
    ) -> Summary:
        """Choose a summary by the network's `scores` (N,) and `sentence_scores` (M,) or (0,)."""
        encoded = self.encoded or self.source.encode()
        scored = ScoredVideo(
            encoded.record,
            result["scores"],
            result["sentence_scores"] if len(result["sentence_scores"]) else None,
            self.source.sentences,
            self.source.scorer,
            level,
            (*encoded.notes, *notes),
            glances=encoded.glances,
            heard=encoded.heard,
        )
        return ask(scored, self.queries).summarize(self.budget, self.selection)


def selection_of(given: Mapping[str, Any]) -> Selection:
    """Return how to choose, by `selection`, `min_segment`, `keep` and `skip` of what was given."""
    return Selection(
        rule=given.get("selection", IMPORTANCE),
        min_segment_s=float(given.get("min_segment", MIN_SEGMENT_S)),
        keep=parse_spans(given.get("keep"), "keep"),
        skip=parse_spans(given.get("skip"), "skip"),
    )
