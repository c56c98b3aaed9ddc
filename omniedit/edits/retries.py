"""Trying again what costs nothing."""

from collections.abc import Callable
from itertools import count
from typing import TypeVar

from omniedit.edits.ports import Session
from omniedit.errors import OmniEditError
from omniedit.http.retry import backoff_s, is_transient
from omniedit.policy import DEFAULT

T = TypeVar("T")


def with_retries(
    session: Session,
    call: Callable[[], T],
    *,
    budget_s: float = DEFAULT.read_budget_s,
    task_id: str | None = None,
) -> T:
    """Return what `call` returns, resting and calling again while its failures are transient.

    Args:
        session: Clock, sleep and observer.
        call: A read, or an upload.
        budget_s: How long to go on, rests included; a rest that would overrun is not begun.
        task_id: The task it is about, for the observer.

    Raises:
        OmniEditError: The last failure.
    """
    deadline = session.monotonic() + budget_s
    for attempt in count(1):
        try:
            return call()
        except OmniEditError as error:
            rest_s = backoff_s(attempt, retry_after_s=error.retry_after_s, jitter=session.jitter)
            if not is_transient(error) or session.monotonic() + rest_s > deadline:
                raise
            from omniedit.events import Retrying  # noqa: PLC0415 - mostly nothing is to be told

            session.report(
                Retrying(message=error.message, delay_s=rest_s, attempt=attempt, task_id=task_id)
            )
        session.sleep(rest_s)
    raise AssertionError  # pragma: no cover - `count` does not end
