"""The controlled benchmark: each dial does what it says and nothing else, and each regime is what its name says."""

import hashlib
from collections import defaultdict

import numpy as np
import pytest

from hiersum_hf.datasets.readers.replay import read_curves
from hiersum_hf.metrics import human_agreement, kendall_tau
from hiersum_hf.records import Encoders
from hiersum_hf.synthetic import features as synthetic
from hiersum_hf.synthetic.features import (
    IMPORTANT,
    REGIMES,
    SEGMENT_KINDS,
    World,
    benchmark_features,
    make_video,
    random_features,
    replay_curve,
    to_record,
)


# Every dial, with what it may change of a video.
DIALS = [
    ({"subtitle_shift_s": 2.5}, {"times"}),
    ({"subtitle_jitter_s": 2.0}, {"times"}),
    ({"subtitle_missing": 0.5}, {"times", "texts"}),
    ({"asr_error": 0.5}, {"texts"}),
    ({"description_extra": 3}, {"description"}),
    ({"description_missing": 0.5}, {"description"}),
    ({"description_wrong": 0.5}, {"description"}),
    ({"description_long": True}, {"description"}),
    ({"annotator_noise": 2.0}, {"ratings"}),
    ({"shared_taste": 1.0}, {"ratings"}),
]


def parts_of(video):
    return {
        "segments": video.segments,
        "times": [(s.start_s, s.end_s) for s in video.sentences],
        "texts": [s.text for s in video.sentences],
        "description": video.description,
        "ratings": video.ratings.tolist(),
    }


@pytest.mark.parametrize(("dial", "may_change"), DIALS)
def test_turning_one_dial_leaves_the_rest_of_a_video_as_it_was(dial, may_change):
    """A study that compares two worlds would else compare two sets of videos."""
    before, after = parts_of(make_video(4)), parts_of(make_video(4, world=World(**dial)))
    assert {part for part in before if before[part] != after[part]} == may_change


def test_the_default_world_is_the_demo_set():
    """The README's figures were measured on exactly these videos."""
    seen = hashlib.sha256()
    for index in (*range(21), 1040):
        seen.update(repr({k: str(v) for k, v in parts_of(make_video(index)).items()}).encode())
    assert seen.hexdigest() == "7849a7cfb63dcc06d8f29aa19adaaa4cd1903ed52c0a23d51a85b81d41f10eea"


def test_subtitles_come_late_and_what_is_past_the_end_is_cut_off():
    """A sentence outside the video would stop the training."""
    said, end_s = make_video(2).sentences, make_video(2).duration_s
    late = make_video(2, world=World(subtitle_shift_s=12.0)).sentences
    expected = [(s.text, s.start_s + 12, min(s.end_s + 12, end_s)) for s in said if s.start_s + 12 < end_s]
    assert [(s.text, s.start_s, s.end_s) for s in late] == expected
    assert 0 < len(late) < len(said)
    assert make_video(2, world=World(subtitle_shift_s=-1000.0)).sentences == ()


def test_more_noise_only_adds_to_what_less_of_it_did():
    """Curves over a dial are smooth only so."""
    few, many = ([make_video(i, world=World(asr_error=share)) for i in range(30)] for share in (0.1, 0.4))
    words, wrong = 0, np.zeros(2, int)
    for video, *noisy in zip((make_video(i) for i in range(30)), few, many, strict=True):
        for said, *heard in zip(*([s.text.split() for s in v.sentences] for v in (video, *noisy)), strict=True):
            is_wrong = np.array([[w != h for w, h in zip(said, line, strict=True)] for line in heard])
            assert not (is_wrong[0] & ~is_wrong[1]).any()
            words, wrong = words + len(said), wrong + is_wrong.sum(1)
    assert wrong / words == pytest.approx([0.1, 0.4], abs=0.03)
    for dial, read in (("subtitle_missing", "sentences"), ("description_missing", "description")):
        sizes = [
            [set(getattr(make_video(i, world=World(**{dial: x})), read)) for x in (0.0, 0.3, 0.6)] for i in range(30)
        ]
        assert all(a >= b >= c for a, b, c in sizes)
        steps = [np.mean([len(video[k]) for video in sizes]) - (read == "description") for k in range(3)]
        assert np.array(steps) / steps[0] == pytest.approx([1, 0.7, 0.4], abs=0.08)


def test_descriptions_lack_lines_list_wrong_ones_or_ramble_as_asked():
    plain = make_video(3).description
    steps = [line.rstrip(".").lower() for line in plain[1:]]
    assert make_video(3, world=World(description_missing=1.0)).description == plain[:1]
    wrong = make_video(3, world=World(description_wrong=1.0)).description
    assert len(set(wrong)) == len(plain)
    assert not set(wrong[1:]) & set(plain[1:])
    long = make_video(3, world=World(description_long=True, description_extra=11)).description
    assert all(step in line and len(line.split()) >= 18 for step, line in zip(steps, long[1:5], strict=True))
    assert len(long) == 1 + 4 + 11
    assert not any(action in line for line in long[5:] for action in synthetic.ACTIONS)


def cue(video, segment, levels):
    """What a reader of these levels sees of a segment; the picture is seen by all."""
    action = (*synthetic.ACTIONS, "", "")[segment.concept]
    told = segment.subtitle and (action and action in segment.subtitle)
    listed = action and any(action in line.lower() for line in video.description)
    return segment.concept, "child" in levels and told, "parent" in levels and listed


def ideal_tau(regime, levels):
    """Kendall tau against the annotators of the share of important segments among all that look the same elsewhere."""
    known = defaultdict(list)
    for video in (make_video(i, seed=1, world=REGIMES[regime]) for i in range(250)):
        for segment, important in zip(video.segments, video.importance, strict=True):
            known[cue(video, segment, levels)].append(important)
    taus = []
    for video in (make_video(i, world=REGIMES[regime]) for i in range(60)):
        guess = [round(np.mean(known[cue(video, segment, levels)]), 1) for segment in video.segments]
        taus.append(kendall_tau(np.array(guess), video.ratings)[0])
    return np.mean(taus)


@pytest.mark.parametrize(
    ("regime", "levels_that_tell"),
    [
        ("shared", {"child", "parent"}),
        ("local", {"child"}),
        ("global", {"parent"}),
        ("picture", {"child", "parent", "nothing"}),
    ],
)
def test_in_each_regime_its_levels_can_tell_and_the_others_cannot(regime, levels_that_tell):
    """A claim about the levels would else rest on a cue that nobody meant."""
    for level in ("child", "parent", "nothing"):
        tau = ideal_tau(regime, {level})
        assert tau == pytest.approx(0.36 if level in levels_that_tell else 0, abs=0.03), level
    assert ideal_tau(regime, {"child", "parent"}) == pytest.approx(0.36, abs=0.03)


def test_the_complementary_regime_needs_both_levels():
    levels = ({"nothing"}, {"child"}, {"parent"}, {"child", "parent"})
    assert [ideal_tau("complementary", level) for level in levels] == pytest.approx([0.06, 0.17, 0.27, 0.37], abs=0.03)
    assert [make_video(i, world=REGIMES["complementary"]).segments for i in range(9)] == [
        make_video(i).segments for i in range(9)
    ]


@pytest.mark.parametrize("regime", REGIMES)
def test_annotators_agree_with_each_other_and_with_their_mean_as_on_tvsum(regime):
    """TVSum: pairwise 0.177, mean of twenty 0.378. Figures of another scale would be compared with the field's."""
    videos = [make_video(i, world=REGIMES[regime]) for i in range(60)]
    rows = [np.repeat(v.ratings, [int(s.end_s - s.start_s) for s in v.segments], axis=1) for v in videos]
    assert np.mean([human_agreement(row)[0] for row in rows]) == pytest.approx(0.177, abs=0.015)
    assert np.mean([kendall_tau(row.mean(0), row)[0] for row in rows]) == pytest.approx(0.378, abs=0.015)


def test_every_action_is_shown_twice_outside_the_complementary_regime():
    """How often a picture comes back must not tell."""
    for regime in ("shared", "local", "global", "picture"):
        for i in range(5):
            segments = make_video(i, world=REGIMES[regime]).segments
            assert sorted(s.concept for s in segments) == sorted([*range(10), *range(10)])
            assert sum(s.kind in IMPORTANT for s in segments) == 4


def test_small_worlds_make_small_records():
    world = World(told=1, silent=1, decoy=2, aside=0, teaser=0, detour=1, filler=0, steps=3, segment_s=(2, 3))
    record = to_record(make_video(0, world=world), *random_features(6, 5))
    assert len(record.shots) == 5
    assert 10 <= len(record.video_features) <= 15
    assert len(record.description) == 4


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"asr_error": 1.5}, "asr_error: expected 0 to 1, found 1.5"),
        ({"told": -1}, "told: expected 0 to inf, found -1"),
        ({"shared_taste": float("nan")}, "shared_taste: .* found nan"),
        ({"segment_s": (5, 4)}, r"segment_s: .* found \(5, 4\)"),
        ({"steps": 8, "spectacles": 2}, r"steps \+ spectacles: expected fewer than the 10 actions, found 8 \+ 2"),
        ({"steps": 0}, "steps: expected at least 1"),
        (dict.fromkeys(SEGMENT_KINDS, 0), "expected a segment"),
    ],
)
def test_a_dial_that_cannot_be_is_named(dials, message):
    with pytest.raises(ValueError, match=message):
        World(**dials)


def step_sizes(values):
    return np.abs(np.diff(values, axis=1)).mean(1)


def test_replay_curves_look_like_real_ones(test_data):
    """Advice on thresholds and intro masking would else hold for made-up curves only."""
    real = read_curves(test_data / "heatmaps" / "youtube_most_replayed.json").values()
    values = np.stack([curve.values for curve in real])
    views = np.resize([curve.views for curve in real], 19 * 12)
    made = np.stack([replay_curve(make_video(i), int(count)).values for i, count in enumerate(views)])
    assert made.min(1) == pytest.approx(values.min(1)[0])
    for figure, tolerance in (
        (lambda curves: (curves.argmax(1) == 0).mean(), 0.15),
        (lambda curves: np.median((curves >= 0.15).mean(1)), 0.1),
        (lambda curves: np.median(curves.mean(1)), 0.1),
        (lambda curves: np.median(step_sizes(curves)), 0.015),
        (lambda curves: np.median(curves[:, 1] / curves[:, 0].clip(0.01)), 0.2),
    ):
        assert figure(made) == pytest.approx(figure(values), abs=tolerance)
    rates = (made >= 0.15).mean(1)
    assert np.quantile(rates, 0.1) < 0.5 < 0.95 < np.quantile(rates, 0.9)


def test_replay_curves_of_few_views_are_noise():
    """A filter by views has something to filter."""
    tau, videos = {}, [make_video(i) for i in range(40)]
    for views in (30, 1000, 10**8):
        curves = [replay_curve(video, views) for video in videos]
        assert all(c.values.min() == 0 and c.values.max() == 1 and len(c.values) == 100 for c in curves)
        middles = [[(s.start_s + s.end_s) / 2 for s in video.segments] for video in videos]
        scores = [c.scores_at(np.array(times_s)) for c, times_s in zip(curves, middles, strict=True)]
        tau[views] = np.mean([kendall_tau(x, v.ratings)[0] for x, v in zip(scores, videos, strict=True)])
    assert tau[30] + 0.05 < tau[1000] < tau[10**8] - 0.01
    again = replay_curve(make_video(39), 10**8)
    np.testing.assert_array_equal(again.values, curves[-1].values)
    assert again.ends_s[-1] == make_video(39).duration_s
    with pytest.raises(ValueError, match="video demo_0_0000: expected at least 1 view, found 0"):
        replay_curve(make_video(0), 0)


def test_benchmark_texts_are_encoded_once_each(monkeypatch):
    class Encoder:
        encoder_id, dim, asked = "letters", 3, ()

        def encode(self, texts):
            self.asked += tuple(texts)
            return np.array([[len(text), text.count("e"), 1] for text in texts], np.float32).reshape(-1, 3)

    encoder = Encoder()
    monkeypatch.setattr(synthetic, "load_text_encoder", lambda _: encoder)
    bank, embed, encoders = benchmark_features(7)
    noisy = World(asr_error=0.3)
    records = [to_record(make_video(i, world=noisy), bank, embed, encoders) for i in (0, 1, 0)]
    assert len(encoder.asked) == len(set(encoder.asked)) > 20
    np.testing.assert_array_equal(records[0].text_features, records[2].text_features)
    assert records[0].text_features[0, 0] == len(records[0].sentences[0].text)
    assert encoders == Encoders("random-projection", "letters", synthetic.SAMPLE_FPS)
    assert records[0].video_features.shape[1] == 7


def test_without_a_text_encoder_the_benchmark_says_so_and_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(synthetic, "load_text_encoder", lambda _: (_ for _ in ()).throw(ImportError("no")))
    assert benchmark_features()[2].text == "random-projection"
    assert "no text has a meaning" in caplog.text
