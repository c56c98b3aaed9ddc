"""`omniedit journal`: what is to be done about the journal by hand."""

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.parser import Command, Group
from omniedit.journal import JOURNAL_FILE, Journal, Recovery
from omniedit.journal.recovery import recover as recover_journal

app = typer.Typer(
    name="journal",
    cls=Group,
    help="Settle what became of a damaged journal.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def journal() -> None:
    """Settle what became of a damaged journal."""


@app.command(
    "recover", cls=Command, epilog="omniedit journal recover\nomniedit journal recover --json"
)
def recover(ctx: typer.Context) -> Outcome:
    """Show what was restored of a damaged journal, and accept what was not.

    Until then `edit` and `batch` refuse to pay: an edit that could not be read may have been paid
    for already. The damaged file is kept.
    """
    context: Context = ctx.obj
    folder = context.settings.journal_folder
    recoveries: list[Recovery] = []
    if (folder / JOURNAL_FILE).exists():
        found = recover_journal(folder, policy=context.policy)
        with Journal(folder) as opened:
            recoveries = opened.recoveries()
            if found is not None and found.is_complete:
                recoveries.append(found)
            for recovery in recoveries:
                _print(context, recovery)
            opened.settle_recoveries()
    if not recoveries:
        context.printer.note("the journal is sound; there is nothing to recover")
    return Outcome(fields={"recoveries": [_document(recovery) for recovery in recoveries]})


def _print(context: Context, recovery: Recovery) -> None:
    context.printer.line(recovery.summary)
    if recovery.unreadable_pages:
        context.printer.line(f"unreadable pages: {recovery.unreadable_pages}")
    for missing_id in recovery.missing_ids:
        context.printer.line(f"missing: {missing_id}")


def _document(recovery: Recovery) -> dict[str, object]:
    return {
        "damaged_file": str(recovery.damaged_file),
        "submissions": recovery.rows_restored["attempts"],
        "tasks": recovery.rows_restored["tasks"],
        "unreadable_pages": recovery.unreadable_pages,
        "missing": list(recovery.missing_ids),
    }
