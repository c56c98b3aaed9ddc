# PowerShell completion for omniedit; written by `omniedit --install-completion`; do not edit.

Register-ArgumentCompleter -Native -CommandName omniedit -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # For each command: its subcommands and options with their help, the kinds of its arguments.
    $known = @{
@KNOWN@
    }
    # The kind of value that each option takes.
    $values = @{
@VALUES@
    }
    $choices = @{
@CHOICES@
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
