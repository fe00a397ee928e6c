"""Pictures as players show them.

A frame's pixels mean little without what is told beside them: matrix, range and transfer of the colours, how the
picture is turned or mirrored, the shape of a pixel, whether its lines are of two moments. Numbers of colours are those
of ITU-T H.273. Nothing here is given in the paper.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc, Interpolation, VideoReformatter

from hiersum_hf.video.crop import Crop, crop_of


MAX_SIDE_PX = 16_384
MAX_PIXELS = 2**27  # 16,384 x 8,192: one RGB image of it takes 400 MB
# What tells no matrix has BT.709's if its longer or its shorter side is larger than SD's, as in mpv
HD_LONG_PX, SD_SHORT_PX = 1280, 576
BT709, BT601_625, BT601, BT2020, BT2020_CONSTANT = 1, 5, 6, 9, 10
MATRICES = {BT709, 4, BT601_625, BT601, 7, BT2020}  # that FFmpeg's scaler knows
WRITTEN_MATRICES = {BT709: "bt709", BT601_625: "bt470bg", BT601: "smpte170m", BT2020: "bt2020nc"}
LINES_625 = {288, 576}
BROADCASTS = {"mpegts", "mpeg", "mpegvideo", "h264", "hevc"}  # what tells no shape of pixels beside those of the codec
PRIMARIES = {*ColorPrimaries} - {ColorPrimaries.UNSPECIFIED}
TRANSFERS = {*ColorTrc} - {ColorTrc.UNSPECIFIED}
HDR = {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}
DEINTERLACER = "bwdif", "mode=send_frame:deint=interlaced"
# Each line with a quarter of both neighbours: takes away the combs that are left where things move, and costs 0.02 to
# 0.07 dB there, 1.7 dB (of 44) where nearly nothing moves
LINES = "0 1 0 0 2 0 0 1 0"
SOFTENER = "convolution", f"{':'.join([LINES] * 4)}:{':'.join(['1/4'] * 4)}"


class Images:
    """Converter of the frames of a video stream to images.

    One for all frames: a converter per frame costs six times as much.
    """

    def __init__(self, stream: Any):
        self._shape, self._crop = PixelShape(stream), crop_of(stream)
        self._converter, self._deep = VideoReformatter(), VideoReformatter()

    def image(self, frame: Any) -> np.ndarray:
        """Convert a frame to an image.

        PQ and HLG become SDR of BT.709 as FFmpeg maps them (203 cd/m2 are white); other primaries stay as they are.

        Returns:
            uint8 RGB (H, W, 3), upright, as wide as it is shown, without what the container crops.
        """
        width, shown = self._shape.width(frame), frame
        transposed, mirrored, flipped = orientation(frame)
        frame.colorspace = _matrix(frame)
        # As FFmpeg's command does it; for the others it makes no difference but at odd sizes
        is_scaled = width != frame.width or frame.format.components[0].bits > 8
        how = Interpolation.BICUBIC if is_scaled else None
        if frame.color_trc in HDR:  # in 16 bit: 8 of PQ show as steps
            tell_colours(frame)
            sdr: Any = {"dst_color_trc": ColorTrc.BT709, "dst_color_primaries": ColorPrimaries.BT709}
            shown = self._deep.reformat(frame, format="rgb48le", interpolation=how, **sdr)
        else:
            _keep_transfer(frame)
        image = self._converter.reformat(shown, width, format="rgb24", interpolation=how).to_ndarray()
        left, top, shown_width, shown_height = self._crop.box(frame.width, frame.height)
        columns = (round(at * width / frame.width) for at in (left, left + shown_width))
        image = image[top : top + shown_height, slice(*columns)]
        image = image.transpose(1, 0, 2) if transposed else image  # (H, W, 3), stored as (W, H, 3)
        return np.ascontiguousarray(image[:: -1 if flipped else 1, :: -1 if mirrored else 1])


class PixelShape:
    """Shape of a stream's pixels, which broadcasts change on the way."""

    def __init__(self, stream: Any):
        self._source = stream.codec_context if stream.container.format.name in BROADCASTS else stream

    def now(self) -> Fraction:
        """Tell how many times as wide as high a stored pixel is, 1 if nothing says so."""
        shape: Fraction | None = self._source.sample_aspect_ratio
        return shape if shape and shape > 0 else Fraction(1)

    def width(self, frame: Any) -> int:
        """Tell how many square pixels wide a stored picture is.

        Its height stays. A shape that would make it larger than this package reads is passed over.
        """
        stored: int = frame.width
        width = max(1, round(stored * self.now()))
        return width if width <= MAX_SIDE_PX and width * frame.height <= MAX_PIXELS else stored


def orientation(frame: Any) -> tuple[bool, bool, bool]:
    """Tell how a stored picture becomes upright.

    Angles between quarter turns count as the nearest of these.

    Returns:
        Whether to swap rows and columns; then to mirror it left to right; then to flip it upside down.
    """
    told = side_data(frame).get(SideData.DISPLAYMATRIX)
    if told is None:
        return False, False, False
    # A pixel at column p, row q goes to column a p + c q + x, row b p + d q + y; nine numbers a b u c d v x y w
    a, b, _, c, d = (int(number) for number in np.frombuffer(told, np.int32)[:5])
    return (True, c < 0, b < 0) if abs(b) + abs(c) > abs(a) + abs(d) else (False, a < 0, d < 0)


def side_data(frame: Any) -> Any:
    """Read what is told beside a picture.

    A frame that is asked for its own `side_data` stays until Python looks for circles, a hundred pictures and more.
    """
    return SideDataContainer(frame)  # type: ignore[call-arg]


def progressive(frames: Iterable[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    """Deinterlace the frames that are flagged as two fields.

    Each becomes one picture, of the moment of its first field, at the time of the frame; the others stay as they are.
    """
    graphs: tuple[Any, Any] | None = None
    kind, waiting = None, deque[tuple[float, bool]]()
    for time_s, frame in frames:
        if graphs is not None and _kind(frame) != kind:
            yield from _pulled(graphs, waiting, None)
            graphs = None
        if graphs is None and frame.interlaced_frame:
            graphs, kind = (_graph(frame, DEINTERLACER), _graph(frame, SOFTENER)), _kind(frame)
        if graphs is None:
            yield time_s, frame
        else:
            waiting.append((time_s, frame.interlaced_frame))
            yield from _pulled(graphs, waiting, frame)
    if graphs is not None:
        yield from _pulled(graphs, waiting, None)


def _pulled(graphs: tuple[Any, Any], waiting: deque[tuple[float, bool]], frame: Any) -> Iterator[tuple[float, Any]]:
    """Push a frame, or None as the end, and pull what comes with its time."""
    deinterlacer, softener = graphs
    deinterlacer.push(frame)
    while waiting:
        try:
            picture = deinterlacer.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        time_s, had_fields = waiting.popleft()
        if had_fields:
            softener.push(picture)
            picture = softener.pull()
        yield time_s, picture


class Written:
    """Filters that make frames what plays everywhere.

    They are turned upright, cut to even sides (one of a single pixel is doubled), 4:2:0 in 8 bit and limited range, PQ
    and HLG mapped to SDR as `Images` does. Matrix, primaries and transfer are told; where a source does not, as players
    take it.

    Args:
        frame: One of those to come; others need filters of their own (`takes`).
        first: The filters of the first pictures, whose size and matrix all have; default: these are.
    """

    def __init__(self, stream: Any, frame: Any, first: Written | None = None):
        self.transposed, mirrored, flipped = orientation(frame)
        self._shape: PixelShape = first._shape if first else PixelShape(stream)
        self._kind = _kind(frame), self._shape.now()
        self.pixel_shape: Fraction = 1 / self._shape.now() if self.transposed else self._shape.now()
        tell_colours(frame)
        hdr = ":out_primaries=bt709:out_transfer=bt709" if frame.color_trc in HDR else ""
        kept = not hdr and frame.colorspace in WRITTEN_MATRICES
        own = int(frame.colorspace) if kept else BT709 if hdr or _is_hd(frame) else BT601
        self._matrix: int = first._matrix if first else own
        self._crop: Crop = first._crop if first else crop_of(stream)
        left, top, *shown = self._crop.box(frame.width, frame.height)
        width, height = shown[:: -1 if self.transposed else 1]
        own_size = max(1, width // 2) * 2, max(1, height // 2) * 2
        self._size: tuple[int, int] = first._size if first else own_size
        inside = _inside(self._size, width * self.pixel_shape / first.pixel_shape, height) if first else None
        scaled = "" if inside is None else f"{inside[0]}:{inside[1]}:"
        self._graph = _graph(
            frame,
            *[("crop", f"{shown[0]}:{shown[1]}:{left}:{top}:exact=1")] * any(self._crop),
            *[("transpose", "cclock_flip")] * self.transposed,
            *[("hflip", "")] * mirrored,
            *[("vflip", "")] * flipped,
            *[("scale", f"{max(2, width)}:{max(2, height)}")] * (min(width, height) == 1),
            ("crop", "trunc(iw/2)*2:trunc(ih/2)*2:0:0"),
            ("scale", f"{scaled}out_color_matrix={WRITTEN_MATRICES[self._matrix]}:out_range=tv{hdr}"),
            ("format", "yuv420p"),
            *[("pad", f"{self._size[0]}:{self._size[1]}:(ow-iw)/2:(oh-ih)/2")] * (inside not in (None, self._size)),
        )

    def takes(self, frame: Any) -> bool:
        """Tell whether a frame is of the kind that these filters are made for."""
        return self._kind == (_kind(frame), self._shape.now())

    def picture(self, frame: Any) -> Any:
        """Filter a frame."""
        tell_colours(frame)
        primaries, transfer = frame.color_primaries, frame.color_trc
        if transfer not in HDR:
            _keep_transfer(frame)
        self._graph.push(frame)
        picture = self._graph.pull()
        picture.colorspace = self._matrix  # of BT.601's two numbers that of the source
        if transfer not in HDR:
            picture.color_primaries, picture.color_trc = primaries, transfer
        return picture


def _inside(size: tuple[int, int], width: Fraction, height: int) -> tuple[int, int]:
    """Scale a picture of so many of the output's pixels into its size; both sides are even, the shape is kept."""
    scale = min(size[0] / width, Fraction(size[1], height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def tell_colours(picture: Any) -> None:
    """Write into a frame or codec what it does not tell of its colours.

    Players take it so. What is RGB has neither matrix nor range.
    """
    if not (picture.format.is_rgb or picture.format.has_palette):
        picture.colorspace = _matrix(picture)
        full = ColorRange.JPEG if picture.format.name.startswith("yuvj") else ColorRange.MPEG
        picture.color_range = picture.color_range or full
    if picture.color_primaries not in PRIMARIES:
        sd = BT601_625 if picture.height in LINES_625 else BT601
        picture.color_primaries = BT2020 if picture.color_trc in HDR else BT709 if _is_hd(picture) else sd
    if picture.color_trc not in TRANSFERS:
        picture.color_trc = BT709 if _is_hd(picture) else BT601


def _keep_transfer(frame: Any) -> None:
    """Hide primaries and transfer from FFmpeg's scaler, which refuses some even where they stay as they are."""
    frame.color_primaries, frame.color_trc = ColorPrimaries.UNSPECIFIED, ColorTrc.UNSPECIFIED


def _graph(frame: Any, *filters: tuple[str, str]) -> Any:
    """Link filters for frames like this one."""
    graph = av.filter.Graph()
    size = f"video_size={frame.width}x{frame.height}:pixel_aspect=1/1"
    colours = f"colorspace={frame.colorspace}:range={frame.color_range}"
    source = graph.add("buffer", f"{size}:pix_fmt={frame.format.name}:time_base={frame.time_base}:{colours}")
    nodes = [graph.add(name, arguments) for name, arguments in filters]
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
    return graph


def _kind(frame: Any) -> tuple[Any, ...]:
    """Return what a graph is made for."""
    return frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range


def _is_hd(frame: Any) -> bool:
    short, long = sorted((frame.width, frame.height))
    return bool(long >= HD_LONG_PX or short > SD_SHORT_PX)


def _matrix(frame: Any) -> int:
    """Return the matrix of a frame, as players take it where it is not told."""
    if frame.colorspace in MATRICES:
        return int(frame.colorspace)
    if frame.colorspace == BT2020_CONSTANT or frame.color_trc in HDR:
        return BT2020
    return BT709 if _is_hd(frame) else BT601_625
