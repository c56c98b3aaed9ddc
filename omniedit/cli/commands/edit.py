"""`omniedit edit`: from prompt to saved file, safe to repeat."""

from typing import Annotated, Final

import typer

from omniedit.cli import options
from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import read_request
from omniedit.cli.parser import CLIP, COST, OUTPUT, option
from omniedit.errors import refuse
from omniedit.journal import JournalUse
from omniedit.models import EditRequest, Sound

EXAMPLES: Final = """
omniedit edit clip.mp4 "make it night, keep all else unchanged" -o out.mp4
omniedit edit https://example.com/clip.mp4 --prompt-file prompt.txt --end 5
"""


def edit(
    ctx: typer.Context,
    video: options.Video,
    prompt: options.Prompt = None,
    *,
    output: Annotated[
        str | None, option("--output -o PATH", "Save the result to PATH (`-`: stdout).", OUTPUT)
    ] = None,
    again: options.Again = False,
    force: options.Force = False,
    timeout: options.Timeout = 1800.0,
    callback_url: options.CallbackURL = None,
    request_id: options.RequestID = None,
    no_journal: options.NoJournal = False,
    split: Annotated[
        bool, option("--split", "Edit a longer clip in pieces and join the results.", CLIP)
    ] = False,
    sound: options.SoundOption = None,
    yes: Annotated[
        bool, option("--yes", "With --split: accept the price without being asked.", COST)
    ] = False,
    sidecar: options.Sidecar = False,
    prompt_file: options.PromptFile = None,
    start: options.Start = None,
    end: options.End = None,
    max_credits: options.MaxCredits = None,
    check: options.Check = None,
    keep_hdr: options.KeepHDR = False,
    model: options.ModelID = None,
) -> Outcome:
    """Submit, wait and save in one command that is safe to repeat.

    Like make: the same clip and prompt are paid for once. After a crash, a lost connection or
    Ctrl-C, run it again: it continues where it stopped.

    With --split a longer clip is edited in equal pieces, which are joined under the clip's own
    sound. The price is shown first, and you are asked to accept it.
    """
    from omniedit.edits import edit as editing

    context: Context = ctx.obj
    destination = options.new_destination(context, "--output", output, force=force, sidecar=sidecar)
    if yes and not split:
        refuse("`--yes` requires --split")
    chosen = context.model(model)
    request = EditRequest(
        video=video,
        prompt=prompt or "",
        callback_url=callback_url,
        request_id=request_id,
        start=start,
        end=end,
        check=check,
        max_credits=max_credits,
        keeps_hdr=keep_hdr,
        model=chosen.value,
        model_source=chosen.source,
    )
    context.board.request = request
    use = JournalUse.DECLINED if no_journal else JournalUse.REQUIRED
    wanted = editing.EditOptions(
        destination=destination,
        sound=sound or (Sound.ORIGINAL if split else Sound.NEW),
        again=again,
        timeout_s=timeout,
    )
    if split:
        from omniedit.cli.commands.split import edit_in_pieces

        return edit_in_pieces(
            context,
            request,
            wanted,
            use=use,
            prompt=prompt,
            prompt_file=prompt_file,
            has_consent=yes,
            sidecars=sidecar,
        )
    with context.session(use, observers=[context.print_saved], sidecars=sidecar) as session:
        request = read_request(context, session, request, prompt=prompt, prompt_file=prompt_file)
        context.board.add(editing.edit(session, request, wanted))
    return Outcome()
