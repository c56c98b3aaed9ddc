"""`omniedit batch`: many edits from one manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omniedit.cli.context import Runtime
from omniedit.cli.options import Events, Force, MaxCredits, NoJournal, Timeout, parse_shard
from omniedit.cli.session import JournalUse
from omniedit.cli.stdin import read_stdin
from omniedit.errors import MissingFileError, OmniEditError

if TYPE_CHECKING:
    from omniedit.edits.batch import PlannedEdit
    from omniedit.edits.manifest import Manifest


def batch(
    context: typer.Context,
    manifest: Annotated[
        str,
        typer.Argument(
            metavar="MANIFEST", help="JSON lines or CSV: video, prompt, and optionally output, …"
        ),
    ],
    *,
    folder: Annotated[
        str | None, typer.Option("--dir", metavar="DIR", help="Where outputs go; else here.")
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", min=1, help="Submissions and transfers at a time."),
    ] = 4,
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Only part I of N of the manifest.")
    ] = "1/1",
    again: Annotated[bool, typer.Option("--again", help="Make and pay every edit anew.")] = False,
    force: Force = False,
    timeout: Timeout = 1800.0,
    no_journal: NoJournal = False,
    max_credits: MaxCredits = None,
    events: Events = False,
) -> list[OmniEditError]:
    """Make every edit of a manifest; run it again and only what is missing is made.

    A line is {"video": …, "prompt": …}, and optionally output, callback_url, start, end, take.
    """
    from omniedit.cli.batch_report import BatchReport
    from omniedit.edits.manifest import parse_manifest

    runtime: Runtime = context.obj
    runtime.begin_events(is_asked=events)
    part = parse_shard(shard)
    parsed = parse_manifest(_read(manifest), name=manifest)
    for number, oddity in parsed.oddities:
        runtime.printer.warn(f"{manifest}:{number}: {oddity}")
    use = JournalUse.NONE if no_journal else JournalUse.REQUIRED
    report = BatchReport(runtime, manifest, again=again, has_journal=not no_journal)
    runtime.documents = report.documents
    edits, faults = _plan(runtime, parsed, folder=folder, shard=part, max_credits=max_credits)
    if faults:
        return report.faults(faults)
    from omniedit.edits.batch import BatchOptions, BatchRun

    runtime.announce_saved(None)
    with runtime.session(use, total_tasks=len(edits), is_batch=True) as session:
        session.journal.record_call(runtime.settings.context.value, None)
        report.begin(edits, line_count=len(parsed.lines))
        options = BatchOptions(
            concurrency=concurrency, again=again, overwrite=force, timeout_s=timeout
        )
        try:
            for made in BatchRun(session, options).run(edits):
                report.take(made)
        finally:
            # Whatever ends it: replies that are outstanding are written down.
            session.stop()
            report.summarise()
    runtime.shows_errors = False  # it has said them
    return report.errors


def _plan(
    runtime: Runtime,
    manifest: "Manifest",
    *,
    folder: str | None,
    shard: tuple[int, int],
    max_credits: float | None,
) -> "tuple[Sequence[PlannedEdit], list[tuple[int, str]]]":
    from omniedit.edits.batch import Planner

    with runtime.session(JournalUse.NONE, shows_progress=False, is_batch=True) as session:
        planner = Planner(session, folder=folder, shard=shard, max_credits=max_credits)
        return planner.plan(manifest), planner.faults


def _read(manifest: str) -> bytes:
    try:
        return read_stdin() if manifest == "-" else Path(manifest).read_bytes()
    except OSError as error:
        msg = f"cannot read the manifest {manifest}: {error.strerror}"
        hint = "MANIFEST is a file of JSON lines or CSV, or `-` for standard input"
        raise MissingFileError(msg, hint=hint) from None
