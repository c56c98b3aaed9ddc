"""Making the edits of a plan, bounded, each in the sense of make."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from omniedit.batch.plan import PlannedEdit
from omniedit.errors import (
    AuthenticationError,
    CredentialsError,
    JournalError,
    OmniEditError,
    QuotaError,
)
from omniedit.events import Refused
from omniedit.models import Record
from omniedit.tasks.crew import Crew
from omniedit.tasks.editing import BegunEdit, EditOptions, begin_edit, deliver_edit
from omniedit.tasks.ports import Session
from omniedit.tasks.targets import Destination
from omniedit.tasks.waiting import Waiting


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
    was_known: bool = False


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
        self._crew = Crew[_Begun | Made](options.concurrency)
        self._waiting = Waiting(session, timeout_s=options.timeout_s)
        self._followed: dict[str, _Begun] = {}
        self.halted_by: OmniEditError | None = None
        """Why no further edit was begun: no credits, no valid key, no journal."""

    def run(self, edits: Sequence[PlannedEdit]) -> Iterator[Made]:
        """Yield what came of each edit, as it comes.

        Raises:
            OmniEditError: The service can no longer be asked.
        """
        backlog = list(reversed(edits))
        with self._crew:
            while backlog or self._crew.busy or self._waiting:
                # Transfers of what is finished come before submissions of what is not begun.
                while backlog and self._crew.busy < self._options.concurrency:
                    self._crew.give(partial(self._begin, backlog.pop()))
                outcome = self._crew.take(timeout_s=self._rest_s())
                if isinstance(outcome, Made):
                    yield outcome
                elif outcome is not None:
                    self._go_on_with(outcome)
                yield from self._look()

    def _rest_s(self) -> float | None:
        return self._waiting.rest_s() if self._waiting else None

    def _look(self) -> Iterator[Made]:
        for record, error in self._waiting.look() if self._waiting else ():
            followed = self._followed.pop(str(record.task_id))
            if error is not None:
                yield Made(edit=followed.edit, record=record, error=error)
                continue
            begun = replace(followed.begun, record=record, is_fresh=True)
            self._crew.give(partial(self._deliver, replace(followed, begun=begun)))

    def _go_on_with(self, step: _Begun) -> None:
        if step.begun.has_ended:
            self._crew.give(partial(self._deliver, step))
        else:
            self._followed[str(step.begun.record.task_id)] = step
            self._waiting.add(step.begun.record, is_fresh=step.begun.is_fresh)

    def _begin(self, edit: PlannedEdit) -> _Begun | Made:
        if self.halted_by is not None:
            return Made(edit=edit)
        try:
            begun = begin_edit(self._session, edit.draft, self._options_of(edit))
        except OmniEditError as error:
            if isinstance(
                error, QuotaError | AuthenticationError | CredentialsError | JournalError
            ):
                # It would meet every other edit as well.
                self.halted_by = error
            self._session.report(Refused(request_id=error.request_id, message=error.message))
            return Made(edit=edit, error=error)
        return _Begun(edit=edit, begun=begun)

    def _deliver(self, step: _Begun) -> Made:
        is_known = not step.begun.is_fresh
        try:
            record = deliver_edit(self._session, step.begun, self._options_of(step.edit))
        except OmniEditError as error:
            error.about(task_id=step.begun.record.task_id)
            return Made(edit=step.edit, record=step.begun.record, error=error, was_known=is_known)
        return Made(edit=step.edit, record=record, was_known=is_known)

    def _options_of(self, edit: PlannedEdit) -> EditOptions:
        return EditOptions(
            destination=Destination(edit.output),
            again=self._options.again,
            overwrite=self._options.overwrite,
            timeout_s=self._options.timeout_s,
        )
