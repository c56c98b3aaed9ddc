"""`omniedit edit`: from sentence to file, safe to repeat."""

from typing import Annotated

import typer

from omniedit.cli.drafts import Typed, read_draft
from omniedit.cli.options import (
    CallbackURL,
    Check,
    End,
    Events,
    Force,
    MaxCredits,
    Prompt,
    PromptFile,
    RequestID,
    Start,
    Timeout,
    Video,
)
from omniedit.cli.runtime import Runtime
from omniedit.cli.session import JournalUse


def edit(
    context: typer.Context,
    video: Video,
    prompt: Prompt = None,
    *,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="PATH", help="Save the result there (`-`: stdout)."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Make and pay it anew, though it is known here.")
    ] = False,
    force: Force = False,
    timeout: Timeout = 1800.0,
    callback_url: CallbackURL = None,
    request_id: RequestID = None,
    no_journal: Annotated[
        bool, typer.Option("--no-journal", help="Do without the journal, and its protection.")
    ] = False,
    events: Events = False,
    prompt_file: PromptFile = None,
    start: Start = None,
    end: End = None,
    max_credits: MaxCredits = None,
    check: Check = None,
) -> None:
    """Submit, wait and save in one command that is safe to repeat.

    Like make: the same clip and sentence are paid for once. Run again after a crash, a lost
    connection or a Ctrl-C, it goes on where it stopped.
    """
    from omniedit.tasks import editing
    from omniedit.tasks.targets import Destination

    runtime: Runtime = context.obj
    runtime.begin_events(is_asked=events, fields={"tasks": []})
    destination = Destination(output)
    if destination.is_stdout:
        runtime.require_text("--output -")
    runtime.announce_saved(destination)
    typed = Typed(
        video=video,
        prompt=prompt,
        prompt_file=prompt_file,
        callback_url=callback_url,
        request_id=request_id,
        start=start,
        end=end,
        check=check,
        max_credits=max_credits,
    )
    options = editing.EditOptions(
        destination=destination, again=again, overwrite=force, timeout_s=timeout
    )
    use = JournalUse.NONE if no_journal else JournalUse.REQUIRED
    with runtime.session(use) as session:
        draft = read_draft(session, typed)
        runtime.tally.add(editing.edit(session, draft, options))
