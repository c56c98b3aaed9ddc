"""Submitting an edit: recorded before it is sent, retried with care, and never paid for twice."""

import json
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from omniedit.edits.requests import PreparedEdit, command_line, digest_of_key, prepare
from omniedit.edits.session import Session
from omniedit.errors import (
    NOTHING_SUBMITTED,
    Hint,
    IdempotencyConflictError,
    Interrupted,
    JournalError,
    LocalError,
    ModelRefusedError,
    NotConnectedError,
    OmniEditError,
    OutcomeUnknownError,
    RateLimitedError,
    refuse,
)
from omniedit.events import Submitted
from omniedit.models import AttemptState, EditRequest, Record, Task, TaskError, task_name
from omniedit.policy import Retry, is_certainly_not_accepted, is_transient

_INTERRUPTED: Final = NotConnectedError("interrupted before anything was sent", code="interrupted")
_NO_REPLY: Final = OmniEditError("interrupted before the service answered", code="interrupted")


def submit(session: Session, request: EditRequest, *, accepts_old: bool = False) -> Record:
    """Submit an edit, even if it is known already; return its record, with the task.

    Args:
        request: The request, as typed.
        accepts_old: Replay an attempt of the same request ID whose outcome is unknown, no matter
            how old it is.

    Raises:
        OutcomeUnknownError: If the service may or may not have accepted the edit.
    """
    with ExitStack() as locks:
        with refusal_recorded(session, request) as request_id:
            edit = prepare(session, request)
            # If two processes use the same request ID, the second finds the attempt of the first.
            locks.enter_context(session.sending_lock(request_id))
            attempt = None
            if known_submission(session, request_id, edit) is None:
                _note_known_edit(session, edit)
                attempt = new_submission(session, edit, request_id)
        if attempt is not None:
            return Sending(session, attempt, edit).send()
        from omniedit.edits.settling import settle  # noqa: PLC0415 - a new request ID is the rule

        return settle(session, request_id, accepts_old=accepts_old)


@contextmanager
def refusal_recorded(session: Session, request: EditRequest) -> Generator[str]:
    """Yield the request ID of a call; if the block fails, record the call as a refused attempt.

    Nothing may be sent inside the block.
    """
    request_id = request.request_id or session.new_request_id()
    try:
        yield request_id
    except (OmniEditError, Interrupted) as error:
        reason = _INTERRUPTED if isinstance(error, Interrupted) else error
        with suppress(JournalError):
            session.journal.record_unsent(
                _new_attempt(session, request, request_id),
                TaskError.of(reason),
                context=session.recorded_context,
                fallback_id=session.new_request_id(),
            )
        if isinstance(error, OmniEditError):
            error.about(request_id=request_id)
        else:
            error.hint = NOTHING_SUBMITTED
        raise


def known_submission(session: Session, request_id: str, edit: PreparedEdit) -> Record | None:
    """Return the attempt in the journal with this request ID, unless it was refused.

    Raises:
        InvalidInputError: If the attempt was for another edit, or on another service.
    """
    known = None
    try:
        known = session.journal.find_attempt(request_id)
    except JournalError:
        if session.requires_journal:
            raise
    if known is None:
        return None
    if known.body_digest not in {None, edit.digest}:
        msg = f"request ID {request_id} was used here for another edit"
        hint = "one request ID stands for one edit: choose another, or leave `--request-id` out"
        refuse(msg, code="request_id_taken", hint=hint)
    if known.is_refused:
        return None
    if known.origin != session.origin:
        msg = f"request ID {request_id} was used here at {known.origin}"
        hint = "a request ID belongs to one service: choose another, or leave `--request-id` out"
        refuse(msg, code="other_origin", hint=hint)
    return known


def new_submission(
    session: Session, edit: PreparedEdit, request_id: str, *, deadline: float | None = None
) -> Record:
    """Return the record of a new submission, after uploading the clip if necessary.

    The caller holds `sending_lock` for the request ID, which must be unused in the journal.
    """
    if session.requires_journal:
        session.journal.require_recovered()
    session.require_service()
    clip_url = edit.request.video
    if edit.is_uploaded:
        from omniedit.edits.upload import uploaded_url  # noqa: PLC0415 - a URL needs none of it

        clip_url = uploaded_url(session, edit, deadline=deadline)
    return _new_attempt(session, edit.request, request_id)._replace(
        clock_offset_s=session.service.clock_offset_s,
        identity=edit.identity,
        clip_facts=edit.plan.sent,
        body=edit.body(clip_url=clip_url),
        body_digest=edit.digest,
        clip_sha256=edit.clip_sha256,
        start_s=edit.plan.start_s,
        end_s=edit.plan.end_s,
    )


class Sending:
    """Sends one body under one request ID until it is accepted or refused, or retries run out.

    The service may accept a submission and the reply may still get lost. After that a refusal
    proves nothing: any end without a task is "outcome unknown".

    Args:
        attempt: The submission's record: request ID, exact body, time of the first attempt. The
            caller holds `sending_lock` for its request ID.
        edit: The edit that is newly submitted, and recorded in the journal first; None to replay
            an attempt whose reply was lost.
    """

    def __init__(self, session: Session, attempt: Record, edit: PreparedEdit | None = None) -> None:
        self._session = session
        self._attempt = attempt
        self._edit = edit
        self._request_id = str(attempt.request_id)
        self._recovery_command = attempt.resume_command
        # Since when the service may have accepted it without our knowing; None if it cannot have.
        self._in_doubt_since = session.now() if edit is None else None
        self._ended_by: OmniEditError | None = None  # why its outcome is unknown
        self._is_recorded = False
        self._replays_left = 1

    def send(self, *, deadline: float | None = None) -> Record:
        """Send the submission and return its record, with the task.

        Args:
            deadline: A monotonic instant after which no attempt begins; the policy's budget may
                end earlier. Waiting for `--rate` before the first attempt does not count.

        Raises:
            OutcomeUnknownError: If it may or may not have been accepted.
        """
        session = self._session
        session.outstanding[self._request_id] = self._give_up
        try:
            budget_s = session.policy.submit_budget_s
            latest = session.monotonic() + budget_s
            latest = latest if deadline is None else min(deadline, latest)
            waited_s = session.rate_limiter.wait()
            if session.submission_interval_s:
                latest += waited_s
            retry = session.retry(budget_s=budget_s, deadline=latest)
            while True:
                self._check_time()
                try:
                    return self._post(latest)
                except OmniEditError as error:
                    self._rest(retry, error)
                session.rate_limiter.wait()
        except Interrupted as interrupted:
            self._record_interruption(interrupted)
            raise
        finally:
            if self._in_doubt_since is None:
                session.outstanding.pop(self._request_id, None)

    def _post(self, deadline: float) -> Record:
        """Send the submission once; a new task is recorded and reported before this returns."""
        session = self._session
        in_doubt_since = self._in_doubt_since
        with session.shielded():
            # A signal that arrived while this waited for its turn stops it here, unsent.
            session.check_not_stopping()
            if self._edit is not None and not self._is_recorded:
                # Record it only now: an interruption before this point leaves no trace of it.
                self._write_ahead(self._edit)
                self._is_recorded = True
            if in_doubt_since is None:
                self._in_doubt_since = session.now()
            try:
                task, is_replay = session.service.create_task(
                    self._attempt.body or b"",
                    request_id=self._request_id,
                    # A submission that was sent may have been paid for: allow some time for its
                    # reply, even past the deadline.
                    deadline=session.with_grace(deadline),
                )
            except OmniEditError as error:
                if is_certainly_not_accepted(error):
                    self._in_doubt_since = in_doubt_since
                raise
            session.rate_limiter.speed_up()
            record = self._record_accepted(task, is_replay=is_replay)
        if in_doubt_since is not None and not is_replay:
            from omniedit.edits.settling import warn_of_duplicates  # noqa: PLC0415 - rarely needed

            why = "the service did not mark its reply as a replay"
            warn_of_duplicates(session, record, why=why, deadline=deadline)
        return record

    def _write_ahead(self, edit: PreparedEdit) -> None:
        """Record a new submission in the journal, and note how to recover it without one."""
        session = self._session
        try:
            session.journal.record_attempt(
                self._attempt,
                context=session.recorded_context,
                key_digest=digest_of_key(session.connection.key),
            )
        except LocalError as error:
            if session.requires_journal:
                raise
            session.warn(f"{error.message}; submitting without it")
        else:
            if session.has_journal:
                return
        self._recovery_command = _whole_command(edit.request, self._attempt)

    def _record_accepted(self, task: Task, *, is_replay: bool) -> Record:
        session = self._session
        edit = self._edit
        failure: JournalError | None = None
        self._learn_clock()
        self._warn_of_shared_task(task.task_id)
        try:
            session.journal.record_accepted(self._request_id, task, origin=session.origin)
        except JournalError as error:
            # Do not hide the service's reply behind it.
            failure = error
        self._in_doubt_since = None
        record = self._attempt = self._attempt.with_task(task)._replace(body=None)
        estimate = None if edit is None else edit.plan.estimated_credits
        session.report(Submitted(record=record, is_replay=is_replay, estimated_credits=estimate))
        if failure:
            session.warn(f"{failure.message}; note the task ID: {task.task_id}")
        return record

    def _warn_of_shared_task(self, task_id: str) -> None:
        """Warn if the service answers with the task of a submission that asked for another edit."""
        known: Record | None = None
        with suppress(JournalError):
            known = self._session.journal.find_task(task_id)
        if known is None or known.request_id in {None, self._request_id}:
            return
        if known.body_digest not in {None, self._attempt.body_digest}:
            self._session.warn(
                f"the service answered with {task_name(task_id)}, which is already the task of"
                f" another edit, submission {known.request_id}: its result may be that edit's"
            )

    def _check_time(self) -> None:
        """Refuse to replay once the service may have forgotten the request ID.

        That happens after this machine was suspended, its clock was changed, or `--rate` made the
        replay wait very long.
        """
        session = self._session
        policy = session.policy
        if self._in_doubt_since is None:
            return
        elapsed_s = session.now() - self._in_doubt_since
        latest_s = policy.replay_window_s + policy.clock_skew_s
        if not -policy.clock_skew_s <= elapsed_s <= latest_s:
            msg = "too much time passed, or its clock was changed, before this machine could ask again"
            raise self._end(OmniEditError(msg))

    def _rest(self, retry: Retry, error: OmniEditError) -> None:
        """Rest before the next attempt, after recording a lost reply.

        Raises:
            OmniEditError: If there is no next attempt.
        """
        if not is_certainly_not_accepted(error):
            if self._replays_left == 0:
                raise self._end(error)
            self._replays_left -= 1
            # Record this first, in case the process dies during the rest.
            self._record_unknown(error)
        elif not is_transient(error):
            raise self._end(error)
        rest_s = retry.next_rest_s(error)
        if rest_s is None:
            raise self._end(error)
        if isinstance(error, RateLimitedError):
            # Other submissions would hit the same limit: hold them back too.
            self._session.rate_limiter.slow_down(rest_s)
        else:
            self._session.sleep(rest_s)

    def _end(self, error: OmniEditError) -> OmniEditError:
        """Record an end without a task; return the error to raise."""
        session = self._session
        if isinstance(error, IdempotencyConflictError) or self._in_doubt_since is not None:
            ended = self._unsettled_error(error)
            if session.service.clock_offset_s is None:
                # The clock offset is needed later to find this attempt in the account's list.
                with suppress(OmniEditError):
                    session.service.get_time(deadline=session.a_moment_from_now())
            self._record_unknown(ended)
            self._ended_by = ended
            return ended
        self._record_refused(error)
        if isinstance(error, ModelRefusedError) and self._edit is not None:
            error.hint = _other_model_hint(self._edit.request, suggestion=error.hint)
        return error.about(request_id=self._request_id)

    def _unsettled_error(self, error: OmniEditError) -> OmniEditError:
        """Return the error of a submission that the user has to settle, and how."""
        request_id = self._request_id
        if isinstance(error, IdempotencyConflictError):
            hint = Hint("{} shows the task it became", "list --remote")
            if self._session.has_journal:
                hint = Hint(
                    "{} shows the task it became: {} settles it here, {} records it elsewhere",
                    "list --remote",
                    f"{self._attempt.resume_command} --as TASK",
                    "list --remote --adopt",
                )
            return IdempotencyConflictError(
                f"request ID {request_id} is held by another request: {error.message}",
                code=error.code,
                hint=hint,
                request_id=request_id,
                http_status=error.http_status,
            )
        return OutcomeUnknownError(
            f"submission {request_id} may or may not have been accepted: {error.message}",
            hint=Hint("{} settles it without paying twice", self._recovery_command),
            request_id=request_id,
            http_status=error.http_status,
        )

    def _record_interruption(self, interrupted: Interrupted) -> None:
        if self._attempt.task is not None:
            return
        given_up = self._give_up()
        if given_up is None:
            self._record_refused(_INTERRUPTED)
            interrupted.hint = NOTHING_SUBMITTED
            return
        _, interrupted.unknown_outcome = given_up
        if not self._session.is_batch:  # whose report names it
            words = f"submission {self._request_id} may have been accepted: {{}} settles it"
            self._session.warn(Hint(words, self._recovery_command))

    def _give_up(self) -> tuple[Record, OmniEditError] | None:
        """Return the attempt, and why its outcome is unknown; None if it was certainly not accepted.

        Unless it has ended, record that the reply did not arrive: a thread may still wait for it.
        """
        if self._in_doubt_since is None:
            return None
        if self._ended_by is None:
            self._record_unknown(_NO_REPLY)
            self._ended_by = self._unsettled_error(_NO_REPLY)
        return self._attempt, self._ended_by

    def _record_refused(self, error: OmniEditError) -> None:
        # A failing journal must not hide what the service said.
        with suppress(JournalError):
            self._session.journal.record_refused(self._request_id, TaskError.of(error))

    def _record_unknown(self, error: OmniEditError) -> None:
        self._learn_clock()
        reason = TaskError.of(error)
        offset_s = self._attempt.clock_offset_s
        with suppress(JournalError):
            self._session.journal.record_unknown(self._request_id, reason, clock_offset_s=offset_s)

    def _learn_clock(self) -> None:
        """Note the clock offset of a new attempt; for an older one the clock may have changed."""
        offset_s = self._session.service.clock_offset_s
        if self._edit is not None and self._attempt.clock_offset_s is None:
            self._attempt = self._attempt._replace(clock_offset_s=offset_s)


def _new_attempt(session: Session, request: EditRequest, request_id: str) -> Record:
    return Record(
        request_id=request_id,
        task=None,
        status=AttemptState.SENDING,
        created_at=session.now(),
        video=request.shown_video,
        prompt=request.prompt,
        origin=session.origin,
        model=request.model,
        parent=request.parent,
    )


def _note_known_edit(session: Session, edit: PreparedEdit) -> None:
    known = None
    with suppress(JournalError):
        known = session.journal.find_edit(edit.identity, origin=session.origin)
    if known is None:
        return
    what = f"is known here: {known.shown_status}"
    if known.task is not None:
        what = f"is known here: {task_name(known.task_id)} ({known.shown_status})"
    elif known.status == AttemptState.UNKNOWN:
        what = f"was submitted as {known.request_id}, with unknown outcome"
    session.note(Hint(f"the same edit {what}; {{}} would not pay again", "edit"))


def _whole_command(request: EditRequest, attempt: Record) -> str:
    """Return the recovery command for a submission without a journal: the complete `submit`."""
    options = ["--request-id", str(attempt.request_id)]
    if request.callback_url:
        options = ["--callback-url", request.callback_url, *options]
    # Take the URL from the body: it may be an upload, which the request does not know.
    [clip_url] = json.loads(attempt.body or b"")["video_urls"]
    return command_line("submit", request._replace(video=clip_url, parent=None), *options)


def _other_model_hint(request: EditRequest, *, suggestion: str | None) -> str:
    """Return a hint with the setting that chose the refused model, and how to choose another."""
    kind, _, name = request.model_source.partition(": ")
    source = {"default": "omniedit's default", "file": f"`model` in {name}"}.get(kind, name)
    suggested = f"; the service suggests {suggestion}" if suggestion else ""
    how = "there" if kind == "manifest" else "with `--model ID`"
    return f"{request.model} was chosen by {source}{suggested}; choose another {how}"
