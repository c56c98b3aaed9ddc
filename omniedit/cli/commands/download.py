"""`omniedit download`: save finished results."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import saving_options
from omniedit.cli.options import Expiring, Force, Sidecar, Tasks, refuse_sidecar
from omniedit.cli.parser import OUTPUT, option
from omniedit.errors import InvalidInputError, OmniEditError
from omniedit.journal import JournalUse

if TYPE_CHECKING:
    from omniedit.edits.reads import TaskOutcome
    from omniedit.edits.session import Session
    from omniedit.edits.targets import Destination

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
    from omniedit.edits.targets import STDOUT, Destination

    context: Context = ctx.obj
    takes_all = everything or expiring is not None
    if takes_all and tasks:
        msg = "TASK cannot be used with --all or --expiring"
        raise InvalidInputError(msg, code="usage")
    if takes_all and output not in {None, STDOUT}:
        # One result today, several tomorrow: a folder in any case.
        output = f"{output}/"
    destination = Destination(output, overwrite=force)
    if destination.is_stdout:
        context.require_free_stdout("--output -")
        refuse_sidecar(sidecar)
    use = JournalUse.OPTIONAL if tasks else JournalUse.REQUIRED
    with context.session(use, observers=[context.saved_files()], sidecars=sidecar) as session:
        if takes_all:
            found = list(unsaved_results(session, expiring_s=expiring))
            return Outcome(errors=_save_all(context, session, found, destination, expiring))
        options = saving_options("--output", output, force=force)
        command = f"download TASK {options}".rstrip()
        named = [(record, None) for record in find_records(session, tasks or [], command=command)]
        return Outcome(errors=_save(context, session, named, destination))


def _save(
    context: Context, session: "Session", found: "Sequence[TaskOutcome]", destination: "Destination"
) -> list[OmniEditError]:
    """Save the results of tasks; return the errors."""
    from omniedit.edits.wait import download_each

    errors: list[OmniEditError] = []
    for record, _ in found:
        context.board.add(record)
    for record, error in download_each(session, found, destination):
        if error is None:
            context.board.add(record)
        else:
            errors.append(error)
            context.board.add_error(record, error)
    return errors


def _save_all(
    context: Context,
    session: "Session",
    found: "Sequence[TaskOutcome]",
    destination: "Destination",
    expiring_s: float | None,
) -> list[OmniEditError]:
    """Save all unsaved results, and the sidecars that earlier runs left out; return the errors."""
    from omniedit.edits.records import describe_rest
    from omniedit.edits.sidecar import complete_sidecars

    errors = _save(context, session, found, destination)
    errors.extend(complete_sidecars(session))
    rest = describe_rest(session)
    if not found and expiring_s is not None:
        context.printer.note("no unsaved result expires that soon")
    elif not found:
        context.printer.note(f"nothing is left to save{rest and f' ({rest})'}")
    elif rest:
        context.printer.note(f"not saved: {rest}")
    return errors
