"""What goes wrong here: the call, the key, this machine; and tasks that end without a result."""

from omniedit.errors.base import OmniEditError


class InvalidInputError(OmniEditError):
    """The call is wrong; nothing was sent."""

    kind = "invalid_input"


class MissingFileError(InvalidInputError):
    """A named file does not exist or cannot be read."""

    kind = "file_not_found"


class MissingExtraError(InvalidInputError):
    """An optional part of omniedit is not installed."""

    kind = "missing_extra"


class NoSuchReferenceError(InvalidInputError):
    """`last`, or the end of an ID, names no task or several."""

    kind = "no_such_task"


class CredentialsError(OmniEditError):
    """There is no usable key."""

    kind = "credentials"


class MissingKeyError(CredentialsError):
    """No key is set anywhere."""

    kind = "missing_key"


class InvalidKeyError(CredentialsError):
    """A key is set that cannot be a key; its text is never part of the message."""

    kind = "invalid_key"


class TaskFailedError(OmniEditError):
    """The task failed or was cancelled."""

    kind = "task_failed"


class NotFinishedError(OmniEditError):
    """The task is not finished and goes on at the service."""

    kind = "not_finished"


class WaitTimeoutError(NotFinishedError):
    """The task did not finish within the time given."""

    kind = "wait_timeout"


class ResultGoneError(OmniEditError):
    """The link expired, or the result is gone or was never there."""

    kind = "result_gone"


class NotAVideoError(ResultGoneError):
    """What the link delivers is not an MP4."""

    kind = "not_a_video"


class OutcomeUnknownError(OmniEditError):
    """A submission may or may not have been accepted."""

    kind = "outcome_unknown"


class LocalError(OmniEditError):
    """A file, the disk or a folder of this machine does not allow it."""

    kind = "local_file"


class TargetExistsError(LocalError):
    """The target exists and is not this task's file."""

    kind = "target_exists"


class TargetBusyError(LocalError):
    """Another process is writing the same target."""

    kind = "target_busy"


class JournalError(LocalError):
    """The journal cannot be opened, read or written."""

    kind = "journal_unavailable"


class JournalDamagedError(JournalError):
    """The journal's file is not a sound database."""

    kind = "journal_damaged"


class JournalTooNewError(JournalError):
    """The journal was written by a newer omniedit."""

    kind = "journal_too_new"


class TooExpensiveError(OmniEditError):
    """The edit is estimated dearer than the caller's own limit, or cannot be estimated."""

    kind = "too_expensive"
