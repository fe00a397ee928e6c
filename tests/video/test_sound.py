"""Sound on the clock of the pictures: what is not stored is silence, never left out."""

import numpy as np
import pytest

from hiersum_hf.records import Segment
from hiersum_hf.video.sound import sound_samples
from hiersum_hf.video.stills import heard
from hiersum_hf.video.writer import write_segments
from tests.makers.sounds import loud_s, write_sounds


RATE = 16_000


def test_each_part_of_the_sound_is_where_it_is_heard(tmp_path):
    samples = sound_samples(write_sounds(tmp_path / "a.mkv", [0.5, 3.0, 3.5, 9.0]), RATE)
    assert loud_s(samples, RATE) == [(0.5, 1.0), (3.0, 4.0), (9.0, 9.5)]
    assert samples.dtype == np.float32
    assert np.abs(samples).max() <= 1


def test_sound_before_the_first_picture_is_left_out(tmp_path):
    samples = sound_samples(write_sounds(tmp_path / "a.mkv", [0.0, 0.5, 2.0], begin_s=0.7), RATE)
    assert loud_s(samples, RATE) == [(0.0, 0.3), (1.3, 1.8)]


def test_times_that_are_rounded_leave_no_holes(tmp_path):
    """An .mkv stores whole milliseconds."""
    samples = sound_samples(write_sounds(tmp_path / "a.mkv", [0.5 * k + 0.0007 * (k % 2) for k in range(8)]), RATE)
    silent = samples == 0
    assert not (silent[2:] & silent[1:-1] & silent[:-2]).any()
    assert len(samples) == pytest.approx(4 * RATE, abs=64)


def test_a_video_without_sound_has_no_samples(tmp_path):
    assert sound_samples(write_sounds(tmp_path / "a.mkv", []), RATE).shape == (0,)


TEN = "FL+FR+FC+LFE+BL+BR+FLC+FRC+BC+SL"  # ten tracks of a recorder, of which FFmpeg knows no mix


@pytest.mark.parametrize("form", ["u8", "s16", "s32", "flt"])
def test_channels_that_ffmpeg_does_not_mix_are_heard_alike(tmp_path, form):
    one = sound_samples(write_sounds(tmp_path / "one.mov", [0.0, 0.5], form=form), RATE)
    video = write_sounds(tmp_path / "ten.mov", [0.0, 0.5], layout=TEN, form=form)
    ten = sound_samples(video, RATE)
    assert loud_s(ten, RATE) == [(0.0, 1.0)]
    assert ten == pytest.approx(one, abs=1e-3)
    assert heard(video, np.array([0.0, 0.5, 1.0, 1.5])).tolist() == [True, True, False]


def test_a_summary_has_the_sound_of_channels_that_ffmpeg_does_not_mix(tmp_path):
    """Such a video was refused when its summary was written: Invalid argument."""
    video = write_sounds(tmp_path / "ten.mov", [0.0, 0.5], layout=TEN)
    write_segments(video, [Segment(0.1, 0.4, 1.0)], tmp_path / "out.mp4")
    assert loud_s(sound_samples(tmp_path / "out.mp4", RATE)[: int(0.3 * RATE)], RATE) == [(0.0, 0.3)]
