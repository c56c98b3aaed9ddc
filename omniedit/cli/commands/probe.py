"""`omniedit probe`: what a clip is, whether the service takes it, and what it would cost."""

import typer

from omniedit.cli.context import Runtime
from omniedit.cli.options import Video
from omniedit.cli.session import JournalUse
from omniedit.errors import OmniEditError


def probe(context: typer.Context, video: Video) -> list[OmniEditError]:
    """Show what a clip is, whether it fits, and about what an edit of it costs.

    Of a URL little more than the header is read: 2 MiB and 3 seconds at most.
    """
    from omniedit.edits.clips import probe as look
    from omniedit.terminal.probe import clip_fields, render_clip

    runtime: Runtime = context.obj
    runtime.fields = {"video": video}
    with runtime.session(JournalUse.NONE, shows_progress=False) as session:
        found = look(session, video)
    runtime.fields = clip_fields(
        video, found.facts, found.problems, fits=found.fits, cost=found.estimated_credits
    )
    printer = runtime.printer
    printer.lines(
        render_clip(
            found.facts,
            found.problems,
            cost=found.estimated_credits,
            width=printer.stdout_width,
        )
    )
    return [found.error] if found.error else []
