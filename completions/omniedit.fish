# fish completion for omniedit; written by `omniedit --install-completion`; do not edit.

# Prints two lines: the command that was typed, and the number of its arguments.
function __omniedit_typed
    set -l known 'edit' 'submit' 'wait' 'status' 'download' 'batch' 'compare' 'probe' 'list' 'usage' 'credits' 'doctor' 'config' 'config set-key' 'config unset-key' 'config show' 'config path' 'journal' 'journal merge' 'journal recover' 'sandbox' 'sandbox serve' 'sandbox reset' 'help' 'help sandbox' 'help json' 'help config' 'help journal'
    set -l valued --progress --record --rate-limit --time-scale --link-ttl --port --since --by --forget --limit --clip --state --expiring --model --save-prepared --output -o --summary --sound --max-credits --timeout --shard --rate --concurrency --dir --takes --prompt --download -d --end --start --as --resume --request-id --callback-url --prompt-file
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

# omniedit
complete -c omniedit -n '__omniedit_at "" 0' -a edit -d 'Submit, wait and save in one command that is safe to repeat'
complete -c omniedit -n '__omniedit_at "" 0' -a submit -d 'Submit one edit and print its task ID'
complete -c omniedit -n '__omniedit_at "" 0' -a wait -d 'Wait for tasks to finish, and save their results'
complete -c omniedit -n '__omniedit_at "" 0' -a status -d 'Show the state of tasks, one per line'
complete -c omniedit -n '__omniedit_at "" 0' -a download -d 'Save the results of finished tasks and print their paths'
complete -c omniedit -n '__omniedit_at "" 0' -a batch -d 'Make many edits; run it again to make only what is missing'
complete -c omniedit -n '__omniedit_at "" 0' -a compare -d 'Show a clip and its edits, side by side and in step'
complete -c omniedit -n '__omniedit_at "" 0' -a probe -d 'Show what a clip is, whether it fits, and roughly what an edit costs'
complete -c omniedit -n '__omniedit_at "" 0' -a list -d 'List edits: state, saved file, and the time left on the link'
complete -c omniedit -n '__omniedit_at "" 0' -a usage -d 'Show what edits cost: charged, still reserved, or unknown'
complete -c omniedit -n '__omniedit_at "" 0' -a credits -d 'Show the account\'s balance and this key\'s own limit'
complete -c omniedit -n '__omniedit_at "" 0' -a doctor -d 'Check key, network, service, clock, folders and extras; nothing is spent'
complete -c omniedit -n '__omniedit_at "" 0' -a config -d 'Manage the key, and show the settings'
complete -c omniedit -n '__omniedit_at "" 0' -a journal -d 'Merge other journals, or recover a damaged one'
complete -c omniedit -n '__omniedit_at "" 0' -a sandbox -d 'Run or reset the local stand-in for the service'
complete -c omniedit -n '__omniedit_at "" 0' -a help -d 'Show a page of the manual, a JSON Schema, or the help of a command'
complete -c omniedit -n '__omniedit_at ""' -l version -s V -d 'Show the version and exit'
complete -c omniedit -n '__omniedit_at ""' -l install-completion -d 'Install completion for your shell (bash, zsh, fish, PowerShell) and exit'
complete -c omniedit -n '__omniedit_at ""' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at ""' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at ""' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at ""' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at ""' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at ""' -l help -s h -d 'Show this message and exit'

# omniedit edit
complete -c omniedit -n '__omniedit_at "edit" 0' -F
complete -c omniedit -n '__omniedit_at "edit"' -l output -s o -r -F -d 'Save the result to PATH (`-`: stdout)'
complete -c omniedit -n '__omniedit_at "edit"' -l again -d 'Submit again, even if already done (charged again)'
complete -c omniedit -n '__omniedit_at "edit"' -l force -d 'Replace an existing file'
complete -c omniedit -n '__omniedit_at "edit"' -l timeout -r -f -d 'How long to wait: 90, 90s, 15m, 1h30m (default 30m)'
complete -c omniedit -n '__omniedit_at "edit"' -l callback-url -r -f -d 'Have the service POST the finished task to URL'
complete -c omniedit -n '__omniedit_at "edit"' -l request-id -r -f -d 'Your own ID: the same ID is never charged twice'
complete -c omniedit -n '__omniedit_at "edit"' -l no-journal -d 'Work without the journal and its protection'
complete -c omniedit -n '__omniedit_at "edit"' -l split -d 'Edit a longer clip in pieces and join the results'
complete -c omniedit -n '__omniedit_at "edit"' -l sound -r -f -a 'new original none' -d 'The service\'s sound, the clip\'s own, or none'
complete -c omniedit -n '__omniedit_at "edit"' -l yes -d 'With --split: accept the price without being asked'
complete -c omniedit -n '__omniedit_at "edit"' -l sidecar -d 'Also write the provenance to NAME.mp4.json'
complete -c omniedit -n '__omniedit_at "edit"' -l prompt-file -r -F -d 'Read the prompt from FILE (`-`: stdin)'
complete -c omniedit -n '__omniedit_at "edit"' -l start -r -f -d 'Start at T: seconds, or minutes:seconds'
complete -c omniedit -n '__omniedit_at "edit"' -l end -r -f -d 'End at T: seconds, or minutes:seconds'
complete -c omniedit -n '__omniedit_at "edit"' -l max-credits -r -f -d 'Stop if the estimate exceeds N credits or cannot be made'
complete -c omniedit -n '__omniedit_at "edit"' -l no-check -l check -d 'Check the clip before paying (default: local files only)'
complete -c omniedit -n '__omniedit_at "edit"' -l keep-hdr -d 'Send HDR colours (PQ, HLG) as they are, not as SDR'
complete -c omniedit -n '__omniedit_at "edit"' -l model -r -f -a 'gemini-omni-flash-video-edit gemini-omni-1.1-flash-video-edit' -d 'The model (`config show` shows the default)'
complete -c omniedit -n '__omniedit_at "edit"' -l events -d 'Print events as they happen, one JSON object per line'
complete -c omniedit -n '__omniedit_at "edit"' -l summary -r -F -d 'Append a Markdown table of the edits to FILE'
complete -c omniedit -n '__omniedit_at "edit"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "edit"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "edit"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "edit"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "edit"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "edit"' -l help -s h -d 'Show this message and exit'

# omniedit submit
complete -c omniedit -n '__omniedit_at "submit" 0' -F
complete -c omniedit -n '__omniedit_at "submit"' -l prompt-file -r -F -d 'Read the prompt from FILE (`-`: stdin)'
complete -c omniedit -n '__omniedit_at "submit"' -l callback-url -r -f -d 'Have the service POST the finished task to URL'
complete -c omniedit -n '__omniedit_at "submit"' -l request-id -r -f -d 'Your own ID: the same ID is never charged twice'
complete -c omniedit -n '__omniedit_at "submit"' -l dry-run -d 'Print the exact request (scripts: with `--json`) and send nothing'
complete -c omniedit -n '__omniedit_at "submit"' -l resume -r -f -k -a '(__omniedit_known requests)' -d 'Settle a submission whose outcome is unknown'
complete -c omniedit -n '__omniedit_at "submit"' -l as -r -f -k -a '(__omniedit_known tasks; echo last)' -d 'With --resume: record TASK as its outcome'
complete -c omniedit -n '__omniedit_at "submit"' -l yes -d 'With --resume: send it even if more than an hour old'
complete -c omniedit -n '__omniedit_at "submit"' -l start -r -f -d 'Start at T: seconds, or minutes:seconds'
complete -c omniedit -n '__omniedit_at "submit"' -l end -r -f -d 'End at T: seconds, or minutes:seconds'
complete -c omniedit -n '__omniedit_at "submit"' -l max-credits -r -f -d 'Stop if the estimate exceeds N credits or cannot be made'
complete -c omniedit -n '__omniedit_at "submit"' -l no-check -l check -d 'Check the clip before paying (default: local files only)'
complete -c omniedit -n '__omniedit_at "submit"' -l keep-hdr -d 'Send HDR colours (PQ, HLG) as they are, not as SDR'
complete -c omniedit -n '__omniedit_at "submit"' -l model -r -f -a 'gemini-omni-flash-video-edit gemini-omni-1.1-flash-video-edit' -d 'The model (`config show` shows the default)'
complete -c omniedit -n '__omniedit_at "submit"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "submit"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "submit"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "submit"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "submit"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "submit"' -l help -s h -d 'Show this message and exit'

# omniedit wait
complete -c omniedit -n '__omniedit_at "wait"' -f -k -a '(__omniedit_known unfinished; echo last)'
complete -c omniedit -n '__omniedit_at "wait"' -l download -s d -s o -r -F -d 'Save the result to PATH; several need a folder (`out/`); `-` is stdout'
complete -c omniedit -n '__omniedit_at "wait"' -l force -d 'Replace an existing file'
complete -c omniedit -n '__omniedit_at "wait"' -l timeout -r -f -d 'How long to wait: 90, 90s, 15m, 1h30m (default 30m)'
complete -c omniedit -n '__omniedit_at "wait"' -l sidecar -d 'Also write the provenance to NAME.mp4.json'
complete -c omniedit -n '__omniedit_at "wait"' -l fail-fast -d 'Stop waiting at the first task that fails'
complete -c omniedit -n '__omniedit_at "wait"' -l events -d 'Print events as they happen, one JSON object per line'
complete -c omniedit -n '__omniedit_at "wait"' -l summary -r -F -d 'Append a Markdown table of the edits to FILE'
complete -c omniedit -n '__omniedit_at "wait"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "wait"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "wait"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "wait"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "wait"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "wait"' -l help -s h -d 'Show this message and exit'

# omniedit status
complete -c omniedit -n '__omniedit_at "status"' -f -k -a '(__omniedit_known tasks; echo last)'
complete -c omniedit -n '__omniedit_at "status"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "status"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "status"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "status"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "status"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "status"' -l help -s h -d 'Show this message and exit'

# omniedit download
complete -c omniedit -n '__omniedit_at "download"' -f -k -a '(__omniedit_known finished; echo last)'
complete -c omniedit -n '__omniedit_at "download"' -l output -s o -r -F -d 'Save the result to PATH, with --all a folder; `-` is stdout'
complete -c omniedit -n '__omniedit_at "download"' -l all -d 'Save every finished result that is not saved yet'
complete -c omniedit -n '__omniedit_at "download"' -l sidecar -d 'Also write the provenance to NAME.mp4.json'
complete -c omniedit -n '__omniedit_at "download"' -l expiring -r -f -d 'Only unsaved results whose link expires within DUR'
complete -c omniedit -n '__omniedit_at "download"' -l force -d 'Replace an existing file'
complete -c omniedit -n '__omniedit_at "download"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "download"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "download"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "download"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "download"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "download"' -l help -s h -d 'Show this message and exit'

# omniedit batch
complete -c omniedit -n '__omniedit_at "batch"' -F
complete -c omniedit -n '__omniedit_at "batch"' -l prompt -r -f -d 'Edit every clip with TEXT; can be repeated'
complete -c omniedit -n '__omniedit_at "batch"' -l takes -r -f -d 'With --prompt: make N edits of each clip and prompt (at most 10000)'
complete -c omniedit -n '__omniedit_at "batch"' -l dir -s o -r -f -a '(__fish_complete_directories (commandline -ct))' -d 'The folder for outputs (default: the current one)'
complete -c omniedit -n '__omniedit_at "batch"' -l concurrency -r -f -d 'Edits running on the service at once (default 8)'
complete -c omniedit -n '__omniedit_at "batch"' -l rate -r -f -d 'Submit at most 2/s, 30/m or 500/h, evenly spaced'
complete -c omniedit -n '__omniedit_at "batch"' -l keep-going -d 'Continue after five refusals in a row'
complete -c omniedit -n '__omniedit_at "batch"' -l shard -r -f -d 'Make only part I of N of the edits'
complete -c omniedit -n '__omniedit_at "batch"' -l again -d 'Submit every edit again (charged again)'
complete -c omniedit -n '__omniedit_at "batch"' -l yes -d 'Accept the price without being asked'
complete -c omniedit -n '__omniedit_at "batch"' -l sidecar -d 'Also write the provenance to NAME.mp4.json'
complete -c omniedit -n '__omniedit_at "batch"' -l force -d 'Replace an existing file'
complete -c omniedit -n '__omniedit_at "batch"' -l timeout -r -f -d 'How long to wait: 90, 90s, 15m, 1h30m (default 30m)'
complete -c omniedit -n '__omniedit_at "batch"' -l no-journal -d 'Work without the journal and its protection'
complete -c omniedit -n '__omniedit_at "batch"' -l max-credits -r -f -d 'Stop if the estimate exceeds N credits or cannot be made'
complete -c omniedit -n '__omniedit_at "batch"' -l model -r -f -a 'gemini-omni-flash-video-edit gemini-omni-1.1-flash-video-edit' -d 'The model (`config show` shows the default)'
complete -c omniedit -n '__omniedit_at "batch"' -l sound -r -f -a 'new original none' -d 'The service\'s sound, the clip\'s own, or none'
complete -c omniedit -n '__omniedit_at "batch"' -l events -d 'Print events as they happen, one JSON object per line'
complete -c omniedit -n '__omniedit_at "batch"' -l summary -r -F -d 'Append a Markdown table of the edits to FILE'
complete -c omniedit -n '__omniedit_at "batch"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "batch"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "batch"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "batch"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "batch"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "batch"' -l help -s h -d 'Show this message and exit'

# omniedit compare
complete -c omniedit -n '__omniedit_at "compare"' -F -k -a '(__omniedit_known compared; echo last)'
complete -c omniedit -n '__omniedit_at "compare"' -l output -s o -r -F -d 'PAGE.html (default: beside the first result) or SHEET.png (8 moments of each)'
complete -c omniedit -n '__omniedit_at "compare"' -l embed -d 'Embed the videos in the page (at most 256 MiB in all)'
complete -c omniedit -n '__omniedit_at "compare"' -l open -d 'Open it in the browser'
complete -c omniedit -n '__omniedit_at "compare"' -l show -d 'Also draw 8 moments of each on the terminal'
complete -c omniedit -n '__omniedit_at "compare"' -l force -d 'Replace an existing file'
complete -c omniedit -n '__omniedit_at "compare"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "compare"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "compare"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "compare"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "compare"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "compare"' -l help -s h -d 'Show this message and exit'

# omniedit probe
complete -c omniedit -n '__omniedit_at "probe" 0' -F
complete -c omniedit -n '__omniedit_at "probe"' -l save-prepared -r -F -d 'Write the clip that would be sent to FILE'
complete -c omniedit -n '__omniedit_at "probe"' -l model -r -f -a 'gemini-omni-flash-video-edit gemini-omni-1.1-flash-video-edit' -d 'The model (`config show` shows the default)'
complete -c omniedit -n '__omniedit_at "probe"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "probe"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "probe"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "probe"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "probe"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "probe"' -l help -s h -d 'Show this message and exit'

# omniedit list
complete -c omniedit -n '__omniedit_at "list"' -l unsaved -d 'Only finished edits whose result is not saved'
complete -c omniedit -n '__omniedit_at "list"' -l expiring -r -f -d 'Only unsaved results whose link expires within DUR'
complete -c omniedit -n '__omniedit_at "list"' -l state -r -f -a 'pending processing completed failed cancelled sending unknown refused' -d 'Only edits in this state, such as `failed`'
complete -c omniedit -n '__omniedit_at "list"' -l clip -r -f -d 'Only clips whose name or URL contains TEXT'
complete -c omniedit -n '__omniedit_at "list"' -l since -r -f -d 'Only edits since a date (UTC) or a duration ago (`7d`)'
complete -c omniedit -n '__omniedit_at "list"' -l limit -r -f -d 'How many rows (default 50; 0: all)'
complete -c omniedit -n '__omniedit_at "list"' -l all -d 'Include attempts refused before they were sent'
complete -c omniedit -n '__omniedit_at "list"' -l tree -d 'Show edits of a result below the edit that made it'
complete -c omniedit -n '__omniedit_at "list"' -l offline -d 'Do not ask the service: show open edits as last recorded'
complete -c omniedit -n '__omniedit_at "list"' -l remote -d 'Read the account\'s tasks, wherever they were submitted'
complete -c omniedit -n '__omniedit_at "list"' -l adopt -d 'With --remote: record the tasks in the journal'
complete -c omniedit -n '__omniedit_at "list"' -l forget -r -f -k -a '(__omniedit_known tasks; echo last)' -d 'Remove an edit from the journal; its files and task stay'
complete -c omniedit -n '__omniedit_at "list"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "list"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "list"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "list"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "list"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "list"' -l help -s h -d 'Show this message and exit'

# omniedit usage
complete -c omniedit -n '__omniedit_at "usage"' -l by -r -f -a 'month day clip model' -d 'What to group the rows by (default month)'
complete -c omniedit -n '__omniedit_at "usage"' -l since -r -f -d 'Only edits since a date (UTC) or a duration ago (`7d`)'
complete -c omniedit -n '__omniedit_at "usage"' -l remote -d 'Read the account\'s tasks, wherever they were submitted'
complete -c omniedit -n '__omniedit_at "usage"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "usage"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "usage"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "usage"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "usage"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "usage"' -l help -s h -d 'Show this message and exit'

# omniedit credits
complete -c omniedit -n '__omniedit_at "credits"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "credits"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "credits"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "credits"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "credits"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "credits"' -l help -s h -d 'Show this message and exit'

# omniedit doctor
complete -c omniedit -n '__omniedit_at "doctor"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "doctor"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "doctor"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "doctor"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "doctor"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "doctor"' -l help -s h -d 'Show this message and exit'

# omniedit config
complete -c omniedit -n '__omniedit_at "config" 0' -a set-key -d 'Save an API key, read from a hidden prompt or from stdin'
complete -c omniedit -n '__omniedit_at "config" 0' -a unset-key -d 'Remove the saved API key for the current base URL'
complete -c omniedit -n '__omniedit_at "config" 0' -a show -d 'Show every setting with its source, the key masked'
complete -c omniedit -n '__omniedit_at "config" 0' -a path -d 'Show where settings, key and journal are stored'
complete -c omniedit -n '__omniedit_at "config"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "config"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "config"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "config"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "config"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "config"' -l help -s h -d 'Show this message and exit'

# omniedit config set-key
complete -c omniedit -n '__omniedit_at "config set-key"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "config set-key"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "config set-key"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "config set-key"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "config set-key"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "config set-key"' -l help -s h -d 'Show this message and exit'

# omniedit config unset-key
complete -c omniedit -n '__omniedit_at "config unset-key"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "config unset-key"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "config unset-key"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "config unset-key"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "config unset-key"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "config unset-key"' -l help -s h -d 'Show this message and exit'

# omniedit config show
complete -c omniedit -n '__omniedit_at "config show"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "config show"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "config show"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "config show"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "config show"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "config show"' -l help -s h -d 'Show this message and exit'

# omniedit config path
complete -c omniedit -n '__omniedit_at "config path"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "config path"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "config path"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "config path"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "config path"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "config path"' -l help -s h -d 'Show this message and exit'

# omniedit journal
complete -c omniedit -n '__omniedit_at "journal" 0' -a merge -d 'Merge the edits of other journals into this one, and report what contradicts it'
complete -c omniedit -n '__omniedit_at "journal" 0' -a recover -d 'Show what was restored from a damaged journal, and accept the loss of the rest'
complete -c omniedit -n '__omniedit_at "journal"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "journal"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "journal"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "journal"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "journal"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "journal"' -l help -s h -d 'Show this message and exit'

# omniedit journal merge
complete -c omniedit -n '__omniedit_at "journal merge"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "journal merge"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "journal merge"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "journal merge"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "journal merge"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "journal merge"' -l help -s h -d 'Show this message and exit'

# omniedit journal recover
complete -c omniedit -n '__omniedit_at "journal recover"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "journal recover"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "journal recover"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "journal recover"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "journal recover"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "journal recover"' -l help -s h -d 'Show this message and exit'

# omniedit sandbox
complete -c omniedit -n '__omniedit_at "sandbox" 0' -a serve -d 'Serve the sandbox until Ctrl-C; the first line on stdout is its base URL'
complete -c omniedit -n '__omniedit_at "sandbox" 0' -a reset -d 'Remove the sandbox\'s tasks and clips, and their journal entries'
complete -c omniedit -n '__omniedit_at "sandbox"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "sandbox"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "sandbox"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "sandbox"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "sandbox"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "sandbox"' -l help -s h -d 'Show this message and exit'

# omniedit sandbox serve
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l port -r -f -d 'The port (default: a free one)'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l link-ttl -r -f -d 'How long links work (default 24h)'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l time-scale -r -f -d 'Scale times: 0.1 makes edits ten times as fast'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l rate-limit -r -f -d 'Answer 429 beyond N requests a minute'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l record -r -F -d 'Append each request to FILE as JSON'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l allow-local-callbacks -d 'Deliver callbacks to this machine'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "sandbox serve"' -l help -s h -d 'Show this message and exit'

# omniedit sandbox reset
complete -c omniedit -n '__omniedit_at "sandbox reset"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "sandbox reset"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "sandbox reset"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "sandbox reset"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "sandbox reset"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "sandbox reset"' -l help -s h -d 'Show this message and exit'

# omniedit help
complete -c omniedit -n '__omniedit_at "help" 0' -a scripting -d 'steps, streams, and the options of every command'
complete -c omniedit -n '__omniedit_at "help" 0' -a ci -d 'jobs that are safe to run again'
complete -c omniedit -n '__omniedit_at "help" 0' -a batch -d 'many edits from a manifest'
complete -c omniedit -n '__omniedit_at "help" 0' -a clips -d 'clips, prompts, prices, and long clips'
complete -c omniedit -n '__omniedit_at "help" 0' -a sandbox -d 'trying everything without a key'
complete -c omniedit -n '__omniedit_at "help" 0' -a reliability -d 'what you can rely on, and what is not promised'
complete -c omniedit -n '__omniedit_at "help" 0' -a agents -d 'rules for programs that run omniedit for a person'
complete -c omniedit -n '__omniedit_at "help" 0' -a exit-codes -d 'what a script branches on'
complete -c omniedit -n '__omniedit_at "help" 0' -a environment -d 'variables, settings and the key'
complete -c omniedit -n '__omniedit_at "help" 0' -a json -d 'the documents of --json and --events'
complete -c omniedit -n '__omniedit_at "help" 0' -a edit -d 'Submit, wait and save in one command that is safe to repeat'
complete -c omniedit -n '__omniedit_at "help" 0' -a submit -d 'Submit one edit and print its task ID'
complete -c omniedit -n '__omniedit_at "help" 0' -a wait -d 'Wait for tasks to finish, and save their results'
complete -c omniedit -n '__omniedit_at "help" 0' -a status -d 'Show the state of tasks, one per line'
complete -c omniedit -n '__omniedit_at "help" 0' -a download -d 'Save the results of finished tasks and print their paths'
complete -c omniedit -n '__omniedit_at "help" 0' -a compare -d 'Show a clip and its edits, side by side and in step'
complete -c omniedit -n '__omniedit_at "help" 0' -a probe -d 'Show what a clip is, whether it fits, and roughly what an edit costs'
complete -c omniedit -n '__omniedit_at "help" 0' -a list -d 'List edits: state, saved file, and the time left on the link'
complete -c omniedit -n '__omniedit_at "help" 0' -a usage -d 'Show what edits cost: charged, still reserved, or unknown'
complete -c omniedit -n '__omniedit_at "help" 0' -a credits -d 'Show the account\'s balance and this key\'s own limit'
complete -c omniedit -n '__omniedit_at "help" 0' -a doctor -d 'Check key, network, service, clock, folders and extras; nothing is spent'
complete -c omniedit -n '__omniedit_at "help" 0' -a config -d 'Manage the key, and show the settings'
complete -c omniedit -n '__omniedit_at "help" 0' -a journal -d 'Merge other journals, or recover a damaged one'
complete -c omniedit -n '__omniedit_at "help" 0' -a help -d 'Show a page of the manual, a JSON Schema, or the help of a command'
complete -c omniedit -n '__omniedit_at "help"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "help"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "help"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "help"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "help"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "help"' -l help -s h -d 'Show this message and exit'

# omniedit help sandbox
complete -c omniedit -n '__omniedit_at "help sandbox" 0' -a serve -d 'Serve the sandbox until Ctrl-C; the first line on stdout is its base URL'
complete -c omniedit -n '__omniedit_at "help sandbox" 0' -a reset -d 'Remove the sandbox\'s tasks and clips, and their journal entries'
complete -c omniedit -n '__omniedit_at "help sandbox"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "help sandbox"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "help sandbox"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "help sandbox"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "help sandbox"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "help sandbox"' -l help -s h -d 'Show this message and exit'

# omniedit help json
complete -c omniedit -n '__omniedit_at "help json" 0' -f -a 'batch compare config-path config-set-key config-show config-unset-key credits doctor download edit edit-split event failure help journal-merge journal-recover list probe sandbox-reset sandbox-serve sidecar status submit submit-dry-run usage wait'
complete -c omniedit -n '__omniedit_at "help json"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "help json"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "help json"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "help json"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "help json"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "help json"' -l help -s h -d 'Show this message and exit'

# omniedit help config
complete -c omniedit -n '__omniedit_at "help config" 0' -a set-key -d 'Save an API key, read from a hidden prompt or from stdin'
complete -c omniedit -n '__omniedit_at "help config" 0' -a unset-key -d 'Remove the saved API key for the current base URL'
complete -c omniedit -n '__omniedit_at "help config" 0' -a show -d 'Show every setting with its source, the key masked'
complete -c omniedit -n '__omniedit_at "help config" 0' -a path -d 'Show where settings, key and journal are stored'
complete -c omniedit -n '__omniedit_at "help config"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "help config"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "help config"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "help config"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "help config"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "help config"' -l help -s h -d 'Show this message and exit'

# omniedit help journal
complete -c omniedit -n '__omniedit_at "help journal" 0' -a merge -d 'Merge the edits of other journals into this one, and report what contradicts it'
complete -c omniedit -n '__omniedit_at "help journal" 0' -a recover -d 'Show what was restored from a damaged journal, and accept the loss of the rest'
complete -c omniedit -n '__omniedit_at "help journal"' -l json -d 'Print one JSON document'
complete -c omniedit -n '__omniedit_at "help journal"' -l quiet -s q -d 'No progress and no hints; errors are still shown'
complete -c omniedit -n '__omniedit_at "help journal"' -l verbose -s v -d 'Trace HTTP, keys masked, and where errors come from'
complete -c omniedit -n '__omniedit_at "help journal"' -l sandbox -d 'Use the local stand-in: no key, no cost, no edit'
complete -c omniedit -n '__omniedit_at "help journal"' -l progress -r -f -a 'auto plain none' -d 'How progress is shown on stderr'
complete -c omniedit -n '__omniedit_at "help journal"' -l help -s h -d 'Show this message and exit'
