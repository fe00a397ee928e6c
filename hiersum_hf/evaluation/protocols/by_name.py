"""Find what a record is compared with under each protocol by name.

| name | what it is |
|---|---|
| hiersum-keyshot-v1 | the project's, for sets with annotators: `evaluation.evaluate_scores` describes it |
| a2summ-keyshot | F1 with capacity round(0.15 n_frames) and values int(1000 x mean) |
| dsnet-keyshot | F1 with values int(1000 x mean) |
| mrhisum-keyshot | F1 with 15 % of the last shot's end as capacity |
| mean-user | tau and rho against the mean of the annotators; human agreement is not defined |
| mean-f1 | F1 as the mean over annotators on SumMe too, where the others take the greatest |
| csta-summe | tau and rho of the 0/1 summary against the mean of the annotators' summaries: RANDOM gets .09 / .10 |
| hiersum-replay-v1 | Mr.HiSum and MoSu: F1 against the published summary, tau and rho against the curve, mAP50, mAP15 |
| mrhisum-replay | the same with mrhisum-keyshot's capacity |
| triplesumm-replay | mAP with positives rounded up and the last clip filled with zeros |
| sdmvsum-mrhisum | SM-MrHiSum: F1 against the published summary, last shot one longer; tau and rho against gtscores |
| sdmvsum-videoxum | SM-VideoXum: F1 of the best 15 % of the seconds, ties included, against one annotator |
| hiersum-bliss-v1 | BLiSS: best 15 % of frames and sentences against key frames and highlight |
| a2summ-bliss | as many frames and sentences as the reference has |
| hiersum-wikihow-v1 | WikiHow: a video's best half of segments (top50); tau and rho of segment scores |
| wikihow-p>=0.5, wikihow-top15 | segments of score 0.5 and more; the best 15 % |
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hiersum_hf.evaluation.importance import rated_frames
from hiersum_hf.evaluation.protocols.annotators import Reference
from hiersum_hf.evaluation.protocols.bliss import HighlightReference
from hiersum_hf.evaluation.protocols.replay import ReplayReference
from hiersum_hf.evaluation.protocols.sdmvsum import OneAnnotatorReference, ScriptedReference
from hiersum_hf.evaluation.protocols.wikihow import SegmentReference
from hiersum_hf.metrics import cut_to_common, key_shot_summary
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord
from hiersum_hf.summary.shots import fill_picks, kernel_temporal_segmentation


PROTOCOLS: dict[str, tuple[type[Reference], dict[str, Any]]] = {
    "hiersum-keyshot-v1": (Reference, {}),
    "a2summ-keyshot": (Reference, {"variant": "a2summ"}),
    "dsnet-keyshot": (Reference, {"variant": "dsnet"}),
    "mrhisum-keyshot": (Reference, {"variant": "mrhisum"}),
    "mean-user": (Reference, {"ranks": "mean-user"}),
    "mean-f1": (Reference, {"reduce": "mean"}),
    "csta-summe": (Reference, {"ranks": "csta"}),
    "hiersum-replay-v1": (ReplayReference, {}),
    "mrhisum-replay": (ReplayReference, {"variant": "mrhisum"}),
    "triplesumm-replay": (ReplayReference, {"rule": "triplesumm"}),
    "sdmvsum-mrhisum": (ScriptedReference, {"variant": "sdmvsum"}),
    "sdmvsum-videoxum": (OneAnnotatorReference, {}),
    "hiersum-bliss-v1": (HighlightReference, {"k_rule": "ratio"}),
    "a2summ-bliss": (HighlightReference, {"k_rule": "oracle"}),
    "hiersum-wikihow-v1": (SegmentReference, {"rule": "top50"}),
    "wikihow-p>=0.5": (SegmentReference, {"rule": "p>=0.5"}),
    "wikihow-top15": (SegmentReference, {"rule": "top15"}),
}
FAMILIES: dict[str, type[Reference]] = {
    "mrhisum": ReplayReference,
    "mosu": ReplayReference,
    "replay": ReplayReference,
    "smmrhisum": ScriptedReference,
    "smvideoxum": OneAnnotatorReference,
    "bliss": HighlightReference,
    "wikihow": SegmentReference,
}


def protocols_of(dataset: str) -> list[str]:
    """List the protocols for this data set, its default first."""
    family = FAMILIES.get(dataset, Reference)
    return [name for name, (kind, _) in PROTOCOLS.items() if kind is family]


def reference_of(record: VideoRecord, dataset: str, protocol: str | None = None) -> Reference:
    """Collect what the record's scores are compared with.

    Features are let go where the comparison needs none.

    Args:
        record: A video with annotators, scores or labels.
        dataset: Name of the data set. It chooses the protocol where `protocol` does not; "summe" takes the maximum over
            annotators, but under mean-f1.
        protocol: One of `protocols_of(dataset)`, the first by default.

    Raises:
        HierSumError: The data set has no such protocol, or annotations and sampled frames differ in number by more than
            two; the message names the video.
    """
    known = protocols_of(dataset)
    if protocol not in (None, *known):
        raise HierSumError(f"protocol of {dataset}: expected one of {', '.join(known)}; found {protocol!r}")
    kind, settings = PROTOCOLS[protocol or known[0]]
    picks = np.arange(len(record.frame_times_s)) if record.picks is None else np.asarray(record.picks)
    if not len(picks):
        raise HierSumError(f"video {record.video_id}: expected at least one sampled frame, found none")
    n_frames = record.n_frames or int(picks[-1]) + 1
    users = users_of(record)
    seen = np.arange(len(picks)) if users is None else np.flatnonzero(np.isfinite(users).all(axis=0))
    parts: dict[str, Any] = {"users": users, "seen": seen, "picks": picks, "n_frames": n_frames}
    if issubclass(kind, SegmentReference | HighlightReference):
        parts |= _label_parts(record, picks, n_frames)
        if kind is SegmentReference:
            settings = settings | {"starts": None if record.shots is None else record.shots[:, 0]}
    elif kind is OneAnnotatorReference:
        parts |= {"shots": None, "summaries": record.user_summaries}
    else:
        parts |= _key_shot_parts(record, users, picks, n_frames)
    light = record if kind is HighlightReference else _without_features(record)
    reduce = {"reduce": "max" if dataset == "summe" else "mean"}
    return kind(
        record=light,
        has_description=len(record.description_features) > 0,
        **parts,
        **(reduce | settings),
    )


def users_of(record: VideoRecord) -> np.ndarray | None:
    """Return the (U, N) annotators, else the curve, else the labels.

    A frame without label has NaN.
    """
    users, labels = rated_frames(record), record.frame_labels
    if users is not None or labels is None:
        return users
    users = np.where(labels == -100, np.nan, labels)[None].astype(np.float64)
    return cut_to_common(np.empty(len(record.frame_times_s)), users, record.video_id)[1]


def _label_parts(record: VideoRecord, picks: np.ndarray, n_frames: int) -> dict[str, Any]:
    labels = record.frame_labels
    if labels is None or not (labels != -100).any():
        return {"shots": None, "summaries": None}
    parts = {"shots": None, "summaries": fill_picks(labels == 1, picks, n_frames)[None]}
    return parts | {"seen": np.flatnonzero(labels != -100)}


def _key_shot_parts(record: VideoRecord, users: np.ndarray | None, picks: np.ndarray, n_frames: int) -> dict[str, Any]:
    """Take the record's shots and summaries, or make them.

    Shots are made of the features, summaries of the annotators' scores.
    """
    shots, summaries = record.shots, record.user_summaries
    if shots is None and record.video_features.shape[1]:
        starts = picks[kernel_temporal_segmentation(record.video_features)[:, 0]]
        starts[0] = 0
        shots = np.stack([starts, np.append(starts[1:], n_frames)], axis=1)
    if summaries is None and users is not None and shots is not None:
        filled = np.nan_to_num(users)
        summaries = np.stack([key_shot_summary(user, picks[: len(user)], n_frames, shots) for user in filled])
    return {"shots": shots, "summaries": summaries}


def _without_features(record: VideoRecord) -> VideoRecord:
    none = np.zeros((0, 0), np.float32)
    return replace(
        record,
        video_features=np.zeros((len(record.frame_times_s), 0), np.float32),
        text_features=none,
        description_features=none,
        reference_features=none,
    )
