"""One submission on its way: what is certain about it so far, and the one replay it may have."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from typing import Final

from omniedit.edits.reads import render_oldest_instant, tasks_since
from omniedit.edits.session import Session
from omniedit.errors import (
    Hint,
    IdempotencyConflictError,
    Interrupted,
    JournalError,
    OmniEditError,
    OutcomeUnknownError,
    RateLimitedError,
    TargetBusyError,
    WaitTimeoutError,
)
from omniedit.events import Retrying, Submitted
from omniedit.models import Record, Task, TaskError
from omniedit.policy import (
    backoff_s,
    is_certainly_not_accepted,
    is_transient,
    longest_retry_s,
)

INTERRUPTED: Final = TaskError(
    code="interrupted", message="interrupted before anything was sent", kind="not_connected"
)

_NO_REPLY: Final = TaskError(
    code="interrupted",
    message="interrupted before the service answered",
    kind=OutcomeUnknownError.kind,
)


def say_nothing_was_submitted(session: Session) -> None:
    """Say that a call that was interrupted has submitted nothing; a batch sums up."""
    if session.context is not None:
        session.note("nothing was submitted by this call; run the same command again")


class Sending:
    """Sends one body under one request ID until it is accepted, refused, or hopeless.

    The service may accept a submission and lose the reply. From then on a refusal proves
    nothing, so every end but a task is "outcome unknown".

    Args:
        attempt: The journal's record of it: request ID, exact body, first instant.
        write_ahead: Writes it down, and returns the command that settles it should the outcome
            stay unknown, without `omniedit`; None if it is in the journal already.
        is_lost: Whether an earlier reply was lost already.
        estimated_credits: What it is expected to cost, where that is known.
    """

    def __init__(
        self,
        session: Session,
        attempt: Record,
        *,
        write_ahead: Callable[[], str] | None = None,
        is_lost: bool = False,
        estimated_credits: float | None = None,
    ) -> None:
        self._session = session
        self._attempt = attempt
        self._request_id = attempt.request_id or ""
        self._recovery_command = resume_command(self._request_id)
        self._write_ahead = write_ahead
        self._is_lost = is_lost
        self._estimated_credits = estimated_credits
        self._is_new = not is_lost
        self._is_in_flight = False
        self._is_settled = False
        self._replays_left = 1
        self._began = session.monotonic()

    def send(self, *, deadline: float | None = None) -> Record:
        """Return the task that the submission became.

        Args:
            deadline: A monotonic instant after which no further attempt begins; the policy's
                budget may end earlier.

        Raises:
            OutcomeUnknownError: If it may or may not have been accepted.
            OmniEditError: If it certainly was not.
        """
        latest = self._began + self._session.policy.submit_budget_s
        deadline = latest if deadline is None else min(deadline, latest)
        try:
            for number in count(1):
                was_lost = self._is_lost
                rested_s = self._session.rate_limiter.wait()
                if number == 1 and self._session.rate_limiter.is_paced:
                    # The turn may be far away, through no fault of the service's.
                    self._began += rested_s
                    deadline += rested_s
                try:
                    record, is_replay = self._post(deadline)
                except OmniEditError as error:
                    rest_s = self._rest_before_next(error, number=number, deadline=deadline)
                    self._session.report(
                        Retrying(message=error.message, delay_s=rest_s, attempt=number)
                    )
                    self._rest(error, rest_s)
                else:
                    if was_lost and not is_replay:
                        warn_of_duplicates(
                            self._session,
                            record,
                            why="the service did not mark its reply as a replay",
                        )
                    return record
        except Interrupted:
            self._record_interruption()
            raise
        raise AssertionError  # pragma: no cover - `count` does not end

    def _post(self, deadline: float) -> tuple[Record, bool]:
        """Send it once; a task is on disk, and announced, before this returns."""
        session = self._session
        with session.shielded():
            # A signal that came while this waited for its turn ends it here, unsent.
            session.check_goes_on()
            if self._write_ahead is not None:
                # Not before its turn has come: whoever ends until then leaves nothing in doubt.
                self._recovery_command = self._write_ahead()
                self._write_ahead = None
            self._is_in_flight = True
            session.outstanding[self._request_id] = self._give_up
            # What was sent may have been paid for: its reply is worth some seconds more.
            grace = session.monotonic() + session.policy.grace_s
            try:
                task, is_replay = session.service.create_task(
                    self._attempt.body or b"",
                    request_id=self._request_id,
                    deadline=max(deadline, grace),
                )
            except OmniEditError as error:
                self._is_in_flight = False
                self._is_lost = self._is_lost or not is_certainly_not_accepted(error)
                raise
            finally:
                session.outstanding.pop(self._request_id, None)
            session.rate_limiter.speed_up()
            return self._record_accepted(task, is_replay=is_replay), is_replay

    def _record_accepted(self, task: Task, *, is_replay: bool) -> Record:
        session = self._session
        self._learn_clock()
        failure = self._written(
            lambda: session.journal.record_accepted(self._request_id, task, origin=session.origin)
        )
        self._is_settled = True
        record = self._attempt.with_task(task)._replace(body=None)
        session.report(
            Submitted(record=record, is_replay=is_replay, estimated_credits=self._estimated_credits)
        )
        if failure:
            session.warn(f"{failure.message}; note the task ID: {task.task_id}")
        return record

    def _rest_before_next(self, error: OmniEditError, *, number: int, deadline: float) -> float:
        """Return how long to rest before the next attempt.

        Raises:
            OmniEditError: If there is none.
        """
        session = self._session
        if not is_certainly_not_accepted(error):
            if self._replays_left == 0:
                raise self._end(error)
            self._replays_left -= 1
            # Should this process die while it rests, the journal already says so.
            self._record_unknown(as_task_error(error))
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

    def _rest(self, error: OmniEditError, rest_s: float) -> None:
        if isinstance(error, RateLimitedError):
            # Others that submit meanwhile would only meet the same limit.
            self._session.rate_limiter.slow_down(rest_s)
        else:
            self._session.sleep(rest_s)

    def _end(self, error: OmniEditError) -> OmniEditError:
        """Write down how it ended without a task; return the error to raise."""
        session = self._session
        if isinstance(error, IdempotencyConflictError) or self._is_lost:
            ended = self._unknown(error)
            if session.service.clock_offset_s is None:
                # No reply has told the service's time, by which the attempt is looked for later.
                with suppress(OmniEditError):
                    session.service.get_time(
                        deadline=session.monotonic() + session.policy.last_reply_s
                    )
            self._record_unknown(as_task_error(ended))
            return ended
        reason = as_task_error(error)
        self._written(lambda: session.journal.record_refused(self._request_id, reason))
        return error.about(request_id=self._request_id)

    def _unknown(self, error: OmniEditError) -> OmniEditError:
        request_id = self._request_id
        if isinstance(error, IdempotencyConflictError):
            return IdempotencyConflictError(
                f"request ID {request_id} is held by another request: {error.message}",
                code=error.code,
                hint=Hint(
                    "{} shows the task it became; {} settles it",
                    "list --remote",
                    f"submit --resume {request_id} --as TASK",
                ),
                request_id=request_id,
                http_status=error.http_status,
            )
        return OutcomeUnknownError(
            f"submission {request_id} may or may not have been accepted: {error.message}",
            hint=Hint("{} settles it without paying twice", self._recovery_command),
            request_id=request_id,
            http_status=error.http_status,
        )

    def _record_interruption(self) -> None:
        if self._is_settled:
            return
        if self._is_in_flight or self._is_lost:
            self._record_unknown(_NO_REPLY)
            message = Hint(
                f"submission {self._request_id} may have been accepted: {{}} settles it",
                self._recovery_command,
            )
            self._session.warn(message)
        else:
            journal = self._session.journal
            self._written(lambda: journal.record_refused(self._request_id, INTERRUPTED))
            say_nothing_was_submitted(self._session)

    def _give_up(self) -> tuple[Record, OmniEditError]:
        """Write down, for a thread that still waits for the reply, that it did not come."""
        self._record_unknown(_NO_REPLY)
        return self._attempt, self._unknown(OmniEditError(_NO_REPLY.message))

    def _record_unknown(self, reason: TaskError) -> None:
        self._learn_clock()
        offset_s, journal = self._attempt.clock_offset_s, self._session.journal
        self._written(
            lambda: journal.record_unknown(self._request_id, reason, clock_offset_s=offset_s)
        )

    def _learn_clock(self) -> None:
        """Keep how far apart the clocks are; of an attempt by another process it cannot be told."""
        offset_s = self._session.service.clock_offset_s
        if self._is_new and self._attempt.clock_offset_s is None and offset_s is not None:
            self._attempt = self._attempt._replace(clock_offset_s=offset_s)

    def _written(self, write: Callable[[], None]) -> JournalError | None:
        """Write to the journal; a journal that fails now must not hide what the service said."""
        try:
            write()
        except JournalError as error:
            return error
        return None


@contextmanager
def sending_lock(
    session: Session, request_id: str, *, pays: bool = True, deadline: float | None = None
) -> Generator[None]:
    """Tell other processes for a block that this submission is on its way; wait for theirs.

    Args:
        request_id: The submission's.
        pays: Whether a task may be paid for in the block, or only one settled that was.
        deadline: A monotonic instant until which others are waited for.

    Raises:
        JournalError: If the lock cannot be had, and nothing may be paid for without it.
    """
    with ExitStack() as stack:
        if session.has_journal:
            try:
                left_s = session.left_s(deadline)
                stack.enter_context(session.journal.locked("sending", request_id, timeout_s=left_s))
            except TargetBusyError as error:
                msg = f"another process is still sending submission {request_id}"
                raise WaitTimeoutError(msg, request_id=request_id) from error
            except JournalError as error:
                if session.requires_journal and pays:
                    raise
                session.warn(f"{error.message}; going on without it")
        yield


def warn_of_duplicates(session: Session, record: Record, *, why: str) -> None:
    """Say which other tasks the account lists since an attempt, or that this cannot be told.

    Args:
        record: Of the attempt, with its task.
        why: What makes a second task possible.
    """
    try:
        tasks, gap = tasks_since(session, record, budget_s=session.policy.duplicates_budget_s)
        others = [
            task.task_id
            for task in tasks
            if task.task_id != record.task_id and not is_of_a_submission(session, task)
        ]
    except OmniEditError as error:
        session.warn(
            f"{why}, so a second task may have been paid for; the account's tasks cannot be read"
            f" ({error.message})"
        )
        return
    if others:
        session.warn(
            f"{why}; the account lists other tasks of that time, which may be paid duplicates:"
            f" {', '.join(others)}"
        )
    elif gap is not None or session.service.clock_offset_s is None:
        # By which clock a task is recent is unknown, or tasks are: nothing can be ruled out.
        reason = "" if gap is None else f" ({gap})"
        session.warn(f"{why}, so a second task may have been paid for{reason}")
    else:
        since = render_oldest_instant(session, record)
        session.note(f"{why}, but the account lists no second task since {since}")


def is_of_a_submission(session: Session, task: Task) -> bool:
    """Return whether a task of the account is known to be of a submission from here.

    One that was adopted may be anybody's, this submission's too.
    """
    known = session.journal.find_task(task.task_id)
    return known is not None and known.request_id is not None


def resume_command(request_id: str) -> str:
    """Return the command that settles a submission, without `omniedit`."""
    return f"submit --resume {request_id}"


def as_task_error(error: OmniEditError) -> TaskError:
    """Return an error in the form the journal keeps."""
    return TaskError(
        code=error.code, message=error.message, kind=error.kind, http_status=error.http_status
    )
