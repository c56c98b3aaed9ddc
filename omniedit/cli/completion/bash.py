"""The completion script for bash, 3.2 and newer, with or without the package bash-completion."""

from collections.abc import Iterable
from typing import Final

from omniedit.cli.completion.model import Known, Value

_FRAME: Final = r"""# bash completion for omniedit; made by `omniedit --install-completion`, not by hand.

# Sets what may follow the command $1: its commands, options and kinds of arguments.
_omniedit_know() {
    commands=() options=() arguments=()
    case $1 in
@KNOWN@
    esac
}

# Sets the kind of value that the option $1 takes; fails where it takes none.
_omniedit_value() {
    case $1 in
@VALUES@
        *) return 1 ;;
    esac
}

# Candidates are text: read by line, compared, and never expanded.
_omniedit_offer() {
    local candidate
    for candidate in "$@"; do
        [[ $candidate == "$current"* ]] && COMPREPLY+=("$candidate")
    done
}

_omniedit_offer_known() {
    local line arguments=("$1")
    [[ -n $sandbox ]] && arguments+=(--sandbox)
    while IFS= read -r line; do
        _omniedit_offer "${line%%$'\t'*}"
    done < <(command omniedit __complete "${arguments[@]}" "$current" 2>/dev/null)
    return 0
}

_omniedit_offer_kind() {
    case $1 in
        files) compopt -o default 2>/dev/null ;;
        folders) compopt -o dirnames 2>/dev/null ;;
        tasks) _omniedit_offer last; _omniedit_offer_known tasks ;;
        requests) _omniedit_offer_known requests ;;
@CHOICES@
    esac
    return 0
}

_omniedit() {
    local current=${COMP_WORDS[COMP_CWORD]} path='' word kind='' sandbox='' rest=''
    local commands options arguments index position=0
    COMPREPLY=()
    _omniedit_know ''
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ -n $kind ]]; then
            # The shell takes `--option=value` for three words.
            [[ $word == = ]] || kind=''
        elif [[ -z $rest && $word == -- ]]; then
            rest=1
        elif [[ -z $rest && $word == -?* ]]; then
            [[ $word == --sandbox ]] && sandbox=1
            _omniedit_value "$word"
        elif ((${#commands[@]})); then
            path="${path:+$path }$word"
            _omniedit_know "$path"
        else
            ((position += 1))
        fi
    done
    if [[ -n $kind ]]; then
        [[ $current == = ]] && current=''
        _omniedit_offer_kind "$kind"
    elif [[ -z $rest && $current == -* ]]; then
        _omniedit_offer "${options[@]}"
    elif ((${#commands[@]})); then
        _omniedit_offer "${commands[@]}"
    elif ((${#arguments[@]})); then
        ((position < ${#arguments[@]})) || position=$((${#arguments[@]} - 1))
        kind=${arguments[position]}
        _omniedit_offer_kind "${kind%...}"
    fi
}

complete -F _omniedit omniedit
"""


def bash_script(root: Known) -> str:
    """Return the script."""
    everything = list(root.everything())
    kinds: dict[str, list[str]] = {}
    choices: dict[str, tuple[str, ...]] = {}
    for command in everything:
        for value in command.arguments:
            choices |= _choices(value)
        for switch in command.switches:
            if switch.value is not None:
                choices |= _choices(switch.value)
                patterns = kinds.setdefault(_kind(switch.value), [])
                patterns += [name for name in switch.names if name not in patterns]
    return (
        _FRAME.replace("@KNOWN@", "\n".join(map(_known, everything)))
        .replace("@VALUES@", "\n".join(_value_case(kind, kinds[kind]) for kind in kinds))
        .replace("@CHOICES@", "\n".join(_choice_case(kind, choices[kind]) for kind in choices))
    )


def _known(command: Known) -> str:
    options = [name for switch in command.switches for name in switch.names]
    lines = [
        f"commands=({_words(known.name for known in command.commands)})",
        f"options=({_words(options)})",
        f"arguments=({_words(map(_argument, command.arguments))})",
    ]
    shown = "\n".join(f"            {line}" for line in lines if not line.endswith("=()"))
    return f"        '{' '.join(command.path)}')\n{shown}\n            ;;"


def _argument(value: Value) -> str:
    return _kind(value) + ("..." if value.is_repeated else "")


def _kind(value: Value) -> str:
    return f"{value.name}-choices" if value.choices else value.kind


def _choices(value: Value) -> dict[str, tuple[str, ...]]:
    return {_kind(value): value.choices} if value.choices else {}


def _value_case(kind: str, names: Iterable[str]) -> str:
    return f"        {' | '.join(names)}) kind={kind} ;;"


def _choice_case(kind: str, words: Iterable[str]) -> str:
    return f"        {kind}) _omniedit_offer {_words(words)} ;;"


def _words(words: Iterable[str]) -> str:
    return " ".join(words)
