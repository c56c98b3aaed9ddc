"""`omniedit edit --split`: ask for consent to the price, edit the pieces, join the results."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omniedit.cli.batch_report import BatchReport
from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import hint_for
from omniedit.cli.input import read_request, require_consent
from omniedit.edits.batch import EditOutcome
from omniedit.edits.planner import PlannedEdit
from omniedit.edits.session import Session
from omniedit.edits.sidecar import write_joined_sidecar
from omniedit.edits.split import (
    SplitOptions,
    SplitPlan,
    edit_pieces,
    forget_leftovers,
    join_pieces,
    planned_split,
)
from omniedit.edits.submit import refusal_recorded
from omniedit.errors import (
    Hint,
    Interrupted,
    InvalidInputError,
    LocalError,
    NotFinishedError,
    OmniEditError,
    TargetExistsError,
)
from omniedit.events import Saved
from omniedit.journal import JournalUse
from omniedit.models import Sound, render_count
from omniedit.terminal.documents import saved_document
from omniedit.terminal.human import render_amount, render_estimate, render_price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omniedit.models import EditRequest, Record, SavedFile, Task
    from omniedit.terminal.documents import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCall:
    """One call of `edit --split`."""

    context: Context
    options: SplitOptions
    use: JournalUse
    has_consent: bool  # whether the price was accepted by `--yes`
    sidecars: bool  # whether to write one for each saved file


def edit_in_pieces(
    call: SplitCall, request: "EditRequest", *, prompt: str | None, prompt_file: str | None
) -> Outcome:
    """Edit each piece of a clip and join the results.

    Raises:
        OmniEditError: If nothing was sent.
    """
    if request.request_id is not None:
        msg = "--request-id identifies one submission, and --split makes several"
        raise InvalidInputError(msg, code="usage", hint="leave `--request-id` out")
    ended_by: BaseException | None = None
    joined: SavedFile | None = None
    with ExitStack() as held:
        plan = _plan(call, request, held, prompt=prompt, prompt_file=prompt_file)
        report = _report(call, plan)
        try:
            joined = _make(call, plan, report)
        except (Interrupted, OmniEditError) as error:
            ended_by = error
    return Outcome(
        fields={"joined": saved_document(joined) if joined else None},
        tasks=report.documents,
        errors=report.errors,
        has_shown_errors=True,
        ended_by=ended_by,
        recovery_hint=report.recovery_hint,
    )


def _make(call: SplitCall, plan: SplitPlan, report: BatchReport) -> "SavedFile | None":
    """Edit and join the pieces; return None if one failed or the result went to stdout."""
    context = call.context
    saved_files = context.saved_files(prints_paths=False)
    with context.session(
        call.use,
        observers=[saved_files],
        total_tasks=len(plan.edits),
        is_batch=True,
        sidecars=call.sidecars,
    ) as session:
        session.journal.record_call(context.settings.context.value, None)
        if plan.joined is not None:
            forget_leftovers(plan)
            for known in plan.known:
                if known is not None:
                    context.board.add(known)
            context.printer.note("the results are already joined")
            return _announce(call, session, plan, plan.known, plan.joined)
        records = _edit(call, session, plan, report)
        if report.errors:
            return None
        context.printer.note("joining the results")
        joined = _join(call, session, plan, records, report)
        return _announce(call, session, plan, records, joined)


def _plan(
    call: SplitCall,
    request: "EditRequest",
    held: ExitStack,
    *,
    prompt: str | None,
    prompt_file: str | None,
) -> SplitPlan:
    """Plan the pieces, and ask for consent to their price."""
    with call.context.session(call.use, sidecars=call.sidecars) as session:
        request = read_request(session, request, prompt=prompt, prompt_file=prompt_file)
        with refusal_recorded(session, request):
            plan = held.enter_context(planned_split(session, request, call.options))
            _note_plan(call, plan)
            if plan.due_count:
                _ = session.service  # a missing key is reported before the question
            if plan.due_count and not call.has_consent:
                pieces = render_count(plan.due_count, "piece")
                price = render_price(plan.due_credits)
                require_consent(call.context, f"send {pieces} for {price}?")
    return plan


def _note_plan(call: SplitCall, plan: SplitPlan) -> None:
    """Note what is sent, what it costs, and how splitting affects picture and sound."""
    note = call.context.printer.note
    count, due, cost = len(plan.pieces), plan.due_count, render_estimate(plan.due_credits)
    pieces = f"{count} pieces of {plan.longest_s:.1f} s" if count > 1 else "1 piece"
    if not due:
        note(f"{pieces}, all known here: nothing is paid again")
        return
    if due == count:
        note(f"{pieces}: {cost}")
    else:
        note(f"{pieces}: {count - due} known here, {due} to be paid: {cost}")
    if count > 1:
        note("the service edits each piece on its own: looks may drift from one to the next")
    if call.options.sound is Sound.NEW:
        note("the sound it generates for each piece is kept, faded from one to the next")
    elif call.options.sound is Sound.NONE:
        note("the result has no sound")
    elif plan.has_sound:
        note("the clip's own sound is laid over the result; `--sound new` keeps the new one")
    else:
        note("the clip has no sound, so the result has none; `--sound new` keeps the new one")


def _report(call: SplitCall, plan: SplitPlan) -> BatchReport:
    def fields(edit: PlannedEdit) -> "Document":
        start_s, end_s = plan.marks_s(edit.number)
        return {"piece": edit.number, "start_seconds": start_s, "end_seconds": end_s}

    report = BatchReport(
        call.context,
        None,
        has_journal=call.use is JournalUse.REQUIRED,
        fields=fields,
    )
    report.begin(plan.edits, line_count=len(plan.edits))
    return report


def _edit(
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
        report.summarise(session.give_up_outstanding())
    if plan.due_count and not report.errors:
        paid = [record.task for record, known in zip(records, plan.known, strict=True) if not known]
        call.context.printer.note(_render_cost(plan.due_credits, [task for task in paid if task]))
    return records


def _render_cost(estimated: float | None, tasks: "Sequence[Task]") -> str:
    """Render the credits that were estimated, reserved and charged for tasks."""
    reserved = [task.credits_reserved for task in tasks]
    charged = [task.credits_used for task in tasks]
    estimate = "unknown" if estimated is None else f"about {render_amount(estimated)} credits"
    parts = [f"estimated {estimate}", f"reserved {_sum_of(reserved)}"]
    if any(task.is_terminal for task in tasks):
        parts.append(f"charged {_sum_of(charged)}")
    return ", ".join(parts)


def _sum_of(amounts: "Sequence[float | None]") -> str:
    known = [amount for amount in amounts if amount is not None]
    return "unknown" if len(known) < len(amounts) else render_amount(sum(known))


def _join(
    call: SplitCall,
    session: Session,
    plan: SplitPlan,
    records: "list[Record]",
    report: BatchReport,
) -> "SavedFile | None":
    """Join the results; if that is interrupted, print a hint that joining them costs nothing."""
    try:
        return join_pieces(session, plan, records, call.options)
    except (Interrupted, LocalError):
        if session.has_journal:
            command = call.context.same_command()
            report.print_recovery_hint(f"the pieces are saved: {command} joins them at no cost")
        raise


def _hint_for(error: OmniEditError, edit: PlannedEdit) -> str | None:
    """Return what to do about a piece; the usual hints are about the whole clip."""
    request = edit.request
    usual = hint_for(error, command="edit")
    match error:
        case NotFinishedError():
            return "the same command continues it"
        case TargetExistsError():
            return "move it away, or replace it with `--force`"
        case _ if usual and "--again" in usual and request.is_cut:
            typed = {"--start": request.start, "--end": request.end}
            words = " ".join(f"{name} {mark}" for name, mark in typed.items() if mark)
            command = f"edit VIDEO PROMPT {words} --again"
            return Hint("{} makes this piece again, and only this piece is charged", command)
        case _:
            return usual


def _announce(
    call: SplitCall,
    session: Session,
    plan: SplitPlan,
    records: "Sequence[Record | None]",
    file: "SavedFile | None",
) -> "SavedFile | None":
    """Print the joined clip's path, and return its file; None if it went to stdout."""
    if file is None or plan.target is None:
        return None
    shown_path = plan.target.shown
    session.report(Saved(file=file, shown_path=shown_path, is_new=plan.joined is None))
    call.context.printer.path(shown_path)
    pieces = [record for record in records if record is not None]
    write_joined_sidecar(session, pieces, file, overwrite=call.options.overwrite)
    return file
