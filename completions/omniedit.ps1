# PowerShell completion for omniedit; written by `omniedit --install-completion`; do not edit.

Register-ArgumentCompleter -Native -CommandName omniedit -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # For each command: its subcommands and options with their help, the kinds of its arguments.
    $known = @{
        '' = @{
            commands = [ordered]@{
                'edit' = 'Submit, wait and save in one command that is safe to repeat'
                'submit' = 'Submit one edit and print its task ID'
                'wait' = 'Wait for tasks to finish, and save their results'
                'status' = 'Show the state of tasks, one per line'
                'download' = 'Save the results of finished tasks and print their paths'
                'batch' = 'Make many edits; run it again to make only what is missing'
                'compare' = 'Show a clip and its edits, side by side and in step'
                'probe' = 'Show what a clip is, whether it fits, and roughly what an edit costs'
                'list' = 'List edits: state, saved file, and the time left on the link'
                'usage' = 'Show what edits cost: charged, still reserved, or unknown'
                'credits' = 'Show the account''s balance and this key''s own limit'
                'doctor' = 'Check key, network, service, clock, folders and extras; nothing is spent'
                'config' = 'Manage the key, and show the settings'
                'journal' = 'Merge other journals, or recover a damaged one'
                'sandbox' = 'Run or reset the local stand-in for the service'
                'help' = 'Show a page of the manual, a JSON Schema, or the help of a command'
            }
            options = [ordered]@{
                '--version' = 'Show the version and exit'
                '-V' = 'Show the version and exit'
                '--install-completion' = 'Install completion for your shell (bash, zsh, fish, PowerShell) and exit'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'edit' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--output' = 'Save the result to PATH (`-`: stdout)'
                '-o' = 'Save the result to PATH (`-`: stdout)'
                '--again' = 'Submit again, even if already done (charged again)'
                '--force' = 'Replace an existing file'
                '--timeout' = 'How long to wait: 90, 90s, 15m, 1h30m (default 30m)'
                '--callback-url' = 'Have the service POST the finished task to URL'
                '--request-id' = 'Your own ID: the same ID is never charged twice'
                '--no-journal' = 'Work without the journal and its protection'
                '--split' = 'Edit a longer clip in pieces and join the results'
                '--sound' = 'The service''s sound, the clip''s own, or none'
                '--yes' = 'With --split: accept the price without being asked'
                '--sidecar' = 'Also write the provenance to NAME.mp4.json'
                '--prompt-file' = 'Read the prompt from FILE (`-`: stdin)'
                '--start' = 'Start at T: seconds, or minutes:seconds'
                '--end' = 'End at T: seconds, or minutes:seconds'
                '--max-credits' = 'Stop if the estimate exceeds N credits or cannot be made'
                '--no-check' = 'Check the clip before paying (default: local files only)'
                '--check' = 'Check the clip before paying (default: local files only)'
                '--keep-hdr' = 'Send HDR colours (PQ, HLG) as they are, not as SDR'
                '--model' = 'The model (`config show` shows the default)'
                '--events' = 'Print events as they happen, one JSON object per line'
                '--summary' = 'Append a Markdown table of the edits to FILE'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @('files', 'nothing')
        }
        'submit' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--prompt-file' = 'Read the prompt from FILE (`-`: stdin)'
                '--callback-url' = 'Have the service POST the finished task to URL'
                '--request-id' = 'Your own ID: the same ID is never charged twice'
                '--dry-run' = 'Print the exact request (scripts: with `--json`) and send nothing'
                '--resume' = 'Settle a submission whose outcome is unknown'
                '--as' = 'With --resume: record TASK as its outcome'
                '--yes' = 'With --resume: send it even if more than an hour old'
                '--start' = 'Start at T: seconds, or minutes:seconds'
                '--end' = 'End at T: seconds, or minutes:seconds'
                '--max-credits' = 'Stop if the estimate exceeds N credits or cannot be made'
                '--no-check' = 'Check the clip before paying (default: local files only)'
                '--check' = 'Check the clip before paying (default: local files only)'
                '--keep-hdr' = 'Send HDR colours (PQ, HLG) as they are, not as SDR'
                '--model' = 'The model (`config show` shows the default)'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @('files', 'nothing')
        }
        'wait' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--download' = 'Save the result to PATH; several need a folder (`out/`); `-` is stdout'
                '-d' = 'Save the result to PATH; several need a folder (`out/`); `-` is stdout'
                '-o' = 'Save the result to PATH; several need a folder (`out/`); `-` is stdout'
                '--force' = 'Replace an existing file'
                '--timeout' = 'How long to wait: 90, 90s, 15m, 1h30m (default 30m)'
                '--sidecar' = 'Also write the provenance to NAME.mp4.json'
                '--fail-fast' = 'Stop waiting at the first task that fails'
                '--events' = 'Print events as they happen, one JSON object per line'
                '--summary' = 'Append a Markdown table of the edits to FILE'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @('unfinished')
        }
        'status' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @('tasks')
        }
        'download' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--output' = 'Save the result to PATH, with --all a folder; `-` is stdout'
                '-o' = 'Save the result to PATH, with --all a folder; `-` is stdout'
                '--all' = 'Save every finished result that is not saved yet'
                '--sidecar' = 'Also write the provenance to NAME.mp4.json'
                '--expiring' = 'Only unsaved results whose link expires within DUR'
                '--force' = 'Replace an existing file'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @('finished')
        }
        'batch' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--prompt' = 'Edit every clip with TEXT; can be repeated'
                '--takes' = 'With --prompt: make N edits of each clip and prompt (at most 10000)'
                '--dir' = 'The folder for outputs (default: the current one)'
                '-o' = 'The folder for outputs (default: the current one)'
                '--concurrency' = 'Edits running on the service at once (default 8)'
                '--rate' = 'Submit at most 2/s, 30/m or 500/h, evenly spaced'
                '--keep-going' = 'Continue after five refusals in a row'
                '--shard' = 'Make only part I of N of the edits'
                '--again' = 'Submit every edit again (charged again)'
                '--yes' = 'Accept the price without being asked'
                '--sidecar' = 'Also write the provenance to NAME.mp4.json'
                '--force' = 'Replace an existing file'
                '--timeout' = 'How long to wait: 90, 90s, 15m, 1h30m (default 30m)'
                '--no-journal' = 'Work without the journal and its protection'
                '--max-credits' = 'Stop if the estimate exceeds N credits or cannot be made'
                '--model' = 'The model (`config show` shows the default)'
                '--sound' = 'The service''s sound, the clip''s own, or none'
                '--events' = 'Print events as they happen, one JSON object per line'
                '--summary' = 'Append a Markdown table of the edits to FILE'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @('files')
        }
        'compare' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--output' = 'PAGE.html (default: beside the first result) or SHEET.png (8 moments of each)'
                '-o' = 'PAGE.html (default: beside the first result) or SHEET.png (8 moments of each)'
                '--embed' = 'Embed the videos in the page (at most 256 MiB in all)'
                '--open' = 'Open it in the browser'
                '--show' = 'Also draw 8 moments of each on the terminal'
                '--force' = 'Replace an existing file'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @('compared')
        }
        'probe' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--save-prepared' = 'Write the clip that would be sent to FILE'
                '--model' = 'The model (`config show` shows the default)'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @('files')
        }
        'list' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--unsaved' = 'Only finished edits whose result is not saved'
                '--expiring' = 'Only unsaved results whose link expires within DUR'
                '--state' = 'Only edits in this state, such as `failed`'
                '--clip' = 'Only clips whose name or URL contains TEXT'
                '--since' = 'Only edits since a date (UTC) or a duration ago (`7d`)'
                '--limit' = 'How many rows (default 50; 0: all)'
                '--all' = 'Include attempts refused before they were sent'
                '--tree' = 'Show edits of a result below the edit that made it'
                '--offline' = 'Do not ask the service: show open edits as last recorded'
                '--remote' = 'Read the account''s tasks, wherever they were submitted'
                '--adopt' = 'With --remote: record the tasks in the journal'
                '--forget' = 'Remove an edit from the journal; its files and task stay'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'usage' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--by' = 'What to group the rows by (default month)'
                '--since' = 'Only edits since a date (UTC) or a duration ago (`7d`)'
                '--remote' = 'Read the account''s tasks, wherever they were submitted'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'credits' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'doctor' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'config' = @{
            commands = [ordered]@{
                'set-key' = 'Save an API key, read from a hidden prompt or from stdin'
                'unset-key' = 'Remove the saved API key for the current base URL'
                'show' = 'Show every setting with its source, the key masked'
                'path' = 'Show where settings, key and journal are stored'
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'config set-key' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'config unset-key' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'config show' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'config path' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'journal' = @{
            commands = [ordered]@{
                'merge' = 'Merge the edits of other journals into this one, and report what contradicts it'
                'recover' = 'Show what was restored from a damaged journal, and accept the loss of the rest'
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'journal merge' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @('nothing')
        }
        'journal recover' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'sandbox' = @{
            commands = [ordered]@{
                'serve' = 'Serve the sandbox until Ctrl-C; the first line on stdout is its base URL'
                'reset' = 'Remove the sandbox''s tasks and clips, and their journal entries'
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'sandbox serve' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--port' = 'The port (default: a free one)'
                '--link-ttl' = 'How long links work (default 24h)'
                '--time-scale' = 'Scale times: 0.1 makes edits ten times as fast'
                '--rate-limit' = 'Answer 429 beyond N requests a minute'
                '--record' = 'Append each request to FILE as JSON'
                '--allow-local-callbacks' = 'Deliver callbacks to this machine'
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'sandbox reset' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'help' = @{
            commands = [ordered]@{
                'scripting' = 'steps, streams, and the options of every command'
                'ci' = 'jobs that are safe to run again'
                'batch' = 'many edits from a manifest'
                'clips' = 'clips, prompts, prices, and long clips'
                'sandbox' = 'trying everything without a key'
                'reliability' = 'what you can rely on, and what is not promised'
                'agents' = 'rules for programs that run omniedit for a person'
                'exit-codes' = 'what a script branches on'
                'environment' = 'variables, settings and the key'
                'json' = 'the documents of --json and --events'
                'edit' = 'Submit, wait and save in one command that is safe to repeat'
                'submit' = 'Submit one edit and print its task ID'
                'wait' = 'Wait for tasks to finish, and save their results'
                'status' = 'Show the state of tasks, one per line'
                'download' = 'Save the results of finished tasks and print their paths'
                'compare' = 'Show a clip and its edits, side by side and in step'
                'probe' = 'Show what a clip is, whether it fits, and roughly what an edit costs'
                'list' = 'List edits: state, saved file, and the time left on the link'
                'usage' = 'Show what edits cost: charged, still reserved, or unknown'
                'credits' = 'Show the account''s balance and this key''s own limit'
                'doctor' = 'Check key, network, service, clock, folders and extras; nothing is spent'
                'config' = 'Manage the key, and show the settings'
                'journal' = 'Merge other journals, or recover a damaged one'
                'help' = 'Show a page of the manual, a JSON Schema, or the help of a command'
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'help sandbox' = @{
            commands = [ordered]@{
                'serve' = 'Serve the sandbox until Ctrl-C; the first line on stdout is its base URL'
                'reset' = 'Remove the sandbox''s tasks and clips, and their journal entries'
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'help json' = @{
            commands = [ordered]@{
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @('document-choices')
        }
        'help config' = @{
            commands = [ordered]@{
                'set-key' = 'Save an API key, read from a hidden prompt or from stdin'
                'unset-key' = 'Remove the saved API key for the current base URL'
                'show' = 'Show every setting with its source, the key masked'
                'path' = 'Show where settings, key and journal are stored'
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
        'help journal' = @{
            commands = [ordered]@{
                'merge' = 'Merge the edits of other journals into this one, and report what contradicts it'
                'recover' = 'Show what was restored from a damaged journal, and accept the loss of the rest'
            }
            options = [ordered]@{
                '--json' = 'Print one JSON document'
                '--quiet' = 'No progress and no hints; errors are still shown'
                '-q' = 'No progress and no hints; errors are still shown'
                '--verbose' = 'Trace HTTP, keys masked, and where errors come from'
                '-v' = 'Trace HTTP, keys masked, and where errors come from'
                '--sandbox' = 'Use the local stand-in: no key, no cost, no edit'
                '--progress' = 'How progress is shown on stderr'
                '--help' = 'Show this message and exit'
                '-h' = 'Show this message and exit'
            }
            arguments = @()
        }
    }
    # The kind of value that each option takes.
    $values = @{
        '--progress' = 'progress-choices'
        '--record' = 'files'
        '--rate-limit' = 'nothing'
        '--time-scale' = 'nothing'
        '--link-ttl' = 'nothing'
        '--port' = 'nothing'
        '--since' = 'nothing'
        '--by' = 'by-choices'
        '--forget' = 'tasks'
        '--limit' = 'nothing'
        '--clip' = 'nothing'
        '--state' = 'state-choices'
        '--expiring' = 'nothing'
        '--model' = 'model-choices'
        '--save-prepared' = 'files'
        '--output' = 'files'
        '-o' = 'files'
        '--summary' = 'files'
        '--sound' = 'sound-choices'
        '--max-credits' = 'nothing'
        '--timeout' = 'nothing'
        '--shard' = 'nothing'
        '--rate' = 'nothing'
        '--concurrency' = 'nothing'
        '--dir' = 'folders'
        '--takes' = 'nothing'
        '--prompt' = 'nothing'
        '--download' = 'files'
        '-d' = 'files'
        '--end' = 'nothing'
        '--start' = 'nothing'
        '--as' = 'tasks'
        '--resume' = 'requests'
        '--request-id' = 'nothing'
        '--callback-url' = 'nothing'
        '--prompt-file' = 'files'
    }
    $choices = @{
        'document-choices' = @('batch', 'compare', 'config-path', 'config-set-key', 'config-show', 'config-unset-key', 'credits', 'doctor', 'download', 'edit', 'edit-split', 'event', 'failure', 'help', 'journal-merge', 'journal-recover', 'list', 'probe', 'sandbox-reset', 'sandbox-serve', 'sidecar', 'status', 'submit', 'submit-dry-run', 'usage', 'wait')
        'progress-choices' = @('auto', 'plain', 'none')
        'by-choices' = @('month', 'day', 'clip', 'model')
        'state-choices' = @('pending', 'processing', 'completed', 'failed', 'cancelled', 'sending', 'unknown', 'refused')
        'model-choices' = @('gemini-omni-flash-video-edit', 'gemini-omni-1.1-flash-video-edit')
        'sound-choices' = @('new', 'original', 'none')
    }

    $path = ''
    $kind = ''
    $rest = $false
    $position = 0
    $sandbox = @()
    foreach ($element in ($commandAst.CommandElements | Select-Object -Skip 1)) {
        if ($element.Extent.EndOffset -ge $cursorPosition -and $wordToComplete) { break }
        $word = $element.Extent.Text
        if ($kind) {
            $kind = ''
        } elseif (-not $rest -and $word -ceq '--') {
            $rest = $true
        } elseif (-not $rest -and $word -clike '-?*') {
            if ($word -ceq '--sandbox') { $sandbox = @('--sandbox') }
            if ($values.ContainsKey($word)) { $kind = $values[$word] }
        } elseif ($position -eq 0 -and $known.ContainsKey("$path $word".Trim())) {
            $path = "$path $word".Trim()
        } else {
            $position += 1
        }
    }
    $offered = [ordered]@{}
    if ($kind -or ($rest -or $wordToComplete -notlike '-*')) {
        if (-not $kind -and $known[$path].commands.Count) {
            if ($position -eq 0) { $offered = $known[$path].commands }
        } elseif (-not $kind -and $known[$path].arguments.Count) {
            $arguments = $known[$path].arguments
            $kind = $arguments[[Math]::Min($position, $arguments.Count - 1)]
        }
        if ($kind -cin 'tasks', 'unfinished', 'finished', 'compared', 'requests') {
            # Candidates are data: read by line, and never invoked.
            foreach ($line in (omniedit __complete $kind @sandbox $wordToComplete 2>$null)) {
                $id, $shown = $line -split "`t", 2
                $offered[$id] = $shown
            }
            if ($kind -cne 'requests') { $offered['last'] = 'the newest' }
        } elseif ($choices.ContainsKey($kind)) {
            foreach ($choice in $choices[$kind]) { $offered[$choice] = $choice }
        }
    } else {
        $offered = $known[$path].options
    }
    # PowerShell completes file names if there is no result.
    foreach ($name in $offered.Keys) {
        if ($name.StartsWith($wordToComplete, [StringComparison]::Ordinal)) {
            $shown = if ($offered[$name]) { $offered[$name] } else { $name }
            [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $shown)
        }
    }
}
