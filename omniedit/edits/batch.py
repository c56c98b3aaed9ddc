"""Many edits: planned whole before anything is sent, and made side by side, each like make."""

import math
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from omniedit.edits.clips import is_local
from omniedit.edits.edit import BegunEdit, EditOptions, begin_edit, deliver_edit
from omniedit.edits.manifest import Line, Manifest
from omniedit.edits.requests import prepare
from omniedit.edits.session import Session
from omniedit.edits.targets import STDOUT, Destination, default_name
from omniedit.edits.wait import Poller, report_end
from omniedit.edits.workers import WorkerPool
from omniedit.errors import (
    AuthenticationError,
    CredentialsError,
    JournalError,
    LocalError,
    NotConnectedError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    TaskFailedError,
    TooExpensiveError,
    WrongBaseURLError,
)
from omniedit.events import LineFailed
from omniedit.models import EditRequest, Record
from omniedit.system import THIS_SYSTEM, System
from omniedit.system.posix import LONGEST_NAME_BYTES

WHOLE: Final = (1, 1)
_REST_S: Final = 1.0
"""How often to look whether a transfer may take the place of a submission that rests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEdit:
    """One edit of many, ready to be made."""

    number: int  # the manifest's line, or the piece, from 1
    name: str  # what messages call it: `line 7`, `piece 2 of 4`
    request: EditRequest
    identity: str
    output: str  # as it is shown, below the folder that was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How planned edits are made."""

    concurrency: int  # submissions, uploads and downloads at a time
    again: bool
    overwrite: bool
    timeout_s: float  # for each edit


@dataclass(frozen=True, slots=True, kw_only=True)
class EditOutcome:
    """What came of one edit; neither record nor error: it was not begun."""

    edit: PlannedEdit
    record: Record | None = None
    error: OmniEditError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    edit: PlannedEdit
    begun: BegunEdit


class Planner:
    """Turns lines into edits and gathers what is wrong with them.

    Args:
        folder: Where outputs go; None is the current folder.
        shard: Which of how many parts of the manifest this run makes.
        max_credits: What all edits of this shard may be estimated at; None for whatever it is.
        system: The operating system; injected by tests.

    Raises:
        LocalError: `folder` is something else.
    """

    def __init__(
        self,
        session: Session,
        *,
        folder: str | None,
        shard: tuple[int, int] = WHOLE,
        max_credits: float | None = None,
        system: System = THIS_SYSTEM,
    ) -> None:
        self._session = session
        self._system = system
        self._folder = folder
        self._base = os.path.realpath(folder or ".")
        if os.path.lexists(self._base) and not Path(self._base).is_dir():
            msg = f"{folder} is not a folder"
            raise LocalError(msg, hint="`--dir` names the folder for the outputs")
        self._shard = shard
        self._line_of_edit: dict[str, int] = {}
        self._line_of_output: dict[str, int] = {}
        self._resolved_folders: dict[str, str] = {}
        self._unnamed: dict[int, tuple[str, str, str]] = {}
        self._max_credits = max_credits
        self._estimated_credits = 0.0
        self.faults: list[tuple[int, str]] = []

    def plan(self, manifest: Manifest) -> Sequence[PlannedEdit]:
        """Return the edits of this shard; `faults` says what is wrong with any line.

        Raises:
            TooExpensiveError: Together they are estimated dearer than allowed, or one cannot be.
        """
        planned: list[PlannedEdit] = []
        self.faults = list(manifest.faults)
        for line in manifest.lines:
            try:
                edit = self._plan_line(line)
            except TooExpensiveError as error:
                error.message = f"line {line.number}: {error.message}"
                raise
            except OmniEditError as error:
                self._note_fault(line.number, error.message)
            else:
                if edit is not None:
                    planned.append(edit)
        names = self._name_outputs()
        planned = [
            replace(edit, output=self._shown(names.get(edit.number, edit.output)))
            for edit in planned
        ]
        self.faults.sort()
        if not self.faults:
            self._check_price(count=len(planned))
        return planned

    def _plan_line(self, line: Line) -> PlannedEdit | None:
        request = EditRequest(
            video=line.video,
            prompt=line.prompt,
            callback_url=line.callback_url,
            take=None if line.take is None else int(line.take),
            start=line.start,
            end=line.end,
        )
        is_own = line.is_in_shard(*self._shard)
        if not is_own and (is_local(line.video) or request.is_cut):
            # The clips of other shards need neither be on this machine nor be looked at.
            self._note_edit(line, repr((line.video, line.prompt, line.start, line.end, line.take)))
            self._note_output(line.number, line.output)
            return None
        looked_at = request
        if is_own and self._max_credits is not None:
            # With a limit, if only to be told what it costs.
            looked_at = replace(request, max_credits=math.inf)
        edit = prepare(self._session, looked_at)
        is_new = self._note_edit(line, edit.identity)
        if line.output:
            self._note_output(line.number, line.output)
        elif is_new:
            self._unnamed[line.number] = (line.video, request.prompt, edit.identity)
        if not is_own:
            return None
        self._estimated_credits += edit.estimated_credits or 0.0
        return PlannedEdit(
            number=line.number,
            name=f"line {line.number}",
            request=request,
            identity=edit.identity,
            output=line.output or "",
        )

    def _name_outputs(self) -> dict[int, str]:
        """Return the outputs of the lines that name none, long enough to tell them apart."""
        short = {number: default_name(*parts) for number, parts in self._unnamed.items()}
        keys = {number: self._output_key(name) for number, name in short.items()}
        counts = Counter(keys.values()) + Counter(self._line_of_output)
        names: dict[int, str] = {}
        for number, parts in self._unnamed.items():
            meets = counts[keys[number]] > 1
            names[number] = default_name(*parts, is_long=True) if meets else short[number]
            self._note_output(number, names[number])
        return names

    def _output_key(self, output: str) -> str:
        return self._system.name_key(os.path.join(self._base, output))  # noqa: PTH118 - on strings

    def _check_price(self, *, count: int) -> None:
        check_price(
            f"{count} edits",
            self._estimated_credits,
            max_credits=self._max_credits,
            hint="raise the limit, or take lines out of the manifest",
        )

    def _note_edit(self, line: Line, identity: str) -> bool:
        """Note an edit; return whether it is the first of its kind."""
        first = self._line_of_edit.setdefault(identity, line.number)
        if first != line.number:
            fault = f"is the same edit as line {first}; `take` makes it another one"
            self._note_fault(line.number, fault)
        return first == line.number

    def _note_output(self, number: int, output: str | None) -> None:
        if output is None:
            return
        resolved = self._resolved(output)
        if resolved is None:
            self._note_fault(number, f"`output` names no file: {output}")
        elif Path(output).is_absolute() or not _is_below(resolved, self._base):
            self._note_fault(number, f"`output` leaves the folder: {output}")
        elif fault := self._system.path_fault(resolved):
            self._note_fault(number, f"`output` names no file: {output}: {fault}")
        else:
            key = self._system.name_key(resolved)
            first = self._line_of_output.setdefault(key, number)
            if first != number:
                self._note_fault(number, f"has the same output as line {first}: {output}")

    def _note_fault(self, number: int, fault: str) -> None:
        self.faults.append((number, fault))

    def _resolved(self, output: str) -> str | None:
        """Return where an output would be written, links resolved; None where that is no file.

        On strings, and with one look at each folder: a manifest may have 100,000 lines.
        """
        folder, name = os.path.split(os.path.join(self._base, output))  # noqa: PTH118 - see above
        is_name = name not in {"", ".", ".."} and len(os.fsencode(name)) <= LONGEST_NAME_BYTES
        if "\0" in output or output.endswith("\\") or not is_name:
            return None
        if folder not in self._resolved_folders:
            self._resolved_folders[folder] = os.path.realpath(folder)
        path = os.path.join(self._resolved_folders[folder], name)  # noqa: PTH118 - see above
        if os.path.islink(path):  # noqa: PTH114 - see above
            path = os.path.realpath(path)
        return None if os.path.isdir(path) else path  # noqa: PTH112 - see above

    def _shown(self, output: str) -> str:
        if self._folder is None:
            # A file of that name, not standard output.
            return f"./{output}" if output == STDOUT else output
        return str(Path(self._folder) / output)


class BatchRun:
    """Runs a plan: submissions and transfers in threads, all looks at the service in one."""

    def __init__(self, session: Session, options: BatchOptions) -> None:
        self._session = session
        self._options = options
        # A submission that sits out a rate limit keeps no transfer waiting.
        self._pool = WorkerPool[_Begun | EditOutcome](
            options.concurrency, resting=lambda: session.rate_limiter.resting
        )
        self._poller = Poller(session, timeout_s=options.timeout_s)
        self._followed: dict[str, _Begun] = {}
        self.halted_by: OmniEditError | None = None
        """Why nothing more is paid for: no credits, no valid key, no network, no journal."""

    def run(self, edits: Sequence[PlannedEdit]) -> Iterator[EditOutcome]:
        """Yield what came of each edit, as it comes.

        Raises:
            OmniEditError: If the service can no longer be asked.
        """
        backlog = deque(edits)
        with self._pool:
            while backlog or self._pool.busy or self._poller:
                # Transfers of what is finished come before submissions of what is not begun.
                while backlog and self._pool.busy < self._options.concurrency:
                    self._pool.give(partial(self._begin, backlog.popleft()))
                outcome = self._pool.take(timeout_s=self._rest_s())
                if isinstance(outcome, EditOutcome):
                    yield outcome
                elif outcome is not None:
                    self._go_on_with(outcome)
                yield from self._poll()

    def _rest_s(self) -> float | None:
        rests = [self._poller.rest_s()] if self._poller else []
        if self._pool.busy > self._options.concurrency:
            rests.append(_REST_S)
        return min(rests, default=None)

    def _poll(self) -> Iterator[EditOutcome]:
        for record, error in self._poller.poll() if self._poller else ():
            followed = self._followed.pop(str(record.task_id))
            if error is not None:
                yield self._failed(followed.edit, record, error)
                continue
            begun = replace(followed.begun, record=record, is_fresh=True)
            self._pool.give(partial(self._deliver, replace(followed, begun=begun)))

    def _go_on_with(self, step: _Begun) -> None:
        if step.begun.has_ended:
            report_end(self._session, step.begun.record)
            self._pool.give(partial(self._deliver, step))
        else:
            self._followed[str(step.begun.record.task_id)] = step
            self._poller.add(step.begun.record, is_fresh=step.begun.is_fresh)

    def _begin(self, edit: PlannedEdit) -> _Begun | EditOutcome:
        try:
            if self.halted_by is not None and not self._is_paid_for(edit):
                return EditOutcome(edit=edit)
            options = self._options_of(edit)
            begun = begin_edit(self._session, edit.request, options, planned_identity=edit.identity)
        except OmniEditError as error:
            if _meets_every_edit(error, submit_budget_s=self._session.policy.submit_budget_s):
                self.halted_by = self.halted_by or error
            return self._failed(edit, None, error)
        except Exception as error:  # noqa: BLE001 - the fault of one line is that line's
            return self._failed(edit, None, _bug(error))
        return _Begun(edit=edit, begun=begun)

    def _is_paid_for(self, edit: PlannedEdit) -> bool:
        """Return whether an edit can go on without a submission."""
        if self._options.again or isinstance(self.halted_by, JournalError):
            return False
        known = self._session.journal.find_edit(edit.identity, origin=self._session.origin)
        return known is not None and known.task is not None and not known.has_failed

    def _deliver(self, step: _Begun) -> EditOutcome:
        try:
            record = deliver_edit(self._session, step.begun, self._options_of(step.edit))
        except OmniEditError as error:
            return self._failed(step.edit, step.begun.record, error)
        except Exception as error:  # noqa: BLE001 - the fault of one line is that line's
            return self._failed(step.edit, step.begun.record, _bug(error))
        return EditOutcome(edit=step.edit, record=record)

    def _failed(
        self, edit: PlannedEdit, record: Record | None, error: OmniEditError
    ) -> EditOutcome:
        error.about(task_id=record.task_id if record else None)
        # Of a task that failed its own event has told.
        if not isinstance(error, TaskFailedError):
            self._session.report(
                LineFailed(
                    name=edit.name,
                    message=error.message,
                    code=error.code,
                    request_id=error.request_id,
                    task_id=error.task_id,
                )
            )
        return EditOutcome(edit=edit, record=record, error=error)

    def _options_of(self, edit: PlannedEdit) -> EditOptions:
        return EditOptions(
            destination=Destination(edit.output),
            again=self._options.again,
            overwrite=self._options.overwrite,
            timeout_s=self._options.timeout_s,
        )


def _bug(error: Exception) -> OmniEditError:
    return OmniEditError(f"a bug in omniedit: {type(error).__name__}: {error}", code="bug")


def _meets_every_edit(error: OmniEditError, *, submit_budget_s: float) -> bool:
    """Return whether another submission would end in the same way, for all anybody knows."""
    is_account = isinstance(error, QuotaError | AuthenticationError | CredentialsError)
    is_way = isinstance(error, NotConnectedError | WrongBaseURLError | JournalError)
    # One that is longer than a submission may rest in all.
    is_long_pause = (
        isinstance(error, RateLimitedError) and (error.retry_after_s or 0.0) > submit_budget_s
    )
    return is_account or is_way or is_long_pause


def check_price(what: str, estimate: float, *, max_credits: float | None, hint: str) -> None:
    """Refuse several edits that are dearer together than allowed.

    Args:
        what: They are, for the message.
        estimate: In credits, of all of them.
        max_credits: What is allowed; None for whatever it is.
        hint: What to do about it.

    Raises:
        TooExpensiveError: They are.
    """
    if max_credits is None or estimate <= max_credits:
        return
    msg = (
        f"{what} are estimated at {estimate:.1f} credits in all,"
        f" above --max-credits {max_credits:g}; nothing was sent"
    )
    raise TooExpensiveError(msg, hint=hint)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith(os.sep) else folder + os.sep)
