"""`omniedit list`: the journal, or the account's own list."""

from typing import Annotated

import typer

from omniedit.cli.context import Runtime
from omniedit.cli.options import Expiring
from omniedit.cli.session import JournalUse
from omniedit.edits.session import Session
from omniedit.errors import InvalidInputError
from omniedit.models import Record


def list_(
    context: typer.Context,
    *,
    unsaved: Annotated[
        bool, typer.Option("--unsaved", help="Only finished edits whose result is not here.")
    ] = False,
    expiring: Expiring = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many rows.")] = 50,
    remote: Annotated[
        bool, typer.Option("--remote", help="The account's tasks, wherever submitted from.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="With --remote: write them into the journal.")
    ] = False,
    forget: Annotated[
        str | None,
        typer.Option("--forget", metavar="TASK", help="Remove a task from the journal."),
    ] = None,
) -> None:
    """List edits: state, saved file, and the time left on the link."""
    from omniedit.edits import list as listing
    from omniedit.terminal.tables import render_table

    runtime: Runtime = context.obj
    runtime.shows_raw = remote
    if adopt and not remote:
        msg = "--adopt goes with --remote"
        raise InvalidInputError(msg, code="usage")
    if remote and (unsaved or expiring is not None or forget is not None):
        msg = "--remote goes with neither --unsaved, --expiring nor --forget"
        raise InvalidInputError(msg, code="usage")
    use = JournalUse.OPTIONAL if remote and not adopt else JournalUse.REQUIRED
    with runtime.session(use, shows_progress=remote) as session:
        if forget is not None:
            _forget(runtime, session, forget)
            return
        if remote:
            records = listing.list_account(session, limit=limit, adopt=adopt)
        else:
            records = listing.list_records(
                session, limit=limit, unsaved=unsaved, expiring_s=expiring
            )
        now = session.now()
    for record in records:
        runtime.board.add(record)
    if records:
        runtime.printer.lines(render_table(records, now, runtime.printer.stdout_width))
    else:
        runtime.printer.note("nothing to list")


def _forget(runtime: Runtime, session: Session, reference: str) -> None:
    from omniedit.edits.list import forget
    from omniedit.edits.references import find_records

    record: Record = find_records(session, [reference])[0]
    forget(session, record)
    runtime.board.add(record)
    runtime.printer.line(f"forgot {record.task_id}")
