"""`omniedit batch`: many edits from one manifest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.input import read_source
from omniedit.cli.options import Force, MaxCredits, NoJournal, Timeout, parse_shard
from omniedit.cli.parser import COST, OUTPUT, SCRIPTS, WAITING
from omniedit.cli.session import JournalUse
from omniedit.errors import Interrupted, OmniEditError

if TYPE_CHECKING:
    from omniedit.cli.batch_report import BatchReport
    from omniedit.edits.batch import BatchOptions, PlannedEdit

EXAMPLES: Final = """
omniedit batch edits.jsonl --dir results
omniedit batch edits.csv --shard 1/4 --max-credits 500
"""


def batch(
    ctx: typer.Context,
    manifest: Annotated[
        str,
        typer.Argument(
            metavar="MANIFEST", help="JSON lines or CSV: video, prompt, and optionally output, …"
        ),
    ],
    *,
    folder: Annotated[
        str | None,
        typer.Option(
            "--dir",
            "-o",
            rich_help_panel=OUTPUT,
            metavar="DIR",
            help="The folder for outputs (default: this one).",
        ),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency",
            rich_help_panel=WAITING,
            min=1,
            metavar="N",
            help="Submissions and transfers at a time (default 4).",
        ),
    ] = 4,
    shard: Annotated[
        str,
        typer.Option(
            "--shard",
            rich_help_panel=SCRIPTS,
            metavar="I/N",
            help="Only part I of N of the manifest.",
        ),
    ] = "1/1",
    again: Annotated[
        bool,
        typer.Option(
            "--again", rich_help_panel=COST, help="Submit every edit again (charged again)."
        ),
    ] = False,
    force: Force = False,
    timeout: Timeout = 1800.0,
    no_journal: NoJournal = False,
    max_credits: MaxCredits = None,
) -> Outcome:
    """Make every edit of a manifest; run it again to make only what is missing.

    A line is {"video": …, "prompt": …}, and optionally output, callback_url, start, end, take.
    """
    from omniedit.cli.batch_report import BatchReport
    from omniedit.edits.batch import BatchOptions, Planner
    from omniedit.edits.manifest import parse_manifest

    context: Context = ctx.obj
    part = parse_shard(shard)
    hint = "MANIFEST is a file of JSON lines or CSV, or `-` for standard input"
    content = read_source(
        manifest, what="manifest", max_bytes=context.policy.max_manifest_bytes, hint=hint
    )
    parsed = parse_manifest(content, name=manifest)
    for number, oddity in parsed.oddities:
        context.printer.warn(f"{manifest}:{number}: {oddity}")
    report = BatchReport(context, manifest, again=again, has_journal=not no_journal)
    with context.session(JournalUse.NONE, shows_progress=False, is_batch=True) as session:
        planner = Planner(session, folder=folder, shard=part, max_credits=max_credits)
        edits = planner.plan(parsed)
    if planner.faults:
        return Outcome(errors=report.faults(planner.faults), tasks=report.documents)
    options = BatchOptions(concurrency=concurrency, again=again, overwrite=force, timeout_s=timeout)
    use = JournalUse.NONE if no_journal else JournalUse.REQUIRED
    return _run(context, report, edits, options, use=use, line_count=len(parsed.lines))


def _run(
    context: Context,
    report: "BatchReport",
    edits: "Sequence[PlannedEdit]",
    options: "BatchOptions",
    *,
    use: JournalUse,
    line_count: int,
) -> Outcome:
    from omniedit.edits.batch import BatchRun

    ended_by: BaseException | None = None
    observers = [context.saved_files(None)]
    try:
        with context.session(
            use, observers=observers, total_tasks=len(edits), is_batch=True
        ) as session:
            session.journal.record_call(context.settings.context.value, None)
            report.begin(edits, line_count=line_count)
            try:
                for made in BatchRun(session, options).run(edits):
                    report.take(made)
            finally:
                # Whatever ends it: replies that are outstanding are written down.
                session.stop()
                report.summarise()
    except (Interrupted, OmniEditError) as error:
        ended_by = error
    return Outcome(
        tasks=report.documents, errors=report.errors, has_shown_errors=True, ended_by=ended_by
    )
