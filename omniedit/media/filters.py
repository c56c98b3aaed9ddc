"""Frames of any kind made into what the encoder takes: upright, of even size, in 4:2:0."""

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, cast

from av.filter import Graph

from omniedit.errors import InvalidInputError

if TYPE_CHECKING:
    from av.buffer import Buffer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_PIXEL_FORMAT: Final = "yuv420p"
_QUALITY: Final = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
_UNSPECIFIED: Final = 2
_FULL_RANGE: Final = 2
_RGB: Final = 0
_BT709: Final = 1
_SMALLEST_SIDE: Final = 2
# FFmpeg's filters for a clockwise rotation in degrees, and whether the frame is mirrored.
_ROTATIONS: Final[dict[tuple[int, bool], tuple[str, ...]]] = {
    (0, False): (),
    (90, False): ("transpose=clock",),
    (180, False): ("hflip", "vflip"),
    (270, False): ("transpose=cclock",),
    (0, True): ("vflip",),
    (90, True): ("transpose=cclock_flip",),
    (180, True): ("hflip",),
    (270, True): ("transpose=clock_flip",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSize:
    """The size that frames get."""

    width: int
    height: int


class FrameFilter:
    """Makes frames of one kind what the encoder takes.

    Frames are rotated here, since not every version of PyAV can write a display matrix. An odd side
    loses its last row or column, for which 4:2:0 has no room.

    Args:
        stream: The stream that the frames come from.
        frame: The first of them.
        size: The size they get; None for their own.
        name: The clip, for messages.
    """

    def __init__(
        self, stream: "VideoStream", frame: "VideoFrame", size: FrameSize | None, *, name: str
    ) -> None:
        self._kind = _kind(frame)
        self._context = stream.codec_context
        rotation = display_rotation(frame)
        self._is_on_its_side = rotation[0] in {90, 270}
        width, height = frame.width, frame.height
        if self._is_on_its_side:
            width, height = height, width
        if min(width, height) < _SMALLEST_SIDE:
            msg = f"the video of {name} is too small: {width}x{height}"
            hint = "export it with another program in a larger size"
            raise InvalidInputError(msg, code="invalid_size", hint=hint)
        filters = [*_ROTATIONS[rotation], f"crop={width & ~1}:{height & ~1}:0:0:exact=1"]
        filters.append(f"scale={_scaling(frame, size)}:{_QUALITY}")
        filters.append(f"format={_PIXEL_FORMAT}")
        self._graph = _graph(stream, frame, filters)

    def accepts(self, frame: "VideoFrame") -> bool:
        """Return whether a frame is of the same kind as the first one."""
        return _kind(frame) == self._kind

    def apply(self, frame: "VideoFrame") -> "VideoFrame":
        """Return a frame as the encoder takes it."""
        self._graph.vpush(frame)
        return self._graph.vpull()

    def configure(self, stream: "VideoStream", filtered: "VideoFrame", tick_s: Fraction) -> None:
        """Prepare an encoder's stream for frames like this one, which was filtered here."""
        target, source = stream.codec_context, self._context
        target.width, target.height = filtered.width, filtered.height
        target.pix_fmt = _PIXEL_FORMAT
        target.time_base = stream.time_base = tick_s
        aspect = source.sample_aspect_ratio
        if aspect and aspect != 1:
            target.sample_aspect_ratio = 1 / aspect if self._is_on_its_side else aspect
        # What is unspecified stays so: players then guess as they did before.
        target.color_range = filtered.color_range
        target.colorspace = _BT709 if filtered.colorspace == _RGB else filtered.colorspace
        target.color_primaries = source.color_primaries
        target.color_trc = source.color_trc


def display_rotation(frame: "VideoFrame") -> tuple[int, bool]:
    """Return by how many degrees clockwise a player turns a frame, and whether it mirrors it.

    A display matrix has nine numbers (ISO/IEC 14496-12, 8.3.2): x' = ax + cy, y' = bx + dy.
    """
    # PyAV's own type only knows motion vectors.
    matrix: Buffer | None = cast("Any", frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack_from("9i", bytes(matrix))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        rotation = 0 if a >= 0 else 180
    else:
        rotation = 90 if b > 0 else 270
    return rotation, a * d - b * c < 0


def _kind(frame: "VideoFrame") -> tuple[object, ...]:
    # Once asked for its side data, a frame lives until Python collects cycles; do not ask each one.
    return frame.width, frame.height, frame.format.name, frame.rotation


def _scaling(frame: "VideoFrame", target: FrameSize | None) -> str:
    size = f"{target.width}:{target.height}" if target else "iw:ih"
    is_full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    if frame.format.is_rgb:
        return f"{size}:out_color_matrix=bt709:out_range=limited"
    return f"{size}:in_range=full:out_range=full" if is_full else size


def _graph(stream: "VideoStream", frame: "VideoFrame", filters: list[str]) -> Graph:
    graph = Graph()
    tick_s = Fraction(frame.time_base or stream.time_base or Fraction(1, 1000))
    is_rgb = frame.format.is_rgb
    source = [
        f"video_size={frame.width}x{frame.height}",
        f"pix_fmt={frame.format.name}",
        f"time_base={tick_s.numerator}/{tick_s.denominator}",
        "pixel_aspect=1/1",
        f"colorspace={_RGB if is_rgb else frame.colorspace}",
        f"range={frame.color_range}",
    ]
    last = graph.add("buffer", ":".join(source))
    for text in filters:
        name, _, arguments = text.partition("=")
        following = graph.add(name, arguments or None)
        last.link_to(following)
        last = following
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
