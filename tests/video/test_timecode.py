"""Frames as editors count them: rates, time codes, and what has neither."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from hiersum_hf.video.timecode import RATES, Frames, _stored_code, read_code, read_frames
from tests.makers.videos import steady, synthetic


NTSC = Fraction(30000, 1001)


def frames(rate, drop=False, times_s=(), count=10**6):
    return Frames(rate, False, count, 0, drop, "", (64, 48), (0, 0), np.array(times_s, float), ())


@pytest.mark.parametrize(
    ("rate", "drop", "frame", "code"),
    [  # SMPTE ST 12-1: of each minute but the tenth the numbers 0 and 1 (0 to 3 at 59.94) are left out
        (NTSC, True, 1799, "00:00:59;29"),
        (NTSC, True, 1800, "00:01:00;02"),
        (NTSC, True, 17982, "00:10:00;00"),
        (NTSC, False, 1800, "00:01:00:00"),
        (2 * NTSC, True, 3600, "00:01:00;04"),
        (Fraction(25), False, 90000, "01:00:00:00"),
        (Fraction(24000, 1001), False, 86400, "01:00:00:00"),
    ],
)
def test_frames_have_the_numbers_of_the_standard(rate, drop, frame, code):
    assert frames(rate, drop).code(frame) == code
    assert read_code(code, rate) == (frame, drop)


@pytest.mark.parametrize("rate", RATES)
def test_time_codes_are_those_of_opentimelineio(rate):
    otio = pytest.importorskip("opentimelineio")
    for drop in (False, True) if rate in (NTSC, 2 * NTSC) else (False,):
        for frame in (*range(0, 40_000, 97), 24 * 3600 * round(rate) // 2):
            time = otio.opentime.RationalTime(frame, float(rate))
            assert frames(rate, drop).code(frame) == otio.opentime.to_timecode(time, float(rate), drop)


def test_a_day_ends_at_midnight():
    assert frames(Fraction(25)).code(24 * 3600 * 25 + 1) == "00:00:00:01"


@pytest.mark.parametrize("code", ["", "1:2:3:4", "00:00:00:30", "00:00:00.00x"])
def test_what_is_no_time_code_is_none(code):
    assert read_code(code, NTSC) is None


@pytest.mark.parametrize(
    ("name", "rate", "code", "first"),
    [
        ("a.mp4", Fraction(24000, 1001), "01:02:03:04", 24 * 3723 + 4),
        ("a.mov", Fraction(25), "10:00:00:00", 900_000),
        ("a.mov", NTSC, "00:01:00;02", 1800),
        ("a.mov", NTSC, "00:01:00:02", 1802),
        ("a.mkv", Fraction(50), "00:00:01:10", 60),
        ("a.mxf", Fraction(25), "02:00:00:05", 180_005),
        ("a.ts", Fraction(25), "03:00:00:05", 270_006),  # FFmpeg's encoder begins one later, as ffprobe says too
        ("a.mp4", Fraction(30), None, 0),
        ("a.avi", Fraction(30), None, 0),
    ],
)
def test_rates_and_time_codes_of_sources_are_kept(tmp_path, name, rate, code, first):
    found = read_frames(steady(tmp_path / name, rate, 20, code))
    assert (found.rate, found.conformed, found.count, found.first) == (rate, False, 20, first)
    assert found.drop == (code is not None and ";" in code)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("digits", "rate", "code"),
    [  # as FFmpeg's decoders of H.264 and HEVC give them: drop, frames, field, seconds, field, minutes, field, hours
        (0x40000000 | 0x21540312, NTSC, "12:03:54;21"),
        (0x21540392, Fraction(50), "12:03:54:43"),
        (0x21D40312, 2 * NTSC, "12:03:54:43"),
    ],
)
def test_digits_beside_pictures_are_a_time_code(digits, rate, code):
    side = bytes.fromhex("01000000") + digits.to_bytes(4, "little")

    class Side(bytes):
        type = SimpleNamespace(name="S12M_TIMECODE")

    assert _stored_code(Side(side), rate) == code


def test_a_tag_that_is_no_time_code_is_told(tmp_path):
    found = read_frames(steady(tmp_path / "a.mkv", Fraction(25), 5, "noon"))
    assert found.first == 0
    assert found.notes == ("a.mkv: expected a time code HH:MM:SS:FF, found 'noon': frames count from 0.",)


@pytest.mark.parametrize(
    ("times_s", "rate", "note"),
    [
        (np.arange(20) / 15, 30, "it has 15 frames a second; conformed to 30 for editors."),
        (np.arange(20) / 12.5, 25, "it has 12.5 frames a second; conformed to 25 for editors."),
        (np.arange(20) / 10, 30, "it has 10 frames a second; conformed to 30 for editors."),
        (np.arange(40) / 120, 60, "it has 120 frames a second; conformed to 60 for editors."),
        (
            np.cumsum(np.tile([0.033, 0.034, 0.066], 10)),
            NTSC,
            "its frame rate varies (a picture lasts 33 to 66 ms); conformed to 29.97 frames a second for editors.",
        ),
        ([0.0], 25, "it has no frame rate; conformed to 25 frames a second for editors."),
    ],
)
def test_a_rate_without_time_codes_is_conformed_and_said(tmp_path, times_s, rate, note):
    found = read_frames(synthetic(tmp_path / "a.mp4", times_s))
    assert (found.rate, found.conformed) == (rate, True)
    assert found.notes == (f"a.mp4: {note}",)


def test_a_frame_belongs_to_a_segment_by_its_own_time():
    """Of .mkv they are whole milliseconds, which are early or late by half of one."""
    rate = Fraction(24000, 1001)
    found = frames(rate, times_s=np.round(np.arange(100) / float(rate), 3), count=100)  # 0.000, 0.042, 0.083, 0.125
    assert [found.at(time_s) for time_s in (0.0, 0.0418, 0.042, 0.0421, 0.083, 99.0)] == [0, 1, 1, 2, 2, 100]


def test_a_picture_that_stands_is_counted_by_the_clock():
    """Else a segment in a slide show would begin at the next slide."""
    found = frames(Fraction(25), times_s=(0, 0.04, 10, 20), count=750)
    assert [found.at(time_s) for time_s in (0.04, 5.0, 10.0, 10.02)] == [1, 125, 250, 251]
