"""`omniedit probe`: what a clip is, whether the service takes it, and what it would cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import ModelID, Video
from omniedit.cli.parser import OUTPUT, option
from omniedit.errors import Interrupted, OmniEditError, TargetExistsError, refuse
from omniedit.journal import JournalUse
from omniedit.models import TASK_PREFIX, find_model

if TYPE_CHECKING:
    from omniedit.edits.clips import Findings
    from omniedit.edits.session import Session
    from omniedit.terminal.documents import Document

EXAMPLES: Final = """
omniedit probe clip.mp4
omniedit probe https://example.com/clip.mp4 --json
"""


def probe(
    ctx: typer.Context,
    video: Video,
    *,
    save_prepared: Annotated[
        str | None,
        option("--save-prepared FILE", "Write the clip that would be sent to FILE.", OUTPUT),
    ] = None,
    model: ModelID = None,
) -> Outcome:
    """Show what a clip is, whether it fits, and roughly what an edit costs.

    If VIDEO is a URL, little more than the header is read: at most 2 MiB, in 3 seconds.
    """
    from omniedit.edits import clips

    context: Context = ctx.obj
    fields: Document = {"video": video}
    try:
        if save_prepared is not None:
            _check_target(video, save_prepared)
        is_result = video.startswith(TASK_PREFIX)
        use = JournalUse.OPTIONAL if is_result else JournalUse.NONE
        shows_progress = is_result or save_prepared is not None
        with context.session(use, shows_progress=shows_progress) as session:
            clip = video
            if is_result:
                from omniedit.edits.requests import find_result

                task = video.removeprefix(TASK_PREFIX)
                clip = str(find_result(session, task, command="probe task:TASK")[0])
            found = clips.probe(session, clip, find_model(context.model(model).value))
            fields |= _print_findings(context, video, found)
            if save_prepared is not None and found.error is None:
                fields["prepared"] = _save_prepared(
                    session, clip, save_prepared, model_id=found.model.model_id
                )
    except (Interrupted, OmniEditError) as error:
        return Outcome(fields=fields, ended_by=error)
    return Outcome(fields=fields, errors=[found.error] if found.error else [])


def _print_findings(context: Context, video: str, found: "Findings") -> "Document":
    """Print the findings about a clip, and return them as fields of the document."""
    from omniedit.terminal.probe import clip_fields, render_clip

    facts, problems = found.facts, found.problems
    cost = found.model.estimated_credits(facts.duration_s)
    printer = context.printer
    lines = render_clip(facts, problems, model=found.model, cost=cost, width=printer.stdout_width)
    printer.lines(lines)
    return clip_fields(video, facts, problems, model=found.model, fits=found.fits, cost=cost)


def _check_target(video: str, file: str) -> None:
    """Refuse a file that cannot be written, or a clip that the service fetches itself."""
    from omniedit.downloads.placement import check_writable
    from omniedit.models import is_local

    if not is_local(video):
        refuse(
            "`--save-prepared` needs a local clip: one behind a URL is not prepared here",
            hint="give a local copy of it",
        )
    if file == "-":
        refuse("`--save-prepared` writes to a file: the findings go to stdout", hint="name a file")
    try:
        check_writable(Path(file))
    except TargetExistsError as error:
        error.hint = "choose another name: `probe` never replaces a file"
        raise


def _save_prepared(session: "Session", video: str, file: str, *, model_id: str) -> "Document":
    """Write the clip that would be sent, and return its fields of the document."""
    from omniedit.edits.upload import save_prepared
    from omniedit.events import Saved
    from omniedit.terminal.documents import content_document

    saved, done = save_prepared(session, video, Path(file), model_id=model_id)
    session.report(Saved(file=saved, shown_path=file))
    return {**content_document(saved), "done": done}
