"""`omniedit edit --split`: a long clip, edited piece by piece and joined."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.cli.batch_report import BatchReport
from omniedit.cli.confirm import require_consent
from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import hint_for
from omniedit.cli.input import read_draft
from omniedit.cli.session import JournalUse
from omniedit.errors import (
    Hint,
    Interrupted,
    InvalidInputError,
    LocalError,
    NotFinishedError,
    OmniEditError,
    TargetExistsError,
)
from omniedit.system.folders import private_folder
from omniedit.terminal.document import joined_event, saved_document
from omniedit.terminal.units import render_credits

if TYPE_CHECKING:
    from omniedit.cli.session import LiveSession
    from omniedit.edits.batch_plan import PlannedEdit
    from omniedit.edits.batch_run import Made
    from omniedit.edits.requests import Draft
    from omniedit.edits.split import SplitOptions, SplitPlan
    from omniedit.models import Record, SavedFile
    from omniedit.terminal.document import Document

CONCURRENCY: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCall:
    """One call of `edit --split`."""

    runtime: Context
    options: "SplitOptions"
    use: "JournalUse"
    timeout_s: float  # for each piece
    has_consent: bool  # what it costs was agreed to beforehand


def edit_in_pieces(
    call: SplitCall, draft: "Draft", *, prompt: str | None, prompt_file: str | None
) -> Outcome:
    """Edit each piece of a clip and join the results.

    Raises:
        OmniEditError: Nothing was sent, or the results cannot be joined.
    """
    if draft.request_id is not None:
        msg = "--request-id stands for one submission, and --split makes several"
        raise InvalidInputError(msg, code="usage", hint="leave `--request-id` out")
    ended_by: BaseException | None = None
    joined: SavedFile | None = None
    with ExitStack() as held:
        plan = _planned(call, draft, held, prompt=prompt, prompt_file=prompt_file)
        report = _report(call, plan)
        try:
            joined = _made(call, plan, report)
        except (Interrupted, OmniEditError) as error:
            ended_by = error
    return Outcome(
        fields={"joined": saved_document(joined) if joined else None},
        tasks=report.documents(),
        errors=report.errors,
        has_shown_errors=True,
        ended_by=ended_by,
    )


def _made(call: SplitCall, plan: "SplitPlan", report: BatchReport) -> "SavedFile | None":
    """Return the joined clip; None where a piece failed, or it went to standard output."""
    runtime = call.runtime
    observers = [
        runtime.saved_files(call.options.destination, prints_paths=False),
        report.observe,
    ]
    with runtime.session(
        call.use, observers=observers, total_tasks=len(plan.edits), is_batch=True
    ) as session:
        session.journal.record_call(runtime.settings.context.value, None)
        if plan.joined is not None:
            session.results.tidy(Path(plan.joined.path), task_id=plan.joined.sha256)
            for known in plan.known:
                if known is not None:
                    runtime.tally.add(known)
            runtime.printer.note("they are joined already")
            return _announced(call, plan, plan.joined)
        records = _edited(call, session, plan, report)
        if report.errors:
            return None
        runtime.printer.note("joining the results")
        return _announced(call, plan, _joined(call, session, plan, records))


def _planned(
    call: SplitCall,
    draft: "Draft",
    held: ExitStack,
    *,
    prompt: str | None,
    prompt_file: str | None,
) -> "SplitPlan":
    """Plan the pieces, and have what they cost agreed to."""
    from omniedit.edits.split import check_split, plan_pieces
    from omniedit.edits.submission import refusal_recorded

    with call.runtime.session(call.use) as session:
        draft = read_draft(session, draft, prompt=prompt, prompt_file=prompt_file)
        with refusal_recorded(session, session.new_request_id(), draft):
            check_split(session, draft)
            draft = held.enter_context(_on_this_machine(session, draft))
            spare = held.enter_context(private_folder(session.private_folder))
            plan = plan_pieces(session, draft, call.options, spare_folder=str(spare))
            _say(call, plan)
            if plan.due_count:
                _ = session.service  # a missing key is found before anything is agreed to
            if plan.due_count and not call.has_consent:
                pieces = f"{plan.due_count} piece{'s' if plan.due_count > 1 else ''}"
                cost = render_credits(plan.due_credits)
                require_consent(call.runtime, f"send {pieces} for {cost}?")
    return plan


@contextmanager
def _on_this_machine(session: "LiveSession", draft: "Draft") -> "Generator[Draft]":
    """Fetch the clip of a URL once for all its pieces."""
    from omniedit.edits.clips import fetched_clip
    from omniedit.edits.requests import is_local

    if is_local(draft.video):
        yield draft
        return
    with fetched_clip(session, draft.video) as path:
        yield replace(draft, source=str(path))


def _say(call: SplitCall, plan: "SplitPlan") -> None:
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


def _report(call: SplitCall, plan: "SplitPlan") -> BatchReport:
    def fields(edit: "PlannedEdit") -> "Document":
        start_s, end_s = plan.marks_s(edit.line.number)
        return {"piece": edit.line.number, "start_seconds": start_s, "end_seconds": end_s}

    has_journal = call.use is not JournalUse.NONE
    report = BatchReport(
        call.runtime, None, again=call.options.again, has_journal=has_journal, fields=fields
    )
    report.begin(plan.edits, line_count=len(plan.edits))
    return report


def _edited(
    call: SplitCall, session: "LiveSession", plan: "SplitPlan", report: BatchReport
) -> "list[Record]":
    """Edit the pieces; return the record of each that was saved."""
    from omniedit.edits.batch_run import BatchOptions, BatchRun
    from omniedit.edits.submission import render_cost

    options = BatchOptions(
        concurrency=CONCURRENCY,
        again=call.options.again,
        overwrite=call.options.overwrite,
        timeout_s=call.timeout_s,
    )
    records: dict[int, Record] = {}
    try:
        for made in BatchRun(session, options).run(plan.edits):
            report.take(_judged(session, made))
            if made.record is not None:
                records[made.edit.line.number] = made.record
    except BaseException:
        # Whatever ends it: replies that are outstanding are written down.
        session.stop()
        raise
    finally:
        report.summarise()
    in_order = [records[number] for number in sorted(records)]
    if plan.due_count and not report.errors:
        paid = [
            record.task for record, known in zip(in_order, plan.known, strict=True) if not known
        ]
        call.runtime.printer.note(render_cost(plan.due_credits, [task for task in paid if task]))
    return in_order


def _judged(session: "LiveSession", made: "Made") -> "Made":
    """Return what came of a piece, with what to do about it where it cannot be joined."""
    from omniedit.edits.joined import check_result

    if made.record is not None and made.error is None:
        try:
            check_result(session, made.record, made.edit)
        except OmniEditError as error:
            made = replace(made, error=error)
    if made.error is not None:
        made.error.hint = _hint_for(made.error, made.edit)
    return made


def _joined(
    call: SplitCall, session: "LiveSession", plan: "SplitPlan", records: "list[Record]"
) -> "SavedFile | None":
    """Join the results; where that is cut off, say that it costs nothing to go on."""
    from omniedit.edits.joined import join_results

    try:
        return join_results(session, plan, records, call.options)
    except (Interrupted, LocalError):
        if session.has_journal:
            again = " without `--again`" if call.options.again else ""
            call.runtime.printer.hint(
                f"the pieces are saved: the same command{again} joins them, and pays nothing"
            )
        raise


def _hint_for(error: OmniEditError, edit: "PlannedEdit") -> str | None:
    """Return what to do about a piece; the usual words speak of the whole clip."""
    marks = edit.draft.wishes
    usual = hint_for(error, command="edit")
    match error:
        case NotFinishedError():
            return "the same command goes on with it"
        case TargetExistsError():
            return "move it away, or replace it with `--force`"
        case _ if usual and "--again" in usual and marks.is_cut:
            typed = {"--start": marks.start, "--end": marks.end}
            words = " ".join(f"{name} {mark}" for name, mark in typed.items() if mark)
            command = f"edit VIDEO PROMPT {words} --again"
            return Hint("{} makes this piece again, and pays for it alone", command)
        case _:
            return usual


def _announced(
    call: SplitCall, plan: "SplitPlan", file: "SavedFile | None"
) -> "SavedFile | None":
    """Print the joined clip's path, and return it; None went to standard output itself."""
    if file is None or plan.target is None:
        return None
    runtime = call.runtime
    runtime.printer.event(joined_event(file, at=runtime.now(), sandbox=runtime.settings.is_sandbox))
    runtime.printer.path(plan.target.shown)
    return file
