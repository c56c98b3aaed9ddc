"""Edits of results: the file that VIDEO `task:TASK` means."""

from pathlib import Path

from omniedit.edits.records import LAST, find_records
from omniedit.edits.save import result_file
from omniedit.edits.session import Session
from omniedit.errors import Hint, InvalidInputError, NotFinishedError
from omniedit.models import TASK_PREFIX, EditRequest


def with_result(
    session: Session, request: EditRequest, *, deadline: float | None = None
) -> EditRequest:
    """Return a request whose VIDEO is the file of the result that it named as `task:TASK`.

    Args:
        request: As it was asked for.
        deadline: A monotonic instant that fetching the result does not outlive.

    Raises:
        InvalidInputError: If VIDEO is `task:last`, which would be another task the next time.
        OmniEditError: If the task has no result, or it cannot be had.
    """
    reference = request.video.removeprefix(TASK_PREFIX)
    if reference == LAST:
        context = session.last_context
        accepted = session.journal.last_accepted(context) if context else None
        shown = accepted.task_id if accepted else "TASK"
        msg = f"`task:last` is another task each time this is run: write `task:{shown}`"
        raise InvalidInputError(msg, code="unstable_reference", hint=f"VIDEO is `task:{shown}`")
    path, parent = find_result(session, reference, command="edit", deadline=deadline)
    session.note(
        "the clip is a result: each further edit is another encoding by the service",
        is_general=True,
    )
    return request._replace(video=str(path), parent=parent)


def find_result(
    session: Session, reference: str, *, command: str, deadline: float | None = None
) -> tuple[Path, str]:
    """Return the file of a task's first result, fetched where it is not here, and the task's ID.

    Raises:
        OmniEditError: If the task has none, or it cannot be had.
    """
    [record] = find_records(session, [reference], command=command)
    try:
        return result_file(session, record, deadline=deadline), str(record.task_id)
    except NotFinishedError as error:
        # Where the result of this command goes is no place for its clip.
        error.hint = Hint("it goes on: {}", f"wait {record.task_id}")
        raise
