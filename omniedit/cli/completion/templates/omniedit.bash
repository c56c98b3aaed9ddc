# bash completion for omniedit; written by `omniedit --install-completion`; do not edit.

# Sets what may follow the command $1: its subcommands, its options, the kinds of its arguments.
# Fails, and sets nothing, if it is not a command.
_omniedit_know() {
    case $1 in
@KNOWN@
        *) return 1 ;;
    esac
}

# Sets the kind of value that the option $1 takes; fails if it takes none.
_omniedit_value() {
    case $1 in
@VALUES@
        *) return 1 ;;
    esac
}

# Candidates are data: read by line, compared, and never expanded.
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
        # Not only those that begin with what was typed: it may be the end of an ID.
        COMPREPLY+=("${line%%$'\t'*}")
    done < <(command omniedit __complete "${arguments[@]}" "$current" 2>/dev/null)
    return 0
}

_omniedit_offer_kind() {
    case $1 in
        files) compopt -o default 2>/dev/null ;;
        folders) compopt -o dirnames 2>/dev/null ;;
        tasks | unfinished | finished) _omniedit_offer last; _omniedit_offer_known "$1" ;;
        compared)
            _omniedit_offer last
            _omniedit_offer_known compared
            compopt -o default 2>/dev/null
            ;;
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
            # Bash splits `--option=value` into three words.
            [[ $word == = ]] || kind=''
        elif [[ -z $rest && $word == -- ]]; then
            rest=1
        elif [[ -z $rest && $word == -?* ]]; then
            [[ $word == --sandbox ]] && sandbox=1
            _omniedit_value "$word"
        elif ((position == 0)) && _omniedit_know "${path:+$path }$word"; then
            path="${path:+$path }$word"
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
        ((position)) || _omniedit_offer "${commands[@]}"
    elif ((${#arguments[@]})); then
        ((position < ${#arguments[@]})) || position=$((${#arguments[@]} - 1))
        _omniedit_offer_kind "${arguments[position]}"
    fi
}

complete -F _omniedit omniedit
