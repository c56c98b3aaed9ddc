"""The completion script for fish, with descriptions."""

from typing import Final

from omniedit.cli.completion.model import FILES, FOLDERS, REQUESTS, TASKS, Known, Switch, Value

_FRAME: Final = r"""# fish completion for omniedit; made by `omniedit --install-completion`, not by hand.

# Prints what was typed so far: each command on a line, then the number of arguments.
function __omniedit_typed
    set -l groups @GROUPS@
    set -l valued @VALUED@
    set -l path
    set -l position 0
    set -l rest 0
    set -l skips 0
    for word in (commandline -opc)[2..]
        if test $skips = 1
            set skips 0
        else if test $rest = 0; and test "$word" = --
            set rest 1
        else if test $rest = 0; and string match -q -- '-?*' "$word"
            contains -- "$word" $valued; and set skips 1
        else if contains -- "$path" $groups
            set path (string trim -- "$path $word")
        else
            set position (math $position + 1)
        end
    end
    printf '%s\n' "$path" $position
end

# Succeeds behind the command $argv[1] and, where $argv[2] is given, after so many arguments.
function __omniedit_at
    set -l typed (__omniedit_typed)
    test "$typed[1]" = "$argv[1]"; or return
    set -q argv[2]; or return 0
    test $typed[2] = $argv[2]
end

# Candidates are text: what a command prints is not expanded again.
function __omniedit_known
    set -l sandbox
    contains -- --sandbox (commandline -opc); and set sandbox --sandbox
    command omniedit __complete $argv[1] $sandbox (commandline -ct) 2>/dev/null
end

complete -c omniedit -f
@LINES@
"""


def fish_script(root: Known) -> str:
    """Return the script."""
    everything = list(root.everything())
    groups = [_quoted(" ".join(known.path)) for known in everything if known.commands]
    valued = dict.fromkeys(
        name
        for known in everything
        for switch in known.switches
        if switch.value is not None
        for name in switch.names
    )
    lines = [line for known in everything for line in _lines(known)]
    return (
        _FRAME.replace("@GROUPS@", " ".join(groups))
        .replace("@VALUED@", " ".join(valued))
        .replace("@LINES@", "\n".join(lines))
    )


def _lines(command: Known) -> list[str]:
    path = " ".join(command.path)
    lines = ["", f"# omniedit {path}".rstrip()]
    lines += [
        _line(path, f"-a {known.name} -d {_quoted(known.help)}") for known in command.commands
    ]
    for number, value in enumerate(command.arguments):
        position = None if value.is_repeated else number
        if offer := _offer(value):
            lines.append(_line(path, offer, position=position))
    lines += [_line(path, _switch(switch)) for switch in command.switches]
    return lines


def _line(path: str, rest: str, *, position: int | None = None) -> str:
    condition = f"__omniedit_at {_double_quoted(path)}"
    if position is not None:
        condition += f" {position}"
    return f"complete -c omniedit -n {_quoted(condition)} {rest}"


def _switch(switch: Switch) -> str:
    parts = [
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in switch.names
    ]
    if switch.value is not None:
        parts.append(f"-r {_offer(switch.value) or '-f'}")
    return " ".join([*parts, f"-d {_quoted(switch.help)}"])


def _offer(value: Value) -> str:
    if value.choices:
        return f"-f -a {_quoted(' '.join(value.choices))}"
    return {
        FILES: "-F",
        FOLDERS: "-f -a '(__fish_complete_directories (commandline -ct))'",
        TASKS: "-f -k -a '(__omniedit_known tasks; echo last)'",
        REQUESTS: "-f -k -a '(__omniedit_known requests)'",
    }.get(value.kind, "")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _double_quoted(text: str) -> str:
    return f'"{text}"'
