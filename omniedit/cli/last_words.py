"""What a command says at its end about what goes on without it."""

from typing import TYPE_CHECKING, Final

from omniedit.cli.failures import shown_place
from omniedit.errors import OmniEditError

if TYPE_CHECKING:
    from omniedit.cli.runtime import Runtime

REMIND_WITHIN_S: Final = 3 * 3600
_SHOWN_TASKS: Final = 5


def say_what_goes_on(runtime: "Runtime") -> None:
    """Name the tasks that go on at the service, and the command that picks each up."""
    if runtime.sums_up:
        # Its summary names one command for all of them.
        return
    sandbox = " --sandbox" if runtime.is_sandbox_flag else ""
    place = runtime.destination
    running = [r for r in runtime.tally.records if r.task and not r.task.is_terminal]
    for record in running[:_SHOWN_TASKS]:
        runtime.printer.hint(
            f"task {record.task_id} goes on at the service:"
            f" `omniedit{sandbox} wait {record.task_id} --download {shown_place(place)}`"
        )
    if len(running) > _SHOWN_TASKS:
        runtime.printer.hint(f"{len(running) - _SHOWN_TASKS} more go on: `omniedit{sandbox} list`")
    unsaved = [r for r in runtime.tally.records if r.task and r.task.is_completed and not r.saved]
    for record in unsaved[:_SHOWN_TASKS]:
        runtime.printer.hint(
            f"task {record.task_id} is finished and not saved:"
            f" `omniedit{sandbox} download {record.task_id}"
            f"{'' if place is None else f' --output {shown_place(place)}'}`"
        )


def remind(runtime: "Runtime") -> None:
    """On a terminal, say in one line when unsaved results die soon."""
    if runtime.command not in {"submit", "status", "wait", "edit"}:
        return
    if not runtime.printer.is_stderr_terminal or runtime.printer.quiet:
        return
    from omniedit.journal import Journal
    from omniedit.output.units import render_duration
    from omniedit.tasks.listing import is_unsaved

    now = runtime.now()
    shown = {record.task_id for record in runtime.tally.records}
    try:
        with Journal(runtime.settings.journal_folder) as journal:
            ends = [
                end
                for record in journal.recent()
                if is_unsaved(record)
                and record.task_id not in shown
                and (end := record.link_valid_until) is not None
                and now < end < now + REMIND_WITHIN_S
            ]
    except OmniEditError:
        return
    if ends:
        sandbox = " --sandbox" if runtime.is_sandbox_flag else ""
        what = "1 unsaved result dies" if len(ends) == 1 else f"{len(ends)} unsaved results die"
        runtime.printer.note(
            f"{what} within {render_duration(min(ends) - now)}: `omniedit{sandbox} download --all`"
        )
