"""`omniedit edit --split`: ask for consent to the price, edit the pieces, join the results."""

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from omniedit.cli.batch_report import BatchReport
from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import hint_for
from omniedit.cli.options import read_request, require_consent
from omniedit.edits.batch import EditOutcome
from omniedit.edits.clips import file_facts
from omniedit.edits.edit import EditOptions
from omniedit.edits.planner import PlannedEdit
from omniedit.edits.requests import command_line, cut_options
from omniedit.edits.session import Session
from omniedit.edits.split import SplitPlan, edit_pieces, join_pieces, planned_split
from omniedit.edits.submit import refusal_recorded
from omniedit.edits.targets import write_sidecar
from omniedit.errors import (
    Hint,
    Interrupted,
    LocalError,
    OmniEditError,
    refuse,
)
from omniedit.events import Saved
from omniedit.journal import JournalUse
from omniedit.models import Sound, render_count
from omniedit.terminal.documents import saved_document
from omniedit.terminal.human import render_estimate, render_price

if TYPE_CHECKING:
    from omniedit.models import EditRequest, SavedFile
    from omniedit.terminal.documents import Document


def edit_in_pieces(
    context: Context,
    request: "EditRequest",
    options: EditOptions,
    *,
    prompt: str | None,
    prompt_file: str | None,
    use: JournalUse,
    has_consent: bool,
    sidecars: bool,
) -> Outcome:
    """Edit each piece of a clip and join the results.

    Args:
        request: The request, still without its prompt.
        has_consent: Whether the price was accepted by `--yes`.

    Raises:
        OmniEditError: If nothing was sent.
    """
    if request.request_id is not None:
        refuse(
            "--request-id identifies one submission, and --split makes several",
            hint="leave `--request-id` out",
        )
    ended_by: BaseException | None = None
    joined: SavedFile | None = None
    with ExitStack() as held:
        with context.session(use, sidecars=sidecars) as session:
            request = read_request(
                context, session, request, prompt=prompt, prompt_file=prompt_file
            )
            with refusal_recorded(session, request):
                plan = held.enter_context(planned_split(session, request, options))
                _note_plan(context, session, plan, options.sound)
                if plan.due_count:
                    session.require_service()
                if plan.due_count and not has_consent:
                    pieces = render_count(plan.due_count, "piece")
                    require_consent(context, f"send {pieces} for {render_price(plan.due_credits)}?")
        has_journal = use is JournalUse.REQUIRED
        fields = partial(_piece_fields, plan)
        report = BatchReport(context, None, has_journal=has_journal, fields=fields)
        report.begin(plan.edits)
        try:
            with context.session(use, is_batch=True, sidecars=sidecars) as session:
                joined = _make(context, session, plan, options, report)
        except (Interrupted, OmniEditError) as error:
            ended_by = error
    return Outcome(
        fields={"joined": saved_document(joined) if joined else None},
        tasks=report.documents,
        errors=report.errors,
        has_shown_errors=True,
        ended_by=ended_by,
    )


def _make(
    context: Context, session: Session, plan: SplitPlan, options: EditOptions, report: BatchReport
) -> "SavedFile | None":
    """Edit and join the pieces; return None if one failed or the result went to stdout."""
    session.journal.record_call(context.settings.context.value, None)
    joined = plan.joined
    if joined is not None:
        records = [record for record in plan.known if record is not None]
        for record in records:
            context.board.add(record)
        context.printer.note("the results are already joined")
    else:
        report.add_all(session, map(_with_hint, edit_pieces(session, plan, options)))
        if report.errors:
            return None
        context.printer.note("joining the results")
        records = report.records
        try:
            joined = join_pieces(session, plan, records, options)
        except (Interrupted, LocalError):
            if session.has_journal:
                command = context.same_command()
                report.print_recovery_hint(f"the pieces are saved: {command} joins them at no cost")
            raise
    if joined is None or plan.target is None:
        return None
    shown_path = plan.target.shown
    session.report(Saved(file=joined, shown_path=shown_path, is_new=plan.joined is None))
    context.printer.path(shown_path)
    write_sidecar(session, records, joined, overwrite=plan.target.overwrite, is_joined=True)
    return joined


def _note_plan(context: Context, session: Session, plan: SplitPlan, sound: Sound) -> None:
    """Note what is sent, what it costs, and how splitting affects picture and sound."""
    note = context.printer.note
    count = len(plan.pieces)
    due = plan.due_count
    cost = render_estimate(plan.due_credits)
    pieces = f"{count} pieces of {plan.longest_s:.1f} s" if count > 1 else "1 piece"
    if not due:
        note(f"{pieces}, all known here: nothing is paid again")
        return
    known = f"{count - due} known here, {due} to be paid: " if due < count else ""
    note(f"{pieces}: {known}{cost}")
    if count > 1:
        note("the service edits each piece on its own: looks may drift from one to the next")
    if sound is Sound.NEW:
        note("the sound it generates for each piece is kept, faded from one to the next")
    elif sound is Sound.NONE:
        note("the result has no sound")
    elif file_facts(session, plan.source, name=plan.edits[0].request.video).audio:
        note("the clip's own sound is laid over the result; `--sound new` keeps the new one")
    else:
        note("the clip has no sound, so the result has none; `--sound new` keeps the new one")


def _piece_fields(plan: SplitPlan, edit: PlannedEdit) -> "Document":
    """Return the fields that a piece adds to its task document."""
    start_s, end_s = plan.marks_s(edit.number)
    return {"piece": edit.number, "start_seconds": start_s, "end_seconds": end_s}


def _with_hint(outcome: EditOutcome) -> EditOutcome:
    """Return an outcome whose hint makes the piece again, and not the whole clip."""
    error = outcome.error
    request = outcome.edit.request
    usual = hint_for(error, command="edit") if error else None
    if error and usual and "--again" in usual and request.is_cut:
        command = command_line("edit", request, *cut_options(request), "--again")
        error.hint = Hint("{} makes this piece again, and only this piece is charged", command)
    return outcome
