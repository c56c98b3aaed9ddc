"""Making the edits of a plan, bounded, each in the sense of make."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from omniedit.edits.batch_plan import PlannedEdit
from omniedit.edits.crew import Crew
from omniedit.edits.editing import BegunEdit, EditOptions, begin_edit, deliver_edit
from omniedit.edits.ports import Session
from omniedit.edits.targets import Destination
from omniedit.edits.waiting import Waiting, report_end
from omniedit.errors import (
    AuthenticationError,
    CredentialsError,
    JournalError,
    NotConnectedError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    TaskFailedError,
    WrongBaseURLError,
)
from omniedit.events import NotMade
from omniedit.models import Record
from omniedit.policy import DEFAULT

_REST_S: Final = 1.0
"""How often to look whether a transfer may take the place of a submission that rests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How a plan is run."""

    concurrency: int  # submissions, uploads and downloads at a time
    again: bool
    overwrite: bool
    timeout_s: float  # for each edit


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What came of one edit; neither record nor error: it was not begun."""

    edit: PlannedEdit
    record: Record | None = None
    error: OmniEditError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    edit: PlannedEdit
    begun: BegunEdit


class BatchRun:
    """Runs a plan: submissions and transfers in threads, all looks at the service in one.

    Args:
        session: What it calls on.
        options: How.
    """

    def __init__(self, session: Session, options: BatchOptions) -> None:
        self._session = session
        self._options = options
        # A submission that sits out a rate limit keeps no transfer waiting.
        self._crew = Crew[_Begun | Made](options.concurrency, resting=lambda: session.pace.resting)
        self._waiting = Waiting(session, timeout_s=options.timeout_s)
        self._followed: dict[str, _Begun] = {}
        self.halted_by: OmniEditError | None = None
        """Why nothing more is paid for: no credits, no valid key, no network, no journal."""

    def run(self, edits: Sequence[PlannedEdit]) -> Iterator[Made]:
        """Yield what came of each edit, as it comes.

        Raises:
            OmniEditError: The service can no longer be asked.
        """
        backlog = deque(edits)
        with self._crew:
            while backlog or self._crew.busy or self._waiting:
                # Transfers of what is finished come before submissions of what is not begun.
                while backlog and self._crew.busy < self._options.concurrency:
                    self._crew.give(partial(self._begin, backlog.popleft()))
                outcome = self._crew.take(timeout_s=self._rest_s())
                if isinstance(outcome, Made):
                    yield outcome
                elif outcome is not None:
                    self._go_on_with(outcome)
                yield from self._look()

    def _rest_s(self) -> float | None:
        rests = [self._waiting.rest_s()] if self._waiting else []
        if self._crew.busy > self._options.concurrency:
            rests.append(_REST_S)
        return min(rests, default=None)

    def _look(self) -> Iterator[Made]:
        for record, error in self._waiting.look() if self._waiting else ():
            followed = self._followed.pop(str(record.task_id))
            if error is not None:
                self._report(followed.edit, error.about(task_id=record.task_id))
                yield Made(edit=followed.edit, record=record, error=error)
                continue
            begun = replace(followed.begun, record=record, is_fresh=True)
            self._crew.give(partial(self._deliver, replace(followed, begun=begun)))

    def _go_on_with(self, step: _Begun) -> None:
        if step.begun.has_ended:
            report_end(self._session, step.begun.record)
            self._crew.give(partial(self._deliver, step))
        else:
            self._followed[str(step.begun.record.task_id)] = step
            self._waiting.add(step.begun.record, is_fresh=step.begun.is_fresh)

    def _begin(self, edit: PlannedEdit) -> _Begun | Made:
        try:
            if self.halted_by is not None and not self._is_paid_for(edit):
                return Made(edit=edit)
            options = self._options_of(edit)
            begun = begin_edit(self._session, edit.draft, options, identity=edit.identity)
        except OmniEditError as error:
            if _meets_every_edit(error):
                self.halted_by = self.halted_by or error
            self._report(edit, error)
            return Made(edit=edit, error=error)
        return _Begun(edit=edit, begun=begun)

    def _is_paid_for(self, edit: PlannedEdit) -> bool:
        """Return whether an edit can go on without a submission."""
        if self._options.again or isinstance(self.halted_by, JournalError):
            return False
        known = self._session.journal.find_edit(edit.identity, origin=self._session.origin)
        return known is not None and known.task is not None and not known.task.has_failed

    def _deliver(self, step: _Begun) -> Made:
        try:
            record = deliver_edit(self._session, step.begun, self._options_of(step.edit))
        except OmniEditError as error:
            error.about(task_id=step.begun.record.task_id)
            self._report(step.edit, error)
            return Made(edit=step.edit, record=step.begun.record, error=error)
        return Made(edit=step.edit, record=record)

    def _report(self, edit: PlannedEdit, error: OmniEditError) -> None:
        # Of a task that failed its own event has told.
        if not isinstance(error, TaskFailedError):
            self._session.report(
                NotMade(
                    message=f"{edit.name}: {error.message}",
                    code=error.code,
                    request_id=error.request_id,
                    task_id=error.task_id,
                )
            )

    def _options_of(self, edit: PlannedEdit) -> EditOptions:
        return EditOptions(
            destination=Destination(edit.output),
            again=self._options.again,
            overwrite=self._options.overwrite,
            timeout_s=self._options.timeout_s,
        )


def _meets_every_edit(error: OmniEditError) -> bool:
    """Return whether another submission would end in the same way, for all anybody knows."""
    is_account = isinstance(error, QuotaError | AuthenticationError | CredentialsError)
    is_way = isinstance(error, NotConnectedError | WrongBaseURLError | JournalError)
    # One that is longer than a submission may rest in all.
    is_long_pause = (
        isinstance(error, RateLimitedError)
        and (error.retry_after_s or 0.0) > DEFAULT.submit_budget_s
    )
    return is_account or is_way or is_long_pause
