"""Look for the known ways in which summarizers fail.

These are position bias, redundancy, features of a wrong encoder, and scores without an opinion. The signs are those
that the paper discusses; the tests and their margins are not given in the paper.

Letters: N sampled frames, S shots, U annotators, V videos, n_frames original frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from hiersum_hf.evaluation.comparison import compare
from hiersum_hf.evaluation.protocols.annotators import Reference
from hiersum_hf.evaluation.protocols.by_name import reference_of
from hiersum_hf.metrics import cut_to_common, is_constant
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import VideoRecord
from hiersum_hf.results import SINGLE_REFERENCE, Results


TENTHS = ("first", "last")
NO_SELECTION = "not possible: fewer than two videos with shots and annotators"
SHARE_MARGIN = 0.05
RECALL_MARGIN = 0.1
RANDOM_SELECTIONS = 20
UNKNOWN = float("nan")
SHARE_MEANS = "scores that follow the position in the video instead of its content take too much or too little here"
RECALL_MEANS = "what matters in this stretch is missed more often than elsewhere"
REDUNDANCY_MEANS = "the summary shows the same thing again and again"
MISMATCH_MEANS = "features of another encoder mean something else, even where their width fits"
CONSTANT_MEANS = "a video whose frames all score the same is not ranked at all"
F1_MEANS = "F1 follows the lengths of the shots, tau the scores: trust tau, and look at pictures"


@dataclass(frozen=True)
class Check:
    """One sign of failure.

    Attributes:
        name: What was looked at.
        value: What was found, or "not possible: ..." with the reason.
        expected: The range that would be well, in words.
        ok: Whether the value is in it; None where the check was not possible.
        meaning: What it means if it is not.
    """

    name: str
    value: float | str
    expected: str
    ok: bool | None
    meaning: str


def diagnose(
    records: Sequence[VideoRecord],
    scores: Mapping[str, np.ndarray],
    results: Results,
    second: Results | None = None,
) -> list[Check]:
    """Check scores for the known ways to fail.

    What is selected follows the protocol of the results. A share of selected time should lie within 0.05 of the
    annotators'. A recall should be at most 0.1 below that of the whole video. Each margin is at least two standard
    errors over the videos. Selected frames should be no more alike (mean pairwise cosine) than those of 20 selections
    by random scores, one for each shot, plus two of their standard deviations.

    Args:
        records: The videos that were scored.
        scores: (N,) importance for each video id.
        results: Their results.
        second: Other results on the same videos; adds whether F1 and tau moved in opposite directions from them.

    Raises:
        HierSumError: A video's scores are missing or of another length (it is named), or `compare` refuses `second`.
    """
    videos = [_facts(record, scores_of(record, scores), results) for record in records]
    facts = {name: np.array([video[name] for video in videos]) for name in videos[0]}
    checks = [_share(facts, tenth) for tenth in TENTHS] + [_recall(facts, tenth) for tenth in TENTHS]
    checks += [_redundancy(facts), _mismatch(results), _constant(facts)]
    return checks if second is None else [*checks, _f1_against_tau(results, second)]


def reference_for(record: VideoRecord, results: Results) -> Reference:
    """Find what the record was compared with in these results."""
    return reference_of(record, results.dataset, results.protocol.removesuffix(SINGLE_REFERENCE))


def scores_of(record: VideoRecord, scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Look up the (N,) scores of the record's video.

    Raises:
        HierSumError: They are missing or of another length.
    """
    name, n = record.video_id, len(record.frame_times_s)
    if name not in scores:
        raise HierSumError(f"video {name}: expected {n} scores, found none")
    if len(scores[name]) != n:
        raise HierSumError(f"video {name}: expected {n} scores, found {len(scores[name])}")
    return np.asarray(scores[name], np.float64)


def _facts(record: VideoRecord, scores: np.ndarray, results: Results) -> dict[str, float]:
    """Measure what the checks need of one video.

    What is not known is NaN.
    """
    reference = reference_for(record, results)
    names = [f"{tenth} {what}" for tenth in TENTHS for what in ("share", "reference share", "recall", "whole recall")]
    facts = dict.fromkeys([*names, "cosine", "random cosine", "random deviation"], UNKNOWN)
    facts |= {"constant": float(is_constant(scores)), "features": float(record.video_features.shape[1] > 0)}
    chosen = reference.selection(scores)
    if chosen is not None and facts["features"]:
        facts |= _alikeness(record, reference, chosen)
    if chosen is not None and reference.summaries is not None:
        facts |= _shares(*cut_to_common(chosen, np.asarray(reference.summaries, bool), record.video_id))
    wanted = _agreed(reference)
    if chosen is not None and wanted is not None:
        facts |= _recalls(*cut_to_common(chosen, wanted, record.video_id))
    return facts


def _tenths(n: int) -> dict[str, slice]:
    return dict(zip(TENTHS, (slice(0, n // 10), slice(n - n // 10, n)), strict=True))


def _shares(chosen: np.ndarray, users: np.ndarray) -> dict[str, float]:
    """Measure the shares of selected time in the first and last tenth.

    Args:
        chosen: (n_frames,) bool.
        users: (U, n_frames) bool.
    """
    facts = {}
    for tenth, part in _tenths(len(chosen)).items():
        facts[f"{tenth} share"] = _ratio(chosen[part].sum(), chosen.sum())
        shares = [_ratio(user[part].sum(), user.sum()) for user in users if user.any()]
        facts[f"{tenth} reference share"] = float(np.mean(shares)) if shares else UNKNOWN
    return facts


def _agreed(reference: Reference) -> np.ndarray | None:
    """Find the (n_frames,) bool summary that annotators agree on.

    It is the only summary, or what the annotators' mean scores select; None without either.
    """
    if reference.summaries is not None and len(reference.summaries) == 1:
        return np.asarray(reference.summaries[0], bool)
    if reference.users is None:
        return None
    mean = np.nan_to_num(reference.users.mean(axis=0))
    return reference.selection(np.pad(mean, (0, len(reference.picks) - len(mean)), mode="edge"))


def _recalls(chosen: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Measure how much of `wanted`, (1, n_frames) bool, was chosen.

    The facts are for the first tenth, the last tenth and the whole video.
    """
    facts, hits = {}, wanted & chosen
    for tenth, part in _tenths(len(chosen)).items():
        facts[f"{tenth} recall"] = _ratio(hits[:, part].sum(), wanted[:, part].sum())
        facts[f"{tenth} whole recall"] = _ratio(hits.sum(), wanted.sum())
    return facts


def _alikeness(record: VideoRecord, reference: Reference, chosen: np.ndarray) -> dict[str, float]:
    """Measure the mean cosine between selected frames, and for random selections."""
    norms = np.linalg.norm(record.video_features, axis=1, keepdims=True)
    rows = record.video_features / np.maximum(norms, 1e-12)
    at = np.minimum(reference.picks, len(chosen) - 1)
    rng = np.random.default_rng(crc32(record.video_id.encode()))
    drawn = [reference.selection(_random_scores(reference, rng)) for _ in range(RANDOM_SELECTIONS)]
    cosines = [_mean_cosine(rows[selection[at]]) for selection in drawn if selection is not None]
    known = [cosine for cosine in cosines if not np.isnan(cosine)]
    return {
        "cosine": _mean_cosine(rows[chosen[at]]),
        "random cosine": float(np.mean(known)) if known else UNKNOWN,
        "random deviation": float(np.std(known)) if known else UNKNOWN,
    }


def _random_scores(reference: Reference, rng: np.random.Generator) -> np.ndarray:
    """Draw (N,) random scores, one for each shot.

    A network's scores hardly change within a shot, so its selection is compared with such draws. Without shots each
    frame has a score of its own.
    """
    if reference.shots is None:
        return rng.random(len(reference.picks))
    shot = np.searchsorted(reference.shots[:, 0], reference.picks, side="right") - 1
    return rng.random(len(reference.shots))[np.maximum(shot, 0)]


def _mean_cosine(rows: np.ndarray) -> float:
    """Average the cosine over all pairs of (k, D) unit rows.

    It is NaN for fewer than two rows.
    """
    k = len(rows)
    if k < 2:
        return UNKNOWN
    # |sum x_i|^2 = sum |x_i|^2 + the sum of x_i x_j over the k (k - 1) ordered pairs
    return float((np.square(rows.sum(axis=0, dtype=np.float64)).sum() - np.square(rows).sum()) / (k * (k - 1)))


def _share(facts: dict[str, np.ndarray], tenth: str) -> Check:
    name = f"share of selected time in the {tenth} tenth"
    pair = _known(facts[f"{tenth} share"], facts[f"{tenth} reference share"])
    if pair is None:
        return Check(name, NO_SELECTION, "near the annotators'", None, SHARE_MEANS)
    ours, theirs, slack = *pair, _slack(*pair, SHARE_MARGIN)
    low, high = max(0.0, theirs.mean() - slack), min(1.0, theirs.mean() + slack)
    expected = f"{low:.3f} to {high:.3f} (annotators {theirs.mean():.3f})"
    return Check(name, float(ours.mean()), expected, bool(low <= ours.mean() <= high), SHARE_MEANS)


def _recall(facts: dict[str, np.ndarray], tenth: str) -> Check:
    name = f"recall of what annotators agree on in the {tenth} tenth"
    pair = _known(facts[f"{tenth} recall"], facts[f"{tenth} whole recall"])
    if pair is None:
        return Check(name, NO_SELECTION, "near the whole video's", None, RECALL_MEANS)
    ours, whole = (float(values.mean()) for values in pair)
    low = whole - _slack(*pair, RECALL_MARGIN)
    expected = f"at least {max(low, 0):.3f} (whole video {whole:.3f})"
    if low <= 0:
        reason = f"not possible: {ours:.3f} on {len(pair[0])} videos could be chance"
        return Check(name, reason, expected, None, RECALL_MEANS)
    return Check(name, ours, expected, ours >= low, RECALL_MEANS)


def _redundancy(facts: dict[str, np.ndarray]) -> Check:
    name = "mean cosine between selected frames"
    known = ~np.isnan(facts["cosine"]) & ~np.isnan(facts["random cosine"])
    if not known.any():
        reason = "no two frames are selected" if facts["features"].any() else "no features"
        return Check(name, f"not possible: {reason}", "near that of random selections", None, REDUNDANCY_MEANS)
    ours, drawn, deviation = (facts[key][known].mean() for key in ("cosine", "random cosine", "random deviation"))
    high = drawn + 2 * deviation
    ok = bool(ours <= high + 1e-6)  # float error, where every selection is of one thing
    return Check(name, float(ours), f"at most {high:.3f} (random {drawn:.3f})", ok, REDUNDANCY_MEANS)


def _mismatch(results: Results) -> Check:
    found = results.encoder_mismatch
    return Check("encoders of data and checkpoint", found or "no mismatch", "no mismatch", not found, MISMATCH_MEANS)


def _constant(facts: dict[str, np.ndarray]) -> Check:
    share = float(facts["constant"].mean())
    return Check("share of videos with constant scores", share, "0", share == 0, CONSTANT_MEANS)


def _f1_against_tau(results: Results, second: Results) -> Check:
    """Check that F1 and tau did not move in opposite directions.

    It is not well if the differences have different signs and at least one interval is clear of 0.
    """
    name, expected = "change of F1 and tau from the second result", "both up or both down, or neither clearly"
    metrics = compare(results, second)["metrics"]
    if not {"f1", "kendall_tau"} <= set(metrics):
        return Check(name, "not possible: both results need F1 and tau", expected, None, F1_MEANS)
    f1, tau = metrics["f1"], metrics["kendall_tau"]
    clear = any(figures["ci95"] and figures["ci95"][0] * figures["ci95"][1] > 0 for figures in (f1, tau))
    opposite = f1["difference"] * tau["difference"] < 0
    return Check(
        name, f"F1 {f1['difference']:+.4f}, tau {tau['difference']:+.4f}", expected, not (opposite and clear), F1_MEANS
    )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else UNKNOWN


def _known(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Drop the videos that lack either of two (V,) facts.

    Returns:
        Both facts of the other videos; None if these are fewer than two.
    """
    known = ~np.isnan(ours) & ~np.isnan(theirs)
    return (ours[known], theirs[known]) if known.sum() > 1 else None


def _slack(ours: np.ndarray, theirs: np.ndarray, margin: float) -> float:
    """Widen the margin to two standard errors of the paired difference.

    A margin that is wider already stays.
    """
    # 2 s / sqrt(V), s the sample standard deviation of the V differences; not given in the paper.
    return max(margin, float(2 * (ours - theirs).std(ddof=1) / len(ours) ** 0.5))


def format_diagnosis(checks: Sequence[Check]) -> str:
    """Format one line a check.

    Below a check that is not well stands what it means.
    """
    marks = {True: "ok ", False: "BAD", None: "?  "}
    lines = []
    for check in checks:
        value = check.value if isinstance(check.value, str) else f"{check.value:.3f}"
        lines.append(f"{marks[check.ok]} {check.name}: {value}; expected {check.expected}")
        if check.ok is False:
            lines.append(f"      {check.meaning}")
    return "\n".join(lines)
