"""Cuts for editors and players, read back by other programs' readers, equal to the frame."""

import shlex
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree

import av
import numpy as np
import pytest

from hiersum_hf import HierSumError
from hiersum_hf.records import Segment, Sentence
from hiersum_hf.summary import export
from hiersum_hf.summary.export import EXPORTS, as_otio, check_exports, edl, fcpxml, read_timeline, write_exports
from hiersum_hf.summary.files import list_link, refuse_video, write_summary
from hiersum_hf.video.timecode import read_code
from tests.makers.summaries import make_summary
from tests.makers.videos import steady, synthetic


SEGMENTS = ((0.5, 1.7, 0.9), (2.0, 3.1, 0.5))
SAID = (Sentence("Grün & <b> “x”\n \x1b[1m y", 0.6, 1.0), Sentence("Blue.", 2.5, 2.9))
SAID_BACK = ["Grün & <b> “x” [1m y", "Paint", "Blue."]
# Of each source: frames of the two segments by hand, ceil(start_s x rate) and ceil(end_s x rate); its first frame
SOURCES = {
    "23.976": (Fraction(24000, 1001), "01:02:03:04", 24 * 3723 + 4, ((12, 41), (48, 75))),
    "25": (Fraction(25), "10:00:00:00", 900_000, ((13, 43), (50, 78))),
    "29.97 drop": (Fraction(30000, 1001), "00:00:59;20", 1790, ((15, 51), (60, 93))),
    "29.97": (Fraction(30000, 1001), "00:00:59:20", 1790, ((15, 51), (60, 93))),
    "50": (Fraction(50), None, 0, ((25, 85), (100, 155))),
    "variable": (Fraction(30), None, 0, ((15, 51), (60, 93))),
}


def summary_of(name):
    steps = ({"text": "Paint", "segments": [1], "found": True},)
    return replace(make_summary(name, SEGMENTS, SAID), steps=steps)


@pytest.fixture(scope="module", params=SOURCES)
def exported(request, tmp_path_factory):
    """The exports of a source: its folder, the rate, the number of its first frame, and the frames of its segments."""
    rate, code, first, frames = SOURCES[request.param]
    folder = tmp_path_factory.mktemp("it's über uns")
    if request.param == "variable":  # every 7th picture of 30 a second is missing, as in recordings of screens
        kept = [k for k in range(120) if k % 7 or k in (15, 51, 60, 93)]
        video = synthetic(folder / "a b %41.mp4", np.array(kept) / 30)
    else:
        video = steady(folder / ("a b %41.mov" if code else "a b %41.mkv"), rate, int(4 * rate), code)
    names = [name for name in EXPORTS if name not in export.NEEDED]
    if export.find_spec("otio_fcp_adapter"):
        names = [*EXPORTS]
    notes = write_exports(summary_of(video.name), video, list_link(video, folder), folder, names)
    assert [note[:38] for note in notes] == ["a b %41.mp4: its frame rate varies (a "] * (request.param == "variable")
    return folder, video, rate, first, frames


def read_back(otio, timeline, kind="Video"):
    """(rate, [source start, source stop) of each clip, names and starts of markers, address of the source)."""
    track = next(track for track in timeline.tracks if track.kind == kind)
    spans = [
        (clip.source_range.start_time.value, clip.source_range.end_time_exclusive().value)
        for clip in track.find_clips()
    ]
    marks = [(mark.name, mark.marked_range.start_time.value) for clip in track.find_clips() for mark in clip.markers]
    assert [range_.start_time.value for range_ in map(track.range_of_child_at_index, range(len(spans)))] == [
        0,
        spans[0][1] - spans[0][0],
    ], "the clips follow each other"
    return track.find_clips()[0].source_range.start_time.rate, spans, marks, track.find_clips()[0].media_reference


def in_source(first, frames):
    return [(first + start, first + stop) for start, stop in frames]


def test_opentimelineio_reads_back_what_was_meant(exported):
    otio = pytest.importorskip("opentimelineio")
    folder, video, rate, first, frames = exported
    made = otio.adapters.read_from_file(str(folder / "summary.otio"))
    assert made.is_equivalent_to(as_otio(read_timeline(summary_of(video.name), video)))
    found_rate, spans, marks, source = read_back(otio, made)
    assert (found_rate, spans) == (float(rate), in_source(first, frames))
    assert [name for name, _ in marks] == SAID_BACK
    assert marks[1][1] == first + frames[1][0]
    assert source.target_url == video.as_uri()


def test_final_cut_7_reads_back_equal(exported):
    pytest.importorskip("otio_fcp_adapter")
    import opentimelineio as otio

    folder, video, rate, first, frames = exported
    made = otio.adapters.read_from_file(str(folder / "summary.xml"), "fcp_xml")
    found_rate, spans, marks, source = read_back(otio, made)
    assert (found_rate, spans) == (pytest.approx(float(rate), abs=1e-6), in_source(first, frames))
    assert [name for name, _ in marks] == SAID_BACK
    assert marks[1][1] == frames[1][0], "markers count from the start of the file, not by its time code"
    assert source.target_url == video.as_uri()
    assert source.available_range.start_time.value == first
    root = ElementTree.parse(folder / "summary.xml").getroot()
    for clip in root.iter("clipitem"):
        links = [link.findtext("linkclipref") for link in clip.iter("link")]
        assert clip.attrib["id"] in links or len(made.tracks) == 1, "the sound moves with its pictures"


def test_an_edit_decision_list_is_read_by_two_programs(exported):
    pycmx = pytest.importorskip("pycmx")
    pytest.importorskip("otio_cmx3600_adapter")
    import opentimelineio as otio

    folder, video, rate, first, frames = exported
    made = otio.adapters.read_from_file(str(folder / "summary.edl"), rate=float(rate))
    _, spans, marks, source = read_back(otio, made)
    assert spans == in_source(first, frames)
    assert source.target_url == str(video)
    text = (folder / "summary.edl").read_text(encoding="utf-8")
    if ";" not in text:  # the adapter reads no marker at a time code with numbers dropped
        assert [name for name, _ in marks] == SAID_BACK
        assert marks[1][1] == frames[0][1] - frames[0][0], "in the time of the summary, as Avid counts"
    with (folder / "summary.edl").open(encoding="utf-8") as file:
        edits = [event.edits[0] for event in pycmx.parse_cmx3600(file).events]
    codes = [[read_code(code, rate) for code in (one.source_in, one.source_out)] for one in edits]
    assert [tuple(number for number, _ in pair) for pair in codes] == spans
    assert {one.clip_name for one in edits} == {video.name}
    assert ("FCM: DROP FRAME" in text) == codes[0][0][1]


def test_final_cut_x_has_whole_frames(exported):
    """Read plainly: bladeworks 0.1.4 and fcp-mcp-server 0.27.2 read the same, OpenTimelineIO's adapter whole rates."""
    folder, video, rate, first, frames = exported
    root = ElementTree.parse(folder / "summary.fcpxml").getroot()

    def count(element, name):
        number = Fraction(element.attrib[name].removesuffix("s")) * rate
        assert number.denominator == 1
        return int(number)

    assert count(root.find("resources/format"), "frameDuration") == 1
    asset = root.find("resources/asset")
    assert (asset.attrib["src"], count(asset, "start")) == (video.as_uri(), first)
    clips = root.findall(".//spine/asset-clip")
    assert [(count(one, "start"), count(one, "start") + count(one, "duration")) for one in clips] == in_source(
        first, frames
    )
    assert [count(one, "offset") for one in clips] == [0, frames[0][1] - frames[0][0]]
    assert count(root.find(".//sequence"), "duration") == sum(stop - start for start, stop in frames)
    marks = [one for clip in clips for one in clip]
    assert [(one.tag, one.attrib["value"]) for one in marks] == list(
        zip(("marker", "chapter-marker", "marker"), SAID_BACK, strict=True)
    )
    assert count(marks[1], "start") == first + frames[1][0]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's command is not installed")
def test_ffmpeg_cuts_the_same_frames(exported, tmp_path):
    folder, _, rate, _, frames = exported
    arguments = ["-v", "error", "-c:v", "mpeg4", str(tmp_path / "out put.mkv")]
    subprocess.run(["sh", str(folder / "summary.sh"), *arguments], check=True, cwd=tmp_path, stdin=subprocess.DEVNULL)
    with av.open(str(tmp_path / "out put.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) == sum(stop - start for start, stop in frames)
        assert container.streams.video[0].average_rate == pytest.approx(rate, rel=1e-3)


@pytest.fixture
def video(tmp_path):
    return steady(tmp_path / "talk.mp4", 25, 100)


def test_exports_lie_beside_the_files_of_a_summary(video, tmp_path):
    folder = write_summary(
        summary_of("talk.mp4"), video, tmp_path / "out", SAID, files=["summary.json"], exports=["edl", "m3u"]
    )
    assert sorted(file.name for file in folder.iterdir()) == ["summary.edl", "summary.json", "summary.m3u"]
    assert (folder / "summary.m3u").read_text().splitlines() == [
        "#EXTM3U",
        "#EXTINF:1.200,talk.mp4",
        "#EXTVLCOPT:start-time=0.500",
        "#EXTVLCOPT:stop-time=1.700",
        "./../talk.mp4",
        "#EXTINF:1.100,talk.mp4",
        "#EXTVLCOPT:start-time=2.000",
        "#EXTVLCOPT:stop-time=3.100",
        "./../talk.mp4",
    ]


def test_a_conformed_rate_is_noted_in_the_summary(tmp_path):
    video = synthetic(tmp_path / "talk.mp4", np.arange(60) / 15)
    told = []
    write_summary(
        summary_of("talk.mp4"), video, tmp_path / "out", files=["summary.md"], exports=["edl"], written=told.append
    )
    note = "talk.mp4: it has 15 frames a second; conformed to 30 for editors."
    assert told[0].warnings[-1] == note
    assert note in (tmp_path / "out" / "summary.md").read_text()


@pytest.mark.parametrize(("letters", "found"), [("a%41.mp4", True), ("a#b.mp4", True), ("ü b.mp4", False)])
def test_a_playlist_gives_the_address_of_a_name_that_players_would_unescape(video, letters, found):
    video = video.rename(video.with_name(letters))
    timeline = read_timeline(summary_of(letters), video)
    path = export.playlist([Segment(0, 1, 1)], timeline, list_link(video, video.parent)).splitlines()[-1]
    assert path == (video.as_uri() if found else f"./{letters}")


@pytest.mark.parametrize("name", ["-y; touch x; '$(touch x)'.mp4", '`touch x` "$HOME" \\.mp4', "12:30.mp4"])
def test_a_name_is_a_name_to_the_shell(video, tmp_path, name):
    video = video.rename(video.with_name(name))
    write_exports(summary_of(name), video, list_link(video, tmp_path / "out"), tmp_path, ["ffmpeg"])
    words = shlex.split((tmp_path / "summary.sh").read_text(encoding="utf-8"), comments=True)
    assert words[:3] == ["ffmpeg", "-i", f"$(dirname $0)/./../{name}"]
    assert words[3] == "-filter_complex"


def test_a_slide_that_stands_to_the_end_is_all_there(tmp_path):
    video = synthetic(tmp_path / "talk.mp4", [0, 0.5, 1.2], tone_hz=440)  # of 3 s of sound
    timeline = read_timeline(make_summary("talk.mp4", ((1.5, 2.9, 0.5),)), video)
    assert [(clip.first, clip.stop) for clip in timeline.clips] == [
        (int(1.5 * timeline.frames.rate) + 1, int(2.9 * timeline.frames.rate) + 1)
    ]


def test_a_source_without_a_rate_or_a_readable_time_code_is_exported_with_a_note(tmp_path):
    names = [name for name in EXPORTS if name not in export.NEEDED or export.find_spec("otio_fcp_adapter")]
    still = synthetic(tmp_path / "still.mp4", [0.0], tone_hz=440)  # one picture beside 3 s of sound
    coded = steady(tmp_path / "talk.mkv", Fraction(25), 100, "later")
    for video, told in (
        (still, "it has no frame rate; conformed to 25 frames a second for editors."),
        (coded, "expected a time code HH:MM:SS:FF, found 'later': frames count from 0."),
    ):
        summary = make_summary(video.name, ((0.5, 1.5, 0.5),))
        (out := tmp_path / video.stem).mkdir()
        assert write_exports(summary, video, list_link(video, out), out, names) == [f"{video.name}: {told}"]
        timeline = read_timeline(summary, video)
        assert (timeline.frames.rate, timeline.frames.first) == (25, 0)
        assert [clip.length for clip in timeline.clips] == [25]
        assert "00:00:00:00 00:00:01:00" in edl(timeline), "where it lies in the summary"
        assert sorted(path.name for path in out.iterdir()) == sorted(EXPORTS[name] for name in names)


def test_a_segment_behind_the_pictures_is_left_out(video):
    summary = make_summary("talk.mp4", ((1, 2, 0.5), (4.5, 5, 0.5)))  # the pictures end at 4 s
    assert [(clip.first, clip.stop) for clip in read_timeline(summary, video).clips] == [(25, 50)]
    with pytest.raises(HierSumError, match=r"talk\.mp4: expected frames in the segments of the summary, found none"):
        read_timeline(make_summary("talk.mp4", ((4.5, 5, 0.5),)), video)


def test_a_silent_source_has_no_sound_in_any_timeline(tmp_path):
    video = synthetic(tmp_path / "talk.mp4", np.arange(100) / 25)
    timeline = read_timeline(summary_of("talk.mp4"), video)
    assert " V     C " in edl(timeline)
    assert "hasAudio" not in fcpxml(timeline)
    if export.find_spec("opentimelineio"):
        made = as_otio(timeline)
        assert [track.kind for track in made.tracks] == ["Video"]


def test_a_reel_without_latin_letters_is_an_unknown_one(video):
    timeline = read_timeline(summary_of("talk.mp4"), video.rename(video.with_name("講演.mp4")))
    assert edl(timeline).splitlines()[3].startswith("001  AX       AA/V  C ")


def test_what_is_no_export_or_not_installed_is_refused_before_any_work(video, tmp_path, monkeypatch):
    with pytest.raises(HierSumError, match=r"--export: expected some of otio, .*, ffmpeg; found 'aaf'"):
        check_exports(["edl", "aaf"])
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    check_exports(["edl", "fcpxml", "m3u", "ffmpeg"])
    with pytest.raises(ImportError, match=r'pip install "hiersum-hf\[editors\]"'):
        write_summary(summary_of("talk.mp4"), video, tmp_path / "out", exports=["otio"])
    assert not (tmp_path / "out").exists()


def test_a_video_that_an_export_would_overwrite_is_refused(tmp_path):
    with pytest.raises(HierSumError, match="expected a video elsewhere"):
        refuse_video(tmp_path / "summary.sh", tmp_path)
