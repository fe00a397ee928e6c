"""Subtitle tracks inside a video file to sentences.

The language chooses the track. Times are in seconds from the start of the best video stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from av.codec.codec import Properties
from av.stream import Disposition
from pysubs2 import SSAEvent

from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Sentence
from hiersum_hf.texts.captions import Codes, triplets_of
from hiersum_hf.texts.cues import clean
from hiersum_hf.texts.encoding import plain
from hiersum_hf.texts.subtitles import sentences_of_cues, sentences_of_events
from hiersum_hf.video.clock import move, packets_of
from hiersum_hf.video.reader import VideoFile, leaps, open_media


NO_TRACK = "no subtitle track"
TO_DO = ". Put its text beside the video as NAME.srt; programs such as Subtitle Edit read it from pictures"
# Formats whose packets hold the cues of a file as they were written, by container: FFmpeg takes braces and backslashes
# of such text for SubStation's
AS_WRITTEN = {"matroska,webm": ("subrip", "webvtt"), "mov,mp4,m4a,3gp,3g2,mj2": ("mov_text",)}
# Says of a track or a file that it is not what is said, or only a part of it
PARTIAL = re.compile(r"\b(signs?|songs?|lyrics|karaoke|forced|foreign|comment(s|ary|aries)?)\b", re.IGNORECASE)
WHOLE = 0.6  # of the fullest track's text: a track with less does not have all that is said; not given in the paper


@dataclass(frozen=True)
class SubtitleTrack:
    """A subtitle track as the file describes it.

    Args:
        index: Number of the stream in the file.
        language: Tag as written there ("eng", "de"), "und" where there is none.
        title: "" where there is none.
        codec: FFmpeg's name of the format.
        is_text: False for pictures of text (Blu-ray, DVD, DVB) and formats that FFmpeg does not decode.
        default, forced: Flags; a forced track holds only signs and foreign words.
    """

    index: int
    language: str
    title: str
    codec: str
    is_text: bool
    default: bool
    forced: bool

    def __str__(self) -> str:
        notes = [self.language, self.title, "" if self.is_text else f"{self.codec}, not text", "forced" * self.forced]
        return f"track {self.index} ({', '.join(filter(None, notes))})"


def subtitle_tracks(video: str | Path | VideoFile) -> list[SubtitleTrack]:
    """List all subtitle tracks of a file in its order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not readable.
    """
    with _opened(video) as container:
        return [_described(stream) for stream in container.streams.subtitles]


def text_tracks(video: str | Path | VideoFile) -> list[SubtitleTrack]:
    """List the subtitle tracks that hold text.

    Raises what `subtitle_tracks` raises.
    """
    return [track for track in subtitle_tracks(video) if track.is_text]


def embedded_subtitles(
    video: str | Path | VideoFile, language: str | None = None
) -> tuple[list[Sentence], str, list[str]]:
    """Read the sentences of the text track that suits best.

    The default track comes first, unless another of its language holds far more text: what is on signs is often the
    default. Tracks of signs, songs and commentary by their title come last, forced and empty ones are never read.

    Args:
        video: Any file that FFmpeg reads.
        language: "en", "eng" and "en-GB" all find English; among those, the same tag comes first. Default: any.

    Returns:
        (sentences, what was read, notes): no sentences if there is no such track, and the second part says what is
        there. A note counts the cues of the track that are left out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not readable, or it has text tracks but none in this language.
    """
    path, tracks = video.path if isinstance(video, VideoFile) else video, subtitle_tracks(video)
    if language is not None and any(track.is_text for track in tracks):
        spoken = [track for track in tracks if base_language(track.language) == base_language(language)]
        if not any(track.is_text for track in spoken):
            found = ", ".join(map(str, tracks))
            raise InputError(f"{path}: expected a text track in language {language!r}, found {found}")
        tracks = spoken
    # The very tag asked for ("en-GB") before others of its language, then the default track
    ranked = sorted(tracks, key=lambda track: (_kind(track)[0], track.language != language, not track.default))
    ranked = [track for track in ranked if track.is_text and not track.forced]
    while ranked:
        alike = [track for track in ranked if _kind(track) == _kind(ranked[0])]
        read = {track: _sentences(video, track, str(path)) for track in alike}
        letters = {track: letters_of(sentences) for track, (sentences, _) in read.items()}
        fullest = max(letters.values())
        for track in alike:
            if fullest and letters[track] >= WHOLE * fullest:
                sentences, notes = read[track]
                return sentences, f"subtitle {track} of {path}", notes
        ranked = [track for track in ranked if track not in read]
    found = f"no usable text among subtitle {', '.join(map(str, tracks))}" if tracks else NO_TRACK
    to_do = "" if all(track.is_text for track in tracks) else TO_DO
    return [], f"{path} has {found}{to_do}", []


def letters_of(sentences: Sequence[Sentence]) -> int:
    """Count the letters of sentences: how much is said in them."""
    return sum(len(sentence.text) for sentence in sentences)


def _kind(track: SubtitleTrack) -> tuple[bool, str]:
    """Tell whether a track's title says that it is not what is said, and its language."""
    return PARTIAL.search(track.title) is not None, base_language(track.language)


def from_pictures_on(video: str | Path | VideoFile, sentences: Sequence[Sentence]) -> list[Sentence]:
    """Count the times of a subtitle file from the start of the pictures.

    Players count them from the start of the container, which may begin with sound alone. Raises what `probe` raises.
    """
    begin_s = (video if isinstance(video, VideoFile) else VideoFile(video)).info.begin_s
    return [replace(one, start_s=one.start_s - begin_s, end_s=one.end_s - begin_s) for one in sentences]


def base_language(tag: str) -> str:
    """Return the language of a tag in its shortest code.

    "eng", "en" and "en-GB" give "en", "ger" and "deu" give "de".
    """
    from langcodes import Language
    from langcodes.tag_parser import LanguageTagError

    try:
        return Language.get(tag).language or "und"
    except LanguageTagError:
        return tag.lower()


def stream_start_s(stream: Any) -> float:
    """Tell when a stream starts on the clock of its file.

    It is 0 where there is no stream or it does not say.
    """
    return float((stream.start_time or 0) * stream.time_base) if stream else 0.0


@contextmanager
def _opened(video: str | Path | VideoFile, to_read: bool = False) -> Iterator[Any]:
    """Open the container.

    It need hold no pictures unless it is a VideoFile.
    """
    if not isinstance(video, VideoFile):
        with open_media(video) as container:
            yield container
    elif to_read:
        with video.packets() as (container, _):
            yield container
    else:
        yield video.header()[0]


def _described(stream: Any) -> SubtitleTrack:
    """Describe a track by its stream."""
    codec = stream.codec_context.codec if stream.codec_context else None
    return SubtitleTrack(
        index=stream.index,
        language=stream.metadata.get("language", "und"),
        title=stream.metadata.get("title", ""),
        codec=codec.canonical_name if codec else "unknown",
        is_text=codec is not None and Properties.TEXT_SUB in Properties(codec.properties),
        default=bool(stream.disposition & Disposition.default),
        forced=bool(stream.disposition & Disposition.forced),
    )


def _sentences(video: str | Path | VideoFile, track: SubtitleTrack, name: str) -> tuple[list[Sentence], list[str]]:
    """Read the sentences of a track, and what to note of them."""
    events, cues, speaker, codes = list[SSAEvent](), list[Sentence](), "", Codes()
    with _opened(video, to_read=True) as container:
        stream, origin_s = container.streams[track.index], stream_start_s(container.streams.best("video"))
        is_written, found = track.codec in AS_WRITTEN.get(container.format.name, ()), leaps(container)
        for packet in packets_of(container, stream):
            move(packet, found)
            # Times on the file's clock, moved to the start of the pictures
            begin_s = float((packet.pts or 0) * packet.time_base) - origin_s
            end_s = begin_s + float((packet.duration or 0) * packet.time_base)
            if track.codec == "eia_608":  # FFmpeg gives a text when it goes
                codes.add(begin_s, triplets_of(bytes(packet)))
                continue
            if is_written:
                text, speaker = clean(_written(packet, track.codec), speaker, track.codec == "webvtt")
                cues.append(Sentence(text, round(begin_s, 3), round(end_s, 3)))
                continue
            for item in stream.decode(packet):
                events.append(_event(item.ass.decode("utf-8", "replace"), round(begin_s * 1000), round(end_s * 1000)))
    if track.codec == "eia_608":
        return codes.sentences(), []
    return (sentences_of_cues(cues), []) if is_written else sentences_of_events(events, f"{name}, {track}")


def _written(packet: Any, codec: str) -> str:
    """Return the text of a packet as it was written."""
    content = bytes(packet)
    if codec == "mov_text":  # two bytes with its length, and its style behind it
        content = content[2 : 2 + int.from_bytes(content[:2], "big")]
    is_wide = content[:2] in (b"\xfe\xff", b"\xff\xfe")
    return plain(content.decode("utf-16" if is_wide else "utf-8", "replace")).strip("\0")


def _event(line: str, begin_ms: int, end_ms: int) -> SSAEvent:
    """Turn one line of FFmpeg into an event.

    FFmpeg turns every text format into ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text.
    """
    *_, effect, text = line.split(",", 8)  # the text may hold commas itself
    return SSAEvent(begin_ms, end_ms, text, effect=effect)
