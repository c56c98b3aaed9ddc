"""Clips on disk: the bundled one, uploads and results, and what their bytes reveal."""

import contextlib
import hashlib
import importlib
import mmap
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any

BUNDLED_CLIP = Path(__file__).with_name("sandbox.mp4")
_ABANDONED_AFTER_S = 3600.0
# More boxes than any real clip has; a file with more is made to keep its reader busy.
_BOXES_LIMIT = 1000

Span = tuple[int, int]


class Clips:
    """The files in one sandbox folder; all their names are generated here."""

    def __init__(self, folder: Path) -> None:
        self._uploads = folder / "uploads"
        self._results = folder / "results"

    @cached_property
    def bundled_etag(self) -> str:
        """The digest of the bundled clip."""
        return digest(BUNDLED_CLIP)

    def open_part(self) -> IO[bytes]:
        """Open a new file, private to this user, for an upload in progress."""
        self._uploads.mkdir(mode=0o700, exist_ok=True)
        return tempfile.NamedTemporaryFile(dir=self._uploads, suffix=".part", delete=False)

    def upload_path(self, file_id: str) -> Path:
        """Return the path of an upload."""
        return self._uploads / f"{file_id}.clip"

    def result_path(self, task_id: str) -> Path:
        """Return the path of a result that is not the bundled clip."""
        return self._results / f"{task_id}.mp4"

    def keep_result(self, task_id: str, file_id: str | None, *, is_as_served: bool) -> str | None:
        """Make an upload, or the bundled clip if None, the result of a task.

        The result survives the deletion of the upload.

        Returns:
            The digest of the result, or None if it is the unchanged bundled clip.
        """
        source = self.upload_path(file_id) if file_id else BUNDLED_CLIP
        target = self.result_path(task_id)
        self._results.mkdir(mode=0o700, exist_ok=True)
        if not (is_as_served and _reencode_as_served(source, target)):
            if file_id is None:
                return None
            try:
                os.link(source, target)
            except FileNotFoundError:
                return None  # deleted in the meantime
            except OSError:
                # Not every file system supports hard links.
                shutil.copyfile(source, target)
        return digest(target)

    def remove(self, *, file_ids: Iterable[str] = (), task_ids: Iterable[str] = ()) -> None:
        """Remove uploads and results; skip those in use or already gone."""
        paths = [self.upload_path(file_id) for file_id in file_ids]
        _remove([*paths, *(self.result_path(task_id) for task_id in task_ids)])

    def remove_abandoned(self) -> None:
        """Remove the incomplete uploads of processes that were killed."""
        # File times follow the real clock, whatever clock the tasks use.
        oldest = time.time() - _ABANDONED_AFTER_S
        for path in self._uploads.glob("*.part"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def clear(self) -> None:
        """Remove every upload and result, except uploads in progress."""
        self.remove_abandoned()
        _remove([*self._uploads.glob("*.clip"), *self._results.glob("*.mp4")])


def mime_type(path: Path) -> str | None:
    """Return the type of a video, judged by its first bytes, or None if it is not a video."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    return "video/webm" if head.startswith(b"\x1a\x45\xdf\xa3") else None


def stated_length_s(path: Path) -> float | None:
    """Return the length that an MP4 states for its video or else for the whole file, or None."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        # Raised for boxes that are cut short.
        contextlib.suppress(IndexError, struct.error),
    ):
        for moov in _boxes(content, (0, len(content)), b"moov"):
            for at, _ in _boxes(content, moov, b"mvhd"):
                layout, offset = (">IQ", 20) if content[at] else (">II", 12)
                timescale, ticks = struct.unpack_from(layout, content, at + offset)
                ticks = _video_ticks(content, moov) or ticks
                return ticks / timescale if ticks and timescale else None
    return None


def _video_ticks(content: mmap.mmap, moov: Span) -> int:
    for trak in _boxes(content, moov, b"trak"):
        handlers = [
            content[at + 8 : at + 12]
            for mdia in _boxes(content, trak, b"mdia")
            for at, _ in _boxes(content, mdia, b"hdlr")
        ]
        for at, _ in _boxes(content, trak, b"tkhd"):
            if b"vide" in handlers:
                layout, offset = (">Q", 28) if content[at] else (">I", 20)
                return int(struct.unpack_from(layout, content, at + offset)[0])
    return 0


def _boxes(content: mmap.mmap, within: Span, kind: bytes) -> Iterator[Span]:
    """Yield where the contents of boxes of one kind begin and end."""
    at, end = within
    for _ in range(_BOXES_LIMIT):
        if at + 8 > end:
            return
        size, found = struct.unpack_from(">I4s", content, at)
        begin = at + 8
        if size == 1:  # the size follows, in 64 bits
            (size,) = struct.unpack_from(">Q", content, begin)
            begin += 8
        elif size == 0:  # the box reaches to the end
            size = end - at
        if size < begin - at:
            return
        if found == kind:
            yield begin, min(at + size, end)
        at += size


def _reencode_as_served(source: Path, target: Path) -> bool:
    """Write the clip as the real service would, in 720p at 24 fps; return whether it succeeded."""
    try:
        av: Any = importlib.import_module("av")  # the extra `media`, which is slow to import
    except ImportError:
        return False
    target.touch(mode=0o600)
    try:
        # Name the demuxer: otherwise FFmpeg would also follow a playlist to other files.
        with av.open(source, format="mov") as given, av.open(target, "w", format="mp4") as made:
            video = given.streams.video[0]
            width, height = (720, 1280) if video.height > video.width else (1280, 720)
            encoder = made.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            copies = {one.index: made.add_stream_from_template(one) for one in given.streams.audio}
            graph = av.filter.Graph()
            graph.link_nodes(
                graph.add_buffer(template=video),
                graph.add("fps", "24"),
                graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=decrease"),
                graph.add("pad", f"{width}:{height}:-1:-1"),
                graph.add("buffersink"),
            ).configure()
            for packet in given.demux():
                if packet.stream_index in copies and packet.size:
                    packet.stream = copies[packet.stream_index]
                    made.mux(packet)
                elif packet.stream_index == video.index:
                    for frame in [*packet.decode(), *([] if packet.size else [None])]:
                        graph.push(frame)
                    with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
                        while True:
                            made.mux(encoder.encode(graph.vpull()))
            made.mux(encoder.encode(None))
    except (av.error.FFmpegError, IndexError, ValueError):
        _remove([target])
        return False
    return True


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
