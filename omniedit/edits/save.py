"""Saving results, from the service or from a whole copy on this machine."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from omniedit.downloads.placement import check_writable, remove_leftover_part
from omniedit.edits.clips import digest_of_clip, is_whole, probe_result, progress_of
from omniedit.edits.reads import read_task, refresh
from omniedit.edits.session import Session
from omniedit.edits.sidecar import check_sidecar, write_sidecar
from omniedit.edits.targets import STDOUT, Destination, Target
from omniedit.errors import (
    Hint,
    InvalidInputError,
    JournalError,
    LocalError,
    NotAVideoError,
    NotFinishedError,
    ResultGoneError,
    TargetBusyError,
    TargetExistsError,
    TaskFailedError,
    UnavailableError,
    WaitTimeoutError,
)
from omniedit.events import Saved
from omniedit.evolink.replies import has_unreadable_results
from omniedit.models import (
    Record,
    SavedFile,
    Task,
    TaskStatus,
    task_name,
)
from omniedit.sanitize import quoted
from omniedit.system.files import is_file, real_path

T = TypeVar("T")
_Fetch = Callable[[str], T]


def check_destination(session: Session, record: Record, destination: Destination) -> None:
    """Check that the destination can be written, before anything is waited for.

    Raises:
        TargetExistsError: If it is taken by anything but this task's verified file.
        LocalError: If it cannot be written.
    """
    target = destination.target(record.video, record.task_id)
    if target is not None:
        check_target(session, record, target)


def check_target(session: Session, record: Record, target: Target) -> None:
    """Check that the target can be written.

    Raises:
        TargetExistsError: If it is taken by anything but this task's verified file.
        LocalError: If it cannot be written, or is the clip that the result was made from.
    """
    refuse_clip(session, record.clip_sha256, target.path)
    check_sidecar(session, target, record.task_id)
    try:
        check_writable(target.path, overwrite=target.overwrite)
    except TargetExistsError:
        if find_file_at(session, _reread(session, record), target) is None:
            raise


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
    if video is None or real_path(Path(video)) != real_path(target):
        if digest_of_clip(session, target).sha256 != clip_sha256:
            return
        results = {
            real_path(Path(file.path))
            for known in session.journal.recent()
            if known.clip_sha256 == clip_sha256
            for file in known.saved
        }
        if real_path(target) in results:
            return
    msg = f"{target} is the clip being edited, or a copy of it: a result never replaces it"
    raise LocalError(msg, code="target_is_source", hint="choose another name for the result")


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
        record: The task's record.
        target: The file of the first result; None for standard output.
        deadline: A monotonic instant; the next run resumes from what was received by then.
        stream_out: Writes a file to standard output, if that is the destination.

    Raises:
        NotFinishedError: If the task is not finished.
        TaskFailedError: If the task failed or was cancelled.
        ResultGoneError: If the result is gone or never existed.
        TargetExistsError: If the destination is taken.
        WaitTimeoutError: If the deadline passed first.
        OmniEditError: If the service or the disk refuses.
    """
    task = completed_task(record)
    if deadline is not None:
        # A task found completed at the last moment still gets a few seconds to be saved.
        deadline = max(deadline, session.monotonic() + session.policy.grace_s)
    try:
        task = task_with_links(session, record, deadline=deadline)
        record = record.with_task(task)
        if target is None:
            _stream(session, record, deadline, stream_out or session.stream_out)
            return record
        for index in range(len(task.result_urls)):
            named = target.numbered(index)
            record = _save_one(session, record, index, named, deadline=deadline)
    except (UnavailableError, TargetBusyError) as error:
        if deadline is None or session.monotonic() < deadline:
            raise
        msg = f"{task_name(task.task_id)} is completed, but time ran out before it was saved"
        hint = _resume_hint(task.task_id, target)
        raise WaitTimeoutError(msg, hint=hint, task_id=task.task_id) from error
    return record


def _resume_hint(task_id: str, target: Target | None) -> Hint:
    """Return how to resume a download; after `--again`, the same command would pay again."""
    destination = STDOUT if target is None else target.shown
    force = " --force" if target is not None and target.overwrite else ""
    return Hint("{} resumes it", f"download {task_id} --output {quoted(destination)}{force}")


def save_local_copy(
    session: Session, record: Record, target: Target, *, deadline: float | None = None
) -> Record | None:
    """Save a result from a whole copy on this machine; return None if there is none.

    Raises:
        LocalError: If the target cannot be written.
    """
    if record.task is not None and len(record.task.result_urls) > 1:
        # If there are several results, `save` looks for each of them.
        return None
    existing = find_file_at(session, record, target)
    if existing is not None:
        for ident in (str(record.task_id), existing.sha256):  # part files of a download, of a copy
            remove_leftover_part(target.path, ident)
        _announce(session, record, existing, target, is_new=False)
        return record
    for file in record.saved:
        if file.is_served and is_whole(session, file):
            copy = session.placement(deadline).copy(
                file,
                target.path,
                overwrite=target.overwrite,
                on_verified=partial(record_saved, session, str(record.task_id)),
            )
            copy = copy._replace(facts=file.facts)
            return record_placed(session, record, copy, target)
    return None


def whole_result(session: Session, record: Record) -> SavedFile | None:
    """Return the file of a task's first result as served, if it is whole on this machine."""
    urls = record.task.result_urls if record.task else ()
    # The first of several results is always saved first.
    saved = record.saved if len(urls) <= 1 else record.saved[:1]
    return next((file for file in saved if file.is_served and is_whole(session, file)), None)


def result_file(session: Session, record: Record, *, deadline: float | None = None) -> Path:
    """Return a file with the first result of a task as served, fetching it if necessary.

    A fetched file stays in a private folder until the session ends.

    Raises:
        NotFinishedError: If the task is not finished.
        TaskFailedError: If it failed or was cancelled.
        ResultGoneError: If the result is gone.
        OmniEditError: If the service or the disk refuses.
    """
    task_id = str(record.task_id)
    saved = whole_result(session, record)
    if saved is not None:
        return Path(saved.path)
    if task_id not in session.fetched:
        record = refresh(session, record, deadline=deadline)
        record = record.with_task(task_with_links(session, record, deadline=deadline))

        def fetch(url: str) -> Path:
            return session.fetched_files.enter_context(
                _fetched(session, url, task_id, task_name(task_id), deadline)
            )

        session.fetched[task_id] = _with_fresh_link(session, record, 0, fetch, deadline)
    return session.fetched[task_id]


def completed_task(record: Record) -> Task:
    """Return the task of a record, provided that it is completed.

    Raises:
        TaskFailedError: If the task failed or was cancelled.
        NotFinishedError: If the task is not finished.
    """
    task = record.task
    if task is None or not task.is_terminal:
        progress = f" at {task.progress} %" if task and task.progress is not None else ""
        msg = f"{task_name(record.task_id)} is not finished: {record.shown_status}{progress}"
        raise NotFinishedError(msg, task_id=record.task_id, request_id=record.request_id)
    if task.has_failed:
        raise failed_task_error(record)
    return task


def task_with_links(session: Session, record: Record, *, deadline: float | None) -> Task:
    """Return a completed task with result links, reading it once more if it has none.

    If there is still no result, the journal records that it is gone.

    Raises:
        TaskFailedError: If the task failed or was cancelled.
        NotFinishedError: If the task is not finished.
        ResultGoneError: If there is still no result.
        OmniEditError: If the service does not answer.
    """
    task = completed_task(record)
    if task.result_urls:
        return task
    # Links may appear a moment after the task is completed.
    fresh = read_task(session, task.task_id, known=record, deadline=deadline)
    if fresh.result_urls:
        return fresh
    if has_unreadable_results(fresh):
        msg = f"{task_name(task.task_id)} lists a result without a link that omniedit understands"
        hint = Hint("{} shows it as `raw`", f"status {task.task_id} --json")
        raise ResultGoneError(msg, hint=hint, task_id=task.task_id)
    session.write_journal(lambda: session.journal.record_result_gone(task.task_id))
    msg = (
        f"{task_name(task.task_id)} was completed without a result, as happens to clips from"
        " regions where editing is blocked"
    )
    hint = Hint("{} shows what it was charged", f"status {task.task_id}")
    raise ResultGoneError(msg, hint=hint, task_id=task.task_id)


def failed_task_error(record: Record) -> TaskFailedError:
    """Return the error of a task that failed or was cancelled."""
    error = record.task.failure if record.task else None
    verb = "was cancelled" if record.status == TaskStatus.CANCELLED else "failed"
    reason = f": {error.message} ({error.code})" if error else ""
    return TaskFailedError(
        f"{task_name(record.task_id)} {verb}{reason}",
        code=error.code if error else None,
        task_id=record.task_id,
        request_id=record.request_id,
    )


def _save_one(
    session: Session,
    record: Record,
    index: int,
    target: Target,
    *,
    deadline: float | None,
) -> Record:
    existing = find_file_at(session, record, target)
    if existing is not None:
        _announce(session, record, existing, target, is_new=False)
        return record
    refuse_clip(session, record.clip_sha256, target.path)
    task_id = str(record.task_id)

    def fetch(url: str) -> SavedFile:
        return session.downloader.download(
            url,
            target.path,
            task_id=task_id,
            overwrite=target.overwrite,
            deadline=deadline,
            on_progress=progress_of(session, target.shown, "download", task_id=task_id),
            on_retry=partial(session.report_retry, task_id),
            # Record the file before it is placed: a kill must not leave a file unknown here.
            on_verified=partial(record_saved, session, task_id),
        )

    try:
        file = _with_fresh_link(session, record, index, fetch, deadline)
    except TargetExistsError:
        # Another process may have saved the same task there in the meantime.
        known = announce_if_there(session, record, target)
        if known is None:
            raise
        return known
    return record_placed(session, record, file, target)


def _stream(
    session: Session, record: Record, deadline: float | None, stream_out: Callable[[Path], None]
) -> None:
    task = completed_task(record)
    if len(task.result_urls) > 1:
        msg = f"{task_name(task.task_id)} has {len(task.result_urls)} results, but standard output takes one"
        raise InvalidInputError(msg, code="needs_folder", hint="name a folder: `out/`")

    def fetch(url: str) -> None:
        with _fetched(session, url, task.task_id, "standard output", deadline) as path:
            stream_out(path)

    _with_fresh_link(session, record, 0, fetch, deadline)


def _fetched(
    session: Session, url: str, task_id: str, name: str, deadline: float | None
) -> AbstractContextManager[Path]:
    """Return a context manager that yields a result in a private file; progress shows `name`."""
    return session.downloader.fetch(
        url,
        task_id=task_id,
        folder=session.private_folder,
        deadline=deadline,
        on_progress=progress_of(session, name, "download", task_id=task_id),
        on_retry=partial(session.report_retry, task_id),
    )


def _with_fresh_link(
    session: Session, record: Record, index: int, fetch: _Fetch[T], deadline: float | None
) -> T:
    """Fetch a result; if its link is dead or delivers no video, try once more with a fresh link.

    Raises:
        ResultGoneError: If there is no fresh link, or it fails as well.
    """
    task = completed_task(record)
    try:
        return fetch(task.result_urls[index])
    except ResultGoneError:
        fresh = read_task(session, task.task_id, known=record, deadline=deadline)
    try:
        return fetch(_url_of(fresh, index))
    except ResultGoneError as error:
        if not isinstance(error, NotAVideoError):
            # From now on `download --all` skips it; a link without a video may still get one later.
            session.write_journal(lambda: session.journal.record_result_gone(task.task_id))
        raise error.about(task_id=task.task_id) from None


def _url_of(task: Task, index: int) -> str:
    if index < len(task.result_urls):
        return task.result_urls[index]
    msg = f"the service no longer lists this result of {task_name(task.task_id)}"
    raise ResultGoneError(msg, task_id=task.task_id)


def _reread(session: Session, record: Record) -> Record:
    """Return a record with the files that other processes may have saved since it was read."""
    known = None
    with suppress(JournalError):
        known = session.journal.find_task(record.task_id) if record.task_id else None
    return record._replace(saved=known.saved) if known else record


def announce_if_there(session: Session, record: Record, target: Target) -> Record | None:
    """Return the record if its whole file is at the target, announced; else None."""
    record = _reread(session, record)
    existing = find_file_at(session, record, target)
    if existing is None:
        return None
    _announce(session, record, existing, target, is_new=False)
    return record


def find_file_at(session: Session, record: Record, target: Target) -> SavedFile | None:
    """Return this task's file at the target, if there is one and it is whole."""
    # Compare resolved paths: the same file may be spelled `sub/../out.mp4`, or reached by a link.
    path = real_path(target.path)
    for file in record.saved:
        is_same = file.sound is target.sound and real_path(Path(file.path)) == path
        if is_same and is_whole(session, file):
            return file
    return None


def record_placed(session: Session, record: Record, file: SavedFile, target: Target) -> Record:
    """Record and announce a file that was just placed at its target; return the updated record."""
    if file.facts is None:
        facts = probe_result(session, file.path, name=target.shown, clip=record.clip_facts)
        file = file._replace(facts=facts)
    record_saved(session, str(record.task_id), file, is_placed=True)
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
    write_sidecar(session, record, file, overwrite=target.overwrite)


def record_saved(
    session: Session, task_id: str, file: SavedFile, *, is_placed: bool = False
) -> None:
    """Record where a verified result has been, or is about to be, placed."""
    if session.private_folder in Path(file.path).parents:
        # It is deleted when the command ends.
        return
    session.write_journal(lambda: session.journal.record_saved(task_id, file, is_placed=is_placed))
