"""`omniedit download`: save finished results."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import saving_command
from omniedit.cli.options import Expiring, Force, Sidecar, Tasks, new_destination
from omniedit.cli.parser import OUTPUT, option
from omniedit.errors import OmniEditError, refuse
from omniedit.journal import JournalUse

if TYPE_CHECKING:
    from omniedit.edits.session import Session

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
        option(
            "--output -o PATH",
            "Save the result to PATH, with --all a folder; `-` is stdout.",
            OUTPUT,
        ),
    ] = None,
    everything: Annotated[
        bool, option("--all", "Save every finished result that is not saved yet.")
    ] = False,
    sidecar: Sidecar = False,
    expiring: Expiring = None,
    force: Force = False,
) -> Outcome:
    """Save the results of finished tasks and print their paths.

    An interrupted download is resumed. Existing files are never overwritten without --force.
    """
    from omniedit.edits.records import find_records, unsaved_results
    from omniedit.edits.targets import STDOUT, Destination, complete_sidecars
    from omniedit.edits.wait import download_each

    context: Context = ctx.obj
    takes_all = everything or expiring is not None
    if takes_all and tasks:
        refuse("TASK cannot be used with --all or --expiring")
    if takes_all and output not in {None, STDOUT}:
        Destination(output).check_folder("--output")
        # One result today, several tomorrow: a folder in any case.
        output = f"{output}/"
    destination = new_destination(context, "--output", output, force=force, sidecar=sidecar)
    use = JournalUse.OPTIONAL if tasks else JournalUse.REQUIRED
    errors: list[OmniEditError] = []
    with context.session(use, observers=[context.print_saved], sidecars=sidecar) as session:
        if takes_all:
            found = list(unsaved_results(session, expiring_s=expiring))
        else:
            command = saving_command("download TASK", "--output", output, force=force)
            records = find_records(session, tasks or [], command=command)
            found = [(record, None) for record in records]
        for record, _ in found:
            context.board.add(record)
        for _record in context.successes(download_each(session, found, destination), errors):
            pass  # observers have reported it
        if takes_all:
            # Earlier runs may have left sidecars out.
            errors.extend(complete_sidecars(session))
            _note_rest(context, session, has_found=bool(found), expiring_s=expiring)
    return Outcome(errors=errors)


def _note_rest(
    context: Context, session: "Session", *, has_found: bool, expiring_s: float | None
) -> None:
    """Note what is left to save."""
    from omniedit.edits.records import describe_rest

    rest = describe_rest(session)
    if not has_found and expiring_s is not None:
        context.note_nothing("no unsaved result expires that soon")
    elif not has_found:
        context.note_nothing(
            f"nothing is left to save ({rest})" if rest else "nothing is left to save"
        )
    elif rest:
        context.printer.note(f"not saved: {rest}")
