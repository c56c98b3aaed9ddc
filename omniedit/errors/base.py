"""What every expected failure has, and the one that is none."""

from collections.abc import Iterator
from typing import ClassVar, Self


class OmniEditError(Exception):
    """An expected failure: what happened, in one sentence, and what is known about it.

    Args:
        message: One line, lower case, no full stop.
        code: The service's own code where it gave one; else the class's.
        hint: What to do next, where only the place that raises can know.
        task_id: The task it is about.
        request_id: The submission it is about.
        http_status: The status of the reply that said so.
        retry_after_s: Seconds after which the service wants to be asked again.
    """

    kind: ClassVar[str] = "error"
    """Names the class in the journal and in JSON; never changes once released."""

    message: str
    code: str
    hint: str | None
    task_id: str | None
    request_id: str | None
    http_status: int | None
    retry_after_s: float | None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        task_id: str | None = None,
        request_id: str | None = None,
        http_status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.kind
        self.hint = hint
        self.task_id = task_id
        self.request_id = request_id
        self.http_status = http_status
        self.retry_after_s = retry_after_s

    def about(self, *, task_id: str | None = None, request_id: str | None = None) -> Self:
        """Return this error with the task or submission it concerns filled in, where unknown."""
        self.task_id = self.task_id or task_id
        self.request_id = self.request_id or request_id
        return self

    @classmethod
    def subclasses(cls) -> Iterator[type["OmniEditError"]]:
        """Yield this class and everything below it."""
        yield cls
        for subclass in cls.__subclasses__():
            yield from subclass.subclasses()


def restored_error(
    kind: str, message: str, *, code: str | None, http_status: int | None, request_id: str | None
) -> OmniEditError:
    """Return the error that the journal once recorded, ready to be raised again."""
    for cls in OmniEditError.subclasses():
        if cls.kind == kind:
            error = cls.__new__(cls)
            break
    else:
        error = OmniEditError.__new__(OmniEditError)
    OmniEditError.__init__(
        error, message, code=code, http_status=http_status, request_id=request_id
    )
    return error


class Interrupted(BaseException):
    """A signal asked the command to end; no `except Exception` may swallow it.

    Not a KeyboardInterrupt: Typer turns that into a return value.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
