"""What a clip is, as a frozen value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFacts:
    """What was read from a clip.

    `width` and `height` are as stored; `shown_width` and `shown_height` as a player shows them.
    """

    name: str
    """The file's name, or the URL without its query: for messages."""
    is_local: bool
    size_bytes: int | None
    container: str
    """mp4, mov, 3gp, webm, matroska, avi or mpegts."""
    is_fragmented: bool
    duration_s: float | None
    """Of the video stream; None where neither header nor bytes read tell."""
    is_measured: bool
    """Whether every packet was seen, so that the length is no promise of a header."""
    frames: int | None
    frame_rate: float | None  # on average
    is_variable_rate: bool
    video_codec: str
    width: int
    height: int
    rotation: int | None
    """Degrees clockwise that a player turns the picture: 0, 90, 180 or 270; None if unknown."""
    pixel_format: str | None
    color_range: int | None  # these four as H.273 counts, None where unspecified
    color_primaries: int | None
    color_transfer: int | None
    color_space: int | None
    audio_codec: str | None
    audio_rate: int | None
    audio_channels: int | None

    @property
    def has_audio(self) -> bool:
        """Whether it has sound."""
        return self.audio_codec is not None

    @property
    def frame_s(self) -> float:
        """The length of a frame on average; 0 where that is unknown."""
        return 1 / self.frame_rate if self.frame_rate else 0.0

    @property
    def shown_width(self) -> int:
        """The width after turning."""
        return self.height if self.rotation in {90, 270} else self.width

    @property
    def shown_height(self) -> int:
        """The height after turning."""
        return self.width if self.rotation in {90, 270} else self.height
