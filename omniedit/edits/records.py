"""Finding records in the journal: by reference, by filter, or because they are not saved yet."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from omniedit.edits.reads import TaskOutcome, account_tasks, read_all, read_open_tasks, record_seen
from omniedit.edits.session import Session
from omniedit.errors import (
    Hint,
    InvalidInputError,
    JournalError,
    LocalError,
    MissingKeyError,
    NoSuchReferenceError,
    NotConnectedError,
    NotFinishedError,
    OmniEditError,
    OutcomeUnknownError,
    TaskNotFoundError,
)
from omniedit.journal.reading import is_present
from omniedit.models import LAST, AttemptState, Record, Task, TaskStatus, is_task_id, task_name

SHORTEST_END: Final = 6
KNOWN_TASKS_HINT: Final = Hint("{} shows the tasks known here", "list")
_MOST_PARENTS: Final = 1000
_OTHER_STATES: Final = {
    "queued": TaskStatus.PENDING,
    "running": TaskStatus.PROCESSING,
    "done": TaskStatus.COMPLETED,
}
"""What other tools call a state, and our name for it."""


def find_records(session: Session, references: Sequence[str], *, command: str) -> list[Record]:
    """Return the records of the referenced tasks, without duplicates.

    A task that is not in the journal gets a record with nothing but its ID.

    Args:
        references: Task IDs, ends of IDs, or `last`; an empty sequence means `last`.
        command: The calling command with `TASK` for the reference, for the hint of `last`.

    Raises:
        InvalidInputError: If a reference cannot be a task ID.
        NoSuchReferenceError: If a reference matches several tasks, or `last` matches none.
        OmniEditError: If the newest attempt has no task: the error it ended with.
    """
    records = [
        _find_last(session, command=command)
        if reference == LAST
        else _find_task(session, reference)
        for reference in references or [LAST]
    ]
    unique = {record.task_id: record for record in records}
    return list(unique.values())


def _find_last(session: Session, *, command: str) -> Record:
    """Return the newest attempt of this context, which has a task, and name it on stderr.

    Raises:
        NoSuchReferenceError: If there is no attempt, or the newest command made several.
        OutcomeUnknownError: If the attempt may or may not have been accepted.
        OmniEditError: If the attempt was refused: the refusal.
    """
    call = session.journal.last_call(session.context) if session.context else None
    if call is None:
        msg = "no task has been submitted from here yet"
        raise NoSuchReferenceError(msg, hint="name a task ID, or submit an edit first")
    record = session.journal.find_attempt(call.request_id) if call.request_id else None
    if record is None:
        msg = "`last` is ambiguous: the newest command made several tasks"
        words = "run that command again to follow them; {} saves what is finished, {} shows the IDs"
        raise NoSuchReferenceError(msg, hint=Hint(words, "download --all -o saved/", "list"))
    if record.task is None:
        error = _error_of(record)
        _add_newest_accepted(session, error, command=command)
        raise error
    where = "" if record.origin == session.origin else f", submitted at {record.origin}"
    session.note(f"{task_name(record.task_id)} (the newest{where})")
    return record


def _add_newest_accepted(session: Session, error: OmniEditError, *, command: str) -> None:
    """Add to the error's hint the same command for the newest task that was accepted."""
    accepted = session.journal.last_accepted(session.context) if session.context else None
    if accepted is None:
        return
    line = command.replace("TASK", str(accepted.task_id), 1)
    settles = error.hint if isinstance(error, OutcomeUnknownError) else None
    if isinstance(settles, Hint):
        error.hint = Hint(
            f"{settles.text}; the newest accepted task: {{}}", *settles.commands, line
        )
    else:
        error.hint = Hint("the newest accepted task: {}", line)


def _error_of(record: Record) -> OmniEditError:
    """Return the error of the newest attempt, so that `last` never falls back on an older task."""
    request_id = record.request_id
    if record.status == AttemptState.SENDING:
        msg = f"submission {request_id} is still being sent by another process"
        return NotFinishedError(msg, request_id=request_id)
    if record.status == AttemptState.UNKNOWN:
        msg = f"submission {request_id} may or may not have been accepted"
        if record.error:
            msg += f": {record.error.message.removeprefix(f'{msg}: ')}"
        msg = f"the newest {msg}"
        hint = Hint("{} settles it without paying twice", record.resume_command)
        return OutcomeUnknownError(msg, hint=hint, request_id=request_id)
    error = record.refusal
    is_own = isinstance(error, InvalidInputError | LocalError | MissingKeyError)
    if is_own:
        error.hint = "submit it again, or name a task ID"
    verb = "not sent" if is_own or isinstance(error, NotConnectedError) else "refused"
    error.message = f"the newest submission was {verb}: {error.message}"
    return error


def _find_task(session: Session, reference: str) -> Record:
    """Return the record of a task named by its ID or the end of it.

    Raises:
        InvalidInputError: If the reference cannot be a task ID.
        NoSuchReferenceError: If it matches several tasks, or an attempt without a task.
    """
    if not is_task_id(reference):
        msg = "a task ID is 1 to 128 characters of `A-Z a-z 0-9 . _ -`"
        raise InvalidInputError(msg, code="invalid_task_reference", hint=KNOWN_TASKS_HINT)
    try:
        exact = session.journal.find_task(reference)
        if exact is not None:
            return exact
        ending = (
            session.journal.tasks_ending_with(reference) if len(reference) >= SHORTEST_END else []
        )
        attempt = None if ending else _attempt_ending_with(session, reference)
    except JournalError as error:
        # Carry on without the journal: the service only needs the ID.
        session.warn(error.message)
        ending, attempt = [], None
    if len(ending) > 1:
        shown = ", ".join(str(record.task_id) for record in ending[:5])
        msg = f"{len(ending)} tasks end with {reference}: {shown}"
        raise NoSuchReferenceError(msg, code="ambiguous_task", hint="give more of the ID")
    if ending:
        return ending[0]
    if attempt is not None:
        raise _no_task_of(attempt)
    task = Task(task_id=reference, status=None)
    return Record(request_id=None, task=task, status=None, created_at=session.now(), origin=None)


def _no_task_of(attempt: Record) -> NoSuchReferenceError:
    """Return the error for the request ID of an attempt, which `list` shows for want of a task."""
    request_id = attempt.request_id
    if attempt.is_unsettled:
        hint = Hint("{} settles it without paying twice", attempt.resume_command)
        return NoSuchReferenceError(f"submission {request_id} has no task yet", hint=hint)
    reason = f": {attempt.error.message}" if attempt.error else ""
    msg = f"submission {request_id} has no task: it was refused{reason}"
    return NoSuchReferenceError(msg, hint=KNOWN_TASKS_HINT)


def parents_of(session: Session, record: Record) -> tuple[str, ...]:
    """Return the tasks that an edit's clip descends from, nearest first."""
    parents: list[str] = []
    parent = record.parent
    while parent is not None and parent not in parents and len(parents) < _MOST_PARENTS:
        parents.append(parent)
        known = session.journal.find_task(parent)
        parent = known.parent if known else None
    return tuple(parents)


class Filters(NamedTuple):
    """Which rows a listing keeps."""

    unsaved: bool = False  # only completed tasks whose result is not on this machine
    expiring_s: float | None = None  # only unsaved results whose link expires within this time
    state: str | None = None  # spelled like `status` in JSON
    clip: str | None = None  # a substring of the clip's name or URL
    since: float | None = None  # Unix time

    @property
    def is_empty(self) -> bool:
        """Whether no filter is set."""
        return self == Filters()

    def keep(self, record: Record, *, now: float) -> bool:
        """Return whether a row passes every filter."""
        if (self.unsaved or self.expiring_s is not None) and not is_unsaved(record):
            return False
        if self.expiring_s is not None and _link_end(record) > now + self.expiring_s:
            return False
        if self.state is not None and not self._is_in_state(record):
            return False
        if self.clip is not None and self.clip.casefold() not in (record.video or "").casefold():
            return False
        return self.since is None or record.created_at >= self.since

    def _is_in_state(self, record: Record) -> bool:
        # The service may use any status text, even one of the words we use for attempts.
        is_ours = self.state in set(AttemptState)
        return record.status == self.state and is_ours is (record.task is None)


class Listing(NamedTuple):
    """Rows of the journal or of the account's list, newest first."""

    records: Sequence[Record]
    total: int | None = None
    """The number of rows that pass the filters; None if unknown."""
    failure: OmniEditError | None = None
    """Why the service could not be asked about open tasks."""

    @property
    def as_of(self) -> float | None:
        """When the oldest shown state of an open task was recorded; None if all were just read."""
        times = [record.as_of for record in self.records if record.is_open]
        return min((time for time in times if time is not None), default=None)


def list_records(
    session: Session, filters: Filters, *, limit: int, shows_unsent: bool, is_offline: bool
) -> Listing:
    """Return the newest attempts and tasks in the journal, with the current state of open tasks.

    Args:
        filters: Which rows to keep.
        limit: The maximum number of rows; 0 for all.
        shows_unsent: Include attempts that were refused before anything was sent.
        is_offline: Do not contact the service.

    Raises:
        InvalidInputError: If a filter names an unknown state.
    """
    journal, hides = session.journal, not shows_unsent
    seen, failure = ({}, None) if is_offline else read_open_tasks(session)
    has_filters = not filters.is_empty
    records = [
        # The journal does not record progress.
        record.with_task(seen[str(record.task_id)]) if record.task_id in seen else record
        for record in journal.recent(limit=None if has_filters else limit, skips_unsent=hides)
    ]
    if has_filters:
        _check_state(filters.state, records)
        records = [record for record in records if filters.keep(record, now=session.now())]
        return Listing(records[: limit or None], len(records), failure)
    is_cut = limit and len(records) == limit
    total = journal.count(skips_unsent=hides) if is_cut else len(records)
    return Listing(records, total, failure)


def _check_state(state: str | None, records: Iterable[Record]) -> None:
    """Refuse a state that no edit can be in.

    Raises:
        InvalidInputError: If the state is neither a known one nor one that the service has used.
    """
    known = [*TaskStatus, *AttemptState]
    if state is not None and state not in known and all(each.status != state for each in records):
        from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

        msg = f"invalid value for '--state': {state!r} is not one of {', '.join(known)}"
        near = _OTHER_STATES.get(state) or next(iter(get_close_matches(state, known, n=1)), None)
        hint = f"did you mean `{near}`?" if near else None
        raise InvalidInputError(msg, code="usage", hint=hint)


def list_account(session: Session, models: Iterable[str], *, limit: int, adopt: bool) -> Listing:
    """Return the account's tasks for some models, newest first, merged with the journal's records.

    Args:
        models: The IDs of the models.
        limit: The maximum number of rows; 0 for all. With `adopt` every task is still adopted.
        adopt: Record tasks that the journal does not know.

    Raises:
        EndpointMissingError: If the service does not offer the list.
        OmniEditError: If the list cannot be read, or a task cannot be recorded.
    """
    records: list[Record] = []
    for task in account_tasks(session, models):
        records.append(_known_or_new(session, task, adopt=adopt))
        if len(records) == limit and not adopt:
            break
    is_cut = limit and len(records) >= limit
    return Listing(records[: limit or None], None if is_cut else len(records))


def forget(session: Session, reference: str) -> Record:
    """Remove an edit from the journal, but not its files or its task on the service.

    Args:
        reference: A request ID, the end of one, or a task reference.

    Raises:
        NoSuchReferenceError: If the edit is not in the journal, or the reference is ambiguous.
        WaitTimeoutError: If another process is submitting it.
    """
    attempt = session.journal.find_attempt(reference) or _attempt_ending_with(session, reference)
    if attempt is not None and attempt.task is None:
        # Not while another process sends it: its task would be lost.
        request_id = str(attempt.request_id)
        with session.sending_lock(request_id, pays=False, deadline=session.monotonic()):
            session.journal.forget_attempt(request_id)
        if attempt.is_unsettled:
            session.warn(
                f"submission {request_id} is forgotten: the next `edit` of it may pay again"
            )
        return attempt
    known = attempt or session.journal.find_task(
        str(find_records(session, [reference], command="list --forget TASK")[0].task_id)
    )
    if known is None:
        msg = f"{task_name(reference)} is not in the journal"
        raise NoSuchReferenceError(msg, hint=KNOWN_TASKS_HINT)
    session.journal.forget(known)
    if known.request_id is not None and not known.has_failed:
        session.warn(
            f"{task_name(known.task_id)} is forgotten: the next `edit` of it may pay again"
        )
    return known


def _attempt_ending_with(session: Session, end: str) -> Record | None:
    """Return the only attempt without a task whose request ID ends like this, if there is one.

    Raises:
        NoSuchReferenceError: If another attempt or task has the same ending.
    """
    if len(end) < SHORTEST_END:
        return None
    attempts = session.journal.attempts_ending_with(end)
    if len(attempts) > 1 or (attempts and session.journal.tasks_ending_with(end)):
        msg = f"several submissions or tasks end with {end}"
        raise NoSuchReferenceError(msg, code="ambiguous_task", hint="give more of the ID")
    return attempts[0] if attempts else None


def unsaved_results(session: Session, *, expiring_s: float | None = None) -> Iterator[TaskOutcome]:
    """Yield this origin's completed tasks whose result is not saved here, oldest link first.

    Tasks that were unfinished when last seen are read again, and skipped if they are still
    unfinished or have failed. A task that cannot be read comes with the error.
    """
    records = _records_of_this_service(session)
    finished = [record for record in records if is_unsaved(record)]
    running = [record for record in records if record.is_open]
    for record, error in read_all(session, running):
        if isinstance(error, TaskNotFoundError):
            # This may be temporary, so record nothing: the next run asks again.
            session.warn(f"{error.message}; skipped")
        elif error is not None:
            yield record, error
        elif is_unsaved(record):
            finished.append(record)
    latest = math.inf if expiring_s is None else session.now() + expiring_s
    for record in sorted(finished, key=_link_end):
        if _link_end(record) <= latest:
            yield record, None


def is_unsaved(record: Record) -> bool:
    """Return whether a task's result can still be saved but is not on this machine."""
    return (
        record.task is not None
        and record.task.is_completed
        and not record.is_result_gone
        and not has_every_file(record)
    )


def _records_of_this_service(session: Session) -> list[Record]:
    return [each for each in session.journal.recent() if each.origin == session.origin]


def describe_rest(session: Session) -> str:
    """Return what has no result to save: `2 running, 1 with unknown outcome`, or nothing."""
    records = _records_of_this_service(session)
    counts = {
        "running": sum(record.is_open for record in records),
        "with unknown outcome": sum(record.is_unsettled for record in records),
        "gone": sum(record.is_result_gone and not has_every_file(record) for record in records),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def has_file(record: Record) -> bool:
    """Return whether at least one saved file still exists with its recorded size."""
    return any(is_present(file) for file in record.saved)


def lost_files(records: Iterable[Record]) -> dict[str, str]:
    """Return the files saved here that no longer match: path to `gone` or `changed`."""
    return {
        file.path: "changed" if os.path.lexists(file.path) else "gone"
        for record in records
        for file in record.saved
        if not file.is_elsewhere and not is_present(file)
    }


def has_every_file(record: Record) -> bool:
    """Return whether all results of a task are saved side by side on this machine."""
    count = len(record.task.result_urls) if record.task else 0
    if count <= 1:
        return has_file(record)
    from omniedit.edits.targets import numbered  # noqa: PLC0415 - few tasks have several results

    present = {Path(file.path) for file in record.saved if is_present(file)}
    return any(
        all(path.with_name(numbered(path.name, index)) in present for index in range(count))
        for path in present
    )


def _link_end(record: Record) -> float:
    return record.link_valid_until or 0.0


def _known_or_new(session: Session, task: Task, *, adopt: bool) -> Record:
    """Return the record of a task of the account; update the journal's, or adopt it if wanted."""
    known = session.journal.find_task(task.task_id)
    if known is not None:
        record_seen(session, [task])
        return known.with_task(task)
    if adopt:
        session.journal.record_adopted(task, origin=session.origin)
    return Record(
        request_id=None,
        task=task,
        status=task.status,
        created_at=task.created_at or session.now(),
        origin=session.origin,
        error=task.error,
    )
