"""`omniedit download`: save finished results."""

from typing import Annotated

import typer

from omniedit.cli.context import Runtime
from omniedit.cli.options import Expiring, Force, Tasks
from omniedit.cli.session import JournalUse
from omniedit.errors import InvalidInputError, OmniEditError


def download(
    context: typer.Context,
    tasks: Tasks = None,
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Save there; a folder (`out/`) takes several, `-` is stdout.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Save every finished result that is not here yet.")
    ] = False,
    expiring: Expiring = None,
    force: Force = False,
) -> list[OmniEditError]:
    """Save the results of finished tasks and print their paths.

    An interrupted download goes on where it stopped. Existing files are never overwritten
    without --force.
    """
    from omniedit.edits.list import unsaved_results
    from omniedit.edits.references import find_records
    from omniedit.edits.save import download_each
    from omniedit.edits.targets import Destination
    from omniedit.edits.wait import Outcome

    runtime: Runtime = context.obj
    takes_all = everything or expiring is not None
    if takes_all and tasks:
        msg = "TASK goes with neither --all nor --expiring"
        raise InvalidInputError(msg, code="usage")
    destination = Destination(output)
    if destination.is_stdout:
        runtime.require_text("--output -")
    runtime.announce_saved(destination)
    errors: list[OmniEditError] = []
    use = JournalUse.OPTIONAL if tasks else JournalUse.REQUIRED
    with runtime.session(use) as session:
        found: list[Outcome] = (
            list(unsaved_results(session, expiring_s=expiring))
            if takes_all
            else [(record, None) for record in find_records(session, tasks or [])]
        )
        for record, _ in found:
            runtime.board.add(record)
        for record, error in download_each(session, found, destination, overwrite=force):
            if error is None:
                runtime.board.add(record)
            else:
                errors.append(error)
                runtime.board.note_error(record, error)
        if takes_all and not found:
            runtime.printer.note("every finished result is saved")
    return errors
