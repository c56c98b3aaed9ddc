"""One edit from prompt to saved file; like `make`, safe to repeat."""

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from omniedit.downloads.placement import check_writable
from omniedit.edits.clips import is_whole
from omniedit.edits.poller import Poller, report_end
from omniedit.edits.reads import refresh
from omniedit.edits.requests import PreparedEdit, prepare
from omniedit.edits.save import (
    announce_if_there,
    check_sound,
    completed_task,
    save,
    save_local_copy,
    save_with_sound,
    with_sound,
)
from omniedit.edits.session import Session
from omniedit.edits.settling import record_call, settle
from omniedit.edits.submit import Sending, known_submission, new_submission, refusal_recorded
from omniedit.edits.targets import (
    Destination,
    Target,
    check_target,
    default_name,
    find_file_at,
)
from omniedit.errors import (
    Hint,
    OutcomeUnknownError,
    ResultGoneError,
    TargetExistsError,
)
from omniedit.events import Known
from omniedit.evolink.uploads import clip_changed_error
from omniedit.models import EditRequest, Record, Sound, may_be_resubmitted, task_name


class EditOptions(NamedTuple):
    """The options of an edit."""

    destination: Destination
    timeout_s: float
    sound: Sound = Sound.NEW
    again: bool = False  # submit again, even if already done (charged again)

    @property
    def may_be_known(self) -> bool:
        """Whether an edit that is known here needs no clip."""
        return not self.again and self.sound is not Sound.ORIGINAL

    def target_of(self, edit: PreparedEdit, known: Record | None) -> Target | None:
        """Return the target of an edit's result, given its attempt if one is known.

        None if it goes to standard output, or its name depends on an unknown task ID.
        """
        # The journal stores a clip's URL without its query, which does not matter for the name.
        video = (known.video if known else None) or edit.request.shown_video
        task_id = known.task_id if known else None
        destination = self.destination
        if destination.text is None:
            name = default_name(video, edit.request.prompt, edit.identity, sound=self.sound)
            return destination.named(name, self.sound)
        if destination.is_named_folder and task_id is None:
            return None
        return destination.target(video, task_id, sound=self.sound)


class BegunEdit(NamedTuple):
    """An edit that has a task on the service, just submitted or known already."""

    edit: PreparedEdit
    record: Record
    is_fresh: bool
    deadline: float  # monotonic


def edit(session: Session, request: EditRequest, options: EditOptions) -> Record:
    """Submit an edit unless it is known, wait for it to end, and save its result."""
    begun = begin_edit(session, request, options)
    if not begun.record.is_open:
        report_end(session, begun.record)
        return deliver_edit(session, begun, options)
    poller = Poller(session, timeout_s=options.timeout_s)
    poller.add(begun.record, is_fresh=begun.is_fresh, deadline=begun.deadline)
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
    """Submit an edit unless it is known, and return it with its task.

    Look-up, upload, journal entry and submission are one critical section across processes: if two
    processes run the same edit at the same time, one submits and the other follows its task.

    An edit whose clip has changed since it was planned is refused.
    """
    deadline = session.monotonic() + options.timeout_s
    with ExitStack() as locks:
        with refusal_recorded(session, request) as request_id:
            check_sound(options.sound)
            # A known edit costs nothing, so the limit does not apply yet.
            unlimited = request._replace(max_credits=None)
            may_be_known = options.may_be_known
            edit = prepare(session, unlimited, deadline=deadline, may_be_known=may_be_known)
            _check_unchanged(edit, planned_identity)
            locks.enter_context(session.locked("editing", edit.identity, deadline=deadline))
            known = known_edit(session, edit, options)
            # An unsettled submission is settled with its own request ID, not the one of this call.
            own_id = known.request_id if known and known.is_unsettled else None
            locks.enter_context(session.sending_lock(own_id or request_id, deadline=deadline))
            known = known or known_submission(session, request_id, edit)
            if known is not None and options.again:
                session.warn(f"`--again` has no effect: request ID {request_id} is known here")
            if known is None and (request.max_credits is not None or not edit.has_clip):
                identity = edit.identity
                edit = prepare(session, request, deadline=deadline)
                _check_unchanged(edit, identity)
            _check_target(session, known, edit, options)
            attempt = known or new_submission(session, edit, request_id, deadline=deadline)
        if known is None:
            record = _send_new(session, edit, attempt, options, deadline=deadline)
        elif known.task is None:
            record = settle(session, str(known.request_id), deadline=deadline)
        else:
            record = known
            _report_known(session, known)
    return BegunEdit(edit=edit, record=record, is_fresh=known is None, deadline=deadline)


def known_edit(session: Session, edit: PreparedEdit, options: EditOptions) -> Record | None:
    """Return the attempt that this edit continues; None if the edit is to be submitted."""
    if options.again:
        return None
    attempts = session.journal.known_edits(edit.identity, origin=session.origin)
    known = next(iter(attempts), None)
    for attempt in attempts:
        target = options.target_of(edit, attempt)
        if target is not None and find_file_at(session, attempt, target) is not None:
            # The file of this attempt is there and whole: use it, whatever happened to later ones.
            return attempt
        if _takes_precedence(session, attempt, options):
            known = attempt
            break
    if known is None or known.task is None:
        return known
    return None if may_be_resubmitted(known.status, known.task.error) else known


def deliver_edit(session: Session, begun: BegunEdit, options: EditOptions) -> Record:
    """Save the result of an edit that has ended.

    Raises:
        TaskFailedError: If the task failed or was cancelled.
        ResultGoneError: If the result is gone.
    """
    completed_task(begun.record)
    video = begun.record.video or begun.edit.request.shown_video
    record = begun.record._replace(video=video)
    begun = begun._replace(record=record)
    target = options.target_of(begun.edit, record)
    if options.sound is Sound.NEW or target is None:
        return _deliver_as_served(session, begun, target, options)
    targets = _targets_like(target, record)
    if all(find_file_at(session, record, each) for each in targets):
        for each in targets:
            record = announce_if_there(session, record, each) or record
        return record
    record = _deliver_as_served(session, begun, target.served, options)
    for index, each in enumerate(_targets_like(target, record)):
        served = find_file_at(session, record, target.served.numbered(index))
        if served is not None:
            record = save_with_sound(
                session, begun.edit, record, served, each, deadline=begun.deadline
            )
    return record


def _check_unchanged(edit: PreparedEdit, identity: str | None) -> None:
    """Refuse an edit that is not the one that was planned: its clip has changed since."""
    if identity not in {None, edit.identity}:
        raise clip_changed_error(edit.request.video)


def _targets_like(target: Target, record: Record) -> list[Target]:
    """Return the targets of all results of a task, given the target of the first."""
    return [target.numbered(index) for index in range(max(1, len(record.result_urls)))]


def _deliver_as_served(
    session: Session, begun: BegunEdit, target: Target | None, options: EditOptions
) -> Record:
    record = begun.record
    if target is not None:
        saved = save_local_copy(session, record, target, deadline=begun.deadline)
        if saved is not None:
            return saved
    if record.is_result_gone and target is not None:
        _refuse_taken(session, record, target)
    if not begun.is_fresh:
        # The links of a known task may have changed in the meantime.
        record = refresh(session, record, deadline=begun.deadline)

    def stream_with_sound(path: Path) -> None:
        sound = options.sound
        name = "standard output"
        deadline = begun.deadline
        with with_sound(session, begun.edit, path, sound, name, deadline=deadline) as changed:
            session.stream_out(changed)

    stream_out = None if options.sound is Sound.NEW else stream_with_sound
    return save(session, record, target, deadline=begun.deadline, stream_out=stream_out)


def _send_new(
    session: Session,
    edit: PreparedEdit,
    attempt: Record,
    options: EditOptions,
    *,
    deadline: float,
) -> Record:
    """Submit an edit and return its record; if the outcome is unknown, hint at the same command."""
    try:
        return Sending(session, attempt, edit).send(deadline=deadline)
    except OutcomeUnknownError as error:
        if session.has_journal and isinstance(error.hint, Hint):
            but = " without `--again`" if options.again else " again"
            words = f"run the same command{but}; or {error.hint.text}"
            error.hint = Hint(words, *error.hint.commands)
        raise


def _report_known(session: Session, known: Record) -> None:
    record_call(session, known.request_id or "")
    session.report(Known(record=known))
    name = task_name(known.task_id)
    session.note(f"known here as {name} ({known.shown_status}); nothing is paid again")


def _takes_precedence(session: Session, attempt: Record, options: EditOptions) -> bool:
    """Return whether this attempt is continued even if an older one has its file at the target."""
    if attempt.is_result_gone or attempt.has_failed:
        return False
    if options.destination.is_named_folder:
        # There the file of each attempt has its own name.
        return True
    # It was paid for with `--again --force`, but interrupted before it replaced the older file.
    return options.destination.overwrite and not any(
        is_whole(session, file) for file in attempt.saved
    )


def _refuse_taken(session: Session, record: Record, target: Target) -> None:
    """Report a lost result as gone even if its target is taken as well."""
    try:
        check_target(session, record, target, clip_sha256=record.clip_sha256)
    except TargetExistsError:
        msg = f"the result of {task_name(record.task_id)} is gone"
        raise ResultGoneError(msg, task_id=record.task_id) from None


def _check_target(
    session: Session, known: Record | None, edit: PreparedEdit, options: EditOptions
) -> None:
    """Check that the target can be written, before anything is paid or waited for.

    A known edit that failed or lost its result is not checked: it is reported as such later.
    """
    unnamed = options.destination.target(edit.request.shown_video, None)
    if unnamed is None or (known and (known.is_result_gone or known.has_failed)):
        return
    target = options.target_of(edit, known)
    if target is None:
        # The file name will include the task ID; for now, check that the folder can be written.
        check_writable(unnamed.path, overwrite=True)
        return
    checked = [target]
    if target.sound is not Sound.NEW:
        is_saved = known is not None and find_file_at(session, known, target) is not None
        if not is_saved:
            checked.append(target.served)
    sha256 = edit.clip_sha256
    video = edit.request.video
    for each in checked:
        check_target(session, known, each, clip_sha256=sha256, video=video)
