"""`omniedit usage`: what edits cost."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import Remote, Since, parse_since
from omniedit.cli.parser import option, parse_choice
from omniedit.journal import JournalUse

if TYPE_CHECKING:
    from omniedit.edits.records import Bill, Expense
    from omniedit.edits.session import Session

EXAMPLES: Final = """
omniedit usage --by day --since 2026-11-01
omniedit usage --by clip --json
"""


def _parse_grouping(text: str) -> str:
    from omniedit.edits.records import GROUPINGS

    return parse_choice(text, GROUPINGS)


def usage(
    ctx: typer.Context,
    *,
    by: Annotated[
        str,
        option(
            "--by month|day|clip|model",
            "What to group the rows by (default month).",
            parser=_parse_grouping,
        ),
    ] = "month",
    since: Since = None,
    remote: Remote = False,
) -> Outcome:
    """Show what edits cost: charged, still reserved, or unknown.

    The service is asked about open edits first. Unknown charges are counted separately, never as 0.
    """
    from omniedit.edits.records import bills

    context: Context = ctx.obj
    begin = -math.inf if since is None else parse_since(since, now=context.clock.now())
    use = JournalUse.NONE if remote else JournalUse.REQUIRED
    with context.session(use, shows_progress=False) as session:
        rows, total = bills(_expenses(context, session, by, since=begin, remote=remote))
    _print(context, by, rows, total)
    return Outcome(
        fields={
            "by": by,
            "rows": [_document(name, bill) for name, bill in rows.items()],
            "total": _document(None, total),
        }
    )


def _expenses(
    context: Context, session: "Session", by: str, *, since: float, remote: bool
) -> "list[Expense]":
    from omniedit.edits.records import account_expenses, known_expenses
    from omniedit.terminal.human import render_moment

    if remote:
        found, oldest = account_expenses(session, by, since=since)
        if oldest is not None:
            context.printer.note(f"the account's list goes back to {render_moment(oldest)}")
        return found
    return known_expenses(session, by, since=since)


def _print(context: Context, by: str, rows: "Mapping[str | None, Bill]", total: "Bill") -> None:
    from omniedit.terminal.tables import render_columns

    if not rows:
        context.note_nothing("no edits yet")
        return
    cells = [(by.upper(), "TASKS", "CHARGED", "RESERVED", "UNKNOWN")]
    cells += [_cells(name or "-", bill) for name, bill in rows.items()]
    if len(rows) > 1:
        cells.append(_cells("total", total))
    context.printer.lines(render_columns(cells, context.printer.stdout_width))


def _cells(name: str, bill: "Bill") -> tuple[str, str, str, str, str]:
    from omniedit.terminal.human import render_credits

    # If no charge is known, 0 would be a guess.
    is_known = bill.charged or not bill.unknown
    charged = render_credits(bill.charged) if is_known else "unknown"
    reserved = render_credits(bill.reserved) if bill.reserved else "-"
    unknown = str(bill.unknown) if bill.unknown else "-"
    return name, f"{bill.tasks:,}", charged, reserved, unknown


def _document(group: str | None, bill: "Bill") -> dict[str, object]:
    return {
        "key": group,
        "tasks": bill.tasks,
        "credits_charged": bill.charged,
        "credits_reserved": bill.reserved,
        "tasks_unknown": bill.unknown,
    }
