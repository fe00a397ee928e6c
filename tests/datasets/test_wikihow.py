"""WikiHow's articles and labels, real where they are public, else in exactly the published format."""

import gzip
import json
import pickle
import tarfile
from pathlib import Path
from unittest.mock import Mock

import h5py
import numpy as np
import pytest

from hiersum_hf.datasets.readers import wikihow_articles
from hiersum_hf.datasets.readers.wikihow import WikiHowReader, read_articles, task_text, videos_of_articles
from hiersum_hf.datasets.readers.wikihow_articles import youtube_id
from hiersum_hf.records import Encoders
from tests.makers.records import round_trip
from tests.makers.wikihow import EMBED, article, write_archive, write_features, write_json


EGG, CAKE = "Break-an-Egg", "Bake-a-Cr%C3%A8me-Cake"


@pytest.fixture
def articles(tmp_path) -> Path:
    steps = [f"Step {i}." for i in range(1, 13)]
    members = {
        EGG: article("Take  an egg.", "", "Hit it."),
        CAKE: article(*steps, video="-_345678901"),
        "Rest": article(),
    }
    return write_archive(tmp_path / "how_to_steps.tar.gz", {f"how_to_steps/{k}.json": v for k, v in members.items()})


@pytest.fixture
def annotation(tmp_path) -> Path:
    """70 frames: segments with 16, 17 of 32 and a rest of 6; one of one segment; one empty."""
    egg = [1] * 16 + [0] * 16 + [0, 1] * 15 + [1, 1] + [1] * 6
    return write_json(tmp_path / "wikihowto_annt.json", {EGG: egg, "Other": [1] * 32, "Skipped": []})


def test_real_articles(test_data):
    found = read_articles(test_data / "wikihow" / "how_to_steps.tar.gz")
    assert (len(found), sum(len(a.steps) for a in found)) == (2111, 33437)
    videos = videos_of_articles(found)
    assert len(videos) == 2106
    assert sorted(len(names) for names in videos.values())[-5:] == [1, 2, 2, 2, 3]
    assert {len(video) for video in videos} == {11}
    words = [sum(len(step.split()) for step in a.steps) for a in found]
    assert (np.median([len(a.steps) for a in found]), np.median(words), max(words)) == (15, 112, 491)
    titles = {a.title for a in found}
    assert {"Sauté Vegetables", "Solve a Rubik's Cube", 'Play "Flame"', "Break an Egg"} <= titles


def test_real_articles_as_a_data_set(test_data):
    reader = WikiHowReader(articles=test_data / "wikihow" / "how_to_steps.tar.gz")
    assert len(reader.video_ids) == len(set(reader.video_ids)) == 2111
    records = [reader.read(name) for name in reader.video_ids]
    assert len({record.group for record in records}) == 2106
    assert sum(len(record.description) - 1 for record in records) == 33437 - 24
    found = reader.findings
    assert found["without_steps"] == ["Expert-Diagnose-and-Treat-Food-Allergy"]
    assert reader.read(found["without_steps"][0]).description == ("Expert Diagnose and Treat Food Allergy",)
    assert len(found["empty_steps"]) == 9
    assert found["duplicates"] == [
        "Achieve-a-Good-Latch-when-Breastfeeding = Breastfeed",
        "Fall-Asleep-Fast = Sleep-Better",
        "Make-Alcohol-Wipes = Make-Disinfectant-Hand-Wipes = Practice-Good-Hand-Hygiene",
        "Sew-a-Medical-Mask = Sew-a-Simple-Medical-Mask",
    ]


def test_real_tasks(test_data):
    tasks = json.loads((test_data / "wikihow" / "pseudoGT_task_annts.json").read_text())
    texts = [task_text(task) for task in tasks.values()]
    assert (len(tasks), sum(text == "" for text in texts)) == (16392, 4607)  # CrossTask's are numbers
    assert {"Replace CD Drive With SSD", "Refill A Lighter", "Make RJ45 Cable", "Transplant"} <= set(texts)


def test_an_article(articles):
    cake, egg, rest = read_articles(articles)
    assert (cake.name, cake.title, cake.youtube_id) == (CAKE, "Bake a Crème Cake", "-_345678901")
    assert cake.steps == tuple(f"Step {i}." for i in range(1, 13))  # 2 before 10
    assert egg.steps == ("Take  an egg.", "", "Hit it.")
    assert egg.texts == ("Break an Egg", "Take an egg.", "Hit it.")
    assert rest.texts == ("Rest",)
    assert egg.url == EMBED.format("abcdefghijk")
    assert {k: [a.title for a in v] for k, v in videos_of_articles([cake, egg, rest]).items()} == {
        "-_345678901": ["Bake a Crème Cake"],
        "abcdefghijk": ["Break an Egg", "Rest"],
    }


def test_a_folder_of_articles_and_other_sites(tmp_path):
    write_json(tmp_path / "a.json", {"video_url": "https://youtu.be/abcdefghijk", "steps": ["One.", {"text": "Two."}]})
    write_json(tmp_path / "b.json", {"video_url": "https://video.example/embed/abcdefghijk", "2": {"text": "Two."}})
    a, b = read_articles(tmp_path)
    assert (a.youtube_id, a.steps) == ("abcdefghijk", ("One.", "Two."))
    assert (b.youtube_id, b.steps) == (None, ("Two.",))
    reader = WikiHowReader(articles=tmp_path)
    assert [reader.read(name).group for name in reader.video_ids] == ["abcdefghijk", b.url]
    assert youtube_id("https://www.youtube.com/watch?t=3&v=abcdefghijk&x=1") == "abcdefghijk"
    assert youtube_id("https://www.youtube.com/embed/abcdefghijkl") is None


def test_archive_cannot_leave_the_memory(tmp_path, monkeypatch):
    """Names that climb out, links and bombs: nothing appears on disk."""
    inside = tmp_path / "inside"
    inside.mkdir()
    path = write_archive(inside / "x.tar.gz", {"../../Climb-Out.json": article("One."), "/Root.json": article()})
    assert [a.name for a in read_articles(path)] == ["Climb-Out", "Root"]
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("Link.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(ValueError, match=r"x\.tar\.gz: expected articles \(\.json\), found none"):
        read_articles(path)
    write_archive(path, {"Big.json": b" " * (2**20 + 1)})
    with pytest.raises(ValueError, match=r"x\.tar\.gz, Big\.json: expected at most 1048576 bytes, found 1048577"):
        read_articles(path)
    monkeypatch.setattr(wikihow_articles, "MAX_ARCHIVE_BYTES", 2**19)
    with pytest.raises(ValueError, match=r"x\.tar\.gz: expected at most 524288 bytes unpacked, found more"):
        read_articles(path)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["inside", "x.tar.gz"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"video_url": "x", "1"', r"Break\.json: .*delimiter"),
        ([1], r"Break\.json: expected an object with video_url, found list"),
        ({"1": {"text": "x"}}, r"Break\.json: expected an object with video_url, found \['1'\]"),
        ({"video_url": "x", "1": {"img": "x"}}, r"Break\.json: step 1: expected a text, found \{'img': 'x'\}"),
        ({"video_url": "x", "steps": "one"}, r"Break\.json: expected a list of steps, found 'one'"),
    ],
)
def test_a_corrupt_member_is_named(tmp_path, content, message):
    path = write_archive(tmp_path / "x.tar.gz", {"a/Fine.json": article(), "a/Break.json": content})
    with pytest.raises(ValueError, match=rf"x\.tar\.gz, a/{message}"):
        read_articles(path)


def test_broken_archives_say_so(tmp_path, articles, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"nothing\.tar\.gz"):
        read_articles(tmp_path / "nothing.tar.gz")
    whole = articles.read_bytes()
    for content in (whole[: len(whole) // 2], b"text", gzip.compress(b"text" * 1000), b""):
        articles.write_bytes(content)
        with pytest.raises(ValueError, match=r"how_to_steps\.tar\.gz: expected a"):
            read_articles(articles)
    write_archive(articles, {"a/Egg.json": article(), "b/Egg.json": article()})
    with pytest.raises(ValueError, match=r"b/Egg\.json: expected one article of this name"):
        read_articles(articles)
    monkeypatch.setattr(tarfile, "open", Mock(side_effect=RecursionError("nested too deep")))
    with pytest.raises(ValueError, match=r"how_to_steps\.tar\.gz: expected a complete tar\.gz archive"):
        read_articles(articles)


def test_annotated_frames_without_features(annotation, articles):
    reader = pickle.loads(pickle.dumps(WikiHowReader(annotation, articles)))
    assert reader.video_ids == [EGG, "Other"]
    assert reader.splits == {}
    assert reader.findings["without_annotation"] == ["Skipped"]
    assert reader.findings["without_article"] == ["Other", "Skipped"]
    assert reader.findings["duplicates"] == ["Break-an-Egg = Rest"]
    egg, other = map(reader.read, reader.video_ids)
    assert egg.frame_scores.tolist() == [0.5, 17 / 32]
    assert egg.frame_labels.tolist() == [0, 1]  # half is no majority
    assert egg.shots.tolist() == [[0, 32], [32, 64]]
    assert (egg.picks.tolist(), egg.n_frames) == ([0, 32], 70)
    assert egg.frame_times_s == pytest.approx([0, 32 / 30])
    assert egg.duration_s == pytest.approx(70 / 30)
    assert (egg.group, egg.description) == ("abcdefghijk", ("Break an Egg", "Take an egg.", "Hit it."))
    assert (egg.video_features.shape, egg.encoders) == ((0, 0), None)
    assert (other.group, other.description, other.frame_labels.tolist()) == ("Other", (), [1])
    assert str(annotation) in egg.source


def test_annotated_frames_with_features(annotation, articles, tmp_path):
    """Every frame has the label of its segment of 32 frames at the video's own rate, the rest has none."""
    features = np.random.default_rng(0).random((5, 4), np.float32)
    path = write_features(tmp_path / "f.h5", {EGG: features}, fps=16.0, normalization="none")
    record = WikiHowReader(annotation, articles, features=path).read(EGG)
    assert record.frame_times_s.tolist() == [0, 0.5, 1, 1.5, 2]
    assert record.picks.tolist() == [0, 8, 16, 24, 32]
    assert record.frame_labels.tolist() == [0, 0, 0, 0, 1]
    assert record.frame_scores.tolist() == [0.5, 0.5, 0.5, 0.5, 17 / 32]
    assert record.duration_s == 70 / 16
    assert record.encoders == Encoders("clip", "", 2.0, "none")
    assert np.array_equal(record.video_features, features)
    group = {EGG: {"features": features, "times_s": np.array([0.1, 1.9, 2.0, 3.9999, 4.3])}}
    record = WikiHowReader(annotation, features=write_features(tmp_path / "g.h5", group, fps=16.0)).read(EGG)
    assert record.picks.tolist() == [1, 30, 32, 63, 68]
    assert record.frame_labels.tolist() == [0, 0, 1, 1, -100]
    assert np.isnan(record.frame_scores).tolist() == [False] * 4 + [True]
    assert record.shots.tolist() == [[0, 32], [32, 64]]


def test_frame_numbers_survive_awkward_rates(tmp_path):
    """Frame k at time k / fps is frame k, also where k / fps x fps falls short of k."""
    labels = write_json(tmp_path / "a.json", {"v": [int(i % 2) for i in range(3200)]})
    for fps in (29.97, 23.976, 25.0, 30000 / 1001):
        path = write_features(tmp_path / "f.h5", {"v": np.ones((3200, 1))}, fps=fps, sample_fps=fps)
        assert WikiHowReader(labels, features=path).read("v").picks.tolist() == list(range(3200))


def test_pseudo_summaries(tmp_path):
    entries = {
        "xZecGPPhbHE": {"machine_summary": [0.0, 1.0, 1.0], "machine_summary_scores": [-0.1, 0.5, 0.75]},
        "NLy71UrHElw": {"machine_summary": [1], "machine_summary_scores": [1.0]},
    }
    labels = write_json(tmp_path / "pseudoGT_summ_annts.json", entries)
    tasks = write_json(tmp_path / "tasks.json", {"xZecGPPhbHE": "PutOnHairExtensions", "NLy71UrHElw": "105253"})
    reader = WikiHowReader(labels, tasks=tasks)
    first, second = map(reader.read, reader.video_ids)
    assert first.frame_times_s.tolist() == [0, 4, 8]
    assert first.duration_s == 12
    assert first.frame_labels.tolist() == [0, 1, 1]
    assert first.frame_scores.tolist() == [0, 0.5, 0.75]
    assert (first.group, first.description) == ("xZecGPPhbHE", ("Put On Hair Extensions",))
    assert (first.shots, first.picks, first.n_frames) == (None, None, None)
    assert second.description == ()
    features = write_features(tmp_path / "f.h5", {"xZecGPPhbHE": np.ones((4, 3), np.float32)}, sample_fps=0.3)
    record = WikiHowReader(labels, tasks=tasks, features=features).read("xZecGPPhbHE")
    assert record.frame_labels.tolist() == [0, 0, 1, 1]  # 0, 3.3, 6.7 and 10 s
    assert record.frame_scores.tolist() == [0, 0, 0.5, 0.75]
    assert record.duration_s == pytest.approx(4 / 0.3)


def test_youtube_ids_find_their_article(tmp_path, articles):
    labels = write_json(tmp_path / "wikihowto_annt.json", {"abcdefghijk": [1] * 40, "-_345678901": [0] * 40})
    reader = WikiHowReader(labels, articles)
    assert [reader.read(name).description[0] for name in reader.video_ids] == ["Break an Egg", "Bake a Crème Cake"]
    assert reader.findings["without_article"] == []


def test_parquet_round_trip(annotation, articles, tmp_path):
    features = {EGG: np.ones((9, 4), np.float32), "Other": np.ones((2, 4), np.float32)}
    path = write_features(tmp_path / "f.h5", features, fps=16.0)
    for reader in (WikiHowReader(annotation, articles, features=path), WikiHowReader(annotation, articles)):
        round_trip([reader.read(name) for name in reader.video_ids], tmp_path)
    reader = WikiHowReader(articles=articles)
    round_trip([reader.read(name) for name in reader.video_ids], tmp_path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([0, 1, 2] * 20, r"expected a list of 0 and 1"),
        ([0, float("nan")] * 20, r"expected a list of 0 and 1"),
        ([[0, 1]] * 40, r"expected a list of 0 and 1"),
        (["a"] * 40, r"could not convert"),
        (None, r"expected a list of 0 and 1"),
        ([1] * 31, r"expected at least one segment of 32 frames, found 31 frames"),
        ([], r"expected at least one segment of 32 frames, found 0 frames"),
        ({"machine_summary": [1]}, r"expected machine_summary and machine_summary_scores, found \['machine_summary'\]"),
        ({"machine_summary": [1], "machine_summary_scores": [0.1, 0.2]}, r"expected as many labels as scores"),
        ({"machine_summary": [], "machine_summary_scores": []}, r"expected as many labels as scores"),
        ({"machine_summary": [3], "machine_summary_scores": [0.1]}, r"machine_summary: expected values 0 and 1"),
        (
            {"machine_summary": [1], "machine_summary_scores": [7.5]},
            r"machine_summary_scores: expected values from -1 to 1, found 7\.5",
        ),
        (
            {"machine_summary": [1], "machine_summary_scores": [float("nan")]},
            r"machine_summary_scores: expected values from -1 to 1",
        ),
    ],
)
def test_broken_annotations_say_so(tmp_path, entry, message):
    labels = write_json(tmp_path / "annt.json", {"v": entry})
    with pytest.raises(ValueError, match=rf"annt\.json, video v: {message}"):
        WikiHowReader(labels).read("v")


@pytest.mark.parametrize(
    ("node", "attributes", "message"),
    [
        ({"features": np.ones((3, 4))}, {"fps": 16}, r"times_s"),
        ({"features": np.ones((3, 4)), "times_s": np.array([0, 1.0])}, {"fps": 16}, r"times_s: expected 3 ascending"),
        ({"features": np.ones((2, 4)), "times_s": np.array([1, 1.0])}, {"fps": 16}, r"times_s: expected 2 ascending"),
        (np.ones(3), {"fps": 16}, r"expected features of shape \(N, Dv\), found \(3,\)"),
        (np.ones((0, 3)), {"fps": 16}, r"expected features of shape \(N, Dv\), found \(0, 3\)"),
        (np.full((3, 4), np.nan), {"fps": 16}, r"expected finite features"),
        (np.ones((3, 4)), {"fps": 16, "sample_fps": 0.0}, r"sample_fps: expected a positive rate, found 0\.0"),
        (np.ones((3, 4)), {}, r"expected the attribute fps, the rate of the annotated frames, found none"),
        (np.ones((3, 4)), {"fps": 90}, r"expected frames before 70, the annotated ones, found 90"),
    ],
)
def test_features_that_do_not_fit_say_so(annotation, tmp_path, node, attributes, message):
    path = write_features(tmp_path / "f.h5", {EGG: node}, **attributes)
    with pytest.raises(ValueError, match=rf"f\.h5, video {EGG}: .*{message}"):
        WikiHowReader(annotation, features=path).read(EGG)


def test_what_is_missing_is_named(annotation, articles, tmp_path):
    with pytest.raises(ValueError, match="expected labels or articles, found neither"):
        WikiHowReader()
    with pytest.raises(ValueError, match=r"wikihowto_annt\.json: expected a video nobody, found none"):
        WikiHowReader(annotation).read("nobody")
    with pytest.raises(ValueError, match=r"how_to_steps\.tar\.gz: expected an article nobody, found none"):
        WikiHowReader(articles=articles).read("nobody")
    with pytest.raises(FileNotFoundError, match=r"gone\.tar\.gz"):
        WikiHowReader(annotation, tmp_path / "gone.tar.gz").read(EGG)
    path = write_features(tmp_path / "f.h5", {"Other": np.ones((2, 2))})
    with pytest.raises(ValueError, match=rf"f\.h5, video {EGG}: expected features, found none"):
        WikiHowReader(annotation, features=path).read(EGG)
    with h5py.File(path, "a") as file:
        del file.attrs["video_encoder"]
    with pytest.raises(ValueError, match=r"video Other: expected the attribute video_encoder, found \['sample_fps'\]"):
        WikiHowReader(annotation, features=path).read("Other")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"f\.h5: expected a complete HDF5 file"):
        WikiHowReader(annotation, features=path).read("Other")
    tasks = write_json(tmp_path / "tasks.json", {"Other": 5})
    with pytest.raises(ValueError, match=r"tasks\.json, video Other: expected the name of a task, found 5"):
        WikiHowReader(annotation, tasks=tasks).read("Other")
    annotation.write_text(annotation.read_text()[:-9])
    with pytest.raises(ValueError, match=r"wikihowto_annt\.json: expected JSON"):
        WikiHowReader(annotation).read("Other")
