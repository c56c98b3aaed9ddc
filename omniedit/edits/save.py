"""Saving results: from the service or a whole copy of the file, as served or with another sound."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from omniedit.downloads.placement import remove_leftover_part, saved_file
from omniedit.edits.clips import (
    fetch_file,
    fetched_file,
    file_facts,
    is_whole,
    local_clip,
    probe_result,
)
from omniedit.edits.reads import read_task, refresh
from omniedit.edits.requests import PreparedEdit
from omniedit.edits.session import Session
from omniedit.edits.targets import STDOUT, Target, find_file_at, refuse_clip, reread, write_sidecar
from omniedit.edits.upload import check_is_same, preparation_shown, warn_of_lost_marks
from omniedit.errors import (
    Hint,
    InvalidInputError,
    NotAVideoError,
    NotFinishedError,
    OmniEditError,
    ResultGoneError,
    TargetBusyError,
    TargetExistsError,
    TaskFailedError,
    UnavailableError,
    WaitTimeoutError,
)
from omniedit.events import Saved
from omniedit.evolink.replies import has_unreadable_results
from omniedit.media import require_extra
from omniedit.models import Record, SavedFile, Sound, Task, TaskStatus, clip_name, task_name
from omniedit.sanitize import quoted
from omniedit.system import error_reason
from omniedit.system.locks import private_folder

_T = TypeVar("_T")
_INAUDIBLE_S: Final = 0.05
_AS_SERVED: Final = "`--sound new` saves the result as it is"


def save(
    session: Session,
    record: Record,
    target: Target | None,
    *,
    deadline: float | None = None,
    stream_out: Callable[[Path], None] | None = None,
) -> Record:
    """Save every result of a completed task.

    Args:
        target: The file of the first result; None for standard output.
        deadline: A monotonic instant; the next run resumes from what was received by then.
        stream_out: Writes a file to standard output, if that is the destination.

    Raises:
        NotFinishedError: If the task is not finished.
        TaskFailedError: If the task failed or was cancelled.
        ResultGoneError: If the result is gone or never existed.
        WaitTimeoutError: If the deadline passed first.
        LocalError: If the target is taken, or cannot be written.
    """
    if deadline is not None:
        deadline = session.with_grace(deadline)
    try:
        record = with_links(session, record, deadline=deadline)
        count = len(completed_task(record).result_urls)
        if target is None:
            if count > 1:
                msg = f"{task_name(record.task_id)} has {count} results, but standard output takes one"
                raise InvalidInputError(msg, code="needs_folder", hint="name a folder: `out/`")
            stream_out = stream_out or session.stream_out
            stream_out(_fetched(session, record, deadline))
            return record
        for index in range(count):
            record = _download(session, record, index, target.numbered(index), deadline)
    except (UnavailableError, TargetBusyError) as error:
        if deadline is None or session.monotonic() < deadline:
            raise
        task_id = str(record.task_id)
        msg = f"{task_name(task_id)} is completed, but time ran out before it was saved"
        # Not the same command: with `--again` it would pay again.
        force = " --force" if target is not None and target.overwrite else ""
        destination = quoted(STDOUT if target is None else target.shown)
        hint = Hint("{} resumes it", f"download {task_id} --output {destination}{force}")
        raise WaitTimeoutError(msg, hint=hint, task_id=task_id) from error
    return record


def save_local_copy(
    session: Session, record: Record, target: Target, *, deadline: float | None = None
) -> Record | None:
    """Save a result from a whole copy on this machine; return None if there is none."""
    if len(record.result_urls) > 1:
        # If there are several results, `save` looks for each of them.
        return None
    known = announce_if_there(session, record, target)
    if known is not None:
        return known
    source = whole_result(session, record)
    if source is None:
        return None
    # A silent result is the same file with and without `--sound none`.
    source = source._replace(sound=target.sound)
    copy = partial(copy_recorded, session, source, target, str(record.task_id), deadline)
    return _placed(session, record, target, copy)


def whole_result(session: Session, record: Record) -> SavedFile | None:
    """Return the file of a task's first result as served, if it is whole on this machine."""
    # The first of several results is always saved first.
    saved = record.saved if len(record.result_urls) <= 1 else record.saved[:1]
    return next((file for file in saved if file.is_served and is_whole(session, file)), None)


def result_file(session: Session, record: Record, *, deadline: float | None = None) -> Path:
    """Return a file with the first result of a task as served, fetching it if necessary.

    A fetched file stays in a private folder until the session ends. The errors are those of `save`.
    """
    saved = whole_result(session, record)
    if saved is not None:
        return Path(saved.path)
    task_id = str(record.task_id)
    if task_id not in session.fetched:
        record = with_links(session, refresh(session, record, deadline=deadline), deadline=deadline)
        session.fetched[task_id] = _fetched(session, record, deadline)
    return session.fetched[task_id]


def completed_task(record: Record) -> Task:
    """Return the task of a record.

    Raises:
        NotFinishedError: If it is not finished.
        TaskFailedError: If it failed or was cancelled.
    """
    task = record.task
    if task is None or not task.is_terminal:
        progress = f" at {task.progress} %" if task and task.progress is not None else ""
        msg = f"{task_name(record.task_id)} is not finished: {record.shown_status}{progress}"
        raise NotFinishedError(msg, task_id=record.task_id, request_id=record.request_id)
    if task.is_completed:
        return task
    error = task.failure
    verb = "was cancelled" if task.status == TaskStatus.CANCELLED else "failed"
    reason = f": {error.message} ({error.code})" if error else ""
    msg = f"{task_name(task.task_id)} {verb}{reason}"
    code = error.code if error else None
    raise TaskFailedError(msg, code=code, task_id=task.task_id, request_id=record.request_id)


def with_links(session: Session, record: Record, *, deadline: float | None) -> Record:
    """Return a completed task's record with result links, reading it once more if it has none.

    If there is still no result, the journal records that it is gone.

    Raises:
        ResultGoneError: If there is still no result.
    """
    task = completed_task(record)
    if not task.result_urls:
        # Links may appear a moment after the task is completed.
        task = read_task(session, record, deadline=deadline)
    if task.result_urls:
        return record.with_task(task)
    name = task_name(task.task_id)
    if has_unreadable_results(task):
        msg = f"{name} lists a result without a link that omniedit understands"
        hint = Hint("{} shows it as `raw`", f"status {task.task_id} --json")
    else:
        session.write_journal(lambda: session.journal.record_result_gone(task.task_id))
        msg = (
            f"{name} was completed without a result, as happens to clips from regions where"
            " editing is blocked"
        )
        hint = Hint("{} shows what it was charged", f"status {task.task_id}")
    raise ResultGoneError(msg, hint=hint, task_id=task.task_id)


def announce_if_there(session: Session, record: Record, target: Target) -> Record | None:
    """Announce a task's file that is at the target and whole; return the record, else None."""
    record = reread(session, record)
    file = find_file_at(session, record, target)
    if file is None:
        return None
    for source_id in (str(record.task_id), file.sha256):  # of a download, of a copy
        remove_leftover_part(target.path, source_id)
    _announce(session, record, file, target, is_new=False)
    return record


def copy_recorded(
    session: Session, source: SavedFile, target: Target, owner: str, deadline: float | None = None
) -> SavedFile:
    """Copy a file to its target, recorded before it is placed there; return the copy.

    Its owner is a task, or the digest of the tasks that it was joined from.
    """

    def copy_at(file: SavedFile) -> SavedFile:
        return source._replace(path=file.path, is_elsewhere=False)

    file = session.placement(deadline).copy(
        source,
        target.path,
        overwrite=target.overwrite,
        on_verified=lambda file: _record_saved(session, owner, copy_at(file)),
    )
    return copy_at(file)


def check_sound(sound: Sound) -> None:
    """Refuse a sound that needs the extra `media` if that is not installed."""
    if sound is not Sound.NEW:
        require_extra(f"`--sound {sound}`")


def save_with_sound(
    session: Session,
    edit: PreparedEdit,
    record: Record,
    served: SavedFile,
    target: Target,
    *,
    deadline: float,
) -> Record:
    """Save a result with another sound; keep the served file only if the two differ."""
    with ExitStack() as stack:
        path = Path(served.path)
        name = target.shown
        changed = with_sound(session, edit, path, target.sound, name, deadline=deadline)
        try:
            path = stack.enter_context(changed)
        except OmniEditError:
            session.warn(f"the result as it was served is kept: {served.path}")
            raise
        file = served
        facts = served.facts
        if path != Path(served.path):
            # Rewriting a file loses its provenance marks.
            facts = facts._replace(marks=()) if facts else None
            file = saved_file(path)._replace(served_path=served.path)
        variant = file._replace(facts=facts, sound=target.sound)
        copy = partial(copy_recorded, session, variant, target, str(record.task_id), deadline)
        record = _placed(session, record, target, copy)
    return _without_file(session, record, served) if variant.is_served else record


@contextmanager
def with_sound(
    session: Session, edit: PreparedEdit, result: Path, sound: Sound, name: str, *, deadline: float
) -> Generator[Path]:
    """Yield a private copy of a result with another sound, or the result itself if nothing changes.

    Raises:
        OmniEditError: If the result or the clip cannot be fetched or read, or not in time.
    """
    from omniedit.media.writing import replace_audio  # noqa: PLC0415 - brings PyAV

    try:
        facts = file_facts(session, result, name=name)
    except InvalidInputError as error:
        msg = f"the sound of {name} cannot be changed: {error.message}"
        raise NotAVideoError(msg, hint=_AS_SERVED) from error
    with ExitStack() as stack:
        copy = stack.enter_context(private_folder(session.private_folder)) / "sound.mp4"
        original = None
        if sound is Sound.ORIGINAL:
            original = stack.enter_context(_original_clip(session, edit, deadline))
        what = "muting" if original is None else "replacing sound"
        with preparation_shown(session, clip_name(name), what) as on_progress:
            difference_s = replace_audio(
                result,
                copy,
                original=original,
                original_start_s=edit.plan.start_s,
                original_end_s=edit.plan.end_s,
                on_progress=on_progress,
            )
        if original is not None:
            check_is_same(session, original)
            if difference_s is None:
                session.note(f"the clip has no sound, so {name} has none")
        if difference_s is None and not facts.audio:
            yield result
            return
        warn_of_lost_marks(session, facts.marks, whose="the result", where=name)
        if difference_s is not None:
            _warn_of_difference(session, difference_s)
        yield copy


def _fetched(session: Session, record: Record, deadline: float | None) -> Path:
    """Fetch the first result of a task to a private file, which stays until the session ends."""
    task_id = str(record.task_id)
    name = task_name(record.task_id)

    def fetch(url: str) -> Path:
        return session.fetched_files.enter_context(
            fetched_file(session, url, name=name, task_id=task_id, deadline=deadline)
        )

    return _with_fresh_link(session, record, 0, fetch, deadline)


def _download(
    session: Session, record: Record, index: int, target: Target, deadline: float | None
) -> Record:
    """Save one result at its target, unless it is there."""
    known = announce_if_there(session, record, target)
    if known is not None:
        return known
    refuse_clip(session, record.clip_sha256, target.path)
    task_id = str(record.task_id)

    def fetch(url: str) -> SavedFile:
        return fetch_file(
            session,
            url,
            target.path,
            name=target.shown,
            task_id=task_id,
            overwrite=target.overwrite,
            deadline=deadline,
            # Record the file before it is placed: a kill must not leave a file unknown here.
            on_verified=partial(_record_saved, session, task_id),
        )

    return _placed(
        session, record, target, lambda: _with_fresh_link(session, record, index, fetch, deadline)
    )


def _placed(
    session: Session, record: Record, target: Target, place: Callable[[], SavedFile]
) -> Record:
    """Place a file at its target, record and announce it; return the updated record."""
    try:
        file = place()
    except TargetExistsError:
        # Another process may have saved the same file there in the meantime.
        known = announce_if_there(session, record, target)
        if known is None:
            raise
        return known
    if file.facts is None:
        facts = probe_result(session, file.path, name=target.shown, clip=record.clip_facts)
        file = file._replace(facts=facts)
    _record_saved(session, str(record.task_id), file, is_placed=True)
    _announce(session, record, file, target, is_new=True)
    others = tuple(known for known in record.saved if known.path != file.path)
    return record._replace(saved=(*others, file))


def _announce(
    session: Session, record: Record, file: SavedFile, target: Target, *, is_new: bool
) -> None:
    """Report a saved file to the observers, and write its sidecar."""
    if target.is_extra:
        return
    session.report(
        Saved(
            task_id=str(record.task_id),
            record=record,
            file=file,
            shown_path=target.shown,
            is_new=is_new,
        )
    )
    write_sidecar(session, [record], file, overwrite=target.overwrite)


def _record_saved(
    session: Session, owner: str, file: SavedFile, *, is_placed: bool = False
) -> None:
    """Record where a verified result has been, or is about to be, placed."""
    # A private file is deleted when the command ends.
    if session.private_folder not in Path(file.path).parents:
        session.write_journal(
            lambda: session.journal.record_saved(owner, file, is_placed=is_placed)
        )


def _with_fresh_link(
    session: Session, record: Record, index: int, fetch: Callable[[str], _T], deadline: float | None
) -> _T:
    """Fetch a result; if its link is dead or delivers no video, try once more with a fresh link."""
    try:
        return fetch(record.result_urls[index])
    except ResultGoneError:
        fresh = read_task(session, record, deadline=deadline)
    try:
        return fetch(_url_of(fresh, index))
    except ResultGoneError as error:
        if not isinstance(error, NotAVideoError):
            # From now on `download --all` skips it; a link without a video may still get one later.
            session.write_journal(lambda: session.journal.record_result_gone(fresh.task_id))
        raise error.about(task_id=fresh.task_id) from None


def _url_of(task: Task, index: int) -> str:
    if index < len(task.result_urls):
        return task.result_urls[index]
    msg = f"the service no longer lists this result of {task_name(task.task_id)}"
    raise ResultGoneError(msg)


def _without_file(session: Session, record: Record, file: SavedFile) -> Record:
    """Remove a saved file, and return the record without it."""
    try:
        Path(file.path).unlink(missing_ok=True)
    except OSError as error:
        # On Windows, for example, a player may have it open.
        session.warn(f"cannot remove {file.path}: {error_reason(error)}")
        return record
    session.write_journal(lambda: session.journal.forget_file(str(record.task_id), file))
    return record._replace(saved=tuple(known for known in record.saved if known.path != file.path))


@contextmanager
def _original_clip(session: Session, edit: PreparedEdit, deadline: float) -> Generator[Path]:
    deadline = session.with_grace(deadline)
    with ExitStack() as stack:
        fetched = local_clip(session, edit.request, deadline=deadline, hint=_AS_SERVED)
        try:
            path = stack.enter_context(fetched)
        except UnavailableError as error:
            if session.monotonic() < deadline:
                raise
            msg = "time ran out before the clip, whose sound is needed, was fetched"
            raise WaitTimeoutError(msg, hint=_AS_SERVED) from error
        yield path


def _warn_of_difference(session: Session, difference_s: float) -> None:
    if abs(difference_s) > _INAUDIBLE_S:
        what = "shorter than the result, which ends in silence"
        if difference_s > 0:
            what = "longer than the result, and is cut off"
        session.warn(f"the clip's sound is {abs(difference_s):.2f} s {what}")
