"""`omniedit edit --split`: what it costs is said and asked for first, then how it went."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omniedit.cli.batch_report import BatchReport
from omniedit.cli.confirm import require_consent
from omniedit.cli.context import Runtime
from omniedit.cli.drafts import Typed, read_request
from omniedit.cli.exit_codes import hint_for
from omniedit.cli.session import JournalUse
from omniedit.edits.batch import EditOutcome, PlannedEdit
from omniedit.edits.session import Session
from omniedit.edits.split import (
    SplitOptions,
    SplitPlan,
    edit_pieces,
    forget_leftovers,
    join_pieces,
    planned_split,
)
from omniedit.edits.submit import refusal_recorded, render_cost
from omniedit.errors import (
    Interrupted,
    InvalidInputError,
    LocalError,
    NotFinishedError,
    OmniEditError,
    TargetExistsError,
)
from omniedit.events import Saved
from omniedit.terminal.documents import saved_document
from omniedit.terminal.human import render_credits

if TYPE_CHECKING:
    from omniedit.models import Record, SavedFile
    from omniedit.terminal.documents import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCall:
    """One call of `edit --split`."""

    runtime: Runtime
    options: SplitOptions
    use: JournalUse
    has_consent: bool  # what it costs was agreed to beforehand


def edit_in_pieces(call: SplitCall, typed: Typed) -> list[OmniEditError]:
    """Edit each piece of a clip and join the results; return what went wrong with the pieces.

    Raises:
        OmniEditError: Nothing was sent, or the results cannot be joined.
    """
    runtime = call.runtime
    runtime.announce_saved(call.options.destination, prints_paths=False)
    if typed.request_id is not None:
        msg = "--request-id stands for one submission, and --split makes several"
        raise InvalidInputError(msg, code="usage", hint="leave `--request-id` out")
    with ExitStack() as held:
        plan = _planned(call, typed, held)
        with runtime.session(call.use, total_tasks=len(plan.edits), is_batch=True) as session:
            report = _report(call, plan, has_journal=session.has_journal)
            session.journal.record_call(runtime.settings.context.value, None)
            if plan.joined is not None:
                forget_leftovers(plan)
                for known in plan.known:
                    if known is not None:
                        runtime.board.add(known)
                runtime.printer.note("they are joined already")
                _announce(call, plan, plan.joined)
                return []
            records = _edited(call, session, plan, report)
            if report.errors:
                runtime.shows_errors = False  # the report has said them
                return report.errors
            runtime.printer.note("joining the results")
            _announce(call, plan, _joined(call, session, plan, records))
    return []


def _planned(call: SplitCall, typed: Typed, held: ExitStack) -> SplitPlan:
    """Plan the pieces, and have what they cost agreed to."""
    with call.runtime.session(call.use) as session:
        request = read_request(session, typed)
        with refusal_recorded(session, request):
            plan = held.enter_context(planned_split(session, request, call.options))
            _say(call, plan)
            if plan.due_count:
                _ = session.service  # a missing key is found before anything is agreed to
            if plan.due_count and not call.has_consent:
                pieces = f"{plan.due_count} piece{'s' if plan.due_count > 1 else ''}"
                cost = render_credits(plan.due_credits)
                require_consent(call.runtime, f"send {pieces} for {cost}?")
    return plan


def _say(call: SplitCall, plan: SplitPlan) -> None:
    """Say what is sent, what it costs, and what a clip in pieces is not."""
    note = call.runtime.printer.note
    count, due, cost = len(plan.pieces), plan.due_count, render_credits(plan.due_credits)
    pieces = f"{count} pieces of {plan.longest_s:.1f} s" if count > 1 else "1 piece"
    if not due:
        note(f"{pieces}, all known here: nothing is paid again")
        return
    if due == count:
        note(f"{pieces}, estimated at {cost} in all")
    else:
        note(f"{pieces}: {count - due} known here, {due} to be paid, estimated at {cost}")
    if count > 1:
        note("the service edits each piece on its own: looks may drift from one to the next")
    if call.options.new_audio:
        note("the sound it makes up for each piece is kept, faded from one to the next")
    elif plan.has_sound:
        note("the clip's own sound is laid over the result; `--new-audio` keeps the new one")
    else:
        note("the clip has no sound, so the result has none; `--new-audio` keeps the new one")


def _report(call: SplitCall, plan: SplitPlan, *, has_journal: bool) -> BatchReport:
    def fields(edit: PlannedEdit) -> "Document":
        start_s, end_s = plan.marks_s(edit.number)
        return {"piece": edit.number, "start_seconds": start_s, "end_seconds": end_s}

    report = BatchReport(
        call.runtime, None, again=call.options.again, has_journal=has_journal, fields=fields
    )
    report.begin(plan.edits, line_count=len(plan.edits))
    call.runtime.documents = report.documents
    return report


def _edited(
    call: SplitCall, session: Session, plan: SplitPlan, report: BatchReport
) -> "list[Record]":
    """Edit the pieces; return the record of each that was saved."""

    def take(outcome: EditOutcome) -> None:
        if outcome.error is not None:
            outcome.error.hint = _hint_for(outcome.error, outcome.edit)
        report.take(outcome)

    try:
        records = edit_pieces(session, plan, call.options, take)
    finally:
        report.summarise()
    if plan.due_count and not report.errors:
        paid = [record.task for record, known in zip(records, plan.known, strict=True) if not known]
        call.runtime.printer.note(render_cost(plan.due_credits, [task for task in paid if task]))
    return records


def _joined(
    call: SplitCall, session: Session, plan: SplitPlan, records: "list[Record]"
) -> "SavedFile | None":
    """Join the results; where that is cut off, say that it costs nothing to go on."""
    try:
        return join_pieces(session, plan, records, call.options)
    except (Interrupted, LocalError):
        if session.has_journal:
            again = " without `--again`" if call.options.again else ""
            call.runtime.printer.hint(
                f"the pieces are saved: the same command{again} joins them, and pays nothing"
            )
        raise


def _hint_for(error: OmniEditError, edit: PlannedEdit) -> str | None:
    """Return what to do about a piece; the usual words speak of the whole clip."""
    request = edit.request
    usual = error.hint or hint_for(error, command="edit", is_sandbox_flag=False)
    match error:
        case NotFinishedError():
            return "the same command goes on with it"
        case TargetExistsError():
            return "move it away, or replace it with `--force`"
        case _ if usual and "--again" in usual and request.is_cut:
            typed = {"--start": request.start, "--end": request.end}
            words = " ".join(f"{name} {mark}" for name, mark in typed.items() if mark)
            return f"`omniedit edit VIDEO PROMPT {words} --again` pays anew for this piece alone"
        case _:
            return usual


def _announce(call: SplitCall, plan: SplitPlan, file: "SavedFile | None") -> None:
    """Print the joined clip's path; None went to standard output itself."""
    if file is None or plan.target is None:
        return
    runtime = call.runtime
    runtime.fields["joined"] = saved_document(file)
    runtime.report(Saved(file=file, shown_path=plan.target.shown, is_new=plan.joined is None))
    runtime.printer.path(plan.target.shown)
