"""Everything that can go wrong, as one tree.

OmniEditError
├── InvalidInputError            the call is wrong; nothing was sent
│   ├── MissingFileError         a named file does not exist
│   ├── MissingExtraError        an optional part of omniedit is not installed
│   └── NoSuchReferenceError     `last`, or the end of an ID, names no task or several
├── CredentialsError             no usable key
│   ├── MissingKeyError
│   └── InvalidKeyError
├── TaskFailedError              the task failed or was cancelled
├── NotFinishedError             the task goes on
│   └── WaitTimeoutError
├── ResultGoneError              the link expired, or the result is missing
│   └── NotAVideoError           something else was delivered in its place
├── OutcomeUnknownError          a submission may or may not have been accepted
├── LocalError                   this machine's files and disk
│   ├── TargetExistsError
│   ├── TargetBusyError
│   └── JournalError
│       ├── JournalDamagedError
│       └── JournalTooNewError
├── TooExpensiveError            dearer than the caller's own limit
└── ServiceError                 the service, or the way to it, said no
    ├── RequestRefusedError      400 and its like: the request is wrong
    │   └── WrongBaseURLError    404 or 405 where an endpoint was expected
    ├── AuthenticationError      401, 403, and the key codes
    ├── QuotaError               402, and the quota codes
    ├── TaskNotFoundError        the service does not know the task
    ├── EndpointMissingError     an optional endpoint is not offered; callers fall back
    ├── IdempotencyConflictError the request ID belongs to another request
    └── UnavailableError         worth trying later
        ├── RateLimitedError     429
        ├── ServerError          5xx
        ├── UnreadableReplyError a reply that is not what the API reference says
        ├── NetworkError         the connection broke; the request may have arrived
        │   └── NotConnectedError  nothing was sent
        ├── BlockedClientError   the CDN refuses this client (1010)
        └── BrokenDownloadError  the download keeps breaking off

Exit statuses are given in `cli/failures.py`; this package knows none.
"""

from omniedit.errors.base import (
    Interrupted,
    OmniEditError,
    restored_error,
)
from omniedit.errors.own import (
    CredentialsError,
    InvalidInputError,
    InvalidKeyError,
    JournalDamagedError,
    JournalError,
    JournalTooNewError,
    LocalError,
    MissingExtraError,
    MissingFileError,
    MissingKeyError,
    NoSuchReferenceError,
    NotAVideoError,
    NotFinishedError,
    OutcomeUnknownError,
    ResultGoneError,
    TargetBusyError,
    TargetExistsError,
    TaskFailedError,
    TooExpensiveError,
    WaitTimeoutError,
)
from omniedit.errors.service import (
    AuthenticationError,
    BlockedClientError,
    BrokenDownloadError,
    EndpointMissingError,
    IdempotencyConflictError,
    NetworkError,
    NotConnectedError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    ServerError,
    ServiceError,
    TaskNotFoundError,
    UnavailableError,
    UnreadableReplyError,
    WrongBaseURLError,
)

__all__ = [
    "AuthenticationError",
    "BlockedClientError",
    "BrokenDownloadError",
    "CredentialsError",
    "EndpointMissingError",
    "IdempotencyConflictError",
    "Interrupted",
    "InvalidInputError",
    "InvalidKeyError",
    "JournalDamagedError",
    "JournalError",
    "JournalTooNewError",
    "LocalError",
    "MissingExtraError",
    "MissingFileError",
    "MissingKeyError",
    "NetworkError",
    "NoSuchReferenceError",
    "NotAVideoError",
    "NotConnectedError",
    "NotFinishedError",
    "OmniEditError",
    "OutcomeUnknownError",
    "QuotaError",
    "RateLimitedError",
    "RequestRefusedError",
    "ResultGoneError",
    "ServerError",
    "ServiceError",
    "TargetBusyError",
    "TargetExistsError",
    "TaskFailedError",
    "TaskNotFoundError",
    "TooExpensiveError",
    "UnavailableError",
    "UnreadableReplyError",
    "WaitTimeoutError",
    "WrongBaseURLError",
    "restored_error",
]
