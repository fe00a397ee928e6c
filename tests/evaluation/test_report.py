"""The pictures and the page must show what the results say, whatever the videos are called, and load nothing."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from hiersum_hf.evaluation import report
from hiersum_hf.evaluation.diagnosis import Check
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.evaluation.plot import plot_histogram, plot_prediction
from hiersum_hf.evaluation.report import file_name, plot_videos, write_page
from hiersum_hf.evaluation.ridge import ridge_scores
from hiersum_hf.records import Budget, Segment, Summary
from hiersum_hf.results import Baseline, FoldResult
from hiersum_hf.scoring.training_free import random_scores
from hiersum_hf.summary.plot import plot_summary


pytestmark = pytest.mark.filterwarnings("ignore:Glyph")  # the tests' font has no Chinese signs
SCRIPT = "<script>alert('$1_$')</script>"
HOSTILE = (SCRIPT, "../../escape", "$x_$ {^\\frac", 'a"b', "a&b", "視頻\n2")


@pytest.fixture(scope="module")
def records(demo_records):
    """Six videos with names that break HTML, paths or mathematical text."""
    return [replace(record, video_id=name) for record, name in zip(demo_records, HOSTILE, strict=False)]


@pytest.fixture(scope="module")
def scores(records):
    return {record.video_id: random_scores(record) for record in records}


@pytest.fixture(scope="module")
def results(records, scores, demo_records):
    ridge = ridge_scores(demo_records[6:10], demo_records[10:12], records)
    about = {"dataset": "demo", "part": "test", "level": "child", "command": f"hiersum evaluate {SCRIPT}"}
    return evaluate_scores(records, scores, scorer="checkpoint", ridge=ridge, **about)


class Reader(HTMLParser):
    """Tags with their attributes, the text of every table cell, and all text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.cells, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data):
        self.text += data
        if self.cells:
            self.cells[-1] += data


def test_pictures_stay_in_their_folder_under_names_of_their_own(records, scores, results, tmp_path):
    folder = tmp_path / "deep" / "pictures"
    paths = plot_videos(records, scores, results, folder)
    assert len({path.name.lower() for path in paths}) == len(HOSTILE)
    assert {path.parent for path in paths} == {folder}
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(paths)
    for path in paths:
        assert re.fullmatch(r"[\w-]+\.png", path.name, re.ASCII)
        assert Image.open(path).size == (1200, 360)


def test_names_that_become_alike_do_not_collide():
    names = ["a/b", "a_b", "a?b", "A/b", "x" * 300, "x" * 301, "", ".", "..", "/etc/passwd", "\ud800"]
    files = [file_name(name).lower() for name in names]
    assert len(set(files)) == len(names)
    assert all(len(name) < 100 and not name.startswith(".") and "/" not in name for name in files)


def test_the_videos_drawn_span_the_results(records, scores, results, tmp_path):
    taus = {name: figures["kendall_tau"] for name, figures in results.per_video.items()}
    ranked = sorted(taus, key=taus.get)
    paths = plot_videos(records, scores, results, tmp_path, limit=2)
    assert [path.name for path in paths] == [file_name(ranked[0]), file_name(ranked[-1])]
    assert plot_videos(records, scores, results, tmp_path, limit=0) == []


def test_nothing_is_replaced_unasked(records, scores, results, tmp_path):
    (path, *_), page = plot_videos(records, scores, results, tmp_path, limit=1), tmp_path / "report.html"
    path.write_bytes(b"mine")
    page.write_text("mine")
    with pytest.raises(FileExistsError, match=path.name):
        plot_videos(records, scores, results, tmp_path, limit=1)
    with pytest.raises(FileExistsError, match=r"report\.html"):
        write_page(results, tmp_path, [])
    assert (path.read_bytes(), page.read_text()) == (b"mine", "mine")
    plot_videos(records, scores, results, tmp_path, limit=1, overwrite=True)
    assert "<table>" in write_page(results, tmp_path, [], overwrite=True).read_text(encoding="utf-8")
    assert path.read_bytes() != b"mine"


def test_missing_scores_name_the_video(records, results, tmp_path):
    with pytest.raises(ValueError, match=r"escape: expected .* scores, found none"):
        plot_videos([records[1]], {}, results, tmp_path)


@pytest.fixture(scope="module")
def page(records, scores, results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    images = plot_videos(records, scores, results, folder, limit=2)
    checks = [
        Check("one", 0.25, "at most <1>", True, "unseen"),
        Check("two", SCRIPT, "no", False, "it means <b>this</b>"),
        Check("three", "not possible: no features", "no", None, "unseen"),
    ]
    path = write_page(results, folder, images, checks)
    assert sorted(folder.iterdir()) == sorted([path, *images])  # nothing half-written stays
    return path.read_text(encoding="utf-8")


def test_no_name_becomes_markup(page):
    reader = Reader(page)
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert "b" not in {tag for tag, _ in reader.tags}
    assert set(HOSTILE) <= set(reader.cells)
    assert f"hiersum evaluate {SCRIPT}" in reader.cells
    assert SCRIPT not in page


def test_the_page_is_one_file(page):
    tags = Reader(page).tags
    sources = [attrs[key] for _, attrs in tags for key in ("src", "href") if key in attrs]
    assert len(sources) == 3  # two videos, the histogram
    for source in sources:
        kind, content = source.split(",")
        assert kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(content))).format == "PNG"
    policy = next(attrs["content"] for tag, attrs in tags if tag == "meta" and "content" in attrs)
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"https?://|@import|url\(", page)


def test_the_page_shows_figures_baselines_and_where_they_come_from(page, results):
    cells, text = Reader(page).cells, Reader(page).text
    low, high = results.ci95["kendall_tau"]
    assert f"{results.metrics['kendall_tau']:.4f} [{low:.4f}, {high:.4f}]" in cells
    random, human = results.baselines["random"], results.baselines["human"]
    assert f"{random.metrics['kendall_tau']:.4f} ± {random.standard_error['kendall_tau']:.4f}" in cells
    assert f"{human.metrics['f1']:.4f}" in cells
    for figures in results.per_video.values():
        assert f"{figures['spearman_rho']:.4f}" in cells
    assert f"{results.baselines['position'].metrics['captured']:.4f}" in cells
    assert f"{results.baselines['ridge'].metrics['kendall_tau']:.4f}" in cells
    difference = results.against_ridge["kendall_tau"]
    assert "{:+.4f} [{:+.4f}, {:+.4f}]".format(difference["difference"], *difference["ci95"]) in cells
    assert "The last row: the mean difference to ridge" in text
    assert "Captured: importance above the video's mean" in text
    assert "6 videos, protocol hiersum-keyshot-v1" in text
    assert "video random-projection, text random-projection, sample fps 1.0000" in cells
    assert results.data_fingerprint in cells
    assert cells[cells.index("seed") + 1] == "0"
    assert cells[cells.index("dropped") + 1] == "none"
    assert f"torch {results.versions['torch']}" in text


def test_the_page_shows_the_diagnosis(page):
    cells = Reader(page).cells
    assert cells[cells.index("one") :][:5] == ["one", "0.2500", "at most <1>", "ok", ""]
    assert cells[cells.index("two") :][:5] == ["two", SCRIPT, "no", "not well", "it means <b>this</b>"]
    assert cells[cells.index("three") + 3] == "not possible"


def test_pictures_beyond_the_size_to_mail_are_named(records, scores, results, tmp_path, monkeypatch):
    images = plot_videos(records, scores, results, tmp_path, limit=3)
    monkeypatch.setattr(report, "MAX_EMBEDDED", images[0].stat().st_size)
    reader = Reader(write_page(results, tmp_path, images).read_text(encoding="utf-8"))
    assert len([tag for tag, _ in reader.tags if tag == "img"]) == 2  # the histogram and one video
    assert f"see {images[1].name}" in reader.text


def test_results_with_little_in_them(results, tmp_path):
    """One video, no annotators: nothing to draw, no interval."""
    nothing = dict.fromkeys(results.metrics)
    parts = {"metrics": nothing, "per_video": {"v": {"f1": None, "kendall_tau": None}}, "level": None}
    parts |= {"ci95": {"f1": None}, "baselines": {"random": Baseline({}, 20), "human": None}, "encoders": None}
    bare = replace(results, **parts, folds=[FoldResult(0, None, 1, nothing)], spread=nothing)
    text = write_page(bare, tmp_path, []).read_text(encoding="utf-8")
    assert "<img" not in text
    assert "Captured" not in text
    assert "v" in Reader(text).cells


def test_folds_and_their_spread_are_shown(results, tmp_path):
    folds = [FoldResult(k, None, 3, results.metrics | {"f1": value}) for k, value in enumerate((0.25, 0.35))]
    changed = replace(results, folds=folds, spread={"f1": 0.0707})
    cells = Reader(write_page(changed, tmp_path, []).read_text(encoding="utf-8")).cells
    assert cells[cells.index("standard deviation") :][:4] == ["standard deviation", "-", "-", "0.0707"]
    assert {"0.2500", "0.3500"} <= set(cells)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_picture_shades_what_is_selected():
    """The orange of the first tenth of the axes follows the selection."""
    times_s, curve = np.arange(10.0), np.linspace(0, 1, 10)
    users = np.stack([curve, np.full(10, np.nan)])[:1]
    found = []
    for chosen_s in ([[0, 5]], [[5, 10]]):
        image = pixels(plot_prediction("x", times_s, curve, users, np.array(chosen_s), 10.0))
        orange = (abs(image - [255, 216, 182]).sum(axis=2) < 12)[:, :1000]
        found.append(np.flatnonzero(orange.sum(axis=0) > 50))
    assert found[0].max() < found[1].min() + 5


def test_gaps_constants_and_no_annotators_can_be_drawn():
    times_s = np.arange(5.0)
    gaps = np.array([[np.nan, 1, 2, 3, np.nan], [1, 1, 1, 1, 1]])
    for users in (None, gaps, gaps[:1], gaps[:, :4]):
        assert pixels(plot_prediction("x", times_s, np.ones(5), users, np.zeros((0, 2)), 5.0)).shape == (360, 1200, 3)
    assert pixels(plot_histogram([0.1], {"$x_$": 0.1}, "tau")).std() > 0


def test_a_video_with_a_dollar_in_its_name_can_be_summarized(tmp_path):
    """matplotlib reads $...$ as mathematics and fails on what is none."""
    summary = Summary(
        video="how to make $1_{ and $.mp4",
        duration_s=2.0,
        budget=Budget("ratio", 0.5, 1.0),
        level=None,
        scorer="uniform",
        fallback=False,
        segments=(Segment(0.0, 1.0, 1.0),),
        key_sentences=(),
        shots=({"start_s": 0.0, "end_s": 2.0, "score": 0.5, "selected": True},),
        scores={"times_s": [0.0, 1.0], "values": [1.0, 0.0]},
        checkpoint=None,
        encoders={"video": None, "text": None},
    )
    plot_summary(summary, tmp_path / "scores.png")
    assert Image.open(tmp_path / "scores.png").size == (1200, 360)
