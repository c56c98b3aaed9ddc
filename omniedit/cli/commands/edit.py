"""`omniedit edit`: from sentence to file, safe to repeat."""

from typing import Annotated

import typer

from omniedit.cli.context import Runtime
from omniedit.cli.drafts import Typed, read_request
from omniedit.cli.options import (
    Again,
    CallbackURL,
    Check,
    End,
    Events,
    Force,
    MaxCredits,
    NoJournal,
    Prompt,
    PromptFile,
    RequestID,
    Start,
    Timeout,
    Video,
)
from omniedit.cli.session import JournalUse
from omniedit.errors import InvalidInputError, OmniEditError


def edit(
    context: typer.Context,
    video: Video,
    prompt: Prompt = None,
    *,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="PATH", help="Save the result there (`-`: stdout)."),
    ] = None,
    again: Again = False,
    force: Force = False,
    timeout: Timeout = 1800.0,
    callback_url: CallbackURL = None,
    request_id: RequestID = None,
    no_journal: NoJournal = False,
    split: Annotated[
        bool, typer.Option("--split", help="Edit a longer clip in pieces, and join the results.")
    ] = False,
    new_audio: Annotated[
        bool,
        typer.Option("--new-audio", help="With --split: keep the sound that is made anew."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --split: agree to the price beforehand.")
    ] = False,
    events: Events = False,
    prompt_file: PromptFile = None,
    start: Start = None,
    end: End = None,
    max_credits: MaxCredits = None,
    check: Check = None,
) -> list[OmniEditError]:
    """Submit, wait and save in one command that is safe to repeat.

    Like make: the same clip and sentence are paid for once. Run again after a crash, a lost
    connection or a Ctrl-C, it goes on where it stopped.

    With --split a clip of more than 10 seconds is edited in equal pieces and joined, its own sound
    laid over the result. What that costs is said first, and asked for.
    """
    from omniedit.edits.targets import Destination

    runtime: Runtime = context.obj
    if split:
        runtime.document_name = "edit-split"
    runtime.begin_events(is_asked=events)
    destination = Destination(output)
    if destination.is_stdout:
        runtime.require_text("--output -")
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
    use = JournalUse.NONE if no_journal else JournalUse.REQUIRED
    if split:
        from omniedit.cli.commands.split import SplitCall, edit_in_pieces
        from omniedit.edits.split import SplitOptions

        in_pieces = SplitOptions(
            destination=destination,
            again=again,
            overwrite=force,
            new_audio=new_audio,
            max_credits=max_credits,
            timeout_s=timeout,
        )
        call = SplitCall(runtime=runtime, options=in_pieces, use=use, has_consent=yes)
        return edit_in_pieces(call, typed)
    if new_audio or yes:
        msg = f"`{'--new-audio' if new_audio else '--yes'}` goes with --split only"
        raise InvalidInputError(msg, code="usage")
    from omniedit.edits.edit import EditOptions
    from omniedit.edits.edit import edit as make_edit

    runtime.announce_saved(destination)
    with runtime.session(use) as session:
        draft = read_request(session, typed)
        options = EditOptions(
            destination=destination, again=again, overwrite=force, timeout_s=timeout
        )
        runtime.board.add(make_edit(session, draft, options))
    return []
