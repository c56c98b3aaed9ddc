"""Sending one submission: retries while it is certainly not accepted, and at most one replay."""

import json
from contextlib import suppress
from typing import Final

from omniedit.edits.reads import render_oldest_instant, tasks_since
from omniedit.edits.requests import PreparedEdit, digest_of_key
from omniedit.edits.session import Session
from omniedit.errors import (
    NOTHING_SUBMITTED,
    Hint,
    IdempotencyConflictError,
    Interrupted,
    JournalError,
    LocalError,
    ModelRefusedError,
    OmniEditError,
    OutcomeUnknownError,
    RateLimitedError,
)
from omniedit.events import Retrying, Submitted
from omniedit.models import EditRequest, Record, Task, TaskError, task_name
from omniedit.policy import backoff_s, is_certainly_not_accepted, is_transient, longest_retry_s
from omniedit.sanitize import quoted

INTERRUPTED: Final = TaskError(
    code="interrupted", message="interrupted before anything was sent", kind="not_connected"
)

_NO_REPLY: Final = TaskError(
    code="interrupted",
    message="interrupted before the service answered",
    kind=OutcomeUnknownError.kind,
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
        self._session, self._attempt, self._edit = session, attempt, edit
        self._request_id = attempt.request_id or ""
        self._recovery_command = resume_command(self._request_id)
        self._is_recorded = edit is None
        self._is_reply_lost = edit is None
        """Whether a reply was lost, so that the service may have accepted the submission."""
        self._is_in_flight = False
        self._is_settled = False
        self._replays_left = 1
        self._began, self._began_at = session.monotonic(), session.now()

    def send(self, *, deadline: float | None = None) -> Record:
        """Send the submission and return its record, with the task.

        Args:
            deadline: A monotonic instant after which no attempt begins; the policy's budget may
                end earlier.

        Raises:
            OutcomeUnknownError: If it may or may not have been accepted.
            OmniEditError: If it was certainly not accepted.
        """
        session = self._session
        latest = self._began + session.policy.submit_budget_s
        deadline = latest if deadline is None else min(deadline, latest)
        try:
            number = 0
            while True:
                number += 1
                rested_s = session.rate_limiter.wait()
                if number == 1 and session.rate_limiter.has_fixed_rate:
                    # Waiting for `--rate` must not use up the time for retries.
                    self._began += rested_s
                    self._began_at += rested_s
                    deadline += rested_s
                self._check_time()
                try:
                    record, is_replay = self._post(deadline)
                except OmniEditError as error:
                    rest_s = self._rest_before_next(error, number=number, deadline=deadline)
                    session.report(Retrying(message=error.message, delay_s=rest_s, attempt=number))
                    if isinstance(error, RateLimitedError):
                        # Other submissions would hit the same limit: hold them back too.
                        session.rate_limiter.slow_down(rest_s)
                    else:
                        session.sleep(rest_s)
                else:
                    if self._is_reply_lost and not is_replay:
                        why = "the service did not mark its reply as a replay"
                        warn_of_duplicates(session, record, why=why, deadline=deadline)
                    return record
        except Interrupted as interrupted:
            self._record_interruption(interrupted)
            raise

    def _post(self, deadline: float) -> tuple[Record, bool]:
        """Send the submission once; a new task is recorded and reported before this returns."""
        session = self._session
        with session.shielded():
            # A signal that arrived while this waited for its turn stops it here, unsent.
            session.check_not_stopping()
            if not self._is_recorded:
                # Record it only now: an interruption before this point leaves nothing in doubt.
                self._write_ahead()
                self._is_recorded = True
            self._is_in_flight = True
            session.outstanding[self._request_id] = self._give_up
            # A submission that was sent may have been paid for: allow some time for its reply,
            # even past the deadline.
            grace = session.monotonic() + session.policy.grace_s
            try:
                task, is_replay = session.service.create_task(
                    self._attempt.body or b"",
                    request_id=self._request_id,
                    deadline=max(deadline, grace),
                )
            except OmniEditError as error:
                self._is_in_flight = False
                self._is_reply_lost = self._is_reply_lost or not is_certainly_not_accepted(error)
                raise
            finally:
                session.outstanding.pop(self._request_id, None)
            session.rate_limiter.speed_up()
            return self._record_accepted(task, is_replay=is_replay), is_replay

    def _write_ahead(self) -> None:
        """Record a new submission in the journal, and note how to recover it without one."""
        session = self._session
        is_recorded = session.has_journal
        try:
            session.journal.record_attempt(
                self._attempt,
                context=session.recorded_context,
                key_digest=digest_of_key(session.connection.key),
            )
        except LocalError as error:
            if session.requires_journal:
                raise
            is_recorded = False
            session.warn(f"{error.message}; submitting without it")
        if self._edit is not None and not is_recorded:
            self._recovery_command = _whole_command(self._edit.request, self._attempt)

    def _record_accepted(self, task: Task, *, is_replay: bool) -> Record:
        session, edit = self._session, self._edit
        failure: JournalError | None = None
        self._learn_clock()
        self._warn_of_shared_task(task.task_id)
        try:
            session.journal.record_accepted(self._request_id, task, origin=session.origin)
        except JournalError as error:
            # Do not hide the service's reply behind it.
            failure = error
        self._is_settled = True
        record = self._attempt.with_task(task)._replace(body=None)
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
        """Refuse to replay after this machine was suspended, or its clock was changed.

        Raises:
            OutcomeUnknownError: If the service may have forgotten the request ID.
        """
        session, policy = self._session, self._session.policy
        elapsed_s = session.now() - self._began_at
        latest_s = policy.replay_window_s + policy.clock_skew_s
        if self._is_reply_lost and not -policy.clock_skew_s <= elapsed_s <= latest_s:
            msg = "this machine was suspended, or its clock was changed, before it could ask again"
            raise self._end(OmniEditError(msg))

    def _rest_before_next(self, error: OmniEditError, *, number: int, deadline: float) -> float:
        """Return how long to rest before the next attempt, after recording a lost reply.

        Raises:
            OmniEditError: If there is no next attempt.
        """
        session = self._session
        if not is_certainly_not_accepted(error):
            if self._replays_left == 0:
                raise self._end(error)
            self._replays_left -= 1
            # Record this first, in case the process dies during the rest.
            self._record_unknown(TaskError.of(error))
        elif not is_transient(error):
            raise self._end(error)
        rest_s = backoff_s(
            number,
            retry_after_s=error.retry_after_s,
            jitter=session.jitter,
            policy=session.policy,
        )
        deadline = min(deadline, self._began + longest_retry_s(error, session.policy))
        if session.monotonic() + rest_s > deadline:
            raise self._end(error)
        return rest_s

    def _end(self, error: OmniEditError) -> OmniEditError:
        """Record an end without a task; return the error to raise."""
        session = self._session
        if isinstance(error, IdempotencyConflictError) or self._is_reply_lost:
            ended = self._unsettled_error(error)
            if session.service.clock_offset_s is None:
                # The clock offset is needed later to find this attempt in the account's list.
                with suppress(OmniEditError):
                    session.service.get_time(
                        deadline=session.monotonic() + session.policy.last_reply_s
                    )
            self._record_unknown(TaskError.of(ended))
            return ended
        self._record_refused(TaskError.of(error))
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
                    f"submit --resume {request_id} --as TASK",
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
        if self._is_settled:
            return
        if self._is_in_flight or self._is_reply_lost:
            _, interrupted.unknown_outcome = self._give_up()
            message = Hint(
                f"submission {self._request_id} may have been accepted: {{}} settles it",
                self._recovery_command,
            )
            self._session.warn(message)
        else:
            self._record_refused(INTERRUPTED)
            interrupted.hint = NOTHING_SUBMITTED

    def _give_up(self) -> tuple[Record, OmniEditError]:
        """Record that the reply did not arrive, perhaps for a thread that still waits for it."""
        self._record_unknown(_NO_REPLY)
        return self._attempt, self._unsettled_error(OmniEditError(_NO_REPLY.message))

    def _record_refused(self, reason: TaskError) -> None:
        # A failing journal must not hide what the service said.
        with suppress(JournalError):
            self._session.journal.record_refused(self._request_id, reason)

    def _record_unknown(self, reason: TaskError) -> None:
        self._learn_clock()
        with suppress(JournalError):
            self._session.journal.record_unknown(
                self._request_id, reason, clock_offset_s=self._attempt.clock_offset_s
            )

    def _learn_clock(self) -> None:
        """Note the clock offset of a new attempt; for an older one the clock may have changed."""
        offset_s = self._session.service.clock_offset_s
        is_new = self._edit is not None
        if is_new and self._attempt.clock_offset_s is None and offset_s is not None:
            self._attempt = self._attempt._replace(clock_offset_s=offset_s)


def warn_of_duplicates(
    session: Session, record: Record, *, why: str, deadline: float | None = None
) -> None:
    """Warn of other tasks in the account since an attempt, or that duplicates cannot be ruled out.

    Args:
        record: The attempt, with its task.
        why: Why there may be a second task, for the message.
        deadline: A monotonic instant at which to stop reading the account's list.
    """
    budget_s = session.policy.duplicates_budget_s
    if deadline is not None:
        budget_s = max(0.0, min(budget_s, deadline - session.monotonic()))
    try:
        tasks, gap = tasks_since(session, record, budget_s=budget_s)
        if gap is None and all(task.task_id != record.task_id for task in tasks):
            # A list that lags behind would not show a second task either.
            gap = f"the account's list does not even show {task_name(record.task_id)}"
        others = [
            task.task_id
            for task in tasks
            if task.task_id != record.task_id and not was_submitted_here(session, task)
        ]
    except OmniEditError as error:
        session.warn(
            f"{why}, so a second task may have been paid for; the account's tasks cannot be read"
            f" ({error.message})"
        )
        return
    if others:
        session.warn(
            f"{why}; the account lists other tasks from that time, which may be paid duplicates:"
            f" {', '.join(others)}"
        )
    elif gap is not None or session.service.clock_offset_s is None:
        # If the list has gaps, or any task might be recent without the clock offset, a duplicate
        # cannot be ruled out.
        reason = "" if gap is None else f" ({gap})"
        session.warn(f"{why}, so a second task may have been paid for{reason}")
    else:
        since = render_oldest_instant(session, record)
        session.note(f"accepted once: the account lists no second task since {since}")


def was_submitted_here(session: Session, task: Task) -> bool:
    """Return whether a task is known to come from a submission in this journal.

    An adopted task does not count: it may come from any submission, even the unsettled one.
    """
    known = session.journal.find_task(task.task_id)
    return known is not None and known.request_id is not None


def resume_command(request_id: str) -> str:
    """Return the recovery command of a submission, without `omniedit`."""
    return f"submit --resume {request_id}"


def _whole_command(request: EditRequest, attempt: Record) -> str:
    """Return the recovery command for a submission without a journal: the complete `submit`."""
    options = ["--request-id", attempt.request_id or ""]
    if request.model_source != "default":
        options = ["--model", request.model, *options]
    if request.callback_url:
        options = ["--callback-url", request.callback_url, *options]
    # Take the URL from the body: it may be an upload, which the request does not know.
    positional = [*json.loads(attempt.body or b"")["video_urls"], request.prompt]
    is_like_option = request.prompt.startswith("-")
    words = [*options, "--", *positional] if is_like_option else [*positional, *options]
    return quoted("submit", *words)


def _other_model_hint(request: EditRequest, *, suggestion: str | None) -> str:
    """Return a hint with the setting that chose the refused model, and how to choose another."""
    kind, _, name = request.model_source.partition(": ")
    source = {"default": "omniedit's default", "file": f"`model` in {name}"}.get(kind, name)
    suggested = f"; the service suggests {suggestion}" if suggestion else ""
    how = "there" if kind == "manifest" else "with `--model ID`"
    return f"{request.model} was chosen by {source}{suggested}; choose another {how}"
