"""`omniedit journal`: merge other journals, or recover a damaged one."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.parser import Command, new_group
from omniedit.errors import LocalError, OmniEditError
from omniedit.journal import JOURNAL_FILE, Journal, JournalUse, Recovery
from omniedit.journal.recovery import recover as recover_journal
from omniedit.system.files import check_own_paths

if TYPE_CHECKING:
    from omniedit.journal.merging import Merged

app = new_group("journal", "Merge other journals, or recover a damaged one.")


@app.command(
    "merge", cls=Command, epilog="omniedit journal merge shard-1/.omniedit shard-2/.omniedit"
)
def merge(
    ctx: typer.Context,
    folders: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER...",
            help="State folders (OMNIEDIT_STATE_DIR) of other machines or jobs.",
        ),
    ],
) -> Outcome:
    """Merge the edits of other journals into this one, and report what contradicts it.

    The others are only read, and merging them again changes nothing. Merged edits are never `last`.
    """
    from omniedit.journal.merging import merge as merge_journal

    context: Context = ctx.obj
    into = context.settings.journal_folder
    timeout_s = context.policy.journal_timeout_s
    found: list[dict[str, object]] = []
    errors: list[OmniEditError] = []
    # Opening our own journal sets it aside if it is damaged, as in other commands.
    with context.session(JournalUse.REQUIRED, shows_progress=False) as session:
        for folder in folders:
            source = Path(folder)
            if session.is_sandbox:
                source /= into.name
            counts: dict[str, int | None] = dict.fromkeys(("submissions", "tasks", "files"))
            found.append({"folder": folder, **counts, "conflicts": [], "error": None})
            try:
                merged = merge_journal(
                    into, source, private=session.private_folder, timeout_s=timeout_s
                )
            except LocalError as error:
                # The other folders are still merged.
                errors.append(error)
                found[-1]["error"] = error.message
            else:
                found[-1] |= asdict(merged)
                _print_merged(context, folder, merged)
    return Outcome(fields={"folders": found}, errors=errors)


@app.command(
    "recover", cls=Command, epilog="omniedit journal recover\nomniedit journal recover --json"
)
def recover(ctx: typer.Context) -> Outcome:
    """Show what was restored from a damaged journal, and accept the loss of the rest.

    Until then `edit` and `batch` refuse to pay: an edit that could not be read may have been paid
    for already. The damaged file is kept.
    """
    context: Context = ctx.obj
    folder = context.settings.journal_folder
    enclosing = context.settings.enclosing_folder
    recoveries: list[Recovery] = []
    # A journal that cannot be examined must not be called sound.
    check_own_paths(folder / JOURNAL_FILE)
    if os.path.lexists(folder / JOURNAL_FILE):
        timeout_s = context.policy.journal_timeout_s
        found = recover_journal(folder, enclosing=enclosing, timeout_s=timeout_s)
        with Journal(folder, enclosing=enclosing, timeout_s=timeout_s) as opened:
            recoveries = opened.recoveries()
            if found is not None and found.is_complete:
                recoveries.append(found)
            for recovery in recoveries:
                context.printer.line(recovery.summary)
                if recovery.unreadable_pages:
                    context.printer.line(f"unreadable pages: {recovery.unreadable_pages}")
                for missing_id in recovery.missing_ids:
                    context.printer.line(f"missing: {missing_id}")
            opened.accept_losses()
    if not recoveries:
        context.printer.note("the journal is sound; there is nothing to recover")
    return Outcome(fields={"recoveries": [_document(recovery) for recovery in recoveries]})


def _print_merged(context: Context, folder: str, merged: "Merged") -> None:
    from omniedit.models import render_count

    new = {"submission": merged.submissions, "task": merged.tasks, "file": merged.files}
    counts = ", ".join(render_count(number, noun) for noun, number in new.items())
    context.printer.line(f"{folder}: {counts} new")
    for conflict in merged.conflicts:
        context.printer.warn(f"{folder}: {conflict}")


def _document(recovery: Recovery) -> dict[str, object]:
    return {
        "damaged_file": str(recovery.damaged_file),
        "submissions": recovery.rows_restored["attempts"],
        "tasks": recovery.rows_restored["tasks"],
        "unreadable_pages": recovery.unreadable_pages,
        "missing": list(recovery.missing_ids),
    }
