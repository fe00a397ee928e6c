"""Features kept for later must be those that computing them anew would give, or not be taken at all."""

import errno
import os
from functools import partial

import numpy as np
import pytest
import torch

from hiersum_hf.datasets.readers import folder
from hiersum_hf.datasets.readers import open as sources
from hiersum_hf.datasets.readers.side_files import read_features
from hiersum_hf.features import cache as feature_cache
from hiersum_hf.features import done
from hiersum_hf.features.cache import FrameSettings, feature_file, frame_features
from hiersum_hf.features.video_encoder import VideoEncoder
from hiersum_hf.video.reader import VideoFile
from tests.makers.encoders import colour_encoder
from tests.makers.folders import contents
from tests.makers.ruler import Film
from tests.makers.videos import write_video


SETTINGS = FrameSettings("colour", 2.0)


def never():
    raise AssertionError("the encoder was loaded for features that are in the cache")


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "videos" / "a.mp4")


def test_a_renamed_copy_is_found_and_not_encoded_again(video, tmp_path):
    cache = tmp_path / "new" / "cache"
    first = frame_features(video, SETTINGS, colour_encoder, cache)
    assert (first.found, first.times_s.tolist(), first.file.parent) == (False, [0, 0.5, 1, 1.5, 2, 2.5], cache)
    assert (np.diff(first.features[:, 0]) > 10).all(), "the video gets brighter"
    copy = tmp_path / "b.mkv"
    copy.write_bytes(video.read_bytes())
    again = frame_features(copy, SETTINGS, never, cache)
    assert (again.found, again.file) == (True, first.file)
    np.testing.assert_array_equal(again.features, first.features)
    np.testing.assert_array_equal(again.times_s, first.times_s)
    assert (again.features.dtype, again.times_s.dtype) == (np.float32, np.float64)
    assert [*contents(cache)] == [first.file.name]
    assert len(os.listdir(cache)) == 2, "nothing half-made may stay behind, but the list of what is done"


def test_nothing_is_kept_unasked(video, tmp_path):
    frames = frame_features(video, SETTINGS, colour_encoder)
    assert (frames.file, frames.found) == (None, False)
    assert os.listdir(tmp_path) == ["videos"]


@pytest.mark.parametrize(
    "other",
    [
        FrameSettings("other", 2.0),
        FrameSettings("colour", 4.0),
        FrameSettings("colour", 2.0, "bfloat16"),
        FrameSettings("colour", 2.0, key_frames=True),
    ],
)
def test_another_setting_is_another_file(video, tmp_path, other):
    """Features of another encoder or rate would be taken for the right ones: widths often agree."""
    first = frame_features(video, SETTINGS, colour_encoder, tmp_path / "cache")
    second = frame_features(video, other, colour_encoder, tmp_path / "cache")
    assert not second.found
    assert second.file != first.file
    assert feature_file(tmp_path, video, FrameSettings("colour", 2)).name == first.file.name, "2 is 2.0"


def test_another_content_or_version_is_another_file(video, tmp_path, monkeypatch):
    first = feature_file(tmp_path, video, SETTINGS)
    monkeypatch.setattr(feature_cache, "FEATURE_VERSION", 99)
    assert feature_file(tmp_path, video, SETTINGS) != first
    monkeypatch.undo()
    video.write_bytes(video.read_bytes()[:-1] + b"?")
    assert feature_file(tmp_path, video, SETTINGS) != first


def test_an_encoder_that_was_trained_on_gives_new_features(video, tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "model.safetensors").write_bytes(b"1")
    settings = FrameSettings(str(tmp_path / "encoder"))
    first = feature_file(tmp_path, video, settings)
    assert feature_file(tmp_path, video, settings) == first
    (tmp_path / "encoder" / "model.safetensors").write_bytes(b"22")
    assert feature_file(tmp_path, video, settings) != first


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    """One bit of the features."""
    at = content.index(b"video_features.npy") + 200
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("broken", [truncated, flipped, lambda content: b"", lambda content: b"no features at all"])
def test_a_broken_file_is_said_and_made_anew(video, tmp_path, caplog, broken):
    first = frame_features(video, SETTINGS, colour_encoder, tmp_path)
    first.file.write_bytes(broken(first.file.read_bytes()))
    again = frame_features(video, SETTINGS, colour_encoder, tmp_path)
    assert not again.found
    assert f"{first.file}: expected features of frames, found a broken file" in caplog.text
    np.testing.assert_array_equal(frame_features(video, SETTINGS, never, tmp_path).features, first.features)


def test_features_that_do_not_fit_their_times_are_broken_too(video, tmp_path, caplog):
    first = frame_features(video, SETTINGS, colour_encoder, tmp_path)
    np.savez(
        first.file,
        video_features=first.features[:2],
        frame_times_s=first.times_s,
        warnings=np.array([], str),
        end_s=np.inf,
    )
    assert not frame_features(video, SETTINGS, colour_encoder, tmp_path).found
    assert "shapes (2, 3) and (6,)" in caplog.text


def test_a_folder_of_videos_reads_such_a_file(video, tmp_path):
    frames = frame_features(video, SETTINGS, colour_encoder, tmp_path)
    stored = read_features(frames.file)
    assert (stored["video_encoder"], stored["sample_fps"]) == ("colour", 2.0)
    np.testing.assert_array_equal(stored["video_features"], frames.features)


def test_a_full_disk_leaves_nothing_behind(video, tmp_path, monkeypatch):
    def savez(file, **arrays):
        file.write(b"begun")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(OSError, match=r"cache/.*expected room for it, found none"):
        frame_features(video, SETTINGS, colour_encoder, tmp_path / "cache")
    assert os.listdir(tmp_path / "cache") == []


def test_what_cannot_be_encoded_is_named_and_not_kept(tmp_path, video):
    (tmp_path / "text.mp4").write_text("no video")
    overflown = VideoEncoder("colour", 3, lambda images: torch.full((len(images), 3), float("inf")))
    get = partial(frame_features, settings=SETTINGS, cache=tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match=r"none\.mp4: expected a video file"):
        get(tmp_path / "none.mp4", load=colour_encoder)
    with pytest.raises(ValueError, match=r"text\.mp4: expected a readable video"):
        get(tmp_path / "text.mp4", load=colour_encoder)
    with pytest.raises(ValueError, match=r"a\.mp4: expected finite features, .* by colour in float32"):
        get(video, load=lambda: overflown)
    assert not (tmp_path / "cache").exists()


def test_preparing_a_folder_reads_and_fills_the_cache(video, tmp_path, monkeypatch):
    """What `hiersum extract` encoded is not encoded again by `hiersum prepare folder --cache`."""
    cache, asked = tmp_path / "cache", []

    def load(encoder_id, device="cpu", runtime=None):
        asked.append(encoder_id)
        return colour_encoder(encoder_id)

    monkeypatch.setattr(folder, "_video_encoder", load)
    first, again = (folder.FolderReader(video.parent, "colour", cache=cache).read("a") for _ in range(2))
    assert asked == ["colour"]
    np.testing.assert_array_equal(first.video_features, again.video_features)
    assert [name.partition(".")[2] for name in contents(cache)] == ["npz"]
    with pytest.raises(ValueError, match=r"expected a cache outside .*videos"):
        sources.open_reader("folder", video.parent, cache=video.parent / "cache")


def test_what_could_not_be_decoded_is_said_from_the_cache_too(video, tmp_path):
    """A summary of half a video that does not say so looks like a summary of the whole."""
    raw = video.read_bytes()
    video.write_bytes(raw[: len(raw) // 2] + bytes(200) + raw[len(raw) // 2 + 200 :])
    first, again = (frame_features(video, SETTINGS, colour_encoder, tmp_path) for _ in range(2))
    assert again.found
    assert again.warnings == first.warnings
    assert "unreadable" in first.warnings[0]


def test_a_picture_that_stands_is_a_frame_at_each_moment_of_sampling(tmp_path):
    """A talk beside one picture would else be one frame, of which no part can be chosen."""
    path = Film(count=1, sound_s=(0.0, 7.0)).write(tmp_path)
    found = frame_features(path, SETTINGS, colour_encoder, tmp_path / "cache")
    assert found.times_s.tolist() == [k / 2 for k in range(14)]
    assert (found.features == found.features[0]).all()
    assert found.glances.change == [np.inf, *[0.0] * 13]
    assert found.warnings == (f"{path}: the pictures end at 0.0 s, the sound later: the last picture stands.",)
    again = frame_features(path, SETTINGS, colour_encoder, tmp_path / "cache")
    assert again.found
    assert again.times_s.tolist() == found.times_s.tolist()


def test_pictures_that_stand_shortly_are_sampled_once(tmp_path):
    path = Film(times_s=[0.0, 4.0, 10.0, 10.04], sound=None).write(tmp_path)
    found = frame_features(path, SETTINGS, colour_encoder)
    assert found.times_s.tolist() == [0.0, 4.0, *[k / 2 for k in range(9, 21)]]


def test_a_video_that_is_listed_is_not_read_to_be_found(video, tmp_path, monkeypatch):
    """Of a second `summarize --cache` or `prepare --cache` no byte of a video is read."""
    first = frame_features(video, SETTINGS, colour_encoder, tmp_path / "cache")
    monkeypatch.setattr(feature_cache.hashlib, "file_digest", None)
    done._done.cache_clear()  # as in another process
    again = frame_features(VideoFile(video), SETTINGS, never, tmp_path / "cache")
    assert (again.found, again.file) == (True, first.file)
    monkeypatch.undo()
    before = video.stat()
    video.write_bytes(video.read_bytes()[:-1] + b"?")
    os.utime(video, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert frame_features(video, SETTINGS, colour_encoder, tmp_path / "cache").file != first.file, "another content"


def test_a_copy_of_an_open_file_is_not_listed(video, tmp_path):
    frame_features(video, SETTINGS, colour_encoder, tmp_path / "cache", listed=False)
    assert len(os.listdir(tmp_path / "cache")) == 1


def test_a_cache_that_cannot_be_written_to_is_read(video, tmp_path):
    frame_features(video, SETTINGS, colour_encoder, tmp_path / "cache", listed=False)
    done._done.cache_clear()
    listing = done.done_in(tmp_path / "cache", feature_cache.settings_name(SETTINGS))
    listing.lines = tmp_path / "none" / "list"
    assert frame_features(video, SETTINGS, never, tmp_path / "cache").found
