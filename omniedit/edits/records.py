"""Edits in the journal or the account: finding, listing and forgetting them, and their cost."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from omniedit.edits.reads import TaskOutcome, account_tasks, read_all, read_once, record_seen
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
    refuse,
)
from omniedit.journal.reading import is_present
from omniedit.models import (
    BATCH_SIZE,
    LAST,
    MODELS,
    AttemptState,
    Record,
    Task,
    TaskStatus,
    is_task_id,
    numbered,
    render_count,
    task_name,
)

SHORTEST_END: Final = 6
KNOWN_TASKS_HINT: Final = Hint("{} shows the tasks known here", "list")
_MOST_PARENTS: Final = 1000
_OTHER_STATES: Final = {
    "queued": TaskStatus.PENDING,
    "running": TaskStatus.PROCESSING,
    "done": TaskStatus.COMPLETED,
}
"""What other tools call a state, and our name for it."""
GROUPINGS: Final = ("month", "day", "clip", "model")
"""What bills can be grouped by."""
_MOST_OPEN: Final = 1000
_DIGITS: Final = 6
"""Decimals kept in a sum; credits have fewer, so anything beyond is floating-point noise."""


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
    records: dict[str | None, Record] = {}
    for reference in references or [LAST]:
        is_last = reference == LAST
        record = _find_last(session, command) if is_last else _find_task(session, reference)
        records[record.task_id] = record
    return list(records.values())


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
        # The service may use any status text, even one of the words we use for attempts.
        is_ours = self.state in set(AttemptState)
        if self.state not in {None, record.status} or (is_ours and record.task is not None):
            return False
        if self.clip is not None and self.clip.casefold() not in (record.video or "").casefold():
            return False
        return self.since is None or record.created_at >= self.since


class Listing(NamedTuple):
    """Rows of the journal or of the account's list, newest first."""

    records: Sequence[Record]
    total: int | None = None  # rows that pass the filters; None if unknown
    failure: OmniEditError | None = None  # why the service could not be asked about open tasks

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
        is_offline: Leave open tasks as last recorded.
    """
    seen, failure = ({}, None) if is_offline else _read_open_tasks(session, BATCH_SIZE)
    most = limit if filters.is_empty else None
    records = [
        # The journal does not record progress.
        record.with_task(seen[str(record.task_id)]) if record.task_id in seen else record
        for record in session.journal.recent(limit=most, skips_unsent=not shows_unsent)
    ]
    if filters.is_empty:
        is_cut = limit > 0 and len(records) == limit
        total = session.journal.count(skips_unsent=not shows_unsent) if is_cut else len(records)
        return Listing(records, total, failure)
    _check_state(filters.state, records)
    kept = [record for record in records if filters.keep(record, now=session.now())]
    return Listing(kept[: limit or None], len(kept), failure)


def list_account(session: Session, models: Iterable[str], *, limit: int, adopt: bool) -> Listing:
    """Return the account's tasks of some models, newest first, merged with the journal's records.

    With `adopt` every task that the journal does not know is recorded, whatever the limit.
    """
    records: list[Record] = []
    for task in account_tasks(session, models):
        records.append(_known_or_new(session, task, adopt=adopt))
        if len(records) == limit and not adopt:
            break
    is_cut = limit > 0 and len(records) >= limit
    return Listing(records[: limit or None], None if is_cut else len(records))


def forget(session: Session, reference: str) -> Record:
    """Remove an edit, named by task or request ID, but not its files or its task on the service.

    Raises:
        NoSuchReferenceError: If the edit is not in the journal, or the reference is ambiguous.
        WaitTimeoutError: If another process is submitting it.
    """
    record = session.journal.find_attempt(reference)
    if record is None and reference == LAST:
        # A hint at `--forget` with another task would drop an edit that was paid for.
        record = _find_last(session, "status TASK")
    record = record or _find_known(session, reference)
    if record is None:
        msg = f"{task_name(reference)} is not in the journal"
        raise NoSuchReferenceError(msg, hint=KNOWN_TASKS_HINT)
    if record.task is not None:
        name = task_name(record.task_id)
        may_pay_again = record.request_id is not None and not record.has_failed
        session.journal.forget(record)
    else:
        request_id = str(record.request_id)
        name = f"submission {request_id}"
        may_pay_again = record.is_unsettled
        # Not while another process sends it: its task would be lost.
        with session.sending_lock(request_id, pays=False, deadline=session.monotonic()):
            session.journal.forget(record)
    if may_pay_again:
        session.warn(f"{name} is forgotten: the next `edit` of it may pay again")
    return record


def records_of_this_service(session: Session) -> list[Record]:
    """Return every edit of this origin that the journal holds, newest first."""
    return [each for each in session.journal.recent() if each.origin == session.origin]


def unsaved_results(session: Session, *, expiring_s: float | None = None) -> Iterator[TaskOutcome]:
    """Yield this origin's completed tasks whose result is not saved here, oldest link first.

    Tasks that were unfinished when last seen are read again, and skipped if they are still
    unfinished or have failed. A task that cannot be read comes with the error.
    """
    records = records_of_this_service(session)
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
    return record.is_completed and not record.is_result_gone and not has_every_file(record)


def describe_rest(session: Session) -> str:
    """Return what has no result to save: `2 running, 1 with unknown outcome`, or nothing."""
    records = records_of_this_service(session)
    counts = {
        "running": sum(record.is_open for record in records),
        "with unknown outcome": sum(record.is_unsettled for record in records),
        "gone": sum(record.is_result_gone and not has_every_file(record) for record in records),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


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
    count = len(record.result_urls)
    present = {Path(file.path) for file in record.saved if is_present(file)}
    for path in present:
        results = {path.parent / numbered(path.name, index) for index in range(count)}
        if results <= present:
            return True
    return False


class Expense(NamedTuple):
    """Tasks that cost the same, grouped for a bill."""

    group: str | None  # the month, day, clip or model
    status: str | None
    reserved: float | None
    used: float | None
    tasks: int = 1


class Bill:
    """The total cost of several tasks."""

    tasks: int = 0
    unknown: int = 0  # tasks whose cost is unknown
    charged: float = 0.0  # credits, for tasks that have ended
    reserved: float = 0.0  # credits, for unfinished tasks

    def add(self, expense: Expense) -> None:
        """Add the tasks of an expense; a failed one costs nothing unless the service says so."""
        self.tasks += expense.tasks
        is_charged = expense.status == TaskStatus.COMPLETED
        amount = expense.used if is_charged else expense.reserved
        if expense.status in {TaskStatus.FAILED, TaskStatus.CANCELLED}:
            is_charged = True
            amount = expense.used or 0.0
        if amount is None:
            self.unknown += expense.tasks
        elif is_charged:
            self.charged += amount * expense.tasks
        else:
            self.reserved += amount * expense.tasks


def bills(expenses: Iterable[Expense]) -> tuple[Mapping[str | None, Bill], Bill]:
    """Return a bill for each group, sorted by group, and one for everything."""
    rows: dict[str | None, Bill] = {}
    total = Bill()
    for expense in expenses:
        rows.setdefault(expense.group, Bill()).add(expense)
        total.add(expense)
    for bill in (*rows.values(), total):
        bill.charged = round(bill.charged, _DIGITS)
        bill.reserved = round(bill.reserved, _DIGITS)
    return dict(sorted(rows.items(), key=lambda row: row[0] or "")), total


def known_expenses(session: Session, by: str, *, since: float) -> list[Expense]:
    """Return the expenses in the journal, after updating open tasks."""
    _, failure = _read_open_tasks(session, _MOST_OPEN)
    if failure is not None:
        session.warn(f"open edits are as last recorded: {failure.message}")
    expenses = [*map(Expense._make, session.journal.expenses(by, since=since))]
    unsettled = sum(expense.tasks for expense in expenses if expense.status is None)
    if unsettled:
        what = f"{render_count(unsettled, 'submission')} that may or may not have been accepted"
        session.note(Hint(f"counted as unknown: {what} ({{}})", "list --state unknown"))
    return expenses


def account_expenses(
    session: Session, by: str, *, since: float
) -> tuple[list[Expense], float | None]:
    """Return the expenses in the account's list, and the Unix time of the oldest task."""
    listed: list[Task] = []
    oldest: float | None = None
    for task in account_tasks(session, MODELS):
        if task.created_at is not None and task.created_at < since:
            break
        oldest = task.created_at or oldest
        listed.append(task)
    # The list does not say what open tasks reserve.
    open_ids = [task.task_id for task in listed if not task.is_terminal][:_MOST_OPEN]
    seen, failure = read_once(session, open_ids)
    if failure is not None:
        session.warn(f"what open edits reserve cannot be read: {failure.message}")
    expenses: list[Expense] = []
    for task in listed:
        newest = seen.get(task.task_id, task)
        reserved = newest.credits_reserved
        used = newest.credits_used
        expenses.append(Expense(_group_of(task, by), newest.status, reserved, used))
    return expenses, oldest


def _find_last(session: Session, command: str) -> Record:
    """Return the newest attempt of this context, which has a task, and name it on stderr."""
    context = session.context or ""
    call = session.journal.last_call(context)
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
        accepted = session.journal.last_accepted(context)
        if accepted is not None:
            _name_in_hint(error, command.replace("TASK", str(accepted.task_id), 1))
        raise error
    where = "" if record.origin == session.origin else f", submitted at {record.origin}"
    session.note(f"{task_name(record.task_id)} (the newest{where})")
    return record


def _name_in_hint(error: OmniEditError, command: str) -> None:
    """Add to the hint the command for the newest task that was accepted."""
    hint = Hint("the newest accepted task: {}", command)
    if isinstance(error, OutcomeUnknownError) and isinstance(error.hint, Hint):
        hint = Hint(f"{error.hint.text}; {hint.text}", *error.hint.commands, command)
    error.hint = hint


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
        hint = Hint("{} settles it without paying twice", record.resume_command)
        return OutcomeUnknownError(f"the newest {msg}", hint=hint, request_id=request_id)
    error = record.refusal
    is_own = isinstance(error, InvalidInputError | LocalError | MissingKeyError)
    if is_own:
        error.hint = "submit it again, or name a task ID"
    verb = "not sent" if is_own or isinstance(error, NotConnectedError) else "refused"
    error.message = f"the newest submission was {verb}: {error.message}"
    return error


def _find_task(session: Session, reference: str) -> Record:
    """Return the record of a task named by its ID or the end of it."""
    try:
        record = _find_known(session, reference, prefers_tasks=True)
    except JournalError as error:
        # Carry on without the journal: the service only needs the ID.
        session.warn(error.message)
        record = None
    if record is None:
        task = Task(task_id=reference, status=None)
        return Record(request_id=None, task=task, status=None, created_at=session.now())
    if record.task is None:
        raise _no_task_of(record)
    return record


def _find_known(session: Session, reference: str, *, prefers_tasks: bool = False) -> Record | None:
    """Return the only record whose task ID, or else request ID, is the reference or ends with it."""
    if not is_task_id(reference):
        msg = "a task ID is 1 to 128 characters of `A-Z a-z 0-9 . _ -`"
        refuse(msg, code="invalid_task_reference", hint=KNOWN_TASKS_HINT)
    exact = session.journal.find_task(reference)
    if exact is not None or len(reference) < SHORTEST_END:
        return exact
    matches = session.journal.ending_with(reference)
    if prefers_tasks:
        matches = [record for record in matches if record.task] or matches
    if len(matches) > 1:
        what = "tasks" if all(record.task for record in matches) else "tasks or submissions"
        shown = ", ".join(str(record.task_id or record.request_id) for record in matches[:5])
        msg = f"{len(matches)} {what} end with {reference}: {shown}"
        raise NoSuchReferenceError(msg, code="ambiguous_task", hint="give more of the ID")
    return matches[0] if matches else None


def _no_task_of(attempt: Record) -> NoSuchReferenceError:
    """Return the error for naming an attempt without a task, by the request ID that `list` shows."""
    request_id = attempt.request_id
    if attempt.is_unsettled:
        hint = Hint("{} settles it without paying twice", attempt.resume_command)
        return NoSuchReferenceError(f"submission {request_id} has no task yet", hint=hint)
    reason = f": {attempt.error.message}" if attempt.error else ""
    msg = f"submission {request_id} has no task: it was refused{reason}"
    return NoSuchReferenceError(msg, hint=KNOWN_TASKS_HINT)


def _read_open_tasks(session: Session, most: int) -> tuple[dict[str, Task], OmniEditError | None]:
    return read_once(session, session.journal.open_task_ids(origin=session.origin, limit=most))


def _check_state(state: str | None, records: Iterable[Record]) -> None:
    """Refuse a state that is neither a known one nor one that the service has used."""
    known = [*TaskStatus, *AttemptState]
    if state is not None and state not in known and all(each.status != state for each in records):
        from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

        msg = f"invalid value for '--state': {state!r} is not one of {', '.join(known)}"
        near = _OTHER_STATES.get(state) or next(iter(get_close_matches(state, known, n=1)), None)
        refuse(msg, hint=f"did you mean `{near}`?" if near else None)


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


def _group_of(task: Task, by: str) -> str | None:
    if by == "model":
        return task.model
    if by == "clip" or task.created_at is None:
        return None
    moment = datetime.fromtimestamp(task.created_at, UTC)
    return f"{moment:%Y-%m}" if by == "month" else f"{moment:%Y-%m-%d}"
