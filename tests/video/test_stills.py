"""Where a video shows nothing, and where it is silent."""

import av
import numpy as np
import pytest

from hiersum_hf.video.stills import Glances, heard, nothing_there, still_stretches


EDGES_S = np.arange(41) / 2


def glances(contrast=30.0, change=10.0):
    return Glances(np.broadcast_to(contrast, 40).tolist(), np.broadcast_to(change, 40).tolist())


def test_pictures_are_watched_on_their_way():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (90, 160, 3), np.uint8)
    frames = [np.zeros((90, 160, 3), np.uint8), noise, noise, 255 - noise, noise[:, :120]]
    seen = Glances()
    passed = list(seen.watch((i / 2, frame) for i, frame in enumerate(frames)))
    assert [time_s for time_s, _ in passed] == [0, 0.5, 1, 1.5, 2]
    assert all(image is frame for (_, image), frame in zip(passed, frames, strict=True))
    assert seen.contrast[0] == 0
    assert seen.contrast[1] > 30
    assert seen.change[0] == seen.change[4] == np.inf, "nothing to compare with"
    assert seen.change[2] == 0 < 20 < seen.change[3]


def test_still_stretches_last_three_seconds():
    change = np.full(40, 9.0)
    change[11:20], change[24:27] = 0.2, 0.2
    numbers = still_stretches(change, EDGES_S)
    assert (numbers >= 0).nonzero()[0].tolist() == list(range(10, 20)), "with the picture that then stands"
    change[15] = 1.6
    assert (still_stretches(change, EDGES_S) >= 0).sum() == 10, "a key frame of the codec is no other picture"
    change[15] = 9.0
    assert (still_stretches(change, EDGES_S) >= 0).nonzero()[0].tolist() == []
    assert (still_stretches(np.full(40, np.nan), EDGES_S) == -1).all(), "unknown is not still"
    assert len(set(still_stretches(np.where(np.arange(40) % 10, 0.0, 9.0), EDGES_S))) == 4


def test_a_blank_picture_shows_nothing_unless_something_is_said():
    blank = glances(contrast=np.where(np.arange(40) < 10, 1.0, 30.0))
    said = np.arange(40) < 4
    assert nothing_there(blank, EDGES_S, said).nonzero()[0].tolist() == list(range(4, 10))
    assert nothing_there(blank, EDGES_S, None).nonzero()[0].tolist() == list(range(10))


def test_a_still_picture_shows_nothing_far_from_what_is_said():
    slide, said = glances(change=0.1), np.isin(np.arange(40), [4, 5])
    assert nothing_there(slide, EDGES_S, said).nonzero()[0].tolist() == list(range(13, 40))
    assert nothing_there(slide, EDGES_S, np.zeros(40, bool)).all()
    assert not nothing_there(slide, EDGES_S, None).any(), "who does not know what is said leaves slides alone"
    assert not nothing_there(glances(), EDGES_S, np.zeros(40, bool)).any()


def write_sound(path, loud, rate=48_000, audio=True):
    """Ten seconds of a black video; a tone where `loud` says so, second by second."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=rate) if audio else None
        for _ in range(100):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        for second, is_loud in enumerate(loud if sound else ()):
            wave = np.sin(np.arange(rate) / rate * 2 * np.pi * 300) * (8000 if is_loud else 20)
            part = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
            part.sample_rate, part.pts = rate, second * rate
            container.mux(sound.encode(part))
    return path


def test_sound_is_told_from_silence(tmp_path):
    loud = np.array([0, 1, 1, 0, 0, 0, 1, 0, 0, 0], bool)
    found = heard(write_sound(tmp_path / "a.mkv", loud), np.arange(11.0))
    assert found.tolist() == loud.tolist()
    assert not heard(write_sound(tmp_path / "b.mkv", loud, audio=False), np.arange(11.0)).any()
    assert not heard(write_sound(tmp_path / "c.mkv", loud * 0), np.arange(11.0)).any(), "hiss is no sound"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.mkv: expected a video file"):
        heard(tmp_path / "none.mkv", EDGES_S)
