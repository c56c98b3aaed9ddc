"""`omniedit probe`: what a clip is, whether the service takes it, and what it would cost."""

from typing import Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import Video
from omniedit.cli.session import JournalUse
from omniedit.errors import Interrupted, OmniEditError

EXAMPLES: Final = """
omniedit probe clip.mp4
omniedit probe https://example.com/clip.mp4 --json
"""


def probe(ctx: typer.Context, video: Video) -> Outcome:
    """Show what a clip is, whether it fits, and about what an edit of it costs.

    Of a URL little more than the header is read: at most 2 MiB, in 3 seconds.
    """
    from omniedit.edits import clips
    from omniedit.terminal.probe import clip_fields, render_clip

    context: Context = ctx.obj
    try:
        with context.session(JournalUse.NONE, shows_progress=False) as session:
            found = clips.probe(session, video)
    except (Interrupted, OmniEditError) as error:
        return Outcome(fields={"video": video}, ended_by=error)
    facts, problems, cost = found.facts, found.problems, found.estimated_credits
    printer = context.printer
    printer.lines(
        render_clip(
            facts,
            problems,
            cost=cost,
            width=printer.stdout_width,
        )
    )
    return Outcome(
        fields=clip_fields(video, facts, problems, fits=found.fits, cost=cost),
        errors=[found.error] if found.error else [],
    )
