"""`omniedit submit`: send one edit off, and print its task ID."""

from collections.abc import Callable
from typing import Annotated

import typer

from omniedit.cli.commands.dry_run import show_request
from omniedit.cli.context import Runtime
from omniedit.cli.drafts import Typed, read_request
from omniedit.cli.options import (
    CallbackURL,
    Check,
    End,
    MaxCredits,
    Prompt,
    PromptFile,
    RequestID,
    Start,
)
from omniedit.cli.session import JournalUse
from omniedit.errors import InvalidInputError
from omniedit.events import Event, Submitted


def submit(
    context: typer.Context,
    video: Annotated[
        str | None,
        typer.Argument(
            metavar="VIDEO", help="The clip: an http(s) URL of an MP4, or a local file."
        ),
    ] = None,
    prompt: Prompt = None,
    *,
    prompt_file: PromptFile = None,
    callback_url: CallbackURL = None,
    request_id: RequestID = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the exact request, and send nothing.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="REQUEST_ID", help="Settle a submission whose outcome is unknown."
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Resume it also when it is more than an hour old.")
    ] = False,
    start: Start = None,
    end: End = None,
    max_credits: MaxCredits = None,
    check: Check = None,
) -> None:
    """Submit one edit and print its task ID.

    VIDEO is at most 10 seconds long. It always submits: `edit` is the command that is safe to
    repeat.

    Tips from the service: name what must stay unchanged ("make the lighting warmer and keep
    everything else unchanged"), and write negative wishes into the prompt ("no text on screen").
    """
    runtime: Runtime = context.obj
    if dry_run:
        runtime.document_name = "submit-dry-run"
    if resume is not None:
        if video is not None or prompt is not None or prompt_file is not None or dry_run:
            msg = (
                "--resume goes with neither VIDEO, PROMPT nor --dry-run:"
                " it sends what was sent before"
            )
            raise InvalidInputError(msg, code="usage")
        _resume(runtime, resume, accepts_old=yes)
        return
    if video is None:
        msg = "VIDEO is missing: the URL or path of the clip to edit"
        raise InvalidInputError(msg, code="usage", hint='`omniedit submit VIDEO "PROMPT"`')
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
    if dry_run:
        show_request(runtime, typed)
    else:
        _submit(runtime, typed, accepts_old=yes)


def _resume(runtime: Runtime, request_id: str, *, accepts_old: bool) -> None:
    from omniedit.edits.replay import resume

    runtime.listeners.append(_print_task_id(runtime))
    with runtime.session(JournalUse.REQUIRED) as session:
        runtime.board.add(resume(session, request_id, accepts_old=accepts_old))


def _submit(runtime: Runtime, typed: Typed, *, accepts_old: bool) -> None:
    from omniedit.edits.submit import submit

    runtime.listeners.append(_print_task_id(runtime))
    with runtime.session(JournalUse.OPTIONAL) as session:
        draft = read_request(session, typed)
        runtime.board.add(submit(session, draft, accepts_old=accepts_old))


def _print_task_id(runtime: Runtime) -> Callable[[Event], None]:
    """Return a listener that prints the task ID as soon as it is known, and on disk."""

    def listen(event: Event) -> None:
        if isinstance(event, Submitted):
            runtime.printer.line(str(event.record.task_id))

    return listen
