"""The paper's own training set: articles, subtitles, curves and views meet by YouTube id, gaps are listed."""

import json
import logging
import pickle
import tarfile

import numpy as np
import pytest

from hiersum_hf.datasets.readers.folder import FolderReader
from hiersum_hf.datasets.readers.howto import HowToReader, read_steps, write_fetch_list
from hiersum_hf.datasets.readers.replay import read_curves
from hiersum_hf.datasets.readers.wikihow_articles import youtube_id
from hiersum_hf.records import Sentence
from tests.makers.howto import HEATMAP, IDS, INFO, write_video
from tests.makers.records import assert_survives_parquet


@pytest.fixture
def articles(tmp_path):
    """The archive in its documented format: an article, two that share a video, and one without steps."""
    folder = tmp_path / "how_to_steps"
    folder.mkdir()
    for title, video, steps in [
        ("Break-an-Egg", IDS[0], ["Hold the  egg.", "", "Tap it."]),
        ("Open-an-Egg", f"{IDS[0]}?showinfo=0", ["Tap."]),
        ("Diagnose-an-Egg", IDS[1], []),
        ("Play-Ludo", IDS[2], ["Roll the die."]),
    ]:
        numbered = {str(k): {"text": text, "img": None, "vid": None} for k, text in enumerate(steps, 1)}
        url = f"https://www.youtube.com/embed/{video}"
        (folder / f"{title}.json").write_text(json.dumps({"video_url": url} | numbered))
    with tarfile.open(tmp_path / "how_to_steps.tar.gz", "w:gz") as archive:
        archive.add(folder, "how_to_steps")
    return tmp_path / "how_to_steps.tar.gz"


TEXTS = {"text_encoder": "e", "text_features": np.ones((1, 3), np.float32)}


@pytest.fixture
def videos(tmp_path):
    """A video with everything, one with an id in its name alone, one that no article knows, a lone info.json."""
    folder = tmp_path / "videos"
    rows = {"description_features": np.ones((5, 3), np.float32)}  # 2 titles, 3 steps with words
    write_video(folder, f"EGG!! [{IDS[0]}]", INFO, **TEXTS | rows)
    write_video(folder, IDS[1], subtitles=False)
    chapters = [{"title": "Shells", "start_time": 0, "end_time": 2}]
    info = {"id": "aaaaaaaaaaa", "title": "T", "description": "D\nE", "chapters": chapters, "view_count": 800}
    write_video(folder, "other", info, subtitles=False, text_encoder="e", description_features=np.ones((4, 3)))
    (folder / "list.info.json").write_text('{"_type": "playlist", "id": "PL1"}')
    return folder


def test_the_join(articles, videos, tmp_path):
    reader = HowToReader.open(FolderReader(videos), articles)
    assert reader.video_ids == [IDS[1], IDS[0], "aaaaaaaaaaa"], "in the order of the file names"
    assert reader.splits == {}
    egg = reader.read(IDS[0])
    assert egg.video_id == IDS[0]
    assert egg.sentences == (Sentence("Break it.", 1.0, 2.0),)
    assert egg.description == ("Break an Egg", "Hold the egg.", "Tap it.", "Open an Egg", "Tap.")
    assert egg.views == 12_000
    np.testing.assert_array_equal(egg.frame_scores, np.float32([1, 0.1, 0.2, 0.05, 0.1]))
    assert egg.frame_labels.tolist() == [1, 0, 1, 0, 0]
    assert egg.source == f"{videos}/EGG!! [{IDS[0]}].npz, {articles}"
    bare = reader.read(IDS[1])
    assert (bare.sentences, bare.description, bare.frame_scores, bare.frame_labels, bare.views) == ((), (), *[None] * 3)
    assert reader.read("aaaaaaaaaaa").description == ("T", "D", "E", "Shells"), "an unknown video describes itself"
    again = pickle.loads(pickle.dumps(reader))
    assert again == reader
    assert "Hold" not in repr(reader), "the fingerprint of a prepared folder holds settings, not texts"
    assert_survives_parquet([reader.read(video_id) for video_id in reader.video_ids], tmp_path / "x.parquet")


def test_what_each_video_lacks(articles, videos):
    reader = HowToReader.open(FolderReader(videos), articles)
    assert reader.lacks == {
        IDS[1]: ("steps", "subtitles", "curve", "views"),
        IDS[0]: (),
        "aaaaaaaaaaa": ("steps", "subtitles", "curve"),
    }
    assert reader.findings == {
        "without_steps": [IDS[1], "aaaaaaaaaaa"],
        "without_subtitles": [IDS[1], "aaaaaaaaaaa"],
        "without_curve": [IDS[1], "aaaaaaaaaaa"],
        "without_views": [IDS[1]],
        "without_description": [IDS[1]],
        "unbalanced": [],
        "unreadable": [],
        "duplicates": [],
        "outside_views": [],
        "not_fetched": [IDS[2]],
        "strays": ["list"],
        "passed_over": [],
    }


def test_a_second_copy_is_left_out(articles, videos):
    write_video(videos, "second", INFO)
    reader = HowToReader.open(FolderReader(videos), articles)
    assert len(reader.video_ids) == 3
    assert reader.findings["duplicates"] == [f"{IDS[0]}: second"]


def test_views_choose_videos(videos):
    def ids(**limits):
        return HowToReader.open(FolderReader(videos), **limits).video_ids

    assert ids(min_views=10_000) == [IDS[0]]
    assert ids(max_views=10_000) == ["aaaaaaaaaaa"]
    assert HowToReader.open(FolderReader(videos), min_views=1).findings["outside_views"] == [IDS[1]], (
        "unknown views are in no range"
    )
    with pytest.raises(ValueError, match=f"videos: expected a video with YouTube id {IDS[1]}, found none"):
        HowToReader.open(FolderReader(videos), min_views=1).read(IDS[1])


def test_labels_of_the_curve(articles, videos, caplog):
    caplog.set_level(logging.INFO)
    masked = HowToReader.open(FolderReader(videos), articles, intro_bins=1)
    assert masked.read(IDS[0]).frame_labels.tolist() == [-100, 0, 1, 0, 0]
    assert np.isnan(masked.read(IDS[0]).frame_scores[0])
    best = HowToReader.open(FolderReader(videos), articles, quantile=0.9)
    assert best.read(IDS[0]).frame_labels.tolist() == [1, 0, 0, 0, 0]
    assert {record.levelname for record in caplog.records} == {"INFO"}
    most = HowToReader.open(FolderReader(videos), articles, threshold=0.1)
    assert most.findings["unbalanced"] == [f"{IDS[0]}: 80% important"]
    assert caplog.records[-1].levelname == "WARNING"
    assert "1 of 1 replay curves mark less than 5 % or more than 60 %" in caplog.messages[-1]
    for wrong in ({"threshold": 2.0}, {"intro_bins": -1}):
        with pytest.raises(ValueError, match="expected a"):
            HowToReader.open(FolderReader(videos), **wrong)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ('{"id": "FNku', "expected JSON, found none"),
        ("[]", r"expected an object with id, title and so on, found \[\]"),
        (INFO | {"id": 5}, "expected an object with id, title"),
        (INFO | {"title": 5}, "expected title, description and chapters' titles as text"),
        (INFO | {"chapters": [{"start_time": 0}]}, "expected title, description and chapters' titles as text"),
        (INFO | {"view_count": "many"}, "expected a number of views"),
        (INFO | {"heatmap": []}, f"video {IDS[0]}: expected a list of bins"),
        (INFO | {"heatmap": [HEATMAP[0] | {"value": 7}]}, f"video {IDS[0]}, bin 1: expected .* in "),
    ],
)
def test_a_broken_info_is_named_and_listed(tmp_path, info, message):
    write_video(tmp_path / "videos", IDS[0], info)
    write_video(tmp_path / "videos", IDS[1])
    reader = HowToReader.open(FolderReader(tmp_path / "videos"))
    assert sorted(reader.video_ids) == sorted(IDS[:2])
    with pytest.raises(ValueError, match=rf"videos.*{IDS[0]}\.info\.json.*" + message):
        reader.read(IDS[0])
    assert [IDS[0] in error for error in reader.findings["unreadable"]] == [True]


def test_articles_of_another_site(tmp_path):
    path = tmp_path / "ehow.json"
    record = {"title": "Fry", "video_url": f"https://youtu.be/{IDS[0]}", "steps": [{"text": "Heat."}, "Fry."]}
    path.write_text(json.dumps([record, {"video_url": "https://other.org/v1", "steps": []}]))
    fry, other = read_steps(path)
    assert (fry.title, fry.youtube_id, fry.steps) == ("Fry", IDS[0], ("Heat.", "Fry."))
    assert (other.youtube_id, other.steps) == (None, ())
    write_video(tmp_path / "videos", IDS[0], INFO, **TEXTS, description_features=np.ones((3, 3)))
    assert HowToReader.open(FolderReader(tmp_path / "videos"), path).read(IDS[0]).description == (
        "Fry",
        "Heat.",
        "Fry.",
    )
    assert write_fetch_list(path, tmp_path / "urls.txt") == 2
    watch = f"https://www.youtube.com/watch?v={IDS[0]}\n"
    assert (tmp_path / "urls.txt").read_text() == watch + "https://other.org/v1\n"
    for wrong, message in [
        ("{", "expected JSON"),
        ("3", "record 1: expected {video_url, steps: .*, found {'video_url': 3}"),
        ('[{"video_url": "u", "steps": "Fry."}]', "record 1: expected {video_url, steps"),
        ('[{"video_url": "u", "steps": []}, {"video_url": "u", "steps": [1]}]', "record 2: expected {video_url, steps"),
    ]:
        path.write_text(wrong)
        with pytest.raises(ValueError, match=r"ehow\.json.*" + message):
            read_steps(path)
    with pytest.raises(FileNotFoundError):
        read_steps(tmp_path / "none.json")


def test_the_list_of_videos_to_fetch(articles, tmp_path):
    output = tmp_path / "urls.txt"
    assert write_fetch_list(articles, output) == 3
    assert sorted(output.read_text().split()) == sorted(f"https://www.youtube.com/watch?v={key}" for key in IDS)
    with pytest.raises(FileExistsError, match=r"urls\.txt: expected no such file yet"):
        write_fetch_list(articles, output)
    assert write_fetch_list(articles, output, overwrite=True) == 3


def test_real_articles_and_real_curves(test_data, tmp_path):
    """All articles, and the 19 real curves as if they were those of 19 article videos, in a downloader's files."""
    articles = test_data / "wikihow" / "how_to_steps.tar.gz"
    assert write_fetch_list(articles, tmp_path / "urls.txt") == 2106
    urls = (tmp_path / "urls.txt").read_text().split()
    assert len(set(urls)) == 2106
    curves = read_curves(test_data / "heatmaps" / "youtube_most_replayed.json")
    ids = [youtube_id(url) for url in urls if "RPcWq3ofz4o" not in url][: len(curves)]  # the article without steps
    for video_id, curve in zip(ids, curves.values(), strict=True):
        bins = zip(curve.starts_s, curve.ends_s, curve.values, strict=True)
        heatmap = [{"start_time": start, "end_time": end, "value": value} for start, end, value in bins]
        info = {"id": video_id, "title": curve.title, "view_count": curve.views, "heatmap": heatmap}
        frames = {"duration_s": curve.ends_s[-1], "frame_times_s": np.arange(0, curve.ends_s[-1], 0.5)}
        frames |= {"sample_fps": 2.0, "video_features": np.ones((len(frames["frame_times_s"]), 4))}
        write_video(tmp_path / "videos", video_id, info, **frames)
    reader = HowToReader.open(FolderReader(tmp_path / "videos"), articles)
    assert sorted(reader.video_ids) == sorted(ids)
    assert set(reader.lacks.values()) == {()}, "nobody lacks anything"
    findings = reader.findings
    assert len(findings["not_fetched"]) == 2106 - 19
    assert len(findings["unbalanced"]) == 13
    for video in reader.videos:  # nothing here computes features: there is one row of ones for each text
        path = tmp_path / "videos" / f"{video.name}.npz"
        texts = TEXTS | {"description_features": np.ones((len(video.description), 3), np.float32)}
        np.savez(path, **dict(np.load(path)) | texts)
        record = reader.read(video.video_id)
        rate = (record.frame_labels == 1).mean()
        assert rate == pytest.approx(video.positive_rate, abs=0.02), "bins and frames agree"
        assert len(record.description) > 1
        assert record.views >= 53_114
        print(f"{video.video_id}  {rate:4.0%} important, {record.views:13,} views")
    assert_survives_parquet([record], tmp_path / "x.parquet")
