"""Waiting for tasks and saving them, several in one go: single failures do not end the rest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from omniedit.errors import AuthenticationError, CredentialsError, OmniEditError
from omniedit.models import Record
from omniedit.tasks.ports import Session
from omniedit.tasks.saving import check_destination, completed_task, download, save
from omniedit.tasks.targets import Destination
from omniedit.tasks.waiting import Waiting

Outcome = tuple[Record, OmniEditError | None]


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

    Raises:
        OmniEditError: The destination cannot be written, or the key is not accepted.
    """
    destination = options.destination
    if destination is not None:
        destination.check_count(len(records))
        for record in records:
            check_destination(session, record, destination, overwrite=options.overwrite)
    for record, error in Waiting(session, records, timeout_s=options.timeout_s):
        if error is not None:
            yield record, error.about(task_id=record.task_id, request_id=record.request_id)
            continue
        ended, failure = _finish(session, record, options)
        yield ended, failure
        if failure is not None and options.fail_fast:
            return


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


def _finish(session: Session, record: Record, options: FollowOptions) -> Outcome:
    try:
        completed_task(record)
        if options.destination is not None:
            record = save(session, record, options.destination, overwrite=options.overwrite)
    except OmniEditError as error:
        return record, error.about(task_id=record.task_id, request_id=record.request_id)
    return record, None
