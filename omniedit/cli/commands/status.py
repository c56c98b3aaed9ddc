"""`omniedit status`: ask the service once how tasks stand."""

import typer

from omniedit.cli.context import Runtime
from omniedit.cli.options import Tasks
from omniedit.cli.session import JournalUse
from omniedit.errors import OmniEditError


def status(context: typer.Context, tasks: Tasks = None) -> list[OmniEditError]:
    """Show how tasks stand, a line each.

    A failed task is a question well answered: exit status 0.
    """
    from omniedit.edits.reads import read_all
    from omniedit.edits.references import find_records
    from omniedit.terminal.human import render_status_line

    runtime: Runtime = context.obj
    errors: list[OmniEditError] = []
    use = JournalUse.OPTIONAL if tasks else JournalUse.REQUIRED
    with runtime.session(use) as session:
        records = find_records(session, tasks or [])
        for record, error in read_all(session, records):
            if error is None:
                runtime.board.add(record)
                runtime.printer.lines([render_status_line(record, session.now())])
            else:
                runtime.board.note_error(record, error)
                errors.append(error)
    return errors
