"""`omniedit batch`: many edits, from a manifest or from clips and folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omniedit.cli import options
from omniedit.cli.context import Context, Outcome
from omniedit.cli.parser import COST, OUTPUT, SCRIPTS, WAITING, option
from omniedit.errors import Hint, Interrupted, OmniEditError, refuse
from omniedit.journal import JournalUse
from omniedit.models import Sound, is_video_name, render_count
from omniedit.sanitize import quoted
from omniedit.system.files import is_folder

if TYPE_CHECKING:
    from omniedit.edits.manifest import Manifest
    from omniedit.edits.planner import PlannedEdit
    from omniedit.edits.session import Session
    from omniedit.settings import Setting

_MAX_TAKES: Final = 10_000
EXAMPLES: Final = """
omniedit batch clips/ --prompt "make it night" --dir night
omniedit batch edits.csv --shard 1/4 --max-credits 500
"""


def batch(
    ctx: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="One manifest (JSON lines or CSV); or, with --prompt, clips and folders of clips.",
        ),
    ],
    *,
    prompts: Annotated[
        list[str] | None, option("--prompt TEXT", "Edit every clip with TEXT; can be repeated.")
    ] = None,
    takes: Annotated[
        int | None,
        option(
            "--takes N",
            f"With --prompt: make N edits of each clip and prompt (at most {_MAX_TAKES}).",
            min=1,
            max=_MAX_TAKES,
        ),
    ] = None,
    folder: Annotated[
        str | None,
        option("--dir -o DIR", "The folder for outputs (default: the current one).", OUTPUT),
    ] = None,
    concurrency: Annotated[
        int,
        option(
            "--concurrency N", "Edits running on the service at once (default 8).", WAITING, min=1
        ),
    ] = 8,
    rate: Annotated[
        float,
        option(
            "--rate N/m",
            "Submit at most 2/s, 30/m or 500/h, evenly spaced.",
            WAITING,
            parser=options.parse_rate,
        ),
    ] = 0.0,
    keep_going: Annotated[
        bool, option("--keep-going", "Continue after five refusals in a row.", WAITING)
    ] = False,
    shard: Annotated[
        str, option("--shard I/N", "Make only part I of N of the edits.", SCRIPTS)
    ] = "1/1",
    again: Annotated[
        bool, option("--again", "Submit every edit again (charged again).", COST)
    ] = False,
    yes: Annotated[bool, option("--yes", "Accept the price without being asked.", COST)] = False,
    sidecar: options.Sidecar = False,
    force: options.Force = False,
    timeout: options.Timeout = 1800.0,
    no_journal: options.NoJournal = False,
    max_credits: options.MaxCredits = None,
    model: options.ModelID = None,
    sound: options.SoundOption = None,
) -> Outcome:
    """Make many edits; run it again to make only what is missing.

    With --prompt, every clip is edited with every prompt. A line of a manifest is {"video": …,
    "prompt": …}, optionally with output, callback_url, start, end, take, model.
    """
    from omniedit.cli.batch_report import BatchReport
    from omniedit.edits.batch import BatchRun
    from omniedit.edits.edit import EditOptions
    from omniedit.edits.planner import Planner
    from omniedit.edits.targets import Destination

    context: Context = ctx.obj
    index_and_count = options.parse_shard(shard)
    use = JournalUse.DECLINED if no_journal else JournalUse.REQUIRED
    name = None if prompts else sources[0]
    report = BatchReport(context, name, has_journal=not no_journal)
    wanted = EditOptions(
        destination=Destination(folder, overwrite=force),
        sound=sound or Sound.NEW,
        again=again,
        timeout_s=timeout,
    )
    wanted.destination.check_folder("--dir")
    context.board.expect(0)  # until the plan is made
    ended_by: BaseException | None = None
    try:
        with context.session(
            use,
            observers=[context.print_saved],
            is_batch=True,
            sidecars=sidecar,
            submission_interval_s=rate,
        ) as session:
            chosen = context.model(model)
            parsed = _read(context, session, sources, prompts, takes=takes, model=chosen)
            planner = Planner(session, wanted, shard=index_and_count, max_credits=max_credits)
            edits = planner.plan(parsed)
            if planner.faults:
                errors = report.add_faults(planner.faults)
                return Outcome(errors=errors, tasks=report.documents)
            _confirm(context, session, edits, has_consent=yes)
            report.begin(edits, is_shard=index_and_count[1] > 1)
            run = BatchRun(
                session,
                wanted,
                concurrency=concurrency,
                max_credits=max_credits,
                keeps_going=keep_going,
            )
            session.journal.record_call(context.settings.context.value, None)
            report.add_all(session, run.run(edits))
    except (Interrupted, OmniEditError) as error:
        ended_by = error
    return Outcome(
        tasks=report.documents, errors=report.errors, has_shown_errors=True, ended_by=ended_by
    )


def _read(
    context: Context,
    session: "Session",
    sources: Sequence[str],
    prompts: Sequence[str] | None,
    *,
    takes: int | None,
    model: "Setting[str]",
) -> "Manifest":
    """Return the lines of a manifest, or the lines made from clips and prompts."""
    if prompts:
        return _combine(context, session, sources, prompts, takes=takes or 1, model=model)
    from omniedit.edits.manifest import parse_manifest

    name = sources[0]
    command = f'batch {quoted(name) if len(sources) == 1 else "SOURCE…"} --prompt "PROMPT"'
    edits_clips = Hint("{} edits clips and folders", command)
    if len(sources) > 1 or is_folder(name) or "://" in name:
        refuse("without --prompt, SOURCE is one manifest", hint=edits_clips)
    if is_video_name(name):
        refuse(f"{name} is a clip, and without --prompt SOURCE is one manifest", hint=edits_clips)
    if takes is not None:
        refuse("--takes requires --prompt; a manifest has a field `take`")
    hint = "a manifest is a file of JSON lines or CSV, or `-` for standard input"
    max_bytes = context.policy.max_manifest_bytes
    content = options.read_source(context, name, what="manifest", max_bytes=max_bytes, hint=hint)
    parsed = parse_manifest(content, name=name, model=model)
    for number, warning in parsed.warnings:
        context.printer.warn(f"{name}:{number}: {warning}")
    return parsed


def _combine(
    context: Context,
    session: "Session",
    sources: Sequence[str],
    prompts: Sequence[str],
    *,
    takes: int,
    model: "Setting[str]",
) -> "Manifest":
    """Return a line for every clip with every prompt, `takes` times each."""
    from omniedit.edits.clips import clips_of
    from omniedit.edits.manifest import lines_of

    for source in sources:
        if Path(source).suffix in {".jsonl", ".csv"}:
            message = f"{source} is a manifest, which has its own prompts"
            refuse(message, hint="leave `--prompt` out")
    for prompt in prompts:
        advice = '`--prompt "$(cat {})"` sends its text instead'
        options.note_named_file(context, prompt, advice=advice)
    texts = [options.decode_argument(prompt) for prompt in prompts]
    return lines_of(clips_of(session, sources), texts, takes=takes, model=model)


def _confirm(
    context: Context, session: "Session", edits: "Sequence[PlannedEdit]", *, has_consent: bool
) -> None:
    """Note on a terminal what is to be paid, and ask for consent if it is more than one edit."""
    from omniedit.terminal.human import render_estimate, render_price

    due = [edit for edit in edits if edit.is_due]
    if not context.printer.stderr.is_terminal or not edits:
        return
    estimates = [edit.estimated_credits for edit in due if edit.estimated_credits is not None]
    estimated = sum(estimates) if estimates else None
    cost = render_estimate(estimated)
    price = render_price(estimated)
    if estimates and len(estimates) < len(due):
        rest = f", and {len(due) - len(estimates)} that cannot be estimated"
        cost += rest
        price += rest
    parts = [f"{len(due)} to be paid"]
    if len(due) < len(edits):
        parts.insert(0, f"{len(edits) - len(due)} known here")
    if due:
        parts.append(cost)
    context.printer.note(f"{render_count(len(edits), 'edit')}: {', '.join(parts)}")
    if due:
        session.require_service()
    if len(due) > 1 and not has_consent and options.can_ask(context):
        options.require_consent(context, f"send {len(due)} edits for {price}?")
