"""`omniedit list`: the journal, or the account's own list."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import Expiring, Remote, Since, parse_since, parse_text
from omniedit.cli.parser import option
from omniedit.errors import refuse
from omniedit.journal import JournalUse
from omniedit.models import MODELS

if TYPE_CHECKING:
    from omniedit.edits.records import Listing
    from omniedit.edits.session import Session
    from omniedit.terminal.documents import Document

EXAMPLES: Final = """
omniedit list --unsaved
omniedit list --remote --adopt
"""


def list_(
    ctx: typer.Context,
    *,
    unsaved: Annotated[
        bool, option("--unsaved", "Only finished edits whose result is not saved.")
    ] = False,
    expiring: Expiring = None,
    state: Annotated[
        str | None, option("--state S", "Only edits in this state, such as `failed`.")
    ] = None,
    clip: Annotated[
        str | None, option("--clip TEXT", "Only clips whose name or URL contains TEXT.")
    ] = None,
    since: Since = None,
    limit: Annotated[int, option("--limit N", "How many rows (default 50; 0: all).", min=0)] = 50,
    everything: Annotated[
        bool, option("--all", "Include attempts refused before they were sent.")
    ] = False,
    tree: Annotated[
        bool, option("--tree", "Show edits of a result below the edit that made it.")
    ] = False,
    offline: Annotated[
        bool, option("--offline", "Do not ask the service: show open edits as last recorded.")
    ] = False,
    remote: Remote = False,
    adopt: Annotated[
        bool, option("--adopt", "With --remote: record the tasks in the journal.")
    ] = False,
    forget: Annotated[
        str | None,
        option(
            "--forget TASK|REQUEST_ID",
            "Remove an edit from the journal; its files and task stay.",
            parser=parse_text,
        ),
    ] = None,
) -> Outcome:
    """List edits: state, saved file, and the time left on the link.

    Credits in parentheses, such as (25.4), are reserved but not charged yet.

    The service is asked about open edits once, for at most 2 s; those it does not answer for are
    shown as last recorded.
    """
    from omniedit.edits import records as listing
    from omniedit.schemas import instant

    context: Context = ctx.obj
    filters = listing.Filters(
        unsaved=unsaved,
        expiring_s=expiring,
        state=state,
        clip=clip,
        since=None if since is None else parse_since(since, now=context.clock.now()),
    )
    is_filtered = everything or tree or offline or not filters.is_empty
    _check_combination(
        remote=remote, adopt=adopt, forgets=forget is not None, is_filtered=is_filtered
    )
    use = JournalUse.OPTIONAL if remote and not adopt else JournalUse.REQUIRED
    with context.session(use, shows_progress=remote) as session:
        if forget is not None:
            found = listing.Listing([listing.forget(session, forget)])
            name = found.records[0].task_id or found.records[0].request_id
            context.printer.line(f"forgot {name}")
        elif remote:
            # The model in use counts too, even if it is not a known one.
            models = dict.fromkeys([*MODELS, context.settings.model.value])
            found = listing.list_account(session, models, limit=limit, adopt=adopt)
        else:
            found = listing.list_records(
                session, filters, limit=limit, shows_unsent=everything, is_offline=offline
            )
        if forget is None:
            _show(context, session, found, is_tree=tree, shows_unsaved=unsaved)

    def documents() -> "list[Document]":
        from omniedit.terminal.documents import task_document

        # Not from the board: two submissions may have got the same task.
        return [task_document(record) for record in found.records]

    return Outcome(fields={"total": found.total, "as_of": instant(found.as_of)}, tasks=documents)


def _show(
    context: Context, session: "Session", found: "Listing", *, is_tree: bool, shows_unsaved: bool
) -> None:
    """Print the rows, and note how many there are and how old they are."""
    from omniedit.edits import records as listing
    from omniedit.terminal.human import render_age
    from omniedit.terminal.tables import render_table

    if not found.records:
        rest = listing.describe_rest(session) if shows_unsaved else ""
        context.note_nothing(f"nothing to list ({rest})" if rest else "nothing to list")
        return
    printer = context.printer
    now = session.now()
    width = printer.stdout_width
    known_ids = session.journal.names() if width is not None else ()
    lost = listing.lost_files(found.records)
    printer.lines(
        render_table(
            found.records, now, width, known_ids=known_ids, lost_files=lost, is_tree=is_tree
        )
    )
    if found.total is not None and found.total > len(found.records):
        printer.note(f"{len(found.records)} of {found.total} shown")
    if found.as_of is not None:
        why = f": {found.failure.message}" if found.failure else ""
        printer.note(f"open edits are as last recorded, up to {render_age(now - found.as_of)}{why}")


def _check_combination(*, remote: bool, adopt: bool, forgets: bool, is_filtered: bool) -> None:
    if forgets and (remote or is_filtered):
        refuse("--forget drops one edit and cannot be combined with other options of `list`")
    if adopt and not remote:
        refuse("--adopt requires --remote")
    if remote and is_filtered:
        refuse("--remote can only be combined with --limit and --adopt")
