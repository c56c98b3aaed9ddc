"""Finding or fetching a clip and the results of its edits, to compare them side by side."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.downloads.placement import saved_file
from omniedit.edits.clips import fetch_file, is_whole
from omniedit.edits.records import KNOWN_TASKS_HINT, find_records, parents_of
from omniedit.edits.save import whole_result
from omniedit.edits.session import Session
from omniedit.edits.targets import Destination, clip_stem
from omniedit.edits.upload import preparation_shown
from omniedit.edits.wait import download
from omniedit.errors import (
    Hint,
    InvalidInputError,
    LocalError,
    MissingFileError,
    NoSuchReferenceError,
    OmniEditError,
    refuse,
)
from omniedit.http.urls import check_clip_url, without_secrets
from omniedit.journal.reading import is_present
from omniedit.media import is_available
from omniedit.models import TASK_PREFIX, Record, SavedFile, clip_name, is_local, task_name
from omniedit.system import exists
from omniedit.system.files import absolute_path, file_name, is_folder, open_file

if TYPE_CHECKING:
    from omniedit.media.comparison import Change
    from omniedit.media.timeline import Part

MOST_VIDEOS: Final = 9
_URL_DIGITS: Final = 6
_SHOWN_AFTER_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedVideo:
    """A clip or a result, and where it lies on the common timeline."""

    file: SavedFile
    record: Record | None = None
    """The edit that made this result; None for a clip, or a file given by its path."""
    parents: tuple[str, ...] = ()
    clip_address: str | None = None
    """The URL or path of a clip, as in its edit; None if this is not a clip."""
    from_s: float = 0.0
    """The position in this video when the comparison starts; below 0 it starts later."""
    until_s: float | None = None
    changes: "tuple[Change, ...]" = ()
    """How much it differs from the first video, on the common timeline."""

    @property
    def is_clip(self) -> bool:
        """Whether it is the clip of an edit."""
        return self.clip_address is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Videos to compare side by side, the reference first."""

    videos: tuple[ComparedVideo, ...]
    missing: tuple[str, ...] = ()
    """Messages about clips that are missing."""


def find_videos(session: Session, references: Sequence[str], *, folder: Path | None) -> Comparison:
    """Return the videos to compare, fetching those that are not on this machine.

    Args:
        references: Files and tasks, each task with its clip; empty means the newest saved edit.
        folder: The folder for fetched files; None for the folder of the first result.

    Raises:
        InvalidInputError: If there are too few or too many videos.
        OmniEditError: If a result cannot be found or fetched.
    """
    finder = _Finder(session, folder)
    for reference in references or [_newest_saved(session)]:
        finder.add(reference, is_only=len(references) == 1)
    videos = finder.videos
    if not finder.missing and not 1 < len(videos) <= MOST_VIDEOS:
        msg = f"2 to {MOST_VIDEOS} videos can be compared, not {len(videos)}"
        refuse(msg, hint="name a task, or two or more files")
    return Comparison(videos=tuple(videos), missing=tuple(finder.missing))


def measured(session: Session, comparison: Comparison) -> Comparison:
    """Add to a comparison how much each moment changed, if that can be measured."""
    if not is_available():
        return comparison
    from omniedit.media.comparison import measure_changes  # noqa: PLC0415 - brings PyAV
    from omniedit.media.probing import read_clip  # noqa: PLC0415 - as above

    first, *others = comparison.videos
    try:
        reference, *parts = [read_clip(Path(video.file.path)) for video in comparison.videos]
        videos = [_with_facts(first, reference)]
        for other, part in zip(others, parts, strict=True):
            # The position in the first video at the first frame of the other.
            begin_s = first.from_s - other.from_s
            shown = reference.cut(begin_s or None, first.until_s)
            name = part.source.name
            with preparation_shown(session, name, "comparing", after_s=_SHOWN_AFTER_S) as progress:
                changes = tuple(
                    change._replace(at_s=change.at_s - other.from_s)
                    for change in measure_changes(shown, part, on_progress=progress)
                )
            videos.append(replace(_with_facts(other, part), changes=changes))
    except InvalidInputError as error:
        session.warn(f"the changes are not measured: {error.message}")
        return comparison
    return replace(comparison, videos=tuple(videos))


def _with_facts(video: ComparedVideo, part: "Part") -> ComparedVideo:
    return replace(video, file=video.file._replace(facts=part.facts.video_facts))


class _Finder:
    """Collects the videos of a comparison; each clip appears once."""

    def __init__(self, session: Session, folder: Path | None) -> None:
        self._session = session
        self._folder = folder
        self._has_reference = False
        self.videos: list[ComparedVideo] = []
        self.missing: list[str] = []

    def add(self, reference: str, *, is_only: bool) -> None:
        """Add the videos of a reference; a saved result that is the only one comes with its clip."""
        path = Path(reference)
        if not reference.startswith(TASK_PREFIX) and _exists(path):
            if is_only and self._add_result(str(absolute_path(path))):
                return
            # If a file comes first, the others are compared with it.
            self._has_reference = self._has_reference or not self.videos
            self._add_video(ComparedVideo(file=_file_at(path)))
            return
        [record] = find_records(
            self._session, [reference.removeprefix(TASK_PREFIX)], command="compare TASK"
        )
        if record.origin is None and path.suffix:
            msg = f"no such file: {reference}"
            raise MissingFileError(msg, hint=KNOWN_TASKS_HINT)
        self._add_task(record)

    def _add_result(self, path: str) -> bool:
        """Add the task whose saved result is at a path, with its clip; return whether one is."""
        for record in self._session.journal.recent():
            for file in record.saved:
                if file.path == path and is_whole(self._session, file):
                    self._add_task(record, file)
                    return True
        return False

    def _add_task(self, record: Record, result: SavedFile | None = None) -> None:
        result = result or _shown_result(self._session, record)
        if result is None:
            record, result = self._download(record)
        self._folder = self._folder or Path(result.path).parent
        start_s = record.start_s or 0.0
        if not self._has_reference:
            try:
                clip = self._clip_of(record)
            except OmniEditError as error:
                self.missing.append(error.message)
            else:
                self._add_video(replace(clip, from_s=start_s, until_s=record.end_s))
        begin_s = next((video.from_s for video in self.videos if video.is_clip), start_s)
        video = ComparedVideo(
            file=result,
            record=record,
            parents=parents_of(self._session, record),
            from_s=begin_s - start_s,
        )
        self._add_video(video)

    def _add_video(self, video: ComparedVideo) -> None:
        """Add a video, but a clip that several edits share only once."""
        clips = {each.file.sha256 for each in self.videos if each.is_clip}
        if not video.is_clip or video.file.sha256 not in clips:
            self.videos.append(video)

    def _clip_of(self, record: Record) -> ComparedVideo:
        """Return the clip of an edit.

        Raises:
            OmniEditError: If the clip is gone or has changed.
        """
        video = record.video
        if video is None:
            msg = f"the clip of {task_name(record.task_id)} is not known here"
            raise MissingFileError(msg)
        if record.parent is not None:
            file = self._parent_result(record.parent)
        elif is_local(video):
            file = self._local_clip(video, record)
        else:
            file = self._fetch_clip(video)
        if record.clip_sha256 not in {None, file.sha256}:
            msg = f"{video} is not the clip that was edited: it has changed"
            raise LocalError(msg)
        return ComparedVideo(file=file, clip_address=video)

    def _parent_result(self, parent: str) -> SavedFile:
        [record] = find_records(self._session, [parent], command="compare TASK")
        return whole_result(self._session, record) or self._download(record)[1]

    def _download(self, record: Record) -> tuple[Record, SavedFile]:
        """Save a task's results, and return its record with the first of them."""
        destination = Destination(f"{self._folder or Path()}/")
        record, error = download(self._session, record, destination)
        if error is not None:
            raise error
        return record, whole_result(self._session, record) or record.saved[-1]

    def _local_clip(self, video: str, record: Record) -> SavedFile:
        # A relative path was relative to a folder that the journal does not record: try the current
        # one and those of the results.
        for path in (Path(video), *(Path(file.path).parent / video for file in record.saved)):
            if _exists(path):
                return _file_at(path)
        msg = f"the clip {video} is gone"
        raise MissingFileError(msg)

    def _fetch_clip(self, url: str) -> SavedFile:
        """Return the clip of a URL, fetched once to a file beside the page."""
        session = self._session
        digits = hashlib.sha256(url.encode()).hexdigest()[:_URL_DIGITS]
        target = (self._folder or Path()) / file_name(f"{clip_stem(url)}-clip-{digits}.mp4")
        if _exists(target):
            return _file_at(target)
        try:
            check_clip_url(url, allow_internal=session.allows_internal_clips)
            return fetch_file(session, url, target, name=clip_name(url), what="clip")
        except OmniEditError as error:
            error.message = f"the clip {without_secrets(url)} cannot be fetched: {error.message}"
            raise


def _file_at(path: Path) -> SavedFile:
    # Refuse anything but a regular file: reading a named pipe would never end.
    open_file(path).close()
    return saved_file(path)


def _shown_result(session: Session, record: Record) -> SavedFile | None:
    """Return the file to show for a task's first result: the newest whole one, if there is one."""
    if len(record.result_urls) > 1:
        return whole_result(session, record)
    return next((file for file in reversed(record.saved) if is_whole(session, file)), None)


def _newest_saved(session: Session) -> str:
    for record in session.journal.recent():
        if any(is_present(file) for file in record.saved):
            session.note(f"{task_name(record.task_id)} (the newest saved edit)")
            return f"{TASK_PREFIX}{record.task_id}"
    msg = "no edit in this journal is saved on this machine"
    raise NoSuchReferenceError(msg, hint=Hint("name a task or two files; {} shows tasks", "list"))


def _exists(path: Path) -> bool:
    try:
        return exists(path) and not is_folder(path)
    except OSError:
        # Treat it as existing: opening it reports why it cannot be read.
        return True
