"""`omniedit wait`: follow tasks to their end, and save their results."""

from typing import Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import saving_command
from omniedit.cli.options import Force, Sidecar, Tasks, Timeout, new_destination, refuse_sidecar
from omniedit.cli.parser import OUTPUT, WAITING, option
from omniedit.errors import Hint, OmniEditError
from omniedit.journal import JournalUse
from omniedit.models import Record

EXAMPLES: Final = """
omniedit wait --download out.mp4
omniedit wait a1b2c3 d4e5f6 --download results/ --timeout 1h
"""


def wait(
    ctx: typer.Context,
    tasks: Tasks = None,
    *,
    download: Annotated[
        str | None,
        option(
            "--download -d -o PATH",
            "Save the result to PATH; several need a folder (`out/`); `-` is stdout.",
            OUTPUT,
        ),
    ] = None,
    force: Force = False,
    timeout: Timeout = 1800.0,
    sidecar: Sidecar = False,
    fail_fast: Annotated[
        bool, option("--fail-fast", "Stop waiting at the first task that fails.", WAITING)
    ] = False,
) -> Outcome:
    """Wait for tasks to finish, and save their results.

    Prints the saved paths, or without --download the result URLs.

    Ctrl-C stops the waiting, not the task: run the same command to pick it up again.
    """
    from omniedit.edits.records import find_records
    from omniedit.edits.wait import follow

    context: Context = ctx.obj
    destination = None
    if download is None:
        if sidecar:
            refuse_sidecar()
    else:
        destination = new_destination(context, "--download", download, force=force, sidecar=sidecar)
    context.board.saves = destination is not None
    context.board.expect(len(tasks or [""]))
    errors: list[OmniEditError] = []
    use = JournalUse.OPTIONAL if tasks else JournalUse.REQUIRED
    with context.session(use, observers=[context.print_saved], sidecars=sidecar) as session:
        command = saving_command("wait TASK", "--download", download, force=force)
        records = find_records(session, tasks or [], command=command)
        for record in records:
            context.board.add(record)
        outcomes = follow(session, records, destination, timeout_s=timeout, fail_fast=fail_fast)
        for record in context.successes(outcomes, errors):
            if destination is None:
                _print_links(context, record)
    return Outcome(errors=errors)


def _print_links(context: Context, record: Record) -> None:
    """Print result URLs, and note until when they work and how to save them."""
    from omniedit.edits.records import has_every_file, lost_files
    from omniedit.terminal.human import render_moment, shown_file

    for url in record.result_urls:
        context.printer.line(url)
    file = shown_file(record, lost_files([record]))
    if has_every_file(record) and file is not None:
        context.printer.note(f"saved as {file.path}")
        return
    end = record.link_valid_until
    until = ""
    if end is not None and end <= context.clock.now():
        until = f"the link may have expired at {render_moment(end)}; "
    elif context.settings.is_embedded:
        # The sandbox of this command ends with it.
        until = "the link works while `omniedit sandbox serve` runs; "
    elif end is not None:
        until = f"the link works until {render_moment(end)} at least; "
    context.printer.note(Hint(f"{until}save it: {{}}", f"download {record.task_id}"))
