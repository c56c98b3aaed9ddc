"""Containers and codecs by the names that people know."""

from collections.abc import Mapping
from typing import Final

_CONTAINERS: Final[Mapping[str, str]] = {
    "3gp": "3GP",
    "avi": "AVI",
    "matroska": "Matroska",
    "mov": "QuickTime (MOV)",
    "mp4": "MP4",
    "mpegts": "MPEG-TS",
    "webm": "WebM",
}
_CODECS: Final[Mapping[str, str]] = {
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


def container_name(container: str) -> str:
    """Return a container as people call it; FFmpeg's own word where none is known."""
    return _CONTAINERS.get(container, container)


def codec_name(codec: str) -> str:
    """Return a codec as people call it; FFmpeg's own word where none is known."""
    return "PCM" if codec.startswith("pcm_") else _CODECS.get(codec, codec)
