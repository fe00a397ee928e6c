"""The texts of a video file: what was given, what lies beside it under its name, what is in it, what is heard in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Sentence
from hiersum_hf.texts.subtitles import as_description, fit_to_video, subtitles_and_notes
from hiersum_hf.texts.tracks import base_language, embedded_subtitles, from_pictures_on
from hiersum_hf.video.reader import VideoFile


SIDE_FILES = {".srt": "subtitles", ".vtt": "subtitles", ".ass": "subtitles", ".ssa": "subtitles"}
SIDE_FILES |= {".txt": "description", ".json": "description", ".csv": "labels"}  # of two, the first counts


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
    if subtitles is None and "subtitles" in beside:
        subtitles, notes = _beside(beside["subtitles"], partial(subtitles_and_notes, encoding=encoding))
        source, is_file = str(beside["subtitles"]), True
    elif is_file and "\n" not in str(subtitles):
        source = str(subtitles)
    if description is None and "description" in beside:
        description, said = _beside(beside["description"], lambda path: (as_description(path), []))
        notes += said
    if subtitles is not None:
        found, heard = subtitles_and_notes(subtitles, encoding)
        if not found and isinstance(subtitles, str | os.PathLike):
            raise InputError(f"{source}: expected subtitles with text, found none. Leave them out, or give others.")
        found = from_pictures_on(video, found) if is_file and Path(path).exists() else found
    else:
        found, source, heard = _inside(video, str(path), language, transcribe if listen else None, device)
    notes += heard
    sentences, warnings = fit_to_video(found, duration_s, source)
    texts = as_description(description) if description else ()
    if not sentences:
        lacking = "No subtitles" if texts else "No subtitles and no description"
        unheard = transcribe is not None and subtitles is None and not listen
        then = f"speech will be recognised by Whisper ({transcribe})" if unheard else "judged without what is said"
        notes.append(f"{lacking}: {then}.")
    return sentences, texts, notes + warnings


def side_files(video: str | Path, language: str | None = None) -> dict[str, Path]:
    """Find the files beside a video that are named like it.

    NAME.srt and NAME.LANG.vtt are "subtitles", NAME.txt and NAME.json the "description".

    Of several, the one in the language comes first, then the one without a language, then (where no language is asked
    for) English, then the first by name.
    """
    video, found = Path(video), []
    for file in sorted(video.parent.iterdir()) if video.parent.is_dir() else ():
        kind = SIDE_FILES.get(file.suffix.lower())
        name, _, tag = file.stem.rpartition(".")
        if kind == "description" and file.stem == video.stem:
            found.append((0, kind, file))
        elif kind == "subtitles" and file.stem == video.stem:
            found.append((1, kind, file))
        elif kind == "subtitles" and name == video.stem and language is None:
            found.append((2 if base_language(tag) == "en" else 3, kind, file))
        elif kind == "subtitles" and name == video.stem and base_language(tag) == base_language(language or ""):
            found.append((0, kind, file))
    suffixes = list(SIDE_FILES)
    ranked = sorted(found, key=lambda one: (one[0], suffixes.index(one[2].suffix.lower())))
    return {kind: file for _, kind, file in reversed(ranked)}


def _inside(
    video: str | Path | VideoFile, path: str, language: str | None, transcribe: str | None, device: str
) -> tuple[list[Sentence], str, list[str]]:
    """Read the video's own text track, else recognise its speech if asked for.

    Returns:
        Sentences, where they come from, and what to note.
    """
    found, source = embedded_subtitles(video, language)
    if found:
        return found, source, [f"Subtitles read from {source}."]
    if transcribe is None:
        return found, source, []
    from hiersum_hf.texts.speech import transcribe as hear

    found = hear(path, language, transcribe, device)
    heard = "speech" if found else "no speech"
    return found, f"the speech of {path}", [f"No subtitles: {heard} recognised by Whisper ({transcribe})."]


def _beside(path: Path, read: Callable[[Path], tuple[Any, list[str]]]) -> tuple[Any, list[str]]:
    """Read a file that nobody named, None if it is no such file or empty; and what to note."""
    try:
        texts, notes = read(path)
        if not texts:
            raise InputError("expected text, found none")
    except ValueError as error:
        return None, [f"{path.name}, found beside the video, is not used: {error}"]
    return texts, [f"Read from {path.name}, found beside the video.", *notes]
