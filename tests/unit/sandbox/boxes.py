"""MP4s without frames, whose boxes state a length."""

import struct


def box(kind: bytes, *contents: bytes) -> bytes:
    """Return one box."""
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def mvhd(length_s: float, *, version: int = 0, timescale: int = 1000) -> bytes:
    """Return a movie header."""
    ticks = round(length_s * timescale)
    if version:
        return box(b"mvhd", struct.pack(">IQQIQ", 1 << 24, 0, 0, timescale, ticks), bytes(80))
    return box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, timescale, ticks), bytes(80))


def trak(kind: bytes, length_s: float, *, version: int = 0, timescale: int = 1000) -> bytes:
    """Return a track with the handler `vide` or `soun`."""
    ticks = round(length_s * timescale)
    if version:
        head = struct.pack(">IQQIIQ", 1 << 24, 0, 0, 1, 0, ticks)
    else:
        head = struct.pack(">IIIIII", 0, 0, 0, 1, 0, ticks)
    hdlr = box(b"hdlr", bytes(8), kind, bytes(13))
    return box(b"trak", box(b"tkhd", head, bytes(60)), box(b"mdia", hdlr))


def mp4(*, video_s: float, audio_s: float | None = None, version: int = 0) -> bytes:
    """Return a file whose header states the lengths of its tracks."""
    lengths_s = [video_s] if audio_s is None else [video_s, audio_s]
    tracks = [trak(b"vide", video_s, version=version)]
    if audio_s is not None:
        tracks.insert(0, trak(b"soun", audio_s, version=version))
    moov = box(b"moov", mvhd(max(lengths_s), version=version), *tracks)
    return box(b"ftyp", b"isom", bytes(4)) + moov + box(b"mdat", bytes(100))
