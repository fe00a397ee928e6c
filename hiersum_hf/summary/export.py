"""A summary as a timeline of editors and a list of players, exact to the frame."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hiersum_hf.files.escape import one_line
from hiersum_hf.files.remote import named
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import Segment, Summary
from hiersum_hf.video.reader import probe
from hiersum_hf.video.timecode import Frames, read_frames


EXPORTS = {
    "otio": "summary.otio", "edl": "summary.edl", "fcpxml": "summary.fcpxml", "fcp7xml": "summary.xml",
    "m3u": "summary.m3u", "ffmpeg": "summary.sh",
}  # fmt: skip
NEEDED = {"otio": "opentimelineio", "fcp7xml": "otio_fcp_adapter"}
INSTALL = 'Exports otio and fcp7xml need OpenTimelineIO and its adapter: pip install "hiersum-hf[editors]"'
COLORS = {"step": "GREEN", "sentence": "YELLOW"}
REEL = 8  # letters of a reel's name in an EDL
SCRIPT = """#!/bin/sh
# Cuts the summary out of its source with FFmpeg, exact to the frame; options and the output follow:
#   sh summary.sh -c:v libx264 -crf 18 output.mp4
"""


@dataclass(frozen=True)
class Mark:
    """What is marked on a clip: a step of the description, or a sentence.

    `first` and `stop` are frames from the start of the source.
    """

    kind: str
    text: str
    first: int
    stop: int


@dataclass(frozen=True)
class Clip:
    """Frames of the source, [`first`, `stop`) from its start, that lie at frame `at` of the summary."""

    first: int
    stop: int
    at: int
    marks: tuple[Mark, ...]

    @property
    def length(self) -> int:
        """How many frames it has."""
        return self.stop - self.first


@dataclass(frozen=True)
class Timeline:
    """A summary in frames.

    Args:
        name: Of the video.
        source: Its whole path.
        frames: How its frames are counted.
        clips: What of it the summary shows.
    """

    name: str
    source: Path
    frames: Frames
    clips: tuple[Clip, ...]

    @property
    def length(self) -> int:
        """How many frames the summary has."""
        return self.clips[-1].at + self.clips[-1].length


def check_exports(names: Collection[str]) -> None:
    """Refuse names that are no export, and those whose library is missing.

    Raises:
        HierSumError: There is no such export.
        ImportError: Its library is not installed.
    """
    unknown = sorted({*names} - {*EXPORTS})
    if unknown:
        raise HierSumError(f"--export: expected some of {', '.join(EXPORTS)}; found {', '.join(map(repr, unknown))}")
    if any(name in NEEDED and find_spec(NEEDED[name]) is None for name in names):
        raise ImportError(INSTALL)


def write_exports(summary: Summary, video: Path, link: str, folder: Path, names: Collection[str]) -> list[str]:
    """Write a summary for editors and players, as some of `EXPORTS`.

    A frame belongs to a segment iff start_s <= t < end_s, as in the short video.

    Args:
        summary: Of this video.
        video: The source; its packets are read.
        link: Its path relative to where the files will lie.
        folder: Where the files are written.
        names: Keys of `EXPORTS`.

    Returns:
        Notes for a user, on a rate that was conformed.

    Raises:
        HierSumError: No frame of the video lies in the segments.
    """
    timeline = read_timeline(summary, video)
    writers: dict[str, Callable[[], str]] = {
        "otio": lambda: _otio(timeline),
        "edl": lambda: edl(timeline),
        "fcpxml": lambda: fcpxml(timeline),
        "fcp7xml": lambda: _fcp7xml(timeline),
        "m3u": lambda: playlist(summary.segments, timeline, link),
        "ffmpeg": lambda: script(timeline, link, probe(video).begin_s),
    }
    for name in names:
        (folder / EXPORTS[name]).write_text(writers[name](), encoding="utf-8", newline="\n")
    return [*timeline.frames.notes]


def read_timeline(summary: Summary, video: Path) -> Timeline:
    """Count a summary in frames of its video."""
    frames = read_frames(video)
    clips, at = list[Clip](), 0
    for number, segment in enumerate(summary.segments):
        first, stop = frames.at(segment.start_s), frames.at(segment.end_s)
        if stop > first:
            clips.append(Clip(first, stop, at, _marks(summary, number, frames, first, stop)))
            at += stop - first
    if not clips:
        raise HierSumError(f"{video}: expected frames in the segments of the summary, found none")
    return Timeline(one_line(video.name), video.resolve(), frames, tuple(clips))


def _marks(summary: Summary, number: int, frames: Frames, first: int, stop: int) -> tuple[Mark, ...]:
    segment = summary.segments[number]
    steps = [Mark("step", one_line(text), first, first + 1) for text in summary.steps_in(number)]
    said = [
        (one["text"], max(first, frames.at(one["start_s"])), min(stop, frames.at(one["end_s"])))
        for one in summary.key_sentences
        if segment.start_s <= (one["start_s"] + one["end_s"]) / 2 < segment.end_s
    ]
    return (*steps, *(Mark("sentence", one_line(text), a, b) for text, a, b in said if a < b))


def edl(timeline: Timeline) -> str:
    """Write an edit decision list, CMX 3600.

    The adapter of OpenTimelineIO does not say whether frames are dropped, counts 29.97 as dropped always, and gives
    the times of markers in the source.
    """
    frames, stem = timeline.frames, timeline.source.stem
    reel = re.sub(r"[^A-Z0-9]", "", (frames.reel or stem).upper())[:REEL] or "AX"
    channels = ("V", "B", "AA/V")[min(frames.sound[1], 2)]
    lines = [f"TITLE: {timeline.name}", f"FCM: {'' if frames.drop else 'NON-'}DROP FRAME", ""]
    for number, clip in enumerate(timeline.clips, 1):
        bounds = frames.first + clip.first, frames.first + clip.stop, clip.at, clip.at + clip.length
        lines += [
            f"{number:03d}  {reel:{REEL}} {channels:5} C        {' '.join(map(frames.code, bounds))}",
            f"* FROM CLIP NAME:  {timeline.name}",
            f"* FROM FILE: {one_line(str(timeline.source))}",
            *(f"* LOC: {frames.code(clip.at + m.first - clip.first)} {COLORS[m.kind]:7} {m.text}" for m in clip.marks),
        ]
    return "\n".join(lines) + "\n"


def fcpxml(timeline: Timeline) -> str:
    """Write XML of Final Cut Pro, version 1.8, which Resolve reads too.

    The adapter of OpenTimelineIO knows no rate of 1001ths: it leaves out the duration of a frame.
    """
    frames = timeline.frames
    form, clock = {"format": "r1"}, {"tcFormat": "DF" if frames.drop else "NDF"}

    def seconds(count: int) -> str:
        at = count / frames.rate
        return f"{at.numerator}s" if at.denominator == 1 else f"{at.numerator}/{at.denominator}s"

    root = ElementTree.Element("fcpxml", version="1.8")
    resources = ElementTree.SubElement(root, "resources")
    size = {"width": str(frames.size[0]), "height": str(frames.size[1])}
    ElementTree.SubElement(resources, "format", size, id="r1", frameDuration=seconds(1))
    asset = {"id": "r2", "name": timeline.name, "src": named(timeline.source.as_uri()), "start": seconds(frames.first)}
    asset |= {"duration": seconds(frames.count), "hasVideo": "1"} | form
    if frames.sound[1]:
        asset |= {"hasAudio": "1", "audioSources": "1", "audioChannels": str(frames.sound[1])}
        asset |= {"audioRate": str(frames.sound[0])}
    ElementTree.SubElement(resources, "asset", asset)
    event = ElementTree.SubElement(ElementTree.SubElement(root, "library"), "event", name=timeline.name)
    project = ElementTree.SubElement(event, "project", name=timeline.name)
    sequence = ElementTree.SubElement(
        project, "sequence", form, duration=seconds(timeline.length), tcStart="0s", **clock
    )
    spine = ElementTree.SubElement(sequence, "spine")
    for clip in timeline.clips:
        place = {"ref": "r2", "name": timeline.name, "offset": seconds(clip.at)}
        place |= {"start": seconds(frames.first + clip.first), "duration": seconds(clip.length)}
        element = ElementTree.SubElement(spine, "asset-clip", place | form | clock)
        for mark in clip.marks:
            at = {"start": seconds(frames.first + mark.first), "value": mark.text}
            if mark.kind == "step":
                ElementTree.SubElement(element, "chapter-marker", at, duration=seconds(1), posterOffset="0s")
            else:
                ElementTree.SubElement(element, "marker", at, duration=seconds(mark.stop - mark.first))
    return _xml(root)


def _otio(timeline: Timeline) -> str:
    """Write the JSON of OpenTimelineIO."""
    import opentimelineio as otio

    written: str = otio.adapters.write_to_string(as_otio(timeline), "otio_json")
    return written


def _fcp7xml(timeline: Timeline) -> str:
    """Write XML of Final Cut Pro 7, which Premiere and Resolve read, by the adapter of OpenTimelineIO.

    It takes the time code off the bounds of clips, but not off the markers, says of every file that it has sound, and
    ties no sound to its pictures: all of this is mended here.
    """
    import opentimelineio as otio

    made, frames = as_otio(timeline), timeline.frames
    size = {"width": str(frames.size[0]), "height": str(frames.size[1])}
    media: dict[str, Any] = {"video": {"samplecharacteristics": size}}
    media |= {"audio": {"channelcount": str(frames.sound[1])}} if frames.sound[1] else {}
    code = {"timecode": {"displayformat": "DF" if frames.drop else "NDF"}}
    made.metadata["fcp_xml"] = code | {"media": {"video": {"format": {"samplecharacteristics": size}}}}
    tracks = [(track.kind.lower(), str(max(1, number))) for number, track in enumerate(made.tracks)]
    for (kind, index), track in zip(tracks, made.tracks, strict=True):
        for clip in track:
            clip.metadata["fcp_xml"] = {"sourcetrack": {"mediatype": kind, "trackindex": index}}
            clip.media_reference.metadata["fcp_xml"] = code | {"media": media}
            for marker in clip.markers:
                start = marker.marked_range.start_time - clip.media_reference.available_range.start_time
                marker.marked_range = otio.opentime.TimeRange(start, marker.marked_range.duration)
    root = ElementTree.fromstring(otio.adapters.write_to_string(made, "fcp_xml"))
    clips = [track.findall("clipitem") for track in root.iter("track")]
    for place, together in enumerate(zip(*clips, strict=True), 1):
        for clip in together if len(tracks) > 1 else ():
            for (kind, index), other in zip(tracks, together, strict=True):
                link = ElementTree.SubElement(clip, "link")
                about = {
                    "linkclipref": other.attrib["id"],
                    "mediatype": kind,
                    "trackindex": index,
                    "clipindex": str(place),
                }
                for name, text in about.items():
                    ElementTree.SubElement(link, name).text = text
    return _xml(root)


def _xml(root: ElementTree.Element) -> str:
    """Write a document with its head."""
    ElementTree.indent(root)
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE {root.tag}>\n'
    return head + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_otio(timeline: Timeline) -> Any:
    """Make a timeline of OpenTimelineIO, with a track of pictures and one for each channel of sound, of two at most."""
    import opentimelineio as otio

    frames = timeline.frames
    rate = float(frames.rate)

    def span(first: int, length: int) -> Any:
        return otio.opentime.TimeRange(
            otio.opentime.RationalTime(first, rate), otio.opentime.RationalTime(length, rate)
        )

    made = otio.schema.Timeline(timeline.name, global_start_time=otio.opentime.RationalTime(0, rate))
    for number in range(1 + min(frames.sound[1], 2)):
        kind = "Audio" if number else "Video"
        track = otio.schema.Track(f"{kind[0]}{number or 1}", kind=kind)
        for clip in timeline.clips:
            reference = otio.schema.ExternalReference(named(timeline.source.as_uri()), span(frames.first, frames.count))
            reference.name = timeline.name
            item = otio.schema.Clip(timeline.name, reference, span(frames.first + clip.first, clip.length))
            for mark in () if number else clip.marks:
                marked = span(frames.first + mark.first, mark.stop - mark.first)
                item.markers.append(otio.schema.Marker(mark.text, marked, COLORS[mark.kind], comment=mark.kind))
            track.append(item)
        made.tracks.append(track)
    return made


def playlist(segments: Collection[Segment], timeline: Timeline, link: str) -> str:
    """Write a playlist of stretches, as VLC plays them."""
    # Signs that begin a comment or an escape in some players
    path = named(timeline.source.as_uri()) if set("%#?") & set(link) else link
    lines = ["#EXTM3U"]
    for segment in segments:
        lines += [
            f"#EXTINF:{segment.end_s - segment.start_s:.3f},{timeline.name}",
            f"#EXTVLCOPT:start-time={segment.start_s:.3f}",
            f"#EXTVLCOPT:stop-time={segment.end_s:.3f}",
            path,
        ]
    return "\n".join(lines) + "\n"


def script(timeline: Timeline, link: str, begin_s: float) -> str:
    """Write a command that cuts the summary with FFmpeg.

    Args:
        timeline: The summary.
        link: Path of the video from the folder of the script.
        begin_s: When the pictures begin after the file does.
    """
    frames, parts, joined = timeline.frames, list[str](), ""
    conformed = f"fps={frames.rate}," if frames.conformed else ""
    for number, clip in enumerate(timeline.clips):
        trim = f"trim=start_frame={clip.first}:end_frame={clip.stop},setpts=PTS-STARTPTS"
        parts.append(f"[0:v:0]{conformed}{trim}[v{number}]")
        joined += f"[v{number}]"
        if frames.sound[1]:
            start_s, end_s = (float(one / frames.rate) + begin_s for one in (clip.first, clip.stop))
            parts.append(f"[0:a:0]atrim={start_s:.6f}:{end_s:.6f},asetpts=PTS-STARTPTS[a{number}]")
            joined += f"[a{number}]"
    sound = int(frames.sound[1] > 0)
    parts.append(f"{joined}concat=n={len(timeline.clips)}:v=1:a={sound}[v]{'[a]' * sound}")
    maps = "-map '[v]'" + " -map '[a]'" * sound
    graph = ";\n".join(parts)
    folder = "" if Path(link).is_absolute() else '"$(dirname "$0")"/'
    return f"{SCRIPT}ffmpeg -i {folder}{shlex.quote(link)} -filter_complex '{graph}' {maps} \"$@\"\n"
