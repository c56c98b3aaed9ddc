"""Options that commands share, and the values people type into them."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)
_SUMMARY_LIMIT: Final = 200
_COMMANDS_WITH_EVENTS: Final = frozenset({"edit", "wait", "batch"})


def parse_duration(text: str | float) -> float:
    """Return the seconds of `90`, `90s`, `15m` or `1h30m`.

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


def parse_credits(text: str | float) -> float:
    """Return a number of credits.

    Raises:
        typer.BadParameter: If the text is not a number from 0; `nan` is not: nothing exceeds it.
    """
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not amount >= 0:
        msg = f"invalid number of credits {text!r}; write 80 or 12.5"
        raise typer.BadParameter(msg)
    return amount


def parse_shard(text: str) -> tuple[int, int]:
    """Return I and N of `I/N`.

    Raises:
        typer.BadParameter: If the text is not one part of N.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        msg = f"invalid shard {text!r}; write I/N with I from 1 to N, such as 2/4"
        raise typer.BadParameter(msg)
    return int(match[1]), int(match[2])


Video = Annotated[
    str,
    typer.Argument(metavar="VIDEO", help="The clip: an http(s) URL of an MP4, or a local file."),
]
Prompt = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPT", help="What to change, and what to keep. `-` reads it from stdin."
    ),
]
PromptFile = Annotated[
    str | None,
    typer.Option("--prompt-file", metavar="FILE", help="Read the prompt from FILE (`-`: stdin)."),
]
CallbackURL = Annotated[
    str | None,
    typer.Option(
        "--callback-url", metavar="URL", help="Have the service POST the finished task to URL."
    ),
]
RequestID = Annotated[
    str | None,
    typer.Option(
        "--request-id",
        metavar="ID",
        help="Your own ID for this submission: with the same ID it is never charged twice.",
    ),
]
Check = Annotated[
    bool | None,
    typer.Option(
        "--check/--no-check",
        help="Check the clip before paying: local files always, URLs only with --check.",
    ),
]
KeepHDR = Annotated[
    bool,
    typer.Option("--keep-hdr", help="Send HDR colours (PQ, HLG) as they are, not as SDR."),
]
Start = Annotated[
    str | None,
    typer.Option("--start", metavar="T", help="Begin at T: seconds, or minutes:seconds."),
]
End = Annotated[
    str | None,
    typer.Option("--end", metavar="T", help="End at T: seconds, or minutes:seconds."),
]
MaxCredits = Annotated[
    float | None,
    typer.Option(
        "--max-credits",
        metavar="N",
        parser=parse_credits,
        help="Stop if the estimate exceeds N credits, or there is none.",
    ),
]
Again = Annotated[
    bool, typer.Option("--again", help="Submit again, even if already done (charged again).")
]
NoJournal = Annotated[
    bool, typer.Option("--no-journal", help="Go without the journal and its protection.")
]
Tasks = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TASK]...",
        help="Task IDs, their last characters (6 or more), or `last` (the default).",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="DUR",
        parser=parse_duration,
        show_default="30m",
        help="How long to wait: 90, 90s, 15m, 1h30m.",
    ),
]
Expiring = Annotated[
    float | None,
    typer.Option(
        "--expiring",
        metavar="DUR",
        parser=parse_duration,
        help="Only results whose link expires within DUR.",
    ),
]


class Command(TyperCommand):
    """A command that takes the global options after its name, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        params = [*(kwargs.get("params") or [])]
        if kwargs.get("name") in _COMMANDS_WITH_EVENTS:
            help_text = "Print events as they happen, one JSON object per line."
            params.append(_flag("--events", help=help_text))
        super().__init__(*args, **kwargs | {"params": [*params, *_global_options()]})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what was typed; from now on the call is known to be of this command."""
        call = ctx.find_root().obj
        if call is not None:  # completion reads commands without one
            call.command = " ".join(ctx.command_path.split()[1:])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Carry the command out, in a context that no longer changes."""
        ctx.obj = ctx.find_root().obj.freeze(ctx.params)
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the arguments as manuals write them: Typer puts a required one in braces."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the whole first sentence: a list of commands wraps it, Typer would cut it off."""
        return super().get_short_help_str(max(limit, _SUMMARY_LIMIT))


class Group(TyperGroup):
    """A group of commands that takes the global options before them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        params = [*(kwargs.get("params") or []), *_global_options()]
        super().__init__(*args, **kwargs | {"params": params})


def _global_options() -> list[TyperOption]:
    return [
        _flag("--json", help="Print one JSON document."),
        _flag("--quiet", "-q", help="No progress and no hints; errors are still shown."),
        _flag("--verbose", "-v", help="Trace HTTP, keys masked; show where an error came from."),
        _flag("--sandbox", help="Use the local stand-in of the service: no key, no cost, no edit."),
        TyperOption(
            param_decls=["--progress"],
            metavar="auto|plain|none",
            expose_value=False,
            callback=_remember(_parse_progress),
            help="How progress is shown on stderr.",
        ),
    ]


def _flag(*names: str, help: str) -> TyperOption:  # noqa: A002 - Typer's own word
    return TyperOption(
        param_decls=list(names),
        is_flag=True,
        default=False,
        expose_value=False,
        callback=_remember(bool),
        help=help,
    )


def _parse_progress(text: str) -> str:
    if text not in {"auto", "plain", "none"}:
        msg = f"{text!r} is not one of auto, plain, none"
        raise typer.BadParameter(msg)
    return text


def _remember(parse: Callable[[Any], Any]) -> Callable[..., None]:
    """Return a callback that notes a given option in the call; one left out changes nothing."""

    def remember(context: typer.Context, param: typer.CallbackParam, value: Any) -> None:
        if value:
            context.find_root().obj.options[param.name] = parse(value)

    return remember
