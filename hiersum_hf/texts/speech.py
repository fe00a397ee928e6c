"""Speech of a video to sentences with their times.

Whisper hears it on this machine (the extra "asr").
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from hiersum_hf.records import Sentence
from hiersum_hf.texts.sentences import ends_alone, merge_into_sentences, starts_small
from hiersum_hf.texts.tracks import base_language
from hiersum_hf.video.reader import named_errors
from hiersum_hf.video.sound import sound_samples


RATE = 16_000  # samples a second that Whisper hears
INSTALL = 'Speech recognition needs faster-whisper: pip install "hiersum-hf[asr]"'


def transcribe(
    path: str | Path, language: str | None = None, model: str = "small", device: str = "auto"
) -> list[Sentence]:
    """Recognise speech with faster-whisper.

    Sentences begin and end with a word, never within one.

    Args:
        path: A video file; the audio track is heard that the summary has.
        language: Spoken language ("en", "eng"); default: recognised from the first half minute.
        model: Size ("tiny" to "large-v3", fetched from the Hub on first use), Hub id or folder of a converted model.
        device: "auto", "cpu", "cuda" or "cuda:1"; on any other Whisper works on the CPU.

    Returns:
        The sentences; none if the file has no audio or no speech.

    Raises:
        ImportError: faster-whisper is not installed.
        FileNotFoundError: There is no such file.
        ValueError: The file is not a readable video, or Whisper does not know the language.
        OSError: The model is not on this machine and cannot be fetched.
    """
    # Whisper counts samples; of a file it would leave out what is not stored, and be early after every gap
    samples = sound_samples(path, RATE)
    if not len(samples):
        return []
    spoken = None if language is None else base_language(language)
    with named_errors(path):
        # Without voice detection Whisper invents sentences for music and silence.
        segments, _ = _whisper(model, device).transcribe(
            samples, language=spoken, word_timestamps=True, vad_filter=True
        )
        return merge_into_sentences(_cues(segments))


@lru_cache(maxsize=1)
def _whisper(model: str, device: str) -> Any:
    """Load the model, once for many videos."""
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise ImportError(INSTALL) from error
    kind, _, index = device.partition(":")
    place = kind if kind in ("auto", "cuda") else "cpu"
    try:
        return WhisperModel(model, device=place, device_index=int(index or 0))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise OSError(
            f"--transcribe {model}: expected a Whisper model (a size, a Hub id or a folder), could not load it on "
            f"{place}: {reason}. Without a network give the folder of a model that was fetched before."
        ) from error


def _cues(segments: Iterable[Any]) -> list[Sentence]:
    """Make a cue of each word.

    It takes those after it that are written without a space, or small after an abbreviation.
    """
    cues: list[Sentence] = []
    for segment in segments:
        for number, word in enumerate(segment.words):
            start_s, end_s = float(word.start), float(word.end)
            if number and _continues(cues[-1].text, word.word):
                cues[-1] = Sentence(cues[-1].text + word.word, cues[-1].start_s, end_s)
            else:
                cues.append(Sentence(word.word.strip(), start_s, end_s))
    return cues


def _continues(text: str, word: str) -> bool:
    """Tell whether a word belongs to the one before."""
    # " well" and "-known" are one word; "approx." before a small letter ends no sentence
    attached = not word.startswith(" ") and not (ends_alone(text) and word[:1].isalnum())
    return attached or (text.endswith(".") and starts_small(word))
