"""The texts of a video file: what was given, what lies beside it under its name, what is in it, what is heard in it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from hiersum_hf.files.changed import listing_stamp
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Sentence, counted
from hiersum_hf.texts.captions import closed_captions
from hiersum_hf.texts.subtitles import as_description, fit_to_video, subtitles_and_notes
from hiersum_hf.texts.tracks import (
    NO_TRACK,
    PARTIAL,
    WHOLE,
    base_language,
    embedded_subtitles,
    from_pictures_on,
    letters_of,
)
from hiersum_hf.video.reader import VIDEO_SUFFIXES, VideoFile


SUBTITLES = (
    "srt",
    "vtt",
    "ass",
    "ssa",
    "ttml",
    "dfxp",
    "sbv",
    "json3",
    "srv3",
    "srv2",
    "srv1",
    "lrc",
    "smi",
    "sami",
    "tsv",
    "scc",
    "stl",
)
SIDE_FILES = {f".{suffix}": "subtitles" for suffix in SUBTITLES}
SIDE_FILES |= {".txt": "description", ".json": "description", ".description": "description", ".csv": "labels"}
INFO = ".info"  # NAME.info.json is what a downloader says of NAME

# Words between NAME and suffix that name no language: 1 = sounds are described too; others are `tracks.PARTIAL`
FULL = {"sdh": 1, "cc": 1, "default": 0, "orig": 0, "original": 0, "auto": 0, "asr": 0, "full": 0}
PART = 2  # in `read_tags`: only signs, foreign lines and the like
SPARSE = 1.0  # letters a second: a file with fewer may hold only these; speech has 10 and more; not given in the paper
RUN = 12  # letters by which texts are compared; not given in the paper


def read_texts(
    video: str | Path | VideoFile,
    duration_s: float,
    subtitles: str | Path | Iterable[Any] | None = None,
    description: str | Path | Sequence[Any] | dict[str, Any] | None = None,
    language: str | None = None,
    transcribe: str | None = None,
    device: str = "auto",
    listen: bool = True,
    encoding: str | None = None,
) -> tuple[tuple[Sentence, ...], tuple[str, ...], list[str]]:
    """Read sentences within the video, texts about it, and what to note of them.

    Args:
        video: The video file.
        duration_s: Its length.
        subtitles: As `subtitles.as_sentences` takes them; () = none. Default: a file beside the video, else
            a text track in it, else what `transcribe` hears.
        description: As `subtitles.as_description` takes it; () = none. Default: a file beside the video.
        language: Of subtitles, where there are several: "en", "eng", "de".
        transcribe: Size of the Whisper model for videos without subtitles; default: none is asked.
        device: Of the Whisper model.
        listen: False: only note that it will be asked.
        encoding: Of a subtitle file, as `subtitles.read_subtitles` takes it.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: Texts that were asked for are unreadable, or no sentence lies within the video.
    """
    notes: list[str] = []
    path = video.path if isinstance(video, VideoFile) else video
    beside, source = side_files(path, language), f"the subtitles of {path}"
    is_file = isinstance(subtitles, str | os.PathLike)
    if subtitles is None:
        read = partial(subtitles_and_notes, encoding=encoding)
        texts_of_file, file, notes = _beside(beside.get("subtitles", ()), read)
        subtitles, source, is_file = texts_of_file, str(file), True
        if file is not None:
            fuller = fuller_texts(video, file, texts_of_file, duration_s, beside["subtitles"], read, language)
            notes += nothing_fuller(file, path)
            subtitles, source, is_file, notes = fuller or (subtitles, source, is_file, notes)
    elif is_file and "\n" not in str(subtitles):
        source = str(subtitles)
    if subtitles is not None:
        found, heard = subtitles_and_notes(subtitles, encoding)
        if not found and isinstance(subtitles, str | os.PathLike):
            raise InputError(f"{source}: expected subtitles with text, found none. Leave them out, or give others.")
        found = from_pictures_on(video, found) if is_file and Path(path).exists() else found
    else:
        found, source, heard = _inside(video, str(path), language, transcribe if listen else None, device)
        if not found and language is not None:
            heard += _other_languages(Path(path), language, is_wish=transcribe is not None)
    notes += heard
    if description is None:
        description, _, said = _beside(beside.get("description", ()), partial(_description, spoken=found))
        notes += said
    sentences, warnings = fit_to_video(found, duration_s, source)
    texts = as_description(description) if description else ()
    if not sentences:
        lacking = "No subtitles" if texts else "No subtitles and no description"
        unheard = transcribe is not None and subtitles is None and not listen
        then = f"speech will be recognised by Whisper ({transcribe})" if unheard else "judged without what is said"
        notes.append(f"{lacking}: {then}.")
    return sentences, texts, notes + warnings


def fuller_texts(
    video: str | Path | VideoFile,
    file: Path,
    sentences: Sequence[Sentence],
    duration_s: float,
    files: Sequence[Path],
    read: Callable[[Path], tuple[list[Sentence], list[str]]],
    language: str | None = None,
) -> tuple[list[Sentence], str, bool, list[str]] | None:
    """Find what holds far more of what is said than a subtitle file of foreign lines or signs alone.

    Only a file whose name says so, or with hardly any text, is compared: with the other files beside the video, and
    with the tracks inside it in its language, else in any (where no language is asked for).

    Args:
        video: The video file.
        file: The subtitle file that comes first.
        sentences: What it holds.
        duration_s: Length of the video.
        files: All subtitle files beside the video, the best first.
        read: Reads a subtitle file.
        language: That was asked for.

    Returns:
        Sentences, where they are from, whether that is a file, and what to note; None where the file stays.
    """
    path = Path(video.path if isinstance(video, VideoFile) else video)
    tag, part = _tags(file, path)
    letters = letters_of(sentences)
    if part != PART and letters >= SPARSE * duration_s:
        return None
    best, best_source, is_file, notes = list(sentences), "", False, list[str]()
    for other in files[files.index(file) + 1 :]:
        other_tag, _ = _tags(other, path)
        if "" in (tag, other_tag) or base_language(tag) == base_language(other_tag):
            found, _, said = _beside([other], read)
            if found and letters_of(found) > letters_of(best):
                best, best_source, is_file, notes = found, str(other), True, said
    for wanted in dict.fromkeys((language or tag or None, language)):
        try:
            found, source, lost = embedded_subtitles(video, wanted)
        except (InputError, FileNotFoundError):
            continue
        if letters_of(found) > letters_of(best):
            best, best_source, is_file = found, source, False
            notes = [f"Subtitles read from {source}.", *lost]
        if found:
            break
    enough = 0 if part == PART else SPARSE * duration_s
    if letters >= WHOLE * letters_of(best) or letters_of(best) < enough:
        return None
    other_name = Path(best_source).name if is_file else best_source
    holds = f"holds {counted(letters, 'letter')}, {other_name} {letters_of(best)}"
    return best, best_source, is_file, [*notes, f"{file.name}, found beside the video, is passed over: it {holds}."]


def nothing_fuller(file: Path, video: str | Path) -> list[str]:
    """Note that a subtitle file is by its name of signs or foreign lines alone, and read for want of another."""
    if _tags(file, Path(video))[1] != PART:
        return []
    lacking = f"{file.name}: foreign lines or signs alone, by its name, and nothing fuller was found"
    return [f"{lacking}. What is said may be missing: give a file that has it."]


def side_files(video: str | Path, language: str | None = None) -> dict[str, list[Path]]:
    """Find the files beside a video that are named like it.

    NAME.srt, NAME.LANG.vtt and NAME.LANG.sdh.ttml are "subtitles", NAME.txt, NAME.json and what downloaders leave
    (NAME.info.json, NAME.description) the "description". What is named like another video there (talk.2.srt, of
    talk.2.mp4) is that one's.

    Returns:
        For each kind the files, the best first: of subtitles those with all that is said, then those in the language,
        then those without a language, then (where no language is asked for) English, then by name.
    """
    found = []
    for file, kind, tags in _named_like(Path(video)):
        tag, part = tags
        if kind == "description" or not tag:
            rank = 1
        elif language is None:
            rank = 2 if base_language(tag) == "en" else 3
        elif base_language(tag) == base_language(language):
            rank = 0
        else:
            continue
        form = list(SIDE_FILES).index(file.suffix.lower()), file.name.endswith(f"{INFO}.json")
        found.append((part == PART, rank, part, form, kind, file))
    kinds: dict[str, list[Path]] = {}
    for *_, kind, file in sorted(found):
        kinds.setdefault(kind, []).append(file)
    return kinds


def texts_beside(videos: Sequence[Path]) -> dict[Path, list[Path]]:
    """Find the texts beside each video that bear its name, as `side_files` does, listing each folder once."""
    folders: dict[Path, dict[str, list[Path]]] = {}
    for video in videos:
        folders.setdefault(video.parent, {})[video.stem] = []
    for folder, texts in folders.items():
        listed = sorted(folder.iterdir()) if os.access(folder, os.R_OK) else []
        names = {file.stem for file in listed if file.suffix.lower() in VIDEO_SUFFIXES} | {*texts}
        for file in listed:
            if (found := companion(file, names)) and found[0] in texts and found[1] != "labels":
                texts[found[0]].append(file)
    return {video: folders[video.parent][video.stem] for video in videos}


def read_tags(words: str) -> tuple[str, int] | None:
    """Read what stands between NAME and the suffix of a subtitle file.

    Args:
        words: "en", "zh-Hans", "en.sdh", "forced.de", "en-orig", "".

    Returns:
        Its language ("" where it tells none), and how much of what is said the file holds: 0 all of it, 1 sounds too, 2
        only signs and the like. None if a word is neither a language nor such a mark: the file is another video's.
    """
    from langcodes import tag_is_valid

    language, part = "", 0
    for word in words.split(".") if words else ():
        mark = word.lower()
        if PARTIAL.fullmatch(mark):
            part = PART
        elif mark in FULL or (mark == "hi" and language):  # alone it is Hindi
            part = max(part, FULL.get(mark, 1))
        elif not language and tag_is_valid(mark.removesuffix("-orig")):
            language = word[: len(mark.removesuffix("-orig"))]
        else:
            return None
    return ("" if language == "und" else language), part


def companion(file: Path, names: Container[str]) -> tuple[str, str, tuple[str, int]] | None:
    """Tell which video a file is named like, and what it is of it.

    Args:
        file: Its name alone counts.
        names: Of the videos in its folder, without suffix. The longest one that fits owns the file (talk.2.srt is that
            of talk.2.mp4).

    Returns:
        Name of the video, kind ("subtitles", "description", "labels", or "info", a downloader's), and the tags of
        subtitles as `read_tags` gives them. None where the file is no video's companion.
    """
    kind, name = SIDE_FILES.get(file.suffix.lower()), file.stem
    if name not in names and file.name.endswith(f"{INFO}.json"):
        kind, name = "info", name.removesuffix(INFO)
    words: list[str] = []
    while kind == "subtitles" and name not in names and "." in name:
        name, _, word = name.rpartition(".")
        words.insert(0, word)
    tags = read_tags(".".join(words))
    return None if kind is None or name not in names or tags is None else (name, kind, tags)


def _tags(file: Path, video: Path) -> tuple[str, int]:
    """Return the language of a file beside a video and how much of what is said it holds, as `read_tags`."""
    return (companion(file, {video.stem}) or ("", "", ("", 0)))[2]


def _named_like(video: Path) -> Sequence[tuple[Path, str, tuple[str, int]]]:
    """List the texts beside a video that bear its name: file, kind, and language and part of its tags."""
    is_listed = video.suffix.lower() in VIDEO_SUFFIXES and video.exists()
    return _texts_of(video.parent, listing_stamp(video.parent), "" if is_listed else video.stem).get(video.stem, ())


@lru_cache(maxsize=8)
def _texts_of(
    folder: Path, stamp: tuple[int, ...], unlisted: str
) -> dict[str, list[tuple[Path, str, tuple[str, int]]]]:
    """List the texts of each video in a folder, and of one that no suffix tells, anew when files came or went."""
    listed = sorted(folder.iterdir()) if folder.is_dir() else []
    names = {file.stem for file in listed if file.suffix.lower() in VIDEO_SUFFIXES}
    names |= {unlisted} - {""}
    texts: dict[str, list[tuple[Path, str, tuple[str, int]]]] = {}
    for file in listed:
        if found := companion(file, names):
            name, kind, tags = found
            if kind != "labels":
                texts.setdefault(name, []).append((file, "description" if kind == "info" else kind, tags))
    return texts


def _inside(
    video: str | Path | VideoFile, path: str, language: str | None, transcribe: str | None, device: str
) -> tuple[list[Sentence], str, list[str]]:
    """Read the video's own text track, else the captions in its pictures, else recognise its speech if asked for.

    Returns:
        Sentences, where they come from, and what to note.
    """
    found, source, lost = embedded_subtitles(video, language)
    if found:
        return found, source, [f"Subtitles read from {source}.", *lost]
    unread = [] if source.endswith(NO_TRACK) else [f"{source}."]
    captions, shown, lost = closed_captions(video)
    unread += lost
    if captions:
        return captions, shown, [*unread, f"Subtitles read from {shown}."]
    if transcribe is None:
        return found, source, unread
    from hiersum_hf.texts.speech import transcribe as hear

    found = hear(path, language, transcribe, device)
    heard = "speech" if found else "no speech"
    return found, f"the speech of {path}", [*unread, f"No subtitles: {heard} recognised by Whisper ({transcribe})."]


def _other_languages(video: Path, language: str, is_wish: bool) -> list[str]:
    """Note subtitles beside a video that are in other languages alone, or refuse where nothing else is asked for."""
    others = [file.name for file, kind, (tag, _) in _named_like(video) if kind == "subtitles" and tag]
    others = [name for name in others if name not in {f.name for f in side_files(video, language).get("subtitles", ())}]
    if not others:
        return []
    found = f"{video}: expected subtitles in language {language!r} beside it, found {', '.join(others)}."
    if not is_wish:
        raise InputError(f"{found} Name one of these languages, or none.")
    return [found]


def _description(path: Path, spoken: Sequence[Sentence]) -> tuple[tuple[str, ...], list[str]]:
    """Read a description that nobody named; what repeats the subtitles is a transcript, and refused.

    Programs that recognise speech leave one beside the subtitles, under the same name.
    """
    texts = as_description(path)
    told, said = (_runs(" ".join(lines)) for lines in (texts, [sentence.text for sentence in spoken]))
    if 2 * len(told & said) > max(len(told), len(said)):
        raise InputError("expected texts about the video, found what its subtitles say, a transcript")
    return texts, []


def _runs(text: str) -> set[str]:
    """Return all runs of 12 letters, however lines and words are parted, in any script."""
    letters = re.sub(r"[\W\d_]+", "", text.casefold())
    return {letters[i : i + RUN] for i in range(len(letters) - RUN + 1)}


def _beside(paths: Iterable[Path], read: Callable[[Path], tuple[Any, list[str]]]) -> tuple[Any, Path | None, list[str]]:
    """Read the first of the files that nobody named which is such a file and not empty.

    Returns:
        What it holds, the file (None, None if there is none), and what to note.
    """
    notes = []
    for path in paths:
        try:
            texts, said = read(path)
            if not texts:
                raise InputError("expected text, found none")
        except ValueError as error:
            notes.append(f"{path.name}, found beside the video, is not used: {error}")
            continue
        return texts, path, [*notes, f"Read from {path.name}, found beside the video.", *said]
    return None, None, notes
