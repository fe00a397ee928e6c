"""The demo set: the same from the same seed, calibrated on TVSum, and unsolvable from one level alone."""

import numpy as np
import pytest

from hiersum_hf.datasets.parts import DataArguments, load_parts
from hiersum_hf.datasets.splits import disjoint_folds, with_validation
from hiersum_hf.evaluation.evaluate import mean_metrics
from hiersum_hf.metrics import human_agreement
from hiersum_hf.records import Encoders
from hiersum_hf.scoring.training_free import score_frames
from hiersum_hf.synthetic import features as synthetic
from hiersum_hf.synthetic.demo import demo_parts
from hiersum_hf.synthetic.features import IMPORTANT, SEGMENT_KINDS, make_video, random_features, render, to_record
from hiersum_hf.texts.subtitles import read_subtitles, write_srt
from hiersum_hf.video.reader import iter_frames, probe


def kinds_score(count, kinds):
    """Scores of someone who takes exactly these kinds of segments for important."""
    scores = {}
    for i in range(count):
        video = make_video(i)
        counts = [round((s.end_s - s.start_s) * synthetic.SAMPLE_FPS) for s in video.segments]
        scores[video.video_id] = np.repeat([float(s.kind in kinds) for s in video.segments], counts)
    return scores


def test_a_video_follows_from_its_seed_alone():
    bank, embed, encoders = random_features()
    first, second = (to_record(make_video(5, seed=1), bank, embed, encoders) for _ in range(2))
    np.testing.assert_array_equal(first.video_features, second.video_features)
    np.testing.assert_array_equal(first.user_scores, second.user_scores)
    assert make_video(5, seed=2).segments != make_video(5, seed=1).segments


def test_every_video_has_its_kinds_and_a_description_of_its_steps():
    for i in range(20):
        video = make_video(i)
        kinds = [segment.kind for segment in video.segments]
        assert {kind: kinds.count(kind) for kind in SEGMENT_KINDS} == SEGMENT_KINDS
        listed = {text.rstrip(".").lower() for text in video.description[1:]}
        for segment in video.segments:
            action = (*synthetic.ACTIONS, "", "")[segment.concept]
            assert (action in listed) == (segment.kind in (*IMPORTANT, "teaser"))
            told = segment.subtitle is not None and action in segment.subtitle and action != ""
            assert told == (segment.kind in ("told", "decoy"))


def test_annotators_agree_as_little_as_on_tvsum(demo_records):
    """TVSum: pairwise tau 0.177."""
    agreement = np.mean([human_agreement(record.user_scores)[0] for record in demo_records])
    assert agreement == pytest.approx(0.177, abs=0.015)


def test_neither_level_alone_can_know(demo_records):
    """Best guess from the subtitle alone < from the description alone < from both; the last is the truth."""
    by_subtitle = ("told", "silent", "decoy", "aside")  # anything but chatter
    by_description = ("told", "silent", "teaser")
    tau = {
        kinds: mean_metrics(demo_records, kinds_score(len(demo_records), kinds))["kendall_tau"]
        for kinds in (by_subtitle, by_description, IMPORTANT)
    }
    assert 0.05 < tau[by_subtitle] < tau[by_description] - 0.05 < tau[IMPORTANT] - 0.1
    free = {record.video_id: score_frames(record, "training-free") for record in demo_records}
    assert mean_metrics(demo_records, free)["kendall_tau"] < tau[by_description]


def test_labels_are_key_shots_of_the_mean_rating(demo_records):
    for record in demo_records[:10]:
        assert record.frame_labels.mean() <= 0.15
        best = record.user_scores.mean(0)
        assert best[record.frame_labels == 1].mean() > best[record.frame_labels == 0].mean()


@pytest.mark.slow
def test_rendered_video_is_the_latent_one(tmp_path):
    """What the demo summarizes must be what the network was trained on."""
    video = make_video(3)
    render(video, tmp_path / "v.mp4")
    assert probe(tmp_path / "v.mp4").duration_s == pytest.approx(video.duration_s, abs=0.1)
    frames = list(iter_frames(tmp_path / "v.mp4", synthetic.SAMPLE_FPS))
    assert len(frames) == len(to_record(video, *random_features()).frame_times_s)
    time_s, image = frames[len(frames) // 2]
    segment = next(s for s in video.segments if s.start_s <= time_s < s.end_s)
    phase = (time_s - segment.start_s) / (segment.end_s - segment.start_s)
    drawn = synthetic.draw_frame(segment.concept, segment.variant, phase)
    assert np.abs(drawn.astype(int) - image).mean() < 8
    write_srt(video.sentences, tmp_path / "v.srt")
    assert [s.text for s in read_subtitles(tmp_path / "v.srt")] == [s.text for s in video.sentences]


def test_without_the_offline_encoders_the_demo_says_so_and_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(
        "hiersum_hf.synthetic.demo.load_video_encoder", lambda _: (_ for _ in ()).throw(ImportError("no"))
    )
    parts = demo_parts({"train": 3, "test": 2})
    assert parts["train"][0].encoders == Encoders("random-projection", "random-projection", synthetic.SAMPLE_FPS)
    assert "cannot read real videos" in caplog.text
    assert not {r.video_id for r in parts["train"]} & {r.video_id for r in parts["test"]}


def test_tvsum_format_file_becomes_disjoint_parts(tmp_path, demo_records):
    from hiersum_hf.datasets.readers.tvsum import write_tvsum

    write_tvsum(demo_records[:10], tmp_path / "set.h5")
    parts = load_parts(DataArguments(data=str(tmp_path / "set.h5")))
    names = [record.video_id for part in parts.values() for record in part]
    assert sorted(names) == sorted(set(names))
    assert {part: len(records) for part, records in parts.items()} == {"train": 6, "validation": 2, "test": 2}
    with pytest.raises(ValueError, match="expected fold 0 to 4, found 5"):
        load_parts(DataArguments(data=str(tmp_path / "set.h5"), fold=5))
    split = tmp_path / "split.json"
    split.write_text('[{"train_keys": ["a/video_1", "a/video_2"], "test_keys": ["a/video_99"]}]')
    with pytest.raises(ValueError, match=r"split.json.*video_99"):
        load_parts(DataArguments(data=str(tmp_path / "set.h5"), split_file=str(split)))


def test_folds_test_every_video_once():
    """The field's five published splits never test 16 to 19 of TVSum's 50 videos."""
    videos = [f"video_{k}" for k in range(1, 51)]
    folds = disjoint_folds(videos, seed=4)
    assert sorted(v for fold in folds for v in fold["test"]) == sorted(videos)
    for fold in folds:
        assert sorted(v for part in fold.values() for v in part) == sorted(videos)
    assert disjoint_folds(videos, seed=4) == folds != disjoint_folds(videos, seed=5)
    with pytest.raises(ValueError, match="got 5 folds of 4 videos"):
        disjoint_folds(videos[:4])


def test_videos_of_one_group_are_never_in_two_parts():
    """Articles that share a video would leak it from training into the test."""
    videos = [f"a{i}" for i in range(30)]
    groups = {f"a{i}": f"url{i % 7}" for i in range(20)}
    for fold in disjoint_folds(videos, groups=groups):
        parts = [{groups.get(v, v) for v in part} for part in fold.values()]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
        assert sorted(v for part in fold.values() for v in part) == sorted(videos)
    split = with_validation({"train": videos[:20], "test": videos[20:]}, groups=groups)
    assert not {groups[v] for v in split["train"]} & {groups[v] for v in split["validation"]}
    assert len(split["train"]) + len(split["validation"]) == 20


def test_a_published_split_gets_a_validation_part_from_its_training_videos_only():
    split = {"train": [f"t{i}" for i in range(40)], "test": ["x", "y"]}
    parts = with_validation(split)
    assert (len(parts["train"]), len(parts["validation"]), parts["test"]) == (35, 5, ["x", "y"])
    assert sorted(parts["train"] + parts["validation"]) == sorted(split["train"])
    own = with_validation(split | {"validation": ["z"]})
    assert own["validation"] == ["z"]
