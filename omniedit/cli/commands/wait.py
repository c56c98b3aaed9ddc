"""`omniedit wait`: follow tasks to their end, and save what they made."""

from typing import Annotated

import typer

from omniedit.cli.context import Runtime
from omniedit.cli.options import Events, Force, Tasks, Timeout
from omniedit.cli.session import JournalUse
from omniedit.errors import OmniEditError
from omniedit.models import Record


def wait(
    context: typer.Context,
    tasks: Tasks = None,
    *,
    download: Annotated[
        str | None,
        typer.Option(
            "--download",
            "-d",
            metavar="PATH",
            help="Save the result there; a folder (`out/`) takes several, `-` is stdout.",
        ),
    ] = None,
    force: Force = False,
    timeout: Timeout = 1800.0,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop waiting at the first task that fails.")
    ] = False,
    events: Events = False,
) -> list[OmniEditError]:
    """Wait for tasks to end, and save what they made.

    Prints where it was saved, or without --download the result URLs.

    Ctrl-C ends the waiting, not the task: the same command picks it up again.
    """
    from omniedit.edits.references import find_records
    from omniedit.edits.targets import Destination
    from omniedit.edits.wait import FollowOptions, follow

    runtime: Runtime = context.obj
    runtime.begin_events(is_asked=events)
    destination = None if download is None else Destination(download)
    if destination and destination.is_stdout:
        runtime.require_text("--download -")
    runtime.announce_saved(destination)
    runtime.board.saves = destination is not None
    errors: list[OmniEditError] = []
    use = JournalUse.OPTIONAL if tasks else JournalUse.REQUIRED
    with runtime.session(use, total_tasks=len(tasks or [""])) as session:
        records = find_records(session, tasks or [])
        for record in records:
            runtime.board.add(record)
        options = FollowOptions(
            destination=destination, overwrite=force, timeout_s=timeout, fail_fast=fail_fast
        )
        for record, error in follow(session, records, options):
            if error is not None:
                errors.append(error)
                runtime.board.note_error(record, error)
                continue
            runtime.board.add(record)
            if destination is None:
                _show_links(runtime, record)
    return errors


def _show_links(runtime: Runtime, record: Record) -> None:
    """Print result URLs, and say until when they live and how to save them."""
    from omniedit.terminal.human import render_moment

    for url in record.task.result_urls if record.task else ():
        runtime.printer.line(url)
    end = record.link_valid_until
    until = f"the link lives until {render_moment(end)} at least; " if end else ""
    message = f"{until}save it: `omniedit download {record.task_id}`"
    runtime.printer.note(runtime.pasteable(message))
