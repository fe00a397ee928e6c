"""Replay curves: the three schemas mean the same, scores land on the right frames, bad curves are named."""

import json

import numpy as np
import pytest

from hiersum_hf.datasets.readers.replay import parse_views, read_curves, read_replays
from hiersum_hf.labels import ReplayCurve, ReplayLabels, is_balanced, positive_rate, threshold_labels, within_views


VALUES = [1, 0.5, 0.125, 0.25]  # four bins of 2.5 s
MARKERS = [
    {"startMillis": 2500 * i, "durationMillis": 2500, "intensityScoreNormalized": value}
    for i, value in enumerate(VALUES)
]
OLD = [
    {"timeRangeStartMillis": 2500 * i, "markerDurationMillis": 2500, "heatMarkerIntensityScoreNormalized": value}
    for i, value in enumerate(VALUES)
]
HEATMAP = [{"start_time": 2.5 * i, "end_time": 2.5 * (i + 1), "value": value} for i, value in enumerate(VALUES)]
SCHEMAS = {
    "macroMarkers": {"video_id": "a", "title": "T", "views": "1,234 views", "markers": MARKERS},
    "macroMarkers, numbers as text": {
        "video_id": "a", "title": "T", "views": "1234", "markers": [{k: str(v) for k, v in m.items()} for m in MARKERS],
    },
    "legacy": {"id": "a", "title": "T", "views": 1234, "heatMarkers": OLD},
    "legacy, nested": {
        "id": "a", "title": "T", "views": "1234 views", "heatMarkers": [{"heatMarkerRenderer": bin_} for bin_ in OLD],
    },
    "info.json": {"id": "a", "title": "T", "view_count": 1234, "heatmap": HEATMAP, "formats": []},
}  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("wrap", [lambda video: video, lambda video: [video], lambda video: {"videos": [video]}])
def test_three_schemas_one_curve(tmp_path, schema, wrap):
    path = tmp_path / "curves.json"
    path.write_text(json.dumps(wrap(SCHEMAS[schema])))
    ((video_id, curve),) = read_curves(path).items()
    assert (video_id, curve.video_id, curve.title, curve.views) == ("a", "a", "T", 1234)
    np.testing.assert_array_equal(curve.starts_s, [0, 2.5, 5, 7.5])
    np.testing.assert_array_equal(curve.ends_s, [2.5, 5, 7.5, 10])
    np.testing.assert_array_equal(curve.values, VALUES)


def test_frames_get_the_bin_in_which_they_are_shown():
    curve = read_curves([SCHEMAS["info.json"]])["a"]
    scores = curve.scores_at([0, 2.499, 2.5, 6, 9.999, 10, -1])
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, np.float32([1, 1, 0.5, 0.125, 0.25, np.nan, np.nan]))
    gap = ReplayCurve("g", np.array([0.0, 4]), np.array([2.0, 6]), np.array([0.1, 0.2]))
    np.testing.assert_array_equal(gap.scores_at([1, 3, 5]), np.float32([0.1, np.nan, 0.2]))
    assert gap.scores_at([]).shape == (0,)


def test_bins_in_any_order():
    curve = read_curves({"id": "a", "heatmap": HEATMAP[::-1]})["a"]
    np.testing.assert_array_equal(curve.values, VALUES)


def test_the_intro_peak_can_be_masked():
    curve = read_curves(SCHEMAS["legacy"])["a"].without_intro(2)
    scores = curve.scores_at([0, 3, 6, 9])
    np.testing.assert_array_equal(scores, np.float32([np.nan, np.nan, 0.125, 0.25]))
    assert threshold_labels(scores).tolist() == [-100, -100, 0, 1]
    assert np.isnan(curve.without_intro(99).values).all()
    with pytest.raises(ValueError, match="video a: expected a number of intro bins from 0, found -1"):
        curve.without_intro(-1)


def test_labels_by_threshold_and_by_quantile():
    scores = np.float32([0.15, 0.1499, np.nan, 1, 0])
    labels = threshold_labels(scores)
    assert labels.tolist() == [1, 0, -100, 1, 0]
    assert labels.dtype == np.int64
    assert threshold_labels(scores, 0.5).tolist() == [0, 0, -100, 1, 0]
    assert threshold_labels(np.arange(100) / 100, quantile=0.85).sum() == 15
    assert threshold_labels(scores, quantile=0.85).tolist() == [0, 0, -100, 1, 0]
    assert threshold_labels(np.full(3, np.nan), quantile=0.5).tolist() == [-100] * 3
    for wrong in ({"threshold": 1.5}, {"threshold": np.nan}, {"quantile": 1.0}):
        with pytest.raises(ValueError, match=r"expected a threshold in \[0, 1\] and a quantile in \(0, 1\), found"):
            threshold_labels(scores, **wrong)


def test_one_rule_for_all_readers_of_curves():
    """The same settings must give the same labels whichever reader has them."""
    curve = read_curves(SCHEMAS["legacy"])["a"]
    rule = ReplayLabels(intro_bins=1, min_views=1000, max_views=1234)
    scored = rule.score_frames(curve, np.array([0.0, 3, 6, 9]))
    np.testing.assert_array_equal(scored["frame_scores"], np.float32([np.nan, 0.5, 0.125, 0.25]))
    assert scored["frame_labels"].tolist() == [-100, 1, 0, 1]
    assert rule.rate(curve) == 2 / 3
    assert ReplayLabels(quantile=0.9).rate(curve) == 1 / 4
    assert ReplayLabels(intro_bins=4).rate(curve) is None
    assert [rule.takes(views) for views in (999, 1000, 1234, 1235, None)] == [False, True, True, False, False]
    assert ReplayLabels().takes(None)
    for wrong, message in [
        ({"threshold": 1.5}, r"expected a threshold in \[0, 1\] .* found 1.5 and None"),
        ({"quantile": 0.0}, r"a quantile in \(0, 1\), found 0.15 and 0.0"),
        ({"intro_bins": -1}, "expected a number of intro bins from 0, found -1"),
        ({"min_views": 5, "max_views": 4}, "expected min_views up to max_views, found 5 and 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            ReplayLabels(**wrong)


def test_labels_that_hardly_tell_frames_apart_are_known():
    assert positive_rate(np.array([1, 0, -100, 0, 0])) == 0.25
    assert positive_rate(np.array([-100])) is None
    assert [is_balanced(rate) for rate in (0.049, 0.05, 0.6, 0.61)] == [False, True, True, False]


def test_views_as_pages_show_them():
    shown = ["4,821,905 views", "1 view", "12 345", "987", 42, None]
    assert [parse_views(views, "x") for views in shown] == [4821905, 1, 12345, 987, 42, None]
    for wrong in ("4.8M views", "", "12,34 views", -3, 1.5, True, "No views"):
        with pytest.raises(ValueError, match=r"f\.json, a: expected a number of views such as"):
            parse_views(wrong, "f.json, a")


def test_view_filters_include_their_ends():
    views = [9_999, 10_000, 50_000, 50_001, None]
    assert [within_views(v, min_views=10_000, max_views=50_000) for v in views] == [False, True, True, False, False]
    assert [within_views(v, max_views=10_000) for v in views] == [True, True, False, False, False]
    assert all(within_views(v) for v in views)


def change(**values):
    return {"videos": [{"video_id": "ok", "markers": MARKERS}, {"video_id": "a", "markers": MARKERS} | values]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not JSON", "expected JSON, found none"),
        ('{"videos": [{"video_id": "a"', "expected JSON, found none"),
        ("3", r"expected a video, a list of videos or \{'videos': \[...\]\}, found 3"),
        (change(video_id=None), "video 2 of 2: expected video_id or id, found None among"),
        (change(heatmap=HEATMAP), "video 2 of 2, a: expected one of markers, heatMarkers, heatmap, found"),
        ({"id": "a", "formats": []}, r"a: expected one of markers, heatMarkers, heatmap, found \['formats', 'id'\]"),
        (change(video_id="ok"), "expected each video once, found ok twice"),
        (change(views="many"), "video 2 of 2, a: expected a number of views such as .*, found 'many'"),
        (change(title=5), "video 2 of 2, a: expected a title as text, found 5"),
        (change(markers=[]), r"video a: expected a list of bins, found \[\]"),
        (change(markers={}), "video a: expected a list of bins, found {}"),
        (change(markers=[MARKERS[0], {"x": 1}]), r"video a, bin 2: expected .* found \['x'\]"),
        (change(markers=[MARKERS[0], 7]), r"video a, bin 2: expected .* found \[\]"),
        (change(markers=[MARKERS[0] | {"startMillis": "soon"}]), "video a, bin 1: expected numbers for startMillis, "),
        (change(markers=[MARKERS[0] | {"startMillis": None}]), "video a, bin 1: expected numbers for startMillis, "),
        (change(markers=[MARKERS[0] | {"durationMillis": -5}]), "bin 1: expected 0 <= start < end .*-5"),
        (change(markers=[MARKERS[0] | {"startMillis": -5}]), "bin 1: expected 0 <= start < end"),
        (change(markers=[MARKERS[0] | {"intensityScoreNormalized": 1.01}]), r"a value in \[0, 1\], found .*1.01"),
        (change(markers=[MARKERS[0] | {"intensityScoreNormalized": np.nan}]), r"a value in \[0, 1\], found .*nan"),
        (change(markers=[MARKERS[0] | {"durationMillis": np.inf}]), "bin 1: expected 0 <= start < end"),
        (change(markers=[MARKERS[0], MARKERS[0]]), r"bins that do not overlap, found one that starts at 0.0 s within"),
    ],
)
def test_bad_curves_name_file_video_and_bin(tmp_path, content, message):
    path = tmp_path / "curves.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=r"curves\.json.*" + message):
        read_curves(path)


def test_no_file_and_no_curve(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json: expected a JSON file, found no such file"):
        read_curves(tmp_path / "none.json")
    assert read_curves([{"id": "a", "heatmap": None}]) == {}
    assert read_replays([{"id": "a", "heatmap": None}]) == {"a": None}


def test_real_curves(test_data):
    """At the paper's threshold 0.15, most of most real videos is important: why labels warn and offer a quantile."""
    curves = read_curves(test_data / "heatmaps" / "youtube_most_replayed.json")
    assert len(curves) == 19
    assert {len(curve.values) for curve in curves.values()} == {100}
    assert min(curve.views for curve in curves.values()) == 53_114
    assert sum(curve.values[0] == curve.values.max() for curve in curves.values()) == 8
    rates = {}
    for video_id, curve in curves.items():
        times_s = curve.ends_s[-1] * (np.arange(500) + 0.5) / 500  # five frames in each bin
        rates[video_id] = positive_rate(threshold_labels(curve.scores_at(times_s)))
        print(f"{video_id}  {rates[video_id]:4.0%} of the frames at 0.15, {curve.views:13,} views, {curve.title}")
        assert positive_rate(threshold_labels(curve.scores_at(times_s), quantile=0.85)) == pytest.approx(0.15, abs=0.02)
    assert [min(rates.values()), np.median(list(rates.values())), max(rates.values())] == [0.03, 0.84, 0.98]
    outside = sorted(video_id for video_id, rate in rates.items() if not is_balanced(rate))
    assert len(outside) == 13
    assert curves["dQw4w9WgXcQ"].views == 1_736_184_557
