"""The completion script for zsh, on its own `_arguments`, with descriptions."""

from typing import Final

from omniedit.cli.completion.model import FILES, FOLDERS, REQUESTS, TASKS, Known, Switch, Value

_FRAME: Final = r"""#compdef omniedit
# zsh completion for omniedit; made by `omniedit --install-completion`, not by hand.

# Candidates are text: read by line, and handed on as array elements, which zsh does not expand.
_omniedit_known() {
    local line
    local -a ids shown sandbox
    # The words of the root command; `_arguments` shortens $words on its way down.
    ((${_omniedit_line[(Ie)--sandbox]})) && sandbox=(--sandbox)
    while IFS= read -r line; do
        ids+=("${line%%$'\t'*}")
        shown+=("${line/$'\t'/  }")
    done < <(command omniedit __complete $1 $sandbox "$PREFIX" 2>/dev/null)
    compadd -l -V omniedit -d shown -a ids
}

_omniedit_tasks() {
    _omniedit_known tasks
    compadd last
}

_omniedit_requests() {
    _omniedit_known requests
}

@FUNCTIONS@

if [[ $funcstack[1] = _omniedit ]]; then
    _omniedit "$@"
else
    compdef _omniedit omniedit
fi
"""
_ACTIONS: Final = {
    FILES: "_files",
    FOLDERS: "_files -/",
    TASKS: "_omniedit_tasks",
    REQUESTS: "_omniedit_requests",
}


def zsh_script(root: Known) -> str:
    """Return the script."""
    # The root last: it is what the file is called for, as the first time it is loaded.
    functions = [_function(command) for command in reversed([*root.everything()])]
    return _FRAME.replace("@FUNCTIONS@", "\n\n".join(functions))


def _function(command: Known) -> str:
    lines = [f"{_name(command)}() {{"]
    specs = [spec for switch in command.switches for spec in _switch_specs(switch)]
    if not command.commands:
        specs += [_argument_spec(value) for value in command.arguments]
        lines.append(_arguments(specs, "-s -S"))
    else:
        if not command.path:
            lines.append('    local -a _omniedit_line=("${words[@]}")')
        specs += ["': :->command'", "'*:: :->rest'"]
        names = "|".join(known.name for known in command.commands)
        lines += [
            "    local state line",
            "    local curcontext=$curcontext",
            _arguments(specs, "-C -s -S") + " && return",
            "    case $state in",
            "        command)",
            "            local -a commands=(",
            *(f"                {_quoted(_entry(known))}" for known in command.commands),
            "            )",
            "            _describe -t commands command commands",
            "            ;;",
            "        rest)",
            "            case $line[1] in",
            f"                {names}) {_name(command)}-$line[1] ;;",
            "            esac",
            "            ;;",
            "    esac",
        ]
    return "\n".join([*lines, "}"])


def _name(command: Known) -> str:
    return "-".join(("_omniedit", *command.path))


def _arguments(specs: list[str], flags: str) -> str:
    return " \\\n        ".join([f"    _arguments {flags} :", *specs])


def _switch_specs(switch: Switch) -> list[str]:
    exclusive = f"({' '.join(switch.names)})" if len(switch.names) > 1 else ""
    specs: list[str] = []
    for name in switch.names:
        text = f"{exclusive}{name}"
        if switch.value is not None and name.startswith("--"):
            text += "="
        text += f"[{_escaped(switch.help)}]"
        if switch.value is not None:
            text += f":{_escaped(switch.value.name)}:{_action(switch.value)}"
        specs.append(_quoted(text))
    return specs


def _argument_spec(value: Value) -> str:
    position = "*" if value.is_repeated else ""
    return _quoted(f"{position}:{_escaped(value.name)}:{_action(value)}")


def _action(value: Value) -> str:
    if value.choices:
        return f"({' '.join(value.choices)})"
    return _ACTIONS.get(value.kind, " ")


def _entry(command: Known) -> str:
    return f"{command.name}:{command.help}"


def _escaped(text: str) -> str:
    for character in "\\[]:":
        text = text.replace(character, f"\\{character}")
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
