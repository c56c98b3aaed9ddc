# bash completion for omniedit; written by `omniedit --install-completion`; do not edit.

# Sets what may follow the command $1: its subcommands, its options, the kinds of its arguments.
# Fails, and sets nothing, if it is not a command.
_omniedit_know() {
    case $1 in
        '')
            commands=(edit submit wait status download batch compare probe list usage credits doctor config journal sandbox help)
            options=(--version -V --install-completion --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'edit')
            commands=()
            options=(--output -o --again --force --timeout --callback-url --request-id --no-journal --split --sound --yes --sidecar --prompt-file --start --end --max-credits --no-check --check --keep-hdr --model --events --summary --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=(files nothing)
            ;;
        'submit')
            commands=()
            options=(--prompt-file --callback-url --request-id --dry-run --resume --as --yes --start --end --max-credits --no-check --check --keep-hdr --model --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=(files nothing)
            ;;
        'wait')
            commands=()
            options=(--download -d -o --force --timeout --sidecar --fail-fast --events --summary --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=(unfinished)
            ;;
        'status')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=(tasks)
            ;;
        'download')
            commands=()
            options=(--output -o --all --sidecar --expiring --force --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=(finished)
            ;;
        'batch')
            commands=()
            options=(--prompt --takes --dir -o --concurrency --rate --keep-going --shard --again --yes --sidecar --force --timeout --no-journal --max-credits --model --sound --events --summary --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=(files)
            ;;
        'compare')
            commands=()
            options=(--output -o --embed --open --show --force --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=(compared)
            ;;
        'probe')
            commands=()
            options=(--save-prepared --model --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=(files)
            ;;
        'list')
            commands=()
            options=(--unsaved --expiring --state --clip --since --limit --all --tree --offline --remote --adopt --forget --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'usage')
            commands=()
            options=(--by --since --remote --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'credits')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'doctor')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'config')
            commands=(set-key unset-key show path)
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'config set-key')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'config unset-key')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'config show')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'config path')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'journal')
            commands=(merge recover)
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'journal merge')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=(nothing)
            ;;
        'journal recover')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'sandbox')
            commands=(serve reset)
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'sandbox serve')
            commands=()
            options=(--port --link-ttl --time-scale --rate-limit --record --allow-local-callbacks --json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'sandbox reset')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'help')
            commands=(scripting ci batch clips sandbox reliability agents exit-codes environment json edit submit wait status download compare probe list usage credits doctor config journal help)
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'help sandbox')
            commands=(serve reset)
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'help json')
            commands=()
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=(document-choices)
            ;;
        'help config')
            commands=(set-key unset-key show path)
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        'help journal')
            commands=(merge recover)
            options=(--json --quiet -q --verbose -v --sandbox --progress --help -h)
            arguments=()
            ;;
        *) return 1 ;;
    esac
}

# Sets the kind of value that the option $1 takes; fails if it takes none.
_omniedit_value() {
    case $1 in
        --progress) kind=progress-choices ;;
        --record | --save-prepared | --output | -o | --summary | --download | -d | --prompt-file) kind=files ;;
        --rate-limit | --time-scale | --link-ttl | --port | --since | --limit | --clip | --expiring | --max-credits | --timeout | --shard | --rate | --concurrency | --takes | --prompt | --end | --start | --request-id | --callback-url) kind=nothing ;;
        --by) kind=by-choices ;;
        --forget | --as) kind=tasks ;;
        --state) kind=state-choices ;;
        --model) kind=model-choices ;;
        --sound) kind=sound-choices ;;
        --dir) kind=folders ;;
        --resume) kind=requests ;;
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
        document-choices) _omniedit_offer batch compare config-path config-set-key config-show config-unset-key credits doctor download edit edit-split event failure help journal-merge journal-recover list probe sandbox-reset sandbox-serve sidecar status submit submit-dry-run usage wait ;;
        progress-choices) _omniedit_offer auto plain none ;;
        by-choices) _omniedit_offer month day clip model ;;
        state-choices) _omniedit_offer pending processing completed failed cancelled sending unknown refused ;;
        model-choices) _omniedit_offer gemini-omni-flash-video-edit gemini-omni-1.1-flash-video-edit ;;
        sound-choices) _omniedit_offer new original none ;;
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
