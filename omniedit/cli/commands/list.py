"""`omniedit list`: the journal, or the account's own list."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import Expiring, parse_since
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
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="S", help="Only edits in this state, such as `failed`."),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option("--clip", metavar="TEXT", help="Only clips whose name or URL holds TEXT."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DATE|DUR", help="Only edits since a date (UTC), or `2h`."),
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", min=0, metavar="N", help="How many rows (default 50; 0: all)."),
    ] = 50,
    everything: Annotated[
        bool, typer.Option("--all", help="Also attempts that were refused before they were sent.")
    ] = False,
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
    filters = listing.Filters(
        unsaved=unsaved,
        expiring_s=expiring,
        state=state,
        clip=clip,
        since=None if since is None else parse_since(since, now=context.now()),
    )
    is_filtered = everything or forget is not None or not filters.keep_all
    _check_combination(remote=remote, adopt=adopt, is_filtered=is_filtered)
    use = JournalUse.OPTIONAL if remote and not adopt else JournalUse.REQUIRED
    with context.session(use, shows_progress=remote) as session:
        if forget is not None:
            records, total = [listing.forget(session, forget)], None
            printer.line(f"forgot {records[0].task_id or records[0].request_id}")
        elif remote:
            records = listing.list_account(session, limit=limit, adopt=adopt)
            total = None if limit and len(records) == limit else len(records)
        else:
            records, total = listing.list_records(
                session, filters, limit=limit, shows_unsent=everything
            )
        width = printer.stdout_width
        known_ids = session.journal.names() if width is not None else ()
        now = session.now()
    if not records:
        printer.note("nothing to list")
    elif forget is None:
        printer.lines(render_table(records, now, width, known_ids=known_ids))
        if total is not None and total > len(records):
            printer.note(f"{len(records)} of {total} shown")
    return Outcome(fields={"total": total}, tasks=partial(_documents, records, is_raw_known=remote))


def _check_combination(*, remote: bool, adopt: bool, is_filtered: bool) -> None:
    if adopt and not remote:
        msg = "--adopt requires --remote"
        raise InvalidInputError(msg, code="usage")
    if remote and is_filtered:
        msg = "--remote goes with --limit and --adopt alone"
        raise InvalidInputError(msg, code="usage")


def _documents(records: Sequence[Record], *, is_raw_known: bool) -> "list[Document]":
    from omniedit.terminal.documents import task_document

    return [task_document(record, is_raw_known=is_raw_known) for record in records]
