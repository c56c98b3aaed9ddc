"""Waiting for tasks and saving them, several in one go: single failures do not end the rest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from omniedit.edits.crew import Crew
from omniedit.edits.ports import Session
from omniedit.edits.saving import check_destination, completed_task, download, save
from omniedit.edits.targets import Destination
from omniedit.edits.waiting import Outcome, Waiting
from omniedit.errors import AuthenticationError, CredentialsError, OmniEditError
from omniedit.models import Record

TRANSFERS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowOptions:
    """How tasks are waited for, and where their results go; None leaves them at the service."""

    destination: Destination | None
    overwrite: bool
    timeout_s: float
    fail_fast: bool = False


def follow(
    session: Session, records: Sequence[Record], options: FollowOptions
) -> Iterator[Outcome]:
    """Yield each task as it has ended and, where asked for, been saved.

    Several are saved side by side, while others still run.

    Raises:
        OmniEditError: The destination cannot be written, or the key is not accepted.
    """
    destination = options.destination
    if destination is not None:
        destination.check_count(len(records))
        for record in records:
            check_destination(session, record, destination, overwrite=options.overwrite)
    waiting = Waiting(session, timeout_s=options.timeout_s)
    for record in records:
        waiting.add(record)
    outcomes = (
        _one_by_one(session, waiting, options)
        if len(records) == 1 or destination is None
        else _side_by_side(session, waiting, options)
    )
    for record, error in outcomes:
        yield record, error
        if error is not None and options.fail_fast:
            return


def _one_by_one(session: Session, waiting: Waiting, options: FollowOptions) -> Iterator[Outcome]:
    for ended in waiting.to_the_end():
        yield _finish(session, ended, options)


def _side_by_side(session: Session, waiting: Waiting, options: FollowOptions) -> Iterator[Outcome]:
    with Crew[Outcome](TRANSFERS_AT_ONCE) as crew:
        while waiting or crew.busy:
            outcome = crew.take(timeout_s=waiting.rest_s() if waiting else None)
            if outcome is not None:
                yield outcome
            for ended in waiting.look() if waiting else ():
                crew.give(partial(_finish, session, ended, options))


def download_each(
    session: Session,
    found: Sequence[Outcome],
    destination: Destination,
    *,
    overwrite: bool,
) -> Iterator[Outcome]:
    """Yield each task as its result has been saved, with what kept it from that.

    Raises:
        CredentialsError: There is no usable key.
        AuthenticationError: The key is not accepted.
    """
    destination.check_count(len(found))
    for record, error in found:
        if error is not None:
            yield record, error
            continue
        try:
            saved = download(session, record, destination, overwrite=overwrite)
        except (CredentialsError, AuthenticationError):
            # It would end the others in the same way.
            raise
        except OmniEditError as failure:
            yield record, failure.about(task_id=record.task_id, request_id=record.request_id)
        else:
            yield saved, None


def _finish(session: Session, ended: Outcome, options: FollowOptions) -> Outcome:
    record, error = ended
    try:
        if error is not None:
            raise error
        completed_task(record)
        if options.destination is not None:
            record = save(session, record, options.destination, overwrite=options.overwrite)
    except OmniEditError as failure:
        return record, failure.about(task_id=record.task_id, request_id=record.request_id)
    return record, None
