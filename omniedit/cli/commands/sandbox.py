"""`omniedit sandbox`: the local stand-in for the service, as a separate server."""

import threading
from pathlib import Path
from typing import Annotated

import typer

from omniedit.cli.context import Context, Outcome, sandbox_required
from omniedit.cli.options import parse_duration
from omniedit.cli.parser import Command, new_group, option
from omniedit.errors import Interrupted
from omniedit.journal import Journal
from omniedit.models import render_count
from omniedit.system import THIS_SYSTEM
from omniedit.system.files import make_private_folder
from omniedit.terminal.documents import envelope

app = new_group("sandbox", "Run or reset the local stand-in for the service.")


@app.command(
    "serve",
    cls=Command,
    epilog="omniedit sandbox serve --port 8123\nomniedit sandbox serve --time-scale 0.1 --rate-limit 30",
)
def serve(
    ctx: typer.Context,
    *,
    port: Annotated[
        int, option("--port N", "The port (default: a free one).", min=0, max=65535)
    ] = 0,
    link_ttl: Annotated[
        float, option("--link-ttl DUR", "How long links work (default 24h).", parser=parse_duration)
    ] = 86400.0,
    time_scale: Annotated[
        float, option("--time-scale X", "Scale times: 0.1 makes edits ten times as fast.", min=0.0)
    ] = 1.0,
    rate_limit: Annotated[
        int | None, option("--rate-limit N/MIN", "Answer 429 beyond N requests a minute.", min=1)
    ] = None,
    record: Annotated[
        str | None, option("--record FILE", "Append each request to FILE as JSON.")
    ] = None,
    allow_local_callbacks: Annotated[
        bool, option("--allow-local-callbacks", "Deliver callbacks to this machine.")
    ] = False,
) -> Outcome:
    """Serve the sandbox until Ctrl-C; the first line on stdout is its base URL."""
    context: Context = ctx.obj
    with sandbox_required("serve"):
        from omniedit.sandbox.exchange import Service
        from omniedit.sandbox.server import serve as start

        make_private_folder(context.settings.sandbox_journal_folder)
        service = Service(
            context.settings.sandbox_folder,
            link_ttl_s=link_ttl,
            time_scale=time_scale,
            rate_limit_per_min=rate_limit,
            log=None if context.printer.quiet else context.printer.message,
            record=Path(record) if record else None,
        )
        running = start(service, port=port, allow_local_callbacks=allow_local_callbacks)
    try:
        with running:
            context.printer.line(running.url)
            context.printer.document(envelope(ok=True, sandbox=True, url=running.url, error=None))
            context.printer.note(
                f"OMNIEDIT_BASE_URL={running.url} OMNIEDIT_API_KEY=sk-sandbox-test omniedit …"
            )
            THIS_SYSTEM.wait(threading.Event())  # until a signal
    except Interrupted as interrupted:
        # A signal is how a server is stopped, not how it fails.
        return Outcome(ended_by=interrupted)
    return Outcome()


@app.command("reset", cls=Command, epilog="omniedit sandbox reset")
def reset(ctx: typer.Context) -> Outcome:
    """Remove the sandbox's tasks and clips, and their journal entries."""
    context: Context = ctx.obj
    settings = context.settings
    with sandbox_required("reset"):
        from omniedit.sandbox.store import reset as remove

        removed = remove(settings.sandbox_folder)
        # The journal's entries would name tasks that are gone.
        folder = settings.sandbox_journal_folder
        enclosing = settings.state_dir.value
        with Journal(folder, enclosing=enclosing) as journal:
            journal.clear()
    context.printer.line(f"removed {render_count(removed, 'task')}")
    return Outcome(fields={"removed": removed})
