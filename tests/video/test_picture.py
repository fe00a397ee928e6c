"""Pictures come as players show them: in their colours, upright, in their shape, without combs."""

import gc
from fractions import Fraction

import av
import numpy as np
import pytest

from hiersum_hf.summary.files import segment_pictures
from hiersum_hf.video.cuts import find_cuts
from hiersum_hf.video.reader import iter_frames
from tests.makers.pictures import (
    COLOURS,
    ORIENTATIONS,
    cropped,
    first,
    joined,
    middles,
    oriented,
    quarters,
    summary_of,
    tags,
    told,
)
from tests.makers.summaries import make_summary
from tests.makers.videos import EVERY, psnr


SD, HD = (64, 48), (1280, 16)
UNTOLD, FULL_HD = None, (1, 1, 1)


@pytest.mark.parametrize(
    ("size", "matrix", "full", "given", "pix_fmt", "written"),
    [
        (SD, 6, False, UNTOLD, "yuv420p", (5, 6, 6, 1)),
        ((80, 576), 6, False, UNTOLD, "yuv420p", (5, 5, 6, 1)),
        ((580, 584), 1, False, UNTOLD, "yuv420p", (1, 1, 1, 1)),
        (HD, 1, False, UNTOLD, "yuv420p", (1, 1, 1, 1)),
        (HD, 6, False, (6, 6, 6), "yuv420p", (6, 6, 6, 1)),
        (HD, 1, False, UNTOLD, "yuv420p10le", (1, 1, 1, 1)),
        (SD, 1, False, (1, 1, 1), "yuv420p", (1, 1, 1, 1)),
        (SD, 5, False, (5, 5, 6), "yuv422p", (5, 5, 6, 1)),
        (SD, 1, True, (1, 1, 13), "yuv420p", (1, 1, 13, 1)),
        (SD, 6, True, UNTOLD, "yuvj420p", (5, 6, 6, 1)),
        (SD, 9, False, (9, 9, 14), "yuv420p10le", (9, 9, 14, 1)),
        (SD, 9, False, (9, 2, 2), "yuv444p", (9, 6, 6, 1)),
    ],
)
def test_colours_are_those_that_players_show(tmp_path, size, matrix, full, given, pix_fmt, written):
    """Red would be orange in features and pictures, and in the short video on the next player."""
    path = told(tmp_path / "a.mp4", [quarters(size)] * 5, matrix, full, given, pix_fmt)
    assert np.abs(middles(first(path)) - COLOURS).max() <= 3
    output = summary_of(path, tmp_path / "out.mp4", 0.04, 0.2)
    assert tags(output) == written
    assert np.abs(middles(first(output)) - COLOURS).max() <= 6
    if pix_fmt == "yuv420p":
        copied = tags(summary_of(path, tmp_path / "copy.mp4", 0.0, 0.2))
        assert copied == (*written[:3], 2 if full else 1)


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("libx264rgb", "rgb24"), ("png", "pal8"), ("png", "gray"), ("qtrle", "rgb24")]
)
def test_colours_that_are_no_yuv_stay(tmp_path, codec, pix_fmt):
    image = quarters(HD)
    with av.open(str(tmp_path / "a.mov"), "w") as target:
        stream = target.add_stream(codec, rate=25, options={"crf": "0"} if codec == "libx264rgb" else {})
        stream.width, stream.height, stream.pix_fmt = *HD, pix_fmt
        for k in range(5):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format="gray") if pix_fmt == "gray" else frame
            if pix_fmt == "pal8":
                palette = np.zeros((256, 4), np.uint8)
                palette[:4, 0], palette[:4, 1:] = 255, COLOURS.reshape(4, 3)
                numbers = np.arange(4, dtype=np.uint8).reshape(2, 2).repeat(8, 0).repeat(640, 1)
                frame = av.VideoFrame.from_ndarray((numbers, palette), format="pal8")
            frame.pts = k
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    want = COLOURS.astype(int)
    if pix_fmt == "gray":
        want = (want @ [0.299, 0.587, 0.114]).round().astype(int)[:, :, None].repeat(3, 2)
    assert np.abs(middles(first(tmp_path / "a.mov")) - want).max() <= 2
    output = summary_of(tmp_path / "a.mov", tmp_path / "out.mp4", 0.04, 0.16)
    assert tags(output) == (1, 1, 1, 1)
    assert np.abs(middles(first(output)) - want).max() <= 5


def test_the_pixels_of_untold_small_videos_are_as_before(tmp_path):
    """Features of plain files must not move under a checkpoint that was trained on them."""
    path = told(
        tmp_path / "a.mp4", [np.random.default_rng(k).integers(0, 256, (48, 64, 3), np.uint8) for k in range(3)]
    )
    with av.open(str(path)) as container:
        plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.testing.assert_array_equal([image for _, image in iter_frames(path, EVERY)], plain)


def test_pictures_go_once_they_are_read_and_written(tmp_path):
    """What keeps each of them until Python looks for circles costs half a gigabyte of 1920 x 1080."""
    film = told(tmp_path / "film.mp4", [quarters(SD)] * 40)
    turned = oriented(film, ORIENTATIONS["right turn"], tmp_path / "turned.mp4")
    gc.collect()
    gc.disable()
    try:
        for path in (film, turned):
            for sample_fps in (2, EVERY):
                for _ in iter_frames(path, sample_fps):
                    pass
            summary_of(path, tmp_path / "out.mp4", 0.1, 0.5)
        kept = sum(isinstance(one, av.VideoFrame) for one in gc.get_objects())
    finally:
        gc.enable()
    assert kept == 0


def pq(light):
    """The code of light, 1 being 203 cd/m2, by ST 2084."""
    power = (light * 203 / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light):
    """The code of light above a twelfth of the peak, 1 being that of code 0.75, by BT.2100 for 1000 cd/m2."""
    scene = 0.2650 * light ** (1 / 1.2)
    return 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073


@pytest.mark.slow
@pytest.mark.parametrize(("transfer", "code"), [(16, pq), (18, hlg)])
def test_high_dynamic_range_is_shown_as_standard_and_told_so(tmp_path, transfer, code):
    """HDR taken for SDR is grey on grey; HDR tags on SDR pictures blind the viewer."""
    light = (160 / 255) ** 2.4  # of level 160 on a screen of BT.1886
    codes = np.full((48, 64), round(64 + 876 * code(1.0)), np.uint16)
    codes[24:] = round(64 + 876 * code(light))
    with av.open(str(tmp_path / "a.mkv"), "w") as target:
        stream = target.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        stream.codec_context.colorspace, stream.codec_context.color_primaries = 9, 9
        stream.codec_context.color_trc, stream.codec_context.color_range = transfer, 1
        for k in range(5):
            planes = np.concatenate([codes.ravel(), np.full(2 * 24 * 32, 512, np.uint16)]).reshape(72, 64)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p10le")
            frame.pts = k
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    output = summary_of(tmp_path / "a.mkv", tmp_path / "out.mp4", 0.04, 0.16)
    assert tags(output) == (1, 1, 1, 1)
    for path in (tmp_path / "a.mkv", output):
        image = first(path)
        assert image[:20].mean() > 245
        assert np.ptp(image[:20].mean((0, 1))) < 4
        assert image[28:].mean() == pytest.approx(160, abs=8)


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("start_s", [0.0, 0.04])
def test_pictures_are_turned_and_mirrored_as_told(tmp_path, name, start_s):
    """Front cameras mirror: an angle alone turns such a picture upside down."""
    a, b, c, d = ORIENTATIONS[name]
    want = np.zeros((2, 2, 3), int)
    for q, p in np.ndindex(2, 2):  # from the middle of the picture: -1 or 1
        x, y = 2 * p - 1, 2 * q - 1
        want[(b * x + d * y + 1) // 2, (a * x + c * y + 1) // 2] = COLOURS[q, p]
    path = oriented(told(tmp_path / "a.mp4", [quarters(SD)] * 5), (a, b, c, d), tmp_path / "turned.mp4")
    output = summary_of(path, tmp_path / "out.mp4", start_s, 0.2)  # copied from 0, else encoded anew
    for image in (first(path), first(output)):
        assert image.shape == ((64, 48, 3) if b else (48, 64, 3))
        assert np.abs(middles(image) - want).max() <= 3


@pytest.mark.parametrize(
    ("shape", "turned", "size"),
    [
        (Fraction(16, 11), False, (93, 48)),
        (Fraction(16, 11), True, (48, 93)),
        (Fraction(8, 9), False, (57, 48)),
        (Fraction(8, 9), True, (48, 57)),
        (Fraction(1, 20), False, (3, 48)),
        (Fraction(4000), False, (64, 48)),  # a picture of 256,000 pixels a row is nobody's
    ],
)
def test_pictures_have_the_shape_in_which_they_are_shown(tmp_path, shape, turned, size):
    """DVDs store wide pictures squeezed: people would be thin on the page and to the encoder."""
    path = told(tmp_path / "a.mp4", [quarters(SD)] * 5, shape=shape)
    path = oriented(path, ORIENTATIONS["right turn"], tmp_path / "b.mp4") if turned else path
    assert first(path).shape == (size[1], size[0], 3)
    for start_s in (0.0, 0.04):  # copied; encoded anew
        height, width = first(summary_of(path, tmp_path / f"out{start_s}.mp4", start_s, 0.2)).shape[:2]
        assert abs(width - height * size[0] / size[1]) <= 1


def test_pictures_of_page_and_sheet_have_the_shape_of_the_video(tmp_path):
    path = told(tmp_path / "a.mp4", [quarters(SD)] * 25, shape=Fraction(16, 11))
    path = oriented(path, ORIENTATIONS["right turn"], tmp_path / "b.mp4")
    summary = make_summary(path, segments=[(0.2, 0.8, 0.9)])
    (image,) = segment_pictures(summary, summary_of(path, tmp_path / "out.mp4", 0.2, 0.8)).values()
    height, width = image.shape[:2]
    assert width / height == pytest.approx(48 / 93, rel=0.02)


@pytest.mark.parametrize("start_s", [0.0, 0.04])
def test_a_shape_that_only_the_container_tells_stays(tmp_path, start_s):
    path = told(tmp_path / "a.mp4", [quarters(SD)] * 5, shape=Fraction(2))
    content = path.read_bytes()
    at = content.index(b"pasp") + 4
    path.write_bytes(content[:at] + bytes([0, 0, 0, 3, 0, 0, 0, 1]) + content[at + 8 :])
    assert first(path).shape == (48, 192, 3)
    assert first(summary_of(path, tmp_path / "out.mp4", start_s, 0.2)).shape == (48, 192, 3)


def test_broadcasts_change_the_shape_on_the_way(tmp_path):
    """News in 4:3 and a film in 16:9 follow each other in one recording."""
    parts = [told(tmp_path / f"{k}.h264", [quarters(SD)] * 25, shape=Fraction(k)) for k in (1, 2)]
    shapes = [image.shape for _, image in iter_frames(joined(parts, tmp_path / "tv.ts"), EVERY)]
    assert shapes[:20] == [(48, 64, 3)] * 20
    assert shapes[-20:] == [(48, 128, 3)] * 20


def fields(count, size=(64, 48), step=4):
    """Pictures of two fields, bottom first: a white bar on black that moves right, `step` pixels a field."""
    images = np.full((count, size[1], size[0], 3), 16, np.uint8)
    for k, parity in np.ndindex(count, 2):
        at = step * (2 * k + 1 - parity) % (size[0] - 16)
        images[k, parity::2, at : at + 16] = 235
    return images


def combs(image):
    """How much neighbouring lines differ more than every other line does."""
    rows = image[4:-4, :, 0].astype(float)
    return np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean()


INTERLACED = {"x264-params": "bff=1:bframes=0"}


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_frames_of_two_fields_come_without_combs(tmp_path, codec):
    """Combs are shown by every browser, and seen by the encoder as texture."""
    options = INTERLACED if codec == "libx264" else {"flags": "+ilme+ildct", "b": "4M"}
    images = fields(12)
    path = told(tmp_path / "a.mkv", images, codec=codec, options=options)
    found = list(iter_frames(path, EVERY))
    assert [t for t, _ in found] == pytest.approx([k / 25 for k in range(12)], abs=1e-3)
    assert combs(images[5]) > 20
    assert max(combs(image) for _, image in found) < 5
    # Each shows its first field
    for (_, image), fielded in zip(found, images, strict=True):
        np.testing.assert_allclose(image[9:41:2], fielded[9:41:2], atol=40)
    assert [t for t, _ in iter_frames(path, 5)] == pytest.approx([0, 0.2, 0.4], abs=1e-3)
    output = summary_of(path, tmp_path / "out.mp4", 0.08, 0.4)
    written = [image for _, image in iter_frames(output, EVERY)]
    assert len(written) == 8
    assert max(map(combs, written)) < 5
    with av.open(str(output)) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))


def test_no_combs_are_left_where_fine_detail_moves(tmp_path):
    """Deinterlacers follow edges; of texture that moves they leave every other line off."""
    texture = np.random.default_rng(0).integers(16, 235, (48, 256), np.uint8)
    images = np.zeros((12, 48, 64, 3), np.uint8)
    for k, parity in np.ndindex(12, 2):
        at = 6 * (2 * k + 1 - parity)
        images[k, parity::2] = texture[parity::2, at : at + 64, None]
    path = told(tmp_path / "a.mkv", images, options=INTERLACED)
    assert max(combs(image) for _, image in iter_frames(path, EVERY)) < combs(images[5]) / 4


def test_combs_that_no_flag_tells_of_are_left(tmp_path):
    """Venetian blinds are no fields; what is not flagged is shown as it is."""
    path = told(tmp_path / "a.mkv", fields(4))
    assert min(combs(image) for _, image in iter_frames(path, EVERY)) > 20


def test_one_frame_of_two_fields_comes(tmp_path):
    path = told(tmp_path / "one.mkv", fields(1), options=INTERLACED)
    ((time_s, image),) = iter_frames(path, EVERY)
    assert (time_s, image.shape) == (0.0, (48, 64, 3))


def test_fields_begin_end_and_change_their_colours_on_the_way(tmp_path):
    """Broadcasts mix films and studio: each frame is treated by its own flag, none is lost."""
    still = [quarters(SD)] * 6
    parts = [
        told(tmp_path / "0.h264", still),
        told(tmp_path / "1.h264", fields(6), options=INTERLACED),
        told(tmp_path / "2.h264", still),
        told(tmp_path / "3.h264", fields(6), options=INTERLACED, tags=(1, 1, 1), matrix=1),
        told(tmp_path / "4.h264", fields(6, size=(80, 64)), options=INTERLACED),
    ]
    images = [image for _, image in iter_frames(joined(parts, tmp_path / "tv.ts"), EVERY)]
    assert len(images) == 30
    assert max(combs(image) for image in images[6:12] + images[18:]) < 5
    np.testing.assert_array_equal(images[12:18], images[:6])  # not softened either
    assert np.abs(middles(images[2]) - COLOURS).max() <= 2
    np.testing.assert_allclose(middles(images[14]), COLOURS, atol=2)


def test_a_turned_squeezed_interlaced_full_range_video_is_shown_right(tmp_path):
    images = [np.where(fielded > 128, quarters(SD), fielded) for fielded in fields(6, step=0)]
    told(tmp_path / "a.mp4", images, 1, True, FULL_HD, options=INTERLACED, shape=Fraction(3, 2))
    path = oriented(tmp_path / "a.mp4", ORIENTATIONS["swapped"], tmp_path / "b.mp4")
    output = summary_of(path, tmp_path / "out.mp4", 0.04, 0.2)
    image, written = first(path), first(output)
    assert (image.shape, written.shape) == ((96, 48, 3), (64, 32, 3))
    assert np.abs(image[10, 12].astype(int) - COLOURS[0, 0]).max() <= 3
    assert np.abs(written[7, 8].astype(int) - COLOURS[0, 0]).max() <= 5
    assert tags(output) == (1, 1, 1, 1)


def test_cuts_are_found_between_fields(tmp_path):
    pytest.importorskip("scenedetect")
    images = [*([quarters(SD)] * 30), *([255 - quarters(SD)] * 30)]
    path = told(tmp_path / "a.mkv", images, options=INTERLACED)
    assert find_cuts(path) == pytest.approx([1.2], abs=0.05)


def test_colours_that_nobody_has_are_taken_as_untold(tmp_path):
    """Reserved numbers come from broken encoders; FFmpeg's scaler refuses them."""
    untold, unusual = [(3, 3, 3), (0, 0, 0), (200, 200, 200), (14, 22, 10)], [(7, 22, 10), (10, 9, 14)]
    for matrix, primaries, transfer in untold + unusual:
        path = told(tmp_path / "a.h264", [quarters(SD)] * 5)
        change = f"matrix_coefficients={matrix}:colour_primaries={primaries}:transfer_characteristics={transfer}"
        joined([path], tmp_path / "b.mkv", f"h264_metadata={change}")
        image, output = first(tmp_path / "b.mkv"), summary_of(tmp_path / "b.mkv", tmp_path / "out.mp4", 0.0, 0.1)
        assert np.abs(middles(image) - COLOURS).max() <= (2 if (matrix, primaries, transfer) in untold else 40)
        assert psnr(first(output), image) > 25


def test_turned_pictures_of_oblong_pixels_are_written_upright(tmp_path):
    """Players turn the shape of the pixels with the picture, or do not: so none is copied with both told."""
    told(tmp_path / "a.mp4", [quarters(SD)] * 25, shape=Fraction(3, 2))
    path = oriented(tmp_path / "a.mp4", ORIENTATIONS["swapped"], tmp_path / "b.mp4")
    with av.open(str(summary_of(path, tmp_path / "out.mp4", 0.0, 0.5))) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (48, 64, Fraction(2, 3))


@pytest.mark.parametrize(
    ("suffix", "turn", "shape"),
    [("mov", "as stored", 1), ("mov", "right turn", 1), ("mov", "as stored", 2), ("mkv", "as stored", 1)],
)
def test_what_the_container_crops_is_not_shown(tmp_path, suffix, turn, shape):
    """Black bars that no player shows were in features and in the short video."""
    image = np.pad(quarters(SD), ((8, 16), (4, 12), (0, 0)))
    path = cropped(told(tmp_path / "a.mov", [image] * 10, shape=Fraction(shape)), 8, 16, 4, 12)
    path = oriented(path, ORIENTATIONS[turn], tmp_path / "b.mov")
    if suffix == "mkv":
        with av.open(str(path)) as source, av.open(str(tmp_path / "b.mkv"), "w") as target:
            stream = target.add_stream_from_template(source.streams[0], opaque=True)
            for packet in source.demux():
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
        path = tmp_path / "b.mkv"
    expected = np.rot90(COLOURS, -1) if turn == "right turn" else COLOURS
    size = SD[::-1] if turn == "right turn" else SD
    shown = first(path)
    assert shown.shape[1::-1] == (size[0] * shape, size[1])
    output = summary_of(path, tmp_path / "out.mp4", 0.04, 0.2)
    assert first(output).shape == shown.shape
    for picture in (shown, first(output)):
        assert np.abs(middles(picture) - expected).max() <= 6
        assert picture[[0, -1], :].min() > 20
