"""Many edits in parallel, each safe to repeat, with a limit on how many run on the service."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from omniedit.edits.edit import BegunEdit, EditOptions, begin_edit, deliver_edit
from omniedit.edits.planner import PlannedEdit
from omniedit.edits.poller import Poller, report_end
from omniedit.edits.session import Session
from omniedit.edits.wait import WorkerPool
from omniedit.errors import (
    AuthenticationError,
    CredentialsError,
    JournalError,
    ModelRefusedError,
    NotConnectedError,
    OmniEditError,
    OutcomeUnknownError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    TaskFailedError,
    TooExpensiveError,
    WrongBaseURLError,
)
from omniedit.events import LineFailed
from omniedit.models import Record, Task, TaskError
from omniedit.system import share_heap

_MOST_REFUSALS: Final = 5
"""After this many refusals in a row with the same code, a batch stops submitting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditOutcome:
    """The outcome of one edit; it was never started if it has neither record nor error."""

    edit: PlannedEdit
    record: Record | None = None
    error: OmniEditError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    edit: PlannedEdit
    begun: BegunEdit


class BatchRun:
    """Runs a plan: submits and transfers in worker threads, and polls in the calling thread.

    Args:
        options: The options of every edit; each has its own destination.
        concurrency: The most edits that run on the service at a time.
        max_credits: The most that this run may newly spend; None for no limit.
        keeps_going: Whether to continue after several refusals in a row.
    """

    def __init__(
        self,
        session: Session,
        options: EditOptions,
        *,
        concurrency: int,
        max_credits: float | None = None,
        keeps_going: bool = False,
    ) -> None:
        self._session = session
        self._options = options
        self._concurrency = concurrency
        self._max_credits = max_credits
        self._keeps_going = keeps_going
        share_heap()
        # With `--max-credits`, submit one at a time: whether the next edit fits depends on what the
        # previous one reserved.
        most = session.policy.submissions_at_once if max_credits is None else 1
        self._submissions = min(concurrency, most)
        at_once = self._submissions + session.policy.transfers_at_once
        self._pool = WorkerPool[_Begun | EditOutcome](at_once)
        self._poller = Poller(session, timeout_s=options.timeout_s)
        self._followed: dict[str, list[_Begun]] = {}
        self._ended: deque[_Begun] = deque()  # ended on the service, not saved yet
        self._saving: set[int] = set()
        self._committed: dict[int, float] = {}
        """The cost of each new edit: first as estimated, then as reserved, then as charged."""
        self._refusals: list[str] = []  # the codes of the latest refusals in a row
        self._halted_by: OmniEditError | None = None
        """Why nothing more is submitted: no credits, no valid key, no network, no journal."""
        self._refused_models: set[str] = set()

    def run(self, edits: Sequence[PlannedEdit]) -> Iterator[EditOutcome]:
        """Yield the outcome of each edit as soon as there is one.

        Raises:
            OmniEditError: If polling fails for good, for example because the key was revoked.
        """
        backlog = deque(edits)
        with self._pool:
            while backlog or self._pool.busy or self._ended or self._poller:
                self._start_steps(backlog)
                rest_s = self._poller.rest_s() if self._poller else None
                outcome = self._pool.next_outcome(timeout_s=rest_s)
                if outcome is not None:
                    yield from self._handle(outcome)
                yield from self._poll()

    def _start_steps(self, backlog: deque[PlannedEdit]) -> None:
        """Start as many transfers and submissions as the limits allow."""
        while self._ended and len(self._saving) < self._session.policy.transfers_at_once:
            step = self._ended.popleft()
            self._saving.add(step.edit.number)
            # A transfer gets as much time as the wait before it, no matter how long it was queued.
            deadline = self._session.monotonic() + self._options.timeout_s
            begun = step.begun._replace(deadline=deadline)
            self._pool.submit(partial(self._deliver, replace(step, begun=begun)))
        while backlog and self._has_room:
            self._pool.submit(partial(self._begin, backlog.popleft()))

    @property
    def _has_room(self) -> bool:
        beginning = self._pool.busy - len(self._saving)
        under_way = beginning + len(self._followed)
        return under_way < self._concurrency and beginning < self._submissions

    def _poll(self) -> Iterator[EditOutcome]:
        for record, error in self._poller.poll() if self._poller else ():
            for followed in self._followed.pop(str(record.task_id)):
                if error is not None:
                    yield self._failed(followed.edit, record, error)
                    continue
                self._update_cost(followed.edit, record.task)
                begun = followed.begun._replace(record=record, is_fresh=True)
                self._ended.append(replace(followed, begun=begun))

    def _handle(self, outcome: _Begun | EditOutcome) -> Iterator[EditOutcome]:
        number = outcome.edit.number
        if number in self._saving:
            self._saving.discard(number)
        else:
            self._account_for(outcome)
        if isinstance(outcome, EditOutcome):
            yield outcome
        elif not outcome.begun.record.is_open:
            report_end(self._session, outcome.begun.record)
            self._ended.append(outcome)
        else:
            # A faulty service may return the same task for two submissions.
            self._followed.setdefault(str(outcome.begun.record.task_id), []).append(outcome)
            self._poller.add(outcome.begun.record, is_fresh=outcome.begun.is_fresh)

    def _commit(self, edit: PlannedEdit) -> None:
        """Count the estimate of an edit towards the limit before the edit is started.

        Raises:
            TooExpensiveError: If the credits reserved so far leave too little for it.
        """
        limit = self._max_credits
        estimate = edit.estimated_credits or 0.0
        if limit is None or not edit.is_due:
            return
        committed = sum(self._committed.values())
        if committed + estimate > limit:
            msg = (
                f"{committed:.1f} credits are reserved or charged: {estimate:.1f} more would be"
                f" above --max-credits {limit:g}; nothing more is sent"
            )
            raise TooExpensiveError(msg, hint="the same command with a higher limit continues")
        self._committed[edit.number] = estimate

    def _update_cost(self, edit: PlannedEdit, task: Task | None) -> None:
        """Replace the estimate of an edit with what the service reserved or charged."""
        if edit.number not in self._committed or task is None:
            return
        cost = 0.0 if task.has_failed else task.credits_reserved
        cost = cost if task.credits_used is None else task.credits_used
        if cost is not None:
            self._committed[edit.number] = cost

    def _account_for(self, outcome: _Begun | EditOutcome) -> None:
        """Account for a submission: its cost, and refusals in a row, which halt the batch."""
        if isinstance(outcome, _Begun):
            self._update_cost(outcome.edit, outcome.begun.record.task)
            if outcome.begun.is_fresh:
                self._refusals.clear()
            return
        error = outcome.error
        if not isinstance(error, OutcomeUnknownError):
            self._committed.pop(outcome.edit.number, None)
        if self._keeps_going or not isinstance(
            error, RequestRefusedError | QuotaError | AuthenticationError
        ):
            return
        if error.code not in self._refusals:
            self._refusals.clear()
        self._refusals.append(error.code)
        if len(self._refusals) == _MOST_REFUSALS and self._halted_by is None:
            self._halted_by = error
            self._session.warn(
                f"{_MOST_REFUSALS} submissions in a row were refused with `{error.code}`:"
                " nothing more is sent; `--keep-going` continues anyway"
            )

    def _begin(self, edit: PlannedEdit) -> _Begun | EditOutcome:
        try:
            is_halted = self._halted_by is not None or edit.request.model in self._refused_models
            if is_halted and not self._is_paid_for(edit):
                return EditOutcome(edit=edit)
            if not is_halted:
                self._commit(edit)
            options = self._options_of(edit)
            begun = begin_edit(self._session, edit.request, options, planned_identity=edit.identity)
        except OmniEditError as error:
            if isinstance(error, ModelRefusedError):
                self._refused_models.add(edit.request.model)
            if _affects_every_edit(error, submit_budget_s=self._session.policy.submit_budget_s):
                self._halted_by = self._halted_by or error
            return self._failed(edit, self._attempt_of(error), error)
        except Exception as error:  # noqa: BLE001 - the fault of one line is that line's
            return self._failed(edit, None, error)
        return _Begun(edit=edit, begun=begun)

    def _attempt_of(self, error: OmniEditError) -> Record | None:
        """Return the record of the attempt that ended with an error, if the journal has one."""
        # A failing journal has already been reported by the write that failed.
        with suppress(JournalError):
            return self._session.journal.find_attempt(error.request_id or "")
        return None

    def _is_paid_for(self, edit: PlannedEdit) -> bool:
        """Return whether an edit has a usable task already, so that it continues without paying."""
        if self._options.again or isinstance(self._halted_by, JournalError):
            return False
        known = self._session.journal.find_edit(edit.identity, origin=self._session.origin)
        return known is not None and known.task is not None and not known.has_failed

    def _deliver(self, step: _Begun) -> EditOutcome:
        try:
            record = deliver_edit(self._session, step.begun, self._options_of(step.edit))
        except Exception as error:  # noqa: BLE001 - the fault of one line is that line's
            return self._failed(step.edit, step.begun.record, error)
        return EditOutcome(edit=step.edit, record=record)

    def _failed(self, edit: PlannedEdit, record: Record | None, error: Exception) -> EditOutcome:
        if not isinstance(error, OmniEditError):
            msg = f"a bug in omniedit: {type(error).__name__}: {error}"
            error = OmniEditError(msg, code="bug")
        if record is not None:
            error.about(task_id=record.task_id, request_id=record.request_id)
        # A failed task has already been reported by its own event.
        if not isinstance(error, TaskFailedError):
            self._session.report(LineFailed(edit.name, TaskError.of(error), error.task_id))
        return EditOutcome(edit=edit, record=record, error=error)

    def _options_of(self, edit: PlannedEdit) -> EditOptions:
        return self._options._replace(
            destination=self._options.destination._replace(text=edit.output)
        )


def _affects_every_edit(error: OmniEditError, *, submit_budget_s: float) -> bool:
    """Return whether any other submission would probably fail in the same way."""
    # A pause that is longer than all retries of one submission.
    is_long_pause = (
        isinstance(error, RateLimitedError) and (error.retry_after_s or 0.0) > submit_budget_s
    )
    return is_long_pause or isinstance(
        error,
        CredentialsError | JournalError | NotConnectedError | TooExpensiveError | WrongBaseURLError,
    )
