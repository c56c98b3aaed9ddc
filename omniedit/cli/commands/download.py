"""`omniedit download`: save finished results."""

from typing import Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import saving_options
from omniedit.cli.options import Expiring, Force, Sidecar, Tasks, refuse_sidecar
from omniedit.cli.parser import OUTPUT
from omniedit.errors import InvalidInputError, OmniEditError
from omniedit.journal import JournalUse

EXAMPLES: Final = """
omniedit download --output out.mp4
omniedit download --expiring 6h --output results/
"""


def download(
    ctx: typer.Context,
    tasks: Tasks = None,
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=OUTPUT,
            metavar="PATH",
            help="Save the result to PATH; several need a folder (`out/`); `-` is stdout.",
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Save every finished result that is not saved yet.",
        ),
    ] = False,
    sidecar: Sidecar = False,
    expiring: Expiring = None,
    force: Force = False,
) -> Outcome:
    """Save the results of finished tasks and print their paths.

    An interrupted download is resumed. Existing files are never overwritten without --force.
    """
    from omniedit.edits.poller import EndedTask
    from omniedit.edits.records import find_records, lost_count, unsaved_results
    from omniedit.edits.sidecar import complete_sidecars
    from omniedit.edits.targets import Destination
    from omniedit.edits.wait import download_each

    context: Context = ctx.obj
    takes_all = everything or expiring is not None
    if takes_all and tasks:
        msg = "TASK cannot be used with --all or --expiring"
        raise InvalidInputError(msg, code="usage")
    destination = Destination(output, overwrite=force)
    if destination.is_stdout:
        context.require_free_stdout("--output -")
        refuse_sidecar(sidecar)
    options = saving_options("--output", output, force=force)
    errors: list[OmniEditError] = []
    use = JournalUse.OPTIONAL if tasks else JournalUse.REQUIRED
    with context.session(
        use,
        observers=[context.saved_files()],
        sidecars=sidecar,
    ) as session:
        found: list[EndedTask] = (
            list(unsaved_results(session, expiring_s=expiring))
            if takes_all
            else [
                (record, None)
                for record in find_records(
                    session, tasks or [], command=f"download TASK {options}".rstrip()
                )
            ]
        )
        for record, _ in found:
            context.board.add(record)
        for record, error in download_each(session, found, destination):
            if error is None:
                context.board.add(record)
            else:
                errors.append(error)
                context.board.add_error(record, error)
        if takes_all:
            errors.extend(complete_sidecars(session))
            if not found:
                _note_nothing_left(context, lost_count(session), only_expiring=expiring is not None)
    return Outcome(errors=errors)


def _note_nothing_left(context: Context, lost: int, *, only_expiring: bool) -> None:
    from omniedit.models import render_count

    words = "no unsaved result expires that soon" if only_expiring else "nothing is left to save"
    gone = f"; gone: {render_count(lost, 'result')}" if lost else ""
    context.printer.note(f"{words}{gone}")
