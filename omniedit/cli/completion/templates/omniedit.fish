# fish completion for omniedit; written by `omniedit --install-completion`; do not edit.

# Prints two lines: the command that was typed, and the number of its arguments.
function __omniedit_typed
    set -l known @KNOWN@
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
        else if test $position = 0; and contains -- (string trim -- "$path $word") $known
            set path (string trim -- "$path $word")
        else
            set position (math $position + 1)
        end
    end
    printf '%s\n' "$path" $position
end

# Succeeds after the command $argv[1] and, if $argv[2] is given, that number of arguments.
function __omniedit_at
    set -l typed (__omniedit_typed)
    test "$typed[1]" = "$argv[1]"; or return
    set -q argv[2]; or return 0
    test $typed[2] = $argv[2]
end

# Candidates are data: fish does not expand the output of a command again.
function __omniedit_known
    set -l sandbox
    contains -- --sandbox (commandline -opc); and set sandbox --sandbox
    command omniedit __complete $argv[1] $sandbox (commandline -ct) 2>/dev/null
end

complete -c omniedit -f
@LINES@
