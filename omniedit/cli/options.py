"""The options that commands share, and their values; prompts and other input; consent."""

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from omniedit.cli.parser import CLIP, COST, OUTPUT, SCRIPTS, WAITING, option, parse_choice
from omniedit.errors import Hint, InvalidInputError, MissingFileError, refuse
from omniedit.models import EditRequest, Sound, is_local, is_video_name
from omniedit.sanitize import is_valid_unicode, quoted
from omniedit.system import THIS_SYSTEM, error_reason
from omniedit.system.files import decode_text, is_file, read_at_most

if TYPE_CHECKING:
    from omniedit.cli.context import Context
    from omniedit.edits.session import Session
    from omniedit.edits.targets import Destination

STDIN: Final = "-"
_DAY_S: Final = 24 * 3600


def parse_text(text: str) -> str:
    """Return text that can be stored and sent: valid UTF-8."""
    if not is_valid_unicode(text):
        _refuse_value("it is not valid UTF-8 text")
    return text


def parse_duration(text: str | float) -> float:
    """Return the seconds in a duration such as `90`, `90s`, `15m` or `1h30m`."""
    if not isinstance(text, str):  # Typer passes defaults through as well
        return text
    pattern = r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?"
    match = re.fullmatch(pattern, text.strip(), re.ASCII)
    if not match or not any(match.groups()):
        _refuse_value(f"invalid duration {text!r}; write 90, 90s, 15m or 1h30m")
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def parse_since(text: str, *, now: float) -> float:
    """Return the Unix time of a date in UTC, or of a duration ago."""
    from datetime import UTC, datetime

    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip(), re.ASCII):
        try:
            return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).timestamp()
        except ValueError:
            _refuse_value(f"no such date: {text}", option="--since")
    if days := re.fullmatch(r"(\d{1,5})d", text.strip(), re.ASCII):
        return now - int(days[1]) * _DAY_S
    try:
        return now - parse_duration(text)
    except typer.BadParameter:
        advice = "write a date such as 2026-01-31 (UTC), or how long ago: 15m, 48h, 7d"
        _refuse_value(f"invalid date {text!r}; {advice}", option="--since")


def parse_amount(text: str | float) -> float:
    """Return a number of credits, 0 or more, and not `nan`, which nothing exceeds."""
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not amount >= 0:
        _refuse_value(f"invalid number of credits {text!r}; write 80 or 12.5")
    return amount


def parse_rate(text: str | float) -> float:
    """Return the interval in seconds for a rate such as `2/s`, `30/m` or `500/h`."""
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)/([smh])", text.strip(), re.ASCII)
    if not match or float(match[1]) == 0:
        _refuse_value(f"invalid rate {text!r}; write 2/s, 30/m or 500/h")
    return {"s": 1.0, "m": 60.0, "h": 3600.0}[match[2]] / float(match[1])


def parse_sound(text: str) -> Sound:
    """Return which sound a result gets."""
    return Sound(parse_choice(text, tuple(Sound)))


def parse_shard(text: str) -> tuple[int, int]:
    """Return I and N of `I/N`, with I from 1 to N."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        advice = "write I/N with I from 1 to N, such as 2/4"
        _refuse_value(f"invalid shard {text!r}; {advice}", option="--shard")
    return int(match[1]), int(match[2])


def _refuse_value(message: str, *, option: str | None = None) -> NoReturn:
    """Refuse the value of an option; Typer knows which one while it parses."""
    raise typer.BadParameter(message, param_hint=f"'{option}'" if option else None)


def refuse_sidecar() -> NoReturn:
    """Refuse `--sidecar` for a command that saves no file."""
    refuse("--sidecar writes beside a saved file, and no file is saved")


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
        parser=parse_amount,
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


def new_destination(
    context: "Context", option: str, path: str | None, *, force: bool, sidecar: bool
) -> "Destination":
    """Return where results go, after checking standard output if they go there."""
    from omniedit.edits.targets import Destination

    destination = Destination(path, overwrite=force)
    if destination.is_stdout:
        context.require_free_stdout(f"{option} -")
        if sidecar:
            refuse_sidecar()
    return destination


def read_request(
    context: "Context",
    session: "Session",
    request: EditRequest,
    *,
    prompt: str | None,
    prompt_file: str | None,
) -> EditRequest:
    """Return a request with its prompt, and record a refused attempt if that cannot be read."""
    from omniedit.edits.submit import refusal_recorded

    with refusal_recorded(session, request):
        text = read_prompt(context, prompt, prompt_file, video=request.video)
        request = request._replace(prompt=text)
    context.board.request = request
    return request


def read_prompt(
    context: "Context", prompt: str | None, prompt_file: str | None, *, video: str
) -> str:
    """Return the text of a prompt.

    Only `--prompt-file` and a PROMPT of `-` are read from elsewhere; any other text is the prompt
    itself, except the name of a clip: then the prompt was forgotten, which would be paid for.

    Raises:
        InvalidInputError: If there is no prompt, if there are two, or if it is the name of a clip.
        MissingFileError: If the file cannot be read.
    """
    if prompt is not None and prompt_file is not None:
        refuse("PROMPT and --prompt-file are both given", hint="leave one of them out")
    if prompt is not None and prompt != STDIN:
        _refuse_second_clip(video, prompt)
        note_named_file(context, prompt, advice="`--prompt-file {}` sends its text instead")
        return decode_argument(prompt)
    source = STDIN if prompt is not None else prompt_file
    if source is None:
        refuse("PROMPT is missing", hint=_missing_prompt_hint(context))
    max_bytes = context.policy.max_prompt_bytes
    content = read_source(context, source, what="prompt", max_bytes=max_bytes)
    try:
        # The byte order mark and last line break of a text editor are not part of the prompt.
        return decode_text(content).rstrip("\r\n")
    except UnicodeDecodeError:
        where = "on standard input" if source == STDIN else f"in {source}"
        msg = f"the prompt {where} is not valid UTF-8 text"
        raise InvalidInputError(msg, code="invalid_prompt") from None


def note_named_file(context: "Context", prompt: str, *, advice: str) -> None:
    """Note that a prompt, which is sent as it is, names a file; `{}` in the advice stands for it."""
    # curl and others read a file from `@prompt.txt`.
    name = prompt if is_file(Path(prompt)) else prompt.removeprefix("@")
    if not is_file(Path(name)):
        return
    text = f"the prompt names a file: {advice.replace('{}', quoted(name))}"
    if is_video_name(name):
        text = Hint("the prompt names a file: {} edits several clips", "batch")
    context.printer.note(text)


def _refuse_second_clip(video: str, prompt: str) -> None:
    """Refuse the name of an existing clip in place of PROMPT."""
    if not (is_video_name(prompt) and is_file(prompt)):
        return
    if is_local(video) and not is_file(video):
        return  # refused later: VIDEO and PROMPT may be swapped
    batch = f'batch {quoted(video, prompt)} --prompt "PROMPT"'
    advice = "to edit several clips with the same prompt: {}; `--prompt-file FILE` takes any text"
    refuse(f"PROMPT is the name of a clip: {prompt}", hint=Hint(advice, batch))


def _missing_prompt_hint(context: "Context") -> str:
    """Return what probably became of the prompt, or an example of one."""
    # Such as `-oil painting`, or `-onight.mp4` without any prompt.
    word = next((word for word in context.argv if re.match("-o.", word)), None)
    if word is not None:
        from omniedit.cli.usage_errors import prompt_hint

        hint = prompt_hint("edit")
        # At the end, because what was typed may contain `{}`.
        read_as = f"`-o {quoted(word[2:])}` was read from {quoted(word)}"
        return Hint(f"{hint.text}; {read_as}", *hint.commands)
    if re.match(r"https?://[^?]*\?", ("", *context.argv)[-1], re.IGNORECASE):
        return "the shell cuts a URL off at `&`: put the URL in quotes"
    from omniedit.edits.requests import EXAMPLE_HINT

    return EXAMPLE_HINT


def read_source(
    context: "Context",
    source: str,
    *,
    what: str,
    max_bytes: int,
    hint: str = "check its name and its permissions",
) -> bytes:
    """Return the content of a file or a pipe; `-` is standard input.

    Args:
        context: The command's context.
        source: The path.
        what: What it contains, for messages.
        max_bytes: The longest content that is accepted; `/dev/zero` never ends.
        hint: What to do if it cannot be read.

    Raises:
        InvalidInputError: If it is too long, or is standard input and closed.
        MissingFileError: If it cannot be read.
    """
    try:
        if source != STDIN:
            with Path(source).open("rb") as file:
                return read_at_most(file, max_bytes=max_bytes, what=f"the {what} in {source}")
        if sys.stdin is None:
            refuse("standard input is closed")
        if sys.stdin.isatty():
            context.printer.note(f"type the {what}; {THIS_SYSTEM.end_of_input} ends it")
        where = f"the {what} on standard input"
        return read_at_most(sys.stdin.buffer, max_bytes=max_bytes, what=where)
    except (OSError, ValueError) as error:
        msg = f"cannot read the {what} from {source}: {error_reason(error)}"
        raise MissingFileError(msg, hint=hint) from None


def decode_argument(text: str) -> str:
    """Return an argument decoded as UTF-8, even if the locale has another encoding (PEP 383)."""
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        # Refused later, like any other text that is not UTF-8.
        return text


def can_ask(context: "Context") -> bool:
    """Return whether the user can answer a question on a terminal."""
    is_typed = sys.stdin is not None and sys.stdin.isatty()
    return is_typed and context.printer.stderr.is_terminal


def require_consent(context: "Context", question: str) -> None:
    """Ask for consent on a terminal; any answer but yes is a no.

    Raises:
        InvalidInputError: If the answer is no, or there is no terminal.
    """
    printer = context.printer
    if not can_ask(context):
        msg = "nothing was sent: there is no terminal to ask on"
        raise InvalidInputError(msg, code="needs_yes", hint="accept the price with `--yes`")
    # A progress bar would be drawn over the question.
    printer.end_live()
    printer.question(f"{question} [y/N]")
    answer = ""
    try:
        # Invalid UTF-8 is not a yes.
        with suppress(UnicodeDecodeError):
            answer = sys.stdin.readline()
    finally:
        if not answer.endswith("\n"):
            # Ctrl-C and Ctrl-D leave the cursor after the question.
            printer.message("")
    if answer.strip().lower() not in {"y", "yes"}:
        msg = "nothing was sent: the answer was not `y`"
        raise InvalidInputError(msg, code="declined")
