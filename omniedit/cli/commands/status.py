"""`omniedit status`: ask the service once for the state of tasks."""

from typing import Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import Tasks
from omniedit.errors import OmniEditError
from omniedit.journal import JournalUse

EXAMPLES: Final = """
omniedit status
omniedit status a1b2c3 --json
"""


def status(ctx: typer.Context, tasks: Tasks = None) -> Outcome:
    """Show the state of tasks, one per line.

    Exits 0 even if a task failed.
    """
    from omniedit.edits.reads import read_all
    from omniedit.edits.records import find_records, lost_files
    from omniedit.terminal.human import render_status_line

    context: Context = ctx.obj
    errors: list[OmniEditError] = []
    use = JournalUse.OPTIONAL if tasks else JournalUse.REQUIRED
    with context.session(use) as session:
        records = find_records(session, tasks or [], command="status TASK")
        for record in context.successes(read_all(session, records), errors):
            line = render_status_line(record, session.now(), lost_files=lost_files([record]))
            context.printer.line(line)
    return Outcome(errors=errors)
