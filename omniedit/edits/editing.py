"""One edit from sentence to file, in the sense of make: safe to repeat."""

from contextlib import nullcontext
from dataclasses import dataclass, replace

from omniedit.edits.looking import refresh
from omniedit.edits.ports import Session
from omniedit.edits.requests import Draft, identity_of, parse_draft
from omniedit.edits.resuming import record_call, replay, sending_lock
from omniedit.edits.saving import check_target, failure_of, save, save_from_here, saved_as
from omniedit.edits.submission import (
    known_submission,
    refusal_recorded,
    render_cost,
    submit_new,
)
from omniedit.edits.targets import Destination, Target
from omniedit.edits.waiting import Waiting, report_end
from omniedit.errors import LocalError, ResultGoneError, TargetExistsError
from omniedit.events import Noted
from omniedit.models import EditRequest, Record, TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class EditOptions:
    """How an edit is made.

    `again` pays anew for an edit that is known; `overwrite` replaces the target whatever it is.
    """

    destination: Destination
    again: bool = False
    overwrite: bool = False
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunEdit:
    """An edit that has a task at the service: just submitted, or known from before."""

    request: EditRequest
    record: Record
    is_fresh: bool

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.record.task is not None and self.record.task.is_terminal


def edit(session: Session, draft: Draft, options: EditOptions) -> Record:
    """Submit an edit where it is not known, follow it to its end, and save its result.

    Raises:
        OmniEditError: What kept it; the journal and the message say how it goes on.
    """
    deadline = session.monotonic() + options.timeout_s
    begun = begin_edit(session, draft, options)
    if begun.has_ended:
        report_end(session, begun.record)
        return deliver_edit(session, begun, options)
    waiting = Waiting(session, timeout_s=max(0.0, deadline - session.monotonic()))
    waiting.add(begun.record, is_fresh=begun.is_fresh)
    for record, error in waiting.to_the_end():
        if error is not None:
            raise error.about(task_id=record.task_id, request_id=record.request_id)
        begun = replace(begun, record=record, is_fresh=True)
    delivered = deliver_edit(session, begun, options)
    if begun.request.estimated_credits is not None and delivered.task is not None:
        cost = render_cost(begun.request.estimated_credits, [delivered.task])
        session.report(Noted(message=cost))
    return delivered


def begin_edit(
    session: Session, draft: Draft, options: EditOptions, *, identity: str | None = None
) -> BegunEdit:
    """Return the task of an edit, submitted where it is not known.

    Args:
        session: What it calls on.
        draft: The edit as typed.
        options: How.
        identity: Which edit it was when it was planned.

    Raises:
        OmniEditError: It has none; the journal says why.
    """
    request_id = draft.request_id or session.new_request_id()
    with refusal_recorded(session, request_id, draft):
        request = parse_draft(session, draft)
        if identity not in {None, identity_of(request)}:
            # Nobody has asked for this one.
            msg = f"{draft.video} changed after it was looked at"
            hint = "run the same command again once nothing writes to it any more"
            raise LocalError(msg, code="clip_changed", hint=hint)
    return _find_or_submit(session, draft, request, request_id, options)


def known_edit(session: Session, identity: str, options: EditOptions) -> Record | None:
    """Return the attempt that this edit goes on with; None where it is to be submitted."""
    if options.again:
        return None
    attempts = session.journal.known_edits(identity, origin=session.origin)
    known = next(iter(attempts), None)
    for attempt in attempts:
        target = options.destination.target_for_edit(attempt, identity)
        if target is not None and saved_as(session, attempt, target) is not None:
            # Its file is there and whole, whatever became of later ones.
            return attempt
        if _comes_first(session, attempt, options):
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


def _comes_first(session: Session, attempt: Record, options: EditOptions) -> bool:
    """Return whether an attempt is gone on with wherever the file of an older one may lie."""
    if attempt.is_result_gone or (attempt.task is not None and attempt.task.has_failed):
        return False
    if options.destination.is_named_folder:
        # Each attempt's file has a name of its own there.
        return True
    # Paid for with `--again --force`, and cut off before it replaced the older one.
    return options.overwrite and not any(session.results.is_whole(file) for file in attempt.saved)


def deliver_edit(session: Session, begun: BegunEdit, options: EditOptions) -> Record:
    """Save the result of an edit that has ended.

    Raises:
        TaskFailedError: It failed or was cancelled.
        ResultGoneError: Its result is gone.
        OmniEditError: The service or the disk said no.
    """
    record = begun.record
    if record.task is not None and record.task.has_failed:
        raise failure_of(record)
    destination = options.destination
    # The journal drops the query of a clip's URL, never its name.
    record = replace(record, video=record.video or begun.request.video)
    target = None
    if not destination.is_stdout:
        target = destination.target_for_edit(record, identity_of(begun.request))
    if target is not None:
        here = save_from_here(session, record, target, overwrite=options.overwrite)
        if here is not None:
            return here
        destination = Destination(target.shown)
    if record.is_result_gone and target is not None:
        _refuse_taken(session, record, target, options)
    if not begun.is_fresh:
        # The links of a known task may have changed since.
        record = refresh(session, record)
    return save(session, record, destination, overwrite=options.overwrite)


def _refuse_taken(session: Session, record: Record, target: Target, options: EditOptions) -> None:
    """Report a result that is gone as gone, though its target is taken as well.

    Raises:
        ResultGoneError: The target is taken.
    """
    try:
        check_target(session, record, target, overwrite=options.overwrite)
    except TargetExistsError:
        msg = f"the result of task {record.task_id} is gone"
        raise ResultGoneError(msg, task_id=record.task_id) from None


def _find_or_submit(
    session: Session, draft: Draft, request: EditRequest, request_id: str, options: EditOptions
) -> BegunEdit:
    """Return the task of the edit, submitted where it is not known.

    Look-up, upload, write-ahead row and submission are one critical section over all processes:
    of two that run the same edit at once one submits, and the other follows its task.
    """
    identity = identity_of(request)
    with session.journal.editing(identity) if session.has_journal else nullcontext():
        with refusal_recorded(session, request_id, draft):
            known = known_edit(session, identity, options)
        if known is not None and known.task is None:
            # Settled with its own request ID, whatever ID this call brought.
            request_id = known.request_id or request_id
        with sending_lock(session, request_id):
            with refusal_recorded(session, request_id, draft):
                known = known or known_submission(session, request_id, request)
                _check_target(session, known or _unsent(draft, request_id), identity, options)
            identified = replace(draft, request_id=request_id)
            return _begin(session, identified, request, known, options)


def _begin(
    session: Session,
    draft: Draft,
    request: EditRequest,
    known: Record | None,
    options: EditOptions,
) -> BegunEdit:
    if known is None:
        record = submit_new(
            session,
            draft,
            request,
            request_id=draft.request_id or session.new_request_id(),
            budget_s=options.timeout_s,
        )
        return BegunEdit(request=request, record=record, is_fresh=True)
    if known.task is None:
        return BegunEdit(request=request, record=replay(session, known), is_fresh=False)
    record_call(session, known.request_id or "")
    session.report(Noted(message=f"known here as task {known.task_id} ({known.status})"))
    return BegunEdit(request=request, record=known, is_fresh=False)


def _check_target(session: Session, record: Record, identity: str, options: EditOptions) -> None:
    """Refuse a target before anything is paid or waited for.

    An edit that is known to bring nothing is reported as that, whatever the target is.
    """
    if record.is_result_gone or (record.task is not None and record.task.has_failed):
        return
    if not options.destination.is_stdout:
        target = options.destination.target_for_edit(record, identity)
        if target is not None:
            check_target(session, record, target, overwrite=options.overwrite)
        else:
            # The name will be a task's own; whether the folder takes it can be told now.
            place = options.destination.target_for(record)
            session.results.check_target(place.path, overwrite=True)


def _unsent(draft: Draft, request_id: str) -> Record:
    return Record(
        request_id=request_id,
        task=None,
        status=TaskStatus.SENDING,
        created_at=0.0,
        video=draft.video,
        prompt=draft.prompt,
    )
