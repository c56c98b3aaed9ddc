"""`omniedit submit`: send one edit and print its task ID; `--dry-run` shows the request."""

import json
from typing import Annotated, Final

import typer

from omniedit.cli import options
from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import quoted_destination
from omniedit.cli.options import read_prompt, read_request
from omniedit.cli.parser import COST, SCRIPTS, option
from omniedit.errors import Hint, refuse
from omniedit.journal import JournalUse
from omniedit.models import TASK_PREFIX, EditRequest
from omniedit.sanitize import quoted

EXAMPLES: Final = """
omniedit submit https://example.com/clip.mp4 "make it night"
omniedit submit clip.mp4 "make it night" --dry-run
"""
_KEY: Final = "$EVOLINK_API_KEY"
# The sandbox inside a command has no address, so `--dry-run` shows the request for `sandbox serve`,
# with a key that only the sandbox takes: the pasted line must not pay.
_SANDBOX_KEY: Final = "sk-sandbox-dry-run"
_SANDBOX_PORT: Final = 8123


def submit(
    ctx: typer.Context,
    video: options.OptionalVideo = None,
    prompt: options.Prompt = None,
    *,
    prompt_file: options.PromptFile = None,
    callback_url: options.CallbackURL = None,
    request_id: options.RequestID = None,
    dry_run: Annotated[
        bool,
        option(
            "--dry-run", "Print the exact request (scripts: with `--json`) and send nothing.", COST
        ),
    ] = False,
    resume: Annotated[
        str | None,
        option("--resume REQUEST_ID", "Settle a submission whose outcome is unknown.", SCRIPTS),
    ] = None,
    as_task: Annotated[
        str | None, option("--as TASK", "With --resume: record TASK as its outcome.", SCRIPTS)
    ] = None,
    yes: Annotated[
        bool, option("--yes", "With --resume: send it even if more than an hour old.", SCRIPTS)
    ] = False,
    start: options.Start = None,
    end: options.End = None,
    max_credits: options.MaxCredits = None,
    check: options.Check = None,
    keep_hdr: options.KeepHDR = False,
    model: options.ModelID = None,
) -> Outcome:
    """Submit one edit and print its task ID.

    `probe` shows whether VIDEO is too long. This command always submits: `edit` is safe to repeat.

    Tips from the service: name what must stay unchanged ("make the lighting warmer and keep
    everything else unchanged"), and write negative wishes into the prompt ("no text on screen").
    """
    context: Context = ctx.obj
    if resume is not None:
        given = (video, prompt, prompt_file, callback_url, request_id, start, end, max_credits)
        if dry_run or keep_hdr or any(each is not None for each in (*given, check, model)):
            refuse(
                "--resume cannot be used with VIDEO, PROMPT or options of a new edit:"
                " it sends the same request again"
            )
        return _resume(context, resume, as_task=as_task, accepts_old=yes)
    if as_task is not None:
        refuse("--as requires --resume")
    if video is None:
        refuse(
            "VIDEO is missing: the URL or path of the clip to edit",
            hint=Hint("{}", 'submit VIDEO "PROMPT"'),
        )
    chosen = context.model(model)
    request = EditRequest(
        video=video,
        prompt=prompt or "",
        callback_url=callback_url,
        request_id=request_id,
        start=start,
        end=end,
        check=check,
        max_credits=max_credits,
        keeps_hdr=keep_hdr,
        model=chosen.value,
        model_source=chosen.source,
    )
    if dry_run:
        text = read_prompt(context, prompt, prompt_file, video=video)
        return _show_request(context, request._replace(prompt=text))

    from omniedit.edits import submit as submitting

    with context.session(JournalUse.PAYS, observers=[context.print_task_id]) as session:
        request = read_request(context, session, request, prompt=prompt, prompt_file=prompt_file)
        submitting.submit(session, request, accepts_old=yes)
    context.printer.next_step(f"wait --download {quoted_destination(None)}")
    return Outcome()


def _resume(
    context: Context, request_id: str, *, as_task: str | None, accepts_old: bool
) -> Outcome:
    from omniedit.edits.settling import resume, settle_as

    with context.session(JournalUse.REQUIRED, observers=[context.print_task_id]) as session:
        if as_task is None:
            resume(session, request_id, accepts_old=accepts_old)
        else:
            settle_as(session, request_id, as_task)
    return Outcome()


def _show_request(context: Context, request: EditRequest) -> Outcome:
    """Print what would be sent, as JSON and as a line for `curl`."""
    from omniedit.edits.requests import prepare
    from omniedit.models import clip_name
    from omniedit.terminal.human import render_estimate

    is_result = request.video.startswith(TASK_PREFIX)
    use = JournalUse.OPTIONAL if is_result else JournalUse.NONE
    with context.session(use, shows_progress=is_result) as session:
        edit = prepare(session, request)
        request_id = request.request_id or session.new_request_id()
    clip_url = request.video
    if edit.is_uploaded:
        clip_url = f"<URL of {clip_name(edit.request.video)} once it is uploaded>"
    body = edit.body(clip_url=clip_url)
    settings = context.settings
    base_url = settings.base_url.value
    key = _KEY
    if settings.is_embedded:
        base_url = f"http://127.0.0.1:{_SANDBOX_PORT}"
        key = _SANDBOX_KEY
        context.printer.note(f"`omniedit sandbox serve --port {_SANDBOX_PORT}` takes this request")
    url = f"{base_url}/v1/videos/generations"
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Idempotency-Key": request_id,
    }
    shown = {"method": "POST", "url": url, "headers": headers, "body": json.loads(body)}
    curl = _render_curl(url, headers, body.decode())
    context.printer.lines([*json.dumps(shown, indent=2).splitlines(), curl])
    estimate = edit.plan.estimated_credits
    if estimate is not None:
        context.printer.note(f"estimated cost: {render_estimate(estimate)}")
    rounded = None if estimate is None else round(estimate, 1)
    return Outcome(fields={"request": shown, "curl": curl, "estimated_credits": rounded})


def _render_curl(url: str, headers: dict[str, str], body: str) -> str:
    words = ["curl", "--silent", "--show-error", "--request", "POST", quoted(url)]
    for name, value in headers.items():
        # Double quotes let the shell insert the key when the line is run.
        header = f"{name}: {value}"
        words += ["--header", f'"{header}"' if _KEY in value else quoted(header)]
    return " ".join([*words, "--data", quoted(body)])
