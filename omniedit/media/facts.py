"""The facts about a clip, and whether the service accepts it."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from omniedit.errors import Hint
from omniedit.models import MAX_UPLOAD_BYTES, VideoFacts

C2PA: Final = "c2pa"
"""The mark of a clip that carries a manifest of its origin (C2PA, Content Credentials)."""
CLIP_TOO_LONG: Final = "clip_too_long"
"""The code of a problem."""
PQ: Final = 16
"""Transfer characteristic of HDR10 and Dolby Vision (H.273)."""
HLG: Final = 18
"""Transfer characteristic of broadcast HDR (H.273)."""

ACCEPTED_CODECS: Final = frozenset({"h264", "hevc"})
# Containers round times to their ticks, the coarsest to a millisecond.
_ROUNDING_S: Final = 0.0015
# A clip may exceed the limit by one frame, but by no more than this.
_LARGEST_OVERRUN_S: Final = 0.25
_LOWEST_SHARE: Final = 0.5
_RATE_TOLERANCE: Final = 0.01
_LENGTH_TOLERANCE_S: Final = 0.25
_HDR_NAMES: Final[Mapping[int | None, str]] = {PQ: "PQ", HLG: "HLG"}
_CONTAINER_NAMES: Final[Mapping[str, str]] = {
    "asf": "WMV",
    "matroska": "Matroska",
    "mov": "QuickTime (MOV)",
    "mpeg": "MPEG-PS",
    "mpegts": "MPEG-TS",
    "ogg": "Ogg",
    "webm": "WebM",
}
_CODEC_NAMES: Final[Mapping[str, str]] = {
    "aac": "AAC",
    "ac3": "AC-3",
    "av1": "AV1",
    "flac": "FLAC",
    "flv1": "Sorenson H.263",
    "gif": "GIF",
    "h263": "H.263",
    "h264": "H.264",
    "hevc": "H.265",
    "mjpeg": "Motion JPEG",
    "mp2": "MP2",
    "mp3": "MP3",
    "mpeg1video": "MPEG-1",
    "mpeg2video": "MPEG-2",
    "mpeg4": "MPEG-4 Part 2",
    "opus": "Opus",
    "prores": "ProRes",
    "theora": "Theora",
    "vorbis": "Vorbis",
    "vp8": "VP8",
    "vp9": "VP9",
    "wmav2": "WMA",
    "wmv2": "WMV 8",
    "wmv3": "WMV 9",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrack:
    """One of a clip's audio streams."""

    codec: str
    rate: int
    channels: int
    language: str | None
    is_used: bool
    """Whether this is the track that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFacts:
    """The facts read from a clip.

    `width` and `height` are as stored; `shown_width` and `shown_height` as a player shows them.
    """

    name: str
    """The file's name, or the URL without its query, for messages."""
    is_local: bool
    size_bytes: int | None
    container: str
    """mp4, mov, 3gp, webm, matroska, avi, mpegts, mpeg, flv, ogg, asf or gif."""
    is_fragmented: bool
    duration_s: float | None
    """Length of the video stream; None if neither the header nor the bytes read reveal it."""
    is_measured: bool
    """Whether every packet was read; otherwise the length is what the header states."""
    frames: int | None
    frame_rate: float | None
    """Average frames per second."""
    is_variable_rate: bool
    video_codec: str
    width: int
    height: int
    rotation: int | None
    """Degrees clockwise by which a player rotates the video: 0, 90, 180 or 270; None if unknown."""
    pixel_format: str | None
    color_range: int | None
    """This and the next three are code points of H.273; None if unspecified."""
    color_primaries: int | None
    color_transfer: int | None
    color_space: int | None
    container_s: float | None = None
    """Length of the file as players show it; audio or an edit list can make it longer."""
    bit_depth: int | None = None
    chroma: str | None = None
    """Chroma subsampling, such as 4:2:0."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a stored pixel over its height."""
    is_interlaced: bool = False
    audio_end_s: float | None = None
    """End of the audio track that is used, counted from the first frame; None if unknown."""
    audio_tracks: tuple[AudioTrack, ...] = ()
    marks: tuple[str, ...] = ()
    """Marks of origin: `c2pa` if the file carries a C2PA manifest."""

    @property
    def hdr(self) -> str | None:
        """The kind of HDR, PQ or HLG; None for SDR."""
        return _HDR_NAMES.get(self.color_transfer)

    @property
    def display_aspect(self) -> Fraction:
        """Width of the picture over its height, as players show it."""
        aspect = Fraction(self.width, self.height) * self.pixel_aspect
        return 1 / aspect if self.rotation in {90, 270} else aspect

    @property
    def pixels(self) -> int:
        """Number of pixels in a frame."""
        return self.width * self.height

    @property
    def audio(self) -> AudioTrack | None:
        """The audio track that is kept; None if none can be decoded."""
        return next((track for track in self.audio_tracks if track.is_used), None)

    @property
    def frame_s(self) -> float:
        """Average length of a frame; 0 if unknown."""
        return 1 / self.frame_rate if self.frame_rate else 0.0

    @property
    def shown_width(self) -> int:
        """Width after rotation."""
        return self.height if self.rotation in {90, 270} else self.width

    @property
    def shown_height(self) -> int:
        """Height after rotation."""
        return self.width if self.rotation in {90, 270} else self.height

    @property
    def video_facts(self) -> VideoFacts:
        """The facts that a viewer notices."""
        return VideoFacts(
            width=self.shown_width,
            height=self.shown_height,
            frame_rate=self.frame_rate,
            duration_s=self.duration_s,
            codec=self.video_codec,
            marks=self.marks,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why the service would not accept a clip as it is."""

    code: str
    message: str
    fix: Hint
    """How to fix it."""
    is_automatic: bool
    """Whether `edit` and `submit` fix it on their own, by converting the local clip."""


def find_problems(
    facts: ClipFacts, *, longest_s: float, keeps_hdr: bool = False, is_cut: bool = False
) -> tuple[Problem, ...]:
    """Return every reason why the service would not accept a clip; empty if none is known.

    Args:
        facts: The clip, or what a cut leaves of it.
        longest_s: The longest clip that the model takes.
        keeps_hdr: Whether HDR colours are kept.
        is_cut: Whether the facts describe a cut, for the message.
    """
    problems: list[Problem] = []
    if _exceeds(facts.duration_s, longest_s, facts.frame_s):
        what = "the cut is" if is_cut else "it is"
        length = f"{facts.duration_s:.2f} s long, and the model takes {longest_s:g} s at most"
        fix = "`edit` cuts it with `--start T --end T`, or edits it in pieces with `--split`"
        problems.append(_problem(CLIP_TOO_LONG, f"{what} {length}", fix))
    elif _exceeds(facts.container_s, longest_s, facts.frame_s):
        message = (
            f"its video is {facts.duration_s:.2f} s long,"
            f" but the whole file is {facts.container_s:.2f} s long"
        )
        problems.append(_conversion(facts, "container_too_long", message))
    if facts.container != "mp4":
        message = f"it is {container_name(facts.container)}, not MP4"
        problems.append(_conversion(facts, "not_an_mp4", message))
    if facts.video_codec not in ACCEPTED_CODECS:
        message = f"its video is {codec_name(facts.video_codec)}, not H.264 or H.265"
        problems.append(_conversion(facts, "unsuitable_codec", message))
    if facts.is_local and facts.hdr and not keeps_hdr:
        message = f"its colours are HDR ({facts.hdr}), which the service may misread"
        fix = "it is converted to SDR before the upload, unless you add `--keep-hdr`"
        problems.append(_problem("hdr", message, fix, is_automatic=True))
    if facts.is_local and not problems and (facts.size_bytes or 0) > MAX_UPLOAD_BYTES:
        message = f"the file service takes {MAX_UPLOAD_BYTES // 1024**2} MiB at most"
        fix = "host it yourself, and give its public URL instead of the file"
        problems.append(_problem("clip_too_large", message, fix))
    return tuple(problems)


def needs_conversion(facts: ClipFacts, *, longest_s: float, keeps_hdr: bool = False) -> bool:
    """Return whether a local clip must be converted before the service accepts it."""
    problems = find_problems(facts, longest_s=longest_s, keeps_hdr=keeps_hdr)
    return any(problem.is_automatic for problem in problems)


def allowed_overrun_s(frame_s: float) -> float:
    """Return by how much a clip may exceed the limit: one frame of this length."""
    return min(frame_s, _LARGEST_OVERRUN_S) + _ROUNDING_S


def describe_difference(clip: VideoFacts, result: VideoFacts) -> str | None:
    """Describe how a result differs from its clip in size, rate or length; None if it does not."""
    rate_tolerance = _RATE_TOLERANCE * (clip.frame_rate or 0)
    has_other_length = not _is_near(result.duration_s, clip.duration_s, _LENGTH_TOLERANCE_S)
    if (
        (result.width, result.height) == (clip.width, clip.height)
        and _is_near(result.frame_rate, clip.frame_rate, rate_tolerance)
        and not has_other_length
    ):
        return None
    described = [_described(each, with_length=has_other_length) for each in (result, clip)]
    return f"the result is {described[0]}; the clip is {described[1]}"


def is_suspiciously_short(clip: VideoFacts, result: VideoFacts) -> bool:
    """Return whether a result is less than half as long as its clip."""
    if clip.duration_s is None or result.duration_s is None:
        return False
    return result.duration_s < _LOWEST_SHARE * clip.duration_s


def rate_name(frame_rate: float) -> str:
    """Return a frame rate as people write it: 25, 29.97, 59.94."""
    return f"{round(frame_rate, 2):g}"


def container_name(container: str) -> str:
    """Return the usual name of a container, such as MP4."""
    return _CONTAINER_NAMES.get(container, container.upper())


def codec_name(codec: str) -> str:
    """Return the usual name of a codec, or FFmpeg's own name if there is none."""
    return "PCM" if codec.startswith("pcm_") else _CODEC_NAMES.get(codec, codec)


def _problem(code: str, message: str, fix: str, *, is_automatic: bool = False) -> Problem:
    return Problem(code=code, message=message, fix=Hint(fix), is_automatic=is_automatic)


def _conversion(facts: ClipFacts, code: str, message: str) -> Problem:
    fix = "use a local file, which is converted automatically"
    if facts.is_local:
        fix = "it is converted before the upload"
    return _problem(code, message, fix, is_automatic=facts.is_local)


def _exceeds(duration_s: float | None, longest_s: float, frame_s: float) -> bool:
    return duration_s is not None and duration_s > longest_s + allowed_overrun_s(frame_s)


def _is_near(one: float | None, other: float | None, tolerance: float) -> bool:
    return one is None or other is None or abs(one - other) <= tolerance


def _described(facts: VideoFacts, *, with_length: bool) -> str:
    rate = "" if facts.frame_rate is None else f" at {rate_name(facts.frame_rate)} fps"
    length = f", {facts.duration_s:.2f} s" if with_length else ""
    return f"{facts.width}x{facts.height}{rate}{length}"
