"""Sound on the clock of the pictures: what is not stored is silence, never left out."""

import numpy as np
import pytest

from hiersum_hf.video.sound import sound_samples
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
    assert (np.abs(samples) < 1e-4).mean() < 0.01
    assert len(samples) == pytest.approx(4 * RATE, abs=64)


def test_a_video_without_sound_has_no_samples(tmp_path):
    assert sound_samples(write_sounds(tmp_path / "a.mkv", []), RATE).shape == (0,)
