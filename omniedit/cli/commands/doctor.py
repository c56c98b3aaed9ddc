"""`omniedit doctor`: look at everything an edit needs, without spending."""

import typer

from omniedit.cli.context import Runtime
from omniedit.errors import OmniEditError


def doctor(context: typer.Context) -> list[OmniEditError]:
    """Check key, network, service, clock, folders and extras; nothing is spent."""
    from omniedit.cli.checks import Verdict, every_check

    runtime: Runtime = context.obj
    checks: list[dict[str, object]] = []
    runtime.fields = {"checks": checks}
    runtime.shows_errors = False  # the lines say it all
    errors: list[OmniEditError] = []
    for check in every_check(runtime):
        checks.append(
            {
                "name": check.name,
                "verdict": check.verdict.value,
                "message": check.message,
                "hint": check.hint,
            }
        )
        runtime.printer.line(f"{check.verdict.value:<8} {check.name:<14} {check.message}")
        if check.hint is not None and check.verdict is not Verdict.OK:
            runtime.printer.line(f"{'':<23} {check.hint}")
        if check.error is not None:
            errors.append(check.error)
    return errors
