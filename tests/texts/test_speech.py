"""Speech recognition fills in where a video has no subtitles: words keep their times, sentences never cut a word."""

import builtins
import sys
from types import ModuleType, SimpleNamespace

import av
import numpy as np
import pytest

from hiersum_hf.records import Sentence
from hiersum_hf.texts import speech
from hiersum_hf.texts.speech import transcribe
from tests.makers.sounds import loud_s, write_sounds


def words(text: str, start_s: float = 0.0) -> SimpleNamespace:
    """A segment of words, each with its own leading space, 0.5 s long and as far from the next."""
    parts = [part for part in text.replace(" ", "| ").split("|") if part]
    timed = [
        SimpleNamespace(word=part, start=np.float64(start_s + k), end=np.float64(start_s + k + 0.5))
        for k, part in enumerate(parts)
    ]
    return SimpleNamespace(words=timed)


@pytest.fixture
def whisper(monkeypatch):
    """faster-whisper as its documentation describes it; the test says what it hears and reads how it was asked."""
    heard = SimpleNamespace(segments=[], asked={}, loaded=0)
    speech._whisper.cache_clear()

    class WhisperModel:
        def __init__(self, model_size_or_path, device="auto", device_index=0):
            heard.loaded += 1
            heard.asked.update(model=model_size_or_path, device=device, device_index=device_index)

        def transcribe(self, audio, language=None, word_timestamps=False, vad_filter=False):
            assert word_timestamps, "without this option segments have no words"
            heard.asked.update(audio=audio, language=language, vad_filter=vad_filter)
            return (segment for segment in heard.segments), SimpleNamespace(language=language or "en")

    module = ModuleType("faster_whisper")
    module.WhisperModel = WhisperModel
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    return heard


def media(path, *starts_s):
    """Pictures from 0 s on, and parts of sound."""
    return write_sounds(path, starts_s)


def test_words_become_sentences_with_the_times_of_their_words(tmp_path, whisper):
    whisper.segments = [words(" We cut the"), words(" wood. Then, e.g. here, we wait.", 3.0), words(" Done", 9.5)]
    path = media(tmp_path / "a.mkv", 0.0)
    assert transcribe(path, "eng", model="tiny", device="cuda:1") == [
        Sentence("We cut the wood.", 0.0, 3.5),
        Sentence("Then, e.g. here, we wait.", 4.0, 8.5),
        Sentence("Done", 9.5, 10.0),
    ]
    audio = whisper.asked.pop("audio")
    assert loud_s(audio, speech.RATE) == [(0.0, 0.5)]
    assert whisper.asked == {
        "model": "tiny",
        "device": "cuda",
        "device_index": 1,
        "language": "en",
        "vad_filter": True,
    }


def test_long_speech_without_full_stops_is_cut_between_words(tmp_path, whisper):
    whisper.segments = [words("".join(f" w{k}" for k in range(25)))]
    sentences = transcribe(media(tmp_path / "a.mkv", 0.0))
    assert [(s.text.split()[0], s.start_s, s.end_s) for s in sentences] == [("w0", 0.0, 14.5), ("w15", 15.0, 24.5)]
    assert all(type(s.start_s) is float for s in sentences), "numpy numbers do not go into JSON"


def test_words_written_together_stay_together(tmp_path, whisper):
    japanese = words("")
    parts = ["今日", "は", "いい", "天気。", "また", "ね"]
    japanese.words = [SimpleNamespace(word=part, start=k / 2, end=k / 2 + 0.5) for k, part in enumerate(parts)]
    english = words(" The well", 10.0)
    english.words += words("-known cat.", 12.0).words
    whisper.segments = [japanese, words("そう", 3.0), english]
    assert transcribe(media(tmp_path / "a.mkv", 0.0)) == [
        Sentence("今日はいい天気。", 0.0, 2.0),
        Sentence("またね そう", 2.0, 3.5),  # two segments, as two cues of a file
        Sentence("The well-known cat.", 10.0, 13.5),
    ]


@pytest.mark.parametrize("starts_s", [(2.0,), (0.0, 5.0)])
def test_whisper_hears_what_is_not_stored_as_silence(tmp_path, whisper, starts_s):
    """It counts samples: of a file whose sound begins late or has gaps, every later sentence would be early."""
    transcribe(media(tmp_path / "a.mkv", *starts_s))
    assert [start_s for start_s, _ in loud_s(whisper.asked["audio"], speech.RATE)] == list(starts_s)


def test_no_audio_and_no_speech_give_no_sentences(tmp_path, whisper):
    assert transcribe(media(tmp_path / "mute.mkv")) == []
    assert whisper.asked == {}, "no model is loaded for a mute video"
    assert transcribe(media(tmp_path / "music.mkv", 0.0)) == []


def test_wrong_files_are_named(tmp_path, whisper):
    (tmp_path / "text.mp4").write_text("this is not a video")
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        transcribe(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match=r"text\.mp4: expected a readable video"):
        transcribe(tmp_path / "text.mp4")


def test_a_missing_library_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "faster_whisper":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    speech._whisper.cache_clear()
    with pytest.raises(ImportError, match=r'pip install "hiersum-hf\[asr\]"'):
        transcribe(media(tmp_path / "a.mkv", 0.0))


def test_the_model_is_loaded_once_for_many_videos_and_where_it_can_work(tmp_path, whisper):
    path = media(tmp_path / "a.mkv", 0.0)
    for _ in range(3):
        transcribe(path, device="mps")
    assert (whisper.loaded, whisper.asked["device"], whisper.asked["device_index"]) == (1, "cpu", 0)


def test_sound_that_cannot_be_decoded_names_the_video(tmp_path, whisper, monkeypatch):
    def broken(*args, **kwargs):
        raise av.error.InvalidDataError(1, "Invalid data found")

    monkeypatch.setattr(sys.modules["faster_whisper"].WhisperModel, "transcribe", broken)
    with pytest.raises(ValueError, match=r"a\.mkv: expected a readable video, the decoder said: Invalid data"):
        transcribe(media(tmp_path / "a.mkv", 0.0))


def test_the_library_has_the_names_that_are_used():
    """Runs where the extra is installed: the stand-in above must not drift from the real interface."""
    import inspect

    library = pytest.importorskip("faster_whisper", reason="the extra asr is not installed")
    assert {"device", "device_index"} <= set(inspect.signature(library.WhisperModel).parameters)
    asked = inspect.signature(library.WhisperModel.transcribe).parameters
    assert {"language", "word_timestamps", "vad_filter"} <= set(asked)
    assert {"word", "start", "end"} <= set(library.transcribe.Word.__annotations__)


def test_a_model_that_cannot_be_had_says_what_to_do(tmp_path, whisper, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("Cannot reach the Hub.\nAnd more.")

    monkeypatch.setattr(sys.modules["faster_whisper"], "WhisperModel", refuse)
    with pytest.raises(OSError, match=r"--transcribe tiny: expected a Whisper model .* load it on cpu: Cannot reach"):
        transcribe(media(tmp_path / "a.mkv", 0.0), model="tiny", device="cpu")
