"""`omniedit list`: the journal, or the account's own list."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import Expiring
from omniedit.cli.session import JournalUse
from omniedit.errors import InvalidInputError
from omniedit.models import Record

if TYPE_CHECKING:
    from omniedit.terminal.documents import Document

EXAMPLES: Final = """
omniedit list --unsaved
omniedit list --remote --adopt
"""


def list_(
    ctx: typer.Context,
    *,
    unsaved: Annotated[
        bool, typer.Option("--unsaved", help="Only finished edits whose result is not saved.")
    ] = False,
    expiring: Expiring = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="How many rows (default 50).")
    ] = 50,
    remote: Annotated[
        bool, typer.Option("--remote", help="The account's tasks, wherever submitted from.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="With --remote: record them in the journal.")
    ] = False,
    forget: Annotated[
        str | None,
        typer.Option(
            "--forget",
            metavar="TASK|REQUEST_ID",
            help="Remove an edit from the journal; its files and its task stay.",
        ),
    ] = None,
) -> Outcome:
    """List edits: state, saved file, and the time left on the link."""
    from omniedit.edits import records as listing
    from omniedit.terminal.tables import render_table

    context: Context = ctx.obj
    printer = context.printer
    if adopt and not remote:
        msg = "--adopt requires --remote"
        raise InvalidInputError(msg, code="usage")
    if remote and (unsaved or expiring is not None or forget is not None):
        msg = "--remote cannot be used with --unsaved, --expiring or --forget"
        raise InvalidInputError(msg, code="usage")
    use = JournalUse.OPTIONAL if remote and not adopt else JournalUse.REQUIRED
    with context.session(use, shows_progress=remote) as session:
        if forget is not None:
            records = [listing.forget(session, forget)]
            printer.line(f"forgot {records[0].task_id or records[0].request_id}")
        elif remote:
            records = listing.list_account(session, limit=limit, adopt=adopt)
        else:
            records = listing.list_records(
                session, limit=limit, unsaved=unsaved, expiring_s=expiring
            )
        now = session.now()
    if not records:
        printer.note("nothing to list")
    elif forget is None:
        printer.lines(render_table(records, now, printer.stdout_width))
    return Outcome(tasks=partial(_documents, records, is_raw_known=remote))


def _documents(records: Sequence[Record], *, is_raw_known: bool) -> "list[Document]":
    from omniedit.terminal.documents import task_document

    return [task_document(record, is_raw_known=is_raw_known) for record in records]
