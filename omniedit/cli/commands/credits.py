"""`omniedit credits`: the account's balance, and this key's own limit."""

from typing import TYPE_CHECKING, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.journal import JournalUse
from omniedit.models import CREDITS_PER_DOLLAR, Credits

if TYPE_CHECKING:
    from omniedit.terminal.streams import Span

EXAMPLES: Final = """
omniedit credits
omniedit credits --json
"""


def credits_(ctx: typer.Context) -> Outcome:
    """Show the account's balance and this key's own limit.

    Either can refuse a submission: top up the account, or raise the key's limit.
    """
    from omniedit.terminal.streams import Colour, Span

    context: Context = ctx.obj
    with context.session(JournalUse.NONE) as session:
        found: Credits = session.retry().call(session.service.get_credits)
    account = found.account_remaining
    key = found.key_remaining
    limit = Span("no limit of its own", Colour.GREEN) if found.is_key_unlimited else _shown(key)
    context.printer.line([_shown(account)], label="account  ")
    context.printer.line([limit], label="key      ")
    return Outcome(
        fields={
            "account_credits": account,
            "account_dollars": _dollars(account),
            "account_used": found.account_used,
            "key_credits": key,
            "key_dollars": _dollars(key),
            "key_used": found.key_used,
            "key_unlimited": found.is_key_unlimited,
        }
    )


def _dollars(credits: float | None) -> float | None:  # noqa: A002 - the unit's name
    return None if credits is None else round(credits / CREDITS_PER_DOLLAR, 2)


def _shown(credits: float | None) -> "Span":  # noqa: A002 - the unit's name
    from omniedit.terminal.human import render_credits
    from omniedit.terminal.streams import Colour, Span

    if credits is None:
        return Span("unknown", Colour.YELLOW)
    if credits <= 0:
        return Span(f"nothing left: {render_credits(credits)}", Colour.RED)
    if credits < CREDITS_PER_DOLLAR:
        return Span(f"{render_credits(credits)} left, less than a dollar", Colour.YELLOW)
    return Span(f"{render_credits(credits)} left", Colour.GREEN)
