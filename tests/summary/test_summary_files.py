"""The files of a summary: one clock, links that lead somewhere, all of them or none."""

import errno
import json
import os
import shutil
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from hiersum_hf import HierSumError
from hiersum_hf.records import Segment, Sentence, clock, in_a_row
from hiersum_hf.summary.files import (
    FILES,
    begins,
    chapters,
    cut_list,
    list_link,
    markdown,
    output_folder,
    refuse_existing,
    refuse_video,
    relative_path,
    retime,
    segment_pictures,
    write_summary,
)
from hiersum_hf.summary.plot import contact_sheet, plot_summary
from hiersum_hf.texts.subtitles import read_subtitles
from hiersum_hf.video.reader import probe
from tests.makers.summaries import SENTENCES, make_summary
from tests.makers.videos import synthetic, write_video


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """2 s red, 2 s green, 2 s blue, in a folder whose name must be quoted."""
    path = tmp_path_factory.mktemp("it's my") / "a & b #1.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "5", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(60):
            image = np.zeros((48, 64, 3), np.uint8)
            image[..., i // 20] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("files", [["summary.mp4", "summary.srt"], ["summary.html"], ["summary.json"]])
def test_only_the_files_that_are_wanted_are_written(source, tmp_path, files):
    folder = write_summary(make_summary(source.name), source, tmp_path / "out", SENTENCES, files=files)
    assert sorted(file.name for file in folder.iterdir()) == files
    if files == ["summary.html"]:
        assert "data:image/jpeg;base64," in (folder / "summary.html").read_text(), "pictures need no short video"


def test_copied_pictures_widen_the_segments_of_all_files(source, tmp_path):
    """Else the subtitles and the page run away from the short video."""
    summary = make_summary(source.name, ((2.2, 2.4, 0.5), (2.6, 3.3, 0.9), (5.2, 6.0, 0.5)))
    summary = replace(summary, steps=({"text": "Paint", "segments": [0, 1, 2], "found": True},))
    told = []
    folder = write_summary(summary, source, tmp_path / "out", SENTENCES, render="copy", written=told.append)
    content = json.loads((folder / "summary.json").read_text())
    assert content["segments"] == [
        {"start_s": 2.0, "end_s": 3.5, "score": 0.9},
        {"start_s": 5.0, "end_s": 6.0, "score": 0.5},
    ]
    assert content["steps"][0]["segments"] == [0, 1]
    assert content["warnings"][-1] == (
        "Segments were widened to whole groups of pictures, which are copied: 0.8 s more in all, borders moved by up "
        "to 0.2 s."
    )
    assert told[0].to_dict() == content
    assert probe(folder / "summary.mp4").duration_s == pytest.approx(2.5, abs=0.01)
    assert [s.start_s for s in read_subtitles(folder / "summary.srt")] == pytest.approx([0.2, 1.5], abs=1e-3)


def test_a_summary_says_why_pictures_were_not_copied(source, tmp_path):
    write_video(tmp_path / "old.mp4", seconds=6)
    folder = write_summary(make_summary("old.mp4"), tmp_path / "old.mp4", tmp_path / "out")
    note = "old.mp4: all its pictures are encoded anew, none are copied: mpeg4 is not one of h264, hevc, vp9, av1."
    assert json.loads((folder / "summary.json").read_text())["warnings"] == ["No checkpoint given.", note]
    assert note in (folder / "summary.md").read_text()


@pytest.mark.parametrize(("files", "found"), [(["summary.avi"], "'summary.avi'"), ([], "none")])
def test_a_file_that_no_summary_has_is_named(source, tmp_path, files, found):
    with pytest.raises(HierSumError, match=f"files: expected some of summary.mp4, .*; found {found}"):
        write_summary(make_summary(), source, tmp_path / "out", files=files)
    assert not (tmp_path / "out").exists()


def test_everything_is_written_on_one_clock(source, tmp_path):
    summary = make_summary(source.name)
    folder = write_summary(summary, source, tmp_path / "deep" / "out", SENTENCES)
    assert {file.name for file in folder.iterdir()} == set(FILES)
    assert [file.name for file in folder.parent.iterdir()] == ["out"], "nothing half-made may stay behind"
    assert probe(folder / "summary.mp4").duration_s == pytest.approx(summary.length_s, abs=0.05)
    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(summary.to_dict()))
    said = read_subtitles(folder / "summary.srt")
    assert [(s.text, s.start_s, s.end_s) for s in said] == [("Green.", 0.2, 1.8), ("Blue.", 2.0, 2.5)]
    assert (folder / "summary.html").read_text().startswith("<!DOCTYPE html>")
    for name in ("scores.png", "sheet.png"):
        assert Image.open(folder / name).size[0] > 300


SEGMENTS = [Segment(2.0, 4.0, 0.9), Segment(5.0, 6.0, 0.5)]


def played(cuts):
    """The colour of each frame that FFmpeg gets by the list."""
    with av.open(str(cuts), format="concat", options={"safe": "0"}) as container:
        return [frame.to_ndarray(format="rgb24").mean(axis=(0, 1)).argmax() for frame in container.decode(video=0)]


def test_the_cut_list_plays_the_segments(source, tmp_path):
    """ffmpeg reads it and finds the video from where the list lies; cuts fall on key frames here."""
    folder = write_summary(make_summary(source.name), source, tmp_path / "out")
    assert played(folder / "cuts.txt") == [1] * 20 + [2] * 10


NAMES = [
    "it's.mp4", "\\'.mp4", "trailing\\.mp4", "'", '"q".mp4', " 50%20 .mp4", "what?.mp4", "a#b.mp4", "12:30.mp4",
    "data:x.mp4", "concat:a.mp4|b.mp4", "file 'x'.mp4", "-y.mp4", "\u2028\x0b\t.mp4",
]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("apart", [True, False])
def test_the_cut_list_finds_a_video_of_any_name(source, tmp_path, monkeypatch, name, apart):
    folder, video = tmp_path / "out" / name, tmp_path / ("in" if apart else f"out/{name}") / name
    for parent in (folder, video.parent):
        parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, video)
    (folder / "cuts.txt").write_text(cut_list(SEGMENTS, list_link(video, folder)), encoding="utf-8")
    monkeypatch.chdir(folder)
    for path in ("cuts.txt", str(folder / "cuts.txt")):
        assert played(path) == [1] * 20 + [2] * 10


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("sign", ["\n", "\r"])
def test_a_name_with_a_line_break_cannot_add_to_the_cut_list(source, tmp_path, sign):
    video = tmp_path / f"a{sign}file 'etc.mp4"
    shutil.copy(source, video)
    with pytest.raises(ValueError, match="expected a name without line breaks, found"):
        write_summary(make_summary(video.name), video, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [video]


def test_the_cut_list_counts_on_the_clock_of_the_file():
    text = cut_list([Segment(1.5, 2.25, 1.0)], "it's.ts", 1.4)
    assert text.splitlines()[0] == "ffconcat version 1.0"
    assert text.endswith("file 'it'\\''s.ts'\ninpoint 2.900000\noutpoint 3.650000\n")


def test_each_segment_has_the_picture_of_its_best_moment(source, tmp_path):
    summary = make_summary(source.name, [(0.5, 1.0, 0.1), (1.5, 4.0, 0.9), (5.9, 6.0, 0.5)])
    folder = write_summary(summary, source, tmp_path / "out")
    pictures = segment_pictures(summary, folder / "summary.mp4")
    assert {number: picture.mean(axis=(0, 1)).argmax() for number, picture in pictures.items()} == {0: 0, 1: 1, 2: 2}
    assert {picture.shape for picture in pictures.values()} == {(240, 320, 3)}


def test_the_end_of_another_scene_is_no_picture_of_a_segment(source, tmp_path):
    """Red, 1.5 s of a shot of 6, scores highest; a segment within one shot has the best picture it holds."""
    summary = make_summary(source.name, [(0.5, 4.0, 0.9), (4.0, 4.5, 0.1)])
    shots = [
        {"start_s": start_s, "end_s": end_s, "score": 0.5, "selected": False}
        for start_s, end_s in [(-4.0, 2.0), (2.0, 9.0)]
    ]
    summary = replace(summary, shots=tuple(shots), scores=summary.scores | {"values": [0.9] * 4 + [0.5] * 8})
    folder = write_summary(summary, source, tmp_path / "out")
    pictures = segment_pictures(summary, folder / "summary.mp4")
    assert [pictures[number].mean(axis=(0, 1)).argmax() for number in (0, 1)] == [1, 2]


@pytest.mark.parametrize(
    ("name", "count"),
    [("talk.mp4", 1), ("a talk about the tomato and the fence.mp4", 2), (f"{'talk' * 30}.mp4", 2)],
)
def test_the_title_of_a_sheet_of_one_picture_is_not_cut(tmp_path, name, count):
    summary = make_summary(name, [(0.5, 1.0, 0.1)])
    contact_sheet(summary, {0: np.full((180, 320, 3), 90, np.uint8)}, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert (sheet[:, -4:] == 255).all(), "nothing goes on beyond the picture"
    head = sheet[: np.flatnonzero((sheet == 90).sum(1) == 320)[0]]
    lines = np.flatnonzero(np.diff(np.concatenate([[False], (head < 128).any(1)]).astype(int)) == 1)
    assert len(lines) == count


def test_the_title_of_the_scores_is_not_cut(tmp_path):
    plot_summary(make_summary(f"{'a long name of a talk ' * 8}.mp4"), tmp_path / "scores.png")
    assert (np.asarray(Image.open(tmp_path / "scores.png").convert("L"))[:, -4:] == 255).all()


@pytest.mark.slow
def test_pictures_of_a_very_high_video_fit_their_page(tmp_path):
    """As wide as all others they would be 320,000 pixels high, which no picture file holds."""
    video = synthetic(tmp_path / "high.mp4", [k / 10 for k in range(30)], size=(2, 2000))
    summary = make_summary(video.name, [(0.5, 1.0, 0.1), (1.5, 2.9, 0.9)])
    folder = write_summary(summary, video, tmp_path / "out")
    assert {p.shape for p in segment_pictures(summary, folder / "summary.mp4").values()} == {(960, 320, 3)}
    assert Image.open(folder / "sheet.png").height < 1100


def test_a_long_summary_has_pictures_of_its_best_segments(source, tmp_path, monkeypatch):
    monkeypatch.setattr("hiersum_hf.summary.files.MAX_PICTURES", 2)
    summary = make_summary(source.name, [(0.5, 1.0, 0.1), (2.5, 3.0, 0.9), (5.0, 5.5, 0.5)])
    folder = write_summary(summary, source, tmp_path / "out")
    assert sorted(segment_pictures(summary, folder / "summary.mp4")) == [1, 2]


def test_chapters_tell_where_a_part_comes_from():
    summary = make_summary(segments=[(0.0, 2.0, 0.9), (3.0, 3.5, 0.5)], sentences=SENTENCES[:1])
    assert chapters(summary) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n0:00 Red &lt;b&gt; &amp; *bold*\n"
        "\n00:00:02.000 --> 00:00:02.500\n0:03\n"
    )


def test_titles_of_chapters_end_with_whole_words():
    long = Sentence("Now pry off the little cap on the handle with a flat screwdriver under the cap of it", 0.0, 2.0)
    told = chapters(make_summary(segments=[(0.0, 2.0, 0.9)], sentences=[long]))
    assert "0:00 Now pry off the little cap on the handle with a flat…\n" in told


def test_words_in_markdown_are_words():
    text = markdown(make_summary("my *talk*.mp4", [(0.0, 2.0, 0.9), (5.0, 6.0, 0.5)], SENTENCES[:1]), "../a b(1).mp4")
    assert text.startswith("# my \\*talk\\*.mp4\n")
    assert "[source](<../a%20b%281%29.mp4>)" in text
    assert "- [0:00 to 0:02](summary.html#t=0.00) Red \\<b\\> \\& \\*bold\\*." in text
    assert "- [0:05 to 0:06](summary.html#t=5.00) (nothing said)" in text
    assert "- No checkpoint given." in text
    assert "3.0 of 6.0 s in 2 segments, at most 3 s (" in text
    assert "2.0 of 6.0 s in 1 segment, at most 3 s (" in markdown(make_summary(segments=[(0.0, 2.0, 0.9)]), "talk.mp4")


def test_subtitles_move_with_their_segments():
    sentences = [Sentence("a", 0.0, 4.0), Sentence("b", 5.0, 7.0), Sentence("c", 20.0, 22.0)]
    segments = [Segment(3.0, 6.0, 1.0), Segment(19.0, 21.0, 1.0)]
    assert begins(segments) == [0.0, 3.0]
    assert retime(sentences, segments) == [
        Sentence("a", 0.0, 1.0), Sentence("b", 2.0, 3.0), Sentence("c", 4.0, 5.0)
    ]  # fmt: skip


def test_a_full_disk_leaves_nothing_and_says_so(source, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hiersum_hf.summary.files.plot_summary", fails)
    with pytest.raises(OSError, match="out: the disk is full; the unfinished summary was removed"):
        write_summary(make_summary(source.name), source, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_summary_survives_a_failed_one(source, tmp_path, monkeypatch):
    folder = write_summary(make_summary(source.name), source, tmp_path / "out")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setattr("hiersum_hf.summary.files.chapters", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_summary(make_summary(source.name), source, folder, overwrite=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    with pytest.raises(FileExistsError, match="--overwrite"):
        write_summary(make_summary(source.name), source, folder)


def test_folders_are_named_by_video_and_budget(tmp_path):
    assert output_folder("x/talk.final.mp4", "out").parts == ("out", "talk.final")
    assert output_folder("talk.mp4", "out", "60s").parts == ("out", "talk", "60s")
    assert output_folder("...mp4", "out").parts == ("out", "video")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="file: expected a folder for summaries"):
        refuse_existing(tmp_path / "file" / "talk", overwrite=True)


def test_the_video_is_found_from_the_folder(tmp_path):
    assert relative_path(tmp_path / "talk.mp4", tmp_path / "out" / "talk") == "../../talk.mp4"


@pytest.mark.parametrize(
    ("time_s", "text"), [(0, "0:00"), (7.9, "0:07"), (754, "12:34"), (3599.99, "59:59"), (3723, "1:02:03")]
)
def test_clock(time_s, text):
    assert clock(time_s) == text


def test_a_notebook_shows_curve_segments_and_words():
    summary = make_summary("<i>talk</i>.mp4", [(0.0, 2.0, 0.9), (4.5, 6.0, 0.25)], SENTENCES[:1])
    shown = summary._repr_html_()
    assert "&lt;i&gt;talk&lt;/i&gt;.mp4: 3.5 of 6.0 s (training-free)" in shown
    assert "<td>0:00 to 0:02</td><td>0.90</td>" in shown
    assert "Red &lt;b&gt; &amp; *bold*." in shown
    assert "<li>No checkpoint given.</li>" in shown
    assert '<rect x="750.00" width="250.00"' in shown
    assert "<i>" not in shown


def test_the_curve_of_a_long_video_stays_small():
    n = 72_000  # ten hours
    scores = {"times_s": (np.arange(n) / 2).tolist(), "values": (np.arange(n) / n).tolist()}
    svg = replace(make_summary(), duration_s=n / 2, scores=scores).to_svg()
    assert len(svg) < 20_000
    points = [tuple(map(float, p.split(","))) for p in svg.split('points="')[1].split('"')[0].split()]
    assert points[0] == pytest.approx((0.5, 120), abs=0.6)
    assert points[-1] == pytest.approx((999.5, 0), abs=0.6)
    assert ">9:00:00<" in svg


def test_a_video_is_never_overwritten_by_its_own_summary(tmp_path):
    """summary.mp4 in a folder summary is where its summary goes."""
    video = tmp_path / "summary" / "summary.mp4"
    video.parent.mkdir()
    video.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"summary\.mp4: expected a video elsewhere"):
        refuse_video(video, output_folder(video, tmp_path))
    refuse_video(video, output_folder(video, tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    ("texts", "row"),
    [
        (["Paint the fence.", "Slice the tomato."], "Paint the fence; Slice the tomato"),
        (["Wait..", "Why?", "Wait …", "and so on..."], "Wait..; Why?; Wait …; and so on..."),
        ([], ""),
    ],
)
def test_steps_in_a_row_have_no_full_stops_between(texts, row):
    assert in_a_row(texts) == row
