"""What a command has learned of each task so far, for its document and its last words."""

from dataclasses import replace
from typing import TYPE_CHECKING

from omniedit.errors import OmniEditError

if TYPE_CHECKING:
    from omniedit.events import Event
    from omniedit.models import Record


class Tally:
    """Keeps the newest record of each task, in the order they were met."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    @property
    def records(self) -> "list[Record]":
        """Every record so far."""
        return list(self._records.values())

    def add(self, record: "Record") -> None:
        """Take in a record, which replaces what was known of its task."""
        self._records[record.task_id or record.request_id or ""] = record

    def note_error(self, record: "Record", error: OmniEditError) -> None:
        """Take in a record of which something could not be done."""
        from omniedit.models import TaskError

        shown = record.error or TaskError(
            code=error.code, message=error.message, suggestion=error.hint
        )
        self.add(replace(record, error=shown))

    def take(self, event: "Event") -> None:
        """Take in an event."""
        from omniedit.events import Completed, Failed, Progressed, Saved, Submitted

        match event:
            case Submitted() | Progressed() | Completed() | Failed():
                self._take_record(event.record)
            case Saved():
                record = self._records.get(event.task_id or "")
                if record is not None:
                    others = [file for file in record.saved if file.path != event.file.path]
                    self.add(replace(record, saved=(*others, event.file)))
            case _:
                pass

    def _take_record(self, record: "Record") -> None:
        known = self._records.get(record.task_id or "")
        if known is not None:
            record = replace(record, saved=record.saved or known.saved)
        self.add(record)
