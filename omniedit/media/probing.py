"""Read the facts about a clip from its header, its packets and its first frame."""

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import av
from av.error import FFmpegError, InvalidDataError
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from omniedit.errors import InvalidInputError
from omniedit.media.containers import (
    NO_VIDEO,
    READING_BUDGET_S,
    OpenClip,
    external_reference,
    opened_media,
)
from omniedit.media.facts import AudioTrack, ClipFacts
from omniedit.media.filters import rotation_of
from omniedit.media.formats import EXPORT_AGAIN, Readable, Recognised, container_of, recognise
from omniedit.media.timeline import MAX_LENGTH_S, Part, Timeline, TimelineBuilder, too_long
from omniedit.system.files import open_file

_UNSPECIFIED_COLOR: Final = 2
_UNSPECIFIED_RANGE: Final = 0
# Neither rounding nor other tracks explain a track this many times as long as its file.
_MOST_DISAGREEMENT: Final = 1.5
# An edit list hides frames of normal length; a wrong timescale makes all of them long.
_SUSPICIOUS_FRAME_S: Final = 1.0
_CHROMA_COMPONENTS: Final = 3
_PROBE_SIDE: Final = 64
# If a stream begins in the middle, frames before the next keyframe cannot be decoded.
_MOST_ATTEMPTS: Final = 600


def read_clip(path: Path, *, name: str | None = None) -> Part:
    """Return the whole of a local clip, after reading every packet.

    Raises:
        MissingFileError: If it cannot be read.
        InvalidInputError: If it is not a readable clip.
    """
    with open_file(path) as file:
        facts, timeline = _measured(file, name=name or str(path), is_local=True)
    return Part(source=path, facts=facts, timeline=timeline, start=timeline.start, end=timeline.end)


def probe_remote(file: Readable, *, name: str, reads_all: bool) -> ClipFacts:
    """Return the facts about a clip behind a URL.

    Args:
        reads_all: Read every packet to measure the length, instead of trusting the header.

    Raises:
        InvalidInputError: If it is certainly not a clip.
    """
    if reads_all:
        return _measured(file, name=name, is_local=False)[0]
    source = recognise(file, name=name, reads_all=False)
    with opened_media(file, name=name, is_partial=True) as clip:
        facts = _facts(clip, _first_frame(clip), source, is_local=False)
    if facts.is_fragmented:
        # FFmpeg reports only the length of the fragments that it has read so far.
        facts = replace(facts, duration_s=None, container_s=None, frames=None)
    _check(facts)
    return facts


def _measured(file: Readable, *, name: str, is_local: bool) -> tuple[ClipFacts, Timeline]:
    """Read every packet of a clip."""
    source = recognise(file, name=name, reads_all=True)
    with opened_media(file, name=name) as clip:
        timeline, frame, ends_s = _read(clip, file, source)
        facts = _facts(clip, frame, source, is_local=is_local)
        _check_index(facts, source, timeline)
        # An MP4 begins at 0 even if its first frame does not, a transport stream at its first frame.
        begins_s = 0.0 if source.index else (clip.container.start_time or 0) / av.time_base
        start_s = float(timeline.start * timeline.tick_s)
        end_s = float(timeline.end * timeline.tick_s)
        audio_end_s = ends_s.get(clip.audio.index) if clip.audio else None
    file_s = max([end_s, *ends_s.values()]) - begins_s
    facts = replace(
        facts,
        duration_s=timeline.duration_s,
        container_s=max(file_s, source.stated_length_s or 0.0),
        is_measured=True,
        frames=len(timeline.times),
        frame_rate=timeline.frame_rate,
        is_variable_rate=timeline.is_variable,
        audio_end_s=None if audio_end_s is None else audio_end_s - start_s,
    )
    _check(facts)
    return facts, timeline


def _check(facts: ClipFacts) -> None:
    if facts.duration_s is not None and facts.duration_s > MAX_LENGTH_S:
        raise too_long(facts.name)
    if facts.container == "gif" and facts.frames == 1:
        msg = f"{facts.name} is a GIF image, not a video"
        raise InvalidInputError(msg, code="not_a_video", hint="a GIF must be animated")


def _check_index(facts: ClipFacts, source: Recognised, timeline: Timeline) -> None:
    """Refuse an index that contradicts itself."""
    length_s = timeline.duration_s
    stated_s = source.stated_length_s
    count = len(timeline.times)
    if stated_s and length_s > _MOST_DISAGREEMENT * stated_s + 1:
        claim = f"the video is {length_s:.2f} s long, but the whole file only {stated_s:.2f} s"
        msg = f"the index of {facts.name} is damaged: it says that {claim}"
    elif timeline.frame_s > _SUSPICIOUS_FRAME_S and 2 * count < (facts.frames or 0):
        shown = f"{count} of {facts.frames} frames, for {timeline.frame_s:.2f} s each"
        msg = f"the index of {facts.name} is damaged: it shows only {shown}"
    else:
        return
    raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)


def _read(
    clip: OpenClip, file: Readable, source: Recognised
) -> tuple[Timeline, VideoFrame, dict[int, float]]:
    """Read every packet; return the timeline, a frame, and when each audio stream ends."""
    stream = clip.video
    builder = TimelineBuilder(clip)
    frame: VideoFrame | None = None
    attempts = 0
    ends: dict[int, int] = {}
    for packet in clip.packets(stream, *clip.audio_tracks, budget_s=READING_BUDGET_S):
        if packet.stream_index == stream.index:
            builder.add(cast("av.Packet[Any]", packet))
            if frame is None and attempts < _MOST_ATTEMPTS:
                attempts += 1
                with suppress(InvalidDataError):
                    frame = cast("VideoFrame | None", next(iter(packet.decode()), None))
        elif packet.size and packet.pts is not None:
            end = packet.pts + (packet.duration or 0)
            ends[packet.stream_index] = max(end, ends.get(packet.stream_index, end))
    timeline = builder.finish()
    if timeline is None:
        raise _no_frames(clip.name, source)
    if getattr(file, "failure", None) is not None:
        # A file read over a network seems to end where reading failed.
        msg = f"the end of {clip.name} could not be read"
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    if frame is None:
        msg = f"no frame of {clip.name} can be decoded: it is damaged or encrypted"
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    tracks = {track.index: track for track in clip.audio_tracks}
    ends_s = {index: float(end * (tracks[index].time_base or 0)) for index, end in ends.items()}
    return timeline, frame, ends_s


def _no_frames(name: str, source: Recognised) -> InvalidInputError:
    if source.has_external_data:
        return external_reference(name)
    msg = f"{name} has a video stream without frames"
    return InvalidInputError(msg, code=NO_VIDEO, hint=EXPORT_AGAIN)


def _first_frame(clip: OpenClip) -> VideoFrame | None:
    """Return the first frame, or None if that fails or takes too much reading."""
    # Ignore errors: the header has the essentials, and a frame only adds details like rotation.
    with suppress(FFmpegError, OSError):
        packets = islice(clip.packets(clip.video, budget_s=READING_BUDGET_S), _MOST_ATTEMPTS)
        return next((frame for packet in packets for frame in packet.decode()), None)
    return None


def _facts(
    clip: OpenClip, frame: VideoFrame | None, source: Recognised, *, is_local: bool
) -> ClipFacts:
    """Return the facts from the header, and from the first frame if there is one."""
    stream = clip.video
    audio = clip.audio
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate
    length = clip.container.duration
    container_s = duration_s = length / av.time_base if length else None
    if stream.duration and stream.time_base:
        duration_s = float(stream.duration * stream.time_base)
    pixels = context.format
    return ClipFacts(
        name=clip.name,
        is_local=is_local,
        size_bytes=source.size_bytes,
        container=container_of(clip.container.format.name, source.head),
        is_fragmented=source.is_fragmented,
        marks=source.marks,
        duration_s=duration_s,
        container_s=container_s,
        is_measured=False,
        frames=stream.frames or None,
        frame_rate=float(rate) if rate else None,
        is_variable_rate=False,
        video_codec=context.codec.canonical_name,
        width=context.width,
        height=context.height,
        rotation=rotation_of(frame) if frame else None,
        pixel_format=context.pix_fmt,
        bit_depth=pixels.components[0].bits if pixels else None,
        chroma=_chroma(pixels) if pixels else None,
        pixel_aspect=stream.sample_aspect_ratio or Fraction(1),
        is_interlaced=bool(frame and frame.interlaced_frame),
        color_range=_specified(context.color_range, _UNSPECIFIED_RANGE),
        color_primaries=_specified(context.color_primaries, _UNSPECIFIED_COLOR),
        color_transfer=_specified(context.color_trc, _UNSPECIFIED_COLOR),
        color_space=_specified(context.colorspace, _UNSPECIFIED_COLOR),
        audio_tracks=tuple(
            AudioTrack(
                codec=each.codec_context.codec.canonical_name,
                rate=each.codec_context.sample_rate,
                channels=each.codec_context.channels,
                language=None if each.language == "und" else each.language,
                is_used=each is audio,
            )
            for each in clip.audio_tracks
        ),
    )


def _chroma(pixels: VideoFormat) -> str | None:
    """Return the chroma subsampling; None for formats without chroma planes."""
    if pixels.is_rgb or len(pixels.components) < _CHROMA_COMPONENTS:
        return None
    # The chroma samples of four pixels in one row, and those that the row below adds.
    samples = 4 * pixels.chroma_width(_PROBE_SIDE) // _PROBE_SIDE
    is_halved = pixels.chroma_height(_PROBE_SIDE) < _PROBE_SIDE
    return f"4:{samples}:{0 if is_halved else samples}"


def _specified(value: int, unspecified: int) -> int | None:
    return None if value == unspecified else int(value)
