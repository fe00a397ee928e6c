"""Pictures as FFmpeg's own command shows them, over the kinds of files that people have."""

import re
from typing import NamedTuple

import av
import numpy as np
import pytest

from hiersum_hf.video.reader import iter_frames
from tests.makers.pictures import (
    COLOURS,
    ORIENTATIONS,
    ffmpeg,
    middles,
    needs_ffmpeg,
    oriented,
    quarters,
    summary_of,
    tags,
)
from tests.makers.videos import EVERY


pytestmark = [pytest.mark.slow, needs_ffmpeg]
FPS = 25
INTERLACED = ["-flags", "+ilme+ildct"]
ENCODERS = {
    "h264": ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "4"],
    "hevc": ["-c:v", "libx265", "-preset", "ultrafast", "-crf", "4", "-x265-params", "log-level=none"],
    "vp9": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "0", "-crf", "4"],
    "av1": ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-crf", "4"],
    "mpeg2": ["-c:v", "mpeg2video", "-q:v", "1", "-g", "12"],
    "mpeg4": ["-c:v", "mpeg4", "-q:v", "1"],
    "prores": ["-c:v", "prores_ks"],
    "mjpeg": ["-c:v", "mjpeg", "-q:v", "1"],
    "ffv1": ["-c:v", "ffv1"],
}
TAGS = {
    "bt601": ("bt601", "smpte170m", "smpte170m", "smpte170m"),
    "pal": ("bt601", "bt470bg", "bt470bg", "smpte170m"),
    "bt709": ("bt709", "bt709", "bt709", "bt709"),
    "bt2020": ("bt2020", "bt2020nc", "bt2020", "bt2020-10"),
}


class Row(NamedTuple):
    """A kind of file."""

    name: str  # of the file
    encoder: str
    pix_fmt: str
    colours: str
    size: tuple[int, int] = (160, 96)
    full: bool = False
    is_told: bool = True
    orientation: str = "as stored"
    shape: str = "1/1"
    fields: str = ""


ROWS = [
    Row("sd.mp4", "h264", "yuv420p", "bt601", is_told=False),
    Row("sd.avi", "mpeg4", "yuv420p", "bt601", is_told=False),
    Row("sd.webm", "vp9", "yuv420p", "bt601"),
    Row("pal.mkv", "h264", "yuv420p", "pal", size=(96, 576), is_told=False),
    Row("hd.mp4", "h264", "yuv420p", "bt709", size=(1280, 32), is_told=False),
    Row("hd.ts", "mpeg2", "yuv420p", "bt709", size=(1280, 32), is_told=False),
    Row("hd-upright.mp4", "hevc", "yuv420p", "bt709", size=(32, 1280), is_told=False),
    Row("hd-ten.mkv", "hevc", "yuv420p10le", "bt709", size=(1280, 32), is_told=False),
    Row("hd-601.mp4", "h264", "yuv420p", "bt601", size=(1280, 32)),
    Row("small-709.mp4", "h264", "yuv420p", "bt709"),
    Row("camera.mov", "h264", "yuvj420p", "bt709", full=True),
    Row("camera.avi", "mjpeg", "yuvj422p", "bt601", full=True, is_told=False),
    Row("screen.mkv", "h264", "yuv444p", "bt709", full=True),
    Row("ten.mp4", "hevc", "yuv420p10le", "bt709"),
    Row("ten-601.mkv", "ffv1", "yuv422p10le", "bt601"),
    Row("wide.mp4", "hevc", "yuv420p10le", "bt2020"),
    Row("wide-full.mkv", "ffv1", "yuv444p10le", "bt2020", full=True),
    Row("wide-8.webm", "vp9", "yuv420p", "bt2020"),
    Row("av1.mp4", "av1", "yuv420p", "bt709"),
    Row("edit.mov", "prores", "yuv422p10le", "bt601", is_told=False),
    *[Row(f"phone-{name}.mp4", "h264", "yuv420p", "bt709", orientation=name) for name in ORIENTATIONS],
    Row("phone-ten.mov", "hevc", "yuv420p10le", "bt709", orientation="right turn"),
    Row("phone-hd.mp4", "h264", "yuv420p", "bt709", size=(1280, 32), is_told=False, orientation="left turn"),
    Row("mirror-full.mov", "h264", "yuvj420p", "bt601", full=True, orientation="left to right"),
    Row("dvd-ntsc.mkv", "mpeg2", "yuv420p", "bt601", is_told=False, shape="32/27"),
    Row("dvd-pal.ts", "mpeg2", "yuv420p", "pal", shape="16/15"),
    Row("vcd.mpg", "mpeg2", "yuv420p", "bt601", is_told=False, shape="4/5"),
    Row("hdv.mp4", "h264", "yuv420p", "bt709", shape="4/3"),
    Row("hdv-turned.mp4", "h264", "yuv420p", "bt709", shape="4/3", orientation="right turn"),
    Row("hdv-swapped.mov", "hevc", "yuv420p10le", "bt709", shape="3/4", orientation="swapped"),
    Row("hdv-mirrored.mp4", "h264", "yuvj420p", "bt601", full=True, shape="16/11", orientation="upside down"),
    Row("tv-tff.ts", "mpeg2", "yuv420p", "pal", fields="top", shape="4/5"),
    Row("tv-bff.mpg", "mpeg2", "yuv420p", "bt601", is_told=False, fields="bottom"),
    Row("tv-422.mkv", "mpeg2", "yuv422p", "bt709", fields="top"),
    Row("hdtv.ts", "h264", "yuv420p", "bt709", size=(1280, 64), is_told=False, fields="top"),
    Row("camcorder.mp4", "h264", "yuvj420p", "bt601", fields="bottom", full=True),
    Row("edit-fields.mov", "prores", "yuv422p10le", "bt709", size=(1280, 64), is_told=False, fields="top"),
]


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def row(request):
    return request.param


@pytest.fixture
def path(row, tmp_path):
    """One second of the four colours, with a bar that moves over their middle, field by field where there are such."""
    (width, height), rate = row.size, FPS * (2 if row.fields else 1)
    images = []
    for k in range(rate):
        image = quarters(row.size)
        at = 4 * k % (width - 8)
        image[height // 2 - 4 : height // 2 + 4, at : at + 8] = 255
        images.append(image)
    matrix, *told = TAGS[row.colours]
    to_range = f"out_range={'pc' if row.full else 'tv'}"
    filters = [f"scale=out_color_matrix={matrix}:{to_range}"]
    if row.fields:
        deep = "yuv444p10le" if "10" in row.pix_fmt else "yuv444p"
        filters += [
            f"format={deep},tinterlace=interleave_{row.fields},setfield={row.fields[0]}ff,scale=interl=1:{to_range}"
        ]
    filters += [f"format={row.pix_fmt}", f"setsar={row.shape}"]
    names = ("-colorspace", "-color_primaries", "-color_trc")
    flags = [word for pair in zip(names, told, strict=True) for word in pair] if row.is_told else []
    flags += ["-color_range", "pc"] if row.full else []
    flags += INTERLACED if row.fields else []
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
    plain = tmp_path / ("plain-" + re.sub(r"[^a-z.0-9]", "", row.name))
    output = ["-vf", ",".join(filters), *ENCODERS[row.encoder], *flags, plain]
    ffmpeg(*raw, *output, given=np.stack(images).tobytes())
    turned = row.orientation != "as stored"
    return oriented(plain, ORIENTATIONS[row.orientation], tmp_path / "turned.mp4") if turned else plain


def shown(path, size, matrix=None, full=False):
    """The images that FFmpeg's command decodes, turned by itself, at the size in which they are shown."""
    told = f":in_color_matrix={matrix}:in_range={'pc' if full else 'tv'}" if matrix else ""
    filters = f"bwdif=mode=send_frame:deint=interlaced,scale={size[0]}:{size[1]}{told},format=rgb24"
    raw = ffmpeg("-i", path, "-vf", filters, "-fps_mode", "passthrough", "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, size[1], size[0], 3)


def test_pictures_are_those_of_ffmpeg(row, path, tmp_path):
    above, below = map(int, row.shape.split("/"))
    size = round(row.size[0] * above / below), row.size[1]
    size = size[::-1] if ORIENTATIONS[row.orientation][1] else size
    with av.open(str(path)) as container:
        assert any(frame.interlaced_frame for frame in container.decode(video=0)) == bool(row.fields)
    images = np.stack([image for _, image in iter_frames(path, EVERY)])
    wanted = shown(path, size, TAGS[row.colours][0], row.full)
    assert images.shape == wanted.shape
    assert len(images) == FPS
    most = 3 if row.shape != "1/1" and row.orientation != "as stored" else 2  # scaled before or after the turn
    assert max(np.abs(middles(a) - middles(b)).max() for a, b in zip(images, wanted, strict=True)) <= most
    off = np.abs(images.astype(int) - wanted).mean((1, 2, 3))
    assert off.max() <= most
    a, b, c, d = ORIENTATIONS[row.orientation]
    assert np.abs(middles(images[0]) - turned(a, b, c, d)).max() <= 6

    output = summary_of(path, tmp_path / "out.mp4", 0.2, 0.8)
    matrix, primaries, transfer, range_ = tags(output)
    assert {matrix, primaries, transfer}.isdisjoint({0, 2, 3})
    assert range_ == 1
    written = shown(output, size)  # by its own tags
    assert len(written) == 15
    for image, want in zip(written, images[5:20], strict=True):
        assert np.abs(middles(image) - middles(want)).max() <= 6
        assert np.abs(image.astype(int) - want).mean() <= 4
    with av.open(str(output)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        ratio = stream.width * (stream.sample_aspect_ratio or 1) / stream.height
    assert float(ratio) == pytest.approx(size[0] / size[1], rel=0.03)


def turned(a, b, c, d):
    """The four colours as a display matrix turns them."""
    image = np.zeros((2, 2, 3), int)
    for q, p in np.ndindex(2, 2):  # from the middle of the picture: -1 or 1
        x, y = 2 * p - 1, 2 * q - 1
        image[(b * x + d * y + 1) // 2, (a * x + c * y + 1) // 2] = COLOURS[q, p]
    return image
