"""Convert frames for the encoder: progressive, upright, with even sides, 4:2:0, SDR."""

import math
import struct
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any, Final, NamedTuple, TypeAlias, cast

from av.error import BlockingIOError as TryAgain
from av.error import EOFError as EndOfFile
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from omniedit.errors import InvalidInputError
from omniedit.media.facts import HLG, PQ
from omniedit.media.timeline import Part

TimedFrame: TypeAlias = tuple[VideoFrame, int]
"""A frame and its time in ticks."""

_SDR_FORMAT: Final = "yuv420p"
_HDR_FORMAT: Final = "yuv420p10le"
_MAPPED_FORMAT: Final = "gbrp16le"
_QUALITY: Final = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
FAST_SCALING: Final = "flags=area"
"""Scaling for thumbnails and measurements, four times as fast."""
# Returns one frame for each interlaced frame, and leaves progressive ones alone.
_DEINTERLACE: Final = "bwdif=mode=send_frame:deint=interlaced"
_FULL_RANGE: Final = 2
_RGB: Final = 0
_BT709: Final = 1
_HALF_TURN: Final = 180
_SMALLEST_SIDE: Final = 2
# Clockwise rotation in degrees -> FFmpeg's filters.
_ROTATIONS: Final = {
    0: (),
    90: ("transpose=clock",),
    180: ("hflip", "vflip"),
    270: ("transpose=cclock",),
}

# A lookup table converts HDR colours, PQ or HLG in BT.2020, to SDR in BT.709. Luminance follows
# BT.2390: values up to the knee are kept, and brighter ones roll off along a Hermite spline, so
# that 1,000 cd/m2 becomes SDR white. All three colours are scaled alike, which keeps the hue.
# FFmpeg's `tonemap` cannot be used: it needs `zscale`, which PyAV's FFmpeg is built without.
_LEVEL: Final = 6
"""The level of the Hald image: its sides are _LEVEL**3, and each colour has _LEVEL**2 steps."""

_STEPS: Final = _LEVEL**2
_HDR_PEAK: Final = 1000.0  # cd/m2, the usual mastering peak and the nominal peak of HLG
_SDR_PEAK: Final = 203.0  # cd/m2, HDR reference white (BT.2408)
_GAMMA: Final = 2.4  # SDR display (BT.1886)
# SMPTE ST 2084.
_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128
# BT.2100, HLG.
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA: Final = 1.2
_BT2020_LUMA: Final = (0.2627, 0.6780, 0.0593)
# BT.2087.
_BT2020_TO_BT709: Final = (
    (1.6605, -0.5876, -0.0728),
    (-0.1246, 1.1329, -0.0083),
    (-0.0182, -0.1006, 1.1187),
)
_WHITE: Final = 65535


class FrameSize(NamedTuple):
    """The target size of frames."""

    width: int
    height: int


class Filtered(NamedTuple):
    """A frame for the encoder, its time in ticks, and the filters that it comes from."""

    frame: VideoFrame
    pts: int
    filters: "FrameFilter"


def filtered(
    part: Part,
    frames: Iterable[TimedFrame],
    size: FrameSize | None,
    *,
    keeps_hdr: bool = False,
    scaling: str = _QUALITY,
) -> Generator[Filtered]:
    """Convert frames whose format may change on the way.

    Args:
        part: Where the frames come from.
        frames: The frames.
        size: The size of all frames; None for that of the first one once upright.
        keeps_hdr: Keep HDR colours, in 10 bits, instead of converting them to SDR.
        scaling: Flags of FFmpeg's scaler.
    """
    current: FrameFilter | None = None
    for frame, pts in frames:
        if current is not None and not current.accepts(frame):
            yield from current.flush()
            current = None
        if current is None:
            current = FrameFilter(part, frame, size, keeps_hdr=keeps_hdr, scaling=scaling)
            size = current.size
        yield from current.apply(frame, pts)
    if current is not None:
        yield from current.flush()


class FrameFilter:
    """Converts frames of one format for the encoder.

    Frames are rotated here, so that no program has to support display matrices. An odd side loses
    its last row or column, because 4:2:0 needs even sides.
    """

    def __init__(
        self,
        part: Part,
        frame: VideoFrame,
        size: FrameSize | None,
        *,
        keeps_hdr: bool,
        scaling: str,
    ) -> None:
        self._aspect = part.facts.pixel_aspect
        self._kind = _kind(frame)
        self._tick_s = part.timeline.tick_s
        self.deinterlaces = frame.interlaced_frame
        # A clip that was joined from several may change from HDR to SDR.
        self._primaries = frame.color_primaries
        self._transfer = frame.color_trc
        is_hdr = self._transfer in {PQ, HLG}
        self._maps_tones = is_hdr and not keeps_hdr
        self._pixel_format = _HDR_FORMAT if keeps_hdr else _SDR_FORMAT
        rotation, is_mirrored = rotation_of(frame), _is_mirrored(frame)
        self._is_on_its_side = rotation in {90, 270}
        width, height = frame.width, frame.height
        if self._is_on_its_side:
            width, height = height, width
        if min(width, height) < _SMALLEST_SIDE:
            msg = f"the video of {part.facts.name} is too small: {width}x{height}"
            hint = "export it with another program in a larger size"
            raise InvalidInputError(msg, code="invalid_size", hint=hint)
        even = FrameSize(width & ~1, height & ~1)
        self.size = size or even
        # Most frames need no filtering; passing them through the graph costs a tenth of the time.
        self._passes_through = (
            not (self.deinterlaces or is_hdr)
            and frame.format.name == _SDR_FORMAT
            and not (rotation or is_mirrored)
            and self.size == even == (width, height)
        )
        self._graph = Graph()
        self._source = self._graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base=str(self._tick_s),
            pixel_aspect="1/1",
            colorspace=str(_RGB if frame.format.is_rgb else frame.colorspace),
            range=str(frame.color_range),
        )
        self._sink = self._built(
            [
                *([_DEINTERLACE] if self.deinterlaces else []),
                *(["vflip"] if is_mirrored else []),
                *_ROTATIONS[rotation],
                f"crop={even.width}:{even.height}:0:0:exact=1",
                f"scale={_scaling(frame, self.size)}:{scaling}",
            ]
        )

    def accepts(self, frame: VideoFrame) -> bool:
        """Return whether a frame has the format of the first one."""
        return _kind(frame) == self._kind and (self.deinterlaces or not frame.interlaced_frame)

    def apply(self, frame: VideoFrame, pts: int) -> Iterator[Filtered]:
        """Filter a frame and yield the frames that are ready."""
        frame.pts, frame.time_base = pts, self._tick_s
        if self._passes_through:
            yield Filtered(frame, pts, self)
            return
        self._source.push(frame)
        yield from self._ready()

    def flush(self) -> Iterator[Filtered]:
        """Yield the frames that the filters still hold."""
        if not self._passes_through:
            self._source.push(None)
            yield from self._ready()

    def configure(self, stream: VideoStream, filtered: VideoFrame, tick_s: Fraction) -> None:
        """Set up an encoder's stream for frames like this filtered one."""
        target = stream.codec_context
        target.width, target.height = self.size
        target.pix_fmt = self._pixel_format
        target.time_base = stream.time_base = tick_s
        if self._aspect != 1:
            target.sample_aspect_ratio = 1 / self._aspect if self._is_on_its_side else self._aspect
        # Leave unspecified values unspecified: players then guess as they do for the source.
        target.color_range = filtered.color_range
        target.colorspace = _BT709 if filtered.colorspace == _RGB else filtered.colorspace
        target.color_primaries = _BT709 if self._maps_tones else self._primaries
        target.color_trc = _BT709 if self._maps_tones else self._transfer

    def _built(self, filters: list[str]) -> FilterContext:
        """Build the graph and return its sink."""
        graph = self._graph
        last = self._source
        table = None
        if self._maps_tones:
            last = _linked(graph, last, [*filters, f"format={_MAPPED_FORMAT}"])
            side = f"{_LEVEL**3}x{_LEVEL**3}"
            table = graph.add("buffer", f"video_size={side}:pix_fmt={_MAPPED_FORMAT}:time_base=1/1")
            mapping = graph.add("haldclut", "clut=first")
            last.link_to(mapping, 0, 0)
            table.link_to(mapping, 0, 1)
            last = mapping
            filters = [f"scale=out_color_matrix=bt709:out_range=limited:{_QUALITY}"]
        last = _linked(graph, last, [*filters, f"format={self._pixel_format}", "buffersink"])
        graph.configure()
        if table is not None:
            table.push(_hald_image(is_pq=self._transfer == PQ))
            table.push(None)
        return last

    def _ready(self) -> Iterator[Filtered]:
        for frame in pulled(self._sink.pull):
            # Deinterlacing halves the time base.
            pts = (frame.pts or 0) * Fraction(frame.time_base or self._tick_s)
            yield Filtered(frame, round(pts / self._tick_s), self)


def pulled(pull: Callable[[], Any]) -> Generator[Any]:
    """Yield the frames that a filter has ready."""
    while True:
        try:
            yield pull()
        except (TryAgain, EndOfFile):
            return


def rotation_of(frame: VideoFrame) -> int:
    """Return how many degrees clockwise a player rotates a frame: 0, 90, 180 or 270."""
    degrees = -90 * round(frame.rotation / 90) % 360
    # A singular matrix has no angle, and PyAV returns a huge one.
    return degrees if abs(frame.rotation) <= _HALF_TURN else 0


@lru_cache
def hald_planes(*, is_pq: bool) -> tuple[bytes, bytes, bytes]:
    """Return the green, blue and red planes of the Hald image for PQ or HLG (16 bits, native)."""
    levels = [index / (_STEPS - 1) for index in range(_STEPS)]
    linear = [_pq_to_light(level) if is_pq else _hlg_to_scene(level) for level in levels]
    pixels = array("H")
    for b, g, r in product(linear, repeat=3):
        light = (r, g, b) if is_pq else _scene_to_display(r, g, b)
        pixels.extend(_to_sdr(*light))
    red, green, blue = (pixels[index::3].tobytes() for index in range(3))
    return green, blue, red


def _linked(graph: Graph, last: FilterContext, filters: list[str]) -> FilterContext:
    """Append filters to a graph; return the last one."""
    nodes = [last]
    for text in filters:
        name, _, arguments = text.partition("=")
        nodes.append(graph.add(name, arguments or None))
    graph.link_nodes(*nodes)
    return nodes[-1]


def _is_mirrored(frame: VideoFrame) -> bool:
    """Return whether a player mirrors a frame.

    A display matrix has nine numbers (ISO/IEC 14496-12, 8.3.2): x' = ax + cy, y' = bx + dy.
    """
    # Reading `side_data` puts a frame into a reference cycle: do not do it for every frame.
    # PyAV's type hints cover motion vectors only.
    matrix = cast("Any", frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return False
    a, b, _, c, d, *_ = struct.unpack_from("9i", bytes(matrix))
    return bool(a * d < b * c)


def _kind(frame: VideoFrame) -> tuple[object, ...]:
    return frame.width, frame.height, frame.format.name, frame.rotation, frame.color_trc


def _scaling(frame: VideoFrame, size: FrameSize) -> str:
    scaling = f"{size.width}:{size.height}"
    if frame.format.is_rgb:
        return f"{scaling}:out_color_matrix=bt709:out_range=limited"
    is_full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    return f"{scaling}:in_range=full:out_range=full" if is_full else scaling


def _hald_image(*, is_pq: bool) -> VideoFrame:
    side = _LEVEL**3
    image = VideoFrame(side, side, _MAPPED_FORMAT)
    for plane, samples in zip(image.planes, hald_planes(is_pq=is_pq), strict=True):
        row_bytes = 2 * side
        padding = bytes(plane.line_size - row_bytes)
        rows = (samples[at : at + row_bytes] for at in range(0, len(samples), row_bytes))
        plane.update(padding.join([*rows, b""]))
    image.pts, image.time_base = 0, Fraction(1)
    return image


def _to_sdr(red: float, green: float, blue: float) -> list[int]:
    """Convert BT.2020 light, in cd/m2, to a 16-bit BT.709 signal."""
    brightest = max(red, green, blue)
    scale = _rolled_off(brightest) / brightest if brightest > 0 else 0.0
    light = (red * scale, green * scale, blue * scale)
    signal: list[int] = []
    for row in _BT2020_TO_BT709:
        value = sum(share * each for share, each in zip(row, light, strict=True)) / _SDR_PEAK
        signal.append(round(_WHITE * min(max(value, 0.0), 1.0) ** (1 / _GAMMA)))
    return signal


def _rolled_off(light: float) -> float:
    """Map HDR luminance to that of an SDR display, both in cd/m2 (BT.2390, 5.4.1)."""
    source = _light_to_pq(_HDR_PEAK)
    peak = _light_to_pq(_SDR_PEAK) / source
    knee = 1.5 * peak - 0.5
    level = min(_light_to_pq(light) / source, 1.0)
    if level > knee:
        t = (level - knee) / (1 - knee)
        level = (
            (2 * t**3 - 3 * t**2 + 1) * knee
            + (t**3 - 2 * t**2 + t) * (1 - knee)
            + (-2 * t**3 + 3 * t**2) * peak
        )
    return _pq_to_light(level * source)


def _light_to_pq(light: float) -> float:
    power = (light / 10_000) ** _M1
    return float(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _pq_to_light(signal: float) -> float:
    power = signal ** (1 / _M2)
    return float(10_000 * (max(power - _C1, 0.0) / (_C2 - _C3 * power)) ** (1 / _M1))


def _hlg_to_scene(signal: float) -> float:
    if signal <= 1 / 2:
        return signal**2 / 3
    return float((math.exp((signal - _C) / _A) + _B) / 12)


def _scene_to_display(red: float, green: float, blue: float) -> tuple[float, float, float]:
    r, g, b = _BT2020_LUMA
    luma = r * red + g * green + b * blue
    gain = _HDR_PEAK * luma ** (_HLG_GAMMA - 1) if luma > 0 else 0.0
    return red * gain, green * gain, blue * gain
