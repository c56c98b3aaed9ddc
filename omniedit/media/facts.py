"""What a clip is, whether the service takes it, and what an edit of it costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from omniedit.models import MAX_UPLOAD_BYTES

MAX_CLIP_S: Final = 10.0
"""`video_urls` takes an MP4 of 10 seconds at most (API reference)."""
TOKENS_PER_SECOND: Final = 5792
"""Video input, and 720p output with its audio, a second each (the vendor's price pages, 2026)."""
INPUT_CREDITS_PER_TOKEN: Final = 86.7e-6
"""86.7 credits per million input tokens (the vendor's price pages, 2026)."""
OUTPUT_CREDITS_PER_TOKEN: Final = 1011.5e-6
"""1,011.5 credits per million output tokens (the vendor's price pages, 2026)."""
CREDITS_PER_SECOND: Final = TOKENS_PER_SECOND * (INPUT_CREDITS_PER_TOKEN + OUTPUT_CREDITS_PER_TOKEN)
"""About 6.36, since a result is as long as its clip; `credits_reserved` rules."""

_ACCEPTED_CODECS: Final = frozenset({"h264", "hevc"})
# Containers round times to their ticks, the coarsest to a millisecond.
_ROUNDING_S: Final = 0.0015
# A frame that is shown for longer than this is no reason to let a clip be longer.
_LONGEST_FRAME_S: Final = 0.25
_CONTAINER_NAMES: Final[Mapping[str, str]] = {
    "3gp": "3GP",
    "avi": "AVI",
    "matroska": "Matroska",
    "mov": "QuickTime (MOV)",
    "mp4": "MP4",
    "mpegts": "MPEG-TS",
    "webm": "WebM",
}
_CODEC_NAMES: Final[Mapping[str, str]] = {
    "aac": "AAC",
    "ac3": "AC-3",
    "av1": "AV1",
    "flac": "FLAC",
    "h263": "H.263",
    "h264": "H.264",
    "hevc": "H.265",
    "mjpeg": "Motion JPEG",
    "mp3": "MP3",
    "mpeg2video": "MPEG-2",
    "mpeg4": "MPEG-4 Part 2",
    "opus": "Opus",
    "prores": "ProRes",
    "vorbis": "Vorbis",
    "vp8": "VP8",
    "vp9": "VP9",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFacts:
    """What was read from a clip.

    `width` and `height` are as stored; `shown_width` and `shown_height` as a player shows them.
    """

    name: str
    """The file's name, or the URL without its query, for messages."""
    is_local: bool
    size_bytes: int | None
    container: str
    """mp4, mov, 3gp, webm, matroska, avi or mpegts."""
    is_fragmented: bool
    duration_s: float | None
    """Length of the video stream; None where neither the header nor the bytes read tell."""
    is_measured: bool
    """Whether every packet was read; otherwise the length is what the header claims."""
    frames: int | None
    frame_rate: float | None
    """Average frames per second."""
    is_variable_rate: bool
    video_codec: str
    width: int
    height: int
    rotation: int | None
    """Degrees clockwise by which a player turns the video: 0, 90, 180 or 270; None if unknown."""
    pixel_format: str | None
    color_range: int | None
    """This and the next three are the code points of H.273; None where unspecified."""
    color_primaries: int | None
    color_transfer: int | None
    color_space: int | None
    audio_codec: str | None
    audio_rate: int | None
    audio_channels: int | None

    @property
    def has_audio(self) -> bool:
        """Whether the clip has an audio stream that can be decoded."""
        return self.audio_codec is not None

    @property
    def frame_s(self) -> float:
        """Average length of a frame; 0 where unknown."""
        return 1 / self.frame_rate if self.frame_rate else 0.0

    @property
    def shown_width(self) -> int:
        """Width after rotation."""
        return self.height if self.rotation in {90, 270} else self.width

    @property
    def shown_height(self) -> int:
        """Height after rotation."""
        return self.width if self.rotation in {90, 270} else self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why the service would not take a clip as it is."""

    code: str
    message: str
    fix: str
    """What to do about it, as a hint."""
    is_automatic: bool
    """Whether `edit` and `submit` fix it on their own, by converting the local clip."""


def verdict(facts: ClipFacts) -> tuple[Problem, ...]:
    """Return every reason why the service would not take a clip; empty if none is known."""
    problems: list[Problem] = []
    if is_too_long(facts):
        problems.append(
            Problem(
                code="clip_too_long",
                message=(
                    f"it is {facts.duration_s:.2f} s long, and the service takes"
                    f" {MAX_CLIP_S:.0f} s at most"
                ),
                fix="cut it with `--start T --end T`, or in pieces with `omniedit edit --split`",
                is_automatic=False,
            )
        )
    if facts.container != "mp4":
        message = f"it is {container_name(facts.container)}, not MP4"
        problems.append(_conversion(facts, "not_an_mp4", message))
    if facts.video_codec not in _ACCEPTED_CODECS:
        message = f"its video is {codec_name(facts.video_codec)}, not H.264 or H.265"
        problems.append(_conversion(facts, "unsuitable_codec", message))
    if facts.is_local and not problems and (facts.size_bytes or 0) > MAX_UPLOAD_BYTES:
        problems.append(
            Problem(
                code="clip_too_large",
                message=f"the file service takes {MAX_UPLOAD_BYTES // 1024**2} MiB at most",
                fix="host it yourself, and give its public URL instead of the file",
                is_automatic=False,
            )
        )
    return tuple(problems)


def fits(facts: ClipFacts) -> bool:
    """Return whether a clip can be edited, as it is or after conversion."""
    return all(problem.is_automatic for problem in verdict(facts))


def needs_conversion(facts: ClipFacts) -> bool:
    """Return whether a clip must be rewritten before the service takes it."""
    codes = {problem.code for problem in verdict(facts)}
    return bool(codes & {"not_an_mp4", "unsuitable_codec"})


def is_too_long(facts: ClipFacts) -> bool:
    """Return whether a clip is certainly too long; one frame over is let through."""
    if facts.duration_s is None:
        return False
    return facts.duration_s > MAX_CLIP_S + allowed_overrun_s(facts.frame_s)


def allowed_overrun_s(frame_s: float) -> float:
    """Return by how much a clip with frames of this length may exceed the limit: one frame."""
    return min(frame_s, _LONGEST_FRAME_S) + _ROUNDING_S


def estimated_credits(duration_s: float) -> float:
    """Return roughly what an edit of so many seconds costs; the service charges by its own count."""
    return duration_s * CREDITS_PER_SECOND


def container_name(container: str) -> str:
    """Return the usual name of a container; FFmpeg's own word where there is no other."""
    return _CONTAINER_NAMES.get(container, container)


def codec_name(codec: str) -> str:
    """Return the usual name of a codec; FFmpeg's own word where there is no other."""
    return "PCM" if codec.startswith("pcm_") else _CODEC_NAMES.get(codec, codec)


def _conversion(facts: ClipFacts, code: str, message: str) -> Problem:
    fix = "it is converted on the way" if facts.is_local else "give a local file: it is converted"
    return Problem(code=code, message=message, fix=fix, is_automatic=facts.is_local)
