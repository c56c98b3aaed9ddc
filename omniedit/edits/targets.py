"""Where a result goes: a file with its sidecar, a folder, or standard output."""

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple, NoReturn

from omniedit import __version__
from omniedit.downloads.placement import check_writable, remove_leftover_part
from omniedit.edits.clips import digest_of_clip, file_facts, is_whole
from omniedit.edits.records import parents_of, records_of_this_service
from omniedit.edits.session import Session
from omniedit.errors import (
    JournalError,
    LocalError,
    OmniEditError,
    TargetExistsError,
    refuse,
)
from omniedit.http.urls import without_secrets
from omniedit.journal.reading import is_present
from omniedit.media import is_available
from omniedit.models import (
    TASK_PREFIX,
    Record,
    SavedFile,
    Sound,
    clip_name,
    is_video_name,
    known_sum,
    numbered,
)
from omniedit.sanitize import quoted
from omniedit.schemas import instant, video_fields
from omniedit.system import is_reserved_name
from omniedit.system.files import (
    file_name,
    is_file,
    is_folder,
    read_own_file,
    real_path,
    stable_path,
)

STDOUT: Final = "-"
_END_OF_ID: Final = 8
_IDENTITY_DIGITS: Final = 6
_MORE_IDENTITY_DIGITS: Final = 12
_LONGEST_STEM: Final = 80
_LONGEST_WORDS: Final = 40
_NOT_ASCII_WORD: Final = re.compile(r"[^A-Za-z0-9]+")
_NOT_IN_STEM: Final = re.compile(r"[^\w.-]")
_MOST_STEM_BYTES: Final = 200
_MOST_NAME_BYTES: Final = 240
"""The longest default name; file systems take 255 bytes, and something may be appended."""
_SIDECAR_SCHEMA: Final = 1
_MOST_SIDECAR_BYTES: Final = 1024 * 1024


class Target(NamedTuple):
    """The file of one result."""

    path: Path  # as it is opened
    shown: str  # as the user typed it
    sound: Sound = Sound.NEW
    overwrite: bool = False  # replace an existing file
    is_extra: bool = False  # an extra file beside the requested one, not reported to the user

    @property
    def served(self) -> "Target":
        """The file for the result as served, if this is one with another sound."""
        shown = served_path(self.shown)
        path = stable_path(Path(shown))
        return Target(path, shown, overwrite=self.overwrite, is_extra=True)

    def numbered(self, index: int) -> "Target":
        """Return the file of the result with this index: `out.mp4`, `out-2.mp4`, and so on."""
        if index == 0:
            return self
        path = PurePosixPath(self.shown)
        shown = str(path.with_name(numbered(path.name, index)))
        return self._replace(path=stable_path(Path(shown)), shown=shown)


class Destination(NamedTuple):
    """Where results go: the value of `--output` or `--download`."""

    text: str | None  # None: a default name in the current folder
    overwrite: bool = False  # see `Target`

    @property
    def is_stdout(self) -> bool:
        """Whether the file is streamed to standard output."""
        return self.text == STDOUT

    @property
    def is_folder(self) -> bool:
        """Whether files in it get names chosen by omniedit."""
        return self.text is None or self.text.endswith(("/", "\\")) or is_folder(self.text)

    @property
    def is_named_folder(self) -> bool:
        """Whether it is a folder named by the user: file names in it end in part of the task ID."""
        return self.text is not None and self.is_folder

    def check_count(self, count: int) -> None:
        """Refuse a single file as the destination of several tasks.

        Raises:
            InvalidInputError: If the destination is not a folder.
        """
        if count > 1 and not self.is_folder:
            self._refuse_file(f"{count} tasks cannot be saved as one file: {self.text}")

    def check_folder(self, option: str) -> None:
        """Refuse the name of a video, typed as the value of an option that names a folder.

        Raises:
            InvalidInputError: If the destination has such a name, and is not a folder.
        """
        if self.text is not None and is_video_name(self.text) and not self.is_folder:
            self._refuse_file(f"{self.text} is the name of a video, and `{option}` needs a folder")

    def target(
        self, video: str | None, task_id: str | None, *, sound: Sound = Sound.NEW
    ) -> Target | None:
        """Return the target of a task's first result; None if it goes to standard output.

        Without a task ID only the folder of the target is final, not the name.
        """
        if self.is_stdout:
            return None
        name = f"{clip_stem(video)}-{_end_of_id(task_id or '')}{_sound_suffix(sound)}.mp4"
        return self.named(file_name(name), sound)

    def named(self, name: str, sound: Sound = Sound.NEW) -> Target:
        """Return the file with this name in the folder, or the destination itself if it is a file."""
        shown = str(Path(self.text or "") / name) if self.is_folder else str(self.text)
        return Target(stable_path(Path(shown)), shown, sound, overwrite=self.overwrite)

    def _refuse_file(self, message: str) -> NoReturn:
        # Not a Path, which drops `./`.
        name = "out" if self.is_stdout else os.path.splitext(str(self.text))[0]  # noqa: PTH122
        refuse(message, code="needs_folder", hint=f"name a folder: `{quoted(f'{name}/')}`")


def default_name(
    video: str | None,
    prompt: str | None,
    identity: str,
    *,
    is_long: bool = False,
    sound: Sound = Sound.NEW,
) -> str:
    """Return the default name of an edit's result: clip, first words of the prompt, identity.

    A long one has more digits of the identity, for edits that would get the same name.
    """
    digits = identity[: _MORE_IDENTITY_DIGITS if is_long else _IDENTITY_DIGITS]
    words = _first_words(prompt or "")
    ending = f"{digits}{_sound_suffix(sound)}.mp4"
    rest = f"-{words}-{ending}" if words else f"-{ending}"
    room = _MOST_NAME_BYTES - len(rest.encode())
    stem = clip_stem(video).encode()[:room].decode(errors="ignore").rstrip("-.")
    return file_name(stem + rest)


def served_path(path: str) -> str:
    """Return where the result as served is kept: `out.served.mp4` beside `out.mp4`."""
    stem, suffix = os.path.splitext(path)  # noqa: PTH122 - a manifest may have 100,000 lines
    return f"{stem}.served{suffix}"


def sidecar_path(path: Path | str) -> str:
    """Return the path of a result's sidecar."""
    return f"{path}.json"


def clip_stem(video: str | None) -> str:
    """Return the clip's name without its suffix, reduced to letters, digits, `-`, `_` and `.`."""
    if not video:
        return "clip"
    if video.startswith(TASK_PREFIX):
        return _end_of_id(video.removeprefix(TASK_PREFIX))
    stem = os.path.splitext(clip_name(video))[0]  # noqa: PTH122 - as in `served_path`
    kept = _NOT_IN_STEM.sub("-", unicodedata.normalize("NFC", stem))
    kept = kept.strip("-.")[:_LONGEST_STEM].encode()[:_MOST_STEM_BYTES].decode(errors="ignore")
    stem = kept.strip("-.") or "clip"
    # Windows reserves names such as `con.cut-…`; avoid them on every system, so that a folder can
    # be copied to Windows.
    return f"clip-{stem}" if is_reserved_name(f"{stem}-") else stem


def check_destination(session: Session, record: Record, destination: Destination) -> None:
    """Check that the destination can be written, before anything is waited for.

    Raises:
        TargetExistsError: If it is taken by anything but this task's verified file.
        LocalError: If it cannot be written.
    """
    target = destination.target(record.video, record.task_id)
    if target is not None:
        check_target(session, record, target, clip_sha256=record.clip_sha256)


def check_target(
    session: Session,
    record: Record | None,
    target: Target,
    *,
    clip_sha256: str | None,
    video: str | None = None,
) -> None:
    """Check that the target of a task, or of a new edit, can be written; see `refuse_clip`.

    Raises:
        TargetExistsError: If it is taken by anything but this task's verified file.
        LocalError: If it cannot be written, or is the clip that the result was made from.
    """
    refuse_clip(session, clip_sha256, target.path, video=video)
    try:
        check_writable(target.path, overwrite=target.overwrite)
    except TargetExistsError:
        if record is None or find_file_at(session, reread(session, record), target) is None:
            raise
    check_sidecar(session, target, record.task_id if record else None)


def reread(session: Session, record: Record) -> Record:
    """Return a record with the files that other processes may have saved since it was read."""
    known = None
    with suppress(JournalError):
        known = session.journal.find_task(record.task_id) if record.task_id else None
    return record._replace(saved=known.saved) if known else record


def find_file_at(session: Session, record: Record, target: Target) -> SavedFile | None:
    """Return this task's file at the target, if there is one and it is whole."""
    # Compare resolved paths: the same file may be spelled `sub/../out.mp4`, or reached by a link.
    path = real_path(target.path)
    for file in record.saved:
        is_same = file.sound is target.sound and real_path(Path(file.path)) == path
        if is_same and is_whole(session, file):
            return file
    return None


def refuse_clip(
    session: Session, clip_sha256: str | None, target: Path, *, video: str | None = None
) -> None:
    """Refuse to replace the local clip that a result is made from.

    The journal knows a clip by its content alone, so a copy of the clip is taken for the clip, but
    not a result saved here that came back unchanged.

    Args:
        clip_sha256: The digest of the clip; None if it is not a local one.
        target: The path of the result.
        video: The path of the clip, if this command was given it.

    Raises:
        LocalError: If the target is the clip.
    """
    if clip_sha256 is None or not is_file(target):
        return
    path = real_path(target)
    hint = "choose another name for the result"
    if video is None or real_path(Path(video)) != path:
        # An empty file is no clip, and has no digest.
        if not target.stat().st_size or digest_of_clip(session, target).sha256 != clip_sha256:
            return
        edits = (known for known in session.journal.recent() if known.clip_sha256 == clip_sha256)
        if any(real_path(Path(file.path)) == path for known in edits for file in known.saved):
            return
        if session.is_sandbox:
            hint = f"sandbox results are copies of the clip: if this is one, remove it, or {hint}"
    msg = f"{target} is the clip being edited, or a copy of it: a result never replaces it"
    raise LocalError(msg, code="target_is_source", hint=hint)


def check_sidecar(
    session: Session, target: Target, task_id: str | None, *, sha256: str | None = None
) -> None:
    """Check that the sidecar of a result can be written, before anything is paid or waited for.

    Args:
        target: The target of the result.
        task_id: The task of the result; None for a new one, or a clip joined from several.
        sha256: The digest of the file at the target, if it is a joined clip that is whole.

    Raises:
        TargetExistsError: If a file other than this result's sidecar has its name.
        LocalError: If the sidecar cannot be written.
    """
    if not session.writes_sidecars:
        return
    path = Path(sidecar_path(target.path))
    try:
        check_writable(path, overwrite=target.overwrite)
    except TargetExistsError as error:
        if _sha256_in(path, task_id, sha256) is None:
            error.hint = "choose another name for the result, or replace both with `--force`"
            raise


def complete_sidecars(session: Session) -> Iterator[OmniEditError]:
    """Write the missing sidecars of this origin's saved results; yield an error per failure."""
    if not session.writes_sidecars:
        return
    for record in records_of_this_service(session):
        served = {file.served_path for file in record.saved}
        for file in record.saved:
            if file.path in served or not is_present(file):
                continue
            try:
                if not os.path.lexists(sidecar_path(file.path)) and is_whole(session, file):
                    write_sidecar(session, [record], file, overwrite=False)
            except OmniEditError as error:
                yield error.about(task_id=record.task_id, request_id=record.request_id)


def write_sidecar(
    session: Session,
    records: Sequence[Record],
    file: SavedFile,
    *,
    overwrite: bool,
    is_joined: bool = False,
) -> None:
    """Write the sidecar of a saved file, if sidecars are enabled and it is missing.

    A file that was joined from the results of several records has no task of its own.

    Raises:
        TargetExistsError: If another file has its name.
        LocalError: If it cannot be written.
    """
    if not session.writes_sidecars or session.private_folder in Path(file.path).parents:
        return
    # The journal may have fields from other replies that these records lack.
    with suppress(JournalError):
        records = [session.journal.find_task(str(each.task_id)) or each for each in records]
    task_id = None if is_joined else records[0].task_id
    path = Path(sidecar_path(file.path))
    written_sha256 = _sha256_in(path, task_id, file.sha256)
    if written_sha256 == file.sha256:
        remove_leftover_part(path, file.sha256)
        return
    record = records[0]
    task = record.task
    facts = file.facts
    if facts is None and is_available():
        with suppress(OmniEditError):
            facts = file_facts(session, Path(file.path)).video_facts
    fields = {
        "schema": _SIDECAR_SCHEMA,
        "omniedit": __version__,
        "video": None if record.video is None else without_secrets(record.video),
        "video_sha256": record.clip_sha256,
        "prompt": record.prompt,
        "model": record.shown_model,
        "sound": file.sound,
        "start_seconds": record.start_s,
        "end_seconds": records[-1].end_s,
        "parents": list(parents_of(session, record)),
        "task_id": task_id,
        "request_id": record.request_id if task_id else None,
        "created_at": instant(task.created_at if task else None),
        "completed_at": instant(record.completed_after),
        "credits_used": known_sum(
            each.task.credits_used if each.task else None for each in records
        ),
        "file": Path(file.path).name,  # its folder is private
        "bytes": file.size_bytes,
        "sha256": file.sha256,
        **video_fields(facts),
    }
    content = json.dumps(fields, indent=2).encode() + b"\n"
    # A sidecar of the same task may be replaced: it describes the result with another sound.
    is_own = written_sha256 is not None
    session.placement().write_content(path, file.sha256, [content], overwrite=overwrite or is_own)


def _first_words(prompt: str) -> str:
    """Return the first words of a prompt, reduced to letters and digits and joined by `-`."""
    text = unicodedata.normalize("NFC", prompt[:_MOST_NAME_BYTES])
    if text.isascii():
        spaced = _NOT_ASCII_WORD.sub(" ", text)
    else:
        spaced = "".join(character if _is_word_character(character) else " " for character in text)
    words, *others = spaced.split() or [""]
    words = words[:_LONGEST_WORDS]
    for word in others:
        if len(words) + 1 + len(word) > _LONGEST_WORDS:
            break
        words += f"-{word}"
    return words


def _is_word_character(character: str) -> bool:
    # In many scripts vowels are marks on letters (categories Mn and Mc).
    return character.isalnum() or unicodedata.category(character) in {"Mn", "Mc"}


def _sound_suffix(sound: Sound) -> str:
    return "" if sound is Sound.NEW else f"-{sound}"


def _end_of_id(task_id: str) -> str:
    return task_id[-_END_OF_ID:].strip("-.") or "task"


def _sha256_in(path: Path, task_id: str | None, sha256: str | None) -> str | None:
    """Return the digest in a result's own sidecar; None if it is missing, damaged or foreign."""
    try:
        content = read_own_file(path, max_bytes=_MOST_SIDECAR_BYTES)
        found: Any = json.loads(content or b"{}")
        is_own = found["task_id"] == task_id and (task_id is not None or found["sha256"] == sha256)
        return str(found["sha256"]) if is_own else None
    except (LocalError, LookupError, TypeError, ValueError, RecursionError):
        return None
