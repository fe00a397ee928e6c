"""Summaries of files of any kind: every picture on its frame, the sound in step with it."""

from fractions import Fraction

import pytest

from hiersum_hf.records import Segment
from hiersum_hf.video.writer import write_segments
from tests.makers.ruler import Film, off, sound_lag_s


SPANS = [(0.413, 1.213), (1.213, 1.813), (2.513, 3.653)]  # never on a picture's edge
B_FRAMES, NO_B_FRAMES = {"bf": "3", "preset": "fast"}, {"bf": "0", "preset": "fast"}
QUIET = {"x265-params": "log-level=none"}
UNEVEN_S = [0.0, 0.04, 0.11, 0.3, 0.5, 0.51, 0.9, 1.0, 1.04, 1.3, 1.35, 1.9, 2.0, 2.6, 2.7, 2.74, 3.1, 3.5, 3.9]
NO_LENGTH, M2TS = {"flvflags": "no_duration_filesize"}, {"mpegts_m2ts_mode": "1"}
NTSC, FILM = Fraction(30000, 1001), Fraction(24000, 1001)
FIRST_5_S = [5 + k / 25 for k in range(100)]

KINDS = {
    "mp4": Film(options=B_FRAMES),
    "mp4 without B-frames": Film(options=NO_B_FRAMES),
    "mp4 of HEVC": Film(codec="libx265", options=QUIET),
    "mp4 of MPEG-4": Film(codec="mpeg4"),
    "mp4 of MPEG-4 with B-frames": Film(codec="mpeg4", options={"bf": "2"}),
    "mp4 of VP9": Film(codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}),
    "mp4 of AV1": Film(codec="libsvtav1", options={"preset": "12"}),
    "mp4 at 23.976": Film(rate=FILM, options=B_FRAMES),
    "mp4 at 29.97": Film(rate=NTSC, count=120, options=B_FRAMES),
    "mp4 at 60": Film(rate=60, count=240, options=B_FRAMES),
    "mp4 at 10": Film(rate=10, count=40),
    "mp4 of uneven times": Film(times_s=UNEVEN_S),
    "mp4 of uneven times with B-frames": Film(times_s=UNEVEN_S, options=B_FRAMES),
    "mp4 that begins at 2 s": Film(begin_s=2.0, options=B_FRAMES),
    "mp4 whose sound begins first": Film(times_s=FIRST_5_S[:], sound_s=(3.0, 9.0), begin_s=-3.0),
    "mp4 whose pictures begin first": Film(sound_s=(0.3, 4.0)),
    "mp4 without an edit list": Film(options=B_FRAMES, muxing={"use_editlist": "0"}),
    "mp4 in fragments": Film(options=B_FRAMES, muxing={"movflags": "frag_keyframe+empty_moov"}),
    "mp4 with its header first": Film(options=B_FRAMES, muxing={"movflags": "+faststart"}),
    "mp4 with long groups": Film(options=B_FRAMES, gop=100),
    "mp4 of key frames": Film(gop=1, options=NO_B_FRAMES),
    "mp4 without sound": Film(sound=None, options=B_FRAMES),
    "mp4 of mono": Film(layout="mono", sound_rate=44100),
    "mp4 of 5.1": Film(layout="5.1"),
    "mp4 at 22,050 Hz": Film(sound_rate=22050, layout="mono"),
    "mp4 of MP3": Film(sound="libmp3lame", sound_rate=44100),
    "mp4 of AC-3": Film(sound="ac3"),
    "mp4 of FLAC": Film(sound="flac"),
    "mov of ProRes": Film("film.mov", "prores_ks", "pcm_s16le", pix_fmt="yuv422p10le"),
    "mov of Motion JPEG": Film("film.mov", "mjpeg", "pcm_s16le", pix_fmt="yuvj420p"),
    "mov before zero": Film("film.mov", begin_s=-0.48, muxing={"use_editlist": "0"}),
    "mkv": Film("film.mkv", options=B_FRAMES),
    "mkv of Opus": Film("film.mkv", sound="libopus", options=B_FRAMES),
    "mkv of MPEG-2": Film("film.mkv", "mpeg2video", "mp2"),
    "mkv of MPEG-2 with B-frames": Film("film.mkv", "mpeg2video", "ac3", options={"bf": "2"}),
    "mkv of FFV1": Film("film.mkv", "ffv1", "flac"),
    "mkv that begins at 5 s": Film("film.mkv", begin_s=5.0, options=B_FRAMES),
    "mkv at 23.976": Film("film.mkv", rate=FILM, options=B_FRAMES),
    "mkv of uneven times": Film("film.mkv", times_s=UNEVEN_S, options=B_FRAMES),
    "mkv at 44,100 Hz": Film("film.mkv", sound_rate=44100, options=B_FRAMES),
    "webm of VP8": Film("film.webm", "libvpx", "libopus", options={"deadline": "realtime"}),
    "webm of VP9": Film("film.webm", "libvpx-vp9", "libopus", options={"deadline": "realtime", "cpu-used": "8"}),
    "avi": Film("film.avi", "mpeg4", "mp2"),
    "avi with B-frames": Film("film.avi", "mpeg4", "libmp3lame", options={"bf": "2"}),
    "avi of H.264": Film("film.avi", "libx264", "pcm_s16le", options=NO_B_FRAMES),
    "avi of H.264 with B-frames": Film("film.avi", "libx264", "pcm_s16le", options=B_FRAMES),
    "avi of H.264 with B-frames and MP3": Film("film.avi", "libx264", "libmp3lame", options=B_FRAMES),
    "avi of Motion JPEG": Film("film.avi", "mjpeg", "pcm_s16le", pix_fmt="yuvj420p", rate=NTSC, count=120),
    "avi of AC-3": Film("film.avi", "mpeg4", "ac3"),
    "ts": Film("film.ts", options=B_FRAMES),
    "ts of MPEG-2": Film("film.ts", "mpeg2video", "mp2", options={"bf": "2"}),
    "ts of HEVC": Film("film.ts", "libx265", options=QUIET),
    "ts of AC-3": Film("film.ts", sound="ac3", options=B_FRAMES),
    "ts that begins at 1 h": Film("film.ts", begin_s=3600.0, options=B_FRAMES),
    "ts that wraps": Film("film.ts", begin_s=2**33 / 90000 - 3.4, options=B_FRAMES),
    "ts that wraps later": Film("film.ts", begin_s=2**33 / 90000 - 3.4, rate=50, count=200, options=NO_B_FRAMES),
    "ts at 59.94": Film("film.ts", rate=Fraction(60000, 1001), count=240, options=B_FRAMES),
    "mpg": Film("film.mpg", "mpeg2video", "mp2", options={"bf": "2"}),
    "mpg of MPEG-1": Film("film.mpg", "mpeg1video", "mp2"),
    "flv": Film("film.flv", "flv1", "libmp3lame", sound_rate=44100),
    "flv of H.264": Film("film.flv", options=B_FRAMES),
    "wmv": Film("film.wmv", "wmv2", "wmav2"),
    "3gp": Film("film.3gp", "mpeg4", muxer="3gp", layout="mono"),
    "mkv without a length": Film("film.mkv", options=B_FRAMES, muxing={"live": "1"}),
    "webm of a browser": Film(
        "film.webm", "libvpx", "libopus", times_s=UNEVEN_S, options={"deadline": "realtime"}, muxing={"live": "1"}
    ),
    "flv of a live stream": Film("film.flv", options=B_FRAMES, begin_s=3600.0, muxing=NO_LENGTH),
    "flv whose pictures begin late": Film("film.flv", times_s=FIRST_5_S[:], sound_s=(3.0, 9.0), begin_s=-3.0),
    "wmv of uneven times": Film("film.wmv", "wmv2", "wmav2", times_s=UNEVEN_S),
    "mkv whose pictures begin late": Film("film.mkv", times_s=FIRST_5_S[:], sound_s=(3.0, 9.0), begin_s=-3.0),
    "ts whose pictures begin late": Film("film.ts", times_s=FIRST_5_S[:], sound_s=(3.0, 9.0), begin_s=-3.0),
    "mts of a camcorder": Film(
        "film.mts", sound="ac3", options=B_FRAMES, rate=50, count=200, muxer="mpegts", muxing=M2TS
    ),
    "vob of a disc": Film("film.vob", "mpeg2video", "ac3", options={"bf": "2"}, muxer="vob"),
    "mxf of an archive": Film("film.mxf", "mpeg2video", "pcm_s16le", options={"bf": "2"}),
    "dv": Film("film.avi", "dvvideo", "pcm_s16le", size=(720, 576), pix_fmt="yuv420p"),
    "ogv": Film("film.ogv", "libvpx", "libopus", options={"deadline": "realtime"}),
    "swf": Film("film.swf", "flv1", "libmp3lame", sound_rate=44100),
    "nut": Film("film.nut", options=B_FRAMES, sound="pcm_s16le"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_stay_on_their_frame_and_sound_in_step(tmp_path, kind):
    film = KINDS[kind]
    path = film.write(tmp_path)
    write_segments(path, [Segment(*span, 1.0) for span in SPANS], tmp_path / "out.mp4")
    found = off(tmp_path / "out.mp4", SPANS, film.times(), sound_lag_s(path, film.times()) if film.sound else None)
    assert (found.wrong, found.silent) == ([], 0)
    assert found.pictures_s < 0.002, "containers round times"
    assert found.sound_s < 0.02
