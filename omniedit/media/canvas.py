"""Pictures of any kind turned into what the encoder takes: upright, even, 4:2:0, colours kept."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from av.filter import Graph

from omniedit.errors import InvalidInputError
from omniedit.media.probing import turned

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_PIXEL_FORMAT: Final = "yuv420p"
_QUALITY: Final = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
_UNSPECIFIED: Final = 2
_FULL_RANGE: Final = 2
_RGB: Final = 0
_BT709: Final = 1
_SMALLEST_SIDE: Final = 2
# Degrees clockwise, and whether it is mirrored, as FFmpeg's filters.
_TURNS: Final[dict[tuple[int, bool], tuple[str, ...]]] = {
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
class Form:
    """The size that pictures get."""

    width: int
    height: int


class Canvas:
    """Draws pictures of one kind as the encoder takes them.

    Turning is carried out, since not every version of PyAV can write a display matrix. Of an odd
    side the last row or column is left out: 4:2:0 has none for it.

    Args:
        stream: Where they come from.
        frame: The first of them.
        form: The size they get; their own by default.
        name: The clip, for messages.
    """

    def __init__(
        self, stream: "VideoStream", frame: "VideoFrame", form: Form | None, *, name: str
    ) -> None:
        self._kind = _kind(frame)
        self._context = stream.codec_context
        turn = turned(frame)
        self._is_on_its_side = turn[0] in {90, 270}
        width, height = frame.width, frame.height
        if self._is_on_its_side:
            width, height = height, width
        if min(width, height) < _SMALLEST_SIDE:
            msg = f"the pictures of {name} are too small: {width}x{height}"
            raise InvalidInputError(msg, code="invalid_size")
        filters = [*_TURNS[turn], f"crop={width & ~1}:{height & ~1}:0:0:exact=1"]
        filters.append(f"scale={_scaling(frame, form)}:{_QUALITY}")
        filters.append(f"format={_PIXEL_FORMAT}")
        self._graph = _graph(stream, frame, filters)

    def takes(self, frame: "VideoFrame") -> bool:
        """Return whether a picture is of the same kind as the first one."""
        return _kind(frame) == self._kind

    def draw(self, frame: "VideoFrame") -> "VideoFrame":
        """Return a picture as the encoder takes it."""
        self._graph.vpush(frame)
        return self._graph.vpull()

    def configure(self, stream: "VideoStream", drawn: "VideoFrame", tick_s: Fraction) -> None:
        """Prepare the stream of an encoder for pictures like these."""
        target, source = stream.codec_context, self._context
        target.width, target.height, target.pix_fmt = drawn.width, drawn.height, _PIXEL_FORMAT
        target.time_base = stream.time_base = tick_s
        shape = source.sample_aspect_ratio
        if shape and shape != 1:
            target.sample_aspect_ratio = 1 / shape if self._is_on_its_side else shape
        # Unspecified stays so: a player then guesses as it did before.
        target.color_range = drawn.color_range
        target.colorspace = _BT709 if drawn.colorspace == _RGB else drawn.colorspace
        target.color_primaries = source.color_primaries
        target.color_trc = source.color_trc


def _kind(frame: "VideoFrame") -> tuple[object, ...]:
    # Asked for its side data a picture keeps itself alive until Python looks for cycles.
    return frame.width, frame.height, frame.format.name, frame.rotation


def _scaling(frame: "VideoFrame", form: Form | None) -> str:
    size = f"{form.width}:{form.height}" if form else "iw:ih"
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
