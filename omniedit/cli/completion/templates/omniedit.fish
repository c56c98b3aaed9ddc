# fish completion for omniedit; made by `omniedit --install-completion`, not by hand.

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
