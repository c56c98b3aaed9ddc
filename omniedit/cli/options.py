"""Options that commands share, and the values people type into them."""

import re
from typing import Annotated, Final

import typer

from omniedit.cli.parser import CLIP, COST, OUTPUT, SCRIPTS, WAITING, option, parse_choice
from omniedit.errors import InvalidInputError
from omniedit.models import Sound
from omniedit.sanitize import is_valid_unicode

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)

_DAY_S: Final = 24 * 3600


def parse_text(text: str) -> str:
    """Return text that can be stored and sent.

    Raises:
        typer.BadParameter: If it is not valid UTF-8.
    """
    if not is_valid_unicode(text):
        msg = "it is not valid UTF-8 text"
        raise typer.BadParameter(msg)
    return text


def parse_duration(text: str | float) -> float:
    """Return the seconds in a duration such as `90`, `90s`, `15m` or `1h30m`.

    Raises:
        typer.BadParameter: If the text is not a duration.
    """
    if not isinstance(text, str):  # Typer passes defaults through as well
        return text
    match = _DURATION.fullmatch(text.strip())
    if not match or not any(match.groups()):
        msg = f"invalid duration {text!r}; write 90, 90s, 15m or 1h30m"
        raise typer.BadParameter(msg)
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def parse_since(text: str, *, now: float) -> float:
    """Return the Unix time of a date in UTC, or of a duration ago.

    Raises:
        typer.BadParameter: If the text is neither.
    """
    from datetime import UTC, datetime

    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip(), re.ASCII):
        try:
            return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).timestamp()
        except ValueError:
            msg = f"no such date: {text}"
            raise typer.BadParameter(msg, param_hint="'--since'") from None
    if days := re.fullmatch(r"(\d{1,5})d", text.strip(), re.ASCII):
        return now - int(days[1]) * _DAY_S
    try:
        return now - parse_duration(text)
    except typer.BadParameter:
        msg = f"invalid date {text!r}; write a date such as 2026-01-31 (UTC), or how long ago: 15m, 48h, 7d"
        raise typer.BadParameter(msg, param_hint="'--since'") from None


def parse_credits(text: str | float) -> float:
    """Return a number of credits, 0 or more.

    Raises:
        typer.BadParameter: If the text is no such number, or is `nan`, which nothing exceeds.
    """
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not amount >= 0:
        msg = f"invalid number of credits {text!r}; write 80 or 12.5"
        raise typer.BadParameter(msg)
    return amount


def parse_rate(text: str | float) -> float:
    """Return the interval in seconds for a rate such as `2/s`, `30/m` or `500/h`.

    Raises:
        typer.BadParameter: If the text is not a rate above 0.
    """
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)/([smh])", text.strip(), re.ASCII)
    if not match or float(match[1]) == 0:
        msg = f"invalid rate {text!r}; write 2/s, 30/m or 500/h"
        raise typer.BadParameter(msg)
    return {"s": 1.0, "m": 60.0, "h": 3600.0}[match[2]] / float(match[1])


def parse_sound(text: str) -> Sound:
    """Return which sound a result gets.

    Raises:
        typer.BadParameter: If the text is not a known choice.
    """
    return Sound(parse_choice(text, tuple(Sound)))


def parse_shard(text: str) -> tuple[int, int]:
    """Return I and N of `I/N`.

    Raises:
        typer.BadParameter: If the text is not `I/N` with I from 1 to N.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        msg = f"invalid shard {text!r}; write I/N with I from 1 to N, such as 2/4"
        raise typer.BadParameter(msg, param_hint="'--shard'")
    return int(match[1]), int(match[2])


def refuse_sidecar(is_wanted: bool) -> None:  # noqa: FBT001 - the value of an option
    """Refuse `--sidecar` for a command that saves no file.

    Raises:
        InvalidInputError: If the option was given.
    """
    if is_wanted:
        msg = "--sidecar writes beside a saved file, and no file is saved"
        raise InvalidInputError(msg, code="usage")


_VIDEO: Final = typer.Argument(
    metavar="VIDEO", help="The clip: a URL, a local file, or a task's result (`task:TASK`)."
)
Video = Annotated[str, _VIDEO]
OptionalVideo = Annotated[str | None, _VIDEO]
Prompt = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPT", help="What to change, and what to keep. `-` reads it from stdin."
    ),
]
PromptFile = Annotated[
    str | None, option("--prompt-file FILE", "Read the prompt from FILE (`-`: stdin).", CLIP)
]
CallbackURL = Annotated[
    str | None,
    option(
        "--callback-url URL",
        "Have the service POST the finished task to URL.",
        SCRIPTS,
        parser=parse_text,
    ),
]
RequestID = Annotated[
    str | None,
    option(
        "--request-id ID",
        "Your own ID: the same ID is never charged twice.",
        SCRIPTS,
        parser=parse_text,
    ),
]
Check = Annotated[
    bool | None,
    option("--check/--no-check", "Check the clip before paying (default: local files only).", CLIP),
]
KeepHDR = Annotated[
    bool, option("--keep-hdr", "Send HDR colours (PQ, HLG) as they are, not as SDR.", CLIP)
]
Start = Annotated[str | None, option("--start T", "Start at T: seconds, or minutes:seconds.", CLIP)]
End = Annotated[str | None, option("--end T", "End at T: seconds, or minutes:seconds.", CLIP)]
ModelID = Annotated[
    str | None,
    option("--model ID", "The model (`config show` shows the default).", CLIP, parser=parse_text),
]
SoundOption = Annotated[
    Sound | None,
    option(
        "--sound new|original|none",
        "The service's sound, the clip's own, or none.",
        OUTPUT,
        parser=parse_sound,
    ),
]
MaxCredits = Annotated[
    float | None,
    option(
        "--max-credits N",
        "Stop if the estimate exceeds N credits or cannot be made.",
        COST,
        parser=parse_credits,
    ),
]
Again = Annotated[
    bool, option("--again", "Submit again, even if already done (charged again).", COST)
]
NoJournal = Annotated[
    bool, option("--no-journal", "Work without the journal and its protection.", SCRIPTS)
]
Tasks = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TASK]...",
        help="Task IDs, their last characters (6 or more), or `last` (the default).",
    ),
]
Remote = Annotated[
    bool, option("--remote", "Read the account's tasks, wherever they were submitted.")
]
Since = Annotated[
    str | None,
    option("--since DATE|DUR", "Only edits since a date (UTC) or a duration ago (`7d`)."),
]
Force = Annotated[bool, option("--force", "Replace an existing file.", OUTPUT)]
Sidecar = Annotated[
    bool, option("--sidecar", "Also write the provenance to NAME.mp4.json.", OUTPUT)
]
Timeout = Annotated[
    float,
    option(
        "--timeout DUR",
        "How long to wait: 90, 90s, 15m, 1h30m (default 30m).",
        WAITING,
        parser=parse_duration,
    ),
]
Expiring = Annotated[
    float | None,
    option(
        "--expiring DUR",
        "Only unsaved results whose link expires within DUR.",
        parser=parse_duration,
    ),
]
