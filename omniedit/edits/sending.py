"""One submission on its way: what is certain about it so far, and the one replay it may have."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Final

from omniedit.edits.account import tasks_since
from omniedit.edits.ports import Session
from omniedit.errors import (
    IdempotencyConflictError,
    Interrupted,
    JournalError,
    NotConnectedError,
    OmniEditError,
    OutcomeUnknownError,
    RateLimitedError,
)
from omniedit.events import Noted, Retrying, Submitted, Warned
from omniedit.http.retry import backoff_s, is_certainly_not_accepted, is_transient
from omniedit.models import Record, Submission, TaskError
from omniedit.policy import DEFAULT

_DUPLICATES_BUDGET_S: Final = 5.0
"""The task is known by then; looking for others is not to hold it up."""
INTERRUPTED: Final = TaskError(
    code="interrupted", message="interrupted before anything was sent", kind="not_connected"
)


class Sending:
    """Sends one body under one request ID until it is accepted, refused, or hopeless.

    The service may accept a submission and lose the reply. From then on a refusal proves
    nothing, so every end but a task is "outcome unknown".

    Args:
        session: What it calls on.
        attempt: The journal's record of it: request ID, exact body, first instant.
        way_back: The command that settles it, should the outcome stay unknown.
        is_lost: Whether an earlier reply was lost already.
    """

    def __init__(
        self, session: Session, attempt: Record, *, way_back: str, is_lost: bool = False
    ) -> None:
        self._session = session
        self._attempt = attempt
        self._request_id = attempt.request_id or ""
        self._way_back = way_back
        self._is_lost = is_lost
        self._is_in_flight = False
        self._is_settled = False
        self._replays_left = 1
        self._began = session.monotonic()

    def send(self, *, deadline: float) -> Record:
        """Return the task that the submission became.

        Args:
            deadline: The monotonic instant after which no further attempt begins.

        Raises:
            OutcomeUnknownError: It may or may not have been accepted.
            OmniEditError: It certainly was not.
        """
        try:
            for number in count(1):
                try:
                    was_lost = self._is_lost
                    submission = self._post()
                except OmniEditError as error:
                    rest_s = self._rest_before_next(error, number=number, deadline=deadline)
                    self._session.report(
                        Retrying(message=error.message, delay_s=rest_s, attempt=number)
                    )
                    self._rest(error, rest_s)
                else:
                    if was_lost and not submission.is_replay:
                        self._warn_of_duplicates(submission)
                    return self._accepted(submission)
        except Interrupted:
            self._record_interruption()
            raise
        raise AssertionError  # pragma: no cover - `count` does not end

    def _post(self) -> Submission:
        """Send it once; a task is on disk, and announced, before this returns."""
        session = self._session
        session.pace.wait()
        with session.shielded():
            self._is_in_flight = True
            try:
                submission = session.service.create_task(
                    self._attempt.body or b"", request_id=self._request_id
                )
            except OmniEditError as error:
                self._is_in_flight = False
                self._is_lost = self._is_lost or not is_certainly_not_accepted(error)
                raise
            session.pace.speed_up()
            failure = self._written(
                lambda: session.journal.record_accepted(
                    self._request_id, submission.task, origin=session.origin
                )
            )
            self._is_settled = True
            session.report(
                Submitted(
                    task=submission.task,
                    request_id=self._request_id,
                    is_replay=submission.is_replay,
                )
            )
            if failure:
                session.report(
                    Warned(
                        message=f"{failure.message}; note the task ID: {submission.task.task_id}"
                    )
                )
        return submission

    def _rest_before_next(self, error: OmniEditError, *, number: int, deadline: float) -> float:
        """Return how long to rest before the next attempt.

        Raises:
            OmniEditError: There is none.
        """
        if not is_certainly_not_accepted(error):
            if self._replays_left == 0:
                raise self._end(error)
            self._replays_left -= 1
            # Should this process die while it rests, the journal already says so.
            self._written(
                lambda: self._session.journal.record_unknown(self._request_id, as_task_error(error))
            )
        elif not is_transient(error):
            raise self._end(error)
        rest_s = backoff_s(number, retry_after_s=error.retry_after_s, jitter=self._session.jitter)
        if isinstance(error, NotConnectedError):
            # A wrong address or a missing network shows soon; a limit passes later.
            deadline = min(deadline, self._began + DEFAULT.read_budget_s)
        if self._session.monotonic() + rest_s > deadline:
            raise self._end(error)
        return rest_s

    def _rest(self, error: OmniEditError, rest_s: float) -> None:
        if isinstance(error, RateLimitedError):
            # Others that submit meanwhile would only meet the same limit.
            self._session.pace.slow_down(rest_s)
        else:
            self._session.sleep(rest_s)

    def _end(self, error: OmniEditError) -> OmniEditError:
        """Write down how it ended without a task; return the error to raise."""
        journal = self._session.journal
        if isinstance(error, IdempotencyConflictError) or self._is_lost:
            ended = self._unknown(error)
            reason = as_task_error(ended)
            self._written(lambda: journal.record_unknown(self._request_id, reason))
            return ended
        reason = as_task_error(error)
        self._written(lambda: journal.record_refused(self._request_id, reason))
        return error.about(request_id=self._request_id)

    def _unknown(self, error: OmniEditError) -> OmniEditError:
        if isinstance(error, IdempotencyConflictError):
            message = f"request ID {self._request_id} is held by another request: {error.message}"
            hint = (
                "`omniedit list --remote --adopt` takes over the task it became; another"
                " `--request-id` pays anew"
            )
            kind: type[OmniEditError] = IdempotencyConflictError
        else:
            message = (
                f"submission {self._request_id} may or may not have been accepted: {error.message}"
            )
            hint = f"`{self._way_back}` settles it without paying twice"
            kind = OutcomeUnknownError
        return kind(
            message,
            code=error.code if isinstance(error, IdempotencyConflictError) else None,
            hint=hint,
            request_id=self._request_id,
            http_status=error.http_status,
        )

    def _accepted(self, submission: Submission) -> Record:
        task = submission.task
        return replace(self._attempt, task=task, status=task.status, error=task.error, body=None)

    def _warn_of_duplicates(self, submission: Submission) -> None:
        """Say what the account lists beside a task whose reply is not marked as a replay."""
        session = self._session
        try:
            others = [
                task.task_id
                for task in tasks_since(
                    session, self._attempt.created_at, budget_s=_DUPLICATES_BUDGET_S
                )
                if task.task_id != submission.task.task_id
                and session.journal.find_task(task.task_id) is None
            ]
        except OmniEditError as error:
            session.report(
                Warned(
                    message="the service did not mark its reply as a replay, so a second task may"
                    f" have been paid for; the account's tasks cannot be read ({error.message})"
                )
            )
            return
        if others:
            session.report(
                Warned(
                    message="the service did not mark its reply as a replay; the account lists"
                    f" other tasks of that time, which may be paid duplicates: {', '.join(others)}"
                )
            )
        else:
            session.report(
                Noted(
                    message="the service did not mark its reply as a replay, but the account"
                    " lists no second task"
                )
            )

    def _record_interruption(self) -> None:
        journal = self._session.journal
        if self._is_settled:
            return
        if self._is_in_flight or self._is_lost:
            reason = TaskError(
                code="interrupted",
                message="interrupted before the service answered",
                kind=OutcomeUnknownError.kind,
            )
            self._written(lambda: journal.record_unknown(self._request_id, reason))
            message = f"submission {self._request_id} may have been accepted: `{self._way_back}` settles it"
            self._session.report(Warned(message=message))
        else:
            self._written(lambda: journal.record_refused(self._request_id, INTERRUPTED))

    def _written(self, write: Callable[[], None]) -> JournalError | None:
        """Write to the journal; a journal that fails now must not hide what the service said."""
        try:
            write()
        except JournalError as error:
            return error
        return None


def as_task_error(error: OmniEditError) -> TaskError:
    """Return an error in the form the journal keeps."""
    return TaskError(
        code=error.code, message=error.message, kind=error.kind, http_status=error.http_status
    )
