"""`omniedit doctor`: check everything an edit needs, without spending."""

from typing import Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import hint_for
from omniedit.errors import Interrupted, OmniEditError
from omniedit.journal import JournalUse

EXAMPLES: Final = """
omniedit doctor
omniedit doctor --sandbox
"""


def doctor(ctx: typer.Context) -> Outcome:
    """Check key, network, service, clock, folders and extras; nothing is spent."""
    from omniedit.edits.doctor import Verdict, every_check
    from omniedit.terminal.streams import Colour, Span

    context: Context = ctx.obj
    printer = context.printer
    colours = {
        Verdict.OK: Colour.GREEN,
        Verdict.WARNING: Colour.YELLOW,
        Verdict.FAILURE: Colour.BOLD_RED,
    }
    checks: list[dict[str, object]] = []
    errors: list[OmniEditError] = []
    ended_by: Interrupted | None = None
    found = every_check(
        context.environ,
        load_settings=lambda: context.settings,
        open_session=lambda: context.session(JournalUse.NONE, shows_progress=False),
    )
    try:
        for check in found:
            usual = hint_for(check.error, command="doctor") if check.error else None
            hint = context.render_hint(check.hint or usual)
            verdict = check.verdict.value
            checks.append(
                {"name": check.name, "verdict": verdict, "message": check.message, "hint": hint}
            )
            label = [Span(f"{verdict:<8} ", colours[check.verdict]), Span(f"{check.name:<14} ")]
            printer.line(check.message, label=label)
            if hint is not None and check.verdict is not Verdict.OK:
                printer.line(hint, label=" " * 24)
            if check.error is not None:
                errors.append(check.error)
    except Interrupted as interrupted:
        ended_by = interrupted
    return Outcome(
        fields={"checks": checks}, errors=errors, has_shown_errors=True, ended_by=ended_by
    )
