"""One edit from sentence to file, in the sense of make: safe to repeat."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from omniedit.downloads.placement import check_target as check_target_file
from omniedit.edits.poller import Poller, report_end
from omniedit.edits.reads import refresh
from omniedit.edits.replay import record_call, replay
from omniedit.edits.requests import PreparedEdit, prepare
from omniedit.edits.save import (
    check_target,
    failure_of,
    find_saved,
    is_whole,
    save,
    save_from_here,
    saved_as,
)
from omniedit.edits.sending import sending_lock
from omniedit.edits.session import Session
from omniedit.edits.sidecar import check_sidecar
from omniedit.edits.sound import check_sound, save_with_sound, with_sound
from omniedit.edits.submit import (
    known_submission,
    new_submission,
    refusal_recorded,
    send,
)
from omniedit.edits.targets import Destination, Target, refuse_source, served_destination
from omniedit.errors import (
    Hint,
    LocalError,
    OutcomeUnknownError,
    ResultGoneError,
    TargetBusyError,
    TargetExistsError,
    WaitTimeoutError,
)
from omniedit.models import EditRequest, Record, Sound, TaskStatus, task_name


class EditOptions(NamedTuple):
    """How an edit is made.

    `again` pays anew for an edit that is known; `overwrite` replaces the target whatever it is.
    """

    destination: Destination
    timeout_s: float
    sound: Sound = Sound.NEW
    again: bool = False
    overwrite: bool = False


class BegunEdit(NamedTuple):
    """An edit that has a task at the service: just submitted, or known from before."""

    edit: PreparedEdit
    record: Record
    is_fresh: bool
    deadline: float  # monotonic

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.record.task is not None and self.record.task.is_terminal


def edit(session: Session, request: EditRequest, options: EditOptions) -> Record:
    """Submit an edit where it is not known, follow it to its end, and save its result.

    Raises:
        OmniEditError: If it cannot be finished; the message says how to go on.
    """
    begun = begin_edit(session, request, options)
    if begun.has_ended:
        report_end(session, begun.record)
        return deliver_edit(session, begun, options)
    poller = Poller(session, timeout_s=session.left_s(begun.deadline) or 0.0)
    poller.add(begun.record, is_fresh=begun.is_fresh)
    for record, error in poller.to_the_end():
        if error is not None:
            raise error.about(task_id=record.task_id, request_id=record.request_id)
        begun = begun._replace(record=record, is_fresh=True)
    return deliver_edit(session, begun, options)


def begin_edit(
    session: Session,
    request: EditRequest,
    options: EditOptions,
    *,
    planned_identity: str | None = None,
) -> BegunEdit:
    """Return the task of an edit, submitted where it is not known.

    Look-up, upload, write-ahead row and submission are one critical section over all processes:
    of two that run the same edit at once one submits, and the other follows its task.

    Args:
        request: As it was asked for.
        planned_identity: Which edit it was when it was planned.

    Raises:
        OmniEditError: If it has none; the journal keeps the reason.
    """
    deadline = session.monotonic() + options.timeout_s
    with ExitStack() as locks:
        with refusal_recorded(session, request) as request_id:
            check_sound(options.sound)
            # What is known costs nothing, however low the limit.
            unlimited = request._replace(max_credits=None)
            edit = _prepared(session, unlimited, planned_identity, deadline)
            if session.has_journal:
                locks.enter_context(_editing(session, edit.identity, deadline))
            known = known_edit(session, edit.identity, options)
            # What is unsettled is settled with its own ID, whatever ID this call brought.
            own_id = known.request_id if known and known.is_unsettled else None
            locks.enter_context(sending_lock(session, own_id or request_id, deadline=deadline))
            known = known or known_submission(session, request_id, edit)
            if known is not None and options.again:
                session.warn(f"`--again` has no effect: request ID {request_id} is known here")
            if known is None and request.max_credits is not None:
                edit = _prepared(session, request, edit.identity, deadline)
            _check_target(session, known, edit, options)
            if known is None and session.requires_journal:
                session.journal.require_recovered()
            attempt = known or new_submission(session, edit, request_id, deadline=deadline)
        if known is None:
            record = _sent(session, edit, attempt, options, deadline=deadline)
        else:
            record = _settled(session, attempt, deadline=deadline)
    return BegunEdit(edit=edit, record=record, is_fresh=known is None, deadline=deadline)


def _prepared(
    session: Session, request: EditRequest, identity: str | None, deadline: float
) -> PreparedEdit:
    """Return the edit that is asked for.

    Raises:
        LocalError: If it is another one than was found before.
        OmniEditError: If it cannot be made.
    """
    edit = prepare(session, request, deadline=deadline)
    if identity not in {None, edit.identity}:
        # Nobody has asked for this one.
        msg = f"{request.video} changed after it was looked at"
        hint = "run the same command again once nothing writes to it any more"
        raise LocalError(msg, code="clip_changed", hint=hint)
    return edit


def known_edit(session: Session, identity: str, options: EditOptions) -> Record | None:
    """Return the attempt that this edit goes on with; None where it is to be submitted."""
    if options.again:
        return None
    attempts = session.journal.known_edits(identity, origin=session.origin)
    known = next(iter(attempts), None)
    for attempt in attempts:
        target = options.destination.target_of_edit(
            attempt.video, attempt.prompt, identity, attempt.task_id, sound=options.sound
        )
        if target is not None and saved_as(attempt, target, sound=options.sound) is not None:
            # Its file is there and whole, whatever became of later ones.
            return attempt
        if _comes_first(attempt, options):
            known = attempt
            break
    if known is None or known.task is None:
        return known
    is_retryable = (
        known.status == TaskStatus.FAILED
        and known.task.error is not None
        and known.task.error.is_retryable
    )
    return None if is_retryable else known


def deliver_edit(session: Session, begun: BegunEdit, options: EditOptions) -> Record:
    """Save the result of an edit that has ended.

    Raises:
        TaskFailedError: If it failed or was cancelled.
        ResultGoneError: If its result is gone.
        OmniEditError: If the service or the disk refuses.
    """
    record = begun.record
    if record.has_failed:
        raise failure_of(record)
    # The journal drops the query of a clip's URL, never its name.
    record = record._replace(video=record.video or begun.edit.request.shown_video)
    begun = begun._replace(record=record)
    target = _target_of(options, begun.edit, record)
    if options.sound is Sound.NEW or target is None:
        return _deliver_as_served(session, begun, target, options)
    targets = _targets_like(target, record)
    if all(saved_as(record, each, sound=options.sound) for each in targets):
        for each in targets:
            record = (
                find_saved(session, record, each, sound=options.sound, overwrite=options.overwrite)
                or record
            )
        return record
    kept = served_destination(target)
    record = _deliver_as_served(session, begun, kept.target(None, None), options)
    for index, each in enumerate(_targets_like(target, record)):
        served = saved_as(record, kept.target(None, None, index=index))
        if served is not None:
            record = save_with_sound(
                session,
                begun.edit,
                record,
                served,
                each,
                sound=options.sound,
                overwrite=options.overwrite,
            )
    return record


def _targets_like(target: Target, record: Record) -> list[Target]:
    """Return the places of all results of a task, the first of which is given."""
    count = len(record.task.result_urls) if record.task else 0
    named = Destination(target.shown)
    return [named.target(None, None, index=index) for index in range(max(1, count))]


def _target_of(options: EditOptions, edit: PreparedEdit, record: Record) -> Target | None:
    """Return the place of an edit's result; None is standard output."""
    if options.destination.is_stdout:
        return None
    return options.destination.target_of_edit(
        record.video, edit.request.prompt, edit.identity, record.task_id, sound=options.sound
    )


def _deliver_as_served(
    session: Session, begun: BegunEdit, target: Target | None, options: EditOptions
) -> Record:
    record, destination = begun.record, options.destination
    if target is not None:
        saved = save_from_here(session, record, target, overwrite=options.overwrite)
        if saved is not None:
            return saved
        destination = Destination(target.shown, is_aside=target.is_aside)
    if record.is_result_gone and target is not None:
        _refuse_taken(session, record, target, options)
    if not begun.is_fresh:
        # The links of a known task may have changed since.
        record = refresh(session, record, deadline=begun.deadline)

    def stream_out(path: Path) -> None:
        if options.sound is Sound.NEW:
            session.stream_out(path)
            return
        name = "standard output"
        with with_sound(session, begun.edit, path, sound=options.sound, name=name) as changed:
            session.stream_out(changed)

    return save(
        session,
        record,
        destination,
        overwrite=options.overwrite,
        deadline=begun.deadline,
        stream_out=stream_out,
    )


@contextmanager
def _editing(session: Session, identity: str, deadline: float) -> Generator[None]:
    """Keep others from submitting the same edit for a block; wait for them first.

    Raises:
        WaitTimeoutError: If another process has not let go in time.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(
                session.journal.locked("editing", identity, timeout_s=session.left_s(deadline))
            )
        except TargetBusyError as error:
            msg = "another process is still submitting the same edit"
            raise WaitTimeoutError(msg) from error
        yield


def _sent(
    session: Session,
    edit: PreparedEdit,
    attempt: Record,
    options: EditOptions,
    *,
    deadline: float,
) -> Record:
    """Return what an edit that is submitted became."""
    try:
        return send(session, edit, attempt, deadline=deadline)
    except OutcomeUnknownError as error:
        if session.has_journal and isinstance(error.hint, Hint):
            again = (
                "the same command without `--again`" if options.again else "the same command again"
            )
            words = f"run {again}; or {error.hint.text}"
            error.hint = Hint(words, *error.hint.commands)
        raise


def _settled(session: Session, known: Record, *, deadline: float) -> Record:
    """Return a known edit; one whose outcome is unknown is replayed."""
    if known.task is None:
        return replay(session, known, deadline=deadline)
    record_call(session, known.request_id or "")
    name = task_name(known.task_id)
    session.note(f"known here as {name} ({known.shown_status}); nothing is paid again")
    return known


def _comes_first(attempt: Record, options: EditOptions) -> bool:
    """Return whether an attempt is gone on with wherever the file of an older one may lie."""
    if attempt.is_result_gone or attempt.has_failed:
        return False
    if options.destination.is_named_folder:
        # Each attempt's file has a name of its own there.
        return True
    # Paid for with `--again --force`, and cut off before it replaced the older one.
    return options.overwrite and not any(is_whole(file) for file in attempt.saved)


def _refuse_taken(session: Session, record: Record, target: Target, options: EditOptions) -> None:
    """Report a result that is gone as gone, though its target is taken as well.

    Raises:
        ResultGoneError: If the target is taken.
    """
    try:
        check_target(session, record, target, overwrite=options.overwrite)
    except TargetExistsError:
        msg = f"the result of {task_name(record.task_id)} is gone"
        raise ResultGoneError(msg, task_id=record.task_id) from None


def _check_target(
    session: Session, known: Record | None, edit: PreparedEdit, options: EditOptions
) -> None:
    """Refuse a target before anything is paid or waited for.

    An edit that is known to bring nothing is reported as that, whatever the target is.
    """
    destination = options.destination
    if destination.is_stdout or (known and (known.is_result_gone or known.has_failed)):
        return
    video = edit.request.shown_video if known is None else known.video
    task_id = known.task_id if known else None
    target = destination.target_of_edit(
        video, edit.request.prompt, edit.identity, task_id, sound=options.sound
    )
    if target is None:
        # The name will be a task's own; whether the folder takes it can be told now.
        check_target_file(destination.target(video, None).path, overwrite=True)
        return
    refuse_source(edit.request.video, target.path)
    _check_free(session, known, target, options, sound=options.sound)
    is_there = known is not None and saved_as(known, target, sound=options.sound) is not None
    if options.sound is not Sound.NEW and not is_there:
        kept = served_destination(target).target(None, None)
        refuse_source(edit.request.video, kept.path)
        _check_free(session, known, kept, options, sound=Sound.NEW)


def _check_free(
    session: Session, known: Record | None, target: Target, options: EditOptions, *, sound: Sound
) -> None:
    if known is None:
        check_target_file(target.path, overwrite=options.overwrite)
        check_sidecar(session, target.path, None, overwrite=options.overwrite)
    else:
        check_target(session, known, target, overwrite=options.overwrite, sound=sound)
